#include <stdlib.h>

#include "base/mem.h"
#include "store/meta_etcd.h"
#include "store/metawatch.h"

/* Results wait in the ask's arena until the caller's loop copies them: an arena belongs to its loop. */
struct read {
    struct etcd_trip trip;
    const struct meta_get_req *get;
    struct meta_get_res *get_res;
    const struct meta_list_req *list;
    struct meta_list_res *list_res;
    struct etcd_range answer;
    uint32_t limit; /* list */
};

#define READ(t) CONTAINER(t, struct read, trip)

static enum err read_range(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    struct read *r = READ(CONTAINER(q, struct etcd_trip, ask));
    enum err e = etcd_read_range(&q->arena, text, &r->answer, why);

    if (e == ERR_OK)
        *out = r->answer.header;
    return e;
}

static void release(struct etcd_trip *t)
{
    etcd_ask_release(&t->ask);
    buf_release(&t->body);
    free(READ(t));
}

/* ---- get ---- */

static void get_answered(struct etcd_ask *q)
{
    struct etcd_trip *t = CONTAINER(q, struct etcd_trip, ask);
    enum err e = etcd_trip_err(q);

    if (e == ERR_OK && READ(t)->answer.count != 1)
        e = ERR_NOT_FOUND;
    etcd_trip_end(t, e);
}

static void get_begin(struct etcd_trip *t)
{
    struct arena arena = ARENA_INIT;

    etcd_write_range(&t->body, &(struct etcd_range_query){.key = etcd_full_key(t->m, &arena, READ(t)->get->key)});
    arena_release(&arena);
    etcd_trip_ask(t, "/v3/kv/range", read_range, get_answered);
}

static void get_deliver(struct etcd_trip *t)
{
    struct read *r = READ(t);

    *r->get_res = (struct meta_get_res){arena_str(r->get->arena, r->answer.kvs[0].value), r->answer.kvs[0].revision};
}

void etcd_get(struct meta *meta, const struct meta_get_req *req, struct meta_get_res *res, struct call *c)
{
    enum err e = meta_check_key(req->key);

    if (e != ERR_OK) {
        call_finish(c, e);
        return;
    }
    struct read *r = NEW(struct read);
    *r = (struct read){.get = req, .get_res = res};
    r->trip.begin = get_begin;
    r->trip.deliver = get_deliver;
    r->trip.release = release;
    etcd_trip_go(&r->trip, meta, c);
}

/* ---- list ---- */

static void list_ask(struct etcd_trip *t);

static void list_answered(struct etcd_ask *q)
{
    struct etcd_trip *t = CONTAINER(q, struct etcd_trip, ask);
    struct read *r = READ(t);

    /* values are larger than thought: a shorter page; one entry always fits */
    if (q->err == ERR_TOO_LARGE && r->limit > 1 && !t->cancelled) {
        r->limit = r->limit / 4 + 1 < r->limit ? r->limit / 4 + 1 : 1;
        etcd_ask_release(q);
        list_ask(t);
        return;
    }
    etcd_trip_end(t, etcd_trip_err(q));
}

static void list_ask(struct etcd_trip *t)
{
    struct read *r = READ(t);
    struct arena arena = ARENA_INIT;
    struct str prefix = r->list->prefix, after = r->list->after, from;
    struct str end = etcd_prefix_end(&arena, etcd_full_key(t->m, &arena, prefix));

    if (after.n && str_cmp(after, prefix) >= 0) { /* the smallest key behind it */
        char *p = arena_alloc(&arena, after.n + 1);
        memcpy(p, after.p, after.n);
        p[after.n] = 0;
        from = str_n(p, after.n + 1);
    } else {
        from = prefix.n ? prefix : STR("\1"); /* behind the keys of our own */
    }
    buf_reset(&t->body);
    etcd_write_range(
        &t->body, &(struct etcd_range_query){.key = etcd_full_key(t->m, &arena, from), .end = end, .limit = r->limit});
    arena_release(&arena);
    etcd_trip_ask(t, "/v3/kv/range", read_range, list_answered);
}

static void list_deliver(struct etcd_trip *t)
{
    struct read *r = READ(t);
    struct arena *arena = r->list->arena;
    uint32_t n = 0, cut = (uint32_t)t->m->prefix.n;
    struct meta_entry *entries = arena_alloc(arena, r->answer.count * sizeof(*entries));

    for (; n < r->answer.count; n++) {
        const struct etcd_kv *kv = &r->answer.kvs[n];
        if (kv->key.n < cut) /* no answer to what was asked */
            break;
        entries[n] =
            (struct meta_entry){arena_str(arena, str_skip(kv->key, cut)), arena_str(arena, kv->value), kv->revision};
    }
    *r->list_res = (struct meta_list_res){entries, n, r->answer.more};
}

void etcd_list(struct meta *meta, const struct meta_list_req *req, struct meta_list_res *res, struct call *c)
{
    struct arena arena = ARENA_INIT;
    struct str end = etcd_prefix_end(&arena, req->prefix);
    bool none = !req->max || (end.n && str_cmp(req->after, end) >= 0);

    arena_release(&arena);
    if (none) { /* etcd takes a limit of 0 for none, and a range of nothing for an error */
        *res = (struct meta_list_res){0};
        call_finish(c, ERR_OK);
        return;
    }
    struct read *r = NEW(struct read);
    *r = (struct read){.list = req, .list_res = res};
    r->limit = req->max < META_LIST_MAX ? req->max : META_LIST_MAX;
    r->trip.begin = list_ask;
    r->trip.deliver = list_deliver;
    r->trip.release = release;
    etcd_trip_go(&r->trip, meta, c);
}
