#include "base/clock.h"
#include "store/bucket_conf.h"
#include "store/lifecycle.h"
#include "target/job_each.h"
#include "target/job_own.h"
#include "target/life_versions.h"

/* Once a day: deletes the objects and gives up the uploads whose time has come by the rules of their bucket (store/lifecycle.h). Every node looks at
 * the keys that it leads. An object that changed since it was listed stays. */
enum { PAGE = 500 };
#define DOCUMENT STR("lifecycle")

struct life {
    struct job job;
    struct op op;
    struct arena arena, page_arena, one_arena;
    struct bucket_page buckets;
    uint32_t bucket;
    const struct lifecycle *rules;
    int64_t now_s;
    char after[STORE_KEY_MAX];
    size_t after_n;
    struct obj_list_req list_req;
    struct obj_list_res page;
    uint32_t next;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
    char pin[ETAG_MAX + 2];
    struct upload_list_req uploads_req;
    struct upload_list_res uploads;
    struct upload_abort_req abort_req;
    struct upload_abort_res aborted;
    struct life_versions versions;
};

static step_fn life_start, life_page, life_bucket, life_list, life_listed, life_next, life_headed, life_deleted,
    life_uploads, life_uploads_listed, life_upload, life_aborted, life_versions, life_next_bucket, life_end;

static int64_t day_of(const struct job_env *env)
{
    return env->lifecycle_day_s ? env->lifecycle_day_s : LIFECYCLE_DAY_S;
}

/* Asked twice a second. A day without rules makes no job. */
static bool due(const struct job_env *env, struct arena *arena, struct str *id, struct str *spec)
{
    int64_t day = clock_wall_ns() / NS_PER_S / day_of(env);

    if (!env->confs || !bucket_conf_any(env->confs, DOCUMENT))
        return false;
    *id = arena_printf(arena, "lifecycle-%lld", (long long)day);
    *spec = STR("{}");
    return true;
}

/* ---- buckets ---- */

static enum step_next life_start(struct op *op)
{
    struct life *l = OP(op, struct life);

    l->now_s = clock_wall_ns() / NS_PER_S;
    job_sleep(&l->job, 1, op_call(op, life_page)); /* a job never ends within run() */
    return STEP_WAIT;
}

static enum step_next life_page(struct op *op)
{
    struct life *l = OP(op, struct life);
    char name[256] = "";
    size_t n = l->buckets.count ? l->buckets.buckets[l->buckets.count - 1].id.name.n : 0;

    if (n && n <= sizeof(name))
        memcpy(name, l->buckets.buckets[l->buckets.count - 1].id.name.p, n);
    arena_release(&l->arena);
    l->bucket = 0;
    buckets_list(l->job.env->buckets, &l->arena, STR(""), str_n(name, n), LIST_MAX, &l->buckets);
    return op_go(op, l->buckets.count ? life_bucket : life_end);
}

static enum step_next life_bucket(struct op *op)
{
    struct life *l = OP(op, struct life);
    const struct bucket_doc *d = NULL;

    for (; l->bucket < l->buckets.count; l->bucket++) {
        const struct bucket_id *b = &l->buckets.buckets[l->bucket].id;
        if (!b->backend && !b->view && (d = bucket_conf_find(l->job.env->confs, &l->arena, b->uid, DOCUMENT)) &&
            d->parsed)
            break;
    }
    if (l->bucket == l->buckets.count)
        return op_go(op, l->buckets.truncated ? life_page : life_end);
    l->rules = d->parsed;
    l->after_n = 0;
    return op_go(op, life_list);
}

/* ---- objects ---- */

static enum step_next life_list(struct op *op)
{
    struct life *l = OP(op, struct life);

    arena_release(&l->page_arena);
    l->list_req = (struct obj_list_req){.arena = &l->page_arena,
                                        .bucket = l->buckets.buckets[l->bucket].id,
                                        .after = str_n(l->after, l->after_n),
                                        .max = PAGE};
    store_obj_list(l->job.env->mine, &l->list_req, &l->page, op_try(op, life_listed));
    return STEP_WAIT;
}

static enum step_next life_listed(struct op *op)
{
    struct life *l = OP(op, struct life);

    if (op->call.err == ERR_NO_SUCH_BUCKET)
        l->page = (struct obj_list_res){0};
    else if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    l->next = 0;
    return op_go(op, life_next);
}

static bool is_over(const struct life *l, const struct list_entry *e, const struct object_info *info)
{
    struct lifecycle_object o = {.key = e->key, .size = e->size, .mtime_s = e->mtime_ns / NS_PER_S};

    if (info) {
        o.tags = info->tags;
        o.tags_known = true;
    }
    return lifecycle_ends(l->rules, &o, day_of(l->job.env), NULL) <= l->now_s;
}

static enum step_next life_next(struct op *op)
{
    struct life *l = OP(op, struct life);

    arena_release(&l->one_arena);
    for (; l->next < l->page.count; l->next++) {
        const struct list_entry *e = &l->page.entries[l->next];
        if (!is_over(l, e, NULL) || !job_leads(l->job.env, l->list_req.bucket, e->key))
            continue;
        l->head_req = (struct obj_head_req){
            .arena = &l->one_arena, .bucket = l->list_req.bucket, .key = e->key, .cond = COND_INIT};
        store_obj_head(l->job.env->all, &l->head_req, &l->head, op_try(op, life_headed));
        return STEP_WAIT;
    }
    if (l->page.count) {
        struct str last = l->page.entries[l->page.count - 1].key;
        memcpy(l->after, last.p, last.n);
        l->after_n = last.n;
    }
    return op_go(op, l->page.truncated ? life_list : life_uploads);
}

