/* CreateMultipartUpload, CompleteMultipartUpload, AbortMultipartUpload. */
#include "http/url.h"
#include "s3api/acl.h"
#include "s3api/attrs.h"
#include "s3api/cond.h"
#include "s3api/encryption.h"
#include "s3api/objreq.h"
#include "s3api/lock.h"
#include "s3api/version.h"

step_fn create_multipart_upload, complete_multipart_upload, abort_multipart_upload; /* routes.def */

/* ---- create ---- */

struct create_state {
    struct upload_create_req req;
    struct upload_create_res res;
    char initiator[64];
};

static step_fn create_done;

static enum err create_parse(struct s3_request *r, struct create_state *c)
{
    struct upload_create_req *q = &c->req;
    struct str message = STR_NONE;
    enum err e;

    *q = (struct upload_create_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key};
    if ((e = objreq_refuse_unsupported(r)) != ERR_OK || (e = attrs_collect(r->http, &q->info)) != ERR_OK ||
        (e = attrs_collect_tags(r->http, &q->info)) != ERR_OK || (e = acl_collect(r, r->http, &q->info)) != ERR_OK ||
        (e = lock_collect(r, &q->info)) != ERR_OK)
        return e;
    encryption_collect(r, &q->info);
    if ((e = checksum_plan(r->http, &q->checksum, &q->type, &message)) != ERR_OK)
        return message.n ? reply_error(r, e, STR_FMT, STR_ARG(message)) : e;
    memcpy(c->initiator, r->owner_id, sizeof(c->initiator));
    if (r->access_key.n)
        creds_owner_id(r->access_key, c->initiator);
    q->initiator = str_n(c->initiator, sizeof(c->initiator));
    return ERR_OK;
}

enum step_next create_multipart_upload(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_state *c = r->state = ARENA_NEW(r->arena, struct create_state);
    enum err e;

    if ((e = create_parse(r, c)) != ERR_OK)
        return op_fail(op, e);
    store_upload_create(r->env->store, &c->req, &c->res, op_call(op, create_done));
    return STEP_WAIT;
}

static enum step_next create_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_state *c = r->state;
    struct buf *b = reply_xml(r);

    encryption_reply(r, &c->req.info);
    if (c->req.checksum != HASH_NONE) {
        reply_header(r, STR("x-amz-checksum-algorithm"), hash_name(c->req.checksum));
        reply_header(r, STR("x-amz-checksum-type"), checksum_type_name(c->req.type));
    }
    xml_begin(b, STR("InitiateMultipartUploadResult"));
    xml_str(b, STR("Bucket"), r->bucket_name);
    xml_str(b, STR("Key"), r->key);
    xml_str(b, STR("UploadId"), c->res.upload_id);
    xml_close(b, STR("InitiateMultipartUploadResult"));
    return op_go(op, reply_send);
}

/* ---- complete ---- */

enum { COMPLETE_BODY_MAX = 4 << 20 }; /* 10,000 parts of 400 bytes: number, ETag and the longest checksum */

struct complete_state {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct upload_complete_req req;
    struct upload_complete_res res;
};

static step_fn complete_parsed, complete_done;
static enum err parse_headers(struct s3_request *r, struct upload_complete_req *q);
static enum err parse_parts(struct s3_request *r, const struct xml_doc *doc, struct upload_complete_req *q);
static enum err complete_failed(struct s3_request *r, const struct complete_state *c, enum err e);
static void write_location(struct buf *b, const struct s3_request *r);

enum step_next complete_multipart_upload(struct op *op)
{
    struct s3_request *r = S3(op);
    struct complete_state *c = r->state = ARENA_NEW(r->arena, struct complete_state);
    enum err e;

    c->req = (struct upload_complete_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key};
    c->req.upload_id = s3_query(r, STR("uploadId"));
    if ((e = objreq_refuse_unsupported(r)) != ERR_OK || (e = parse_headers(r, &c->req)) != ERR_OK)
        return op_fail(op, e);
    c->read = (struct s3_read_req){.request = r, .max = COMPLETE_BODY_MAX, .digests_object = true};
    s3_read_xml(r, &c->read, &c->xml, op_call(op, complete_parsed));
    return STEP_WAIT;
}

