#include "unit.h"

#include "base/pack.h"
#include "store/wire.h"

static struct arena arena;

#define assert_str(got, expected)                                                                                      \
    do {                                                                                                               \
        assert_true(str_eq(got, expected));                                                                            \
        assert_true(((got).p == NULL) == ((expected).p == NULL));                                                      \
    } while (0)

/* ---- comparing ---- */

static void same_bucket(const struct bucket_id *a, const struct bucket_id *b)
{
    assert_true(a->uid == b->uid);
    assert_str(a->name, b->name);
    assert_memory_equal(&a->redundancy, &b->redundancy, sizeof(a->redundancy));
}

static void same_digest(const struct digest *a, const struct digest *b)
{
    assert_int_equal(a->alg, b->alg);
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->b, b->b, a->n);
}

static void same_checksum(const struct checksum *a, const struct checksum *b)
{
    same_digest(&a->digest, &b->digest);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->parts, b->parts);
}

static void same_etag(const struct etag *a, const struct etag *b)
{
    assert_true(str_eq(etag_str(a), etag_str(b)));
}

static void same_info(const struct object_info *a, const struct object_info *b)
{
    assert_true(a->size == b->size && a->mtime_ns == b->mtime_ns);
    same_etag(&a->etag, &b->etag);
    same_checksum(&a->checksum, &b->checksum);
    assert_int_equal(a->attr_count, b->attr_count);
    for (uint32_t i = 0; i < a->attr_count; i++) {
        assert_str(a->attrs[i].name, b->attrs[i].name);
        assert_str(a->attrs[i].value, b->attrs[i].value);
    }
    assert_str(a->tags, b->tags);
    assert_int_equal(a->parts, b->parts);
    assert_str(a->upload_id, b->upload_id);
    assert_str(a->layout, b->layout);
}

static void same_cond(const struct cond *a, const struct cond *b)
{
    assert_str(a->if_match, b->if_match);
    assert_str(a->if_none_match, b->if_none_match);
    assert_true(a->if_modified_since_s == b->if_modified_since_s);
    assert_true(a->if_unmodified_since_s == b->if_unmodified_since_s);
}

static void same_part(const struct part_info *a, const struct part_info *b)
{
    assert_int_equal(a->number, b->number);
    assert_true(a->size == b->size && a->mtime_ns == b->mtime_ns);
    same_etag(&a->etag, &b->etag);
    same_checksum(&a->checksum, &b->checksum);
}

static void same_parts(const struct part_info *a, uint32_t an, const struct part_info *b, uint32_t bn)
{
    assert_int_equal(an, bn);
    for (uint32_t i = 0; i < an; i++)
        same_part(&a[i], &b[i]);
}

static void same_check(const struct body_check *a, const struct body_check *b)
{
    assert_int_equal(a->checksum, b->checksum);
    assert_int_equal(a->also, b->also);
    assert_int_equal(a->want_count, b->want_count);
    for (unsigned i = 0; i < a->want_count; i++) {
        same_digest(&a->want[i].digest, &b->want[i].digest);
        assert_int_equal(a->want[i].err, b->want[i].err);
    }
}

/* ---- values with every field set ---- */

static const struct bucket_id full_bucket = {UINT64_C(0xfedcba9876543210), {"bucket-a", 8}, {REDUNDANCY_EC, 17, 7}};
static const struct bucket_id other_bucket = {12, {"bucket-b", 8}};

static struct digest digest(enum hash_alg alg, uint8_t seed)
{
    struct digest d = {.alg = alg, .n = (uint8_t)hash_len(alg)};

    for (int i = 0; i < d.n; i++)
        d.b[i] = (uint8_t)(seed + i * 7);
    return d;
}

static struct etag etag(const char *text)
{
    struct etag e = {.n = (uint8_t)strlen(text)};

    memcpy(e.text, text, e.n);
    return e;
}

static struct object_info full_info(void)
{
    static const struct attr attrs[] = {
        {{"content-type", 12}, {"text/plain", 10}},
        {{"x-amz-meta-empty", 16}, {"", 0}},
        {{"x-amz-meta-bytes", 16}, {"\xc3\xa4 \x80", 4}},
    };

