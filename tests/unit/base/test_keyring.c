/* Wrapped keys open with the secret that wrapped them, as long as it is there. */
#include "unit.h"

#include <string.h>

#include "base/hash.h"
#include "base/keyring.h"

#define OLD "old-master-key-of-enough-characters-1"
#define NEW "new-master-key-of-enough-characters-2"

static struct keyring made(const char *text)
{
    struct keyring k;
    char why[KEYRING_WHY_MAX] = "";

    assert_int_equal(keyring_parse(str_z(text), &k, why), ERR_OK);
    return k;
}

static void rotates(void **state)
{
    struct keyring before = made(OLD "\n"), both = made("# newest first\n" NEW "\n\n" OLD "\n"), after = made(NEW);
    uint8_t key[SEAL_KEY], got[SEAL_KEY], old[KEYRING_WRAPPED], fresh[KEYRING_WRAPPED];

    (void)state;
    assert_int_equal(seal_new_key(key), ERR_OK);
    keyring_wrap(&before, key, STR("a"), old);
    keyring_wrap(&both, key, STR("a"), fresh);
    assert_int_equal(keyring_open(&both, old, STR("a"), got), ERR_OK);
    assert_memory_equal(got, key, sizeof(key));
    memset(got, 0, sizeof(got));
    assert_int_equal(keyring_open(&after, fresh, STR("a"), got), ERR_OK);
    assert_memory_equal(got, key, sizeof(key));
    assert_int_equal(keyring_open(&after, old, STR("a"), got), ERR_NOT_FOUND);
    assert_int_equal(keyring_open(&before, fresh, STR("a"), got), ERR_NOT_FOUND);
    assert_int_equal(keyring_open(&both, old, STR("b"), got), ERR_CORRUPT);
    old[KEYRING_WRAPPED - 1] ^= 1;
    assert_int_equal(keyring_open(&both, old, STR("a"), got), ERR_CORRUPT);
}

static void refused(const char *text, const char *says)
{
    struct keyring k;
    char why[KEYRING_WHY_MAX] = "";

    assert_int_equal(keyring_parse(str_z(text), &k, why), ERR_INVALID_ARGUMENT);
    if (!strstr(why, says))
        fail_msg("%s", why);
}

static void bad_files(void **state)
{
    (void)state;
    refused("", "no key");
    refused("# only this\n\n", "no key");
    refused(OLD "\nshort\n", "line 2: a key of less than 32");
    refused(OLD "\n" NEW "\n" OLD "\n", "line 3: a key that is there already");
}

static int setup(void **state)
{
    (void)state;
    hash_setup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rotates), cmocka_unit_test(bad_files)};

    return cmocka_run_group_tests(tests, setup, NULL);
}
