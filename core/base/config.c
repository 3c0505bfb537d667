#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config_value.h"
#include "doc.h"
#include "mem.h"

enum { WHY_MAX = 1024, NAME_MAX_LEN = 96, SUSPECT_DISTANCE = 2 };

struct config {
    const struct config_option *options;
    size_t count;
    const char *prefix;
    void *into;
    struct arena arena;
    const char **origins; /* one per option; NULL = default */
    char why[WHY_MAX];
    char suspect[NAME_MAX_LEN];
};

static enum err fail(struct config *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static enum err fail(struct config *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(c->why, sizeof(c->why), fmt, ap);
    va_end(ap);
    return ERR_SYNTAX;
}

/* ---- names: "limits.head_max" is SLUICE_LIMITS_HEAD_MAX and limits-head-max ---- */

static void env_name(const struct config *c, const char *path, char out[NAME_MAX_LEN])
{
    size_t n = (size_t)snprintf(out, NAME_MAX_LEN, "%s%s", c->prefix, path);

    for (size_t i = 0; i < n && i < NAME_MAX_LEN - 1; i++)
        out[i] = out[i] == '.' ? '_' : out[i] >= 'a' && out[i] <= 'z' ? (char)(out[i] - 32) : out[i];
}

static void flag_name(const struct config *c, const char *path, char out[NAME_MAX_LEN])
{
    (void)c;
    snprintf(out, NAME_MAX_LEN, "--%s", path);
    for (size_t i = 2; out[i]; i++)
        if (out[i] == '.' || out[i] == '_')
            out[i] = '-';
}

static void path_name(const struct config *c, const char *path, char out[NAME_MAX_LEN])
{
    (void)c;
    snprintf(out, NAME_MAX_LEN, "%s", path);
}

/* Edits (insert, drop, replace) that turn a into b. */
static size_t distance(struct str a, struct str b)
{
    size_t row[NAME_MAX_LEN + 1];

    if (a.n > NAME_MAX_LEN || b.n > NAME_MAX_LEN)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t replaced = corner + (a.p[i - 1] != b.p[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = replaced < other ? replaced : other;
        }
    }
    return row[b.n];
}

/* The option whose name is nearest to what was written, NULL when none is near. `name` renders an option's path. */
static const struct config_option *nearest(const struct config *c, struct str written,
                                           void (*name)(const struct config *, const char *, char *))
{
    const struct config_option *best = NULL;
    size_t best_distance = SUSPECT_DISTANCE + 1;

    for (size_t i = 0; i < c->count; i++) {
        char text[NAME_MAX_LEN];
        name(c, c->options[i].path, text);
        size_t d = distance(written, str_z(text));
        if (d < best_distance) {
            best_distance = d;
            best = &c->options[i];
        }
    }
    return best;
}

/* ---- setting one option ---- */

static void *field(const struct config *c, const struct config_option *o)
{
    return (char *)c->into + o->offset;
}

/* `origin` must live as long as the config. */
static enum err set_scalar(struct config *c, const struct config_option *o, struct str text, const char *origin)
{
    char expected[CONFIG_EXPECTED_MAX];

    if (!config_value_parse(o, text, &c->arena, field(c, o), expected)) {
        if (o->secret)
            return fail(c, "%s: %s: expected %s", origin, o->path, expected);
        return fail(c, "%s: %s: expected %s, not %s", origin, o->path, expected, config_value_quote(text, &c->arena));
    }
    c->origins[o - c->options] = origin;
    return ERR_OK;
}

static void set_list(struct config *c, const struct config_option *o, struct config_list list, const char *origin)
{
    *(struct config_list *)field(c, o) = list;
    c->origins[o - c->options] = origin;
}

/* Adds one item behind those that the same origin gave before; drops what an earlier origin gave. */
static void add_item(struct config *c, const struct config_option *o, struct str item, const char *origin)
{
    const char *former = c->origins[o - c->options];
    struct config_list *list = field(c, o), old = *list;
    struct str *items;

    if (!former || strcmp(former, origin) != 0)
        old.count = 0;
    items = arena_alloc(&c->arena, (old.count + 1) * sizeof(*items));
    if (old.count)
        memcpy(items, old.items, old.count * sizeof(*items));
    items[old.count] = arena_str(&c->arena, item);
    set_list(c, o, (struct config_list){items, old.count + 1}, origin);
}

/* "a,b": spaces around the commas do not count, an empty text is an empty list. */
static void set_separated(struct config *c, const struct config_option *o, struct str text, const char *origin)
{
    set_list(c, o, (struct config_list){NULL, 0}, origin);
    while (text.n) {
        struct str item = str_trim(str_split(&text, ','));
        if (item.n)
            add_item(c, o, item, origin);
    }
}

/* ---- the file ---- */

static const char *file_origin(struct config *c, const char *file, unsigned line)
{
    return arena_printf(&c->arena, "%s:%u", file, line).p;
}

static enum err set_from_doc(struct config *c, const struct config_option *o, const struct doc *d, const char *file)
{
    const char *origin = file_origin(c, file, d->line);

    if (o->type != CONFIG_LIST) {
        if (d->kind != DOC_SCALAR)
            return fail(c, "%s: %s: expected one value", origin, o->path);
        return set_scalar(c, o, d->text, origin);
    }
    if (d->kind == DOC_MAP)
        return fail(c, "%s: %s: expected a list", origin, o->path);
    set_list(c, o, (struct config_list){NULL, 0}, origin);
    if (d->kind == DOC_SCALAR) { /* a list of one may be written without brackets */
        if (d->text.n)
            add_item(c, o, d->text, origin);
        return ERR_OK;
    }
    for (const struct doc *item = d->first; item; item = item->next) {
        if (item->kind != DOC_SCALAR || item->text.n == 0)
            return fail(c, "%s: %s: expected a list of texts", origin, o->path);
        add_item(c, o, item->text, origin);
    }
    return ERR_OK;
}

/* Is there an option "path.something"? */
static bool is_group(const struct config *c, struct str path)
{
    for (size_t i = 0; i < c->count; i++) {
        struct str p = str_z(c->options[i].path);
        if (str_starts(p, path) && p.n > path.n && p.p[path.n] == '.')
            return true;
    }
    return false;
}

static const struct config_option *by_path(const struct config *c, struct str path)
{
    for (size_t i = 0; i < c->count; i++)
        if (str_eq(str_z(c->options[i].path), path))
            return &c->options[i];
    return NULL;
}

static enum err unknown_key(struct config *c, const char *file, unsigned line, struct str path)
{
    const struct config_option *guess = nearest(c, path, path_name);

    if (guess)
        return fail(c, "%s:%u: there is no option %s; did you mean %s?", file, line,
                    config_value_quote(path, &c->arena), guess->path);
    return fail(c, "%s:%u: there is no option %s", file, line, config_value_quote(path, &c->arena));
}

static enum err set_map(struct config *c, const struct doc *map, struct str above, const char *file)
{
    enum err e = ERR_OK;

    for (const struct doc *d = map->first; d && e == ERR_OK; d = d->next) {
        struct str path =
            above.n ? arena_printf(&c->arena, STR_FMT "." STR_FMT, STR_ARG(above), STR_ARG(d->key)) : d->key;
        const struct config_option *o = by_path(c, path);
        if (o)
            e = set_from_doc(c, o, d, file);
        else if (!is_group(c, path))
            e = unknown_key(c, file, d->line, path);
        else if (d->kind == DOC_MAP)
            e = set_map(c, d, path, file);
        else if (d->kind != DOC_SCALAR || d->text.n) /* "limits:" with nothing below it is nothing */
            e = fail(c, "%s:%u: " STR_FMT ": expected options below it", file, d->line, STR_ARG(path));
    }
    return e;
}

static enum err read_whole(struct config *c, const char *file, struct buf *out)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    char *at;

    if (fd < 0)
        return fail(c, "%s: %s", file, strerror(errno));
    while ((at = buf_reserve(out, 16384)) != NULL && (n = read(fd, at, 16384)) > 0)
        buf_commit(out, (size_t)n);
    int saved = errno;
    close(fd);
    if (!at)
        return fail(c, "%s: larger than %d bytes", file, DOC_TEXT_MAX);
    return n < 0 ? fail(c, "%s: %s", file, strerror(saved)) : ERR_OK;
}

