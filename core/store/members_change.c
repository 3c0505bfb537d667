#include <stdlib.h>

#include "base/log.h"
#include "base/op.h"
#include "members_own.h"

enum { TRIES_MAX = 64 };

/* A change: reads the map, makes the new one of it, replaces it by compare-and-swap, from the start again when somebody was faster. */
struct change_op {
    struct op op;
    struct members *m;
    const struct members_change_req *req;
    struct members_change_res *res;
    struct call *whole;
    struct arena arena;
    const struct map *made; /* NULL = none yet */
    bool buried;
    unsigned tries;
    uint64_t revision;
    struct meta_get_req get;
    struct meta_get_res got;
    struct meta_put_req put;
    struct meta_put_res written;
};

static step_fn change_read, change_make, change_bury, change_write, change_known, change_end;

static enum err set_state(const struct map *m, struct str id, enum node_state state, const struct map **out)
{
    int at = map_find(m, id);

    if (at >= 0 && m->nodes[at].state == state)
        return ERR_EXISTS;
    return map_set_state(m, id, state, out);
}

static enum err settle(const struct map *m, const struct members_change_req *req, const struct map **out)
{
    return req->epoch == m->term ? map_settled_width(m, req->width, out) : ERR_CONFLICT;
}

/* ERR_EXISTS: it is so already. */
static enum err make(const struct members_change_req *req, const struct map *m, const struct map **out)
{
    switch (req->verb) {
    case MEMBERS_ACTIVATE:
        return set_state(m, req->id, NODE_ACTIVE, out);
    case MEMBERS_MAINTENANCE:
        return set_state(m, req->id, NODE_MAINTENANCE, out);
    case MEMBERS_DECOMMISSION:
        return set_state(m, req->id, NODE_LEAVING, out);
    case MEMBERS_REMOVE:
        return map_remove(m, req->id, out);
    case MEMBERS_SETTLED:
        return settle(m, req, out);
    case MEMBERS_OUT:
        return map_set_sync(m, req->id, SYNC_OUT, out);
    case MEMBERS_CATCH:
        return map_set_sync(m, req->id, SYNC_CATCHING, out);
    }
    return ERR_INVALID_ARGUMENT;
}

static enum step_next change_read(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);

    arena_release(&c->arena);
    c->get = (struct meta_get_req){&c->arena, MEMBERS_MAP};
    meta_get(c->m->conf.meta, &c->get, &c->got, op_try(op, change_make));
    return STEP_WAIT;
}

static enum step_next change_make(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);
    const struct map *now;
    enum err e = members_read(op->call.err, &c->got, &now, &c->revision);

    if (e != ERR_OK)
        return op_fail(op, e);
    e = make(c->req, now, &c->made);
    c->res->epoch = now->epoch;
    members_learn(c->m, now);
    if (e == ERR_EXISTS)
        return op_go(op, change_end);
    if (e != ERR_OK)
        return op_fail(op, e);
    return c->req->verb == MEMBERS_REMOVE && !c->buried ? op_go(op, change_bury) : op_go(op, change_write);
}

/* Before it leaves the map, so that it can't come back in between with what it held long ago. */
static enum step_next change_bury(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);

    c->buried = true;
    c->put = (struct meta_put_req){
        .key = arena_printf(&c->arena, STR_FMT STR_FMT, STR_ARG(MEMBERS_REMOVED), STR_ARG(c->req->id)),
        .value = arena_printf(&c->arena, "{\"epoch\":%llu}", (unsigned long long)c->made->epoch),
        .revision = META_ANY};
    meta_put(c->m->conf.meta, &c->put, &c->written, op_call(op, change_write));
    return STEP_WAIT;
}

static enum step_next change_write(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);

    c->put = (struct meta_put_req){
        .absent = c->req->verb == MEMBERS_OUT
                      ? arena_printf(&c->arena, STR_FMT STR_FMT, STR_ARG(MEMBERS_ALIVE), STR_ARG(c->req->id))
                      : STR_NONE,
        .key = MEMBERS_MAP,
        .value = map_record(c->made, &c->arena),
        .revision = c->revision};
    meta_put(c->m->conf.meta, &c->put, &c->written, op_try(op, change_known));
    return STEP_WAIT;
}

static enum step_next change_known(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);
    const struct map *made = c->made;

    c->made = NULL;
    if (op->call.err == ERR_OK) {
        c->res->epoch = made->epoch;
        members_learn(c->m, made);
        return op_go(op, change_end);
    }
    map_release(made);
    if (op->call.err == ERR_CONFLICT && c->req->verb != MEMBERS_OUT && ++c->tries < TRIES_MAX)
        return op_go(op, change_read);
    return op_fail(op, op->call.err);
}

static enum step_next change_end(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);

    map_release(c->made);
    arena_release(&c->arena);
    call_finish(c->whole, op->err);
    free(c);
    return STEP_DONE;
}

void members_change(struct members *m, const struct members_change_req *req, struct members_change_res *res,
                    struct call *whole)
{
    struct change_op *c = NEW(struct change_op);

    /* no cancel hook: a put that was begun takes effect, and its caller wants to know the epoch */
    *c = (struct change_op){.m = m, .req = req, .res = res, .whole = whole};
    op_start(&c->op, whole->loop, "members_change", change_read, change_end);
}
