/* What a bucket holds: its objects, its older versions, the parts of its open uploads, a page at a time. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/quota_own.h"

enum { DRAIN_TURN_MS = 20 };

struct quota_count {
    struct op op;
    struct quota_count *next;
    struct quota_store *s;
    struct quota *q;
    struct arena arena;    /* the bucket's name */
    struct arena pages[2]; /* that of a page, and that of the one before: where it goes on */
    unsigned page;
    struct bucket_id bucket; /* then its shadow */
    bool shadow;
    struct quota_use sum;
    struct obj_list_req list;
    struct obj_list_res listed;
    struct upload_list_req uploads;
    struct upload_list_res found;
    uint32_t at;
    struct arena part_arena;
    struct part_list_req parts;
    struct part_list_res parted;
};

static step_fn count_page, count_add, count_uploads, count_upload, count_parts, count_part, count_end;

static struct arena *next_arena(struct quota_count *c)
{
    c->page ^= 1;
    arena_release(&c->pages[c->page]);
    return &c->pages[c->page];
}

static enum step_next count_page(struct op *op)
{
    struct quota_count *c = OP(op, struct quota_count);

    c->list.arena = next_arena(c);
    c->list.bucket = c->bucket;
    c->list.max = LIST_MAX;
    c->list.cached = LIST_ONLY_CACHED;
    store_obj_list(c->s->inner, &c->list, &c->listed, op_call(op, count_add));
    return STEP_WAIT;
}

static enum step_next count_add(struct op *op)
{
    struct quota_count *c = OP(op, struct quota_count);

    for (uint32_t i = 0; i < c->listed.count; i++)
        c->sum.bytes += c->listed.entries[i].size;
    c->sum.objects += c->listed.count;
    if (c->listed.truncated && c->listed.count) {
        c->list.after = c->listed.entries[c->listed.count - 1].key;
        return op_go(op, count_page);
    }
    if (c->shadow || c->bucket.versions == VERSIONS_OFF)
        return op_go(op, count_uploads);
    c->shadow = true;
    c->bucket = version_shadow(c->bucket);
    c->list.after = STR_NONE;
    return op_go(op, count_page);
}

/* ---- uploads ---- */

static enum step_next count_uploads(struct op *op)
{
    struct quota_count *c = OP(op, struct quota_count);

    c->bucket.uid &= ~VERSIONS_SHADOW;
    c->uploads.arena = next_arena(c);
    c->uploads.bucket = c->bucket;
    c->uploads.max = LIST_MAX;
    store_upload_list(c->s->inner, &c->uploads, &c->found, op_call(op, count_upload));
    c->at = 0;
    return STEP_WAIT;
}

static enum step_next count_upload(struct op *op)
{
    struct quota_count *c = OP(op, struct quota_count);
    const struct upload_entry *e;

    if (c->at == c->found.count) {
        if (!c->found.truncated || !c->found.count)
            return op_go(op, count_end);
        e = &c->found.entries[c->found.count - 1];
        c->uploads.key_marker = e->key;
        c->uploads.upload_id_marker = e->upload_id;
        return op_go(op, count_uploads);
    }
    e = &c->found.entries[c->at++];
    c->parts = (struct part_list_req){.bucket = c->bucket, .key = e->key, .upload_id = e->upload_id, .max = LIST_MAX};
    return op_go(op, count_parts);
}

static enum step_next count_parts(struct op *op)
{
    struct quota_count *c = OP(op, struct quota_count);

    arena_release(&c->part_arena);
    c->parts.arena = &c->part_arena;
    store_part_list(c->s->inner, &c->parts, &c->parted, op_try(op, count_part));
    return STEP_WAIT;
}

/* An upload that ended meanwhile is an object, or nothing. */
static enum step_next count_part(struct op *op)
{
    struct quota_count *c = OP(op, struct quota_count);

    if (op->call.err != ERR_OK)
        return op->call.err == ERR_NO_SUCH_UPLOAD ? op_go(op, count_upload) : op_fail(op, op->call.err);
    for (uint32_t i = 0; i < c->parted.count; i++)
        c->sum.bytes += c->parted.parts[i].size;
    if (!c->parted.truncated || !c->parted.count)
        return op_go(op, count_upload);
    c->parts.after = c->parted.parts[c->parted.count - 1].number;
    return op_go(op, count_parts);
}

/* ---- life ---- */

static enum step_next count_end(struct op *op)
{
    struct quota_count *c = OP(op, struct quota_count), **at = &c->s->counts;

    if (op->err != ERR_OK && op->err != ERR_CANCELLED && op->err != ERR_NO_SUCH_BUCKET)
        log_warn(STR_NONE, "what a bucket with a quota holds can't be counted", "bucket=" STR_FMT " err=%s",
                 STR_ARG(c->bucket.name), err_name(op->err));
    quota_counted(c->s->quotas, c->q, op->err == ERR_OK ? &c->sum : NULL);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    arena_release(&c->pages[0]);
    arena_release(&c->pages[1]);
    arena_release(&c->part_arena);
    arena_release(&c->arena);
    free(c);
    return STEP_DONE;
}

void quota_count_start(struct quota_store *s, struct quota *q, const struct bucket_id *b)
{
    struct quota_count *c = NEW(struct quota_count);

    c->s = s;
    c->q = q;
    c->bucket = *b;
    c->bucket.uid &= ~VERSIONS_SHADOW;
    c->bucket.name = arena_str(&c->arena, b->name);
    c->next = s->counts;
    s->counts = c;
    op_start(&c->op, s->store.loop, "quota_count", count_page, count_end);
}

void quota_count_drain(struct quota_store *s)
{
    for (struct quota_count *c = s->counts; c; c = c->next)
        op_cancel(&c->op, ERR_CANCELLED);
    while (s->counts)
        loop_turn(s->store.loop, DRAIN_TURN_MS);
}
