#include "unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/arc_pack.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

/* A store whose objects are made of their keys: "<kind><size>-<n>". Kinds: m shows memory, f a file, r is only readable, w must be waited for;
 * x does not exist, t ends early, e fails when it is read, b fails at its very end. It answers some turns later, differently late. */
enum { CONTENT_MAX = 1 << 20 };
static struct loop *loop;
static struct offload *cpu;
static char *content; /* what objects begin with somewhere */
static int content_fd;
static unsigned opens, opens_most, bodies;

static uint64_t number(struct str *s)
{
    uint64_t v = 0;

    for (; s->n && s->p[0] >= '0' && s->p[0] <= '9'; *s = str_skip(*s, 1))
        v = v * 10 + (uint64_t)(s->p[0] - '0');
    return v;
}

static void parse(struct str key, char *kind, uint64_t *size, uint64_t *n)
{
    *kind = key.p[0];
    key = str_skip(key, 1);
    *size = number(&key);
    key = str_skip(key, 1);
    *n = number(&key);
}

struct body {
    struct source source;
    char kind;
    const char *p;
    uint64_t at, size;
    bool warm;
    struct call *call;
    struct post post;
    struct timer timer;
    void *buf;
    size_t len, *n;
};

static void body_peek(struct source *s, struct span *out)
{
    struct body *b = CONTAINER(s, struct body, source);

    *out = (struct span){.kind = SPAN_END};
    if (b->kind == 'r' || b->kind == 't' || b->kind == 'e' || b->kind == 'b')
        out->kind = SPAN_READ;
    else if (b->kind == 'w' && !b->warm)
        out->kind = SPAN_WAIT;
    else if (b->at < b->size)
        *out = (struct span){.kind = b->kind == 'f' ? SPAN_FILE : SPAN_MEMORY,
                             .p = b->p + b->at,
                             .fd = content_fd,
                             .offset = (uint64_t)(b->p - content) + b->at,
                             .len = b->size - b->at};
    if (b->kind == 'w' && out->len > 5000)
        out->len = 5000;
}

static void body_consume(struct source *s, uint64_t n)
{
    struct body *b = CONTAINER(s, struct body, source);

    b->at += n;
    b->warm = false;
}

static void body_answer(struct timer *t)
{
    struct body *b = CONTAINER(t, struct body, timer);
    struct call *c = b->call;
    uint64_t left = b->size - b->at;
    enum err e = ERR_OK;

    b->call = NULL;
    b->warm = true;
    if (b->buf) {
        size_t n = b->len < left ? b->len : (size_t)left;
        if (n > 3000 && b->kind == 'r')
            n = 3000;
        if (b->kind == 't' && n > b->size / 2 - b->at)
            n = b->size / 2 - b->at;
        if ((b->kind == 'e' && b->at > 0) || (b->kind == 'b' && n == 0))
            e = ERR_CORRUPT;
        memcpy(b->buf, b->p + b->at, n);
        b->at += n;
        *b->n = n;
    }
    call_finish(c, e);
}

static void body_cancel(void *arg)
{
    struct body *b = arg;
    struct call *c = b->call;

    timer_cancel(loop, &b->timer);
    b->call = NULL;
    call_finish(c, ERR_CANCELLED);
}

static void body_begin(struct body *b, struct call *c)
{
    assert_null(b->call);
    b->call = c;
    b->timer.fn = body_answer;
    timer_set(loop, &b->timer, 0);
    call_on_cancel(c, body_cancel, b);
}

static void body_prepare(struct source *s, struct call *c)
{
    struct body *b = CONTAINER(s, struct body, source);

    b->buf = NULL;
    body_begin(b, c);
}

static void body_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct body *b = CONTAINER(s, struct body, source);

    b->buf = buf;
    b->len = len;
    b->n = n;
    body_begin(b, c);
}

static void body_close(struct source *s)
{
    struct body *b = CONTAINER(s, struct body, source);

    assert_null(b->call);
    bodies--;
    free(b);
}

static struct source *body_new(char kind, uint64_t n, uint64_t from, uint64_t size)
{
    static const struct source_ops ops = {"body", body_peek, body_consume, body_prepare, body_read, body_close};
    struct body *b = NEW(struct body);

