#include "shards.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/arc_pack.h"
#include "base/mem.h"
#include "base/template.h"
#include "cli/crew.h"
#include "cli/files.h"
#include "cli/progress.h"

enum { SAMPLES_DEFAULT = 10000, HEAD_MAX = 64 << 10 };
#define BYTES_DEFAULT (UINT64_C(1) << 30)

/* Files first..end of the list are one shard. */
struct shard {
    size_t first, end; /* positions in `order` */
};
struct sharding {
    struct client_options options;
    uint64_t samples_max, bytes_max, workers, seed;
    const char *seed_text;
    const char *dir;
    struct place to;
    struct template names;
    struct files files;
    size_t *order; /* of the files, sample by sample */
    struct shard *shards;
    size_t count;
    struct progress *progress;
};

/* ---- samples ---- */

/* The path up to the first dot behind the last slash. */
static size_t key_len(const char *name)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name, *dot = strchr(base, '.');

    return dot ? (size_t)(dot - name) : strlen(name);
}

static bool same_sample(const struct sharding *s, size_t a, size_t b)
{
    const char *x = s->files.all[a].name, *y = s->files.all[b].name;
    size_t n = key_len(x);

    return n == key_len(y) && memcmp(x, y, n) == 0;
}

/* xorshift64*: the same order for the same seed, everywhere. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

/* Where each sample begins, in the order wanted; one more at the end. Sorted names keep most samples together, but "a.b/x" sorts between
 * "a.a" and "a.c": the key decides, so files are sorted by it first. */
static int by_key(const void *a, const void *b)
{
    const struct file_entry *x = a, *y = b;
    size_t n = key_len(x->name), m = key_len(y->name);
    int order = memcmp(x->name, y->name, n < m ? n : m);

    if (order == 0 && n != m)
        return n < m ? -1 : 1;
    return order ? order : strcmp(x->name, y->name);
}

static size_t *find_samples(struct sharding *s, size_t *count)
{
    size_t *begins = mem_new((s->files.count + 1) * sizeof(*begins)), n = 0;
    uint64_t state = s->seed * 2 + 1;

    qsort(s->files.all, s->files.count, sizeof(*s->files.all), by_key);
    for (size_t i = 0; i < s->files.count; i++)
        if (i == 0 || !same_sample(s, i - 1, i))
            begins[n++] = i;
    for (size_t i = n; s->seed_text && i > 1; i--) {
        size_t k = next_random(&state) % i, held = begins[i - 1];
        begins[i - 1] = begins[k];
        begins[k] = held;
    }
    *count = n;
    return begins;
}

static uint64_t sample_end(const struct sharding *s, size_t begin, size_t *end)
{
    uint64_t bytes = 0;

    for (*end = begin; *end < s->files.count && same_sample(s, begin, *end); ++*end)
        bytes += 512 + s->files.all[*end].size + arc_tar_padding(s->files.all[*end].size);
    return bytes;
}

static void plan(struct sharding *s)
{
    size_t samples, at = 0, *begins = find_samples(s, &samples);
    uint64_t bytes = 0, in_shard = 0;

    s->order = mem_new((s->files.count + 1) * sizeof(*s->order));
    s->shards = mem_new((samples + 1) * sizeof(*s->shards));
    for (size_t i = 0; i < samples; i++) {
        size_t end;
        uint64_t more = sample_end(s, begins[i], &end);
        if (i == 0 || in_shard == s->samples_max || bytes + more > s->bytes_max) {
            s->shards[s->count++] = (struct shard){at, at};
            bytes = in_shard = 0;
        }
        for (size_t k = begins[i]; k < end; k++)
            s->order[at++] = k;
        s->shards[s->count - 1].end = at;
        bytes += more;
        in_shard++;
    }
    free(begins);
}

/* ---- a shard's bytes ---- */

struct pack {
    struct sharding *s;
    size_t at, end;  /* in `order` */
    struct buf head; /* bytes that come next: header, padding or trailer */
    int fd;
    uint64_t left; /* of the file that is open */
    const struct file_entry *file;
    bool trailed;
    char failed[PATH_MAX + 128];
};

static bool pack_fail(struct pack *p, const char *why)
{
    snprintf(p->failed, sizeof(p->failed), "%s/%s: %s", p->s->dir, p->file->name, why);
    return false;
}

