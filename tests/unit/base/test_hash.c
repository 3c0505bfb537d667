#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/crc64.h"
#include "base/hash.h"

static void check_hex(enum hash_alg alg, struct str in, const char *hex)
{
    struct digest d;
    char text[2 * HASH_MAX_LEN + 1];

    hash_of(alg, in, &d);
    hex_encode(d.b, d.n, text);
    text[2 * d.n] = 0;
    assert_int_equal(d.alg, alg);
    assert_int_equal(d.n, hash_len(alg));
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

enum { PATTERN = 1000 };
static unsigned char pattern[PATTERN]; /* byte i = 7 * i */

/* Made with Python's hashlib, xxhash 3 and awscrt. */
static const struct {
    enum hash_alg alg;
    const char *hex;
} of_pattern[] = {
    {HASH_CRC32, "114ad5ff"},
    {HASH_CRC32C, "79a16ae6"},
    {HASH_CRC64NVME, "9a9a15922194c6ca"},
    {HASH_SHA1, "38f3aa587f4aa04965a359f9151092759b3a4c2a"},
    {HASH_SHA256, "89f4ff56a25dd1db06a4ce6033603775d705fb96f30f8693733fef602a1ca532"},
    {HASH_SHA512,
     "5c3d2be85b82f8ace3dbd4cf34e814cf68201a9f3e5730253ee42fd46fbe6db2e68ab158e76a103df431f3ad279d8fa3ff6b148e21ced56"
     "feb321a6d28d101f1"},
    {HASH_MD5, "de809ff794e91b68f9e91a2b7030bcb0"},
    {HASH_XXH64, "25275608a9cfc168"},
    {HASH_XXH3, "10ad30264426c830"},
    {HASH_XXH128, "abee229cdadad76d10ad30264426c830"},
};
enum { ALGS = sizeof(of_pattern) / sizeof(of_pattern[0]) };

static void all_algorithms_agree_with_other_makers_in_any_split(void **state)
{
    (void)state;
    assert_int_equal(ALGS, HASH_COUNT - 1);
    for (size_t i = 0; i < ALGS; i++) {
        struct digest whole, parts;
        struct hash h;
        check_hex(of_pattern[i].alg, str_n(pattern, PATTERN), of_pattern[i].hex);
        hash_of(of_pattern[i].alg, str_n(pattern, PATTERN), &whole);
        for (size_t step = 1; step <= PATTERN; step = step * 3 - 1 + (step == 1)) {
            hash_init(&h, of_pattern[i].alg);
            for (size_t at = 0; at < PATTERN; at += step)
                hash_update(&h, pattern + at, PATTERN - at < step ? PATTERN - at : step);
            hash_update(&h, NULL, 0);
            hash_final(&h, &parts);
            assert_true(digest_eq(&whole, &parts));
        }
    }
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++)
        assert_int_equal(hash_by_name(hash_name((enum hash_alg)i)), i);
    assert_int_equal(hash_by_name(STR("crc64nvme")), HASH_CRC64NVME);
    assert_int_equal(hash_by_name(STR("crc16")), HASH_NONE);
    assert_int_equal(hash_by_name(STR("")), HASH_NONE);
    assert_int_equal(hash_len(HASH_NONE), 0);
}

static void an_unfinished_hash_is_dropped(void **state)
{
    struct hash h = {.alg = HASH_NONE};

    (void)state;
    hash_drop(&h);
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++) {
        hash_init(&h, (enum hash_alg)i);
        hash_update(&h, "x", 1);
        hash_drop(&h);
        hash_drop(&h);
    }
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
        hash_of(all[i], STR(""), &b);
        hash_combine(&a, &b, 0);
        assert_true(digest_eq(&a, &whole));
    }
    check_hex(HASH_CRC64NVME, str_n(parts, N), "2ff1385989fcbfdf");
    check_hex(HASH_CRC64NVME, str_n(parts, 3 * N), "8bee8b474cb7785a");
    free(parts);
}

