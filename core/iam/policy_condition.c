#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "iam/policy_own.h"

enum { NUMBER_MAX = 40, VALUES_MAX = 1000 };

static const struct {
    struct str name;
    enum cond_type type;
    enum cond_order order;
    bool negate;
} operators[] = {
    {{"StringEquals", 12}, COND_STRING, COND_EQ, false},
    {{"StringNotEquals", 15}, COND_STRING, COND_EQ, true},
    {{"StringEqualsIgnoreCase", 22}, COND_STRING_CASE, COND_EQ, false},
    {{"StringNotEqualsIgnoreCase", 25}, COND_STRING_CASE, COND_EQ, true},
    {{"StringLike", 10}, COND_LIKE, COND_EQ, false},
    {{"StringNotLike", 13}, COND_LIKE, COND_EQ, true},
    {{"NumericEquals", 13}, COND_NUMERIC, COND_EQ, false},
    {{"NumericNotEquals", 16}, COND_NUMERIC, COND_EQ, true},
    {{"NumericLessThan", 15}, COND_NUMERIC, COND_LT, false},
    {{"NumericLessThanEquals", 21}, COND_NUMERIC, COND_LE, false},
    {{"NumericGreaterThan", 18}, COND_NUMERIC, COND_GT, false},
    {{"NumericGreaterThanEquals", 24}, COND_NUMERIC, COND_GE, false},
    {{"DateEquals", 10}, COND_DATE, COND_EQ, false},
    {{"DateNotEquals", 13}, COND_DATE, COND_EQ, true},
    {{"DateLessThan", 12}, COND_DATE, COND_LT, false},
    {{"DateLessThanEquals", 18}, COND_DATE, COND_LE, false},
    {{"DateGreaterThan", 15}, COND_DATE, COND_GT, false},
    {{"DateGreaterThanEquals", 21}, COND_DATE, COND_GE, false},
    {{"Bool", 4}, COND_BOOL, COND_EQ, false},
    {{"BinaryEquals", 12}, COND_BINARY, COND_EQ, false},
    {{"IpAddress", 9}, COND_IP, COND_EQ, false},
    {{"NotIpAddress", 12}, COND_IP, COND_EQ, true},
    {{"ArnEquals", 9}, COND_ARN, COND_EQ, false},
    {{"ArnLike", 7}, COND_ARN, COND_EQ, false},
    {{"ArnNotEquals", 12}, COND_ARN, COND_EQ, true},
    {{"ArnNotLike", 10}, COND_ARN, COND_EQ, true},
    {{"Null", 4}, COND_NULL, COND_EQ, false},
};

/* ---- values ---- */

static bool number_of(struct str s, double *out)
{
    char text[NUMBER_MAX], *end;

    if (s.n == 0 || s.n >= sizeof(text))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= '0' && s.p[i] <= '9') && s.p[i] != '.' && s.p[i] != '-' && s.p[i] != '+' && s.p[i] != 'e' &&
            s.p[i] != 'E')
            return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    double v = strtod(text, &end);
    if (end != text + s.n || !isfinite(v))
        return false;
    *out = v;
    return true;
}

/* ISO 8601 with or without a time, or seconds since 1970. */
static bool date_of(struct str s, double *out)
{
    char text[32];
    int64_t at;

    if (s.n == 10 && s.p[4] == '-' && s.p[7] == '-') {
        memcpy(text, s.p, 10);
        memcpy(text + 10, "T00:00:00Z", 10);
        s = str_n(text, 20);
    }
    if (clock_iso_parse(s, &at)) {
        *out = (double)at;
        return true;
    }
    return number_of(s, out);
}

