/* Headers of object operations: what is kept, ranges, conditions, tags, copy sources. Input: "name: value" lines. */
#include <assert.h>
#include <stdlib.h>

#include "s3api/attrs.h"
#include "s3api/cond.h"
#include "s3api/copy_source.h"
#include "s3api/range.h"
#include "s3api/tags.h"

enum { HEADERS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t split(struct str rest, struct http_header out[HEADERS_MAX])
{
    size_t n = 0;

    while (rest.n && n < HEADERS_MAX) {
        struct str line = str_split(&rest, '\n');
        struct str name = str_split(&line, ':');
        out[n++] = (struct http_header){name, str_trim(line)};
    }
    return n;
}

static void ranges(struct str value)
{
    struct range r, copy;
    uint64_t offset, len;

    range_parse(value, &r);
    for (uint64_t whole = 0; whole < 3; whole++) {
        uint64_t bytes = whole * 1000;
        if (range_resolve(&r, bytes, &offset, &len) == ERR_OK)
            assert(offset + len <= bytes && (len || r.kind == RANGE_ALL));
    }
    if (range_parse_copy(value, &copy) == ERR_OK)
        assert(copy.kind == RANGE_FROM_TO && copy.first <= copy.last && copy.first == r.first && copy.last == r.last);
}

/* A canonical text is its own canonical text. */
static void tags(struct arena *a, struct str value)
{
    struct tag once[TAGS_MAX], twice[TAGS_MAX];
    size_t n, again;

    if (tags_parse(a, value, once, &n) != ERR_OK)
        return;
    struct str text = tags_encode(a, once, n);
    assert(tags_count(text) == n);
    enum err e = tags_parse(a, text, twice, &again);
    assert(e == ERR_OK && again == n);
    assert(str_eq(tags_encode(a, twice, again), text));
}

static void kept(struct http_req *req)
{
    struct object_info info = {0};
    size_t total = 0;

    if (attrs_collect(req, &info) != ERR_OK || attrs_collect_tags(req, &info) != ERR_OK)
        return;
    assert(info.attr_count >= 1 && info.attr_count <= req->header_count + 1);
    for (uint32_t i = 0; i < info.attr_count; i++) {
        total += info.attrs[i].name.n + info.attrs[i].value.n;
        for (uint32_t k = 0; k < i; k++)
            assert(!str_eq(info.attrs[i].name, info.attrs[k].name));
    }
    assert(total + info.tags.n <= OBJECT_HEADERS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_header headers[HEADERS_MAX];
    struct arena a = ARENA_INIT;
    struct http_req req = {.headers = headers, .arena = &a};
    struct copy_source from;
    struct cond cond;

    req.header_count = split(str_n(data, size), headers);
    for (size_t i = 0; i < req.header_count; i++) {
        ranges(headers[i].value);
        tags(&a, headers[i].value);
        if (copy_source_parse(&a, headers[i].value, &from) == ERR_OK)
            assert(from.bucket.n && from.key.n && from.key.n <= KEY_MAX && str_is_utf8(from.key));
    }
    cond_parse_read(&req, &cond);
    assert((cond.if_match.p != NULL) == (cond.if_match.n > 0));
    cond_parse_copy_source(&req, &cond);
    kept(&req);
    arena_release(&a);
    return 0;
}
