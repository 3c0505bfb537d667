/* Policies inside of users, groups and roles, and those that are attached to them. */
#include "gateway/iam_call.h"

static const char *const elements[] = {
    [IDENT_USER] = "UserName", [IDENT_GROUP] = "GroupName", [IDENT_ROLE] = "RoleName"};

static enum err none(struct iam_call *c, struct str policy)
{
    return iam_refuse(c, ERR_NO_SUCH_ENTITY, "The " STR_FMT " policy with name " STR_FMT " cannot be found.",
                      STR_ARG(ident_kind_name(c->kind)), STR_ARG(policy));
}

/* ---- inline ---- */

static enum err do_put(void *arg, struct ident *id)
{
    struct iam_call *c = arg;
    enum err e = ident_put(c->arena, &id->inlined, &c->item, IDENT_INLINE_MAX, true);

    return e == ERR_IAM_LIMIT ? iam_refuse(c, e, "There can be %d inline policies.", IDENT_INLINE_MAX) : e;
}

static enum err do_drop(void *arg, struct ident *id)
{
    struct iam_call *c = arg;

    return ident_drop(&id->inlined, c->item.name) ? ERR_OK : none(c, c->item.name);
}

enum err iam_put_inline(struct iam_call *c)
{
    const struct policy *p;
    enum err e;

    c->item.name = iam_param(c, "PolicyName");
    if ((e = iam_check_name(c, "PolicyName", c->item.name, IDENT_NAME_MAX)) != ERR_OK ||
        (e = iam_read_policy(c, "PolicyDocument", POLICY_IDENTITY, &c->item.text, &p)) != ERR_OK ||
        (e = iam_must_exist(c)) != ERR_OK)
        return e;
    iam_change(c, IDENT_UPDATE, do_put);
    return ERR_OK;
}

enum err iam_get_inline(struct iam_call *c)
{
    struct str name = iam_param(c, "PolicyName");
    const struct ident_item *item;
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    if (!(item = ident_find(&c->found->inlined, name)))
        return none(c, name);
    xml_str(&c->xml, str_z(elements[c->kind]), c->name);
    xml_str(&c->xml, STR("PolicyName"), name);
    iam_put_doc(c, "PolicyDocument", item->text);
    return ERR_OK;
}

enum err iam_delete_inline(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    c->item.name = iam_param(c, "PolicyName");
    if (e == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_drop);
    return e;
}

enum err iam_list_inline(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    xml_open(&c->xml, STR("PolicyNames"));
    for (unsigned i = 0; i < c->found->inlined.n; i++)
        xml_str(&c->xml, STR("member"), c->found->inlined.items[i].name);
    xml_close(&c->xml, STR("PolicyNames"));
    iam_put_all(c);
    return ERR_OK;
}

/* ---- attached ---- */

static enum err do_attach(void *arg, struct ident *id)
{
    struct iam_call *c = arg;
    enum err e = ident_put(c->arena, &id->attached, &c->item, IDENT_ATTACHED_MAX, false);

    return e == ERR_IAM_LIMIT ? iam_refuse(c, e, "There can be %d attached policies.", IDENT_ATTACHED_MAX) : e;
}

static enum err do_detach(void *arg, struct ident *id)
{
    struct iam_call *c = arg;

    return ident_drop(&id->attached, c->item.name) ? ERR_OK : none(c, c->item.name);
}

enum err iam_attach(struct iam_call *c)
{
    const struct ident *policy;
    enum err e = iam_must_exist(c);

    if (e != ERR_OK || (e = iam_find_policy(c, &policy)) != ERR_OK)
        return e;
    c->item.name = policy->name;
    c->item.text = policy->id; /* one that is made anew under its name is not attached */
    iam_change(c, IDENT_UPDATE, do_attach);
    return ERR_OK;
}

enum err iam_detach(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    c->item.name = ident_arn_name(iam_param(c, "PolicyArn"), IDENT_POLICY);
    if (e == ERR_OK && !c->item.name.n)
        e = none(c, iam_param(c, "PolicyArn"));
    if (e == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_detach);
    return e;
}

enum err iam_list_attached(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    xml_open(&c->xml, STR("AttachedPolicies"));
    for (unsigned i = 0; i < c->found->attached.n; i++) {
        const struct ident_item *item = &c->found->attached.items[i];
        const struct ident *p = idents_find(c->idents, c->arena, IDENT_POLICY, item->name);
        if (!p || !str_eq(p->id, item->text))
            continue;
        xml_open(&c->xml, STR("member"));
        xml_str(&c->xml, STR("PolicyName"), p->name);
        xml_str(&c->xml, STR("PolicyArn"), ident_arn(c->arena, p));
        xml_close(&c->xml, STR("member"));
    }
    xml_close(&c->xml, STR("AttachedPolicies"));
    iam_put_all(c);
    return ERR_OK;
}
