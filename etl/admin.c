#include "admin.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "etl/admin_own.h"

enum { SLACK_MS = 10000, GONE_MS = 20000, TRIES_MAX = 5 };

/* A change: the record is read, written, and its nodes are waited for. */
enum doing { DOES_CREATE, DOES_START, DOES_STOP, DOES_DELETE };

struct change {
    struct op op;
    struct etl_admin_env env;
    enum doing doing;
    struct arena *arena;
    struct str name;
    struct etl_record record;
    uint64_t revision;
    struct etl_create_res *res; /* NULL: nobody wants to know */
    char why[ETL_WHY_MAX];
    struct call *whole;
    unsigned tries;
    bool beginning; /* it is being made initializing */
    bool begun;     /* it is initializing: undone unless it gets ready */
    struct meta_get_req get_req;
    struct meta_get_res got;
    struct meta_put_req put_req;
    struct meta_put_res put;
};

static step_fn change_read, change_found, change_begin, change_begun, change_ready, change_done, change_end,
    change_undo, change_undone, change_gone;

static enum step_next put(struct change *c, bool remove, uint64_t revision, step_fn *next)
{
    struct str text = STR_NONE;
    enum err e = remove ? ERR_OK : etl_record_text(c->arena, &c->record, &text);

    if (e != ERR_OK) {
        snprintf(c->why, sizeof(c->why), "the specification is too large to be kept");
        return op_fail(&c->op, e);
    }
    c->put_req =
        (struct meta_put_req){.key = etl_key(c->arena, c->name), .value = text, .revision = revision, .remove = remove};
    meta_put(c->env.meta, &c->put_req, &c->put, op_try(&c->op, next));
    return STEP_WAIT;
}

static enum step_next change_read(struct op *op)
{
    struct change *c = OP(op, struct change);

    c->get_req = (struct meta_get_req){c->arena, etl_key(c->arena, c->name)};
    meta_get(c->env.meta, &c->get_req, &c->got, op_try(op, change_found));
    return STEP_WAIT;
}

static enum step_next change_found(struct op *op)
{
    struct change *c = OP(op, struct change);
    enum err e = op->call.err;

    if (e != ERR_OK)
        return op_fail(op, e == ERR_NOT_FOUND ? ERR_NO_SUCH_ETL : e);
    c->revision = c->got.revision;
    if (c->doing == DOES_DELETE) /* also one that can't be read */
        return put(c, true, c->revision, change_done);
    if ((e = etl_record_read(c->arena, c->got.value, &c->record)) != ERR_OK)
        return op_fail(op, e);
    if (c->doing == DOES_START)
        return op_go(op, change_begin);
    if (c->record.stage == ETL_ABORTED)
        return op_go(op, change_end);
    c->record.stage = ETL_ABORTED;
    return put(c, false, c->revision, change_done);
}

/* ---- until all nodes are ready ---- */

static enum step_next change_begin(struct op *op)
{
    struct change *c = OP(op, struct change);

    if (c->doing == DOES_START && etl_stage_now(&c->record, etl_now_ms()) != ETL_ABORTED) {
        snprintf(c->why, sizeof(c->why), "ETL " STR_FMT " is not stopped", STR_ARG(c->name));
        return op_fail(op, ERR_CONFLICT);
    }
    etl_record_renew(c->arena, &c->record);
    c->record.stage = ETL_INITIALIZING;
    if (c->doing == DOES_CREATE)
        c->record.created_ms = c->record.began_ms;
    c->beginning = true;
    return put(c, false, c->revision, change_begun);
}

static enum step_next change_begun(struct op *op)
{
    struct change *c = OP(op, struct change);
    enum err e = op->call.err;

    c->beginning = false;
    if (e == ERR_CONFLICT) {
        snprintf(c->why, sizeof(c->why),
                 c->doing == DOES_CREATE ? "there is an ETL " STR_FMT " already"
                                         : "ETL " STR_FMT " was changed meanwhile",
                 STR_ARG(c->name));
        return op_fail(op, c->doing == DOES_CREATE ? ERR_EXISTS : e);
    }
    if (e != ERR_OK)
        return op_fail(op, e);
    c->begun = true;
    c->revision = c->put.revision;
    etl_await(&(struct await_req){.env = &c->env,
                                  .name = c->name,
                                  .id = c->record.id,
                                  .revision = c->revision,
                                  .ms = (uint64_t)c->record.spec.init_timeout_ms + SLACK_MS,
                                  .why = c->why},
              op_try(op, change_ready));
    return STEP_WAIT;
}

/* Somebody else has changed it since it was begun: it is his now. */
static enum step_next lost(struct change *c)
{
    c->begun = false;
    snprintf(c->why, sizeof(c->why), "ETL " STR_FMT " was stopped or deleted meanwhile", STR_ARG(c->name));
    return op_fail(&c->op, ERR_CONFLICT);
}

static enum step_next change_ready(struct op *op)
{
    struct change *c = OP(op, struct change);
    enum err e = op->call.err;

