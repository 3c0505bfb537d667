/* What buckets and objects say about themselves: location, access, settings. None of the settings can be changed yet,
 * so what S3 says of a bucket where they never were is the truth. */
#include "s3api/request.h"

enum step_next get_bucket_location(struct op *op)
{
    struct s3_request *r = S3(op);
    struct str region = s3_bucket_region(r, &r->bucket);
    struct buf *b = reply_xml(r);

    /* us-east-1 is said by an empty element (S3 API: GetBucketLocation) */
    xml_begin(b, STR("LocationConstraint"));
    xml_escape(b, str_eq(region, STR("us-east-1")) ? STR("") : region);
    xml_close(b, STR("LocationConstraint"));
    return op_go(op, reply_send);
}

/* ---- GetBucketAcl, GetObjectAcl ---- */

static step_fn acl_send;

struct acl_op {
    struct obj_head_req req;
    struct obj_head_res res;
};

enum step_next get_acl(struct op *op)
{
    struct s3_request *r = S3(op);
    struct acl_op *a;
    struct str version = s3_query(r, STR("versionId"));

    if (r->level == LEVEL_BUCKET)
        return op_go(op, acl_send);
    if (version.p && !str_eq(version, STR("null")))
        return op_fail(op, ERR_NO_SUCH_VERSION);
    a = ARENA_NEW(r->arena, struct acl_op);
    a->req = (struct obj_head_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .cond = COND_INIT};
    reply_detail(r, STR("Key"), r->key);
    store_obj_head(r->env->store, &a->req, &a->res, op_call(op, acl_send));
    return STEP_WAIT;
}

static enum step_next acl_send(struct op *op)
{
    struct s3_request *r = S3(op);
    struct buf *b = reply_xml(r);

    xml_begin(b, STR("AccessControlPolicy"));
    xml_owner(b, STR("Owner"), s3_owner(r));
    buf_add_str(b, STR("<AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
                       "xsi:type=\"CanonicalUser\">"));
    xml_owner_parts(b, s3_owner(r));
    buf_add_str(b, STR("</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>"));
    xml_close(b, STR("AccessControlPolicy"));
    return op_go(op, reply_send);
}

/* ---- settings ---- */

static const struct {
    uint64_t sub;
    struct str root, content; /* the document, when S3 has one for "never set" */
    enum err err;             /* otherwise */
} settings[] = {
    {SUB(VERSIONING), {"VersioningConfiguration", 23}, {"", 0}, ERR_OK},
    {SUB(ACCELERATE), {"AccelerateConfiguration", 23}, {"", 0}, ERR_OK},
    {SUB(LOGGING), {"BucketLoggingStatus", 19}, {"", 0}, ERR_OK},
    {SUB(NOTIFICATION), {"NotificationConfiguration", 25}, {"", 0}, ERR_OK},
    {SUB(REQUEST_PAYMENT), {"RequestPaymentConfiguration", 27}, {"<Payer>BucketOwner</Payer>", 26}, ERR_OK},
    {SUB(CORS), .err = ERR_NO_SUCH_CORS},
    {SUB(ENCRYPTION), .err = ERR_NO_SUCH_ENCRYPTION},
    {SUB(LIFECYCLE), .err = ERR_NO_SUCH_LIFECYCLE},
    {SUB(OBJECT_LOCK), .err = ERR_NO_SUCH_OBJECT_LOCK},
    {SUB(OWNERSHIP), .err = ERR_NO_SUCH_OWNERSHIP},
    {SUB(POLICY), .err = ERR_NO_SUCH_POLICY},
    {SUB(POLICY_STATUS), .err = ERR_NO_SUCH_POLICY},
    {SUB(PUBLIC_ACCESS_BLOCK), .err = ERR_NO_SUCH_PUBLIC_ACCESS_BLOCK},
    {SUB(REPLICATION), .err = ERR_NO_SUCH_REPLICATION},
    {SUB(TAGGING), .err = ERR_NO_SUCH_TAG_SET},
    {SUB(WEBSITE), .err = ERR_NO_SUCH_WEBSITE},
};

enum step_next get_bucket_setting(struct op *op)
{
    struct s3_request *r = S3(op);
    struct buf *b = reply_xml(r);

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (settings[i].sub != r->route->must)
            continue;
        if (settings[i].err != ERR_OK) {
            reply_detail(r, STR("BucketName"), r->bucket_name);
            return op_fail(op, settings[i].err);
        }
        xml_begin(b, settings[i].root);
        buf_add_str(b, settings[i].content);
        xml_close(b, settings[i].root);
        return op_go(op, reply_send);
    }
    return op_fail(op, ERR_NOT_IMPLEMENTED); /* a row of routes.def without one here */
}
