#include "unit.h"

#include "base/hash.h"
#include "base/keyring.h"
#include "target/extent.h"
#include "target_dir.h"

enum { SEGMENTS = 5 };

struct fixture {
    struct test_dir tmp;
    struct segment_dir *dir;
    struct loop *loop;
    struct offload *io;
    struct extents_env env;
    struct extent list[SEGMENTS];
    char *all; /* the extents' bytes in a row */
    uint64_t size;
};

static void path_of(struct fixture *f, const struct segment_id *id, char out[600])
{
    char rel[SEGMENT_PATH_MAX];

    segment_path(id, rel);
    snprintf(out, 600, "%s/%s", f->tmp.path, rel);
}

static struct segment_id put(struct fixture *f, const char *p, size_t n, bool encrypted)
{
    struct segment_staged s;

    assert_int_equal((encrypted ? segment_stage_encrypted : segment_stage)(f->dir, 0, &s), ERR_OK);
    assert_int_equal(segment_write(&s, p, n), ERR_OK);
    assert_int_equal(segment_seal(&s, STR("desc")), ERR_OK);
    return s.id;
}

static int setup_some(void **state, unsigned encrypted)
{
    static struct keyring keys;
    char why[KEYRING_WHY_MAX];
    /* size of the segment, offset and length of the extent in it */
    static const struct {
        size_t size, offset, len;
    } rows[SEGMENTS] = {
        {5000000, 0, 5000000}, {100, 10, 80}, {3000000, 1048577, 1900000}, {10, 3, 0}, {2097152, 0, 2097152}};
    struct fixture *f = NEW(struct fixture);

    hash_setup();
    test_dir_make(&f->tmp);
    assert_int_equal(segment_dir_open(str_z(f->tmp.path), true, &f->dir), ERR_OK);
    assert_int_equal(keyring_parse(STR("a-master-key-that-is-long-enough-1"), &keys, why), ERR_OK);
    segment_dir_set_keys(f->dir, &keys);
    f->loop = loop_new();
    loop_adopt(f->loop);
    f->io = offload_new("io", 2, 64);
    f->env = (struct extents_env){extent_cache_new(64), f->io, false};
    f->all = mem_alloc(16 << 20);
    for (int i = 0; i < SEGMENTS; i++) {
        char *p = test_content(rows[i].size, (uint64_t)i + 1);
        f->list[i] = (struct extent){put(f, p, rows[i].size, encrypted & 1u << i), rows[i].offset, rows[i].len};
        memcpy(f->all + f->size, p + rows[i].offset, rows[i].len);
        f->size += rows[i].len;
        free(p);
    }
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_some(state, 0);
}

/* Plain and encrypted content of one object: a spliced one may have both. */
static int setup_mixed(void **state)
{
    return setup_some(state, 1u << 0 | 1u << 1 | 1u << 4);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    offload_free(f->io);
    extent_cache_free(f->env.cache);
    loop_free(f->loop);
    segment_dir_close(f->dir);
    test_dir_remove(&f->tmp);
    free(f->all);
    free(f);
    return 0;
}

static bool done;
static void on_done(struct call *c)
{
    (void)c;
    done = true;
}

static enum err wait_for(struct fixture *f, struct call *c)
{
    while (!done)
        loop_turn(f->loop, 1000);
    return c->err;
}

static enum err prepare(struct fixture *f, struct source *s)
{
    struct call c = {0};

    done = false;
    call_begin(&c, f->loop, on_done);
    source_prepare(s, &c);
    return wait_for(f, &c);
}

static enum err read_some(struct fixture *f, struct source *s, void *buf, size_t len, size_t *n)
{
    struct call c = {0};

    done = false;
    call_begin(&c, f->loop, on_done);
    source_read(s, buf, len, n, &c);
    return wait_for(f, &c);
}

static void take(const struct span *span, char *out, uint64_t n)
{
    if (span->kind == SPAN_MEMORY) {
        memcpy(out, span->p, n);
        return;
    }
    assert_int_equal(span->kind, SPAN_FILE);
    assert_int_equal(pread(span->fd, out, n, (off_t)span->offset), (ssize_t)n);
}

/* Takes everything through peek and consume in steps of at most `step`; *waits counts SPAN_WAIT. */
static enum err drain_by_peek(struct fixture *f, struct source *s, char *out, uint64_t step, uint64_t *got, int *waits)
{
    enum err e;

