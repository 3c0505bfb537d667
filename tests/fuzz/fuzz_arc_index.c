/* Encoded indexes, as they lie beside objects: what decodes has members within their archive, finds each by name, and encodes to what
 * decodes to the same. The magic and the checksum are put around the bytes here. */
#include <assert.h>

#include "archive/arc_index.h"
#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct arc_index *x)
{
    struct arc_member m, found;

    for (uint32_t i = 0; i < x->count; i++) {
        arc_index_member(x, i, &m);
        assert(m.name.n > 0 && m.name.n <= ARC_NAME_MAX);
        assert(m.head <= m.offset && m.next >= m.offset && m.stored <= m.next - m.offset);
        if (x->format == ARC_TAR || x->format == ARC_ZIP)
            assert(m.offset <= x->size && m.stored <= x->size - m.offset);
        bool finds = arc_index_find(x, m.name, NULL, &found);
        assert(!finds || str_eq(found.name, m.name) || m.name.p[0] == '/' || m.name.p[0] == '.');
        (void)finds;
    }
    for (uint32_t i = 0; i < x->restart_count; i++)
        assert(x->restarts[i].at < x->size &&
               (i ? x->restarts[i].offset > x->restarts[i - 1].offset : x->restarts[i].offset == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct buf once = BUF_INIT(1u << 22), again = BUF_INIT(1u << 22);
    struct arc_index *x, *y;
    struct digest sum;

    if (!ready)
        hash_setup();
    ready = true;
    buf_add(&once, "SLXI", 4);
    buf_add(&once, data, size);
    hash_of(HASH_XXH3, buf_str(&once), &sum);
    buf_add(&once, sum.b, 8);
    if (arc_index_decode(buf_str(&once), &x) == ERR_OK) {
        check(x);
        enum err e = arc_index_encode(x, &again);
        assert(e == ERR_OK);
        buf_reset(&once);
        e = arc_index_decode(buf_str(&again), &y);
        assert(e == ERR_OK);
        e = arc_index_encode(y, &once);
        assert(e == ERR_OK && str_eq(buf_str(&once), buf_str(&again)));
        arc_index_unref(x);
        arc_index_unref(y);
    }
    buf_release(&once);
    buf_release(&again);
    return 0;
}
