#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "etl/record.h"

#define assert_err(got, expected) assert_string_equal(err_name(got), err_name(expected))
#define EQ(s, literal)            assert_true(str_eq((s), STR(literal)))

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    hash_setup();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static struct etl_record sample(void)
{
    struct etl_record r = {.owner = STR("me \"and\" you"), .stage = ETL_INITIALIZING, .created_ms = 17};
    char why[ETL_WHY_MAX];

    assert_err(etl_spec_parse(STR("name: resize\nruntime: {image: \"resizer:1\", command: [run, \"-n\", \"{}\"]}\n"),
                              &arena, &r.spec, why),
               ERR_OK);
    etl_record_renew(&arena, &r);
    return r;
}

/* ---- the record ---- */

static void a_record_is_read_as_it_was_written(void **state)
{
    struct etl_record r = sample(), got;
    struct str text;

    (void)state;
    assert_err(etl_record_text(&arena, &r, &text), ERR_OK);
    assert_err(etl_record_read(&arena, text, &got), ERR_OK);
    assert_true(str_eq(got.id, r.id) && str_eq(got.secret, r.secret) && str_eq(got.owner, r.owner));
    assert_int_equal(got.stage, ETL_INITIALIZING);
    assert_int_equal(got.created_ms, 17);
    assert_int_equal(got.began_ms, r.began_ms);
    EQ(got.spec.name, "resize");
    EQ(got.spec.image, "resizer:1");
    assert_int_equal(got.spec.command_count, 3);
    EQ(got.spec.command[2], "{}");
    assert_int_equal(got.spec.init_timeout_ms, ETL_INIT_TIMEOUT_MS);
}

static void every_stage_has_its_text(void **state)
{
    static const char *const texts[] = {"initializing", "running", "aborted"};

    (void)state;
    for (int i = ETL_INITIALIZING; i <= ETL_ABORTED; i++) {
        struct etl_record r = sample(), got;
        struct str text;
        r.stage = (enum etl_stage_name)i;
        assert_err(etl_record_text(&arena, &r, &text), ERR_OK);
        assert_err(etl_record_read(&arena, text, &got), ERR_OK);
        assert_int_equal(got.stage, i);
        assert_true(str_eq(etl_stage_text(r.stage), str_z(texts[i])));
    }
}

static void a_making_is_known_by_its_id_and_its_secret_by_nobody(void **state)
{
    struct etl_record a = sample(), b = a;

    (void)state;
    etl_record_renew(&arena, &b);
    assert_false(str_eq(a.id, b.id));
    assert_false(str_eq(a.secret, b.secret));
    assert_int_equal(b.secret.n, ETL_SECRET_LEN);
    assert_true(str_starts(b.id, STR("etl-")) && b.id.n < ETL_ID_MAX);
}

static enum err read_as(const char *format, const char *id, const char *stage, const char *spec)
{
    struct etl_record r;

    return etl_record_read(&arena,
                           arena_printf(&arena,
                                        "{\"format\":%s,\"id\":\"%s\",\"stage\":\"%s\",\"created_ms\":1,"
                                        "\"began_ms\":1,\"owner\":\"\",\"secret\":\"s\",\"spec\":%s}",
                                        format, id, stage, spec),
                           &r);
}

static void what_is_no_record_is_refused(void **state)
{
    const char *spec = "{\"name\":\"resize\",\"runtime\":{\"image\":\"a\"}}";
    char long_id[ETL_ID_MAX + 1];
    struct etl_record r;

    (void)state;
    memset(long_id, 'x', ETL_ID_MAX);
    long_id[ETL_ID_MAX] = 0;
    assert_err(read_as("1", "etl-1", "running", spec), ERR_OK);
    assert_err(read_as("2", "etl-1", "running", spec), ERR_NOT_IMPLEMENTED);
    assert_err(read_as("\"x\"", "etl-1", "running", spec), ERR_CORRUPT);
    assert_err(read_as("1", "", "running", spec), ERR_CORRUPT);
    assert_err(read_as("1", long_id, "running", spec), ERR_CORRUPT);
    assert_err(read_as("1", long_id + 1, "running", spec), ERR_OK);
    assert_err(read_as("1", "etl-1", "dancing", spec), ERR_CORRUPT);
    assert_err(read_as("1", "etl-1", "running", "{}"), ERR_CORRUPT);
    assert_err(read_as("1", "etl-1", "running", "\"resize\""), ERR_CORRUPT);
    assert_err(etl_record_read(&arena, STR(""), &r), ERR_CORRUPT);
    assert_err(etl_record_read(&arena, STR("[1]"), &r), ERR_CORRUPT);
    assert_err(etl_record_read(&arena, STR("{\"format\":1"), &r), ERR_CORRUPT);
}

static void a_record_that_nobody_finishes_is_an_aborted_one(void **state)
{
    struct etl_record r = sample();
    uint64_t limit = r.began_ms + r.spec.init_timeout_ms + ETL_STALE_MS;

    (void)state;
    assert_int_equal(etl_stage_now(&r, limit), ETL_INITIALIZING);
    assert_int_equal(etl_stage_now(&r, limit + 1), ETL_ABORTED);
    assert_int_equal(etl_stage_now(&r, 0), ETL_INITIALIZING); /* clocks differ */
    r.stage = ETL_RUNNING;
    assert_int_equal(etl_stage_now(&r, limit + 1), ETL_RUNNING);
}

