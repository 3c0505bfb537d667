#include "target/fsck_state.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "target/segment_cipher.h"

/* ---- reference counts ---- */

static int cmp_refs(const void *a, const void *b)
{
    return segment_id_cmp(&((const struct fsck_refs *)a)->body, &((const struct fsck_refs *)b)->body);
}

static enum err note_refs(struct fsck *f, struct str key, struct str value)
{
    struct fsck_refs r = {0};

    if (key.n != 1 + SEGMENT_ID_LEN || value.n != 8) {
        fsck_damage(f, "a reference count of %zu bytes", value.n);
        return ERR_OK;
    }
    memcpy(r.body.b, key.p + 1, SEGMENT_ID_LEN);
    for (size_t i = 0; i < 8; i++)
        r.said = r.said << 8 | (uint8_t)value.p[i];
    if (f->ref_count == f->ref_cap) {
        f->ref_cap = f->ref_cap ? f->ref_cap * 2 : 64;
        f->refs = mem_realloc(f->refs, f->ref_cap * sizeof(*f->refs));
    }
    f->refs[f->ref_count++] = r; /* in order, as the index is */
    return ERR_OK;
}

static struct fsck_refs *refs_find(struct fsck *f, const struct segment_id *body)
{
    const struct fsck_refs like = {.body = *body};

    return f->ref_count ? bsearch(&like, f->refs, f->ref_count, sizeof(*f->refs), cmp_refs) : NULL;
}

/* Counts the reference; true: it is not the first to this body. */
static bool is_share(struct fsck *f, const struct segment_id *body)
{
    struct fsck_refs *r = refs_find(f, body);

    return r && ++r->seen > 1;
}

static void compare_refs(struct fsck *f)
{
    for (size_t i = 0; i < f->ref_count; i++)
        if (f->refs[i].said != f->refs[i].seen)
            fsck_damage(f, "a body that %llu objects share is counted %llu times", (unsigned long long)f->refs[i].seen,
                        (unsigned long long)f->refs[i].said);
}

/* ---- content ---- */

/* The file of a segment: there, whole, undamaged, of that much content, or, when a piece ends there, of at least that much. */
static void check_segment(struct fsck *f, const char *name, const struct segment_id *id, uint64_t size, bool piece)
{
    struct fsck_file *file = fsck_find(f, id);
    struct segment_footer footer;
    char hex[SEGMENT_ID_HEX];
    int fd = -1;
    enum err e;

    segment_id_hex(id, hex);
    if (!file) {
        fsck_damage(f, "%s: content file %.*s is missing", name, SEGMENT_ID_HEX, hex);
        return;
    }
    if (file->refs++) { /* was looked at */
        if (file->size && file->size < size)
            fsck_damage(f, "%s: content file %.*s is too short for it", name, SEGMENT_ID_HEX, hex);
        return;
    }
    if ((e = segment_open(f->segments, id, &fd)) != ERR_OK) {
        fsck_damage(f, "%s: content file %.*s can't be opened: %s", name, SEGMENT_ID_HEX, hex, err_name(e));
        return;
    }
    if ((e = segment_footer_read(f->segments, fd, id, &footer)) != ERR_OK) {
        fsck_damage(f, "%s: content file %.*s has no sound footer: %s", name, SEGMENT_ID_HEX, hex, err_name(e));
        goto out;
    }
    uint64_t bad = 0;
    file->size = footer.size;
    if (piece ? footer.size < size : footer.size != size)
        fsck_damage(f, "%s: content file %.*s holds %llu bytes instead of %llu", name, SEGMENT_ID_HEX, hex,
                    (unsigned long long)footer.size, (unsigned long long)size);
    else if (!f->options->quick && (e = segment_verify(f->segments, fd, &footer, 0, footer.size, &bad)) != ERR_OK)
        fsck_damage(f, "%s: content file %.*s is damaged in the MiB at %llu", name, SEGMENT_ID_HEX, hex,
                    (unsigned long long)(bad * SEGMENT_BLOCK));
    segment_footer_release(&footer);
out:
    close(fd);
}

static enum err get_body(struct fsck *f, enum index_type type, const struct segment_id *id, struct kv_value *out)
{
    struct index_key k;

    index_id(&k, type, id);
    return kv_get(f->kv, index_key_str(&k), KV_DISK, out);
}

static void check_inline(struct fsck *f, const char *name, const struct record *r)
{
    struct kv_value v = {0};
    enum err e = get_body(f, INDEX_BODY, &r->body, &v);

    f->inline_records++;
    f->inline_shares += is_share(f, &r->body);
    if (e != ERR_OK)
        fsck_damage(f, "%s: its bytes are missing in the index: %s", name, err_name(e));
    else if (v.bytes.n != inline_cipher_kept(&r->body, r->info.size))
        fsck_damage(f, "%s: %zu bytes instead of %llu", name, v.bytes.n,
                    (unsigned long long)inline_cipher_kept(&r->body, r->info.size));
    kv_value_release(&v);
}

