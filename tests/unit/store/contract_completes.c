#include "upload_kit.h"

static enum err complete(struct upload *u, const struct upload_complete_req *req, struct upload_complete_res *res)
{
    *res = (struct upload_complete_res){0};
    return KIT_CALL(u->k, upload_complete, req, res);
}

static struct upload two_parts(struct kit *k, enum hash_alg alg, enum checksum_type type)
{
    struct upload u = upload_begin(k, STR("key"), alg, type);

    upload_add(&u, 1, full_part(0));
    upload_add(&u, 2, kit_bytes(k, 12345, 2));
    return u;
}

static void complete_twice_answers_the_same(void **state)
{
    struct kit *k = *state;
    struct upload u = two_parts(k, HASH_NONE, CHECKSUM_NONE);
    struct object_info first = upload_complete(&u), again = upload_complete(&u);
    struct part_info part;

    assert_str(etag_str(&first.etag), etag_str(&again.etag));
    assert_true(digest_eq(&first.checksum.digest, &again.checksum.digest));
    assert_true(first.mtime_ns == again.mtime_ns);
    assert_int_equal(again.parts, 2);
    assert_err(upload_put(&u, 3, STR("late"), &part), ERR_NO_SUCH_UPLOAD);
    assert_err(upload_abort(&u), ERR_NO_SUCH_UPLOAD);
    kit_expect(k, STR("key"), upload_content(&u));
    kit_put(k, STR("key"), STR("newer"));
    struct upload_complete_req req = upload_complete_req(&u);
    struct upload_complete_res res;
    assert_err(complete(&u, &req, &res), ERR_NO_SUCH_UPLOAD);
    kit_expect(k, STR("key"), STR("newer"));
}

static void racing_completions_agree(void **state)
{
    struct kit *k = *state;
    struct upload u = two_parts(k, HASH_NONE, CHECKSUM_NONE);
    struct upload_complete_req req = upload_complete_req(&u);
    struct upload_complete_res res[3] = {0};
    struct kit_call c[3] = {0};
    int won = 0;

    for (int i = 0; i < 3; i++)
        store_upload_complete(k->store, &req, &res[i], kit_begin(k, &c[i]));
    for (int i = 0; i < 3; i++) {
        enum err e = kit_wait(k, &c[i]);
        if (e == ERR_OK)
            won++;
        else if (e != ERR_CONFLICT)
            assert_err(e, ERR_NO_SUCH_UPLOAD);
    }
    assert_true(won > 0);
    kit_expect(k, STR("key"), upload_content(&u));
}

static void conditions_of_completion(void **state)
{
    struct kit *k = *state;
    struct upload u = two_parts(k, HASH_NONE, CHECKSUM_NONE);
    struct upload_complete_req req = upload_complete_req(&u);
    struct upload_complete_res res;

    req.cond = kit_if_match("*");
    assert_err(complete(&u, &req, &res), ERR_NO_SUCH_KEY);
    kit_put(k, STR("key"), STR("there"));
    req.cond = kit_if_none_match("*");
    assert_err(complete(&u, &req, &res), ERR_PRECONDITION);
    kit_expect(k, STR("key"), STR("there"));
    assert_err(kit_delete(k, STR("key")), ERR_OK);
    assert_err(complete(&u, &req, &res), ERR_OK); /* a refused one can be tried again */
    kit_expect(k, STR("key"), upload_content(&u));
}

