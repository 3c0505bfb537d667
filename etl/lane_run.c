#include "lane_run.h"

#include <stdlib.h>

#include "base/log.h"

enum { TRIES_MAX = 3, REPEAT_MS = 300, MESSAGE_MAX = 512 };
#define MS UINT64_C(1000000)

static step_fn run_begin, run_turn, run_stage, run_await, run_is_ready, run_open, run_opened, run_file, run_filed,
    run_send, run_answered, run_repeat, run_built, run_end;

/* ---- failures ---- */

/* "ETL resize: no such image" */
static struct str say(struct run *r, const struct hop *h, struct str text)
{
    return arena_printf(r->arena, "ETL " STR_FMT ": " STR_FMT, STR_ARG(h->name), STR_ARG(text));
}

static void blame(struct run *r, struct hop *h, struct str text, int status)
{
    if (h->sidecar)
        sidecar_note_error(h->sidecar, r->bucket, r->key, text, status);
    r->noted = true;
}

/* The stage failed, not what it was given. */
static enum step_next stage_fail(struct run *r, enum err e, struct str text)
{
    struct hop *h = &r->hops[r->at];
    int status = e == ERR_ETL ? h->res.status : err_status(e);

    r->res->status = status;
    r->res->text = say(r, h, text);
    blame(r, h, text, status);
    return op_fail(&r->op, e);
}

/* The first stage whose result broke off; NULL: none did, or the object had. */
static struct hop *broken(struct run *r)
{
    for (size_t i = 0; i < r->count && !tap_has_failed(&r->in); i++)
        if (tap_has_failed(&r->hops[i].out))
            return &r->hops[i];
    return NULL;
}

/* What the stage was given has failed: it is not its fault. */
static enum step_next given_fail(struct run *r, enum err e)
{
    struct hop *h = e == ERR_CANCELLED ? NULL : broken(r);

    if (h) {
        const struct str text = STR("its result broke off");
        r->res->status = err_status(e);
        r->res->text = say(r, h, text);
        blame(r, h, text, r->res->status);
    }
    return op_fail(&r->op, e);
}

/* ---- turns ---- */

static enum err check(const struct run *r)
{
    const struct etl_run_req *req = r->req;

    if (req->stage_count == 0 || req->stage_count > ETL_STAGES_MAX)
        return ERR_INVALID_ARGUMENT;
    for (size_t i = 0; i < req->stage_count; i++)
        if (req->stages[i].args.n > ETL_ARGS_MAX)
            return ERR_INVALID_ARGUMENT;
    return ERR_OK;
}

static enum err check_builtin(struct run *r, struct hop *h)
{
    char why[ETL_WHY_MAX] = "";
    enum err e = etl_builtin_check(h->name, etl_builtin_takes_args(h->name) ? h->args : STR(""), why);

    if (e != ERR_OK) {
        r->res->text = arena_str(r->arena, str_z(why));
        r->res->status = err_status(e);
    }
    return e;
}

static enum step_next run_begin(struct op *op)
{
    struct run *r = OP(op, struct run);
    enum err e = check(r);

    if (e != ERR_OK) {
        r->count = 0;
        return op_fail(op, e);
    }
    for (size_t i = 0; i < r->count; i++) {
        struct hop *h = &r->hops[i];
        h->name = arena_str(r->arena, r->req->stages[i].name);
        h->args = arena_str(r->arena, r->req->stages[i].args);
        if (str_starts(h->name, STR("@"))) {
            if ((e = check_builtin(r, h)) != ERR_OK)
                return op_fail(op, e);
            continue;
        }
        h->sidecar = etls_find(r->lane->engine, h->name);
        if (!h->sidecar) {
            r->res->text = say(r, h, STR("there is none of that name"));
            r->res->status = err_status(ERR_NO_SUCH_ETL);
            return op_fail(op, ERR_NO_SUCH_ETL);
        }
    }
    return op_go(op, run_turn);
}