static bool pack_open(struct pack *p)
{
    char path[PATH_MAX];

    p->file = &p->s->files.all[p->s->order[p->at++]];
    if (snprintf(path, sizeof(path), "%s/%s", p->s->dir, p->file->name) >= (int)sizeof(path))
        return pack_fail(p, "the name is too long");
    if ((p->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return pack_fail(p, strerror(errno));
    p->left = p->file->size;
    return arc_tar_head(&p->head, str_z(p->file->name), p->file->size, p->file->mtime_s) == ERR_OK ||
           pack_fail(p, "no name for an archive");
}

static bool pack_close(struct pack *p)
{
    static const char zeros[512];
    struct stat st;
    bool same = fstat(p->fd, &st) == 0 && (uint64_t)st.st_size == p->file->size;

    close(p->fd);
    p->fd = -1;
    buf_add(&p->head, zeros, arc_tar_padding(p->file->size));
    progress_add(p->s->progress, p->file->size, 1);
    return same || pack_fail(p, "changed while it was read");
}

static bool pack_read(void *arg, char *out, size_t size, size_t *n)
{
    static const char zeros[ARC_TAR_TRAILER];
    struct pack *p = arg;
    ssize_t got;

    while (p->head.n == 0 && p->left == 0) {
        if (p->fd >= 0 && !pack_close(p))
            return false;
        if (p->head.n)
            break;
        if (p->at < p->end) {
            if (!pack_open(p))
                return false;
        } else if (!p->trailed) {
            p->trailed = true;
            buf_add(&p->head, zeros, sizeof(zeros));
        } else {
            *n = 0;
            return true;
        }
    }
    if (p->head.n) {
        *n = p->head.n < size ? p->head.n : size;
        memcpy(out, p->head.p, *n);
        buf_consume(&p->head, *n);
        return true;
    }
    do {
        got = read(p->fd, out, p->left < size ? p->left : size);
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return pack_fail(p, got < 0 ? strerror(errno) : "became shorter while it was read");
    p->left -= (uint64_t)got;
    *n = (size_t)got;
    return true;
}

static int send_shard(void *arg, struct client *c, struct str number, uint64_t at)
{
    struct sharding *s = arg;
    struct pack p = {.s = s, .at = s->shards[at].first, .end = s->shards[at].end, .fd = -1};
    struct web_req req = {.read = pack_read, .body_size = WEB_SIZE_UNKNOWN, .arg = &p};
    struct buf name = BUF_INIT(TEMPLATE_NAME_MAX + 1);
    struct web_res res;
    int code;

    (void)number;
    buf_init(&p.head, HEAD_MAX);
    if (template_name(&s->names, at, &name) != ERR_OK) {
        code = command_fail("the names of shards are too long");
    } else {
        client_begin(c);
        place_object_path(&c->path, &s->to, buf_str(&name));
        place_query(&c->query, &s->to);
        buf_add_char(&name, '\0');
        code = client_ask(c, "PUT", &req, &res, name.p);
        if (code != 0 && p.failed[0])
            command_fail("%s", p.failed);
        if (code == 0 && !s->options.quiet)
            printf("%s  %zu files\n", name.p, s->shards[at].end - s->shards[at].first);
    }
    if (p.fd >= 0)
        close(p.fd);
    buf_release(&name);
    buf_release(&p.head);
    return code;
}

/* ---- all of it ---- */

static int send_all(struct sharding *s, struct client *c)
{
    struct crew *crew;
    int code;

    if (s->count > s->names.names)
        return command_usage("%zu shards are needed, but the template has only %llu names", s->count,
                             (unsigned long long)s->names.names);
    s->progress = progress_begin("shard", s->files.bytes, s->files.count, s->options.quiet);
    crew = crew_begin(c, (unsigned)s->workers, false, send_shard, s);
    for (size_t i = 0; i < s->count; i++)
        if (!crew_add(crew, STR("shard"), i))
            break;
    code = crew_end(crew, NULL, NULL);
    progress_end(s->progress);
    return code;
}

static int check(struct sharding *s, struct client *c, char **argv)
{
    char why[PLACE_WHY_MAX];

    if (!place_parse(argv[1], &s->to, why))
        return command_usage("%s", why);
    if (template_parse(&c->arena, s->to.key, &s->names, why) != ERR_OK)
        return command_usage("%s", why);
    if (template_is_plain(&s->names))
        return command_usage("\"%s\" names one shard only: write a range, %s/shard-{000000..999999}.tar", argv[1],
                             argv[1]);
    if (arc_format_of_name(s->to.key) != ARC_TAR)
        return command_usage("shards are written as .tar: \"%s\" is something else", argv[1]);
    if (s->seed_text && !str_to_u64(str_z(s->seed_text), INT64_MAX, &s->seed))
        return command_usage("--shuffle wants a seed: a number");
    if (s->samples_max == 0)
        s->samples_max = SAMPLES_DEFAULT;
    if (s->bytes_max == 0)
        s->bytes_max = BYTES_DEFAULT;
    if (s->workers == 0 || s->workers > CREW_WORKERS_MAX)
        s->workers = 2;
    s->dir = argv[0];
    return 0;
}

int command_archive_shard(int argc, char **argv)
{
    struct sharding s = {.dir = NULL};
    const struct flag flags[] = {CLIENT_FLAGS(&s.options),
                                 {"--maxcount", NULL, .number = &s.samples_max},
                                 {"--maxsize", NULL, .number = &s.bytes_max},
                                 {"--shuffle", NULL, .text = &s.seed_text},
                                 {"--workers", NULL, .number = &s.workers},
                                 {NULL}};
    struct client c;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc != 2)
        return command_usage("sluice archive shard DIR BUCKET/shard-{000000..999999}.tar");
    if ((code = client_open(&c, &s.options)) != 0)
        return code;
    if ((code = check(&s, &c, argv)) == 0 && (code = files_read(&s.files, s.dir)) == 0) {
        plan(&s);
        code = send_all(&s, &c);
    }
    free(s.order);
    free(s.shards);
    files_release(&s.files);
    client_close(&c);
    return code;
}
