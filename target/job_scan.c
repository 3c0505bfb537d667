#include "job_scan.h"

enum { BUSY_MS = 50, CONFLICTS_MAX = 20 };

/* ---- one key ---- */

static step_fn key_next, key_do, key_done, key_end;

static enum step_next key_next(struct op *op)
{
    struct job_scan_worker *w = OP(op, struct job_scan_worker);
    struct job_scan *s = w->scan;

    arena_release(&w->arena);
    if (s->job->stopping)
        return op_fail(op, ERR_CANCELLED);
    while (s->next < s->page.count) {
        struct str key = s->page.entries[s->next++].key;
        if (!s->wanted(s->arg, s->bucket, key))
            continue;
        s->wanted_count++;
        w->key = (struct job_scan_key){.arena = &w->arena, .bucket = s->bucket, .key = key};
        w->tries = 0;
        return op_go(op, key_do);
    }
    return op_go(op, key_end);
}

static enum step_next key_do(struct op *op)
{
    struct job_scan_worker *w = OP(op, struct job_scan_worker);

    arena_release(&w->arena);
    w->scan->each(w->scan->arg, &w->key, op_try(op, key_done));
    return STEP_WAIT;
}

static enum step_next key_done(struct op *op)
{
    struct job_scan_worker *w = OP(op, struct job_scan_worker);
    struct job *job = w->scan->job;
    enum err e = op->call.err;

    if (e == ERR_BUSY || (e == ERR_CONFLICT && ++w->tries < CONFLICTS_MAX)) { /* somebody writes it */
        job_sleep(job, BUSY_MS, op_call(op, key_do));
        return STEP_WAIT;
    }
    if (e == ERR_STALE_EPOCH || e == ERR_CANCELLED)
        return op_fail(op, e);
    if (e == ERR_NO_SUCH_BUCKET)
        job->skipped++;
    else if (e != ERR_OK)
        job_failed(job, arena_printf(&w->arena, STR_FMT "/" STR_FMT, STR_ARG(w->key.bucket.name), STR_ARG(w->key.key)),
                   e);
    job->ok += e == ERR_OK && w->key.changed;
    job->bytes += w->key.bytes;
    job_throttle(job, w->key.bytes, op_call(op, key_next));
    return STEP_WAIT;
}

static enum step_next key_end(struct op *op)
{
    struct job_scan_worker *w = OP(op, struct job_scan_worker);

    arena_release(&w->arena);
    w->scan->running--;
    call_finish(&w->member->call, op->err);
    return STEP_DONE;
}

/* ---- pages ---- */

static step_fn scan_list, scan_work, scan_worked, scan_end;

static enum step_next scan_list(struct op *op)
{
    struct job_scan *s = OP(op, struct job_scan);

    arena_release(&s->arena);
    s->req = (struct obj_list_req){
        .arena = &s->arena, .bucket = s->bucket, .after = str_n(s->last, s->last_n), .max = JOB_SCAN_PAGE};
    s->page = (struct obj_list_res){0};
    store_obj_list(s->store, &s->req, &s->page, op_call(op, scan_work));
    return STEP_WAIT;
}

static void stop_workers(void *arg)
{
    struct job_scan *s = arg;

    for (unsigned i = 0; i < JOB_SCAN_WORKERS; i++)
        if (call_is_pending(&s->members[i].call))
            op_cancel(&s->workers[i].op, ERR_CANCELLED);
}

static enum step_next scan_work(struct op *op)
{
    struct job_scan *s = OP(op, struct job_scan);

    s->next = 0;
    call_group_init(&s->group, op_call(op, scan_worked));
    call_on_cancel(s->group.whole, stop_workers, s);
    for (unsigned i = 0; i < JOB_SCAN_WORKERS; i++) {
        struct job_scan_worker *w = &s->workers[i];
        *w = (struct job_scan_worker){.scan = s, .member = &s->members[i]};
        group_call(&s->group, &s->members[i]);
        s->running++;
        op_start(&w->op, s->job->env->loop, "key", key_next, key_end);
    }
    call_group_seal(&s->group);
    return STEP_WAIT;
}

