/* The objects of an archive job one after the other: asked for ahead, throttled, told of in the report. */
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "target/job_archive_own.h"

enum { WINDOW = 128, THROTTLE_STEP = 1 << 20, REPORT_MAX = 64 << 20 };

struct archive_item {
    struct archive_item *next, **at; /* at: what points to it */
    struct str key;
    char text[]; /* the key, then the name in the archive */
};

/* ---- what came of them ---- */

static void report(struct archive *a, struct str name, enum err e)
{
    struct buf *b = &a->report, line = BUF_INIT(4 * KEY_MAX * 6);

    if (b->max == 0)
        buf_init(b, REPORT_MAX);
    js_object(&line);
    js_put_str(&line, "bucket", a->select.bucket.id.name);
    js_put_str(&line, "name", name);
    js_put_str(&line, "error", str_z(err_name(e)));
    js_end_object(&line);
    buf_add_char(&line, '\n');
    buf_add_str(b, buf_str(&line));
    buf_release(&line);
}

static void forget(struct archive_item *item)
{
    *item->at = item->next;
    if (item->next)
        item->next->at = item->at;
    free(item);
}

static enum arc_verdict walk_done(void *arg, const struct arc_entry *e, enum err err, uint64_t size, struct str *name)
{
    struct archive *a = arg;
    struct archive_item *item = e->tag;
    enum arc_verdict v = ARC_LEAVE_OUT;

    (void)name;
    if (!item)
        return ARC_FAIL; /* a member of the archive that is appended to */
    a->unpaid += size;
    if (err == ERR_OK) {
        a->job.ok++;
        a->job.bytes += size;
        a->added++;
    } else if (err == ERR_NO_SUCH_KEY && a->select.lists) {
        a->job.skipped++; /* deleted since it was listed, or a gap in a range */
    } else {
        job_failed(&a->job, item->key, err);
        report(a, item->key, err);
        v = a->goes_on ? ARC_LEAVE_OUT : ARC_FAIL;
    }
    return v;
}

/* An archive of nothing is none. */
static enum err walk_ends(void *arg)
{
    return ((struct archive *)arg)->added ? ERR_OK : ERR_NO_SUCH_KEY;
}

/* ---- the next one ---- */

static struct str put(char **at, struct str s)
{
    memcpy(*at, s.p, s.n);
    *at += s.n;
    return str_n(*at - s.n, s.n);
}

static struct str base_name(struct str key)
{
    for (size_t i = key.n; i > 0; i--)
        if (key.p[i - 1] == '/')
            return str_skip(key, i);
    return key;
}

static void give(struct archive *a)
{
    struct str bucket = a->select.bucket.id.name, base = a->base_only ? base_name(a->key) : a->key;
    struct archive_item *item = mem_alloc(sizeof(*item) + a->key.n + bucket.n + 1 + base.n);
    char *at = item->text, *name;

    item->key = put(&at, a->key);
    name = at;
    if (a->with_bucket) {
        put(&at, bucket);
        put(&at, STR("/"));
    }
    put(&at, base);
    item->next = a->items;
    item->at = &a->items;
    if (item->next)
        item->next->at = &item->next;
    a->items = item;
    a->out->name = str_n(name, (size_t)(at - name));
    a->out->bucket = a->select.bucket.id;
    a->out->key = item->key;
    a->out->tag = item;
}

static void select_next(struct archive *a);

/* A listing of the bucket that the archive is in may show the archive itself: an earlier one. */
static bool is_itself(const struct archive *a)
{
    return a->select.lists && a->select.bucket.id.uid == a->to.id.uid && str_eq(a->key, a->name);
}

static void on_selected(struct call *c)
{
    struct archive *a = CONTAINER(c, struct archive, step);

    if (c->err == ERR_OK && !*a->end && is_itself(a)) {
        select_next(a);
        return;
    }
    if (c->err == ERR_OK && !*a->end)
        give(a);
    call_finish(a->next_call, c->err);
}

static void select_next(struct archive *a)
{
    call_begin(&a->step, a->job.env->loop, on_selected);
    if (a->next_call->cancelled)
        call_finish(&a->step, ERR_CANCELLED);
    else
        job_select_next(&a->select, &a->key, a->end, &a->step);
}

static void on_paid(struct call *c)
{
    struct archive *a = CONTAINER(c, struct archive, step);

    if (c->err != ERR_OK)
        call_finish(a->next_call, c->err);
    else
        select_next(a);
}

static void step_cancel(void *arg)
{
    call_cancel(&((struct archive *)arg)->step);
}

/* What is written anew begins with the members that were there; of several of one name with the one that readers get. False: no more. */
static bool give_old(struct archive *a, struct arc_entry *out)
{
    const struct arc_index *x = a->splices ? NULL : a->old.index;

    while (x && a->old_at < x->count) {
        struct arc_member m, first;
        uint32_t i;
        arc_index_member(x, a->old_at++, &m);
        if (!arc_index_find(x, m.name, &i, &first) || i != a->old_at - 1)
            continue;
        *out = (struct arc_entry){
            .name = m.name, .bucket = a->to.id, .key = a->name, .member = m.name, .format = a->format};
        arc_index_etag(x, &m, &out->if_match);
        return true;
    }
    return false;
}

static void walk_next(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct archive *a = arg;

    *end = false;
    a->begun = true;
    if (a->job.stopping || give_old(a, out)) {
        call_finish(call, a->job.stopping ? ERR_CANCELLED : ERR_OK);
        return;
    }
    a->next_call = call;
    a->out = out;
    a->end = end;
    call_on_cancel(call, step_cancel, a);
    if (a->unpaid < THROTTLE_STEP) {
        select_next(a);
        return;
    }
    uint64_t bytes = a->unpaid;
    a->unpaid = 0;
    call_begin(&a->step, a->job.env->loop, on_paid);
    job_throttle(&a->job, bytes, &a->step);
}

static void walk_gone(void *arg)
{
    struct archive *a = arg;

    while (a->items)
        forget(a->items);
    call_finish(a->closing, ERR_OK);
}

/* `done` was called for it and its content is in the archive, or it is left out. */
static void walk_drop(void *arg, const struct arc_entry *e)
{
    (void)arg;
    if (e->tag)
        forget(e->tag);
}

struct source *archive_walk_open(struct archive *a)
{
    const struct job_env *env = a->job.env;

    return arc_pack_open(&(struct arc_pack_conf){.loop = env->loop,
                                                 .store = env->all,
                                                 .arcs = env->arcs,
                                                 .cpu = env->cpu,
                                                 .format = a->format,
                                                 .window = WINDOW,
                                                 .next = walk_next,
                                                 .done = walk_done,
                                                 .drop = walk_drop,
                                                 .end = walk_ends,
                                                 .gone = walk_gone,
                                                 .arg = a});
}
