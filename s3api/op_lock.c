/* Object Lock: of the bucket, and of a version its retention and legal hold. A version's locks are a part of its record: to change them is to
 * copy it onto itself, without its content. */
#include "base/clock.h"
#include "s3api/lock.h"
#include "s3api/may.h"
#include "s3api/objreq.h"
#include "s3api/version.h"

step_fn get_object_lock, put_object_lock, get_retention, put_retention, get_legal_hold, put_legal_hold; /* routes.def */

enum { DOCUMENT_MAX = 4096 };

/* ---- GetObjectLockConfiguration, PutObjectLockConfiguration ---- */

struct bucket_lock_op {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct bucket_set_props_req props_req;
    struct bucket_set_props_res props;
    struct bucket_conf_put_req put;
    struct bucket_conf_put_res written;
};

static step_fn bucket_lock_parse, bucket_lock_put;

enum step_next get_object_lock(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct bucket_doc *d = NULL;
    struct str root = STR("ObjectLockConfiguration");
    struct buf *b;

    if (!r->bucket.locks) {
        reply_detail(r, STR("BucketName"), r->bucket_name);
        return op_fail(op, ERR_NO_SUCH_OBJECT_LOCK);
    }
    if (r->env->confs)
        d = bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, STR("object-lock"));
    b = reply_xml(r);
    xml_begin(b, root);
    if (d) {
        buf_add_str(b, str_skip(d->text, root.n + 2)); /* behind <Root> */
        return op_go(op, reply_send);
    }
    xml_str(b, STR("ObjectLockEnabled"), STR("Enabled"));
    xml_close(b, root);
    return op_go(op, reply_send);
}

enum step_next put_object_lock(struct op *op)
{
    struct s3_request *r = S3(op);
    struct bucket_lock_op *l = r->state = ARENA_NEW(r->arena, struct bucket_lock_op);

    if (!r->env->confs)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    if (r->bucket.id.versions != VERSIONS_ON)
        return op_fail(op,
                       reply_error(r, ERR_INVALID_BUCKET_STATE,
                                   "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"));
    l->read = (struct s3_read_req){.request = r, .max = DOCUMENT_MAX, .need_digest = true};
    s3_read_xml(r, &l->read, &l->xml, op_call(op, bucket_lock_parse));
    return STEP_WAIT;
}

static enum step_next bucket_lock_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct bucket_lock_op *l = r->state;
    struct setting_read read = {.arena = r->arena, .doc = &l->xml.doc};
    enum err e;

    if (!str_eq(xml_root(&l->xml.doc)->name, STR("ObjectLockConfiguration")))
        return op_fail(op, ERR_MALFORMED_XML);
    if ((e = lock_setting_read(&read)) != ERR_OK)
        return op_fail(op, read.why[0] ? reply_error(r, e, "%s", read.why) : e);
    if (r->bucket.locks)
        return op_go(op, bucket_lock_put);
    l->props_req = (struct bucket_set_props_req){.arena = r->arena,
                                                 .name = r->bucket_name,
                                                 .change = STR("{}"),
                                                 .set_versions = true,
                                                 .versions = VERSIONS_ON,
                                                 .locks = true};
    buckets_set_props(r->env->buckets, &l->props_req, &l->props, op_call(op, bucket_lock_put));
    return STEP_WAIT;
}

static enum step_next bucket_lock_put(struct op *op)
{
    struct s3_request *r = S3(op);
    struct bucket_lock_op *l = r->state;

    l->put = (struct bucket_conf_put_req){.arena = r->arena,
                                          .uid = r->bucket.id.uid,
                                          .name = STR("object-lock"),
                                          .text = setting_text(r->arena, &l->xml.doc)};
    bucket_conf_put(r->env->confs, &l->put, &l->written, op_call(op, reply_send));
    return STEP_WAIT;
}

/* ---- of a version ---- */

struct lock_op {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_copy_req copy;
    struct obj_copy_res copied;
    char pin[ETAG_MAX + 2];
    step_fn *then; /* when it was found */
    bool bypass;
};

static step_fn lock_head, lock_headed, retention_found, retention_change, hold_found, hold_change, lock_done;

static enum step_next find(struct s3_request *r, step_fn *then)
{
    struct lock_op *l = r->state;

