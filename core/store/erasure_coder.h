/* erasure_coder.h - internal to erasure*.c: several sources read in step, others computed from them.
 *
 * Shape    each step reads up to CODER_STEP bytes of every input, and computes as many of every output into a ring of CODER_RING steps; an
 *          output shows its bytes there. Bytes behind the end of an input are zeros.
 *          Nothing runs unless an output is waited for, so that closing the last output never has to wait.
 * Owns     the coder belongs to its outputs together: it and the inputs end with the last of them.
 * Errors   of the inputs; ERR_INCOMPLETE_BODY: one is shorter than it was said to be.
 * Thread   the loop of env.
 */
#ifndef SLUICE_STORE_ERASURE_CODER_H
#define SLUICE_STORE_ERASURE_CODER_H

#include "store/erasure.h"

enum {
    CODER_STEP = 128 << 10,
    CODER_RING = 3,
    CODER_INLINE_MAX = 64 << 10, /* arithmetic up to so many bytes of input is done on the loop */
};

struct coder_spec {
    unsigned inputs, outputs;
    struct source **sources; /* of the inputs; NULL: none but zeros */
    const uint64_t *stored;  /* bytes of each */
    uint64_t len;            /* of each output */
    const uint8_t *rows;     /* outputs * inputs coefficients */
};
void coder_new(const struct erasure_env *env, const struct coder_spec *spec, struct source **outputs);
/* The input that failed, or -1. */
int coder_failed(const struct source *output);

#endif
