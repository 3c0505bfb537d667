/* object.h - what stores and front ends say about objects: names, information, ranges, conditions, digests.
 *
 * Units    sizes and offsets: bytes. Times: Unix nanoseconds. Part numbers from 1.
 * Owns     plain values; strs borrow from the request's arena (results: from the arena handed in the request).
 * Source   S3 API reference: HeadObject, PutObject, CompleteMultipartUpload; RFC 9110 sections 13 and 14.
 */
#ifndef SLUICE_STORE_OBJECT_H
#define SLUICE_STORE_OBJECT_H

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "store/redundancy.h"

enum {
    KEY_MAX = 1024,               /* bytes of a key */
    STORE_KEY_MAX = KEY_MAX + 24, /* of one that stores keep: with the place of a version (versions.h) */
    PARTS_MAX = 10000,            /* parts of an upload; numbers 1..PARTS_MAX */
    LIST_MAX = 1000,              /* entries of a page */
    USER_METADATA_MAX = 2048,     /* bytes of names and values of x-amz-meta-* */
    OBJECT_HEADERS_MAX = 16384,   /* bytes of all kept headers with tags */
    ETAG_MAX = 39,                /* "32hex-10000" and some */
    UPLOAD_ID_LEN = 32,           /* hex */
    LAYOUT_MAX = 64,
};
#define PART_SIZE_MIN   (UINT64_C(5) << 20)
#define PART_SIZE_MAX   (UINT64_C(5) << 30)
#define PUT_SIZE_MAX    (UINT64_C(5) << 30)
#define OBJECT_SIZE_MAX (UINT64_C(50) << 40)

/* What a write to a key does with what is there. */
enum versions_mode {
    VERSIONS_OFF,       /* replaces it */
    VERSIONS_ON,        /* keeps it as an older version */
    VERSIONS_SUSPENDED, /* keeps it if it was written with VERSIONS_ON */
};

/* A bucket as stores know it: uid never comes back after a delete. The name is for logs and self-describing blocks. */
struct bucket_id {
    uint64_t uid;
    struct str name;
    struct redundancy redundancy; /* never changes while the bucket lives */
    uint8_t versions;             /* enum versions_mode: see versions.h */
    bool encrypted;               /* what is written to it is encrypted at rest, whether it asks for that or not */
    bool backend; /* a remote bucket is behind it: backend.h. Not on the wire: above the nodes' stores only */
    bool view;    /* it shows another bucket through ETLs. Not on the wire either */
};

/* Hex without quotes: MD5, or MD5 of the parts' MD5s + "-N". */
struct etag {
    uint8_t n;
    char text[ETAG_MAX];
};
static inline struct str etag_str(const struct etag *e)
{
    return str_n(e->text, e->n);
}

enum checksum_type { CHECKSUM_NONE, CHECKSUM_FULL_OBJECT, CHECKSUM_COMPOSITE };
struct checksum {
    struct digest digest; /* alg HASH_NONE: none */
    enum checksum_type type;
    uint32_t parts; /* composite: the N behind the "-" */
};

/* Names of kept headers that begin so are ours: they are told to nobody. */
#define ATTR_PRIVATE "x-sluice-"
/* A kept header: lower-case name ("content-type", "cache-control", "x-amz-meta-foo", "x-amz-storage-class", ...). */
struct attr {
    struct str name;
    struct str value;
};

struct object_info {
    uint64_t size;
    int64_t mtime_ns;
    struct etag etag;
    struct checksum checksum;
    const struct attr *attrs; /* what a GET answers with, in this order */
    uint32_t attr_count;
    struct str tags;      /* URL query form "a=1&b=2", empty = none */
    uint32_t parts;       /* parts of a multipart object; 0 = made by a single PUT */
    struct str upload_id; /* the upload it was completed from, empty otherwise */
    struct str
        layout; /* not empty: the content is elsewhere, in slices (erasure.h); this record has none. <= LAYOUT_MAX */
    bool versioned; /* written with VERSIONS_ON: it has a version id of its own, others are "null" */
};

/* The kept header that says so of an object encrypted at rest, and what it says (S3 User Guide, "Using server-side encryption with Amazon S3
 * managed keys"). */
#define ATTR_ENCRYPTION STR("x-amz-server-side-encryption")
#define ENCRYPTION_S3   STR("AES256")
bool object_is_encrypted(const struct object_info *info);
/* Of what is written to a bucket that encrypts everything: the attrs of `info`, in the arena, say so from now on. */
void object_encrypt_as(struct arena *arena, const struct bucket_id *bucket, struct object_info *info);

/* A copy whose strs live in `arena`. */
void object_info_copy(struct arena *arena, struct object_info *out, const struct object_info *from);
/* Value of the kept header `name`, or STR_NONE. */
struct str object_attr(const struct object_info *info, struct str name);
/* Those of `from` with `changes` made: others of the same names instead, none where the value is empty. */
void object_change_attrs(struct arena *arena, const struct object_info *from, const struct object_info *changes,
                         struct object_info *out);
/* Whether a listing with this delimiter shows `key`, which starts with `prefix`, as a common prefix; then it goes to *common,
 * as a part of `key`. */
