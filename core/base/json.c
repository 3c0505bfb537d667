#include "json.h"

#include <inttypes.h>

#include <jansson.h>

/* ---- reading ---- */

struct reader {
    struct arena *arena;
    char *why;
    unsigned nodes, nodes_max;
};

static enum err convert(struct reader *r, json_t *from, unsigned depth, struct doc **out);

static enum err append(struct reader *r, struct doc *to, struct doc ***tail, struct str key, json_t *value,
                       unsigned depth)
{
    struct doc *node;
    enum err e = convert(r, value, depth, &node);

    if (e != ERR_OK)
        return e;
    node->key = key.n ? arena_str(r->arena, key) : STR("");
    **tail = node;
    *tail = &node->next;
    to->count++;
    return ERR_OK;
}

static enum err convert_entries(struct reader *r, json_t *from, unsigned depth, struct doc *to)
{
    struct doc **tail = &to->first;
    enum err e = ERR_OK;

    if (to->kind == DOC_LIST) {
        for (size_t i = 0; i < json_array_size(from) && e == ERR_OK; i++)
            e = append(r, to, &tail, STR_NONE, json_array_get(from, i), depth);
        return e;
    }
    for (void *it = json_object_iter(from); it && e == ERR_OK; it = json_object_iter_next(from, it))
        e = append(r, to, &tail, str_z(json_object_iter_key(it)), json_object_iter_value(it), depth);
    return e;
}

static enum err convert(struct reader *r, json_t *from, unsigned depth, struct doc **out)
{
    struct doc *d = ARENA_NEW(r->arena, struct doc);

    if (depth == DOC_DEPTH_MAX || ++r->nodes > r->nodes_max) {
        snprintf(r->why, DOC_WHY_MAX, "%s", depth == DOC_DEPTH_MAX ? "nested too deeply" : "too many values");
        return ERR_SYNTAX;
    }
    *out = d;
    switch (json_typeof(from)) {
    case JSON_OBJECT:
        d->kind = DOC_MAP;
        return convert_entries(r, from, depth + 1, d);
    case JSON_ARRAY:
        d->kind = DOC_LIST;
        return convert_entries(r, from, depth + 1, d);
    case JSON_STRING:
        d->text = arena_str(r->arena, str_n(json_string_value(from), json_string_length(from)));
        d->quoted = true;
        break;
    case JSON_INTEGER:
        d->text = arena_printf(r->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(from));
        break;
    case JSON_REAL:
        d->text = arena_printf(r->arena, "%.17g", json_real_value(from));
        break;
    case JSON_TRUE:
        d->text = STR("true");
        break;
    case JSON_FALSE:
        d->text = STR("false");
        break;
    case JSON_NULL:
        d->text = STR("");
        break;
    }
    return ERR_OK;
}

enum err js_read(struct arena *a, struct str text, struct doc **out, char why[DOC_WHY_MAX])
{
    return js_read_within(a, text, &(struct js_bounds){DOC_TEXT_MAX, DOC_NODES_MAX}, out, why);
}

enum err js_read_within(struct arena *a, struct str text, const struct js_bounds *bounds, struct doc **out,
                        char why[DOC_WHY_MAX])
{
    struct reader r = {.arena = a, .why = why, .nodes_max = bounds->nodes_max};
    json_error_t error;

    if (text.n > bounds->text_max) {
        snprintf(why, DOC_WHY_MAX, "longer than %zu bytes", bounds->text_max);
        return ERR_SYNTAX;
    }
    json_t *root =
        json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!root) {
        snprintf(why, DOC_WHY_MAX, "line %d: %.200s", error.line, error.text);
        return ERR_SYNTAX;
    }
    struct doc *made;
    enum err e = convert(&r, root, 0, &made);
    if (e == ERR_OK)
        *out = made;
    json_decref(root);
    return e;
}

/* ---- writing ---- */

/* A value other than the first of its list or object has a comma before it. What stands last tells: texts end in a
 * quote, so a bracket or colon there is structure. */
