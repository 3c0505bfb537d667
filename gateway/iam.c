/* The life of a call: form, caller, permission, action, answer. */
#include "gateway/iam.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "gateway/iam_call.h"

#define CALL(o) CONTAINER(o, struct iam_call, op)

struct iam_api {
    struct http_handler handler;
    struct iam_env env;
    struct http_client *client; /* NULL: no provider */
};

static const struct iam_action actions[] = {
#define IAM_ROW(name, service, about, flags, begin, finish) {STR(#name), service, about, flags, begin, finish},
#define IAM_BARE(name, service, about, flags, begin)        {STR(#name), service, about, flags, begin, NULL},
#include "gateway/iam_actions.def"
#undef IAM_ROW
#undef IAM_BARE
};

static const struct {
    struct str service, version, xmlns;
} services[] = {
    [IAM_API] = {STR("iam"), STR("2010-05-08"), STR("https://iam.amazonaws.com/doc/2010-05-08/")},
    [STS_API] = {STR("sts"), STR("2011-06-15"), STR("https://sts.amazonaws.com/doc/2011-06-15/")},
};

static step_fn call_body, call_read, call_parse, call_who, call_keys, call_keyed, call_web, call_ask,
    call_finish_action, call_send, call_end;

/* ---- parameters ---- */

static struct str ours(struct iam_call *c)
{
    return str_n(c->http->id, sizeof(c->http->id));
}

struct str iam_param(const struct iam_call *c, const char *name)
{
    for (size_t i = 0; i < c->param_count; i++)
        if (str_eq(c->params[i].name, str_z(name)))
            return c->params[i].value;
    return STR_NONE;
}

struct str iam_member(const struct iam_call *c, const char *list, unsigned n, const char *field)
{
    char name[128];

    snprintf(name, sizeof(name), "%s.member.%u%s%s", list, n, field ? "." : "", field ? field : "");
    return iam_param(c, name);
}

enum err iam_refuse(struct iam_call *c, enum err e, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n >= 0)
        c->message = arena_str(c->arena, str_n(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));
    return e;
}

static enum step_next call_body(struct op *op)
{
    struct iam_call *c = CALL(op);
    uint64_t len = c->http->body ? c->http->body_len : 0;
    size_t want = len == HTTP_LENGTH_UNKNOWN ? IAM_FORM_MAX + 1 : (size_t)len;
    char *p;

    if (len != HTTP_LENGTH_UNKNOWN && len > IAM_FORM_MAX)
        return op_fail(op, ERR_TOO_LARGE);
    if (want == 0)
        return op_go(op, call_parse);
    if (!(p = buf_reserve(&c->body, want)))
        return op_fail(op, ERR_TOO_LARGE);
    source_fill(&c->fill, c->http->body, p, want, &c->got, op_call(op, call_read));
    return STEP_WAIT;
}

static enum step_next call_read(struct op *op)
{
    struct iam_call *c = CALL(op);

    buf_commit(&c->body, c->got);
    return c->got > IAM_FORM_MAX ? op_fail(op, ERR_TOO_LARGE) : op_go(op, call_parse);
}

static const struct iam_action *find_action(struct str name, struct str version)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (str_eq(actions[i].name, name) && (!version.p || str_eq(services[actions[i].service].version, version)))
            return &actions[i];
    return NULL;
}

/* A parameter that is there twice could mean one thing to who looks and another to who acts. */
static bool has_twice(const struct iam_call *c)
{
    for (size_t i = 0; i < c->param_count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(c->params[i].name, c->params[k].name))
                return true;
    return false;
}

static enum step_next call_parse(struct op *op)
{
    struct iam_call *c = CALL(op);
    struct str action;

    if (!c->env->creds || !(c->idents = creds_idents(c->env->creds)))
        return op_fail(op, iam_refuse(c, ERR_NOT_IMPLEMENTED, "This server serves everybody: it has no identities."));
    if (url_parse_query(c->arena, buf_str(&c->body), &c->params, &c->param_count, IAM_PARAMS_MAX) != ERR_OK)
        return op_fail(op, iam_refuse(c, ERR_IAM_VALIDATION, "The form can't be read."));
    for (size_t i = 0; i < c->param_count; i++)
        if (!str_is_utf8(c->params[i].value) || memchr(c->params[i].value.p, 0, c->params[i].value.n))
            return op_fail(op, iam_refuse(c, ERR_IAM_VALIDATION, "A parameter is not valid text."));
    if (has_twice(c))
        return op_fail(op, iam_refuse(c, ERR_IAM_VALIDATION, "A parameter is there twice."));
    action = iam_param(c, "Action");
    if (!(c->action = find_action(action, iam_param(c, "Version"))))
        return op_fail(op,
                       iam_refuse(c, ERR_INVALID_ACTION, "Could not find operation " STR_FMT " for version " STR_FMT,
                                  STR_ARG(action.n ? action : STR("(none)")),
                                  STR_ARG(iam_param(c, "Version").n ? iam_param(c, "Version") : STR("(none)"))));
    op->name = c->action->name.p;
    return op_go(op, call_who);
}