    return (struct object_info){
        .size = UINT64_C(1) << 40,
        .mtime_ns = INT64_C(1764000000123456789),
        .etag = etag("0123456789abcdef0123456789abcdef-10000"),
        .checksum = {digest(HASH_SHA512, 3), CHECKSUM_COMPOSITE, 10000},
        .attrs = attrs,
        .attr_count = 3,
        .tags = STR("a=1&b=2"),
        .parts = 10000,
        .upload_id = STR("0123456789abcdef0123456789abcdef"),
        .layout = STR("\x01\0slices"),
    };
}

static const struct cond full_cond = {{"\"a\", \"b\"", 8}, {"*", 1}, -5, INT64_C(1764000000)};
static const struct cond no_cond = COND_INIT;

static struct part_info part(uint32_t number)
{
    return (struct part_info){.number = number,
                              .size = PART_SIZE_MAX,
                              .mtime_ns = -1,
                              .etag = etag("0123456789abcdef0123456789abcdef"),
                              .checksum = {digest(HASH_CRC32C, (uint8_t)number), CHECKSUM_FULL_OBJECT, 0}};
}

static struct body_check full_check(void)
{
    struct body_check c = {.checksum = HASH_CRC32, .also = 1u << HASH_SHA256 | 1u << HASH_XXH128, .want_count = 4};

    c.want[0].digest = digest(HASH_SHA256, 1), c.want[0].err = ERR_SHA256_MISMATCH;
    c.want[1].digest = digest(HASH_MD5, 2), c.want[1].err = ERR_BAD_DIGEST;
    c.want[2].digest = digest(HASH_SHA512, 3), c.want[2].err = ERR_CORRUPT;
    c.want[3].digest = digest(HASH_CRC32, 4), c.want[3].err = ERR_BAD_DIGEST;
    return c;
}

/* ---- there and back ---- */

/* Encodes `from`, decodes it into the result; then with a field that a later version appended, then cut short at every byte. */
static void there_and_back(enum wire_method m, bool res, const void *from, void *to)
{
    struct buf b = BUF_INIT(WIRE_DESCRIPTION_MAX);
    void *scratch = arena_alloc(&arena, 1024);

    if (res)
        wire_put_res(m, &b, from);
    else
        wire_put_req(m, &b, from);
    assert_int_equal(buf_err(&b), ERR_OK);
    struct str bytes = arena_str(&arena, buf_str(&b));
    buf_release(&b);

    assert_true((res ? wire_res_size(m) : wire_req_size(m)) <= 1024);
    for (size_t n = 0; n < bytes.n; n++) {
        struct str cut = str_n(bytes.p, n);
        assert_int_equal(res ? wire_get_res(m, cut, &arena, scratch) : wire_get_req(m, cut, &arena, scratch),
                         ERR_BAD_REQUEST);
    }
    assert_int_equal(bytes.p[0] & 0xf0, 0x90); /* an array of less than 15 fields */
    char *p = arena_alloc(&arena, bytes.n + 3);
    memcpy(p, bytes.p, bytes.n);
    p[0]++;
    p[bytes.n] = (char)0x92, p[bytes.n + 1] = 1, p[bytes.n + 2] = (char)0xc0;
    struct str later = str_n(p, bytes.n + 3);
    assert_int_equal(res ? wire_get_res(m, later, &arena, to) : wire_get_req(m, later, &arena, to), ERR_OK);
    assert_int_equal(res ? wire_get_res(m, bytes, &arena, to) : wire_get_req(m, bytes, &arena, to), ERR_OK);
}

