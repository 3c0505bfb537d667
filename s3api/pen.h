/* pen.h - writing into a block whose size was computed before: texts to be signed.
 *
 * Shape    the caller sizes the block for the worst case; running out of it is a bug of ours and asserts.
 * Owns     nothing.
 * Thread   any.
 */
#ifndef SLUICE_S3API_PEN_H
#define SLUICE_S3API_PEN_H

#include <assert.h>

#include "base/arena.h"

struct pen {
    char *p;
    size_t n, cap;
};

static inline void pen_add(struct pen *w, const void *p, size_t n)
{
    assert(n <= w->cap - w->n);
    if (n)
        memcpy(w->p + w->n, p, n);
    w->n += n;
}

static inline void pen_str(struct pen *w, struct str s)
{
    pen_add(w, s.p, s.n);
}

static inline void pen_char(struct pen *w, char c)
{
    assert(w->n < w->cap);
    w->p[w->n++] = c;
}

static inline void pen_line(struct pen *w, struct str s)
{
    pen_str(w, s);
    pen_char(w, '\n');
}

static inline struct str pen_text(const struct pen *w)
{
    return str_n(w->p, w->n);
}

/* Trimmed, runs of blanks as one space: at most s.n bytes. */
static inline void pen_collapsed(struct pen *w, struct str s)
{
    bool gap = false;

    s = str_trim(s);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == ' ' || s.p[i] == '\t') {
            gap = true;
            continue;
        }
        if (gap)
            pen_char(w, ' ');
        gap = false;
        pen_char(w, s.p[i]);
    }
}

#endif
