#include "unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_convert.h"
#include "archive/arc_pack_own.h"
#include "base/hash.h"
#include "base/mem.h"

enum { ROOM = 8 << 20, MEMBER_MAX = 1 << 20 };

/* Bytes that compress somewhat, different for each `n`. */
static char *content(size_t size, unsigned n)
{
    char *p = mem_alloc(size + 1);
    uint64_t x = n * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < size; i++) {
        if (i % 8 == 0)
            x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        p[i] = i % 16 < 8 ? (char)(x >> (8 + i % 8 * 6)) : "archives"[i % 8];
    }
    p[size] = 0;
    return p;
}

/* Runs a coder over all of `in`, in pieces of in_step and out_step bytes; frees it. *why may be NULL. */
static enum err run(struct arc_coder *c, struct str in, size_t in_step, size_t out_step, struct buf *out, char *why)
{
    char *room = mem_alloc(out_step);
    enum err e = ERR_OK;
    size_t stuck = 0;

    for (;;) {
        struct arc_coder_io io = {.in = in.p, .in_n = in.n < in_step ? in.n : in_step, .out = room, .out_n = out_step};
        char *piece = NULL;
        if (io.in_n && io.in_n <= 1024) { /* so that the sanitizer sees who reads beyond it */
            piece = mem_alloc(io.in_n);
            memcpy(piece, in.p, io.in_n);
            io.in = piece;
        }
        io.in_ended = io.in_n == in.n;
        e = arc_coder_run(c, &io);
        free(piece);
        assert_true(io.in_used <= io.in_n && io.out_made <= io.out_n);
        buf_add(out, room, io.out_made);
        in = str_skip(in, io.in_used);
        if (e != ERR_OK || io.ended)
            break;
        stuck = io.in_used || io.out_made ? 0 : stuck + 1;
        if (stuck > 1)
            fail_msg("the coder stands still");
    }
    if (why)
        snprintf(why, ARC_WHY_MAX, "%s", arc_coder_why(c));
    arc_coder_free(c);
    free(room);
    return e;
}

static const struct {
    size_t in, out;
} steps[] = {{1 << 18, 1 << 18}, {1000, 777}, {1, 1 << 16}, {1 << 16, 1}, {7, 3}};
enum { STEPS = 5 };

/* ---- libarchive ---- */

static la_ssize_t la_write(struct archive *a, void *arg, const void *p, size_t n)
{
    (void)a;
    buf_add(arg, p, n);
    return (la_ssize_t)n;
}

struct file {
    const char *name;
    unsigned type; /* AE_IFREG */
    struct str bytes;
};

static void la_pack(struct buf *out, int format, int filter, const char *options, const struct file *files, size_t n)
{
    struct archive *a = archive_write_new();

    assert_int_equal(archive_write_set_format(a, format), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
    if (options)
        assert_int_equal(archive_write_set_options(a, options), ARCHIVE_OK);
    archive_write_set_bytes_per_block(a, 0);
    assert_int_equal(archive_write_open(a, out, NULL, la_write, NULL), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, files[i].name);
        archive_entry_set_filetype(e, files[i].type);
        archive_entry_set_perm(e, 0644);
        archive_entry_set_mtime(e, 1700000000 + 2 * (time_t)i, 0);
        archive_entry_set_size(e, (int64_t)files[i].bytes.n);
        if (files[i].type == AE_IFLNK)
            archive_entry_set_symlink(e, "target");
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        if (files[i].bytes.n)
            assert_int_equal(archive_write_data(a, files[i].bytes.p, files[i].bytes.n), files[i].bytes.n);
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    assert_int_equal(buf_err(out), ERR_OK);
}

/* The archive has the regular files of the list, in their order, and nothing else. */
static void la_check(struct str bytes, const struct file *files, size_t n, bool seekable)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    char *p = mem_alloc(MEMBER_MAX);

    archive_read_support_filter_all(a);
    archive_read_support_format_tar(a);
    if (seekable)
        archive_read_support_format_zip_seekable(a);
    else
        archive_read_support_format_zip_streamable(a);
    assert_int_equal(archive_read_open_memory(a, bytes.p, bytes.n), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        if (files[i].type != AE_IFREG)
            continue;
        if (archive_read_next_header(a, &e) != ARCHIVE_OK)
            fail_msg("%s: %s", files[i].name, archive_error_string(a));
        assert_string_equal(archive_entry_pathname(e), files[i].name);
        assert_int_equal(archive_entry_filetype(e), AE_IFREG);
        assert_int_equal(archive_entry_mtime(e), 1700000000 + 2 * (time_t)i);
        la_ssize_t got = archive_read_data(a, p, MEMBER_MAX);
        if (got != (la_ssize_t)files[i].bytes.n)
            fail_msg("%s: %zd bytes, not %zu: %s", files[i].name, (ssize_t)got, files[i].bytes.n,
                     archive_error_string(a));
        assert_memory_equal(p, files[i].bytes.p, files[i].bytes.n);
    }
    assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_EOF);
    archive_read_free(a);
    free(p);
}

