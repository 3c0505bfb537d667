/* ListBuckets, CreateBucket, HeadBucket, DeleteBucket. */
#include "etl/view_conf.h"
#include "s3api/acl.h"
#include "s3api/objreq.h"
#include "s3api/request.h"
#include "s3api/token.h"

enum { CREATE_BODY_MAX = 64 << 10, BUCKETS_PAGE_MAX = 10000, REGION_MAX = 63 };

#define REGION_DEFAULT    STR("us-east-1")
#define REDUNDANCY_HEADER STR("x-sluice-redundancy")
#define SETTINGS_HEADER   STR("x-sluice-settings")
#define MEMBERS_HEADER    STR("x-sluice-members")

struct str s3_bucket_region(const struct s3_request *r, const struct bucket *b)
{
    if (b->region.n > 0)
        return b->region;
    return r->env->conf->region.n > 0 ? r->env->conf->region : REGION_DEFAULT;
}

/* ---- ListBuckets: from the directory's cache, so it needs no second step ---- */

struct buckets_page {
    struct str prefix, region, token, after;
    uint32_t max;
    bool paged; /* the client asked for one or more of these */
};

static enum err parse_page(struct s3_request *r, struct buckets_page *p)
{
    static const struct str echoed = {"prefix", 6};
    struct str max = s3_query(r, STR("max-buckets"));
    enum err e = s3_query_texts(r, &echoed, 1);

    p->prefix = s3_query(r, STR("prefix"));
    p->region = s3_query(r, STR("bucket-region"));
    p->token = s3_query(r, STR("continuation-token"));
    if (e != ERR_OK)
        return e;
    p->paged = p->prefix.p || p->region.p || p->token.p || max.p;
    if (p->token.n > 0 && !token_decode(r->arena, p->token, &p->after))
        return reply_error(r, ERR_INVALID_ARGUMENT, "The continuation token provided is incorrect");
    if (s3_query_count(r, STR("max-buckets"), UINT32_MAX, BUCKETS_PAGE_MAX, &p->max) != ERR_OK || p->max < 1 ||
        p->max > BUCKETS_PAGE_MAX)
        return reply_error(r, ERR_INVALID_ARGUMENT, "Argument max-buckets must be an integer between 1 and %d",
                           BUCKETS_PAGE_MAX);
    return ERR_OK;
}

static void write_bucket(struct buf *b, const struct s3_request *r, const struct bucket *k, bool with_region)
{
    xml_open(b, STR("Bucket"));
    xml_str(b, STR("Name"), k->id.name);
    xml_time(b, STR("CreationDate"), k->created_ns);
    if (with_region)
        xml_str(b, STR("BucketRegion"), s3_bucket_region(r, k));
    xml_close(b, STR("Bucket"));
}

/* Returns the name to go on after, empty at the end. The region is no part of the directory's order, so pages of names
 * are looked through until enough match. */
static struct str write_buckets(struct buf *b, struct s3_request *r, const struct buckets_page *p)
{
    struct str after = p->after;
    uint32_t written = 0, look_at = p->region.n > 0 ? BUCKETS_PAGE_MAX : p->max;
    struct bucket_page page;

    do {
        buckets_list(r->env->buckets, r->arena, p->prefix, after, look_at, &page);
        for (uint32_t i = 0; i < page.count; i++) {
            const struct bucket *k = &page.buckets[i];
            if (p->region.n > 0 && !str_eq(p->region, s3_bucket_region(r, k)))
                continue;
            if (written == p->max)
                return after;
            write_bucket(b, r, k, p->paged);
            after = k->id.name;
            written++;
        }
        if (page.truncated && page.count > 0 && written < p->max)
            after = page.buckets[page.count - 1].id.name;
    } while (page.truncated && page.count > 0 && written < p->max);
    return page.truncated ? after : STR("");
}

enum step_next list_buckets(struct op *op)
{
    struct s3_request *r = S3(op);
    struct buckets_page p = {0};
    struct buf *b = reply_xml(r);
    struct str next;
    enum err e = parse_page(r, &p);