static enum err load_file(struct config *c, const char *file)
{
    struct buf text = BUF_INIT(DOC_TEXT_MAX + 16384);
    char why[DOC_WHY_MAX];
    struct doc *root;
    enum err e;

    if ((e = read_whole(c, file, &text)) != ERR_OK)
        goto out;
    if ((e = doc_parse(&c->arena, buf_str(&text), &root, why)) != ERR_OK)
        e = fail(c, "%s: %s", file, why);
    else if (root->kind != DOC_MAP)
        e = fail(c, "%s:%u: expected lines like \"option: value\"", file, root->line);
    else
        e = set_map(c, root, STR_NONE, file);
out:
    buf_release(&text);
    return e;
}

/* ---- the environment ---- */

static struct str env_value(char **env, const char *name)
{
    struct str prefix = str_z(name);

    for (; *env; env++) {
        struct str entry = str_z(*env);
        if (str_starts(entry, prefix) && entry.p[prefix.n] == '=')
            return str_skip(entry, prefix.n + 1);
    }
    return STR_NONE;
}

static void env_suspect(struct config *c, char **env)
{
    char config_var[NAME_MAX_LEN];

    env_name(c, "config", config_var);
    for (; *env && !c->suspect[0]; env++) {
        struct str entry = str_z(*env), name = str_split(&entry, '=');
        const struct config_option *guess;
        char text[NAME_MAX_LEN];
        if (!str_starts(name, str_z(c->prefix)) || str_eq(name, str_z(config_var)))
            continue;
        guess = nearest(c, name, env_name);
        if (!guess)
            continue;
        env_name(c, guess->path, text);
        if (!str_eq(name, str_z(text)))
            snprintf(c->suspect, sizeof(c->suspect), STR_FMT, STR_ARG(name));
    }
}