/* ---- who ---- */

/* "login.example.com/realm:sub": a claim of the token. Names are compared in any case, as the reader of policies wrote some small. */
static bool web_lookup(struct iam_call *c, struct str key, struct iam_values *out)
{
    struct str name = oidc_name(c->env->oidc);
    const struct doc *claim;
    struct str *list;
    size_t n = 0;

    if (key.n < name.n + 2 || !str_eq_nocase(str_n(key.p, name.n), name) || key.p[name.n] != ':' ||
        !(claim = doc_get(c->web.claims, str_skip(key, name.n + 1))))
        return false;
    list = arena_alloc(c->arena, (claim->kind == DOC_LIST ? claim->count + 1 : 1) * sizeof(*list));
    if (claim->kind == DOC_SCALAR)
        list[n++] = claim->text;
    for (const struct doc *d = claim->kind == DOC_LIST ? claim->first : NULL; d; d = d->next)
        if (d->kind == DOC_SCALAR)
            list[n++] = d->text;
    *out = (struct iam_values){list, n};
    return n > 0;
}

static bool ask_lookup(void *arg, struct str key, struct iam_values *out)
{
    struct iam_call *c = arg;
    struct str *v = ARENA_NEW(c->arena, struct str);

    if (c->web.claims && web_lookup(c, key, out))
        return true;
    *v = STR_NONE;
    if (str_eq(key, STR("aws:sourceip"))) {
        struct str peer = str_z(c->http->peer);
        while (peer.n > 0 && peer.p[peer.n - 1] != ':')
            peer.n--;
        peer.n -= peer.n > 0;
        *v = peer.n > 1 && peer.p[0] == '[' ? str_n(peer.p + 1, peer.n - 2) : peer;
    } else if (str_eq(key, STR("aws:securetransport"))) {
        *v = c->http->secure ? STR("true") : STR("false");
    } else if (str_eq(key, STR("aws:useragent"))) {
        *v = http_header_get(c->http, STR("user-agent"));
    } else if (str_eq(key, STR("sts:externalid"))) {
        *v = iam_param(c, "ExternalId");
    } else if (str_eq(key, STR("sts:rolesessionname"))) {
        *v = iam_param(c, "RoleSessionName");
    } else if (str_eq(key, STR("iam:policyarn"))) {
        *v = iam_param(c, "PolicyArn");
    }
    *out = (struct iam_values){v, 1};
    return v->p != NULL;
}

struct iam_request iam_ask(struct iam_call *c, struct str action, struct str resource)
{
    return (struct iam_request){.principal = &c->principal,
                                .action = action,
                                .resource = resource,
                                .now_s = clock_wall_ns() / NS_PER_S,
                                .lookup = ask_lookup,
                                .arg = c};
}

enum err iam_may(struct iam_call *c, struct str action, struct str resource)
{
    struct iam_request req = iam_ask(c, action, resource);

    if (idents_verdict(c->idents, &c->who.iam, &req) == POLICY_ALLOW &&
        iam_who_scope(&c->who.iam, &req) == POLICY_ALLOW)
        return ERR_OK;
    return iam_refuse(c, ERR_ACCESS_DENIED, STR_FMT " is not authorized to perform: " STR_FMT " on resource: " STR_FMT,
                      STR_ARG(c->principal.arn), STR_ARG(action), STR_ARG(resource));
}

static void digest(struct str s, uint8_t out[32])
{
    struct hash h;
    struct digest d;

    hash_init(&h, HASH_SHA256);
    hash_update(&h, s.p, s.n);
    hash_final(&h, &d);
    memcpy(out, d.b, 32);
}

