#include "tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"

enum { WHY_MAX = 256 };

struct tls_context {
    char *cert_file, *key_file;
    pthread_mutex_t lock;
    SSL_CTX *ctx; /* guarded by lock; each stream's SSL holds a reference of its own */
};

struct tls_client {
    SSL_CTX *ctx;
    bool any_host;
};

struct tls_stream {
    SSL *ssl;
    bool ended, broken;
    char trouble[96];
};

static void why_openssl(char why[WHY_MAX], const char *what, const char *file)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    snprintf(why, WHY_MAX, "%s \"%.120s\": %.80s", what, file, reason ? reason : "unknown reason");
    ERR_clear_error();
}

/* HTTP/1.1 or nothing: HTTP/2 is not spoken, and a client that insists on it must learn so (RFC 7301 section 3.2). */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned n,
                       void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_n, ours, sizeof(ours) - 1, in, n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* An encrypted key is an error: nobody is there to type a password. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

static void set_options(SSL_CTX *ctx)
{
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    static const unsigned char session_context[] = "sluice";
    SSL_CTX_set_session_id_context(ctx, session_context, sizeof(session_context) - 1);
}

static enum err build(const struct tls_context *t, SSL_CTX **out, char why[WHY_MAX])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx) {
        why_openssl(why, "can't set up TLS for", t->cert_file);
        return ERR_INTERNAL;
    }
    set_options(ctx);
    if (SSL_CTX_use_certificate_chain_file(ctx, t->cert_file) != 1) {
        why_openssl(why, "can't use the certificate file", t->cert_file);
    } else if (SSL_CTX_use_PrivateKey_file(ctx, t->key_file, SSL_FILETYPE_PEM) != 1) {
        why_openssl(why, "can't use the private key file", t->key_file);
    } else if (SSL_CTX_check_private_key(ctx) != 1) {
        why_openssl(why, "the certificate doesn't belong to the private key", t->key_file);
    } else {
        *out = ctx;
        return ERR_OK;
    }
    SSL_CTX_free(ctx);
    return ERR_INVALID_ARGUMENT;
}

enum err tls_context_new(const char *cert_file, const char *key_file, struct tls_context **out, char why[WHY_MAX])
{
    struct tls_context *t = NEW(struct tls_context);
    enum err e;

    t->cert_file = strdup(cert_file);
    t->key_file = strdup(key_file);
    pthread_mutex_init(&t->lock, NULL);
    if (!t->cert_file || !t->key_file)
        abort();
    if ((e = build(t, &t->ctx, why)) != ERR_OK)
        tls_context_free(t);
    else
        *out = t;
    return e;
}

enum err tls_context_reload(struct tls_context *t, char why[WHY_MAX])
{
    SSL_CTX *fresh = NULL;
    enum err e = build(t, &fresh, why);

    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&t->lock);
    SSL_CTX *old = t->ctx;
    t->ctx = fresh;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old); /* lives on in its streams */
    return ERR_OK;
}

void tls_context_free(struct tls_context *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    pthread_mutex_destroy(&t->lock);
    free(t->cert_file);
    free(t->key_file);
    free(t);
}

struct tls_stream *tls_stream_new(struct tls_context *t, int fd)
{
    struct tls_stream *s = NEW(struct tls_stream);

    pthread_mutex_lock(&t->lock);
    s->ssl = SSL_new(t->ctx);
    pthread_mutex_unlock(&t->lock);
    if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1)
        abort(); /* out of memory */
    SSL_set_accept_state(s->ssl);
    return s;
}

const char *tls_version(const struct tls_stream *s)
{
    return SSL_version(s->ssl) == TLS1_3_VERSION ? "1.3" : "1.2"; /* older ones are refused */
}

/* ---- the connecting side ---- */

static void set_client_options(SSL_CTX *ctx)
{
    static const unsigned char alpn[] = "\x08http/1.1";

    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* an end without close_notify stays an error: a body that ends with its connection must not be cut short unnoticed */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) != 0)
        abort(); /* out of memory */
}

