/* acl.h - access control lists: who else may read and write a bucket or an object, as S3 had it before policies.
 *
 * Shape    a list of grants; kept as a short text with the bucket's settings, or as a private header of the object (ATTR_PRIVATE). No text: private.
 *          Only buckets whose ownership setting says so look at them (acl_enabled()); everything belongs to the bucket's owner there, too.
 * Owns     results live in the request's arena.
 * Errors   ERR_INVALID_ARGUMENT, ERR_INVALID_REQUEST, ERR_MALFORMED_ACL, ERR_UNRESOLVABLE_EMAIL, ERR_NOT_IMPLEMENTED; the request's: ERR_ACL_OFF,
 *          ERR_ACCESS_DENIED. With a message.
 * Thread   the request's loop; acl_parse() any.
 * Source   S3 User Guide, "Access control list (ACL) overview", "Controlling ownership of objects".
 */
#ifndef SLUICE_S3API_ACL_H
#define SLUICE_S3API_ACL_H

#include "base/xml.h"
#include "s3api/request.h"

enum { ACL_GRANTS_MAX = 100, ACL_ID_LEN = 64 };
enum acl_grantee { ACL_ID, ACL_ALL_USERS, ACL_AUTHENTICATED_USERS };
enum acl_permission { ACL_READ, ACL_WRITE, ACL_READ_ACP, ACL_WRITE_ACP, ACL_FULL_CONTROL };

struct acl_grant {
    enum acl_grantee grantee;
    enum acl_permission permission;
    struct str id; /* of ACL_ID: 64 small hex digits */
};
struct acl {
    struct acl_grant *grants;
    unsigned n;
};

#define ACL_ATTR STR(ATTR_PRIVATE "acl")
/* "full=<id>;read=*;write=+": '*' all users, '+' authenticated ones. False: it is none. */
bool acl_parse(struct arena *a, struct str text, struct acl *out);
/* Empty for a private one. */
struct str acl_encode(struct s3_request *r, const struct acl *acl);
/* Nobody but the bucket's owner is named; a group is. */
bool acl_is_private(const struct s3_request *r, const struct acl *acl);
bool acl_is_public(const struct acl *acl);
/* Whether a grant of this list allows the action. `ignore_groups`: IgnorePublicAcls. */
bool acl_allows(const struct acl *acl, const struct iam_principal *who, struct str action, bool on_object,
                bool ignore_groups);
/* Actions on objects that ACLs of objects can allow. */
bool acl_knows(struct str action);

/* x-amz-acl and x-amz-grant-*; *said: whether there was any. */
MUST_USE enum err acl_from_headers(struct s3_request *r, const struct http_req *http, bool of_bucket, struct acl *out,
                                   bool *said);
/* An AccessControlPolicy. */
MUST_USE enum err acl_from_xml(struct s3_request *r, const struct xml_doc *doc, bool of_bucket, struct acl *out);
void acl_write(struct s3_request *r, struct buf *b, const struct acl *acl);

/* Whether the bucket's ACLs, and those of its objects, count. */
bool acl_enabled(struct s3_request *r, const struct bucket *b);
/* What is asked for may be so: in this bucket, by this sender. */
MUST_USE enum err acl_check(struct s3_request *r, const struct acl *acl);
/* Of a write: adds what the headers say to the object's. After attrs_collect(). */
MUST_USE enum err acl_collect(struct s3_request *r, const struct http_req *http, struct object_info *info);
/* What the bucket's own says; false: it has none, and is private. */
bool acl_of_bucket(struct s3_request *r, const struct bucket *b, struct acl *out);

enum ownership { OWNERSHIP_ENFORCED, OWNERSHIP_PREFERRED, OWNERSHIP_WRITER };
/* BucketOwnerEnforced, BucketOwnerPreferred, ObjectWriter. */
bool ownership_parse(struct str text, enum ownership *out);

#endif
