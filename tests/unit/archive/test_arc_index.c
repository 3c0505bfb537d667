#include "unit.h"

#include "blocking.h"

#include <dirent.h>
#include <unistd.h>

#include "archive/arc_scan.h"
#include "archive/arc_member.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/memstore.h"

/* Archives that other programs made, and what they say is in them: make_archives.py. */

struct fixture {
    char dir[64];
    struct loop *loop;
    struct offload *cpu;
    struct store *store;
    struct bucket_id bucket;
    struct arena arena;
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);
    char command[400];

    hash_setup();
    f->loop = loop_new();
    loop_adopt(f->loop);
    f->cpu = offload_new("cpu", 2, 64);
    f->store = memstore_new(f->loop);
    f->bucket = (struct bucket_id){7, STR("b"), {0}};
    snprintf(f->dir, sizeof(f->dir), "/tmp/sluice-arc-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(command, sizeof(command), "python3 %s/make_archives.py %s", TEST_SOURCE_DIR, f->dir);
    assert_int_equal(system(command), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[200];

    snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    store_close(f->store);
    offload_free(f->cpu);
    arena_release(&f->arena);
    loop_free(f->loop);
    free(f);
    return 0;
}

static bool access_file(const struct fixture *f, const char *name)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return access(path, R_OK) == 0;
}

static struct str read_file(struct fixture *f, const char *name)
{
    char path[400];
    FILE *file;
    long n;

    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    file = fopen(path, "rb");
    if (!file)
        return STR_NONE;
    fseek(file, 0, SEEK_END);
    n = ftell(file);
    rewind(file);
    char *p = arena_alloc(&f->arena, (size_t)n + 1);
    assert_int_equal(fread(p, 1, (size_t)n, file), n);
    fclose(file);
    return str_n(p, (size_t)n);
}

static void put(struct fixture *f, struct str key, struct str bytes)
{
    struct body_check check = {.checksum = HASH_NONE};
    struct obj_put_req req = {.arena = &f->arena,
                              .bucket = f->bucket,
                              .key = key,
                              .cond = COND_INIT,
                              .body = source_memory(bytes, NULL, NULL),
                              .check = &check,
                              .size_max = OBJECT_SIZE_MAX};
    struct obj_put_res res;

    assert_int_equal(CALL(f, store_obj_put(f->store, &req, &res, c)), ERR_OK);
    source_close(req.body);
}

static enum err build(struct fixture *f, struct str key, struct arc_build_res *res)
{
    struct arc_build_req req = {.arena = &f->arena, .store = f->store, .cpu = f->cpu, .bucket = f->bucket, .key = key};

    return CALL(f, arc_build(&req, res, c));
}

/* Bytes of a member's range. */
static struct str read_member(struct fixture *f, struct str key, struct arc_index *x, uint32_t i, uint64_t offset,
                              uint64_t len)
{
    struct arc_open_req req = {&f->arena, f->store, f->cpu, f->bucket, key, x, i, offset, len};
    struct arc_open_res res;
    struct source_fill fill;
    char *p = arena_alloc(&f->arena, (size_t)len + 1);
    size_t n = 0;

    assert_int_equal(CALL(f, arc_open(&req, &res, c)), ERR_OK);
    assert_int_equal(CALL(f, source_fill(&fill, res.body, p, (size_t)len + 1, &n, c)), ERR_OK);
    source_close(res.body);
    assert_int_equal(n, len);
    return str_n(p, n);
}

static uint32_t crc_of(struct str bytes)
{
    struct digest d;

    hash_of(HASH_CRC32, bytes, &d);
    return (uint32_t)d.b[0] << 24 | (uint32_t)d.b[1] << 16 | (uint32_t)d.b[2] << 8 | d.b[3];
}