static enum step_next complete_parsed(struct op *op)
{
    struct s3_request *r = S3(op);
    struct complete_state *c = r->state;
    enum err e;

    if ((e = parse_parts(r, &c->xml.doc, &c->req)) != ERR_OK)
        return op_fail(op, e);
    c->req.cause = s3_cause(r, EVENT_BY_METHOD);
    store_upload_complete(r->env->store, &c->req, &c->res, op_try(op, complete_done));
    return STEP_WAIT;
}

static enum step_next complete_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct complete_state *c = r->state;
    struct buf *b;

    if (op->call.err != ERR_OK)
        return op_fail(op, complete_failed(r, c, op->call.err));
    version_reply(r, &c->res.info);
    encryption_reply(r, &c->res.info);
    b = reply_xml(r);
    xml_begin(b, STR("CompleteMultipartUploadResult"));
    write_location(b, r);
    xml_str(b, STR("Bucket"), r->bucket_name);
    xml_str(b, STR("Key"), r->key);
    xml_etag(b, &c->res.info.etag);
    xml_checksum(b, &c->res.info.checksum);
    if (c->res.info.checksum.digest.n)
        xml_str(b, STR("ChecksumType"), checksum_type_name(c->res.info.checksum.type));
    xml_close(b, STR("CompleteMultipartUploadResult"));
    return op_go(op, reply_send);
}

static enum err parse_headers(struct s3_request *r, struct upload_complete_req *q)
{
    struct str type = s3_header(r, STR("x-amz-checksum-type")), size = s3_header(r, STR("x-amz-mp-object-size"));
    struct str message = STR_NONE;
    enum err e;

    cond_parse_write(r->http, &q->cond);
    if ((e = checksum_from_headers(r->http, &q->want, &message)) != ERR_OK)
        return message.n ? reply_error(r, e, STR_FMT, STR_ARG(message)) : e;
    if (str_eq_nocase(type, STR("FULL_OBJECT")))
        q->want_type = CHECKSUM_FULL_OBJECT;
    else if (str_eq_nocase(type, STR("COMPOSITE")))
        q->want_type = CHECKSUM_COMPOSITE;
    else if (type.p)
        return reply_error(r, ERR_INVALID_REQUEST, "Value for x-amz-checksum-type header is invalid.");
    q->want_size = UINT64_MAX;
    if (size.p && !str_to_u64(size, OBJECT_SIZE_MAX, &q->want_size))
        return reply_error(r, ERR_INVALID_REQUEST, "Value for x-amz-mp-object-size header is invalid.");
    return ERR_OK;
}

static enum err parse_part(struct s3_request *r, const struct xml_doc *doc, const struct xml_node *part,
                           struct complete_part *out)
{
    static const struct str prefix = {"Checksum", 8};
    struct str number = str_trim(xml_child_text(doc, part, STR("PartNumber")));
    uint64_t n;

    out->etag = str_trim(xml_child_text(doc, part, STR("ETag")));
    if (!str_to_u64(number, UINT32_MAX, &n) || out->etag.n == 0)
        return ERR_MALFORMED_XML;
    if (n == 0 || n > PARTS_MAX)
        return reply_error(r, ERR_INVALID_ARGUMENT, "Part number must be an integer between 1 and %d, inclusive",
                           PARTS_MAX);
    out->number = (uint32_t)n;
    for (const struct xml_node *c = xml_first(doc, part); c; c = xml_next(doc, part, c)) {
        struct checksum sum;
        enum hash_alg alg = str_starts(c->name, prefix) ? hash_by_name(str_skip(c->name, prefix.n)) : HASH_NONE;
        if (alg == HASH_NONE || c->text.n == 0)
            continue;
        if (!checksum_parse(alg, str_trim(c->text), &sum))
            return reply_error(r, ERR_INVALID_REQUEST, "Value for " STR_FMT " of part %u is invalid.", STR_ARG(c->name),
                               out->number);
        out->checksum = sum.digest;
    }
    return ERR_OK;
}

