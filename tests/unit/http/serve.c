#include "serve.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

/* ---- sources ---- */

struct made {
    struct source source;
    struct loop *loop;
    enum { MADE_FILE, MADE_LAZY, MADE_BROKEN } kind;
    int file;
    uint64_t at, end;
    bool prepared;
};

static void made_peek(struct source *s, struct span *out)
{
    struct made *m = CONTAINER(s, struct made, source);

    if (m->at == m->end)
        *out = (struct span){.kind = SPAN_END};
    else if (m->kind == MADE_FILE && !m->prepared)
        *out = (struct span){.kind = SPAN_WAIT};
    else if (m->kind == MADE_FILE) {
        uint64_t at = m->at % SERVE_FILE_SIZE;
        uint64_t len = m->end - m->at < SERVE_FILE_SIZE - at ? m->end - m->at : SERVE_FILE_SIZE - at;
        *out = (struct span){.kind = SPAN_FILE, .fd = m->file, .offset = at, .len = len};
    } else
        *out = (struct span){.kind = SPAN_READ};
}

static void made_consume(struct source *s, uint64_t n)
{
    struct made *m = CONTAINER(s, struct made, source);

    m->at += n;
    if (m->at % SERVE_FILE_SIZE < n)
        m->prepared = false;
}

static void made_prepare(struct source *s, struct call *c)
{
    CONTAINER(s, struct made, source)->prepared = true;
    call_finish(c, ERR_OK);
}

static void made_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct made *m = CONTAINER(s, struct made, source);
    size_t step = m->end - m->at < len ? (size_t)(m->end - m->at) : len;

    if (m->kind == MADE_BROKEN && m->at > 0) {
        call_finish(c, ERR_CORRUPT);
        return;
    }
    if (step > 30000)
        step = 30000;
    for (size_t i = 0; i < step; i++)
        ((char *)buf)[i] = serve_pattern(m->at % SERVE_FILE_SIZE + i);
    m->at += step;
    *n = step;
    call_finish(c, ERR_OK);
}

static void made_close(struct source *s)
{
    free(CONTAINER(s, struct made, source));
}

static struct source *made_new(struct serve *s, int kind, uint64_t size, bool tell_size)
{
    static const struct source_ops ops = {"made", made_peek, made_consume, made_prepare, made_read, made_close};
    struct made *m = NEW(struct made);

    m->source = (struct source){&ops, tell_size ? size : SOURCE_SIZE_UNKNOWN};
    m->kind = kind;
    m->loop = s->loop;
    m->file = s->file;
    m->end = size;
    return &m->source;
}

/* ---- the handler ---- */

enum { EXCHANGE_BUF = 64 * 1024, ECHO_MAX = 4 * 1024 * 1024 };

struct exchange {
    struct serve *serve;
    struct http_req *req;
    struct call call;
    struct timer timer;
    struct buf echo;
    bool echoing, once;
    uint64_t count;
    size_t n;
    char *buf;
};

static void responded(struct call *call)
{
    struct exchange *x = CONTAINER(call, struct exchange, call);

    atomic_fetch_add(&x->serve->finished, 1);
    if (call->err != ERR_OK)
        atomic_fetch_add(&x->serve->responds_failed, 1);
    buf_release(&x->echo);
    free(x->buf);
}

static void respond(struct exchange *x, int status, struct source *body)
{
    struct http_header h[] = {{STR("x-test"), STR("a\r\nb: c")}}; /* must not become a header of its own */
    struct http_res res = {.status = status, .headers = h, .header_count = 1, .body = body};

    if (x->req->method == HTTP_HEAD && !body)
        res.stated_length = 1234;
    call_begin(&x->call, x->serve->loop, responded);
    http_respond(x->req, &res, &x->call);
}

static void respond_text(struct exchange *x, int status, struct str text)
{
    respond(x, status, source_memory(arena_str(x->req->arena, text), NULL, NULL));
}

static void read_on(struct exchange *x);

static void body_read(struct call *call)
{
    struct exchange *x = CONTAINER(call, struct exchange, call);

    if (call->err != ERR_OK) {
        atomic_fetch_add(&x->serve->body_errors, 1);
        atomic_store(&x->serve->last_err, (int)call->err);
        respond_text(x, err_status(call->err) < 400 || err_status(call->err) == 499 ? 400 : err_status(call->err),
                     str_z(err_code(call->err)));
        return;
    }
    x->count += x->n;
    for (size_t i = 0; i < x->n; i++)
        if (!x->echoing && x->buf[i] != serve_pattern(x->count - x->n + i))
            atomic_fetch_add(&x->serve->mismatches, 1);
    if (x->echoing)
        buf_add(&x->echo, x->buf, x->n);
    if (x->n && !x->once) {
        read_on(x);
        return;
    }
    if (x->echoing)
        respond_text(x, 200, buf_str(&x->echo));
    else
        respond_text(x, 200, arena_printf(x->req->arena, "%llu", (unsigned long long)x->count));
}

