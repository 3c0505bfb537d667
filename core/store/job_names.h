/* job_names.h - long lists of names as text: an object in the system bucket that a job reads (target/job_select.h).
 *
 * Shape    one name a line; '%', CR, LF and NUL are percent-encoded.
 * Owns     job_names_next() gives slices of the text, or of the arena where something was encoded.
 * Errors   ERR_CORRUPT: a '%' without two hex digits.
 * Thread   any; pure.
 */
#ifndef SLUICE_STORE_JOB_NAMES_H
#define SLUICE_STORE_JOB_NAMES_H

#include "base/arena.h"
#include "base/buf.h"

enum { JOB_NAMES_TEXT_MAX = 64 << 20 };

/* "jobs/<id>/names": where the list of a job is, in the system bucket. */
#define JOB_NAMES_KEY_FMT "jobs/" STR_FMT "/names"

void job_names_add(struct buf *b, struct str name);
/* Cuts the next name off; *end when there is none. Empty lines are passed over. */
MUST_USE enum err job_names_next(struct str *text, struct arena *a, struct str *name, bool *end);

#endif
