#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "members_own.h"

enum { PATIENCE_MS = 30000, GATHER_MS = 1000, POLL_MS = 200, WHY_MAX = 256 };

/* Joining blocks and the calls of a meta need a loop: they have one of their own on a thread of their own, since that of the caller may
 * be another loop's. */
struct join {
    struct members *m;
    const struct map_node *self;
    char *why;
    struct loop *loop;
    struct arena arena;
    uint64_t patience_ns; /* until when an unreachable meta is asked again */
    enum err err;
};

/* ---- calls that block ---- */

struct wait {
    struct call call;
    bool done;
};

static void wake(struct call *c)
{
    CONTAINER(c, struct wait, call)->done = true;
}

static struct call *wait_begin(struct join *j, struct wait *w)
{
    *w = (struct wait){0};
    call_begin(&w->call, j->loop, wake);
    return &w->call;
}

static enum err wait_end(struct join *j, const struct wait *w)
{
    while (!w->done)
        loop_turn(j->loop, POLL_MS);
    return w->call.err;
}

static void nap(uint32_t ms)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

    nanosleep(&ts, NULL);
}

/* An outage of the meta is waited for a while: etcd and targets are often started together. */
static bool again(struct join *j, enum err e)
{
    if (e != ERR_UNAVAILABLE || clock_mono_ns() >= j->patience_ns)
        return false;
    nap(POLL_MS);
    return true;
}

static enum err get(struct join *j, struct str key, struct meta_get_res *res)
{
    struct meta_get_req req = {&j->arena, key};
    struct wait w;
    enum err e;

    do {
        meta_get(j->m->conf.meta, &req, res, wait_begin(j, &w));
        e = wait_end(j, &w);
    } while (again(j, e));
    return e;
}

static enum err get_map(struct join *j, const struct map **map, uint64_t *revision)
{
    struct meta_get_res res;

    arena_release(&j->arena);
    enum err e = get(j, MEMBERS_MAP, &res);
    return members_read(e, &res, map, revision);
}

/* Takes over `map`. */
static enum err put_map(struct join *j, const struct map *map, uint64_t revision)
{
    struct meta_put_req req = {.key = MEMBERS_MAP, .value = map_record(map, &j->arena), .revision = revision};
    struct meta_put_res res;
    struct wait w;

    meta_put(j->m->conf.meta, &req, &res, wait_begin(j, &w));
    enum err e = wait_end(j, &w);
    if (e == ERR_OK)
        members_learn(j->m, map);
    else
        map_release(map);
    return e;
}

/* ---- the lease ---- */

static struct str own_key(struct join *j, struct str prefix)
{
    return arena_printf(&j->arena, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(j->self->id));
}

static struct str address_of(struct arena *a, struct str value)
{
    char why[DOC_WHY_MAX];
    struct doc *d;

    if (js_read(a, value, &d, why) != ERR_OK)
        return STR("");
    const struct doc *found = doc_get(d, STR("address"));
    return found ? found->text : STR("");
}

/* Who was killed a moment ago at this address was this target; at another address it may still be running. */
static enum err wait_for_former(struct join *j)
{
    uint64_t end = clock_mono_ns() + (j->m->conf.lease_s + 2) * (uint64_t)NS_PER_S;
    struct meta_get_res res;
    bool told = false;

    for (;;) {
        arena_release(&j->arena);
        enum err e = get(j, own_key(j, MEMBERS_ALIVE), &res);
        if (e == ERR_NOT_FOUND)
            return ERR_OK;
        if (e != ERR_OK)
            return e;
        struct str address = address_of(&j->arena, res.value);
        if (str_eq(address, j->self->address))
            return ERR_OK;
        if (clock_mono_ns() >= end) {
            snprintf(j->why, WHY_MAX, "target " STR_FMT " is running at " STR_FMT " already; was its data copied?",
                     STR_ARG(j->self->id), STR_ARG(address));
            return ERR_BUSY;
        }
        if (!told)
            log_info(STR_NONE, "waiting for the lease of this target to run out", "id=%s address=%s",
                     log_quote(j->self->id), log_quote(address));
        told = true;
        nap(POLL_MS);
    }
}

static enum err take_lease(struct join *j)
{
    struct members *m = j->m;
    struct buf value = BUF_INIT(4096);
    char started[CLOCK_ISO_LEN];
    const struct map *map = members_map(m);
    enum err e;

    clock_iso(clock_wall_ns(), started);
    js_object(&value);
    js_put_str(&value, "address", j->self->address);
    js_put_str(&value, "started", str_n(started, sizeof(started)));
    js_put_u64(&value, "epoch", map->epoch);
    js_end_object(&value);
    buf_add_char(&value, 0);
    map_release(map);

    pthread_rwlock_wrlock(&m->lock);
    free(m->locked.lease_value);
    m->locked.lease_value = value.p;
    pthread_rwlock_unlock(&m->lock);
    struct meta_lease_req req = {own_key(j, MEMBERS_ALIVE), str_z(value.p), m->conf.lease_s};
    do
        e = meta_lease(m->conf.meta, &req, &m->lease);
    while (again(j, e));
    return e;
}

