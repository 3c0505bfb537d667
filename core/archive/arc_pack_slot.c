/* Entries on their way into an archive: asked for, opened, and read ahead as far as the window allows. */
#include <stdlib.h>
#include <string.h>

#include "archive/arc_pack_own.h"
#include "base/clock.h"
#include "base/mem.h"

static void slot_open(struct pack_slot *s);

static void hold(struct pack_slot *s, uint64_t bytes)
{
    s->pack->held += bytes - s->held;
    s->held = bytes;
}

static void close_bodies(struct pack_slot *s)
{
    source_close(s->body); /* the result goes before what it is made of */
    source_close(s->inner);
    s->body = s->inner = NULL;
}

static void slot_ready(struct pack_slot *s, enum err e)
{
    s->state = SLOT_READY;
    s->err = e;
    if (e == ERR_OK) {
        s->pack->ready_bytes += s->size;
    } else {
        close_bodies(s);
        hold(s, 0);
    }
    pack_poke(s->pack);
}

void pack_slot_free(struct pack *p, struct pack_slot *s)
{
    unsigned i = 0;

    while (i < p->count && p->order[i] != s)
        i++;
    if (i < p->count) {
        p->count--;
        memmove(&p->order[i], &p->order[i + 1], (p->count - i) * sizeof(struct pack_slot *));
    }
    if (s->state == SLOT_READY && s->err == ERR_OK)
        p->ready_bytes -= s->size;
    close_bodies(s);
    free(s->bytes);
    hold(s, 0);
    arena_release(&s->arena);
    *s = (struct pack_slot){.pack = p};
    p->spare[p->spares++] = s;
}

static struct call *slot_call(struct pack_slot *s, enum slot_state state, void (*done)(struct call *))
{
    s->state = state;
    s->pack->outstanding++;
    call_begin(&s->call, s->pack->conf.loop, done);
    return &s->call;
}

/* False: the source was closed meanwhile, or the slot has failed. */
static bool slot_goes_on(struct pack_slot *s)
{
    enum err e = s->call.err;

    if (pack_call_ended(s->pack))
        return false;
    if (e != ERR_OK)
        slot_ready(s, e);
    return e == ERR_OK;
}

/* ---- reading ahead ---- */

static void on_checked(struct call *c)
{
    struct pack_slot *s = CONTAINER(c, struct pack_slot, call);

    if (!slot_goes_on(s))
        return;
    if (s->fill.step != 0) {
        slot_ready(s, ERR_INTERNAL); /* more than it said */
        return;
    }
    close_bodies(s);
    s->body = source_memory(str_n(s->bytes, (size_t)s->size), free, s->bytes);
    s->bytes = NULL;
    slot_ready(s, ERR_OK);
    pack_run_ahead(s->pack);
}

/* Some sources tell at their very end that what they gave was damaged. */
static void on_filled(struct call *c)
{
    struct pack_slot *s = CONTAINER(c, struct pack_slot, call);

    if (!slot_goes_on(s))
        return;
    if (s->bytes_n < s->size) {
        slot_ready(s, ERR_INCOMPLETE_BODY);
        return;
    }
    source_read(s->body, &s->probe, 1, &s->fill.step, slot_call(s, SLOT_CHECKS, on_checked));
}

static void slot_classify(struct pack_slot *s);

static void on_warmed(struct call *c)
{
    struct pack_slot *s = CONTAINER(c, struct pack_slot, call);

    if (slot_goes_on(s))
        slot_classify(s);
}

/* Content that shows its bytes is ready; other small content is read into memory; what is too much for the window is opened again when its
 * turn has come, since no connection likes to stand still for long. */
static void slot_classify(struct pack_slot *s)
{
    struct pack *p = s->pack;
    struct span span;

    if (!s->entry.via && s->entry.want && s->entry.want != s->size) {
        slot_ready(s, ERR_INVALID_RANGE);
        return;
    }
    source_peek(s->body, &span);
    if (span.kind == SPAN_WAIT) {
        source_prepare(s->body, slot_call(s, SLOT_WARMS, on_warmed));
        return;
    }
    bool shown = span.kind == SPAN_MEMORY || span.kind == SPAN_FILE || s->size == 0;
    if (shown && (s->size > PACK_COPY_MAX || span.len >= s->size)) {
        hold(s, span.kind == SPAN_MEMORY && s->size <= PACK_COPY_MAX ? s->size : 0);
        p->guess = s->held;
        slot_ready(s, ERR_OK);
        pack_run_ahead(p);
        return;
    }
    bool first = p->count > 0 && p->order[0] == s;
    bool fits = s->size <= p->conf.window_bytes / 4 && p->held - s->held + s->size <= p->conf.window_bytes;
    if (fits || (first && s->size <= PACK_COPY_MAX)) {
        hold(s, s->size);
        p->guess = s->size;
        s->bytes = mem_alloc(s->size ? (size_t)s->size : 1);
        source_fill(&s->fill, s->body, s->bytes, (size_t)s->size, &s->bytes_n, slot_call(s, SLOT_FILLS, on_filled));
        return;
    }
    hold(s, 0);
    if (first) {
        slot_ready(s, ERR_OK);
        return;
    }
    close_bodies(s);
    s->state = SLOT_LATER;
}

