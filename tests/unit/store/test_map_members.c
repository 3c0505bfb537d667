#include "unit.h"

#include <stdio.h>

#include "base/buf.h"
#include "store/map.h"

enum { NODES = 5 };

static const struct map *map;

/* Nodes that are as `sync` says, out since the epochs in `out_since` (NULL: none). */
static struct map_node *with(const enum node_sync *sync, const uint64_t *out_since)
{
    struct buf b = BUF_INIT(1 << 16);

    map_release(map);
    map = NULL;
    buf_addf(&b, "{\"format\":1,\"epoch\":9,\"nodes\":[");
    for (int i = 0; i < NODES; i++)
        buf_addf(&b,
                 "%s{\"id\":\"%016d\",\"zone\":\"\",\"address\":\"h:1\",\"public\":\"\",\"weight\":1,\"state\":"
                 "\"active\",\"share\":%d}",
                 i ? "," : "", i + 1, 10 + i);
    buf_addf(&b, "]}");
    assert_int_equal(map_parse(buf_str(&b), &map), ERR_OK);
    buf_release(&b);
    struct map_node *nodes =
        (struct map_node *)(uintptr_t)map->nodes; /* states come and go faster than a test could bring them about */
    for (int i = 0; i < NODES; i++) {
        nodes[i].sync = sync ? sync[i] : SYNC_IN;
        nodes[i].out_since = out_since ? out_since[i] : 0;
    }
    return nodes;
}

static int release(void **state)
{
    (void)state;
    map_release(map);
    map = NULL;
    return 0;
}

static struct map_members of(unsigned key, size_t want)
{
    struct map_members s;
    char text[16];

    map_members(map, 7, str_n(text, (size_t)snprintf(text, sizeof(text), "key-%u", key)), want, &s);
    return s;
}

static void the_best_ranked_leads(void **state)
{
    struct map_members s, one;

    (void)state;
    with(NULL, NULL);
    for (unsigned k = 0; k < 100; k++) {
        s = of(k, 3);
        one = of(k, 1);
        assert_true(s.count == 3 && s.lead == 0 && one.nodes[0] == s.nodes[0]);
        for (size_t i = 0; i < 3; i++)
            assert_true(map_member_knows(map, &s, i));
    }
    s = of(1, NODES + 1); /* fewer than wanted */
    assert_int_equal(s.count, NODES);
    map_members_before(map, 7, STR("key"), 3, &s);
    assert_true(s.count == 0 && s.lead == -1);
}

static void who_is_not_in_sync_does_not_lead(void **state)
{
    struct map_members before, s;
    struct map_node *nodes;

    (void)state;
    for (int other = SYNC_OUT; other <= SYNC_CATCHING; other++) {
        nodes = with(NULL, NULL);
        before = of(1, 3);
        nodes[before.nodes[0]].sync = (enum node_sync)other;
        nodes[before.nodes[0]].out_since = 5;
        s = of(1, 3);
        assert_memory_equal(s.nodes, before.nodes, 3 * sizeof(s.nodes[0]));
        assert_int_equal(s.lead, 1);
        assert_false(map_member_knows(map, &s, 0));
        assert_true(map_member_knows(map, &s, 1) && map_member_knows(map, &s, 2));
    }
    nodes = with(NULL, NULL);
    nodes[before.nodes[0]].state = NODE_MAINTENANCE;
    s = of(1, 3);
    assert_int_equal(s.lead, 1);
}

static void who_went_out_last_knows_when_nobody_is_in(void **state)
{
    static const enum node_sync sync[NODES] = {SYNC_OUT, SYNC_OUT, SYNC_CATCHING, SYNC_OUT, SYNC_OUT};
    static const uint64_t since[NODES] = {3, 7, 9, 9, 8};

    (void)state;
    with(sync, since);
    for (unsigned k = 0; k < 50; k++) {
        struct map_members s = of(k, 3);
        uint64_t last = 0;
        for (size_t i = 0; i < 3; i++)
            last = since[s.nodes[i]] > last ? since[s.nodes[i]] : last;
        assert_true(s.lead >= 0 && since[s.nodes[s.lead]] == last);
        for (size_t i = 0; i < 3; i++) {
            assert_true(map_member_knows(map, &s, i) == (since[s.nodes[i]] == last));
            assert_true((int)i >= s.lead || since[s.nodes[i]] < last);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_best_ranked_leads, release),
        cmocka_unit_test_teardown(who_is_not_in_sync_does_not_lead, release),
        cmocka_unit_test_teardown(who_went_out_last_knows_when_nobody_is_in, release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
