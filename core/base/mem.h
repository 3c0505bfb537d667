/* mem.h - allocation that can't fail: out of memory ends the process (as in libh2o), sizes are checked by callers.
 *
 * Owns     the caller frees with free().
 * Thread   any.
 */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));
/* Zeroed. */
void *mem_new(size_t n) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t n) __attribute__((returns_nonnull));

/* At a multiple of `align`, a power of two; n is a multiple of it as well. */
void *mem_aligned(size_t align, size_t n) __attribute__((malloc, returns_nonnull));

#define NEW(type) ((type *)mem_new(sizeof(type)))

/* The struct that holds `member` at `ptr`. */
#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