/* ---- content that passes through something ---- */

static void gather_more(struct pack_slot *s, size_t room);

static void on_gathered(struct call *c)
{
    struct pack_slot *s = CONTAINER(c, struct pack_slot, call);
    size_t room = s->fill.len;

    s->size += c->err == ERR_OK ? s->bytes_n : 0;
    if (!slot_goes_on(s))
        return;
    if (s->bytes_n == room) {
        gather_more(s, (size_t)s->size);
        return;
    }
    close_bodies(s);
    s->body = source_memory(str_n(s->bytes, (size_t)s->size), free, s->bytes);
    s->bytes = NULL;
    slot_ready(s, ERR_OK);
    pack_run_ahead(s->pack);
}

/* A result of unknown size: an archive wants to know it before the first byte. */
static void gather_more(struct pack_slot *s, size_t room)
{
    if (s->size > ARC_RESULT_MAX) {
        s->entry.text = STR("what it was transformed into is too large for a batch without saying how large");
        slot_ready(s, ERR_TOO_LARGE);
        return;
    }
    if (room > ARC_RESULT_MAX + 1 - s->size)
        room = (size_t)(ARC_RESULT_MAX + 1 - s->size);
    s->bytes = mem_realloc(s->bytes, (size_t)s->size + room);
    hold(s, s->size + room);
    source_fill(&s->fill, s->body, s->bytes + s->size, room, &s->bytes_n, slot_call(s, SLOT_GATHERS, on_gathered));
}

static void on_passed(struct call *c)
{
    struct pack_slot *s = CONTAINER(c, struct pack_slot, call);
    const struct obj_head_res *h = &s->passed.head;

    s->body = c->err == ERR_OK ? s->passed.body : NULL;
    s->entry.text = s->passed.text;
    if (!slot_goes_on(s))
        return;
    if (s->through.object) {
        s->mtime_s = h->info.mtime_ns / NS_PER_S;
        s->etag = h->info.etag;
        if (s->entry.want && s->entry.want != h->len) {
            slot_ready(s, ERR_INVALID_RANGE);
            return;
        }
    }
    s->crc_known = false;
    s->size = 0;
    if (s->body->size == SOURCE_SIZE_UNKNOWN) {
        gather_more(s, PACK_COPY_MAX);
        return;
    }
    s->size = s->body->size;
    slot_classify(s);
}

static void slot_pass(struct pack_slot *s, struct obj_get_req *object)
{
    struct pack *p = s->pack;

    if (!p->conf.through) {
        slot_ready(s, ERR_NOT_IMPLEMENTED);
        return;
    }
    s->passed = (struct arc_through_res){.body = NULL};
    s->through = (struct arc_through_req){
        .arena = &s->arena, .entry = &s->entry, .object = object, .body = s->inner, .size = s->size};
    p->conf.through(p->conf.through_arg, &s->through, &s->passed, slot_call(s, SLOT_OPENS, on_passed));
}

/* ---- opening ---- */

static void on_object(struct call *c)
{
    struct pack_slot *s = CONTAINER(c, struct pack_slot, call);
    const struct obj_head_res *h = &s->got.head;

    s->body = c->err == ERR_OK ? s->got.body : NULL;
    if (!slot_goes_on(s))
        return;
    s->size = h->len;
    s->mtime_s = h->info.mtime_ns / NS_PER_S;
    s->etag = h->info.etag;
    const struct checksum *sum = &h->info.checksum;
    if (sum->digest.alg == HASH_CRC32 && sum->digest.n == 4 && sum->type == CHECKSUM_FULL_OBJECT &&
        h->len == h->info.size) {
        s->crc_known = true;
        s->crc = (uint32_t)sum->digest.b[0] << 24 | (uint32_t)sum->digest.b[1] << 16 | (uint32_t)sum->digest.b[2] << 8 |
                 sum->digest.b[3];
    }
    slot_classify(s);
}

