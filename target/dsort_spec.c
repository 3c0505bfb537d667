#include "dsort_spec.h"

#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_member.h"

struct reading {
    const struct doc *spec;
    char *why;
    enum err err;
};

static void refuse(struct reading *r, const char *member, const char *reason)
{
    if (r->err == ERR_OK)
        snprintf(r->why, DSORT_WHY_MAX, "\"%.40s\" %.200s", member, reason);
    r->err = ERR_INVALID_ARGUMENT;
}

static struct str text(struct reading *r, const char *name)
{
    const struct doc *d = doc_get(r->spec, str_z(name));

    if (d && d->kind != DOC_SCALAR)
        refuse(r, name, "must be a text");
    return d && d->kind == DOC_SCALAR ? d->text : STR("");
}

static uint64_t number(struct reading *r, const char *name, uint64_t max)
{
    struct str s = text(r, name);
    uint64_t n = 0;

    if (s.n && !str_to_u64(s, max, &n))
        refuse(r, name, "must be a number that is not negative");
    return n;
}

static bool flag(struct reading *r, const char *name)
{
    struct str s = text(r, name);

    if (s.n && !str_eq(s, STR("true")) && !str_eq(s, STR("false")))
        refuse(r, name, "must be true or false");
    return str_eq(s, STR("true"));
}

/* Position of the text in a list that ends with NULL; `absent` when there is none. */
static int choice(struct reading *r, const char *name, const char *const *all, int absent)
{
    struct str s = text(r, name);

    if (s.n == 0)
        return absent;
    for (int i = 0; all[i]; i++)
        if (str_eq(s, str_z(all[i])))
            return i;
    refuse(r, name, "is none of the values that there are");
    return absent;
}

static void read_order(struct reading *r, struct dsort_spec *out)
{
    static const char *const orders[] = {"none", "alphanumeric", "md5", "shuffle", "content", NULL};
    static const char *const types[] = {"string", "int", "float", NULL};

    out->order = (enum dsort_order)choice(r, "order", orders, out->from_objects ? DSORT_NONE : DSORT_ALPHANUMERIC);
    out->content = (enum dsort_content)choice(r, "content_type", types, DSORT_STRING);
    out->content_extension = text(r, "content_extension");
    out->decreasing = flag(r, "decreasing");
    out->has_seed = text(r, "seed").n > 0;
    out->seed = number(r, "seed", INT64_MAX);
    if (out->order == DSORT_CONTENT && out->content_extension.n < 2)
        refuse(r, "content_extension", "must say which file of a sample it is sorted by, \".cls\"");
}

static void read_samples(struct reading *r, struct dsort_spec *out)
{
    static const char *const keys[] = {"full_name", "base_name", NULL};
    static const char *const actions[] = {"ignore", "warn", "abort", "exclude", NULL};
    const struct doc *list = doc_get(r->spec, STR("extensions"));
    struct str key = text(r, "sample_key");

    out->key = DSORT_FULL_NAME;
    for (int i = 0; key.n; i++) {
        if (!keys[i]) {
            out->key = DSORT_REGEX;
            out->key_regex = key;
            break;
        }
        if (str_eq(key, str_z(keys[i]))) {
            out->key = (enum dsort_key)i;
            break;
        }
    }
    out->missing = (enum dsort_missing)choice(r, "missing_extension", actions, DSORT_IGNORE);
    out->key_map_missing = (enum dsort_missing)choice(r, "key_map_missing", actions, DSORT_ABORT);
    if (list && list->kind != DOC_LIST)
        refuse(r, "extensions", "must be a list");
    for (const struct doc *d = list ? list->first : NULL; d && r->err == ERR_OK; d = d->next) {
        if (d->kind != DOC_SCALAR || d->text.n < 2 || out->extension_count == DSORT_EXTENSIONS_MAX)
            refuse(r, "extensions", "must be a short list of extensions");
        else
            out->extensions[out->extension_count++] = d->text;
    }
}

