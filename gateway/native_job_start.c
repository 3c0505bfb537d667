/* PUT /cluster start and stop, POST /objects/B promote, and our own /v1/jobs. */
#include <stdio.h>

#include "base/hash.h"
#include "gateway/native_batches.h"
#include "gateway/native_jobs.h"
#include "gateway/native_report.h"

enum { ID_BYTES = 10, POLL_MS = 20, POLLS_MAX = 150 };

/* ---- starting ---- */

static void release(void *b)
{
    buf_release(b);
}

struct str native_job_id(struct arena *a, const char *prefix)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t raw[ID_BYTES];
    char text[ID_BYTES];

    random_bytes(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++)
        text[i] = letters[raw[i] & 31];
    return arena_printf(a, "%s-%.*s", prefix, ID_BYTES, text);
}

void native_job_begin(struct native_request *r, struct native_job *j, const char *engine, struct str bucket)
{
    *j = (struct native_job){.engine = engine, .id = native_job_id(r->arena, engine)};
    buf_init(&j->spec, JOB_SPEC_MAX);
    arena_defer(r->arena, release, &j->spec);
    js_object(&j->spec);
    if (bucket.n)
        native_job_text(j, "bucket", bucket);
}

void native_job_text(struct native_job *j, const char *name, struct str value)
{
    js_put_str(&j->spec, name, value);
}

void native_job_number(struct native_job *j, const char *name, uint64_t value)
{
    js_put_u64(&j->spec, name, value);
}

void native_job_flag(struct native_job *j, const char *name, bool value)
{
    if (!value)
        return;
    js_put_bool(&j->spec, name, true);
}

void native_job_start(struct native_request *r, struct native_job *j, struct call *call)
{
    js_end_object(&j->spec);
    if (buf_err(&j->spec) != ERR_OK) {
        snprintf(j->res.why, sizeof(j->res.why), "the request says too much for one job");
        call_finish(call, ERR_INVALID_ARGUMENT);
        return;
    }
    j->req = (struct job_start_req){
        .arena = r->arena, .kind = str_z(j->engine), .id = j->id, .spec = buf_str(&j->spec), .started_by = r->who};
    r->env->jobs->start(r->env->meta, &j->req, &j->res, call);
}

enum err native_job_refused(struct native_request *r, const struct native_job *j, enum err e)
{
    if (e == ERR_INVALID_ARGUMENT)
        return native_error(r, e, "%s: %s", j->engine, j->res.why[0] ? j->res.why : "not such a job");
    if (e == ERR_CONFLICT)
        return native_error(r, e, "a job of kind %s runs already", j->engine);
    if (e == ERR_BUSY) {
        r->error_status = 409;
        return native_error(r, e, "too many jobs are kept: try again later");
    }
    return e;
}

enum step_next native_job_answer(struct op *op, const struct native_job *j)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, native_job_refused(r, j, op->call.err));
    r->type = STR("text/plain");
    buf_add_str(&r->text, j->res.id);
    return op_go(op, native_send);
}

static step_fn start_done;

enum step_next native_start(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct native_job *j = ARENA_NEW(r->arena, struct native_job);
    struct str name = native_text(r->action.value, "kind");
    const struct native_job_kind *k = native_job_kind_find(name);

    r->state = j;
    if (!k)
        return op_fail(op,
                       native_error(r, ERR_INVALID_ARGUMENT, "there is no kind of job \"" STR_FMT "\"", STR_ARG(name)));
    if (!k->startable)
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED,
                                        "start: jobs of kind %s can't be started by this call here", k->name));
    native_job_begin(r, j, k->engine, STR(""));
    native_job_start(r, j, op_try(op, start_done));
    return STEP_WAIT;
}

static enum step_next start_done(struct op *op)
{
    return native_job_answer(op, NATIVE(op)->state);
}

/* ---- stop ---- */

struct stop {
    struct str id;
    struct str kind; /* of the engine */
    struct job_look_req look_req;
    struct job_look_res looked;
    const struct doc *next;
    struct job_stop_req req;
};

static step_fn stop_looked, stop_next, stop_done;

static void abort_batches(struct native_request *r)
{
    struct arc_batch_snap *all = NULL;
    size_t n = native_batches_list(r->env, r->arena, &all);

    for (size_t i = 0; i < n; i++)
        if (all[i].ended_ns == 0)
            native_batches_abort(r->env, all[i].id);
}

enum step_next native_stop(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct stop *s = ARENA_NEW(r->arena, struct stop);
    struct str kind = native_text(r->action.value, "kind");
    const struct native_job_kind *k = native_job_kind_find(kind);

    r->state = s;
    s->id = native_text(r->action.value, "id");
    if (s->id.n) {
        s->req = (struct job_stop_req){r->arena, s->id};
        r->env->jobs->stop(r->env->meta, &s->req, op_try(op, stop_done));
        return STEP_WAIT;
    }
    if (!k)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "stop: say which job, or what kind of jobs"));
    s->kind = k->engine ? str_z(k->engine) : STR("");
    if (str_eq(s->kind, STR("get-batch")))
        abort_batches(r);
    s->look_req = (struct job_look_req){.arena = r->arena};
    r->env->jobs->look(r->env->meta, &s->look_req, &s->looked, op_call(op, stop_looked));
    return STEP_WAIT;
}

