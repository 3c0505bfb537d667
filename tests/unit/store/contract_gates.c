#include "upload_kit.h"

#include "base/clock.h"
#include "base/mem.h"

/* A gate that the test opens when it likes. */
struct test_gate {
    struct commit_gate gate;
    struct gate_visit *visit; /* the last one */
    struct call *call;        /* while somebody is in it */
    unsigned visits;
    bool cancelled;
};

static void gate_cancel(void *arg)
{
    struct test_gate *g = arg;
    struct call *c = g->call;

    g->cancelled = true;
    g->call = NULL;
    call_finish(c, ERR_CANCELLED);
}

static void gate_enter(struct commit_gate *gate, struct gate_visit *v, struct call *c)
{
    struct test_gate *g = CONTAINER(gate, struct test_gate, gate);

    assert_null(g->call);
    assert_true(v->mtime_ns == v->info->mtime_ns);
    assert_int_equal(v->layout.n, 0);
    g->visit = v;
    g->call = c;
    g->visits++;
    call_on_cancel(c, gate_cancel, g);
}

static struct test_gate gate_new(void)
{
    return (struct test_gate){.gate = {gate_enter}};
}

static void gate_wait(struct kit *k, struct test_gate *g)
{
    int64_t give_up = clock_wall_ns() + 60 * NS_PER_S;

    while (!g->call) {
        loop_turn(k->loop, 100);
        assert_true(clock_wall_ns() < give_up);
    }
}

static void gate_open(struct test_gate *g, enum err e)
{
    struct call *c = g->call;

    g->call = NULL;
    call_finish(c, e);
}

/* ---- reading in the gate ---- */

enum { READERS = 5 };

/* Some ranges at once, all but the first piece by piece. */
static void expect_readable(struct kit *k, struct gate_visit *v, struct str content)
{
    const struct range ranges[READERS] = {{0},
                                          {RANGE_FROM_TO, 0, content.n / 2},
                                          {RANGE_FROM, content.n / 3, 0},
                                          {RANGE_FROM_TO, content.n / 2, content.n},
                                          {.kind = RANGE_LAST, .last = 1}};
    struct obj_get_res res[READERS] = {0};
    struct kit_call calls[READERS] = {0};
    unsigned n = content.n ? READERS : 1;
    struct str got;

    for (unsigned i = 0; i < n; i++)
        v->read(v, &ranges[i], &k->arena, &res[i], kit_begin(k, &calls[i]));
    for (unsigned i = 0; i < n; i++) {
        uint64_t offset, len;
        assert_err(range_resolve(&ranges[i], content.n, &offset, &len), ERR_OK);
        assert_err(kit_wait(k, &calls[i]), ERR_OK);
        assert_true(res[i].head.offset == offset && res[i].head.len == len);
        assert_true(res[i].head.info.size == content.n);
        assert_err(kit_drain(k, res[i].body, i != 1, &got), ERR_OK);
        assert_str(got, str_n(content.p + offset, (size_t)len));
    }
    const struct range beyond = {RANGE_FROM, content.n, 0};
    v->read(v, &beyond, &k->arena, &res[0], kit_begin(k, &calls[0]));
    assert_err(kit_wait(k, &calls[0]), ERR_INVALID_RANGE);
    assert_null(res[0].body);
}

static void expect_info(const struct object_info *a, const struct object_info *b)
{
    assert_true(a->size == b->size);
    assert_true(a->mtime_ns == b->mtime_ns);
    assert_str(etag_str(&a->etag), etag_str(&b->etag));
    assert_true(digest_eq(&a->checksum.digest, &b->checksum.digest));
    assert_int_equal(a->checksum.type, b->checksum.type);
    assert_int_equal(a->attr_count, b->attr_count);
    for (uint32_t i = 0; i < a->attr_count; i++) {
        assert_str(a->attrs[i].name, b->attrs[i].name);
        assert_str(a->attrs[i].value, b->attrs[i].value);
    }
    assert_str(a->tags, b->tags);
    assert_int_equal(a->parts, b->parts);
    assert_str(a->upload_id, b->upload_id);
    assert_str(a->layout, b->layout);
}

