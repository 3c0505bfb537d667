#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kit.h"
#include "rpc_fixture.h"
#include "store/memstore.h"
#include "store/nodeauth.h"

/* A target whose store is in memory, or `probe`, which looks at what arrives. */
static struct rpc_fixture f;
static struct store *memory;
static struct contract_env env;
static struct kit kit;

static int setup_over(struct store *mine)
{
    rpc_fixture_open(&f, kit.loop, mine);
    kit.store = f.remote;
    kit.bucket = (struct bucket_id){7, STR("bucket")};
    return 0;
}

static int setup(void **state)
{
    (void)state;
    memory = memstore_new(kit.loop);
    return setup_over(memory);
}

static int teardown(void **state)
{
    (void)state;
    rpc_fixture_close(&f);
    store_close(memory);
    memory = NULL;
    arena_release(&kit.arena);
    return 0;
}

/* ---- a store that keeps what it was asked ---- */

static struct probe {
    struct store store;
    struct obj_import_req import;
    struct str content;
    struct source_fill fill;
    size_t n;
    char id[64];
    struct source *body; /* that obj_get answers with */
    uint64_t len;
} probe;

static void probe_import(struct store *s, const struct obj_import_req *req, struct obj_import_res *res, struct call *c)
{
    char *buf = arena_alloc(&kit.arena, 1 << 20);

    (void)s;
    probe.import = *req;
    probe.content.p = buf;
    res->kept = true;
    source_fill(&probe.fill, req->body, buf, 1 << 20, &probe.n, c);
}

static void probe_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    (void)s;
    snprintf(probe.id, sizeof(probe.id), STR_FMT, STR_ARG(req->head.arena->id));
    *res = (struct obj_get_res){.head.info.size = probe.len, .head.len = probe.len, .body = probe.body};
    call_finish(c, ERR_OK);
}

static void probe_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res, struct call *c)
{
    (void)s, (void)req, (void)res;
    call_finish(c, ERR_IO);
}

/* The map changes while they look. */
static void probe_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *c)
{
    (void)s, (void)res;
    f.gateway.coming = ++f.target.epoch;
    call_finish(c, str_eq(req->key, STR("there")) ? ERR_OK : ERR_NO_SUCH_KEY);
}

static void probe_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *c)
{
    (void)s, (void)req;
    f.gateway.coming = ++f.target.epoch;
    *res = (struct obj_list_res){0};
    call_finish(c, ERR_OK);
}

static void probe_close(struct store *s)
{
    (void)s;
}

static int setup_probe(void **state)
{
    static const struct store_ops ops = {.name = "probe",
                                         .obj_import = probe_import,
                                         .obj_get = probe_get,
                                         .obj_delete = probe_delete,
                                         .obj_head = probe_head,
                                         .obj_list = probe_list,
                                         .close = probe_close};

    (void)state;
    probe = (struct probe){.store = {.ops = &ops, .loop = kit.loop}};
    return setup_over(&probe.store);
}

/* ---- requests made by hand ---- */

struct hand {
    const char *method;
    struct str target;
    uint64_t epoch;
    int64_t time_ms;
    enum nodeauth_payload payload;
    struct str description, key;
    struct str digest; /* none: the description's */
    struct str req;    /* header sluice-req */
    const char *more;  /* further header lines */
    bool no_auth;
};

static struct hand hand(enum wire_method m, struct str description)
{
    return (struct hand){.method = "POST",
                         .target = arena_printf(&kit.arena, WIRE_PREFIX STR_FMT, STR_ARG(wire_name(m))),
                         .epoch = 5,
                         .time_ms = clock_wall_ns() / 1000000,
                         .payload = wire_has_body(m) ? NODEAUTH_STREAM : NODEAUTH_DESCRIBED,
                         .description = description,
                         .key = RPC_KEY,
                         .req = wire_has_body(m) ? wire_to_header(&kit.arena, description) : STR_NONE,
                         .more = ""};
}

static struct str head_of(const struct hand *h, uint64_t length)
{
    struct digest d;
    char hex[64], auth[NODEAUTH_HEX];
    struct hmac key;

