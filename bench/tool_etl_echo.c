/* A sidecar that gives back what it gets, as cheaply as can be, to measure what the store adds: HTTP (PUT, `hpush`) and WebSocket (/ws) on port 8000.
 *   tool_etl_echo
 * A thread per connection. A WebSocket message is answered fragment by fragment. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

enum { PORT = 8000, HEAD_MAX = 65536, PIECE = 256 << 10 };
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct conn {
    int fd;
    char *buf;
    size_t at, n; /* bytes that were read and not used yet: buf[at..n) */
};

static bool more(struct conn *c)
{
    if (c->at == c->n)
        c->at = c->n = 0;
    ssize_t got = c->n < HEAD_MAX + PIECE ? read(c->fd, c->buf + c->n, HEAD_MAX + PIECE - c->n) : 0;
    if (got <= 0)
        return false;
    c->n += (size_t)got;
    return true;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* The head, which ends with an empty line; 0-terminated. */
static char *read_head(struct conn *c)
{
    for (;;) {
        char *end = c->n > c->at ? memmem(c->buf + c->at, c->n - c->at, "\r\n\r\n", 4) : NULL;
        if (end) {
            char *head = c->buf + c->at;
            end[2] = 0;
            c->at = (size_t)(end - c->buf) + 4;
            return head;
        }
        if (c->at) {
            memmove(c->buf, c->buf + c->at, c->n - c->at);
            c->n -= c->at;
            c->at = 0;
        }
        if (c->n > HEAD_MAX || !more(c))
            return NULL;
    }
}

static const char *field(const char *head, const char *name, size_t *n)
{
    size_t name_n = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, name_n) != 0 || line[2 + name_n] != ':')
            continue;
        const char *value = line + 3 + name_n;
        value += strspn(value, " ");
        *n = strcspn(value, "\r");
        return value;
    }
    return NULL;
}

static bool pass_on(struct conn *c, uint64_t left)
{
    while (left) {
        if (c->at == c->n && !more(c))
            return false;
        size_t n = c->n - c->at < left ? c->n - c->at : (size_t)left;
        if (!send_all(c->fd, c->buf + c->at, n))
            return false;
        c->at += n;
        left -= n;
    }
    return true;
}

static bool echo(struct conn *c, const char *head)
{
    char out[256];
    size_t n;
    const char *length = field(head, "content-length", &n);
    uint64_t size = length ? strtoull(length, NULL, 10) : 0;

    snprintf(out, sizeof(out), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", (unsigned long long)size);
    return send_all(c->fd, out, strlen(out)) && pass_on(c, size);
}

/* ---- WebSocket, RFC 6455 ---- */

static bool need(struct conn *c, size_t n)
{
    if (c->at + n > HEAD_MAX + PIECE) {
        memmove(c->buf, c->buf + c->at, c->n - c->at);
        c->n -= c->at;
        c->at = 0;
    }
    while (c->n - c->at < n)
        if (!more(c))
            return false;
    return true;
}

static bool read_frame_head(struct conn *c, uint8_t *first, uint64_t *size, uint8_t mask[4])
{
    size_t extra;

    if (!need(c, 2))
        return false;
    *first = (uint8_t)c->buf[c->at];
    uint8_t second = (uint8_t)c->buf[c->at + 1];
    extra = (second & 127) == 126 ? 2 : (second & 127) == 127 ? 8 : 0;
    if (!(second & 128) || !need(c, 2 + extra + 4))
        return false;
    *size = extra ? 0 : second & 127;
    for (size_t i = 0; i < extra; i++)
        *size = *size << 8 | (uint8_t)c->buf[c->at + 2 + i];
    memcpy(mask, c->buf + c->at + 2 + extra, 4);
    c->at += 2 + extra + 4;
    return true;
}

static bool send_frame_head(int fd, uint8_t first, uint64_t size)
{
    char out[10] = {(char)first};
    size_t n = 2;

    if (size < 126) {
        out[1] = (char)size;
    } else {
        out[1] = 127;
        for (int i = 0; i < 8; i++)
            out[2 + i] = (char)(size >> (56 - 8 * i));
        n = 10;
    }
    return send_all(fd, out, n);
}

static void unmask(char *p, size_t n, const uint8_t mask[4], uint64_t at)
{
    uint8_t turned[8];
    uint64_t word;
    size_t i = 0;

    for (int k = 0; k < 8; k++)
        turned[k] = mask[(at + (uint64_t)k) & 3];
    memcpy(&word, turned, 8);
    for (; i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, 8);
        v ^= word;
        memcpy(p + i, &v, 8);
    }
    for (; i < n; i++)
        p[i] ^= (char)turned[i & 7];
}

/* One frame; of messages, the control message that comes first is not answered. */
static bool ws_frame(struct conn *c, bool *control)
{
    uint8_t first, mask[4];
    uint64_t size;

    if (!read_frame_head(c, &first, &size, mask) || (first & 15) == 8)
        return false;
    bool answered = (first & 15) < 8 && !*control;
    if (answered && !send_frame_head(c->fd, first, size))
        return false;
    for (uint64_t at = 0; at < size;) {
        if (c->at == c->n && !more(c))
            return false;
        size_t n = c->n - c->at < size - at ? c->n - c->at : (size_t)(size - at);
        unmask(c->buf + c->at, n, mask, at);
        if (answered && !send_all(c->fd, c->buf + c->at, n))
            return false;
        c->at += n;
        at += n;
    }
    if ((first & 15) < 8 && first & 128)
        *control = !*control;
    return true;
}

static void websocket(struct conn *c, const char *head)
{
    char text[256], accept[64] = "", out[256];
    bool control = true;
    struct digest d;
    struct hash h;
    size_t n;
    const char *key = field(head, "sec-websocket-key", &n);

    if (!key || n > 64)
        return;
    snprintf(text, sizeof(text), "%.*s" GUID, (int)n, key);
    hash_init(&h, HASH_SHA1);
    hash_update(&h, text, strlen(text));
    hash_final(&h, &d);
    accept[base64_encode(d.b, d.n, accept)] = 0;
    snprintf(out, sizeof(out),
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
             "%s\r\n\r\n",
             accept);
    if (!send_all(c->fd, out, strlen(out)))
        return;
    while (ws_frame(c, &control))
        ;
}

static void *serve(void *arg)
{
    struct conn c = {.fd = (int)(intptr_t)arg, .buf = mem_alloc(HEAD_MAX + PIECE)};
    char *head;
    bool good = true;

    while (good && (head = read_head(&c)) != NULL) {
        if (strncmp(head, "GET /ws", 7) == 0) {
            websocket(&c, head);
            good = false;
        } else {
            good = echo(&c, head);
        }
    }
    free(c.buf);
    close(c.fd);
    return NULL;
}

int main(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    hash_setup();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, SOMAXCONN) != 0) {
        perror("tool_etl_echo");
        return EXIT_FAILURE;
    }
    for (;;) {
        pthread_t thread;
        int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (conn < 0)
            continue;
        setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)conn) != 0)
            close(conn);
        else
            pthread_detach(thread);
    }
}
