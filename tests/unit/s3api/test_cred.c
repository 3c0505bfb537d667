#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "signing.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

/* "Deriving a signing key": HMAC of "x" under the key of 20130524/us-east-1/s3, computed apart with Python. */
static void signing_keys_are_derived_and_cached(void **state)
{
    struct creds *c = creds_new();
    struct hmac key;
    uint8_t mac[32];
    char hex[65] = "";

    (void)state;
    assert_false(signing_key(c, STR("a"), STR("20130524"), STR("us-east-1"), &key));
    assert_int_equal(creds_put(c, STR("a"), STR(SECRET)), ERR_OK);
    for (int round = 0; round < 3; round++) {
        assert_true(signing_key(c, STR("a"), STR("20130524"), STR("us-east-1"), &key));
        hmac_of(&key, STR("x"), mac);
        hex_encode(mac, 32, hex);
        assert_string_equal(hex, "1b1329eb3788428ec57c605f56c86ab572a428332563d2d4c2c0ee4076832ac4");
        /* others in between, regions too long for the cache included */
        for (int i = 0; i < 500; i++) {
            char region[64];
            int n = snprintf(region, sizeof(region), "region-%d-%s", i,
                             i % 3 ? "" : "0123456789012345678901234567890123456789");
            assert_true(signing_key(c, STR("a"), STR("20130524"), str_n(region, (size_t)n), &key));
        }
    }
    creds_free(c);
}

static void a_replaced_secret_is_used_at_once(void **state)
{
    struct creds *c = creds_new();
    struct hmac key;
    uint8_t first[32], second[32];
    struct iam_key k;

    (void)state;
    assert_int_equal(creds_put(c, STR("a"), STR("one")), ERR_OK);
    assert_true(signing_key(c, STR("a"), STR("20130524"), STR("r"), &key));
    hmac_of(&key, STR("x"), first);
    assert_int_equal(creds_put(c, STR("a"), STR("two")), ERR_OK);
    assert_true(signing_key(c, STR("a"), STR("20130524"), STR("r"), &key));
    hmac_of(&key, STR("x"), second);
    assert_memory_not_equal(first, second, 32);
    assert_true(signing_secret(c, STR("a"), &k));
    assert_true(str_eq(str_n(k.secret, k.secret_n), STR("two")));
    assert_false(signing_secret(c, STR("A"), &k));
    assert_false(signing_secret(c, STR_NONE, &k));
    creds_free(c);
}

static void keys_have_bounds(void **state)
{
    char text[SECRET_KEY_MAX + 1] = {'x'};
    struct creds *c = creds_new();

    (void)state;
    assert_int_equal(creds_put(c, STR(""), STR("s")), ERR_INVALID_ARGUMENT);
    assert_int_equal(creds_put(c, STR("a"), STR("")), ERR_INVALID_ARGUMENT);
    assert_int_equal(creds_put(c, str_n(text, ACCESS_KEY_MAX + 1), STR("s")), ERR_INVALID_ARGUMENT);
    assert_int_equal(creds_put(c, STR("a"), str_n(text, SECRET_KEY_MAX + 1)), ERR_INVALID_ARGUMENT);
    assert_int_equal(creds_put(c, str_n(text, ACCESS_KEY_MAX), str_n(text, SECRET_KEY_MAX)), ERR_OK);
    struct hmac key;
    assert_true(signing_key(c, str_n(text, ACCESS_KEY_MAX), STR("20130524"), STR(""), &key));
    creds_free(c);
}

static void owner_ids_are_stable(void **state)
{
    char a[64], b[64];

    (void)state;
    creds_owner_id(STR("a"), a);
    assert_memory_equal(a, "ad7cceb1c81e6b5172da1c941e18b296edc4bdbf2d46b4b2a5659da4b0ad09a1", 64);
    creds_owner_id(STR("b"), b);
    assert_memory_not_equal(a, b, 64);
}

static struct creds *shared;
static atomic_bool stop;

static void *reader(void *arg)
{
    struct hmac key;
    struct iam_key k;
    int n = *(int *)arg;

    while (!stop) {
        char region[8];
        int len = snprintf(region, sizeof(region), "r%d", n++ % 200);
        if (!signing_key(shared, STR("a"), STR("20130524"), str_n(region, (size_t)len), &key) ||
            !signing_secret(shared, STR("a"), &k))
            abort();
    }
    return NULL;
}

static void threads_share_the_table(void **state)
{
    pthread_t threads[3];
    int seeds[3] = {0, 50, 100};

    (void)state;
    shared = creds_new();
    assert_int_equal(creds_put(shared, STR("a"), STR("s")), ERR_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &seeds[i]), 0);
    for (int i = 0; i < 300; i++) {
        char name[16];
        int n = snprintf(name, sizeof(name), "key%d", i);
        assert_int_equal(creds_put(shared, str_n(name, (size_t)n), STR("s")), ERR_OK);
    }
    stop = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    creds_free(shared);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(signing_keys_are_derived_and_cached),
        cmocka_unit_test(a_replaced_secret_is_used_at_once),
        cmocka_unit_test(keys_have_bounds),
        cmocka_unit_test(owner_ids_are_stable),
        cmocka_unit_test(threads_share_the_table),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
