#include "slices_kit.h"

#include "base/log.h"

/* What becomes of a cut object's slices while nodes come, go, and lose some. */

static struct loop *loop;

enum { SIZE = 1000003 }; /* slices of several steps, the last one shorter */

static int setup_2_1(void **state)
{
    (void)state;
    slices_open(loop, 4, 2, 1);
    return 0;
}

static int setup_4_2(void **state)
{
    (void)state;
    slices_open(loop, 8, 4, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slices_close();
    return 0;
}

static unsigned all(void)
{
    return redundancy_slices(sk.kit.bucket.redundancy);
}

/* The whole, each slice's edges, a byte here and there. */
static void expect_ranges(void)
{
    uint64_t slice = (SIZE + sk.kit.bucket.redundancy.data - 1) / sk.kit.bucket.redundancy.data;

    slices_expect(0, SIZE, true);
    slices_expect(0, SIZE, false);
    slices_expect(slice - 1, 2, true);
    slices_expect(slice / 2, slice, false);
    slices_expect(SIZE - 1, 1, true);
    slices_expect(0, 1, false);
    slices_expect(1, SIZE - 2, true);
}

static void slices_go_to_the_nodes_of_the_ranking(void **state)
{
    (void)state;
    assert_err(slices_put(SIZE, 1), ERR_OK);
    slices_expect_in_place();
    expect_ranges();
    assert_err(slices_put(1, 2), ERR_OK); /* of most slices there is nothing */
    slices_expect(0, 1, true);
}

static void names_of_slices_say_whose_they_are(void **state)
{
    struct slices_name name = {STR("some/key"), 0x12ab, 7}, back;
    struct attr attr = {STR(SLICES_ATTR), STR("some/key")};
    struct object_info info = {.attrs = &attr, .attr_count = 1};

    (void)state;
    struct str key = slices_key(&sk.kit.arena, &name);
    assert_int_equal(key.n, SLICES_KEY_LEN);
    assert_err(slices_parse(key, &info, &back), ERR_OK);
    assert_true(back.id == 0x12ab && back.slice == 7 && str_eq(back.key, STR("some/key")));
    attr.value = STR("other/key");
    assert_err(slices_parse(key, &info, &back), ERR_CORRUPT);
    assert_err(slices_parse(STR("some/key"), &info, &back), ERR_CORRUPT);
    info.attr_count = 0;
    assert_err(slices_parse(key, &info, &back), ERR_CORRUPT);
    struct bucket_id shadow = slices_bucket(sk.kit.bucket);
    assert_true(shadow.uid != sk.kit.bucket.uid && slices_bucket(shadow).uid == sk.kit.bucket.uid);
    assert_int_equal(shadow.redundancy.kind, REDUNDANCY_NONE);
}

static void any_parity_nodes_may_be_away(void **state)
{
    unsigned parity = sk.kit.bucket.redundancy.parity;

    (void)state;
    assert_err(slices_put(SIZE, 3), ERR_OK);
    for (unsigned a = 0; a < all(); a++)
        for (unsigned b = 0; b < all(); b++) {
            if (parity == 1 && b != a)
                continue;
            cluster.nodes[slices_node(a)].alive = cluster.nodes[slices_node(b)].alive = false;
            expect_ranges();
            cluster.nodes[slices_node(a)].alive = cluster.nodes[slices_node(b)].alive = true;
        }
}

static void too_few_nodes_are_told_before_the_body(void **state)
{
    struct source *body;

    (void)state;
    assert_err(slices_put(SIZE, 4), ERR_OK);
    for (unsigned i = 0; i < 3; i++)
        if (slices_node(i) != 0)
            cluster.nodes[slices_node(i)].fail = ERR_UNAVAILABLE;
    if (sk.kit.bucket.redundancy.parity == 1) {
        assert_err(slices_get(0, SIZE, &body), ERR_UNAVAILABLE);
        assert_null(body);
    }
    for (unsigned i = 0; i < cluster.count; i++)
        cluster.nodes[i].fail = ERR_OK;
    for (unsigned i = 0; i < 3; i++)
        slices_lose(slices_node(i), i);
    assert_err(slices_get(0, SIZE, &body), ERR_CORRUPT);
}

static void a_body_goes_on_when_a_slice_breaks_off(void **state)
{
    static const size_t places[] = {0, 1, 1000, 131072, 200000};

    (void)state;
    assert_err(slices_put(SIZE, 5), ERR_OK);
    for (unsigned slice = 0; slice < all(); slice++)
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            slices_break(slices_node(slice), places[i], i % 2 ? ERR_CORRUPT : ERR_UNAVAILABLE);
            slices_expect(0, SIZE, true);
            slices_expect(3, SIZE - 5, false);
            slices_break(slices_node(slice), SIZE_MAX, ERR_OK);
        }
}

