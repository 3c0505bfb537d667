/* Serves fixed bodies through core/http alone, to compare it with other servers:
 *   tool_http_static HOST:PORT DIRECTORY
 * GET /mem/N answers N bytes of memory (at most 1 MiB), GET /file/NAME the file of that name in DIRECTORY,
 * PUT of anything is read and dropped. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/server.h"

enum { MEM_MAX = 1 << 20, UPLOAD_BUF = 256 * 1024 };

static struct loop *loop;
static int dir;
static char *bytes;

struct exchange {
    struct http_req *req;
    struct call call;
    size_t n;
    char *buf;
};

struct file_source {
    struct source source;
    int fd;
    uint64_t at;
};

static void file_peek(struct source *s, struct span *out)
{
    struct file_source *f = CONTAINER(s, struct file_source, source);

    *out = (struct span){
        .kind = f->at < s->size ? SPAN_FILE : SPAN_END, .fd = f->fd, .offset = f->at, .len = s->size - f->at};
}

static void file_consume(struct source *s, uint64_t n)
{
    CONTAINER(s, struct file_source, source)->at += n;
}

static void file_close(struct source *s)
{
    struct file_source *f = CONTAINER(s, struct file_source, source);

    close(f->fd);
    free(f);
}

static struct source *file_open(const char *name)
{
    static const struct source_ops ops = {
        .name = "file", .peek = file_peek, .consume = file_consume, .close = file_close};
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) != 0) {
        close(fd);
        return NULL;
    }
    struct file_source *f = NEW(struct file_source);
    *f = (struct file_source){{&ops, (uint64_t)st.st_size}, fd, 0};
    return &f->source;
}

static void responded(struct call *call)
{
    free(CONTAINER(call, struct exchange, call)->buf);
}

static void respond(struct exchange *x, int status, struct source *body)
{
    static const struct http_header h[] = {{{"ETag", 4}, {"\"0123456789abcdef\"", 18}},
                                           {{"Accept-Ranges", 13}, {"bytes", 5}}};
    struct http_res res = {.status = status, .headers = h, .header_count = 2, .body = body};

    call_begin(&x->call, loop, responded);
    http_respond(x->req, &res, &x->call);
}

static void read_on(struct exchange *x);

static void body_read(struct call *call)
{
    struct exchange *x = CONTAINER(call, struct exchange, call);

    if (call->err == ERR_OK && x->n)
        read_on(x);
    else
        respond(x, call->err == ERR_OK ? 200 : 400, NULL);
}

static void read_on(struct exchange *x)
{
    call_begin(&x->call, loop, body_read);
    source_read(x->req->body, x->buf, UPLOAD_BUF, &x->n, &x->call);
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct exchange *x = ARENA_NEW(req->arena, struct exchange);
    uint64_t n;

    (void)h;
    x->req = req;
    if (req->body) {
        x->buf = mem_alloc(UPLOAD_BUF);
        read_on(x);
    } else if (str_starts(req->path, STR("/mem/")) && str_to_u64(str_skip(req->path, 5), MEM_MAX, &n)) {
        respond(x, 200, source_memory(str_n(bytes, n), NULL, NULL));
    } else {
        struct source *f =
            str_starts(req->path, STR("/file/")) ? file_open(arena_str(req->arena, str_skip(req->path, 6)).p) : NULL;
        respond(x, f ? 200 : 404, f);
    }
}

int main(int argc, char **argv)
{
    struct http_handler handler = {on_request};
    struct http_server_conf conf = {.handler = &handler, .limits = HTTP_LIMITS_DEFAULT};
    char bound[64], why[256] = "usage: tool_http_static HOST:PORT DIRECTORY";

    signal(SIGPIPE, SIG_IGN);
    if (argc != 3 || (dir = open(argv[2], O_RDONLY | O_DIRECTORY)) < 0 ||
        http_listen(str_z(argv[1]), &conf.listen_fd, bound, why) != ERR_OK) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    bytes = mem_new(MEM_MAX);
    loop = conf.loop = loop_new();
    loop_adopt(loop);
    (void)http_server_new(&conf);
    printf("%s\n", bound);
    fflush(stdout);
    loop_run(loop);
    return 0;
}
