/* Documents of batches of any kind: what is accepted has rows within the bounds, ranges that say what they want, and a format. */
#include <assert.h>

#include "archive/arc_batch.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct arc_batch *b)
{
    assert(b->count > 0 && b->count <= BATCH_ROWS_MAX && b->format != ARC_NONE);
    assert(!b->as_ready || b->strm);
    for (size_t i = 0; i < b->count; i++) {
        const struct arc_batch_row *r = &b->rows[i];
        assert(r->objname.n || r->uname.n);
        assert(r->archpath.n == 0 || r->archpath.p[0] != '/');
        assert(!r->selects || (r->pattern.n && r->archpath.n == 0 && r->range.kind == RANGE_ALL));
        if (r->range.kind == RANGE_FROM_TO)
            assert(r->want > 0 && r->range.last - r->range.first + 1 == r->want);
        else
            assert(r->want == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    char why[DOC_WHY_MAX] = "", wrong[ARC_WHY_MAX] = "";
    struct arc_batch batch;
    struct doc *root;

    if (js_read(&arena, str_n(data, size), &root, why) == ERR_OK) {
        enum err e = arc_batch_parse(&arena, root, &batch, wrong);
        assert(e == ERR_OK || (e == ERR_INVALID_ARGUMENT && wrong[0]));
        if (e == ERR_OK)
            check(&batch);
    }
    arena_release(&arena);
    return 0;
}
