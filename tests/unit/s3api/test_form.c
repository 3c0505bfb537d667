#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "blocking.h"
#include "s3api/form.h"

#define B "xxBOUNDARYxx"
static const char head[] =
    "--" B "\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\na \"b\"\r\n"
    "--" B " \t\r\nContent-Type: text/plain\r\ncontent-disposition: FORM-DATA; name=x-amz-meta-a\r\n\r\n\r\n"
    "--" B "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\d\\say \\\"hi\\\".txt\"\r\n\r\n";

struct world {
    struct loop *loop;
    struct arena arena;
};

/* Gives what it has in steps. */
struct steps {
    struct source source;
    struct str rest;
    size_t step;
};

static void steps_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct steps *t = CONTAINER(s, struct steps, source);
    size_t take = t->step < len ? t->step : len;

    take = take < t->rest.n ? take : t->rest.n;
    memcpy(buf, t->rest.p, take);
    t->rest = str_skip(t->rest, take);
    *n = take;
    call_finish(call, ERR_OK);
}

static enum err read_file(struct world *w, struct str begun, struct str rest, size_t step, size_t len, uint64_t min,
                          struct buf *out)
{
    static const struct source_ops ops = {.name = "steps", .read = steps_read};
    struct steps body = {{&ops, SOURCE_SIZE_UNKNOWN}, rest, step};
    struct source *file = form_file(w->loop, STR(B), begun, &body.source, min);
    enum err e;
    size_t n;

    do {
        char *p = buf_reserve(out, len);
        e = CALL(w, source_read(file, p, len, &n, c));
        if (e == ERR_OK)
            buf_commit(out, n);
    } while (e == ERR_OK && n);
    source_close(file);
    return e;
}

static void fields_and_file_are_found(void **state)
{
    struct world *w = *state;
    struct form f;

    assert_int_equal(form_read(str_z(head), STR(B), &w->arena, &f), ERR_OK);
    assert_int_equal(f.count, 2);
    assert_true(str_eq(form_get(&f, STR("key")), STR("a \"b\"")));
    assert_true(form_get(&f, STR("x-amz-meta-a")).p && form_get(&f, STR("x-amz-meta-a")).n == 0);
    assert_null(form_get(&f, STR("file")).p);
    assert_true(str_eq(f.filename, STR("say \"hi\".txt")));
    assert_int_equal(f.file_at, sizeof(head) - 1);
}

static void every_shorter_beginning_wants_more(void **state)
{
    struct world *w = *state;
    struct form f;

    for (size_t n = 0; n < sizeof(head) - 1; n++)
        assert_int_equal(form_read(str_n(head, n), STR(B), &w->arena, &f), ERR_AGAIN);
}

static void what_is_no_form_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum err e;
    } all[] = {
        {"x", ERR_MALFORMED_POST},
        {"--" B "x\r\n", ERR_MALFORMED_POST},
        {"--" B "--\r\n", ERR_INVALID_ARGUMENT},
        {"--" B "\r\nno colon\r\n", ERR_MALFORMED_POST},
        {"--" B "\r\n\r\n", ERR_MALFORMED_POST},
        {"--" B "\r\nContent-Disposition: attachment; name=x\r\n", ERR_MALFORMED_POST},
        {"--" B "\r\nContent-Disposition: form-data; name=\"x\r\n", ERR_MALFORMED_POST},
        {"--" B "\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n--" B "--", ERR_INVALID_ARGUMENT},
    };
    struct world *w = *state;
    struct form f;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        assert_int_equal(form_read(str_z(all[i].text), STR(B), &w->arena, &f), all[i].e);
}

