#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "target/job_own.h"
#include "target/job_scan.h"
#include "target/job_wide.h"
#include "target/moving.h"
#include "target/redundant.h"

/* A term of the map: every key goes where it belongs, each target fetches what is its own. When all have, the map is settled.
 *
 *   quiet     each target that may lose keys waits for the writes that it let in by older maps, and tells in "quiet/<id>"; nobody lists
 *             keys before all have: what a listing does not show then can't come any more.
 *   scan      every key of the targets that lose keys to this one is settled; again from the start as long as one fails.
 *   left      a target that goes waits until nothing is left on it.
 *   settled   told in "settled/<id>"; who sees that of all changes the map. */
enum { RETRY_MS = 1000, WAIT_MS = 250, PATIENCE_MS = 2000, SPEC_MAX = 64 };

struct rebalance {
    struct job job;
    struct op op;
    struct arena arena; /* of a round */
    uint64_t term;
    const struct map *map; /* of the round; held, may be NULL */
    bool quiet;            /* was told */
    bool told;             /* that it is settled here */
    struct job_buckets buckets;
    uint16_t source; /* position of the node whose keys are looked at */
    size_t bucket;
    struct store *node; /* of the source; NULL: not open */
    bool alone;         /* only what this target leads: nothing is to be told to others */
    struct job_wide wide;
    struct job_scan scan;
    bool left;      /* something is, by the last look */
    unsigned width; /* the fewest copies of a bucket with more than one; 0 = there is none */
    /* meta */
    struct meta_list_req list_req;
    struct meta_list_res list;
    struct meta_put_req put_req;
    struct meta_put_res put;
    struct members_change_req change_req;
    struct members_change_res change;
    /* what is left here */
    struct obj_list_req objects_req;
    struct obj_list_res objects;
    struct upload_list_req uploads_req;
    struct upload_list_res uploads;
};

/* in order; from each of them back to rb_begin when something is not as it should be yet */
static step_fn rb_begin, rb_quiet, rb_quiet_wide, rb_told, rb_wait, rb_waited, rb_buckets, rb_listed, rb_source,
    rb_scan, rb_scanned, rb_left, rb_objects, rb_uploads, rb_looked, rb_say, rb_said, rb_all, rb_all_listed, rb_changed,
    rb_end;

static struct str self_of(const struct rebalance *r)
{
    return r->job.env->self;
}

/* ---- shares ---- */

static uint32_t now_of(const struct map *m, int node)
{
    return map_share_of(m->shares, m->share_count, node);
}

static uint32_t before_of(const struct map *m, int node)
{
    return map_share_of(m->previous, m->previous_count, node);
}

/* Whether keys go from there to here: from the share that grows less to the one that grows more. */
static bool loses(const struct map *m, int there, int here)
{
    return here >= 0 &&
           (uint64_t)now_of(m, there) * before_of(m, here) < (uint64_t)now_of(m, here) * before_of(m, there);
}

static bool is_settled(const struct map *m)
{
    for (uint16_t i = 0; i < m->node_count; i++)
        if (m->nodes[i].sync == SYNC_CATCHING)
            return false;
    return m->previous_count == 0;
}

/* Whether this target must settle what it leads before it can answer without asking others. */
static bool is_unclean(const struct job_env *env, const struct map *m)
{
    return env->engine && buckets_any_wide(env->buckets) && !redundant_is_clean(env->engine, m->term);
}

/* ---- rounds ---- */

static enum step_next again(struct op *op, step_fn *step, uint32_t ms)
{
    struct rebalance *r = OP(op, struct rebalance);

    job_sleep(&r->job, ms, op_call_named(op, step, "again", false));
    return STEP_WAIT;
}

static void note(struct rebalance *r, const char *what, struct str who)
{
    snprintf(r->job.note, sizeof(r->job.note), "%s" STR_FMT, what, STR_ARG(who));
}

static void leave_round(struct rebalance *r)
{
    if (r->node)
        store_close(r->node);
    r->node = NULL;
    map_release(r->map);
    r->map = NULL;
    arena_release(&r->arena);
}

static enum step_next rb_begin(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    leave_round(r);
    r->map = members_map(r->job.env->members);
    if (r->map->term != r->term || map_find(r->map, self_of(r)) < 0 ||
        (is_settled(r->map) && !is_unclean(r->job.env, r->map)))
        return op_go(op, rb_end);
    if (r->told)
        return op_go(op, rb_all);
    return op_go(op, r->quiet || r->map->previous_count == 0 ? rb_buckets : rb_quiet);
}

/* ---- no more writes by older maps ---- */

