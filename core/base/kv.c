#include "kv.h"

#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "mem.h"

enum {
    CACHE_DEFAULT = 8 << 20,
    WRITE_BUFFER_DEFAULT = 16 << 20,
    WRITE_BUFFERS = 3,
    OPEN_FILES = 512,
    BLOOM_BITS = 10,
    INFO_LOG_MAX = 1 << 20,
    INFO_LOG_LEVEL_ERROR = 3, /* InfoLogLevel::ERROR_LEVEL */
    READ_TIER_CACHE = 1,      /* ReadTier::kBlockCacheTier */
};

struct kv {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read, *read_cached;
    rocksdb_writeoptions_t *write, *write_sync;
    _Atomic uint64_t failures;
};

/* ---- errors: the C API hands out texts only, "<kind>: <subkind>: <detail>" ---- */

static enum err err_from_text(const char *text)
{
    struct str s = str_z(text);

    if (str_starts(s, STR("NotFound")))
        return ERR_NOT_FOUND;
    if (str_starts(s, STR("Result incomplete")))
        return ERR_AGAIN;
    if (str_starts(s, STR("Corruption")))
        return ERR_CORRUPT;
    /* what was written but not synced may come back: in doubt, whatever the reason */
    if (str_find(s, STR("While fdatasync")) != SIZE_MAX || str_find(s, STR("While fsync")) != SIZE_MAX)
        return ERR_IO;
    if (str_find(s, STR("No space left")) != SIZE_MAX || str_find(s, STR("quota exceeded")) != SIZE_MAX)
        return ERR_NO_SPACE;
    return ERR_IO;
}

/* Frees `text`. */
static enum err fail(struct kv *kv, const char *what, char *text)
{
    enum err e = err_from_text(text);

    if (e != ERR_AGAIN && e != ERR_NOT_FOUND)
        log_error(STR_NONE, "index failed", "do=%s error=%s", what, log_quote(str_z(text)));
    if (e == ERR_IO && str_find(str_z(text), STR("No space left")) == SIZE_MAX)
        atomic_fetch_add(&kv->failures, 1);
    rocksdb_free(text);
    return e;
}

/* Frees `text`. */
static enum err fail_open(struct str dir, char *text, char why[KV_WHY_MAX])
{
    struct str s = str_z(text);
    enum err e = err_from_text(text);

    if (str_find(s, STR("/LOCK: Resource temporarily unavailable")) != SIZE_MAX ||
        str_find(s, STR("lock hold by current process")) != SIZE_MAX) {
        e = ERR_CONFLICT;
        if (why)
            snprintf(why, KV_WHY_MAX, "%.*s is in use by another process", STR_ARG(dir));
    } else if (why) {
        snprintf(why, KV_WHY_MAX, "can't open the index in %.*s: %s", STR_ARG(dir), text);
    }
    rocksdb_free(text);
    return e;
}

/* ---- opening ---- */

static char *path_of(struct str dir)
{
    char *z = mem_alloc(dir.n + 1);

    memcpy(z, dir.p, dir.n);
    z[dir.n] = 0;
    return z;
}

static rocksdb_options_t *make_options(const struct kv_options *o, rocksdb_cache_t *cache)
{
    rocksdb_options_t *r = rocksdb_options_create();
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    size_t buffer = o->write_buffer_bytes ? o->write_buffer_bytes : WRITE_BUFFER_DEFAULT;

    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_options_set_block_based_table_factory(r, t); /* copies */
    rocksdb_block_based_options_destroy(t);

    rocksdb_options_set_create_if_missing(r, o->create);
    rocksdb_options_set_write_buffer_size(r, buffer);
    /* tables and levels in proportion: on a small disk compactions must not need much room */
    rocksdb_options_set_target_file_size_base(r, 2 * buffer);
    rocksdb_options_set_max_bytes_for_level_base(r, 8 * buffer);
    rocksdb_options_set_max_compaction_bytes(r, 32 * buffer);
    rocksdb_options_set_max_write_buffer_number(r, WRITE_BUFFERS);
    rocksdb_options_set_max_background_jobs(r, 2);
    rocksdb_options_set_max_open_files(r, OPEN_FILES);
    rocksdb_options_set_max_total_wal_size(r, UINT64_C(256) << 20);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(r, 1);
    rocksdb_options_set_bytes_per_sync(r, 1 << 20);
    rocksdb_options_set_compression(r, rocksdb_lz4_compression);
    /* a log that ends torn is what a power cut leaves; everything acknowledged before it was synced */
    rocksdb_options_set_wal_recovery_mode(r, rocksdb_point_in_time_recovery);
    rocksdb_options_set_skip_stats_update_on_db_open(r, 1);
    rocksdb_options_set_stats_dump_period_sec(r, 0);
    rocksdb_options_set_stats_persist_period_sec(r, 0);
    rocksdb_options_set_info_log_level(r, INFO_LOG_LEVEL_ERROR);
    rocksdb_options_set_max_log_file_size(r, INFO_LOG_MAX);
    rocksdb_options_set_keep_log_file_num(r, 2);
    return r;
}

