/* url.h - percent-coding of paths and queries, kept apart from routing because signatures need the raw bytes.
 *
 * Shape    pure functions over slices; what needs no decoding is returned as it came, without a copy.
 * Owns     results live in the arena or are part of the input: as long as both.
 * Errors   false / ERR_INVALID_URI for "%" without two hex digits; too many parameters: ERR_INVALID_URI too.
 * Thread   any.
 * Source   RFC 3986 section 2.1; SigV4 "UriEncode" (S3 API: Authenticating Requests).
 */
#ifndef SLUICE_HTTP_URL_H
#define SLUICE_HTTP_URL_H

#include "base/arena.h"
#include "base/buf.h"

/* Any byte may come out, NUL included. */
MUST_USE bool url_decode(struct str s, struct arena *a, bool plus_is_space, struct str *out);
/* Letters, digits and "-._~" stay, with keep_slash also "/"; every other byte becomes %XX (upper-case hex). */
void url_encode(struct buf *b, struct str s, bool keep_slash);

struct query_param {
    struct str name, value; /* decoded; "+" is a space */
    bool has_value;         /* there was a "=" */
};
/* Splits what stands behind the "?" at "&"; empty pieces are skipped, order and duplicates are kept. */
MUST_USE enum err url_parse_query(struct arena *a, struct str raw, struct query_param **out, size_t *n, size_t max);

#endif
