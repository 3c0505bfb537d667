/* runtime.h - where sidecars run: as processes of this machine (process.c), in containers (docker.c), or as Pods of Kubernetes (kube.c).
 *
 * Shape    a runtime starts instances of a spec and stops them; an instance is one sidecar, alive or not. It is not told when one ends by itself:
 *          the engine looks (alive()), a few times a second.
 * Owns     etl_runtime_start() gives an instance, etl_runtime_stop() ends and frees it: then its processes, container, files and descriptors
 *          are gone, whatever it did.
 * Errors   `why` holds a sentence for a person.
 * Thread   every function BLOCKING, any thread: the io pool. Functions on one instance may run at the same time, but for stop(), after which
 *          nobody uses it.
 */
#ifndef SLUICE_ETL_RUNTIME_H
#define SLUICE_ETL_RUNTIME_H

#include "etl/spec.h"

enum { ETL_LOG_MAX = 256 << 10 }; /* bytes of a sidecar's output that are kept: the last ones */

struct etl_runtime;
struct etl_instance;

struct etl_start_req {
    const struct etl_spec *spec; /* borrowed until start returns */
    struct str id;               /* of this incarnation, unique in this process: "resize-1" */
    const struct etl_env *env;   /* added to the spec's */
    size_t env_count;
    /* The path part of AIS_TARGET_URL. The runtime adds scheme, host and port, by which the sidecar reaches etl_instance_listener(), and sets
     * the variable. */
    struct str target_path;
};
/* Counters of a sidecar as far as the runtime knows them. */
struct etl_usage {
    double cpu_seconds; /* since it began */
    uint64_t memory;    /* bytes resident now */
    uint32_t processes;
};

struct etl_runtime_ops {
    const char *name; /* "process", "docker", "kubernetes" */
    bool pods;        /* it runs Pods: also specs of which spec->kubernetes says why it takes that */
    enum err (*start)(struct etl_runtime *, const struct etl_start_req *, struct etl_instance **,
                      char why[ETL_WHY_MAX]);
    /* Asks it to end (SIGTERM), waits grace_ms, ends it. */
    void (*stop)(struct etl_instance *, uint32_t grace_ms);
    /* Whether it still runs; when not, `why` says how it ended ("exit status 1", "killed by signal 9 (out of memory)"). When it does, `why` may say
     * what it waits for before it listens; "": nothing that is known. */
    bool (*alive)(struct etl_instance *, char why[ETL_WHY_MAX]);
    /* A connected, non-blocking TCP socket to its port. ERR_UNAVAILABLE: it does not listen (yet). */
    enum err (*dial)(struct etl_instance *, int *fd);
    /* A listening, non-blocking socket that the sidecar reaches as AIS_TARGET_URL; taken by the caller, once. -1: none. */
    int (*listener)(struct etl_instance *);
    /* Of an ETL with the io communicator: runs the command once with pipes (non-blocking, the caller's to close) as stdin and stdout; stderr goes to
     * the log. `child` is for exec_wait(). ERR_NOT_IMPLEMENTED: this runtime can't. */
    enum err (*exec)(struct etl_instance *, const struct etl_env *env, size_t env_count, int *in, int *out,
                     uint64_t *child);
    /* Ends it if `kill`, waits (at most 10 s) and forgets it. 0: it ended with 0; `why` says how else. */
    int (*exec_wait)(struct etl_instance *, uint64_t child, bool kill, char why[ETL_WHY_MAX]);
    /* The last of what it wrote to stdout and stderr, appended to `out`. */
    void (*logs)(struct etl_instance *, struct buf *out);
    enum err (*usage)(struct etl_instance *, struct etl_usage *out);
    /* A directory for files that the sidecar may read: *host as we see it, *inside as it does. ERR_NOT_IMPLEMENTED: none. */
    enum err (*share)(struct etl_instance *, struct str *host, struct str *inside);
    void (*close)(struct etl_runtime *);
    /* Does not block. start() under way, and later ones, end soon: with ERR_CANCELLED where they would wait. NULL: they never wait for long. */
    void (*quit)(struct etl_runtime *);
};
struct etl_runtime {
    const struct etl_runtime_ops *ops;
};
struct etl_instance {
    struct etl_runtime *runtime;
};

