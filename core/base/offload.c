#include "offload.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem.h"

struct offload {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct { /* guarded by lock */
        struct offload_task *head, **tail;
        size_t queued, running, idle;
        bool waking; /* a thread was signalled and has not looked yet */
        bool stop;
    } locked;
    atomic_bool crowded; /* locked.queued > 0, for those who only glance */
    size_t queue_max;
    const char *name;
    unsigned thread_count;
    pthread_t threads[];
};

/* One thread wakes up at a time and wakes the next when there is more: of many short tasks posted at once the first thread does most,
 * and whoever posts them pays for one wake-up. Call with the lock held. */
static void wake_one(struct offload *o)
{
    if (!o->locked.head || o->locked.idle == 0 || o->locked.waking)
        return;
    o->locked.waking = true;
    pthread_cond_signal(&o->wake);
}

static struct offload_task *take(struct offload *o)
{
    struct offload_task *t;

    pthread_mutex_lock(&o->lock);
    while (!o->locked.head && !o->locked.stop) {
        o->locked.idle++;
        pthread_cond_wait(&o->wake, &o->lock);
        o->locked.idle--;
        o->locked.waking = false;
    }
    t = o->locked.head;
    if (t) {
        o->locked.head = t->next;
        if (!o->locked.head)
            o->locked.tail = &o->locked.head;
        o->locked.queued--;
        atomic_store_explicit(&o->crowded, o->locked.queued > 0, memory_order_relaxed);
        o->locked.running++;
        wake_one(o);
    }
    pthread_mutex_unlock(&o->lock);
    return t;
}

static void *worker(void *arg)
{
    const struct sched_param batch = {0};
    struct offload *o = arg;
    struct offload_task *t;

    /* A loop that wakes up goes before the pool's work; where the kernel won't, everything works all the same. */
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &batch);
    while ((t = take(o)) != NULL) {
        struct call *call = t->call;
        enum err e = t->run(t);
        pthread_mutex_lock(&o->lock);
        o->locked.running--;
        pthread_mutex_unlock(&o->lock);
        call_finish(call, e); /* the task may be gone from here on */
    }
    return NULL;
}

struct offload *offload_new(const char *name, unsigned threads, size_t queue_max)
{
    struct offload *o = mem_new(sizeof(*o) + threads * sizeof(pthread_t));
    sigset_t all, old;

    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->wake, NULL);
    o->name = name;
    o->queue_max = queue_max;
    o->locked.tail = &o->locked.head;
    /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < threads; i++) {
        char title[16];
        if (pthread_create(&o->threads[i], NULL, worker, o) != 0) {
            perror("sluice: pthread_create");
            abort();
        }
        snprintf(title, sizeof(title), "%.10s-%u", name, i % 1000);
        pthread_setname_np(o->threads[i], title);
        o->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return o;
}

void offload_free(struct offload *o)
{
    pthread_mutex_lock(&o->lock);
    o->locked.stop = true;
    pthread_cond_broadcast(&o->wake);
    pthread_mutex_unlock(&o->lock);
    for (unsigned i = 0; i < o->thread_count; i++)
        pthread_join(o->threads[i], NULL);
    pthread_cond_destroy(&o->wake);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

void offload_run(struct offload *o, struct offload_task *t, enum err (*run)(struct offload_task *), struct call *call)
{
    bool full;

    t->run = run;
    t->call = call;
    t->next = NULL;
    pthread_mutex_lock(&o->lock);
    full = o->locked.queued >= o->queue_max;
    if (!full) {
        *o->locked.tail = t;
        o->locked.tail = &t->next;
        o->locked.queued++;
        atomic_store_explicit(&o->crowded, true, memory_order_relaxed);
        wake_one(o);
    }
    pthread_mutex_unlock(&o->lock);
    if (full)
        call_finish(call, ERR_BUSY);
}

bool offload_crowded(const struct offload *o)
{
    return atomic_load_explicit(&o->crowded, memory_order_relaxed);
}

size_t offload_depth(struct offload *o)
{
    pthread_mutex_lock(&o->lock);
    size_t n = o->locked.queued + o->locked.running;
    pthread_mutex_unlock(&o->lock);
    return n;
}
