#include "session.h"

#include "base/json.h"

#define CONTEXT STR("session")

enum err session_make(struct idents *t, struct arena *a, const struct session_make_req *req, struct session *out)
{
    const struct vault *vault = idents_session_vault(t);
    struct session s = {.expires_s = req->expires_s, .who = *req->who};
    struct buf b = BUF_INIT(SESSION_TOKEN_MAX);
    uint8_t *sealed;
    char *text;
    enum err e;

    if (!vault)
        return ERR_IAM_NO_MASTER_KEY;
    s.access_key =
        arena_printf(a, "ASIA" STR_FMT, STR_ARG(ident_random(a, 16, STR("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))));
    s.secret =
        ident_random(a, SESSION_SECRET_LEN, STR("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"));
    js_object(&b);
    js_put_str(&b, "key", s.access_key);
    js_put_str(&b, "secret", s.secret);
    js_put_u64(&b, "kind", s.who.kind);
    js_put_str(&b, "name", s.who.name);
    js_put_str(&b, "id", s.who.id);
    js_put_str(&b, "session", s.who.session);
    js_put_u64(&b, "expires", (uint64_t)s.expires_s);
    js_key(&b, STR("policies"));
    js_array(&b);
    for (unsigned i = 0; i < IAM_SCOPES_MAX; i++)
        if (req->policies[i].n)
            js_str(&b, req->policies[i]);
    js_end_array(&b);
    js_end_object(&b);
    if ((e = buf_err(&b)) == ERR_OK && BASE64_LEN(b.n + VAULT_EXTRA) > SESSION_TOKEN_MAX)
        e = ERR_TOO_LARGE;
    if (e == ERR_OK) {
        sealed = arena_alloc(a, b.n + VAULT_EXTRA);
        text = arena_alloc(a, BASE64_LEN(b.n + VAULT_EXTRA));
        vault_close(vault, buf_str(&b), CONTEXT, sealed);
        s.token = str_n(text, base64_encode(sealed, b.n + VAULT_EXTRA, text));
        *out = s;
    }
    if (b.p)
        explicit_bzero(b.p, b.n);
    buf_release(&b);
    return e;
}

static struct str text_of(const struct doc *d, const char *name)
{
    const struct doc *v = doc_get(d, str_z(name));

    return v && v->kind == DOC_SCALAR ? v->text : STR("");
}

/* Only what we wrote gets here. */
static enum err read_session(struct arena *a, struct str json, struct session *s)
{
    char why[DOC_WHY_MAX], policy_why[POLICY_WHY_MAX];
    const struct doc *policies;
    uint64_t kind, expires;
    struct doc *d;

    if (js_read(a, json, &d, why) != ERR_OK || !str_to_u64(text_of(d, "kind"), IAM_SESSION, &kind) ||
        kind < IAM_OWNER || !str_to_u64(text_of(d, "expires"), INT64_MAX, &expires) ||
        !(policies = doc_get(d, STR("policies"))) || policies->kind != DOC_LIST || policies->count > IAM_SCOPES_MAX)
        return ERR_INVALID_TOKEN;
    s->access_key = text_of(d, "key");
    s->secret = text_of(d, "secret");
    s->expires_s = s->who.expires_s = (int64_t)expires;
    s->who.kind = (enum iam_principal_kind)kind;
    s->who.name = text_of(d, "name");
    s->who.id = text_of(d, "id");
    s->who.session = text_of(d, "session");
    s->who.temporary = true;
    for (const struct doc *i = policies->first; i; i = i->next) {
        struct policy *p;
        if (policy_read(a, i->text, POLICY_IDENTITY, &p, policy_why) != ERR_OK)
            return ERR_INVALID_TOKEN;
        s->who.scopes[s->who.scope_count++] = p;
    }
    return ERR_OK;
}

enum err session_open(struct idents *t, struct arena *a, struct str token, int64_t now_s, struct session *out)
{
    const struct vault *vault = idents_session_vault(t);
    struct session s = {.token = token};
    uint8_t *sealed, *plain;
    size_t n;
    enum err e;

    if (!vault || token.n > SESSION_TOKEN_MAX)
        return ERR_INVALID_TOKEN;
    sealed = arena_alloc(a, token.n + 1);
    if (!base64_decode(token, sealed, token.n, &n) || n <= VAULT_EXTRA)
        return ERR_INVALID_TOKEN;
    plain = arena_alloc(a, n);
    if (!vault_open(vault, str_n(sealed, n), CONTEXT, plain))
        return ERR_INVALID_TOKEN;
    if ((e = read_session(a, str_n(plain, n - VAULT_EXTRA), &s)) != ERR_OK)
        return e;
    if (now_s >= s.expires_s)
        return ERR_EXPIRED_TOKEN;
    *out = s;
    return ERR_OK;
}
