/* Opening at the start: every directory is claimed before any is changed. */
#include "target/disks_own.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/hrw.h"

struct claims {
    const struct local_conf *conf;
    struct mountpath_format formats[MOUNTPATHS_MAX]; /* of the given directories, then of those that belong to them */
    struct str dirs[MOUNTPATHS_MAX];
    int locks[MOUNTPATHS_MAX];
    size_t count;
    struct mountpath_format all; /* the set: the newest that any of them tells */
    char *why;
};

static int cmp_uuid(const void *a, const void *b)
{
    return memcmp(a, b, MOUNTPATH_UUID_LEN);
}

static int find_claim(const struct claims *c, const struct mountpath_uuid *id)
{
    for (size_t i = 0; i < c->count; i++)
        if (cmp_uuid(&c->formats[i].uuid, id) == 0)
            return (int)i;
    return -1;
}

static int find_seat(const struct mountpath_format *f, const struct mountpath_uuid *id)
{
    for (size_t i = 0; i < f->set_count; i++)
        if (cmp_uuid(&f->set[i], id) == 0)
            return (int)i;
    return -1;
}

static enum err claim_one(struct claims *c, struct str dir, bool create)
{
    enum err e;

    if (c->count == MOUNTPATHS_MAX) {
        snprintf(c->why, MOUNTPATH_WHY_MAX, "there are more than %d data directories", MOUNTPATHS_MAX);
        return ERR_INVALID_ARGUMENT;
    }
    e = mountpath_claim(dir, create, &c->formats[c->count], &c->locks[c->count], c->why);
    if (e == ERR_OK)
        c->dirs[c->count++] = dir;
    return e;
}

/* ---- a set that never changed: exactly the given directories ---- */

/* Keys are placed by the set of mountpaths: with another set objects would not be found where they are. */
static enum err check_given(struct claims *c)
{
    struct mountpath_format *all = &c->all;

    all->set_count = c->count;
    for (size_t i = 0; i < c->count; i++)
        all->set[i] = c->formats[i].uuid;
    qsort(all->set, c->count, sizeof(all->set[0]), cmp_uuid);
    for (size_t i = 0; i < c->count; i++) {
        const struct mountpath_format *f = &c->formats[i];
        if (f->set_count == 0)
            continue;
        if (f->set_count == all->set_count && memcmp(f->set, all->set, all->set_count * sizeof(all->set[0])) == 0)
            continue;
        snprintf(
            c->why, MOUNTPATH_WHY_MAX,
            "the data directory %.200s was made as one of a set of %zu: give exactly these directories (add one to "
            "the running server with sluice disk attach)",
            c->dirs[i].p, f->set_count);
        return ERR_INVALID_ARGUMENT;
    }
    return ERR_OK;
}

/* ---- a set that was changed: what the newest format file says ---- */

static enum err check_strangers(struct claims *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (find_seat(&c->all, &c->formats[i].uuid) >= 0)
            continue;
        snprintf(
            c->why, MOUNTPATH_WHY_MAX,
            "the data directory %.200s is none of this server's: leave it out of --data, or attach it to the running "
            "server with sluice disk attach",
            c->dirs[i].p);
        return ERR_INVALID_ARGUMENT;
    }
    return ERR_OK;
}

/* A directory that was attached while the server ran need not be given. */
static enum err claim_seat(struct claims *c, size_t at)
{
    const struct mountpath_seat *seat = &c->all.seats[at];
    char reason[MOUNTPATH_WHY_MAX] = "it has become another directory";
    char *why = c->why;
    enum err e;

    c->why = reason;
    e = claim_one(c, str_z(seat->dir), false);
    c->why = why;
    if (e == ERR_OK && cmp_uuid(&c->formats[c->count - 1].uuid, &c->all.set[at]) != 0) {
        close(c->locks[--c->count]);
        e = ERR_NOT_FOUND;
    }
    if (e == ERR_OK)
        return ERR_OK;
    snprintf(why, MOUNTPATH_WHY_MAX,
             "the data directory %.150s, which holds objects of this server, can't be used (%.200s); start with "
             "--store-allow-missing to go on without them",
             seat->dir, reason);
    return e;
}

static enum err claim_set(struct claims *c)
{
    enum err e = check_strangers(c);

    for (size_t i = 0; i < c->all.set_count && e == ERR_OK; i++) {
        struct mountpath_seat *seat = &c->all.seats[i];
        if (seat->out || find_claim(c, &c->all.set[i]) >= 0)
            continue;
        e = claim_seat(c, i);
        if (e == ERR_OK || !c->conf->allow_missing)
            continue;
        log_error(STR_NONE, "mountpath missing: its objects can't be read", "mountpath=%s",
                  log_quote(str_z(seat->dir)));
        seat->out = true;
        c->all.generation++;
        e = ERR_OK;
    }
    return e;
}

/* ---- all ---- */

/* Before any index is made: directories that have an identity may be without an index as long as they are not settled. */
static enum err name_new(struct claims *c)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < c->count && e == ERR_OK; i++)
        if (c->formats[i].set_count == 0)
            e = mountpath_settle(c->dirs[i], &c->formats[i], c->why);
    return e;
}

static enum err claim_all(struct claims *c)
{
    const struct local_conf *conf = c->conf;
    enum err e = ERR_OK;