static void check_manifest(struct fsck *f, const char *name, const struct record *r)
{
    struct kv_value v = {0};
    struct manifest m;
    enum err e = get_body(f, INDEX_MANIFEST, &r->body, &v);
    bool shared = is_share(f, &r->body);

    f->manifest_records++;
    f->manifest_shares += shared;
    if (e == ERR_OK)
        e = manifest_decode(v.bytes, &m);
    if (e != ERR_OK) {
        fsck_damage(f, "%s: its list of parts is missing or damaged: %s", name, err_name(e));
        goto out;
    }
    if (manifest_start(&m, m.count) != r->info.size)
        fsck_damage(f, "%s: its parts do not add up to its size", name);
    if (r->info.layout.n == 0 && m.pieces != (r->info.parts == 0))
        fsck_damage(f, "%s: its list is not of the kind that its record says", name);
    for (uint32_t i = 0; i < m.count && !shared; i++) {
        struct manifest_part p;
        manifest_part(&m, i, &p);
        if (segment_id_is_zero(&p.segment))
            continue;
        (void)is_share(f, &p.segment); /* counted by entries */
        check_segment(f, name, &p.segment, p.offset + p.end - manifest_start(&m, i), m.pieces);
    }
out:
    kv_value_release(&v);
}

static void check_description(struct fsck *f, const char *name, const struct record *r)
{
    struct fsck_file *file = r->has_desc ? fsck_find(f, &r->desc) : NULL;

    if (file)
        file->described = true;
    else if (r->has_desc)
        fsck_note(f, "%s: its description is missing; a rebuild could not restore it", name);
}

static enum err check_object(struct fsck *f, struct str key, struct str value)
{
    const char *name = fsck_name(f, key);
    struct record r;

    f->objects++;
    if (record_decode(value, &r) != ERR_OK) {
        fsck_damage(f, "%s: its record is damaged", name);
        return ERR_OK;
    }
    f->bytes += r.info.layout.n ? 0 : r.info.size;
    switch (r.kind) {
    case BODY_EMPTY:
        if (r.info.size && r.info.layout.n == 0)
            fsck_damage(f, "%s: has a size but no body", name);
        break;
    case BODY_INLINE:
        check_inline(f, name, &r);
        break;
    case BODY_SEGMENT:
        if (is_share(f, &r.body))
            break;
        check_segment(f, name, &r.body, r.info.size, false);
        break;
    case BODY_MANIFEST:
        check_manifest(f, name, &r);
        break;
    }
    check_description(f, name, &r);
    return ERR_OK;
}

static enum err check_part(struct fsck *f, struct str key, struct str value)
{
    struct part_record p;

    (void)key;
    f->parts++;
    if (part_record_decode(value, &p) != ERR_OK)
        fsck_damage(f, "the record of a part is damaged");
    else if (!segment_id_is_zero(&p.segment))
        check_segment(f, "a part of an upload", &p.segment, p.size, false);
    return ERR_OK;
}

static enum err check_upload(struct fsck *f, struct str key, struct str value)
{
    struct upload_record u;

    if (upload_record_decode(value, &u) != ERR_OK)
        fsck_damage(f, "%s: the record of its upload is damaged", fsck_name(f, key));
    return ERR_OK;
}

static enum err count_inline(struct fsck *f, struct str key, struct str value)
{
    (void)key;
    (void)value;
    f->inline_bodies++;
    return ERR_OK;
}

static enum err count_manifest(struct fsck *f, struct str key, struct str value)
{
    (void)key;
    (void)value;
    f->manifests++;
    return ERR_OK;
}

/* Each body belongs to one record, those that are shared to several. */
static void compare_counts(struct fsck *f)
{
    if (f->inline_bodies > f->inline_records - f->inline_shares)
        fsck_note(f, "%llu small bodies in the index belong to no object",
                  (unsigned long long)(f->inline_bodies - (f->inline_records - f->inline_shares)));
    if (f->manifests > f->manifest_records - f->manifest_shares)
        fsck_note(f, "%llu lists of parts in the index belong to no object",
                  (unsigned long long)(f->manifests - (f->manifest_records - f->manifest_shares)));
}

/* Each content file belongs to one, or it is counted. */
static void find_uncounted(struct fsck *f)
{
    for (size_t i = 0; i < f->file_count; i++) {
        char hex[SEGMENT_ID_HEX];
        if (f->files[i].refs < 2 || refs_find(f, &f->files[i].id))
            continue;
        segment_id_hex(&f->files[i].id, hex);
        fsck_damage(f, "content file %.*s is referred to %u times, which nobody counts", SEGMENT_ID_HEX, hex,
                    f->files[i].refs);
    }
}

static void find_orphans(struct fsck *f)
{
    for (size_t i = 0; i < f->file_count; i++) {
        char hex[SEGMENT_ID_HEX];
        if (f->files[i].refs || f->files[i].described)
            continue;
        f->orphans++;
        segment_id_hex(&f->files[i].id, hex);
        fsck_note(f, "content file %.*s belongs to no object (the server removes such files)", SEGMENT_ID_HEX, hex);
    }
}

enum err fsck_check(struct fsck *f)
{
    enum err e;

    if ((e = fsck_each(f, INDEX_REFS, note_refs)) != ERR_OK ||
        (e = fsck_each(f, INDEX_OBJECT, check_object)) != ERR_OK ||
        (e = fsck_each(f, INDEX_PART, check_part)) != ERR_OK ||
        (e = fsck_each(f, INDEX_UPLOAD, check_upload)) != ERR_OK ||
        (e = fsck_each(f, INDEX_BODY, count_inline)) != ERR_OK ||
        (e = fsck_each(f, INDEX_MANIFEST, count_manifest)) != ERR_OK)
        return e;
    compare_refs(f);
    find_uncounted(f);
    compare_counts(f);
    find_orphans(f);
    return ERR_OK;
}
