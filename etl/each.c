#include "etl/each.h"

#include <stdlib.h>

#include "archive/arc_format.h"
#include "archive/arc_pack.h"
#include "base/log.h"
#include "base/op.h"

enum { PIECE = 64 << 10 };

enum slot_state { SLOT_FREE, SLOT_BUSY, SLOT_DONE };

/* One member on its way. */
struct slot {
    struct op op;
    struct each *each;
    enum slot_state state;
    enum err err;
    struct arena arena;
    struct str name;
    struct arcs_get_req get;
    struct arcs_get_res got;
    struct etl_run_req run_req;
    struct etl_run_res run;
    struct buf content;
    size_t n;
};

struct each {
    struct op op; /* the beginning */
    struct etl_each_req req;
    struct etl_run_res *res;
    struct call *whole; /* NULL: it is done */
    struct arcs_select_req select_req;
    struct arcs_select_res members;
    struct slot slots[ETL_MEMBERS_AHEAD];
    uint32_t begun, given, dropped;
    unsigned busy;
    bool closed;
    struct call *first; /* waits for the first member */
    /* who asks for the next one */
    struct arc_entry *out;
    bool *end;
    struct call *asks;
};

static step_fn each_select, each_selected, each_begun, each_end;
static step_fn slot_get, slot_got, slot_ran, slot_read, slot_end;

static void release(struct each *e)
{
    if (!e->closed || e->busy || e->whole)
        return;
    for (unsigned i = 0; i < ETL_MEMBERS_AHEAD; i++) {
        buf_release(&e->slots[i].content);
        arena_release(&e->slots[i].arena);
    }
    free(e);
}

/* ---- a member ---- */

static enum step_next slot_get(struct op *op)
{
    struct slot *s = OP(op, struct slot);

    arcs_get(s->each->req.arcs, &s->get, &s->got, op_call(op, slot_got));
    return STEP_WAIT;
}

static enum step_next slot_got(struct op *op)
{
    struct slot *s = OP(op, struct slot);
    const struct etl_each_req *q = &s->each->req;

    s->run_req =
        (struct etl_run_req){.arena = &s->arena,
                             .stages = q->stages,
                             .stage_count = q->stage_count,
                             .body = s->got.body,
                             .size = s->got.len,
                             .bucket = q->bucket.name,
                             .key = arena_printf(&s->arena, STR_FMT "/" STR_FMT, STR_ARG(q->key), STR_ARG(s->name))};
    etl_run(q->door, &s->run_req, &s->run, op_call(op, slot_ran));
    return STEP_WAIT;
}

static enum step_next slot_ran(struct op *op)
{
    struct slot *s = OP(op, struct slot);
    char *p = buf_reserve(&s->content, PIECE);

    if (!p)
        return op_fail(op, ERR_TOO_LARGE);
    source_read(s->run.body, p, PIECE, &s->n, op_call(op, slot_read));
    return STEP_WAIT;
}

static enum step_next slot_read(struct op *op)
{
    struct slot *s = OP(op, struct slot);

    buf_commit(&s->content, s->n);
    return s->n ? op_go(op, slot_ran) : op_go(op, slot_end);
}

static void give(struct each *e);
static void run_ahead(struct each *e);

static enum step_next slot_end(struct op *op)
{
    struct slot *s = OP(op, struct slot);
    struct each *e = s->each;

    source_close(s->run.body);
    source_close(s->got.body);
    s->run.body = s->got.body = NULL;
    s->err = op->err;
    s->state = SLOT_DONE;
    e->busy--;
    if (e->first && s == &e->slots[0]) {
        struct call *first = e->first;
        e->first = NULL;
        call_finish(first, ERR_OK);
    }
    give(e);
    release(e);
    return STEP_DONE;
}

static void begin(struct each *e)
{
    struct slot *s = &e->slots[e->begun % ETL_MEMBERS_AHEAD];
    struct arc_member m;
    struct etag etag;

    arc_index_member(e->members.index, e->members.members[e->begun++], &m);
    arc_index_etag(e->members.index, &m, &etag);
    arena_release(&s->arena);
    buf_release(&s->content);
    *s = (struct slot){.each = e, .state = SLOT_BUSY, .content = BUF_INIT(ETL_MEMBER_MAX)};
    s->name = arena_str(&s->arena, m.name);
    s->get = (struct arcs_get_req){
        .archive = {.arena = &s->arena, .bucket = e->req.bucket, .key = e->req.key, .format = e->members.index->format},
        .member = s->name,
        .cond = COND_INIT};
    s->get.cond.if_match = arena_printf(&s->arena, "\"" STR_FMT "\"", STR_ARG(etag_str(&etag)));
    e->busy++;
    op_start(&s->op, e->req.loop, "etl_member", slot_get, slot_end);
}

static void run_ahead(struct each *e)
{
    while (!e->closed && e->begun < e->members.count && e->begun - e->dropped < ETL_MEMBERS_AHEAD)
        begin(e);
}

