#include "may.h"

#include "base/clock.h"
#include "s3api/acl.h"
#include "s3api/auth.h"
#include "s3api/copy_source.h"
#include "s3api/member.h"
#include "s3api/objreq.h"
#include "s3api/transform.h"
#include "s3api/version.h"

/* ---- who ---- */

static struct idents *idents(const struct s3_request *r)
{
    return r->env->creds ? creds_idents(r->env->creds) : NULL;
}

enum err s3_principal(struct s3_request *r)
{
    struct iam_principal *p = &r->principal;
    char *id = arena_alloc(r->arena, sizeof(r->owner_id));

    r->account = r->env->conf->auth_none ? r->access_key : creds_account(r->env->creds);
    *p = (struct iam_principal){.kind = IAM_ANONYMOUS};
    if (r->who->kind == AUTH_ANONYMOUS && !r->env->conf->auth_none)
        return ERR_OK;
    if (r->who->iam.kind == IAM_USER || r->who->iam.kind == IAM_SESSION)
        return idents_principal(idents(r), r->arena, &r->who->iam, p) ? ERR_OK : ERR_INVALID_ACCESS_KEY;
    creds_owner_id(r->account, id);
    p->kind = IAM_OWNER;
    p->account = p->id = STR(IAM_ACCOUNT);
    p->arn = STR(IAM_ACCOUNT_ARN);
    p->canonical_id = str_n(id, sizeof(r->owner_id));
    return ERR_OK;
}

/* ---- what the bucket says ---- */

const struct policy *bucket_policy_of(struct s3_request *r, const struct bucket *b, bool *broken)
{
    struct s3_said *said = &r->said;

    if (!said->policy_uid || said->policy_uid != b->id.uid) { /* once a request: it is asked for each key */
        const struct bucket_doc *d =
            r->env->confs ? bucket_conf_find(r->env->confs, r->arena, b->id.uid, STR("policy")) : NULL;
        said->policy_uid = b->id.uid;
        said->policy = d ? d->parsed : NULL;
        said->policy_broken = d && !d->parsed;
    }
    *broken = said->policy_broken;
    return said->policy;
}

struct access_block access_block_of(struct s3_request *r, const struct bucket *b)
{
    const struct bucket_doc *d =
        r->env->confs ? bucket_conf_find(r->env->confs, r->arena, b->id.uid, STR("public-access-block")) : NULL;

    if (!d)
        return (struct access_block){0};
    return d->parsed ? *(const struct access_block *)d->parsed : (struct access_block){true, true, true, true};
}

/* S3 User Guide: the owner can always get and change the policy, or could lock everybody out for good. */
static bool is_of_policy(struct str action)
{
    return str_eq(action, STR("s3:PutBucketPolicy")) || str_eq(action, STR("s3:GetBucketPolicy")) ||
           str_eq(action, STR("s3:DeleteBucketPolicy"));
}

static struct str resource(const struct may_ask *ask)
{
    struct s3_request *r = ask->r;
    struct str name = ask->bucket ? ask->bucket->id.name : r->bucket_name;

    if (ask->key.n == 0) /* all of them, where there is none */
        return arena_printf(r->arena, "arn:aws:s3:::" STR_FMT, STR_ARG(name.n ? name : STR("*")));
    return arena_printf(r->arena, "arn:aws:s3:::" STR_FMT "/" STR_FMT, STR_ARG(name), STR_ARG(ask->key));
}

static bool was_looked_up(const struct s3_request *r, const struct bucket *b, struct str key)
{
    for (unsigned i = 0; i < r->said.looked_count; i++)
        if (r->said.looked[i].uid == b->id.uid && str_eq(r->said.looked[i].key, key))
            return true;
    return false;
}

/* Whether a policy, the bucket's or of who asks, decides by keys that begin so. */
static bool decides_by(const struct s3_request *r, const struct policy *p, struct str prefix)
{
    return (p && policy_asks(p, prefix)) ||
           (idents(r) && r->principal.kind != IAM_ANONYMOUS && idents_asks(idents(r), &r->who->iam, prefix));
}

static bool wants_tags(const struct s3_request *r, const struct policy *p, struct str action)
{
    return may_has_tags(action) && decides_by(r, p, STR("s3:existingobjecttag/"));
}

/* What all say that are asked. */
struct said {
    enum policy_verdict verdict;
    bool in_scope;
};

/* A policy that wants tags nobody has read must not be answered by guessing. `p` may be NULL. */
static enum err ask_all(struct may_ask *ask, const struct policy *p, struct said *out)
{
    struct s3_request *r = ask->r;
    const struct iam_request req = {.principal = &r->principal,
                                    .action = ask->action,
                                    .resource = resource(ask),
                                    .now_s = clock_wall_ns() / NS_PER_S,
                                    .lookup = may_lookup,
                                    .arg = ask};
    enum policy_verdict scope, own;