static void wrong_parts_are_named(void **state)
{
    struct kit *k = *state;
    struct upload u = two_parts(k, HASH_CRC32, CHECKSUM_COMPOSITE);
    struct upload_complete_req req = upload_complete_req(&u);
    struct upload_complete_res res;
    struct complete_part right[2] = {u.asked[0], u.asked[1]};

    u.asked[1].number = 3;
    assert_err(complete(&u, &req, &res), ERR_INVALID_PART);
    assert_int_equal(res.bad.number, 3);
    u.asked[1] = right[1];
    u.asked[1].etag = right[0].etag;
    assert_err(complete(&u, &req, &res), ERR_INVALID_PART);
    assert_int_equal(res.bad.number, 2);
    u.asked[1] = right[1];
    u.asked[1].checksum = u.stored[0].checksum.digest;
    assert_err(complete(&u, &req, &res), ERR_INVALID_PART);
    u.asked[0] = u.asked[1] = right[0];
    assert_err(complete(&u, &req, &res), ERR_INVALID_PART_ORDER);
    req.part_count = 0;
    assert_err(complete(&u, &req, &res), ERR_MALFORMED_XML);
    kit_expect_absent(k, STR("key"));
    u.asked[0] = right[0];
    u.asked[1] = right[1];
    u.asked[0].etag = arena_printf(&k->arena, "\"" STR_FMT "\"", STR_ARG(right[0].etag));
    u.asked[1].etag = arena_printf(&k->arena, "&quot;" STR_FMT "&quot;", STR_ARG(right[1].etag));
    u.asked[0].checksum = u.stored[0].checksum.digest;
    upload_complete(&u);
    kit_expect(k, STR("key"), upload_content(&u));
}

static void descending_parts_are_out_of_order(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    struct upload_complete_req req;
    struct upload_complete_res res;

    upload_add(&u, 2, full_part(0));
    upload_add(&u, 1, full_part(1));
    req = upload_complete_req(&u);
    assert_err(complete(&u, &req, &res), ERR_INVALID_PART_ORDER);
}

static void small_parts_only_at_the_end(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);
    struct str almost = full_part(0);

    almost.n--;
    upload_add(&u, 4, almost);
    upload_add(&u, 6, STR("end"));
    struct upload_complete_req req = upload_complete_req(&u);
    struct upload_complete_res res;
    assert_err(complete(&u, &req, &res), ERR_ENTITY_TOO_SMALL);
    assert_int_equal(res.bad.number, 4);
    assert_int_equal(res.bad.size, almost.n);
    assert_str(etag_str(&res.bad.etag), u.asked[0].etag);
    req.part_count = 1;
    assert_err(complete(&u, &req, &res), ERR_OK);
    kit_expect(k, STR("key"), almost);
}

static void one_empty_part_is_an_empty_object(void **state)
{
    struct kit *k = *state;
    struct upload u = upload_begin(k, STR("key"), HASH_NONE, CHECKSUM_NONE);

    upload_add(&u, 1, STR(""));
    struct object_info info = upload_complete(&u);
    assert_str(etag_str(&info.etag), STR("59adb24ef3cdbe0297f05b395827453f-1"));
    kit_expect(k, STR("key"), STR(""));
}

static void composite_checksums_are_hashes_of_hashes(void **state)
{
    static const enum hash_alg algs[] = {HASH_CRC32, HASH_CRC32C, HASH_SHA1, HASH_SHA256, HASH_SHA512, HASH_XXH3};
    struct kit *k = *state;

    for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++) {
        struct upload u = two_parts(k, algs[i], CHECKSUM_NONE);
        struct upload_complete_req req = upload_complete_req(&u);
        struct upload_complete_res res;
        struct digest part[2], expected;
        uint8_t both[2 * HASH_MAX_LEN];
        size_t n = hash_len(algs[i]);

        for (int j = 0; j < 2; j++) {
            hash_of(algs[i], u.content[j], &part[j]);
            memcpy(both + (size_t)j * n, part[j].b, n);
            assert_true(digest_eq(&part[j], &u.stored[j].checksum.digest));
        }
        hash_of(algs[i], str_n(both, 2 * n), &expected);
        req.want = (struct checksum){expected, CHECKSUM_COMPOSITE, 2};
        req.want_type = CHECKSUM_COMPOSITE;
        req.want.digest.b[0] ^= 1;
        assert_err(complete(&u, &req, &res), ERR_BAD_DIGEST);
        req.want.digest.b[0] ^= 1;
        assert_err(complete(&u, &req, &res), ERR_OK);
        assert_true(digest_eq(&res.info.checksum.digest, &expected));
        assert_int_equal(res.info.checksum.type, CHECKSUM_COMPOSITE);
        assert_int_equal(res.info.checksum.parts, 2);
        struct object_info head = kit_head(k, STR("key"));
        assert_true(digest_eq(&head.checksum.digest, &expected));
        assert_int_equal(head.checksum.parts, 2);
    }
}

