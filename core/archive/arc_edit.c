#include "arc_edit.h"

#include <stdlib.h>

#include "archive/arc_edit_own.h"
#include "archive/arc_pack_own.h"
#include "archive/arcs_own.h"
#include "base/clock.h"
#include "base/mem.h"

/* One change: in turn with the others of this archive, as the archive is now, under If-Match of that. Should another process have changed it
 * meanwhile, it is begun anew, unless its content was touched and is not in memory. */

/* in order; edit_end always runs. edit_rewrite: where the store can't splice */
static step_fn edit_start, edit_turn, edit_head, edit_headed, edit_looked, edit_change, edit_spliced, edit_indexed,
    edit_rewrite, edit_write, edit_written, edit_end;

static const char zeros[512 + ARC_TAR_TRAILER];

static enum step_next fail(struct edit_op *e, enum err err, const char *why)
{
    snprintf(e->res->why, sizeof(e->res->why), "%s", why);
    return op_fail(&e->op, err);
}

/* ---- the content ---- */

static enum err check_name(struct edit_op *e)
{
    struct str name = e->req->member, rest, part;

    while (str_starts(name, STR("/")) || str_starts(name, STR("./")))
        name = str_skip(name, name.p[0] == '/' ? 1 : 2);
    if (name.n == 0 || name.n > ARC_NAME_MAX || name.p[name.n - 1] == '/' || memchr(name.p, 0, name.n))
        return ERR_INVALID_ARGUMENT;
    for (rest = name; rest.n;) {
        part = str_split(&rest, '/');
        if (str_eq(part, STR("..")))
            return ERR_INVALID_ARGUMENT;
    }
    e->member = name;
    return ERR_OK;
}

static enum step_next edit_start(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);
    const struct arc_edit_req *req = e->req;

    if (check_name(e) != ERR_OK)
        return fail(e, ERR_INVALID_ARGUMENT, "not a name that a member should have");
    if (!edit_deletes(e) && req->body && req->size > OBJECT_SIZE_MAX)
        return fail(e, ERR_MISSING_LENGTH, "the size must be known before the content");
    if (e->format == ARC_ZIP && !edit_deletes(e) && req->size > EDIT_ZIP_MAX)
        return fail(e, ERR_NOT_IMPLEMENTED, "a member this large can't be put into a ZIP");
    if (edit_deletes(e) || !req->body || req->size > (e->format == ARC_ZIP ? EDIT_ZIP_MAX : EDIT_BUFFER_MAX))
        return op_go(op, edit_turn);
    e->bytes = arena_alloc(req->arena, (size_t)req->size + 1);
    source_fill(&e->fill, req->body, e->bytes, (size_t)req->size + 1, &e->got, op_call(op, edit_turn));
    return STEP_WAIT;
}

static void open_content(struct edit_op *e)
{
    source_close(e->buffered);
    e->buffered = e->bytes ? source_memory(str_n(e->bytes, e->got), NULL, NULL) : NULL;
    e->patch.content = e->buffered ? e->buffered : e->req->body;
    e->patch.touched = false;
}

static enum step_next edit_turn(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);

    if (e->bytes && e->got != e->req->size)
        return fail(e, e->got < e->req->size ? ERR_INCOMPLETE_BODY : ERR_BAD_REQUEST,
                    "the content is not as long as was said");
    arc_turn_take(&e->turn, e->req->bucket.uid, e->req->key, op_call(op, edit_head));
    return STEP_WAIT;
}

/* ---- what there is ---- */

static enum step_next edit_head(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);

    open_content(e);
    e->head_req =
        (struct obj_head_req){.arena = e->req->arena, .bucket = e->req->bucket, .key = e->req->key, .cond = COND_INIT};
    e->head = (struct obj_head_res){0};
    store_obj_head(e->store, &e->head_req, &e->head, op_try(op, edit_headed));
    return STEP_WAIT;
}

static bool creates(const struct edit_op *e)
{
    return e->req->change == ARC_CREATE || (e->req->change == ARC_UPSERT && !e->exists);
}

static enum step_next edit_headed(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);
    enum err err = op->call.err;

    if (err != ERR_OK && err != ERR_NO_SUCH_KEY)
        return op_fail(op, err);
    e->exists = err == ERR_OK;
    if ((err = cond_check_write(&e->req->cond, e->exists ? &e->head.info : NULL)) != ERR_OK)
        return op_fail(op, err);
    if (creates(e))
        return op_go(op, edit_change);
    if (!e->exists)
        return op_fail(op, ERR_NO_SUCH_KEY);
    e->patch.etag = e->head.info.etag;
    if (e->format == ARC_TAR && (e->req->change == ARC_APPEND || e->req->change == ARC_UPSERT) &&
        arc_end_known(e->req->bucket.uid, e->req->key, &e->head.info, &e->end))
        return op_go(op, edit_change);
    e->look_req = (struct arcs_look_req){e->req->arena, e->req->bucket, e->req->key, e->format};
    e->look = (struct arcs_look_res){0};
    arcs_look(e->req->arcs, &e->look_req, &e->look, op_try(op, edit_looked));
    return STEP_WAIT;
}

