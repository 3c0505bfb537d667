/* tool_ingest - how fast the upload pipeline takes bodies from memory, beside what one thread hashes.
 *
 * usage: tool_ingest DIR [size_kib=65536] [uploads=10] [parallel=1] [sha256|none] [sync|async] [io_threads=16]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "target/ingest.h"

struct sealing {
    struct offload_task task;
    struct segment_staged *staged;
};

struct upload {
    struct ingest in;
    struct body_check check;
    struct call call;
    struct sealing seal;
};

static struct {
    struct loop *loop;
    struct offload *io, *cpu;
    struct segment_dir *dir;
    char *content;
    size_t size;
    unsigned also;
    int left, open;
    uint64_t ingest_ns; /* until the last body was in */
} bench;

static double mb_per_s(double bytes, uint64_t ns)
{
    return bytes / 1e6 / ((double)ns / 1e9);
}

static void hash_alone(const char *name, enum hash_alg alg)
{
    uint64_t t0 = clock_mono_ns();
    struct digest d;

    for (int i = 0; i < 4; i++)
        hash_of(alg, str_n(bench.content, 64u << 20), &d);
    printf("%-10s alone %8.0f MB/s\n", name, mb_per_s(4.0 * (64u << 20), clock_mono_ns() - t0));
}

static void upload_start(struct upload *u);

static void sealed(struct call *c)
{
    struct upload *u = CONTAINER(c, struct upload, call);

    if (c->err != ERR_OK) {
        fprintf(stderr, "seal: %s\n", err_name(c->err));
        exit(1);
    }
    ingest_release(&u->in);
    bench.open--;
    if (bench.left)
        upload_start(u);
}

static enum err seal_run(struct offload_task *t)
{
    struct segment_staged *s = CONTAINER(t, struct sealing, task)->staged;
    enum err e;

    if (s->fd < 0)
        return ERR_OK;
    e = segment_seal(s, STR("bench"));
    return e == ERR_OK ? segment_unlink(bench.dir, &s->id) : e;
}

static void ingested(struct call *c)
{
    struct upload *u = CONTAINER(c, struct upload, call);

    if (c->err != ERR_OK) {
        fprintf(stderr, "ingest: %s\n", err_name(c->err));
        exit(1);
    }
    bench.ingest_ns = clock_mono_ns();
    source_close(u->in.body);
    u->seal.staged = &u->in.staged;
    call_begin(&u->call, bench.loop, sealed);
    offload_run(bench.io, &u->seal.task, seal_run, &u->call);
}

static void upload_start(struct upload *u)
{
    bench.left--;
    bench.open++;
    ingest_init(&u->in);
    u->check = (struct body_check){.also = bench.also};
    u->in.io = bench.io;
    u->in.cpu = bench.cpu;
    u->in.dir = bench.dir;
    u->in.check = &u->check;
    u->in.inline_max = 16384;
    u->in.size_max = PUT_SIZE_MAX;
    u->in.body = source_memory(str_n(bench.content, bench.size), NULL, NULL);
    call_begin(&u->call, bench.loop, ingested);
    ingest_run(&u->in, &u->call);
}

static double cpu_seconds(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static unsigned long number(int argc, char **argv, int i, unsigned long otherwise)
{
    return argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    size_t kib = number(argc, argv, 2, 65536), uploads = number(argc, argv, 3, 10), parallel = number(argc, argv, 4, 1);
    size_t threads = number(argc, argv, 7, 16);
    struct upload *u;
    struct rusage usage;
    uint64_t t0, t1;
    double cpu;

    if (argc < 2 || parallel == 0 || parallel > uploads || kib == 0 || kib > 1u << 20 || threads == 0 ||
        threads > 256) {
        fprintf(stderr,
                "usage: tool_ingest DIR [size_kib] [uploads] [parallel] [sha256|none] [sync|async] [io_threads=16]\n");
        return 2;
    }
    hash_setup();
    bench.size = kib << 10;
    bench.content = mem_alloc(bench.size > 64u << 20 ? bench.size : 64u << 20);
    for (size_t i = 0; i < (bench.size > 64u << 20 ? bench.size : 64u << 20); i++)
        bench.content[i] = (char)(i * 2654435761u >> 13);
    bench.also = argc > 5 && strcmp(argv[5], "sha256") == 0 ? 1u << HASH_SHA256 : 0;
    if (segment_dir_open(str_z(argv[1]), !(argc > 6 && strcmp(argv[6], "async") == 0), &bench.dir) != ERR_OK)
        return 1;
    hash_alone("MD5", HASH_MD5);
    if (bench.also)
        hash_alone("SHA-256", HASH_SHA256);
    bench.loop = loop_new();
    loop_adopt(bench.loop);
    bench.io = offload_new("io", (unsigned)threads, 1024);
    bench.cpu = offload_new("cpu", 2, 1024);
    u = mem_new(parallel * sizeof(*u));
    bench.left = (int)uploads;
    cpu = cpu_seconds();
    t0 = clock_mono_ns();
    for (size_t i = 0; i < parallel; i++)
        upload_start(&u[i]);
    while (bench.left || bench.open)
        loop_turn(bench.loop, 1000);
    t1 = clock_mono_ns();
    cpu = cpu_seconds() - cpu;
    getrusage(RUSAGE_SELF, &usage);
    printf("%zu x %zu KiB, %zu at once: %.0f MB/s sealed (last body in: %.0f MB/s), %.1f us each, CPU %.2f s/GB, peak "
           "RSS %ld MiB\n",
           uploads, kib, parallel, mb_per_s((double)uploads * (double)bench.size, t1 - t0),
           mb_per_s((double)uploads * (double)bench.size, bench.ingest_ns - t0),
           (double)(t1 - t0) / 1e3 / (double)uploads, cpu / ((double)uploads * (double)bench.size / 1e9),
           usage.ru_maxrss / 1024);
    offload_free(bench.io);
    offload_free(bench.cpu);
    loop_free(bench.loop);
    segment_dir_close(bench.dir);
    free(u);
    free(bench.content);
    return 0;
}
