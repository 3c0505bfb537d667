#include "upload_kit.h"

/* An object as one node tells another about it. */
struct exported {
    struct obj_head_res head;
    struct str content;
};

static struct bucket_id elsewhere(struct kit *k)
{
    return (struct bucket_id){k->bucket.uid + (UINT64_C(1) << 40), STR("elsewhere")};
}

static struct exported export(struct kit *k, struct bucket_id bucket, struct str key)
{
    struct obj_get_req req = kit_get_req(k, key);
    struct exported x = {0};
    struct obj_get_res res = {0};

    req.head.bucket = bucket;
    req.head.parts = true;
    assert_err(KIT_CALL(k, obj_head, &req.head, &x.head), ERR_OK);
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(k, res.body, false, &x.content), ERR_OK);
    return x;
}

/* Once as one read, once in small steps from a source that does not know its size. */
static enum err import_bytes(struct kit *k, const struct exported *x, struct str content, bool *kept)
{
    struct body_check check = {0};
    struct kit_source *body = kit_source(k, content);
    struct obj_import_req req = {.arena = &k->arena,
                                 .bucket = elsewhere(k),
                                 .key = STR("key"),
                                 .info = x->head.info,
                                 .parts = x->head.parts,
                                 .part_count = x->head.part_count,
                                 .body = &body->source,
                                 .check = &check};
    struct obj_import_res res = {0};

    body->step = content.n > 100000 ? 70001 : 0;
    enum err e = KIT_CALL(k, obj_import, &req, &res);
    *kept = res.kept;
    return e;
}

static enum err import(struct kit *k, const struct exported *x, bool *kept)
{
    return import_bytes(k, x, x->content, kept);
}

static void drop(struct kit *k)
{
    struct bucket_purge_req req = {.arena = &k->arena, .bucket = elsewhere(k), .objects = true};
    struct bucket_purge_res res;

    assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_OK);
    req.unseal = true;
    assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_OK);
}

/* ---- the same in everything ---- */

static void expect_same_checksum(const struct checksum *a, const struct checksum *b)
{
    assert_int_equal(a->digest.alg, b->digest.alg);
    assert_true(digest_eq(&a->digest, &b->digest));
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->parts, b->parts);
}

static void expect_same_info(const struct object_info *a, const struct object_info *b)
{
    assert_true(a->size == b->size);
    assert_true(a->mtime_ns == b->mtime_ns);
    assert_str(etag_str(&a->etag), etag_str(&b->etag));
    expect_same_checksum(&a->checksum, &b->checksum);
    assert_int_equal(a->attr_count, b->attr_count);
    for (uint32_t i = 0; i < a->attr_count; i++) {
        assert_str(a->attrs[i].name, b->attrs[i].name);
        assert_str(a->attrs[i].value, b->attrs[i].value);
    }
    assert_str(a->tags, b->tags);
    assert_int_equal(a->parts, b->parts);
    assert_str(a->upload_id, b->upload_id);
}

static void expect_same_part(const struct part_info *a, const struct part_info *b)
{
    assert_int_equal(a->number, b->number);
    assert_true(a->size == b->size);
    assert_true(a->mtime_ns == b->mtime_ns);
    assert_str(etag_str(&a->etag), etag_str(&b->etag));
    expect_same_checksum(&a->checksum, &b->checksum);
}

static void expect_same_read(struct kit *k, struct str key, const struct obj_head_req *what)
{
    struct obj_get_req req = {.head = *what};
    struct obj_get_res from = {0}, to = {0};
    struct str a, b;

    req.head.bucket = k->bucket;
    req.head.key = key;
    enum err e = KIT_CALL(k, obj_get, &req, &from);
    req.head.bucket = elsewhere(k);
    req.head.key = STR("key");
    assert_err(KIT_CALL(k, obj_get, &req, &to), e);
    if (e != ERR_OK)
        return;
    assert_true(from.head.offset == to.head.offset && from.head.len == to.head.len);
    expect_same_part(&from.head.part, &to.head.part);
    assert_err(kit_drain(k, from.body, true, &a), ERR_OK);
    assert_err(kit_drain(k, to.body, true, &b), ERR_OK);
    assert_str(a, b);
}

