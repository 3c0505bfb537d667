#include "etl/view.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kit.h"
#include "store/memstore.h"

/* A door that gives the object's content in capitals, each letter twice; of "bad" it says no. */
struct upper {
    struct etl_door door;
    struct store *store;
    unsigned runs;
};
struct upper_run {
    struct call call;
    const struct etl_run_req *req;
    struct etl_run_res *res;
    struct call *whole;
    struct obj_get_res got;
};

static void release(void *p)
{
    free(p);
}

static void upper_got(struct call *c)
{
    struct upper_run *r = CONTAINER(c, struct upper_run, call);
    struct span span;

    if (c->err != ERR_OK) {
        call_finish(r->whole, c->err);
        return;
    }
    source_peek(r->got.body, &span);
    size_t n = span.kind == SPAN_MEMORY ? (size_t)span.len : 0;
    char *twice = mem_alloc(2 * n + 1);
    for (size_t i = 0; i < n; i++)
        twice[2 * i] = twice[2 * i + 1] = (char)toupper((unsigned char)span.p[i]);
    r->res->head = r->got.head;
    r->res->body = source_memory(str_n(twice, 2 * n), release, twice);
    r->res->body->size = SOURCE_SIZE_UNKNOWN;
    r->res->content_type = STR("text/loud");
    source_close(r->got.body);
    call_finish(r->whole, ERR_OK);
}

static void upper_run(struct etl_door *d, const struct etl_run_req *req, struct etl_run_res *res, struct call *whole)
{
    struct upper *u = CONTAINER(d, struct upper, door);
    struct upper_run *r = ARENA_NEW(req->arena, struct upper_run);

    u->runs++;
    if (str_ends(req->key, STR("bad"))) {
        res->status = 422;
        res->text = STR("no");
        call_finish(whole, ERR_ETL);
        return;
    }
    r->req = req;
    r->res = res;
    r->whole = whole;
    call_begin(&r->call, whole->loop, upper_got);
    store_obj_get(u->store, req->object, &r->got, &r->call);
}

static struct world {
    struct kit kit, source; /* of the view's store: in the view, in its source */
    struct contract_env env;
    struct meta *meta;
    struct buckets *buckets;
    struct etl_names *names;
    struct views *views;
    struct store *memory;
    struct upper upper;
} world;

static void put_meta(struct world *w, struct str key, struct str value)
{
    struct meta_put_req req = {.key = key, .value = value, .revision = META_ANY};
    struct meta_put_res res;
    struct kit_call c = {0};

    meta_put(w->meta, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
}

static struct bucket_id make_bucket(struct world *w, struct str name, struct str props)
{
    struct bucket_create_req req = {
        .arena = &w->kit.arena, .name = name, .owner = STR("me"), .region = STR("us-east-1"), .props = props};
    struct bucket_create_res res;
    struct kit_call c = {0};

    buckets_create(w->buckets, &req, &res, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
    return res.bucket.id;
}

static int setup(void **state)
{
    static const struct etl_door_ops ops = {upper_run, NULL};
    struct world *w = &world;

    *w = (struct world){.kit = {.arena = ARENA_INIT}, .source = {.arena = ARENA_INIT}};
    hash_setup();
    w->env.loop = w->kit.loop = w->source.loop = loop_new();
    w->kit.env = w->source.env = &w->env;
    loop_adopt(w->kit.loop);
    w->meta = meta_memory_new();
    assert_err(buckets_open(w->meta, &w->buckets), ERR_OK);
    assert_err(etl_names_open(w->meta, &w->names), ERR_OK);
    w->views = views_new(w->buckets, w->names);
    w->memory = memstore_new(w->kit.loop);
    w->upper = (struct upper){{&ops}, w->memory, 0};
    w->kit.store = w->source.store =
        view_store_new(&(struct view_env){w->views, w->kit.loop, w->memory, &w->upper.door});
    w->source.bucket = make_bucket(w, STR("texts"), STR(""));
    w->kit.bucket = make_bucket(
        w, STR("loud"), STR("{\"view\":{\"source\":\"texts\",\"etl\":[{\"name\":\"louder\",\"args\":\"x\"}]}}"));
    assert_true(w->kit.bucket.view);
    put_meta(w, STR("etl/louder"), STR("{\"format\":1,\"id\":\"etl-1\"}"));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    store_close(w->kit.store);
    store_close(w->memory);
    views_free(w->views);
    arena_release(&w->kit.arena);
    arena_release(&w->source.arena);
    meta_close(w->meta);
    etl_names_free(w->names);
    buckets_close(w->buckets);
    loop_free(w->kit.loop);
    return 0;
}

static void results_are_made_once(void **state)
{
    struct world *w = *state;
    struct object_info info;

    kit_put(&w->source, STR("a"), STR("one"));
    kit_expect(&w->kit, STR("a"), STR("OONNEE"));
    info = kit_head(&w->kit, STR("a"));
    assert_int_equal(info.size, 6);
    struct etag etag = kit_etag(STR("OONNEE"));
    assert_str(etag_str(&info.etag), etag_str(&etag));
    assert_str(object_attr(&info, STR("content-type")), STR("text/loud"));
    assert_false(object_attr(&info, STR("x-sluice-view")).p);
    kit_expect(&w->kit, STR("a"), STR("OONNEE"));
    assert_int_equal(w->upper.runs, 1);
}

static void another_source_or_etl_makes_another_result(void **state)
{
    struct world *w = *state;

    kit_put(&w->source, STR("a"), STR("one"));
    kit_expect(&w->kit, STR("a"), STR("OONNEE"));
    kit_put(&w->source, STR("a"), STR("two"));
    kit_expect(&w->kit, STR("a"), STR("TTWWOO"));
    assert_int_equal(w->upper.runs, 2);
    put_meta(w, STR("etl/louder"), STR("{\"format\":1,\"id\":\"etl-2\"}"));
    kit_expect(&w->kit, STR("a"), STR("TTWWOO"));
    assert_int_equal(w->upper.runs, 3);
    kit_delete(&w->source, STR("a"));
    kit_expect_absent(&w->kit, STR("a"));
}

static void ranges_and_conditions_are_the_results(void **state)
{
    struct world *w = *state;
    struct obj_get_req req = kit_get_req(&w->kit, STR("a"));
    struct obj_get_res res = {0};
    struct str out;

    kit_put(&w->source, STR("a"), STR("one"));
    req.head.range = (struct range){RANGE_FROM_TO, 1, 3};
    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(&w->kit, res.body, true, &out), ERR_OK);
    assert_str(out, STR("ONN"));
    assert_int_equal(res.head.info.size, 6);
    req.head.range = (struct range){RANGE_FROM_TO, 6, 9};
    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_INVALID_RANGE);
    req.head.range = (struct range){RANGE_ALL};
    req.head.cond.if_none_match = etag_str(&res.head.info.etag);
    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_NOT_MODIFIED);
    assert_int_equal(w->upper.runs, 1);
}

