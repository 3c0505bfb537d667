#include "base/log.h"
#include "base/op.h"
#include "store/shard_own.h"

/* Listings: every node has its part of the keys in order; the parts are merged. Each node is asked for its share of the page and somewhat
 * more, and again (for twice as much) when the merge has used all of that up, so that a page costs about a page however many nodes there
 * are.
 *
 * While objects move, a key is at the node that loses it, or at the one that gains it, or at both, but a node asked at one time and another
 * asked at another time may both not have it. Therefore those that gain are asked when those that lose have answered, and again for
 * all that was not used yet whenever one that loses was asked again: a key that the first did not show had arrived before the second was
 * asked. A node may be both. */

/* Where a listing stands: behind this entry. */
struct marker {
    struct str key, id; /* id: of an upload */
};

struct cursor {
    struct group_call member;
    struct shard_node *node;
    uint16_t at; /* the node's position in the map */
    bool gains;
    bool asked;
    uint32_t ask;         /* how many entries next time */
    struct marker behind; /* what was asked last */
    const char *entries;
    uint32_t pos, count;
    bool doubtful;  /* not all that the node says counts: shard_knows() */
    bool truncated; /* there is more behind the entries */
    union {
        struct {
            struct obj_list_req req;
            struct obj_list_res res;
        } obj;
        struct {
            struct upload_list_req req;
            struct upload_list_res res;
        } upload;
    };
};

struct listing;
/* The two kinds of listings. */
struct kind {
    size_t size; /* of an entry */
    struct marker (*marker)(const void *entry);
    int64_t (*mtime)(const void *entry);
    void (*ask)(struct listing *l, struct cursor *c, struct store *node, struct call *call);
    void (*take)(struct cursor *c);
    void (*give)(struct listing *l);
    bool moves; /* objects move and have copies; uploads stay where they are */
};

struct listing {
    struct op op;
    const struct kind *kind;
    struct shard *shard;
    const void *req;
    void *res;
    struct arena *arena;
    const struct bucket_id *bucket;
    uint32_t max;
    struct call *whole;
    const struct map *map; /* held */
    unsigned tries;
    struct str avoid[SHARD_TRIES]; /* ids of nodes that did not answer, and can be done without */
    unsigned avoid_count;
    struct cursor *cursors;
    uint32_t cursor_count;
    struct cursor **heap; /* those with entries left, the least at [0] */
    uint32_t heap_count;
    bool gains; /* whose turn it is */
    struct call_group group;
    struct marker begin, last; /* what was asked for; the entry merged last */
    char *out;
    uint32_t count;
    bool truncated;
};

static step_fn list_plan, list_ask, list_answered, list_merge, list_end; /* in order; ask and answered for each turn */

/* ---- who is asked ---- */

/* How the node's weight changes, compared with another's. Keys go from the lesser to the greater. */
static bool changes_less(const struct shard_part *a, const struct shard_part *b)
{
    return (uint64_t)a->weight * b->weight_before < (uint64_t)b->weight * a->weight_before;
}

struct parts {
    struct shard_part *part, *least, *most;
    size_t n;
    uint64_t weight, weight_before;
};

static void parts_init(struct parts *p, struct shard *s, struct arena *arena)
{
    *p = (struct parts){0};
    p->n = shard_parts(s, arena, &p->part);
    p->least = p->most = p->part;
    for (size_t i = 0; i < p->n; i++) {
        struct shard_part *part = &p->part[i];
        p->weight += part->weight;
        p->weight_before += part->weight_before;
        if (changes_less(part, p->least))
            p->least = part;
        if (changes_less(p->most, part))
            p->most = part;
    }
}

/* Its share of a page of `max` keys on so many nodes each, and three standard deviations more. */
static uint32_t first_ask(const struct parts *p, const struct shard_part *part, uint32_t max, unsigned width)
{
    uint64_t all = (uint64_t)max * width;
    uint64_t now = p->weight ? all * part->weight / p->weight : 0;
    uint64_t before = p->weight_before ? all * part->weight_before / p->weight_before : 0;
    uint64_t share = 1 + (now > before ? now : before), root = 1;

    while (root * root < share)
        root++;
    share += 3 * root;
    return share < max ? (uint32_t)share : max;
}

