#include "remote.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/op.h"
#include "store/nodehead.h"
#include "store/wire.h"

enum {
    MAP_WAIT_MS = 3000, /* for the newer map that a node knows of */
    HEADERS_MAX = NODEHEAD_HEADERS + 1,
};

struct remote {
    struct store store;
    struct remote_env env;
    struct hmac key; /* env.cluster_key */
    struct str id;
    uint64_t at; /* remote_store_at() */
};

/* One call: describe it, send it, perhaps again with a newer map, take the answer. */
struct remote_call {
    struct op op;
    struct remote *remote;
    enum wire_method method;
    const void *req;
    void *res;
    struct arena *arena;
    struct call *whole;
    uint64_t at, epoch;
    bool repeated, taken; /* taken: the body is gone, so that it can't be repeated */
    struct buf description;
    char digest[NODEHEAD_DIGEST];
    struct http_header headers[HEADERS_MAX];
    struct source *body; /* of the request */
    struct peer_req ask;
    struct peer_res answer;
    struct members_wait_req wait;
    struct source_fill fill;
    char *bytes; /* of the answer's description */
    size_t n;
};

static step_fn remote_describe, remote_send, remote_answered, remote_newer, remote_read, remote_take, remote_end;

static struct remote_call *call_of(struct op *op)
{
    return OP(op, struct remote_call);
}

/* ---- the request ---- */

static enum step_next remote_describe(struct op *op)
{
    struct remote_call *r = call_of(op);

    if (r->whole->cancelled)
        return op_fail(op, ERR_CANCELLED);
    wire_put_req(r->method, &r->description, r->req);
    if (buf_err(&r->description) != ERR_OK) {
        log_error(r->arena->id, "a request is too long to be sent to a node", "method=" STR_FMT,
                  STR_ARG(wire_name(r->method)));
        return op_fail(op, ERR_INTERNAL);
    }
    nodehead_digest(buf_str(&r->description), r->digest);
    return op_go(op, remote_send);
}

/* Where the node is, by the newest map, and the epoch that the call goes by. */
static enum err locate(struct remote_call *r)
{
    struct members *members = r->remote->env.members;
    const struct map *map = members_map(members);
    int i = map_find(map, r->remote->id);
    enum err e = ERR_OK;

    r->epoch = r->at ? r->at : map->epoch;
    if (i < 0)
        e = r->at && r->at < map->epoch ? ERR_STALE_EPOCH : ERR_UNAVAILABLE;
    else if (!members_alive(members, r->remote->id))
        e = ERR_UNAVAILABLE;
    else
        r->ask.address = arena_str(r->arena, map->nodes[i].address);
    map_release(map);
    return e;
}

static void add_header(struct remote_call *r, struct str name, struct str value)
{
    r->headers[r->ask.header_count++] = (struct http_header){name, value};
}

static void sign(struct remote_call *r)
{
    const struct nodeauth_claim claim = {.method = r->ask.method,
                                         .target = r->ask.target,
                                         .epoch = r->epoch,
                                         .payload = wire_has_body(r->method) ? NODEAUTH_STREAM : NODEAUTH_DESCRIBED,
                                         .digest = str_n(r->digest, sizeof(r->digest))};

    r->ask.header_count = nodehead_sign(&r->remote->key, claim, r->arena, r->headers);
}

/* The request's body: the description, or content behind or beside it. */
static void open_body(struct remote_call *r)
{
    struct str description = buf_str(&r->description), head = STR_NONE;

    if (!wire_has_body(r->method)) {
        r->body = source_memory(description, NULL, NULL);
        return;
    }
    if (description.n <= WIRE_HEADER_MAX) {
        add_header(r, STR("sluice-req"), wire_to_header(r->arena, description));
    } else {
        add_header(r, STR("sluice-req-size"), arena_u64(r->arena, description.n));
        head = description;
    }
    struct source *content = *wire_body(r->method, (void *)(uintptr_t)r->req);
    r->body = wire_tail_on(r->op.loop, head, content, wire_check(r->method, r->req));
    /* who can't splice says so before the body is touched: the caller needs it then */
    r->ask.expect = content && (content->size >= WIRE_EXPECT_MIN || r->method == WIRE_obj_splice);
}

static enum step_next remote_send(struct op *op)
{
    struct remote_call *r = call_of(op);
    enum err e;