static enum step_next stop_looked(struct op *op)
{
    const struct js_bounds bounds = {33 << 20, 4 << 20};
    struct native_request *r = NATIVE(op);
    struct stop *s = r->state;
    char why[DOC_WHY_MAX];
    struct doc *root;
    enum err e = js_read_within(r->arena, s->looked.json, &bounds, &root, why);
    const struct doc *list = e == ERR_OK ? doc_get(root, STR("jobs")) : NULL;

    if (e != ERR_OK)
        return op_fail(op, e);
    s->next = list ? list->first : NULL;
    return op_go(op, stop_next);
}

static enum step_next stop_next(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct stop *s = r->state;

    while (s->next) {
        const struct doc *j = s->next;
        s->next = j->next;
        if (!str_eq(doc_get(j, STR("kind"))->text, s->kind) || !str_eq(doc_get(j, STR("state"))->text, STR("running")))
            continue;
        s->req = (struct job_stop_req){r->arena, doc_get(j, STR("id"))->text};
        r->env->jobs->stop(r->env->meta, &s->req, op_try(op, stop_next));
        return STEP_WAIT;
    }
    return op_go(op, native_send);
}

static enum step_next stop_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct stop *s = r->state;

    if (op->call.err == ERR_NOT_FOUND && native_batches_abort(r->env, s->id))
        return op_go(op, native_send);
    if (op->call.err == ERR_NOT_FOUND)
        return op_fail(op, native_error(r, ERR_NOT_FOUND, "job \"" STR_FMT "\" does not exist", STR_ARG(s->id)));
    if (op->call.err == ERR_INVALID_ARGUMENT)
        return op_fail(op,
                       native_error(r, ERR_INVALID_ARGUMENT,
                                    "job \"" STR_FMT "\" can't be stopped: the cluster needs its end", STR_ARG(s->id)));
    return op->call.err == ERR_OK ? op_go(op, native_send) : op_fail(op, op->call.err);
}

/* ---- promote: a file is an object when this is answered, a directory nearly always ---- */

struct promotion {
    struct native_job job;
    struct timer timer;
    struct call *nap;
    struct loop *loop;
    unsigned polls;
    struct job_look_req look_req;
    struct job_look_res looked;
};

static step_fn promote_started, promote_look, promote_looked;

enum step_next native_promote(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct promotion *p = ARENA_NEW(r->arena, struct promotion);
    struct str path = native_text(r->action.value, "src"), node = native_text(r->action.value, "tid");

    r->state = p;
    p->loop = op->loop;
    native_job_begin(r, &p->job, "promote", r->bucket.found.id.name);
    native_job_text(&p->job, "path", path.n ? path : r->action.name);
    native_job_text(&p->job, "object", native_text(r->action.value, "obj"));
    native_job_flag(&p->job, "recursive", native_flag(r->action.value, "rcr"));
    native_job_flag(&p->job, "overwrite", native_flag(r->action.value, "ovw"));
    native_job_flag(&p->job, "delete_source", native_flag(r->action.value, "dls"));
    native_job_flag(&p->job, "not_shared", native_flag(r->action.value, "notshr"));
    if (node.n && r->env->members)
        native_job_text(&p->job, "node", node);
    native_job_start(r, &p->job, op_try(op, promote_started));
    return STEP_WAIT;
}

static void nap_end(struct timer *t)
{
    call_finish(CONTAINER(t, struct promotion, timer)->nap, ERR_OK);
}

static void nap_cancel(void *arg)
{
    struct promotion *p = arg;

    if (!timer_is_set(&p->timer))
        return;
    timer_cancel(p->loop, &p->timer);
    call_finish(p->nap, ERR_CANCELLED);
}

static enum step_next promote_started(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct promotion *p = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_job_refused(r, &p->job, op->call.err));
    p->nap = op_call(op, promote_look);
    p->timer.fn = nap_end;
    timer_set(op->loop, &p->timer, POLL_MS);
    call_on_cancel(p->nap, nap_cancel, p);
    return STEP_WAIT;
}

static enum step_next promote_look(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct promotion *p = r->state;

    p->look_req = (struct job_look_req){.arena = r->arena, .id = p->job.res.id};
    r->env->jobs->look(r->env->meta, &p->look_req, &p->looked, op_call(op, promote_looked));
    return STEP_WAIT;
}

