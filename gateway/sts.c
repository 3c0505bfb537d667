/* Temporary credentials. */
#include "base/clock.h"
#include "gateway/iam_call.h"
#include "iam/session.h"

enum {
    SESSION_MIN_S = 900,
    ASSUME_DEF_S = 3600,
    TOKEN_DEF_S = 43200,
    TOKEN_MAX_S = 129600,
    NAME_MIN = 2,
    NAME_MAX_LEN = 64
};

enum err sts_caller(struct iam_call *c)
{
    xml_str(&c->xml, STR("Arn"), c->principal.arn);
    xml_str(&c->xml, STR("UserId"), c->principal.id);
    xml_str(&c->xml, STR("Account"), STR(IAM_ACCOUNT));
    return ERR_OK;
}

static enum err hand_out(struct iam_call *c, const struct session_make_req *req)
{
    struct session s;
    enum err e = session_make(c->idents, c->arena, req, &s);

    if (e == ERR_TOO_LARGE)
        return iam_refuse(c, ERR_IAM_VALIDATION, "The policies of the session are too large together.");
    if (e != ERR_OK)
        return e;
    xml_open(&c->xml, STR("Credentials"));
    xml_str(&c->xml, STR("AccessKeyId"), s.access_key);
    xml_str(&c->xml, STR("SecretAccessKey"), s.secret);
    xml_str(&c->xml, STR("SessionToken"), s.token);
    iam_put_s(c, "Expiration", s.expires_s);
    xml_close(&c->xml, STR("Credentials"));
    return ERR_OK;
}

/* A key's scope goes with the session that is made with it. */
static enum err take_scope(struct iam_call *c, struct session_make_req *req)
{
    const struct ident *key;

    if (!c->who.iam.scope_count)
        return ERR_OK;
    key = idents_find(c->idents, c->arena, IDENT_KEY, c->who.access_key);
    if (!key || !key->scope.n)
        return ERR_INVALID_ACCESS_KEY;
    if (key->scope.n > SESSION_POLICY_MAX)
        return iam_refuse(c, ERR_IAM_VALIDATION, "The policy of this key is too long for a session.");
    req->policies[0] = key->scope;
    return ERR_OK;
}

enum err sts_session_token(struct iam_call *c)
{
    struct session_make_req req = {.who = &c->who.iam};
    uint64_t duration;
    enum err e;

    if (c->who.iam.temporary)
        return iam_refuse(c, ERR_ACCESS_DENIED, "Cannot call GetSessionToken with session credentials");
    if (iam_param(c, "SerialNumber").n || iam_param(c, "TokenCode").n)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "There is no multi-factor authentication.");
    if ((e = iam_number(c, "DurationSeconds", SESSION_MIN_S, TOKEN_MAX_S, TOKEN_DEF_S, &duration)) != ERR_OK ||
        (e = take_scope(c, &req)) != ERR_OK)
        return e;
    req.expires_s = clock_wall_ns() / NS_PER_S + (int64_t)duration;
    if (c->who.iam.expires_s && req.expires_s > c->who.iam.expires_s) /* not longer than its key */
        req.expires_s = c->who.iam.expires_s;
    return hand_out(c, &req);
}

/* ---- roles ---- */

/* IAM User Guide, "Policy evaluation logic": who is named by the trust policy may; who is only of an account that is named needs a policy of its
 * own as well. */
static bool is_trusted(struct iam_call *c, const struct ident *role, bool *by_account)
{
    struct iam_request req = iam_ask(c, STR("sts:AssumeRole"), ident_arn(c->arena, role));
    struct iam_principal bare = c->principal;

    if (!role->trusts || policy_evaluate(role->trusts, &req) != POLICY_ALLOW)
        return false;
    bare.account = STR(""); /* is it still meant? */
    req.principal = &bare;
    *by_account = policy_evaluate(role->trusts, &req) != POLICY_ALLOW;
    return true;
}

/* What the caller's own policies say; *scoped: its scopes allow it. */
static enum policy_verdict own_verdict(struct iam_call *c, const struct ident *role, bool *scoped)
{
    struct iam_request req = iam_ask(c, STR("sts:AssumeRole"), ident_arn(c->arena, role));

    *scoped = iam_who_scope(&c->who.iam, &req) == POLICY_ALLOW;
    return idents_verdict(c->idents, &c->who.iam, &req);
}

static enum err may_assume(struct iam_call *c, struct str arn, const struct ident **out)
{
    struct str name = ident_arn_name(arn, IDENT_ROLE);
    const struct ident *role = name.n ? idents_find(c->idents, c->arena, IDENT_ROLE, name) : NULL;
    bool by_account, scoped;

    if (role && str_eq(ident_arn(c->arena, role), arn) && is_trusted(c, role, &by_account)) {
        enum policy_verdict own = own_verdict(c, role, &scoped);
        if (scoped && own != POLICY_DENY && (own == POLICY_ALLOW || !by_account)) {
            *out = role;
            return ERR_OK;
        }
    }
    return iam_refuse(c, ERR_ACCESS_DENIED,
                      "User: " STR_FMT " is not authorized to perform: sts:AssumeRole on resource: " STR_FMT,
                      STR_ARG(c->principal.arn), STR_ARG(arn));
}

