#include "iam/policy.h"

#include <stdio.h>

#include "base/clock.h"
#include "iam/policy_own.h"

/* ---- what a request says ---- */

static struct str principal_type(const struct iam_principal *who)
{
    switch (who->kind) {
    case IAM_ANONYMOUS:
        return STR("Anonymous");
    case IAM_OWNER:
        return STR("Account");
    case IAM_USER:
        return STR("User");
    case IAM_SESSION:
        return STR("AssumedRole");
    case IAM_FEDERATED:
        return STR("FederatedUser");
    case IAM_SERVICE:
        return STR("Service");
    }
    return STR_NONE;
}

static struct str current_time(int64_t now_s, char *text)
{
    clock_iso(now_s * NS_PER_S, text);
    return str_n(text, CLOCK_ISO_LEN);
}

static struct str epoch_time(int64_t now_s, char *text, size_t room)
{
    return str_n(text, (size_t)snprintf(text, room, "%lld", (long long)now_s));
}

/* False: not one of ours. */
static bool own_value(const struct iam_request *req, struct str key, struct key_room *room)
{
    const struct iam_principal *who = req->principal;

    if (!str_starts(key, STR("aws:")))
        return false;
    if (str_eq(key, STR("aws:username")))
        room->value = who->name;
    else if (str_eq(key, STR("aws:userid")))
        room->value = who->kind == IAM_ANONYMOUS ? STR("anonymous") : who->id;
    else if (str_eq(key, STR("aws:principalarn")))
        room->value = who->role_arn.n ? who->role_arn : who->arn;
    else if (str_eq(key, STR("aws:principalaccount")))
        room->value = who->account;
    else if (str_eq(key, STR("aws:principaltype")))
        room->value = principal_type(who);
    else if (str_eq(key, STR("aws:currenttime")))
        room->value = current_time(req->now_s, room->text);
    else if (str_eq(key, STR("aws:epochtime")))
        room->value = epoch_time(req->now_s, room->text, sizeof(room->text));
    else
        return false;
    return true;
}

bool evaluation_values(const struct evaluation *ev, struct str key, struct key_room *room, struct iam_values *out)
{
    if (own_value(ev->req, key, room)) {
        *out = (struct iam_values){&room->value, 1};
        return room->value.n > 0;
    }
    return ev->req->lookup && ev->req->lookup(ev->req->arg, key, out);
}

/* ---- variables ---- */

static bool append(struct evaluation *ev, size_t *n, struct str s)
{
    if (*n + s.n > sizeof(ev->expanded))
        return false;
    if (s.n)
        memcpy(ev->expanded + *n, s.p, s.n);
    *n += s.n;
    return true;
}

/* A value stands for itself: what looks like a wildcard in it is none, and what could be taken for a compiled one fits nothing. */
static bool append_variable(struct evaluation *ev, size_t *n, const struct glob_variable *v)
{
    struct iam_values values = {0};
    struct str value = v->fallback;
    struct key_room room;

    if (evaluation_values(ev, v->key, &room, &values) && values.n == 1)
        value = values.items[0];
    if (!value.p || (value.n && (memchr(value.p, GLOB_ANY, value.n) || memchr(value.p, GLOB_ONE, value.n))))
        return false;
    return append(ev, n, value);
}

bool evaluation_expand(struct evaluation *ev, const struct glob *g, struct str *out)
{
    struct str rest = g->pattern;
    size_t n = 0;

    *out = g->pattern;
    if (!g->variable_count)
        return true;
    for (;;) {
        size_t at = str_find_char(rest, (char)GLOB_VARIABLE);
        if (at == SIZE_MAX)
            break;
        if (!append(ev, &n, str_n(rest.p, at)) ||
            !append_variable(ev, &n, &g->variables[(unsigned char)rest.p[at + 1]]))
            return false;
        rest = str_skip(rest, at + 2);
    }
    if (!append(ev, &n, rest))
        return false;
    *out = str_n(ev->expanded, n);
    return true;
}

/* ---- statements ---- */

static bool actions_fit(const struct evaluation *ev, const struct glob_list *l)
{
    bool found = false;

    for (unsigned i = 0; i < l->n && !found; i++)
        found = glob_match(l->items[i].pattern, str_n(ev->action, ev->action_n));
    return found != l->all_but;
}

static bool resources_fit(struct evaluation *ev, const struct glob_list *l)
{
    bool found = false;
    struct str pattern;

    for (unsigned i = 0; i < l->n && !found; i++)
        found = evaluation_expand(ev, &l->items[i], &pattern) && glob_match(pattern, ev->req->resource);
    return found != l->all_but;
}

