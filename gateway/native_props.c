#include "gateway/native_props.h"

#include <stdio.h>

#include "etl/view_conf.h"
#include "gateway/native_fields.h"
#include "store/backend_conf.h"

enum kind { FLAG, NUMBER, TEXT };
enum prop_policy {
    FIXED,      /* only what it is: anything else is not implemented */
    KEPT,       /* any value, without an effect: nothing here does what it tunes */
    READ_ONLY,  /* a client can't set it */
    REDUNDANCY, /* what a bucket is made with, fixed from then on */
    MEMBERS,    /* "sluice".members */
};

struct row {
    struct str path;
    enum kind kind;
    const char *initial; /* NULL: special() says */
    enum prop_policy policy;
    const char *also; /* another word for the initial value */
};
#define P(path, ...)                                                                                                   \
    {                                                                                                                  \
        {path, sizeof(path) - 1}, __VA_ARGS__                                                                          \
    }
/* In groups: rows of one object stand together. Objects are versioned by a count, checksummed on every write and verified by what reads
 * them; there is one write policy. */
static const struct row rows[] = {
    P("provider", TEXT, NULL, READ_ONLY, NULL),
    P("write_policy.data", TEXT, "", FIXED, "immediate"),
    P("write_policy.md", TEXT, "", FIXED, "immediate"),
    P("checksum.type", TEXT, NATIVE_CHECKSUM_TYPE, FIXED, NULL),
    P("checksum.validate_cold_get", FLAG, "true", KEPT, NULL),
    P("checksum.validate_warm_get", FLAG, "false", KEPT, NULL),
    P("checksum.validate_obj_move", FLAG, "false", KEPT, NULL),
    P("checksum.enable_read_range", FLAG, "false", FIXED, NULL),
    P("versioning.enabled", FLAG, "true", FIXED, NULL),
    P("versioning.validate_warm_get", FLAG, "false", FIXED, NULL),
    P("versioning.synchronize", FLAG, "false", FIXED, NULL),
    P("mirror.copies", NUMBER, NULL, REDUNDANCY, NULL),
    P("mirror.burst_buffer", NUMBER, "128", KEPT, NULL),
    P("mirror.enabled", FLAG, NULL, REDUNDANCY, NULL),
    P("ec.objsize_limit", NUMBER, NULL, REDUNDANCY, NULL),
    P("ec.data_slices", NUMBER, NULL, REDUNDANCY, NULL),
    P("ec.parity_slices", NUMBER, NULL, REDUNDANCY, NULL),
    P("ec.enabled", FLAG, NULL, REDUNDANCY, NULL),
    P("ec.disk_only", FLAG, "false", FIXED, NULL),
    P("ec.compression", TEXT, "never", FIXED, NULL),
    P("ec.bundle_multiplier", NUMBER, "2", KEPT, NULL),
    P("ec.burst_buffer", NUMBER, "128", KEPT, NULL),
    P("chunks.objsize_limit", NUMBER, "0", FIXED, NULL),
    P("chunks.max_monolithic_size", NUMBER, "0", FIXED, NULL),
    P("chunks.chunk_size", NUMBER, "0", FIXED, NULL),
    P("chunks.checkpoint_every", NUMBER, "0", FIXED, NULL),
    P("chunks.flags", TEXT, "0", FIXED, NULL),
    P("lru.dont_evict_time", TEXT, "120m", KEPT, NULL),
    P("lru.capacity_upd_time", TEXT, "10m", KEPT, NULL),
    P("lru.enabled", FLAG, NULL, FIXED, NULL),
    P("lru.batch_size", NUMBER, "32768", KEPT, NULL),
    P("rate_limit.backend.num_retries", NUMBER, "3", KEPT, NULL),
    P("rate_limit.backend.interval", TEXT, "1m", KEPT, NULL),
    P("rate_limit.backend.max_tokens", NUMBER, "1000", KEPT, NULL),
    P("rate_limit.backend.enabled", FLAG, "false", FIXED, NULL),
    P("rate_limit.backend.per_op_max_tokens", TEXT, "", FIXED, NULL),
    P("rate_limit.frontend.burst_size", NUMBER, "375", KEPT, NULL),
    P("rate_limit.frontend.interval", TEXT, "1m", KEPT, NULL),
    P("rate_limit.frontend.max_tokens", NUMBER, "1000", KEPT, NULL),
    P("rate_limit.frontend.enabled", FLAG, "false", FIXED, NULL),
    P("rate_limit.frontend.per_op_max_tokens", TEXT, "", FIXED, NULL),
    P("extra.aws.cloud_region", TEXT, "", FIXED, NULL),
    P("extra.aws.endpoint", TEXT, "", FIXED, NULL),
    P("extra.aws.profile", TEXT, "", FIXED, NULL),
    P("extra.aws.max_pagesize", NUMBER, "0", FIXED, NULL),
    P("extra.aws.multipart_size", NUMBER, "0", FIXED, NULL),
    P("access", TEXT, "18446744073709551615", FIXED, NULL),
    P("features", TEXT, "0", FIXED, NULL),
    P("bid", TEXT, NULL, READ_ONLY, NULL),
    P("created", TEXT, NULL, READ_ONLY, NULL),
    P("renamed", TEXT, "", READ_ONLY, NULL),
    P("sluice.members", FLAG, NULL, MEMBERS, NULL),
    P("sluice.redundancy", TEXT, NULL, READ_ONLY, NULL),
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]), PATH_MAX_BYTES = 64, DEPTH = 3 };