    if (ask->bucket && ask->key.n && wants_tags(r, p, ask->action) && !was_looked_up(r, ask->bucket, ask->key))
        return reply_error(r, ERR_ACCESS_DENIED,
                           "A policy decides by tags of objects, which this operation does not read.");
    *out = (struct said){p ? policy_evaluate(p, &req) : POLICY_SILENT, true};
    if (r->principal.kind == IAM_ANONYMOUS || !idents(r) || out->verdict == POLICY_DENY)
        return ERR_OK;
    own = r->principal.kind == IAM_OWNER ? POLICY_SILENT : idents_verdict(idents(r), &r->who->iam, &req);
    scope = iam_who_scope(&r->who->iam, &req);
    out->in_scope = scope == POLICY_ALLOW;
    if (scope == POLICY_DENY || own > out->verdict)
        out->verdict = scope == POLICY_DENY ? POLICY_DENY : own;
    return ERR_OK;
}

/* A member of an archive can be read by a key of its own: who is denied the archive must not get at it so. */
static bool is_archive_denied(const struct may_ask *member, const struct policy *p)
{
    struct may_ask ask = *member;
    struct said said;
    struct str rest;

    if (!member_possible(ask.r, ask.bucket, member->key))
        return false;
    for (size_t from = 0; arc_format_split(member->key, from, &ask.key, &rest); from = ask.key.n + 1)
        if (ask_all(&ask, p, &said) != ERR_OK || said.verdict == POLICY_DENY)
            return true;
    return false;
}

static bool object_acl(struct s3_request *r, const struct bucket *b, struct str key, struct acl *out)
{
    for (unsigned i = 0; i < r->said.looked_count; i++)
        if (r->said.looked[i].uid == b->id.uid && str_eq(r->said.looked[i].key, key))
            return r->said.looked[i].acl.n && acl_parse(r->arena, r->said.looked[i].acl, out);
    return false;
}

static bool acl_lets(const struct may_ask *ask)
{
    struct s3_request *r = ask->r;
    bool ignore;
    struct acl acl;

    if (!acl_enabled(r, ask->bucket))
        return false;
    ignore = access_block_of(r, ask->bucket).ignore_acls;
    if (acl_of_bucket(r, ask->bucket, &acl) && acl_allows(&acl, &r->principal, ask->action, false, ignore))
        return true;
    return ask->key.n && acl_knows(ask->action) && object_acl(r, ask->bucket, ask->key, &acl) &&
           acl_allows(&acl, &r->principal, ask->action, true, ignore);
}

/* ---- the answer ---- */

enum err s3_may_version(struct s3_request *r, struct str action, const struct bucket *b, struct str key,
                        struct str version)
{
    struct may_ask ask = {r, action, b, key, version};
    bool owner = r->principal.kind == IAM_OWNER, broken = false;
    const struct policy *p = NULL;
    struct said said;
    enum err e;

    if (r->principal.kind == IAM_ANONYMOUS && !b)
        return ERR_ACCESS_DENIED;
    if (b && !(owner && is_of_policy(action)))
        p = bucket_policy_of(r, b, &broken);
    if (broken)
        return reply_error(r, ERR_ACCESS_DENIED, "The policy of the bucket can't be read.");
    if ((e = ask_all(&ask, p, &said)) != ERR_OK)
        return e;
    if (said.verdict == POLICY_DENY || !said.in_scope || (b && is_archive_denied(&ask, p)))
        return ERR_ACCESS_DENIED;
    if (owner)
        return ERR_OK;
    if (said.verdict == POLICY_ALLOW && r->principal.kind == IAM_ANONYMOUS && access_block_of(r, b).restrict_buckets &&
        policy_is_public(p))
        said.verdict = POLICY_SILENT;
    return said.verdict == POLICY_ALLOW || (b && acl_lets(&ask)) ? ERR_OK : ERR_ACCESS_DENIED;
}

enum err s3_may(struct s3_request *r, struct str action, const struct bucket *b, struct str key)
{
    bool own = b == &r->bucket && str_eq(key, r->key);

    return s3_may_version(r, action, b, key, own ? s3_query(r, STR("versionId")) : STR_NONE);
}

static bool is_put(struct str action)
{
    return str_eq(action, STR("s3:PutObject"));
}

