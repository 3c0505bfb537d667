/* probe.h - asks a sidecar whether it is ready: one GET on a connection of its own.
 *
 * Shape    the request goes out with "Connection: close"; of the answer only the status line is read.
 * Owns     the struct is the caller's until the call is done; zeroed before its first use. `fd` is taken.
 * Errors   ERR_UNAVAILABLE: no answer, or none in HTTP; ERR_TIMEOUT; ERR_CANCELLED. Any status is a success.
 * Thread   the call's loop.
 * Source   RFC 9112 section 4.
 */
#ifndef SLUICE_ETL_PROBE_H
#define SLUICE_ETL_PROBE_H

#include "base/buf.h"
#include "base/call.h"

enum { PROBE_TIMEOUT_MS = 5000, PROBE_LINE_MAX = 512 };

struct etl_probe {
    struct io *io;
    struct timer timer;
    struct buf out; /* what is still to be sent */
    char line[PROBE_LINE_MAX];
    size_t line_n;
    int *status;
    struct call *call;
};
void etl_probe(struct etl_probe *p, int fd, struct str path, int *status, struct call *call);

#endif
