#include "s3api/transform.h"

#include "etl/each.h"
#include "s3api/cond.h"
#include "s3api/member.h"
#include "s3api/objreq.h"
#include "store/verified.h"

enum { GATEWAY_TIMEOUT = 504 };

bool transform_wanted(const struct s3_request *r)
{
    return s3_query(r, STR("etl_name")).n || s3_query(r, STR("etl_pipeline")).n;
}

static enum err parse(struct s3_request *r, struct etl_run_req *run)
{
    char why[ETL_QUERY_WHY_MAX];
    enum err e = etl_stages_of_query(r->arena, r->query, r->query_count, &run->stages, &run->stage_count, why);

    if (e != ERR_OK)
        return reply_error(r, e, "%s", why);
    if (!r->env->door)
        return reply_error(r, ERR_NOT_IMPLEMENTED, "ETLs are off here: see the setting etl.runtime.");
    run->arena = r->arena;
    run->bucket = r->bucket.id.name;
    run->key = r->key;
    http_end_is_leaving(r->http);
    return ERR_OK;
}

enum err transform_fail(struct s3_request *r, enum err e, const struct etl_run_res *res)
{
    if (e == ERR_ETL && res->status >= 400 && res->status < 500)
        r->reply.error_status = res->status;
    if (e == ERR_TIMEOUT) { /* not the client's, which RequestTimeout would mean */
        e = ERR_ETL;
        r->reply.error_status = GATEWAY_TIMEOUT;
    }
    if (res->text.n)
        return reply_error(r, e, STR_FMT, STR_ARG(res->text));
    return objreq_fail(r, e, r->key, NULL);
}

/* ---- GetObject ---- */

struct transform_state {
    struct obj_get_req object;
    struct member_read_req member_req;
    struct obj_get_res member;
    struct etl_run_req run;
    struct etl_each_req each;
    struct etl_run_res res;
};

static step_fn get_member, get_run, get_each, get_transformed;

static void close_bodies(void *arg)
{
    struct transform_state *t = arg;

    source_close(t->res.body);
    source_close(t->member.body);
}

/* Range is passed over: it would be one of the result, whose bytes are only known when they have been made (RFC 9110 section 14.2). */
enum step_next transform_get(struct op *op)
{
    struct s3_request *r = S3(op);
    struct transform_state *t = r->state = ARENA_NEW(r->arena, struct transform_state);
    bool is_member;
    enum err e;

    if ((e = parse(r, &t->run)) != ERR_OK || (e = member_parse(r, &t->member_req, &is_member)) != ERR_OK)
        return op_fail(op, e);
    if (s3_query(r, STR("partNumber")).p)
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST, "A part of an object cannot be transformed."));
    t->object = (struct obj_get_req){.head = {.arena = r->arena, .bucket = r->place.bucket, .key = r->place.key}};
    cond_parse_read(r->http, &t->object.head.cond);
    arena_defer(r->arena, close_bodies, t);
    if (str_eq_nocase(s3_query(r, STR("etl_members")), STR("true")))
        return op_go(op, get_each);
    if (!is_member && !r->bucket.id.view) { /* what a view has is made by its reader */
        t->run.object = &t->object;
        return op_go(op, get_run);
    }
    t->member_req.get = t->object;
    member_read(r, &t->member_req, &t->member, op_try(op, get_member));
    return STEP_WAIT;
}

static enum step_next get_member(struct op *op)
{
    struct s3_request *r = S3(op);
    struct transform_state *t = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, &t->object.head.cond));
    t->run.body = t->member.body;
    t->run.size = t->member.head.len;
    return op_go(op, get_run);
}

static enum step_next get_run(struct op *op)
{
    struct s3_request *r = S3(op);
    struct transform_state *t = r->state;

    etl_run(r->env->door, &t->run, &t->res, op_try(op, get_transformed));
    return STEP_WAIT;
}

/* A shard in, a shard out. */
static enum step_next get_each(struct op *op)
{
    struct s3_request *r = S3(op);
    struct transform_state *t = r->state;

    if (t->member_req.path.p || !r->env->arcs)
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST, "etl_members is of an archive, not of its member."));
    t->each = (struct etl_each_req){.arena = r->arena,
                                    .loop = r->env->loop,
                                    .door = r->env->door,
                                    .arcs = r->env->arcs,
                                    .store = r->env->store,
                                    .cpu = r->env->cpu,
                                    .stages = t->run.stages,
                                    .stage_count = t->run.stage_count,
                                    .bucket = r->bucket.id,
                                    .key = r->key};
    etl_each(&t->each, &t->res, op_try(op, get_transformed));
    return STEP_WAIT;
}

static enum step_next get_transformed(struct op *op)
{
    struct s3_request *r = S3(op);
    struct transform_state *t = r->state;
    enum err e = op->call.err;

    if (e == ERR_NOT_MODIFIED || e == ERR_PRECONDITION)
        return op_fail(op, objreq_fail(r, e, r->key, &t->object.head.cond));
    if (e != ERR_OK)
        return op_fail(op, transform_fail(r, e, &t->res));
    reply_header(r, STR("Content-Type"), t->res.content_type.n ? t->res.content_type : STR("application/octet-stream"));
    reply_body(r, t->res.body);
    t->res.body = NULL;
    return op_go(op, reply_send);
}

/* ---- PutObject ---- */

static void close_body(void *arg)
{
    struct transform_body *t = arg;

    source_close(t->res.body);
    source_close(t->verified);
}

void transform_body(struct s3_request *r, struct transform_body *t, struct source *body, struct body_check *check,
                    struct call *call)
{
    enum err e = parse(r, &t->run);

    if (e != ERR_OK) {
        call_finish(call, e);
        return;
    }
    arena_defer(r->arena, close_body, t);
    t->verified = body ? source_verified(r->env->loop, r->env->cpu, body, check) : source_memory(STR(""), NULL, NULL);
    t->check.checksum = check->checksum;
    t->run.body = t->verified;
    t->run.size = t->verified->size;
    etl_run(r->env->door, &t->run, &t->res, call);
}
