#include "unit.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/str.h"
#include "base/token.h"

enum { NOW = 1700000000 };
#define KEY STR("0123456789abcdef0123456789abcdef")

static enum err read_with(struct arena *a, struct str text, struct str key, int64_t now, struct token *out)
{
    struct token_keys keys = {.hs256 = key};
    char why[TOKEN_WHY_MAX];

    return token_read(a, text, &keys, now, out, why);
}

static void a_token_is_good_until_it_expires(void **state)
{
    struct arena a = ARENA_INIT;
    struct token t;
    struct str text = token_make(&a, KEY, STR("me"), NOW, NOW + 100);

    (void)state;
    assert_int_equal(read_with(&a, text, KEY, NOW, &t), ERR_OK);
    assert_true(str_eq(t.subject, STR("me")));
    assert_int_equal(t.expires_s, NOW + 100);
    assert_int_equal(read_with(&a, text, KEY, NOW + 100 + TOKEN_SKEW_S, &t), ERR_ACCESS_DENIED);
    arena_release(&a);
}

static void other_keys_and_changed_bytes_are_refused(void **state)
{
    struct arena a = ARENA_INIT;
    struct token t;
    struct str text = token_make(&a, KEY, STR("me"), NOW, NOW + 100);

    (void)state;
    assert_int_equal(read_with(&a, text, STR("another key"), NOW, &t), ERR_ACCESS_DENIED);
    assert_int_equal(read_with(&a, text, STR(""), NOW, &t), ERR_ACCESS_DENIED);
    for (size_t i = 0; i + 1 < text.n; i++) { /* the last digit has bits that say nothing */
        char *copy = arena_alloc(&a, text.n);
        memcpy(copy, text.p, text.n);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        assert_int_equal(read_with(&a, str_n(copy, text.n), KEY, NOW, &t), ERR_ACCESS_DENIED);
    }
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(read_with(&a, str_n(text.p, n), KEY, NOW, &t), ERR_ACCESS_DENIED);
    arena_release(&a);
}

/* {"alg":"none"}.{"sub":"me","exp":9999999999}. */
static void no_algorithm_is_no_signature(void **state)
{
    struct arena a = ARENA_INIT;
    struct token t;

    (void)state;
    assert_int_equal(read_with(&a, STR("eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSIsImV4cCI6OTk5OTk5OTk5OX0."), KEY, NOW, &t),
                     ERR_ACCESS_DENIED);
    arena_release(&a);
}

static EVP_PKEY *key_pair(const char *kind, struct str *pem, struct arena *a)
{
    EVP_PKEY *k = strcmp(kind, "RS256") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;

    assert_non_null(k);
    assert_int_equal(PEM_write_bio_PUBKEY(bio, k), 1);
    long n = BIO_get_mem_data(bio, &text);
    *pem = arena_str(a, str_n(text, (size_t)n));
    BIO_free(bio);
    return k;
}

static struct str coded(struct arena *a, const void *p, size_t n)
{
    char *out = arena_alloc(a, BASE64_LEN(n) + 1);

    return str_n(out, base64url_encode(p, n, out));
}

/* As somebody else makes a token; an ES256 signature is r and s, 32 bytes each (RFC 7518 section 3.4). */
static struct str signed_by(struct arena *a, EVP_PKEY *k, const char *alg, const char *payload)
{
    struct str head = arena_printf(a, "{\"alg\":\"%s\"}", alg), h = coded(a, head.p, head.n);
    struct str p = coded(a, payload, strlen(payload)),
               said = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(h), STR_ARG(p));
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char raw[512], flat[64];
    size_t n = sizeof(raw);

    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k), 1);
    assert_int_equal(EVP_DigestSign(ctx, raw, &n, (const unsigned char *)said.p, said.n), 1);
    EVP_MD_CTX_free(ctx);
    if (strcmp(alg, "ES256") == 0) {
        const unsigned char *at = raw;
        ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)n);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), flat, 32), 32);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), flat + 32, 32), 32);
        ECDSA_SIG_free(sig);
        memcpy(raw, flat, n = sizeof(flat));
    }
    struct str s = coded(a, raw, n);
    return arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(said), STR_ARG(s));
}