    hash_of(HASH_SHA256, h->description, &d);
    hex_encode(d.b, 32, hex);
    struct nodeauth_claim claim = {str_z(h->method), h->target,  h->epoch,
                                   h->time_ms,       h->payload, h->digest.p ? h->digest : str_n(hex, sizeof(hex))};
    hmac_key(&key, h->key);
    nodeauth_sign(&key, &claim, auth);
    return arena_printf(
        &kit.arena,
        "%s " STR_FMT " HTTP/1.1\r\nHost: t\r\nContent-Length: %llu\r\nsluice-epoch: %llu\r\n"
        "sluice-date: %lld\r\nsluice-digest: " STR_FMT "\r\n%s: " STR_FMT "\r\n%s: " STR_FMT "\r\n%s\r\n",
        h->method, STR_ARG(h->target), (unsigned long long)length, (unsigned long long)h->epoch, (long long)h->time_ms,
        STR_ARG(claim.digest), h->no_auth ? "x-nothing" : "sluice-auth", STR_ARG(str_n(auth, sizeof(auth))),
        h->req.p ? "sluice-req" : "x-none", STR_ARG(h->req), h->more);
}

static struct str joined(struct str a, struct str b)
{
    char *p = arena_alloc(&kit.arena, a.n + b.n + 1);

    memcpy(p, a.p, a.n);
    if (b.n)
        memcpy(p + a.n, b.p, b.n);
    return str_n(p, a.n + b.n);
}

static int raw_open(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct str address = str_z(f.address);
    uint64_t port;

    str_split(&address, ':');
    assert_true(str_to_u64(address, 65535, &port));
    sa.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void raw_send(int fd, struct str bytes)
{
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        assert_true(n > 0 || errno == EAGAIN);
        if (n > 0)
            bytes = str_skip(bytes, (size_t)n);
        loop_turn(kit.loop, 1);
    }
}

/* What has come until a complete head is there, or the end. */
static struct str raw_answer(int fd)
{
    char *buf = arena_alloc(&kit.arena, 8192);
    struct str got = {buf, 0};

    for (int i = 0; i < 3000 && str_find(got, STR("\r\n\r\n")) == SIZE_MAX; i++) {
        loop_turn(kit.loop, 1);
        ssize_t n = read(fd, buf + got.n, 8192 - got.n);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        got.n += n > 0 ? (size_t)n : 0;
    }
    return got;
}

static bool tells(struct str answer, const char *what)
{
    return str_find(answer, str_z(what)) != SIZE_MAX;
}

/* Sends head and body as they are; returns the answer's head. */
static struct str ask(const struct hand *h, struct str body)
{
    int fd = raw_open();

    raw_send(fd, joined(head_of(h, body.n), body));
    struct str answer = raw_answer(fd);
    close(fd);
    kit_turns(&kit, 3);
    return answer;
}

static struct str described(enum wire_method m, const void *req)
{
    struct buf b = BUF_INIT(WIRE_DESCRIPTION_MAX);

    wire_put_req(m, &b, req);
    struct str s = arena_str(&kit.arena, buf_str(&b));
    buf_release(&b);
    return s;
}

static struct str head_description(void)
{
    struct obj_head_req req = kit_get_req(&kit, STR("key")).head;

    return described(WIRE_obj_head, &req);
}

static struct body_check no_check;

static struct str put_description(struct body_check *check)
{
    struct obj_put_req req = kit_put_req(&kit, STR("key"), NULL, check);

    return described(WIRE_obj_put, &req);
}

static struct str tailed(struct str content, const struct body_check *check)
{
    char *tail = arena_alloc(&kit.arena, WIRE_TAIL);

    wire_put_tail(tail, content.n, check, 0);
    return joined(content, str_n(tail, WIRE_TAIL));
}

/* ---- who may ask ---- */

static void hand_made_requests_work(void **state)
{
    struct hand h = hand(WIRE_obj_put, put_description(&no_check));

    (void)state;
    assert_true(tells(ask(&h, tailed(STR("content"), &no_check)), "HTTP/1.1 200 "));
    kit_expect(&kit, STR("key"), STR("content"));
    struct str head = head_description();
    h = hand(WIRE_obj_head, head);
    assert_true(tells(ask(&h, head), "HTTP/1.1 200 "));
}

