#include "target/life_versions.h"

#include "base/clock.h"
#include "store/notification.h"
#include "target/job_select.h"

const struct cause life_expired = {.kind = EVENT_EXPIRED};

enum { PAGE = 500 };

static step_fn list, listed, next, current_seen, looked, drop, dropped, end; /* roughly in order */

#define LIFE(o) OP(o, struct life_versions)

static struct str key_of(const struct life_versions *l)
{
    return str_n(l->key, l->key_n);
}

static enum step_next list(struct op *op)
{
    struct life_versions *l = LIFE(op);

    arena_release(&l->page_arena);
    l->list_req = (struct obj_list_req){.arena = &l->page_arena,
                                        .bucket = version_shadow(l->bucket),
                                        .after = str_n(l->after, l->after_n),
                                        .max = PAGE};
    store_obj_list(l->job->env->mine, &l->list_req, &l->page, op_try(op, listed));
    return STEP_WAIT;
}

static enum step_next listed(struct op *op)
{
    struct life_versions *l = LIFE(op);

    if (op->call.err == ERR_NO_SUCH_BUCKET)
        return op_go(op, end);
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    l->next = 0;
    return op_go(op, next);
}

/* `v` of the key is deleted for good. */
static enum step_next expire(struct life_versions *l, struct object_version v)
{
    l->delete_req = (struct obj_delete_req){.arena = &l->one_arena,
                                            .bucket = l->bucket,
                                            .key = key_of(l),
                                            .cond = COND_INIT,
                                            .of_version = true,
                                            .version = v,
                                            .cause = &life_expired};
    return op_go(&l->op, drop);
}

/* The key is done: a marker that hides nothing may go. Of another "null" one there is none. */
static bool is_idle_marker(struct life_versions *l)
{
    bool over =
        l->alone && lifecycle_marker_ends(l->rules, key_of(l), l->marker.mtime_ns / NS_PER_S, l->day_s) <= l->now_s;

    l->alone = false;
    return over;
}

static bool is_over(const struct life_versions *l, const struct list_entry *e, const struct object_info *info)
{
    struct lifecycle_object o = {.key = key_of(l), .size = e->size};

    if (info) {
        o.tags = info->tags;
        o.tags_known = true;
    }
    return lifecycle_older_ends(l->rules, &o, l->newer_ns / NS_PER_S, l->newer, l->day_s) <= l->now_s;
}

static enum step_next page_done(struct life_versions *l)
{
    if (l->page.count) {
        struct str last = l->page.entries[l->page.count - 1].key;
        memcpy(l->after, last.p, last.n);
        l->after_n = last.n;
    }
    if (l->page.truncated)
        return op_go(&l->op, list);
    l->page = (struct obj_list_res){.count = 0};
    return is_idle_marker(l) ? expire(l, l->marker) : op_go(&l->op, end);
}

static enum step_next next(struct op *op)
{
    struct life_versions *l = LIFE(op);
    const struct list_entry *e = l->next < l->page.count ? &l->page.entries[l->next] : NULL;
    struct object_version v;
    struct str key;

    arena_release(&l->one_arena);
    if (!e)
        return page_done(l);
    if (!version_key_parse(e->key, &key, &v) || !job_leads(l->job->env, l->list_req.bucket, e->key)) {
        l->next++;
        return op_go(op, next);
    }
    if (!l->has_key || !str_eq(key, key_of(l))) {
        if (is_idle_marker(l))
            return expire(l, l->marker);
        memcpy(l->key, key.p, key.n);
        l->key_n = key.n;
        l->has_key = true;
        l->newer = 0;
        l->head_req =
            (struct obj_head_req){.arena = &l->one_arena, .bucket = l->bucket, .key = key_of(l), .cond = COND_INIT};
        store_obj_head(l->job->env->all, &l->head_req, &l->head, op_try(op, current_seen));
        return STEP_WAIT;
    }
    l->alone = false;
    if (is_over(l, e, NULL)) {
        l->head_req = (struct obj_head_req){
            .arena = &l->one_arena, .bucket = l->list_req.bucket, .key = e->key, .cond = COND_INIT};
        store_obj_head(l->job->env->all, &l->head_req, &l->head, op_try(op, looked));
        return STEP_WAIT;
    }
    l->next++;
    l->newer++;
    l->newer_ns = v.mtime_ns;
    return op_go(op, next);
}

/* Without a current version the first is the latest, a marker. */
static enum step_next current_seen(struct op *op)
{
    struct life_versions *l = LIFE(op);
    struct object_version v;
    struct str key;

    if (op->call.err == ERR_OK) {
        l->newer_ns = l->head.info.mtime_ns;
        return op_go(op, next);
    }
    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    if (version_key_parse(l->page.entries[l->next].key, &key, &v)) {
        l->newer_ns = v.mtime_ns;
        l->marker = v;
        l->alone = op->call.err == ERR_NO_SUCH_KEY && version_is_marker(v.kind);
    }
    if (op->call.err != ERR_NO_SUCH_KEY) /* nothing is known of this one: its next newer is taken to be of now */
        l->newer_ns = l->now_s * NS_PER_S;
    l->next++;
    return op_go(op, next);
}

static enum step_next looked(struct op *op)
{
    struct life_versions *l = LIFE(op);
    const struct list_entry *e = &l->page.entries[l->next++];
    struct object_version v = {0};
    struct str key;
    bool over;

    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    over = op->call.err == ERR_OK && version_key_parse(e->key, &key, &v) && is_over(l, e, &l->head.info);
    if (op->call.err == ERR_OK) {
        l->newer += !over;
        l->newer_ns = v.mtime_ns;
    }
    return over ? expire(l, v) : op_go(op, next);
}

static enum step_next drop(struct op *op)
{
    struct life_versions *l = LIFE(op);

    store_obj_delete(l->job->env->all, &l->delete_req, &l->deleted, op_try(op, dropped));
    return STEP_WAIT;
}

static enum step_next dropped(struct op *op)
{
    struct life_versions *l = LIFE(op);
    enum err e = op->call.err;

    if (e == ERR_CANCELLED)
        return op_fail(op, e);
    if (e == ERR_OK)
        l->job->ok += l->deleted.existed;
    else if (e != ERR_OBJECT_LOCKED && e != ERR_NO_SUCH_BUCKET)
        job_failed(l->job, l->delete_req.key, e);
    return op_go(op, next);
}

static enum step_next end(struct op *op)
{
    struct life_versions *l = LIFE(op);

    arena_release(&l->one_arena);
    arena_release(&l->page_arena);
    call_finish(l->whole, op->err);
    return STEP_DONE;
}

static void cancel(void *arg)
{
    op_cancel(&((struct life_versions *)arg)->op, ERR_CANCELLED);
}

void life_versions_run(struct life_versions *l, struct call *whole)
{
    l->whole = whole;
    op_start(&l->op, l->job->env->loop, "lifecycle_versions", list, end);
    call_on_cancel(whole, cancel, l);
}
