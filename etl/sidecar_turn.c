/* Who waits for a sidecar: until it is ready, and for a turn. Turns are given in the order they were asked for: who asks for several (an ETL more
 * than once in a row) gets them together, and keeps those behind him waiting until then. */
#include "base/log.h"
#include "etl/etls_own.h"
#include "etl/sidecar.h"

/* ---- turns ---- */

/* With the lock. */
static void turn_drop(struct etl_turn *t)
{
    struct sidecar *s = t->sidecar;

    *(t->prev ? &t->prev->next : &s->locked.first) = t->next;
    *(t->next ? &t->next->prev : &s->locked.last) = t->prev;
    t->queued = false;
    s->locked.waiting--;
}

/* With the lock. */
static void give_turns(struct sidecar *s)
{
    struct etl_turn *t;

    while ((t = s->locked.first) != NULL && s->locked.inflight + t->count <= ETL_INFLIGHT) {
        turn_drop(t);
        s->locked.inflight += t->count;
        t->granted = true;
        call_finish(t->call, ERR_OK);
    }
}

static void turn_cancel(void *arg)
{
    struct etl_turn *t = arg;
    struct sidecar *s = t->sidecar;
    bool was;

    pthread_mutex_lock(&s->engine->lock);
    was = t->queued;
    if (was) {
        turn_drop(t);
        give_turns(s); /* it may have been in the way of those behind it */
    }
    pthread_mutex_unlock(&s->engine->lock);
    if (was)
        call_finish(t->call, ERR_CANCELLED);
}

void sidecar_turn(struct sidecar *s, struct etl_turn *t, unsigned count, struct call *call)
{
    enum err e = ERR_OK;

    *t = (struct etl_turn){.sidecar = s, .count = count, .call = call};
    pthread_mutex_lock(&s->engine->lock);
    if (s->locked.state == SIDECAR_STOPPING) {
        e = ERR_UNAVAILABLE;
    } else if (!s->locked.first && s->locked.inflight + count <= ETL_INFLIGHT) {
        s->locked.inflight += count;
        t->granted = true;
    } else if (s->locked.waiting >= ETL_WAITING_MAX) {
        e = ERR_BUSY;
    } else {
        t->prev = s->locked.last;
        *(t->prev ? &t->prev->next : &s->locked.first) = t;
        s->locked.last = t;
        s->locked.waiting++;
        t->queued = true;
    }
    bool waits = t->queued;
    pthread_mutex_unlock(&s->engine->lock);
    if (waits)
        call_on_cancel(call, turn_cancel, t);
    else
        call_finish(call, e);
}

void sidecar_turn_end(struct etl_turn *t)
{
    struct sidecar *s = t->sidecar;

    if (!t->granted)
        return;
    t->granted = false;
    pthread_mutex_lock(&s->engine->lock);
    s->locked.inflight -= t->count;
    give_turns(s);
    pthread_mutex_unlock(&s->engine->lock);
}

/* ---- ready ---- */

/* With the lock. */
static bool ready_drop(struct etl_ready *r)
{
    struct etl_ready **at = &r->sidecar->locked.ready;

    if (!r->queued)
        return false;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->queued = false;
    return true;
}

static void ready_end(struct etl_ready *r, enum err e)
{
    struct etls *engine = r->sidecar->engine;
    bool was;

    pthread_mutex_lock(&engine->lock);
    was = ready_drop(r);
    pthread_mutex_unlock(&engine->lock);
    if (was)
        call_finish(r->call, e);
}

static void ready_late(struct timer *t)
{
    ready_end(CONTAINER(t, struct etl_ready, timer), ERR_UNAVAILABLE);
}

static void ready_cancel(void *arg)
{
    ready_end(arg, ERR_CANCELLED);
}

static enum err verdict(enum sidecar_state state)
{
    return state == SIDECAR_READY ? ERR_OK : state == SIDECAR_STARTING ? ERR_AGAIN : ERR_UNAVAILABLE;
}

void sidecar_await(struct sidecar *s, struct etl_ready *r, uint64_t ms, struct call *call)
{
    enum err e;

    *r = (struct etl_ready){.sidecar = s, .call = call, .timer.fn = ready_late};
    timer_set(call->loop, &r->timer, ms);
    pthread_mutex_lock(&s->engine->lock);
    e = verdict(s->locked.state);
    if (e == ERR_AGAIN) {
        r->next = s->locked.ready;
        s->locked.ready = r;
        r->queued = true;
    }
    pthread_mutex_unlock(&s->engine->lock);
    if (e == ERR_AGAIN)
        call_on_cancel(call, ready_cancel, r);
    else
        call_finish(call, e);
}

void sidecar_await_end(struct etl_ready *r)
{
    if (r->call)
        timer_cancel(r->call->loop, &r->timer);
}

void sidecar_id(struct sidecar *s, char id[SIDECAR_ID_MAX])
{
    pthread_mutex_lock(&s->engine->lock);
    memcpy(id, s->locked.id, SIDECAR_ID_MAX);
    pthread_mutex_unlock(&s->engine->lock);
}

void sidecar_wake(struct sidecar *s)
{
    enum err e = verdict(s->locked.state);

    while (e != ERR_AGAIN && s->locked.ready) {
        struct etl_ready *r = s->locked.ready;
        s->locked.ready = r->next;
        r->queued = false;
        call_finish(r->call, e);
    }
    while (s->locked.state == SIDECAR_STOPPING && s->locked.first) {
        struct etl_turn *t = s->locked.first;
        turn_drop(t);
        call_finish(t->call, ERR_UNAVAILABLE);
    }
}
