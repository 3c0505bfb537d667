#include "unit.h"

#include "base/clock.h"
#include "base/mem.h"
#include "kit.h"
#include "rpc_fixture.h"
#include "store/memstore.h"

/* A target that answers for the cluster from one store, and for itself from another. */
static struct rpc_fixture f;
static struct store *all, *own;
static struct contract_env env;
static struct kit kit;

static int setup(void **state)
{
    (void)state;
    all = memstore_new(kit.loop);
    own = memstore_new(kit.loop);
    rpc_fixture_open_member(&f, kit.loop, all, own);
    kit.store = f.remote;
    kit.bucket = (struct bucket_id){7, STR("bucket"), {REDUNDANCY_REPLICAS, 3, 0}};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rpc_fixture_close(&f);
    store_close(all);
    store_close(own);
    arena_release(&kit.arena);
    return 0;
}

static void members_are_asked_for_what_they_have(void **state)
{
    (void)state;
    kit_put(&kit, STR("key"), STR("of the cluster"));
    assert_int_equal(f.member_epoch, 0);
    kit.store = f.member;
    kit_expect_absent(&kit, STR("key"));
    assert_int_equal(f.member_epoch, 5);
    kit_put(&kit, STR("key"), STR("of the node"));
    kit_expect(&kit, STR("key"), STR("of the node"));
    kit.store = f.remote;
    kit_expect(&kit, STR("key"), STR("of the cluster"));
}

static void members_are_told_the_epoch_of_each_request(void **state)
{
    (void)state;
    kit.store = f.member;
    f.target.epoch = f.gateway.coming = 9;
    kit_expect_absent(&kit, STR("key")); /* refused first, then repeated */
    assert_int_equal(f.member_epoch, 9);
    assert_int_equal(f.gateway.waits, 1);
}

/* ---- a node that stands still ---- */

/* Never answers, or stops within a body. */
struct stuck {
    struct store store;
    struct call *call;
    struct source body;
    uint64_t given;
};
static struct stuck stuck;

static void stuck_cancel(void *arg)
{
    struct call *c = arg;

    call_finish(c, ERR_CANCELLED);
}

static void stuck_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *c)
{
    (void)s, (void)req, (void)res;
    call_on_cancel(c, stuck_cancel, c);
}

static void stuck_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct stuck *k = CONTAINER(s, struct stuck, body);

    if (k->given) {
        *n = 0;
        call_on_cancel(c, stuck_cancel, c);
        return;
    }
    k->given = *n = len < 1000 ? len : 1000;
    memset(buf, 'x', *n);
    call_finish(c, ERR_OK);
}

static void stuck_close(struct source *s)
{
    (void)s;
}

static void stuck_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    static const struct source_ops ops = {.read = stuck_read, .close = stuck_close};
    struct stuck *k = CONTAINER(s, struct stuck, store);

    (void)req;
    k->given = 0;
    k->body = (struct source){.ops = &ops, .size = 100000};
    *res = (struct obj_get_res){.head.info.size = 100000, .head.len = 100000, .body = &k->body};
    call_finish(c, ERR_OK);
}

static void stuck_store_close(struct store *s)
{
    (void)s;
}

static int setup_stuck(void **state)
{
    static const struct store_ops ops = {
        .name = "stuck", .obj_head = stuck_head, .obj_get = stuck_get, .close = stuck_store_close};

    (void)state;
    stuck = (struct stuck){.store = {.ops = &ops, .loop = kit.loop}};
    rpc_fixture_open(&f, kit.loop, &stuck.store);
    kit.store = f.remote;
    kit.bucket = (struct bucket_id){7, STR("bucket")};
    return 0;
}

static int teardown_stuck(void **state)
{
    (void)state;
    rpc_fixture_close(&f);
    arena_release(&kit.arena);
    return 0;
}

static void turns_for(unsigned ms)
{
    uint64_t until = clock_mono_ns() + ms * UINT64_C(1000000);

    while (clock_mono_ns() < until)
        loop_turn(kit.loop, 20);
}

/* Time that a call takes from now on. */
static unsigned ms_until_done(struct kit_call *c)
{
    uint64_t begin = clock_mono_ns();

    while (!c->done)
        loop_turn(kit.loop, 20);
    return (unsigned)((clock_mono_ns() - begin) / 1000000);
}

static void who_is_alive_is_waited_for_and_no_longer(void **state)
{
    struct obj_head_req req = kit_get_req(&kit, STR("key")).head;
    struct obj_head_res res;
    struct kit_call c = {0};

    (void)state;
    store_obj_head(kit.store, &req, &res, kit_begin(&kit, &c));
    turns_for(2600);
    assert_false(c.done);
    f.gateway.away = true; /* its lease has ended, and it has not moved for two seconds */
    assert_true(ms_until_done(&c) < 1500);
    assert_int_equal(kit_wait(&kit, &c), ERR_UNAVAILABLE);
}

static void a_node_that_leaves_may_finish(void **state)
{
    struct obj_head_req req = kit_get_req(&kit, STR("key")).head;
    struct obj_head_res res;
    struct kit_call c = {0};

    (void)state;
    store_obj_head(kit.store, &req, &res, kit_begin(&kit, &c));
    turns_for(100);
    f.gateway.left = true;
    turns_for(1000);
    assert_false(c.done);
    assert_true(ms_until_done(&c) < 3000);
    assert_int_equal(kit_wait(&kit, &c), ERR_UNAVAILABLE);
}

static void a_body_that_stands_still_breaks(void **state)
{
    struct obj_get_req req = kit_get_req(&kit, STR("key"));
    struct obj_get_res res = {0};
    char *buf = arena_alloc(&kit.arena, 100000);
    size_t n = 0;
    struct source_fill fill;
    struct kit_call c = {0};

    (void)state;
    assert_int_equal(KIT_CALL(&kit, obj_get, &req, &res), ERR_OK);
    turns_for(2600); /* nobody reads: that is no silence of the node */
    f.gateway.away = true;
    turns_for(600);
    source_fill(&fill, res.body, buf, 100000, &n, kit_begin(&kit, &c));
    assert_true(ms_until_done(&c) < 4000);
    assert_int_equal(kit_wait(&kit, &c), ERR_UNAVAILABLE);
    source_close(res.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_are_asked_for_what_they_have, setup, teardown),
        cmocka_unit_test_setup_teardown(members_are_told_the_epoch_of_each_request, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_alive_is_waited_for_and_no_longer, setup_stuck, teardown_stuck),
        cmocka_unit_test_setup_teardown(a_node_that_leaves_may_finish, setup_stuck, teardown_stuck),
        cmocka_unit_test_setup_teardown(a_body_that_stands_still_breaks, setup_stuck, teardown_stuck),
    };

    hash_setup();
    env.loop = kit.loop = loop_new();
    kit.env = &env;
    loop_adopt(kit.loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(kit.loop);
    return failed;
}
