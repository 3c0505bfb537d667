/* inventory.h - a listing of a bucket, made once a day or week and put into another bucket: what an InventoryConfiguration says.
 *
 * Shape    documents of the bucket, one per configuration, called "inventory.<id>" (bucket_conf.h).
 * Owns     what is read lives in the arena.
 * Errors   ERR_MALFORMED_XML, ERR_INVALID_ARGUMENT, ERR_NOT_IMPLEMENTED, with a sentence in `why`.
 * Thread   any; pure.
 * Source   S3 API: PutBucketInventoryConfiguration; S3 User Guide, "Amazon S3 Inventory list".
 */
#ifndef SLUICE_STORE_INVENTORY_H
#define SLUICE_STORE_INVENTORY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/xml.h"

enum { INVENTORY_ID_MAX = 64, INVENTORY_WHY_MAX = 512, INVENTORIES_MAX = 100 };
#define INVENTORY_DOC STR("inventory.")

/* Columns behind the key's, in the order in which they are written. */
enum inventory_field {
    INVENTORY_SIZE,
    INVENTORY_LAST_MODIFIED,
    INVENTORY_ETAG,
    INVENTORY_STORAGE_CLASS,
    INVENTORY_MULTIPART,
    INVENTORY_CHECKSUM,
    INVENTORY_FIELDS
};
/* "Size" */
struct str inventory_field_name(enum inventory_field f);

struct inventory {
    struct str id;
    struct str bucket; /* where it goes */
    struct str prefix; /* of what is made there; may be empty */
    struct str only;   /* keys that begin so */
    bool enabled, weekly, all_versions;
    uint32_t fields; /* set of 1u << enum inventory_field */
};
MUST_USE enum err inventory_read(struct arena *arena, const struct xml_doc *doc, struct inventory **out,
                                 char why[INVENTORY_WHY_MAX]);
/* 1 to 64 letters, digits, '-', '_', '.'. */
bool inventory_is_id(struct str id);

#endif
