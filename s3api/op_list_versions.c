/* ListObjectVersions: what is current and what is older are two listings, merged in the order of keys, newest first. */
#include "s3api/member.h"
#include "s3api/version.h"

step_fn list_versions; /* routes.def */

struct listing {
    struct obj_list_req req;
    struct obj_list_res res;
    uint32_t at; /* next entry */
    bool begun;
};

struct row {
    const struct list_entry *entry;
    struct str key; /* without the place of a version */
    struct object_version version;
    bool is_prefix, is_latest;
};

struct versions_op {
    bool url;
    uint32_t max;
    struct str key_marker, version_marker;
    struct version_find_req find_req;
    struct version_find_res find;
    struct listing current, older;
    struct row *rows;
    uint32_t count;
    bool truncated;
    struct str last_key; /* of which a version was shown already: what is older isn't the latest */
};

static step_fn versions_found, versions_fill, versions_send;

/* ---- where to begin ---- */

/* Behind the markers. `v` NULL: behind all versions of the key. */
static void begin_behind(struct s3_request *r, struct versions_op *l, const struct object_version *v)
{
    struct str key = l->key_marker, common;
    struct version_key place;

    l->current.req.after = l->older.req.after = key;
    if (key.n == 0 || key.n > KEY_MAX ||
        (str_starts(key, l->current.req.prefix) &&
         key_rolls_up(key, l->current.req.prefix, l->current.req.delimiter, &common)))
        return;
    if (v) {
        version_key(&place, key, *v);
        l->last_key = key;
    } else {
        version_key_behind(&place, key);
    }
    l->older.req.after = arena_str(r->arena, version_key_str(&place));
}

static enum step_next versions_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct versions_op *l = r->state;

    if (op->call.err != ERR_OK && op->call.err != ERR_NO_SUCH_VERSION)
        return op_fail(op, op->call.err);
    begin_behind(r, l, op->call.err == ERR_OK ? &l->find.version : NULL);
    return op_go(op, versions_fill);
}

static enum err parse(struct s3_request *r, struct versions_op *l)
{
    static const struct str echoed[] = {{"prefix", 6}, {"delimiter", 9}, {"key-marker", 10}, {"version-id-marker", 17}};
    enum err e;

    l->key_marker = s3_query(r, STR("key-marker"));
    l->version_marker = s3_query(r, STR("version-id-marker"));
    if ((e = s3_query_texts(r, echoed, sizeof(echoed) / sizeof(echoed[0]))) != ERR_OK ||
        (e = s3_query_count(r, STR("max-keys"), LIST_MAX, LIST_MAX, &l->max)) != ERR_OK ||
        (e = s3_query_encoding(r, &l->url)) != ERR_OK)
        return e;
    if (l->version_marker.n > 0 && l->key_marker.n == 0)
        return reply_error(r, ERR_INVALID_ARGUMENT, "A version-id marker cannot be specified without a key marker.");
    l->current.req = (struct obj_list_req){.arena = r->arena,
                                           .bucket = r->bucket.id,
                                           .prefix = s3_query(r, STR("prefix")),
                                           .delimiter = s3_query(r, STR("delimiter")),
                                           .max = l->max};
    l->older.req = l->current.req;
    l->older.req.bucket = version_shadow(r->bucket.id);
    return ERR_OK;
}

enum step_next list_versions(struct op *op)
{
    struct s3_request *r = S3(op);
    struct versions_op *l = r->state = ARENA_NEW(r->arena, struct versions_op);
    struct object_version v;
    enum err e = parse(r, l);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (l->max == 0) /* asks for nothing and gets it */
        return op_go(op, versions_send);
    l->rows = arena_new(r->arena, l->max * sizeof(*l->rows));
    if (l->version_marker.n == 0) {
        begin_behind(r, l, NULL);
        return op_go(op, versions_fill);
    }
    if (str_eq(l->version_marker, STR("null")) && l->key_marker.n <= KEY_MAX) {
        l->find_req = (struct version_find_req){r->bucket.id, l->key_marker, l->version_marker};
        version_find(r, &l->find_req, &l->find, op_try(op, versions_found));
        return STEP_WAIT;
    }
    if (!version_place_parse(l->version_marker, &v)) {
        reply_detail(r, STR("ArgumentName"), STR("version-id-marker"));
        reply_detail(r, STR("ArgumentValue"), l->version_marker);
        return op_fail(op, reply_error(r, ERR_INVALID_ARGUMENT, "Invalid version id specified"));
    }
    begin_behind(r, l, &v);
    return op_go(op, versions_fill);
}

/* ---- merging ---- */

static const struct list_entry *head_of(const struct listing *l)
{
    return l->at < l->res.count ? &l->res.entries[l->at] : NULL;
}

static bool wants_page(const struct listing *l)
{
    return l->at == l->res.count && (!l->begun || l->res.truncated);
}

static void next_page(struct listing *l)
{
    if (l->res.count)
        l->req.after = l->res.entries[l->res.count - 1].key;
    l->res = (struct obj_list_res){.count = 0};
    l->at = 0;
    l->begun = true;
}

static struct str key_of(const struct list_entry *e, bool older, struct object_version *v)
{
    struct str key = e->key;

    if (older && !e->is_prefix && !version_key_parse(e->key, &key, v))
        *v = (struct object_version){e->mtime_ns, VERSION_PLAIN}; /* none of ours: shown as it is */
    else if (!older)
        *v = (struct object_version){e->mtime_ns, e->versioned ? VERSION_PLAIN : VERSION_NULL};
    return key;
}

