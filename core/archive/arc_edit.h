/* arc_edit.h - changes within an archive: append, add, replace, delete a member.
 *
 * Shape    each change is one atomic commit under If-Match of the archive that it was worked out for: who reads sees the old archive or the
 *          new one, a crash leaves one of them. A TAR is spliced (store_obj_splice): the change costs the bytes of the member, not of the
 *          archive, where the store can do that; other formats are written anew, streaming.
 * Errors   ERR_NO_SUCH_KEY: there is no such archive (and the mode doesn't make one); ERR_NO_SUCH_MEMBER; ERR_EXISTS: ARC_ADD of a name
 *          that is there; ERR_BAD_ARCHIVE; ERR_INVALID_ARGUMENT: a name that no archive should have (absolute, "..", empty, too long);
 *          ERR_CONFLICT: others kept changing it. ERR_MISSING_LENGTH: TAR and ZIP need the size before the content.
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_EDIT_H
#define SLUICE_ARCHIVE_ARC_EDIT_H

#include "archive/arcs.h"

enum arc_change {
    ARC_CREATE,  /* a new archive with this one member, in place of whatever is there */
    ARC_APPEND,  /* behind the last; the archive must exist; a name may be there twice, the first is what readers get */
    ARC_UPSERT,  /* ARC_APPEND, or ARC_CREATE when there is no such archive */
    ARC_ADD,     /* ARC_APPEND unless there is a member of that name */
    ARC_REPLACE, /* all of that name go, this one takes their place; there must be one */
    ARC_DELETE,  /* all of that name go */
};
struct arc_edit_req {
    struct arena *arena;
    struct arcs *arcs;
    struct bucket_id bucket;
    struct str key;
    enum arc_format format; /* ARC_NONE: by name */
    enum arc_change change;
    struct str member;
    struct source *body;       /* of the new member; may be NULL: empty. Not closed */
    uint64_t size;             /* its bytes */
    int64_t mtime_s;           /* of the new member; 0: now */
    struct cond cond;          /* against the archive, as for writes */
    const struct cause *cause; /* may be NULL: store.h */
};
struct arc_edit_res {
    struct object_info info; /* of the archive as it is now */
    char why[ARC_WHY_MAX];
};
void arc_edit(const struct arc_edit_req *req, struct arc_edit_res *res, struct call *call);

#endif
