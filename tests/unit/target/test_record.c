#include "unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/pack.h"
#include "target/record.h"

static struct record sample(const struct attr *attrs, uint32_t n)
{
    struct record r = {
        .info = {.size = UINT64_C(5) << 40,
                 .mtime_ns = INT64_C(1700000000123456789),
                 .checksum = {.digest = {.alg = HASH_SHA256, .n = 32}, .type = CHECKSUM_COMPOSITE, .parts = 3},
                 .attrs = attrs,
                 .attr_count = n,
                 .tags = STR("a=1&b=2"),
                 .parts = 3,
                 .upload_id = STR("00112233445566778899aabbccddeeff")},
        .kind = BODY_MANIFEST,
        .has_desc = true};
    uint8_t md5[16] = {0xab, 1, 2};

    etag_from_parts(&r.info.etag, md5, 3);
    memset(r.info.checksum.digest.b, 0x5a, 32);
    memset(r.body.b, 1, SEGMENT_ID_LEN);
    memset(r.desc.b, 2, SEGMENT_ID_LEN);
    return r;
}

static void records_round_trip(void **state)
{
    const struct attr attrs[] = {{STR("content-type"), STR("text/plain")},
                                 {STR("x-amz-meta-zero"), STR("a\0b")},
                                 {STR("x-amz-storage-class"), STR("GLACIER")},
                                 {STR("x-amz-meta-empty"), STR("")}};
    struct record r = sample(attrs, 4), got;
    struct attr back[4];
    struct buf b = BUF_INIT(RECORD_MAX);

    (void)state;
    assert_int_equal(record_encode(&b, &r), ERR_OK);
    assert_int_equal(record_decode(buf_str(&b), &got), ERR_OK);
    assert_true(got.info.size == r.info.size && got.info.mtime_ns == r.info.mtime_ns);
    assert_true(str_eq(etag_str(&got.info.etag), etag_str(&r.info.etag)));
    assert_true(digest_eq(&got.info.checksum.digest, &r.info.checksum.digest));
    assert_int_equal(got.info.checksum.type, CHECKSUM_COMPOSITE);
    assert_int_equal(got.info.checksum.parts, 3);
    assert_int_equal(got.kind, BODY_MANIFEST);
    assert_int_equal(segment_id_cmp(&got.body, &r.body), 0);
    assert_true(got.has_desc && segment_id_cmp(&got.desc, &r.desc) == 0);
    assert_int_equal(got.info.parts, 3);
    assert_true(str_eq(got.info.upload_id, r.info.upload_id));
    assert_true(str_eq(got.info.tags, r.info.tags));
    assert_true(str_eq(record_class(&got), STR("GLACIER")));
    assert_int_equal(got.info.attr_count, 4);
    assert_true(record_attrs(&got, back));
    for (int i = 0; i < 4; i++)
        assert_true(str_eq(back[i].name, attrs[i].name) && str_eq(back[i].value, attrs[i].value));
    buf_release(&b);
}

/* One field more, and none where there is no layout: such records are as they always were. */
static void layouts_round_trip(void **state)
{
    static const char most[LAYOUT_MAX + 1];
    struct record r = sample(NULL, 0), got;
    struct buf b = BUF_INIT(RECORD_MAX);

    (void)state;
    for (size_t n = 0; n <= LAYOUT_MAX; n++) {
        r.info.layout = str_n(most, n);
        assert_int_equal(record_encode(&b, &r), ERR_OK);
        assert_int_equal((uint8_t)b.p[2], n ? 18 : 17);
        assert_int_equal(record_decode(buf_str(&b), &got), ERR_OK);
        assert_true(str_eq(got.info.layout, r.info.layout));
        assert_true(got.info.size == r.info.size && str_eq(got.info.tags, r.info.tags));
        b.p[2] ^= 1; /* a field too many, or too few */
        assert_int_equal(record_decode(buf_str(&b), &got), ERR_CORRUPT);
        buf_reset(&b);
    }
    r.info.layout = str_n(most, LAYOUT_MAX + 1);
    assert_int_equal(record_encode(&b, &r), ERR_METADATA_TOO_LARGE);
    buf_release(&b);
}

static void strange_etags_survive(void **state)
{
    static const char *const tags[] = {"",
                                       "x",
                                       "d41d8cd98f00b204e9800998ecf8427e",
                                       "D41D8CD98F00B204E9800998ECF8427E",
                                       "d41d8cd98f00b204e9800998ecf8427e-1",
                                       "d41d8cd98f00b204e9800998ecf8427e-01",
                                       "d41d8cd98f00b204e9800998ecf8427e-0",
                                       "0123456789abcdef"};

    (void)state;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        struct record r = {.kind = BODY_EMPTY}, got;
        struct buf b = BUF_INIT(RECORD_MAX);
        r.info.etag.n = (uint8_t)strlen(tags[i]);
        memcpy(r.info.etag.text, tags[i], r.info.etag.n);
        assert_int_equal(record_encode(&b, &r), ERR_OK);
        assert_int_equal(record_decode(buf_str(&b), &got), ERR_OK);
        if (i != 7) /* 16 bytes of text can't be told from an MD5: none of our ETags looks so */
            assert_true(str_eq(etag_str(&got.info.etag), str_z(tags[i])));
        buf_release(&b);
    }
}

/* Hundreds of log lines about damage are of no use here. */
static int quiet(void **state)
{
    static int saved;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    saved = dup(2);
    dup2(null, 2);
    close(null);
    *state = &saved;
    return 0;
}