/* ---- what they are ---- */

static struct str number(struct arena *a, uint64_t v)
{
    return arena_u64(a, v);
}

static struct str flag(bool on)
{
    return on ? STR("true") : STR("false");
}

static struct str of_redundancy(struct arena *a, struct str path, struct redundancy d)
{
    bool mirror = d.kind == REDUNDANCY_MIRROR, ec = d.kind == REDUNDANCY_EC;

    if (str_eq(path, STR("mirror.copies")))
        return number(a, mirror ? d.data : 1);
    if (str_eq(path, STR("mirror.enabled")))
        return flag(mirror);
    if (str_eq(path, STR("ec.objsize_limit")))
        return number(a, ec ? REDUNDANCY_EC_MIN : 0);
    if (str_eq(path, STR("ec.data_slices")))
        return number(a, ec ? d.data : 0);
    if (str_eq(path, STR("ec.parity_slices")))
        return number(a, ec ? d.parity : 0);
    return flag(ec);
}

/* `b` NULL: not made yet. */
static struct str special(struct arena *a, const struct row *p, const struct bucket *b, enum native_provider provider)
{
    static const char *const names[] = {"ais", "aws", "gcp", "azure", "oci"};
    char text[REDUNDANCY_TEXT_MAX];

    if (p->policy == REDUNDANCY)
        return of_redundancy(a, p->path, b ? b->id.redundancy : (struct redundancy){REDUNDANCY_NONE, 0, 0});
    if (str_eq(p->path, STR("provider")))
        return str_z(names[provider]);
    if (str_eq(p->path, STR("lru.enabled")))
        return flag(b && b->id.backend);
    if (p->policy == MEMBERS)
        return flag(b && b->members);
    if (!b)
        return STR("");
    if (str_eq(p->path, STR("bid")))
        return number(a, b->id.uid);
    if (str_eq(p->path, STR("created")))
        return number(a, (uint64_t)b->created_ns);
    return arena_str(a, redundancy_text(b->id.redundancy, text));
}

static const struct doc *settings_of(struct arena *a, const struct bucket *b)
{
    char why[DOC_WHY_MAX];
    struct doc *all;

    return b && b->props.n && js_read(a, b->props, &all, why) == ERR_OK ? all : NULL;
}

/* `kept`: what a client has set and is kept. */
static struct str value_of(struct arena *a, const struct row *p, const struct bucket *b, enum native_provider provider,
                           const struct doc *kept)
{
    const struct doc *set = p->policy == KEPT ? doc_get(kept, p->path) : NULL;

    if (set && set->kind == DOC_SCALAR)
        return set->text;
    return p->initial ? str_z(p->initial) : special(a, p, b, provider);
}

static void write_value(struct buf *b, enum kind kind, struct str value)
{
    if (kind == TEXT)
        js_str(b, value);
    else
        js_raw(b, value);
}

