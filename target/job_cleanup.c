#include "base/clock.h"
#include "base/json.h"
#include "target/job_each.h"
#include "target/job_own.h"

/* What jobs have left in the system bucket, "jobs/<id>/...", though their record is gone: {}. Only what is an hour old: lists are written before
 * the record of their job is. */
enum { GRACE_S = 3600 };

struct cleanup {
    struct job job;
    struct job_each each;
    struct arena arena;
    struct call call;
};

struct one {
    struct op op;
    struct cleanup *cleanup;
    struct job_each_key *key;
    struct call *whole;
    struct meta_get_req get_req;
    struct meta_get_res got;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_delete_req req;
    struct obj_delete_res res;
};

static step_fn one_ask, one_known, one_looked, one_done, one_end;

static enum step_next one_ask(struct op *op)
{
    struct one *o = OP(op, struct one);
    struct str rest = str_skip(o->key->key, STR("jobs/").n), id = str_split(&rest, '/');

    o->key->skipped = id.n == 0 || id.n > JOB_ID_MAX;
    if (o->key->skipped)
        return op_go(op, one_end);
    o->get_req = (struct meta_get_req){o->key->arena, job_key(o->key->arena, id)};
    meta_get(o->cleanup->job.env->meta, &o->get_req, &o->got, op_try(op, one_known));
    return STEP_WAIT;
}

static enum step_next one_known(struct op *op)
{
    struct one *o = OP(op, struct one);

    o->key->skipped = op->call.err == ERR_OK;
    if (op->call.err == ERR_OK)
        return op_go(op, one_end);
    if (op->call.err != ERR_NOT_FOUND)
        return op_fail(op, op->call.err);
    o->head_req = (struct obj_head_req){
        .arena = o->key->arena, .bucket = o->key->bucket->id, .key = o->key->key, .cond = COND_INIT};
    store_obj_head(o->cleanup->job.env->all, &o->head_req, &o->head, op_call(op, one_looked));
    return STEP_WAIT;
}

static enum step_next one_looked(struct op *op)
{
    struct one *o = OP(op, struct one);

    o->key->skipped = o->head.info.mtime_ns > clock_wall_ns() - GRACE_S * NS_PER_S;
    if (o->key->skipped)
        return op_go(op, one_end);
    o->key->bytes = o->head.info.size;
    o->req = (struct obj_delete_req){
        .arena = o->key->arena, .bucket = o->key->bucket->id, .key = o->key->key, .cond = COND_INIT};
    store_obj_delete(o->cleanup->job.env->all, &o->req, &o->res, op_call(op, one_done));
    return STEP_WAIT;
}

static enum step_next one_done(struct op *op)
{
    return op_go(op, one_end);
}

static enum step_next one_end(struct op *op)
{
    call_finish(OP(op, struct one)->whole, op->err);
    return STEP_DONE;
}

static void clean_one(void *arg, struct job_each_key *key, struct call *call)
{
    struct one *o = ARENA_NEW(key->arena, struct one);

    o->cleanup = arg;
    o->key = key;
    o->whole = call;
    op_start(&o->op, call->loop, "clean", one_ask, one_end);
}

/* Without a system bucket there is nothing to clean. */
static void ended(struct call *c)
{
    struct cleanup *u = CONTAINER(c, struct cleanup, call);

    arena_release(&u->arena);
    job_each_end(&u->job, c->err == ERR_NO_SUCH_BUCKET ? ERR_OK : c->err);
}

static void run(struct job *job)
{
    struct cleanup *u = CONTAINER(job, struct cleanup, job);
    char why[DOC_WHY_MAX];
    struct doc *spec;

    call_begin(&u->call, job->env->loop, ended);
    if (js_read(&u->arena, STR("{\"bucket\":\".sluice\",\"prefix\":\"jobs/\"}"), &spec, why) != ERR_OK) {
        call_finish(&u->call, ERR_INTERNAL);
        return;
    }
    u->each = (struct job_each){.job = job, .spec = spec, .each = clean_one, .arg = u};
    job_each_run(&u->each, &u->call);
}

static void stop(struct job *job)
{
    call_cancel(&CONTAINER(job, struct cleanup, job)->call);
}

const struct job_kind job_cleanup = {
    .name = "cleanup", .size = sizeof(struct cleanup), .startable = true, .run = run, .stop = stop};
