#include "gateway/native_transform.h"

#include "base/mem.h"
#include "etl/each.h"
#include "gateway/native_object.h"
#include "s3api/cond.h"
#include "store/verified.h"

bool native_transforms(const struct native_request *r)
{
    return native_query(r, STR("etl_name")).n || native_query(r, STR("etl_pipeline")).n;
}

enum err native_stages(struct native_request *r, struct etl_run_req *run)
{
    char why[ETL_QUERY_WHY_MAX];
    enum err e = etl_stages_of_query(r->arena, r->query, r->query_count, &run->stages, &run->stage_count, why);

    if (e != ERR_OK)
        return native_error(r, e, "%s", why);
    if (!r->env->s3->door)
        return native_error(r, ERR_NOT_IMPLEMENTED, "ETLs are off here: see the setting etl.runtime");
    run->arena = r->arena;
    run->bucket = r->bucket.found.id.name;
    run->key = r->object;
    http_end_is_leaving(r->http);
    return ERR_OK;
}

enum err native_transform_fail(struct native_request *r, enum err e, const struct etl_run_res *res,
                               const struct native_bucket *b, struct str object)
{
    if (e == ERR_ETL) {
        r->error_status = res->status >= 400 && res->status < 500 && res->status != 429 ? res->status : 400;
        return native_error(r, e, "ETL error: " STR_FMT, STR_ARG(res->text));
    }
    if (e == ERR_NO_SUCH_ETL) {
        r->error_status = 404;
        return native_error(r, e, STR_FMT, STR_ARG(res->text.n ? res->text : str_z(err_text(e))));
    }
    if (res->text.n)
        return native_error(r, e, STR_FMT, STR_ARG(res->text));
    return native_fail(r, e, b, object);
}

/* ---- GET ---- */

struct transform_state {
    struct obj_get_req object;
    struct obj_get_res viewed;
    struct arcs_get_req member_req;
    struct arcs_get_res member;
    struct etl_run_req run;
    struct etl_each_req each;
    struct etl_run_res res;
    /* a copy */
    struct native_bucket to;
    struct str key;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct body_check check;
    struct attr attr;
};

static step_fn transform_object, transform_member, transform_opened, transform_run, transform_each, transformed;
static step_fn copy_found, copy_transformed, copy_stored;

static void close_bodies(void *arg)
{
    struct transform_state *t = arg;

    source_close(t->res.body);
    source_close(t->member.body);
    source_close(t->viewed.body);
}

static enum err begin(struct native_request *r, struct transform_state **out)
{
    struct transform_state *t = r->state = *out = ARENA_NEW(r->arena, struct transform_state);
    enum err e = native_stages(r, &t->run);

    if (e != ERR_OK)
        return e;
    if (native_query(r, STR("archregx")).n || native_query(r, STR("archmode")).n)
        return native_error(r, ERR_NOT_IMPLEMENTED,
                            "etl_name: several members of an archive are not transformed in one request");
    t->object =
        (struct obj_get_req){{.arena = r->arena, .bucket = r->bucket.found.id, .key = r->object, .cond = COND_INIT}};
    t->object.head.latest = native_query_bool(r, STR("latest-ver"));
    cond_parse_read(r->http, &t->object.head.cond);
    arena_defer(r->arena, close_bodies, t);
    return ERR_OK;
}

/* A range would be one of the result, whose bytes are only known when they have been made: all of it is sent, as a server may that serves no ranges
 * (RFC 9110 section 14.2). */
enum step_next native_get_transformed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t;
    struct str member = native_query(r, STR("archpath"));
    enum err e = begin(r, &t);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (member.n == 0)
        return op_go(op, transform_object);
    if (str_starts(member, r->object) && member.n > r->object.n && member.p[r->object.n] == '/')
        member = str_skip(member, r->object.n + 1);
    t->run.key = arena_printf(r->arena, STR_FMT "/" STR_FMT, STR_ARG(r->object), STR_ARG(member));
    t->member_req =
        (struct arcs_get_req){.archive = {.arena = r->arena, .bucket = r->bucket.found.id, .key = r->object},
                              .member = member,
                              .cond = t->object.head.cond};
    arcs_get(r->env->arcs, &t->member_req, &t->member, op_try(op, transform_member));
    return STEP_WAIT;
}

static enum step_next transform_member(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;
    enum err e = op->call.err;

    if (e == ERR_NO_SUCH_MEMBER)
        return op_fail(op, native_no_object(r, &r->bucket, t->run.key));
    if (e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE)
        native_error(r, e, STR_FMT " is not a readable archive: %s", STR_ARG(r->object), t->member.why);
    if (e != ERR_OK)
        return op_fail(op, native_fail(r, e, &r->bucket, r->object));
    t->run.body = t->member.body;
    t->run.size = t->member.len;
    return op_go(op, transform_run);
}

