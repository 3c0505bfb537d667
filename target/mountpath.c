#include "target/mountpath.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/hrw.h"
#include "target/keeper.h"

enum { INDEX_BUFFER_MIN = 1 << 20, INDEX_BUFFER_MAX = 32 << 20, INDEX_BUFFER_SHARE = 128 /* of the file system */ };

/* ---- segments on their way into the index ---- */

void inflight_add(struct mountpath *m, struct inflight *f, const struct segment_id *id)
{
    pthread_mutex_lock(&m->inflight_lock);
    f->id = *id;
    f->next = m->inflight;
    f->at = &m->inflight;
    if (f->next)
        f->next->at = &f->next;
    m->inflight = f;
    pthread_mutex_unlock(&m->inflight_lock);
}

void inflight_remove(struct mountpath *m, struct inflight *f)
{
    pthread_mutex_lock(&m->inflight_lock);
    if (f->at) {
        *f->at = f->next;
        if (f->next)
            f->next->at = f->at;
    }
    pthread_mutex_unlock(&m->inflight_lock);
    *f = (struct inflight){0};
}

/* ---- dead segments ---- */

void mountpath_unlink(struct mountpath *m, const struct segment_id *ids, size_t n)
{
    keeper_unlink(m->keeper, ids, n);
}

void mountpath_drain(struct mountpath *m)
{
    keeper_drain(m->keeper);
}

static void unlink_garbage(void *arg, const struct segment_id *ids, size_t n)
{
    mountpath_unlink(arg, ids, n);
}

/* ---- opening ---- */

/* Memtables that a small disk can take, too. */
static uint64_t index_buffer(struct str dir)
{
    struct statvfs fs;

    if (statvfs(dir.p, &fs) != 0)
        return INDEX_BUFFER_MIN;
    uint64_t part = (uint64_t)fs.f_blocks * fs.f_frsize / INDEX_BUFFER_SHARE;
    return part < INDEX_BUFFER_MIN ? INDEX_BUFFER_MIN : part > INDEX_BUFFER_MAX ? INDEX_BUFFER_MAX : part;
}

static enum err open_index(struct mountpath *m, const struct mountpath_env *env, bool create,
                           char why[MOUNTPATH_WHY_MAX])
{
    enum err e;
    char path[4096];
    const struct kv_options o = {
        .cache_bytes = (size_t)(env->conf->index_cache_bytes / env->mountpath_count),
        .write_buffer_bytes = (size_t)m->index_buffer,
        .create = create,
    };

    if (snprintf(path, sizeof(path), "%s/index", m->dir.p) >= (int)sizeof(path)) {
        snprintf(why, MOUNTPATH_WHY_MAX, "the path of the data directory is too long");
        return ERR_INVALID_ARGUMENT;
    }
    e = kv_open(str_z(path), &o, &m->kv, why);
    if (e != ERR_OK && e != ERR_CONFLICT && !create) {
        size_t n = strlen(why);
        snprintf(why + n, MOUNTPATH_WHY_MAX - n, " (sluice fsck --rebuild restores it)");
    }
    return e;
}

static void start_threads(struct mountpath *m, const struct mountpath_env *env)
{
    const struct committer_conf c = {
        .kv = m->kv,
        .hot = m->hot,
        .sync = env->conf->durability == DURABILITY_SYNC,
        .unlink = unlink_garbage,
        .arg = m,
        .name = m->dir,
    };

    m->keeper = keeper_new(m, env->conf);
    m->committer = committer_new(&c);
}

enum err mountpath_open(const struct mountpath_env *env, struct str dir, const struct mountpath_format *f, int lock_fd,
                        struct mountpath **out, char why[MOUNTPATH_WHY_MAX])
{
    struct mountpath *m = NEW(struct mountpath);
    enum err e;

    m->dir = str_n(strndup(dir.p, dir.n), dir.n);
    m->uuid = f->uuid;
    m->seed = hrw_seed(str_n(f->uuid.b, MOUNTPATH_UUID_LEN));
    m->lock_fd = lock_fd;
    m->extents = env->extents;
    m->hot = hotcache_new(env->conf->cache_bytes / env->mountpath_count);
    pthread_mutex_init(&m->inflight_lock, NULL);
    m->index_buffer = index_buffer(m->dir);
    if ((e = open_index(m, env, f->set_count == 0, why)) != ERR_OK)
        goto fail;
    if ((e = segment_dir_open(m->dir, env->conf->durability == DURABILITY_SYNC, &m->segments)) != ERR_OK) {
        snprintf(why, MOUNTPATH_WHY_MAX, "can't use the directories for content in %s; see the log", m->dir.p);
        goto fail;
    }
    segment_dir_set_keys(m->segments, env->conf->keys);
    start_threads(m, env);
    *out = m;
    return ERR_OK;
fail:
    mountpath_close(m);
    return e;
}

void mountpath_close(struct mountpath *m)
{
    if (!m)
        return;
    assert(!m->inflight);
    committer_free(m->committer);
    keeper_free(m->keeper);
    if (m->segments)
        extent_cache_forget(m->extents, m->segments);
    segment_dir_close(m->segments);
    kv_close(m->kv);
    hotcache_free(m->hot);
    pthread_mutex_destroy(&m->inflight_lock);
    if (m->lock_fd >= 0)
        close(m->lock_fd);
    free((char *)m->dir.p);
    free(m);
}

/* ---- failing disks ---- */

enum { FAILURES_MAX = 5, FAILURES_S = 60 };

const char *mountpath_fails(struct mountpath *m)
{
    uint64_t all = kv_failures(m->kv) + segment_dir_failures(m->segments), now = clock_mono_ns();

    if (committer_is_broken(m->committer))
        return "the index takes no more writes";
    if (now - m->failures_since_ns > FAILURES_S * (uint64_t)NS_PER_S) {
        m->failures_since_ns = now;
        m->failures_before = all;
    }
    return all - m->failures_before > FAILURES_MAX ? "I/O errors" : NULL;
}