static void strangers_are_refused(void **state)
{
    struct hand good = hand(WIRE_obj_put, put_description(&no_check)), h;
    struct str body = tailed(STR("content"), &no_check);

    (void)state;
    h = good, h.no_auth = true;
    assert_true(tells(ask(&h, body), "HTTP/1.1 403 "));
    h = good, h.key = STR("the key of another cluster");
    assert_true(tells(ask(&h, body), "sluice-err: ACCESS_DENIED"));
    h = good, h.payload = NODEAUTH_DESCRIBED;
    assert_true(tells(ask(&h, body), "sluice-err: ACCESS_DENIED"));
    h = good, h.digest = STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_true(tells(ask(&h, body), "sluice-err: ACCESS_DENIED")); /* signed, but for another description */
    kit_expect_absent(&kit, STR("key"));
}

/* Nothing of it was asked for, whatever the sender promises. */
static void a_stranger_is_refused_before_the_body(void **state)
{
    struct hand h = hand(WIRE_obj_put, put_description(&no_check));
    int fd = raw_open();

    (void)state;
    h.no_auth = true;
    h.more = "Expect: 100-continue\r\n";
    raw_send(fd, head_of(&h, 1000000));
    struct str answer = raw_answer(fd);
    assert_true(tells(answer, "HTTP/1.1 403 ") && !tells(answer, "100 Continue"));
    close(fd);
}

static void replays_are_refused(void **state)
{
    struct str head = head_description();
    struct hand h = hand(WIRE_obj_head, head);

    (void)state;
    kit_put(&kit, STR("key"), STR("content"));
    h.time_ms -= (NODEAUTH_SKEW_S + 1) * 1000;
    assert_true(tells(ask(&h, head), "sluice-err: TIME_SKEWED"));
    h.time_ms += 2 * (NODEAUTH_SKEW_S + 1) * 1000;
    assert_true(tells(ask(&h, head), "sluice-err: TIME_SKEWED"));
    h.time_ms -= (NODEAUTH_SKEW_S + 1) * 1000;
    assert_true(tells(ask(&h, head), "HTTP/1.1 200 "));
}

static void nonsense_is_refused(void **state)
{
    struct hand h = hand(WIRE_obj_head, STR("nonsense"));

    (void)state;
    assert_true(tells(ask(&h, STR("nonsense")), "sluice-err: BAD_REQUEST"));
    h.target = STR("/rpc/1/obj_frobnicate");
    assert_true(tells(ask(&h, STR("nonsense")), "HTTP/1.1 404 "));
    h.target = STR("/rpc/2/obj_head");
    assert_true(tells(ask(&h, STR("nonsense")), "HTTP/1.1 404 "));
    h.target = STR("/");
    assert_true(tells(ask(&h, STR("nonsense")), "HTTP/1.1 404 "));
    h = hand(WIRE_obj_head, STR("nonsense"));
    h.method = "GET";
    assert_true(tells(ask(&h, STR("nonsense")), "HTTP/1.1 405 "));
    h = hand(WIRE_obj_put, put_description(&no_check)); /* no description at all */
    h.req = STR_NONE;
    assert_true(tells(ask(&h, STR("x")), "sluice-err: BAD_REQUEST"));
    h = hand(WIRE_obj_put, put_description(&no_check)); /* one longer than the body */
    h.req = STR_NONE;
    h.more = "sluice-req-size: 100\r\n";
    assert_true(tells(ask(&h, STR("x")), "sluice-err: BAD_REQUEST"));
    h.req = STR("not base64!");
    h.more = "";
    assert_true(tells(ask(&h, STR("x")), "sluice-err: BAD_REQUEST"));
}

/* ---- what the node itself has ---- */

/* The signature is for one of the two, not for both. */
static void a_node_that_is_no_member_has_nothing(void **state)
{
    struct str head = head_description(), text;
    struct hand h = hand(WIRE_obj_head, head);
    int fd = raw_open();

    (void)state;
    h.target = STR(WIRE_MEMBER_PREFIX "obj_head");
    assert_true(tells(ask(&h, head), "sluice-err: NOT_FOUND"));
    text = head_of(&h, head.n);
    size_t at = str_find(text, STR("member/"));
    raw_send(fd, str_n(text.p, at));
    raw_send(fd, joined(str_skip(text, at + strlen("member/")), head));
    assert_true(tells(raw_answer(fd), "sluice-err: ACCESS_DENIED"));
    close(fd);
}

