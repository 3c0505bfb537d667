/* client_token.h - a bearer token for this user, made of the access key and secret that the environment or ~/.aws/credentials has.
 *
 * Owns     the token lives in the arena.
 * Thread   any. Reads a file.
 */
#ifndef SLUICE_CLI_CLIENT_TOKEN_H
#define SLUICE_CLI_CLIENT_TOKEN_H

#include "base/arena.h"

/* NUL-terminated; NULL: there are no credentials. */
const char *client_token(struct arena *a);
/* The credentials it is made of. False: none. */
bool client_credentials(struct arena *a, struct str *access_key, struct str *secret_key);

#endif
