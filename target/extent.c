#include "target/extent.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "target/segment_cipher.h"
#include "target/segment_footer.h"

enum {
    WINDOW = 2 << 20,             /* at most this much is probed, warmed and shown at a time: two blocks */
    READ_ON_LOOP_MAX = 128 << 10, /* warm reads up to this are not worth a hop */
    WARM_STEP = 64 << 10,
    OPENED_MAX = 4 * SEAL_CHUNK, /* of encrypted content, in memory at a time */
    AHEAD_STEP = 128 << 10,      /* readahead(2) takes no more than the device's read-ahead size at a time */
};

/* What a pool thread does for a source; it touches nothing else. */
struct work {
    struct offload_task task;
    struct call call;
    /* in */
    struct extents_env env;
    struct segment_dir *dir;
    struct segment_id id;
    uint64_t offset, end; /* the window */
    uint64_t extent_end;  /* what may be read ahead */
    char *buf;            /* to read into, NULL: only warm it */
    size_t len;
    bool checked; /* the window's blocks are known to be good */
    char *opened; /* OPENED_MAX bytes for encrypted content from `offset`, a chunk's begin; NULL: it isn't encrypted */
    /* in and out */
    struct extent_file *file; /* NULL: open it */
    /* out */
    size_t got;
};

struct extents_source {
    struct source source;
    struct extents_env env;
    struct segment_dir *dir;
    struct extent *list; /* what is wanted, without empty ones; &one when it is a single extent */
    size_t at, n;
    struct extent one;
    uint64_t pos, end;        /* within the segment at list[at] */
    uint64_t left;            /* of all */
    struct extent_file *file; /* of list[at], NULL: not looked up yet */
    char *opened;             /* of encrypted content: what is at opened_at, as it was before; NULL: none was needed */
    uint64_t opened_at, opened_end;
    uint64_t warm_end; /* [pos, warm_end) is warm, and checked if that is wanted */
    bool cold;         /* the window at pos has been probed and is not */
    bool begun;        /* a segment was open once */
    enum err err;
    struct extent_hold hold; /* when n > 1 */
    struct work work;
    struct call *whole;
    size_t *n_out;
};

static struct metric cold_windows = {.name = "sluice_cold_windows_total",
                                     .help = "Windows of segments that had to be read from disk.",
                                     .kind = METRIC_COUNTER};

static void metrics_once(void)
{
    metric_register(&cold_windows);
}

/* ---- the pool's side ---- */

/* Asks the disk for the window and the one behind it, so that it works while the first is on its way to the client. */
static void read_ahead(const struct work *w)
{
    uint64_t end = w->end + WINDOW < w->extent_end ? w->end + WINDOW : w->extent_end;

    for (uint64_t at = w->offset; at < end; at += AHEAD_STEP)
        if (readahead(w->file->fd, (off_t)at, end - at < AHEAD_STEP ? (size_t)(end - at) : AHEAD_STEP) != 0)
            return; /* only a hint */
}

static enum err read_at(const struct work *w, char *buf, size_t len, uint64_t at, size_t *got)
{
    ssize_t n;

    do
        n = pread(w->file->fd, buf, len, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return segment_failed(w->dir, &w->id, "segment read failed");
    if (n == 0)
        return segment_corrupt(w->dir, &w->id, "truncated");
    *got = (size_t)n;
    return ERR_OK;
}

static enum err warm(const struct work *w)
{
    char *scratch = mem_alloc(WARM_STEP);
    enum err e = ERR_OK;

    for (uint64_t at = w->offset; at < w->end && e == ERR_OK;) {
        size_t got = 0;
        e = read_at(w, scratch, w->end - at < WARM_STEP ? (size_t)(w->end - at) : WARM_STEP, at, &got);
        at += got;
    }
    free(scratch);
    return e;
}

static enum err check(const struct work *w)
{
    const struct segment_footer *footer;
    enum err e = extent_cache_footer(w->file, &footer);

