#include "unit.h"

#include "etl/nodes.h"

#include "store/wire.h"

static struct arena arena;

static struct str encode(const struct etl_run_req *req)
{
    struct buf b = BUF_INIT(WIRE_HEADER_MAX);

    etl_nodes_put_req(&b, req);
    assert_int_equal(buf_err(&b), ERR_OK);
    struct str bytes = arena_str(&arena, buf_str(&b));
    buf_release(&b);
    return bytes;
}

static void requests_come_out_as_they_went_in(void **state)
{
    const struct etl_stage stages[] = {{STR("resize"), STR("{\"w\":64}")}, {STR("@gzip"), STR("")}};
    struct obj_get_req object = {
        .head = {
            .bucket = {7, STR("photos")}, .key = STR("a/b.jpg"), .cond = COND_INIT, .range = {RANGE_FROM_TO, 3, 9}}};
    struct etl_run_req req = {
        .stages = stages, .stage_count = 2, .object = &object, .bucket = STR("photos"), .key = STR("a/b.jpg")};
    struct etl_run_req got;
    struct str bytes = encode(&req);

    (void)state;
    assert_int_equal(etl_nodes_get_req(bytes, &arena, &got), ERR_OK);
    assert_int_equal(got.stage_count, 2);
    assert_true(str_eq(got.stages[0].args, stages[0].args) && str_eq(got.stages[1].name, STR("@gzip")));
    assert_true(str_eq(got.bucket, STR("photos")) && str_eq(got.key, STR("a/b.jpg")));
    assert_non_null(got.object);
    assert_int_equal(got.object->head.bucket.uid, 7);
    assert_int_equal(got.object->head.range.last, 9);
    assert_ptr_equal(got.object->head.arena, &arena);
    for (size_t n = 0; n < bytes.n; n++) /* cut off anywhere it is none */
        assert_int_not_equal(etl_nodes_get_req(str_n(bytes.p, n), &arena, &got), ERR_OK);
    req.object = NULL;
    assert_int_equal(etl_nodes_get_req(encode(&req), &arena, &got), ERR_OK);
    assert_null(got.object);
    arena_release(&arena);
}

static void too_many_stages_are_refused(void **state)
{
    struct etl_stage stages[ETL_STAGES_MAX + 1];
    struct etl_run_req req = {.stages = stages, .stage_count = ETL_STAGES_MAX + 1}, got;

    (void)state;
    for (size_t i = 0; i < ETL_STAGES_MAX + 1; i++)
        stages[i] = (struct etl_stage){STR("echoes"), STR("")};
    assert_int_equal(etl_nodes_get_req(encode(&req), &arena, &got), ERR_BAD_REQUEST);
    arena_release(&arena);
}

static void results_come_out_as_they_went_in(void **state)
{
    struct etl_run_res res = {.head = {.info.size = 12, .len = 12}, .content_type = STR("image/png"), .status = 418},
                       got;
    struct buf b = BUF_INIT(WIRE_HEADER_MAX);
    static char text[20000];

    (void)state;
    memset(text, 't', sizeof(text));
    res.text = str_n(text, sizeof(text));
    etl_nodes_put_res(&b, &res);
    assert_int_equal(buf_err(&b), ERR_OK);
    assert_int_equal(etl_nodes_get_res(buf_str(&b), &arena, &got), ERR_OK);
    assert_int_equal(got.head.info.size, 12);
    assert_int_equal(got.status, 418);
    assert_true(str_eq(got.content_type, STR("image/png")));
    assert_true(got.text.n > 1000 && got.text.n < sizeof(text));
    buf_release(&b);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_come_out_as_they_went_in),
        cmocka_unit_test(too_many_stages_are_refused),
        cmocka_unit_test(results_come_out_as_they_went_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