#define REQ(m, ...)                                                                                                    \
    struct m##_req a = {.arena = &arena, __VA_ARGS__}, b;                                                              \
    memset(&b, 0xee, sizeof(b));                                                                                       \
    there_and_back(WIRE_##m, false, &a, &b);                                                                           \
    assert_ptr_equal(b.arena, &arena)

#define RES(m, ...)                                                                                                    \
    struct m##_res a = {__VA_ARGS__}, b;                                                                               \
    memset(&b, 0xee, sizeof(b));                                                                                       \
    there_and_back(WIRE_##m, true, &a, &b)

static void same_head_req(const struct obj_head_req *a, const struct obj_head_req *b)
{
    same_bucket(&a->bucket, &b->bucket);
    assert_str(a->key, b->key);
    same_cond(&a->cond, &b->cond);
    assert_int_equal(a->part_number, b->part_number);
    assert_int_equal(a->range.kind, b->range.kind);
    assert_true(a->range.first == b->range.first && a->range.last == b->range.last);
    assert_int_equal(a->parts, b->parts);
}

static void same_head_res(const struct obj_head_res *a, const struct obj_head_res *b)
{
    same_info(&a->info, &b->info);
    assert_true(a->offset == b->offset && a->len == b->len);
    same_part(&a->part, &b->part);
    same_parts(a->parts, a->part_count, b->parts, b->part_count);
}

static const struct part_info *two_parts(void)
{
    struct part_info *p = arena_alloc(&arena, 2 * sizeof(*p));

    p[0] = part(3);
    p[1] = part(PARTS_MAX);
    return p;
}

static void obj_head(void **state)
{
    (void)state;
    {
        REQ(obj_head, .bucket = full_bucket, .key = STR("k"), .cond = full_cond, .part_number = 7,
            .range = {RANGE_FROM_TO, 5, UINT64_MAX}, .parts = true);
        same_head_req(&a, &b);
    }
    {
        REQ(obj_head, .cond = no_cond);
        same_head_req(&a, &b);
    }
    {
        RES(obj_head, .info = full_info(), .offset = 5, .len = 6, .part = part(9), .parts = two_parts(),
            .part_count = 2);
        same_head_res(&a, &b);
    }
    {
        RES(obj_head, 0);
        same_head_res(&a, &b);
    }
}

static void obj_get(void **state)
{
    (void)state;
    {
        struct obj_get_req b, a = {{.arena = &arena,
                                    .bucket = full_bucket,
                                    .key = STR("k\xff\x01"),
                                    .cond = full_cond,
                                    .part_number = 1,
                                    .range = {RANGE_LAST, 0, 9}}};
        there_and_back(WIRE_obj_get, false, &a, &b);
        same_head_req(&a.head, &b.head);
    }
    {
        RES(obj_get, .head = {.info = full_info(), .offset = 1, .len = 2, .part = part(1)});
        same_head_res(&a.head, &b.head);
    }
}

static void same_put_req(const struct obj_put_req *a, const struct obj_put_req *b)
{
    same_bucket(&a->bucket, &b->bucket);
    assert_str(a->key, b->key);
    same_info(&a->info, &b->info);
    same_cond(&a->cond, &b->cond);
    same_check(a->check, b->check);
    assert_null(b->body);
    assert_true(a->size_max == b->size_max);
}

static void obj_put(void **state)
{
    struct body_check full = full_check(), none = {0};

    (void)state;
    {
        REQ(obj_put, .bucket = full_bucket, .key = STR("k"), .info = full_info(), .cond = full_cond, .check = &full,
            .size_max = PUT_SIZE_MAX);
        same_put_req(&a, &b);
    }
    {
        REQ(obj_put, .cond = no_cond, .check = &none);
        same_put_req(&a, &b);
    }
    {
        RES(obj_put, .info = full_info());
        same_info(&a.info, &b.info);
    }
}

static void obj_delete(void **state)
{
    (void)state;
    {
        REQ(obj_delete, .bucket = full_bucket, .key = STR("k"), .cond = full_cond);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        same_cond(&a.cond, &b.cond);
    }
    {
        REQ(obj_delete, .cond = no_cond);
        same_cond(&a.cond, &b.cond);
    }
    {
        RES(obj_delete, .existed = true);
        assert_int_equal(a.existed, b.existed);
    }
}

static void same_copy_req(const struct obj_copy_req *a, const struct obj_copy_req *b)
{
    same_bucket(&a->src_bucket, &b->src_bucket);
    assert_str(a->src_key, b->src_key);
    same_cond(&a->src_cond, &b->src_cond);
    same_bucket(&a->bucket, &b->bucket);
    assert_str(a->key, b->key);
    same_cond(&a->cond, &b->cond);
    assert_int_equal(a->replace_attrs, b->replace_attrs);
    assert_int_equal(a->replace_tags, b->replace_tags);
    assert_true(a->change_attrs == b->change_attrs && a->bypass == b->bypass);
    same_info(&a->info, &b->info);
    assert_int_equal(a->checksum, b->checksum);
    assert_true(a->size_max == b->size_max);
}

static void obj_copy(void **state)
{
    (void)state;
    {
        REQ(obj_copy, .src_bucket = other_bucket, .src_key = STR("from"), .src_cond = full_cond, .bucket = full_bucket,
            .key = STR("to"), .cond = {STR("x"), STR_NONE, 1, 2}, .replace_attrs = true, .info = full_info(),
            .checksum = HASH_SHA1, .size_max = UINT64_MAX);
        same_copy_req(&a, &b);
    }
    {
        REQ(obj_copy, .src_cond = no_cond, .cond = no_cond, .replace_tags = true, .change_attrs = true, .bypass = true);
        same_copy_req(&a, &b);
    }
    {
        RES(obj_copy, .info = full_info());
        same_info(&a.info, &b.info);
    }
}

static void obj_import(void **state)
{
    struct body_check full = full_check(), none = {0};

    (void)state;
    {
        REQ(obj_import, .bucket = full_bucket, .key = STR("k"), .info = full_info(), .parts = two_parts(),
            .part_count = 2, .check = &full, .force = true);
        assert_true(a.force && b.force);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        same_info(&a.info, &b.info);
        same_parts(a.parts, a.part_count, b.parts, b.part_count);
        same_check(a.check, b.check);
    }
    {
        REQ(obj_import, .check = &none);
        assert_true(a.force == b.force);
        same_check(a.check, b.check);
        assert_null(b.parts);
    }
    {
        RES(obj_import, .kept = true);
        assert_true(b.kept && a.kept);
    }
}

static void obj_splice(void **state)
{
    struct body_check full = full_check();

    (void)state;
    {
        REQ(obj_splice, .bucket = full_bucket, .key = STR("k"), .cond = full_cond, .offset = 5, .cut = UINT64_MAX,
            .check = &full, .size_max = 7);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        same_cond(&a.cond, &b.cond);
        assert_true(a.offset == b.offset && a.cut == b.cut && a.size_max == b.size_max);
        same_check(a.check, b.check);
    }
    {
        RES(obj_splice, .info = full_info());
        same_info(&a.info, &b.info);
    }
}

static void obj_list(void **state)
{
    const struct list_entry entries[] = {
        {.key = STR("a/"), .is_prefix = true},
        {STR("b"), false, 5, -6, etag("0123456789abcdef0123456789abcdef-2"), HASH_CRC32, CHECKSUM_COMPOSITE,
         STR("STANDARD_IA")},
    };

    (void)state;
    {
        REQ(obj_list, .bucket = full_bucket, .prefix = STR("p"), .delimiter = STR("/"), .after = STR("p/a"),
            .max = LIST_MAX);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.prefix, b.prefix);
        assert_str(a.delimiter, b.delimiter);
        assert_str(a.after, b.after);
        assert_int_equal(a.max, b.max);
    }
    {
        RES(obj_list, .entries = entries, .count = 2, .truncated = true);
        assert_int_equal(b.count, 2);
        assert_true(b.truncated);
        for (int i = 0; i < 2; i++) {
            const struct list_entry *x = &a.entries[i], *y = &b.entries[i];
            assert_str(x->key, y->key);
            assert_true(x->is_prefix == y->is_prefix && x->size == y->size && x->mtime_ns == y->mtime_ns);
            same_etag(&x->etag, &y->etag);
            assert_true(x->checksum_alg == y->checksum_alg && x->checksum_type == y->checksum_type);
            assert_str(x->storage_class, y->storage_class);
        }
    }
    {
        RES(obj_list, .truncated = false);
        assert_true(a.count == b.count && !b.entries && !b.truncated);
    }
}

static void upload_create(void **state)
{
    (void)state;
    {
        REQ(upload_create, .bucket = full_bucket, .key = STR("k"), .info = full_info(), .checksum = HASH_SHA256,
            .type = CHECKSUM_COMPOSITE, .initiator = STR("me"));
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        same_info(&a.info, &b.info);
        assert_true(a.checksum == b.checksum && a.type == b.type);
        assert_str(a.initiator, b.initiator);
    }
    {
        RES(upload_create, .upload_id = STR("0123456789abcdef0123456789abcdef"));
        assert_str(a.upload_id, b.upload_id);
    }
}

static void upload_part(void **state)
{
    struct body_check full = full_check();

    (void)state;
    {
        REQ(upload_part, .bucket = full_bucket, .key = STR("k"), .upload_id = STR("id"), .number = 17, .check = &full,
            .size_max = 99);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        assert_str(a.upload_id, b.upload_id);
        assert_int_equal(a.number, b.number);
        same_check(a.check, b.check);
        assert_true(a.size_max == b.size_max);
    }
    {
        RES(upload_part, .part = part(17));
        same_part(&a.part, &b.part);
    }
}

static void upload_complete(void **state)
{
    const struct complete_part parts[] = {
        {.number = 1, .etag = STR("\"abc\"")},
        {UINT32_MAX, STR_NONE, digest(HASH_CRC64NVME, 8)},
        {.number = 3, .checksum = {.alg = HASH_SHA1}},
    };

    (void)state;
    {
        REQ(upload_complete, .bucket = full_bucket, .key = STR("k"), .upload_id = STR("id"), .parts = parts,
            .part_count = 3, .cond = full_cond, .want = {digest(HASH_CRC32, 1), CHECKSUM_COMPOSITE, 3},
            .want_type = CHECKSUM_FULL_OBJECT, .want_size = UINT64_MAX);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        assert_str(a.upload_id, b.upload_id);
        assert_int_equal(b.part_count, 3);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(a.parts[i].number, b.parts[i].number);
            assert_str(a.parts[i].etag, b.parts[i].etag);
            same_digest(&a.parts[i].checksum, &b.parts[i].checksum);
        }
        same_cond(&a.cond, &b.cond);
        same_checksum(&a.want, &b.want);
        assert_true(a.want_type == b.want_type && a.want_size == b.want_size);
    }
    {
        RES(upload_complete, .info = full_info(), .bad = part(5));
        same_info(&a.info, &b.info);
        same_part(&a.bad, &b.bad);
    }
}

