#include "unit.h"

#include "store/object.h"

static void range_is(struct range r, uint64_t size, enum err e, uint64_t offset, uint64_t len)
{
    uint64_t o = 77, l = 78;

    assert_int_equal(range_resolve(&r, size, &o, &l), e);
    assert_int_equal(o, e == ERR_OK ? offset : 77);
    assert_int_equal(l, e == ERR_OK ? len : 78);
}

static void ranges_resolve_against_the_size(void **state)
{
    (void)state;
    range_is((struct range){RANGE_ALL, 0, 0}, 0, ERR_OK, 0, 0);
    range_is((struct range){RANGE_ALL, 0, 0}, 10, ERR_OK, 0, 10);
    range_is((struct range){RANGE_FROM_TO, 0, 0}, 10, ERR_OK, 0, 1);
    range_is((struct range){RANGE_FROM_TO, 3, 99}, 10, ERR_OK, 3, 7);
    range_is((struct range){RANGE_FROM_TO, 9, UINT64_MAX}, 10, ERR_OK, 9, 1);
    range_is((struct range){RANGE_FROM_TO, 10, 12}, 10, ERR_INVALID_RANGE, 0, 0);
    range_is((struct range){RANGE_FROM_TO, 4, 3}, 10, ERR_INVALID_RANGE, 0, 0);
    range_is((struct range){RANGE_FROM_TO, 0, 0}, 0, ERR_INVALID_RANGE, 0, 0);
    range_is((struct range){RANGE_FROM, 9, 0}, 10, ERR_OK, 9, 1);
    range_is((struct range){RANGE_FROM, 10, 0}, 10, ERR_INVALID_RANGE, 0, 0);
    range_is((struct range){RANGE_FROM, 0, 0}, 0, ERR_INVALID_RANGE, 0, 0);
    range_is((struct range){RANGE_LAST, 0, 4}, 10, ERR_OK, 6, 4);
    range_is((struct range){RANGE_LAST, 0, 40}, 10, ERR_OK, 0, 10);
    range_is((struct range){RANGE_LAST, 0, 0}, 10, ERR_INVALID_RANGE, 0, 0);
    range_is((struct range){RANGE_LAST, 0, 1}, 0, ERR_INVALID_RANGE, 0, 0);
}

static struct etag etag_of(const char *text)
{
    struct etag e = {.n = (uint8_t)strlen(text)};

    memcpy(e.text, text, e.n);
    return e;
}

static void etags_are_made_and_read_back(void **state)
{
    uint8_t md5[16], back[16];
    struct etag e;

    (void)state;
    for (int i = 0; i < 16; i++)
        md5[i] = (uint8_t)(i * 17);
    etag_from_md5(&e, md5);
    assert_true(str_eq(etag_str(&e), STR("00112233445566778899aabbccddeeff")));
    assert_true(etag_to_md5(&e, back));
    assert_memory_equal(md5, back, 16);
    etag_from_parts(&e, md5, 10000);
    assert_true(str_eq(etag_str(&e), STR("00112233445566778899aabbccddeeff-10000")));
    assert_false(etag_to_md5(&e, back));
    etag_from_parts(&e, md5, 1);
    assert_true(str_eq(etag_str(&e), STR("00112233445566778899aabbccddeeff-1")));
}

static void etags_compare_with_any_quotes_but_never_weakly(void **state)
{
    struct etag e = etag_of("abc-2"), none = {0};

    (void)state;
    assert_true(etag_matches(&e, STR("abc-2")));
    assert_true(etag_matches(&e, STR(" \"abc-2\" ")));
    assert_true(etag_matches(&e, STR("&quot;abc-2&quot;")));
    assert_false(etag_matches(&e, STR("W/\"abc-2\"")));
    assert_false(etag_matches(&e, STR("\"abc-2")));
    assert_false(etag_matches(&e, STR("abc")));
    assert_false(etag_matches(&e, STR("")));
    assert_false(etag_matches(&e, STR("\"")));
    assert_false(etag_matches(&none, STR("\"\"")));
}

static struct cond cond_of(const char *match, const char *none_match, int64_t modified, int64_t unmodified)
{
    return (struct cond){str_z(match), str_z(none_match), modified, unmodified};
}

#define NO COND_NO_TIME

static void read_is(struct cond c, enum err e)
{
    struct object_info info = {.etag = etag_of("e1"), .mtime_ns = INT64_C(1000999999999)};

    assert_int_equal(cond_check_read(&c, &info, 5000), e);
    assert_int_equal(cond_check_copy_source(&c, &info, 5000), e == ERR_NOT_MODIFIED ? ERR_PRECONDITION : e);
}

