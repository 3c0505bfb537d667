/* tls.h - TLS on plain descriptors, either side: OpenSSL reads and writes the socket, the loop only polls it.
 *
 * Shape    a tls_context holds a server's certificate and can be reloaded while connections live; a tls_client holds what the
 *          connecting side trusts; a tls_stream is one connection's session.
 * Owns     a stream owns its SSL, not the descriptor. Contexts are reference-counted by their streams.
 * Errors   tls_context_new/reload and tls_client_new put a sentence for a person into `why`.
 * Thread   the context: any (its certificate is swapped under a lock); the client: any once made; a stream: its connection's loop.
 * Source   OpenSSL SSL_read(3), SSL_write(3), SSL_get_error(3); ALPN http/1.1 only, no renegotiation, TLS 1.2 and up.
 */
#ifndef SLUICE_HTTP_TLS_H
#define SLUICE_HTTP_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct tls_context;
struct tls_client;
struct tls_stream;

/* BLOCKING: reads PEM files. */
MUST_USE enum err tls_context_new(const char *cert_file, const char *key_file, struct tls_context **out, char why[256]);
/* Reads the files again; new connections get the new certificate, an error keeps the old one. BLOCKING. */
MUST_USE enum err tls_context_reload(struct tls_context *t, char why[256]);
void tls_context_free(struct tls_context *t);

struct tls_client_conf {
    const char *ca_file;              /* who may have signed the server's certificate; NULL = the system's */
    const char *cert_file, *key_file; /* our own, for servers that ask; NULL = none */
    bool any_host;                    /* a certificate for another name will do, as long as the CA signed it */
};
/* BLOCKING: reads PEM files. */
MUST_USE enum err tls_client_new(const struct tls_client_conf *conf, struct tls_client **out, char why[256]);
/* Streams may outlive it. */
void tls_client_free(struct tls_client *t);

enum tls_want { TLS_OK, TLS_WANT_READ, TLS_WANT_WRITE, TLS_CLOSED, TLS_BROKEN };
struct tls_stream *tls_stream_new(struct tls_context *t, int fd);
/* The connecting side; `host`: the name or IP address to be found in the server's certificate. */
struct tls_stream *tls_stream_connect(struct tls_client *t, int fd, const char *host);
/* After a failed handshake: why, for logs. Static or the stream's. */
const char *tls_stream_trouble(const struct tls_stream *s);
/* Advances the handshake. */
enum tls_want tls_handshake(struct tls_stream *s);
/* After the handshake: "1.3". Static. */
const char *tls_version(const struct tls_stream *s);
/* Up to len bytes; *n > 0 with TLS_OK. TLS_CLOSED: clean end. */
enum tls_want tls_read(struct tls_stream *s, void *buf, size_t len, size_t *n);
enum tls_want tls_write(struct tls_stream *s, const void *buf, size_t len, size_t *n);
/* Bytes already decrypted and waiting: then readability of the descriptor says nothing. */
bool tls_has_pending(const struct tls_stream *s);
/* Sends close_notify if it fits; nothing may be written afterwards. */
void tls_end(struct tls_stream *s);
/* tls_end() if that wasn't done; frees. */
void tls_stream_free(struct tls_stream *s);

#endif