/* The visit ends with its call. */
static struct object_info told_of(struct kit *k, const struct gate_visit *v)
{
    struct object_info told;

    object_info_copy(&k->arena, &told, v->info);
    return told;
}

/* ---- puts ---- */

struct gated_put {
    struct kit_call call;
    struct body_check check;
    struct obj_put_req req;
    struct obj_put_res res;
    struct source *body;
};

static const struct attr some_attrs[] = {{{"content-type", 12}, {"text/x", 6}},
                                         {{"x-amz-storage-class", 19}, {"COLD", 4}}};

static void put_begin(struct kit *k, struct gated_put *p, struct test_gate *g, struct str content)
{
    *p = (struct gated_put){.body = source_memory(content, NULL, NULL)};
    p->req = kit_put_req(k, STR("key"), p->body, &p->check);
    p->req.info = (struct object_info){.attrs = some_attrs, .attr_count = 2, .tags = STR("a=1")};
    p->req.gate = &g->gate;
    store_obj_put(k->store, &p->req, &p->res, kit_begin(k, &p->call));
}

static enum err put_end(struct kit *k, struct gated_put *p)
{
    enum err e = kit_wait(k, &p->call);

    source_close(p->body);
    return e;
}

static const size_t put_sizes[] = {0, 1, 5000, 16385, 300000, 3 << 20};
enum { PUT_SIZES = sizeof(put_sizes) / sizeof(put_sizes[0]) };

static void put_waits_in_its_gate_with_readable_content(void **state)
{
    struct kit *k = *state;

    for (size_t i = 0; i < PUT_SIZES; i++) {
        struct str content = kit_bytes(k, put_sizes[i], i);
        struct test_gate g = gate_new();
        struct gated_put p;

        put_begin(k, &p, &g, content);
        gate_wait(k, &g);
        kit_expect_absent(k, STR("key"));
        assert_false(g.visit->is_stale(g.visit));
        assert_int_equal(g.visit->part_count, 0);
        assert_str(g.visit->info->tags, STR("a=1"));
        struct etag etag = kit_etag(content);
        assert_str(etag_str(&g.visit->info->etag), etag_str(&etag));
        expect_readable(k, g.visit, content);
        g.visit->mtime_ns += 12345;
        struct object_info told = told_of(k, g.visit);
        told.mtime_ns = g.visit->mtime_ns;
        gate_open(&g, ERR_OK);
        assert_err(put_end(k, &p), ERR_OK);
        struct object_info now = kit_head(k, STR("key"));
        expect_info(&now, &told);
        expect_info(&p.res.info, &told);
        kit_expect(k, STR("key"), content);
        if (k->env->persistent) {
            kit_reopen(k);
            now = kit_head(k, STR("key"));
            expect_info(&now, &told);
            kit_expect(k, STR("key"), content);
        }
        assert_err(kit_delete(k, STR("key")), ERR_OK);
    }
}

static void refused_put_leaves_what_was(void **state)
{
    struct kit *k = *state;

    kit_put(k, STR("key"), STR("before"));
    for (size_t i = 0; i < PUT_SIZES; i++) {
        struct test_gate g = gate_new();
        struct gated_put p;

        put_begin(k, &p, &g, kit_bytes(k, put_sizes[i], i));
        gate_wait(k, &g);
        gate_open(&g, ERR_UNAVAILABLE);
        assert_err(put_end(k, &p), ERR_UNAVAILABLE);
        kit_expect(k, STR("key"), STR("before"));
    }
}

