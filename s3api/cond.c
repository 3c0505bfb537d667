#include "cond.h"

#include "base/clock.h"

/* A list header that is sent several times means its values joined (RFC 9110 section 5.3). */
static struct str list_header(const struct http_req *req, struct str name)
{
    struct str v = http_header_get(req, name);
    size_t count = v.p ? http_header_count(req, name) : 0;

    if (count > 1) {
        v = STR_NONE;
        for (size_t i = 0; i < req->header_count; i++) {
            const struct http_header *h = &req->headers[i];
            if (!str_eq(h->name, name))
                continue;
            v = v.p ? arena_printf(req->arena, STR_FMT "," STR_FMT, STR_ARG(v), STR_ARG(h->value)) : h->value;
        }
    }
    return v.n ? v : STR_NONE;
}

static int64_t date_header(const struct http_req *req, struct str name)
{
    struct str v = http_header_get(req, name);
    int64_t seconds;

    return v.n && clock_http_parse(v, &seconds) ? seconds : COND_NO_TIME;
}

void cond_parse_read(const struct http_req *req, struct cond *out)
{
    cond_parse_write(req, out);
    out->if_modified_since_s = date_header(req, STR("if-modified-since"));
    out->if_unmodified_since_s = date_header(req, STR("if-unmodified-since"));
}

void cond_parse_write(const struct http_req *req, struct cond *out)
{
    *out = (struct cond)COND_INIT;
    out->if_match = list_header(req, STR("if-match"));
    out->if_none_match = list_header(req, STR("if-none-match"));
}

void cond_parse_rename_source(const struct http_req *req, struct cond *out)
{
    out->if_match = list_header(req, STR("x-amz-rename-source-if-match"));
    out->if_none_match = list_header(req, STR("x-amz-rename-source-if-none-match"));
    out->if_modified_since_s = date_header(req, STR("x-amz-rename-source-if-modified-since"));
    out->if_unmodified_since_s = date_header(req, STR("x-amz-rename-source-if-unmodified-since"));
}

void cond_parse_copy_source(const struct http_req *req, struct cond *out)
{
    out->if_match = list_header(req, STR("x-amz-copy-source-if-match"));
    out->if_none_match = list_header(req, STR("x-amz-copy-source-if-none-match"));
    out->if_modified_since_s = date_header(req, STR("x-amz-copy-source-if-modified-since"));
    out->if_unmodified_since_s = date_header(req, STR("x-amz-copy-source-if-unmodified-since"));
}
