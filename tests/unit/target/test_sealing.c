#include "unit.h"

#include "local_fixture.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "target/gc.h"

/* RocksDB is a shared library, so that this one comes before libc's. The log of the index is written but not synced. */
static _Atomic int log_errno;

int fdatasync(int fd)
{
    char proc[64], path[512] = "";

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    if (readlink(proc, path, sizeof(path) - 1) > 0 && atomic_load(&log_errno) && strstr(path, "/index/")) {
        errno = atomic_load(&log_errno);
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

enum { LEN = 100000 };

static void overwrite_in_doubt(int errnum)
{
    struct local_fixture *f = fixture_new(1);
    char *old = test_content(LEN, 1), *now = test_content(LEN, 2);
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) { /* no asserts of the parent's here: its exit status tells */
        fixture_open(f);
        gc_settle(f->local->gc);
        if (t_put(f, 1, "k", str_n(old, LEN)) != ERR_OK)
            _exit(1);
        atomic_store(&log_errno, errnum);
        if (t_put(f, 1, "k", str_n(now, LEN)) == ERR_OK)
            _exit(2);
        if (gc_pass(f->local, fixture_disk(f, 0), 0, NULL, NULL) != ERR_CANCELLED)
            _exit(3);
        mountpath_drain(fixture_disk(f, 0));
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fixture_open(f);
    gc_settle(f->local->gc);
    assert_true(t_holds(f, 1, "k", str_n(old, LEN)) || t_holds(f, 1, "k", str_n(now, LEN)));
    fixture_close(f);
    fixture_free(f);
    free(old);
    free(now);
}

static void a_write_in_doubt_keeps_its_content(void **state)
{
    (void)state;
    overwrite_in_doubt(EIO);
}

static void a_full_disk_at_sync_leaves_doubt_too(void **state)
{
    (void)state;
    overwrite_in_doubt(ENOSPC);
}

/* One mountpath of two takes no more writes: deleting the bucket fails, and the other one goes on. */
static void a_failed_purge_unseals(void **state)
{
    struct local_fixture *f = fixture_new(2);
    struct bucket_purge_req req = {.arena = &f->arena, .bucket = {1, STR("bucket")}};
    struct bucket_purge_res res;
    struct waiting w;

    (void)state;
    fixture_open(f);
    atomic_store(&log_errno, EIO);
    assert_int_equal(t_put(f, 2, "k", STR("x")), ERR_IO);
    atomic_store(&log_errno, 0);
    store_bucket_purge(f->store, &req, &res, wait_begin(f, &w));
    enum err e = wait_end(f, &w);
    assert_true(e == ERR_IO || e == ERR_UNAVAILABLE); /* by then it may be taken out */
    for (size_t i = 0; i < 2; i++)
        if (fixture_disk(f, i))
            assert_int_equal(committer_check_bucket(fixture_disk(f, i)->committer, 1), ERR_OK);
    fixture_close(f);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_in_doubt_keeps_its_content),
        cmocka_unit_test(a_failed_purge_unseals),
        cmocka_unit_test(a_full_disk_at_sync_leaves_doubt_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
