#include "archive/arc_edit.h"

#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_extend.h"
#include "archive/arc_turn.h"
#include "base/mem.h"
#include "kit.h"
#include "store/memstore.h"

/* Changes of archives over a store that can splice, and over one that can't; what is in them afterwards. */
struct world {
    struct kit kit; /* of what arcs_store() gives */
    struct contract_env env;
    struct meta *meta;
    struct buckets *buckets;
    struct offload *cpu;
    struct arc_cache *cache;
    struct store *memory;
    struct store between; /* counts, and may know no splices */
    struct store_ops ops;
    unsigned splices, puts;
    uint64_t read; /* bytes of archives */
    struct arcs *arcs;
};

static struct world world;

#define M(m)                                                                                                           \
    static void pass_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)              \
    {                                                                                                                  \
        (void)s;                                                                                                       \
        store_##m(world.memory, req, res, c);                                                                          \
    }
STORE_METHODS(M)
#undef M

static void count_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res, struct call *c)
{
    world.splices++;
    pass_obj_splice(s, req, res, c);
}

static void count_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    world.puts += !str_starts(req->key, STR("index/"));
    pass_obj_put(s, req, res, c);
}

static void count_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    if (!str_starts(req->head.key, STR("index/")))
        world.read += req->head.range.kind == RANGE_ALL ? 1u << 30 : req->head.range.last - req->head.range.first + 1;
    pass_obj_get(s, req, res, c);
}

static int setup(void **state)
{
    struct world *w = &world;

    *w = (struct world){.kit = {.bucket = {7, STR("b")}, .arena = ARENA_INIT}};
    w->env.loop = w->kit.loop = loop_new();
    w->kit.env = &w->env;
    loop_adopt(w->kit.loop);
    w->meta = meta_memory_new();
    assert_err(buckets_open(w->meta, &w->buckets), ERR_OK);
    w->cpu = offload_new("cpu", 2, 64);
    w->memory = memstore_new(w->kit.loop);
    w->ops = (struct store_ops){.name = "between",
#define M(m) .m = pass_##m,
                                STORE_METHODS(M)
#undef M
    };
    w->ops.obj_splice = count_splice;
    w->ops.obj_put = count_put;
    w->ops.obj_get = count_get;
    w->between = (struct store){.ops = &w->ops, .loop = w->kit.loop};
    w->cache = arc_cache_new(1 << 20);
    w->arcs = arcs_new(&(struct arcs_env){w->kit.loop, &w->between, w->buckets, w->cpu, w->cache});
    w->kit.store = arcs_store(w->arcs);
    *state = w;
    return 0;
}

static int setup_without_splice(void **state)
{
    setup(state);
    world.ops.obj_splice = NULL;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    arcs_free(w->arcs);
    arc_cache_free(w->cache);
    arena_release(&w->kit.arena);
    store_close(w->memory);
    offload_free(w->cpu);
    meta_close(w->meta);
    buckets_close(w->buckets);
    loop_free(w->kit.loop);
    return 0;
}

/* ---- changes ---- */

struct change {
    struct arc_edit_req req;
    struct arc_edit_res res;
    struct source *body;
    struct kit_call call;
};

static struct change *change_begin(struct world *w, enum arc_change how, const char *key, const char *member,
                                   struct str content)
{
    struct change *c = ARENA_NEW(&w->kit.arena, struct change);

    c->body = source_memory(content, NULL, NULL);
    c->req = (struct arc_edit_req){.arena = &w->kit.arena,
                                   .arcs = w->arcs,
                                   .bucket = w->kit.bucket,
                                   .key = str_z(key),
                                   .change = how,
                                   .member = str_z(member),
                                   .body = c->body,
                                   .size = content.n,
                                   .mtime_s = 1600000000,
                                   .cond = COND_INIT};
    return c;
}

static enum err change_end(struct world *w, struct change *c)
{
    enum err e = kit_wait(&w->kit, &c->call);

