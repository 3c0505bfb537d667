/* pack.h - MessagePack, written into a bounded buffer and read with a cursor.
 *
 * Shape    pack_*() append to a struct buf; an unpack walks bytes from outside front to back without allocating.
 * Owns     nothing: what a reader returns borrows from the bytes it reads.
 * Errors   sticky on both sides: buf.over when writing, unpack.bad when reading; ask once at the end. A bad reader
 *          returns zeros and empty strs.
 * Thread   any, one at a time.
 * Source   MessagePack specification. Writing is msgpack-c; its reader builds a tree in a heap zone per message,
 *          which costs more than the whole rest of an index lookup.
 */
#ifndef SLUICE_BASE_PACK_H
#define SLUICE_BASE_PACK_H

#include "buf.h"

void pack_nil(struct buf *b);
void pack_bool(struct buf *b, bool v);
void pack_uint(struct buf *b, uint64_t v);
void pack_int(struct buf *b, int64_t v);
void pack_str(struct buf *b, struct str s);
void pack_bin(struct buf *b, const void *p, size_t n);
/* Then n values. */
void pack_array(struct buf *b, uint32_t n);
/* Then n keys with their values. */
void pack_map(struct buf *b, uint32_t n);

enum { UNPACK_DEPTH_MAX = 32 };

struct unpack {
    const uint8_t *p, *end;
    bool bad;
};
static inline void unpack_init(struct unpack *u, struct str bytes)
{
    *u = (struct unpack){(const uint8_t *)bytes.p, (const uint8_t *)bytes.p + bytes.n, false};
}
/* A number that is not negative and at most `max`. */
uint64_t unpack_uint(struct unpack *u, uint64_t max);
int64_t unpack_int(struct unpack *u);
bool unpack_bool(struct unpack *u);
/* A str or bin of at most `max` bytes. */
struct str unpack_bytes(struct unpack *u, size_t max);
/* Count of the values (or pairs) that follow; at most `max`, and no more than the bytes left could hold. */
uint32_t unpack_array(struct unpack *u, uint32_t max);
uint32_t unpack_map(struct unpack *u, uint32_t max);
/* Passes over one value with all it holds. */
void unpack_skip(struct unpack *u);
/* Bytes not yet read. */
static inline struct str unpack_rest(const struct unpack *u)
{
    return str_n(u->p, (size_t)(u->end - u->p));
}
/* Nothing bad was met and nothing is left. */
static inline bool unpack_done(const struct unpack *u)
{
    return !u->bad && u->p == u->end;
}

#endif
