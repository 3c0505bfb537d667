/* ingest_buf.h - the large buffers of uploads, shared by all of them and kept warm.
 *
 * Shape    slabs of a few buffers. A buffer has INGEST_BUF bytes and is aligned for direct writes (direct.h).
 * Errors   beyond INGEST_BUDGET in use, an upload gets no further buffer than its first.
 * Thread   any.
 */
#ifndef SLUICE_TARGET_INGEST_BUF_H
#define SLUICE_TARGET_INGEST_BUF_H

#include <stdbool.h>
#include <stddef.h>

enum {
    INGEST_BUF = 512 << 10,    /* bytes */
    INGEST_BUDGET = 128 << 20, /* bytes of all buffers in use beyond which uploads make do with one */
    INGEST_SLAB = 2 << 20,     /* bytes that are allocated together */
    INGEST_SLABS_KEPT = 16,    /* idle ones kept */
};

/* NULL only when over the budget and not `must`. */
char *ingest_buf_get(bool must);
/* NULL is legal. */
void ingest_buf_put(char *buf);
/* Bytes in use now. */
size_t ingest_buf_used(void);

#endif
