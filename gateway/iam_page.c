/* What parameters are allowed to be, and what results are made of. */
#include <stdio.h>

#include "base/clock.h"
#include "gateway/iam_call.h"
#include "s3api/may.h"

/* ---- parameters ---- */

static bool all_of(struct str s, const char *more)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (!c || !strchr(more, c)))
            return false;
    }
    return true;
}

enum err iam_check_name(struct iam_call *c, const char *param, struct str name, size_t max)
{
    if (name.n > 0 && name.n <= max && all_of(name, "_+=,.@-"))
        return ERR_OK;
    return iam_refuse(c, ERR_IAM_VALIDATION, "%s must be 1 to %zu letters, digits and _+=,.@-", param, max);
}

enum err iam_check_path(struct iam_call *c, struct str *path)
{
    if (!path->n) {
        *path = STR("/");
        return ERR_OK;
    }
    if (path->n <= IDENT_PATH_MAX && path->p[0] == '/' && path->p[path->n - 1] == '/' && all_of(*path, "/_+=,.@-"))
        return ERR_OK;
    return iam_refuse(c, ERR_IAM_VALIDATION, "Path must begin and end with / and have letters, digits and _+=,.@-");
}

enum err iam_number(struct iam_call *c, const char *param, uint64_t min, uint64_t max, uint64_t def, uint64_t *out)
{
    struct str text = iam_param(c, param);

    *out = def;
    if (!text.p || (str_to_u64(text, max, out) && *out >= min))
        return ERR_OK;
    return iam_refuse(c, ERR_IAM_VALIDATION, "%s must be a number from %llu to %llu", param, (unsigned long long)min,
                      (unsigned long long)max);
}

enum err iam_read_policy(struct iam_call *c, const char *param, enum policy_kind kind, struct str *text,
                         const struct policy **out)
{
    char why[POLICY_WHY_MAX] = "";
    struct str unknown;
    struct policy *p;

    *text = iam_param(c, param);
    if (!text->n || text->n > IDENT_TEXT_MAX)
        return iam_refuse(c, ERR_IAM_VALIDATION, "%s must be a document of at most %d bytes", param, IDENT_TEXT_MAX);
    if (policy_read(c->arena, *text, kind, &p, why) != ERR_OK)
        return iam_refuse(c, ERR_IAM_MALFORMED_POLICY, "%s: %s", param, why);
    if (!policy_keys_known(p, may_knows_key, &unknown))
        return iam_refuse(c, ERR_IAM_MALFORMED_POLICY, "%s: there is no condition key " STR_FMT, param,
                          STR_ARG(unknown));
    *out = p;
    return ERR_OK;
}

enum err iam_must_exist(struct iam_call *c)
{
    if (c->found)
        return ERR_OK;
    return iam_refuse(c, ERR_NO_SUCH_ENTITY, "The " STR_FMT " with name " STR_FMT " cannot be found.",
                      STR_ARG(ident_kind_name(c->kind)), STR_ARG(c->name));
}

enum err iam_find_policy(struct iam_call *c, const struct ident **out)
{
    struct str arn = iam_param(c, "PolicyArn"), name = ident_arn_name(arn, IDENT_POLICY);

    *out = name.n ? idents_find(c->idents, c->arena, IDENT_POLICY, name) : NULL;
    if (*out && str_eq(ident_arn(c->arena, *out), arn))
        return ERR_OK;
    return iam_refuse(c, ERR_NO_SUCH_ENTITY, "Policy " STR_FMT " does not exist or is not attachable.", STR_ARG(arn));
}

void iam_change(struct iam_call *c, enum ident_change how, ident_change_fn *fn)
{
    c->changes = true;
    c->change = (struct ident_change_req){
        .arena = c->arena, .kind = c->kind, .name = c->name, .how = how, .change = fn, .arg = c};
}

/* ---- results ---- */

void iam_put_doc(struct iam_call *c, const char *name, struct str json)
{
    xml_open(&c->xml, str_z(name));
    url_encode(&c->xml, json, false);
    xml_close(&c->xml, str_z(name));
}

void iam_put_s(struct iam_call *c, const char *name, int64_t unix_s)
{
    char text[CLOCK_ISO_LEN];

    clock_iso(unix_s * NS_PER_S, text);
    xml_str(&c->xml, str_z(name), str_n(text, CLOCK_ISO_LEN));
}

void iam_put_all(struct iam_call *c)
{
    xml_bool(&c->xml, STR("IsTruncated"), false);
}

void iam_put_tags(struct iam_call *c, const struct ident_list *l)
{
    xml_open(&c->xml, STR("Tags"));
    for (unsigned i = 0; i < l->n; i++) {
        xml_open(&c->xml, STR("member"));
        xml_str(&c->xml, STR("Key"), l->items[i].name);
        xml_str(&c->xml, STR("Value"), l->items[i].text);
        xml_close(&c->xml, STR("member"));
    }
    xml_close(&c->xml, STR("Tags"));
}

enum err iam_put_page(struct iam_call *c, const char *list, enum ident_kind kind, ident_wants_fn *wants,
                      iam_put_fn *put)
{
    const struct ident *page[100], *last = NULL;
    struct str after = iam_param(c, "Marker");
    uint64_t max, left;
    bool more = true;
    enum err e = iam_number(c, "MaxItems", 1, IAM_PAGE_MAX, 100, &max);

    if (e != ERR_OK)
        return e;
    xml_open(&c->xml, str_z(list));
    for (left = max; left > 0 && more;) {
        unsigned want = left < 100 ? (unsigned)left : 100;
        unsigned n = idents_list(c->idents, c->arena, kind, last ? last->name : after, wants, c, page, want, &more);
        for (unsigned i = 0; i < n; i++) {
            xml_open(&c->xml, STR("member"));
            put(c, last = page[i]);
            xml_close(&c->xml, STR("member"));
        }
        left -= n;
    }
    xml_close(&c->xml, str_z(list));
    xml_bool(&c->xml, STR("IsTruncated"), more);
    if (more && last)
        xml_str(&c->xml, STR("Marker"), last->name);
    return ERR_OK;
}
