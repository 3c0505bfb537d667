#include "unit.h"

#include <stdio.h>

#include "base/mem.h"
#include "iam/policy.h"

static struct arena arena;
static char why[POLICY_WHY_MAX];

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

#define ACCOUNT "111122223333"
static const struct iam_principal anonymous = {.kind = IAM_ANONYMOUS};
static const struct iam_principal owner = {
    .kind = IAM_OWNER, .account = {ACCOUNT, 12}, .arn = {"arn:aws:iam::" ACCOUNT ":root", 30}, .id = {ACCOUNT, 12}};
static const struct iam_principal alice = {.kind = IAM_USER,
                                           .account = {ACCOUNT, 12},
                                           .arn = {"arn:aws:iam::" ACCOUNT ":user/team/alice", 41},
                                           .name = {"alice", 5},
                                           .id = {"AIDA1", 5}};
static const struct iam_principal star = {.kind = IAM_USER,
                                          .account = {ACCOUNT, 12},
                                          .arn = {"arn:aws:iam::" ACCOUNT ":user/*", 32},
                                          .name = {"*", 1},
                                          .id = {"AIDA2", 5}};
static const struct iam_principal session = {.kind = IAM_SESSION,
                                             .account = {ACCOUNT, 12},
                                             .arn = {"arn:aws:sts::" ACCOUNT ":assumed-role/job/s1", 45},
                                             .role_arn = {"arn:aws:iam::" ACCOUNT ":role/job", 34},
                                             .id = {"AROA1:s1", 8}};

/* Keys of a request: name, values until a NULL. */
struct context {
    const char *key;
    struct str values[3];
    size_t n;
};
static const struct context *context;

static bool lookup(void *arg, struct str key, struct iam_values *out)
{
    (void)arg;
    for (const struct context *c = context; c && c->key; c++)
        if (str_eq(key, str_z(c->key))) {
            *out = (struct iam_values){c->values, c->n};
            return true;
        }
    return false;
}

static enum policy_verdict ask(const struct policy *p, const struct iam_principal *who, const char *action,
                               const char *resource)
{
    const struct iam_request req = {who, str_z(action), str_z(resource), 1700000000, lookup, NULL};

    return policy_evaluate(p, &req);
}

static struct policy *read_kind(const char *json, enum policy_kind kind)
{
    struct policy *p = NULL;

    if (policy_read(&arena, str_z(json), kind, &p, why) != ERR_OK)
        fail_msg("%s: %s", why, json);
    return p;
}

#define BUCKET      "arn:aws:s3:::b"
#define DOC(inside) "{\"Version\":\"2012-10-17\",\"Statement\":[" inside "]}"
#define ALLOW_ALL   "{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"s3:*\",\"Resource\":\"*\"}"

/* ---- statements ---- */

static void deny_wins(void **state)
{
    struct policy *p =
        read_kind(DOC(ALLOW_ALL ",{\"Effect\":\"Deny\",\"Principal\":{\"AWS\":\"*\"},\"Action\":["
                                "\"S3:Delete*\",\"s3:Put?bject\"],\"Resource\":\"arn:aws:s3:::b/keep/*\"}"),
                  POLICY_RESOURCE);

    (void)state;
    assert_int_equal(ask(p, &anonymous, "s3:GetObject", BUCKET "/keep/x"), POLICY_ALLOW);
    assert_int_equal(ask(p, &owner, "s3:DeleteObject", BUCKET "/keep/x"), POLICY_DENY);
    assert_int_equal(ask(p, &owner, "s3:DeleteObject", BUCKET "/x"), POLICY_ALLOW);
    assert_int_equal(ask(p, &alice, "s3:PutObject", BUCKET "/keep/x"), POLICY_DENY);
    assert_int_equal(ask(p, &alice, "sts:AssumeRole", BUCKET), POLICY_SILENT);
}

static void negated_elements(void **state)
{
    struct policy *p = read_kind(DOC("{\"Effect\":\"Allow\",\"NotAction\":\"s3:Delete*\",\"NotResource\":["
                                     "\"arn:aws:s3:::secret\",\"arn:aws:s3:::secret/*\"]}"),
                                 POLICY_IDENTITY);

    (void)state;
    assert_int_equal(ask(p, &alice, "s3:GetObject", BUCKET "/x"), POLICY_ALLOW);
    assert_int_equal(ask(p, &alice, "s3:DeleteObject", BUCKET "/x"), POLICY_SILENT);
    assert_int_equal(ask(p, &alice, "s3:GetObject", "arn:aws:s3:::secret/x"), POLICY_SILENT);
}

