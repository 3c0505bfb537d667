#include "rpc.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/op.h"
#include "store/access.h"
#include "store/nodehead.h"

enum {
    MAP_WAIT_MS = 2000,   /* for a map that a sender has before us */
    READ_STEP = 64 << 10, /* bytes of a description that are read and hashed at a time */
};

struct rpc {
    struct http_handler handler;
    struct rpc_env env;
    struct hmac key; /* env.cluster_key */
};

/* The life of a request: these steps in order; rpc_answer always runs. */
struct rpc_req {
    struct op op;
    struct rpc *rpc;
    struct http_req *http;
    enum wire_method method;
    bool member;           /* asked of what the node itself has */
    uint64_t epoch, newer; /* newer: what a stale sender is told */
    struct members_wait_req wait;
    bool waited;
    /* the description */
    struct str digest, description;
    bool in_header;
    size_t size, got, step; /* of the description, when it is in the body */
    char *bytes;
    struct hash hash;
    /* the method */
    void *req, *res;
    struct source *content;
    bool ran; /* the store has answered */
    /* the answer */
    struct buf out;
    struct http_res answer;
    struct http_header headers[4];
};

static step_fn rpc_check, rpc_fence, rpc_read, rpc_hash, rpc_run, rpc_ran, rpc_answer, rpc_end;

static struct rpc_req *req_of(struct op *op)
{
    return OP(op, struct rpc_req);
}

static struct str header(const struct rpc_req *r, struct str name)
{
    return http_header_get(r->http, name);
}

/* ---- who asks for what ---- */

static enum err check_method(struct rpc_req *r)
{
    struct str path = r->http->path;

    r->member = str_starts(path, STR(WIRE_MEMBER_PREFIX));
    if (!(r->member || str_starts(path, STR(WIRE_PREFIX))) || r->http->has_query)
        return ERR_NOT_FOUND;
    r->method = wire_by_name(str_skip(path, (r->member ? sizeof(WIRE_MEMBER_PREFIX) : sizeof(WIRE_PREFIX)) - 1));
    if (r->method == WIRE_METHODS || (r->member && !r->rpc->env.member))
        return ERR_NOT_FOUND;
    return r->http->method == HTTP_POST ? ERR_OK : ERR_METHOD_NOT_ALLOWED;
}

static enum err check_signature(struct rpc_req *r)
{
    enum nodeauth_payload payload = wire_has_body(r->method) ? NODEAUTH_STREAM : NODEAUTH_DESCRIBED;
    struct nodeauth_claim claim;
    enum err e = nodehead_check(&r->rpc->key, r->http, payload, &claim);

    r->epoch = claim.epoch;
    r->digest = claim.digest;
    return e;
}

/* Where the description is, and how long. */
static enum err check_shape(struct rpc_req *r)
{
    struct str in_header = header(r, STR("sluice-req")), size = header(r, STR("sluice-req-size"));
    uint64_t n;

    if (!wire_has_body(r->method)) {
        if (r->http->body_len > WIRE_DESCRIPTION_MAX) /* of unknown length, too */
            return ERR_BAD_REQUEST;
        r->size = (size_t)r->http->body_len;
        return ERR_OK;
    }
    r->in_header = in_header.p != NULL;
    if (r->in_header)
        return wire_from_header(r->http->arena, in_header, &r->description);
    if (!str_to_u64(size, WIRE_DESCRIPTION_MAX, &n) || n > r->http->body_len)
        return ERR_BAD_REQUEST;
    r->size = (size_t)n;
    return ERR_OK;
}

static enum step_next rpc_check(struct op *op)
{
    struct rpc_req *r = req_of(op);
    enum err e;

    if ((e = check_method(r)) != ERR_OK || (e = check_signature(r)) != ERR_OK)
        return op_fail(op, e);
    return (e = check_shape(r)) != ERR_OK ? op_fail(op, e) : op_go(op, rpc_fence);
}

/* The newest epoch may be known here from another request only; what is refused is older by one at least. */
static enum err refuse_epoch(struct rpc_req *r)
{
    const struct map *map = members_map(r->rpc->env.members);

    r->newer = map->epoch > r->epoch ? map->epoch : r->epoch + 1;
    map_release(map);
    return ERR_STALE_EPOCH;
}

static enum step_next rpc_fence(struct op *op)
{
    struct rpc_req *r = req_of(op);
    const struct map *map = NULL;
    enum err e = members_fence(r->rpc->env.members, r->epoch, &map);