/* "a.b.c" -> "a", "b" and the last part in *name. */
static unsigned split_path(struct str path, struct str groups[DEPTH], struct str *name)
{
    unsigned n = 0;
    size_t dot;

    while ((dot = str_find_char(path, '.')) != SIZE_MAX && n < DEPTH) {
        groups[n++] = str_n(path.p, dot);
        path = str_skip(path, dot + 1);
    }
    *name = path;
    return n;
}

static void write_backend(struct buf *b, const struct doc *backend)
{
    js_key(b, STR("backend_bck"));
    js_object(b);
    js_put_str(b, "name", backend ? native_text(backend, "bucket") : STR(""));
    js_put_str(b, "provider", backend ? STR("aws") : STR(""));
    js_key(b, STR("namespace"));
    js_raw(b, STR("{\"uuid\":\"\",\"name\":\"\"}"));
    js_end_object(b);
}

void native_props_json(struct native_request *r, struct buf *b, const struct native_bucket *bucket)
{
    const struct doc *settings = settings_of(r->arena, &bucket->found), *kept = doc_get(settings, STR("native"));
    const struct doc *backend = doc_get(settings, STR("backend")), *view = doc_get(settings, STR("view"));
    struct str open[DEPTH], groups[DEPTH], name;
    unsigned depth = 0;

    js_object(b);
    for (size_t i = 0; i < ROWS; i++) {
        unsigned n = split_path(rows[i].path, groups, &name), same = 0;
        while (same < n && same < depth && str_eq(groups[same], open[same]))
            same++;
        for (; depth > same; depth--)
            js_end_object(b);
        for (; depth < n; depth++) {
            open[depth] = groups[depth];
            js_key(b, groups[depth]);
            js_object(b);
        }
        js_key(b, name);
        write_value(b, rows[i].kind, value_of(r->arena, &rows[i], &bucket->found, bucket->provider, kept));
        if (i == 0)
            write_backend(b, backend);
        if (backend && str_eq(rows[i].path, STR("sluice.members"))) {
            js_key(b, STR("backend"));
            backend_conf_show(b, backend);
        }
        if (view && str_eq(rows[i].path, STR("sluice.members"))) {
            js_key(b, STR("view"));
            js_doc(b, view);
        }
    }
    for (; depth > 0; depth--)
        js_end_object(b);
    js_end_object(b);
}

/* ---- setting them ---- */

struct change {
    struct native_request *r;
    const struct bucket *now; /* NULL: it is to be made */
    const struct doc *kept;
    struct str set[ROWS]; /* p == NULL: not said */
    bool members, says_members;
    const struct doc *backend; /* NULL: not said */
    const struct doc *view;    /* the same */
};

static bool is_null(const struct doc *d)
{
    return d->kind == DOC_SCALAR && !d->quoted && d->text.n == 0;
}

static bool is_kind(const struct row *p, const struct doc *d)
{
    uint64_t v;

    switch (p->kind) {
    case FLAG:
        return str_eq(d->text, STR("true")) || str_eq(d->text, STR("false"));
    case NUMBER:
        return str_to_u64(d->text, INT64_MAX, &v);
    case TEXT:
        return d->text.n <= PATH_MAX_BYTES && str_is_plain(d->text);
    }
    return false;
}

static enum err set_row(struct change *c, size_t i, const struct doc *d)
{
    const struct row *p = &rows[i];
    struct str is;

    if (d->kind != DOC_SCALAR || !is_kind(p, d))
        return native_error(c->r, ERR_INVALID_ARGUMENT, "bucket property \"" STR_FMT "\": not such a value",
                            STR_ARG(p->path));
    is = value_of(c->r->arena, p, c->now, c->r->bucket.provider, c->kept);
    c->set[i] = d->text;
    switch (p->policy) {
    case KEPT:
        return ERR_OK;
    case MEMBERS:
        c->says_members = true;
        c->members = str_eq(d->text, STR("true"));
        return ERR_OK;
    case REDUNDANCY:
        if (!c->now)
            return ERR_OK;
        break;
    case FIXED:
    case READ_ONLY:
        break;
    }
    if (str_eq(d->text, is) || (p->also && str_eq(d->text, str_z(p->also))))
        return ERR_OK;
    return native_error(c->r, ERR_NOT_IMPLEMENTED,
                        "bucket property \"" STR_FMT "\" can't be \"" STR_FMT "\": it is \"" STR_FMT "\"%s",
                        STR_ARG(p->path), STR_ARG(d->text), STR_ARG(is),
                        p->policy == REDUNDANCY ? " for as long as the bucket lives" : "");
}

