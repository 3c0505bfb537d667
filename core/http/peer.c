#include "peer_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum { LOG_PAUSE_MS = 1000, NS_PER_MS = 1000000 };

struct metric peer_m_requests = {.name = "sluice_peer_requests_total",
                                 .help = "Requests sent to other nodes, repeated ones once."};
struct metric peer_m_failed = {.name = "sluice_peer_failures_total",
                               .help = "Requests to other nodes that ended without a response."};
struct metric peer_m_retried = {.name = "sluice_peer_retries_total",
                                .help = "Requests repeated because a kept connection was dead."};
struct metric peer_m_connects = {.name = "sluice_peer_connects_total", .help = "Connections begun to other nodes."};
struct metric peer_m_connections = {
    .name = "sluice_peer_connections", .help = "Connections to other nodes.", .kind = METRIC_GAUGE};

struct metric peer_m_spliced = {.name = "sluice_peer_spliced_bytes_total",
                                .help = "Bytes of requests' bodies passed on to other nodes that were never copied."};

static void register_metrics(void)
{
    metric_register(&peer_m_requests);
    metric_register(&peer_m_failed);
    metric_register(&peer_m_retried);
    metric_register(&peer_m_connects);
    metric_register(&peer_m_connections);
    metric_register(&peer_m_spliced);
}

/* ---- memory ---- */

char *peer_buf_get(struct peer_pool *p)
{
    return p->buf_free_n ? p->buf_free[--p->buf_free_n] : mem_alloc(PEER_BUFFER);
}

void peer_buf_put(struct peer_pool *p, char *buf)
{
    if (p->buf_free_n < sizeof(p->buf_free) / sizeof(p->buf_free[0]))
        p->buf_free[p->buf_free_n++] = buf;
    else
        free(buf);
}

char *peer_in_get(struct peer_pool *p)
{
    return p->in_free_n ? p->in_free[--p->in_free_n] : mem_alloc(PEER_IN_FIRST);
}

void peer_in_put(struct peer_pool *p, char *buf, size_t cap)
{
    if (buf && cap == PEER_IN_FIRST && p->in_free_n < sizeof(p->in_free) / sizeof(p->in_free[0]))
        p->in_free[p->in_free_n++] = buf;
    else
        free(buf);
}

void peer_trouble(struct peer_addr *a, const char *what, const char *why)
{
    uint64_t now = loop_now_ns(a->pool->loop);

    if (a->logged_ns && now - a->logged_ns < (uint64_t)LOG_PAUSE_MS * NS_PER_MS)
        return;
    a->logged_ns = now;
    log_warn(STR_NONE, what, "address=%s why=%s", log_quote(a->name), log_quote(str_z(why)));
}

/* ---- names ---- */

struct peer_resolve {
    struct offload_task task;
    struct call call;
    struct peer_addr *addr; /* NULL: nobody wants to know any more */
    char host[256], port[8];
    struct peer_resolved found;
};

static enum err resolve(struct offload_task *task)
{
    struct peer_resolve *r = CONTAINER(task, struct peer_resolve, task);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG}, *list = NULL;

    if (getaddrinfo(r->host, r->port, &hints, &list) != 0)
        return ERR_UNAVAILABLE;
    for (const struct addrinfo *a = list; a && r->found.n < PEER_RESOLVED_MAX; a = a->ai_next) {
        if (a->ai_addrlen > sizeof(r->found.list[0]))
            continue;
        memcpy(&r->found.list[r->found.n], a->ai_addr, a->ai_addrlen);
        r->found.len[r->found.n++] = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return r->found.n ? ERR_OK : ERR_UNAVAILABLE;
}

static struct peer_conn *first_unresolved(const struct peer_addr *a)
{
    struct peer_conn *c = a->busy;

    while (c && c->phase != PEER_RESOLVING)
        c = c->next;
    return c;
}