/* One more row; false: a page has to be read first. */
static bool take(struct versions_op *l)
{
    const struct list_entry *c = head_of(&l->current), *o = head_of(&l->older);
    struct object_version cv = {0}, ov = {0};
    struct row *row = &l->rows[l->count];

    if ((!c && wants_page(&l->current)) || (!o && wants_page(&l->older)))
        return false;
    struct str ck = c ? key_of(c, false, &cv) : STR_NONE, ok = o ? key_of(o, true, &ov) : STR_NONE;
    int order = !o ? -1 : !c ? 1 : str_cmp(ck, ok);
    if (order <= 0) {
        *row = (struct row){c, ck, cv, c->is_prefix, true};
        l->current.at++;
        if (order == 0 && c->is_prefix && o->is_prefix)
            l->older.at++;
    } else {
        *row = (struct row){o, ok, ov, o->is_prefix, !str_eq(ok, l->last_key)};
        l->older.at++;
    }
    l->last_key = row->is_prefix ? STR_NONE : row->key;
    l->count++;
    return true;
}

static enum step_next versions_fill(struct op *op)
{
    struct s3_request *r = S3(op);
    struct versions_op *l = r->state;

    for (;;) {
        if (!head_of(&l->current) && wants_page(&l->current)) {
            next_page(&l->current);
            if (member_shown(r))
                member_list(r, &l->current.req, &l->current.res, op_call(op, versions_fill));
            else
                store_obj_list(r->env->store, &l->current.req, &l->current.res, op_call(op, versions_fill));
            return STEP_WAIT;
        }
        if (!head_of(&l->older) && wants_page(&l->older)) {
            next_page(&l->older);
            store_obj_list(r->env->store, &l->older.req, &l->older.res, op_call(op, versions_fill));
            return STEP_WAIT;
        }
        if (!head_of(&l->current) && !head_of(&l->older))
            break;
        if (l->count == l->max) {
            l->truncated = true;
            break;
        }
        if (!take(l))
            continue;
    }
    return op_go(op, versions_send);
}

/* ---- the document ---- */

static void write_head(struct buf *b, struct s3_request *r, const struct versions_op *l)
{
    const struct row *last = l->truncated ? &l->rows[l->count - 1] : NULL;
    char place[VERSION_ID_MAX];

    xml_str(b, STR("Name"), r->bucket_name);
    xml_key(b, STR("Prefix"), l->current.req.prefix, l->url);
    xml_key(b, STR("KeyMarker"), l->key_marker, l->url);
    xml_str(b, STR("VersionIdMarker"), l->version_marker);
    if (last)
        xml_key(b, STR("NextKeyMarker"), last->key, l->url);
    if (last && !last->is_prefix)
        xml_str(b, STR("NextVersionIdMarker"),
                r->bucket.id.versions == VERSIONS_OFF ? STR("null") : version_place(last->version, place));
    xml_u64(b, STR("MaxKeys"), l->max);
    if (l->current.req.delimiter.n > 0)
        xml_key(b, STR("Delimiter"), l->current.req.delimiter, l->url);
    if (l->url)
        xml_str(b, STR("EncodingType"), STR("url"));
    xml_bool(b, STR("IsTruncated"), l->truncated);
}

static void write_row(struct buf *b, struct s3_request *r, const struct versions_op *l, const struct row *row)
{
    bool marker = version_is_marker(row->version.kind);
    const struct list_entry *e = row->entry;
    struct str element = marker ? STR("DeleteMarker") : STR("Version");
    char id[VERSION_ID_MAX];

    xml_open(b, element);
    xml_key(b, STR("Key"), row->key, l->url);
    xml_str(b, STR("VersionId"), version_id(row->version, id));
    xml_bool(b, STR("IsLatest"), row->is_latest);
    xml_time(b, STR("LastModified"), row->version.mtime_ns);
    if (!marker) {
        xml_etag(b, &e->etag);
        if (e->checksum_alg != HASH_NONE) {
            xml_str(b, STR("ChecksumAlgorithm"), hash_name(e->checksum_alg));
            xml_str(b, STR("ChecksumType"),
                    e->checksum_type == CHECKSUM_COMPOSITE ? STR("COMPOSITE") : STR("FULL_OBJECT"));
        }
        xml_u64(b, STR("Size"), e->size);
    }
    xml_owner(b, STR("Owner"), s3_owner(r));
    if (!marker)
        xml_str(b, STR("StorageClass"), e->storage_class.n > 0 ? e->storage_class : STR("STANDARD"));
    xml_close(b, element);
}

static enum step_next versions_send(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct versions_op *l = r->state;
    struct buf *b = reply_xml(r);

    xml_begin(b, STR("ListVersionsResult"));
    write_head(b, r, l);
    for (uint32_t i = 0; i < l->count; i++)
        if (!l->rows[i].is_prefix)
            write_row(b, r, l, &l->rows[i]);
    for (uint32_t i = 0; i < l->count; i++) {
        if (!l->rows[i].is_prefix)
            continue;
        xml_open(b, STR("CommonPrefixes"));
        xml_key(b, STR("Prefix"), l->rows[i].key, l->url);
        xml_close(b, STR("CommonPrefixes"));
    }
    xml_close(b, STR("ListVersionsResult"));
    reply_header(r, STR("x-amz-bucket-region"), s3_bucket_region(r, &r->bucket));
    return op_go(op, reply_send);
}
