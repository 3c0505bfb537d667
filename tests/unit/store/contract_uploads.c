#include "upload_kit.h"

static void expect_no_uploads(struct kit *k)
{
    struct upload_list_req req = {.arena = &k->arena, .bucket = k->bucket, .max = 10};
    struct upload_list_res res = {0};

    assert_err(KIT_CALL(k, upload_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 0);
    assert_false(res.truncated);
}

static void parts_in_any_order_make_an_object(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    struct part_info part;
    uint8_t md5s[48];
    struct digest md5, crc;
    struct etag etag;

    assert_err(upload_put(&u, 3, kit_bytes(k, 1000, 3), &part), ERR_OK);
    assert_err(upload_put(&u, 2, full_part(1), &part), ERR_OK);
    kit_expect_absent(k, STR("key"));
    upload_add(&u, 1, full_part(0));
    upload_add(&u, 2, full_part(1));
    upload_add(&u, 3, kit_bytes(k, 1000, 3));
    struct object_info info = upload_complete(&u);
    struct str content = upload_content(&u);
    for (int i = 0; i < 3; i++)
        assert_true(etag_to_md5(&u.stored[i].etag, md5s + 16 * i));
    hash_of(HASH_MD5, str_n(md5s, 48), &md5);
    etag_from_parts(&etag, md5.b, 3);
    hash_of(HASH_CRC64NVME, content, &crc);
    assert_str(etag_str(&info.etag), etag_str(&etag));
    assert_int_equal(info.checksum.type, CHECKSUM_FULL_OBJECT);
    assert_true(digest_eq(&info.checksum.digest, &crc));
    assert_int_equal(info.parts, 3);
    kit_expect(k, STR("key"), content);
    struct object_info head = kit_head(k, STR("key"));
    assert_str(etag_str(&head.etag), etag_str(&etag));
    assert_true(digest_eq(&head.checksum.digest, &crc));
    assert_int_equal(head.parts, 3);
    assert_str(head.upload_id, u.id);
    expect_no_uploads(k);
}

static void reads_by_part_number_and_across_parts(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_CRC32, CHECKSUM_NONE);
    struct obj_get_req req = kit_get_req(k, STR("key"));
    struct obj_get_res res = {0};
    struct str body;
    uint64_t size = full_part(0).n;

    upload_add(&u, 2, full_part(0));
    upload_add(&u, 5, full_part(1));
    upload_add(&u, 9, kit_bytes(k, 70000, 1));
    upload_complete(&u);
    for (uint32_t i = 0; i < u.n; i++) {
        req.head.part_number = u.asked[i].number;
        assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
        assert_int_equal(res.head.offset, i * size);
        assert_int_equal(res.head.part.number, u.asked[i].number);
        assert_true(digest_eq(&res.head.part.checksum.digest, &u.stored[i].checksum.digest));
        assert_err(kit_drain(k, res.body, i % 2, &body), ERR_OK);
        assert_str(body, u.content[i]);
    }
    static const uint32_t missing[] = {1, 3, 10, PARTS_MAX};
    for (int i = 0; i < 4; i++) {
        req.head.part_number = missing[i];
        assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_INVALID_PART_NUMBER);
    }
    struct str content = upload_content(&u);
    req.head.part_number = 0;
    req.head.range = (struct range){RANGE_FROM_TO, size - 10, 2 * size + 10};
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(k, res.body, true, &body), ERR_OK);
    assert_str(body, str_n(content.p + size - 10, size + 21));
    req.head.range = (struct range){RANGE_FROM, 2 * size, 0};
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(k, res.body, false, &body), ERR_OK);
    assert_str(body, u.content[2]);
}

static void head_lists_the_parts(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_SHA256, CHECKSUM_COMPOSITE);
    struct obj_head_req req = kit_get_req(k, STR("key")).head;
    struct obj_head_res res = {0};

    upload_add(&u, 1, full_part(0));
    upload_add(&u, 7, STR("end"));
    upload_complete(&u);
    req.parts = true;
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_OK);
    assert_int_equal(res.part_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(res.parts[i].number, u.asked[i].number);
        assert_int_equal(res.parts[i].size, u.content[i].n);
        assert_true(digest_eq(&res.parts[i].checksum.digest, &u.stored[i].checksum.digest));
    }
}

