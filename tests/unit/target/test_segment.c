#include "unit.h"

#include <errno.h>
#include <sys/mount.h>

#include "base/mem.h"
#include "base/hash.h"
#include "target/segment_cipher.h"
#include "target_dir.h"

/* ---- calls of segment.c that can be made to fail (linked with --wrap) ---- */

enum fault { FAULT_NONE, FAULT_FSYNC, FAULT_FDATASYNC, FAULT_LINK, FAULT_PWRITE, FAULT_SHORT_PWRITE };
static enum fault fault;
static int syncs;

int __real_fsync(int fd);
int __real_fdatasync(int fd);
int __real_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);

static bool fails(enum fault which)
{
    errno = EIO;
    return fault == which;
}

int __wrap_fsync(int fd)
{
    syncs++;
    return fails(FAULT_FSYNC) ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    syncs++;
    return fails(FAULT_FDATASYNC) ? -1 : __real_fdatasync(fd);
}

int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    return fails(FAULT_LINK) ? -1 : __real_linkat(from_fd, from, to_fd, to, flags);
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (fault == FAULT_SHORT_PWRITE && n > 1000)
        n = 1000;
    return fails(FAULT_PWRITE) ? -1 : __real_pwrite(fd, p, n, at);
}

/* ---- */

struct fixture {
    struct test_dir tmp;
    struct segment_dir *dir;
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);

    hash_setup();
    test_dir_make(&f->tmp);
    assert_int_equal(segment_dir_open(str_z(f->tmp.path), true, &f->dir), ERR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    segment_dir_close(f->dir);
    test_dir_remove(&f->tmp);
    free(f);
    return 0;
}

/* Stages and seals n bytes in uneven pieces. */
static struct segment_id put(struct segment_dir *d, const char *p, size_t n, struct str desc)
{
    struct segment_staged s;

    assert_int_equal(segment_stage(d, n, &s), ERR_OK);
    for (size_t at = 0, step; at < n; at += step) {
        step = at % 7 ? 300001 : 70003;
        if (step > n - at)
            step = n - at;
        assert_int_equal(segment_write(&s, p + at, step), ERR_OK);
    }
    assert_int_equal(s.size, n);
    assert_int_equal(segment_seal(&s, desc), ERR_OK);
    assert_int_equal(s.fd, -1);
    return s.id;
}

static int path_of(struct fixture *f, const struct segment_id *id, char *out, size_t n)
{
    char rel[SEGMENT_PATH_MAX];

    segment_path(id, rel);
    return snprintf(out, n, "%s/%s", f->tmp.path, rel);
}

