#include "rest.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/parse.h"

enum {
    HEAD_MAX = 64 << 10,
    PIECE = 16 << 10,
    SLICE_MS = 100, /* between two looks whether it is to end */
    NODES_MAX = 200000,
    NANOS_PER_MS = 1000000,
};

struct exchange {
    const struct rest_site *site;
    const struct rest_req *req;
    int fd;
    struct tls_stream *tls; /* NULL: none */
    uint64_t until;
    char *why;
    struct buf in; /* received, not used yet */
    struct arena arena;
    struct http_response_head head;
};

/* ---- bytes ---- */

void rest_say(char why[ETL_WHY_MAX], const char *what, struct str text)
{
    int n = snprintf(why, ETL_WHY_MAX, "%s" STR_FMT, what, (int)(text.n < ETL_WHY_MAX ? text.n : ETL_WHY_MAX),
                     text.p ? text.p : "");

    for (int i = 0; i < n && i < ETL_WHY_MAX - 1; i++)
        if ((unsigned char)why[i] < 0x20 || why[i] == 0x7F)
            why[i] = ' ';
}

static enum err await(struct exchange *x, short events)
{
    struct pollfd p = {.fd = x->fd, .events = events};

    for (;;) {
        uint64_t now = clock_mono_ns();
        if (x->req->quit && atomic_load(x->req->quit)) {
            snprintf(x->why, ETL_WHY_MAX, "the server ends");
            return ERR_CANCELLED;
        }
        if (now >= x->until) {
            snprintf(x->why, ETL_WHY_MAX, "%s does not answer in time", x->site->name);
            return ERR_TIMEOUT;
        }
        uint64_t ms = (x->until - now) / NANOS_PER_MS + 1;
        int n = poll(&p, 1, ms < SLICE_MS || !x->req->quit ? (int)ms : SLICE_MS);
        if (n > 0)
            return ERR_OK;
        if (n < 0 && errno != EINTR)
            return ERR_UNAVAILABLE;
    }
}

static enum err broken(struct exchange *x)
{
    snprintf(x->why, ETL_WHY_MAX, "the answer of %s breaks off, or is no answer", x->site->name);
    return ERR_UNAVAILABLE;
}

/* One step of reading or writing: *n bytes, or ERR_AGAIN after it was waited for. */
static enum err plain_step(struct exchange *x, ssize_t got, short events, size_t *n)
{
    enum err e;

    if (got >= 0) {
        *n = (size_t)got;
        return ERR_OK;
    }
    if (errno == EINTR)
        return ERR_AGAIN;
    if (errno != EAGAIN)
        return broken(x);
    return (e = await(x, events)) == ERR_OK ? ERR_AGAIN : e;
}

static enum err tls_step(struct exchange *x, enum tls_want want)
{
    enum err e;

    if (want != TLS_WANT_READ && want != TLS_WANT_WRITE)
        return broken(x);
    return (e = await(x, want == TLS_WANT_READ ? POLLIN : POLLOUT)) == ERR_OK ? ERR_AGAIN : e;
}

static enum err send_all(struct exchange *x, struct str s)
{
    enum err e = ERR_OK;

    while (s.n && (e == ERR_OK || e == ERR_AGAIN)) {
        size_t n = 0;
        if (x->tls) {
            enum tls_want want = tls_write(x->tls, s.p, s.n, &n);
            e = want == TLS_OK ? ERR_OK : tls_step(x, want);
        } else {
            ssize_t sent = send(x->fd, s.p, s.n, MSG_NOSIGNAL);
            if (sent < 0 && errno == EPIPE)
                return ERR_OK; /* it may have answered before it read all */
            e = plain_step(x, sent, POLLOUT, &n);
        }
        if (e == ERR_OK)
            s = str_skip(s, n);
    }
    return e;
}

