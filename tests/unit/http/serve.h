/* serve.h - a server with simple resources in a thread of its own, and a raw client to drive it. For tests of
 * core/http.
 *
 * Shape    GET /hello /file?N /lazy?N (source_read only) /chunked?N /broken (fails midway) /wait (answers when the
 *          client is gone or after serve_release()); PUT /discard (answers the count) /echo /deny (403, body unread)
 *          /half (reads 1 byte).
 * Thread   the test's, but for the handler.
 */
#ifndef SLUICE_TESTS_HTTP_SERVE_H
#define SLUICE_TESTS_HTTP_SERVE_H

#include <pthread.h>
#include <stdatomic.h>

#include "http/server.h"

struct serve {
    struct loop *loop;
    struct http_server *server;
    struct http_handler handler;
    struct http_limits limits;
    struct tls_context *tls;
    pthread_t thread;
    char bound[64];
    uint16_t port;
    int listen_fd;
    int file; /* FILE_SIZE bytes of pattern() */
    atomic_int requests, finished, mismatches, aborts, body_errors, responds_failed, waiting;
    atomic_int last_err; /* enum err of the last failed body read */
    atomic_bool release, up;
    struct post post;
    struct call drained;
    uint32_t drain_ms;
    atomic_bool drain_done;
};

enum { SERVE_FILE_SIZE = 3 * 1024 * 1024 + 17 };

/* Byte at an offset of every generated body. */
static inline char serve_pattern(uint64_t at)
{
    return (char)('a' + at % 23);
}

void serve_start(struct serve *s, const struct http_limits *limits, struct tls_context *tls);
/* Drains and stops; true when it drained within ms. Frees. */
void serve_stop(struct serve *s);
/* Begins a drain; serve_stop() must follow. */
void serve_drain(struct serve *s, uint32_t ms);
void serve_release(struct serve *s);

/* A connected blocking socket with a receive timeout of 10 s. */
int client_open(const struct serve *s);
void client_send(int fd, const char *p, size_t n);
void client_send_z(int fd, const char *z);
/* Reads until the peer ends, or `cap` bytes; -1 with a reset. */
ssize_t client_read_all(int fd, char *buf, size_t cap);

struct answer {
    int status;
    char head[8192];
    size_t body_n;
    char *body; /* malloc */
};
/* Reads one response (Content-Length or chunked or to the end); false when the connection ends before it is complete.
 */
bool client_answer(int fd, bool head_only, struct answer *a);
void answer_release(struct answer *a);
/* client_send_z(), client_answer(), status. 0 = none. Closes nothing. */
int client_ask(int fd, const char *request);

#endif
