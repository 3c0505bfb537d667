#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_member.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "target/dsort_own.h"

enum { KEY_MAP_NODES_MAX = 4 << 20, BUCKETS_MIN = 1024 };

struct entry {
    struct str name;
    uint32_t at;
    struct entry *chain;
};
struct pattern {
    struct arc_select *select;
    uint32_t at;
};
struct dsort_map {
    struct arena arena;
    struct template *templates;
    enum arc_format *formats;
    uint32_t count;
    struct str extension; /* of shards without one; while reading */
    struct entry **table;
    size_t table_n; /* a power of two */
    struct pattern *patterns;
    size_t pattern_n, pattern_cap;
};

static struct entry **slot(struct dsort_map *m, struct str name)
{
    return &m->table[hash_place(name, 0) & (m->table_n - 1)];
}

static struct entry *find(struct dsort_map *m, struct str name)
{
    struct entry *e = *slot(m, name);

    while (e && !str_eq(e->name, name))
        e = e->chain;
    return e;
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr("\\^$|?*+()[]{}", s.p[i]) && s.p[i])
            return false;
    return true;
}

static enum err add_name(struct dsort_map *m, struct str name, uint32_t at, char why[DSORT_WHY_MAX])
{
    struct entry *e;

    if (!is_plain(name)) {
        if (m->pattern_n == m->pattern_cap) {
            m->pattern_cap = m->pattern_cap ? m->pattern_cap * 2 : 16;
            m->patterns = mem_realloc(m->patterns, m->pattern_cap * sizeof(*m->patterns));
        }
        m->patterns[m->pattern_n].at = at;
        enum err bad = arc_select_new(ARC_MODE_REGEXP, name, &m->patterns[m->pattern_n].select, why);
        m->pattern_n += bad == ERR_OK;
        return bad;
    }
    if ((e = find(m, name)) != NULL && e->at != at) {
        snprintf(why, DSORT_WHY_MAX, "the key map has \"%.*s\" twice", (int)(name.n < 100 ? name.n : 100), name.p);
        return ERR_INVALID_ARGUMENT;
    }
    e = ARENA_NEW(&m->arena, struct entry);
    *e = (struct entry){arena_str(&m->arena, name), at, *slot(m, name)};
    *slot(m, name) = e;
    return ERR_OK;
}

static enum err add_template(struct dsort_map *m, struct str text, char why[DSORT_WHY_MAX])
{
    struct template t;
    struct str ext = arc_format_of_name(text) == ARC_NONE ? m->extension : STR("");
    enum err e;

    text = arena_printf(&m->arena, STR_FMT STR_FMT, STR_ARG(text), STR_ARG(ext));
    if ((e = template_parse(&m->arena, text, &t, why)) != ERR_OK)
        return e;
    m->formats[m->count] = arc_format_of_name(text);
    if (m->formats[m->count] == ARC_NONE) {
        snprintf(why, DSORT_WHY_MAX, "the key map's shard \"%.*s\" has no archive's extension",
                 (int)(text.n < 100 ? text.n : 100), text.p);
        return ERR_INVALID_ARGUMENT;
    }
    m->templates[m->count++] = t;
    return ERR_OK;
}

static enum err read_json(struct dsort_map *m, const struct doc *root, char why[DSORT_WHY_MAX])
{
    enum err e = ERR_OK;

    for (const struct doc *d = root->first; d && e == ERR_OK; d = d->next) {
        if (d->kind != DOC_LIST || m->count == DSORT_MAP_TEMPLATES_MAX) {
            snprintf(why, DSORT_WHY_MAX, "the key map must be lists of names by shard, at most %d of them",
                     DSORT_MAP_TEMPLATES_MAX);
            return ERR_INVALID_ARGUMENT;
        }
        e = add_template(m, d->key, why);
        for (const struct doc *name = d->first; name && e == ERR_OK; name = name->next)
            e = name->kind == DOC_SCALAR ? add_name(m, name->text, m->count - 1, why) : ERR_INVALID_ARGUMENT;
    }
    return e;
}

