#include "rpc_etl.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/op.h"
#include "store/nodehead.h"
#include "store/wire.h"

struct rpc_etl {
    struct http_handler handler;
    struct rpc_etl_env env;
    struct hmac key;
};

/* The life of a request; run_answer always runs. */
struct run_req {
    struct op op;
    struct rpc_etl *rpc;
    struct http_req *http;
    struct etl_run_req req;
    struct etl_run_res res;
    struct source *empty; /* in place of a body that is none */
    bool ran;
    struct etl_logs_req logs_req;
    struct etl_logs_res logs;
    struct http_res answer;
    struct http_header headers[2];
};

static step_fn run_check, run_ran, run_logs, run_answer, run_end;

static bool wants_logs(const struct http_req *http)
{
    return str_eq(http->path, STR(ETL_NODES_LOGS));
}

static enum err describe(struct run_req *r)
{
    struct http_req *http = r->http;
    struct nodeauth_claim claim;
    char digest[NODEHEAD_DIGEST];
    struct str bytes;
    enum err e;

    if (http->method != HTTP_POST)
        return ERR_METHOD_NOT_ALLOWED;
    if ((e = nodehead_check(&r->rpc->key, http, NODEAUTH_STREAM, &claim)) != ERR_OK ||
        (e = wire_from_header(http->arena, http_header_get(http, STR("sluice-req")), &bytes)) != ERR_OK)
        return e;
    nodehead_digest(bytes, digest);
    if (!str_eq(claim.digest, str_n(digest, sizeof(digest))))
        return ERR_ACCESS_DENIED; /* not what was signed */
    if (wants_logs(http)) {
        r->logs_req = (struct etl_logs_req){.arena = http->arena, .name = bytes};
        return ERR_OK;
    }
    return etl_nodes_get_req(bytes, http->arena, &r->req);
}

static enum step_next run_check(struct op *op)
{
    struct run_req *r = OP(op, struct run_req);
    enum err e = describe(r);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (wants_logs(r->http)) {
        etl_logs(r->rpc->env.door, &r->logs_req, &r->logs, op_call(op, run_logs));
        return STEP_WAIT;
    }
    if (!r->req.object) {
        r->req.body = r->http->body ? r->http->body : (r->empty = source_memory(STR_NONE, NULL, NULL));
        r->req.size = r->http->body_len == HTTP_LENGTH_UNKNOWN ? SOURCE_SIZE_UNKNOWN : r->http->body_len;
    }
    etl_run(r->rpc->env.door, &r->req, &r->res, op_try(op, run_ran));
    return STEP_WAIT;
}

static enum step_next run_ran(struct op *op)
{
    struct run_req *r = OP(op, struct run_req);

    r->ran = true;
    return op->call.err == ERR_OK ? op_go(op, run_answer) : op_fail(op, op->call.err);
}

static enum step_next run_logs(struct op *op)
{
    struct run_req *r = OP(op, struct run_req);

    r->res.body = source_memory(r->logs.text, NULL, NULL);
    return op_go(op, run_answer);
}

static void add_header(struct run_req *r, struct str name, struct str value)
{
    r->headers[r->answer.header_count++] = (struct http_header){name, value};
}

static void add_result(struct run_req *r)
{
    struct buf b = BUF_INIT(WIRE_HEADER_MAX);

    etl_nodes_put_res(&b, &r->res);
    add_header(r, STR("sluice-res"), wire_to_header(r->http->arena, buf_str(&b)));
    buf_release(&b);
}

static enum step_next run_answer(struct op *op)
{
    struct run_req *r = OP(op, struct run_req);

    r->answer.headers = r->headers;
    r->answer.status = op->err == ERR_OK ? 200 : err_status(op->err);
    if (op->err != ERR_OK) {
        source_close(r->res.body);
        r->res.body = NULL;
        add_header(r, STR("sluice-err"), str_z(err_name(op->err)));
        log_debug(r->http->arena->id, "a transform failed", "error=%s", err_name(op->err));
    }
    if (r->ran)
        add_result(r);
    r->answer.body = r->res.body;
    http_respond(r->http, &r->answer, op_try(op, run_end));
    return STEP_WAIT;
}

static enum step_next run_end(struct op *op)
{
    source_close(OP(op, struct run_req)->empty);
    return STEP_DONE;
}

static void on_abort(struct http_req *http)
{
    op_cancel(&((struct run_req *)http->user)->op, ERR_CLIENT_GONE);
}

static void on_request(struct http_handler *h, struct http_req *http)
{
    struct run_req *r = ARENA_NEW(http->arena, struct run_req);

    r->rpc = CONTAINER(h, struct rpc_etl, handler);
    r->http = http;
    http->user = r;
    http->on_abort = on_abort;
    http_end_is_leaving(http);
    op_start(&r->op, r->rpc->env.loop, "rpc_etl", run_check, run_answer);
}

struct rpc_etl *rpc_etl_new(const struct rpc_etl_env *env)
{
    struct rpc_etl *r = NEW(struct rpc_etl);

    r->handler.on_request = on_request;
    r->env = *env;
    hmac_key(&r->key, env->cluster_key);
    return r;
}

bool rpc_etl_takes(const struct http_req *req)
{
    return (str_eq(req->path, STR(ETL_NODES_RUN)) || wants_logs(req)) && !req->has_query;
}

struct http_handler *rpc_etl_handler(struct rpc_etl *r)
{
    return &r->handler;
}

void rpc_etl_free(struct rpc_etl *r)
{
    free(r);
}