/* ---- codecs ---- */

static const struct {
    enum arc_codec codec;
    int filter;
} codecs[] = {{ARC_CODEC_GZIP, ARCHIVE_FILTER_GZIP},
              {ARC_CODEC_ZSTD, ARCHIVE_FILTER_ZSTD},
              {ARC_CODEC_LZ4, ARCHIVE_FILTER_LZ4},
              {ARC_CODEC_BZIP2, ARCHIVE_FILTER_BZIP2},
              {ARC_CODEC_XZ, ARCHIVE_FILTER_XZ}};
enum { CODECS = 5, COMPRESSORS = 3 };
static const size_t sizes[] = {0, 1, 100, 5000, 262144, (1 << 20) - 1, 1 << 20, (1 << 20) + 300017};
enum { SIZES = 8 };

static void la_decompress(struct str bytes, struct buf *out)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    char *p = mem_alloc(1 << 16);
    la_ssize_t n;

    archive_read_support_filter_all(a);
    archive_read_support_format_raw(a);
    archive_read_support_format_empty(a);
    assert_int_equal(archive_read_open_memory(a, bytes.p, bytes.n), ARCHIVE_OK);
    assert_true(archive_filter_code(a, 0) != ARCHIVE_FILTER_NONE);
    int code = archive_read_next_header(a, &e);
    while (code == ARCHIVE_OK && (n = archive_read_data(a, p, 1 << 16)) > 0)
        buf_add(out, p, (size_t)n);
    archive_read_free(a);
    free(p);
}

static void compressed_is_read_by_others_and_by_us(void **state)
{
    (void)state;
    for (int c = 0; c < COMPRESSORS; c++)
        for (int s = 0; s < SIZES; s++) {
            char *p = content(sizes[s], (unsigned)s);
            struct str plain = str_n(p, sizes[s]);
            struct buf first = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
            int way_max = sizes[s] > 5000 ? 2 : STEPS;
            for (int w = 0; w < way_max; w++) {
                struct buf packed = BUF_INIT(ROOM), again = BUF_INIT(ROOM);
                assert_int_equal(run(arc_compressor(codecs[c].codec), plain, steps[w].in, steps[w].out, &packed, NULL),
                                 ERR_OK);
                assert_int_equal(arc_codec_of_magic(buf_str(&packed)), codecs[c].codec);
                assert_int_equal(run(arc_decompressor(codecs[c].codec, true), buf_str(&packed), steps[w].in,
                                     steps[w].out, &again, NULL),
                                 ERR_OK);
                assert_true(str_eq(buf_str(&again), plain));
                if (w == 0)
                    buf_add_str(&first, buf_str(&packed));
                buf_release(&packed);
                buf_release(&again);
            }
            if (sizes[s]) {
                la_decompress(buf_str(&first), &out);
                assert_true(str_eq(buf_str(&out), plain));
            }
            buf_release(&first);
            buf_release(&out);
            free(p);
        }
}

