#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "metrics.h"

static atomic_bool open_now, everything;
static char *path;
static int fd = -1;
static pthread_t writer;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static struct { /* guarded by lock */
    struct buf queue;
    uint64_t dropped; /* since it was last told */
    bool closing;
} shared;

static struct metric dropped = {
    .name = "sluice_audit_dropped_total", .help = "Lines of the audit that were not written.", .kind = METRIC_COUNTER};

static int open_file(void)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

/* Who rotates moves the file away: then a new one is begun. */
static void follow_name(void)
{
    struct stat ours, named;
    int fresh;

    if (fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino && ours.st_dev == named.st_dev)
        return;
    if ((fresh = open_file()) < 0)
        return; /* the old one is better than none */
    close(fd);
    fd = fresh;
}

static bool write_all(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static uint64_t lines_in(struct str s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n';
    return n;
}

static void *write_lines(void *arg)
{
    struct buf mine = BUF_INIT(AUDIT_QUEUE_MAX);
    bool closing = false;

    (void)arg;
    while (!closing) {
        pthread_mutex_lock(&lock);
        while (shared.queue.n == 0 && !shared.closing)
            pthread_cond_wait(&filled, &lock);
        struct buf taken = shared.queue;
        uint64_t lost = shared.dropped;
        shared.queue = mine;
        shared.dropped = 0;
        closing = shared.closing;
        pthread_mutex_unlock(&lock);
        mine = taken;
        follow_name();
        if (!write_all(mine.p, mine.n)) {
            uint64_t n = lines_in(buf_str(&mine));
            log_error(STR_NONE, "the audit can't be written", "file=%s reason=%s", log_quote(str_z(path)),
                      log_quote(str_z(strerror(errno))));
            metric_add(&dropped, (int64_t)n);
        }
        if (lost)
            log_error(STR_NONE, "lines of the audit were dropped", "lines=%llu", (unsigned long long)lost);
        buf_reset(&mine);
    }
    buf_release(&mine);
    return NULL;
}

enum err audit_open(const char *to, bool all, char why[AUDIT_WHY_MAX])
{
    struct str name = str_z(to);

    path = mem_alloc(name.n + 1);
    memcpy(path, to, name.n + 1);
    if ((fd = open_file()) < 0) {
        snprintf(why, AUDIT_WHY_MAX, "%s", strerror(errno));
        free(path);
        path = NULL;
        return ERR_IO;
    }
    buf_init(&shared.queue, AUDIT_QUEUE_MAX);
    shared.closing = false;
    if (pthread_create(&writer, NULL, write_lines, NULL) != 0) {
        snprintf(why, AUDIT_WHY_MAX, "no thread can be made");
        close(fd);
        free(path);
        path = NULL;
        return ERR_INTERNAL;
    }
    metric_register(&dropped);
    atomic_store(&everything, all);
    atomic_store(&open_now, true);
    return ERR_OK;
}

void audit_close(void)
{
    if (!atomic_exchange(&open_now, false))
        return;
    pthread_mutex_lock(&lock);
    shared.closing = true;
    pthread_cond_signal(&filled);
    pthread_mutex_unlock(&lock);
    pthread_join(writer, NULL);
    buf_release(&shared.queue);
    close(fd);
    free(path);
    path = NULL;
}

bool audit_wants(bool administrative)
{
    return atomic_load_explicit(&open_now, memory_order_relaxed) &&
           (administrative || atomic_load_explicit(&everything, memory_order_relaxed));
}

static void put(struct buf *b, const char *name, struct str s)
{
    if (s.n)
        js_put_str(b, name, s);
}

static void render(struct buf *b, const struct audit_entry *e)
{
    char now[CLOCK_ISO_LEN];

    clock_iso(clock_wall_ns(), now);
    js_object(b);
    js_put_str(b, "time", str_n(now, sizeof(now)));
    js_put_str(b, "id", e->id);
    js_put_str(b, "api", str_z(e->api));
    js_put_str(b, "peer", str_z(e->peer));
    put(b, "key", e->key);
    put(b, "who", e->who);
    js_put_str(b, "method", e->method);
    js_put_str(b, "path", e->path);
    js_put_str(b, "action", str_z(e->action));
    put(b, "bucket", e->bucket);
    put(b, "object", e->object);
    js_put_u64(b, "status", (uint64_t)e->status);
    if (e->error)
        js_put_str(b, "error", str_z(e->error));
    js_put_u64(b, "bytes", e->bytes);
    js_put_u64(b, "us", e->took_ns / 1000);
    js_end_object(b);
    buf_add_char(b, '\n');
}

void audit_add(const struct audit_entry *e)
{
    struct buf line = BUF_INIT(AUDIT_LINE_MAX);
    bool taken = false;

    render(&line, e);
    if (buf_err(&line) == ERR_OK) {
        pthread_mutex_lock(&lock);
        char *p = buf_reserve(&shared.queue, line.n);
        if ((taken = p != NULL)) {
            memcpy(p, line.p, line.n);
            buf_commit(&shared.queue, line.n);
            pthread_cond_signal(&filled);
        } else {
            shared.queue.over = false; /* the next one may find room */
            shared.dropped++;
        }
        pthread_mutex_unlock(&lock);
    }
    if (!taken)
        metric_add(&dropped, 1);
    buf_release(&line);
}
