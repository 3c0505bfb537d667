/* The document of a batch. */
#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_batch.h"

static enum err bad(char why[ARC_WHY_MAX], const char *text)
{
    snprintf(why, ARC_WHY_MAX, "%s", text);
    return ERR_INVALID_ARGUMENT;
}

/* AIStore's JSON reader looks at names without regard to case. */
static const struct doc *member(const struct doc *map, struct str name)
{
    if (!map || map->kind != DOC_MAP)
        return NULL;
    for (const struct doc *d = map->first; d; d = d->next)
        if (str_eq_nocase(d->key, name) && (d->kind != DOC_SCALAR || d->quoted || d->text.n))
            return d;
    return NULL;
}

static bool get_text(const struct doc *map, struct str name, struct str *out)
{
    const struct doc *d = member(map, name);

    if (!d)
        return true;
    if (d->kind != DOC_SCALAR || !d->quoted)
        return false;
    if (d->text.n)
        *out = d->text;
    return true;
}

static bool get_flag(const struct doc *map, struct str name, bool *out)
{
    const struct doc *d = member(map, name);

    if (!d)
        return true;
    *out = d->kind == DOC_SCALAR && str_eq(d->text, STR("true"));
    return *out || (d->kind == DOC_SCALAR && str_eq(d->text, STR("false")));
}

static bool get_number(const struct doc *map, struct str name, int64_t *out)
{
    const struct doc *d = member(map, name);
    uint64_t v;

    if (!d)
        return true;
    if (d->kind != DOC_SCALAR)
        return false;
    bool minus = d->text.n > 0 && d->text.p[0] == '-';
    if (!str_to_u64(minus ? str_skip(d->text, 1) : d->text, INT64_MAX, &v))
        return false;
    *out = minus ? -(int64_t)v : (int64_t)v;
    return true;
}

/* (0,0) all; (n,l) l bytes, all of which must exist; (n,-1) to the end. */
static enum err parse_range(const struct doc *d, struct arc_batch_row *r, char why[ARC_WHY_MAX])
{
    int64_t start = 0, length = 0;

    if (!get_number(d, STR("start"), &start) || !get_number(d, STR("length"), &length) || start < 0 || length < -1)
        return bad(why, "start and length must be numbers; start not negative, length -1 or more");
    if (start > 0 && length == 0)
        return bad(why, "a start needs a length: -1 means to the end");
    if (length > 0) {
        if (start > INT64_MAX - length)
            return bad(why, "start and length are beyond any object");
        r->range =
            (struct range){.kind = RANGE_FROM_TO, .first = (uint64_t)start, .last = (uint64_t)(start + length - 1)};
        r->want = (uint64_t)length;
    } else if (start > 0) {
        r->range = (struct range){.kind = RANGE_FROM, .first = (uint64_t)start};
    }
    return ERR_OK;
}

static enum err parse_selection(const struct doc *d, struct arc_batch_row *r, char why[ARC_WHY_MAX])
{
    struct str mode = STR_NONE;

    if (!get_text(d, STR("archregx"), &r->pattern) || !get_text(d, STR("archmode"), &mode))
        return bad(why, "archregx and archmode must be texts");
    if (!mode.n && !r->pattern.n)
        return ERR_OK;
    r->selects = true;
    if (!mode.n || !r->pattern.n)
        return bad(why, "archregx and archmode go together");
    if (!arc_mode_parse(mode, &r->mode))
        return bad(why, "archmode must be one of regexp, prefix, suffix, substr, wdskey");
    if (r->archpath.n || r->range.kind != RANGE_ALL)
        return bad(why, "archregx does not go together with archpath, start or length");
    return ERR_OK;
}

static enum err parse_row(const struct doc *d, struct arc_batch_row *r, char why[ARC_WHY_MAX])
{
    enum err e;

