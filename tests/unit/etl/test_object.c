#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "etl/object.h"
#include "http/ask.h"
#include "http/serve.h"
#include "store/memstore.h"
#include "store/meta.h"

#define assert_err(got, expected) assert_string_equal(err_name(got), err_name(expected))
#define ROOT                      "/v1/etl/_object/resize/s3cret/"

static struct {
    struct meta *meta;
    struct buckets *buckets;
    struct store *all;
    struct etl_objects *objects;
    struct etl_object_server *server;
    struct peer_pool *peers;
    char bound[64];
    struct bucket_id bucket;
} w;

/* ---- the endpoint, with a bucket "b" and an object "d/a b" of 1000 bytes ---- */

struct flag {
    struct call call;
    bool done;
};

static void raise_flag(struct call *call)
{
    CONTAINER(call, struct flag, call)->done = true;
}

static struct call *begin(struct flag *f)
{
    *f = (struct flag){0};
    call_begin(&f->call, ask_loop, raise_flag);
    return &f->call;
}

static enum err wait_for(struct flag *f)
{
    ask_until(&f->done);
    return f->call.err;
}

static void put_object(struct str key, uint64_t size)
{
    struct arena arena = ARENA_INIT;
    struct gen gen;
    struct body_check check = {0};
    struct attr type = {STR("content-type"), STR("image/x")};
    struct flag f;
    struct obj_put_res res;

    gen_init(&gen, size, true);
    struct obj_put_req req = {.arena = &arena,
                              .bucket = w.bucket,
                              .key = key,
                              .info = {.attrs = &type, .attr_count = 1},
                              .cond = COND_INIT,
                              .body = &gen.source,
                              .check = &check,
                              .size_max = OBJECT_SIZE_MAX};
    store_obj_put(w.all, &req, &res, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    arena_release(&arena);
}

static int setup(void **state)
{
    char why[256];
    int fd;
    struct flag f;
    struct arena arena = ARENA_INIT;

    ask_setup(state);
    w.meta = meta_memory_new();
    assert_err(buckets_open(w.meta, &w.buckets), ERR_OK);
    struct bucket_create_req req = {.arena = &arena, .name = STR("b"), .owner = STR("me")};
    struct bucket_create_res res;
    buckets_create(w.buckets, &req, &res, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    w.bucket = (struct bucket_id){.uid = res.bucket.id.uid, .name = STR("b")};
    arena_release(&arena);
    w.all = memstore_new(ask_loop);
    put_object(STR("d/a b"), 1000);
    w.objects = etl_objects_new(&(struct etl_objects_conf){ask_loop, w.all, w.buckets});
    assert_err(http_listen(STR("127.0.0.1:0"), &fd, w.bound, why), ERR_OK);
    w.server = etl_objects_serve(w.objects, fd, STR("resize"), STR("s3cret"));
    w.peers = ask_pool((struct peer_conf){0});
    return 0;
}

static int teardown(void **state)
{
    struct flag f;

    ask_pool_end(w.peers);
    etl_objects_end(w.server, begin(&f));
    assert_err(wait_for(&f), ERR_OK);
    etl_objects_free(w.objects);
    store_close(w.all);
    meta_close(w.meta);
    buckets_close(w.buckets);
    return ask_teardown(state);
}

/* ---- reading ---- */

static struct etl_loan loan_of(const char *src, const char *dst)
{
    return (struct etl_loan){.etl = STR("resize"),
                             .src_bucket = STR("b"),
                             .src_key = str_z(src),
                             .dst_bucket = dst ? STR("b") : STR_NONE,
                             .dst_key = dst ? str_z(dst) : STR_NONE};
}

static int status_of(const char *method, const char *path)
{
    struct ask a = {0};

    ask_begin(w.peers, &a, w.bound, method, path);
    assert_err(ask_wait(&a), ERR_OK);
    int status = a.res.status;
    assert_err(ask_body(&a), ERR_OK);
    if (status >= 400 && strcmp(method, "HEAD") != 0) {
        char end[32];
        int n = snprintf(end, sizeof(end), "\"status\":%d}", status);
        assert_memory_equal(a.body + a.body_n - n, end, (size_t)n);
    }
    ask_end(&a);
    return status;
}

static void only_what_is_lent_is_read(void **state)
{
    static const char *const paths[] = {ROOT "ais%2F%40%23%2Fb%2Fd%2Fa%20b", ROOT "ais/@%23/b/d/a%20b",
                                        ROOT "/ais%2f@%23%2fb%2Fd/a%20b?etl_args=x"};
    struct etl_loan loan = loan_of("d/a b", NULL), again = loan_of("d/a b", NULL);

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(status_of("GET", paths[i]), 403);
        assert_int_equal(status_of("HEAD", paths[i]), 403);
    }
    etl_objects_lend(w.objects, &loan);
    etl_objects_lend(w.objects, &again);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(status_of("GET", paths[i]), 200);
        assert_int_equal(status_of("HEAD", paths[i]), 200);
        assert_int_equal(status_of("PUT", paths[i]), 403);
        assert_int_equal(status_of("DELETE", paths[i]), 405);
        assert_int_equal(status_of("POST", paths[i]), 405);
    }
    etl_objects_give_back(&loan);
    assert_int_equal(status_of("GET", paths[0]), 200);
    etl_objects_give_back(&again);
    assert_int_equal(status_of("GET", paths[0]), 403);
}

