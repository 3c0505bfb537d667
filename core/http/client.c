#include "client.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/mem.h"
#include "http/address.h"

enum {
    EVENTS_PER_TURN = 64,
    IDLE_HANDLES = 8,
    IDLE_CONNECTIONS = 64,
    CONNECT_TIMEOUT_MS = 10000,
    KEEPALIVE_S = 15,
    HEADERS_MAX = 256,
    AHEAD_MAX = 256 << 10
};

struct http_client {
    struct loop *loop;
    CURLM *multi;
    /* libcurl closes its sockets whenever it likes, which the loop's own poll set can't bear; so they live in this
     * inner one, of which the loop sees only its descriptor */
    int inner;
    struct io *io;
    struct timer timer;
    unsigned active;
    CURL *idle[IDLE_HANDLES];
    unsigned idle_n;
};

struct transfer {
    struct http_client *client;
    const struct http_client_req *req;
    struct http_client_res *res;
    struct call *call;
    CURL *easy;
    struct curl_slist *headers;
    struct buf head; /* raw lines of the current answer's head */
    bool too_large;
    bool refused; /* an address that may not be connected to */
    /* of http_client_open() */
    struct source **out;  /* NULL: the body goes into memory */
    struct source stream; /* given away once the head is there; then `req`, `res` and `call` are gone */
    bool head_done, ended, paused, closed;
    enum err ended_err;
    struct buf ahead; /* what came and was not read yet */
    struct call *reader;
    void *read_to;
    size_t read_len, *read_n;
    char curl_why[CURL_ERROR_SIZE];
};

static void stream_begin(struct transfer *t);
static size_t stream_add(struct transfer *t, struct str piece);
static void stream_end(struct transfer *t, enum err e);

/* ---- what libcurl tells about an answer ---- */

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct str line = str_n(p, size * n);

    if (str_starts(line, STR("HTTP/")))
        buf_reset(&t->head); /* after a 100, the real one */
    buf_add_str(&t->head, line);
    t->too_large |= t->head.over;
    if (t->out && !t->head_done && !t->too_large && (str_eq(line, STR("\r\n")) || str_eq(line, STR("\n"))))
        stream_begin(t);
    return t->too_large ? 0 : line.n;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct str piece = str_n(p, size * n);

    if (t->out)
        return stream_add(t, piece);
    if (t->req->on_piece) {
        t->too_large = !t->req->on_piece(t->req->on_piece_arg, piece);
    } else {
        buf_add_str(&t->res->body, piece);
        t->too_large = t->res->body.over;
    }
    return t->too_large ? 0 : piece.n;
}

static size_t count_lines(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n';
    return n < HEADERS_MAX ? n : HEADERS_MAX;
}

static void take_headers(struct transfer *t)
{
    struct http_client_res *r = t->res;
    struct str raw = arena_str(&r->arena, buf_str(&t->head));
    size_t room = count_lines(raw);

    r->headers = arena_alloc(&r->arena, room * sizeof(*r->headers));
    (void)str_split(&raw, '\n'); /* the status line */
    while (raw.n && r->header_count < room) {
        struct str line = str_split(&raw, '\n');
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        size_t colon = str_find_char(line, ':');
        if (colon == SIZE_MAX)
            continue;
        char *name = (char *)line.p; /* in our copy */
        for (size_t i = 0; i < colon; i++)
            if (name[i] >= 'A' && name[i] <= 'Z')
                name[i] = (char)(name[i] + 32);
        r->headers[r->header_count++] = (struct http_header){str_n(line.p, colon), str_trim(str_skip(line, colon + 1))};
    }
}

/* ---- the end of an exchange ---- */

static void transfer_end(struct transfer *t, enum err e)
{
    struct http_client *c = t->client;
    struct call *call = t->call;

    curl_multi_remove_handle(c->multi, t->easy);
    if (c->idle_n < IDLE_HANDLES) {
        curl_easy_reset(t->easy);
        c->idle[c->idle_n++] = t->easy;
    } else {
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    buf_release(&t->head);
    free(t);
    c->active--;
    call_finish(call, e);
}

static enum err outcome(struct transfer *t, CURLcode code)
{
    if (code == CURLE_OK)
        return ERR_OK;
    if (t->head_done) /* res is no longer ours */
        return code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    if (t->refused) {
        snprintf(t->res->why, sizeof(t->res->why), "the address is not a public one");
        return ERR_ACCESS_DENIED;
    }
    snprintf(t->res->why, sizeof(t->res->why), "%s", t->curl_why[0] ? t->curl_why : curl_easy_strerror(code));
    if (t->too_large)
        return ERR_TOO_LARGE;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return ERR_TIMEOUT;
    return code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ? ERR_INVALID_ARGUMENT : ERR_UNAVAILABLE;
}

static void reap(struct http_client *c)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
        struct transfer *t = NULL;
        CURLcode code = m->data.result;
        long status = 0;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        enum err e = outcome(t, code);
        if (t->head_done) {
            stream_end(t, e);
            continue;
        }
        t->res->status = (int)status;
        take_headers(t);
        transfer_end(t, e);
    }
}