static bool is_wide(const struct listing *l)
{
    return redundancy_is_wide(l->bucket->redundancy);
}

static void add_cursor(struct listing *l, struct shard_node *node, uint16_t at, uint32_t ask, bool gains)
{
    struct cursor *c = &l->cursors[l->cursor_count++];

    *c = (struct cursor){
        .node = node, .at = at, .gains = gains, .ask = ask, .behind = l->begin, .truncated = true /* so ask */};
    c->doubtful = l->kind->moves && is_wide(l) && l->map->nodes[at].sync != SYNC_IN;
}

static enum err add_part(struct listing *l, const struct parts *p, const struct shard_part *part)
{
    bool moving = l->kind->moves && l->map->previous_count;
    bool gains = moving && changes_less(p->least, part);
    bool loses = moving && changes_less(part, p->most);
    uint32_t ask = first_ask(p, part, l->max, redundancy_width(l->bucket->redundancy));
    struct shard_node *node;

    for (int turn = 0; turn < 2; turn++) {
        if (turn == 0 ? gains && !loses : !gains)
            continue;
        enum err e = shard_node_use(l->shard, part->at, &node);
        if (e != ERR_OK)
            return e;
        add_cursor(l, node, part->at, ask, turn == 1);
    }
    return ERR_OK;
}

static void leave(struct listing *l)
{
    for (uint32_t i = 0; i < l->cursor_count; i++)
        shard_node_done(l->cursors[i].node);
    l->cursor_count = 0;
    map_release(l->map);
    l->map = NULL;
}

static bool is_avoided(const struct listing *l, struct str id)
{
    for (unsigned i = 0; i < l->avoid_count; i++)
        if (str_eq(l->avoid[i], id))
            return true;
    return false;
}

/* What is not there is logged, and asked nevertheless where it can't be done without. */
static enum err choose(struct listing *l, const struct parts *p, bool **ask)
{
    bool *usable = arena_new(l->arena, p->n * sizeof(bool));
    struct redundancy r = l->bucket->redundancy;
    struct shard_node *node;

    *ask = arena_new(l->arena, p->n * sizeof(bool));
    for (size_t i = 0; i < p->n; i++)
        usable[i] = shard_node_usable(l->shard, p->part[i].at) && !is_avoided(l, l->map->nodes[p->part[i].at].id);
    enum err e = l->kind->moves ? shard_choose(l->map, r, p->part, p->n, usable, *ask)
                                : shard_choose_any(r, p->part, p->n, usable, *ask);
    for (size_t i = 0; i < p->n && e != ERR_OK; i++)
        if (!usable[i] && shard_node_use(l->shard, p->part[i].at, &node) == ERR_OK) /* logs those that it refuses */
            shard_node_done(node);
    return e;
}

static enum err add_parts(struct listing *l, const struct parts *p)
{
    bool *ask = NULL;
    enum err e = ERR_OK;

    if (is_wide(l) && (e = choose(l, p, &ask)) != ERR_OK)
        return e;
    for (size_t i = 0; i < p->n && e == ERR_OK; i++)
        if (!ask || ask[i])
            e = add_part(l, p, &p->part[i]);
    return e;
}

static enum step_next list_plan(struct op *op)
{
    struct listing *l = OP(op, struct listing);
    struct parts p;
    enum err e;

    l->tries++;
    l->map = map_hold(shard_map(l->shard));
    parts_init(&p, l->shard, l->arena);
    l->cursors = arena_new(l->arena, 2 * (p.n + 1) * sizeof(*l->cursors));
    l->heap = arena_new(l->arena, 2 * (p.n + 1) * sizeof(*l->heap));
    l->last = l->begin;
    l->count = 0;
    if (p.n == 0)
        return op_fail(op, shard_no_nodes(l->shard));
    if ((e = add_parts(l, &p)) != ERR_OK)
        return op_fail(op, e);
    l->gains = false;
    return op_go(op, list_ask);
}

/* ---- asking ---- */

static bool is_wanted(const struct listing *l, const struct cursor *c)
{
    return c->gains == l->gains && c->pos == c->count && c->truncated;
}