static void la_compress(struct buf *out, int filter, struct str bytes)
{
    const struct file one = {"x", AE_IFREG, bytes};

    la_pack(out, ARCHIVE_FORMAT_RAW, filter, NULL, &one, 1);
}

static void what_others_compressed_is_read(void **state)
{
    (void)state;
    for (int c = 0; c < CODECS; c++)
        for (int s = 1; s < SIZES; s++) {
            char *p = content(sizes[s], (unsigned)s);
            struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
            la_compress(&packed, codecs[c].filter, str_n(p, sizes[s]));
            assert_int_equal(arc_codec_of_magic(buf_str(&packed)), codecs[c].codec);
            for (int w = 0; w < (sizes[s] > 5000 ? 2 : STEPS); w++) {
                buf_reset(&out);
                assert_int_equal(run(arc_decompressor(codecs[c].codec, true), buf_str(&packed), steps[w].in,
                                     steps[w].out, &out, NULL),
                                 ERR_OK);
                assert_true(str_eq(buf_str(&out), str_n(p, sizes[s])));
            }
            buf_release(&packed);
            buf_release(&out);
            free(p);
        }
}

static enum err decompress(enum arc_codec codec, bool strict, struct str in, size_t step, struct buf *out)
{
    buf_reset(out);
    return run(arc_decompressor(codec, strict), in, step, 4096, out, NULL);
}

static void two_streams_are_one_and_garbage_is_told(void **state)
{
    char *p = content(3000, 1);
    struct str plain = str_n(p, 3000);

    (void)state;
    for (int c = 0; c < CODECS; c++)
        for (size_t step = 1; step < 10000; step = step * 3 + 1) {
            struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
            enum arc_codec codec = codecs[c].codec;
            la_compress(&packed, codecs[c].filter, plain);
            la_compress(&packed, codecs[c].filter, plain);
            assert_int_equal(decompress(codec, true, buf_str(&packed), step, &out), ERR_OK);
            assert_int_equal(out.n, 2 * plain.n);
            assert_memory_equal(out.p + plain.n, plain.p, plain.n);
            buf_add_z(&packed, "G");
            assert_int_equal(decompress(codec, true, buf_str(&packed), step, &out), ERR_BAD_ARCHIVE);
            buf_add_z(&packed, "arbage");
            assert_int_equal(decompress(codec, true, buf_str(&packed), step, &out), ERR_BAD_ARCHIVE);
            if (codec != ARC_CODEC_XZ) {
                assert_int_equal(decompress(codec, false, buf_str(&packed), step, &out), ERR_OK);
                assert_int_equal(out.n, 2 * plain.n);
            }
            assert_int_equal(decompress(codec, true, STR("no such stream at all"), step, &out), ERR_BAD_ARCHIVE);
            assert_int_equal(decompress(codec, true, STR(""), step, &out), ERR_BAD_ARCHIVE);
            buf_release(&packed);
            buf_release(&out);
        }
    free(p);
}

static void cut_off_anywhere_is_an_error(void **state)
{
    char *p = content(700, 1);

    (void)state;
    for (int c = 0; c < CODECS; c++) {
        struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
        la_compress(&packed, codecs[c].filter, str_n(p, 700));
        for (size_t n = 0; n < packed.n; n++)
            assert_int_equal(decompress(codecs[c].codec, true, str_n(packed.p, n), 64, &out), ERR_BAD_ARCHIVE);
        buf_release(&packed);
        buf_release(&out);
    }
    free(p);
}

static void damage_does_no_harm(void **state)
{
    char *p = content(5000, 1);
    uint64_t x = 1;

    (void)state;
    for (int c = 0; c < CODECS; c++) {
        struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
        la_compress(&packed, codecs[c].filter, str_n(p, 5000));
        for (int i = 0; i < 100; i++) {
            x = x * UINT64_C(6364136223846793005) + 1;
            size_t at = (size_t)(x >> 33) % packed.n;
            packed.p[at] ^= (char)(1 << (x >> 20 & 7));
            enum err e = decompress(codecs[c].codec, true, buf_str(&packed), 1000, &out);
            assert_true(e == ERR_OK || e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE);
            packed.p[at] ^= (char)(1 << (x >> 20 & 7));
        }
        buf_release(&packed);
        buf_release(&out);
    }
    free(p);
}

