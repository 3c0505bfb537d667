#include "meta_etcd.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/metawatch.h"

enum { TIMEOUT_MS = 5000, CALLS_MAX = 128 };

/* ---- trips ---- */

static void trip_unref(struct etcd_trip *t)
{
    struct meta_etcd *m = t->m;

    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    t->release(t);
    atomic_fetch_sub(&m->calls, 1);
}

static void on_trip_done(struct call *c)
{
    struct etcd_trip *t = CONTAINER(c, struct etcd_trip, call);

    if (c->err == ERR_OK)
        t->deliver(t);
    call_finish(t->whole, c->err);
    trip_unref(t);
}

static void on_cancel_post(struct post *p)
{
    struct etcd_trip *t = CONTAINER(p, struct etcd_trip, cancel);

    if (!t->ended) {
        t->cancelled = true;
        etcd_ask_cancel(&t->ask);
    }
    trip_unref(t);
}

static void on_trip_cancel(void *arg)
{
    struct etcd_trip *t = arg;

    atomic_fetch_add(&t->refs, 1);
    loop_post(t->m->loop, &t->cancel);
}

static void on_start_post(struct post *p)
{
    struct etcd_trip *t = CONTAINER(p, struct etcd_trip, start);

    t->begin(t);
}

void etcd_trip_go(struct etcd_trip *t, struct meta *meta, struct call *whole)
{
    struct meta_etcd *m = t->m = ETCD(meta);

    t->whole = whole;
    t->start.fn = on_start_post;
    t->cancel.fn = on_cancel_post;
    t->deadline_ns = etcd_deadline(m);
    atomic_init(&t->refs, 1);
    buf_init(&t->body, ETCD_REQUEST_MAX);
    if (atomic_fetch_add(&m->calls, 1) >= CALLS_MAX) {
        call_finish(whole, ERR_BUSY);
        trip_unref(t);
        return;
    }
    call_begin(&t->call, whole->loop, on_trip_done);
    loop_post(m->loop, &t->start);
    call_on_cancel(whole, on_trip_cancel, t); /* behind the start: the loop keeps the order */
}

void etcd_trip_end(struct etcd_trip *t, enum err e)
{
    t->ended = true;
    call_finish(&t->call, e);
}

void etcd_trip_ask(struct etcd_trip *t, const char *path,
                   enum err (*read)(struct etcd_ask *, struct str, struct etcd_header *, char why[DOC_WHY_MAX]),
                   void (*done)(struct etcd_ask *))
{
    t->ask = (struct etcd_ask){
        .m = t->m, .path = path, .body = buf_str(&t->body), .read = read, .done = done, .deadline_ns = t->deadline_ns};
    etcd_ask_start(&t->ask);
}

enum err etcd_trip_err(const struct etcd_ask *q)
{
    if (q->err == ERR_INVALID_REQUEST) {
        log_error(STR_NONE, "etcd refused", "path=%s code=%d why=%s", q->path, q->code, log_quote(str_z(q->why)));
        return ERR_UNAVAILABLE;
    }
    return q->err;
}

struct str etcd_full_key(const struct meta_etcd *m, struct arena *a, struct str key)
{
    char *p = arena_alloc(a, m->prefix.n + key.n + 1);

    memcpy(p, m->prefix.p, m->prefix.n);
    if (key.n)
        memcpy(p + m->prefix.n, key.p, key.n);
    return str_n(p, m->prefix.n + key.n);
}

/* ---- blocking functions ---- */

