/* native_fields.h - what AIStore says about an object, out of what a store knows of it.
 *
 * Shape    pure functions over struct object_info.
 * Thread   any.
 * Source   AIStore's cmn/objattrs.go.
 */
#ifndef SLUICE_GATEWAY_NATIVE_FIELDS_H
#define SLUICE_GATEWAY_NATIVE_FIELDS_H

#include "store/object.h"

/* The kind that new objects get in the native API. */
#define NATIVE_CHECKSUM_TYPE "xxhash"

/* Type ("xxhash", "crc32c", "md5", ...) and value in hex; objects always have some: without a checksum of a known kind it is the ETag. */
struct native_checksum {
    struct str type, value;
};
struct native_checksum native_checksum_of(struct arena *a, const struct object_info *info);
/* "[k:v k2:v2]", as listings have it; empty when there is nothing. */
struct str native_custom_text(struct arena *a, const struct object_info *info);

#endif
