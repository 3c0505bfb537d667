#include "target/sealing.h"

enum err sealing_describe(struct sealing *s, const struct description *d)
{
    buf_init(&s->desc, SEGMENT_DESC_MAX);
    return description_encode(&s->desc, d) == ERR_OK ? ERR_OK : ERR_METADATA_TOO_LARGE;
}

/* BLOCKING */
static enum err seal(struct sealing *s)
{
    struct segment_id id = s->staged->id;

    inflight_add(s->mountpath, &s->inflight, &id);
    enum err e = segment_seal(s->staged, buf_str(&s->desc));
    s->sealed = e == ERR_OK;
    return e;
}

static enum err seal_task(struct offload_task *t)
{
    return seal(CONTAINER(t, struct sealing, task));
}

void sealing_run(struct sealing *s, struct mountpath *m, struct segment_staged *staged, struct offload *io,
                 struct call *call)
{
    s->mountpath = m;
    s->staged = staged;
    offload_run(io, &s->task, seal_task, call);
}

enum err sealing_seal(struct sealing *s, struct mountpath *m, struct segment_staged *staged)
{
    s->mountpath = m;
    s->staged = staged;
    return seal(s);
}

enum err sealing_stage_empty(struct sealing *s, struct mountpath *m)
{
    s->mountpath = m;
    s->staged = &s->own;
    s->own = (struct segment_staged)SEGMENT_STAGED_NONE;
    return segment_stage(m->segments, 0, &s->own);
}

enum err sealing_seal_empty(struct sealing *s)
{
    return seal(s);
}

void sealing_end(struct sealing *s, bool committed)
{
    /* After a failed write the record may be in the index's log all the same, and count at the next start. */
    if (s->sealed && !committed && !committer_is_broken(s->mountpath->committer))
        mountpath_unlink(s->mountpath, &s->inflight.id, 1);
    if (s->staged == &s->own)
        segment_discard(&s->own);
    if (s->mountpath)
        inflight_remove(s->mountpath, &s->inflight);
    source_close(s->empty);
    buf_release(&s->desc);
    *s = (struct sealing){0};
}
