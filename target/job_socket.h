/* job_socket.h - jobs of a running server by command line: a socket in its first data directory that only its owner can open.
 *
 * Shape    one line comes: "list", "show ID", "stop ID" or "start KIND SPEC"; the answer is "ok" and a line of JSON or an id, or "error",
 *          the error's name and a sentence. One client at a time, each within some seconds.
 * Owns     the server owns its thread.
 * Errors   job_socket_start() logs and returns NULL: the server does without.
 * Thread   start, stop: main; job_socket(): any.
 */
#ifndef SLUICE_TARGET_JOB_SOCKET_H
#define SLUICE_TARGET_JOB_SOCKET_H

#include <sys/un.h>

#include "store/jobs.h"

#define JOB_SOCKET "jobs.sock"
enum { JOB_LINE_MAX = JOB_SPEC_MAX + 256, JOB_ANSWER_MAX = 33 << 20 };

struct job_socket;
struct job_socket *job_socket_start(struct meta *meta, struct str dir);
/* Before `meta` is closed. NULL is legal. */
void job_socket_stop(struct job_socket *s);

/* A new socket, and the name to bind or connect it to. -1: errno. */
int job_socket(int dir_fd, struct sockaddr_un *out);

#endif