    source_close(c->body);
    return e;
}

static enum err change(struct world *w, enum arc_change how, const char *key, const char *member, struct str content)
{
    struct change *c = change_begin(w, how, key, member, content);

    arc_edit(&c->req, &c->res, kit_begin(&w->kit, &c->call));
    return change_end(w, c);
}

static enum err get(struct world *w, const char *key, const char *member, struct str *out)
{
    struct arcs_get_req req = {
        .archive = {&w->kit.arena, w->kit.bucket, str_z(key), ARC_NONE}, .member = str_z(member), .cond = COND_INIT};
    struct arcs_get_res res;
    struct kit_call c = {0};

    arcs_get(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    enum err e = kit_wait(&w->kit, &c);
    if (e == ERR_OK)
        assert_err(kit_drain(&w->kit, res.body, false, out), ERR_OK);
    return e;
}

static void expect(struct world *w, const char *key, const char *member, struct str content)
{
    struct str got = STR_NONE;

    assert_err(get(w, key, member, &got), ERR_OK);
    assert_str(got, content);
}

static uint32_t count(struct world *w, const char *key)
{
    struct arcs_look_req req = {&w->kit.arena, w->kit.bucket, str_z(key), ARC_NONE};
    struct arcs_look_res res;
    struct kit_call c = {0};

    arcs_look(w->arcs, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
    return res.index->count;
}

/* What tar itself says of it. */
static void expect_sound(struct world *w, const char *key)
{
    struct obj_get_req req = kit_get_req(&w->kit, str_z(key));
    struct obj_get_res res;
    struct str bytes;
    FILE *tar;

    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(&w->kit, res.body, false, &bytes), ERR_OK);
    assert_int_equal(bytes.n % 512, 0);
    assert_non_null(tar = popen("tar -tf - > /dev/null", "w"));
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, tar), bytes.n);
    assert_int_equal(pclose(tar), 0);
}

/* ---- TAR ---- */

static void members_come_and_go(void **state)
{
    struct world *w = *state;
    struct str large = kit_bytes(&w->kit, 700000, 1), other = kit_bytes(&w->kit, 300001, 2), out;

    assert_err(change(w, ARC_APPEND, "a.tar", "m", STR("x")), ERR_NO_SUCH_KEY);
    assert_err(change(w, ARC_UPSERT, "a.tar", "one", STR("first")), ERR_OK);
    assert_err(change(w, ARC_UPSERT, "a.tar", "dir/two", large), ERR_OK);
    assert_err(change(w, ARC_APPEND, "a.tar", "/three", STR("")), ERR_OK);
    assert_err(change(w, ARC_ADD, "a.tar", "one", STR("again")), ERR_EXISTS);
    assert_err(change(w, ARC_ADD, "a.tar", "four", STR("4")), ERR_OK);
    expect(w, "a.tar", "one", STR("first"));
    expect(w, "a.tar", "dir/two", large);
    expect(w, "a.tar", "three", STR(""));
    expect(w, "a.tar", "four", STR("4"));
    assert_int_equal(count(w, "a.tar"), 4);
    expect_sound(w, "a.tar");
    assert_err(change(w, ARC_REPLACE, "a.tar", "dir/two", other), ERR_OK);
    assert_err(change(w, ARC_REPLACE, "a.tar", "none", other), ERR_NO_SUCH_MEMBER);
    expect(w, "a.tar", "dir/two", other);
    assert_err(change(w, ARC_DELETE, "a.tar", "one", STR("")), ERR_OK);
    assert_err(change(w, ARC_DELETE, "a.tar", "one", STR("")), ERR_NO_SUCH_MEMBER);
    assert_err(get(w, "a.tar", "one", &out), ERR_NO_SUCH_MEMBER);
    assert_err(change(w, ARC_APPEND, "a.tar", "five", STR("5")), ERR_OK);
    expect(w, "a.tar", "dir/two", other);
    expect(w, "a.tar", "five", STR("5"));
    assert_int_equal(count(w, "a.tar"), 4);
    expect_sound(w, "a.tar");
    assert_err(change(w, ARC_CREATE, "a.tar", "only", STR("o")), ERR_OK);
    assert_int_equal(count(w, "a.tar"), 1);
    assert_err(change(w, ARC_DELETE, "a.tar", "only", STR("")), ERR_OK);
    assert_int_equal(count(w, "a.tar"), 0);
    assert_err(change(w, ARC_APPEND, "a.tar", "back", STR("b")), ERR_OK);
    expect(w, "a.tar", "back", STR("b"));
    expect_sound(w, "a.tar");
    if (w->ops.obj_splice)
        assert_true(w->splices > 5);
}

