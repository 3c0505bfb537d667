/* Making an index once for all who wait for it: read from the system bucket when one of this very state lies there; one of an earlier
 * state, with what was appended since; else from the archive. A making lives as long as somebody waits. */
#include <stdlib.h>

#include "archive/arc_extend.h"
#include "archive/arcs_own.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/system.h"

struct waiter {
    struct waiter *next;
    struct arc_making *making; /* NULL: told already */
    struct arc_made *out;
    struct call *call;
};

struct arc_making {
    struct op op;
    struct arc_making *next;
    struct arcs *arcs;
    struct arena arena;
    struct arc_id id;
    struct object_info info; /* the state that is wanted: size, mtime, ETag */
    struct waiter *waiters;
    bool started;
    struct call turn; /* until others have ended */
    /* what lies in the system bucket */
    struct obj_get_req get;
    struct obj_get_res got;
    struct source_fill fill;
    struct buf bytes;
    size_t filled;
    struct offload_task decode;
    struct arc_extend_req extend;
    struct arc_extend_res extended;
    /* from the archive */
    struct arc_build_req build;
    struct arc_build_res built;
    struct arc_index *index;
    struct arc_index *old; /* of an earlier state; may be NULL */
};

static struct metric made = {.name = "sluice_archive_indexes_made_total",
                             .help = "Indexes of archives that were made by reading the archive.",
                             .kind = METRIC_COUNTER};

static step_fn make_begin, make_turn, make_opened, make_read, make_decoded, make_extend, make_extended, make_build,
    make_built, make_end;

/* ---- what lies there ---- */

static enum step_next make_begin(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);

    if (m->arcs->making_count < ARCS_MAKES_MAX)
        return op_go(op, make_turn);
    op_call(op, make_turn); /* whoever ends finishes it */
    return STEP_WAIT;
}

static enum step_next make_turn(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);
    struct bucket_id system;

    m->started = true;
    m->arcs->making_count++;
    if (m->old && arc_may_extend(m->old, &m->info))
        return op_go(op, make_extend);
    if (!arc_id_is_kept(&m->id) || !system_bucket_find(m->arcs->env.buckets, &m->arena, &system))
        return op_go(op, make_extend);
    m->get.head = (struct obj_head_req){
        .arena = &m->arena, .bucket = system, .key = arcs_keep_key(&m->arena, &m->id), .cond = COND_INIT};
    store_obj_get(m->arcs->env.store, &m->get, &m->got, op_try(op, make_opened));
    return STEP_WAIT;
}

static enum step_next make_opened(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);
    char *room;

    if (op->call.err != ERR_OK || m->got.head.len > ARC_INDEX_MAX)
        return op_go(op, make_extend);
    buf_init(&m->bytes, ARC_INDEX_MAX);
    room = buf_reserve(&m->bytes, m->got.head.len + 1);
    if (!room)
        return op_go(op, make_extend);
    source_fill(&m->fill, m->got.body, room, m->got.head.len, &m->filled, op_try(op, make_read));
    return STEP_WAIT;
}

static enum err decode(struct offload_task *t)
{
    struct arc_making *m = CONTAINER(t, struct arc_making, decode);

    return arc_index_decode(buf_str(&m->bytes), &m->index);
}

static enum step_next make_read(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);

    if (op->call.err != ERR_OK || m->filled < m->got.head.len)
        return op_go(op, make_extend);
    buf_commit(&m->bytes, m->filled);
    offload_run(m->arcs->env.cpu, &m->decode, decode, op_try(op, make_decoded));
    return STEP_WAIT;
}

static enum step_next make_decoded(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);

    buf_release(&m->bytes);
    if (op->call.err == ERR_OK && arc_index_fits(m->index, &m->info) && m->index->format == m->id.format) {
        arc_cache_put(m->arcs->env.cache, &m->id, m->index);
        return op_go(op, make_end);
    }
    if (op->call.err != ERR_OK) {
        log_warn(STR_NONE, "index of an archive is damaged and made anew", "bucket=%s key=%s error=%s",
                 log_quote(m->id.bucket.name), log_quote(m->id.key), err_name(op->call.err));
    } else if (!m->old || m->index->mtime_ns > m->old->mtime_ns) {
        arc_index_unref(m->old);
        m->old = m->index;
    } else {
        arc_index_unref(m->index);
    }
    m->index = NULL;
    return op_go(op, make_extend);
}

/* ---- from one of an earlier state ---- */

static enum step_next make_extend(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);

    if (!m->old || m->old->format != m->id.format || !arc_may_extend(m->old, &m->info))
        return op_go(op, make_build);
    m->extend = (struct arc_extend_req){.arena = &m->arena,
                                        .store = m->arcs->env.store,
                                        .cpu = m->arcs->env.cpu,
                                        .bucket = m->id.bucket,
                                        .key = m->id.key,
                                        .old = m->old,
                                        .info = m->info};
    arc_extend(&m->extend, &m->extended, op_try(op, make_extended));
    return STEP_WAIT;
}

/* Kept again when about an eighth of it is new: so that many appends don't write a long index each. And every so many bytes: what is kept
 * must not fall so far behind that nobody can go on from it. */
static bool is_worth_keeping(const struct arc_index *before, const struct arc_index *now)
{
    uint64_t bytes = ARC_EXTEND_MAX / 2;
    uint32_t step = 1;

    while (step <= now->count / 16)
        step *= 2;
    return before->count / step != now->count / step || before->end / bytes != now->end / bytes;
}