static enum step_next put_term(struct rebalance *r, struct op *op, const char *key, step_fn *next)
{
    r->put_req = (struct meta_put_req){.key = arena_printf(&r->arena, "%s/" STR_FMT, key, STR_ARG(self_of(r))),
                                       .value = arena_printf(&r->arena, "{\"term\":%llu}", (unsigned long long)r->term),
                                       .revision = META_ANY};
    meta_put(r->job.env->meta, &r->put_req, &r->put, op_call_named(op, next, key, true));
    return STEP_WAIT;
}

static enum step_next list_terms(struct rebalance *r, struct op *op, struct str prefix, step_fn *next)
{
    r->list_req = (struct meta_list_req){.arena = &r->arena, .prefix = prefix, .max = META_LIST_MAX};
    meta_list(r->job.env->meta, &r->list_req, &r->list, op_call_named(op, next, "list", true));
    return STEP_WAIT;
}

/* Whether that node has told this term. */
static bool has_told(struct rebalance *r, struct str node)
{
    char why[DOC_WHY_MAX];
    struct doc *root;
    uint64_t term;

    for (uint32_t i = 0; i < r->list.count; i++) {
        const struct meta_entry *e = &r->list.entries[i];
        if (!str_ends(e->key, node) || js_read(&r->arena, e->value, &root, why) != ERR_OK)
            continue;
        const struct doc *d = doc_get(root, STR("term"));
        return d && str_to_u64(d->text, UINT64_MAX, &term) && term == r->term;
    }
    return false;
}

static enum step_next rb_quiet(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    note(r, "waits for writes that began before the change", STR_NONE);
    moving_quiet(r->job.env->moving, op_call(op, rb_quiet_wide));
    return STEP_WAIT;
}

static enum step_next rb_quiet_wide(struct op *op)
{
    redundant_quiet(OP(op, struct rebalance)->job.env->redundant, op_call(op, rb_told));
    return STEP_WAIT;
}

static enum step_next rb_told(struct op *op)
{
    return put_term(OP(op, struct rebalance), op, "quiet", rb_wait);
}

static enum step_next rb_wait(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (op->call.err != ERR_OK && !r->quiet)
        return again(op, rb_begin, RETRY_MS);
    return list_terms(r, op, STR("quiet/"), rb_waited);
}

static enum step_next rb_waited(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (op->call.err != ERR_OK)
        return again(op, rb_begin, RETRY_MS);
    for (uint16_t i = 0; i < r->map->node_count; i++) {
        if (before_of(r->map, i) && !has_told(r, r->map->nodes[i].id)) {
            note(r, "waits for writes that began before the change at target ", r->map->nodes[i].id);
            return again(op, rb_begin, WAIT_MS);
        }
    }
    r->quiet = true;
    r->job.note[0] = 0;
    return op_go(op, rb_buckets);
}

/* ---- the scan ---- */

/* From meta, not from the cache: a bucket that is there when all are quiet may have keys that have to move. */
static enum step_next rb_buckets(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    job_forgive(&r->job);
    r->buckets = (struct job_buckets){.job = &r->job, .arena = &r->arena};
    job_buckets_run(&r->buckets, op_try(op, rb_listed));
    return STEP_WAIT;
}

/* The fewest copies that a bucket with more than one keeps; 0 = there is none. */
static unsigned fewest_copies(const struct rebalance *r)
{
    unsigned fewest = 0;

    for (size_t i = 0; i < r->buckets.count; i++) {
        unsigned width = redundancy_width(r->buckets.all[i].id.redundancy);
        if (width > 1 && (fewest == 0 || width < fewest))
            fewest = width;
    }
    return fewest;
}

static enum step_next rb_listed(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (op->call.err != ERR_OK)
        return again(op, rb_begin, RETRY_MS);
    r->width = fewest_copies(r);
    r->source = 0;
    r->bucket = 0;
    return op_go(op, rb_source);
}

/* Whether a node's keys of that bucket may be ours: of one copy, when it loses keys to this target; of several, when it takes part. */
static bool is_source(const struct rebalance *r, int here, const struct bucket *b)
{
    const struct map_node *n = &r->map->nodes[r->source];

    if (!redundancy_is_wide(b->id.redundancy))
        return r->source != here && loses(r->map, r->source, here);
    return n->state != NODE_MAINTENANCE && n->sync != SYNC_OUT;
}

