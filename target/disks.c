/* Sets, where keys belong, and the handles of loops. */
#include "target/disks_own.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "store/hrw.h"

/* ---- where a key belongs ---- */

size_t disk_place(const struct disk_set *s, uint64_t uid, struct str key)
{
    return s->placed_at[s->placed == 1 ? 0 : hrw_pick(hrw_key(uid, key), s->seeds, s->placed)];
}

size_t disk_rank(const struct disk_set *s, uint64_t uid, struct str key, size_t n, uint8_t *out)
{
    uint64_t hash = hrw_key(uid, key), scores[MOUNTPATHS_MAX];
    uint64_t taken = 0;

    if (n > s->placed)
        n = s->placed;
    for (size_t i = 0; i < s->placed; i++)
        scores[i] = hrw_score(hash, s->seeds[i]);
    for (size_t k = 0; k < n; k++) {
        size_t best = s->placed;
        for (size_t i = 0; i < s->placed; i++) {
            if (taken & UINT64_C(1) << i)
                continue;
            if (best == s->placed || scores[i] > scores[best] ||
                (scores[i] == scores[best] && s->seeds[i] < s->seeds[best]))
                best = i;
        }
        taken |= UINT64_C(1) << best;
        out[k] = s->placed_at[best];
    }
    return n;
}

bool disk_doubt(const struct disk_set *s, uint64_t uid, struct str key, size_t copies)
{
    uint8_t rank[REDUNDANCY_COPIES_MAX];
    size_t n = disk_rank(s, uid, key, copies, rank), silent = 0;

    if (s->out + s->behind == 0)
        return false;
    if (!s->calm)
        return s->out + (copies > 1 ? s->behind : 0) >= copies;
    for (size_t i = 0; i < n; i++)
        silent += !disk_knows(&s->disks[rank[i]], copies);
    return silent == n;
}

/* ---- handles ---- */

static struct disk_use *use_new(struct local *l, struct disk_set *set, struct loop *loop)
{
    struct disk_use *u = mem_new(sizeof(*u) + set->count * sizeof(u->members[0]));

    u->set = set;
    for (size_t i = 0; i < set->count; i++) {
        u->members[i].store.ops = &disk_member_ops;
        u->members[i].store.loop = loop;
        u->members[i].local = l;
        u->members[i].mountpath = set->disks[i].mountpath;
    }
    return u;
}

/* Those of closed sets go; the thread of the disks has no business with them any more. The lock is held. */
static void use_prune(struct disk_handle *h)
{
    struct disk_use **at = &h->uses, *u;

    while ((u = *at) != NULL) {
        if (u == h->current || !u->set->closed) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        free(u);
    }
}

/* The handle's use of the current set. */
static struct disk_use *use_now(struct disk_handle *h)
{
    struct disks *d = h->local->disks;
    struct disk_use *u;

    pthread_mutex_lock(&d->lock);
    u = use_new(h->local, atomic_load(&d->set), h->store.loop);
    h->current = u;
    use_prune(h);
    u->next = h->uses;
    h->uses = u;
    pthread_mutex_unlock(&d->lock);
    return u;
}

/* Counted first, looked at once more after: who closes a set's mountpaths has replaced the set before it looks at the count. */
struct disk_use *disk_pin(struct disk_handle *h)
{
    struct disks *d = h->local->disks;

    for (;;) {
        struct disk_use *u = h->current;
        if (u) {
            atomic_fetch_add(&u->pins, 1);
            if (u->set == atomic_load(&d->set))
                return u;
            atomic_fetch_sub(&u->pins, 1);
        }
        use_now(h);
    }
}

void disk_unpin(void *use)
{
    struct disk_use *u = use;

    if (atomic_fetch_sub(&u->pins, 1) == 1 && u->orphan)
        free(u);
}

struct disk_use *disk_pin_for(struct disk_handle *h, struct arena *a)
{
    struct disk_use *u = disk_pin(h);

    arena_defer(a, disk_unpin, u);
    return u;
}

bool disk_is_current(const struct disk_handle *h, const struct disk_use *u)
{
    return u->set == atomic_load(&h->local->disks->set);
}