static void read_on(struct exchange *x)
{
    call_begin(&x->call, x->serve->loop, body_read);
    source_read(x->req->body, x->buf, x->once ? 1 : EXCHANGE_BUF, &x->n, &x->call);
}

static void wait_on(struct timer *t)
{
    struct exchange *x = CONTAINER(t, struct exchange, timer);

    if (atomic_load(&x->serve->release)) {
        atomic_fetch_sub(&x->serve->waiting, 1);
        respond_text(x, 200, STR("waited"));
        return;
    }
    timer_set(x->serve->loop, t, 5);
}

static void aborted(struct http_req *req)
{
    struct exchange *x = req->user;

    timer_cancel(x->serve->loop, &x->timer);
    atomic_fetch_add(&x->serve->aborts, 1);
    atomic_fetch_sub(&x->serve->waiting, 1);
    respond_text(x, 500, STR("nobody hears this"));
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct serve *s = CONTAINER(h, struct serve, handler);
    struct exchange *x = ARENA_NEW(req->arena, struct exchange);
    uint64_t n = 0;

    atomic_fetch_add(&s->requests, 1);
    x->serve = s;
    x->req = req;
    x->timer.fn = wait_on;
    buf_init(&x->echo, ECHO_MAX);
    (void)str_to_u64(req->query, UINT64_MAX, &n);
    x->echoing = str_eq(req->path, STR("/echo"));
    x->once = str_eq(req->path, STR("/half"));
    if (str_eq(req->path, STR("/hello")))
        respond_text(x, 200, STR("hello"));
    else if (str_eq(req->path, STR("/head")))
        respond(x, 200, NULL);
    else if (str_eq(req->path, STR("/204")))
        respond(x, 204, NULL);
    else if (str_eq(req->path, STR("/file")))
        respond(x, 200, made_new(s, MADE_FILE, n, true));
    else if (str_eq(req->path, STR("/lazy")))
        respond(x, 200, made_new(s, MADE_LAZY, n, true));
    else if (str_eq(req->path, STR("/chunked")))
        respond(x, 200, made_new(s, MADE_LAZY, n, false));
    else if (str_eq(req->path, STR("/chunkedfile")))
        respond(x, 200, made_new(s, MADE_FILE, n, false));
    else if (str_eq(req->path, STR("/broken")))
        respond(x, 200, made_new(s, MADE_BROKEN, 1000000, req->has_query));
    else if (str_eq(req->path, STR("/deny")))
        respond_text(x, 403, STR("denied"));
    else if (str_eq(req->path, STR("/wait"))) {
        req->user = x;
        req->on_abort = aborted;
        if (req->has_query)
            http_end_is_leaving(req);
        atomic_fetch_add(&s->waiting, 1);
        timer_set(s->loop, &x->timer, 5);
    } else if (!req->body)
        respond_text(x, 200, STR("0"));
    else {
        x->buf = mem_alloc(EXCHANGE_BUF);
        read_on(x);
    }
}

/* ---- life ---- */

static void *run(void *arg)
{
    struct serve *s = arg;

    loop_adopt(s->loop);
    struct http_server_conf conf = {s->loop, &s->handler, s->limits, s->tls, s->listen_fd};
    s->server = http_server_new(&conf);
    atomic_store(&s->up, true);
    loop_run(s->loop);
    for (int i = 0; i < 3; i++)
        loop_turn(s->loop, 0);
    http_server_free(s->server);
    return NULL;
}

