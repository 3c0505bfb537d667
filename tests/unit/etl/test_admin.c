#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "etl/record.h"
#include "http/ask.h"

#define assert_err(got, expected) assert_string_equal(err_name(got), err_name(expected))
#define SPEC(name, more)          "name: " name "\nruntime: {image: \"i:1\"}\ninit_timeout: 5s\n" more

/* A meta that fails when it is told to, and nodes that the test plays. */
static struct {
    struct meta meta, *inner;
    enum err get_err, put_err;
    struct etl_admin_env env;
    struct str nodes[4];
    size_t node_count;
    struct arena arena;
} w;

static void flaky_get(struct meta *m, const struct meta_get_req *req, struct meta_get_res *res, struct call *c)
{
    (void)m;
    if (w.get_err != ERR_OK)
        call_finish(c, w.get_err);
    else
        meta_get(w.inner, req, res, c);
}

static void flaky_put(struct meta *m, const struct meta_put_req *req, struct meta_put_res *res, struct call *c)
{
    (void)m;
    if (w.put_err != ERR_OK)
        call_finish(c, w.put_err);
    else
        meta_put(w.inner, req, res, c);
}

static void flaky_list(struct meta *m, const struct meta_list_req *req, struct meta_list_res *res, struct call *c)
{
    (void)m;
    meta_list(w.inner, req, res, c);
}

static size_t nodes(void *arg, struct arena *arena, const struct str **ids)
{
    struct str *list = arena_new(arena, sizeof(w.nodes));

    (void)arg;
    for (size_t i = 0; i < w.node_count; i++)
        list[i] = arena_str(arena, w.nodes[i]);
    *ids = list;
    return w.node_count;
}

static int setup(void **state)
{
    static const struct meta_ops ops = {.name = "flaky", .get = flaky_get, .put = flaky_put, .list = flaky_list};

    memset(&w, 0, sizeof(w));
    hash_setup();
    ask_setup(state);
    w.inner = meta_memory_new();
    w.meta.ops = &ops;
    w.env = (struct etl_admin_env){.loop = ask_loop, .meta = &w.meta, .nodes = nodes};
    w.nodes[0] = STR("n1");
    w.nodes[1] = STR("n2");
    w.node_count = 2;
    return 0;
}

static int teardown(void **state)
{
    arena_release(&w.arena);
    meta_close(w.inner);
    return ask_teardown(state);
}

/* ---- calls ---- */

struct flag {
    struct call call;
    bool done;
};

static void raise_flag(struct call *call)
{
    CONTAINER(call, struct flag, call)->done = true;
}

static struct call *begin(struct flag *f)
{
    loop_turn(ask_loop, 0);
    *f = (struct flag){0};
    call_begin(&f->call, ask_loop, raise_flag);
    return &f->call;
}

static enum err wait_for(struct flag *f)
{
    ask_until(&f->done);
    return f->call.err;
}

struct making {
    struct etl_create_req req;
    struct etl_create_res res;
    struct flag flag;
};

static void begin_create(struct making *m, const char *spec)
{
    *m = (struct making){.req = {&w.arena, str_z(spec), STR("me")}};
    etl_create(&w.env, &m->req, &m->res, begin(&m->flag));
}

static struct etl_name_req named(const char *name)
{
    return (struct etl_name_req){&w.arena, str_z(name)};
}

/* ---- the nodes' side ---- */

/* The record, once it is there; then its id is told apart. */
static bool read_record(const char *name, struct etl_record *out)
{
    struct meta_get_req req = {&w.arena, etl_key(&w.arena, str_z(name))};
    struct meta_get_res res;
    struct flag f;

    meta_get(w.inner, &req, &res, begin(&f));
    if (wait_for(&f) == ERR_NOT_FOUND)
        return false;
    assert_err(f.call.err, ERR_OK);
    assert_err(etl_record_read(&w.arena, res.value, out), ERR_OK);
    return true;
}

static struct str id_of(const char *name)
{
    struct etl_record r;

    assert_true(read_record(name, &r));
    return r.id;
}

static enum etl_stage_name stage_of(const char *name)
{
    struct etl_record r;

    assert_true(read_record(name, &r));
    return r.stage;
}

