/* meta_etcd.h - what the files of the etcd backend share; nobody else's.
 *
 * Shape    one thread with one loop and one HTTP client does everything; callers' loops post to it. An etcd_ask is one request
 *          that is tried at the endpoints in turn until its deadline.
 * Units    deadlines: nanoseconds of CLOCK_MONOTONIC.
 * Owns     an ask belongs to whoever embeds it, from etcd_ask_start() until its done.
 * Thread   the backend's own loop, unless a line says otherwise.
 */
#ifndef SLUICE_STORE_META_ETCD_H
#define SLUICE_STORE_META_ETCD_H

#include <pthread.h>
#include <stdatomic.h>

#include "http/client.h"
#include "store/meta.h"
#include "store/meta_etcd_wire.h"

enum {
    ETCD_BACKOFF_MIN_MS = 50,
    ETCD_BACKOFF_MAX_MS = 2000,
    ETCD_PROBE_MS = 2000,    /* after so long a silence etcd is asked whether it is there */
    ETCD_ENDPOINTS_MAX = 16, /* as many as a cluster of it sensibly has, twice */
    ETCD_WHY_MAX = 256
};

struct etcd_ask;
struct etcd_watch;
struct meta_lease;

struct meta_etcd {
    struct meta meta;
    struct arena arena; /* of the settings below, which never change */
    const char **endpoints;
    size_t endpoint_count;
    struct str prefix, user, password;
    const char *ca_file, *cert_file, *key_file;
    uint64_t timeout_ms;

    struct loop *loop;
    pthread_t thread;
    atomic_bool away;
    atomic_uint calls; /* of callers, under way */

    /* the loop's own from here */
    struct http_client *http;
    size_t current;              /* endpoint that answered last */
    uint64_t cluster, seen;      /* of all answers: the cluster's id, the highest revision */
    unsigned failures;           /* tries in a row */
    uint64_t away_ns, answer_ns; /* since when; last answer */
    char last_why[ETCD_WHY_MAX];
    struct {
        char *token; /* NULL: none yet */
        unsigned generation;
        bool off; /* etcd wants none */
        struct etcd_login *login;
        struct etcd_ask *waiting;
    } auth;
    struct etcd_probe *probe;
    struct etcd_watch *watches;
    struct meta_lease *leases;
    struct etcd_marks *marks;
    bool closing;
};

#define ETCD(m) CONTAINER(m, struct meta_etcd, meta)

/* ---- meta_etcd_ask.c ---- */

struct etcd_ask {
    struct meta_etcd *m;
    const char *path; /* "/v3/kv/range" */
    struct str body;  /* stays until done */
    /* Of an answer; what it keeps lives in `arena`. */
    enum err (*read)(struct etcd_ask *, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX]);
    void (*done)(struct etcd_ask *);
    uint64_t deadline_ns;
    size_t answer_max; /* 0 = ETCD_ANSWER_MAX */
    bool is_login;     /* goes without a token */

    /* ERR_OK; ERR_UNAVAILABLE: no answer before the deadline, it may have had its effect; ERR_INVALID_REQUEST: etcd
     * refused with `code`; ERR_TOO_LARGE: the answer; ERR_CANCELLED */
    enum err err;
    int code;
    bool unsure; /* an earlier try may have had its effect */
    struct arena arena;
    char why[ETCD_WHY_MAX];

    /* the ask's own */
    struct http_client_req req;
    struct http_client_res res;
    struct http_header headers[2];
    struct call call;
    struct timer timer;
    struct etcd_ask *next_waiting;
    size_t endpoint;
    uint64_t seen;
    unsigned tries, generation, logins;
    bool sent, answered, waits, stopped, ended;
};

