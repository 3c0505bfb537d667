#include "target/fsck_state.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

struct rebuild {
    struct fsck *fsck;
    struct kv_batch *batch;
    uint64_t restored;
    struct segment_id *bodies; /* of all objects, then the segments of all manifests, for the recount */
    size_t body_count, body_cap;
    size_t record_bodies; /* those of records: the first, sorted */
};

static enum err put(struct rebuild *b, const struct index_key *key, struct str value)
{
    kv_batch_clear(b->batch);
    kv_batch_put(b->batch, index_key_str(key), value);
    return kv_write(b->fsck->kv, b->batch, false);
}

/* ---- objects from descriptions ---- */

/* Whether the index has the key with something at least as new. */
static enum err is_known(struct rebuild *b, const struct index_key *key, int64_t mtime_ns, bool *out)
{
    struct kv_value v = {0};
    struct record there;
    enum err e = kv_get(b->fsck->kv, index_key_str(key), KV_DISK, &v);

    *out = e == ERR_OK && record_decode(v.bytes, &there) == ERR_OK && there.info.mtime_ns >= mtime_ns;
    kv_value_release(&v);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static bool has_content(struct rebuild *b, const struct record *r, struct str manifest)
{
    struct manifest m;

    if (r->kind == BODY_EMPTY)
        return r->info.layout.n || r->info.size == 0;
    if (r->kind == BODY_SEGMENT)
        return fsck_find(b->fsck, &r->body) != NULL;
    if (r->kind != BODY_MANIFEST || manifest_decode(manifest, &m) != ERR_OK ||
        manifest_start(&m, m.count) != r->info.size)
        return false;
    for (uint32_t i = 0; i < m.count; i++) {
        struct manifest_part p;
        manifest_part(&m, i, &p);
        if (!segment_id_is_zero(&p.segment) && !fsck_find(b->fsck, &p.segment))
            return false;
    }
    return true;
}

/* Where a version goes: an older one is described as what it was when it was current. Of what is there the newer stays or becomes current.
 * *known: it is there. */
static enum err place(struct rebuild *b, const struct description *d, const struct record *r, struct index_key *key,
                      bool *known)
{
    struct kv_value v = {0};
    struct version_key shadow;
    struct index_key older;
    struct record there = {.kind = BODY_EMPTY};
    enum err e;

    index_object(key, d->bucket.uid, d->key);
    *known = false;
    if (version_uid_is_shadow(d->bucket.uid) || d->key.n > KEY_MAX)
        return is_known(b, key, r->info.mtime_ns, known);
    version_key(&shadow, d->key, version_of(&r->info));
    index_object(&older, d->bucket.uid | VERSIONS_SHADOW, version_key_str(&shadow));
    if ((e = is_known(b, &older, r->info.mtime_ns, known)) != ERR_OK || *known)
        return e;
    e = kv_get(b->fsck->kv, index_key_str(key), KV_DISK, &v);
    if (e == ERR_OK && record_decode(v.bytes, &there) == ERR_OK && (there.info.versioned || r->info.versioned) &&
        there.info.mtime_ns != r->info.mtime_ns) {
        if (there.info.mtime_ns > r->info.mtime_ns) {
            *key = older;
        } else {
            version_key(&shadow, d->key, version_of(&there.info));
            index_object(&older, d->bucket.uid | VERSIONS_SHADOW, version_key_str(&shadow));
            e = put(b, &older, v.bytes);
        }
    } else if (e == ERR_OK) {
        *known = there.info.mtime_ns >= r->info.mtime_ns;
    }
    kv_value_release(&v);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err restore(struct rebuild *b, const struct description *d)
{
    struct index_key key, body;
    struct record r;
    bool known;
    enum err e;

    if (d->kind != DESCRIBES_OBJECT || record_decode(d->record, &r) != ERR_OK)
        return ERR_OK;
    if ((e = place(b, d, &r, &key, &known)) != ERR_OK || known)
        return e;
    if (!has_content(b, &r, d->manifest)) {
        fsck_note(b->fsck, "%s: described but its content is not there", fsck_name(b->fsck, index_key_str(&key)));
        return ERR_OK;
    }
    if (r.kind == BODY_MANIFEST) {
        index_id(&body, INDEX_MANIFEST, &r.body);
        if ((e = put(b, &body, d->manifest)) != ERR_OK)
            return e;
    }
    if ((e = put(b, &key, d->record)) == ERR_OK)
        b->restored++;
    return e;
}

static enum err restore_from(struct rebuild *b, const struct segment_id *id)
{
    struct segment_footer footer;
    struct description d;
    int fd = -1;
    enum err e = segment_open(b->fsck->segments, id, &fd);

    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_OK : e;
    if (segment_footer_read(b->fsck->segments, fd, id, &footer) == ERR_OK) {
        if (description_decode(footer.desc, &d) == ERR_OK)
            e = restore(b, &d);
        segment_footer_release(&footer);
    }
    close(fd);
    return e;
}

/* ---- counting the references anew ---- */

static void note(struct rebuild *b, const struct segment_id *body)
{
    if (b->body_count == b->body_cap) {
        b->body_cap = b->body_cap ? b->body_cap * 2 : 1024;
        b->bodies = mem_realloc(b->bodies, b->body_cap * sizeof(*b->bodies));
    }
    b->bodies[b->body_count++] = *body;
}

static enum err note_body(struct fsck *f, struct str key, struct str value)
{
    struct record r;

    (void)key;
    if (record_decode(value, &r) == ERR_OK && r.kind != BODY_EMPTY)
        note(f->arg, &r.body);
    return ERR_OK;
}

static enum err write_count(struct rebuild *b, const struct segment_id *body, uint64_t n)
{
    struct index_key key;
    char raw[8];

    index_id(&key, INDEX_REFS, body);
    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (char)(uint8_t)(n >> (8 * (7 - i)));
    return put(b, &key, str_n(raw, sizeof(raw)));
}

static int cmp_ids(const void *a, const void *b)
{
    return segment_id_cmp(a, b);
}

/* An older state of an object may have been restored before a newer one: its manifest belongs to nobody. */
static enum err note_segments(struct fsck *f, struct str key, struct str value)
{
    struct rebuild *b = f->arg;
    struct segment_id body;
    struct manifest m;

    if (key.n != 1 + SEGMENT_ID_LEN)
        return ERR_OK;
    memcpy(body.b, key.p + 1, SEGMENT_ID_LEN);
    if (!b->record_bodies || !bsearch(&body, b->bodies, b->record_bodies, sizeof(body), cmp_ids)) {
        kv_batch_clear(b->batch);
        kv_batch_delete(b->batch, key);
        return kv_write(f->kv, b->batch, false);
    }
    if (manifest_decode(value, &m) != ERR_OK)
        return ERR_OK;
    for (uint32_t i = 0; i < m.count; i++) {
        struct manifest_part p;
        manifest_part(&m, i, &p);
        if (!segment_id_is_zero(&p.segment))
            note(b, &p.segment);
    }
    return ERR_OK;
}

static enum err recount(struct rebuild *b)
{
    const char begin = INDEX_REFS, end = INDEX_REFS + 1;
    enum err e;

    b->fsck->arg = b;
    if ((e = fsck_each(b->fsck, INDEX_OBJECT, note_body)) != ERR_OK)
        return e;
    b->record_bodies = b->body_count;
    if (b->body_count)
        qsort(b->bodies, b->body_count, sizeof(*b->bodies), cmp_ids);
    if ((e = fsck_each(b->fsck, INDEX_MANIFEST, note_segments)) != ERR_OK)
        return e;
    kv_batch_clear(b->batch);
    kv_batch_delete_range(b->batch, str_n(&begin, 1), str_n(&end, 1));
    if ((e = kv_write(b->fsck->kv, b->batch, false)) != ERR_OK)
        return e;
    if (b->body_count)
        qsort(b->bodies, b->body_count, sizeof(*b->bodies), cmp_ids);
    for (size_t i = 0, n; i < b->body_count && e == ERR_OK; i += n) {
        for (n = 1; i + n < b->body_count && segment_id_cmp(&b->bodies[i], &b->bodies[i + n]) == 0; n++)
            ;
        if (n > 1)
            e = write_count(b, &b->bodies[i], n);
    }
    return e;
}

enum err fsck_rebuild(struct fsck *f, uint64_t *restored)
{
    struct rebuild b = {.fsck = f, .batch = kv_batch_new()};
    enum err e = ERR_OK;

    for (size_t i = 0; i < f->file_count && e == ERR_OK; i++)
        if (!f->files[i].described && !f->files[i].refs)
            e = restore_from(&b, &f->files[i].id);
    if (e == ERR_OK)
        e = recount(&b);
    if (e == ERR_OK)
        e = kv_flush(f->kv);
    *restored = b.restored;
    kv_batch_free(b.batch);
    free(b.bodies);
    return e;
}