/* All short lengths at all alignments, then random ones, continued from any state. */
static void crc64_folding_equals_the_tables(void **state)
{
    enum { N = 70000 };
    unsigned char *p = malloc(N + 16);
    uint64_t seed = 1, crc = 0;

    (void)state;
    for (int i = 0; i < N + 16; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        p[i] = (unsigned char)(seed >> 56);
    }
    for (size_t n = 0; n <= 700; n++)
        for (size_t at = 0; at < 16; at++) {
            assert_true(crc64_nvme(crc, p + at, n) == crc64_nvme_table(crc, p + at, n));
            crc = crc64_nvme(crc, p + at, n);
        }
    for (int i = 0; i < 300; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t n = (size_t)(seed >> 33) % N, at = (size_t)(seed >> 60);
        assert_true(crc64_nvme(crc, p + at, n) == crc64_nvme_table(crc, p + at, n));
        crc ^= seed;
    }
    free(p);
}

static void check_mac(const uint8_t *mac, size_t n, const char *hex)
{
    char text[65] = "";

    hex_encode(mac, n, text);
    assert_string_equal(text, hex);
}

/* RFC 4231 cases 2 and 6 (a key longer than a block), RFC 2202 cases 2 and 6. */
static void hmacs_of_known_texts(void **state)
{
    char key[131];
    struct str big = str_n(key, 131), text = STR("what do ya want for nothing?");
    struct str longer = STR("Test Using Larger Than Block-Size Key - Hash Key First");
    struct hmac h;
    uint8_t mac[32];

    (void)state;
    memset(key, 0xaa, sizeof(key));
    hmac_sha256(STR("Jefe"), text, mac);
    check_mac(mac, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hmac_sha256(big, longer, mac);
    check_mac(mac, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac_key(&h, STR("Jefe"));
    for (int i = 0; i < 2; i++) { /* the state is kept */
        hmac_of(&h, text, mac);
        check_mac(mac, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
    hmac_sha1(STR("Jefe"), text, mac);
    check_mac(mac, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    hmac_sha1(str_n(key, 80), longer, mac);
    check_mac(mac, 20, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
}

static double ns_per(uint64_t since, double count)
{
    return (double)(clock_mono_ns() - since) / count;
}

/* For a person: what signing and hashing cost here. SLUICE_BENCH=1 ./test_base_hash */
static void costs(void **state)
{
    enum { N = 1 << 20, SMALL = 20000 };
    char *p = calloc(1, N);
    struct digest d;
    struct hmac h;
    uint8_t mac[32];
    uint64_t t;

    (void)state;
    if (!getenv("SLUICE_BENCH")) {
        free(p);
        skip();
    }
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++) {
        t = clock_mono_ns();
        for (int k = 0; k < 50; k++)
            hash_of((enum hash_alg)i, str_n(p, N), &d);
        print_message("%-10s %6.2f GB/s\n", hash_name((enum hash_alg)i).p, 1 / ns_per(t, 50.0 * N));
    }
    t = clock_mono_ns();
    for (int k = 0; k < SMALL; k++)
        hash_of(HASH_SHA256, str_n(p, 600), &d);
    print_message("SHA-256 of 600 bytes  %5.0f ns\n", ns_per(t, SMALL));
    hmac_key(&h, str_n(p, 32));
    t = clock_mono_ns();
    for (int k = 0; k < SMALL; k++)
        hmac_of(&h, str_n(p, 150), mac);
    print_message("HMAC of 150 bytes     %5.0f ns\n", ns_per(t, SMALL));
    free(p);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_of_known_texts), cmocka_unit_test(all_algorithms_agree_with_other_makers_in_any_split),
        cmocka_unit_test(names_go_both_ways),     cmocka_unit_test(an_unfinished_hash_is_dropped),
        cmocka_unit_test(crcs_combine),           cmocka_unit_test(crc64_folding_equals_the_tables),
        cmocka_unit_test(hmacs_of_known_texts),   cmocka_unit_test(costs),
    };

    hash_setup();
    for (int i = 0; i < PATTERN; i++)
        pattern[i] = (unsigned char)(7 * i);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
