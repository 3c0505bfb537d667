/* Chunks open only as what, where and under which key they were sealed. */
#include "unit.h"

#include <string.h>

#include "base/seal.h"

static uint8_t key[SEAL_KEY];
static char plain[SEAL_CHUNK], sealed[SEAL_CHUNK], opened[SEAL_CHUNK];
static uint8_t tag[SEAL_TAG];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)(i * 7 + i / 256);
    return seal_new_key(key) == ERR_OK ? 0 : -1;
}

static void there_and_back(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 4097, SEAL_CHUNK};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(seal_chunk(key, i, true, str_n(plain, sizes[i]), sealed, tag), ERR_OK);
        assert_memory_not_equal(sealed, plain, sizes[i]);
        assert_int_equal(seal_open_chunk(key, i, true, str_n(sealed, sizes[i]), tag, opened), ERR_OK);
        assert_memory_equal(opened, plain, sizes[i]);
    }
    memcpy(opened, plain, sizeof(opened)); /* in place */
    assert_int_equal(seal_chunk(key, 9, false, str_n(opened, SEAL_CHUNK), opened, tag), ERR_OK);
    assert_int_equal(seal_open_chunk(key, 9, false, str_n(opened, SEAL_CHUNK), tag, opened), ERR_OK);
    assert_memory_equal(opened, plain, sizeof(plain));
}

/* AES-256-GCM under the key 0..31, nonce 1..8 0 0 0 1, of 16 zero bytes: made with another implementation (Python's cryptography). */
static void is_aes_gcm(void **state)
{
    static const char zeros[16];
    uint8_t fixed[SEAL_KEY], t[SEAL_TAG];

    (void)state;
    for (int i = 0; i < SEAL_KEY; i++)
        fixed[i] = (uint8_t)i;
    assert_int_equal(seal_chunk(fixed, 0x0102030405060708, true, str_n(zeros, sizeof(zeros)), sealed, t), ERR_OK);
    assert_memory_equal(sealed, "\x65\x8b\xe1\xb3\xa3\xc2\xb0\xf0\xa0\x6c\x34\xa3\x67\xd8\x81\x96", 16);
    assert_memory_equal(t, "\xc0\xdc\x1d\xed\x62\x37\x9b\x90\x5d\x22\xa7\x73\x7c\x38\x09\x80", 16);
}

static void refuses(uint8_t *k, uint64_t chunk, bool last, size_t n)
{
    memset(opened, 1, n);
    assert_int_equal(seal_open_chunk(k, chunk, last, str_n(sealed, n), tag, opened), ERR_CORRUPT);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(opened[i], 0);
}

static void nothing_else_opens(void **state)
{
    uint8_t other[SEAL_KEY];

    (void)state;
    memcpy(other, key, sizeof(other));
    other[31] ^= 1;
    assert_int_equal(seal_chunk(key, 5, true, str_n(plain, 1000), sealed, tag), ERR_OK);
    refuses(other, 5, true, 1000);
    refuses(key, 4, true, 1000);
    refuses(key, 5, false, 1000);
    refuses(key, 5, true, 999);
    sealed[999] ^= 1;
    refuses(key, 5, true, 1000);
    sealed[999] ^= 1;
    tag[0] ^= 1;
    refuses(key, 5, true, 1000);
}

static void keys_differ(void **state)
{
    uint8_t other[SEAL_KEY], zero[SEAL_KEY] = {0};

    (void)state;
    assert_int_equal(seal_new_key(other), ERR_OK);
    assert_memory_not_equal(other, key, sizeof(key));
    seal_forget(other);
    assert_memory_equal(other, zero, sizeof(zero));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(is_aes_gcm),
        cmocka_unit_test(nothing_else_opens),
        cmocka_unit_test(keys_differ),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