    bodies++;
    b->source = (struct source){&ops, size};
    b->kind = kind;
    b->p = content + n % 1000 + from;
    b->size = size;
    return &b->source;
}

struct answer {
    struct timer timer;
    struct post post;
    struct obj_get_res *res;
    struct call *call;
    enum err err;
    char kind;
    uint64_t n, from, len;
    unsigned hops;
};

static void answer(struct post *p)
{
    struct answer *a = CONTAINER(p, struct answer, post);

    if (a->hops-- > 0) {
        loop_defer(loop, &a->post);
        return;
    }
    opens--;
    enum err e = a->call->cancelled ? ERR_CANCELLED : a->err;
    if (e == ERR_OK)
        a->res->body = body_new(a->kind, a->n, a->from, a->len);
    call_finish(a->call, e);
    free(a);
}

static void fake_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    struct answer *a = NEW(struct answer);
    uint64_t size;

    (void)s;
    parse(req->head.key, &a->kind, &size, &a->n);
    assert_true(size + 1000 <= CONTENT_MAX);
    *res = (struct obj_get_res){0};
    res->head.info.size = size;
    res->head.info.mtime_ns = 1700000000 * NS_PER_S;
    memcpy(res->head.info.etag.text, "etag", res->head.info.etag.n = 4);
    if (req->head.cond.if_match.n && !str_eq(req->head.cond.if_match, STR("etag")))
        a->err = ERR_PRECONDITION;
    if (a->kind == 'x')
        a->err = ERR_NO_SUCH_KEY;
    if (a->err == ERR_OK)
        a->err = range_resolve(&req->head.range, size, &res->head.offset, &res->head.len);
    a->from = res->head.offset;
    a->len = res->head.len;
    a->res = res;
    a->call = c;
    a->post.fn = answer;
    a->hops = (unsigned)(a->n * 7 % 5);
    opens++;
    if (opens > opens_most)
        opens_most = opens;
    loop_defer(loop, &a->post);
}

/* In place of arcs_get.c: members are objects of their own names. */
void arcs_get(struct arcs *a, const struct arcs_get_req *req, struct arcs_get_res *res, struct call *call)
{
    char kind;
    uint64_t size, n;

    (void)a;
    parse(req->member, &kind, &size, &n);
    *res = (struct arcs_get_res){.len = size, .member.size = size + 1, .mtime_ns = 5 * NS_PER_S};
    res->body = body_new(kind, n, 0, size);
    call_finish(call, ERR_OK);
}

static const struct store_ops fake_ops = {.name = "fake", .obj_get = fake_get};
static struct store fake = {.ops = &fake_ops};

/* ---- a run ---- */

struct run {
    const char *const *keys;
    size_t count, at;
    enum arc_verdict verdict;
    size_t told, missed;
    bool order_matters, closed, with_last, waits;
    struct call *waiting;
    struct timer timer;
    char names[400][64];
    char empty[80];
    struct arc_pack_conf conf;
};

static void next_later(struct timer *t)
{
    struct run *r = CONTAINER(t, struct run, timer);
    struct call *c = r->waiting;

    r->waiting = NULL;
    call_finish(c, ERR_OK);
}

static void next_cancel(void *arg)
{
    struct run *r = arg;

    timer_cancel(loop, &r->timer);
    call_finish(r->waiting, ERR_CANCELLED);
    r->waiting = NULL;
}

static void next(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct run *r = arg;

    assert_false(r->closed);
    *end = r->at == r->count;
    if (!*end) {
        const char *key = r->keys[r->at];
        out->name = str_z(key);
        if (key[0] == '=') {
            out->bytes = str_z(key + 1);
        } else if (key[0] == '!') {
            out->member = str_z(key + 1);
            out->key = STR("m10-1");
        } else {
            out->key = str_z(key);
        }
        out->tag = &r->names[r->at++];
    }
    if (r->waits) {
        r->waiting = call;
        r->timer.fn = next_later;
        timer_set(loop, &r->timer, 1);
        call_on_cancel(call, next_cancel, r);
        return;
    }
    call_finish(call, ERR_OK);
}

static enum arc_verdict done(void *arg, const struct arc_entry *e, enum err err, uint64_t size, struct str *name)
{
    struct run *r = arg;

