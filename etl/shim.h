/* shim.h - what the process runtime and `sluice etl-shim` say to each other.
 *
 * Shape    the shim is the server's own executable, run once per sidecar with SHIM_CONTROL_FD, a SEQPACKET socket to the server, and SHIM_ORDERS_FD, a
 *          file with a struct shim_orders and the strings that belong to it. It builds the sandbox, says SHIM_READY (with a listening socket when
 *          the sandbox has a network of its own) or SHIM_REFUSED, and then does as told: SHIM_RUN starts a command, whose fate is told on a socket
 *          of its own; SHIM_SOCKET asks for a TCP socket of the sandbox's network. When the server's end of the control socket closes, for
 *          whatever reason, everything in the sandbox is killed.
 *          On a command's socket the server may send a signal's number (int32_t) for its process group; closing it kills the group.
 * Thread   shim_send(), shim_recv(): any. The rest: the shim, which has one thread.
 */
#ifndef SLUICE_ETL_SHIM_H
#define SLUICE_ETL_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SHIM_CONTROL_FD = 3,
    SHIM_ORDERS_FD = 4,
    SHIM_FDS_MAX = 4, /* that travel with one message */
    SHIM_TEXT_MAX = 256,
    SHIM_COMMANDS_MAX = 1024, /* that run in one sandbox at a time */
    SHIM_NO_PORT = 0,
};

/* Followed by NUL-terminated strings, in this order: dir, cgroup, the hidden directories, the words of the command, the environment. */
struct shim_orders {
    bool isolate;
    bool network;         /* that of the machine, not one of its own */
    bool low;             /* a limit of its processor time can't be kept: it gets what others leave */
    uint32_t uid, gid;    /* when the shim is root's */
    uint32_t processes;   /* limit; 0: none, or kept by the cgroup */
    uint64_t memory;      /* limit of a process' address space; 0: none, or kept by the cgroup */
    uint16_t listen_port; /* of the sandbox's own network, where AIS_TARGET_URL leads */
    uint32_t hidden_count, word_count, env_count;
};

enum shim_request { SHIM_RUN, SHIM_SOCKET };
/* SHIM_RUN brings the command's socket, or that, its stdin, its stdout and a file with NUL-terminated "NAME=VALUE" to add to its environment.
 * A command without pipes writes to the log. */
struct shim_req {
    int32_t kind;
    uint32_t seq; /* comes back in the answer to SHIM_SOCKET */
};

enum shim_kind {
    SHIM_READY,
    SHIM_REFUSED, /* text */
    SHIM_SOCKET_MADE,
    SHIM_ENDED,   /* value: as of wait(2) */
    SHIM_NOT_RUN, /* text; SHIM_ENDED follows */
};
struct shim_said {
    int32_t kind;
    int32_t value;
    char text[SHIM_TEXT_MAX];
};

/* One message. False with errno; never waits. */
bool shim_send(int fd, const void *p, size_t n, const int *fds, size_t fd_count);
/* One message of exactly `n` bytes, never waits: 1, 0 at the end or when what came is no such message, -1 with errno. Descriptors that came are
 * the caller's, -1 where there are none. */
int shim_recv(int fd, void *p, size_t n, int fds[SHIM_FDS_MAX]);

struct shim {
    struct shim_orders *orders;
    const char *dir, *cgroup;
    char **hidden, **words, **env; /* each ends with NULL */
    bool root;
    int listener; /* -1: none */
};

/* shim_sandbox.c. They say SHIM_REFUSED and end the process when they fail. */
void shim_refuse(const struct shim *s, const char *what) __attribute__((noreturn));
/* New namespaces for this process' children. */
void shim_leave(struct shim *s);
/* In the first of these children: its mounts, its network, its user. */
void shim_sandbox(struct shim *s);
/* Of a process that is no sandbox: its user alone. */
void shim_unconfined(struct shim *s);

/* shim_limits.c. No exec gives a capability any more. */
void shim_drop_bounds(void);
/* Of a process that is about to become a command. NULL, or what failed, with errno. */
const char *shim_limit(const struct shim *s);

#endif