static enum policy_verdict principal_verdict(const char *effect, const char *principal, const struct iam_principal *who)
{
    struct str json = arena_printf(&arena, DOC("{\"Effect\":\"%s\",%s,\"Action\":\"s3:GetObject\",\"Resource\":\"*\"}"),
                                   effect, principal);

    return ask(read_kind(json.p, POLICY_RESOURCE), who, "s3:GetObject", BUCKET "/x");
}

static void principals(void **state)
{
    static const struct {
        const char *principal;
        const struct iam_principal *yes, *no;
    } cases[] = {
        {"\"Principal\":\"*\"", &anonymous, NULL},
        {"\"Principal\":{\"AWS\":[\"*\"]}", &anonymous, NULL},
        {"\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:user/team/alice\"}", &alice, &session},
        {"\"Principal\":{\"AWS\":\"arn:aws:iam:::user/team/alice\"}", &alice, &anonymous},
        {"\"Principal\":{\"AWS\":\"alice\"}", &alice, &owner},
        {"\"Principal\":{\"AWS\":\"AIDA1\"}", &alice, &star},
        {"\"Principal\":{\"AWS\":\"111122223333\"}", &owner, &alice},
        {"\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:root\"}", &owner, &anonymous},
        {"\"Principal\":{\"AWS\":\"arn:aws:iam::999922223333:root\"}", NULL, &owner},
        {"\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:role/job\"}", &session, &alice},
        {"\"Principal\":{\"AWS\":\"arn:aws:sts::111122223333:assumed-role/job/s1\"}", &session, &alice},
        {"\"Principal\":{\"AWS\":\"arn:aws:sts::111122223333:assumed-role/job/s2\"}", NULL, &session},
        {"\"Principal\":{\"Service\":\"ec2.amazonaws.com\"}", NULL, &alice},
        {"\"Principal\":{\"Federated\":\"alice\"}", NULL, &alice},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (cases[i].yes && principal_verdict("Allow", cases[i].principal, cases[i].yes) != POLICY_ALLOW)
            fail_msg("refused: %s", cases[i].principal);
        if (cases[i].no && principal_verdict("Allow", cases[i].principal, cases[i].no) != POLICY_SILENT)
            fail_msg("allowed: %s", cases[i].principal);
    }
    /* denied is who belongs to the account, too */
    assert_int_equal(principal_verdict("Deny", "\"Principal\":{\"AWS\":\"111122223333\"}", &alice), POLICY_DENY);
    assert_int_equal(principal_verdict("Deny", "\"NotPrincipal\":{\"AWS\":\"alice\"}", &alice), POLICY_SILENT);
    assert_int_equal(principal_verdict("Deny", "\"NotPrincipal\":{\"AWS\":\"alice\"}", &anonymous), POLICY_DENY);
    assert_int_equal(principal_verdict("Deny", "\"NotPrincipal\":{\"AWS\":\"111122223333\"}", &alice), POLICY_DENY);
    assert_int_equal(principal_verdict("Deny", "\"NotPrincipal\":{\"AWS\":\"111122223333\"}", &owner), POLICY_SILENT);
}

static void trust(void **state)
{
    static const struct iam_principal token = {.kind = IAM_FEDERATED, .arn = {"https://idp.example", 19}};
    struct policy *p =
        read_kind(DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"111122223333\"},\"Action\":\"sts:AssumeRole\"},"
                      "{\"Effect\":\"Allow\",\"Principal\":{\"Federated\":\"https://idp.example\"},\"Action\":"
                      "\"sts:AssumeRoleWithWebIdentity\"}"),
                  POLICY_TRUST);

    (void)state;
    assert_int_equal(ask(p, &alice, "sts:AssumeRole", ""), POLICY_ALLOW);
    assert_int_equal(ask(p, &token, "sts:AssumeRole", ""), POLICY_SILENT);
    assert_int_equal(ask(p, &token, "sts:AssumeRoleWithWebIdentity", ""), POLICY_ALLOW);
}

/* ---- variables ---- */