static void all_of_a_name_go(void **state)
{
    struct world *w = *state;

    assert_err(change(w, ARC_CREATE, "a.tar", "m", STR("1")), ERR_OK);
    assert_err(change(w, ARC_APPEND, "a.tar", "x", STR("x")), ERR_OK);
    assert_err(change(w, ARC_APPEND, "a.tar", "m", STR("2")), ERR_OK);
    assert_err(change(w, ARC_APPEND, "a.tar", "m", STR("3")), ERR_OK);
    assert_err(change(w, ARC_APPEND, "a.tar", "y", STR("y")), ERR_OK);
    expect(w, "a.tar", "m", STR("1"));
    assert_err(change(w, ARC_REPLACE, "a.tar", "m", STR("new")), ERR_OK);
    assert_int_equal(count(w, "a.tar"), 3);
    expect(w, "a.tar", "m", STR("new"));
    expect(w, "a.tar", "y", STR("y"));
    assert_err(change(w, ARC_APPEND, "a.tar", "m", STR("4")), ERR_OK);
    assert_err(change(w, ARC_DELETE, "a.tar", "m", STR("")), ERR_OK);
    assert_int_equal(count(w, "a.tar"), 2);
    expect(w, "a.tar", "x", STR("x"));
    expect_sound(w, "a.tar");
}

static void an_append_reads_only_what_is_new(void **state)
{
    struct world *w = *state;
    char name[32];

    assert_err(change(w, ARC_CREATE, "a.tar", "first", kit_bytes(&w->kit, 3 << 20, 1)), ERR_OK);
    assert_int_equal(count(w, "a.tar"), 1);
    w->read = 0;
    unsigned puts = w->puts;
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_err(change(w, ARC_APPEND, "a.tar", name, kit_bytes(&w->kit, 10000, 5)), ERR_OK);
        if (i % 10 == 9) {
            assert_int_equal(count(w, "a.tar"), i + 2);
            expect(w, "a.tar", name, kit_bytes(&w->kit, 10000, 5));
        }
    }
    assert_int_equal(w->puts, puts);
    assert_true(w->read < 40 * 11000 + 4 * 20000);
    expect_sound(w, "a.tar");
}