/* ---- bodies ---- */

static void a_body_without_its_tail_leaves_nothing(void **state)
{
    struct hand h = hand(WIRE_obj_put, put_description(&no_check));
    struct str content = kit_bytes(&kit, 100000, 1), whole = tailed(content, &no_check);
    static const size_t cuts[] = {0, 1, 99999, 100000, 100001, 100000 + WIRE_TAIL - 1};

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct str answer = ask(&h, str_n(whole.p, cuts[i]));
        assert_true(tells(answer, "sluice-err: INCOMPLETE_BODY"));
        kit_expect_absent(&kit, STR("key"));
    }
    assert_true(tells(ask(&h, str_skip(whole, 1)), "sluice-err: INCOMPLETE_BODY"));
    kit_expect_absent(&kit, STR("key"));
}

static void a_sender_that_vanishes_leaves_nothing(void **state)
{
    struct hand h = hand(WIRE_obj_put, put_description(&no_check));
    struct str whole = tailed(kit_bytes(&kit, 100000, 1), &no_check);
    static const size_t cuts[] = {0, 1, 70000, 100000, 100000 + WIRE_TAIL - 1};

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        int fd = raw_open();
        raw_send(fd, joined(head_of(&h, whole.n), str_n(whole.p, cuts[i])));
        kit_turns(&kit, 5);
        if (i % 2) { /* a reset */
            struct linger now = {.l_onoff = 1};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        }
        close(fd);
        kit_turns(&kit, 20);
        kit_expect_absent(&kit, STR("key"));
    }
    assert_true(http_server_connections(f.server) <= 1); /* the kept one */
}

static void a_wrong_trailer_is_refused(void **state)
{
    struct body_check announced = {.also = 1u << HASH_SHA256}, trailer = {.want_count = 1};
    struct hand h = hand(WIRE_obj_put, put_description(&announced));

    (void)state;
    hash_of(HASH_SHA256, STR("other content"), &trailer.want[0].digest);
    trailer.want[0].err = ERR_BAD_DIGEST;
    assert_true(tells(ask(&h, tailed(STR("content"), &trailer)), "sluice-err: BAD_DIGEST"));
    kit_expect_absent(&kit, STR("key"));
    hash_of(HASH_SHA256, STR("content"), &trailer.want[0].digest);
    assert_true(tells(ask(&h, tailed(STR("content"), &trailer)), "HTTP/1.1 200 "));
    kit_expect(&kit, STR("key"), STR("content"));
    /* one that the store hasn't computed */
    h = hand(WIRE_obj_put, put_description(&no_check));
    assert_true(tells(ask(&h, tailed(STR("content"), &trailer)), "sluice-err: BAD_REQUEST"));
}

/* Cancelled while its body waits for more, however far it got. */
static void cancelled_puts_leave_nothing(void **state)
{
    struct str content = kit_bytes(&kit, 300000, 1);

    (void)state;
    for (size_t at = 0; at <= content.n; at += 60000) {
        struct kit_source *body = kit_source(&kit, content);
        struct body_check check = {0};
        struct obj_put_req req = kit_put_req(&kit, STR("key"), &body->source, &check);
        struct obj_put_res res;
        struct kit_call c = {0};
        body->stop_at = at;
        store_obj_put(kit.store, &req, &res, kit_begin(&kit, &c));
        kit_turns(&kit, 20);
        assert_false(c.done);
        call_cancel(&c.call);
        assert_err(kit_wait(&kit, &c), ERR_CANCELLED);
        kit_turns(&kit, 20);
        kit_expect_absent(&kit, STR("key"));
    }
}

static void a_failing_body_fails_the_put(void **state)
{
    static const enum err errs[] = {ERR_CLIENT_GONE, ERR_TIMEOUT, ERR_INCOMPLETE_BODY, ERR_SIGNATURE};

    (void)state;
    for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
        struct kit_source *body = kit_source(&kit, kit_bytes(&kit, 300000, 1));
        struct body_check check = {0};
        struct obj_put_req req = kit_put_req(&kit, STR("key"), &body->source, &check);
        struct obj_put_res res;
        body->stop_at = 200000;
        body->fail = errs[i];
        assert_err(KIT_CALL(&kit, obj_put, &req, &res), errs[i]);
        kit_turns(&kit, 20);
        kit_expect_absent(&kit, STR("key"));
    }
}

