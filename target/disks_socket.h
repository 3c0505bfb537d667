/* disks_socket.h - where commands to the running server about its disks go: see disks_admin.c for what is said.
 *
 * Owns     the caller closes the socket.
 * Thread   any.
 */
#ifndef SLUICE_TARGET_DISKS_SOCKET_H
#define SLUICE_TARGET_DISKS_SOCKET_H

#include <sys/un.h>

#define DISK_SOCKET "control.sock"

/* A new socket, and the name to bind or connect it to. -1: errno. */
int disk_socket(int dir_fd, struct sockaddr_un *out);

#endif
