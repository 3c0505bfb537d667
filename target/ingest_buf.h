/* ingest_buf.h - the large buffers of uploads, shared by all of them and kept warm.
 *
 * Shape    a free list; fresh ones come from malloc. All have INGEST_BUF bytes.
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
    INGEST_BUFS_KEPT = 64,     /* idle ones kept */
};

/* NULL only when over the budget and not `must`. */
char *ingest_buf_get(bool must);
/* NULL is legal. */
void ingest_buf_put(char *buf);
/* Bytes in use now. */
size_t ingest_buf_used(void);

#endif
