/* cors.h - which pages of other sites may read a bucket: its CORS rules, and what an answer says to a browser.
 *
 * Shape    rules in the order of the document; the first that fits an origin, a method and headers counts.
 * Owns     rules live with their document.
 * Thread   any.
 * Source   S3 API: PutBucketCors; S3 User Guide, "Using cross-origin resource sharing"; the Fetch standard, "CORS protocol".
 */
#ifndef SLUICE_S3API_CORS_H
#define SLUICE_S3API_CORS_H

#include "base/arena.h"

enum { CORS_RULES_MAX = 100, CORS_HEADERS_MAX = 8 };

struct cors_texts {
    struct str *items;
    size_t n;
};
struct cors_rule {
    struct cors_texts origins, methods, headers, exposed; /* origins and headers: one '*' stands for anything */
    uint32_t max_age_s;
    bool has_max_age;
};
struct cors {
    struct cors_rule *rules;
    size_t n;
};

/* Whether `text` is `pattern`, in which one '*' may stand for anything. */
bool cors_fits(struct str pattern, struct str text, bool nocase);
/* The first rule for these. `headers`: the value of Access-Control-Request-Headers, may be empty. NULL: none. */
const struct cors_rule *cors_find(const struct cors *c, struct str origin, struct str method, struct str headers);

struct s3_request;
/* Called when the bucket's name is known: puts what a browser must be told into the answer, whatever that will be. */
void cors_note(struct s3_request *r);

#endif
