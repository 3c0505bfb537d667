/* CopyObject. */
#include "base/clock.h"
#include "s3api/acl.h"
#include "s3api/attrs.h"
#include "s3api/cond.h"
#include "s3api/encryption.h"
#include "s3api/lock.h"
#include "s3api/may.h"
#include "s3api/member.h"
#include "s3api/objreq.h"
#include "s3api/version.h"

step_fn copy_object; /* routes.def */

struct copy_state {
    struct objreq_source source;
    struct version_find_req find_req; /* of a version of it */
    struct version_find_res find;
    struct obj_head_req head_req;
    struct obj_head_res head_res;
    struct obj_copy_req req;
    struct obj_copy_res res;
    char pin[ETAG_MAX + 2]; /* quoted ETag of the source that was looked at */
    bool replace_attrs, replace_tags;
    /* a source that is a member of an archive */
    struct member_read_req member;
    struct obj_get_res read;
    bool is_member;
    struct body_check check;
    struct obj_put_req put;
    struct obj_put_res stored;
};

static step_fn copy_named, copy_look, copy_found, copy_looked, copy_opened, copy_stored, copy_done;
static enum err copy_parse(struct s3_request *r, struct copy_state *c);
static void close_read(void *arg);
static void copy_keep_attrs(struct s3_request *r, struct copy_state *c);
static void copy_pin(struct copy_state *c);

enum step_next copy_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct copy_state *c = r->state = ARENA_NEW(r->arena, struct copy_state);
    enum err e;

    if ((e = copy_parse(r, c)) != ERR_OK)
        return op_fail(op, e);
    if (!c->source.version.p)
        return op_go(op, copy_look);
    c->find_req = (struct version_find_req){c->source.bucket.id, c->source.key, c->source.version};
    version_find(r, &c->find_req, &c->find, op_try(op, copy_named));
    return STEP_WAIT;
}

static enum step_next copy_named(struct op *op)
{
    struct s3_request *r = S3(op);
    struct copy_state *c = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, c->source.key, NULL));
    if (version_is_marker(c->find.version.kind))
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST,
                                       "The source of a copy request may not specifically refer to a delete marker by "
                                       "version id."));
    c->req.src_bucket = c->find.place.bucket;
    c->req.src_key = c->find.place.key;
    c->head_res.info = c->find.info;
    op->call.err = ERR_OK;
    return op_go(op, copy_found);
}

static enum step_next copy_look(struct op *op)
{
    struct s3_request *r = S3(op);
    struct copy_state *c = r->state;

    c->head_req = (struct obj_head_req){
        .arena = r->arena, .bucket = c->source.bucket.id, .key = c->source.key, .cond = COND_INIT};
    if (member_possible(r, &c->source.bucket, c->source.key)) {
        c->member = (struct member_read_req){.get = {c->head_req}, .head = true, .found = &c->is_member};
        member_read(r, &c->member, &c->read, op_try(op, copy_looked));
    } else {
        store_obj_head(r->env->store, &c->head_req, &c->head_res, op_try(op, copy_found));
    }
    return STEP_WAIT;
}

static enum step_next copy_looked(struct op *op)
{
    struct copy_state *c = S3(op)->state;

    c->head_res = c->read.head;
    return copy_found(op);
}

/* S3 API: CopyObject, "Permissions": tags are not read or written by the way. */
static enum err copy_may_tags(struct s3_request *r, const struct copy_state *c)
{
    enum err e;

    if (c->replace_tags || c->head_res.info.tags.n == 0)
        return ERR_OK;
    e = s3_may_version(r, c->source.version.p ? STR("s3:GetObjectVersionTagging") : STR("s3:GetObjectTagging"),
                       &c->source.bucket, c->source.key, c->source.version);
    return e == ERR_OK ? s3_may(r, STR("s3:PutObjectTagging"), &r->bucket, r->key) : e;
}

