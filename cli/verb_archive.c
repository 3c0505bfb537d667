/* `sluice archive`: archives made of objects by the server, and what is in them. */
#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_format.h"
#include "base/json.h"
#include "cli/client.h"
#include "cli/progress.h"
#include "cli/shards.h"

enum { LIST_ARCHIVES = 8, ENTRY_IN_ARCHIVE = 128, WORDS_MAX = 64 };

/* ---- create ---- */

struct create {
    struct client_options options;
    bool append, base_name, with_bucket, goes_on, no_wait, all;
    const char *list, *name_template, *prefix, *mime;
};

static int write_selection(const struct create *v, struct buf *b)
{
    if ((v->list != NULL) + (v->name_template != NULL) + (v->prefix != NULL) + v->all != 1)
        return command_usage("say which objects: one of --list A,B,C, --template T, --prefix P, --all");
    if (v->list) {
        struct str rest = str_z(v->list);
        js_key(b, STR("objnames"));
        js_array(b);
        while (rest.n)
            js_str(b, str_split(&rest, ','));
        js_end_array(b);
        return 0;
    }
    js_put_str(b, "template", v->all ? STR("") : str_z(v->name_template ? v->name_template : v->prefix));
    return 0;
}

static int create_ask(const struct create *v, struct client *c, const struct place *from, const struct place *to,
                      const char *word)
{
    struct web_res res;
    int code;

    client_begin(c);
    place_bucket_path(&c->path, from);
    place_query(&c->query, from);
    client_action(c, "archive", STR(""));
    js_object(&c->body);
    if ((code = write_selection(v, &c->body)) != 0)
        return code;
    js_put_str(&c->body, "archname", to->key);
    js_key(&c->body, STR("tobck"));
    place_json(&c->body, to);
    if (v->mime)
        js_put_str(&c->body, "mime", str_z(v->mime));
    js_put_bool(&c->body, "aate", v->append);
    js_put_bool(&c->body, "isbn", v->with_bucket);
    js_put_bool(&c->body, "bnonly", v->base_name);
    js_put_bool(&c->body, "coer", v->goes_on);
    js_end_object(&c->body);
    client_action_end(c);
    if ((code = client_ask(c, "PUT", NULL, &res, word)) != 0)
        return code;
    struct str id = arena_str(&c->arena, res.text);
    if (v->no_wait || !v->options.quiet)
        printf(STR_FMT "\n", STR_ARG(id));
    return v->no_wait ? 0 : client_wait(c, id, 0);
}

static int run_create(int argc, char **argv)
{
    struct create v = {.append = false};
    const struct flag flags[] = {CLIENT_FLAGS(&v.options),
                                 {"--list", NULL, .text = &v.list},
                                 {"--template", NULL, .text = &v.name_template},
                                 {"--prefix", NULL, .text = &v.prefix},
                                 {"--all", NULL, .on = &v.all},
                                 {"--mime", NULL, .text = &v.mime},
                                 {"--append-or-put", NULL, .on = &v.append},
                                 {"--base-name", NULL, .on = &v.base_name},
                                 {"--include-src-bck", NULL, .on = &v.with_bucket},
                                 {"--cont-on-err", NULL, .on = &v.goes_on},
                                 {"--no-wait", NULL, .on = &v.no_wait},
                                 {NULL}};
    char why[PLACE_WHY_MAX];
    struct place from, to;
    struct client c;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc != 2)
        return command_usage("sluice archive create BUCKET BUCKET/ARCHIVE.tar --list | --template | --prefix | --all");
    if (!place_parse(argv[0], &from, why) || !place_parse(argv[1], &to, why))
        return command_usage("%s", why);
    if (from.key.n || to.key.n == 0)
        return command_usage("the first word is a bucket, the second the archive: BUCKET BUCKET/ARCHIVE.tar");
    if ((code = client_open(&c, &v.options)) == 0) {
        code = create_ask(&v, &c, &from, &to, argv[1]);
        client_close(&c);
    }
    return code;
}

/* ---- ls ---- */