enum err etcd_wait_for(struct meta_etcd *m, struct etcd_wait *w, void (*fn)(struct post *))
{
    w->m = m;
    w->done = false;
    w->post = (struct post){.fn = fn};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    loop_post(m->loop, &w->post);
    pthread_mutex_lock(&w->lock);
    while (!w->done)
        pthread_cond_wait(&w->wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    return w->err;
}

void etcd_wait_end(struct etcd_wait *w, enum err e)
{
    pthread_mutex_lock(&w->lock);
    w->err = e;
    w->done = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

/* ---- open and close ---- */

struct hello {
    struct etcd_wait wait;
    struct etcd_ask ask;
    struct buf body;
    struct etcd_range answer;
    char *why;
};

static enum err read_hello(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    struct hello *h = CONTAINER(q, struct hello, ask);
    enum err e = etcd_read_range(&q->arena, text, &h->answer, why);

    if (e == ERR_OK)
        *out = h->answer.header;
    return e;
}

static void hello_done(struct etcd_ask *q)
{
    struct hello *h = CONTAINER(q, struct hello, ask);

    if (q->err != ERR_OK)
        snprintf(h->why, 256, "etcd is not usable: %.200s", q->why[0] ? q->why : err_name(q->err));
    enum err e = q->err == ERR_OK ? ERR_OK : ERR_UNAVAILABLE;
    buf_release(&h->body);
    etcd_ask_release(q);
    if (e == ERR_OK)
        etcd_probe_start(h->wait.m);
    etcd_wait_end(&h->wait, e);
}

/* A linearizable read: it needs a majority of the members. */
static void hello_begin(struct post *p)
{
    struct hello *h = CONTAINER(p, struct hello, wait.post);
    struct meta_etcd *m = h->wait.m;
    struct arena arena = ARENA_INIT;

    buf_init(&h->body, ETCD_REQUEST_MAX);
    etcd_write_range(&h->body,
                     &(struct etcd_range_query){.key = etcd_full_key(m, &arena, STR("\0probe")), .keys_only = true});
    arena_release(&arena);
    h->ask = (struct etcd_ask){.m = m,
                               .path = "/v3/kv/range",
                               .body = buf_str(&h->body),
                               .read = read_hello,
                               .done = hello_done,
                               .deadline_ns = etcd_deadline(m)};
    etcd_ask_start(&h->ask);
}

static void *run(void *arg)
{
    struct meta_etcd *m = arg;

    loop_adopt(m->loop);
    m->http = http_client_new(m->loop);
    loop_run(m->loop);
    http_client_free(m->http);
    loop_free(m->loop);
    return NULL;
}

void etcd_close_step(struct meta_etcd *m)
{
    if (m->closing && !m->probe && !m->auth.login && !m->watches && !m->leases)
        loop_stop(m->loop);
}

static void close_begin(struct post *p)
{
    struct etcd_wait *w = CONTAINER(p, struct etcd_wait, post);
    struct meta_etcd *m = w->m;

    m->closing = true;
    etcd_probe_stop(m);
    etcd_auth_release(m);
    etcd_watches_end(m);
    etcd_leases_end(m);
    etcd_close_step(m);
    etcd_wait_end(w, ERR_OK);
}

static void etcd_close(struct meta *meta)
{
    struct meta_etcd *m = ETCD(meta);
    struct etcd_wait w;

    (void)etcd_wait_for(m, &w, close_begin);
    pthread_join(m->thread, NULL);
    /* a trip's end may still be on its way through the message that cancelled it, which the loop has handled by now */
    assert(atomic_load(&m->calls) == 0);
    etcd_marks_release(m);
    free(m->auth.token);
    arena_release(&m->arena);
    free(m);
}

static bool etcd_reachable(struct meta *meta)
{
    return !atomic_load(&ETCD(meta)->away);
}

static const char *text_or_null(struct arena *a, struct str s)
{
    return s.n ? arena_str(a, s).p : NULL;
}

static bool take_endpoints(struct meta_etcd *m, const struct meta_etcd_conf *conf, char why[256])
{
    if (!conf->endpoint_count || conf->endpoint_count > ETCD_ENDPOINTS_MAX) {
        snprintf(why, 256, "%zu endpoints of etcd are given; 1 to %d can be used", conf->endpoint_count,
                 ETCD_ENDPOINTS_MAX);
        return false;
    }
    m->endpoints = arena_new(&m->arena, conf->endpoint_count * sizeof(*m->endpoints));
    for (size_t i = 0; i < conf->endpoint_count; i++) {
        struct str e = conf->endpoints[i];
        while (e.n && e.p[e.n - 1] == '/')
            e.n--;
        if (!str_starts(e, STR("http://")) && !str_starts(e, STR("https://"))) {
            snprintf(why, 256, "the endpoint \"%.*s\" is no http:// or https:// address", (int)(e.n < 150 ? e.n : 150),
                     e.n ? e.p : "");
            return false;
        }
        m->endpoints[m->endpoint_count++] = arena_str(&m->arena, e).p;
    }
    return true;
}

static const struct meta_ops etcd_ops = {.name = "etcd",
                                         .shared = true,
                                         .get = etcd_get,
                                         .put = etcd_put,
                                         .list = etcd_list,
                                         .watch = etcd_watch_open,
                                         .lease = etcd_lease_open,
                                         .lease_state = etcd_lease_state,
                                         .lease_end = etcd_lease_end,
                                         .reachable = etcd_reachable,
                                         .close = etcd_close};

enum err meta_etcd_open(const struct meta_etcd_conf *conf, struct meta **out, char why[256])
{
    struct meta_etcd *m = NEW(struct meta_etcd);
    struct hello hello = {.why = why};

    m->meta.ops = &etcd_ops;
    if (!take_endpoints(m, conf, why)) {
        arena_release(&m->arena);
        free(m);
        return ERR_INVALID_ARGUMENT;
    }
    m->prefix = arena_str(&m->arena, conf->prefix);
    m->user = arena_str(&m->arena, conf->user);
    m->password = arena_str(&m->arena, conf->password);
    m->ca_file = text_or_null(&m->arena, conf->ca_file);
    m->cert_file = text_or_null(&m->arena, conf->cert_file);
    m->key_file = text_or_null(&m->arena, conf->key_file);
    m->timeout_ms = conf->timeout_ms ? conf->timeout_ms : TIMEOUT_MS;
    m->loop = loop_new();
    if (pthread_create(&m->thread, NULL, run, m) != 0)
        abort(); /* no thread: as no memory */
    pthread_setname_np(m->thread, "etcd");
    enum err e = etcd_wait_for(m, &hello.wait, hello_begin);
    if (e != ERR_OK) {
        etcd_close(&m->meta);
        return e;
    }
    *out = &m->meta;
    return ERR_OK;
}
