/* log.h - one line per event on standard error: key=value or JSON.
 *
 * Shape    time, level, event, request id (or none), then the caller's key=value text.
 * Errors   a line that can't be written is dropped; a line over LOG_LINE_MAX bytes is cut.
 * Thread   any; a line is one write(2).
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include "str.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum { LOG_LINE_MAX = 4096 };

void log_setup(enum log_level most_verbose, bool json);
bool log_level_parse(struct str name, enum log_level *out); /* "error", "warn", "info", "debug" */
/* `id`: request id or STR_NONE. `event`: a short fixed text ("segment fsync failed"). `fmt` renders key=value pairs separated
 * by spaces; a value with spaces, quotes or control bytes must be passed through log_quote(). */
void log_event(enum log_level level, struct str id, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Writes `s` as a quoted, escaped text (printable ASCII; at most 256 bytes of it) into a thread-local ring of 4; NUL-terminated. */
const char *log_quote(struct str s);

#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)

#endif
