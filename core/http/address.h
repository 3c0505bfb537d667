/* address.h - which addresses are of the public internet.
 *
 * Shape    pure.
 * Thread   any.
 * Source   IANA IPv4 and IPv6 Special-Purpose Address Registries.
 */
#ifndef SLUICE_HTTP_ADDRESS_H
#define SLUICE_HTTP_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Not loopback, private, link-local, shared, multicast, reserved; of forms that carry an IPv4 address that one counts. */
bool address_is_public(const struct sockaddr *a);

#endif
