/* UploadPart and UploadPartCopy. */
#include "s3api/cond.h"
#include "s3api/objreq.h"
#include "s3api/version.h"
#include "s3api/range.h"

step_fn upload_part, upload_part_copy; /* routes.def */

struct part_state {
    struct upload_part_req req;
    struct upload_part_res res;
    struct body body;
    struct body_check check; /* of a copied part */
    struct objreq_source from;
    struct version_find_req find_req; /* of a version of it */
    struct version_find_res find;
    struct obj_get_req get_req;
    struct obj_get_res get_res;
};

static step_fn part_done, part_copy_named, part_copy_open, part_copy_opened, part_copy_done;

static enum err part_parse(struct s3_request *r, struct part_state *p)
{
    p->req =
        (struct upload_part_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .size_max = PART_SIZE_MAX};
    p->req.upload_id = s3_query(r, STR("uploadId"));
    return objreq_part_number(r, NULL, &p->req.number);
}

static enum err part_failed(struct s3_request *r, const struct part_state *p, enum err e)
{
    if (e == ERR_NO_SUCH_UPLOAD)
        reply_detail(r, STR("UploadId"), p->req.upload_id);
    if (e == ERR_CHECKSUM_TYPE)
        reply_error(r, e, "Checksum Type mismatch occurred: the upload was created for another algorithm than " STR_FMT,
                    STR_ARG(hash_name(p->body.check.checksum)));
    return e;
}

/* ---- from the client ---- */

enum step_next upload_part(struct op *op)
{
    struct s3_request *r = S3(op);
    struct part_state *p = r->state = ARENA_NEW(r->arena, struct part_state);
    enum err e;

    if ((e = part_parse(r, p)) != ERR_OK || (e = objreq_check_length(r)) != ERR_OK ||
        (e = objreq_refuse_unsupported(r)) != ERR_OK || (e = objreq_body_open(r, &p->body, PART_SIZE_MAX)) != ERR_OK)
        return op_fail(op, e);
    p->req.body = p->body.source;
    p->req.check = &p->body.check;
    store_upload_part(r->env->store, &p->req, &p->res, op_try(op, part_done));
    return STEP_WAIT;
}

static enum step_next part_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct part_state *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, part_failed(r, p, op->call.err));
    reply_etag(r, &p->res.part.etag);
    objreq_reply_digest(r, &p->res.part.checksum.digest);
    return op_go(op, reply_send);
}

/* ---- from another object ---- */

static void close_source(void *arg)
{
    source_close(((struct part_state *)arg)->get_res.body);
}

static enum err part_copy_parse(struct s3_request *r, struct part_state *p)
{
    struct str range = s3_header(r, STR("x-amz-copy-source-range"));
    struct obj_head_req *h = &p->get_req.head;
    enum err e;

    if ((e = part_parse(r, p)) != ERR_OK || (e = objreq_refuse_unsupported(r)) != ERR_OK ||
        (e = objreq_copy_source(r, &p->from)) != ERR_OK)
        return e;
    *h = (struct obj_head_req){.arena = r->arena, .bucket = p->from.bucket.id, .key = p->from.key};
    if (range.p && (e = range_parse_copy(range, &h->range)) != ERR_OK) {
        reply_detail(r, STR("ArgumentName"), STR("x-amz-copy-source-range"));
        reply_detail(r, STR("ArgumentValue"), range);
        return reply_error(r, e,
                           "The x-amz-copy-source-range value must be of the form bytes=first-last where first "
                           "and last are the zero-based offsets of the first and last bytes to copy");
    }
    cond_parse_copy_source(r->http, &h->cond);
    return ERR_OK;
}

enum step_next upload_part_copy(struct op *op)
{
    struct s3_request *r = S3(op);
    struct part_state *p = r->state = ARENA_NEW(r->arena, struct part_state);
    enum err e;

    if ((e = part_copy_parse(r, p)) != ERR_OK)
        return op_fail(op, e);
    arena_defer(r->arena, close_source, p);
    if (!p->from.version.p)
        return op_go(op, part_copy_open);
    p->find_req = (struct version_find_req){p->from.bucket.id, p->from.key, p->from.version};
    version_find(r, &p->find_req, &p->find, op_try(op, part_copy_named));
    return STEP_WAIT;
}

static enum step_next part_copy_named(struct op *op)
{
    struct s3_request *r = S3(op);
    struct part_state *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, p->from.key, NULL));
    if (version_is_marker(p->find.version.kind))
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST,
                                       "The source of a copy request may not specifically refer to a delete marker by "
                                       "version id."));
    p->get_req.head.bucket = p->find.place.bucket;
    p->get_req.head.key = p->find.place.key;
    return op_go(op, part_copy_open);
}

static enum step_next part_copy_open(struct op *op)
{
    struct s3_request *r = S3(op);
    struct part_state *p = r->state;

    store_obj_get(r->env->store, &p->get_req, &p->get_res, op_try(op, part_copy_opened));
    return STEP_WAIT;
}

/* Reading a Range clamps it to the object; a copy of less than was asked for would be an error nobody sees. */
static enum err check_opened(struct s3_request *r, const struct part_state *p)
{
    const struct obj_head_res *h = &p->get_res.head;
    const struct range *range = &p->get_req.head.range;

    if (range->kind != RANGE_ALL && range->last >= h->info.size)
        return reply_error(r, ERR_INVALID_RANGE, "Range specified is not valid for source object of size: %llu",
                           (unsigned long long)h->info.size);
    if (h->len > PART_SIZE_MAX)
        return reply_error(
            r, ERR_INVALID_REQUEST,
            "The specified copy source is larger than the maximum allowable size for a copy source: %llu",
            (unsigned long long)PART_SIZE_MAX);
    return ERR_OK;
}

static enum step_next part_copy_opened(struct op *op)
{
    struct s3_request *r = S3(op);
    struct part_state *p = r->state;
    enum err e = op->call.err;

    /* for copies every condition that fails is a 412 (S3 API: UploadPartCopy) */
    if (e == ERR_NOT_MODIFIED)
        e = ERR_PRECONDITION;
    if (e != ERR_OK)
        return op_fail(op, objreq_fail(r, e, p->from.key, &p->get_req.head.cond));
    if ((e = check_opened(r, p)) != ERR_OK)
        return op_fail(op, e);
    p->req.body = p->get_res.body;
    p->req.check = &p->check;
    store_upload_part(r->env->store, &p->req, &p->res, op_try(op, part_copy_done));
    return STEP_WAIT;
}

static enum step_next part_copy_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct part_state *p = r->state;
    struct buf *b;

    if (op->call.err != ERR_OK)
        return op_fail(op, part_failed(r, p, op->call.err));
    b = reply_xml(r);
    xml_begin(b, STR("CopyPartResult"));
    xml_time(b, STR("LastModified"), p->res.part.mtime_ns);
    xml_etag(b, &p->res.part.etag);
    objreq_xml_digest(b, &p->res.part.checksum.digest);
    xml_close(b, STR("CopyPartResult"));
    return op_go(op, reply_send);
}
