#include "may.h"

#include "s3api/auth.h"

/* Who could sign is the owner, and the owner may do everything. */
enum err s3_may(struct s3_request *r, struct str action, const struct bucket *b, struct str key)
{
    (void)action;
    (void)b;
    (void)key;
    return r->who->kind != AUTH_ANONYMOUS || r->env->conf->auth_none ? ERR_OK : ERR_ACCESS_DENIED;
}

enum err s3_may_route(struct s3_request *r)
{
    struct str action = route_permission(r->route, r->subs & SUB(VERSION_ID));

    if (action.n == 0) /* the operation asks by itself */
        return ERR_OK;
    return s3_may(r, action, r->level >= LEVEL_BUCKET && !(r->route->flags & ROUTE_NO_BUCKET) ? &r->bucket : NULL,
                  r->key);
}