    *got = 0;
    *waits = 0;
    for (;;) {
        struct span span;
        source_peek(s, &span);
        if (span.kind == SPAN_END)
            return ERR_OK;
        if (span.kind == SPAN_WAIT) {
            ++*waits;
            if ((e = prepare(f, s)) != ERR_OK)
                return e;
            continue;
        }
        assert_true(span.len > 0 && span.len <= 2 << 20);
        uint64_t n = span.len < step ? span.len : step;
        take(&span, out + *got, n);
        *got += n;
        source_consume(s, n);
    }
}

static enum err drain_by_read(struct fixture *f, struct source *s, char *out, size_t step, uint64_t *got)
{
    size_t n;
    enum err e;

    *got = 0;
    do {
        if ((e = read_some(f, s, out + *got, step, &n)) != ERR_OK)
            return e;
        assert_true(n <= step);
        *got += n;
    } while (n);
    return ERR_OK;
}

static void chill(struct fixture *f)
{
    for (int i = 0; i < SEGMENTS; i++) {
        char path[600];
        path_of(f, &f->list[i].id, path);
        int fd = open(path, O_RDONLY);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static void any_part_comes_out_either_way(void **state)
{
    struct fixture *f = *state;
    uint64_t cuts[][2] = {{0, f->size},
                          {0, 0},
                          {0, 1},
                          {4999999, 1},
                          {4999999, 2},
                          {5000000, 80},
                          {5000079, 2},
                          {5000040, 100},
                          {1, 5000085},
                          {100, 100},
                          {6900000, 100000},
                          {f->size - 1, 1},
                          {f->size - 2097152, 2097152},
                          {1048576, 2097152},
                          {f->size, 0}};
    char *out = mem_alloc(16 << 20);

    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
        for (int mode = 0; mode < 8; mode++) {
            uint64_t skip = cuts[i][0], len = cuts[i][1], got;
            int waits;
            f->env.verify = mode & 1;
            if (mode & 4)
                chill(f);
            struct source *s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, skip, len);
            assert_int_equal(s->size, len);
            if (mode & 2)
                assert_int_equal(drain_by_read(f, s, out, mode & 4 ? 100000 : 300000, &got), ERR_OK);
            else
                assert_int_equal(drain_by_peek(f, s, out, mode & 4 ? 77777 : UINT64_MAX, &got, &waits), ERR_OK);
            assert_int_equal(got, len);
            assert_memory_equal(out, f->all + skip, len);
            source_close(s);
        }
    }
    free(out);
}

static void damage_is_never_told(void **state)
{
    struct fixture *f = *state;
    struct source *s;
    char path[600], *out = mem_alloc(16 << 20), byte;
    uint64_t got;
    int fd;

    path_of(f, &f->list[0].id, path);
    assert_true((fd = open(path, O_RDWR)) >= 0);
    assert_int_equal(pread(fd, &byte, 1, 4000000), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 4000000), 1);
    close(fd);
    s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 0, f->size);
    assert_int_equal(drain_by_read(f, s, out, 300000, &got), ERR_CORRUPT);
    assert_true(got <= 4000000 / (64 << 10) * (64 << 10));
    assert_memory_equal(out, f->all, got);
    assert_int_equal(prepare(f, s), ERR_CORRUPT); /* stays so */
    source_close(s);
    s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 4000000 / (64 << 10) * (64 << 10) + (64 << 10), 300000);
    assert_int_equal(drain_by_read(f, s, out, 300000, &got), ERR_OK);
    assert_int_equal(got, 300000);
    source_close(s);
    free(out);
}

static void peek_and_read_can_be_mixed(void **state)
{
    struct fixture *f = *state;
    struct source *s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 0, f->size);
    char *out = mem_alloc(16 << 20);
    uint64_t got = 0;

    for (int i = 0;; i++) {
        struct span span;
        size_t n;
        source_peek(s, &span);
        if (span.kind == SPAN_END)
            break;
        if (i % 2 || span.kind == SPAN_WAIT) {
            assert_int_equal(read_some(f, s, out + got, 50000, &n), ERR_OK);
            got += n;
        } else {
            n = span.len > 60000 ? 60000 : (size_t)span.len;
            take(&span, out + got, n);
            source_consume(s, n);
            got += n;
        }
    }
    assert_int_equal(got, f->size);
    assert_memory_equal(out, f->all, f->size);
    source_close(s);
    free(out);
}

static void warm_segment_needs_no_pool(void **state)
{
    struct fixture *f = *state;
    char *out = mem_alloc(16 << 20);
    uint64_t got;
    int waits;

    for (int round = 0; round < 2; round++) {
        struct source *s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 0, f->size);
        assert_int_equal(drain_by_peek(f, s, out, UINT64_MAX, &got, &waits), ERR_OK);
        assert_true(round == 0 ? waits > 0 : waits == 0);
        source_close(s);
    }
    free(out);
}