static enum step_next promote_looked(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct promotion *p = r->state;
    char why[DOC_WHY_MAX];
    struct doc *root;
    enum err e = js_read(r->arena, p->looked.json, &root, why);
    struct str state = e == ERR_OK ? doc_get(root, STR("state"))->text : STR("");

    if (str_eq(state, STR("running")) && ++p->polls < POLLS_MAX)
        return op_go(op, promote_started);
    if (str_eq(state, STR("failed"))) {
        const struct doc *part = doc_get(root, STR("parts"))->first;
        const struct doc *errors = part ? doc_get(part, STR("errors")) : NULL;
        return op_fail(
            op, native_error(r, ERR_INVALID_ARGUMENT, "promote: " STR_FMT,
                             STR_ARG(errors && errors->first ? errors->first->text : STR("nothing was promoted"))));
    }
    return native_job_answer(op, &p->job);
}

/* ---- /v1/jobs ---- */

struct rest {
    struct job_look_req look_req;
    struct job_look_res looked;
    struct job_stop_req stop_req;
    struct native_job job;
    struct buf spec;
};

static step_fn rest_looked, rest_started, rest_stopped;

/* Of /v1/jobs/ID; empty: none. */
static struct str path_id(struct native_request *r)
{
    struct str id = STR("");

    if (r->raw_count < 2 || !url_decode(r->raw[1], r->arena, false, &id))
        return STR("");
    return id;
}

static enum err no_such(struct native_request *r, enum err e)
{
    struct str id = path_id(r);

    return e == ERR_NOT_FOUND ? native_error(r, e, "job \"" STR_FMT "\" does not exist", STR_ARG(id)) : e;
}

/* /v1/jobs/ID/report */
static enum step_next job_report(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct str id = path_id(r);

    if (!str_eq(r->raw[2], STR("report")) || str_find_char(id, '/') != SIZE_MAX || id.n == 0)
        return op_fail(op, native_error(r, ERR_NOT_FOUND, "jobs have a report: GET /v1/jobs/ID/report"));
    r->type = STR("application/x-ndjson");
    return native_report(r, id, native_send);
}

enum step_next native_get_jobs(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct rest *s = ARENA_NEW(r->arena, struct rest);

    r->state = s;
    if (r->raw_count > 2)
        return op_go(op, job_report);
    s->look_req = (struct job_look_req){.arena = r->arena, .id = path_id(r), .parts = true};
    r->env->jobs->look(r->env->meta, &s->look_req, &s->looked, op_try(op, rest_looked));
    return STEP_WAIT;
}

static enum step_next rest_looked(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct rest *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, no_such(r, op->call.err));
    buf_add_str(&r->text, s->looked.json);
    return op_go(op, native_send);
}

/* {"kind":"copy","spec":{...}} */
enum step_next native_post_jobs(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct rest *s = ARENA_NEW(r->arena, struct rest);
    struct str kind = native_text(r->body, "kind");
    const struct doc *spec = native_member(r->body, "spec");

    r->state = s;
    if (kind.n == 0 || kind.n > 64 || (spec && spec->kind != DOC_MAP))
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "a job is {\"kind\":\"...\",\"spec\":{...}}"));
    buf_init(&s->spec, JOB_SPEC_MAX);
    arena_defer(r->arena, release, &s->spec);
    if (spec)
        js_doc(&s->spec, spec);
    if (buf_err(&s->spec) != ERR_OK)
        return op_fail(
            op, native_error(r, ERR_INVALID_ARGUMENT, "the specification of a job has at most %d bytes", JOB_SPEC_MAX));
    s->job.engine = arena_str(r->arena, kind).p;
    s->job.req = (struct job_start_req){
        .arena = r->arena, .kind = kind, .spec = buf_str(&s->spec), .started_by = r->who.n ? r->who : STR("/v1/jobs")};
    r->env->jobs->start(r->env->meta, &s->job.req, &s->job.res, op_try(op, rest_started));
    return STEP_WAIT;
}

static enum step_next rest_started(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct rest *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_job_refused(r, &s->job, op->call.err));
    js_object(&r->text);
    js_put_str(&r->text, "id", s->job.res.id);
    js_end_object(&r->text);
    return op_go(op, native_send);
}

enum step_next native_delete_jobs(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct rest *s = ARENA_NEW(r->arena, struct rest);

    r->state = s;
    s->stop_req = (struct job_stop_req){r->arena, path_id(r)};
    if (s->stop_req.id.n == 0)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "say which job: DELETE /v1/jobs/ID"));
    r->env->jobs->stop(r->env->meta, &s->stop_req, op_try(op, rest_stopped));
    return STEP_WAIT;
}

static enum step_next rest_stopped(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err == ERR_INVALID_ARGUMENT)
        return op_fail(op,
                       native_error(r, ERR_INVALID_ARGUMENT, "this job can't be stopped: the cluster needs its end"));
    return op->call.err == ERR_OK ? op_go(op, native_send) : op_fail(op, no_such(r, op->call.err));
}