static void flip(struct fixture *f, const struct segment_id *id, uint64_t at)
{
    char path[600], c;

    path_of(f, id, path, sizeof(path));
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
    c ^= 0x10;
    assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

static uint64_t file_size(struct fixture *f, const struct segment_id *id)
{
    char path[600];
    struct stat st;

    path_of(f, id, path, sizeof(path));
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static enum err footer(struct fixture *f, const struct segment_id *id, struct segment_footer *out)
{
    int fd;
    enum err e;

    assert_int_equal(segment_open(f->dir, id, &fd), ERR_OK);
    e = segment_footer_read(f->dir, fd, id, out);
    close(fd);
    return e;
}

static enum err verify(struct fixture *f, const struct segment_id *id, uint64_t offset, uint64_t len, uint64_t *bad)
{
    struct segment_footer ft;
    int fd;
    enum err e;

    assert_int_equal(segment_open(f->dir, id, &fd), ERR_OK);
    assert_int_equal(segment_footer_read(f->dir, fd, id, &ft), ERR_OK);
    e = segment_verify(f->dir, fd, &ft, offset, len, bad);
    segment_footer_release(&ft);
    close(fd);
    return e;
}

/* ---- encrypted content ---- */

static const struct keyring *keys_of(struct fixture *f, const char *text)
{
    static struct keyring rings[4];
    static unsigned next;
    struct keyring *k = &rings[next++ % 4];
    char why[KEYRING_WHY_MAX];

    assert_int_equal(keyring_parse(str_z(text), k, why), ERR_OK);
    segment_dir_set_keys(f->dir, k);
    return k;
}

static struct segment_id put_encrypted(struct segment_dir *d, const char *p, size_t n)
{
    struct segment_staged s;
    struct digest made, want;
    struct hash md5;

    hash_init(&md5, HASH_MD5);
    assert_int_equal(segment_stage_encrypted(d, n, &s), ERR_OK);
    assert_true(segment_id_encrypted(&s.id));
    for (size_t at = 0, step; at < n; at += step) {
        step = at % 7 ? 300001 : 70003;
        if (step > n - at)
            step = n - at;
        assert_int_equal(segment_write_hashed(&s, p + at, step, &md5, 1), ERR_OK);
    }
    assert_int_equal(segment_seal(&s, STR("told")), ERR_OK);
    assert_int_equal(s.size, n);
    hash_final(&md5, &made);
    hash_of(HASH_MD5, str_n(p, n), &want); /* of the content, not of what is written */
    assert_true(digest_eq(&made, &want));
    return s.id;
}

static enum err opened(struct fixture *f, const struct segment_id *id, char *out, size_t n)
{
    struct segment_footer ft;
    uint8_t key[SEAL_KEY];
    enum err e;
    int fd;

    assert_int_equal(segment_open(f->dir, id, &fd), ERR_OK);
    assert_int_equal(segment_footer_read(f->dir, fd, id, &ft), ERR_OK);
    assert_int_equal(ft.size, n);
    assert_true(str_eq(ft.desc, STR("told")));
    assert_non_null(ft.tags);
    assert_int_equal(pread(fd, out, n, 0), (ssize_t)n);
    if ((e = segment_cipher_key(f->dir, &ft, key)) == ERR_OK)
        e = segment_cipher_open(f->dir, &ft, key, 0, out, n);
    segment_footer_release(&ft);
    close(fd);
    return e;
}

static void encrypted_content_comes_back(void **state)
{
    static const size_t sizes[] = {1,          SEAL_CHUNK - 1,    SEAL_CHUNK,        SEAL_CHUNK + 1,
                                   100 * 1000, SEGMENT_BLOCK - 1, SEGMENT_BLOCK + 1, 3 * SEGMENT_BLOCK + 5};
    enum { MAX = 3 * SEGMENT_BLOCK + 5 };
    struct fixture *f = *state;
    char *plain = mem_alloc(MAX), *got = mem_alloc(MAX);
    struct segment_staged s;

    assert_int_equal(segment_stage_encrypted(f->dir, 0, &s), ERR_NOT_IMPLEMENTED); /* no keys */
    keys_of(f, "a-master-key-that-is-long-enough-1");
    for (size_t i = 0; i < MAX; i++)
        plain[i] = (char)(i * 31 + i / 1000);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct segment_id id = put_encrypted(f->dir, plain, sizes[i]);
        assert_int_equal(verify(f, &id, 0, sizes[i], NULL), ERR_OK);
        assert_int_equal(opened(f, &id, got, sizes[i]), ERR_OK);
        assert_memory_equal(got, plain, sizes[i]);
    }
    free(plain);
    free(got);
}

static void small_content_is_encrypted_in_the_index(void **state)
{
    static const size_t sizes[] = {1, 100, SEAL_CHUNK};
    struct fixture *f = *state;
    char *plain = mem_new(SEAL_CHUNK), *kept = mem_alloc(SEAL_CHUNK + INLINE_CIPHER_EXTRA),
         *got = mem_alloc(SEAL_CHUNK);
    struct segment_id id, other;

    segment_id_new(&id);
    segment_id_new(&other);
    assert_int_equal(inline_cipher_close(f->dir, &id, str_n(plain, 1), kept), ERR_NOT_IMPLEMENTED);
    keys_of(f, "a-master-key-that-is-long-enough-1");
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct str all = str_n(kept, sizes[i] + INLINE_CIPHER_EXTRA);
        assert_int_equal(inline_cipher_close(f->dir, &id, str_n(plain, sizes[i]), kept), ERR_OK);
        assert_true(segment_id_encrypted(&id) && all.n == inline_cipher_kept(&id, sizes[i]));
        assert_int_equal(inline_cipher_open(f->dir, &id, all, got), ERR_OK);
        assert_memory_equal(got, plain, sizes[i]);
        assert_int_equal(inline_cipher_open(f->dir, &other, all, got), ERR_CORRUPT);
        for (size_t at = 0; at < all.n; at += at < sizes[i] ? sizes[i] / 3 + 1 : 7) {
            kept[at] ^= 4; /* a byte of the key's name makes it another key's */
            enum err e = inline_cipher_open(f->dir, &id, all, got);
            assert_true(e == ERR_CORRUPT || e == ERR_IO);
            kept[at] ^= 4;
        }
    }
    for (size_t n = 0; n <= INLINE_CIPHER_EXTRA; n++)
        assert_int_equal(inline_cipher_open(f->dir, &id, str_n(kept, n), got), ERR_CORRUPT);
    free(plain);
    free(kept);
    free(got);
}