    return e == ERR_OK ? segment_verify(w->dir, w->file->fd, footer, w->offset, w->end - w->offset, NULL) : e;
}

/* Encrypted content is checked by being opened. */
static enum err open_chunks(struct work *w)
{
    const struct segment_footer *footer;
    uint8_t key[SEAL_KEY];
    enum err e = extent_cache_footer(w->file, &footer);
    uint64_t wanted = (w->extent_end - w->offset + SEAL_CHUNK - 1) / SEAL_CHUNK * SEAL_CHUNK, left;
    size_t len;

    if (e == ERR_OK && (!footer->tags || w->extent_end > footer->size))
        e = segment_corrupt(w->dir, &w->id, "not what its record says");
    if (e != ERR_OK || (e = segment_cipher_key(w->dir, footer, key)) != ERR_OK)
        return e;
    read_ahead(w);
    left = footer->size - w->offset;
    if (left > wanted)
        left = wanted;
    len = left < OPENED_MAX ? (size_t)left : OPENED_MAX;
    for (size_t at = 0, got; at < len && e == ERR_OK; at += got)
        e = read_at(w, w->opened + at, len - at, w->offset + at, &got);
    if (e == ERR_OK)
        e = segment_cipher_open(w->dir, footer, key, w->offset, w->opened, len);
    seal_forget(key);
    w->got = e == ERR_OK ? len : 0;
    return e;
}

static enum err work_run(struct offload_task *t)
{
    struct work *w = CONTAINER(t, struct work, task);
    enum err e;

    if (!w->file && (e = extent_cache_open(w->env.cache, w->dir, &w->id, &w->file)) != ERR_OK)
        return e;
    if (w->extent_end > w->file->file_size)
        return segment_corrupt(w->dir, &w->id, "shorter than its record says");
    if (w->opened)
        return open_chunks(w);
    if (!w->buf || (w->env.verify && !w->checked)) {
        read_ahead(w);
        e = w->env.verify ? check(w) : warm(w);
        if (e != ERR_OK)
            return e;
    }
    return w->buf ? read_at(w, w->buf, w->len, w->offset, &w->got) : ERR_OK;
}

/* ---- the loop's side ---- */

static void extent_enter(struct extents_source *x)
{
    const struct extent *e = &x->list[x->at];

    x->pos = e->offset;
    x->end = e->offset + e->len;
    x->warm_end = x->opened_end = 0;
    x->cold = false;
}

static void advance(struct extents_source *x, uint64_t n)
{
    assert(n <= x->left && n <= x->end - x->pos);
    x->pos += n;
    x->left -= n;
    if (x->pos == x->end && x->left) {
        extent_cache_put(x->env.cache, x->file);
        x->file = NULL;
        x->at++;
        extent_enter(x);
    }
}

static bool is_encrypted(const struct extents_source *x)
{
    return segment_id_encrypted(&x->list[x->at].id);
}

/* Bytes at pos that are opened already. */
static size_t opened_left(const struct extents_source *x)
{
    uint64_t end = x->opened_end < x->end ? x->opened_end : x->end;

    return x->pos >= x->opened_at && x->pos < end ? (size_t)(end - x->pos) : 0;
}

static const char *opened_here(const struct extents_source *x)
{
    return x->opened + (x->pos - x->opened_at);
}

static size_t opened_copy(struct extents_source *x, void *buf, size_t len)
{
    size_t left = opened_left(x), n = len < left ? len : left;

    memcpy(buf, opened_here(x), n);
    advance(x, n);
    return n;
}

static bool is_warm(const struct extents_source *x)
{
    return x->pos < x->warm_end;
}

/* Ends at a block boundary, so that checking it reads no more than it must. */
static uint64_t window_end(const struct extents_source *x)
{
    uint64_t end = x->pos / SEGMENT_BLOCK * SEGMENT_BLOCK + WINDOW;

    return end < x->end ? end : x->end;
}

static bool page_is_warm(int fd, uint64_t at)
{
    char byte;
    struct iovec iov = {&byte, 1};
    ssize_t n = preadv2(fd, &iov, 1, (off_t)at, RWF_NOWAIT);

    return n == 1 || (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)); /* tmpfs: always in memory */
}

