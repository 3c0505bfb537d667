#include "target/fsck_state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

/* ---- the report ---- */

static void line(struct fsck *f, const char *kind, const char *fmt, va_list ap)
{
    printf("%s  " STR_FMT "  ", kind, STR_ARG(f->dir));
    vprintf(fmt, ap);
    putchar('\n');
}

void fsck_damage(struct fsck *f, const char *fmt, ...)
{
    va_list ap;

    f->damaged++;
    va_start(ap, fmt);
    line(f, "damage", fmt, ap);
    va_end(ap);
}

void fsck_note(struct fsck *f, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    line(f, "note  ", fmt, ap);
    va_end(ap);
}

const char *fsck_name(struct fsck *f, struct str index_key)
{
    char unescaped[STORE_KEY_MAX];
    uint64_t uid;
    struct str key;

    if (!index_parse(index_key, unescaped, &uid, &key, NULL))
        key = index_key;
    snprintf(f->name, sizeof(f->name), "%s", log_quote(key));
    return f->name;
}

/* ---- files and keys ---- */

static int cmp_files(const void *a, const void *b)
{
    return segment_id_cmp(&((const struct fsck_file *)a)->id, &((const struct fsck_file *)b)->id);
}

static enum err note_file(void *arg, const struct segment_seen *seen)
{
    struct fsck *f = arg;

    if (f->file_count == f->file_cap) {
        f->file_cap = f->file_cap ? f->file_cap * 2 : 1024;
        f->files = mem_realloc(f->files, f->file_cap * sizeof(*f->files));
    }
    f->files[f->file_count++] = (struct fsck_file){.id = seen->id, .file_size = seen->file_size};
    return ERR_OK;
}

enum err fsck_list_files(struct fsck *f)
{
    enum err e;

    f->file_count = f->ref_count = 0;
    f->objects = f->parts = f->bytes = f->damaged = f->orphans = 0;
    f->inline_records = f->inline_shares = f->inline_bodies = 0;
    f->manifest_records = f->manifest_shares = f->manifests = 0;
    if ((e = segment_each(f->segments, note_file, f)) == ERR_OK && f->file_count)
        qsort(f->files, f->file_count, sizeof(*f->files), cmp_files);
    return e;
}

struct fsck_file *fsck_find(struct fsck *f, const struct segment_id *id)
{
    const struct fsck_file like = {.id = *id};

    return f->file_count ? bsearch(&like, f->files, f->file_count, sizeof(*f->files), cmp_files) : NULL;
}

enum err fsck_each(struct fsck *f, enum index_type type,
                   enum err (*fn)(struct fsck *f, struct str key, struct str value))
{
    const char begin = (char)type, end = (char)(type + 1);
    struct kv_iter *it = kv_iter_open(f->kv, &(struct kv_iter_options){.end = str_n(&end, 1), .once = true});
    enum err e = ERR_OK;

    for (kv_iter_seek(it, str_n(&begin, 1)); kv_iter_valid(it) && e == ERR_OK; kv_iter_next(it))
        e = fn(f, kv_iter_key(it), kv_iter_value(it));
    if (e == ERR_OK && (e = kv_iter_err(it)) != ERR_OK)
        fsck_damage(f, "the index can't be read to its end: %s", err_name(e));
    kv_iter_close(it);
    return e;
}

/* ---- a mountpath ---- */

static enum err open_index(struct fsck *f, bool *salvaged)
{
    char path[4096], why[KV_WHY_MAX] = "";
    struct kv_options o = {.cache_bytes = 32 << 20};
    enum err e;

    if (snprintf(path, sizeof(path), STR_FMT "/index", STR_ARG(f->dir)) >= (int)sizeof(path))
        return ERR_INVALID_ARGUMENT;
    e = kv_open(str_z(path), &o, &f->kv, why);
    if (e == ERR_OK || e == ERR_CONFLICT || !f->options->rebuild) {
        if (e != ERR_OK)
            fsck_damage(f, "%s", why);
        return e;
    }
    fsck_note(f, "salvaging the index: %s", why);
    *salvaged = true;
    if (access(path, F_OK) == 0 && kv_repair(str_z(path), why) != ERR_OK)
        fsck_note(f, "nothing could be salvaged: %s", why);
    o.create = true;
    e = kv_open(str_z(path), &o, &f->kv, why);
    if (e != ERR_OK)
        fsck_damage(f, "%s (move index/ away, then run fsck --rebuild again)", why);
    return e;
}

static void summary(const struct fsck *f)
{
    printf("result  " STR_FMT "  objects=%llu bytes=%llu parts=%llu files=%zu orphans=%llu damage=%llu\n",
           STR_ARG(f->dir), (unsigned long long)f->objects, (unsigned long long)f->bytes, (unsigned long long)f->parts,
           f->file_count, (unsigned long long)f->orphans, (unsigned long long)f->damaged);
}

static enum err check_and_rebuild(struct fsck *f, bool salvaged)
{
    uint64_t restored = 0;
    enum err e;

    if ((e = fsck_list_files(f)) != ERR_OK || (e = fsck_check(f)) != ERR_OK)
        return e;
    if (!f->options->rebuild || (!salvaged && f->damaged == 0))
        return ERR_OK;
    if ((e = fsck_rebuild(f, &restored)) != ERR_OK)
        return e;
    fsck_note(f, "%llu objects restored from what their content files say", (unsigned long long)restored);
    printf("again   " STR_FMT "\n", STR_ARG(f->dir));
    return (e = fsck_list_files(f)) == ERR_OK ? fsck_check(f) : e;
}

static enum err run_one(const struct fsck_options *o, struct str dir)
{
    struct fsck f = {.options = o, .dir = dir};
    struct mountpath_format format;
    char why[MOUNTPATH_WHY_MAX] = "";
    int lock_fd = -1;
    bool salvaged = false;
    enum err e = mountpath_claim(dir, false, &format, &lock_fd, why);

    if (e != ERR_OK) {
        fsck_damage(&f, "%s", why);
        return e;
    }
    if ((e = open_index(&f, &salvaged)) == ERR_OK && (e = segment_dir_open(dir, true, &f.segments)) == ERR_OK)
        e = check_and_rebuild(&f, salvaged);
    summary(&f);
    if (e == ERR_OK && f.damaged)
        e = ERR_CORRUPT;
    segment_dir_close(f.segments);
    kv_close(f.kv);
    close(lock_fd);
    free(f.files);
    free(f.refs);
    return e;
}

enum err fsck_run(const struct fsck_options *o)
{
    enum err e = ERR_OK;

    hash_setup();
    if (o->rebuild)
        fsck_restore_formats(o);
    for (size_t i = 0; i < o->mountpath_count; i++) {
        enum err one = run_one(o, o->mountpaths[i]);
        if (e == ERR_OK || one == ERR_CORRUPT)
            e = one != ERR_OK ? one : e;
    }
    fflush(stdout);
    return e;
}
