#include "spool.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/op.h"

enum { ITEM_HEAD = 8, ITEMS_MIN = 1024, RUN_KEY_MAX = 256 };

/* A run that is read back. */
struct run {
    struct source *body;
    char *buf;
    size_t n, at, cap; /* bytes in it, position of the item that is next */
    struct source_fill fill;
    size_t got;
    bool ended;
    struct spool_item item; /* in buf */
    size_t item_len;
};

struct spool {
    struct spool_conf conf;
    char prefix[RUN_KEY_MAX];
    struct buf data; /* items of the run in memory: lengths, key, value */
    uint64_t *items; /* offsets in data */
    size_t item_count, item_cap, item_at;
    uint64_t count;
    bool sorted;
    bool last_run; /* being written */
    unsigned run_count;
    struct run *runs;
    unsigned *heap; /* runs by their next item */
    unsigned heap_n;
    bool advance; /* the first of the heap was given away */
    struct offload_task task;
    struct buf sorted_bytes;
    /* the call that goes on */
    struct op op;
    struct call *whole;
    struct str key, value;
    struct spool_item *out;
    bool *end;
    unsigned at;
    struct arena arena;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct body_check check;
    struct obj_get_req get_req;
    struct obj_get_res got;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};

struct spool *spool_new(const struct spool_conf *conf)
{
    struct spool *s = NEW(struct spool);

    s->conf = *conf;
    if (!s->conf.run_bytes)
        s->conf.run_bytes = SPOOL_RUN_DEFAULT;
    assert(conf->prefix.n < sizeof(s->prefix));
    memcpy(s->prefix, conf->prefix.p, conf->prefix.n);
    s->conf.prefix = str_n(s->prefix, conf->prefix.n);
    buf_init(&s->data, s->conf.run_bytes + SPOOL_ITEM_MAX + ITEM_HEAD);
    buf_init(&s->sorted_bytes, s->conf.run_bytes + SPOOL_ITEM_MAX + ITEM_HEAD);
    return s;
}

uint64_t spool_count(const struct spool *s)
{
    return s->count;
}

/* ---- items ---- */

static void put_u32(char *p, size_t v)
{
    uint32_t n = (uint32_t)v;

    memcpy(p, &n, sizeof(n));
}

static size_t get_u32(const char *p)
{
    uint32_t n;

    memcpy(&n, p, sizeof(n));
    return n;
}

static struct spool_item item_at(const char *p)
{
    size_t key = get_u32(p), value = get_u32(p + 4);

    return (struct spool_item){str_n(p + ITEM_HEAD, key), str_n(p + ITEM_HEAD + key, value)};
}

static size_t item_bytes(struct spool_item i)
{
    return ITEM_HEAD + i.key.n + i.value.n;
}

static void remember(struct spool *s, struct str key, struct str value)
{
    char head[ITEM_HEAD];

    if (s->item_count == s->item_cap) {
        s->item_cap = s->item_cap ? s->item_cap * 2 : ITEMS_MIN;
        s->items = mem_realloc(s->items, s->item_cap * sizeof(*s->items));
    }
    s->items[s->item_count++] = s->data.n;
    put_u32(head, key.n);
    put_u32(head + 4, value.n);
    buf_add(&s->data, head, sizeof(head));
    buf_add_str(&s->data, key);
    buf_add_str(&s->data, value);
}

static int compare(const void *a, const void *b, void *arg)
{
    const struct spool *s = arg;
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    int order = str_cmp(item_at(s->data.p + x).key, item_at(s->data.p + y).key);

    if (order == 0)
        order = x < y ? -1 : 1;
    return s->conf.backwards ? -order : order;
}

static enum err sort_run(struct offload_task *t)
{
    struct spool *s = CONTAINER(t, struct spool, task);

