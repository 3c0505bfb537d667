#include "unit.h"

#include "base/hash.h"
#include "target/ingest.h"
#include "target/ingest_buf.h"
#include "target_dir.h"

struct fixture {
    struct test_dir tmp;
    struct segment_dir *dir;
    struct loop *loop;
    struct offload *io, *cpu;
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);

    hash_setup();
    test_dir_make(&f->tmp);
    assert_int_equal(segment_dir_open(str_z(f->tmp.path), true, &f->dir), ERR_OK);
    f->loop = loop_new();
    loop_adopt(f->loop);
    f->io = offload_new("io", 2, 64);
    f->cpu = offload_new("cpu", 2, 64);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    offload_free(f->io);
    offload_free(f->cpu);
    loop_free(f->loop);
    segment_dir_close(f->dir);
    test_dir_remove(&f->tmp);
    assert_int_equal(ingest_buf_used(), 0);
    free(f);
    return 0;
}

/* A source that trickles: random steps, some of them later; may fail, hang, or fill in a want at its end. */
struct trickle {
    struct source source;
    struct str rest;
    uint64_t seed;
    uint64_t fail_below, hang_below; /* when fewer bytes than this are left */
    enum err failure;
    struct loop *loop;
    struct timer timer;
    struct call *call;
    struct body_check *trailer;
    struct digest trailer_digest;
    bool hung, at_once;
};

static unsigned rnd(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*seed >> 40);
}

static void trickle_timer(struct timer *t)
{
    call_finish(CONTAINER(t, struct trickle, timer)->call, ERR_OK);
}

static void trickle_cancel(void *arg)
{
    struct trickle *t = arg;

    timer_cancel(t->loop, &t->timer);
    call_finish(t->call, ERR_CANCELLED);
}

static void trickle_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct trickle *t = CONTAINER(s, struct trickle, source);
    unsigned step = t->at_once ? UINT32_MAX : rnd(&t->seed) % 3 ? 1 + rnd(&t->seed) % 100000 : 1 + rnd(&t->seed) % 700;

    *n = 0;
    t->call = c;
    if (t->rest.n < t->hang_below) {
        t->hung = true;
        call_on_cancel(c, trickle_cancel, t);
        return;
    }
    if (t->rest.n < t->fail_below) {
        call_finish(c, t->failure);
        return;
    }
    if (len > step)
        len = step;
    if (len > t->rest.n)
        len = t->rest.n;
    if (len)
        memcpy(buf, t->rest.p, len);
    *n = len;
    t->rest = str_skip(t->rest, len);
    if (t->rest.n == 0 && len == 0 && t->trailer) {
        t->trailer->want[t->trailer->want_count].digest = t->trailer_digest;
        t->trailer->want[t->trailer->want_count++].err = ERR_BAD_DIGEST;
    }
    if (t->at_once || rnd(&t->seed) % 8) {
        call_finish(c, ERR_OK);
        return;
    }
    t->timer.fn = trickle_timer;
    call_on_cancel(c, trickle_cancel, t);
    timer_set(t->loop, &t->timer, 1);
}

static void trickle_close(struct source *s)
{
    (void)s;
}

static void trickle_init(struct trickle *t, struct fixture *f, const char *p, size_t n, bool size_known)
{
    static const struct source_ops ops = {.name = "trickle", .read = trickle_read, .close = trickle_close};

    *t = (struct trickle){
        .source = {&ops, size_known ? n : SOURCE_SIZE_UNKNOWN}, .rest = str_n(p, n), .seed = n + 1, .loop = f->loop};
}

static bool done;
static void on_done(struct call *c)
{
    (void)c;
    assert_false(done);
    done = true;
}

static void prepare(struct fixture *f, struct ingest *in, struct source *body, struct body_check *check)
{
    ingest_init(in);
    in->io = f->io;
    in->cpu = f->cpu;
    in->dir = f->dir;
    in->body = body;
    in->check = check;
    in->inline_max = 16384;
    in->size_max = PUT_SIZE_MAX;
}