static void too_much_before_the_file_is_refused(void **state)
{
    struct buf many = BUF_INIT(1 << 20), large = BUF_INIT(1 << 20), endless = BUF_INIT(1 << 20);
    struct world *w = *state;
    struct form f;

    for (int i = 0; i <= FORM_FIELDS_MAX; i++)
        buf_add_z(&many, "--" B "\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n");
    buf_add_z(&many, "--" B "\r\n");
    assert_int_equal(form_read(buf_str(&many), STR(B), &w->arena, &f), ERR_POST_FIELDS);
    buf_add_z(&large, "--" B "\r\nContent-Disposition: form-data; name=x\r\n\r\n");
    for (int i = 0; i < FORM_VALUES_MAX; i++)
        buf_add_char(&large, 'x');
    buf_add_z(&large, "\r\n--" B "\r\n");
    assert_int_equal(form_read(buf_str(&large), STR(B), &w->arena, &f), ERR_POST_FIELDS);
    buf_add_z(&endless, "--" B "\r\n");
    for (int i = 0; i < FORM_HEAD_MAX; i++)
        buf_add_char(&endless, 'x');
    assert_int_equal(form_read(buf_str(&endless), STR(B), &w->arena, &f), ERR_POST_FIELDS);
    buf_release(&many);
    buf_release(&large);
    buf_release(&endless);
}

static void boundaries(void **state)
{
    struct str b;

    (void)state;
    assert_true(form_boundary(STR("multipart/form-data; boundary=abc"), &b) && str_eq(b, STR("abc")));
    assert_true(form_boundary(STR("Multipart/Form-Data;charset=x ; BOUNDARY=\"a b=\" ; y=z"), &b));
    assert_true(str_eq(b, STR("a b=")));
    assert_false(form_boundary(STR("multipart/form-data"), &b));
    assert_false(form_boundary(STR("multipart/form-data; boundary="), &b));
    assert_false(form_boundary(STR("multipart/mixed; boundary=a"), &b));
    assert_false(form_boundary(STR("multipart/form-data; boundary=\"a"), &b));
    assert_false(form_boundary(STR("multipart/form-data; boundary=\"a\rb\""), &b));
}

/* Ends that are nearly there, cut anywhere. */
static void the_file_ends_at_its_delimiter_in_any_split(void **state)
{
    static const char file[] = "\r\r\n-\r\n--xxBOUND\r\n--xxBOUNDARYx\r\n--xxBOUNDARYX\r\n\r\n--";
    static const char all[] = "\r\r\n-\r\n--xxBOUND\r\n--xxBOUNDARYx\r\n--xxBOUNDARYX\r\n\r\n--\r\n--" B
                              "\r\nmore that is not looked at\r\n--" B "--";
    struct world *w = *state;
    struct buf out = BUF_INIT(1 << 20);
    struct str whole = str_z(all);

    for (size_t begun = 0; begun <= whole.n; begun++)
        for (size_t step = 1; step < 40; step += 3) {
            buf_reset(&out);
            assert_int_equal(read_file(w, str_n(whole.p, begun), str_skip(whole, begun), step, 1 + step % 11,
                                       sizeof(file) - 1, &out),
                             ERR_OK);
            assert_true(str_eq(buf_str(&out), str_z(file)));
        }
    assert_int_equal(read_file(w, whole, STR(""), 1, 100, sizeof(file), &out), ERR_ENTITY_TOO_SMALL);
    buf_release(&out);
}

static void a_file_without_end_fails(void **state)
{
    struct world *w = *state;
    struct buf out = BUF_INIT(1 << 20);

    assert_int_equal(read_file(w, STR("abc"), STR("def\r\n--xxBOUNDARYx"), 2, 100, 0, &out), ERR_MALFORMED_POST);
    buf_reset(&out);
    assert_int_equal(read_file(w, STR(""), STR("\r\n--" B), 2, 100, 0, &out), ERR_OK);
    assert_int_equal(out.n, 0);
    buf_release(&out);
}

static int setup(void **state)
{
    struct world *w = NEW(struct world);

    w->loop = loop_new();
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    arena_release(&w->arena);
    loop_free(w->loop);
    free(w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_file_are_found),
        cmocka_unit_test(every_shorter_beginning_wants_more),
        cmocka_unit_test(what_is_no_form_is_refused),
        cmocka_unit_test(too_much_before_the_file_is_refused),
        cmocka_unit_test(boundaries),
        cmocka_unit_test(the_file_ends_at_its_delimiter_in_any_split),
        cmocka_unit_test(a_file_without_end_fails),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
