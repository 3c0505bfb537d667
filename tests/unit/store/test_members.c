#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/members.h"

/* A meta that can be away, and whose watches can be late. Leases are keys. */
struct watch {
    struct fake *fake;
    meta_watch_fn *fn;
    void *arg;
};
struct fake {
    struct meta meta, *inner;
    atomic_bool away, mute;
    struct watch watches[64];
    atomic_uint watch_n;
};
struct meta_lease {
    char key[64];
};

static struct fake fake;
static struct loop *loop;

/* ---- calls ---- */

struct wait {
    struct call call;
    bool done;
};

static void wake(struct call *c)
{
    CONTAINER(c, struct wait, call)->done = true;
}

static struct call *begin(struct wait *w)
{
    *w = (struct wait){0};
    call_begin(&w->call, loop_current(), wake);
    return &w->call;
}

static enum err end(struct wait *w)
{
    while (!w->done)
        loop_turn(loop_current(), 50);
    return w->call.err;
}

/* ---- the fake ---- */

#define FORWARD(m, op, req, res, c)                                                                                    \
    do {                                                                                                               \
        struct fake *f_ = CONTAINER(m, struct fake, meta);                                                             \
        if (f_->away)                                                                                                  \
            call_finish(c, ERR_UNAVAILABLE);                                                                           \
        else                                                                                                           \
            op(f_->inner, req, res, c);                                                                                \
    } while (0)

static void fake_get(struct meta *m, const struct meta_get_req *req, struct meta_get_res *res, struct call *c)
{
    FORWARD(m, meta_get, req, res, c);
}

static void fake_put(struct meta *m, const struct meta_put_req *req, struct meta_put_res *res, struct call *c)
{
    FORWARD(m, meta_put, req, res, c);
}

static void fake_tell(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct watch *w = arg;

    if (!w->fake->mute)
        w->fn(w->arg, key, value, revision, removed);
}

static enum err fake_watch(struct meta *m, struct str prefix, meta_watch_fn *fn, void *arg)
{
    struct fake *f = CONTAINER(m, struct fake, meta);
    struct watch *w = &f->watches[f->watch_n++];

    *w = (struct watch){f, fn, arg};
    return f->away ? ERR_UNAVAILABLE : meta_watch(f->inner, prefix, fake_tell, w);
}

static enum err put(struct str key, struct str value, bool remove)
{
    struct meta_put_req req = {.key = key, .value = value, .revision = META_ANY, .remove = remove};
    struct meta_put_res res;
    struct wait w;

    meta_put(fake.inner, &req, &res, begin(&w));
    return end(&w);
}

static enum err fake_lease(struct meta *m, const struct meta_lease_req *req, struct meta_lease **out)
{
    struct meta_lease *l;

    if (CONTAINER(m, struct fake, meta)->away)
        return ERR_UNAVAILABLE;
    l = NEW(struct meta_lease);
    snprintf(l->key, sizeof(l->key), STR_FMT, STR_ARG(req->key));
    *out = l;
    return put(req->key, req->value, false);
}

static void fake_lease_end(struct meta *m, struct meta_lease *l)
{
    (void)m;
    assert_int_equal(put(str_z(l->key), STR_NONE, true), ERR_OK);
    free(l);
}

static bool fake_reachable(struct meta *m)
{
    return !CONTAINER(m, struct fake, meta)->away;
}

static int setup(void **state)
{
    static const struct meta_ops ops = {.name = "fake",
                                        .get = fake_get,
                                        .put = fake_put,
                                        .watch = fake_watch,
                                        .lease = fake_lease,
                                        .lease_end = fake_lease_end,
                                        .reachable = fake_reachable};

    (void)state;
    memset(&fake, 0, sizeof(fake));
    fake.meta.ops = &ops;
    fake.inner = meta_memory_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    meta_close(fake.inner);
    return 0;
}

/* ---- members ---- */

static char ids[16][NODE_ID_LEN + 1], addresses[16][32];

static struct str id_of(unsigned i)
{
    snprintf(ids[i], sizeof(ids[i]), "%016x", 0xb0 + i);
    return str_z(ids[i]);
}

