/* builtin_own.h - internal to builtin*.c: what a coder makes of a body, as a source.
 *
 * Shape    a piece of the body is read in full before the coder gets it, so that the result does not depend on how the body comes.
 * Owns     takes the coder; the body only if it is told to.
 * Errors   the coder's and the body's. A pool that is full is asked again.
 * Thread   the loop's.
 */
#ifndef SLUICE_ETL_BUILTIN_OWN_H
#define SLUICE_ETL_BUILTIN_OWN_H

#include "archive/arc_coder.h"
#include "base/offload.h"
#include "base/source.h"

struct builtin_pump_conf {
    struct loop *loop;
    struct offload *cpu;
    struct arc_coder *coder;
    struct source *body;
    bool takes_body;  /* closes it */
    const char *name; /* for logs; static */
};
struct source *builtin_pump_new(const struct builtin_pump_conf *conf);
/* Waits for the first bytes, or the end; fails with what a read would fail with. A result that is all there then has its size. */
void builtin_pump_begin(struct source *pump, struct call *call);
/* A sentence about its failure; may be empty. */
const char *builtin_pump_why(const struct source *pump);

#endif
