/* backend_conf.h - the settings of a remote bucket, "backend" of a bucket's props.
 *
 * Shape    {"endpoint":"http://h:p","bucket":"b","region":"us-east-1","prefix":"","access_key":"..","secret_key":".."}, or in place of the
 *          keys "credentials":"env:SLUICE_BACKEND_NAME", a variable of the server's with the value "ACCESS:SECRET"; neither: requests
 *          are not signed.
 * Owns     strs live in the given arena.
 * Errors   ERR_INVALID_ARGUMENT with a sentence in `why`.
 * Thread   any.
 */
#ifndef SLUICE_STORE_BACKEND_CONF_H
#define SLUICE_STORE_BACKEND_CONF_H

#include "base/doc.h"
#include "base/json.h"
#include "store/s3_remote.h"

struct backend_conf {
    struct s3_remote remote;
    struct str prefix; /* before every key */
};
MUST_USE enum err backend_conf_parse(struct arena *arena, const struct doc *backend, struct backend_conf *out,
                                     char why[DOC_WHY_MAX]);
/* Of settings that somebody wants to make: whether "backend", if there is one, can be one. */
MUST_USE enum err backend_conf_check(struct arena *arena, const struct doc *props, char why[DOC_WHY_MAX]);
/* "backend" of the settings as it may be shown: without the secret. NULL when there is none. */
void backend_conf_show(struct buf *b, const struct doc *backend);

#endif
