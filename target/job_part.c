#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "target/job_own.h"

enum { SAVE_EVERY_MS = 1000 };

static void job_free(struct part *p)
{
    arena_release(&p->job->arena);
    free(p->job);
    p->job = NULL;
}

struct part *part_find(struct jobs *j, struct str id)
{
    struct part *p = j->parts;

    while (p && !str_eq(str_z(p->id), id))
        p = p->next;
    return p;
}

static struct part *part_new(struct jobs *j, struct str id)
{
    struct part *p = NEW(struct part);

    memcpy(p->id, id.p, id.n);
    p->jobs = j;
    p->next = j->parts;
    j->parts = p;
    return p;
}

struct part *part_ended(struct jobs *j, struct str id, enum job_state state)
{
    struct part *p = part_new(j, id);

    p->state = state;
    p->saved = p->judging = true;
    return p;
}

static void keep_error(struct part *p, struct str text)
{
    if (p->error_count == JOB_ERRORS_MAX)
        return;
    char *copy = mem_alloc(text.n + 1);
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    p->errors[p->error_count++] = copy;
}

static void forget_errors(struct part *p)
{
    while (p->error_count)
        free(p->errors[--p->error_count]);
}

static void take_at(struct part *p, struct job *job, const struct job_at *at)
{
    size_t n = at->at.n < sizeof(job->at) ? at->at.n : 0;

    job->goes_on = true;
    job->kept = at->keeps ? at->kept : (struct job_counts){at->ok, at->failed, at->skipped, at->bytes};
    job->ok = job->kept.ok;
    job->failed = job->kept.failed;
    job->skipped = job->kept.skipped;
    job->bytes = job->kept.bytes;
    memcpy(job->at, at->at.p ? at->at.p : "", n);
    job->at[n] = 0;
    p->began_ms = at->began_ms;
    for (unsigned i = 0; i < at->error_count; i++)
        keep_error(p, at->errors[i]);
}

struct part *part_begin(struct jobs *j, const struct job_record *r, const struct job_at *at)
{
    const struct job_kind *kind = job_kind_find(r->kind);
    struct part *p = part_new(j, r->id);
    struct job *job = mem_new(kind->size);
    char why[DOC_WHY_MAX];
    struct doc *spec = NULL, *root;

    p->job = job;
    p->began_ms = job_now_ms();
    job->kind = kind;
    job->env = &j->env;
    job->part = p;
    job->id = str_z(p->id);
    /* the record's tree lives with the scan that has read it: the job gets its own */
    if (js_read(&job->arena, job_record_text(&job->arena, r), &root, why) == ERR_OK)
        spec = (struct doc *)(uintptr_t)doc_get(root, STR("spec"));
    job->spec = spec;
    if (at)
        take_at(p, job, at);
    log_info(STR_NONE, at ? "job goes on" : "job begins", "id=%s kind=%s", log_quote(job->id), kind->name);
    part_save(p);
    kind->run(job);
    return p;
}

void part_stop(struct part *p)
{
    if (!p->job || p->job->stopping)
        return;
    p->job->stopping = true;
    if (p->job->kind->stop)
        p->job->kind->stop(p->job);
}

void part_drop(struct part *p)
{
    struct part **at = &p->jobs->parts;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    if (p->job)
        job_free(p);
    forget_errors(p);
    free(p);
}

/* ---- what is kept of it ---- */

static uint64_t sum_of(const struct part *p)
{
    const struct job *job = p->job;
    uint64_t sum = p->state + 31 * p->error_count;

    if (!job)
        return sum ^ p->ended_ms;
    for (const char *c = job->note; *c; c++)
        sum = sum * 31 + (uint8_t)*c;
    return sum * 31 + job->ok + 7 * job->failed + 11 * job->skipped + 13 * job->bytes;
}

static void fill(const struct part *p, const struct job *job, struct job_at *at)
{
    *at = (struct job_at){.state = p->state,
                          .ok = job->ok,
                          .failed = job->failed,
                          .skipped = job->skipped,
                          .bytes = job->bytes,
                          .began_ms = p->began_ms,
                          .ended_ms = p->ended_ms,
                          .at = str_z(job->at),
                          .keeps = job->keeps,
                          .kept = job->kept,
                          .note = str_z(job->note),
                          .error_count = p->error_count};
    for (unsigned i = 0; i < p->error_count; i++)
        at->errors[i] = str_z(p->errors[i]);
}

