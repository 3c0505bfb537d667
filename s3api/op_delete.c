/* DeleteObject and DeleteObjects. */
#include "s3api/cond.h"
#include "s3api/may.h"
#include "s3api/member.h"
#include "s3api/name.h"
#include "s3api/objreq.h"
#include "s3api/version.h"

step_fn delete_object, delete_objects; /* routes.def */

/* Which version is to be deleted. `id`: as sent; p == NULL: none in particular. */
static enum err name_version(struct s3_request *r, struct str id, struct obj_delete_req *req)
{
    if (!id.p || (r->bucket.id.versions == VERSIONS_OFF && str_eq(id, STR("null"))))
        return ERR_OK;
    if (!version_id_parse(id, &req->version)) {
        reply_detail(r, STR("ArgumentName"), STR("versionId"));
        reply_detail(r, STR("ArgumentValue"), id);
        return reply_error(r, ERR_INVALID_ARGUMENT, "%s",
                           id.n ? "Invalid version id specified" : "Version id cannot be the empty string");
    }
    req->of_version = true;
    return ERR_OK;
}

/* Only who may, and says so, deletes what is retained in governance mode. */
static enum err ask_bypass(struct s3_request *r, struct str key, struct obj_delete_req *req)
{
    req->bypass = str_eq_nocase(s3_header(r, STR("x-amz-bypass-governance-retention")), STR("true"));
    return req->bypass ? s3_may(r, STR("s3:BypassGovernanceRetention"), &r->bucket, key) : ERR_OK;
}

/* ---- one ---- */

struct delete_state {
    struct obj_delete_req req;
    struct obj_delete_res res;
};

static step_fn delete_done;

enum step_next delete_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct delete_state *d = r->state = ARENA_NEW(r->arena, struct delete_state);
    enum err e;

    if ((e = objreq_refuse_unsupported(r)) != ERR_OK)
        return op_fail(op, e);
    d->req = (struct obj_delete_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key};
    if ((e = name_version(r, s3_query(r, STR("versionId")), &d->req)) != ERR_OK ||
        (e = ask_bypass(r, r->key, &d->req)) != ERR_OK)
        return op_fail(op, e);
    cond_parse_write(r->http, &d->req.cond);
    d->req.cause = s3_cause(r, EVENT_BY_METHOD);
    store_obj_delete(r->env->store, &d->req, &d->res, op_try(op, delete_done));
    return STEP_WAIT;
}

static enum step_next delete_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct delete_state *d = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, &d->req.cond));
    reply_status(r, 204);
    if (d->res.tells_version) {
        version_reply_id(r, STR("x-amz-version-id"), d->res.version);
        if (version_is_marker(d->res.version.kind))
            reply_header(r, STR("x-amz-delete-marker"), STR("true"));
    }
    return op_go(op, reply_send);
}

/* ---- many ---- */

enum {
    DELETE_BODY_MAX = 4 << 20, /* 1000 keys of 1024 bytes, escaped */
    DELETE_AT_ONCE = 64,       /* enough to share a group commit, few enough to leave room for others */
};

struct delete_item {
    struct group_call member;
    struct obj_delete_req req;
    struct obj_delete_res res;
    struct str version; /* as sent; p == NULL: none */
    enum err err;       /* found before the store was asked, then the store's */
};

struct delete_many_state {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct delete_item *items;
    size_t count;
    size_t at;  /* first item of the batch that runs */
    size_t end; /* behind its last */
    bool quiet;
    struct call_group group;
};

static step_fn delete_many_parse, delete_many_batch, delete_many_ended;
static enum err parse_document(struct s3_request *r, struct delete_many_state *d);
static void write_result(struct buf *b, struct arena *arena, const struct delete_many_state *d);

enum step_next delete_objects(struct op *op)
{
    struct s3_request *r = S3(op);
    struct delete_many_state *d = r->state = ARENA_NEW(r->arena, struct delete_many_state);

    d->read = (struct s3_read_req){.request = r, .max = DELETE_BODY_MAX, .need_digest = true};
    s3_read_xml(r, &d->read, &d->xml, op_call(op, delete_many_parse));
    return STEP_WAIT;
}

static enum step_next delete_many_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    enum err e = parse_document(r, r->state);

    return e != ERR_OK ? op_fail(op, e) : op_go(op, delete_many_batch);
}

static enum step_next delete_many_batch(struct op *op)
{
    struct s3_request *r = S3(op);
    struct delete_many_state *d = r->state;