static enum err run(struct fixture *f, struct ingest *in)
{
    struct call call = {0};

    done = false;
    call_begin(&call, f->loop, on_done);
    ingest_run(in, &call);
    while (!done)
        loop_turn(f->loop, 1000);
    return call.err;
}

static void assert_digest(const struct digest *d, enum hash_alg alg, const char *p, size_t n)
{
    struct digest want;

    hash_of(alg, str_n(p, n), &want);
    assert_true(digest_eq(d, &want));
}

static void assert_content(struct ingest *in, const char *p, size_t n)
{
    assert_int_equal(in->size, n);
    assert_digest(&in->md5, HASH_MD5, p, n);
    if (n <= in->inline_max) {
        assert_int_equal(in->staged.fd, -1);
        assert_true(str_eq(in->inline_bytes, str_n(p, n)));
        return;
    }
    char *q = mem_alloc(n + 1);
    assert_int_equal(in->staged.size, n);
    assert_true(direct_set(in->staged.fd, false)); /* it may end on a direct write, which wants aligned memory */
    assert_int_equal(pread(in->staged.fd, q, n + 1, 0), (ssize_t)n);
    assert_memory_equal(p, q, n);
    free(q);
    for (size_t b = 0; b < in->staged.block_count; b++)
        assert_int_equal(in->staged.blocks[b], hash_place(str_n(p + b * SEGMENT_BLOCK, SEGMENT_BLOCK), 0));
}

static void every_size_arrives_whole(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0,      1,      16383,  16384,  16385,  65535,   65536,   65537,   131072,
                                   131073, 262143, 262144, 262145, 524288, 1048576, 1048577, 2500000, 5242880};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char *p = test_content(sizes[i], i);
        for (int mode = 0; mode < 4; mode++) {
            struct trickle t;
            struct ingest in;
            trickle_init(&t, f, p, sizes[i], mode & 1);
            t.at_once = mode & 2;
            prepare(f, &in, &t.source, NULL);
            assert_int_equal(run(f, &in), ERR_OK);
            assert_content(&in, p, sizes[i]);
            assert_digest(&in.checksum, HASH_CRC64NVME, p, sizes[i]);
            if (in.staged.fd >= 0 && mode == 0)
                assert_int_equal(segment_seal(&in.staged, STR("d")), ERR_OK);
            ingest_release(&in);
            ingest_release(&in);
        }
        free(p);
    }
}

static void large_inline_bodies_stay_in_memory(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {65537, 300000, 524288, 524289};

    for (size_t i = 0; i < 8; i++) {
        size_t n = sizes[i / 2];
        char *p = test_content(n, i);
        struct trickle t;
        struct ingest in;
        trickle_init(&t, f, p, n, i & 1);
        prepare(f, &in, &t.source, NULL);
        in.inline_max = 524288;
        assert_int_equal(run(f, &in), ERR_OK);
        assert_content(&in, p, n);
        ingest_release(&in);
        free(p);
    }
}

static void every_algorithm_is_computed_and_checked(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {100, 100000, 3000000};

    for (size_t s = 0; s < 3; s++) {
        char *p = test_content(sizes[s], s);
        for (int alg = HASH_NONE + 1; alg < HASH_COUNT; alg++) {
            for (int bad = 0; bad < 2; bad++) {
                struct body_check check = {.checksum = (enum hash_alg)alg,
                                           .also = 1u << HASH_SHA256 | 1u << HASH_CRC32};
                struct trickle t;
                struct ingest in;
                check.want_count = 1;
                hash_of((enum hash_alg)alg, str_n(p, sizes[s]), &check.want[0].digest);
                check.want[0].digest.b[3] ^= (uint8_t)bad;
                check.want[0].err = ERR_SHA256_MISMATCH;
                trickle_init(&t, f, p, sizes[s], true);
                t.at_once = true;
                prepare(f, &in, &t.source, &check);
                assert_int_equal(run(f, &in), bad ? ERR_SHA256_MISMATCH : ERR_OK);
                if (!bad)
                    assert_digest(&in.checksum, (enum hash_alg)alg, p, sizes[s]);
                assert_true(!bad || in.staged.fd < 0);
                ingest_release(&in);
            }
        }
        free(p);
    }
    assert_int_equal(test_files_below(f->tmp.path), 0);
}