static void read_output(struct reading *r, struct arena *a, struct dsort_spec *out)
{
    char why[DSORT_WHY_MAX];

    out->bucket = text(r, "bucket");
    out->to_bucket = text(r, "to_bucket");
    out->prefix = text(r, "prefix");
    out->output = text(r, "output");
    out->key_map = text(r, "key_map");
    out->key_map_separator = text(r, "key_map_separator");
    out->key_map_extension = text(r, "key_map_extension");
    out->size = number(r, "size", INT64_MAX);
    out->count = number(r, "count", DSORT_COUNT_MAX);
    out->memory = number(r, "memory", UINT64_C(1) << 40);
    out->continue_on_error = flag(r, "continue_on_error");
    out->dry_run = flag(r, "dry_run");
    if (out->bucket.n == 0)
        refuse(r, "bucket", "must say where from");
    if (out->to_bucket.n == 0)
        out->to_bucket = out->bucket;
    if (out->size == 0 && out->count == 0)
        out->size = DSORT_SIZE_DEFAULT;
    if (out->count == 0)
        out->count = DSORT_COUNT_MAX;
    if (out->key_map.n) /* the map has the names */
        return;
    if (out->output.n == 0)
        refuse(r, "output", "must be a template, \"out-{0000..9999}.tar\"");
    else if (template_parse(a, out->output, &out->names, why) != ERR_OK)
        refuse(r, "output", why);
    else if ((out->format = arc_format_of_name(out->output)) == ARC_NONE)
        refuse(r, "output", "must end in .tar, .tgz, .tar.gz, .zip, .tar.lz4 or .tar.zst");
}

/* Shards that the selection would find again: a job that goes on after a restart would read what it has written. */
static void check_overlap(struct reading *r, const struct dsort_spec *s)
{
    struct str plain = s->names.count ? s->names.ranges[0].before : s->names.tail;

    if (s->key_map.n || !str_eq(s->bucket, s->to_bucket) || doc_get(r->spec, STR("names")) ||
        doc_get(r->spec, STR("template")) || doc_get(r->spec, STR("names_in")))
        return;
    if (str_starts(plain, s->prefix) || str_starts(s->prefix, plain))
        refuse(r, "output", "has names that the source's prefix covers: use another bucket or another prefix");
}

enum err dsort_spec_read(struct arena *a, const struct doc *spec, bool from_objects, struct dsort_spec *out,
                         char why[DSORT_WHY_MAX])
{
    struct reading r = {spec, why, ERR_OK};

    *out = (struct dsort_spec){.from_objects = from_objects};
    read_output(&r, a, out);
    read_order(&r, out);
    read_samples(&r, out);
    if (r.err == ERR_OK)
        check_overlap(&r, out);
    if (from_objects && (doc_get(spec, STR("names")) || doc_get(spec, STR("template"))))
        refuse(&r, "prefix", "is how this kind of job selects objects");
    return r.err;
}

/* ---- keys ---- */

static struct str base_of(struct str s)
{
    for (size_t at; (at = str_find_char(s, '/')) != SIZE_MAX;)
        s = str_skip(s, at + 1);
    return s;
}

struct str dsort_sample_key(enum dsort_key how, struct str name)
{
    return how == DSORT_FULL_NAME ? arc_wds_key(name) : arc_wds_key(base_of(name));
}

void dsort_put_be(char *out, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (char)(v >> (56 - 8 * i));
}

enum err dsort_content_key(enum dsort_content type, struct str said, char *out, size_t *n)
{
    char number[64], *end;
    uint64_t bits;

    while (said.n && strchr(" \t\r\n", said.p[said.n - 1]))
        said.n--;
    said = str_trim(said);
    if (said.n > DSORT_CONTENT_MAX)
        return ERR_INVALID_ARGUMENT;
    if (type == DSORT_STRING) {
        memcpy(out, said.p, said.n);
        *n = said.n;
        return ERR_OK;
    }
    if (said.n == 0 || said.n >= sizeof(number))
        return ERR_INVALID_ARGUMENT;
    memcpy(number, said.p, said.n);
    number[said.n] = '\0';
    if (type == DSORT_INT) {
        bits = (uint64_t)strtoll(number, &end, 10) ^ (UINT64_C(1) << 63);
    } else {
        double d = strtod(number, &end);
        if (d != d)
            return ERR_INVALID_ARGUMENT;
        memcpy(&bits, &d, sizeof(bits));
        bits = bits >> 63 ? ~bits : bits | (UINT64_C(1) << 63);
    }
    if (*end)
        return ERR_INVALID_ARGUMENT;
    dsort_put_be(out, bits);
    *n = sizeof(bits);
    return ERR_OK;
}