/* The client's "100 Continue" depends on it. */
static void a_refused_put_leaves_its_body_alone(void **state)
{
    struct kit_source *body = kit_source(&kit, kit_bytes(&kit, 300000, 1));
    struct body_check check = {0};
    struct upload_part_req req = {.arena = &kit.arena,
                                  .bucket = kit.bucket,
                                  .key = STR("key"),
                                  .upload_id = STR("0123456789abcdef0123456789abcdef"),
                                  .number = 1,
                                  .body = &body->source,
                                  .check = &check,
                                  .size_max = PART_SIZE_MAX};
    struct upload_part_res res;

    (void)state;
    assert_err(KIT_CALL(&kit, upload_part, &req, &res), ERR_NO_SUCH_UPLOAD);
    assert_int_equal(body->at, 0);
}

static void readers_that_leave_drop_the_connection(void **state)
{
    struct str content = kit_bytes(&kit, 8 << 20, 1);
    struct obj_get_req req;
    char buf[1000];
    size_t n;

    (void)state;
    kit_put(&kit, STR("key"), content);
    req = kit_get_req(&kit, STR("key"));
    for (int i = 0; i < 3; i++) {
        struct obj_get_res res = {0};
        struct kit_call c = {0};
        assert_err(KIT_CALL(&kit, obj_get, &req, &res), ERR_OK);
        if (i) {
            source_read(res.body, buf, sizeof(buf), &n, kit_begin(&kit, &c));
            assert_err(kit_wait(&kit, &c), ERR_OK);
        }
        source_close(res.body);
        kit_turns(&kit, 20);
        assert_int_equal(http_server_connections(f.server), 0);
    }
}

static void a_target_that_fails_in_an_object_is_noticed(void **state)
{
    struct obj_get_req req = kit_get_req(&kit, STR("key"));
    struct obj_get_res res = {0};
    struct kit_source *s = kit_source(&kit, kit_bytes(&kit, 300000, 1));
    struct source_ops ops = *s->source.ops;
    struct str body;

    (void)state;
    ops.close = (void (*)(struct source *))probe_close; /* kit's refuses */
    s->source.ops = &ops;
    s->source.size = probe.len = 300000;
    s->stop_at = 200000;
    s->fail = ERR_CORRUPT;
    probe.body = &s->source;
    assert_err(KIT_CALL(&kit, obj_get, &req, &res), ERR_OK);
    assert_err(kit_drain(&kit, res.body, false, &body), ERR_UNAVAILABLE);
    assert_true(body.n <= 200000);
}

/* ---- epochs ---- */

static enum err get(struct str key)
{
    struct obj_get_req req = kit_get_req(&kit, key);
    struct obj_get_res res = {0};
    enum err e = KIT_CALL(&kit, obj_get, &req, &res);

    source_close(res.body);
    return e;
}

static enum err put_sized(size_t size, struct kit_source **out)
{
    struct kit_source *body = *out = kit_source(&kit, kit_bytes(&kit, size, 1));
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(&kit, STR("key"), &body->source, &check);
    struct obj_put_res res;

    body->source.size = size;
    return KIT_CALL(&kit, obj_put, &req, &res);
}

static void a_stale_sender_refreshes_and_repeats(void **state)
{
    struct kit_source *body;

    (void)state;
    kit_put(&kit, STR("other"), STR("content"));
    f.target.epoch = 6;
    f.gateway.coming = 6;
    assert_err(get(STR("other")), ERR_OK);
    assert_int_equal(f.gateway.waits, 1);
    assert_true(f.gateway.epoch == 6);

    f.target.epoch = f.gateway.coming = 7;
    assert_err(put_sized(300000, &body), ERR_OK); /* it was asked first, so the body was there still */
    f.target.epoch = f.gateway.coming = 8;
    assert_err(put_sized(1000, &body), ERR_UNAVAILABLE); /* this one was sent at once */
    assert_err(put_sized(1000, &body), ERR_OK);

    f.target.epoch = 9;
    f.gateway.coming = 0; /* the meta store is away */
    assert_err(get(STR("other")), ERR_UNAVAILABLE);
}

