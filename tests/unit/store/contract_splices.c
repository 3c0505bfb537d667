#include "contract_parts.h"

/* A splice must end as if the object had been written anew with the bytes that it then has. Stores that can't say so before they have
 * touched the body. */

static struct obj_splice_req splice_req(struct kit *k, struct str key, uint64_t offset, uint64_t cut,
                                        struct source *body, struct body_check *check)
{
    return (struct obj_splice_req){.arena = &k->arena,
                                   .bucket = k->bucket,
                                   .key = key,
                                   .cond = COND_INIT,
                                   .offset = offset,
                                   .cut = cut,
                                   .body = body,
                                   .check = check,
                                   .size_max = OBJECT_SIZE_MAX};
}

static enum err splice(struct kit *k, struct str key, uint64_t offset, uint64_t cut, struct str bytes,
                       struct object_info *info)
{
    struct body_check check = {0};
    struct source *body = source_memory(bytes, NULL, NULL);
    struct obj_splice_req req = splice_req(k, key, offset, cut, body, &check);
    struct obj_splice_res res = {0};
    enum err e = KIT_CALL(k, obj_splice, &req, &res);

    source_close(body);
    if (info)
        *info = res.info;
    return e;
}

static struct str join(struct kit *k, struct str old, uint64_t offset, uint64_t cut, struct str bytes)
{
    size_t rest = (size_t)(offset + cut), n = old.n - (size_t)cut + bytes.n;
    char *p = arena_alloc(&k->arena, n + 1);

    memcpy(p, old.p, (size_t)offset);
    if (bytes.n)
        memcpy(p + offset, bytes.p, bytes.n);
    memcpy(p + offset + bytes.n, old.p + rest, old.n - rest);
    return str_n(p, n);
}

static struct str get_range(struct kit *k, struct str key, struct range range)
{
    struct obj_get_req req = kit_get_req(k, key);
    struct obj_get_res res = {0};
    struct str got;

    req.head.range = range;
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(k, res.body, true, &got), ERR_OK);
    return got;
}

static void expect(struct kit *k, struct str key, struct str content)
{
    struct object_info info = kit_head(k, key);
    struct range all = {RANGE_ALL, 0, 0}, middle = {RANGE_FROM_TO, content.n / 3, content.n / 2};

    assert_int_equal(info.size, content.n);
    assert_int_equal(info.parts, 0);
    assert_true(str_eq(get_range(k, key, all), content));
    if (content.n)
        assert_true(str_eq(get_range(k, key, middle), str_n(content.p + middle.first, middle.last - middle.first + 1)));
}

/* Whether this store has the method for this kind of bucket. */
static bool splices(struct kit *k)
{
    kit_put(k, STR("probe"), STR("probe"));
    enum err e = splice(k, STR("probe"), 5, 0, STR("s"), NULL);

    if (e != ERR_NOT_IMPLEMENTED)
        assert_err(e, ERR_OK);
    return e == ERR_OK;
}

static void splice_is_as_if_written_anew(void **state)
{
    static const struct {
        size_t size, offset, cut, body;
    } cases[] = {{0, 0, 0, 0},
                 {0, 0, 0, 10},
                 {0, 0, 0, 300000},
                 {100, 100, 0, 10},
                 {100, 0, 100, 0},
                 {100, 50, 10, 5},
                 {100, 50, 10, 200000},
                 {10000, 9000, 1000, 70000},
                 {200000, 200000, 0, 1000},
                 {200000, 199000, 1000, 90000},
                 {200000, 0, 0, 1000},
                 {200000, 1000, 500, 100},
                 {200000, 100000, 50000, 0},
                 {200000, 10, 199980, 5},
                 {200000, 0, 200000, 0},
                 {3 << 20, 1 << 20, 1 << 20, 2 << 20}};
    struct kit *k = *state;

    if (!splices(k))
        return;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str old = kit_bytes(k, cases[i].size, i), body = kit_bytes(k, cases[i].body, i + 100);
        struct object_info before = kit_put(k, STR("k"), old), after;
        assert_err(splice(k, STR("k"), cases[i].offset, cases[i].cut, body, &after), ERR_OK);
        expect(k, STR("k"), join(k, old, cases[i].offset, cases[i].cut, body));
        struct object_info now = kit_head(k, STR("k"));
        assert_str(etag_str(&after.etag), etag_str(&now.etag));
        assert_true(after.mtime_ns == now.mtime_ns && now.mtime_ns > before.mtime_ns);
        if (cases[i].body || cases[i].cut)
            assert_false(str_eq(etag_str(&before.etag), etag_str(&now.etag)));
    }
}