/* ---- archives ---- */

#define LONG                                                                                                           \
    "a-directory-with-a-rather-long-name-0123456789/another-directory-with-a-rather-long-name-0123456789/"             \
    "a-third-one-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789/file.bin"
static struct file files[12];
enum { FILES = 12 };

static int make_files(void **state)
{
    static const struct {
        const char *name;
        unsigned type;
        size_t size;
    } rows[FILES] = {{"first.txt", AE_IFREG, 11},         {"empty", AE_IFREG, 0},     {"dir/", AE_IFDIR, 0},
                     {"dir/a.jpg", AE_IFREG, 100000},     {"dir/b.cls", AE_IFREG, 1}, {LONG, AE_IFREG, 513},
                     {"dir/PK", AE_IFREG, 3000},          {"512", AE_IFREG, 512},     {"1024", AE_IFREG, 1024},
                     {"gr\xc3\xbc\xc3\x9f", AE_IFREG, 7}, {"big", AE_IFREG, 700000},  {"last", AE_IFREG, 5}};

    (void)state;
    for (unsigned i = 0; i < FILES; i++) {
        char *p = content(rows[i].size, i);
        files[i] = (struct file){rows[i].name, rows[i].type, str_n(p, rows[i].size)};
    }
    /* what looks like records of a ZIP */
    char *p = (char *)(uintptr_t)files[6].bytes.p;
    for (size_t i = 0; i + 30 < 3000; i += 29)
        memcpy(p + i, i % 2 ? "PK\7\10" : "PPK\7\10PK\7", 4);
    return 0;
}

static int drop_files(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++)
        free((void *)(uintptr_t)files[i].bytes.p);
    return 0;
}

static const struct {
    const char *what;
    int format, filter;
    const char *options;
} kinds[] = {
    {"gnu", ARCHIVE_FORMAT_TAR_GNUTAR, ARCHIVE_FILTER_NONE, NULL},
    {"pax", ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_NONE, NULL},
    {"pax.gz", ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_GZIP, NULL},
    {"pax.bz2", ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_BZIP2, NULL},
    {"pax.xz", ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_XZ, NULL},
    {"gnu.zst", ARCHIVE_FORMAT_TAR_GNUTAR, ARCHIVE_FILTER_ZSTD, NULL},
    {"gnu.lz4", ARCHIVE_FORMAT_TAR_GNUTAR, ARCHIVE_FILTER_LZ4, NULL},
    {"zip", ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, NULL},
    {"zip stored", ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, "zip:compression=store"},
    {"zip64", ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, "zip:zip64"},
};
enum { KINDS = 10 };

static void convert_and_check(struct str archive, const char *what, size_t in_step, size_t out_step)
{
    for (int to = 0; to < 2; to++) {
        enum arc_format format = to ? ARC_ZIP : ARC_TAR;
        struct buf out = BUF_INIT(ROOM), back = BUF_INIT(ROOM);
        char why[ARC_WHY_MAX];
        enum err e = run(arc_converter(format), archive, in_step, out_step, &out, why);
        if (e != ERR_OK)
            fail_msg("%s to %d: %s: %s", what, to, err_name(e), why);
        la_check(buf_str(&out), files, FILES, true);
        /* our ZIPs have their sizes behind the content, which may look like records */
        e = run(arc_converter(ARC_TAR), buf_str(&out), in_step, out_step, &back, why);
        if (e != ERR_OK)
            fail_msg("%s to %d and to TAR: %s: %s", what, to, err_name(e), why);
        la_check(buf_str(&back), files, FILES, true);
        buf_release(&out);
        buf_release(&back);
    }
}

static void archives_of_all_kinds_are_converted(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct buf packed = BUF_INIT(ROOM);
        la_pack(&packed, kinds[k].format, kinds[k].filter, kinds[k].options, files, FILES);
        convert_and_check(buf_str(&packed), kinds[k].what, 1 << 18, 1 << 18);
        convert_and_check(buf_str(&packed), kinds[k].what, 1000, 777);
        convert_and_check(buf_str(&packed), kinds[k].what, 31, 1 << 12);
        buf_release(&packed);
    }
}

