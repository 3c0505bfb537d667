/* Several members: pages by name, and those that a selection means. */
#include <stdlib.h>

#include "archive/arcs_own.h"
#include "base/mem.h"

/* ---- pages ---- */

struct list_op {
    struct call call;
    const struct arcs_list_req *req;
    struct arcs_list_res *res;
    struct call *whole;
    struct arcs_look_res looked;
};

/* Where the names begin that don't start with `prefix` any more and are behind it. */
static uint32_t seek_past(const struct arc_index *x, struct arena *arena, struct str prefix)
{
    struct str past = arena_str(arena, prefix);
    char *p = (char *)past.p;

    while (past.n && (unsigned char)p[past.n - 1] == 0xFF)
        past.n--;
    if (past.n == 0)
        return x->count;
    p[past.n - 1]++;
    return arc_index_seek(x, past);
}

static void entry_of(const struct arc_index *x, const struct arc_member *m, struct arcs_entry *out)
{
    *out = (struct arcs_entry){.name = m->name, .size = m->size, .mtime_ns = x->mtime_ns};
    arc_index_etag(x, m, &out->etag);
}

static void list_page(const struct arcs_list_req *req, const struct arc_index *x, struct arcs_list_res *res)
{
    struct arena *arena = req->archive.arena;
    struct arcs_entry *entries = arena_alloc(arena, (req->max ? req->max : 1) * sizeof(*entries));
    bool behind = str_cmp(req->after, req->prefix) > 0;
    uint32_t at = req->max ? arc_index_seek(x, behind ? req->after : req->prefix) : x->count;
    struct str last = STR_NONE; /* of several of one name only the first is one that can be read */

    res->entries = entries;
    while (at < x->count) {
        struct arc_member m;
        arc_index_member(x, arc_index_by_name(x, at), &m);
        if (!str_starts(m.name, req->prefix))
            break;
        struct str common = m.name;
        bool rolled = key_rolls_up(m.name, req->prefix, req->delimiter, &common);
        at = rolled ? seek_past(x, arena, common) : at + 1;
        if (str_cmp(common, req->after) <= 0 || (last.p && str_eq(last, common)))
            continue;
        if (res->count == req->max) {
            res->truncated = true;
            break;
        }
        if (rolled)
            entries[res->count] = (struct arcs_entry){.name = common, .is_prefix = true};
        else
            entry_of(x, &m, &entries[res->count]);
        res->count++;
        last = common;
    }
}

static void list_looked(struct call *c)
{
    struct list_op *l = CONTAINER(c, struct list_op, call);

    memcpy(l->res->why, l->looked.why, sizeof(l->res->why));
    if (c->err == ERR_OK) {
        l->res->info = l->looked.info;
        list_page(l->req, l->looked.index, l->res);
    }
    call_finish(l->whole, c->err);
}

static void list_cancel(void *arg)
{
    call_cancel(&((struct list_op *)arg)->call);
}

void arcs_list(struct arcs *a, const struct arcs_list_req *req, struct arcs_list_res *res, struct call *call)
{
    struct list_op *l = ARENA_NEW(req->archive.arena, struct list_op);

    *res = (struct arcs_list_res){0};
    l->req = req;
    l->res = res;
    l->whole = call;
    call_begin(&l->call, call->loop, list_looked);
    arcs_look(a, &req->archive, &l->looked, &l->call);
    call_on_cancel(call, list_cancel, l);
}

/* ---- selections ---- */

struct select_op {
    struct op op;
    struct arcs *arcs;
    const struct arcs_select_req *req;
    struct arcs_select_res *res;
    struct call *whole;
    struct arcs_look_res looked;
    struct arc_select *select;
    struct offload_task task;
    uint32_t *members; /* malloc'ed: the pool must not touch the arena */
    uint32_t count;
};

static step_fn select_look, select_match, select_matched, select_end;

static enum step_next select_look(struct op *op)
{
    struct select_op *s = OP(op, struct select_op);
    enum err e = arc_select_new(s->req->mode, s->req->pattern, &s->select, s->res->why);

    if (e != ERR_OK)
        return op_fail(op, e);
    arcs_look(s->arcs, &s->req->archive, &s->looked, op_try(op, select_match));
    return STEP_WAIT;
}

static enum err match_all(struct offload_task *t)
{
    struct select_op *s = CONTAINER(t, struct select_op, task);
    const struct arc_index *x = s->looked.index;
    struct arc_member m;
    enum err e = ERR_OK;

    s->members = mem_alloc((x->count ? x->count : 1) * sizeof(*s->members));
    for (uint32_t i = 0; i < x->count && e == ERR_OK; i++) {
        bool matches = false;
        arc_index_member(x, i, &m);
        e = arc_select_match(s->select, m.name, &matches);
        if (e == ERR_OK && matches)
            s->members[s->count++] = i;
    }
    return e;
}

static enum step_next select_match(struct op *op)
{
    struct select_op *s = OP(op, struct select_op);

    if (op->call.err != ERR_OK) {
        memcpy(s->res->why, s->looked.why, sizeof(s->res->why));
        return op_fail(op, op->call.err);
    }
    offload_run(s->arcs->env.cpu, &s->task, match_all, op_call(op, select_matched));
    return STEP_WAIT;
}

static enum step_next select_matched(struct op *op)
{
    struct select_op *s = OP(op, struct select_op);

    s->res->info = s->looked.info;
    s->res->index = s->looked.index;
    s->res->members = s->members;
    s->res->count = s->count;
    return op_go(op, select_end);
}

static enum step_next select_end(struct op *op)
{
    struct select_op *s = OP(op, struct select_op);

    if (s->members)
        arena_defer(s->req->archive.arena, free, s->members);
    if (s->select)
        arc_select_free(s->select);
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

static void select_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void arcs_select(struct arcs *a, const struct arcs_select_req *req, struct arcs_select_res *res, struct call *call)
{
    struct select_op *s = ARENA_NEW(req->archive.arena, struct select_op);

    *res = (struct arcs_select_res){0};
    s->arcs = a;
    s->req = req;
    s->res = res;
    s->whole = call;
    op_start(&s->op, call->loop, "select_members", select_look, select_end);
    call_on_cancel(call, select_cancel, &s->op);
}
