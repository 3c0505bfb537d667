#include "target/engine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "store/hrw.h"
#include "target/gc.h"

/* ---- metrics ---- */

static struct metric reads = {
    .name = "sluice_store_reads_total", .help = "Bodies of objects opened for reading", .kind = METRIC_COUNTER};
static struct metric read_bytes = {
    .name = "sluice_store_read_bytes_total", .help = "Bytes of those bodies", .kind = METRIC_COUNTER};
static struct metric writes = {
    .name = "sluice_store_writes_total", .help = "Objects and parts written", .kind = METRIC_COUNTER};
static struct metric written_bytes = {
    .name = "sluice_store_written_bytes_total", .help = "Bytes of those objects and parts", .kind = METRIC_COUNTER};

static void register_metrics(void)
{
    metric_register(&reads);
    metric_register(&read_bytes);
    metric_register(&writes);
    metric_register(&written_bytes);
}

void local_count_read(uint64_t bytes)
{
    metric_add(&reads, 1);
    metric_add(&read_bytes, (int64_t)bytes);
}

void local_count_written(uint64_t bytes)
{
    metric_add(&writes, 1);
    metric_add(&written_bytes, (int64_t)bytes);
}

struct mountpath *local_place(struct local *l, uint64_t bucket_uid, struct str key)
{
    return l->mountpaths[hrw_pick(hrw_key(bucket_uid, key), l->seeds, l->count)];
}

/* ---- opening: claim every directory before any is changed ---- */

struct claims {
    struct mountpath_format formats[MOUNTPATHS_MAX];
    int locks[MOUNTPATHS_MAX];
    size_t count;
};

static int cmp_uuid(const void *a, const void *b)
{
    return memcmp(a, b, MOUNTPATH_UUID_LEN);
}

/* The uuids in order: what each format file must say about the others. */
static void make_set(const struct claims *c, struct mountpath_format *out)
{
    out->set_count = c->count;
    for (size_t i = 0; i < c->count; i++)
        out->set[i] = c->formats[i].uuid;
    qsort(out->set, c->count, sizeof(out->set[0]), cmp_uuid);
}

/* Keys are placed by the set of mountpaths: with another set objects would not be found where they are. */
static enum err check_set(const struct claims *c, const struct local_conf *conf, char why[MOUNTPATH_WHY_MAX])
{
    struct mountpath_format all = {0};

    make_set(c, &all);
    for (size_t i = 0; i < c->count; i++) {
        const struct mountpath_format *f = &c->formats[i];
        if (f->set_count == 0)
            continue;
        if (f->set_count == all.set_count && memcmp(f->set, all.set, all.set_count * sizeof(all.set[0])) == 0)
            continue;
        snprintf(why, MOUNTPATH_WHY_MAX,
                 "the data directory %.200s was made as one of a set of %zu: give exactly these directories (adding or "
                 "taking away one is not supported)",
                 conf->mountpaths[i].p, f->set_count);
        return ERR_INVALID_ARGUMENT;
    }
    return ERR_OK;
}

static bool is_settled(const struct claims *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->formats[i].set_count == 0)
            return false;
    return true;
}

/* Before any index is made: directories that have an identity may be without an index as long as they are not settled. */
static enum err name_new(struct claims *c, const struct local_conf *conf, char why[MOUNTPATH_WHY_MAX])
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < c->count && e == ERR_OK; i++)
        if (c->formats[i].set_count == 0)
            e = mountpath_settle(conf->mountpaths[i], &c->formats[i], why);
    return e;
}

/* After every index was made: from now on a missing index is a loss, not a beginning. */
static enum err settle(struct claims *c, const struct local_conf *conf, char why[MOUNTPATH_WHY_MAX])
{
    enum err e = ERR_OK;

    if (is_settled(c))
        return ERR_OK;
    for (size_t i = 0; i < c->count && e == ERR_OK; i++) {
        make_set(c, &c->formats[i]);
        e = mountpath_settle(conf->mountpaths[i], &c->formats[i], why);
    }
    return e;
}

static enum err claim_all(struct claims *c, const struct local_conf *conf, char why[MOUNTPATH_WHY_MAX])
{
    enum err e = ERR_OK;

    if (conf->mountpath_count == 0 || conf->mountpath_count > MOUNTPATHS_MAX) {
        snprintf(why, MOUNTPATH_WHY_MAX, "give between 1 and %d data directories", MOUNTPATHS_MAX);
        return ERR_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < conf->mountpath_count && e == ERR_OK; i++) {
        e = mountpath_claim(conf->mountpaths[i], true, &c->formats[i], &c->locks[i], why);
        if (e == ERR_OK)
            c->count++;
    }
    if (e == ERR_OK)
        e = check_set(c, conf, why);
    if (e == ERR_OK)
        e = name_new(c, conf, why);
    return e;
}

static enum err open_all(struct local *l, struct claims *c, const struct local_conf *conf, char why[MOUNTPATH_WHY_MAX])
{
    const struct mountpath_env env = {&l->conf, l->hot, l->extents, c->count};
    enum err e = ERR_OK;

    for (size_t i = 0; i < c->count && e == ERR_OK; i++) {
        int lock = c->locks[i];
        c->locks[i] = -1; /* taken over, also on error */
        e = mountpath_open(&env, conf->mountpaths[i], &c->formats[i], lock, &l->mountpaths[i], why);
        if (e != ERR_OK)
            break;
        l->seeds[i] = l->mountpaths[i]->seed;
        l->count++;
    }
    return e;
}

enum err local_open(const struct local_conf *conf, struct local **out, char why[512])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct local *l = NEW(struct local);
    struct claims *c = NEW(struct claims);
    enum err e;

    pthread_once(&once, register_metrics);
    l->conf = *conf;
    l->conf.mountpaths = NULL;
    l->hot = hotcache_new(conf->cache_bytes);
    l->extents = extent_cache_new(conf->open_files_max);
    why[0] = 0;
    if ((e = claim_all(c, conf, why)) != ERR_OK || (e = open_all(l, c, conf, why)) != ERR_OK ||
        (e = settle(c, conf, why)) != ERR_OK)
        goto out;
    l->gc = gc_start(l);
out:
    for (size_t i = 0; i < c->count; i++)
        if (c->locks[i] >= 0)
            close(c->locks[i]);
    free(c);
    if (e != ERR_OK)
        local_close(l);
    else
        *out = l;
    return e;
}

void local_close(struct local *l)
{
    gc_stop(l->gc);
    for (size_t i = 0; i < l->count; i++)
        mountpath_close(l->mountpaths[i]);
    extent_cache_free(l->extents);
    hotcache_free(l->hot);
    free(l);
}

/* ---- a loop's handle ---- */

static void close_handle(struct store *s)
{
    free(CONTAINER(s, struct local_handle, store));
}

static const struct store_ops local_ops = {
    .name = "local",
    .obj_head = local_obj_head,
    .obj_get = local_obj_get,
    .obj_put = local_obj_put,
    .obj_delete = local_obj_delete,
    .obj_copy = local_obj_copy,
    .obj_import = local_obj_import,
    .obj_list = local_obj_list,
    .upload_create = local_upload_create,
    .upload_part = local_upload_part,
    .upload_complete = local_upload_complete,
    .upload_abort = local_upload_abort,
    .upload_list = local_upload_list,
    .part_list = local_part_list,
    .bucket_purge = local_bucket_purge,
    .close = close_handle,
};

struct store *local_store(struct local *l, struct loop *loop)
{
    struct local_handle *h = NEW(struct local_handle);

    h->store.ops = &local_ops;
    h->store.loop = loop;
    h->local = l;
    return &h->store;
}
