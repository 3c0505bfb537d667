#include "contract_parts.h"

#include "base/clock.h"

static const size_t sizes[] = {0, 1, 4095, 16383, 16384, 16385, 65536, 1 << 20, (3 << 20) + 7};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void put_is_read_back_at_every_size(void **state)
{
    struct kit *k = *state;

    for (size_t i = 0; i < SIZES; i++) {
        struct str content = kit_bytes(k, sizes[i], i + 1), key = arena_printf(&k->arena, "size/%zu", sizes[i]);
        struct etag etag = kit_etag(content);
        struct digest crc;
        int64_t before = clock_wall_ns();
        struct object_info info = kit_put(k, key, content), head = kit_head(k, key);

        hash_of(HASH_CRC64NVME, content, &crc);
        kit_expect(k, key, content);
        assert_str(etag_str(&info.etag), etag_str(&etag));
        assert_str(etag_str(&head.etag), etag_str(&etag));
        assert_int_equal(head.size, sizes[i]);
        assert_int_equal(info.size, sizes[i]);
        assert_int_equal(head.parts, 0);
        assert_int_equal(head.checksum.type, CHECKSUM_FULL_OBJECT);
        assert_true(digest_eq(&head.checksum.digest, &crc));
        assert_true(digest_eq(&info.checksum.digest, &crc));
        assert_true(head.mtime_ns == info.mtime_ns);
        assert_true(head.mtime_ns / 1000 >= before / 1000 && head.mtime_ns <= clock_wall_ns());
    }
}

static void body_in_small_reads_is_the_same_body(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 300001, 5);
    struct kit_source *body = kit_source(k, content);
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(k, STR("key"), &body->source, &check);
    struct obj_put_res res;

    body->step = 4093;
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
    kit_expect(k, STR("key"), content);
}

static void put_without_a_body_is_empty(void **state)
{
    struct kit *k = *state;
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(k, STR("key"), NULL, &check);
    struct obj_put_res res;

    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
    kit_expect(k, STR("key"), STR(""));
}

static void reader_outlives_overwrite_and_delete(void **state)
{
    struct kit *k = *state;

    for (size_t i = 0; i < SIZES; i++) {
        struct str old = kit_bytes(k, sizes[i], 1), new = kit_bytes(k, sizes[i] / 2 + 1, 2), body;
        struct obj_get_req req = kit_get_req(k, STR("key"));
        struct obj_get_res over = {0}, gone = {0};

        kit_put(k, STR("key"), old);
        assert_err(KIT_CALL(k, obj_get, &req, &over), ERR_OK);
        kit_put(k, STR("key"), new);
        kit_expect(k, STR("key"), new);
        assert_err(KIT_CALL(k, obj_get, &req, &gone), ERR_OK);
        assert_err(kit_delete(k, STR("key")), ERR_OK);
        kit_expect_absent(k, STR("key"));
        assert_err(kit_drain(k, over.body, i % 2, &body), ERR_OK);
        assert_str(body, old);
        assert_err(kit_drain(k, gone.body, i % 2, &body), ERR_OK);
        assert_str(body, new);
    }
}

static void get_may_be_closed_at_any_byte(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 1 << 20, 9);
    char buf[70000];

    kit_put(k, STR("key"), content);
    for (int reads = 0; reads < 4; reads++) {
        struct obj_get_req req = kit_get_req(k, STR("key"));
        struct obj_get_res res = {0};
        assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
        for (int i = 0; i < reads; i++) {
            struct kit_call c = {0};
            size_t n = 0;
            source_read(res.body, buf, sizeof(buf), &n, kit_begin(k, &c));
            assert_err(kit_wait(k, &c), ERR_OK);
            assert_true(n > 0 && n <= sizeof(buf));
        }
        source_close(res.body);
    }
}