static void a_rebuilt_body_goes_on_when_another_breaks_off(void **state)
{
    (void)state;
    assert_err(slices_put(SIZE, 6), ERR_OK);
    slices_lose(slices_node(0), 0);
    for (unsigned slice = 1; slice < all(); slice++) {
        slices_break(slices_node(slice), 150000, ERR_CORRUPT);
        slices_expect(0, SIZE, slice % 2);
        slices_break(slices_node(slice), SIZE_MAX, ERR_OK);
    }
}

static void a_body_that_nothing_can_save_fails(void **state)
{
    struct source *body;
    struct str got;

    (void)state;
    assert_err(slices_put(SIZE, 7), ERR_OK);
    for (unsigned i = 0; i <= sk.kit.bucket.redundancy.parity; i++)
        slices_break(slices_node(i), 1000, ERR_CORRUPT);
    assert_err(slices_get(0, SIZE, &body), ERR_OK);
    assert_err(kit_drain(&sk.kit, body, true, &got), ERR_CORRUPT);
    assert_true(got.n < SIZE);
    assert_memory_equal(got.p, sk.content.p, got.n);
}

static void a_write_needs_all_that_are_not_out(void **state)
{
    unsigned first;

    (void)state;
    assert_err(slices_put(SIZE, 8), ERR_OK);
    first = slices_count();
    /* refused, and nothing is left of it */
    for (unsigned i = 0; i < all(); i++) {
        struct cluster_node *n = &cluster.nodes[slices_node(i)];
        if (slices_node(i) == 0)
            continue; /* it writes itself */
        n->alive = false;
        assert_err(slices_put(SIZE, 9), ERR_UNAVAILABLE);
        n->alive = true;
        n->fail = ERR_NO_SPACE;
        n->fail_times = 1;
        assert_err(slices_put(SIZE, 9), ERR_NO_SPACE);
        assert_int_equal(slices_count(), first);
    }
}

static void slices_that_are_lost_or_damaged_are_rebuilt(void **state)
{
    struct slices_settle_res res;

    (void)state;
    assert_err(slices_put(SIZE, 10), ERR_OK);
    assert_err(slices_mend(true, &res), ERR_OK);
    assert_true(res.moved == 0 && res.rebuilt == 0 && res.bytes == 0);
    for (unsigned i = 0; i < all(); i++) {
        slices_lose(slices_node(i), i);
        assert_err(slices_mend(false, &res), ERR_OK);
        assert_true(res.moved == 0 && res.rebuilt == 1 && res.bytes > 0);
        slices_expect_in_place();
        slices_damage(slices_node(i), i);
        assert_err(slices_mend(false, &res), ERR_OK);
        assert_int_equal(res.rebuilt, 0); /* nobody looked */
        assert_err(slices_mend(true, &res), ERR_OK);
        assert_int_equal(res.rebuilt, 1);
        slices_expect_in_place();
    }
    expect_ranges();
}

static void as_many_as_there_is_parity_can_be_rebuilt(void **state)
{
    struct slices_settle_res res;
    struct source *body;

    (void)state;
    assert_err(slices_put(SIZE, 11), ERR_OK);
    slices_lose(slices_node(1), 1);
    slices_damage(slices_node(all() - 1), all() - 1);
    enum err e = slices_mend(true, &res);
    if (sk.kit.bucket.redundancy.parity > 1) {
        assert_err(e, ERR_OK);
        assert_int_equal(res.rebuilt, 2);
        slices_expect_in_place();
        expect_ranges();
        return;
    }
    assert_err(e, ERR_CORRUPT);
    assert_non_null(slices_on(slices_node(all() - 1), all() - 1)); /* nothing is thrown away */
    /* the damage is not seen without being looked for, so that the rest is still readable */
    assert_err(slices_get(0, 1, &body), ERR_OK);
    source_close(body);
}

static void a_node_that_is_away_is_told(void **state)
{
    struct slices_settle_res res;

    (void)state;
    assert_err(slices_put(SIZE, 12), ERR_OK);
    unsigned away = slices_node(0) ? 0 : 1, lost = away ? 0 : 1;
    if (slices_node(away) == 0)
        return;
    cluster.nodes[slices_node(away)].alive = false;
    assert_err(slices_mend(false, &res), ERR_UNAVAILABLE);
    if (sk.kit.bucket.redundancy.parity > 1) {
        slices_lose(slices_node(lost), lost);
        assert_err(slices_mend(false, &res), ERR_UNAVAILABLE);
        assert_int_equal(res.rebuilt, 1); /* what could be done was */
    }
    cluster.nodes[slices_node(away)].alive = true;
    assert_err(slices_mend(true, &res), ERR_OK);
    slices_expect_in_place();
}

