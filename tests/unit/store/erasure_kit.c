#include "erasure_kit.h"

struct loop *loop;
struct erasure_env env;
int opened;
static struct offload *cpu;

int setup(void **state)
{
    (void)state;
    loop = loop_new();
    loop_adopt(loop);
    cpu = offload_new("cpu", 2, 64);
    env = (struct erasure_env){loop, cpu};
    opened = 0;
    return 0;
}

int teardown(void **state)
{
    (void)state;
    assert_int_equal(opened, 0);
    offload_free(cpu);
    loop_free(loop);
    return 0;
}

/* ---- calls ---- */

static void wait_done(struct call *c)
{
    CONTAINER(c, struct wait, call)->done = true;
}

struct call *wait_begin(struct wait *w)
{
    w->done = false;
    call_begin(&w->call, loop, wait_done);
    return &w->call;
}

enum err wait_end(struct wait *w)
{
    while (!w->done)
        loop_turn(loop, 1000);
    return w->call.err;
}

void turns(int n)
{
    while (n-- > 0)
        loop_turn(loop, 0);
}

/* ---- sources ---- */

char *bytes_new(size_t n, uint64_t seed)
{
    char *p = mem_alloc(n + 8);
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        p[i] = (char)(x >> 32);
    }
    return p;
}

static void part_cancel(void *arg)
{
    struct part *p = arg;
    struct call *c = p->hanging;

    p->hanging = NULL;
    call_finish(c, ERR_CANCELLED);
}

static void part_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct part *p = CONTAINER(s, struct part, source);
    size_t step = 1 + p->reads++ * 7919 % 70000;

    if (p->at >= p->stop_at && p->fail == ERR_OK) {
        p->hanging = c;
        p->buf = buf, p->len = len, p->n = n;
        call_on_cancel(c, part_cancel, p);
        return;
    }
    *n = len < p->rest.n ? len : p->rest.n;
    *n = *n < step ? *n : step;
    if (p->at<p->stop_at && * n> p->stop_at - p->at)
        *n = p->stop_at - p->at;
    if (*n)
        memcpy(buf, p->rest.p, *n);
    p->rest = str_skip(p->rest, *n);
    bool fails = p->at >= p->stop_at;
    p->at += *n;
    call_finish(c, fails ? p->fail : ERR_OK);
}

void part_go_on(struct part *p)
{
    struct call *c = p->hanging;

    p->hanging = NULL;
    p->stop_at = SIZE_MAX;
    part_read(&p->source, p->buf, p->len, p->n, c);
}

static void part_close(struct source *s)
{
    struct part *p = CONTAINER(s, struct part, source);

    assert_null(p->hanging);
    opened--;
    free(p);
}

struct part *part_new(struct str bytes)
{
    static const struct source_ops ops = {.name = "part", .read = part_read, .close = part_close};
    struct part *p = NEW(struct part);

    *p = (struct part){.source = {&ops, bytes.n}, .rest = bytes, .stop_at = SIZE_MAX};
    opened++;
    return p;
}

enum err take(struct source *s, bool peek, char *buf, size_t room, size_t *n)
{
    struct span span = {.kind = SPAN_READ};
    struct wait w = {0};
    enum err e;

    *n = 0;
    while (peek) {
        source_peek(s, &span);
        if (span.kind != SPAN_WAIT)
            break;
        source_prepare(s, wait_begin(&w));
        if ((e = wait_end(&w)) != ERR_OK)
            return e;
    }
    if (span.kind == SPAN_END)
        return ERR_OK;
    if (span.kind == SPAN_MEMORY) {
        *n = span.len < room ? (size_t)span.len : room;
        memcpy(buf, span.p, *n);
        source_consume(s, *n);
        return ERR_OK;
    }
    assert_int_equal(span.kind, SPAN_READ);
    source_read(s, buf, room, n, wait_begin(&w));
    return wait_end(&w);
}

enum err drain(struct source *s, bool peek, char *buf, size_t room, size_t *got)
{
    enum err e = ERR_OK;

    *got = 0;
    for (size_t n = 1; e == ERR_OK && n > 0 && *got < room;) {
        e = take(s, peek, buf + *got, room - *got < 50000 ? room - *got : 50000, &n);
        *got += e == ERR_OK ? n : 0;
    }
    return e;
}

/* ---- a content with its slices ---- */

struct redundancy ec(unsigned data, unsigned parity)
{
    return (struct redundancy){REDUNDANCY_EC, (uint8_t)data, (uint8_t)parity};
}

struct str cut_stored(const struct cut *c, unsigned slice)
{
    return str_n(c->slices[slice], (size_t)erasure_stored(&c->layout, slice));
}

static void cut_encode(struct cut *c, struct source **parity)
{
    struct source *data[REDUNDANCY_SLICES_MAX];

    for (unsigned i = 0; i < c->layout.data; i++)
        data[i] = erasure_stored(&c->layout, i) ? &part_new(cut_stored(c, i))->source : NULL;
    erasure_encode(&env, &c->layout, data, parity);
}

void cut_init(struct cut *c, unsigned data, unsigned parity, size_t size)
{
    struct source *sources[REDUNDANCY_SLICES_MAX];
    size_t got[REDUNDANCY_SLICES_MAX] = {0}, n = 1, slice;

    *c = (struct cut){.content = bytes_new(size, size)};
    erasure_layout(&c->layout, ec(data, parity), size);
    slice = (size_t)c->layout.slice_size;
    for (unsigned i = 0; i < data + parity; i++)
        c->slices[i] = mem_new(slice);
    for (size_t at = 0; at < size; at += slice)
        memcpy(c->slices[at / slice], c->content + at, slice < size - at ? slice : size - at);
    cut_encode(c, sources);
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < parity; i++) {
            char *to = c->slices[data + i];
            assert_int_equal(sources[i]->size, slice);
            char last;
            size_t room = slice - got[i] < 90001 ? slice - got[i] : 90001;
            assert_err(take(sources[i], i % 2, room ? to + got[i] : &last, room ? room : 1, &n), ERR_OK);
            got[i] += n;
            any |= n > 0;
        }
    }
    for (unsigned i = 0; i < parity; i++) {
        assert_int_equal(got[i], slice);
        source_close(sources[i]);
    }
}

void cut_release(struct cut *c)
{
    for (unsigned i = 0; i < REDUNDANCY_SLICES_MAX; i++)
        free(c->slices[i]);
    free(c->content);
}

enum err cut_rebuild(const struct cut *c, unsigned wanted, size_t offset, size_t len, const unsigned *have,
                     struct source **out)
{
    struct source *sources[REDUNDANCY_SLICES_MAX];

    for (unsigned i = 0; i < c->layout.data; i++) {
        struct str there = cut_stored(c, have[i]);
        there = offset < there.n ? str_skip(there, offset) : STR_NONE;
        sources[i] = there.n ? &part_new(str_n(there.p, there.n < len ? there.n : len))->source : NULL;
    }
    return erasure_rebuild(&env, &c->layout, wanted, offset, len, have, sources, out);
}
