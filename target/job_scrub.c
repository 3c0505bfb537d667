#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "target/job_own.h"
#include "target/job_repair.h"
#include "target/job_scan.h"
#include "target/local_verify.h"
#include "target/redundant.h"
#include "target/slices.h"

/* Every object that this node has is read and compared with what was stored. What is damaged is made anew where another node has it, else
 * reported by name. In buckets of cut objects the slices follow the objects: damaged ones are made anew out of the others, those that no
 * record names are removed. `at` is "<bucket>/<last key in hex>". */
enum { RETRY_MS = 2000, LITTER_S = 3600 }; /* no write or read takes as long as that */

struct scrub {
    struct job job;
    struct op op;
    struct arena arena;
    struct job_buckets buckets;
    size_t bucket;
    struct job_scan scan;
    bool slices; /* of the bucket are scanned */
    struct slices_tidy_req tidy_req;
    struct slices_tidy_res tidy;
    struct arena page;
    char after[SLICES_KEY_LEN];
    char from[STORE_KEY_MAX]; /* where the first bucket is gone on with */
    size_t from_n;
};

static step_fn scrub_list, scrub_listed, scrub_bucket, scrub_scanned, scrub_tidy, scrub_tidied, scrub_next, scrub_end;

static enum step_next scrub_list(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);

    arena_release(&s->arena);
    s->buckets = (struct job_buckets){.job = &s->job, .arena = &s->arena};
    job_buckets_run(&s->buckets, op_try(op, scrub_listed));
    return STEP_WAIT;
}

/* To the bucket and key that an earlier process came to. */
static void skip(struct scrub *s)
{
    struct str rest = str_z(s->job.at), name = str_split(&rest, '/');
    const struct job_buckets *b = &s->buckets;

    s->from_n = 0;
    for (s->bucket = 0; s->bucket < b->count && str_cmp(b->all[s->bucket].id.name, name) < 0; s->bucket++)
        ;
    if (s->bucket < b->count && str_eq(b->all[s->bucket].id.name, name) && rest.n / 2 <= STORE_KEY_MAX &&
        hex_decode(rest, s->from, rest.n / 2))
        s->from_n = rest.n / 2;
}

static enum step_next scrub_listed(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);

    if (op->call.err != ERR_OK) {
        job_sleep(&s->job, RETRY_MS, op_call(op, scrub_list));
        return STEP_WAIT;
    }
    skip(s);
    return op_go(op, scrub_bucket);
}

/* ---- one object ---- */

struct look {
    struct op op;
    struct scrub *scrub;
    struct job_scan_key *key;
    struct call *whole;
    struct local_verify_req req;
    struct local_verify_res res;
    struct job_repair_req repair_req;
    struct job_repair_res repair;
    struct slices_repair_req slice_req;
    struct slices_repair_res slice;
};

static step_fn look_verify, look_verified, look_repaired, look_rebuilt, look_end;

static enum step_next look_verify(struct op *op)
{
    struct look *l = OP(op, struct look);

    l->req = (struct local_verify_req){l->key->arena, l->key->bucket, l->key->key};
    local_verify(l->scrub->job.env->local, &l->req, &l->res, op_try(op, look_verified));
    return STEP_WAIT;
}

static enum step_next look_verified(struct op *op)
{
    struct look *l = OP(op, struct look);

    l->key->bytes = l->res.bytes;
    if (op->call.err == ERR_OK || op->call.err == ERR_NO_SUCH_KEY) {
        l->key->changed = op->call.err == ERR_OK; /* counts as looked at */
        return op_go(op, look_end);
    }
    if (op->call.err != ERR_CORRUPT && op->call.err != ERR_IO)
        return op_fail(op, op->call.err);
    const struct job_env *env = l->scrub->job.env;
    if (l->scrub->slices) {
        l->slice_req = (struct slices_repair_req){l->key->arena, slices_bucket(l->key->bucket), env->all, l->key->key};
        slices_repair(redundant_slices(env->redundant), &l->slice_req, &l->slice, op_call(op, look_rebuilt));
        return STEP_WAIT;
    }
    l->repair_req = (struct job_repair_req){l->key->arena, l->key->bucket, l->key->key, &l->res.info};
    job_repair(l->scrub->job.env, &l->repair_req, &l->repair, op_call(op, look_repaired));
    return STEP_WAIT;
}

static enum step_next look_repaired(struct op *op)
{
    struct look *l = OP(op, struct look);

    l->key->bytes += l->repair.bytes;
    l->key->changed = true;
    if (l->repair.repaired)
        log_warn(STR_NONE, "a damaged object was repaired from another target", "bucket=%s key=%s damage=%s",
                 log_quote(l->key->bucket.name), log_quote(l->key->key), log_quote(l->res.damage));
    return op_go(op, look_end);
}

static enum step_next look_rebuilt(struct op *op)
{
    struct look *l = OP(op, struct look);