static void slices_follow_a_placement_that_changes(void **state)
{
    struct slices_settle_res res;

    (void)state;
    for (unsigned gone = 0; gone < cluster.count; gone++) {
        assert_err(slices_put(SIZE, 20 + gone), ERR_OK);
        cluster_move_begin();
        cluster.nodes[gone].weight = 0;
        cluster_remap();
        expect_ranges(); /* while they are where they were */
        assert_err(slices_mend(gone % 2, &res), ERR_OK);
        assert_int_equal(res.rebuilt, 0);
        for (unsigned i = 0; i < all(); i++)
            assert_non_null(slices_on(slices_node(i), i));
        expect_ranges();
        cluster_move_end();
        expect_ranges();
        assert_err(slices_mend(true, &res), ERR_OK);
        assert_int_equal(res.moved + res.rebuilt, 0);
        /* and back */
        cluster_move_begin();
        cluster.nodes[gone].weight = 100;
        cluster_remap();
        expect_ranges();
        assert_err(slices_mend(false, &res), ERR_OK);
        expect_ranges();
        cluster_move_end();
    }
}

static void a_version_can_be_deleted(void **state)
{
    struct slices_delete_req req;
    struct kit_call c = {0};

    (void)state;
    assert_err(slices_put(SIZE, 30), ERR_OK);
    struct str former = sk.layout;
    assert_err(slices_put(SIZE, 31), ERR_OK);
    assert_int_equal(slices_count(), 2 * all());
    req = (struct slices_delete_req){&sk.kit.arena, sk.kit.bucket, sk.key, former};
    slices_delete(&sk.env, &req, kit_begin(&sk.kit, &c));
    assert_err(kit_wait(&sk.kit, &c), ERR_OK);
    slices_expect_in_place();
    expect_ranges();
}

/* This node's own. */
static struct slices_tidy_res tidy(int64_t older_than_ns)
{
    struct slices_tidy_req req = {.arena = &sk.kit.arena,
                                  .bucket = sk.kit.bucket,
                                  .all = cluster.nodes[0].memory,
                                  .older_than_ns = older_than_ns};
    struct slices_tidy_res res;
    struct kit_call c = {0};

    slices_tidy(&sk.env, &req, &res, kit_begin(&sk.kit, &c));
    assert_err(kit_wait(&sk.kit, &c), ERR_OK);
    return res;
}

static void litter_is_removed_once_it_is_old(void **state)
{
    unsigned own = 0;

    (void)state;
    assert_err(slices_put(SIZE, 50), ERR_OK);
    for (unsigned i = 0; i < all(); i++)
        own += slices_node(i) == 0;
    assert_err(slices_put(SIZE, 51), ERR_OK); /* which leaves the slices of the former version */
    assert_int_equal(tidy(0).removed, 0);
    assert_int_equal(tidy(0).seen, 2 * own);
    struct slices_tidy_res res = tidy(INT64_MAX);
    assert_int_equal(res.removed, own);
    assert_true((res.bytes > 0) == (own > 0));
    assert_int_equal(tidy(INT64_MAX).removed, 0);
    expect_ranges();
    /* a slice that belongs to another node by now */
    cluster.nodes[0].weight = 0;
    cluster_remap();
    assert_int_equal(tidy(INT64_MAX).removed, own);
    cluster.nodes[0].weight = 100;
    cluster_remap();
    /* and all of an object that is gone */
    assert_err(slices_put(SIZE, 52), ERR_OK);
    assert_err(kit_delete(&sk.kit, sk.key), ERR_OK);
    assert_int_equal(tidy(INT64_MAX).removed, own);
}

static void a_node_makes_its_own_slice_anew(void **state)
{
    struct slices_repair_req req = {.arena = &sk.kit.arena, .bucket = sk.kit.bucket, .all = cluster.nodes[0].memory};
    struct slices_repair_res res;
    struct kit_call c = {0};
    struct memobject *own = NULL;

    (void)state;
    for (unsigned i = 0; i < 100 && !own; i++) { /* some object has a slice here */
        sk.key = arena_printf(&sk.kit.arena, "key %u", i);
        assert_err(slices_put(SIZE, 60), ERR_OK);
        for (unsigned slice = 0; slice < all() && !own; slice++)
            if (slices_node(slice) == 0 && (own = slices_on(0, slice)) != NULL)
                slices_damage(0, slice);
    }
    assert_non_null(own);
    own->refs++;
    req.slice_key = own->key;
    slices_repair(&sk.env, &req, &res, kit_begin(&sk.kit, &c));
    assert_err(kit_wait(&sk.kit, &c), ERR_OK);
    assert_true(res.repaired && res.bytes == own->info.size);
    expect_ranges();
    /* of an object that is gone nothing is */
    assert_err(kit_delete(&sk.kit, sk.key), ERR_OK);
    slices_repair(&sk.env, &req, &res, kit_begin(&sk.kit, &c));
    assert_err(kit_wait(&sk.kit, &c), ERR_OK);
    assert_false(res.repaired);
    memobject_unref(own);
}

