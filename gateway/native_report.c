#include "gateway/native_report.h"

#include "store/system.h"

enum { REPORT_PAGE = 1000, REPORT_MAX = 32 << 20 };

struct report {
    step_fn *then;
    void *state; /* the operation's own, meanwhile */
    struct bucket_id system;
    struct obj_list_req list_req;
    struct obj_list_res list;
    uint32_t next;
    struct obj_get_req get_req;
    struct obj_get_res got;
    struct source_fill fill;
    char *buf;
    size_t n;
};

static step_fn report_list, report_next, report_got, report_read, report_end;

static void close_body(void *arg)
{
    source_close(((struct report *)arg)->got.body);
}

static enum step_next report_end(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct report *p = r->state;

    r->state = p->state;
    return op_go_named(op, p->then, "report");
}

enum step_next native_report(struct native_request *r, struct str id, step_fn *then)
{
    struct report *p = ARENA_NEW(r->arena, struct report);

    p->then = then;
    p->state = r->state;
    r->state = p;
    if (!system_bucket_find(r->env->s3->buckets, r->arena, &p->system))
        return op_go(&r->op, report_end);
    arena_defer(r->arena, close_body, p);
    p->list_req.after = STR("");
    p->list_req.prefix = arena_printf(r->arena, "jobs/" STR_FMT "/report/", STR_ARG(id));
    return op_go(&r->op, report_list);
}

static enum step_next report_list(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct report *p = r->state;

    p->next = 0;
    p->list_req = (struct obj_list_req){.arena = r->arena,
                                        .bucket = p->system,
                                        .prefix = p->list_req.prefix,
                                        .after = p->list_req.after,
                                        .max = REPORT_PAGE};
    store_obj_list(r->env->s3->store, &p->list_req, &p->list, op_call(op, report_next));
    return STEP_WAIT;
}

static enum step_next report_next(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct report *p = r->state;

    if (p->next == p->list.count) {
        if (!p->list.truncated || p->list.count == 0)
            return op_go(op, report_end);
        p->list_req.after = p->list.entries[p->list.count - 1].key;
        return op_go(op, report_list);
    }
    p->get_req.head = (struct obj_head_req){
        .arena = r->arena, .bucket = p->system, .key = p->list.entries[p->next++].key, .cond = COND_INIT};
    store_obj_get(r->env->s3->store, &p->get_req, &p->got, op_call(op, report_got));
    return STEP_WAIT;
}

static enum step_next report_got(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct report *p = r->state;
    uint64_t len = p->got.head.len;

    if (len > REPORT_MAX || (p->buf = buf_reserve(&r->text, (size_t)len)) == NULL)
        return op_fail(op, native_error(r, ERR_TOO_LARGE, "the report is too long for one answer"));
    source_fill(&p->fill, p->got.body, p->buf, (size_t)len, &p->n, op_call(op, report_read));
    return STEP_WAIT;
}

static enum step_next report_read(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct report *p = r->state;

    buf_commit(&r->text, p->n);
    source_close(p->got.body);
    p->got.body = NULL;
    return op_go(op, report_next);
}
