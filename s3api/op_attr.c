/* What buckets and objects say about themselves: location, access. */
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

    if (r->level == LEVEL_BUCKET)
        return op_go(op, acl_send);
    a = ARENA_NEW(r->arena, struct acl_op);
    a->req =
        (struct obj_head_req){.arena = r->arena, .bucket = r->place.bucket, .key = r->place.key, .cond = COND_INIT};
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
