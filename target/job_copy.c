#include <stdio.h>

#include "base/json.h"
#include "target/job_each.h"
#include "target/job_own.h"
#include "target/job_transform.h"

/* Objects of one bucket into another, or under other names: {"bucket",selection,"to","prepend","ext":{"from":"to"},"dry_run","force",
 * "workers","stop_on_error","synchronize","latest"}. With `synchronize` what the source has not is deleted in the destination: names of a
 * list at once, of a prefix in a second pass over the destination. `force` and `latest` ask for what is always so: nothing else keeps a copy
 * from being made, and a bucket's objects are read as they are now. The kinds "etl" and "etl-list" have two members more, "etl": the objects
 * go through those ETLs on their way, with "members" each member of an archive for itself; a dry run does that, too. What a crashed process had finished they find by its age, and don't do again.
 * All results are in the report, not only failures. */
enum { EXT_MAX = 64 };

struct copy {
    struct job job;
    struct op op;
    struct arena arena;
    struct bucket_look_req look_req;
    struct bucket_look_res looked;
    struct bucket from, to;
    struct job_each each;
    bool dry, synchronize;
    struct str prepend;
    const struct doc *ext;
    const struct etl_stage *stages;
    size_t stage_count; /* 0: nothing but a copy */
};

static step_fn copy_begin, copy_from, copy_found, copy_all, copy_copied, copy_tidy, copy_end;

/* ---- the name that a copy gets ---- */

/* What follows the last dot of the last part of the name becomes another. */
static struct str new_extension(const struct copy *c, struct str key, size_t *stem)
{
    for (size_t i = key.n; i-- > 0 && key.p[i] != '/';) {
        const struct doc *to;
        if (key.p[i] != '.')
            continue;
        *stem = i + 1;
        to = doc_get(c->ext, str_skip(key, i + 1));
        return to ? to->text : STR_NONE;
    }
    return STR_NONE;
}

static struct str new_name(const struct copy *c, struct arena *a, struct str key)
{
    size_t stem = 0;
    struct str ext = new_extension(c, key, &stem);

    if (!ext.p)
        return arena_printf(a, STR_FMT STR_FMT, STR_ARG(c->prepend), STR_ARG(key));
    return arena_printf(a, STR_FMT "%.*s" STR_FMT, STR_ARG(c->prepend), (int)stem, key.p, STR_ARG(ext));
}

/* ---- one object ---- */

struct one {
    struct op op;
    struct copy *copy;
    struct job_each_key *key;
    struct call *whole;
    struct str name; /* in the destination */
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_copy_req req;
    struct obj_copy_res res;
    struct obj_delete_req del_req;
    struct obj_delete_res del;
    struct job_transform_req transform_req;
    struct job_transform_res transform;
};

static step_fn one_copy, one_looked, one_copied, one_transformed, one_source, one_gone, one_deleted, one_end;

static enum step_next one_copy(struct op *op)
{
    struct one *o = OP(op, struct one);
    struct copy *c = o->copy;
    struct arena *a = o->key->arena;

    o->name = new_name(c, a, o->key->key);
    if (o->name.n > KEY_MAX)
        return op_fail(op, ERR_KEY_TOO_LONG);
    if (c->stage_count) {
        o->key->to = o->name;
        o->transform_req =
            (struct job_transform_req){.arena = a,
                                       .env = c->job.env,
                                       .stages = c->stages,
                                       .stage_count = c->stage_count,
                                       .from = c->from.id,
                                       .to = c->to.id,
                                       .key = o->key->key,
                                       .name = o->name,
                                       .members = job_spec_flag(c->job.spec, STR("members")),
                                       .dry = c->dry,
                                       .since_ns = o->key->again ? (int64_t)c->job.part->began_ms * 1000000 : 0};
        job_transform(&o->transform_req, &o->transform, op_try(op, one_transformed));
        return STEP_WAIT;
    }
    if (c->dry) {
        o->head_req = (struct obj_head_req){.arena = a, .bucket = c->from.id, .key = o->key->key, .cond = COND_INIT};
        store_obj_head(c->job.env->all, &o->head_req, &o->head, op_call(op, one_looked));
        return STEP_WAIT;
    }
    o->key->skipped = c->from.id.uid == c->to.id.uid && str_eq(o->name, o->key->key);
    if (o->key->skipped)
        return op_go(op, one_end);
    o->req = (struct obj_copy_req){.arena = a,
                                   .src_bucket = c->from.id,
                                   .src_key = o->key->key,
                                   .src_cond = COND_INIT,
                                   .bucket = c->to.id,
                                   .key = o->name,
                                   .cond = COND_INIT,
                                   .size_max = OBJECT_SIZE_MAX};
    store_obj_copy(c->job.env->all, &o->req, &o->res, op_try(op, one_copied));
    return STEP_WAIT;
}

static enum step_next one_looked(struct op *op)
{
    struct one *o = OP(op, struct one);

    o->key->bytes = o->head.info.size; /* that would be moved */
    return op_go(op, one_end);
}