static void part_put_again_replaces(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    struct part_list_req req = {
        .arena = &k->arena, .bucket = k->bucket, .key = STR("key"), .upload_id = u.id, .max = LIST_MAX};
    struct part_list_res res = {0};
    struct part_info part;

    assert_err(upload_put(&u, 1, full_part(1), &part), ERR_OK);
    upload_add(&u, 1, STR("second"));
    assert_err(KIT_CALL(k, part_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 1);
    assert_int_equal(res.parts[0].size, 6);
    upload_complete(&u);
    kit_expect(k, STR("key"), STR("second"));
}

static void parts_not_named_are_dropped(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    struct part_info part;

    assert_err(upload_put(&u, 1, STR("first"), &part), ERR_OK);
    upload_add(&u, 4, STR("fourth"));
    assert_err(upload_put(&u, 10000, STR("last"), &part), ERR_OK);
    assert_int_equal(upload_complete(&u).parts, 1);
    kit_expect(k, STR("key"), STR("fourth"));
}

static void upload_keeps_attributes_and_tags(void **state)
{
    static const struct attr attrs[] = {{{"content-type", 12}, {"video/mp4", 9}},
                                        {{"x-amz-storage-class", 19}, {"STANDARD_IA", 11}}};
    struct kit *k = *state;
    struct upload_create_req req = {.arena = &k->arena, .bucket = k->bucket, .key = STR("key"), .initiator = STR("me")};
    struct upload_create_res res = {0};

    req.info = (struct object_info){.attrs = attrs, .attr_count = 2, .tags = STR("t=1")};
    assert_err(KIT_CALL(k, upload_create, &req, &res), ERR_OK);
    struct upload u = {.k = k, .key = STR("key"), .id = res.upload_id};
    struct upload_list_req list = {.arena = &k->arena, .bucket = k->bucket, .max = 5};
    struct upload_list_res page = {0};
    assert_err(KIT_CALL(k, upload_list, &list, &page), ERR_OK);
    assert_int_equal(page.count, 1);
    assert_str(page.entries[0].storage_class, STR("STANDARD_IA"));
    assert_str(page.entries[0].initiator, STR("me"));
    assert_str(page.entries[0].upload_id, u.id);
    assert_int_equal(page.entries[0].checksum_alg, HASH_CRC64NVME);
    assert_int_equal(page.entries[0].checksum_type, CHECKSUM_FULL_OBJECT);
    upload_add(&u, 1, STR("x"));
    upload_complete(&u);
    struct object_info info = kit_head(k, STR("key"));
    assert_int_equal(info.attr_count, 2);
    assert_str(info.attrs[0].value, STR("video/mp4"));
    assert_str(info.tags, STR("t=1"));
}

static void expect_no_upload(struct upload *u)
{
    struct kit *k = u->k;
    struct upload_complete_req complete = upload_complete_req(u);
    struct upload_complete_res completed = {0};
    struct part_list_req list = {.arena = &k->arena, .bucket = k->bucket, .key = u->key, .upload_id = u->id, .max = 10};
    struct part_list_res listed = {0};
    struct part_info part;

    assert_err(upload_put(u, 1, STR("x"), &part), ERR_NO_SUCH_UPLOAD);
    assert_err(KIT_CALL(k, upload_complete, &complete, &completed), ERR_NO_SUCH_UPLOAD);
    assert_err(KIT_CALL(k, part_list, &list, &listed), ERR_NO_SUCH_UPLOAD);
    assert_err(upload_abort(u), ERR_NO_SUCH_UPLOAD);
}

static void aborted_and_foreign_uploads_do_not_exist(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE), other = u;

    upload_add(&u, 1, STR("x"));
    other = u;
    other.key = STR("key2");
    expect_no_upload(&other);
    other = u;
    other.id = STR("0123456789abcdef0123456789abcdef");
    expect_no_upload(&other);
    other.id = STR("not an id");
    expect_no_upload(&other);
    other.id = STR("");
    expect_no_upload(&other);
    k->bucket.uid += UINT64_C(1) << 42;
    expect_no_upload(&u);
    k->bucket.uid -= UINT64_C(1) << 42;
    assert_err(upload_abort(&u), ERR_OK);
    expect_no_upload(&u);
    kit_expect_absent(k, STR("key"));
    expect_no_uploads(k);
}