static enum err receive_once(struct exchange *x, char *to, size_t *n)
{
    if (!x->tls)
        return plain_step(x, recv(x->fd, to, PIECE, 0), POLLIN, n);
    enum tls_want want = tls_read(x->tls, to, PIECE, n);
    if (want == TLS_CLOSED)
        *n = 0;
    return want == TLS_OK || want == TLS_CLOSED ? ERR_OK : tls_step(x, want);
}

/* More behind what is in x->in; *n is 0 at the end. */
static enum err receive(struct exchange *x, size_t *n)
{
    char *to = buf_reserve(&x->in, PIECE);
    enum err e;

    if (!to)
        return broken(x);
    while ((e = receive_once(x, to, n)) == ERR_AGAIN)
        ;
    if (e == ERR_OK)
        buf_commit(&x->in, *n);
    return e;
}

/* ---- the beginning ---- */

static enum err unreachable(struct exchange *x, int errnum)
{
    x->site->unreachable(x->site, errnum, x->why);
    return ERR_UNAVAILABLE;
}

static enum err open_unix(struct exchange *x)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct str path = x->site->socket;

    if (path.n == 0 || path.n >= sizeof(sa.sun_path))
        return unreachable(x, ENAMETOOLONG);
    memcpy(sa.sun_path, path.p, path.n);
    x->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (x->fd < 0)
        return unreachable(x, errno);
    while (connect(x->fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
        if (errno == EAGAIN && clock_mono_ns() < x->until) /* its queue is full: this can't be polled for */
            usleep(10000);
        else if (errno != EINTR)
            return unreachable(x, errno);
    }
    return ERR_OK;
}

static enum err begin_connect(const struct sockaddr *sa, socklen_t len, int *fd)
{
    *fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return ERR_UNAVAILABLE;
    return connect(*fd, sa, len) == 0 ? ERR_OK : errno == EINPROGRESS ? ERR_AGAIN : ERR_UNAVAILABLE;
}

static enum err end_connect(int fd)
{
    int errnum = 0;
    socklen_t len = sizeof(errnum);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len) == 0 && errnum == 0)
        return ERR_OK;
    errno = errnum;
    return ERR_UNAVAILABLE;
}

enum err rest_connect(const struct sockaddr *sa, socklen_t len, uint32_t ms, int *out)
{
    int fd, n, errnum;
    enum err e = begin_connect(sa, len, &fd);

    if (e == ERR_AGAIN) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        do
            n = poll(&p, 1, (int)ms);
        while (n < 0 && errno == EINTR);
        errno = n == 0 ? ETIMEDOUT : errno;
        e = n == 1 ? end_connect(fd) : n == 0 ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    }
    if (e == ERR_OK) {
        *out = fd;
        return ERR_OK;
    }
    errnum = errno;
    if (fd >= 0)
        close(fd);
    errno = errnum;
    return e;
}

static enum err connect_to(struct exchange *x, const struct addrinfo *to)
{
    enum err e = begin_connect(to->ai_addr, to->ai_addrlen, &x->fd);

    if (e == ERR_AGAIN && (e = await(x, POLLOUT)) == ERR_OK)
        e = end_connect(x->fd);
    return e == ERR_UNAVAILABLE ? unreachable(x, errno) : e;
}

static enum err open_tcp(struct exchange *x)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    char port[8];
    enum err e = ERR_UNAVAILABLE;

    snprintf(port, sizeof(port), "%u", x->site->port);
    int r = getaddrinfo(x->site->host, port, &hints, &list);
    if (r != 0) {
        snprintf(x->why, ETL_WHY_MAX, "%s: the host %.200s is not known (%s)", x->site->name, x->site->host,
                 gai_strerror(r));
        return ERR_UNAVAILABLE;
    }
    for (const struct addrinfo *at = list; at && e == ERR_UNAVAILABLE; at = at->ai_next) {
        if (x->fd >= 0)
            close(x->fd);
        x->fd = -1;
        e = connect_to(x, at);
    }
    freeaddrinfo(list);
    return e;
}