static void put_cancelled_in_its_gate_leaves_what_was(void **state)
{
    struct kit *k = *state;

    kit_put(k, STR("key"), STR("before"));
    for (size_t i = 0; i < PUT_SIZES; i++) {
        struct test_gate g = gate_new();
        struct gated_put p;

        put_begin(k, &p, &g, kit_bytes(k, put_sizes[i], i));
        gate_wait(k, &g);
        call_cancel(&p.call.call);
        assert_err(put_end(k, &p), ERR_CANCELLED);
        assert_true(g.cancelled);
        kit_expect(k, STR("key"), STR("before"));
    }
}

static void condition_holds_behind_the_gate(void **state)
{
    struct kit *k = *state;
    struct test_gate g = gate_new();
    struct gated_put p = {0};

    p.body = source_memory(STR("mine"), NULL, NULL);
    p.req = kit_put_req(k, STR("key"), p.body, &p.check);
    p.req.cond = kit_if_none_match("*");
    p.req.gate = &g.gate;
    store_obj_put(k->store, &p.req, &p.res, kit_begin(k, &p.call));
    gate_wait(k, &g);
    kit_put(k, STR("key"), STR("theirs"));
    gate_open(&g, ERR_OK);
    assert_err(put_end(k, &p), ERR_PRECONDITION);
    kit_expect(k, STR("key"), STR("theirs"));
}

/* ---- layouts ---- */

static void expect_bare(struct kit *k, struct object_info told, struct str layout)
{
    struct obj_get_req req = kit_get_req(k, STR("key"));
    struct obj_list_req list = {.arena = &k->arena, .bucket = k->bucket, .max = 10};
    struct obj_list_res page = {0};
    struct obj_get_res res = {0};
    struct str body;

    told.layout = layout;
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
    expect_info(&res.head.info, &told);
    assert_true(res.head.offset == 0 && res.head.len == told.size);
    assert_err(kit_drain(k, res.body, true, &body), ERR_OK);
    assert_int_equal(body.n, 0);
    if (told.size > 10) {
        req.head.range = (struct range){RANGE_FROM_TO, 5, 9};
        assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
        assert_true(res.head.offset == 5 && res.head.len == 5);
        assert_err(kit_drain(k, res.body, false, &body), ERR_OK);
        assert_int_equal(body.n, 0);
    }
    req.head.range = (struct range){RANGE_FROM, told.size, 0};
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_INVALID_RANGE);
    assert_err(KIT_CALL(k, obj_list, &list, &page), ERR_OK);
    assert_int_equal(page.count, 1);
    assert_true(page.entries[0].size == told.size && page.entries[0].mtime_ns == told.mtime_ns);
    assert_str(etag_str(&page.entries[0].etag), etag_str(&told.etag));
}

static void put_is_committed_without_content(void **state)
{
    struct kit *k = *state;

    for (size_t i = 0; i < PUT_SIZES; i++) {
        struct str content = kit_bytes(k, put_sizes[i], i);
        struct test_gate g = gate_new();
        struct gated_put p;

        if (i % 2) /* in the place of something */
            kit_put(k, STR("key"), kit_bytes(k, 40000, 9));
        put_begin(k, &p, &g, content);
        gate_wait(k, &g);
        expect_readable(k, g.visit, content);
        struct object_info told = told_of(k, g.visit);
        g.visit->layout = STR("ec 4+2 of something");
        gate_open(&g, ERR_OK);
        assert_err(put_end(k, &p), ERR_OK);
        expect_bare(k, told, STR("ec 4+2 of something"));
        assert_str(p.res.info.layout, STR("ec 4+2 of something"));
        if (k->env->persistent) {
            kit_reopen(k);
            expect_bare(k, told, STR("ec 4+2 of something"));
        }
        if (i % 2) {
            kit_put(k, STR("key"), STR("content again"));
            kit_expect(k, STR("key"), STR("content again"));
        }
        assert_err(kit_delete(k, STR("key")), ERR_OK);
    }
}

/* ---- completes ---- */