static enum step_next scan_worked(struct op *op)
{
    struct job_scan *s = OP(op, struct job_scan);

    if (s->page.count == 0)
        return op_go(op, scan_end);
    struct str last = s->page.entries[s->page.count - 1].key;
    s->last_n = last.n < STORE_KEY_MAX ? last.n : STORE_KEY_MAX;
    memcpy(s->last, last.p, s->last_n);
    if (s->progress)
        s->progress(s->arg, str_n(s->last, s->last_n));
    return s->page.truncated ? op_go(op, scan_list) : op_go(op, scan_end);
}

static enum step_next scan_end(struct op *op)
{
    struct job_scan *s = OP(op, struct job_scan);

    arena_release(&s->arena);
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

static void scan_cancel(void *arg)
{
    op_cancel(&((struct job_scan *)arg)->op, ERR_CANCELLED);
}

void job_scan_run(struct job_scan *s, struct call *whole)
{
    s->whole = whole;
    s->last_n = s->after.n < STORE_KEY_MAX ? s->after.n : STORE_KEY_MAX;
    memcpy(s->last, s->after.p ? s->after.p : "", s->last_n);
    op_start(&s->op, s->job->env->loop, "scan", scan_list, scan_end);
    call_on_cancel(whole, scan_cancel, s);
}

/* ---- buckets ---- */

#define BUCKET_KEY STR("bucket/")

static step_fn buckets_ask, buckets_listed, buckets_end;

static enum step_next buckets_ask(struct op *op)
{
    struct job_buckets *b = OP(op, struct job_buckets);

    meta_list(b->job->env->meta, &b->req, &b->page, op_call(op, buckets_listed));
    return STEP_WAIT;
}

static void buckets_add(struct job_buckets *b, const struct bucket *bucket)
{
    if (b->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 64;
        struct bucket *more = arena_alloc(b->arena, b->cap * sizeof(*more));
        if (b->count)
            memcpy(more, b->all, b->count * sizeof(*more));
        b->all = more;
    }
    b->all[b->count++] = *bucket;
}

static enum step_next buckets_listed(struct op *op)
{
    struct job_buckets *b = OP(op, struct job_buckets);
    struct bucket one;

    for (uint32_t i = 0; i < b->page.count; i++) {
        const struct meta_entry *e = &b->page.entries[i];
        struct str name = str_skip(e->key, BUCKET_KEY.n);
        if (bucket_parse(b->arena, name, e->value, &one) == ERR_OK) {
            bool versions = one.id.versions != VERSIONS_OFF;
            one.id.versions = VERSIONS_OFF; /* jobs move and mend what there is */
            buckets_add(b, &one);
            one.id = version_shadow(one.id);
            if (versions)
                buckets_add(b, &one);
        } else {
            job_failed(b->job, arena_printf(b->arena, "bucket " STR_FMT, STR_ARG(name)), ERR_CORRUPT);
        }
    }
    if (!b->page.truncated || b->page.count == 0)
        return op_go(op, buckets_end);
    b->req.after = b->page.entries[b->page.count - 1].key;
    return op_go(op, buckets_ask);
}

static enum step_next buckets_end(struct op *op)
{
    call_finish(OP(op, struct job_buckets)->whole, op->err);
    return STEP_DONE;
}

static void buckets_cancel(void *arg)
{
    op_cancel(&((struct job_buckets *)arg)->op, ERR_CANCELLED);
}

void job_buckets_run(struct job_buckets *b, struct call *whole)
{
    b->whole = whole;
    b->req = (struct meta_list_req){.arena = b->arena, .prefix = BUCKET_KEY, .max = META_LIST_MAX};
    op_start(&b->op, b->job->env->loop, "buckets", buckets_ask, buckets_end);
    call_on_cancel(whole, buckets_cancel, b);
}
