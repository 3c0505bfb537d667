/* life_versions.h - what lifecycle rules say of older versions and of delete markers, carried out in one bucket.
 *
 * Shape    the shadow of the bucket (store/versions.h) is gone through in order, key by key, newest first: when a version became an older one
 *          is when the next newer was made. A delete marker is over when nothing is left behind it.
 * Owns     embedded in its owner, zeroed but for the fields above the line.
 * Errors   those of the listing; what can't be deleted is job_failed(), but for what is locked: that stays.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_LIFE_VERSIONS_H
#define SLUICE_TARGET_LIFE_VERSIONS_H

#include "store/lifecycle.h"
#include "target/job.h"

/* Why lifecycle rules delete: what is told of it (store.h). */
extern const struct cause life_expired;

struct life_versions {
    struct job *job;
    struct bucket_id bucket;
    const struct lifecycle *rules;
    int64_t now_s, day_s;
    /* ---- */
    struct op op;
    struct call *whole;
    struct arena page_arena, one_arena;
    struct obj_list_req list_req;
    struct obj_list_res page;
    uint32_t next;
    char after[STORE_KEY_MAX];
    size_t after_n;
    /* the key that is looked at */
    char key[KEY_MAX];
    size_t key_n;
    bool has_key;
    int64_t newer_ns; /* when the version before was made */
    uint32_t newer;   /* older versions seen */
    bool alone;       /* only a marker was seen: `marker` */
    struct object_version marker;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};
void life_versions_run(struct life_versions *l, struct call *whole);

#endif
