#include "job_each.h"

#include <stdio.h>

#include "base/json.h"

enum {
    BUSY_MS = 50,
    CONFLICTS_MAX = 20,
    AWAY_MS = 1000,
    REPORT_LINE_MAX = 16 << 10,
    MESSAGE_MAX = 512,
    AWAY_MAX = 60,         /* tries: about a minute */
    REPORT_MAX = 16 << 20, /* of one batch: a line has at most some kilobytes */
};

/* ---- one key ---- */

static step_fn key_next, key_do, key_done, key_end;

static enum step_next key_next(struct op *op)
{
    struct job_each_worker *w = OP(op, struct job_each_worker);
    struct job_each *e = w->each;

    arena_release(&w->arena);
    if (e->job->stopping)
        return op_fail(op, ERR_CANCELLED);
    if (e->next == e->count || (e->failed && e->stop_on_error))
        return op_go(op, key_end);
    w->key = (struct job_each_key){
        .arena = &w->arena, .bucket = &e->select.bucket, .key = e->keys[e->next++], .again = e->job->goes_on};
    w->tries = 0;
    return op_go(op, key_do);
}

static enum step_next key_do(struct op *op)
{
    struct job_each_worker *w = OP(op, struct job_each_worker);

    arena_release(&w->arena);
    w->each->each(w->each->arg, &w->key, op_try(op, key_done));
    return STEP_WAIT;
}

/* A line is a JSON text of its own: the writer would put a comma between two. */
static void report(struct job_each *e, const struct job_each_key *key, const char *result, enum err why)
{
    struct buf line = BUF_INIT(REPORT_LINE_MAX);

    js_object(&line);
    js_put_str(&line, "bucket", key->bucket->id.name);
    js_put_str(&line, "name", key->key);
    if (e->tells_all)
        js_put_str(&line, "result", str_z(result));
    if (e->tells_all && key->to.n)
        js_put_str(&line, "to", key->to);
    if (e->tells_all)
        js_put_u64(&line, "bytes", key->bytes);
    if (why != ERR_OK)
        js_put_str(&line, "error", str_z(err_name(why)));
    if (why != ERR_OK && key->text.n)
        js_put_str(&line, "message", str_n(key->text.p, key->text.n < MESSAGE_MAX ? key->text.n : MESSAGE_MAX));
    js_end_object(&line);
    buf_add_char(&line, '\n');
    e->report.over |= line.over;
    buf_add_str(&e->report, buf_str(&line));
    buf_release(&line);
}

/* Milliseconds until it is tried again; 0: it is not. */
static uint32_t again_ms(struct job_each_worker *w, enum err e)
{
    if (e == ERR_BUSY || (e == ERR_CONFLICT && ++w->tries < CONFLICTS_MAX))
        return BUSY_MS;
    if ((e == ERR_UNAVAILABLE || e == ERR_STALE_EPOCH || e == ERR_AGAIN) && ++w->tries < AWAY_MAX)
        return AWAY_MS;
    return 0;
}

static enum step_next key_done(struct op *op)
{
    struct job_each_worker *w = OP(op, struct job_each_worker);
    struct job_each *each = w->each;
    struct job *job = each->job;
    enum err e = op->call.err;
    uint32_t ms = again_ms(w, e);

    if (ms && !job->stopping) {
        job_sleep(job, ms, op_call(op, key_do));
        return STEP_WAIT;
    }
    if (e == ERR_CANCELLED)
        return op_fail(op, e);
    if ((e == ERR_OK && w->key.skipped) || (e == ERR_NO_SUCH_KEY && (each->select.lists || each->resumed))) {
        job->skipped++;
        if (each->tells_all)
            report(each, &w->key, "skipped", e);
    } else if (e != ERR_OK) {
        each->failed = true;
        report(each, &w->key, "failed", e);
        job_failed(job,
                   arena_printf(&w->arena, STR_FMT "/" STR_FMT "%s" STR_FMT, STR_ARG(w->key.bucket->id.name),
                                STR_ARG(w->key.key), w->key.text.n ? ": " : "", STR_ARG(w->key.text)),
                   e);
    } else {
        job->ok++;
        if (each->tells_all)
            report(each, &w->key, "ok", ERR_OK);
    }
    job->bytes += w->key.bytes;
    job_throttle(job, w->key.bytes, op_call(op, key_next));
    return STEP_WAIT;
}