static void encrypted_content_wants_its_key(void **state)
{
    struct fixture *f = *state;
    char *plain = calloc(200, 1000), *got = mem_alloc(200 * 1000);
    struct segment_id id, other;

    keys_of(f, "a-master-key-that-is-long-enough-1");
    id = put_encrypted(f->dir, plain, 200 * 1000);
    other = put_encrypted(f->dir, plain, 200 * 1000);
    assert_false(segment_id_cmp(&id, &other) == 0);
    keys_of(f, "a-master-key-that-is-long-enough-2\na-master-key-that-is-long-enough-1");
    assert_int_equal(opened(f, &id, got, 200 * 1000), ERR_OK);
    keys_of(f, "a-master-key-that-is-long-enough-2");
    assert_int_equal(opened(f, &id, got, 200 * 1000), ERR_IO);
    keys_of(f, "a-master-key-that-is-long-enough-1");
    flip(f, &id, 150 * 1000);
    assert_int_equal(opened(f, &id, got, 200 * 1000), ERR_CORRUPT);
    segment_dir_set_keys(f->dir, NULL);
    assert_int_equal(opened(f, &other, got, 200 * 1000), ERR_IO);
    free(plain);
    free(got);
}

static void sealed_content_comes_back_with_footer(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {
        0, 1, 4096, SEGMENT_BLOCK - 1, SEGMENT_BLOCK, SEGMENT_BLOCK + 1, 3 * SEGMENT_BLOCK, 3 * SEGMENT_BLOCK + 77};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        size_t n = sizes[i];
        char *p = test_content(n, i), *q = mem_alloc(n);
        struct segment_id id = put(f->dir, p, n, STR("what \0 it is"));
        struct segment_footer ft;
        int fd;
        assert_int_equal(segment_open(f->dir, &id, &fd), ERR_OK);
        assert_int_equal(pread(fd, q, n, 0), (ssize_t)n);
        assert_memory_equal(p, q, n);
        assert_int_equal(segment_footer_read(f->dir, fd, &id, &ft), ERR_OK);
        assert_int_equal(ft.size, n);
        assert_true(str_eq(ft.desc, STR("what \0 it is")));
        assert_int_equal(ft.block_count, (n + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK);
        for (size_t b = 0; b < ft.block_count; b++) {
            size_t at = b * SEGMENT_BLOCK, len = n - at < SEGMENT_BLOCK ? n - at : SEGMENT_BLOCK;
            assert_int_equal(ft.blocks[b], hash_place(str_n(p + at, len), 0));
        }
        assert_int_equal(segment_verify(f->dir, fd, &ft, 0, n, NULL), ERR_OK);
        segment_footer_release(&ft);
        close(fd);
        free(p);
        free(q);
    }
    assert_int_equal(test_files_below(f->tmp.path), (int)(sizeof(sizes) / sizeof(*sizes)));
}

