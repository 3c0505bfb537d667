#include "unit.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "engine_box.h"
#include "etl/record.h"
#include "http/serve.h"
#include "store/memstore.h"

struct box box;

static void raise_flag(struct call *call)
{
    CONTAINER(call, struct flag, call)->done = true;
}

struct call *flag_begin(struct flag *f)
{
    loop_turn(ask_loop, 0); /* its clock may have stood still */
    *f = (struct flag){.done = false};
    call_begin(&f->call, ask_loop, raise_flag);
    return &f->call;
}

enum err flag_wait(struct flag *f)
{
    ask_until(&f->done);
    return f->call.err;
}

/* ---- the world ---- */

static void put_object(struct loop *loop, struct store *store, struct str key, uint64_t size)
{
    struct gen gen;
    struct body_check check = {0};
    struct flag f = {.done = false};
    struct obj_put_res res;

    gen_init(&gen, size, true);
    struct obj_put_req req = {.arena = &box.arena,
                              .bucket = box.bucket,
                              .key = key,
                              .cond = COND_INIT,
                              .body = &gen.source,
                              .check = &check,
                              .size_max = OBJECT_SIZE_MAX};
    call_begin(&f.call, loop, raise_flag);
    store_obj_put(store, &req, &res, &f.call);
    while (!f.done)
        loop_turn(loop, 10);
    assert_err(f.call.err, ERR_OK);
}

/* A store of the loop with both objects: stores in memory share nothing. */
static struct store *store_on(struct loop *loop)
{
    loop_adopt(loop);
    struct store *s = memstore_new(loop);
    put_object(loop, s, STR("small"), BOX_SMALL);
    put_object(loop, s, STR("big"), BOX_BIG);
    loop_adopt(ask_loop);
    return s;
}

static size_t nodes(void *arg, struct arena *arena, const struct str **ids)
{
    struct str *one = ARENA_NEW(arena, struct str);

    (void)arg;
    *one = STR("n1");
    *ids = one;
    return 1;
}

void box_open_engine(bool with_runtime)
{
    char why[ETL_WHY_MAX];

    fake_open(&box.fake);
    box.engine_loop = loop_new();
    box.loops++;
    box.engine_store = store_on(box.engine_loop);
    struct etls_conf conf = {.meta = box.meta,
                             .io = box.io,
                             .cpu = box.cpu,
                             .runtime = with_runtime ? &box.fake.runtime : NULL,
                             .self = STR("n1"),
                             .loop = box.engine_loop,
                             .all = box.engine_store,
                             .buckets = box.buckets};
    assert_err(etls_open(&conf, &box.engine, why), ERR_OK);
    box.lane = etls_lane(box.engine, ask_loop, box.store);
}

void box_close_engine(void)
{
    etl_door_close(box.lane);
    etls_close(box.engine);
    box.engine = NULL;
    loop_adopt(box.engine_loop);
    store_close(box.engine_store);
    loop_free(box.engine_loop);
    loop_adopt(ask_loop);
    ask_turn_ms(5); /* what was posted to a lane that is closed */
    fake_end(&box.fake);
}

int box_setup(void **state)
{
    struct flag f = {.done = false};
    struct bucket_create_res res;

    memset(&box, 0, sizeof(box));
    box.fds = fd_count();
    box.loops = 1;
    hash_setup();
    ask_setup(state);
    box.io = offload_new("io", 4, 4096);
    box.cpu = offload_new("cpu", 2, 1024);
    box.meta = meta_memory_new();
    assert_err(buckets_open(box.meta, &box.buckets), ERR_OK);
    struct bucket_create_req req = {.arena = &box.arena, .name = STR("b"), .owner = STR("me")};
    buckets_create(box.buckets, &req, &res, flag_begin(&f));
    assert_err(flag_wait(&f), ERR_OK);
    box.bucket = (struct bucket_id){.uid = res.bucket.id.uid, .name = STR("b")};
    box.store = store_on(ask_loop);
    box.env = (struct etl_admin_env){.loop = ask_loop, .meta = box.meta, .nodes = nodes};
    box_open_engine(true);
    return 0;
}

int box_teardown(void **state)
{
    if (box.engine)
        box_close_engine();
    store_close(box.store);
    meta_close(box.meta);
    buckets_close(box.buckets);
    offload_free(box.io);
    offload_free(box.cpu);
    arena_release(&box.arena);
    int e = ask_teardown(state);
    assert_int_equal(fd_count(), box.fds + box.loops);
    return e;
}

/* ---- ETLs ---- */

void making_begin(struct making *m, const char *name, const char *mode, const char *more)
{
    *m = (struct making){.req = {.arena = &box.arena, .owner = STR("me")}};
    m->req.text =
        arena_printf(&box.arena, "name: %s\nruntime:\n  image: \"i:1\"\n  command: [%s]\n%s", name, mode, more);
    etl_create(&box.env, &m->req, &m->res, flag_begin(&m->flag));
}

void make(const char *name, const char *mode, const char *more)
{
    struct making m;

    making_begin(&m, name, mode, more);
    if (flag_wait(&m.flag) != ERR_OK)
        fail_msg("%s: %s: %s", name, err_name(m.flag.call.err), m.res.why);
}

static struct etl_name_req named(const char *name)
{
    return (struct etl_name_req){&box.arena, str_z(name)};
}

enum err stop(const char *name)
{
    struct etl_name_req req = named(name);
    struct flag f;

    etl_stop(&box.env, &req, flag_begin(&f));
    return flag_wait(&f);
}

enum err start(const char *name)
{
    struct etl_name_req req = named(name);
    struct etl_create_res res;
    struct flag f;

