#include "etcd_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = 64, TICK_MS = 5, PIECE = 65536 };

struct pair {
    int client, server; /* 0: free */
    bool deaf, txn;
};

struct etcd_proxy {
    pthread_t thread;
    int listener;
    struct sockaddr_in target;
    char url[64];
    atomic_int refuse, swallow, deafen, stop;
    struct pair pairs[PAIRS];
    char piece[PIECE];
};

static void hang_up(struct pair *p)
{
    close(p->client);
    close(p->server);
    *p = (struct pair){0};
}

static bool carry(int from, int to, char *piece, ssize_t n)
{
    (void)from;
    for (ssize_t at = 0, w; at < n; at += w)
        if ((w = send(to, piece + at, (size_t)(n - at), MSG_NOSIGNAL)) <= 0)
            return false;
    return true;
}

static void from_client(struct etcd_proxy *x, struct pair *p)
{
    ssize_t n = recv(p->client, x->piece, PIECE, MSG_DONTWAIT);

    if (n > 0 && memmem(x->piece, (size_t)n, "POST /", 6))
        p->txn = memmem(x->piece, (size_t)n, "/v3/kv/txn", 10) != NULL;
    if (n <= 0 || !carry(p->client, p->server, x->piece, n))
        hang_up(p);
}

static void from_server(struct etcd_proxy *x, struct pair *p)
{
    ssize_t n = recv(p->server, x->piece, PIECE, MSG_DONTWAIT);

    if (n > 0 && p->txn && atomic_load(&x->swallow) > 0) {
        atomic_fetch_sub(&x->swallow, 1);
        n = 0;
    }
    if (n <= 0 || (!p->deaf && !carry(p->server, p->client, x->piece, n)))
        hang_up(p);
}

static void take(struct etcd_proxy *x)
{
    int client = accept4(x->listener, NULL, NULL, SOCK_CLOEXEC), server;
    struct pair *p = x->pairs;

    if (client < 0)
        return;
    while (p < x->pairs + PAIRS && p->client)
        p++;
    if (p == x->pairs + PAIRS || atomic_load(&x->refuse)) {
        close(client);
        return;
    }
    server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0 || connect(server, (struct sockaddr *)&x->target, sizeof(x->target)) != 0) {
        close(client);
        close(server);
        return;
    }
    *p = (struct pair){client, server, false, false};
}

static void turn(struct etcd_proxy *x)
{
    struct pollfd fds[1 + 2 * PAIRS];

    fds[0] = (struct pollfd){x->listener, POLLIN, 0};
    for (int i = 0; i < PAIRS; i++) {
        bool used = x->pairs[i].client != 0;
        fds[1 + 2 * i] = (struct pollfd){used ? x->pairs[i].client : -1, POLLIN, 0};
        fds[2 + 2 * i] = (struct pollfd){used ? x->pairs[i].server : -1, POLLIN, 0};
    }
    if (poll(fds, 1 + 2 * PAIRS, TICK_MS) > 0) {
        for (int i = 0; i < PAIRS; i++) {
            if (fds[1 + 2 * i].revents && x->pairs[i].client)
                from_client(x, &x->pairs[i]);
            if (fds[2 + 2 * i].revents && x->pairs[i].client)
                from_server(x, &x->pairs[i]);
        }
        if (fds[0].revents)
            take(x);
    }
}

static void *run(void *arg)
{
    struct etcd_proxy *x = arg;

    while (!atomic_load(&x->stop)) {
        turn(x);
        bool deafen = atomic_exchange(&x->deafen, 0);
        for (int i = 0; i < PAIRS; i++) {
            if (x->pairs[i].client && atomic_load(&x->refuse))
                hang_up(&x->pairs[i]);
            x->pairs[i].deaf |= deafen && x->pairs[i].client;
        }
    }
    for (int i = 0; i < PAIRS; i++)
        if (x->pairs[i].client)
            hang_up(&x->pairs[i]);
    close(x->listener);
    return NULL;
}

struct etcd_proxy *etcd_proxy_new(const char *target_url)
{
    struct etcd_proxy *x = calloc(1, sizeof(*x));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);

    if (!x)
        abort();
    x->target = a;
    x->target.sin_port = htons((uint16_t)strtol(strrchr(target_url, ':') + 1, NULL, 10));
    x->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(x->listener, (struct sockaddr *)&a, n) != 0 || listen(x->listener, 64) != 0 ||
        getsockname(x->listener, (struct sockaddr *)&a, &n) != 0)
        abort();
    snprintf(x->url, sizeof(x->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    if (pthread_create(&x->thread, NULL, run, x) != 0)
        abort();
    return x;
}

const char *etcd_proxy_url(const struct etcd_proxy *p)
{
    return p->url;
}

void etcd_proxy_refuse(struct etcd_proxy *p, int on)
{
    atomic_store(&p->refuse, on);
}

void etcd_proxy_swallow(struct etcd_proxy *p, int n)
{
    atomic_store(&p->swallow, n);
}

int etcd_proxy_swallows_left(const struct etcd_proxy *p)
{
    return atomic_load(&p->swallow);
}

void etcd_proxy_deafen(struct etcd_proxy *p)
{
    atomic_store(&p->deafen, 1);
}

void etcd_proxy_free(struct etcd_proxy *p)
{
    atomic_store(&p->stop, 1);
    pthread_join(p->thread, NULL);
    free(p);
}