bool s3_may_later(struct s3_request *r)
{
    const struct policy *p;
    bool broken;
    bool tags = r->route->first == put_object_tagging && !r->said.has_tags;
    bool lock = (r->route->first == put_retention || r->route->first == put_legal_hold) && !r->said.has_lock;

    if (!tags && !lock)
        return false;
    p = bucket_policy_of(r, &r->bucket, &broken);
    return decides_by(r, p, tags ? STR("s3:requestobjecttag") : STR("s3:object-lock-"));
}

/* What a request wants besides: tags of what it writes, what GetObjectAttributes shows of an object. */
static enum err may_besides(struct s3_request *r, struct str action, const struct bucket *b)
{
    enum err e = ERR_OK;

    if (is_put(action) && s3_header(r, STR("x-amz-tagging")).n)
        e = s3_may(r, STR("s3:PutObjectTagging"), b, r->key);
    if (e == ERR_OK && r->route->first == get_object_attributes)
        e = s3_may(r, r->subs & SUB(VERSION_ID) ? STR("s3:GetObjectVersion") : STR("s3:GetObject"), b, r->key);
    return e;
}

/* Before anything of a body is read: whether it could be of any use. */
static bool lets_in(struct s3_request *r, const struct bucket *b)
{
    bool broken;

    return r->principal.kind != IAM_ANONYMOUS || (b && (bucket_policy_of(r, b, &broken) || acl_enabled(r, b)));
}

/* No list can allow what is not there: who may list the bucket may know that. */
static enum err told_missing(struct s3_request *r, enum err e)
{
    if (r->principal.kind == IAM_OWNER || !acl_enabled(r, &r->bucket))
        return e;
    for (unsigned i = 0; i < r->said.looked_count; i++)
        if (e == ERR_ACCESS_DENIED && r->said.looked[i].missing && r->said.looked[i].uid == r->bucket.id.uid &&
            str_eq(r->said.looked[i].key, r->key) && s3_may(r, STR("s3:ListBucket"), &r->bucket, STR("")) == ERR_OK)
            return r->subs & SUB(VERSION_ID) ? ERR_NO_SUCH_VERSION : objreq_fail(r, ERR_NO_SUCH_KEY, r->key, NULL);
    return e;
}

enum err s3_may_route(struct s3_request *r)
{
    struct str action = route_permission(r->route, r->subs & SUB(VERSION_ID));
    const struct bucket *b = r->level >= LEVEL_BUCKET && !(r->route->flags & ROUTE_NO_BUCKET) ? &r->bucket : NULL;
    enum err e;

    if (action.n == 0) /* the operation asks by itself */
        return lets_in(r, b) ? ERR_OK : ERR_ACCESS_DENIED;
    if (s3_may_later(r))
        return ERR_OK;
    if ((e = s3_may(r, action, b, r->key)) != ERR_OK || (e = may_besides(r, action, b)) != ERR_OK)
        return told_missing(r, e);
    if (r->principal.kind == IAM_ANONYMOUS && transform_wanted(r))
        return reply_error(r, ERR_ACCESS_DENIED, "Only signed requests can be transformed.");
    return ERR_OK;
}

/* Strangers do not learn which buckets there are, either. */
static bool is_hidden(struct s3_request *r, enum err e)
{
    const struct bucket *b = r->looked_in ? r->looked_in : &r->bucket;

    if (!r->route || r->route->flags & ROUTE_OPEN)
        return false;
    if (e == ERR_NO_SUCH_BUCKET || e == ERR_INVALID_BUCKET_NAME)
        return r->principal.kind == IAM_ANONYMOUS;
    return (e == ERR_NO_SUCH_KEY || e == ERR_NOT_FOUND || e == ERR_NO_SUCH_VERSION || e == ERR_NO_SUCH_MEMBER) &&
           r->level == LEVEL_OBJECT && b->id.uid != 0 && s3_may(r, STR("s3:ListBucket"), b, STR("")) != ERR_OK;
}

enum err s3_may_hide(struct s3_request *r, enum err e)
{
    if (!is_hidden(r, e))
        return e;
    r->reply.message = STR_NONE;
    r->reply.detail_count = 0;
    r->reply.keep_headers = false;
    return ERR_ACCESS_DENIED;
}

/* ---- tags and lists of objects ---- */

struct look_state {
    struct obj_head_req req;
    struct obj_head_res res;
    struct version_find_req find;
    struct version_find_res found;
    struct {
        struct bucket bucket;
        struct str key, version;
    } wanted[SAID_TAGS_MAX];
    unsigned n;
};

static step_fn look_found, look_named;

static void want(struct s3_request *r, struct look_state *l, struct str action, const struct bucket *b, struct str key,
                 struct str version)
{
    bool broken;
    const struct policy *p = bucket_policy_of(r, b, &broken);
    bool tags = wants_tags(r, p, action);
    bool acl = r->principal.kind != IAM_OWNER && acl_knows(action) && acl_enabled(r, b);

