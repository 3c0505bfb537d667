/* docker_own.h - what the parts of the docker runtime share: docker_api.c (questions to the engine), docker_open.c, docker_image.c, docker_net.c, docker_make.c
 * (what a container is made of), docker_exec.c (commands with pipes), docker.c.
 *
 * Shape    a sidecar is a container; of an ETL with the io communicator each object has one of its own. All of them, and the networks, carry a label
 *          with this node's name: what an earlier process has left is found by it.
 * Owns     an instance owns its container, its listener and its directory; the runtime its networks and the pulls of images.
 * Errors   what the engine says is input from outside: it is bounded, checked, and never asserted. `why` holds its own words.
 * Thread   any; everything blocks.
 * Source   Docker Engine API v1.41, as Podman's compatible socket speaks it as well.
 */
#ifndef SLUICE_ETL_DOCKER_OWN_H
#define SLUICE_ETL_DOCKER_OWN_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/doc.h"
#include "etl/process_own.h"
#include "etl/rest.h"
#include "etl/runtime.h"
#include "etl/runtime_dir.h"

enum {
    DOCKER_ID_MAX = 64,
    DOCKER_MAKE_MS = 120000, /* a machine under load makes containers slowly */
};

/* ---- docker_api.c ---- */

struct docker_api {
    struct str socket;
    char version[16]; /* "1.41"; "": not known yet, paths go without it */
};
/* Asks, and reads the answer's JSON (`out` may be NULL). The engine's refusals are errors: ERR_NOT_FOUND (404), ERR_CONFLICT (409),
 * ERR_INVALID_ARGUMENT (400), else ERR_UNAVAILABLE. */
MUST_USE enum err docker_ask(const struct docker_api *api, struct arena *a, const struct rest_req *req,
                             struct doc **out, char why[ETL_WHY_MAX]);
/* A request that turns its connection into a stream: *fd, non-blocking; what has come of the stream already is in `early`. */
MUST_USE enum err docker_hijack(const struct docker_api *api, const char *path, int *fd, struct buf *early,
                                char why[ETL_WHY_MAX]);
/* An id as engines make them: hex. */
bool docker_take_id(struct str text, char out[DOCKER_ID_MAX + 1]);

/* Output of a container: frames of 8 bytes of head (stream, 0, 0, 0, length in network order) and content. */
struct docker_frames {
    uint8_t head[8];
    uint32_t have; /* of the head */
    uint32_t left; /* of the content */
    bool bad;      /* for good: these are no frames */
};
/* The next piece of content, cut from the front of *in; false: *in is used up, or bad. */
bool docker_frames_next(struct docker_frames *f, struct str *in, struct str *piece, unsigned *stream);

/* ---- the runtime ---- */

struct docker_net {
    char name[64], id[DOCKER_ID_MAX + 1]; /* id "": not made yet */
    struct in_addr gateway;               /* our end */
};
struct docker_runtime {
    struct etl_runtime runtime;
    struct arena arena;
    struct docker_api api;
    struct str dir, label; /* NUL-terminated */
    uint64_t memory_max;
    bool podman;
    atomic_bool init; /* the engine has an init process to put into containers */
    atomic_bool quit;
    struct process_logs logs;
    pthread_mutex_t lock;
    pthread_cond_t pulled;
    struct { /* guarded by lock */
        struct docker_instance *first;
        struct docker_pull *pulls;
        unsigned pull_count;
    } locked;
    pthread_mutex_t net_lock;
    struct docker_net nets[2]; /* guarded by net_lock; the second reaches other hosts */
};
struct docker_instance {
    struct etl_instance instance;
    struct docker_instance *next; /* guarded by the runtime's lock */
    struct docker_runtime *runtime;
    struct arena arena;
    struct str id, dir; /* dir: what it may read is in there; NUL-terminated */
    struct etl_spec spec;
    bool own_user; /* the image says who it runs as */
    const struct docker_net *net;
    char container[DOCKER_ID_MAX + 1]; /* "": none, io */
    int listener;
    struct str url; /* AIS_TARGET_URL */
    /* of io: what its commands write to stderr */
    struct process_log *log;
    int log_fd;
    pthread_mutex_t lock;
    struct { /* guarded by lock */
        struct in_addr address;
        struct docker_child *children;
    } locked;
};
extern const char docker_label[], docker_share[];

/* ---- docker_open.c ---- */

/* What engine it is, and whether it will do. */
MUST_USE enum err docker_greet(struct docker_runtime *r, char why[ETL_WHY_MAX]);

/* ---- docker_image.c ---- */

/* Sees to it that the image is there, which may mean to pull it; that goes on when this has given up after `timeout_ms`. *own_user: it says who it
 * runs as. */
MUST_USE enum err docker_image(struct docker_runtime *r, struct str image, uint32_t timeout_ms, bool *own_user,
                               char why[ETL_WHY_MAX]);
/* Ends all pulls. */
void docker_image_close(struct docker_runtime *r);

/* ---- docker_net.c ---- */

/* A network of ours: one in which containers reach nothing but this node, or one from which they reach other hosts. */
MUST_USE enum err docker_net(struct docker_runtime *r, bool open, const struct docker_net **out, char why[ETL_WHY_MAX]);
/* A listening socket at our end of it. */
MUST_USE enum err docker_net_listen(const struct docker_runtime *r, const struct docker_net *net, int *fd,
                                    uint16_t *port, char why[ETL_WHY_MAX]);
/* Whether our end is there, once a container is in it. */
MUST_USE enum err docker_net_check(const struct docker_runtime *r, const struct docker_net *net, char why[ETL_WHY_MAX]);
/* Removes what has our label: containers, then networks. */
void docker_clear(struct docker_runtime *r);

/* ---- docker_make.c ---- */

struct docker_env_list {
    const struct etl_env *env;
    size_t count;
};
/* Makes and doesn't start it. `env` goes first: of two of a name the first counts. */
MUST_USE enum err docker_make(struct docker_instance *i, const struct docker_env_list *env, bool piped,
                              char id[DOCKER_ID_MAX + 1], char why[ETL_WHY_MAX]);
MUST_USE enum err docker_run(struct docker_runtime *r, const char *id, char why[ETL_WHY_MAX]);
/* Whatever it does. false: it is still there, and that has been logged. */
bool docker_remove(struct docker_runtime *r, const char *id);
/* How one that does not run has ended, by its inspection; its status. */
int docker_fate(const struct doc *inspected, char why[ETL_WHY_MAX]);
MUST_USE enum err docker_inspect(struct docker_runtime *r, struct arena *a, const char *id, struct doc **out,
                                 char why[ETL_WHY_MAX]);
MUST_USE enum err docker_usage_of(struct docker_runtime *r, const char *id, struct etl_usage *out);

/* ---- docker_exec.c ---- */

enum err docker_exec(struct etl_instance *instance, const struct etl_env *env, size_t env_count, int *in, int *out,
                     uint64_t *child);
int docker_exec_wait(struct etl_instance *instance, uint64_t child, bool kill_it, char why[ETL_WHY_MAX]);
/* Of the commands that run now. */
enum err docker_exec_usage(struct docker_instance *i, struct etl_usage *out);

#endif