static void stop(void *arg)
{
    struct listing *l = arg;

    for (uint32_t i = 0; i < l->cursor_count; i++)
        call_cancel(&l->cursors[i].member.call);
}

static void ask(struct listing *l, struct cursor *c)
{
    uint32_t left = l->max - l->count;

    if (c->ask > left)
        c->ask = left;
    c->asked = true;
    l->kind->ask(l, c, shard_node_at(c->node, l->map->epoch), group_call(&l->group, &c->member));
}

static enum step_next list_ask(struct op *op)
{
    struct listing *l = OP(op, struct listing);
    bool any = false;

    for (uint32_t i = 0; i < l->cursor_count; i++)
        any |= l->cursors[i].asked = is_wanted(l, &l->cursors[i]);
    if (!any)
        return op_go(op, list_answered);
    call_group_init(&l->group, op_try(op, list_answered));
    call_on_cancel(l->group.whole, stop, l);
    for (uint32_t i = 0; i < l->cursor_count; i++)
        if (l->cursors[i].asked)
            ask(l, &l->cursors[i]);
    call_group_seal(&l->group);
    return STEP_WAIT;
}

static int marker_cmp(struct marker a, struct marker b)
{
    int c = str_cmp(a.key, b.key);

    return c ? c : str_cmp(a.id, b.id);
}

static struct marker entry_marker(const struct listing *l, const struct cursor *c, uint32_t i)
{
    return l->kind->marker(c->entries + i * l->kind->size);
}

/* The answer of a node that obeys brings the listing forward: without that it might never end. */
static enum err take(struct listing *l, struct cursor *c)
{
    c->pos = 0;
    l->kind->take(c);
    if (c->count > c->ask ||
        (c->truncated && (c->count == 0 || marker_cmp(entry_marker(l, c, c->count - 1), c->behind) <= 0))) {
        log_error(STR_NONE, "target answered with a listing out of order", "target=" STR_FMT,
                  STR_ARG(l->map->nodes[c->at].id));
        return ERR_INTERNAL;
    }
    if (c->count)
        c->behind = entry_marker(l, c, c->count - 1);
    c->ask = c->ask * 2;
    return ERR_OK;
}

/* A change of the map counts more than what it led to. */
static enum err worst(const struct listing *l)
{
    enum err e = ERR_OK;

    for (uint32_t i = 0; i < l->cursor_count; i++) {
        const struct cursor *c = &l->cursors[i];
        if (c->asked && c->member.call.err != ERR_OK && (e == ERR_OK || c->member.call.err == ERR_STALE_EPOCH))
            e = c->member.call.err;
    }
    return e;
}

/* What those that gain have shown so far is older than what those that lose have shown now. */
static void forget_gains(struct listing *l)
{
    for (uint32_t i = 0; i < l->cursor_count; i++) {
        struct cursor *c = &l->cursors[i];
        if (!c->gains)
            continue;
        c->behind = l->last;
        c->pos = c->count = 0;
        c->truncated = true;
    }
}

/* Who is silent, though its lease is still held, may be done without, too. */
static bool avoid_silent(struct listing *l)
{
    bool any = false;

    for (uint32_t i = 0; i < l->cursor_count && is_wide(l); i++) {
        const struct cursor *c = &l->cursors[i];
        struct str id = l->map->nodes[c->at].id;
        if (!c->asked || c->member.call.err != ERR_UNAVAILABLE || l->avoid_count == SHARD_TRIES || is_avoided(l, id))
            continue;
        l->avoid[l->avoid_count++] = arena_str(l->arena, id);
        any = true;
    }
    return any;
}

static enum step_next list_answered(struct op *op)
{
    struct listing *l = OP(op, struct listing);
    enum err e = worst(l);
    bool any = false;

    if (l->tries < SHARD_TRIES &&
        (shard_try_again(l->shard, l->map->epoch, e) || (e == ERR_UNAVAILABLE && avoid_silent(l)))) {
        leave(l);
        return op_go(op, list_plan);
    }
    for (uint32_t i = 0; i < l->cursor_count && e == ERR_OK; i++) {
        if (l->cursors[i].asked)
            e = take(l, &l->cursors[i]);
        any |= l->cursors[i].asked;
    }
    if (e != ERR_OK)
        return op_fail(op, e);
    if (l->gains)
        return op_go(op, list_merge);
    if (any)
        forget_gains(l);
    l->gains = true;
    return op_go(op, list_ask);
}

