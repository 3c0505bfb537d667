/* access.h - when objects were last read, roughly: for the eviction of cached copies.
 *
 * Shape    one table of the process, bounded: ACCESS_SLOTS times 8 bytes, sets of four; a key that was pushed out, or was read before the
 *          process began, is not known: then the time of its copy counts. Kept in memory only.
 * Units    Unix seconds.
 * Thread   any; no locks. Two keys may be taken for one: an object then counts as read later than it was.
 */
#ifndef SLUICE_STORE_ACCESS_H
#define SLUICE_STORE_ACCESS_H

#include <stdint.h>

#include "base/str.h"

enum { ACCESS_SLOTS = 1 << 18 };

void access_note(uint64_t uid, struct str key);
/* 0 = not known. */
int64_t access_last_s(uint64_t uid, struct str key);

#endif
