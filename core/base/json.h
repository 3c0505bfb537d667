/* json.h - JSON read into the tree of doc.h, JSON written into a bounded buffer.
 *
 * Shape    js_read() makes a struct doc: numbers, true and false are unquoted scalars, null is an empty unquoted one.
 *          The writer is a row of js_*() calls that put the commas themselves. (The prefix json_ is jansson's.)
 * Owns     the tree lives in the given arena.
 * Errors   ERR_SYNTAX: not JSON (RFC 8259), a repeated key, or beyond DOC_*_MAX; `why` says what and where.
 *          Writing: buf_err().
 * Thread   any.
 */
#ifndef SLUICE_BASE_JSON_H
#define SLUICE_BASE_JSON_H

#include "buf.h"
#include "doc.h"

/* Lines are unknown: 0. */
MUST_USE enum err js_read(struct arena *a, struct str text, struct doc **out, char why[DOC_WHY_MAX]);
/* For answers that carry much: bounds of the caller's own instead of DOC_TEXT_MAX and DOC_NODES_MAX. */
struct js_bounds {
    size_t text_max; /* bytes */
    unsigned nodes_max;
};
MUST_USE enum err js_read_within(struct arena *a, struct str text, const struct js_bounds *bounds, struct doc **out,
                                 char why[DOC_WHY_MAX]);

void js_object(struct buf *b);
void js_end_object(struct buf *b);
void js_array(struct buf *b);
void js_end_array(struct buf *b);
/* In an object, before each value. */
void js_key(struct buf *b, struct str name);
/* What is no UTF-8 becomes U+FFFD. */
void js_str(struct buf *b, struct str s);
void js_u64(struct buf *b, uint64_t v);
void js_i64(struct buf *b, int64_t v);
void js_bool(struct buf *b, bool v);
void js_null(struct buf *b);
/* A key and its value. */
void js_put_str(struct buf *b, const char *name, struct str s);
void js_put_u64(struct buf *b, const char *name, uint64_t v);
void js_put_bool(struct buf *b, const char *name, bool v);
/* A tree as it was read. */
void js_doc(struct buf *b, const struct doc *d);
/* A JSON text, taken as it is. */
void js_raw(struct buf *b, struct str json);

#endif