/* The sidecar whose turns are asked for next: the least that is greater than `after`. */
static struct hop *next_turn(struct run *r, const struct sidecar *after, unsigned *times)
{
    struct hop *least = NULL;

    *times = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct hop *h = &r->hops[i];
        if (!h->sidecar || (uintptr_t)h->sidecar <= (uintptr_t)after)
            continue;
        if (!least || (uintptr_t)h->sidecar < (uintptr_t)least->sidecar) {
            least = h;
            *times = 0;
        }
        *times += h->sidecar == least->sidecar;
    }
    return least;
}

static enum step_next run_turn(struct op *op)
{
    struct run *r = OP(op, struct run);
    const struct sidecar *after = r->turned ? r->turned->sidecar : NULL;
    unsigned times;
    struct hop *h;

    if (op->call.err != ERR_OK) {
        r->res->text = say(r, r->turned,
                           op->call.err == ERR_BUSY ? STR("too many objects wait for it") : STR("it is being stopped"));
        r->res->status = err_status(op->call.err);
        return op_fail(op, op->call.err);
    }
    h = next_turn(r, after, &times);
    if (!h)
        return op_go(op, run_stage);
    r->turned = h;
    sidecar_turn(h->sidecar, &h->turn, times, op_try(op, run_turn));
    return STEP_WAIT;
}

/* ---- a stage ---- */

static uint64_t left_ms(const struct run *r)
{
    uint64_t now = loop_now_ns(r->op.loop);

    return now < r->deadline_ns ? (r->deadline_ns - now + MS - 1) / MS : 0;
}

static enum step_next run_stage(struct op *op)
{
    struct run *r = OP(op, struct run);

    if (r->at == r->count)
        return op_go(op, run_end);
    struct hop *h = &r->hops[r->at];
    if (!h->sidecar)
        return r->opened ? op_go(op, run_send) : op_go(op, run_open);
    r->tries = 0;
    r->deadline_ns = loop_now_ns(op->loop) + h->sidecar->record.spec.object_timeout_ms * MS;
    return op_go(op, run_await);
}

static enum step_next run_await(struct op *op)
{
    struct run *r = OP(op, struct run);

    sidecar_await(r->hops[r->at].sidecar, &r->ready, left_ms(r), op_try(op, run_is_ready));
    return STEP_WAIT;
}

static enum step_next run_is_ready(struct op *op)
{
    struct run *r = OP(op, struct run);
    struct hop *h = &r->hops[r->at];

    sidecar_await_end(&r->ready);
    if (op->call.err != ERR_OK)
        return stage_fail(r, op->call.err, STR("it is not running at this node"));
    sidecar_id(h->sidecar, h->id);
    return r->opened ? op_go(op, run_file) : op_go(op, run_open);
}

/* ---- what the first stage is given ---- */

/* Whether the sidecar comes for the object itself. It knows nothing of ranges. */
static bool is_pulled(const struct run *r)
{
    const struct hop *h = &r->hops[0];
    const struct obj_get_req *o = r->req->object;

    return o && h->sidecar && !h->sidecar->direct &&
           (h->sidecar->record.spec.comm == ETL_HPULL || h->sidecar->record.spec.comm == ETL_HREV) &&
           o->head.range.kind == RANGE_ALL && o->head.part_number == 0;
}

static enum step_next run_open(struct op *op)
{
    struct run *r = OP(op, struct run);
    const struct obj_get_req *o = r->req->object;

    if (!o) {
        tap_open(&r->in, op->loop, r->req->body, NULL);
        if (r->in.source.size == SOURCE_SIZE_UNKNOWN)
            r->in.source.size = r->req->size;
        r->opened = true;
        return r->hops[0].sidecar ? op_go(op, run_file) : op_go(op, run_send);
    }
    r->got = (struct obj_get_res){.body = NULL};
    if (is_pulled(r))
        store_obj_head(r->lane->store, &o->head, &r->got.head, op_call(op, run_opened));
    else
        store_obj_get(r->lane->store, o, &r->got, op_call(op, run_opened));
    return STEP_WAIT;
}

