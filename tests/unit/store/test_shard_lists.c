#include "upload_kit.h"

#include "base/mem.h"
#include "cluster_kit.h"

/* Listings of a shard: the same as those of one store, at about the same cost, also while objects move. */

static struct loop *loop;
static struct kit kit; /* of the shard */

static void setup(unsigned nodes, unsigned in_map)
{
    static uint64_t uid = 1;

    cluster_open(loop, nodes, in_map);
    kit = (struct kit){.loop = loop, .store = cluster_shard(), .bucket = {++uid, STR("bucket")}};
}

static void teardown(void)
{
    store_close(kit.store);
    arena_release(&kit.arena);
    cluster_close();
}

/* ---- against one store ---- */

static const char *const pieces[] = {"a", "b", "/", "\xff", "\x01", "ab", "a/", "//"};

static struct str random_key(size_t most)
{
    char *p = arena_alloc(&kit.arena, 64);
    size_t n = 0;

    for (size_t i = cluster_random(most + 1); i-- > 0;) {
        const char *piece = pieces[cluster_random(sizeof(pieces) / sizeof(pieces[0]))];
        memcpy(p + n, piece, strlen(piece));
        n += strlen(piece);
    }
    return str_n(p, n);
}

static void same_object_lists(struct kit *one, const struct obj_list_req *req)
{
    struct obj_list_res a = {0}, b = {0};

    assert_err(KIT_CALL(&kit, obj_list, req, &a), ERR_OK);
    assert_err(KIT_CALL(one, obj_list, req, &b), ERR_OK);
    assert_int_equal(a.count, b.count);
    assert_int_equal(a.truncated, b.truncated);
    for (uint32_t i = 0; i < a.count; i++) {
        assert_str(a.entries[i].key, b.entries[i].key);
        assert_int_equal(a.entries[i].is_prefix, b.entries[i].is_prefix);
        assert_int_equal(a.entries[i].size, b.entries[i].size);
        assert_str(etag_str(&a.entries[i].etag), etag_str(&b.entries[i].etag));
    }
}

static void same_upload_lists(struct kit *one, const struct upload_list_req *req)
{
    struct upload_list_res a = {0}, b = {0};

    assert_err(KIT_CALL(&kit, upload_list, req, &a), ERR_OK);
    assert_err(KIT_CALL(one, upload_list, req, &b), ERR_OK);
    assert_int_equal(a.count, b.count);
    assert_int_equal(a.truncated, b.truncated);
    for (uint32_t i = 0; i < a.count; i++) {
        assert_str(a.entries[i].key, b.entries[i].key);
        assert_int_equal(a.entries[i].is_prefix, b.entries[i].is_prefix);
        assert_str(a.entries[i].upload_id, b.entries[i].upload_id);
    }
}

static struct memupload *upload_copy(const struct memupload *from)
{
    struct memupload *u = NEW(struct memupload);

    u->key = arena_str(&u->arena, from->key);
    u->id = arena_str(&u->arena, from->id);
    u->created_ns = from->created_ns;
    return u;
}

static void random_change(struct kit *one)
{
    struct str key = random_key(5);
    struct upload_create_req req = {.arena = &kit.arena, .bucket = kit.bucket, .key = key};
    struct upload_create_res res;

    if (key.n == 0)
        return;
    switch (cluster_random(4)) {
    case 0:
        assert_err(kit_delete(&kit, key), ERR_OK);
        assert_err(kit_delete(one, key), ERR_OK);
        break;
    case 1:
        assert_err(KIT_CALL(&kit, upload_create, &req, &res), ERR_OK);
        membucket_add_upload(memstore_bucket(MEMSTORE(one->store), kit.bucket.uid),
                             upload_copy(membucket_find_upload(
                                 cluster_bucket(cluster_owner(kit.bucket, key), kit.bucket), key, res.upload_id)));
        break;
    default: {
        struct str content = kit_bytes(&kit, cluster_random(100), cluster_random(1000));
        kit_put(&kit, key, content);
        kit_put(one, key, content);
    }
    }
}

static struct str random_id(struct kit *one)
{
    const struct membucket *b = memstore_bucket(MEMSTORE(one->store), kit.bucket.uid);

    return b->upload_count ? b->uploads[cluster_random(b->upload_count)]->id : STR_NONE;
}

