#include "unit.h"

#include "local_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "target/gc.h"

/* A directory below which nothing can be made durable any more. RocksDB is a shared library, so that this comes before libc's. */
static const char *_Atomic failing;

int fdatasync(int fd)
{
    char proc[64], path[512] = "";
    const char *dir = atomic_load(&failing);

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    if (dir && readlink(proc, path, sizeof(path) - 1) > 0 && strncmp(path, dir, strlen(dir)) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

enum { KEYS = 40, LARGE = 50000, PART = 5 << 20, WAIT_MS = 20000 };

static char *content; /* PART + 1000 bytes */

static const char *key_of(int i)
{
    static char keys[2][32]; /* a copy has two */
    char *key = keys[i % 2];

    snprintf(key, sizeof(keys[0]), "dir%d/key%03d", i % 3, i);
    return key;
}

/* Small, large, and some of parts. */
static struct str value_of(int i, int version)
{
    return str_n(content + i + 64 * version, i % 10 == 9 ? (size_t)(PART + 1000 - i - 64 * version)
                                             : i % 2     ? LARGE
                                                         : 100);
}

static void put_one(struct local_fixture *f, int i, int version)
{
    struct str v = value_of(i, version);
    size_t sizes[] = {PART, v.n - PART};

    if (i % 10 == 9 && v.n > PART)
        assert_int_equal(t_multipart(f, 1, key_of(i), v.p, sizes, 2), ERR_OK);
    else
        assert_int_equal(t_put(f, 1, key_of(i), v), ERR_OK);
}

static void put_all(struct local_fixture *f, int version)
{
    for (int i = 0; i < KEYS; i++)
        put_one(f, i, version);
    arena_release(&f->arena);
}

static uint32_t list(struct local_fixture *f)
{
    struct obj_list_req req = {.arena = &f->arena, .bucket = {1, STR("bucket"), f->redundancy}, .max = 1000};
    struct obj_list_res res = {0};
    struct waiting w;

    store_obj_list(f->store, &req, &res, wait_begin(f, &w));
    return wait_end(f, &w) == ERR_OK ? res.count : UINT32_MAX;
}

static void check_all(struct local_fixture *f, int version)
{
    for (int i = 0; i < KEYS; i++)
        if (!t_holds(f, 1, key_of(i), value_of(i, version)))
            fail_msg("%s is not what was written", key_of(i));
    assert_int_equal(list(f), KEYS);
    assert_int_equal(t_get(f, 1, "nothing", &(struct str){0}), ERR_NO_SUCH_KEY);
    arena_release(&f->arena);
}

static void change(struct local_fixture *f, enum disk_verb verb, int i)
{
    char why[MOUNTPATH_WHY_MAX];

    arena_release(&f->arena);
    if (disks_change(f->local->disks, verb, str_z(f->paths[i]), why) != ERR_OK)
        fail_msg("%s", why);
}

static void settle(struct local_fixture *f)
{
    arena_release(&f->arena);
    assert_true(disks_settled(f->local->disks, WAIT_MS));
}

static struct local_fixture *begin(size_t mountpaths)
{
    struct local_fixture *f = fixture_new(mountpaths);

    for (size_t i = mountpaths; i < 4; i++)
        snprintf(f->paths[i], sizeof(f->paths[i]), "%s/m%zu", f->tmp.path, i);
    if (!content)
        content = test_content(PART + 1000, 3);
    fixture_open(f);
    return f;
}

static void end(struct local_fixture *f)
{
    atomic_store(&failing, NULL);
    fixture_close(f);
    fixture_free(f);
}

static size_t kept_by(struct local_fixture *f, int i)
{
    static const char first = INDEX_OBJECT, behind = INDEX_OBJECT + 1;
    struct kv_iter *it = kv_iter_open(fixture_disk(f, i)->kv, &(struct kv_iter_options){.end = str_n(&behind, 1)});
    size_t n = 0;

    for (kv_iter_seek(it, str_n(&first, 1)); kv_iter_valid(it); kv_iter_next(it))
        n++;
    kv_iter_close(it);
    return n;
}

/* ---- moving ---- */

static void attached_disk_gets_its_share(void **state)
{
    struct local_fixture *f = begin(2);

    (void)state;
    put_all(f, 0);
    change(f, DISK_ATTACH, 2);
    check_all(f, 0); /* wherever they are just now */
    settle(f);
    check_all(f, 0);
    assert_true(kept_by(f, 2) > 0);
    assert_int_equal(kept_by(f, 0) + kept_by(f, 1) + kept_by(f, 2), KEYS);
    fixture_reopen(f); /* it need not be given */
    check_all(f, 0);
    assert_non_null(fixture_disk(f, 2));
    end(f);
}

static void detached_disk_is_empty_and_can_come_back(void **state)
{
    struct local_fixture *f = begin(3);
    struct local *other = NULL;
    char why[512];

    (void)state;
    put_all(f, 0);
    change(f, DISK_DETACH, 2);
    check_all(f, 0);
    put_one(f, 5, 0);
    settle(f);
    check_all(f, 0);
    assert_null(fixture_disk(f, 2));
    fixture_close(f);
    assert_int_equal(local_open(&f->conf, &other, why), ERR_INVALID_ARGUMENT); /* it is given, but detached */
    assert_non_null(strstr(why, "none of this server's"));
    f->conf.mountpath_count = 2;
    fixture_open(f);
    check_all(f, 0);
    change(f, DISK_ATTACH, 2);
    settle(f);
    check_all(f, 0);
    assert_true(kept_by(f, 2) > 0);
    end(f);
}

static void moving_goes_on_after_a_restart(void **state)
{
    struct local_fixture *f = begin(1);

    (void)state;
    put_all(f, 0);
    change(f, DISK_ATTACH, 1);
    fixture_reopen(f);
    check_all(f, 0);
    settle(f);
    check_all(f, 0);
    assert_true(kept_by(f, 1) > 0);
    assert_int_equal(kept_by(f, 0) + kept_by(f, 1), KEYS);
    end(f);
}

static void first_directory_stays(void **state)
{
    struct local_fixture *f = begin(2);
    char why[MOUNTPATH_WHY_MAX];

    (void)state;
    assert_int_equal(disks_change(f->local->disks, DISK_DETACH, f->mountpaths[0], why), ERR_INVALID_ARGUMENT);
    assert_int_equal(disks_change(f->local->disks, DISK_DETACH, STR("/nowhere"), why), ERR_INVALID_ARGUMENT);
    assert_int_equal(disks_change(f->local->disks, DISK_ATTACH, f->mountpaths[1], why), ERR_INVALID_ARGUMENT);
    end(f);
}

/* Conditions hold while objects move, and what was deleted stays away. */
static void writes_while_moving_see_the_object(void **state)
{
    struct local_fixture *f = begin(1);
    struct cond absent = cond_none();
    struct obj_put_res res;
    bool existed;

    (void)state;
    absent.if_none_match = STR("*");
    put_all(f, 0);
    change(f, DISK_ATTACH, 1);
    for (int i = 0; i < KEYS; i += 4) {
        struct obj_put_req req = {.bucket = {1, STR("bucket")}, .key = str_z(key_of(i)), .cond = absent};
        assert_int_equal(t_put_full(f, &req, &res), ERR_PRECONDITION);
        assert_int_equal(t_delete(f, 1, key_of(i), &existed), ERR_OK);
        assert_true(existed);
        req.check = NULL; /* the last one was the call's */
        assert_int_equal(t_put_full(f, &req, &res), ERR_OK);
        assert_int_equal(t_copy(f, 1, key_of(i + 1), key_of(i)), ERR_OK);
        assert_true(t_holds(f, 1, key_of(i), value_of(i + 1, 0)));
        assert_int_equal(t_delete(f, 1, key_of(i), &existed), ERR_OK);
    }
    settle(f);
    for (int i = 0; i < KEYS; i++) {
        if (i % 4)
            assert_true(t_holds(f, 1, key_of(i), value_of(i, 0)));
        else
            assert_int_equal(t_get(f, 1, key_of(i), &(struct str){0}), ERR_NO_SUCH_KEY);
    }
    assert_int_equal(list(f), KEYS - KEYS / 4);
    end(f);
}

/* ---- out ---- */

static void disabled_disk_is_no_404(void **state)
{
    struct local_fixture *f = begin(2);
    int missing = 0;

    (void)state;
    put_all(f, 0);
    change(f, DISK_DISABLE, 1);
    for (int i = 0; i < KEYS; i++) {
        struct str got;
        enum err e = t_get(f, 1, key_of(i), &got);
        assert_true(e == ERR_OK || e == ERR_UNAVAILABLE);
        missing += e != ERR_OK;
        assert_int_equal(t_put(f, 1, key_of(i), value_of(i, 0)), e);
    }
    assert_true(missing > 0 && missing < KEYS);
    assert_int_equal(list(f), UINT32_MAX);
    arena_release(&f->arena);
    fixture_reopen(f); /* it stays out */
    assert_null(fixture_disk(f, 1));
    settle(f);
    change(f, DISK_ENABLE, 1);
    settle(f);
    check_all(f, 0);
    end(f);
}

static void wait_until_out(struct local_fixture *f, int i)
{
    for (int ms = 0; fixture_disk(f, i); ms += 10) {
        assert_true(ms < WAIT_MS);
        usleep(10000);
    }
}

static void failing_disk_is_taken_out(void **state)
{
    struct local_fixture *f = begin(2);
    int stored = 0;

    (void)state;
    put_all(f, 0);
    gc_settle(f->local->gc);
    atomic_store(&failing, f->paths[1]);
    for (int i = 0; i < KEYS; i++)
        stored += t_put(f, 1, key_of(i), value_of(i, 0)) == ERR_OK;
    wait_until_out(f, 1);
    assert_true(stored > 0 && stored < KEYS);
    for (int i = 0; i < KEYS; i++) {
        struct str got;
        enum err e = t_get(f, 1, key_of(i), &got);
        assert_true(e == ERR_OK || e == ERR_UNAVAILABLE);
    }
    atomic_store(&failing, NULL);
    settle(f);
    change(f, DISK_ENABLE, 1);
    settle(f);
    check_all(f, 0);
    end(f);
}

static void lost_disk_can_be_given_up(void **state)
{
    struct local_fixture *f = begin(2);
    char why[MOUNTPATH_WHY_MAX];
    size_t left;

    (void)state;
    put_all(f, 0);
    left = kept_by(f, 0);
    change(f, DISK_DISABLE, 1);
    assert_int_equal(disks_change(f->local->disks, DISK_DETACH, str_z(f->paths[1]), why), ERR_INVALID_ARGUMENT);
    change(f, DISK_DETACH_LOST, 1);
    settle(f);
    assert_int_equal(list(f), left);
    assert_int_equal(t_get(f, 1, "nothing", &(struct str){0}), ERR_NO_SUCH_KEY);
    put_all(f, 0);
    check_all(f, 0);
    end(f);
}

/* ---- mirrors ---- */

static struct local_fixture *begin_mirror(size_t mountpaths)
{
    struct local_fixture *f = begin(mountpaths);

    f->redundancy = (struct redundancy){.kind = REDUNDANCY_MIRROR, .data = 2};
    put_all(f, 0);
    return f;
}

static void mirror_survives_each_disk(void **state)
{
    struct local_fixture *f = begin_mirror(3);
    bool existed;

    (void)state;
    assert_int_equal(kept_by(f, 0) + kept_by(f, 1) + kept_by(f, 2), 2 * KEYS);
    for (int i = 0; i < 3; i++) {
        check_all(f, i);
        change(f, DISK_DISABLE, i);
        check_all(f, i);
        put_all(f, i + 1); /* it misses these */
        assert_int_equal(t_put(f, 1, "gone", STR("x")), ERR_OK);
        assert_int_equal(t_delete(f, 1, "gone", &existed), ERR_OK);
        assert_true(existed);
        settle(f);
        change(f, DISK_ENABLE, i);
        check_all(f, i + 1);
        settle(f);
        assert_int_equal(kept_by(f, 0) + kept_by(f, 1) + kept_by(f, 2), 2 * KEYS);
    }
    check_all(f, 3);
    end(f);
}

static void mirror_restores_copies_on_others(void **state)
{
    struct local_fixture *f = begin_mirror(3);

    (void)state;
    change(f, DISK_DISABLE, 1);
    change(f, DISK_DETACH_LOST, 1);
    check_all(f, 0);
    settle(f);
    check_all(f, 0);
    assert_int_equal(kept_by(f, 0), KEYS);
    assert_int_equal(kept_by(f, 2), KEYS);
    change(f, DISK_ATTACH, 3);
    settle(f);
    check_all(f, 0);
    assert_int_equal(kept_by(f, 0) + kept_by(f, 2) + kept_by(f, 3), 2 * KEYS);
    fixture_close(f);
    f->mountpaths[1] = f->mountpaths[2];
    f->conf.mountpath_count = 2;
    fixture_open(f);
    settle(f);
    check_all(f, 0);
    end(f);
}

static void mirror_wants_all_its_disks(void **state)
{
    struct local_fixture *f = begin_mirror(2);

    (void)state;
    change(f, DISK_DISABLE, 1);
    put_all(f, 1);
    change(f, DISK_DETACH_LOST, 1);
    settle(f);
    check_all(f, 1);
    assert_int_equal(t_put(f, 1, "k", STR("x")), ERR_UNAVAILABLE);
    assert_int_equal(t_delete(f, 1, "k", NULL), ERR_OK);
    end(f);
}

static int flip_byte(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (kind != FTW_F)
        return 0;
    FILE *file = fopen(path, "r+");
    fseek(file, 1000, SEEK_SET);
    int c = fgetc(file);
    fseek(file, 1000, SEEK_SET);
    fputc(c ^ 0xff, file);
    return fclose(file);
}

static void damaged_copy_is_read_elsewhere_and_repaired(void **state)
{
    struct local_fixture *f = fixture_new(2);

    (void)state;
    if (!content)
        content = test_content(PART + 1000, 3);
    f->conf.verify_reads = true;
    f->redundancy = (struct redundancy){.kind = REDUNDANCY_MIRROR, .data = 2};
    fixture_open(f);
    assert_int_equal(t_put(f, 1, "k", str_n(content, LARGE)), ERR_OK);
    struct mountpath *m = fixture_place(f, 1, "k"), *other = fixture_disk(f, m == fixture_disk(f, 0) ? 1 : 0);
    char path[400];
    snprintf(path, sizeof(path), "%s/segments", m->dir.p);
    nftw(path, flip_byte, 16, FTW_PHYS);
    assert_true(t_holds(f, 1, "k", str_n(content, LARGE)));
    settle(f);
    change(f, DISK_DISABLE, other == fixture_disk(f, 0) ? 0 : 1);
    assert_true(t_holds(f, 1, "k", str_n(content, LARGE)));
    end(f);
}

/* ---- while others are at work ---- */

struct worker {
    struct local_fixture f;
    pthread_t thread;
    int id;
    unsigned rounds, wrong, busy;
};
static _Atomic bool stop;

/* Each has keys of its own, so that it knows what must be there. */
static void work_round(struct worker *w)
{
    char key[32];
    struct str got;

    for (int i = 0; i < 8; i++) {
        size_t n = i % 2 ? LARGE : 200;
        struct str v = str_n(content + w->rounds % 1000 + i, n);
        snprintf(key, sizeof(key), "w%d/%d", w->id, i);
        enum err e = t_put(&w->f, 1, key, v);
        w->busy += e == ERR_UNAVAILABLE;
        while (e == ERR_UNAVAILABLE) /* began before a change, ended after it */
            e = t_put(&w->f, 1, key, v);
        w->wrong += e != ERR_OK || t_get(&w->f, 1, key, &got) != ERR_OK || !str_eq(got, v);
        if (i == 3) {
            w->wrong += t_delete(&w->f, 1, key, NULL) != ERR_OK;
            w->wrong += t_get(&w->f, 1, key, &got) != ERR_NO_SUCH_KEY;
        }
    }
    struct obj_list_req req = {
        .arena = &w->f.arena, .bucket = {1, STR("bucket"), w->f.redundancy}, .prefix = STR("w"), .max = 1000};
    struct obj_list_res res = {0};
    struct waiting wait;
    store_obj_list(w->f.store, &req, &res, wait_begin(&w->f, &wait));
    w->wrong += wait_end(&w->f, &wait) != ERR_OK;
    unsigned own = 0;
    for (uint32_t i = 0; i < res.count; i++)
        own += res.entries[i].key.p[1] == '0' + w->id;
    w->wrong += own != 7;
    w->rounds++;
    arena_release(&w->f.arena);
}

static void *work(void *arg)
{
    struct worker *w = arg;

    w->f.loop = loop_new();
    loop_adopt(w->f.loop);
    w->f.store = local_store(w->f.local, w->f.loop);
    while (!atomic_load(&stop))
        work_round(w);
    store_close(w->f.store);
    loop_free(w->f.loop);
    return NULL;
}

static void changes_under_load(struct redundancy r)
{
    enum { WORKERS = 3 };
    struct local_fixture *f = begin(2);
    struct worker w[WORKERS];

    f->redundancy = r;
    put_all(f, 0);
    memset(w, 0, sizeof(w));
    atomic_store(&stop, false);
    for (int i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){.f = {.local = f->local, .redundancy = r}, .id = i};
        pthread_create(&w[i].thread, NULL, work, &w[i]);
    }
    for (int i = 0; i < 2; i++) {
        change(f, DISK_ATTACH, 2);
        settle(f);
        change(f, DISK_ATTACH, 3);
        change(f, DISK_DETACH, 2);
        settle(f);
        change(f, DISK_DETACH, 3);
        settle(f);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(w[i].thread, NULL);
        assert_int_equal(w[i].wrong, 0);
        assert_true(w[i].rounds > 0);
    }
    for (int i = 0; i < KEYS; i++)
        assert_true(t_holds(f, 1, key_of(i), value_of(i, 0)));
    end(f);
}

static void nothing_is_lost_while_disks_come_and_go(void **state)
{
    (void)state;
    changes_under_load((struct redundancy){0});
}

static void nor_of_mirrors(void **state)
{
    (void)state;
    changes_under_load((struct redundancy){.kind = REDUNDANCY_MIRROR, .data = 2});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attached_disk_gets_its_share),
        cmocka_unit_test(detached_disk_is_empty_and_can_come_back),
        cmocka_unit_test(moving_goes_on_after_a_restart),
        cmocka_unit_test(first_directory_stays),
        cmocka_unit_test(writes_while_moving_see_the_object),
        cmocka_unit_test(disabled_disk_is_no_404),
        cmocka_unit_test(failing_disk_is_taken_out),
        cmocka_unit_test(lost_disk_can_be_given_up),
        cmocka_unit_test(mirror_survives_each_disk),
        cmocka_unit_test(mirror_restores_copies_on_others),
        cmocka_unit_test(mirror_wants_all_its_disks),
        cmocka_unit_test(damaged_copy_is_read_elsewhere_and_repaired),
        cmocka_unit_test(nothing_is_lost_while_disks_come_and_go),
        cmocka_unit_test(nor_of_mirrors),
    };

    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(content);
    return failed;
}
