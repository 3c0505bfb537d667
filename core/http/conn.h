/* conn.h - one connection of the server and its state, shared by conn.c (life), body.c (request bodies), send.c
 * (responses).
 *
 * Shape    HANDSHAKE -> IDLE -> HEAD -> BUSY -> IDLE | DRAIN -> IDLE | LINGER -> gone. BUSY lasts from the complete
 *          head until the response's call is done; within it the request's body (enum body_state) and the response
 *          (struct tx) move on their own.
 * Owns     a connection owns everything below; it is freed only in a callback of its own, never in one that the
 *          handler called.
 * Thread   the server's loop.
 */
#ifndef SLUICE_HTTP_CONN_H
#define SLUICE_HTTP_CONN_H

#include <stdatomic.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "http/parse.h"
#include "http/pipe.h"
#include "http/server.h"
#include "http/stream.h"

enum {
    CONN_IN_FIRST = 8192,             /* bytes of an input buffer; grows up to limits.head_max */
    CONN_CHUNKED_AHEAD = 4096,        /* at most this much is read beyond a chunk: it must fit into the input buffer */
    CONN_TURN_MAX = 4 * 1024 * 1024,  /* bytes per direction and turn of the loop before others get theirs */
    CONN_FILE_STEP = 2 * 1024 * 1024, /* bytes of one sendfile(2) */
    CONN_BUFFER = 256 * 1024,         /* for sources that must be read */
    CONN_PROGRESS_MIN = 1024,         /* bytes per timeout that count as progress */
    CONN_LINGER_MS = 2000,
};
_Static_assert((int)CONN_CHUNKED_AHEAD <= (int)CONN_IN_FIRST,
               "what was read beyond a chunk goes back to the input buffer");

enum conn_phase { CONN_HANDSHAKE, CONN_IDLE, CONN_HEAD, CONN_BUSY, CONN_DRAIN, CONN_LINGER };

enum continue_state { CONTINUE_NONE, CONTINUE_WANTED, CONTINUE_SENDING, CONTINUE_SENT };

struct body {
    struct source source;
    bool is_chunked;
    bool at_end;     /* all of it was read */
    enum err failed; /* ERR_OK, or why nothing more can be read */
    uint64_t left;   /* not chunked: bytes still to be taken from the connection */
    struct chunked chunked;
    enum continue_state continues;
    size_t continue_left; /* CONTINUE_SENDING: bytes of the 100 still to be sent */
    /* the read or prepare outstanding; call == NULL when there is none */
    struct call *call;
    bool preparing;
    char *buf;
    size_t len, *n;
};

/* A response under way. */
struct tx {
    bool active;
    bool chunked;
    bool sized;          /* `left` counts down to the end */
    bool framed;         /* chunked: a chunk has begun before */
    bool ended;          /* nothing follows `text` */
    bool source_end;     /* source_read() met the end */
    bool waiting;        /* for source_call */
    bool blocked;        /* the peer has kept us waiting in this response */
    enum err failed;     /* ends as soon as source_call does */
    struct call *call;   /* the handler's; NULL for answers of our own */
    struct source *body; /* NULL when text is all */
    struct str text;     /* head or chunk framing to be sent before anything else */
    char frame[24];      /* chunk framing */
    uint64_t left;       /* sized: bytes of the body; chunked: of the chunk */
    char *buf;           /* CONN_BUFFER bytes for SPAN_READ, and for files under TLS */
    size_t buf_at, buf_n;
    struct pipe pipe; /* what it holds has left the source and goes first; open once a SPAN_SOCKET came */
    bool no_splice;   /* the socket must be read */
    size_t read_n;
    struct call source_call;
};

struct conn {
    struct http_server *server;
    struct conn *prev, *next; /* the server's list */
    struct loop *loop;
    struct io *io;
    struct stream stream;
    enum conn_phase phase;
    bool keep_alive; /* of the current exchange */
    bool responded;  /* http_respond() was called or we answered ourselves */
    bool peer_ended; /* the peer sends no more; it may still read */
    bool end_leaves; /* of the current exchange: then it is taken to be gone */
    bool broken;     /* nothing can be sent or received any more */
    bool cut;        /* end with a reset: the response is incomplete */
    bool abort_queued;
    bool asks_keep; /* what the client wanted; keep_alive is what we do */

    char *in; /* received but not yet used: in[in_at .. in_n); NULL while nothing is there */
    size_t in_at, in_n, in_cap;
    struct head_scan scan;

    struct timer timer;
    uint64_t mark_ns, mark_bytes; /* when and at which count of bytes the last progress was noted */
    uint64_t pause_ns;            /* since when it is not the peer that is waited for; 0 = it is */
    uint64_t turn_ns, turn_bytes; /* bytes moved in the turn that began at turn_ns */
    uint64_t rx_bytes, tx_bytes;  /* of this connection */
    uint64_t rx_counted, tx_counted;
    uint64_t drained; /* DRAIN: bytes dropped */