static enum err parse_parts(struct s3_request *r, const struct xml_doc *doc, struct upload_complete_req *q)
{
    const struct xml_node *root = xml_root(doc);
    struct complete_part *parts;
    uint32_t count = 0;
    enum err e;

    /* the name "CompleteMultipartUploadResult" is what some old clients send; S3 takes both */
    if (!str_starts(root->name, STR("CompleteMultipartUpload")))
        return ERR_MALFORMED_XML;
    for (const struct xml_node *n = xml_first(doc, root); n; n = xml_next(doc, root, n))
        count += str_eq(n->name, STR("Part"));
    if (count == 0 || count > PARTS_MAX)
        return ERR_MALFORMED_XML;
    parts = arena_new(r->arena, count * sizeof(*parts));
    for (const struct xml_node *n = xml_first(doc, root); n; n = xml_next(doc, root, n)) {
        if (!str_eq(n->name, STR("Part")))
            continue;
        if ((e = parse_part(r, doc, n, &parts[q->part_count])) != ERR_OK)
            return e;
        /* before the store meets a small part that is only in the wrong place */
        if (q->part_count && parts[q->part_count].number <= parts[q->part_count - 1].number)
            return ERR_INVALID_PART_ORDER;
        q->part_count++;
    }
    q->parts = parts;
    return ERR_OK;
}

static enum err complete_failed(struct s3_request *r, const struct complete_state *c, enum err e)
{
    const struct part_info *bad = &c->res.bad;

    if (e == ERR_ENTITY_TOO_SMALL) {
        reply_detail(r, STR("ProposedSize"), arena_printf(r->arena, "%llu", (unsigned long long)bad->size));
        reply_detail(r, STR("MinSizeAllowed"), arena_printf(r->arena, "%llu", (unsigned long long)PART_SIZE_MIN));
    }
    if ((e == ERR_ENTITY_TOO_SMALL || e == ERR_INVALID_PART) && bad->number) {
        reply_detail(r, STR("PartNumber"), arena_printf(r->arena, "%u", bad->number));
        reply_detail(r, STR("ETag"), arena_str(r->arena, etag_str(&bad->etag)));
    }
    if (e == ERR_NO_SUCH_UPLOAD || e == ERR_INVALID_PART)
        reply_detail(r, STR("UploadId"), c->req.upload_id);
    return objreq_fail(r, e, r->key, &c->req.cond);
}

static void write_location(struct buf *b, const struct s3_request *r)
{
    enum { LOCATION_MAX = 8192 };
    struct buf url = BUF_INIT(LOCATION_MAX);

    buf_add_z(&url, r->http->secure ? "https://" : "http://");
    buf_add_str(&url, r->http->host);
    if (!r->bucket_from_host) {
        buf_add_char(&url, '/');
        buf_add_str(&url, r->bucket_name);
    }
    buf_add_char(&url, '/');
    url_encode(&url, r->key, true);
    xml_str(b, STR("Location"), buf_str(&url));
    buf_release(&url);
}

/* ---- abort ---- */

struct abort_state {
    struct upload_abort_req req;
    struct upload_abort_res res;
};

static step_fn abort_done;

enum step_next abort_multipart_upload(struct op *op)
{
    struct s3_request *r = S3(op);
    struct abort_state *a = r->state = ARENA_NEW(r->arena, struct abort_state);
    enum err e;

    if ((e = objreq_refuse_unsupported(r)) != ERR_OK)
        return op_fail(op, e);
    a->req = (struct upload_abort_req){r->arena, r->bucket.id, r->key, s3_query(r, STR("uploadId"))};
    store_upload_abort(r->env->store, &a->req, &a->res, op_try(op, abort_done));
    return STEP_WAIT;
}

static enum step_next abort_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct abort_state *a = r->state;

    if (op->call.err == ERR_NO_SUCH_UPLOAD)
        reply_detail(r, STR("UploadId"), a->req.upload_id);
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    reply_status(r, 204);
    return op_go(op, reply_send);
}