    if (conf->mountpath_count == 0 || conf->mountpath_count > MOUNTPATHS_MAX) {
        snprintf(c->why, MOUNTPATH_WHY_MAX, "give between 1 and %d data directories", MOUNTPATHS_MAX);
        return ERR_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < conf->mountpath_count && e == ERR_OK; i++)
        e = claim_one(c, conf->mountpaths[i], true);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < c->count; i++)
        if (c->formats[i].generation > c->all.generation)
            c->all = c->formats[i];
    if ((e = c->all.generation ? claim_set(c) : check_given(c)) != ERR_OK)
        return e;
    return name_new(c);
}

static enum err open_seat(struct local *l, struct claims *c, size_t i, struct disk *d)
{
    const struct mountpath_env env = {&l->conf, l->extents, c->all.set_count};
    const struct mountpath_seat *seat = &c->all.seats[i];
    int at = find_claim(c, &c->all.set[i]);
    struct str dir = at >= 0 ? c->dirs[at] : str_z(seat->dir);

    d->uuid = c->all.set[i];
    d->seed = hrw_seed(str_n(d->uuid.b, MOUNTPATH_UUID_LEN));
    d->dir = str_n(strndup(dir.p, dir.n), dir.n);
    d->leaving = seat->leaving;
    d->behind = seat->behind;
    if (seat->out || at < 0)
        return ERR_OK;
    int lock = c->locks[at];
    c->locks[at] = -1; /* taken over, also on error */
    return mountpath_open(&env, dir, &c->formats[at], lock, &d->mountpath, c->why);
}

static enum err open_all(struct local *l, struct claims *c)
{
    struct disk_set *s = NEW(struct disk_set);
    enum err e = ERR_OK;

    atomic_store(&l->disks->set, s);
    s->generation = c->all.generation;
    s->calm = !c->all.moving;
    atomic_store(&s->open, true);
    for (size_t i = 0; i < c->all.set_count && e == ERR_OK; i++, s->count++)
        e = open_seat(l, c, i, &s->disks[i]);
    disk_set_seat(s);
    l->disks->home = c->formats[0].uuid;
    for (size_t i = 0; i < s->count && e == ERR_OK; i++)
        if (s->disks[i].mountpath)
            e = bucket_table_load(l->disks->buckets, s->disks[i].mountpath);
    if (e == ERR_OK && s->placed == s->out && s->out) {
        snprintf(c->why, MOUNTPATH_WHY_MAX, "none of the data directories can be used");
        e = ERR_INVALID_ARGUMENT;
    }
    return e;
}

/* After every index was made: from now on a missing index is a loss, not a beginning. */
static enum err settle(struct claims *c, const struct disk_set *s)
{
    struct mountpath_format *f = NEW(struct mountpath_format);
    enum err e = ERR_OK;

    for (size_t i = 0; i < s->count && e == ERR_OK; i++) {
        const struct disk *d = &s->disks[i];
        int at = find_claim(c, &d->uuid);
        if (!d->mountpath || (c->formats[at].set_count && c->formats[at].generation == s->generation))
            continue;
        disk_set_format(s, i, f);
        if (s->generation == 0) /* the order that older versions expect */
            qsort(f->set, f->set_count, sizeof(f->set[0]), cmp_uuid);
        e = mountpath_settle(d->dir, f, c->why);
    }
    free(f);
    return e;
}

enum err disks_open(struct local *l, const struct local_conf *conf, char why[MOUNTPATH_WHY_MAX])
{
    struct disks *d = l->disks = NEW(struct disks);
    struct claims *c = NEW(struct claims);
    enum err e;

    d->local = l;
    d->locks = keylocks_new();
    d->buckets = bucket_table_new();
    pthread_mutex_init(&d->change, NULL);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    c->conf = conf;
    c->why = why;
    if ((e = claim_all(c)) == ERR_OK && (e = open_all(l, c)) == ERR_OK)
        e = settle(c, atomic_load(&d->set));
    for (size_t i = 0; i < c->count; i++)
        if (c->locks[i] >= 0)
            close(c->locks[i]);
    free(c);
    return e;
}

static bool has_dir(const struct disk_set *s, const char *dir)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->disks[i].dir.p == dir)
            return true;
    return false;
}

/* Names are shared by the sets that have them one after the other. */
static void sets_free(struct disk_set *s)
{
    struct disk_set *older;

    for (; s; s = older) {
        older = s->older;
        for (size_t i = 0; i < s->count; i++)
            if (!older || !has_dir(older, s->disks[i].dir.p))
                free((char *)s->disks[i].dir.p);
        free(s);
    }
}

void disks_start(struct disks *d)
{
    struct disk_set *s = atomic_load(&d->set);
    sigset_t all, old;

    /* a crash may have left copies that differ */
    atomic_store(&d->again, !bucket_table_is_empty(d->buckets));
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&d->thread, NULL, disks_main, d) != 0) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(d->thread, "disks");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    d->running = true;
    for (size_t i = 0; i < s->count; i++)
        if (memcmp(&s->disks[i].uuid, &d->home, sizeof(d->home)) == 0)
            d->admin = disk_admin_start(d, s->disks[i].dir);
}

void disks_close(struct disks *d)
{
    struct disk_set *s;

    if (!d)
        return;
    disk_admin_stop(d->admin);
    if (d->running) {
        atomic_store(&d->stop, true);
        disks_wake(d);
        pthread_join(d->thread, NULL);
        disks_retire(d, disk_closed);
    }
    s = atomic_load(&d->set);
    for (size_t i = 0; s && i < s->count; i++)
        mountpath_close(s->disks[i].mountpath);
    sets_free(s);
    bucket_table_free(d->buckets);
    keylocks_free(d->locks);
    pthread_mutex_destroy(&d->change);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->wake);
    free(d);
}