static enum step_next copy_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct copy_state *c = r->state;
    enum err e;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, c->source.key, NULL));
    if ((e = cond_check_copy_source(&c->req.src_cond, &c->head_res.info, clock_wall_ns() / NS_PER_S)) != ERR_OK)
        return op_fail(op, objreq_fail(r, e, c->source.key, &c->req.src_cond));
    if (c->head_res.info.size > PUT_SIZE_MAX)
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST,
                                       "The specified copy source is larger than the maximum allowable size for a copy "
                                       "source: %llu",
                                       (unsigned long long)PUT_SIZE_MAX));
    if ((e = copy_may_tags(r, c)) != ERR_OK)
        return op_fail(op, e);
    if (!c->replace_attrs)
        copy_keep_attrs(r, c);
    copy_pin(c);
    if (c->is_member) {
        arena_defer(r->arena, close_read, c);
        c->member.head = false;
        c->member.get.head.cond = c->req.src_cond;
        member_read(r, &c->member, &c->read, op_try(op, copy_opened));
    } else {
        c->req.cause = s3_cause(r, EVENT_BY_METHOD);
        store_obj_copy(r->env->store, &c->req, &c->res, op_try(op, copy_done));
    }
    return STEP_WAIT;
}

/* ---- from an archive: by reading and writing, checked by the member's CRC ---- */

static void close_read(void *arg)
{
    source_close(((struct copy_state *)arg)->read.body);
}

static enum step_next copy_opened(struct op *op)
{
    struct s3_request *r = S3(op);
    struct copy_state *c = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, c->source.key, &c->req.src_cond));
    c->check.checksum = c->req.checksum != HASH_NONE ? c->req.checksum : HASH_CRC32;
    if (c->read.head.info.checksum.digest.n) {
        c->check.want_count = 1;
        c->check.want[0].digest = c->read.head.info.checksum.digest;
        c->check.want[0].err = ERR_BAD_ARCHIVE;
    }
    c->put = (struct obj_put_req){.arena = r->arena,
                                  .bucket = c->req.bucket,
                                  .key = c->req.key,
                                  .info = c->req.info,
                                  .cond = c->req.cond,
                                  .body = c->read.body,
                                  .check = &c->check,
                                  .size_max = PUT_SIZE_MAX};
    c->put.cause = s3_cause(r, EVENT_COPY);
    store_obj_put(r->env->store, &c->put, &c->stored, op_try(op, copy_stored));
    return STEP_WAIT;
}

static enum step_next copy_stored(struct op *op)
{
    struct copy_state *c = S3(op)->state;

    c->res.info = c->stored.info;
    return copy_done(op);
}

static enum step_next copy_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct copy_state *c = r->state;
    const struct object_info *info = &c->res.info;
    enum err e = op->call.err;
    struct buf *b;

    if (e == ERR_PRECONDITION && cond_is_empty(&c->req.cond))
        e = ERR_CONFLICT; /* the source changed after it was looked at: copy_pin() */
    if (e != ERR_OK)
        return op_fail(op, objreq_fail(r, e, c->source.key, &c->req.cond));
    version_reply(r, info);
    encryption_reply(r, &c->req.info);
    if (c->source.bucket.id.versions != VERSIONS_OFF && !c->is_member)
        version_reply_id(r, STR("x-amz-copy-source-version-id"),
                         c->source.version.p ? c->find.version : version_of(&c->head_res.info));
    b = reply_xml(r);
    xml_begin(b, STR("CopyObjectResult"));
    xml_time(b, STR("LastModified"), info->mtime_ns);
    xml_etag(b, &info->etag);
    xml_checksum(b, &info->checksum);
    if (info->checksum.digest.n)
        xml_str(b, STR("ChecksumType"), checksum_type_name(info->checksum.type));
    xml_close(b, STR("CopyObjectResult"));
    return op_go(op, reply_send);
}

/* ---- the request ---- */

/* COPY (the default) or REPLACE. */
static enum err directive(struct s3_request *r, struct str header, bool *replace)
{
    struct str v = s3_header(r, header);

    *replace = str_eq(v, STR("REPLACE"));
    if (!v.p || *replace || str_eq(v, STR("COPY")))
        return ERR_OK;
    reply_detail(r, STR("ArgumentName"), header);
    reply_detail(r, STR("ArgumentValue"), v);
    return reply_error(r, ERR_INVALID_ARGUMENT, "Unknown " STR_FMT ".", STR_ARG(str_skip(header, 6)));
}

/* S3 refuses a copy onto itself that would change nothing: it is always a mistake. */
static enum err check_not_idle(struct s3_request *r, const struct copy_state *c)
{
    bool self = !c->source.version.p && c->source.bucket.id.uid == r->bucket.id.uid && str_eq(c->source.key, r->key);

