/* GetObjectAttributes: what HeadObject knows, as a document, with the parts of a multipart object. */
#include "s3api/checksum.h"
#include "s3api/objreq.h"
#include "s3api/version.h"

step_fn get_object_attributes; /* routes.def */

enum { WANT_ETAG = 1, WANT_CHECKSUM = 2, WANT_PARTS = 4, WANT_CLASS = 8, WANT_SIZE = 16 };

struct attributes_state {
    struct obj_head_req req;
    struct obj_head_res res;
    unsigned want; /* set of WANT_* */
    uint32_t max, after;
};

static const struct {
    struct str name;
    unsigned want;
} attribute_names[] = {
    {{"ETag", 4}, WANT_ETAG},           {{"Checksum", 8}, WANT_CHECKSUM}, {{"ObjectParts", 11}, WANT_PARTS},
    {{"StorageClass", 12}, WANT_CLASS}, {{"ObjectSize", 10}, WANT_SIZE},
};

static step_fn attributes_found;

static enum err parse_names(struct s3_request *r, struct str list, unsigned *want)
{
    while (list.n) {
        struct str name = str_trim(str_split(&list, ','));
        size_t i = 0, count = sizeof(attribute_names) / sizeof(attribute_names[0]);
        if (name.n == 0)
            continue;
        while (i < count && !str_eq(name, attribute_names[i].name))
            i++;
        if (i == count)
            return reply_error(r, ERR_INVALID_ARGUMENT, "Invalid attribute name specified.");
        *want |= attribute_names[i].want;
    }
    return ERR_OK;
}

static enum err header_count(struct s3_request *r, struct str name, uint32_t cap, uint32_t def, uint32_t *out)
{
    struct str text = s3_header(r, name);
    uint64_t n = def;

    if (text.n && !str_to_u64(text, INT32_MAX, &n))
        return reply_error(r, ERR_INVALID_ARGUMENT, "Provided " STR_FMT " not an integer or within integer range",
                           STR_ARG(name));
    *out = n < cap ? (uint32_t)n : cap;
    return ERR_OK;
}

enum step_next get_object_attributes(struct op *op)
{
    struct s3_request *r = S3(op);
    struct attributes_state *a = r->state = ARENA_NEW(r->arena, struct attributes_state);
    enum err e;

    for (size_t i = 0; i < r->http->header_count; i++) {
        const struct http_header *h = &r->http->headers[i];
        if (str_eq(h->name, STR("x-amz-object-attributes")) && (e = parse_names(r, h->value, &a->want)) != ERR_OK)
            return op_fail(op, e);
    }
    if (a->want == 0)
        return op_fail(op, reply_error(r, ERR_INVALID_ARGUMENT,
                                       "The x-amz-object-attributes header specifying the "
                                       "attributes to be retrieved is either missing or empty"));
    if ((e = header_count(r, STR("x-amz-max-parts"), LIST_MAX, LIST_MAX, &a->max)) != ERR_OK ||
        (e = header_count(r, STR("x-amz-part-number-marker"), PARTS_MAX, 0, &a->after)) != ERR_OK)
        return op_fail(op, e);
    a->req =
        (struct obj_head_req){.arena = r->arena, .bucket = r->place.bucket, .key = r->place.key, .cond = COND_INIT};
    a->req.parts = (a->want & WANT_PARTS) != 0;
    store_obj_head(r->env->store, &a->req, &a->res, op_try(op, attributes_found));
    return STEP_WAIT;
}

static void write_parts(struct buf *b, const struct attributes_state *a)
{
    uint32_t first = 0, last;

    while (first < a->res.part_count && a->res.parts[first].number <= a->after)
        first++;
    last = a->res.part_count - first > a->max ? first + a->max : a->res.part_count;
    xml_open(b, STR("ObjectParts"));
    xml_bool(b, STR("IsTruncated"), last < a->res.part_count);
    xml_u64(b, STR("MaxParts"), a->max);
    xml_u64(b, STR("NextPartNumberMarker"), last > first ? a->res.parts[last - 1].number : a->after);
    xml_u64(b, STR("PartNumberMarker"), a->after);
    for (uint32_t i = first; i < last; i++) {
        const struct part_info *p = &a->res.parts[i];
        xml_open(b, STR("Part"));
        objreq_xml_digest(b, &p->checksum.digest);
        xml_u64(b, STR("PartNumber"), p->number);
        xml_u64(b, STR("Size"), p->size);
        xml_close(b, STR("Part"));
    }
    xml_u64(b, STR("PartsCount"), a->res.part_count);
    xml_close(b, STR("ObjectParts"));
}

static enum step_next attributes_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct attributes_state *a = r->state;
    const struct object_info *info = &a->res.info;
    struct str class = object_attr(info, STR("x-amz-storage-class"));
    struct buf *b;

    if (op->call.err == ERR_NO_SUCH_KEY)
        return op_go(op, version_absent);
    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, NULL));
    version_reply_place(r, info);
    reply_last_modified(r, info->mtime_ns);
    b = reply_xml(r);
    xml_begin(b, STR("GetObjectAttributesResponse"));
    if (a->want & WANT_ETAG)
        xml_str(b, STR("ETag"), etag_str(&info->etag)); /* S3 leaves out the quotes here and only here */
    if ((a->want & WANT_CHECKSUM) && info->checksum.digest.n) {
        xml_open(b, STR("Checksum"));
        xml_checksum(b, &info->checksum);
        xml_str(b, STR("ChecksumType"), checksum_type_name(info->checksum.type));
        xml_close(b, STR("Checksum"));
    }
    if ((a->want & WANT_PARTS) && info->parts)
        write_parts(b, a);
    if (a->want & WANT_CLASS)
        xml_str(b, STR("StorageClass"), class.n ? class : STR("STANDARD"));
    if (a->want & WANT_SIZE)
        xml_u64(b, STR("ObjectSize"), info->size);
    xml_close(b, STR("GetObjectAttributesResponse"));
    return op_go(op, reply_send);
}
