#include "upload_kit.h"

#include "base/clock.h"

/* Objects whose content is elsewhere, imports that replace whatever is there, and the times of writes. */

static struct bucket_id elsewhere(struct kit *k)
{
    return (struct bucket_id){k->bucket.uid + (UINT64_C(2) << 40), STR("elsewhere")};
}

static void drop(struct kit *k)
{
    struct bucket_purge_req req = {.arena = &k->arena, .bucket = elsewhere(k), .objects = true};
    struct bucket_purge_res res;

    assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_OK);
    req.unseal = true;
    assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_OK);
}

static struct obj_head_res head_of(struct kit *k, struct bucket_id bucket, struct str key)
{
    struct obj_head_req req = kit_get_req(k, key).head;
    struct obj_head_res res = {0};

    req.bucket = bucket;
    req.parts = true;
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_OK);
    return res;
}

static struct str content_of(struct kit *k, struct bucket_id bucket, struct str key, const struct range *range)
{
    struct obj_get_req req = kit_get_req(k, key);
    struct obj_get_res res = {0};
    struct str body;

    req.head.bucket = bucket;
    req.head.range = *range;
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(k, res.body, true, &body), ERR_OK);
    return body;
}

/* `content` NULL: none. */
static enum err import(struct kit *k, const struct obj_head_res *from, const struct str *content, bool force,
                       bool *kept)
{
    struct body_check check = {0};
    struct kit_source *body = kit_source(k, content ? *content : STR(""));
    struct obj_import_req req = {.arena = &k->arena,
                                 .bucket = elsewhere(k),
                                 .key = STR("key"),
                                 .info = from->info,
                                 .parts = from->parts,
                                 .part_count = from->part_count,
                                 .body = content ? &body->source : NULL,
                                 .check = &check,
                                 .force = force};
    struct obj_import_res res = {0};
    enum err e = KIT_CALL(k, obj_import, &req, &res);

    *kept = res.kept;
    return e;
}

/* ---- layouts ---- */

static void expect_same_head(const struct obj_head_res *a, const struct obj_head_res *b)
{
    const struct object_info *x = &a->info, *y = &b->info;

    assert_true(x->size == y->size && x->mtime_ns == y->mtime_ns);
    assert_str(etag_str(&x->etag), etag_str(&y->etag));
    assert_true(digest_eq(&x->checksum.digest, &y->checksum.digest));
    assert_int_equal(x->checksum.type, y->checksum.type);
    assert_int_equal(x->checksum.parts, y->checksum.parts);
    assert_str(x->tags, y->tags);
    assert_int_equal(x->parts, y->parts);
    assert_str(x->upload_id, y->upload_id);
    assert_str(x->layout, y->layout);
    assert_int_equal(a->part_count, b->part_count);
    for (uint32_t i = 0; i < a->part_count; i++) {
        assert_int_equal(a->parts[i].number, b->parts[i].number);
        assert_true(a->parts[i].size == b->parts[i].size);
        assert_true(a->parts[i].mtime_ns == b->parts[i].mtime_ns);
        assert_str(etag_str(&a->parts[i].etag), etag_str(&b->parts[i].etag));
        assert_true(digest_eq(&a->parts[i].checksum.digest, &b->parts[i].checksum.digest));
    }
}

static void expect_imported(struct kit *k, const struct obj_head_res *from)
{
    struct obj_list_req list = {.arena = &k->arena, .bucket = elsewhere(k), .max = 10};
    struct obj_list_res page = {0};
    struct obj_get_req req = kit_get_req(k, STR("key"));
    struct obj_get_res res = {0};
    struct obj_head_res to = head_of(k, elsewhere(k), STR("key"));
    struct str body;

    expect_same_head(from, &to);
    assert_err(KIT_CALL(k, obj_list, &list, &page), ERR_OK);
    assert_int_equal(page.count, 1);
    assert_true(page.entries[0].size == from->info.size);
    req.head.bucket = elsewhere(k);
    req.head.range = (struct range){RANGE_FROM, from->info.size / 2, 0};
    if (from->info.size) {
        assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
        assert_true(res.head.offset == from->info.size / 2);
        assert_true(res.head.len == from->info.size - from->info.size / 2);
        assert_err(kit_drain(k, res.body, true, &body), ERR_OK);
        assert_int_equal(body.n, 0);
    }
    req.head.range = (struct range){RANGE_FROM, from->info.size, 0};
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_INVALID_RANGE);
}

static void import_without_content_and_compare(struct kit *k)
{
    struct obj_head_res x = head_of(k, k->bucket, STR("from"));
    bool kept;

    x.info.layout = STR("ec 2+1 0123456789abcdef");
    assert_err(import(k, &x, NULL, false, &kept), ERR_OK);
    assert_false(kept);
    expect_imported(k, &x);
    if (k->env->persistent) {
        kit_reopen(k);
        expect_imported(k, &x);
    }
    assert_err(import(k, &x, NULL, false, &kept), ERR_OK);
    assert_true(kept);
    assert_err(import(k, &x, NULL, true, &kept), ERR_OK);
    assert_true(kept);
    expect_imported(k, &x);
}

static void layouts_are_imported_without_content(void **state)
{
    static const size_t sizes[] = {0, 1, 20000, 3 << 20};
    struct kit *k = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        kit_put(k, STR("from"), kit_bytes(k, sizes[i], i));
        import_without_content_and_compare(k);
    }
    drop(k);
}

static struct upload two_parts(struct kit *k, struct str key)
{
    struct upload u = upload_begin(k, key, HASH_SHA256, CHECKSUM_COMPOSITE);

