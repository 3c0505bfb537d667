/* GetBucketAcl, GetObjectAcl, PutBucketAcl, PutObjectAcl. An object's list is a part of its record: to change it is to copy the object onto itself,
 * without its content. */
#include "s3api/acl.h"
#include "s3api/attrs.h"
#include "s3api/objreq.h"

enum { DOCUMENT_MAX = 64 << 10 };

step_fn get_acl, put_acl; /* routes.def */

struct acl_op {
    struct obj_head_req req;
    struct obj_head_res res;
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct s3_read_res nothing;
    struct acl acl;
    struct bucket_conf_put_req put;
    struct bucket_conf_put_res written;
    struct obj_copy_req copy;
    struct obj_copy_res copied;
    struct attr attr;
    char pin[ETAG_MAX + 2];
};

static step_fn acl_send, acl_read, acl_decide, acl_found, acl_copied;

static void look(struct s3_request *r, struct acl_op *a, struct call *call)
{
    a->req =
        (struct obj_head_req){.arena = r->arena, .bucket = r->place.bucket, .key = r->place.key, .cond = COND_INIT};
    store_obj_head(r->env->store, &a->req, &a->res, call);
}

/* ---- get ---- */

enum step_next get_acl(struct op *op)
{
    struct s3_request *r = S3(op);
    struct acl_op *a = r->state = ARENA_NEW(r->arena, struct acl_op);

    if (r->level == LEVEL_BUCKET)
        return op_go(op, acl_send);
    reply_detail(r, STR("Key"), r->key);
    look(r, a, op_call(op, acl_send));
    return STEP_WAIT;
}

/* Where lists don't count, what is so: everything is the owner's. */
static enum step_next acl_send(struct op *op)
{
    struct s3_request *r = S3(op);
    struct acl_op *a = r->state;
    struct acl_grant whole = {ACL_ID, ACL_FULL_CONTROL, s3_owner(r)};
    struct str text = r->level == LEVEL_OBJECT ? object_attr(&a->res.info, ACL_ATTR) : STR_NONE;
    bool said = false;

    if (acl_enabled(r, &r->bucket))
        said = r->level == LEVEL_OBJECT ? text.n && acl_parse(r->arena, text, &a->acl)
                                        : acl_of_bucket(r, &r->bucket, &a->acl);
    if (!said)
        a->acl = (struct acl){&whole, 1};
    acl_write(r, reply_xml(r), &a->acl);
    return op_go(op, reply_send);
}

/* ---- put ---- */

enum step_next put_acl(struct op *op)
{
    struct s3_request *r = S3(op);
    struct acl_op *a = r->state = ARENA_NEW(r->arena, struct acl_op);
    bool said;
    enum err e;

    if (!r->env->confs)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    if ((e = acl_from_headers(r, r->http, r->level == LEVEL_BUCKET, &a->acl, &said)) != ERR_OK)
        return op_fail(op, e);
    a->read = (struct s3_read_req){.request = r, .max = said ? 0 : DOCUMENT_MAX};
    if (said)
        s3_read_body(r, &a->read, &a->nothing, op_try(op, acl_decide));
    else if (r->http->body)
        s3_read_xml(r, &a->read, &a->xml, op_try(op, acl_read));
    else
        return op_fail(op, ERR_MISSING_SECURITY_HEADER);
    return STEP_WAIT;
}

static enum step_next acl_read(struct op *op)
{
    struct s3_request *r = S3(op);
    struct acl_op *a = r->state;
    enum err e = op->call.err == ERR_MALFORMED_XML ? ERR_MALFORMED_ACL : op->call.err;

    if (e == ERR_OK)
        e = acl_from_xml(r, &a->xml.doc, r->level == LEVEL_BUCKET, &a->acl);
    return e == ERR_OK ? op_go(op, acl_decide) : op_fail(op, e);
}

static enum step_next acl_decide(struct op *op)
{
    struct s3_request *r = S3(op);
    struct acl_op *a = r->state;
    struct str text;
    enum err e = op->call.err;

    if (e == ERR_TOO_LARGE)
        e = reply_error(r, ERR_INVALID_REQUEST, "An ACL is given by headers or by a document, not by both.");
    if (e != ERR_OK || (e = acl_check(r, &a->acl)) != ERR_OK)
        return op_fail(op, e);
    if (r->level == LEVEL_OBJECT) {
        look(r, a, op_try(op, acl_found));
        return STEP_WAIT;
    }
    text = acl_encode(r, &a->acl);
    a->put = (struct bucket_conf_put_req){
        .arena = r->arena, .uid = r->bucket.id.uid, .name = STR("acl"), .text = text.n ? text : STR_NONE};
    bucket_conf_put(r->env->confs, &a->put, &a->written, op_call(op, reply_send));
    return STEP_WAIT;
}

static enum err check_room(struct s3_request *r, const struct acl_op *a)
{
    struct object_info info = a->res.info;

    object_change_attrs(r->arena, &a->res.info, &a->copy.info, &info);
    return attrs_fit(&info);
}

/* What was looked at: a version that is current may have become an older one meanwhile. */
static void pin(struct acl_op *a)
{
    struct str etag = etag_str(&a->res.info.etag);

    a->pin[0] = '"';
    memcpy(a->pin + 1, etag.p, etag.n);
    a->pin[etag.n + 1] = '"';
    a->copy.src_cond.if_match = str_n(a->pin, etag.n + 2);
}

static enum step_next acl_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct acl_op *a = r->state;
    struct str text = acl_encode(r, &a->acl);
    enum err e;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, NULL));
    if (str_eq(object_attr(&a->res.info, ACL_ATTR), text))
        return op_go(op, reply_send); /* as it is */
    a->attr = (struct attr){ACL_ATTR, text};
    a->copy = (struct obj_copy_req){.arena = r->arena,
                                    .src_bucket = r->place.bucket,
                                    .src_key = r->place.key,
                                    .src_cond = COND_INIT,
                                    .bucket = r->place.bucket,
                                    .key = r->place.key,
                                    .cond = COND_INIT,
                                    .change_attrs = true,
                                    .info = {.attrs = &a->attr, .attr_count = 1},
                                    .keep_mtime = true,
                                    .size_max = OBJECT_SIZE_MAX};
    if ((e = check_room(r, a)) != ERR_OK)
        return op_fail(op, e);
    pin(a);
    a->copy.cause = s3_cause(r, EVENT_ACL);
    store_obj_copy(r->env->store, &a->copy, &a->copied, op_try(op, acl_copied));
    return STEP_WAIT;
}

static enum step_next acl_copied(struct op *op)
{
    struct s3_request *r = S3(op);
    enum err e = op->call.err == ERR_PRECONDITION ? ERR_CONFLICT : op->call.err;

    return e == ERR_OK ? op_go(op, reply_send) : op_fail(op, objreq_fail(r, e, r->key, NULL));
}
