#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/meta_etcd.h"
#include "store/metawatch.h"

/* A write whose answer got lost is sent again, and must neither happen twice nor be mistaken for somebody else's: the
 * value alone does not tell (two that count both write "6"). So every transaction also writes a mark: a key of our own
 * that one write at a time uses, and whose revision it compares. A mark that moved and holds our nonce says: it was we.
 * Marks hang on a lease that is never renewed; after a while new ones are made, and the old ones go with their lease. */
enum { MARKS_TTL_S = 600, MARKS_FRESH_S = 300, NONCE_LEN = 16, MARK_KEY_MAX = 64, RESTARTS_MAX = 3 };

struct mark {
    struct mark *next; /* of the free ones */
    struct etcd_marks *set;
    uint64_t number, revision;
};

struct etcd_marks {
    uint64_t lease, made_ns, numbers;
    struct mark *free;
    unsigned busy;
    bool former; /* goes when none is busy */
};

struct put {
    struct etcd_trip trip;
    const struct meta_put_req *req;
    struct meta_put_res *res;
    struct mark *mark;
    struct etcd_txn answer;
    uint64_t lease, grant_ns; /* being granted, and since when it counts */
    uint64_t revision;        /* of the write */
    char nonce[NONCE_LEN];
    unsigned restarts;
    bool unsure; /* it may have had its effect */
};

#define PUT(t)     CONTAINER(t, struct put, trip)
#define TRIP_OF(q) CONTAINER(q, struct etcd_trip, ask)

/* ---- marks ---- */

static void marks_free(struct etcd_marks *s)
{
    while (s->free) {
        struct mark *k = s->free;
        s->free = k->next;
        free(k);
    }
    free(s);
}

static void marks_retire(struct meta_etcd *m)
{
    struct etcd_marks *s = m->marks;

    m->marks = NULL;
    if (!s)
        return;
    s->former = true;
    if (!s->busy)
        marks_free(s);
}

void etcd_marks_release(struct meta_etcd *m)
{
    marks_retire(m);
}

static struct mark *mark_take(struct etcd_marks *s)
{
    struct mark *k = s->free;

    if (k) {
        s->free = k->next;
    } else {
        k = NEW(struct mark);
        k->set = s;
        k->number = s->numbers++;
    }
    s->busy++;
    return k;
}

/* One with an unknown revision is not used again. */
static void mark_give(struct mark *k, bool known)
{
    struct etcd_marks *s = k->set;

    if (known) {
        k->next = s->free;
        s->free = k;
    } else {
        free(k);
    }
    if (!--s->busy && s->former)
        marks_free(s);
}

/* ---- a set of marks ---- */

static void write_begin(struct put *p);

static void put_end(struct put *p, enum err e)
{
    if (p->mark)
        mark_give(p->mark, e == ERR_OK || e == ERR_CONFLICT);
    p->mark = NULL;
    etcd_trip_end(&p->trip, e);
}

static enum err read_grant(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    struct etcd_lease granted;

    (void)out; /* not of a majority: may lag behind */
    return etcd_read_lease(&q->arena, text, &granted, why);
}

static void granted(struct etcd_ask *q)
{
    struct put *p = PUT(TRIP_OF(q));
    struct meta_etcd *m = q->m;
    /* "already exists": an earlier try made it */
    bool made = q->err == ERR_OK || (q->err == ERR_INVALID_REQUEST && q->code == ETCD_PRECONDITION && q->unsure);

    if (!made || p->trip.cancelled) {
        put_end(p, p->trip.cancelled ? ERR_CANCELLED : etcd_trip_err(q));
        return;
    }
    etcd_ask_release(q);
    marks_retire(m);
    m->marks = NEW(struct etcd_marks);
    m->marks->lease = p->lease;
    m->marks->made_ns = p->grant_ns;
    write_begin(p);
}

static void grant(struct put *p)
{
    random_bytes(&p->lease, sizeof(p->lease));
    p->lease = (p->lease & INT64_MAX) | 1;
    p->grant_ns = clock_mono_ns();
    buf_reset(&p->trip.body);
    etcd_write_lease(&p->trip.body, p->lease, MARKS_TTL_S);
    etcd_trip_ask(&p->trip, "/v3/lease/grant", read_grant, granted);
}

static void put_begin(struct etcd_trip *t)
{
    const struct etcd_marks *s = t->m->marks;

    if (s && clock_mono_ns() - s->made_ns < MARKS_FRESH_S * (uint64_t)NS_PER_S)
        write_begin(PUT(t));
    else
        grant(PUT(t));
}

/* ---- the write ---- */

static enum err read_txn(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    struct put *p = PUT(TRIP_OF(q));
    enum err e = etcd_read_txn(&q->arena, text, &p->answer, why);

    if (e == ERR_OK && !p->answer.succeeded && p->answer.count != 1) {
        snprintf(why, DOC_WHY_MAX, "a transaction without its answer");
        e = ERR_SYNTAX;
    }
    if (e == ERR_OK)
        *out = p->answer.header;
    return e;
}