static void on_member(struct call *c)
{
    struct pack_slot *s = CONTAINER(c, struct pack_slot, call);
    const struct arcs_get_res *m = &s->member_got;

    s->body = c->err == ERR_OK ? m->body : NULL;
    if (!slot_goes_on(s))
        return;
    s->size = m->len;
    s->mtime_s = m->mtime_ns / NS_PER_S;
    s->etag = m->etag;
    s->crc_known = m->len == m->member.size;
    s->crc = m->member.crc32;
    if (!s->entry.via) {
        slot_classify(s);
        return;
    }
    if (s->entry.want && s->entry.want != s->size) {
        slot_ready(s, ERR_INVALID_RANGE);
        return;
    }
    s->inner = s->body;
    s->body = NULL;
    slot_pass(s, NULL);
}

static struct cond slot_cond(struct pack_slot *s)
{
    struct cond cond = COND_INIT;
    const struct etag *want = s->etag.n ? &s->etag : &s->entry.if_match; /* opened again: what it was */

    if (want->n)
        cond.if_match = arena_str(&s->arena, etag_str(want));
    return cond;
}

static void slot_open(struct pack_slot *s)
{
    const struct arc_entry *e = &s->entry;
    struct pack *p = s->pack;

    if (!arc_name_is_safe(e->name)) {
        slot_ready(s, ERR_INVALID_ARGUMENT);
        return;
    }
    if (e->bytes.p) {
        s->size = e->bytes.n;
        s->mtime_s = clock_wall_ns() / NS_PER_S;
        s->body = source_memory(e->bytes, NULL, NULL);
        slot_ready(s, ERR_OK);
        return;
    }
    struct bucket_id bucket = e->bucket;
    bucket.name = arena_str(&s->arena, e->bucket.name);
    struct str key = arena_str(&s->arena, e->key);
    hold(s, p->guess);
    if (e->member.n == 0) {
        s->get.head = (struct obj_head_req){
            .arena = &s->arena, .bucket = bucket, .key = key, .cond = slot_cond(s), .range = e->range};
        if (e->via) {
            slot_pass(s, &s->get);
            return;
        }
        store_obj_get(p->conf.store, &s->get, &s->got, slot_call(s, SLOT_OPENS, on_object));
        return;
    }
    if (!p->conf.arcs) {
        slot_ready(s, ERR_NOT_IMPLEMENTED);
        return;
    }
    s->member = (struct arcs_get_req){
        .archive = {.arena = &s->arena, .bucket = bucket, .key = key, .format = e->format},
        .member = arena_str(&s->arena, e->member),
        .cond = slot_cond(s),
        .range = e->range,
    };
    arcs_get(p->conf.arcs, &s->member, &s->member_got, slot_call(s, SLOT_OPENS, on_member));
}

/* ---- asking ---- */

static void on_next(struct call *c)
{
    struct pack *p = CONTAINER(c, struct pack, next_call);
    struct pack_slot *s = p->asks;
    enum err e = c->err;

    p->asking = false;
    if (pack_call_ended(p))
        return;
    if (e != ERR_OK || p->asked_end || p->err != ERR_OK) {
        p->asked_all = true;
        if (p->err == ERR_OK)
            p->err = e;
        pack_slot_free(p, s);
        pack_poke(p);
        return;
    }
    slot_open(s);
    pack_run_ahead(p);
}

void pack_run_ahead(struct pack *p)
{
    if (p->count && p->order[0]->state == SLOT_LATER && p->cur == NULL) {
        arena_release(&p->order[0]->arena);
        slot_open(p->order[0]);
    }
    bool room = p->count == 0 || p->held < p->conf.window_bytes;
    if (p->asking || p->asked_all || p->closed || p->err != ERR_OK || p->spares == 0 || !room)
        return;
    struct pack_slot *s = p->spare[--p->spares];
    s->state = SLOT_ASKS;
    p->order[p->count++] = s;
    p->asking = true;
    p->asks = s;
    p->outstanding++;
    call_begin(&p->next_call, p->conf.loop, on_next);
    p->conf.next(p->conf.arg, &s->entry, &p->asked_end, &p->next_call);
}

struct pack_slot *pack_ready(const struct pack *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (p->order[i]->state == SLOT_READY)
            return p->order[i];
        if (!p->conf.as_ready)
            return NULL;
    }
    return NULL;
}

void pack_slots_cancel(struct pack *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (call_is_pending(&p->order[i]->call))
            call_cancel(&p->order[i]->call);
    if (p->asking)
        call_cancel(&p->next_call);
}