static uint32_t crc_of(struct str s)
{
    struct digest d;

    hash_of(HASH_CRC32, s, &d);
    return (uint32_t)d.b[0] << 24 | (uint32_t)d.b[1] << 16 | (uint32_t)d.b[2] << 8 | d.b[3];
}

/* Stored, with sizes and CRC in front of the content, as most programs write files. */
static void pack_stored(struct buf *out, bool crc_known)
{
    struct pack_zip zip = {.count = 0};

    for (int i = 0; i < FILES; i++) {
        if (files[i].type != AE_IFREG)
            continue;
        struct pack_zip_item it = {str_z(files[i].name), files[i].bytes.n,       out->n,
                                   1700000000 + 2 * i,   crc_of(files[i].bytes), crc_known};
        assert_int_equal(pack_zip_head(out, &it), ERR_OK);
        buf_add_str(out, files[i].bytes);
        assert_int_equal(pack_zip_tail(&zip, out, &it), ERR_OK);
    }
    assert_int_equal(pack_zip_end(&zip, out->n), ERR_OK);
    buf_add_str(out, buf_str(&zip.central));
    buf_release(&zip.central);
}

static void zips_with_sizes_in_front_or_behind(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct buf packed = BUF_INIT(ROOM);
        pack_stored(&packed, known);
        convert_and_check(buf_str(&packed), "stored", 1 << 18, 1 << 18);
        convert_and_check(buf_str(&packed), "stored", 29, 1000);
        buf_add(&packed, "\0\0\0\0", 4); /* to fill up */
        convert_and_check(buf_str(&packed), "stored", 100, 100);
        buf_release(&packed);
    }
}

static void empty_archives_are_archives(void **state)
{
    struct buf out = BUF_INIT(ROOM), zip = BUF_INIT(ROOM);

    (void)state;
    la_pack(&out, ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, NULL, NULL, 0);
    assert_int_equal(run(arc_converter(ARC_ZIP), buf_str(&out), 10, 10, &zip, NULL), ERR_OK);
    assert_int_equal(zip.n, 22);
    buf_reset(&out);
    assert_int_equal(run(arc_converter(ARC_TAR), buf_str(&zip), 10, 10, &out, NULL), ERR_OK);
    assert_int_equal(out.n, ARC_TAR_TRAILER);
    buf_release(&out);
    buf_release(&zip);
}

static void what_is_no_archive_is_refused(void **state)
{
    static const char *const texts[] = {"", "hello", "PK\3\4", "PK\5\6 and more", "\x1f\x8b", "BZh9"};
    struct buf out = BUF_INIT(ROOM);
    char why[ARC_WHY_MAX], *p = content(5000, 3);

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(run(arc_converter(ARC_TAR), str_z(texts[i]), 3, 100, &out, why), ERR_BAD_ARCHIVE);
        assert_true(why[0]);
    }
    assert_int_equal(run(arc_converter(ARC_ZIP), str_n(p, 5000), 1000, 100, &out, why), ERR_BAD_ARCHIVE);
    assert_true(why[0]);
    free(p);
    buf_release(&out);
}

/* Without a trailer a TAR may end between two members, for others read it, too; everything else may not end early. */
static void archives_that_are_cut_off_are_refused(void **state)
{
    struct file few[3] = {files[0], files[4], files[7]};

    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct buf packed = BUF_INIT(ROOM);
        la_pack(&packed, kinds[k].format, kinds[k].filter, kinds[k].options, few, 3);
        bool is_plain = kinds[k].filter == ARCHIVE_FILTER_NONE && kinds[k].format != ARCHIVE_FORMAT_ZIP;
        size_t stop = is_plain ? packed.n - 512 : packed.n; /* the trailer has begun */
        for (size_t n = 0; n < stop; n++) {
            struct buf out = BUF_INIT(ROOM);
            enum err e = run(arc_converter(ARC_TAR), str_n(packed.p, n), 4096, 4096, &out, NULL);
            if (e == ERR_OK && !(is_plain && n % 512 == 0))
                fail_msg("%s: %zu bytes of %zu", kinds[k].what, n, packed.n);
            buf_release(&out);
        }
        buf_release(&packed);
    }
}

