/* Objects that come in parts in the native API: multipart uploads, and appending, which is one that is continued. */
#include "gateway/native_object.h"

step_fn native_mpt_create, native_mpt_complete, native_mpt_abort; /* native_routes.def */

enum { PARTS_PAGE = 1000 };

/* Names the upload in the texts that clients look for. */
static enum err upload_fail(struct native_request *r, enum err e, struct str id)
{
    if (e == ERR_NO_SUCH_UPLOAD) {
        r->error_status = 404;
        return native_error(r, e, "upload \"" STR_FMT "\" of " STR_FMT " does not exist", STR_ARG(id),
                            STR_ARG(r->object));
    }
    return native_fail(r, e, &r->bucket, r->object);
}

/* ---- create ---- */

struct create_state {
    struct upload_create_req req;
    struct upload_create_res res;
    struct attr attr;
};

static void create_req(struct native_request *r, struct create_state *c)
{
    c->attr = (struct attr){STR("content-type"), STR("application/octet-stream")};
    c->req = (struct upload_create_req){.arena = r->arena,
                                        .bucket = r->bucket.found.id,
                                        .key = r->object,
                                        .info = {.attrs = &c->attr, .attr_count = 1},
                                        .checksum = HASH_NONE,
                                        .initiator = r->who.n ? r->who : STR("native")};
}

static step_fn mpt_created;

enum step_next native_mpt_create(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct create_state *c = r->state = ARENA_NEW(r->arena, struct create_state);

    create_req(r, c);
    store_upload_create(r->env->s3->store, &c->req, &c->res, op_try(op, mpt_created));
    return STEP_WAIT;
}

static enum step_next mpt_created(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct create_state *c = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    buf_add_str(&r->text, c->res.upload_id);
    r->type = STR("text/plain");
    return op_go(op, native_send);
}

/* ---- a part ---- */

struct part_state {
    struct upload_part_req req;
    struct upload_part_res res;
    struct body_check check;
};

static step_fn part_done;

enum step_next native_put_part(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct part_state *p = r->state = ARENA_NEW(r->arena, struct part_state);
    struct str number = native_query(r, STR("partNumber"));
    uint64_t n;

    if (!str_to_u64(number, PARTS_MAX, &n) || n == 0)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "partNumber: \"" STR_FMT "\" is none of 1 to %d",
                                        STR_ARG(number), PARTS_MAX));
    if (!r->http->body || r->http->body_len == 0)
        return op_fail(op,
                       native_error(r, ERR_INVALID_ARGUMENT, "part " STR_FMT ": invalid size (0)", STR_ARG(number)));
    p->req = (struct upload_part_req){.arena = r->arena,
                                      .bucket = r->bucket.found.id,
                                      .key = r->object,
                                      .upload_id = native_query(r, STR("uploadId")),
                                      .number = (uint32_t)n,
                                      .body = r->http->body,
                                      .check = &p->check,
                                      .size_max = NATIVE_PUT_MAX};
    store_upload_part(r->env->s3->store, &p->req, &p->res, op_try(op, part_done));
    return STEP_WAIT;
}

static enum step_next part_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct part_state *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, upload_fail(r, op->call.err, p->req.upload_id));
    native_header_f(r, STR("ETag"), "\"" STR_FMT "\"", STR_ARG(etag_str(&p->res.part.etag)));
    return op_go(op, native_send);
}

/* ---- all parts that there are ---- */

struct parts {
    struct part_list_req req;
    struct part_list_res page;
    struct complete_part *all;
    uint32_t count, cap;
};

static void parts_init(struct native_request *r, struct parts *p, struct str upload_id)
{
    p->req = (struct part_list_req){
        .arena = r->arena, .bucket = r->bucket.found.id, .key = r->object, .upload_id = upload_id, .max = PARTS_PAGE};
}

/* False: that was the last page. */
static bool parts_take(struct native_request *r, struct parts *p)
{
    if (p->count + p->page.count > p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 + p->page.count : PARTS_PAGE;
        struct complete_part *more = arena_new(r->arena, cap * sizeof(*more));
        if (p->count)
            memcpy(more, p->all, p->count * sizeof(*more));
        p->all = more;
        p->cap = cap;
    }
    for (uint32_t i = 0; i < p->page.count; i++) {
        const struct part_info *part = &p->page.parts[i];
        p->all[p->count++] = (struct complete_part){part->number, etag_str(&part->etag), {.alg = HASH_NONE}};
        p->req.after = part->number;
    }
    return p->page.truncated && p->page.count;
}

