#include "erasure_kit.h"

static void expect_rebuilt(const struct cut *c, unsigned wanted, size_t offset, size_t len, const unsigned *have)
{
    struct source *out;
    char *buf = mem_alloc(len + 1);
    size_t got;

    assert_err(cut_rebuild(c, wanted, offset, len, have, &out), ERR_OK);
    assert_err(drain(out, (wanted + offset) % 2, buf, len + 1, &got), ERR_OK);
    assert_int_equal(got, len);
    assert_memory_equal(buf, c->slices[wanted] + offset, len);
    source_close(out);
    free(buf);
}

/* Every selection of `data` of the slices that are not wanted. */
static void expect_all_selections(const struct cut *c, size_t offset, size_t len)
{
    unsigned all = c->layout.data + c->layout.parity, have[REDUNDANCY_SLICES_MAX];

    for (unsigned set = 0; set < 1u << all; set++) {
        if (__builtin_popcount(set) != c->layout.data)
            continue;
        unsigned n = 0;
        for (unsigned i = all; i-- > 0;) /* in no natural order */
            if (set & 1u << i)
                have[n++] = i;
        for (unsigned wanted = 0; wanted < all; wanted++)
            if (!(set & 1u << wanted))
                expect_rebuilt(c, wanted, offset, len, have);
    }
}

/* ---- layout ---- */

static void the_last_slices_end_where_the_content_does(void **state)
{
    struct erasure_layout l;

    (void)state;
    erasure_layout(&l, ec(4, 2), 10);
    assert_int_equal(l.slice_size, 3);
    assert_int_equal(erasure_stored(&l, 0), 3);
    assert_int_equal(erasure_stored(&l, 2), 3);
    assert_int_equal(erasure_stored(&l, 3), 1);
    assert_int_equal(erasure_stored(&l, 4), 3);
    erasure_layout(&l, ec(4, 2), 5);
    assert_int_equal(erasure_stored(&l, 2), 1);
    assert_int_equal(erasure_stored(&l, 3), 0);
    assert_int_equal(erasure_stored(&l, 5), 2);
    for (unsigned data = 1; data < 18; data++)
        for (uint64_t size = 1; size < 100; size++) {
            uint64_t sum = 0;
            erasure_layout(&l, ec(data, 1), size);
            for (unsigned i = 0; i < data; i++)
                sum += erasure_stored(&l, i);
            assert_int_equal(sum, size);
        }
}

static void a_range_is_in_consecutive_slices(void **state)
{
    struct erasure_piece p[REDUNDANCY_SLICES_MAX];
    struct erasure_layout l;

    (void)state;
    erasure_layout(&l, ec(3, 2), 100); /* 34, 34, 32 */
    assert_int_equal(erasure_pieces(&l, 0, 0, p), 0);
    assert_int_equal(erasure_pieces(&l, 33, 2, p), 2);
    assert_true(p[0].slice == 0 && p[0].offset == 33 && p[0].len == 1);
    assert_true(p[1].slice == 1 && p[1].offset == 0 && p[1].len == 1);
    assert_int_equal(erasure_pieces(&l, 34, 34, p), 1);
    assert_true(p[0].slice == 1 && p[0].offset == 0 && p[0].len == 34);
    assert_int_equal(erasure_pieces(&l, 0, 100, p), 3);
    assert_true(p[2].slice == 2 && p[2].offset == 0 && p[2].len == 32);
    assert_int_equal(erasure_pieces(&l, 99, 1, p), 1);
    assert_true(p[0].slice == 2 && p[0].offset == 31 && p[0].len == 1);
}

static void a_layout_has_one_text(void **state)
{
    static const char *const bad[] = {"",
                                      "ec",
                                      "ec1",
                                      "ec1 ",
                                      "ec1 4+2 10",
                                      "ec1 4+2 10 ",
                                      "ec1 4+2 0 0123456789abcdef",
                                      "ec1 0+2 10 0123456789abcdef",
                                      "ec1 4+0 10 0123456789abcdef",
                                      "ec1 4+8 10 0123456789abcdef",
                                      "ec1 18+7 10 0123456789abcdef",
                                      "ec1 04+2 10 0123456789abcdef",
                                      "ec1 4+2 010 0123456789abcdef",
                                      "ec1 4+2 10 123456789abcdef",
                                      "ec1 4+2 10 0123456789ABCDEF",
                                      "ec1 4+2 10 0123456789abcdef ",
                                      "ec1 4+2 10 0123456789abcdef0",
                                      "ec1  4+2 10 0123456789abcdef",
                                      "ec1 4+2+1 10 0123456789abcdef",
                                      "ec1 4+2 99999999999999999999 0123456789abcdef",
                                      "ec0 4+2 10 0123456789abcdef",
                                      "replicas"};
    char text[ERASURE_LAYOUT_MAX];
    struct erasure_layout l, back;
    uint64_t id = 0;

    (void)state;
    erasure_layout(&l, ec(4, 2), 8388609);
    assert_true(str_eq(erasure_put(text, &l, 0x123456789abcdef), STR("ec1 4+2 8388609 0123456789abcdef")));
    assert_err(erasure_get(STR("ec1 4+2 8388609 0123456789abcdef"), &back, &id), ERR_OK);
    assert_true(back.data == 4 && back.parity == 2 && back.size == 8388609 && back.slice_size == l.slice_size);
    assert_int_equal(id, 0x123456789abcdef);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_err(erasure_get(str_z(bad[i]), &back, &id), ERR_CORRUPT);
    assert_err(erasure_get(STR("ec2 something else"), &back, &id), ERR_NOT_IMPLEMENTED);
    erasure_layout(&l, ec(17, 7), OBJECT_SIZE_MAX);
    assert_true(erasure_put(text, &l, UINT64_MAX).n <= LAYOUT_MAX);
    assert_err(erasure_get(erasure_put(text, &l, UINT64_MAX), &back, &id), ERR_OK);
}

