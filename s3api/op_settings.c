/* Put, Get and Delete of the documents by which a bucket is configured. */
#include "s3api/request.h"
#include "s3api/settings.h"

step_fn put_bucket_setting, get_bucket_setting, delete_bucket_setting; /* routes.def */

struct setting_op {
    const struct setting *row;
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct bucket_conf_put_req put;
    struct bucket_conf_put_res written;
};

static step_fn setting_check, setting_put;

static struct setting_op *setting_op(struct s3_request *r)
{
    struct setting_op *s = r->state = ARENA_NEW(r->arena, struct setting_op);

    s->row = setting_find(r->route->must);
    s->put = (struct bucket_conf_put_req){.arena = r->arena, .uid = r->bucket.id.uid};
    if (s->row)
        s->put.name = s->row->name;
    return s;
}

static bool can_change(const struct s3_request *r, const struct setting_op *s)
{
    return s->row && !s->row->fixed && r->env->confs;
}

enum step_next put_bucket_setting(struct op *op)
{
    struct s3_request *r = S3(op);
    struct setting_op *s = setting_op(r);

    if (!can_change(r, s))
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    if (s->row->own && (r->bucket.id.backend || r->bucket.id.view))
        return op_fail(op,
                       reply_error(r, ERR_NOT_IMPLEMENTED,
                                   "%s is not implemented for buckets that show what is elsewhere.", r->route->name));
    s->read = (struct s3_read_req){.request = r, .max = s->row->document_max};
    s3_read_xml(r, &s->read, &s->xml, op_call(op, setting_check));
    return STEP_WAIT;
}

static enum step_next setting_check(struct op *op)
{
    struct s3_request *r = S3(op);
    struct setting_op *s = r->state;
    struct setting_read read = {.arena = r->arena, .doc = &s->xml.doc};
    enum err e;

    if (!str_eq(xml_root(&s->xml.doc)->name, s->row->root))
        return op_fail(op, ERR_MALFORMED_XML);
    if ((e = s->row->read(&read)) != ERR_OK)
        return op_fail(op, read.why[0] ? reply_error(r, e, "%s", read.why) : e);
    if (s->row->fits && (e = s->row->fits(r, read.made)) != ERR_OK)
        return op_fail(op, e);
    if (!read.unset)
        s->put.text = setting_text(r->arena, &s->xml.doc);
    reply_status(r, s->row->status);
    return op_go(op, setting_put);
}

static enum step_next setting_put(struct op *op)
{
    struct s3_request *r = S3(op);
    struct setting_op *s = r->state;

    bucket_conf_put(r->env->confs, &s->put, &s->written, op_call(op, reply_send));
    return STEP_WAIT;
}

enum step_next delete_bucket_setting(struct op *op)
{
    struct s3_request *r = S3(op);
    struct setting_op *s = setting_op(r);

    enum err e;

    if (s->row && s->row->fits_none && (e = s->row->fits(r, NULL)) != ERR_OK)
        return op_fail(op, e);
    reply_status(r, 204);
    return can_change(r, s) ? op_go(op, setting_put) : op_fail(op, ERR_NOT_IMPLEMENTED);
}

/* Without one, what S3 says of a bucket that never had any. */
enum step_next get_bucket_setting(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct setting *row = setting_find(r->route->must);
    const struct bucket_doc *d = NULL;
    struct buf *b = reply_xml(r);

    if (!row)
        return op_fail(op, ERR_NOT_IMPLEMENTED); /* a row of routes.def without one of settings.c */
    if (r->env->confs && !row->fixed)
        d = bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, row->name);
    if (!d && row->absent != ERR_OK) {
        reply_detail(r, STR("BucketName"), r->bucket_name);
        return op_fail(op, row->absent);
    }
    xml_begin(b, row->root);
    if (d) {
        buf_add_str(b, str_skip(d->text, row->root.n + 2)); /* behind <Root> */
        return op_go(op, reply_send);
    }
    buf_add_str(b, row->content);
    xml_close(b, row->root);
    return op_go(op, reply_send);
}
