/* version.h - requests that name a version of an object, and what answers tell of versions.
 *
 * Shape    version_find() looks where a version is kept now. version_guard does that before the first step of an operation whose query has
 *          a versionId; the operation then works on r->place. Without one that is the bucket and the key.
 * Owns     results live in the request's arena.
 * Errors   ERR_INVALID_ARGUMENT: no version id, a message is set; ERR_NO_SUCH_VERSION; those of the store.
 * Thread   the request's loop.
 * Source   S3 User Guide, "Working with objects in a versioning-enabled bucket"; S3 API: GetObject, versionId.
 */
#ifndef SLUICE_S3API_VERSION_H
#define SLUICE_S3API_VERSION_H

#include "s3api/request.h"

struct version_find_req {
    struct bucket_id bucket;
    struct str key;
    struct str id; /* as sent */
};
struct version_find_res {
    struct s3_place place;
    struct object_version version;
    struct object_info info;
};
void version_find(struct s3_request *r, const struct version_find_req *req, struct version_find_res *res,
                  struct call *call);

/* Whether a request has to pass version_guard, which goes on with the route's first step or refuses: markers have nothing to work on. */
bool version_guarded(const struct s3_request *r);
step_fn version_guard;

/* Whether what a read found at r->place is not the version that was asked for: it was current when version_guard looked, and an older one now.
 * r->place is where it went, to be asked again. */
bool version_moved(struct s3_request *r, const struct object_info *info);

/* For a key without a current version: x-amz-delete-marker, if there is one. Then fails with ERR_NO_SUCH_KEY. */
step_fn version_absent;

/* x-amz-version-id of what is current, or was written; nothing in buckets that never had versions. */
void version_reply(struct s3_request *r, const struct object_info *info);
void version_reply_place(struct s3_request *r, const struct object_info *info);
void version_reply_id(struct s3_request *r, struct str header, struct object_version v);
/* In the arena. */
struct str version_text(struct arena *arena, struct object_version v);

#endif
