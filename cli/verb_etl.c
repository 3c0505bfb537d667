/* `sluice etl`: transforms of a running server, made, looked at and used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/json.h"
#include "cli/client.h"

enum { SPEC_MAX = 512 << 10, LOG_MAX = 1 << 20 };

struct etl {
    struct client_options options;
    const char *comm, *image, *timeout, *object_timeout, *args, *prepend, *ext;
    bool network, dry, keep_going, members;
    uint64_t workers;
};

/* ---- making ---- */

static void etl_path(struct client *c, const char *name, const char *more)
{
    client_begin(c);
    buf_add_z(&c->path, "/v1/etl");
    if (name) {
        buf_add_char(&c->path, '/');
        web_encode(&c->path, str_z(name), true);
    }
    if (more)
        buf_add_z(&c->path, more);
}

static int send_spec(struct client *c, const char *name)
{
    struct web_res res;
    int code;

    if ((code = client_ask(c, "PUT", NULL, &res, name)) != 0)
        return code;
    printf(STR_FMT "\n", STR_ARG(res.text));
    return 0;
}

static int run_init(struct client *c, int argc, char **argv)
{
    FILE *f;
    size_t n;
    char *p;

    if (argc != 1)
        return command_usage("etl init wants the file with the specification, or -");
    f = strcmp(argv[0], "-") == 0 ? stdin : fopen(argv[0], "r");
    if (!f)
        return command_fail("%s can't be opened", argv[0]);
    etl_path(c, NULL, NULL);
    while ((p = buf_reserve(&c->body, SPEC_MAX / 8)) != NULL && (n = fread(p, 1, SPEC_MAX / 8, f)) > 0)
        buf_commit(&c->body, n);
    bool bad = ferror(f) != 0;
    if (f != stdin)
        fclose(f);
    if (bad || buf_err(&c->body) != ERR_OK || c->body.n > SPEC_MAX)
        return command_fail("%s can't be read, or is longer than %d bytes", argv[0], SPEC_MAX);
    if (c->body.n == 0)
        return command_fail("%s is empty", argv[0]);
    return send_spec(c, argv[0]);
}

static void put_text(struct buf *b, const char *name, const char *value)
{
    if (value)
        js_put_str(b, name, str_z(value));
}

static int run_create(const struct etl *v, struct client *c, int argc, char **argv)
{
    struct buf *b = &c->body;

    if (argc < 1 || (argc < 2 && !v->image))
        return command_usage("etl create wants a name and what to run: sluice etl create NAME -- COMMAND...");
    etl_path(c, NULL, NULL);
    js_object(b);
    put_text(b, "name", argv[0]);
    if (v->comm)
        js_put_str(b, "communication", arena_printf(&c->arena, "%s://", v->comm));
    put_text(b, "init_timeout", v->timeout);
    put_text(b, "obj_timeout", v->object_timeout);
    js_key(b, STR("runtime"));
    js_object(b);
    put_text(b, "image", v->image);
    if (v->network)
        js_put_str(b, "network", STR("host"));
    if (argc > 1) {
        js_key(b, STR("command"));
        js_array(b);
        for (int i = 1; i < argc; i++)
            js_str(b, str_z(argv[i]));
        js_end_array(b);
    }
    js_end_object(b);
    js_end_object(b);
    return send_spec(c, argv[0]);
}

static int run_plain(struct client *c, const char *method, const char *name, const char *more)
{
    struct web_res res;

    etl_path(c, name, more);
    return client_ask(c, method, NULL, &res, name);
}

/* ---- looks ---- */

static int ask_json(struct client *c, const char *what, struct doc **out)
{
    struct web_res res;
    int code = client_ask(c, "GET", NULL, &res, what);

    if (code != 0)
        return code;
    if (c->options->json)
        printf(STR_FMT "\n", STR_ARG(res.text));
    return client_json(c, res.text, out);
}

static int run_list(struct client *c)
{
    struct doc *d;
    int code;

    etl_path(c, NULL, NULL);
    if ((code = ask_json(c, "etl", &d)) != 0 || c->options->json)
        return code;
    printf("%-32s  %-12s  %10s  %14s  %14s\n", "NAME", "STAGE", "OBJECTS", "BYTES IN", "BYTES OUT");
    for (const struct doc *e = d->kind == DOC_LIST ? d->first : NULL; e; e = e->next)
        printf("%-32.*s  %-12.*s  %10llu  %14llu  %14llu\n", STR_ARG(client_text(e, "id")),
               STR_ARG(client_text(e, "stage")), (unsigned long long)client_number(e, "obj_count"),
               (unsigned long long)client_number(e, "in_bytes"), (unsigned long long)client_number(e, "out_bytes"));
    return 0;
}