static void variables(void **state)
{
    static const char text[] =
        "{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::b/${aws:username}/*\"}";
    struct policy *p = read_kind(arena_printf(&arena, DOC("%s"), text).p, POLICY_IDENTITY);

    (void)state;
    assert_int_equal(ask(p, &alice, "s3:GetObject", BUCKET "/alice/x"), POLICY_ALLOW);
    assert_int_equal(ask(p, &alice, "s3:GetObject", BUCKET "/bob/x"), POLICY_SILENT);
    assert_int_equal(ask(p, &star, "s3:GetObject", BUCKET "/alice/x"), POLICY_SILENT); /* a name is no wildcard */
    assert_int_equal(ask(p, &star, "s3:GetObject", BUCKET "/*/x"), POLICY_ALLOW);
    assert_int_equal(ask(p, &session, "s3:GetObject", BUCKET "//x"), POLICY_SILENT); /* without a name */
    p = read_kind(arena_printf(&arena, "{\"Version\":\"2008-10-17\",\"Statement\":%s}", text).p, POLICY_IDENTITY);
    assert_int_equal(ask(p, &alice, "s3:GetObject", BUCKET "/alice/x"), POLICY_SILENT);
    assert_int_equal(ask(p, &alice, "s3:GetObject", BUCKET "/${aws:username}/x"), POLICY_ALLOW);
}

/* ---- conditions ---- */

static bool holds(const char *condition)
{
    struct str json = arena_printf(
        &arena, DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\",\"Condition\":{%s}}"), condition);

    return ask(read_kind(json.p, POLICY_IDENTITY), &alice, "s3:GetObject", BUCKET "/x") == POLICY_ALLOW;
}

static const struct context request[] = {
    {"k:one", {{"red", 3}}, 1},
    {"k:two", {{"red", 3}, {"blue", 4}}, 2},
    {"k:none", {{NULL, 0}}, 0},
    {"k:n", {{"10", 2}}, 1},
    {"k:bad", {{"x", 1}}, 1},
    {"k:true", {{"true", 4}}, 1},
    {"k:b", {{"QmE=", 4}}, 1},
    {"aws:sourceip", {{"10.1.2.3", 8}}, 1},
    {"k:v6", {{"2001:db8::1", 11}}, 1},
    {"k:mapped", {{"::ffff:10.1.2.3", 15}}, 1},
    {"k:arn", {{"arn:aws:sns:eu:1:t:x", 20}}, 1},
    {"aws:username", {{"mallory", 7}}, 1}, /* a caller that is asked for what it must not say */
    {"s3:existingobjecttag/Team", {{"red", 3}}, 1},
    {NULL},
};

