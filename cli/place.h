/* place.h - what a user writes to name a bucket or an object: "ais://bucket/key", "s3://bucket/key", "bucket/key".
 *
 * Shape    parsed from left to right: scheme (none = ais), namespace "@uuid#name", bucket, and all behind the next '/' is the key.
 * Owns     texts borrow from the argument.
 * Errors   false with a sentence in `why`.
 * Thread   any; pure.
 */
#ifndef SLUICE_CLI_PLACE_H
#define SLUICE_CLI_PLACE_H

#include "base/buf.h"

enum { PLACE_WHY_MAX = 256 };

struct place {
    const char *provider; /* "ais", "aws", "gcp", "azure", "oci" */
    struct str space;     /* "@uuid#name", empty = global */
    struct str bucket;
    struct str key; /* empty = the bucket */
    bool has_scheme;
    bool is_prefix; /* the key is empty or ends in '/' */
};
bool place_parse(const char *text, struct place *out, char why[PLACE_WHY_MAX]);
/* "/v1/buckets/b" and "/v1/objects/b/k", encoded. */
void place_bucket_path(struct buf *out, const struct place *p);
void place_object_path(struct buf *out, const struct place *p, struct str key);
/* "provider=ais&namespace=..." */
void place_query(struct buf *out, const struct place *p);
/* {"name","provider","namespace"} */
void place_json(struct buf *out, const struct place *p);
/* "ais/@#/bucket/": how bck_to and object_to name it; encoded for a query. */
void place_uname(struct buf *out, const struct place *p, struct str key);

#endif
