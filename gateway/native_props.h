/* native_props.h - AIStore's bucket properties: which there are, what they say here, and which can be set.
 *
 * Shape    a table of rows (native_props.c): "mirror.copies", its kind, what it is by default and what setting it does. A set property that
 *          has no effect here but does no harm is kept in the bucket's record, {"native":{"lru.batch_size":...}}, and shown; one that would
 *          promise what isn't so is refused by its name.
 * Errors   ERR_INVALID_ARGUMENT: no such property, or not such a value; ERR_NOT_IMPLEMENTED: it can't be that here. Told.
 * Thread   any.
 * Source   AIStore's cmn/api.go Bprops and BpropsToSet.
 */
#ifndef SLUICE_GATEWAY_NATIVE_PROPS_H
#define SLUICE_GATEWAY_NATIVE_PROPS_H

#include "gateway/native_request.h"

/* All of them, with what is "sluice"'s own. */
void native_props_json(struct native_request *r, struct buf *b, const struct native_bucket *bucket);

struct native_props_change {
    struct str settings;          /* for buckets_create(), buckets_set_props(); {} when nothing changes */
    struct redundancy redundancy; /* of a bucket that is made */
    bool says_redundancy;
};
/* `value`: a part of the properties, NULL: none. `now` NULL: of a bucket that is to be made. */
MUST_USE enum err native_props_change(struct native_request *r, const struct doc *value, const struct bucket *now,
                                      struct native_props_change *out);

#endif