static void full_object_checksums_are_those_of_the_content(void **state)
{
    static const enum hash_alg algs[] = {HASH_CRC32, HASH_CRC32C, HASH_CRC64NVME};
    struct kit *k = *state;

    for (size_t i = 0; i < 3; i++) {
        struct upload u = two_parts(k, algs[i], CHECKSUM_FULL_OBJECT);
        struct upload_complete_req req = upload_complete_req(&u);
        struct upload_complete_res res;
        struct digest expected;

        hash_of(algs[i], upload_content(&u), &expected);
        req.want = (struct checksum){expected, CHECKSUM_FULL_OBJECT, 0};
        req.want.digest.b[3] ^= 1;
        assert_err(complete(&u, &req, &res), ERR_BAD_DIGEST);
        req.want.digest.b[3] ^= 1;
        req.want_type = CHECKSUM_COMPOSITE;
        assert_err(complete(&u, &req, &res), ERR_INVALID_REQUEST);
        req.want_type = CHECKSUM_FULL_OBJECT;
        req.want_size = upload_content(&u).n + 1;
        assert_err(complete(&u, &req, &res), ERR_INVALID_REQUEST);
        req.want_size--;
        assert_err(complete(&u, &req, &res), ERR_OK);
        assert_true(digest_eq(&res.info.checksum.digest, &expected));
        assert_int_equal(res.info.checksum.type, CHECKSUM_FULL_OBJECT);
    }
}

static void impossible_checksums_are_refused_at_creation(void **state)
{
    struct kit *k = *state;
    struct upload_create_req req = {.arena = &k->arena, .bucket = k->bucket, .key = STR("key")};
    struct upload_create_res res;

    req.checksum = HASH_SHA256;
    req.type = CHECKSUM_FULL_OBJECT;
    assert_err(KIT_CALL(k, upload_create, &req, &res), ERR_INVALID_REQUEST);
    req.checksum = HASH_CRC64NVME;
    req.type = CHECKSUM_COMPOSITE;
    assert_err(KIT_CALL(k, upload_create, &req, &res), ERR_INVALID_REQUEST);
}

static void copy_of_a_multipart_object_has_its_content(void **state)
{
    struct kit *k = *state;
    struct upload u = two_parts(k, HASH_SHA256, CHECKSUM_COMPOSITE);
    struct obj_copy_req req = {.arena = &k->arena,
                               .src_bucket = k->bucket,
                               .src_key = STR("key"),
                               .src_cond = COND_INIT,
                               .bucket = k->bucket,
                               .key = STR("copy"),
                               .cond = COND_INIT,
                               .size_max = PUT_SIZE_MAX};
    struct obj_copy_res res = {0};

    if (k->env->skip & CONTRACT_NO_COPY)
        skip();
    upload_complete(&u);
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
    assert_err(kit_delete(k, STR("key")), ERR_OK);
    kit_expect(k, STR("copy"), upload_content(&u));
    assert_int_equal(kit_head(k, STR("copy")).checksum.digest.alg, HASH_SHA256);
    struct upload_complete_req repeat = upload_complete_req(&u);
    struct upload_complete_res completed;
    assert_err(complete(&u, &repeat, &completed), ERR_NO_SUCH_UPLOAD);
}

int contract_completes(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(complete_twice_answers_the_same),
        KIT_TEST(racing_completions_agree),
        KIT_TEST(conditions_of_completion),
        KIT_TEST(wrong_parts_are_named),
        KIT_TEST(descending_parts_are_out_of_order),
        KIT_TEST(small_parts_only_at_the_end),
        KIT_TEST(one_empty_part_is_an_empty_object),
        KIT_TEST(composite_checksums_are_hashes_of_hashes),
        KIT_TEST(full_object_checksums_are_those_of_the_content),
        KIT_TEST(impossible_checksums_are_refused_at_creation),
        KIT_TEST(copy_of_a_multipart_object_has_its_content),
    };

    return kit_run(env, "completes", tests, sizeof(tests) / sizeof(tests[0]));
}