static enum err open_tls(struct exchange *x)
{
    enum tls_want want;
    enum err e = open_tcp(x);

    if (e != ERR_OK)
        return e;
    x->tls = tls_stream_connect(x->site->tls, x->fd, x->site->host);
    while ((want = tls_handshake(x->tls)) == TLS_WANT_READ || want == TLS_WANT_WRITE)
        if ((e = await(x, want == TLS_WANT_READ ? POLLIN : POLLOUT)) != ERR_OK)
            return e;
    if (want == TLS_OK)
        return ERR_OK;
    snprintf(x->why, ETL_WHY_MAX, "%s at %.200s:%u can't be trusted, or speaks no TLS: %s", x->site->name,
             x->site->host, x->site->port, tls_stream_trouble(x->tls));
    return ERR_UNAVAILABLE;
}

static void put_host(struct buf *b, const struct rest_site *site)
{
    bool v6 = site->host && strchr(site->host, ':');

    if (site->host)
        buf_addf(b, "Host: %s%s%s:%u\r\n", v6 ? "[" : "", site->host, v6 ? "]" : "", site->port);
    else
        buf_add_z(b, "Host: localhost\r\n");
}

static enum err send_request(struct exchange *x, bool upgrade)
{
    const struct rest_req *q = x->req;
    struct buf b = BUF_INIT(HEAD_MAX);

    buf_addf(&b, "%s %s HTTP/1.1\r\n", q->method, q->path);
    put_host(&b, x->site);
    buf_addf(&b, "User-Agent: sluice\r\nConnection: %s\r\n", upgrade ? "Upgrade\r\nUpgrade: tcp" : "close");
    buf_add_str(&b, q->headers);
    if (q->body.p)
        buf_addf(&b, "Content-Type: %s\r\n", q->type ? q->type : "application/json");
    if (q->body.p || strcmp(q->method, "POST") == 0)
        buf_addf(&b, "Content-Length: %zu\r\n", q->body.n);
    buf_add_z(&b, "\r\n");
    enum err e = buf_err(&b);
    if (e == ERR_OK)
        e = send_all(x, buf_str(&b));
    buf_release(&b);
    return e == ERR_OK ? send_all(x, q->body) : e;
}

static enum err read_head(struct exchange *x)
{
    struct head_scan scan = {0};
    ssize_t len = 0;
    size_t n;
    enum err e;

    while (len == 0) {
        if ((e = receive(x, &n)) != ERR_OK)
            return e;
        len = head_scan(&scan, x->in.p, x->in.n);
        if (n == 0 || len < 0 || (len == 0 && x->in.n > HEAD_MAX))
            return broken(x);
    }
    struct str head = arena_str(&x->arena, str_n(x->in.p + scan.start, (size_t)len - scan.start));
    e = head_parse_response(&x->arena, (char *)head.p, head.n, scan.lines, false, &x->head);
    buf_consume(&x->in, (size_t)len);
    return e == ERR_OK ? ERR_OK : broken(x);
}

static enum err begin(struct exchange *x, bool upgrade)
{
    enum err e = x->site->host ? open_tls(x) : open_unix(x);

    if (e == ERR_OK)
        e = send_request(x, upgrade);
    return e == ERR_OK ? read_head(x) : e;
}

static void end(struct exchange *x)
{
    tls_stream_free(x->tls);
    if (x->fd >= 0)
        close(x->fd);
    buf_release(&x->in);
    arena_release(&x->arena);
}

static struct exchange exchange(const struct rest_site *site, const struct rest_req *req, struct rest_res *res,
                                char *why)
{
    uint32_t ms = req->timeout_ms ? req->timeout_ms : REST_ASK_MS;
    struct exchange x = {
        .site = site, .req = req, .fd = -1, .until = clock_mono_ns() + (uint64_t)ms * NANOS_PER_MS, .why = why};

    *res = (struct rest_res){.status = 0};
    buf_init(&res->body, req->body_max ? req->body_max : REST_BODY_MAX);
    buf_init(&x.in, HEAD_MAX + 2 * PIECE);
    return x;
}

