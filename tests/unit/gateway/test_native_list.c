/* Pages of names and how they are written. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pack.h"
#include "gateway/native_entries.h"
#include "gateway/native_page.h"
#include "store/memstore.h"

/* ---- a bucket with archives: their members are made up ---- */

enum { NAMES_MAX = 400, ROWS_MAX = 4000 };

struct archive {
    struct str key;
    struct str members[8]; /* sorted */
    unsigned count;
};

static struct loop *loop;
static struct store *store;
static struct arena arena;
static struct bucket_id bucket;
static struct archive archives[NAMES_MAX];
static unsigned archive_count;
static struct str keys[NAMES_MAX];
static unsigned key_count;
static const char *bad_archive; /* can't be read */

static int setup(void **state)
{
    static uint64_t uid;

    (void)state;
    store = memstore_new(loop);
    bucket = (struct bucket_id){++uid, STR("b"), {REDUNDANCY_NONE}};
    archive_count = key_count = 0;
    bad_archive = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(store);
    arena_release(&arena);
    return 0;
}

struct wait {
    struct call call;
    bool done;
};

static void done(struct call *c)
{
    CONTAINER(c, struct wait, call)->done = true;
}

static struct call *begin(struct wait *w)
{
    *w = (struct wait){0};
    call_begin(&w->call, loop, done);
    return &w->call;
}

static enum err end(struct wait *w)
{
    while (!w->done)
        loop_turn(loop, 1000);
    return w->call.err;
}

