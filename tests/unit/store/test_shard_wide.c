#include "upload_kit.h"

#include "cluster_kit.h"

/* Buckets with copies on several nodes: who is asked, and what a listing can do without. The nodes are plain stores: what their leads would
 * do, the tests do. */

static struct loop *loop;
static struct kit kit;

enum { NODES = 5, KEYS = 60 };

static int setup(void **state)
{
    static uint64_t uid = 100;

    (void)state;
    cluster_open(loop, NODES, NODES);
    kit = (struct kit){
        .loop = loop, .store = cluster_shard(), .bucket = {++uid, STR("bucket"), {REDUNDANCY_REPLICAS, 3, 0}}};
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

static void put_at(struct cluster_node *n, struct str key, struct str content)
{
    struct store *shard = kit.store;

    kit.store = n->memory;
    kit_put(&kit, key, content);
    kit.store = shard;
}

/* At all members that are in sync, as an acknowledged write is. */
static void put_wide(struct str key, struct str content)
{
    struct cluster_node *members[CLUSTER_MAX];
    size_t n = cluster_members(kit.bucket, key, members);

    for (size_t i = 0; i < n; i++)
        if (members[i]->sync == SYNC_IN)
            put_at(members[i], key, content);
}

static void put_all(void)
{
    for (unsigned i = 0; i < KEYS; i++)
        put_wide(numbered(i), STR("x"));
}

static void out(unsigned node, uint64_t since)
{
    cluster.nodes[node].sync = SYNC_OUT;
    cluster.nodes[node].out_since = since;
}

static enum err head(struct str key)
{
    struct obj_head_req req = kit_get_req(&kit, key).head;
    struct obj_head_res res = {0};

    return KIT_CALL(&kit, obj_head, &req, &res);
}

static enum err list(uint32_t max, struct obj_list_res *res)
{
    struct obj_list_req req = {.arena = &kit.arena, .bucket = kit.bucket, .max = max};

    *res = (struct obj_list_res){0};
    return KIT_CALL(&kit, obj_list, &req, res);
}

static enum err list_uploads(uint32_t *count)
{
    struct upload_list_req req = {.arena = &kit.arena, .bucket = kit.bucket, .max = LIST_MAX};
    struct upload_list_res res = {0};
    enum err e = KIT_CALL(&kit, upload_list, &req, &res);

    *count = res.count;
    return e;
}

static void expect_all(void)
{
    struct obj_list_res res;

    assert_err(list(LIST_MAX, &res), ERR_OK);
    assert_int_equal(res.count, KEYS);
    assert_false(res.truncated);
    for (unsigned i = 0; i < KEYS; i++)
        assert_true(str_eq(res.entries[i].key, numbered(i)));
}

static void expect_unavailable(void)
{
    struct obj_list_res res;

    assert_err(list(LIST_MAX, &res), ERR_UNAVAILABLE);
}

/* ---- keys ---- */

static void the_lead_is_asked(void **state)
{
    struct cluster_node *members[CLUSTER_MAX];
    struct str key = STR("key");

    (void)state;
    assert_int_equal(cluster_members(kit.bucket, key, members), 3);
    kit_put(&kit, key, STR("1"));
    assert_int_equal(members[0]->calls, 1);
    members[0]->sync = SYNC_CATCHING;
    members[0]->out_since = 2;
    cluster_remap();
    kit_put(&kit, key, STR("2"));
    assert_int_equal(members[1]->calls, 1);
    members[1]->alive = false; /* and nobody has seen that it is out */
    assert_err(head(key), ERR_UNAVAILABLE);
    assert_true(members[2]->calls == 0 && members[0]->calls == 1);
    members[1]->sync = SYNC_OUT;
    members[1]->out_since = 3;
    cluster_remap();
    assert_err(head(key), ERR_NO_SUCH_KEY);
    assert_int_equal(members[2]->calls, 1);
}

static void when_nobody_is_in_sync_the_last_one_leads(void **state)
{
    struct cluster_node *members[CLUSTER_MAX];
    struct str key = STR("key");

    (void)state;
    cluster_members(kit.bucket, key, members);
    for (unsigned i = 0; i < NODES; i++)
        out(i, 10);
    members[2]->out_since = 20;
    cluster_remap();
    kit_put(&kit, key, STR("x"));
    assert_int_equal(members[2]->calls, 1);
    members[2]->alive = false;
    assert_err(head(key), ERR_UNAVAILABLE);
    assert_true(members[0]->calls == 0 && members[1]->calls == 0);
}

/* The lead is put out while it is asked. */
static void goes_out(struct cluster_node *n)
{
    cluster.on_call = NULL;
    n->sync = SYNC_OUT;
    n->out_since = 9;
    n->fail = ERR_UNAVAILABLE;
    cluster_remap();
}

static void reads_go_on_at_the_next_lead(void **state)
{
    struct cluster_node *members[CLUSTER_MAX];
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(&kit, STR("key"), NULL, &check);
    struct obj_put_res res;

    (void)state;
    cluster_members(kit.bucket, STR("key"), members);
    put_wide(STR("key"), STR("x"));
    cluster.on_call = goes_out;
    assert_err(head(STR("key")), ERR_OK);
    assert_true(members[0]->calls == 1 && members[1]->calls == 1);
    cluster.on_call = goes_out; /* whether a write took effect is not known */
    assert_err(KIT_CALL(&kit, obj_put, &req, &res), ERR_UNAVAILABLE);
    assert_int_equal(members[2]->calls, 0);
}

static enum err copy(struct bucket_id from, struct str src, struct str key)
{
    struct obj_copy_req req = {.arena = &kit.arena,
                               .src_bucket = from,
                               .src_key = src,
                               .src_cond = COND_INIT,
                               .bucket = kit.bucket,
                               .key = key,
                               .cond = COND_INIT,
                               .size_max = UINT64_MAX};
    struct obj_copy_res res;

    return KIT_CALL(&kit, obj_copy, &req, &res);
}

static void copies_are_made_at_a_common_lead_only(void **state)
{
    struct cluster_node *from[CLUSTER_MAX], *to[CLUSTER_MAX];
    struct bucket_id single = {kit.bucket.uid, kit.bucket.name, {REDUNDANCY_NONE}};
    unsigned together = 0, apart = 0;

    (void)state;
    put_wide(STR("src"), STR("content"));
    cluster_members(kit.bucket, STR("src"), from);
    for (unsigned i = 0; i < KEYS; i++) {
        cluster_members(kit.bucket, numbered(i), to);
        unsigned calls = to[0]->calls, asked = from[0]->calls;
        assert_err(copy(kit.bucket, STR("src"), numbered(i)), ERR_OK);
        bool same = from[0] == to[0];
        assert_int_equal(to[0]->calls, calls + 1);
        assert_int_equal(from[0]->calls, asked + 1);
        together += same;
        apart += !same;
        kit_expect(&kit, numbered(i), STR("content"));
        if (!same)
            continue;
        calls = to[0]->calls; /* what becomes something else is read and written */
        put_at(cluster_owner(single, STR("src")), STR("src"), STR("content"));
        assert_err(copy(single, STR("src"), numbered(i)), ERR_OK);
        assert_int_equal(to[0]->calls, calls + 2);
    }
    assert_true(together && apart);
}

/* ---- listings ---- */

static void copies_are_listed_once(void **state)
{
    struct obj_list_res res;

    (void)state;
    put_all();
    expect_all();
    for (uint32_t max = 1; max < 20; max += 6) {
        assert_err(list(max, &res), ERR_OK);
        assert_true(res.count == max && res.truncated);
    }
}

static void the_newest_copy_is_listed(void **state)
{
    struct cluster_node *members[CLUSTER_MAX];
    struct obj_list_res res;

    (void)state;
    for (unsigned i = 0; i < 3; i++) { /* whoever has it */
        struct str key = numbered(i);
        cluster_members(kit.bucket, key, members);
        for (unsigned k = 0; k < 3; k++)
            put_at(members[(k + i) % 3], key, str_n("long content", 3 + k * 3));
    }
    assert_err(list(LIST_MAX, &res), ERR_OK);
    assert_int_equal(res.count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(res.entries[i].size, 9);
}

static void listings_do_without_spare_nodes(void **state)
{
    (void)state;
    put_all();
    cluster.nodes[0].alive = false;
    expect_all();
    cluster.nodes[3].state = NODE_MAINTENANCE;
    cluster_remap();
    expect_all();
    cluster.nodes[4].alive = false;
    expect_unavailable();
    cluster.nodes[0].alive = true;
    expect_all();
    cluster.nodes[1].sync = SYNC_CATCHING; /* answers no reads */
    cluster_remap();
    expect_unavailable();
}

static void nodes_that_catch_up_are_not_asked(void **state)
{
    (void)state;
    put_all();
    put_at(&cluster.nodes[2], STR("deleted meanwhile"), STR("x"));
    cluster.nodes[2].sync = SYNC_CATCHING;
    cluster.nodes[2].out_since = 4;
    cluster_remap();
    expect_all();
    assert_int_equal(cluster.nodes[2].calls, 0);
}

/* The lease is still held, but it does not answer. */
static void silent_nodes_are_done_without(void **state)
{
    (void)state;
    put_all();
    cluster.nodes[1].fail = ERR_UNAVAILABLE;
    expect_all();
    cluster.nodes[4].fail = ERR_UNAVAILABLE;
    expect_all();
    cluster.nodes[2].fail = ERR_UNAVAILABLE;
    expect_unavailable();
    cluster.nodes[2].fail = ERR_IO; /* that is no silence */
    struct obj_list_res res;
    assert_err(list(LIST_MAX, &res), ERR_IO);
}

/* Nodes that went out have objects which were deleted since by those who know better. */
static unsigned leave_deleted(struct str key)
{
    struct cluster_node *members[CLUSTER_MAX];
    uint64_t last = 0;
    unsigned left = 0;

    cluster_members(kit.bucket, key, members);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t since = members[i]->sync == SYNC_IN ? UINT64_MAX : members[i]->out_since;
        last = since > last ? since : last;
    }
    for (unsigned i = 0; i < 3; i++)
        if (members[i]->sync != SYNC_IN && members[i]->out_since != last) {
            put_at(members[i], key, STR("x"));
            left++;
        }
    return left;
}

static void who_went_out_last_is_asked_when_too_few_are_in_sync(void **state)
{
    unsigned left = 0;

    (void)state;
    put_all();
    out(0, 5);
    out(1, 6);
    out(2, 7);
    cluster_remap();
    for (unsigned i = 0; i < 40; i++)
        left += leave_deleted(arena_printf(&kit.arena, "deleted-%u", i));
    assert_true(left > 20);
    expect_all();
    cluster.nodes[2].alive = false; /* what only it knows can't be told */
    expect_unavailable();
    cluster.nodes[2].alive = true;
    cluster.nodes[0].alive = false; /* it knows nothing that the others do not */
    cluster.nodes[1].alive = false;
    expect_all();
}

static void a_cluster_too_small_needs_one_of_all(void **state)
{
    struct obj_list_res res;

    (void)state;
    for (unsigned i = 2; i < NODES; i++)
        cluster.nodes[i].weight = 0;
    cluster_remap();
    put_at(&cluster.nodes[0], STR("key"), STR("x"));
    cluster.nodes[1].alive = false;
    assert_err(list(LIST_MAX, &res), ERR_OK);
    assert_int_equal(res.count, 1);
    cluster.nodes[0].alive = false;
    expect_unavailable();
}

static void listings_are_whole_while_copies_move(void **state)
{
    (void)state;
    for (unsigned i = 3; i < NODES; i++)
        cluster.nodes[i].weight = 0;
    cluster_remap();
    put_all();
    cluster_move_begin();
    cluster.nodes[3].weight = cluster.nodes[4].weight = 100;
    cluster_remap();
    expect_all();
    cluster.nodes[4].alive = false;
    cluster.nodes[1].alive = false;
    expect_all();
    cluster.nodes[0].alive = false; /* two of both placements may be missing, three may not */
    expect_unavailable();
}

/* ---- uploads ---- */

static void uploads_of_whom_can_be_reached_are_listed(void **state)
{
    uint32_t count;

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        upload_begin(&kit, numbered(i), HASH_NONE, CHECKSUM_NONE);
    assert_err(list_uploads(&count), ERR_OK);
    assert_int_equal(count, 20);
    cluster.nodes[0].sync = SYNC_CATCHING; /* what was begun there is there */
    cluster_remap();
    assert_err(list_uploads(&count), ERR_OK);
    assert_int_equal(count, 20);
    cluster.nodes[0].alive = cluster.nodes[1].alive = false;
    assert_err(list_uploads(&count), ERR_OK);
    assert_true(count < 20);
    cluster.nodes[2].alive = false;
    assert_err(list_uploads(&count), ERR_UNAVAILABLE);
}

static enum err purge(void)
{
    struct bucket_purge_req req = {.arena = &kit.arena, .bucket = kit.bucket};
    struct bucket_purge_res res;

    return KIT_CALL(&kit, bucket_purge, &req, &res);
}

static void a_purge_needs_every_node(void **state)
{
    (void)state;
    out(1, 3);
    cluster.nodes[1].alive = false;
    cluster_remap();
    assert_err(purge(), ERR_UNAVAILABLE);
    put_wide(STR("key"), STR("x")); /* and nothing stays sealed */
    cluster.nodes[1].alive = true;
    assert_err(purge(), ERR_BUCKET_NOT_EMPTY);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_lead_is_asked),
        TEST(when_nobody_is_in_sync_the_last_one_leads),
        TEST(reads_go_on_at_the_next_lead),
        TEST(copies_are_made_at_a_common_lead_only),
        TEST(copies_are_listed_once),
        TEST(the_newest_copy_is_listed),
        TEST(listings_do_without_spare_nodes),
        TEST(nodes_that_catch_up_are_not_asked),
        TEST(silent_nodes_are_done_without),
        TEST(who_went_out_last_is_asked_when_too_few_are_in_sync),
        TEST(a_cluster_too_small_needs_one_of_all),
        TEST(listings_are_whole_while_copies_move),
        TEST(uploads_of_whom_can_be_reached_are_listed),
        TEST(a_purge_needs_every_node),
    };

    hash_setup();
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
