#include "attrs.h"

#include "s3api/tags.h"

static const struct str meta_prefix = {"x-amz-meta-", 11};

/* Kept as they are. Content-Type and Content-Encoding have rules of their own. */
static const struct str plain_names[] = {
    {"cache-control", 13},
    {"content-disposition", 19},
    {"content-language", 16},
    {"expires", 7},
};

static const struct str storage_classes[] = {
    {"REDUCED_REDUNDANCY", 18},
    {"STANDARD_IA", 11},
    {"ONEZONE_IA", 10},
    {"INTELLIGENT_TIERING", 19},
    {"GLACIER", 7},
    {"DEEP_ARCHIVE", 12},
    {"OUTPOSTS", 8},
    {"GLACIER_IR", 10},
    {"SNOW", 4},
    {"EXPRESS_ONEZONE", 15},
    {"FSX_OPENZFS", 11},
};

struct collector {
    const struct http_req *req;
    struct attr *attrs; /* room for every header and the default type */
    uint32_t count;
};

static void keep(struct collector *c, struct str name, struct str value)
{
    c->attrs[c->count++] = (struct attr){name, value};
}

/* Without the "aws-chunked" tokens, the others in their order; empty when nothing is left. */
static struct str strip_chunked(struct arena *a, struct str list)
{
    struct str out = STR_NONE, rest = list;
    bool stripped = false;

    while (rest.n) {
        struct str token = str_trim(str_split(&rest, ','));
        if (str_eq_nocase(token, STR("aws-chunked")))
            stripped = true;
        else if (token.n)
            out = out.p ? arena_printf(a, STR_FMT "," STR_FMT, STR_ARG(out), STR_ARG(token)) : token;
    }
    return stripped ? out : list;
}

static void keep_content_headers(struct collector *c)
{
    struct str type = http_header_get(c->req, STR("content-type"));
    struct str encoding = STR_NONE;

    keep(c, STR("content-type"), type.n ? type : STR("binary/octet-stream"));
    for (size_t i = 0; i < c->req->header_count; i++) {
        const struct http_header *h = &c->req->headers[i];
        if (!str_eq(h->name, STR("content-encoding")))
            continue;
        struct str v = strip_chunked(c->req->arena, h->value);
        if (v.n)
            encoding = encoding.p ? arena_printf(c->req->arena, STR_FMT "," STR_FMT, STR_ARG(encoding), STR_ARG(v)) : v;
    }
    if (encoding.n)
        keep(c, STR("content-encoding"), encoding);
    for (size_t i = 0; i < sizeof(plain_names) / sizeof(plain_names[0]); i++) {
        struct str v = http_header_get(c->req, plain_names[i]);
        if (v.n)
            keep(c, plain_names[i], v);
    }
}

static enum err keep_storage_class(struct collector *c)
{
    struct str v = http_header_get(c->req, STR("x-amz-storage-class"));

    if (!v.p || str_eq(v, STR("STANDARD")))
        return ERR_OK;
    for (size_t i = 0; i < sizeof(storage_classes) / sizeof(storage_classes[0]); i++) {
        if (str_eq(v, storage_classes[i])) {
            keep(c, STR("x-amz-storage-class"), v);
            return ERR_OK;
        }
    }
    return ERR_INVALID_STORAGE_CLASS;
}

static enum err keep_redirect(struct collector *c)
{
    struct str v = http_header_get(c->req, STR("x-amz-website-redirect-location"));

    if (!v.n)
        return ERR_OK;
    if (v.p[0] != '/' && !str_starts(v, STR("http://")) && !str_starts(v, STR("https://")))
        return ERR_INVALID_ARGUMENT;
    keep(c, STR("x-amz-website-redirect-location"), v);
    return ERR_OK;
}

static enum err keep_user_metadata(struct collector *c)
{
    uint32_t first = c->count;
    size_t total = 0;

    for (size_t i = 0; i < c->req->header_count; i++) {
        const struct http_header *h = &c->req->headers[i];
        uint32_t at = first;
        if (!str_starts(h->name, meta_prefix))
            continue;
        total += h->name.n - meta_prefix.n + h->value.n;
        if (total > USER_METADATA_MAX)
            return ERR_METADATA_TOO_LARGE;
        while (at < c->count && !str_eq(c->attrs[at].name, h->name))
            at++;
        if (at == c->count)
            keep(c, h->name, h->value);
        else
            c->attrs[at].value =
                arena_printf(c->req->arena, STR_FMT "," STR_FMT, STR_ARG(c->attrs[at].value), STR_ARG(h->value));
    }
    return ERR_OK;
}

enum err attrs_fit(const struct object_info *info)
{
    size_t total = info->tags.n;

    for (uint32_t i = 0; i < info->attr_count; i++)
        total += info->attrs[i].name.n + info->attrs[i].value.n;
    return total > OBJECT_HEADERS_MAX ? ERR_METADATA_TOO_LARGE : ERR_OK;
}

enum err attrs_collect(const struct http_req *req, struct object_info *info)
{
    struct collector c = {.req = req};
    enum err e;

    c.attrs = arena_alloc(req->arena, (req->header_count + 1) * sizeof(*c.attrs));
    keep_content_headers(&c);
    if ((e = keep_storage_class(&c)) != ERR_OK || (e = keep_redirect(&c)) != ERR_OK ||
        (e = keep_user_metadata(&c)) != ERR_OK)
        return e;
    info->attrs = c.attrs;
    info->attr_count = c.count;
    return attrs_fit(info);
}

enum err attrs_collect_tags(const struct http_req *req, struct object_info *info)
{
    struct str text = http_header_get(req, STR("x-amz-tagging"));
    struct tag tags[TAGS_MAX];
    size_t n = 0;
    enum err e;

    info->tags = STR_NONE;
    if (text.n == 0)
        return ERR_OK;
    if ((e = tags_parse(req->arena, text, tags, &n)) != ERR_OK)
        return e;
    if (!tags_are_plain(tags, n))
        return ERR_INVALID_TAG;
    info->tags = tags_encode(req->arena, tags, n);
    return attrs_fit(info);
}
