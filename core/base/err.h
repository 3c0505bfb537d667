/* err.h - the one list of errors of the whole product.
 *
 * Shape    fallible functions return enum err; ERR_OK is 0; out-parameters are untouched on error.
 * Errors   logged where they are born, turned into a response in one place (s3api/reply.c).
 * Source   err.def
 */
#ifndef SLUICE_BASE_ERR_H
#define SLUICE_BASE_ERR_H

#define MUST_USE __attribute__((warn_unused_result))

enum err {
#define ERR(name, status, code, text) ERR_##name,
#include "err.def"
#undef ERR
    ERR__COUNT
};

/* The name as in err.def, for logs ("NO_SUCH_KEY"). Static. */
const char *err_name(enum err e);
/* HTTP status to answer with. */
int err_status(enum err e);
/* S3 error code, e.g. "NoSuchKey". Static. */
const char *err_code(enum err e);
/* Text for a person. Static. */
const char *err_text(enum err e);
/* The error that stands for an errno of a file operation: ENOSPC, EDQUOT -> ERR_NO_SPACE; ENOENT -> ERR_NOT_FOUND;
 * EMFILE, ENFILE, ENOMEM -> ERR_BUSY; everything else ERR_IO. */
enum err err_from_errno(int errnum);

#endif