static enum step_next edit_looked(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);
    bool there;

    memcpy(e->res->why, e->look.why, sizeof(e->res->why));
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    if (!str_eq(etag_str(&e->look.info.etag), etag_str(&e->head.info.etag))) /* changed in between */
        return ++e->tries < EDIT_TRIES_MAX ? op_go(op, edit_head) : op_fail(op, ERR_CONFLICT);
    e->format = e->look.index->format;
    e->end = e->look.index->end;
    there = arc_index_find(e->look.index, e->member, NULL, &(struct arc_member){0});
    if (e->req->change == ARC_ADD && there)
        return fail(e, ERR_EXISTS, "there is a member of that name");
    if (edit_removes(e) && !there)
        return op_fail(op, ERR_NO_SUCH_MEMBER);
    return op_go(op, edit_change);
}

/* ---- the new bytes of a TAR ---- */

/* The new member, with what pads it; behind the last also the trailer. */
static uint64_t add_member(struct edit_op *e, bool last)
{
    uint64_t size = e->patch.content_size, padding = arc_tar_padding(size);

    arc_patch_bytes(&e->patch, buf_str(&e->header));
    arc_patch_content(&e->patch);
    arc_patch_bytes(&e->patch, str_n(zeros, (size_t)padding + (last ? ARC_TAR_TRAILER : 0)));
    return buf_str(&e->header).n + size + padding;
}

/* What goes from the old archive, in order: members of that name. Then the rest stays, with the new one where the first was. */
static void patch_removed(struct edit_op *e)
{
    const struct arc_index *x = e->look.index;
    uint64_t at = 0, removed = 0, added = 0;
    unsigned cuts = 0;

    for (uint32_t i = 0; i < x->count; i++) {
        struct arc_member m;
        arc_index_member(x, i, &m);
        if (!str_eq(m.name, e->member))
            continue;
        arc_patch_old(&e->patch, at, m.head - at);
        if (!cuts && !edit_deletes(e))
            added = add_member(e, false);
        if (!cuts)
            e->offset = m.head;
        cuts += !cuts || at != m.head;
        removed += m.next - m.head;
        at = m.next;
    }
    if (e->format == ARC_TAR) {
        arc_patch_old(&e->patch, at, x->size - at);
    } else {
        arc_patch_old(&e->patch, at, x->end - at);
        arc_patch_bytes(&e->patch, str_n(zeros, ARC_TAR_TRAILER));
    }
    e->one = cuts == 1;
    e->cut = removed;
    e->new_end = x->end - removed + added;
}

static enum err make_patch(struct edit_op *e)
{
    enum err err;

    arc_patch_clear(&e->patch);
    e->patch.format = e->format;
    e->mtime_s = e->req->mtime_s ? e->req->mtime_s : clock_wall_ns() / NS_PER_S;
    e->patch.cpu = e->req->arcs->env.cpu;
    buf_release(&e->header);
    buf_init(&e->header, 4 * ARC_NAME_MAX);
    e->one = true;
    if (!edit_deletes(e) && (err = arc_tar_head(&e->header, e->member, e->patch.content_size, e->mtime_s)) != ERR_OK)
        return err;
    if (edit_removes(e)) {
        patch_removed(e);
        return ERR_OK;
    }
    e->offset = creates(e) ? 0 : e->end;
    e->cut = creates(e) ? 0 : e->head.info.size - e->end;
    arc_patch_old(&e->patch, 0, e->offset);
    e->new_end = e->offset + add_member(e, true);
    return ERR_OK;
}

/* What a splice brings: the pieces without those of the old archive. */
static void drop_old(struct arc_patch *p)
{
    size_t kept = 0;

    for (size_t i = 0; i < p->count; i++) {
        if (p->pieces[i].kind == ARC_PIECE_OLD)
            p->size -= p->pieces[i].len;
        else
            p->pieces[kept++] = p->pieces[i];
    }
    p->count = kept;
}

static enum step_next edit_change(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);
    enum err err;

    if (e->format == ARC_NONE)
        return fail(e, ERR_INVALID_ARGUMENT, "the name tells no archive format");
    if (e->format == ARC_ZIP)
        return (err = edit_repack(e)) == ERR_OK ? op_go(op, edit_write) : op_fail(op, err);
    if ((err = make_patch(e)) != ERR_OK)
        return op_fail(op, err);
    if (creates(e) || !e->one || e->format != ARC_TAR)
        return op_go(op, edit_rewrite);
    drop_old(&e->patch);
    e->check = (struct body_check){0};
    e->body = arc_patch_open(&e->patch);
    e->splice_req = (struct obj_splice_req){.arena = e->req->arena,
                                            .bucket = e->req->bucket,
                                            .key = e->req->key,
                                            .cond = COND_INIT,
                                            .offset = e->offset,
                                            .cut = e->cut,
                                            .body = e->body,
                                            .check = &e->check,
                                            .size_max = OBJECT_SIZE_MAX,
                                            .cause = e->req->cause};
    e->splice_req.cond.if_match = etag_str(&e->patch.etag);
    /* not through arcs_store(): this knows more of the index */
    store_obj_splice(e->req->arcs->env.store, &e->splice_req, &e->spliced, op_try(op, edit_spliced));
    return STEP_WAIT;
}