static void names_and_secrets_are_checked(void **state)
{
    static const struct {
        const char *path;
        int status;
    } rows[] = {
        {"/v1/etl/_object/resize/s3creT/ais%2F@%23%2Fb%2Fd%2Fa%20b", 403},
        {"/v1/etl/_object/resize/s3cre/ais%2F@%23%2Fb%2Fd%2Fa%20b", 403},
        {"/v1/etl/_object/resize/s3crett/ais%2F@%23%2Fb%2Fd%2Fa%20b", 403},
        {"/v1/etl/_object/resizes/s3cret/ais%2F@%23%2Fb%2Fd%2Fa%20b", 403},
        {"/v1/etl/_object/other/s3cret/ais%2F@%23%2Fb%2Fd%2Fa%20b", 403},
        {"/v1/etl/_object/resize/s3cret", 403},
        {"/v1/etl/_object/resize", 403},
        {"/v1/etl/_object/", 403},
        {"/", 403},
        {"/v1/objects/b/d/a%20b", 403},
        {ROOT, 400},
        {ROOT "x", 400},
        {ROOT "ais%2F@%23%2Fb", 400},
        {ROOT "ais%2F@%23%2Fb%2F", 400},
        {ROOT "ais%2F@%23%2F%2Fkey", 400},
        {ROOT "aws%2F@%23%2Fb%2Fd%2Fa%20b", 400},
        {ROOT "ais%2F@%23ns%2Fb%2Fd%2Fa%20b", 400},
        {ROOT "ais%2F@%23%2Fb%2Fgone", 404},
        {ROOT "ais%2F@%23%2Fno%2Fkey", 404},
        {ROOT "ais%2F@%23%2Fb%2Fd%2Fa%20%62", 200},
    };
    struct etl_loan loan = loan_of("d/a b", NULL), gone = loan_of("gone", NULL), no = loan_of("key", NULL);

    (void)state;
    no.src_bucket = STR("no");
    etl_objects_lend(w.objects, &loan);
    etl_objects_lend(w.objects, &gone);
    etl_objects_lend(w.objects, &no);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(status_of("GET", rows[i].path), rows[i].status);
    etl_objects_give_back(&no);
    etl_objects_give_back(&gone);
    etl_objects_give_back(&loan);
}