    if (!self || c->replace_attrs || c->replace_tags || c->req.checksum != HASH_NONE ||
        s3_header(r, ATTR_ENCRYPTION).p || s3_header(r, STR("x-amz-storage-class")).p ||
        s3_header(r, STR("x-amz-website-redirect-location")).p)
        return ERR_OK;
    return reply_error(r, ERR_INVALID_REQUEST,
                       "This copy request is illegal because it is trying to copy an object to itself without changing "
                       "the object's metadata, storage class, website redirect location or encryption attributes.");
}

static enum err parse_checksum(struct s3_request *r, enum hash_alg *alg)
{
    struct str name = s3_header(r, STR("x-amz-checksum-algorithm"));

    *alg = HASH_NONE;
    if (!name.p)
        return ERR_OK;
    *alg = hash_by_name(name);
    if (*alg == HASH_NONE)
        return reply_error(r, ERR_INVALID_REQUEST, "Checksum algorithm provided is unsupported.");
    return ERR_OK;
}

static enum err copy_parse(struct s3_request *r, struct copy_state *c)
{
    struct obj_copy_req *q = &c->req;
    enum err e;

    *q = (struct obj_copy_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .size_max = PUT_SIZE_MAX};
    if ((e = objreq_refuse_unsupported(r)) != ERR_OK || (e = objreq_copy_source(r, &c->source)) != ERR_OK ||
        (e = directive(r, STR("x-amz-metadata-directive"), &c->replace_attrs)) != ERR_OK ||
        (e = directive(r, STR("x-amz-tagging-directive"), &c->replace_tags)) != ERR_OK ||
        (e = parse_checksum(r, &q->checksum)) != ERR_OK || (e = attrs_collect(r->http, &q->info)) != ERR_OK ||
        (c->replace_tags && (e = attrs_collect_tags(r->http, &q->info)) != ERR_OK) ||
        (e = acl_collect(r, r->http, &q->info)) != ERR_OK || (e = lock_collect(r, &q->info)) != ERR_OK ||
        (e = check_not_idle(r, c)) != ERR_OK)
        return e;
    encryption_collect(r, &q->info);
    q->src_bucket = c->source.bucket.id;
    q->src_key = c->source.key;
    q->replace_attrs = true; /* see copy_keep_attrs() */
    q->replace_tags = c->replace_tags;
    cond_parse_copy_source(r->http, &q->src_cond);
    cond_parse_write(r->http, &q->cond);
    return ERR_OK;
}

/* The source's headers, except that storage class, redirect, locks, encryption and access control list are never copied: they come from the request (S3 API:
 * CopyObject). */
static void copy_keep_attrs(struct s3_request *r, struct copy_state *c)
{
    static const struct str own[] = {{"x-amz-storage-class", 19},          {"x-amz-website-redirect-location", 31},
                                     {"x-amz-object-lock-mode", 22},       {"x-amz-object-lock-retain-until-date", 35},
                                     {"x-amz-object-lock-legal-hold", 28}, {ATTR_PRIVATE "acl", 12},
                                     {"x-amz-server-side-encryption", 28}};
    enum { OWN = sizeof(own) / sizeof(own[0]) };
    const struct object_info *from = &c->head_res.info;
    struct attr *attrs = arena_alloc(r->arena, (from->attr_count + OWN) * sizeof(*attrs));
    uint32_t n = 0;

    for (uint32_t i = 0; i < from->attr_count; i++) {
        size_t k = 0;
        while (k < OWN && !str_eq(from->attrs[i].name, own[k]))
            k++;
        if (k == OWN)
            attrs[n++] = from->attrs[i];
    }
    for (size_t k = 0; k < OWN; k++) {
        struct str v = object_attr(&c->req.info, own[k]);
        if (v.p)
            attrs[n++] = (struct attr){own[k], v};
    }
    c->req.info.attrs = attrs;
    c->req.info.attr_count = n;
}

/* The headers came from this very content: a source that changes meanwhile must not be mixed with them. */
static void copy_pin(struct copy_state *c)
{
    struct str etag = etag_str(&c->head_res.info.etag);

    if (c->replace_attrs)
        return;
    c->pin[0] = '"';
    memcpy(c->pin + 1, etag.p, etag.n);
    c->pin[etag.n + 1] = '"';
    c->req.src_cond.if_match = str_n(c->pin, etag.n + 2);
}