static const struct {
    const char *condition;
    bool holds;
} condition_cases[] = {
    {"\"StringEquals\":{\"k:one\":\"red\"}", true},
    {"\"StringEquals\":{\"K:One\":[\"x\",\"red\"]}", true},
    {"\"StringEquals\":{\"k:one\":\"Red\"}", false},
    {"\"StringEquals\":{\"k:one\":\"r*\"}", false},
    {"\"StringEquals\":{\"k:gone\":\"red\"}", false},
    {"\"StringEqualsIfExists\":{\"k:gone\":\"red\"}", true},
    {"\"StringEqualsIfExists\":{\"k:one\":\"blue\"}", false},
    {"\"StringNotEquals\":{\"k:one\":\"red\"}", false},
    {"\"StringNotEquals\":{\"k:one\":[\"blue\",\"red\"]}", false},
    {"\"StringNotEquals\":{\"k:one\":[\"blue\",\"green\"]}", true},
    {"\"StringNotEquals\":{\"k:gone\":\"red\"}", true},
    {"\"StringEqualsIgnoreCase\":{\"k:one\":\"RED\"}", true},
    {"\"StringNotEqualsIgnoreCase\":{\"k:one\":\"RED\"}", false},
    {"\"StringLike\":{\"k:one\":\"r?*\"}", true},
    {"\"StringNotLike\":{\"k:one\":\"r*\"}", false},
    {"\"StringEquals\":{\"aws:username\":\"alice\"}", true},
    {"\"StringEquals\":{\"aws:username\":\"mallory\"}", false},
    {"\"StringEquals\":{\"aws:userid\":\"${aws:userid}\",\"aws:username\":\"${aws:username}\"}", true},
    {"\"StringEquals\":{\"aws:username\":\"${aws:userid}\"}", false},
    {"\"StringEquals\":{\"k:one\":\"${k:gone, 'red'}\"}", true},
    {"\"StringEquals\":{\"k:one\":\"${k:gone}\"}", false},
    {"\"StringEquals\":{\"s3:ExistingObjectTag/Team\":\"red\"}", true},
    {"\"StringEquals\":{\"s3:ExistingObjectTag/team\":\"red\"}", false},
    {"\"NumericEquals\":{\"k:n\":10}", true},
    {"\"NumericEquals\":{\"k:n\":\"10.0\"}", true},
    {"\"NumericNotEquals\":{\"k:n\":\"10\"}", false},
    {"\"NumericLessThan\":{\"k:n\":\"10\"}", false},
    {"\"NumericLessThanEquals\":{\"k:n\":\"10\"}", true},
    {"\"NumericGreaterThan\":{\"k:n\":\"9.5\"}", true},
    {"\"NumericGreaterThanEquals\":{\"k:n\":\"11\"}", false},
    {"\"NumericEquals\":{\"k:bad\":\"0\"}", false},
    {"\"DateLessThan\":{\"aws:CurrentTime\":\"2023-11-15\"}", true},
    {"\"DateGreaterThan\":{\"aws:CurrentTime\":\"2023-11-14T22:13:19Z\"}", true},
    {"\"DateEquals\":{\"aws:CurrentTime\":\"2023-11-14T22:13:20Z\"}", true},
    {"\"DateLessThanEquals\":{\"aws:EpochTime\":\"1700000000\"}", true},
    {"\"DateGreaterThanEquals\":{\"aws:EpochTime\":\"1700000001\"}", false},
    {"\"NumericGreaterThan\":{\"aws:EpochTime\":1699999999}", true},
    {"\"Bool\":{\"k:true\":true}", true},
    {"\"Bool\":{\"k:true\":\"false\"}", false},
    {"\"Bool\":{\"k:gone\":\"false\"}", false},
    {"\"BoolIfExists\":{\"k:gone\":\"false\"}", true},
    {"\"BinaryEquals\":{\"k:b\":\"QmE=\"}", true},
    {"\"BinaryEquals\":{\"k:b\":\"QmI=\"}", false},
    {"\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}", true},
    {"\"IpAddress\":{\"aws:SourceIp\":[\"10.1.2.4\",\"10.1.2.0/31\"]}", false},
    {"\"IpAddress\":{\"aws:SourceIp\":\"10.1.2.3\"}", true},
    {"\"IpAddress\":{\"aws:SourceIp\":\"0.0.0.0/0\"}", true},
    {"\"IpAddress\":{\"k:v6\":\"0.0.0.0/0\"}", false},
    {"\"IpAddress\":{\"aws:SourceIp\":\"::/0\"}", false},
    {"\"IpAddress\":{\"k:mapped\":\"::/0\"}", false},
    {"\"IpAddress\":{\"k:v6\":\"::/0\"}", true},
    {"\"IpAddress\":{\"k:v6\":\"2001:db8::/33\"}", true},
    {"\"IpAddress\":{\"k:mapped\":\"10.1.2.0/30\"}", true},
    {"\"NotIpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}", false},
    {"\"NotIpAddress\":{\"aws:SourceIp\":\"11.0.0.0/8\"}", true},
    {"\"ArnLike\":{\"k:arn\":\"arn:aws:sns:*:*:t:*\"}", true},
    {"\"ArnEquals\":{\"k:arn\":\"arn:aws:*:t:x\"}", false}, /* a star stays in its part */
    {"\"ArnNotLike\":{\"k:arn\":\"arn:aws:sns:*:*:*\"}", false},
    {"\"Null\":{\"k:gone\":\"true\"}", true},
    {"\"Null\":{\"k:gone\":\"false\"}", false},
    {"\"Null\":{\"k:one\":false}", true},
    {"\"Null\":{\"k:none\":\"true\"}", true},
    {"\"ForAnyValue:StringEquals\":{\"k:two\":\"blue\"}", true},
    {"\"ForAnyValue:StringEquals\":{\"k:two\":\"green\"}", false},
    {"\"ForAnyValue:StringEquals\":{\"k:gone\":\"red\"}", false},
    {"\"ForAnyValue:StringNotEquals\":{\"k:two\":\"red\"}", true},
    {"\"ForAnyValue:StringNotEquals\":{\"k:two\":[\"red\",\"blue\"]}", false},
    {"\"ForAnyValue:StringNotEquals\":{\"k:gone\":\"red\"}", false},
    {"\"ForAllValues:StringEquals\":{\"k:two\":\"red\"}", false},
    {"\"ForAllValues:StringEquals\":{\"k:two\":[\"red\",\"blue\",\"x\"]}", true},
    {"\"ForAllValues:StringEquals\":{\"k:gone\":\"red\"}", true},
    {"\"ForAllValues:StringEquals\":{\"k:none\":\"red\"}", true},
    {"\"ForAllValues:StringNotEquals\":{\"k:two\":\"red\"}", false},
    {"\"ForAllValues:StringNotEquals\":{\"k:two\":\"green\"}", true},
    {"\"StringEquals\":{\"k:two\":\"blue\"}", true},
    {"\"StringNotEquals\":{\"k:two\":\"blue\"}", false},
    {"\"StringEquals\":{\"k:one\":\"red\",\"k:n\":\"10\"},\"Bool\":{\"k:true\":\"true\"}", true},
    {"\"StringEquals\":{\"k:one\":\"red\",\"k:n\":\"11\"}", false},
};