static void cancelled_at_any_turn_leaves_nothing(void **state)
{
    struct slices_settle_res settled;
    struct source *body;
    struct str got;

    (void)state;
    assert_err(slices_put(SIZE, 40), ERR_OK);
    for (int after = 0; after < 40; after++) {
        struct slices_read_req req = {sk.kit.bucket, sk.key, sk.layout, 10, SIZE - 10};
        struct slices_read_res res = {0};
        struct kit_call c = {0};
        if (after % 2)
            slices_break(slices_node(0), 1000, ERR_IO);
        slices_read(&sk.env, &req, &res, kit_begin(&sk.kit, &c));
        kit_turns(&sk.kit, after / 2);
        call_cancel(&c.call);
        enum err e = kit_wait(&sk.kit, &c);
        assert_true(e == ERR_CANCELLED ? !res.body : e == ERR_OK && res.body != NULL);
        source_close(res.body);
        /* a read of the body */
        char buf[5000];
        size_t n;
        assert_err(slices_get(0, SIZE, &body), ERR_OK);
        for (int i = 0; i < after; i++) {
            source_read(body, buf, sizeof(buf), &n, kit_begin(&sk.kit, &c));
            assert_err(kit_wait(&sk.kit, &c), ERR_OK);
        }
        source_read(body, buf, sizeof(buf), &n, kit_begin(&sk.kit, &c));
        call_cancel(&c.call);
        (void)kit_wait(&sk.kit, &c);
        source_close(body);
        /* settling */
        if (after % 3 == 0)
            slices_lose(slices_node(1), 1);
        struct slices_settle_req mend = {&sk.kit.arena, sk.kit.bucket, sk.key, sk.layout, true};
        slices_settle(&sk.env, &mend, &settled, kit_begin(&sk.kit, &c));
        kit_turns(&sk.kit, after);
        call_cancel(&c.call);
        (void)kit_wait(&sk.kit, &c);
        slices_break(slices_node(0), SIZE_MAX, ERR_OK);
        assert_err(slices_mend(false, &settled), ERR_OK);
        slices_expect_in_place();
    }
    assert_err(slices_get(0, SIZE, &body), ERR_OK);
    assert_err(kit_drain(&sk.kit, body, true, &got), ERR_OK);
}

int main(void)
{
#define TEST_BOTH(f)                                                                                                   \
    {#f " 2+1", f, setup_2_1, teardown, NULL},                                                                         \
    {                                                                                                                  \
#f " 4+2", f, setup_4_2, teardown, NULL                                                                        \
    }
    static const struct CMUnitTest tests[] = {
        TEST_BOTH(slices_go_to_the_nodes_of_the_ranking),
        TEST_BOTH(names_of_slices_say_whose_they_are),
        TEST_BOTH(any_parity_nodes_may_be_away),
        TEST_BOTH(too_few_nodes_are_told_before_the_body),
        TEST_BOTH(a_body_goes_on_when_a_slice_breaks_off),
        {"a_rebuilt_body_goes_on_when_another_breaks_off", a_rebuilt_body_goes_on_when_another_breaks_off, setup_4_2,
         teardown, NULL},
        TEST_BOTH(a_body_that_nothing_can_save_fails),
        TEST_BOTH(a_write_needs_all_that_are_not_out),
        TEST_BOTH(slices_that_are_lost_or_damaged_are_rebuilt),
        TEST_BOTH(as_many_as_there_is_parity_can_be_rebuilt),
        TEST_BOTH(a_node_that_is_away_is_told),
        TEST_BOTH(slices_follow_a_placement_that_changes),
        TEST_BOTH(a_version_can_be_deleted),
        TEST_BOTH(litter_is_removed_once_it_is_old),
        TEST_BOTH(a_node_makes_its_own_slice_anew),
        TEST_BOTH(cancelled_at_any_turn_leaves_nothing),
    };
    int failed;

    hash_setup();
    log_setup(LOG_ERROR, false);
    loop = loop_new();
    loop_adopt(loop);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
