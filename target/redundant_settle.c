#include "base/log.h"
#include "target/redundant_own.h"

static step_fn settle_ask, settle_asked, settle_own, settle_others, settle_leavers, settle_slices, settle_end;

/* ---- what is where ---- */

static enum step_next settle_ask(struct op *op)
{
    struct red_settle *s = OP(op, struct red_settle);
    const struct red_place *p = s->place;

    if (!p->informed)
        return op_fail(op, ERR_UNAVAILABLE);
    call_group_init(&s->group, op_try(op, settle_asked));
    for (unsigned i = 0; i < p->n; i++) {
        struct red_answer *a = &s->answers[i];
        a->req = (struct obj_head_req){
            .arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT, .parts = true};
        store_obj_head(red_store(s->handle, p->peers[i].id, p->epoch), &a->req, &a->res,
                       group_call(&s->group, &a->member));
    }
    call_group_seal(&s->group);
    return STEP_WAIT;
}

static int compare(const struct object_info *a, const struct object_info *b)
{
    if (a->mtime_ns != b->mtime_ns)
        return a->mtime_ns < b->mtime_ns ? -1 : 1;
    int etag = str_cmp(etag_str(&a->etag), etag_str(&b->etag));
    return etag != 0 ? etag : str_cmp(a->layout, b->layout);
}

/* An object that was written since a placement changed is on members of the new one, whatever they knew of the time before. */
static bool counts(const struct red_peer *p)
{
    return p->knows || p->knew;
}

static enum step_next settle_asked(struct op *op)
{
    struct red_settle *s = OP(op, struct red_settle);
    const struct red_place *p = s->place;

    s->best = -1;
    for (unsigned i = 0; i < p->n; i++) {
        struct red_answer *a = &s->answers[i];
        enum err e = a->member.call.err;
        if (e != ERR_OK && e != ERR_NO_SUCH_KEY)
            return op_fail(op, e == ERR_STALE_EPOCH || e == ERR_NO_SUCH_BUCKET ? e : ERR_UNAVAILABLE);
        a->there = e == ERR_OK;
        if (a->there && counts(&p->peers[i]) &&
            (s->best < 0 || compare(&a->res.info, &s->answers[s->best].res.info) > 0))
            s->best = (int)i;
    }
    return op_go(op, settle_own);
}

static bool is_right(const struct red_settle *s, unsigned i)
{
    const struct red_answer *a = &s->answers[i];

    if (s->best < 0 || !a->there)
        return s->best < 0 && !a->there;
    return compare(&a->res.info, &s->answers[s->best].res.info) == 0;
}

/* ---- putting one peer right ---- */

static void fix_imported(struct call *c)
{
    struct red_fix *f = CONTAINER(c, struct red_fix, call);

    source_close(f->get.body);
    f->get.body = NULL;
    call_finish(f->done, c->err);
}

/* From the lead's own copy, but for the lead itself. */
static void fix_got(struct call *c)
{
    struct red_fix *f = CONTAINER(c, struct red_fix, call);
    struct red_settle *s = f->settle;
    const struct obj_head_res *best = &s->answers[s->best].res;

    if (c->err == ERR_OK && compare(&f->get.head.info, &best->info) != 0)
        c->err = ERR_CONFLICT;
    if (c->err != ERR_OK) {
        fix_imported(c);
        return;
    }
    f->import_req = (struct obj_import_req){.arena = s->arena,
                                            .bucket = s->bucket,
                                            .key = s->key,
                                            .info = best->info,
                                            .parts = best->parts,
                                            .part_count = best->part_count,
                                            .body = best->info.layout.n ? NULL : f->get.body,
                                            .check = &f->check,
                                            .force = true};
    call_begin(&f->call, s->op.loop, fix_imported);
    store_obj_import(red_store(s->handle, s->place->peers[f->peer].id, s->place->epoch), &f->import_req, &f->import,
                     &f->call);
}

