/* etcd_kit.h - Debian's etcd-server for tests, on free ports in a directory of its own.
 *
 * Shape    a struct etcd_server is one member; it dies with the test's process.
 * Owns     etcd_server_release() ends the process and removes the directory.
 * Thread   any.
 */
#ifndef SLUICE_TESTS_STORE_ETCD_KIT_H
#define SLUICE_TESTS_STORE_ETCD_KIT_H

#include <stdbool.h>
#include <sys/types.h>

enum { ETCD_EXTRA_MAX = 16 };

struct etcd_server {
    char dir[64];
    char url[64], peer_url[64]; /* "http://127.0.0.1:port" */
    char cluster[256];          /* --initial-cluster; empty: alone */
    char name[16];
    const char *extra[ETCD_EXTRA_MAX]; /* further arguments, up to NULL */
    pid_t pid;
};

/* Whether there is an etcd; says loudly when there is none. */
bool etcd_is_installed(void);
/* Picks ports and makes the directory. */
void etcd_server_init(struct etcd_server *s, const char *name);
/* Starts it; etcd_server_wait() then waits until it accepts connections. */
void etcd_server_start(struct etcd_server *s);
void etcd_server_wait(const struct etcd_server *s);
/* SIGKILL and wait; harmless when it does not run. */
void etcd_server_kill(struct etcd_server *s);
void etcd_server_pause(const struct etcd_server *s);
void etcd_server_resume(const struct etcd_server *s);
void etcd_server_release(struct etcd_server *s);

#endif
