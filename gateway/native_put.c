/* PUT and PATCH of objects in the native API, and what is done with an object without its bytes: copies, new names. */
#include "gateway/native_object.h"
#include "gateway/native_transform.h"
#include "s3api/cond.h"

step_fn native_put, native_patch, native_rename, native_check_lock; /* native_routes.def */
step_fn native_archput;

enum { CUSTOM_MAX = 256 };
#define META STR("x-amz-meta-")

enum step_next native_put(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (native_redirects(r))
        return op_go(op, native_send);
    if (native_query(r, STR("object_to")).n)
        return op_go(op, native_transforms(r) ? native_copy_transformed : native_copy);
    if (native_transforms(r) && (native_query(r, STR("uploadId")).n || native_query(r, STR("append_type")).n ||
                                 native_query(r, STR("archpath")).n))
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED,
                                        "etl_name: parts, appended content and members are not transformed"));
    if (native_query(r, STR("uploadId")).n)
        return op_go(op, native_put_part);
    if (native_query(r, STR("append_type")).n)
        return op_go(op, native_append);
    if (native_query(r, STR("archpath")).n)
        return op_go(op, native_archput);
    return op_go(op, native_put_object);
}

/* ---- a whole object ---- */

struct put_state {
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_put_req req;
    struct obj_put_res res;
    struct body_check check;
    struct attr attrs[2];
    struct native_ingest ingest;
};

static step_fn put_version, put_transformed, put_store, put_done;

enum step_next native_put_object(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct put_state *p = r->state = ARENA_NEW(r->arena, struct put_state);

    p->head_req = (struct obj_head_req){
        .arena = r->arena, .bucket = r->bucket.found.id, .key = r->object, .cond = COND_INIT, .cached = true};
    store_obj_head(r->env->s3->store, &p->head_req, &p->head, op_try(op, put_version));
    return STEP_WAIT;
}

/* What the client says that the content hashes to. */
static enum err want_checksum(struct native_request *r, struct body_check *check)
{
    struct str type = http_header_get(r->http, STR("ais-checksum-type")),
               value = http_header_get(r->http, STR("ais-checksum-value"));
    struct digest d = {.alg = HASH_NONE};

    check->checksum = HASH_XXH64; /* what AIStore calls xxhash */
    if (type.n == 0 || value.n == 0 || str_eq_nocase(type, STR("none")))
        return ERR_OK;
    if (str_eq_nocase(type, STR("xxhash")))
        d.alg = HASH_XXH64;
    else
        d.alg = hash_by_name(type);
    d.n = (uint8_t)hash_len(d.alg);
    if (d.alg == HASH_NONE || !hex_decode(value, d.b, d.n))
        return native_error(r, ERR_INVALID_DIGEST,
                            "Ais-Checksum-Value: \"" STR_FMT "\" is no digest of the type \"" STR_FMT "\"",
                            STR_ARG(value), STR_ARG(type));
    check->also = 1u << d.alg;
    check->want[check->want_count].digest = d;
    check->want[check->want_count++].err = ERR_BAD_DIGEST;
    return ERR_OK;
}

static enum step_next put_version(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct put_state *p = r->state;
    bool replaces = op->call.err == ERR_OK;
    enum err e = want_checksum(r, &p->check);

    if (e != ERR_OK)
        return op_fail(op, e);
    p->attrs[0] = (struct attr){STR("content-type"), STR("application/octet-stream")};
    p->attrs[1] = native_next_version(r->arena, &p->head.info);
    p->req = (struct obj_put_req){.arena = r->arena,
                                  .bucket = r->bucket.found.id,
                                  .key = r->object,
                                  .info = {.attrs = p->attrs, .attr_count = replaces ? 2 : 1},
                                  .cond = COND_INIT,
                                  .body = r->http->body,
                                  .check = &p->check,
                                  .size_max = NATIVE_PUT_MAX};
    cond_parse_write(r->http, &p->req.cond);
    if (!native_transforms(r))
        return op_go(op, put_store);
    native_ingest(r, &p->ingest, &p->check, op_try(op, put_transformed));
    return STEP_WAIT;
}

