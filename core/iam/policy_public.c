#include "iam/policy_own.h"

/* S3 User Guide, "The meaning of 'public'": conditions with one fixed value of these keep everybody else out. */
static const struct str fixed_keys[] = {
    {"aws:principalarn", 16},      {"aws:principalaccount", 20},
    {"aws:principalorgid", 18},    {"aws:principalorgpaths", 21},
    {"aws:sourcearn", 13},         {"aws:sourcevpc", 13},
    {"aws:sourcevpce", 14},        {"aws:sourceowner", 15},
    {"aws:sourceaccount", 17},     {"aws:userid", 10},
    {"aws:username", 12},          {"s3:x-amz-server-side-encryption-aws-kms-key-id", 46},
    {"s3:dataaccesspointarn", 21}, {"s3:dataaccesspointaccount", 25},
};
enum { WIDEST_V4 = 96 + 8, WIDEST_V6 = 32 };

static bool value_is_fixed(const struct cond *c, const struct cond_value *v)
{
    if (c->type == COND_IP)
        return v->ip.prefix >= (unsigned)(cond_is_v4(v) ? WIDEST_V4 : WIDEST_V6);
    return glob_is_plain(&v->glob);
}

static bool key_is_fixed(const struct cond *c)
{
    if (c->type == COND_IP)
        return str_eq(c->key, STR("aws:sourceip"));
    if (c->type != COND_STRING && c->type != COND_STRING_CASE && c->type != COND_LIKE && c->type != COND_ARN)
        return false;
    for (size_t i = 0; i < sizeof(fixed_keys) / sizeof(fixed_keys[0]); i++)
        if (str_eq(c->key, fixed_keys[i]))
            return true;
    return false;
}

/* ...IfExists and ForAllValues let in requests without the key. */
static bool keeps_out(const struct cond *c)
{
    if (c->negate || c->if_exists || c->set == COND_ALL || !key_is_fixed(c))
        return false;
    for (unsigned i = 0; i < c->n; i++)
        if (!value_is_fixed(c, &c->values[i]))
            return false;
    return true;
}

static bool is_for_all(const struct principal_list *l)
{
    for (unsigned i = 0; i < l->n; i++)
        if (l->items[i].type == PRINCIPAL_ALL)
            return true;
    return l->all_but;
}

static bool statement_is_public(const struct statement *s)
{
    if (s->deny || !is_for_all(&s->principals))
        return false;
    for (unsigned i = 0; i < s->cond_count; i++)
        if (keeps_out(&s->conds[i]))
            return false;
    return true;
}

bool policy_is_public(const struct policy *p)
{
    for (unsigned i = 0; i < p->n; i++)
        if (statement_is_public(&p->statements[i]))
            return true;
    return false;
}
