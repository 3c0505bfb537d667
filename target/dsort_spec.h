/* dsort_spec.h - what a job is asked for that makes shards: of a bucket's objects (kind "shard"), or of the members of other shards ("dsort").
 *
 * Shape    {"bucket": source; shard: "prefix"; dsort: "names", "names_in", "template" or "prefix" (job_select.h) of archives;
 *           "to_bucket": default the source; "output": template, "out-{00000..99999}.tar"; "size": bytes of content a shard, "count": samples;
 *           "order": "none" | "alphanumeric" | "md5" | "shuffle" | "content", "decreasing": bool, "seed": number,
 *           "content_extension": ".cls", "content_type": "int" | "float" | "string";
 *           "sample_key": "full_name" | "base_name" | a regular expression whose match is the key;
 *           "extensions": [".jpg", ...], "missing_extension": "ignore" | "warn" | "abort" | "exclude";
 *           "key_map": key of an object in the source bucket (ekm), "key_map_separator": "\t", "key_map_missing": "abort" | "ignore" | "warn",
 *           "key_map_extension": ".tar", of the map's shards without one;
 *           "continue_on_error": bool, "dry_run": bool, "memory": bytes, "node"}
 * Owns     texts borrow from the spec.
 * Errors   ERR_INVALID_ARGUMENT with a sentence that names the member.
 * Thread   any; pure.
 */
#ifndef SLUICE_TARGET_DSORT_SPEC_H
#define SLUICE_TARGET_DSORT_SPEC_H

#include "archive/arc_format.h"
#include "base/doc.h"
#include "base/template.h"

enum dsort_order { DSORT_NONE, DSORT_ALPHANUMERIC, DSORT_MD5, DSORT_SHUFFLE, DSORT_CONTENT };
enum dsort_content { DSORT_STRING, DSORT_INT, DSORT_FLOAT };
enum dsort_key { DSORT_FULL_NAME, DSORT_BASE_NAME, DSORT_REGEX };
enum dsort_missing { DSORT_IGNORE, DSORT_WARN, DSORT_ABORT, DSORT_EXCLUDE };
enum { DSORT_EXTENSIONS_MAX = 32, DSORT_WHY_MAX = 256, DSORT_CONTENT_MAX = 4096 };
#define DSORT_SIZE_DEFAULT (UINT64_C(256) << 20)
#define DSORT_COUNT_MAX    UINT64_C(1000000)

struct dsort_spec {
    bool from_objects;
    struct str bucket, to_bucket, prefix, output;
    enum arc_format format; /* of the output */
    struct template names;
    uint64_t size, count, seed, memory;
    bool has_seed, decreasing, continue_on_error, dry_run;
    enum dsort_order order;
    enum dsort_content content;
    struct str content_extension;
    enum dsort_key key;
    struct str key_regex;
    struct str extensions[DSORT_EXTENSIONS_MAX];
    unsigned extension_count;
    enum dsort_missing missing, key_map_missing;
    struct str key_map, key_map_separator, key_map_extension;
};
MUST_USE enum err dsort_spec_read(struct arena *a, const struct doc *spec, bool from_objects, struct dsort_spec *out,
                                  char why[DSORT_WHY_MAX]);
/* The sample that a file of that name belongs to (not DSORT_REGEX). */
struct str dsort_sample_key(enum dsort_key how, struct str name);
/* What sorts a sample by its content: 8 bytes for numbers, the text itself. ERR_INVALID_ARGUMENT: no such number. `out` has at least
 * DSORT_CONTENT_MAX bytes. */
MUST_USE enum err dsort_content_key(enum dsort_content type, struct str text, char *out, size_t *n);
void dsort_put_be(char *out, uint64_t v);

#endif
