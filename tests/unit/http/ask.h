/* ask.h - requests through a peer_pool, one at a time or some at once, driven by the test's own loop. For tests of
 * core/http/peer.
 *
 * Thread   the test's.
 */
#ifndef SLUICE_TESTS_HTTP_ASK_H
#define SLUICE_TESTS_HTTP_ASK_H

#include "http/peer.h"

/* Of the whole binary. */
extern struct loop *ask_loop;
extern struct offload *ask_io;
int ask_setup(void **state);
int ask_teardown(void **state);

/* With the loop and the pool of threads filled in. */
struct peer_pool *ask_pool(struct peer_conf conf);
/* Frees it and lets the loop forget it. */
void ask_pool_end(struct peer_pool *p);

struct ask {
    struct peer_req req; /* body, expect, repeatable: set before ask_begin() */
    struct peer_res res;
    struct arena arena;
    struct call call;
    bool done;
    struct call read;
    bool read_done;
    char *body; /* malloc */
    size_t body_n, body_cap, n;
};
/* `a` zeroed but for req.body, .expect, .repeatable, .headers. */
void ask_begin(struct peer_pool *p, struct ask *a, const char *address, const char *method, const char *target);
enum err ask_wait(struct ask *a);
/* Begins one read of the body. */
void ask_read(struct ask *a);
/* Reads the body to its end. */
enum err ask_body(struct ask *a);
/* begin, wait, body. */
enum err ask_get(struct peer_pool *p, struct ask *a, const char *address, const char *target);
/* Closes req.body too. */
void ask_end(struct ask *a);
/* Turns the loop until *done, for at most 20 s. */
void ask_until(const bool *done);
void ask_turn_ms(unsigned ms);

/* A body of serve_pattern(), for source_read() only. */
struct gen {
    struct source source;
    uint64_t at, end;
    uint64_t fail_at; /* ERR_CORRUPT from there on; also at `end` */
    uint64_t hang_at; /* answers only when cancelled from there on */
    struct call *hanging;
    bool cancelled;
    unsigned reads;
};
void gen_init(struct gen *g, uint64_t size, bool tell_size);

/* Descriptors open in this process. */
unsigned fd_count(void);
/* Waits at most 5 s until it is `n` again, turning the loop. */
bool fd_count_becomes(unsigned n);

#endif
