/* tags.h - object tags: the x-amz-tagging text and its limits.
 *
 * Shape    kept as one canonical URL query text ("a=1&b=2") in the order they came.
 * Owns     results live in the arena.
 * Errors   ERR_INVALID_TAG.
 * Thread   any.
 * Source   S3 API: PutObject (x-amz-tagging), PutObjectTagging; User Guide, "Categorizing your storage using tags".
 */
#ifndef SLUICE_S3API_TAGS_H
#define SLUICE_S3API_TAGS_H

#include "base/arena.h"
#include "base/err.h"

enum { TAGS_MAX = 10, TAG_KEY_MAX = 128, TAG_VALUE_MAX = 256 }; /* lengths in characters */

struct tag {
    struct str key, value;
};

/* At most `max`, keys unique and not empty, well-formed UTF-8 without control characters, no "aws:" keys. */
MUST_USE enum err tags_check(const struct tag *tags, size_t n, size_t max);
/* Whether they have only characters that S3 takes: of ASCII letters, digits, spaces and +-=._:/@. Asked of what clients send, and not of what is kept:
 * there were versions that took more. */
bool tags_are_plain(const struct tag *tags, size_t n);
/* Canonical text of checked tags. */
struct str tags_encode(struct arena *a, const struct tag *tags, size_t n);
/* Splits and decodes a query text of any origin; `out` has room for TAGS_MAX. Checked. */
MUST_USE enum err tags_parse(struct arena *a, struct str text, struct tag out[TAGS_MAX], size_t *n);
/* How many tags a canonical text holds. */
size_t tags_count(struct str text);

#endif
