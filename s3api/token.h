/* token.h - continuation tokens: the last name of a page in a form that clients hand back untouched.
 *
 * Shape    url-safe base64 of version byte, check of 4 bytes, name. Holds no server state: survives restarts.
 * Owns     results live in the arena.
 * Errors   false: not one of ours.
 * Thread   any.
 */
#ifndef SLUICE_S3API_TOKEN_H
#define SLUICE_S3API_TOKEN_H

#include "base/arena.h"

struct str token_encode(struct arena *a, struct str name);
bool token_decode(struct arena *a, struct str token, struct str *name);

#endif