    assert_false(r->closed);
    if (r->order_matters)
        assert_string_equal(e->name.p, r->keys[r->told]);
    r->told++;
    if (err == ERR_OK && e->key.p && !e->member.n) {
        struct str digits = str_skip(e->key, 1);
        assert_int_equal(size, number(&digits));
    }
    if (err != ERR_OK) {
        r->missed++;
        snprintf(r->empty, sizeof(r->empty), "missing/%.*s", STR_ARG(*name));
        *name = str_z(r->empty);
    }
    return r->verdict;
}

static bool last(void *arg, struct str *name, struct str *bytes)
{
    *name = STR("status.json");
    *bytes = STR("{}");
    return ((struct run *)arg)->with_last;
}

static void run_close(void *arg)
{
    struct run *r = arg;

    assert_false(r->closed);
    assert_null(r->waiting);
    r->closed = true;
}

static struct source *begin(struct run *r, enum arc_format format, const char *const *keys, size_t count)
{
    r->keys = keys;
    r->count = count;
    r->order_matters = !r->conf.as_ready;
    r->conf.loop = loop;
    r->conf.store = &fake;
    r->conf.arcs = (struct arcs *)r; /* the fake above looks at none */
    r->conf.cpu = cpu;
    r->conf.format = format;
    r->conf.next = next;
    r->conf.done = done;
    r->conf.last = last;
    r->conf.close = run_close;
    r->conf.arg = r;
    return arc_pack_open(&r->conf);
}

struct waiting {
    struct call call;
    bool done;
};

static void woke(struct call *c)
{
    CONTAINER(c, struct waiting, call)->done = true;
}

static enum err wait_for(struct waiting *w)
{
    while (!w->done)
        loop_turn(loop, 100);
    return w->call.err;
}

/* Until nothing is under way: everything that was closed is gone. */
static void settle(struct run *r)
{
    for (int i = 0; i < 2000 && (opens || bodies || !r->closed || offload_depth(cpu)); i++)
        loop_turn(loop, 1);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 0);
    assert_int_equal(opens, 0);
    assert_int_equal(bodies, 0);
    assert_true(r->closed);
}

static void add_file(struct buf *out, const struct span *span, size_t n)
{
    char *to = buf_reserve(out, n);

    assert_int_equal(pread(span->fd, to, n, (off_t)span->offset), (ssize_t)n);
    buf_commit(out, n);
}

/* One step of reading; true: there is more. */
static bool step(struct source *s, bool peeks, struct buf *out, enum err *e, struct waiting *w)
{
    struct span span;
    char piece[7000];
    size_t n = 0;

    source_peek(s, &span);
    *w = (struct waiting){0};
    if (peeks && span.kind == SPAN_END)
        return false;
    if (peeks && (span.kind == SPAN_MEMORY || span.kind == SPAN_FILE)) {
        n = span.len < 9999 ? (size_t)span.len : 9999;
        if (span.kind == SPAN_MEMORY)
            buf_add(out, span.p, n);
        else
            add_file(out, &span, n);
        source_consume(s, n);
        return true;
    }
    call_begin(&w->call, loop, woke);
    if (peeks && span.kind == SPAN_WAIT) {
        source_prepare(s, &w->call);
        *e = wait_for(w);
        return *e == ERR_OK;
    }
    source_read(s, piece, sizeof(piece), &n, &w->call);
    *e = wait_for(w);
    buf_add(out, piece, n);
    return *e == ERR_OK && n > 0;
}

static enum err drain(struct run *r, struct source *s, bool peeks, struct buf *out)
{
    enum err e = ERR_OK;
    struct waiting w;

    buf_init(out, 64 << 20);
    while (step(s, peeks, out, &e, &w)) {
    }
    source_close(s);
    settle(r);
    return e;
}

/* ---- what comes out, as libarchive reads it ---- */

static struct archive *open_archive(const struct buf *b)
{
    struct archive *a = archive_read_new();

    archive_read_support_filter_all(a);
    archive_read_support_format_tar(a);
    archive_read_support_format_zip(a);
    assert_int_equal(archive_read_open_memory(a, b->p, b->n), ARCHIVE_OK);
    return a;
}