struct gated_complete {
    struct kit_call call;
    struct upload_complete_req req;
    struct upload_complete_res res;
};

static void complete_begin(struct upload *u, struct gated_complete *c, struct test_gate *g)
{
    *c = (struct gated_complete){.req = upload_complete_req(u)};
    c->req.gate = &g->gate;
    store_upload_complete(u->k->store, &c->req, &c->res, kit_begin(u->k, &c->call));
}

static struct upload three_parts(struct kit *k)
{
    struct upload u = upload_begin(k, STR("key"), HASH_CRC32C, CHECKSUM_FULL_OBJECT);

    upload_add(&u, 2, full_part(0));
    upload_add(&u, 3, full_part(1));
    upload_add(&u, 7, kit_bytes(k, 12345, 2));
    return u;
}

static void expect_parts(struct kit *k, const struct upload *u, const struct part_info *parts, uint32_t n)
{
    (void)k;
    assert_int_equal(n, u->n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(parts[i].number, u->stored[i].number);
        assert_true(parts[i].size == u->stored[i].size);
        assert_true(parts[i].mtime_ns == u->stored[i].mtime_ns);
        assert_str(etag_str(&parts[i].etag), etag_str(&u->stored[i].etag));
        assert_true(digest_eq(&parts[i].checksum.digest, &u->stored[i].checksum.digest));
    }
}

static void expect_parts_stored(struct kit *k, const struct upload *u)
{
    struct obj_head_req req = kit_get_req(k, STR("key")).head;
    struct obj_head_res res = {0};

    req.parts = true;
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_OK);
    expect_parts(k, u, res.parts, res.part_count);
    req.parts = false;
    req.part_number = 3;
    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_OK);
    assert_true(res.offset == 5 << 20 && res.len == 5 << 20);
    assert_int_equal(res.part.number, 3);
}

static void complete_waits_in_its_gate(void **state)
{
    struct kit *k = *state;

    for (int bare = 0; bare < 2; bare++) {
        struct upload u = three_parts(k);
        struct str content = upload_content(&u);
        struct test_gate g = gate_new();
        struct gated_complete c;

        complete_begin(&u, &c, &g);
        gate_wait(k, &g);
        if (!bare)
            kit_expect_absent(k, STR("key"));
        assert_false(g.visit->is_stale(g.visit));
        expect_parts(k, &u, g.visit->parts, g.visit->part_count);
        assert_str(g.visit->info->upload_id, u.id);
        expect_readable(k, g.visit, content);
        g.visit->mtime_ns += 777;
        struct object_info told = told_of(k, g.visit);
        told.mtime_ns += 777;
        if (bare)
            g.visit->layout = STR("elsewhere");
        gate_open(&g, ERR_OK);
        assert_err(kit_wait(k, &c.call), ERR_OK);
        for (int again = 0; again < (k->env->persistent ? 2 : 1); again++) {
            if (bare)
                expect_bare(k, told, STR("elsewhere"));
            else
                kit_expect(k, STR("key"), content);
            struct object_info now = kit_head(k, STR("key"));
            assert_true(now.mtime_ns == told.mtime_ns);
            expect_parts_stored(k, &u);
            if (k->env->persistent)
                kit_reopen(k);
        }
        complete_begin(&u, &c, &g); /* a repeat finds what there is */
        assert_err(kit_wait(k, &c.call), ERR_OK);
        assert_int_equal(g.visits, 1);
        assert_true(c.res.info.mtime_ns == told.mtime_ns);
    }
    kit_put(k, STR("key"), STR("after"));
    kit_expect(k, STR("key"), STR("after"));
}

