/* Changing the set while the server runs. */
#include "target/disks_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/hrw.h"

static struct metric taken_out = {.name = "sluice_mountpaths_failed_total",
                                  .help = "Mountpaths that were taken out because of I/O errors",
                                  .kind = METRIC_COUNTER};

/* ---- the format files ---- */

void disk_set_format(const struct disk_set *s, size_t i, struct mountpath_format *out)
{
    *out = (struct mountpath_format){
        .uuid = s->disks[i].uuid, .set_count = s->count, .generation = s->generation, .moving = !s->calm};
    for (size_t k = 0; k < s->count; k++) {
        const struct disk *d = &s->disks[k];
        struct mountpath_seat *seat = &out->seats[k];
        out->set[k] = d->uuid;
        seat->out = !d->mountpath;
        seat->leaving = d->leaving;
        seat->behind = d->behind;
        snprintf(seat->dir, sizeof(seat->dir), "%s", d->dir.p);
    }
}

enum err disks_save(const struct disk_set *s, char why[MOUNTPATH_WHY_MAX])
{
    struct mountpath_format *f = NEW(struct mountpath_format);
    size_t written = 0;
    enum err e = ERR_OK;

    for (size_t i = 0; i < s->count; i++) {
        if (!s->disks[i].mountpath)
            continue;
        disk_set_format(s, i, f);
        enum err one = mountpath_settle(s->disks[i].dir, f, why);
        written += one == ERR_OK;
        if (one == ERR_OK)
            continue;
        log_error(STR_NONE, "format file not written", "why=%s", log_quote(str_z(why)));
        e = one;
    }
    free(f);
    return written ? ERR_OK : e;
}

/* Durable first: a start finds what was promised. */
static enum err commit_set(struct disks *d, struct disk_set *s, char why[MOUNTPATH_WHY_MAX])
{
    enum err e;

    disk_set_seat(s);
    if ((e = disks_save(s, why)) != ERR_OK) {
        free(s);
        return e;
    }
    disks_publish(d, s);
    disks_wake(d);
    return ERR_OK;
}

/* ---- which one is meant ---- */

