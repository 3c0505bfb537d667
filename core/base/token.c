#include "token.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

enum { RSA_BITS_MIN = 2048, ES256_HALF = 32 };

enum { KID_MAX = 256, JWKS_MAX = 256 << 10, JWK_BYTES_MAX = 2048 };

struct token_public {
    EVP_PKEY *keys[TOKEN_KEYS_MAX];
    char kids[TOKEN_KEYS_MAX][KID_MAX]; /* of a set; empty: it has none */
    unsigned count;
};

static enum err refuse(char why[TOKEN_WHY_MAX], const char *text)
{
    snprintf(why, TOKEN_WHY_MAX, "%s", text);
    return ERR_ACCESS_DENIED;
}

/* ---- keys ---- */

static bool is_usable(EVP_PKEY *k)
{
    int kind = EVP_PKEY_get_base_id(k);

    return (kind == EVP_PKEY_RSA && EVP_PKEY_get_bits(k) >= RSA_BITS_MIN) ||
           (kind == EVP_PKEY_EC && EVP_PKEY_get_bits(k) == 256);
}

/* Takes `bio`. */
static enum err read_keys(BIO *bio, struct token_public **out, char why[TOKEN_WHY_MAX])
{
    struct token_public *p = NEW(struct token_public);
    EVP_PKEY *k;

    while (bio && p->count < TOKEN_KEYS_MAX && (k = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL)) != NULL) {
        p->keys[p->count++] = k;
        if (is_usable(k))
            continue;
        BIO_free(bio);
        token_public_free(p);
        snprintf(why, TOKEN_WHY_MAX, "a public key for tokens must be RSA with 2048 bits or more, or P-256");
        return ERR_INVALID_ARGUMENT;
    }
    BIO_free(bio);
    ERR_clear_error(); /* the end of the text is one */
    if (p->count == 0) {
        token_public_free(p);
        snprintf(why, TOKEN_WHY_MAX, "there is no public key in PEM form (BEGIN PUBLIC KEY)");
        return ERR_INVALID_ARGUMENT;
    }
    *out = p;
    return ERR_OK;
}

enum err token_public_new(struct str pem, struct token_public **out, char why[TOKEN_WHY_MAX])
{
    return read_keys(BIO_new_mem_buf(pem.p, (int)pem.n), out, why);
}

enum err token_public_open(const char *path, struct token_public **out, char why[TOKEN_WHY_MAX])
{
    BIO *bio = BIO_new_file(path, "r");

    if (bio)
        return read_keys(bio, out, why);
    ERR_clear_error();
    snprintf(why, TOKEN_WHY_MAX, "cannot be read");
    return ERR_NOT_FOUND;
}

void token_public_free(struct token_public *p)
{
    for (unsigned i = 0; p && i < p->count; i++)
        EVP_PKEY_free(p->keys[i]);
    free(p);
}

void token_key_of(struct str secret, uint8_t out[32])
{
    hmac_sha256(secret, STR("sluice native API token key 1"), out);
}

/* ---- reading ---- */

struct parts {
    struct str head, payload, signature; /* as they came */
    struct str signed_part;              /* "head.payload" */
};

static bool split(struct str text, struct parts *out)
{
    struct str rest = text;

    out->head = str_split(&rest, '.');
    out->payload = str_split(&rest, '.');
    out->signature = rest;
    out->signed_part = str_n(text.p, out->head.n + 1 + out->payload.n);
    return out->head.n && out->payload.n && out->signature.n && str_find_char(rest, '.') == SIZE_MAX;
}

static struct doc *decode_json(struct arena *a, struct str part)
{
    char why[DOC_WHY_MAX], *p = arena_alloc(a, part.n + 4);
    struct doc *d;
    size_t n;

    if (!base64url_decode(part, p, part.n + 4, &n) || js_read(a, str_n(p, n), &d, why) != ERR_OK || d->kind != DOC_MAP)
        return NULL;
    return d;
}

static struct str text_of(const struct doc *d, struct str name)
{
    const struct doc *found = doc_get(d, name);

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

static bool check_hs256(struct str key, struct str said, const uint8_t *signature, size_t n)
{
    uint8_t right[32];

    hmac_sha256(key, said, right);
    return n == sizeof(right) && str_eq_secret(str_n(right, sizeof(right)), str_n(signature, n));
}

/* JWS has r and s side by side, OpenSSL wants them as DER. */
static unsigned char *es256_der(const uint8_t *signature, size_t n, int *der_n)
{
    unsigned char *der = NULL;
    ECDSA_SIG *sig;

    if (n != 2 * ES256_HALF || (sig = ECDSA_SIG_new()) == NULL)
        return NULL;
    ECDSA_SIG_set0(sig, BN_bin2bn(signature, ES256_HALF, NULL), BN_bin2bn(signature + ES256_HALF, ES256_HALF, NULL));
    *der_n = i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);
    return der;
}

