/* Copies on several targets: what must hold when one of them is paused, cut off, back again, or a map changes in the middle of a write. */
#include "redundant_kit.h"

#include "base/log.h"

#define KEY STR("key")

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    red_open(loop, 4, 4, (struct redundancy){REDUNDANCY_REPLICAS, 3, 0}, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    red_close();
    return 0;
}

static struct red_test_node *member(size_t i)
{
    return red_at(red_members(KEY).nodes[i]);
}

static void scan(void)
{
    const struct str keys[] = {KEY};

    assert_true(red_scan(keys, 1));
}

#define assert_ok(e) assert_string_equal(err_name(e), "OK")

static void a_write_is_on_all_members_and_no_other(void **state)
{
    (void)state;
    assert_ok(red_put(NULL, KEY, "one"));
    unsigned have = 0;
    for (unsigned i = 0; i < 4; i++)
        have += strcmp(red_has(&red.nodes[i], KEY), "one") == 0;
    assert_int_equal(have, 3);
    assert_string_equal(red_get(NULL, KEY), "one");
    assert_ok(red_delete(NULL, KEY));
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(red_has(&red.nodes[i], KEY), "");
}

static void a_member_that_does_not_lead_refuses(void **state)
{
    (void)state;
    assert_string_equal(err_name(red_put(member(1), KEY, "one")), "STALE_EPOCH");
    assert_string_equal(red_get(member(2), KEY), "!STALE_EPOCH");
}

static void a_paused_lead_that_goes_on_has_lost_nothing(void **state)
{
    struct red_test_node *old = member(0);
    struct red_put p;

    (void)state;
    scan();
    red_put_start(&p, old, KEY, "one", NULL);
    old->hold_gates = true;
    for (int i = 0; i < 200 && old->gates == 0; i++)
        red_turns(1);
    assert_int_equal(old->gates, 1); /* the others have it */
    old->cut = true;
    assert_true(red_out(old));
    red_learn_all();
    assert_ptr_not_equal(red_lead(KEY), old);
    assert_string_equal(red_get(NULL, KEY), "one"); /* seen before it was answered: may be */
    assert_ok(red_put(NULL, KEY, "two"));
    old->hold_gates = false;
    assert_ok(red_put_end(&p));                     /* late, but it was true */
    assert_string_equal(red_get(NULL, KEY), "two"); /* nothing goes back */
    assert_true(red_get(old, KEY)[0] == '!');       /* it doesn't know, and says so */
    red_back(old);
    scan();
    assert_ptr_equal(red_lead(KEY), old);
    assert_string_equal(red_get(NULL, KEY), "two");
    assert_string_equal(red_has(old, KEY), "two");
}

static void a_lead_paused_before_it_tells_anybody_fails(void **state)
{
    struct red_test_node *old = member(0);
    struct red_put p;

    (void)state;
    scan();
    old->held = true;
    red_put_start(&p, old, KEY, "one", NULL);
    red_turns(50);
    assert_true(red_out(old)); /* it can be reached, and has not heard of it */
    red_learn(member(1));
    red_learn(member(2));
    assert_ok(red_put(NULL, KEY, "two"));
    old->held = false;
    assert_string_equal(err_name(red_put_end(&p)), "UNAVAILABLE");
    assert_string_equal(red_get(NULL, KEY), "two");
}

static void a_lead_whose_others_are_out_keeps_leading(void **state)
{
    struct red_test_node *old = member(0), *second = member(1), *third = member(2);

    (void)state;
    red_close();
    red_open(loop, 4, 4, (struct redundancy){REDUNDANCY_REPLICAS, 2, 0}, 1);
    old = member(0), second = member(1), third = NULL;
    (void)third;
    assert_ok(red_put(NULL, KEY, "one"));
    second->cut = true;
    assert_true(red_out(second));
    red_learn_all();
    assert_ok(red_put(NULL, KEY, "two")); /* alone */
    old->cut = true;
    assert_true(red_out(old));
    red_back(second);
    assert_ptr_equal(red_lead(KEY), old); /* the second one has missed a write */
    assert_string_equal(red_get(second, KEY), "!STALE_EPOCH");
    const struct map *next;
    assert_string_equal(err_name(map_settled(red.newest, &next)),
                        "CONFLICT"); /* nor can it be in sync before the first is back */
    red_back(old);
    scan();
    assert_string_equal(red_get(NULL, KEY), "two");
    assert_string_equal(red_has(second, KEY), "two");
}

static void deleted_and_made_again_is_what_was_made_last(void **state)
{
    struct red_test_node *away = member(2);

    (void)state;
    assert_ok(red_put(NULL, KEY, "one"));
    away->cut = true;
    assert_true(red_out(away));
    red_learn_all();
    assert_ok(red_delete(NULL, KEY));
    red_back(away);
    red_learn_all();
    assert_string_equal(red_get(NULL, KEY), ""); /* its word doesn't count */
    assert_string_equal(red_has(away, KEY), "");
    assert_ok(red_put(NULL, KEY, "two"));
    assert_string_equal(red_has(away, KEY), "two");
    scan();
    assert_string_equal(red_get(NULL, KEY), "two");
}

