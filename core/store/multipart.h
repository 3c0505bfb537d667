/* multipart.h - what completing an upload checks and computes, the same for every store.
 *
 * Shape    multipart_init(), then multipart_add() for each part in the order of the request, then multipart_finish().
 * Errors   ERR_INVALID_PART, ERR_INVALID_PART_ORDER, ERR_ENTITY_TOO_SMALL, ERR_INVALID_REQUEST, ERR_BAD_DIGEST,
 *          ERR_ENTITY_TOO_LARGE.
 * Thread   one at a time. multipart_finish() or multipart_drop() ends it.
 * Source   S3 API: CompleteMultipartUpload; S3 User Guide, "Checking object integrity".
 */
#ifndef SLUICE_STORE_MULTIPART_H
#define SLUICE_STORE_MULTIPART_H

#include "store/store.h"

struct multipart {
    enum hash_alg alg;
    enum checksum_type type;
    uint64_t size;
    uint32_t count, last_number;
    struct hash md5s;      /* over the parts' MD5s */
    struct hash composite; /* over the parts' digests; only for CHECKSUM_COMPOSITE */
    struct digest full;    /* combined; only for CHECKSUM_FULL_OBJECT */
};

/* `alg` and `type` as upload_checksum() left them. */
void multipart_init(struct multipart *m, enum hash_alg alg, enum checksum_type type);
void multipart_drop(struct multipart *m);
/* The next part: as asked, as stored (NULL: there is none of that number), whether it is the last one asked for.
 * *bad tells which part it was on ERR_INVALID_PART and ERR_ENTITY_TOO_SMALL. */
MUST_USE enum err multipart_add(struct multipart *m, const struct complete_part *asked, const struct part_info *stored,
                                bool last, struct part_info *bad);
/* Fills size, etag, checksum and parts of `out`, leaves the rest alone. */
MUST_USE enum err multipart_finish(struct multipart *m, const struct upload_complete_req *req, struct object_info *out);

#endif
