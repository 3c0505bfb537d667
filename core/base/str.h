/* str.h - borrowed slices of bytes and the strict parsers over them.
 *
 * Shape    struct str = pointer + length; not terminated; may hold any byte.
 * Owns     nothing: a str lives as long as what it points into.
 * Errors   parsers return false and leave the out-parameter untouched.
 * Thread   any.
 */
#ifndef SLUICE_BASE_STR_H
#define SLUICE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE     ((struct str){NULL, 0})
/* printf("%.*s", STR_ARG(s)) */
#define STR_FMT    "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_n(const void *p, size_t n)
{
    return (struct str){(const char *)p, n};
}

static inline struct str str_z(const char *z)
{
    return z ? (struct str){z, strlen(z)} : STR_NONE;
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline struct str str_skip(struct str s, size_t n)
{
    return (struct str){s.p + n, s.n - n};
}

/* Order of memcmp, a prefix before what it starts: S3's listing order. <0, 0, >0 */
int str_cmp(struct str a, struct str b);
/* ASCII case only. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* Offset of the first `c` / first occurrence of `needle` (not empty), or SIZE_MAX. */
size_t str_find_char(struct str s, char c);
size_t str_find(struct str s, struct str needle);
/* Without spaces and tabs at both ends (RFC 9110 OWS). */
struct str str_trim(struct str s);
/* Cuts `s` at the first `sep`: returns what is before it and moves `*s` behind it; without `sep` returns all and empties *s. */
struct str str_split(struct str *s, char sep);
/* Digits only: no sign, no space, no overflow, <= max. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *out);
/* 1..16 hex digits of either case. */
bool str_hex_to_u64(struct str s, uint64_t *out);
/* No byte below 0x20 and no 0x7F: nothing that could end a line, or hide in one. Tells most texts at eight bytes a step. */
bool str_is_plain(struct str s);
/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms); NUL allowed. */
bool str_is_utf8(struct str s);
/* Compares without telling by time where the first difference is. Lengths are not secret. */
bool str_eq_secret(struct str a, struct str b);

/* Lower-case hex of `n` bytes into `out` (2n bytes, not terminated). */
void hex_encode(const void *in, size_t n, char *out);
/* Exactly 2n hex digits of either case into n bytes. */
bool hex_decode(struct str in, void *out, size_t n);
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)
/* Padded base64 (RFC 4648 section 4) into `out` of BASE64_LEN(n) bytes, not terminated; returns the length. */
size_t base64_encode(const void *in, size_t n, char *out);
/* Strict: padded, canonical, no spaces. At most `cap` bytes; the count goes to *out_n. */
bool base64_decode(struct str in, void *out, size_t cap, size_t *out_n);
/* The same with "-_" for "+/" and without padding (RFC 4648 section 5). */
size_t base64url_encode(const void *in, size_t n, char *out);
bool base64url_decode(struct str in, void *out, size_t cap, size_t *out_n);

#endif
