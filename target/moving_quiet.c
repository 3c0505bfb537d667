#include <stdlib.h>

#include "target/moving_own.h"

/* Two counters take turns: a barrier lets new writes count with the other one and waits for the first to be empty. */

enum { LOOK_AGAIN_MS = 10 };

unsigned moving_let_in(struct moving *m)
{
    for (;;) {
        unsigned turn = atomic_load(&m->turn);
        atomic_fetch_add(&m->let[turn], 1);
        if (atomic_load(&m->turn) == turn)
            return turn;
        atomic_fetch_sub(&m->let[turn], 1); /* the barrier may have seen the counter before: go with the others */
    }
}

void moving_let_out(struct moving *m, unsigned turn)
{
    atomic_fetch_sub(&m->let[turn], 1);
}

struct quiet {
    struct timer timer;
    struct moving *moving;
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
    struct moving *m = q->moving;
    unsigned now = atomic_load(&m->turn);

    /* a barrier that was given up may have left writes behind in the counter that comes next */
    if (!q->turned && atomic_load(&m->let[!now]) == 0) {
        q->turned = true;
        q->before = now;
        atomic_store(&m->turn, !now);
    }
    if (q->turned && atomic_load(&m->let[q->before]) == 0)
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

void moving_quiet(struct store *moving, struct call *call)
{
    struct quiet *q = NEW(struct quiet);

    *q = (struct quiet){.timer.fn = quiet_look, .moving = MOVING(moving)->moving, .loop = call->loop, .call = call};
    call_on_cancel(call, quiet_cancel, q);
    timer_set(q->loop, &q->timer, 0);
}
