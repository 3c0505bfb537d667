/* member.h - what is in archives, to S3 clients: by ?archpath=, and as keys in buckets whose setting `members` is on.
 *
 * Shape    functions of the shape of store methods that look into archives first, and at the object of that key when there is nothing
 *          (member_read), merge both in the order of keys (member_list), or tell whether a key is a member's (member_find).
 *          "shard.tar/" and folders in it are there as empty objects of type application/x-directory, never listed as such.
 * Owns     results live in the request's arena; res->body is the caller's to close.
 * Errors   those of the store; with ?archpath= also ERR_NO_SUCH_MEMBER, ERR_BAD_ARCHIVE, ERR_TOO_LARGE with a message that is set.
 * Thread   the request's loop.
 * Source   S3 API: GetObject, ListObjectsV2; docs/archives.md.
 */
#ifndef SLUICE_S3API_MEMBER_H
#define SLUICE_S3API_MEMBER_H

#include "archive/arcs.h"
#include "s3api/request.h"

/* Whether keys of the request's bucket can be members'. */
static inline bool member_shown(const struct s3_request *r)
{
    return r->bucket.members && r->env->arcs;
}
/* Whether `key` might be a member's by its name alone. */
bool member_like(struct str key);
/* Both, of any bucket. */
bool member_possible(const struct s3_request *r, const struct bucket *b, struct str key);

struct member_read_req {
    struct obj_get_req get;
    bool head;              /* no body is wanted */
    bool *found;            /* may be NULL: set when it was a member or a folder, and no object */
    struct str path;        /* archpath; p == NULL: by the key */
    enum arc_format format; /* archmime */
};
/* archpath and archmime of the query. *wanted is false when an object is meant and nothing else. ERR_INVALID_ARGUMENT,
 * ERR_NOT_IMPLEMENTED. */
MUST_USE enum err member_parse(struct s3_request *r, struct member_read_req *m, bool *wanted);
void member_read(struct s3_request *r, const struct member_read_req *req, struct obj_get_res *res, struct call *call);

/* archregx and archmode: then this step answers the whole request. */
bool member_selects(const struct s3_request *r);
step_fn member_select;

/* As store_obj_list(), with members. */
void member_list(struct s3_request *r, const struct obj_list_req *req, struct obj_list_res *res, struct call *call);

struct member_find_req {
    struct str key;
    bool within; /* any name below an archive counts, be there such a member or not */
};
struct member_find_res {
    bool found; /* and there is no object of that key */
};
void member_find(struct s3_request *r, const struct member_find_req *req, struct member_find_res *res,
                 struct call *call);
/* What is told to who tries to change a member. */
#define MEMBER_WHY "The key is that of a member of an archive: change it by the archive commands or the native API."
/* Whether a request has to pass member_guard, which goes on with the route's first step or refuses. */
bool member_guarded(const struct s3_request *r);
step_fn member_guard;
/* DeleteObjects: as store_obj_delete(), ERR_INVALID_REQUEST for members. */
void member_obj_delete(struct s3_request *r, const struct obj_delete_req *req, struct obj_delete_res *res,
                       struct call *call);

#endif
