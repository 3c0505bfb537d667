#include "unit.h"

#include "base/offload.h"
#include "base/op.h"

struct sum_op {
    struct op op;
    struct offload *pool;
    struct offload_task task;
    struct timer timer;
    int steps, result, fail_at;
    enum err outcome;
    bool ended;
};

static step_fn sum_first, sum_second, sum_end;

static enum err add_forty(struct offload_task *t)
{
    CONTAINER(t, struct sum_op, task)->result += 40;
    return ERR_OK;
}

static enum step_next sum_first(struct op *op)
{
    struct sum_op *s = OP(op, struct sum_op);

    s->steps++;
    offload_run(s->pool, &s->task, add_forty, op_call(op, sum_second));
    return STEP_WAIT;
}

static enum step_next sum_second(struct op *op)
{
    struct sum_op *s = OP(op, struct sum_op);

    s->steps++;
    if (s->fail_at == 2)
        return op_fail(op, ERR_IO);
    s->result += 2;
    return op_go(op, sum_end);
}

static enum step_next sum_end(struct op *op)
{
    struct sum_op *s = OP(op, struct sum_op);

    s->outcome = op->err;
    s->ended = true;
    return STEP_DONE;
}

static void run_sum(struct sum_op *s, bool cancel)
{
    struct loop *loop = loop_new();

    loop_adopt(loop);
    s->pool = offload_new("test", 2, 8);
    op_start(&s->op, loop, "sum", sum_first, sum_end);
    if (cancel)
        op_cancel(&s->op, ERR_CLIENT_GONE);
    while (!s->ended)
        loop_turn(loop, 1000);
    offload_free(s->pool);
    loop_free(loop);
}

static void steps_run_in_order(void **state)
{
    struct sum_op s = {0};

    (void)state;
    run_sum(&s, false);
    assert_int_equal(s.result, 42);
    assert_int_equal(s.outcome, ERR_OK);
}

static void failure_jumps_to_the_last_step(void **state)
{
    struct sum_op s = {.fail_at = 2};

    (void)state;
    run_sum(&s, false);
    assert_int_equal(s.result, 40);
    assert_int_equal(s.outcome, ERR_IO);
}

static void cancel_ends_in_the_last_step(void **state)
{
    struct sum_op s = {0};

    (void)state;
    run_sum(&s, true);
    assert_int_equal(s.steps, 1);
    assert_int_equal(s.outcome, ERR_CLIENT_GONE);
}

static int fired[3], fired_n;
static void on_a(struct timer *t)
{
    (void)t;
    fired[fired_n++] = 1;
}
static void on_b(struct timer *t)
{
    (void)t;
    fired[fired_n++] = 2;
}

static void timers_fire_by_deadline_and_move(void **state)
{
    struct loop *loop = loop_new();
    struct timer a = {.fn = on_a}, b = {.fn = on_b}, c = {.fn = on_b};

    (void)state;
    loop_adopt(loop);
    timer_set(loop, &a, 5);
    timer_set(loop, &b, 10);
    timer_set(loop, &c, 1);
    timer_cancel(loop, &c);
    timer_set(loop, &a, 30); /* later than b now */
    while (fired_n < 2)
        loop_turn(loop, 1000);
    assert_int_equal(fired[0], 2);
    assert_int_equal(fired[1], 1);
    loop_free(loop);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_run_in_order),
        cmocka_unit_test(failure_jumps_to_the_last_step),
        cmocka_unit_test(cancel_ends_in_the_last_step),
        cmocka_unit_test(timers_fire_by_deadline_and_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
