/* Response heads: found at the same place at any pace, parsed into slices that lie within them, with one framing only. */
#include <assert.h>

#include "http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct str s)
{
    volatile char sink = 0;

    for (size_t i = 0; i < s.n; i++)
        sink = (char)(sink ^ s.p[i]);
}

static void check_head(const struct http_response_head *h, bool to_head)
{
    bool bodiless = to_head || h->status < 200 || h->status == 204 || h->status == 304;
    size_t lengths = 0, codings = 0;

    assert(h->status >= 100 && h->status <= 599);
    assert(!bodiless || h->framing == HTTP_NO_BODY);
    assert((h->length > 0) == (h->framing == HTTP_SIZED) && h->length <= INT64_MAX);
    assert(h->framing != HTTP_TO_CLOSE || !h->keep_alive);
    for (size_t i = 0; i < h->header_count; i++) {
        struct http_header x = h->headers[i];
        assert(x.name.n > 0);
        check_slice(x.name);
        check_slice(x.value);
        lengths += str_eq(x.name, STR("content-length"));
        codings += str_eq(x.name, STR("transfer-encoding"));
        for (size_t k = 0; k < x.value.n; k++)
            assert(x.value.p[k] != '\r' && x.value.p[k] != '\n' && x.value.p[k]);
    }
    assert(!lengths || !codings);
    assert(h->framing != HTTP_CHUNKED || codings == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head_scan whole = {0}, bytewise = {0};
    struct arena arena = ARENA_INIT;
    struct http_response_head h;
    const char *p = (const char *)data;
    ssize_t len = head_scan(&whole, p, size), again = 0;

    for (size_t n = 1; n <= size && again == 0; n++)
        again = head_scan(&bytewise, p, n);
    assert(again == len);
    for (int to_head = 0; len > 0 && to_head < 2; to_head++) {
        size_t n = (size_t)len - whole.start;
        struct str copy = arena_str(&arena, str_n(p + whole.start, n));
        if (head_parse_response(&arena, (char *)copy.p, n, whole.lines, to_head, &h) == ERR_OK)
            check_head(&h, to_head);
    }
    arena_release(&arena);
    return 0;
}