static enum step_next call_who(struct op *op)
{
    struct iam_call *c = CALL(op);
    uint8_t sha[32];
    struct auth_input in = {.req = c->http,
                            .service = services[c->action->service].service,
                            .body_sha256 = sha,
                            .now_s = clock_wall_ns() / NS_PER_S};
    struct auth_failure why = {0};
    enum err e;

    if (c->http->has_query) /* what is signed must be what is done */
        return op_fail(op, iam_refuse(c, ERR_IAM_VALIDATION, "Parameters belong into the form."));
    if (c->action->flags & IAM_WEB)
        return op_go(op, call_keys);
    digest(buf_str(&c->body), sha);
    if ((e = auth_check(c->env->creds, &in, c->arena, &c->who, &why)) != ERR_OK) {
        c->message = why.message;
        return op_fail(op, e);
    }
    if (c->who.kind == AUTH_ANONYMOUS)
        return op_fail(op, iam_refuse(c, ERR_IAM_NO_TOKEN, "Request is missing Authentication Token"));
    if (c->who.kind != AUTH_V4_HEADER)
        return op_fail(
            op, iam_refuse(c, ERR_NOT_IMPLEMENTED, "Calls are signed with version 4 in the Authorization header."));
    if (!idents_principal(c->idents, c->arena, &c->who.iam, &c->principal))
        return op_fail(op, ERR_INVALID_ACCESS_KEY);
    return op_go(op, call_ask);
}

/* ---- who has a token of a provider ---- */

static enum step_next call_keys(struct op *op)
{
    struct iam_call *c = CALL(op);
    struct str token = iam_param(c, "WebIdentityToken");

    if (!c->env->oidc)
        return op_fail(op,
                       iam_refuse(c, ERR_NOT_IMPLEMENTED, "No identity provider is configured: identity.oidc_issuer."));
    c->ask = (struct http_client_req){
        .method = "GET", .connect_timeout_ms = 5000, .timeout_ms = 10000, .body_max = OIDC_SET_MAX};
    c->ask.url = oidc_wants(c->env->oidc, c->arena, token, clock_wall_ns() / NS_PER_S);
    if (!c->ask.url)
        return op_go(op, call_web);
    http_client_send(c->client, &c->ask, &c->answer, op_try(op, call_keyed));
    return STEP_WAIT;
}

/* Without fresh keys the ones that are there have to do. */
static enum step_next call_keyed(struct op *op)
{
    struct iam_call *c = CALL(op);
    char why[TOKEN_WHY_MAX] = "";
    enum err e = op->call.err;

    if (e == ERR_OK && c->answer.status == 200)
        e = oidc_take(c->env->oidc, buf_str(&c->answer.body), clock_wall_ns() / NS_PER_S, why);
    else
        snprintf(why, sizeof(why), "status %d %.100s", c->answer.status, c->answer.why);
    if (why[0])
        log_warn(ours(c), "the keys of the identity provider can't be had", "url=%s why=%s", c->ask.url,
                 log_quote(str_z(why)));
    http_client_res_release(&c->answer);
    return op_go(op, call_web);
}

static enum step_next call_web(struct op *op)
{
    struct iam_call *c = CALL(op);
    char why[TOKEN_WHY_MAX] = "";
    enum err e =
        oidc_read(c->env->oidc, c->arena, iam_param(c, "WebIdentityToken"), clock_wall_ns() / NS_PER_S, &c->web, why);

    if (e != ERR_OK)
        return op_fail(op, iam_refuse(c, e, "%s", why));
    c->principal = (struct iam_principal){.kind = IAM_FEDERATED, .account = STR(IAM_ACCOUNT), .id = c->web.subject};
    c->principal.arn =
        arena_printf(c->arena, "arn:aws:iam::" IAM_ACCOUNT ":oidc-provider/" STR_FMT, STR_ARG(oidc_name(c->env->oidc)));
    return op_go(op, call_ask);
}

/* ---- what ---- */

static const struct {
    enum ident_kind kind;
    const char *param;
} about[] = {
    [ABOUT_USER] = {IDENT_USER, "UserName"},      [ABOUT_SELF] = {IDENT_USER, "UserName"},
    [ABOUT_GROUP] = {IDENT_GROUP, "GroupName"},   [ABOUT_ROLE] = {IDENT_ROLE, "RoleName"},
    [ABOUT_POLICY] = {IDENT_POLICY, "PolicyArn"}, [ABOUT_NEW_POLICY] = {IDENT_POLICY, "PolicyName"},
};

