/* sidecar.h - a runtime for tests: its one instance is a server that does what a test says, or a shell command per object.
 *
 * Thread   the test's, but for scripts, which run in a thread of their own.
 */
#ifndef SLUICE_TESTS_ETL_SIDECAR_H
#define SLUICE_TESTS_ETL_SIDECAR_H

#include <pthread.h>
#include <stdatomic.h>

#include "etl/comm.h"
#include "http/ask.h"

struct sidecar {
    struct etl_instance instance;
    struct etl_runtime runtime;
    /* the server */
    int listener;
    uint16_t port;
    pthread_t thread;
    void (*script)(struct sidecar *, int fd, int n); /* one connection after the other; n: those before */
    const char *answer;
    char head[300000]; /* of the last request; read it when the script is over */
    atomic_int accepted, held, dials;
    atomic_bool stop, absent; /* absent: there is no such instance */
    bool many;                /* each connection in a thread of its own */
    pthread_t each[256];
    int each_n;
    /* the command */
    const char *command;
    char dir[64];
    atomic_int running, most, started, slow_ms; /* slow: an exec takes that long */
};

void sidecar_start(struct sidecar *s, void (*script)(struct sidecar *, int, int), const char *answer);
/* The same, but with all connections at once. */
void sidecar_start_many(struct sidecar *s, void (*script)(struct sidecar *, int, int));
void sidecar_command(struct sidecar *s, const char *command);
/* Checks that nothing of it is held any more. */
void sidecar_stop(struct sidecar *s);
struct etl_wire *sidecar_wire(struct sidecar *s, uint32_t connections_max);

/* ---- for scripts ---- */

void say(int fd, const char *text);
void say_n(int fd, const char *p, size_t n);
/* One head, into s->head; false at the end. */
bool take_head(struct sidecar *s, int fd);
/* The body behind it, sized or chunked: how many bytes of serve_pattern(); -1: it broke off or is another one. */
long take_body(struct sidecar *s, int fd);
void until_closed(int fd);
/* Takes a request with its body and answers s->answer; again on the same connection. */
void polite(struct sidecar *s, int fd, int n);
/* The same once, and closes. */
void polite_once(struct sidecar *s, int fd, int n);

/* ---- one object ---- */

struct thing {
    struct etl_comm_req req;
    struct etl_comm_res res;
    struct arena arena;
    struct call call;
    bool done;
    struct gen gen;       /* what is sent, when begun with a size */
    struct source watch;  /* around it */
    struct call watching; /* a read of it */
    struct call *watched;
    bool outstanding;
    struct call read;
    bool read_done;
    char *body, *buf;
    size_t body_n, body_cap, n;
};
/* `t` zeroed but for what is to differ of req. */
void thing_begin(struct etl_wire *w, struct thing *t);
/* Gives it a body: serve_pattern(). */
void thing_body(struct thing *t, uint64_t size, bool tell_size);
enum err thing_wait(struct thing *t);
enum err thing_read(struct thing *t, size_t len);
/* The same, but returns when the read waits for an object that hangs. */
enum err thing_begin_read(struct thing *t, size_t len);
/* Reads the result to its end, peeking where that shows something if `peek`. */
enum err thing_drain(struct thing *t, bool peek);
/* begin, wait, drain. */
enum err thing_run(struct etl_wire *w, struct thing *t);
void thing_end(struct thing *t);
#define assert_err(got, expected) assert_string_equal(err_name(got), err_name(expected))

#endif