static enum step_next put_transformed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct put_state *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, r->message.n
                               ? op->call.err
                               : native_transform_fail(r, op->call.err, &p->ingest.res, &r->bucket, r->object));
    p->req.body = p->ingest.res.body;
    p->req.check = &p->ingest.check;
    if (p->ingest.res.content_type.n)
        p->attrs[0].value = p->ingest.res.content_type;
    return op_go(op, put_store);
}

static enum step_next put_store(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct put_state *p = r->state;

    p->req.cause = native_cause(r, EVENT_BY_METHOD);
    store_obj_put(r->env->s3->store, &p->req, &p->res, op_try(op, put_done));
    return STEP_WAIT;
}

static enum step_next put_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct put_state *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    p->res.info.attrs = p->attrs;
    p->res.info.attr_count = p->req.info.attr_count;
    native_object_headers(r, &p->res.info);
    return op_go(op, native_send);
}

/* ---- copies ---- */

struct copy_state {
    struct native_bucket to;
    struct str object;
    struct obj_copy_req req;
    struct obj_copy_res res;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};

static step_fn copy_found, copy_done;

enum step_next native_copy(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct copy_state *c = r->state = ARENA_NEW(r->arena, struct copy_state);
    enum err e = native_bucket_of_uname(r, native_query(r, STR("object_to")), &c->to, &c->object);

    if (e == ERR_OK && c->object.n == 0)
        e = native_error(r, ERR_INVALID_ARGUMENT, "object_to names no object");
    if (e == ERR_OK && native_query_bool(r, STR("synchronize")))
        e = native_error(r, ERR_NOT_IMPLEMENTED, "synchronize: copying one object does not delete it elsewhere");
    if (e != ERR_OK)
        return op_fail(op, e);
    native_bucket_find(r, &c->to, op_call(op, copy_found));
    return STEP_WAIT;
}

static void copy_req(struct native_request *r, struct copy_state *c)
{
    c->req = (struct obj_copy_req){.arena = r->arena,
                                   .src_bucket = r->bucket.found.id,
                                   .src_key = r->object,
                                   .src_cond = COND_INIT,
                                   .bucket = c->to.found.id,
                                   .key = c->object,
                                   .cond = COND_INIT,
                                   .size_max = OBJECT_SIZE_MAX};
}

static enum step_next copy_found(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct copy_state *c = r->state;

    if (c->to.found.id.uid == r->bucket.found.id.uid && str_eq(c->object, r->object))
        return op_go(op, native_send); /* onto itself */
    copy_req(r, c);
    c->req.cause = native_cause(r, EVENT_BY_METHOD);
    store_obj_copy(r->env->s3->store, &c->req, &c->res, op_try(op, copy_done));
    return STEP_WAIT;
}

static enum step_next copy_done(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    return op_go(op, native_send);
}

/* ---- another name: a copy, which shares the content, then a delete. In between there are both; a crash leaves both ---- */

static step_fn rename_copied, rename_done;

enum step_next native_rename(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct copy_state *c = r->state = ARENA_NEW(r->arena, struct copy_state);

    c->to = r->bucket;
    c->object = r->action.name;
    if (c->object.n == 0 || c->object.n > KEY_MAX || str_eq(c->object, r->object))
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "\"" STR_FMT "\" is no new name", STR_ARG(c->object)));
    copy_req(r, c);
    c->req.cause = native_cause(r, EVENT_BY_METHOD);
    store_obj_copy(r->env->s3->store, &c->req, &c->res, op_try(op, rename_copied));
    return STEP_WAIT;
}

static enum step_next rename_copied(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct copy_state *c = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    c->delete_req = (struct obj_delete_req){r->arena, r->bucket.found.id, r->object, COND_INIT};
    c->delete_req.cause = native_cause(r, EVENT_BY_METHOD);
    store_obj_delete(r->env->s3->store, &c->delete_req, &c->deleted, op_try(op, rename_done));
    return STEP_WAIT;
}

static enum step_next rename_done(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    return op_go(op, native_send);
}

/* ---- custom metadata: kept as S3's user metadata ---- */

struct patch_state {
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_copy_req req;
    struct obj_copy_res res;
    struct attr *attrs;
    uint32_t count;
};

