/* GetBucketVersioning and PutBucketVersioning: kept in the bucket's record, because every write goes by it. */
#include "s3api/heard.h"
#include "s3api/request.h"

step_fn get_bucket_versioning, put_bucket_versioning; /* routes.def */

enum { DOCUMENT_MAX = 4096 };

struct versioning_op {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct bucket_set_props_req req;
    struct bucket_set_props_res res;
    struct heard heard;
};

static step_fn versioning_parse, versioning_set;

enum step_next get_bucket_versioning(struct op *op)
{
    struct s3_request *r = S3(op);
    struct buf *b = reply_xml(r);

    xml_begin(b, STR("VersioningConfiguration"));
    if (r->bucket.id.versions != VERSIONS_OFF)
        xml_str(b, STR("Status"), r->bucket.id.versions == VERSIONS_ON ? STR("Enabled") : STR("Suspended"));
    xml_close(b, STR("VersioningConfiguration"));
    return op_go(op, reply_send);
}

enum step_next put_bucket_versioning(struct op *op)
{
    struct s3_request *r = S3(op);
    struct versioning_op *v = r->state = ARENA_NEW(r->arena, struct versioning_op);

    v->read = (struct s3_read_req){.request = r, .max = DOCUMENT_MAX};
    s3_read_xml(r, &v->read, &v->xml, op_call(op, versioning_parse));
    return STEP_WAIT;
}

/* Why a bucket can't have versions; NULL: it can. */
static const char *why_not(const struct s3_request *r)
{
    if (r->bucket.id.backend || r->bucket.id.view)
        return "Versioning is not implemented for buckets that show what is elsewhere.";
    if (r->bucket.id.redundancy.kind != REDUNDANCY_NONE)
        return "Versioning is not implemented for buckets with copies, replicas or slices: make the bucket with "
               "x-sluice-redundancy: none.";
    if (version_uid_is_shadow(r->bucket.id.uid))
        return "The bucket was made before there were versions: copy what it holds into a new one.";
    return NULL;
}

static enum step_next versioning_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct versioning_op *v = r->state;
    const struct xml_node *root = xml_root(&v->xml.doc);
    struct str status = xml_child_text(&v->xml.doc, root, STR("Status"));
    struct str mfa = xml_child_text(&v->xml.doc, root, STR("MfaDelete"));
    const char *why = why_not(r);
    bool on = str_eq(status, STR("Enabled"));

    if (!str_eq(root->name, STR("VersioningConfiguration")) || (!on && !str_eq(status, STR("Suspended"))))
        return op_fail(op, ERR_MALFORMED_XML);
    if (mfa.n && !str_eq(mfa, STR("Disabled")))
        return op_fail(op, reply_error(r, ERR_NOT_IMPLEMENTED, "MfaDelete is not implemented."));
    if (why)
        return op_fail(op, reply_error(r, ERR_NOT_IMPLEMENTED, "%s", why));
    if (!on && r->bucket.locks)
        return op_fail(op, reply_error(r, ERR_INVALID_BUCKET_STATE,
                                       "An Object Lock configuration is present on this bucket, so the versioning "
                                       "state cannot be changed."));
    v->req = (struct bucket_set_props_req){.arena = r->arena,
                                           .name = r->bucket_name,
                                           .change = STR("{}"),
                                           .set_versions = true,
                                           .versions = on ? VERSIONS_ON : VERSIONS_SUSPENDED,
                                           .locks = r->bucket.locks};
    buckets_set_props(r->env->buckets, &v->req, &v->res, op_call(op, versioning_set));
    return STEP_WAIT;
}

/* A write through a gateway that doesn't know yet would replace what should be kept. */
static enum step_next versioning_set(struct op *op)
{
    struct s3_request *r = S3(op);
    struct versioning_op *v = r->state;

    return heard_then(r, &v->heard, reply_send);
}
