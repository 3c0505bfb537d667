/* PutObject with x-amz-write-offset-bytes: the body is put behind what the object has. Where the store can splice that costs the body's
 * bytes; where it can't (objects of several copies, of a remote bucket) the object is written anew, in one commit, too. */
#include "s3api/append.h"

#include "s3api/acl.h"
#include "s3api/attrs.h"
#include "s3api/cond.h"
#include "s3api/objreq.h"
#include "s3api/transform.h"
#include "store/source_chain.h"
#include "store/verified.h"
#include "s3api/lock.h"
#include "s3api/version.h"

struct append_state {
    uint64_t offset;
    struct cond cond; /* the client's */
    struct body body;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_put_req put;
    struct obj_put_res stored;
    struct obj_splice_req splice;
    struct obj_splice_res spliced;
    char pin[ETAG_MAX + 2]; /* of what the offset was compared with */
    /* written anew */
    struct obj_get_req get;
    struct obj_get_res old;
    struct source *kept, *added, *chain;
    struct body_check kept_check, check;
};

static step_fn append_found, append_put, append_spliced, append_read, append_stored, append_raced; /* in order */
static enum err append_parse(struct s3_request *r, struct append_state *a);

static enum step_next look(struct s3_request *r, step_fn *then)
{
    struct append_state *a = r->state;

    a->head_req = (struct obj_head_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .cond = COND_INIT};
    store_obj_head(r->env->store, &a->head_req, &a->head, op_try(&r->op, then));
    return STEP_WAIT;
}

bool append_wanted(const struct s3_request *r)
{
    return s3_header(r, STR("x-amz-write-offset-bytes")).p != NULL;
}

enum step_next append_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct append_state *a = r->state = ARENA_NEW(r->arena, struct append_state);
    enum err e = append_parse(r, a);

    return e == ERR_OK ? look(r, append_found) : op_fail(op, e);
}

/* An object keeps what it was made with: to say otherwise would be ignored. */
static enum err check_nothing_else(struct s3_request *r, const struct append_state *a)
{
    for (uint32_t i = 0; i < a->put.info.attr_count; i++) {
        struct str name = a->put.info.attrs[i].name;
        if (str_eq(name, ACL_ATTR))
            return reply_error(r, ERR_INVALID_REQUEST, "An append keeps the object's access control list.");
        if (str_starts(name, STR("x-amz-meta-")) || str_eq(name, STR("x-amz-website-redirect-location")))
            return reply_error(r, ERR_INVALID_REQUEST,
                               "An append keeps the object's metadata: " STR_FMT " can't be given.", STR_ARG(name));
    }
    return a->put.info.tags.n
               ? reply_error(r, ERR_INVALID_REQUEST, "An append keeps the object's tags: x-amz-tagging can't be given.")
               : ERR_OK;
}

static void pin(struct append_state *a)
{
    const struct etag *etag = &a->head.info.etag;

    a->pin[0] = '"';
    memcpy(a->pin + 1, etag->text, etag->n);
    a->pin[etag->n + 1] = '"';
}

static struct cond pinned(const struct append_state *a)
{
    struct cond c = COND_INIT;

    c.if_match = str_n(a->pin, a->head.info.etag.n + 2u);
    return c;
}

static enum step_next append_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct append_state *a = r->state;
    bool exists = op->call.err == ERR_OK;
    enum err e = op->call.err == ERR_NO_SUCH_KEY ? ERR_OK : op->call.err;

    if (e != ERR_OK)
        return op_fail(op, e);
    if ((e = cond_check_write(&a->cond, exists ? &a->head.info : NULL)) != ERR_OK)
        return op_fail(op, objreq_fail(r, e, r->key, &a->cond));
    if (a->offset != (exists ? a->head.info.size : 0))
        return op_fail(op, ERR_WRITE_OFFSET);
    if (!exists)
        return op_go(op, append_put);
    if ((e = check_nothing_else(r, a)) != ERR_OK)
        return op_fail(op, e);
    pin(a);
    a->splice = (struct obj_splice_req){.arena = r->arena,
                                        .bucket = r->bucket.id,
                                        .key = r->key,
                                        .cond = pinned(a),
                                        .offset = a->offset,
                                        .body = a->body.source,
                                        .check = &a->body.check,
                                        .size_max = OBJECT_SIZE_MAX};
    a->splice.cause = s3_cause(r, EVENT_BY_METHOD);
    store_obj_splice(r->env->store, &a->splice, &a->spliced, op_try(op, append_spliced));
    return STEP_WAIT;
}

