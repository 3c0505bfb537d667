#include <stdatomic.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "store/access.h"
#include "target/job_each.h"
#include "target/job_own.h"

/* Evicts copies of remote objects, and results that views keep, that were not read for longest, until the data directories are as full as space.low says. Two passes over
 * what this node has of such buckets: the first counts bytes by age, in classes of doubling length; the second evicts what is as
 * old as the class that is needed. An age is the time since the last read (store/access.h), or since the copy was made. */
enum { AGES = 40, LOOK_MS = 5000, PAGE = 500 };

struct lru {
    struct job job;
    struct op op;
    struct arena arena, page_arena;
    struct bucket_page buckets;
    uint32_t bucket;
    bool evicting;
    uint64_t by_age[AGES]; /* bytes that were last read between 2^(i-1) and 2^i seconds ago */
    unsigned oldest;       /* of class `oldest` and above is evicted */
    uint64_t wanted, freed;
    int64_t now_s;
    char after[KEY_MAX];
    size_t after_n;
    struct obj_list_req list_req;
    struct obj_list_res page;
    uint32_t next;
    struct obj_delete_req drop_req;
    struct obj_delete_res drop;
};

static step_fn lru_start, lru_begin, lru_bucket, lru_list, lru_listed, lru_next, lru_dropped, lru_end;

/* ---- how full it is ---- */

/* Of the fullest directory, in percent; *over: bytes beyond `low` of all. BLOCKING, but for local file systems at once. */
static unsigned fullness(const struct job_space *s, unsigned low, uint64_t *over)
{
    unsigned most = 0;
    struct statvfs fs;

    *over = 0;
    for (size_t i = 0; i < s->dir_count; i++) {
        if (statvfs(s->dirs[i].p, &fs) != 0 || fs.f_blocks == 0)
            continue;
        uint64_t used = fs.f_blocks - fs.f_bavail, keep = fs.f_blocks / 100 * low;
        unsigned percent = (unsigned)(used * 100 / fs.f_blocks);
        most = percent > most ? percent : most;
        *over += used > keep ? (used - keep) * fs.f_frsize : 0;
    }
    return most;
}

/* What is here of such a bucket can be had again: from the remote, or by the view's ETLs. */
static bool is_cache(const struct bucket *b)
{
    return b->id.backend || b->id.view;
}

static bool any_cache(const struct job_env *env, struct arena *arena)
{
    struct bucket_page page = {0};
    struct str after = STR("");

    do {
        buckets_list(env->buckets, arena, STR(""), after, LIST_MAX, &page);
        for (uint32_t i = 0; i < page.count; i++)
            if (is_cache(&page.buckets[i]))
                return true;
        if (page.count)
            after = page.buckets[page.count - 1].id.name;
    } while (page.truncated);
    return false;
}

/* Asked twice a second; the answer is looked for now and then, and is kept for so long. */
static bool due(const struct job_env *env, struct arena *arena, struct str *id, struct str *spec)
{
    static _Atomic uint64_t looked_ns, is_full;
    uint64_t now = clock_mono_ns(), over;

    if (!env->space.dir_count)
        return false;
    if (!looked_ns || now - looked_ns > LOOK_MS * UINT64_C(1000000)) {
        looked_ns = now;
        is_full = fullness(&env->space, env->space.low, &over) > env->space.high && over > 0 && any_cache(env, arena);
    }
    if (!is_full)
        return false;
    *id = arena_printf(arena, "lru-" STR_FMT "-%lld", STR_ARG(env->self), (long long)(clock_wall_ns() / NS_PER_S / 60));
    *spec = arena_printf(arena, "{\"node\":\"" STR_FMT "\"}", STR_ARG(env->self));
    return true;
}

/* ---- the passes ---- */

static enum step_next lru_start(struct op *op)
{
    job_sleep(&OP(op, struct lru)->job, 1, op_call(op, lru_begin)); /* a job never ends within run() */
    return STEP_WAIT;
}

static enum step_next lru_begin(struct op *op)
{
    struct lru *l = OP(op, struct lru);

    (void)fullness(&l->job.env->space, l->job.env->space.low, &l->wanted);
    if (l->wanted == 0)
        return op_go(op, lru_end);
    l->now_s = clock_wall_ns() / NS_PER_S;
    return op_go(op, lru_bucket);
}

/* The next of these buckets; after the last, the second pass. */
static enum step_next lru_bucket(struct op *op)
{
    struct lru *l = OP(op, struct lru);
    const struct bucket_page *b = &l->buckets;

