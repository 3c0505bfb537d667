#include "unit.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_are_asked_for_what_they_have, setup, teardown),
        cmocka_unit_test_setup_teardown(members_are_told_the_epoch_of_each_request, setup, teardown),
    };

    hash_setup();
    env.loop = kit.loop = loop_new();
    kit.env = &env;
    loop_adopt(kit.loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(kit.loop);
    return failed;
}
