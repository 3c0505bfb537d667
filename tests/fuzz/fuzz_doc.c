/* YAML of any kind: the tree must stay within its bounds. */
#include <assert.h>

#include "base/doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct doc *d, unsigned depth)
{
    size_t n = 1, count = 0;

    assert(depth <= DOC_DEPTH_MAX + 1);
    assert(d->line >= 1);
    for (const struct doc *kid = d->first; kid; kid = kid->next, count++)
        n += walk(kid, depth + 1);
    assert(count == d->count);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    char why[DOC_WHY_MAX] = "";
    struct doc *root;

    if (doc_parse(&arena, str_n(data, size), &root, why) == ERR_OK)
        assert(walk(root, 1) <= DOC_NODES_MAX + 1);
    else
        assert(why[0]);
    arena_release(&arena);
    return 0;
}