/* ---- sockets and time ---- */

static void on_inner(struct io *io, void *owner)
{
    struct http_client *c = owner;
    struct epoll_event events[EVENTS_PER_TURN];
    int n = epoll_wait(io_fd(io), events, EVENTS_PER_TURN, 0), running;

    for (int i = 0; i < n; i++) {
        uint32_t e = events[i].events;
        int mask = (e & EPOLLIN ? CURL_CSELECT_IN : 0) | (e & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (e & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        /* a socket that an earlier event of this batch ended is unknown to libcurl by now, which it bears */
        curl_multi_socket_action(c->multi, events[i].data.fd, mask, &running);
    }
    reap(c);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct http_client *c = arg;
    struct epoll_event e = {.data.fd = fd};

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        /* fails for a socket that is closed already: then it left the poll set by that */
        (void)epoll_ctl(c->inner, EPOLL_CTL_DEL, fd, NULL);
        curl_multi_assign(c->multi, fd, NULL);
        return 0;
    }
    e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    int r = epoll_ctl(c->inner, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    if (r != 0 && (errno == ENOENT || errno == EEXIST))
        r = epoll_ctl(c->inner, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e);
    curl_multi_assign(c->multi, fd, c);
    return r == 0 ? 0 : -1;
}

static int on_curl_timer(CURLM *multi, long ms, void *arg)
{
    struct http_client *c = arg;

    (void)multi;
    if (ms < 0)
        timer_cancel(c->loop, &c->timer);
    else
        timer_set(c->loop, &c->timer, (uint64_t)ms); /* 0 too: libcurl must not be called from its own callback */
    return 0;
}

static void on_timer(struct timer *t)
{
    struct http_client *c = CONTAINER(t, struct http_client, timer);
    int running;

    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    reap(c);
}

/* ---- the beginning of an exchange ---- */

static bool is_safe(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == 0)
            return false;
    return true;
}

static bool add_line(struct transfer *t, struct str name, struct str value)
{
    struct buf line = BUF_INIT(HTTP_CLIENT_HEAD_MAX);
    struct curl_slist *more = NULL;

    if (name.n && is_safe(name) && is_safe(value)) {
        /* libcurl's own forms: "Name;" sends it empty, "Name:" suppresses it */
        buf_add_str(&line, name);
        buf_add_z(&line, value.n ? ": " : ";");
        buf_add_str(&line, value);
        buf_add_char(&line, 0);
        if (!line.over)
            more = curl_slist_append(t->headers, line.p);
    }
    buf_release(&line);
    if (more)
        t->headers = more;
    return more != NULL;
}

static bool add_headers(struct transfer *t)
{
    const struct http_client_req *q = t->req;
    bool typed = false;

    for (size_t i = 0; i < q->header_count; i++) {
        typed |= str_eq_nocase(q->headers[i].name, STR("content-type"));
        if (!add_line(t, q->headers[i].name, q->headers[i].value))
            return false;
    }
    /* what libcurl would add of its own accord */
    struct curl_slist *l = curl_slist_append(t->headers, "Expect:");
    if (l && !typed)
        l = curl_slist_append(l, "Content-Type:");
    t->headers = l ? l : t->headers;
    return l != NULL;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct transfer *t = arg;

    (void)purpose;
    if (!address_is_public(&a->addr)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_connection_options(CURL *e, const struct http_client_req *q)
{
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(q->connect_timeout_ms ? q->connect_timeout_ms : CONNECT_TIMEOUT_MS));
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    /* for exchanges that stay open in silence: routers forget those, and hosts die without a word */
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_S);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_S);
    curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, q->unix_socket);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, q->insecure ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, q->insecure ? 0L : 2L);
    if (q->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, q->ca_file);
    curl_easy_setopt(e, CURLOPT_SSLCERT, q->cert_file);
    curl_easy_setopt(e, CURLOPT_SSLKEY, q->key_file);
}

static bool set_options(struct transfer *t)
{
    const struct http_client_req *q = t->req;
    CURL *e = t->easy;

    if (!q->url || curl_easy_setopt(e, CURLOPT_URL, q->url) != CURLE_OK || !add_headers(t))
        return false;
    set_connection_options(e, q);
    if (q->body.p) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.n);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, q->body.n ? q->body.p : "");
    }
    if (strcmp(q->method, "HEAD") == 0)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, q->method);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_PRIVATE, t);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->curl_why);
    if (q->public_only) {
        curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L); /* a kept one was not looked at */
    }
    if (q->idle_timeout_s) {
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)q->idle_timeout_s);
    }
    return true;
}

static void on_cancel(void *arg)
{
    transfer_end(arg, ERR_CANCELLED);
}

