/* erasure_kit.h - bodies with faults, blocking calls and a content with its slices.
 *
 * Shape    loop, env and the count of open sources are set up and checked per test.
 */
#ifndef SLUICE_TESTS_STORE_ERASURE_KIT_H
#define SLUICE_TESTS_STORE_ERASURE_KIT_H

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/erasure.h"
#include "store/object.h"

#define assert_err(got, expected) assert_string_equal(err_name(got), err_name(expected))

extern struct loop *loop;
extern struct erasure_env env;
extern int opened; /* sources that are open */

int setup(void **state);
int teardown(void **state);
#define ERASURE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

struct wait {
    struct call call;
    bool done;
};

struct call *wait_begin(struct wait *w);
enum err wait_end(struct wait *w);
void turns(int n);

/* Can only be read, in uneven steps; fails or hangs when it comes to `stop_at`. */
struct part {
    struct source source;
    struct str rest;
    size_t at, stop_at;
    enum err fail; /* ERR_OK: hangs there */
    struct call *hanging;
    void *buf;
    size_t len, *n;
    size_t reads;
};

struct part *part_new(struct str bytes);
/* Lets a hanging read go on. */
void part_go_on(struct part *p);
/* One step of reading; *n 0: the end. */
enum err take(struct source *s, bool peek, char *buf, size_t room, size_t *n);
/* Reads to the end or the first error. */
enum err drain(struct source *s, bool peek, char *buf, size_t room, size_t *got);

struct cut {
    struct erasure_layout layout;
    char *content;
    char *slices[REDUNDANCY_SLICES_MAX]; /* padded to slice_size */
};

struct redundancy ec(unsigned data, unsigned parity);
/* Encodes, reading all parity sources in step, with spans of them and copies. */
void cut_init(struct cut *c, unsigned data, unsigned parity, size_t size);
void cut_release(struct cut *c);
struct str cut_stored(const struct cut *c, unsigned slice);
/* The range of `wanted` out of the slices in `have`. */
enum err cut_rebuild(const struct cut *c, unsigned wanted, size_t offset, size_t len, const unsigned *have,
                     struct source **out);
char *bytes_new(size_t n, uint64_t seed);

#endif
