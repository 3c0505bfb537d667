/* Reads: of what is here, of what the remote has, and the fetch in between. */
#include "backend_own.h"
#include "base/clock.h"
#include "store/access.h"

struct read_op {
    struct backend_op o;
    const struct obj_head_req *req;
    struct obj_get_req inner_req; /* without conditions: they are about what the remote has */
    struct obj_get_res inner;
    struct obj_head_res *head;
    struct obj_get_res *get; /* NULL: obj_head */
    struct object_info info;
    struct obj_delete_req drop;
    struct obj_delete_res dropped;
    bool claimed, asked, fetched;
};

static step_fn read_look, read_looked, read_ask, read_compare, read_drop, read_dropped, read_cold, read_claimed,
    read_open, read_opened, read_fetched, read_headed, read_end;

static struct read_op *read_of(struct op *op)
{
    return CONTAINER(op, struct read_op, o.op);
}

static enum step_next read_look(struct op *op)
{
    struct read_op *r = read_of(op);
    struct store *inner = r->o.b->env.inner;

    r->inner_req.head = *r->req;
    r->inner_req.head.cond = (struct cond)COND_INIT;
    r->inner = (struct obj_get_res){0};
    if (r->get)
        store_obj_get(inner, &r->inner_req, &r->inner, op_try(op, read_looked));
    else
        store_obj_head(inner, &r->inner_req.head, &r->inner.head, op_try(op, read_looked));
    return STEP_WAIT;
}

/* What was found is the answer, by the conditions. */
static enum step_next answer(struct read_op *r, enum err e)
{
    enum err decided;

    access_note(r->o.bucket.uid, r->o.key);
    backend_unmark(r->o.arena, &r->inner.head.info);
    decided = cond_check_read(&r->req->cond, &r->inner.head.info, clock_wall_ns() / NS_PER_S);
    if (decided != ERR_OK)
        e = decided;
    *r->head = r->inner.head;
    if (e != ERR_OK)
        return op_fail(&r->o.op, e);
    if (r->get)
        r->get->body = r->inner.body;
    r->inner.body = NULL;
    return op_go(&r->o.op, read_end);
}

static enum step_next read_looked(struct op *op)
{
    struct read_op *r = read_of(op);
    enum err e = op->call.err;
    bool found = e == ERR_OK || e == ERR_INVALID_RANGE;

    if (e == ERR_NO_SUCH_KEY && !r->req->cached)
        return op_go(op, read_cold);
    if (!found)
        return op_fail(op, e);
    if (r->req->latest && !r->asked)
        return op_go(op, read_ask);
    return answer(r, e);
}

/* ---- whether what is here is still what is there ---- */

static enum step_next read_ask(struct op *op)
{
    struct read_op *r = read_of(op);

    r->asked = true;
    source_close(r->inner.body);
    r->inner.body = NULL;
    backend_ask(&r->o, STR("HEAD"), r->o.key, op_try(op, read_compare));
    return STEP_WAIT;
}

static enum step_next read_compare(struct op *op)
{
    struct read_op *r = read_of(op);
    struct object_info *here = &r->inner.head.info;
    enum err e = op->call.err;

    if (e == ERR_NO_SUCH_KEY)
        return op_go(op, read_drop);
    if (e != ERR_OK)
        return op_fail(op, e);
    backend_unmark(r->o.arena, here);
    if (!s3_object_info(r->o.arena, &r->o.got.answer, 1, &r->info))
        return op_fail(op, ERR_REMOTE_REFUSED);
    return op_go(op, str_eq(etag_str(&here->etag), etag_str(&r->info.etag)) ? read_look : read_drop);
}

static enum step_next read_drop(struct op *op)
{
    struct read_op *r = read_of(op);

    r->drop = (struct obj_delete_req){
        .arena = r->o.arena, .bucket = r->o.bucket, .key = r->o.key, .cond = COND_INIT, .evict = true};
    store_obj_delete(r->o.b->env.inner, &r->drop, &r->dropped, op_call(op, read_dropped));
    return STEP_WAIT;
}

static enum step_next read_dropped(struct op *op)
{
    return op_go(op, read_cold);
}

/* ---- what is not here ---- */

