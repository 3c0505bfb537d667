/* ListParts and ListMultipartUploads. */
#include "s3api/objreq.h"

step_fn list_parts, list_multipart_uploads; /* routes.def */

static void write_checksum_kind(struct buf *b, enum hash_alg alg, enum checksum_type type)
{
    if (alg == HASH_NONE)
        return;
    xml_str(b, STR("ChecksumAlgorithm"), hash_name(alg));
    xml_str(b, STR("ChecksumType"), checksum_type_name(type));
}

static void write_owners(struct buf *b, const struct s3_request *r, struct str initiator)
{
    xml_owner(b, STR("Initiator"), initiator.n ? initiator : s3_owner(r));
    xml_owner(b, STR("Owner"), s3_owner(r));
}

static struct str class_or_standard(struct str class)
{
    return class.n ? class : STR("STANDARD");
}

/* ---- parts of one upload ---- */

struct parts_state {
    struct part_list_req req;
    struct part_list_res res;
};

static step_fn parts_listed;

enum step_next list_parts(struct op *op)
{
    struct s3_request *r = S3(op);
    struct parts_state *p = r->state = ARENA_NEW(r->arena, struct parts_state);
    enum err e;

    p->req = (struct part_list_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key};
    p->req.upload_id = s3_query(r, STR("uploadId"));
    if ((e = s3_query_count(r, STR("max-parts"), LIST_MAX, LIST_MAX, &p->req.max)) != ERR_OK ||
        (e = s3_query_count(r, STR("part-number-marker"), PARTS_MAX, 0, &p->req.after)) != ERR_OK)
        return op_fail(op, e);
    store_part_list(r->env->store, &p->req, &p->res, op_try(op, parts_listed));
    return STEP_WAIT;
}

static void write_part(struct buf *b, const struct part_info *p)
{
    xml_open(b, STR("Part"));
    xml_u64(b, STR("PartNumber"), p->number);
    xml_time(b, STR("LastModified"), p->mtime_ns);
    xml_etag(b, &p->etag);
    xml_u64(b, STR("Size"), p->size);
    objreq_xml_digest(b, &p->checksum.digest);
    xml_close(b, STR("Part"));
}

static enum step_next parts_listed(struct op *op)
{
    struct s3_request *r = S3(op);
    struct parts_state *p = r->state;
    const struct part_list_res *res = &p->res;
    struct buf *b;

    if (op->call.err == ERR_NO_SUCH_UPLOAD)
        reply_detail(r, STR("UploadId"), p->req.upload_id);
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    b = reply_xml(r);
    xml_begin(b, STR("ListPartsResult"));
    xml_str(b, STR("Bucket"), r->bucket_name);
    xml_str(b, STR("Key"), r->key);
    xml_str(b, STR("UploadId"), p->req.upload_id);
    xml_u64(b, STR("PartNumberMarker"), p->req.after);
    xml_u64(b, STR("NextPartNumberMarker"), res->count ? res->parts[res->count - 1].number : p->req.after);
    xml_u64(b, STR("MaxParts"), p->req.max);
    xml_bool(b, STR("IsTruncated"), res->truncated);
    for (uint32_t i = 0; i < res->count; i++)
        write_part(b, &res->parts[i]);
    write_owners(b, r, res->initiator);
    xml_str(b, STR("StorageClass"), class_or_standard(res->storage_class));
    write_checksum_kind(b, res->checksum_alg, res->checksum_type);
    xml_close(b, STR("ListPartsResult"));
    return op_go(op, reply_send);
}

/* ---- uploads of a bucket ---- */

struct uploads_state {
    struct upload_list_req req;
    struct upload_list_res res;
    bool url; /* encoding-type=url */
};

static step_fn uploads_listed;
static void write_uploads(struct buf *b, const struct s3_request *r, const struct uploads_state *u);

static const struct str echoed[] = {{"prefix", 6}, {"delimiter", 9}, {"key-marker", 10}, {"upload-id-marker", 16}};

