#include "native_auth.h"

#include "base/clock.h"
#include "base/token.h"
#include "s3api/auth.h"

static enum err refuse(struct native_request *r, const char *why)
{
    r->error_status = 401;
    return native_error(r, ERR_ACCESS_DENIED, "not authenticated: %s", why);
}

/* Tokens of ours, signed with what follows from the owner's secret, and those of an issuer whose public keys are configured. */
static enum err check_token(struct native_request *r, struct str text)
{
    struct token_keys keys = {.hs256 = r->env->conf->token_key,
                              .public_keys = r->env->conf->token_public,
                              .issuer = r->env->conf->token_issuer,
                              .audience = r->env->conf->token_audience};
    char why[TOKEN_WHY_MAX];
    struct token t;

    if (token_read(r->arena, text, &keys, clock_wall_ns() / NS_PER_S, &t, why) != ERR_OK)
        return refuse(r, why);
    r->who = t.subject;
    r->admin = t.own || t.admin;
    return ERR_OK;
}

static enum err check_signature(struct native_request *r)
{
    struct auth_input in = {
        .req = r->http, .query = r->query, .query_count = r->query_count, .now_s = clock_wall_ns() / NS_PER_S};
    struct identity who = {.kind = AUTH_ANONYMOUS};
    struct auth_failure why = {0};
    enum err e = auth_check(r->env->s3->creds, &in, r->arena, &who, &why);

    if (e != ERR_OK) {
        r->error_status = 403;
        return native_error(r, ERR_ACCESS_DENIED, "%s",
                            why.message.n ? arena_str(r->arena, why.message).p : err_text(e));
    }
    if (who.kind == AUTH_ANONYMOUS)
        return refuse(r, "send a token (Authorization: Bearer ...; `sluice token` prints one) or sign as for S3");
    if (who.iam.kind != IAM_OWNER || who.iam.scope_count) {
        r->error_status = 403;
        return native_error(
            r, ERR_ACCESS_DENIED,
            "policies of users say nothing of this API: it takes the owner's keys without a scope, and tokens");
    }
    r->who = who.access_key;
    r->admin = true;
    return ERR_OK;
}

static bool is_open(const struct native_request *r)
{
    return str_eq(r->raw[0], STR("health"));
}

enum err native_auth(struct native_request *r)
{
    struct str header = http_header_get(r->http, STR("authorization"));

    if (r->env->s3->conf->auth_none || is_open(r)) {
        r->admin = r->env->s3->conf->auth_none;
        return ERR_OK;
    }
    if (str_eq_nocase(header, STR("Bearer")))
        return refuse(r, "the token is empty");
    if (header.n > 7 && str_starts_nocase(header, STR("Bearer ")))
        return check_token(r, str_trim(str_skip(header, 7)));
    return check_signature(r);
}
