#include "unit.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "store/store.h"

/* A store whose only method waits until it is told, or cancelled. */
struct slow {
    struct store store;
    struct call *waiting;
};

static void slow_cancel(void *arg)
{
    call_finish(((struct slow *)arg)->waiting, ERR_CANCELLED);
}

static void slow_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *c)
{
    struct slow *f = CONTAINER(s, struct slow, store);

    (void)req;
    (void)res;
    f->waiting = c;
    call_on_cancel(c, slow_cancel, f);
}

static const struct store_ops slow_ops = {.name = "slow", .obj_head = slow_head};
static struct loop *loop;
static struct arena arena;
static bool is_done;

static void done(struct call *c)
{
    (void)c;
    is_done = true;
}

static enum err wait_for(struct call *c)
{
    assert_false(is_done);
    while (!is_done)
        loop_turn(loop, 1000);
    is_done = false;
    return c->err;
}

static void empty_slot_is_not_implemented(void **state)
{
    struct slow f = {{&slow_ops, loop}};
    struct obj_delete_req req = {.arena = &arena, .key = STR("key")};
    struct obj_delete_res res;
    struct call c = {0};

    (void)state;
    call_begin(&c, loop, done);
    store_obj_delete(&f.store, &req, &res, &c);
    assert_int_equal(wait_for(&c), ERR_NOT_IMPLEMENTED);
}

static void arguments_are_checked_before_the_store(void **state)
{
    static const char key[STORE_KEY_MAX + 1];
    struct slow f = {{&slow_ops, loop}};
    struct obj_head_req req = {.arena = &arena, .key = {key, STORE_KEY_MAX + 1}};
    struct obj_head_res res;
    struct call c = {0};

    (void)state;
    call_begin(&c, loop, done);
    store_obj_head(&f.store, &req, &res, &c);
    assert_int_equal(wait_for(&c), ERR_KEY_TOO_LONG);
    req.key.n = 0;
    call_begin(&c, loop, done);
    store_obj_head(&f.store, &req, &res, &c);
    assert_int_equal(wait_for(&c), ERR_INVALID_ARGUMENT);
    req.key.n = 1;
    req.part_number = PARTS_MAX + 1;
    call_begin(&c, loop, done);
    store_obj_head(&f.store, &req, &res, &c);
    assert_int_equal(wait_for(&c), ERR_INVALID_ARGUMENT);
    assert_null(f.waiting);
}

static void cancel_reaches_the_store(void **state)
{
    struct slow f = {{&slow_ops, loop}};
    struct obj_head_req req = {.arena = &arena, .key = STR("key")};
    struct obj_head_res res;
    struct call c = {0};

    (void)state;
    call_begin(&c, loop, done);
    store_obj_head(&f.store, &req, &res, &c);
    assert_non_null(f.waiting);
    call_cancel(&c);
    assert_int_equal(wait_for(&c), ERR_CANCELLED);
}

static void methods_are_counted_by_store_and_outcome(void **state)
{
    struct slow f = {{&slow_ops, loop}};
    struct obj_head_req req = {.arena = &arena, .key = STR("key")};
    struct obj_head_res res;
    struct call c = {0};
    struct buf text = BUF_INIT(1 << 20);
    static const enum err outcomes[] = {ERR_OK, ERR_NO_SUCH_KEY, ERR_IO};

    (void)state;
    for (int i = 0; i < 3; i++) {
        call_begin(&c, loop, done);
        store_obj_head(&f.store, &req, &res, &c);
        call_finish(f.waiting, outcomes[i]);
        assert_int_equal(wait_for(&c), outcomes[i]);
    }
    metrics_print(&text);
    buf_add_char(&text, 0);
    assert_non_null(strstr(text.p, "sluice_store_failures_total{store=\"slow\",method=\"obj_head\"} 1\n"));
    assert_non_null(strstr(text.p, "sluice_store_seconds_count{store=\"slow\",method=\"obj_head\"} "));
    buf_release(&text);
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(empty_slot_is_not_implemented, teardown),
        cmocka_unit_test_teardown(arguments_are_checked_before_the_store, teardown),
        cmocka_unit_test_teardown(cancel_reaches_the_store, teardown),
        cmocka_unit_test_teardown(methods_are_counted_by_store_and_outcome, teardown),
    };

    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
