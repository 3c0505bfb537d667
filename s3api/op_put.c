/* PutObject. */
#include "s3api/append.h"
#include "s3api/acl.h"
#include "s3api/attrs.h"
#include "s3api/cond.h"
#include "s3api/encryption.h"
#include "s3api/lock.h"
#include "s3api/objreq.h"
#include "s3api/transform.h"
#include "s3api/version.h"

step_fn put_object; /* routes.def */

struct put_state {
    struct obj_put_req req;
    struct obj_put_res res;
    struct obj_head_req head_req;
    struct obj_head_res head_res;
    struct body body;
    struct transform_body transform;
};

static step_fn put_checked, put_body, put_transformed, put_store, put_stored;
static enum err put_parse(struct s3_request *r, struct put_state *p);

enum step_next put_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct put_state *p;
    enum err e;

    if (append_wanted(r))
        return op_go(op, append_object);
    p = r->state = ARENA_NEW(r->arena, struct put_state);
    if ((e = put_parse(r, p)) != ERR_OK)
        return op_fail(op, e);
    if (cond_is_empty(&p->req.cond) || !p->req.body)
        return op_go(op, put_body);
    /* The store decides where it commits. Looking first spares a client that waits for "100 Continue" the whole body.
     */
    p->head_req = (struct obj_head_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .cond = COND_INIT};
    store_obj_head(r->env->store, &p->head_req, &p->head_res, op_try(op, put_checked));
    return STEP_WAIT;
}

static enum step_next put_checked(struct op *op)
{
    struct s3_request *r = S3(op);
    struct put_state *p = r->state;
    bool exists = op->call.err == ERR_OK;
    enum err e;

    if (!exists && op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    if ((e = cond_check_write(&p->req.cond, exists ? &p->head_res.info : NULL)) != ERR_OK)
        return op_fail(op, objreq_fail(r, e, r->key, &p->req.cond));
    return op_go(op, put_body);
}

static enum step_next put_body(struct op *op)
{
    struct s3_request *r = S3(op);
    struct put_state *p = r->state;

    if (!transform_wanted(r))
        return op_go(op, put_store);
    transform_body(r, &p->transform, p->req.body, p->req.check, op_try(op, put_transformed));
    return STEP_WAIT;
}

static enum step_next put_transformed(struct op *op)
{
    struct s3_request *r = S3(op);
    struct put_state *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, transform_fail(r, op->call.err, &p->transform.res));
    p->req.body = p->transform.res.body;
    p->req.check = &p->transform.check;
    return op_go(op, put_store);
}

static enum step_next put_store(struct op *op)
{
    struct s3_request *r = S3(op);
    struct put_state *p = r->state;

    p->req.cause = s3_cause(r, EVENT_BY_METHOD);
    store_obj_put(r->env->store, &p->req, &p->res, op_try(op, put_stored));
    return STEP_WAIT;
}

static enum step_next put_stored(struct op *op)
{
    struct s3_request *r = S3(op);
    struct put_state *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, &p->req.cond));
    reply_etag(r, &p->res.info.etag);
    reply_checksum(r, &p->res.info.checksum);
    version_reply(r, &p->res.info);
    encryption_reply(r, &p->req.info);
    p->res.info.tags = p->req.info.tags;
    objreq_reply_expiration(r, &p->res.info);
    return op_go(op, reply_send);
}

static enum err put_parse(struct s3_request *r, struct put_state *p)
{
    struct obj_put_req *q = &p->req;
    enum err e;

    *q = (struct obj_put_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .size_max = PUT_SIZE_MAX};
    if ((e = objreq_check_length(r)) != ERR_OK || (e = objreq_refuse_unsupported(r)) != ERR_OK ||
        (e = attrs_collect(r->http, &q->info)) != ERR_OK || (e = attrs_collect_tags(r->http, &q->info)) != ERR_OK ||
        (e = acl_collect(r, r->http, &q->info)) != ERR_OK || (e = lock_collect(r, &q->info)) != ERR_OK)
        return e;
    encryption_collect(r, &q->info);
    cond_parse_write(r->http, &q->cond);
    if ((e = objreq_body_open(r, &p->body, PUT_SIZE_MAX)) != ERR_OK)
        return e;
    q->body = p->body.source;
    q->check = &p->body.check;
    return ERR_OK;
}
