/* A store with quotas is a store as any other, until one is reached. */
#include "unit.h"

#include "kit.h"

#include "base/clock.h"
#include "store/memstore.h"
#include "store/quota.h"

enum { BUCKETS = 400 };

static struct loop *loop;
static struct meta *meta;
static struct bucket_confs *confs;
static struct quotas *quotas;
static struct store *inner;

/* "BYTES OBJECTS" */
static const void *read_limits(struct arena *a, struct str text)
{
    struct quota_limits *l = ARENA_NEW(a, struct quota_limits);
    struct str rest = text, bytes = str_split(&rest, ' ');

    assert_true(str_to_u64(bytes, UINT64_MAX, &l->bytes) && str_to_u64(rest, UINT64_MAX, &l->objects));
    return l;
}

static bool limits(const void *parsed, struct quota_limits *out)
{
    *out = *(const struct quota_limits *)parsed;
    return true;
}

static void limit(uint64_t uid, const char *text)
{
    struct arena arena = ARENA_INIT;
    struct bucket_conf_put_req req = {&arena, uid, STR("tagging"), str_z(text)};
    struct bucket_conf_put_res res;
    struct kit k = {.loop = loop};
    struct kit_call c = {0};

    bucket_conf_put(confs, &req, &res, kit_begin(&k, &c));
    assert_int_equal(kit_wait(&k, &c), ERR_OK);
    arena_release(&arena);
}

static struct store *open_store(struct contract_env *env)
{
    static const struct bucket_doc_kind kinds[] = {{{"tagging", 7}, read_limits}};

    meta = meta_memory_new();
    assert_int_equal(bucket_confs_open(meta, kinds, 1, &confs), ERR_OK);
    for (uint64_t uid = 1001; uid <= 1000 + BUCKETS; uid++)
        limit(uid, "1000000000000 1000000");
    quotas = quotas_new(&(struct quotas_conf){confs, limits});
    inner = memstore_new(env->loop);
    return quota_store_new(quotas, env->loop, inner);
}

static void close_store(struct contract_env *env, struct store *s)
{
    (void)env;
    store_close(s);
    store_close(inner);
    quotas_free(quotas);
    meta_close(meta);
    bucket_confs_close(confs);
}

/* ---- what is refused ---- */

static struct str zeros(struct kit *k, size_t n)
{
    return str_n(arena_new(&k->arena, n), n);
}

static enum err put(struct kit *k, const char *key, size_t n, bool says_size)
{
    struct body_check check = {0};
    struct kit_source *body = kit_source(k, zeros(k, n));
    struct obj_put_req req = kit_put_req(k, str_z(key), &body->source, &check);
    struct obj_put_res res;

    if (says_size)
        body->source.size = n;
    enum err e = KIT_CALL(k, obj_put, &req, &res);
    assert_true(e != ERR_QUOTA_EXCEEDED || !says_size || body->at == 0); /* none of the body was read */
    return e;
}

static void bytes_have_a_bound(void **state)
{
    struct kit *k = *state;

    limit(k->bucket.uid, "1000 0");
    assert_err(put(k, "a", 600, true), ERR_OK);
    assert_err(put(k, "b", 401, true), ERR_QUOTA_EXCEEDED);
    kit_expect_absent(k, STR("b"));
    assert_err(put(k, "b", 400, true), ERR_OK);
    assert_err(put(k, "c", 0, true), ERR_OK);
    assert_err(put(k, "c", 1, true), ERR_QUOTA_EXCEEDED);
}

static void what_says_no_size_is_cut_off(void **state)
{
    struct kit *k = *state;

    limit(k->bucket.uid, "1000 0");
    assert_err(put(k, "a", 1000, false), ERR_OK);
    assert_err(put(k, "b", 1, false), ERR_QUOTA_EXCEEDED);
    assert_err(kit_delete(k, STR("a")), ERR_OK);
    assert_err(put(k, "b", 1001, false), ERR_QUOTA_EXCEEDED);
    assert_err(put(k, "b", 1000, false), ERR_OK);
}

static void a_replacement_needs_the_difference(void **state)
{
    struct kit *k = *state;

    limit(k->bucket.uid, "1000 2");
    assert_err(put(k, "a", 500, true), ERR_OK);
    assert_err(put(k, "b", 500, true), ERR_OK);
    assert_err(put(k, "a", 500, true), ERR_OK);
    assert_err(put(k, "a", 501, true), ERR_QUOTA_EXCEEDED);
    for (int i = 0; i < 10; i++)
        assert_err(put(k, "a", 400, true), ERR_OK);
    assert_err(put(k, "c", 1, true), ERR_QUOTA_EXCEEDED);
    kit_expect(k, STR("a"), zeros(k, 400));
}

static void what_is_deleted_makes_room(void **state)
{
    struct kit *k = *state;

    limit(k->bucket.uid, "1000 3");
    for (int i = 0; i < 5; i++) {
        assert_err(put(k, "a", 400, true), ERR_OK);
        assert_err(put(k, "b", 400, true), ERR_OK);
        assert_err(put(k, "c", 400, true), ERR_QUOTA_EXCEEDED);
        assert_err(kit_delete(k, STR("a")), ERR_OK);
        assert_err(put(k, "c", 400, true), ERR_OK);
        assert_err(kit_delete(k, STR("b")), ERR_OK);
        assert_err(kit_delete(k, STR("c")), ERR_OK);
    }
}

/* Who is refused again and again costs no count each time. */
static void refusals_are_cheap(void **state)
{
    struct kit *k = *state;
    uint64_t began;

    limit(k->bucket.uid, "1000 0");
    assert_err(put(k, "a", 1000, true), ERR_OK);
    assert_err(put(k, "b", 1000, true), ERR_QUOTA_EXCEEDED);
    began = clock_mono_ns();
    for (int i = 0; i < 100; i++)
        assert_err(put(k, "b", 1000, true), ERR_QUOTA_EXCEEDED);
    assert_true(clock_mono_ns() - began < UINT64_C(2) * NS_PER_S); /* each count would wait 200 ms for the one before */
}

static void copies_take_room(void **state)
{
    struct kit *k = *state;
    struct obj_copy_req req = {.arena = &k->arena,
                               .src_bucket = k->bucket,
                               .src_key = STR("a"),
                               .src_cond = COND_INIT,
                               .bucket = k->bucket,
                               .key = STR("b"),
                               .cond = COND_INIT,
                               .size_max = OBJECT_SIZE_MAX};
    struct obj_copy_res res = {.moved = false};

    limit(k->bucket.uid, "1000 0");
    assert_err(put(k, "a", 600, true), ERR_OK);
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_QUOTA_EXCEEDED);
    req.key = STR("a"); /* other words about it */
    req.replace_tags = true;
    req.info.tags = STR("k=v");
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
    req.key = STR("c");
    req.move = true;
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(bytes_have_a_bound),
        KIT_TEST(what_says_no_size_is_cut_off),
        KIT_TEST(a_replacement_needs_the_difference),
        KIT_TEST(what_is_deleted_makes_room),
        KIT_TEST(refusals_are_cheap),
        KIT_TEST(copies_take_room),
    };
    struct contract_env env = {.name = "quota", .open = open_store, .close = close_store};

    loop = env.loop = loop_new();
    loop_adopt(loop);
    int failed = store_contract_run(&env);
    failed += kit_run(&env, "quota: bounds", tests, sizeof(tests) / sizeof(tests[0]));
    loop_free(loop);
    return failed;
}