static void refused_complete_can_be_repeated(void **state)
{
    struct kit *k = *state;
    struct upload u = three_parts(k);

    for (int cancel = 0; cancel < 2; cancel++) {
        struct test_gate g = gate_new();
        struct gated_complete c;
        complete_begin(&u, &c, &g);
        gate_wait(k, &g);
        if (cancel)
            call_cancel(&c.call.call);
        else
            gate_open(&g, ERR_UNAVAILABLE);
        assert_err(kit_wait(k, &c.call), cancel ? ERR_CANCELLED : ERR_UNAVAILABLE);
        assert_int_equal(g.cancelled, cancel);
        kit_expect_absent(k, STR("key"));
    }
    upload_complete(&u);
    kit_expect(k, STR("key"), upload_content(&u));
}

/* Told by the gate, or found out behind it. */
static void parts_that_change_bring_another_visit(void **state)
{
    struct kit *k = *state;

    for (int told = 0; told < 2; told++) {
        struct upload u = three_parts(k);
        struct test_gate g = gate_new();
        struct gated_complete c;

        complete_begin(&u, &c, &g);
        gate_wait(k, &g);
        assert_err(upload_put(&u, 9, STR("not asked for"), &(struct part_info){0}), ERR_OK);
        assert_true(g.visit->is_stale(g.visit));
        gate_open(&g, told ? ERR_AGAIN : ERR_OK);
        gate_wait(k, &g);
        assert_false(g.visit->is_stale(g.visit));
        expect_readable(k, g.visit, upload_content(&u));
        gate_open(&g, ERR_OK);
        assert_err(kit_wait(k, &c.call), ERR_OK);
        assert_int_equal(g.visits, 2);
        kit_expect(k, STR("key"), upload_content(&u));
    }
}

static void twin_complete_finds_what_the_first_made(void **state)
{
    struct kit *k = *state;
    struct upload u = three_parts(k);
    struct test_gate g[2] = {gate_new(), gate_new()};
    struct gated_complete c[2];

    for (int i = 0; i < 2; i++) {
        complete_begin(&u, &c[i], &g[i]);
        gate_wait(k, &g[i]);
    }
    gate_open(&g[0], ERR_OK);
    assert_err(kit_wait(k, &c[0].call), ERR_OK);
    assert_true(g[1].visit->is_stale(g[1].visit));
    gate_open(&g[1], ERR_AGAIN);
    assert_err(kit_wait(k, &c[1].call), ERR_OK);
    assert_int_equal(g[1].visits, 1);
    assert_true(c[1].res.info.mtime_ns == c[0].res.info.mtime_ns);
    kit_expect(k, STR("key"), upload_content(&u));
}

/* ---- copies ---- */

struct gated_copy {
    struct kit_call call;
    struct obj_copy_req req;
    struct obj_copy_res res;
};

static void copy_begin(struct kit *k, struct gated_copy *c, struct test_gate *g, enum hash_alg checksum)
{
    *c = (struct gated_copy){.req = {.arena = &k->arena,
                                     .src_bucket = k->bucket,
                                     .src_key = STR("source"),
                                     .src_cond = COND_INIT,
                                     .bucket = k->bucket,
                                     .key = STR("key"),
                                     .cond = COND_INIT,
                                     .checksum = checksum,
                                     .size_max = PUT_SIZE_MAX,
                                     .gate = &g->gate}};
    store_obj_copy(k->store, &c->req, &c->res, kit_begin(k, &c->call));
}

