#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <h2o/socket.h>

#include "mem.h"

_Static_assert(H2O_USE_LIBUV == 0, "libh2o's headers must be compiled for its own event loop (-DH2O_USE_LIBUV=0)");

enum {
    MAX_WAIT_MS = 1000,
    READING_NS = 4000000,
    DEFERRED_NS = 2000000,
    DEFERRED_LOOK = 4, /* most are short: the clock is looked at after that many */
    LOOP_NICE = -10,
    LOOP_SLICE_NS = 200000
};

struct loop {
    h2o_evloop_t *ev;
    struct post *deferred, **deferred_tail;
    struct timer **heap; /* by heap_ns, smallest first */
    uint32_t heap_n, heap_cap;
    uint64_t now_ns;
    uint64_t turn_began_ns;         /* 0 = no callback has run since the last wait */
    _Atomic uint64_t longest_ns;    /* any thread */
    _Atomic(struct post *) mailbox; /* newest first; any thread pushes, the loop takes all */
    atomic_bool stop;
    struct io *wake; /* eventfd */
};

struct io {
    h2o_socket_t *sock;
    struct loop *loop;
    void *owner;
    io_fn *read_cb, *write_cb;
    bool reading;       /* in the poll set for reading */
    bool write_pending; /* h2o holds our one-shot write notification */
    int fd;
};

static _Thread_local struct loop *current;

static uint64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct loop *loop_current(void)
{
    return current;
}

void loop_adopt(struct loop *l)
{
    current = l;
    l->now_ns = clock_ns();
}

uint64_t loop_now_ns(const struct loop *l)
{
    return l->now_ns;
}

/* ---- deferred work and the mailbox ---- */

void loop_defer(struct loop *l, struct post *p)
{
    p->next = NULL;
    *l->deferred_tail = p;
    l->deferred_tail = &p->next;
}

static void wake(struct loop *l)
{
    uint64_t one = 1;

    /* fails only when the counter is full, and then the loop wakes anyway */
    if (write(l->wake->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        abort();
}

void loop_post(struct loop *l, struct post *p)
{
    struct post *head = atomic_load_explicit(&l->mailbox, memory_order_relaxed);

    do
        p->next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->mailbox, &head, p, memory_order_release, memory_order_relaxed));
    if (head == NULL)
        wake(l);
}

static void mailbox_take(struct loop *l)
{
    struct post *p = atomic_exchange_explicit(&l->mailbox, NULL, memory_order_acquire), *in_order = NULL;

    while (p) {
        struct post *next = p->next;
        p->next = in_order;
        in_order = p;
        p = next;
    }
    while (in_order) {
        struct post *next = in_order->next;
        loop_defer(l, in_order);
        in_order = next;
    }
}

