/* segment.h - content as immutable files on one mountpath.
 *
 * Shape    one segment = one file <mountpath>/segments/xx/<32 hex>; xx = the last two digits. Content from byte 0, then
 * a footer: block hashes, the caller's description, a fixed tail. Staged first, sealed once, never changed again. Units
 * offsets and sizes: bytes of content. A block is SEGMENT_BLOCK bytes of content, the last one may be shorter. Owns
 * segment_dir owns its directory descriptors; a segment_staged its file until it is sealed or discarded. Errors
 * ERR_NO_SPACE, ERR_NOT_FOUND, ERR_BUSY (descriptors), ERR_CORRUPT, ERR_IO; all but ERR_NOT_FOUND logged here, once.
 * Thread   BLOCKING functions: offload pool, start-up or tools. A segment_dir by any, a segment_staged by one at a
 * time.
 */
#ifndef SLUICE_TARGET_SEGMENT_H
#define SLUICE_TARGET_SEGMENT_H

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "target/direct.h"

enum {
    SEGMENT_ID_LEN = 16,
    SEGMENT_ID_HEX = 32,
    SEGMENT_BLOCK = 1 << 20,
    SEGMENT_DESC_MAX = 2 << 20,
    SEGMENT_PATH_MAX = 256, /* of a path relative to the mountpath, with its NUL */
};
#define SEGMENT_SIZE_MAX (UINT64_C(1) << 42)

/* 6 bytes of big-endian Unix milliseconds, 3 of nanoseconds within, 7 random: ids sort by age, even those of uploads that
 * were created one right after the other, and never come back. */
struct segment_id {
    uint8_t b[SEGMENT_ID_LEN];
};
void segment_id_new(struct segment_id *out);
/* Not terminated. */
void segment_id_hex(const struct segment_id *id, char out[SEGMENT_ID_HEX]);
bool segment_id_parse(struct str hex, struct segment_id *out);
static inline int segment_id_cmp(const struct segment_id *a, const struct segment_id *b)
{
    return memcmp(a->b, b->b, SEGMENT_ID_LEN);
}
/* Whether the content is encrypted (segment_cipher.h): the highest bit of the nanoseconds, which they never need. */
enum { SEGMENT_ID_ENCRYPTED_AT = 6, SEGMENT_ID_ENCRYPTED = 0x80 };
static inline bool segment_id_encrypted(const struct segment_id *id)
{
    return id->b[SEGMENT_ID_ENCRYPTED_AT] & SEGMENT_ID_ENCRYPTED;
}
/* When it was made: Unix milliseconds. */
uint64_t segment_id_ms(const struct segment_id *id);

/* The segments/ and staging/ of one mountpath. */
struct segment_dir;
/* BLOCKING. Makes what is absent in the existing directory `mountpath`, and removes what a former process left in
 * staging/. `sync` false: nothing is ever fsynced. */
MUST_USE enum err segment_dir_open(struct str mountpath, bool sync, struct segment_dir **out);
/* Nothing staged, no source over it. NULL is legal. */
void segment_dir_close(struct segment_dir *d);
/* The mountpath as given, for logs. */
struct str segment_dir_path(const struct segment_dir *d);
/* Errors of the disk itself (EIO, EROFS, ENODEV) since it was opened. */
uint64_t segment_dir_failures(const struct segment_dir *d);
/* "segments/xx/<hex>", NUL-terminated. */
void segment_path(const struct segment_id *id, char out[SEGMENT_PATH_MAX]);

struct keyring;
/* Master keys for encrypted content, which outlive `d`; NULL: there are none. Before anything is staged or read. */
void segment_dir_set_keys(struct segment_dir *d, const struct keyring *keys);
const struct keyring *segment_dir_keys(const struct segment_dir *d);

/* For tests: from now on stages under names, as on file systems without O_TMPFILE. */
void segment_dir_use_names(struct segment_dir *d);

