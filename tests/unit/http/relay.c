#include "relay.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"

struct passing {
    struct relay *relay;
    struct http_req *req;
    struct peer_req out;
    struct peer_res in;
    struct call call;
};

static void responded(struct call *call)
{
    (void)call; /* the request's arena, and with it this, goes away behind us */
}

static void answered(struct call *call)
{
    struct passing *p = CONTAINER(call, struct passing, call);
    struct http_res res = {.status = 503};

    p->req->on_abort = NULL;
    if (call->err == ERR_OK)
        res = (struct http_res){.status = p->in.status, .body = p->in.body, .stated_length = 0};
    else
        atomic_fetch_add(&p->relay->failed, 1);
    call_begin(&p->call, p->relay->loop, responded);
    http_respond(p->req, &res, &p->call);
}

static void aborted(struct http_req *req)
{
    struct passing *p = req->user;

    atomic_fetch_add(&p->relay->aborts, 1);
    call_cancel(&p->call);
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct relay *r = CONTAINER(h, struct relay, handler);
    struct passing *p = ARENA_NEW(req->arena, struct passing);

    p->relay = r;
    p->req = req;
    p->out = (struct peer_req){
        .arena = req->arena,
        .address = str_z(r->upstream),
        .method = req->method_text,
        .target = req->target,
        .body = req->body,
        .expect = r->expect,
        .repeatable = true,
    };
    req->user = p;
    req->on_abort = aborted;
    call_begin(&p->call, r->loop, answered);
    peer_send(r->pool, &p->out, &p->in, &p->call);
}

struct start {
    struct relay *relay;
    struct http_limits limits;
};

static void *run(void *arg)
{
    struct start *s = arg;
    struct relay *r = s->relay;

    loop_adopt(r->loop);
    struct http_server_conf conf = {
        .loop = r->loop, .handler = &r->handler, .limits = s->limits, .tls = r->tls, .listen_fd = r->listen_fd};
    r->server = http_server_new(&conf);
    r->conf.loop = r->loop;
    r->pool = peer_pool_new(&r->conf);
    free(s);
    atomic_store(&r->up, true);
    loop_run(r->loop);
    for (int i = 0; i < 3; i++)
        loop_turn(r->loop, 0);
    http_server_free(r->server);
    peer_pool_free(r->pool);
    return NULL;
}

void relay_start(struct relay *r, const struct http_limits *limits)
{
    struct start *s = NEW(struct start);
    char why[256];
    uint64_t port = 0;

    s->relay = r;
    s->limits = *limits;
    r->handler.on_request = on_request;
    r->loop = loop_new();
    if (http_listen(STR("127.0.0.1:0"), &r->listen_fd, r->bound, why) != ERR_OK ||
        !str_to_u64(str_skip(str_z(r->bound), 10), 65535, &port) || pthread_create(&r->thread, NULL, run, s) != 0)
        abort();
    r->port = (uint16_t)port;
    while (!atomic_load(&r->up))
        usleep(1000);
}

static void drained(struct call *call)
{
    loop_stop(CONTAINER(call, struct relay, drained)->loop);
}

static void start_drain(struct post *p)
{
    struct relay *r = CONTAINER(p, struct relay, post);

    call_begin(&r->drained, r->loop, drained);
    http_server_drain(r->server, 500, &r->drained);
}

void relay_stop(struct relay *r)
{
    r->post.fn = start_drain;
    loop_post(r->loop, &r->post);
    pthread_join(r->thread, NULL);
    loop_free(r->loop);
}

int relay_open(const struct relay *r)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
        abort();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}
