#include "arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem.h"

#ifdef __SANITIZE_ADDRESS__
enum { CHUNKS_KEPT = 0 }; /* so that a use after the request's end is seen */
#else
enum { CHUNKS_KEPT = 64 };
#endif
enum { CHUNK_SIZE = 4096, ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
};

struct arena_defer {
    struct arena_defer *next;
    void (*fn)(void *);
    void *arg;
};

/* Room behind the header, aligned. */
#define CHUNK_HEAD ((sizeof(struct arena_chunk) + ALIGN - 1) / ALIGN * ALIGN)

static _Thread_local struct {
    struct arena_chunk *list;
    unsigned count;
} kept;

static struct arena_chunk *chunk_get(size_t size)
{
    struct arena_chunk *c = size == CHUNK_SIZE ? kept.list : NULL;

    if (c) {
        kept.list = c->next;
        kept.count--;
    } else {
        c = mem_alloc(size);
        c->size = size;
    }
    return c;
}

static void chunk_put(struct arena_chunk *c)
{
    if (c->size != CHUNK_SIZE || kept.count + 1 > CHUNKS_KEPT) {
        free(c);
        return;
    }
    c->next = kept.list;
    kept.list = c;
    kept.count++;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need = (n ? n + ALIGN - 1 : ALIGN) / ALIGN * ALIGN; /* nothing, too, has an address */
    char *p = a->at;

    if (need <= (size_t)(a->end - a->at)) {
        a->at += need;
        return p;
    }
    bool own = need > CHUNK_SIZE - CHUNK_HEAD;
    struct arena_chunk *c = chunk_get(own ? need + CHUNK_HEAD : CHUNK_SIZE);
    p = (char *)c + CHUNK_HEAD;
    c->next = a->chunks;
    a->chunks = c;
    if (!own) {
        a->at = p + need;
        a->end = (char *)c + CHUNK_SIZE;
    }
    return p;
}

void *arena_new(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return str_n(p, s.n);
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_n(p, (size_t)n);
}

struct str arena_u64(struct arena *a, uint64_t v)
{
    enum { DIGITS = 20 };
    char *p = arena_alloc(a, DIGITS);
    size_t at = DIGITS;

    do
        p[--at] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    return str_n(p + at, DIGITS - at);
}

void arena_defer(struct arena *a, void (*fn)(void *), void *arg)
{
    struct arena_defer *d = arena_alloc(a, sizeof(*d));

    *d = (struct arena_defer){a->defers, fn, arg};
    a->defers = d;
}

void arena_release(struct arena *a)
{
    while (a->defers) {
        struct arena_defer *d = a->defers;
        a->defers = d->next;
        d->fn(d->arg);
    }
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        chunk_put(c);
    }
    *a = (struct arena)ARENA_INIT;
}