static void upload_abort(void **state)
{
    (void)state;
    {
        REQ(upload_abort, .bucket = full_bucket, .key = STR("k"), .upload_id = STR("id"));
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        assert_str(a.upload_id, b.upload_id);
    }
    {
        RES(upload_abort, .unused = 0);
        assert_int_equal(a.unused, b.unused);
    }
}

static void upload_list(void **state)
{
    const struct upload_entry entries[] = {
        {.key = STR("a/"), .is_prefix = true},
        {STR("b"), false, STR("id"), 77, STR("me"), STR("GLACIER"), HASH_XXH3, CHECKSUM_COMPOSITE},
    };

    (void)state;
    {
        REQ(upload_list, .bucket = full_bucket, .prefix = STR("p"), .delimiter = STR("//"), .key_marker = STR("m"),
            .upload_id_marker = STR(""), .max = 3);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.prefix, b.prefix);
        assert_str(a.delimiter, b.delimiter);
        assert_str(a.key_marker, b.key_marker);
        assert_str(a.upload_id_marker, b.upload_id_marker);
        assert_int_equal(a.max, b.max);
    }
    {
        RES(upload_list, .entries = entries, .count = 2, .truncated = true);
        assert_int_equal(b.count, 2);
        assert_true(b.truncated);
        for (int i = 0; i < 2; i++) {
            const struct upload_entry *x = &a.entries[i], *y = &b.entries[i];
            assert_str(x->key, y->key);
            assert_true(x->is_prefix == y->is_prefix && x->created_ns == y->created_ns);
            assert_str(x->upload_id, y->upload_id);
            assert_str(x->initiator, y->initiator);
            assert_str(x->storage_class, y->storage_class);
            assert_true(x->checksum_alg == y->checksum_alg && x->checksum_type == y->checksum_type);
        }
    }
}

