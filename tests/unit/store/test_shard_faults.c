#include "upload_kit.h"

#include "cluster_kit.h"

/* What a shard does when nodes fail, go, come, or the client gives up: the right error, nothing half done, nothing left behind. */

static struct loop *loop;
static struct kit kit;

enum { NODES = 5, KEYS = 40 };

static int setup(void **state)
{
    static uint64_t uid = 1;

    (void)state;
    cluster_open(loop, NODES, NODES);
    kit = (struct kit){.loop = loop, .store = cluster_shard(), .bucket = {++uid, STR("bucket")}};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(kit.store);
    arena_release(&kit.arena);
    cluster_close();
    return 0;
}

static struct str numbered(unsigned i)
{
    return arena_printf(&kit.arena, "key-%03u", i);
}

static struct cluster_node *owner(struct str key)
{
    return cluster_owner(kit.bucket, key);
}

static void put_all(void)
{
    for (unsigned i = 0; i < KEYS; i++)
        kit_put(&kit, numbered(i), STR("x"));
}

static enum err put(struct str key)
{
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(&kit, key, NULL, &check);
    struct obj_put_res res;

    return KIT_CALL(&kit, obj_put, &req, &res);
}

static enum err head(struct str key)
{
    struct obj_head_req req = kit_get_req(&kit, key).head;
    struct obj_head_res res = {0};

    return KIT_CALL(&kit, obj_head, &req, &res);
}

static enum err list(uint32_t *count)
{
    struct obj_list_req req = {.arena = &kit.arena, .bucket = kit.bucket, .max = LIST_MAX};
    struct obj_list_res res = {0};
    enum err e = KIT_CALL(&kit, obj_list, &req, &res);

    *count = res.count;
    return e;
}

static enum err list_uploads(void)
{
    struct upload_list_req req = {.arena = &kit.arena, .bucket = kit.bucket, .max = LIST_MAX};
    struct upload_list_res res = {0};

    return KIT_CALL(&kit, upload_list, &req, &res);
}

static enum err purge(bool objects, uint64_t *removed)
{
    struct bucket_purge_req req = {.arena = &kit.arena, .bucket = kit.bucket, .objects = objects};
    struct bucket_purge_res res = {0};
    enum err e = KIT_CALL(&kit, bucket_purge, &req, &res);

    *removed = res.removed;
    return e;
}

/* ---- nodes that can't be asked ---- */

static void expect_only_its_keys_fail(struct cluster_node *lost)
{
    uint32_t count;
    uint64_t removed;
    unsigned calls = lost->calls;

    for (unsigned i = 0; i < KEYS; i++) {
        enum err expected = owner(numbered(i)) == lost ? ERR_UNAVAILABLE : ERR_OK;
        assert_err(head(numbered(i)), expected);
        assert_err(put(numbered(i)), expected);
    }
    assert_err(list(&count), ERR_UNAVAILABLE);
    assert_err(list_uploads(), ERR_UNAVAILABLE);
    assert_err(purge(true, &removed), ERR_UNAVAILABLE);
    assert_int_equal(lost->calls, calls);
    for (unsigned i = 0; i < KEYS; i++)
        if (owner(numbered(i)) != lost)
            assert_err(put(numbered(i)), ERR_OK); /* not sealed */
}

static void keys_of_a_silent_node_are_unavailable(void **state)
{
    struct cluster_node *lost = &cluster.nodes[2];
    uint32_t count;

    (void)state;
    put_all();
    lost->alive = false;
    expect_only_its_keys_fail(lost);
    lost->alive = true;
    assert_err(list(&count), ERR_OK);
    assert_int_equal(count, KEYS);
}

static void keys_of_a_node_in_maintenance_are_unavailable(void **state)
{
    struct cluster_node *lost = &cluster.nodes[1];
    uint32_t count;

    (void)state;
    put_all();
    lost->state = NODE_MAINTENANCE;
    cluster_remap();
    expect_only_its_keys_fail(lost);
    lost->state = NODE_ACTIVE;
    cluster_remap();
    assert_err(list(&count), ERR_OK);
    assert_int_equal(count, KEYS);
}

static void failing_node_fails_listings(void **state)
{
    static const enum err errors[] = {ERR_UNAVAILABLE, ERR_IO, ERR_STALE_EPOCH};
    uint32_t count;

    (void)state;
    put_all();
    for (int i = 0; i < 3; i++) {
        cluster.nodes[4].fail = errors[i];
        assert_err(list(&count), errors[i]);
        assert_err(list_uploads(), errors[i]);
    }
    cluster.nodes[4].fail = ERR_OK;
    assert_err(list(&count), ERR_OK);
}

