#include "target/local.h"

#include "unit.h"

#include "base/clock.h"
#include "local_fixture.h"
#include "target/fsck.h"

/* What the contract's tests of gates and layouts can't see: files, and what comes back when the index is lost. */

enum { PART = 5 << 20, LARGE = 3000000 };
static char *content;

static int setup(void **state)
{
    struct local_fixture *f = fixture_new(1);

    content = mem_alloc(PART * 2);
    random_bytes(content, PART * 2);
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct local_fixture *f = *state;

    fixture_close(f);
    fixture_free(f);
    free(content);
    return 0;
}

/* Decides at once, by what the test has set. */
struct test_gate {
    struct commit_gate gate;
    enum err err;
    int64_t later_ns;
    struct str layout;
    unsigned visits;
    /* or waits for the test */
    bool waits;
    struct gate_visit *visit;
    struct call *call;
};

static void gate_enter(struct commit_gate *gate, struct gate_visit *v, struct call *c)
{
    struct test_gate *g = CONTAINER(gate, struct test_gate, gate);

    g->visits++;
    v->mtime_ns += g->later_ns;
    v->layout = g->layout;
    g->visit = v;
    g->call = c;
    if (!g->waits)
        call_finish(c, g->err);
}

static struct test_gate gate_new(void)
{
    return (struct test_gate){.gate = {gate_enter}};
}

static enum err put(struct local_fixture *f, const char *key, struct str bytes, struct test_gate *g)
{
    struct obj_put_res res;
    struct source *body = source_memory(bytes, NULL, NULL);
    struct obj_put_req req = {
        .bucket = {1, STR("bucket")}, .key = str_z(key), .cond = cond_none(), .body = body, .gate = &g->gate};
    enum err e = t_put_full(f, &req, &res);

    source_close(body);
    return e;
}

/* Files are removed in the background. */
static void expect_files(struct local_fixture *f, int n)
{
    char segments[400];
    int64_t give_up = clock_wall_ns() + 30 * NS_PER_S;

    snprintf(segments, sizeof(segments), "%s/segments", f->paths[0]);
    while (test_files_below(segments) != n && clock_wall_ns() < give_up)
        loop_turn(f->loop, 10);
    assert_int_equal(test_files_below(segments), n);
}

/* The report goes elsewhere. */
static enum err fsck(struct local_fixture *f, bool rebuild)
{
    const struct fsck_options o = {f->mountpaths, f->conf.mountpath_count, rebuild, false};
    int out = dup(1);

    fflush(stdout);
    assert_non_null(freopen("/dev/null", "w", stdout));
    enum err e = fsck_run(&o);
    fflush(stdout);
    dup2(out, 1);
    close(out);
    return e;
}

static void lose_index(struct local_fixture *f)
{
    char line[400];

    fixture_close(f);
    assert_int_equal(fsck(f, false), ERR_OK);
    snprintf(line, sizeof(line), "rm -r %s/index", f->paths[0]);
    assert_int_equal(system(line), 0);
    assert_int_equal(fsck(f, true), ERR_OK);
    assert_int_equal(fsck(f, false), ERR_OK);
    fixture_open(f);
}

static struct obj_head_res head_of(struct local_fixture *f, const char *key)
{
    struct obj_head_req req = {
        .arena = &f->arena, .bucket = {1, STR("bucket")}, .key = str_z(key), .cond = cond_none(), .parts = true};
    struct obj_head_res res;
    struct waiting w;

    store_obj_head(f->store, &req, &res, wait_begin(f, &w));
    assert_int_equal(wait_end(f, &w), ERR_OK);
    return res;
}

static void refused_content_is_removed(void **state)
{
    struct local_fixture *f = *state;
    struct test_gate g = gate_new();

    g.err = ERR_UNAVAILABLE;
    assert_int_equal(put(f, "key", str_n(content, LARGE), &g), ERR_UNAVAILABLE);
    expect_files(f, 0);
}

