/* `sluice ls`: buckets, or what is in one. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/progress.h"

enum { LIST_NO_RECURSION = 2048, LIST_ARCHIVES = 8, ENTRY_DIR = 256, ENTRY_ARCHIVE = 512, LINE_MAX_LEN = 64 << 10 };

struct ls {
    struct client_options options;
    bool recursive, archives, sizes, bytes;
    struct client client;
    uint64_t count, total;
};

static int list_buckets(struct ls *v)
{
    struct client *c = &v->client;
    struct web_res res;
    struct doc *d;
    int code;

    client_begin(c);
    buf_add_z(&c->path, "/v1/buckets");
    client_action(c, "list", STR(""));
    js_null(&c->body);
    client_action_end(c);
    if ((code = client_ask(c, "GET", NULL, &res, "buckets")) != 0 || (code = client_json(c, res.text, &d)) != 0)
        return code;
    for (const struct doc *b = d->first; b; b = b->next) {
        const struct doc *space = doc_get(b, STR("namespace"));
        struct str uuid = client_text(space, "uuid"), name = client_text(space, "name");
        if (v->options.json) {
            struct buf line = BUF_INIT(LINE_MAX_LEN);
            js_doc(&line, b);
            printf("%.*s\n", STR_ARG(buf_str(&line)));
            buf_release(&line);
        } else {
            printf(STR_FMT "://", STR_ARG(client_text(b, "provider")));
            if (uuid.n || name.n)
                printf("@" STR_FMT "#" STR_FMT "/", STR_ARG(uuid), STR_ARG(name));
            printf(STR_FMT "\n", STR_ARG(client_text(b, "name")));
        }
    }
    return 0;
}

static void print_entry(struct ls *v, const struct doc *e)
{
    uint64_t size = client_number(e, "size"), flags = client_number(e, "flags");
    char text[32];

    if (!(flags & ENTRY_DIR)) {
        v->count++;
        v->total += size;
    }
    if (v->options.json) {
        struct buf line = BUF_INIT(LINE_MAX_LEN);
        js_doc(&line, e);
        printf("%.*s\n", STR_ARG(buf_str(&line)));
        buf_release(&line);
    } else if (flags & ENTRY_DIR) {
        printf("%14s  " STR_FMT "\n", "DIR", STR_ARG(client_text(e, "name")));
    } else if (v->bytes) {
        printf("%14llu  " STR_FMT "\n", (unsigned long long)size, STR_ARG(client_text(e, "name")));
    } else {
        printf("%14s  " STR_FMT "\n", progress_size(size, text), STR_ARG(client_text(e, "name")));
    }
}

static int list_objects(struct ls *v, const char *word)
{
    struct client_list l = {.props = "name,size"};
    char why[PLACE_WHY_MAX], text[32];
    int code;

    if (!place_parse(word, &l.place, why))
        return command_usage("%s", why);
    l.prefix = l.place.key;
    l.flags = v->archives ? LIST_ARCHIVES : v->recursive ? 0 : LIST_NO_RECURSION;
    while ((code = client_list_next(&v->client, &l)) == 0 && l.entries)
        for (const struct doc *e = l.entries->first; e; e = e->next)
            print_entry(v, e);
    client_list_release(&l);
    if (code == 0 && v->sizes && !v->options.json)
        printf("%llu objects, %s\n", (unsigned long long)v->count, progress_size(v->total, text));
    return code;
}

int command_ls(int argc, char **argv)
{
    struct ls v = {.recursive = false};
    const struct flag flags[] = {CLIENT_FLAGS(&v.options),
                                 {"--recursive", "-r", .on = &v.recursive},
                                 {"--archive", "-a", .on = &v.archives},
                                 {"--summary", "-s", .on = &v.sizes},
                                 {"--bytes", "-b", .on = &v.bytes},
                                 {NULL}};
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc > 1)
        return command_usage("ls wants one bucket or prefix: sluice ls [BUCKET[/PREFIX]]");
    if ((code = client_open(&v.client, &v.options)) == 0) {
        bool is_scheme_alone = argc == 1 && strlen(argv[0]) > 3 && str_ends(str_z(argv[0]), STR("://"));
        code = argc == 0 || is_scheme_alone ? list_buckets(&v) : list_objects(&v, argv[0]);
        client_close(&v.client);
    }
    return code;
}