/* The index follows from the former one. */
static void removing_and_replacing_read_nothing(void **state)
{
    struct world *w = *state;
    struct str other = kit_bytes(&w->kit, 400000, 3);
    char name[32];

    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_err(change(w, ARC_UPSERT, "a.tar", name, kit_bytes(&w->kit, 9000, (unsigned)i)), ERR_OK);
    }
    assert_int_equal(count(w, "a.tar"), 30);
    w->read = 0;
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "m%d", 3 * i);
        assert_err(change(w, ARC_DELETE, "a.tar", name, STR("")), ERR_OK);
        snprintf(name, sizeof(name), "m%d", 3 * i + 1);
        assert_err(change(w, ARC_REPLACE, "a.tar", name, i % 2 ? other : STR("small")), ERR_OK);
        assert_int_equal(count(w, "a.tar"), 29 - i);
    }
    assert_int_equal(w->read, 0);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "m%d", 3 * i + 1);
        expect(w, "a.tar", name, i % 2 ? other : STR("small"));
        snprintf(name, sizeof(name), "m%d", 3 * i + 2);
        expect(w, "a.tar", name, kit_bytes(&w->kit, 9000, 3u * (unsigned)i + 2));
    }
    expect_sound(w, "a.tar");
    /* and it is the very index that reading the archive makes */
    struct arcs_look_req look = {&w->kit.arena, w->kit.bucket, STR("a.tar"), ARC_NONE};
    struct arcs_look_res looked;
    struct arc_build_req build = {&w->kit.arena, w->memory, w->cpu, w->kit.bucket, STR("a.tar"), ARC_TAR};
    struct arc_build_res built;
    struct kit_call c = {0}, d = {0};
    arcs_look(w->arcs, &look, &looked, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
    arc_build(&build, &built, kit_begin(&w->kit, &d));
    assert_err(kit_wait(&w->kit, &d), ERR_OK);
    struct buf a = BUF_INIT(1 << 20), b = BUF_INIT(1 << 20);
    assert_err(arc_index_encode(looked.index, &a), ERR_OK);
    assert_err(arc_index_encode(built.index, &b), ERR_OK);
    assert_str(buf_str(&a), buf_str(&b));
    buf_release(&a);
    buf_release(&b);
    arc_index_unref(built.index);
}

/* The proof must fail for anything that is no append. */
static void other_splices_are_read_as_a_whole(void **state)
{
    struct world *w = *state;
    struct body_check check = {0};

    assert_err(change(w, ARC_CREATE, "a.tar", "first", kit_bytes(&w->kit, 300000, 1)), ERR_OK);
    assert_err(change(w, ARC_APPEND, "a.tar", "second", STR("2")), ERR_OK);
    assert_int_equal(count(w, "a.tar"), 2);
    struct source *body = source_memory(STR("X"), NULL, NULL);
    struct obj_splice_req req = {.arena = &w->kit.arena,
                                 .bucket = w->kit.bucket,
                                 .key = STR("a.tar"),
                                 .cond = COND_INIT,
                                 .offset = 100000, /* within the first member, and as long as that was */
                                 .cut = 1,
                                 .body = body,
                                 .check = &check,
                                 .size_max = OBJECT_SIZE_MAX};
    struct obj_splice_res res;
    assert_err(KIT_CALL(&w->kit, obj_splice, &req, &res), ERR_OK);
    source_close(body);
    w->read = 0;
    assert_err(change(w, ARC_APPEND, "a.tar", "third", STR("3")), ERR_OK);
    assert_true(w->read >= 1u << 30);
    assert_int_equal(count(w, "a.tar"), 3);
    /* longer by what looks like a member, but was not put where members end */
    struct str more = kit_bytes(&w->kit, 512, 9);
    req.body = body = source_memory(more, NULL, NULL);
    req.offset = 200000;
    req.cut = 0;
    assert_err(KIT_CALL(&w->kit, obj_splice, &req, &res), ERR_OK);
    source_close(body);
    w->read = 0;
    assert_err(change(w, ARC_APPEND, "a.tar", "fourth", STR("4")), ERR_BAD_ARCHIVE);
    assert_true(w->read >= 1u << 30);
}