    if (e != ERR_OK)
        return e == ERR_CONFLICT ? lost(c) : op_fail(op, e);
    c->record.stage = ETL_RUNNING;
    return put(c, false, c->revision, change_done);
}

static enum step_next change_done(struct op *op)
{
    struct change *c = OP(op, struct change);
    enum err e = op->call.err;

    if (e == ERR_CONFLICT && c->begun)
        return lost(c);
    if (e == ERR_CONFLICT && ++c->tries < TRIES_MAX)
        return op_go(op, change_read);
    if (e != ERR_OK)
        return op_fail(op, e);
    c->begun = false;
    if (c->doing == DOES_CREATE || c->doing == DOES_START)
        return op_go(op, change_end);
    etl_await(&(struct await_req){.env = &c->env, .name = c->name, .ms = GONE_MS, .why = c->why},
              op_call(op, change_end));
    return STEP_WAIT;
}

/* ---- the end; what was begun in vain is taken back ---- */

static enum step_next change_end(struct op *op)
{
    struct change *c = OP(op, struct change);

    if (c->beginning && op->call.err == ERR_OK) { /* the caller has gone, and it was written all the same */
        c->begun = true;
        c->revision = c->put.revision;
    }
    return op_go(op, c->begun ? change_undo : change_gone);
}

static enum step_next change_undo(struct op *op)
{
    struct change *c = OP(op, struct change);
    struct str text = STR_NONE;
    bool remove = c->doing == DOES_CREATE;

    c->begun = false;
    c->record.stage = ETL_ABORTED;
    if (!remove && etl_record_text(c->arena, &c->record, &text) != ERR_OK)
        return op_go(op, change_gone);
    c->put_req = (struct meta_put_req){
        .key = etl_key(c->arena, c->name), .value = text, .revision = c->revision, .remove = remove};
    meta_put(c->env.meta, &c->put_req, &c->put, op_try(op, change_undone));
    return STEP_WAIT;
}

static enum step_next change_undone(struct op *op)
{
    struct change *c = OP(op, struct change);

    etl_await(&(struct await_req){.env = &c->env, .name = c->name, .ms = GONE_MS, .why = c->why},
              op_try(op, change_gone));
    return STEP_WAIT;
}

static enum step_next change_gone(struct op *op)
{
    struct change *c = OP(op, struct change);

    if (c->res) {
        c->res->id = c->record.id;
        memcpy(c->res->why, c->why, sizeof(c->res->why));
    }
    call_finish(c->whole, op->err);
    free(c);
    return STEP_DONE;
}

static void change_cancel(void *arg)
{
    op_cancel(&((struct change *)arg)->op, ERR_CANCELLED);
}

static struct change *change_new(const struct etl_admin_env *env, enum doing doing, struct arena *arena,
                                 struct etl_create_res *res, struct call *call)
{
    struct change *c = NEW(struct change);

    c->env = *env;
    c->doing = doing;
    c->arena = arena;
    c->res = res;
    c->whole = call;
    return c;
}

static void change_start(struct change *c, step_fn *first)
{
    call_on_cancel(c->whole, change_cancel, c);
    op_start(&c->op, c->whole->loop, "etl_change", first, change_end);
}

static void change_named(const struct etl_admin_env *env, enum doing doing, const struct etl_name_req *req,
                         struct etl_create_res *res, struct call *call)
{
    struct change *c = change_new(env, doing, req->arena, res, call);

    c->name = arena_str(req->arena, req->name);
    change_start(c, change_read);
}

void etl_create(const struct etl_admin_env *env, const struct etl_create_req *req, struct etl_create_res *res,
                struct call *call)
{
    struct change *c;
    struct etl_spec spec;
    enum err e;

    *res = (struct etl_create_res){.why = ""};
    e = etl_spec_parse(req->text, req->arena, &spec, res->why);
    if (e == ERR_OK && spec.worker) { /* comm_io.c has no frames for it: better said now than for each object */
        snprintf(res->why, ETL_WHY_MAX, "runtime.worker: processes that take many objects are not implemented");
        e = ERR_NOT_IMPLEMENTED;
    }
    if (e != ERR_OK) {
        call_finish(call, e);
        return;
    }
    c = change_new(env, DOES_CREATE, req->arena, res, call);
    c->name = spec.name;
    c->record = (struct etl_record){.owner = req->owner, .spec = spec};
    change_start(c, change_begin);
}

void etl_start(const struct etl_admin_env *env, const struct etl_name_req *req, struct etl_create_res *res,
               struct call *call)
{
    *res = (struct etl_create_res){.why = ""};
    change_named(env, DOES_START, req, res, call);
}

void etl_stop(const struct etl_admin_env *env, const struct etl_name_req *req, struct call *call)
{
    change_named(env, DOES_STOP, req, NULL, call);
}

void etl_delete(const struct etl_admin_env *env, const struct etl_name_req *req, struct call *call)
{
    change_named(env, DOES_DELETE, req, NULL, call);
}