static enum step_next read_cold(struct op *op)
{
    struct read_op *r = read_of(op);

    if (r->claimed)
        return op_go(op, read_open);
    if (!r->get && !r->req->fetch) {
        backend_ask(&r->o, STR("HEAD"), r->o.key, op_call(op, read_headed));
        return STEP_WAIT;
    }
    turn_take(&r->o.b->env.backends->turns, &r->o.claim, r->o.bucket.uid, r->o.key, op_call(op, read_claimed));
    return STEP_WAIT;
}

/* Another may have fetched it while this one waited. */
static enum step_next read_claimed(struct op *op)
{
    read_of(op)->claimed = true;
    return op_go(op, read_look);
}

static enum step_next read_open(struct op *op)
{
    static const struct http_header ask_checksum = {STR("x-amz-checksum-mode"), STR("ENABLED")};
    struct read_op *r = read_of(op);

    if (r->fetched) /* and gone again at once */
        return op_fail(op, ERR_NO_SUCH_KEY);
    r->o.ask = (struct s3_ask_req){.method = STR("GET"),
                                   .key = backend_remote_key(r->o.arena, r->o.conf, r->o.key),
                                   .headers = &ask_checksum,
                                   .header_count = 1};
    backend_ask_with(&r->o, op_call(op, read_opened));
    return STEP_WAIT;
}

/* The fetch begins. Who wants a part, or only wants it to be here, waits for its end. */
static enum step_next read_opened(struct op *op)
{
    struct read_op *r = read_of(op);
    struct fetch_req req = {.b = r->o.b,
                            .bucket = r->o.bucket,
                            .key = r->o.key,
                            .claim = &r->o.claim,
                            .answer = &r->o.got,
                            .info = &r->info};
    enum err e;

    if (!s3_object_info(r->o.arena, &r->o.got.answer, 1, &r->info))
        return op_fail(op, ERR_REMOTE_REFUSED);
    r->fetched = true;
    if (!r->get || r->req->part_number) {
        r->claimed = false;
        fetch_start(&req, op_call(op, read_fetched), 0, 0, NULL);
        r->o.got.answer.body = NULL;
        return STEP_WAIT;
    }
    e = backend_decide(r->req, &r->info, r->head);
    if (e != ERR_OK)
        return op_fail(op, e);
    fetch_start(&req, NULL, r->head->offset, r->head->len, &r->get->body);
    r->o.got.answer.body = NULL;
    return op_go(op, read_end);
}

static enum step_next read_fetched(struct op *op)
{
    return op_go(op, read_look);
}

static enum step_next read_headed(struct op *op)
{
    struct read_op *r = read_of(op);

    if (!s3_object_info(r->o.arena, &r->o.got.answer, 1, &r->info))
        return op_fail(op, ERR_REMOTE_REFUSED);
    enum err e = backend_decide(r->req, &r->info, r->head);
    r->head->absent = true;
    return e == ERR_OK ? op_go(op, read_end) : op_fail(op, e);
}

static enum step_next read_end(struct op *op)
{
    struct read_op *r = read_of(op);

    source_close(r->inner.body);
    source_close(r->o.got.answer.body);
    return backend_op_done(&r->o, op->err);
}

static void begin(struct store *s, const struct obj_head_req *req, struct obj_head_res *head, struct obj_get_res *get,
                  struct call *call)
{
    struct read_op *r = ARENA_NEW(req->arena, struct read_op);

    if (backend_op_init(&r->o, s, req->arena, req->bucket, req->key, call) != ERR_OK)
        return;
    r->req = req;
    r->head = head;
    r->get = get;
    op_start(&r->o.op, call->loop, "backend_read", read_look, read_end);
    call_on_cancel(call, backend_op_cancel, &r->o);
}

void backend_obj_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *call)
{
    if (req->bucket.backend)
        begin(s, req, res, NULL, call);
    else
        store_obj_head(backend_of(s)->env.inner, req, res, call);
}

void backend_obj_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *call)
{
    if (req->head.bucket.backend)
        begin(s, &req->head, &res->head, res, call);
    else
        store_obj_get(backend_of(s)->env.inner, req, res, call);
}
