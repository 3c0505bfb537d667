#include "unit.h"

#include "local_fixture.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive/arc_pack.h"
#include "target/fsck.h"

/* A process that appends to several TARs is killed at any point: afterwards each is sound and holds every member that was acknowledged. */
enum { ARCHIVES = 4, ROUNDS = 8, MEMBER_MAX = 150000 };

static const char *const keys[ARCHIVES] = {"a.tar", "b.tar", "c.tar", "d.tar"};

/* ---- the process that is killed ---- */

struct appender {
    struct local_fixture *f;
    int index, pipe;
    unsigned next;
    uint64_t size;
    struct arena arena;
    struct buf bytes;
    struct body_check check;
    struct source *body;
    struct obj_splice_req req;
    struct obj_splice_res res;
    struct call call;
};

static void member_name(char out[32], unsigned n)
{
    snprintf(out, 32, "m%06u", n);
}

static uint64_t member_size(unsigned n)
{
    return (uint64_t)n * 7919 % MEMBER_MAX;
}

static void append_done(struct call *c);

static void append_next(struct appender *a)
{
    static const char zeros[512 + ARC_TAR_TRAILER];
    char name[32];
    uint64_t size = member_size(a->next);

    member_name(name, a->next);
    arena_release(&a->arena);
    buf_release(&a->bytes);
    buf_init(&a->bytes, 4 * MEMBER_MAX);
    if (arc_tar_head(&a->bytes, str_z(name), size, 1600000000) != ERR_OK)
        abort();
    memset(buf_reserve(&a->bytes, size + 1), (int)('a' + a->next % 26), size);
    buf_commit(&a->bytes, size);
    buf_add(&a->bytes, zeros, arc_tar_padding(size) + ARC_TAR_TRAILER);
    a->body = source_memory(buf_str(&a->bytes), NULL, NULL);
    a->req = (struct obj_splice_req){.arena = &a->arena,
                                     .bucket = {1, STR("bucket"), {0}},
                                     .key = str_z(keys[a->index]),
                                     .cond = cond_none(),
                                     .offset = a->size - ARC_TAR_TRAILER,
                                     .cut = ARC_TAR_TRAILER,
                                     .body = a->body,
                                     .check = &a->check,
                                     .size_max = OBJECT_SIZE_MAX};
    call_begin(&a->call, a->f->loop, append_done);
    store_obj_splice(a->f->store, &a->req, &a->res, &a->call);
}

static void append_done(struct call *c)
{
    struct appender *a = CONTAINER(c, struct appender, call);
    unsigned told[2] = {(unsigned)a->index, a->next};

    source_close(a->body);
    if (c->err != ERR_OK || write(a->pipe, told, sizeof(told)) != sizeof(told))
        abort();
    a->size = a->res.info.size;
    a->next++;
    append_next(a);
}

static void append_for_ever(struct local_fixture *f, int pipe)
{
    static struct appender appenders[ARCHIVES];

    fixture_open(f);
    for (int i = 0; i < ARCHIVES; i++) {
        struct obj_head_res head;
        if (t_head(f, 1, keys[i], &head) != ERR_OK)
            abort();
        /* where the last round ended is told by a file of one number per archive: what was seen after it */
        appenders[i] = (struct appender){.f = f, .index = i, .pipe = pipe, .size = head.info.size};
        char path[400];
        snprintf(path, sizeof(path), "%s/next%d", f->tmp.path, i);
        FILE *at = fopen(path, "r");
        if (!at || fscanf(at, "%u", &appenders[i].next) != 1)
            abort();
        fclose(at);
        append_next(&appenders[i]);
    }
    for (;;)
        loop_turn(f->loop, 1000);
}

/* ---- what is left ---- */

/* Members 0, 1, ... without a gap, whole, and a trailer. Returns how many. */
static unsigned check_tar(struct str tar)
{
    struct buf head = BUF_INIT(4096);
    unsigned n = 0;
    size_t at = 0;

    for (; tar.n - at > ARC_TAR_TRAILER; n++) {
        char name[32];
        size_t size = (size_t)member_size(n);
        member_name(name, n);
        buf_reset(&head);
        assert_int_equal(arc_tar_head(&head, str_z(name), size, 1600000000), ERR_OK);
        assert_true(tar.n - at >= head.n + size + arc_tar_padding(size) + ARC_TAR_TRAILER);
        assert_memory_equal(tar.p + at, buf_str(&head).p, head.n);
        at += head.n;
        for (size_t i = 0; i < size; i += 997)
            assert_int_equal(tar.p[at + i], 'a' + n % 26);
        at += size + arc_tar_padding(size);
    }
    for (; at < tar.n; at++)
        assert_int_equal(tar.p[at], 0);
    buf_release(&head);
    return n;
}

static enum err fsck(struct local_fixture *f)
{
    const struct fsck_options o = {f->mountpaths, f->conf.mountpath_count, false, false};

    return fsck_run(&o);
}

static void note_next(struct local_fixture *f, int i, unsigned n)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/next%d", f->tmp.path, i);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out, "%u", n);
    fclose(out);
}

static void one_round(struct local_fixture *f, unsigned *members, unsigned ms)
{
    int ends[2];
    unsigned told[2], acknowledged[ARCHIVES];

    memcpy(acknowledged, members, sizeof(acknowledged));
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0)
        append_for_ever(f, ends[1]);
    close(ends[1]);
    usleep(ms * 1000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    while (read(ends[0], told, sizeof(told)) == sizeof(told))
        acknowledged[told[0]] = told[1] + 1;
    close(ends[0]);
    assert_int_equal(fsck(f), ERR_OK);
    fixture_open(f);
    for (int i = 0; i < ARCHIVES; i++) {
        struct str tar;
        assert_int_equal(t_get(f, 1, keys[i], &tar), ERR_OK);
        unsigned n = check_tar(tar);
        assert_true(n == acknowledged[i] || n == acknowledged[i] + 1);
        note_next(f, i, members[i] = n);
        arena_release(&f->arena);
    }
    fixture_close(f);
    assert_int_equal(fsck(f), ERR_OK);
}

static void a_kill_leaves_the_old_archive_or_the_new_one(void **state)
{
    static const char trailer[ARC_TAR_TRAILER];
    struct local_fixture *f = fixture_new(2);
    unsigned members[ARCHIVES] = {0}, total = 0;

    (void)state;
    fixture_open(f);
    for (int i = 0; i < ARCHIVES; i++) {
        assert_int_equal(t_put(f, 1, keys[i], str_n(trailer, sizeof(trailer))), ERR_OK);
        note_next(f, i, 0);
    }
    fixture_close(f);
    for (unsigned round = 0; round < ROUNDS; round++)
        one_round(f, members, 150 + round * 61);
    for (int i = 0; i < ARCHIVES; i++)
        total += members[i];
    printf("%u members survived %d kills\n", total, ROUNDS);
    assert_true(total > ROUNDS);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_kill_leaves_the_old_archive_or_the_new_one)};

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