static void on_resolved(struct call *call)
{
    struct peer_resolve *r = CONTAINER(call, struct peer_resolve, call);
    struct peer_addr *a = r->addr;
    struct peer_conn *c;
    enum err e = call->err;

    if (a) {
        a->resolving = NULL;
        a->stale = false;
        if (e == ERR_OK) {
            a->resolved = r->found;
            a->resolved_ns = loop_now_ns(a->pool->loop);
        }
        while ((c = first_unresolved(a)) != NULL)
            peer_conn_resolved(c, e);
    }
    free(r);
}

void peer_addr_resolve(struct peer_addr *a)
{
    struct peer_pool *p = a->pool;
    uint64_t age = loop_now_ns(p->loop) - a->resolved_ns;

    if (p->conf.dial) {
        peer_conn_dial(a->busy);
        return;
    }
    if (a->literal || (a->resolved.n && !a->stale && !a->resolving && age < (uint64_t)PEER_RESOLVED_MS * NS_PER_MS)) {
        peer_conn_resolved(a->busy, ERR_OK);
        return;
    }
    if (a->resolving)
        return;
    a->resolving = NEW(struct peer_resolve);
    a->resolving->addr = a;
    memcpy(a->resolving->host, a->host, sizeof(a->host));
    memcpy(a->resolving->port, a->port, sizeof(a->port));
    call_begin(&a->resolving->call, p->loop, on_resolved);
    offload_run(p->conf.io, &a->resolving->task, resolve, &a->resolving->call);
}

/* ---- addresses ---- */

static bool split_name(struct str name, struct peer_addr *a)
{
    struct str host = name, port = STR_NONE;
    uint64_t number;

    for (size_t i = name.n; i > 0 && !port.p; i--)
        if (name.p[i - 1] == ':') {
            host = str_n(name.p, i - 1);
            port = str_skip(name, i);
        }
    if (!str_to_u64(port, 65535, &number) || number == 0)
        return false;
    bool bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (bracketed)
        host = str_n(host.p + 1, host.n - 2);
    if (host.n == 0 || host.n >= sizeof(a->host) || (!bracketed && str_find_char(host, ':') != SIZE_MAX))
        return false;
    for (size_t i = 0; i < host.n; i++)
        if ((unsigned char)host.p[i] <= ' ' || host.p[i] == 0x7f)
            return false;
    snprintf(a->host, sizeof(a->host), STR_FMT, STR_ARG(host));
    snprintf(a->port, sizeof(a->port), "%u", (unsigned)number);
    return true;
}