    l->key->bytes += l->slice.bytes;
    l->key->changed = true;
    if (l->slice.repaired)
        log_warn(STR_NONE, "a damaged slice was made anew", "bucket=%s key=%s damage=%s",
                 log_quote(l->key->bucket.name), log_quote(l->key->key), log_quote(l->res.damage));
    return op_go(op, look_end);
}

static enum step_next look_end(struct op *op)
{
    struct look *l = OP(op, struct look);

    call_finish(l->whole, op->err);
    return STEP_DONE;
}

static void look_cancel(void *arg)
{
    op_cancel(&((struct look *)arg)->op, ERR_CANCELLED);
}

static void look_at(void *arg, struct job_scan_key *key, struct call *call)
{
    struct look *l = ARENA_NEW(key->arena, struct look);

    l->scrub = arg;
    l->key = key;
    l->whole = call;
    op_start(&l->op, call->loop, "look", look_verify, look_end);
    call_on_cancel(call, look_cancel, l);
}

/* ---- bucket after bucket ---- */

static bool every(void *arg, struct bucket_id bucket, struct str key)
{
    (void)arg, (void)bucket, (void)key;
    return true;
}

static void progress(void *arg, struct str last)
{
    struct scrub *s = arg;
    int n = snprintf(s->job.at, sizeof(s->job.at), STR_FMT "/", STR_ARG(s->buckets.all[s->bucket].id.name));

    if (n > 0 && (size_t)n + 2 * last.n < sizeof(s->job.at)) {
        hex_encode(last.p, last.n, s->job.at + n);
        s->job.at[(size_t)n + 2 * last.n] = 0;
    }
}

static enum step_next scrub_bucket(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);

    if (s->bucket == s->buckets.count)
        return op_go(op, scrub_end);
    struct bucket_id id = s->buckets.all[s->bucket].id;
    s->scan = (struct job_scan){.job = &s->job,
                                .store = s->job.env->mine,
                                .bucket = s->slices ? slices_bucket(id) : id,
                                .wanted = every,
                                .each = look_at,
                                .arg = s,
                                .after = s->slices ? STR("") : str_n(s->from, s->from_n),
                                .progress = s->slices ? NULL : progress};
    job_scan_run(&s->scan, op_try(op, scrub_scanned));
    return STEP_WAIT;
}

static enum step_next scrub_scanned(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);

    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    if (op->call.err != ERR_OK && op->call.err != ERR_NO_SUCH_BUCKET)
        job_failed(&s->job, arena_printf(&s->arena, "bucket " STR_FMT, STR_ARG(s->scan.bucket.name)), op->call.err);
    s->from_n = 0;
    s->tidy.next = STR("");
    return op_go(op, s->slices ? scrub_tidy : scrub_next);
}

/* Its arena would grow with the pages: what goes from one to the next is kept apart. */
static enum step_next scrub_tidy(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);
    size_t n = s->tidy.next.n;

    if (n)
        memcpy(s->after, s->tidy.next.p, n);
    arena_release(&s->page);
    struct bucket_id bucket = s->buckets.all[s->bucket].id;
    bucket.backend = false; /* records of this cluster name slices */
    s->tidy_req = (struct slices_tidy_req){.arena = &s->page,
                                           .bucket = bucket,
                                           .all = s->job.env->all,
                                           .after = str_n(s->after, n),
                                           .older_than_ns = clock_wall_ns() - LITTER_S * NS_PER_S};
    slices_tidy(redundant_slices(s->job.env->redundant), &s->tidy_req, &s->tidy, op_try(op, scrub_tidied));
    return STEP_WAIT;
}

static enum step_next scrub_tidied(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);
    bool more = op->call.err == ERR_OK && s->tidy.next.n > 0 && s->tidy.next.n <= sizeof(s->after);

    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    return op_go(op, more ? scrub_tidy : scrub_next);
}

/* After a bucket's objects come its slices, if it has any. */
static enum step_next scrub_next(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);

    s->slices = !s->slices && s->job.env->redundant && redundancy_slices(s->buckets.all[s->bucket].id.redundancy);
    s->bucket += !s->slices;
    return op_go(op, scrub_bucket);
}

static enum step_next scrub_end(struct op *op)
{
    struct scrub *s = OP(op, struct scrub);

    arena_release(&s->page);
    arena_release(&s->arena);
    job_end(&s->job, op->err == ERR_OK ? JOB_DONE : op->err == ERR_CANCELLED ? JOB_STOPPED : JOB_FAILED);
    return STEP_DONE;
}

static void run(struct job *job)
{
    struct scrub *s = CONTAINER(job, struct scrub, job);

    op_start(&s->op, job->env->loop, "scrub", scrub_list, scrub_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct scrub, job)->op, ERR_CANCELLED);
}

const struct job_kind job_scrub = {
    .name = "scrub", .size = sizeof(struct scrub), .startable = true, .per_cluster = true, .run = run, .stop = stop};
