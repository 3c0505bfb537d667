#include "upload_kit.h"

static enum err purge(struct kit *k, bool objects, bool unseal, uint64_t *removed)
{
    struct bucket_purge_req req = {.arena = &k->arena, .bucket = k->bucket, .objects = objects, .unseal = unseal};
    struct bucket_purge_res res = {0};
    enum err e = KIT_CALL(k, bucket_purge, &req, &res);

    *removed = res.removed;
    return e;
}

static enum err try_put(struct kit *k)
{
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(k, STR("key"), NULL, &check);
    struct obj_put_res res;

    return KIT_CALL(k, obj_put, &req, &res);
}

static void expect_sealed(struct kit *k)
{
    struct upload_create_req req = {.arena = &k->arena, .bucket = k->bucket, .key = STR("key")};
    struct upload_create_res res;

    assert_err(try_put(k), ERR_NO_SUCH_BUCKET);
    assert_err(kit_delete(k, STR("key")), ERR_NO_SUCH_BUCKET);
    if (!(k->env->skip & CONTRACT_NO_UPLOADS))
        assert_err(KIT_CALL(k, upload_create, &req, &res), ERR_NO_SUCH_BUCKET);
}

static void only_an_empty_bucket_is_sealed(void **state)
{
    struct kit *k = *state;
    uint64_t removed;

    kit_put(k, STR("key"), STR("x"));
    assert_err(purge(k, false, false, &removed), ERR_BUCKET_NOT_EMPTY);
    kit_expect(k, STR("key"), STR("x"));
    kit_put(k, STR("key"), STR("writable"));
    assert_err(kit_delete(k, STR("key")), ERR_OK);
    assert_err(purge(k, false, false, &removed), ERR_OK);
    assert_int_equal(removed, 0);
    expect_sealed(k);
    assert_err(purge(k, false, false, &removed), ERR_OK); /* again is fine */
    expect_sealed(k);
    assert_err(purge(k, false, true, &removed), ERR_OK);
    assert_err(try_put(k), ERR_OK);
    kit_expect(k, STR("key"), STR(""));
}

static void purge_removes_objects_and_uploads(void **state)
{
    struct kit *k = *state;
    struct obj_list_req list = {.arena = &k->arena, .bucket = k->bucket, .max = 10};
    struct obj_list_res listed = {0};
    struct str body, content = kit_bytes(k, 100000, 1);
    struct obj_get_req get = kit_get_req(k, STR("large"));
    struct obj_get_res got = {0};
    struct upload u;
    uint64_t removed, expected = k->env->copies ? 2 * k->env->copies : 2;

    kit_put(k, STR("small"), STR("x"));
    kit_put(k, STR("large"), content);
    if (!(k->env->skip & CONTRACT_NO_UPLOADS)) {
        u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
        upload_add(&u, 1, STR("part"));
        expected++;
    }
    assert_err(KIT_CALL(k, obj_get, &get, &got), ERR_OK);
    assert_err(purge(k, true, false, &removed), ERR_OK);
    assert_int_equal(removed, expected);
    expect_sealed(k);
    enum err e = KIT_CALL(k, obj_list, &list, &listed);
    if (e != ERR_OK)
        assert_err(e, ERR_NO_SUCH_BUCKET);
    assert_int_equal(listed.count, 0);
    assert_err(kit_drain(k, got.body, true, &body), ERR_OK); /* a reader goes on */
    assert_str(body, content);
}

static void uploads_do_not_hold_a_bucket(void **state)
{
    struct kit *k = *state;
    uint64_t removed;
    struct part_info part;

    if (k->env->skip & CONTRACT_NO_UPLOADS)
        skip();
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    upload_add(&u, 1, STR("part"));
    assert_err(purge(k, false, false, &removed), ERR_OK);
    assert_int_equal(removed, 1);
    assert_err(upload_put(&u, 2, STR("more"), &part), ERR_NO_SUCH_BUCKET);
    assert_err(purge(k, false, true, &removed), ERR_OK);
    assert_err(upload_put(&u, 2, STR("more"), &part), ERR_NO_SUCH_UPLOAD);
}

static void sealing_alone_removes_nothing(void **state)
{
    struct kit *k = *state;
    struct bucket_purge_req req = {.arena = &k->arena, .bucket = k->bucket, .seal = true};
    struct bucket_purge_res res = {0};
    uint64_t removed;
    struct part_info part;

    if (k->env->skip & CONTRACT_NO_UPLOADS)
        skip();
    struct upload u = upload_begin(k, STR("upload"), HASH_NONE, CHECKSUM_NONE);
    assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_OK);
    assert_int_equal(res.removed, 0);
    expect_sealed(k);
    assert_err(purge(k, false, true, &removed), ERR_OK);
    assert_err(upload_put(&u, 1, STR("part"), &part), ERR_OK);
    kit_put(k, STR("key"), STR("x"));
    assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_BUCKET_NOT_EMPTY);
    kit_put(k, STR("key"), STR("y"));
    req.objects = true;
    assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_OK);
    expect_sealed(k);
    kit_expect(k, STR("key"), STR("y"));
    assert_err(purge(k, false, true, &removed), ERR_OK);
}