static void expect_same(struct kit *k, struct str key)
{
    struct exported a = export(k, k->bucket, key), b = export(k, elsewhere(k), STR("key"));
    struct obj_head_req req = {.arena = &k->arena, .cond = COND_INIT};

    expect_same_info(&a.head.info, &b.head.info);
    assert_int_equal(a.head.part_count, b.head.part_count);
    for (uint32_t i = 0; i < a.head.part_count; i++)
        expect_same_part(&a.head.parts[i], &b.head.parts[i]);
    assert_str(a.content, b.content);
    for (uint64_t at = 0; at < a.content.n; at += a.content.n / 3 + 1) {
        req.range = (struct range){RANGE_FROM_TO, at, at + 5000};
        expect_same_read(k, key, &req);
    }
    req.range = (struct range){.kind = RANGE_LAST, .last = 10};
    expect_same_read(k, key, &req);
    req.range = (struct range){0};
    for (req.part_number = 1; req.part_number <= 6; req.part_number++)
        expect_same_read(k, key, &req);
}

static void import_and_compare(struct kit *k, struct str key)
{
    struct exported x = export(k, k->bucket, key);
    bool kept;

    assert_err(import(k, &x, &kept), ERR_OK);
    assert_false(kept);
    expect_same(k, key);
    assert_err(import(k, &x, &kept), ERR_OK);
    assert_true(kept);
    expect_same(k, key);
    drop(k);
}

static void single_put_moves_as_it_is(void **state)
{
    static const size_t sizes[] = {0, 1, 5000, 16384, 16385, 300000, 3 << 20};
    static const enum hash_alg algs[] = {HASH_CRC32, HASH_SHA256, HASH_CRC64NVME, HASH_MD5};
    static const struct attr attrs[] = {{{"content-type", 12}, {"text/x", 6}}, {{"x-amz-meta-a", 12}, {"b", 1}}};
    struct kit *k = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct body_check check = {.checksum = algs[i % 4]};
        struct source *body = source_memory(kit_bytes(k, sizes[i], i), NULL, NULL);
        struct obj_put_req req = kit_put_req(k, STR("from"), body, &check);
        struct obj_put_res res;

        req.info = (struct object_info){.attrs = attrs, .attr_count = 2, .tags = STR("t=1&u=2")};
        assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
        source_close(body);
        import_and_compare(k, STR("from"));
    }
}

static void multipart_moves_with_its_parts(void **state)
{
    static const struct {
        enum hash_alg alg;
        enum checksum_type type;
    } kinds[] = {{HASH_NONE, CHECKSUM_NONE}, {HASH_CRC32C, CHECKSUM_FULL_OBJECT}, {HASH_SHA256, CHECKSUM_COMPOSITE}};
    struct kit *k = *state;

    for (size_t i = 0; i < 3; i++) {
        struct upload u = upload_begin(k, STR("from"), kinds[i].alg, kinds[i].type);
        upload_add(&u, 2, full_part(0));
        upload_add(&u, 3, full_part(1));
        upload_add(&u, 5, kit_bytes(k, i == 0 ? 0 : 12345, i));
        upload_complete(&u);
        import_and_compare(k, STR("from"));
    }
}

/* ---- what stays, what is refused ---- */

static void newer_object_stays(void **state)
{
    struct kit *k = *state;
    bool kept;

    kit_put(k, STR("from"), STR("first"));
    struct exported old = export(k, k->bucket, STR("from"));
    kit_put(k, STR("from"), STR("second"));
    struct exported new = export(k, k->bucket, STR("from"));
    assert_true(new.head.info.mtime_ns > old.head.info.mtime_ns);
    assert_err(import(k, &old, &kept), ERR_OK);
    assert_false(kept);
    assert_err(import(k, &new, &kept), ERR_OK);
    assert_false(kept);
    expect_same(k, STR("from"));
    assert_err(import(k, &old, &kept), ERR_OK);
    assert_true(kept);
    expect_same(k, STR("from"));
    drop(k);
}

static void expect_nothing(struct kit *k)
{
    struct obj_head_req req = kit_get_req(k, STR("key")).head;
    struct obj_head_res res = {0};

    req.bucket = elsewhere(k);
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_NO_SUCH_KEY);
}

static void expect_refused(struct kit *k, const struct exported *x)
{
    bool kept;

    assert_err(import(k, x, &kept), ERR_BAD_DIGEST);
    expect_nothing(k);
}

