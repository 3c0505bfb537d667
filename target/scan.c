#include "target/scan.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

void scan_open(struct scan *s, struct local *l, enum index_type type, uint64_t bucket_uid, struct str prefix)
{
    struct index_key end;

    *s = (struct scan){.type = type, .bucket_uid = bucket_uid, .count = l->count};
    s->ways = mem_alloc(l->count * sizeof(*s->ways));
    index_prefix(&end, type, bucket_uid, prefix);
    index_successor(&end);
    for (size_t i = 0; i < l->count; i++) {
        const struct kv_iter_options o = {.end = index_key_str(&end)};
        s->ways[i].it = kv_iter_open(l->mountpaths[i]->kv, &o);
        s->ways[i].valid = false;
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

static void choose(struct scan *s)
{
    s->at = NULL;
    if (s->err != ERR_OK)
        return;
    for (size_t i = 0; i < s->count; i++) {
        struct scan_way *w = &s->ways[i];
        if (w->valid && (!s->at || str_cmp(w->raw, s->at->raw) < 0))
            s->at = w;
    }
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
    kv_iter_next(s->at->it);
    arrive(s, s->at);
    choose(s);
}
