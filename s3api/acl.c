#include "s3api/acl.h"

#include "s3api/attrs.h"
#include "s3api/may.h"
#include "s3api/objreq.h"

#define ALL_URI           STR("http://acs.amazonaws.com/groups/global/AllUsers")
#define AUTHENTICATED_URI STR("http://acs.amazonaws.com/groups/global/AuthenticatedUsers")
#define LOG_URI           STR("http://acs.amazonaws.com/groups/s3/LogDelivery")

static const struct {
    struct str text, name, header;
} permissions[] = {
    [ACL_READ] = {{"read", 4}, {"READ", 4}, {"x-amz-grant-read", 16}},
    [ACL_WRITE] = {{"write", 5}, {"WRITE", 5}, {"x-amz-grant-write", 17}},
    [ACL_READ_ACP] = {{"read-acp", 8}, {"READ_ACP", 8}, {"x-amz-grant-read-acp", 20}},
    [ACL_WRITE_ACP] = {{"write-acp", 9}, {"WRITE_ACP", 9}, {"x-amz-grant-write-acp", 21}},
    [ACL_FULL_CONTROL] = {{"full", 4}, {"FULL_CONTROL", 12}, {"x-amz-grant-full-control", 24}},
};
enum { PERMISSIONS = ACL_FULL_CONTROL + 1 };

/* ---- as it is kept ---- */

static bool is_id(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return s.n == ACL_ID_LEN;
}

static bool parse_grant(struct str text, struct acl_grant *out)
{
    struct str permission = str_split(&text, '=');
    int p = 0;

    while (p < PERMISSIONS && !str_eq(permission, permissions[p].text))
        p++;
    if (p == PERMISSIONS)
        return false;
    out->permission = (enum acl_permission)p;
    out->id = STR_NONE;
    out->grantee = ACL_ID;
    if (str_eq(text, STR("*"))) {
        out->grantee = ACL_ALL_USERS;
    } else if (str_eq(text, STR("+"))) {
        out->grantee = ACL_AUTHENTICATED_USERS;
    } else {
        out->id = text;
        return is_id(text);
    }
    return true;
}

bool acl_parse(struct arena *a, struct str text, struct acl *out)
{
    *out = (struct acl){arena_new(a, ACL_GRANTS_MAX * sizeof(*out->grants)), 0};
    while (text.n) {
        if (out->n == ACL_GRANTS_MAX || !parse_grant(str_split(&text, ';'), &out->grants[out->n]))
            return false;
        out->n++;
    }
    return out->n > 0;
}

static struct str grantee_text(const struct acl_grant *g)
{
    return g->grantee == ACL_ALL_USERS ? STR("*") : g->grantee == ACL_AUTHENTICATED_USERS ? STR("+") : g->id;
}

struct str acl_encode(struct s3_request *r, const struct acl *acl)
{
    struct buf b = BUF_INIT(ACL_GRANTS_MAX * (ACL_ID_LEN + 16));
    struct str text;

    if (acl_is_private(r, acl))
        return STR("");
    for (unsigned i = 0; i < acl->n; i++)
        buf_addf(&b, "%s" STR_FMT "=" STR_FMT, i ? ";" : "", STR_ARG(permissions[acl->grants[i].permission].text),
                 STR_ARG(grantee_text(&acl->grants[i])));
    text = arena_str(r->arena, buf_str(&b));
    buf_release(&b);
    return text;
}

/* ---- what it says ---- */

bool acl_is_private(const struct s3_request *r, const struct acl *acl)
{
    for (unsigned i = 0; i < acl->n; i++)
        if (acl->grants[i].grantee != ACL_ID || !str_eq(acl->grants[i].id, s3_owner(r)))
            return false;
    return true; /* the owner may do everything, said or not */
}

bool acl_is_public(const struct acl *acl)
{
    for (unsigned i = 0; i < acl->n; i++)
        if (acl->grants[i].grantee != ACL_ID)
            return true;
    return false;
}

