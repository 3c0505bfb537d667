/* peer_conn.h - the client's insides, shared by peer.c (addresses and who gets a connection), peer_conn.c (connections),
 * peer_exchange.c (one request and its response's head), peer_tx.c (sending), peer_body.c (the response's body).
 *
 * Shape    a connection: RESOLVING -> CONNECTING -> HANDSHAKE -> BUSY <-> IDLE -> gone. An exchange waits for a connection,
 *          sends (struct peer_tx) and receives (struct peer_rx) at the same time, and gives the connection back when the
 *          response's body ends, which may be long after its call.
 * Owns     the pool owns addresses, these own connections; an exchange owns itself until its call is finished and, when
 *          there is a body, until that is closed.
 * Thread   the pool's loop.
 */
#ifndef SLUICE_HTTP_PEER_CONN_H
#define SLUICE_HTTP_PEER_CONN_H

#include <pthread.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "http/parse.h"
#include "http/peer.h"
#include "http/pipe.h"
#include "http/stream.h"

enum {
    PEER_IN_FIRST = 16 * 1024,       /* bytes of an input buffer; grows up to PEER_HEAD_MAX for a long head */
    PEER_HEAD_MAX = 256 * 1024,      /* bytes of a head, either way */
    PEER_HEADERS_MAX = 256,          /* of a response */
    PEER_INTERIM_MAX = 16,           /* 1xx responses before the final one */
    PEER_BUFFER = 256 * 1024,        /* of a request's body that must be read */
    PEER_SMALL = 64 * 1024,          /* no more than this goes through buffers whatever the source can do */
    PEER_TURN_MAX = 4 * 1024 * 1024, /* bytes sent by one connection in one turn of the loop */
    PEER_STEP = 2 * 1024 * 1024,     /* bytes of one sendfile(2) or write */
    PEER_EXPECT_MS = 1000,           /* RFC 9110 section 10.1.1: don't wait for 100 indefinitely */
    PEER_WAITING_MAX = 1024,         /* exchanges per address that wait for a connection */
    PEER_RESOLVED_MS = 5000,         /* a name's addresses are used that long */
    PEER_RESOLVED_MAX = 8,           /* addresses of one name that are tried */
    PEER_ADDRESSES_KEPT = 64,        /* beyond it those without connections are forgotten */
    PEER_NAME_MAX = 272,             /* bytes of an address's name */
    PEER_FRAME_MAX = 24,             /* CRLF, 16 digits, CRLF; or the last chunk */
    PEER_WATCH_MS = 250,             /* peer_conf.is_there() is asked */
    PEER_SILENT_MS = 2000,           /* a node that is gone may still finish what it is at */
    PEER_FRESH_MS = 100,             /* a connection idle for less has hardly ended: peer_conn_reuse() */
};

enum peer_phase { PEER_RESOLVING, PEER_CONNECTING, PEER_HANDSHAKE, PEER_BUSY, PEER_IDLE };

struct peer_dial;
struct peer_conn {
    struct peer_addr *addr;
    struct peer_conn **list; /* the address's busy or idle */
    struct peer_conn *prev, *next;
    struct peer_exchange *x; /* NULL while idle */
    enum peer_phase phase;
    struct io *io; /* NULL until CONNECTING */
    struct stream stream;
    unsigned tried;         /* of the name's addresses */
    struct peer_dial *dial; /* RESOLVING: what makes the connection, when the pool was given one that does */
    uint64_t deadline_ns;   /* for being connected */
    struct timer timer;
    bool reused, keep;
    char *in; /* received and not yet used: in[in_at .. in_n); NULL while nothing is there */
    size_t in_at, in_n, in_cap;
    uint64_t rx_bytes, tx_bytes, mark_bytes;
    uint64_t tx_begin; /* tx_bytes before this request */
    uint64_t idle_ns;  /* since when */
    uint64_t turn_ns, turn_bytes;
    uint64_t silent_ns, silent_bytes; /* since when there was no progress, by the watch; 0: it is not waited for */
};