static int run_show(struct client *c, const char *name)
{
    struct doc *d;
    int code;

    etl_path(c, name, NULL);
    if ((code = ask_json(c, name, &d)) != 0 || c->options->json)
        return code;
    const struct doc *spec = doc_get(d, STR("init_msg"));
    printf("stage: " STR_FMT "\ncommunication: " STR_FMT "\n", STR_ARG(client_text(d, "stage")),
           STR_ARG(spec ? client_text(spec, "communication") : STR("")));
    etl_path(c, name, "/health");
    if ((code = ask_json(c, name, &d)) != 0)
        return code;
    for (const struct doc *n = d->kind == DOC_LIST ? d->first : NULL; n; n = n->next) {
        printf("node " STR_FMT ": " STR_FMT ", started again %llu times\n", STR_ARG(client_text(n, "target_id")),
               STR_ARG(client_text(n, "health_status")), (unsigned long long)client_number(n, "restarts"));
        if (client_text(n, "error").n)
            printf("  " STR_FMT "\n", STR_ARG(client_text(n, "error")));
    }
    return 0;
}

static int run_logs(struct client *c, int argc, char **argv)
{
    struct doc *d;
    int code;

    etl_path(c, argv[0], "/logs");
    if (argc > 1) {
        buf_add_char(&c->path, '/');
        web_encode(&c->path, str_z(argv[1]), true);
    }
    if ((code = ask_json(c, argv[0], &d)) != 0 || c->options->json)
        return code;
    for (const struct doc *n = d->kind == DOC_LIST ? d->first : NULL; n; n = n->next) {
        struct str text = client_text(n, "logs");
        char *plain = arena_alloc(&c->arena, text.n + 1);
        size_t got = 0;
        if (d->count > 1)
            printf("==> " STR_FMT " <==\n", STR_ARG(client_text(n, "target_id")));
        if (!base64_decode(text, plain, text.n + 1, &got))
            return command_fail("the server's answer can't be read");
        fwrite(plain, 1, got, stdout);
    }
    return 0;
}

/* ---- use ---- */

static int parse_bucket(const char *word, struct place *p)
{
    char why[PLACE_WHY_MAX];

    return place_parse(word, p, why) ? 0 : command_usage("%s", why);
}

/* A bucket that shows another one through ETLs. */
static int run_view(const struct etl *v, struct client *c, int argc, char **argv)
{
    struct place view, source;
    struct web_res res;
    int code;

    if (argc < 3)
        return command_usage(
            "etl view wants a new bucket, the one it shows, and ETLs: sluice etl view NEW BUCKET ETL...");
    if ((code = parse_bucket(argv[0], &view)) != 0 || (code = parse_bucket(argv[1], &source)) != 0)
        return code;
    client_begin(c);
    place_bucket_path(&c->path, &view);
    place_query(&c->query, &view);
    client_action(c, "create-bck", STR(""));
    js_object(&c->body);
    js_key(&c->body, STR("sluice"));
    js_object(&c->body);
    js_key(&c->body, STR("view"));
    js_object(&c->body);
    js_put_str(&c->body, "source", source.bucket);
    js_put_str(&c->body, "prefix", source.key);
    js_key(&c->body, STR("etl"));
    js_array(&c->body);
    for (int i = 2; i < argc; i++) {
        js_object(&c->body);
        put_text(&c->body, "name", argv[i]);
        put_text(&c->body, "args", v->args);
        js_end_object(&c->body);
    }
    js_end_array(&c->body);
    js_put_bool(&c->body, "members", v->members);
    js_end_object(&c->body);
    js_end_object(&c->body);
    js_end_object(&c->body);
    client_action_end(c);
    return client_ask(c, "POST", NULL, &res, argv[0]);
}

static void put_ext(struct client *c, const char *ext)
{
    struct str from = str_z(ext), to = from;

    from = str_split(&to, '=');
    js_key(&c->body, STR("ext"));
    js_object(&c->body);
    js_key(&c->body, arena_str(&c->arena, from));
    js_str(&c->body, to);
    js_end_object(&c->body);
}

