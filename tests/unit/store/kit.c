#include "kit.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { HANG_S = 120 };

static struct kit kit;
static uint64_t last_uid = 1000;

int kit_setup(void **state)
{
    kit.bucket = (struct bucket_id){++last_uid, STR("contract")};
    *state = &kit;
    return 0;
}

int kit_teardown(void **state)
{
    struct kit *k = *state;
    struct bucket_purge_req req = {.arena = &k->arena, .bucket = k->bucket, .objects = true};
    struct bucket_purge_res res;

    if (!(k->env->skip & CONTRACT_NO_PURGE))
        assert_err(KIT_CALL(k, bucket_purge, &req, &res), ERR_OK);
    arena_release(&k->arena);
    return 0;
}

int kit_run(struct contract_env *env, const char *group, const struct CMUnitTest *tests, size_t n)
{
    int failed;

    kit = (struct kit){.env = env, .loop = env->loop, .store = env->open(env)};
    failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    env->close(env, kit.store);
    return failed;
}

void kit_reopen(struct kit *k)
{
    k->env->close(k->env, k->store);
    k->store = k->env->open(k->env);
}

/* ---- calls ---- */

static void kit_done(struct call *c)
{
    CONTAINER(c, struct kit_call, call)->done = true;
}

struct call *kit_begin(struct kit *k, struct kit_call *c)
{
    c->done = false;
    call_begin(&c->call, k->loop, kit_done);
    return &c->call;
}

enum err kit_wait(struct kit *k, struct kit_call *c)
{
    int64_t give_up = clock_wall_ns() + HANG_S * NS_PER_S;

    while (!c->done) {
        loop_turn(k->loop, 1000);
        assert_true(clock_wall_ns() < give_up);
    }
    return c->call.err;
}

void kit_turns(struct kit *k, int n)
{
    while (n-- > 0)
        loop_turn(k->loop, 1);
}

/* ---- bodies ---- */

struct str kit_bytes(struct kit *k, size_t n, uint64_t seed)
{
    char *p = arena_alloc(&k->arena, n + 8);
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (size_t i = 0; i < n; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(p + i, &x, 8);
    }
    return str_n(p, n);
}

static void kit_source_give(struct kit_source *s, struct call *c)
{
    size_t left = s->content.n - s->at;
    size_t n = s->len < left ? s->len : left;

    if (s->step && n > s->step)
        n = s->step;
    if (s->at < s->stop_at && n > s->stop_at - s->at)
        n = s->stop_at - s->at;
    if (n)
        memcpy(s->buf, s->content.p + s->at, n);
    s->at += n;
    *s->n = n;
    if (left == 0 && s->check) {
        unsigned i = s->check->want_count++;
        s->check->want[i].digest = s->last;
        s->check->want[i].err = ERR_BAD_DIGEST;
        s->check = NULL;
    }
    call_finish(c, ERR_OK);
}

static void kit_source_cancel(void *arg)
{
    struct kit_source *s = arg;
    struct call *c = s->waiting;

    s->waiting = NULL;
    call_finish(c, ERR_CANCELLED);
}

static void kit_source_read(struct source *src, void *buf, size_t len, size_t *n, struct call *c)
{
    struct kit_source *s = CONTAINER(src, struct kit_source, source);

    assert_null(s->waiting);
    assert_true(len > 0);
    s->buf = buf, s->len = len, s->n = n;
    if (s->at != s->stop_at) {
        kit_source_give(s, c);
    } else if (s->fail != ERR_OK) {
        call_finish(c, s->fail);
    } else {
        s->waiting = c;
        call_on_cancel(c, kit_source_cancel, s);
    }
}

static void kit_source_close(struct source *src)
{
    (void)src;
    assert_true(!"a store does not close the body it is given");
}

void kit_source_go_on(struct kit_source *s)
{
    struct call *c = s->waiting;

    s->stop_at = SIZE_MAX;
    s->waiting = NULL;
    if (c)
        kit_source_give(s, c);
}

struct kit_source *kit_source(struct kit *k, struct str content)
{
    static const struct source_ops ops = {"kit", NULL, NULL, NULL, kit_source_read, kit_source_close};
    struct kit_source *s = ARENA_NEW(&k->arena, struct kit_source);

    s->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    s->content = content;
    s->stop_at = SIZE_MAX;
    return s;
}

/* One step of reading: the number of bytes, 0 at the end. */
static enum err drain_step(struct kit *k, struct source *s, bool peek, char *buf, size_t room, size_t *n)
{
    struct kit_call c = {0};
    struct span span = {.kind = SPAN_READ};