static enum step_next key_end(struct op *op)
{
    struct job_each_worker *w = OP(op, struct job_each_worker);

    arena_release(&w->arena);
    call_finish(&w->member->call, op->err);
    return STEP_DONE;
}

/* ---- batches ---- */

static step_fn each_open, each_opened, each_take, each_taken, each_work, each_worked, each_report, each_reported,
    each_closed_report, each_next, each_end;

static enum step_next each_open(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    job_select_open(&e->select, e->job, e->spec, 0, op_try(op, each_opened));
    e->select.cached = e->cached;
    return STEP_WAIT;
}

/* The target that answers for a part of the list may be away for a moment. */
static bool is_away(struct job_each *e, enum err err)
{
    return (err == ERR_UNAVAILABLE || err == ERR_STALE_EPOCH || err == ERR_BUSY) && !e->job->stopping &&
           ++e->tries < AWAY_MAX;
}

static void keep_counts(struct job *job)
{
    job->kept = (struct job_counts){job->ok, job->failed, job->skipped, job->bytes};
    job->keeps = true;
}

static void resume(struct job_each *e)
{
    struct str at = str_z(e->job->at), phase = str_split(&at, ':'), batch = str_split(&at, ':');
    uint64_t n;

    if (phase.n != 1 || phase.p[0] != e->phase || !str_to_u64(batch, UINT64_MAX - 1, &n))
        return;
    e->batch = n;
    e->resumed = true;
    job_select_resume(&e->select, at);
}

static enum step_next each_opened(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    e->is_open = true;
    if (is_away(e, op->call.err)) {
        job_select_close(&e->select);
        e->select = (struct job_select){.job = e->job};
        e->is_open = false;
        job_sleep(e->job, AWAY_MS, op_call(op, each_open));
        return STEP_WAIT;
    }
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    resume(e);
    keep_counts(e->job);
    return op_go(op, each_next);
}

static enum step_next each_take(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    if (e->job->stopping)
        return op_fail(op, ERR_CANCELLED);
    if (e->count == JOB_EACH_BATCH || e->at_end)
        return op_go(op, each_work);
    job_select_next(&e->select, &e->name, &e->at_end, op_try(op, each_taken));
    return STEP_WAIT;
}

static enum step_next each_taken(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);
    enum err err = op->call.err;

    if (is_away(e, err)) {
        job_sleep(e->job, AWAY_MS, op_call(op, each_take));
        return STEP_WAIT;
    }
    if (err != ERR_OK)
        return op_fail(op, err);
    e->tries = 0;
    if (!e->at_end && (e->whoever || job_leads(e->job->env, e->select.bucket.id, e->name)))
        e->keys[e->count++] = arena_str(&e->arena, e->name);
    return op_go(op, each_take);
}

static enum step_next each_work(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);
    unsigned n = e->workers < e->count ? e->workers : e->count;

    if (e->count == 0)
        return op_go(op, each_end);
    call_group_init(&e->group, op_call(op, each_worked));
    for (unsigned i = 0; i < n; i++) {
        struct job_each_worker *w = &e->all_workers[i];
        *w = (struct job_each_worker){.each = e, .member = &e->members[i]};
        group_call(&e->group, &e->members[i]);
        op_start(&w->op, e->job->env->loop, "key", key_next, key_end);
    }
    call_group_seal(&e->group);
    return STEP_WAIT;
}

static enum step_next each_worked(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    if (e->report.n == 0)
        return op_go(op, each_next);
    system_bucket(e->job->env->buckets, &e->arena, &e->system, op_try(op, each_report));
    return STEP_WAIT;
}

/* ---- what failed ---- */

static enum step_next each_report(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);
    const struct job_env *env = e->job->env;

    if (op->call.err != ERR_OK)
        return op_go(op, each_reported);
    e->body = source_memory(buf_str(&e->report), NULL, NULL);
    e->check = (struct body_check){0};
    e->put_req =
        (struct obj_put_req){.arena = &e->arena,
                             .bucket = e->system.bucket.id,
                             .key = arena_printf(&e->arena, "jobs/" STR_FMT "/report/" STR_FMT "/%012llu",
                                                 STR_ARG(e->job->id), STR_ARG(env->self), (unsigned long long)e->batch),
                             .cond = COND_INIT,
                             .body = e->body,
                             .check = &e->check,
                             .size_max = REPORT_MAX};
    store_obj_put(env->all, &e->put_req, &e->put, op_try(op, each_closed_report));
    return STEP_WAIT;
}