/* ---- arithmetic ---- */

/* Multiplication modulo x^8 + x^4 + x^3 + x^2 + 1. */
static uint8_t times(uint8_t a, uint8_t b)
{
    uint8_t product = 0;

    for (; b; b >>= 1, a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1d : 0)))
        product ^= b & 1 ? a : 0;
    return product;
}

static uint8_t inverse(uint8_t a)
{
    unsigned i = 1;

    while (times(a, (uint8_t)i) != 1)
        i++;
    return (uint8_t)i;
}

/* What is on disks must be read for ever. */
static void parity_never_changes(void **state)
{
    static const uint8_t golden[3][5] = {
        {0xa8, 0x83, 0xf8, 0x19, 0xf5}, {0x37, 0x49, 0xda, 0xed, 0x58}, {0x80, 0x06, 0x9b, 0xe2, 0x6f}};
    struct erasure_layout l;
    struct source *data[4], *parity[3];
    const char *content = "Sluice keeps slices.";

    (void)state;
    erasure_layout(&l, ec(4, 3), 20);
    for (unsigned i = 0; i < 4; i++)
        data[i] = &part_new(str_n(content + 5 * (size_t)i, 5))->source;
    erasure_encode(&env, &l, data, parity);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t got[5];
        size_t n;
        assert_err(drain(parity[i], true, (char *)got, 5, &n), ERR_OK);
        assert_memory_equal(got, golden[i], 5);
        source_close(parity[i]);
    }
}

static void parity_is_cauchys(void **state)
{
    static const struct {
        unsigned data, parity;
        size_t size;
    } cases[] = {{1, 1, 1}, {1, 7, 1000}, {2, 1, 3}, {4, 2, 400001}, {17, 7, 100000}, {3, 2, 1}};
    struct cut c;

    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        unsigned d = cases[k].data;
        cut_init(&c, d, cases[k].parity, cases[k].size);
        for (unsigned p = 0; p < cases[k].parity; p++)
            for (size_t at = 0; at < c.layout.slice_size; at += at < 1000 ? 1 : 997) {
                uint8_t sum = 0;
                for (unsigned j = 0; j < d; j++)
                    sum ^= times(inverse((uint8_t)((d + p) ^ j)), (uint8_t)c.slices[j][at]);
                assert_int_equal((uint8_t)c.slices[d + p][at], sum);
            }
        cut_release(&c);
    }
}

static void any_data_slices_are_enough(void **state)
{
    static const struct {
        unsigned data, parity;
    } shapes[] = {{1, 1}, {1, 3}, {2, 1}, {3, 2}, {4, 2}, {2, 3}};
    static const size_t sizes[] = {1, 2, 3, 7, 64, 1000, 4097};
    struct cut c;

    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            cut_init(&c, shapes[i].data, shapes[i].parity, sizes[j]);
            expect_all_selections(&c, 0, (size_t)c.layout.slice_size);
            cut_release(&c);
        }
}

static void large_contents_and_ranges_are_rebuilt(void **state)
{
    static const unsigned without_first[] = {1, 2, 3, 4}, without_data[] = {5, 4, 3, 1}, one[] = {1};
    struct cut c;

    (void)state;
    cut_init(&c, 4, 2, (3 << 20) + 13);
    size_t all = (size_t)c.layout.slice_size;
    expect_rebuilt(&c, 0, 0, all, without_first);
    expect_rebuilt(&c, 5, 0, all, without_first);
    expect_rebuilt(&c, 2, 0, all, without_data);
    expect_rebuilt(&c, 0, 131071, 131074, without_data);
    expect_rebuilt(&c, 2, all - 1, 1, without_data);
    expect_rebuilt(&c, 2, 0, 0, without_data);
    expect_all_selections(&c, 70001, 300000);
    expect_all_selections(&c, all - 5, 5);
    cut_release(&c);
    cut_init(&c, 1, 1, 300000);
    expect_rebuilt(&c, 0, 0, 300000, one);
    cut_release(&c);
}

static void too_few_or_the_same_slices_are_refused(void **state)
{
    static const unsigned same[] = {1, 1}, wanted[] = {0, 1}, beyond[] = {1, 3}, right[] = {1, 2};
    struct source *out;
    struct cut c;

    (void)state;
    cut_init(&c, 2, 1, 1000);
    assert_err(cut_rebuild(&c, 0, 0, 500, same, &out), ERR_INVALID_ARGUMENT);
    assert_err(cut_rebuild(&c, 0, 0, 500, wanted, &out), ERR_INVALID_ARGUMENT);
    c.slices[3] = mem_new(500);
    assert_err(cut_rebuild(&c, 0, 0, 500, beyond, &out), ERR_INVALID_ARGUMENT);
    assert_err(cut_rebuild(&c, 3, 0, 500, right, &out), ERR_INVALID_ARGUMENT);
    assert_err(cut_rebuild(&c, 0, 1, 500, right, &out), ERR_INVALID_ARGUMENT);
    cut_release(&c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ERASURE_TEST(the_last_slices_end_where_the_content_does),
        ERASURE_TEST(a_range_is_in_consecutive_slices),
        ERASURE_TEST(a_layout_has_one_text),
        ERASURE_TEST(parity_never_changes),
        ERASURE_TEST(parity_is_cauchys),
        ERASURE_TEST(any_data_slices_are_enough),
        ERASURE_TEST(large_contents_and_ranges_are_rebuilt),
        ERASURE_TEST(too_few_or_the_same_slices_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