static enum err name_self(struct iam_call *c)
{
    if (c->who.iam.kind == IAM_SESSION)
        return iam_refuse(c, ERR_IAM_VALIDATION, "Must specify userName when calling with non-User credentials");
    c->name = c->who.iam.name;
    return ERR_OK;
}

/* Finds what the call is about; *arn is how policies name it. */
static enum err find_about(struct iam_call *c, struct str *arn)
{
    const char *param = about[c->action->about].param;
    struct ident made = {.kind = c->kind = about[c->action->about].kind};
    enum err e;

    c->name = iam_param(c, param);
    if (c->action->about == ABOUT_SELF && !c->name.n) {
        if ((e = name_self(c)) != ERR_OK)
            return e;
        if (!c->name.n) { /* the owner */
            *arn = STR(IAM_ACCOUNT_ARN);
            return ERR_OK;
        }
    } else if (c->action->about == ABOUT_POLICY) {
        *arn = c->name;
        if (!(c->name = ident_arn_name(*arn, IDENT_POLICY)).n)
            return iam_refuse(c, ERR_IAM_VALIDATION, "PolicyArn is not the ARN of a policy of this account.");
    } else if (c->action->about == ABOUT_GROUP || c->action->about == ABOUT_NEW_POLICY) {
        e = iam_check_name(c, param, c->name, IDENT_NAME_MAX);
        if (e != ERR_OK)
            return e;
    } else if ((e = iam_check_name(c, param, c->name, 64)) != ERR_OK) {
        return e;
    }
    if ((c->found = idents_find(c->idents, c->arena, c->kind, c->name))) {
        *arn = ident_arn(c->arena, c->found);
        return ERR_OK;
    }
    made.name = c->name;
    made.path = iam_param(c, "Path");
    if ((e = iam_check_path(c, &made.path)) == ERR_OK)
        *arn = ident_arn(c->arena, &made);
    return e;
}

static enum step_next call_ask(struct op *op)
{
    struct iam_call *c = CALL(op);
    struct str arn = STR("arn:aws:iam::" IAM_ACCOUNT ":*"), permission;
    enum err e = c->action->about == ABOUT_NOTHING ? ERR_OK : find_about(c, &arn);

    if (e == ERR_OK && !(c->action->flags & (IAM_FREE | IAM_WEB))) {
        permission = arena_printf(c->arena, STR_FMT ":" STR_FMT, STR_ARG(services[c->action->service].service),
                                  STR_ARG(c->action->name));
        e = iam_may(c, permission, arn);
    }
    if (e != ERR_OK || (e = c->action->begin(c)) != ERR_OK)
        return op_fail(op, e);
    if (!c->changes)
        return op_go(op, call_finish_action);
    ident_change(c->idents, &c->change, &c->changed, op_call(op, call_finish_action));
    return STEP_WAIT;
}

static enum step_next call_finish_action(struct op *op)
{
    struct iam_call *c = CALL(op);

    if (c->action->finish)
        c->action->finish(c);
    return op_go(op, call_send);
}

/* ---- the answer ---- */