    if (!r->bucket.locks)
        return op_fail(&r->op, reply_error(r, ERR_INVALID_REQUEST, "Bucket is missing Object Lock Configuration"));
    l->then = then;
    if (!r->http->body || r->http->method == HTTP_GET)
        return r->http->method == HTTP_GET ? op_go(&r->op, lock_head) : op_fail(&r->op, ERR_MALFORMED_XML);
    l->read = (struct s3_read_req){.request = r, .max = DOCUMENT_MAX};
    s3_read_xml(r, &l->read, &l->xml, op_call(&r->op, lock_head));
    return STEP_WAIT;
}

static enum step_next lock_head(struct op *op)
{
    struct s3_request *r = S3(op);
    struct lock_op *l = r->state;

    l->head_req =
        (struct obj_head_req){.arena = r->arena, .bucket = r->place.bucket, .key = r->place.key, .cond = COND_INIT};
    store_obj_head(r->env->store, &l->head_req, &l->head, op_try(op, lock_headed));
    return STEP_WAIT;
}

static enum step_next lock_headed(struct op *op)
{
    struct s3_request *r = S3(op);
    struct lock_op *l = r->state;

    if (op->call.err == ERR_OK && version_moved(r, &l->head.info))
        return op_go(op, lock_head);
    if (op->call.err == ERR_NO_SUCH_KEY)
        return op_go(op, version_absent);
    return op->call.err == ERR_OK ? op_go(op, l->then) : op_fail(op, op->call.err);
}

static enum step_next start(struct op *op, step_fn *then)
{
    struct s3_request *r = S3(op);

    r->state = ARENA_NEW(r->arena, struct lock_op);
    return find(r, then);
}

enum step_next get_retention(struct op *op)
{
    return start(op, retention_found);
}

enum step_next put_retention(struct op *op)
{
    return start(op, retention_change);
}

enum step_next get_legal_hold(struct op *op)
{
    return start(op, hold_found);
}

enum step_next put_legal_hold(struct op *op)
{
    return start(op, hold_change);
}

static enum step_next none(struct s3_request *r)
{
    return op_fail(&r->op, reply_error(r, ERR_NO_SUCH_LOCK, "%s", err_text(ERR_NO_SUCH_LOCK)));
}

static enum step_next retention_found(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct lock_op *l = r->state;
    struct str mode = object_attr(&l->head.info, LOCK_MODE_ATTR), until = object_attr(&l->head.info, LOCK_UNTIL_ATTR);
    struct buf *b;

    if (mode.n == 0)
        return none(r);
    b = reply_xml(r);
    xml_begin(b, STR("Retention"));
    xml_str(b, STR("Mode"), mode);
    xml_str(b, STR("RetainUntilDate"), until);
    xml_close(b, STR("Retention"));
    return op_go(op, reply_send);
}

static enum step_next hold_found(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct lock_op *l = r->state;
    struct str hold = object_attr(&l->head.info, LOCK_HOLD_ATTR);
    struct buf *b;

    if (hold.n == 0)
        return none(r);
    b = reply_xml(r);
    xml_begin(b, STR("LegalHold"));
    xml_str(b, STR("Status"), hold);
    xml_close(b, STR("LegalHold"));
    return op_go(op, reply_send);
}

/* ---- changes ---- */

/* The same version with these kept headers changed, and no others: what somebody else says at the same time stays. */
static enum step_next relabel(struct s3_request *r, const struct attr *attrs, uint32_t n)
{
    struct lock_op *l = r->state;
    struct str etag = etag_str(&l->head.info.etag);

    l->copy = (struct obj_copy_req){.arena = r->arena,
                                    .src_bucket = r->place.bucket,
                                    .src_key = r->place.key,
                                    .src_cond = COND_INIT,
                                    .bucket = r->place.bucket,
                                    .key = r->place.key,
                                    .cond = COND_INIT,
                                    .change_attrs = true,
                                    .bypass = l->bypass,
                                    .keep_mtime = true,
                                    .info = {.attrs = attrs, .attr_count = n},
                                    .size_max = OBJECT_SIZE_MAX};
    l->pin[0] = l->pin[etag.n + 1] = '"';
    memcpy(l->pin + 1, etag.p, etag.n);
    l->copy.cond.if_match = str_n(l->pin, etag.n + 2); /* what was looked at */
    l->copy.cause = s3_cause(r, EVENT_NONE);
    store_obj_copy(r->env->store, &l->copy, &l->copied, op_try(&r->op, lock_done));
    return STEP_WAIT;
}