static void take_literal(struct peer_addr *a)
{
    struct sockaddr_in *v4 = (void *)&a->resolved.list[0];
    struct sockaddr_in6 *v6 = (void *)&a->resolved.list[0];
    uint64_t port = 0;

    (void)str_to_u64(str_z(a->port), 65535, &port);
    if (inet_pton(AF_INET, a->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        a->resolved.len[0] = sizeof(*v4);
    } else if (inet_pton(AF_INET6, a->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        a->resolved.len[0] = sizeof(*v6);
    } else {
        return;
    }
    a->literal = true;
    a->resolved.n = 1;
}

static void serve_waiting(struct post *post);

static void addr_free(struct peer_addr *a)
{
    assert(!a->call_count && !a->busy);
    while (a->idle)
        peer_conn_close(a->idle);
    if (a->resolving)
        a->resolving->addr = NULL;
    free((char *)a->name.p);
    a->name = STR_NONE;
    a->pool = NULL;
    if (!a->posted)
        free(a);
}

/* Containers come and go, each with an address of its own. */
static void forget_unused(struct peer_pool *p)
{
    struct peer_addr **at = &p->addrs;

    while (p->addr_count > PEER_ADDRESSES_KEPT && *at) {
        struct peer_addr *a = *at;
        if (a->conn_count || a->call_count) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        p->addr_count--;
        addr_free(a);
    }
}

static struct peer_addr *addr_find(struct peer_pool *p, struct str name)
{
    for (struct peer_addr **at = &p->addrs; *at; at = &(*at)->next) {
        struct peer_addr *a = *at;
        if (!str_eq(a->name, name))
            continue;
        *at = a->next;
        a->next = p->addrs;
        p->addrs = a;
        return a;
    }
    return NULL;
}

static struct peer_addr *addr_get(struct peer_pool *p, struct str name)
{
    struct peer_addr *a = addr_find(p, name);

    if (a)
        return a;
    a = NEW(struct peer_addr);
    if (!split_name(name, a)) {
        free(a);
        return NULL;
    }
    char *copy = mem_alloc(name.n);
    memcpy(copy, name.p, name.n);
    a->name = str_n(copy, name.n);
    a->pool = p;
    a->post.fn = serve_waiting;
    take_literal(a);
    forget_unused(p);
    a->next = p->addrs;
    p->addrs = a;
    p->addr_count++;
    return a;
}

/* ---- who gets a connection ---- */

static bool take_idle(struct peer_exchange *x)
{
    while (x->addr->idle)
        if (peer_conn_reuse(x->addr->idle, x))
            return true;
    return false;
}

static bool may_open(const struct peer_addr *a)
{
    return a->conn_count < a->pool->conf.connections_max;
}

static void unqueue(struct peer_exchange *x)
{
    struct peer_exchange **at = &x->addr->waiting;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    x->next = NULL;
    x->addr->waiting_count--;
    timer_cancel(x->addr->pool->loop, &x->wait_timer);
}

static void on_waited(struct timer *t)
{
    struct peer_exchange *x = CONTAINER(t, struct peer_exchange, wait_timer);

    unqueue(x);
    peer_trouble(x->addr, "no connection to a node gets free", "all are busy");
    peer_exchange_end(x, ERR_TIMEOUT);
}

static void enqueue(struct peer_exchange *x)
{
    struct peer_addr *a = x->addr;
    struct peer_exchange **at = &a->waiting;

    if (a->waiting_count >= PEER_WAITING_MAX) {
        peer_trouble(a, "no connection to a node gets free", "too many wait");
        peer_exchange_end(x, ERR_BUSY);
        return;
    }
    while (*at)
        at = &(*at)->next;
    *at = x;
    a->waiting_count++;
    x->wait_timer.fn = on_waited;
    timer_set(a->pool->loop, &x->wait_timer, a->pool->conf.progress_timeout_ms);
}

void peer_acquire(struct peer_exchange *x, bool fresh)
{
    struct peer_addr *a = x->addr;

    if (!fresh && a->waiting) {
        enqueue(x);
        return;
    }
    if (!fresh && take_idle(x))
        return; /* and perhaps over already */
    if (may_open(a))
        peer_conn_open(x);
    else
        enqueue(x);
}

static void serve_waiting(struct post *post)
{
    struct peer_addr *a = CONTAINER(post, struct peer_addr, post);

    a->posted = false;
    if (!a->pool) {
        free(a);
        return;
    }
    while (a->waiting && (a->idle || may_open(a))) {
        struct peer_exchange *x = a->waiting;
        unqueue(x);
        if (!take_idle(x))
            peer_conn_open(x);
    }
}

void peer_addr_settle(struct peer_addr *a)
{
    if (a->posted || !a->waiting)
        return;
    a->posted = true;
    loop_defer(a->pool->loop, &a->post);
}

/* ---- nodes that are gone ---- */

static void watch_addr(struct peer_addr *a)
{
    bool gone = (a->busy || a->waiting) && !a->pool->conf.is_there(a->pool->conf.is_there_arg, a->name);

    while (a->waiting && gone) {
        struct peer_exchange *x = a->waiting;
        unqueue(x);
        peer_exchange_end(x, ERR_UNAVAILABLE);
    }
    for (struct peer_conn *c = a->busy, *next; c; c = next) {
        next = c->next;
        if (c->phase == PEER_BUSY)
            peer_exchange_watch(c->x, gone);
    }
}

static void on_watch(struct timer *t)
{
    struct peer_pool *p = CONTAINER(t, struct peer_pool, watch);
    bool any = false;

    for (struct peer_addr *a = p->addrs; a; a = a->next) {
        watch_addr(a);
        any |= a->busy || a->waiting;
    }
    if (any)
        timer_set(p->loop, &p->watch, PEER_WATCH_MS);
}

/* ---- the public side ---- */

struct peer_pool *peer_pool_new(const struct peer_conf *conf)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct peer_pool *p = NEW(struct peer_pool);

    pthread_once(&once, register_metrics);
    p->conf = *conf;
    p->loop = conf->loop;
    if (!p->conf.connect_timeout_ms)
        p->conf.connect_timeout_ms = 2000;
    if (!p->conf.progress_timeout_ms)
        p->conf.progress_timeout_ms = 60000;
    if (!p->conf.connections_max)
        p->conf.connections_max = 256;
    if (!p->conf.idle_timeout_ms)
        p->conf.idle_timeout_ms = 30000;
    p->watch.fn = on_watch;
    pthread_mutex_init(&p->dials.lock, NULL);
    pthread_cond_init(&p->dials.none, NULL);
    return p;
}

void peer_pool_free(struct peer_pool *p)
{
    timer_cancel(p->loop, &p->watch);
    pthread_mutex_lock(&p->dials.lock);
    while (p->dials.open)
        pthread_cond_wait(&p->dials.none, &p->dials.lock);
    pthread_mutex_unlock(&p->dials.lock);
    pthread_mutex_destroy(&p->dials.lock);
    pthread_cond_destroy(&p->dials.none);
    while (p->addrs) {
        struct peer_addr *a = p->addrs;
        p->addrs = a->next;
        addr_free(a);
    }
    while (p->buf_free_n)
        free(p->buf_free[--p->buf_free_n]);
    while (p->in_free_n)
        free(p->in_free[--p->in_free_n]);
    pipe_list_release(&p->pipes);
    free(p);
}

void peer_pool_forget(struct peer_pool *p, struct str address)
{
    struct peer_addr *a = addr_find(p, address);

    while (a && a->idle)
        peer_conn_close(a->idle);
}

static bool is_clean(struct str s, bool spaces)
{
    if (str_is_plain(s))
        return spaces || str_find_char(s, ' ') == SIZE_MAX;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\r' || c == '\n' || c == 0 || (!spaces && (c <= ' ' || c == 0x7f)))
            return false;
    }
    return true;
}

