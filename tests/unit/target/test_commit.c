#include "unit.h"

#include <stdio.h>

#include "base/clock.h"
#include "target/commit.h"
#include "target_dir.h"

/* Linked with --wrap=kv_write: the disk fails when the test says so. */
static enum err fail_with;
static unsigned writes;
enum err __real_kv_write(struct kv *kv, struct kv_batch *b, bool sync);
enum err __wrap_kv_write(struct kv *kv, struct kv_batch *b, bool sync);
enum err __wrap_kv_write(struct kv *kv, struct kv_batch *b, bool sync)
{
    writes++;
    return fail_with != ERR_OK ? fail_with : __real_kv_write(kv, b, sync);
}

struct fixture {
    struct test_dir tmp;
    struct kv *kv;
    struct hotcache *hot;
    struct loop *loop;
    struct committer *committer;
    _Atomic int unlinked;
};

static void count_unlinked(void *arg, const struct segment_id *ids, size_t n)
{
    (void)ids;
    atomic_fetch_add(&((struct fixture *)arg)->unlinked, (int)n);
}

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);

    test_dir_make(&f->tmp);
    assert_int_equal(kv_open(str_z(f->tmp.path), &(struct kv_options){.create = true}, &f->kv, NULL), ERR_OK);
    f->hot = hotcache_new(1 << 20);
    f->loop = loop_new();
    loop_adopt(f->loop);
    f->committer = committer_new(&(struct committer_conf){
        .kv = f->kv, .hot = f->hot, .sync = true, .unlink = count_unlinked, .arg = f, .name = STR("test")});
    fail_with = ERR_OK;
    writes = 0;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    committer_free(f->committer);
    kv_close(f->kv);
    hotcache_free(f->hot);
    loop_free(f->loop);
    test_dir_remove(&f->tmp);
    free(f);
    return 0;
}

/* Adds one to the number at a key; fails when it is not what was expected (-1: anything). */
struct add {
    struct commit commit;
    struct call call;
    const char *key;
    int expect, found;
    char value[16];
    bool done;
    bool waits; /* until `go` */
};
static _Atomic bool go;

static enum err add_apply(struct commit *m, struct txn *t)
{
    struct add *a = CONTAINER(m, struct add, commit);
    struct str raw = STR("0");
    uint64_t n = 0;
    enum err e = txn_get(t, str_z(a->key), &raw);

    while (a->waits && !atomic_load(&go))
        usleep(1000);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    if (!str_to_u64(raw, 1000000, &n))
        return ERR_CORRUPT;
    a->found = (int)n;
    if (a->expect >= 0 && a->expect != a->found)
        return ERR_PRECONDITION;
    snprintf(a->value, sizeof(a->value), "%d", a->found + 1);
    txn_put(t, str_z(a->key), str_z(a->value));
    txn_unlink(t, &(struct segment_id){{1}});
    return ERR_OK;
}

static void add_done(struct call *c)
{
    CONTAINER(c, struct add, call)->done = true;
}

static void submit(struct fixture *f, struct add *a, const char *key, int expect)
{
    a->key = key;
    a->expect = expect;
    a->done = false;
    a->call.state = CALL_IDLE;
    call_begin(&a->call, f->loop, add_done);
    commit_submit(f->committer, &a->commit, add_apply, &a->call);
}

static enum err end(struct fixture *f, struct add *a)
{
    while (!a->done)
        loop_turn(f->loop, 1000);
    return a->call.err;
}

