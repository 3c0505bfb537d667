#include "s3api/heard.h"

enum { OTHERS_HEAR_MS = 1000 };

static void on_timer(struct timer *t)
{
    call_finish(CONTAINER(t, struct heard, timer)->call, ERR_OK);
}

enum step_next heard_then(struct s3_request *r, struct heard *h, step_fn *next)
{
    if (!buckets_shared(r->env->buckets))
        return op_go(&r->op, next);
    h->call = op_call(&r->op, next);
    h->timer.fn = on_timer;
    timer_set(r->op.loop, &h->timer, OTHERS_HEAR_MS);
    return STEP_WAIT;
}