static void all_of_many_appends_at_once_survive(void **state)
{
    struct world *w = *state;
    struct change *c[60];
    char name[60][16];

    for (int i = 0; i < 60; i++) {
        snprintf(name[i], sizeof(name[i]), "m%d", i);
        c[i] =
            change_begin(w, ARC_UPSERT, "a.tar", name[i], kit_bytes(&w->kit, 100 + 9000u * (unsigned)i, (unsigned)i));
        arc_edit(&c[i]->req, &c[i]->res, kit_begin(&w->kit, &c[i]->call));
    }
    for (int i = 0; i < 60; i++)
        if (i % 7 == 3)
            call_cancel(&c[i]->call.call);
    uint32_t done = 0;
    enum err e[60];
    for (int i = 0; i < 60; i++)
        e[i] = change_end(w, c[i]);
    for (int i = 0; i < 60; i++) {
        if (i % 7 != 3)
            assert_err(e[i], ERR_OK);
        if (e[i] == ERR_OK) {
            done++;
            expect(w, "a.tar", name[i], kit_bytes(&w->kit, 100 + 9000u * (unsigned)i, (unsigned)i));
        }
    }
    assert_int_equal(count(w, "a.tar"), done);
    expect_sound(w, "a.tar");
}

static void what_is_wrong_changes_nothing(void **state)
{
    struct world *w = *state;
    static const char *const names[] = {"", "/", "../x", "a/../b", "a/..", "dir/"};

    assert_err(change(w, ARC_CREATE, "a.tar", "m", kit_bytes(&w->kit, 100000, 1)), ERR_OK);
    struct object_info before = kit_head(&w->kit, STR("a.tar"));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_err(change(w, ARC_APPEND, "a.tar", names[i], STR("x")), ERR_INVALID_ARGUMENT);
    for (int i = 0; i < 4; i++) { /* too short, too long; small and large */
        struct str content = kit_bytes(&w->kit, i / 2 ? 600000 : 1000, 3);
        struct change *c = change_begin(w, ARC_APPEND, "a.tar", "n", content);
        c->req.size = i % 2 ? content.n - 1 : content.n + 1;
        arc_edit(&c->req, &c->res, kit_begin(&w->kit, &c->call));
        assert_err(change_end(w, c), i % 2 ? ERR_BAD_REQUEST : ERR_INCOMPLETE_BODY);
    }
    struct change *c = change_begin(w, ARC_APPEND, "a.tar", "n", STR("x"));
    c->req.cond = kit_if_match("\"other\"");
    arc_edit(&c->req, &c->res, kit_begin(&w->kit, &c->call));
    assert_err(change_end(w, c), ERR_PRECONDITION);
    c = change_begin(w, ARC_APPEND, "a.tar", "n", STR("x"));
    c->req.size = UINT64_MAX;
    arc_edit(&c->req, &c->res, kit_begin(&w->kit, &c->call));
    assert_err(change_end(w, c), ERR_MISSING_LENGTH);
    assert_err(change(w, ARC_CREATE, "noarchive", "m", STR("x")), ERR_INVALID_ARGUMENT);
    struct object_info after = kit_head(&w->kit, STR("a.tar"));
    assert_str(etag_str(&after.etag), etag_str(&before.etag));
}

/* ---- other formats ---- */

static void members_come_and_go_in_any_format(void **state)
{
    static const char *const keys[] = {"a.tgz", "a.tar.gz", "a.tar.lz4", "a.tar.zst", "a.zip"};
    struct world *w = *state;
    struct str large = kit_bytes(&w->kit, 700000, 1), other = kit_bytes(&w->kit, 300001, 2), out;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *key = keys[i];
        assert_err(change(w, ARC_APPEND, key, "m", STR("x")), ERR_NO_SUCH_KEY);
        assert_err(change(w, ARC_UPSERT, key, "one", STR("first")), ERR_OK);
        assert_err(change(w, ARC_UPSERT, key, "dir/two", large), ERR_OK);
        assert_err(change(w, ARC_APPEND, key, "three", STR("")), ERR_OK);
        assert_err(change(w, ARC_ADD, key, "one", STR("again")), ERR_EXISTS);
        expect(w, key, "one", STR("first"));
        expect(w, key, "dir/two", large);
        expect(w, key, "three", STR(""));
        assert_err(change(w, ARC_REPLACE, key, "dir/two", other), ERR_OK);
        expect(w, key, "dir/two", other);
        assert_err(change(w, ARC_DELETE, key, "one", STR("")), ERR_OK);
        assert_err(change(w, ARC_DELETE, key, "one", STR("")), ERR_NO_SUCH_MEMBER);
        assert_err(get(w, key, "one", &out), ERR_NO_SUCH_MEMBER);
        assert_err(change(w, ARC_APPEND, key, "last", STR("l")), ERR_OK);
        expect(w, key, "dir/two", other);
        expect(w, key, "last", STR("l"));
        assert_int_equal(count(w, key), 3);
    }
    assert_int_equal(w->splices, 0);
}