static void range_reads(struct kit *k, struct str content, struct range r)
{
    struct obj_get_req req = kit_get_req(k, STR("key"));
    struct obj_get_res res = {0};
    uint64_t offset = 0, len = 0;
    enum err e = range_resolve(&r, content.n, &offset, &len);
    struct str body;

    req.head.range = r;
    assert_err(KIT_CALL(k, obj_get, &req, &res), e);
    assert_int_equal(res.head.info.size, content.n); /* also when it can't be satisfied */
    if (e != ERR_OK) {
        assert_null(res.body);
        return;
    }
    assert_int_equal(res.head.offset, offset);
    assert_int_equal(res.head.len, len);
    assert_err(kit_drain(k, res.body, offset % 2, &body), ERR_OK);
    assert_str(body, str_n(content.p + offset, len));
}

static void ranges_of_every_kind_and_size(void **state)
{
    struct kit *k = *state;

    for (size_t i = 0; i < SIZES; i++) {
        uint64_t n = sizes[i];
        struct str content = kit_bytes(k, n, i);
        struct range r[] = {
            {RANGE_FROM_TO, 0, 0},
            {RANGE_FROM_TO, 0, n},
            {RANGE_FROM_TO, n / 2, n - 1},
            {RANGE_FROM_TO, n / 3, n / 2},
            {RANGE_FROM_TO, n, n + 5},
            {RANGE_FROM_TO, n ? n - 1 : 0, UINT64_MAX},
            {RANGE_FROM, 0, 0},
            {RANGE_FROM, n ? n - 1 : 0, 0},
            {RANGE_FROM, n, 0},
            {RANGE_LAST, 0, 1},
            {RANGE_LAST, 0, n / 2 + 1},
            {RANGE_LAST, 0, n + 100},
            {RANGE_LAST, 0, 0},
            {RANGE_FROM_TO, 65535, 65536},
        };
        kit_put(k, STR("key"), content);
        for (size_t j = 0; j < sizeof(r) / sizeof(r[0]); j++)
            range_reads(k, content, r[j]);
    }
}

static void single_put_is_part_one(void **state)
{
    struct kit *k = *state;
    struct obj_head_req req = kit_get_req(k, STR("key")).head;
    struct obj_head_res res = {0};

    kit_put(k, STR("key"), STR("hello"));
    req.part_number = 1;
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_OK);
    assert_int_equal(res.offset, 0);
    assert_int_equal(res.len, 5);
    req.part_number = 2;
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_INVALID_PART_NUMBER);
}

static void attributes_and_tags_are_kept_in_order(void **state)
{
    static const struct attr attrs[] = {
        {{"content-type", 12}, {"text/plain; charset=utf-8", 25}},
        {{"x-amz-meta-zulu", 15}, {"\xc3\xa9t\xc3\xa9", 5}},
        {{"x-amz-meta-alpha", 16}, {"", 0}},
        {{"x-amz-storage-class", 19}, {"GLACIER_IR", 10}},
    };
    struct kit *k = *state;
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(k, STR("key"), NULL, &check);
    struct obj_put_res res;

    req.info.attrs = attrs;
    req.info.attr_count = 4;
    req.info.tags = STR("a=1&b=%20");
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
    struct object_info info = kit_head(k, STR("key"));
    assert_int_equal(info.attr_count, 4);
    for (int i = 0; i < 4; i++) {
        assert_str(info.attrs[i].name, attrs[i].name);
        assert_str(info.attrs[i].value, attrs[i].value);
    }
    assert_str(info.tags, STR("a=1&b=%20"));
    kit_put(k, STR("key"), STR("plain"));
    info = kit_head(k, STR("key"));
    assert_int_equal(info.attr_count, 0);
    assert_int_equal(info.tags.n, 0);
}