static struct map_node node_n(unsigned i)
{
    snprintf(addresses[i], sizeof(addresses[i]), "127.0.0.1:%u", 9100 + i);
    return (struct map_node){.id = id_of(i), .address = str_z(addresses[i]), .weight = 100};
}

static struct members *open_one(struct str id)
{
    struct members *m = NULL;

    assert_int_equal(members_open(&(struct members_conf){&fake.meta, id, 1}, &m), ERR_OK);
    return m;
}

static void join(struct members *m, unsigned i)
{
    struct map_node self = node_n(i);
    char why[256];

    if (members_join(m, &self, why) != ERR_OK)
        fail_msg("%s", why);
}

static enum err change(struct members *m, enum members_verb verb, struct str id, uint64_t epoch, uint64_t *out)
{
    struct members_change_req req = {.verb = verb, .id = id, .epoch = epoch};
    struct members_change_res res = {0};
    struct wait w;

    members_change(m, &req, &res, begin(&w));
    enum err e = end(&w);
    if (out)
        *out = res.epoch;
    return e;
}

static uint64_t epoch_of(struct members *m)
{
    const struct map *map = members_map(m);
    uint64_t epoch = map->epoch;

    map_release(map);
    return epoch;
}

static uint64_t term_of(struct members *m)
{
    const struct map *map = members_map(m);
    uint64_t term = map->term;

    map_release(map);
    return term;
}

static void expect(struct members *m, unsigned nodes, unsigned shares, unsigned previous)
{
    const struct map *map = members_map(m);

    assert_int_equal(map->node_count, nodes);
    assert_int_equal(map->share_count, shares);
    assert_int_equal(map->previous_count, previous);
    map_release(map);
}

static void a_cluster_grows_one_move_at_a_time(void **state)
{
    struct members *gateway = open_one(STR("")), *a = open_one(id_of(0)), *b = open_one(id_of(1)),
                   *c = open_one(id_of(2));
    uint64_t epoch;

    (void)state;
    assert_int_equal(epoch_of(gateway), 0);
    join(a, 0);
    expect(gateway, 1, 1, 0);
    join(b, 1);
    expect(gateway, 2, 2, 1);
    uint64_t moving = epoch_of(gateway);
    join(c, 2); /* holds nothing yet */
    expect(gateway, 3, 2, 1);
    assert_int_equal(change(gateway, MEMBERS_SETTLED, STR(""), moving - 1, NULL), ERR_CONFLICT);
    assert_int_equal(change(gateway, MEMBERS_SETTLED, STR(""), moving + 2, NULL), ERR_CONFLICT);
    assert_int_equal(change(gateway, MEMBERS_SETTLED, STR(""), moving, &epoch), ERR_OK);
    assert_int_equal(epoch, epoch_of(gateway));
    expect(gateway, 3, 3, 2);
    assert_int_equal(change(b, MEMBERS_SETTLED, STR(""), moving, NULL), ERR_CONFLICT); /* that was another */
    assert_int_equal(change(b, MEMBERS_SETTLED, STR(""), epoch, NULL), ERR_OK);
    expect(a, 3, 3, 0);
    members_close(a);
    members_close(b);
    members_close(c);
    members_close(gateway);
}

struct joiner {
    pthread_t thread;
    struct members *m;
    struct map_node self;
    enum err err;
    char why[256];
};

static void *join_now(void *arg)
{
    struct joiner *j = arg;

    j->err = members_join(j->m, &j->self, j->why);
    return NULL;
}