static void random_lists(struct kit *one)
{
    static const char *const delimiters[] = {"", "/", "a", "//", "\xff", "ab"};
    static const uint32_t pages[] = {0, 1, 2, 3, 7, 20, 100, LIST_MAX};
    struct obj_list_req req = {.arena = &kit.arena,
                               .bucket = kit.bucket,
                               .prefix = random_key(2),
                               .delimiter = str_z(delimiters[cluster_random(6)]),
                               .after = random_key(4),
                               .max = pages[cluster_random(8)]};
    struct upload_list_req uploads = {.arena = &kit.arena,
                                      .bucket = kit.bucket,
                                      .prefix = req.prefix,
                                      .delimiter = req.delimiter,
                                      .key_marker = req.after,
                                      .max = req.max};

    if (uploads.key_marker.n && cluster_random(2))
        uploads.upload_id_marker = random_id(one);
    same_object_lists(one, &req);
    same_upload_lists(one, &uploads);
}

static void lists_are_those_of_one_store(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++) {
        setup(5, 5);
        cluster.random += seed * 7919;
        for (unsigned i = 0; i < cluster.count; i++)
            cluster.nodes[i].weight = 1 + (uint32_t)cluster_random(100);
        cluster_remap();
        struct kit one = kit;
        one.arena = (struct arena)ARENA_INIT;
        one.store = memstore_new(loop);
        for (int i = 0; i < 1500; i++) {
            random_change(&one);
            random_lists(&one);
            if (i % 100 == 0) { /* what the lists of a hundred rounds left */
                arena_release(&one.arena);
                arena_release(&kit.arena);
            }
        }
        store_close(one.store);
        arena_release(&one.arena);
        teardown();
    }
}

/* ---- cost ---- */

static struct str numbered(unsigned i)
{
    return arena_printf(&kit.arena, "dir%u/key-%05u", i % 7, i);
}

static void put_numbered(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        kit_put(&kit, numbered(i), STR("x"));
}

/* Entries asked for by a listing of everything in pages of `max`, per entry. */
static double cost(uint32_t max, unsigned expected, unsigned *questions)
{
    struct obj_list_req req = {.arena = &kit.arena, .bucket = kit.bucket, .max = max};
    struct obj_list_res res = {.truncated = true};
    uint64_t got = 0, asked = 0;

    *questions = 0;
    for (unsigned i = 0; i < cluster.count; i++)
        cluster.nodes[i].asked = cluster.nodes[i].lists = 0;
    while (res.truncated) {
        assert_err(KIT_CALL(&kit, obj_list, &req, &res), ERR_OK);
        got += res.count;
        if (res.count)
            req.after = res.entries[res.count - 1].key;
    }
    assert_int_equal(got, expected);
    for (unsigned i = 0; i < cluster.count; i++) {
        asked += cluster.nodes[i].asked;
        *questions += cluster.nodes[i].lists;
    }
    return (double)asked / (double)got;
}

static void page_costs_about_a_page(void **state)
{
    unsigned questions;

    (void)state;
    setup(8, 8);
    put_numbered(4000);
    assert_true(cost(LIST_MAX, 4000, &questions) < 1.45);
    assert_true(questions <= 4 * 8 + 4);
    assert_true(cost(100, 4000, &questions) < 2.6);
    assert_true(questions <= 40 * 8 + 20);
    teardown();
}

/* ---- while objects move ---- */

/* One step of somebody's move: copied first, then removed at the source. */
static void move_one(struct str key)
{
    struct membucket *from = cluster_bucket(cluster_owner_before(kit.bucket, key), kit.bucket);
    struct membucket *to = cluster_bucket(cluster_owner(kit.bucket, key), kit.bucket);
    struct memobject *o = membucket_find(from, key);

    if (from == to || !o)
        return;
    if (membucket_find(to, key)) {
        membucket_remove(from, membucket_seek(from, key));
    } else {
        o->refs++;
        membucket_put(to, o);
    }
}

enum { MOVING = 400 };
static unsigned moves_per_call;
static struct str moving[MOVING];
static unsigned moving_in_dir3;

/* Keys of all nodes, or of the first alone: then it has to be asked again and again. */
static void put_moving(bool one_node)
{
    moving_in_dir3 = 0;
    for (unsigned i = 0, n = 0; n < MOVING; i++) {
        struct str key = numbered(i);
        if (one_node && cluster_owner(kit.bucket, key) != &cluster.nodes[0])
            continue;
        kit_put(&kit, key, STR("x"));
        moving_in_dir3 += str_starts(key, STR("dir3/"));
        moving[n++] = key;
    }
}

static void move_some(struct cluster_node *n)
{
    (void)n;
    for (unsigned i = 0; i < moves_per_call; i++)
        move_one(moving[cluster_random(MOVING)]);
}

/* All pages, each answer behind the one before. Number of entries. */
static unsigned walk(struct str delimiter, struct str prefix, uint32_t max)
{
    struct obj_list_req req = {
        .arena = &kit.arena, .bucket = kit.bucket, .prefix = prefix, .delimiter = delimiter, .max = max};
    struct obj_list_res res = {.truncated = true};
    unsigned got = 0;

    while (res.truncated) {
        assert_err(KIT_CALL(&kit, obj_list, &req, &res), ERR_OK);
        for (uint32_t i = 0; i < res.count; i++) {
            assert_true(str_cmp(res.entries[i].key, req.after) > 0);
            req.after = res.entries[i].key;
        }
        got += res.count;
    }
    return got;
}

