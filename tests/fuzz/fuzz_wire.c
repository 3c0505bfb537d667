/* Descriptions and tails from other nodes: whatever decodes must encode again, and that must decode to the same bytes. The first
 * byte chooses the decoder. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(enum wire_method m, bool res, struct buf *b, const void *from)
{
    if (res)
        wire_put_res(m, b, from);
    else
        wire_put_req(m, b, from);
}

static enum err get(enum wire_method m, bool res, struct str in, struct arena *arena, void *to)
{
    return res ? wire_get_res(m, in, arena, to) : wire_get_req(m, in, arena, to);
}

static void description(enum wire_method m, bool res, struct str in)
{
    struct arena arena = ARENA_INIT;
    struct buf once = BUF_INIT(64u << 20), twice = BUF_INIT(64u << 20);
    size_t size = res ? wire_res_size(m) : wire_req_size(m);
    void *value = arena_new(&arena, size), *again = arena_new(&arena, size);

    if (get(m, res, in, &arena, value) == ERR_OK) {
        put(m, res, &once, value);
        enum err e = get(m, res, buf_str(&once), &arena, again);
        assert(e == ERR_OK);
        put(m, res, &twice, again);
        assert(str_eq(buf_str(&once), buf_str(&twice)));
    }
    buf_release(&once);
    buf_release(&twice);
    arena_release(&arena);
}

static void tail(struct str in)
{
    struct body_check check = {.checksum = HASH_CRC32, .also = 1u << HASH_SHA256, .want_count = 1};
    char bytes[WIRE_TAIL] = {0};

    memcpy(bytes, in.p, in.n < WIRE_TAIL ? in.n : WIRE_TAIL);
    check.want[0].digest = (struct digest){.alg = HASH_MD5, .n = 16};
    if (wire_get_tail(bytes, 5, &check) == ERR_OK) {
        assert(check.want_count >= 1 && check.want_count <= BODY_WANTS_MAX);
        wire_put_tail(bytes, 5, &check, 1);
        check.want_count = 1;
        enum err e = wire_get_tail(bytes, 5, &check);
        assert(e == ERR_OK);
    }
}

static void header(struct str in)
{
    struct arena arena = ARENA_INIT;
    struct str bytes;

    if (wire_from_header(&arena, in, &bytes) == ERR_OK)
        assert(str_eq(wire_to_header(&arena, bytes), in));
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str in = str_n(data + 1, size - 1);
    unsigned which = data[0] % (2 * WIRE_METHODS + 2);
    if (which < 2 * WIRE_METHODS)
        description((enum wire_method)(which / 2), which % 2, in);
    else if (which == 2 * WIRE_METHODS)
        tail(in);
    else
        header(in);
    return 0;
}