/* What a view has is made by its reader: it goes through the ETL as a body. */
static enum step_next transform_object(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;

    if (!r->bucket.found.id.view) {
        t->run.object = &t->object;
        return op_go(op, transform_run);
    }
    store_obj_get(r->env->s3->store, &t->object, &t->viewed, op_try(op, transform_opened));
    return STEP_WAIT;
}

static enum step_next transform_opened(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    t->run.body = t->viewed.body;
    t->run.size = t->viewed.head.len;
    return op_go(op, transform_run);
}

static enum step_next transform_run(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;

    if (native_query_bool(r, STR("etl_members")))
        return op_go(op, transform_each);

    etl_run(r->env->s3->door, &t->run, &t->res, op_try(op, t->to.name.n ? copy_transformed : transformed));
    return STEP_WAIT;
}

static enum step_next transform_each(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;

    if (native_query(r, STR("archpath")).n)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "etl_members is of an archive, not of its member"));
    t->each = (struct etl_each_req){.arena = r->arena,
                                    .loop = r->env->loop,
                                    .door = r->env->s3->door,
                                    .arcs = r->env->arcs,
                                    .store = r->env->s3->store,
                                    .cpu = r->env->s3->cpu,
                                    .stages = t->run.stages,
                                    .stage_count = t->run.stage_count,
                                    .bucket = r->bucket.found.id,
                                    .key = r->object};
    etl_each(&t->each, &t->res, op_try(op, t->to.name.n ? copy_transformed : transformed));
    return STEP_WAIT;
}

static enum step_next transformed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;

    if (op->call.err == ERR_NOT_MODIFIED) {
        r->status = 304;
        return op_go(op, native_send);
    }
    if (op->call.err != ERR_OK)
        return op_fail(op, native_transform_fail(r, op->call.err, &t->res, &r->bucket, r->object));
    r->type = t->res.content_type.n ? t->res.content_type : STR("application/octet-stream");
    r->answer = t->res.body;
    t->res.body = NULL;
    return op_go(op, native_send);
}

/* ---- PUT ?object_to= ---- */

enum step_next native_copy_transformed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t;
    enum err e = begin(r, &t);

    if (e == ERR_OK)
        e = native_bucket_of_uname(r, native_query(r, STR("object_to")), &t->to, &t->key);
    if (e == ERR_OK && t->key.n == 0)
        e = native_error(r, ERR_INVALID_ARGUMENT, "object_to names no object");
    if (e == ERR_OK && native_query_bool(r, STR("synchronize")))
        e = native_error(r, ERR_NOT_IMPLEMENTED, "synchronize: copying one object does not delete it elsewhere");
    if (e != ERR_OK)
        return op_fail(op, e);
    native_bucket_find(r, &t->to, op_call(op, copy_found));
    return STEP_WAIT;
}

static enum step_next copy_found(struct op *op)
{
    return op_go(op, transform_object);
}

static enum step_next copy_transformed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_transform_fail(r, op->call.err, &t->res, &r->bucket, r->object));
    t->attr = (struct attr){STR("content-type"), t->res.content_type};
    t->check.checksum = HASH_XXH64;
    t->put_req = (struct obj_put_req){.arena = r->arena,
                                      .bucket = t->to.found.id,
                                      .key = t->key,
                                      .info = {.attrs = &t->attr, .attr_count = t->attr.value.n ? 1 : 0},
                                      .cond = COND_INIT,
                                      .body = t->res.body,
                                      .check = &t->check,
                                      .size_max = NATIVE_PUT_MAX};
    t->put_req.cause = native_cause(r, EVENT_BY_METHOD);
    store_obj_put(r->env->s3->store, &t->put_req, &t->put, op_try(op, copy_stored));
    return STEP_WAIT;
}

static enum step_next copy_stored(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct transform_state *t = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &t->to, t->key));
    return op_go(op, native_send);
}

/* ---- what comes in ---- */

static void close_ingest(void *arg)
{
    struct native_ingest *in = arg;

    source_close(in->res.body);
    source_close(in->verified);
}

void native_ingest(struct native_request *r, struct native_ingest *in, struct body_check *check, struct call *call)
{
    enum err e = native_stages(r, &in->run);

    if (e != ERR_OK) {
        call_finish(call, e);
        return;
    }
    in->check.checksum = check->checksum;
    arena_defer(r->arena, close_ingest, in);
    if (r->http->body)
        in->verified = source_verified(r->env->loop, r->env->s3->cpu, r->http->body, check);
    else
        in->verified = source_memory(STR(""), NULL, NULL);
    in->run.body = in->verified;
    in->run.size = in->verified->size;
    etl_run(r->env->s3->door, &in->run, &in->res, call);
}