static void change_placement(unsigned how)
{
    struct cluster_node *n = &cluster.nodes[cluster_random(4)];

    cluster_move_begin();
    switch (how) {
    case 0:
        cluster.nodes[4].weight = 100; /* one joins */
        break;
    case 1:
        n->weight = 0; /* one leaves */
        n->state = NODE_LEAVING;
        break;
    case 2:
        n->weight = 300;
        break;
    case 3:
        n->weight = 20;
        break;
    default: /* more than one at a time: nodes both lose and gain */
        cluster.nodes[4].weight = 100;
        cluster.nodes[0].weight = 10;
        cluster.nodes[1].weight = 250;
    }
    cluster_remap();
}

static void list_shows_every_key_once_while_objects_move(void **state)
{
    static const uint32_t pages[] = {3, 17, 100, LIST_MAX};

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        setup(5, 4);
        cluster.random += round * 104729;
        put_moving(round % 2);
        change_placement(round % 5);
        for (unsigned i = 0; i < cluster.count; i++)
            cluster.nodes[i].turns = round % 3 * 2;
        moves_per_call = 1 + round % 4 * 10;
        cluster.on_call = move_some;
        for (int i = 0; i < 4; i++) {
            assert_int_equal(walk(STR_NONE, STR_NONE, pages[(round + (unsigned)i) % 4]), MOVING);
            assert_int_equal(walk(STR("/"), STR_NONE, pages[i]), 7);
            assert_int_equal(walk(STR("/"), STR("dir3/"), pages[i]), moving_in_dir3);
        }
        for (unsigned i = 0; i < MOVING; i++) /* twice: copy, remove */
            move_one(moving[i]), move_one(moving[i]);
        cluster.on_call = NULL;
        cluster_move_end();
        assert_int_equal(walk(STR_NONE, STR_NONE, LIST_MAX), MOVING);
        teardown();
    }
}

/* The owner's is the newer one. */
static void list_prefers_the_entry_of_the_owner(void **state)
{
    struct obj_list_req req = {.arena = &kit.arena, .max = LIST_MAX};
    struct obj_list_res res;
    unsigned both = 0;

    (void)state;
    setup(5, 4);
    req.bucket = kit.bucket;
    put_numbered(100);
    change_placement(0);
    for (unsigned i = 0; i < 100; i++) {
        if (cluster_owner(kit.bucket, numbered(i)) != cluster_owner_before(kit.bucket, numbered(i)))
            both++;
        kit_put(&kit, numbered(i), STR("newer")); /* the old one stays where it was */
    }
    assert_true(both > 5);
    assert_err(KIT_CALL(&kit, obj_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 100);
    for (uint32_t i = 0; i < res.count; i++)
        assert_int_equal(res.entries[i].size, 5);
    teardown();
}

/* An upload stays where it was made. */
static void uploads_of_both_owners_are_listed(void **state)
{
    struct upload_list_req req = {.arena = &kit.arena, .max = 3};
    struct upload_list_res res = {.truncated = true};
    unsigned count = 0;

    (void)state;
    setup(5, 4);
    req.bucket = kit.bucket;
    for (int moved = 0; moved < 2; moved++) {
        for (unsigned i = 0; i < 20; i++) {
            struct upload_create_req create = {.arena = &kit.arena, .bucket = kit.bucket, .key = numbered(i)};
            struct upload_create_res created;
            assert_err(KIT_CALL(&kit, upload_create, &create, &created), ERR_OK);
        }
        change_placement(0);
    }
    while (res.truncated) {
        assert_err(KIT_CALL(&kit, upload_list, &req, &res), ERR_OK);
        for (uint32_t i = 0; i < res.count; i++, count++) {
            int c = str_cmp(res.entries[i].key, req.key_marker);
            assert_true(c > 0 || (c == 0 && str_cmp(res.entries[i].upload_id, req.upload_id_marker) > 0));
            req.key_marker = res.entries[i].key;
            req.upload_id_marker = res.entries[i].upload_id;
        }
    }
    assert_int_equal(count, 40);
    teardown();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_those_of_one_store),
        cmocka_unit_test(page_costs_about_a_page),
        cmocka_unit_test(list_shows_every_key_once_while_objects_move),
        cmocka_unit_test(list_prefers_the_entry_of_the_owner),
        cmocka_unit_test(uploads_of_both_owners_are_listed),
    };

    hash_setup();
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
