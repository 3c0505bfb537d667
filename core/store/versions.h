/* versions.h - the versions of an object: how they are named, where they are kept.
 *
 * Shape    The current version is the object under its key, as without versions. Every older one is an object of the bucket's shadow, a
 *          bucket whose uid differs in one bit, under "<key> NUL <22 bytes> <kind>": so it sorts behind its key and before the next, newest
 *          first, and it is placed, moved, scanned and repaired as any object. Delete markers are such objects without content. A key
 *          without a current version is deleted: the first of its shadow, if there is one, is a delete marker.
 *          A version's id is made of its time, which is unique for a key, and its kind; "null" for the one that was written without versions.
 * Units    times: Unix nanoseconds.
 * Owns     texts and keys are written into the caller's buffers.
 * Thread   any; pure.
 * Source   S3 User Guide, "How S3 Versioning works"; docs/data-on-disk.md
 */
#ifndef SLUICE_STORE_VERSIONS_H
#define SLUICE_STORE_VERSIONS_H

#include "store/object.h"

/* What the last byte of a shadow's key says, and its order. */
enum version_kind { VERSION_PLAIN, VERSION_NULL, VERSION_MARKER, VERSION_NULL_MARKER, VERSION_KINDS };
struct object_version {
    int64_t mtime_ns;
    enum version_kind kind;
};
static inline bool version_is_null(enum version_kind k)
{
    return k == VERSION_NULL || k == VERSION_NULL_MARKER;
}
static inline bool version_is_marker(enum version_kind k)
{
    return k == VERSION_MARKER || k == VERSION_NULL_MARKER;
}
/* That of what is current. */
static inline struct object_version version_of(const struct object_info *info)
{
    return (struct object_version){info->mtime_ns, info->versioned ? VERSION_PLAIN : VERSION_NULL};
}

/* ---- ids, as clients see them ---- */

enum { VERSION_ID_MAX = 40 };
/* "null", or hex digits. */
struct str version_id(struct object_version v, char out[VERSION_ID_MAX]);
/* False: no id of ours. Of "null" the time is not known (0), nor whether it is a marker. */
bool version_id_parse(struct str text, struct object_version *out);
/* Where a page of a listing ended: as version_id(), but "null" ones have their time, too. */
struct str version_place(struct object_version v, char out[VERSION_ID_MAX]);
bool version_place_parse(struct str text, struct object_version *out);

/* ---- the shadow ---- */

#define VERSIONS_SHADOW (UINT64_C(1) << 62) /* the bit above is that of slices, target/slices.h */
static inline bool version_uid_is_shadow(uint64_t uid)
{
    return uid & VERSIONS_SHADOW;
}
/* The shadow itself keeps one version of each key. */
static inline struct bucket_id version_shadow(struct bucket_id b)
{
    b.uid |= VERSIONS_SHADOW;
    b.versions = VERSIONS_OFF;
    return b;
}
struct version_key {
    size_t n;
    char b[STORE_KEY_MAX];
};
static inline struct str version_key_str(const struct version_key *k)
{
    return str_n(k->b, k->n);
}
/* `key`: of at most KEY_MAX bytes. */
void version_key(struct version_key *out, struct str key, struct object_version v);
/* What all of a key's begin with. */
void version_key_prefix(struct version_key *out, struct str key);
/* Behind all of them, before the next key. */
void version_key_behind(struct version_key *out, struct str key);
/* `shadow_key`'s parts; false: it is none. `key` borrows from it. */
bool version_key_parse(struct str shadow_key, struct str *key, struct object_version *v);

/* What decides where an object is placed: versions of a key are where the key is. */
static inline void version_base(uint64_t *uid, struct str *key)
{
    struct object_version v;

    if (version_uid_is_shadow(*uid) && version_key_parse(*key, key, &v))
        *uid &= ~VERSIONS_SHADOW;
}

/* ---- locks on versions ---- */

/* As they are kept among the attributes. */
#define LOCK_MODE_ATTR  STR("x-amz-object-lock-mode")
#define LOCK_UNTIL_ATTR STR("x-amz-object-lock-retain-until-date")
#define LOCK_HOLD_ATTR  STR("x-amz-object-lock-legal-hold")
/* Whether a version with these attributes must not be deleted at `now_s` (Unix seconds). `bypass`: governance is not looked at. What can't
 * be read locks. */
bool version_is_locked(const struct attr *attrs, uint32_t n, int64_t now_s, bool bypass);
/* Whether changed attributes make the retention of a version less than it is, or end it: of governance only who may bypass it can do that, of
 * compliance nobody. What can't be read is retained for ever. */
enum lock_change { LOCK_NOT_LESS, LOCK_WANTS_BYPASS, LOCK_NEVER };
enum lock_change version_lock_change(const struct object_info *from, const struct object_info *changes, int64_t now_s);

#endif
