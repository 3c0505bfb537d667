#include "kube_box.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "etl/process_own.h"
#include "http/cert.h"
#include "http/parse.h"

enum { TURN_MS = 10, ASK_MAX = 1 << 20, CONNECTIONS_MAX = 64, TEXT = 96 };

struct etl_kube_conf kube_conf;
char kube_top[64];

#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"

static char url[TEXT], cert[TEXT], key[TEXT], token_file[TEXT], dir[TEXT];
static struct {
    pthread_t thread;
    int fd;
    struct tls_context *tls;
    atomic_bool stopped;
    pthread_mutex_t lock;
    struct { /* guarded by lock */
        struct str mad[ASK_KINDS];
        unsigned asked[ASK_KINDS];
        char name[KUBE_NAME_MAX + 1]; /* "": there is no Pod */
        char gone[KUBE_NAME_MAX + 1];
        char status[4096];
        unsigned version; /* of what is watched */
        struct buf order;
        unsigned connections;
    } locked;
} box = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- bytes ---- */

struct line {
    int fd;
    struct tls_stream *tls;
};

static bool await(const struct line *l, enum tls_want want)
{
    struct pollfd p = {.fd = l->fd, .events = want == TLS_WANT_READ ? POLLIN : POLLOUT};

    while (!atomic_load(&box.stopped) && (want == TLS_WANT_READ || want == TLS_WANT_WRITE))
        if (poll(&p, 1, TURN_MS) == 1)
            return true;
    return false;
}

static bool say(struct line *l, struct str s)
{
    while (s.n) {
        size_t n = 0;
        enum tls_want want = tls_write(l->tls, s.p, s.n, &n);
        if (want == TLS_OK)
            s = str_skip(s, n);
        else if (!await(l, want))
            return false;
    }
    return true;
}

