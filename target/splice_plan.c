#include "target/splice_plan.h"

#include <stdlib.h>

enum { SPLITS_MAX = 2 }; /* pieces that one splice adds at most */

/* ---- rows of pieces ---- */

static void add(struct splice_pieces *p, const struct extent *e)
{
    struct extent *last = p->count ? &p->list[p->count - 1] : NULL;

    if (e->len == 0)
        return;
    if (last && segment_id_cmp(&last->id, &e->id) == 0 && last->offset + last->len == e->offset) {
        last->len += e->len;
        return;
    }
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->list = mem_realloc(p->list, p->cap * sizeof(*p->list));
    }
    p->list[p->count++] = *e;
}

/* Bytes [from, to) of `row`. */
static void add_range(struct splice_pieces *p, const struct splice_pieces *row, uint64_t from, uint64_t to)
{
    uint64_t at = 0;

    for (size_t i = 0; i < row->count && at < to; at += row->list[i++].len) {
        struct extent e = row->list[i];
        uint64_t skip = from > at ? from - at : 0, end = to - at < e.len ? to - at : e.len;
        if (skip >= end)
            continue;
        e.offset += skip;
        e.len = end - skip;
        add(p, &e);
    }
}

static void release(struct splice_pieces *p)
{
    free(p->list);
    *p = (struct splice_pieces){0};
}

/* ---- the old object ---- */

static enum err take_manifest(struct splice_plan *p, const struct hot *from)
{
    struct manifest m;
    enum err e = manifest_decode(from->body, &m);

    if (e != ERR_OK)
        return e;
    for (uint32_t i = 0; i < m.count; i++) {
        struct manifest_part part;
        manifest_part(&m, i, &part);
        const struct extent x = {part.segment, part.offset, part.end - manifest_start(&m, i)};
        if (x.len && segment_id_is_zero(&x.id))
            return ERR_CORRUPT;
        add(&p->old, &x);
    }
    if (manifest_start(&m, m.count) != from->rec.info.size)
        return ERR_CORRUPT;
    return p->old.count + SPLITS_MAX <= PIECES_MAX ? ERR_OK : ERR_NOT_IMPLEMENTED;
}

enum err splice_plan_init(struct splice_plan *p, const struct hot *from, uint64_t offset, uint64_t cut)
{
    const struct extent all = {.id = from->rec.body, .len = from->rec.info.size};

    *p = (struct splice_plan){.size = all.len, .offset = offset, .cut = cut};
    if (offset > all.len || cut > all.len - offset)
        return ERR_INVALID_RANGE;
    switch (from->rec.kind) {
    case BODY_EMPTY:
        return ERR_OK;
    case BODY_INLINE:
        p->bare = true;
        return ERR_OK;
    case BODY_SEGMENT:
        add(&p->old, &all);
        return ERR_OK;
    case BODY_MANIFEST:
        break;
    }
    return take_manifest(p, from);
}

/* ---- what is written anew ---- */

/* The longest end of a row that grows by being put together. */
static size_t tail_of(const struct splice_pieces *row)
{
    uint64_t sum = 0, largest = 0;
    size_t best = 0;

    for (size_t n = 1; n <= row->count; n++) {
        uint64_t len = row->list[row->count - n].len;
        if ((sum += len) > SPLICE_MERGE_MAX)
            break;
        if (len > largest)
            largest = len;
        if (n >= SPLICE_TAIL && largest <= sum / SPLICE_GROWTH)
            best = n;
    }
    return best;
}

static uint64_t length(const struct splice_pieces *row, size_t from, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = from; i < from + n; i++)
        sum += row->list[i].len;
    return sum;
}

/* The run of SPLICE_RUN pieces with the fewest bytes; `base`: where the row begins in the object. */
static void cheapest_run(struct splice_plan *p, const struct splice_pieces *row, uint64_t base, uint64_t *least)
{
    uint64_t sum, at = base;

    if (row->count < SPLICE_RUN)
        return;
    sum = length(row, 0, SPLICE_RUN);
    for (size_t i = 0;; i++) {
        if (sum <= *least) {
            *least = sum;
            p->merge_from = at;
            p->merge_to = at + sum;
        }
        if (i + SPLICE_RUN == row->count)
            break;
        at += row->list[i].len;
        sum += row->list[i + SPLICE_RUN].len;
        sum -= row->list[i].len;
    }
}

