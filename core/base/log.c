#include "log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { QUOTED_MAX = 256, RING = 4 };

static _Atomic int verbosity = LOG_INFO;
static atomic_bool as_json;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_setup(enum log_level most_verbose, bool json)
{
    atomic_store(&verbosity, (int)most_verbose);
    atomic_store(&as_json, json);
}

bool log_level_parse(struct str name, enum log_level *out)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++)
        if (str_eq(name, str_z(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

/* Escapes into out (cap bytes), without the outer quotes; returns the length. */
static size_t escape(struct str s, char *out, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < s.n && n + 6 < cap; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c >= 0x20 && c < 0x7F) {
            out[n++] = (char)c;
        } else {
            memcpy(out + n, "\\u00", 4);
            out[n + 4] = digits[c >> 4];
            out[n + 5] = digits[c & 15];
            n += 6;
        }
    }
    return n;
}

const char *log_quote(struct str s)
{
    static _Thread_local char ring[RING][QUOTED_MAX * 6 + 4];
    static _Thread_local unsigned at;
    char *out = ring[at++ % RING];

    if (s.n > QUOTED_MAX)
        s.n = QUOTED_MAX;
    out[0] = '"';
    size_t n = 1 + escape(s, out + 1, sizeof(ring[0]) - 3);
    out[n] = '"';
    out[n + 1] = 0;
    return out;
}

static size_t stamp(char *out, size_t cap)
{
    struct timespec ts;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(out, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + (size_t)snprintf(out + n, cap - n, ".%03ldZ", ts.tv_nsec / 1000000);
}

void log_event(enum log_level level, struct str id, const char *event, const char *fmt, ...)
{
    char line[LOG_LINE_MAX], time_text[40], detail[LOG_LINE_MAX / 2];
    bool json = atomic_load_explicit(&as_json, memory_order_relaxed);
    va_list ap;
    int n;

    if ((int)level > atomic_load_explicit(&verbosity, memory_order_relaxed))
        return;
    stamp(time_text, sizeof(time_text));
    va_start(ap, fmt);
    vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);
    if (json) {
        char text[sizeof(detail)];
        text[escape(str_z(detail), text, sizeof(text) - 1)] = 0;
        n = snprintf(line, sizeof(line),
                     "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"request\":\"" STR_FMT
                     "\",\"detail\":\"%s\"}\n",
                     time_text, level_names[level], event, STR_ARG(id), text);
    } else {
        n = snprintf(line, sizeof(line), "time=%s level=%s event=\"%s\"%s" STR_FMT "%s%s\n", time_text,
                     level_names[level], event, id.n ? " request=" : "", STR_ARG(id), detail[0] ? " " : "", detail);
    }
    if (n < 0)
        return;
    if ((size_t)n >= sizeof(line)) {
        n = sizeof(line) - 1;
        line[n - 1] = '\n';
    }
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nowhere left to say it */
}