static void complete_req(struct native_request *r, const struct parts *p, struct upload_complete_req *out)
{
    *out = (struct upload_complete_req){.arena = r->arena,
                                        .bucket = r->bucket.found.id,
                                        .key = r->object,
                                        .upload_id = p->req.upload_id,
                                        .parts = p->all,
                                        .part_count = p->count,
                                        .cond = COND_INIT,
                                        .want_type = CHECKSUM_NONE,
                                        .want_size = UINT64_MAX,
                                        .any_size = true};
}

/* ---- complete: the client must name all parts, each once ---- */

struct complete_state {
    struct parts parts;
    struct upload_complete_req req;
    struct upload_complete_res res;
};

static step_fn mpt_list, mpt_listed, mpt_completed;

enum step_next native_mpt_complete(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct complete_state *c = r->state = ARENA_NEW(r->arena, struct complete_state);
    const struct doc *value = r->action.value;

    if (!value || value->kind != DOC_LIST || value->count == 0)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "mpt-complete: no chunks"));
    parts_init(r, &c->parts, native_query(r, STR("uploadId")));
    return op_go(op, mpt_list);
}

static enum step_next mpt_list(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct complete_state *c = r->state;

    store_part_list(r->env->s3->store, &c->parts.req, &c->parts.page, op_try(op, mpt_listed));
    return STEP_WAIT;
}

/* Whether the list names exactly the parts that there are. */
static bool names_all(const struct native_request *r, const struct parts *p)
{
    uint8_t seen[PARTS_MAX / 8 + 1] = {0};
    uint32_t count = 0;

    for (const struct doc *d = r->action.value->first; d; d = d->next, count++) {
        uint64_t n;
        if (!str_to_u64(native_text(d, "part-number"), PARTS_MAX, &n) || seen[n / 8] >> (n % 8) & 1)
            return false;
        seen[n / 8] |= (uint8_t)(1u << (n % 8));
    }
    for (uint32_t i = 0; i < p->count; i++)
        if (!(seen[p->all[i].number / 8] >> (p->all[i].number % 8) & 1))
            return false;
    return count == p->count;
}

static enum step_next mpt_listed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct complete_state *c = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, upload_fail(r, op->call.err, c->parts.req.upload_id));
    if (parts_take(r, &c->parts))
        return op_go(op, mpt_list);
    if (!names_all(r, &c->parts))
        return op_fail(op,
                       native_error(r, ERR_INVALID_ARGUMENT,
                                    "partial completion: %u parts were uploaded, the list must name each of them once",
                                    c->parts.count));
    complete_req(r, &c->parts, &c->req);
    c->req.cause = native_cause(r, EVENT_BY_METHOD);
    store_upload_complete(r->env->s3->store, &c->req, &c->res, op_try(op, mpt_completed));
    return STEP_WAIT;
}

static enum step_next mpt_completed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct complete_state *c = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, upload_fail(r, op->call.err, c->req.upload_id));
    return op_go(op, native_send);
}

/* ---- abort ---- */

struct abort_state {
    struct upload_abort_req req;
    struct upload_abort_res res;
};

static step_fn mpt_aborted;

enum step_next native_mpt_abort(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct abort_state *a = r->state = ARENA_NEW(r->arena, struct abort_state);

    a->req = (struct upload_abort_req){r->arena, r->bucket.found.id, r->object, native_query(r, STR("uploadId"))};
    store_upload_abort(r->env->s3->store, &a->req, &a->res, op_try(op, mpt_aborted));
    return STEP_WAIT;
}

static enum step_next mpt_aborted(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct abort_state *a = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, upload_fail(r, op->call.err, a->req.upload_id));
    return op_go(op, native_send);
}

/* ---- append: an upload whose first part is what the object has already. The handle is its id, so that any gateway can go on ---- */

struct append_state {
    struct create_state create;
    struct obj_get_req get_req;
    struct obj_get_res got;
    struct parts parts;
    struct part_state part;
    struct upload_complete_req complete_req;
    struct upload_complete_res completed;
    struct abort_state abort;
    struct str id;
    bool flushes;
};

static step_fn append_created, append_got, append_kept, append_list, append_listed, append_put, append_done,
    append_completed;

