#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "process_own.h"

enum {
    EVENTS_MAX = 64,
    READ_MAX = 64 << 10, /* of one log before the others have their turn: what a pipe holds */
};

/* Whatever is in the pipe; guarded by the lock. */
static void drain(struct process_log *log)
{
    size_t left = READ_MAX;

    while (left && !log->ended) {
        size_t at = log->written % ETL_LOG_MAX;
        size_t room = ETL_LOG_MAX - at < left ? ETL_LOG_MAX - at : left;
        ssize_t n = read(log->fd, log->ring + at, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            log->ended = true;
            return;
        }
        log->written += (uint64_t)n;
        left -= (size_t)n;
    }
}

static void on_event(struct process_logs *l, uint64_t id)
{
    pthread_mutex_lock(&l->lock);
    struct process_log *log = l->locked.first;
    while (log && log->id != id)
        log = log->next;
    if (log) {
        drain(log);
        if (log->ended)
            (void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, log->fd, NULL);
    }
    pthread_mutex_unlock(&l->lock);
}

static void *thread(void *arg)
{
    struct process_logs *l = arg;
    struct epoll_event events[EVENTS_MAX];

    for (;;) {
        int n = epoll_wait(l->epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == 0)
                return NULL;
            on_event(l, events[i].data.u64);
        }
    }
}

enum err process_logs_open(struct process_logs *l)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 0};

    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&l->lock, NULL);
    if (l->epoll >= 0 && l->stop >= 0 && epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->stop, &ev) == 0 &&
        pthread_create(&l->thread, NULL, thread, l) == 0)
        return ERR_OK;
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->stop >= 0)
        close(l->stop);
    pthread_mutex_destroy(&l->lock);
    return ERR_BUSY;
}

void process_logs_close(struct process_logs *l)
{
    uint64_t one = 1;

    assert(!l->locked.first);
    (void)!write(l->stop, &one, sizeof(one));
    pthread_join(l->thread, NULL);
    close(l->epoll);
    close(l->stop);
    pthread_mutex_destroy(&l->lock);
}

struct process_log *process_log_new(struct process_logs *l, int fd)
{
    struct process_log *log = NEW(struct process_log);
    struct epoll_event ev = {.events = EPOLLIN};

    log->fd = fd;
    log->ring = mem_alloc(ETL_LOG_MAX);
    pthread_mutex_lock(&l->lock);
    log->id = ev.data.u64 = ++l->locked.last_id;
    log->next = l->locked.first;
    l->locked.first = log;
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        log_error(STR_NONE, "etl log not read", "errno=%d", errno);
    pthread_mutex_unlock(&l->lock);
    return log;
}

void process_log_free(struct process_logs *l, struct process_log *log)
{
    pthread_mutex_lock(&l->lock);
    struct process_log **at = &l->locked.first;
    while (*at != log)
        at = &(*at)->next;
    *at = log->next;
    if (!log->ended)
        (void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, log->fd, NULL);
    pthread_mutex_unlock(&l->lock);
    close(log->fd);
    free(log->ring);
    free(log);
}

void process_log_read(struct process_logs *l, struct process_log *log, struct buf *out)
{
    pthread_mutex_lock(&l->lock);
    drain(log); /* who asks after its end sees its last words */
    uint64_t from = log->written > ETL_LOG_MAX ? log->written - ETL_LOG_MAX : 0;
    size_t at = from % ETL_LOG_MAX, n = (size_t)(log->written - from);
    size_t first = n < ETL_LOG_MAX - at ? n : ETL_LOG_MAX - at;
    buf_add(out, log->ring + at, first);
    buf_add(out, log->ring, n - first);
    pthread_mutex_unlock(&l->lock);
}