static enum err load_env(struct config *c, char **env)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < c->count && e == ERR_OK; i++) {
        const struct config_option *o = &c->options[i];
        char name[NAME_MAX_LEN];
        env_name(c, o->path, name);
        struct str value = env_value(env, name);
        if (!value.p)
            continue;
        const char *origin = arena_str(&c->arena, str_z(name)).p;
        if (o->type == CONFIG_LIST)
            set_separated(c, o, value, origin);
        else
            e = set_scalar(c, o, value, origin);
    }
    env_suspect(c, env);
    return e;
}

/* ---- the command line ---- */

struct flag {
    struct str name;  /* "--data" */
    struct str value; /* p == NULL: the next argument, if the option wants one */
};

static struct flag flag_split(const char *arg)
{
    struct str rest = str_z(arg), name = str_split(&rest, '=');

    return (struct flag){name, name.n == strlen(arg) ? STR_NONE : rest};
}

static const struct config_option *by_flag(const struct config *c, struct str name)
{
    for (size_t i = 0; i < c->count; i++) {
        char text[NAME_MAX_LEN];
        flag_name(c, c->options[i].path, text);
        if (str_eq(str_z(text), name))
            return &c->options[i];
    }
    return NULL;
}

static enum err unknown_flag(struct config *c, const char *arg)
{
    struct str name = flag_split(arg).name;
    const struct config_option *guess = nearest(c, name, flag_name);
    const char *quoted = config_value_quote(name, &c->arena);
    char text[NAME_MAX_LEN];

    if (arg[0] != '-')
        return fail(c, "unexpected argument %s", config_value_quote(str_z(arg), &c->arena));
    if (!guess)
        return fail(c, "there is no option %s", quoted);
    flag_name(c, guess->path, text);
    return fail(c, "there is no option %s; did you mean %s?", quoted, text);
}

/* The value of the flag at argv[*at], moving *at to its last argument; STR_NONE when it is missing. A switch needs none, but
 * takes a word like "false" that follows. */
static struct str flag_value(const struct config_option *o, struct flag f, int argc, char **argv, int *at)
{
    struct str next = *at + 1 < argc ? str_z(argv[*at + 1]) : STR_NONE;

    if (f.value.p)
        return f.value;
    if (o && o->type == CONFIG_BOOL && !config_value_is_bool(next))
        return STR("true");
    ++*at;
    return next;
}

/* Sets what argv[*at] says, moving *at to its last argument. */
static enum err set_flag(struct config *c, int argc, char **argv, int *at)
{
    struct flag f = flag_split(argv[*at]);
    bool is_config = str_eq(f.name, STR("--config")); /* was read first of all */
    const struct config_option *o = by_flag(c, f.name);

    if (!o && !is_config)
        return unknown_flag(c, argv[*at]);
    f.value = flag_value(o, f, argc, argv, at);
    if (!f.value.p)
        return fail(c, STR_FMT ": a value is missing", STR_ARG(f.name));
    if (is_config)
        return ERR_OK;
    const char *origin = arena_str(&c->arena, f.name).p;
    if (o->type != CONFIG_LIST)
        return set_scalar(c, o, f.value, origin);
    if (f.value.n == 0)
        return fail(c, "%s: %s: expected a text that is not empty", origin, o->path);
    add_item(c, o, f.value, origin);
    return ERR_OK;
}

/* Walks over flags like set_flag() does, so that the value of another flag is not taken for --config. */
static const char *find_config_flag(const struct config *c, int argc, char **argv)
{
    const char *file = NULL;

    for (int i = 0; i < argc; i++) {
        struct flag f = flag_split(argv[i]);
        const char *value = flag_value(by_flag(c, f.name), f, argc, argv, &i).p;
        if (str_eq(f.name, STR("--config")))
            file = value;
    }
    return file;
}

