#include "slices_kit.h"

#include <stdlib.h>

#include "base/mem.h"

struct slices_kit sk;
static struct offload *cpu;

/* ---- nodes whose bodies break ---- */

struct breaking {
    struct store store;
    struct store *inner;
    size_t at;
    enum err err;
};
static struct breaking nodes[CLUSTER_MAX];

struct broken {
    struct source source;
    struct source *inner;
    uint64_t left; /* until it breaks */
    enum err err;
    size_t *n;
    struct call *whole;
    struct call call;
};

static void broken_peek(struct source *s, struct span *out)
{
    struct broken *b = CONTAINER(s, struct broken, source);

    if (b->left == 0) {
        *out = (struct span){.kind = SPAN_READ};
        return;
    }
    source_peek(b->inner, out);
    if (out->len > b->left)
        out->len = b->left;
}

static void broken_consume(struct source *s, uint64_t n)
{
    struct broken *b = CONTAINER(s, struct broken, source);

    b->left -= n;
    source_consume(b->inner, n);
}

static void broken_prepare(struct source *s, struct call *c)
{
    source_prepare(CONTAINER(s, struct broken, source)->inner, c);
}

static void broken_done(struct call *c)
{
    struct broken *b = CONTAINER(c, struct broken, call);

    b->left -= *b->n;
    call_finish(b->whole, c->err);
}

static void broken_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct broken *b = CONTAINER(s, struct broken, source);

    if (b->left == 0) {
        *n = 0;
        call_finish(c, b->err);
        return;
    }
    b->n = n;
    b->whole = c;
    call_begin(&b->call, c->loop, broken_done);
    source_read(b->inner, buf, len < b->left ? len : (size_t)b->left, n, &b->call);
}

static void broken_close(struct source *s)
{
    struct broken *b = CONTAINER(s, struct broken, source);

    source_close(b->inner);
    free(b);
}

struct get_hop {
    struct call call, *whole;
    struct breaking *node;
    struct obj_get_res *res;
};

static void get_done(struct call *c)
{
    static const struct source_ops ops = {"broken",       broken_peek, broken_consume,
                                          broken_prepare, broken_read, broken_close};
    struct get_hop *h = CONTAINER(c, struct get_hop, call);

    if (c->err == ERR_OK && h->node->at != SIZE_MAX) {
        struct broken *b = NEW(struct broken);
        *b = (struct broken){.source = {&ops, h->res->head.len}, .inner = h->res->body, .left = h->node->at};
        b->err = h->node->err;
        h->res->body = &b->source;
    }
    call_finish(h->whole, c->err);
    free(h);
}

static void break_obj_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    struct get_hop *h = NEW(struct get_hop);

    *h = (struct get_hop){.whole = c, .node = CONTAINER(s, struct breaking, store), .res = res};
    call_begin(&h->call, c->loop, get_done);
    store_obj_get(h->node->inner, req, res, &h->call);
}

static void break_obj_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *c)
{
    store_obj_head(CONTAINER(s, struct breaking, store)->inner, req, res, c);
}

static void break_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    store_obj_put(CONTAINER(s, struct breaking, store)->inner, req, res, c);
}

static void break_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res,
                             struct call *c)
{
    store_obj_delete(CONTAINER(s, struct breaking, store)->inner, req, res, c);
}

static void break_obj_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *c)
{
    store_obj_list(CONTAINER(s, struct breaking, store)->inner, req, res, c);
}

static struct store *node_of(void *arg, struct str id)
{
    (void)arg;
    return &nodes[strtoul(id.p, NULL, 10) - 1].store;
}

void slices_break(unsigned node, size_t at, enum err e)
{
    nodes[node].at = at;
    nodes[node].err = e;
}

/* ---- the cluster ---- */

void slices_open(struct loop *loop, unsigned count, unsigned data, unsigned parity)
{
    static const struct store_ops ops = {.name = "breaking",
                                         .obj_head = break_obj_head,
                                         .obj_get = break_obj_get,
                                         .obj_put = break_obj_put,
                                         .obj_delete = break_obj_delete,
                                         .obj_list = break_obj_list};
    static uint64_t uid = 1;
    struct redundancy r = {REDUNDANCY_EC, (uint8_t)data, (uint8_t)parity};

    cluster_open(loop, count, count);
    cpu = offload_new("cpu", 2, 64);
    for (unsigned i = 0; i < count; i++)
        nodes[i] = (struct breaking){.store = {.ops = &ops, .loop = loop},
                                     .inner = cluster_node_store(NULL, str_z(cluster.nodes[i].id)),
                                     .at = SIZE_MAX};
    sk = (struct slices_kit){.kit = {.loop = loop, .bucket = {++uid, STR("bucket"), r}}, .key = STR("a/key")};
    sk.env = (struct slices_env){
        .loop = loop, .cpu = cpu, .self = str_z(cluster.nodes[0].id), .mine = &nodes[0].store, .node = node_of};
}

void slices_close(void)
{
    for (unsigned i = 0; i < cluster.count; i++)
        store_close(nodes[i].inner);
    arena_release(&sk.kit.arena);
    offload_free(cpu);
    cluster_close();
}

/* ---- slices ---- */