static void fix_deleted(struct call *c)
{
    struct red_fix *f = CONTAINER(c, struct red_fix, call);

    call_finish(f->done, c->err);
}

/* What is begun is waited for: a member that went on unnoticed might bring back an older version. */
static void fix(struct red_settle *s, unsigned i, int from, struct call *done)
{
    struct red_fix *f = &s->fixes[i];
    const struct red_place *p = s->place;

    f->settle = s;
    f->peer = i;
    f->done = done;
    s->changed = true;
    if (from >= 0) {
        f->get_req = (struct obj_get_req){{.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT}};
        f->get = (struct obj_get_res){0};
        s->bytes += s->answers[s->best].res.info.size;
        call_begin(&f->call, s->op.loop, fix_got);
        store_obj_get(red_store(s->handle, p->peers[from].id, p->epoch), &f->get_req, &f->get, &f->call);
        return;
    }
    f->delete_req = (struct obj_delete_req){.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT};
    call_begin(&f->call, s->op.loop, fix_deleted);
    store_obj_delete(red_store(s->handle, p->peers[i].id, p->epoch), &f->delete_req, &f->deleted, &f->call);
}

/* ---- the steps: the lead itself, the other members, who is a member no more ---- */

static int own(const struct red_settle *s)
{
    for (unsigned i = 0; i < s->place->n; i++)
        if (s->place->peers[i].self)
            return (int)i;
    return -1;
}

static enum step_next settle_own(struct op *op)
{
    struct red_settle *s = OP(op, struct red_settle);
    int me = own(s);

    if (me < 0 || is_right(s, (unsigned)me))
        return op_go(op, settle_others);
    fix(s, (unsigned)me, s->best, op_call(op, settle_others));
    return STEP_WAIT;
}

static enum step_next fix_all(struct red_settle *s, bool members, step_fn *next)
{
    int me = own(s);

    call_group_init(&s->group, op_call_named(&s->op, next, "settle_fixed", false));
    for (unsigned i = 0; i < s->place->n; i++) {
        if ((int)i == me || s->place->peers[i].is_now != members)
            continue;
        if (members ? !is_right(s, i) : s->answers[i].there)
            fix(s, i, members && s->best >= 0 ? me : -1, group_call(&s->group, &s->fixes[i].member));
    }
    call_group_seal(&s->group);
    return STEP_WAIT;
}

static enum step_next settle_others(struct op *op)
{
    return fix_all(OP(op, struct red_settle), true, settle_leavers);
}

static enum step_next settle_leavers(struct op *op)
{
    return fix_all(OP(op, struct red_settle), false, settle_slices);
}

static enum step_next settle_slices(struct op *op)
{
    struct red_settle *s = OP(op, struct red_settle);

    if (!s->content || s->best < 0 || s->answers[s->best].res.info.layout.n == 0)
        return op_go(op, settle_end);
    s->slices_req = (struct slices_settle_req){.arena = s->arena,
                                               .bucket = s->bucket,
                                               .key = s->key,
                                               .layout = s->answers[s->best].res.info.layout,
                                               .verify = false};
    slices_settle(&s->handle->slices, &s->slices_req, &s->slices, op_call(op, settle_end));
    return STEP_WAIT;
}

static enum step_next settle_end(struct op *op)
{
    struct red_settle *s = OP(op, struct red_settle);

    s->changed = s->changed || s->slices.moved || s->slices.rebuilt;
    s->bytes += s->slices.bytes;
    if (op->err != ERR_OK && op->err != ERR_CANCELLED)
        log_debug(s->arena->id, "key can't be settled", "key=%s error=%s", log_quote(s->key), err_name(op->err));
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

void red_settle_run(struct red_settle *s, struct call *whole)
{
    s->whole = whole;
    op_start(&s->op, whole->loop, "red_settle", settle_ask, settle_end);
}
