#include "gateway.h"

#include <stdlib.h>

#include "base/mem.h"
#include "gateway/iam.h"
#include "s3api/name.h"

struct gateway {
    struct http_handler handler;
    struct gateway_env env;
    struct s3api *s3;
    struct iam_api *iam;
    struct native *native;
};

/* In virtual-host style "/v1/health" is an object of that bucket. */
static bool names_bucket_by_host(const struct gateway *g, struct http_req *req)
{
    const struct s3api_conf *conf = g->env.s3.conf;
    struct target target;

    return (conf->domain_count > 0 &&
            name_target(req->path, req->host, conf->domains, conf->domain_count, req->arena, &target) == ERR_OK &&
            target.from_host) ||
           (conf->website_domain_count > 0 &&
            name_target(req->path, req->host, conf->website_domains, conf->website_domain_count, req->arena, &target) ==
                ERR_OK &&
            target.from_host);
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct gateway *g = CONTAINER(h, struct gateway, handler);
    struct http_handler *s3 = s3api_handler(g->s3);

    if (iam_api_takes(req) && !names_bucket_by_host(g, req)) {
        struct http_handler *iam = iam_api_handler(g->iam);
        iam->on_request(iam, req);
    } else if (!native_takes(req->path) || names_bucket_by_host(g, req)) {
        s3->on_request(s3, req);
    } else if (control_takes(g->env.control, req)) {
        control_request(g->env.control, req);
    } else {
        struct http_handler *native = native_handler(g->native);
        native->on_request(native, req);
    }
}

struct gateway *gateway_new(const struct gateway_env *env)
{
    struct gateway *g = NEW(struct gateway);

    g->env = *env;
    g->handler.on_request = on_request;
    g->s3 = s3api_new(&g->env.s3);
    g->iam = iam_api_new(&(struct iam_env){env->s3.loop, env->s3.creds, env->oidc});
    g->env.native.s3 = &g->env.s3;
    g->env.native.loop = g->env.s3.loop;
    g->native = native_new(&g->env.native);
    return g;
}

struct http_handler *gateway_handler(struct gateway *g)
{
    return &g->handler;
}

void gateway_free(struct gateway *g)
{
    native_free(g->native);
    iam_api_free(g->iam);
    s3api_free(g->s3);
    free(g);
}
