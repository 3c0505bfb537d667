/* Once a day: the inventories that buckets ask for (store/inventory.h), each made by the target that leads its name. A restart begins those of
 * its node anew, under another time. */
#include "base/clock.h"
#include "store/inventory.h"
#include "target/inventory_list.h"
#include "target/job_each.h"
#include "target/job_own.h"

enum { WEEK_DAYS = 7, FIRST_SUNDAY = 3 }; /* days after 1970-01-01, a Thursday */

struct inv {
    struct job job;
    struct op op;
    struct arena arena, one_arena;
    struct bucket_page buckets;
    uint32_t bucket;
    char conf[INVENTORY_ID_MAX + 16]; /* name of the document that is done */
    size_t conf_n;
    struct bucket to;
    struct inventory_list list;
};

static step_fn inv_start, inv_page, inv_bucket, inv_conf, inv_done, inv_end;

static int64_t day_number(const struct job_env *env)
{
    return clock_wall_ns() / NS_PER_S / (env->lifecycle_day_s ? env->lifecycle_day_s : 86400);
}

/* Asked twice a second. A day without configurations makes no job. */
static bool due(const struct job_env *env, struct arena *arena, struct str *id, struct str *spec)
{
    if (!env->confs || !bucket_conf_any(env->confs, INVENTORY_DOC))
        return false;
    *id = arena_printf(arena, "inventory-%lld", (long long)day_number(env));
    *spec = STR("{}");
    return true;
}

static enum step_next inv_start(struct op *op)
{
    struct inv *v = OP(op, struct inv);

    job_sleep(&v->job, 1, op_call(op, inv_page)); /* a job never ends within run() */
    return STEP_WAIT;
}

static enum step_next inv_page(struct op *op)
{
    struct inv *v = OP(op, struct inv);
    char name[256] = "";
    size_t n = v->buckets.count ? v->buckets.buckets[v->buckets.count - 1].id.name.n : 0;

    if (n && n <= sizeof(name))
        memcpy(name, v->buckets.buckets[v->buckets.count - 1].id.name.p, n);
    arena_release(&v->arena);
    v->bucket = 0;
    buckets_list(v->job.env->buckets, &v->arena, STR(""), str_n(name, n), LIST_MAX, &v->buckets);
    return op_go(op, v->buckets.count ? inv_bucket : inv_end);
}

static enum step_next inv_bucket(struct op *op)
{
    struct inv *v = OP(op, struct inv);

    v->conf_n = 0;
    if (v->bucket == v->buckets.count)
        return op_go(op, v->buckets.truncated ? inv_page : inv_end);
    return op_go(op, inv_conf);
}

static bool is_due(const struct inv *v, const struct inventory *conf)
{
    return conf && conf->enabled && (!conf->weekly || day_number(v->job.env) % WEEK_DAYS == FIRST_SUNDAY);
}

/* The next configuration of the bucket that is this node's to carry out. */
static enum step_next inv_conf(struct op *op)
{
    struct inv *v = OP(op, struct inv);
    const struct bucket_id *b = &v->buckets.buckets[v->bucket].id;
    const struct inventory *conf;
    const struct bucket_doc *d;
    struct str name;

    for (;;) {
        arena_release(&v->one_arena);
        d = bucket_conf_next(v->job.env->confs, &v->one_arena, b->uid, INVENTORY_DOC, str_n(v->conf, v->conf_n), &name);
        if (!d || name.n > sizeof(v->conf)) {
            v->bucket++;
            return op_go(op, inv_bucket);
        }
        memcpy(v->conf, name.p, name.n);
        v->conf_n = name.n;
        conf = d->parsed;
        if (!is_due(v, conf) || !job_leads(v->job.env, *b, name))
            continue;
        if (buckets_find(v->job.env->buckets, &v->one_arena, conf->bucket, &v->to) == ERR_OK)
            break;
        job_failed(&v->job, name, ERR_NO_SUCH_BUCKET);
    }
    v->list = (struct inventory_list){.job = &v->job, .conf = conf, .from = *b, .to = v->to.id};
    inventory_list_run(&v->list, op_try(op, inv_done));
    return STEP_WAIT;
}

static enum step_next inv_done(struct op *op)
{
    struct inv *v = OP(op, struct inv);

    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    if (op->call.err != ERR_OK)
        job_failed(&v->job, str_n(v->conf, v->conf_n), op->call.err);
    else
        v->job.ok++;
    return op_go(op, inv_conf);
}

static enum step_next inv_end(struct op *op)
{
    struct inv *v = OP(op, struct inv);

    arena_release(&v->one_arena);
    arena_release(&v->arena);
    job_each_end(&v->job, op->err);
    return STEP_DONE;
}

static void run(struct job *job)
{
    struct inv *v = CONTAINER(job, struct inv, job);

    op_start(&v->op, job->env->loop, "inventory", inv_start, inv_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct inv, job)->op, ERR_CANCELLED);
}

const struct job_kind job_inventory = {.name = "inventory",
                                       .size = sizeof(struct inv),
                                       .startable = true,
                                       .per_cluster = true,
                                       .run = run,
                                       .stop = stop,
                                       .due = due};
