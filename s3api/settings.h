/* settings.h - the documents by which a bucket is configured: which there are, what they must say.
 *
 * Shape    a row per document: its sub-resource, root element, what S3 answers where there is none, and the reader that checks it and makes of it
 *          what requests look at. They are kept as XML without attributes and comments (store/bucket_conf.h).
 * Owns     what a reader makes lives in the arena it was given.
 * Errors   readers: ERR_MALFORMED_XML, ERR_INVALID_REQUEST, ERR_INVALID_ARGUMENT, ERR_INVALID_TAG, ERR_NOT_IMPLEMENTED, with a sentence in `why`.
 * Thread   any: constant tables, pure readers.
 * Source   S3 API reference: PutBucketCors, PutBucketTagging, ...
 */
#ifndef SLUICE_S3API_SETTINGS_H
#define SLUICE_S3API_SETTINGS_H

#include "base/arena.h"
#include "base/xml.h"
#include "store/bucket_conf.h"

enum { SETTING_WHY_MAX = 512 };

struct s3_request;

struct setting_read {
    struct arena *arena;
    const struct xml_doc *doc;
    const void *made; /* NULL: nothing that requests look at */
    bool unset;       /* the document says what a bucket without one has: it is removed */
    char why[SETTING_WHY_MAX];
};

struct setting {
    uint64_t sub; /* SUB() */
    struct str name, root;
    enum err (*read)(struct setting_read *);
    enum err absent;       /* what GET answers where there is none; ERR_OK: an empty document, or `content` */
    struct str content;    /* of it */
    bool own;              /* not for buckets that show what is elsewhere: with a remote behind them, and views */
    bool fixed;            /* there is no PUT of it here */
    uint32_t document_max; /* bytes of what a client sends */
    int status;            /* of a successful PUT; 0 = 200 */
    /* Whether it goes together with the bucket's other settings; NULL: always. */
    enum err (*fits)(struct s3_request *, const void *made);
    bool fits_none; /* that is asked when it is removed, too, with NULL */
};
/* NULL: no setting. */
const struct setting *setting_find(uint64_t sub);
/* Sets `why` and returns `e`. */
enum err setting_refuse(struct setting_read *s, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The element without attributes, with all that is in it, as it is kept. */
struct str setting_text(struct arena *arena, const struct xml_doc *doc);

/* Those with something that requests look at, for bucket_confs_open(). */
extern const struct bucket_doc_kind s3_doc_kinds[];
extern const size_t s3_doc_kind_count;

/* ---- readers ---- */

enum err access_block_read(struct setting_read *s);
enum err ownership_read(struct setting_read *s);
enum err ownership_fits(struct s3_request *r, const void *made);
enum err cors_read(struct setting_read *s);
enum err lifecycle_setting_read(struct setting_read *s);
enum err bucket_tags_read(struct setting_read *s);
struct tag;
/* A Tagging document of at most `max` tags, which borrow from it. */
enum err tagging_read(struct setting_read *s, struct tag *tags, size_t max, size_t *n);

#endif
