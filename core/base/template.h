/* template.h - names by template: "s-{000..010..2}-{a..c}.tar", "s-@10.tar", "s-%04d.tar".
 *
 * Shape    parsed once, then a cursor gives one name after the other: Cartesian product of all ranges, the last varies fastest.
 *            bash   {5..10}, {10..5}, {001..100..3} (as many digits as the longer bound has when one begins with 0), {a..z}, {x,y,z}
 *            at     @100 = 0..100, with as many digits as written
 *            C      %06d = 0, 1, 2, ... without end: only where the caller bounds it
 *          A text without ranges is itself once; callers treat it as a prefix where AIStore does (template_is_plain()).
 * Owns     texts are borrowed from the arena.
 *          A text has one of these styles: braces win over "@", that over "%".
 * Errors   ERR_INVALID_ARGUMENT: unbalanced braces, a step of 0, more than TEMPLATE_MAX names; `why`: a sentence.
 * Thread   any; pure.
 * Source   Bash manual, "Brace Expansion"; AIStore docs, "batch operations".
 */
#ifndef SLUICE_BASE_TEMPLATE_H
#define SLUICE_BASE_TEMPLATE_H

#include "arena.h"
#include "buf.h"
#include "err.h"

enum { TEMPLATE_RANGES_MAX = 16, TEMPLATE_NAME_MAX = 1024 };
#define TEMPLATE_MAX UINT64_C(10000000)

struct template_range {
    struct str before;         /* plain text in front of it */
    int64_t first, last, step; /* numbers, or letters; step has the sign of its direction */
    unsigned width;            /* digits, zero-padded; 0 = as needed */
    bool letters;
    const struct str *words; /* {x,y,z}: first..last are positions */
    bool endless;            /* C style */
};
struct template
{
    struct template_range ranges[TEMPLATE_RANGES_MAX];
    unsigned count;
    struct str tail;
    uint64_t names; /* how many; UINT64_MAX when endless */
};
MUST_USE enum err template_parse(struct arena *a, struct str text, struct template *out, char why[256]);
static inline bool template_is_plain(const struct template *t)
{
    return t->count == 0;
}
/* Name i of them, i < names, instead of what is in `out`. ERR_KEY_TOO_LONG: longer than TEMPLATE_NAME_MAX. */
MUST_USE enum err template_name(const struct template *t, uint64_t i, struct buf *out);

#endif