/* ---- merging ---- */

static bool is_before(const struct listing *l, const struct cursor *a, const struct cursor *b)
{
    return marker_cmp(entry_marker(l, a, a->pos), entry_marker(l, b, b->pos)) < 0;
}

static void sink(struct listing *l, uint32_t i)
{
    struct cursor *c = l->heap[i];

    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child + 1 < l->heap_count && is_before(l, l->heap[child + 1], l->heap[child]))
            child++;
        if (child >= l->heap_count || !is_before(l, l->heap[child], c))
            break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    l->heap[i] = c;
}

static void heap_build(struct listing *l)
{
    l->heap_count = 0;
    for (uint32_t i = 0; i < l->cursor_count; i++)
        if (l->cursors[i].pos < l->cursors[i].count)
            l->heap[l->heap_count++] = &l->cursors[i];
    for (uint32_t i = l->heap_count / 2; i-- > 0;)
        sink(l, i);
}

/* Steps over the least entry. False: the node has to be asked for more. */
static bool advance(struct listing *l)
{
    struct cursor *c = l->heap[0];
    bool more = ++c->pos < c->count;

    if (!more)
        l->heap[0] = l->heap[--l->heap_count];
    if (l->heap_count)
        sink(l, 0);
    return more || !c->truncated;
}

/* Whether the node's entry is to be taken rather than that of another node. */
static bool is_better(const struct listing *l, const struct cursor *c, struct str key, const void *entry,
                      const void *other)
{
    uint16_t owner;

    if (is_wide(l))
        return l->kind->mtime(entry) > l->kind->mtime(other);
    return map_place(l->map, l->bucket->uid, key, 1, &owner) && owner == c->at;
}

/* Common prefixes have no members: they are believed. */
static bool counts(const struct listing *l, const struct cursor *c, struct str key, const void *entry)
{
    return !c->doubtful || ((const struct list_entry *)entry)->is_prefix || shard_knows(l->map, l->bucket, key, c->at);
}

/* Takes the least entry from all nodes that have it: the owner's counts, of copies the newest. False: somebody has to be asked for
 * more. */
static bool merge_one(struct listing *l)
{
    struct marker m = entry_marker(l, l->heap[0], l->heap[0]->pos);
    char *to = l->out + l->count * l->kind->size;
    bool is_new = marker_cmp(m, l->last) > 0, more = true;
    uint32_t taken = 0;

    while (l->heap_count) {
        const struct cursor *c = l->heap[0];
        const char *entry = c->entries + c->pos * l->kind->size;
        if (marker_cmp(entry_marker(l, c, c->pos), m) != 0)
            break;
        if (counts(l, c, m.key, entry) && (taken == 0 || is_better(l, c, m.key, entry, to))) {
            memcpy(to, entry, l->kind->size);
            taken++;
        }
        more &= advance(l);
    }
    if (is_new) {
        l->last = m;
        l->count += taken > 0;
    }
    return more;
}

static enum step_next list_merge(struct op *op)
{
    struct listing *l = OP(op, struct listing);
    bool more = true;

    heap_build(l);
    while (l->heap_count && l->count < l->max && more)
        more = merge_one(l);
    l->truncated = l->heap_count || !more;
    if (l->count < l->max && !more) {
        l->gains = false;
        return op_go(op, list_ask);
    }
    if (!shard_map_changed(l->shard, l->map->epoch))
        return op_go(op, list_end);
    if (l->tries == SHARD_TRIES)
        return op_fail(op, ERR_STALE_EPOCH);
    leave(l);
    return op_go(op, list_plan);
}

static enum step_next list_end(struct op *op)
{
    struct listing *l = OP(op, struct listing);

    leave(l);
    if (op->err == ERR_OK)
        l->kind->give(l);
    call_finish(l->whole, op->err);
    return STEP_DONE;
}