static bool is_group(struct str path)
{
    for (size_t i = 0; i < ROWS; i++)
        if (str_starts(rows[i].path, path) && rows[i].path.n > path.n && rows[i].path.p[path.n] == '.')
            return true;
    return str_eq(path, STR("extra.gcp")) || str_eq(path, STR("extra.oci")); /* nothing can be set there */
}

static enum err walk(struct change *c, const struct doc *d, struct str above)
{
    enum err e = ERR_OK;

    for (const struct doc *at = d->first; at && e == ERR_OK; at = at->next) {
        struct str path =
            above.n ? arena_printf(c->r->arena, STR_FMT "." STR_FMT, STR_ARG(above), STR_ARG(at->key)) : at->key;
        size_t i = 0;
        if (str_eq(path, STR("sluice.backend")) || str_eq(path, STR("backend"))) {
            c->backend = at; /* null: none any more. The short name is that of S3's settings header */
            continue;
        }
        if (str_eq(path, STR("sluice.view")) || str_eq(path, STR("view"))) {
            c->view = at;
            continue;
        }
        if (is_null(at))
            continue;
        while (i < ROWS && !str_eq(rows[i].path, path))
            i++;
        if (i < ROWS)
            e = set_row(c, i, at);
        else if (str_eq(path, STR("backend_bck")) && !native_text(at, "name").n)
            continue; /* none */
        else if (str_eq(path, STR("backend_bck")))
            e = native_error(
                c->r, ERR_NOT_IMPLEMENTED,
                "bucket property \"backend_bck\" is not implemented: say where it is with \"sluice.backend\"");
        else if (at->kind == DOC_MAP && is_group(path))
            e = walk(c, at, path);
        else
            e = native_error(c->r, ERR_INVALID_ARGUMENT, "there is no bucket property \"" STR_FMT "\"", STR_ARG(path));
    }
    return e;
}

static struct str said(const struct change *c, struct str path)
{
    for (size_t i = 0; i < ROWS; i++)
        if (str_eq(rows[i].path, path))
            return c->set[i];
    return STR_NONE;
}

static uint8_t count_said(const struct change *c, struct str path, uint8_t otherwise)
{
    uint64_t v = otherwise;
    struct str text = said(c, path);

    if (text.p && !str_to_u64(text, UINT8_MAX, &v))
        return UINT8_MAX; /* more than any bucket can have */
    return (uint8_t)v;
}

/* AIStore's mirror: copies on disks of one target; its erasure coding: slices over targets. As ours are. */
static enum err read_redundancy(struct change *c, struct native_props_change *out)
{
    bool mirror = str_eq(said(c, STR("mirror.enabled")), STR("true"));
    bool ec = str_eq(said(c, STR("ec.enabled")), STR("true"));
    const struct s3api_conf *conf = c->r->env->s3->conf;
    char text[REDUNDANCY_TEXT_MAX * 2], why[S3_WHY_MAX] = "redundancy other than none is not possible here";

    out->redundancy = conf->redundancy;
    out->says_redundancy = mirror || ec;
    if (mirror && ec)
        return native_error(c->r, ERR_INVALID_ARGUMENT, "bucket properties \"mirror\" and \"ec\" exclude each other");
    if (mirror)
        snprintf(text, sizeof(text), "mirror=%u", count_said(c, STR("mirror.copies"), 2));
    else if (ec)
        snprintf(text, sizeof(text), "ec=%u+%u", count_said(c, STR("ec.data_slices"), 1),
                 count_said(c, STR("ec.parity_slices"), 1));
    else
        snprintf(text, sizeof(text), "none");
    if (out->says_redundancy && redundancy_parse(str_z(text), &out->redundancy) != ERR_OK)
        return native_error(c->r, ERR_INVALID_ARGUMENT, "a bucket can't have the redundancy %s", text);
    if (out->redundancy.kind == REDUNDANCY_NONE)
        return ERR_OK;
    if (!conf->redundancy_fits || conf->redundancy_fits(conf->redundancy_arg, out->redundancy, why) != ERR_OK)
        return native_error(c->r, ERR_NOT_IMPLEMENTED, "bucket property \"%s\": %s", ec ? "ec" : "mirror", why);
    return ERR_OK;
}