static void lend(struct run *r)
{
    const struct obj_head_req *o = &r->req->object->head;

    if (r->lent)
        return;
    r->loan = (struct etl_loan){.etl = r->hops[0].name,
                                .src_bucket = arena_str(r->arena, o->bucket.name),
                                .src_key = arena_str(r->arena, o->key)};
    etl_objects_lend(r->lane->engine->objects, &r->loan);
    r->lent = true;
}

static enum step_next run_opened(struct op *op)
{
    struct run *r = OP(op, struct run);

    r->opened = true;
    if (is_pulled(r)) {
        lend(r);
        return op_go(op, run_send);
    }
    r->input = r->got.body ? r->got.body : source_memory(STR_NONE, NULL, NULL);
    r->got.body = NULL;
    tap_open(&r->in, op->loop, r->input, NULL);
    return r->hops[0].sidecar ? op_go(op, run_file) : op_go(op, run_send);
}

static void drop_file(struct run *r)
{
    if (r->file.path)
        etls_remove_file(r->lane->engine, r->file.path);
    free(r->file.path);
    r->file = (struct etl_file_res){.path = NULL};
    r->filed = false;
}

static enum step_next run_file(struct op *op)
{
    struct run *r = OP(op, struct run);
    struct hop *h = &r->hops[r->at];

    if (r->at || r->filed || !h->sidecar->direct || h->sidecar->record.spec.comm == ETL_IO)
        return op_go(op, run_send);
    r->filed = true;
    r->file_req = (struct etl_file_req){r->arena, str_z(h->id), r->key, &r->in.source};
    etl_file_make(r->lane->engine, &r->file_req, &r->file, op_try(op, run_filed));
    return STEP_WAIT;
}

static enum step_next run_filed(struct op *op)
{
    struct run *r = OP(op, struct run);
    enum err e = op->call.err;

    if (e == ERR_OK)
        return op_go(op, run_send);
    if (tap_has_failed(&r->in) || e == ERR_CANCELLED)
        return op_fail(op, e);
    r->hops[0].res = (struct etl_comm_res){.body_taken = true};
    if (e == ERR_UNAVAILABLE)
        return op_go(op, run_repeat);
    return stage_fail(r, e, STR("the object can't be handed to it as a file"));
}

/* ---- through the sidecar ---- */

static struct tap *given_to(struct run *r, size_t at)
{
    return at ? &r->hops[at - 1].out : &r->in;
}

static void set_result(struct run *r, struct hop *h, struct source *result)
{
    bool last = r->at + 1 == r->count;

    h->result = result ? result : source_memory(STR_NONE, NULL, NULL);
    tap_open(&h->out, r->op.loop, h->result, last ? r : NULL);
    r->at++;
}

static enum step_next run_builtin(struct run *r, struct hop *h)
{
    h->builtin_req = (struct etl_builtin_req){.arena = r->arena,
                                              .loop = r->op.loop,
                                              .cpu = r->lane->engine->conf.cpu,
                                              .name = h->name,
                                              .args = etl_builtin_takes_args(h->name) ? h->args : STR(""),
                                              .body = &given_to(r, r->at)->source};
    etl_builtin_run(&h->builtin_req, &h->builtin, op_try(&r->op, run_built));
    return STEP_WAIT;
}

static enum step_next run_built(struct op *op)
{
    struct run *r = OP(op, struct run);
    struct hop *h = &r->hops[r->at];
    enum err e = op->call.err;

    if (e != ERR_OK && (e == ERR_CANCELLED || tap_has_failed(given_to(r, r->at))))
        return given_fail(r, e);
    if (e != ERR_OK)
        return stage_fail(r, e, h->builtin.text.n ? h->builtin.text : str_z(err_text(e)));
    h->res.content_type = h->builtin.content_type;
    set_result(r, h, h->builtin.body);
    h->builtin.body = NULL;
    return op_go(op, run_stage);
}

