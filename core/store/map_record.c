#include <assert.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "store/map_own.h"
#include "store/meta.h"

enum { FORMAT = 1 };
#define EPOCH_MAX ((uint64_t)INT64_MAX - 1) /* what JSON readers hold */

/* ---- what may be in a map ---- */

static bool is_id(struct str s)
{
    if (s.n != NODE_ID_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

/* Nothing that JSON would have to escape: so the limits bound the record as well. */
static bool is_plain(struct str s, size_t max)
{
    if (s.n > max || !str_is_utf8(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

bool map_is_node(const struct map_node *n)
{
    return is_id(n->id) && is_plain(n->zone, MAP_ZONE_MAX) && n->address.n && is_plain(n->address, MAP_ADDRESS_MAX) &&
           is_plain(n->public_address, MAP_ADDRESS_MAX) && n->weight >= 1;
}

/* ---- the record ---- */

static struct str text_of(const struct doc *d, struct str key)
{
    const struct doc *found = doc_get(d, key);

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

/* Without the member it is 0. */
static bool number_of(const struct doc *d, struct str key, uint64_t max, uint64_t *out)
{
    struct str text = text_of(d, key);

    *out = 0;
    return !doc_get(d, key) || str_to_u64(text, max, out);
}

static bool state_of(struct str name, enum node_state *out)
{
    for (enum node_state s = NODE_ACTIVE; s <= NODE_LEAVING; s++) {
        if (str_eq(node_state_name(s), name)) {
            *out = s;
            return true;
        }
    }
    return false;
}

/* A record without: in sync, but for a node in maintenance, which nobody has asked. */
static bool sync_of(const struct doc *d, uint64_t epoch, struct map_node *out)
{
    struct str name = text_of(d, STR("sync"));
    bool known = false;

    if (name.n == 0 && out->state == NODE_MAINTENANCE) {
        out->sync = SYNC_OUT;
        out->out_since = epoch;
        return true;
    }
    for (enum node_sync s = SYNC_IN; s <= SYNC_CATCHING; s++) {
        if (str_eq(node_sync_name(s), name)) {
            out->sync = s;
            known = true;
        }
    }
    return (known || name.n == 0) && number_of(d, STR("out_since"), epoch, &out->out_since) &&
           (out->sync == SYNC_IN) == (out->out_since == 0);
}

static struct str zone_of(const struct doc *d, struct str key, struct str own)
{
    return doc_get(d, key) ? text_of(d, key) : own;
}

static bool read_places(const struct doc *d, struct draft_node *out)
{
    uint64_t share, previous;

    if (!number_of(d, STR("share"), UINT32_MAX, &share) || !number_of(d, STR("previous"), UINT32_MAX, &previous))
        return false;
    out->share = (uint32_t)share;
    out->previous = (uint32_t)previous;
    out->share_zone = zone_of(d, STR("share_zone"), out->node.zone);
    out->previous_zone = zone_of(d, STR("previous_zone"), out->node.zone);
    return is_plain(out->share_zone, MAP_ZONE_MAX) && is_plain(out->previous_zone, MAP_ZONE_MAX);
}

static bool is_new(const struct draft *d, struct str id)
{
    for (size_t i = 0; i < d->n; i++)
        if (str_eq(d->nodes[i].node.id, id))
            return false;
    return true;
}

static bool read_node(const struct doc *d, struct draft *into)
{
    struct draft_node *out = &into->nodes[into->n];
    uint64_t weight;

    out->node = (struct map_node){.id = text_of(d, STR("id")),
                                  .zone = text_of(d, STR("zone")),
                                  .address = text_of(d, STR("address")),
                                  .public_address = text_of(d, STR("public"))};
    if (!number_of(d, STR("weight"), UINT32_MAX, &weight) || !read_places(d, out) ||
        !state_of(text_of(d, STR("state")), &out->node.state) || !sync_of(d, into->epoch, &out->node) ||
        !is_new(into, out->node.id))
        return false;
    out->node.weight = (uint32_t)weight;
    into->n++;
    return map_is_node(&out->node);
}

static bool read_gone(const struct doc *d, struct draft *into)
{
    struct draft_node *out = &into->nodes[into->n];

    out->node = (struct map_node){.id = text_of(d, STR("id")), .zone = STR(""), .address = STR("")};
    out->gone = true;
    if (!is_id(out->node.id) || !is_new(into, out->node.id) || !read_places(d, out))
        return false;
    into->n++;
    return out->share || out->previous;
}

static bool read_nodes(const struct doc *root, struct draft *d)
{
    const struct doc *nodes = doc_get(root, STR("nodes")), *gone = doc_get(root, STR("gone"));
    bool moving = false, placed = false;

    if (!nodes || nodes->kind != DOC_LIST || (gone && gone->kind != DOC_LIST) ||
        nodes->count + (gone ? gone->count : 0) > MAP_NODES_MAX)
        return false;
    d->nodes = mem_new((nodes->count + (gone ? gone->count : 0) + 1) * sizeof(*d->nodes));
    for (const struct doc *n = nodes->first; n; n = n->next)
        if (!read_node(n, d))
            return false;
    for (size_t i = 0; i < d->n; i++) {
        moving = moving || d->nodes[i].previous;
        placed = placed || d->nodes[i].share;
    }
    for (const struct doc *n = gone ? gone->first : NULL; n; n = n->next)
        if (!moving || !read_gone(n, d))
            return false;
    return moving == (d->moving_since > 0) && d->moving_since <= d->epoch && (placed || !moving);
}

enum err map_parse(struct str record, const struct map **out)
{
    static const struct js_bounds bounds = {META_VALUE_MAX, 2 * DOC_NODES_MAX};
    struct arena arena = ARENA_INIT;
    struct draft d = {0};
    char why[DOC_WHY_MAX] = "";
    uint64_t format = 0;
    struct doc *root;
    enum err e = ERR_CORRUPT;

    if (js_read_within(&arena, record, &bounds, &root, why) == ERR_OK &&
        number_of(root, STR("format"), UINT64_MAX, &format) && format > 0)
        e = format > FORMAT ? ERR_NOT_IMPLEMENTED : ERR_OK;
    if (e == ERR_OK && (!number_of(root, STR("epoch"), EPOCH_MAX, &d.epoch) || d.epoch == 0 ||
                        !number_of(root, STR("moving_since"), EPOCH_MAX, &d.moving_since) ||
                        !number_of(root, STR("term"), d.epoch, &d.term) || !read_nodes(root, &d)))
        e = ERR_CORRUPT;
    if (e == ERR_OK) {
        if (!doc_get(root, STR("term")))
            d.term = d.epoch;
        *out = draft_build(&d);
    } else {
        free(d.nodes);
        log_error(STR_NONE, "map of the cluster can't be read", "format=%llu err=%s why=%s", (unsigned long long)format,
                  err_name(e), log_quote(str_z(why)));
    }
    arena_release(&arena);
    return e;
}

static void write_places(struct buf *b, const struct draft_node *n)
{
    struct str own = n->gone ? STR("") : n->node.zone;

    if (n->share)
        js_put_u64(b, "share", n->share);
    if (n->previous)
        js_put_u64(b, "previous", n->previous);
    if (n->share && !str_eq(n->share_zone, own))
        js_put_str(b, "share_zone", n->share_zone);
    if (n->previous && !str_eq(n->previous_zone, own))
        js_put_str(b, "previous_zone", n->previous_zone);
}

static void write_node(struct buf *b, const struct draft_node *n)
{
    js_object(b);
    js_put_str(b, "id", n->node.id);
    js_put_str(b, "zone", n->node.zone);
    js_put_str(b, "address", n->node.address);
    js_put_str(b, "public", n->node.public_address);
    js_put_u64(b, "weight", n->node.weight);
    js_put_str(b, "state", node_state_name(n->node.state));
    if (n->node.sync != SYNC_IN) {
        js_put_str(b, "sync", node_sync_name(n->node.sync));
        js_put_u64(b, "out_since", n->node.out_since);
    }
    write_places(b, n);
    js_end_object(b);
}

static void write_gone(struct buf *b, const struct draft *d)
{
    js_key(b, STR("gone"));
    js_array(b);
    for (size_t i = 0; i < d->n; i++) {
        if (!d->nodes[i].gone)
            continue;
        js_object(b);
        js_put_str(b, "id", d->nodes[i].node.id);
        write_places(b, &d->nodes[i]);
        js_end_object(b);
    }
    js_end_array(b);
}

struct str map_record(const struct map *m, struct arena *arena)
{
    struct buf b = BUF_INIT(META_VALUE_MAX);
    struct draft d;
    struct str out;

    draft_from(&d, m);
    js_object(&b);
    js_put_u64(&b, "format", FORMAT);
    js_put_u64(&b, "epoch", m->epoch);
    js_put_u64(&b, "moving_since", m->moving_since);
    js_put_u64(&b, "term", m->term);
    js_key(&b, STR("nodes"));
    js_array(&b);
    for (size_t i = 0; i < m->node_count; i++)
        write_node(&b, &d.nodes[i]);
    js_end_array(&b);
    if (d.n > m->node_count)
        write_gone(&b, &d);
    js_end_object(&b);
    assert(!b.over); /* map_is_node() and MAP_NODES_MAX bound it */
    out = arena_str(arena, buf_str(&b));
    buf_release(&b);
    free(d.nodes);
    return out;
}