static bool sayf(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool sayf(struct line *l, const char *fmt, ...)
{
    char text[8192];
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return say(l, str_n(text, (size_t)n));
}

/* The request with its body. */
static bool hear(struct line *l, struct buf *ask, struct str *body)
{
    enum tls_want want;

    while ((want = tls_handshake(l->tls)) != TLS_OK)
        if (!await(l, want))
            return false;
    for (;;) {
        size_t n = 0, end = str_find(buf_str(ask), STR("\r\n\r\n")), at;
        uint64_t length = 0;
        if (end != SIZE_MAX) {
            if ((at = str_find(buf_str(ask), STR("Content-Length: "))) < end) {
                struct str rest = str_skip(buf_str(ask), at + 16);
                (void)str_to_u64(str_split(&rest, '\r'), ASK_MAX, &length);
            }
            *body = str_skip(buf_str(ask), end + 4);
            if (body->n >= length)
                return true;
        }
        want = tls_read(l->tls, buf_reserve(ask, 16384), 16384, &n);
        if (want == TLS_OK)
            buf_commit(ask, n);
        else if (!await(l, want))
            return false;
    }
}

/* ---- answers ---- */

static bool say_without_end(struct line *l, bool head)
{
    char more[4096];

    memset(more, 'x', sizeof(more));
    if (!say(l, head ? STR("HTTP/1.1 200 OK\r\nX: ") : STR(JSON_HEAD)))
        return false;
    while (say(l, str_n(more, sizeof(more))))
        ;
    return false;
}

static bool say_mad(struct line *l, struct str text)
{
    if (text.n != 1)
        return say(l, text);
    if (text.p[0] != '\xfd')
        return say_without_end(l, text.p[0] == '\xfe');
    while (!atomic_load(&box.stopped)) {
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        if (poll(&p, 1, TURN_MS) == 1)
            return false;
    }
    return false;
}

/* With the lock. */
static void write_pod(const char *name, char *out, size_t size)
{
    snprintf(out, size,
             "{\"metadata\":{\"name\":\"%s\",\"uid\":\"0-1\",\"resourceVersion\":\"%u\"},\"spec\":{},\"status\":%s}",
             name, box.locked.version, box.locked.status);
}

static bool no_pod(struct line *l)
{
    return say(l, STR("HTTP/1.1 404 Not Found\r\n\r\n{\"kind\":\"Status\",\"message\":\"pods \\\"x\\\" not found\","
                      "\"reason\":\"NotFound\",\"code\":404}"));
}

static bool say_pod(struct line *l, const char *head, const char *tail)
{
    char pod[6000];

    pthread_mutex_lock(&box.lock);
    bool there = box.locked.name[0];
    write_pod(box.locked.name, pod, sizeof(pod));
    pthread_mutex_unlock(&box.lock);
    if (!there && !head[0])
        return no_pod(l);
    return sayf(l, JSON_HEAD "%s%s%s", head, there ? pod : "", tail);
}

static bool watch(struct line *l)
{
    unsigned told = 0;

    if (!say(l, STR(JSON_HEAD)))
        return false;
    while (!atomic_load(&box.stopped)) {
        char pod[6000] = "";
        pthread_mutex_lock(&box.lock);
        bool there = box.locked.name[0], gone = box.locked.gone[0], news = box.locked.version != told;
        told = box.locked.version;
        write_pod(there ? box.locked.name : box.locked.gone, pod, sizeof(pod));
        pthread_mutex_unlock(&box.lock);
        if (news && (there || gone) &&
            !sayf(l, "{\"type\":\"%s\",\"object\":%s}\n", there ? "MODIFIED" : "DELETED", pod))
            return false;
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        if (poll(&p, 1, TURN_MS) == 1)
            return false;
    }
    return false;
}

static void take_order(struct str body)
{
    struct arena a = ARENA_INIT;
    struct doc *d;
    char why[DOC_WHY_MAX];

    pthread_mutex_lock(&box.lock);
    buf_reset(&box.locked.order);
    buf_add_str(&box.locked.order, body);
    buf_add_char(&box.locked.order, 0);
    if (js_read(&a, body, &d, why) == ERR_OK)
        snprintf(box.locked.name, sizeof(box.locked.name), STR_FMT, STR_ARG(rest_text(d, "metadata.name")));
    box.locked.version++;
    pthread_mutex_unlock(&box.lock);
    arena_release(&a);
}

void kube_box_remove(void)
{
    pthread_mutex_lock(&box.lock);
    memcpy(box.locked.gone, box.locked.name, sizeof(box.locked.gone));
    box.locked.name[0] = 0;
    box.locked.version++;
    pthread_mutex_unlock(&box.lock);
}

static enum kube_ask_kind kind_of(struct str ask)
{
    struct str path = ask;

    (void)str_split(&path, ' ');
    path = str_split(&path, ' ');
    if (str_starts(ask, STR("POST ")))
        return ASK_MAKE;
    if (str_starts(ask, STR("DELETE ")))
        return ASK_DELETE;
    if (str_find(path, STR("watch=true")) != SIZE_MAX)
        return ASK_WATCH;
    if (str_starts(path, STR("/apis/metrics.k8s.io/")))
        return ASK_METRICS;
    if (str_find(path, STR("/log?")) != SIZE_MAX)
        return ASK_LOG;
    return str_find(path, STR("/pods/")) != SIZE_MAX ? ASK_GET : ASK_LIST;
}

static bool answer(struct line *l, enum kube_ask_kind kind, struct str mad)
{
    if (mad.p)
        return say_mad(l, mad);
    switch (kind) {
    case ASK_WATCH:
        return watch(l);
    case ASK_LIST:
        return say_pod(l, "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[", "]}");
    case ASK_LOG:
        return say(l, STR("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nserving\n"));
    case ASK_METRICS:
        return say(l, STR(JSON_HEAD "{\"containers\":[{\"usage\":{\"cpu\":\"500000000n\",\"memory\":\"2Mi\"}}]}"));
    case ASK_MAKE:
    case ASK_DELETE:
        return say_pod(l, " ", "");
    case ASK_GET:
        return say_pod(l, "", "");
    case ASK_KINDS:
        break;
    }
    return false;
}

static bool is_known(struct str ask)
{
    return str_find(ask, STR("\r\nAuthorization: Bearer good\r\n")) != SIZE_MAX;
}

static void serve_one(struct line *l)
{
    struct buf ask = BUF_INIT(ASK_MAX);
    struct str body;

    if (hear(l, &ask, &body) && !is_known(buf_str(&ask))) {
        (void)say(l, STR("HTTP/1.1 401 Unauthorized\r\n\r\n{\"kind\":\"Status\",\"message\":\"Unauthorized\"}"));
    } else if (ask.n) {
        enum kube_ask_kind kind = kind_of(buf_str(&ask));
        pthread_mutex_lock(&box.lock);
        struct str mad = box.locked.mad[kind];
        box.locked.asked[kind]++;
        pthread_mutex_unlock(&box.lock);
        if (kind == ASK_MAKE)
            take_order(body);
        if (kind == ASK_DELETE)
            kube_box_remove();
        (void)answer(l, kind, mad);
    }
    buf_release(&ask);
}

static void *serve_thread(void *arg)
{
    struct line *l = arg;

    serve_one(l);
    tls_stream_free(l->tls);
    shutdown(l->fd, SHUT_WR);
    close(l->fd);
    free(l);
    pthread_mutex_lock(&box.lock);
    box.locked.connections--;
    pthread_mutex_unlock(&box.lock);
    return NULL;
}

static void *serve(void *arg)
{
    (void)arg;
    while (!atomic_load(&box.stopped)) {
        struct pollfd p = {.fd = box.fd, .events = POLLIN};
        int c = poll(&p, 1, TURN_MS) == 1 ? accept4(box.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
        pthread_t thread;
        if (c < 0)
            continue;
        struct line *l = NEW(struct line);
        *l = (struct line){c, tls_stream_new(box.tls, c)};
        pthread_mutex_lock(&box.lock);
        box.locked.connections++;
        pthread_mutex_unlock(&box.lock);
        if (pthread_create(&thread, NULL, serve_thread, l) != 0)
            abort();
        pthread_detach(thread);
    }
    return NULL;
}

/* ---- what tests do with it ---- */

void kube_box_mad(enum kube_ask_kind kind, struct str text)
{
    pthread_mutex_lock(&box.lock);
    box.locked.mad[kind] = text;
    pthread_mutex_unlock(&box.lock);
}

void kube_box_status(const char *status)
{
    pthread_mutex_lock(&box.lock);
    snprintf(box.locked.status, sizeof(box.locked.status), "%s", status);
    box.locked.version++;
    pthread_mutex_unlock(&box.lock);
}

unsigned kube_box_asked(enum kube_ask_kind kind)
{
    pthread_mutex_lock(&box.lock);
    unsigned n = box.locked.asked[kind];
    pthread_mutex_unlock(&box.lock);
    return n;
}

struct str kube_box_order(void)
{
    pthread_mutex_lock(&box.lock);
    struct str s = box.locked.order.n ? str_n(box.locked.order.p, box.locked.order.n - 1) : STR("");
    pthread_mutex_unlock(&box.lock);
    return s;
}

void kube_box_token(const char *token)
{
    int fd = open(token_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, token, strlen(token)) < 0)
        abort();
    close(fd);
}

static uint16_t listen_anywhere(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);

    box.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(box.fd, (struct sockaddr *)&sa, len) != 0 || listen(box.fd, CONNECTIONS_MAX) != 0 ||
        getsockname(box.fd, (struct sockaddr *)&sa, &len) != 0)
        abort();
    return ntohs(sa.sin_port);
}

