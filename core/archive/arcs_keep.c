/* Indexes in the system bucket: written and removed behind the requests that are their reason, a few at a time. What is lost here (too
 * much at once, a crash) costs the first who wants the index a scan of the archive, never a wrong answer. */
#include <stdlib.h>

#include "archive/arcs_own.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/system.h"

enum keep_what { KEEP_WRITE, KEEP_REMOVE, KEEP_MAKE };

struct arc_keep {
    struct op op;
    struct arc_keep *next;
    struct arcs *arcs;
    enum keep_what what;
    struct arena arena;
    struct arc_id id;
    struct arc_index *index; /* KEEP_WRITE */
    struct system_bucket_res system;
    struct buf bytes;
    struct offload_task encode;
    struct source *body;
    struct body_check check;
    struct obj_put_req put;
    struct obj_put_res stored;
    struct obj_delete_req delete;
    struct obj_delete_res deleted;
    struct arcs_look_req look;
    struct arcs_look_res looked;
};

struct str arcs_keep_key(struct arena *arena, const struct arc_id *id)
{
    struct str key =
        arena_printf(arena, "index/%016llx/" STR_FMT, (unsigned long long)id->bucket.uid, STR_ARG(id->key));
    struct digest d;
    char hex[2 * 32];

    if (key.n <= KEY_MAX && !memchr(id->key.p, 0, id->key.n))
        return key;
    /* what is kept is called as an archive; this name is not: the two can't meet */
    hash_of(HASH_SHA256, id->key, &d);
    hex_encode(d.b, 32, hex);
    return arena_printf(arena, "index/%016llx/long-%.64s", (unsigned long long)id->bucket.uid, hex);
}

/* ---- one ---- */

static step_fn keep_first, keep_bucket, keep_encoded, keep_stored, keep_end;

static enum step_next keep_remove(struct op *op)
{
    struct arc_keep *k = OP(op, struct arc_keep);

    k->delete = (struct obj_delete_req){.arena = &k->arena, .cond = COND_INIT};
    if (!system_bucket_find(k->arcs->env.buckets, &k->arena, &k->delete.bucket))
        return op_go(op, keep_end);
    k->delete.key = arcs_keep_key(&k->arena, &k->id);
    store_obj_delete(k->arcs->env.store, &k->delete, &k->deleted, op_try(op, keep_stored));
    return STEP_WAIT;
}

static enum step_next keep_first(struct op *op)
{
    struct arc_keep *k = OP(op, struct arc_keep);

    if (k->what == KEEP_REMOVE)
        return keep_remove(op);
    if (k->what == KEEP_WRITE) {
        system_bucket(k->arcs->env.buckets, &k->arena, &k->system, op_call(op, keep_bucket));
        return STEP_WAIT;
    }
    k->look = (struct arcs_look_req){&k->arena, k->id.bucket, k->id.key, k->id.format};
    arcs_look(k->arcs, &k->look, &k->looked, op_try(op, keep_stored));
    return STEP_WAIT;
}

static enum err encode(struct offload_task *t)
{
    struct arc_keep *k = CONTAINER(t, struct arc_keep, encode);

    return arc_index_encode(k->index, &k->bytes);
}

static enum step_next keep_bucket(struct op *op)
{
    struct arc_keep *k = OP(op, struct arc_keep);

    buf_init(&k->bytes, ARC_INDEX_MAX);
    offload_run(k->arcs->env.cpu, &k->encode, encode, op_call(op, keep_encoded));
    return STEP_WAIT;
}

static enum step_next keep_encoded(struct op *op)
{
    struct arc_keep *k = OP(op, struct arc_keep);

    k->body = source_memory(buf_str(&k->bytes), NULL, NULL);
    k->put = (struct obj_put_req){.arena = &k->arena,
                                  .bucket = k->system.bucket.id,
                                  .key = arcs_keep_key(&k->arena, &k->id),
                                  .cond = COND_INIT,
                                  .body = k->body,
                                  .check = &k->check,
                                  .size_max = ARC_INDEX_MAX};
    store_obj_put(k->arcs->env.store, &k->put, &k->stored, op_call(op, keep_stored));
    return STEP_WAIT;
}

static enum step_next keep_stored(struct op *op)
{
    return op_go(op, keep_end);
}

/* ---- a few at a time ---- */

static void keep_run_next(struct arcs *a)
{
    while (a->waiting && a->keep_count < ARCS_KEEPS_MAX && !a->closing) {
        struct arc_keep *k = a->waiting;
        a->waiting = k->next;
        if (!a->waiting)
            a->waiting_end = &a->waiting;
        a->waiting_count--;
        k->next = a->keeps;
        a->keeps = k;
        a->keep_count++;
        op_start(&k->op, a->env.loop, "keep_index", keep_first, keep_end);
    }
}

static void keep_free(struct arc_keep *k)
{
    arc_index_unref(k->index);
    source_close(k->body);
    buf_release(&k->bytes);
    arena_release(&k->arena);
    free(k);
}