static bool same_directory(struct str a, struct str b)
{
    struct stat x, y;

    if (str_eq(a, b))
        return true;
    return stat(a.p, &x) == 0 && stat(b.p, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int find_dir(const struct disk_set *s, struct str dir)
{
    for (size_t i = 0; i < s->count; i++)
        if (same_directory(s->disks[i].dir, dir))
            return (int)i;
    return -1;
}

static enum err no(char why[MOUNTPATH_WHY_MAX], struct str dir, const char *text)
{
    snprintf(why, MOUNTPATH_WHY_MAX, "%.300s %s", dir.p, text);
    return ERR_INVALID_ARGUMENT;
}

/* ---- in ---- */

static enum err open_mountpath(struct disks *d, const struct disk_set *s, struct str dir,
                               const struct mountpath_format *f, int lock, struct mountpath **out, char *why)
{
    const struct mountpath_env env = {&d->local->conf, d->local->extents, s->count + 1};
    enum err e = mountpath_open(&env, dir, f, lock, out, why);

    if (e == ERR_OK && (e = bucket_table_save(d->buckets, *out)) != ERR_OK) {
        snprintf(why, MOUNTPATH_WHY_MAX, "%.300s can't be written", dir.p);
        mountpath_close(*out);
    }
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < s->count; i++)
        if (s->disks[i].mountpath) {
            committer_seal_like((*out)->committer, s->disks[i].mountpath->committer);
            break;
        }
    return ERR_OK;
}

/* Buckets that were first written to since open_mountpath() are told now, when nobody goes by the old set any more. */
static enum err joined(struct disks *d, struct disk_set *s, struct mountpath *m, char why[MOUNTPATH_WHY_MAX])
{
    enum err e = commit_set(d, s, why);

    if (e != ERR_OK)
        mountpath_close(m);
    else if (bucket_table_save(d->buckets, m) != ERR_OK)
        log_error(STR_NONE, "mirrored buckets not noted", "mountpath=%s", log_quote(m->dir));
    return e;
}

static enum err attach_new(struct disks *d, const struct disk_set *now, struct str dir, char why[MOUNTPATH_WHY_MAX])
{
    struct mountpath_format *f = NEW(struct mountpath_format);
    struct mountpath *m = NULL;
    struct disk_set *s;
    int lock = -1;
    enum err e;

    if (now->count == MOUNTPATHS_MAX)
        e = no(why, dir, "can't be attached: there are as many directories as there can be");
    else
        e = mountpath_claim(dir, true, f, &lock, why);
    if (e == ERR_OK && f->set_count) {
        close(lock);
        e = no(why, dir, "holds objects of other data directories: only a new or an empty directory can be attached");
    }
    if (e == ERR_OK && (e = mountpath_settle(dir, f, why)) != ERR_OK)
        close(lock);
    if (e == ERR_OK)
        e = open_mountpath(d, now, dir, f, lock, &m, why);
    if (e == ERR_OK) {
        s = disk_set_copy(now);
        s->disks[s->count++] = (struct disk){
            .uuid = f->uuid,
            .dir = str_n(strndup(dir.p, dir.n), dir.n),
            .mountpath = m,
            .seed = hrw_seed(str_n(f->uuid.b, MOUNTPATH_UUID_LEN)),
        };
        s->calm = false;
        if ((e = joined(d, s, m, why)) == ERR_OK)
            log_info(STR_NONE, "mountpath attached", "mountpath=%s", log_quote(dir));
    }
    free(f);
    return e;
}

static enum err enable(struct disks *d, const struct disk_set *now, size_t at, char why[MOUNTPATH_WHY_MAX])
{
    struct mountpath_format *f = NEW(struct mountpath_format);
    const struct disk *disk = &now->disks[at];
    struct mountpath *m = NULL;
    int lock = -1;
    enum err e;

    if (disk->mountpath) {
        free(f);
        return no(why, disk->dir, "is in use already");
    }
    disks_retire(d, disk_closed);
    e = mountpath_claim(disk->dir, false, f, &lock, why);
    if (e == ERR_CONFLICT)
        snprintf(why, MOUNTPATH_WHY_MAX, "%.300s is still in use by requests that began before: try again",
                 disk->dir.p);
    if (e == ERR_OK && memcmp(&f->uuid, &disk->uuid, sizeof(f->uuid)) != 0) {
        close(lock);
        e = no(why, disk->dir, "is another directory than the one that was there: detach that one first");
    }
    if (e == ERR_OK)
        e = open_mountpath(d, now, disk->dir, f, lock, &m, why);
    if (e == ERR_OK) {
        struct disk_set *s = disk_set_copy(now);
        s->disks[at].mountpath = m;
        s->disks[at].behind = !bucket_table_is_empty(d->buckets);
        if ((e = joined(d, s, m, why)) == ERR_OK)
            log_info(STR_NONE, "mountpath enabled", "mountpath=%s", log_quote(m->dir));
    }
    free(f);
    return e;
}

/* ---- out ---- */

static enum err take_out(struct disks *d, const struct disk_set *now, size_t at, char why[MOUNTPATH_WHY_MAX])
{
    struct disk_set *s;

    if (!now->disks[at].mountpath)
        return no(why, now->disks[at].dir, "is out already");
    if (now->count - now->out == 1)
        return no(why, now->disks[at].dir, "is the last directory in use");
    s = disk_set_copy(now);
    s->disks[at].mountpath = NULL;
    log_warn(STR_NONE, "mountpath disabled: its objects can't be read", "mountpath=%s", log_quote(now->disks[at].dir));
    return commit_set(d, s, why);
}

static bool is_home(const struct disks *d, const struct disk *disk)
{
    return memcmp(&d->home, &disk->uuid, sizeof(d->home)) == 0;
}

static enum err detach(struct disks *d, const struct disk_set *now, size_t at, bool lost, char why[MOUNTPATH_WHY_MAX])
{
    const struct disk *disk = &now->disks[at];
    struct disk_set *s;

    if (is_home(d, disk))
        return no(why, disk->dir, "can't be detached: as the first data directory it holds more than objects");
    if (disk->leaving && disk->mountpath)
        return no(why, disk->dir, "is being detached already");
    if (!disk->leaving && now->placed == 1)
        return no(why, disk->dir, "is the last directory");
    if (!disk->mountpath && !lost)
        return no(why, disk->dir, "is out: what only it holds would be lost; detach it with --lost to give that up");
    lost = !disk->mountpath;
    s = disk_set_copy(now);
    s->calm = false;
    log_warn(STR_NONE, lost ? "mountpath given up" : "mountpath is being emptied", "mountpath=%s",
             log_quote(disk->dir));
    if (lost) {
        memmove(&s->disks[at], &s->disks[at + 1], (s->count - at - 1) * sizeof(s->disks[0]));
        s->count--;
    } else {
        s->disks[at].leaving = true;
    }
    return commit_set(d, s, why);
}

enum err disks_change(struct disks *d, enum disk_verb verb, struct str dir, char why[MOUNTPATH_WHY_MAX])
{
    enum err e = ERR_INVALID_ARGUMENT;

    why[0] = 0;
    if (dir.n == 0 || dir.n > MOUNTPATH_DIR_MAX || dir.p[0] != '/' || memchr(dir.p, '\n', dir.n)) {
        snprintf(why, MOUNTPATH_WHY_MAX, "give the absolute path of a directory, of at most %d bytes",
                 MOUNTPATH_DIR_MAX);
        return e;
    }
    pthread_mutex_lock(&d->change);
    const struct disk_set *now = atomic_load(&d->set);
    int at = find_dir(now, dir);
    if (at < 0 && verb != DISK_ATTACH)
        e = no(why, dir, "is none of the data directories");
    else if (verb == DISK_ATTACH && at < 0)
        e = attach_new(d, now, dir, why);
    else if (verb == DISK_ATTACH || verb == DISK_ENABLE)
        e = enable(d, now, (size_t)at, why);
    else if (verb == DISK_DISABLE)
        e = take_out(d, now, (size_t)at, why);
    else
        e = detach(d, now, (size_t)at, verb == DISK_DETACH_LOST, why);
    pthread_mutex_unlock(&d->change);
    return e;
}

static void register_metrics(void)
{
    metric_register(&taken_out);
}

void disks_fail(struct disks *d, struct mountpath *m, const char *reason)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char why[MOUNTPATH_WHY_MAX] = "";

    pthread_once(&once, register_metrics);
    pthread_mutex_lock(&d->change);
    const struct disk_set *now = atomic_load(&d->set);
    for (size_t i = 0; i < now->count; i++) {
        if (now->disks[i].mountpath != m)
            continue;
        if (take_out(d, now, i, why) == ERR_OK) {
            metric_add(&taken_out, 1);
            log_error(STR_NONE, "mountpath taken out because it fails", "mountpath=%s reason=%s", log_quote(m->dir),
                      log_quote(str_z(reason)));
        } else {
            log_error(STR_NONE, "mountpath fails, and can't be taken out", "mountpath=%s reason=%s why=%s",
                      log_quote(m->dir), log_quote(str_z(reason)), log_quote(str_z(why)));
        }
        break;
    }
    pthread_mutex_unlock(&d->change);
}