    upload_add(&u, 3, full_part(0));
    upload_add(&u, 4, kit_bytes(k, 9999, 1));
    return u;
}

static void layouts_of_parts_keep_the_parts(void **state)
{
    struct kit *k = *state;
    struct upload u = two_parts(k, STR("from"));
    struct part_info parts[2];
    bool kept;

    upload_complete(&u);
    import_without_content_and_compare(k);
    struct obj_head_req req = kit_get_req(k, STR("key")).head;
    struct obj_head_res res = {0};
    req.bucket = elsewhere(k);
    req.part_number = 4;
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_OK);
    assert_true(res.offset == 5 << 20 && res.len == 9999);
    assert_int_equal(res.part.number, 4);
    struct obj_head_res x = head_of(k, k->bucket, STR("from"));
    x.info.layout = STR("another");
    x.info.mtime_ns++;
    x.parts = memcpy(parts, x.parts, sizeof(parts));
    parts[1].size++;
    assert_err(import(k, &x, NULL, false, &kept), ERR_BAD_DIGEST);
    drop(k);
}

/* ---- force ---- */

static void forced_import_replaces_what_is_newer(void **state)
{
    static const struct range all = {0};
    struct kit *k = *state;
    struct str old_content = kit_bytes(k, 30000, 1), new_content = STR("newer");
    bool kept;

    kit_put(k, STR("from"), old_content);
    struct obj_head_res old = head_of(k, k->bucket, STR("from"));
    kit_put(k, STR("from"), new_content);
    struct obj_head_res new = head_of(k, k->bucket, STR("from"));
    assert_err(import(k, &new, &new_content, true, &kept), ERR_OK); /* in the place of nothing */
    assert_false(kept);
    assert_err(import(k, &old, &old_content, false, &kept), ERR_OK);
    assert_true(kept);
    assert_err(import(k, &old, &old_content, true, &kept), ERR_OK);
    assert_false(kept);
    struct obj_head_res here = head_of(k, elsewhere(k), STR("key"));
    expect_same_head(&old, &here);
    assert_str(content_of(k, elsewhere(k), STR("key"), &all), old_content);
    assert_err(import(k, &old, &old_content, true, &kept), ERR_OK);
    assert_true(kept);
    struct obj_head_res same_time = new;
    same_time.info.mtime_ns = old.info.mtime_ns;
    assert_err(import(k, &same_time, &new_content, false, &kept), ERR_OK);
    assert_true(kept);
    assert_err(import(k, &same_time, &new_content, true, &kept), ERR_OK); /* as new, but another one */
    assert_false(kept);
    assert_str(content_of(k, elsewhere(k), STR("key"), &all), new_content);
    struct obj_head_res bare = same_time;
    bare.info.layout = STR("elsewhere");
    assert_err(import(k, &bare, NULL, true, &kept), ERR_OK);
    assert_false(kept);
    expect_imported(k, &bare);
    assert_err(import(k, &same_time, &new_content, true, &kept), ERR_OK);
    assert_false(kept);
    assert_str(content_of(k, elsewhere(k), STR("key"), &all), new_content);
    drop(k);
}

/* ---- times ---- */

/* Makes an object of a time to come. */
static int64_t import_future(struct kit *k)
{
    struct str content = STR("of tomorrow");
    bool kept;

    kit_put(k, STR("from"), content);
    struct obj_head_res x = head_of(k, k->bucket, STR("from"));
    x.info.mtime_ns = clock_wall_ns() + 86400 * NS_PER_S;
    assert_err(import(k, &x, &content, true, &kept), ERR_OK);
    assert_false(kept);
    return x.info.mtime_ns;
}

static void expect_time(struct kit *k, int64_t told, int64_t time)
{
    assert_true(told == time);
    assert_true(head_of(k, k->bucket, STR("key")).info.mtime_ns == time);
}

static void writes_of_a_key_have_ascending_times(void **state)
{
    static const size_t sizes[] = {0, 100, 40000};
    struct kit *k = *state;
    struct bucket_id home = k->bucket;
    int64_t time = import_future(k);

    k->bucket = elsewhere(k);
    for (size_t i = 0; i < 6; i++)
        expect_time(k, kit_put(k, STR("key"), kit_bytes(k, sizes[i % 3], i)).mtime_ns, ++time);
    if (!(k->env->skip & CONTRACT_NO_COPY)) {
        struct obj_copy_req copy = {.arena = &k->arena,
                                    .src_bucket = home,
                                    .src_key = STR("from"),
                                    .src_cond = COND_INIT,
                                    .bucket = k->bucket,
                                    .key = STR("key"),
                                    .cond = COND_INIT,
                                    .size_max = PUT_SIZE_MAX};
        struct obj_copy_res res = {0};
        assert_err(KIT_CALL(k, obj_copy, &copy, &res), ERR_OK);
        expect_time(k, res.info.mtime_ns, ++time);
    }
    if (!(k->env->skip & CONTRACT_NO_UPLOADS)) {
        struct upload u = two_parts(k, STR("key"));
        expect_time(k, upload_complete(&u).mtime_ns, ++time);
    }
    if (k->env->persistent) {
        kit_reopen(k);
        expect_time(k, time, time);
    }
    k->bucket = home;
    drop(k);
}

int contract_layouts(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(layouts_are_imported_without_content),
        KIT_TEST(layouts_of_parts_keep_the_parts),
        KIT_TEST(forced_import_replaces_what_is_newer),
        KIT_TEST(writes_of_a_key_have_ascending_times),
    };

    return kit_run(env, "layouts", tests, sizeof(tests) / sizeof(tests[0]));
}