static void expect_content(struct archive *a, const char *key)
{
    static char got[CONTENT_MAX];
    char kind;
    uint64_t size, n;

    if (key[0] == '=') {
        assert_int_equal(archive_read_data(a, got, sizeof(got)), (ssize_t)strlen(key + 1));
        assert_memory_equal(got, key + 1, strlen(key + 1));
        return;
    }
    parse(str_z(key[0] == '!' ? key + 1 : key), &kind, &size, &n);
    assert_int_equal(archive_read_data(a, got, sizeof(got)), (ssize_t)size);
    assert_memory_equal(got, content + n % 1000, (size_t)size);
}

static void expect(const struct buf *b, const char *const *keys, size_t count)
{
    struct archive *a = open_archive(b);
    struct archive_entry *e;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
        assert_int_equal(archive_entry_filetype(e), AE_IFREG);
        assert_string_equal(archive_entry_pathname(e), keys[i]);
        expect_content(a, keys[i]);
    }
    assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_EOF);
    archive_read_free(a);
}

static const char *const MIXED[] = {"m10-1",     "r10240-2",   "f10240-3",  "w70000-4", "m0-5",       "=literal",
                                    "f300000-6", "r600000-7",  "m65536-8",  "m65537-9", "!r20000-10", "w1-11",
                                    "r65536-12", "!m90000-13", "w4000-14",  "r0-15",    "=",          "m511-16",
                                    "m512-17",   "m513-18",    "r999000-19"};
enum { MIXED_N = sizeof(MIXED) / sizeof(MIXED[0]) };
static const enum arc_format FORMATS[] = {ARC_TAR, ARC_ZIP, ARC_TGZ, ARC_TAR_LZ4, ARC_TAR_ZST};

static void every_format_holds_what_was_asked_for_in_order(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct run r = {.verdict = ARC_FAIL, .waits = i % 4 == 3};
        struct buf out;
        struct source *s = begin(&r, FORMATS[i / 2], MIXED, MIXED_N);
        assert_int_equal(drain(&r, s, i % 2, &out), ERR_OK);
        assert_int_equal(r.told, MIXED_N);
        expect(&out, MIXED, MIXED_N);
        buf_release(&out);
    }
}

static void a_window_of_one_and_little_memory_suffice(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct run r = {.verdict = ARC_FAIL, .conf = {.window = i < 2 ? 1 : 8, .window_bytes = 20000}};
        struct buf out;
        opens_most = 0;
        struct source *s = begin(&r, i % 2 ? ARC_ZIP : ARC_TAR, MIXED, MIXED_N);
        assert_int_equal(drain(&r, s, i % 2, &out), ERR_OK);
        assert_true(opens_most <= (i < 2 ? 1 : 8));
        expect(&out, MIXED, MIXED_N);
        buf_release(&out);
    }
}

static void an_empty_archive_is_one(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct run r = {.verdict = ARC_FAIL};
        struct buf out;
        assert_int_equal(drain(&r, begin(&r, FORMATS[i], MIXED, 0), true, &out), ERR_OK);
        expect(&out, MIXED, 0);
        buf_release(&out);
    }
}

static void what_is_missing_is_left_out_or_empty_or_fails_all(void **state)
{
    static const char *const keys[] = {"m10-1", "x10-2", "r5000-3", "x1-4"}, *const left[] = {"m10-1", "r5000-3"};
    struct archive_entry *e;
    struct buf out;

    (void)state;
    struct run r = {.verdict = ARC_LEAVE_OUT};
    assert_int_equal(drain(&r, begin(&r, ARC_TAR, keys, 4), true, &out), ERR_OK);
    assert_int_equal(r.missed, 2);
    expect(&out, left, 2);
    buf_release(&out);
    r = (struct run){.verdict = ARC_EMPTY};
    assert_int_equal(drain(&r, begin(&r, ARC_ZIP, keys, 2), false, &out), ERR_OK);
    struct archive *a = open_archive(&out);
    assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
    assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
    assert_string_equal(archive_entry_pathname(e), "missing/x10-2");
    assert_int_equal(archive_entry_size(e), 0);
    archive_read_free(a);
    buf_release(&out);
    r = (struct run){.verdict = ARC_FAIL};
    assert_int_equal(drain(&r, begin(&r, ARC_TGZ, keys, 4), true, &out), ERR_NO_SUCH_KEY);
    buf_release(&out);
}