static void ranges(void **state)
{
    static const struct {
        const char *range;
        int status;
        unsigned first, n;
    } rows[] = {
        {"bytes=0-9", 206, 0, 10},       {"bytes=10-", 206, 10, 990},    {"bytes=-5", 206, 995, 5},
        {"bytes=999-", 206, 999, 1},     {"bytes=0-5000", 206, 0, 1000}, {"bytes=1000-", 416, 0, 0},
        {"bytes=-0", 416, 0, 0},         {"bytes=5-4", 200, 0, 1000},    {"bytes=a-b", 200, 0, 1000},
        {"bytes=0-1,5-6", 200, 0, 1000}, {"lines=0-1", 200, 0, 1000},    {"bytes=-", 200, 0, 1000},
    };
    struct etl_loan loan = loan_of("d/a b", NULL);

    (void)state;
    etl_objects_lend(w.objects, &loan);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int head = 0; head < 2; head++) {
            struct http_header h = {STR("Range"), str_z(rows[i].range)};
            struct ask a = {.req = {.headers = &h, .header_count = 1}};
            char want[64];
            ask_begin(w.peers, &a, w.bound, head ? "HEAD" : "GET", ROOT "ais%2F@%23%2Fb%2Fd%2Fa%20b");
            assert_err(ask_wait(&a), ERR_OK);
            assert_err(ask_body(&a), ERR_OK);
            assert_int_equal(a.res.status, rows[i].status);
            int n = snprintf(want, sizeof(want), "bytes %u-%u/1000", rows[i].first, rows[i].first + rows[i].n - 1);
            if (rows[i].status == 416)
                n = snprintf(want, sizeof(want), "bytes */1000");
            if (rows[i].status != 200)
                assert_true(str_eq(peer_header(&a.res, STR("content-range")), str_n(want, (size_t)n)));
            if (rows[i].status != 416 && !head) {
                assert_int_equal(a.body_n, rows[i].n);
                for (unsigned at = 0; at < rows[i].n; at++)
                    assert_int_equal(a.body[at], serve_pattern(rows[i].first + at));
            }
            if (rows[i].status != 416) {
                n = snprintf(want, sizeof(want), "%u", rows[i].n);
                assert_true(str_eq(peer_header(&a.res, STR("content-length")), str_n(want, (size_t)n)));
                assert_true(str_eq(peer_header(&a.res, STR("content-type")), STR("image/x")));
            }
            ask_end(&a);
        }
    etl_objects_give_back(&loan);
}

/* ---- writing ---- */

static int put(uint64_t size, bool tell_size, const char *path)
{
    struct gen gen;
    struct ask a = {0};

    gen_init(&gen, size, tell_size);
    a.req.body = &gen.source;
    ask_begin(w.peers, &a, w.bound, "PUT", path);
    assert_err(ask_wait(&a), ERR_OK);
    assert_err(ask_body(&a), ERR_OK);
    int status = a.res.status;
    if (status == 200)
        assert_int_equal(a.body_n, 0); /* else a stage would relay it as a result */
    ask_end(&a);
    return status;
}

static void results_are_stored_where_they_may(void **state)
{
    struct etl_loan loan = loan_of("d/a b", "out/1"), twin = loan_of("d/a b", "out/1");

    (void)state;
    assert_int_equal(put(10, true, ROOT "ais%2F@%23%2Fb%2Fout%2F1"), 403);
    etl_objects_lend(w.objects, &loan);
    etl_objects_lend(w.objects, &twin);
    assert_int_equal(put(10, true, ROOT "ais%2F@%23%2Fb%2Fout%2F2"), 403);
    assert_int_equal(put(300000, true, ROOT "ais%2F@%23%2Fb%2Fout%2F1?uuid=x&owt=1"), 200);
    assert_int_equal(loan.done + twin.done, 1);
    assert_int_equal(put(70000, false, ROOT "ais%2F@%23%2Fb%2Fout%2F1"), 200);
    assert_int_equal(loan.done + twin.done, 2);
    assert_int_equal(loan.stored + twin.stored, 370000);
    assert_int_equal(put(0, true, ROOT "ais%2F@%23%2Fb%2Fout%2F1"), 200);
    assert_int_equal(status_of("GET", ROOT "ais%2F@%23%2Fb%2Fout%2F1"), 403); /* it is not its to read */
    etl_objects_give_back(&twin);
    etl_objects_give_back(&loan);
    assert_int_equal(put(10, true, ROOT "ais%2F@%23%2Fb%2Fout%2F1"), 403);
    struct etl_loan back = loan_of("out/1", NULL);
    etl_objects_lend(w.objects, &back);
    struct ask a = {0};
    assert_err(ask_get(w.peers, &a, w.bound, ROOT "ais%2F@%23%2Fb%2Fout%2F1"), ERR_OK);
    assert_int_equal(a.res.status, 200);
    assert_int_equal(a.body_n, 0);
    ask_end(&a);
    etl_objects_give_back(&back);
}

static void what_was_given_up_is_not_stored(void **state)
{
    static const char head[] =
        "PUT " ROOT "ais%2F@%23%2Fb%2Flate HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345";
    struct etl_loan loan = loan_of("d/a b", "late"), late = loan_of("late", NULL);
    struct serve s = {.port = (uint16_t)strtoul(strrchr(w.bound, ':') + 1, NULL, 10)};
    char answer[1000] = "";
    int fd = client_open(&s);

    (void)state;
    etl_objects_lend(w.objects, &loan);
    etl_objects_lend(w.objects, &late);
    client_send(fd, head, sizeof(head) - 1);
    ask_turn_ms(20);
    etl_objects_give_back(&loan);
    client_send_z(fd, "67890");
    ask_turn_ms(20);
    assert_true(recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT) > 0);
    assert_memory_equal(answer, "HTTP/1.1 403", 12);
    close(fd);
    ask_turn_ms(5);
    assert_false(loan.done);
    assert_int_equal(status_of("GET", ROOT "ais%2F@%23%2Fb%2Flate"), 404);
    etl_objects_give_back(&late);
}