    if (e != ERR_OK)
        return op_fail(op, e);
    xml_begin(b, STR("ListAllMyBucketsResult"));
    xml_owner(b, STR("Owner"), s3_owner(r));
    xml_open(b, STR("Buckets"));
    next = write_buckets(b, r, &p);
    xml_close(b, STR("Buckets"));
    if (p.prefix.p)
        xml_str(b, STR("Prefix"), p.prefix);
    if (next.n > 0)
        xml_str(b, STR("ContinuationToken"), token_encode(r->arena, next));
    xml_close(b, STR("ListAllMyBucketsResult"));
    return op_go(op, reply_send);
}

/* ---- CreateBucket ---- */

struct create_op {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct s3_read_res nothing;
    struct bucket_create_req req;
    struct bucket_create_res res;
    bool says_redundancy, members;
    struct str ownership, acl; /* documents that it gets; p == NULL: none */
    struct bucket_conf_put_req conf;
    struct bucket_conf_put_res written;
};

static step_fn create_parse, create_record, create_done, create_ownership, create_acl;

/* What a bucket would have to be and isn't is refused rather than forgotten. */
static enum err check_create_headers(struct s3_request *r)
{
    struct str lock = s3_header(r, STR("x-amz-bucket-object-lock-enabled"));
    enum err e = objreq_refuse_unsupported(r);

    if (e != ERR_OK)
        return e;
    if (lock.n > 0 && !str_eq_nocase(lock, STR("false")) && !str_eq_nocase(lock, STR("true")))
        return reply_error(r, ERR_INVALID_ARGUMENT, "x-amz-bucket-object-lock-enabled must be true or false.");
    return ERR_OK;
}

/* x-amz-object-ownership, and x-amz-acl and x-amz-grant-*, which only some kinds of it let be. */
static enum err take_access(struct s3_request *r, struct create_op *c)
{
    struct str text = s3_header(r, STR("x-amz-object-ownership"));
    enum ownership ownership = OWNERSHIP_ENFORCED;
    struct acl acl;
    bool said;
    enum err e;

    if (text.p && !ownership_parse(text, &ownership))
        return reply_error(r, ERR_INVALID_ARGUMENT, "Invalid x-amz-object-ownership header: " STR_FMT, STR_ARG(text));
    if ((e = acl_from_headers(r, r->http, true, &acl, &said)) != ERR_OK)
        return e;
    if (said && !acl_is_private(r, &acl) && ownership == OWNERSHIP_ENFORCED)
        return ERR_ACL_OWNERSHIP;
    if ((text.p || (said && !acl_is_private(r, &acl))) && !r->env->confs)
        return ERR_NOT_IMPLEMENTED;
    if (text.p)
        c->ownership = arena_printf(r->arena,
                                    "<OwnershipControls><Rule><ObjectOwnership>" STR_FMT
                                    "</ObjectOwnership></Rule></OwnershipControls>",
                                    STR_ARG(text));
    if (said && acl_encode(r, &acl).n)
        c->acl = acl_encode(r, &acl);
    return ERR_OK;
}

/* x-sluice-redundancy, or what the server was told to do without it. */
static enum err take_redundancy(struct s3_request *r, struct create_op *c)
{
    const struct s3api_conf *conf = r->env->conf;
    struct str text = s3_header(r, REDUNDANCY_HEADER);
    char why[S3_WHY_MAX] = "redundancy other than none is not possible here";
    enum err e;

    c->says_redundancy = text.p != NULL;
    c->req.redundancy = conf->redundancy;
    if (text.p && redundancy_parse(text, &c->req.redundancy) != ERR_OK)
        return reply_error(r, ERR_INVALID_ARGUMENT,
                           "x-sluice-redundancy must be none, mirror=N, replicas=N or ec=DATA+PARITY.");
    if (c->req.redundancy.kind == REDUNDANCY_NONE)
        return ERR_OK;
    e = conf->redundancy_fits ? conf->redundancy_fits(conf->redundancy_arg, c->req.redundancy, why)
                              : ERR_NOT_IMPLEMENTED;
    return e == ERR_OK ? ERR_OK : reply_error(r, e, "%s.", why);
}

