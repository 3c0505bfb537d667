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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors_never_change),
        cmocka_unit_test(keys_spread_and_only_the_lost_places_keys_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
