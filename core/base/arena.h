/* arena.h - memory of one request: many small allocations, one end.
 *
 * Shape    a list of 4 KiB chunks (larger requests get a chunk of their own).
 * Owns     everything allocated from it, and destructors registered with arena_defer(), run last-in first-out at the end.
 * Thread   one thread at a time; chunks come from a free list of the thread.
 */
#ifndef SLUICE_BASE_ARENA_H
#define SLUICE_BASE_ARENA_H

#include "str.h"

struct arena_chunk;
struct arena_defer;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    struct arena_defer *defers; /* newest first */
    char *at, *end;             /* free room in the newest chunk */
    struct str id;              /* of the request whose memory it is, for logs and other nodes; borrowed, may be none */
};

#define ARENA_INIT                                                                                                     \
    {                                                                                                                  \
        NULL, NULL, NULL, NULL,                                                                                        \
        {                                                                                                              \
            NULL, 0                                                                                                    \
        }                                                                                                              \
    }

/* Aligned to 16 bytes; never NULL. Not zeroed. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull));
/* Zeroed. */
void *arena_new(struct arena *a, size_t n) __attribute__((returns_nonnull));
#define ARENA_NEW(a, type) ((type *)arena_new((a), sizeof(type)))
/* A copy that is also NUL-terminated behind its end. */
struct str arena_str(struct arena *a, struct str s);
struct str arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Decimal. */
struct str arena_u64(struct arena *a, uint64_t v);
/* Runs fn(arg) at the arena's end. */
void arena_defer(struct arena *a, void (*fn)(void *), void *arg);
/* Runs the destructors, frees everything; the arena is empty and usable again. */
void arena_release(struct arena *a);

#endif
