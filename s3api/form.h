/* form.h - multipart/form-data as browsers send it: fields, then one file, whose bytes are streamed.
 *
 * Shape    form_read() is asked again with more bytes until it has seen the beginning of the file; form_file() is a source of what is
 *          between there and the delimiter that ends it. What follows is not looked at (S3 API: "fields after it are ignored").
 * Owns     texts borrow from the bytes or live in the arena; form_file() owns a copy of what was read too far, not `body`.
 * Errors   ERR_AGAIN: more bytes, please; ERR_MALFORMED_POST; ERR_POST_FIELDS: too many bytes before the file;
 *          ERR_INVALID_ARGUMENT: there is no file. The file's source: ERR_MALFORMED_POST without its end, ERR_ENTITY_TOO_SMALL.
 * Thread   form_read() any; the source: the loop's.
 * Source   RFC 7578, RFC 2046 section 5.1; S3 API: POST Object.
 */
#ifndef SLUICE_S3API_FORM_H
#define SLUICE_S3API_FORM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/source.h"

enum {
    FORM_HEAD_MAX = 64 << 10,   /* bytes before the file, delimiters and all */
    FORM_VALUES_MAX = 20 << 10, /* names and values of the fields, as S3 says */
    FORM_FIELDS_MAX = 128,
    FORM_BOUNDARY_MAX = 70
};

struct form_field {
    struct str name; /* lower case */
    struct str value;
};
struct form {
    struct form_field fields[FORM_FIELDS_MAX];
    size_t count;
    struct str filename; /* of the file, without folders; may be empty */
    size_t file_at;      /* where its first byte is */
};

/* Of a Content-Type; false: it is no multipart/form-data, or has no usable boundary. */
MUST_USE bool form_boundary(struct str content_type, struct str *out);
/* `bytes`: the body from its first byte. */
MUST_USE enum err form_read(struct str bytes, struct str boundary, struct arena *a, struct form *out);
/* Value of the first field of that (lower-case) name, p == NULL without. */
struct str form_get(const struct form *f, struct str name);

/* The file: `begun` is what was read of it, `body` what comes then. Fewer than `min` bytes are an error. */
struct source *form_file(struct loop *loop, struct str boundary, struct str begun, struct source *body, uint64_t min);

#endif