    d->end = d->count - d->at > DELETE_AT_ONCE ? d->at + DELETE_AT_ONCE : d->count;
    call_group_init(&d->group, op_try(op, delete_many_ended));
    for (size_t i = d->at; i < d->end; i++) {
        struct delete_item *item = &d->items[i];
        if (item->err != ERR_OK)
            continue;
        item->req.cause = s3_cause(r, EVENT_BY_METHOD);
        member_obj_delete(r, &item->req, &item->res, group_call(&d->group, &item->member));
    }
    call_group_seal(&d->group);
    return STEP_WAIT;
}

static enum step_next delete_many_ended(struct op *op)
{
    struct s3_request *r = S3(op);
    struct delete_many_state *d = r->state;

    for (size_t i = d->at; i < d->end; i++)
        if (d->items[i].err == ERR_OK)
            d->items[i].err = d->items[i].member.call.err;
    d->at = d->end;
    if (d->at < d->count)
        return op_go(op, delete_many_batch);
    write_result(reply_xml(r), r->arena, d);
    return op_go(op, reply_send);
}

static enum err parse_item(struct s3_request *r, const struct xml_doc *doc, const struct xml_node *n,
                           struct delete_item *item)
{
    struct str key = xml_child_text(doc, n, STR("Key")), etag = xml_child_text(doc, n, STR("ETag"));

    if (key.n == 0)
        return ERR_MALFORMED_XML;
    item->req = (struct obj_delete_req){.arena = r->arena, .bucket = r->bucket.id, .key = key, .cond = COND_INIT};
    if (etag.n)
        item->req.cond.if_match = etag;
    item->version = xml_child_text(doc, n, STR("VersionId"));
    item->err = name_check_key(key);
    if (item->err == ERR_OK)
        item->err = s3_may_version(r, item->version.n ? STR("s3:DeleteObjectVersion") : STR("s3:DeleteObject"),
                                   &r->bucket, key, item->version.n ? item->version : STR_NONE);
    if (item->err == ERR_OK && item->version.n)
        item->err = name_version(r, item->version, &item->req);
    if (item->err == ERR_OK)
        item->err = ask_bypass(r, key, &item->req);
    /* Conditions of directory buckets: not to be ignored, or more is deleted than was meant. */
    if (xml_child(doc, n, STR("LastModifiedTime")) || xml_child(doc, n, STR("Size")))
        item->err = ERR_NOT_IMPLEMENTED;
    return ERR_OK;
}

static enum err parse_document(struct s3_request *r, struct delete_many_state *d)
{
    const struct xml_doc *doc = &d->xml.doc;
    const struct xml_node *root = xml_root(doc), *n;
    struct str quiet = xml_child_text(doc, root, STR("Quiet"));
    size_t count = 0;

    if (!str_eq(root->name, STR("Delete")))
        return ERR_MALFORMED_XML;
    for (n = xml_first(doc, root); n; n = xml_next(doc, root, n))
        count += str_eq(n->name, STR("Object"));
    if (count == 0 || count > LIST_MAX)
        return ERR_MALFORMED_XML;
    d->quiet = str_eq_nocase(str_trim(quiet), STR("true"));
    d->items = arena_new(r->arena, count * sizeof(*d->items));
    for (n = xml_first(doc, root); n; n = xml_next(doc, root, n)) {
        enum err e = ERR_OK;
        if (str_eq(n->name, STR("Object")))
            e = parse_item(r, doc, n, &d->items[d->count++]);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static void write_item(struct buf *b, struct arena *arena, const struct delete_item *item, bool quiet)
{
    struct str element = item->err == ERR_OK ? STR("Deleted") : STR("Error");

    if (item->err == ERR_OK && quiet)
        return;
    xml_open(b, element);
    xml_str(b, STR("Key"), item->req.key);
    if (item->version.n)
        xml_str(b, STR("VersionId"), item->version);
    if (item->err == ERR_OK && item->res.tells_version && version_is_marker(item->res.version.kind)) {
        xml_bool(b, STR("DeleteMarker"), true);
        xml_str(b, STR("DeleteMarkerVersionId"), version_text(arena, item->res.version));
    }
    if (item->err != ERR_OK) {
        xml_str(b, STR("Code"), str_z(err_code(item->err)));
        xml_str(b, STR("Message"), str_z(err_text(item->err)));
    }
    xml_close(b, element);
}

static void write_result(struct buf *b, struct arena *arena, const struct delete_many_state *d)
{
    xml_begin(b, STR("DeleteResult"));
    for (size_t i = 0; i < d->count; i++)
        write_item(b, arena, &d->items[i], d->quiet);
    xml_close(b, STR("DeleteResult"));
}