/* How sidecars are kept apart from the machine, and from each other. */
enum etl_isolation {
    /* Namespaces of their own for network, processes, mounts, IPC; system calls filtered. Without them nothing is started. The sidecar sees the
     * machine's files, none of which it can write, but not those of `hidden`, /run and others' /tmp; /tmp is its own, and /tmp/home is its HOME.
     * It is an ordinary user: `uid`, or whoever runs us, whose files it then may read. */
    ETL_ISOLATE,
    ETL_UNCONFINED, /* a process of this machine like any other, at a port of this machine, with HOME below `dir` */
};
/* Limits (memory, processes, cores) are kept by control groups, version 2, where we may make some (as root, or where the service manager delegates
 * them and nothing else is in ours). Elsewhere: memory is limited for each process, by its address space (RLIMIT_AS), which programs that reserve
 * much more than they use can't live with; the processes of a sandbox are limited, unconfined ones are not; a sidecar with a limit of cores has a
 * lower priority (nice 10) instead. What a sidecar writes to its directory is not limited. */
struct etl_process_conf {
    struct str dir; /* for private directories; made, and cleared, when it opens */
    enum etl_isolation isolation;
    uint32_t uid, gid; /* of the sidecars, when this process is root's; 0: nobody's */
    /* "IMAGE=COMMAND": what an image that a spec names stands for on this machine. IMAGE may end in '*'; COMMAND is split at spaces and goes in front
     * of the spec's own command, where "{image}" is the image's name. An image that no row names: the spec's command alone. */
    const struct str *images;
    size_t image_count;
    struct str path;          /* PATH of the sidecars; empty: a usual one */
    const struct str *hidden; /* directories that they must not see: data directories */
    size_t hidden_count;
    uint32_t processes_max; /* of one sidecar; 0 = 256 */
    uint64_t memory_max;    /* of one whose spec says none; 0 = no limit */
};
MUST_USE enum err etl_process_open(const struct etl_process_conf *conf, struct etl_runtime **out,
                                   char why[ETL_WHY_MAX]);
/* What `sluice etl-shim` does: pid 1 of a sidecar's namespaces. Never returns before the sidecar is gone. */
int etl_shim_main(int argc, char **argv);

/* Sidecars as containers of a Docker Engine (API 1.41 or later; Podman's socket) of this machine, whose network namespace must be ours. A container has
 * no capabilities and gains no privileges; its user is the image's, or nobody; it sees no file of the machine but its share(). Its network is one in
 * which it reaches this machine alone and no other container; with spec->network one from which it reaches other hosts. Commands of the io
 * communicator have a container each, with no network unless spec->network. Images that are not there are pulled, without credentials. */
struct etl_docker_conf {
    struct str socket; /* "/var/run/docker.sock" */
    struct str label;  /* of this node's containers: those that an earlier process left are removed when it opens */
    struct str
        dir; /* for private directories; made, and cleared, when it opens. The engine must see it by the same name */
    uint64_t memory_max; /* of a sidecar whose spec says none; 0 = no limit */
};
MUST_USE enum err etl_docker_open(const struct etl_docker_conf *conf, struct etl_runtime **out, char why[ETL_WHY_MAX]);

/* Sidecars as Pods of Kubernetes, on this node, in one namespace; of ETLs with the io communicator there are none. A Pod has no capabilities, gains no
 * privileges, is not root's (its user is the image's, or `user`), sees no file of the node and has no token of a service account. What it may reach is
 * for NetworkPolicies to say, by the label sluice.network: none, or host with spec->network. What is empty is looked for where Kubernetes puts it for
 * Pods: KUBERNETES_SERVICE_HOST and _PORT, the files of the service account, POD_NAME, NODE_NAME and POD_IP, and our own Pod. */
struct etl_kube_conf {
    struct str server; /* "https://HOST:PORT" */
    struct str token_file, ca_file, namespace;
    struct str node, pod,
        address;      /* Kubernetes' name of this node, our own Pod's, the address at which Pods reach us */
    struct str label; /* what this node is called elsewhere */
    struct str dir; /* for the mark by which Pods that an earlier process left are found, and removed, when it opens */
    uint64_t memory_max; /* of a sidecar whose spec says none; 0 = no limit */
    uint32_t user;       /* and group, of those whose image says none; 0 = nobody's */
};
MUST_USE enum err etl_kube_open(const struct etl_kube_conf *conf, struct etl_runtime **out, char why[ETL_WHY_MAX]);

#endif
