/* native_auth.h - who asks: a bearer token, a signature as S3 has it, or anybody on a server that serves everybody.
 *
 * Owns     r->who lives in the request's arena.
 * Errors   ERR_ACCESS_DENIED with status 401 (nobody, or not believed) or 403, told in the native form.
 * Thread   the request's loop.
 */
#ifndef SLUICE_GATEWAY_NATIVE_AUTH_H
#define SLUICE_GATEWAY_NATIVE_AUTH_H

#include "gateway/native_request.h"

MUST_USE enum err native_auth(struct native_request *r);

#endif
