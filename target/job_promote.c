#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "store/job_names.h"
#include "target/job_each.h"
#include "target/job_own.h"
#include "target/promote_files.h"

/* Files of targets become objects: {"bucket","path","object","recursive","overwrite","delete_source","not_shared"}. A file becomes `object`, or
 * what `object` ends in '/' with its name behind; the files of a directory `object` with their relative paths behind. Their names are
 * first kept in the system bucket, "jobs/<id>/files/<node>": work goes on from there. A path is taken for the same on all targets (a shared
 * file system) and each takes its share of the names, unless not_shared: then each takes what it has, and a path that one lacks is
 * no failure. */
struct promote {
    struct job job;
    struct op op;
    struct arena arena;
    struct promote_place place;
    struct str object;
    bool recursive, overwrite, remove, not_shared;
    bool is_file;
    struct buf names;
    struct offload_task task;
    struct system_bucket_res system;
    struct str key;
    struct body_check check;
    struct source *body;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct job_each each;
};

static step_fn promote_begin, promote_known, promote_walk_step, promote_walked, promote_keep, promote_kept,
    promote_each, promote_end;

/* ---- one file ---- */

struct one {
    struct op op;
    struct promote *promote;
    struct job_each_key *key;
    struct call *whole;
    struct promote_place place;
    struct offload_task task;
    int fd, watch; /* being read; the same file, kept to be compared */
    uint64_t size;
    struct source *body;
    struct body_check check;
    struct obj_put_req req;
    struct obj_put_res res;
};

static step_fn one_open, one_put, one_done, one_end;

static enum err open_run(struct offload_task *t)
{
    struct one *o = CONTAINER(t, struct one, task);
    enum err e = promote_open(&o->place, &o->fd, &o->size);

    if (e == ERR_OK && o->promote->remove && (o->watch = dup(o->fd)) < 0)
        e = ERR_IO;
    return e;
}

static enum err remove_run(struct offload_task *t)
{
    struct one *o = CONTAINER(t, struct one, task);

    return promote_remove(&o->place, o->watch);
}

static enum step_next one_open(struct op *op)
{
    struct one *o = OP(op, struct one);
    const struct promote *p = o->promote;

    o->place = p->place;
    o->place.name = p->is_file ? STR("") : o->key->key;
    offload_run(p->job.env->io, &o->task, open_run, op_call(op, one_put));
    return STEP_WAIT;
}

static struct str object_name(const struct one *o)
{
    const struct promote *p = o->promote;

    if (p->is_file && p->object.n && p->object.p[p->object.n - 1] != '/')
        return p->object;
    return arena_printf(o->key->arena, STR_FMT STR_FMT, STR_ARG(p->object), STR_ARG(o->key->key));
}

static enum step_next one_put(struct op *op)
{
    struct one *o = OP(op, struct one);
    const struct job_env *env = o->promote->job.env;
    struct str name = object_name(o);

    o->body = promote_source(op->loop, env->io, o->fd, o->size);
    o->fd = -1;
    if (name.n > KEY_MAX || !str_is_utf8(name))
        return op_fail(op, name.n > KEY_MAX ? ERR_KEY_TOO_LONG : ERR_INVALID_ARGUMENT);
    o->req = (struct obj_put_req){.arena = o->key->arena,
                                  .bucket = o->key->bucket->id,
                                  .key = name,
                                  .cond = COND_INIT,
                                  .body = o->body,
                                  .check = &o->check,
                                  .size_max = OBJECT_SIZE_MAX};
    if (!o->promote->overwrite)
        o->req.cond.if_none_match = STR("*");
    store_obj_put(env->all, &o->req, &o->res, op_try(op, one_done));
    return STEP_WAIT;
}

static enum step_next one_done(struct op *op)
{
    struct one *o = OP(op, struct one);

    o->key->skipped = op->call.err == ERR_PRECONDITION;
    if (o->key->skipped)
        return op_go(op, one_end);
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    o->key->bytes = o->res.info.size;
    if (!o->promote->remove)
        return op_go(op, one_end);
    offload_run(o->promote->job.env->io, &o->task, remove_run, op_call(op, one_end));
    return STEP_WAIT;
}

/* What an earlier process did and removed is no failure: the list's runner knows ERR_NO_SUCH_KEY. */
static enum step_next one_end(struct op *op)
{
    struct one *o = OP(op, struct one);

    source_close(o->body);
    if (o->fd >= 0)
        close(o->fd);
    if (o->watch >= 0)
        close(o->watch);
    call_finish(o->whole, op->err == ERR_NOT_FOUND ? ERR_NO_SUCH_KEY : op->err);
    return STEP_DONE;
}

static void one_cancel(void *arg)
{
    op_cancel(&((struct one *)arg)->op, ERR_CANCELLED);
}

static void promote_one(void *arg, struct job_each_key *key, struct call *call)
{
    struct one *o = ARENA_NEW(key->arena, struct one);

    o->promote = arg;
    o->key = key;
    o->whole = call;
    o->fd = o->watch = -1;
    op_start(&o->op, call->loop, "promote", one_open, one_end);
    call_on_cancel(call, one_cancel, o);
}

/* ---- the list ---- */

static enum step_next promote_begin(struct op *op)
{
    struct promote *p = OP(op, struct promote);

    system_bucket(p->job.env->buckets, &p->arena, &p->system, op_call(op, promote_known));
    return STEP_WAIT;
}

static enum err walk_run(struct offload_task *t)
{
    struct promote *p = CONTAINER(t, struct promote, task);

