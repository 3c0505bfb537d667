/* described.h - records that have a segment of their own to describe them: those of several segments, and those whose
 * content is elsewhere.
 *
 * Shape    described_build() on the io pool, the commit, sealing_end().
 * Errors   of segment_seal(); ERR_METADATA_TOO_LARGE.
 * Thread   BLOCKING.
 */
#ifndef SLUICE_TARGET_DESCRIBED_H
#define SLUICE_TARGET_DESCRIBED_H

#include "target/sealing.h"

struct described {
    const struct bucket_id *bucket;
    struct str key;
    const struct object_info *info;
    const struct part_info *parts; /* of a multipart object, else it must have a layout */
    uint32_t part_count;
    const struct segment_id *segments; /* of the parts, all zero where they are empty; not looked at with a layout */
};
/* The record with its manifest, and the description, sealed. */
MUST_USE enum err described_build(const struct described *d, struct mountpath *m, struct sealing *s, struct hot **out);

#endif