static void without_tmpfile_a_named_file_is_staged(void **state)
{
    struct fixture *f = *state;
    struct segment_staged s;
    struct segment_footer ft;
    char staging[300];

    segment_dir_use_names(f->dir);
    snprintf(staging, sizeof(staging), "%s/staging", f->tmp.path);
    assert_int_equal(segment_stage(f->dir, 0, &s), ERR_OK);
    assert_int_equal(test_files_below(staging), 1);
    assert_int_equal(segment_write(&s, "hello", 5), ERR_OK);
    assert_int_equal(segment_seal(&s, STR("d")), ERR_OK);
    assert_int_equal(test_files_below(staging), 0);
    assert_int_equal(footer(f, &s.id, &ft), ERR_OK);
    segment_footer_release(&ft);
    assert_int_equal(segment_stage(f->dir, 0, &s), ERR_OK);
    segment_discard(&s);
    assert_int_equal(test_files_below(staging), 0);
    /* a crash leaves one behind: the next start removes it */
    assert_int_equal(segment_stage(f->dir, 0, &s), ERR_OK);
    close(s.fd);
    segment_dir_close(f->dir);
    assert_int_equal(segment_dir_open(str_z(f->tmp.path), false, &f->dir), ERR_OK);
    assert_int_equal(test_files_below(staging), 0);
}

static void discarded_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct segment_staged s, none = SEGMENT_STAGED_NONE;
    int fds = test_open_fds();

    assert_int_equal(segment_stage(f->dir, 4 << 20, &s), ERR_OK);
    assert_int_equal(segment_write(&s, "hello", 5), ERR_OK);
    segment_discard(&s);
    segment_discard(&s);
    segment_discard(&none);
    assert_int_equal(test_files_below(f->tmp.path), 0);
    assert_int_equal(test_open_fds(), fds);
}

static void flipped_bit_in_content_is_found(void **state)
{
    struct fixture *f = *state;
    size_t n = 3 * SEGMENT_BLOCK + 10;
    char *p = test_content(n, 1);
    struct segment_id id = put(f->dir, p, n, STR("x"));
    uint64_t bad = 99;

    flip(f, &id, 2 * SEGMENT_BLOCK + 5);
    assert_int_equal(verify(f, &id, 0, n, &bad), ERR_CORRUPT);
    assert_int_equal(bad, 2);
    assert_int_equal(verify(f, &id, 0, 2 * SEGMENT_BLOCK, NULL), ERR_OK);
    assert_int_equal(verify(f, &id, 2 * SEGMENT_BLOCK - 1, 1, NULL), ERR_OK);
    assert_int_equal(verify(f, &id, 2 * SEGMENT_BLOCK - 1, 2, NULL), ERR_CORRUPT);
    assert_int_equal(verify(f, &id, 3 * SEGMENT_BLOCK, 10, NULL), ERR_OK);
    assert_int_equal(verify(f, &id, 3 * SEGMENT_BLOCK, 11, NULL), ERR_CORRUPT); /* more than there is */
    assert_int_equal(verify(f, &id, UINT64_MAX, 2, NULL), ERR_CORRUPT);
    free(p);
}