static step_fn patch_found, patch_done;

enum step_next native_patch(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct patch_state *p = r->state = ARENA_NEW(r->arena, struct patch_state);

    if (!r->action.value || r->action.value->kind != DOC_MAP)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "value must be an object of texts"));
    p->head_req =
        (struct obj_head_req){.arena = r->arena, .bucket = r->bucket.found.id, .key = r->object, .cond = COND_INIT};
    store_obj_head(r->env->s3->store, &p->head_req, &p->head, op_try(op, patch_found));
    return STEP_WAIT;
}

static bool is_plain_key(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.'))
            return false;
    return s.n > 0 && s.n <= 128;
}

static bool is_changed(const struct doc *change, struct str attr)
{
    for (const struct doc *d = change->first; d; d = d->next)
        if (attr.n == META.n + d->key.n && str_eq_nocase(str_skip(attr, META.n), d->key))
            return true;
    return false;
}

/* What stays, then what is said. */
static enum err merge(struct native_request *r, struct patch_state *p)
{
    const struct object_info *info = &p->head.info;
    const struct doc *change = r->action.value;
    bool replaces = native_query_bool(r, STR("set-new-custom"));

    if (change->count > CUSTOM_MAX)
        return native_error(r, ERR_INVALID_ARGUMENT, "more than %d properties", CUSTOM_MAX);
    p->attrs = arena_new(r->arena, (info->attr_count + change->count + 1) * sizeof(*p->attrs));
    for (uint32_t i = 0; i < info->attr_count; i++) {
        bool custom = str_starts(info->attrs[i].name, META);
        if (!custom || (!replaces && !is_changed(change, info->attrs[i].name)))
            p->attrs[p->count++] = info->attrs[i];
    }
    for (const struct doc *d = change->first; d; d = d->next) {
        if (d->kind != DOC_SCALAR || !is_plain_key(d->key) || !str_is_plain(d->text) ||
            str_find_char(d->text, ',') != SIZE_MAX)
            return native_error(r, ERR_INVALID_ARGUMENT,
                                "the property \"" STR_FMT
                                "\": a name of letters, digits, '-', '_' and '.', a text without ','",
                                STR_ARG(d->key));
        p->attrs[p->count++] = (struct attr){arena_printf(r->arena, "x-amz-meta-" STR_FMT, STR_ARG(d->key)), d->text};
    }
    return ERR_OK;
}

static enum step_next patch_found(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct patch_state *p = r->state;
    enum err e = op->call.err;

    if (e != ERR_OK)
        return op_fail(op, native_fail(r, e, &r->bucket, r->object));
    if ((e = merge(r, p)) != ERR_OK)
        return op_fail(op, e);
    p->req = (struct obj_copy_req){.arena = r->arena,
                                   .src_bucket = r->bucket.found.id,
                                   .src_key = r->object,
                                   .src_cond = COND_INIT,
                                   .bucket = r->bucket.found.id,
                                   .key = r->object,
                                   .cond = COND_INIT,
                                   .replace_attrs = true,
                                   .info = {.attrs = p->attrs, .attr_count = p->count},
                                   .size_max = OBJECT_SIZE_MAX};
    p->req.src_cond.if_match = arena_printf(r->arena, "\"" STR_FMT "\"", STR_ARG(etag_str(&p->head.info.etag)));
    p->req.cause = native_cause(r, EVENT_PUT);
    store_obj_copy(r->env->s3->store, &p->req, &p->res, op_try(op, patch_done));
    return STEP_WAIT;
}

static enum step_next patch_done(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err == ERR_PRECONDITION)
        return op_fail(op, native_error(r, ERR_CONFLICT, "the object changed meanwhile: try again"));
    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    return op_go(op, native_send);
}

/* ---- check-lock: readers never wait for writers, but for fetches from a remote bucket ---- */

/* 200: nothing goes on with it; 423: a fetch, a write or a delete of a remote bucket's object does. */
enum step_next native_check_lock(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (r->env->backends && r->bucket.found.id.backend &&
        backends_busy(r->env->backends, r->bucket.found.id.uid, r->object))
        r->status = 423;
    return op_go(op, native_send);
}