/* The descriptor of the current segment, if that needs no disk. */
static bool file_ready(struct extents_source *x)
{
    if (!x->file)
        x->file = extent_cache_get(x->env.cache, x->dir, &x->list[x->at].id);
    if (!x->file)
        return false;
    x->begun = true;
    return x->end <= x->file->file_size; /* else prepare() tells */
}

/* Whether the window at pos can be shown; looks at its two ends once. */
static bool window_ready(struct extents_source *x)
{
    uint64_t end;

    if (is_warm(x))
        return true;
    if (x->cold || x->env.verify)
        return false;
    end = window_end(x);
    if (page_is_warm(x->file->fd, x->pos) && page_is_warm(x->file->fd, end - 1)) {
        x->warm_end = end;
        return true;
    }
    x->cold = true;
    return false;
}

static void extents_peek(struct source *s, struct span *out)
{
    struct extents_source *x = CONTAINER(s, struct extents_source, source);

    if (x->err == ERR_OK && x->left == 0)
        *out = (struct span){.kind = SPAN_END};
    else if (x->err == ERR_OK && opened_left(x))
        *out = (struct span){.kind = SPAN_MEMORY, .p = opened_here(x), .len = opened_left(x)};
    else if (x->err != ERR_OK || is_encrypted(x) || !file_ready(x) || !window_ready(x))
        *out = (struct span){.kind = SPAN_WAIT};
    else
        *out = (struct span){.kind = SPAN_FILE, .fd = x->file->fd, .offset = x->pos, .len = x->warm_end - x->pos};
}

static void extents_consume(struct source *s, uint64_t n)
{
    advance(CONTAINER(s, struct extents_source, source), n);
}

static void work_done(struct call *c)
{
    struct extents_source *x = CONTAINER(c, struct extents_source, work.call);
    struct work *w = &x->work;
    enum err e = c->err;

    x->file = w->file;
    if (e == ERR_NOT_FOUND && x->begun)
        e = segment_corrupt(x->dir, &w->id, "missing");
    if (e == ERR_OK) {
        x->begun = true;
        x->cold = false;
        if (w->opened) {
            x->opened_at = w->offset;
            x->opened_end = w->offset + w->got;
            w->got = w->buf ? opened_copy(x, w->buf, w->len) : 0;
        } else if (!w->buf || w->env.verify) {
            x->warm_end = w->end;
        }
        if (w->opened && w->buf) {
            *x->n_out = w->got;
        } else if (w->buf) {
            *x->n_out = w->got;
            advance(x, w->got);
        }
    } else if (e != ERR_BUSY) { /* that one passes */
        x->err = e;
    }
    call_finish(x->whole, e);
}

static void work_start(struct extents_source *x, char *buf, size_t len, struct call *c)
{
    struct work *w = &x->work;

    x->whole = c;
    *w = (struct work){.env = x->env,
                       .dir = x->dir,
                       .id = x->list[x->at].id,
                       .offset = x->pos,
                       .end = is_warm(x) ? x->warm_end : window_end(x),
                       .extent_end = x->end,
                       .buf = buf,
                       .len = len,
                       .checked = is_warm(x),
                       .file = x->file};
    if (is_encrypted(x)) {
        if (!x->opened)
            x->opened = mem_alloc(OPENED_MAX);
        w->opened = x->opened;
        w->offset -= w->offset % SEAL_CHUNK;
        x->opened_end = 0;
    }
    if (x->env.verify && len > w->end - x->pos)
        w->len = (size_t)(w->end - x->pos);
    if (!buf)
        metric_add(&cold_windows, 1);
    call_begin(&w->call, c->loop, work_done);
    offload_run(x->env.io, &w->task, work_run, &w->call);
}