static void flipped_bit_anywhere_in_footer_is_found(void **state)
{
    struct fixture *f = *state;
    char *p = test_content(SEGMENT_BLOCK + 3, 1);
    struct segment_id id = put(f->dir, p, SEGMENT_BLOCK + 3, STR("bucket and key"));
    struct segment_footer ft;

    for (uint64_t at = SEGMENT_BLOCK + 3; at < file_size(f, &id); at++) {
        flip(f, &id, at);
        assert_int_equal(footer(f, &id, &ft), ERR_CORRUPT);
        flip(f, &id, at);
    }
    assert_int_equal(footer(f, &id, &ft), ERR_OK);
    segment_footer_release(&ft);
    free(p);
}

static void truncated_or_swapped_file_is_found(void **state)
{
    struct fixture *f = *state;
    struct segment_id a = put(f->dir, "aaaa", 4, STR("A")), b = put(f->dir, "bbbb", 4, STR("B"));
    struct segment_footer ft;
    char pa[600], pb[600];
    int fd;

    path_of(f, &a, pa, sizeof(pa));
    path_of(f, &b, pb, sizeof(pb));
    for (off_t cut = (off_t)file_size(f, &a) - 1; cut >= 0; cut -= 7) {
        assert_int_equal(truncate(pa, cut), 0);
        assert_int_equal(footer(f, &a, &ft), ERR_CORRUPT);
    }
    assert_int_equal(rename(pb, pa), 0);
    assert_int_equal(footer(f, &a, &ft), ERR_CORRUPT);
    assert_int_equal(segment_unlink(f->dir, &a), ERR_OK);
    assert_int_equal(segment_unlink(f->dir, &a), ERR_NOT_FOUND);
    assert_int_equal(segment_open(f->dir, &a, &fd), ERR_NOT_FOUND);
}

static void ids_sort_by_age_and_parse_back(void **state)
{
    struct segment_id a, b, c;
    char hex[SEGMENT_ID_HEX];

    (void)state;
    segment_id_new(&a);
    usleep(3000);
    segment_id_new(&b);
    assert_true(segment_id_cmp(&a, &b) < 0);
    assert_true(segment_id_ms(&b) - segment_id_ms(&a) < 10000);
    segment_id_hex(&a, hex);
    assert_true(segment_id_parse(str_n(hex, sizeof(hex)), &c));
    assert_int_equal(segment_id_cmp(&a, &c), 0);
    assert_false(segment_id_parse(str_n(hex, 31), &c));
    hex[3] = 'g';
    assert_false(segment_id_parse(str_n(hex, sizeof(hex)), &c));
}

struct walk {
    int count, stop_at;
    uint64_t bytes;
};

static enum err count(void *arg, const struct segment_seen *seen)
{
    struct walk *w = arg;

    w->bytes += seen->file_size;
    assert_true(seen->mtime_ns > 0);
    return ++w->count == w->stop_at ? ERR_CANCELLED : ERR_OK;
}

static void each_sees_all_and_passes_over_strangers(void **state)
{
    struct fixture *f = *state;
    struct walk w = {0};
    char path[600];
    uint64_t bytes = 0;

    for (int i = 0; i < 40; i++) {
        struct segment_id id = put(f->dir, "12345678", (size_t)i % 8, STR("d"));
        bytes += file_size(f, &id);
    }
    snprintf(path, sizeof(path), "%s/segments/zz", f->tmp.path);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/segments/00", f->tmp.path);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/segments/00/lost", f->tmp.path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(segment_each(f->dir, count, &w), ERR_OK);
    assert_int_equal(w.count, 40);
    assert_int_equal(w.bytes, bytes);
    w = (struct walk){.stop_at = 3};
    assert_int_equal(segment_each(f->dir, count, &w), ERR_CANCELLED);
    assert_int_equal(w.count, 3);
}

