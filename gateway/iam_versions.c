/* Managed policies and their versions. */
#include <stdio.h>

#include "base/clock.h"
#include "gateway/iam_call.h"

static bool is_attached(void *arg, const struct ident *id)
{
    const struct ident *p = ((const struct iam_call *)arg)->found;
    const struct ident_item *item = ident_find(&id->attached, p->name);

    return item && str_eq(item->text, p->id);
}

static unsigned attachments(struct iam_call *c, enum ident_kind kind)
{
    const struct ident *page[1];
    struct str after = STR("");
    unsigned n = 0;
    bool more = true;

    while (more && idents_list(c->idents, c->arena, kind, after, is_attached, c, page, 1, &more) == 1) {
        after = page[0]->name;
        n++;
    }
    return n;
}

static bool is_used(struct iam_call *c)
{
    return attachments(c, IDENT_USER) + attachments(c, IDENT_GROUP) + attachments(c, IDENT_ROLE) > 0;
}

static void put_parts(struct iam_call *c, const struct ident *p)
{
    xml_str(&c->xml, STR("PolicyName"), p->name);
    xml_str(&c->xml, STR("PolicyId"), p->id);
    xml_str(&c->xml, STR("Arn"), ident_arn(c->arena, p));
    xml_str(&c->xml, STR("Path"), p->path);
    xml_str(&c->xml, STR("DefaultVersionId"), p->current);
    xml_bool(&c->xml, STR("IsAttachable"), true);
    iam_put_s(c, "CreateDate", p->created_s);
    iam_put_s(c, "UpdateDate", p->changed_s);
}

static void put_version(struct iam_call *c, const struct ident *p, const struct ident_item *v, bool whole)
{
    xml_str(&c->xml, STR("VersionId"), v->name);
    xml_bool(&c->xml, STR("IsDefaultVersion"), str_eq(v->name, p->current));
    iam_put_s(c, "CreateDate", v->at_s);
    if (whole)
        iam_put_doc(c, "Document", v->text);
}

/* ---- making ---- */

static enum err add_version(struct iam_call *c, struct ident *p)
{
    c->item = (struct ident_item){.text = c->text, .at_s = clock_wall_ns() / NS_PER_S};
    c->item.name = arena_printf(c->arena, "v%llu", (unsigned long long)++p->last_version);
    p->changed_s = c->item.at_s;
    return ident_put(c->arena, &p->versions, &c->item, IDENT_VERSIONS_MAX, false);
}

static enum err do_create(void *arg, struct ident *p)
{
    struct iam_call *c = arg;
    enum err e;

    p->path = iam_param(c, "Path");
    p->description = iam_param(c, "Description");
    p->id = ident_new_id(c->arena, IDENT_POLICY);
    if ((e = iam_check_path(c, &p->path)) != ERR_OK || (e = add_version(c, p)) != ERR_OK)
        return e;
    p->current = c->item.name;
    return ERR_OK;
}

enum err iam_create_policy(struct iam_call *c)
{
    const struct policy *p;
    enum err e = iam_read_policy(c, "PolicyDocument", POLICY_IDENTITY, &c->text, &p);

    if (e != ERR_OK)
        return e;
    if (iam_param(c, "Description").n > 1000)
        return iam_refuse(c, ERR_IAM_VALIDATION, "Description is longer than 1000 bytes.");
    if (iam_param(c, "Tags.member.1.Key").p)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "Policies have no tags.");
    if (c->found)
        return iam_refuse(c, ERR_ENTITY_EXISTS, "A policy called " STR_FMT " already exists.", STR_ARG(c->name));
    if (idents_size(c->idents, IDENT_POLICY) >= IDENTS_MAX)
        return iam_refuse(c, ERR_IAM_LIMIT, "There can be %d of them.", IDENTS_MAX);
    iam_change(c, IDENT_CREATE, do_create);
    return ERR_OK;
}

void iam_created_policy(struct iam_call *c)
{
    xml_open(&c->xml, STR("Policy"));
    put_parts(c, c->changed.now);
    xml_u64(&c->xml, STR("AttachmentCount"), 0);
    xml_close(&c->xml, STR("Policy"));
}

static enum err do_add_version(void *arg, struct ident *p)
{
    struct iam_call *c = arg;
    enum err e = add_version(c, p);

    if (e == ERR_IAM_LIMIT)
        return iam_refuse(c, e, "A managed policy can have up to %d versions. Delete one first.", IDENT_VERSIONS_MAX);
    if (e == ERR_OK && str_eq_nocase(iam_param(c, "SetAsDefault"), STR("true")))
        p->current = c->item.name;
    return e;
}

enum err iam_create_version(struct iam_call *c)
{
    const struct policy *p;
    enum err e = iam_read_policy(c, "PolicyDocument", POLICY_IDENTITY, &c->text, &p);

    if (e == ERR_OK && (e = iam_must_exist(c)) == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_add_version);
    return e;
}