static void conditions(void **state)
{
    (void)state;
    context = request;
    for (size_t i = 0; i < sizeof(condition_cases) / sizeof(condition_cases[0]); i++)
        if (holds(condition_cases[i].condition) != condition_cases[i].holds)
            fail_msg("not %d: %s", condition_cases[i].holds, condition_cases[i].condition);
    context = NULL;
}

/* ---- what is refused ---- */

#define REST ",\"Action\":\"s3:*\",\"Resource\":\"*\""

static void malformed(void **state)
{
    static const struct {
        enum policy_kind kind;
        const char *json, *why;
    } cases[] = {
        {POLICY_RESOURCE, "", "Policies must be valid JSON and the first byte must be '{'"},
        {POLICY_RESOURCE, "[]", "Policies must be valid JSON and the first byte must be '{'"},
        {POLICY_RESOURCE, "{", "This policy contains invalid Json"},
        {POLICY_RESOURCE, "{}", "Missing required field Statement"},
        {POLICY_RESOURCE, "{\"Statement\":[]}", "Could not parse the policy: Statement is empty!"},
        {POLICY_RESOURCE, "{\"Version\":\"2020-01-01\",\"Statement\":[" ALLOW_ALL "]}",
         "The policy must contain a valid version"},
        {POLICY_RESOURCE, "{\"Statement\":[" ALLOW_ALL "],\"Extra\":1}", "Unknown field Extra"},
        {POLICY_RESOURCE, "{\"Statement\":[" ALLOW_ALL "],\"Statement\":[]}", "This policy contains invalid Json"},
        {POLICY_RESOURCE, DOC("[]"), "A statement must be an object"},
        {POLICY_RESOURCE, DOC("{\"Principal\":\"*\"" REST "}"), "Missing required field Effect"},
        {POLICY_RESOURCE, DOC("{\"Effect\":\"allow\",\"Principal\":\"*\"" REST "}"), "Invalid effect : allow"},
        {POLICY_RESOURCE, DOC("{\"Effect\":\"Allow\"" REST "}"), "Missing required field Principal"},
        {POLICY_IDENTITY, DOC(ALLOW_ALL), "Policy document should not specify a principal."},
        {POLICY_TRUST, DOC(ALLOW_ALL), "Has prohibited field Resource"},
        {POLICY_RESOURCE, DOC("{\"Effect\":\"Allow\",\"Principal\":\"alice\"" REST "}"), "Invalid principal in policy"},
        {POLICY_RESOURCE, DOC("{\"Effect\":\"Allow\",\"Principal\":{}" REST "}"), "Invalid principal in policy"},
        {POLICY_RESOURCE, DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::1:user/x\"}" REST "}"),
         "Invalid principal"},
        {POLICY_RESOURCE,
         DOC("{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:user/*\"}" REST "}"),
         "Invalid principal"},
        {POLICY_RESOURCE, DOC("{\"Effect\":\"Allow\",\"Principal\":{\"Other\":\"x\"}" REST "}"), "Invalid principal"},
        {POLICY_RESOURCE, DOC("{\"Effect\":\"Allow\",\"NotPrincipal\":{\"AWS\":\"alice\"}" REST "}"),
         "NotPrincipal can only"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Resource\":\"*\"}"), "Missing required field Action"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\"}"), "Missing required field Resource"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Action\":[],\"Resource\":\"*\"}"), "Policy has invalid action"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Action\":\"GetObject\",\"Resource\":\"*\"}"),
         "Policy has invalid action"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"NotAction\":\"s3:*\",\"Resource\":\"*\"}"),
         "A statement has both"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"b/*\"}"),
         "Policy has invalid resource"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::${x\"}"),
         "A variable has no end"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\",\"Color\":1" REST "}"), "Unknown field Color"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"StringSame\":{\"a:b\":\"c\"}}}"),
         "Invalid Condition type : StringSame"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"NullIfExists\":{\"a:b\":\"true\"}}}"),
         "Invalid Condition type"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"Bool\":{\"a:b\":\"maybe\"}}}"),
         "Invalid value for the condition Bool: maybe"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"IpAddress\":{\"a:b\":\"10.0.0.0/33\"}}}"),
         "Invalid value"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"IpAddress\":{\"a:b\":\"10.0.0.0/\"}}}"),
         "Invalid value"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"NumericEquals\":{\"a:b\":\"nan\"}}}"),
         "Invalid value"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"StringEquals\":{\"a:b\":null}}}"),
         "Invalid values"},
        {POLICY_IDENTITY, DOC("{\"Effect\":\"Allow\"" REST ",\"Condition\":{\"StringEquals\":{\"ab\":\"c\"}}}"),
         "Policy has an invalid condition key"},
        {POLICY_IDENTITY,
         DOC("{\"Sid\":\"a\",\"Effect\":\"Allow\"" REST "},{\"Sid\":\"a\",\"Effect\":\"Deny\"" REST "}"),
         "Statement IDs"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct policy *p = NULL;
        why[0] = 0;
        if (policy_read(&arena, str_z(cases[i].json), cases[i].kind, &p, why) != ERR_MALFORMED_POLICY || p)
            fail_msg("taken: %s", cases[i].json);
        if (!strstr(why, cases[i].why))
            fail_msg("%s: %s", cases[i].json, why);
    }
}