void serve_start(struct serve *s, const struct http_limits *limits, struct tls_context *tls)
{
    char why[256], *bytes = mem_alloc(SERVE_FILE_SIZE);

    *s = (struct serve){.limits = *limits, .tls = tls};
    s->handler.on_request = on_request;
    s->loop = loop_new();
    s->file = memfd_create("serve", MFD_CLOEXEC);
    for (size_t i = 0; i < SERVE_FILE_SIZE; i++)
        bytes[i] = serve_pattern(i);
    if (s->file < 0 || write(s->file, bytes, SERVE_FILE_SIZE) != SERVE_FILE_SIZE)
        abort();
    free(bytes);
    if (http_listen(STR("127.0.0.1:0"), &s->listen_fd, s->bound, why) != ERR_OK)
        abort();
    uint64_t port = 0;
    if (!str_to_u64(str_skip(str_z(s->bound), 10), 65535, &port))
        abort();
    s->port = (uint16_t)port;
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        abort();
    while (!atomic_load(&s->up))
        usleep(1000);
}

static void drained(struct call *call)
{
    struct serve *s = CONTAINER(call, struct serve, drained);

    atomic_store(&s->drain_done, true);
    loop_stop(s->loop);
}

static void start_drain(struct post *p)
{
    struct serve *s = CONTAINER(p, struct serve, post);

    call_begin(&s->drained, s->loop, drained);
    http_server_drain(s->server, s->drain_ms, &s->drained);
}

void serve_drain(struct serve *s, uint32_t ms)
{
    s->drain_ms = ms;
    s->post.fn = start_drain;
    loop_post(s->loop, &s->post);
}

void serve_release(struct serve *s)
{
    atomic_store(&s->release, true);
}

void serve_stop(struct serve *s)
{
    if (!s->post.fn)
        serve_drain(s, 500);
    pthread_join(s->thread, NULL);
    loop_free(s->loop);
    close(s->file);
}

/* ---- the client ---- */

int client_open(const struct serve *s)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
        abort();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

void client_send(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
        if (r <= 0)
            return; /* the answer tells */
        p += r;
        n -= (size_t)r;
    }
}

void client_send_z(int fd, const char *z)
{
    client_send(fd, z, strlen(z));
}

ssize_t client_read_all(int fd, char *buf, size_t cap)
{
    size_t n = 0;

    while (n < cap) {
        ssize_t r = recv(fd, buf + n, cap - n, 0);
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    return (ssize_t)n;
}

static bool read_head(int fd, struct answer *a)
{
    size_t n = 0;

    while (n < 4 || memcmp(a->head + n - 4, "\r\n\r\n", 4) != 0) {
        if (n + 1 == sizeof(a->head) || recv(fd, a->head + n, 1, 0) != 1)
            return false;
        a->head[++n] = 0;
    }
    return true;
}

static bool read_exactly(int fd, struct answer *a, size_t n)
{
    a->body = mem_realloc(a->body, a->body_n + n + 1);
    ssize_t r = client_read_all(fd, a->body + a->body_n, n);
    if (r > 0)
        a->body_n += (size_t)r;
    return r == (ssize_t)n;
}

static bool read_chunks(int fd, struct answer *a)
{
    for (;;) {
        char line[64], crlf[2];
        size_t n = 0;
        while (n < 2 || line[n - 1] != '\n')
            if (n + 1 == sizeof(line) || recv(fd, line + n++, 1, 0) != 1)
                return false;
        uint64_t size;
        if (!str_hex_to_u64(str_n(line, n - 2), &size) || !read_exactly(fd, a, (size_t)size))
            return false;
        if (client_read_all(fd, crlf, 2) != 2 || memcmp(crlf, "\r\n", 2) != 0)
            return false;
        if (size == 0)
            return true;
    }
}

bool client_answer(int fd, bool head_only, struct answer *a)
{
    *a = (struct answer){0};
    if (!read_head(fd, a) || memcmp(a->head, "HTTP/1.1 ", 9) != 0)
        return false;
    uint64_t status = 0, length;
    if (!str_to_u64(str_n(a->head + 9, 3), 999, &status))
        return false;
    a->status = (int)status;
    if (head_only || status < 200 || status == 204 || status == 304)
        return true;
    const char *at = strstr(a->head, "Content-Length: ");
    if (at)
        return str_to_u64(str_n(at + 16, strcspn(at + 16, "\r")), UINT64_MAX, &length) &&
               read_exactly(fd, a, (size_t)length);
    if (strstr(a->head, "Transfer-Encoding: chunked"))
        return read_chunks(fd, a);
    (void)read_exactly(fd, a, 1 << 20);
    return true;
}

void answer_release(struct answer *a)
{
    free(a->body);
    a->body = NULL;
}

int client_ask(int fd, const char *request)
{
    struct answer a;

    client_send_z(fd, request);
    bool ok = client_answer(fd, false, &a);
    answer_release(&a);
    return ok ? a.status : 0;
}
