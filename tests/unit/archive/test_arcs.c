#include "archive/arcs.h"

#include <stdio.h>

#include "archive/arc_edit.h"
#include "base/mem.h"
#include "kit.h"
#include "store/memstore.h"
#include "store/system.h"

/* A store that counts what is asked of the one beneath it. */
struct counting {
    struct store store;
    struct store *inner;
    struct store_ops ops;
    unsigned calls, gets, whole; /* gets: of objects that are no indexes; whole: without a range */
};

#define M(m)                                                                                                           \
    static void count_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)             \
    {                                                                                                                  \
        struct counting *n = CONTAINER(s, struct counting, store);                                                     \
        n->calls++;                                                                                                    \
        store_##m(n->inner, req, res, c);                                                                              \
    }
STORE_METHODS(M)
#undef M

static void count_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    struct counting *n = CONTAINER(s, struct counting, store);
    bool is_index = str_starts(req->head.key, STR("index/"));

    n->gets += !is_index;
    n->whole += !is_index && req->head.range.kind == RANGE_ALL;
    count_obj_get(s, req, res, c);
}

struct world {
    struct kit kit; /* of what arcs_store() gives */
    struct contract_env env;
    struct meta *meta;
    struct buckets *buckets;
    struct offload *cpu;
    struct arc_cache *cache;
    struct store *memory;
    struct counting counting;
    struct arcs *arcs;
};

static struct world world;

static void open_arcs(struct world *w)
{
    w->cache = arc_cache_new(1 << 20);
    w->arcs = arcs_new(&(struct arcs_env){w->kit.loop, &w->counting.store, w->buckets, w->cpu, w->cache});
    w->kit.store = arcs_store(w->arcs);
}

static void close_arcs(struct world *w)
{
    arcs_free(w->arcs);
    arc_cache_free(w->cache);
}

