/* Requests for websites: key, index page, redirection, error page. */
#include "s3api/auth.h"
#include "s3api/limits.h"
#include "s3api/may.h"
#include "s3api/name.h"
#include "s3api/website.h"

enum phase { PHASE_KEY, PHASE_FOLDER, PHASE_ERROR };

struct web_state {
    const struct website *site;
    struct str asked; /* the key, as the path says it */
    enum phase phase;
    int status; /* of the error, from PHASE_ERROR on */
    struct bucket_look_req look;
    struct bucket_look_res looked;
    struct obj_head_req head;
    struct obj_head_res res;
};

static step_fn web_found, web_look, web_looked; /* in order */

enum step_next website_begin(struct op *op)
{
    struct s3_request *r = S3(op);
    struct web_state *w = r->state = ARENA_NEW(r->arena, struct web_state);
    struct str clash;
    enum err e;

    r->who = ARENA_NEW(r->arena, struct identity);
    r->query_count = 0;
    r->subs = 0;
    r->level = LEVEL_OBJECT;
    w->asked = r->key;
    if ((e = s3_principal(r)) != ERR_OK)
        return op_fail(op, e);
    if (r->http->method != HTTP_GET && r->http->method != HTTP_HEAD)
        return op_fail(op, ERR_METHOD_NOT_ALLOWED);
    if ((e = route_find(r->http->method, LEVEL_OBJECT, 0, &r->route, r->arena, &clash)) != ERR_OK)
        return op_fail(op, e);
    op->name = r->route->name;
    if (!name_is_bucket(r->bucket_name))
        return op_fail(op, ERR_NO_SUCH_BUCKET);
    w->look = (struct bucket_look_req){r->arena, r->bucket_name};
    buckets_look(r->env->buckets, &w->look, &w->looked, op_call(op, web_found));
    return STEP_WAIT;
}

static enum step_next redirect(struct op *op, const struct website_redirect *to, struct str prefix)
{
    struct s3_request *r = S3(op);
    struct web_state *w = r->state;

    reply_status(r, to->status);
    reply_header(r, STR("Location"), website_location(r->arena, to, prefix, w->asked, r->http->host, r->http->secure));
    return op_go(op, reply_send);
}

static enum step_next web_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct web_state *w = r->state;
    const struct bucket_doc *d;
    const struct website_rule *rule;
    enum err e;

    r->bucket = w->looked.bucket;
    creds_owner_id(r->bucket.owner, r->owner_id);
    if ((e = limits_bucket(r)) != ERR_OK)
        return op_fail(op, e);
    d = r->env->confs ? bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, STR("website")) : NULL;
    if (!d || !d->parsed)
        return op_fail(op, ERR_NO_SUCH_WEBSITE);
    w->site = d->parsed;
    if (w->site->redirects_all)
        return redirect(op, &w->site->all, STR(""));
    if ((rule = website_rule(w->site, w->asked, 0)))
        return redirect(op, &rule->to, rule->prefix);
    if (w->asked.n == 0 || str_ends(w->asked, STR("/")))
        r->key = arena_printf(r->arena, STR_FMT STR_FMT, STR_ARG(w->asked), STR_ARG(w->site->index));
    if ((e = name_check_key(r->key)) != ERR_OK)
        return op_fail(op, e);
    return op_go(op, web_look);
}

/* ---- what is not there ---- */

static enum step_next fail(struct op *op, int status)
{
    struct s3_request *r = S3(op);

    r->key = ((struct web_state *)r->state)->asked;
    return op_fail(op, status == 403 ? ERR_ACCESS_DENIED : ERR_NO_SUCH_KEY);
}

static enum step_next missed(struct op *op, int status)
{
    struct s3_request *r = S3(op);
    struct web_state *w = r->state;
    const struct website_rule *rule;

    if (w->phase == PHASE_ERROR)
        return fail(op, w->status);
    if (w->phase == PHASE_KEY) {
        w->status = status;
        w->phase = PHASE_FOLDER;
        if (w->asked.n > 0 && !str_ends(w->asked, STR("/"))) {
            r->key = arena_printf(r->arena, STR_FMT "/" STR_FMT, STR_ARG(w->asked), STR_ARG(w->site->index));
            if (name_check_key(r->key) == ERR_OK)
                return op_go(op, web_look);
        }
    }
    if ((rule = website_rule(w->site, w->asked, w->status)))
        return redirect(op, &rule->to, rule->prefix);
    w->phase = PHASE_ERROR;
    r->key = w->site->error;
    return r->key.n && name_check_key(r->key) == ERR_OK ? op_go(op, web_look) : fail(op, w->status);
}

/* ---- what may be there ---- */

static enum step_next web_look(struct op *op)
{
    struct s3_request *r = S3(op);
    struct web_state *w = r->state;

    if (s3_may(r, STR("s3:GetObject"), &r->bucket, r->key) != ERR_OK) {
        r->reply.message = STR_NONE;
        return missed(op, 403);
    }
    w->head = (struct obj_head_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .cond = COND_INIT};
    w->res = (struct obj_head_res){.offset = 0};
    store_obj_head(r->env->store, &w->head, &w->res, op_try(op, web_looked));
    return STEP_WAIT;
}

static enum step_next web_looked(struct op *op)
{
    struct s3_request *r = S3(op);
    struct web_state *w = r->state;
    struct str elsewhere;
    enum err e = op->call.err;

    if (e == ERR_NO_SUCH_KEY || e == ERR_NOT_FOUND)
        return missed(op, s3_may(r, STR("s3:ListBucket"), &r->bucket, STR("")) == ERR_OK ? 404 : 403);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (w->phase == PHASE_FOLDER)
        return redirect(op,
                        &(struct website_redirect){.has_key = true,
                                                   .key = arena_printf(r->arena, STR_FMT "/", STR_ARG(w->asked)),
                                                   .status = 302},
                        STR(""));
    elsewhere = object_attr(&w->res.info, STR("x-amz-website-redirect-location"));
    if (elsewhere.n && w->phase == PHASE_KEY) {
        reply_status(r, 301);
        reply_header(r, STR("Location"), elsewhere);
        return op_go(op, reply_send);
    }
    r->place = (struct s3_place){r->bucket.id, r->key};
    r->web_status = w->phase == PHASE_ERROR ? w->status : 0;
    return op_go_named(op, r->route->first, "first");
}