/* ---- everything in place ---- */

void disks_calm(struct disks *d, const struct disk_set *by)
{
    char why[MOUNTPATH_WHY_MAX] = "";
    struct disk_set *s;
    size_t kept = 0;

    pthread_mutex_lock(&d->change);
    if (by == atomic_load(&d->set) && (!by->calm || by->behind)) {
        s = disk_set_copy(by);
        s->calm = true;
        for (size_t i = 0; i < s->count; i++) {
            if (s->disks[i].leaving) {
                log_info(STR_NONE, "mountpath detached", "mountpath=%s", log_quote(s->disks[i].dir));
                continue;
            }
            if (s->disks[i].mountpath)
                s->disks[i].behind = false;
            s->disks[kept++] = s->disks[i];
        }
        s->count = kept;
        if (commit_set(d, s, why) != ERR_OK)
            log_error(STR_NONE, "the end of moving was not written", "why=%s", log_quote(str_z(why)));
        else
            log_info(STR_NONE, "all objects are where they belong", "generation=%llu",
                     (unsigned long long)s->generation);
    }
    pthread_mutex_unlock(&d->change);
}

/* Nobody has it any more. What was emptied becomes a directory that can be attached anywhere. */
void disk_closed(struct disks *d, struct mountpath *m)
{
    const struct disk_set *now = atomic_load(&d->set);
    struct mountpath_format *f = NEW(struct mountpath_format);
    char why[MOUNTPATH_WHY_MAX] = "";
    bool known = false;

    for (size_t i = 0; i < now->count; i++)
        known = known || memcmp(&now->disks[i].uuid, &m->uuid, sizeof(m->uuid)) == 0;
    f->uuid = m->uuid;
    if (!known && mountpath_settle(m->dir, f, why) != ERR_OK)
        log_error(STR_NONE, "format file not written", "why=%s", log_quote(str_z(why)));
    log_info(STR_NONE, "mountpath closed", "mountpath=%s", log_quote(m->dir));
    mountpath_close(m);
    free(f);
}

/* ---- telling ---- */

static bool is_named(const struct disk_set *s, const struct disk *d)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->disks[i].mountpath == d->mountpath)
            return true;
    return false;
}

/* Those that are not in the set any more, while requests still have them. */
static void print_closing(const struct disk_set *now, struct buf *out)
{
    for (const struct disk_set *s = now->older; s; s = s->older)
        for (size_t i = 0; !s->closed && i < s->count; i++) {
            const struct disk_set *newer = now;
            while (newer != s && (newer->closed || !is_named(newer, &s->disks[i])))
                newer = newer->older;
            if (s->disks[i].mountpath && newer == s)
                buf_addf(out, "%-10s %s\n", "closing", s->disks[i].dir.p);
        }
}

void disks_print(struct disks *d, struct buf *out)
{
    const struct disk_set *s;

    pthread_mutex_lock(&d->change); /* so that mountpaths stay */
    s = atomic_load(&d->set);
    for (size_t i = 0; i < s->count; i++) {
        const struct disk *disk = &s->disks[i];
        const char *state = !disk->mountpath ? "disabled" : disk->leaving ? "detaching" : "attached";
        buf_addf(out, "%-10s %s%s\n", state, disk->dir.p, disk->mountpath && disk->behind ? " (behind)" : "");
    }
    print_closing(s, out);
    if (!s->calm || s->behind)
        buf_addf(out, "moving: %llu objects checked, %llu moved (%llu bytes)%s\n",
                 (unsigned long long)atomic_load(&d->checked), (unsigned long long)atomic_load(&d->moved),
                 (unsigned long long)atomic_load(&d->moved_bytes),
                 s->out ? "; can't end while a directory is disabled" : "");
    pthread_mutex_unlock(&d->change);
}
