/* How an outcome becomes a response: the steps of an operation by hand, the server's side captured. */
#include "s3api/reply.h"

#include "s3api/request.h"
#include "unit.h"

static struct http_res sent; /* what http_respond() was handed last; its parts live in the request's arena */
static struct buf sent_body;

void http_end_is_leaving(struct http_req *req)
{
    (void)req;
}

void http_respond(struct http_req *req, const struct http_res *res, struct call *call)
{
    struct span span;

    (void)req;
    sent = *res;
    buf_reset(&sent_body);
    if (res->body) {
        source_peek(res->body, &span);
        assert_int_equal(span.kind, SPAN_MEMORY);
        buf_add(&sent_body, span.p, span.len);
    }
    source_close(res->body);
    call_finish(call, ERR_OK);
}

static struct loop *loop;
static struct arena arena;
static struct s3api_conf conf;
static struct s3api_env env;
static struct http_req http;
static struct s3_request request;

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    loop_adopt(loop);
    arena = (struct arena)ARENA_INIT;
    env = (struct s3api_env){.loop = loop, .conf = &conf};
    http = (struct http_req){.arena = &arena, .loop = loop, .path = STR("/bkt/k\xff")};
    memcpy(http.id, "0123456789ABCDEF", sizeof(http.id));
    request = (struct s3_request){.http = &http, .arena = &arena, .env = &env, .host_id = STR("host")};
    buf_init(&sent_body, 1 << 20);
    reply_init(&request);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    buf_release(&sent_body);
    loop_free(loop);
    return 0;
}

static enum err outcome; /* of the one step */

static enum step_next only_step(struct op *op)
{
    return outcome == ERR_OK ? op_go(op, reply_send) : op_fail(op, outcome);
}

static void finish(enum err e)
{
    outcome = e;
    op_start(&request.op, loop, "test", only_step, reply_send);
    loop_turn(loop, 0);
}

static struct str header(const char *name)
{
    for (size_t i = 0; i < sent.header_count; i++)
        if (str_eq_nocase(sent.headers[i].name, str_z(name)))
            return sent.headers[i].value;
    return STR_NONE;
}

static bool body_has(const char *text)
{
    return str_find(buf_str(&sent_body), str_z(text)) != SIZE_MAX;
}

static void a_plain_success(void **state)
{
    struct etag etag = {.n = 3, .text = "abc"};

    (void)state;
    reply_etag(&request, &etag);
    reply_last_modified(&request, INT64_C(784111777) * 1000000000);
    finish(ERR_OK);
    assert_int_equal(sent.status, 200);
    assert_null(sent.body);
    assert_true(str_eq(header("ETag"), STR("\"abc\"")));
    assert_true(str_eq(header("Last-Modified"), STR("Sun, 06 Nov 1994 08:49:37 GMT")));
    assert_true(str_eq(header("x-amz-request-id"), STR("0123456789ABCDEF")));
    assert_null(header("Content-Type").p);
}

static void an_error_drops_the_success(void **state)
{
    (void)state;
    reply_header(&request, STR("ETag"), STR("x"));
    reply_body(&request, source_memory(STR("half"), NULL, NULL));
    xml_begin(reply_xml(&request), STR("Result"));
    finish(ERR_NO_SUCH_KEY);
    assert_int_equal(sent.status, 404);
    assert_null(header("ETag").p);
    assert_false(body_has("Result"));
    assert_true(body_has("<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>"));
    assert_true(body_has("<Resource>/bkt/k%FF</Resource><RequestId>0123456789ABCDEF</RequestId><HostId>host</HostId>"));
}

static void kept_headers_go_with_the_error(void **state)
{
    (void)state;
    reply_header(&request, STR("Content-Range"), STR("bytes */5"));
    reply_keep_headers(&request);
    finish(ERR_INVALID_RANGE);
    assert_int_equal(sent.status, 416);
    assert_true(str_eq(header("content-range"), STR("bytes */5")));
}

static void not_modified_has_no_body(void **state)
{
    (void)state;
    reply_header(&request, STR("ETag"), STR("\"x\""));
    reply_keep_headers(&request);
    finish(ERR_NOT_MODIFIED);
    assert_int_equal(sent.status, 304);
    assert_int_equal(sent_body.n, 0);
    assert_true(str_eq(header("etag"), STR("\"x\"")));
    assert_null(header("Content-Type").p);
}

static void a_head_answer_states_its_length(void **state)
{
    (void)state;
    http.method = HTTP_HEAD;
    reply_length(&request, 12345);
    finish(ERR_OK);
    assert_int_equal(sent.stated_length, 12345);
}

static void a_head_error_states_none(void **state)
{
    (void)state;
    http.method = HTTP_HEAD;
    reply_length(&request, 12345);
    finish(ERR_NO_SUCH_KEY);
    assert_int_equal(sent.status, 404);
    assert_int_equal(sent_body.n, 0);
    assert_true(sent.stated_length == HTTP_LENGTH_UNKNOWN);
}

static void values_can_not_split_headers(void **state)
{
    (void)state;
    reply_header(&request, STR("x-amz-meta-a"), STR("a\r\nSet-Cookie: b"));
    reply_header(&request, STR("x-amz-meta-b"), STR("a\0b"));
    reply_header(&request, STR("x-amz-meta-c"), STR("\xc3\xa9\x01"));
    finish(ERR_OK);
    assert_null(header("x-amz-meta-a").p);
    assert_null(header("x-amz-meta-b").p);
    assert_int_equal(header("x-amz-meta-c").n, 3);
}

static void messages_and_details_are_told_once(void **state)
{
    (void)state;
    reply_detail(&request, STR("ArgumentName"), STR("max<keys"));
    reply_detail(&request, STR("ArgumentName"), STR("other"));
    reply_detail(&request, STR("ArgumentValue"), STR("a\0b"));
    finish(reply_error(&request, ERR_INVALID_ARGUMENT, "%d & more", 5));
    assert_true(body_has("<Message>5 &amp; more</Message><ArgumentName>max&lt;keys</ArgumentName>"));
    assert_true(body_has("<ArgumentValue>a%00b</ArgumentValue>"));
    assert_false(body_has("other"));
}

static void details_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * REPLY_DETAILS_MAX; i++)
        reply_detail(&request, arena_printf(&arena, "D%d", i), STR("v"));
    finish(ERR_ACCESS_DENIED);
    assert_int_equal(request.reply.detail_count, REPLY_DETAILS_MAX);
    assert_int_equal(sent.status, 403);
}

static void many_headers_fit(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        reply_header_f(&request, arena_printf(&arena, "x-%d", i), "%d", i);
    finish(ERR_OK);
    assert_int_equal(sent.header_count, 202);
    assert_true(str_eq(header("x-199"), STR("199")));
}

static void an_answer_that_grew_too_large_is_an_error(void **state)
{
    char junk[4096];

    (void)state;
    memset(junk, 'x', sizeof(junk));
    while (buf_err(reply_xml(&request)) == ERR_OK)
        xml_str(reply_xml(&request), STR("K"), str_n(junk, sizeof(junk)));
    finish(ERR_OK);
    assert_int_equal(sent.status, 500);
    assert_true(body_has("<Code>InternalError</Code>"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_plain_success),
        T(an_error_drops_the_success),
        T(kept_headers_go_with_the_error),
        T(not_modified_has_no_body),
        T(a_head_answer_states_its_length),
        T(a_head_error_states_none),
        T(values_can_not_split_headers),
        T(messages_and_details_are_told_once),
        T(details_are_bounded),
        T(many_headers_fit),
        T(an_answer_that_grew_too_large_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