static void separate(struct buf *b)
{
    char last = b->n ? b->p[b->n - 1] : '[';

    if (last != '[' && last != '{' && last != ':')
        buf_add_char(b, ',');
}

void js_object(struct buf *b)
{
    separate(b);
    buf_add_char(b, '{');
}

void js_end_object(struct buf *b)
{
    buf_add_char(b, '}');
}

void js_array(struct buf *b)
{
    separate(b);
    buf_add_char(b, '[');
}

void js_end_array(struct buf *b)
{
    buf_add_char(b, ']');
}

static void quote(struct buf *b, struct str s)
{
    bool utf8 = str_is_utf8(s);

    buf_add_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            buf_add_char(b, '\\');
            buf_add_char(b, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            buf_addf(b, "\\u%04x", c);
        } else if (c >= 0x80 && !utf8) {
            buf_add_z(b, "\\ufffd");
        } else {
            buf_add_char(b, (char)c);
        }
    }
    buf_add_char(b, '"');
}

void js_key(struct buf *b, struct str name)
{
    separate(b);
    quote(b, name);
    buf_add_char(b, ':');
}

void js_str(struct buf *b, struct str s)
{
    separate(b);
    quote(b, s);
}

void js_u64(struct buf *b, uint64_t v)
{
    separate(b);
    buf_add_u64(b, v);
}

void js_i64(struct buf *b, int64_t v)
{
    separate(b);
    buf_addf(b, "%" PRId64, v);
}

void js_bool(struct buf *b, bool v)
{
    separate(b);
    buf_add_z(b, v ? "true" : "false");
}

void js_null(struct buf *b)
{
    separate(b);
    buf_add_z(b, "null");
}

void js_raw(struct buf *b, struct str json)
{
    separate(b);
    buf_add_str(b, json);
}

static size_t digits(struct str s, size_t at)
{
    while (at < s.n && s.p[at] >= '0' && s.p[at] <= '9')
        at++;
    return at;
}

/* RFC 8259 section 6. YAML has more that looks like one: 1.2.3, 2024-01-31, 007. */
static bool is_number(struct str s)
{
    size_t begin = s.n && s.p[0] == '-' ? 1 : 0, at = digits(s, begin), part;

    if (at == begin || (s.p[begin] == '0' && at > begin + 1))
        return false;
    if (at < s.n && s.p[at] == '.') {
        part = at + 1;
        if ((at = digits(s, part)) == part)
            return false;
    }
    if (at < s.n && (s.p[at] == 'e' || s.p[at] == 'E')) {
        part = at + 1 + (at + 1 < s.n && (s.p[at + 1] == '+' || s.p[at + 1] == '-'));
        if ((at = digits(s, part)) == part)
            return false;
    }
    return at == s.n;
}

static void write_scalar(struct buf *b, const struct doc *d)
{
    if (!d->quoted && d->text.n == 0)
        js_null(b);
    else if (!d->quoted && is_number(d->text))
        js_raw(b, d->text);
    else if (!d->quoted && (str_eq(d->text, STR("true")) || str_eq(d->text, STR("false"))))
        js_bool(b, d->text.n == 4);
    else
        js_str(b, d->text);
}

void js_put_str(struct buf *b, const char *name, struct str s)
{
    js_key(b, str_z(name));
    js_str(b, s);
}

void js_put_u64(struct buf *b, const char *name, uint64_t v)
{
    js_key(b, str_z(name));
    js_u64(b, v);
}

void js_put_bool(struct buf *b, const char *name, bool v)
{
    js_key(b, str_z(name));
    js_bool(b, v);
}

/* Trees are not deeper than DOC_DEPTH_MAX. */
void js_doc(struct buf *b, const struct doc *d)
{
    if (d->kind == DOC_SCALAR) {
        write_scalar(b, d);
        return;
    }
    (d->kind == DOC_MAP ? js_object : js_array)(b);
    for (const struct doc *c = d->first; c; c = c->next) {
        if (d->kind == DOC_MAP)
            js_key(b, c->key);
        js_doc(b, c);
    }
    (d->kind == DOC_MAP ? js_end_object : js_end_array)(b);
}
