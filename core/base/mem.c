#include "mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALL = 1024 };

static void *checked(void *p)
{
    static const char text[] = "sluice: out of memory\n";

    if (p)
        return p;
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        abort();
    abort();
}

void *mem_alloc(size_t n)
{
    return checked(malloc(n ? n : 1));
}

void *mem_new(size_t n)
{
    /* glibc's calloc (before 2.41) passes by the thread's cache of small blocks; of large ones it knows which are zero already */
    return n <= SMALL ? memset(mem_alloc(n), 0, n) : checked(calloc(1, n));
}

void *mem_aligned(size_t align, size_t n)
{
    return checked(aligned_alloc(align, n));
}

void *mem_realloc(void *p, size_t n)
{
    return checked(realloc(p, n ? n : 1));
}
