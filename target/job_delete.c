#include "target/job_each.h"
#include "target/job_own.h"

/* Deletes objects: {"bucket",selection,"workers"}. A name of a list that is not there is a failure; of a template it is passed over. */
struct deletion {
    struct job job;
    struct job_each each;
    struct call call;
};

struct one {
    struct call call;
    struct call *whole;
    struct job_each_key *key;
    struct obj_delete_req req;
    struct obj_delete_res res;
};

static void deleted(struct call *c)
{
    struct one *o = CONTAINER(c, struct one, call);

    call_finish(o->whole, c->err == ERR_OK && !o->res.existed ? ERR_NO_SUCH_KEY : c->err);
}

static void delete_one(void *arg, struct job_each_key *key, struct call *call)
{
    struct deletion *d = arg;
    struct one *o = ARENA_NEW(key->arena, struct one);

    o->whole = call;
    o->key = key;
    o->req =
        (struct obj_delete_req){.arena = key->arena, .bucket = key->bucket->id, .key = key->key, .cond = COND_INIT};
    call_begin(&o->call, call->loop, deleted);
    store_obj_delete(d->job.env->all, &o->req, &o->res, &o->call);
}

static void ended(struct call *c)
{
    job_each_end(&CONTAINER(c, struct deletion, call)->job, c->err);
}

static void run(struct job *job)
{
    struct deletion *d = CONTAINER(job, struct deletion, job);

    d->each = (struct job_each){
        .job = job, .each = delete_one, .arg = d, .workers = (unsigned)job_spec_number(job->spec, STR("workers"), 0)};
    call_begin(&d->call, job->env->loop, ended);
    job_each_run(&d->each, &d->call);
}

static void stop(struct job *job)
{
    call_cancel(&CONTAINER(job, struct deletion, job)->call);
}

static enum err check(const struct doc *spec, char why[256])
{
    static const char *const names[] = {"bucket", "names", "names_in", "template", "prefix", "workers", NULL};
    enum err e = job_select_check(spec, why);

    return e == ERR_OK ? job_spec_known(spec, names, why) : e;
}

const struct job_kind job_delete = {.name = "delete-list",
                                    .size = sizeof(struct deletion),
                                    .startable = true,
                                    .check = check,
                                    .run = run,
                                    .stop = stop};