static void put(struct str key)
{
    struct body_check check = {0};
    struct obj_put_req req = {
        .arena = &arena, .bucket = bucket, .key = key, .cond = COND_INIT, .check = &check, .size_max = 1};
    struct obj_put_res res;
    struct wait w;

    for (unsigned i = 0; i < key_count; i++)
        if (str_eq(keys[i], key))
            return;
    store_obj_put(store, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    keys[key_count++] = arena_str(&arena, key);
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void put_archive(const char *key, const char *members)
{
    struct archive *a = &archives[archive_count++];
    struct str rest = arena_str(&arena, str_z(members));

    put(str_z(key));
    *a = (struct archive){.key = arena_str(&arena, str_z(key))};
    while (rest.n)
        a->members[a->count++] = str_split(&rest, ' ');
    qsort(a->members, a->count, sizeof(a->members[0]), by_name);
}

static const struct archive *find(struct str key)
{
    for (unsigned i = 0; i < archive_count; i++)
        if (str_eq(archives[i].key, key))
            return &archives[i];
    return NULL;
}

static bool is_archive(struct str name)
{
    return str_ends(name, STR(".tar")) || str_ends(name, STR(".zip")) || str_ends(name, STR(".tgz"));
}

/* What arcs_list() does. */
static void list_members(struct arcs *arcs, const struct arcs_list_req *req, struct arcs_list_res *res,
                         struct call *call)
{
    const struct archive *a = find(req->archive.key);
    struct arcs_entry *out = arena_alloc(req->archive.arena, 8 * sizeof(*out));
    uint32_t n = 0;
    struct str last = STR_NONE;

    (void)arcs;
    if (!a || (bad_archive && str_eq(a->key, str_z(bad_archive)))) {
        call_finish(call, a ? ERR_BAD_ARCHIVE : ERR_NO_SUCH_KEY);
        return;
    }
    *res = (struct arcs_list_res){.entries = out};
    for (unsigned i = 0; i < a->count; i++) {
        struct str name = a->members[i], common;
        bool rolls = req->delimiter.n && str_starts(name, req->prefix) &&
                     key_rolls_up(name, req->prefix, req->delimiter, &common);
        if (!str_starts(name, req->prefix))
            continue;
        if (rolls)
            name = common;
        if (str_cmp(name, req->after) <= 0 || (last.p && str_eq(last, name)))
            continue;
        if (n == req->max) {
            res->truncated = true;
            break;
        }
        out[n++] = (struct arcs_entry){.name = arena_str(req->archive.arena, name), .is_prefix = rolls, .size = 7};
        last = name;
    }
    res->count = n;
    call_finish(call, ERR_OK);
}

/* ---- pages ---- */

struct rows {
    struct str names[ROWS_MAX];
    unsigned flags[ROWS_MAX];
    unsigned count;
    unsigned room; /* the sink takes no more than this of a page; 0: all */
    unsigned taken;
    bool with_info;
};

static bool take(void *arg, const struct native_row *row)
{
    struct rows *r = arg;

    assert_true(r->count < ROWS_MAX);
    r->names[r->count] = arena_str(&arena, row->name);
    r->flags[r->count++] = row->flags;
    if (r->with_info)
        assert_true((row->info != NULL) == !(row->flags & (ROW_DIR | ROW_MEMBER)));
    return !r->room || ++r->taken < r->room;
}

static unsigned pages; /* of the last listing */

static struct rows *list(struct native_page_req req, unsigned room)
{
    struct rows *r = ARENA_NEW(&arena, struct rows);
    struct native_page_res res;
    struct wait w;

    *r = (struct rows){.room = room, .with_info = req.heads};
    req.arena = &arena;
    req.store = store;
    req.is_archive = is_archive;
    req.members = list_members;
    req.bucket = bucket;
    req.row = take;
    req.arg = r;
    pages = 0;
    do {
        unsigned before = r->count;
        r->taken = 0;
        native_page(&req, &res, begin(&w));
        assert_false(w.done);
        assert_int_equal(end(&w), ERR_OK);
        assert_true(r->count - before <= req.max);
        if (res.last.n)
            assert_true(r->count > before && str_eq(res.last, r->names[r->count - 1]));
        req.after = res.last;
        pages++;
    } while (res.last.n);
    return r;
}

static void expect(const struct rows *r, const char *names)
{
    struct buf b = BUF_INIT(1 << 20);

    for (unsigned i = 0; i < r->count; i++)
        buf_addf(&b, "%s" STR_FMT, i ? " " : "", STR_ARG(r->names[i]));
    buf_add_char(&b, 0);
    assert_string_equal(b.p, names);
    buf_release(&b);
}

static void pages_end_where_they_are_told_to(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++)
        put(arena_printf(&arena, "k%d", i));
    expect(list((struct native_page_req){.max = 100}, 0), "k0 k1 k2 k3 k4 k5 k6");
    assert_int_equal(pages, 1);
    expect(list((struct native_page_req){.max = 3}, 0), "k0 k1 k2 k3 k4 k5 k6");
    assert_int_equal(pages, 3);
    list((struct native_page_req){.max = 7}, 0);
    assert_int_equal(pages, 1); /* full, and nothing behind it */
    expect(list((struct native_page_req){.max = 100}, 2), "k0 k1 k2 k3 k4 k5 k6");
    assert_int_equal(pages, 4); /* the sink had enough */
    expect(list((struct native_page_req){.max = 100, .after = STR("k3")}, 0), "k4 k5 k6");
    expect(list((struct native_page_req){.max = 100, .after = STR("k3x")}, 0), "k4 k5 k6");
    expect(list((struct native_page_req){.max = 100, .after = STR("z")}, 0), "");
    expect(list((struct native_page_req){.max = 100, .prefix = STR("k5")}, 0), "k5");
}

static void a_page_takes_several_of_the_store(void **state)
{
    struct rows *r;

    (void)state;
    for (int i = 0; i < NAMES_MAX; i++)
        put(arena_printf(&arena, "dir/%05d", i));
    r = list((struct native_page_req){.max = 150}, 0);
    assert_int_equal(r->count, NAMES_MAX);
    assert_int_equal(pages, 3);
    r = list((struct native_page_req){.max = 150, .heads = true}, 0);
    assert_int_equal(r->count, NAMES_MAX);
    assert_int_equal(pages, 3);
}

static void one_level_shows_what_is_below_as_one_row(void **state)
{
    struct rows *r;

    (void)state;
    put(STR("a"));
    put(STR("d/1"));
    put(STR("d/e/2"));
    put(STR("d/e/3"));
    put(STR("z"));
    r = list((struct native_page_req){.max = 2, .one_level = true}, 0);
    expect(r, "a d/ z");
    assert_int_equal(r->flags[0], ROW_CACHED);
    assert_int_equal(r->flags[1], ROW_DIR);
    expect(list((struct native_page_req){.max = 1, .one_level = true, .prefix = STR("d/")}, 0), "d/1 d/e/");
    expect(list((struct native_page_req){.max = 9, .one_level = true, .prefix = STR("d")}, 0), "d/");
}

static void archives_are_followed_by_their_members_in_order(void **state)
{
    struct rows *r;

    (void)state;
    put_archive("s.tar", "b/2 a b/1");
    put(STR("s.tar.idx"));
    put(STR("s.tar/b/1x"));
    put(STR("s.tar/a")); /* an object of that name is what is shown */
    put(STR("t"));
    r = list((struct native_page_req){.max = 100, .expand = true}, 0);
    expect(r, "s.tar s.tar.idx s.tar/a s.tar/b/1 s.tar/b/1x s.tar/b/2 t");
    assert_int_equal(r->flags[0], ROW_CACHED | ROW_ARCHIVE);
    assert_int_equal(r->flags[1], ROW_CACHED);
    assert_int_equal(r->flags[2], ROW_CACHED);
    assert_int_equal(r->flags[3], ROW_CACHED | ROW_MEMBER);
    for (uint32_t max = 1; max < 9; max++)
        expect(list((struct native_page_req){.max = max, .expand = true, .heads = max & 1}, 0),
               "s.tar s.tar.idx s.tar/a s.tar/b/1 s.tar/b/1x s.tar/b/2 t");
    expect(list((struct native_page_req){.max = 2, .expand = true, .prefix = STR("s.tar/b")}, 0),
           "s.tar/b/1 s.tar/b/1x s.tar/b/2");
    expect(list((struct native_page_req){.max = 9, .expand = true, .after = STR("s.tar/b/1")}, 0),
           "s.tar/b/1x s.tar/b/2 t");
    expect(list((struct native_page_req){.max = 1, .expand = true, .one_level = true}, 0), "s.tar s.tar.idx s.tar/ t");
    expect(list((struct native_page_req){.max = 1, .expand = true, .one_level = true, .prefix = STR("s.tar/")}, 0),
           "s.tar/a s.tar/b/");
    expect(list((struct native_page_req){.max = 9}, 0), "s.tar s.tar.idx s.tar/a s.tar/b/1x t");
}

static void an_archive_that_cannot_be_read_has_no_members(void **state)
{
    (void)state;
    put_archive("s.tar", "a");
    put_archive("t.zip", "x");
    bad_archive = "s.tar";
    expect(list((struct native_page_req){.max = 1, .expand = true}, 0), "s.tar t.zip t.zip/x");
    expect(list((struct native_page_req){.max = 1, .expand = true, .after = STR("gone.tar/m")}, 0),
           "s.tar t.zip t.zip/x");
}

/* ---- any names, any pages: the same as sorting everything ---- */

static const char *const words[] = {"a",       "a.tar",         "a.tar.tar", "a.tar!.zip",  "a.tar-b",
                                    "b/c.tgz", "b/c.tgz/d",     "b/",        "a.tar/x.tar", "a.tar/x.tar/y",
                                    "a.zip",   "b/c.tgz/e.tar", "c",         "a.tar/"};
static const char *const inner[] = {"x", "x.tar", "x.tar/y", "d/e", "d/f/g", "!", "~", "d"};

static void add_name(struct str *all, unsigned *n, struct str name, struct str prefix, struct str after, bool level)
{
    struct str common;

    if (!str_starts(name, prefix))
        return;
    if (level && key_rolls_up(name, prefix, STR("/"), &common))
        name = common;
    if (str_cmp(name, after) <= 0)
        return;
    for (unsigned i = 0; i < *n; i++)
        if (str_eq(all[i], name))
            return;
    all[(*n)++] = name;
}

static void compare(struct str prefix, struct str after, bool level, uint32_t max, bool heads)
{
    struct rows *r = list(
        (struct native_page_req){
            .max = max, .expand = true, .one_level = level, .prefix = prefix, .after = after, .heads = heads},
        0);
    struct str *all = arena_alloc(&arena, ROWS_MAX * sizeof(*all));
    unsigned n = 0;

    for (unsigned i = 0; i < key_count; i++)
        add_name(all, &n, keys[i], prefix, after, level);
    for (unsigned i = 0; i < archive_count; i++)
        for (unsigned k = 0; k < archives[i].count; k++)
            add_name(
                all, &n,
                arena_printf(&arena, STR_FMT "/" STR_FMT, STR_ARG(archives[i].key), STR_ARG(archives[i].members[k])),
                prefix, after, level);
    qsort(all, n, sizeof(*all), by_name);
    if (r->count != n)
        print_message("prefix=" STR_FMT " after=" STR_FMT " level=%d max=%u got=%u want=%u\n", STR_ARG(prefix),
                      STR_ARG(after), level, max, r->count, n);
    assert_int_equal(r->count, n);
    for (unsigned i = 0; i < n; i++)
        assert_true(str_eq(r->names[i], all[i]));
}

static void any_pages_of_any_names_are_the_sorted_whole(void **state)
{
    enum { WORDS = sizeof(words) / sizeof(words[0]), INNER = sizeof(inner) / sizeof(inner[0]), ROUNDS = 60 };

    (void)state;
    srand(4711);
    store_close(store);
    for (int round = 0; round < ROUNDS; round++) {
        setup(NULL);
        for (unsigned i = 0; i < WORDS; i++) {
            char members[64] = "";
            size_t at = 0;
            if (rand() % 3 == 0)
                continue;
            if (!is_archive(str_z(words[i]))) {
                put(str_z(words[i]));
                continue;
            }
            for (unsigned k = 0; k < INNER; k++)
                if (rand() % 2)
                    at += (size_t)snprintf(members + at, sizeof(members) - at, "%s%s", at ? " " : "", inner[k]);
            put_archive(words[i], members);
        }
        for (int i = 0; i < 20; i++) {
            struct str prefix = rand() % 3 ? STR("") : str_z(words[(unsigned)rand() % WORDS]);
            struct str after = rand() % 3 ? STR("") : str_z(words[(unsigned)rand() % WORDS]);
            if (rand() % 4 == 0)
                prefix = arena_printf(&arena, "%s/%s", words[(unsigned)rand() % WORDS], rand() % 2 ? "d" : "");
            if (rand() % 4 == 0)
                after = arena_printf(&arena, "%s/%s", words[(unsigned)rand() % WORDS], inner[(unsigned)rand() % INNER]);
            /* a level's page can't begin below one of its rows: tokens are rows */
            bool level = rand() % 2 && !after.n;
            compare(prefix, after, level, 1 + (uint32_t)(rand() % 5), rand() % 2);
        }
        store_close(store);
        arena_release(&arena);
    }
    setup(NULL);
}

/* ---- writing ---- */

static void rows_are_packed_as_the_client_unpacks_them(void **state)
{
    static const uint8_t head[] = {0x84, 0xa7, 'E',  'n', 't',  'r', 'i',  'e', 's', 0xdd, 0,   0, 0,
                                   1,    0x83, 0xa1, 'n', 0xa1, 'x', 0xa1, 's', 5,   0xa1, 'f', 64};
    struct buf b = BUF_INIT(1000);
    struct native_entries w;
    struct unpack u;

    (void)state;
    native_entries_begin(&w, &b, true);
    native_entries_add(&w, &(struct native_entry){.name = STR("x"), .size = 5, .flags = 64});
    native_entries_end(&w, STR("List"), STR("tok"), 0);
    assert_true(b.n > sizeof(head));
    assert_memory_equal(b.p, head, sizeof(head));
    unpack_init(&u, buf_str(&b));
    assert_int_equal(unpack_map(&u, 4), 4);
    unpack_skip(&u), unpack_skip(&u);
    assert_true(str_eq(unpack_bytes(&u, 99), STR("UUID")));
    assert_true(str_eq(unpack_bytes(&u, 99), STR("List")));
    assert_true(str_eq(unpack_bytes(&u, 99), STR("ContinuationToken")));
    assert_true(str_eq(unpack_bytes(&u, 99), STR("tok")));
    assert_true(str_eq(unpack_bytes(&u, 99), STR("Flags")));
    assert_int_equal(unpack_uint(&u, 99), 0);
    assert_true(unpack_done(&u));
    buf_release(&b);
}

static void rows_are_written_as_json(void **state)
{
    struct buf b = BUF_INIT(1000);
    struct native_entries w;

    (void)state;
    native_entries_begin(&w, &b, false);
    native_entries_add(
        &w, &(struct native_entry){
                .name = STR("a\"/b"), .size = 5, .flags = 64, .copies = 2, .checksum = STR("c"), .version = STR("1")});
    native_entries_add(&w, &(struct native_entry){.name = STR("z")});
    native_entries_end(&w, STR("u"), STR(""), 0);
    buf_add_char(&b, 0);
    assert_string_equal(b.p, "{\"entries\":[{\"name\":\"a\\\"/b\",\"checksum\":\"c\",\"version\":\"1\",\"size\":\"5\","
                             "\"copies\":2,\"flags\":64},{\"name\":\"z\"}],\"uuid\":\"u\",\"continuation_token\":\"\","
                             "\"flags\":0}");
    buf_release(&b);
}

static void a_full_buffer_is_told_and_not_overrun(void **state)
{
    struct native_entries w;

    (void)state;
    for (size_t max = 0; max < 60; max++) {
        struct buf b = BUF_INIT(max);
        native_entries_begin(&w, &b, true);
        native_entries_add(&w, &(struct native_entry){.name = STR("0123456789"), .size = 5});
        native_entries_end(&w, STR("u"), STR("t"), 0);
        assert_true(b.n <= max);
        buf_release(&b);
    }
}

static void access_times_are_as_in_mails(void **state)
{
    char text[NATIVE_ATIME_LEN];

    (void)state;
    native_atime(INT64_C(784111777) * 1000000000, text);
    assert_true(str_eq(str_n(text, sizeof(text)), STR("06 Nov 94 08:49 UTC")));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(pages_end_where_they_are_told_to),
        T(a_page_takes_several_of_the_store),
        T(one_level_shows_what_is_below_as_one_row),
        T(archives_are_followed_by_their_members_in_order),
        T(an_archive_that_cannot_be_read_has_no_members),
        T(any_pages_of_any_names_are_the_sorted_whole),
        cmocka_unit_test(rows_are_packed_as_the_client_unpacks_them),
        cmocka_unit_test(rows_are_written_as_json),
        cmocka_unit_test(a_full_buffer_is_told_and_not_overrun),
        cmocka_unit_test(access_times_are_as_in_mails),
    };
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
