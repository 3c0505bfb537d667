/* request_fixture.h - an http_req from a list of headers, for tests of header parsers. */
#ifndef SLUICE_TESTS_REQUEST_FIXTURE_H
#define SLUICE_TESTS_REQUEST_FIXTURE_H

#include "http/message.h"

struct request_fixture {
    struct arena arena;
    struct http_header headers[64];
    struct http_req req;
};

static inline void fixture_init(struct request_fixture *f)
{
    *f = (struct request_fixture){.arena = ARENA_INIT};
    f->req.headers = f->headers;
    f->req.arena = &f->arena;
}

static inline void fixture_add(struct request_fixture *f, const char *name, const char *value)
{
    f->headers[f->req.header_count++] = (struct http_header){str_z(name), str_z(value)};
}

static inline void fixture_release(struct request_fixture *f)
{
    arena_release(&f->arena);
}

#define assert_str_is(actual, expected)                                                                                \
    do {                                                                                                               \
        struct str assert_str_ = (actual);                                                                             \
        assert_int_equal(assert_str_.n, strlen(expected));                                                             \
        assert_memory_equal(assert_str_.p, expected, assert_str_.n);                                                   \
    } while (0)

#endif