enum step_next list_multipart_uploads(struct op *op)
{
    struct s3_request *r = S3(op);
    struct uploads_state *u = r->state = ARENA_NEW(r->arena, struct uploads_state);
    struct upload_list_req *q = &u->req;
    enum err e;

    *q = (struct upload_list_req){.arena = r->arena, .bucket = r->bucket.id};
    q->prefix = s3_query(r, STR("prefix"));
    q->delimiter = s3_query(r, STR("delimiter"));
    q->key_marker = s3_query(r, STR("key-marker"));
    if (q->key_marker.n) /* without a key the other marker means nothing (S3 API: ListMultipartUploads) */
        q->upload_id_marker = s3_query(r, STR("upload-id-marker"));
    if ((e = s3_query_texts(r, echoed, sizeof(echoed) / sizeof(echoed[0]))) != ERR_OK ||
        (e = s3_query_count(r, STR("max-uploads"), LIST_MAX, LIST_MAX, &q->max)) != ERR_OK ||
        (e = s3_query_encoding(r, &u->url)) != ERR_OK)
        return op_fail(op, e);
    store_upload_list(r->env->store, q, &u->res, op_call(op, uploads_listed));
    return STEP_WAIT;
}

static enum step_next uploads_listed(struct op *op)
{
    struct s3_request *r = S3(op);

    write_uploads(reply_xml(r), r, r->state);
    return op_go(op, reply_send);
}

static void write_upload(struct buf *b, const struct s3_request *r, const struct upload_entry *e, bool url)
{
    xml_open(b, STR("Upload"));
    xml_key(b, STR("Key"), e->key, url);
    xml_str(b, STR("UploadId"), e->upload_id);
    write_owners(b, r, e->initiator);
    xml_str(b, STR("StorageClass"), class_or_standard(e->storage_class));
    xml_time(b, STR("Initiated"), e->created_ns);
    write_checksum_kind(b, e->checksum_alg, e->checksum_type);
    xml_close(b, STR("Upload"));
}

static void write_uploads_head(struct buf *b, const struct s3_request *r, const struct uploads_state *u)
{
    const struct upload_list_req *q = &u->req;

    xml_str(b, STR("Bucket"), r->bucket_name);
    xml_key(b, STR("KeyMarker"), q->key_marker, u->url);
    xml_str(b, STR("UploadIdMarker"), q->upload_id_marker);
    if (u->res.truncated && u->res.count) {
        const struct upload_entry *last = &u->res.entries[u->res.count - 1];
        xml_key(b, STR("NextKeyMarker"), last->key, u->url);
        xml_str(b, STR("NextUploadIdMarker"), last->is_prefix ? STR_NONE : last->upload_id);
    }
    xml_key(b, STR("Prefix"), q->prefix, u->url);
    if (q->delimiter.n)
        xml_key(b, STR("Delimiter"), q->delimiter, u->url);
    if (u->url)
        xml_str(b, STR("EncodingType"), STR("url"));
    xml_u64(b, STR("MaxUploads"), q->max);
    xml_bool(b, STR("IsTruncated"), u->res.truncated);
}

static void write_uploads(struct buf *b, const struct s3_request *r, const struct uploads_state *u)
{
    xml_begin(b, STR("ListMultipartUploadsResult"));
    write_uploads_head(b, r, u);
    for (uint32_t i = 0; i < u->res.count; i++)
        if (!u->res.entries[i].is_prefix)
            write_upload(b, r, &u->res.entries[i], u->url);
    for (uint32_t i = 0; i < u->res.count; i++) {
        if (!u->res.entries[i].is_prefix)
            continue;
        xml_open(b, STR("CommonPrefixes"));
        xml_key(b, STR("Prefix"), u->res.entries[i].key, u->url);
        xml_close(b, STR("CommonPrefixes"));
    }
    xml_close(b, STR("ListMultipartUploadsResult"));
}