    if (d->kind != DOC_MAP)
        return bad(why, "each entry of \"in\" must be an object");
    if (!get_text(d, STR("objname"), &r->objname) || !get_text(d, STR("archpath"), &r->archpath) ||
        !get_text(d, STR("opaque"), &r->opaque) || !get_text(d, STR("bucket"), &r->bucket) ||
        !get_text(d, STR("provider"), &r->provider) || !get_text(d, STR("uname"), &r->uname))
        return bad(why, "objname, bucket, provider, uname, archpath and opaque must be texts");
    if (!r->objname.n && !r->uname.n)
        return bad(why, "an entry needs an objname");
    while (r->archpath.n && r->archpath.p[0] == '/')
        r->archpath = str_skip(r->archpath, 1);
    e = parse_range(d, r, why);
    return e != ERR_OK ? e : parse_selection(d, r, why);
}

/* What names no ETL of its own passes through that of the document. */
static enum err parse_via(struct arena *arena, const struct doc *d, const struct arc_via **via, char why[ARC_WHY_MAX])
{
    struct arc_via v = {STR(""), STR(""), STR("")};

    if (member(d, STR("etl")))
        return bad(why, "an ETL is named by etl_name, its further stages by etl_pipeline, its arguments by etl_args");
    if (!get_text(d, STR("etl_name"), &v.name) || !get_text(d, STR("etl_pipeline"), &v.pipeline) ||
        !get_text(d, STR("etl_args"), &v.args))
        return bad(why, "etl_name, etl_pipeline and etl_args must be texts");
    if (!v.name.n && (v.pipeline.n || v.args.n))
        return bad(why, "etl_pipeline and etl_args need an etl_name");
    if (!v.name.n)
        return ERR_OK;
    *via = memcpy(ARENA_NEW(arena, struct arc_via), &v, sizeof(v));
    return ERR_OK;
}

static enum err parse_options(const struct doc *body, struct arc_batch *b, char why[ARC_WHY_MAX])
{
    struct str mime = STR_NONE, order = STR_NONE;
    int64_t coloc = 0;

    b->strm = false;
    if (!get_flag(body, STR("coer"), &b->coer) || !get_flag(body, STR("onob"), &b->onob) ||
        !get_flag(body, STR("strm"), &b->strm) || !get_flag(body, STR("status"), &b->status))
        return bad(why, "coer, onob, strm and status must be true or false");
    if (!get_text(body, STR("mime"), &mime) || !get_text(body, STR("order"), &order))
        return bad(why, "mime and order must be texts");
    b->format = mime.n ? arc_format_of_mime(mime) : ARC_TAR;
    if (b->format == ARC_NONE)
        return bad(why, "mime must be one of .tar, .tgz, .tar.gz, .zip, .tar.lz4, .tar.zst");
    b->as_ready = str_eq(order, STR("ready"));
    if (order.n && !b->as_ready && !str_eq(order, STR("request")))
        return bad(why, "order must be \"request\" or \"ready\"");
    if (b->as_ready && !b->strm)
        return bad(why, "order \"ready\" needs strm: the metadata is in the order of the request");
    if (!get_number(body, STR("coloc"), &coloc) || coloc < 0 || coloc > 2)
        return bad(why, "coloc must be 0, 1 or 2");
    return ERR_OK;
}

enum err arc_batch_parse(struct arena *arena, const struct doc *body, struct arc_batch *out, char why[ARC_WHY_MAX])
{
    const struct doc *in = member(body, STR("in"));
    const struct arc_via *via = NULL;
    enum err e;

    *out = (struct arc_batch){0};
    if (!in || in->kind != DOC_LIST || in->count == 0)
        return bad(why, "the body must be an object with a list \"in\" that is not empty");
    if (in->count > BATCH_ROWS_MAX)
        return bad(why, "too many entries");
    if ((e = parse_options(body, out, why)) != ERR_OK || (e = parse_via(arena, body, &via, why)) != ERR_OK)
        return e;
    out->rows = arena_new(arena, in->count * sizeof(*out->rows));
    for (const struct doc *d = in->first; d; d = d->next) {
        struct arc_batch_row *r = &out->rows[out->count++];
        r->via = via;
        if ((e = parse_row(d, r, why)) != ERR_OK || (e = parse_via(arena, d, &r->via, why)) != ERR_OK)
            return e;
        out->transforms |= r->via != NULL;
    }
    if (out->transforms && !out->strm)
        return bad(why, "transforms need strm: how large their results are is not known before");
    return ERR_OK;
}