static void write_that_began_before_the_seal_fails(void **state)
{
    static const size_t sizes[] = {100, 200000};
    struct kit *k = *state;
    uint64_t removed;

    for (int i = 0; i < 2; i++) {
        struct kit_source *body = kit_source(k, kit_bytes(k, sizes[i], 1));
        struct body_check check = {0};
        struct obj_put_req req = kit_put_req(k, STR("key"), &body->source, &check);
        struct obj_put_res res;
        struct kit_call c = {0};

        body->stop_at = sizes[i] / 2;
        store_obj_put(k->store, &req, &res, kit_begin(k, &c));
        kit_turns(k, 5);
        assert_err(purge(k, false, false, &removed), ERR_OK);
        kit_source_go_on(body);
        assert_err(kit_wait(k, &c), ERR_NO_SUCH_BUCKET);
        assert_err(purge(k, false, true, &removed), ERR_OK);
        kit_expect_absent(k, STR("key"));
    }
}

static void what_was_acknowledged_is_there_after_reopening(void **state)
{
    struct kit *k = *state;
    struct str small = kit_bytes(k, 100, 1), large = kit_bytes(k, 300000, 2);
    struct upload done, open;

    if (!k->env->persistent)
        skip();
    kit_put(k, STR("small"), small);
    kit_put(k, STR("large"), STR("old"));
    struct object_info info = kit_put(k, STR("large"), large);
    kit_put(k, STR("gone"), large);
    assert_err(kit_delete(k, STR("gone")), ERR_OK);
    done = upload_begin(k, STR("done"), HASH_SHA256, CHECKSUM_COMPOSITE);
    upload_add(&done, 1, full_part(0));
    upload_add(&done, 2, STR("end"));
    upload_complete(&done);
    open = upload_begin(k, STR("open"), HASH_CRC32C, CHECKSUM_FULL_OBJECT);
    upload_add(&open, 3, full_part(1));
    kit_reopen(k);
    kit_expect(k, STR("small"), small);
    kit_expect(k, STR("large"), large);
    kit_expect_absent(k, STR("gone"));
    kit_expect(k, STR("done"), upload_content(&done));
    struct object_info head = kit_head(k, STR("large"));
    assert_true(head.mtime_ns == info.mtime_ns);
    assert_str(etag_str(&head.etag), etag_str(&info.etag));
    assert_true(digest_eq(&head.checksum.digest, &info.checksum.digest));
    upload_complete(&done); /* a repeat */
    upload_add(&open, 4, STR("end"));
    upload_complete(&open);
    kit_reopen(k);
    kit_expect(k, STR("open"), upload_content(&open));
}

static void what_was_purged_is_gone_after_reopening(void **state)
{
    struct kit *k = *state;
    struct obj_list_req list = {.arena = &k->arena, .bucket = k->bucket, .max = 10};
    struct obj_list_res listed = {0};
    uint64_t removed;

    if (!k->env->persistent)
        skip();
    kit_put(k, STR("small"), STR("x"));
    kit_put(k, STR("large"), kit_bytes(k, 100000, 1));
    assert_err(purge(k, true, false, &removed), ERR_OK);
    kit_reopen(k);
    enum err e = KIT_CALL(k, obj_list, &list, &listed);
    if (e != ERR_OK)
        assert_err(e, ERR_NO_SUCH_BUCKET);
    assert_int_equal(listed.count, 0);
    assert_err(purge(k, false, true, &removed), ERR_OK); /* sealed still or not */
    assert_err(try_put(k), ERR_OK);
    kit_expect(k, STR("key"), STR(""));
}

int contract_buckets(struct contract_env *env)
{
    static const struct CMUnitTest purges[] = {
        KIT_TEST(only_an_empty_bucket_is_sealed),         KIT_TEST(purge_removes_objects_and_uploads),
        KIT_TEST(uploads_do_not_hold_a_bucket),           KIT_TEST(sealing_alone_removes_nothing),
        KIT_TEST(write_that_began_before_the_seal_fails), KIT_TEST(what_was_purged_is_gone_after_reopening),
    };
    static const struct CMUnitTest reopens[] = {
        KIT_TEST(what_was_acknowledged_is_there_after_reopening),
    };
    int failed = 0;

    if (!(env->skip & CONTRACT_NO_PURGE))
        failed += kit_run(env, "buckets", purges, sizeof(purges) / sizeof(purges[0]));
    if (!(env->skip & CONTRACT_NO_UPLOADS))
        failed += kit_run(env, "reopening", reopens, sizeof(reopens) / sizeof(reopens[0]));
    return failed;
}