static void part_list(void **state)
{
    (void)state;
    {
        REQ(part_list, .bucket = full_bucket, .key = STR("k"), .upload_id = STR("id"), .after = 9, .max = 10);
        same_bucket(&a.bucket, &b.bucket);
        assert_str(a.key, b.key);
        assert_str(a.upload_id, b.upload_id);
        assert_true(a.after == b.after && a.max == b.max);
    }
    {
        RES(part_list, .parts = two_parts(), .count = 2, .truncated = true, .checksum_alg = HASH_SHA1,
            .checksum_type = CHECKSUM_COMPOSITE, .storage_class = STR("X"), .initiator = STR("me"));
        same_parts(a.parts, a.count, b.parts, b.count);
        assert_true(b.truncated && a.checksum_alg == b.checksum_alg && a.checksum_type == b.checksum_type);
        assert_str(a.storage_class, b.storage_class);
        assert_str(a.initiator, b.initiator);
    }
}

static void bucket_purge(void **state)
{
    (void)state;
    {
        REQ(bucket_purge, .seal = true);
        assert_true(b.seal && !b.unseal && !b.objects && a.seal);
    }
    {
        REQ(bucket_purge, .bucket = full_bucket, .objects = true);
        same_bucket(&a.bucket, &b.bucket);
        assert_true(b.objects && !b.unseal && !b.seal && a.objects);
    }
    {
        REQ(bucket_purge, .unseal = true);
        assert_true(b.unseal && !b.objects && !b.seal && a.unseal);
    }
    {
        REQ(bucket_purge, .seal = true);
        assert_true(b.seal && !b.objects && !b.unseal && a.seal);
    }
    {
        RES(bucket_purge, .removed = UINT64_MAX);
        assert_true(a.removed == b.removed);
    }
}