    if (peek)
        source_peek(s, &span);
    for (; span.kind == SPAN_WAIT; source_peek(s, &span)) {
        source_prepare(s, kit_begin(k, &c));
        enum err e = kit_wait(k, &c);
        if (e != ERR_OK)
            return e;
    }
    *n = span.len < room ? (size_t)span.len : room;
    switch (span.kind) {
    case SPAN_END:
        *n = 0;
        return ERR_OK;
    case SPAN_MEMORY:
        memcpy(buf, span.p, *n);
        source_consume(s, *n);
        return ERR_OK;
    case SPAN_FILE:
        assert_int_equal(pread(span.fd, buf, *n, (off_t)span.offset), *n);
        source_consume(s, *n);
        return ERR_OK;
    case SPAN_SOCKET:
    case SPAN_WAIT:
    case SPAN_READ:
        break;
    }
    source_read(s, buf, room, n, kit_begin(k, &c));
    return kit_wait(k, &c);
}

enum err kit_drain(struct kit *k, struct source *s, bool peek, struct str *out)
{
    size_t cap = s->size == SOURCE_SIZE_UNKNOWN ? 64u << 20 : (size_t)s->size + 1, n = 1;
    char *buf = arena_alloc(&k->arena, cap);
    enum err e = ERR_OK;

    *out = str_n(buf, 0);
    while (e == ERR_OK && n) {
        assert_true(out->n < cap);
        e = drain_step(k, s, peek, buf + out->n, cap - out->n, &n);
        if (e == ERR_OK)
            out->n += n;
    }
    source_close(s);
    return e;
}

/* ---- objects ---- */

struct obj_put_req kit_put_req(struct kit *k, struct str key, struct source *body, struct body_check *check)
{
    return (struct obj_put_req){.arena = &k->arena,
                                .bucket = k->bucket,
                                .key = key,
                                .cond = COND_INIT,
                                .body = body,
                                .check = check,
                                .size_max = PUT_SIZE_MAX};
}

struct obj_get_req kit_get_req(struct kit *k, struct str key)
{
    return (struct obj_get_req){{.arena = &k->arena, .bucket = k->bucket, .key = key, .cond = COND_INIT}};
}

struct object_info kit_put(struct kit *k, struct str key, struct str content)
{
    struct body_check check = {0};
    struct source *body = source_memory(content, NULL, NULL);
    struct obj_put_req req = kit_put_req(k, key, body, &check);
    struct obj_put_res res = {0};

    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
    source_close(body);
    return res.info;
}

struct object_info kit_head(struct kit *k, struct str key)
{
    struct obj_head_req req = kit_get_req(k, key).head;
    struct obj_head_res res = {0};

    assert_err(KIT_CALL(k, obj_head, &req, &res), ERR_OK);
    return res.info;
}

enum err kit_delete(struct kit *k, struct str key)
{
    struct obj_delete_req req = {.arena = &k->arena, .bucket = k->bucket, .key = key, .cond = COND_INIT};
    struct obj_delete_res res;

    return KIT_CALL(k, obj_delete, &req, &res);
}

void kit_expect(struct kit *k, struct str key, struct str content)
{
    struct obj_get_req req = kit_get_req(k, key);
    struct str body;

    for (int peek = 0; peek < 2; peek++) {
        struct obj_get_res res = {0};
        assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_OK);
        assert_int_equal(res.head.info.size, content.n);
        assert_int_equal(res.head.offset, 0);
        assert_int_equal(res.head.len, content.n);
        assert_err(kit_drain(k, res.body, peek, &body), ERR_OK);
        assert_str(body, content);
    }
}

void kit_expect_absent(struct kit *k, struct str key)
{
    struct obj_get_req req = kit_get_req(k, key);
    struct obj_get_res res = {0};
    struct obj_head_res head = {0};

    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_NO_SUCH_KEY);
    assert_null(res.body);
    assert_err(KIT_CALL(k, obj_head, &req.head, &head), ERR_NO_SUCH_KEY);
}

struct etag kit_etag(struct str content)
{
    struct digest d;
    struct etag e;

    hash_of(HASH_MD5, content, &d);
    etag_from_md5(&e, d.b);
    return e;
}

struct cond kit_if_match(const char *list)
{
    return (struct cond){str_z(list), STR_NONE, COND_NO_TIME, COND_NO_TIME};
}

struct cond kit_if_none_match(const char *list)
{
    return (struct cond){STR_NONE, str_z(list), COND_NO_TIME, COND_NO_TIME};
}