static enum step_next append_put(struct op *op)
{
    struct s3_request *r = S3(op);
    struct append_state *a = r->state;

    a->put.cond.if_none_match = STR("*");
    a->put.body = a->body.source;
    a->put.check = &a->body.check;
    a->put.cause = s3_cause(r, EVENT_BY_METHOD);
    store_obj_put(r->env->store, &a->put, &a->stored, op_try(op, append_stored));
    return STEP_WAIT;
}

static enum step_next reply_appended(struct s3_request *r, const struct object_info *info)
{
    reply_etag(r, &info->etag);
    reply_checksum(r, &info->checksum);
    version_reply(r, info);
    reply_header_f(r, STR("x-amz-object-size"), "%llu", (unsigned long long)info->size);
    return op_go(&r->op, reply_send);
}

static enum step_next append_spliced(struct op *op)
{
    struct s3_request *r = S3(op);
    struct append_state *a = r->state;
    enum err e = op->call.err;

    if (e == ERR_OK)
        return reply_appended(r, &a->spliced.info);
    if (e == ERR_PRECONDITION || e == ERR_CONFLICT || e == ERR_NO_SUCH_KEY)
        return look(r, append_raced);
    return e == ERR_NOT_IMPLEMENTED ? op_go(op, append_read) : op_fail(op, e);
}

/* ---- written anew ---- */

static void close_sources(void *arg)
{
    struct append_state *a = arg;

    source_close(a->chain);
    source_close(a->kept);
    source_close(a->old.body);
    source_close(a->added);
}

static enum step_next append_rewrite(struct op *op);

static enum step_next append_read(struct op *op)
{
    struct s3_request *r = S3(op);
    struct append_state *a = r->state;

    if (a->body.len == HTTP_LENGTH_UNKNOWN || (a->body.source && a->body.source->size != a->body.len))
        return op_fail(op, ERR_MISSING_LENGTH);
    arena_defer(r->arena, close_sources, a);
    a->get.head = a->head_req;
    a->get.head.cond = pinned(a);
    store_obj_get(r->env->store, &a->get, &a->old, op_try(op, append_rewrite));
    return STEP_WAIT;
}

static void chain_open(void *arg, size_t i, struct source **out, struct call *call)
{
    struct append_state *a = arg;
    struct source **from = i == 0 ? &a->kept : &a->added;

    *out = *from;
    *from = NULL;
    call_finish(call, ERR_OK);
}

static void chain_close(void *arg)
{
    (void)arg; /* what was not opened goes with the request */
}

/* Damage to what is kept must not become a good object of another checksum. */
static void expect_old(struct append_state *a)
{
    const struct object_info *old = &a->old.head.info;
    struct digest md5 = {.alg = HASH_MD5, .n = 16};
    struct body_check *k = &a->kept_check;

    a->check.checksum = old->checksum.digest.alg;
    if (old->checksum.type == CHECKSUM_FULL_OBJECT) {
        k->want[k->want_count].digest = old->checksum.digest;
        k->want[k->want_count++].err = ERR_CORRUPT;
    } else if (etag_to_md5(&old->etag, md5.b)) {
        k->want[k->want_count].digest = md5;
        k->want[k->want_count++].err = ERR_CORRUPT;
    }
}

