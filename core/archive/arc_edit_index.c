/* The index of a TAR that was just changed, from the one that the change was worked out with: nothing is read. An append needs none: who wants
 * it next extends the former one (arc_extend.h), and every now and then that is done behind a request. */
#include "archive/arc_edit_own.h"
#include "archive/arcs_own.h"

enum {
    MAKE_EVERY = 32,         /* appends */
    MAKE_LARGE = 1 << 20,    /* ... or after one of that many bytes, which costs more itself */
    KEEP_MEMBERS_MAX = 4096, /* longer indexes are not written anew for each change */
};

static uint32_t crc_of(const struct digest *d)
{
    return (uint32_t)d->b[0] << 24 | (uint32_t)d->b[1] << 16 | (uint32_t)d->b[2] << 8 | d->b[3];
}

static struct arc_member new_member(const struct edit_op *e)
{
    uint64_t size = e->patch.content_size, head = buf_str(&e->header).n;

    return (struct arc_member){.name = e->member,
                               .head = e->offset,
                               .offset = e->offset + head,
                               .stored = size,
                               .next = e->offset + head + size + arc_tar_padding(size),
                               .size = size,
                               .mtime_s = e->mtime_s,
                               .crc32 = crc_of(&e->patch.content_crc)};
}

static enum err add_members(const struct edit_op *e, struct arc_building *b)
{
    const struct arc_index *old = e->look.index;
    const struct arc_member fresh = new_member(e);
    uint64_t moved = e->new_end - old->end; /* modulo 2^64: mostly it is less than before */
    bool added = edit_deletes(e);
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < old->count && err == ERR_OK; i++) {
        struct arc_member m;
        arc_index_member(old, i, &m);
        if (str_eq(m.name, e->member)) {
            if (!added)
                err = arc_building_add(b, &fresh);
            added = true;
            continue;
        }
        if (m.head >= e->offset) {
            m.head += moved;
            m.offset += moved;
            m.next += moved;
        }
        err = arc_building_add(b, &m);
    }
    for (uint32_t i = 0; i < old->left_out; i++)
        arc_building_left_out(b);
    return err;
}

static enum err index_task(struct offload_task *t)
{
    struct edit_op *e = CONTAINER(t, struct edit_op, task);
    struct arc_building *b = arc_building_new(ARC_TAR);
    enum err err = add_members(e, b);

    if (err != ERR_OK) {
        arc_building_free(b);
        return err;
    }
    e->index = arc_building_seal(b, e->new_end);
    arc_index_set_object(e->index, &e->res->info);
    return ERR_OK;
}

void edit_index(struct edit_op *e, struct call *call)
{
    struct arcs *a = e->req->arcs;
    struct arc_id id = arc_id_of(&e->req->bucket, e->req->key, e->req->format);

    if (edit_removes(e)) {
        offload_run(a->env.cpu, &e->task, index_task, call);
        return;
    }
    if (etag_splices(&e->res->info.etag) % MAKE_EVERY == 0 || e->patch.content_size >= MAKE_LARGE)
        arcs_keep_make(a, &id);
    call_finish(call, ERR_OK);
}

void edit_index_keep(struct edit_op *e)
{
    struct arcs *a = e->req->arcs;
    struct arc_id id = arc_id_of(&e->req->bucket, e->req->key, e->req->format);

    if (!e->index)
        return;
    arc_cache_put(a->env.cache, &id, e->index);
    if (e->index->count <= KEEP_MEMBERS_MAX)
        arcs_keep_write(a, &id, e->index);
    arc_index_unref(e->index);
    e->index = NULL;
}