static void content_that_breaks_is_never_silently_short(void **state)
{
    static const char *const bad[] = {"t100-1", "t900000-1", "e9000-1", "e900000-1", "b100-1", "b900000-1"};

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        const char *const keys[] = {"m10-1", bad[i], "m20-2"};
        struct run r = {.verdict = ARC_FAIL};
        struct buf out;
        enum err e = drain(&r, begin(&r, i % 2 ? ARC_ZIP : ARC_TAR, keys, 3), i % 3, &out);
        assert_string_equal(err_name(e), i < 2 ? "INCOMPLETE_BODY" : "CORRUPT");
        buf_release(&out);
    }
}

static void names_that_lead_outside_are_errors(void **state)
{
    static const char *const keys[] = {"=../x", "=/x", "=a/../../x", "="};
    struct buf head = BUF_INIT(4096);

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(arc_tar_head(&head, str_z(keys[i] + 1), 0, 0), ERR_INVALID_ARGUMENT);
    assert_int_equal(arc_tar_head(&head, STR("a\0b"), 0, 0), ERR_INVALID_ARGUMENT);
    assert_int_equal(arc_tar_head(&head, STR("..a/b../..."), 0, 0), ERR_OK);
    buf_release(&head);
}

static void one_more_member_comes_last(void **state)
{
    static const char *const keys[] = {"m10-1", "=x"};
    struct run r = {.verdict = ARC_FAIL, .with_last = true};
    struct archive_entry *e;
    struct buf out;

    (void)state;
    assert_int_equal(drain(&r, begin(&r, ARC_TAR, keys, 2), true, &out), ERR_OK);
    struct archive *a = open_archive(&out);
    for (int i = 0; i < 3; i++)
        assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
    assert_string_equal(archive_entry_pathname(e), "status.json");
    assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_EOF);
    archive_read_free(a);
    buf_release(&out);
}

static void as_ready_brings_all_in_any_order(void **state)
{
    struct run r = {.verdict = ARC_FAIL, .conf = {.as_ready = true, .window = 8}};
    struct archive_entry *e;
    unsigned n = 0, at[MIXED_N] = {0};
    struct buf out;

    (void)state;
    assert_int_equal(drain(&r, begin(&r, ARC_TAR, MIXED, MIXED_N), true, &out), ERR_OK);
    struct archive *a = open_archive(&out);
    for (; archive_read_next_header(a, &e) == ARCHIVE_OK; n++)
        for (unsigned i = 0; i < MIXED_N; i++)
            if (strcmp(archive_entry_pathname(e), MIXED[i]) == 0) {
                expect_content(a, MIXED[i]);
                at[i]++;
            }
    assert_int_equal(n, MIXED_N);
    for (unsigned i = 0; i < MIXED_N; i++)
        assert_int_equal(at[i], 1);
    archive_read_free(a);
    buf_release(&out);
}

static void large_content_in_a_file_is_passed_through(void **state)
{
    static const char *const keys[] = {"f300000-6"};
    struct run r = {.verdict = ARC_FAIL};
    struct source *s = begin(&r, ARC_TAR, keys, 1);
    struct span span;
    struct waiting w = {0};

    (void)state;
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_WAIT);
    call_begin(&w.call, loop, woke);
    source_prepare(s, &w.call);
    assert_int_equal(wait_for(&w), ERR_OK);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_MEMORY);
    assert_int_equal(span.len, 512);
    source_consume(s, 512);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_FILE);
    assert_int_equal(span.len, 300000);
    source_close(s);
    settle(&r);
}

static void hot_small_objects_are_put_together(void **state)
{
    static char names[64][20];
    const char *keys[64];
    struct run r = {.verdict = ARC_FAIL, .conf = {.window = 64}};
    struct span span;
    struct waiting w = {0};

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        snprintf(names[i], sizeof(names[i]), "m10240-%u", i);
        keys[i] = names[i];
    }
    struct source *s = begin(&r, ARC_TAR, keys, 64);
    call_begin(&w.call, loop, woke);
    source_prepare(s, &w.call);
    assert_int_equal(wait_for(&w), ERR_OK);
    source_peek(s, &span);
    assert_true(span.len >= 200000);
    source_close(s);
    settle(&r);
}