/* The target knows from another request only that there is a newer one. */
static void a_target_may_have_heard_of_a_newer_epoch(void **state)
{
    (void)state;
    kit_put(&kit, STR("key"), STR("content"));
    f.target.seen = 9;
    f.gateway.coming = 9;
    f.target.coming = 9;
    assert_err(get(STR("key")), ERR_OK);
    assert_true(f.gateway.epoch == 9 && f.target.epoch == 9);
}

static void who_chose_by_a_map_chooses_again(void **state)
{
    struct kit_source *body;

    (void)state;
    kit_put(&kit, STR("other"), STR("content"));
    remote_store_at(f.remote, 5);
    f.target.epoch = f.gateway.coming = 6;
    assert_err(get(STR("other")), ERR_STALE_EPOCH);
    assert_true(f.gateway.epoch == 6); /* known here by then */
    assert_err(put_sized(300000, &body), ERR_STALE_EPOCH);
    assert_int_equal(body->at, 0);
    assert_err(put_sized(1000, &body), ERR_UNAVAILABLE); /* taken */
    remote_store_at(f.remote, 6);
    assert_err(put_sized(300000, &body), ERR_OK);
    f.gateway.epoch = 7;
    f.gateway.left = true; /* it has left since */
    assert_err(get(STR("other")), ERR_STALE_EPOCH);
}

static void what_may_have_moved_meanwhile_is_not_missing(void **state)
{
    struct obj_head_req head = kit_get_req(&kit, STR("gone")).head;
    struct obj_head_res headed = {0};
    struct obj_list_req list = {.arena = &kit.arena, .bucket = kit.bucket, .max = 10};
    struct obj_list_res listed = {0};

    (void)state;
    remote_store_at(f.remote, 5);
    assert_err(KIT_CALL(&kit, obj_head, &head, &headed), ERR_STALE_EPOCH);
    remote_store_at(f.remote, 6);
    assert_err(KIT_CALL(&kit, obj_list, &list, &listed), ERR_STALE_EPOCH);
    remote_store_at(f.remote, 7);
    head.key = STR("there");
    assert_err(KIT_CALL(&kit, obj_head, &head, &headed), ERR_OK);
}

static void a_newer_sender_makes_the_target_fetch_the_map(void **state)
{
    (void)state;
    kit_put(&kit, STR("key"), STR("content"));
    f.gateway.epoch = 6;
    f.target.coming = 6;
    assert_err(get(STR("key")), ERR_OK);
    assert_true(f.target.epoch == 6);

    f.gateway.epoch = 7;
    f.target.coming = 0;
    assert_err(get(STR("key")), ERR_UNAVAILABLE);
    f.gateway.epoch = 6; /* and from then on it refuses older ones */
    assert_err(get(STR("key")), ERR_UNAVAILABLE);
    f.gateway.epoch = 7;
    f.target.coming = 7;
    assert_err(get(STR("key")), ERR_OK);
}

static void nodes_that_are_not_there(void **state)
{
    (void)state;
    f.gateway.away = true;
    assert_err(get(STR("key")), ERR_UNAVAILABLE);
    f.gateway.away = false;
    f.gateway.left = true;
    assert_err(get(STR("key")), ERR_UNAVAILABLE);
    f.gateway.left = false;
    f.gateway.address = STR("127.0.0.1:1");
    assert_err(get(STR("key")), ERR_UNAVAILABLE);
    f.gateway.address = str_z(f.address);
    assert_err(get(STR("key")), ERR_NO_SUCH_KEY);
}

static void other_keys_are_our_fault(void **state)
{
    struct remote_env other = {
        .loop = kit.loop, .peers = f.peers, .members = &f.gateway, .cluster_key = STR("the key of another cluster")};
    struct store *s = remote_store_new(&other, RPC_NODE);

    (void)state;
    kit.store = s;
    assert_err(get(STR("key")), ERR_UNAVAILABLE); /* not the client's: no 403 */
    kit.store = f.remote;
    store_close(s);
}

/* ---- what travels ---- */