static void trailer_is_checked(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 100, 100000, 1000000};

    for (int i = 0; i < 16; i++) {
        size_t n = sizes[i / 4];
        bool bad = i & 1, known = i & 2;
        char *p = test_content(n, 9);
        struct body_check check = {.also = 1u << HASH_SHA256};
        struct trickle t;
        struct ingest in;
        trickle_init(&t, f, p, n, known);
        t.trailer = &check;
        hash_of(HASH_SHA256, str_n(p, n), &t.trailer_digest);
        t.trailer_digest.b[0] ^= (uint8_t)bad;
        prepare(f, &in, &t.source, &check);
        assert_int_equal(run(f, &in), bad ? ERR_BAD_DIGEST : ERR_OK);
        ingest_release(&in);
        free(p);
    }
}

static void failing_source_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    size_t n = 3000000;
    char *p = test_content(n, 1);
    int fds = test_open_fds();

    segment_dir_use_names(f->dir); /* so that a file left behind would be seen */
    for (size_t left = 1; left < n; left += 333333) {
        struct trickle t;
        struct ingest in;
        trickle_init(&t, f, p, n, left & 1);
        t.fail_below = left;
        t.failure = ERR_CLIENT_GONE;
        prepare(f, &in, &t.source, NULL);
        assert_int_equal(run(f, &in), ERR_CLIENT_GONE);
        assert_int_equal(in.staged.fd, -1);
        assert_int_equal(test_files_below(f->tmp.path), 0);
        ingest_release(&in);
    }
    assert_int_equal(test_open_fds(), fds);
    free(p);
}

static void cancel_ends_it_soon(void **state)
{
    struct fixture *f = *state;
    size_t n = 4000000;
    char *p = test_content(n, 1);
    int fds = test_open_fds();

    segment_dir_use_names(f->dir);
    for (unsigned turns = 0; turns < 60; turns += 1 + turns / 3) {
        struct trickle t;
        struct ingest in;
        struct call call = {0};
        trickle_init(&t, f, p, n, turns & 1);
        t.hang_below = turns & 2 ? n / 2 : 0;
        prepare(f, &in, &t.source, NULL);
        done = false;
        call_begin(&call, f->loop, on_done);
        ingest_run(&in, &call);
        for (unsigned i = 0; i < turns && !done; i++)
            loop_turn(f->loop, t.hung ? 0 : 5);
        call_cancel(&call);
        while (!done)
            loop_turn(f->loop, 1000);
        assert_true(call.err == ERR_CANCELLED || (call.err == ERR_OK && t.rest.n == 0));
        ingest_release(&in);
        assert_int_equal(test_files_below(f->tmp.path), 0);
    }
    /* cancelled before it began */
    struct trickle t;
    struct ingest in;
    struct call call = {0};
    trickle_init(&t, f, p, n, true);
    prepare(f, &in, &t.source, NULL);
    done = false;
    call_begin(&call, f->loop, on_done);
    call_cancel(&call);
    ingest_run(&in, &call);
    while (!done)
        loop_turn(f->loop, 1000);
    assert_int_equal(call.err, ERR_CANCELLED);
    ingest_release(&in);
    assert_int_equal(test_open_fds(), fds);
    free(p);
}