    r->ask = (struct peer_req){.arena = r->arena,
                               .method = STR("POST"),
                               .target = wire_target(r->method, r->remote->env.member),
                               .headers = r->headers,
                               .repeatable = wire_is_read(r->method)};
    r->answer = (struct peer_res){0};
    if ((e = locate(r)) != ERR_OK)
        return op_fail(op, e);
    sign(r);
    open_body(r);
    r->ask.body = r->body;
    peer_send(r->remote->env.peers, &r->ask, &r->answer, op_try(op, remote_answered));
    return STEP_WAIT;
}

/* ---- the answer ---- */

/* What the caller, and its client, are told of what a node answered. */
static enum err translate(struct remote_call *r, struct str name)
{
    enum err e = wire_err(name);

    if (e == ERR_ACCESS_DENIED || e == ERR_TIME_SKEWED) {
        log_error(r->arena->id, "a node refuses our signature: keys or clocks differ", "node=" STR_FMT " error=%s",
                  STR_ARG(r->remote->id), err_name(e));
        return ERR_UNAVAILABLE;
    }
    if (e == ERR_CANCELLED || e == ERR_CLIENT_GONE) /* which is us */
        return ERR_UNAVAILABLE;
    if (e == ERR_NOT_FOUND && r->method == WIRE_obj_splice) /* a node of a version that had no such method */
        return ERR_NOT_IMPLEMENTED;
    if (e == ERR_INCOMPLETE_BODY && wire_has_body(r->method)) /* ours was whole: bytes were lost between the nodes */
        return ERR_UNAVAILABLE;
    return e;
}

/* ERR_TIMEOUT is the client's fault in S3, this one isn't. */
static enum err broken(struct remote_call *r, enum err e)
{
    if (e == ERR_TIMEOUT && !(wire_has_body(r->method) && wire_tail_failed(r->body) == ERR_TIMEOUT))
        return ERR_UNAVAILABLE;
    return e;
}

static void close_body(struct remote_call *r)
{
    source_close(r->body);
    r->body = NULL;
}

/* Also when it can't be repeated: the client's next try goes by the newer map then. */
static enum step_next refused_epoch(struct remote_call *r)
{
    struct op *op = &r->op;
    uint64_t epoch;

    r->taken = wire_has_body(r->method) && r->answer.body_taken;
    if (r->repeated || !str_to_u64(peer_header(&r->answer, STR("sluice-epoch")), UINT64_MAX, &epoch))
        return op_fail(op, ERR_UNAVAILABLE);
    source_close(r->answer.body);
    r->answer.body = NULL;
    r->wait = (struct members_wait_req){.epoch = epoch, .timeout_ms = MAP_WAIT_MS};
    members_wait(r->remote->env.members, &r->wait, op_try(op, remote_newer));
    return STEP_WAIT;
}

static enum step_next remote_newer(struct op *op)
{
    struct remote_call *r = call_of(op);

    if (op->call.err != ERR_OK || r->taken)
        return op_fail(op, op->call.err == ERR_CANCELLED ? ERR_CANCELLED : ERR_UNAVAILABLE);
    if (r->at)
        return op_fail(op, ERR_STALE_EPOCH);
    r->repeated = true;
    return op_go(op, remote_send);
}

/* The description that came as a header; content may follow. */
static enum err take_header(struct remote_call *r)
{
    struct str text = peer_header(&r->answer, STR("sluice-res")), bytes;
    enum err e;

    if (!text.p)
        return ERR_BAD_REQUEST;
    if ((e = wire_from_header(r->arena, text, &bytes)) != ERR_OK)
        return e;
    return wire_get_res(r->method, bytes, r->arena, r->res);
}

static enum step_next nonsense(struct remote_call *r)
{
    log_error(r->arena->id, "a node's answer makes no sense", "node=" STR_FMT " method=" STR_FMT " status=%d",
              STR_ARG(r->remote->id), STR_ARG(wire_name(r->method)), r->answer.status);
    return op_fail(&r->op, ERR_INTERNAL);
}

/* The content is handed on as it is, so that it can be spliced. */
static enum step_next take_content(struct remote_call *r)
{
    struct obj_get_res *res = r->res;
    struct obj_get_res got = {0};

    r->res = &got;
    enum err e = take_header(r);
    r->res = res;
    if (e != ERR_OK || (r->answer.body ? r->answer.body->size : 0) != (got.head.info.layout.n ? 0 : got.head.len))
        return nonsense(r);
    got.body = r->answer.body ? r->answer.body : source_memory(STR_NONE, NULL, NULL);
    r->answer.body = NULL;
    *res = got;
    return op_go(&r->op, remote_end);
}