static void make_modes(struct kv *kv)
{
    kv->read = rocksdb_readoptions_create();
    kv->read_cached = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(kv->read_cached, READ_TIER_CACHE);
    kv->write = rocksdb_writeoptions_create();
    kv->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(kv->write_sync, 1);
}

enum err kv_open(struct str dir, const struct kv_options *o, struct kv **out, char why[KV_WHY_MAX])
{
    struct kv *kv = NEW(struct kv);
    char *path = path_of(dir), *text = NULL;
    enum err e = ERR_OK;

    kv->cache = rocksdb_cache_create_lru(o->cache_bytes ? o->cache_bytes : CACHE_DEFAULT);
    kv->options = make_options(o, kv->cache);
    make_modes(kv);
    kv->db = rocksdb_open(kv->options, path, &text);
    if (text)
        e = fail_open(dir, text, why);
    free(path);
    if (e != ERR_OK)
        kv_close(kv);
    else
        *out = kv;
    return e;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    if (kv->db) {
        if (kv_flush(kv) != ERR_OK)
            log_warn(STR_NONE, "index not flushed at close", "left=log");
        rocksdb_close(kv->db);
    }
    rocksdb_writeoptions_destroy(kv->write);
    rocksdb_writeoptions_destroy(kv->write_sync);
    rocksdb_readoptions_destroy(kv->read);
    rocksdb_readoptions_destroy(kv->read_cached);
    rocksdb_options_destroy(kv->options);
    rocksdb_cache_destroy(kv->cache);
    free(kv);
}

/* ---- reading ---- */

enum err kv_get(struct kv *kv, struct str key, enum kv_tier tier, struct kv_value *out)
{
    char *text = NULL;
    rocksdb_pinnableslice_t *pin =
        rocksdb_get_pinned(kv->db, tier == KV_CACHED ? kv->read_cached : kv->read, key.p, key.n, &text);

    if (text)
        return fail(kv, "get", text);
    if (!pin)
        return ERR_NOT_FOUND;
    out->pin = pin;
    out->bytes.p = rocksdb_pinnableslice_value(pin, &out->bytes.n);
    return ERR_OK;
}

void kv_value_release(struct kv_value *v)
{
    if (v->pin)
        rocksdb_pinnableslice_destroy(v->pin);
    *v = (struct kv_value){STR_NONE, NULL};
}

struct kv_snapshot *kv_snapshot_open(struct kv *kv)
{
    return (struct kv_snapshot *)(void *)rocksdb_create_snapshot(kv->db);
}

void kv_snapshot_close(struct kv *kv, struct kv_snapshot *s)
{
    rocksdb_release_snapshot(kv->db, (const rocksdb_snapshot_t *)(void *)s);
}

struct kv_iter {
    struct kv *kv;
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *mode;
    char *end; /* RocksDB borrows the bound */
};

struct kv_iter *kv_iter_open(struct kv *kv, const struct kv_iter_options *o)
{
    struct kv_iter *it = NEW(struct kv_iter);

    it->kv = kv;
    it->mode = rocksdb_readoptions_create();
    if (o->end.p) {
        it->end = mem_alloc(o->end.n + 1);
        memcpy(it->end, o->end.p, o->end.n);
        rocksdb_readoptions_set_iterate_upper_bound(it->mode, it->end, o->end.n);
    }
    if (o->snapshot)
        rocksdb_readoptions_set_snapshot(it->mode, (const rocksdb_snapshot_t *)(const void *)o->snapshot);
    if (o->once)
        rocksdb_readoptions_set_fill_cache(it->mode, 0);
    it->it = rocksdb_create_iterator(kv->db, it->mode);
    return it;
}

void kv_iter_seek(struct kv_iter *it, struct str key)
{
    rocksdb_iter_seek(it->it, key.p, key.n);
}

void kv_iter_seek_back(struct kv_iter *it, struct str key)
{
    rocksdb_iter_seek_for_prev(it->it, key.p, key.n);
}

void kv_iter_next(struct kv_iter *it)
{
    rocksdb_iter_next(it->it);
}