/* At each of many points: what is read next is cancelled, then all is closed. */
static void it_can_be_ended_at_any_point(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5 * 60; i++) {
        struct run r = {.verdict = ARC_LEAVE_OUT, .waits = i % 3 == 1, .conf = {.window = 1 + i % 7}};
        struct source *s = begin(&r, FORMATS[i % 5], MIXED, MIXED_N);
        struct buf out = BUF_INIT(64 << 20);
        struct waiting w = {0};
        char piece[100];
        enum err e = ERR_OK;
        size_t n;

        for (unsigned k = 0; k < i / 5; k++)
            if (!step(s, i % 2, &out, &e, &w))
                break;
        if (i % 4) {
            w = (struct waiting){0};
            call_begin(&w.call, loop, woke);
            if (i % 4 == 1)
                source_prepare(s, &w.call);
            else
                source_read(s, piece, sizeof(piece), &n, &w.call);
            for (unsigned k = 0; k < i / 5 % 4; k++)
                loop_turn(loop, 0);
            call_cancel(&w.call);
            (void)wait_for(&w);
        }
        source_close(s);
        settle(&r);
        buf_release(&out);
    }
}

static void long_names_and_large_sizes_can_be_said(void **state)
{
    char name[600];
    struct buf out = BUF_INIT(1 << 20);
    struct archive_entry *e;

    (void)state;
    for (unsigned n = 90; n < 600; n += 7) {
        memset(name, 'n', sizeof(name));
        name[n] = 0;
        for (unsigned i = 40; i < n; i += 60)
            name[i] = n % 2 ? '/' : 'x';
        buf_reset(&out);
        assert_int_equal(arc_tar_head(&out, str_z(name), 0, n == 90 ? -5 : 1700000000), ERR_OK);
        memset(buf_reserve(&out, ARC_TAR_TRAILER), 0, ARC_TAR_TRAILER);
        buf_commit(&out, ARC_TAR_TRAILER);
        struct archive *a = open_archive(&out);
        assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
        assert_string_equal(archive_entry_pathname(e), name);
        assert_int_equal(archive_entry_mtime(e), n == 90 ? -5 : 1700000000);
        archive_read_free(a);
    }
    buf_reset(&out);
    assert_int_equal(arc_tar_head(&out, STR("large"), UINT64_C(1) << 40, 0), ERR_OK);
    struct archive *a = open_archive(&out);
    assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
    assert_int_equal(archive_entry_size(e), INT64_C(1) << 40);
    archive_read_free(a);
    buf_release(&out);
}

static void random_content(void)
{
    uint64_t x = 88172645463325252u;

    content_fd = memfd_create("content", 0);
    assert_int_equal(ftruncate(content_fd, CONTENT_MAX), 0);
    content = mmap(NULL, CONTENT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, content_fd, 0);
    for (size_t i = 0; i < CONTENT_MAX; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        content[i] = (char)(i & 4096 ? x : i & 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_holds_what_was_asked_for_in_order),
        cmocka_unit_test(a_window_of_one_and_little_memory_suffice),
        cmocka_unit_test(an_empty_archive_is_one),
        cmocka_unit_test(what_is_missing_is_left_out_or_empty_or_fails_all),
        cmocka_unit_test(content_that_breaks_is_never_silently_short),
        cmocka_unit_test(names_that_lead_outside_are_errors),
        cmocka_unit_test(one_more_member_comes_last),
        cmocka_unit_test(as_ready_brings_all_in_any_order),
        cmocka_unit_test(large_content_in_a_file_is_passed_through),
        cmocka_unit_test(hot_small_objects_are_put_together),
        cmocka_unit_test(it_can_be_ended_at_any_point),
        cmocka_unit_test(long_names_and_large_sizes_can_be_said),
    };

    hash_setup();
    loop = loop_new();
    loop_adopt(loop);
    fake.loop = loop;
    cpu = offload_new("cpu", 2, 64);
    random_content();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    offload_free(cpu);
    loop_free(loop);
    return failed;
}
