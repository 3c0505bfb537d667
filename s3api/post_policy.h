/* post_policy.h - what a signed form may upload: the policy document of a POST.
 *
 * Shape    pure: the document, the form's fields as they are used, the time.
 * Owns     nothing that outlives the arena.
 * Errors   ERR_POST_POLICY: it is no such document; ERR_ACCESS_DENIED: it is, and this form is not what it allows. `why` says more.
 * Thread   any.
 * Source   S3 API: "POST policy"; "Creating an HTML form (using AWS Signature Version 4)".
 */
#ifndef SLUICE_S3API_POST_POLICY_H
#define SLUICE_S3API_POST_POLICY_H

#include "s3api/form.h"

enum { POST_WHY_MAX = 512 };

struct post_limits {
    uint64_t min, max; /* bytes of the file; max UINT64_MAX: nothing said */
};

/* `json`: decoded. Every condition must hold, and every field but the signature's own, `file` and "x-ignore-*" needs one. */
MUST_USE enum err post_policy_check(struct arena *a, struct str json, const struct form *form, struct str bucket,
                                    int64_t now_s, struct post_limits *out, char why[POST_WHY_MAX]);

#endif
