/* index.h - the keys of a mountpath's index and how they sort.
 *
 * Shape    a type byte, then: objects 'O' and uploads 'U' the bucket's uid and the escaped key, so that they sort as
 *          S3 lists; parts 'P' the upload's id and the part's number; inline bodies 'B', manifests 'M' and reference
 *          counts 'R' a body's id.
 * Owns     builders write into the caller's struct index_key.
 * Thread   any; pure.
 * Source   docs/data-on-disk.md
 */
#ifndef SLUICE_TARGET_INDEX_H
#define SLUICE_TARGET_INDEX_H

#include "store/object.h"
#include "target/segment.h"

enum {
    INDEX_HEAD = 1 + 8, /* type and bucket uid */
    INDEX_KEY_MAX = INDEX_HEAD + 2 * STORE_KEY_MAX + 2 + SEGMENT_ID_LEN,
};
enum index_type {
    INDEX_OBJECT = 'O',
    INDEX_UPLOAD = 'U',
    INDEX_PART = 'P',
    INDEX_BODY = 'B',
    INDEX_MANIFEST = 'M',
    INDEX_REFS = 'R',
    INDEX_BUCKET = 'N', /* by its uid: a mirrored bucket */
};

struct index_key {
    size_t n;
    char b[INDEX_KEY_MAX + 1];
};
static inline struct str index_key_str(const struct index_key *k)
{
    return str_n(k->b, k->n);
}

/* `key` is at most STORE_KEY_MAX bytes, as everywhere below. */
void index_object(struct index_key *out, uint64_t bucket_uid, struct str key);
void index_upload(struct index_key *out, uint64_t bucket_uid, struct str key, const struct segment_id *upload);
void index_part(struct index_key *out, const struct segment_id *upload, uint32_t number);
/* INDEX_BODY, INDEX_MANIFEST, INDEX_REFS; with INDEX_PART what all parts of an upload begin with. */
void index_id(struct index_key *out, enum index_type type, const struct segment_id *id);

/* What every key of the bucket that starts with `prefix` begins with (INDEX_OBJECT, INDEX_UPLOAD). */
void index_prefix(struct index_key *out, enum index_type type, uint64_t bucket_uid, struct str prefix);
/* Behind everything that belongs to exactly `key`, before the next key. */
void index_behind(struct index_key *out, enum index_type type, uint64_t bucket_uid, struct str key);
/* To the first key that does not begin with *k. */
void index_successor(struct index_key *k);

/* An object's or upload's key back: into `out` (STORE_KEY_MAX bytes) only when it was escaped, else a borrowed part of
 * `index_key`. *rest: what follows the terminator (may be NULL). False: not a key of ours. */
bool index_parse(struct str index_key, char out[STORE_KEY_MAX], uint64_t *bucket_uid, struct str *key,
                 struct str *rest);

#endif