/* The mark is not what we left: its lease ended early, or somebody deletes keys below our prefix. */
static void begin_anew(struct put *p)
{
    if (p->unsure || p->restarts++ == RESTARTS_MAX || p->trip.cancelled) {
        if (!p->trip.cancelled)
            log_warn(STR_NONE, "outcome of a write to etcd is unknown", "key=%s", log_quote(p->req->key));
        put_end(p, p->trip.cancelled ? ERR_CANCELLED : ERR_UNAVAILABLE);
        return;
    }
    etcd_ask_release(&p->trip.ask);
    if (p->trip.m->marks == p->mark->set)
        marks_retire(p->trip.m);
    mark_give(p->mark, false);
    p->mark = NULL;
    put_begin(&p->trip);
}

static void settle(struct put *p)
{
    const struct etcd_range *mark = &p->answer.ranges[0];
    uint64_t found = mark->count ? mark->kvs[0].revision : 0;

    if (p->answer.succeeded) {
        p->revision = p->mark->revision = p->answer.header.revision;
        put_end(p, ERR_OK);
    } else if (found == p->mark->revision && (p->req->revision != META_ANY || p->req->absent.n || p->req->vacates.n)) {
        put_end(p, ERR_CONFLICT); /* the key it was, then */
    } else if (mark->count && str_eq(mark->kvs[0].value, str_n(p->nonce, NONCE_LEN))) {
        p->revision = p->mark->revision = found;
        put_end(p, ERR_OK);
    } else {
        begin_anew(p);
    }
}

static void written(struct etcd_ask *q)
{
    struct put *p = PUT(TRIP_OF(q));

    p->unsure |= q->unsure;
    if (q->err == ERR_OK)
        settle(p);
    else if (q->err == ERR_INVALID_REQUEST && q->code == ETCD_NOT_FOUND)
        begin_anew(p); /* no such lease: this try had no effect */
    else
        put_end(p, etcd_trip_err(q));
}

static struct str mark_key(const struct put *p, struct arena *a)
{
    char raw[MARK_KEY_MAX];
    int n = snprintf(raw, sizeof(raw), "%cwrite/%016llx/%llu", 0, (unsigned long long)p->mark->set->lease,
                     (unsigned long long)p->mark->number);

    return etcd_full_key(p->trip.m, a, str_n(raw, (size_t)n));
}

static void write_begin(struct put *p)
{
    struct meta_etcd *m = p->trip.m;
    struct arena arena = ARENA_INIT;
    struct etcd_txn_query q = {.compares = 1, .failures = 1};
    struct str key = etcd_full_key(m, &arena, p->req->key);

    p->mark = mark_take(m->marks);
    struct str mark = mark_key(p, &arena);
    random_bytes(p->nonce, sizeof(p->nonce));
    q.compare[0] = (struct etcd_compare){mark, p->mark->revision, ETCD_REVISION_IS};
    if (p->req->revision != META_ANY) /* 0: a missing key's */
        q.compare[q.compares++] = (struct etcd_compare){key, p->req->revision, ETCD_REVISION_IS};
    if (p->req->absent.n)
        q.compare[q.compares++] = (struct etcd_compare){etcd_full_key(m, &arena, p->req->absent), 0, ETCD_REVISION_IS};
    if (p->req->vacates.n) {
        struct str vacated = etcd_full_key(m, &arena, p->req->vacates);
        q.compare[q.compares++] = (struct etcd_compare){vacated, p->req->vacates_revision, ETCD_REVISION_IS};
        q.success[q.successes++] = (struct etcd_op){ETCD_DELETE, vacated, STR_NONE, 0};
    }
    q.success[q.successes++] = (struct etcd_op){p->req->remove ? ETCD_DELETE : ETCD_PUT, key, p->req->value, 0};
    q.success[q.successes++] = (struct etcd_op){ETCD_PUT, mark, str_n(p->nonce, NONCE_LEN), p->mark->set->lease};
    q.failure[0] = (struct etcd_op){ETCD_GET, mark, STR_NONE, 0};
    buf_reset(&p->trip.body);
    etcd_write_txn(&p->trip.body, &q);
    arena_release(&arena);
    etcd_trip_ask(&p->trip, "/v3/kv/txn", read_txn, written);
}

/* ---- the operation ---- */

static void put_deliver(struct etcd_trip *t)
{
    PUT(t)->res->revision = PUT(t)->revision;
}

static void put_release(struct etcd_trip *t)
{
    etcd_ask_release(&t->ask);
    buf_release(&t->body);
    free(PUT(t));
}

void etcd_put(struct meta *meta, const struct meta_put_req *req, struct meta_put_res *res, struct call *c)
{
    enum err e = meta_check_put(req);

    if (e != ERR_OK) {
        call_finish(c, e);
        return;
    }
    struct put *p = NEW(struct put);
    *p = (struct put){.req = req, .res = res};
    p->trip.begin = put_begin;
    p->trip.deliver = put_deliver;
    p->trip.release = put_release;
    etcd_trip_go(&p->trip, meta, c);
}