static void long_descriptions_go_before_the_content(void **state)
{
    enum { PARTS = 5000 };
    struct part_info *parts = arena_new(&kit.arena, PARTS * sizeof(*parts));
    struct str content = kit_bytes(&kit, 100000, 5);
    struct body_check check = {.also = 1u << HASH_SHA1};
    struct kit_source *body = kit_source(&kit, content);
    struct obj_import_res res = {0};

    (void)state;
    for (uint32_t i = 0; i < PARTS; i++)
        parts[i] = (struct part_info){.number = i + 1, .size = i};
    for (int sized = 0; sized < 2; sized++) {
        struct obj_import_req req = {.arena = &kit.arena,
                                     .bucket = kit.bucket,
                                     .key = STR("key"),
                                     .info = {.size = content.n, .mtime_ns = 17, .parts = PARTS},
                                     .parts = parts,
                                     .part_count = PARTS,
                                     .body = &body->source,
                                     .check = &check};
        body->at = 0;
        body->source.size = sized ? content.n : SOURCE_SIZE_UNKNOWN;
        assert_err(KIT_CALL(&kit, obj_import, &req, &res), ERR_OK);
        assert_true(res.kept);
        assert_int_equal(probe.n, content.n);
        assert_memory_equal(probe.content.p, content.p, content.n);
    }
}

static void the_request_id_travels(void **state)
{
    (void)state;
    probe.body = source_memory(STR_NONE, NULL, NULL);
    kit.arena.id = STR("0123456789ABCDEF");
    assert_err(get(STR("key")), ERR_OK);
    assert_string_equal(probe.id, "0123456789ABCDEF");
    kit.arena.id = STR_NONE;
    assert_err(kit_delete(&kit, STR("key")), ERR_IO);
}

static void cancelled_at_any_time(void **state)
{
    struct str content = kit_bytes(&kit, 200000, 1);

    (void)state;
    kit_put(&kit, STR("key"), content);
    for (int turns = 0; turns < 25; turns++) {
        struct obj_get_req req = kit_get_req(&kit, STR("key"));
        struct obj_get_res res = {0};
        struct kit_call c = {0};
        f.target.epoch++; /* with a repeat on the way */
        f.gateway.coming = f.target.epoch;
        store_obj_get(kit.store, &req, &res, kit_begin(&kit, &c));
        for (int i = 0; i < turns && !c.done; i++)
            loop_turn(kit.loop, 0);
        call_cancel(&c.call);
        if (kit_wait(&kit, &c) != ERR_OK)
            assert_null(res.body);
        source_close(res.body);
    }
}

#define TEST(t)  cmocka_unit_test_setup_teardown(t, setup, teardown)
#define PROBE(t) cmocka_unit_test_setup_teardown(t, setup_probe, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hand_made_requests_work),
        TEST(strangers_are_refused),
        TEST(a_stranger_is_refused_before_the_body),
        TEST(replays_are_refused),
        TEST(nonsense_is_refused),
        TEST(a_node_that_is_no_member_has_nothing),
        TEST(a_body_without_its_tail_leaves_nothing),
        TEST(a_sender_that_vanishes_leaves_nothing),
        TEST(a_wrong_trailer_is_refused),
        TEST(cancelled_puts_leave_nothing),
        TEST(a_failing_body_fails_the_put),
        TEST(a_refused_put_leaves_its_body_alone),
        TEST(readers_that_leave_drop_the_connection),
        PROBE(a_target_that_fails_in_an_object_is_noticed),
        TEST(a_stale_sender_refreshes_and_repeats),
        TEST(a_target_may_have_heard_of_a_newer_epoch),
        TEST(who_chose_by_a_map_chooses_again),
        PROBE(what_may_have_moved_meanwhile_is_not_missing),
        TEST(a_newer_sender_makes_the_target_fetch_the_map),
        TEST(nodes_that_are_not_there),
        TEST(other_keys_are_our_fault),
        PROBE(long_descriptions_go_before_the_content),
        PROBE(the_request_id_travels),
        TEST(cancelled_at_any_time),
    };

    hash_setup();
    env.loop = kit.loop = loop_new();
    kit.env = &env;
    loop_adopt(kit.loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(kit.loop);
    return failed;
}