static bool verify(EVP_PKEY *key, struct str said, const uint8_t *signature, size_t n)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool right = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                 EVP_DigestVerify(ctx, signature, n, (const unsigned char *)said.p, said.n) == 1;

    EVP_MD_CTX_free(ctx);
    return right;
}

static bool check_public(const struct token_public *keys, int kind, struct str said, const uint8_t *signature, size_t n)
{
    unsigned char *der = NULL;
    bool right = false;
    int der_n = 0;

    if (kind == EVP_PKEY_EC && (der = es256_der(signature, n, &der_n)) == NULL)
        return false;
    for (unsigned i = 0; keys && i < keys->count && !right; i++)
        if (EVP_PKEY_get_base_id(keys->keys[i]) == kind)
            right = verify(keys->keys[i], said, der ? der : signature, der ? (size_t)der_n : n);
    OPENSSL_free(der);
    return right;
}

/* The token says which of the configured keys it wants to be checked by, not how one is used. */
static bool check_signature(const struct token_keys *keys, struct str alg, struct str said, const uint8_t *signature,
                            size_t n)
{
    if (str_eq(alg, STR("HS256")))
        return keys->hs256.n && check_hs256(keys->hs256, said, signature, n);
    if (str_eq(alg, STR("RS256")))
        return check_public(keys->public_keys, EVP_PKEY_RSA, said, signature, n);
    if (str_eq(alg, STR("ES256")))
        return check_public(keys->public_keys, EVP_PKEY_EC, said, signature, n);
    return false;
}

/* ---- key sets ---- */

static EVP_PKEY *key_from(const char *kind, OSSL_PARAM_BLD *parts)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(parts);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    EVP_PKEY *key = NULL;

    if (params && ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *rsa_key(const struct doc *jwk)
{
    struct str modulus = text_of(jwk, STR("n")), exponent = text_of(jwk, STR("e"));
    OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
    uint8_t n[JWK_BYTES_MAX], e[16];
    size_t n_len, e_len;
    BIGNUM *bn = NULL, *be = NULL;
    EVP_PKEY *key = NULL;

    if (parts && base64url_decode(modulus, n, sizeof(n), &n_len) && base64url_decode(exponent, e, sizeof(e), &e_len) &&
        (bn = BN_bin2bn(n, (int)n_len, NULL)) && (be = BN_bin2bn(e, (int)e_len, NULL)) &&
        OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_N, bn) == 1 &&
        OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_RSA_E, be) == 1)
        key = key_from("RSA", parts);
    BN_free(bn);
    BN_free(be);
    OSSL_PARAM_BLD_free(parts);
    return key;
}

