/* native_object.h - what the object calls of the native API share.
 *
 * Thread   the request's loop.
 * Source   AIStore's object headers; docs/native-api.md.
 */
#ifndef SLUICE_GATEWAY_NATIVE_OBJECT_H
#define SLUICE_GATEWAY_NATIVE_OBJECT_H

#include "gateway/native_request.h"
#include "store/object.h"

/* What is put in one request. */
#define NATIVE_PUT_MAX (UINT64_C(1) << 42)
/* The header that counts the overwrites of an object; there is none on the first. */
#define NATIVE_VERSION STR("ais-version")

/* Goes on from native_put by what the query says. */
step_fn native_put_object, native_put_part, native_append, native_copy;
/* From native_get: members of archives. */
step_fn native_get_member, native_get_members;

/* Ais-Checksum-*, Ais-Atime, Ais-Version, Ais-Custom-Md. */
void native_object_headers(struct native_request *r, const struct object_info *info);
/* "1" when nothing says more. */
struct str native_version(const struct object_info *info);
/* One more than of what is replaced (NULL: nothing), as an attribute. */
struct attr native_next_version(struct arena *a, const struct object_info *replaced);
/* A client that speaks TLS sends the head of an upload alone and waits to be told where the body goes: to ourselves, marked. True: that was
 * the answer, go to native_send. */
bool native_redirects(struct native_request *r);
/* A size that an answer states or a body has. */
MUST_USE enum err native_range(struct native_request *r, struct range *out, bool *partial);

#endif
