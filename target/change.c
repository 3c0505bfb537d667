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

/* Whether all counts can be read: after this nothing fails. */
static enum err check_counts(struct txn *t, const struct manifest *m)
{
    enum err e = ERR_OK;
    uint64_t refs;

    for (uint32_t i = 0; i < m->count && e == ERR_OK; i++) {
        struct manifest_part p;
        manifest_part(m, i, &p);
        if (!segment_id_is_zero(&p.segment))
            e = refs_get(t, id_key(t, INDEX_REFS, &p.segment), &refs);
    }
    return e;
}

static void release_segment(struct txn *t, const struct segment_id *id)
{
    struct str key = id_key(t, INDEX_REFS, id);
    uint64_t refs;

    if (refs_get(t, key, &refs) != ERR_OK)
        return; /* it was there a moment ago; garbage collection goes by what refers to it */
    if (refs > 1)
        refs_put(t, key, refs - 1);
    else
        txn_unlink(t, id);
}

/* One piece of a segment after the other: several may be of the same. */
static enum err release_manifest(struct txn *t, const struct segment_id *body)
{
    struct str key = id_key(t, INDEX_MANIFEST, body), raw;
    struct manifest m;
    enum err e;

    if ((e = txn_get(t, key, &raw)) != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    if ((e = manifest_decode(raw, &m)) != ERR_OK || (e = check_counts(t, &m)) != ERR_OK)
        return e;
    for (uint32_t i = 0; i < m.count; i++) {
        struct manifest_part p;
        manifest_part(&m, i, &p);
        if (!segment_id_is_zero(&p.segment))
            release_segment(t, &p.segment);
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

enum err txn_replace(struct txn *t, const struct bucket_id *bucket, const struct cond *cond, struct hot *h,
                     unsigned how)
{
    bool same_version = how & TXN_SAME_VERSION && (bucket->versions || version_uid_is_shadow(bucket->uid));
    bool keeps = bucket->versions && !same_version, gone;
    struct str refs_key = STR_NONE, raw = STR_NONE;
    struct record old;
    uint64_t refs = 0;
    enum err e, found;

    if ((e = txn_check_bucket(t, bucket->uid)) != ERR_OK)
        return e;
    found = txn_get(t, h->key, &raw);
    if (found == ERR_OK)
        found = record_decode(raw, &old);
    if (found != ERR_OK && found != ERR_NOT_FOUND)
        return found;
    if ((e = cond_check_write(cond, found == ERR_OK ? &old.info : NULL)) != ERR_OK)
        return e;
    if (how & TXN_SHARES_BODY && (e = share_count(t, &h->rec, &refs_key, &refs)) != ERR_OK)
        return e;
    /* with versions only a "null" one is replaced, by another */
    gone = found == ERR_OK && (!keeps || (bucket->versions == VERSIONS_SUSPENDED && !old.info.versioned));
    if (gone && (e = release_old(t, &old, &h->rec)) != ERR_OK)
        return e;
    if (keeps && !gone &&
        (e = txn_keep_version(t, bucket, h, found == ERR_OK ? &(struct txn_current){&old, raw} : NULL)) != ERR_OK)
        return e;
    if (found == ERR_OK && !same_version && (keeps || !(how & TXN_KEEPS_MTIME)))
        follow(h, &old);
    if (!(how & TXN_SHARES_BODY))
        bring_body(t, h);
    else if (refs && !(gone && has_same_body(&old, &h->rec)))
        refs_put(t, refs_key, refs + 1);
    txn_put(t, h->key, h->raw);
    txn_cache(t, h->key, hot_ref(h));
    return ERR_OK;
}

/* ---- splices ---- */

enum err txn_check_same(struct txn *t, struct str index_key, const struct cond *cond, struct str from)
{
    struct record now;
    struct str raw;
    enum err e = txn_get(t, index_key, &raw), found = e;

    if (e == ERR_OK)
        e = record_decode(raw, &now);
    else if (e == ERR_NOT_FOUND)
        e = ERR_OK;
    if (e == ERR_OK)
        e = cond_check_write(cond, found == ERR_OK ? &now.info : NULL);
    if (e != ERR_OK)
        return e;
    if (found == ERR_NOT_FOUND)
        return ERR_NO_SUCH_KEY;
    return str_eq(raw, from) ? ERR_OK : ERR_CONFLICT;
}

/* Whether other records have the old manifest, too. */
static enum err old_lasts(struct txn *t, const struct record *old, bool *lasts)
{
    uint64_t refs = 1;
    enum err e = ERR_OK;

    if (old->kind == BODY_MANIFEST)
        e = refs_get(t, id_key(t, INDEX_REFS, &old->body), &refs);
    *lasts = refs > 1;
    return e;
}

/* Lets go of what the old record has but for its segments, which are counted one by one. Fails only before any change. */
static enum err release_spliced(struct txn *t, const struct record *old, bool lasts)
{
    struct record rest = *old;

    if (old->kind == BODY_SEGMENT || (old->kind == BODY_MANIFEST && !lasts))
        rest.kind = BODY_EMPTY;
    enum err e = txn_release_body(t, &rest); /* of a manifest that lasts: one reference less */
    if (e == ERR_OK && old->kind == BODY_MANIFEST && !lasts)
        txn_delete(t, id_key(t, INDEX_MANIFEST, &old->body));
    return e;
}

/* Nothing that stays as it is needs to be looked at: of an append, most. */
static bool is_counted(const struct txn_share *share, bool lasts)
{
    return share->made ? share->now > 1 : lasts || share->now != share->old;
}

enum err txn_splice(struct txn *t, uint64_t bucket_uid, struct hot *h, const struct txn_splice *s)
{
    uint64_t *refs = arena_alloc(txn_arena(t), (s->share_count + 1) * sizeof(*refs));
    struct record old;
    bool lasts;
    enum err e;

    if ((e = txn_check_bucket(t, bucket_uid)) != ERR_OK ||
        (e = txn_check_same(t, h->key, s->cond, s->from)) != ERR_OK || (e = txn_object(t, h->key, &old)) != ERR_OK ||
        (e = old_lasts(t, &old, &lasts)) != ERR_OK)
        return e;
    for (size_t i = 0; i < s->share_count; i++)
        if (is_counted(&s->shares[i], lasts) &&
            (e = refs_get(t, id_key(t, INDEX_REFS, &s->shares[i].id), &refs[i])) != ERR_OK)
            return e;
    if ((e = release_spliced(t, &old, lasts)) != ERR_OK)
        return e;
    for (size_t i = 0; i < s->share_count; i++) {
        const struct txn_share *share = &s->shares[i];
        if (!is_counted(share, lasts))
            continue;
        uint64_t gone = lasts || refs[i] < share->old ? 0 : share->old;
        uint64_t now = share->made ? share->now : refs[i] + share->now - gone;
        if (now == 0)
            txn_unlink(t, &share->id);
        if (now != refs[i])
            refs_put(t, id_key(t, INDEX_REFS, &share->id), now);
    }
    if (!s->keeps_mtime)
        follow(h, &old);
    bring_body(t, h);
    txn_put(t, h->key, h->raw);
    txn_cache(t, h->key, hot_ref(h));
    return ERR_OK;
}