/* ---- bounds ---- */

static void a_key_too_long_is_refused(void **state)
{
    static char key[STORE_KEY_MAX + 1];
    struct buf b = BUF_INIT(8192);
    struct obj_delete_req r = {.key = {key, sizeof(key)}, .cond = COND_INIT}, out;

    (void)state;
    wire_put_obj_delete_req(&b, &r);
    assert_int_equal(wire_get_obj_delete_req(buf_str(&b), &arena, &out), ERR_BAD_REQUEST);
    buf_release(&b);
}

static void the_longest_descriptions_fit(void **state)
{
    static char key[STORE_KEY_MAX];
    struct list_entry *entries = arena_new(&arena, LIST_MAX * sizeof(*entries));
    struct part_info *parts = arena_new(&arena, PARTS_MAX * sizeof(*parts));
    struct buf b = BUF_INIT(WIRE_DESCRIPTION_MAX);

    (void)state;
    for (int i = 0; i < LIST_MAX; i++)
        entries[i] =
            (struct list_entry){.key = {key, STORE_KEY_MAX}, .size = UINT64_MAX, .storage_class = STR("STANDARD")};
    wire_put_obj_list_res(&b, &(struct obj_list_res){.entries = entries, .count = LIST_MAX});
    assert_int_equal(buf_err(&b), ERR_OK);
    buf_reset(&b);
    for (uint32_t i = 0; i < PARTS_MAX; i++) {
        parts[i] = part(i + 1);
        parts[i].checksum.digest = digest(HASH_SHA512, 1);
    }
    wire_put_obj_head_res(&b, &(struct obj_head_res){.parts = parts, .part_count = PARTS_MAX});
    assert_int_equal(buf_err(&b), ERR_OK);
    struct obj_head_res out;
    assert_int_equal(wire_get_obj_head_res(buf_str(&b), &arena, &out), ERR_OK);
    same_parts(parts, PARTS_MAX, out.parts, out.part_count);
    buf_release(&b);
}

/* An ETag that a client made up may be of any length; what matters is that it stays wrong. */
static void long_etags_of_parts_are_cut(void **state)
{
    static char text[5000];
    struct complete_part p = {.number = 1, .etag = {text, sizeof(text)}};
    struct upload_complete_req r = {.parts = &p, .part_count = 1, .cond = COND_INIT}, out;
    struct buf b = BUF_INIT(8192);

    (void)state;
    memset(text, 'a', sizeof(text));
    wire_put_upload_complete_req(&b, &r);
    assert_int_equal(wire_get_upload_complete_req(buf_str(&b), &arena, &out), ERR_OK);
    assert_true(out.parts[0].etag.n > ETAG_MAX + 12 && out.parts[0].etag.n < 100);
    buf_release(&b);
}

static void names(void **state)
{
    (void)state;
    for (int m = 0; m < WIRE_METHODS; m++)
        assert_int_equal(wire_by_name(wire_name((enum wire_method)m)), m);
    assert_int_equal(wire_by_name(STR("obj_gets")), WIRE_METHODS);
    assert_int_equal(wire_by_name(STR("")), WIRE_METHODS);
    for (int e = ERR_OK + 1; e < ERR__COUNT; e++)
        assert_int_equal(wire_err(str_z(err_name((enum err)e))), e);
    assert_int_equal(wire_err(STR("OK")), ERR_INTERNAL);
    assert_int_equal(wire_err(STR("OF_A_LATER_VERSION")), ERR_INTERNAL);
}