static void flip(struct fixture *f, int i, uint64_t at)
{
    char path[600], c;

    path_of(f, &f->list[i].id, path);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
    c ^= 1;
    assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

static void damage_is_never_shown_when_verifying(void **state)
{
    struct fixture *f = *state;
    char *out = mem_alloc(16 << 20);
    uint64_t got;
    int waits;

    f->env.verify = true;
    flip(f, 0, 4500000);
    for (int by_read = 0; by_read < 2; by_read++) {
        struct source *s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 0, f->size);
        assert_int_equal(by_read ? drain_by_read(f, s, out, 70000, &got)
                                 : drain_by_peek(f, s, out, 70000, &got, &waits),
                         ERR_CORRUPT);
        assert_true(got <= 4500000);
        assert_memory_equal(out, f->all, got);
        assert_int_equal(prepare(f, s), ERR_CORRUPT); /* keeps failing */
        source_close(s);
        /* a range in a good block is served, one in the bad block is not, even beside the flipped byte */
        s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 100, 200);
        assert_int_equal(by_read ? drain_by_read(f, s, out, 70, &got) : drain_by_peek(f, s, out, 70, &got, &waits),
                         ERR_OK);
        source_close(s);
        s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 4400000, 10);
        assert_int_equal(by_read ? drain_by_read(f, s, out, 70, &got) : drain_by_peek(f, s, out, 70, &got, &waits),
                         ERR_CORRUPT);
        assert_int_equal(got, 0);
        source_close(s);
    }
    free(out);
}

static void missing_segment_is_not_found_first_and_corrupt_later(void **state)
{
    struct fixture *f = *state;
    char *out = mem_alloc(16 << 20);
    uint64_t got;
    int waits;

    assert_int_equal(extent_cache_unlink(f->env.cache, f->dir, &f->list[2].id), ERR_OK);
    for (int by_read = 0; by_read < 2; by_read++) {
        struct source *s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 5000080, 100);
        assert_int_equal(by_read ? drain_by_read(f, s, out, 70, &got) : drain_by_peek(f, s, out, 70, &got, &waits),
                         ERR_NOT_FOUND);
        source_close(s);
        s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 5000000, 100);
        assert_int_equal(by_read ? drain_by_read(f, s, out, 70, &got) : drain_by_peek(f, s, out, 70, &got, &waits),
                         ERR_CORRUPT);
        assert_int_equal(got, 80);
        source_close(s);
    }
    free(out);
}

static void short_file_or_short_record_is_corrupt(void **state)
{
    struct fixture *f = *state;
    char path[600], out[200];
    uint64_t got;
    int waits;
    struct source *s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 1, f->size);
    struct extent wild = {f->list[0].id, UINT64_MAX - 1, UINT64_MAX};

    assert_int_equal(prepare(f, s), ERR_CORRUPT);
    source_close(s);
    s = extent_source_new(&f->env, f->dir, &wild, 1, 0, 100);
    assert_int_equal(prepare(f, s), ERR_CORRUPT);
    source_close(s);
    path_of(f, &f->list[1].id, path);
    assert_int_equal(truncate(path, 50), 0);
    for (int by_read = 0; by_read < 2; by_read++) {
        s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 5000000, 80);
        assert_int_equal(by_read ? drain_by_read(f, s, out, 70, &got) : drain_by_peek(f, s, out, 70, &got, &waits),
                         ERR_CORRUPT);
        source_close(s);
    }
}

static void readers_keep_a_removed_segment(void **state)
{
    struct fixture *f = *state;
    char out[80];
    uint64_t got;
    int waits, fds = test_open_fds();
    struct source *s = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 5000000, 80);

    assert_int_equal(prepare(f, s), ERR_OK);
    assert_int_equal(extent_cache_unlink(f->env.cache, f->dir, &f->list[1].id), ERR_OK);
    assert_int_equal(extent_cache_count(f->env.cache), 0);
    assert_int_equal(drain_by_peek(f, s, out, 1000, &got, &waits), ERR_OK);
    assert_memory_equal(out, f->all + 5000000, 80);
    source_close(s);
    extent_cache_reap(f->env.cache, f->dir);
    assert_int_equal(test_open_fds(), fds);
}