static EVP_PKEY *ec_key(const struct doc *jwk)
{
    uint8_t point[1 + 2 * ES256_HALF] = {POINT_CONVERSION_UNCOMPRESSED};
    OSSL_PARAM_BLD *parts = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    size_t x, y;

    if (parts && str_eq(text_of(jwk, STR("crv")), STR("P-256")) &&
        base64url_decode(text_of(jwk, STR("x")), point + 1, ES256_HALF, &x) && x == ES256_HALF &&
        base64url_decode(text_of(jwk, STR("y")), point + 1 + ES256_HALF, ES256_HALF, &y) && y == ES256_HALF &&
        OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(parts, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1)
        key = key_from("EC", parts);
    OSSL_PARAM_BLD_free(parts);
    return key;
}

static void take_jwk(struct token_public *p, const struct doc *jwk)
{
    struct str kind = text_of(jwk, STR("kty")), kid = text_of(jwk, STR("kid")), use = text_of(jwk, STR("use"));
    EVP_PKEY *key = NULL;

    if (p->count == TOKEN_KEYS_MAX || (use.n && !str_eq(use, STR("sig"))) || kid.n >= KID_MAX)
        return;
    if (str_eq(kind, STR("RSA")))
        key = rsa_key(jwk);
    else if (str_eq(kind, STR("EC")))
        key = ec_key(jwk);
    ERR_clear_error();
    if (!key || !is_usable(key)) {
        EVP_PKEY_free(key);
        return;
    }
    if (kid.n)
        memcpy(p->kids[p->count], kid.p, kid.n);
    p->keys[p->count++] = key;
}

enum err token_public_jwks(struct str json, struct token_public **out, char why[TOKEN_WHY_MAX])
{
    const struct js_bounds bounds = {JWKS_MAX, 4096};
    struct token_public *p = NEW(struct token_public);
    char reason[DOC_WHY_MAX];
    struct arena a = {0};
    const struct doc *keys = NULL;
    struct doc *d;

    if (js_read_within(&a, json, &bounds, &d, reason) == ERR_OK && d->kind == DOC_MAP)
        keys = doc_get(d, STR("keys"));
    for (const struct doc *k = keys && keys->kind == DOC_LIST ? keys->first : NULL; k; k = k->next)
        if (k->kind == DOC_MAP)
            take_jwk(p, k);
    arena_release(&a);
    if (p->count > 0) {
        *out = p;
        return ERR_OK;
    }
    token_public_free(p);
    snprintf(why, TOKEN_WHY_MAX, "there is no RSA key of 2048 bits or more, and no P-256 key, in the key set");
    return ERR_INVALID_ARGUMENT;
}

bool token_public_knows(const struct token_public *p, struct arena *a, struct str token)
{
    struct doc *head;
    struct parts parts;
    struct str kid;

    if (token.n > TOKEN_MAX || !split(token, &parts) || !(head = decode_json(a, parts.head)))
        return true; /* it won't be believed by any key */
    kid = text_of(head, STR("kid"));
    for (unsigned i = 0; kid.n && i < p->count; i++)
        if (str_eq(str_z(p->kids[i]), kid))
            return true;
    return kid.n == 0;
}

/* ---- what is said ---- */

/* `aud` is one name or a list of them. */
static bool is_for(const struct doc *payload, struct str audience)
{
    const struct doc *aud = doc_get(payload, STR("aud"));

    if (!aud || aud->kind == DOC_SCALAR)
        return aud && str_eq(aud->text, audience);
    for (const struct doc *d = aud->kind == DOC_LIST ? aud->first : NULL; d; d = d->next)
        if (d->kind == DOC_SCALAR && str_eq(d->text, audience))
            return true;
    return false;
}

static bool time_of(const struct doc *payload, struct str name, int64_t *out)
{
    struct str s = text_of(payload, name);
    uint64_t n;

    s = str_split(&s, '.'); /* a NumericDate may have a fraction */
    if (!str_to_u64(s, INT64_MAX / 2, &n))
        return false;
    *out = (int64_t)n;
    return true;
}

enum err token_read(struct arena *a, struct str text, const struct token_keys *keys, int64_t now_s, struct token *out,
                    char why[TOKEN_WHY_MAX])
{
    struct doc *head, *payload;
    struct parts p;
    int64_t expires, from;
    uint8_t *signature;
    size_t n;

    if (text.n > TOKEN_MAX || !split(text, &p) || (head = decode_json(a, p.head)) == NULL)
        return refuse(why, "the token is malformed");
    if (doc_get(head, STR("crit")))
        return refuse(why, "the token asks for an extension that isn't known");
    signature = arena_alloc(a, p.signature.n + 4);
    if (!base64url_decode(p.signature, signature, p.signature.n + 4, &n) ||
        !check_signature(keys, text_of(head, STR("alg")), p.signed_part, signature, n))
        return refuse(why, "the token's signature is not valid");
    if ((payload = decode_json(a, p.payload)) == NULL)
        return refuse(why, "the token is malformed");
    if (!str_eq(text_of(head, STR("alg")), STR("HS256"))) {
        if (keys->issuer.n && !str_eq(text_of(payload, STR("iss")), keys->issuer))
            return refuse(why, "the token is of another issuer");
        if (keys->audience.n && !is_for(payload, keys->audience))
            return refuse(why, "the token is meant for somebody else");
    }
    if (!time_of(payload, STR("exp"), &expires))
        return refuse(why, "the token never expires, which is not accepted");
    if (expires + TOKEN_SKEW_S <= now_s)
        return refuse(why, "the token has expired");
    if (doc_get(payload, STR("nbf")) && (!time_of(payload, STR("nbf"), &from) || from - TOKEN_SKEW_S > now_s))
        return refuse(why, "the token is not valid yet");
    *out = (struct token){.subject = text_of(payload, STR("sub")),
                          .expires_s = expires,
                          .own = str_eq(text_of(head, STR("alg")), STR("HS256")),
                          .admin = str_eq(text_of(payload, STR("admin")), STR("true")),
                          .claims = payload};
    return out->subject.n ? ERR_OK : refuse(why, "the token names nobody");
}

/* ---- making ---- */

static void add_part(struct buf *b, struct str bytes)
{
    char *p = buf_reserve(b, BASE64_LEN(bytes.n));

    if (p)
        buf_commit(b, base64url_encode(bytes.p, bytes.n, p));
}

struct str token_make(struct arena *a, struct str key, struct str subject, int64_t now_s, int64_t expires_s)
{
    struct buf text = BUF_INIT(TOKEN_MAX), payload = BUF_INIT(TOKEN_MAX);
    struct str result;
    uint8_t signature[32];

    js_object(&payload);
    js_put_str(&payload, "sub", subject);
    js_key(&payload, STR("iat"));
    js_i64(&payload, now_s);
    js_key(&payload, STR("exp"));
    js_i64(&payload, expires_s);
    js_end_object(&payload);
    add_part(&text, STR("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"));
    buf_add_char(&text, '.');
    add_part(&text, buf_str(&payload));
    hmac_sha256(key, buf_str(&text), signature);
    buf_add_char(&text, '.');
    add_part(&text, str_n(signature, sizeof(signature)));
    result = arena_str(a, buf_str(&text));
    buf_release(&text);
    buf_release(&payload);
    return result;
}