/* ---- what nodes tell ---- */

static void a_state_is_read_as_it_was_written(void **state)
{
    const struct etl_object_error errors[] = {{STR("b/k \"1\""), STR("no cat\n"), 422}, {STR("b/2"), STR(""), 502}};
    struct etl_node_state s = {.id = STR("etl-1"),
                               .state = STR("ready"),
                               .error = STR("it ended: exit status 1\nTraceback \xff"),
                               .address = STR("resize-7"),
                               .unserved = true,
                               .restarts = 7,
                               .objects = UINT64_C(1) << 40,
                               .errors = 2,
                               .in_bytes = UINT64_C(1) << 50,
                               .out_bytes = 5,
                               .memory = 123456789,
                               .cpu = 1.25,
                               .object_errors = errors,
                               .object_error_count = 2};
    struct etl_node_state got;

    (void)state;
    assert_err(etl_state_read(&arena, etl_state_text(&arena, &s), &got), ERR_OK);
    assert_true(str_eq(got.id, s.id) && str_eq(got.state, s.state) && str_eq(got.address, s.address));
    EQ(got.error, "it ended: exit status 1\nTraceback \xef\xbf\xbd");
    assert_true(got.unserved);
    assert_int_equal(got.restarts, 7);
    assert_int_equal(got.objects, s.objects);
    assert_int_equal(got.errors, 2);
    assert_int_equal(got.in_bytes, s.in_bytes);
    assert_int_equal(got.out_bytes, 5);
    assert_int_equal(got.memory, s.memory);
    assert_true(got.cpu == 1.25);
    assert_int_equal(got.object_error_count, 2);
    EQ(got.object_errors[0].object, "b/k \"1\"");
    EQ(got.object_errors[0].message, "no cat\n");
    assert_int_equal(got.object_errors[0].status, 422);
    assert_int_equal(got.object_errors[1].status, 502);
}

static void a_state_of_the_largest_things_is_written_whole(void **state)
{
    struct etl_object_error errors[ETL_OBJECT_ERRORS_MAX];
    char *big = test_malloc(2000);
    struct etl_node_state got;

    (void)state;
    memset(big, 1, 2000); /* six bytes each in JSON */
    for (size_t i = 0; i < ETL_OBJECT_ERRORS_MAX; i++)
        errors[i] = (struct etl_object_error){str_n(big, 2000), str_n(big, 512), 500};
    struct etl_node_state s = {.id = STR("etl-1"),
                               .state = STR("failed"),
                               .error = str_n(big, 2000),
                               .object_errors = errors,
                               .object_error_count = ETL_OBJECT_ERRORS_MAX};
    assert_err(etl_state_read(&arena, etl_state_text(&arena, &s), &got), ERR_OK);
    assert_int_equal(got.object_error_count, ETL_OBJECT_ERRORS_MAX);
    assert_int_equal(got.error.n, 2000);
    test_free(big);
}

static void what_is_no_state_is_refused_and_odd_errors_are_left_out(void **state)
{
    struct etl_node_state got;

    (void)state;
    assert_err(etl_state_read(&arena, STR("{}"), &got), ERR_CORRUPT);
    assert_err(etl_state_read(&arena, STR("{\"format\":1}"), &got), ERR_CORRUPT);
    assert_err(etl_state_read(&arena, STR("{\"format\":9,\"state\":\"ready\"}"), &got), ERR_NOT_IMPLEMENTED);
    assert_err(etl_state_read(&arena,
                              STR("{\"format\":1,\"state\":\"ready\",\"cpu\":[],\"object_errors\":[1,[],[1,2],"
                                  "[\"a\",\"b\",\"c\"],[[],[],[]],[\"a\",\"b\",404]]}"),
                              &got),
               ERR_OK);
    assert_int_equal(got.object_error_count, 1);
    assert_int_equal(got.object_errors[0].status, 404);
}

/* ---- keys ---- */

static void keys_are_made_and_split(void **state)
{
    struct str name, node;

    (void)state;
    EQ(etl_key(&arena, STR("resize")), "etl/resize");
    EQ(etl_at_key(&arena, STR("resize"), STR("n/1")), "etl_at/resize/n/1");
    EQ(etl_at_key(&arena, STR("resize"), STR("")), "etl_at/resize/");
    assert_true(etl_at_key_split(STR("etl_at/resize/n/1"), &name, &node));
    EQ(name, "resize");
    EQ(node, "n/1");
    assert_false(etl_at_key_split(STR("etl_at/resize/"), &name, &node));
    assert_false(etl_at_key_split(STR("etl_at/resize"), &name, &node));
    assert_false(etl_at_key_split(STR("etl_at//n"), &name, &node));
    assert_false(etl_at_key_split(STR("etl/resize"), &name, &node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_read_as_it_was_written),
        cmocka_unit_test(every_stage_has_its_text),
        cmocka_unit_test(a_making_is_known_by_its_id_and_its_secret_by_nobody),
        cmocka_unit_test(what_is_no_record_is_refused),
        cmocka_unit_test(a_record_that_nobody_finishes_is_an_aborted_one),
        cmocka_unit_test(a_state_is_read_as_it_was_written),
        cmocka_unit_test(a_state_of_the_largest_things_is_written_whole),
        cmocka_unit_test(what_is_no_state_is_refused_and_odd_errors_are_left_out),
        cmocka_unit_test(keys_are_made_and_split),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
