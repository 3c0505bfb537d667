#include "unit.h"

#include "wsock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "etl/ws_frame.h"

enum { FRAME_MAX = 1 << 20 };

bool wsock_shake(struct sidecar *s, int fd, const char *more)
{
    static pthread_mutex_t one_head = PTHREAD_MUTEX_INITIALIZER; /* of the sidecar */
    char accept[WS_ACCEPT_LEN], head[1024];

    pthread_mutex_lock(&one_head);
    const char *key = take_head(s, fd) ? strstr(s->head, "Sec-WebSocket-Key: ") : NULL;
    if (key)
        ws_accept(key + 19, accept);
    pthread_mutex_unlock(&one_head);
    if (!key)
        return false;
    snprintf(head, sizeof(head),
             "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
             "Sec-WebSocket-Accept: %.*s\r\n%s\r\n",
             WS_ACCEPT_LEN, accept, more);
    say(fd, head);
    return true;
}

static bool take(int fd, void *p, size_t n)
{
    return n == 0 || recv(fd, p, n, MSG_WAITALL) == (ssize_t)n;
}

int wsock_frame(int fd, char *p, size_t cap, size_t *n)
{
    uint8_t head[2], wide[8], mask[4];

    if (!take(fd, head, 2) || !(head[1] & 0x80))
        return -1;
    size_t len = head[1] & 0x7f, more = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (!take(fd, wide, more))
        return -1;
    for (size_t i = 0; i < more; i++)
        len = i ? len << 8 | wide[i] : wide[i];
    if (len > cap || !take(fd, mask, 4) || !take(fd, p, len))
        return -1;
    for (size_t i = 0; i < len; i++)
        p[i] = (char)(p[i] ^ mask[i % 4]);
    *n = len;
    return head[0];
}

bool wsock_take(int fd, struct wsock_message *m)
{
    char *p = mem_alloc(FRAME_MAX);
    size_t n;
    int first;

    *m = (struct wsock_message){0};
    while ((first = wsock_frame(fd, p, FRAME_MAX, &n)) >= 0) {
        if (first == 0x8a) {
            m->pongs++;
            continue;
        }
        if (first == 0x88) {
            m->op = 8;
            break;
        }
        m->bad |= (first & 0x70) || ((first & 0x0f) == 0) != (m->frames > 0);
        if (m->frames++ == 0)
            m->op = first & 0x0f;
        m->p = mem_realloc(m->p, m->n + n + 1);
        memcpy(m->p + m->n, p, n);
        m->n += n;
        m->p[m->n] = 0;
        if (first & 0x80)
            break;
    }
    if (first < 0)
        m->op = 0;
    free(p);
    return m->op == 1 || m->op == 2;
}

void wsock_release(struct wsock_message *m)
{
    free(m->p);
    *m = (struct wsock_message){0};
}

void wsock_say(int fd, int first, const char *p, size_t n)
{
    char head[10] = {(char)first};
    size_t wide = n < 126 ? 0 : n < 65536 ? 2 : 8;

    head[1] = (char)(wide == 0 ? n : wide == 2 ? 126 : 127);
    for (size_t i = 0; i < wide; i++)
        head[2 + i] = (char)((uint64_t)n >> 8 * (wide - 1 - i));
    say_n(fd, head, 2 + wide);
    say_n(fd, p, n);
}

void wsock_say_z(int fd, int first, const char *z)
{
    wsock_say(fd, first, z, strlen(z));
}

bool wsock_object(int fd, struct wsock_message *control, struct wsock_message *object)
{
    wsock_release(control);
    wsock_release(object);
    return wsock_take(fd, control) && wsock_take(fd, object);
}