static void links_and_what_the_directory_says_otherwise(void **state)
{
    struct file some[3] = {{"a", AE_IFREG, STR("x")}, {"link", AE_IFLNK, STR("")}, {"b", AE_IFREG, STR("yy")}};
    struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
    char why[ARC_WHY_MAX];

    (void)state;
    la_pack(&packed, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FILTER_NONE, NULL, some, 3);
    assert_int_equal(run(arc_converter(ARC_ZIP), buf_str(&packed), 100, 100, &out, why), ERR_OK);
    la_check(buf_str(&out), some, 3, true);
    /* a ZIP tells links at its end only */
    buf_reset(&packed);
    la_pack(&packed, ARCHIVE_FORMAT_ZIP, ARCHIVE_FILTER_NONE, NULL, some, 3);
    assert_int_equal(run(arc_converter(ARC_ZIP), buf_str(&packed), 100, 100, &out, why), ERR_NOT_IMPLEMENTED);
    assert_non_null(strstr(why, "symbolic link: link"));
    /* another name in the directory */
    buf_reset(&packed);
    pack_stored(&packed, true);
    size_t at = 0;
    for (size_t i; (i = str_find(str_skip(buf_str(&packed), at), STR("first.txt"))) != SIZE_MAX;)
        at += i + 1;
    packed.p[at] = 'I';
    assert_int_equal(run(arc_converter(ARC_TAR), buf_str(&packed), 5000, 5000, &out, why), ERR_BAD_ARCHIVE);
    assert_non_null(strstr(why, "differ"));
    packed.p[at] = 'i';
    /* a byte of the content */
    packed.p[30 + 9] ^= 1;
    assert_int_equal(run(arc_converter(ARC_TAR), buf_str(&packed), 5000, 5000, &out, why), ERR_BAD_ARCHIVE);
    assert_non_null(strstr(why, "damaged"));
    packed.p[30 + 9] ^= 1;
    buf_add_z(&packed, "more");
    assert_int_equal(run(arc_converter(ARC_TAR), buf_str(&packed), 5000, 5000, &out, why), ERR_BAD_ARCHIVE);
    buf_release(&packed);
    buf_release(&out);
}

static void hard_links_and_encrypted_files_are_told(void **state)
{
    struct buf tar = BUF_INIT(ROOM), zip = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
    char why[ARC_WHY_MAX];

    (void)state;
    assert_int_equal(arc_tar_head(&tar, STR("hard"), 0, 1), ERR_OK);
    tar.p[156] = '1';
    unsigned sum = 0;
    memset(tar.p + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)tar.p[i];
    snprintf(tar.p + 148, 8, "%06o", sum);
    assert_int_equal(run(arc_converter(ARC_TAR), buf_str(&tar), 100, 100, &out, why), ERR_NOT_IMPLEMENTED);
    assert_non_null(strstr(why, "hard link: hard"));
    pack_stored(&zip, true);
    zip.p[6] |= 1;
    assert_int_equal(run(arc_converter(ARC_TAR), buf_str(&zip), 100, 100, &out, why), ERR_NOT_IMPLEMENTED);
    assert_non_null(strstr(why, "encrypted file: first.txt"));
    buf_reset(&out);
    assert_int_equal(run(arc_extractor(STR("last")), buf_str(&zip), 100, 100, &out, why), ERR_OK);
    assert_true(str_eq(buf_str(&out), files[11].bytes));
    buf_release(&tar);
    buf_release(&zip);
    buf_release(&out);
}

