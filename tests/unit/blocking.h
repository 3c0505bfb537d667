/* blocking.h - an asynchronous call that a test waits for.
 *
 * Shape    CALL(f, start): `start` is the expression that begins the work with the call `c`; the value is the call's error.
 * Thread   that of f->loop, which is turned.
 */
#ifndef SLUICE_TESTS_BLOCKING_H
#define SLUICE_TESTS_BLOCKING_H

#include "base/call.h"
#include "base/loop.h"

static inline void blocking_done(struct call *c)
{
    (void)c;
}

#define CALL(f, start)                                                                                                 \
    ({                                                                                                                 \
        struct call call_ = {0}, *c = &call_;                                                                          \
        call_begin(c, (f)->loop, blocking_done);                                                                       \
        start;                                                                                                         \
        while (call_is_pending(c))                                                                                     \
            loop_turn((f)->loop, 100);                                                                                 \
        c->err;                                                                                                        \
    })

#endif
