#include "unit.h"

#include "target/index.h"

static uint64_t seed = 1;

static unsigned rnd(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 40) % n;
}

/* Short keys over few bytes, so that prefixes and zeros meet. */
static struct str random_key(char buf[8])
{
    static const char bytes[] = {0, 1, 2, 'a', 'b', (char)0xff};
    size_t n = 1 + rnd(7);

    for (size_t i = 0; i < n; i++)
        buf[i] = bytes[rnd(sizeof(bytes))];
    return str_n(buf, n);
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void index_keys_sort_as_keys_do(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        char a[8], b[8];
        struct str ka = random_key(a), kb = random_key(b);
        struct index_key ia, ib;
        index_object(&ia, 7, ka);
        index_object(&ib, 7, kb);
        assert_int_equal(sign(str_cmp(index_key_str(&ia), index_key_str(&ib))), sign(str_cmp(ka, kb)));
    }
}

static void index_keys_give_the_key_back(void **state)
{
    struct segment_id id;

    (void)state;
    segment_id_new(&id);
    for (int i = 0; i < 20000; i++) {
        char a[8], out[STORE_KEY_MAX];
        struct str key = random_key(a), got, rest;
        struct index_key k;
        uint64_t uid = 0;
        index_upload(&k, UINT64_C(0xff00ff00ff00ff00), key, &id);
        assert_true(index_parse(index_key_str(&k), out, &uid, &got, &rest));
        assert_true(uid == UINT64_C(0xff00ff00ff00ff00) && str_eq(got, key));
        assert_int_equal(rest.n, SEGMENT_ID_LEN);
        assert_memory_equal(rest.p, id.b, SEGMENT_ID_LEN);
        for (size_t n = 0; n < k.n - SEGMENT_ID_LEN; n++)
            assert_false(index_parse(str_n(k.b, n), out, &uid, &got, &rest));
    }
}

static void the_longest_key_fits(void **state)
{
    static char zeros[STORE_KEY_MAX], out[STORE_KEY_MAX];
    struct index_key k;
    struct segment_id id = {{1}};
    struct str got;
    uint64_t uid;

    (void)state;
    index_upload(&k, 1, str_n(zeros, STORE_KEY_MAX), &id);
    assert_int_equal(k.n, INDEX_KEY_MAX);
    assert_true(index_parse(index_key_str(&k), out, &uid, &got, NULL));
    assert_int_equal(got.n, STORE_KEY_MAX);
}

static void prefixes_and_successors_bound_what_starts_with_them(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        char a[8], b[8];
        struct str key = random_key(a), prefix = random_key(b);
        struct index_key k, begin, end, behind;
        index_object(&k, 7, key);
        index_prefix(&begin, INDEX_OBJECT, 7, prefix);
        end = begin;
        index_successor(&end);
        bool inside = str_cmp(index_key_str(&k), index_key_str(&begin)) >= 0 &&
                      str_cmp(index_key_str(&k), index_key_str(&end)) < 0;
        assert_int_equal(inside, str_starts(key, prefix));
        index_behind(&behind, INDEX_OBJECT, 7, prefix);
        assert_int_equal(str_cmp(index_key_str(&k), index_key_str(&behind)) >= 0, str_cmp(key, prefix) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_keys_sort_as_keys_do),
        cmocka_unit_test(index_keys_give_the_key_back),
        cmocka_unit_test(the_longest_key_fits),
        cmocka_unit_test(prefixes_and_successors_bound_what_starts_with_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