static void no_nodes_is_unavailable(void **state)
{
    uint32_t count;
    uint64_t removed;

    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        cluster.nodes[i].weight = 0;
    cluster_remap();
    assert_err(put(STR("key")), ERR_UNAVAILABLE);
    assert_err(list(&count), ERR_UNAVAILABLE);
    assert_err(purge(true, &removed), ERR_UNAVAILABLE);
}

/* ---- maps that change ---- */

static unsigned changes;

static void take_from_the_map(struct cluster_node *n)
{
    if (changes == 0)
        return;
    changes--;
    n->weight = 0;
    n->stale = 1;
    cluster_remap();
}

static void stale_calls_are_placed_anew(void **state)
{
    struct cluster_node *before = owner(STR("key"));
    uint32_t count;

    (void)state;
    cluster.on_call = take_from_the_map;
    changes = 1;
    kit_put(&kit, STR("key"), STR("x"));
    assert_ptr_not_equal(owner(STR("key")), before);
    assert_null(membucket_find(cluster_bucket(before, kit.bucket), STR("key")));
    assert_non_null(membucket_find(cluster_bucket(owner(STR("key")), kit.bucket), STR("key")));
    changes = 1;
    assert_err(list(&count), ERR_OK);
    changes = NODES - 3; /* all but one are gone then */
    assert_err(put(STR("key")), ERR_OK);
}

static void stale_forever_ends(void **state)
{
    struct cluster_node *n = owner(STR("key"));
    uint32_t count;
    uint64_t removed;

    (void)state;
    n->stale = 100;
    assert_err(put(STR("key")), ERR_STALE_EPOCH);
    assert_err(list(&count), ERR_STALE_EPOCH);
    assert_err(list_uploads(), ERR_STALE_EPOCH);
    assert_err(purge(false, &removed), ERR_STALE_EPOCH);
    assert_true(n->stale > 80);
    n->stale = 0;
    put_all();
}

/* Content goes through the shard when one end has moved away meanwhile. */
static void stale_copy_is_placed_anew_at_both_ends(void **state)
{
    struct obj_copy_req req = {.arena = &kit.arena,
                               .src_bucket = kit.bucket,
                               .src_cond = COND_INIT,
                               .bucket = kit.bucket,
                               .cond = COND_INIT,
                               .size_max = PUT_SIZE_MAX};
    struct obj_copy_res res = {0};

    (void)state;
    put_all();
    for (unsigned i = 0; i < KEYS; i++) {
        struct cluster_node *n = owner(numbered(i));
        if (i % 2 || n == &cluster.nodes[4] || owner(numbered(i + 1)) != n)
            continue;
        req.src_key = numbered(i);
        req.key = numbered(i + 1);
        n->stale = 1;
        assert_err(KIT_CALL(&kit, obj_copy, &req, &res), ERR_OK);
        kit_expect(&kit, req.key, STR("x"));
    }
}

static void stores_of_nodes_that_left_are_closed(void **state)
{
    struct kit_source *body = kit_source(&kit, STR("content"));
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(&kit, STR("key"), &body->source, &check);
    struct obj_put_res res;
    struct kit_call c = {0};
    struct cluster_node *n = owner(STR("key"));

    (void)state;
    put_all();
    body->stop_at = 3;
    store_obj_put(kit.store, &req, &res, kit_begin(&kit, &c));
    kit_turns(&kit, 5);
    n->weight = 0;
    cluster_remap();
    for (unsigned i = 0; i < KEYS; i++)
        assert_err(put(numbered(i)), ERR_OK);
    assert_int_equal(n->handles, 1); /* still used */
    kit_source_go_on(body);
    assert_err(kit_wait(&kit, &c), ERR_OK);
    assert_int_equal(n->handles, 0);
    n->weight = 100;
    cluster_remap();
    kit_expect(&kit, STR("key"), STR("content"));
    assert_int_equal(n->handles, 1);
}

/* ---- purges ---- */

static struct upload begin_upload_at(struct cluster_node *n)
{
    unsigned i = 0;

    while (owner(numbered(i)) != n)
        i++;
    struct upload u = upload_begin(&kit, numbered(i), HASH_NONE, CHECKSUM_NONE);
    upload_add(&u, 1, STR("part"));
    return u;
}

static void expect_unsealed(void)
{
    for (unsigned i = 0; i < NODES; i++)
        assert_false(cluster_bucket(&cluster.nodes[i], kit.bucket)->sealed);
}

static void refused_purge_changes_nothing(void **state)
{
    struct upload uploads[NODES];
    uint64_t removed;

    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        uploads[i] = begin_upload_at(&cluster.nodes[i]);
    kit_put(&kit, STR("key"), STR("x"));
    assert_err(purge(false, &removed), ERR_BUCKET_NOT_EMPTY);
    expect_unsealed();
    for (unsigned i = 0; i < NODES; i++)
        upload_complete(&uploads[i]);
    assert_err(purge(true, &removed), ERR_OK);
    assert_int_equal(removed, NODES + 1);
}