static int loud(void **state)
{
    int saved = *(int *)*state;

    dup2(saved, 2);
    close(saved);
    return 0;
}

static void damage_is_told_wherever_it_is(void **state)
{
    const struct attr attrs[] = {{STR("content-type"), STR("text/plain")}};
    struct record r = sample(attrs, 1), got;
    struct attr back[RECORD_ATTRS_MAX];
    struct buf b = BUF_INIT(RECORD_MAX);

    (void)state;
    assert_int_equal(record_encode(&b, &r), ERR_OK);
    for (size_t n = 0; n < b.n; n++) /* every truncation: an error, from one or the other */
        if (record_decode(str_n(b.p, n), &got) == ERR_OK)
            assert_false(record_attrs(&got, back));
    for (size_t i = 0; i < b.n * 8; i++) { /* every flipped bit: no crash */
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
        if (record_decode(buf_str(&b), &got) == ERR_OK)
            (void)record_attrs(&got, back);
        b.p[i / 8] = (char)(b.p[i / 8] ^ 1 << i % 8);
    }
    buf_release(&b);
}

static void too_many_headers_are_refused(void **state)
{
    static char value[OBJECT_HEADERS_MAX];
    const struct attr attrs[] = {{STR("x-amz-meta-a"), {value, sizeof(value)}}};
    struct record r = sample(attrs, 1);
    struct buf b = BUF_INIT(RECORD_MAX);

    (void)state;
    assert_int_equal(record_encode(&b, &r), ERR_METADATA_TOO_LARGE);
    buf_release(&b);
}

static void manifests_find_the_part(void **state)
{
    static const uint64_t ends[] = {100, 100, 250, 1000};
    struct buf b = BUF_INIT(1 << 20);
    struct manifest m;
    struct part_info info;

    (void)state;
    manifest_begin(&b, 4, 8);
    for (uint32_t i = 0; i < 4; i++) {
        struct manifest_part p = {.number = i * 2 + 1, .end = ends[i], .checksum = STR("12345678")};
        p.md5[0] = (uint8_t)i;
        manifest_add(&b, &p);
    }
    assert_int_equal(b.n, manifest_bytes(4, 8));
    assert_int_equal(manifest_decode(buf_str(&b), &m), ERR_OK);
    assert_int_equal(manifest_find(&m, 0), 0);
    assert_int_equal(manifest_find(&m, 99), 0);
    assert_int_equal(manifest_find(&m, 100), 2);
    assert_int_equal(manifest_find(&m, 999), 3);
    assert_int_equal(manifest_find(&m, 1000), 4);
    manifest_part_info(&m, 2, HASH_CRC64NVME, &info);
    assert_int_equal(info.number, 5);
    assert_int_equal(info.size, 150);
    assert_int_equal(info.checksum.digest.n, 8);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(manifest_decode(str_n(b.p, n), &m), ERR_CORRUPT);
    b.p[8] = 1; /* the first part's end, now beyond the others' */
    assert_int_equal(manifest_decode(buf_str(&b), &m), ERR_CORRUPT);
    buf_release(&b);
}

static void uploads_parts_and_descriptions_round_trip(void **state)
{
    const struct attr attrs[] = {{STR("content-type"), STR("text/plain")}};
    struct upload_record u = {.created_ns = 42, .alg = HASH_CRC32C, .type = CHECKSUM_COMPOSITE, .initiator = STR("me")},
                         u2;
    struct part_record p = {.size = 7, .mtime_ns = 8, .checksum = {.alg = HASH_CRC32, .n = 4}}, p2;
    struct description d = {.kind = DESCRIBES_OBJECT,
                            .bucket = {9, STR("b")},
                            .key = STR("k\0k"),
                            .manifest = STR("m")},
                       d2;
    struct buf b = BUF_INIT(SEGMENT_DESC_MAX);

    (void)state;
    u.object.info.attrs = attrs;
    u.object.info.attr_count = 1;
    assert_int_equal(upload_record_encode(&b, &u), ERR_OK);
    assert_int_equal(upload_record_decode(buf_str(&b), &u2), ERR_OK);
    assert_true(u2.created_ns == 42 && u2.alg == HASH_CRC32C && str_eq(u2.initiator, STR("me")));
    assert_int_equal(u2.object.info.attr_count, 1);
    buf_reset(&b);
    part_record_encode(&b, &p);
    assert_int_equal(part_record_decode(buf_str(&b), &p2), ERR_OK);
    assert_true(p2.size == 7 && segment_id_is_zero(&p2.segment) && digest_eq(&p.checksum, &p2.checksum));
    buf_reset(&b);
    assert_int_equal(description_encode(&b, &d), ERR_OK);
    assert_int_equal(description_decode(buf_str(&b), &d2), ERR_OK);
    assert_true(d2.bucket.uid == 9 && str_eq(d2.key, d.key) && str_eq(d2.manifest, d.manifest));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_round_trip),
        cmocka_unit_test(layouts_round_trip),
        cmocka_unit_test(strange_etags_survive),
        cmocka_unit_test_setup_teardown(damage_is_told_wherever_it_is, quiet, loud),
        cmocka_unit_test(too_many_headers_are_refused),
        cmocka_unit_test_setup_teardown(manifests_find_the_part, quiet, loud),
        cmocka_unit_test(uploads_parts_and_descriptions_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
