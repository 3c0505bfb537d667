#include "role_s3.h"

#include <stdio.h>

#include "cli/banner.h"

static enum err open_credentials(struct role_s3 *s3, struct role *r, struct str dir, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    enum err e;

    e = credentials_get(&r->arena, s->access_key, s->secret_key, dir, &s3->credentials, why);
    if (e == ERR_OK && (e = creds_put(s3->creds, s3->credentials.access_key, s3->credentials.secret_key)) != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "the access key or its secret is empty or too long");
    return e;
}

enum err role_s3_open(struct role_s3 *s3, struct role *r, struct meta *meta, struct str dir, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    enum err e;

    s3->creds = creds_new();
    s3->conf = (struct s3api_conf){s->auth == AUTH_NONE, s->region, s->domains.items, s->domains.count, s->log_access};
    s3->conf.redundancy = s->redundancy;
    if ((e = role_open_tls(r, 0, s->tls_cert, s->tls_key, why)) != ERR_OK)
        return e;
    if ((e = buckets_open(meta, &s3->buckets)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "cannot open the bucket records (%s)", err_name(e));
        return e;
    }
    return s->auth == AUTH_SIGNED ? open_credentials(s3, r, dir, why) : ERR_OK;
}

void role_s3_close(struct role_s3 *s3)
{
    if (s3->buckets)
        buckets_close(s3->buckets);
    if (s3->creds)
        creds_free(s3->creds);
}

enum err role_s3_listen(struct role *r, const struct front_role *role, const struct control_role *control,
                        char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    struct front_conf conf = {.threads = s->threads,
                              .listen = {{s->listen, s->tls_listen.n ? NULL : r->tls[0]}, {s->tls_listen, r->tls[0]}},
                              .limits = s->limits,
                              .io = r->io,
                              .cpu = r->cpu,
                              .role = *role,
                              .control = *control};

    return front_open(&conf, &r->front, why);
}

struct gateway *role_s3_gateway(const struct role_s3 *s3, const struct role *r, struct loop *loop, struct store *store,
                                struct control *control)
{
    return gateway_new(&(struct gateway_env){.s3 = {.loop = loop,
                                                    .store = store,
                                                    .buckets = s3->buckets,
                                                    .creds = s3->creds,
                                                    .cpu = r->cpu,
                                                    .conf = &s3->conf},
                                             .control = control});
}

void role_s3_tell(const struct role_s3 *s3, const struct role *r)
{
    banner_print(&(struct banner){&r->settings, r->settings.auth == AUTH_SIGNED ? &s3->credentials : NULL,
                                  front_bound(r->front, 0), front_bound(r->front, 1)});
}