static bool load_client(SSL_CTX *ctx, const struct tls_client_conf *conf, char why[WHY_MAX])
{
    const char *key = conf->key_file ? conf->key_file : conf->cert_file;

    if (conf->ca_file ? SSL_CTX_load_verify_file(ctx, conf->ca_file) != 1
                      : SSL_CTX_set_default_verify_paths(ctx) != 1) {
        why_openssl(why, "can't use the file of trusted certificates", conf->ca_file ? conf->ca_file : "the system's");
        return false;
    }
    if (!conf->cert_file)
        return true;
    if (SSL_CTX_use_certificate_chain_file(ctx, conf->cert_file) != 1)
        why_openssl(why, "can't use the certificate file", conf->cert_file);
    else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        why_openssl(why, "can't use the private key file", key);
    else if (SSL_CTX_check_private_key(ctx) != 1)
        why_openssl(why, "the certificate doesn't belong to the private key", key);
    else
        return true;
    return false;
}

enum err tls_client_new(const struct tls_client_conf *conf, struct tls_client **out, char why[WHY_MAX])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx) {
        why_openssl(why, "can't set up TLS for", "connecting");
        return ERR_INTERNAL;
    }
    set_client_options(ctx);
    if (!load_client(ctx, conf, why)) {
        SSL_CTX_free(ctx);
        return ERR_INVALID_ARGUMENT;
    }
    struct tls_client *t = NEW(struct tls_client);
    t->ctx = ctx;
    t->any_host = conf->any_host;
    *out = t;
    return ERR_OK;
}

void tls_client_free(struct tls_client *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t);
}

/* Names are looked for in the certificate and told to the server (SNI), addresses only looked for (RFC 6066 section 3). */
static bool expect_host(SSL *ssl, const char *host, bool any_host)
{
    unsigned char ip[sizeof(struct in6_addr)];
    bool is_ip = inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1;

    if (!is_ip && SSL_set_tlsext_host_name(ssl, host) != 1)
        return false;
    if (any_host)
        return true;
    return is_ip ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 : SSL_set1_host(ssl, host) == 1;
}

struct tls_stream *tls_stream_connect(struct tls_client *t, int fd, const char *host)
{
    struct tls_stream *s = NEW(struct tls_stream);

    s->ssl = SSL_new(t->ctx);
    if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1 || !expect_host(s->ssl, host, t->any_host))
        abort(); /* out of memory */
    SSL_set_connect_state(s->ssl);
    return s;
}

/* ---- a session ---- */

static void note_trouble(struct tls_stream *s)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    long verdict = SSL_get_verify_result(s->ssl);

    if (verdict != X509_V_OK)
        reason = X509_verify_cert_error_string(verdict);
    snprintf(s->trouble, sizeof(s->trouble), "%s", reason ? reason : "the connection broke");
}

const char *tls_stream_trouble(const struct tls_stream *s)
{
    return s->trouble;
}

/* What the last SSL_* call, which did not succeed, wants. */
static enum tls_want verdict(struct tls_stream *s, int r)
{
    switch (SSL_get_error(s->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        /* OpenSSL forbids further calls, SSL_shutdown() too */
        s->broken = true;
        note_trouble(s);
        ERR_clear_error();
        return TLS_BROKEN;
    }
}

enum tls_want tls_handshake(struct tls_stream *s)
{
    ERR_clear_error();
    int r = SSL_do_handshake(s->ssl);
    return r == 1 ? TLS_OK : verdict(s, r);
}

enum tls_want tls_read(struct tls_stream *s, void *buf, size_t len, size_t *n)
{
    if (s->broken)
        return TLS_BROKEN;
    ERR_clear_error();
    int r = SSL_read_ex(s->ssl, buf, len, n);
    return r == 1 ? TLS_OK : verdict(s, r);
}

enum tls_want tls_write(struct tls_stream *s, const void *buf, size_t len, size_t *n)
{
    assert(len > 0);
    if (s->broken)
        return TLS_BROKEN;
    ERR_clear_error();
    int r = SSL_write_ex(s->ssl, buf, len, n);
    return r == 1 ? TLS_OK : verdict(s, r);
}

bool tls_has_pending(const struct tls_stream *s)
{
    return SSL_has_pending(s->ssl) == 1;
}

void tls_end(struct tls_stream *s)
{
    if (s->ended || s->broken || SSL_in_init(s->ssl))
        return;
    s->ended = true;
    ERR_clear_error();
    (void)SSL_shutdown(s->ssl); /* whether close_notify fits into the socket buffer or not, the connection ends now */
    ERR_clear_error();
}

void tls_stream_free(struct tls_stream *s)
{
    if (!s)
        return;
    tls_end(s);
    SSL_free(s->ssl);
    free(s);
}
