/* Chunk framing: the same bytes come out whatever the pieces that went in. The first byte chooses the size of the pieces. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum chunked_state state;
    size_t out_n, taken;
};

static struct outcome run(const uint8_t *data, size_t size, size_t step, char *out)
{
    struct chunked d = {0};
    struct outcome o = {0};

    while (o.taken < size && d.state != CHUNKED_DONE && d.state != CHUNKED_BAD) {
        size_t len = size - o.taken < step ? size - o.taken : step, got, used;
        char *piece = malloc(len);
        assert(piece);
        memcpy(piece, data + o.taken, len);
        chunked_decode(&d, piece, len, &got, &used);
        assert(used <= len && got <= used);
        memcpy(out + o.out_n, piece, got);
        free(piece);
        o.out_n += got;
        o.taken += used;
    }
    o.state = d.state;
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    char *a = malloc(size), *b = malloc(size);
    assert(a && b);
    struct outcome whole = run(data + 1, size - 1, size, a), pieces = run(data + 1, size - 1, data[0] % 16 + 1u, b);
    assert(whole.state == pieces.state && whole.taken == pieces.taken && whole.out_n == pieces.out_n);
    assert(memcmp(a, b, whole.out_n) == 0);
    free(a);
    free(b);
    return 0;
}
