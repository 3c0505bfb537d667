#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/log.h"
#include "base/mem.h"
#include "cert.h"
#include "serve.h"

static const struct http_limits limits = {
    .connections_max = 100,
    .head_max = 16384,
    .headers_max = 100,
    .head_timeout_ms = 500,
    .body_timeout_ms = 20000,
    .idle_timeout_ms = 20000,
    .send_timeout_ms = 20000,
    .drain_body_max = 65536,
};

static struct serve server;
static char dir[] = "/tmp/sluice-tls-XXXXXX", cert_file[64], key_file[64];

static int start(void **state)
{
    struct tls_context *tls = NULL;
    char why[256] = "";

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", dir);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
    cert_write("first", cert_file, key_file);
    assert_int_equal(tls_context_new(cert_file, key_file, &tls, why), ERR_OK);
    serve_start(&server, &limits, tls);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    serve_stop(&server);
    tls_context_free(server.tls);
    unlink(cert_file);
    unlink(key_file);
    rmdir(dir);
    return 0;
}

/* ---- a client ---- */

struct session {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static bool session_open(struct session *c, const char *alpn, int max_version)
{
    c->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_VERSION);
    SSL_CTX_set_security_level(c->ctx, 0);
    if (max_version)
        SSL_CTX_set_max_proto_version(c->ctx, max_version);
    c->ssl = SSL_new(c->ctx);
    c->fd = client_open(&server);
    SSL_set_fd(c->ssl, c->fd);
    if (alpn)
        SSL_set_alpn_protos(c->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    return SSL_connect(c->ssl) == 1;
}

static void session_close(struct session *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
}

static bool read_until(struct session *c, char *buf, size_t *n, size_t want)
{
    while (*n < want) {
        int r = SSL_read(c->ssl, buf + *n, (int)(want - *n));
        if (r <= 0)
            return false;
        *n += (size_t)r;
    }
    return true;
}

/* Status; the body goes to a malloc'ed *body. */
static int session_answer(struct session *c, char **body, size_t *body_n)
{
    char head[4096] = "";
    size_t n = 0;

    *body = NULL;
    while (!strstr(head, "\r\n\r\n"))
        if (n + 2 > sizeof(head) || !read_until(c, head, &n, n + 1))
            return 0;
    const char *at = strstr(head, "Content-Length: ");
    *body_n = at ? strtoull(at + 16, NULL, 10) : 0;
    *body = mem_alloc(*body_n + 1);
    n = 0;
    if (!read_until(c, *body, &n, *body_n))
        return 0;
    return (int)strtol(head + 9, NULL, 10);
}

static void assert_serves(struct session *c, const char *path, size_t size)
{
    char text[200], *body;
    size_t n = 0;

    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", path);
    SSL_write(c->ssl, text, (int)strlen(text));
    assert_int_equal(session_answer(c, &body, &n), 200);
    assert_int_equal(n, size);
    if (size > 5)
        for (size_t i = 0; i < n; i++)
            assert_true(body[i] == serve_pattern(i % SERVE_FILE_SIZE));
    free(body);
}

/* ---- tests ---- */

static void every_kind_of_body_goes_through(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    (void)state;
    for (int v = 0; v < 2; v++) {
        struct session c;
        assert_true(session_open(&c, "\x08http/1.1", versions[v]));
        assert_int_equal(SSL_version(c.ssl), versions[v]);
        for (int i = 0; i < 20; i++)
            assert_serves(&c, "/hello", 5);
        assert_serves(&c, "/file?16384", 16384);
        assert_serves(&c, "/file?3145745", SERVE_FILE_SIZE);
        assert_serves(&c, "/lazy?30000", 30000);
        session_close(&c);
    }
}

static void uploads_arrive(void **state)
{
    enum { SIZE = 3000000 };
    struct session c;
    char *bytes = mem_alloc(SIZE), text[128], *body;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = serve_pattern(i);
    assert_true(session_open(&c, NULL, 0));
    for (int i = 0; i < 3; i++) {
        /* head and body in one record the third time */
        snprintf(text, sizeof(text), "PUT /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n%s\r\n", i == 2 ? 3 : SIZE,
                 i == 1 ? "Expect: 100-continue\r\n" : "");
        if (i == 2)
            strncat(text, "abc", 4);
        SSL_write(c.ssl, text, (int)strlen(text));
        if (i == 1) {
            assert_int_equal(session_answer(&c, &body, &n), 100);
            free(body);
        }
        if (i < 2)
            SSL_write(c.ssl, bytes, SIZE);
        assert_int_equal(session_answer(&c, &body, &n), 200);
        assert_int_equal(n, i == 2 ? 3 : SIZE);
        assert_memory_equal(body, i == 2 ? "abc" : bytes, n);
        free(body);
    }
    free(bytes);
    session_close(&c);
}

static void pipelined_requests_in_one_record(void **state)
{
    struct session c;
    char text[4096] = "", *body;
    size_t n = 0;

    (void)state;
    assert_true(session_open(&c, NULL, 0));
    for (int i = 0; i < 30; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "GET /file?%d HTTP/1.1\r\nHost: t\r\n\r\n", i);
    SSL_write(c.ssl, text, (int)n);
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(session_answer(&c, &body, &n), 200);
        assert_int_equal(n, i);
        free(body);
    }
    session_close(&c);
}