static void headers_round_trip(void **state)
{
    char bytes[300];
    struct str text, back;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 37 + 0xfb);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        text = wire_to_header(&arena, str_n(bytes, n));
        assert_true(str_find_char(text, '+') == SIZE_MAX && str_find_char(text, '=') == SIZE_MAX);
        assert_int_equal(wire_from_header(&arena, text, &back), ERR_OK);
        assert_true(str_eq(back, str_n(bytes, n)));
    }
    assert_int_equal(wire_from_header(&arena, STR("a"), &back), ERR_BAD_REQUEST);
    assert_int_equal(wire_from_header(&arena, STR("ab=="), &back), ERR_BAD_REQUEST);
    assert_int_equal(wire_from_header(&arena, STR("a+bc"), &back), ERR_BAD_REQUEST);
    assert_int_equal(wire_from_header(&arena, STR("a bc"), &back), ERR_BAD_REQUEST);
}

/* ---- descriptions of earlier and broken versions ---- */

/* An import as it was before buckets had redundancy, objects a layout, and imports force: with one field more or less at the places in
 * question. */
static struct str import_like(bool earlier, const char *redundancy)
{
    struct buf b = BUF_INIT(1024);

    pack_array(&b, earlier ? 5 : 6);
    pack_array(&b, earlier ? 2 : 3);
    pack_uint(&b, 5);
    pack_str(&b, STR("bucket"));
    if (!earlier)
        pack_str(&b, str_z(redundancy));
    pack_str(&b, STR("key"));
    pack_array(&b, 8);
    pack_uint(&b, 3);
    pack_int(&b, 4);
    pack_str(&b, STR("etag"));
    pack_array(&b, 3);
    pack_array(&b, 2);
    pack_uint(&b, HASH_NONE);
    pack_bin(&b, "", 0);
    pack_uint(&b, CHECKSUM_NONE);
    pack_uint(&b, 0);
    pack_array(&b, 0);
    pack_nil(&b);
    pack_uint(&b, 0);
    pack_nil(&b);
    pack_array(&b, 0);
    pack_array(&b, 3);
    pack_uint(&b, HASH_NONE);
    pack_uint(&b, 0);
    pack_array(&b, 0);
    if (!earlier)
        pack_bool(&b, true);
    struct str bytes = arena_str(&arena, buf_str(&b));
    buf_release(&b);
    return bytes;
}

static void earlier_versions_are_understood(void **state)
{
    struct obj_import_req r;

    (void)state;
    memset(&r, 0xee, sizeof(r));
    assert_int_equal(wire_get_obj_import_req(import_like(true, NULL), &arena, &r), ERR_OK);
    assert_true(r.bucket.uid == 5 && r.bucket.redundancy.kind == REDUNDANCY_NONE && !r.force && r.info.layout.n == 0);
    assert_str(r.key, STR("key"));
    assert_int_equal(wire_get_obj_import_req(import_like(false, "replicas=3"), &arena, &r), ERR_OK);
    assert_true(r.bucket.redundancy.kind == REDUNDANCY_REPLICAS && r.bucket.redundancy.data == 3 && r.force);
}

static void a_redundancy_that_is_none_is_refused(void **state)
{
    static const char *const texts[] = {"", "x", "replicas=1", "replicas=9", "ec=20+7", "ec=4+0", "mirror=2 "};
    struct obj_import_req r;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_int_equal(wire_get_obj_import_req(import_like(false, texts[i]), &arena, &r), ERR_BAD_REQUEST);
}

static void a_layout_too_long_is_refused(void **state)
{
    struct obj_put_res a = {.info = full_info()}, b;
    struct buf buf = BUF_INIT(WIRE_DESCRIPTION_MAX);
    char layout[LAYOUT_MAX + 1] = {0};

    (void)state;
    a.info.layout = str_n(layout, sizeof(layout));
    wire_put_obj_put_res(&buf, &a);
    assert_int_equal(wire_get_obj_put_res(buf_str(&buf), &arena, &b), ERR_BAD_REQUEST);
    buf_release(&buf);
}

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_teardown(f, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
#define M(m) TEST(m),
        STORE_METHODS(M)
#undef M
            TEST(a_key_too_long_is_refused),
        TEST(the_longest_descriptions_fit),
        TEST(long_etags_of_parts_are_cut),
        TEST(names),
        TEST(headers_round_trip),
        TEST(earlier_versions_are_understood),
        TEST(a_redundancy_that_is_none_is_refused),
        TEST(a_layout_too_long_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
