/* glob.h - patterns of policies: '*' for any bytes, '?' for one character, ${key} for what the request says.
 *
 * Shape    a compiled pattern is a text in which bytes that UTF-8 never has stand for what is not itself. Matching is linear: pieces between stars
 *          are found in turn, none is tried twice.
 * Owns     compiled patterns live in the arena.
 * Errors   ERR_SYNTAX with a sentence.
 * Thread   any; pure.
 * Source   IAM User Guide, "Resource" (wildcards) and "Policy variables and tags".
 */
#ifndef SLUICE_IAM_GLOB_H
#define SLUICE_IAM_GLOB_H

#include "base/arena.h"
#include "base/err.h"

enum {
    GLOB_MAX = 2048,     /* bytes of a pattern, compiled and expanded */
    GLOB_MIXED_MAX = 64, /* of a piece behind a star that has '?' in it */
    GLOB_ANY = 0xff,     /* any bytes */
    GLOB_ONE = 0xfe,     /* one character */
    GLOB_VARIABLE = 0xfd /* a variable: its number follows as one byte */
};

struct glob_variable {
    struct str key;      /* as policy.h has keys */
    struct str fallback; /* ${key, 'fallback'}; p == NULL: none */
};
struct glob {
    struct str pattern;                    /* compiled */
    const struct glob_variable *variables; /* NULL: none */
    unsigned variable_count;
};

enum { GLOB_STARS = 1, GLOB_VARIABLES = 2, GLOB_LOWER = 4 };
/* `flags`: whether '*' and '?' are wildcards, whether variables are; or that letters are made small. `why` has room for 256 bytes. */
MUST_USE enum err glob_read(struct arena *a, struct str text, unsigned flags, struct glob *out, char *why);
/* `pattern` is compiled and has no variables (any more). */
bool glob_match(struct str pattern, struct str text);
/* Whether some text that is `root`, or begins with `root` and a slash, fits. Slow: for checks of documents. Variables stand for anything. */
bool glob_reaches(struct str pattern, struct str root);
/* The same of what begins with `root` and a slash only. */
bool glob_reaches_below(struct str pattern, struct str root);
/* No wildcards and no variables. */
bool glob_is_plain(const struct glob *g);

#endif
