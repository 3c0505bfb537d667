/* source.h - a body that is pulled: bytes in memory, ranges of files, a socket, a transform.
 *
 * Shape    either look at what is there without copying (source_peek/source_consume), or have bytes copied (source_read).
 * Owns     source_close() ends it and frees it; never close with a read or prepare outstanding (cancel the call, wait for done).
 * Errors   a source that fails keeps failing. ERR_CLIENT_GONE, ERR_INCOMPLETE_BODY, ERR_IO, ERR_CORRUPT, ...
 * Thread   the loop that made it.
 */
#ifndef SLUICE_BASE_SOURCE_H
#define SLUICE_BASE_SOURCE_H

#include "call.h"
#include "offload.h"
#include "str.h"

#define SOURCE_SIZE_UNKNOWN UINT64_MAX

enum span_kind {
    SPAN_END,    /* all bytes were consumed, the source is complete */
    SPAN_MEMORY, /* p, len: valid until the next call on the source */
    SPAN_FILE,   /* fd, offset, len: warm in the page cache, so sendfile will not block for long; same validity */
    SPAN_SOCKET, /* fd, len: a plain socket that holds the next len bytes or will receive them: splice(2) at most len from it, then
                  * source_consume() what was moved. When it has none just now: source_prepare() waits for some. When it has ended
                  * or can't be spliced: source_read() goes on, or tells the error. */
    SPAN_WAIT, /* source_prepare(), then peek again */
    SPAN_READ, /* can't show its bytes: use source_read() */
};

struct span {
    enum span_kind kind;
    const char *p;
    int fd;
    uint64_t offset;
    uint64_t len;
};

struct source;
struct source_ops {
    const char *name;
    /* Never blocks, never fails (failures come from prepare/read). NULL = always SPAN_READ. */
    void (*peek)(struct source *, struct span *out);
    void (*consume)(struct source *, uint64_t n);
    /* Makes the next peek something else than SPAN_WAIT. */
    void (*prepare)(struct source *, struct call *);
    /* 1..len bytes into buf, count to *n; 0 = the clean end. `buf` is the caller's until done. */
    void (*read)(struct source *, void *buf, size_t len, size_t *n, struct call *);
    void (*close)(struct source *);
};

struct source {
    const struct source_ops *ops;
    uint64_t size; /* bytes in all when made, or SOURCE_SIZE_UNKNOWN */
};

static inline void source_peek(struct source *s, struct span *out)
{
    if (s->ops->peek)
        s->ops->peek(s, out);
    else
        *out = (struct span){.kind = SPAN_READ};
}

static inline void source_consume(struct source *s, uint64_t n)
{
    s->ops->consume(s, n);
}

static inline void source_prepare(struct source *s, struct call *c)
{
    s->ops->prepare(s, c);
}

static inline void source_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    s->ops->read(s, buf, len, n, c);
}

/* NULL is legal. */
static inline void source_close(struct source *s)
{
    if (s)
        s->ops->close(s);
}

/* Bytes that the caller keeps alive until close; `release(arg)` (or NULL) runs at close. */
struct source *source_memory(struct str bytes, void (*release)(void *), void *arg);
/* At most `limit` bytes of `inner` after dropping its first `skip`; takes inner. Fails with ERR_INCOMPLETE_BODY when inner
 * ends early. */
struct source *source_slice(struct loop *loop, struct source *inner, uint64_t skip, uint64_t limit);

/* Reads until `len` bytes are there or the source ends; *n < len means the end. Same shape and rules as source_read(). */
struct source_fill {
    struct source *source;
    char *buf;
    size_t len, got;
    size_t *n;
    size_t step;
    struct call *whole;
    struct call call;
};
void source_fill(struct source_fill *f, struct source *s, void *buf, size_t len, size_t *n, struct call *c);

#endif
