/* ListObjects, versions 1 and 2. */
#include "s3api/member.h"
#include "s3api/token.h"

enum list_form { LIST_V1, LIST_V2 };

struct list_op {
    enum list_form form;
    bool url;                      /* encoding-type=url */
    bool with_owner;               /* v1 always, v2 when asked */
    struct str marker;             /* v1 */
    struct str token, start_after; /* v2; p == NULL: not sent */
    struct obj_list_req req;
    struct obj_list_res res;
};

/* The life of a listing: two ways in, one way out. */
static step_fn list_send;

static enum err parse_v2(struct s3_request *r, struct list_op *l)
{
    struct str fetch_owner = s3_query(r, STR("fetch-owner"));

    l->token = s3_query(r, STR("continuation-token"));
    l->start_after = s3_query(r, STR("start-after"));
    l->with_owner = str_eq_nocase(fetch_owner, STR("true"));
    l->req.after = l->start_after;
    if (l->token.n > 0 && !token_decode(r->arena, l->token, &l->req.after)) {
        reply_detail(r, STR("ArgumentName"), STR("continuation-token"));
        reply_detail(r, STR("ArgumentValue"), l->token);
        return reply_error(r, ERR_INVALID_ARGUMENT, "The continuation token provided is incorrect");
    }
    return ERR_OK;
}

static const struct str echoed[] = {{"prefix", 6}, {"delimiter", 9}, {"marker", 6}, {"start-after", 11}};

static enum err parse_common(struct s3_request *r, struct list_op *l)
{
    enum err e;

    l->req.arena = r->arena;
    l->req.bucket = r->bucket.id;
    l->req.prefix = s3_query(r, STR("prefix"));
    l->req.delimiter = s3_query(r, STR("delimiter"));
    if ((e = s3_query_texts(r, echoed, sizeof(echoed) / sizeof(echoed[0]))) != ERR_OK)
        return e;
    if ((e = s3_query_count(r, STR("max-keys"), LIST_MAX, LIST_MAX, &l->req.max)) != ERR_OK)
        return e;
    return s3_query_encoding(r, &l->url);
}

static enum step_next list_start(struct op *op, enum list_form form)
{
    struct s3_request *r = S3(op);
    struct list_op *l = ARENA_NEW(r->arena, struct list_op);
    enum err e = parse_common(r, l);

    r->state = l;
    l->form = form;
    if (e == ERR_OK && form == LIST_V2)
        e = parse_v2(r, l);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (form == LIST_V1) {
        l->req.after = l->marker = s3_query(r, STR("marker"));
        l->with_owner = true;
    }
    if (l->req.max == 0) /* asks for nothing and gets it */
        return op_go(op, list_send);
    if (member_shown(r))
        member_list(r, &l->req, &l->res, op_call(op, list_send));
    else
        store_obj_list(r->env->store, &l->req, &l->res, op_call(op, list_send));
    return STEP_WAIT;
}

enum step_next list_objects(struct op *op)
{
    return list_start(op, S3(op)->subs & SUB(LIST_TYPE_2) ? LIST_V2 : LIST_V1);
}

/* ---- the documents ---- */

static const struct list_entry *last_entry(const struct list_op *l)
{
    return l->res.count > 0 ? &l->res.entries[l->res.count - 1] : NULL;
}

static bool is_truncated(const struct list_op *l)
{
    return l->res.truncated && l->res.count > 0;
}

static void write_v1_head(struct buf *b, const struct list_op *l)
{
    xml_key(b, STR("Marker"), l->marker, l->url);
    /* Without a delimiter clients take the last key (S3 API: ListObjects, NextMarker). */
    if (is_truncated(l) && l->req.delimiter.n > 0)
        xml_key(b, STR("NextMarker"), last_entry(l)->key, l->url);
}

static void write_v2_head(struct buf *b, struct s3_request *r, const struct list_op *l)
{
    if (l->start_after.p)
        xml_key(b, STR("StartAfter"), l->start_after, l->url);
    if (l->token.p)
        xml_str(b, STR("ContinuationToken"), l->token);
    if (is_truncated(l))
        xml_str(b, STR("NextContinuationToken"), token_encode(r->arena, last_entry(l)->key));
    xml_u64(b, STR("KeyCount"), l->res.count);
}

static void write_head(struct buf *b, struct s3_request *r, const struct list_op *l)
{
    xml_str(b, STR("Name"), r->bucket_name);
    xml_key(b, STR("Prefix"), l->req.prefix, l->url);
    if (l->form == LIST_V1)
        write_v1_head(b, l);
    else
        write_v2_head(b, r, l);
    xml_u64(b, STR("MaxKeys"), l->req.max);
    if (l->req.delimiter.n > 0)
        xml_key(b, STR("Delimiter"), l->req.delimiter, l->url);
    if (l->url)
        xml_str(b, STR("EncodingType"), STR("url"));
    xml_bool(b, STR("IsTruncated"), is_truncated(l));
}

static void write_entry(struct buf *b, const struct s3_request *r, const struct list_op *l, const struct list_entry *e)
{
    xml_open(b, STR("Contents"));
    xml_key(b, STR("Key"), e->key, l->url);
    xml_time(b, STR("LastModified"), e->mtime_ns);
    xml_etag(b, &e->etag);
    if (e->checksum_alg != HASH_NONE) {
        xml_str(b, STR("ChecksumAlgorithm"), hash_name(e->checksum_alg));
        xml_str(b, STR("ChecksumType"), e->checksum_type == CHECKSUM_COMPOSITE ? STR("COMPOSITE") : STR("FULL_OBJECT"));
    }
    xml_u64(b, STR("Size"), e->size);
    if (l->with_owner)
        xml_owner(b, STR("Owner"), s3_owner(r));
    xml_str(b, STR("StorageClass"), e->storage_class.n > 0 ? e->storage_class : STR("STANDARD"));
    xml_close(b, STR("Contents"));
}

static void write_prefix(struct buf *b, const struct list_op *l, const struct list_entry *e)
{
    xml_open(b, STR("CommonPrefixes"));
    xml_key(b, STR("Prefix"), e->key, l->url);
    xml_close(b, STR("CommonPrefixes"));
}

static enum step_next list_send(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct list_op *l = r->state;
    struct buf *b = reply_xml(r);

    xml_begin(b, STR("ListBucketResult"));
    write_head(b, r, l);
    for (uint32_t i = 0; i < l->res.count; i++)
        if (!l->res.entries[i].is_prefix)
            write_entry(b, r, l, &l->res.entries[i]);
    for (uint32_t i = 0; i < l->res.count; i++)
        if (l->res.entries[i].is_prefix)
            write_prefix(b, l, &l->res.entries[i]);
    xml_close(b, STR("ListBucketResult"));
    reply_header(r, STR("x-amz-bucket-region"), s3_bucket_region(r, &r->bucket));
    return op_go(op, reply_send);
}
