#include "store/access.h"
#include "target/job_each.h"
#include "target/job_own.h"

/* Cached copies of remote objects (store/backend.h): "prefetch-list" brings them here, "evict-list" drops them. {"bucket",selection,"workers",
 * "latest"}; `latest`: what is here is compared with the remote first. A name of a list that is not there is a failure. */
struct cache {
    struct job job;
    struct job_each each;
    struct call call;
    bool latest;
};

static enum err about_remotes(const struct bucket *b)
{
    return b->id.backend ? ERR_OK : ERR_INVALID_REQUEST;
}

/* ---- prefetch ---- */

struct fetch {
    struct call call;
    struct call *whole;
    struct job_each_key *key;
    struct obj_head_req look, req; /* whether it is here; then: that it is */
    struct obj_head_res res;
    const struct cache *cache;
};

static void fetched(struct call *c)
{
    struct fetch *f = CONTAINER(c, struct fetch, call);

    f->key->bytes = f->res.info.size;
    call_finish(f->whole, c->err);
}

static void fetch_cancel(void *arg)
{
    call_cancel(&((struct fetch *)arg)->call);
}

static void fetch_now(struct fetch *f)
{
    call_begin(&f->call, f->whole->loop, fetched);
    call_on_cancel(f->whole, fetch_cancel, f);
    store_obj_head(f->cache->job.env->all, &f->req, &f->res, &f->call);
}

static void looked(struct call *c)
{
    struct fetch *f = CONTAINER(c, struct fetch, call);

    if (c->err == ERR_NO_SUCH_KEY) {
        fetch_now(f);
        return;
    }
    f->key->skipped = c->err == ERR_OK;
    call_finish(f->whole, c->err);
}

static void fetch_one(void *arg, struct job_each_key *key, struct call *call)
{
    struct fetch *f = ARENA_NEW(key->arena, struct fetch);

    f->whole = call;
    f->key = key;
    f->cache = arg;
    f->req = (struct obj_head_req){.arena = key->arena, .bucket = key->bucket->id, .key = key->key, .cond = COND_INIT};
    f->look = f->req;
    f->look.cached = true;
    f->req.fetch = true;
    f->req.latest = f->cache->latest;
    if (about_remotes(key->bucket) != ERR_OK) {
        call_finish(call, ERR_INVALID_REQUEST);
    } else if (f->cache->latest) {
        fetch_now(f);
    } else {
        call_begin(&f->call, call->loop, looked);
        call_on_cancel(call, fetch_cancel, f);
        store_obj_head(f->cache->job.env->all, &f->look, &f->res, &f->call);
    }
}

/* ---- evict ---- */

struct drop {
    struct call call;
    struct call *whole;
    struct obj_delete_req req;
    struct obj_delete_res res;
};

static void dropped(struct call *c)
{
    struct drop *d = CONTAINER(c, struct drop, call);

    call_finish(d->whole, c->err == ERR_OK && !d->res.existed ? ERR_NO_SUCH_KEY : c->err);
}

static void drop_one(void *arg, struct job_each_key *key, struct call *call)
{
    struct drop *d = ARENA_NEW(key->arena, struct drop);

    d->whole = call;
    d->req = (struct obj_delete_req){
        .arena = key->arena, .bucket = key->bucket->id, .key = key->key, .cond = COND_INIT, .evict = true};
    call_begin(&d->call, call->loop, dropped);
    store_obj_delete(((struct cache *)arg)->job.env->all, &d->req, &d->res, &d->call);
}

/* ---- the jobs ---- */

static void ended(struct call *c)
{
    job_each_end(&CONTAINER(c, struct cache, call)->job, c->err);
}

static void run(struct job *job, void (*each)(void *, struct job_each_key *, struct call *), bool cached)
{
    struct cache *c = CONTAINER(job, struct cache, job);

    c->latest = job_spec_flag(job->spec, STR("latest"));
    c->each = (struct job_each){.job = job,
                                .each = each,
                                .arg = c,
                                .workers = (unsigned)job_spec_number(job->spec, STR("workers"), 0),
                                .cached = cached};
    call_begin(&c->call, job->env->loop, ended);
    job_each_run(&c->each, &c->call);
}

static void run_prefetch(struct job *job)
{
    run(job, fetch_one, false);
}

static void run_evict(struct job *job)
{
    run(job, drop_one, true);
}

static void stop(struct job *job)
{
    call_cancel(&CONTAINER(job, struct cache, job)->call);
}

static enum err check(const struct doc *spec, char why[256])
{
    static const char *const names[] = {"bucket", "names", "names_in", "template", "prefix", "workers", "latest", NULL};
    enum err e = job_select_check(spec, why);

    return e == ERR_OK ? job_spec_known(spec, names, why) : e;
}

const struct job_kind job_prefetch = {.name = "prefetch-list",
                                      .size = sizeof(struct cache),
                                      .startable = true,
                                      .check = check,
                                      .run = run_prefetch,
                                      .stop = stop};
const struct job_kind job_evict = {.name = "evict-list",
                                   .size = sizeof(struct cache),
                                   .startable = true,
                                   .check = check,
                                   .run = run_evict,
                                   .stop = stop};
