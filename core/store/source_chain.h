/* source_chain.h - several sources as one.
 *
 * Shape    a source that opens its parts one after the other.
 * Owns     the parts that were opened, until they have ended or it is closed.
 * Errors   those of the parts; ERR_INCOMPLETE_BODY when they end early.
 * Thread   the loop's.
 */
#ifndef SLUICE_STORE_SOURCE_CHAIN_H
#define SLUICE_STORE_SOURCE_CHAIN_H

#include "base/loop.h"
#include "base/source.h"

/* One after the other, `size` bytes in all. The next one is made when the last has ended, by `open(arg, i, &source, call)`; so that
 * connections are not held for later pieces. `close(arg)` at the end. Spans are passed through. Fails with ERR_INCOMPLETE_BODY when
 * they end early; what is beyond `size` is left out. */
struct chain_ops {
    void (*open)(void *arg, size_t i, struct source **out, struct call *call);
    void (*close)(void *arg);
};
struct source *source_chain(struct loop *loop, uint64_t size, size_t count, const struct chain_ops *ops, void *arg);

#endif
