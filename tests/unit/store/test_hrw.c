#include "unit.h"

#include <stdio.h>

#include "store/hrw.h"

/* Objects lie on disks where these say. A change of any number loses data. */
static void golden_vectors_never_change(void **state)
{
    static const struct {
        uint64_t uid;
        const char *key;
        uint64_t hash;
    } v[] = {
        {1, "", 0x4dc5b0cc826f6703},
        {1, "a", 0xd2f6d0996f37a720},
        {2, "a", 0xaa71cee2aadfd727},
        {UINT64_C(0x0123456789abcdef), "dir/file-000001.bin", 0x0f8c951dbe913fb2},
    };
    uint64_t seeds[3] = {hrw_seed(STR("disk-a")), hrw_seed(STR("disk-b")), hrw_seed(STR("disk-c"))};
    char chosen[17] = "";

    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        uint64_t got = hrw_key(v[i].uid, str_z(v[i].key));
        if (got != v[i].hash)
            fail_msg("vector %zu: %016llx", i, (unsigned long long)got);
    }
    for (unsigned i = 0; i < 16; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        chosen[i] = (char)('a' + hrw_pick(hrw_key(7, str_z(key)), seeds, 3));
    }
    assert_string_equal(chosen, "cbbacbaaaabacaab");
}

static void keys_spread_and_only_the_lost_places_keys_move(void **state)
{
    uint64_t seeds[4];
    unsigned held[4] = {0}, moved = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        seeds[i] = hrw_seed(str_n(&i, sizeof(i)));
    for (unsigned i = 0; i < 10000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%u", i);
        uint64_t h = hrw_key(1, str_z(key));
        size_t four = hrw_pick(h, seeds, 4), three = hrw_pick(h, seeds, 3);
        held[four]++;
        if (four != 3)
            assert_int_equal(four, three);
        else
            moved++;
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(held[i], 2300, 2700);
    assert_int_equal(moved, held[3]);
}

static void costs_never_change(void **state)
{
    static const struct {
        uint64_t score, cost;
    } v[] = {
        {0x0000000000000000, 0x4000000000000000}, {0x0000000000000001, 0x4000000000000000},
        {0x0000000000000002, 0x3e6a3fe5c6042978}, {0x8000000000000000, 0x0100000000000000},
        {0xffffffffffffffff, 0x0000000000000001}, {0x0123456789abcdef, 0x07d05412fb31a2ab},
        {0xd2f6d0996f37a720, 0x00477623e13c3ef2}, {0xfedcba9876543210, 0x0001a53035a9901e},
        {0x00000000ffffffff, 0x200000000171b0eb}, {0x5555555555555555, 0x0195c0314b6c83bf},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
        if (hrw_cost(v[i].score) != v[i].cost)
            fail_msg("cost of %016llx: %016llx", (unsigned long long)v[i].score,
                     (unsigned long long)hrw_cost(v[i].score));
}

/* Bit by bit: squaring a number in [1, 2) doubles its logarithm, whose next bit says whether it is 2 or more now. */
static uint64_t exact_cost(uint64_t s)
{
    unsigned zeros = (unsigned)__builtin_clzll(s);
    uint64_t x = s << zeros, fraction = 0;

    for (int i = 0; i < 56; i++) {
        unsigned __int128 square = (unsigned __int128)x * x;
        bool over = square >> 127;
        fraction = fraction << 1 | over;
        x = (uint64_t)(square >> (over ? 64 : 63));
    }
    return ((uint64_t)(zeros + 1) << 56) - fraction;
}

static void costs_are_logarithms(void **state)
{
    uint64_t before = UINT64_MAX, s = 1;

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        s = hrw_score(i, 42) | 1;
        int64_t off = (int64_t)(hrw_cost(s) - exact_cost(s));
        assert_in_range(off + ((int64_t)1 << 38), 0, (int64_t)1 << 39); /* 2^-18 */
    }
    for (s = 1; s >> 62 == 0; s = s + s / 97 + 1) {
        assert_true(hrw_cost(s) <= before);
        before = hrw_cost(s);
    }
    assert_true(hrw_cost(0) <= UINT64_C(1) << 62);
    assert_true(hrw_cost(UINT64_MAX) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors_never_change),
        cmocka_unit_test(costs_never_change),
        cmocka_unit_test(costs_are_logarithms),
        cmocka_unit_test(keys_spread_and_only_the_lost_places_keys_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