static void close_old(void *arg)
{
    struct append_state *a = arg;

    source_close(a->got.body);
    a->got.body = NULL;
}

enum step_next native_append(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct append_state *a = r->state = ARENA_NEW(r->arena, struct append_state);
    struct str type = native_query(r, STR("append_type")), handle = native_query(r, STR("append_handle"));

    a->flushes = str_eq(type, STR("flush"));
    if (!a->flushes && !str_eq(type, STR("append")))
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT,
                                        "append_type: \"" STR_FMT "\" is neither append nor flush", STR_ARG(type)));
    if (a->flushes && handle.n == 0)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "append_type=flush wants an append_handle"));
    arena_defer(r->arena, close_old, a);
    if (handle.n) {
        a->id = handle;
        parts_init(r, &a->parts, a->id);
        return op_go(op, append_list);
    }
    create_req(r, &a->create);
    store_upload_create(r->env->s3->store, &a->create.req, &a->create.res, op_call(op, append_created));
    return STEP_WAIT;
}

static enum step_next append_created(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct append_state *a = r->state;

    a->id = a->create.res.upload_id;
    a->get_req =
        (struct obj_get_req){{.arena = r->arena, .bucket = r->bucket.found.id, .key = r->object, .cond = COND_INIT}};
    store_obj_get(r->env->s3->store, &a->get_req, &a->got, op_try(op, append_got));
    return STEP_WAIT;
}

static void put_part(struct native_request *r, struct append_state *a, uint32_t number, struct source *body,
                     struct call *call)
{
    a->part.check = (struct body_check){.checksum = HASH_NONE};
    a->part.req = (struct upload_part_req){.arena = r->arena,
                                           .bucket = r->bucket.found.id,
                                           .key = r->object,
                                           .upload_id = a->id,
                                           .number = number,
                                           .body = body,
                                           .check = &a->part.check,
                                           .size_max = OBJECT_SIZE_MAX};
    store_upload_part(r->env->s3->store, &a->part.req, &a->part.res, call);
}

static enum step_next append_got(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct append_state *a = r->state;

    if (op->call.err == ERR_NO_SUCH_KEY || (op->call.err == ERR_OK && a->got.head.len == 0)) {
        parts_init(r, &a->parts, a->id);
        return op_go(op, append_put);
    }
    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    put_part(r, a, 1, a->got.body, op_call(op, append_kept));
    return STEP_WAIT;
}

static enum step_next append_kept(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct append_state *a = r->state;

    close_old(a);
    parts_init(r, &a->parts, a->id);
    a->parts.req.after = 1;
    return op_go(op, append_put);
}

static enum step_next append_list(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct append_state *a = r->state;

    store_part_list(r->env->s3->store, &a->parts.req, &a->parts.page, op_try(op, append_listed));
    return STEP_WAIT;
}

static enum step_next append_listed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct append_state *a = r->state;

    if (op->call.err == ERR_NO_SUCH_UPLOAD || op->call.err == ERR_INVALID_ARGUMENT)
        return op_fail(op,
                       native_error(r, ERR_INVALID_ARGUMENT, "append_handle: \"" STR_FMT "\" is not open for " STR_FMT,
                                    STR_ARG(a->id), STR_ARG(r->object)));
    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    if (parts_take(r, &a->parts))
        return op_go(op, append_list);
    if (!a->flushes)
        return op_go(op, append_put);
    if (a->parts.count == 0)
        return op_fail(op,
                       native_error(r, ERR_INVALID_ARGUMENT, "nothing was appended to " STR_FMT, STR_ARG(r->object)));
    complete_req(r, &a->parts, &a->complete_req);
    a->complete_req.cause = native_cause(r, EVENT_BY_METHOD);
    store_upload_complete(r->env->s3->store, &a->complete_req, &a->completed, op_try(op, append_completed));
    return STEP_WAIT;
}

static enum step_next append_put(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct append_state *a = r->state;

    if (a->parts.req.after == PARTS_MAX)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "more than %d appends before a flush", PARTS_MAX));
    put_part(r, a, a->parts.req.after + 1, r->http->body, op_try(op, append_done));
    return STEP_WAIT;
}

static enum step_next append_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct append_state *a = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    native_header(r, STR("Ais-Append-Handle"), a->id);
    return op_go(op, native_send);
}

static enum step_next append_completed(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    return op_go(op, native_send);
}