void kube_box_start(void)
{
    char why[256];

    snprintf(kube_top, sizeof(kube_top), "/tmp/sluice-test-XXXXXX");
    if (!mkdtemp(kube_top))
        abort();
    snprintf(cert, sizeof(cert), "%s/cert.pem", kube_top);
    snprintf(key, sizeof(key), "%s/key.pem", kube_top);
    snprintf(token_file, sizeof(token_file), "%s/token", kube_top);
    snprintf(dir, sizeof(dir), "%s/etl", kube_top);
    cert_write("kubernetes", cert, key);
    kube_box_token("good\n");
    if (tls_context_new(cert, key, &box.tls, why) != ERR_OK)
        abort();
    memset(&box.locked, 0, sizeof(box.locked));
    buf_init(&box.locked.order, ASK_MAX);
    kube_box_status("{\"phase\":\"Pending\"}");
    snprintf(url, sizeof(url), "https://127.0.0.1:%u", listen_anywhere());
    atomic_store(&box.stopped, false);
    if (pthread_create(&box.thread, NULL, serve, NULL) != 0)
        abort();
    kube_conf = (struct etl_kube_conf){.server = str_z(url),
                                       .token_file = str_z(token_file),
                                       .ca_file = str_z(cert),
                                       .namespace = STR("ns"),
                                       .node = STR("node-1"),
                                       .address = STR("127.0.0.1"),
                                       .label = STR("target 1"),
                                       .dir = str_z(dir)};
}

void kube_box_stop(void)
{
    unsigned left = 1;

    atomic_store(&box.stopped, true);
    pthread_join(box.thread, NULL);
    while (left) {
        pthread_mutex_lock(&box.lock);
        left = box.locked.connections;
        pthread_mutex_unlock(&box.lock);
        usleep(left ? 1000 : 0);
    }
    close(box.fd);
    tls_context_free(box.tls);
    buf_release(&box.locked.order);
    if (process_dir_remove(kube_top, false) != ERR_OK)
        abort();
}