static struct str slice_key(unsigned slice)
{
    struct slices_name name = {.key = sk.key, .slice = slice};
    struct erasure_layout l;

    assert_err(erasure_get(sk.layout, &l, &name.id), ERR_OK);
    return slices_key(&sk.kit.arena, &name);
}

unsigned slices_node(unsigned slice)
{
    const struct map *map = members_map(NULL);
    uint16_t at[REDUNDANCY_SLICES_MAX];

    assert_true(map_place(map, sk.kit.bucket.uid, sk.key, slice + 1, at) > slice);
    unsigned node = (unsigned)strtoul(map->nodes[at[slice]].id.p, NULL, 10) - 1;
    map_release(map);
    return node;
}

static struct membucket *shadow(unsigned node)
{
    return cluster_bucket(&cluster.nodes[node], slices_bucket(sk.kit.bucket));
}

struct memobject *slices_on(unsigned node, unsigned slice)
{
    return membucket_find(shadow(node), slice_key(slice));
}

unsigned slices_count(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < cluster.count; i++)
        n += (unsigned)shadow(i)->object_count;
    return n;
}

void slices_lose(unsigned node, unsigned slice)
{
    assert_non_null(slices_on(node, slice));
    membucket_remove(shadow(node), membucket_seek(shadow(node), slice_key(slice)));
}

void slices_damage(unsigned node, unsigned slice)
{
    struct memobject *o = slices_on(node, slice);

    assert_non_null(o);
    o->parts[0].blob->p[o->info.size / 2] ^= 1;
}

/* ---- what is tested ---- */

struct gate {
    struct commit_gate gate;
    struct slices_write_req req;
    struct slices_write_res res;
    struct gate_visit *visit;
    struct call *whole;
    struct call call;
};

static void gate_written(struct call *c)
{
    struct gate *g = CONTAINER(c, struct gate, call);

    if (c->err == ERR_OK)
        g->visit->layout = g->res.layout;
    call_finish(g->whole, c->err);
}

static void gate_cancel(void *arg)
{
    call_cancel(&((struct gate *)arg)->call);
}

static void gate_enter(struct commit_gate *gate, struct gate_visit *visit, struct call *c)
{
    struct gate *g = CONTAINER(gate, struct gate, gate);

    g->visit = visit;
    g->whole = c;
    g->req = (struct slices_write_req){&sk.kit.arena, sk.kit.bucket, sk.key, visit};
    call_begin(&g->call, c->loop, gate_written);
    call_on_cancel(c, gate_cancel, g);
    slices_write(&sk.env, &g->req, &g->res, &g->call);
}

enum err slices_put(size_t size, uint64_t seed)
{
    struct gate gate = {.gate = {gate_enter}};
    struct body_check check = {0};
    struct obj_put_res res;

    sk.content = kit_bytes(&sk.kit, size, seed);
    sk.kit.store = cluster.nodes[0].memory;
    struct source *body = source_memory(sk.content, NULL, NULL);
    struct obj_put_req req = kit_put_req(&sk.kit, sk.key, body, &check);
    req.gate = &gate.gate;
    enum err e = KIT_CALL(&sk.kit, obj_put, &req, &res);
    source_close(body);
    if (e == ERR_OK)
        sk.layout = kit_head(&sk.kit, sk.key).layout;
    return e;
}

enum err slices_get(uint64_t offset, uint64_t len, struct source **body)
{
    struct slices_read_req req = {sk.kit.bucket, sk.key, sk.layout, offset, len};
    struct slices_read_res res = {0};
    struct kit_call c = {0};

    slices_read(&sk.env, &req, &res, kit_begin(&sk.kit, &c));
    enum err e = kit_wait(&sk.kit, &c);
    *body = res.body;
    return e;
}

void slices_expect(uint64_t offset, uint64_t len, bool peek)
{
    struct source *body;
    struct str got;

    assert_err(slices_get(offset, len, &body), ERR_OK);
    assert_int_equal(body->size, len);
    assert_err(kit_drain(&sk.kit, body, peek, &got), ERR_OK);
    assert_str(got, str_n(sk.content.p + offset, (size_t)len));
}

enum err slices_mend(bool verify, struct slices_settle_res *res)
{
    struct slices_settle_req req = {&sk.kit.arena, sk.kit.bucket, sk.key, sk.layout, verify};
    struct kit_call c = {0};

    slices_settle(&sk.env, &req, res, kit_begin(&sk.kit, &c));
    return kit_wait(&sk.kit, &c);
}

void slices_expect_in_place(void)
{
    unsigned all = redundancy_slices(sk.kit.bucket.redundancy);

    for (unsigned i = 0; i < all; i++) {
        struct memobject *o = slices_on(slices_node(i), i);
        assert_non_null(o);
        struct slices_name name;
        assert_err(slices_parse(o->key, &o->info, &name), ERR_OK);
        assert_true(name.slice == i && str_eq(name.key, sk.key));
        struct digest d;
        hash_of(o->info.checksum.digest.alg, str_n(o->parts[0].blob->p, o->parts[0].blob->n), &d);
        assert_true(digest_eq(&d, &o->info.checksum.digest));
    }
    assert_int_equal(slices_count(), all);
}
