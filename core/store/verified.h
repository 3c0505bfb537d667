/* verified.h - a body that is checked against what was declared of it, for readers that don't do so themselves.
 *
 * Shape    a source around a source. The last bytes are given only when all of them were as declared: who has read it to its end, or its size, has
 *          read what the client meant to send.
 * Owns     `inner` stays the caller's, `check` too: both outlive it.
 * Errors   those of `inner`, then those that `check` names (ERR_BAD_DIGEST, ...).
 * Thread   the loop's; larger pieces are hashed on `cpu`.
 */
#ifndef SLUICE_STORE_VERIFIED_H
#define SLUICE_STORE_VERIFIED_H

#include "base/offload.h"
#include "base/source.h"
#include "store/object.h"

struct source *source_verified(struct loop *loop, struct offload *cpu, struct source *inner, struct body_check *check);

#endif