static void sizes_are_bounded(void **state)
{
    size_t n = POLICY_TEXT_MAX + 1;
    char *text = mem_alloc(n);
    struct policy *p;

    (void)state;
    memset(text, '[', n);
    text[0] = '{';
    assert_int_equal(policy_read(&arena, str_n(text, n), POLICY_RESOURCE, &p, why), ERR_MALFORMED_POLICY);
    assert_non_null(strstr(why, "maximum allowed document size"));
    assert_int_equal(policy_read(&arena, str_n(text, n - 1), POLICY_RESOURCE, &p, why), ERR_MALFORMED_POLICY);
    free(text);
}

static void stays_within_its_bucket(void **state)
{
    static const struct {
        const char *action, *resource;
        bool fits;
    } cases[] = {{"s3:GetObject", "arn:aws:s3:::b/*", true},
                 {"*", "*", true},
                 {"s3:*", "arn:aws:s3:::b", true},
                 {"s3:GetObject", "arn:aws:s3:::other/*", false},
                 {"sts:AssumeRole", "arn:aws:s3:::b", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str json = arena_printf(
            &arena, DOC("{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"%s\",\"Resource\":\"%s\"}"),
            cases[i].action, cases[i].resource);
        enum err e = policy_within(read_kind(json.p, POLICY_RESOURCE), STR("s3"), STR(BUCKET), why);
        assert_int_equal(e, cases[i].fits ? ERR_OK : ERR_MALFORMED_POLICY);
    }
}

/* ---- what is known of a policy ---- */

static void what_is_public(void **state)
{
    static const struct {
        const char *statement;
        bool is_public;
    } cases[] = {
        {"\"Principal\":\"*\"", true},
        {"\"Principal\":{\"AWS\":[\"alice\",\"*\"]}", true},
        {"\"Principal\":{\"AWS\":\"alice\"}", false},
        {"\"Principal\":\"*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}}", false},
        {"\"Principal\":\"*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"8.0.0.0/7\"}}", true},
        {"\"Principal\":\"*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"2001:db8::/32\"}}", false},
        {"\"Principal\":\"*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"::/0\"}}", true},
        {"\"Principal\":\"*\",\"Condition\":{\"NotIpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}}", true},
        {"\"Principal\":\"*\",\"Condition\":{\"StringEquals\":{\"aws:userid\":\"AIDA1\"}}", false},
        {"\"Principal\":\"*\",\"Condition\":{\"StringEqualsIfExists\":{\"aws:userid\":\"AIDA1\"}}", true},
        {"\"Principal\":\"*\",\"Condition\":{\"StringLike\":{\"aws:userid\":\"AIDA*\"}}", true},
        {"\"Principal\":\"*\",\"Condition\":{\"StringLike\":{\"aws:Referer\":\"https://a/\"}}", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str json = arena_printf(&arena, DOC("{\"Effect\":\"Allow\"" REST ",%s}"), cases[i].statement);
        if (policy_is_public(read_kind(json.p, POLICY_RESOURCE)) != cases[i].is_public)
            fail_msg("not %d: %s", cases[i].is_public, cases[i].statement);
        json = arena_printf(&arena, DOC("{\"Effect\":\"Deny\"" REST ",%s}"), cases[i].statement);
        assert_false(policy_is_public(read_kind(json.p, POLICY_RESOURCE)));
    }
}

static void what_a_policy_asks_for(void **state)
{
    struct policy *p =
        read_kind(DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"arn:aws:s3:::b/${s3:prefix}\","
                      "\"Condition\":{\"StringLike\":{\"S3:ExistingObjectTag/Team\":\"${aws:PrincipalArn}\"}}}"),
                  POLICY_IDENTITY);

    (void)state;
    assert_true(policy_asks(p, STR("s3:existingobjecttag/")));
    assert_true(policy_asks(p, STR("s3:prefix")));
    assert_true(policy_asks(p, STR("aws:principalarn")));
    assert_false(policy_asks(p, STR("s3:requestobjecttag")));
}

static void what_a_statement_is_about(void **state)
{
    struct policy *p = read_kind(
        DOC("{\"Effect\":\"Allow\",\"Action\":\"s3:Get*\",\"Resource\":\"arn:aws:s3:::b/*\"},"
            "{\"Effect\":\"Allow\",\"NotAction\":\"s3:Get*\",\"Resource\":[\"arn:aws:s3:::b\",\"arn:aws:s3:::c\"],"
            "\"Condition\":{\"Null\":{\"s3:prefix\":\"true\"}}}"),
        POLICY_IDENTITY);

    (void)state;
    assert_int_equal(policy_count(p), 2);
    assert_true(policy_names(p, 0, STR("s3:GetObject")) && !policy_names(p, 0, STR("s3:PutObject")));
    assert_true(!policy_names(p, 1, STR("s3:GetObject")) && policy_names(p, 1, STR("s3:PutObject")));
    assert_true(policy_means(p, 0, STR(BUCKET), true) && !policy_means(p, 0, STR(BUCKET), false));
    assert_true(!policy_means(p, 1, STR(BUCKET), true) && policy_means(p, 1, STR(BUCKET), false));
    assert_true(policy_statement_asks(p, 1, STR("s3:pre")) && !policy_statement_asks(p, 0, STR("s3:pre")));
    assert_true(policy_excepts(p, 1) && !policy_excepts(p, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(deny_wins, teardown),
        cmocka_unit_test_teardown(negated_elements, teardown),
        cmocka_unit_test_teardown(principals, teardown),
        cmocka_unit_test_teardown(trust, teardown),
        cmocka_unit_test_teardown(variables, teardown),
        cmocka_unit_test_teardown(conditions, teardown),
        cmocka_unit_test_teardown(malformed, teardown),
        cmocka_unit_test_teardown(sizes_are_bounded, teardown),
        cmocka_unit_test_teardown(stays_within_its_bucket, teardown),
        cmocka_unit_test_teardown(what_is_public, teardown),
        cmocka_unit_test_teardown(what_a_policy_asks_for, teardown),
        cmocka_unit_test_teardown(what_a_statement_is_about, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