void iam_created_version(struct iam_call *c)
{
    xml_open(&c->xml, STR("PolicyVersion"));
    put_version(c, c->changed.now, &c->item, false);
    xml_close(&c->xml, STR("PolicyVersion"));
}

/* ---- reading ---- */

enum err iam_get_policy(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    xml_open(&c->xml, STR("Policy"));
    put_parts(c, c->found);
    xml_u64(&c->xml, STR("AttachmentCount"),
            attachments(c, IDENT_USER) + attachments(c, IDENT_GROUP) + attachments(c, IDENT_ROLE));
    if (c->found->description.n)
        xml_str(&c->xml, STR("Description"), c->found->description);
    xml_close(&c->xml, STR("Policy"));
    return ERR_OK;
}

static bool has_prefix(void *arg, const struct ident *id)
{
    struct str prefix = iam_param(arg, "PathPrefix");

    return (!prefix.n || str_starts(id->path, prefix)) && !str_eq(iam_param(arg, "Scope"), STR("AWS"));
}

enum err iam_list_policies(struct iam_call *c)
{
    if (str_eq_nocase(iam_param(c, "OnlyAttached"), STR("true")) || iam_param(c, "PolicyUsageFilter").n)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "OnlyAttached and PolicyUsageFilter are not implemented.");
    return iam_put_page(c, "Policies", IDENT_POLICY, has_prefix, put_parts);
}

static enum err find_version(struct iam_call *c, const struct ident *p, const struct ident_item **out)
{
    struct str name = iam_param(c, "VersionId");

    if ((*out = ident_find(&p->versions, name)))
        return ERR_OK;
    return iam_refuse(c, ERR_NO_SUCH_ENTITY, "Policy " STR_FMT " has no version " STR_FMT, STR_ARG(p->name),
                      STR_ARG(name));
}

enum err iam_get_version(struct iam_call *c)
{
    const struct ident_item *v;
    enum err e = iam_must_exist(c);

    if (e != ERR_OK || (e = find_version(c, c->found, &v)) != ERR_OK)
        return e;
    xml_open(&c->xml, STR("PolicyVersion"));
    put_version(c, c->found, v, true);
    xml_close(&c->xml, STR("PolicyVersion"));
    return ERR_OK;
}

enum err iam_list_versions(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    xml_open(&c->xml, STR("Versions"));
    for (unsigned i = c->found->versions.n; i > 0; i--) {
        xml_open(&c->xml, STR("member"));
        put_version(c, c->found, &c->found->versions.items[i - 1], false);
        xml_close(&c->xml, STR("member"));
    }
    xml_close(&c->xml, STR("Versions"));
    iam_put_all(c);
    return ERR_OK;
}

static void put_entities(struct iam_call *c, enum ident_kind kind, const char *list, const char *name, const char *id)
{
    const struct ident *page[1];
    struct str after = STR("");
    bool more = true;

    xml_open(&c->xml, str_z(list));
    while (more && idents_list(c->idents, c->arena, kind, after, is_attached, c, page, 1, &more)) {
        after = page[0]->name;
        xml_open(&c->xml, STR("member"));
        xml_str(&c->xml, str_z(name), page[0]->name);
        xml_str(&c->xml, str_z(id), page[0]->id);
        xml_close(&c->xml, STR("member"));
    }
    xml_close(&c->xml, str_z(list));
}

enum err iam_list_entities(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    put_entities(c, IDENT_GROUP, "PolicyGroups", "GroupName", "GroupId");
    put_entities(c, IDENT_USER, "PolicyUsers", "UserName", "UserId");
    put_entities(c, IDENT_ROLE, "PolicyRoles", "RoleName", "RoleId");
    iam_put_all(c);
    return ERR_OK;
}

/* ---- changing ---- */

static enum err do_set(void *arg, struct ident *p)
{
    const struct ident_item *v;
    enum err e = find_version(arg, p, &v);

    if (e == ERR_OK)
        p->current = v->name;
    return e;
}

enum err iam_set_version(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_set);
    return e;
}

static enum err do_delete_version(void *arg, struct ident *p)
{
    struct iam_call *c = arg;
    const struct ident_item *v;
    enum err e = find_version(c, p, &v);

    if (e != ERR_OK)
        return e;
    if (str_eq(v->name, p->current))
        return iam_refuse(c, ERR_IAM_IN_USE, "Cannot delete the default version of a policy.");
    ident_drop(&p->versions, v->name);
    return ERR_OK;
}

enum err iam_delete_version(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_delete_version);
    return e;
}

static enum err do_delete(void *arg, struct ident *p)
{
    struct iam_call *c = arg;

    if (p->versions.n > 1)
        return iam_refuse(c, ERR_IAM_IN_USE, "This policy has more than one version. Delete the others first.");
    if (is_used(c))
        return iam_refuse(c, ERR_IAM_IN_USE, "Cannot delete a policy attached to entities.");
    return ERR_OK;
}

enum err iam_delete_policy(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e == ERR_OK)
        iam_change(c, IDENT_REMOVE, do_delete);
    return e;
}