static void part_of_an_upload_that_ends_meanwhile_is_refused(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    struct kit_source *body = kit_source(k, kit_bytes(k, 100000, 1));
    struct body_check check = {0};
    struct upload_part_req req = {.arena = &k->arena,
                                  .bucket = k->bucket,
                                  .key = u.key,
                                  .upload_id = u.id,
                                  .number = 1,
                                  .body = &body->source,
                                  .check = &check,
                                  .size_max = PART_SIZE_MAX};
    struct upload_part_res res;
    struct kit_call c = {0};

    body->stop_at = 50000;
    store_upload_part(k->store, &req, &res, kit_begin(k, &c));
    kit_turns(k, 5);
    assert_err(upload_abort(&u), ERR_OK);
    kit_source_go_on(body);
    assert_err(kit_wait(k, &c), ERR_NO_SUCH_UPLOAD);
}

static void bad_parts_are_not_kept(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_CRC32, CHECKSUM_NONE);
    struct kit_source *body = kit_source(k, STR("part"));
    struct body_check check = {.want_count = 1};
    struct upload_part_req req = {.arena = &k->arena,
                                  .bucket = k->bucket,
                                  .key = u.key,
                                  .upload_id = u.id,
                                  .number = 1,
                                  .body = &body->source,
                                  .check = &check,
                                  .size_max = PART_SIZE_MAX};
    struct upload_part_res res;
    struct part_list_req list = {.arena = &k->arena, .bucket = k->bucket, .key = u.key, .upload_id = u.id, .max = 10};
    struct part_list_res listed = {0};

    hash_of(HASH_CRC32, STR("else"), &check.want[0].digest);
    check.want[0].err = ERR_BAD_DIGEST;
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_BAD_DIGEST);
    check = (struct body_check){.checksum = HASH_SHA256};
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_CHECKSUM_TYPE);
    check = (struct body_check){.checksum = HASH_CRC32};
    body->at = 0;
    body->stop_at = 2;
    body->fail = ERR_CLIENT_GONE;
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_CLIENT_GONE);
    req.number = 0;
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_INVALID_ARGUMENT);
    req.number = PARTS_MAX + 1;
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_INVALID_ARGUMENT);
    req.number = 1;
    req.size_max = 3;
    body->at = 0;
    body->stop_at = SIZE_MAX;
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_ENTITY_TOO_LARGE);
    assert_err(KIT_CALL(k, part_list, &list, &listed), ERR_OK);
    assert_int_equal(listed.count, 0);
}

/* boto3 creates uploads without a word on checksums and then sends CRC32 with every part. */
static void upload_without_algorithm_verifies_any_and_keeps_crc64(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    struct kit_source *body = kit_source(k, STR("part"));
    struct body_check check = {.checksum = HASH_CRC32, .want_count = 1};
    struct upload_part_req req = {.arena = &k->arena,
                                  .bucket = k->bucket,
                                  .key = u.key,
                                  .upload_id = u.id,
                                  .number = 1,
                                  .body = &body->source,
                                  .check = &check,
                                  .size_max = PART_SIZE_MAX};
    struct upload_part_res res;

    hash_of(HASH_CRC32, STR("else"), &check.want[0].digest);
    check.want[0].err = ERR_BAD_DIGEST;
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_BAD_DIGEST);
    body->at = 0;
    check.checksum = HASH_CRC32;
    hash_of(HASH_CRC32, STR("part"), &check.want[0].digest);
    assert_err(KIT_CALL(k, upload_part, &req, &res), ERR_OK);
    assert_int_equal(res.part.checksum.digest.alg, HASH_CRC64NVME);
    u.asked[u.n++] = (struct complete_part){1, etag_str(&res.part.etag), check.want[0].digest};
    assert_int_equal(upload_complete(&u).checksum.digest.alg, HASH_CRC64NVME);
}