static void read_conditions_follow_rfc_9110(void **state)
{
    (void)state;
    read_is((struct cond)COND_INIT, ERR_OK);
    read_is(cond_of("\"e1\"", NULL, NO, NO), ERR_OK);
    read_is(cond_of("*", NULL, NO, NO), ERR_OK);
    read_is(cond_of("\"e0\", \"e1\"", NULL, NO, NO), ERR_OK);
    read_is(cond_of("\"e0\"", NULL, NO, NO), ERR_PRECONDITION);
    read_is(cond_of("", NULL, NO, NO), ERR_PRECONDITION);
    read_is(cond_of(NULL, "e1", NO, NO), ERR_NOT_MODIFIED);
    read_is(cond_of(NULL, "*", NO, NO), ERR_NOT_MODIFIED);
    read_is(cond_of(NULL, "e0", NO, NO), ERR_OK);
    read_is(cond_of(NULL, NULL, 1000, NO), ERR_NOT_MODIFIED);
    read_is(cond_of(NULL, NULL, 999, NO), ERR_OK);
    read_is(cond_of(NULL, NULL, 6000, NO), ERR_OK); /* in the future */
    read_is(cond_of(NULL, NULL, NO, 1000), ERR_OK);
    read_is(cond_of(NULL, NULL, NO, 999), ERR_PRECONDITION);
    read_is(cond_of("e1", NULL, NO, 999), ERR_OK);          /* If-Match wins */
    read_is(cond_of(NULL, "e0", 1000, NO), ERR_OK);         /* If-None-Match wins */
    read_is(cond_of("e0", "e1", NO, NO), ERR_PRECONDITION); /* 412 before 304 */
}

static void write_is(struct cond c, enum err absent, enum err present)
{
    struct object_info info = {.etag = etag_of("e1")};

    assert_int_equal(cond_check_write(&c, NULL), absent);
    assert_int_equal(cond_check_write(&c, &info), present);
}

static void write_conditions_know_absence(void **state)
{
    (void)state;
    write_is((struct cond)COND_INIT, ERR_OK, ERR_OK);
    write_is(cond_of(NULL, "*", NO, NO), ERR_OK, ERR_PRECONDITION);
    write_is(cond_of(NULL, "e1", NO, NO), ERR_OK, ERR_PRECONDITION);
    write_is(cond_of(NULL, "e2", NO, NO), ERR_OK, ERR_OK);
    write_is(cond_of("e1", NULL, NO, NO), ERR_NO_SUCH_KEY, ERR_OK);
    write_is(cond_of("*", NULL, NO, NO), ERR_NO_SUCH_KEY, ERR_OK);
    write_is(cond_of("e2", NULL, NO, NO), ERR_NO_SUCH_KEY, ERR_PRECONDITION);
}

static void delete_of_what_is_absent_succeeds(void **state)
{
    struct object_info info = {.etag = etag_of("e1")};
    struct cond right = cond_of("\"e1\"", NULL, NO, NO), wrong = cond_of("e2", NULL, NO, NO);

    (void)state;
    assert_int_equal(cond_check_delete(&right, NULL), ERR_OK);
    assert_int_equal(cond_check_delete(&wrong, NULL), ERR_OK);
    assert_int_equal(cond_check_delete(&right, &info), ERR_OK);
    assert_int_equal(cond_check_delete(&wrong, &info), ERR_PRECONDITION);
}

static void keys_roll_up_behind_the_prefix(void **state)
{
    struct str common = STR_NONE;

    (void)state;
    assert_false(key_rolls_up(STR("a/b"), STR(""), STR(""), &common));
    assert_true(key_rolls_up(STR("a/b"), STR(""), STR("/"), &common));
    assert_true(str_eq(common, STR("a/")));
    assert_false(key_rolls_up(STR("a/b"), STR("a/"), STR("/"), &common));
    assert_true(key_rolls_up(STR("a//b"), STR("a/"), STR("/"), &common));
    assert_true(str_eq(common, STR("a//")));
    assert_true(key_rolls_up(STR("xx--y--z"), STR("x"), STR("--"), &common));
    assert_true(str_eq(common, STR("xx--")));
}

static void upload_checksums_have_defaults_and_limits(void **state)
{
    enum hash_alg alg = HASH_NONE;
    enum checksum_type type = CHECKSUM_NONE;

    (void)state;
    assert_true(upload_checksum(&alg, &type));
    assert_int_equal(alg, HASH_CRC64NVME);
    assert_int_equal(type, CHECKSUM_FULL_OBJECT);
    alg = HASH_CRC32, type = CHECKSUM_NONE;
    assert_true(upload_checksum(&alg, &type));
    assert_int_equal(type, CHECKSUM_COMPOSITE);
    alg = HASH_SHA256, type = CHECKSUM_FULL_OBJECT;
    assert_false(upload_checksum(&alg, &type));
    alg = HASH_CRC64NVME, type = CHECKSUM_COMPOSITE;
    assert_false(upload_checksum(&alg, &type));
    alg = HASH_NONE, type = CHECKSUM_FULL_OBJECT;
    assert_false(upload_checksum(&alg, &type));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_resolve_against_the_size),
        cmocka_unit_test(etags_are_made_and_read_back),
        cmocka_unit_test(etags_compare_with_any_quotes_but_never_weakly),
        cmocka_unit_test(read_conditions_follow_rfc_9110),
        cmocka_unit_test(write_conditions_know_absence),
        cmocka_unit_test(delete_of_what_is_absent_succeeds),
        cmocka_unit_test(keys_roll_up_behind_the_prefix),
        cmocka_unit_test(upload_checksums_have_defaults_and_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