static void check_members(struct fixture *f, struct str key, struct arc_index *x, struct str want)
{
    uint32_t i = 0;

    for (; want.n; i++) {
        struct str name = str_split(&want, '\n'), size_text = str_split(&name, ' '), crc_text = str_split(&name, ' ');
        struct arc_member m, found;
        uint64_t size, crc;
        uint32_t at;
        assert_true(str_to_u64(size_text, UINT64_MAX, &size) && str_to_u64(crc_text, UINT32_MAX, &crc));
        assert_true(i < x->count);
        arc_index_member(x, i, &m);
        assert_true(str_eq(m.name, name));
        assert_int_equal(m.size, size);
        if (m.crc32 != crc)
            print_error(STR_FMT ": " STR_FMT " has another sum\n", STR_ARG(key), STR_ARG(name));
        assert_int_equal(m.crc32, crc);
        assert_true(arc_index_find(x, name, &at, &found) && at <= i && str_eq(found.name, name));
        struct str all = read_member(f, key, x, i, 0, size);
        if (crc_of(all) != crc)
            print_error(STR_FMT ": " STR_FMT " has other content\n", STR_ARG(key), STR_ARG(name));
        assert_int_equal(crc_of(all), crc);
        if (size > 10) {
            struct str part = read_member(f, key, x, i, size / 3, size / 2);
            assert_memory_equal(part.p, all.p + size / 3, part.n);
            part = read_member(f, key, x, i, size - 1, 1);
            assert_memory_equal(part.p, all.p + size - 1, 1);
        }
    }
    assert_int_equal(i, x->count);
}

static void check_encoding(struct fixture *f, struct str key, struct arc_index *x, struct str want)
{
    struct buf bytes = BUF_INIT(ARC_INDEX_MAX);
    struct arc_index *again;

    assert_int_equal(arc_index_encode(x, &bytes), ERR_OK);
    assert_int_equal(arc_index_decode(buf_str(&bytes), &again), ERR_OK);
    assert_int_equal(again->end, x->end);
    assert_int_equal(again->restart_count, x->restart_count);
    check_members(f, key, again, want);
    arc_index_unref(again);
    for (size_t n = 0; n < bytes.n; n += bytes.n / 50 + 1) /* cut or damaged anywhere */ {
        assert_int_equal(arc_index_decode(str_n(bytes.p, n), &again), ERR_CORRUPT);
        bytes.p[n] ^= 1;
        assert_int_equal(arc_index_decode(buf_str(&bytes), &again), ERR_CORRUPT);
        bytes.p[n] ^= 1;
    }
    buf_release(&bytes);
}

static void check_file(struct fixture *f, const char *name)
{
    struct str key = arena_str(&f->arena, str_z(name)), want = read_file(f, arena_printf(&f->arena, "%s.want", name).p);
    struct arc_build_res res;
    enum err e;

    put(f, key, read_file(f, name));
    e = build(f, key, &res);
    if (str_starts(want, STR("bad"))) {
        if (e == ERR_OK)
            print_error("%s was taken\n", name);
        assert_true(e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE);
        assert_true(res.why[0] != '\0' && !res.index);
        return;
    }
    if (e != ERR_OK)
        print_error("%s: %s\n", name, res.why);
    assert_int_equal(e, ERR_OK);
    str_split(&want, '\n');
    check_members(f, key, res.index, want);
    check_encoding(f, key, res.index, want);
    arc_index_unref(res.index);
}

static void archives_of_other_programs_are_read(void **state)
{
    struct fixture *f = *state;
    DIR *dir = opendir(f->dir);
    unsigned files = 0;

    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && !str_ends(str_z(e->d_name), STR(".want"))) {
            check_file(f, e->d_name);
            arena_release(&f->arena);
            files++;
        }
    closedir(dir);
    assert_true(files > 30);
}