static struct str key_not_at(struct cluster_node *n)
{
    unsigned i = 0;

    while (owner(numbered(i)) == n)
        i++;
    return numbered(i);
}

static void purge_that_fails_anywhere_is_undone(void **state)
{
    uint64_t removed;
    int failures = 0;

    (void)state;
    for (unsigned i = 0; i < NODES; i++)
        for (int after = 0; after < 2; after++)
            for (int not_empty = 0; not_empty < 2; not_empty++) {
                struct cluster_node *n = &cluster.nodes[i];
                n->fail = ERR_UNAVAILABLE;
                n->fail_after = after;
                n->fail_times = 1;
                if (not_empty) { /* known, whatever the failing one holds */
                    struct str key = key_not_at(n);
                    assert_err(put(key), ERR_OK);
                    assert_err(purge(false, &removed), ERR_BUCKET_NOT_EMPTY);
                    assert_err(kit_delete(&kit, key), ERR_OK);
                } else {
                    assert_err(purge(false, &removed), ERR_UNAVAILABLE);
                }
                assert_err(n->fail, ERR_OK);
                expect_unsealed();
                failures++;
            }
    assert_int_equal(failures, NODES * 4);
}

static void cancelled_purge_is_undone(void **state)
{
    unsigned cancelled = 0;

    (void)state;
    for (unsigned turns = 0; turns < 60; turns++) {
        struct bucket_purge_req req = {.arena = &kit.arena, .bucket = kit.bucket, .objects = turns % 2};
        struct bucket_purge_res res = {0};
        struct kit_call c = {0};

        for (unsigned i = 0; i < NODES; i++)
            cluster.nodes[i].turns = 6;
        begin_upload_at(&cluster.nodes[turns % NODES]);
        store_bucket_purge(kit.store, &req, &res, kit_begin(&kit, &c));
        for (unsigned i = 0; i < turns / 2 && !c.done; i++)
            loop_turn(loop, 0);
        call_cancel(&c.call);
        if (kit_wait(&kit, &c) == ERR_OK) {
            req.unseal = true;
            assert_err(KIT_CALL(&kit, bucket_purge, &req, &res), ERR_OK);
        } else {
            assert_err(c.call.err, ERR_CANCELLED);
            cancelled++;
        }
        expect_unsealed();
    }
    assert_true(cancelled > 5);
}

/* ---- giving up ---- */

static void cancelled_listings_end(void **state)
{
    (void)state;
    put_all();
    cluster_move_begin();
    cluster.nodes[0].weight = 300;
    cluster_remap();
    for (unsigned i = 0; i < NODES; i++)
        cluster.nodes[i].turns = 4;
    for (unsigned turns = 0; turns < 40; turns++) {
        struct obj_list_req req = {.arena = &kit.arena, .bucket = kit.bucket, .max = 30};
        struct obj_list_res res = {0};
        struct kit_call c = {0};
        store_obj_list(kit.store, &req, &res, kit_begin(&kit, &c));
        for (unsigned i = 0; i < turns / 2 && !c.done; i++)
            loop_turn(loop, 0);
        call_cancel(&c.call);
        if (kit_wait(&kit, &c) != ERR_OK)
            assert_err(c.call.err, ERR_CANCELLED);
        else
            assert_int_equal(res.count, 30);
    }
}

static void cancelled_key_calls_end(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        struct kit_source *body = kit_source(&kit, kit_bytes(&kit, 200000, 1));
        struct body_check check = {0};
        struct obj_put_req req = kit_put_req(&kit, STR("key"), &body->source, &check);
        struct obj_put_res res;
        struct kit_call c = {0};

        owner(STR("key"))->turns = 3;
        body->stop_at = 100000;
        store_obj_put(kit.store, &req, &res, kit_begin(&kit, &c));
        for (unsigned i = 0; i < turns; i++)
            loop_turn(loop, 0);
        call_cancel(&c.call);
        assert_err(kit_wait(&kit, &c), ERR_CANCELLED);
    }
    kit_expect_absent(&kit, STR("key"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(keys_of_a_silent_node_are_unavailable),
        TEST(keys_of_a_node_in_maintenance_are_unavailable),
        TEST(failing_node_fails_listings),
        TEST(no_nodes_is_unavailable),
        TEST(stale_calls_are_placed_anew),
        TEST(stale_forever_ends),
        TEST(stale_copy_is_placed_anew_at_both_ends),
        TEST(stores_of_nodes_that_left_are_closed),
        TEST(refused_purge_changes_nothing),
        TEST(purge_that_fails_anywhere_is_undone),
        TEST(cancelled_purge_is_undone),
        TEST(cancelled_listings_end),
        TEST(cancelled_key_calls_end),
    };

    hash_setup();
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
