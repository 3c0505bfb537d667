#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "etl/admin_own.h"

enum { LOOK_MS = 50, LOOK_MAX_MS = 500, NODES_MAX = 4096, NODE_SHOWN = 128, BEGIN_SHOWN = 100 };
#define MS UINT64_C(1000000)

/* ---- states ---- */

struct states {
    struct op op;
    const struct states_req *req;
    struct states_res *res;
    struct call *whole;
    size_t cap;
    struct meta_list_req list_req;
    struct meta_list_res list;
};

static step_fn states_list, states_listed, states_end;

static enum step_next states_list(struct op *op)
{
    struct states *s = OP(op, struct states);

    meta_list(s->req->meta, &s->list_req, &s->list, op_call(op, states_listed));
    return STEP_WAIT;
}

static void take(struct states *s, const struct meta_entry *e)
{
    struct arena *a = s->req->arena;
    struct etl_node_state state;
    struct str name, node;

    if (!etl_at_key_split(e->key, &name, &node) || etl_state_read(a, e->value, &state) != ERR_OK)
        return;
    if (s->res->count == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 16;
        struct named_state *more = arena_alloc(a, cap * sizeof(*more));
        if (s->cap)
            memcpy(more, s->res->list, s->cap * sizeof(*more));
        s->res->list = more;
        s->cap = cap;
    }
    state.node = node;
    s->res->list[s->res->count++] = (struct named_state){name, state};
}

static enum step_next states_listed(struct op *op)
{
    struct states *s = OP(op, struct states);

    for (uint32_t i = 0; i < s->list.count; i++)
        take(s, &s->list.entries[i]);
    if (!s->list.truncated || s->list.count == 0 || s->res->count >= NODES_MAX)
        return op_go(op, states_end);
    s->list_req.after = s->list.entries[s->list.count - 1].key;
    return op_go(op, states_list);
}

static enum step_next states_end(struct op *op)
{
    struct states *s = OP(op, struct states);

    call_finish(s->whole, op->err);
    free(s);
    return STEP_DONE;
}

static void states_cancel(void *arg)
{
    op_cancel(&((struct states *)arg)->op, ERR_CANCELLED);
}

void etl_states(const struct states_req *req, struct states_res *res, struct call *call)
{
    struct states *s = NEW(struct states);
    struct str prefix = req->name.n ? etl_at_key(req->arena, req->name, STR("")) : ETL_AT_KEY;

    s->req = req;
    s->res = res;
    s->whole = call;
    *res = (struct states_res){.count = 0};
    s->list_req = (struct meta_list_req){.arena = req->arena, .prefix = prefix, .max = META_LIST_MAX};
    call_on_cancel(call, states_cancel, s);
    op_start(&s->op, call->loop, "etl_states", states_list, states_end);
}

/* ---- waiting ---- */

struct await {
    struct op op;
    struct await_req req;
    struct call *whole;
    struct arena arena; /* of one look */
    struct meta_get_req get_req;
    struct meta_get_res got;
    struct states_req states_req;
    struct states_res states;
    struct etl_nap nap;
    uint64_t until_ns, pause_ms;
};

static step_fn await_look, await_record, await_states, await_looked, await_end;

static enum step_next await_look(struct op *op)
{
    struct await *a = OP(op, struct await);

    arena_release(&a->arena);
    if (!a->req.id.n)
        return op_go(op, await_states);
    a->get_req = (struct meta_get_req){&a->arena, etl_key(&a->arena, a->req.name)};
    meta_get(a->req.env->meta, &a->get_req, &a->got, op_try(op, await_record));
    return STEP_WAIT;
}

/* Nobody waits for what was stopped or deleted. */
static enum step_next await_record(struct op *op)
{
    struct await *a = OP(op, struct await);
    enum err e = op->call.err;

    if (e == ERR_NOT_FOUND || (e == ERR_OK && a->got.revision != a->req.revision))
        return op_fail(op, ERR_CONFLICT);
    return op_go(op, await_states);
}

static enum step_next await_states(struct op *op)
{
    struct await *a = OP(op, struct await);