static void full_disk_is_no_space_and_leaves_nothing(void **state)
{
    struct test_dir tmp;
    struct segment_dir *d;
    struct segment_staged s;
    enum err e;
    char *p;

    (void)state;
    test_dir_make(&tmp);
    if (mount("none", tmp.path, "tmpfs", 0, "size=4m") != 0) {
        test_dir_remove(&tmp);
        skip(); /* needs the right to mount */
    }
    assert_int_equal(segment_dir_open(str_z(tmp.path), true, &d), ERR_OK);
    assert_int_equal(segment_stage(d, 8 << 20, &s), ERR_NO_SPACE);
    assert_int_equal(segment_stage(d, 0, &s), ERR_OK);
    p = test_content(SEGMENT_BLOCK, 3);
    while ((e = segment_write(&s, p, SEGMENT_BLOCK)) == ERR_OK)
        assert_true(s.size < (8 << 20));
    assert_int_equal(e, ERR_NO_SPACE);
    assert_int_equal(segment_write(&s, p, 1), ERR_IO);
    assert_int_equal(segment_seal(&s, STR("d")), ERR_IO);
    assert_int_equal(test_files_below(tmp.path), 0);
    /* all freed again */
    assert_int_equal(segment_stage(d, 3 << 20, &s), ERR_OK);
    segment_discard(&s);
    segment_dir_close(d);
    umount2(tmp.path, MNT_DETACH);
    rmdir(tmp.path);
    free(p);
}

static void failed_call_is_an_error_and_leaves_nothing(void **state)
{
    static const enum fault faults[] = {FAULT_FSYNC, FAULT_FDATASYNC, FAULT_LINK, FAULT_PWRITE};
    struct fixture *f = *state;
    int fds = test_open_fds();

    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        struct segment_staged s;
        assert_int_equal(segment_stage(f->dir, 0, &s), ERR_OK);
        assert_int_equal(segment_write(&s, "hello", 5), ERR_OK);
        fault = faults[i];
        assert_int_equal(segment_seal(&s, STR("d")), ERR_IO);
        fault = FAULT_NONE;
        assert_int_equal(s.fd, -1);
        assert_int_equal(test_files_below(f->tmp.path), 0);
    }
    assert_true(test_open_fds() - fds <= 4); /* fan-out directories stay open */
}

static void short_writes_are_continued(void **state)
{
    struct fixture *f = *state;
    char *p = test_content(100000, 4);
    struct segment_footer ft;
    struct segment_id id;

    fault = FAULT_SHORT_PWRITE;
    id = put(f->dir, p, 100000, STR("desc"));
    fault = FAULT_NONE;
    assert_int_equal(footer(f, &id, &ft), ERR_OK);
    segment_footer_release(&ft);
    assert_int_equal(verify(f, &id, 0, 100000, NULL), ERR_OK);
    free(p);
}

static void fan_out_directory_that_is_not_durable_is_made_again(void **state)
{
    struct fixture *f = *state;
    struct segment_staged s, t;

    assert_int_equal(segment_stage(f->dir, 0, &s), ERR_OK);
    assert_int_equal(segment_stage(f->dir, 0, &t), ERR_OK);
    t.id.b[SEGMENT_ID_LEN - 1] = s.id.b[SEGMENT_ID_LEN - 1]; /* same directory */
    fault = FAULT_FSYNC;
    assert_int_equal(segment_seal(&s, STR("d")), ERR_IO);
    fault = FAULT_NONE;
    syncs = 0;
    assert_int_equal(segment_seal(&t, STR("d")), ERR_OK);
    assert_int_equal(syncs, 3); /* file, segments/, fan-out directory */
}

static void async_never_syncs(void **state)
{
    struct fixture *f = *state;

    segment_dir_close(f->dir);
    syncs = 0;
    assert_int_equal(segment_dir_open(str_z(f->tmp.path), false, &f->dir), ERR_OK);
    put(f->dir, "12345", 5, STR("d"));
    assert_int_equal(syncs, 0);
}

