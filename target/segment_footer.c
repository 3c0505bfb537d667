#include "target/segment_footer.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "target/segment_cipher.h"

enum err segment_failed(const struct segment_dir *d, const struct segment_id *id, const char *event)
{
    int errnum = errno;
    char path[SEGMENT_PATH_MAX];

    segment_dir_failed(d, errnum);
    segment_path(id, path);
    log_error(STR_NONE, event, "mountpath=%s segment=%s errno=%s", log_quote(segment_dir_path(d)), path,
              strerrorname_np(errnum));
    return err_from_errno(errnum);
}

enum err segment_corrupt(const struct segment_dir *d, const struct segment_id *id, const char *what)
{
    char path[SEGMENT_PATH_MAX];

    segment_path(id, path);
    log_error(STR_NONE, "segment damaged", "mountpath=%s segment=%s what=\"%s\"", log_quote(segment_dir_path(d)), path,
              what);
    return ERR_CORRUPT;
}

bool segment_pwrite(int fd, const char *p, size_t n, uint64_t at)
{
    while (n) {
        ssize_t done = pwrite(fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            errno = done < 0 ? errno : EIO;
            return false;
        }
        p += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return true;
}

uint64_t segment_hash64(const struct digest *d)
{
    uint64_t v;

    memcpy(&v, d->b, sizeof(v));
    return be64toh(v);
}

/* ---- footer: block hashes, of encrypted content tags and its wrapped key, description, tail ---- */

enum { FORMAT_PLAIN = 1, FORMAT_ENCRYPTED = 2, BLOCK_SHIFT = 20 };
_Static_assert(SEGMENT_BLOCK == 1 << BLOCK_SHIFT, "the block size is stored as its logarithm");

static const uint8_t magic[8] = "SLUICEsg";

/* The last bytes of the file. Integers are big-endian. */
struct tail {
    uint8_t id[SEGMENT_ID_LEN];
    uint64_t size;
    uint32_t desc_len;
    uint32_t version;
    uint32_t block_shift;
    uint8_t unused[12];
    uint64_t check; /* xxh3 of the footer up to here */
    uint8_t magic[8];
};
_Static_assert(sizeof(struct tail) == 64, "the tail has no padding");

static size_t blocks_in(uint64_t size)
{
    return (size_t)((size + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK);
}

/* Bytes of a footer before its description. */
static size_t head_bytes(uint64_t size, bool encrypted)
{
    return blocks_in(size) * sizeof(uint64_t) +
           (encrypted ? (size_t)seal_chunks(size) * SEAL_TAG + KEYRING_WRAPPED : 0);
}

static uint64_t footer_check(struct str body, const struct tail *t)
{
    struct digest d;
    struct hash h;

    hash_init(&h, HASH_XXH3);
    hash_update(&h, body.p, body.n);
    hash_update(&h, t, offsetof(struct tail, check));
    hash_final(&h, &d);
    return segment_hash64(&d);
}

bool segment_footer_write(struct segment_staged *s, struct str desc)
{
    size_t head = head_bytes(s->size, s->cipher != NULL), body = head + desc.n;
    char *mem = mem_alloc(body + sizeof(struct tail));
    struct tail t = {.size = htobe64(s->size),
                     .desc_len = htobe32((uint32_t)desc.n),
                     .version = htobe32(s->cipher ? FORMAT_ENCRYPTED : FORMAT_PLAIN),
                     .block_shift = htobe32(BLOCK_SHIFT)};
    bool ok;

    for (size_t i = 0; i < s->block_count; i++) {
        uint64_t be = htobe64(s->blocks[i]);
        memcpy(mem + i * sizeof(be), &be, sizeof(be));
    }
    if (s->cipher) {
        memcpy(mem + head - KEYRING_WRAPPED, s->cipher->wrapped, KEYRING_WRAPPED);
        if (s->cipher->chunks)
            memcpy(mem + s->block_count * sizeof(uint64_t), s->cipher->tags, (size_t)s->cipher->chunks * SEAL_TAG);
    }
    if (desc.n)
        memcpy(mem + head, desc.p, desc.n);
    memcpy(t.id, s->id.b, SEGMENT_ID_LEN);
    t.check = htobe64(footer_check(str_n(mem, body), &t));
    memcpy(t.magic, magic, sizeof(magic));
    memcpy(mem + body, &t, sizeof(t));
    ok = segment_pwrite(s->fd, mem, body + sizeof(t), s->size);
    free(mem);
    return ok;
}

/* ---- reading and verifying ---- */

/* All n bytes; false with errno, 0 = the file ends before. */
static bool read_all(int fd, char *p, size_t n, uint64_t at)
{
    while (n) {
        ssize_t got = pread(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : 0;
            return false;
        }
        p += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return true;
}

/* Whether the tail fits a file of this size, so that its lengths can be trusted for an allocation. NULL: it does. */
static const char *tail_wrong(const struct tail *t, const struct segment_id *id, uint64_t file_size)
{
    uint64_t size = be64toh(t->size), desc = be32toh(t->desc_len);
    uint32_t version = be32toh(t->version);

    if (memcmp(t->magic, magic, sizeof(magic)) != 0)
        return "no footer";
    if ((version != FORMAT_PLAIN && version != FORMAT_ENCRYPTED) || be32toh(t->block_shift) != BLOCK_SHIFT)
        return "unknown format";
    if (memcmp(t->id, id->b, SEGMENT_ID_LEN) != 0)
        return "footer of another segment";
    if (size > SEGMENT_SIZE_MAX || desc > SEGMENT_DESC_MAX ||
        size + head_bytes(size, version == FORMAT_ENCRYPTED) + desc + sizeof(*t) != file_size)
        return "lengths";
    return NULL;
}

enum err segment_footer_read(struct segment_dir *d, int fd, const struct segment_id *id, struct segment_footer *out)
{
    struct segment_footer f = {.id = *id};
    struct stat st;
    struct tail t;
    const char *wrong;

    if (fstat(fd, &st) != 0)
        return segment_failed(d, id, "segment read failed");
    if ((uint64_t)st.st_size < sizeof(t))
        return segment_corrupt(d, id, "no footer");
    if (!read_all(fd, (char *)&t, sizeof(t), (uint64_t)st.st_size - sizeof(t)))
        return errno ? segment_failed(d, id, "segment read failed") : segment_corrupt(d, id, "truncated");
    if ((wrong = tail_wrong(&t, id, (uint64_t)st.st_size)) != NULL)
        return segment_corrupt(d, id, wrong);
    f.size = be64toh(t.size);
    f.block_count = blocks_in(f.size);
    bool encrypted = be32toh(t.version) == FORMAT_ENCRYPTED;
    size_t head = head_bytes(f.size, encrypted), body = head + be32toh(t.desc_len);
    f.mem = mem_alloc(body);
    f.blocks = f.mem;
    f.desc = str_n((char *)f.mem + head, body - head);
    if (encrypted) {
        f.tags = (const uint8_t *)(f.blocks + f.block_count);
        f.wrapped = (const uint8_t *)f.mem + head - KEYRING_WRAPPED;
    }
    if (!read_all(fd, f.mem, body, f.size)) {
        enum err e = errno ? segment_failed(d, id, "segment read failed") : segment_corrupt(d, id, "truncated");
        free(f.mem);
        return e;
    }
    if (footer_check(str_n(f.mem, body), &t) != be64toh(t.check)) {
        free(f.mem);
        return segment_corrupt(d, id, "footer checksum");
    }
    for (size_t i = 0; i < f.block_count; i++)
        f.blocks[i] = be64toh(f.blocks[i]);
    *out = f;
    return ERR_OK;
}

void segment_footer_release(struct segment_footer *f)
{
    free(f->mem);
    *f = (struct segment_footer){0};
}

enum { VERIFY_STEP = 64 * 1024 }; /* small enough to come from malloc's heap, not from a fresh mapping */

/* xxh3 of content [at, end), through `buf` of VERIFY_STEP bytes. False: see read_all(). */
static bool block_hash(int fd, char *buf, uint64_t at, uint64_t end, uint64_t *out)
{
    struct digest digest;
    struct hash h;

    hash_init(&h, HASH_XXH3);
    while (at < end) {
        size_t n = end - at < VERIFY_STEP ? (size_t)(end - at) : VERIFY_STEP;
        if (!read_all(fd, buf, n, at)) {
            hash_drop(&h);
            return false;
        }
        hash_update(&h, buf, n);
        at += n;
    }
    hash_final(&h, &digest);
    *out = segment_hash64(&digest);
    return true;
}

enum err segment_verify(struct segment_dir *d, int fd, const struct segment_footer *f, uint64_t offset, uint64_t len,
                        uint64_t *bad)
{
    uint64_t first = offset / SEGMENT_BLOCK, end, hash;
    enum err e = ERR_OK;
    char *buf;

    if (offset > f->size || len > f->size - offset)
        return segment_corrupt(d, &f->id, "shorter than its record says");
    if (len == 0)
        return ERR_OK;
    end = (offset + len - 1) / SEGMENT_BLOCK + 1;
    buf = mem_alloc(VERIFY_STEP);
    for (uint64_t i = first; i < end && e == ERR_OK; i++) {
        uint64_t at = i * SEGMENT_BLOCK, to = at + SEGMENT_BLOCK < f->size ? at + SEGMENT_BLOCK : f->size;
        char what[64];
        snprintf(what, sizeof(what), "content of block %llu", (unsigned long long)i);
        if (!block_hash(fd, buf, at, to, &hash))
            e = errno ? segment_failed(d, &f->id, "segment read failed") : segment_corrupt(d, &f->id, "truncated");
        else if (hash != f->blocks[i])
            e = segment_corrupt(d, &f->id, what);
        if (e == ERR_CORRUPT && bad)
            *bad = i;
    }
    free(buf);
    return e;
}
