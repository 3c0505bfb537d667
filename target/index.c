#include "target/index.h"

#include <assert.h>

/* A zero byte of the key becomes 00 FF and 00 01 ends it: "a" < "a\0" < "a\1" < "ab" holds for the results as for the
 * keys. */
enum { ESCAPED_ZERO = 0xff, TERMINATOR = 0x01 };

static void add_be(struct index_key *k, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        k->b[k->n++] = (char)(uint8_t)(v >> (8 * (n - 1 - i)));
}

static void add_escaped(struct index_key *k, struct str s)
{
    assert(s.n <= STORE_KEY_MAX);
    if (s.n == 0)
        return;
    if (!memchr(s.p, 0, s.n)) {
        memcpy(k->b + k->n, s.p, s.n);
        k->n += s.n;
        return;
    }
    for (size_t i = 0; i < s.n; i++) {
        k->b[k->n++] = s.p[i];
        if (s.p[i] == 0)
            k->b[k->n++] = (char)ESCAPED_ZERO;
    }
}

static void add_terminator(struct index_key *k, char end)
{
    k->b[k->n++] = 0;
    k->b[k->n++] = end;
}

static void add_id(struct index_key *k, const struct segment_id *id)
{
    memcpy(k->b + k->n, id->b, SEGMENT_ID_LEN);
    k->n += SEGMENT_ID_LEN;
}

void index_prefix(struct index_key *out, enum index_type type, uint64_t bucket_uid, struct str prefix)
{
    out->n = 0;
    add_be(out, type, 1);
    add_be(out, bucket_uid, 8);
    add_escaped(out, prefix);
}

void index_object(struct index_key *out, uint64_t bucket_uid, struct str key)
{
    index_prefix(out, INDEX_OBJECT, bucket_uid, key);
    add_terminator(out, TERMINATOR);
}

void index_upload(struct index_key *out, uint64_t bucket_uid, struct str key, const struct segment_id *upload)
{
    index_prefix(out, INDEX_UPLOAD, bucket_uid, key);
    add_terminator(out, TERMINATOR);
    add_id(out, upload);
}

void index_behind(struct index_key *out, enum index_type type, uint64_t bucket_uid, struct str key)
{
    index_prefix(out, type, bucket_uid, key);
    add_terminator(out, TERMINATOR + 1);
}

void index_id(struct index_key *out, enum index_type type, const struct segment_id *id)
{
    out->n = 0;
    add_be(out, type, 1);
    add_id(out, id);
}

void index_part(struct index_key *out, const struct segment_id *upload, uint32_t number)
{
    index_id(out, INDEX_PART, upload);
    add_be(out, number, 4);
}

void index_successor(struct index_key *k)
{
    while (k->n && (uint8_t)k->b[k->n - 1] == 0xff)
        k->n--;
    assert(k->n); /* the type byte is never ff */
    k->b[k->n - 1]++;
}

bool index_parse(struct str index_key, char out[STORE_KEY_MAX], uint64_t *bucket_uid, struct str *key, struct str *rest)
{
    struct str s = index_key;
    uint64_t uid = 0;

    if (s.n < INDEX_HEAD)
        return false;
    for (size_t i = 1; i < INDEX_HEAD; i++)
        uid = uid << 8 | (uint8_t)s.p[i];
    s = str_skip(s, INDEX_HEAD);
    const char *zero = memchr(s.p, 0, s.n);
    size_t at = zero ? (size_t)(zero - s.p) : s.n, n = 0;
    if (at + 1 >= s.n || at > STORE_KEY_MAX)
        return false;
    if ((uint8_t)s.p[at + 1] == TERMINATOR) {
        *key = str_n(s.p, at);
    } else {
        for (at = 0; at + 1 < s.n && !(s.p[at] == 0 && (uint8_t)s.p[at + 1] == TERMINATOR); at++) {
            if (n == STORE_KEY_MAX)
                return false;
            out[n++] = s.p[at];
            if (s.p[at] == 0 && (uint8_t)s.p[++at] != ESCAPED_ZERO)
                return false;
        }
        if (at + 1 >= s.n)
            return false;
        *key = str_n(out, n);
    }
    *bucket_uid = uid;
    if (rest)
        *rest = str_skip(s, at + 2);
    return true;
}