    a->states_req = (struct states_req){&a->arena, a->req.env->meta, a->req.name};
    etl_states(&a->states_req, &a->states, op_try(op, await_looked));
    return STEP_WAIT;
}

static const struct etl_node_state *state_of(const struct await *a, struct str node)
{
    for (size_t i = 0; i < a->states.count; i++)
        if (str_eq(a->states.list[i].state.node, node) && str_eq(a->states.list[i].state.id, a->req.id))
            return &a->states.list[i].state;
    return NULL;
}

/* Of a long text the begin and the end: why it failed, and what its program wrote last. */
static enum err tell(struct await *a, struct str node, struct str what)
{
    char *why = a->req.why;
    int head = snprintf(why, ETL_WHY_MAX, "ETL " STR_FMT " at node %.*s: ", STR_ARG(a->req.name),
                        (int)(node.n < NODE_SHOWN ? node.n : NODE_SHOWN), node.p);
    size_t room = ETL_WHY_MAX - 1 - (size_t)head;

    if (what.n <= room)
        snprintf(why + head, room + 1, STR_FMT, STR_ARG(what));
    else
        snprintf(why + head, room + 1, "%.*s ... %.*s", BEGIN_SHOWN, what.p, (int)(room - BEGIN_SHOWN - 5),
                 what.p + what.n - (room - BEGIN_SHOWN - 5));
    return ERR_ETL;
}

/* ERR_AGAIN: not yet. */
static enum err all_ready(struct await *a, bool late)
{
    const struct str *nodes;
    size_t n = a->req.env->nodes(a->req.env->arg, &a->arena, &nodes);

    if (n == 0) {
        snprintf(a->req.why, ETL_WHY_MAX, "no node that runs ETLs is alive");
        return ERR_UNAVAILABLE;
    }
    for (size_t i = 0; i < n; i++) {
        const struct etl_node_state *s = state_of(a, nodes[i]);
        if (s && str_eq(s->state, STR("ready")))
            continue;
        if (s && str_eq(s->state, STR("failed"))) {
            enum err e = tell(a, nodes[i], s->error);
            return s->unserved ? ERR_NOT_IMPLEMENTED : e;
        }
        if (late)
            return tell(a, nodes[i], s && s->error.n ? s->error : STR("it did not get ready in time"));
        return ERR_AGAIN;
    }
    return ERR_OK;
}

static enum step_next await_looked(struct op *op)
{
    struct await *a = OP(op, struct await);
    bool late = loop_now_ns(op->loop) >= a->until_ns;
    enum err e = op->call.err;

    if (e == ERR_CANCELLED)
        return op_fail(op, e);
    if (e != ERR_OK)
        e = late ? e : ERR_AGAIN; /* meta may be back in a moment */
    else if (a->req.id.n)
        e = all_ready(a, late);
    else
        e = a->states.count && !late ? ERR_AGAIN : ERR_OK;
    if (e == ERR_OK)
        return op_go(op, await_end);
    if (e != ERR_AGAIN)
        return op_fail(op, e);
    etl_nap(&a->nap, a->pause_ms, op_call(op, await_look));
    a->pause_ms = a->pause_ms * 5 / 4 < LOOK_MAX_MS ? a->pause_ms * 5 / 4 : LOOK_MAX_MS;
    return STEP_WAIT;
}

static enum step_next await_end(struct op *op)
{
    struct await *a = OP(op, struct await);

    call_finish(a->whole, op->err);
    arena_release(&a->arena);
    free(a);
    return STEP_DONE;
}

static void await_cancel(void *arg)
{
    op_cancel(&((struct await *)arg)->op, ERR_CANCELLED);
}

void etl_await(const struct await_req *req, struct call *call)
{
    struct await *a = NEW(struct await);

    a->req = *req;
    a->whole = call;
    a->pause_ms = LOOK_MS;
    a->until_ns = loop_now_ns(call->loop) + req->ms * MS;
    call_on_cancel(call, await_cancel, a);
    op_start(&a->op, call->loop, "etl_await", await_look, await_end);
}