static void targets_that_start_together_move_nothing(void **state)
{
    enum { N = 6 };
    struct members *gateway = open_one(STR(""));
    struct joiner joiners[N];

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        joiners[i].m = open_one(id_of(i));
        joiners[i].self = node_n(i);
        pthread_create(&joiners[i].thread, NULL, join_now, &joiners[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        pthread_join(joiners[i].thread, NULL);
        assert_int_equal(joiners[i].err, ERR_OK);
        assert_true(members_alive(gateway, id_of(i)));
        expect(joiners[i].m, N, N, 0);
    }
    assert_int_equal(epoch_of(gateway), N + 1);
    for (unsigned i = 0; i < N; i++)
        members_close(joiners[i].m);
    members_close(gateway);
}

static void a_restart_changes_the_map_only_where_the_target_has_changed(void **state)
{
    struct members *gateway = open_one(STR("")), *a = open_one(id_of(0));
    struct map_node self = node_n(0);
    char why[256];

    (void)state;
    join(a, 0);
    uint64_t epoch = epoch_of(gateway);
    members_close(a);
    assert_false(members_alive(gateway, id_of(0)));
    a = open_one(id_of(0));
    join(a, 0);
    assert_int_equal(epoch_of(gateway), epoch);
    assert_true(members_alive(gateway, id_of(0)));
    members_close(a);
    a = open_one(id_of(0));
    self.address = STR("127.0.0.1:9999");
    assert_int_equal(members_join(a, &self, why), ERR_OK);
    assert_int_equal(epoch_of(gateway), epoch + 1);
    const struct map *map = members_map(gateway);
    assert_true(str_eq(map->nodes[0].address, self.address));
    assert_int_equal(map->previous_count, 0);
    map_release(map);
    members_close(a);
    members_close(gateway);
}

static void a_target_that_was_killed_comes_back_at_its_address_only(void **state)
{
    struct members *a = open_one(id_of(0)), *again = open_one(id_of(0));
    struct map_node self = node_n(0);
    char why[256];

    (void)state;
    join(a, 0);
    self.address = STR("127.0.0.1:9999");
    assert_int_equal(members_join(again, &self, why), ERR_BUSY);
    assert_non_null(strstr(why, "127.0.0.1:9100"));
    members_close(again);
    again = open_one(id_of(0)); /* its own address: the lease of the killed one is taken over */
    join(again, 0);
    members_close(again);
    assert_int_equal(members_join(a, &self, why), ERR_OK); /* the other one is gone now */
    members_close(a);
}

static void who_was_removed_does_not_come_back(void **state)
{
    struct members *a = open_one(id_of(0)), *b = open_one(id_of(1));
    struct map_node self = node_n(1);
    char why[256];

    (void)state;
    join(a, 0);
    join(b, 1);
    members_close(b);
    assert_int_equal(change(a, MEMBERS_REMOVE, id_of(1), 0, NULL), ERR_OK);
    assert_int_equal(change(a, MEMBERS_REMOVE, id_of(1), 0, NULL), ERR_NOT_FOUND);
    assert_int_equal(change(a, MEMBERS_REMOVE, id_of(0), 0, NULL), ERR_CONFLICT);
    expect(a, 1, 1, 1); /* its place is known until the others have settled */
    while (change(a, MEMBERS_SETTLED, STR(""), term_of(a), NULL) == ERR_OK)
        ;
    expect(a, 1, 1, 0);
    b = open_one(id_of(1));
    assert_int_equal(members_join(b, &self, why), ERR_CONFLICT);
    assert_non_null(strstr(why, "removed"));
    assert_false(members_alive(a, id_of(1)));
    members_close(b);
    b = open_one(id_of(2)); /* emptied, it has another id */
    join(b, 2);
    expect(a, 2, 2, 1);
    members_close(b);
    members_close(a);
}

static void states_are_set_once(void **state)
{
    struct members *a = open_one(id_of(0)), *b = open_one(id_of(1));
    uint64_t one, two;

    (void)state;
    join(a, 0);
    join(b, 1);
    assert_int_equal(change(a, MEMBERS_SETTLED, STR(""), epoch_of(a), NULL), ERR_OK);
    assert_int_equal(change(a, MEMBERS_MAINTENANCE, id_of(1), 0, &one), ERR_OK);
    assert_int_equal(change(a, MEMBERS_MAINTENANCE, id_of(1), 0, &two), ERR_OK);
    assert_int_equal(one, two);
    assert_int_equal(change(a, MEMBERS_ACTIVATE, id_of(1), 0, &two), ERR_OK);
    assert_int_equal(one + 1, two);
    assert_int_equal(change(a, MEMBERS_DECOMMISSION, id_of(1), 0, &two), ERR_OK);
    expect(b, 2, 1, 2);
    assert_int_equal(change(a, MEMBERS_DECOMMISSION, id_of(0), 0, NULL), ERR_CONFLICT);
    assert_int_equal(change(a, MEMBERS_ACTIVATE, id_of(7), 0, NULL), ERR_NOT_FOUND);
    assert_int_equal(change(a, MEMBERS_SETTLED, STR(""), two, NULL), ERR_OK);
    expect(a, 1, 1, 0);
    members_close(b);
    members_close(a);
}

/* ---- who is in sync ---- */

static bool wanted(void *arg)
{
    return *(bool *)arg;
}

static const struct map_node *node_of(struct members *m, unsigned i)
{
    static struct map_node found; /* what it points to is not looked at */
    const struct map *map = members_map(m);

    found = map->nodes[map_find(map, id_of(i))];
    map_release(map);
    return &found;
}

static void until(struct members *m, unsigned i, enum node_sync sync)
{
    for (int tries = 0; node_of(m, i)->sync != sync; tries++) {
        assert_true(tries < 1000);
        usleep(10000);
    }
}

static void silent_targets_are_put_out_and_come_back(void **state)
{
    struct members *a = open_one(id_of(0)), *b = open_one(id_of(1));
    bool yes = false;

    (void)state;
    join(a, 0);
    join(b, 1);
    while (change(a, MEMBERS_SETTLED, STR(""), term_of(a), NULL) == ERR_OK)
        ;
    assert_int_equal(change(a, MEMBERS_OUT, id_of(1), 0, NULL), ERR_CONFLICT); /* its lease is held */
    assert_false(members_confirmed(b));
    members_watch_sync(a, wanted, &yes);
    members_watch_sync(b, wanted, &yes);
    for (int tries = 0; !members_confirmed(b); tries++) { /* it has read the map since it has its lease */
        assert_true(tries < 1000);
        usleep(10000);
    }
    members_close(b);
    usleep(600000);
    assert_int_equal(node_of(a, 1)->sync, SYNC_IN); /* no bucket with copies */
    yes = true;
    until(a, 1, SYNC_OUT);
    uint64_t since = node_of(a, 1)->out_since;
    assert_int_equal(since, epoch_of(a));
    b = open_one(id_of(1));
    assert_false(members_confirmed(b));
    join(b, 1);
    members_watch_sync(b, wanted, &yes);
    until(a, 1, SYNC_CATCHING);
    assert_int_equal(node_of(a, 1)->out_since, since);
    assert_int_equal(change(a, MEMBERS_SETTLED, STR(""), term_of(a) - 1, NULL), ERR_CONFLICT);
    assert_int_equal(change(a, MEMBERS_SETTLED, STR(""), term_of(a), NULL), ERR_OK);
    assert_int_equal(node_of(b, 1)->sync, SYNC_IN);
    assert_int_equal(change(a, MEMBERS_MAINTENANCE, id_of(1), 0, NULL), ERR_OK);
    assert_int_equal(node_of(a, 1)->sync, SYNC_OUT);
    usleep(600000);
    assert_int_equal(node_of(a, 1)->sync, SYNC_OUT);
    assert_int_equal(change(a, MEMBERS_ACTIVATE, id_of(1), 0, NULL), ERR_OK);
    until(a, 1, SYNC_CATCHING);
    members_close(b);
    members_close(a);
}

/* ---- the fence ---- */

static enum err fence(struct members *m, uint64_t epoch)
{
    const struct map *map = NULL;
    enum err e = members_fence(m, epoch, &map);

    assert_int_equal(map != NULL, e == ERR_OK);
    if (map)
        assert_int_equal(map->epoch, epoch);
    map_release(map);
    return e;
}

static enum err wait_for(struct members *m, uint64_t epoch, uint32_t timeout_ms)
{
    struct members_wait_req req = {epoch, timeout_ms};
    struct wait w;

    members_wait(m, &req, begin(&w));
    return end(&w);
}

static void older_epochs_are_refused_from_the_first_newer_one_on(void **state)
{
    struct members *a = open_one(id_of(0)), *b = open_one(id_of(1));

    (void)state;
    join(a, 0);
    uint64_t old = epoch_of(a);
    assert_int_equal(fence(a, old), ERR_OK);
    assert_int_equal(fence(a, old - 1), ERR_STALE_EPOCH);
    fake.mute = true; /* a does not hear of the change */
    join(b, 1);
    assert_int_equal(epoch_of(a), old);
    assert_int_equal(fence(a, old), ERR_OK);
    assert_int_equal(fence(a, old + 1), ERR_UNAVAILABLE);
    assert_int_equal(fence(a, old), ERR_STALE_EPOCH);
    assert_int_equal(wait_for(a, old + 1, 5000), ERR_OK);
    assert_int_equal(fence(a, old + 1), ERR_OK);
    assert_int_equal(fence(a, old), ERR_STALE_EPOCH);
    assert_int_equal(fence(a, old + 5), ERR_UNAVAILABLE); /* whatever it is: nothing older any more */
    assert_int_equal(fence(a, old + 1), ERR_STALE_EPOCH);
    assert_int_equal(wait_for(a, old + 5, 50), ERR_TIMEOUT);
    members_close(b);
    members_close(a);
}

static void *come_back(void *arg)
{
    (void)arg;
    usleep(200000);
    fake.away = false;
    return NULL;
}

static void waiting_survives_an_outage_and_can_be_cancelled(void **state)
{
    struct members *a = open_one(id_of(0)), *b = open_one(id_of(1));
    struct members_wait_req req = {.timeout_ms = 60000};
    struct wait many[20], w;
    pthread_t thread;

    (void)state;
    join(a, 0);
    fake.mute = true;
    join(b, 1);
    req.epoch = epoch_of(a) + 1;
    fake.away = true;
    for (int i = 0; i < 20; i++)
        members_wait(a, &req, begin(&many[i]));
    pthread_create(&thread, NULL, come_back, NULL);
    for (int i = 0; i < 20; i++)
        assert_int_equal(end(&many[i]), ERR_OK);
    pthread_join(thread, NULL);

    req.epoch = UINT64_MAX;
    members_wait(a, &req, begin(&w));
    loop_turn(loop, 10);
    call_cancel(&w.call);
    assert_int_equal(end(&w), ERR_CANCELLED);
    members_wait(a, &req, begin(&w));
    call_cancel(&w.call);
    assert_int_equal(end(&w), ERR_CANCELLED);
    assert_int_equal(wait_for(a, 1, 0), ERR_OK);
    fake.away = false;
    members_close(b);
    members_close(a);
}

/* ---- outages ---- */

static void nothing_changes_while_the_meta_is_away(void **state)
{
    struct members *a = open_one(id_of(0)), *b = open_one(id_of(1)), *gateway = open_one(STR(""));
    struct members *late = NULL;

    (void)state;
    join(a, 0);
    join(b, 1);
    uint64_t epoch = epoch_of(gateway);
    fake.away = true;
    assert_true(members_alive(gateway, id_of(0)) && members_alive(gateway, id_of(1)));
    assert_int_equal(epoch_of(gateway), epoch);
    assert_int_equal(fence(a, epoch), ERR_OK);
    assert_int_equal(change(gateway, MEMBERS_MAINTENANCE, id_of(0), 0, NULL), ERR_UNAVAILABLE);
    assert_int_equal(epoch_of(gateway), epoch);
    assert_int_equal(members_open(&(struct members_conf){&fake.meta, STR(""), 1}, &late), ERR_UNAVAILABLE);
    assert_null(late);
    fake.away = false;
    assert_int_equal(change(gateway, MEMBERS_MAINTENANCE, id_of(0), 0, NULL), ERR_OK);
    members_leave(b);
    assert_false(members_alive(gateway, id_of(1)));
    expect(gateway, 2, 2, 1); /* silence moves nothing */
    members_leave(b);
    members_close(a);
    members_close(b);
    members_close(gateway);
}

static void joining_waits_for_the_meta(void **state)
{
    struct members *a = open_one(id_of(0));
    pthread_t thread;

    (void)state;
    fake.away = true;
    pthread_create(&thread, NULL, come_back, NULL);
    join(a, 0);
    pthread_join(thread, NULL);
    expect(a, 1, 1, 0);
    members_close(a);
}

static void a_map_that_cannot_be_read_is_not_followed(void **state)
{
    struct members *a = open_one(id_of(0));

    (void)state;
    join(a, 0);
    uint64_t epoch = epoch_of(a);
    assert_int_equal(put(STR("map"), STR("{\"format\":1,\"epoch\":1,\"nodes\":[]}"), false), ERR_OK); /* older */
    assert_int_equal(epoch_of(a), epoch);
    assert_int_equal(put(STR("map"), STR("nonsense"), false), ERR_OK);
    assert_int_equal(epoch_of(a), epoch);
    assert_int_equal(change(a, MEMBERS_ACTIVATE, id_of(0), 0, NULL), ERR_CORRUPT);
    assert_int_equal(put(STR("map"), STR_NONE, true), ERR_OK);
    expect(a, 1, 1, 0);
    assert_int_equal(put(STR("mapping"), STR("x"), false), ERR_OK);
    assert_int_equal(put(STR("alive/short"), STR("x"), false), ERR_OK);
    assert_false(members_alive(a, STR("short")));
    members_close(a);
    assert_int_equal(put(STR("map"), STR("x"), false), ERR_OK); /* nobody follows any more */
}

/* ---- races ---- */

enum { RACERS = 4, ROUNDS = 25 };

struct racer {
    pthread_t thread;
    struct members *m;
    unsigned node;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct loop *own = loop_new();
    uint64_t epoch, before = 0;

    loop_adopt(own);
    for (int i = 0; i < ROUNDS; i++) {
        enum members_verb verb = i % 2 ? MEMBERS_ACTIVATE : MEMBERS_MAINTENANCE;
        assert_int_equal(change(r->m, verb, str_z(ids[r->node]), 0, &epoch), ERR_OK);
        assert_true(epoch > before);
        before = epoch;
        const struct map *map = members_map(r->m);
        assert_true(map->epoch >= epoch);
        const struct map *fenced = NULL;
        if (members_fence(r->m, map->epoch, &fenced) == ERR_OK)
            map_release(fenced);
        map_release(map);
        members_alive(r->m, str_z(ids[0]));
    }
    loop_free(own);
    return NULL;
}

static void of_racing_changes_all_take_effect(void **state)
{
    struct racer racers[RACERS];
    struct members *m[RACERS], *shared;

    (void)state;
    for (unsigned i = 0; i < RACERS; i++) {
        m[i] = open_one(id_of(i));
        join(m[i], i);
    }
    shared = m[0];
    uint64_t before = epoch_of(shared);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.m = i % 2 ? m[i] : shared, .node = i};
        pthread_create(&racers[i].thread, NULL, race, &racers[i]);
    }
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(racers[i].thread, NULL);
    for (unsigned i = 0; i < RACERS; i++)
        assert_int_equal(epoch_of(m[i]), before + RACERS * ROUNDS);
    for (unsigned i = 0; i < RACERS; i++)
        members_close(m[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(a_cluster_grows_one_move_at_a_time),
        T(targets_that_start_together_move_nothing),
        T(a_restart_changes_the_map_only_where_the_target_has_changed),
        T(a_target_that_was_killed_comes_back_at_its_address_only),
        T(who_was_removed_does_not_come_back),
        T(states_are_set_once),
        T(silent_targets_are_put_out_and_come_back),
        T(older_epochs_are_refused_from_the_first_newer_one_on),
        T(waiting_survives_an_outage_and_can_be_cancelled),
        T(nothing_changes_while_the_meta_is_away),
        T(joining_waits_for_the_meta),
        T(a_map_that_cannot_be_read_is_not_followed),
        T(of_racing_changes_all_take_effect),
    };

    log_setup(LOG_ERROR, false);
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