/* ---- the map ---- */

static bool is_same(const struct map_node *a, const struct map_node *b)
{
    return str_eq(a->zone, b->zone) && str_eq(a->address, b->address) && str_eq(a->public_address, b->public_address) &&
           a->weight == b->weight;
}

/* Its directories hold objects as they were when it was removed: it would serve them for those of today. */
static enum err check_not_removed(struct join *j)
{
    struct meta_get_res res;
    enum err e = get(j, own_key(j, MEMBERS_REMOVED), &res);

    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e == ERR_OK)
        snprintf(j->why, WHY_MAX,
                 "target " STR_FMT " was removed from the cluster and what it holds is out of date; empty its data "
                 "directories to join as a new target",
                 STR_ARG(j->self->id));
    return e == ERR_OK ? ERR_CONFLICT : e;
}

/* ERR_EXISTS: nothing to change. */
static enum err make_entry(struct join *j, const struct map *now, const struct map **out)
{
    int at = map_find(now, j->self->id);
    enum err e;

    if (at >= 0)
        return is_same(&now->nodes[at], j->self) ? ERR_EXISTS : map_update(now, j->self, out);
    if ((e = check_not_removed(j)) != ERR_OK) /* after the map was read: whoever removes writes this first */
        return e;
    return now->share_count ? map_add(now, j->self, out) : map_gather(now, j->self, out);
}

static enum err enter(struct join *j)
{
    const struct map *now, *made = NULL;
    uint64_t revision;
    enum err e;

    do {
        if ((e = get_map(j, &now, &revision)) != ERR_OK)
            return e;
        e = make_entry(j, now, &made);
        members_learn(j->m, now);
        if (e == ERR_OK)
            e = put_map(j, made, revision);
        else
            return e == ERR_EXISTS ? ERR_OK : e;
    } while (e == ERR_CONFLICT || again(j, e));
    return e;
}

/* While there is no placement targets gather: when nobody else has come for a while, one of them makes the first placement of all. */
static enum err form(struct join *j)
{
    uint32_t quiet_ms = j->m->conf.lease_s < 10 ? j->m->conf.lease_s * (GATHER_MS / 10) : GATHER_MS;
    const struct map *now, *made;
    uint64_t revision, before = 0;
    enum err e;

    for (;;) {
        if ((e = get_map(j, &now, &revision)) != ERR_OK)
            return e;
        bool formed = now->share_count > 0, quiet = now->epoch == before;
        before = now->epoch;
        e = !formed && quiet ? map_form(now, &made) : ERR_BUSY;
        members_learn(j->m, now);
        if (formed)
            return ERR_OK;
        if (e == ERR_OK && (e = put_map(j, made, revision)) == ERR_OK)
            return ERR_OK;
        if (e == ERR_CONFLICT && quiet) { /* a faster one has formed it, or none may hold objects yet */
            log_info(STR_NONE, "waiting for the first placement", "%s", "");
            before = 0;
        }
        nap(quiet_ms);
    }
}

static enum err join(struct join *j)
{
    enum err e;

    if ((e = wait_for_former(j)) != ERR_OK || (e = take_lease(j)) != ERR_OK || (e = enter(j)) != ERR_OK)
        return e;
    return form(j);
}

static void *join_thread(void *arg)
{
    struct join *j = arg;

    j->loop = loop_new();
    loop_adopt(j->loop);
    j->patience_ns = clock_mono_ns() + PATIENCE_MS * UINT64_C(1000000);
    j->err = join(j);
    arena_release(&j->arena);
    loop_free(j->loop);
    return NULL;
}

enum err members_join(struct members *m, const struct map_node *self, char why[WHY_MAX])
{
    struct join j = {.m = m, .self = self, .why = why, .arena = ARENA_INIT};
    pthread_t thread;

    why[0] = 0;
    if (!str_eq(self->id, m->conf.self)) {
        snprintf(why, WHY_MAX, "not the id of this process");
        return ERR_INVALID_ARGUMENT;
    }
    members_leave(m); /* it may join again */
    if (pthread_create(&thread, NULL, join_thread, &j) != 0) {
        snprintf(why, WHY_MAX, "no thread could be started");
        return ERR_INTERNAL;
    }
    pthread_join(thread, NULL);
    if (j.err != ERR_OK) {
        members_leave(m);
        if (!why[0])
            snprintf(why, WHY_MAX,
                     j.err == ERR_UNAVAILABLE ? "etcd can't be reached (%s)" : "the map of the cluster refuses it (%s)",
                     err_name(j.err));
        return j.err;
    }
    log_info(STR_NONE, "joined the cluster", "id=%s address=%s", log_quote(self->id), log_quote(self->address));
    return ERR_OK;
}

void members_leave(struct members *m)
{
    struct meta_lease *lease;

    pthread_rwlock_wrlock(&m->lock);
    lease = m->lease;
    m->lease = NULL;
    free(m->locked.lease_value);
    m->locked.lease_value = NULL;
    pthread_rwlock_unlock(&m->lock);
    if (lease)
        meta_lease_end(m->conf.meta, lease);
}
