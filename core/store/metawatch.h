/* metawatch.h - who watches a meta store, for its implementations.
 *
 * Shape    a list of prefixes with callbacks. The store adds and tells under the lock that orders its writes.
 * Thread   the store's lock guards it.
 */
#ifndef SLUICE_STORE_METAWATCH_H
#define SLUICE_STORE_METAWATCH_H

#include "store/meta.h"

struct metawatch;
/* `prefix` is copied. */
void metawatch_add(struct metawatch **list, struct str prefix, meta_watch_fn *fn, void *arg);
void metawatch_tell(const struct metawatch *list, struct str key, struct str value, uint64_t revision, bool removed);
void metawatch_free(struct metawatch *list);

/* What every store refuses: ERR_INVALID_ARGUMENT, ERR_TOO_LARGE. Keys that begin with a zero byte are the stores' own.
 */
MUST_USE enum err meta_check_key(struct str key);
MUST_USE enum err meta_check_put(const struct meta_put_req *req);

#endif