/* What `tar` makes, with more than regular files in it, stays so. */
static void other_entries_stay(void **state)
{
    struct world *w = *state;
    static char bytes[1 << 20];
    struct str key = STR("t.tgz");

    FILE *tar = popen("cd $(mktemp -d) && mkdir d && echo x > d/x && ln -s x d/link && tar czf - d && rm -r d", "r");
    assert_non_null(tar);
    size_t n = fread(bytes, 1, sizeof(bytes), tar);
    assert_int_equal(pclose(tar), 0);
    kit_put(&w->kit, key, str_n(bytes, n));
    assert_err(change(w, ARC_APPEND, "t.tgz", "d/new", STR("new")), ERR_OK);
    expect(w, "t.tgz", "d/new", STR("new"));
    expect(w, "t.tgz", "d/x", STR("x\n"));
    struct obj_get_req req = kit_get_req(&w->kit, key);
    struct obj_get_res res;
    struct str got;
    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(&w->kit, res.body, false, &got), ERR_OK);
    assert_non_null(tar = popen("test \"$(tar -tzf - | sort | tr '\\n' ' ')\" = 'd/ d/link d/new d/x '", "w"));
    assert_int_equal(fwrite(got.p, 1, got.n, tar), got.n);
    assert_int_equal(pclose(tar), 0);
}

/* ---- turns ---- */

static void turns_go_on_in_order(void **state)
{
    struct world *w = *state;
    struct arc_turn t[4] = {{0}};
    struct kit_call c[4] = {{{0}}};

    for (int i = 0; i < 4; i++)
        arc_turn_take(&t[i], 1, i == 3 ? STR("other") : STR("k"), kit_begin(&w->kit, &c[i]));
    assert_err(kit_wait(&w->kit, &c[0]), ERR_OK);
    assert_err(kit_wait(&w->kit, &c[3]), ERR_OK);
    kit_turns(&w->kit, 5);
    assert_false(c[1].done);
    call_cancel(&c[1].call);
    assert_err(kit_wait(&w->kit, &c[1]), ERR_CANCELLED);
    arc_turn_drop(&t[1]);
    assert_false(c[2].done);
    arc_turn_drop(&t[0]);
    assert_err(kit_wait(&w->kit, &c[2]), ERR_OK);
    arc_turn_drop(&t[2]);
    arc_turn_drop(&t[3]);
    arc_turn_drop(&t[3]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_WITHOUT(f)                                                                                                \
    {                                                                                                                  \
#f " without splices", f, setup_without_splice, teardown, NULL                                                 \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members_come_and_go),
        TEST_WITHOUT(members_come_and_go),
        TEST(all_of_a_name_go),
        TEST_WITHOUT(all_of_a_name_go),
        TEST(an_append_reads_only_what_is_new),
        TEST(removing_and_replacing_read_nothing),
        TEST(other_splices_are_read_as_a_whole),
        TEST(all_of_many_appends_at_once_survive),
        TEST_WITHOUT(all_of_many_appends_at_once_survive),
        TEST(what_is_wrong_changes_nothing),
        TEST_WITHOUT(what_is_wrong_changes_nothing),
        TEST(members_come_and_go_in_any_format),
        TEST(other_entries_stay),
        TEST(turns_go_on_in_order),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
