/* website.h - buckets as websites: what their documents say, and the answers to requests for BUCKET.<website domain>.
 *
 * Shape    website_read() makes of the document what requests look at; website_begin is the first step of a request whose host names a bucket
 *          below a website domain. Such requests are nobody's: what they carry as signature or query counts for nothing.
 * Owns     what is read lives in the arena it was read into.
 * Errors   become pages of HTML.
 * Source   S3 User Guide, "Hosting a static website using Amazon S3"; S3 API reference, PutBucketWebsite
 */
#ifndef SLUICE_S3API_WEBSITE_H
#define SLUICE_S3API_WEBSITE_H

#include "base/op.h"
#include "s3api/settings.h"

enum { WEBSITE_RULES_MAX = 50, WEBSITE_DOCUMENT_MAX = 128 << 10 };

/* Empty strs: not said. */
struct website_redirect {
    struct str protocol, host;
    bool has_prefix, has_key; /* each may be said and empty */
    struct str prefix, key;   /* instead of the prefix that fitted; instead of the key */
    int status;
};
struct website_rule {
    struct str prefix;
    int error; /* 0: before anything is looked for */
    struct website_redirect to;
};
struct website {
    bool redirects_all;
    struct website_redirect all;
    struct str index, error; /* "index.html"; key of the error page, or empty */
    struct website_rule *rules;
    size_t rule_count;
};

enum err website_read(struct setting_read *s);
/* The rule for a key, and a status of an error or 0; NULL: none. */
const struct website_rule *website_rule(const struct website *w, struct str key, int error);
/* Where it leads. `host` and `secure` are those of the request. */
struct str website_location(struct arena *a, const struct website_redirect *to, struct str rule_prefix, struct str key,
                            struct str host, bool secure);
/* A page that tells of an error. */
struct str website_page(struct arena *a, int status, struct str code, struct str message, struct str id);

step_fn website_begin;

#endif
