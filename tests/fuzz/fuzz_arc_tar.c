/* TAR archives: whatever the pieces in which it is fed, a scan says the same; members lie one behind the other within the archive. The
 * first byte chooses the pieces. Checksums of what looks like a header are made right, else nothing but them would be tried. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "archive/arc_pack.h"
#include "archive/arc_scan.h"
#include "base/hash.h"
#include "base/mem.h"

enum { BLOCK = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend_sums(char *p, size_t n)
{
    for (size_t at = 0; at + BLOCK <= n; at += BLOCK) {
        unsigned sum = 0;
        char text[8];
        if (memcmp(p + at + 257, "ustar", 5) != 0)
            continue;
        memset(p + at + 148, ' ', 8);
        for (size_t i = 0; i < BLOCK; i++)
            sum += (unsigned char)p[at + i];
        snprintf(text, sizeof(text), "%06o", sum & 0777777);
        memcpy(p + at + 148, text, 7);
    }
}

static struct arc_index *scan(const char *p, size_t n, size_t piece)
{
    struct arc_scan *s = arc_scan_new(ARC_TAR);
    struct arc_index *x = NULL;
    enum err e = ERR_OK;

    for (size_t at = 0; at < n && e == ERR_OK; at += piece)
        e = arc_scan_feed(s, p + at, n - at < piece ? n - at : piece);
    if (e == ERR_OK)
        e = arc_scan_end(s, &x);
    assert(e == ERR_OK ? x != NULL : arc_scan_why(s)[0] != '\0');
    arc_scan_free(s);
    return x;
}

static void check(const struct arc_index *x, uint64_t size)
{
    uint64_t behind = 0;

    assert(x->end <= size);
    for (uint32_t i = 0; i < x->count; i++) {
        struct arc_member m;
        arc_index_member(x, i, &m);
        assert(arc_name_is_safe(m.name) && m.head >= behind && m.offset >= m.head + BLOCK);
        assert(m.offset + m.size <= x->end && m.next >= m.offset + m.size && m.stored == m.size);
        behind = m.next;
    }
}

static void check_same(const struct arc_index *x, const struct arc_index *y)
{
    struct buf a = BUF_INIT(1u << 22), b = BUF_INIT(1u << 22);
    enum err e = arc_index_encode(x, &a), f = arc_index_encode(y, &b);

    assert(e == ERR_OK && f == ERR_OK && str_eq(buf_str(&a), buf_str(&b)));
    buf_release(&a);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready)
        hash_setup();
    ready = true;
    if (size < 2)
        return 0;
    size_t n = size - 1, piece = (size_t)data[0] * 3 + 1;
    char *p = mem_alloc(n);
    memcpy(p, data + 1, n);
    mend_sums(p, n);
    struct arc_index *x = scan(p, n, n), *y = scan(p, n, piece);
    assert(!x == !y);
    if (x) {
        check(x, n);
        check_same(x, y);
    }
    arc_index_unref(x);
    arc_index_unref(y);
    free(p);
    return 0;
}
