#include "str.h"

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    if (c != 0)
        return c;
    return a.n < b.n ? -1 : a.n > b.n;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && str_starts_nocase(a, b);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    if (s.n < prefix.n)
        return false;
    for (size_t i = 0; i < prefix.n; i++)
        if (lower(s.p[i]) != lower(prefix.p[i]))
            return false;
    return true;
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

size_t str_find_char(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : SIZE_MAX;
}

size_t str_find(struct str s, struct str needle)
{
    const char *at = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;

    return at ? (size_t)(at - s.p) : SIZE_MAX;
}

struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_skip(s, 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct str str_split(struct str *s, char sep)
{
    size_t at = str_find_char(*s, sep);
    struct str head = *s;

    if (at == SIZE_MAX) {
        *s = str_n(s->p + s->n, 0);
        return head;
    }
    head.n = at;
    *s = str_skip(*s, at + 1);
    return head;
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_hex_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0 || s.n > 16)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int d = hex_digit(s.p[i]);
        if (d < 0)
            return false;
        v = v << 4 | (uint64_t)d;
    }
    *out = v;
    return true;
}

/* Length of the sequence that starts at p, 0 when it is not well-formed. RFC 3629 section 4. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    size_t len = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F))
        return 0;
    if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return len;
}

bool str_is_plain(struct str s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
    size_t i = 0;

    for (; i + 8 <= s.n; i += 8) {
        uint64_t v, del;
        memcpy(&v, s.p + i, 8);
        del = v ^ 0x7F * ones;
        /* a top bit stays on when there is a byte below 0x20, or one that is 0x7F; which one, the loop below finds */
        if ((((v - 0x20 * ones) & ~v) | ((del - ones) & ~del)) & tops)
            break;
    }
    for (; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F)
            return false;
    return true;
}

bool str_is_utf8(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t len = utf8_len((const unsigned char *)s.p + i, s.n - i);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

bool str_eq_secret(struct str a, struct str b)
{
    unsigned char diff = 0;

    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        diff |= (unsigned char)(a.p[i] ^ b.p[i]);
    return diff == 0;
}

void hex_encode(const void *in, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = in;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
}

bool hex_decode(struct str in, void *out, size_t n)
{
    unsigned char *p = out;

    if (in.n != 2 * n)
        return false;
    for (size_t i = 0; i < in.n; i++)
        if (hex_digit(in.p[i]) < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(hex_digit(in.p[2 * i]) << 4 | hex_digit(in.p[2 * i + 1]));
    return true;
}

struct base64 {
    char digits[65];
    bool padded;
    uint8_t value[256]; /* of a digit, plus 1; 0 = it is none */
};

/* clang-format off */
#define LETTERS_AND_DIGITS                                                                                             \
    ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,                                                                    \
    ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,             \
    ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52
/* clang-format on */

static const struct base64 plain = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    true,
    {LETTERS_AND_DIGITS, ['+'] = 63, ['/'] = 64},
};
static const struct base64 url = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
    false,
    {LETTERS_AND_DIGITS, ['-'] = 63, ['_'] = 64},
};

static size_t b64_encode(const struct base64 *b, const unsigned char *p, size_t n, char *out)
{
    char *o = out;

    for (; n >= 3; n -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *o++ = b->digits[v >> 18];
        *o++ = b->digits[v >> 12 & 63];
        *o++ = b->digits[v >> 6 & 63];
        *o++ = b->digits[v & 63];
    }
    if (n) {
        uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0);
        *o++ = b->digits[v >> 18];
        *o++ = b->digits[v >> 12 & 63];
        if (n > 1)
            *o++ = b->digits[v >> 6 & 63];
        for (; b->padded && n < 3; n++)
            *o++ = '=';
    }
    return (size_t)(o - out);
}

/* `count` digits as bits; false: not digits. */
static bool b64_group(const struct base64 *b, const char *p, size_t count, uint32_t *out)
{
    uint32_t v = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t d = b->value[(unsigned char)p[i]];
        if (d == 0)
            return false;
        v = v << 6 | (d - 1);
    }
    *out = v;
    return true;
}

/* Digits without padding. */
static bool b64_decode(const struct base64 *b, struct str in, unsigned char *out, size_t cap, size_t *out_n)
{
    size_t whole = in.n / 4, rest = in.n % 4, n = whole * 3 + (rest ? rest - 1 : 0);
    uint32_t v;

    if (rest == 1 || n > cap)
        return false;
    for (size_t i = 0; i < whole; i++, out += 3) {
        if (!b64_group(b, in.p + 4 * i, 4, &v))
            return false;
        out[0] = (unsigned char)(v >> 16);
        out[1] = (unsigned char)(v >> 8);
        out[2] = (unsigned char)v;
    }
    if (rest) {
        unsigned spare = rest == 3 ? 2 : 4;
        if (!b64_group(b, in.p + 4 * whole, rest, &v) || (v & ((1u << spare) - 1)))
            return false; /* bits behind the end: two texts for one value */
        v >>= spare;
        out[rest - 2] = (unsigned char)v;
        if (rest == 3)
            out[0] = (unsigned char)(v >> 8);
    }
    *out_n = n;
    return true;
}

size_t base64_encode(const void *in, size_t n, char *out)
{
    return b64_encode(&plain, in, n, out);
}

size_t base64url_encode(const void *in, size_t n, char *out)
{
    return b64_encode(&url, in, n, out);
}

bool base64_decode(struct str in, void *out, size_t cap, size_t *out_n)
{
    size_t pad = 0;

    if (in.n % 4 != 0)
        return false;
    while (pad < 2 && pad < in.n && in.p[in.n - 1 - pad] == '=')
        pad++;
    return b64_decode(&plain, str_n(in.p, in.n - pad), out, cap, out_n);
}

bool base64url_decode(struct str in, void *out, size_t cap, size_t *out_n)
{
    return b64_decode(&url, in, out, cap, out_n);
}
