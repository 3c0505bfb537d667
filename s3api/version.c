#include "version.h"

#include "s3api/member.h"
#include "s3api/objreq.h"

struct str version_text(struct arena *arena, struct object_version v)
{
    char text[VERSION_ID_MAX];

    return arena_str(arena, version_id(v, text));
}

/* ---- where a version is ---- */

/* An older version never moves but to become current, so that it is looked for first; and once more, for it may just have become one. */
struct find_op {
    struct op op;
    struct s3_request *r;
    const struct version_find_req *req;
    struct version_find_res *res;
    struct call *whole;
    struct version_key key;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_list_req list_req;
    struct obj_list_res list;
    unsigned tries;
};

static step_fn find_older, find_older_seen, find_current, find_current_seen, find_null, find_null_seen, find_end;

static enum step_next look(struct find_op *f, struct bucket_id bucket, struct str key, step_fn *next)
{
    f->head_req = (struct obj_head_req){.arena = f->r->arena, .bucket = bucket, .key = key, .cond = COND_INIT};
    f->head = (struct obj_head_res){.offset = 0};
    store_obj_head(f->r->env->store, &f->head_req, &f->head, op_try(&f->op, next));
    return STEP_WAIT;
}

static enum step_next found(struct find_op *f, struct object_version v)
{
    f->res->place = (struct s3_place){f->head_req.bucket, f->head_req.key};
    f->res->version = v;
    f->res->info = f->head.info;
    return op_go(&f->op, find_end);
}

static enum step_next find_older(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);

    version_key(&f->key, f->req->key, f->res->version);
    return look(f, version_shadow(f->req->bucket), version_key_str(&f->key), find_older_seen);
}

static enum step_next find_older_seen(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);

    if (op->call.err == ERR_OK)
        return found(f, f->res->version);
    if (op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    return ++f->tries > 2 || f->res->version.kind == VERSION_MARKER ? op_fail(op, ERR_NO_SUCH_VERSION)
                                                                    : op_go(op, find_current);
}

static enum step_next find_current(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);

    return look(f, f->req->bucket, f->req->key, find_current_seen);
}

static enum step_next find_current_seen(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);
    const struct object_info *info = &f->head.info;
    bool null = f->res->version.kind == VERSION_NULL;

    if (op->call.err != ERR_OK && op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    if (op->call.err == ERR_OK &&
        (null ? !info->versioned : info->versioned && info->mtime_ns == f->res->version.mtime_ns))
        return found(f, version_of(info));
    if (!null)
        return op_go(op, find_older);
    if (f->req->bucket.versions == VERSIONS_OFF)
        return op_fail(op, ERR_NO_SUCH_VERSION);
    return op_go(op, find_null);
}

/* There is one among the older versions at most: pages of them are looked through. */
static enum step_next find_null(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);
    struct version_key prefix;

    version_key_prefix(&prefix, f->req->key);
    f->list_req = (struct obj_list_req){.arena = f->r->arena,
                                        .bucket = version_shadow(f->req->bucket),
                                        .prefix = arena_str(f->r->arena, version_key_str(&prefix)),
                                        .after = f->list.count ? f->list.entries[f->list.count - 1].key : STR_NONE,
                                        .max = LIST_MAX};
    f->list = (struct obj_list_res){.count = 0};
    store_obj_list(f->r->env->store, &f->list_req, &f->list, op_call(op, find_null_seen));
    return STEP_WAIT;
}

static enum step_next find_null_seen(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);
    struct object_version v;
    struct str key;

    for (uint32_t i = 0; i < f->list.count; i++)
        if (version_key_parse(f->list.entries[i].key, &key, &v) && version_is_null(v.kind)) {
            f->res->version = v;
            f->tries = 2; /* where it is is known: it is only asked for */
            return op_go(op, find_older);
        }
    return f->list.truncated ? op_go(op, find_null) : op_fail(op, ERR_NO_SUCH_VERSION);
}

static enum step_next find_end(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);

    call_finish(f->whole, op->err);
    return STEP_DONE;
}

static void find_cancel(void *arg)
{
    op_cancel(&((struct find_op *)arg)->op, ERR_CANCELLED);
}

void version_find(struct s3_request *r, const struct version_find_req *req, struct version_find_res *res,
                  struct call *call)
{
    struct find_op *f = ARENA_NEW(r->arena, struct find_op);
    bool null;

    f->r = r;
    f->req = req;
    f->res = res;
    f->whole = call;
    if (!version_id_parse(req->id, &res->version)) {
        reply_detail(r, STR("ArgumentName"), STR("versionId"));
        reply_detail(r, STR("ArgumentValue"), req->id);
        call_finish(call,
                    reply_error(r, ERR_INVALID_ARGUMENT, "%s",
                                req->id.n ? "Invalid version id specified" : "Version id cannot be the empty string"));
        return;
    }
    null = res->version.kind == VERSION_NULL;
    if (!null && req->bucket.versions == VERSIONS_OFF) {
        call_finish(call, ERR_NO_SUCH_VERSION);
        return;
    }
    op_start(&f->op, call->loop, "version_find", null ? find_current : find_older, find_end);
    call_on_cancel(call, find_cancel, f);
}

