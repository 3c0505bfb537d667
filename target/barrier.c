#include "barrier.h"

#include <stdlib.h>

#include "base/mem.h"

enum { LOOK_AGAIN_MS = 10 };

unsigned barrier_let_in(struct barrier *b)
{
    for (;;) {
        unsigned turn = atomic_load(&b->turn);
        atomic_fetch_add(&b->let[turn], 1);
        if (atomic_load(&b->turn) == turn)
            return turn;
        atomic_fetch_sub(&b->let[turn], 1); /* the barrier may have seen the counter before: go with the others */
    }
}

void barrier_let_out(struct barrier *b, unsigned turn)
{
    atomic_fetch_sub(&b->let[turn], 1);
}

struct quiet {
    struct timer timer;
    struct barrier *barrier;
    struct loop *loop;
    struct call *call;
    unsigned before; /* whose writes are waited for */
    bool turned;
};

static void quiet_end(struct quiet *q, enum err e)
{
    call_finish(q->call, e);
    free(q);
}

static void quiet_look(struct timer *t)
{
    struct quiet *q = CONTAINER(t, struct quiet, timer);
    struct barrier *b = q->barrier;
    unsigned now = atomic_load(&b->turn);

    /* a barrier that was given up may have left writes behind in the counter that comes next */
    if (!q->turned && atomic_load(&b->let[!now]) == 0) {
        q->turned = true;
        q->before = now;
        atomic_store(&b->turn, !now);
    }
    if (q->turned && atomic_load(&b->let[q->before]) == 0)
        quiet_end(q, ERR_OK);
    else
        timer_set(q->loop, &q->timer, LOOK_AGAIN_MS);
}

static void quiet_cancel(void *arg)
{
    struct quiet *q = arg;

    timer_cancel(q->loop, &q->timer);
    quiet_end(q, ERR_CANCELLED);
}

void barrier_wait(struct barrier *b, struct call *call)
{
    struct quiet *q = NEW(struct quiet);

    *q = (struct quiet){.timer.fn = quiet_look, .barrier = b, .loop = call->loop, .call = call};
    call_on_cancel(call, quiet_cancel, q);
    timer_set(q->loop, &q->timer, 0);
}
