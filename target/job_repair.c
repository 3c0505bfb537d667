#include "job_repair.h"

struct repair {
    struct op op;
    const struct job_env *env;
    const struct job_repair_req *req;
    struct job_repair_res *res;
    struct call *whole;
    const struct map *map; /* held */
    struct map_members members;
    size_t at;          /* the member that is asked */
    bool missed;        /* one could not be asked */
    struct store *node; /* of that member; NULL: none is open */
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct body_check check;
    struct obj_import_req import_req;
    struct obj_import_res import;
};

static step_fn repair_next, repair_got, repair_parts, repair_import, repair_imported, repair_end;

static bool is_same(const struct object_info *a, const struct object_info *b)
{
    return a->mtime_ns == b->mtime_ns && str_eq(etag_str(&a->etag), etag_str(&b->etag));
}

static void leave(struct repair *r)
{
    source_close(r->get.body);
    r->get = (struct obj_get_res){0};
    if (r->node)
        store_close(r->node);
    r->node = NULL;
}

static enum step_next repair_next(struct op *op)
{
    struct repair *r = OP(op, struct repair);
    struct remote_env remote = r->env->remote;

    leave(r);
    while (r->at < r->members.count && str_eq(r->map->nodes[r->members.nodes[r->at]].id, r->env->self))
        r->at++;
    if (r->at >= r->members.count)
        return op_fail(op, r->missed ? ERR_UNAVAILABLE : ERR_CORRUPT);
    remote.member = true;
    r->node = remote_store_new(&remote, r->map->nodes[r->members.nodes[r->at++]].id);
    r->get_req =
        (struct obj_get_req){{.arena = r->req->arena, .bucket = r->req->bucket, .key = r->req->key, .cond = COND_INIT}};
    store_obj_get(r->node, &r->get_req, &r->get, op_try(op, repair_got));
    return STEP_WAIT;
}

static enum step_next repair_got(struct op *op)
{
    struct repair *r = OP(op, struct repair);

    if (op->call.err != ERR_OK) {
        r->missed |= op->call.err != ERR_NO_SUCH_KEY;
        return op_go(op, repair_next);
    }
    if (!is_same(&r->get.head.info, r->req->info))
        return op_go(op, repair_next);
    r->head = (struct obj_head_res){0};
    if (r->get.head.info.parts == 0)
        return op_go(op, repair_import);
    r->head_req = r->get_req.head;
    r->head_req.parts = true;
    store_obj_head(r->node, &r->head_req, &r->head, op_try(op, repair_parts));
    return STEP_WAIT;
}

static enum step_next repair_parts(struct op *op)
{
    struct repair *r = OP(op, struct repair);

    if (op->call.err != ERR_OK || !is_same(&r->head.info, r->req->info)) {
        r->missed = true;
        return op_go(op, repair_next);
    }
    return op_go(op, repair_import);
}

static enum step_next repair_import(struct op *op)
{
    struct repair *r = OP(op, struct repair);

    r->check = (struct body_check){0};
    r->import_req = (struct obj_import_req){.arena = r->req->arena,
                                            .bucket = r->req->bucket,
                                            .key = r->req->key,
                                            .info = r->get.head.info,
                                            .parts = r->head.parts,
                                            .part_count = r->head.part_count,
                                            .body = r->get.body,
                                            .check = &r->check,
                                            .repair = true};
    store_obj_import(r->env->mine, &r->import_req, &r->import, op_try(op, repair_imported));
    return STEP_WAIT;
}

static enum step_next repair_imported(struct op *op)
{
    struct repair *r = OP(op, struct repair);

    if (op->call.err == ERR_BAD_DIGEST || op->call.err == ERR_UNAVAILABLE || op->call.err == ERR_TIMEOUT) {
        r->missed |= op->call.err != ERR_BAD_DIGEST; /* else that one is damaged, too */
        return op_go(op, repair_next);
    }
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    *r->res = (struct job_repair_res){.repaired = !r->import.kept, .bytes = r->req->info->size};
    return op_go(op, repair_end);
}

static enum step_next repair_end(struct op *op)
{
    struct repair *r = OP(op, struct repair);

    leave(r);
    map_release(r->map);
    call_finish(r->whole, op->err);
    return STEP_DONE;
}

static void repair_cancel(void *arg)
{
    op_cancel(&((struct repair *)arg)->op, ERR_CANCELLED);
}

void job_repair(const struct job_env *env, const struct job_repair_req *req, struct job_repair_res *res,
                struct call *call)
{
    unsigned width = redundancy_width(req->bucket.redundancy);
    struct repair *r;

    *res = (struct job_repair_res){0};
    if (width == 1 || !env->members ||
        req->info->layout.n) { /* nobody has another; a record of slices has no content */
        call_finish(call, ERR_CORRUPT);
        return;
    }
    r = ARENA_NEW(req->arena, struct repair);
    r->env = env;
    r->req = req;
    r->res = res;
    r->whole = call;
    r->map = members_map(env->members);
    map_members(r->map, req->bucket.uid, req->key, width, &r->members);
    op_start(&r->op, call->loop, "repair", repair_next, repair_end);
    call_on_cancel(call, repair_cancel, r);
}