static enum step_next append_rewrite(struct op *op)
{
    static const struct chain_ops ops = {chain_open, chain_close};
    struct s3_request *r = S3(op);
    struct append_state *a = r->state;
    enum err e = op->call.err;

    if (e == ERR_PRECONDITION || e == ERR_NO_SUCH_KEY)
        return look(r, append_raced);
    if (e != ERR_OK)
        return op_fail(op, e);
    expect_old(a);
    a->kept = source_verified(op->loop, r->env->cpu, a->old.body, &a->kept_check);
    if (a->body.source)
        a->added = source_verified(op->loop, r->env->cpu, a->body.source, &a->body.check);
    a->chain = source_chain(op->loop, a->offset + a->body.len, a->body.source ? 2 : 1, &ops, a);
    a->put.info.attrs = a->old.head.info.attrs;
    a->put.info.attr_count = a->old.head.info.attr_count;
    a->put.info.tags = a->old.head.info.tags;
    a->put.cond = pinned(a);
    a->put.body = a->chain;
    a->put.check = &a->check;
    a->put.cause = s3_cause(r, EVENT_BY_METHOD);
    store_obj_put(r->env->store, &a->put, &a->stored, op_try(op, append_stored));
    return STEP_WAIT;
}

/* Made or written anew. */
static enum step_next append_stored(struct op *op)
{
    struct s3_request *r = S3(op);
    struct append_state *a = r->state;

    if (op->call.err == ERR_OK)
        return reply_appended(r, &a->stored.info);
    return op->call.err == ERR_PRECONDITION ? look(r, append_raced) : op_fail(op, op->call.err);
}

/* Another write came between: said as if it had come before. */
static enum step_next append_raced(struct op *op)
{
    struct s3_request *r = S3(op);
    struct append_state *a = r->state;
    bool exists = op->call.err == ERR_OK;
    enum err e;

    if (!exists && op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    if ((e = cond_check_write(&a->cond, exists ? &a->head.info : NULL)) != ERR_OK)
        return op_fail(op, objreq_fail(r, e, r->key, &a->cond));
    return op_fail(op, a->offset != (exists ? a->head.info.size : 0) ? ERR_WRITE_OFFSET : ERR_CONFLICT);
}

/* ---- the request ---- */

static enum err append_parse(struct s3_request *r, struct append_state *a)
{
    struct str offset = s3_header(r, STR("x-amz-write-offset-bytes"));
    enum err e;

    if (!str_to_u64(offset, INT64_MAX, &a->offset)) {
        reply_detail(r, STR("ArgumentName"), STR("x-amz-write-offset-bytes"));
        reply_detail(r, STR("ArgumentValue"), offset);
        return reply_error(r, ERR_INVALID_ARGUMENT, "The write offset must be a number of bytes");
    }
    if (transform_wanted(r))
        return reply_error(r, ERR_NOT_IMPLEMENTED, "What is appended can't be transformed.");
    a->put = (struct obj_put_req){
        .arena = r->arena, .bucket = r->bucket.id, .key = r->key, .cond = COND_INIT, .size_max = OBJECT_SIZE_MAX};
    if (s3_header(r, ATTR_ENCRYPTION).p)
        return reply_error(r, ERR_NOT_IMPLEMENTED,
                           "x-amz-server-side-encryption is not implemented for appends: what is appended is encrypted "
                           "if the object is, or the bucket.");
    if ((e = objreq_check_length(r)) != ERR_OK || (e = objreq_refuse_unsupported(r)) != ERR_OK ||
        (e = attrs_collect(r->http, &a->put.info)) != ERR_OK ||
        (e = attrs_collect_tags(r->http, &a->put.info)) != ERR_OK ||
        (e = acl_collect(r, r->http, &a->put.info)) != ERR_OK || (e = lock_collect(r, &a->put.info)) != ERR_OK)
        return e;
    cond_parse_write(r->http, &a->cond);
    return objreq_body_open(r, &a->body, PUT_SIZE_MAX);
}
