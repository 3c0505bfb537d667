/* process.h - a server's dealings with its operating system: signals and limits.
 *
 * Shape    signals are blocked in every thread and read by main, when it asks.
 * Errors   a kernel that has no signalfd ends the process.
 * Thread   main, before others start.
 */
#ifndef SLUICE_CLI_PROCESS_H
#define SLUICE_CLI_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

enum process_event { PROCESS_ENDED, PROCESS_STOP, PROCESS_RELOAD };

/* Blocks SIGTERM, SIGINT and SIGHUP for this and all later threads, ignores SIGPIPE. Returns a descriptor to close. */
int process_signals(void);
/* Waits. SIGTERM, SIGINT: PROCESS_STOP; SIGHUP: PROCESS_RELOAD; `ended_fd` readable: PROCESS_ENDED. */
enum process_event process_wait(int signals, int ended_fd);
/* Waits up to so long for SIGTERM or SIGINT, for a start that takes its time. */
bool process_stopped_within(int signals, uint32_t ms);
/* As many open descriptors as the hard limit lets. */
void process_raise_file_limit(void);

#endif
