/* The rows of a batch one after the other as entries of an archive, and what becomes of them. */
#include <stdio.h>

#include "archive/arc_batch_own.h"
#include "base/json.h"

enum { WINDOW = 64, TRANSFORMS = BATCH_TRANSFORMS, STATUS_MAX = 256 << 20, TEXT_MAX = 2 * ARC_NAME_MAX + 64 };

struct str batch_name(struct arena *a, const struct arc_batch *b, const struct arc_batch_row *r, struct str member)
{
    struct buf t = BUF_INIT(TEXT_MAX);

    if (!b->onob) {
        buf_add_str(&t, r->shown_bucket);
        buf_add_char(&t, '/');
    }
    buf_add_str(&t, r->objname);
    if (member.n) {
        buf_add_char(&t, '/');
        buf_add_str(&t, member);
    }
    struct str name = arena_str(a, buf_str(&t));
    buf_release(&t);
    return name;
}

/* What stands for an entry that is not there must be a name that an archive may have. */
static struct str missing_name(struct arena *a, struct str name)
{
    struct str text = arena_printf(a, BATCH_MISSING STR_FMT, STR_ARG(name));

    if (arc_name_is_safe(text))
        return text;
    char *p = (char *)text.p;
    for (size_t i = 0; i < text.n; i++)
        if (p[i] == '.' || p[i] == 0)
            p[i] = '_';
    return text.n > ARC_NAME_MAX ? str_n(p, ARC_NAME_MAX) : text;
}

static void status_row(struct batch_walk *w, const struct arc_batch_row *r, const struct arc_entry *entry, enum err err,
                       uint64_t size)
{
    struct buf *b = &w->status;

    if (!w->batch->status)
        return;
    if (!w->status_open) {
        buf_init(b, STATUS_MAX);
        arena_defer(w->req->arena, (void (*)(void *))buf_release, b);
        w->status_open = true;
        buf_add_z(b, "[");
    } else {
        buf_add_char(b, '\n'); /* the comma comes with the object */
    }
    js_object(b);
    js_put_str(b, "name", entry->name);
    js_put_u64(b, "size", size);
    js_key(b, STR("error"));
    if (err == ERR_OK)
        js_null(b);
    else
        js_str(b, str_z(err_code(err)));
    if (err != ERR_OK && entry->text.n)
        js_put_str(b, "message", entry->text);
    if (r->opaque.p)
        js_put_str(b, "opaque", r->opaque);
    js_end_object(b);
    if (b->over)
        w->err = ERR_TOO_LARGE;
}

/* An entry that is known to be missing: an empty member in its place. */
static void entry_missing(struct batch_walk *w, struct arc_batch_row *r, struct arc_entry *out)
{
    out->name = missing_name(w->req->arena, batch_name(w->req->arena, w->batch, r, r->archpath));
    out->bytes = STR("");
    out->tag = r;
}

static void entry_of_selection(struct batch_walk *w, struct arc_batch_row *r, struct arc_entry *out)
{
    struct arc_member m;

    arc_index_member(r->index, r->members[w->member++], &m);
    out->name = batch_name(w->req->arena, w->batch, r, m.name);
    out->bucket = r->id;
    out->key = r->objname;
    out->member = m.name;
    out->format = r->index->format;
    arc_index_etag(r->index, &m, &out->if_match);
    out->via = r->via;
    out->tag = r;
}

static void entry_of_row(struct batch_walk *w, struct arc_batch_row *r, struct arc_entry *out)
{
    out->name = batch_name(w->req->arena, w->batch, r, r->archpath);
    out->bucket = r->id;
    out->key = r->objname;
    out->member = r->archpath;
    out->range = r->range;
    out->want = r->want;
    out->via = r->via;
    if (r->looked_up)
        out->if_match = r->etag;
    out->tag = r;
}

static void walk_next(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct batch_walk *w = arg;

    while (w->row < w->batch->count && w->batch->rows[w->row].selects && w->batch->rows[w->row].err == ERR_OK &&
           w->member == w->batch->rows[w->row].count) {
        w->row++;
        w->member = 0;
    }
    if (arc_batch_aborted(w->run) || w->err != ERR_OK) {
        call_finish(call, w->err != ERR_OK ? w->err : ERR_CANCELLED);
        return;
    }
    *end = w->row == w->batch->count;
    if (!*end) {
        struct arc_batch_row *r = &w->batch->rows[w->row];
        if (r->err != ERR_OK)
            entry_missing(w, r, out);
        else if (r->selects)
            entry_of_selection(w, r, out);
        else
            entry_of_row(w, r, out);
        w->row += r->err != ERR_OK || !r->selects;
    }
    call_finish(call, ERR_OK);
}

static enum arc_verdict walk_done(void *arg, const struct arc_entry *e, enum err err, uint64_t size, struct str *name)
{
    struct batch_walk *w = arg;
    struct arc_batch_row *r = e->tag;
    uint64_t soft_max = arc_batches_conf(w->req->batches)->soft_errors_max;
    bool missing = e->bytes.p != NULL;

    status_row(w, r, e, missing ? r->err : err, size);
    if (err == ERR_OK && !missing) {
        arc_batch_count(w->run, size);
        return ARC_LEAVE_OUT; /* not asked */
    }
    w->soft++;
    if (soft_max && w->soft > soft_max)
        w->err = ERR_INVALID_REQUEST;
    if (err == ERR_OK)
        return ARC_LEAVE_OUT;
    /* what was said of it before is not true any more: the client must notice */
    if (!w->batch->coer || r->looked_up || r->selects || w->err != ERR_OK)
        return ARC_FAIL;
    *name = missing_name(w->req->arena, e->name);
    return ARC_EMPTY;
}

static bool walk_last(void *arg, struct str *name, struct str *bytes)
{
    struct batch_walk *w = arg;

    if (!w->batch->status)
        return false;
    buf_add_z(&w->status, w->status_open ? "]\n" : "[]\n");
    *name = BATCH_STATUS_NAME;
    *bytes = buf_str(&w->status);
    return true;
}

struct source *batch_walk_open(struct batch_walk *w)
{
    const struct arc_batch_req *q = w->req;

    return arc_pack_open(&(struct arc_pack_conf){.loop = q->loop,
                                                 .store = q->store,
                                                 .arcs = q->arcs,
                                                 .cpu = q->cpu,
                                                 .format = w->batch->format,
                                                 .window = w->batch->transforms ? TRANSFORMS : WINDOW,
                                                 .through = q->through,
                                                 .through_arg = q->through_arg,
                                                 .as_ready = w->batch->as_ready,
                                                 .next = walk_next,
                                                 .done = walk_done,
                                                 .last = walk_last,
                                                 .arg = w});
}
