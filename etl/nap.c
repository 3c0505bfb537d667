#include "nap.h"

#include "base/mem.h"

static void end(struct etl_nap *n, enum err e)
{
    struct call *call = n->call;

    if (!call)
        return;
    n->call = NULL;
    timer_cancel(call->loop, &n->timer);
    call_finish(call, e);
}

static void on_time(struct timer *t)
{
    end(CONTAINER(t, struct etl_nap, timer), ERR_OK);
}

static void on_cancel(void *arg)
{
    end(arg, ERR_CANCELLED);
}

void etl_nap(struct etl_nap *n, uint64_t ms, struct call *call)
{
    n->call = call;
    n->timer.fn = on_time;
    timer_set(call->loop, &n->timer, ms);
    call_on_cancel(call, on_cancel, n);
}

void etl_nap_wake(struct etl_nap *n)
{
    end(n, ERR_OK);
}