bool key_rolls_up(struct str key, struct str prefix, struct str delimiter, struct str *common);
/* Fills in what an upload's creator left open (nothing asked: CRC64NVME over the full object). False when the two can't go
 * together: full-object checksums need a CRC, CRC64NVME is never composite (S3 User Guide, "Checking object integrity"). */
bool upload_checksum(enum hash_alg *alg, enum checksum_type *type);
/* Whether a part may come with this checksum (HASH_NONE: with none). Creators that ask for nothing get CRC64NVME, and boto3
 * sends CRC32 with every part nevertheless: such a digest is verified, and the upload's own is kept. */
bool upload_takes_checksum(enum hash_alg upload, enum hash_alg part);

/* Part of an object that is wanted. */
enum range_kind { RANGE_ALL, RANGE_FROM_TO, RANGE_FROM, RANGE_LAST };
struct range {
    enum range_kind kind;
    uint64_t first; /* FROM_TO, FROM */
    uint64_t last;  /* FROM_TO: inclusive; LAST: number of bytes at the end */
};
/* Where the range lies in `size` bytes. ERR_INVALID_RANGE: nothing of it exists (RANGE_ALL always resolves; a range of a
 * zero-byte object never). */
MUST_USE enum err range_resolve(const struct range *r, uint64_t size, uint64_t *offset, uint64_t *len);

/* Conditions of a request; evaluated where the read or write takes place. */
struct cond {
    struct str if_match;      /* raw list as in the header ("*", quoted or bare ETags); p == NULL: absent */
    struct str if_none_match; /* same */
    int64_t if_modified_since_s, if_unmodified_since_s; /* Unix seconds; COND_NO_TIME: absent */
};
#define COND_NO_TIME INT64_MIN
#define COND_INIT                                                                                                      \
    {                                                                                                                  \
        STR_NONE, STR_NONE, COND_NO_TIME, COND_NO_TIME                                                                 \
    }
/* For reads. `info` must exist. ERR_OK, ERR_PRECONDITION, ERR_NOT_MODIFIED. If-Match beats If-Unmodified-Since,
 * If-None-Match beats If-Modified-Since; times in the future are ignored (RFC 9110 section 13.2.2). */
MUST_USE enum err cond_check_read(const struct cond *c, const struct object_info *info, int64_t now_s);
/* For the source of a copy: as reads, but every failure is ERR_PRECONDITION (S3 API: CopyObject). */
MUST_USE enum err cond_check_copy_source(const struct cond *c, const struct object_info *info, int64_t now_s);
/* For writes. `current` NULL: no such object. If-None-Match "*" or a matching ETag on an existing object: ERR_PRECONDITION;
 * If-Match on an absent one: ERR_NO_SUCH_KEY; mismatch: ERR_PRECONDITION. */
MUST_USE enum err cond_check_write(const struct cond *c, const struct object_info *current);
/* For deletes: If-Match on an absent object is ERR_OK (S3 answers 204). */
MUST_USE enum err cond_check_delete(const struct cond *c, const struct object_info *current);
static inline bool cond_is_empty(const struct cond *c)
{
    return !c->if_match.p && !c->if_none_match.p && c->if_modified_since_s == COND_NO_TIME &&
           c->if_unmodified_since_s == COND_NO_TIME;
}

/* What a body must hash to. The store computes `checksum` and MD5 always (MD5 makes the ETag), plus whatever `want` names, off the loop,
 * and compares before it commits. The body's source may add to `want` until its end was read (trailers): the store looks at
 * it only then, so algorithms that may turn up must be in `also`. */
enum { BODY_WANTS_MAX = 4 };
struct body_check {
    enum hash_alg checksum; /* kept with the object and returned; HASH_NONE = HASH_CRC64NVME */
    unsigned also;          /* set of further algorithms, 1u << enum hash_alg */
    unsigned want_count;
    struct {
        struct digest digest;
        enum err err; /* when it differs: ERR_BAD_DIGEST, ERR_SHA256_MISMATCH */
    } want[BODY_WANTS_MAX];
};

/* hex(MD5) / hex(MD5 of the concatenated MD5s)-N */
void etag_from_md5(struct etag *e, const uint8_t md5[16]);
void etag_from_parts(struct etag *e, const uint8_t md5_of_md5s[16], uint32_t parts);
/* The 16 bytes back from a plain ETag; false for "-N" ones and anything else. */
bool etag_to_md5(const struct etag *e, uint8_t md5[16]);
/* Whether an object without parts was put together by store_obj_splice(): its ETag says nothing about its content. */
bool etag_is_spliced(const struct etag *e);
/* How often, about; 0: it is no such ETag. */
uint32_t etag_splices(const struct etag *e);
/* That of what a splice makes of an object with the ETag `old`: follows from what was done. */
void etag_splice(struct etag *e, const struct etag *old, bool was_spliced, uint64_t offset, uint64_t cut,
                 const uint8_t body_md5[16]);
/* Whether `text` (quoted, bare or with &quot;) names this ETag. "W/" never does. */
bool etag_matches(const struct etag *e, struct str text);

#endif