static void a_listing_tells_true_sizes(void **state)
{
    struct world *w = *state;
    struct obj_list_req req = {
        .arena = &w->kit.arena, .bucket = w->kit.bucket, .prefix = STR(""), .delimiter = STR("/"), .max = 1000};
    struct obj_list_res res = {0};

    for (int i = 0; i < 30; i++)
        kit_put(&w->source, arena_printf(&w->source.arena, "k%02d", i), STR("abc"));
    kit_put(&w->source, STR("dir/x"), STR("abcd"));
    kit_put(&w->source, STR("k99bad"), STR("abcd"));
    assert_err(KIT_CALL(&w->kit, obj_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 32);
    assert_false(res.truncated);
    assert_true(res.entries[0].is_prefix);
    assert_str(res.entries[0].key, STR("dir/"));
    for (int i = 1; i <= 30; i++)
        assert_int_equal(res.entries[i].size, 6);
    assert_int_equal(res.entries[31].size, 0);
    assert_int_equal(w->upper.runs, 31);
    req.max = 5;
    req.after = STR("k10");
    assert_err(KIT_CALL(&w->kit, obj_list, &req, &res), ERR_OK);
    assert_int_equal(res.count, 5);
    assert_true(res.truncated);
    assert_str(res.entries[0].key, STR("k11"));
    assert_int_equal(w->upper.runs, 31);
}

static void nothing_is_written_to_it(void **state)
{
    struct world *w = *state;
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(&w->kit, STR("a"), NULL, &check);
    struct obj_put_res res;

    assert_err(KIT_CALL(&w->kit, obj_put, &req, &res), ERR_METHOD_NOT_ALLOWED);
    assert_err(kit_delete(&w->kit, STR("a")), ERR_METHOD_NOT_ALLOWED);
}

static void errors_are_told(void **state)
{
    struct world *w = *state;
    struct obj_get_req req = kit_get_req(&w->kit, STR("bad"));
    struct obj_get_res res = {0};
    struct meta_put_req gone = {.key = STR("etl/louder"), .revision = META_ANY, .remove = true};
    struct meta_put_res put;
    struct kit_call c = {0};

    kit_put(&w->source, STR("bad"), STR("x"));
    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_ETL);
    req.head.key = STR("none");
    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_NO_SUCH_KEY);
    meta_put(w->meta, &gone, &put, kit_begin(&w->kit, &c));
    assert_err(kit_wait(&w->kit, &c), ERR_OK);
    assert_err(KIT_CALL(&w->kit, obj_get, &req, &res), ERR_NO_SUCH_ETL);
}

static void settings_are_checked(void **state)
{
    static const char *const bad[] = {
        "{\"etl\":[\"resize\"]}",
        "{\"source\":\"b\"}",
        "{\"source\":\"b\",\"etl\":[]}",
        "{\"source\":\".sys\",\"etl\":[\"resize\"]}",
        "{\"source\":\"b\",\"etl\":[{\"args\":\"x\"}]}",
        "{\"source\":\"b\",\"etl\":[\"resize\"],\"sauce\":\"c\"}",
        "{\"source\":[\"b\"],\"etl\":[\"resize\"]}",
    };
    struct arena arena = ARENA_INIT;
    char why[DOC_WHY_MAX];
    struct view_conf conf;
    struct doc *d;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why[0] = 0;
        assert_err(doc_parse(&arena, str_z(bad[i]), &d, why), ERR_OK);
        assert_err(view_conf_parse(&arena, d, &conf, why), ERR_INVALID_ARGUMENT);
        assert_true(why[0]);
    }
    assert_err(
        doc_parse(&arena, STR("{source: b, etl: [resize, {name: \"@gzip\", args: \"9\"}], prefix: a/}"), &d, why),
        ERR_OK);
    assert_err(view_conf_parse(&arena, d, &conf, why), ERR_OK);
    assert_int_equal(conf.stage_count, 2);
    assert_str(conf.stages[1].args, STR("9"));
    arena_release(&arena);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(results_are_made_once),
        T(another_source_or_etl_makes_another_result),
        T(ranges_and_conditions_are_the_results),
        T(a_listing_tells_true_sizes),
        T(nothing_is_written_to_it),
        T(errors_are_told),
        cmocka_unit_test(settings_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
