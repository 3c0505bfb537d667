/* kit.h - the contract suite's tools: blocking calls, bodies with faults, expectations.
 *
 * Shape    each test gets a struct kit with an arena and a bucket of its own.
 * Thread   the env's loop, turned by kit_wait().
 */
#ifndef SLUICE_TESTS_STORE_KIT_H
#define SLUICE_TESTS_STORE_KIT_H

#include "unit.h"

#include "store_contract.h"

struct kit {
    struct contract_env *env;
    struct store *store;
    struct loop *loop;
    struct bucket_id bucket;
    struct arena arena;
};

int kit_setup(void **state);
int kit_teardown(void **state);
#define KIT_TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)
/* Opens the store, runs, closes it. Number of failures. */
int kit_run(struct contract_env *env, const char *group, const struct CMUnitTest *tests, size_t n);
/* Closes the store and opens it again. */
void kit_reopen(struct kit *k);

/* ---- calls ---- */

struct kit_call {
    struct call call;
    bool done;
};
struct call *kit_begin(struct kit *k, struct kit_call *c);
/* Turns the loop until the call is done. */
enum err kit_wait(struct kit *k, struct kit_call *c);
void kit_turns(struct kit *k, int n);
#define KIT_CALL(k, m, req, res)                                                                                       \
    ({                                                                                                                 \
        struct kit_call kit_call_ = {0};                                                                               \
        store_##m((k)->store, (req), (res), kit_begin((k), &kit_call_));                                               \
        assert_false(kit_call_.done); /* never from within the call */                                                 \
        kit_wait((k), &kit_call_);                                                                                     \
    })
#define assert_err(got, expected) assert_string_equal(err_name(got), err_name(expected))
#define assert_str(got, expected) assert_true(str_eq((got), (expected)))

/* ---- bodies ---- */

/* n bytes that depend on the seed. */
struct str kit_bytes(struct kit *k, size_t n, uint64_t seed);
struct kit_source {
    struct source source;
    struct str content;
    size_t at;
    size_t step;    /* most bytes of one read; 0 = any */
    size_t stop_at; /* the read at this offset fails, or waits when `fail` is ERR_OK; SIZE_MAX: never */
    enum err fail;
    struct body_check *check; /* gets `last` with ERR_BAD_DIGEST when the end is read (a trailer) */
    struct digest last;
    struct call *waiting;
    void *buf;
    size_t len, *n;
};
/* Size unknown, one read at a time, no faults. Ends with the arena. */
struct kit_source *kit_source(struct kit *k, struct str content);
/* Lets a waiting source go on. */
void kit_source_go_on(struct kit_source *s);
/* Reads to the end by peeking where possible, else by reading; closes. */
enum err kit_drain(struct kit *k, struct source *s, bool peek, struct str *out);

/* ---- objects ---- */

struct obj_put_req kit_put_req(struct kit *k, struct str key, struct source *body, struct body_check *check);
struct obj_get_req kit_get_req(struct kit *k, struct str key);
/* Must succeed. */
struct object_info kit_put(struct kit *k, struct str key, struct str content);
struct object_info kit_head(struct kit *k, struct str key);
enum err kit_delete(struct kit *k, struct str key);
/* A whole get answers with this content, size and kind of checksum. */
void kit_expect(struct kit *k, struct str key, struct str content);
void kit_expect_absent(struct kit *k, struct str key);
struct etag kit_etag(struct str content);
struct cond kit_if_match(const char *list);
struct cond kit_if_none_match(const char *list);

#endif
