/* What the images of tests hold, a static program and nothing else: a transform to upper case over HTTP or pipes, and ways to be a bad sidecar. It
 * is compiled by itself, without Sluice's libraries. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY_MAX = 8 << 20, HEAD_MAX = 16384 };
static char body[BODY_MAX + HEAD_MAX], back[BODY_MAX + HEAD_MAX];

static void upper(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)toupper((unsigned char)p[i]);
}

static void send_all(int fd, const char *p, size_t n)
{
    for (ssize_t k; n && (k = write(fd, p, n)) > 0; n -= (size_t)k)
        p += k;
}

static void answer(int fd, int status, const char *p, size_t n)
{
    char head[128];
    int k = snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", status, n);

    send_all(fd, head, (size_t)k);
    send_all(fd, p, n);
}

/* A head and a body of known length, or one that ends with the connection; the bytes of the body, -1: there is none to be had. */
static ssize_t receive(int fd, char *at, char head[HEAD_MAX], int sized)
{
    size_t n = 0, want = 0, end = 0;
    ssize_t k;

    while (n < BODY_MAX && (!end || (sized ? n < want : 1)) && (k = read(fd, at + n, BODY_MAX - n)) > 0) {
        n += (size_t)k;
        char *mark = end ? NULL : memmem(at, n, "\r\n\r\n", 4);
        if (!mark)
            continue;
        end = (size_t)(mark - at) + 4;
        if (end >= HEAD_MAX)
            return -1;
        memcpy(head, at, end);
        head[end] = 0;
        char *length = strcasestr(head, "\r\ncontent-length:");
        want = end + (length ? strtoul(length + 17, NULL, 10) : 0);
    }
    if (!end)
        return -1;
    memmove(at, at + end, n - end);
    return (ssize_t)(n - end);
}

static int dial(const char *host, unsigned port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), err = 0;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof(err);

    inet_pton(AF_INET, host, &sa.sin_addr);
    (void)connect(fd, (struct sockaddr *)&sa, sizeof(sa));
    if (poll(&p, 1, 1000) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, 0);
    return fd;
}

/* GET of what the node has at AIS_TARGET_URL + path. */
static ssize_t fetch(const char *path)
{
    char host[64] = "", root[1024] = "", head[HEAD_MAX];
    unsigned port = 80;
    const char *url = getenv("AIS_TARGET_URL");

    if (!url || sscanf(url, "http://%63[^:/]:%u%1023s", host, &port, root) < 2)
        return -1;
    int fd = dial(host, port);
    if (fd < 0)
        return -1;
    dprintf(fd, "GET %s%s HTTP/1.0\r\nHost: %s\r\n\r\n", root, path, host);
    ssize_t n = receive(fd, back, head, 0);
    close(fd);
    return n >= 0 && strstr(head, " 200 ") ? n : -1;
}

static void hog(void)
{
    for (;;) {
        char *p = malloc(1 << 20);
        if (p)
            memset(p, 1, 1 << 20);
    }
}

static int special(int fd, char *path)
{
    char *arg = strchr(path, '?');

    if (arg)
        *arg++ = 0;
    else
        arg = path + strlen(path);
    if (strcmp(path, "/health") == 0) {
        answer(fd, 200, "Running", 7);
    } else if (strcmp(path, "/exit") == 0) {
        fprintf(stderr, "I was told to exit\n");
        exit(atoi(arg));
    } else if (strcmp(path, "/hog") == 0) {
        hog();
    } else if (strcmp(path, "/env") == 0) {
        const char *v = getenv(arg);
        answer(fd, v ? 200 : 404, v ? v : "", v ? strlen(v) : 0);
    } else if (strcmp(path, "/who") == 0) {
        char text[64];
        answer(fd, 200, text, (size_t)snprintf(text, sizeof(text), "%d:%d pid %d", getuid(), getgid(), getpid() > 2));
    } else if (strcmp(path, "/file") == 0) {
        int file = open(arg, O_RDONLY);
        ssize_t n = file < 0 ? -1 : read(file, back, BODY_MAX);
        answer(fd, n < 0 ? 404 : 200, back, n < 0 ? 0 : (size_t)n);
        close(file);
    } else if (strcmp(path, "/write") == 0) {
        int file = open(arg, O_WRONLY | O_CREAT, 0600);
        answer(fd, file < 0 ? 403 : 200, "", 0);
        close(file);
    } else if (strcmp(path, "/reach") == 0) {
        char *colon = strchr(arg, ':');
        int there = colon ? (*colon = 0, dial(arg, (unsigned)atoi(colon + 1))) : -1;
        answer(fd, 200, there >= 0 ? "yes" : "no", there >= 0 ? 3 : 2);
        close(there);
    } else {
        return 0;
    }
    return 1;
}

