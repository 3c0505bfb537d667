#include "gateway.h"

#include <stdlib.h>

#include "base/mem.h"
#include "s3api/name.h"

struct gateway {
    struct http_handler handler;
    struct gateway_env env;
    struct s3api *s3;
    struct http_server *servers[GATEWAY_LISTENERS];
    unsigned server_count;
    struct call_group group; /* of a drain */
    struct group_call drains[GATEWAY_LISTENERS];
};

/* In virtual-host style "/v1/health" is an object of that bucket. */
static bool names_bucket_by_host(const struct gateway *g, struct http_req *req)
{
    const struct s3api_conf *conf = g->env.s3.conf;
    struct target target;

    return conf->domain_count > 0 &&
           name_target(req->path, req->host, conf->domains, conf->domain_count, req->arena, &target) == ERR_OK &&
           target.from_host;
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct gateway *g = CONTAINER(h, struct gateway, handler);
    struct http_handler *s3 = s3api_handler(g->s3);

    if (control_takes(req->path) && !names_bucket_by_host(g, req))
        control_request(g->env.control, req);
    else
        s3->on_request(s3, req);
}

struct gateway *gateway_new(const struct gateway_env *env)
{
    struct gateway *g = NEW(struct gateway);

    g->env = *env;
    g->handler.on_request = on_request;
    g->s3 = s3api_new(&g->env.s3);
    for (unsigned i = 0; i < GATEWAY_LISTENERS; i++) {
        if (env->listeners[i].fd < 0)
            continue;
        struct http_server_conf conf = {.loop = env->s3.loop,
                                        .handler = &g->handler,
                                        .limits = env->limits,
                                        .tls = env->listeners[i].tls,
                                        .io = env->io,
                                        .listen_fd = env->listeners[i].fd};
        g->servers[g->server_count++] = http_server_new(&conf);
    }
    return g;
}

void gateway_drain(struct gateway *g, uint32_t timeout_ms, struct call *call)
{
    call_group_init(&g->group, call);
    for (unsigned i = 0; i < g->server_count; i++)
        http_server_drain(g->servers[i], timeout_ms, group_call(&g->group, &g->drains[i]));
    call_group_seal(&g->group);
}

void gateway_free(struct gateway *g)
{
    for (unsigned i = 0; i < g->server_count; i++)
        http_server_free(g->servers[i]);
    s3api_free(g->s3);
    free(g);
}
