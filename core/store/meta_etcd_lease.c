#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/meta_etcd.h"
#include "store/metawatch.h"

/* The life of a lease, in turn: grant, put the key with it, then every third of its time keep it alive and look whether
 * the key is still there. One that etcd has forgotten begins anew. We choose the ids: so a grant whose answer got lost
 * can be repeated, and a key be known as ours. */
enum { END_MS = 2000, END_AWAY_MS = 300, TTL_MIN_S = 1, TTL_MAX_S = 86400 };

struct meta_lease {
    struct meta_lease *next;
    struct meta_etcd *m;
    struct str key, value; /* behind the struct; the key as etcd knows it */
    uint32_t ttl_s;
    uint64_t id;
    struct etcd_wait *waits; /* who waits for the first put, or for the end */
    struct etcd_ask ask;
    struct buf body;
    struct timer timer;
    struct etcd_lease alive;
    struct etcd_range found;
    struct etcd_txn put;
    unsigned failures;
    uint64_t asked_ns, sent_ns;      /* when it was last asked to be kept; the same of what was answered */
    _Atomic uint64_t until_ns, puts; /* meta_lease_state */
    bool asks, placed, ending;
    bool puts_key; /* a put was sent since the key was last seen to be ours; its answer may have got lost */
    bool told;     /* the log knows what is wrong */
};

#define LEASE(q) CONTAINER(q, struct meta_lease, ask)

static void grant(struct meta_lease *l);
static void keep(struct meta_lease *l);
static void revoke(struct meta_lease *l);

static void on_grant_timer(struct timer *t)
{
    grant(CONTAINER(t, struct meta_lease, timer));
}

static void on_keep_timer(struct timer *t)
{
    keep(CONTAINER(t, struct meta_lease, timer));
}

static void again(struct meta_lease *l, void (*fn)(struct timer *), uint64_t ms)
{
    l->timer.fn = fn;
    timer_set(l->m->loop, &l->timer, ms);
}

static uint64_t third_ms(const struct meta_lease *l)
{
    return (uint64_t)l->ttl_s * 1000 / 3;
}

static void ask(struct meta_lease *l, const char *path,
                enum err (*read)(struct etcd_ask *, struct str, struct etcd_header *, char why[DOC_WHY_MAX]),
                void (*done)(struct etcd_ask *))
{
    etcd_ask_release(&l->ask);
    l->asks = true;
    l->ask = (struct etcd_ask){.m = l->m,
                               .path = path,
                               .body = buf_str(&l->body),
                               .read = read,
                               .done = done,
                               .deadline_ns = etcd_deadline(l->m)};
    etcd_ask_start(&l->ask);
}

