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

enum err txn_share_body(struct txn *t, const struct record *r)
{
    uint64_t refs;
    enum err e;

    if (r->kind == BODY_EMPTY)
        return ERR_OK;
    struct str key = id_key(t, INDEX_REFS, &r->body);
    if ((e = refs_get(t, key, &refs)) == ERR_OK)
        refs_put(t, key, refs + 1);
    return e;
}

/* ---- records ---- */

enum err txn_object(struct txn *t, struct str index_key, struct record *out)
{
    struct str raw;
    enum err e = txn_get(t, index_key, &raw);

    return e == ERR_OK ? record_decode(raw, out) : e;
}

enum err txn_replace(struct txn *t, uint64_t bucket_uid, const struct cond *cond, struct hot *h, bool store_body)
{
    struct record old;
    enum err e, found;

    if ((e = txn_check_bucket(t, bucket_uid)) != ERR_OK)
        return e;
    found = txn_object(t, h->key, &old);
    if (found != ERR_OK && found != ERR_NOT_FOUND)
        return found;
    if ((e = cond_check_write(cond, found == ERR_OK ? &old.info : NULL)) != ERR_OK)
        return e;
    if (found == ERR_OK && (e = txn_release_body(t, &old)) != ERR_OK)
        return e;
    if (store_body && h->rec.kind == BODY_INLINE)
        txn_put(t, id_key(t, INDEX_BODY, &h->rec.body), h->body);
    if (store_body && h->rec.kind == BODY_MANIFEST)
        txn_put(t, id_key(t, INDEX_MANIFEST, &h->rec.body), h->body);
    txn_put(t, h->key, h->raw);
    txn_cache(t, h->key, hot_ref(h));
    return ERR_OK;
}