static void on_wake(struct io *io, void *owner)
{
    uint64_t count;

    /* only clears the counter; nothing to do when another turn did */
    if (read(io->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        abort();
    mailbox_take(owner);
}

/* Runs what was deferred, also by what runs here. A chain of uploads whose sockets always have more would go on for ever, so
 * after a while descriptors and timers get their turn. */
static void run_deferred(struct loop *l)
{
    uint64_t until = l->deferred ? clock_ns() + DEFERRED_NS : 0;
    unsigned ran = 0;

    while (l->deferred) {
        struct post *p = l->deferred;
        l->deferred = p->next;
        if (!l->deferred)
            l->deferred_tail = &l->deferred;
        p->fn(p);
        if (++ran % DEFERRED_LOOK == 0 && clock_ns() >= until)
            return;
    }
}

/* ---- timers: a binary heap; moving a timer later leaves it in place until it comes up ---- */

static void heap_put(struct loop *l, uint32_t at, struct timer *t)
{
    l->heap[at] = t;
    t->slot = at + 1;
}

static void heap_up(struct loop *l, uint32_t at)
{
    struct timer *t = l->heap[at];

    while (at > 0 && l->heap[(at - 1) / 2]->heap_ns > t->heap_ns) {
        heap_put(l, at, l->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(l, at, t);
}

static void heap_down(struct loop *l, uint32_t at)
{
    struct timer *t = l->heap[at];

    for (;;) {
        uint32_t kid = 2 * at + 1;
        if (kid >= l->heap_n)
            break;
        if (kid + 1 < l->heap_n && l->heap[kid + 1]->heap_ns < l->heap[kid]->heap_ns)
            kid++;
        if (l->heap[kid]->heap_ns >= t->heap_ns)
            break;
        heap_put(l, at, l->heap[kid]);
        at = kid;
    }
    heap_put(l, at, t);
}

static void heap_remove(struct loop *l, struct timer *t)
{
    uint32_t at = t->slot - 1;
    struct timer *last = l->heap[--l->heap_n];

    t->slot = 0;
    if (last == t)
        return;
    heap_put(l, at, last);
    heap_up(l, at);
    heap_down(l, last->slot - 1);
}

void timer_set(struct loop *l, struct timer *t, uint64_t after_ms)
{
    t->deadline_ns = l->now_ns + after_ms * 1000000u;
    if (t->slot && t->heap_ns <= t->deadline_ns)
        return;
    if (t->slot) {
        t->heap_ns = t->deadline_ns;
        heap_up(l, t->slot - 1);
        return;
    }
    if (l->heap_n == l->heap_cap) {
        l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
        l->heap = mem_realloc(l->heap, l->heap_cap * sizeof(*l->heap));
    }
    t->heap_ns = t->deadline_ns;
    heap_put(l, l->heap_n++, t);
    heap_up(l, l->heap_n - 1);
}

void timer_cancel(struct loop *l, struct timer *t)
{
    t->deadline_ns = 0;
    if (t->slot)
        heap_remove(l, t);
}

static void run_timers(struct loop *l)
{
    while (l->heap_n && l->heap[0]->heap_ns <= l->now_ns) {
        struct timer *t = l->heap[0];
        if (t->deadline_ns > l->now_ns) { /* was moved later */
            t->heap_ns = t->deadline_ns;
            heap_down(l, 0);
            continue;
        }
        heap_remove(l, t);
        t->deadline_ns = 0;
        t->fn(t);
    }
}

static int wait_ms(const struct loop *l, int max_ms)
{
    if (l->deferred)
        return 0;
    if (l->heap_n) {
        uint64_t at = l->heap[0]->heap_ns;
        uint64_t ms = at > l->now_ns ? (at - l->now_ns + 999999u) / 1000000u : 0;
        if (ms < (uint64_t)max_ms)
            return (int)ms;
    }
    return max_ms;
}

/* ---- descriptors ---- */

static void turn_begins(struct loop *l)
{
    if (l->turn_began_ns == 0)
        l->turn_began_ns = l->now_ns = clock_ns();
}

static void on_readable(h2o_socket_t *sock, const char *err)
{
    struct io *io = sock->data;

    (void)err; /* the reader finds out what is wrong */
    turn_begins(io->loop);
    if (io->read_cb) {
        /* many sockets with much to read: the rest is still readable in the next turn */
        if (clock_ns() - io->loop->turn_began_ns < READING_NS)
            io->read_cb(io, io->owner);
        return;
    }
    io->reading = false;
    h2o_socket_read_stop(sock);
}

static void on_writable(h2o_socket_t *sock, const char *err)
{
    struct io *io = sock->data;
    io_fn *cb = io->write_cb;

    (void)err;
    turn_begins(io->loop);
    io->write_pending = false;
    io->write_cb = NULL;
    if (cb)
        cb(io, io->owner);
}

struct io *io_open(struct loop *l, int fd, void *owner)
{
    struct io *io = NEW(struct io);

    io->loop = l;
    io->fd = fd;
    io->owner = owner;
    io->sock = h2o_evloop_socket_create(l->ev, fd, H2O_SOCKET_FLAG_DONT_READ);
    io->sock->data = io;
    return io;
}

void io_close(struct io *io)
{
    h2o_socket_close(io->sock);
    free(io);
}

int io_fd(const struct io *io)
{
    return io->fd;
}

void io_want_read(struct io *io, io_fn *cb)
{
    io->read_cb = cb;
    if (!io->reading) {
        io->reading = true;
        h2o_socket_read_start(io->sock, on_readable);
    }
}

void io_stop_read(struct io *io)
{
    io->read_cb = NULL;
}

void io_want_write(struct io *io, io_fn *cb)
{
    io->write_cb = cb;
    if (!io->write_pending) {
        io->write_pending = true;
        h2o_socket_notify_write(io->sock, on_writable);
    }
}

void io_stop_write(struct io *io)
{
    io->write_cb = NULL;
}

/* ---- life ---- */

struct loop *loop_new(void)
{
    struct loop *l = NEW(struct loop);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0) {
        perror("sluice: eventfd");
        abort();
    }
    l->ev = h2o_evloop_create();
    l->deferred_tail = &l->deferred;
    l->now_ns = clock_ns();
    l->wake = io_open(l, fd, l);
    io_want_read(l->wake, on_wake);
    return l;
}

void loop_free(struct loop *l)
{
    io_close(l->wake);
    /* closed sockets are freed by the next run */
    while (h2o_evloop_run(l->ev, 0) != 0 && errno == EINTR)
        ;
    h2o_evloop_destroy(l->ev);
    if (current == l)
        current = NULL;
    free(l->heap);
    free(l);
}

static void note_turn(struct loop *l)
{
    uint64_t took = l->turn_began_ns ? clock_ns() - l->turn_began_ns : 0;

    l->turn_began_ns = 0;
    if (took > atomic_load_explicit(&l->longest_ns, memory_order_relaxed))
        atomic_store_explicit(&l->longest_ns, took, memory_order_relaxed);
}

void loop_turn(struct loop *l, int max_wait_ms)
{
    note_turn(l);
    if (h2o_evloop_run(l->ev, wait_ms(l, max_wait_ms)) != 0 && errno != EINTR) {
        perror("sluice: event loop"); /* a registered fd was closed elsewhere: see the header */
        abort();
    }
    turn_begins(l);
    l->now_ns = clock_ns();
    run_timers(l);
    run_deferred(l);
}

/* What sched_setattr(2) takes, which glibc has no name for. */
struct sched_attr_v0 {
    uint32_t size, sched_policy;
    uint64_t sched_flags;
    int32_t sched_nice;
    uint32_t sched_priority;
    uint64_t sched_runtime, sched_deadline, sched_period;
};
_Static_assert(sizeof(struct sched_attr_v0) == 48, "SCHED_ATTR_SIZE_VER0");

/* Requests wait for this thread, the pools' hashing can wait for them: a larger share, for which a privilege is needed, and a short
 * slice, with which the thread gets a core soon after it wakes up (Linux 6.12, earlier ones take no notice). Where the kernel won't, it
 * shares evenly. */
static void ask_for_priority(void)
{
    struct sched_attr_v0 attr = {
        .size = sizeof(attr), .sched_policy = SCHED_OTHER, .sched_nice = LOOP_NICE, .sched_runtime = LOOP_SLICE_NS};

    if (syscall(SYS_sched_setattr, 0, &attr, 0) == 0)
        return;
    attr.sched_nice = 0;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

void loop_run(struct loop *l)
{
    loop_adopt(l);
    ask_for_priority();
    while (!atomic_load_explicit(&l->stop, memory_order_acquire))
        loop_turn(l, MAX_WAIT_MS);
}

void loop_stop(struct loop *l)
{
    atomic_store_explicit(&l->stop, true, memory_order_release);
    wake(l);
}

uint64_t loop_longest_turn_ns(struct loop *l, bool reset)
{
    return reset ? atomic_exchange(&l->longest_ns, 0) : atomic_load(&l->longest_ns);
}