/* x-sluice-members: whether what is in archives is shown as keys. */
static enum err take_members(struct s3_request *r, struct create_op *c)
{
    struct str text = s3_header(r, MEMBERS_HEADER);

    c->members = str_eq_nocase(text, STR("true"));
    if (text.p && !c->members && !str_eq_nocase(text, STR("false")))
        return reply_error(r, ERR_INVALID_ARGUMENT, "x-sluice-members must be true or false.");
    if (text.p && c->req.props.p)
        return reply_error(r, ERR_INVALID_ARGUMENT, "x-sluice-members goes into x-sluice-settings: {\"members\":true}");
    if (c->members)
        c->req.props = STR("{\"members\":true}");
    return ERR_OK;
}

static enum err check_view(struct s3_request *r, const struct create_op *c)
{
    char why[DOC_WHY_MAX] = "";
    enum err e = c->req.props.n ? view_conf_check(r->arena, c->req.props, why) : ERR_OK;

    return e == ERR_OK ? ERR_OK : reply_error(r, e, "x-sluice-settings: view: %s.", why);
}

enum step_next create_bucket(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_op *c = ARENA_NEW(r->arena, struct create_op);
    enum err e = check_create_headers(r);

    r->state = c;
    c->req = (struct bucket_create_req){.arena = r->arena, .name = r->bucket_name, .owner = r->account};
    c->req.props = s3_header(r, SETTINGS_HEADER);
    if (c->req.props.p && (r->principal.kind != IAM_OWNER || r->who->iam.scope_count)) /* shows what is elsewhere */
        e = reply_error(r, ERR_ACCESS_DENIED, "Only the owner makes buckets with x-sluice-settings.");
    if (e != ERR_OK || (e = take_redundancy(r, c)) != ERR_OK || (e = take_members(r, c)) != ERR_OK ||
        (e = check_view(r, c)) != ERR_OK || (e = take_access(r, c)) != ERR_OK)
        return op_fail(op, e);
    c->read = (struct s3_read_req){.request = r, .max = CREATE_BODY_MAX};
    c->req.locks = str_eq_nocase(s3_header(r, STR("x-amz-bucket-object-lock-enabled")), STR("true"));
    if (c->req.locks && (c->req.redundancy.kind != REDUNDANCY_NONE || c->req.props.n))
        return op_fail(op,
                       reply_error(r, ERR_NOT_IMPLEMENTED,
                                   "Object lock is not implemented for buckets with copies, replicas or slices, nor "
                                   "for those with settings of their own: make the bucket with "
                                   "x-sluice-redundancy: none."));
    if (r->http->body)
        s3_read_xml(r, &c->read, &c->xml, op_call(op, create_parse));
    else /* its digests may be those of a document that was lost on the way */
        s3_read_body(r, &c->read, &c->nothing, op_call(op, create_record));
    return STEP_WAIT;
}

static bool is_region(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return s.n <= REGION_MAX;
}

static enum step_next create_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_op *c = r->state;
    const struct xml_doc *d = &c->xml.doc;
    const struct xml_node *root = xml_root(d);

    if (!str_eq(root->name, STR("CreateBucketConfiguration")))
        return op_fail(op, ERR_MALFORMED_XML);
    for (const struct xml_node *n = xml_first(d, root); n; n = xml_next(d, root, n)) {
        if (str_eq(n->name, STR("LocationConstraint")))
            c->req.region = str_trim(n->text);
        else if (xml_first(d, n) || n->text.n > 0) /* Location, Bucket, Tags */
            return op_fail(op, reply_error(r, ERR_NOT_IMPLEMENTED,
                                           "CreateBucketConfiguration with " STR_FMT " is not implemented.",
                                           STR_ARG(n->name)));
    }
    if (!is_region(c->req.region))
        return op_fail(op, ERR_INVALID_LOCATION);
    if (str_eq(c->req.region, REGION_DEFAULT))
        c->req.region = STR("");
    return op_go(op, create_record);
}

static enum step_next create_record(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_op *c = r->state;

    buckets_create(r->env->buckets, &c->req, &c->res, op_try(op, create_done));
    return STEP_WAIT;
}