    return promote_walk(&p->place, p->recursive, &p->names, &p->is_file);
}

static enum step_next promote_known(struct op *op)
{
    struct promote *p = OP(op, struct promote);

    p->key = arena_printf(&p->arena, "jobs/" STR_FMT "/files/" STR_FMT, STR_ARG(p->job.id), STR_ARG(p->job.env->self));
    if (p->job.at[0] == '\0')
        return op_go(op, promote_walk_step);
    p->is_file = p->job.at[0] == 'f';
    return op_go(op, promote_each);
}

static enum step_next promote_walk_step(struct op *op)
{
    struct promote *p = OP(op, struct promote);

    offload_run(p->job.env->io, &p->task, walk_run, op_try(op, promote_walked));
    return STEP_WAIT;
}

/* The last part of the path. */
static struct str base_name(struct str path)
{
    size_t n;

    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    for (n = path.n; n && path.p[n - 1] != '/'; n--)
        ;
    return str_skip(path, n);
}

static enum step_next promote_walked(struct op *op)
{
    struct promote *p = OP(op, struct promote);
    enum err e = op->call.err;

    if (e == ERR_NOT_FOUND && p->not_shared)
        return op_go(op, promote_end);
    if (e != ERR_OK) {
        job_failed(&p->job, p->place.path, e);
        return op_fail(op, e);
    }
    if (p->is_file)
        job_names_add(&p->names, base_name(p->place.path));
    return p->names.n ? op_go(op, promote_keep) : op_go(op, promote_end);
}

static enum step_next promote_keep(struct op *op)
{
    struct promote *p = OP(op, struct promote);

    p->body = source_memory(buf_str(&p->names), NULL, NULL);
    p->put_req = (struct obj_put_req){.arena = &p->arena,
                                      .bucket = p->system.bucket.id,
                                      .key = p->key,
                                      .cond = COND_INIT,
                                      .body = p->body,
                                      .check = &p->check,
                                      .size_max = JOB_NAMES_TEXT_MAX};
    store_obj_put(p->job.env->all, &p->put_req, &p->put, op_call(op, promote_kept));
    return STEP_WAIT;
}

static enum step_next promote_kept(struct op *op)
{
    struct promote *p = OP(op, struct promote);

    buf_release(&p->names);
    snprintf(p->job.at, sizeof(p->job.at), "%c:0:n0", p->is_file ? 'f' : 'd');
    return op_go(op, promote_each);
}

static enum step_next promote_each(struct op *op)
{
    struct promote *p = OP(op, struct promote);
    struct buf text = BUF_INIT(JOB_SPEC_MAX);
    char why[DOC_WHY_MAX];
    struct doc *spec;
    enum err e;

    js_object(&text);
    js_put_str(&text, "bucket", job_spec_text(p->job.spec, STR("bucket")));
    js_put_str(&text, "names_in", p->key);
    js_end_object(&text);
    e = js_read(&p->arena, buf_str(&text), &spec, why);
    buf_release(&text);
    if (e != ERR_OK)
        return op_fail(op, e);
    p->each = (struct job_each){.job = &p->job,
                                .spec = spec,
                                .each = promote_one,
                                .arg = p,
                                .whoever = p->not_shared,
                                .phase = p->is_file ? 'f' : 'd'};
    job_each_run(&p->each, op_call(op, promote_end));
    return STEP_WAIT;
}

static enum step_next promote_end(struct op *op)
{
    struct promote *p = OP(op, struct promote);

    source_close(p->body);
    buf_release(&p->names);
    arena_release(&p->arena);
    job_each_end(&p->job, op->err);
    return STEP_DONE;
}

/* ---- the kind ---- */

static void run(struct job *job)
{
    struct promote *p = CONTAINER(job, struct promote, job);
    const struct doc *spec = job->spec;

    p->place = (struct promote_place){job->env->promote_dirs, job_spec_text(spec, STR("path")), STR("")};
    p->object = job_spec_text(spec, STR("object"));
    p->recursive = job_spec_flag(spec, STR("recursive"));
    p->overwrite = job_spec_flag(spec, STR("overwrite"));
    p->remove = job_spec_flag(spec, STR("delete_source"));
    p->not_shared = job_spec_flag(spec, STR("not_shared")) || doc_get(spec, STR("node"));
    buf_init(&p->names, JOB_NAMES_TEXT_MAX);
    op_start(&p->op, job->env->loop, "promote", promote_begin, promote_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct promote, job)->op, ERR_CANCELLED);
}

static enum err check(const struct doc *spec, char why[256])
{
    static const char *const names[] = {"bucket",        "path",       "object", "recursive", "overwrite",
                                        "delete_source", "not_shared", "node",   NULL};
    struct str bucket = job_spec_text(spec, STR("bucket")), path = job_spec_text(spec, STR("path"));
    enum err e = job_spec_known(spec, names, why);

    if (e != ERR_OK)
        return e;
    if (bucket.n == 0 || bucket_is_system(bucket))
        snprintf(why, 256, "\"bucket\" names the bucket that gets the objects");
    else if (path.n == 0 || path.p[0] != '/' || path.n >= PROMOTE_PATH_MAX)
        snprintf(why, 256, "\"path\" is an absolute path");
    else
        return ERR_OK;
    return ERR_INVALID_ARGUMENT;
}

const struct job_kind job_promote = {
    .name = "promote", .size = sizeof(struct promote), .startable = true, .check = check, .run = run, .stop = stop};