static enum step_next one_copied(struct op *op)
{
    struct one *o = OP(op, struct one);

    if (op->call.err == ERR_NO_SUCH_KEY && o->copy->synchronize)
        return op_go(op, one_gone);
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    o->key->bytes = o->res.info.size;
    return op_go(op, one_end);
}

static enum step_next one_transformed(struct op *op)
{
    struct one *o = OP(op, struct one);

    if (op->call.err == ERR_NO_SUCH_KEY && o->copy->synchronize)
        return op_go(op, one_gone);
    o->key->text = o->transform.text;
    o->key->bytes = o->transform.bytes;
    return op->call.err == ERR_OK ? op_go(op, one_end) : op_fail(op, op->call.err);
}

/* Of the second pass: the key is one of the destination. */
static enum step_next one_source(struct op *op)
{
    struct one *o = OP(op, struct one);

    o->name = o->key->key;
    o->head_req = (struct obj_head_req){
        .arena = o->key->arena, .bucket = o->copy->from.id, .key = o->key->key, .cond = COND_INIT};
    store_obj_head(o->copy->job.env->all, &o->head_req, &o->head, op_try(op, one_gone));
    return STEP_WAIT;
}

static enum step_next one_gone(struct op *op)
{
    struct one *o = OP(op, struct one);

    o->key->skipped = op->call.err == ERR_OK;
    if (op->call.err == ERR_OK)
        return op_go(op, one_end);
    if (op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    o->del_req =
        (struct obj_delete_req){.arena = o->key->arena, .bucket = o->copy->to.id, .key = o->name, .cond = COND_INIT};
    store_obj_delete(o->copy->job.env->all, &o->del_req, &o->del, op_call(op, one_deleted));
    return STEP_WAIT;
}

static enum step_next one_deleted(struct op *op)
{
    return op_go(op, one_end);
}

static enum step_next one_end(struct op *op)
{
    call_finish(OP(op, struct one)->whole, op->err);
    return STEP_DONE;
}

static void one_cancel(void *arg)
{
    op_cancel(&((struct one *)arg)->op, ERR_CANCELLED);
}

static void begin_one(struct copy *c, struct job_each_key *key, struct call *call, step_fn *first)
{
    struct one *o = ARENA_NEW(key->arena, struct one);

    o->copy = c;
    o->key = key;
    o->whole = call;
    op_start(&o->op, call->loop, "copy", first, one_end);
    call_on_cancel(call, one_cancel, o);
}

static void copy_one(void *arg, struct job_each_key *key, struct call *call)
{
    begin_one(arg, key, call, one_copy);
}

static void tidy_one(void *arg, struct job_each_key *key, struct call *call)
{
    begin_one(arg, key, call, one_source);
}

/* ---- the job ---- */

static enum step_next copy_begin(struct op *op)
{
    struct copy *c = OP(op, struct copy);
    const struct doc *spec = c->job.spec;
    char why[256];

    c->dry = job_spec_flag(spec, STR("dry_run"));
    c->synchronize = job_spec_flag(spec, STR("synchronize")) && !c->dry;
    c->prepend = job_spec_text(spec, STR("prepend"));
    c->ext = doc_get(spec, STR("ext"));
    if (doc_get(spec, STR("etl")) && job_stages(&c->arena, spec, &c->stages, &c->stage_count, why) != ERR_OK)
        return op_fail(op, ERR_INVALID_ARGUMENT);
    c->look_req = (struct bucket_look_req){&c->arena, job_spec_text(spec, STR("bucket"))};
    buckets_look(c->job.env->buckets, &c->look_req, &c->looked, op_call(op, copy_from));
    return STEP_WAIT;
}

static enum step_next copy_from(struct op *op)
{
    struct copy *c = OP(op, struct copy);

    c->from = c->looked.bucket;
    c->look_req.name = job_spec_text(c->job.spec, STR("to"));
    buckets_look(c->job.env->buckets, &c->look_req, &c->looked, op_call(op, copy_found));
    return STEP_WAIT;
}

static enum step_next copy_found(struct op *op)
{
    struct copy *c = OP(op, struct copy);

    c->to = c->looked.bucket;
    return job_each_phase(&c->job) == 'b' ? op_go(op, copy_tidy) : op_go(op, copy_all);
}

static enum step_next copy_all(struct op *op)
{
    struct copy *c = OP(op, struct copy);

    c->each = (struct job_each){.job = &c->job,
                                .each = copy_one,
                                .arg = c,
                                .workers = (unsigned)job_spec_number(c->job.spec, STR("workers"), 0),
                                .tells_all = c->stage_count > 0,
                                .stop_on_error = job_spec_flag(c->job.spec, STR("stop_on_error"))};
    job_each_run(&c->each, op_call(op, copy_copied));
    return STEP_WAIT;
}

static enum step_next copy_copied(struct op *op)
{
    struct copy *c = OP(op, struct copy);