static void changes_of_a_batch_see_each_other_in_one_write(void **state)
{
    enum { N = 200 };
    static struct add first, adds[N];
    struct fixture *f = *state;

    memset(adds, 0, sizeof(adds));
    first = (struct add){.waits = true};
    atomic_store(&go, false);
    submit(f, &first, "other", -1); /* holds the committer, so that the rest is one batch */
    for (int i = 0; i < N; i++)
        submit(f, &adds[i], "n", i % 2 ? i / 2 : -1);
    atomic_store(&go, true);
    assert_int_equal(end(f, &first), ERR_OK);
    int n = 0;
    for (int i = 0; i < N; i++) {
        enum err e = end(f, &adds[i]);
        assert_int_equal(adds[i].found, n);
        assert_int_equal(e, i % 2 && i / 2 != n ? ERR_PRECONDITION : ERR_OK);
        assert_int_equal(adds[i].commit.committed, e == ERR_OK);
        n += e == ERR_OK;
    }
    assert_in_range(writes, 1, 4);
    assert_int_equal(atomic_load(&f->unlinked), n + 1);
}

static void a_full_disk_acknowledges_nothing_and_passes(void **state)
{
    struct fixture *f = *state;
    struct add a = {0};

    submit(f, &a, "n", -1);
    assert_int_equal(end(f, &a), ERR_OK);
    fail_with = ERR_NO_SPACE;
    submit(f, &a, "n", -1);
    assert_int_equal(end(f, &a), ERR_NO_SPACE);
    assert_false(a.commit.committed);
    assert_int_equal(atomic_load(&f->unlinked), 1);
    fail_with = ERR_OK;
    submit(f, &a, "n", 1); /* what failed left no trace */
    assert_int_equal(end(f, &a), ERR_OK);
    assert_false(committer_is_broken(f->committer));
}

static void after_a_failed_sync_nothing_is_written_any_more(void **state)
{
    struct fixture *f = *state;
    struct add a = {0};

    fail_with = ERR_IO;
    submit(f, &a, "n", -1);
    assert_int_equal(end(f, &a), ERR_IO);
    fail_with = ERR_OK; /* the next sync would "succeed" */
    submit(f, &a, "n", -1);
    assert_int_equal(end(f, &a), ERR_IO);
    assert_true(committer_is_broken(f->committer));
    assert_int_equal(writes, 1);
    assert_int_equal(atomic_load(&f->unlinked), 0);
}

struct notice {
    struct commit commit;
    struct call call;
    struct segment_id id;
    uint64_t before, within;
    bool done;
};

static void notice_done(struct call *c)
{
    CONTAINER(c, struct notice, call)->done = true;
}

static enum err notice_apply(struct commit *m, struct txn *t)
{
    struct notice *n = CONTAINER(m, struct notice, commit);

    n->before = txn_changes(t, &n->id);
    txn_changed(t, &n->id);
    n->within = txn_changes(t, &n->id);
    txn_put(t, STR("k"), STR("v"));
    txn_seal(t, 5);
    txn_seal(t, 5);
    return txn_check_bucket(t, 5) == ERR_NO_SUCH_BUCKET ? txn_check_bucket(t, 6) : ERR_INTERNAL;
}

/* Whoever counted between apply and the write, and then read, read too early: the count moves once more. */
static void notices_of_change_are_given_within_the_batch_and_after_it(void **state)
{
    struct fixture *f = *state;
    struct notice n = {.id = {{42}}};

    assert_int_equal(committer_check_bucket(f->committer, 5), ERR_OK);
    call_begin(&n.call, f->loop, notice_done);
    commit_submit(f->committer, &n.commit, notice_apply, &n.call);
    while (!n.done)
        loop_turn(f->loop, 1000);
    assert_int_equal(n.call.err, ERR_OK);
    assert_int_equal(n.within, n.before + 1);
    assert_int_equal(committer_changes(f->committer, &n.id), n.before + 2);
    assert_int_equal(committer_check_bucket(f->committer, 5), ERR_NO_SUCH_BUCKET);
    committer_unseal(f->committer, 5, false);
    assert_int_equal(committer_check_bucket(f->committer, 5), ERR_NO_SUCH_BUCKET); /* another's seal */
    committer_unseal(f->committer, 5, false);
    assert_int_equal(committer_check_bucket(f->committer, 5), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_of_a_batch_see_each_other_in_one_write, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_acknowledges_nothing_and_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_failed_sync_nothing_is_written_any_more, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_of_change_are_given_within_the_batch_and_after_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
