/* JSON of any kind: the tree must stay within its bounds, and what a bucket's record could hold is written so that it reads back. */
#include <assert.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct doc *d, unsigned depth)
{
    size_t n = 1, count = 0;

    assert(depth <= DOC_DEPTH_MAX);
    for (const struct doc *kid = d->first; kid; kid = kid->next, count++)
        n += walk(kid, depth + 1);
    assert(count == d->count);
    return n;
}

static void write_back(struct arena *arena, struct str text)
{
    struct buf b = BUF_INIT(DOC_TEXT_MAX);
    char why[DOC_WHY_MAX] = "";
    struct doc *root;

    js_object(&b);
    js_key(&b, STR("text"));
    js_str(&b, text);
    js_key(&b, STR("list"));
    js_array(&b);
    js_u64(&b, text.n);
    js_null(&b);
    js_end_array(&b);
    js_end_object(&b);
    if (buf_err(&b) == ERR_OK) {
        assert(js_read(arena, buf_str(&b), &root, why) == ERR_OK);
        assert(!str_is_utf8(text) || str_eq(doc_get(root, STR("text"))->text, text));
        assert(doc_get(root, STR("list"))->count == 2);
    }
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    char why[DOC_WHY_MAX] = "";
    struct doc *root;

    if (js_read(&arena, str_n(data, size), &root, why) == ERR_OK)
        assert(walk(root, 1) <= DOC_NODES_MAX);
    else
        assert(why[0]);
    write_back(&arena, str_n(data, size));
    arena_release(&arena);
    return 0;
}