/* All objects of a bucket into another one, by a job. */
static int run_bucket(const struct etl *v, struct client *c, int argc, char **argv)
{
    struct place from, to;
    struct web_res res;
    int code;

    if (argc < 3)
        return command_usage("etl bucket wants two buckets and ETLs: sluice etl bucket FROM TO ETL...");
    if (v->ext && !strchr(v->ext, '='))
        return command_usage("--ext is FROM=TO, such as jpg=png");
    if ((code = parse_bucket(argv[0], &from)) != 0 || (code = parse_bucket(argv[1], &to)) != 0)
        return code;
    client_begin(c);
    place_bucket_path(&c->path, &from);
    place_query(&c->query, &from);
    buf_add_z(&c->query, "&bck_to=");
    place_uname(&c->query, &to, STR(""));
    client_action(c, "etl-bck", STR(""));
    js_object(&c->body);
    js_put_str(&c->body, "prefix", from.key);
    js_put_str(&c->body, "prepend", v->prepend ? str_z(v->prepend) : to.key);
    put_text(&c->body, "id", argv[2]);
    js_key(&c->body, STR("pipeline"));
    js_array(&c->body);
    for (int i = 3; i < argc; i++)
        js_str(&c->body, str_z(argv[i]));
    js_end_array(&c->body);
    put_text(&c->body, "args", v->args);
    if (v->ext)
        put_ext(c, v->ext);
    js_put_bool(&c->body, "members", v->members);
    js_put_bool(&c->body, "dry_run", v->dry);
    js_put_bool(&c->body, "coer", v->keep_going);
    if (v->workers)
        js_put_u64(&c->body, "num-workers", v->workers);
    js_end_object(&c->body);
    client_action_end(c);
    if ((code = client_ask(c, "POST", NULL, &res, argv[0])) != 0)
        return code;
    return client_wait(c, arena_str(&c->arena, res.text), 0);
}

/* ---- which ---- */

static int run_verb(const struct etl *v, struct client *c, int argc, char **argv)
{
    static const struct {
        const char *verb, *method, *more;
    } plain[] = {{"start", "POST", "/start"}, {"stop", "POST", "/stop"}, {"rm", "DELETE", NULL}};
    const char *verb = argv[0];

    argc--;
    argv++;
    if (strcmp(verb, "init") == 0)
        return run_init(c, argc, argv);
    if (strcmp(verb, "create") == 0)
        return run_create(v, c, argc, argv);
    if (strcmp(verb, "list") == 0 && argc == 0)
        return run_list(c);
    if (strcmp(verb, "show") == 0 && argc == 1)
        return run_show(c, argv[0]);
    if (strcmp(verb, "logs") == 0 && (argc == 1 || argc == 2))
        return run_logs(c, argc, argv);
    if (strcmp(verb, "view") == 0)
        return run_view(v, c, argc, argv);
    if (strcmp(verb, "bucket") == 0)
        return run_bucket(v, c, argc, argv);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (strcmp(verb, plain[i].verb) == 0 && argc == 1)
            return run_plain(c, plain[i].method, argv[0], plain[i].more);
    return command_usage("sluice etl %s: not so; see sluice help etl", verb);
}

int command_etl(int argc, char **argv)
{
    struct etl v = {.comm = NULL};
    const struct flag flags[] = {CLIENT_FLAGS(&v.options),
                                 {"--comm", NULL, .text = &v.comm},
                                 {"--image", NULL, .text = &v.image},
                                 {"--init-timeout", NULL, .text = &v.timeout},
                                 {"--object-timeout", NULL, .text = &v.object_timeout},
                                 {"--network", NULL, .on = &v.network},
                                 {"--args", NULL, .text = &v.args},
                                 {"--prepend", NULL, .text = &v.prepend},
                                 {"--ext", NULL, .text = &v.ext},
                                 {"--members", NULL, .on = &v.members},
                                 {"--dry-run", NULL, .on = &v.dry},
                                 {"--continue", NULL, .on = &v.keep_going},
                                 {"--workers", NULL, .number = &v.workers},
                                 {NULL}};
    struct client c;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc < 1)
        return command_usage("sluice etl wants to know what to do: see sluice help etl");
    if ((code = client_open(&c, &v.options)) != 0)
        return code;
    code = run_verb(&v, &c, argc, argv);
    client_close(&c);
    return code;
}
