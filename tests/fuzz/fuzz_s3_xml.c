/* Documents that clients send: the tree must stay within its bounds and hang together. */
#include <assert.h>
#include <stdlib.h>

#include "s3api/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t walk(const struct xml_doc *d, const struct xml_node *n, uint32_t depth, size_t *bytes)
{
    uint32_t count = 1;

    assert(n->depth == depth && depth < XML_DEPTH_MAX);
    assert(n->name.n > 0);
    assert(n->name.p >= d->text && n->name.p + n->name.n <= d->text + d->text_n);
    if (n->text.n > 0) {
        assert(n->text.p >= d->text && n->text.p + n->text.n <= d->text + d->text_n);
        assert(!xml_first(d, n));
    }
    *bytes += n->name.n + n->text.n;
    for (const struct xml_node *c = xml_first(d, n); c; c = xml_next(d, n, c))
        count += walk(d, c, depth + 1, bytes);
    assert(count == n->skip);
    return count;
}

/* A text that was read comes back the same after writing. */
static void write_back(const struct xml_doc *d)
{
    struct buf b = BUF_INIT(64 << 20);
    struct xml_doc again;

    for (uint32_t i = 0; i < d->count && i < 16; i++) {
        buf_reset(&b);
        xml_str(&b, STR("K"), d->nodes[i].text);
        if (xml_read(buf_str(&b), &again) == ERR_OK) {
            assert(str_eq(xml_root(&again)->text, d->nodes[i].text));
            xml_doc_release(&again);
        }
    }
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xml_doc d;
    size_t bytes = 0;

    if (xml_read(str_n(data, size), &d) == ERR_OK) {
        assert(walk(&d, xml_root(&d), 0, &bytes) == d.count && d.count <= XML_NODES_MAX);
        assert(bytes <= size);
        write_back(&d);
        xml_doc_release(&d);
    }
    return 0;
}