static void tokens_of_an_issuer_are_checked_by_its_public_key(void **state)
{
    static const char *const kinds[] = {"RS256", "ES256"};
    static const struct {
        const char *payload;
        bool good;
    } cases[] = {
        {"{\"sub\":\"me\",\"exp\":1700000100,\"iss\":\"us\",\"aud\":\"sluice\"}", true},
        {"{\"sub\":\"me\",\"exp\":1700000100,\"iss\":\"us\",\"aud\":[\"other\",\"sluice\"]}", true},
        {"{\"sub\":\"me\",\"exp\":1700000100,\"iss\":\"us\",\"aud\":[\"other\"]}", false},
        {"{\"sub\":\"me\",\"exp\":1700000100,\"iss\":\"us\"}", false},
        {"{\"sub\":\"me\",\"exp\":1700000100,\"iss\":\"them\",\"aud\":\"sluice\"}", false},
        {"{\"sub\":\"me\",\"exp\":1600000000,\"iss\":\"us\",\"aud\":\"sluice\"}", false},
        {"{\"sub\":\"me\",\"iss\":\"us\",\"aud\":\"sluice\"}", false},
        {"{\"sub\":\"me\",\"exp\":1700000100,\"nbf\":1700000090,\"iss\":\"us\",\"aud\":\"sluice\"}", false},
    };
    struct arena a = ARENA_INIT;
    char why[TOKEN_WHY_MAX];
    struct token t;

    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct token_public *keys;
        struct str pem, hmac_with_public;
        EVP_PKEY *pair = key_pair(kinds[k], &pem, &a);
        assert_int_equal(token_public_new(pem, &keys, why), ERR_OK);
        struct token_keys all = {.hs256 = KEY, .public_keys = keys, .issuer = STR("us"), .audience = STR("sluice")};
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
            struct str text = signed_by(&a, pair, kinds[k], cases[i].payload);
            assert_int_equal(token_read(&a, text, &all, NOW, &t, why), cases[i].good ? ERR_OK : ERR_ACCESS_DENIED);
        }
        /* the oldest trick: what everybody knows, the public key, taken for the secret of an HMAC */
        hmac_with_public = token_make(&a, pem, STR("me"), NOW, NOW + 100);
        assert_int_equal(token_read(&a, hmac_with_public, &all, NOW, &t, why), ERR_ACCESS_DENIED);
        /* of another key, or said to be of another kind */
        EVP_PKEY *other = key_pair(kinds[k], &pem, &a);
        assert_int_equal(token_read(&a, signed_by(&a, other, kinds[k], cases[0].payload), &all, NOW, &t, why),
                         ERR_ACCESS_DENIED);
        all.issuer = all.audience = STR("");
        assert_int_equal(token_read(&a, signed_by(&a, pair, kinds[k], cases[2].payload), &all, NOW, &t, why), ERR_OK);
        EVP_PKEY_free(other);
        EVP_PKEY_free(pair);
        token_public_free(keys);
    }
    arena_release(&a);
}

static void weak_keys_and_texts_that_are_none_are_refused(void **state)
{
    struct token_public *keys;
    char why[TOKEN_WHY_MAX];
    BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    char *text;

    (void)state;
    assert_int_equal(PEM_write_bio_PUBKEY(bio, weak), 1);
    long n = BIO_get_mem_data(bio, &text);
    assert_int_equal(token_public_new(str_n(text, (size_t)n), &keys, why), ERR_INVALID_ARGUMENT);
    assert_int_equal(token_public_new(STR("no key"), &keys, why), ERR_INVALID_ARGUMENT);
    assert_int_equal(token_public_open("/nonexistent/keys.pem", &keys, why), ERR_NOT_FOUND);
    EVP_PKEY_free(weak);
    BIO_free(bio);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_good_until_it_expires),
        cmocka_unit_test(other_keys_and_changed_bytes_are_refused),
        cmocka_unit_test(no_algorithm_is_no_signature),
        cmocka_unit_test(tokens_of_an_issuer_are_checked_by_its_public_key),
        cmocka_unit_test(weak_keys_and_texts_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
