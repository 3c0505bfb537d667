/* cert.h - self-signed certificates for tests.
 *
 * Thread   any.
 */
#ifndef SLUICE_TESTS_HTTP_CERT_H
#define SLUICE_TESTS_HTTP_CERT_H

/* Writes PEM files; the certificate is for 127.0.0.1 with `name` as its common name. Aborts on failure. */
void cert_write(const char *name, const char *cert_file, const char *key_file);

#endif
