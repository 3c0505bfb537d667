/* The tags of an object. They are a part of its record: to change them is to copy it onto itself, without its content. */
#include "s3api/may.h"
#include "s3api/objreq.h"
#include "s3api/settings.h"
#include "s3api/tags.h"
#include "s3api/version.h"

enum { DOCUMENT_MAX = 64 << 10 };

step_fn get_object_tagging, put_object_tagging, delete_object_tagging; /* routes.def */

struct tagging_state {
    struct obj_head_req req;
    struct obj_head_res res;
};

static step_fn tagging_found;

enum step_next get_object_tagging(struct op *op)
{
    struct s3_request *r = S3(op);
    struct tagging_state *t = r->state = ARENA_NEW(r->arena, struct tagging_state);

    t->req =
        (struct obj_head_req){.arena = r->arena, .bucket = r->place.bucket, .key = r->place.key, .cond = COND_INIT};
    store_obj_head(r->env->store, &t->req, &t->res, op_try(op, tagging_found));
    return STEP_WAIT;
}

static enum step_next tagging_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct tagging_state *t = r->state;
    struct tag tags[TAGS_MAX];
    size_t n = 0;
    enum err e;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, NULL));
    if (t->res.info.tags.n && (e = tags_parse(r->arena, t->res.info.tags, tags, &n)) != ERR_OK)
        return op_fail(op, e);
    version_reply_place(r, &t->res.info);
    struct buf *b = reply_xml(r);
    xml_begin(b, STR("Tagging"));
    xml_open(b, STR("TagSet"));
    for (size_t i = 0; i < n; i++) {
        xml_open(b, STR("Tag"));
        xml_str(b, STR("Key"), tags[i].key);
        xml_str(b, STR("Value"), tags[i].value);
        xml_close(b, STR("Tag"));
    }
    xml_close(b, STR("TagSet"));
    xml_close(b, STR("Tagging"));
    return op_go(op, reply_send);
}

/* ---- PutObjectTagging, DeleteObjectTagging ---- */

struct retag_state {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct obj_copy_req req;
    struct obj_copy_res res;
};

static step_fn retag_parse, retag_copy, retag_done;

static struct retag_state *retag_new(struct s3_request *r)
{
    struct retag_state *t = r->state = ARENA_NEW(r->arena, struct retag_state);

    t->req = (struct obj_copy_req){.arena = r->arena,
                                   .src_bucket = r->place.bucket,
                                   .src_key = r->place.key,
                                   .src_cond = COND_INIT,
                                   .bucket = r->place.bucket,
                                   .key = r->place.key,
                                   .cond = COND_INIT,
                                   .replace_tags = true,
                                   .keep_mtime = true,
                                   .size_max = OBJECT_SIZE_MAX};
    return t;
}

enum step_next put_object_tagging(struct op *op)
{
    struct s3_request *r = S3(op);
    struct retag_state *t = retag_new(r);

    t->read = (struct s3_read_req){.request = r, .max = DOCUMENT_MAX};
    s3_read_xml(r, &t->read, &t->xml, op_call(op, retag_parse));
    return STEP_WAIT;
}

static enum step_next retag_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct retag_state *t = r->state;
    struct setting_read s = {.arena = r->arena, .doc = &t->xml.doc};
    struct tag tags[TAGS_MAX];
    size_t n = 0;
    enum err e = ERR_MALFORMED_XML;

    if (str_eq(xml_root(&t->xml.doc)->name, STR("Tagging")))
        e = tagging_read(&s, tags, TAGS_MAX, &n);
    if (e == ERR_OK && !tags_are_plain(tags, n))
        e = ERR_INVALID_TAG;
    if (e != ERR_OK)
        return op_fail(op, s.why[0] ? reply_error(r, e, "%s", s.why) : e);
    t->req.info.tags = tags_encode(r->arena, tags, n);
    if (s3_may_later(r)) {
        r->said.has_tags = true;
        r->said.tags = t->req.info.tags;
        if ((e = s3_may_route(r)) != ERR_OK)
            return op_fail(op, e);
    }
    return op_go(op, retag_copy);
}

static enum step_next retag_copy(struct op *op)
{
    struct s3_request *r = S3(op);
    struct retag_state *t = r->state;

    t->req.cause = s3_cause(r, r->http->method == HTTP_DELETE ? EVENT_TAGS_DELETE : EVENT_TAGS_PUT);
    store_obj_copy(r->env->store, &t->req, &t->res, op_try(op, retag_done));
    return STEP_WAIT;
}

static enum step_next retag_done(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct retag_state *t = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, NULL));
    version_reply_place(r, &t->res.info);
    return op_go(op, reply_send);
}

enum step_next delete_object_tagging(struct op *op)
{
    struct s3_request *r = S3(op);

    retag_new(r);
    reply_status(r, 204);
    return op_go(op, retag_copy);
}