static int setup(void **state)
{
    struct world *w = &world;

    *w = (struct world){.kit = {.bucket = {7, STR("b")}, .arena = ARENA_INIT}};
    hash_setup();
    w->env.loop = w->kit.loop = loop_new();
    w->kit.env = &w->env;
    loop_adopt(w->kit.loop);
    w->meta = meta_memory_new();
    assert_err(buckets_open(w->meta, &w->buckets), ERR_OK);
    w->cpu = offload_new("cpu", 2, 64);
    w->memory = memstore_new(w->kit.loop);
    w->counting.inner = w->memory;
    w->counting.ops = (struct store_ops){.name = "counting",
#define M(m) .m = count_##m,
                                         STORE_METHODS(M)
#undef M
    };
    w->counting.ops.obj_get = count_get;
    w->counting.store = (struct store){.ops = &w->counting.ops, .loop = w->kit.loop};
    open_arcs(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    close_arcs(w);
    arena_release(&w->kit.arena);
    store_close(w->memory);
    offload_free(w->cpu);
    meta_close(w->meta);
    buckets_close(w->buckets);
    loop_free(w->kit.loop);
    return 0;
}

/* Until what works behind requests has ended. */
static void settle(struct world *w)
{
    for (int i = 0; i < 200; i++)
        loop_turn(w->kit.loop, 1);
}

/* ---- archives ---- */

static void add_member(struct buf *b, const char *name, struct str content)
{
    char head[512] = "";
    unsigned sum = 0;

    snprintf(head, 100, "%s", name);
    memcpy(head + 100, "0000644", 8);
    snprintf(head + 124, 12, "%011zo", content.n);
    snprintf(head + 136, 12, "%011o", 1600000000);
    memset(head + 148, ' ', 8);
    head[156] = '0';
    memcpy(head + 257, "ustar\00000", 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
    buf_add(b, head, sizeof(head));
    buf_add_str(b, content);
    memset(head, 0, sizeof(head));
    buf_add(b, head, (512 - content.n % 512) % 512);
}

/* Members m0, m1, ... with the text "<seed>-<i>" */
static struct str tar_of(struct world *w, unsigned count, unsigned seed)
{
    struct buf b = BUF_INIT(1 << 20);
    char name[32], text[32], end[1024] = "";

    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        snprintf(text, sizeof(text), "%u-%u", seed, i);
        add_member(&b, name, str_z(text));
    }
    buf_add(&b, end, sizeof(end));
    struct str out = arena_str(&w->kit.arena, buf_str(&b));
    buf_release(&b);
    return out;
}

/* ---- asking ---- */

static enum err get(struct world *w, struct str key, const char *member, struct str *out)
{
    struct arcs_get_req req = {
        .archive = {&w->kit.arena, w->kit.bucket, key, ARC_NONE}, .member = str_z(member), .cond = COND_INIT};
    struct arcs_get_res res;
    struct kit_call c = {0};

    arcs_get(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    enum err e = kit_wait(&w->kit, &c);
    if (e == ERR_OK)
        assert_err(kit_drain(&w->kit, res.body, false, out), ERR_OK);
    else
        assert_null(res.body);
    return e;
}

static void expect(struct world *w, struct str key, const char *member, const char *text)
{
    struct str got = STR_NONE;

    assert_err(get(w, key, member, &got), ERR_OK);
    assert_str(got, str_z(text));
}

static enum err look(struct world *w, struct str key, struct arcs_look_res *res)
{
    struct arcs_look_req req = {&w->kit.arena, w->kit.bucket, key, ARC_NONE};
    struct kit_call c = {0};

    *res = (struct arcs_look_res){0};
    arcs_look(w->arcs, &req, res, kit_begin(&w->kit, &c));
    return kit_wait(&w->kit, &c);
}

static uint32_t indexes(struct world *w)
{
    struct obj_list_req req = {.arena = &w->kit.arena, .prefix = STR("index/"), .max = LIST_MAX};
    struct obj_list_res res = {0};
    struct kit_call c = {0};

    if (!system_bucket_find(w->buckets, &w->kit.arena, &req.bucket))
        return 0;
    store_obj_list(w->memory, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
    return res.count;
}

/* ---- cases ---- */

static void member_of_what_was_put_costs_one_request(void **state)
{
    struct world *w = *state;

    kit_put(&w->kit, STR("s.tar"), tar_of(w, 20, 1));
    settle(w);
    for (int i = 0; i < 3; i++) {
        w->counting.calls = 0;
        expect(w, STR("s.tar"), "m7", "1-7");
        assert_int_equal(w->counting.calls, 1);
    }
    expect(w, STR("s.tar"), "/m19", "1-19");
    assert_err(get(w, STR("s.tar"), "none", NULL), ERR_NO_SUCH_MEMBER);
    assert_err(get(w, STR("none.tar"), "m1", NULL), ERR_NO_SUCH_KEY);
}

static void bodies_of_other_objects_are_not_touched(void **state)
{
    struct world *w = *state;

    kit_put(&w->kit, STR("plain"), STR("text"));
    kit_expect(&w->kit, STR("plain"), STR("text"));
    kit_put(&w->kit, STR("bad.tar"), kit_bytes(&w->kit, 100000, 3));
    kit_expect(&w->kit, STR("bad.tar"), kit_bytes(&w->kit, 100000, 3));
    kit_put(&w->kit, STR("empty.tar"), STR(""));
    settle(w);
    assert_int_equal(indexes(w), 0);
}

static void index_is_kept_for_another_process(void **state)
{
    struct world *w = *state;

    kit_put(&w->kit, STR("s.tar"), tar_of(w, 5, 1));
    settle(w);
    assert_int_equal(indexes(w), 1);
    close_arcs(w);
    open_arcs(w);
    w->counting.gets = 0;
    expect(w, STR("s.tar"), "m3", "1-3");
    assert_int_equal(w->counting.gets, 1); /* the member's bytes alone */
}

static void damaged_index_is_made_anew(void **state)
{
    struct world *w = *state;
    struct bucket_id own = w->kit.bucket;

    kit_put(&w->kit, STR("s.tar"), tar_of(w, 5, 1));
    settle(w);
    assert_true(system_bucket_find(w->buckets, &w->kit.arena, &w->kit.bucket));
    w->kit.store = w->memory;
    kit_put(&w->kit, STR("index/0000000000000007/s.tar"), STR("rubbish"));
    w->kit.bucket = own;
    close_arcs(w);
    open_arcs(w);
    expect(w, STR("s.tar"), "m3", "1-3");
}

static void archive_that_others_replaced_is_read_anew(void **state)
{
    struct world *w = *state;

    kit_put(&w->kit, STR("s.tar"), tar_of(w, 5, 1));
    for (unsigned seed = 2; seed < 6; seed++) {
        char text[32];
        w->kit.store = w->memory; /* as another gateway would */
        kit_put(&w->kit, STR("s.tar"), tar_of(w, 5 + seed, seed));
        w->kit.store = arcs_store(w->arcs);
        snprintf(text, sizeof(text), "%u-%u", seed, seed);
        expect(w, STR("s.tar"), (char[]){'m', (char)('0' + seed), 0}, text);
    }
    w->kit.store = w->memory;
    assert_err(kit_delete(&w->kit, STR("s.tar")), ERR_OK);
    w->kit.store = arcs_store(w->arcs);
    assert_err(get(w, STR("s.tar"), "m1", NULL), ERR_NO_SUCH_KEY);
}

static void those_who_want_one_index_wait_for_one_scan(void **state)
{
    enum { MANY = 20 };
    struct world *w = *state;
    struct arcs_look_req req = {&w->kit.arena, w->kit.bucket, STR("s.tar"), ARC_NONE};
    struct arcs_look_res res[MANY] = {0};
    struct kit_call calls[MANY] = {0};

    w->kit.store = w->memory;
    kit_put(&w->kit, STR("s.tar"), tar_of(w, 50, 1));
    w->counting.gets = 0;
    for (int i = 0; i < MANY; i++)
        arcs_look(w->arcs, &req, &res[i], kit_begin(&w->kit, &calls[i]));
    for (int i = 0; i < MANY; i++) {
        assert_err(kit_wait(&w->kit, &calls[i]), ERR_OK);
        assert_int_equal(res[i].index->count, 50);
    }
    assert_int_equal(w->counting.gets, 1);
}

static void waiting_can_be_given_up(void **state)
{
    enum { MANY = 12 };
    struct world *w = *state;
    struct arcs_look_req req = {&w->kit.arena, w->kit.bucket, STR("s.tar"), ARC_NONE};

    w->kit.store = w->memory;
    kit_put(&w->kit, STR("s.tar"), tar_of(w, 50, 1));
    for (int turns = 0; turns < 12; turns++) {
        struct arcs_look_res res[MANY] = {0};
        struct kit_call calls[MANY] = {0};
        for (int i = 0; i < MANY; i++)
            arcs_look(w->arcs, &req, &res[i], kit_begin(&w->kit, &calls[i]));
        kit_turns(&w->kit, turns);
        for (int i = 0; i < MANY; i++)
            if (turns % 2 || i % 3) /* all of them, or some */
                call_cancel(&calls[i].call);
        for (int i = 0; i < MANY; i++) {
            enum err e = kit_wait(&w->kit, &calls[i]);
            assert_true(e == ERR_OK || e == ERR_CANCELLED);
            assert_true(e == ERR_OK || turns % 2 || i % 3);
        }
        close_arcs(w);
        open_arcs(w);
    }
}

static void many_archives_are_looked_at_at_once(void **state)
{
    enum { MANY = 40 };
    struct world *w = *state;
    struct arcs_look_req req[MANY];
    struct arcs_look_res res[MANY] = {0};
    struct kit_call calls[MANY] = {0};

    w->kit.store = w->memory;
    for (int i = 0; i < MANY; i++) {
        req[i] =
            (struct arcs_look_req){&w->kit.arena, w->kit.bucket, arena_printf(&w->kit.arena, "s%d.tar", i), ARC_NONE};
        kit_put(&w->kit, req[i].key, tar_of(w, 3, 1));
    }
    for (int i = 0; i < MANY; i++)
        arcs_look(w->arcs, &req[i], &res[i], kit_begin(&w->kit, &calls[i]));
    for (int i = 0; i < MANY; i++)
        if (i % 4 == 1)
            call_cancel(&calls[i].call);
    for (int i = 0; i < MANY; i++)
        assert_err(kit_wait(&w->kit, &calls[i]), i % 4 == 1 ? ERR_CANCELLED : ERR_OK);
}

static void what_is_no_archive_is_found_out_once(void **state)
{
    struct world *w = *state;
    struct arcs_look_res res;

    w->kit.store = w->memory;
    kit_put(&w->kit, STR("bad.tar"), kit_bytes(&w->kit, 10000, 1));
    assert_err(look(w, STR("bad.tar"), &res), ERR_BAD_ARCHIVE);
    assert_true(res.why[0]);
    w->counting.gets = 0;
    assert_err(look(w, STR("bad.tar"), &res), ERR_BAD_ARCHIVE);
    assert_true(res.why[0]);
    assert_int_equal(w->counting.gets, 0);
    kit_put(&w->kit, STR("bad.tar"), tar_of(w, 2, 4));
    expect(w, STR("bad.tar"), "m1", "4-1");
}

static void conditions_and_ranges_are_the_members(void **state)
{
    struct world *w = *state;
    struct arcs_get_req req = {
        .archive = {&w->kit.arena, w->kit.bucket, STR("s.tar"), ARC_NONE}, .member = STR("m3"), .cond = COND_INIT};
    struct arcs_get_res res;
    struct kit_call c = {0};
    struct str text;
    char tag[64];

    kit_put(&w->kit, STR("s.tar"), tar_of(w, 5, 123));
    req.head = true;
    arcs_get(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
    assert_null(res.body);
    assert_int_equal(res.len, 5);
    snprintf(tag, sizeof(tag), "\"" STR_FMT "\"", STR_ARG(etag_str(&res.etag)));
    req.head = false;
    req.cond.if_none_match = str_z(tag);
    arcs_get(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_NOT_MODIFIED);
    assert_int_equal(res.member.size, 5);
    req.cond = kit_if_match(tag);
    req.range = (struct range){RANGE_FROM_TO, 1, 2};
    arcs_get(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
    assert_err(kit_drain(&w->kit, res.body, true, &text), ERR_OK);
    assert_str(text, STR("23"));
    req.range = (struct range){RANGE_FROM, 5, 0};
    arcs_get(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_INVALID_RANGE);
    req.cond = kit_if_match("\"00000000000000000000000000000000-1\"");
    arcs_get(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_PRECONDITION);
}

static void lists_go_by_name(void **state)
{
    struct world *w = *state;
    struct arcs_list_req req = {.archive = {&w->kit.arena, w->kit.bucket, STR("s.tar"), ARC_NONE}};
    struct buf b = BUF_INIT(1 << 20);
    const char *names[] = {"z", "a/1", "a/2", "a-", "a0", "a/1", "b/c/d"};
    struct kit_call c = {0};
    struct arcs_list_res res;
    char end[1024] = "";

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        add_member(&b, names[i], str_z(names[i]));
    buf_add(&b, end, sizeof(end));
    kit_put(&w->kit, STR("s.tar"), buf_str(&b));
    buf_release(&b);
    for (uint32_t size = 1; size < 8; size++) {
        const char *all[] = {"a-", "a/1", "a/2", "a0", "b/c/d", "z"}, *rolled[] = {"a-", "a/", "a0", "b/", "z"};
        for (int roll = 0; roll < 2; roll++) {
            uint32_t n = roll ? 5 : 6, at = 0;
            req.max = size;
            req.after = STR_NONE;
            req.delimiter = roll ? STR("/") : STR_NONE;
            do {
                arcs_list(w->arcs, &req, &res, kit_begin(&w->kit, &c));
                assert_err(kit_wait(&w->kit, &c), ERR_OK);
                for (uint32_t i = 0; i < res.count; i++)
                    assert_str(res.entries[i].name, str_z((roll ? rolled : all)[at++]));
                req.after = res.entries[res.count - 1].name;
            } while (res.truncated);
            assert_int_equal(at, n);
        }
    }
}

static void appending_reads_what_is_new(void **state)
{
    struct world *w = *state;

    kit_put(&w->kit, STR("s.tar"), tar_of(w, 50, 1));
    settle(w);
    for (int i = 0; i < 8; i++) {
        struct str name = arena_printf(&w->kit.arena, "new%d", i), text = arena_printf(&w->kit.arena, "text %d", i);
        struct source *body = source_memory(text, NULL, NULL);
        struct arc_edit_req req = {.arena = &w->kit.arena,
                                   .arcs = w->arcs,
                                   .bucket = w->kit.bucket,
                                   .key = STR("s.tar"),
                                   .change = ARC_APPEND,
                                   .member = name,
                                   .body = body,
                                   .size = text.n,
                                   .cond = COND_INIT};
        struct arc_edit_res res;
        struct kit_call c = {0};
        w->counting.whole = 0;
        arc_edit(&req, &res, kit_begin(&w->kit, &c));
        assert_err(kit_wait(&w->kit, &c), ERR_OK);
        source_close(body);
        if (i % 2)
            settle(w);
        if (i == 4) { /* from the index that is kept */
            close_arcs(w);
            open_arcs(w);
        }
        expect(w, STR("s.tar"), name.p, text.p);
        expect(w, STR("s.tar"), "m49", "1-49");
        assert_int_equal(w->counting.whole, 0);
    }
}

static void indexes_go_with_their_archives(void **state)
{
    struct world *w = *state;
    struct bucket_purge_req req = {.arena = &w->kit.arena, .bucket = w->kit.bucket, .objects = true};
    struct bucket_purge_res res;

    for (int i = 0; i < 130; i++)
        kit_put(&w->kit, arena_printf(&w->kit.arena, "s%d.tar", i), tar_of(w, 2, 1));
    settle(w);
    assert_int_equal(indexes(w), 130);
    assert_err(kit_delete(&w->kit, STR("s5.tar")), ERR_OK);
    settle(w);
    assert_int_equal(indexes(w), 129);
    assert_err(KIT_CALL(&w->kit, bucket_purge, &req, &res), ERR_OK);
    settle(w);
    assert_int_equal(indexes(w), 0);
}

static void closing_waits_for_what_works_behind(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 50; i++)
        kit_put(&w->kit, arena_printf(&w->kit.arena, "s%d.tar", i), tar_of(w, 2, 1));
    close_arcs(w);
    open_arcs(w);
}

#define ARCS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARCS_TEST(member_of_what_was_put_costs_one_request),
        ARCS_TEST(bodies_of_other_objects_are_not_touched),
        ARCS_TEST(index_is_kept_for_another_process),
        ARCS_TEST(damaged_index_is_made_anew),
        ARCS_TEST(archive_that_others_replaced_is_read_anew),
        ARCS_TEST(those_who_want_one_index_wait_for_one_scan),
        ARCS_TEST(waiting_can_be_given_up),
        ARCS_TEST(many_archives_are_looked_at_at_once),
        ARCS_TEST(what_is_no_archive_is_found_out_once),
        ARCS_TEST(conditions_and_ranges_are_the_members),
        ARCS_TEST(lists_go_by_name),
        ARCS_TEST(appending_reads_what_is_new),
        ARCS_TEST(indexes_go_with_their_archives),
        ARCS_TEST(closing_waits_for_what_works_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
