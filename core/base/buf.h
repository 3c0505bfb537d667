/* buf.h - growable bytes with a mandatory maximum.
 *
 * Shape    one heap block, doubled as needed, never beyond `max`.
 * Owns     its block; buf_release() frees it. buf_str() borrows.
 * Errors   sticky: an append over the maximum sets `over` and is dropped, later appends too; ask buf_err() once at the end.
 * Thread   one at a time.
 */
#ifndef SLUICE_BASE_BUF_H
#define SLUICE_BASE_BUF_H

#include "err.h"
#include "str.h"

struct buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max; /* bytes; appends beyond it set over */
    bool over;
};

#define BUF_INIT(max_bytes)                                                                                            \
    {                                                                                                                  \
        NULL, 0, 0, (max_bytes), false                                                                                 \
    }

void buf_init(struct buf *b, size_t max_bytes);
void buf_release(struct buf *b);
/* Empties it and keeps the block. Clears `over`. */
void buf_reset(struct buf *b);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, struct str s);
void buf_add_z(struct buf *b, const char *z);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for `n` more bytes at the returned pointer, to be claimed with buf_commit(); NULL when over the maximum. */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
static inline struct str buf_str(const struct buf *b)
{
    return str_n(b->p, b->n);
}
/* ERR_TOO_LARGE once anything was dropped. */
MUST_USE static inline enum err buf_err(const struct buf *b)
{
    return b->over ? ERR_TOO_LARGE : ERR_OK;
}

#endif