/* The next node that may have keys for this one, and its next bucket. */
static enum step_next rb_source(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);
    int here = map_find(r->map, self_of(r));

    for (; r->source < r->map->node_count; r->source++, r->bucket = 0) {
        for (; r->bucket < r->buckets.count; r->bucket++)
            if (is_source(r, here, &r->buckets.all[r->bucket]))
                return op_go(op, rb_scan);
        if (r->node)
            store_close(r->node);
        r->node = NULL;
    }
    if (r->job.failed) {
        note(r, "some keys can't be moved: tries again", STR_NONE);
        return again(op, rb_begin, PATIENCE_MS);
    }
    return op_go(op, rb_left);
}

static bool move_wanted(void *arg, struct bucket_id bucket, struct str key)
{
    struct rebalance *r = arg;
    uint16_t at;

    return map_place(r->map, bucket.uid, key, 1, &at) && str_eq(r->map->nodes[at].id, self_of(r));
}

struct move {
    struct call call;
    struct call *whole;
    struct job_scan_key *key;
    struct moving_settle_req req;
    struct moving_settle_res res;
};

static void moved(struct call *c)
{
    struct move *m = CONTAINER(c, struct move, call);

    m->key->changed = m->res.moved;
    m->key->bytes = m->res.bytes;
    call_finish(m->whole, c->err);
}

static void move_cancel(void *arg)
{
    call_cancel(&((struct move *)arg)->call);
}

static void move_key(void *arg, struct job_scan_key *key, struct call *call)
{
    struct rebalance *r = arg;
    struct move *m = ARENA_NEW(key->arena, struct move);

    m->whole = call;
    m->key = key;
    m->req = (struct moving_settle_req){.arena = key->arena, .bucket = key->bucket, .key = key->key};
    call_begin(&m->call, call->loop, moved);
    call_on_cancel(call, move_cancel, m);
    moving_settle(r->job.env->moving, &m->req, &m->res, &m->call);
}

static enum step_next rb_scan(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    const struct bucket *b = &r->buckets.all[r->bucket];
    bool own = r->source == map_find(r->map, self_of(r)), wide = redundancy_is_wide(b->id.redundancy);

    if (!own && !r->node)
        r->node = remote_store_new(&r->job.env->remote, r->map->nodes[r->source].id);
    if (!own)
        remote_store_at(r->node, r->map->epoch);
    r->wide = (struct job_wide){.env = r->job.env, .map = r->map, .own = own};
    r->scan = (struct job_scan){.job = &r->job,
                                .store = own ? r->job.env->mine : r->node,
                                .bucket = b->id,
                                .wanted = wide ? job_wide_wanted : move_wanted,
                                .each = wide ? job_wide_each : move_key,
                                .arg = wide ? (void *)&r->wide : r};
    job_scan_run(&r->scan, op_try(op, rb_scanned));
    return STEP_WAIT;
}

static enum step_next rb_scanned(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_BUCKET) {
        note(r, "can't look at target ", r->map->nodes[r->source].id);
        return again(op, rb_begin, e == ERR_STALE_EPOCH ? WAIT_MS : RETRY_MS);
    }
    r->bucket++;
    return op_go(op, rb_source);
}

/* ---- a node that goes: is anything left? ---- */

static enum step_next rb_left(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);
    int here = map_find(r->map, self_of(r));

    r->job.note[0] = 0;
    r->bucket = 0;
    if (r->map->previous_count == 0 || now_of(r->map, here) || !before_of(r->map, here))
        return op_go(op, rb_say);
    return op_go(op, rb_objects);
}

static enum step_next rb_objects(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (r->bucket == r->buckets.count)
        return op_go(op, rb_say);
    r->objects_req = (struct obj_list_req){.arena = &r->arena, .bucket = r->buckets.all[r->bucket].id, .max = 1};
    store_obj_list(r->job.env->mine, &r->objects_req, &r->objects, op_try(op, rb_uploads));
    return STEP_WAIT;
}

static enum step_next rb_looked(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (op->call.err != ERR_OK && op->call.err != ERR_NO_SUCH_BUCKET)
        return again(op, rb_begin, RETRY_MS);
    if (op->call.err == ERR_OK && r->uploads.count) {
        note(r, "waits until uploads in parts are completed or aborted, in bucket ", r->buckets.all[r->bucket].id.name);
        return again(op, rb_begin, RETRY_MS);
    }
    r->bucket++;
    return op_go(op, rb_objects);
}

static enum step_next rb_uploads(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (op->call.err == ERR_NO_SUCH_BUCKET) {
        r->bucket++;
        return op_go(op, rb_objects);
    }
    if (op->call.err != ERR_OK)
        return again(op, rb_begin, RETRY_MS);
    if (r->objects.count) {
        note(r, "the others have not taken all objects yet, in bucket ", r->buckets.all[r->bucket].id.name);
        return again(op, rb_begin, RETRY_MS);
    }
    r->uploads_req = (struct upload_list_req){.arena = &r->arena, .bucket = r->buckets.all[r->bucket].id, .max = 1};
    store_upload_list(r->job.env->mine, &r->uploads_req, &r->uploads, op_try(op, rb_looked));
    return STEP_WAIT;
}