static enum step_next remote_answered(struct op *op)
{
    struct remote_call *r = call_of(op);
    struct str name = peer_header(&r->answer, STR("sluice-err"));

    if (op->call.err != ERR_OK)
        return op_fail(op, broken(r, op->call.err));
    close_body(r);
    if (name.p) {
        enum err e = translate(r, name);
        if (e == ERR_STALE_EPOCH)
            return refused_epoch(r);
        if (wire_fills(r->method, e) && take_header(r) != ERR_OK)
            return nonsense(r);
        return op_fail(op, e);
    }
    if (r->answer.status != 200)
        return nonsense(r);
    return r->method == WIRE_obj_get ? take_content(r) : op_go(op, remote_read);
}

static enum step_next remote_read(struct op *op)
{
    struct remote_call *r = call_of(op);
    struct source *body = r->answer.body;

    if (!body || body->size > WIRE_DESCRIPTION_MAX)
        return nonsense(r);
    r->bytes = arena_alloc(r->arena, (size_t)body->size);
    source_fill(&r->fill, body, r->bytes, (size_t)body->size, &r->n, op_try(op, remote_take));
    return STEP_WAIT;
}

static enum step_next remote_take(struct op *op)
{
    struct remote_call *r = call_of(op);
    enum err e = op->call.err;

    if (e != ERR_OK)
        return op_fail(op, e == ERR_TIMEOUT ? ERR_UNAVAILABLE : e);
    if (wire_get_res(r->method, str_n(r->bytes, r->n), r->arena, r->res) != ERR_OK)
        return nonsense(r);
    return op_go(op, remote_end);
}

static enum step_next remote_end(struct op *op)
{
    struct remote_call *r = call_of(op);

    close_body(r);
    source_close(r->answer.body); /* before its end: takes the connection with it */
    buf_release(&r->description);
    call_finish(r->whole, op->err);
    free(r);
    return STEP_DONE;
}

/* ---- the store ---- */

static void remote_cancel(void *arg)
{
    op_cancel(&((struct remote_call *)arg)->op, ERR_CANCELLED);
}

static void begin(struct store *s, enum wire_method method, const void *req, void *res, struct arena *arena,
                  struct call *whole)
{
    struct remote_call *r = NEW(struct remote_call);

    r->remote = CONTAINER(s, struct remote, store);
    r->method = method;
    r->req = req;
    r->res = res;
    r->arena = arena;
    r->whole = whole;
    r->at = r->remote->at;
    buf_init(&r->description, WIRE_DESCRIPTION_MAX);
    if (!whole->cancelled)
        call_on_cancel(whole, remote_cancel, r);
    op_start(&r->op, whole->loop, "remote", remote_describe, remote_end);
}

/* Every request begins with its arena: store.c checks that. */
#define M(m)                                                                                                           \
    static void remote_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)            \
    {                                                                                                                  \
        begin(s, WIRE_##m, req, res, *(struct arena *const *)(const void *)req, c);                                    \
    }
STORE_METHODS(M)
#undef M

static void remote_close(struct store *s)
{
    struct remote *r = CONTAINER(s, struct remote, store);

    free((void *)(uintptr_t)r->id.p);
    free(r);
}

struct store *remote_store_new(const struct remote_env *env, struct str id)
{
    static const struct store_ops ops = {
        .name = "remote",
#define M(m) .m = remote_##m,
        STORE_METHODS(M)
#undef M
            .close = remote_close,
    };
    struct remote *r = NEW(struct remote);
    char *copy = mem_alloc(id.n + 1);

    if (id.n)
        memcpy(copy, id.p, id.n);
    r->store.ops = &ops;
    r->store.loop = env->loop;
    r->env = *env;
    hmac_key(&r->key, env->cluster_key);
    r->id = str_n(copy, id.n);
    return &r->store;
}

void remote_store_at(struct store *remote, uint64_t epoch)
{
    CONTAINER(remote, struct remote, store)->at = epoch;
}

bool remote_is_there(void *members, struct str address)
{
    const struct map *map = members_map(members);
    bool there = false;

    for (uint16_t i = 0; i < map->node_count && !there; i++)
        there = str_eq(map->nodes[i].address, address) && members_alive(members, map->nodes[i].id);
    map_release(map);
    return there;
}
