#include "target/described.h"

static void build_manifest(const struct described *d, struct buf *out)
{
    uint64_t end = 0;

    manifest_begin(out, d->part_count, d->parts[0].checksum.digest.n);
    for (uint32_t n = 0; n < d->part_count; n++) {
        const struct part_info *from = &d->parts[n];
        struct manifest_part p = {.number = from->number,
                                  .end = end += from->size,
                                  .mtime_ns = from->mtime_ns,
                                  .checksum = str_n(from->checksum.digest.b, from->checksum.digest.n)};
        if (d->info->layout.n == 0)
            p.segment = d->segments[n];
        if (etag_to_md5(&from->etag, p.md5)) /* whoever made the parts saw to it */
            manifest_add(out, &p);
    }
}

enum err described_build(const struct described *d, struct mountpath *m, struct sealing *s, struct hot **out)
{
    struct buf raw = BUF_INIT(RECORD_MAX), manifest = BUF_INIT(SEGMENT_DESC_MAX);
    struct description say = {.kind = DESCRIBES_OBJECT, .bucket = *d->bucket, .key = d->key};
    struct record r = {.info = *d->info, .has_desc = true};
    struct index_key key;
    enum err e;

    if (d->part_count) {
        build_manifest(d, &manifest);
        r.kind = BODY_MANIFEST;
        segment_id_new(&r.body);
    }
    if ((e = buf_err(&manifest)) != ERR_OK || (e = sealing_stage_empty(s, m)) != ERR_OK)
        goto out;
    r.desc = s->own.id;
    if ((e = record_encode(&raw, &r)) != ERR_OK)
        goto out;
    say.record = buf_str(&raw);
    say.manifest = buf_str(&manifest);
    if ((e = sealing_describe(s, &say)) != ERR_OK || (e = sealing_seal_empty(s)) != ERR_OK)
        goto out;
    index_object(&key, d->bucket->uid, d->key);
    e = hot_new(index_key_str(&key), buf_str(&raw), buf_str(&manifest), out);
out:
    buf_release(&raw);
    buf_release(&manifest);
    return e;
}