static void members_are_extracted(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        struct buf packed = BUF_INIT(ROOM);
        la_pack(&packed, kinds[k].format, kinds[k].filter, kinds[k].options, files, FILES);
        for (int i = 0; i < FILES; i++)
            for (int w = 0; w < 2; w++) {
                struct buf out = BUF_INIT(ROOM);
                char name[512];
                snprintf(name, sizeof(name), "%s%s", i % 3 == 0 ? "./" : i % 3 == 1 ? "/" : "", files[i].name);
                enum err e = run(arc_extractor(str_z(name)), buf_str(&packed), steps[w].in, steps[w].out, &out, NULL);
                assert_int_equal(e, files[i].type == AE_IFREG ? ERR_OK : ERR_NO_SUCH_MEMBER);
                if (e == ERR_OK)
                    assert_true(str_eq(buf_str(&out), files[i].bytes));
                buf_release(&out);
            }
        buf_release(&packed);
    }
}

/* The first of a name counts, and what follows it is not looked at, whatever the pieces. */
static void the_first_of_a_name_is_extracted(void **state)
{
    struct file same[3] = {{"a", AE_IFREG, STR("one")}, {"a", AE_IFREG, STR("three")}, {"b", AE_IFREG, STR("b")}};

    (void)state;
    for (size_t step = 1; step < 5000; step += 97) {
        struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
        la_pack(&packed, ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FILTER_NONE, NULL, same, 3);
        memset(packed.p + 1024, 'x', 512); /* the second header */
        assert_int_equal(run(arc_extractor(STR("a")), buf_str(&packed), step, 100, &out, NULL), ERR_OK);
        assert_true(str_eq(buf_str(&out), STR("one")));
        buf_release(&packed);
        buf_release(&out);
    }
}

static void a_bomb_unpacks_in_steps(void **state)
{
    struct buf packed = BUF_INIT(ROOM);
    char *zeros = mem_new(1 << 20), *room = mem_alloc(1000);
    struct arc_coder *c = arc_compressor(ARC_CODEC_GZIP), *d;

    (void)state;
    for (int i = 0; i < 200; i++) { /* 200 MiB that become 900 KiB */
        struct arc_coder_io io = {.in = zeros, .in_n = 1 << 20, .in_ended = i == 199};
        while (io.in_n && !io.ended) {
            io.out = buf_reserve(&packed, 1 << 16);
            io.out_n = 1 << 16;
            assert_int_equal(arc_coder_run(c, &io), ERR_OK);
            buf_commit(&packed, io.out_made);
            io.in += io.in_used;
            io.in_n -= io.in_used;
        }
    }
    arc_coder_free(c);
    d = arc_decompressor(ARC_CODEC_GZIP, true);
    struct arc_coder_io io = {.in = packed.p, .in_n = packed.n, .out = room, .out_n = 1000};
    assert_int_equal(arc_coder_run(d, &io), ERR_OK);
    assert_int_equal(io.out_made, 1000);
    assert_true(io.in_used < packed.n);
    arc_coder_free(d);
    buf_release(&packed);
    free(zeros);
    free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressed_is_read_by_others_and_by_us),
        cmocka_unit_test(what_others_compressed_is_read),
        cmocka_unit_test(two_streams_are_one_and_garbage_is_told),
        cmocka_unit_test(cut_off_anywhere_is_an_error),
        cmocka_unit_test(damage_does_no_harm),
        cmocka_unit_test(archives_of_all_kinds_are_converted),
        cmocka_unit_test(zips_with_sizes_in_front_or_behind),
        cmocka_unit_test(empty_archives_are_archives),
        cmocka_unit_test(what_is_no_archive_is_refused),
        cmocka_unit_test(archives_that_are_cut_off_are_refused),
        cmocka_unit_test(links_and_what_the_directory_says_otherwise),
        cmocka_unit_test(hard_links_and_encrypted_files_are_told),
        cmocka_unit_test(members_are_extracted),
        cmocka_unit_test(the_first_of_a_name_is_extracted),
        cmocka_unit_test(a_bomb_unpacks_in_steps),
    };

    hash_setup();
    setlocale(LC_CTYPE, "C.UTF-8"); /* libarchive's names */
    return cmocka_run_group_tests(tests, make_files, drop_files);
}