static void splice_after_splice(void **state)
{
    struct kit *k = *state;
    struct str now = kit_bytes(k, 150000, 1);
    uint64_t seed = 7;

    if (!splices(k))
        return;
    kit_put(k, STR("k"), now);
    for (int i = 0; i < 120; i++) {
        struct str body;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint64_t offset = i % 3 ? now.n : (seed >> 20) % (now.n + 1), most = now.n - offset;
        uint64_t cut = i % 3 ? 0 : (seed >> 40) % (most + 1) % 20000;
        body = kit_bytes(k, (seed >> 50) % 9000 + (i % 40 ? 0 : 100000), seed);
        assert_err(splice(k, STR("k"), offset, cut, body, NULL), ERR_OK);
        now = join(k, now, offset, cut, body);
        if (i % 10 == 9)
            expect(k, STR("k"), now);
    }
    expect(k, STR("k"), now);
    assert_err(kit_delete(k, STR("k")), ERR_OK);
    kit_expect_absent(k, STR("k"));
}

static void splice_looks_at_conditions_and_bounds(void **state)
{
    struct kit *k = *state;
    struct body_check check = {0};
    struct obj_splice_res res = {0};

    if (!splices(k))
        return;
    assert_err(splice(k, STR("absent"), 0, 0, STR("x"), NULL), ERR_NO_SUCH_KEY);
    struct object_info info = kit_put(k, STR("k"), kit_bytes(k, 100000, 1));
    assert_err(splice(k, STR("k"), 100001, 0, STR("x"), NULL), ERR_INVALID_RANGE);
    assert_err(splice(k, STR("k"), 99999, 2, STR("x"), NULL), ERR_INVALID_RANGE);
    assert_err(splice(k, STR("k"), UINT64_MAX, 2, STR("x"), NULL), ERR_INVALID_RANGE);
    struct source *body = source_memory(STR("abc"), NULL, NULL);
    struct obj_splice_req req = splice_req(k, STR("k"), 0, 0, body, &check);
    req.cond = kit_if_match("\"other\"");
    assert_err(KIT_CALL(k, obj_splice, &req, &res), ERR_PRECONDITION);
    req.cond = kit_if_none_match("*");
    assert_err(KIT_CALL(k, obj_splice, &req, &res), ERR_PRECONDITION);
    req.cond = (struct cond)COND_INIT;
    req.size_max = 100002;
    assert_err(KIT_CALL(k, obj_splice, &req, &res), ERR_ENTITY_TOO_LARGE);
    source_close(body);
    expect(k, STR("k"), kit_bytes(k, 100000, 1));
    req.body = body = source_memory(STR("abc"), NULL, NULL);
    req.size_max = 100003;
    req.cond.if_match = etag_str(&info.etag);
    assert_err(KIT_CALL(k, obj_splice, &req, &res), ERR_OK);
    source_close(body);
    req.body = NULL;
    assert_err(KIT_CALL(k, obj_splice, &req, &res), ERR_PRECONDITION);
}

static const struct attr attrs[] = {{{"content-type", 12}, {"text/x", 6}}, {{"x-amz-meta-a", 12}, {"1", 1}}};

static void splice_keeps_attributes(void **state)
{
    struct kit *k = *state;
    struct body_check check = {.checksum = HASH_SHA256};
    struct source *body = source_memory(kit_bytes(k, 100000, 1), NULL, NULL);
    struct obj_put_req req = kit_put_req(k, STR("k"), body, &check);
    struct obj_put_res res;

    if (!splices(k)) {
        source_close(body);
        return;
    }
    req.info.attrs = attrs;
    req.info.attr_count = 2;
    req.info.tags = STR("a=1");
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
    source_close(body);
    assert_err(splice(k, STR("k"), 100000, 0, STR("more"), NULL), ERR_OK);
    struct object_info info = kit_head(k, STR("k"));
    assert_int_equal(info.attr_count, 2);
    assert_str(info.attrs[0].value, STR("text/x"));
    assert_str(info.tags, STR("a=1"));
    assert_int_equal(info.checksum.digest.n, 0);
}

static void splice_of_a_wrong_or_failing_body_changes_nothing(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 100000, 1);
    struct obj_splice_res res = {0};

    if (!splices(k))
        return;
    kit_put(k, STR("k"), content);
    struct body_check check = {.also = 1u << HASH_CRC32, .want_count = 1};
    check.want[0].digest = (struct digest){.alg = HASH_CRC32, .n = 4};
    check.want[0].err = ERR_BAD_DIGEST;
    struct source *body = source_memory(STR("abc"), NULL, NULL);
    struct obj_splice_req req = splice_req(k, STR("k"), 5, 5, body, &check);
    assert_err(KIT_CALL(k, obj_splice, &req, &res), ERR_BAD_DIGEST);
    source_close(body);
    struct body_check none = {0};
    struct kit_source *s = kit_source(k, kit_bytes(k, 200000, 2));
    s->stop_at = 150000;
    s->fail = ERR_CLIENT_GONE;
    req = splice_req(k, STR("k"), 5, 5, &s->source, &none);
    enum err e = KIT_CALL(k, obj_splice, &req, &res);
    assert_true(e != ERR_OK);
    expect(k, STR("k"), content);
}