/* What would end a line of the head early must not get there. */
static bool is_sound(const struct peer_req *req)
{
    size_t n = req->method.n + req->target.n + req->address.n;

    if (req->method.n == 0 || req->target.n == 0 || !is_clean(req->method, false) || !is_clean(req->target, false))
        return false;
    for (size_t i = 0; i < req->header_count; i++) {
        const struct http_header *h = &req->headers[i];
        n += h->name.n + h->value.n + 4;
        if (h->name.n == 0 || !is_clean(h->name, false) || !is_clean(h->value, true))
            return false;
    }
    return n <= PEER_HEAD_MAX;
}

static void cancelled(void *arg)
{
    struct peer_exchange *x = arg;

    if (!x->conn && !x->ending)
        unqueue(x);
    peer_exchange_end(x, ERR_CANCELLED);
}

void peer_send(struct peer_pool *p, const struct peer_req *req, struct peer_res *res, struct call *call)
{
    struct peer_addr *a = is_sound(req) ? addr_get(p, req->address) : NULL;

    *res = (struct peer_res){0};
    if (!a || ((!a->literal || p->conf.dial) && !p->conf.io)) {
        call_finish(call, ERR_INVALID_ARGUMENT);
        return;
    }
    struct peer_exchange *x = NEW(struct peer_exchange);
    x->pool = p;
    x->addr = a;
    a->call_count++;
    x->req = req;
    x->res = res;
    x->call = call;
    metric_add(&peer_m_requests, 1);
    peer_tx_begin(x);
    if (call->cancelled) {
        peer_exchange_end(x, ERR_CANCELLED);
        return;
    }
    call_on_cancel(call, cancelled, x);
    if (p->conf.is_there && !timer_is_set(&p->watch))
        timer_set(p->loop, &p->watch, PEER_WATCH_MS);
    peer_acquire(x, false);
}

struct str peer_header(const struct peer_res *res, struct str name)
{
    for (size_t i = 0; i < res->header_count; i++)
        if (str_eq(res->headers[i].name, name))
            return res->headers[i].value;
    return STR_NONE;
}