struct peer_resolved {
    struct sockaddr_storage list[PEER_RESOLVED_MAX];
    socklen_t len[PEER_RESOLVED_MAX];
    unsigned n;
};

struct peer_addr {
    struct peer_addr *next;
    struct peer_pool *pool; /* NULL: freed while `post` was queued */
    struct str name;        /* "HOST:PORT"; heap */
    char host[256], port[8];
    struct peer_conn *idle, *busy; /* most recently used first */
    uint32_t conn_count, call_count;
    struct peer_exchange *waiting; /* oldest first */
    uint32_t waiting_count;
    bool literal; /* no name: never resolved again */
    bool stale;   /* resolve again before the next connection */
    struct peer_resolved resolved;
    uint64_t resolved_ns;
    struct peer_resolve *resolving;
    bool posted;
    struct post post; /* serves who waits */
    uint64_t logged_ns;
};

struct peer_pool {
    struct peer_conf conf;
    struct loop *loop;
    struct peer_addr *addrs; /* most recently used first */
    unsigned addr_count;
    char *buf_free[8]; /* PEER_BUFFER each */
    unsigned buf_free_n;
    char *in_free[16]; /* PEER_IN_FIRST each */
    unsigned in_free_n;
    struct pipe_list pipes;
    struct timer watch;
    struct { /* guarded by lock */
        pthread_mutex_t lock;
        pthread_cond_t none; /* open has become 0 */
        unsigned open;
    } dials; /* queued or running */
};

enum peer_tx_state { PEER_TX_HEAD, PEER_TX_ASKED, PEER_TX_BODY, PEER_TX_DONE, PEER_TX_STOPPED };

/* The request on its way. */
struct peer_tx {
    enum peer_tx_state state;
    struct source *body;
    bool duplex;     /* goes on behind the response's head */
    struct str head; /* with PEER_FRAME_MAX bytes of room behind it */
    struct str text; /* head or chunk framing, to be sent before anything else */
    bool chunked;    /* else the body has a size */
    bool framed;     /* chunked: a chunk has begun before */
    bool confirmed;  /* sized: the source has said itself that nothing follows its last byte */
    bool ended;      /* nothing is to be taken from the source any more */
    bool waiting;    /* for source_call */
    bool blocked;    /* the peer has to read first */
    unsigned fills;  /* of buf; 1: what was taken of the body so far is all still in it */
    uint64_t left;   /* sized: bytes not yet taken from the source */
    char frame[PEER_FRAME_MAX];
    char *buf;
    size_t buf_cap, buf_at, buf_n;
    struct pipe pipe; /* what it holds has left the source and goes first; open once a SPAN_SOCKET came */
    bool no_splice;   /* the socket must be read */
    size_t read_n;
    char probe; /* where a byte too many would go */
    struct call source_call;
};

/* The response on its way. */
struct peer_rx {
    struct head_scan scan;
    unsigned interim; /* 1xx responses so far */
    bool any;         /* a byte came */
    bool head_done;
    enum http_framing framing;
    uint64_t left; /* HTTP_SIZED */
    struct chunked chunked;
    bool at_end;
    bool spliced; /* some of it: so the rest may be, however small */
    enum err failed;
    struct source source;
    struct call *call; /* the read or prepare outstanding */
    bool preparing;
    bool
        held; /* `call` is over with held_err, and finishes when the request's body isn't being read any more: who closes us closes that next */
    enum err held_err;
    char *buf;
    size_t len, *n;
};

struct peer_exchange {
    struct peer_pool *pool;
    struct peer_addr *addr;     /* there while `conn` or `call` is */
    struct peer_conn *conn;     /* NULL while it waits for one, and after it was given back */
    struct peer_exchange *next; /* waiting */
    const struct peer_req *req; /* these three until the call is finished */
    struct peer_res *res;
    struct call *call;
    struct timer wait_timer;
    bool retried;
    bool sent;   /* the whole head */
    bool taken;  /* something of the body */
    bool ending; /* the call finishes with end_err when source_call is done */
    enum err end_err;
    struct peer_tx tx;
    struct peer_rx rx;
};