    if (e == ERR_UNAVAILABLE && !r->waited) {
        r->waited = true;
        r->wait = (struct members_wait_req){.epoch = r->epoch, .timeout_ms = MAP_WAIT_MS};
        members_wait(r->rpc->env.members, &r->wait, op_try(op, rpc_fence));
        return STEP_WAIT;
    }
    if (e != ERR_OK)
        return op_fail(op, e == ERR_STALE_EPOCH ? refuse_epoch(r) : e);
    map_release(map);
    if (r->in_header) {
        hash_init(&r->hash, HASH_SHA256);
        hash_update(&r->hash, r->description.p, r->description.n);
        return op_go(op, rpc_run);
    }
    hash_init(&r->hash, HASH_SHA256);
    r->bytes = arena_alloc(r->http->arena, r->size);
    return op_go(op, rpc_read);
}

/* ---- the description ---- */

static enum step_next rpc_read(struct op *op)
{
    struct rpc_req *r = req_of(op);
    size_t left = r->size - r->got;

    if (left == 0) {
        r->description = str_n(r->bytes, r->size);
        return op_go(op, rpc_run);
    }
    source_read(r->http->body, r->bytes + r->got, left < READ_STEP ? left : READ_STEP, &r->step, op_call(op, rpc_hash));
    return STEP_WAIT;
}

static enum step_next rpc_hash(struct op *op)
{
    struct rpc_req *r = req_of(op);

    if (r->step == 0)
        return op_fail(op, ERR_INCOMPLETE_BODY);
    hash_update(&r->hash, r->bytes + r->got, r->step);
    r->got += r->step;
    return op_go(op, rpc_read);
}

static enum err decode(struct rpc_req *r)
{
    struct digest d;
    char hex[64];

    hash_final(&r->hash, &d);
    hex_encode(d.b, 32, hex);
    if (!str_eq(r->digest, str_n(hex, sizeof(hex))))
        return ERR_ACCESS_DENIED; /* not what was signed */
    r->req = arena_new(r->http->arena, wire_req_size(r->method));
    r->res = arena_new(r->http->arena, wire_res_size(r->method));
    return wire_get_req(r->method, r->description, r->http->arena, r->req);
}

/* ---- the method ---- */

/* Who runs the method, as its next call. */
static struct store *store_for(struct rpc_req *r)
{
    const struct rpc_env *env = &r->rpc->env;

    if (!r->member)
        return env->mine;
    if (env->member_at)
        env->member_at(env->member, r->epoch);
    return env->member;
}

static enum step_next rpc_run(struct op *op)
{
    struct rpc_req *r = req_of(op);
    uint64_t len = r->http->body_len;
    enum err e = decode(r);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (wire_has_body(r->method)) {
        if (len != HTTP_LENGTH_UNKNOWN)
            len -= r->got;
        r->content = wire_tail_off(op->loop, r->http->body, len, wire_check(r->method, r->req));
        *wire_body(r->method, r->req) = r->content;
    }
    wire_call(r->method, store_for(r), r->req, r->res, op_try(op, rpc_ran));
    return STEP_WAIT;
}

/* What a read did not find may have moved away while it looked: by a map that is not the newest any more, absence is no answer. What it
 * found is right whatever came meanwhile. */
static enum err still_right(struct rpc_req *r, enum err e)
{
    bool lists = r->method == WIRE_obj_list || r->method == WIRE_upload_list;
    const struct map *map = NULL;

    if (!wire_is_read(r->method) || !(e == ERR_NO_SUCH_KEY || e == ERR_NO_SUCH_UPLOAD || (e == ERR_OK && lists)))
        return e;
    if (members_fence(r->rpc->env.members, r->epoch, &map) == ERR_STALE_EPOCH)
        return refuse_epoch(r);
    map_release(map);
    return e;
}

static enum step_next rpc_ran(struct op *op)
{
    struct rpc_req *r = req_of(op);
    enum err e = still_right(r, op->call.err);

    r->ran = true;
    if (e != ERR_OK)
        return op_fail(op, e);
    wire_put_res(r->method, &r->out, r->res);
    if (buf_err(&r->out) != ERR_OK) {
        log_error(r->http->arena->id, "an answer is too long for a node", "method=" STR_FMT,
                  STR_ARG(wire_name(r->method)));
        return op_fail(op, ERR_INTERNAL);
    }
    return op_go(op, rpc_answer);
}

/* ---- the answer ---- */

