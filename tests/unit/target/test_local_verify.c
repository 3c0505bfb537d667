#include "target/local_verify.h"

#include "unit.h"

#include "base/keyring.h"
#include "local_fixture.h"

enum { PART = 5 << 20 };
static char *content;

static int setup_bucket(void **state, bool encrypted)
{
    static struct keyring keys;
    char why[KEYRING_WHY_MAX];
    static const size_t sizes[] = {PART, 100000};
    struct local_fixture *f = fixture_new(1);

    content = mem_alloc(8 << 20);
    random_bytes(content, 8 << 20);
    assert_int_equal(keyring_parse(STR("a-master-key-that-is-long-enough-1"), &keys, why), ERR_OK);
    f->conf.keys = &keys;
    f->encrypted = encrypted;
    fixture_open(f);
    assert_int_equal(t_put(f, 1, "empty", STR("")), ERR_OK);
    assert_int_equal(t_put(f, 1, "small", STR("tiny")), ERR_OK);
    assert_int_equal(t_put(f, 1, "large", str_n(content, 7777777)), ERR_OK);
    assert_int_equal(t_put(f, 1, "even", str_n(content, 4 << 20)), ERR_OK);
    assert_int_equal(t_multipart(f, 1, "multi", content, sizes, 2), ERR_OK);
    assert_int_equal(t_copy(f, 1, "multi", "copy"), ERR_OK);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_bucket(state, false);
}

static int setup_encrypted(void **state)
{
    return setup_bucket(state, true);
}

static int teardown(void **state)
{
    struct local_fixture *f = *state;

    fixture_close(f);
    fixture_free(f);
    free(content);
    return 0;
}

static enum err verify(struct local_fixture *f, const char *key, struct local_verify_res *res)
{
    struct local_verify_req req = {.arena = &f->arena, .bucket = {1, STR("bucket")}, .key = str_z(key)};
    struct waiting w;

    local_verify(f->local, &req, res, wait_begin(f, &w));
    return wait_end(f, &w);
}

static void expect_sound(struct local_fixture *f, const char *key, uint64_t bytes)
{
    struct local_verify_res res;

    assert_int_equal(verify(f, key, &res), ERR_OK);
    assert_true(res.bytes == bytes);
    assert_true(res.info.size == bytes);
    assert_int_equal(res.damage.n, 0);
}

static void sound_content_is_sound(void **state)
{
    struct local_fixture *f = *state;
    struct local_verify_res res;

    for (int again = 0; again < 2; again++) {
        expect_sound(f, "empty", 0);
        expect_sound(f, "small", 4);
        expect_sound(f, "large", 7777777);
        expect_sound(f, "even", 4 << 20);
        expect_sound(f, "multi", PART + 100000);
        expect_sound(f, "copy", PART + 100000);
        fixture_reopen(f);
    }
    assert_int_equal(verify(f, "none", &res), ERR_NO_SUCH_KEY);
}

/* Runs a shell command for each content file of the mountpath. */
static void run(struct local_fixture *f, const char *command)
{
    char line[800];

    snprintf(line, sizeof(line), "cd %s && %s", f->paths[0], command);
    assert_int_equal(system(line), 0);
}

static void expect_damage(struct local_fixture *f, const char *key, const char *where)
{
    struct local_verify_res res;

    assert_int_equal(verify(f, key, &res), ERR_CORRUPT);
    if (str_find(res.damage, STR("segment ")) != 0 || str_find(res.damage, str_z(where)) == SIZE_MAX)
        fail_msg("%.*s", (int)res.damage.n, res.damage.p);
    assert_true(res.info.size > 0);
}

static void damaged_content_is_found(void **state)
{
    struct local_fixture *f = *state;

    run(f, "for s in $(find segments -type f -size +3000k); do printf xyz | dd of=$s bs=1 seek=3145800 conv=notrunc "
           "status=none; done");
    expect_damage(f, "large", "the MiB at 3145728");
    expect_damage(f, "even", "the MiB at 3145728");
    expect_damage(f, "multi", "the MiB at 3145728");
    expect_damage(f, "copy", "the MiB at 3145728");
    expect_sound(f, "small", 4);
}

static void the_last_byte_counts(void **state)
{
    struct local_fixture *f = *state;

    run(f, "for s in $(find segments -type f -size +7000k); do printf '\\000\\000' | dd of=$s bs=1 seek=7777775 "
           "conv=notrunc status=none; done");
    expect_damage(f, "large", "the MiB at 7340032");
}

static void lost_and_shortened_files_are_found(void **state)
{
    struct local_fixture *f = *state;

    run(f, "for s in $(find segments -type f -size +7000k); do truncate -s 7000000 $s; done");
    expect_damage(f, "large", "footer");
    run(f, "find segments -type f -size +3000k -delete");
    expect_damage(f, "large", "missing");
    expect_damage(f, "multi", "missing");
    expect_sound(f, "small", 4);
}

static void cancelled_verification_ends(void **state)
{
    struct local_fixture *f = *state;

    for (int turns = 0; turns < 12; turns++) {
        struct local_verify_req req = {.arena = &f->arena, .bucket = {1, STR("bucket")}, .key = STR("large")};
        struct local_verify_res res;
        struct waiting w;
        local_verify(f->local, &req, &res, wait_begin(f, &w));
        for (int i = 0; i < turns && !w.done; i++)
            loop_turn(f->loop, 1);
        call_cancel(&w.call);
        enum err e = wait_end(f, &w);
        assert_true(e == ERR_CANCELLED || e == ERR_OK);
    }
}

/* What can't be opened can't be called sound, nor damaged. */
static void a_missing_key_is_told(void **state)
{
    struct local_fixture *f = *state;
    struct local_verify_res res;
    static const char *const keys[] = {"small", "large", "multi"};

    f->conf.keys = NULL;
    fixture_reopen(f);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(verify(f, keys[i], &res), ERR_IO);
        assert_true(str_find(res.damage, STR("its key")) != SIZE_MAX);
    }
    expect_sound(f, "empty", 0);
}

/* Objects that come and go meanwhile are not damaged. */
static void replaced_objects_are_not_damaged(void **state)
{
    struct local_fixture *f = *state;

    for (size_t i = 0; i < 60; i++) {
        struct local_verify_req req = {.arena = &f->arena, .bucket = {1, STR("bucket")}, .key = STR("large")};
        struct local_verify_res res;
        struct waiting w;
        local_verify(f->local, &req, &res, wait_begin(f, &w));
        if (i % 3 == 2)
            assert_int_equal(t_delete(f, 1, "large", NULL), ERR_OK);
        else
            assert_int_equal(t_put(f, 1, "large", str_n(content, i % 2 ? 3000 : 40000 * i)), ERR_OK);
        enum err e = wait_end(f, &w);
        assert_true(e == ERR_OK || e == ERR_NO_SUCH_KEY);
    }
}

#define TEST(t)      cmocka_unit_test_setup_teardown(t, setup, teardown)
#define ENCRYPTED(t) cmocka_unit_test_setup_teardown(t, setup_encrypted, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(sound_content_is_sound),
        TEST(damaged_content_is_found),
        TEST(the_last_byte_counts),
        TEST(lost_and_shortened_files_are_found),
        TEST(cancelled_verification_ends),
        TEST(replaced_objects_are_not_damaged),
        ENCRYPTED(sound_content_is_sound),
        ENCRYPTED(damaged_content_is_found),
        ENCRYPTED(lost_and_shortened_files_are_found),
        ENCRYPTED(a_missing_key_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
