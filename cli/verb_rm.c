/* `sluice rm` and `sluice cp`: objects that change without their bytes coming here. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "cli/client.h"

/* ---- rm ---- */

struct rm {
    struct client_options options;
    bool recursive, yes;
    const char *name_template;
};

static int remove_one(struct client *c, const struct place *p, const char *word)
{
    struct web_res res;

    client_begin(c);
    place_object_path(&c->path, p, p->key);
    place_query(&c->query, p);
    return client_ask(c, "DELETE", NULL, &res, word);
}

/* Many: the server's job does it. */
static int remove_many(struct client *c, const struct place *p, struct str name_template, const char *word)
{
    struct web_res res;
    int code;

    client_begin(c);
    place_bucket_path(&c->path, p);
    place_query(&c->query, p);
    client_action(c, "delete-listrange", STR(""));
    js_object(&c->body);
    js_put_str(&c->body, "template", name_template);
    js_end_object(&c->body);
    client_action_end(c);
    if ((code = client_ask(c, "DELETE", NULL, &res, word)) != 0)
        return code;
    return client_wait(c, arena_str(&c->arena, res.text), 0);
}

static int remove_word(const struct rm *v, struct client *c, const char *word)
{
    char why[PLACE_WHY_MAX];
    struct place p;

    if (!place_parse(word, &p, why))
        return command_usage("%s", why);
    if (v->name_template && p.key.n)
        return command_usage("--template names whole keys: leave out the one behind the bucket in %s", word);
    if (v->name_template)
        return remove_many(c, &p, str_z(v->name_template), word);
    if (!v->recursive && p.key.n == 0)
        return command_usage("say which object: %s/KEY; --recursive removes all that begins so", word);
    if (v->recursive && p.key.n == 0 && !v->yes)
        return command_usage("this removes all objects of %s: add --yes", word);
    return v->recursive ? remove_many(c, &p, p.key, word) : remove_one(c, &p, word);
}

int command_rm(int argc, char **argv)
{
    struct rm v = {.recursive = false};
    const struct flag flags[] = {CLIENT_FLAGS(&v.options),
                                 {"--recursive", "-r", .on = &v.recursive},
                                 {"--template", NULL, .text = &v.name_template},
                                 {"--yes", "-y", .on = &v.yes},
                                 {NULL}};
    struct client c;
    int code = flags_read(flags, &argc, argv), worst = 0;

    if (code != 0)
        return code;
    if (argc < 1)
        return command_usage("rm wants objects: sluice rm BUCKET/KEY..., or BUCKET --template T");
    if ((code = client_open(&c, &v.options)) != 0)
        return code;
    for (int i = 0; i < argc; i++)
        if ((code = remove_word(&v, &c, argv[i])) != 0)
            worst = code;
    client_close(&c);
    return worst;
}

/* ---- cp ---- */

struct cp {
    struct client_options options;
    bool recursive;
    const char *prepend;
};

static int copy_one(struct client *c, const struct place *from, const struct place *to, const char *word)
{
    struct str key = to->key;
    struct web_res res;

    if (to->is_prefix) {
        struct str base = from->key;
        for (size_t at; (at = str_find_char(base, '/')) != SIZE_MAX;)
            base = str_skip(base, at + 1);
        key = arena_printf(&c->arena, STR_FMT STR_FMT, STR_ARG(key), STR_ARG(base));
    }
    client_begin(c);
    place_object_path(&c->path, from, from->key);
    place_query(&c->query, from);
    buf_add_z(&c->query, "&object_to=");
    place_uname(&c->query, to, key);
    return client_ask(c, "PUT", NULL, &res, word);
}

static int copy_bucket(const struct cp *v, struct client *c, const struct place *from, const struct place *to,
                       const char *word)
{
    struct web_res res;
    int code;

    client_begin(c);
    place_bucket_path(&c->path, from);
    place_query(&c->query, from);
    buf_add_z(&c->query, "&bck_to=");
    place_uname(&c->query, to, STR(""));
    client_action(c, "copy-bck", STR(""));
    js_object(&c->body);
    js_put_str(&c->body, "prefix", from->key);
    js_put_str(&c->body, "prepend", v->prepend ? str_z(v->prepend) : to->key);
    js_end_object(&c->body);
    client_action_end(c);
    if ((code = client_ask(c, "POST", NULL, &res, word)) != 0)
        return code;
    return client_wait(c, arena_str(&c->arena, res.text), 0);
}

int command_cp(int argc, char **argv)
{
    struct cp v = {.recursive = false};
    const struct flag flags[] = {CLIENT_FLAGS(&v.options),
                                 {"--recursive", "-r", .on = &v.recursive},
                                 {"--prepend", NULL, .text = &v.prepend},
                                 {NULL}};
    char why[PLACE_WHY_MAX];
    struct place from, to;
    struct client c;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc != 2)
        return command_usage(
            "cp wants two places in the store: sluice cp BUCKET/KEY BUCKET[/KEY]; files: sluice put, get");
    if (!place_parse(argv[0], &from, why) || !place_parse(argv[1], &to, why))
        return command_usage("%s", why);
    if (from.key.n == 0 && !v.recursive)
        return command_usage("say which object: %s/KEY, or --recursive for all", argv[0]);
    if (v.prepend && !v.recursive)
        return command_usage("--prepend goes with --recursive: the copy of one object is named by the second word");
    if ((code = client_open(&c, &v.options)) == 0) {
        code = v.recursive ? copy_bucket(&v, &c, &from, &to, argv[0]) : copy_one(&c, &from, &to, argv[0]);
        client_close(&c);
    }
    return code;
}