static void add_header(struct rpc_req *r, struct str name, struct str value)
{
    r->headers[r->answer.header_count++] = (struct http_header){name, value};
}

static void log_failure(const struct rpc_req *r, enum err e)
{
    struct str method = r->method == WIRE_METHODS ? STR("none") : wire_name(r->method);

    if (e == ERR_ACCESS_DENIED || e == ERR_TIME_SKEWED || e == ERR_BAD_REQUEST)
        log_warn(r->http->arena->id, "a node's request was refused", "method=" STR_FMT " error=%s from=%s",
                 STR_ARG(method), err_name(e), r->http->peer);
    else if (err_status(e) >= 500 && e != ERR_STALE_EPOCH)
        log_info(r->http->arena->id, "a node's request failed", "method=" STR_FMT " error=%s from=%s", STR_ARG(method),
                 err_name(e), r->http->peer);
}

static void put_error(struct rpc_req *r, enum err e)
{
    r->answer.status = err_status(e);
    add_header(r, STR("sluice-err"), str_z(err_name(e)));
    if (e == ERR_STALE_EPOCH && r->newer)
        add_header(r, STR("sluice-epoch"), arena_printf(r->http->arena, "%llu", (unsigned long long)r->newer));
    if (!r->ran || !wire_fills(r->method, e))
        return;
    if (r->method == WIRE_obj_head)
        ((struct obj_head_res *)r->res)->part_count = 0; /* too many for a header; the store has filled none */
    buf_reset(&r->out);
    wire_put_res(r->method, &r->out, r->res);
    add_header(r, STR("sluice-res"), wire_to_header(r->http->arena, buf_str(&r->out)));
}

static void put_result(struct rpc_req *r)
{
    r->answer.status = 200;
    if (r->method == WIRE_obj_get) {
        struct obj_get_res *res = r->res;
        const struct obj_get_req *req = r->req;
        access_note(req->head.bucket.uid, req->head.key);
        add_header(r, STR("sluice-res"), wire_to_header(r->http->arena, buf_str(&r->out)));
        r->answer.body = res->body;
        res->body = NULL;
    } else {
        r->answer.body = source_memory(buf_str(&r->out), NULL, NULL);
    }
}

static enum step_next rpc_answer(struct op *op)
{
    struct rpc_req *r = req_of(op);

    source_close(r->content);
    r->answer.headers = r->headers;
    if (op->err != ERR_OK) {
        if (r->res && r->method == WIRE_obj_get) { /* the sender left while the object was being opened */
            source_close(((struct obj_get_res *)r->res)->body);
            ((struct obj_get_res *)r->res)->body = NULL;
        }
        log_failure(r, op->err);
        put_error(r, op->err);
    } else {
        put_result(r);
    }
    http_respond(r->http, &r->answer, op_try(op, rpc_end));
    return STEP_WAIT;
}

/* The sender may have left before the last byte: its loss. A body that failed was logged by the server. */
static enum step_next rpc_end(struct op *op)
{
    struct rpc_req *r = req_of(op);

    log_debug(r->http->arena->id, "a node's request ended", "method=" STR_FMT " status=%d sent=%s",
              STR_ARG(r->method == WIRE_METHODS ? STR("none") : wire_name(r->method)), r->answer.status,
              err_name(op->call.err));
    buf_release(&r->out);
    return STEP_DONE;
}

/* ---- the handler ---- */

static void on_abort(struct http_req *http)
{
    op_cancel(&((struct rpc_req *)http->user)->op, ERR_CLIENT_GONE);
}

static void on_request(struct http_handler *h, struct http_req *http)
{
    struct rpc_req *r = ARENA_NEW(http->arena, struct rpc_req);

    r->rpc = CONTAINER(h, struct rpc, handler);
    r->http = http;
    r->method = WIRE_METHODS;
    buf_init(&r->out, WIRE_DESCRIPTION_MAX);
    http->user = r;
    http->on_abort = on_abort;
    op_start(&r->op, r->rpc->env.loop, "rpc", rpc_check, rpc_answer);
}

struct rpc *rpc_new(const struct rpc_env *env)
{
    struct rpc *r = NEW(struct rpc);

    r->handler.on_request = on_request;
    r->env = *env;
    hmac_key(&r->key, env->cluster_key);
    return r;
}

struct http_handler *rpc_handler(struct rpc *r)
{
    return &r->handler;
}

void rpc_free(struct rpc *r)
{
    free(r);
}