static void extents_prepare(struct source *s, struct call *c)
{
    struct extents_source *x = CONTAINER(s, struct extents_source, source);

    if (x->err != ERR_OK || x->left == 0 || opened_left(x) || (!is_encrypted(x) && file_ready(x) && window_ready(x)))
        call_finish(c, x->err);
    else
        work_start(x, NULL, 0, c);
}

/* Reads what is in the page cache; 0: nothing is, or the pool shall find out what is wrong. */
static size_t read_now(struct extents_source *x, void *buf, size_t len)
{
    struct iovec iov = {buf, len};
    ssize_t n = preadv2(x->file->fd, &iov, 1, (off_t)x->pos, RWF_NOWAIT);

    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        n = pread(x->file->fd, buf, len, (off_t)x->pos);
    return n > 0 ? (size_t)n : 0;
}

static void extents_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct extents_source *x = CONTAINER(s, struct extents_source, source);

    *n = 0;
    if (x->err != ERR_OK || x->left == 0) {
        call_finish(c, x->err);
        return;
    }
    if (len > x->end - x->pos)
        len = (size_t)(x->end - x->pos);
    if (opened_left(x)) {
        *n = opened_copy(x, buf, len);
        call_finish(c, ERR_OK);
        return;
    }
    if (len <= READ_ON_LOOP_MAX && !is_encrypted(x) && file_ready(x) && (!x->env.verify || is_warm(x))) {
        size_t most = x->env.verify && len > x->warm_end - x->pos ? (size_t)(x->warm_end - x->pos) : len;
        if ((*n = read_now(x, buf, most)) > 0) {
            advance(x, *n);
            call_finish(c, ERR_OK);
            return;
        }
    }
    x->n_out = n;
    work_start(x, buf, len, c);
}

static void extents_close(struct source *s)
{
    struct extents_source *x = CONTAINER(s, struct extents_source, source);

    extent_cache_put(x->env.cache, x->file);
    free(x->opened);
    if (x->list != &x->one) {
        extent_cache_let_go(x->env.cache, &x->hold);
        free(x->list);
    }
    free(x);
}

/* ---- life ---- */

/* Copies what lies in [skip, skip + limit) of the row to `out` (NULL: only counts). *held = its bytes. */
static size_t extents_cut(const struct extent *list, size_t n, uint64_t skip, uint64_t limit, struct extent *out,
                          uint64_t *held)
{
    size_t count = 0;

    *held = 0;
    for (size_t i = 0; i < n && *held < limit; i++) {
        struct extent e = list[i];
        if (e.offset > SEGMENT_SIZE_MAX || e.len > SEGMENT_SIZE_MAX)
            break; /* a damaged record: held stays below limit */
        if (skip >= e.len) {
            skip -= e.len;
            continue;
        }
        e.offset += skip;
        e.len -= skip;
        skip = 0;
        if (e.len > limit - *held)
            e.len = limit - *held;
        *held += e.len;
        if (out)
            out[count] = e;
        count++;
    }
    return count;
}

struct source *extent_source_new(const struct extents_env *env, struct segment_dir *dir, const struct extent *list,
                                 size_t n, uint64_t skip, uint64_t limit)
{
    static const struct source_ops ops = {"extents",       extents_peek, extents_consume,
                                          extents_prepare, extents_read, extents_close};
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct extents_source *x = NEW(struct extents_source);
    uint64_t held;

    pthread_once(&once, metrics_once);
    x->source = (struct source){&ops, limit};
    x->env = *env;
    x->dir = dir;
    x->left = limit;
    x->n = extents_cut(list, n, skip, limit, NULL, &held);
    if (held < limit) {
        log_error(STR_NONE, "record damaged", "what=\"its extents hold less than its size\"");
        x->err = ERR_CORRUPT;
    }
    x->list = x->n > 1 ? mem_alloc(x->n * sizeof(*x->list)) : &x->one;
    extents_cut(list, n, skip, limit, x->list, &held);
    if (x->n > 1)
        extent_cache_hold(x->env.cache, &x->hold, x->list, x->n);
    if (x->n)
        extent_enter(x);
    return &x->source;
}
