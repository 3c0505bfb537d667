/* progress.h - how far a transfer has come: a line that is redrawn on a terminal, nothing in a pipe.
 *
 * Shape    counters that any thread may add to; a thread of its own draws twice a second.
 * Units    bytes.
 * Thread   progress_add(): any.
 */
#ifndef SLUICE_CLI_PROGRESS_H
#define SLUICE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress;
/* `total` bytes and `things`; 0: unknown. NULL when standard error is no terminal, or `quiet`; all functions take that. */
struct progress *progress_begin(const char *what, uint64_t total, uint64_t things, bool quiet);
void progress_add(struct progress *p, uint64_t bytes, uint64_t things);
/* Draws for the last time. */
void progress_end(struct progress *p);
/* "12.3 MiB" */
const char *progress_size(uint64_t bytes, char out[32]);

#endif