static enum step_next make_extended(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);

    if (op->call.err != ERR_OK)
        return op_go(op, make_build);
    m->index = m->extended.index;
    arc_cache_put(m->arcs->env.cache, &m->id, m->index);
    if (is_worth_keeping(m->old, m->index))
        arcs_keep_write(m->arcs, &m->id, m->index);
    return op_go(op, make_end);
}

/* ---- from the archive ---- */

static enum step_next make_build(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);

    m->build = (struct arc_build_req){.arena = &m->arena,
                                      .store = m->arcs->env.store,
                                      .cpu = m->arcs->env.cpu,
                                      .bucket = m->id.bucket,
                                      .key = m->id.key,
                                      .format = m->id.format};
    arc_build(&m->build, &m->built, op_try(op, make_built));
    return STEP_WAIT;
}

static enum step_next make_built(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);
    enum err e = op->call.err;

    if (e == ERR_OK) {
        m->index = m->built.index;
        metric_add(&made, 1);
        arc_cache_put(m->arcs->env.cache, &m->id, m->index);
        arcs_keep_write(m->arcs, &m->id, m->index);
        return op_go(op, make_end);
    }
    /* A scan tells of the state that it read; should that have changed meanwhile, the note is of a state that never comes back. */
    if (e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE)
        arc_cache_put_failure(m->arcs->env.cache, &m->id, &m->info, e, m->built.why);
    return op_fail(op, e);
}

/* ---- telling those who wait ---- */

static void tell(struct arc_making *m, struct waiter *w, enum err e)
{
    w->making = NULL;
    if (e == ERR_OK)
        w->out->index = arc_index_ref(m->index);
    memcpy(w->out->why, m->built.why, sizeof(w->out->why));
    call_finish(w->call, e);
}

static void unlink_making(struct arc_making *m)
{
    struct arc_making **at = &m->arcs->makings;

    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
}

/* The oldest that waits for its turn is the last of the list. */
static void next_turn(struct arcs *a)
{
    struct arc_making *oldest = NULL;

    for (struct arc_making *m = a->makings; m; m = m->next)
        if (!m->started && !m->op.ending && m->op.call.state == CALL_PENDING)
            oldest = m;
    if (oldest)
        call_finish(&oldest->op.call, ERR_OK);
}

static enum step_next make_end(struct op *op)
{
    struct arc_making *m = OP(op, struct arc_making);
    struct arcs *a = m->arcs;

    unlink_making(m);
    while (m->waiters) {
        struct waiter *w = m->waiters;
        m->waiters = w->next;
        tell(m, w, op->err);
    }
    arc_index_unref(m->index);
    arc_index_unref(m->old);
    source_close(m->got.body);
    buf_release(&m->bytes);
    if (m->started)
        a->making_count--;
    if (a->making_count < ARCS_MAKES_MAX)
        next_turn(a);
    arena_release(&m->arena);
    free(m);
    return STEP_DONE;
}

/* ---- waiting ---- */

/* The last who waits takes the making along, and is told when that has ended. */
static void waiter_cancel(void *arg)
{
    struct waiter *w = arg, **at;
    struct arc_making *m = w->making;

    if (!m)
        return;
    if (m->waiters == w && !w->next) {
        op_cancel(&m->op, ERR_CANCELLED);
        if (!m->started && m->op.call.state == CALL_PENDING)
            call_finish(&m->op.call, ERR_CANCELLED);
        return;
    }
    for (at = &m->waiters; *at != w; at = &(*at)->next)
        ;
    *at = w->next;
    w->making = NULL;
    call_finish(w->call, ERR_CANCELLED);
}

static bool same_id(const struct arc_id *a, const struct arc_id *b)
{
    return a->bucket.uid == b->bucket.uid && a->format == b->format && str_eq(a->key, b->key);
}

static struct arc_making *find(struct arcs *a, const struct arc_id *id)
{
    struct arc_making *m = a->makings;

    while (m && (!same_id(&m->id, id) || m->op.cancelled || m->op.ending))
        m = m->next;
    return m;
}

static struct arc_making *making_new(struct arcs *a, const struct arc_id *id, const struct object_info *info,
                                     struct arc_index *old)
{
    static bool registered;
    struct arc_making *m = NEW(struct arc_making);

    if (!__atomic_exchange_n(&registered, true, __ATOMIC_RELAXED))
        metric_register(&made);
    m->arcs = a;
    m->id = *id;
    m->id.key = arena_str(&m->arena, id->key);
    m->id.bucket.name = arena_str(&m->arena, id->bucket.name);
    m->info =
        (struct object_info){.size = info->size, .mtime_ns = info->mtime_ns, .etag = info->etag, .parts = info->parts};
    m->old = old ? arc_index_ref(old) : NULL;
    m->next = a->makings;
    a->makings = m;
    return m;
}

void arcs_make(struct arcs *a, const struct arc_id *id, const struct object_info *info, struct arc_index *old,
               struct arc_made *out, struct call *call)
{
    struct arc_making *m = find(a, id);
    bool begins = !m;
    struct waiter *w;

    if (begins)
        m = making_new(a, id, info, old);
    w = ARENA_NEW(&m->arena, struct waiter);
    *w = (struct waiter){m->waiters, m, out, call};
    m->waiters = w;
    if (begins)
        op_start(&m->op, a->env.loop, "make_index", make_begin, make_end);
    call_on_cancel(call, waiter_cancel, w);
}

bool arcs_make_idle(const struct arcs *a)
{
    return !a->makings;
}