static void too_large_is_refused_early(void **state)
{
    struct fixture *f = *state;
    size_t n = 2000000;
    char *p = test_content(n, 1);

    for (int known = 0; known < 2; known++) {
        struct trickle t;
        struct ingest in;
        trickle_init(&t, f, p, n, known);
        prepare(f, &in, &t.source, NULL);
        in.size_max = n - 1;
        assert_int_equal(run(f, &in), ERR_ENTITY_TOO_LARGE);
        assert_true(!known || t.rest.n == n);
        ingest_release(&in);
        trickle_init(&t, f, p, n, known);
        prepare(f, &in, &t.source, NULL);
        in.size_max = n;
        assert_int_equal(run(f, &in), ERR_OK);
        ingest_release(&in);
    }
    free(p);
}

static void shorter_than_declared_is_incomplete(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {100, 20000, 400000, 3000000};
    char *p = test_content(3000000, 1);

    for (size_t i = 0; i < 4; i++) {
        struct trickle t;
        struct ingest in;
        trickle_init(&t, f, p, sizes[i] - 1, true);
        t.source.size = sizes[i];
        prepare(f, &in, &t.source, NULL);
        assert_int_equal(run(f, &in), ERR_INCOMPLETE_BODY);
        ingest_release(&in);
    }
    free(p);
}

static void busy_pool_fails_cleanly(void **state)
{
    struct fixture *f = *state;
    size_t n = 1000000;
    char *p = test_content(n, 1);
    struct offload *none = offload_new("none", 1, 0);

    for (int i = 0; i < 2; i++) {
        struct trickle t;
        struct ingest in;
        trickle_init(&t, f, p, n, true);
        prepare(f, &in, &t.source, NULL);
        *(i ? &in.io : &in.cpu) = none;
        assert_int_equal(run(f, &in), ERR_BUSY);
        assert_int_equal(in.staged.fd, -1);
        ingest_release(&in);
    }
    offload_free(none);
    free(p);
}

enum { MANY = 40 };
static int many_left;
static void on_one_done(struct call *c)
{
    assert_int_equal(c->err, ERR_OK);
    many_left--;
}

static void many_at_once_share_the_pools(void **state)
{
    struct fixture *f = *state;
    static struct trickle t[MANY];
    static struct ingest in[MANY];
    struct call calls[MANY] = {0};
    char *p = test_content(4000000, 5);

    many_left = MANY;
    for (int i = 0; i < MANY; i++) {
        trickle_init(&t[i], f, p, 10 + 100000 * (size_t)i, i & 1);
        prepare(f, &in[i], &t[i].source, NULL);
        call_begin(&calls[i], f->loop, on_one_done);
        ingest_run(&in[i], &calls[i]);
    }
    while (many_left)
        loop_turn(f->loop, 1000);
    for (int i = 0; i < MANY; i++) {
        assert_content(&in[i], p, 10 + 100000 * (size_t)i);
        ingest_release(&in[i]);
    }
    free(p);
}

static void buffers_are_bounded(void **state)
{
    enum { N = INGEST_BUDGET / INGEST_BUF };
    static char *bufs[N + 1];

    (void)state;
    for (int i = 0; i < N; i++)
        assert_non_null(bufs[i] = ingest_buf_get(false));
    assert_null(ingest_buf_get(false));
    assert_non_null(bufs[N] = ingest_buf_get(true));
    assert_int_equal(ingest_buf_used(), INGEST_BUDGET + INGEST_BUF);
    for (int i = 0; i <= N; i++)
        ingest_buf_put(bufs[i]);
    assert_int_equal(ingest_buf_used(), 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    static const struct CMUnitTest tests[] = {
        CASE(every_size_arrives_whole),
        CASE(large_inline_bodies_stay_in_memory),
        CASE(every_algorithm_is_computed_and_checked),
        CASE(trailer_is_checked),
        CASE(failing_source_leaves_nothing),
        CASE(cancel_ends_it_soon),
        CASE(too_large_is_refused_early),
        CASE(shorter_than_declared_is_incomplete),
        CASE(busy_pool_fails_cleanly),
        CASE(many_at_once_share_the_pools),
        cmocka_unit_test(buffers_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
