/* comm_ws_own.h - between the WebSocket communicator's connections (comm_ws_conn.c), who gets one (comm_ws_site.c) and the objects on them
 * (comm_ws.c, comm_ws_control.c).
 *
 * Shape    a site is one instance: its connections and the runs that wait for one. A run is one object; it has a connection for itself from
 *          ws_run_begin() to ws_conn_release(). Whatever happens on the connection meanwhile ends in ws_run_settle(), which looks what it was.
 * Owns     a run frees itself; a connection is the site's, and what ws_conn_send() is given the run's.
 * Errors   a connection that is WS_GONE says why in err and why.
 * Thread   the wire's loop, but for dialling.
 * Source   RFC 6455.
 */
#ifndef SLUICE_ETL_COMM_WS_OWN_H
#define SLUICE_ETL_COMM_WS_OWN_H

#include "comm_own.h"
#include "ws_frame.h"

enum {
    WS_IN_MAX = 64 << 10,  /* bytes of a result that are held; and of the handshake's answer */
    WS_WAITING_MAX = 4096, /* objects that wait for a connection to one instance */
    WS_IDLE_MS = 60000,    /* a connection that nobody has used for so long is closed */
    WS_WHY_MAX = 256,
    WS_CONTROL_MESSAGE_MAX = 1 << 20, /* bytes of what is said before an object */
};

struct ws_run;
struct ws_site;

/* Of a wire; outlives it by what is still to be called back. */
struct etl_ws {
    struct etl_wire *wire; /* NULL: closed */
    struct loop *loop;
    struct offload *pool;
    uint32_t refs;
    struct ws_site *sites;
};

struct ws_site {
    struct etl_ws *ws;
    struct ws_site *next, *prev;
    char *id;
    size_t id_n;
    struct ws_conn *conns; /* all; the last used first */
    uint32_t conn_count, waiting;
    struct ws_run *first, **last; /* who waits */
    struct post post;             /* serves them */
    bool posted;
};

enum ws_conn_state { WS_DIALLING, WS_SHAKING, WS_OPEN, WS_GONE };

struct ws_conn {
    struct ws_site *site;
    struct ws_conn *next, *prev;
    struct ws_run *run; /* NULL: idle; or not wanted any more, when it is WS_DIALLING */
    enum ws_conn_state state;
    bool used;    /* has been idle */
    bool frames;  /* the sidecar speaks Sluice's extension: comm_ws.c */
    bool last;    /* after this object it is closed */
    enum err err; /* WS_GONE */
    char why[WS_WHY_MAX];
    struct timer idle;

    /* dialling */
    struct offload_task task;
    struct call dialled;
    struct etl_wire *wire;
    int fd;
    char key[WS_KEY_LEN];
    struct head_scan scan;

    struct io *io; /* NULL: not connected */
    /* what comes */
    struct ws_parser parser;
    char *in;
    size_t in_at, in_n;
    /* what goes: the run's bytes, and control frames between its frames */
    const char *out;
    size_t out_n;
    bool out_begun;
    bool mute; /* nothing goes any more; what it has said can still be read */
    bool ping; /* a ping is to be answered: the last one, section 5.5.3 */
    uint8_t ping_n;
    uint8_t ping_text[WS_CONTROL_MAX];
    size_t small_at, small_n;
    char small[1024]; /* a control frame, or the handshake */
};

/* ---- comm_ws_site.c ---- */

struct etl_ws *ws_get(struct etl_wire *w);
/* NULL: there is none, and none is made. */
struct ws_site *ws_site_get(struct etl_wire *w, struct str id, bool make);
/* Later ws_run_begin(); false: too many wait. */
MUST_USE bool ws_site_wait(struct ws_site *site, struct ws_run *run);
void ws_site_leave(struct ws_site *site, struct ws_run *run);
/* Something of it has changed. Without anything to do it is gone on return. */
void ws_site_changed(struct ws_site *site);

/* ---- comm_ws_conn.c ---- */

/* A connection besides those that there are, for a run that releases another at once. */
struct ws_conn *ws_conn_new(struct ws_site *site, struct ws_run *run);
/* Looks what has come on one that is idle: nothing but control frames may. False: it is WS_GONE. */
bool ws_conn_idle(struct ws_conn *c);
/* Of one that is idle. */
void ws_conn_close(struct ws_conn *c);
/* The run is done with it; `clean`: both sides stand between two objects. */
void ws_conn_release(struct ws_conn *c, bool clean);
/* Sends these bytes, which are whole frames; one at a time. */
void ws_conn_send(struct ws_conn *c, const char *p, size_t n);
static inline bool ws_conn_is_sending(const struct ws_conn *c)
{
    return c->out_n > 0;
}
/* The next of what has come, pings answered; `read`: look at the socket too. Also WS_MORE when it is WS_GONE. Data of an event holds until the next. */
enum ws_event ws_conn_next(struct ws_conn *c, bool read);
/* Whether it is to be told when there is more. */
void ws_conn_listen(struct ws_conn *c, bool on);
/* It has done what it must not. */
void ws_conn_blame(struct ws_conn *c, const char *why);

/* ---- comm_ws_control.c: the messages around an object, comm_ws.c. Pure ---- */

/* ERR_INVALID_ARGUMENT: res->text tells why. */
MUST_USE enum err ws_control_write(struct buf *b, const struct etl_comm_req *req, struct etl_comm_res *res);
struct ws_told {
    int status;       /* 200, 204, 400..599 */
    uint64_t size;    /* with 200; SOURCE_SIZE_UNKNOWN */
    uint64_t stored;  /* with 204 */
    struct str error; /* with the others */
};
/* NULL, or a static sentence about what is wrong with it. */
const char *ws_control_read(struct arena *arena, struct str text, struct ws_told *out);

/* ---- comm_ws.c ---- */

struct ws_run **ws_run_next(struct ws_run *run); /* the link of those that wait */
void ws_run_begin(struct ws_run *run, struct ws_conn *c);
void ws_run_settle(struct ws_run *run);

#endif