/* Templates are few, so each line's is looked for from the last one on. */
static enum err read_lines(struct dsort_map *m, struct str text, struct str separator, char why[DSORT_WHY_MAX])
{
    struct str *names = arena_new(&m->arena, DSORT_MAP_TEMPLATES_MAX * sizeof(*names));
    unsigned line_no = 0;
    enum err e = ERR_OK;

    while (text.n && e == ERR_OK) {
        struct str line = str_split(&text, '\n');
        size_t at = str_find(line, separator);
        uint32_t i = 0;
        line_no++;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0)
            continue;
        if (at == SIZE_MAX || at + separator.n > line.n) {
            snprintf(why, DSORT_WHY_MAX, "line %u of the key map has no separator", line_no);
            return ERR_INVALID_ARGUMENT;
        }
        struct str shard = str_trim(str_skip(line, at + separator.n));
        while (i < m->count && !str_eq(names[i], shard))
            i++;
        if (i == m->count) {
            if (m->count == DSORT_MAP_TEMPLATES_MAX)
                return ERR_TOO_LARGE;
            if ((e = add_template(m, shard, why)) != ERR_OK)
                return e;
            names[i] = shard;
        }
        e = add_name(m, str_n(line.p, at), i, why);
    }
    return e;
}

enum err dsort_map_read(struct str text, const struct dsort_spec *spec, struct dsort_map **out, char why[DSORT_WHY_MAX])
{
    const struct js_bounds bounds = {DSORT_MAP_MAX, KEY_MAP_NODES_MAX};
    struct dsort_map *m = NEW(struct dsort_map);
    struct arena tree = ARENA_INIT;
    struct str trimmed = str_trim(text), separator = spec->key_map_separator;
    struct doc *root;
    enum err e;

    m->extension = spec->key_map_extension;
    m->templates = mem_new(DSORT_MAP_TEMPLATES_MAX * sizeof(*m->templates));
    m->formats = mem_new(DSORT_MAP_TEMPLATES_MAX * sizeof(*m->formats));
    for (m->table_n = BUCKETS_MIN; m->table_n < text.n / 16; m->table_n *= 2)
        ;
    m->table = mem_new(m->table_n * sizeof(struct entry *));
    if (trimmed.n && trimmed.p[0] == '{') {
        e = js_read_within(&tree, text, &bounds, &root, why);
        if (e == ERR_OK)
            e = read_json(m, root, why);
    } else {
        e = read_lines(m, text, separator.n ? separator : STR("\t"), why);
    }
    arena_release(&tree);
    if (e == ERR_OK && m->count == 0) {
        snprintf(why, DSORT_WHY_MAX, "the key map is empty");
        e = ERR_INVALID_ARGUMENT;
    }
    if (e != ERR_OK) {
        dsort_map_free(m);
        return e == ERR_TOO_LARGE ? e : ERR_INVALID_ARGUMENT;
    }
    *out = m;
    return ERR_OK;
}

void dsort_map_free(struct dsort_map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->pattern_n; i++)
        arc_select_free(m->patterns[i].select);
    free(m->patterns);
    free(m->templates);
    free(m->formats);
    free(m->table);
    arena_release(&m->arena);
    free(m);
}

bool dsort_map_find(struct dsort_map *m, struct str sample, uint32_t *at)
{
    struct entry *e = find(m, sample);
    bool matches;

    if (e) {
        *at = e->at;
        return true;
    }
    for (size_t i = 0; i < m->pattern_n; i++)
        if (arc_select_match(m->patterns[i].select, sample, &matches) == ERR_OK && matches) {
            *at = m->patterns[i].at;
            return true;
        }
    return false;
}

const struct template *dsort_map_template(const struct dsort_map *m, uint32_t at)
{
    return &m->templates[at];
}

enum arc_format dsort_map_format(const struct dsort_map *m, uint32_t at)
{
    return m->formats[at];
}