    return c->synchronize && doc_get(c->job.spec, STR("prefix")) ? op_go(op, copy_tidy) : op_go(op, copy_end);
}

/* Every object of the destination under the prefix. */
static enum step_next copy_tidy(struct op *op)
{
    struct copy *c = OP(op, struct copy);
    struct buf text = BUF_INIT(JOB_SPEC_MAX);
    char why[DOC_WHY_MAX];
    struct doc *spec;
    enum err e;

    js_object(&text);
    js_put_str(&text, "bucket", c->to.id.name);
    js_put_str(&text, "prefix", job_spec_text(c->job.spec, STR("prefix")));
    js_end_object(&text);
    e = js_read(&c->arena, buf_str(&text), &spec, why);
    buf_release(&text);
    if (e != ERR_OK)
        return op_fail(op, e);
    c->each = (struct job_each){.job = &c->job, .spec = spec, .each = tidy_one, .arg = c, .phase = 'b'};
    job_each_run(&c->each, op_call(op, copy_end));
    return STEP_WAIT;
}

static enum step_next copy_end(struct op *op)
{
    struct copy *c = OP(op, struct copy);

    arena_release(&c->arena);
    job_each_end(&c->job, op->err);
    return STEP_DONE;
}

static void run(struct job *job)
{
    op_start(&CONTAINER(job, struct copy, job)->op, job->env->loop, "copy", copy_begin, copy_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct copy, job)->op, ERR_CANCELLED);
}

/* ---- what can be asked ---- */

static enum err refuse(char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return ERR_INVALID_ARGUMENT;
}

static enum err check_ext(const struct doc *ext, char why[256])
{
    if (ext->kind != DOC_MAP || ext->count > EXT_MAX)
        return refuse(why, "\"ext\" maps at most 64 extensions to others");
    for (const struct doc *d = ext->first; d; d = d->next)
        if (d->kind != DOC_SCALAR)
            return refuse(why, "\"ext\" maps extensions to extensions");
    return ERR_OK;
}

/* A listing must not find the copies that it leads to. */
static bool would_chase_itself(const struct doc *spec)
{
    struct str template = job_spec_text(spec, STR("template"));
    bool by_prefix =
        doc_get(spec, STR("prefix")) || (doc_get(spec, STR("template")) && str_find_char(template, '{') == SIZE_MAX &&
                                         str_find_char(template, '@') == SIZE_MAX);

    return by_prefix && !job_spec_flag(spec, STR("dry_run")) &&
           str_eq(job_spec_text(spec, STR("to")), job_spec_text(spec, STR("bucket")));
}

static enum err check_names(const struct doc *spec, const char *const *names, char why[256])
{
    const struct doc *ext = doc_get(spec, STR("ext"));
    struct str to = job_spec_text(spec, STR("to"));
    enum err e;

    if ((e = job_select_check(spec, why)) != ERR_OK || (e = job_spec_known(spec, names, why)) != ERR_OK ||
        (ext && (e = check_ext(ext, why)) != ERR_OK))
        return e;
    if (to.n == 0 || bucket_is_system(to))
        return refuse(why, "\"to\" names the bucket that gets the copies");
    if (job_spec_text(spec, STR("prepend")).n > KEY_MAX)
        return refuse(why, "\"prepend\" is a text of at most 1024 bytes");
    if (would_chase_itself(spec))
        return refuse(why, "a bucket can't be copied into itself: the copies would be copied again");
    if (job_spec_flag(spec, STR("synchronize")) && (job_spec_text(spec, STR("prepend")).n || ext))
        return refuse(why, "\"synchronize\" compares equal names: not with \"prepend\" or \"ext\"");
    return ERR_OK;
}

#define NAMES                                                                                                          \
    "bucket", "names", "names_in", "template", "prefix", "to", "prepend", "ext", "dry_run", "workers",                 \
        "stop_on_error", "synchronize", "force", "latest"

static enum err check(const struct doc *spec, char why[256])
{
    static const char *const names[] = {NAMES, NULL};

    return check_names(spec, names, why);
}

static enum err check_transform(const struct doc *spec, char why[256])
{
    static const char *const names[] = {NAMES, "etl", "members", NULL};
    struct arena arena = ARENA_INIT;
    const struct etl_stage *stages;
    size_t count;
    enum err e = check_names(spec, names, why);

    if (e == ERR_OK)
        e = job_stages(&arena, spec, &stages, &count, why);
    arena_release(&arena);
    return e;
}

/* The same by other names: how front ends tell a bucket's copy from that of a list. */
const struct job_kind job_copy = {
    .name = "copy", .size = sizeof(struct copy), .startable = true, .check = check, .run = run, .stop = stop};
const struct job_kind job_copy_list = {
    .name = "copy-list", .size = sizeof(struct copy), .startable = true, .check = check, .run = run, .stop = stop};
const struct job_kind job_etl = {
    .name = "etl", .size = sizeof(struct copy), .startable = true, .check = check_transform, .run = run, .stop = stop};
const struct job_kind job_etl_list = {.name = "etl-list",
                                      .size = sizeof(struct copy),
                                      .startable = true,
                                      .check = check_transform,
                                      .run = run,
                                      .stop = stop};
