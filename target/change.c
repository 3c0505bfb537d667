/* What commits do to records: the second half of engine.h. */
#include "target/engine.h"

#include <assert.h>

#include "base/log.h"

/* ---- small values in the batch's memory ---- */

static struct str keep(struct txn *t, const struct index_key *k)
{
    return arena_str(txn_arena(t), index_key_str(k));
}

static struct str id_key(struct txn *t, enum index_type type, const struct segment_id *id)
{
    struct index_key k;

    index_id(&k, type, id);
    return keep(t, &k);
}

enum { REFS_LEN = 8 };

static enum err refs_get(struct txn *t, struct str key, uint64_t *refs)
{
    struct str raw;
    enum err e = txn_get(t, key, &raw);

    *refs = 1; /* absent: one, the usual case */
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    if (raw.n != REFS_LEN) {
        log_error(STR_NONE, "index record damaged", "kind=refs");
        return ERR_CORRUPT;
    }
    *refs = 0;
    for (size_t i = 0; i < REFS_LEN; i++)
        *refs = *refs << 8 | (uint8_t)raw.p[i];
    return ERR_OK;
}

static void refs_put(struct txn *t, struct str key, uint64_t refs)
{
    char *p = arena_alloc(txn_arena(t), REFS_LEN);

    for (size_t i = 0; i < REFS_LEN; i++)
        p[i] = (char)(uint8_t)(refs >> (8 * (REFS_LEN - 1 - i)));
    if (refs > 1)
        txn_put(t, key, str_n(p, REFS_LEN));
    else
        txn_delete(t, key);
}

/* ---- bodies ---- */

static enum err release_manifest(struct txn *t, const struct segment_id *body)
{
    struct str key = id_key(t, INDEX_MANIFEST, body), raw;
    struct manifest m;
    enum err e;

    if ((e = txn_get(t, key, &raw)) != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    if ((e = manifest_decode(raw, &m)) != ERR_OK)
        return e;
    for (uint32_t i = 0; i < m.count; i++) {
        struct manifest_part p;
        manifest_part(&m, i, &p);
        if (!segment_id_is_zero(&p.segment))
            txn_unlink(t, &p.segment);
    }
    txn_delete(t, key);
    return ERR_OK;
}

enum err txn_release_body(struct txn *t, const struct record *r)
{
    enum err e = ERR_OK;
    uint64_t refs = 0;

    if (r->kind != BODY_EMPTY) {
        struct str key = id_key(t, INDEX_REFS, &r->body);
        if ((e = refs_get(t, key, &refs)) != ERR_OK)
            return e;
        if (refs > 1)
            refs_put(t, key, refs - 1);
        else if (r->kind == BODY_MANIFEST)
            e = release_manifest(t, &r->body);
        else if (r->kind == BODY_INLINE)
            txn_delete(t, id_key(t, INDEX_BODY, &r->body));
        else
            txn_unlink(t, &r->body);
    }
    if (e == ERR_OK && r->has_desc)
        txn_unlink(t, &r->desc);
    return e;
}

/* Reads the count before anything is changed; refs_put() then takes it up. */
static enum err share_count(struct txn *t, const struct record *r, struct str *key, uint64_t *refs)
{
    *refs = 0;
    if (r->kind == BODY_EMPTY)
        return ERR_OK;
    *key = id_key(t, INDEX_REFS, &r->body);
    return refs_get(t, *key, refs);
}

/* ---- records ---- */

enum err txn_object(struct txn *t, struct str index_key, struct record *out)
{
    struct str raw;
    enum err e = txn_get(t, index_key, &raw);

    return e == ERR_OK ? record_decode(raw, out) : e;
}

static bool has_same_body(const struct record *a, const struct record *b)
{
    return a->kind == b->kind && a->kind != BODY_EMPTY && segment_id_cmp(&a->body, &b->body) == 0;
}

/* A copy onto itself keeps the body and its count; only the old description goes. */
static enum err release_old(struct txn *t, const struct record *old, const struct record *now)
{
    struct record desc_only = {.kind = BODY_EMPTY, .has_desc = old->has_desc, .desc = old->desc};

    return txn_release_body(t, has_same_body(old, now) ? &desc_only : old);
}

static void bring_body(struct txn *t, struct hot *h)
{
    if (h->rec.kind == BODY_INLINE)
        txn_put(t, id_key(t, INDEX_BODY, &h->rec.body), h->body);
    else if (h->rec.kind == BODY_MANIFEST)
        txn_put(t, id_key(t, INDEX_MANIFEST, &h->rec.body), h->body);
}

/* Two writes of a key never have the same time, or the later one the lower: others tell by it which they know. What the
 * description on the disk says stays behind by that much. */
static void follow(struct hot *h, const struct record *old)
{
    int64_t before = old->info.mtime_ns;

    if (before >= h->rec.info.mtime_ns && before < INT64_MAX && !hot_set_mtime(h, before + 1))
        log_warn(STR_NONE, "time of a write is not that of this century", "ns=%lld", (long long)before);
}

enum err txn_replace(struct txn *t, uint64_t bucket_uid, const struct cond *cond, struct hot *h, unsigned how)
{
    struct str refs_key = STR_NONE;
    struct record old;
    uint64_t refs = 0;
    enum err e, found;

    if ((e = txn_check_bucket(t, bucket_uid)) != ERR_OK)
        return e;
    found = txn_object(t, h->key, &old);
    if (found != ERR_OK && found != ERR_NOT_FOUND)
        return found;
    if ((e = cond_check_write(cond, found == ERR_OK ? &old.info : NULL)) != ERR_OK)
        return e;
    if (how & TXN_SHARES_BODY && (e = share_count(t, &h->rec, &refs_key, &refs)) != ERR_OK)
        return e;
    if (found == ERR_OK && (e = release_old(t, &old, &h->rec)) != ERR_OK)
        return e;
    if (found == ERR_OK && !(how & TXN_KEEPS_MTIME))
        follow(h, &old);
    if (!(how & TXN_SHARES_BODY))
        bring_body(t, h);
    else if (refs && !(found == ERR_OK && has_same_body(&old, &h->rec)))
        refs_put(t, refs_key, refs + 1);
    txn_put(t, h->key, h->raw);
    txn_cache(t, h->key, hot_ref(h));
    return ERR_OK;
}