static void list_cancel(void *arg)
{
    op_cancel(&((struct listing *)arg)->op, ERR_CANCELLED);
}

static void list_start(struct store *s, const struct listing *what)
{
    struct listing *l = ARENA_NEW(what->arena, struct listing);

    *l = *what;
    l->shard = SHARD(s);
    l->out = arena_alloc(l->arena, (l->max + 1) * l->kind->size);
    op_start(&l->op, l->whole->loop, "shard_list", l->max ? list_plan : list_end, list_end);
    call_on_cancel(l->whole, list_cancel, l); /* the arena keeps `l` until the call is done */
}

/* ---- objects ---- */

static struct marker obj_marker(const void *entry)
{
    return (struct marker){((const struct list_entry *)entry)->key, STR_NONE};
}

static int64_t obj_mtime(const void *entry)
{
    return ((const struct list_entry *)entry)->mtime_ns;
}

static void obj_ask(struct listing *l, struct cursor *c, struct store *node, struct call *call)
{
    c->obj.req = *(const struct obj_list_req *)l->req;
    c->obj.req.after = c->behind.key;
    c->obj.req.max = c->ask;
    c->obj.res = (struct obj_list_res){0};
    store_obj_list(node, &c->obj.req, &c->obj.res, call);
}

static void obj_take(struct cursor *c)
{
    c->entries = (const char *)c->obj.res.entries;
    c->count = c->obj.res.count;
    c->truncated = c->obj.res.truncated;
}

static void obj_give(struct listing *l)
{
    *(struct obj_list_res *)l->res =
        (struct obj_list_res){.entries = (const void *)l->out, .count = l->count, .truncated = l->truncated};
}

void shard_obj_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *c)
{
    static const struct kind kind = {
        sizeof(struct list_entry), obj_marker, obj_mtime, obj_ask, obj_take, obj_give, true};

    list_start(s, &(struct listing){.kind = &kind,
                                    .req = req,
                                    .res = res,
                                    .arena = req->arena,
                                    .bucket = &req->bucket,
                                    .max = req->max,
                                    .whole = c,
                                    .begin = {req->after, STR_NONE}});
}

/* ---- uploads ---- */

static struct marker upload_marker(const void *entry)
{
    const struct upload_entry *u = entry;

    return (struct marker){u->key, u->is_prefix ? STR_NONE : u->upload_id};
}

static int64_t upload_mtime(const void *entry)
{
    return ((const struct upload_entry *)entry)->created_ns;
}

static void upload_ask(struct listing *l, struct cursor *c, struct store *node, struct call *call)
{
    c->upload.req = *(const struct upload_list_req *)l->req;
    c->upload.req.key_marker = c->behind.key;
    c->upload.req.upload_id_marker = c->behind.id;
    c->upload.req.max = c->ask;
    c->upload.res = (struct upload_list_res){0};
    store_upload_list(node, &c->upload.req, &c->upload.res, call);
}

static void upload_take(struct cursor *c)
{
    c->entries = (const char *)c->upload.res.entries;
    c->count = c->upload.res.count;
    c->truncated = c->upload.res.truncated;
}

static void upload_give(struct listing *l)
{
    *(struct upload_list_res *)l->res =
        (struct upload_list_res){.entries = (const void *)l->out, .count = l->count, .truncated = l->truncated};
}

void shard_upload_list(struct store *s, const struct upload_list_req *req, struct upload_list_res *res, struct call *c)
{
    static const struct kind kind = {
        sizeof(struct upload_entry), upload_marker, upload_mtime, upload_ask, upload_take, upload_give, false};
    struct str common;
    /* behind a common prefix there is no upload of the marker's own to go on with */
    bool rolled =
        str_starts(req->key_marker, req->prefix) && key_rolls_up(req->key_marker, req->prefix, req->delimiter, &common);

    list_start(s, &(struct listing){.kind = &kind,
                                    .req = req,
                                    .res = res,
                                    .arena = req->arena,
                                    .bucket = &req->bucket,
                                    .max = req->max,
                                    .whole = c,
                                    .begin = {req->key_marker, rolled ? STR_NONE : req->upload_id_marker}});
}