static void odd_keys_are_distinct_objects(void **state)
{
    struct kit *k = *state;
    struct str long_key = kit_bytes(k, STORE_KEY_MAX, 3), longer = kit_bytes(k, STORE_KEY_MAX + 1, 3);
    struct str keys[] = {STR("a"),    STR("a/"),       STR("a/b"),
                         STR("//"),   STR("/"),        STR("\0"),
                         STR("\0\0"), STR("\0\1"),     STR("\1"),
                         STR("\xff"), STR("\xff\xff"), STR("a\0"),
                         STR("a\0b"), STR("a\xff"),    STR("a\xff\xff"),
                         STR("."),    STR(".."),       STR("../x"),
                         STR("\n"),   STR(" "),        str_n(long_key.p, STORE_KEY_MAX - 1),
                         long_key};
    enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(k, longer, NULL, &check);
    struct obj_put_res res;

    for (size_t i = 0; i < KEYS; i++)
        kit_put(k, keys[i], kit_bytes(k, 10 + i, i));
    for (size_t i = 0; i < KEYS; i++)
        kit_expect(k, keys[i], kit_bytes(k, 10 + i, i));
    assert_err(kit_delete(k, STR("a")), ERR_OK);
    kit_expect_absent(k, STR("a"));
    kit_expect(k, STR("a\0"), kit_bytes(k, 21, 11));
    kit_expect_absent(k, STR("a\0\0"));
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_KEY_TOO_LONG);
    req.key = STR("");
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_INVALID_ARGUMENT);
}

static void delete_tells_what_was_there(void **state)
{
    struct kit *k = *state;
    struct obj_delete_req req = {.arena = &k->arena, .bucket = k->bucket, .key = STR("key"), .cond = COND_INIT};
    struct obj_delete_res res;

    kit_put(k, STR("key"), STR("x"));
    assert_err(KIT_CALL(k, obj_delete, &req, &res), ERR_OK);
    assert_true(res.existed);
    assert_err(KIT_CALL(k, obj_delete, &req, &res), ERR_OK);
    assert_false(res.existed);
    kit_expect_absent(k, STR("key"));
}

static void buckets_are_apart(void **state)
{
    struct kit *k = *state;
    uint64_t uid = k->bucket.uid;

    kit_put(k, STR("key"), STR("here"));
    k->bucket.uid = uid + (UINT64_C(1) << 40);
    kit_expect_absent(k, STR("key"));
    kit_put(k, STR("key"), STR("there"));
    kit_expect(k, STR("key"), STR("there"));
    assert_err(kit_delete(k, STR("key")), ERR_OK);
    k->bucket.uid = uid;
    kit_expect(k, STR("key"), STR("here"));
}

static void too_large_a_body_is_refused(void **state)
{
    struct kit *k = *state;
    struct body_check check = {0};
    struct source *known = source_memory(kit_bytes(k, 100001, 1), NULL, NULL);
    struct kit_source *unknown = kit_source(k, kit_bytes(k, 100001, 1)), *fits = kit_source(k, kit_bytes(k, 100000, 1));
    struct obj_put_req req = kit_put_req(k, STR("key"), known, &check);
    struct obj_put_res res;

    req.size_max = 100000;
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_ENTITY_TOO_LARGE);
    req.body = &unknown->source;
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_ENTITY_TOO_LARGE);
    kit_expect_absent(k, STR("key"));
    req.body = &fits->source;
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
    source_close(known);
}

int contract_objects(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(put_is_read_back_at_every_size),
        KIT_TEST(body_in_small_reads_is_the_same_body),
        KIT_TEST(put_without_a_body_is_empty),
        KIT_TEST(reader_outlives_overwrite_and_delete),
        KIT_TEST(get_may_be_closed_at_any_byte),
        KIT_TEST(ranges_of_every_kind_and_size),
        KIT_TEST(single_put_is_part_one),
        KIT_TEST(attributes_and_tags_are_kept_in_order),
        KIT_TEST(odd_keys_are_distinct_objects),
        KIT_TEST(delete_tells_what_was_there),
        KIT_TEST(buckets_are_apart),
        KIT_TEST(too_large_a_body_is_refused),
    };

    return kit_run(env, "objects", tests, sizeof(tests) / sizeof(tests[0]));
}
