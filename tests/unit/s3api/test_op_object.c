#include "unit.h"

#include "exchange.h"
#include "request_fixture.h"

static struct exchange_world w;

static int open_world(void **state)
{
    (void)state;
    exchange_open(&w);
    exchange(&w, "PUT", "/bucket", NULL, STR_NONE);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    exchange_close(&w);
    return 0;
}

static void put(const char *target, const char *headers, const char *body)
{
    assert_int_equal(exchange(&w, "PUT", target, headers, str_z(body)), 200);
}

static void assert_body(const char *text)
{
    assert_str_is(buf_str(&w.body), text);
}

static void put_then_get_answers_what_was_stored(void **state)
{
    (void)state;
    put("/bucket/k", "content-type: text/plain\nx-amz-meta-a: 1\nx-amz-tagging: x=1&y=2\n", "hello");
    assert_str_is(exchange_header(&w, "ETag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_true(exchange_header(&w, "x-amz-checksum-crc64nvme").n == 12);
    assert_int_equal(exchange(&w, "GET", "/bucket/k", NULL, STR_NONE), 200);
    assert_body("hello");
    assert_str_is(exchange_header(&w, "Content-Type"), "text/plain");
    assert_str_is(exchange_header(&w, "x-amz-meta-a"), "1");
    assert_str_is(exchange_header(&w, "x-amz-tagging-count"), "2");
    assert_str_is(exchange_header(&w, "Accept-Ranges"), "bytes");
    assert_null(exchange_header(&w, "x-amz-checksum-crc64nvme").p);
    assert_null(exchange_header(&w, "x-amz-version-id").p);
}

static void head_states_the_length_and_sends_nothing(void **state)
{
    (void)state;
    put("/bucket/k", NULL, "hello");
    assert_int_equal(exchange(&w, "HEAD", "/bucket/k", NULL, STR_NONE), 200);
    assert_int_equal(w.stated_length, 5);
    assert_int_equal(w.body.n, 0);
    assert_int_equal(exchange(&w, "HEAD", "/bucket/absent", NULL, STR_NONE), 404);
    assert_int_equal(w.body.n, 0);
}

static void get_range_past_end_is_416(void **state)
{
    (void)state;
    put("/bucket/k", NULL, "0123456789");
    assert_int_equal(exchange(&w, "GET", "/bucket/k", "range: bytes=2-4\n", STR_NONE), 206);
    assert_body("234");
    assert_str_is(exchange_header(&w, "Content-Range"), "bytes 2-4/10");
    assert_int_equal(exchange(&w, "GET", "/bucket/k", "range: bytes=10-\n", STR_NONE), 416);
    assert_str_is(exchange_header(&w, "Content-Range"), "bytes */10");
    assert_str_is(exchange_element(&w, "Code"), "InvalidRange");
    assert_int_equal(exchange(&w, "GET", "/bucket/k?partNumber=1", "range: bytes=0-1\n", STR_NONE), 400);
}

static void stale_if_range_gets_everything(void **state)
{
    static const char *const fresh = "range: bytes=1-2\nif-range: \"5d41402abc4b2a76b9719d911017c592\"\n";
    static const char *const stale[] = {"range: bytes=1-2\nif-range: \"other\"\n",
                                        "range: bytes=9-\nif-range: \"other\"\n",
                                        "range: bytes=1-2\nif-range: W/\"5d41402abc4b2a76b9719d911017c592\"\n",
                                        "range: bytes=1-2\nif-range: Sun, 06 Nov 1994 08:49:37 GMT\n"};

    (void)state;
    put("/bucket/k", NULL, "hello");
    assert_int_equal(exchange(&w, "GET", "/bucket/k", fresh, STR_NONE), 206);
    assert_body("el");
    for (size_t i = 0; i < sizeof(stale) / sizeof(stale[0]); i++) {
        assert_int_equal(exchange(&w, "GET", "/bucket/k", stale[i], STR_NONE), 200);
        assert_body("hello");
        assert_null(exchange_header(&w, "Content-Range").p);
        assert_int_equal(exchange(&w, "HEAD", "/bucket/k", stale[i], STR_NONE), 200);
        assert_int_equal(w.stated_length, 5);
    }
}

static void not_modified_keeps_its_validators(void **state)
{
    (void)state;
    put("/bucket/k", "cache-control: max-age=1\n", "hello");
    assert_int_equal(
        exchange(&w, "GET", "/bucket/k", "if-none-match: \"5d41402abc4b2a76b9719d911017c592\"\n", STR_NONE), 304);
    assert_true(exchange_header(&w, "ETag").n && exchange_header(&w, "Last-Modified").n);
    assert_str_is(exchange_header(&w, "Cache-Control"), "max-age=1");
    assert_null(exchange_header(&w, "Content-Type").p);
    assert_int_equal(w.body.n, 0);
    assert_int_equal(
        exchange(&w, "GET", "/bucket/k", "if-none-match: W/\"5d41402abc4b2a76b9719d911017c592\"\n", STR_NONE), 304);
    assert_int_equal(exchange(&w, "GET", "/bucket/k", "if-match: W/\"5d41402abc4b2a76b9719d911017c592\"\n", STR_NONE),
                     412);
    assert_int_equal(exchange(&w, "GET", "/bucket/k", "if-match: \"x\"\n", STR_NONE), 412);
    assert_str_is(exchange_element(&w, "Condition"), "If-Match");
}

static void put_if_none_match_names_its_condition(void **state)
{
    (void)state;
    put("/bucket/k", "if-none-match: *\n", "1");
    assert_int_equal(exchange(&w, "PUT", "/bucket/k", "if-none-match: *\n", STR("2")), 412);
    assert_str_is(exchange_element(&w, "Condition"), "If-None-Match");
    assert_int_equal(exchange(&w, "PUT", "/bucket/absent", "if-match: \"x\"\n", STR("2")), 404);
    assert_str_is(exchange_element(&w, "Code"), "NoSuchKey");
}

static void wrong_digest_stores_nothing(void **state)
{
    (void)state;
    assert_int_equal(exchange(&w, "PUT", "/bucket/k", "content-md5: AAAAAAAAAAAAAAAAAAAAAA==\n", STR("x")), 400);
    assert_str_is(exchange_element(&w, "Code"), "BadDigest");
    assert_int_equal(exchange(&w, "HEAD", "/bucket/k", NULL, STR_NONE), 404);
}

static void what_is_not_built_is_refused_by_name(void **state)
{
    static const char *const headers[] = {"x-amz-server-side-encryption: AES256\n", "x-amz-acl: aws-exec-read\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        assert_int_equal(exchange(&w, "PUT", "/bucket/k", headers[i], STR("x")), 501);
        assert_true(exchange_element(&w, "Header").n > 0);
    }
}

static void overrides_replace_headers_but_never_split_them(void **state)
{
    (void)state;
    put("/bucket/k", "content-type: text/plain\ncache-control: no-store\n", "x");
    exchange(&w, "GET", "/bucket/k?response-content-type=image%2Fpng&response-expires=never", NULL, STR_NONE);
    assert_str_is(exchange_header(&w, "Content-Type"), "image/png");
    assert_str_is(exchange_header(&w, "Expires"), "never");
    assert_str_is(exchange_header(&w, "Cache-Control"), "no-store");
    assert_int_equal(exchange(&w, "GET", "/bucket/k?response-content-type=a%0d%0aX:1", NULL, STR_NONE), 400);
}

static void copy_directives(void **state)
{
    (void)state;
    put("/bucket/s", "x-amz-meta-a: 1\nx-amz-storage-class: GLACIER\n", "hello");
    put("/bucket/d", "x-amz-copy-source: /bucket/s\n", "");
    assert_str_is(exchange_element(&w, "ETag"), "&quot;5d41402abc4b2a76b9719d911017c592&quot;");
    exchange(&w, "HEAD", "/bucket/d", NULL, STR_NONE);
    assert_str_is(exchange_header(&w, "x-amz-meta-a"), "1");
    assert_null(exchange_header(&w, "x-amz-storage-class").p);
    assert_int_equal(exchange(&w, "PUT", "/bucket/s", "x-amz-copy-source: bucket/s\n", STR_NONE), 400);
    put("/bucket/s", "x-amz-copy-source: bucket/s\nx-amz-metadata-directive: REPLACE\nx-amz-meta-b: 2\n", "");
    exchange(&w, "GET", "/bucket/s", NULL, STR_NONE);
    assert_body("hello");
    assert_str_is(exchange_header(&w, "x-amz-meta-b"), "2");
    assert_null(exchange_header(&w, "x-amz-meta-a").p);
    assert_int_equal(exchange(&w, "PUT", "/bucket/d", "x-amz-copy-source: nobucket/s\n", STR_NONE), 404);
}

static void delete_many_reports_each_key(void **state)
{
    struct arena a = ARENA_INIT;
    struct buf xml = BUF_INIT(1 << 20);
    char sum[4 + BASE64_LEN(16)];
    struct digest md5;

    (void)state;
    put("/bucket/k1", NULL, "x");
    put("/bucket/k2", NULL, "x");
    buf_add_z(&xml, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (int i = 0; i < 150; i++)
        buf_addf(&xml, "<Object><Key>k%d</Key>%s</Object>", i, i == 2 ? "<ETag>\"no\"</ETag>" : "");
    buf_add_z(&xml, "</Delete>");
    assert_int_equal(exchange(&w, "POST", "/bucket?delete", NULL, buf_str(&xml)), 400);
    hash_of(HASH_MD5, buf_str(&xml), &md5);
    struct str header = arena_printf(&a, "content-md5: %.*s\n", (int)base64_encode(md5.b, 16, sum), sum);
    assert_int_equal(exchange(&w, "POST", "/bucket?delete", header.p, buf_str(&xml)), 200);
    assert_str_is(exchange_element(&w, "Error"),
                  "<Key>k2</Key><Code>PreconditionFailed</Code><Message>At least one of the "
                  "pre-conditions you specified did not hold</Message>");
    assert_true(exchange_body_has(&w, "<Deleted><Key>k149</Key></Deleted>"));
    assert_int_equal(exchange(&w, "HEAD", "/bucket/k1", NULL, STR_NONE), 404);
    assert_int_equal(exchange(&w, "HEAD", "/bucket/k2", NULL, STR_NONE), 200);
    buf_release(&xml);
    arena_release(&a);
}

static void client_that_leaves_at_any_moment_leaks_nothing(void **state)
{
    static char big[300000];

    (void)state;
    put("/bucket/k", NULL, "hello");
    for (w.abort_after = 1; w.abort_after < 12; w.abort_after++) {
        exchange(&w, "GET", "/bucket/k", NULL, STR_NONE);
        exchange(&w, "PUT", "/bucket/new", "if-none-match: *\n", str_n(big, sizeof(big)));
        exchange(&w, "PUT", "/bucket/copy", "x-amz-copy-source: bucket/k\n", STR_NONE);
        exchange(&w, "POST", "/bucket?delete", "x-amz-checksum-crc32: AAAAAA==\n", STR("<Delete/>"));
    }
    w.abort_after = 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(put_then_get_answers_what_was_stored, open_world, close_world),
        cmocka_unit_test_setup_teardown(head_states_the_length_and_sends_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(get_range_past_end_is_416, open_world, close_world),
        cmocka_unit_test_setup_teardown(stale_if_range_gets_everything, open_world, close_world),
        cmocka_unit_test_setup_teardown(not_modified_keeps_its_validators, open_world, close_world),
        cmocka_unit_test_setup_teardown(put_if_none_match_names_its_condition, open_world, close_world),
        cmocka_unit_test_setup_teardown(wrong_digest_stores_nothing, open_world, close_world),
        cmocka_unit_test_setup_teardown(what_is_not_built_is_refused_by_name, open_world, close_world),
        cmocka_unit_test_setup_teardown(overrides_replace_headers_but_never_split_them, open_world, close_world),
        cmocka_unit_test_setup_teardown(copy_directives, open_world, close_world),
        cmocka_unit_test_setup_teardown(delete_many_reports_each_key, open_world, close_world),
        cmocka_unit_test_setup_teardown(client_that_leaves_at_any_moment_leaks_nothing, open_world, close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
