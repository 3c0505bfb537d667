#include "unit.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fake_runtime.h"
#include "http/url.h"

enum { CONNS_MAX = 512, HEAD_MAX = 300000, PIECE = 65536 };

struct conn {
    struct fake_instance *i;
    pthread_t thread;
    int fd;
    /* what was received and not used */
    char in[PIECE];
    size_t in_n, in_at;
    char *head;
    bool chunked, in_chunk;
    size_t left;     /* of the body, or of its chunk */
    size_t answered; /* bytes */
};
struct fake_instance {
    struct etl_instance instance;
    struct fake_instance *next;
    struct fake *fake;
    char id[64], name[64], mode[32], path[256];
    int listener, back;
    uint16_t port, back_port;
    bool served;
    pthread_t thread;
    atomic_bool dead;
    atomic_int asked;
    pthread_mutex_t lock;
    struct conn *conns[CONNS_MAX]; /* guarded by lock */
    unsigned conn_count;
};

/* ---- sockets ---- */

static int listen_at(uint16_t *port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 512) != 0 ||
        getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
        abort();
    *port = ntohs(sa.sin_port);
    return fd;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool say_n(struct conn *c, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool say(struct conn *c, const char *text)
{
    return say_n(c, text, strlen(text));
}

static bool fill(struct conn *c)
{
    ssize_t n = c->in_at < c->in_n ? 1 : recv(c->fd, c->in, sizeof(c->in), 0);

    if (c->in_at < c->in_n)
        return true;
    c->in_at = 0;
    c->in_n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static bool take_line(struct conn *c, char *line, size_t cap)
{
    size_t n = 0;

    do {
        if (n + 1 >= cap || !fill(c))
            return false;
        line[n++] = c->in[c->in_at++];
        line[n] = 0;
    } while (line[n - 1] != '\n');
    return true;
}

/* ---- requests ---- */

static bool take_head(struct conn *c)
{
    size_t n = 0;
    const char *length;

    do {
        if (!take_line(c, c->head + n, HEAD_MAX - n))
            return false;
        n += strlen(c->head + n);
    } while (n < 4 || strcmp(c->head + n - 4, "\r\n\r\n") != 0);
    c->in_chunk = false;
    c->chunked = strstr(c->head, "Transfer-Encoding: chunked");
    length = strstr(c->head, "Content-Length: ");
    c->left = length ? strtoul(length + 16, NULL, 10) : 0;
    return true;
}

/* Some of the body; *n 0: that was all. */
static bool take_piece(struct conn *c, const char **p, size_t *n)
{
    char line[64];

    *n = 0;
    if (c->chunked && c->left == 0) {
        if ((c->in_chunk && !take_line(c, line, sizeof(line))) || !take_line(c, line, sizeof(line)))
            return false;
        c->left = strtoul(line, NULL, 16);
        c->in_chunk = c->left > 0;
        if (c->left == 0)
            return take_line(c, line, sizeof(line));
    }
    if (c->left == 0)
        return true;
    if (!fill(c))
        return false;
    *p = c->in + c->in_at;
    *n = c->in_n - c->in_at < c->left ? c->in_n - c->in_at : c->left;
    c->in_at += *n;
    c->left -= *n;
    return true;
}

static bool skip_body(struct conn *c)
{
    const char *p;
    size_t n;

    do {
        if (!take_piece(c, &p, &n))
            return false;
    } while (n);
    return true;
}

/* ---- answers ---- */

static void kill_instance(struct fake_instance *i);

static bool say_chunk(struct conn *c, const char *p, size_t n)
{
    char line[32];

    snprintf(line, sizeof(line), "%zx\r\n", n);
    c->answered += n;
    return say(c, line) && say_n(c, p, n) && say(c, "\r\n");
}

static bool say_changed(struct conn *c, const char *p, size_t n)
{
    char out[2 * PIECE];
    bool twice = strcmp(c->i->mode, "twice") == 0;

    for (size_t k = 0; k < n; k++) {
        if (twice)
            out[2 * k] = out[2 * k + 1] = p[k];
        else
            out[k] = (char)toupper((unsigned char)p[k]);
    }
    return say_chunk(c, out, twice ? 2 * n : n);
}

static bool say_head(struct conn *c)
{
    c->answered = 0;
    return say(c, "HTTP/1.1 200 OK\r\nContent-Type: text/loud\r\nTransfer-Encoding: chunked\r\n\r\n");
}

/* False when it is to end in the middle. */
static bool goes_on(struct conn *c)
{
    if (c->answered < DIES_AT)
        return true;
    if (strcmp(c->i->mode, "dies") == 0)
        kill_instance(c->i);
    return strcmp(c->i->mode, "dies") != 0 && strcmp(c->i->mode, "cuts") != 0;
}

static bool stream(struct conn *c)
{
    const char *p;
    size_t n;

    if (!say_head(c))
        return false;
    for (;;) {
        if (!take_piece(c, &p, &n))
            return false;
        if (n == 0)
            return say(c, "0\r\n\r\n");
        if (!say_changed(c, p, n) || !goes_on(c))
            return false;
    }
}

/* False: the connection is to be closed. */
static bool stream_to_close(struct conn *c)
{
    const char *p;
    size_t n = 0;

    c->answered = 0;
    if (!say(c, "HTTP/1.0 200 OK\r\n\r\n"))
        return false;
    while (take_piece(c, &p, &n) && n && say_n(c, p, n)) {
        c->answered += n;
        if (c->answered >= DIES_AT && strcmp(c->i->mode, "olddies") == 0) {
            kill_instance(c->i);
            break;
        }
    }
    return false;
}

static bool say_all(struct conn *c, int status, const char *more, const char *text)
{
    char head[256];

    snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", status, more, strlen(text));
    return say(c, head) && say(c, text);
}

/* What follows the method, up to the next space. */
static char *target_of(struct conn *c)
{
    char *at = strchr(c->head, ' ') + 1;

    *strchr(at, ' ') = 0;
    return at;
}

static bool pull(struct conn *c)
{
    struct conn back = {.i = c->i, .fd = connect_to(c->i->back_port), .head = mem_alloc(HEAD_MAX)};
    char ask[1024];
    const char *p;
    size_t n = 0;
    bool good = back.fd >= 0;

    snprintf(ask, sizeof(ask), "GET %s%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", c->i->path, target_of(c));
    good = good && say(&back, ask) && take_head(&back);
    if (good && strncmp(back.head, "HTTP/1.1 200", 12) != 0)
        good = say_all(c, 502, "", back.head);
    else if (good && (good = say_head(c)))
        do
            good = take_piece(&back, &p, &n) && (n ? say_changed(c, p, n) : say(c, "0\r\n\r\n"));
        while (good && n);
    if (back.fd >= 0)
        close(back.fd);
    free(back.head);
    return good;
}

/* etl_fqn is escaped twice. */
static bool send_file(struct conn *c)
{
    struct arena arena = ARENA_INIT;
    struct str once, plain;
    char *at = strstr(target_of(c), "etl_fqn="), piece[PIECE];
    ssize_t n = 0;

    if (!at)
        return say_all(c, 400, "", "no etl_fqn");
    at += 8;
    at[strcspn(at, "&")] = 0;
    if (!url_decode(str_z(at), &arena, false, &once) || !url_decode(once, &arena, false, &plain))
        abort();
    int fd = open(arena_str(&arena, plain).p, O_RDONLY | O_CLOEXEC);
    arena_release(&arena);
    if (fd < 0)
        return say_all(c, 404, "", "no such file");
    bool good = say_head(c);
    while (good && (n = read(fd, piece, sizeof(piece))) > 0)
        good = say_changed(c, piece, (size_t)n);
    close(fd);
    return good && say(c, "0\r\n\r\n");
}

static bool is_mode(struct conn *c, const char *mode)
{
    return strcmp(c->i->mode, mode) == 0;
}

static bool transform(struct conn *c)
{
    int before = atomic_fetch_add(&c->i->asked, 1);

    if (is_mode(c, "refuse"))
        return skip_body(c) && say_all(c, 422, "", "no cat in it");
    if (is_mode(c, "shy") && before == 0)
        return skip_body(c) && say_all(c, 503, "Ais-Etl-Retry-Reason: one-shot\r\n", "again");
    if (is_mode(c, "old") || is_mode(c, "olddies"))
        return stream_to_close(c);
    if (is_mode(c, "tells"))
        return skip_body(c) && say_all(c, 200, "", c->head);
    if (is_mode(c, "pull") && strncmp(c->head, "GET ", 4) == 0)
        return pull(c);
    if (is_mode(c, "file"))
        return skip_body(c) && send_file(c);
    while (is_mode(c, "hold") && !atomic_load(&c->i->fake->release) && !atomic_load(&c->i->dead))
        usleep(2000);
    if (atomic_load(&c->i->dead))
        return false;
    return stream(c);
}

static bool answer(struct conn *c)
{
    struct fake *f = c->i->fake;

    if (strncmp(c->head, "GET /health ", 12) == 0) {
        while (is_mode(c, "hang") && !atomic_load(&c->i->dead))
            usleep(2000);
        return say_all(c, is_mode(c, "deaf") ? 503 : 200, "", "Running");
    }
    atomic_fetch_add(&f->requests, 1);
    int now = atomic_fetch_add(&f->at_work, 1) + 1;
    if (now > atomic_load(&f->most))
        atomic_store(&f->most, now);
    bool good = transform(c);
    atomic_fetch_sub(&f->at_work, 1);
    return good;
}

static void *converse(void *arg)
{
    struct conn *c = arg;

    while (take_head(c) && answer(c))
        ;
    shutdown(c->fd, SHUT_RDWR); /* closed when the instance is freed, so that nobody else gets the number before */
    return NULL;
}

static void *serve(void *arg)
{
    struct fake_instance *i = arg;
    struct pollfd p = {.fd = i->listener, .events = POLLIN};

    while (!atomic_load(&i->dead)) {
        int fd = poll(&p, 1, 10) == 1 ? accept4(i->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        struct conn *c = NEW(struct conn);
        c->i = i;
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        c->head = mem_alloc(HEAD_MAX);
        pthread_mutex_lock(&i->lock);
        if (i->conn_count == CONNS_MAX || pthread_create(&c->thread, NULL, converse, c) != 0)
            abort();
        i->conns[i->conn_count++] = c;
        if (atomic_load(&i->dead))
            shutdown(fd, SHUT_RDWR);
        pthread_mutex_unlock(&i->lock);
    }
    return NULL;
}

/* ---- the runtime ---- */

static struct fake_instance *instance_of(struct etl_instance *i)
{
    return CONTAINER(i, struct fake_instance, instance);
}

static void kill_instance(struct fake_instance *i)
{
    atomic_store(&i->dead, true);
    pthread_mutex_lock(&i->lock);
    for (unsigned k = 0; k < i->conn_count; k++)
        shutdown(i->conns[k]->fd, SHUT_RDWR);
    pthread_mutex_unlock(&i->lock);
    if (i->served)
        shutdown(i->listener, SHUT_RDWR);
}

static void note_start(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
    if (f->starts < FAKE_STARTS)
        f->started_ns[f->starts] = clock_mono_ns();
    f->starts++;
    pthread_mutex_unlock(&f->lock);
}

static void copy(char *to, size_t cap, struct str s)
{
    if (s.n >= cap)
        abort();
    snprintf(to, cap, STR_FMT, STR_ARG(s));
}

static enum err fake_start(struct etl_runtime *r, const struct etl_start_req *req, struct etl_instance **out,
                           char why[ETL_WHY_MAX])
{
    struct fake *f = CONTAINER(r, struct fake, runtime);
    struct fake_instance *i;

    note_start(f);
    usleep((useconds_t)atomic_load(&f->start_ms) * 1000);
    i = NEW(struct fake_instance);
    i->fake = f;
    i->instance.runtime = r;
    copy(i->id, sizeof(i->id), req->id);
    copy(i->name, sizeof(i->name), req->spec->name);
    copy(i->mode, sizeof(i->mode), req->spec->command[0]);
    copy(i->path, sizeof(i->path), req->target_path);
    if (strcmp(i->mode, "nostart") == 0) {
        free(i);
        snprintf(why, ETL_WHY_MAX, "no such image");
        return ERR_ETL;
    }
    pthread_mutex_init(&i->lock, NULL);
    i->back = -1;
    if (strcmp(i->mode, "pull") == 0)
        i->back = listen_at(&i->back_port);
    atomic_store(&i->dead, strcmp(i->mode, "exits") == 0);
    i->served = strcmp(i->mode, "bare") != 0 && strcmp(i->mode, "exits") != 0;
    if (i->served) {
        i->listener = listen_at(&i->port);
        if (pthread_create(&i->thread, NULL, serve, i) != 0)
            abort();
    }
    pthread_mutex_lock(&f->lock);
    i->next = f->list;
    f->list = i;
    pthread_mutex_unlock(&f->lock);
    atomic_fetch_add(&f->running, 1);
    *out = &i->instance;
    return ERR_OK;
}

static void fake_stop(struct etl_instance *instance, uint32_t grace_ms)
{
    struct fake_instance *i = instance_of(instance), **at;
    struct fake *f = i->fake;

    (void)grace_ms;
    usleep((useconds_t)atomic_load(&f->stop_ms) * 1000);
    pthread_mutex_lock(&f->lock);
    for (at = &f->list; *at != i; at = &(*at)->next)
        ;
    *at = i->next;
    pthread_mutex_unlock(&f->lock);
    kill_instance(i);
    if (i->served) {
        pthread_join(i->thread, NULL);
        close(i->listener);
    }
    for (unsigned k = 0; k < i->conn_count; k++) {
        pthread_join(i->conns[k]->thread, NULL);
        close(i->conns[k]->fd);
        free(i->conns[k]->head);
        free(i->conns[k]);
    }
    pthread_mutex_destroy(&i->lock);
    free(i);
    atomic_fetch_sub(&f->running, 1);
}

static bool fake_alive(struct etl_instance *instance, char why[ETL_WHY_MAX])
{
    struct fake_instance *i = instance_of(instance);

    if (atomic_load(&i->dead))
        snprintf(why, ETL_WHY_MAX, "exit status 1");
    return !atomic_load(&i->dead);
}

static enum err fake_dial(struct etl_instance *instance, int *fd)
{
    struct fake_instance *i = instance_of(instance);

    if (strcmp(i->mode, "mute") == 0 || !i->served || atomic_load(&i->dead) || (*fd = connect_to(i->port)) < 0)
        return ERR_UNAVAILABLE;
    fcntl(*fd, F_SETFL, O_NONBLOCK);
    return ERR_OK;
}

static int fake_listener(struct etl_instance *instance)
{
    return instance_of(instance)->back; /* the caller's from now on */
}

static void fake_logs(struct etl_instance *instance, struct buf *out)
{
    struct fake_instance *i = instance_of(instance);

    for (int k = 0; k < 100; k++)
        buf_addf(out, "line %d of a log that is longer than an error\n", k);
    buf_addf(out, "%s wrote this last", i->id);
}

static enum err fake_usage(struct etl_instance *instance, struct etl_usage *out)
{
    (void)instance;
    *out = (struct etl_usage){.cpu_seconds = 1, .memory = 5 << 20, .processes = 1};
    return ERR_OK;
}

static enum err fake_share(struct etl_instance *instance, struct str *host, struct str *inside)
{
    struct fake *f = instance_of(instance)->fake;

    if (atomic_load(&f->no_share))
        return ERR_NOT_IMPLEMENTED;
    *host = *inside = str_z(f->dir);
    return ERR_OK;
}

static void fake_close(struct etl_runtime *r)
{
    atomic_store(&CONTAINER(r, struct fake, runtime)->closed, true);
}

void fake_open(struct fake *f)
{
    static const struct etl_runtime_ops ops = {.name = "fake",
                                               .start = fake_start,
                                               .stop = fake_stop,
                                               .alive = fake_alive,
                                               .dial = fake_dial,
                                               .listener = fake_listener,
                                               .logs = fake_logs,
                                               .usage = fake_usage,
                                               .share = fake_share,
                                               .close = fake_close};

    memset(f, 0, sizeof(*f));
    f->runtime.ops = &ops;
    pthread_mutex_init(&f->lock, NULL);
    snprintf(f->dir, sizeof(f->dir), "/tmp/sluice-test-XXXXXX");
    if (!mkdtemp(f->dir))
        abort();
}

void fake_end(struct fake *f)
{
    assert_int_equal(atomic_load(&f->running), 0);
    assert_int_equal(atomic_load(&f->at_work), 0);
    assert_int_equal(rmdir(f->dir), 0); /* no file was left in it */
    pthread_mutex_destroy(&f->lock);
}

bool fake_kill(struct fake *f, const char *name)
{
    bool found = false;

    pthread_mutex_lock(&f->lock);
    for (struct fake_instance *i = f->list; i; i = i->next) {
        if (strcmp(i->name, name) != 0 || atomic_load(&i->dead))
            continue;
        kill_instance(i);
        found = true;
    }
    pthread_mutex_unlock(&f->lock);
    return found;
}

unsigned fake_starts(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
    unsigned n = f->starts;
    pthread_mutex_unlock(&f->lock);
    return n;
}