static void decode(char *p)
{
    char *to = p;

    for (unsigned byte; *p; p++) {
        byte = (unsigned char)*p;
        if (*p == '%' && sscanf(p + 1, "%2x", &byte) == 1)
            p += 2;
        *to++ = (char)byte;
    }
    *to = 0;
}

/* The object itself is in the request's body, or in the file that etl_fqn names, escaped as a name and as a part of a query; its bytes. */
static ssize_t content(const char *whole, ssize_t sent)
{
    const char *fqn = strstr(whole, "etl_fqn=");
    char path[8192];

    if (!fqn)
        return sent;
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(fqn + 8, "&"), fqn + 8);
    decode(path);
    decode(path);
    int file = open(path, O_RDONLY);
    ssize_t got = file < 0 ? -1 : read(file, body, BODY_MAX);
    close(file);
    return got;
}

static void serve_one(int fd)
{
    char head[HEAD_MAX], method[16] = "", path[8192] = "", whole[8192];
    ssize_t n = receive(fd, body, head, 1);

    if (n < 0 || sscanf(head, "%15s %8191s", method, path) != 2)
        return;
    memcpy(whole, path, sizeof(whole));
    if (special(fd, path))
        return;
    fprintf(stderr, "%s %s\n", method, whole);
    if (strcmp(method, "PUT") == 0 && (n = content(whole, n)) >= 0) {
        upper(body, (size_t)n);
        answer(fd, 200, body, (size_t)n);
    } else if ((n = fetch(whole)) >= 0) {
        upper(back, (size_t)n);
        answer(fd, 200, back, (size_t)n);
    } else {
        answer(fd, 502, "no such object", 14);
    }
}

static void serve(void)
{
    const char *text = getenv("PORT"), *address = getenv("POD_IP"); /* of a Pod without a network of its own */
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(text ? atoi(text) : 8000))};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (address)
        inet_pton(AF_INET, address, &sa.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 64) != 0)
        exit(9);
    fprintf(stderr, "serving\n");
    for (;;) {
        int c = accept(fd, NULL, NULL);
        if (c >= 0)
            serve_one(c);
        close(c);
    }
}

static void pass(void)
{
    ssize_t n;

    while ((n = read(0, body, 65536)) > 0) {
        upper(body, (size_t)n);
        send_all(1, body, (size_t)n);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "serve", *arg = argc > 2 ? argv[2] : "";

    signal(SIGPIPE, SIG_IGN);
    if (strcmp(what, "serve") == 0)
        serve();
    if (strcmp(what, "upper") == 0)
        pass();
    if (strcmp(what, "args") == 0)
        printf("%s %s %s", getenv("ETL_ARGS") ? getenv("ETL_ARGS") : "-", arg, getenv("HOME"));
    if (strcmp(what, "fail") == 0) {
        fprintf(stderr, "this went wrong\n");
        return 3;
    }
    if (strcmp(what, "hog") == 0)
        hog();
    if (strcmp(what, "spew") == 0)
        for (memset(body, 'x', 65536);;)
            send_all(1, body, 65536);
    if (strcmp(what, "deaf") == 0)
        signal(SIGTERM, SIG_IGN);
    while (strcmp(what, "sleep") == 0 || strcmp(what, "deaf") == 0)
        pause();
    return 0;
}
