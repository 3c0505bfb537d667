#include "target/scan.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

void scan_open(struct scan *s, const struct disk_set *set, enum index_type type, const struct bucket_id *bucket,
               struct str prefix)
{
    struct index_key end;

    *s = (struct scan){.set = set, .type = type, .bucket_uid = bucket->uid, .copies = disk_copies(bucket->redundancy)};
    s->ways = mem_new(set->count * sizeof(*s->ways));
    index_prefix(&end, type, bucket->uid, prefix);
    index_successor(&end);
    for (size_t i = 0; i < set->count; i++) {
        const struct kv_iter_options o = {.end = index_key_str(&end)};
        const struct disk *d = &set->disks[i];
        if (type == INDEX_OBJECT ? !disk_knows(d, s->copies) : !d->mountpath)
            continue;
        s->ways[s->count].it = kv_iter_open(d->mountpath->kv, &o);
        s->ways[s->count++].at = i;
    }
}

void scan_close(struct scan *s)
{
    for (size_t i = 0; i < s->count; i++)
        kv_iter_close(s->ways[i].it);
    free(s->ways);
    *s = (struct scan){0};
}

/* What the way's iterator stands on. */
static void arrive(struct scan *s, struct scan_way *w)
{
    uint64_t uid;

    w->valid = kv_iter_valid(w->it);
    if (!w->valid) {
        if (s->err == ERR_OK)
            s->err = kv_iter_err(w->it);
        return;
    }
    w->raw = kv_iter_key(w->it);
    if (!index_parse(w->raw, w->unescaped, &uid, &w->key, &w->rest)) {
        log_error(STR_NONE, "index key damaged", "bytes=%zu", w->raw.n);
        s->err = ERR_CORRUPT;
        w->valid = false;
    }
}

/* Of several with the current key, the one that reads ask first. */
static void prefer(struct scan *s)
{
    uint8_t rank[REDUNDANCY_COPIES_MAX];
    size_t n = disk_rank(s->set, s->bucket_uid, s->at->key, s->copies, rank);

    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < s->count; i++)
            if (s->ways[i].valid && s->ways[i].at == rank[k] && str_eq(s->ways[i].raw, s->at->raw)) {
                s->at = &s->ways[i];
                return;
            }
}

static void choose(struct scan *s)
{
    s->at = NULL;
    s->shared = false;
    if (s->err != ERR_OK)
        return;
    for (size_t i = 0; i < s->count; i++) {
        struct scan_way *w = &s->ways[i];
        int cmp = !w->valid ? 1 : s->at ? str_cmp(w->raw, s->at->raw) : -1;
        if (cmp < 0) {
            s->at = w;
            s->shared = false;
        } else if (cmp == 0) {
            s->shared = true;
        }
    }
    if (s->shared)
        prefer(s);
}

void scan_seek(struct scan *s, const struct index_key *to)
{
    for (size_t i = 0; i < s->count; i++) {
        kv_iter_seek(s->ways[i].it, index_key_str(to));
        arrive(s, &s->ways[i]);
    }
    choose(s);
}

void scan_next(struct scan *s)
{
    struct scan_way *at = s->at;

    for (size_t i = 0; i < s->count && s->shared; i++) {
        struct scan_way *w = &s->ways[i];
        if (w == at || !w->valid || !str_eq(w->raw, at->raw))
            continue;
        kv_iter_next(w->it);
        arrive(s, w);
    }
    kv_iter_next(at->it);
    arrive(s, at);
    choose(s);
}
