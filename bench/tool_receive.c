/* tool_receive - what a durable upload costs without a store: receives a PUT over loopback, hashes it with MD5 and, if asked, SHA-256 on
 * threads of their own, writes it to one file and syncs that. Receiving, hashing and writing overlap. Serves one connection at a time.
 *
 * usage: tool_receive PORT FILE md5|md5+sha256
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>

enum { RING = 12, PIECE = 512 << 10, HEAD_MAX = 8192, TAKERS_MAX = 3, WRITE_BACK = 8 << 20 };

struct taker {
    pthread_t thread;
    EVP_MD_CTX *hash; /* NULL: the one that writes */
    uint64_t next;    /* pieces it is past; guarded by lock */
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    char *ring[RING];
    size_t len[RING];
    uint64_t filled; /* this and below: guarded by lock */
    bool ended;
    struct taker takers[TAKERS_MAX];
    unsigned taker_count;
    int file;
} pipe_ = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void file_piece(uint64_t at, const char *p, size_t n)
{
    if (pwrite(pipe_.file, p, n, (off_t)at) != (ssize_t)n)
        die("pwrite");
    if ((at + n) % WRITE_BACK == 0)
        (void)!sync_file_range(pipe_.file, (off_t)(at + n - WRITE_BACK), WRITE_BACK, SYNC_FILE_RANGE_WRITE);
}

static void *take(void *arg)
{
    struct taker *t = arg;
    uint64_t at = 0;

    pthread_mutex_lock(&pipe_.lock);
    for (;;) {
        while (t->next == pipe_.filled && !pipe_.ended)
            pthread_cond_wait(&pipe_.moved, &pipe_.lock);
        if (t->next == pipe_.filled)
            break;
        size_t slot = t->next % RING, n = pipe_.len[slot];
        pthread_mutex_unlock(&pipe_.lock);
        if (t->hash)
            EVP_DigestUpdate(t->hash, pipe_.ring[slot], n);
        else
            file_piece(at, pipe_.ring[slot], n);
        at += n;
        pthread_mutex_lock(&pipe_.lock);
        t->next++;
        pthread_cond_broadcast(&pipe_.moved);
    }
    pthread_mutex_unlock(&pipe_.lock);
    if (!t->hash && fdatasync(pipe_.file) != 0)
        die("fdatasync");
    return NULL;
}

static bool has_room(void)
{
    for (unsigned i = 0; i < pipe_.taker_count; i++)
        if (pipe_.filled - pipe_.takers[i].next == RING)
            return false;
    return true;
}

/* Fills pieces with `left` bytes, of which the first `n` at `first` were received with the head. */
static void receive(int fd, uint64_t left, const char *first, size_t n)
{
    while (left) {
        size_t got = 0, want = left < PIECE ? (size_t)left : PIECE;
        pthread_mutex_lock(&pipe_.lock);
        while (!has_room())
            pthread_cond_wait(&pipe_.moved, &pipe_.lock);
        char *p = pipe_.ring[pipe_.filled % RING];
        pthread_mutex_unlock(&pipe_.lock);
        if (n) {
            got = n < want ? n : want;
            memcpy(p, first, got);
            first += got;
            n -= got;
        }
        while (got < want) {
            ssize_t more = recv(fd, p + got, want - got, 0);
            if (more <= 0)
                die("recv");
            got += (size_t)more;
        }
        left -= got;
        pthread_mutex_lock(&pipe_.lock);
        pipe_.len[pipe_.filled++ % RING] = got;
        pthread_cond_broadcast(&pipe_.moved);
        pthread_mutex_unlock(&pipe_.lock);
    }
}

/* Length of the head with its empty line; *body = Content-Length. */
static size_t head_read(int fd, char head[HEAD_MAX], size_t *n, uint64_t *body)
{
    char *end, *length;

    for (*n = 0;;) {
        ssize_t got = recv(fd, head + *n, HEAD_MAX - 1 - *n, 0);
        if (got <= 0)
            return 0;
        *n += (size_t)got;
        head[*n] = 0;
        if ((end = strstr(head, "\r\n\r\n")) != NULL)
            break;
    }
    if (!(length = strcasestr(head, "\r\ncontent-length:")) || length > end)
        return 0;
    *body = strtoull(length + 17, NULL, 10);
    return (size_t)(end - head) + 4;
}

static void serve(int fd, const char *path)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    char head[HEAD_MAX];
    size_t n, at;
    uint64_t body;

    if ((at = head_read(fd, head, &n, &body)) == 0)
        return;
    if ((pipe_.file = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600)) < 0)
        die(path);
    pipe_.filled = 0;
    pipe_.ended = false;
    for (unsigned i = 0; i < pipe_.taker_count; i++) {
        struct taker *t = &pipe_.takers[i];
        t->next = 0;
        if (t->hash)
            EVP_DigestInit_ex(t->hash, i == 1 ? EVP_md5() : EVP_sha256(), NULL);
        if (pthread_create(&t->thread, NULL, take, t) != 0)
            die("pthread_create");
    }
    receive(fd, body, head + at, n - at);
    pthread_mutex_lock(&pipe_.lock);
    pipe_.ended = true;
    pthread_cond_broadcast(&pipe_.moved);
    pthread_mutex_unlock(&pipe_.lock);
    for (unsigned i = 0; i < pipe_.taker_count; i++)
        pthread_join(pipe_.takers[i].thread, NULL);
    close(pipe_.file);
    (void)!send(fd, ok, sizeof(ok) - 1, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (argc != 4 || (strcmp(argv[3], "md5") != 0 && strcmp(argv[3], "md5+sha256") != 0)) {
        fprintf(stderr, "usage: tool_receive PORT FILE md5|md5+sha256\n");
        return 2;
    }
    at.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    for (int i = 0; i < RING; i++)
        if (!(pipe_.ring[i] = malloc(PIECE)))
            die("malloc");
    pipe_.taker_count = strcmp(argv[3], "md5") == 0 ? 2 : 3;
    for (unsigned i = 1; i < pipe_.taker_count; i++)
        pipe_.takers[i].hash = EVP_MD_CTX_new();
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 8) != 0)
        die("listen");
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            die("accept");
        serve(fd, argv[2]);
        close(fd);
    }
}