static void only_http_1_1_and_modern_versions(void **state)
{
    struct session c;

    (void)state;
    assert_false(session_open(&c, "\x02h2", 0));
    session_close(&c);
    assert_false(session_open(&c, NULL, TLS1_1_VERSION));
    session_close(&c);
    assert_true(session_open(&c, "\x02h2\x08http/1.1", 0));
    const unsigned char *chosen;
    unsigned n;
    SSL_get0_alpn_selected(c.ssl, &chosen, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    session_close(&c);
}

static void plain_text_and_silence_end(void **state)
{
    char sink[256];
    int fd = client_open(&server), silent = client_open(&server);

    (void)state;
    client_send_z(fd, "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(client_read_all(fd, sink, sizeof(sink)) < (ssize_t)sizeof(sink));
    assert_true(client_read_all(silent, sink, sizeof(sink)) <= 0); /* the head's time limit covers the handshake */
    close(fd);
    close(silent);
}

static void aborts_leave_nothing(void **state)
{
    int before = atomic_load(&server.requests), finished = atomic_load(&server.finished);

    (void)state;
    for (int i = 0; i < 20; i++) {
        struct session c;
        struct linger now = {1, 0};
        assert_true(session_open(&c, NULL, 0));
        const char *text = i % 2 ? "GET /file?90000000 HTTP/1.1\r\nHost: t\r\n\r\n"
                                 : "PUT /discard HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\na";
        SSL_write(c.ssl, text, (int)strlen(text));
        if (i % 3)
            usleep(3000);
        if (i % 4 < 2)
            setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        session_close(&c);
    }
    for (int i = 0; i < 5000 && atomic_load(&server.finished) - finished < atomic_load(&server.requests) - before; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&server.finished) - finished, atomic_load(&server.requests) - before);
}

static void assert_name(const char *want)
{
    struct session c;
    char name[64] = "";

    assert_true(session_open(&c, NULL, 0));
    X509 *cert = SSL_get1_peer_certificate(c.ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
    X509_free(cert);
    session_close(&c);
    assert_string_equal(name, want);
}

static void certificate_is_replaced_while_serving(void **state)
{
    struct session c;
    char why[256] = "";

    (void)state;
    assert_true(session_open(&c, NULL, 0));
    assert_serves(&c, "/hello", 5);
    cert_write("second", cert_file, key_file);
    assert_name("first");
    assert_int_equal(tls_context_reload(server.tls, why), ERR_OK);
    assert_name("second");
    FILE *f = fopen(key_file, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(tls_context_reload(server.tls, why), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "private key"));
    assert_name("second");
    assert_serves(&c, "/hello", 5);
    session_close(&c);
}

int main(void)
{

    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_body_goes_through),
        cmocka_unit_test(uploads_arrive),
        cmocka_unit_test(pipelined_requests_in_one_record),
        cmocka_unit_test(only_http_1_1_and_modern_versions),
        cmocka_unit_test(plain_text_and_silence_end),
        cmocka_unit_test(aborts_leave_nothing),
        cmocka_unit_test(certificate_is_replaced_while_serving),
    };

    signal(SIGPIPE, SIG_IGN); /* as main.c does */
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, start, stop);
}
