#include "s3api/post_policy.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"

struct checker {
    struct arena *arena;
    const struct form *form;
    struct str bucket;
    bool covered[FORM_FIELDS_MAX];
    struct post_limits *limits;
    char *why;
};

static enum err refuse(char *why, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static enum err refuse(char *why, enum err e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(why, POST_WHY_MAX, fmt, args);
    va_end(args);
    return e;
}

static enum err invalid(struct checker *c, const char *what)
{
    return refuse(c->why, ERR_POST_POLICY, "Invalid Policy: %s", what);
}

/* ---- conditions ---- */

static struct str value_of(struct checker *c, struct str name, bool *there)
{
    for (size_t i = 0; i < c->form->count; i++)
        if (str_eq_nocase(c->form->fields[i].name, name)) {
            c->covered[i] = true;
            *there = true;
            return c->form->fields[i].value;
        }
    *there = str_eq_nocase(name, STR("bucket"));
    return *there ? c->bucket : STR("");
}

static enum err check_match(struct checker *c, bool starts, struct str name, struct str want)
{
    bool there;
    struct str have = value_of(c, name, &there);

    /* the bucket is the one that is posted to, whatever the form says */
    if (there && str_eq_nocase(name, STR("bucket")))
        have = c->bucket;
    if (there && (starts ? str_starts(have, want) : str_eq(have, want)))
        return ERR_OK;
    return refuse(c->why, ERR_ACCESS_DENIED,
                  "Invalid according to Policy: Policy Condition failed: [\"%s\", \"$" STR_FMT "\", \"" STR_FMT "\"]",
                  starts ? "starts-with" : "eq", STR_ARG(name), STR_ARG(want));
}

static enum err check_length(struct checker *c, const struct doc *min, const struct doc *max)
{
    struct post_limits l;

    if (!str_to_u64(min->text, INT64_MAX, &l.min) || !str_to_u64(max->text, INT64_MAX, &l.max))
        return invalid(c, "content-length-range needs two numbers.");
    /* of several the strictest */
    c->limits->min = l.min > c->limits->min ? l.min : c->limits->min;
    c->limits->max = l.max < c->limits->max ? l.max : c->limits->max;
    return ERR_OK;
}

/* [operator, field, value] */
static enum err check_list(struct checker *c, const struct doc *d)
{
    const struct doc *op = d->first, *a = op ? op->next : NULL, *b = a ? a->next : NULL;

    if (d->count != 3 || op->kind != DOC_SCALAR || a->kind != DOC_SCALAR || b->kind != DOC_SCALAR || !op->quoted)
        return invalid(c, "a condition must have three texts: operator, field, value.");
    if (str_eq_nocase(op->text, STR("content-length-range")))
        return check_length(c, a, b);
    if (!a->quoted || !b->quoted || a->text.n < 2 || a->text.p[0] != '$')
        return invalid(c, "a condition names its field as \"$name\", and its value is a text.");
    if (str_eq_nocase(op->text, STR("eq")))
        return check_match(c, false, str_skip(a->text, 1), b->text);
    if (str_eq_nocase(op->text, STR("starts-with")))
        return check_match(c, true, str_skip(a->text, 1), b->text);
    return invalid(c, "a condition's operator is eq, starts-with or content-length-range.");
}

static enum err check_condition(struct checker *c, const struct doc *d)
{
    if (d->kind == DOC_LIST)
        return check_list(c, d);
    if (d->kind != DOC_MAP || d->count == 0)
        return invalid(c, "a condition is {\"field\": \"value\"} or [operator, field, value].");
    for (const struct doc *m = d->first; m; m = m->next) {
        enum err e = m->kind == DOC_SCALAR && m->quoted ? check_match(c, false, m->key, m->text)
                                                        : invalid(c, "a condition's value must be a text.");
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* ---- the document ---- */

static bool needs_condition(struct str name)
{
    static const char *const own[] = {"policy", "signature", "x-amz-signature", "awsaccesskeyid", "file"};

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (str_eq(name, str_z(own[i])))
            return false;
    return !str_starts(name, STR("x-ignore-"));
}

static enum err check_extras(struct checker *c)
{
    for (size_t i = 0; i < c->form->count; i++) {
        struct str name = c->form->fields[i].name;
        bool again = false; /* a name that is there twice: only the first is used, and all of them are refused */
        for (size_t k = 0; k < i; k++)
            again |= str_eq(c->form->fields[k].name, name);
        if (needs_condition(name) && (again || !c->covered[i]))
            return refuse(c->why, ERR_ACCESS_DENIED, "Invalid according to Policy: Extra input fields: " STR_FMT,
                          STR_ARG(name));
    }
    return ERR_OK;
}

static enum err check_expiration(struct checker *c, const struct doc *root, int64_t now_s)
{
    const struct doc *d = doc_get(root, STR("expiration"));
    int64_t end;

    if (!d || d->kind != DOC_SCALAR || !d->quoted || !clock_iso_parse(d->text, &end))
        return invalid(c, "expiration must be there, a date as 2030-01-01T12:00:00.000Z.");
    return now_s < end ? ERR_OK : refuse(c->why, ERR_ACCESS_DENIED, "Invalid according to Policy: Policy expired.");
}

enum err post_policy_check(struct arena *a, struct str json, const struct form *form, struct str bucket, int64_t now_s,
                           struct post_limits *out, char why[POST_WHY_MAX])
{
    struct post_limits limits = {0, UINT64_MAX};
    struct checker c = {.arena = a, .form = form, .bucket = bucket, .limits = &limits, .why = why};
    char syntax[DOC_WHY_MAX];
    const struct doc *conditions;
    struct doc *root;
    enum err e;

    if (js_read(a, json, &root, syntax) != ERR_OK || root->kind != DOC_MAP)
        return invalid(&c, "it is not a JSON object.");
    if ((e = check_expiration(&c, root, now_s)) != ERR_OK)
        return e;
    conditions = doc_get(root, STR("conditions"));
    if (!conditions || conditions->kind != DOC_LIST)
        return invalid(&c, "conditions must be there, a list.");
    for (const struct doc *d = conditions->first; d; d = d->next)
        if ((e = check_condition(&c, d)) != ERR_OK)
            return e;
    if ((e = check_extras(&c)) == ERR_OK)
        *out = limits;
    return e;
}
