#include "iam/policy_own.h"

enum { NAME_MAX_LEN = 64, ACCOUNT_LEN = 12, CANONICAL_LEN = 64, ARN_TEXT_MAX = 512 };

/* ---- reading ---- */

static bool all_of(struct str s, const char *chars)
{
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr(chars, s.p[i]))
            return false;
    return s.n > 0;
}

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_account(struct str s)
{
    return s.n == ACCOUNT_LEN && all_of(s, DIGITS);
}

/* arn:PARTITION:iam|sts::ACCOUNT:REST; the account and what follows it. */
static bool arn_split(struct str arn, struct str *account, struct str *rest)
{
    struct str service;

    if (!str_eq(str_split(&arn, ':'), STR("arn")) || !str_starts(str_split(&arn, ':'), STR("aws")))
        return false;
    service = str_split(&arn, ':');
    if (!(str_eq(service, STR("iam")) || str_eq(service, STR("sts"))) || str_split(&arn, ':').n != 0)
        return false;
    *account = str_split(&arn, ':');
    *rest = arn;
    return account->n == 0 || is_account(*account);
}

static bool read_arn(struct str text, struct principal_item *out)
{
    static const struct str kinds[] = {{"user/", 5}, {"role/", 5}, {"assumed-role/", 13}, {"federated-user/", 15}};
    struct str account, rest;

    if (text.n > ARN_TEXT_MAX || !arn_split(text, &account, &rest) || memchr(text.p, '*', text.n) ||
        memchr(text.p, '?', text.n))
        return false; /* wildcards are for "*" alone */
    if (str_eq(rest, STR("root"))) {
        *out = (struct principal_item){PRINCIPAL_ACCOUNT, account};
        return account.n > 0;
    }
    *out = (struct principal_item){PRINCIPAL_ARN, text};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (str_starts(rest, kinds[i]) && rest.n > kinds[i].n)
            return true;
    return false;
}

static bool read_aws(struct str text, struct principal_item *out)
{
    if (str_eq(text, STR("*"))) {
        *out = (struct principal_item){PRINCIPAL_ALL, text};
        return true;
    }
    if (is_account(text)) {
        *out = (struct principal_item){PRINCIPAL_ACCOUNT, text};
        return true;
    }
    if (str_starts(text, STR("arn:")))
        return read_arn(text, out);
    *out = (struct principal_item){PRINCIPAL_NAME, text};
    return text.n <= NAME_MAX_LEN && all_of(text, DIGITS LETTERS "+=,.@_-");
}

static bool read_item(struct str family, struct str text, struct principal_item *out)
{
    if (str_eq(family, STR("AWS")))
        return read_aws(text, out);
    if (str_eq(family, STR("CanonicalUser"))) {
        *out = (struct principal_item){PRINCIPAL_CANONICAL, text};
        return text.n == CANONICAL_LEN && all_of(text, DIGITS "abcdefABCDEF");
    }
    *out = (struct principal_item){str_eq(family, STR("Service")) ? PRINCIPAL_SERVICE : PRINCIPAL_FEDERATED, text};
    return text.n > 0 && text.n <= ARN_TEXT_MAX && !memchr(text.p, '*', text.n) &&
           (str_eq(family, STR("Federated")) || str_eq(family, STR("Service")));
}

static unsigned count(const struct doc *map)
{
    unsigned n = 0;

    for (const struct doc *d = map->first; d; d = d->next)
        n += d->kind == DOC_LIST ? d->count : 1;
    return n;
}

enum err principal_read(struct policy_reader *r, const struct doc *d, struct principal_list *out)
{
    if (out->present)
        return policy_refuse(r, "A statement has both Principal and NotPrincipal");
    out->present = true;
    out->all_but = str_starts(d->key, STR("Not"));
    if (d->kind == DOC_SCALAR && str_eq(d->text, STR("*"))) {
        out->items = ARENA_NEW(r->arena, struct principal_item);
        out->items[out->n++] = (struct principal_item){PRINCIPAL_ALL, d->text};
        return ERR_OK;
    }
    if (d->kind != DOC_MAP || count(d) == 0)
        return policy_refuse(r, "Invalid principal in policy");
    out->items = arena_new(r->arena, count(d) * sizeof(*out->items));
    for (const struct doc *family = d->first; family; family = family->next) {
        if (!policy_is_texts(family))
            return policy_refuse(r, "Invalid principal in policy");
        for (const struct doc *c = policy_first(family); c; c = family->kind == DOC_LIST ? c->next : NULL)
            if (!read_item(family->key, c->text, &out->items[out->n++]))
                return policy_refuse(r, "Invalid principal in policy: \"%.50s\":\"%.100s\"",
                                     family->key.n ? family->key.p : "", c->text.p);
    }
    return ERR_OK;
}

/* ---- matching ---- */

/* Equal but for the account when the policy names none, and for the partition. */
static bool same_arn(struct str wanted, struct str arn)
{
    struct str account, rest, its_account, its_rest;

    if (str_eq(wanted, arn))
        return true;
    return arn.n && arn_split(wanted, &account, &rest) && arn_split(arn, &its_account, &its_rest) &&
           str_eq(rest, its_rest) && (account.n == 0 || str_eq(account, its_account));
}

static bool item_fits(const struct principal_item *p, const struct iam_principal *who, bool whole_account)
{
    switch (p->type) {
    case PRINCIPAL_ALL:
        return true;
    case PRINCIPAL_ACCOUNT:
        return (whole_account || who->kind == IAM_OWNER) && who->account.n && str_eq(p->text, who->account);
    case PRINCIPAL_ARN:
        return who->kind != IAM_FEDERATED && who->kind != IAM_SERVICE &&
               (same_arn(p->text, who->arn) || same_arn(p->text, who->role_arn));
    case PRINCIPAL_NAME:
        return who->kind == IAM_USER && (str_eq(p->text, who->name) || str_eq(p->text, who->id));
    case PRINCIPAL_CANONICAL:
        return who->canonical_id.n && str_eq_nocase(p->text, who->canonical_id);
    case PRINCIPAL_FEDERATED:
        return who->kind == IAM_FEDERATED && str_eq(p->text, who->arn);
    case PRINCIPAL_SERVICE:
        return who->kind == IAM_SERVICE && str_eq(p->text, who->arn);
    }
    return false;
}

bool principal_fits(const struct principal_list *l, const struct iam_principal *who, bool whole_account)
{
    bool found = false;

    for (unsigned i = 0; i < l->n && !found; i++)
        found = item_fits(&l->items[i], who, whole_account && !l->all_but);
    return found != l->all_but;
}