void disk_handle_open(struct disk_handle *h, struct local *l, struct loop *loop)
{
    struct disks *d = l->disks;

    h->local = l;
    h->store.loop = loop;
    pthread_mutex_lock(&d->lock);
    h->next = d->handles;
    h->at = &d->handles;
    if (h->next)
        h->next->at = &h->next;
    d->handles = h;
    pthread_mutex_unlock(&d->lock);
}

void disk_handle_close(struct disk_handle *h)
{
    struct disks *d = h->local->disks;
    struct disk_use *next;

    pthread_mutex_lock(&d->lock);
    *h->at = h->next;
    if (h->next)
        h->next->at = h->at;
    pthread_mutex_unlock(&d->lock);
    for (struct disk_use *u = h->uses; u; u = next) {
        next = u->next;
        if (atomic_load(&u->pins) == 0)
            free(u);
        else
            u->orphan = true; /* an arena outlives the handle, with answers only */
    }
}

struct disk_use *disks_hold(struct disks *d)
{
    struct disk_handle *h = NEW(struct disk_handle);

    disk_handle_open(h, d->local, NULL);
    return disk_pin(h);
}

void disks_let_go(struct disks *d, struct disk_use *u)
{
    struct disk_handle *h;

    pthread_mutex_lock(&d->lock);
    for (h = d->handles; h->current != u; h = h->next)
        ;
    pthread_mutex_unlock(&d->lock);
    disk_unpin(u);
    disk_handle_close(h);
    free(h);
}

/* ---- replacing the set ---- */

struct disk_set *disk_set_copy(const struct disk_set *from)
{
    struct disk_set *s = NEW(struct disk_set);

    *s = *from;
    atomic_store(&s->open, false);
    s->older = NULL;
    s->closed = false;
    s->generation++;
    return s;
}

static int order(const struct disk *d)
{
    return d->leaving ? 0 : 1;
}

void disk_set_seat(struct disk_set *s)
{
    for (size_t i = 1; i < s->count; i++) { /* stable, and there are few */
        struct disk d = s->disks[i];
        size_t at = i;
        for (; at && order(&s->disks[at - 1]) > order(&d); at--)
            s->disks[at] = s->disks[at - 1];
        s->disks[at] = d;
    }
    s->placed = s->out = s->behind = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct disk *d = &s->disks[i];
        s->out += !d->mountpath;
        s->behind += d->mountpath && d->behind;
        if (d->leaving)
            continue;
        s->seeds[s->placed] = d->seed;
        s->placed_at[s->placed++] = (uint8_t)i;
    }
}

/* Whether a request has it, or a write that decided by it has not ended. */
static bool is_in_use(struct disks *d, const struct disk_set *s, bool writes)
{
    bool found = false;

    pthread_mutex_lock(&d->lock);
    for (struct disk_handle *h = d->handles; h && !found; h = h->next)
        for (struct disk_use *u = h->uses; u && !found; u = u->next)
            found = u->set == s && atomic_load(writes ? &u->writing : &u->pins) > 0;
    pthread_mutex_unlock(&d->lock);
    return found;
}

void disks_publish(struct disks *d, struct disk_set *s)
{
    struct disk_set *old = atomic_load(&d->set);

    enum { POLL_US = 500 };
    s->older = old;
    pthread_mutex_lock(&d->lock);
    atomic_store(&d->set, s);
    pthread_mutex_unlock(&d->lock);
    for (; old; old = old->older)
        while (is_in_use(d, old, true))
            usleep(POLL_US);
    atomic_store(&s->open, true);
}

static bool has_mountpath(const struct disk_set *s, const struct mountpath *m)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->disks[i].mountpath == m)
            return true;
    return false;
}

/* Sets are looked at from the newest on: a mountpath goes when no set that is still in use has it. */
void disks_retire(struct disks *d, void (*close)(struct disks *, struct mountpath *))
{
    struct disk_set *now = atomic_load(&d->set), *s, *keep;

    for (s = now->older; s; s = s->older) {
        if (s->closed || is_in_use(d, s, false))
            continue;
        for (size_t i = 0; i < s->count; i++) {
            struct mountpath *m = s->disks[i].mountpath;
            bool kept = !m;
            for (keep = now; keep && !kept; keep = keep->older)
                kept = keep != s && !keep->closed && has_mountpath(keep, m);
            if (!kept)
                close(d, m);
        }
        pthread_mutex_lock(&d->lock);
        s->closed = true;
        pthread_mutex_unlock(&d->lock);
    }
}