static void segments_to_come_are_removed_after_their_reader(void **state)
{
    struct fixture *f = *state;
    char *out = mem_alloc(16 << 20);
    uint64_t got;
    struct source *a = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 0, f->size),
                  *b = extent_source_new(&f->env, f->dir, f->list, SEGMENTS, 5000000, 100);

    for (int i = 0; i < SEGMENTS; i++) /* the empty extent and what a range leaves out are nobody's */
        assert_int_equal(extent_cache_unlink(f->env.cache, f->dir, &f->list[i].id), i == 3 ? ERR_OK : ERR_AGAIN);
    extent_cache_reap(f->env.cache, f->dir);
    assert_int_equal(drain_by_read(f, a, out, 100000, &got), ERR_OK);
    assert_memory_equal(out, f->all, f->size);
    source_close(a);
    extent_cache_reap(f->env.cache, f->dir);
    assert_int_equal(test_files_below(f->tmp.path), 2);
    assert_int_equal(drain_by_read(f, b, out, 100000, &got), ERR_OK);
    assert_memory_equal(out, f->all + 5000000, 100);
    source_close(b);
    extent_cache_reap(f->env.cache, f->dir);
    assert_int_equal(test_files_below(f->tmp.path), 0);
    assert_int_equal(extent_cache_count(f->env.cache), 0);
    free(out);
}

static void cache_is_bounded_and_drops_the_oldest(void **state)
{
    enum { N = 300, MAX = 32 };
    struct fixture *f = *state;
    struct extent_cache *c = extent_cache_new(MAX);
    static struct segment_id ids[N];
    static struct extent_file *held[N];
    struct extent_file *file;
    int fds;

    for (int i = 0; i < N; i++)
        ids[i] = put(f, "abc", 3, false);
    fds = test_open_fds();
    for (int i = 0; i < N; i++) {
        assert_int_equal(extent_cache_open(c, f->dir, &ids[i], &file), ERR_OK);
        extent_cache_put(c, file);
        assert_true(extent_cache_count(c) <= MAX);
    }
    assert_non_null(file = extent_cache_get(c, f->dir, &ids[N - 1]));
    extent_cache_put(c, file);
    assert_null(extent_cache_get(c, f->dir, &ids[0]));
    /* those in use are never closed */
    for (int i = 0; i < N; i++)
        assert_int_equal(extent_cache_open(c, f->dir, &ids[i], &held[i]), ERR_OK);
    assert_int_equal(extent_cache_count(c), N);
    for (int i = 0; i < N; i++) {
        char b;
        assert_int_equal(pread(held[i]->fd, &b, 1, 0), 1);
        assert_ptr_equal(extent_cache_get(c, f->dir, &ids[i]), held[i]);
        extent_cache_put(c, held[i]);
        extent_cache_put(c, held[i]);
    }
    assert_true(extent_cache_count(c) <= MAX);
    extent_cache_reap(c, f->dir);
    assert_true(test_open_fds() - fds <= MAX);
    extent_cache_free(c);
    assert_int_equal(test_open_fds(), fds);
}

static void unlinked_while_opening_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct segment_id id = put(f, "abc", 3, false);
    char path[600], other[640];
    struct extent_file *file;

    /* as if the name went between open and insert: the file has none, but can still be opened through another */
    path_of(f, &id, path);
    int fd = open(path, O_RDONLY);
    assert_int_equal(segment_unlink(f->dir, &id), ERR_OK);
    snprintf(other, sizeof(other), "/proc/self/fd/%d", fd);
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(extent_cache_open(f->env.cache, f->dir, &id, &file), ERR_OK);
    assert_int_equal(extent_cache_count(f->env.cache), 0);
    extent_cache_put(f->env.cache, file);
    close(fd);
}

int main(void)
{
#define MIXED(fn) cmocka_unit_test_setup_teardown(fn, setup_mixed, teardown)
#define CASE(fn)  cmocka_unit_test_setup_teardown(fn, setup, teardown)
    static const struct CMUnitTest tests[] = {
        CASE(any_part_comes_out_either_way),
        CASE(peek_and_read_can_be_mixed),
        MIXED(any_part_comes_out_either_way),
        MIXED(peek_and_read_can_be_mixed),
        MIXED(damage_is_never_told),
        CASE(warm_segment_needs_no_pool),
        CASE(damage_is_never_shown_when_verifying),
        CASE(missing_segment_is_not_found_first_and_corrupt_later),
        CASE(short_file_or_short_record_is_corrupt),
        CASE(readers_keep_a_removed_segment),
        CASE(segments_to_come_are_removed_after_their_reader),
        CASE(cache_is_bounded_and_drops_the_oldest),
        CASE(unlinked_while_opening_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
