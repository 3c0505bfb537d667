#include "members_own.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/op.h"

/* Whom watches tell. Metas have no end of a watch but their own, so this outlives the members: it stays until the process ends, in
 * a list. */
struct follower {
    struct follower *next;
    pthread_mutex_t lock;
    struct members *members; /* guarded by lock; NULL = closed */
};

static pthread_mutex_t followers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct follower *followers; /* guarded by followers_lock; none is ever taken out */

/* ---- the map ---- */

/* What an operator of this target wants to know about a change of the map. */
static void tell_change(const struct members *m, const struct map *before, const struct map *now)
{
    struct str self = str_n(m->self, m->conf.self.n);
    int was = self.n ? map_find(before, self) : -1, is = self.n ? map_find(now, self) : -1;

    log_info(STR_NONE, "map of the cluster changed", "epoch=%llu nodes=%u moving=%s", (unsigned long long)now->epoch,
             now->node_count, now->previous_count ? "true" : "false");
    if (was >= 0 && is < 0)
        log_error(STR_NONE, "this target is no member of the cluster any more", "id=%s state=%s", log_quote(self),
                  log_quote(node_state_name(before->nodes[was].state)));
    if (is >= 0 && now->share_count && !map_share_of(now->shares, now->share_count, is) &&
        now->nodes[is].state == NODE_ACTIVE && (was < 0 || !before->share_count))
        log_info(STR_NONE, "this target gets its share of objects when those that move now have moved", "id=%s",
                 log_quote(self));
    if (is >= 0 && was >= 0 && map_share_of(now->shares, now->share_count, is) &&
        !map_share_of(before->shares, before->share_count, was))
        log_info(STR_NONE, "this target has its share of objects", "id=%s epoch=%llu", log_quote(self),
                 (unsigned long long)now->epoch);
}

void members_learn(struct members *m, const struct map *map)
{
    const struct map *drop = map;

    pthread_rwlock_wrlock(&m->lock);
    if (map->epoch > m->locked.map->epoch) {
        drop = m->locked.map;
        m->locked.map = map;
        if (map->epoch > m->locked.fence)
            m->locked.fence = map->epoch;
    }
    map_hold(map);
    pthread_rwlock_unlock(&m->lock);
    if (drop != map)
        tell_change(m, drop, map);
    map_release(drop);
    map_release(map);
}

enum err members_read(enum err got, const struct meta_get_res *res, const struct map **map, uint64_t *revision)
{
    if (got == ERR_NOT_FOUND) {
        *map = map_none();
        *revision = 0;
        return ERR_OK;
    }
    if (got == ERR_OK)
        got = map_parse(res->value, map);
    if (got == ERR_OK)
        *revision = res->revision;
    return got;
}

static void on_map(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct follower *f = arg;
    const struct map *map;

    (void)revision;
    if (!str_eq(key, MEMBERS_MAP)) /* the watch is of a prefix */
        return;
    pthread_mutex_lock(&f->lock);
    if (f->members && removed)
        log_error(STR_NONE, "map of the cluster was deleted; going on with the last one", "%s", "");
    else if (f->members && map_parse(value, &map) == ERR_OK)
        members_learn(f->members, map);
    pthread_mutex_unlock(&f->lock);
}

const struct map *members_map(struct members *m)
{
    pthread_rwlock_rdlock(&m->lock);
    const struct map *map = map_hold(m->locked.map);
    pthread_rwlock_unlock(&m->lock);
    return map;
}

static uint64_t current_epoch(struct members *m)
{
    pthread_rwlock_rdlock(&m->lock);
    uint64_t epoch = m->locked.map->epoch;
    pthread_rwlock_unlock(&m->lock);
    return epoch;
}

enum err members_fence(struct members *m, uint64_t epoch, const struct map **out)
{
    enum err e = ERR_OK;

    pthread_rwlock_rdlock(&m->lock);
    bool raise = epoch > m->locked.fence;
    if (epoch < m->locked.fence)
        e = ERR_STALE_EPOCH;
    else if (epoch > m->locked.map->epoch)
        e = ERR_UNAVAILABLE;
    else
        *out = map_hold(m->locked.map);
    pthread_rwlock_unlock(&m->lock);
    if (raise) {
        pthread_rwlock_wrlock(&m->lock);
        if (epoch > m->locked.fence)
            m->locked.fence = epoch;
        pthread_rwlock_unlock(&m->lock);
    }
    return e;
}

