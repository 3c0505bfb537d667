/* Layouts of cut objects from a damaged record: what is accepted has one text, and slices that make up the content. */
#include <assert.h>

#include "store/erasure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);
    char again[ERASURE_LAYOUT_MAX];
    struct erasure_piece pieces[REDUNDANCY_SLICES_MAX];
    struct erasure_layout l;
    uint64_t id, sum = 0;

    if (erasure_get(text, &l, &id) != ERR_OK)
        return 0;
    assert(str_eq(text, erasure_put(again, &l, id)));
    for (unsigned i = 0; i < l.data; i++)
        sum += erasure_stored(&l, i);
    assert(sum == l.size);
    size_t n = erasure_pieces(&l, 0, l.size, pieces);
    assert(n >= 1 && n <= l.data);
    for (size_t i = 0; i < n; i++)
        assert(pieces[i].slice == i && pieces[i].offset == 0 && pieces[i].len == erasure_stored(&l, pieces[i].slice));
    return 0;
}