static void content_that_is_elsewhere_is_removed(void **state)
{
    struct local_fixture *f = *state;
    struct test_gate g = gate_new();

    assert_int_equal(put(f, "key", str_n(content, LARGE), &g), ERR_OK);
    expect_files(f, 1);
    g.layout = STR("elsewhere");
    assert_int_equal(put(f, "key", str_n(content, LARGE), &g), ERR_OK);
    expect_files(f, 1); /* that describes it */
    fixture_close(f);
    assert_int_equal(fsck(f, false), ERR_OK);
    fixture_open(f);
    assert_int_equal(t_delete(f, 1, "key", NULL), ERR_OK);
    expect_files(f, 0);
}

static enum err complete(struct local_fixture *f, const char *key, struct test_gate *g)
{
    struct upload_create_req create = {.arena = &f->arena, .bucket = {1, STR("bucket")}, .key = str_z(key)};
    struct upload_create_res created;
    struct complete_part parts[2];
    struct waiting w;

    store_upload_create(f->store, &create, &created, wait_begin(f, &w));
    assert_int_equal(wait_end(f, &w), ERR_OK);
    for (uint32_t i = 0; i < 3; i++) {
        struct body_check check = {0};
        struct upload_part_req part = {.arena = &f->arena,
                                       .bucket = create.bucket,
                                       .key = create.key,
                                       .upload_id = created.upload_id,
                                       .number = i + 1,
                                       .body = source_memory(str_n(content, i ? 100000 : PART), NULL, NULL),
                                       .check = &check,
                                       .size_max = PART_SIZE_MAX};
        struct upload_part_res res;
        store_upload_part(f->store, &part, &res, wait_begin(f, &w));
        assert_int_equal(wait_end(f, &w), ERR_OK);
        source_close(part.body);
        if (i < 2) /* the third is not wanted */
            parts[i] = (struct complete_part){.number = i + 1, .etag = arena_str(&f->arena, etag_str(&res.part.etag))};
    }
    struct upload_complete_req req = {.arena = &f->arena,
                                      .bucket = create.bucket,
                                      .key = create.key,
                                      .upload_id = created.upload_id,
                                      .parts = parts,
                                      .part_count = 2,
                                      .cond = cond_none(),
                                      .want_size = UINT64_MAX,
                                      .gate = &g->gate};
    struct upload_complete_res completed = {0};
    store_upload_complete(f->store, &req, &completed, wait_begin(f, &w));
    return wait_end(f, &w);
}

static void parts_that_are_elsewhere_are_removed(void **state)
{
    struct local_fixture *f = *state;
    struct test_gate g = gate_new();

    g.layout = STR("elsewhere");
    assert_int_equal(complete(f, "key", &g), ERR_OK);
    expect_files(f, 1);
    assert_int_equal(head_of(f, "key").part_count, 2);
    g.layout = STR_NONE;
    assert_int_equal(complete(f, "key", &g), ERR_OK);
    expect_files(f, 3);
    assert_int_equal(t_delete(f, 1, "key", NULL), ERR_OK);
    expect_files(f, 0);
}

static void layouts_outlive_the_index(void **state)
{
    struct local_fixture *f = *state;
    struct test_gate g = gate_new();

    g.layout = STR("ec 4+2 1234");
    g.later_ns = 1000000;
    assert_int_equal(put(f, "single", str_n(content, LARGE), &g), ERR_OK);
    assert_int_equal(put(f, "small", str_n(content, 10), &g), ERR_OK);
    assert_int_equal(complete(f, "multi", &g), ERR_OK);
    expect_files(f, 3);
    int64_t time = head_of(f, "multi").info.mtime_ns;
    lose_index(f);
    expect_files(f, 3);
    struct obj_head_res h = head_of(f, "single");
    assert_true(str_eq(h.info.layout, g.layout) && h.info.size == LARGE);
    h = head_of(f, "small");
    assert_true(str_eq(h.info.layout, g.layout) && h.info.size == 10);
    h = head_of(f, "multi");
    assert_true(str_eq(h.info.layout, g.layout) && h.info.size == PART + 100000 && h.info.mtime_ns == time);
    assert_int_equal(h.part_count, 2);
    assert_true(h.parts[1].size == 100000);
}