/* What these services call an error that S3 has, too. */
static const char *code_of(enum err e)
{
    static const struct {
        enum err err;
        const char *code;
    } others[] = {
        {ERR_INVALID_ACCESS_KEY, "InvalidClientTokenId"}, {ERR_INVALID_TOKEN, "InvalidClientTokenId"},
        {ERR_TIME_SKEWED, "SignatureDoesNotMatch"},       {ERR_AUTH_HEADER_MALFORMED, "IncompleteSignature"},
        {ERR_HEADERS_NOT_SIGNED, "IncompleteSignature"},  {ERR_INTERNAL, "ServiceFailure"},
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (others[i].err == e)
            return others[i].code;
    return err_code(e);
}

static void open_root(struct iam_call *c, struct buf *b, struct str name)
{
    xml_begin_in(b, name, services[c->action ? c->action->service : IAM_API].xmlns);
}

static void write_error(struct iam_call *c, struct buf *b, enum err e)
{
    open_root(c, b, STR("ErrorResponse"));
    xml_open(b, STR("Error"));
    xml_str(b, STR("Type"), err_status(e) < 500 ? STR("Sender") : STR("Receiver"));
    xml_str(b, STR("Code"), str_z(code_of(e)));
    xml_str(b, STR("Message"), c->message.n ? c->message : str_z(err_text(e)));
    xml_close(b, STR("Error"));
    xml_str(b, STR("RequestId"), ours(c));
    xml_close(b, STR("ErrorResponse"));
}

static void write_result(struct iam_call *c, struct buf *b)
{
    struct str response = arena_printf(c->arena, STR_FMT "Response", STR_ARG(c->action->name));
    struct str result = arena_printf(c->arena, STR_FMT "Result", STR_ARG(c->action->name));

    open_root(c, b, response);
    xml_open(b, result);
    buf_add_str(b, buf_str(&c->xml));
    xml_close(b, result);
    xml_open(b, STR("ResponseMetadata"));
    xml_str(b, STR("RequestId"), ours(c));
    xml_close(b, STR("ResponseMetadata"));
    xml_close(b, response);
}

static void release(void *arg)
{
    struct iam_call *c = arg;

    if (c->body.p)
        explicit_bzero(c->body.p, c->body.n);
    buf_release(&c->body);
    buf_release(&c->xml);
}

static void audit(struct iam_call *c, enum err e)
{
    struct str name = c->action ? c->action->name : STR("none");

    if (audit_wants(!str_starts(name, STR("Get")) && !str_starts(name, STR("List"))))
        audit_add(&(struct audit_entry){.id = ours(c),
                                        .api = "iam",
                                        .peer = c->http->peer,
                                        .method = c->http->method_text,
                                        .path = c->http->path,
                                        .action = name.p,
                                        .key = c->who.access_key,
                                        .who = c->principal.arn,
                                        .object = c->name,
                                        .status = c->res.status,
                                        .error = e == ERR_OK ? NULL : code_of(e),
                                        .took_ns = clock_mono_ns() - c->started_ns});
}

static enum step_next call_send(struct op *op)
{
    struct iam_call *c = CALL(op);
    struct buf *b = ARENA_NEW(c->arena, struct buf);
    enum err e = op->err == ERR_OK ? buf_err(&c->xml) : op->err;

    buf_init(b, IAM_RESULT_MAX + 4096);
    arena_defer(c->arena, (void (*)(void *))buf_release, b);
    if (e == ERR_OK)
        write_result(c, b);
    else
        write_error(c, b, e);
    c->header = (struct http_header){STR("Content-Type"), STR("text/xml")};
    c->res = (struct http_res){.status = e == ERR_OK ? 200 : err_status(e), .headers = &c->header, .header_count = 1};
    c->res.body = source_memory(buf_str(b), NULL, NULL);
    log_info(ours(c), "identities", "peer=%s key=%s action=%s name=%s status=%d", c->http->peer,
             log_quote(c->who.access_key), c->action ? c->action->name.p : "none", log_quote(c->name), c->res.status);
    audit(c, e);
    http_respond(c->http, &c->res, op_try(op, call_end));
    return STEP_WAIT;
}

static enum step_next call_end(struct op *op)
{
    (void)op; /* all of it is in the request's arena */
    return STEP_DONE;
}

static void on_abort(struct http_req *req)
{
    op_cancel(&((struct iam_call *)req->user)->op, ERR_CLIENT_GONE);
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct iam_api *api = CONTAINER(h, struct iam_api, handler);
    struct iam_call *c = ARENA_NEW(req->arena, struct iam_call);

    c->http = req;
    c->arena = req->arena;
    c->env = &api->env;
    c->client = api->client;
    c->started_ns = clock_mono_ns();
    buf_init(&c->body, IAM_FORM_MAX + 1);
    buf_init(&c->xml, IAM_RESULT_MAX);
    arena_defer(c->arena, release, c);
    req->user = c;
    req->on_abort = on_abort;
    op_start(&c->op, api->env.loop, "identities", call_body, call_send);
}

bool iam_api_takes(const struct http_req *req)
{
    return req->method == HTTP_POST && str_eq(req->path, STR("/")) &&
           str_starts_nocase(http_header_get(req, STR("content-type")), STR("application/x-www-form-urlencoded"));
}

struct iam_api *iam_api_new(const struct iam_env *env)
{
    struct iam_api *api = NEW(struct iam_api);

    api->handler.on_request = on_request;
    api->env = *env;
    if (env->oidc)
        api->client = http_client_new(env->loop);
    return api;
}

struct http_handler *iam_api_handler(struct iam_api *api)
{
    return &api->handler;
}

void iam_api_free(struct iam_api *api)
{
    if (api->client)
        http_client_free(api->client);
    free(api);
}