/* ---- the end of the term ---- */

static enum step_next rb_say(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (r->job.env->engine)
        redundant_clean(r->job.env->engine, r->term);
    if (r->alone)
        return op_go(op, rb_end);
    return put_term(OP(op, struct rebalance), op, "settled", rb_said);
}

static enum step_next rb_said(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (op->call.err != ERR_OK)
        return again(op, rb_say, RETRY_MS);
    r->told = true;
    return op_go(op, rb_all);
}

static enum step_next rb_all(struct op *op)
{
    return list_terms(OP(op, struct rebalance), op, STR("settled/"), rb_all_listed);
}

/* During a move everybody who has or had a share; otherwise all that take part in writes. Who does but is silent is waited for: until it is
 * put out only it may know the newest version of a key. */
static bool is_awaited(const struct rebalance *r, uint16_t node)
{
    const struct map_node *n = &r->map->nodes[node];

    if (r->map->previous_count)
        return now_of(r->map, node) || before_of(r->map, node);
    return now_of(r->map, node) && n->sync != SYNC_OUT;
}

static enum step_next rb_all_listed(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    if (op->call.err != ERR_OK)
        return again(op, rb_begin, RETRY_MS);
    for (uint16_t i = 0; i < r->map->node_count; i++) {
        if (is_awaited(r, i) && !has_told(r, r->map->nodes[i].id)) {
            note(r, "all is in place here; waits for target ", r->map->nodes[i].id);
            return again(op, rb_begin, WAIT_MS);
        }
    }
    r->change_req = (struct members_change_req){.verb = MEMBERS_SETTLED, .epoch = r->term, .width = r->width};
    members_change(r->job.env->members, &r->change_req, &r->change, op_try(op, rb_changed));
    return STEP_WAIT;
}

/* Refused: another one was faster, the map has changed otherwise, or a target is out that may have the newest version of a key. */
static enum step_next rb_changed(struct op *op)
{
    if (op->call.err != ERR_OK)
        return again(op, rb_begin, RETRY_MS);
    return op_go(op, rb_begin);
}

static enum step_next rb_end(struct op *op)
{
    struct rebalance *r = OP(op, struct rebalance);

    leave_round(r);
    if (op->err != ERR_OK && op->err != ERR_CANCELLED)
        log_error(STR_NONE, "a rebalance broke off", "term=%llu error=%s", (unsigned long long)r->term,
                  err_name(op->err));
    job_end(&r->job, op->err == ERR_OK ? JOB_DONE : op->err == ERR_CANCELLED ? JOB_STOPPED : JOB_FAILED);
    return STEP_DONE;
}

/* ---- the kind ---- */

static void run(struct job *job)
{
    struct rebalance *r = CONTAINER(job, struct rebalance, job);
    const struct doc *term = doc_get(job->spec, STR("term"));

    if (term && !str_to_u64(term->text, UINT64_MAX, &r->term))
        r->term = 0; /* of no map: it ends at once */
    r->alone = doc_get(job->spec, STR("node")) != NULL;
    op_start(&r->op, job->env->loop, "rebalance", rb_begin, rb_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct rebalance, job)->op, ERR_CANCELLED);
}

/* What all have to do is one job; what this target alone has to look at, because it has just begun or another one went out, one of its own. */
static bool due(const struct job_env *env, struct arena *arena, struct str *id, struct str *spec)
{
    const struct map *m;

    if (!env->members)
        return false;
    m = members_map(env->members);
    bool all = !is_settled(m), is_due = map_find(m, env->self) >= 0 && (all || is_unclean(env, m));
    unsigned long long term = m->term;

    if (is_due && all) {
        *id = arena_printf(arena, "rebalance-%llu", term);
        *spec = arena_printf(arena, "{\"term\":%llu}", term);
    } else if (is_due) {
        *id = arena_printf(arena, "rebalance-%llu-" STR_FMT "-%llx", term, STR_ARG(env->self),
                           (unsigned long long)env->began_ms);
        *spec = arena_printf(arena, "{\"term\":%llu,\"node\":\"" STR_FMT "\"}", term, STR_ARG(env->self));
    }
    map_release(m);
    return is_due;
}

const struct job_kind job_rebalance = {
    .name = "rebalance", .size = sizeof(struct rebalance), .per_cluster = true, .run = run, .stop = stop, .due = due};