static void describe(struct run *r, struct hop *h)
{
    const struct etl_spec *spec = &h->sidecar->record.spec;
    struct tap *in = given_to(r, r->at);
    bool pulled = r->at == 0 && is_pulled(r), filed = r->at == 0 && r->file.inside.n;

    h->res = (struct etl_comm_res){.body = NULL};
    h->req = (struct etl_comm_req){.arena = r->arena,
                                   .id = str_z(h->id),
                                   .comm = spec->comm,
                                   .worker = spec->worker,
                                   .pushed = !pulled && !filed,
                                   .bucket = r->bucket,
                                   .key = r->key,
                                   .uname = etl_uname(r->arena, r->bucket, r->key),
                                   .args = h->args,
                                   .fqn = filed ? r->file.inside : STR_NONE,
                                   .body = pulled || filed ? NULL : &in->source,
                                   .size = pulled || filed ? 0 : in->source.size,
                                   .timeout_ms = (uint32_t)left_ms(r)};
    if (pulled)
        h->req.uname = etl_uname(r->arena, r->loan.src_bucket, r->loan.src_key);
}

static enum step_next run_send(struct op *op)
{
    struct run *r = OP(op, struct run);
    struct hop *h = &r->hops[r->at];

    if (!h->sidecar)
        return run_builtin(r, h);
    describe(r, h);
    if (h->req.timeout_ms == 0)
        return stage_fail(r, ERR_TIMEOUT, STR("no time is left for it"));
    h->sent = true;
    etl_comm_run(r->lane->wire, &h->req, &h->res, op_try(op, run_answered));
    return STEP_WAIT;
}

static bool may_repeat(struct run *r, enum err e)
{
    const struct hop *h = &r->hops[r->at];

    if (e != ERR_UNAVAILABLE && e != ERR_NO_SUCH_ETL && !(e == ERR_ETL && h->res.retry))
        return false;
    return r->tries + 1 < TRIES_MAX && left_ms(r) > REPEAT_MS && (!h->res.body_taken || (r->at == 0 && r->req->object));
}

static enum step_next run_answered(struct op *op)
{
    struct run *r = OP(op, struct run);
    struct hop *h = &r->hops[r->at];
    enum err e = op->call.err;

    if (e == ERR_OK) {
        set_result(r, h, h->res.body);
        h->res.body = NULL;
        return op_go(op, run_stage);
    }
    if (e == ERR_CANCELLED || (h->req.body && tap_has_failed(given_to(r, r->at))))
        return given_fail(r, e);
    if (may_repeat(r, e))
        return op_go(op, run_repeat);
    if (e == ERR_ETL)
        return stage_fail(r, e, h->res.text.n ? h->res.text : arena_printf(r->arena, "status %d", h->res.status));
    if (e == ERR_TIMEOUT)
        return stage_fail(r, e,
                          arena_printf(r->arena, "no result within %u ms", h->sidecar->record.spec.object_timeout_ms));
    return stage_fail(r, e == ERR_NO_SUCH_ETL ? ERR_UNAVAILABLE : e, str_z(err_text(e)));
}

/* The sidecar can't be reached, or asks to have it again: it may be about to be started again. */
static enum step_next run_repeat(struct op *op)
{
    struct run *r = OP(op, struct run);
    bool again = r->hops[r->at].res.body_taken || r->file.path;

    if (r->at == 0 && again && !r->req->object)
        return stage_fail(r, ERR_UNAVAILABLE, STR("it can't be reached"));
    r->tries++;
    if (r->at == 0 && again) {
        drop_file(r);
        source_close(r->input);
        r->input = NULL;
        r->opened = false;
    }
    etl_nap(&r->nap, REPEAT_MS, op_call(op, run_await));
    return STEP_WAIT;
}

/* ---- the end ---- */

static enum step_next run_end(struct op *op)
{
    struct run *r = OP(op, struct run);
    struct call *whole = r->whole;
    enum err e = op->err;