bool kv_iter_valid(const struct kv_iter *it)
{
    return rocksdb_iter_valid(it->it);
}

struct str kv_iter_key(const struct kv_iter *it)
{
    struct str s;

    s.p = rocksdb_iter_key(it->it, &s.n);
    return s;
}

struct str kv_iter_value(const struct kv_iter *it)
{
    struct str s;

    s.p = rocksdb_iter_value(it->it, &s.n);
    return s;
}

enum err kv_iter_err(struct kv_iter *it)
{
    char *text = NULL;

    rocksdb_iter_get_error(it->it, &text);
    return text ? fail(it->kv, "scan", text) : ERR_OK;
}

void kv_iter_close(struct kv_iter *it)
{
    if (!it)
        return;
    rocksdb_iter_destroy(it->it);
    rocksdb_readoptions_destroy(it->mode);
    free(it->end);
    free(it);
}

/* ---- writing ---- */

struct kv_batch {
    rocksdb_writebatch_t *batch;
};

struct kv_batch *kv_batch_new(void)
{
    struct kv_batch *b = NEW(struct kv_batch);

    b->batch = rocksdb_writebatch_create();
    return b;
}

void kv_batch_free(struct kv_batch *b)
{
    if (!b)
        return;
    rocksdb_writebatch_destroy(b->batch);
    free(b);
}

void kv_batch_put(struct kv_batch *b, struct str key, struct str value)
{
    rocksdb_writebatch_put(b->batch, key.p, key.n, value.p ? value.p : "", value.n);
}

void kv_batch_delete(struct kv_batch *b, struct str key)
{
    rocksdb_writebatch_delete(b->batch, key.p, key.n);
}

void kv_batch_delete_range(struct kv_batch *b, struct str begin, struct str end)
{
    rocksdb_writebatch_delete_range(b->batch, begin.p, begin.n, end.p, end.n);
}

unsigned kv_batch_count(const struct kv_batch *b)
{
    return (unsigned)rocksdb_writebatch_count(b->batch);
}

void kv_batch_clear(struct kv_batch *b)
{
    rocksdb_writebatch_clear(b->batch);
}

enum err kv_write(struct kv *kv, struct kv_batch *b, bool sync)
{
    char *text = NULL;

    rocksdb_write(kv->db, sync ? kv->write_sync : kv->write, b->batch, &text);
    return text ? fail(kv, "write", text) : ERR_OK;
}

/* ---- upkeep ---- */

enum err kv_flush(struct kv *kv)
{
    char *text = NULL;
    rocksdb_flushoptions_t *f = rocksdb_flushoptions_create();

    rocksdb_flush(kv->db, f, &text);
    rocksdb_flushoptions_destroy(f);
    return text ? fail(kv, "flush", text) : ERR_OK;
}

enum err kv_checkpoint(struct kv *kv, struct str dir)
{
    char *text = NULL, *path = NULL;
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(kv->db, &text);

    if (text)
        return fail(kv, "checkpoint", text);
    path = path_of(dir);
    rocksdb_checkpoint_create(c, path, 0, &text);
    rocksdb_checkpoint_object_destroy(c);
    free(path);
    return text ? fail(kv, "checkpoint", text) : ERR_OK;
}

enum err kv_repair(struct str dir, char why[KV_WHY_MAX])
{
    const struct kv_options o = {.create = true};
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(CACHE_DEFAULT);
    rocksdb_options_t *options = make_options(&o, cache);
    char *text = NULL, *path = path_of(dir);

    rocksdb_repair_db(options, path, &text);
    free(path);
    rocksdb_options_destroy(options);
    rocksdb_cache_destroy(cache);
    return text ? fail_open(dir, text, why) : ERR_OK;
}

static uint64_t property(struct kv *kv, const char *name)
{
    uint64_t v = 0;

    if (rocksdb_property_int(kv->db, name, &v) != 0)
        return 0;
    return v;
}

uint64_t kv_count(struct kv *kv)
{
    return property(kv, "rocksdb.estimate-num-keys");
}

uint64_t kv_memory(struct kv *kv)
{
    return property(kv, "rocksdb.cur-size-all-mem-tables") + rocksdb_cache_get_usage(kv->cache);
}

uint64_t kv_unflushed(struct kv *kv)
{
    return property(kv, "rocksdb.cur-size-all-mem-tables");
}

uint64_t kv_disk_bytes(struct kv *kv)
{
    return property(kv, "rocksdb.live-sst-files-size");
}

uint64_t kv_failures(struct kv *kv)
{
    return atomic_load(&kv->failures);
}