    etl_start(&box.env, &req, &res, flag_begin(&f));
    return flag_wait(&f);
}

enum err drop(const char *name)
{
    struct etl_name_req req = named(name);
    struct flag f;

    etl_delete(&box.env, &req, flag_begin(&f));
    return flag_wait(&f);
}

static bool get_meta(struct str key, struct str *value)
{
    struct meta_get_req req = {&box.arena, key};
    struct meta_get_res res;
    struct flag f = {.done = false};

    meta_get(box.meta, &req, &res, flag_begin(&f));
    enum err e = flag_wait(&f);
    if (e == ERR_OK)
        *value = res.value;
    else
        assert_err(e, ERR_NOT_FOUND);
    return e == ERR_OK;
}

bool look(const char *name, struct etl_node_state *out)
{
    struct str text;

    if (!get_meta(etl_at_key(&box.arena, str_z(name), STR("n1")), &text))
        return false;
    assert_err(etl_state_read(&box.arena, text, out), ERR_OK);
    return true;
}

void look_until(const char *name, const char *state, uint32_t restarts)
{
    struct etl_node_state s = {.state = STR("none")};
    uint64_t limit = loop_now_ns(ask_loop) + BOX_WAIT_MS * UINT64_C(1000000);

    while (!look(name, &s) || !str_eq(s.state, str_z(state)) || s.restarts < restarts) {
        ask_turn_ms(10);
        if (loop_now_ns(ask_loop) > limit)
            fail_msg("%s is " STR_FMT ", %u restarts: " STR_FMT, name, STR_ARG(s.state), s.restarts, STR_ARG(s.error));
    }
}

void put_meta(const char *key, struct str value, bool remove)
{
    struct meta_put_req req = {.key = str_z(key), .value = value, .revision = META_ANY, .remove = remove};
    struct meta_put_res res;
    struct flag f = {.done = false};

    meta_put(box.meta, &req, &res, flag_begin(&f));
    assert_err(flag_wait(&f), ERR_OK);
}

bool meta_has(const char *key)
{
    struct str value;

    return get_meta(str_z(key), &value);
}

/* ---- objects ---- */

static void trip_init(struct trip *t, const char *stages)
{
    *t = (struct trip){.req = {.arena = &t->arena, .stages = t->stages, .bucket = STR("b"), .key = STR("key")}};
    for (struct str rest = str_z(stages); rest.n;) {
        struct etl_stage *s = &t->stages[t->req.stage_count++];
        s->name = str_split(&rest, ',');
        s->args = STR("");
    }
}

void trip_object(struct trip *t, const char *stages, const char *key)
{
    trip_init(t, stages);
    t->req.key = str_z(key);
    t->object.head = (struct obj_head_req){
        .arena = &t->arena, .bucket = box.bucket, .key = str_z(key), .cond = COND_INIT, .range = {.kind = RANGE_ALL}};
    t->req.object = &t->object;
}

void trip_body(struct trip *t, const char *stages, uint64_t size, bool tell_size)
{
    trip_init(t, stages);
    gen_init(&t->gen, size, tell_size);
    t->req.body = &t->gen.source;
    t->req.size = t->gen.source.size;
}

void trip_begin(struct trip *t)
{
    etl_run(box.lane, &t->req, &t->res, flag_begin(&t->flag));
}

enum err trip_wait(struct trip *t)
{
    return flag_wait(&t->flag);
}

static void keep(struct trip *t, const char *p, size_t n)
{
    if (t->body_n + n > t->body_cap)
        t->body = mem_realloc(t->body, t->body_cap = t->body_cap * 2 + n);
    memcpy(t->body + t->body_n, p, n);
    t->body_n += n;
}

enum err trip_read(struct trip *t, size_t len)
{
    free(t->buf);
    t->buf = mem_alloc(len);
    source_read(t->res.body, t->buf, len, &t->n, flag_begin(&t->read));
    enum err e = flag_wait(&t->read);
    if (e == ERR_OK && t->n)
        keep(t, t->buf, t->n);
    return e;
}

enum err trip_drain(struct trip *t)
{
    for (unsigned i = 0;; i++) {
        struct span span = {.kind = SPAN_READ};
        if (i % 2)
            source_peek(t->res.body, &span);
        if (span.kind == SPAN_END)
            return ERR_OK;
        if (span.kind == SPAN_MEMORY) {
            keep(t, span.p, (size_t)span.len);
            source_consume(t->res.body, span.len);
            continue;
        }
        enum err e = trip_read(t, 50000);
        if (e != ERR_OK || t->n == 0)
            return e;
    }
}

enum err trip_run(struct trip *t)
{
    trip_begin(t);
    enum err e = trip_wait(t);
    return e == ERR_OK ? trip_drain(t) : e;
}

void trip_end(struct trip *t)
{
    source_close(t->res.body);
    t->res.body = NULL;
    free(t->body);
    free(t->buf);
    t->body = t->buf = NULL;
    arena_release(&t->arena);
}

bool trip_is(const struct trip *t, size_t n, unsigned times, bool upper)
{
    if (t->body_n != n * times)
        return false;
    for (size_t i = 0; i < t->body_n; i++) {
        char c = serve_pattern(i / times);
        if (t->body[i] != (upper ? (char)toupper((unsigned char)c) : c))
            return false;
    }
    return true;
}

size_t str_count(struct str s, const char *needle)
{
    size_t n = 0;

    for (size_t at; (at = str_find(s, str_z(needle))) != SIZE_MAX; n++)
        s = str_skip(s, at + strlen(needle));
    return n;
}