static enum err read_session_policy(struct iam_call *c, struct session_make_req *req)
{
    const struct policy *p;
    struct str text;
    enum err e;

    if (iam_param(c, "PolicyArns.member.1.arn").p)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "PolicyArns are not implemented: send a Policy.");
    if (!iam_param(c, "Policy").n)
        return ERR_OK;
    if (iam_param(c, "Policy").n > SESSION_POLICY_MAX)
        return iam_refuse(c, ERR_IAM_VALIDATION, "Policy is longer than %d bytes.", SESSION_POLICY_MAX);
    if ((e = iam_read_policy(c, "Policy", POLICY_IDENTITY, &text, &p)) == ERR_OK)
        req->policies[0] = text;
    return e;
}

static enum err read_role_session(struct iam_call *c, const struct ident *role, bool chained, struct iam_who *who,
                                  struct session_make_req *req)
{
    uint64_t duration, max = chained ? ASSUME_DEF_S : role->session_max_s;
    enum err e;

    *who = (struct iam_who){
        .kind = IAM_SESSION, .name = role->name, .id = role->id, .session = iam_param(c, "RoleSessionName")};
    if (who->session.n < NAME_MIN)
        return iam_refuse(c, ERR_IAM_VALIDATION, "RoleSessionName must be %d to %d letters, digits and _+=,.@-",
                          NAME_MIN, NAME_MAX_LEN);
    if ((e = iam_check_name(c, "RoleSessionName", who->session, NAME_MAX_LEN)) != ERR_OK ||
        (e = iam_number(c, "DurationSeconds", SESSION_MIN_S, max, ASSUME_DEF_S, &duration)) != ERR_OK ||
        (e = read_session_policy(c, req)) != ERR_OK)
        return e;
    req->who = who;
    req->expires_s = clock_wall_ns() / NS_PER_S + (int64_t)duration;
    return ERR_OK;
}

static void put_assumed(struct iam_call *c, const struct iam_who *who)
{
    struct iam_principal p;

    if (!idents_principal(c->idents, c->arena, who, &p))
        return;
    xml_open(&c->xml, STR("AssumedRoleUser"));
    xml_str(&c->xml, STR("AssumedRoleId"), p.id);
    xml_str(&c->xml, STR("Arn"), p.arn);
    xml_close(&c->xml, STR("AssumedRoleUser"));
}

enum err sts_assume(struct iam_call *c)
{
    struct session_make_req req = {0};
    const struct ident *role = NULL;
    struct iam_who who;
    enum err e;

    if (iam_param(c, "SerialNumber").n || iam_param(c, "TokenCode").n)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "There is no multi-factor authentication.");
    if (iam_param(c, "Tags.member.1.Key").p || iam_param(c, "SourceIdentity").n)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "Sessions have no tags and no source identity.");
    if ((e = may_assume(c, iam_param(c, "RoleArn"), &role)) != ERR_OK ||
        (e = read_role_session(c, role, c->who.iam.temporary, &who, &req)) != ERR_OK ||
        (e = hand_out(c, &req)) != ERR_OK)
        return e;
    put_assumed(c, &who);
    return ERR_OK;
}

/* ---- who comes from an identity provider ---- */

/* The audience that the provider was configured with is one that the token names. */
static struct str audience_of(const struct token *t)
{
    const struct doc *aud = doc_get(t->claims, STR("aud"));

    if (aud && aud->kind == DOC_LIST)
        aud = aud->first;
    return aud && aud->kind == DOC_SCALAR ? aud->text : STR("");
}

enum err sts_assume_web(struct iam_call *c)
{
    struct str arn = iam_param(c, "RoleArn"), name = ident_arn_name(arn, IDENT_ROLE);
    const struct ident *role = name.n ? idents_find(c->idents, c->arena, IDENT_ROLE, name) : NULL;
    struct iam_request ask = iam_ask(c, STR("sts:AssumeRoleWithWebIdentity"), arn);
    struct session_make_req req = {0};
    struct iam_who who;
    enum err e;

    if (iam_param(c, "ProviderId").n)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "ProviderId is for OAuth 2.0, which is not implemented.");
    if (!role || !str_eq(ident_arn(c->arena, role), arn) || !role->trusts ||
        policy_evaluate(role->trusts, &ask) != POLICY_ALLOW)
        return iam_refuse(c, ERR_ACCESS_DENIED, "Not authorized to perform sts:AssumeRoleWithWebIdentity");
    if ((e = read_role_session(c, role, false, &who, &req)) != ERR_OK || (e = hand_out(c, &req)) != ERR_OK)
        return e;
    put_assumed(c, &who);
    xml_str(&c->xml, STR("SubjectFromWebIdentityToken"), c->web.subject);
    xml_str(&c->xml, STR("Audience"), audience_of(&c->web));
    xml_str(&c->xml, STR("Provider"), c->principal.arn);
    return ERR_OK;
}