static void copy_waits_in_its_gate_once(void **state)
{
    static const enum hash_alg algs[] = {HASH_NONE, HASH_SHA256}; /* the latter can't share what is stored */
    struct kit *k = *state;

    if (k->env->skip & CONTRACT_NO_COPY)
        skip();
    for (size_t i = 0; i < PUT_SIZES * 4; i++) {
        struct str content = kit_bytes(k, put_sizes[i / 4], i);
        struct test_gate g = gate_new();
        struct gated_copy c;
        bool bare = i & 2;

        kit_put(k, STR("source"), content);
        copy_begin(k, &c, &g, algs[i % 2]);
        gate_wait(k, &g);
        kit_expect_absent(k, STR("key"));
        expect_readable(k, g.visit, content);
        g.visit->mtime_ns += 99;
        struct object_info told = told_of(k, g.visit);
        told.mtime_ns += 99;
        if (bare)
            told.layout = g.visit->layout = STR("elsewhere");
        gate_open(&g, ERR_OK);
        assert_err(kit_wait(k, &c.call), ERR_OK);
        assert_int_equal(g.visits, 1);
        struct object_info now = kit_head(k, STR("key"));
        expect_info(&now, &told);
        if (!bare)
            kit_expect(k, STR("key"), content);
        kit_expect(k, STR("source"), content);
        assert_err(kit_delete(k, STR("source")), ERR_OK);
        if (!bare)
            kit_expect(k, STR("key"), content);
        assert_err(kit_delete(k, STR("key")), ERR_OK);
    }
}

static void copy_of_parts_waits_in_its_gate(void **state)
{
    struct kit *k = *state;

    if (k->env->skip & CONTRACT_NO_COPY)
        skip();
    for (int bare = 0; bare < 2; bare++) {
        struct test_gate g = gate_new();
        struct gated_copy c;

        struct upload v = upload_begin(k, STR("source"), HASH_NONE, CHECKSUM_NONE);
        upload_add(&v, 1, full_part(3));
        upload_add(&v, 2, kit_bytes(k, 777, 4));
        upload_complete(&v);
        copy_begin(k, &c, &g, HASH_NONE);
        gate_wait(k, &g);
        expect_readable(k, g.visit, upload_content(&v));
        if (g.visit->info->parts)
            expect_parts(k, &v, g.visit->parts, g.visit->part_count);
        if (bare)
            g.visit->layout = STR("elsewhere");
        gate_open(&g, ERR_OK);
        assert_err(kit_wait(k, &c.call), ERR_OK);
        kit_expect(k, STR("source"), upload_content(&v));
        assert_err(kit_delete(k, STR("source")), ERR_OK);
        if (!bare)
            kit_expect(k, STR("key"), upload_content(&v));
        assert_err(kit_delete(k, STR("key")), ERR_OK);
    }
}

static void refused_copy_leaves_nothing(void **state)
{
    static const enum hash_alg algs[] = {HASH_NONE, HASH_SHA256};
    struct kit *k = *state;

    if (k->env->skip & CONTRACT_NO_COPY)
        skip();
    kit_put(k, STR("source"), kit_bytes(k, 300000, 1));
    for (int i = 0; i < 4; i++) {
        struct test_gate g = gate_new();
        struct gated_copy c;
        copy_begin(k, &c, &g, algs[i % 2]);
        gate_wait(k, &g);
        if (i & 2)
            call_cancel(&c.call.call);
        else
            gate_open(&g, ERR_UNAVAILABLE);
        assert_err(kit_wait(k, &c.call), i & 2 ? ERR_CANCELLED : ERR_UNAVAILABLE);
        kit_expect_absent(k, STR("key"));
    }
    kit_expect(k, STR("source"), kit_bytes(k, 300000, 1));
}

int contract_gates(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(put_waits_in_its_gate_with_readable_content),
        KIT_TEST(refused_put_leaves_what_was),
        KIT_TEST(put_cancelled_in_its_gate_leaves_what_was),
        KIT_TEST(condition_holds_behind_the_gate),
        KIT_TEST(put_is_committed_without_content),
        KIT_TEST(complete_waits_in_its_gate),
        KIT_TEST(refused_complete_can_be_repeated),
        KIT_TEST(parts_that_change_bring_another_visit),
        KIT_TEST(twin_complete_finds_what_the_first_made),
        KIT_TEST(copy_waits_in_its_gate_once),
        KIT_TEST(copy_of_parts_waits_in_its_gate),
        KIT_TEST(refused_copy_leaves_nothing),
    };

    return kit_run(env, "gates", tests, sizeof(tests) / sizeof(tests[0]));
}