static void begin(struct http_client *c, const struct http_client_req *req, struct http_client_res *res,
                  struct source **out, struct call *call)
{
    *res = (struct http_client_res){.arena = ARENA_INIT, .body = BUF_INIT(req->body_max)};
    if (c->active == HTTP_CLIENT_CALLS_MAX) {
        snprintf(res->why, sizeof(res->why), "%u exchanges are under way already", c->active);
        call_finish(call, ERR_BUSY);
        return;
    }
    struct transfer *t = NEW(struct transfer);
    *t = (struct transfer){
        .client = c, .req = req, .res = res, .call = call, .out = out, .head = BUF_INIT(HTTP_CLIENT_HEAD_MAX)};
    buf_init(&t->ahead, 2 * AHEAD_MAX);
    t->easy = c->idle_n ? c->idle[--c->idle_n] : curl_easy_init();
    if (!t->easy)
        abort(); /* out of memory */
    c->active++;
    if (!set_options(t) || curl_multi_add_handle(c->multi, t->easy) != CURLM_OK) {
        snprintf(res->why, sizeof(res->why), "the request can't be sent as it is");
        transfer_end(t, ERR_INVALID_ARGUMENT);
        return;
    }
    call_on_cancel(call, on_cancel, t);
}

void http_client_send(struct http_client *c, const struct http_client_req *req, struct http_client_res *res,
                      struct call *call)
{
    begin(c, req, res, NULL, call);
}

void http_client_open(struct http_client *c, const struct http_client_req *req, struct http_client_res *res,
                      struct source **body, struct call *call)
{
    *body = NULL;
    begin(c, req, res, body, call);
}

/* ---- a body as a source ---- */

static void stream_give(struct transfer *t)
{
    size_t n = t->ahead.n < t->read_len ? t->ahead.n : t->read_len;
    struct call *c = t->reader;

    t->reader = NULL;
    if (n) {
        memcpy(t->read_to, t->ahead.p, n);
        buf_consume(&t->ahead, n);
    }
    *t->read_n = n;
    call_finish(c, n ? ERR_OK : t->ended_err);
}

static void stream_cancel(void *arg)
{
    struct transfer *t = arg;
    struct call *c = t->reader;

    t->reader = NULL;
    if (c)
        call_finish(c, ERR_CANCELLED);
}

static void stream_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct transfer *t = CONTAINER(s, struct transfer, stream);

    t->reader = call;
    t->read_to = buf;
    t->read_len = len;
    t->read_n = n;
    *n = 0;
    if (t->ahead.n || t->ended)
        stream_give(t);
    else
        call_on_cancel(call, stream_cancel, t);
    if (t->paused && !t->ended && t->ahead.n <= AHEAD_MAX / 2) {
        t->paused = false;
        curl_easy_pause(t->easy, CURLPAUSE_CONT); /* may deliver at once */
    }
}

/* Gives the handle back; what is ahead stays until the source is closed. */
static void stream_detach(struct transfer *t)
{
    struct http_client *c = t->client;

    curl_multi_remove_handle(c->multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    c->active--;
}

static void stream_close(struct source *s)
{
    struct transfer *t = CONTAINER(s, struct transfer, stream);

    if (!t->ended)
        stream_detach(t);
    buf_release(&t->head);
    buf_release(&t->ahead);
    free(t);
}

static void stream_end(struct transfer *t, enum err e)
{
    t->ended = true;
    t->ended_err = e;
    stream_detach(t);
    if (t->reader)
        stream_give(t);
}

static void stream_begin(struct transfer *t)
{
    static const struct source_ops ops = {.name = "http-client", .read = stream_read, .close = stream_close};
    curl_off_t size = -1;
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    t->head_done = true;
    t->res->status = (int)status;
    take_headers(t);
    t->stream = (struct source){&ops, size < 0 ? SOURCE_SIZE_UNKNOWN : (uint64_t)size};
    *t->out = &t->stream;
    call_finish(t->call, ERR_OK);
    t->call = NULL;
}

static size_t stream_add(struct transfer *t, struct str piece)
{
    if (t->ahead.n >= AHEAD_MAX) {
        t->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    buf_add_str(&t->ahead, piece);
    if (t->reader)
        stream_give(t);
    return t->ahead.over ? 0 : piece.n;
}

void http_client_res_release(struct http_client_res *res)
{
    buf_release(&res->body);
    arena_release(&res->arena);
    res->headers = NULL;
    res->header_count = 0;
}

struct str http_client_header(const struct http_client_res *res, struct str name)
{
    for (size_t i = 0; i < res->header_count; i++)
        if (str_eq(res->headers[i].name, name))
            return res->headers[i].value;
    return STR_NONE;
}

/* ---- life ---- */

static void init_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

struct http_client *http_client_new(struct loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_client *c = NEW(struct http_client);

    pthread_once(&once, init_curl);
    c->loop = loop;
    c->timer.fn = on_timer;
    c->inner = epoll_create1(EPOLL_CLOEXEC);
    c->multi = curl_multi_init();
    if (c->inner < 0 || !c->multi)
        abort();
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
    curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    c->io = io_open(loop, c->inner, c);
    io_want_read(c->io, on_inner);
    return c;
}

void http_client_free(struct http_client *c)
{
    assert(c->active == 0);
    while (c->idle_n)
        curl_easy_cleanup(c->idle[--c->idle_n]);
    curl_multi_cleanup(c->multi);
    timer_cancel(c->loop, &c->timer);
    io_close(c->io);
    free(c);
}