/* What was asked for explicitly and isn't so is no success. */
static enum err check_redundancy(struct s3_request *r, const struct create_op *c)
{
    struct redundancy asked = c->req.redundancy, is = c->res.bucket.id.redundancy;
    char text[REDUNDANCY_TEXT_MAX];

    if (!c->says_redundancy || (asked.kind == is.kind && asked.data == is.data && asked.parity == is.parity))
        return ERR_OK;
    return reply_error(r, ERR_INVALID_REQUEST, "The bucket exists with redundancy " STR_FMT ", which can't be changed.",
                       STR_ARG(redundancy_text(is, text)));
}

static enum err check_members(struct s3_request *r, const struct create_op *c)
{
    if (!s3_header(r, MEMBERS_HEADER).p || c->res.bucket.members == c->members)
        return ERR_OK;
    return reply_error(r, ERR_INVALID_REQUEST,
                       "The bucket exists with x-sluice-members: %s; `sluice bucket set` changes that.",
                       c->res.bucket.members ? "true" : "false");
}

static enum step_next create_done(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_op *c = r->state;
    enum err e = op->call.err;

    if (e == ERR_BUCKET_OWNED && (check_redundancy(r, c) != ERR_OK || check_members(r, c) != ERR_OK))
        return op_fail(op, ERR_INVALID_REQUEST);
    /* In us-east-1 creating one's own bucket again succeeds, and changes nothing (S3 API: CreateBucket). */
    if (e == ERR_BUCKET_OWNED && str_eq(s3_bucket_region(r, &c->res.bucket), REGION_DEFAULT) && c->req.region.n == 0) {
        c->ownership = c->acl = STR_NONE;
        e = ERR_OK;
    }
    if (e != ERR_OK)
        return op_fail(op, e);
    reply_header_f(r, STR("Location"), "/" STR_FMT, STR_ARG(r->bucket_name));
    return op_go(op, create_ownership);
}

/* The stricter comes first: a bucket that is left halfway lets nobody in. */
static enum step_next create_ownership(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_op *c = r->state;

    if (!c->ownership.p)
        return op_go(op, reply_send);
    c->conf = (struct bucket_conf_put_req){
        .arena = r->arena, .uid = c->res.bucket.id.uid, .name = STR("ownership"), .text = c->ownership};
    bucket_conf_put(r->env->confs, &c->conf, &c->written, op_call(op, create_acl));
    return STEP_WAIT;
}

static enum step_next create_acl(struct op *op)
{
    struct s3_request *r = S3(op);
    struct create_op *c = r->state;

    if (!c->acl.p)
        return op_go(op, reply_send);
    c->conf.name = STR("acl");
    c->conf.text = c->acl;
    bucket_conf_put(r->env->confs, &c->conf, &c->written, op_call(op, reply_send));
    return STEP_WAIT;
}

/* ---- HeadBucket, DeleteBucket ---- */

enum step_next head_bucket(struct op *op)
{
    struct s3_request *r = S3(op);
    char text[REDUNDANCY_TEXT_MAX];

    reply_header(r, STR("x-amz-bucket-region"), s3_bucket_region(r, &r->bucket));
    reply_header(r, STR("x-amz-access-point-alias"), STR("false"));
    if (r->bucket.id.redundancy.kind != REDUNDANCY_NONE)
        reply_header_f(r, REDUNDANCY_HEADER, STR_FMT, STR_ARG(redundancy_text(r->bucket.id.redundancy, text)));
    if (r->bucket.members)
        reply_header(r, MEMBERS_HEADER, STR("true"));
    return op_go(op, reply_send);
}

struct delete_op {
    struct bucket_delete_req req;
    struct bucket_delete_res res;
};

static step_fn delete_done;

enum step_next delete_bucket(struct op *op)
{
    struct s3_request *r = S3(op);
    struct delete_op *d = ARENA_NEW(r->arena, struct delete_op);

    d->req = (struct bucket_delete_req){.arena = r->arena, .store = r->env->store, .name = r->bucket_name};
    buckets_delete(r->env->buckets, &d->req, &d->res, op_call(op, delete_done));
    return STEP_WAIT;
}

static enum step_next delete_done(struct op *op)
{
    reply_status(S3(op), 204);
    return op_go(op, reply_send);
}