/* ---- before an operation ---- */

struct guard {
    struct version_find_req req;
    struct version_find_res res;
};

static step_fn guard_found;

/* DELETE decides where it commits; without versions "null" is what there is. */
bool version_guarded(const struct s3_request *r)
{
    struct str id = s3_query(r, STR("versionId"));

    return r->level == LEVEL_OBJECT && id.p && r->route->first != delete_object &&
           (r->bucket.id.versions != VERSIONS_OFF || !str_eq(id, STR("null")));
}

enum step_next version_guard(struct op *op)
{
    struct s3_request *r = S3(op);
    struct guard *g = r->state = ARENA_NEW(r->arena, struct guard);

    g->req = (struct version_find_req){r->bucket.id, r->key, s3_query(r, STR("versionId"))};
    version_find(r, &g->req, &g->res, op_try(op, guard_found));
    return STEP_WAIT;
}

static enum step_next guard_found(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct guard *g = r->state;

    if (op->call.err == ERR_NO_SUCH_VERSION) {
        reply_detail(r, STR("Key"), r->key);
        reply_detail(r, STR("VersionId"), g->req.id);
    }
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    if (version_is_marker(g->res.version.kind)) {
        reply_keep_headers(r);
        reply_header(r, STR("x-amz-delete-marker"), STR("true"));
        version_reply_id(r, STR("x-amz-version-id"), g->res.version);
        reply_header(r, STR("Allow"), STR("DELETE"));
        reply_last_modified(r, g->res.version.mtime_ns);
        return op_fail(op, ERR_METHOD_NOT_ALLOWED);
    }
    r->place = g->res.place;
    r->names_version = true;
    r->version = g->res.version;
    return op_go_named(op, r->route->first, "first");
}

bool version_moved(struct s3_request *r, const struct object_info *info)
{
    struct version_key key;

    if (!r->names_version || version_uid_is_shadow(r->place.bucket.uid) || r->bucket.id.versions == VERSIONS_OFF ||
        (info->mtime_ns == r->version.mtime_ns && info->versioned == (r->version.kind == VERSION_PLAIN)))
        return false;
    version_key(&key, r->key, r->version);
    r->place = (struct s3_place){version_shadow(r->bucket.id), arena_str(r->arena, version_key_str(&key))};
    return true;
}

/* ---- markers ---- */

struct absent {
    struct obj_list_req req;
    struct obj_list_res res;
};

static step_fn absent_seen;

enum step_next version_absent(struct op *op)
{
    struct s3_request *r = S3(op);
    struct absent *a;
    struct version_key prefix;

    if (r->names_version && r->bucket.id.versions != VERSIONS_OFF) {
        reply_detail(r, STR("VersionId"), s3_query(r, STR("versionId")));
        return op_fail(op, ERR_NO_SUCH_VERSION);
    }
    if (r->bucket.id.versions == VERSIONS_OFF)
        return op_fail(op, objreq_fail(r, ERR_NO_SUCH_KEY, r->key, NULL));
    a = r->state = ARENA_NEW(r->arena, struct absent);
    version_key_prefix(&prefix, r->key);
    a->req = (struct obj_list_req){.arena = r->arena,
                                   .bucket = version_shadow(r->bucket.id),
                                   .prefix = arena_str(r->arena, version_key_str(&prefix)),
                                   .max = 1};
    store_obj_list(r->env->store, &a->req, &a->res, op_call(op, absent_seen));
    return STEP_WAIT;
}

static enum step_next absent_seen(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct absent *a = r->state;
    struct object_version v;
    struct str key;

    if (a->res.count && version_key_parse(a->res.entries[0].key, &key, &v) && version_is_marker(v.kind)) {
        reply_keep_headers(r);
        reply_header(r, STR("x-amz-delete-marker"), STR("true"));
        version_reply_id(r, STR("x-amz-version-id"), v);
    }
    return op_fail(op, objreq_fail(r, ERR_NO_SUCH_KEY, r->key, NULL));
}

/* ---- answers ---- */

void version_reply_id(struct s3_request *r, struct str header, struct object_version v)
{
    reply_header(r, header, version_text(r->arena, v));
}

void version_reply(struct s3_request *r, const struct object_info *info)
{
    if (r->bucket.id.versions != VERSIONS_OFF)
        version_reply_id(r, STR("x-amz-version-id"), version_of(info));
}

void version_reply_place(struct s3_request *r, const struct object_info *info)
{
    if (r->names_version && r->bucket.id.versions != VERSIONS_OFF)
        version_reply_id(r, STR("x-amz-version-id"), r->version);
    else
        version_reply(r, info);
}
