#include "conn.h"

static uint64_t now(const struct conn *c)
{
    return loop_now_ns(c->loop);
}

bool conn_turn_left(struct conn *c)
{
    if (c->turn_ns != now(c)) {
        c->turn_ns = now(c);
        c->turn_bytes = 0;
    }
    return c->turn_bytes < CONN_TURN_MAX;
}

void conn_turn_take(struct conn *c, size_t n)
{
    c->turn_bytes += n;
}

void conn_yield(struct conn *c)
{
    /* by way of the poll set, for deferred work runs before other descriptors are looked at */
    io_want_write(c->io, conn_on_writable);
}

void conn_clock_start(struct conn *c, uint64_t bytes)
{
    c->mark_ns = now(c);
    c->mark_bytes = bytes;
    c->pause_ns = 0;
}

void conn_clock_pause(struct conn *c)
{
    if (c->pause_ns == 0)
        c->pause_ns = now(c);
}

void conn_clock_resume(struct conn *c)
{
    if (c->pause_ns != 0)
        c->mark_ns += now(c) - c->pause_ns;
    c->pause_ns = 0;
}

static uint64_t ms_left(struct conn *c, uint32_t timeout_ms, uint64_t bytes)
{
    if (bytes >= c->mark_bytes + CONN_PROGRESS_MIN)
        conn_clock_start(c, bytes);
    uint64_t end = c->mark_ns + (uint64_t)timeout_ms * 1000000u;
    return end > now(c) ? (end - now(c) + 999999u) / 1000000u : 0;
}

void conn_wait(struct conn *c, uint32_t timeout_ms, uint64_t bytes)
{
    timer_set(c->loop, &c->timer, ms_left(c, timeout_ms, bytes));
}

bool conn_wait_over(struct conn *c, uint32_t timeout_ms, uint64_t bytes)
{
    uint64_t left = ms_left(c, timeout_ms, bytes);

    if (left)
        timer_set(c->loop, &c->timer, left);
    return left == 0;
}