/* ---- the body ---- */

/* What is in x->in, as far as it is body; *more: there is more to come. */
static enum err use(struct exchange *x, struct chunked *chunks, uint64_t *left, struct buf *body, bool *more)
{
    size_t n = x->in.n, used = n;

    if (x->head.framing == HTTP_SIZED) {
        n = used = n < *left ? n : (size_t)*left;
        *left -= n;
        *more = *left > 0;
    } else if (x->head.framing == HTTP_CHUNKED && n) {
        enum chunked_state state = chunked_decode(chunks, x->in.p, n, &n, &used);
        if (state == CHUNKED_BAD)
            return broken(x);
        *more = state != CHUNKED_DONE;
    }
    if (x->req->on_piece && x->head.status < 300)
        *more &= n == 0 || x->req->on_piece(x->req->arg, str_n(x->in.p, n));
    else
        buf_add(body, x->in.p, n);
    buf_consume(&x->in, used);
    if (body->over) {
        snprintf(x->why, ETL_WHY_MAX, "the answer of %s is too large", x->site->name);
        return ERR_TOO_LARGE;
    }
    return ERR_OK;
}

static enum err read_body(struct exchange *x, struct buf *body)
{
    struct chunked chunks = {0};
    uint64_t left = x->head.length;
    bool more = x->head.framing != HTTP_NO_BODY;
    size_t n;
    enum err e;

    while (more) {
        if ((e = use(x, &chunks, &left, body, &more)) != ERR_OK || !more)
            return e;
        if ((e = receive(x, &n)) != ERR_OK)
            return e;
        if (n == 0)
            return x->head.framing == HTTP_TO_CLOSE ? ERR_OK : broken(x);
    }
    return ERR_OK;
}

enum err rest_ask(const struct rest_site *site, const struct rest_req *req, struct rest_res *res, char why[ETL_WHY_MAX])
{
    struct exchange x = exchange(site, req, res, why);
    enum err e = begin(&x, false);

    if (e == ERR_OK)
        e = read_body(&x, &res->body);
    res->status = x.head.status;
    end(&x);
    return e;
}

enum err rest_hijack(const struct rest_site *site, const struct rest_req *req, struct rest_res *res, int *fd,
                     struct buf *early, char why[ETL_WHY_MAX])
{
    struct exchange x = exchange(site, req, res, why);
    enum err e = begin(&x, true);

    *fd = -1;
    res->status = x.head.status;
    if (e == ERR_OK && x.head.status != 101 && x.head.status != 200) {
        e = read_body(&x, &res->body);
    } else if (e == ERR_OK) {
        buf_add_str(early, buf_str(&x.in));
        *fd = x.fd;
        x.fd = -1;
    }
    end(&x);
    return e;
}

void rest_res_release(struct rest_res *res)
{
    buf_release(&res->body);
}

/* ---- what answers consist of ---- */

enum err rest_json(const struct rest_site *site, const struct rest_res *res, struct arena *a, struct doc **out,
                   char why[ETL_WHY_MAX])
{
    struct js_bounds bounds = {res->body.max, NODES_MAX};
    char what[128], reason[DOC_WHY_MAX];

    if (js_read_within(a, buf_str(&res->body), &bounds, out, reason) == ERR_OK)
        return ERR_OK;
    snprintf(what, sizeof(what), "the answer of %s can't be read: ", site->name);
    rest_say(why, what, str_z(reason));
    return ERR_UNAVAILABLE;
}

const struct doc *rest_at(const struct doc *d, const char *path)
{
    struct str rest = str_z(path);

    while (d && rest.n)
        d = doc_get(d, str_split(&rest, '.'));
    return d;
}

struct str rest_text(const struct doc *d, const char *path)
{
    d = rest_at(d, path);
    return d && d->kind == DOC_SCALAR ? d->text : STR_NONE;
}