void splice_plan_decide(struct splice_plan *p, uint64_t body_size)
{
    struct splice_pieces before = {0}, after = {0};
    uint64_t least = SPLICE_MERGE_MAX, rest = p->offset + p->cut;

    if (p->size - p->cut + body_size <= SPLICE_WHOLE_MAX) {
        p->whole = true;
        return;
    }
    if (p->bare)
        return; /* what is kept is little, and goes in front of the body */
    add_range(&before, &p->old, 0, p->offset);
    add_range(&after, &p->old, rest, p->size);
    size_t n = after.count ? 0 : tail_of(&before);
    if (n) {
        p->merge_from = p->offset - length(&before, before.count - n, n);
        p->merge_to = p->offset;
    } else if (before.count + after.count >= SPLICE_PIECES) {
        cheapest_run(p, &before, 0, &least);
        cheapest_run(p, &after, rest, &least);
    }
    release(&before);
    release(&after);
}

/* ---- the new object ---- */

static int cmp_shares(const void *a, const void *b)
{
    return segment_id_cmp(&((const struct txn_share *)a)->id, &((const struct txn_share *)b)->id);
}

static bool is_made(const struct segment_id *id, const struct extent *body, const struct segment_id *fresh)
{
    return (body->len && segment_id_cmp(id, &body->id) == 0) || (fresh && segment_id_cmp(id, fresh) == 0);
}

static void count_shares(struct splice_plan *p, const struct extent *body, const struct segment_id *fresh)
{
    size_t n = 0, kept = 0;

    p->shares = mem_alloc((p->old.count + p->pieces.count + 1) * sizeof(*p->shares));
    for (size_t i = 0; i < p->old.count; i++)
        p->shares[n++] = (struct txn_share){.id = p->old.list[i].id, .old = 1};
    for (size_t i = 0; i < p->pieces.count; i++)
        p->shares[n++] = (struct txn_share){.id = p->pieces.list[i].id, .now = 1};
    qsort(p->shares, n, sizeof(*p->shares), cmp_shares);
    for (size_t i = 0; i < n; i++) {
        if (kept && cmp_shares(&p->shares[kept - 1], &p->shares[i]) == 0) {
            p->shares[kept - 1].old += p->shares[i].old;
            p->shares[kept - 1].now += p->shares[i].now;
        } else {
            p->shares[kept++] = p->shares[i];
        }
    }
    for (size_t i = 0; i < kept; i++)
        p->shares[i].made = is_made(&p->shares[i].id, body, fresh);
    p->share_count = kept;
}

enum err splice_plan_finish(struct splice_plan *p, const struct extent *body, const struct segment_id *fresh)
{
    uint64_t rest = p->offset + p->cut, size = 0;
    struct splice_pieces anew = {0};

    if (p->bare && fresh) {
        const struct extent before = {*fresh, 0, p->offset}, after = {*fresh, p->offset, p->size - rest};
        add(&p->pieces, &before);
        add(&p->pieces, body);
        add(&p->pieces, &after);
    } else if (!p->bare) {
        const struct extent merged = {fresh ? *fresh : (struct segment_id){{0}}, 0, p->merge_to - p->merge_from};
        /* the old row with what was written anew in its place */
        add_range(&anew, &p->old, 0, p->merge_from);
        add(&anew, &merged);
        add_range(&anew, &p->old, p->merge_to, p->size);
        add_range(&p->pieces, &anew, 0, p->offset);
        add(&p->pieces, body);
        add_range(&p->pieces, &anew, rest, p->size);
    } else {
        add(&p->pieces, body);
    }
    release(&anew);
    for (size_t i = 0; i < p->pieces.count; i++)
        size += p->pieces.list[i].len;
    if (size != p->size - p->cut + body->len || p->pieces.count > PIECES_MAX)
        return ERR_CORRUPT;
    count_shares(p, body, fresh);
    return ERR_OK;
}

void splice_plan_release(struct splice_plan *p)
{
    release(&p->old);
    release(&p->pieces);
    free(p->shares);
    *p = (struct splice_plan){0};
}
