#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "members_own.h"

/* A thread of its own looks now and then: it has time, and what it asks of the meta store may take some. */
enum { LOOK_MS = 250 };

struct members_sync {
    struct members *m;
    bool (*wanted)(void *arg);
    void *arg;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ending; /* guarded by lock */
    struct loop *loop;
};

/* ---- the own lease ---- */

static bool lease_of(struct members *m, struct meta_lease_state *out)
{
    bool held;

    pthread_rwlock_rdlock(&m->lock);
    held = m->lease != NULL && m->locked.lease_value != NULL;
    if (held)
        meta_lease_state(m->conf.meta, m->lease, out);
    pthread_rwlock_unlock(&m->lock);
    return held;
}

bool members_confirmed(struct members *m)
{
    struct meta_lease_state s;

    return lease_of(m, &s) && s.puts == atomic_load(&m->known_puts) && clock_boot_ns() < s.until_ns;
}

/* ---- asking, from this thread ---- */

struct look {
    struct call call;
    bool done;
};

static void look_done(struct call *c)
{
    CONTAINER(c, struct look, call)->done = true;
}

static enum err look_wait(struct members_sync *s, struct look *l)
{
    while (!l->done)
        loop_turn(s->loop, 100);
    return l->call.err;
}

static void change(struct members_sync *s, enum members_verb verb, struct str id, const char *what)
{
    struct members_change_req req = {.verb = verb, .id = id};
    struct members_change_res res = {0};
    struct look l = {.done = false};

    call_begin(&l.call, s->loop, look_done);
    members_change(s->m, &req, &res, &l.call);
    enum err e = look_wait(s, &l);
    if (e == ERR_OK)
        log_info(STR_NONE, what, "id=%s epoch=%llu", log_quote(id), (unsigned long long)res.epoch);
    else
        log_debug(STR_NONE, "sync of a target stays as it is", "id=%s error=%s", log_quote(id), err_name(e));
}

/* A lease that was lost and taken again: another may have put us out in between, so the map is read before it counts. */
static void confirm(struct members_sync *s)
{
    struct arena arena = ARENA_INIT;
    struct meta_get_req req = {&arena, MEMBERS_MAP};
    struct meta_get_res res;
    struct meta_lease_state lease;
    struct look l = {.done = false};
    const struct map *map;
    uint64_t revision;

    if (!lease_of(s->m, &lease) || lease.puts == atomic_load(&s->m->known_puts))
        return;
    call_begin(&l.call, s->loop, look_done);
    meta_get(s->m->conf.meta, &req, &res, &l.call);
    if (members_read(look_wait(s, &l), &res, &map, &revision) == ERR_OK) {
        members_learn(s->m, map);
        atomic_store(&s->m->known_puts, lease.puts);
    }
    arena_release(&arena);
}

/* ---- who is in sync ---- */

/* A target that was in maintenance comes back whatever buckets there are. */
static void look_at_self(struct members_sync *s, const struct map_node *n)
{
    if (n->sync == SYNC_OUT && n->state != NODE_MAINTENANCE && members_confirmed(s->m))
        change(s, MEMBERS_CATCH, n->id, "this target catches up");
}

static void look_at_other(struct members_sync *s, const struct map_node *n)
{
    if (n->sync != SYNC_OUT && !members_alive(s->m, n->id))
        change(s, MEMBERS_OUT, n->id, "target is out: writes go on without it");
}

static void look(struct members_sync *s)
{
    const struct map *map;
    bool others;

    confirm(s);
    if (!meta_reachable(s->m->conf.meta))
        return;
    map = members_map(s->m);
    others = map->share_count && s->wanted(s->arg);
    for (unsigned i = 0; i < map->node_count; i++) {
        if (str_eq(map->nodes[i].id, s->m->conf.self))
            look_at_self(s, &map->nodes[i]);
        else if (others)
            look_at_other(s, &map->nodes[i]);
    }
    map_release(map);
}

static bool rest(struct members_sync *s)
{
    struct timespec until;
    bool ending;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / NS_PER_S;
    until.tv_nsec %= NS_PER_S;
    pthread_mutex_lock(&s->lock);
    while (!s->ending && pthread_cond_timedwait(&s->wake, &s->lock, &until) != ETIMEDOUT)
        ;
    ending = s->ending;
    pthread_mutex_unlock(&s->lock);
    return !ending;
}

static void *watch(void *arg)
{
    struct members_sync *s = arg;

    s->loop = loop_new();
    loop_adopt(s->loop);
    while (rest(s))
        look(s);
    loop_free(s->loop);
    return NULL;
}

/* ---- life ---- */

void members_watch_sync(struct members *m, bool (*wanted)(void *arg), void *arg)
{
    struct members_sync *s = NEW(struct members_sync);
    pthread_condattr_t attr;

    s->m = m;
    s->wanted = wanted;
    s->arg = arg;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&s->thread, NULL, watch, s) != 0) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(s->thread, "sync");
    m->sync = s;
}

void members_sync_end(struct members *m)
{
    struct members_sync *s = m->sync;

    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
    m->sync = NULL;
}