static enum step_next failed(struct life *l, struct str key, enum err e, step_fn *next)
{
    if (e == ERR_CANCELLED)
        return op_fail(&l->op, e);
    if (e != ERR_OK && e != ERR_NO_SUCH_KEY && e != ERR_NO_SUCH_UPLOAD && e != ERR_PRECONDITION)
        job_failed(&l->job, key, e);
    return op_go(&l->op, next);
}

/* As it is now: it may be younger than what was listed, or another object. */
static enum step_next life_headed(struct op *op)
{
    struct life *l = OP(op, struct life);
    struct list_entry now = l->page.entries[l->next];
    const struct object_info *info = &l->head.info;
    size_t n = info->etag.n;

    now.size = info->size;
    now.mtime_ns = info->mtime_ns;
    if (op->call.err != ERR_OK || !is_over(l, &now, info)) {
        l->next++;
        return failed(l, now.key, op->call.err, life_next);
    }
    l->pin[0] = l->pin[n + 1] = '"';
    memcpy(l->pin + 1, info->etag.text, n);
    l->delete_req = (struct obj_delete_req){.arena = &l->one_arena,
                                            .bucket = l->list_req.bucket,
                                            .key = now.key,
                                            .cond = COND_INIT,
                                            .cause = &life_expired};
    l->delete_req.cond.if_match = str_n(l->pin, n + 2);
    store_obj_delete(l->job.env->all, &l->delete_req, &l->deleted, op_try(op, life_deleted));
    return STEP_WAIT;
}

static enum step_next life_deleted(struct op *op)
{
    struct life *l = OP(op, struct life);
    const struct list_entry *e = &l->page.entries[l->next++];

    if (op->call.err == ERR_OK && l->deleted.existed) {
        l->job.ok++;
        l->job.bytes += l->head.info.size;
    }
    return failed(l, e->key, op->call.err, life_next);
}

/* ---- uploads: an aborted one is behind us in the listing, wherever that begins ---- */

static enum step_next life_uploads(struct op *op)
{
    struct life *l = OP(op, struct life);
    struct str key = STR(""), id = STR("");

    if (l->uploads.count) {
        const struct upload_entry *last = &l->uploads.entries[l->uploads.count - 1];
        memcpy(l->after, last->key.p, last->key.n);
        key = str_n(l->after, last->key.n);
        id = arena_str(&l->one_arena, last->upload_id);
    }
    arena_release(&l->page_arena);
    l->uploads_req = (struct upload_list_req){.arena = &l->page_arena,
                                              .bucket = l->buckets.buckets[l->bucket].id,
                                              .key_marker = key,
                                              .upload_id_marker = id,
                                              .max = PAGE};
    store_upload_list(l->job.env->mine, &l->uploads_req, &l->uploads, op_try(op, life_uploads_listed));
    return STEP_WAIT;
}

static enum step_next life_uploads_listed(struct op *op)
{
    struct life *l = OP(op, struct life);

    arena_release(&l->one_arena);
    if (op->call.err == ERR_NO_SUCH_BUCKET)
        l->uploads = (struct upload_list_res){0};
    else if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    l->next = 0;
    return op_go(op, life_upload);
}

static enum step_next life_upload(struct op *op)
{
    struct life *l = OP(op, struct life);

    for (; l->next < l->uploads.count; l->next++) {
        const struct upload_entry *e = &l->uploads.entries[l->next];
        if (lifecycle_upload_ends(l->rules, e->key, e->created_ns / NS_PER_S, day_of(l->job.env)) > l->now_s)
            continue;
        l->abort_req = (struct upload_abort_req){
            .arena = &l->one_arena, .bucket = l->uploads_req.bucket, .key = e->key, .upload_id = e->upload_id};
        store_upload_abort(l->job.env->all, &l->abort_req, &l->aborted, op_try(op, life_aborted));
        return STEP_WAIT;
    }
    if (l->uploads.truncated)
        return op_go(op, life_uploads);
    l->uploads = (struct upload_list_res){0};
    return op_go(op, l->uploads_req.bucket.versions ? life_versions : life_next_bucket);
}

static enum step_next life_versions(struct op *op)
{
    struct life *l = OP(op, struct life);

    l->versions = (struct life_versions){.job = &l->job,
                                         .bucket = l->uploads_req.bucket,
                                         .rules = l->rules,
                                         .now_s = l->now_s,
                                         .day_s = day_of(l->job.env)};
    life_versions_run(&l->versions, op_call(op, life_next_bucket));
    return STEP_WAIT;
}

static enum step_next life_next_bucket(struct op *op)
{
    OP(op, struct life)->bucket++;
    return op_go(op, life_bucket);
}

static enum step_next life_aborted(struct op *op)
{
    struct life *l = OP(op, struct life);
    const struct upload_entry *e = &l->uploads.entries[l->next++];

    arena_release(&l->one_arena);
    l->job.ok += op->call.err == ERR_OK;
    return failed(l, e->key, op->call.err, life_upload);
}

/* ---- the job ---- */

static enum step_next life_end(struct op *op)
{
    struct life *l = OP(op, struct life);

    arena_release(&l->one_arena);
    arena_release(&l->page_arena);
    arena_release(&l->arena);
    job_each_end(&l->job, op->err);
    return STEP_DONE;
}

static void run(struct job *job)
{
    struct life *l = CONTAINER(job, struct life, job);

    op_start(&l->op, job->env->loop, "lifecycle", life_start, life_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct life, job)->op, ERR_CANCELLED);
}

const struct job_kind job_lifecycle = {.name = "lifecycle",
                                       .size = sizeof(struct life),
                                       .startable = true,
                                       .per_cluster = true,
                                       .run = run,
                                       .stop = stop,
                                       .due = due};
