#include "contract_parts.h"

#include <stdlib.h>

/* The model: all keys in order, walked from the start for every page. */
enum { MODEL_KEYS = 220, MODEL_QUERIES = 600 };

struct model {
    struct str keys[MODEL_KEYS];
    size_t n;
};

struct expected {
    struct str name[LIST_MAX];
    bool is_prefix[LIST_MAX];
    uint32_t count;
    bool truncated;
};

static uint64_t seed;
static uint32_t roll(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

static struct str random_key(struct kit *k)
{
    static const char letters[] = {'a', 'b', 'c', '/', '/', '-', '+', '\0', (char)0xff, ' '};
    uint32_t n = 1 + roll(9);
    char *p = arena_alloc(&k->arena, n);

    for (uint32_t i = 0; i < n; i++)
        p[i] = letters[roll(sizeof(letters))];
    return str_n(p, n);
}

static int by_key(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void model_fill(struct kit *k, struct model *m)
{
    while (m->n < MODEL_KEYS) {
        struct str key = random_key(k);
        kit_put(k, key, str_n(key.p, key.n));
        m->keys[m->n++] = key;
    }
    qsort(m->keys, m->n, sizeof(m->keys[0]), by_key);
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++)
        if (i == 0 || !str_eq(m->keys[i], m->keys[kept - 1]))
            m->keys[kept++] = m->keys[i];
    m->n = kept;
}

static void model_list(const struct model *m, const struct obj_list_req *r, struct expected *x)
{
    x->count = 0;
    x->truncated = false;
    for (size_t i = 0; i < m->n; i++) {
        struct str name = m->keys[i];
        bool rolled = false;
        if (!str_starts(name, r->prefix))
            continue;
        for (size_t at = r->prefix.n; r->delimiter.n && at + r->delimiter.n <= name.n && !rolled; at++) {
            if (memcmp(name.p + at, r->delimiter.p, r->delimiter.n) == 0) {
                name.n = at + r->delimiter.n;
                rolled = true;
            }
        }
        if (str_cmp(name, r->after) <= 0 || (rolled && x->count && str_eq(name, x->name[x->count - 1])))
            continue;
        if (x->count == r->max) {
            x->truncated = r->max > 0;
            return;
        }
        x->name[x->count] = name;
        x->is_prefix[x->count++] = rolled;
    }
}

static struct obj_list_req random_query(struct kit *k, const struct model *m)
{
    static const struct {
        const char *p;
        size_t n;
    } delimiters[] = {{"", 0}, {"/", 1}, {"/", 1}, {"/", 1}, {"b", 1}, {"//", 2}, {"a/", 2}, {"\0", 1}, {"\xff", 1}};
    struct obj_list_req r = {.arena = &k->arena, .bucket = k->bucket};
    uint32_t d = roll(sizeof(delimiters) / sizeof(delimiters[0]));

    r.delimiter = str_n(delimiters[d].p, delimiters[d].n);
    if (roll(3)) {
        r.prefix = m->keys[roll((uint32_t)m->n)];
        r.prefix.n = roll((uint32_t)r.prefix.n + 1);
    }
    if (roll(2)) {
        r.after = roll(4) ? m->keys[roll((uint32_t)m->n)] : random_key(k);
        r.after.n = roll(4) ? r.after.n : roll((uint32_t)r.after.n + 1);
    }
    r.max = roll(4) ? roll(12) : LIST_MAX;
    return r;
}

static void expect_page(struct kit *k, const struct model *m, const struct obj_list_req *r)
{
    static struct expected x;
    struct obj_list_res res = {0};

    model_list(m, r, &x);
    assert_err(KIT_CALL(k, obj_list, r, &res), ERR_OK);
    assert_int_equal(res.count, x.count);
    assert_int_equal(res.truncated, x.truncated);
    for (uint32_t i = 0; i < x.count; i++) {
        assert_str(res.entries[i].key, x.name[i]);
        assert_int_equal(res.entries[i].is_prefix, x.is_prefix[i]);
        if (!x.is_prefix[i])
            assert_int_equal(res.entries[i].size, x.name[i].n);
    }
}

static void pages_equal_the_model(void **state)
{
    struct kit *k = *state;
    struct model m = {0};

    seed = 42;
    model_fill(k, &m);
    for (int i = 0; i < MODEL_QUERIES; i++) {
        struct obj_list_req r = random_query(k, &m);
        expect_page(k, &m, &r);
    }
    for (size_t i = 0; i < m.n; i += 3) /* and with holes */
        assert_err(kit_delete(k, m.keys[i]), ERR_OK);
    size_t kept = 0;
    for (size_t i = 0; i < m.n; i++)
        if (i % 3)
            m.keys[kept++] = m.keys[i];
    m.n = kept;
    for (int i = 0; i < MODEL_QUERIES; i++) {
        struct obj_list_req r = random_query(k, &m);
        expect_page(k, &m, &r);
    }
}

static void walk_in_pages(struct kit *k, const struct model *m, struct obj_list_req r)
{
    static struct expected x;
    struct obj_list_res res = {.truncated = true};
    uint32_t at = 0;

    r.max = LIST_MAX;
    r.after = STR_NONE;
    model_list(m, &r, &x);
    r.max = 1 + roll(7);
    while (res.truncated) {
        assert_err(KIT_CALL(k, obj_list, &r, &res), ERR_OK);
        for (uint32_t i = 0; i < res.count; i++, at++) {
            assert_true(at < x.count);
            assert_str(res.entries[i].key, x.name[at]);
            assert_int_equal(res.entries[i].is_prefix, x.is_prefix[at]);
        }
        if (res.truncated) {
            assert_int_equal(res.count, r.max);
            r.after = res.entries[res.count - 1].key;
        }
    }
    assert_int_equal(at, x.count);
}

static void walks_in_pages_miss_and_repeat_nothing(void **state)
{
    struct kit *k = *state;
    struct model m = {0};

    seed = 7;
    model_fill(k, &m);
    for (int i = 0; i < 40; i++)
        walk_in_pages(k, &m, random_query(k, &m));
}

static void listing_tells_what_head_tells(void **state)
{
    static const struct attr storage = {{"x-amz-storage-class", 19}, {"STANDARD_IA", 11}};
    struct kit *k = *state;
    struct body_check check = {.checksum = HASH_SHA256};
    struct source *body = source_memory(kit_bytes(k, 20000, 1), NULL, NULL);
    struct obj_put_req put = kit_put_req(k, STR("b"), body, &check);
    struct obj_put_res written;
    struct obj_list_req r = {.arena = &k->arena, .bucket = k->bucket, .max = 10};
    struct obj_list_res res = {0};

    put.info.attrs = &storage;
    put.info.attr_count = 1;
    assert_err(KIT_CALL(k, obj_put, &put, &written), ERR_OK);
    source_close(body);
    kit_put(k, STR("a"), STR("tiny"));
    assert_err(KIT_CALL(k, obj_list, &r, &res), ERR_OK);
    assert_int_equal(res.count, 2);
    struct object_info head = kit_head(k, STR("b"));
    const struct list_entry *e = &res.entries[1];
    assert_str(res.entries[0].key, STR("a"));
    assert_int_equal(res.entries[0].storage_class.n, 0);
    assert_str(e->key, STR("b"));
    assert_int_equal(e->size, 20000);
    assert_true(e->mtime_ns == head.mtime_ns);
    assert_str(etag_str(&e->etag), etag_str(&head.etag));
    assert_int_equal(e->checksum_alg, HASH_SHA256);
    assert_int_equal(e->checksum_type, CHECKSUM_FULL_OBJECT);
    assert_str(e->storage_class, STR("STANDARD_IA"));
}

static void limits_of_a_page(void **state)
{
    struct kit *k = *state;
    struct obj_list_req r = {.arena = &k->arena, .bucket = k->bucket, .max = LIST_MAX};
    struct obj_list_res res = {0};

    assert_err(KIT_CALL(k, obj_list, &r, &res), ERR_OK); /* a bucket that nobody wrote to */
    assert_int_equal(res.count, 0);
    assert_false(res.truncated);
    kit_put(k, STR("a"), STR(""));
    r.max = 0;
    assert_err(KIT_CALL(k, obj_list, &r, &res), ERR_OK);
    assert_int_equal(res.count, 0);
    assert_false(res.truncated);
    r.max = 1;
    assert_err(KIT_CALL(k, obj_list, &r, &res), ERR_OK);
    assert_int_equal(res.count, 1);
    assert_false(res.truncated);
    r.max = LIST_MAX + 1;
    assert_err(KIT_CALL(k, obj_list, &r, &res), ERR_INVALID_ARGUMENT);
}

int contract_lists(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(pages_equal_the_model),
        KIT_TEST(walks_in_pages_miss_and_repeat_nothing),
        KIT_TEST(listing_tells_what_head_tells),
        KIT_TEST(limits_of_a_page),
    };

    return kit_run(env, "lists", tests, sizeof(tests) / sizeof(tests[0]));
}