static void clients_that_go_away_leave_nothing(void **state)
{
    struct etl_loan loan = loan_of("d/a b", "out/2");

    (void)state;
    peer_pool_forget(w.peers, str_z(w.bound));
    ask_turn_ms(10);
    unsigned fds = fd_count();
    put_object(STR("big"), 3 << 20);
    struct etl_loan big = loan_of("big", NULL);
    etl_objects_lend(w.objects, &loan);
    etl_objects_lend(w.objects, &big);
    for (unsigned i = 0; i < 20; i++) {
        struct gen gen;
        struct ask a = {0};
        gen_init(&gen, 3 << 20, i & 1);
        gen.hang_at = 150000 * i;
        if (i % 4 < 2)
            a.req.body = &gen.source;
        ask_begin(w.peers, &a, w.bound, i % 4 < 2 ? "PUT" : "GET",
                  i % 4 < 2 ? ROOT "ais%2F@%23%2Fb%2Fout%2F2" : ROOT "ais%2F@%23%2Fb%2Fbig");
        ask_turn_ms(i / 2);
        call_cancel(&a.call);
        (void)ask_wait(&a);
        ask_end(&a);
    }
    peer_pool_forget(w.peers, str_z(w.bound));
    assert_true(fd_count_becomes(fds));
    assert_false(loan.done);
    etl_objects_give_back(&big);
    etl_objects_give_back(&loan);
}

/* ---- names ---- */

static void unames(void **state)
{
    static const struct {
        const char *uname, *bucket, *key;
    } rows[] = {
        {"ais/@#/b/k", "b", "k"},
        {"ais/@#/b/d/k", "b", "d/k"},
        {"ais/@#/b//k", "b", "/k"},
        {"ais/@#/b/k/", "b", "k/"},
        {"ais/@#/b/@#/k", "b", "@#/k"},
        {"ais/@#/b/", NULL, NULL},
        {"ais/@#/b", NULL, NULL},
        {"ais/@#//k", NULL, NULL},
        {"ais/@#/", NULL, NULL},
        {"ais/@#", NULL, NULL},
        {"", NULL, NULL},
        {"/ais/@#/b/k", NULL, NULL},
        {"s3/@#/b/k", NULL, NULL},
        {"ais/@u#/b/k", NULL, NULL},
        {"ais/@#n/b/k", NULL, NULL},
        {"b/k", NULL, NULL},
    };
    struct arena arena = ARENA_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str bucket = STR_NONE, key = STR_NONE;
        enum err e = etl_uname_parse(str_z(rows[i].uname), &bucket, &key);
        assert_err(e, rows[i].bucket ? ERR_OK : ERR_INVALID_ARGUMENT);
        assert_true(str_eq(bucket, str_z(rows[i].bucket)));
        assert_true(str_eq(key, str_z(rows[i].key)));
        if (e == ERR_OK)
            assert_true(str_eq(etl_uname(&arena, bucket, key), str_z(rows[i].uname)));
    }
    srand(1);
    for (unsigned i = 0; i < 20000; i++) { /* whatever bytes: what parses is what it says */
        char text[40];
        size_t n = (size_t)(rand() % 40);
        for (size_t k = 0; k < n; k++)
            text[k] = "ais/@#b%\0\xff"[rand() % 10];
        if (n > 7 && i % 2)
            memcpy(text, "ais/@#/", 7);
        struct str s = str_n(text, n), bucket, key;
        if (etl_uname_parse(s, &bucket, &key) == ERR_OK)
            assert_true(str_eq(etl_uname(&arena, bucket, key), s) || memchr(text, 0, n));
    }
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_lent_is_read),
        cmocka_unit_test(names_and_secrets_are_checked),
        cmocka_unit_test(ranges),
        cmocka_unit_test(results_are_stored_where_they_may),
        cmocka_unit_test(what_was_given_up_is_not_stored),
        cmocka_unit_test(clients_that_go_away_leave_nothing),
        cmocka_unit_test(unames),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