/* ---- how it ended ---- */

static void close_body(struct edit_op *e)
{
    source_close(e->body);
    e->body = NULL;
}

static void changed(struct edit_op *e, const struct object_info *info)
{
    e->res->info = *info;
    if (e->format == ARC_TAR)
        arc_end_note(e->req->bucket.uid, e->req->key, info, e->new_end);
}

/* It was changed by somebody else, in the moment. */
static enum step_next try_again(struct edit_op *e, enum err err)
{
    bool can = e->bytes || !e->patch.touched;

    if (err != ERR_PRECONDITION && err != ERR_CONFLICT && !(err == ERR_NO_SUCH_KEY && e->exists))
        return op_fail(&e->op, err);
    if (!can || ++e->tries >= EDIT_TRIES_MAX || e->whole->cancelled)
        return fail(e, ERR_CONFLICT, "others kept changing the archive");
    return op_go(&e->op, edit_head);
}

static enum step_next edit_spliced(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);
    enum err err = op->call.err;

    close_body(e);
    if (err == ERR_OK) {
        changed(e, &e->spliced.info);
        edit_index(e, op_try(op, edit_indexed));
        return STEP_WAIT;
    }
    if (err != ERR_NOT_IMPLEMENTED)
        return try_again(e, err);
    if (e->patch.touched && !e->bytes)
        return fail(e, ERR_CONFLICT, "the archive began to move"); /* which was not so before its content was read */
    open_content(e);
    if ((err = make_patch(e)) != ERR_OK)
        return op_fail(op, err);
    return op_go(op, edit_rewrite);
}

/* Without an index the change has been made all the same. */
static enum step_next edit_indexed(struct op *op)
{
    edit_index_keep(OP(op, struct edit_op));
    return op_go(op, edit_end);
}

/* ---- the whole of it, anew ---- */

static enum step_next edit_rewrite(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);

    e->body = arc_patch_open(&e->patch);
    if (e->format != ARC_TAR)
        e->body = arc_encode(op->loop, e->req->arcs->env.cpu, e->format, e->body);
    return op_go(op, edit_write);
}

static enum step_next edit_write(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);
    const struct object_info *old = &e->head.info;
    bool keeps = !creates(e);

    e->check = (struct body_check){0};
    e->put_req = (struct obj_put_req){.arena = e->req->arena,
                                      .bucket = e->req->bucket,
                                      .key = e->req->key,
                                      .cond = e->req->cond,
                                      .body = e->body,
                                      .check = &e->check,
                                      .size_max = OBJECT_SIZE_MAX,
                                      .cause = e->req->cause};
    if (keeps) {
        e->put_req.cond = (struct cond)COND_INIT;
        e->put_req.cond.if_match = etag_str(&e->patch.etag);
        e->put_req.info = (struct object_info){.attrs = old->attrs, .attr_count = old->attr_count, .tags = old->tags};
    } else if (e->req->change == ARC_UPSERT) {
        e->put_req.cond.if_none_match = STR("*");
    }
    store_obj_put(e->store, &e->put_req, &e->put, op_try(op, edit_written));
    return STEP_WAIT;
}

static enum step_next edit_written(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);
    enum err err = op->call.err;

    close_body(e);
    if (err != ERR_OK)
        return try_again(e, err);
    changed(e, &e->put.info);
    return op_go(op, edit_end);
}

static enum step_next edit_end(struct op *op)
{
    struct edit_op *e = OP(op, struct edit_op);

    close_body(e);
    arc_turn_drop(&e->turn);
    source_close(e->buffered);
    buf_release(&e->header);
    arc_patch_release(&e->patch);
    arc_index_unref(e->index);
    call_finish(e->whole, op->err);
    return STEP_DONE;
}

static void edit_cancel(void *arg)
{
    op_cancel(&((struct edit_op *)arg)->op, ERR_CANCELLED);
}

void arc_edit(const struct arc_edit_req *req, struct arc_edit_res *res, struct call *call)
{
    struct edit_op *e = ARENA_NEW(req->arena, struct edit_op);

    e->req = req;
    e->res = res;
    e->whole = call;
    e->store = arcs_store(req->arcs);
    e->format = req->format != ARC_NONE ? req->format : arc_format_of_name(req->key);
    e->patch = (struct arc_patch){.loop = call->loop,
                                  .arena = req->arena,
                                  .store = e->store,
                                  .bucket = req->bucket,
                                  .key = req->key,
                                  .content_size = edit_deletes(e) || !req->body ? 0 : req->size};
    res->why[0] = 0;
    op_start(&e->op, call->loop, "edit_archive", edit_start, edit_end);
    call_on_cancel(call, edit_cancel, e);
}