static bool truth_of(struct str s, bool *out)
{
    *out = str_eq_nocase(s, STR("true"));
    return *out || str_eq_nocase(s, STR("false"));
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool address_of(struct str s, uint8_t out[16], bool *v4)
{
    char text[INET6_ADDRSTRLEN];

    if (s.n == 0 || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    if (strlen(text) != s.n)
        return false;
    *v4 = inet_pton(AF_INET, text, out + 12) == 1;
    if (*v4)
        memcpy(out, mapped, sizeof(mapped));
    return *v4 || inet_pton(AF_INET6, text, out) == 1;
}

static bool read_network(struct str s, struct cond_value *out)
{
    struct str address = str_split(&s, '/');
    uint64_t prefix;
    bool v4;

    if (!address_of(address, out->ip.bytes, &v4))
        return false;
    prefix = v4 ? 32 : 128;
    if (s.p && s.n == 0 && address.p + address.n != s.p)
        return false; /* a slash and nothing behind it */
    if (s.n && !str_to_u64(s, prefix, &prefix))
        return false;
    out->ip.prefix = (unsigned)prefix + (v4 ? 96 : 0);
    return true;
}

bool cond_is_v4(const struct cond_value *net)
{
    return net->ip.prefix >= 96 && memcmp(net->ip.bytes, mapped, sizeof(mapped)) == 0;
}

/* "::/0" is all of IPv6 and nothing of IPv4. */
static bool in_network(const struct cond_value *net, const uint8_t address[16])
{
    unsigned whole = net->ip.prefix / 8, rest = net->ip.prefix % 8;

    if (cond_is_v4(net) != (memcmp(address, mapped, sizeof(mapped)) == 0) || memcmp(net->ip.bytes, address, whole) != 0)
        return false;
    return rest == 0 || ((net->ip.bytes[whole] ^ address[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

static bool read_bytes(struct arena *a, struct str s, struct str *out)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n;

    if (!base64_decode(s, p, s.n + 1, &n))
        return false;
    *out = arena_str(a, s); /* the only form of these bytes: base64_decode() takes no other */
    return true;
}

/* ---- reading ---- */

static bool read_value(struct policy_reader *r, const struct cond *c, struct str text, struct cond_value *out)
{
    unsigned variables = r->policy->variables ? GLOB_VARIABLES : 0;

    r->why[0] = 0;
    switch (c->type) {
    case COND_STRING:
        return glob_read(r->arena, text, variables, &out->glob, r->why) == ERR_OK;
    case COND_STRING_CASE:
        return glob_read(r->arena, text, variables | GLOB_LOWER, &out->glob, r->why) == ERR_OK;
    case COND_LIKE:
    case COND_ARN:
        return glob_read(r->arena, text, variables | GLOB_STARS, &out->glob, r->why) == ERR_OK;
    case COND_NUMERIC:
        return number_of(text, &out->number);
    case COND_DATE:
        return date_of(text, &out->number);
    case COND_BOOL:
    case COND_NULL:
        return truth_of(text, &out->truth);
    case COND_BINARY:
        return read_bytes(r->arena, text, &out->bytes);
    case COND_IP:
        return read_network(text, out);
    }
    return false;
}

static enum err read_operator(struct policy_reader *r, struct str text, struct cond *c)
{
    struct str name = text;

    if (str_starts(name, STR("ForAllValues:"))) {
        c->set = COND_ALL;
        name = str_skip(name, 13);
    } else if (str_starts(name, STR("ForAnyValue:"))) {
        c->set = COND_ANY;
        name = str_skip(name, 12);
    }
    if (str_ends(name, STR("IfExists"))) {
        c->if_exists = true;
        name.n -= 8;
    }
    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (str_eq(name, operators[i].name)) {
            c->type = operators[i].type;
            c->order = operators[i].order;
            c->negate = operators[i].negate;
            if (c->type == COND_NULL && (c->if_exists || c->set != COND_ONE))
                break;
            return ERR_OK;
        }
    return policy_refuse(r, "Invalid Condition type : %.100s", text.n ? text.p : "");
}

static bool is_key(struct str s)
{
    size_t colon = str_find_char(s, ':');

    return str_is_plain(s) && colon != SIZE_MAX && colon > 0 && colon + 1 < s.n && s.n < POLICY_KEY_MAX;
}

static enum err read_condition(struct policy_reader *r, const struct doc *op, const struct doc *d, struct cond *c)
{
    enum err e = read_operator(r, op->key, c);

    if (e != ERR_OK)
        return e;
    if (!is_key(d->key))
        return policy_refuse(r, "Policy has an invalid condition key: %.100s", d->key.n ? d->key.p : "\"\"");
    if (!policy_is_texts(d) || (d->kind == DOC_LIST && (!d->count || d->count > VALUES_MAX)))
        return policy_refuse(r, "Invalid values for the condition %.100s", d->key.p);
    c->key = policy_key(r->arena, d->key);
    c->values = arena_new(r->arena, (d->kind == DOC_LIST ? d->count : 1) * sizeof(*c->values));
    for (const struct doc *v = policy_first(d); v; v = d->kind == DOC_LIST ? v->next : NULL)
        if (!read_value(r, c, v->text, &c->values[c->n++]))
            return r->why[0] ? ERR_MALFORMED_POLICY
                             : policy_refuse(r, "Invalid value for the condition %.60s: %.100s", op->key.p,
                                             v->text.n ? v->text.p : "\"\"");
    return ERR_OK;
}

enum err condition_read(struct policy_reader *r, const struct doc *d, struct statement *out)
{
    unsigned n = 0;

    if (d->kind != DOC_MAP)
        return policy_refuse(r, "Condition must be an object");
    for (const struct doc *op = d->first; op; op = op->next) {
        if (op->kind != DOC_MAP)
            return policy_refuse(r, "The condition %.100s must be an object", op->key.n ? op->key.p : "\"\"");
        n += op->count;
    }
    out->conds = arena_new(r->arena, (n + !n) * sizeof(*out->conds));
    for (const struct doc *op = d->first; op; op = op->next) {
        struct cond unused = {0};
        enum err e = read_operator(r, op->key, &unused);
        for (const struct doc *key = op->first; key && e == ERR_OK; key = key->next)
            e = read_condition(r, op, key, &out->conds[out->cond_count++]);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* ---- evaluation ---- */

static bool ordered(double left, enum cond_order order, double right)
{
    switch (order) {
    case COND_EQ:
        return left == right;
    case COND_LT:
        return left < right;
    case COND_LE:
        return left <= right;
    case COND_GT:
        return left > right;
    case COND_GE:
        return left >= right;
    }
    return false;
}

/* Six parts, each with wildcards of its own; the last has the rest. */
static bool arn_matches(struct str pattern, struct str arn)
{
    for (unsigned part = 0; part < 5; part++) {
        if (str_find_char(pattern, ':') == SIZE_MAX || str_find_char(arn, ':') == SIZE_MAX ||
            !glob_match(str_split(&pattern, ':'), str_split(&arn, ':')))
            return false;
    }
    return glob_match(pattern, arn);
}

static bool text_matches(struct evaluation *ev, const struct cond *c, const struct cond_value *v, struct str text)
{
    struct str pattern;

    if (!evaluation_expand(ev, &v->glob, &pattern))
        return false;
    if (c->type == COND_LIKE)
        return glob_match(pattern, text);
    if (c->type == COND_ARN)
        return arn_matches(pattern, text);
    return c->type == COND_STRING ? str_eq(pattern, text) : str_eq_nocase(pattern, text);
}

static bool value_matches(struct evaluation *ev, const struct cond *c, const struct cond_value *v, struct str text)
{
    uint8_t address[16];
    double number;
    bool truth;

    switch (c->type) {
    case COND_STRING:
    case COND_STRING_CASE:
    case COND_LIKE:
    case COND_ARN:
        return text_matches(ev, c, v, text);
    case COND_NUMERIC:
        return number_of(text, &number) && ordered(number, c->order, v->number);
    case COND_DATE:
        return date_of(text, &number) && ordered(number, c->order, v->number);
    case COND_BOOL:
        return truth_of(text, &truth) && truth == v->truth;
    case COND_BINARY:
        return str_eq(text, v->bytes);
    case COND_IP:
        return address_of(text, address, &truth) && in_network(v, address);
    case COND_NULL:
        break;
    }
    return false;
}

/* One value of the request: fits one of the policy's, or with a negated operator none. */
static bool one_fits(struct evaluation *ev, const struct cond *c, struct str text)
{
    bool found = false;

    for (unsigned i = 0; i < c->n && !found; i++)
        found = value_matches(ev, c, &c->values[i], text);
    return found != c->negate;
}

static bool null_fits(const struct cond *c, bool there)
{
    for (unsigned i = 0; i < c->n; i++)
        if (c->values[i].truth != there)
            return true;
    return false;
}

/* IAM User Guide, "Condition operators" and "Multivalued context keys". A key that is not there: a negated operator holds, ForAllValues does,
 * all else does not. Without a set operator several values of one key count together: one must fit, or with a negated operator all. */
bool condition_fits(struct evaluation *ev, const struct cond *c)
{
    struct iam_values values = {0};
    struct key_room room;
    bool there = evaluation_values(ev, c->key, &room, &values) && values.n > 0, all;

    if (c->type == COND_NULL)
        return null_fits(c, there);
    if (!there)
        return c->if_exists || c->set == COND_ALL || (c->set == COND_ONE && c->negate);
    all = c->set == COND_ALL || (c->set == COND_ONE && c->negate);
    for (size_t i = 0; i < values.n; i++)
        if (one_fits(ev, c, values.items[i]) != all)
            return !all;
    return all;
}
