#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "iam/policy_own.h"

enum { NODES_MAX = 8192, SID_MAX = 256, ACTION_MAX = 128 };

/* ---- parts ---- */

enum err policy_refuse(struct policy_reader *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(r->why, POLICY_WHY_MAX, fmt, args);
    va_end(args);
    return ERR_MALFORMED_POLICY;
}

static bool is_text(const struct doc *d)
{
    return d->kind == DOC_SCALAR && (d->quoted || d->text.n > 0); /* null is an empty unquoted one */
}

bool policy_is_texts(const struct doc *d)
{
    if (d->kind == DOC_SCALAR)
        return is_text(d);
    if (d->kind != DOC_LIST)
        return false;
    for (const struct doc *c = d->first; c; c = c->next)
        if (!is_text(c))
            return false;
    return true;
}

const struct doc *policy_first(const struct doc *d)
{
    return d->kind == DOC_LIST ? d->first : d;
}

struct str policy_key(struct arena *a, struct str text)
{
    struct str key = arena_str(a, text);
    char *p = (char *)key.p;

    for (size_t i = 0; i < key.n && p[i] != '/'; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] - 'A' + 'a');
    return key;
}

static unsigned count_texts(const struct doc *d)
{
    return d->kind == DOC_LIST ? d->count : 1;
}

/* ---- actions and resources ---- */

/* "*", or "service:name" with wildcards behind the colon. */
static bool is_action(struct str s)
{
    size_t colon = str_find_char(s, ':');

    if (str_eq(s, STR("*")))
        return true;
    if (colon == 0 || colon == SIZE_MAX || colon + 1 == s.n || s.n >= ACTION_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i], small = (char)(c | 0x20);
        bool name = (small >= 'a' && small <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!name && i != colon && !(i > colon && (c == '*' || c == '?')))
            return false;
    }
    return true;
}

/* "*" or six parts between colons, the last with whatever it likes. */
static bool is_resource(struct str s)
{
    unsigned colons = 0;

    if (str_eq(s, STR("*")))
        return true;
    for (size_t i = 0; i < s.n; i++)
        colons += s.p[i] == ':';
    return colons >= 5 && str_starts(s, STR("arn:"));
}

static enum err read_globs(struct policy_reader *r, const struct doc *d, bool actions, struct glob_list *out)
{
    unsigned flags = actions ? GLOB_STARS | GLOB_LOWER : GLOB_STARS | (r->policy->variables ? GLOB_VARIABLES : 0);
    const char *what = actions ? "action" : "resource";

    if (out->present)
        return policy_refuse(r, "A statement has both %s and Not%s", actions ? "Action" : "Resource",
                             actions ? "Action" : "Resource");
    if (!policy_is_texts(d) || (d->kind == DOC_LIST && !d->count))
        return policy_refuse(r, "Policy has invalid %s", what);
    out->items = arena_new(r->arena, count_texts(d) * sizeof(*out->items));
    for (const struct doc *c = policy_first(d); c; c = d->kind == DOC_LIST ? c->next : NULL) {
        if (!(actions ? is_action(c->text) : is_resource(c->text)))
            return policy_refuse(r, "Policy has invalid %s: %.100s", what, c->text.p);
        if (glob_read(r->arena, c->text, flags, &out->items[out->n++], r->why) != ERR_OK)
            return ERR_MALFORMED_POLICY;
    }
    out->present = true;
    out->all_but = str_starts(d->key, STR("Not"));
    return ERR_OK;
}

/* ---- statements ---- */

struct statement_reader {
    struct policy_reader *r;
    struct statement *to;
    bool has_effect;
};

static enum err read_effect(struct statement_reader *s, const struct doc *d)
{
    if (d->kind != DOC_SCALAR || !(str_eq(d->text, STR("Allow")) || str_eq(d->text, STR("Deny"))))
        return policy_refuse(s->r, "Invalid effect : %.50s", d->kind == DOC_SCALAR ? d->text.p : "not a text");
    s->to->deny = str_eq(d->text, STR("Deny"));
    s->has_effect = true;
    return ERR_OK;
}

static enum err read_sid(struct policy_reader *r, const struct doc *statement, const struct doc *d)
{
    if (d->kind != DOC_SCALAR || !d->quoted || d->text.n > SID_MAX)
        return policy_refuse(r, "Policy has an invalid Sid");
    for (const struct doc *other = statement->next; other; other = other->next) {
        const struct doc *sid = doc_get(other, STR("Sid"));
        if (d->text.n && sid && sid->kind == DOC_SCALAR && str_eq(sid->text, d->text))
            return policy_refuse(r, "Statement IDs (Sid) must be unique: %.100s", d->text.p);
    }
    return ERR_OK;
}

static enum err read_element(struct statement_reader *s, const struct doc *statement, const struct doc *d)
{
    struct str name = d->key;

    if (str_eq(name, STR("Sid")))
        return read_sid(s->r, statement, d);
    if (str_eq(name, STR("Effect")))
        return read_effect(s, d);
    if (str_eq(name, STR("Principal")) || str_eq(name, STR("NotPrincipal")))
        return principal_read(s->r, d, &s->to->principals);
    if (str_eq(name, STR("Action")) || str_eq(name, STR("NotAction")))
        return read_globs(s->r, d, true, &s->to->actions);
    if (str_eq(name, STR("Resource")) || str_eq(name, STR("NotResource")))
        return read_globs(s->r, d, false, &s->to->resources);
    if (str_eq(name, STR("Condition")))
        return condition_read(s->r, d, s->to);
    return policy_refuse(s->r, "Unknown field %.100s", name.n ? name.p : "\"\"");
}