static void saved(struct call *c)
{
    struct part *p = CONTAINER(c, struct part, save);

    if (c->err != ERR_OK)
        p->saved_sum = 0; /* again, a moment later */
    else if (p->saving_end)
        p->saved = p->judging = true;
    arena_release(&p->save_arena);
    if (p->saved && p->job)
        job_free(p);
    if (p->judging)
        jobs_look_soon(p->jobs);
    else if (c->err == ERR_OK && p->state != JOB_RUNNING)
        part_save(p); /* it has ended meanwhile */
}

void part_save(struct part *p)
{
    uint64_t now = clock_mono_ns(), sum = sum_of(p);
    bool ended = p->state != JOB_RUNNING;
    struct job_at at;

    if (!p->job || p->saved || call_is_pending(&p->save))
        return;
    if (!ended && (sum == p->saved_sum || now - p->saved_ns < SAVE_EVERY_MS * UINT64_C(1000000)))
        return;
    p->saved_sum = sum;
    p->saved_ns = now;
    p->saving_end = ended;
    fill(p, p->job, &at);
    p->put_req = (struct meta_put_req){.key = job_at_key(&p->save_arena, str_z(p->id), p->jobs->env.self),
                                       .value = job_at_text(&p->save_arena, &at),
                                       .revision = META_ANY};
    call_begin(&p->save, p->jobs->env.loop, saved);
    meta_put(p->jobs->env.meta, &p->put_req, &p->put, &p->save);
}

/* ---- for kinds ---- */

void job_end(struct job *job, enum job_state state)
{
    struct part *p = job->part;

    if (p->jobs->closing) /* it goes on when the process is back */
        state = JOB_RUNNING;
    else
        log_info(STR_NONE, "job ended", "id=%s state=" STR_FMT " ok=%llu failed=%llu skipped=%llu bytes=%llu",
                 log_quote(job->id), STR_ARG(job_state_name(state)), (unsigned long long)job->ok,
                 (unsigned long long)job->failed, (unsigned long long)job->skipped, (unsigned long long)job->bytes);
    p->state = state;
    p->ended_ms = state == JOB_RUNNING ? 0 : job_now_ms();
    if (p->jobs->closing) {
        p->saved_sum = p->saved_ns = 0;
        part_save(p); /* the last time, without waiting for the answer of one that goes on */
        p->saved = true;
        if (!call_is_pending(&p->save))
            job_free(p);
        return;
    }
    part_save(p);
}

void job_failed(struct job *job, struct str what, enum err e)
{
    char text[JOB_TEXT_MAX];

    job->failed++;
    if (job->part->error_count == JOB_ERRORS_MAX)
        return;
    snprintf(text, sizeof(text), STR_FMT ": %s", STR_ARG(what), err_name(e));
    for (unsigned i = 0; i < job->part->error_count; i++)
        if (strcmp(job->part->errors[i], text) == 0)
            return;
    keep_error(job->part, str_z(text));
    log_warn(STR_NONE, "a job met a failure", "id=%s what=%s error=%s", log_quote(job->id), log_quote(what),
             err_name(e));
}

void job_forgive(struct job *job)
{
    job->failed = 0;
    forget_errors(job->part);
}

struct nap {
    struct timer timer;
    struct loop *loop;
    struct call *call;
};

static void nap_end(struct timer *t)
{
    struct nap *n = CONTAINER(t, struct nap, timer);

    call_finish(n->call, ERR_OK);
    free(n);
}

static void nap_cancel(void *arg)
{
    struct nap *n = arg;

    if (!timer_is_set(&n->timer))
        return;
    timer_cancel(n->loop, &n->timer);
    call_finish(n->call, ERR_CANCELLED);
    free(n);
}

void job_sleep(struct job *job, uint32_t ms, struct call *call)
{
    struct nap *n = NEW(struct nap);

    *n = (struct nap){.timer.fn = nap_end, .loop = job->env->loop, .call = call};
    timer_set(n->loop, &n->timer, ms);
    call_on_cancel(call, nap_cancel, n);
}

void job_throttle(struct job *job, uint64_t bytes, struct call *call)
{
    struct jobs *j = job->part->jobs;
    uint64_t rate = j->env.bytes_per_s, now = clock_mono_ns(), wait_ms;

    if (rate == 0 || bytes == 0) {
        call_finish(call, ERR_OK);
        return;
    }
    if (j->free_ns < now)
        j->free_ns = now;
    j->free_ns += (uint64_t)((double)bytes * 1e9 / (double)rate);
    wait_ms = (j->free_ns - now) / 1000000;
    job_sleep(job, wait_ms < UINT32_MAX ? (uint32_t)wait_ms : UINT32_MAX, call);
}