static void release(void *b)
{
    buf_release(b);
}

static enum err check_backend(struct change *c)
{
    struct backend_conf conf;
    char why[DOC_WHY_MAX] = "";

    if (!c->backend || is_null(c->backend) || backend_conf_parse(c->r->arena, c->backend, &conf, why) == ERR_OK)
        return ERR_OK;
    return native_error(c->r, ERR_INVALID_ARGUMENT, "bucket property \"sluice.backend\": %s", why);
}

/* A view's results take the place of what was in the bucket: it is made as one, and stays one. */
static enum err check_view(struct change *c)
{
    struct bucket source = {.props = STR("")};
    struct view_conf conf;
    char why[DOC_WHY_MAX] = "";

    if (!c->view)
        return ERR_OK;
    if (c->now && !c->now->id.view)
        return native_error(c->r, ERR_INVALID_ARGUMENT,
                            "bucket property \"sluice.view\": a bucket is made as a view, or is none");
    if (is_null(c->view))
        return native_error(c->r, ERR_INVALID_ARGUMENT,
                            "bucket property \"sluice.view\": a view stays one: delete the bucket instead");
    if (c->backend)
        return native_error(c->r, ERR_INVALID_ARGUMENT, "a view has no bucket behind it: \"sluice.backend\"");
    if (view_conf_parse(c->r->arena, c->view, &conf, why) != ERR_OK)
        return native_error(c->r, ERR_INVALID_ARGUMENT, "bucket property \"sluice.view\": %s", why);
    if (buckets_find(c->r->env->s3->buckets, c->r->arena, conf.source, &source) == ERR_OK && !source.id.view)
        return ERR_OK;
    return native_error(c->r, ERR_INVALID_ARGUMENT, "bucket property \"sluice.view\": \"" STR_FMT "\" is no bucket%s",
                        STR_ARG(conf.source), source.id.view ? " but a view, too" : "");
}

/* The settings that change: {"native":{all that is kept},"members":true}. */
static enum err write_settings(struct change *c, struct native_props_change *out)
{
    struct buf *b = ARENA_NEW(c->r->arena, struct buf);
    bool any = false;

    buf_init(b, BUCKET_PROPS_MAX);
    arena_defer(c->r->arena, release, b);
    js_object(b);
    if (c->says_members)
        js_put_bool(b, "members", c->members);
    if (c->backend) {
        js_key(b, STR("backend"));
        js_doc(b, c->backend);
    }
    if (c->view) {
        js_key(b, STR("view"));
        js_doc(b, c->view);
    }
    for (size_t i = 0; i < ROWS; i++) {
        const struct doc *before = rows[i].policy == KEPT ? doc_get(c->kept, rows[i].path) : NULL;
        struct str value = c->set[i].p ? c->set[i] : before ? before->text : STR_NONE;
        if (rows[i].policy != KEPT || !value.p)
            continue;
        if (!any) {
            js_key(b, STR("native"));
            js_object(b);
        }
        any = true;
        js_key(b, rows[i].path);
        write_value(b, rows[i].kind, value);
    }
    if (any)
        js_end_object(b);
    js_end_object(b);
    out->settings = buf_str(b);
    return buf_err(b) == ERR_OK ? check_backend(c) : buf_err(b);
}

enum err native_props_change(struct native_request *r, const struct doc *value, const struct bucket *now,
                             struct native_props_change *out)
{
    struct change *c = ARENA_NEW(r->arena, struct change);
    enum err e = ERR_OK;

    *c = (struct change){.r = r, .now = now, .kept = doc_get(settings_of(r->arena, now), STR("native"))};
    *out = (struct native_props_change){.settings = STR("{}")};
    if (value && value->kind != DOC_MAP)
        return native_error(r, ERR_INVALID_ARGUMENT, "bucket properties must be an object");
    if (value)
        e = walk(c, value, STR(""));
    if (e == ERR_OK && !now)
        e = read_redundancy(c, out);
    if (e == ERR_OK)
        e = check_view(c);
    if (e == ERR_OK)
        e = write_settings(c, out);
    return e;
}
