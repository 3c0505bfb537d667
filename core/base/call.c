#include "call.h"

#include <assert.h>

#include "mem.h"

static void deliver(struct post *p)
{
    struct call *c = CONTAINER(p, struct call, post);

    c->state = CALL_IDLE;
    c->on_cancel = NULL;
    c->done(c);
}

void call_begin(struct call *c, struct loop *loop, void (*done)(struct call *))
{
    assert(c->state == CALL_IDLE);
    *c = (struct call){.loop = loop, .done = done, .state = CALL_PENDING};
    c->post.fn = deliver;
}

void call_finish(struct call *c, enum err e)
{
    c->err = e;
    if (loop_current() == c->loop) {
        assert(c->state == CALL_PENDING);
        c->state = CALL_FINISHED;
        c->on_cancel = NULL;
        loop_defer(c->loop, &c->post);
    } else {
        loop_post(c->loop, &c->post); /* the state stays the loop's own: see call_on_cancel() */
    }
}

void call_on_cancel(struct call *c, void (*fn)(void *), void *arg)
{
    if (c->cancelled) {
        fn(arg);
        return;
    }
    c->on_cancel = fn;
    c->on_cancel_arg = arg;
}

void call_cancel(struct call *c)
{
    if (c->state == CALL_IDLE || c->cancelled)
        return;
    c->cancelled = true;
    if (c->state == CALL_PENDING && c->on_cancel) {
        void (*fn)(void *) = c->on_cancel;
        c->on_cancel = NULL;
        fn(c->on_cancel_arg);
    }
}

static void group_end(struct call_group *g, enum err e)
{
    if (g->err == ERR_OK)
        g->err = e;
    if (--g->open == 0)
        call_finish(g->whole, g->err);
}

static void member_done(struct call *c)
{
    group_end(CONTAINER(c, struct group_call, call)->group, c->err);
}

void call_group_init(struct call_group *g, struct call *whole)
{
    *g = (struct call_group){.whole = whole, .open = 1};
}

struct call *group_call(struct call_group *g, struct group_call *member)
{
    member->call.state = CALL_IDLE;
    member->group = g;
    g->open++;
    call_begin(&member->call, g->whole->loop, member_done);
    return &member->call;
}

void call_group_seal(struct call_group *g)
{
    group_end(g, ERR_OK);
}