/* ---- who is alive ---- */

static size_t alive_seek(const struct members *m, const char id[NODE_ID_LEN])
{
    size_t low = 0, high = m->locked.alive_n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (memcmp(m->locked.alive[mid], id, NODE_ID_LEN) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool alive_at(const struct members *m, size_t at, const char id[NODE_ID_LEN])
{
    return at < m->locked.alive_n && memcmp(m->locked.alive[at], id, NODE_ID_LEN) == 0;
}

/* Returns whether that is news. */
static bool alive_set(struct members *m, const char id[NODE_ID_LEN], bool alive)
{
    size_t at = alive_seek(m, id);

    if (alive_at(m, at, id) == alive)
        return false;
    if (!alive) {
        m->locked.alive_n--;
        memmove(m->locked.alive + at, m->locked.alive + at + 1, (m->locked.alive_n - at) * NODE_ID_LEN);
        return true;
    }
    if (m->locked.alive_n == m->locked.alive_cap) {
        m->locked.alive_cap = m->locked.alive_cap ? m->locked.alive_cap * 2 : 16;
        m->locked.alive = mem_realloc(m->locked.alive, m->locked.alive_cap * NODE_ID_LEN);
    }
    memmove(m->locked.alive + at + 1, m->locked.alive + at, (m->locked.alive_n - at) * NODE_ID_LEN);
    memcpy(m->locked.alive[at], id, NODE_ID_LEN);
    m->locked.alive_n++;
    return true;
}

static void learn_alive(struct members *m, struct str id, struct str value, bool removed)
{
    pthread_rwlock_wrlock(&m->lock);
    bool other = !removed && m->locked.lease_value && str_eq(id, str_n(m->self, m->conf.self.n)) &&
                 !str_eq(value, str_z(m->locked.lease_value));
    bool news = alive_set(m, id.p, !removed);
    pthread_rwlock_unlock(&m->lock);
    if (news)
        log_info(STR_NONE, removed ? "target is silent" : "target is alive", "id=%s", log_quote(id));
    if (other)
        log_error(STR_NONE, "another process says that it is this target", "id=%s value=%s", log_quote(id),
                  log_quote(value));
}

static void on_alive(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct follower *f = arg;
    struct str id = str_skip(key, MEMBERS_ALIVE.n);

    (void)revision;
    if (id.n != NODE_ID_LEN)
        return;
    pthread_mutex_lock(&f->lock);
    if (f->members)
        learn_alive(f->members, id, value, removed);
    pthread_mutex_unlock(&f->lock);
}

bool members_alive(struct members *m, struct str id)
{
    if (id.n != NODE_ID_LEN)
        return false;
    pthread_rwlock_rdlock(&m->lock);
    bool alive = alive_at(m, alive_seek(m, id.p), id.p);
    pthread_rwlock_unlock(&m->lock);
    return alive;
}

/* ---- waiting for a map ---- */

enum { NAP_MIN_MS = 5, NAP_MAX_MS = 200 };

struct wait_op {
    struct op op;
    struct members *m;
    const struct members_wait_req *req;
    struct call *whole;
    struct timer end, nap;
    uint32_t nap_ms;
    bool fetching; /* it is this one that reads */
    struct arena arena;
    struct meta_get_req get;
    struct meta_get_res got;
};

static step_fn wait_fetch, wait_told, wait_look, wait_end;

static void nap_over(struct timer *t)
{
    call_finish(&CONTAINER(t, struct wait_op, nap)->op.call, ERR_OK);
}

static void nap_cancel(void *arg)
{
    struct wait_op *w = arg;

    timer_cancel(w->op.loop, &w->nap);
    call_finish(&w->op.call, ERR_CANCELLED);
}

static enum step_next wait_nap(struct wait_op *w)
{
    struct call *c = op_try(&w->op, wait_look);

    w->nap.fn = nap_over;
    timer_set(w->op.loop, &w->nap, w->nap_ms);
    call_on_cancel(c, nap_cancel, w);
    w->nap_ms = w->nap_ms * 2 < NAP_MAX_MS ? w->nap_ms * 2 : NAP_MAX_MS;
    return STEP_WAIT;
}

static enum step_next wait_fetch(struct op *op)
{
    struct wait_op *w = OP(op, struct wait_op);

    if (atomic_exchange(&w->m->fetching, true))
        return wait_nap(w);
    w->fetching = true;
    w->get = (struct meta_get_req){&w->arena, MEMBERS_MAP};
    meta_get(w->m->conf.meta, &w->get, &w->got, op_try(op, wait_told));
    return STEP_WAIT;
}

static enum step_next wait_told(struct op *op)
{
    struct wait_op *w = OP(op, struct wait_op);
    const struct map *map;
    uint64_t revision;

    if (members_read(op->call.err, &w->got, &map, &revision) == ERR_OK)
        members_learn(w->m, map);
    arena_release(&w->arena);
    w->fetching = false;
    atomic_store(&w->m->fetching, false);
    return current_epoch(w->m) >= w->req->epoch ? op_go(op, wait_end) : wait_nap(w);
}

static enum step_next wait_look(struct op *op)
{
    struct wait_op *w = OP(op, struct wait_op);

    return current_epoch(w->m) >= w->req->epoch ? op_go(op, wait_end) : op_go(op, wait_fetch);
}

static enum step_next wait_end(struct op *op)
{
    struct wait_op *w = OP(op, struct wait_op);

    timer_cancel(op->loop, &w->end);
    if (w->fetching)
        atomic_store(&w->m->fetching, false);
    arena_release(&w->arena);
    if (op->err == ERR_TIMEOUT)
        log_warn(STR_NONE, "newer map of the cluster did not come", "wanted=%llu known=%llu",
                 (unsigned long long)w->req->epoch, (unsigned long long)current_epoch(w->m));
    call_finish(w->whole, op->err);
    free(w);
    return STEP_DONE;
}

static void wait_timeout(struct timer *t)
{
    op_cancel(&CONTAINER(t, struct wait_op, end)->op, ERR_TIMEOUT);
}

static void wait_cancel(void *arg)
{
    op_cancel(&((struct wait_op *)arg)->op, ERR_CANCELLED);
}

void members_wait(struct members *m, const struct members_wait_req *req, struct call *whole)
{
    if (current_epoch(m) >= req->epoch) {
        call_finish(whole, ERR_OK);
        return;
    }
    struct wait_op *w = NEW(struct wait_op);
    *w = (struct wait_op){.m = m, .req = req, .whole = whole, .nap_ms = NAP_MIN_MS, .end.fn = wait_timeout};
    timer_set(whole->loop, &w->end, req->timeout_ms);
    op_start(&w->op, whole->loop, "members_wait", wait_fetch, wait_end);
    call_on_cancel(whole, wait_cancel, w); /* the first step always waits, so it is still there */
}

/* ---- open and close ---- */

static struct follower *follower_new(struct members *m)
{
    struct follower *f = NEW(struct follower);

    pthread_mutex_init(&f->lock, NULL);
    f->members = m;
    pthread_mutex_lock(&followers_lock);
    f->next = followers;
    followers = f;
    pthread_mutex_unlock(&followers_lock);
    return f;
}

enum err members_open(const struct members_conf *conf, struct members **out)
{
    struct members *m = NEW(struct members);
    pthread_rwlockattr_t attr;
    enum err e = ERR_OK;

    if (conf->self.n && conf->self.n != NODE_ID_LEN) {
        free(m);
        return ERR_INVALID_ARGUMENT;
    }
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&m->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    m->conf = *conf;
    if (conf->self.n)
        memcpy(m->self, conf->self.p, NODE_ID_LEN);
    m->conf.self = str_n(m->self, conf->self.n);
    m->locked.map = map_none();
    m->follower = follower_new(m);
    /* who is alive first: a map is of little use without */
    if ((e = meta_watch(conf->meta, MEMBERS_ALIVE, on_alive, m->follower)) != ERR_OK ||
        (e = meta_watch(conf->meta, MEMBERS_MAP, on_map, m->follower)) != ERR_OK) {
        members_close(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

void members_close(struct members *m)
{
    members_sync_end(m);
    members_leave(m);
    pthread_mutex_lock(&m->follower->lock);
    m->follower->members = NULL;
    pthread_mutex_unlock(&m->follower->lock);
    map_release(m->locked.map);
    free(m->locked.alive);
    pthread_rwlock_destroy(&m->lock);
    free(m);
}