static bool conditions_fit(struct evaluation *ev, const struct statement *s)
{
    for (unsigned i = 0; i < s->cond_count; i++)
        if (!condition_fits(ev, &s->conds[i]))
            return false;
    return true;
}

static bool statement_fits(struct evaluation *ev, const struct policy *p, const struct statement *s)
{
    if (p->kind != POLICY_IDENTITY &&
        !principal_fits(&s->principals, ev->req->principal, s->deny || p->kind == POLICY_TRUST))
        return false;
    return actions_fit(ev, &s->actions) && (p->kind == POLICY_TRUST || resources_fit(ev, &s->resources)) &&
           conditions_fit(ev, s);
}

static void evaluation_init(struct evaluation *ev, const struct iam_request *req)
{
    ev->req = req;
    ev->action_n = req->action.n < sizeof(ev->action) ? req->action.n : sizeof(ev->action);
    for (size_t i = 0; i < ev->action_n; i++) {
        char c = req->action.p[i];
        ev->action[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
}

enum policy_verdict policy_evaluate(const struct policy *p, const struct iam_request *req)
{
    struct evaluation ev;
    enum policy_verdict verdict = POLICY_SILENT;

    evaluation_init(&ev, req);
    for (unsigned i = 0; i < p->n; i++) {
        const struct statement *s = &p->statements[i];
        if ((!s->deny && verdict == POLICY_ALLOW) || !statement_fits(&ev, p, s))
            continue;
        if (s->deny)
            return POLICY_DENY;
        verdict = POLICY_ALLOW;
    }
    return verdict;
}

/* ---- what a policy looks at ---- */

/* Calls `fn` with each key until it says true. */
typedef bool key_fn(void *arg, struct str key);

static bool glob_keys(const struct glob *g, key_fn *fn, void *arg)
{
    for (unsigned i = 0; i < g->variable_count; i++)
        if (fn(arg, g->variables[i].key))
            return true;
    return false;
}

static bool has_globs(const struct cond *c)
{
    return c->type == COND_STRING || c->type == COND_STRING_CASE || c->type == COND_LIKE || c->type == COND_ARN;
}

static bool cond_keys(const struct cond *c, key_fn *fn, void *arg)
{
    if (fn(arg, c->key))
        return true;
    for (unsigned i = 0; has_globs(c) && i < c->n; i++)
        if (glob_keys(&c->values[i].glob, fn, arg))
            return true;
    return false;
}

static bool statement_keys(const struct statement *s, key_fn *fn, void *arg)
{
    for (unsigned k = 0; k < s->cond_count; k++)
        if (cond_keys(&s->conds[k], fn, arg))
            return true;
    for (unsigned k = 0; k < s->resources.n; k++)
        if (glob_keys(&s->resources.items[k], fn, arg))
            return true;
    return false;
}

static bool policy_keys(const struct policy *p, key_fn *fn, void *arg)
{
    for (unsigned i = 0; i < p->n; i++)
        if (statement_keys(&p->statements[i], fn, arg))
            return true;
    return false;
}

static bool starts_so(void *prefix, struct str key)
{
    return str_starts(key, *(struct str *)prefix);
}

bool policy_asks(const struct policy *p, struct str key_prefix)
{
    return policy_keys(p, starts_so, &key_prefix);
}

struct unknown {
    bool (*knows)(struct str key);
    struct str key;
};

static bool is_unknown(void *arg, struct str key)
{
    struct unknown *u = arg;

    u->key = key;
    return !u->knows(key);
}

bool policy_keys_known(const struct policy *p, bool (*knows)(struct str key), struct str *unknown)
{
    struct unknown u = {knows, STR_NONE};

    if (!policy_keys(p, is_unknown, &u))
        return true;
    *unknown = u.key;
    return false;
}

unsigned policy_count(const struct policy *p)
{
    return p->n;
}

bool policy_names(const struct policy *p, unsigned statement, struct str action)
{
    const struct iam_request req = {.action = action};
    struct evaluation ev;

    evaluation_init(&ev, &req);
    return actions_fit(&ev, &p->statements[statement].actions);
}

bool policy_means(const struct policy *p, unsigned statement, struct str root, bool below)
{
    const struct glob_list *l = &p->statements[statement].resources;

    for (unsigned i = 0; i < l->n; i++) {
        struct str pattern = l->items[i].pattern;
        if (below ? glob_reaches_below(pattern, root) : l->items[i].variable_count || glob_match(pattern, root))
            return true;
    }
    return false;
}

bool policy_statement_asks(const struct policy *p, unsigned statement, struct str key_prefix)
{
    return statement_keys(&p->statements[statement], starts_so, &key_prefix);
}

bool policy_excepts(const struct policy *p, unsigned statement)
{
    return p->statements[statement].actions.all_but || p->statements[statement].resources.all_but;
}
