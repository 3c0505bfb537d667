/* GetObjectTagging: the tags that came with the object. aws-cli asks for them before it copies a large object. */
#include "s3api/objreq.h"
#include "s3api/tags.h"

step_fn get_object_tagging; /* routes.def */

struct tagging_state {
    struct obj_head_req req;
    struct obj_head_res res;
};

static step_fn tagging_found;

enum step_next get_object_tagging(struct op *op)
{
    struct s3_request *r = S3(op);
    struct tagging_state *t = r->state = ARENA_NEW(r->arena, struct tagging_state);
    enum err e;

    if ((e = objreq_check_version(r)) != ERR_OK)
        return op_fail(op, e);
    t->req = (struct obj_head_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .cond = COND_INIT};
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