/* Aligned pieces as an upload gives them, then a tail that no direct write can take. */
static void large_content_goes_around_the_page_cache(void **state)
{
    struct fixture *f = *state;
    enum { PIECE = 512 << 10, N = 5 * PIECE + 1234 };
    char *content = test_content(N, 3), *pieces = mem_aligned(DIRECT_ALIGN, 6 * PIECE), *back = mem_alloc(N);
    struct segment_staged s;
    struct digest md5[2];
    struct hash also;
    unsigned under_way;
    int fd;

    memcpy(pieces, content, N);
    hash_init(&also, HASH_MD5);
    assert_int_equal(segment_stage(f->dir, N, &s), ERR_OK);
    if (!s.direct)
        print_message("no direct writes on this file system\n");
    for (size_t at = 0; at < N; at += PIECE) {
        size_t n = N - at < PIECE ? N - at : PIECE;
        assert_int_equal(segment_write_hashed(&s, pieces + at, n, &also, 1), ERR_OK);
        assert_int_equal(segment_settle(&s, &under_way, DIRECT_DEPTH - 1), ERR_OK);
        assert_true(under_way < DIRECT_DEPTH);
    }
    assert_int_equal(segment_settle(&s, &under_way, 0), ERR_OK);
    assert_int_equal(under_way, 0);
    assert_false(s.direct); /* the tail ended that */
    assert_int_equal(segment_seal(&s, STR("d")), ERR_OK);
    hash_final(&also, &md5[0]);
    hash_of(HASH_MD5, str_n(content, N), &md5[1]);
    assert_true(digest_eq(&md5[0], &md5[1]));
    assert_int_equal(verify(f, &s.id, 0, N, NULL), ERR_OK);
    assert_int_equal(segment_open(f->dir, &s.id, &fd), ERR_OK);
    assert_int_equal(pread(fd, back, N, 0), N);
    assert_memory_equal(back, content, N);
    close(fd);
    free(back);
    free(pieces);
    free(content);
}

static void less_than_announced_is_sealed_at_its_length(void **state)
{
    struct fixture *f = *state;
    char *p = test_content(SEGMENT_BLOCK, 1);
    struct segment_staged s;

    assert_int_equal(segment_stage(f->dir, 9 * SEGMENT_BLOCK, &s), ERR_OK);
    assert_int_equal(segment_write(&s, p, SEGMENT_BLOCK), ERR_OK);
    assert_int_equal(segment_seal(&s, STR("d")), ERR_OK);
    assert_int_equal(verify(f, &s.id, 0, SEGMENT_BLOCK, NULL), ERR_OK);
    assert_true(file_size(f, &s.id) < SEGMENT_BLOCK + 4096);
    free(p);
}

static void unusable_mountpath_is_refused(void **state)
{
    struct segment_dir *d;

    (void)state;
    assert_int_equal(segment_dir_open(STR("/nowhere/at/all"), true, &d), ERR_NOT_FOUND);
    assert_int_not_equal(segment_dir_open(STR("/dev/null"), true, &d), ERR_OK);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    static const struct CMUnitTest tests[] = {
        CASE(encrypted_content_comes_back),
        CASE(encrypted_content_wants_its_key),
        CASE(small_content_is_encrypted_in_the_index),
        CASE(sealed_content_comes_back_with_footer),
        CASE(without_tmpfile_a_named_file_is_staged),
        CASE(discarded_leaves_nothing),
        CASE(flipped_bit_in_content_is_found),
        CASE(flipped_bit_anywhere_in_footer_is_found),
        CASE(truncated_or_swapped_file_is_found),
        CASE(ids_sort_by_age_and_parse_back),
        CASE(each_sees_all_and_passes_over_strangers),
        CASE(failed_call_is_an_error_and_leaves_nothing),
        CASE(short_writes_are_continued),
        CASE(fan_out_directory_that_is_not_durable_is_made_again),
        CASE(async_never_syncs),
        CASE(large_content_goes_around_the_page_cache),
        CASE(less_than_announced_is_sealed_at_its_length),
        cmocka_unit_test(full_disk_is_no_space_and_leaves_nothing),
        cmocka_unit_test(unusable_mountpath_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
