/* engine_box.h - an engine over a fake runtime, and objects that go through it.
 *
 * Shape    box_open() makes everything anew: a meta, a bucket "b" with the objects "small" (1000 bytes) and "big" (5 MB) of serve_pattern(), a node
 *          "n1" with an engine, and a lane of the test's loop.
 * Thread   the test's.
 */
#ifndef SLUICE_TESTS_ETL_ENGINE_BOX_H
#define SLUICE_TESTS_ETL_ENGINE_BOX_H

#include "etl/admin.h"
#include "etl/etls.h"
#include "fake_runtime.h"
#include "http/ask.h"

#define assert_err(got, expected) assert_string_equal(err_name(got), err_name(expected))

enum { BOX_SMALL = 1000, BOX_BIG = 5000000, BOX_WAIT_MS = 15000 };

struct box {
    struct meta *meta;
    struct buckets *buckets;
    struct bucket_id bucket;
    struct loop *engine_loop;
    struct store *store, *engine_store;
    struct offload *io, *cpu;
    struct fake fake;
    struct etls *engine;
    struct etl_door *lane;
    struct etl_admin_env env;
    struct arena arena;
    unsigned fds;   /* that were open before */
    unsigned loops; /* made since: libh2o 2.2.5 keeps the poll set of one that is gone */
};
extern struct box box;

int box_setup(void **state);
/* Closes what is open and checks that nothing is left. */
int box_teardown(void **state);
#define BOX_TEST(f) cmocka_unit_test_setup_teardown(f, box_setup, box_teardown)
/* The engine and its lane alone. */
void box_open_engine(bool with_runtime);
void box_close_engine(void);

/* ---- ETLs ---- */

struct flag {
    struct call call;
    bool done;
};
struct call *flag_begin(struct flag *f);
enum err flag_wait(struct flag *f);

struct making {
    struct etl_create_req req;
    struct etl_create_res res;
    struct flag flag;
};
/* `mode`: fake_runtime.h; `more`: lines of the spec: indented ones are of `runtime`. */
void making_begin(struct making *m, const char *name, const char *mode, const char *more);
/* It must get ready. */
void make(const char *name, const char *mode, const char *more);
enum err stop(const char *name);
enum err start(const char *name);
enum err drop(const char *name);
/* What node n1 tells of it, in the box's arena. */
bool look(const char *name, struct etl_node_state *out);
/* Waits until it tells this, at least so many restarts. */
void look_until(const char *name, const char *state, uint32_t restarts);
void put_meta(const char *key, struct str value, bool remove);
bool meta_has(const char *key);

/* ---- objects ---- */

struct trip {
    struct etl_run_req req;
    struct etl_run_res res;
    struct etl_stage stages[ETL_STAGES_MAX];
    struct obj_get_req object;
    struct gen gen;
    struct arena arena;
    struct flag flag;
    struct flag read;
    char *body, *buf;
    size_t body_n, body_cap, n;
};
/* "first,second"; of the object `key`. */
void trip_object(struct trip *t, const char *stages, const char *key);
/* Of a body of serve_pattern(). */
void trip_body(struct trip *t, const char *stages, uint64_t size, bool tell_size);
void trip_begin(struct trip *t);
enum err trip_wait(struct trip *t);
enum err trip_read(struct trip *t, size_t len);
enum err trip_drain(struct trip *t);
/* begin, wait, drain. */
enum err trip_run(struct trip *t);
void trip_end(struct trip *t);
/* Whether the result is n bytes of serve_pattern(), `times` each, in capitals if `upper`. */
bool trip_is(const struct trip *t, size_t n, unsigned times, bool upper);
/* 0: none. */
size_t str_count(struct str s, const char *needle);

#endif
