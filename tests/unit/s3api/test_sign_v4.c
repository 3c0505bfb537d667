#include "store/sign_v4.h"

#include <stdio.h>

#include "unit.h"

#include "raw_req.h"

/* The key and requests of S3 API: Signature Calculations, "Examples". */
#define AKID         "AKIAIOSFODNN7EXAMPLE"
#define SECRET       "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define EMPTY_SHA256 STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
enum { NOW = 1369353600 }; /* 2013-05-24T00:00:00Z */

static const struct sign_v4_key key = {STR(AKID), STR(SECRET), STR("us-east-1")};

static struct str header(const struct sign_v4_res *res, struct str name)
{
    for (size_t i = 0; i < res->header_count; i++)
        if (str_eq(res->headers[i].name, name))
            return res->headers[i].value;
    return STR_NONE;
}

static void expect_signature(const struct sign_v4_req *req, const char *signature)
{
    struct arena a = ARENA_INIT;
    struct sign_v4_res res;

    sign_v4(&a, &key, req, &res);
    assert_true(str_ends(header(&res, STR("authorization")), str_z(signature)));
    arena_release(&a);
}

static void the_examples_of_the_documentation_come_out(void **state)
{
    const struct http_header range = {STR("range"), STR("bytes=0-9")};
    const struct sign_v4_param list[] = {{STR("prefix"), STR("J")}, {STR("max-keys"), STR("2")}};
    const struct sign_v4_param lifecycle = {STR("lifecycle"), STR("")};
    struct sign_v4_req req = {.method = STR("GET"),
                              .host = STR("examplebucket.s3.amazonaws.com"),
                              .path = STR("/test.txt"),
                              .headers = &range,
                              .header_count = 1,
                              .payload = EMPTY_SHA256,
                              .time_s = NOW};

    (void)state;
    expect_signature(&req, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    req.path = STR("/");
    req.header_count = 0;
    req.params = &lifecycle;
    req.param_count = 1;
    expect_signature(&req, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    req.params = list;
    req.param_count = 2;
    expect_signature(&req, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/* What s3api/sigv4.c says of a request as it was signed. */
static enum err check(const struct sign_v4_req *req, const struct sign_v4_res *res)
{
    struct creds *creds = creds_new();
    struct buf text = BUF_INIT(1 << 16);
    struct raw_req raw;
    struct identity id;
    struct auth_failure why = {{0}};
    enum err e;

    assert_int_equal(creds_put(creds, key.access_key, key.secret_key), ERR_OK);
    buf_add_str(&text, req->method);
    buf_add_char(&text, ' ');
    buf_add_str(&text, res->target);
    buf_add_z(&text, "\nhost: ");
    buf_add_str(&text, req->host);
    for (size_t i = 0; i < res->header_count; i++) {
        buf_add_char(&text, '\n');
        buf_add_str(&text, res->headers[i].name);
        buf_add_z(&text, ": ");
        buf_add_str(&text, res->headers[i].value);
    }
    buf_add_char(&text, '\n');
    assert_true(raw_req_parse(&raw, buf_str(&text), req->time_s));
    e = auth_check(creds, &raw.in, &raw.arena, &id, &why);
    raw_req_release(&raw);
    buf_release(&text);
    creds_free(creds);
    return e;
}

static void any_key_and_query_passes_the_check_of_servers(void **state)
{
    static const struct str paths[] = {
        STR("/b"),
        STR("/b/k"),
        STR("/b/a b+c%d?e&f=g#h"),
        STR("/b/../x//y/./z/"),
        STR("/b/\xc3\xa9\xf0\x9f\x98\x80"),
        STR("/b/\"<>\\^`{|}~*'();:@,$![]"),
        STR("/b/%2F%20+"),
        STR("/b/\x01\x7f\xff"),
    };
    const struct sign_v4_param params[] = {{STR("prefix"), STR("a b/+&=%\xc3\xa9")},
                                           {STR("list-type"), STR("2")},
                                           {STR("a-b"), STR("")},
                                           {STR("a"), STR("z")},
                                           {STR("start-after"), STR("~*'()")}};
    const struct http_header headers[] = {{STR("x-amz-meta-a"), STR("  two   spaces \t")},
                                          {STR("content-type"), STR("text/plain; charset=utf-8")},
                                          {STR("x-amz-meta-b"), STR("")},
                                          {STR("x-amz-acl"), STR("private")}};
    struct arena a = ARENA_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        for (size_t n = 0; n <= 5; n++) {
            struct sign_v4_req req = {.method = n & 1 ? STR("PUT") : STR("GET"),
                                      .host = STR("h:9000"),
                                      .path = paths[i],
                                      .params = params,
                                      .param_count = n,
                                      .headers = headers,
                                      .header_count = n < 4 ? n : 4,
                                      .payload = SIGN_V4_UNSIGNED,
                                      .time_s = NOW + (int64_t)n * 86400};
            struct sign_v4_res res;
            sign_v4(&a, &key, &req, &res);
            assert_string_equal(err_name(check(&req, &res)), "OK");
            struct sign_v4_req other = req;
            other.host = STR("h:9001");
            assert_string_equal(err_name(check(&other, &res)), "SIGNATURE");
        }
    arena_release(&a);
}

static void without_an_access_key_nothing_is_signed(void **state)
{
    const struct sign_v4_key nobody = {STR(""), STR(""), STR("us-east-1")};
    struct sign_v4_req req = {.method = STR("GET"), .host = STR("h"), .path = STR("/b/k"), .payload = SIGN_V4_UNSIGNED};
    struct arena a = ARENA_INIT;
    struct sign_v4_res res;

    (void)state;
    sign_v4(&a, &nobody, &req, &res);
    assert_int_equal(res.header_count, 0);
    assert_true(str_eq(res.target, STR("/b/k")));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_documentation_come_out),
        cmocka_unit_test(any_key_and_query_passes_the_check_of_servers),
        cmocka_unit_test(without_an_access_key_nothing_is_signed),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
