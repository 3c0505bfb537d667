#include "conn.h"

#include <stdlib.h>

#include "base/mem.h"

enum tls_want conn_recv(struct conn *c, void *buf, size_t len, size_t *n)
{
    enum tls_want w = stream_read(&c->stream, buf, len, n);

    if (w == TLS_OK)
        c->rx_bytes += *n;
    return w;
}

static size_t in_max(const struct conn *c)
{
    uint32_t head_max = c->server->limits.head_max;

    return head_max > CONN_IN_FIRST ? head_max : CONN_IN_FIRST;
}

static void in_grow(struct conn *c)
{
    size_t cap = c->in_cap * 2 < in_max(c) ? c->in_cap * 2 : in_max(c);
    char *p = mem_alloc(cap);

    memcpy(p, c->in, c->in_n);
    server_in_put(c->server, c->in, c->in_cap);
    c->in = p;
    c->in_cap = cap;
}

static void in_get(struct conn *c)
{
    if (!c->in) {
        c->in = server_in_get(c->server);
        c->in_cap = CONN_IN_FIRST;
    }
}

enum tls_want conn_fill(struct conn *c)
{
    size_t n = 0;

    in_get(c);
    if (c->in_n == c->in_cap && c->in_at > 0) {
        memmove(c->in, c->in + c->in_at, conn_in_len(c));
        c->in_n -= c->in_at;
        c->in_at = 0;
    } else if (c->in_n == c->in_cap) {
        in_grow(c); /* the caller has compared with head_max before */
    }
    enum tls_want w = conn_recv(c, c->in + c->in_n, c->in_cap - c->in_n, &n);
    c->in_n += n;
    return w;
}

void conn_drop(struct conn *c, size_t n)
{
    c->in_at += n;
    if (c->in_at == c->in_n)
        c->in_at = c->in_n = 0;
}

size_t conn_take(struct conn *c, void *buf, size_t len)
{
    size_t n = conn_in_len(c) < len ? conn_in_len(c) : len;

    if (n) {
        memcpy(buf, c->in + c->in_at, n);
        conn_drop(c, n);
    }
    return n;
}

void conn_give_back(struct conn *c, const char *p, size_t n)
{
    in_get(c);
    if (conn_in_len(c) == 0) {
        c->in_at = 0;
        c->in_n = n;
    } else {
        c->in_at -= n; /* they were just taken from here */
    }
    memcpy(c->in + c->in_at, p, n);
}

void conn_in_release(struct conn *c)
{
    if (c->in && conn_in_len(c) == 0) {
        server_in_put(c->server, c->in, c->in_cap);
        c->in = NULL;
        c->in_at = c->in_n = c->in_cap = 0;
    }
}