static void what_a_failed_write_left_is_overwritten_or_settled(void **state)
{
    struct red_test_node *lead = member(0), *other = member(1), *third = member(2);

    (void)state;
    assert_ok(red_put(NULL, KEY, "one"));
    scan();
    third->refuse = 1;
    assert_string_equal(err_name(red_put(NULL, KEY, "two")), "UNAVAILABLE");
    assert_string_equal(red_has(other, KEY), "two");
    assert_string_equal(red_get(NULL, KEY), "one"); /* not shown before it is everywhere */
    assert_ok(red_put(NULL, KEY, "three"));
    assert_string_equal(red_has(third, KEY), "three");
    other->lost = 1;
    assert_string_equal(err_name(red_delete(NULL, KEY)), "UNAVAILABLE");
    assert_string_equal(red_get(NULL, KEY), "three");
    lead->cut = true;
    assert_true(red_out(lead));
    red_learn_all();
    const char *now = red_get(NULL, KEY);
    assert_true(now[0] == 0 || strcmp(now, "three") == 0);
    char first[8];
    strncpy(first, now, sizeof(first) - 1);
    first[7] = 0;
    red_back(lead);
    scan();
    assert_string_equal(red_get(NULL, KEY), first);
}

/* Who has caught up may lead at once what another one led: members may differ by a write that failed. */
static void who_is_in_sync_again_settles_before_it_answers(void **state)
{
    struct red_test_node *first = member(0), *second = member(1), *third = member(2);

    (void)state;
    assert_ok(red_put(NULL, KEY, "one"));
    first->cut = true;
    assert_true(red_out(first));
    red_back(first);
    red_learn_all();
    assert_ptr_equal(red_lead(KEY), second);
    scan(); /* ends with it in sync */
    red_learn_all();
    assert_ptr_equal(red_lead(KEY), first);
    third->refuse = 1;
    assert_true(red_put(NULL, KEY, "two") != ERR_OK);
    const char *seen = red_get(NULL, KEY);
    assert_true(strcmp(seen, "one") == 0 || strcmp(seen, "two") == 0);
}

static void conditions_hold_across_leads(void **state)
{
    struct cond absent = COND_INIT;
    struct red_put a, b;

    (void)state;
    absent.if_none_match = STR("*");
    red_put_start(&a, NULL, KEY, "one", &absent);
    red_put_start(&b, NULL, KEY, "two", &absent);
    enum err first = red_put_end(&a), second = red_put_end(&b);
    assert_true((first == ERR_OK) != (second == ERR_OK));
    struct red_test_node *lead = member(0);
    lead->cut = true;
    assert_true(red_out(lead));
    red_learn_all();
    red_put_start(&a, NULL, KEY, "three", &absent);
    assert_string_equal(err_name(red_put_end(&a)), "PRECONDITION");
}

static void too_few_members_take_no_writes(void **state)
{
    struct red_test_node *second = member(1), *third = member(2);

    (void)state;
    assert_ok(red_put(NULL, KEY, "one"));
    second->cut = third->cut = true;
    assert_true(red_out(second) && red_out(third));
    red_learn_all();
    assert_string_equal(err_name(red_put(NULL, KEY, "two")), "UNAVAILABLE");
    assert_string_equal(red_get(NULL, KEY), "one");
}

static void a_scan_waits_for_what_was_let_in(void **state)
{
    struct red_test_node *old = member(0);
    struct red_wait quiet;
    struct red_put p;

    (void)state;
    old->hold_gates = true;
    red_put_start(&p, old, KEY, "one", NULL);
    for (int i = 0; i < 200 && old->gates == 0; i++)
        red_turns(1);
    redundant_quiet(old->serves, red_begin(&quiet));
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 5);
    assert_false(quiet.done);
    old->hold_gates = false;
    assert_ok(red_put_end(&p));
    while (!quiet.done)
        loop_turn(loop, 5);
    assert_ok(quiet.call.err);
}

static void a_client_that_goes_leaves_no_lock(void **state)
{
    struct red_put p;

    (void)state;
    for (int turns = 0; turns < 60; turns++) {
        red_put_start(&p, NULL, KEY, "gone", NULL);
        red_turns(turns);
        call_cancel(&p.wait.call);
        red_put_end(&p);
        assert_ok(red_put(NULL, KEY, "there"));
        assert_string_equal(red_get(NULL, KEY), "there");
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        CASE(a_write_is_on_all_members_and_no_other),
        CASE(a_member_that_does_not_lead_refuses),
        CASE(a_paused_lead_that_goes_on_has_lost_nothing),
        CASE(a_lead_paused_before_it_tells_anybody_fails),
        CASE(a_lead_whose_others_are_out_keeps_leading),
        CASE(deleted_and_made_again_is_what_was_made_last),
        CASE(what_a_failed_write_left_is_overwritten_or_settled),
        CASE(who_is_in_sync_again_settles_before_it_answers),
        CASE(conditions_hold_across_leads),
        CASE(too_few_members_take_no_writes),
        CASE(a_scan_waits_for_what_was_let_in),
        CASE(a_client_that_goes_leaves_no_lock),
    };

    hash_setup();
    log_setup(LOG_WARN, false);
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