static int run_ls(int argc, char **argv)
{
    struct client_options o = {.json = false};
    const struct flag flags[] = {CLIENT_FLAGS(&o), {NULL}};
    struct client_list l = {.props = "name,size", .flags = LIST_ARCHIVES};
    char why[PLACE_WHY_MAX], size[32];
    struct client c;
    uint64_t count = 0;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc != 1)
        return command_usage("sluice archive ls BUCKET/ARCHIVE");
    if (!place_parse(argv[0], &l.place, why))
        return command_usage("%s", why);
    if (l.place.key.n == 0)
        return command_usage("say which archive: %s/ARCHIVE; all of a bucket: sluice ls --archive %s", argv[0],
                             argv[0]);
    if ((code = client_open(&c, &o)) != 0)
        return code;
    l.prefix = l.place.key;
    while ((code = client_list_next(&c, &l)) == 0 && l.entries)
        for (const struct doc *e = l.entries->first; e; e = e->next) {
            struct str name = client_text(e, "name");
            if (!(client_number(e, "flags") & ENTRY_IN_ARCHIVE))
                continue;
            count++;
            if (o.json) {
                struct buf line = BUF_INIT(16 << 10);
                js_doc(&line, e);
                printf(STR_FMT "\n", STR_ARG(buf_str(&line)));
                buf_release(&line);
            } else {
                printf("%14s  " STR_FMT "\n", progress_size(client_number(e, "size"), size),
                       STR_ARG(name.n > l.prefix.n + 1 ? str_skip(name, l.prefix.n + 1) : name));
            }
        }
    client_list_release(&l);
    client_close(&c);
    return code == 0 && count == 0 ? command_fail("%s: no such archive, or nothing is in it", argv[0]),
           EXIT_NOT_FOUND          : code;
}

/* ---- get, put, rm: "BUCKET/shard.tar/member", or the member by itself ---- */

/* The place of the archive and the member behind it; the member may also be the next word. */
static int split(const char *word, const char *member, struct client *c, const char **archive, const char **inner)
{
    char why[PLACE_WHY_MAX];
    struct str name, rest;
    struct place p;

    if (!place_parse(word, &p, why))
        return command_usage("%s", why);
    *archive = word;
    *inner = member;
    if (member)
        return 0;
    if (!arc_format_split(p.key, 0, &name, &rest) || rest.n == 0)
        return command_usage("say which member: %s/MEMBER", word);
    *archive = arena_printf(&c->arena, "%.*s", (int)(name.p + name.n - word), word).p;
    *inner = rest.p; /* to the end of the word */
    return 0;
}

/* `words` first, then the rest of the line. */
static int again(int (*command)(int, char **), const char *const *words, int argc, char **rest)
{
    char *all[WORDS_MAX];
    int n = 0;

    for (; *words; words++)
        all[n++] = (char *)(uintptr_t)*words;
    if (argc > WORDS_MAX - n)
        return command_usage("too many words: there are at most %d", WORDS_MAX - n);
    for (int i = 0; i < argc; i++)
        all[n++] = rest[i];
    return command(n, all);
}

/* archive get BUCKET/shard.tar/member [FILE] */
static int run_get(int argc, char **argv)
{
    struct client c = {.arena = ARENA_INIT};
    const char *archive, *inner;
    int code;

    if (argc < 1)
        return command_usage("sluice archive get BUCKET/ARCHIVE/MEMBER [FILE | -]");
    if ((code = split(argv[0], NULL, &c, &archive, &inner)) == 0) {
        const char *const words[] = {archive, "--archpath", inner, NULL};
        code = again(command_get, words, argc - 1, argv + 1);
    }
    arena_release(&c.arena);
    return code;
}

/* archive put FILE BUCKET/shard.tar/member [--append | --append-or-put] */
static int run_put(int argc, char **argv)
{
    struct client c = {.arena = ARENA_INIT};
    const char *archive, *inner;
    int code;

    if (argc < 2)
        return command_usage("sluice archive put FILE BUCKET/ARCHIVE/MEMBER [--append | --append-or-put]");
    if ((code = split(argv[1], NULL, &c, &archive, &inner)) == 0) {
        const char *const words[] = {argv[0], archive, "--archpath", inner, NULL};
        code = again(command_put, words, argc - 2, argv + 2);
    }
    arena_release(&c.arena);
    return code;
}

static int run_rm(int argc, char **argv)
{
    struct client_options o = {.json = false};
    const struct flag flags[] = {CLIENT_FLAGS(&o), {NULL}};
    char why[PLACE_WHY_MAX];
    const char *archive, *inner;
    struct web_res res;
    struct place p;
    struct client c;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc < 1 || argc > 2)
        return command_usage("sluice archive rm BUCKET/ARCHIVE/MEMBER");
    if ((code = client_open(&c, &o)) != 0)
        return code;
    code = split(argv[0], argc > 1 ? argv[1] : NULL, &c, &archive, &inner);
    if (code == 0 && !place_parse(archive, &p, why))
        code = command_usage("%s", why);
    if (code == 0) {
        client_begin(&c);
        place_object_path(&c.path, &p, p.key);
        place_query(&c.query, &p);
        buf_add_z(&c.query, "&archpath=");
        web_encode(&c.query, str_z(inner), true);
        code = client_ask(&c, "DELETE", NULL, &res, argv[0]);
    }
    client_close(&c);
    return code;
}

/* ---- the verbs ---- */

int command_archive(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } verbs[] = {{"create", run_create}, {"ls", run_ls}, {"get", run_get},
                 {"put", run_put},       {"rm", run_rm}, {"shard", command_archive_shard}};

    for (size_t i = 0; argc > 0 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[0], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    return command_usage("say what to do: sluice archive create, ls, get, put, rm or shard");
}
