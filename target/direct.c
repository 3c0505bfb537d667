#include "target/direct.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "target/segment_footer.h"

static pthread_key_t context_key;

static void context_end(void *context)
{
    io_destroy(context);
}

static void key_make(void)
{
    if (pthread_key_create(&context_key, context_end) != 0)
        abort();
}

/* The calling thread's; NULL when the kernel has none to give (fs.aio-max-nr) or no such calls. */
static io_context_t context(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    io_context_t c;

    pthread_once(&once, key_make);
    c = pthread_getspecific(context_key);
    if (!c && io_setup(DIRECT_DEPTH, &c) == 0 && pthread_setspecific(context_key, c) != 0) {
        io_destroy(c);
        c = NULL;
    }
    return c;
}

bool direct_set(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

bool direct_works(int fd)
{
    char *page = mem_aligned(DIRECT_ALIGN, DIRECT_ALIGN);
    bool works;

    memset(page, 0, DIRECT_ALIGN);
    works = direct_set(fd, true) && pwrite(fd, page, DIRECT_ALIGN, 0) == DIRECT_ALIGN;
    free(page);
    return direct_set(fd, false) && ftruncate(fd, 0) == 0 && works;
}

static unsigned slot_free(const struct direct_queue *q)
{
    unsigned slot = 0;

    while (q->busy & 1u << slot)
        slot++;
    return slot;
}

bool direct_settle(struct direct_queue *q, unsigned left)
{
    struct io_event events[DIRECT_DEPTH];
    int failed = 0;

    while (q->count > left) {
        int got = io_getevents(context(), q->count - left, DIRECT_DEPTH, events, NULL);
        if (got < 0 && got != -EINTR)
            abort(); /* the kernel would go on reading memory that the caller gives away */
        for (int i = 0; i < got; i++) {
            struct iocb *write = events[i].obj;
            long res = (long)events[i].res;
            q->busy &= ~(1u << (unsigned)(write - q->slots));
            q->count--;
            if (res < 0)
                failed = (int)-res;
            else if ((unsigned long)res != write->u.c.nbytes)
                failed = ENOSPC; /* a disk that is full writes less */
        }
    }
    errno = failed;
    return failed == 0;
}

bool direct_write(struct direct_queue *q, int fd, const char *p, size_t n, uint64_t at)
{
    io_context_t c = context();
    struct iocb *write;
    unsigned slot;
    int began;

    if (!c)
        return segment_pwrite(fd, p, n, at);
    if (!direct_settle(q, DIRECT_DEPTH - 1))
        return false;
    slot = slot_free(q);
    write = &q->slots[slot];
    io_prep_pwrite(write, fd, (void *)(uintptr_t)p, n, (long long)at);
    began = io_submit(c, 1, &write);
    if (began == 1) {
        q->busy |= 1u << slot;
        q->count++;
        return true;
    }
    if (began == -EAGAIN || began == 0)
        return segment_pwrite(fd, p, n, at);
    errno = -began;
    return false;
}
