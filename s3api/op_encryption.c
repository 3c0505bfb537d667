/* GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption: kept in the bucket's record, because every write goes by it. */
#include "s3api/encryption.h"
#include "s3api/heard.h"
#include "s3api/request.h"

step_fn get_bucket_encryption, put_bucket_encryption, delete_bucket_encryption; /* routes.def */

enum { DOCUMENT_MAX = 4096 };

struct encryption_op {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct bucket_set_props_req req;
    struct bucket_set_props_res res;
    struct heard heard;
};

static step_fn encryption_parse, encryption_written;

#define ROOT STR("ServerSideEncryptionConfiguration")
#define BY   STR("ApplyServerSideEncryptionByDefault")

enum step_next get_bucket_encryption(struct op *op)
{
    struct s3_request *r = S3(op);
    struct buf *b = reply_xml(r);

    if (!r->bucket.id.encrypted) {
        reply_detail(r, STR("BucketName"), r->bucket_name);
        return op_fail(op, ERR_NO_SUCH_ENCRYPTION);
    }
    xml_begin(b, ROOT);
    xml_open(b, STR("Rule"));
    xml_open(b, BY);
    xml_str(b, STR("SSEAlgorithm"), ENCRYPTION_S3);
    xml_close(b, BY);
    xml_str(b, STR("BucketKeyEnabled"), r->bucket.bucket_key ? STR("true") : STR("false"));
    xml_close(b, STR("Rule"));
    xml_close(b, ROOT);
    return op_go(op, reply_send);
}

enum step_next put_bucket_encryption(struct op *op)
{
    struct s3_request *r = S3(op);
    struct encryption_op *s = r->state = ARENA_NEW(r->arena, struct encryption_op);

    s->read = (struct s3_read_req){.request = r, .max = DOCUMENT_MAX};
    s3_read_xml(r, &s->read, &s->xml, op_call(op, encryption_parse));
    return STEP_WAIT;
}

/* Where a bucket asks for more than can be done, it is told so: none of it would be true otherwise. */
static enum err parse(struct s3_request *r, const struct xml_doc *doc, bool *bucket_key)
{
    const struct xml_node *root = xml_root(doc), *rule, *by;
    struct str algorithm, blocked, bucket;

    if (!str_eq(root->name, ROOT) || !(rule = xml_child(doc, root, STR("Rule"))))
        return ERR_MALFORMED_XML;
    if (!(by = xml_child(doc, rule, BY)))
        return ERR_MALFORMED_XML;
    algorithm = xml_child_text(doc, by, STR("SSEAlgorithm"));
    if (str_starts(algorithm, STR("aws:")) || xml_child_text(doc, by, STR("KMSMasterKeyID")).n)
        return reply_error(r, ERR_NOT_IMPLEMENTED,
                           "Keys of a key management service are not implemented: the "
                           "algorithm is AES256.");
    blocked = xml_child_text(doc, rule, STR("BlockedEncryptionTypes"));
    if (blocked.n || xml_child(doc, rule, STR("BlockedEncryptionTypes")))
        return reply_error(r, ERR_NOT_IMPLEMENTED, "BlockedEncryptionTypes is not implemented.");
    bucket = xml_child_text(doc, rule, STR("BucketKeyEnabled"));
    *bucket_key = str_eq(bucket, STR("true"));
    if (bucket.n && !*bucket_key && !str_eq(bucket, STR("false")))
        return ERR_MALFORMED_XML;
    return str_eq(algorithm, ENCRYPTION_S3) ? encryption_fits(r) : ERR_MALFORMED_XML;
}

static enum step_next encryption_set(struct s3_request *r, struct encryption_op *s, bool on, bool bucket_key)
{
    s->req = (struct bucket_set_props_req){.arena = r->arena,
                                           .name = r->bucket_name,
                                           .change = STR("{}"),
                                           .set_encrypted = true,
                                           .encrypted = on,
                                           .bucket_key = bucket_key};
    buckets_set_props(r->env->buckets, &s->req, &s->res, op_call(&r->op, encryption_written));
    return STEP_WAIT;
}

/* What comes through a gateway that doesn't know yet would be kept as it is. */
static enum step_next encryption_written(struct op *op)
{
    struct s3_request *r = S3(op);
    struct encryption_op *s = r->state;

    return heard_then(r, &s->heard, reply_send);
}

static enum step_next encryption_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct encryption_op *s = r->state;
    bool bucket_key = false;
    enum err e = parse(r, &s->xml.doc, &bucket_key);

    return e == ERR_OK ? encryption_set(r, s, true, bucket_key) : op_fail(op, e);
}

enum step_next delete_bucket_encryption(struct op *op)
{
    struct s3_request *r = S3(op);
    struct encryption_op *s = r->state = ARENA_NEW(r->arena, struct encryption_op);

    reply_status(r, 204);
    return encryption_set(r, s, false, false);
}
