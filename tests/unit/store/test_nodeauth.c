#include "unit.h"

#include "store/nodeauth.h"

static const int64_t now_ms = INT64_C(1764000000000);
#define KEY    STR("0123456789abcdef")
#define DIGEST STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

static const struct hmac *key(struct str cluster_key)
{
    static struct hmac made;

    hmac_key(&made, cluster_key);
    return &made;
}

static struct nodeauth_claim claim(void)
{
    return (struct nodeauth_claim){.method = STR("POST"),
                                   .target = STR("/rpc/1/obj_get"),
                                   .epoch = 7,
                                   .time_ms = now_ms,
                                   .payload = NODEAUTH_DESCRIBED,
                                   .digest = DIGEST};
}

/* Computed by Python's hmac over the netstrings. */
static void vectors(void **state)
{
    struct nodeauth_claim c = claim();
    char hex[NODEAUTH_HEX];

    (void)state;
    nodeauth_sign(key(KEY), &c, hex);
    assert_memory_equal(hex, "4cbc5b3b257053ad05d08f472441999842122b598491b1342b406815799c25d3", NODEAUTH_HEX);
    c = (struct nodeauth_claim){.method = STR("POST"),
                                .target = STR("/rpc/1/obj_put"),
                                .epoch = UINT64_MAX,
                                .time_ms = 0,
                                .payload = NODEAUTH_STREAM,
                                .digest = DIGEST};
    nodeauth_sign(key(STR("another key of the cluster")), &c, hex);
    assert_memory_equal(hex, "90366c29bfb9184936c90cde428d46f8f0ce5923cb17aab5b7398947dc14be43", NODEAUTH_HEX);
}

static enum err check(struct nodeauth_claim signed_claim, struct nodeauth_claim seen)
{
    char hex[NODEAUTH_HEX];

    nodeauth_sign(key(KEY), &signed_claim, hex);
    return nodeauth_check(key(KEY), &seen, str_n(hex, sizeof(hex)), now_ms);
}

static void every_field_counts(void **state)
{
    struct nodeauth_claim c = claim();

    (void)state;
    assert_int_equal(check(claim(), c), ERR_OK);
    c.method = STR("PUT");
    assert_int_equal(check(claim(), c), ERR_ACCESS_DENIED);
    c = claim();
    c.target = STR("/rpc/1/obj_put");
    assert_int_equal(check(claim(), c), ERR_ACCESS_DENIED);
    c = claim();
    c.epoch++;
    assert_int_equal(check(claim(), c), ERR_ACCESS_DENIED);
    c = claim();
    c.time_ms++;
    assert_int_equal(check(claim(), c), ERR_ACCESS_DENIED);
    c = claim();
    c.payload = NODEAUTH_STREAM;
    assert_int_equal(check(claim(), c), ERR_ACCESS_DENIED);
    c = claim();
    c.digest = str_skip(c.digest, 1);
    assert_int_equal(check(claim(), c), ERR_ACCESS_DENIED);
}

static void bytes_do_not_move_between_fields(void **state)
{
    struct nodeauth_claim a = claim(), b = claim();

    (void)state;
    a.method = STR("POST/");
    a.target = STR("x");
    b.method = STR("POST");
    b.target = STR("/x");
    assert_int_equal(check(a, b), ERR_ACCESS_DENIED);
}

static void wrong_signatures(void **state)
{
    struct nodeauth_claim c = claim();
    char hex[NODEAUTH_HEX + 1] = "";

    (void)state;
    nodeauth_sign(key(KEY), &c, hex);
    assert_int_equal(nodeauth_check(key(STR("0123456789abcdeF")), &c, str_n(hex, NODEAUTH_HEX), now_ms),
                     ERR_ACCESS_DENIED);
    assert_int_equal(nodeauth_check(key(KEY), &c, STR_NONE, now_ms), ERR_ACCESS_DENIED);
    assert_int_equal(nodeauth_check(key(KEY), &c, str_n(hex, NODEAUTH_HEX - 1), now_ms), ERR_ACCESS_DENIED);
    assert_int_equal(nodeauth_check(key(KEY), &c, str_n(hex, NODEAUTH_HEX + 1), now_ms), ERR_ACCESS_DENIED);
    for (size_t i = 0; i < NODEAUTH_HEX; i++) {
        hex[i] ^= 1;
        assert_int_equal(nodeauth_check(key(KEY), &c, str_n(hex, NODEAUTH_HEX), now_ms), ERR_ACCESS_DENIED);
        hex[i] ^= 1;
    }
}

static void clocks_may_differ_a_little(void **state)
{
    struct nodeauth_claim c = claim();

    (void)state;
    c.time_ms = now_ms - NODEAUTH_SKEW_S * 1000;
    assert_int_equal(check(c, c), ERR_OK);
    c.time_ms--;
    assert_int_equal(check(c, c), ERR_TIME_SKEWED);
    c.time_ms = now_ms + NODEAUTH_SKEW_S * 1000;
    assert_int_equal(check(c, c), ERR_OK);
    c.time_ms++;
    assert_int_equal(check(c, c), ERR_TIME_SKEWED);
    c.time_ms = INT64_MIN;
    assert_int_equal(check(c, c), ERR_TIME_SKEWED);
    c.time_ms = INT64_MAX;
    assert_int_equal(check(c, c), ERR_TIME_SKEWED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(every_field_counts),
        cmocka_unit_test(bytes_do_not_move_between_fields),
        cmocka_unit_test(wrong_signatures),
        cmocka_unit_test(clocks_may_differ_a_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
