/* scan.h - walking the objects or uploads of a bucket in the order of their keys, over all mountpaths.
 *
 * Shape    one iterator per mountpath, each a consistent view of its own, merged; the smallest key is the current one, and what several
 *          have of it is shown once: as the mountpath has it that reads ask first. They are opened in the order in which objects move.
 * Owns     the iterators, until scan_close(). Keys and values are valid until the scan moves.
 * Errors   scan_err() tells why it ended early.
 * Thread   BLOCKING: offload pool.
 */
#ifndef SLUICE_TARGET_SCAN_H
#define SLUICE_TARGET_SCAN_H

#include "target/disks.h"

struct scan_way {
    struct kv_iter *it;
    size_t at; /* which of the set */
    bool valid;
    struct str raw; /* index key */
    struct str key, rest;
    char unescaped[STORE_KEY_MAX];
};
struct scan {
    const struct disk_set *set;
    enum index_type type;
    uint64_t bucket_uid;
    size_t copies;
    struct scan_way *ways;
    size_t count;
    struct scan_way *at; /* NULL: the end */
    bool shared;         /* others stand on the same key */
    enum err err;
};
/* Of keys that start with `prefix`. Begins nowhere: seek first. */
void scan_open(struct scan *s, const struct disk_set *set, enum index_type type, const struct bucket_id *bucket,
               struct str prefix);
void scan_close(struct scan *s);
/* To the first entry at or behind the index key. */
void scan_seek(struct scan *s, const struct index_key *to);
void scan_next(struct scan *s);
static inline bool scan_valid(const struct scan *s)
{
    return s->at != NULL;
}
static inline struct str scan_key(const struct scan *s)
{
    return s->at->key;
}
/* Behind the key: an upload's id. */
static inline struct str scan_rest(const struct scan *s)
{
    return s->at->rest;
}
static inline struct str scan_value(const struct scan *s)
{
    return kv_iter_value(s->at->it);
}

#endif