/* S3 User Guide, "Mapping of ACL permissions and access policy permissions". */
static const struct {
    struct str action;
    bool object; /* by the object's list, otherwise by the bucket's */
    enum acl_permission needs;
} mapping[] = {
    {{"s3:ListBucket", 13}, false, ACL_READ},
    {{"s3:ListBucketVersions", 21}, false, ACL_READ},
    {{"s3:ListBucketMultipartUploads", 29}, false, ACL_READ},
    {{"s3:PutObject", 12}, false, ACL_WRITE},
    {{"s3:DeleteObject", 15}, false, ACL_WRITE},
    {{"s3:GetBucketAcl", 15}, false, ACL_READ_ACP},
    {{"s3:PutBucketAcl", 15}, false, ACL_WRITE_ACP},
    {{"s3:GetObject", 12}, true, ACL_READ},
    {{"s3:GetObjectVersion", 19}, true, ACL_READ},
    {{"s3:GetObjectAcl", 15}, true, ACL_READ_ACP},
    {{"s3:GetObjectVersionAcl", 22}, true, ACL_READ_ACP},
    {{"s3:PutObjectAcl", 15}, true, ACL_WRITE_ACP},
    {{"s3:PutObjectVersionAcl", 22}, true, ACL_WRITE_ACP},
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

bool acl_knows(struct str action)
{
    for (size_t i = 0; i < COUNT(mapping); i++)
        if (mapping[i].object && str_eq(mapping[i].action, action))
            return true;
    return false;
}

static bool grant_is_for(const struct acl_grant *g, const struct iam_principal *who, bool ignore_groups)
{
    if (g->grantee == ACL_ID)
        return who->canonical_id.n && str_eq(g->id, who->canonical_id);
    return !ignore_groups && (g->grantee == ACL_ALL_USERS || who->kind != IAM_ANONYMOUS);
}

bool acl_allows(const struct acl *acl, const struct iam_principal *who, struct str action, bool on_object,
                bool ignore_groups)
{
    size_t m = 0;

    while (m < COUNT(mapping) && !(mapping[m].object == on_object && str_eq(mapping[m].action, action)))
        m++;
    if (m == COUNT(mapping))
        return false;
    for (unsigned i = 0; i < acl->n; i++) {
        const struct acl_grant *g = &acl->grants[i];
        if ((g->permission == ACL_FULL_CONTROL || g->permission == mapping[m].needs) &&
            grant_is_for(g, who, ignore_groups))
            return true;
    }
    return false;
}

/* ---- what requests say ---- */

static enum err add(struct s3_request *r, struct acl *acl, enum acl_permission permission, enum acl_grantee grantee,
                    struct str id)
{
    if (acl->n == ACL_GRANTS_MAX)
        return reply_error(r, ERR_MALFORMED_ACL, "An access control list has at most %d grants.", ACL_GRANTS_MAX);
    acl->grants[acl->n++] = (struct acl_grant){grantee, permission, id};
    return ERR_OK;
}

static enum err add_id(struct s3_request *r, struct acl *acl, enum acl_permission permission, struct str id)
{
    char *small = (char *)arena_str(r->arena, id).p;

    for (size_t i = 0; i < id.n; i++)
        if (small[i] >= 'A' && small[i] <= 'F')
            small[i] = (char)(small[i] - 'A' + 'a');
    if (is_id(str_n(small, id.n)))
        return add(r, acl, permission, ACL_ID, str_n(small, id.n));
    reply_detail(r, STR("ArgumentName"), STR("CanonicalUser/ID"));
    reply_detail(r, STR("ArgumentValue"), id);
    return reply_error(r, ERR_INVALID_ARGUMENT, "Invalid id");
}

static enum err add_group(struct s3_request *r, struct acl *acl, enum acl_permission permission, struct str uri)
{
    if (str_eq(uri, ALL_URI))
        return add(r, acl, permission, ACL_ALL_USERS, STR_NONE);
    if (str_eq(uri, AUTHENTICATED_URI))
        return add(r, acl, permission, ACL_AUTHENTICATED_USERS, STR_NONE);
    if (str_eq(uri, LOG_URI))
        return reply_error(r, ERR_NOT_IMPLEMENTED, "Grants for the delivery of logs are not implemented.");
    reply_detail(r, STR("ArgumentName"), STR("Group/URI"));
    reply_detail(r, STR("ArgumentValue"), uri);
    return reply_error(r, ERR_INVALID_ARGUMENT, "Invalid group uri");
}

static enum err canned(struct s3_request *r, struct str name, bool of_bucket, struct acl *acl)
{
    enum err e = add(r, acl, ACL_FULL_CONTROL, ACL_ID, s3_owner(r));

    if (str_eq(name, STR("private")) ||
        (!of_bucket && (str_eq(name, STR("bucket-owner-full-control")) || str_eq(name, STR("bucket-owner-read")))))
        return e; /* objects belong to the bucket's owner */
    if (str_eq(name, STR("public-read")))
        return add(r, acl, ACL_READ, ACL_ALL_USERS, STR_NONE);
    if (str_eq(name, STR("authenticated-read")))
        return add(r, acl, ACL_READ, ACL_AUTHENTICATED_USERS, STR_NONE);
    if (str_eq(name, STR("public-read-write"))) {
        e = add(r, acl, ACL_READ, ACL_ALL_USERS, STR_NONE);
        return e == ERR_OK ? add(r, acl, ACL_WRITE, ACL_ALL_USERS, STR_NONE) : e;
    }
    reply_detail(r, STR("Header"), STR("x-amz-acl"));
    if (str_eq(name, STR("aws-exec-read")) || str_eq(name, STR("log-delivery-write")))
        return reply_error(r, ERR_NOT_IMPLEMENTED, "The canned ACL " STR_FMT " is not implemented.", STR_ARG(name));
    reply_detail(r, STR("ArgumentName"), STR("x-amz-acl"));
    reply_detail(r, STR("ArgumentValue"), name);
    return reply_error(r, ERR_INVALID_ARGUMENT, "The canned ACL is not valid");
}

/* id="...", uri="...", emailAddress="..." */
static enum err read_grants(struct s3_request *r, struct str list, enum acl_permission permission, struct acl *acl)
{
    enum err e = ERR_OK;

    while (list.n && e == ERR_OK) {
        struct str value = str_trim(str_split(&list, ',')), kind = str_trim(str_split(&value, '='));
        value = str_trim(value);
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = str_n(value.p + 1, value.n - 2);
        if (str_eq_nocase(kind, STR("id")))
            e = add_id(r, acl, permission, value);
        else if (str_eq_nocase(kind, STR("uri")))
            e = add_group(r, acl, permission, value);
        else if (str_eq_nocase(kind, STR("emailAddress")))
            e = ERR_UNRESOLVABLE_EMAIL;
        else
            e = reply_error(r, ERR_INVALID_ARGUMENT, "Argument format not recognized: " STR_FMT,
                            STR_ARG(permissions[permission].header));
    }
    return e;
}

enum err acl_from_headers(struct s3_request *r, const struct http_req *http, bool of_bucket, struct acl *out,
                          bool *said)
{
    struct str name = http_header_get(http, STR("x-amz-acl"));
    enum err e = ERR_OK;

    *out = (struct acl){arena_new(r->arena, ACL_GRANTS_MAX * sizeof(*out->grants)), 0};
    *said = false;
    for (int p = 0; p < PERMISSIONS && e == ERR_OK; p++) {
        struct str list = http_header_get(http, permissions[p].header);
        if (!list.p)
            continue;
        *said = true;
        e = name.p ? reply_error(r, ERR_INVALID_REQUEST, "Specifying both Canned ACLs and Header Grants is not allowed")
                   : read_grants(r, list, (enum acl_permission)p, out);
    }
    if (!name.p || e != ERR_OK)
        return e;
    *said = true;
    return canned(r, name, of_bucket, out);
}

static enum err read_grant(struct s3_request *r, const struct xml_doc *d, const struct xml_node *n, struct acl *acl)
{
    const struct xml_node *who = xml_child(d, n, STR("Grantee"));
    struct str permission = str_trim(xml_child_text(d, n, STR("Permission"))), id, uri;
    int p = 0;

    while (p < PERMISSIONS && !str_eq(permission, permissions[p].name))
        p++;
    if (!str_eq(n->name, STR("Grant")) || !who || p == PERMISSIONS)
        return ERR_MALFORMED_ACL;
    id = xml_child_text(d, who, STR("ID"));
    uri = xml_child_text(d, who, STR("URI"));
    if (xml_child(d, who, STR("EmailAddress")))
        return ERR_UNRESOLVABLE_EMAIL;
    if (!!id.p + !!uri.p != 1)
        return ERR_MALFORMED_ACL;
    return id.p ? add_id(r, acl, (enum acl_permission)p, str_trim(id))
                : add_group(r, acl, (enum acl_permission)p, str_trim(uri));
}

enum err acl_from_xml(struct s3_request *r, const struct xml_doc *d, bool of_bucket, struct acl *out)
{
    const struct xml_node *root = xml_root(d), *list = xml_child(d, root, STR("AccessControlList"));
    const struct xml_node *owner = xml_child(d, root, STR("Owner"));
    enum err e = ERR_OK;

    (void)of_bucket;
    *out = (struct acl){arena_new(r->arena, ACL_GRANTS_MAX * sizeof(*out->grants)), 0};
    if (!str_eq(root->name, STR("AccessControlPolicy")) || !list || !owner)
        return ERR_MALFORMED_ACL;
    if (!str_eq_nocase(str_trim(xml_child_text(d, owner, STR("ID"))), s3_owner(r)))
        return ERR_ACCESS_DENIED; /* who owns it can't be changed */
    for (const struct xml_node *n = xml_first(d, list); n && e == ERR_OK; n = xml_next(d, list, n))
        e = read_grant(r, d, n, out);
    return e;
}

/* ---- what is told ---- */

static void write_grantee(struct buf *b, const struct acl_grant *g)
{
    static const char schema[] = "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"";

    buf_add_z(b, schema);
    buf_add_z(b, g->grantee == ACL_ID ? "CanonicalUser\">" : "Group\">");
    if (g->grantee == ACL_ID)
        xml_owner_parts(b, g->id);
    else
        xml_str(b, STR("URI"), g->grantee == ACL_ALL_USERS ? ALL_URI : AUTHENTICATED_URI);
    xml_close(b, STR("Grantee"));
}

void acl_write(struct s3_request *r, struct buf *b, const struct acl *acl)
{
    xml_begin(b, STR("AccessControlPolicy"));
    xml_owner(b, STR("Owner"), s3_owner(r));
    xml_open(b, STR("AccessControlList"));
    for (unsigned i = 0; i < acl->n; i++) {
        xml_open(b, STR("Grant"));
        write_grantee(b, &acl->grants[i]);
        xml_str(b, STR("Permission"), permissions[acl->grants[i].permission].name);
        xml_close(b, STR("Grant"));
    }
    xml_close(b, STR("AccessControlList"));
    xml_close(b, STR("AccessControlPolicy"));
}

/* ---- what a bucket lets be ---- */

bool ownership_parse(struct str text, enum ownership *out)
{
    if (str_eq(text, STR("BucketOwnerEnforced")))
        *out = OWNERSHIP_ENFORCED;
    else if (str_eq(text, STR("BucketOwnerPreferred")))
        *out = OWNERSHIP_PREFERRED;
    else if (str_eq(text, STR("ObjectWriter")))
        *out = OWNERSHIP_WRITER;
    else
        return false;
    return true;
}

bool acl_enabled(struct s3_request *r, const struct bucket *b)
{
    const struct bucket_doc *d =
        r->env->confs ? bucket_conf_find(r->env->confs, r->arena, b->id.uid, STR("ownership")) : NULL;

    return d && d->parsed && *(const enum ownership *)d->parsed != OWNERSHIP_ENFORCED;
}

bool acl_of_bucket(struct s3_request *r, const struct bucket *b, struct acl *out)
{
    const struct bucket_doc *d =
        r->env->confs ? bucket_conf_find(r->env->confs, r->arena, b->id.uid, STR("acl")) : NULL;

    if (!d || !d->parsed)
        return false;
    *out = *(const struct acl *)d->parsed;
    return true;
}

enum err acl_check(struct s3_request *r, const struct acl *acl)
{
    if (acl_is_private(r, acl))
        return ERR_OK;
    if (r->bucket.id.backend || r->bucket.id.view)
        return reply_error(r, ERR_NOT_IMPLEMENTED, "Buckets that show what is elsewhere have no ACLs.");
    if (!acl_enabled(r, &r->bucket))
        return ERR_ACL_OFF;
    if (acl_is_public(acl) && access_block_of(r, &r->bucket).block_acls)
        return reply_error(r, ERR_ACCESS_DENIED,
                           "Public ACLs are blocked by the BlockPublicAcls setting of the bucket.");
    return ERR_OK;
}

enum err acl_collect(struct s3_request *r, const struct http_req *http, struct object_info *info)
{
    struct attr *attrs;
    struct str text;
    struct acl acl;
    bool said;
    enum err e;

    if ((e = acl_from_headers(r, http, false, &acl, &said)) != ERR_OK || !said || (e = acl_check(r, &acl)) != ERR_OK ||
        (text = acl_encode(r, &acl)).n == 0)
        return e;
    if ((e = s3_may(r, STR("s3:PutObjectAcl"), &r->bucket, r->key)) != ERR_OK)
        return e;
    attrs = arena_alloc(r->arena, (info->attr_count + 1) * sizeof(*attrs));
    if (info->attr_count)
        memcpy(attrs, info->attrs, info->attr_count * sizeof(*attrs));
    attrs[info->attr_count] = (struct attr){ACL_ATTR, text};
    info->attrs = attrs;
    info->attr_count++;
    return attrs_fit(info);
}
