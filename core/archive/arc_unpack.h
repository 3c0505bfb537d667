/* arc_unpack.h - a compressed stream as the bytes that it unpacks to.
 *
 * Owns     takes `inner`.
 * Errors   ERR_BAD_ARCHIVE: no such stream, or cut short; those of `inner`.
 * Thread   the loop's; decoding is the pool's.
 */
#ifndef SLUICE_ARCHIVE_ARC_UNPACK_H
#define SLUICE_ARCHIVE_ARC_UNPACK_H

#include "archive/arc_format.h"
#include "base/source.h"

/* `format`: one of the compressed TARs. */
struct source *arc_unpack(struct loop *loop, struct offload *cpu, enum arc_format format, struct source *inner);

#endif
