/* Request heads: found at the same place at any pace, and parsed into slices that lie within them. */
#include <assert.h>
#include <stdlib.h>

#include "http/parse.h"
#include "http/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct str s)
{
    volatile char sink = 0;

    for (size_t i = 0; i < s.n; i++)
        sink = (char)(sink ^ s.p[i]);
}

static void check_head(struct arena *a, const struct http_head *h)
{
    struct query_param *q;
    struct str decoded;
    size_t n;

    assert(h->target.n > 0 && h->path.n + h->query.n + h->has_query == h->target.n);
    check_slice(h->target);
    check_slice(h->host);
    for (size_t i = 0; i < h->header_count; i++) {
        assert(h->headers[i].name.n > 0);
        check_slice(h->headers[i].name);
        check_slice(h->headers[i].value);
        for (size_t k = 0; k < h->headers[i].value.n; k++)
            assert(h->headers[i].value.p[k] != '\r' && h->headers[i].value.p[k] != '\n' && h->headers[i].value.p[k]);
    }
    if (url_decode(h->path, a, false, &decoded))
        check_slice(decoded);
    if (url_parse_query(a, h->query, &q, &n, 100) == ERR_OK)
        for (size_t i = 0; i < n; i++)
            check_slice(q[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head_scan whole = {0}, bytewise = {0};
    struct arena arena = ARENA_INIT;
    struct http_head h;
    const char *p = (const char *)data;
    ssize_t len = head_scan(&whole, p, size), again = 0;

    for (size_t n = 1; n <= size && again == 0; n++)
        again = head_scan(&bytewise, p, n);
    assert(again == len);
    if (len > 0) {
        assert(whole.lines == bytewise.lines && whole.start == bytewise.start);
        size_t n = (size_t)len - whole.start;
        struct str copy = arena_str(&arena, str_n(p + whole.start, n));
        if (head_parse(&arena, (char *)copy.p, n, whole.lines, &h) == ERR_OK)
            check_head(&arena, &h);
    }
    arena_release(&arena);
    return 0;
}