static void parts_are_listed_in_pages(void **state)
{
    static const uint32_t numbers[] = {9, 2, 10000, 1, 77};
    static const uint32_t sorted[] = {1, 2, 9, 77, 10000};
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_SHA1, CHECKSUM_NONE);
    struct part_list_req req = {.arena = &k->arena, .bucket = k->bucket, .key = u.key, .upload_id = u.id, .max = 2};
    struct part_list_res res = {.truncated = true};
    uint32_t seen = 0;

    for (int i = 0; i < 5; i++)
        upload_add(&u, numbers[i], kit_bytes(k, numbers[i], 1));
    while (res.truncated) {
        assert_err(KIT_CALL(k, part_list, &req, &res), ERR_OK);
        assert_int_equal(res.checksum_alg, HASH_SHA1);
        assert_int_equal(res.checksum_type, CHECKSUM_COMPOSITE);
        assert_str(res.initiator, STR("me"));
        for (uint32_t i = 0; i < res.count; i++) {
            assert_int_equal(res.parts[i].number, sorted[seen]);
            assert_int_equal(res.parts[i].size, sorted[seen++]);
            assert_int_equal(res.parts[i].checksum.digest.alg, HASH_SHA1);
        }
        req.after = res.parts[res.count - 1].number;
    }
    assert_int_equal(seen, 5);
    req.after = PARTS_MAX;
    assert_err(KIT_CALL(k, part_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 0);
    req.after = 0;
    req.max = 0;
    assert_err(KIT_CALL(k, part_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 0);
    assert_false(res.truncated);
}

static void uploads_are_listed_in_pages(void **state)
{
    static const char *const keys[] = {"a", "b/1", "b/2", "c", "c", "c", "d/x/y"};
    struct kit *k = *state;
    struct upload u[7];
    struct upload_list_req req = {.arena = &k->arena, .bucket = k->bucket};
    uint32_t order[] = {3, 0, 6, 4, 2, 5, 1};

    for (int i = 0; i < 7; i++)
        u[order[i]] = upload_begin(k, str_z(keys[order[i]]), HASH_NONE, CHECKSUM_NONE);
    for (req.max = 1; req.max < 9; req.max++) {
        struct upload_list_res res = {.truncated = true};
        uint32_t seen = 0;
        req.key_marker = req.upload_id_marker = STR_NONE;
        while (res.truncated) {
            assert_err(KIT_CALL(k, upload_list, &req, &res), ERR_OK);
            for (uint32_t i = 0; i < res.count; i++, seen++) {
                assert_str(res.entries[i].key, str_z(keys[seen]));
                assert_str(res.entries[i].upload_id, u[seen].id); /* of one key: the oldest first */
            }
            req.key_marker = res.entries[res.count - 1].key;
            req.upload_id_marker = res.entries[res.count - 1].upload_id;
        }
        assert_int_equal(seen, 7);
    }
}

static void uploads_roll_up(void **state)
{
    static const char *const keys[] = {"a", "b/1", "b/2", "c", "c", "d/x/y"};
    static const char *const shown[] = {"a", "b/", "c", "c", "d/"};
    struct kit *k = *state;
    struct upload_list_req req = {.arena = &k->arena, .bucket = k->bucket, .delimiter = STR("/")};

    for (int i = 0; i < 6; i++)
        upload_begin(k, str_z(keys[i]), HASH_NONE, CHECKSUM_NONE);
    for (req.max = 1; req.max < 7; req.max++) {
        struct upload_list_res res = {.truncated = true};
        uint32_t seen = 0;
        req.key_marker = req.upload_id_marker = STR_NONE;
        while (res.truncated) {
            assert_err(KIT_CALL(k, upload_list, &req, &res), ERR_OK);
            for (uint32_t i = 0; i < res.count; i++, seen++) {
                assert_str(res.entries[i].key, str_z(shown[seen]));
                assert_int_equal(res.entries[i].is_prefix, shown[seen][strlen(shown[seen]) - 1] == '/');
            }
            req.key_marker = res.entries[res.count - 1].key;
            req.upload_id_marker = res.entries[res.count - 1].upload_id;
        }
        assert_int_equal(seen, 5);
    }
    struct upload_list_res res = {0};
    req.prefix = STR("b/");
    req.key_marker = STR("b/1");
    req.upload_id_marker = STR_NONE; /* then none of that key */
    assert_err(KIT_CALL(k, upload_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 1);
    assert_str(res.entries[0].key, STR("b/2"));
}

int contract_uploads(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(parts_in_any_order_make_an_object),
        KIT_TEST(reads_by_part_number_and_across_parts),
        KIT_TEST(head_lists_the_parts),
        KIT_TEST(part_put_again_replaces),
        KIT_TEST(parts_not_named_are_dropped),
        KIT_TEST(upload_keeps_attributes_and_tags),
        KIT_TEST(aborted_and_foreign_uploads_do_not_exist),
        KIT_TEST(part_of_an_upload_that_ends_meanwhile_is_refused),
        KIT_TEST(bad_parts_are_not_kept),
        KIT_TEST(upload_without_algorithm_verifies_any_and_keeps_crc64),
        KIT_TEST(parts_are_listed_in_pages),
        KIT_TEST(uploads_are_listed_in_pages),
        KIT_TEST(uploads_roll_up),
    };

    return kit_run(env, "uploads", tests, sizeof(tests) / sizeof(tests[0]));
}