    if (s->item_count)
        qsort_r(s->items, s->item_count, sizeof(*s->items), compare, s);
    if (!s->sorted) /* it becomes an object */
        for (size_t i = 0; i < s->item_count; i++) {
            const char *p = s->data.p + s->items[i];
            buf_add(&s->sorted_bytes, p, item_bytes(item_at(p)));
        }
    return buf_err(&s->sorted_bytes);
}

/* ---- add ---- */

static step_fn add_sort, add_write, add_written, add_item, op_finish;

static struct str run_key(struct spool *s, unsigned n)
{
    return arena_printf(&s->arena, STR_FMT "-%u", STR_ARG(s->conf.prefix), n);
}

static void cancel(void *arg)
{
    op_cancel(&((struct spool *)arg)->op, ERR_CANCELLED);
}

static void begin(struct spool *s, const char *name, step_fn *first, struct call *call)
{
    s->whole = call;
    op_start(&s->op, s->conf.loop, name, first, op_finish);
    if (call_is_pending(call))
        call_on_cancel(call, cancel, s);
}

static enum step_next op_finish(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    source_close(s->put_req.body);
    s->put_req.body = NULL;
    arena_release(&s->arena);
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

static enum step_next add_sort(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    if (s->run_count == SPOOL_RUNS_MAX)
        return op_fail(op, ERR_TOO_LARGE);
    buf_reset(&s->sorted_bytes);
    offload_run(s->conf.cpu, &s->task, sort_run, op_call(op, add_write));
    return STEP_WAIT;
}

static enum step_next add_write(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    s->check = (struct body_check){.checksum = HASH_NONE};
    s->put_req = (struct obj_put_req){.arena = &s->arena,
                                      .bucket = s->conf.bucket,
                                      .key = run_key(s, s->run_count),
                                      .cond = COND_INIT,
                                      .body = source_memory(buf_str(&s->sorted_bytes), NULL, NULL),
                                      .check = &s->check,
                                      .size_max = OBJECT_SIZE_MAX};
    store_obj_put(s->conf.store, &s->put_req, &s->put, op_call(op, add_written));
    return STEP_WAIT;
}

static enum step_next add_written(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    s->run_count++;
    buf_reset(&s->data);
    s->item_count = 0;
    return s->last_run ? op_go(op, op_finish) : op_go(op, add_item);
}

static enum step_next add_item(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    remember(s, s->key, s->value);
    s->count++;
    return op_go(op, op_finish);
}

void spool_add(struct spool *s, struct str key, struct str value, struct call *call)
{
    assert(!s->sorted);
    if (key.n + value.n > SPOOL_ITEM_MAX) {
        call_finish(call, ERR_TOO_LARGE);
        return;
    }
    if (s->data.n < s->conf.run_bytes) {
        remember(s, key, value);
        s->count++;
        call_finish(call, ERR_OK);
        return;
    }
    s->key = key;
    s->value = value;
    begin(s, "spool_add", add_sort, call);
}

/* ---- sort ---- */

static step_fn sort_memory, sort_last, sort_rest, sort_open, sort_opened, sort_filled;

static enum step_next sort_memory(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    s->sorted = true;
    offload_run(s->conf.cpu, &s->task, sort_run, op_call(op, op_finish));
    return STEP_WAIT;
}

/* The last run becomes an object like the others. */
static enum step_next sort_last(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    buf_reset(&s->sorted_bytes);
    offload_run(s->conf.cpu, &s->task, sort_run, op_call(op, add_write));
    return STEP_WAIT;
}

static bool comes_before(const struct spool *s, unsigned a, unsigned b)
{
    int order = str_cmp(s->runs[a].item.key, s->runs[b].item.key);

    if (order == 0)
        order = a < b ? -1 : 1; /* earlier runs were added earlier */
    return (s->conf.backwards ? -order : order) < 0;
}

static void sift_down(struct spool *s, unsigned i)
{
    for (;;) {
        unsigned least = i, left = 2 * i + 1, right = left + 1, held;
        if (left < s->heap_n && comes_before(s, s->heap[left], s->heap[least]))
            least = left;
        if (right < s->heap_n && comes_before(s, s->heap[right], s->heap[least]))
            least = right;
        if (least == i)
            return;
        held = s->heap[i];
        s->heap[i] = s->heap[least];
        s->heap[least] = held;
        i = least;
    }
}

/* The next item of the run, if it is in the buffer as a whole. */
static bool parse(struct run *r)
{
    size_t left = r->n - r->at;

    if (left < ITEM_HEAD)
        return false;
    r->item_len = ITEM_HEAD + get_u32(r->buf + r->at) + get_u32(r->buf + r->at + 4);
    if (left < r->item_len)
        return false;
    r->item = item_at(r->buf + r->at);
    return true;
}

/* Reads more of the run; what is not used yet moves to the front. */
static void read_more(struct spool *s, struct run *r, struct call *call)
{
    size_t left = r->n - r->at,
           want = left >= ITEM_HEAD ? ITEM_HEAD + get_u32(r->buf + r->at) + get_u32(r->buf + r->at + 4) : 0;

    memmove(r->buf, r->buf + r->at, left);
    r->n = left;
    r->at = 0;
    if (want > SPOOL_ITEM_MAX + ITEM_HEAD)
        want = SPOOL_ITEM_MAX + ITEM_HEAD; /* not one of ours; the parse fails then */
    if (r->cap < want || r->cap == left) {
        r->cap = want > r->cap * 2 ? want : r->cap * 2;
        r->buf = mem_realloc(r->buf, r->cap);
    }
    (void)s;
    source_fill(&r->fill, r->body, r->buf + r->n, r->cap - r->n, &r->got, call);
}

static enum step_next sort_open(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    if (s->at == s->run_count) {
        for (unsigned i = s->heap_n / 2; i-- > 0;)
            sift_down(s, i);
        buf_release(&s->data);
        buf_release(&s->sorted_bytes);
        return op_go(op, op_finish);
    }
    s->get_req = (struct obj_get_req){
        {.arena = &s->arena, .bucket = s->conf.bucket, .key = run_key(s, s->at), .cond = COND_INIT}};
    store_obj_get(s->conf.store, &s->get_req, &s->got, op_call(op, sort_opened));
    return STEP_WAIT;
}

static enum step_next sort_opened(struct op *op)
{
    struct spool *s = OP(op, struct spool);
    struct run *r = &s->runs[s->at];

    r->body = s->got.body;
    r->cap = SPOOL_READ;
    r->buf = mem_alloc(r->cap);
    read_more(s, r, op_call(op, sort_filled));
    return STEP_WAIT;
}

/* ERR_CORRUPT: the run ends within an item. */
static enum err take_in(struct run *r)
{
    r->n += r->got;
    r->ended = r->got < r->cap - (r->n - r->got);
    return parse(r) || (r->ended && r->n == r->at) || !r->ended ? ERR_OK : ERR_CORRUPT;
}

static enum step_next sort_filled(struct op *op)
{
    struct spool *s = OP(op, struct spool);
    struct run *r = &s->runs[s->at];
    enum err e = take_in(r);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (!parse(r) && !r->ended) { /* an item larger than the buffer */
        read_more(s, r, op_call(op, sort_filled));
        return STEP_WAIT;
    }
    if (parse(r))
        s->heap[s->heap_n++] = s->at;
    s->at++;
    return op_go(op, sort_open);
}

/* Begins where all runs but the one in memory are written. */
static enum step_next sort_rest(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    s->runs = mem_new(s->run_count * sizeof(*s->runs));
    s->heap = mem_new(s->run_count * sizeof(*s->heap));
    s->at = 0;
    return op_go(op, sort_open);
}

struct sorting {
    struct call call;
    struct spool *s;
    struct call *whole;
};

static void on_last_written(struct call *c)
{
    struct sorting *g = CONTAINER(c, struct sorting, call);
    struct spool *s = g->s;
    struct call *whole = g->whole;
    enum err e = c->err;

    free(g);
    s->sorted = true;
    if (e != ERR_OK)
        call_finish(whole, e);
    else
        begin(s, "spool_merge", sort_rest, whole);
}

void spool_sort(struct spool *s, struct call *call)
{
    struct sorting *g;

    assert(!s->sorted);
    if (s->run_count == 0) {
        begin(s, "spool_sort", sort_memory, call);
        return;
    }
    g = NEW(struct sorting);
    g->s = s;
    g->whole = call;
    call_begin(&g->call, s->conf.loop, on_last_written);
    s->last_run = true;
    begin(s, "spool_last", sort_last, &g->call);
}

/* ---- next ---- */

static step_fn next_advance, next_filled, next_give;

static enum step_next next_advance(struct op *op)
{
    struct spool *s = OP(op, struct spool);
    struct run *r = &s->runs[s->heap[0]];

    s->advance = false;
    r->at += r->item_len;
    if (parse(r) || r->ended) {
        if (!parse(r) && r->n != r->at)
            return op_fail(op, ERR_CORRUPT);
        if (!parse(r))
            s->heap[0] = s->heap[--s->heap_n];
        sift_down(s, 0);
        return op_go(op, next_give);
    }
    read_more(s, r, op_call(op, next_filled));
    return STEP_WAIT;
}

static enum step_next next_filled(struct op *op)
{
    struct spool *s = OP(op, struct spool);
    struct run *r = &s->runs[s->heap[0]];
    enum err e = take_in(r);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (!parse(r) && !r->ended) {
        read_more(s, r, op_call(op, next_filled));
        return STEP_WAIT;
    }
    if (!parse(r))
        s->heap[0] = s->heap[--s->heap_n];
    sift_down(s, 0);
    return op_go(op, next_give);
}

static enum step_next next_give(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    *s->end = s->heap_n == 0;
    if (!*s->end) {
        *s->out = s->runs[s->heap[0]].item;
        s->advance = true;
    }
    return op_go(op, op_finish);
}

void spool_next(struct spool *s, struct spool_item *out, bool *end, struct call *call)
{
    assert(s->sorted);
    *end = false;
    if (!s->runs) {
        *end = s->item_at == s->item_count;
        if (!*end)
            *out = item_at(s->data.p + s->items[s->item_at++]);
        call_finish(call, ERR_OK);
        return;
    }
    s->out = out;
    s->end = end;
    begin(s, "spool_next", s->heap_n && s->advance ? next_advance : next_give, call);
}

/* ---- close ---- */

static step_fn close_next, close_removed, close_end;

static enum step_next close_next(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    if (s->at == s->run_count)
        return op_go(op, close_end);
    s->delete_req = (struct obj_delete_req){&s->arena, s->conf.bucket, run_key(s, s->at++), COND_INIT};
    store_obj_delete(s->conf.store, &s->delete_req, &s->deleted, op_try(op, close_removed));
    return STEP_WAIT;
}

static enum step_next close_removed(struct op *op)
{
    struct spool *s = OP(op, struct spool);

    if (op->call.err != ERR_OK)
        log_warn(STR_NONE, "a run of a sort stays behind", "key=%s err=%s", log_quote(s->delete_req.key),
                 err_name(op->call.err));
    return op_go(op, close_next);
}

static enum step_next close_end(struct op *op)
{
    struct spool *s = OP(op, struct spool);
    struct call *whole = s->whole;

    arena_release(&s->arena);
    free(s->runs);
    free(s->heap);
    free(s->items);
    buf_release(&s->data);
    buf_release(&s->sorted_bytes);
    free(s);
    call_finish(whole, ERR_OK);
    return STEP_DONE;
}

void spool_close(struct spool *s, struct call *call)
{
    for (unsigned i = 0; s->runs && i < s->run_count; i++) {
        source_close(s->runs[i].body);
        free(s->runs[i].buf);
    }
    s->at = 0;
    s->whole = call;
    op_start(&s->op, s->conf.loop, "spool_close", close_next, close_end);
}