    if (r->req->object)
        r->res->head = r->got.head;
    if (e == ERR_OK) {
        struct hop *h = &r->hops[r->count - 1];
        r->res->content_type = h->res.content_type;
        r->res->body = &h->out.source;
        r->given = true;
        call_finish(whole, ERR_OK);
        return STEP_DONE;
    }
    sidecar_await_end(&r->ready);
    run_free(r);
    call_finish(whole, e);
    return STEP_DONE;
}

static uint64_t bytes_given(const struct run *r, size_t at)
{
    if (at)
        return r->hops[at - 1].out.bytes;
    return r->file.path ? r->file.size : r->lent ? r->got.head.len : r->in.bytes;
}

/* What was read of the result has failed: the first stage whose result did. */
static void note_failure(struct run *r)
{
    const struct tap *last = r->count ? &r->hops[r->count - 1].out : NULL;
    enum err e = r->given ? last->err : ERR_OK;
    struct hop *h = NULL;

    if (e != ERR_OK && e != ERR_CANCELLED && e != ERR_CLIENT_GONE && !r->noted)
        h = broken(r);
    if (h)
        blame(r, h, STR("its result broke off"), err_status(h->out.err));
}

static void count(struct run *r)
{
    bool ok = r->given && tap_is_complete(&r->hops[r->count - 1].out);

    for (size_t i = 0; i < r->count; i++) {
        struct hop *h = &r->hops[i];
        if (h->sidecar && h->sent)
            sidecar_add(h->sidecar, &(struct sidecar_count){ok, bytes_given(r, i), h->out.bytes});
    }
}

void run_free(struct run *r)
{
    note_failure(r);
    count(r);
    for (size_t i = r->count; i-- > 0;) {
        struct hop *h = &r->hops[i];
        source_close(h->result);
        source_close(h->res.body); /* these came when we had been cancelled already */
        source_close(h->builtin.body);
    }
    source_close(r->input);
    source_close(r->got.body);
    if (r->lent)
        etl_objects_give_back(&r->loan);
    drop_file(r);
    for (size_t i = 0; i < r->count; i++)
        if (r->hops[i].turn.sidecar)
            sidecar_turn_end(&r->hops[i].turn);
    for (size_t i = 0; i < r->count; i++)
        sidecar_unref(r->hops[i].sidecar);
    *(r->prev ? &r->prev->next : &r->lane->runs) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    free(r);
}

/* ---- begin, cut ---- */

bool run_uses(const struct run *r, struct str id)
{
    for (size_t i = 0; i < r->count && i <= r->at; i++)
        if (r->hops[i].sent && str_eq(str_z(r->hops[i].id), id))
            return true;
    return false;
}

void run_cut(struct run *r)
{
    if (r->given)
        tap_cut(&r->hops[r->count - 1].out, ERR_UNAVAILABLE);
    else
        op_cancel(&r->op, ERR_UNAVAILABLE);
}

static void on_cancel(void *arg)
{
    op_cancel(&((struct run *)arg)->op, ERR_CANCELLED);
}

void run_start(struct etl_lane *l, const struct etl_run_req *req, struct etl_run_res *res, struct call *call)
{
    size_t n = req->stage_count <= ETL_STAGES_MAX ? req->stage_count : 0;
    struct run *r = mem_new(sizeof(*r) + n * sizeof(r->hops[0]));

    r->lane = l;
    r->arena = req->arena;
    r->req = req;
    r->res = res;
    r->whole = call;
    r->count = n;
    r->bucket = arena_str(req->arena, req->bucket);
    r->key = arena_str(req->arena, req->key);
    r->next = l->runs;
    if (r->next)
        r->next->prev = r;
    l->runs = r;
    *res = (struct etl_run_res){.body = NULL};
    call_on_cancel(call, on_cancel, r);
    op_start(&r->op, l->loop, "etl", run_begin, run_end);
}
