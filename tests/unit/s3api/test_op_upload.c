#include "unit.h"

#include <stdlib.h>

#include "exchange.h"
#include "request_fixture.h"

static struct exchange_world w;
static struct arena texts = ARENA_INIT;

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
    arena_release(&texts);
    return 0;
}

/* Answers its id. */
static const char *create(const char *headers)
{
    assert_int_equal(exchange(&w, "POST", "/bucket/k?uploads", headers, STR_NONE), 200);
    return arena_str(&texts, exchange_element(&w, "UploadId")).p;
}

static const char *at(const char *id, const char *more)
{
    return arena_printf(&texts, "/bucket/k?uploadId=%s%s", id, more).p;
}

static int complete(const char *id, const char *parts)
{
    struct str xml = arena_printf(&texts, "<CompleteMultipartUpload>%s</CompleteMultipartUpload>", parts);

    return exchange(&w, "POST", at(id, ""), NULL, xml);
}

static void one_part_makes_an_object(void **state)
{
    const char *id = create("content-type: text/x\n");

    (void)state;
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber=1"), NULL, STR("hello")), 200);
    assert_str_is(exchange_header(&w, "ETag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_int_equal(exchange(&w, "HEAD", "/bucket/k", NULL, STR_NONE), 404);
    assert_int_equal(
        complete(id, "<Part><PartNumber>1</PartNumber><ETag>5d41402abc4b2a76b9719d911017c592</ETag></Part>"), 200);
    assert_str_is(exchange_element(&w, "Location"), "http://localhost/bucket/k");
    assert_int_equal(exchange(&w, "GET", "/bucket/k?partNumber=1", NULL, STR_NONE), 206);
    assert_str_is(buf_str(&w.body), "hello");
    assert_str_is(exchange_header(&w, "x-amz-mp-parts-count"), "1");
    assert_str_is(exchange_header(&w, "Content-Type"), "text/x");
    assert_int_equal(exchange(&w, "GET", "/bucket/k?partNumber=2", NULL, STR_NONE), 416);
    assert_str_is(exchange_element(&w, "Code"), "InvalidPartNumber");
}

static void bad_documents_are_malformed(void **state)
{
    const char *id = create(NULL);

    (void)state;
    assert_int_equal(complete(id, ""), 400);
    assert_str_is(exchange_element(&w, "Code"), "MalformedXML");
    assert_int_equal(complete(id, "<Part><PartNumber>x</PartNumber><ETag>e</ETag></Part>"), 400);
    assert_str_is(exchange_element(&w, "Code"), "MalformedXML");
    assert_int_equal(exchange(&w, "POST", at(id, ""), NULL, STR("<Complete")), 400);
    assert_str_is(exchange_element(&w, "Code"), "MalformedXML");
    assert_int_equal(complete(id, "<Part><PartNumber>3</PartNumber><ETag>e</ETag></Part>"), 400);
    assert_str_is(exchange_element(&w, "Code"), "InvalidPart");
    assert_str_is(exchange_element(&w, "PartNumber"), "3");
}

static void small_part_tells_its_numbers(void **state)
{
    const char *id = create(NULL);
    struct str parts = STR("");

    (void)state;
    for (int i = 1; i <= 2; i++) {
        const char *query = arena_printf(&texts, "&partNumber=%d", i).p;
        assert_int_equal(exchange(&w, "PUT", at(id, query), NULL, STR("hello")), 200);
        parts = arena_printf(&texts,
                             "%s<Part><PartNumber>%d</PartNumber><ETag>5d41402abc4b2a76b9719d911017c592</ETag></Part>",
                             parts.p, i);
    }
    assert_int_equal(complete(id, parts.p), 400);
    assert_str_is(exchange_element(&w, "Code"), "EntityTooSmall");
    assert_str_is(exchange_element(&w, "ProposedSize"), "5");
    assert_str_is(exchange_element(&w, "MinSizeAllowed"), "5242880");
    assert_str_is(exchange_element(&w, "PartNumber"), "1");
}

static void parts_are_copied_and_listed(void **state)
{
    const char *id = create("x-amz-checksum-algorithm: CRC32\n");

    (void)state;
    assert_int_equal(exchange(&w, "PUT", "/bucket/s", NULL, STR("0123456789")), 200);
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber=2"),
                              "x-amz-copy-source: bucket/s\nx-amz-copy-source-range: bytes=2-4\n", STR_NONE),
                     200);
    assert_true(exchange_element(&w, "ChecksumCRC32").n == 8);
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber=2"),
                              "x-amz-copy-source: bucket/s\nx-amz-copy-source-range: bytes=2-10\n", STR_NONE),
                     416);
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber=2"),
                              "x-amz-copy-source: bucket/s\nx-amz-copy-source-range: bytes=2-\n", STR_NONE),
                     400);
    assert_int_equal(exchange(&w, "GET", at(id, ""), NULL, STR_NONE), 200);
    assert_str_is(exchange_element(&w, "PartNumber"), "2");
    assert_str_is(exchange_element(&w, "Size"), "3");
    assert_str_is(exchange_element(&w, "ChecksumAlgorithm"), "CRC32");
    assert_int_equal(exchange(&w, "GET", "/bucket?uploads", NULL, STR_NONE), 200);
    assert_str_is(exchange_element(&w, "UploadId"), id);
    assert_int_equal(exchange(&w, "DELETE", at(id, ""), NULL, STR_NONE), 204);
    assert_int_equal(exchange(&w, "GET", at(id, ""), NULL, STR_NONE), 404);
    assert_str_is(exchange_element(&w, "Code"), "NoSuchUpload");
}

static void part_numbers_are_bounded(void **state)
{
    const char *id = create(NULL);

    (void)state;
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber=0"), NULL, STR("x")), 400);
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber=10001"), NULL, STR("x")), 400);
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber="), NULL, STR("x")), 400);
    assert_int_equal(exchange(&w, "PUT", at(id, "&partNumber=10000"), NULL, STR("x")), 200);
}

static void client_that_leaves_at_any_moment_leaks_nothing(void **state)
{
    static char big[300000];
    const char *id = create(NULL);

    (void)state;
    assert_int_equal(exchange(&w, "PUT", "/bucket/s", NULL, str_n(big, sizeof(big))), 200);
    for (w.abort_after = 1; w.abort_after < 12; w.abort_after++) {
        exchange(&w, "PUT", at(id, "&partNumber=1"), NULL, str_n(big, sizeof(big)));
        exchange(&w, "PUT", at(id, "&partNumber=2"), "x-amz-copy-source: bucket/s\n", STR_NONE);
        complete(id, "<Part><PartNumber>9</PartNumber><ETag>e</ETag></Part>");
    }
    w.abort_after = 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_part_makes_an_object, open_world, close_world),
        cmocka_unit_test_setup_teardown(bad_documents_are_malformed, open_world, close_world),
        cmocka_unit_test_setup_teardown(small_part_tells_its_numbers, open_world, close_world),
        cmocka_unit_test_setup_teardown(parts_are_copied_and_listed, open_world, close_world),
        cmocka_unit_test_setup_teardown(part_numbers_are_bounded, open_world, close_world),
        cmocka_unit_test_setup_teardown(client_that_leaves_at_any_moment_leaks_nothing, open_world, close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