    if ((!tags && !acl) || l->n == SAID_TAGS_MAX)
        return;
    l->wanted[l->n].bucket = *b;
    l->wanted[l->n].version = version;
    l->wanted[l->n++].key = key;
}

static void want_archives(struct s3_request *r, struct look_state *l, struct str action, const struct bucket *b,
                          struct str key)
{
    struct str archive, rest;

    if (!member_possible(r, b, key))
        return;
    for (size_t from = 0; l->n < SAID_TAGS_MAX && arc_format_split(key, from, &archive, &rest); from = archive.n + 1)
        want(r, l, action, b, archive, STR_NONE);
}

/* A source that can't be found is told of by the operation. */
static void want_source(struct s3_request *r, struct look_state *l)
{
    struct copy_source from;
    struct str action;
    struct bucket b;

    if (r->route->must & SUB(COPY_SOURCE) &&
        copy_source_parse(r->arena, s3_header(r, STR("x-amz-copy-source")), &from) == ERR_OK &&
        buckets_find(r->env->buckets, r->arena, from.bucket, &b) == ERR_OK) {
        action = from.version.p ? STR("s3:GetObjectVersion") : STR("s3:GetObject");
        want(r, l, action, &b, from.key, from.version);
        want_archives(r, l, action, &b, from.key);
    }
}

bool may_wants_look(struct s3_request *r)
{
    struct str action = route_permission(r->route, r->subs & SUB(VERSION_ID));
    struct look_state *l;

    bool broken, copies = r->route->must & SUB(COPY_SOURCE);

    if (is_put(action) && s3_header(r, STR("x-amz-tagging")).n) /* may_besides() asks for that as well */
        action = STR("s3:PutObjectTagging");
    if (r->level != LEVEL_OBJECT || !r->env->confs ||
        (!copies && !bucket_policy_of(r, &r->bucket, &broken) && !wants_tags(r, NULL, action) &&
         (r->principal.kind == IAM_OWNER || !acl_enabled(r, &r->bucket))))
        return false;
    l = ARENA_NEW(r->arena, struct look_state);
    want(r, l, action, &r->bucket, r->key, s3_query(r, STR("versionId")));
    want_archives(r, l, action, &r->bucket, r->key);
    want_source(r, l);
    r->state = l; /* until the operation's own takes its place */
    return l->n > 0;
}

enum step_next may_look(struct op *op)
{
    struct s3_request *r = S3(op);
    struct look_state *l = r->state;
    unsigned i = r->said.looked_count;

    if (i == l->n)
        return op_go(op, request_may);
    if (l->wanted[i].version.p) {
        l->find = (struct version_find_req){l->wanted[i].bucket.id, l->wanted[i].key, l->wanted[i].version};
        l->found = (struct version_find_res){.info = {0}};
        version_find(r, &l->find, &l->found, op_try(op, look_named));
        return STEP_WAIT;
    }
    l->req = (struct obj_head_req){
        .arena = r->arena, .bucket = l->wanted[i].bucket.id, .key = l->wanted[i].key, .cond = COND_INIT};
    l->res = (struct obj_head_res){.offset = 0};
    store_obj_head(r->env->store, &l->req, &l->res, op_try(op, look_found));
    return STEP_WAIT;
}

static enum step_next looked(struct op *op, const struct object_info *info)
{
    struct s3_request *r = S3(op);
    struct look_state *l = r->state;
    unsigned i = r->said.looked_count++;

    r->said.looked[i].uid = l->wanted[i].bucket.id.uid;
    r->said.looked[i].key = l->wanted[i].key;
    r->said.looked[i].missing = !info;
    r->said.looked[i].tags = info ? info->tags : STR("");
    r->said.looked[i].acl = info ? object_attr(info, ACL_ATTR) : STR("");
    return op_go(op, may_look);
}

static enum step_next look_found(struct op *op)
{
    struct look_state *l = S3(op)->state;
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_KEY && e != ERR_NOT_FOUND)
        return op_fail(op, e);
    return looked(op, e == ERR_OK ? &l->res.info : NULL);
}

/* What is no version id is told of by the operation, to who may ask. */
static enum step_next look_named(struct op *op)
{
    struct s3_request *r = S3(op);
    struct look_state *l = r->state;
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_VERSION && e != ERR_NO_SUCH_KEY && e != ERR_INVALID_ARGUMENT)
        return op_fail(op, e);
    r->reply.detail_count = 0;
    r->reply.message = STR_NONE;
    return looked(op, e == ERR_OK ? &l->found.info : NULL);
}