/* ---- as an archive ---- */

static void give(struct each *e)
{
    struct slot *s = &e->slots[e->given % ETL_MEMBERS_AHEAD];
    struct call *asks = e->asks;

    if (!asks || (e->given < e->members.count && s->state == SLOT_BUSY))
        return;
    e->asks = NULL;
    *e->end = e->given == e->members.count;
    if (*e->end) {
        call_finish(asks, ERR_OK);
        return;
    }
    e->given++;
    if (s->err != ERR_OK)
        log_warn(e->req.arena->id, "a member could not be transformed", "member=%s error=%s", log_quote(s->name),
                 err_name(s->err));
    else
        *e->out = (struct arc_entry){
            .name = s->name, .bytes = s->content.n ? buf_str(&s->content) : STR(""), .range = {.kind = RANGE_ALL}};
    call_finish(asks, s->err);
}

static void ask_cancel(void *arg)
{
    struct each *e = arg;
    struct call *asks = e->asks;

    e->asks = NULL;
    if (asks)
        call_finish(asks, ERR_CANCELLED);
}

static void each_next(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct each *e = arg;

    e->out = out;
    e->end = end;
    e->asks = call;
    call_on_cancel(call, ask_cancel, e);
    give(e);
}

static void each_drop(void *arg, const struct arc_entry *entry)
{
    struct each *e = arg;

    (void)entry;
    e->dropped++;
    run_ahead(e);
}

static void each_close(void *arg)
{
    struct each *e = arg;

    ask_cancel(e);
    e->closed = true;
    for (unsigned i = 0; i < ETL_MEMBERS_AHEAD; i++)
        if (e->slots[i].state == SLOT_BUSY)
            op_cancel(&e->slots[i].op, ERR_CANCELLED);
    release(e);
}

/* ---- the beginning ---- */

static enum step_next each_select(struct op *op)
{
    struct each *e = OP(op, struct each);

    e->select_req =
        (struct arcs_select_req){.archive = {.arena = e->req.arena, .bucket = e->req.bucket, .key = e->req.key},
                                 .mode = ARC_MODE_PREFIX,
                                 .pattern = STR("")};
    arcs_select(e->req.arcs, &e->select_req, &e->members, op_try(op, each_selected));
    return STEP_WAIT;
}

static enum step_next each_selected(struct op *op)
{
    struct each *e = OP(op, struct each);
    enum err err = op->call.err;

    if (err != ERR_OK) {
        if (e->members.why[0])
            e->res->text = arena_str(e->req.arena, str_z(e->members.why));
        return op_fail(op, err);
    }
    if (e->members.count == 0)
        return op_go(op, each_begun);
    e->first = op_call(op, each_begun);
    run_ahead(e);
    return STEP_WAIT;
}

/* What its first member says is told as an answer; what later ones say can only break it off. */
static enum step_next each_begun(struct op *op)
{
    struct each *e = OP(op, struct each);
    const struct slot *s = &e->slots[0];

    if (e->members.count == 0 || s->err == ERR_OK)
        return op_go(op, each_end);
    e->res->status = s->run.status;
    e->res->text = arena_printf(e->req.arena, "member " STR_FMT ": " STR_FMT, STR_ARG(s->name),
                                STR_ARG(s->run.text.n ? s->run.text : str_z(err_text(s->err))));
    return op_fail(op, s->err);
}

static enum step_next each_end(struct op *op)
{
    struct each *e = OP(op, struct each);
    struct call *whole = e->whole;
    enum err err = op->err;

    e->whole = NULL;
    e->first = NULL;
    if (err == ERR_OK) {
        e->res->content_type = arc_format_type(e->members.index->format);
        e->res->body = arc_pack_open(&(struct arc_pack_conf){.loop = e->req.loop,
                                                             .store = e->req.store,
                                                             .cpu = e->req.cpu,
                                                             .format = e->members.index->format,
                                                             .window = 2,
                                                             .next = each_next,
                                                             .drop = each_drop,
                                                             .close = each_close,
                                                             .arg = e});
    } else {
        each_close(e);
    }
    call_finish(whole, err);
    return STEP_DONE;
}

static void each_cancel(void *arg)
{
    struct each *e = arg;

    op_cancel(&e->op, ERR_CANCELLED);
    if (e->first) { /* nobody else would end that wait */
        struct call *first = e->first;
        e->first = NULL;
        call_finish(first, ERR_CANCELLED);
    }
}

void etl_each(const struct etl_each_req *req, struct etl_run_res *res, struct call *call)
{
    struct each *e = NEW(struct each);

    e->req = *req;
    e->res = res;
    e->whole = call;
    *res = (struct etl_run_res){.text = STR("")};
    call_on_cancel(call, each_cancel, e);
    op_start(&e->op, req->loop, "etl_each", each_select, each_end);
}