static enum step_next each_closed_report(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    source_close(e->body);
    e->body = NULL;
    return op_go(op, each_reported);
}

static enum step_next each_reported(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    if (op->call.err != ERR_OK || buf_err(&e->report) != ERR_OK)
        job_failed(e->job, STR("the report"), op->call.err != ERR_OK ? op->call.err : ERR_TOO_LARGE);
    return op_go(op, each_next);
}

/* ---- from batch to batch ---- */

static void keep_place(struct job_each *e)
{
    char at[JOB_SELECT_AT_MAX];

    keep_counts(e->job);
    job_select_at(&e->select, at);
    snprintf(e->job->at, sizeof(e->job->at), "%c:%llu:%s", e->phase, (unsigned long long)++e->batch, at);
}

static enum step_next each_next(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    if (e->count) {
        keep_place(e);
        e->resumed = false;
    }
    if (e->failed && e->stop_on_error)
        return op_fail(op, ERR_CONFLICT);
    e->count = e->next = 0;
    buf_reset(&e->report);
    arena_release(&e->arena);
    return op_go(op, each_take);
}

static enum step_next each_end(struct op *op)
{
    struct job_each *e = OP(op, struct job_each);

    source_close(e->body);
    if (e->is_open)
        job_select_close(&e->select);
    buf_release(&e->report);
    arena_release(&e->arena);
    e->job->keeps = false; /* what the kind counts from here is its own business */
    call_finish(e->whole, op->err);
    return STEP_DONE;
}

static void each_cancel(void *arg)
{
    op_cancel(&((struct job_each *)arg)->op, ERR_CANCELLED);
}

void job_each_run(struct job_each *e, struct call *whole)
{
    e->whole = whole;
    e->spec = e->spec ? e->spec : e->job->spec;
    e->phase = e->phase ? e->phase : 'a';
    e->workers = e->workers == 0                     ? JOB_EACH_WORKERS
                 : e->workers > JOB_EACH_WORKERS_MAX ? JOB_EACH_WORKERS_MAX
                                                     : e->workers;
    buf_init(&e->report, REPORT_MAX);
    op_start(&e->op, e->job->env->loop, "each", each_open, each_end);
    call_on_cancel(whole, each_cancel, e);
}

void job_each_end(struct job *job, enum err e)
{
    if (e != ERR_OK && e != ERR_CANCELLED && job->failed == 0)
        job_failed(job, STR("the selection"), e);
    job_end(job, e == ERR_OK ? JOB_DONE : e == ERR_CANCELLED ? JOB_STOPPED : JOB_FAILED);
}

char job_each_phase(const struct job *job)
{
    return job->at[0] && job->at[1] == ':' ? job->at[0] : 'a';
}

/* ---- specs ---- */

struct str job_spec_text(const struct doc *spec, struct str name)
{
    const struct doc *d = doc_get(spec, name);

    return d && d->kind == DOC_SCALAR ? d->text : STR("");
}

bool job_spec_flag(const struct doc *spec, struct str name)
{
    return str_eq(job_spec_text(spec, name), STR("true"));
}

uint64_t job_spec_number(const struct doc *spec, struct str name, uint64_t otherwise)
{
    uint64_t n;

    return str_to_u64(job_spec_text(spec, name), UINT64_MAX, &n) ? n : otherwise;
}

enum err job_spec_known(const struct doc *spec, const char *const *names, char why[256])
{
    for (const struct doc *d = spec->first; d; d = d->next) {
        const char *const *n = names;
        while (*n && !str_eq(str_z(*n), d->key))
            n++;
        if (!*n) {
            snprintf(why, 256, "\"%.64s\" is not known in this specification", d->key.n ? d->key.p : "");
            return ERR_INVALID_ARGUMENT;
        }
    }
    return ERR_OK;
}
