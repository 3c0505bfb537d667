/* kube_own.h - what the parts of the kubernetes runtime share: kube_api.c (questions to the API server), kube_open.c (who we are), kube_pod.c (what a Pod is
 * made of), kube_state.c (what its status means), kube_watch.c (what becomes of all of them), kube.c.
 *
 * Shape    a sidecar is a Pod of our namespace on our node. All carry a label with this node's mark: what an earlier process has left is found by it. One
 *          thread follows them all, so that looking at one asks nobody.
 * Owns     an instance owns its Pod and its listener.
 * Errors   what the API server says is input from outside: it is bounded, checked, and never asserted. `why` holds its own words.
 * Thread   any; everything blocks.
 * Source   Kubernetes API v1: Pod, Status, watch; metrics.k8s.io/v1beta1.
 */
#ifndef SLUICE_ETL_KUBE_OWN_H
#define SLUICE_ETL_KUBE_OWN_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/doc.h"
#include "etl/rest.h"
#include "etl/runtime.h"
#include "etl/runtime_dir.h"

enum {
    KUBE_NAME_MAX = 63, /* of what is also a host name, or a label's value */
    KUBE_POD_MAX = 4 << 20,
    KUBE_VERSION_MAX = 64,
    KUBE_ROOTS_MAX = 64,
};

/* ---- kube_api.c ---- */

struct kube_api {
    const char *host; /* of the API server */
    uint16_t port;
    struct str token_file, ca_file, namespace; /* NUL-terminated */
};
struct kube_req {
    const char *method;
    const char *verb, *resource; /* "create", "pods": the rule that it takes */
    const char *group;           /* "metrics.k8s.io/v1beta1"; NULL: core */
    const char *path;            /* behind the namespace: "/pods/x?..." */
    struct str body;             /* JSON; STR_NONE: none */
    uint32_t timeout_ms;         /* 0 = REST_ASK_MS */
    size_t body_max;             /* 0 = REST_BODY_MAX */
    const atomic_bool *quit;     /* NULL, or: ends it soon with ERR_CANCELLED */
    bool (*on_piece)(void *arg, struct str piece);
    void *arg;
    int *status; /* NULL, or: the answer's, also of a refusal; 0: none came */
};
/* Takes "https://HOST[:PORT]" apart, in the arena. */
MUST_USE enum err kube_server(struct arena *a, struct str url, struct kube_api *api, char why[ETL_WHY_MAX]);
/* Asks, with the token and the CA as the files have them now, and reads the answer's JSON (`out` may be NULL). Refusals are errors: ERR_NOT_FOUND,
 * ERR_EXISTS, ERR_CONFLICT, ERR_INVALID_ARGUMENT (400, 422), ERR_ACCESS_DENIED (401, 403), ERR_REMOTE_GONE (410), else ERR_UNAVAILABLE. */
MUST_USE enum err kube_ask(const struct kube_api *api, struct arena *a, const struct kube_req *req, struct doc **out,
                           char why[ETL_WHY_MAX]);
/* A file's text without white space around it; at most 64 KiB. */
MUST_USE enum err kube_file(struct arena *a, const char *path, struct str *out, char why[ETL_WHY_MAX]);

/* ---- kube_state.c ---- */

/* What the status of a Pod comes to. */
struct kube_state {
    bool ended;
    bool wants_root;                /* its image says no user, or none that can be checked */
    char why[ETL_WHY_MAX];          /* how it ended, or what it waits for; "": it runs */
    char pull[ETL_WHY_MAX];         /* why its image could not be fetched when that was tried last */
    char address[INET6_ADDRSTRLEN]; /* "": none yet */
    char log[KUBE_NAME_MAX + 1];    /* the container whose log tells most */
};
/* `main`: the name of the sidecar's container. What was known before stands in *s. */
void kube_judge(const struct doc *pod, const char *main, struct kube_state *s);

/* ---- the runtime ---- */

struct kube_runtime {
    struct etl_runtime runtime;
    struct arena arena;
    struct kube_api api;
    struct str node, target, pod, dir; /* pod: our own, or empty; NUL-terminated */
    char mark[RUNTIME_MARK_LEN + 1];
    /* of our own Pod, JSON texts; empty: none */
    struct str uid, pull_secrets, tolerations;
    struct sockaddr_storage address; /* where Pods reach us, port 0 */
    socklen_t address_len;
    uint64_t memory_max;
    uint32_t user; /* of those whose image says none */
    atomic_bool quit, closing;
    _Atomic uint64_t no_metrics_until; /* monotonic ns: nobody serves them */
    pthread_t watcher;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct { /* guarded by lock */
        struct kube_instance *first;
        uint64_t turn;                  /* counts the lists */
        uint64_t roots[KUBE_ROOTS_MAX]; /* hashes of images that say no user */
        unsigned root_count;            /* of all times */
    } locked;
};
struct kube_instance {
    struct etl_instance instance;
    struct kube_instance *next; /* guarded by the runtime's lock */
    struct kube_runtime *runtime;
    struct arena arena;
    struct str id;
    struct etl_spec spec;
    struct etl_env *more; /* what the engine adds to the spec's environment */
    size_t more_count;
    struct doc *pod;                   /* of the spec, or NULL */
    char container[KUBE_NAME_MAX + 1]; /* the sidecar's */
    int listener;
    struct str url;                   /* AIS_TARGET_URL */
    struct {                          /* guarded by the runtime's lock */
        char name[KUBE_NAME_MAX + 1]; /* of its Pod; "": none */
        bool made, seen, gone;
        uint64_t turn; /* a list that began later has it */
        bool as_user;
        struct kube_state state;
        double cpu_seconds;
        uint64_t used_ns; /* when that was added to */
    } locked;
};
extern const char kube_label[];

/* ---- kube_open.c ---- */

/* What is configured, and what the environment and our own Pod tell. */
MUST_USE enum err kube_know(struct kube_runtime *r, const struct etl_kube_conf *conf, char why[ETL_WHY_MAX]);
/* A listening socket at our address. */
MUST_USE enum err kube_listen(const struct kube_runtime *r, int *fd, struct str path, struct arena *a, struct str *url,
                              char why[ETL_WHY_MAX]);
/* As the value of a label: what may not be in one becomes '-'. */
void kube_label_value(struct str text, char out[KUBE_NAME_MAX + 1]);

/* ---- kube_pod.c ---- */

/* The Pod as JSON. */
MUST_USE enum err kube_write(const struct kube_instance *i, const char *name, bool as_user, struct buf *out,
                             char why[ETL_WHY_MAX]);

/* ---- kube_watch.c ---- */

/* Makes a Pod of it, with a name of its own. */
MUST_USE enum err kube_make(struct kube_instance *i, bool as_user, char why[ETL_WHY_MAX]);
/* Has it deleted; whether it is gone is told by the watch. ERR_NOT_FOUND: it is. */
MUST_USE enum err kube_delete(struct kube_runtime *r, const char *name, uint32_t grace_s, char why[ETL_WHY_MAX]);
/* Deletes what has our mark. */
MUST_USE enum err kube_clear(struct kube_runtime *r, char why[ETL_WHY_MAX]);
/* Until it is gone; false: it is still there after `ms`. */
bool kube_await_gone(struct kube_instance *i, uint32_t ms);
MUST_USE enum err kube_watch_start(struct kube_runtime *r, char why[ETL_WHY_MAX]);
/* `closing` is set. */
void kube_watch_end(struct kube_runtime *r);

#endif