static void put_raw(struct str key, struct str value, bool remove)
{
    struct meta_put_req req = {.key = key, .value = value, .revision = META_ANY, .remove = remove};
    struct meta_put_res res;
    struct flag f;

    meta_put(w.inner, &req, &res, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
}

static void tell(const char *name, const char *node, struct str id, const char *state, const char *error)
{
    struct etl_node_state s = {.id = id, .state = str_z(state), .error = str_z(error), .objects = 3};

    put_raw(etl_at_key(&w.arena, str_z(name), str_z(node)), etl_state_text(&w.arena, &s), false);
}

static void tell_gone(const char *name, const char *node)
{
    put_raw(etl_at_key(&w.arena, str_z(name), str_z(node)), STR_NONE, true);
}

static void make(const char *name, const char *spec)
{
    struct making m;

    begin_create(&m, spec);
    tell(name, "n1", id_of(name), "ready", "");
    tell(name, "n2", id_of(name), "ready", "");
    assert_err(wait_for(&m.flag), ERR_OK);
}

static void end_quietly(const char *name)
{
    struct etl_name_req req = named(name);
    struct flag f;

    tell_gone(name, "n1");
    tell_gone(name, "n2");
    etl_delete(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
}

/* ---- making ---- */

static void it_runs_once_every_node_is_ready(void **state)
{
    struct making m;

    (void)state;
    begin_create(&m, SPEC("resize", ""));
    assert_int_equal(stage_of("resize"), ETL_INITIALIZING);
    struct str id = id_of("resize");
    tell("resize", "n1", id, "ready", "");
    tell("resize", "n2", id, "starting", "");
    ask_turn_ms(300);
    assert_false(m.flag.done);
    tell("resize", "n2", STR("etl-of-another-making"), "ready", "");
    ask_turn_ms(300);
    assert_false(m.flag.done);
    tell("resize", "n2", id, "ready", "");
    assert_err(wait_for(&m.flag), ERR_OK);
    assert_true(str_eq(m.res.id, id));
    assert_int_equal(stage_of("resize"), ETL_RUNNING);
    end_quietly("resize");
}

static void a_name_is_taken_once(void **state)
{
    struct making m;

    (void)state;
    make("resize", SPEC("resize", ""));
    begin_create(&m, SPEC("resize", ""));
    assert_err(wait_for(&m.flag), ERR_EXISTS);
    assert_non_null(strstr(m.res.why, "resize"));
    assert_int_equal(stage_of("resize"), ETL_RUNNING);
    end_quietly("resize");
}

static void a_bad_spec_is_refused_with_its_reason(void **state)
{
    struct making m;
    struct etl_record r;

    (void)state;
    begin_create(&m, SPEC("resize", "argument: sideways\n"));
    assert_err(wait_for(&m.flag), ERR_INVALID_ARGUMENT);
    assert_true(m.res.why[0]);
    assert_false(read_record("resize", &r));
}

static void without_nodes_nothing_is_made(void **state)
{
    struct making m;
    struct etl_record r;

    (void)state;
    w.node_count = 0;
    begin_create(&m, SPEC("resize", ""));
    assert_err(wait_for(&m.flag), ERR_UNAVAILABLE);
    assert_non_null(strstr(m.res.why, "no node"));
    assert_false(read_record("resize", &r));
    w.node_count = 2;
}

/* What its program said last is told, however much it said before. */
static void one_that_fails_is_gone_again_and_tells_where_and_why(void **state)
{
    char error[2600];
    struct making m;
    struct etl_record r;

    (void)state;
    int n = snprintf(error, sizeof(error), "it ended: exit status 1; its last output:\n");
    for (int i = 0; n < 2300; i++)
        n += snprintf(error + n, sizeof(error) - (size_t)n, "  File \"transform.py\", line %d\n", i);
    snprintf(error + n, sizeof(error) - (size_t)n, "ImportError: no module named cat");
    begin_create(&m, SPEC("resize", ""));
    tell("resize", "n1", id_of("resize"), "ready", "");
    tell("resize", "n2", id_of("resize"), "failed", error);
    ask_turn_ms(200);
    assert_false(read_record("resize", &r));
    assert_false(m.flag.done); /* until the sidecars are gone */
    tell_gone("resize", "n1");
    tell_gone("resize", "n2");
    assert_err(wait_for(&m.flag), ERR_ETL);
    assert_non_null(strstr(m.res.why, "resize at node n2: it ended: exit status 1"));
    assert_non_null(strstr(m.res.why, "no module named cat"));
    assert_true(strlen(m.res.why) < ETL_WHY_MAX);
}

static void one_that_nobody_starts_is_given_up(void **state)
{
    struct making m;
    struct etl_record r;

    (void)state;
    begin_create(&m, "name: resize\nruntime: {image: \"i:1\"}\ninit_timeout: 1s\n");
    tell("resize", "n1", id_of("resize"), "ready", "");
    ask_turn_ms(8000); /* the limit, and its slack */
    assert_false(m.flag.done);
    ask_turn_ms(4000);
    tell_gone("resize", "n1");
    assert_err(wait_for(&m.flag), ERR_ETL);
    assert_non_null(strstr(m.res.why, "node n2"));
    assert_non_null(strstr(m.res.why, "in time"));
    assert_false(read_record("resize", &r));
}

static void one_that_is_deleted_meanwhile_is_not_made(void **state)
{
    struct making m;
    struct flag f;
    struct etl_name_req req = named("resize");
    struct etl_record r;

    (void)state;
    begin_create(&m, SPEC("resize", ""));
    etl_delete(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    ask_turn_ms(300);
    assert_true(m.flag.done);
    assert_err(wait_for(&m.flag), ERR_CONFLICT);
    assert_non_null(strstr(m.res.why, "meanwhile"));
    assert_false(read_record("resize", &r));
}

/* Wherever its caller gives up, nothing of it is left. */
static void one_whose_maker_goes_away_is_gone_again(void **state)
{
    struct etl_record r;

    (void)state;
    for (int turns = 0; turns < 4; turns++) {
        struct making m;
        m = (struct making){.req = {&w.arena, STR(SPEC("resize", "")), STR("me")}};
        etl_create(&w.env, &m.req, &m.res, begin(&m.flag));
        for (int i = 0; i < turns; i++)
            loop_turn(ask_loop, 1);
        call_cancel(&m.flag.call);
        assert_err(wait_for(&m.flag), ERR_CANCELLED);
        assert_false(read_record("resize", &r));
    }
}

static void meta_that_fails_is_told_as_that(void **state)
{
    struct making m;
    struct etl_name_req req = named("resize");
    struct flag f;

    (void)state;
    w.put_err = ERR_UNAVAILABLE;
    begin_create(&m, SPEC("resize", ""));
    assert_err(wait_for(&m.flag), ERR_UNAVAILABLE);
    w.put_err = ERR_OK;
    make("resize", SPEC("resize", ""));
    w.get_err = ERR_UNAVAILABLE;
    etl_stop(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_UNAVAILABLE);
    etl_delete(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_UNAVAILABLE);
    w.get_err = ERR_OK;
    assert_int_equal(stage_of("resize"), ETL_RUNNING);
    end_quietly("resize");
}

/* ---- stopping, starting, deleting ---- */

static void stopping_waits_until_no_node_has_one(void **state)
{
    struct etl_name_req req = named("resize");
    struct flag f;

    (void)state;
    make("resize", SPEC("resize", ""));
    etl_stop(&w.env, &req, begin(&f));
    tell_gone("resize", "n1");
    ask_turn_ms(200);
    assert_int_equal(stage_of("resize"), ETL_ABORTED);
    assert_false(f.done);
    tell_gone("resize", "n2");
    assert_err(wait_for(&f), ERR_OK);
    etl_stop(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    end_quietly("resize");
}

static void only_a_stopped_one_is_started_and_as_a_new_making(void **state)
{
    struct etl_name_req req = named("resize");
    struct etl_create_res res;
    struct etl_record before, after;
    struct flag f;

    (void)state;
    make("resize", SPEC("resize", ""));
    assert_true(read_record("resize", &before));
    etl_start(&w.env, &req, &res, begin(&f));
    assert_err(wait_for(&f), ERR_CONFLICT);
    assert_non_null(strstr(res.why, "not stopped"));
    tell_gone("resize", "n1");
    tell_gone("resize", "n2");
    etl_stop(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    etl_start(&w.env, &req, &res, begin(&f));
    struct str id = id_of("resize");
    assert_false(str_eq(id, before.id));
    tell("resize", "n1", id, "ready", "");
    tell("resize", "n2", id, "ready", "");
    assert_err(wait_for(&f), ERR_OK);
    assert_true(str_eq(res.id, id));
    assert_true(read_record("resize", &after));
    assert_int_equal(after.stage, ETL_RUNNING);
    assert_int_equal(after.created_ms, before.created_ms);
    assert_false(str_eq(after.secret, before.secret));
    end_quietly("resize");
}

static void one_that_does_not_start_stays_stopped(void **state)
{
    struct etl_name_req req = named("resize");
    struct etl_create_res res;
    struct flag f;

    (void)state;
    make("resize", SPEC("resize", ""));
    tell_gone("resize", "n1");
    tell_gone("resize", "n2");
    etl_stop(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    etl_start(&w.env, &req, &res, begin(&f));
    tell("resize", "n1", id_of("resize"), "failed", "no such image");
    ask_turn_ms(200);
    tell_gone("resize", "n1");
    assert_err(wait_for(&f), ERR_ETL);
    assert_non_null(strstr(res.why, "node n1: no such image"));
    assert_int_equal(stage_of("resize"), ETL_ABORTED);
    end_quietly("resize");
}

static void what_is_not_there_is_not_found(void **state)
{
    struct etl_name_req req = named("nobody");
    struct etl_create_res res;
    struct etl_info info;
    struct flag f;

    (void)state;
    etl_stop(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_NO_SUCH_ETL);
    etl_delete(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_NO_SUCH_ETL);
    etl_start(&w.env, &req, &res, begin(&f));
    assert_err(wait_for(&f), ERR_NO_SUCH_ETL);
    etl_look(&w.env, &req, &info, begin(&f));
    assert_err(wait_for(&f), ERR_NO_SUCH_ETL);
}

static void a_record_that_cant_be_read_can_be_deleted(void **state)
{
    struct etl_name_req req = named("broken");
    struct etl_info info;
    struct flag f;
    struct etl_record r;

    (void)state;
    put_raw(STR("etl/broken"), STR("{\"format\":1}"), false);
    etl_look(&w.env, &req, &info, begin(&f));
    assert_err(wait_for(&f), ERR_CORRUPT);
    etl_delete(&w.env, &req, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    assert_false(read_record("broken", &r));
}

/* ---- looking ---- */

static void all_are_listed_by_name_with_what_nodes_tell(void **state)
{
    struct etl_list_res list;
    struct etl_info info;
    struct etl_name_req req = named("resize");
    struct flag f;

    (void)state;
    make("resize", SPEC("resize", ""));
    make("another", SPEC("another", "communication: hpull://\n"));
    put_raw(STR("etl/broken"), STR("nothing"), false);
    tell("resize", "n9", STR("etl-former"), "ready", "");
    etl_list(&w.env, &w.arena, &list, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    assert_int_equal(list.count, 2);
    assert_true(str_eq(list.list[0].name, STR("another")) && str_eq(list.list[1].name, STR("resize")));
    assert_int_equal(list.list[0].spec.comm, ETL_HPULL);
    assert_int_equal(list.list[1].stage, ETL_RUNNING);
    assert_int_equal(list.list[1].node_count, 2);
    etl_look(&w.env, &req, &info, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    assert_int_equal(info.node_count, 2); /* not what is told of a former making */
    assert_true(str_eq(info.nodes[1].node, STR("n2")) && str_eq(info.nodes[1].state, STR("ready")));
    assert_int_equal(info.nodes[1].objects, 3);
    assert_true(str_eq(info.owner, STR("me")));
    put_raw(STR("etl/broken"), STR_NONE, true);
    tell_gone("resize", "n9");
    end_quietly("another");
    end_quietly("resize");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_runs_once_every_node_is_ready),
        cmocka_unit_test(a_name_is_taken_once),
        cmocka_unit_test(a_bad_spec_is_refused_with_its_reason),
        cmocka_unit_test(without_nodes_nothing_is_made),
        cmocka_unit_test(one_that_fails_is_gone_again_and_tells_where_and_why),
        cmocka_unit_test(one_that_nobody_starts_is_given_up),
        cmocka_unit_test(one_that_is_deleted_meanwhile_is_not_made),
        cmocka_unit_test(one_whose_maker_goes_away_is_gone_again),
        cmocka_unit_test(meta_that_fails_is_told_as_that),
        cmocka_unit_test(stopping_waits_until_no_node_has_one),
        cmocka_unit_test(only_a_stopped_one_is_started_and_as_a_new_making),
        cmocka_unit_test(one_that_does_not_start_stays_stopped),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(a_record_that_cant_be_read_can_be_deleted),
        cmocka_unit_test(all_are_listed_by_name_with_what_nodes_tell),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
