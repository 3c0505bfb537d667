#include "role_notify.h"

#include <stdio.h>

#include "cli/private_file.h"
#include "s3api/cred.h"

/* "NAME=ADDRESS" */
static void hook_of(struct arena *a, struct str item, struct outbox_hook *out)
{
    struct str rest = item, name = str_split(&rest, '=');

    *out = (struct outbox_hook){.name = str_trim(name), .url = arena_str(a, str_trim(rest))};
}

static enum err read_tokens(struct role *r, struct outbox_hook *hooks, size_t n, char why[ROLE_WHY_MAX])
{
    char reason[PRIVATE_FILE_WHY_MAX];
    struct str text;
    enum err e;

    if ((e = private_file_read(&r->arena, r->settings.webhook_tokens.p, &text, reason)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "notifications.token_file: %s", reason);
        return e;
    }
    while (text.n) {
        struct str line = str_trim(str_split(&text, '\n')), rest = line, name = str_split(&rest, ' ');
        bool found = line.n == 0;
        for (size_t i = 0; i < n && line.n; i++)
            if (str_eq(hooks[i].name, name)) {
                hooks[i].token = str_trim(rest);
                found = hooks[i].token.n > 0;
            }
        if (!found) {
            snprintf(why, ROLE_WHY_MAX,
                     "notifications.token_file: \"" STR_FMT
                     "\" is no webhook of notifications.webhooks, or has no token",
                     STR_ARG(name));
            return ERR_INVALID_ARGUMENT;
        }
    }
    return ERR_OK;
}

enum err role_notify_open(struct role_notify *n, struct role *r, struct str data, struct bucket_confs *confs,
                          struct buckets *buckets, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    struct outbox_hook *hooks = arena_new(&r->arena, (s->webhooks.count + 1) * sizeof(*hooks));
    char reason[OUTBOX_WHY_MAX];
    enum err e;

    if (!s->webhooks.count)
        return ERR_OK;
    for (size_t i = 0; i < s->webhooks.count; i++)
        hook_of(&r->arena, s->webhooks.items[i], &hooks[i]);
    if (s->webhook_tokens.n && (e = read_tokens(r, hooks, s->webhooks.count, why)) != ERR_OK)
        return e;
    if (!s->notify_dir.n && !data.n) {
        snprintf(why, ROLE_WHY_MAX, "notifications.webhooks needs notifications.dir: where events wait");
        return ERR_INVALID_ARGUMENT;
    }
    struct outbox_conf conf = {
        .dir = s->notify_dir.n ? s->notify_dir : arena_printf(&r->arena, STR_FMT "/notifications", STR_ARG(data)),
        .hooks = hooks,
        .hook_count = s->webhooks.count,
        .ca_file = s->webhook_ca,
        .private_too = s->webhook_private,
        .queue_max = s->webhook_queue,
        .keep_s = s->webhook_keep_s,
        .io = r->io};
    if ((e = outbox_open(&conf, &n->announcer.box, reason)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "notifications: %s", reason);
        return e;
    }
    n->announcer.confs = confs;
    n->announcer.buckets = buckets;
    n->announcer.region = s->region;
    n->announcer.owner_id = creds_owner_id;
    return ERR_OK;
}

void role_notify_close(struct role_notify *n)
{
    outbox_close(n->announcer.box);
    n->announcer.box = NULL;
}

const struct announcer *role_notify_announcer(const struct role_notify *n)
{
    return n->announcer.box ? &n->announcer : NULL;
}