static enum step_next keep_end(struct op *op)
{
    struct arc_keep *k = OP(op, struct arc_keep), **at;
    struct arcs *a = k->arcs;

    if (op->err != ERR_OK && op->err != ERR_CANCELLED)
        log_warn(STR_NONE, "index of an archive is not kept", "bucket=%s key=%s error=%s", log_quote(k->id.bucket.name),
                 log_quote(k->id.key), err_name(op->err));
    for (at = &a->keeps; *at != k; at = &(*at)->next)
        ;
    *at = k->next;
    a->keep_count--;
    keep_free(k);
    keep_run_next(a);
    return STEP_DONE;
}

static void keep_add(struct arcs *a, const struct arc_id *id, enum keep_what what, struct arc_index *x)
{
    struct arc_keep *k;

    if (a->closing || a->waiting_count >= ARCS_KEEP_QUEUE || !arc_id_is_kept(id))
        return;
    k = NEW(struct arc_keep);
    k->arcs = a;
    k->what = what;
    k->id = *id;
    k->id.key = arena_str(&k->arena, id->key);
    k->id.bucket.name = arena_str(&k->arena, id->bucket.name);
    k->index = x ? arc_index_ref(x) : NULL;
    *a->waiting_end = k;
    a->waiting_end = &k->next;
    a->waiting_count++;
    keep_run_next(a);
}

void arcs_keep_write(struct arcs *a, const struct arc_id *id, struct arc_index *x)
{
    keep_add(a, id, KEEP_WRITE, x);
}

void arcs_keep_remove(struct arcs *a, const struct arc_id *id)
{
    keep_add(a, id, KEEP_REMOVE, NULL);
}

void arcs_keep_make(struct arcs *a, const struct arc_id *id)
{
    keep_add(a, id, KEEP_MAKE, NULL);
}

void arcs_keep_init(struct arcs *a)
{
    a->waiting_end = &a->waiting;
}

void arcs_keep_stop(struct arcs *a)
{
    while (a->waiting) {
        struct arc_keep *k = a->waiting;
        a->waiting = k->next;
        keep_free(k);
    }
    a->waiting_end = &a->waiting;
    a->waiting_count = 0;
    /* what is being written takes a moment; what reads an archive may take long */
    for (struct arc_keep *k = a->keeps; k; k = k->next)
        if (k->what == KEEP_MAKE)
            op_cancel(&k->op, ERR_CANCELLED);
}

/* ---- all of a bucket ---- */

enum { PURGE_PAGE = 100 };

struct purge_op {
    struct op op;
    struct arcs *arcs;
    struct call *whole;
    struct arena arena; /* of a page */
    struct str prefix;
    struct bucket_id system;
    struct obj_list_req list;
    struct obj_list_res listed;
    struct call_group group;
    struct group_call members[PURGE_PAGE];
    struct obj_delete_req deletes[PURGE_PAGE];
    struct obj_delete_res deleted[PURGE_PAGE];
};

static step_fn purge_list, purge_page, purge_paged, purge_end;

static enum step_next purge_list(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    p->list = (struct obj_list_req){
        .arena = &p->arena, .bucket = p->system, .prefix = p->prefix, .after = STR(""), .max = PURGE_PAGE};
    store_obj_list(p->arcs->env.store, &p->list, &p->listed, op_call(op, purge_page));
    return STEP_WAIT;
}

static enum step_next purge_page(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->listed.count == 0)
        return op_go(op, purge_end);
    call_group_init(&p->group, op_call(op, purge_paged));
    for (uint32_t i = 0; i < p->listed.count; i++) {
        p->deletes[i] = (struct obj_delete_req){
            .arena = &p->arena, .bucket = p->system, .key = p->listed.entries[i].key, .cond = COND_INIT};
        store_obj_delete(p->arcs->env.store, &p->deletes[i], &p->deleted[i], group_call(&p->group, &p->members[i]));
    }
    call_group_seal(&p->group);
    return STEP_WAIT;
}

static enum step_next purge_paged(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);
    bool more = p->listed.truncated;

    arena_release(&p->arena);
    return more ? op_go(op, purge_list) : op_go(op, purge_end);
}

static enum step_next purge_end(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    arena_release(&p->arena);
    call_finish(p->whole, ERR_OK);
    return STEP_DONE;
}

static void purge_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void arcs_keep_purge(struct arcs *a, struct arena *arena, uint64_t uid, struct call *call)
{
    struct purge_op *p = ARENA_NEW(arena, struct purge_op);

    p->arcs = a;
    p->whole = call;
    p->prefix = arena_printf(arena, "index/%016llx/", (unsigned long long)uid);
    if (!system_bucket_find(a->env.buckets, arena, &p->system)) {
        call_finish(call, ERR_OK);
        return;
    }
    op_start(&p->op, call->loop, "purge_indexes", purge_list, purge_end);
    call_on_cancel(call, purge_cancel, &p->op);
}