/* A scan says the same in whatever pieces it is fed. */
static void scans_do_not_depend_on_pieces(void **state)
{
    struct fixture *f = *state;
    struct str bytes = read_file(f, "pax.tar");
    static const size_t pieces[] = {1, 7, 511, 512, 513, 100000};

    for (size_t k = 0; k < 6; k++) {
        struct arc_scan *s = arc_scan_new(ARC_TAR);
        struct arc_index *x;
        for (size_t at = 0; at < bytes.n; at += pieces[k])
            assert_int_equal(arc_scan_feed(s, bytes.p + at, bytes.n - at < pieces[k] ? bytes.n - at : pieces[k]),
                             ERR_OK);
        assert_int_equal(arc_scan_end(s, &x), ERR_OK);
        assert_int_equal(x->count, 10);
        arc_scan_free(s);
        arc_index_unref(x);
    }
}

/* Where it is cut tells whether it can be seen: only between two entries it can't, what is there is all there then. */
static void archives_that_are_cut_off_are_refused(void **state)
{
    struct fixture *f = *state;
    struct str bytes = read_file(f, "pax.tar");
    struct arc_scan *s = arc_scan_new(ARC_TAR);
    struct arc_index *whole, *x;
    unsigned refused = 0;

    assert_int_equal(arc_scan_feed(s, bytes.p, bytes.n), ERR_OK);
    assert_int_equal(arc_scan_end(s, &whole), ERR_OK);
    arc_scan_free(s);
    for (size_t n = 0; n < whole->end; n += 512) {
        bool between = false;
        s = arc_scan_new(ARC_TAR);
        for (uint32_t i = 0; i < whole->count; i++) {
            struct arc_member m;
            arc_index_member(whole, i, &m);
            between = between || m.next == n;
        }
        assert_int_equal(arc_scan_feed(s, bytes.p, n), ERR_OK);
        assert_int_equal(arc_scan_end(s, &x), between ? ERR_OK : ERR_BAD_ARCHIVE);
        if (between)
            arc_index_unref(x);
        refused += !between;
        arc_scan_free(s);
    }
    assert_true(refused > whole->end / 512 - 20);
    arc_index_unref(whole);
}

/* Members behind the first block are unpacked from a block near them. */
static void lz4_blocks_are_places_to_begin_at(void **state)
{
    struct fixture *f = *state;
    static const char *const blocks[] = {"blocks.tar.lz4", "nosum.tar.lz4"}, *const none[] = {"sums.tar.lz4",
                                                                                              "linked.tar.lz4"};

    for (size_t i = 0; i < 2 && access_file(f, blocks[i]); i++) {
        struct arc_build_res res;
        put(f, str_z(blocks[i]), read_file(f, blocks[i]));
        assert_int_equal(build(f, str_z(blocks[i]), &res), ERR_OK);
        assert_true(res.index->restart_count > 4);
        arc_index_unref(res.index);
        put(f, str_z(none[i]), read_file(f, none[i]));
        assert_int_equal(build(f, str_z(none[i]), &res), ERR_OK);
        assert_int_equal(res.index->restart_count, 1);
        arc_index_unref(res.index);
    }
}

/* Many members: bounded memory and time, and found by name. */
static void a_million_members_fit(void **state)
{
    struct arc_building *b = arc_building_new(ARC_TAR);
    struct arc_index *x;
    struct arc_member m, found;
    char name[40];

    (void)state;
    for (uint32_t i = 0; i < 1000000; i++) {
        int n = snprintf(name, sizeof(name), "train/%07u.jpg", (unsigned)(i * 7919ull % 1000000));
        m = (struct arc_member){
            str_n(name, (size_t)n), i * 1024ull, i * 1024ull + 512, 500, i * 1024ull + 1024, 500, 1, i, ARC_STORED};
        assert_int_equal(arc_building_add(b, &m), ERR_OK);
    }
    x = arc_building_seal(b, 1024000000);
    assert_true(x->bytes < 150u << 20);
    for (uint32_t i = 0; i < 1000000; i += 997) {
        int n = snprintf(name, sizeof(name), "train/%07u.jpg", (unsigned)(i * 7919ull % 1000000));
        assert_true(arc_index_find(x, str_n(name, (size_t)n), NULL, &found));
        assert_int_equal(found.crc32, i);
        assert_int_equal(found.next, i * 1024ull + 1024);
    }
    assert_false(arc_index_find(x, STR("train/1"), NULL, &found));
    arc_index_unref(x);
}

