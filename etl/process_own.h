/* process_own.h - what the parts of the process runtime share: process.c, process_start.c, process_log.c, process_dir.c, process_cgroup.c.
 *
 * Owns     an instance owns its descriptors, its shim (a child process), its directory and its control group.
 * Thread   any; all that may block is called from the io pool.
 */
#ifndef SLUICE_ETL_PROCESS_OWN_H
#define SLUICE_ETL_PROCESS_OWN_H

#include <pthread.h>

#include "etl/runtime.h"
#include "etl/shim.h"

/* ---- process_log.c: the last of what sidecars write, read by one thread ---- */

struct process_log {
    struct process_log *next;
    uint64_t id;
    int fd; /* the pipe's end, non-blocking */
    bool ended;
    char *ring;       /* ETL_LOG_MAX bytes */
    uint64_t written; /* bytes ever: the ring ends at this, modulo its size */
};
struct process_logs {
    pthread_t thread;
    int epoll, stop; /* an eventfd */
    pthread_mutex_t lock;
    struct {
        struct process_log *first;
        uint64_t last_id;
    } locked;
};
MUST_USE enum err process_logs_open(struct process_logs *l);
void process_logs_close(struct process_logs *l);
/* Takes `fd`. */
struct process_log *process_log_new(struct process_logs *l, int fd);
void process_log_free(struct process_logs *l, struct process_log *log);
/* All that was written until now. */
void process_log_read(struct process_logs *l, struct process_log *log, struct buf *out);

/* ---- process_dir.c ---- */

/* Makes DIR for one sidecar: DIR/tmp, DIR/tmp/home (the sidecar's), DIR/tmp/share, DIR/share (ours). `outside`: it must be reachable from outside a
 * sandbox. */
MUST_USE enum err process_dir_make(const char *dir, bool outside, uint32_t uid, uint32_t gid);
/* All below it, and unless `keep` itself. However deep, and whatever its modes: sidecars made it. */
MUST_USE enum err process_dir_remove(const char *dir, bool keep);

/* ---- process_cgroup.c: control groups, version 2 ---- */

/* The directory in which groups for sidecars can be made; none: "" (and nothing has changed). `mounts`, `own`: /proc/self/mountinfo, /proc/self/cgroup. */
void process_cgroup_find(const char *mounts, const char *own, char *out, size_t size);
struct process_limits {
    uint64_t memory;
    uint32_t processes, cpu; /* thousandths of a core; 0 each: none */
};
MUST_USE enum err process_cgroup_make(const char *dir, const struct process_limits *limits);
void process_cgroup_remove(const char *dir);
/* Whether the kernel killed one of it for want of memory. */
bool process_cgroup_starved(const char *dir);
MUST_USE enum err process_cgroup_usage(const char *dir, struct etl_usage *out);

/* ---- process.c, process_start.c ---- */

struct process_runtime {
    struct etl_runtime runtime;
    struct arena arena;
    struct etl_process_conf conf; /* strs in the arena, NUL-terminated */
    char cgroup[512];             /* "": none */
    struct process_logs logs;
    pthread_mutex_t lock;
    struct {
        struct process_instance *first;
    } locked;
};

struct process_instance {
    struct etl_instance instance;
    struct process_instance *next; /* guarded by the runtime's lock */
    struct process_runtime *runtime;
    struct arena arena;
    struct str dir, cgroup; /* NUL-terminated; cgroup may be empty */
    bool host_network;
    uint16_t port;
    uint16_t listen_port;
    pid_t shim;
    int listener; /* -1: none, or taken */
    struct process_log *log;
    pthread_mutex_t lock; /* one question to the shim at a time */
    struct {
        int control;
        uint32_t seq;
    } asking;
    pthread_mutex_t end_lock;
    struct {
        int main; /* the command's socket; -1: there is none (io), or it has ended */
        bool ended;
        char why[ETL_WHY_MAX];
    } fate;
};

/* The shim runs, in its sandbox. On error there is nothing left of it. */
MUST_USE enum err process_shim_start(struct process_instance *i, const struct etl_start_req *req,
                                     char why[ETL_WHY_MAX]);
/* Runs the spec's command; without pipes when `in` is NULL. Its socket. */
MUST_USE enum err process_run(struct process_instance *i, const struct etl_env *env, size_t env_count, int *in,
                              int *out, int *status);
/* Everything in the sandbox is gone when it returns. */
void process_shim_end(struct process_instance *i);

#endif
