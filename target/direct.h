/* direct.h - writes around the page cache of which a few are under way at once, so that a disk is busy while the next
 * bytes are received and hashed.
 *
 * Shape    Linux native asynchronous I/O: each thread has a context, and what it began it also settles.
 * Units    bytes; address, length and offset of a write are multiples of DIRECT_ALIGN.
 * Owns     nothing: the bytes stay the caller's and unchanged until their write is settled.
 * Errors   errno; after one the file's content is undefined where writes were under way.
 * Thread   BLOCKING. A queue belongs to one thread from its first write to direct_settle(q, 0).
 */
#ifndef SLUICE_TARGET_DIRECT_H
#define SLUICE_TARGET_DIRECT_H

#include <libaio.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    DIRECT_ALIGN = 4096,
    DIRECT_DEPTH = 3, /* writes under way of one queue */
};

struct direct_queue {
    struct iocb slots[DIRECT_DEPTH];
    unsigned busy; /* set of 1u << slot */
    unsigned count;
};

/* Switches O_DIRECT of an open file. False: errno, EINVAL where the file system has none. */
MUST_USE bool direct_set(int fd, bool on);
/* Whether files like this empty one, open for writing, take direct writes; leaves it empty and without O_DIRECT. */
bool direct_works(int fd);
/* Begins a write once there is room in the queue; where the kernel gives no context it is done on return. False: errno,
 * of this or an earlier one. */
MUST_USE bool direct_write(struct direct_queue *q, int fd, const char *p, size_t n, uint64_t at);
/* Waits until at most `left` writes are under way. False: errno. */
MUST_USE bool direct_settle(struct direct_queue *q, unsigned left);

#endif
