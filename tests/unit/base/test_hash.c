#include "unit.h"

#include <stdlib.h>

#include "base/hash.h"

static void check_hex(enum hash_alg alg, struct str in, const char *hex)
{
    struct digest d;
    char text[2 * HASH_MAX_LEN + 1];

    hash_of(alg, in, &d);
    hex_encode(d.b, d.n, text);
    text[2 * d.n] = 0;
    assert_string_equal(text, hex);
}

static void digests_of_known_texts(void **state)
{
    (void)state;
    struct str nine = STR("123456789");
    check_hex(HASH_CRC32, nine, "cbf43926");
    check_hex(HASH_CRC32C, nine, "e3069283");
    check_hex(HASH_CRC64NVME, nine, "ae8b14860a799888");
    check_hex(HASH_MD5, nine, "25f9e794323b453885f5181f1b624d0b");
    check_hex(HASH_SHA1, STR("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_hex(HASH_SHA256, STR(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_hex(HASH_XXH64, STR(""), "ef46db3751d8e999");
    check_hex(HASH_XXH3, STR(""), "2d06800538d394c2");
    check_hex(HASH_XXH128, STR(""), "99aa06d3014798d86001c324468d497f");
}

static void crcs_combine(void **state)
{
    enum { N = 5 << 20 };
    char *parts = malloc(3 * N);
    struct digest a, b, c, whole;
    static const enum hash_alg all[] = {HASH_CRC32, HASH_CRC32C, HASH_CRC64NVME};

    (void)state;
    for (int i = 0; i < 3; i++)
        memset(parts + i * N, 'A' + i, N);
    for (size_t i = 0; i < 3; i++) {
        hash_of(all[i], str_n(parts, N), &a);
        hash_of(all[i], str_n(parts + N, N), &b);
        hash_of(all[i], str_n(parts + 2 * N, N - 7), &c);
        hash_of(all[i], str_n(parts, 3 * N - 7), &whole);
        hash_combine(&a, &b, N);
        hash_combine(&a, &c, N - 7);
        assert_true(digest_eq(&a, &whole));
    }
    check_hex(HASH_CRC64NVME, str_n(parts, N), "2ff1385989fcbfdf");
    check_hex(HASH_CRC64NVME, str_n(parts, 3 * N), "8bee8b474cb7785a");
    free(parts);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(digests_of_known_texts), cmocka_unit_test(crcs_combine)};

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