    if (l->bucket == b->count && (b->truncated || !b->buckets)) {
        char name[256] = "";
        size_t n = b->count ? b->buckets[b->count - 1].id.name.n : 0;
        if (n && n <= sizeof(name))
            memcpy(name, b->buckets[b->count - 1].id.name.p, n);
        arena_release(&l->arena);
        l->bucket = 0;
        buckets_list(l->job.env->buckets, &l->arena, STR(""), str_n(name, n), LIST_MAX, &l->buckets);
        if (l->buckets.count)
            return op_go(op, lru_bucket);
        l->buckets = (struct bucket_page){.buckets = ARENA_NEW(&l->arena, struct bucket)};
    }
    while (l->bucket < l->buckets.count && !is_cache(&l->buckets.buckets[l->bucket]))
        l->bucket++;
    l->after_n = 0;
    if (l->bucket < l->buckets.count)
        return op_go(op, lru_list);
    if (l->buckets.truncated)
        return op_go(op, lru_bucket);
    if (l->evicting)
        return op_go(op, lru_end);
    uint64_t sum = 0;
    for (l->oldest = AGES; l->oldest > 0 && sum < l->wanted;)
        sum += l->by_age[--l->oldest];
    l->evicting = true;
    l->buckets = (struct bucket_page){0};
    l->bucket = 0;
    return op_go(op, lru_bucket);
}

static enum step_next lru_list(struct op *op)
{
    struct lru *l = OP(op, struct lru);

    arena_release(&l->page_arena);
    l->list_req = (struct obj_list_req){.arena = &l->page_arena,
                                        .bucket = l->buckets.buckets[l->bucket].id,
                                        .after = str_n(l->after, l->after_n),
                                        .max = PAGE};
    store_obj_list(l->job.env->mine, &l->list_req, &l->page, op_try(op, lru_listed));
    return STEP_WAIT;
}

static enum step_next lru_listed(struct op *op)
{
    struct lru *l = OP(op, struct lru);

    if (op->call.err == ERR_NO_SUCH_BUCKET)
        l->page = (struct obj_list_res){0};
    else if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    l->next = 0;
    return op_go(op, lru_next);
}

static unsigned age_of(const struct lru *l, const struct list_entry *e)
{
    int64_t copied = e->mtime_ns / NS_PER_S, read = access_last_s(l->list_req.bucket.uid, e->key);
    int64_t age = l->now_s - (read > copied ? read : copied);
    unsigned class = 0;

    for (; age > 0 && class < AGES - 1; class ++)
        age >>= 1;
    return class;
}

static enum step_next lru_next(struct op *op)
{
    struct lru *l = OP(op, struct lru);

    for (; l->next < l->page.count; l->next++) {
        const struct list_entry *e = &l->page.entries[l->next];
        unsigned age = age_of(l, e);
        if (!job_leads(l->job.env, l->list_req.bucket, e->key))
            continue;
        if (!l->evicting) {
            l->by_age[age] += e->size;
        } else if (age >= l->oldest && l->freed < l->wanted) {
            l->drop_req = (struct obj_delete_req){
                .arena = &l->page_arena, .bucket = l->list_req.bucket, .key = e->key, .cond = COND_INIT, .evict = true};
            store_obj_delete(l->job.env->all, &l->drop_req, &l->drop, op_try(op, lru_dropped));
            return STEP_WAIT;
        }
    }
    if (l->page.count) {
        struct str last = l->page.entries[l->page.count - 1].key;
        memcpy(l->after, last.p, last.n);
        l->after_n = last.n;
    }
    if (l->page.truncated && !(l->evicting && l->freed >= l->wanted))
        return op_go(op, lru_list);
    l->bucket++;
    return op_go(op, lru_bucket);
}

static enum step_next lru_dropped(struct op *op)
{
    struct lru *l = OP(op, struct lru);
    const struct list_entry *e = &l->page.entries[l->next++];

    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    if (op->call.err != ERR_OK) {
        job_failed(&l->job, e->key, op->call.err);
    } else if (l->drop.existed) {
        l->job.ok++;
        l->job.bytes += e->size;
        l->freed += e->size;
    }
    return op_go(op, lru_next);
}

static enum step_next lru_end(struct op *op)
{
    struct lru *l = OP(op, struct lru);

    arena_release(&l->page_arena);
    arena_release(&l->arena);
    job_each_end(&l->job, op->err);
    return STEP_DONE;
}

static void run(struct job *job)
{
    struct lru *l = CONTAINER(job, struct lru, job);

    op_start(&l->op, job->env->loop, "lru", lru_start, lru_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct lru, job)->op, ERR_CANCELLED);
}

static enum err check(const struct doc *spec, char why[256])
{
    static const char *const names[] = {"node", NULL};

    return job_spec_known(spec, names, why);
}

const struct job_kind job_lru = {.name = "lru",
                                 .size = sizeof(struct lru),
                                 .startable = true,
                                 .per_cluster = true,
                                 .check = check,
                                 .run = run,
                                 .stop = stop,
                                 .due = due};
