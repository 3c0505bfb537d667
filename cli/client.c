#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/client_token.h"
#include "cli/progress.h"

enum { PATH_TEXT_MAX = 16 << 10, NODES_MAX = 4 << 20 };

/* ---- where and who ---- */

static const char *first_set(const char *const *names)
{
    for (; *names; names++) {
        const char *v = getenv(*names);
        if (v && *v)
            return v;
    }
    return NULL;
}

static const char *endpoint_of(struct client *c)
{
    static const char *const names[] = {"SLUICE_ENDPOINT", "AIS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL",
                                        NULL};
    const char *text = c->options->endpoint ? c->options->endpoint : first_set(names);
    struct str s;

    if (!text)
        return "http://127.0.0.1:9000";
    s = str_z(text);
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    if (!str_starts(s, STR("http://")) && !str_starts(s, STR("https://")))
        return arena_printf(&c->arena, "http://" STR_FMT, STR_ARG(s)).p;
    return arena_printf(&c->arena, STR_FMT, STR_ARG(s)).p;
}

int client_open(struct client *c, const struct client_options *o)
{
    static const char *const tokens[] = {"AIS_AUTHN_TOKEN", NULL};
    static const char *const cas[] = {"AIS_CLIENT_CA", "AWS_CA_BUNDLE", NULL};

    hash_setup();
    *c = (struct client){.options = o};
    c->conf = (struct web_conf){.endpoint = endpoint_of(c),
                                .token = o->token ? o->token : first_set(tokens),
                                .ca_file = o->ca_file ? o->ca_file : first_set(cas),
                                .insecure = o->insecure};
    if (!c->conf.token)
        c->conf.token = client_token(&c->arena);
    c->web = web_open(&c->conf);
    buf_init(&c->path, PATH_TEXT_MAX);
    buf_init(&c->query, PATH_TEXT_MAX);
    buf_init(&c->body, CLIENT_TEXT_MAX);
    return 0;
}

void client_again(struct client *c, const struct client *of)
{
    *c = (struct client){.options = of->options, .conf = of->conf};
    c->web = web_open(&c->conf);
    buf_init(&c->path, PATH_TEXT_MAX);
    buf_init(&c->query, PATH_TEXT_MAX);
    buf_init(&c->body, CLIENT_TEXT_MAX);
}

void client_close(struct client *c)
{
    web_close(c->web);
    buf_release(&c->path);
    buf_release(&c->query);
    buf_release(&c->body);
    arena_release(&c->arena);
}

/* ---- asking ---- */

void client_begin(struct client *c)
{
    buf_reset(&c->path);
    buf_reset(&c->query);
    buf_reset(&c->body);
}

/* What the server says in words: the message of its error document, or the text as it is. */
static struct str message_of(struct arena *a, struct str text)
{
    char why[DOC_WHY_MAX];
    struct str said;
    struct doc *d;

    if (text.n && text.p[0] == '{' && js_read(a, text, &d, why) == ERR_OK) {
        said = client_text(d, "message");
        if (said.n)
            return said;
    }
    while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    return text.n > 300 ? str_n(text.p, 300) : text;
}

int client_refused(const struct client *c, const struct web_res *res, const char *what)
{
    struct arena arena = ARENA_INIT;
    struct str said = message_of(&arena, res->text);

    if (res->status == 0)
        command_fail("%s: %s", what, res->why[0] ? res->why : "broken off");
    else if (res->status == 401 || res->status == 403)
        command_fail(
            "%s: refused (%d). Set SLUICE_ACCESS_KEY and SLUICE_SECRET_KEY, or AIS_AUTHN_TOKEN" STR_FMT STR_FMT, what,
            res->status, said.n ? 2 : 0, ": ", STR_ARG(said));
    else if (said.n)
        command_fail("%s: " STR_FMT, what, STR_ARG(said));
    else if (res->status == 404)
        command_fail("%s: does not exist", what);
    else
        command_fail("%s: %s answered %d", what, c->conf.endpoint, res->status);
    arena_release(&arena);
    return res->status == 404 ? EXIT_NOT_FOUND : EXIT_FAILURE;
}

int client_ask(struct client *c, const char *method, const struct web_req *req, struct web_res *res, const char *what)
{
    struct web_req own = req ? *req : (struct web_req){.method = method};

    if (buf_err(&c->path) != ERR_OK || buf_err(&c->query) != ERR_OK || buf_err(&c->body) != ERR_OK)
        return command_fail("%s: the request would be too long", what);
    own.method = method;
    own.path = buf_str(&c->path);
    own.query = buf_str(&c->query);
    if (c->body.n)
        own.json = buf_str(&c->body);
    if (web_ask(c->web, &own, res) && web_is_ok(res))
        return 0;
    return client_refused(c, res, what);
}

void client_action(struct client *c, const char *action, struct str name)
{
    js_object(&c->body);
    js_put_str(&c->body, "action", str_z(action));
    js_put_str(&c->body, "name", name);
    js_key(&c->body, STR("value"));
}

void client_action_end(struct client *c)
{
    js_end_object(&c->body);
}

/* ---- answers ---- */

