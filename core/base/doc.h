/* doc.h - a YAML text as a tree that remembers its lines.
 *
 * Shape    scalars, lists, maps; keys are plain texts. No anchors, aliases or second documents.
 * Units    lines count from 1.
 * Owns     the tree and its texts live in the given arena; texts are NUL-terminated behind their end.
 * Errors   ERR_SYNTAX: not YAML, a repeated key, or beyond DOC_*_MAX; `why` says what and where, without the file's
 *          name.
 * Thread   any.
 * Source   YAML 1.1 as libyaml reads it.
 */
#ifndef SLUICE_BASE_DOC_H
#define SLUICE_BASE_DOC_H

#include "arena.h"
#include "err.h"

enum { DOC_TEXT_MAX = 1 << 20, DOC_DEPTH_MAX = 32, DOC_NODES_MAX = 10000, DOC_WHY_MAX = 256 };

enum doc_kind { DOC_SCALAR, DOC_LIST, DOC_MAP };

struct doc {
    enum doc_kind kind;
    struct str key;  /* in a map: the name of this entry, else empty */
    struct str text; /* of a scalar; an unquoted "", ~ or null is empty */
    bool quoted;     /* a scalar in quotes: a text even when it looks like a number */
    unsigned line;   /* where it (or its key) begins */
    uint32_t count;  /* entries of a list or map */
    struct doc *first, *next;
};

/* An empty text is an empty map. */
MUST_USE enum err doc_parse(struct arena *a, struct str text, struct doc **out, char why[DOC_WHY_MAX]);
/* NULL when there is none, or `map` is none. */
const struct doc *doc_get(const struct doc *map, struct str key);

#endif