/* A segment that is being written. */
struct segment_staged {
    struct segment_dir *dir;
    struct segment_id id;
    int fd;      /* -1: none */
    bool named;  /* staging/<hex> exists (no O_TMPFILE on this file system) */
    bool failed; /* a write failed: it can only be discarded */
    bool direct; /* writes go around the page cache */
    struct direct_queue writes;
    struct segment_cipher *cipher; /* NULL: the content is written as it is */
    uint64_t size;                 /* content so far; of an encrypted one without what waits in its cipher */
    uint64_t expected;             /* content in all, 0 = unknown */
    uint64_t reserved;             /* the file's length, reserved at once; 0 = it grows with the content */
    uint64_t queued;               /* content whose write-back was started */
    uint64_t *blocks;              /* xxh3 of each finished block */
    size_t block_count, block_cap;
    struct hash block; /* of the unfinished block, if any */
};
#define SEGMENT_STAGED_NONE                                                                                            \
    {                                                                                                                  \
        .fd = -1                                                                                                       \
    }

/* BLOCKING. Opens a new one under a new id. `size_hint`: content to come, room is reserved for it; 0 = unknown. */
MUST_USE enum err segment_stage(struct segment_dir *d, uint64_t size_hint, struct segment_staged *out);
/* The same for content that is encrypted on its way. ERR_NOT_IMPLEMENTED: there are no master keys. */
MUST_USE enum err segment_stage_encrypted(struct segment_dir *d, uint64_t size_hint, struct segment_staged *out);
/* BLOCKING. Appends. Large content given in aligned pieces (direct.h) may be under way on return: the bytes stay as they
 * are until segment_settle() says that they are written, and the calling thread settles all before another one goes
 * on. */
MUST_USE enum err segment_write(struct segment_staged *s, const void *p, size_t n);
/* The same; updates `count` hashes `also` with the bytes on the way. */
MUST_USE enum err segment_write_hashed(struct segment_staged *s, const void *p, size_t n, struct hash *also,
                                       unsigned count);
/* BLOCKING. Waits until at most `left` of its writes are under way, *under_way of them: the last that segment_write() was
 * given. */
MUST_USE enum err segment_settle(struct segment_staged *s, unsigned *under_way, unsigned left);
/* BLOCKING. Writes the footer with `desc` (at most SEGMENT_DESC_MAX bytes, opaque), makes the file durable, gives it
 * its name, makes the name durable. On error nothing is left. Ends `s` either way, apart from id, size and dir, which
 * stay readable. A segment without content is legal. */
MUST_USE enum err segment_seal(struct segment_staged *s, struct str desc);
/* BLOCKING (freeing a large file takes a while). Harmless on one that is none, sealed or discarded. */
void segment_discard(struct segment_staged *s);

/* BLOCKING. Removes the name; for what may have readers use extent_cache_unlink(). ERR_NOT_FOUND when there is none. Not
 * made durable: a name that comes back after a power cut is an orphan. */
MUST_USE enum err segment_unlink(struct segment_dir *d, const struct segment_id *id);
/* BLOCKING. Opens for reading. */
MUST_USE enum err segment_open(struct segment_dir *d, const struct segment_id *id, int *out_fd);

struct segment_footer {
    struct segment_id id;
    uint64_t size; /* of the content */
    uint64_t *blocks;
    size_t block_count;
    const uint8_t *tags, *wrapped; /* of encrypted content (segment_cipher.h); NULL: it is not */
    struct str desc;
    void *mem; /* holds all of these */
};
/* BLOCKING. Reads and verifies the footer of an open segment. ERR_CORRUPT: truncated, damaged, or another segment's. */
MUST_USE enum err segment_footer_read(struct segment_dir *d, int fd, const struct segment_id *id,
                                      struct segment_footer *out);
void segment_footer_release(struct segment_footer *f);
/* BLOCKING. Checks the blocks that [offset, offset + len) touches. ERR_CORRUPT: *bad (may be NULL) = first damaged
 * block. */
MUST_USE enum err segment_verify(struct segment_dir *d, int fd, const struct segment_footer *f, uint64_t offset,
                                 uint64_t len, uint64_t *bad);

/* What segment_each() tells about a file. */
struct segment_seen {
    struct segment_id id;
    uint64_t file_size; /* content and footer */
    int64_t mtime_ns;
};
/* BLOCKING. Calls fn for every segment file, by fan-out directory, in no order within; stops at its first error and
 * returns it. Files with other names are logged and passed over. */
MUST_USE enum err segment_each(struct segment_dir *d, enum err (*fn)(void *arg, const struct segment_seen *seen),
                               void *arg);

#endif
