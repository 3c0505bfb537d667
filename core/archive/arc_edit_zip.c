/* A ZIP is packed anew: what readers could get from the old one, and the new member. */
#include <stdio.h>

#include "archive/arc_edit_own.h"
#include "archive/arcs_own.h"

static void give_new(struct edit_op *e, struct arc_entry *out)
{
    e->added = true;
    out->name = e->member;
    out->bytes = e->bytes ? str_n(e->bytes, e->got) : STR("");
}

/* The next one that stays; should the archive change meanwhile, the new one is not committed. Of several of one name only the first can be read, so that only it is kept. */
static bool next_old(struct edit_op *e, struct arc_entry *out)
{
    const struct arc_index *x = e->look.index;
    struct arc_member m;
    uint32_t first;

    for (; x && e->exists && e->at < x->count; e->at++) {
        arc_index_member(x, e->at, &m);
        if (arc_index_find(x, m.name, &first, &m) && first != e->at)
            continue;
        if (edit_removes(e) && str_eq(m.name, e->member)) {
            if (edit_deletes(e))
                continue;
            e->at++;
            give_new(e, out);
            return true;
        }
        e->at++;
        out->name = m.name;
        out->bucket = e->req->bucket;
        out->key = e->req->key;
        out->member = m.name;
        out->format = e->format;
        return true;
    }
    return false;
}

static void next(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct edit_op *e = arg;

    *end = false;
    if (!next_old(e, out)) {
        if (edit_deletes(e) || e->added)
            *end = true;
        else
            give_new(e, out);
    }
    call_finish(call, ERR_OK);
}

enum err edit_repack(struct edit_op *e)
{
    struct arc_pack_conf conf = {.loop = e->op.loop,
                                 .store = e->req->arcs->env.store,
                                 .arcs = e->req->arcs,
                                 .cpu = e->req->arcs->env.cpu,
                                 .format = e->format,
                                 .next = next,
                                 .arg = e};

    if (!e->bytes && e->req->body && !edit_deletes(e)) { /* it isn't called a ZIP, so that nobody knew */
        snprintf(e->res->why, sizeof(e->res->why), "a member this large can't be put into a ZIP");
        return ERR_NOT_IMPLEMENTED;
    }
    if (e->req->change == ARC_CREATE || !e->exists) {
        e->look.index = NULL;
    } else if (e->look.index->left_out) {
        snprintf(e->res->why, sizeof(e->res->why), "a ZIP that holds more than regular files can't be changed");
        return ERR_NOT_IMPLEMENTED;
    }
    e->at = 0;
    e->added = false;
    e->body = arc_pack_open(&conf);
    return ERR_OK;
}