static void selections_match(void **state)
{
    static const struct {
        const char *mode, *pattern, *name;
        bool matches;
    } rows[] = {{"prefix", "a/", "a/b.jpg", true},    {"prefix", "b", "a/b.jpg", false},
                {"suffix", ".jpg", "a/b.jpg", true},  {"substr", "/b", "a/b.jpg", true},
                {"wdskey", "a/b", "a/b.jpg", true},   {"wdskey", "a/b", "a/b.cls.txt", true},
                {"wdskey", "a/b", "a/bc.jpg", false}, {"regexp", "b\\.(jpg|png)$", "a/b.jpg", true},
                {"regexp", "^b", "a/b.jpg", false},   {"regexp", "*", "anything", true},
                {"prefix", "", "anything", true}};
    char why[ARC_WHY_MAX];
    struct arc_select *s;
    enum arc_mode mode;
    bool matches;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(arc_mode_parse(str_z(rows[i].mode), &mode));
        assert_int_equal(arc_select_new(mode, str_z(rows[i].pattern), &s, why), ERR_OK);
        assert_int_equal(arc_select_match(s, str_z(rows[i].name), &matches), ERR_OK);
        assert_int_equal(matches, rows[i].matches);
        arc_select_free(s);
    }
    assert_int_equal(arc_select_new(ARC_MODE_REGEXP, STR("a(b"), &s, why), ERR_INVALID_ARGUMENT);
    assert_true(why[0] != '\0');
    assert_int_equal(arc_select_new(ARC_MODE_REGEXP, STR("(a+)+$"), &s, why), ERR_OK); /* work without end */
    assert_int_equal(arc_select_match(s, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), &matches),
                     ERR_TOO_LARGE);
    arc_select_free(s);
}

static void formats_are_told(void **state)
{
    struct str archive, member;

    (void)state;
    assert_int_equal(arc_format_of_name(STR("a.TAR")), ARC_TAR);
    assert_int_equal(arc_format_of_name(STR("a.tar.gz")), ARC_TGZ);
    assert_int_equal(arc_format_of_name(STR(".tar")), ARC_NONE);
    assert_int_equal(arc_format_of_name(STR("a.gz")), ARC_NONE);
    assert_int_equal(arc_format_of_mime(STR("application/x-tar")), ARC_TAR);
    assert_int_equal(arc_format_of_mime(STR(".tar.lz4")), ARC_TAR_LZ4);
    assert_int_equal(arc_format_of_mime(STR("application/zip")), ARC_ZIP);
    assert_int_equal(arc_format_of_mime(STR(".tgz")), ARC_TGZ);
    assert_int_equal(arc_format_of_mime(STR("text/plain")), ARC_NONE);
    assert_true(arc_format_split(STR("x/a.tar/b.zip/c"), 0, &archive, &member));
    assert_true(str_eq(archive, STR("x/a.tar")) && str_eq(member, STR("b.zip/c")));
    assert_true(arc_format_split(STR("x/a.tar/b.zip/c"), archive.n + 1, &archive, &member));
    assert_true(str_eq(archive, STR("x/a.tar/b.zip")) && str_eq(member, STR("c")));
    assert_false(arc_format_split(STR("x/a.tar"), 0, &archive, &member));
    assert_false(arc_format_split(STR("x/.tar/b"), 0, &archive, &member));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_of_other_programs_are_read),
        cmocka_unit_test(scans_do_not_depend_on_pieces),
        cmocka_unit_test(archives_that_are_cut_off_are_refused),
        cmocka_unit_test(lz4_blocks_are_places_to_begin_at),
        cmocka_unit_test(a_million_members_fit),
        cmocka_unit_test(selections_match),
        cmocka_unit_test(formats_are_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
