#include "pack.h"

#include <msgpack/pack.h>

/* ---- writing ---- */

static int append(void *arg, const char *p, size_t n)
{
    buf_add(arg, p, n);
    return 0; /* buf.over remembers */
}

static msgpack_packer packer(struct buf *b)
{
    return (msgpack_packer){.data = b, .callback = append};
}

void pack_nil(struct buf *b)
{
    msgpack_packer k = packer(b);

    msgpack_pack_nil(&k);
}

void pack_bool(struct buf *b, bool v)
{
    msgpack_packer k = packer(b);

    if (v)
        msgpack_pack_true(&k);
    else
        msgpack_pack_false(&k);
}

void pack_uint(struct buf *b, uint64_t v)
{
    msgpack_packer k = packer(b);

    msgpack_pack_uint64(&k, v);
}

void pack_int(struct buf *b, int64_t v)
{
    msgpack_packer k = packer(b);

    msgpack_pack_int64(&k, v);
}

void pack_str(struct buf *b, struct str s)
{
    msgpack_packer k = packer(b);

    msgpack_pack_str(&k, s.n);
    buf_add_str(b, s);
}

void pack_bin(struct buf *b, const void *p, size_t n)
{
    msgpack_packer k = packer(b);

    msgpack_pack_bin(&k, n);
    buf_add(b, p, n);
}

void pack_array(struct buf *b, uint32_t n)
{
    msgpack_packer k = packer(b);

    msgpack_pack_array(&k, n);
}

void pack_map(struct buf *b, uint32_t n)
{
    msgpack_packer k = packer(b);

    msgpack_pack_map(&k, n);
}

/* ---- reading ---- */

static size_t left(const struct unpack *u)
{
    return (size_t)(u->end - u->p);
}

static void spoil(struct unpack *u)
{
    u->bad = true;
    u->p = u->end;
}

static uint8_t take_byte(struct unpack *u)
{
    if (left(u) < 1) {
        spoil(u);
        return 0xc1; /* never used by MessagePack: matches nothing */
    }
    return *u->p++;
}

static uint64_t take_be(struct unpack *u, size_t n)
{
    uint64_t v = 0;

    if (left(u) < n) {
        spoil(u);
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        v = v << 8 | u->p[i];
    u->p += n;
    return v;
}

/* Any integer; *negative tells how to read the 64 bits. */
static uint64_t take_number(struct unpack *u, bool *negative)
{
    uint8_t t = take_byte(u);
    uint64_t v;

    *negative = false;
    if (t <= 0x7f)
        return t;
    if (t >= 0xe0) {
        *negative = true;
        return (uint64_t)(int64_t)(int8_t)t;
    }
    if (t >= 0xcc && t <= 0xcf)
        return take_be(u, (size_t)1 << (t - 0xcc));
    if (t >= 0xd0 && t <= 0xd3) {
        unsigned bits = 8u << (t - 0xd0);
        v = take_be(u, bits / 8);
        if (v >> (bits - 1) & 1) {
            *negative = true;
            if (bits < 64)
                v |= ~UINT64_C(0) << bits;
        }
        return v;
    }
    spoil(u);
    return 0;
}

uint64_t unpack_uint(struct unpack *u, uint64_t max)
{
    bool negative;
    uint64_t v = take_number(u, &negative);

    if (negative || v > max) {
        spoil(u);
        return 0;
    }
    return u->bad ? 0 : v;
}

int64_t unpack_int(struct unpack *u)
{
    bool negative;
    uint64_t v = take_number(u, &negative);

    if (!negative && v > INT64_MAX) {
        spoil(u);
        return 0;
    }
    return u->bad ? 0 : (int64_t)v;
}

bool unpack_bool(struct unpack *u)
{
    uint8_t t = take_byte(u);

    if (t != 0xc2 && t != 0xc3)
        spoil(u);
    return t == 0xc3;
}

struct str unpack_bytes(struct unpack *u, size_t max)
{
    uint8_t t = take_byte(u);
    uint64_t n;

    if (t >= 0xa0 && t <= 0xbf)
        n = t & 0x1f;
    else if (t >= 0xd9 && t <= 0xdb)
        n = take_be(u, (size_t)1 << (t - 0xd9));
    else if (t >= 0xc4 && t <= 0xc6)
        n = take_be(u, (size_t)1 << (t - 0xc4));
    else
        n = UINT64_MAX;
    if (n > max || n > left(u)) {
        spoil(u);
        return STR_NONE;
    }
    struct str s = str_n(u->p, (size_t)n);
    u->p += n;
    return u->bad ? STR_NONE : s;
}

static uint32_t take_count(struct unpack *u, uint8_t fix, uint8_t wide, uint32_t max)
{
    uint8_t t = take_byte(u);
    uint64_t n = UINT64_MAX;

    if ((t & 0xf0) == fix)
        n = t & 0x0f;
    else if (t == wide || t == wide + 1)
        n = take_be(u, t == wide ? 2 : 4);
    if (n > max || n > left(u)) {
        spoil(u);
        return 0;
    }
    return (uint32_t)n;
}

uint32_t unpack_array(struct unpack *u, uint32_t max)
{
    return take_count(u, 0x90, 0xdc, max);
}

uint32_t unpack_map(struct unpack *u, uint32_t max)
{
    return take_count(u, 0x80, 0xde, max);
}

static void pass(struct unpack *u, uint64_t n)
{
    if (n > left(u))
        spoil(u);
    else
        u->p += n;
}

static void skip_within(struct unpack *u, unsigned depth);

static void skip_many(struct unpack *u, uint64_t n, unsigned depth)
{
    if (n > left(u) || depth >= UNPACK_DEPTH_MAX) {
        spoil(u);
        return;
    }
    for (; n && !u->bad; n--)
        skip_within(u, depth + 1);
}

static void skip_within(struct unpack *u, unsigned depth)
{
    uint8_t t = take_byte(u);

    if (t <= 0x7f || t >= 0xe0 || t == 0xc0 || t == 0xc2 || t == 0xc3)
        return;
    if (t <= 0x8f)
        skip_many(u, (uint64_t)(t & 0x0f) * 2, depth);
    else if (t <= 0x9f)
        skip_many(u, t & 0x0f, depth);
    else if (t <= 0xbf)
        pass(u, t & 0x1f);
    else if (t >= 0xc4 && t <= 0xc6)
        pass(u, take_be(u, (size_t)1 << (t - 0xc4)));
    else if (t >= 0xc7 && t <= 0xc9)
        pass(u, take_be(u, (size_t)1 << (t - 0xc7)) + 1); /* ext: its type byte, too */
    else if (t == 0xca || t == 0xcb)
        pass(u, t == 0xca ? 4 : 8);
    else if (t >= 0xcc && t <= 0xd3)
        pass(u, UINT64_C(1) << ((t - 0xcc) & 3));
    else if (t >= 0xd4 && t <= 0xd8)
        pass(u, (UINT64_C(1) << (t - 0xd4)) + 1);
    else if (t >= 0xd9 && t <= 0xdb)
        pass(u, take_be(u, (size_t)1 << (t - 0xd9)));
    else if (t == 0xdc || t == 0xdd)
        skip_many(u, take_be(u, t == 0xdc ? 2 : 4), depth);
    else if (t == 0xde || t == 0xdf)
        skip_many(u, take_be(u, t == 0xde ? 2 : 4) * 2, depth);
    else
        spoil(u);
}

void unpack_skip(struct unpack *u)
{
    skip_within(u, 0);
}