/* The fields above the outcome are set, the others zero. `done` runs later, once. */
void etcd_ask_start(struct etcd_ask *q);
/* Ends it with ERR_CANCELLED, as soon as possible; harmless after done. */
void etcd_ask_cancel(struct etcd_ask *q);
/* What its answer left. */
void etcd_ask_release(struct etcd_ask *q);
uint64_t etcd_deadline(const struct meta_etcd *m);
/* The wait before try number `tries` (from 0), in milliseconds, with jitter. */
uint64_t etcd_backoff(unsigned tries);
/* Keeps `away` true to life when nobody asks. */
void etcd_probe_start(struct meta_etcd *m);
void etcd_probe_stop(struct meta_etcd *m);
/* Sets connection options and headers of a request to an endpoint with the token of now. */
void etcd_address(struct meta_etcd *m, size_t endpoint, const char *path, struct http_client_req *req,
                  struct http_header headers[2], struct arena *arena);
void etcd_auth_release(struct meta_etcd *m);

/* ---- blocking functions: a message to the loop, and the wait for its answer ---- */

struct etcd_wait {
    struct post post;
    struct meta_etcd *m;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done; /* guarded by lock */
    enum err err;
};
/* Any other thread: runs fn on the loop, waits for etcd_wait_end(). */
enum err etcd_wait_for(struct meta_etcd *m, struct etcd_wait *w, void (*fn)(struct post *));
void etcd_wait_end(struct etcd_wait *w, enum err e);

/* ---- trips: a caller's operation on its way over the loop ---- */

struct etcd_trip {
    struct meta_etcd *m;
    struct call *whole;
    struct call call; /* back to the caller's loop */
    struct post start, cancel;
    atomic_uint refs; /* the trip's, and the message that cancels it */
    void (*begin)(struct etcd_trip *);
    void (*deliver)(struct etcd_trip *); /* the caller's loop; only when all went well */
    void (*release)(struct etcd_trip *); /* frees it */
    struct etcd_ask ask;
    struct buf body; /* of the ask */
    uint64_t deadline_ns;
    bool cancelled, ended;
};
/* Any thread. The embedding struct is zeroed; a trip too many fails at once with ERR_BUSY and is released. */
void etcd_trip_go(struct etcd_trip *t, struct meta *meta, struct call *whole);
void etcd_trip_end(struct etcd_trip *t, enum err e);
/* Sends what stands in `body`. */
void etcd_trip_ask(struct etcd_trip *t, const char *path,
                   enum err (*read)(struct etcd_ask *, struct str, struct etcd_header *, char why[DOC_WHY_MAX]),
                   void (*done)(struct etcd_ask *));
/* What a caller is told of an ask that failed. */
enum err etcd_trip_err(const struct etcd_ask *q);

/* ---- meta_etcd_put.c ---- */

void etcd_put(struct meta *, const struct meta_put_req *, struct meta_put_res *, struct call *);
void etcd_marks_release(struct meta_etcd *m);

/* ---- meta_etcd_read.c ---- */

void etcd_get(struct meta *, const struct meta_get_req *, struct meta_get_res *, struct call *);
void etcd_list(struct meta *, const struct meta_list_req *, struct meta_list_res *, struct call *);

/* ---- meta_etcd_watch.c ---- */

enum err etcd_watch_open(struct meta *, struct str prefix, meta_watch_fn *fn, void *arg);
/* True when none is left; else etcd_close_step() is called again when one has ended. */
bool etcd_watches_end(struct meta_etcd *m);

/* ---- meta_etcd_lease.c ---- */

enum err etcd_lease_open(struct meta *, const struct meta_lease_req *, struct meta_lease **out);
void etcd_lease_state(struct meta_lease *l, struct meta_lease_state *out);
void etcd_lease_end(struct meta *, struct meta_lease *);
bool etcd_leases_end(struct meta_etcd *m);

/* ---- meta_etcd.c ---- */

/* The key as etcd knows it. */
struct str etcd_full_key(const struct meta_etcd *m, struct arena *a, struct str key);
/* Looks whether all parts have ended, and then ends the loop. */
void etcd_close_step(struct meta_etcd *m);

#endif
