/* session_cache.h - sessions that were opened lately: their tokens are decrypted and their policies read once, not with each request.
 *
 * Shape    SESSION_CACHE_SLOTS slots, each for tokens of one hash: a newer one takes the place of the older. A session is a value that follows from
 *          its token, so nothing can be out of date but its end, which is looked at each time.
 * Owns     what is kept lives as long as somebody uses it; results are lent to the caller's arena.
 * Errors   those of session_open().
 * Thread   any.
 */
#ifndef SLUICE_IAM_SESSION_CACHE_H
#define SLUICE_IAM_SESSION_CACHE_H

#include "iam/session.h"

enum { SESSION_CACHE_SLOTS = 256 };

struct session_cache;
struct session_cache *session_cache_new(void);
void session_cache_free(struct session_cache *); /* NULL is legal */
/* As session_open(); `out` is there until the arena's end. */
MUST_USE enum err session_cache_open(struct session_cache *, struct idents *, struct arena *a, struct str token,
                                     int64_t now_s, struct session *out);

#endif