static void content_outlives_the_index_with_the_time_of_its_sealing(void **state)
{
    struct local_fixture *f = *state;
    struct test_gate g = gate_new();

    g.later_ns = 5000000000;
    assert_int_equal(put(f, "single", str_n(content, LARGE), &g), ERR_OK);
    int64_t time = head_of(f, "single").info.mtime_ns;
    lose_index(f);
    assert_true(t_holds(f, 1, "single", str_n(content, LARGE)));
    assert_true(head_of(f, "single").info.mtime_ns == time - g.later_ns);
}

/* ---- a copy whose source changes while it waits ---- */

struct copying {
    struct waiting w;
    struct obj_copy_req req;
    struct obj_copy_res res;
};

static void copy_begin(struct local_fixture *f, struct copying *c, struct test_gate *g)
{
    c->req = (struct obj_copy_req){.arena = &f->arena,
                                   .src_bucket = {1, STR("bucket")},
                                   .src_key = STR("from"),
                                   .src_cond = cond_none(),
                                   .bucket = {1, STR("bucket")},
                                   .key = STR("to"),
                                   .cond = cond_none(),
                                   .size_max = PUT_SIZE_MAX,
                                   .gate = &g->gate};
    store_obj_copy(f->store, &c->req, &c->res, wait_begin(f, &c->w));
}

static void expect_readable(struct local_fixture *f, struct gate_visit *v, struct str bytes)
{
    const struct range all = {0};
    struct obj_get_res res;
    struct waiting w;
    struct str got;

    v->read(v, &all, &f->arena, &res, wait_begin(f, &w));
    assert_int_equal(wait_end(f, &w), ERR_OK);
    assert_int_equal(t_read(f, res.body, bytes.n, &got), ERR_OK);
    assert_true(str_eq(got, bytes));
}

static void gate_wait(struct local_fixture *f, struct test_gate *g)
{
    while (!g->call)
        loop_turn(f->loop, 100);
}

static void gate_open(struct test_gate *g)
{
    struct call *c = g->call;

    g->call = NULL;
    call_finish(c, ERR_OK);
}

static void copy_outlives_changes_of_its_source(void **state)
{
    static const size_t sizes[] = {100, 100000, LARGE};
    struct local_fixture *f = *state;

    for (size_t i = 0; i < 9; i++) {
        struct str first = str_n(content, sizes[i / 3]), second = str_n(content + 7, sizes[i / 3]);
        struct test_gate g = gate_new();
        struct copying c;
        bool bare = i % 3 == 2, gone = i % 3 == 1;

        g.waits = true;
        g.layout = bare ? STR("elsewhere") : STR_NONE;
        assert_int_equal(t_put(f, 1, "from", first), ERR_OK);
        copy_begin(f, &c, &g);
        gate_wait(f, &g);
        assert_int_equal(t_delete(f, 1, "from", NULL), ERR_OK);
        if (!gone)
            assert_int_equal(t_put(f, 1, "from", second), ERR_OK);
        usleep(50000); /* for the removal of its file */
        expect_readable(f, g.visit, first);
        gate_open(&g);
        if (!bare && !gone) { /* what was shared is gone: there is another source */
            gate_wait(f, &g);
            expect_readable(f, g.visit, second);
            gate_open(&g);
        }
        assert_int_equal(wait_end(f, &c.w), gone ? ERR_NO_SUCH_KEY : ERR_OK);
        assert_int_equal(g.visits, bare || gone ? 1 : 2);
        if (!bare && !gone)
            assert_true(t_holds(f, 1, "to", second));
        if (bare)
            assert_true(head_of(f, "to").info.size == first.n);
        assert_int_equal(t_delete(f, 1, "from", NULL), ERR_OK);
        assert_int_equal(t_delete(f, 1, "to", NULL), ERR_OK);
        expect_files(f, 0);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(refused_content_is_removed),
        TEST(content_that_is_elsewhere_is_removed),
        TEST(parts_that_are_elsewhere_are_removed),
        TEST(layouts_outlive_the_index),
        TEST(content_outlives_the_index_with_the_time_of_its_sealing),
        TEST(copy_outlives_changes_of_its_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