static enum err check_statement(const struct statement_reader *s)
{
    enum policy_kind kind = s->r->policy->kind;
    const struct statement *to = s->to;

    if (!s->has_effect)
        return policy_refuse(s->r, "Missing required field Effect");
    if (!to->actions.present)
        return policy_refuse(s->r, "Missing required field Action");
    if (kind != POLICY_IDENTITY && !to->principals.present)
        return policy_refuse(s->r, "Missing required field Principal");
    if (kind == POLICY_IDENTITY && to->principals.present)
        return policy_refuse(s->r, "Policy document should not specify a principal.");
    if (kind != POLICY_TRUST && !to->resources.present)
        return policy_refuse(s->r, "Missing required field Resource");
    if (kind == POLICY_TRUST && to->resources.present)
        return policy_refuse(s->r, "Has prohibited field Resource");
    /* IAM User Guide, "NotPrincipal": with Allow it would let in everybody else, the anonymous too */
    if (to->principals.all_but && !to->deny)
        return policy_refuse(s->r, "NotPrincipal can only be used with the effect Deny");
    return ERR_OK;
}

static enum err read_statement(struct policy_reader *r, const struct doc *d, struct statement *to)
{
    struct statement_reader s = {.r = r, .to = to};
    enum err e = ERR_OK;

    if (d->kind != DOC_MAP)
        return policy_refuse(r, "A statement must be an object");
    for (const struct doc *c = d->first; c && e == ERR_OK; c = c->next)
        e = read_element(&s, d, c);
    return e == ERR_OK ? check_statement(&s) : e;
}

static enum err read_statements(struct policy_reader *r, const struct doc *d)
{
    struct policy *p = r->policy;
    unsigned n = d->kind == DOC_LIST ? d->count : 1;
    enum err e = ERR_OK;

    if (d->kind == DOC_SCALAR || n == 0)
        return policy_refuse(r, "Could not parse the policy: Statement is empty!");
    if (n > POLICY_STATEMENTS_MAX)
        return policy_refuse(r, "A policy has at most %d statements", POLICY_STATEMENTS_MAX);
    p->statements = arena_new(r->arena, n * sizeof(*p->statements));
    for (const struct doc *c = policy_first(d); c && e == ERR_OK; c = d->kind == DOC_LIST ? c->next : NULL)
        e = read_statement(r, c, &p->statements[p->n++]);
    return e;
}

/* ---- the document ---- */

static enum err read_top(struct policy_reader *r, const struct doc *root)
{
    const struct doc *version = doc_get(root, STR("Version")), *statements = doc_get(root, STR("Statement"));

    for (const struct doc *c = root->first; c; c = c->next)
        if (!str_eq(c->key, STR("Version")) && !str_eq(c->key, STR("Id")) && !str_eq(c->key, STR("Statement")))
            return policy_refuse(r, "Unknown field %.100s", c->key.n ? c->key.p : "\"\"");
        else if (str_eq(c->key, STR("Id")) && (c->kind != DOC_SCALAR || !c->quoted))
            return policy_refuse(r, "Policy has an invalid Id");
    if (version && (version->kind != DOC_SCALAR ||
                    (!str_eq(version->text, STR("2012-10-17")) && !str_eq(version->text, STR("2008-10-17")))))
        return policy_refuse(r, "The policy must contain a valid version string");
    r->policy->variables = version && str_eq(version->text, STR("2012-10-17"));
    return statements ? read_statements(r, statements) : policy_refuse(r, "Missing required field Statement");
}

enum err policy_read(struct arena *a, struct str json, enum policy_kind kind, struct policy **out,
                     char why[POLICY_WHY_MAX])
{
    const struct js_bounds bounds = {POLICY_TEXT_MAX, NODES_MAX};
    struct policy_reader r = {.arena = a, .policy = ARENA_NEW(a, struct policy), .why = why};
    char syntax[DOC_WHY_MAX] = "";
    struct doc *root;
    enum err e;

    r.policy->kind = kind;
    if (json.n > POLICY_TEXT_MAX)
        return policy_refuse(&r, "Policy exceeds the maximum allowed document size of %d bytes.", POLICY_TEXT_MAX);
    if (json.n == 0 || json.p[0] != '{')
        return policy_refuse(&r, "Policies must be valid JSON and the first byte must be '{'");
    if (js_read_within(a, json, &bounds, &root, syntax) != ERR_OK)
        return policy_refuse(&r, "This policy contains invalid Json: %.200s", syntax);
    if ((e = read_top(&r, root)) == ERR_OK)
        *out = r.policy;
    return e;
}

/* ---- what a bucket's policy may be about ---- */

static bool action_is_of(struct str pattern, struct str service)
{
    return (pattern.n == 1 && (unsigned char)pattern.p[0] == GLOB_ANY) ||
           (str_starts(pattern, service) && pattern.n > service.n && pattern.p[service.n] == ':');
}

enum err policy_within(const struct policy *p, struct str service, struct str root, char why[POLICY_WHY_MAX])
{
    for (unsigned i = 0; i < p->n; i++) {
        const struct statement *s = &p->statements[i];
        for (unsigned k = 0; k < s->actions.n; k++)
            if (!action_is_of(s->actions.items[k].pattern, service)) {
                snprintf(why, POLICY_WHY_MAX, "Policy has invalid action");
                return ERR_MALFORMED_POLICY;
            }
        for (unsigned k = 0; k < s->resources.n; k++)
            if (!glob_reaches(s->resources.items[k].pattern, root)) {
                snprintf(why, POLICY_WHY_MAX, "Policy has invalid resource");
                return ERR_MALFORMED_POLICY;
            }
    }
    return ERR_OK;
}