    struct http_req req;
    struct arena arena;
    struct body body;
    struct tx tx;
    struct post after_post, abort_post;
};

struct http_server {
    struct loop *loop;
    struct http_handler *handler;
    struct http_limits limits;
    struct tls_context *tls;
    struct io *listener; /* NULL once draining */
    bool accepting;
    struct timer accept_timer;
    struct conn *conns;
    _Atomic uint32_t conn_count; /* changed by the loop only */
    bool draining;
    struct call *drained;
    struct timer drain_timer;
    bool drain_cut; /* the time is over; what is left was cut */
    /* recycled memory */
    char *in_free[64]; /* CONN_IN_FIRST each */
    unsigned in_free_n;
    char *buf_free[16]; /* CONN_BUFFER each */
    unsigned buf_free_n;
    struct pipe_list pipes;
    uint64_t id_next;
    int64_t date_s; /* the second `date` stands for */
    char date[29];
};

/* server.c */
extern struct metric http_m_connections, http_m_requests, http_m_refused, http_m_aborted, http_m_rx, http_m_tx,
    http_m_spliced;
/* After a connection has left the list. */
void server_conn_gone(struct http_server *s);
char *server_in_get(struct http_server *s);
void server_in_put(struct http_server *s, char *p, size_t cap);
char *server_buf_get(struct http_server *s);
void server_buf_put(struct http_server *s, char *p);

/* conn.c */
/* Takes fd. */
void conn_new(struct http_server *s, int fd, const char *peer);
/* Ends an idle connection now, a busy one after its response. */
void conn_wind_up(struct conn *c);
/* Ends it now; a handler at work is told. */
void conn_abort(struct conn *c);
/* BUSY: the peer is gone. Fails what waits for it, tells the handler; the connection ends once the handler has
 * answered. */
void conn_broke(struct conn *c, enum err why);
/* The response is complete or given up: what follows runs deferred, behind the call's done. */
void conn_responded(struct conn *c);
/* Nothing is wanted from the peer now: notices resets, keeps a little of pipelined input. */
void conn_watch(struct conn *c);
/* Goes on with what waited for the descriptor to be writable. */
void conn_on_writable(struct io *io, void *owner);

/* wait.c: time and fairness */
bool conn_turn_left(struct conn *c);
void conn_turn_take(struct conn *c, size_t n);
/* Goes on in conn_on_writable() when other descriptors had their turn. */
void conn_yield(struct conn *c);
/* A span of waiting for the peer begins at the count `bytes`; its clock runs except between pause and resume. */
void conn_clock_start(struct conn *c, uint64_t bytes);
void conn_clock_pause(struct conn *c);
void conn_clock_resume(struct conn *c);
/* Arms the timer for when the peer will have made no progress for timeout_ms; `bytes` is where its count stands now. */
void conn_wait(struct conn *c, uint32_t timeout_ms, uint64_t bytes);
/* The timer fired: whether the time is really over; re-arms it otherwise. */
bool conn_wait_over(struct conn *c, uint32_t timeout_ms, uint64_t bytes);

/* input.c: bytes received and not yet used */
static inline size_t conn_in_len(const struct conn *c)
{
    return c->in_n - c->in_at;
}
/* stream_read() that counts. */
enum tls_want conn_recv(struct conn *c, void *buf, size_t len, size_t *n);
/* One conn_recv() into the buffer, which grows up to head_max when it is full. */
enum tls_want conn_fill(struct conn *c);
/* Moves at most len bytes out. */
size_t conn_take(struct conn *c, void *buf, size_t len);
void conn_drop(struct conn *c, size_t n);
/* Puts bytes in front again; they fit (CONN_CHUNKED_AHEAD). */
void conn_give_back(struct conn *c, const char *p, size_t n);
/* Gives the buffer away when it is empty. */
void conn_in_release(struct conn *c);

/* body.c */
/* Sets up req->body from the head. */
void body_begin(struct conn *c, const struct http_head *h);
void body_pump(struct conn *c);
/* Fails the outstanding read and all later ones. */
void body_fail(struct conn *c, enum err why);
/* Whether bytes of it may still come over the wire. */
bool body_is_unread(const struct conn *c);
/* Moves up to len further bytes of the body into buf, without waiting. */
enum tls_want body_take(struct conn *c, char *buf, size_t len, size_t *n);
/* What remains of a 100 that was begun: it must go before the response. */
struct str body_continue_rest(const struct conn *c);

/* send.c */
void tx_pump(struct conn *c);
/* Gives the response up. */
void tx_fail(struct conn *c, enum err why);
/* Answers with a small XML error and closes; for requests that no handler has seen. */
void tx_refuse(struct conn *c, enum err why);

#endif