static void lease_free(struct meta_lease *l)
{
    struct meta_etcd *m = l->m;

    for (struct meta_lease **at = &m->leases; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    timer_cancel(m->loop, &l->timer);
    etcd_ask_release(&l->ask);
    buf_release(&l->body);
    free(l);
    etcd_close_step(m);
}

/* After each answer: whether to go on. */
static bool goes_on(struct meta_lease *l)
{
    l->asks = false;
    if (l->ending)
        revoke(l);
    return !l->ending;
}

/* The first put must succeed in time; later ones are tried until they do. */
static void failed(struct meta_lease *l, void (*fn)(struct timer *))
{
    enum err e = l->ask.err == ERR_INVALID_REQUEST ? ERR_UNAVAILABLE : l->ask.err;

    if (l->ask.err == ERR_INVALID_REQUEST && !l->told) {
        log_error(STR_NONE, "etcd refuses a lease", "key=%s code=%d why=%s", log_quote(l->key), l->ask.code,
                  log_quote(str_z(l->ask.why)));
        l->told = true;
    }
    if (l->waits) {
        struct etcd_wait *waits = l->waits;
        l->waits = NULL;
        lease_free(l);
        etcd_wait_end(waits, e);
        return;
    }
    again(l, fn, etcd_backoff(l->failures++));
}

static enum err read_lease(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    (void)out; /* no majority speaks here: it may lag behind */
    return etcd_read_lease(&q->arena, text, &LEASE(q)->alive, why);
}

static enum err read_put(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    enum err e = etcd_read_txn(&q->arena, text, &LEASE(q)->put, why);

    if (e == ERR_OK)
        *out = LEASE(q)->put.header;
    return e;
}

static enum err read_found(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    enum err e = etcd_read_range(&q->arena, text, &LEASE(q)->found, why);

    if (e == ERR_OK)
        *out = LEASE(q)->found.header;
    return e;
}

/* ---- put ---- */

static void held(struct meta_lease *l, bool ours)
{
    if (ours && l->puts_key)
        atomic_fetch_add(&l->puts, 1);
    l->puts_key = l->puts_key && !ours;
    atomic_store(&l->until_ns, ours ? l->sent_ns + l->ttl_s * (uint64_t)NS_PER_S : 0);
    l->failures = 0;
    l->placed = true;
    if (l->waits) {
        struct etcd_wait *waits = l->waits;
        l->waits = NULL;
        etcd_wait_end(waits, ERR_OK);
    }
    again(l, on_keep_timer, third_ms(l));
}

static bool is_ours(const struct meta_lease *l, const struct etcd_range *r)
{
    return r->count && r->kvs[0].lease == l->id;
}

/* Two processes with one name: the log says it, the key stays with the other until that one is gone. */
static void note_owner(struct meta_lease *l, bool ours)
{
    if (!ours && !l->told)
        log_error(STR_NONE, "a lease's key is held by another process", "key=%s", log_quote(l->key));
    else if (ours && l->told)
        log_info(STR_NONE, "a lease's key is ours again", "key=%s", log_quote(l->key));
    l->told = !ours;
}

static void put_answered(struct etcd_ask *q)
{
    struct meta_lease *l = LEASE(q);

    if (!goes_on(l))
        return;
    if (q->err == ERR_OK) {
        bool ours = l->put.succeeded || (l->put.count && is_ours(l, &l->put.ranges[0]));
        note_owner(l, ours);
        held(l, ours);
    } else if (q->err == ERR_INVALID_REQUEST && q->code == ETCD_NOT_FOUND) {
        again(l, on_grant_timer, etcd_backoff(l->failures++)); /* the lease has ended meanwhile */
    } else {
        failed(l, on_keep_timer); /* it may have worked: under a new id we would not know our own key */
    }
}

/* The first time it replaces what a former process left; later only what is gone. */
static void put(struct meta_lease *l)
{
    struct etcd_txn_query q = {.compares = 1, .successes = 1, .failures = 1};

    l->puts_key = true;
    q.compare[0] = l->placed ? (struct etcd_compare){l->key, 0, ETCD_REVISION_IS}
                             : (struct etcd_compare){l->key, l->id, ETCD_LEASE_IS_NOT};
    q.success[0] = (struct etcd_op){ETCD_PUT, l->key, l->value, l->id};
    q.failure[0] = (struct etcd_op){ETCD_GET, l->key, STR_NONE, 0};
    buf_reset(&l->body);
    etcd_write_txn(&l->body, &q);
    ask(l, "/v3/kv/txn", read_put, put_answered);
}

/* ---- grant ---- */

static void granted(struct etcd_ask *q)
{
    struct meta_lease *l = LEASE(q);

    if (!goes_on(l))
        return;
    if (q->err == ERR_OK || (q->err == ERR_INVALID_REQUEST && q->code == ETCD_PRECONDITION && q->unsure))
        put(l); /* "already exists": an earlier try made it */
    else
        failed(l, on_grant_timer);
}

static void grant(struct meta_lease *l)
{
    l->sent_ns = clock_boot_ns();
    random_bytes(&l->id, sizeof(l->id));
    l->id = (l->id & INT64_MAX) | 1;
    buf_reset(&l->body);
    etcd_write_lease(&l->body, l->id, l->ttl_s);
    ask(l, "/v3/lease/grant", read_lease, granted);
}

/* ---- keep ---- */

static void key_looked_at(struct etcd_ask *q)
{
    struct meta_lease *l = LEASE(q);

    if (!goes_on(l))
        return;
    if (q->err != ERR_OK) {
        failed(l, on_keep_timer);
    } else if (!l->found.count) {
        put(l); /* somebody removed it */
    } else {
        note_owner(l, is_ours(l, &l->found));
        held(l, is_ours(l, &l->found));
    }
}

static void kept(struct etcd_ask *q)
{
    struct meta_lease *l = LEASE(q);

    if (!goes_on(l))
        return;
    if (q->err == ERR_OK && l->alive.ttl_s) {
        l->sent_ns = l->asked_ns;
        buf_reset(&l->body);
        etcd_write_range(&l->body, &(struct etcd_range_query){.key = l->key, .keys_only = true});
        ask(l, "/v3/kv/range", read_found, key_looked_at);
    } else if (q->err == ERR_OK || (q->err == ERR_INVALID_REQUEST && q->code == ETCD_NOT_FOUND)) {
        log_warn(STR_NONE, "a lease ran out; taking another", "key=%s ttl_s=%u", log_quote(l->key), l->ttl_s);
        grant(l);
    } else {
        failed(l, on_keep_timer);
    }
}

static void keep(struct meta_lease *l)
{
    l->asked_ns = clock_boot_ns();
    buf_reset(&l->body);
    etcd_write_lease(&l->body, l->id, 0);
    ask(l, "/v3/lease/keepalive", read_lease, kept);
}

/* ---- end ---- */

static void gone(struct etcd_ask *q)
{
    struct meta_lease *l = LEASE(q);
    struct etcd_wait *waits = l->waits;

    lease_free(l);
    if (waits)
        etcd_wait_end(waits, ERR_OK);
}

static void revoke(struct meta_lease *l)
{
    uint64_t ms = atomic_load(&l->m->away) ? END_AWAY_MS : END_MS;

    buf_reset(&l->body);
    etcd_write_lease(&l->body, l->id, 0);
    ask(l, "/v3/lease/revoke", read_lease, gone);
    if (ms < l->m->timeout_ms)
        l->ask.deadline_ns = etcd_deadline(l->m) - (l->m->timeout_ms - ms) * UINT64_C(1000000);
}

static void end_now(struct meta_lease *l)
{
    if (l->ending)
        return;
    l->ending = true;
    timer_cancel(l->m->loop, &l->timer);
    if (l->asks)
        etcd_ask_cancel(&l->ask);
    else
        revoke(l);
}

bool etcd_leases_end(struct meta_etcd *m)
{
    for (struct meta_lease *l = m->leases; l; l = l->next)
        end_now(l);
    return !m->leases;
}

/* ---- what callers call ---- */

struct opening {
    struct etcd_wait wait;
    struct meta_lease *lease;
};

static void open_begin(struct post *p)
{
    struct opening *o = CONTAINER(p, struct opening, wait.post);
    struct meta_etcd *m = o->wait.m;
    struct meta_lease *l = o->lease;

    l->waits = &o->wait;
    l->next = m->leases;
    m->leases = l;
    grant(l);
}

enum err etcd_lease_open(struct meta *meta, const struct meta_lease_req *req, struct meta_lease **out)
{
    struct meta_etcd *m = ETCD(meta);
    size_t key_n = m->prefix.n + req->key.n;
    enum err e = meta_check_put(&(struct meta_put_req){.key = req->key, .value = req->value});

    if (e == ERR_OK && (req->ttl_s < TTL_MIN_S || req->ttl_s > TTL_MAX_S))
        e = ERR_INVALID_ARGUMENT;
    if (e != ERR_OK)
        return e;
    struct meta_lease *l = mem_new(sizeof(*l) + key_n + req->value.n);
    char *at = (char *)(l + 1);
    memcpy(at, m->prefix.p, m->prefix.n);
    memcpy(at + m->prefix.n, req->key.p, req->key.n);
    if (req->value.n)
        memcpy(at + key_n, req->value.p, req->value.n);
    l->m = m;
    l->key = str_n(at, key_n);
    l->value = str_n(at + key_n, req->value.n);
    l->ttl_s = req->ttl_s;
    buf_init(&l->body, ETCD_REQUEST_MAX);
    struct opening o = {.lease = l};
    e = etcd_wait_for(m, &o.wait, open_begin);
    if (e == ERR_OK)
        *out = l;
    return e;
}

void etcd_lease_state(struct meta_lease *l, struct meta_lease_state *out)
{
    out->puts = atomic_load(&l->puts);
    out->until_ns = atomic_load(&l->until_ns);
}

static void end_begin(struct post *p)
{
    struct opening *o = CONTAINER(p, struct opening, wait.post);

    o->lease->waits = &o->wait;
    end_now(o->lease);
}

void etcd_lease_end(struct meta *meta, struct meta_lease *l)
{
    struct opening o = {.lease = l};

    if (l)
        (void)etcd_wait_for(ETCD(meta), &o.wait, end_begin);
}