static enum step_next lock_done(struct op *op)
{
    struct s3_request *r = S3(op);
    enum err e = op->call.err;

    if (e == ERR_PRECONDITION)
        e = ERR_CONFLICT;
    return e == ERR_OK ? op_go(op, reply_send) : op_fail(op, objreq_fail(r, e, r->key, NULL));
}

/* What is locked now may be locked longer or harder. For less, governance wants a right of its own; compliance allows it to nobody. The store
 * decides again, by what is there then. */
static enum err may_change(struct s3_request *r, const struct attr *attrs)
{
    struct lock_op *l = r->state;
    const struct object_info changes = {.attrs = attrs, .attr_count = 2};
    enum lock_change change = version_lock_change(&l->head.info, &changes, clock_wall_ns() / NS_PER_S);
    bool bypass = str_eq_nocase(s3_header(r, STR("x-amz-bypass-governance-retention")), STR("true"));

    if (change == LOCK_NOT_LESS)
        return ERR_OK;
    if (change == LOCK_NEVER || !bypass)
        return ERR_OBJECT_LOCKED;
    l->bypass = true;
    return s3_may(r, STR("s3:BypassGovernanceRetention"), &r->bucket, r->key);
}

/* Policies may ask what the document says. */
static enum err ask_again(struct s3_request *r, struct str mode, struct str until, struct str hold)
{
    if (!s3_may_later(r))
        return ERR_OK;
    r->said.has_lock = true;
    r->said.lock_mode = mode;
    r->said.lock_until = until;
    r->said.lock_hold = hold;
    return s3_may_route(r);
}

static enum step_next retention_change(struct op *op)
{
    struct s3_request *r = S3(op);
    struct lock_op *l = r->state;
    const struct xml_node *root = xml_root(&l->xml.doc);
    struct str mode = xml_child_text(&l->xml.doc, root, STR("Mode")),
               until = xml_child_text(&l->xml.doc, root, STR("RetainUntilDate"));
    bool removes = mode.n == 0 && until.n == 0;
    int64_t until_s = 0;
    struct attr *attrs = arena_alloc(r->arena, 2 * sizeof(*attrs));
    enum err e;

    if (!str_eq(root->name, STR("Retention")) ||
        (!removes &&
         ((!str_eq(mode, STR("GOVERNANCE")) && !str_eq(mode, STR("COMPLIANCE"))) || !clock_iso_parse(until, &until_s))))
        return op_fail(op, ERR_MALFORMED_XML);
    if (!removes && until_s <= clock_wall_ns() / NS_PER_S)
        return op_fail(op, reply_error(r, ERR_INVALID_ARGUMENT, "The retain until date must be in the future!"));
    attrs[0] = (struct attr){LOCK_MODE_ATTR, mode}; /* empty ones are removed */
    attrs[1] = (struct attr){LOCK_UNTIL_ATTR, until};
    if ((e = ask_again(r, mode, until, STR_NONE)) != ERR_OK || (e = may_change(r, attrs)) != ERR_OK)
        return op_fail(op, e);
    return relabel(r, attrs, 2);
}

static enum step_next hold_change(struct op *op)
{
    struct s3_request *r = S3(op);
    struct lock_op *l = r->state;
    const struct xml_node *root = xml_root(&l->xml.doc);
    struct str status = xml_child_text(&l->xml.doc, root, STR("Status"));
    struct attr *attrs = ARENA_NEW(r->arena, struct attr);
    enum err e;

    if (!str_eq(root->name, STR("LegalHold")) || (!str_eq(status, STR("ON")) && !str_eq(status, STR("OFF"))))
        return op_fail(op, ERR_MALFORMED_XML);
    if ((e = ask_again(r, STR_NONE, STR_NONE, status)) != ERR_OK)
        return op_fail(op, e);
    *attrs = (struct attr){LOCK_HOLD_ATTR, status};
    return relabel(r, attrs, 1);
}
