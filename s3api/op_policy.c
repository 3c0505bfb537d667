/* PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus. */
#include "base/clock.h"
#include "s3api/may.h"
#include "s3api/settings.h"

step_fn put_bucket_policy, get_bucket_policy, delete_bucket_policy, get_bucket_policy_status; /* routes.def */

struct policy_op {
    struct s3_read_req read;
    struct s3_read_res body;
    struct bucket_conf_put_req put;
    struct bucket_conf_put_res written;
};

static step_fn policy_check, policy_put;

static struct policy_op *policy_op(struct s3_request *r)
{
    struct policy_op *p = r->state = ARENA_NEW(r->arena, struct policy_op);

    p->put = (struct bucket_conf_put_req){.arena = r->arena, .uid = r->bucket.id.uid, .name = STR("policy")};
    return p;
}

enum step_next put_bucket_policy(struct op *op)
{
    struct s3_request *r = S3(op);
    struct policy_op *p = policy_op(r);

    if (!r->env->confs)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    p->read = (struct s3_read_req){.request = r, .max = POLICY_TEXT_MAX};
    s3_read_body(r, &p->read, &p->body, op_try(op, policy_check));
    return STEP_WAIT;
}

/* ---- what a bucket may have ---- */

/* S3 API: x-amz-confirm-remove-self-bucket-access. The owner can't be locked out. */
static bool locks_out(struct s3_request *r, const struct policy *p)
{
    struct may_ask ask = {r, STR("s3:PutBucketPolicy"), &r->bucket, STR(""), STR_NONE};
    const struct iam_request req = {.principal = &r->principal,
                                    .action = ask.action,
                                    .resource =
                                        arena_printf(r->arena, "arn:aws:s3:::" STR_FMT, STR_ARG(r->bucket_name)),
                                    .now_s = clock_wall_ns() / NS_PER_S,
                                    .lookup = may_lookup,
                                    .arg = &ask};

    return r->principal.kind != IAM_OWNER && policy_evaluate(p, &req) == POLICY_DENY &&
           !str_eq_nocase(s3_header(r, STR("x-amz-confirm-remove-self-bucket-access")), STR("true"));
}

static enum step_next policy_check(struct op *op)
{
    struct s3_request *r = S3(op);
    struct policy_op *s = r->state;
    char why[POLICY_WHY_MAX] = "";
    const struct policy *p = NULL;
    enum err e = op->call.err;

    if (e == ERR_TOO_LARGE)
        e = reply_error(r, ERR_MALFORMED_POLICY, "Policy exceeds the maximum allowed document size of %d bytes.",
                        POLICY_TEXT_MAX);
    if (e != ERR_OK)
        return op_fail(op, e);
    if ((e = bucket_policy_read(r->arena, s->body.body, r->bucket.id.name, &p, why)) != ERR_OK)
        return op_fail(op, reply_error(r, e, "%s", why));
    if (access_block_of(r, &r->bucket).block_policy && policy_is_public(p))
        return op_fail(op, reply_error(r, ERR_ACCESS_DENIED,
                                       "Public policies are blocked by the BlockPublicPolicy setting of the bucket."));
    if (locks_out(r, p))
        return op_fail(op, reply_error(r, ERR_ACCESS_DENIED,
                                       "The policy would keep you from changing it again: say so by "
                                       "x-amz-confirm-remove-self-bucket-access."));
    s->put.text = s->body.body;
    reply_status(r, 204);
    return op_go(op, policy_put);
}

static enum step_next policy_put(struct op *op)
{
    struct s3_request *r = S3(op);
    struct policy_op *s = r->state;

    bucket_conf_put(r->env->confs, &s->put, &s->written, op_call(op, reply_send));
    return STEP_WAIT;
}

enum step_next delete_bucket_policy(struct op *op)
{
    struct s3_request *r = S3(op);

    policy_op(r);
    reply_status(r, 204);
    return r->env->confs ? op_go(op, policy_put) : op_fail(op, ERR_NOT_IMPLEMENTED);
}

/* ---- what it has ---- */

static const struct bucket_doc *kept(struct s3_request *r)
{
    reply_detail(r, STR("BucketName"), r->bucket_name);
    return r->env->confs ? bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, STR("policy")) : NULL;
}

enum step_next get_bucket_policy(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct bucket_doc *d = kept(r);

    if (!d)
        return op_fail(op, ERR_NO_SUCH_POLICY);
    reply_header(r, STR("Content-Type"), STR("application/json"));
    reply_body(r, source_memory(d->text, NULL, NULL));
    return op_go(op, reply_send);
}

enum step_next get_bucket_policy_status(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct bucket_doc *d = kept(r);
    struct buf *b = reply_xml(r);

    if (!d)
        return op_fail(op, ERR_NO_SUCH_POLICY);
    xml_begin(b, STR("PolicyStatus"));
    xml_bool(b, STR("IsPublic"), !d->parsed || policy_is_public(d->parsed));
    xml_close(b, STR("PolicyStatus"));
    return op_go(op, reply_send);
}