extern struct metric peer_m_requests, peer_m_failed, peer_m_retried, peer_m_connects, peer_m_connections,
    peer_m_spliced;

/* peer.c */
/* Takes a kept connection, opens one or queues; `fresh`: only a new one will do. */
void peer_acquire(struct peer_exchange *x, bool fresh);
/* Somebody may have what those who wait need; served behind the current callback. */
void peer_addr_settle(struct peer_addr *a);
void peer_addr_resolve(struct peer_addr *a);
char *peer_buf_get(struct peer_pool *p);
void peer_buf_put(struct peer_pool *p, char *buf);
char *peer_in_get(struct peer_pool *p);
void peer_in_put(struct peer_pool *p, char *buf, size_t cap);
/* One line a second and address. */
void peer_trouble(struct peer_addr *a, const char *what, const char *why);

/* peer_conn.c */
/* Begins to connect; then the exchange begins or fails. */
void peer_conn_open(struct peer_exchange *x);
/* Resolved, or not: goes on. */
void peer_conn_resolved(struct peer_conn *c, enum err e);
/* The same with the pool's own way to connect, begun. */
void peer_conn_dial(struct peer_conn *c);
/* An idle one for this exchange; false: it is dead (and closed). */
bool peer_conn_reuse(struct peer_conn *c, struct peer_exchange *x);
/* To be kept if it may be. */
void peer_conn_release(struct peer_conn *c);
void peer_conn_close(struct peer_conn *c);
static inline size_t peer_in_len(const struct peer_conn *c)
{
    return c->in_n - c->in_at;
}
/* One stream_read(), counted. */
enum tls_want peer_conn_recv(struct peer_conn *c, void *buf, size_t len, size_t *n);
/* The same into the buffer, which must not hold PEER_HEAD_MAX bytes yet. */
enum tls_want peer_conn_fill(struct peer_conn *c);
size_t peer_conn_take(struct peer_conn *c, void *buf, size_t len);
void peer_conn_drop(struct peer_conn *c, size_t n);
/* The peer is to do something, with progress from now on. */
void peer_conn_wait(struct peer_conn *c);
/* Whether there was any since. */
bool peer_conn_progressed(const struct peer_conn *c);
/* Bytes that came or were acknowledged. */
uint64_t peer_conn_progress(const struct peer_conn *c);

/* peer_exchange.c */
/* The connection stands. */
void peer_exchange_begin(struct peer_exchange *x, struct peer_conn *c);
/* Ends the call; an error ends the connection as well. */
void peer_exchange_end(struct peer_exchange *x, enum err e);
/* The connection can't be written to any more: a response may have come all the same. */
void peer_exchange_broke(struct peer_exchange *x);
void peer_exchange_timeout(struct peer_exchange *x);
/* Now and then; ends it when it waits for a node that is `gone`. */
void peer_exchange_watch(struct peer_exchange *x, bool gone);
void peer_exchange_on_readable(struct io *io, void *owner);
/* The source of the request's body has answered after the end was decided. */
void peer_exchange_end_now(struct peer_exchange *x);
/* The call is over and the response's body in its reader's hands. */
static inline bool peer_exchange_is_body(const struct peer_exchange *x)
{
    return x->rx.head_done && !x->call;
}

/* peer_tx.c */
void peer_tx_begin(struct peer_exchange *x);
void peer_tx_pump(struct peer_exchange *x);
/* Prepares for another connection; false: what was taken of the body is gone. */
bool peer_tx_rewind(struct peer_exchange *x);
/* Nothing more is sent. Nobody reads the request's body. */
void peer_tx_release(struct peer_exchange *x);
/* The same at any time. */
void peer_tx_stop(struct peer_exchange *x);

/* peer_body.c */
void peer_body_begin(struct peer_exchange *x, const struct http_response_head *h);
void peer_body_on_readable(struct peer_exchange *x);
/* The connection ends here. */
void peer_body_fail(struct peer_exchange *x, enum err e);
/* The request's body isn't being read any more: a read of the response's that waited for that finishes. */
void peer_body_unhold(struct peer_exchange *x);

#endif
