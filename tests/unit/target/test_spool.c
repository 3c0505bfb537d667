#include "unit.h"

#include "blocking.h"

#include "base/hash.h"
#include "base/mem.h"
#include "store/memstore.h"
#include "target/dsort_spec.h"
#include "target/spool.h"

enum { ITEMS = 5000 };

struct fixture {
    struct loop *loop;
    struct offload *cpu;
    struct store *store;
    struct bucket_id bucket;
    struct arena arena;
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);

    hash_setup();
    f->loop = loop_new();
    loop_adopt(f->loop);
    f->cpu = offload_new("cpu", 2, 64);
    f->store = memstore_new(f->loop);
    f->bucket = (struct bucket_id){7, STR(".sluice"), {0}};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    store_close(f->store);
    offload_free(f->cpu);
    arena_release(&f->arena);
    loop_free(f->loop);
    free(f);
    return 0;
}

static uint32_t objects(struct fixture *f)
{
    struct obj_list_req req = {.arena = &f->arena, .bucket = f->bucket, .max = LIST_MAX};
    struct obj_list_res res = {0};

    assert_int_equal(CALL(f, store_obj_list(f->store, &req, &res, c)), ERR_OK);
    return res.count;
}

static struct spool *open_spool(struct fixture *f, size_t run_bytes, bool backwards)
{
    return spool_new(&(struct spool_conf){.loop = f->loop,
                                          .store = f->store,
                                          .bucket = f->bucket,
                                          .prefix = STR("jobs/x/run"),
                                          .cpu = f->cpu,
                                          .run_bytes = run_bytes,
                                          .backwards = backwards});
}

/* Few different keys, so that many are equal; values tell in which order they were added. */
static void fill(struct fixture *f, struct spool *s)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        char key[32], value[300];
        unsigned k = (i * 2654435761u) % 997;
        int n = snprintf(key, sizeof(key), "%06u", k);
        int v = snprintf(
            value, sizeof(value), "%u %u %.*s", k, i, (int)(i % 200),
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        assert_int_equal(CALL(f, spool_add(s, str_n(key, (size_t)n), str_n(value, (size_t)v), c)), ERR_OK);
    }
    assert_int_equal(spool_count(s), ITEMS);
    assert_int_equal(CALL(f, spool_sort(s, c)), ERR_OK);
}

static void drain(struct fixture *f, struct spool *s, bool backwards)
{
    unsigned last_key = backwards ? 1000 : 0, last_number = 0, key, number, seen = 0;
    struct spool_item item;
    bool end;

    for (;; seen++) {
        assert_int_equal(CALL(f, spool_next(s, &item, &end, c)), ERR_OK);
        if (end)
            break;
        char text[32];
        snprintf(text, sizeof(text), "%.*s", (int)(item.value.n < 30 ? item.value.n : 30), item.value.p);
        assert_int_equal(sscanf(text, "%u %u", &key, &number), 2);
        if (seen && key == last_key)
            assert_true(backwards ? number < last_number : number > last_number);
        else
            assert_true(seen == 0 || (backwards ? key < last_key : key > last_key));
        last_key = key;
        last_number = number;
    }
    assert_int_equal(seen, ITEMS);
    assert_int_equal(CALL(f, spool_next(s, &item, &end, c)), ERR_OK);
    assert_true(end);
}

static void check_sort(struct fixture *f, size_t run_bytes, bool backwards, bool in_memory)
{
    struct spool *s = open_spool(f, run_bytes, backwards);

    fill(f, s);
    assert_true(in_memory == (objects(f) == 0));
    drain(f, s, backwards);
    assert_int_equal(CALL(f, spool_close(s, c)), ERR_OK);
    assert_int_equal(objects(f), 0);
}

static void what_fits_is_sorted_in_memory(void **state)
{
    check_sort(*state, 64 << 20, false, true);
    check_sort(*state, 64 << 20, true, true);
}

static void runs_are_merged_and_removed(void **state)
{
    check_sort(*state, 20000, false, false);
    check_sort(*state, 20000, true, false);
}

static void items_larger_than_the_read_buffer_pass(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_spool(f, 4096, false);
    struct str big = {mem_new(SPOOL_ITEM_MAX - 8), SPOOL_ITEM_MAX - 8};
    struct spool_item item;
    bool end;

    for (int i = 9; i >= 0; i--) {
        char key = (char)('a' + i);
        assert_int_equal(CALL(f, spool_add(s, str_n(&key, 1), big, c)), ERR_OK);
    }
    assert_int_equal(CALL(f, spool_add(s, STR("123456789"), big, c)), ERR_TOO_LARGE);
    assert_int_equal(CALL(f, spool_sort(s, c)), ERR_OK);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(CALL(f, spool_next(s, &item, &end, c)), ERR_OK);
        assert_false(end);
        assert_int_equal(item.key.p[0], 'a' + i);
        assert_int_equal(item.value.n, big.n);
    }
    assert_int_equal(CALL(f, spool_close(s, c)), ERR_OK);
    free((void *)(uintptr_t)big.p);
}

static void an_empty_one_ends_at_once(void **state)
{
    struct fixture *f = *state;
    struct spool *s = open_spool(f, 0, false);
    struct spool_item item;
    bool end = false;

    assert_int_equal(CALL(f, spool_sort(s, c)), ERR_OK);
    assert_int_equal(CALL(f, spool_next(s, &item, &end, c)), ERR_OK);
    assert_true(end);
    assert_int_equal(CALL(f, spool_close(s, c)), ERR_OK);
}

/* Numbers as text sort by what they are. */
static void content_keys_keep_the_order(void **state)
{
    static const char *const ints[] = {"-9223372036854775808", "-5", "0", "7", "10", "9223372036854775807"};
    static const char *const floats[] = {"-1e300", "-2.5", "-0.001", "0", "3.5", "1e9"};
    char last[DSORT_CONTENT_MAX], now[DSORT_CONTENT_MAX];
    size_t n;

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(dsort_content_key(DSORT_INT, str_z(ints[i]), now, &n), ERR_OK);
        assert_true(n == 8 && (i == 0 || memcmp(last, now, 8) < 0));
        memcpy(last, now, 8);
    }
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(dsort_content_key(DSORT_FLOAT, str_z(floats[i]), now, &n), ERR_OK);
        assert_true(n == 8 && (i == 0 || memcmp(last, now, 8) < 0));
        memcpy(last, now, 8);
    }
    assert_int_equal(dsort_content_key(DSORT_INT, STR("12 apples"), now, &n), ERR_INVALID_ARGUMENT);
    assert_int_equal(dsort_content_key(DSORT_FLOAT, STR("nan"), now, &n), ERR_INVALID_ARGUMENT);
    assert_int_equal(dsort_content_key(DSORT_STRING, STR(" cat\n"), now, &n), ERR_OK);
    assert_int_equal(n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_fits_is_sorted_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_are_merged_and_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(items_larger_than_the_read_buffer_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_one_ends_at_once, setup, teardown),
        cmocka_unit_test(content_keys_keep_the_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
