/* Compressed TARs: damaged streams end in an error or an index with ascending restart points, in bounded memory. The first byte chooses
 * the format and the pieces. */
#include <assert.h>

#include "archive/arc_scan.h"
#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct arc_index *x, uint64_t size)
{
    assert(x->restart_count >= 1 && x->restarts[0].at == 0 && x->restarts[0].offset == 0);
    for (uint32_t i = 1; i < x->restart_count; i++)
        assert(x->restarts[i].at > x->restarts[i - 1].at && x->restarts[i].offset > x->restarts[i - 1].offset &&
               x->restarts[i].at <= size);
    for (uint32_t i = 0; i < x->count; i++) {
        struct arc_member m;
        arc_index_member(x, i, &m);
        assert(m.name.n > 0 && m.offset + m.size <= x->end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum arc_format formats[] = {ARC_TGZ, ARC_TAR_LZ4, ARC_TAR_ZST};
    static bool ready;
    enum err e = ERR_OK;
    struct arc_index *x;

    if (!ready)
        hash_setup();
    ready = true;
    if (size < 1)
        return 0;
    struct arc_scan *s = arc_scan_new(formats[data[0] % 3]);
    size_t piece = data[0] / 3 ? (size_t)(data[0] / 3) * 5 : size;
    for (size_t at = 1; at < size && e == ERR_OK; at += piece)
        e = arc_scan_feed(s, data + at, size - at < piece ? size - at : piece);
    if (e == ERR_OK)
        e = arc_scan_end(s, &x);
    if (e == ERR_OK) {
        check(x, size - 1);
        arc_index_unref(x);
    } else {
        assert(arc_scan_why(s)[0] != '\0');
    }
    arc_scan_free(s);
    return 0;
}
