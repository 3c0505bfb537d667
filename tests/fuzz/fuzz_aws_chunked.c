/* An aws-chunked body: what comes out must not depend on how the bytes are split, nor exceed the announced length. The first three bytes
 * choose mode, announced checksum and length. */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "s3api/chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err parse(const struct identity *who, enum hash_alg announced, uint64_t len, struct str raw, size_t step,
                      struct buf *out, struct body_check *check)
{
    struct chunk_parser *p = NEW(struct chunk_parser);
    enum err e = ERR_OK;

    chunk_parser_init(p, who, check, announced, len);
    while (raw.n && e == ERR_OK) {
        size_t n = raw.n < step ? raw.n : step, got = 0;
        char *piece = mem_alloc(n);
        memcpy(piece, raw.p, n);
        raw = str_skip(raw, n);
        e = chunk_parse(p, piece, n, &got);
        assert(e != ERR_OK || got <= n);
        if (e == ERR_OK)
            buf_add(out, piece, got);
        free(piece);
    }
    if (e == ERR_OK)
        e = chunk_parser_end(p);
    free(p);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum payload_mode modes[] = {PAYLOAD_SIGNED_CHUNKS, PAYLOAD_SIGNED_CHUNKS_TRAILER,
                                              PAYLOAD_UNSIGNED_TRAILER};
    struct identity who = {.chunks = {.scope = STR("20130524/us-east-1/s3/aws4_request")}};
    static const size_t steps[] = {1, 3, 64, 1 << 20};
    enum err first = ERR_OK;
    size_t first_n = 0;

    if (size < 3)
        return 0;
    who.payload = modes[data[0] % 3];
    who.chunks.verify = data[0] & 0x80;
    hmac_key(&who.chunks.key, STR("key"));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct buf out = BUF_INIT(1 << 22);
        struct body_check check = {0};
        enum err e = parse(&who, (enum hash_alg)(data[1] % HASH_COUNT), data[2] * 16u, str_n(data + 3, size - 3),
                           steps[i], &out, &check);
        assert(out.n <= data[2] * 16u);
        assert(e != ERR_OK || out.n == data[2] * 16u);
        assert(check.want_count <= 1);
        assert(i == 0 || e == first);
        assert(i == 0 || e != ERR_OK || out.n == first_n);
        first = e;
        first_n = out.n;
        buf_release(&out);
    }
    return 0;
}