static void splice_cancelled_at_any_time_is_all_or_nothing(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 300000, 4), body = kit_bytes(k, 100000, 5), all = join(k, content, 7, 9, body);

    if (!splices(k))
        return;
    for (int turns = 0; turns < 14; turns++) {
        struct body_check check = {0};
        struct source *s = source_memory(body, NULL, NULL);
        struct obj_splice_req req = splice_req(k, STR("k"), 7, 9, s, &check);
        struct obj_splice_res res = {0};
        struct kit_call c = {0};
        kit_put(k, STR("k"), content);
        store_obj_splice(k->store, &req, &res, kit_begin(k, &c));
        for (int i = 0; i < turns && !c.done; i++)
            loop_turn(k->loop, 0);
        call_cancel(&c.call);
        enum err e = kit_wait(k, &c);
        source_close(s);
        if (e != ERR_OK && k->env->far)
            kit_turns(k, 50); /* until the other side has noticed */
        bool done = kit_head(k, STR("k")).size == all.n;
        if (!k->env->far)
            assert_true(done == (e == ERR_OK));
        expect(k, STR("k"), done ? all : content);
    }
}

static void copy_and_splice_share_content(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 300000, 4), other = content;
    struct obj_copy_res res;

    if (!splices(k) || k->env->skip & CONTRACT_NO_COPY)
        return;
    kit_put(k, STR("a"), content);
    for (int i = 0; i < 6; i++) { /* both go on from what they share, and a copy of that, and so on */
        struct obj_copy_req copy = {.arena = &k->arena,
                                    .src_bucket = k->bucket,
                                    .src_key = STR("a"),
                                    .src_cond = COND_INIT,
                                    .bucket = k->bucket,
                                    .key = STR("b"),
                                    .cond = COND_INIT,
                                    .size_max = PUT_SIZE_MAX};
        assert_err(KIT_CALL(k, obj_copy, &copy, &res), ERR_OK);
        struct str body = kit_bytes(k, 90000, 10u + (unsigned)i);
        assert_err(splice(k, STR("a"), 1000, 5000, body, NULL), ERR_OK);
        other = join(k, content, 2000, 100000, STR("q"));
        assert_err(splice(k, STR("b"), 2000, 100000, STR("q"), NULL), ERR_OK);
        content = join(k, content, 1000, 5000, body);
        expect(k, STR("a"), content);
        expect(k, STR("b"), other);
    }
    assert_err(kit_delete(k, STR("a")), ERR_OK);
    expect(k, STR("b"), other);
    kit_reopen(k);
    if (k->env->persistent)
        expect(k, STR("b"), other);
}

/* What another node makes of it is the very same object. */
static void spliced_objects_can_be_imported(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 300000, 4);
    struct object_info info;

    if (!splices(k) || k->env->skip & CONTRACT_NO_IMPORT)
        return;
    kit_put(k, STR("k"), content);
    assert_err(splice(k, STR("k"), 300000, 0, STR("more"), &info), ERR_OK);
    content = join(k, content, 300000, 0, STR("more"));
    assert_err(kit_delete(k, STR("k")), ERR_OK);
    struct body_check check = {0};
    struct source *body = source_memory(content, NULL, NULL);
    struct obj_import_req req = {
        .arena = &k->arena, .bucket = k->bucket, .key = STR("k"), .info = info, .body = body, .check = &check};
    struct obj_import_res res = {0};
    assert_err(KIT_CALL(k, obj_import, &req, &res), ERR_OK);
    source_close(body);
    expect(k, STR("k"), content);
    struct object_info now = kit_head(k, STR("k"));
    assert_str(etag_str(&now.etag), etag_str(&info.etag));
    assert_true(now.mtime_ns == info.mtime_ns);
    body = source_memory(str_n(content.p, content.n - 1), NULL, NULL);
    req.body = body;
    req.info.mtime_ns++;
    enum err e = KIT_CALL(k, obj_import, &req, &res);
    assert_true(e != ERR_OK);
    source_close(body);
}

int contract_splices(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(splice_is_as_if_written_anew),
        KIT_TEST(splice_after_splice),
        KIT_TEST(splice_looks_at_conditions_and_bounds),
        KIT_TEST(splice_keeps_attributes),
        KIT_TEST(splice_of_a_wrong_or_failing_body_changes_nothing),
        KIT_TEST(splice_cancelled_at_any_time_is_all_or_nothing),
        KIT_TEST(copy_and_splice_share_content),
        KIT_TEST(spliced_objects_can_be_imported),
    };

    return kit_run(env, "splices", tests, sizeof(tests) / sizeof(tests[0]));
}