enum err config_load(struct config *c, int argc, char **argv, char **env)
{
    const char *file = find_config_flag(c, argc, argv);
    char name[NAME_MAX_LEN];
    enum err e;

    env_name(c, "config", name);
    if (!file)
        file = env_value(env, name).p;
    if (file && file[0] && (e = load_file(c, file)) != ERR_OK)
        return e;
    if ((e = load_env(c, env)) != ERR_OK)
        return e;
    for (int i = 0; i < argc; i++)
        if ((e = set_flag(c, argc, argv, &i)) != ERR_OK)
            return e;
    return ERR_OK;
}

/* ---- life and texts ---- */

struct config *config_new(const struct config_option *options, size_t count, const char *prefix, void *into)
{
    struct config *c = NEW(struct config);

    *c = (struct config){.options = options, .count = count, .prefix = prefix, .into = into};
    c->origins = mem_new(count * sizeof(*c->origins));
    for (size_t i = 0; i < count; i++) {
        assert(strlen(prefix) + strlen(options[i].path) < NAME_MAX_LEN);
        if (options[i].type == CONFIG_LIST)
            set_separated(c, &options[i], str_z(options[i].initial), "default");
        else if (set_scalar(c, &options[i], str_z(options[i].initial), "default") != ERR_OK)
            assert(!"a default that its own row refuses");
    }
    return c;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    arena_release(&c->arena);
    free(c->origins);
    free(c);
}

const char *config_why(const struct config *c)
{
    return c->why;
}

const char *config_suspect(const struct config *c)
{
    return c->suspect[0] ? c->suspect : NULL;
}

const char *config_origin(const struct config *c, size_t offset)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->options[i].offset == offset)
            return c->origins[i];
    return "default";
}

/* "limits." of "limits.head_max", empty for a path without a dot. */
static struct str group_of(const char *path)
{
    size_t dot = str_find_char(str_z(path), '.');

    return dot == SIZE_MAX ? STR("") : str_n(path, dot + 1);
}

void config_print(const struct config *c, struct buf *out)
{
    struct str group = STR("");

    for (size_t i = 0; i < c->count; i++) {
        const struct config_option *o = &c->options[i];
        struct str own = group_of(o->path);
        size_t before;
        if (own.n && !str_eq(own, group))
            buf_addf(out, STR_FMT ":\n", (int)own.n - 1, own.p);
        group = own;
        before = out->n;
        buf_addf(out, "%s%s: ", own.n ? "  " : "", o->path + own.n);
        config_value_print(o, field(c, o), out);
        size_t width = out->n - before;
        buf_addf(out, "%*s# %s\n", width < 46 ? (int)(46 - width) : 1, "", c->origins[i]);
    }
}

void config_markdown(const struct config *c, struct buf *out)
{
    buf_add_z(out, "| Option | Default | Meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < c->count; i++) {
        const struct config_option *o = &c->options[i];
        buf_addf(out, "| `%s` | ", o->path);
        if (o->initial[0])
            buf_addf(out, "`%s`", o->initial);
        buf_addf(out, " | %s", o->help);
        if (o->choices) {
            struct str rest = str_z(o->choices);
            for (const char *between = " One of"; rest.n; between = ",") {
                struct str choice = str_split(&rest, '|');
                buf_addf(out, "%s `" STR_FMT "`", between, STR_ARG(choice));
            }
            buf_add_char(out, '.');
        }
        buf_add_z(out, o->type == CONFIG_LIST ? " A list. |\n" : " |\n");
    }
}

/* Words of `text` in lines of at most HELP_WIDTH columns, indented. */
static void add_wrapped(struct buf *out, struct str text)
{
    enum { HELP_WIDTH = 90, INDENT = 6 };
    size_t column = HELP_WIDTH;

    while (text.n) {
        struct str word = str_split(&text, ' ');
        if (column + 1 + word.n > HELP_WIDTH) {
            buf_addf(out, "\n%*s", INDENT, "");
            column = INDENT;
        } else {
            buf_add_char(out, ' ');
            column++;
        }
        buf_add_str(out, word);
        column += word.n;
    }
}

void config_help(const struct config *c, struct buf *out)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct config_option *o = &c->options[i];
        struct arena arena = ARENA_INIT;
        char name[NAME_MAX_LEN];
        flag_name(c, o->path, name);
        buf_addf(out, "  %s %s", name, config_value_hint(o));
        if (o->initial[0])
            add_wrapped(out, arena_printf(&arena, "%s Default: %s.", o->help, o->initial));
        else
            add_wrapped(out, str_z(o->help));
        buf_add_char(out, '\n');
        arena_release(&arena);
    }
}