static void wrong_bytes_are_refused(void **state)
{
    static const size_t sizes[] = {10, 40000, 2 << 20};
    struct kit *k = *state;
    bool kept;

    for (size_t i = 0; i < 3; i++) {
        struct str other = kit_bytes(k, sizes[i], 77);
        kit_put(k, STR("from"), kit_bytes(k, sizes[i], i));
        struct exported x = export(k, k->bucket, STR("from"));
        assert_err(import_bytes(k, &x, other, &kept), ERR_BAD_DIGEST);
        expect_nothing(k);
        assert_err(import_bytes(k, &x, str_n(x.content.p, x.content.n - 1), &kept), ERR_BAD_DIGEST);
        expect_nothing(k);
        other = kit_bytes(k, sizes[i] + 1, 1);
        assert_true(import_bytes(k, &x, other, &kept) != ERR_OK);
        expect_nothing(k);
        struct exported y = x;
        y.head.info.checksum.digest.b[0] ^= 1;
        expect_refused(k, &y);
        y = x;
        y.head.info.etag.text[0] ^= 1;
        expect_refused(k, &y);
    }
}

static void wrong_parts_are_refused(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("from"), HASH_SHA256, CHECKSUM_COMPOSITE);
    struct part_info parts[2];
    bool kept;

    upload_add(&u, 1, full_part(0));
    upload_add(&u, 2, kit_bytes(k, 9999, 1));
    upload_complete(&u);
    struct exported x = export(k, k->bucket, STR("from")), y;
    struct str damaged = arena_str(&k->arena, x.content);
    ((char *)(uintptr_t)damaged.p)[6 << 19] ^= 1; /* within the first part */
    assert_err(import_bytes(k, &x, damaged, &kept), ERR_BAD_DIGEST);
    expect_nothing(k);
    assert_err(import_bytes(k, &x, str_n(x.content.p, x.content.n - 1), &kept), ERR_BAD_DIGEST);
    expect_nothing(k);
    y = x;
    y.head.parts = memcpy(parts, x.head.parts, sizeof(parts));
    parts[1].checksum.digest.b[3] ^= 1;
    expect_refused(k, &y);
    memcpy(parts, x.head.parts, sizeof(parts));
    parts[0].size++;
    expect_refused(k, &y);
    memcpy(parts, x.head.parts, sizeof(parts));
    parts[1].number = 1;
    expect_refused(k, &y);
    y = x;
    y.head.part_count = 1;
    expect_refused(k, &y);
    y = x;
    y.head.info.etag.text[5] ^= 1;
    expect_refused(k, &y);
    assert_err(import(k, &x, &kept), ERR_OK);
    expect_same(k, STR("from"));
    drop(k);
}

static void cancelled_import_leaves_nothing(void **state)
{
    static const size_t stops[] = {0, 100, 70000, (5 << 20) - 1, 5 << 20, (5 << 20) + 10};
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("from"), HASH_NONE, CHECKSUM_NONE);

    upload_add(&u, 1, full_part(2));
    upload_add(&u, 2, kit_bytes(k, 200000, 3));
    upload_complete(&u);
    for (int fails = 0; fails < 2; fails++) {
        for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
            struct exported x = export(k, k->bucket, STR("from"));
            struct body_check check = {0};
            struct kit_source *body = kit_source(k, x.content);
            struct obj_import_req req = {.arena = &k->arena,
                                         .bucket = elsewhere(k),
                                         .key = STR("key"),
                                         .info = x.head.info,
                                         .parts = x.head.parts,
                                         .part_count = x.head.part_count,
                                         .body = &body->source,
                                         .check = &check};
            struct obj_import_res res = {0};
            struct kit_call c = {0};
            body->stop_at = stops[i];
            body->fail = fails ? ERR_CLIENT_GONE : ERR_OK;
            store_obj_import(k->store, &req, &res, kit_begin(k, &c));
            kit_turns(k, 200);
            if (!fails)
                call_cancel(&c.call);
            assert_err(kit_wait(k, &c), fails ? ERR_CLIENT_GONE : ERR_CANCELLED);
            expect_nothing(k);
        }
    }
}

int contract_imports(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(single_put_moves_as_it_is), KIT_TEST(multipart_moves_with_its_parts),
        KIT_TEST(newer_object_stays),        KIT_TEST(wrong_bytes_are_refused),
        KIT_TEST(wrong_parts_are_refused),   KIT_TEST(cancelled_import_leaves_nothing),
    };

    return kit_run(env, "imports", tests, sizeof(tests) / sizeof(tests[0]));
}