static enum err read_json(struct arena *a, struct str text, struct doc **out)
{
    const struct js_bounds bounds = {CLIENT_TEXT_MAX, NODES_MAX};
    char why[DOC_WHY_MAX];

    return js_read_within(a, text, &bounds, out, why);
}

int client_json(struct client *c, struct str text, struct doc **out)
{
    if (read_json(&c->arena, text, out) == ERR_OK)
        return 0;
    return command_fail("%s answered something else than JSON", c->conf.endpoint);
}

struct str client_text(const struct doc *d, const char *name)
{
    const struct doc *found = d ? doc_get(d, str_z(name)) : NULL;

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

uint64_t client_number(const struct doc *d, const char *name)
{
    uint64_t n = 0;

    return str_to_u64(client_text(d, name), UINT64_MAX, &n) ? n : 0;
}

/* ---- jobs ---- */

enum { PAUSE_FIRST_MS = 20, PAUSE_MAX_MS = 500 };

static int look_at_job(struct client *c, struct str id, const struct doc **out)
{
    struct web_res res;
    struct doc *d;
    int code;

    client_begin(c);
    buf_add_z(&c->path, "/v1/jobs/");
    web_encode(&c->path, id, true);
    if ((code = client_ask(c, "GET", NULL, &res, "job")) != 0 || (code = client_json(c, res.text, &d)) != 0)
        return code;
    *out = d;
    return 0;
}

static int judge(const struct doc *job, struct str id)
{
    struct str state = client_text(job, "state");
    uint64_t failed = client_number(job, "failed");
    const struct doc *parts = doc_get(job, STR("parts"));

    if (str_eq(state, STR("done")) && failed == 0)
        return 0;
    command_fail("job " STR_FMT ": " STR_FMT ", %llu failed", STR_ARG(id), STR_ARG(state), (unsigned long long)failed);
    for (const struct doc *p = parts ? parts->first : NULL; p; p = p->next) {
        const struct doc *errors = doc_get(p, STR("errors"));
        for (const struct doc *e = errors ? errors->first : NULL; e; e = e->next)
            fprintf(stderr, "    " STR_FMT "\n", STR_ARG(e->text));
    }
    return EXIT_FAILURE;
}

int client_wait(struct client *c, struct str id, uint64_t timeout_s)
{
    struct progress *p = progress_begin("job", 0, 0, c->options->quiet);
    uint64_t waited_ms = 0, bytes = 0, things = 0;
    unsigned pause_ms = PAUSE_FIRST_MS;
    const struct doc *job = NULL;
    int code;

    while ((code = look_at_job(c, id, &job)) == 0) {
        uint64_t now = client_number(job, "bytes"), done = client_number(job, "ok");
        progress_add(p, now > bytes ? now - bytes : 0, done > things ? done - things : 0);
        bytes = now;
        things = done;
        if (!str_eq(client_text(job, "state"), STR("running")))
            break;
        if (timeout_s && waited_ms > timeout_s * 1000) {
            progress_end(p);
            return command_fail("job " STR_FMT " still runs after %llu seconds", STR_ARG(id),
                                (unsigned long long)timeout_s);
        }
        usleep(pause_ms * 1000);
        waited_ms += pause_ms;
        pause_ms = pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms * 2;
    }
    progress_end(p);
    return code == 0 ? judge(job, id) : code;
}

/* ---- listings ---- */

static void list_ask(struct client *c, const struct client_list *l)
{
    client_begin(c);
    place_bucket_path(&c->path, &l->place);
    place_query(&c->query, &l->place);
    client_action(c, "list", STR(""));
    js_object(&c->body);
    js_put_str(&c->body, "prefix", l->prefix);
    js_put_u64(&c->body, "pagesize", l->page);
    js_put_str(&c->body, "props", str_z(l->props));
    js_put_str(&c->body, "continuation_token", buf_str(&l->token));
    js_put_str(&c->body, "flags", arena_printf(&c->arena, "%u", l->flags));
    js_end_object(&c->body);
    client_action_end(c);
}

int client_list_next(struct client *c, struct client_list *l)
{
    struct web_res res;
    struct doc *d;
    int code;

    if (!l->begun) {
        buf_init(&l->token, PATH_TEXT_MAX);
        l->begun = true;
    }
    arena_release(&l->arena);
    l->arena = (struct arena)ARENA_INIT;
    l->entries = NULL;
    if (l->ended)
        return 0;
    list_ask(c, l);
    if ((code = client_ask(c, "GET", NULL, &res, arena_printf(&l->arena, STR_FMT, STR_ARG(l->place.bucket)).p)) != 0)
        return code;
    if (read_json(&l->arena, res.text, &d) != ERR_OK)
        return command_fail("%s answered something else than JSON", c->conf.endpoint);
    l->entries = doc_get(d, STR("entries"));
    buf_reset(&l->token);
    buf_add_str(&l->token, client_text(d, "continuation_token"));
    l->ended = l->token.n == 0;
    if (l->entries && l->entries->kind != DOC_LIST)
        l->entries = NULL;
    return !l->entries && !l->ended ? client_list_next(c, l) : 0;
}

void client_list_release(struct client_list *l)
{
    if (l->begun)
        buf_release(&l->token);
    arena_release(&l->arena);
}
