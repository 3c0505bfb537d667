#include <stdlib.h>

#include "base/mem.h"
#include "target/scan.h"
#include "target/upload.h"

/* A page of a list is made on the io pool, in an arena of its own that the request's arena then keeps: arenas belong to
 * one thread. */
struct page {
    struct arena arena;
    struct local *local;
    const struct disk_set *set; /* the caller's; NULL: of one mountpath */
    struct mountpath *mountpath;
    struct arena *keeper;
    struct offload_task task;
    struct call call;
    struct call *whole;
};

static void page_free(void *arg)
{
    struct page *p = arg;

    arena_release(&p->arena);
    free(p);
}

static void page_run(struct page *p, struct local *l, struct arena *keeper, enum err (*run)(struct offload_task *),
                     struct call *whole, void (*done)(struct call *))
{
    p->local = l;
    p->keeper = keeper;
    p->whole = whole;
    arena_defer(keeper, page_free, p);
    call_begin(&p->call, whole->loop, done);
    offload_run(l->conf.io, &p->task, run, &p->call);
}

/* ---- where a page begins, and what it shows ---- */

/* Sought behind everything that `after` stands for: itself, or all it rolls up when it names a common prefix. */
static void first_key(struct index_key *k, enum index_type type, uint64_t uid, struct str prefix, struct str delimiter,
                      struct str after)
{
    struct str common;

    if (after.n > STORE_KEY_MAX)
        after.n =
            STORE_KEY_MAX; /* no key is longer: what sorts behind the cut, sorts behind the whole, but for the cut itself */
    if (str_cmp(after, prefix) < 0) {
        index_prefix(k, type, uid, prefix);
        return;
    }
    index_behind(k, type, uid, after);
    if (str_starts(after, prefix) && key_rolls_up(after, prefix, delimiter, &common) && common.n == after.n) {
        index_prefix(k, type, uid, after);
        index_successor(k);
    }
}

/* Past all keys below a common prefix. */
static void seek_past(struct scan *s, struct str common)
{
    struct index_key k;

    index_prefix(&k, s->type, s->bucket_uid, common);
    index_successor(&k);
    scan_seek(s, &k);
}

/* ---- objects ---- */

struct obj_page {
    struct page page;
    const struct obj_list_req *req;
    struct obj_list_res *res;
    struct obj_list_res made;
    struct list_entry *entries;
};

static enum err add_object(struct obj_page *p, const struct scan *s)
{
    struct list_entry *out = &p->entries[p->made.count];
    struct record r;
    enum err e = record_decode(scan_value(s), &r);

    if (e != ERR_OK)
        return e;
    *out = (struct list_entry){
        .key = arena_str(&p->page.arena, scan_key(s)),
        .size = r.info.size,
        .mtime_ns = r.info.mtime_ns,
        .etag = r.info.etag,
        .checksum_alg = r.info.checksum.digest.alg,
        .checksum_type = r.info.checksum.type,
        .versioned = r.info.versioned,
    };
    if (r.has_class)
        out->storage_class = arena_str(&p->page.arena, record_class(&r));
    p->made.count++;
    return ERR_OK;
}

static enum err fill_objects(struct obj_page *p, struct scan *s)
{
    const struct obj_list_req *req = p->req;
    enum err e = ERR_OK;

    while (scan_valid(s) && e == ERR_OK) {
        struct str common = scan_key(s);
        bool rolled = key_rolls_up(common, req->prefix, req->delimiter, &common);
        bool shown = !rolled || str_cmp(common, req->after) > 0;
        if (shown && p->made.count == req->max) {
            p->made.truncated = true;
            break;
        }
        if (!rolled) {
            e = add_object(p, s);
            scan_next(s);
            continue;
        }
        common = arena_str(&p->page.arena, common); /* outlives the key it was part of */
        if (shown)
            p->entries[p->made.count++] = (struct list_entry){.key = common, .is_prefix = true};
        seek_past(s, common);
    }
    return e != ERR_OK ? e : s->err;
}

static enum err list_objects(struct offload_task *t)
{
    struct obj_page *p = CONTAINER(t, struct obj_page, page.task);
    const struct obj_list_req *req = p->req;
    struct index_key first;
    struct scan s;

    p->entries = arena_alloc(&p->page.arena, (req->max ? req->max : 1) * sizeof(*p->entries));
    p->made.entries = p->entries;
    if (req->max == 0 || req->prefix.n > STORE_KEY_MAX)
        return ERR_OK;
    scan_open(&s, p->page.set, INDEX_OBJECT, &req->bucket, req->prefix);
    first_key(&first, INDEX_OBJECT, req->bucket.uid, req->prefix, req->delimiter, req->after);
    scan_seek(&s, &first);
    enum err e = fill_objects(p, &s);
    scan_close(&s);
    return e;
}

static void objects_listed(struct call *c)
{
    struct obj_page *p = CONTAINER(c, struct obj_page, page.call);

    if (c->err == ERR_OK)
        *p->res = p->made;
    call_finish(p->page.whole, c->err);
}

void local_obj_list(struct local *l, struct disk_set *set, const struct obj_list_req *req, struct obj_list_res *res,
                    struct call *c)
{
    struct obj_page *p = NEW(struct obj_page);

    p->req = req;
    p->res = res;
    p->page.set = set;
    page_run(&p->page, l, req->arena, list_objects, c, objects_listed);
}

/* ---- uploads ---- */

struct upload_page {
    struct page page;
    const struct upload_list_req *req;
    struct upload_list_res *res;
    struct upload_list_res made;
    struct upload_entry *entries;
};

static enum err add_upload(struct upload_page *p, const struct scan *s, const char hex[UPLOAD_ID_LEN])
{
    struct upload_record u;
    struct arena *a = &p->page.arena;
    enum err e = upload_record_decode(scan_value(s), &u);

    if (e != ERR_OK)
        return e;
    p->entries[p->made.count++] = (struct upload_entry){
        .key = arena_str(a, scan_key(s)),
        .upload_id = arena_str(a, str_n(hex, UPLOAD_ID_LEN)),
        .created_ns = u.created_ns,
        .initiator = arena_str(a, u.initiator),
        .storage_class = arena_str(a, record_class(&u.object)),
        .checksum_alg = u.alg,
        .checksum_type = u.type,
    };
    return ERR_OK;
}

/* Whether the upload was on a page before. */
static bool was_listed(const struct upload_list_req *req, struct str key, const char hex[UPLOAD_ID_LEN])
{
    return str_eq(key, req->key_marker) &&
           (req->upload_id_marker.n == 0 || str_cmp(str_n(hex, UPLOAD_ID_LEN), req->upload_id_marker) <= 0);
}

static enum err fill_uploads(struct upload_page *p, struct scan *s)
{
    const struct upload_list_req *req = p->req;
    enum err e = ERR_OK;

    while (scan_valid(s) && e == ERR_OK) {
        struct str common = scan_key(s);
        char hex[UPLOAD_ID_LEN];
        bool rolled = key_rolls_up(common, req->prefix, req->delimiter, &common);
        if (scan_rest(s).n != SEGMENT_ID_LEN)
            return ERR_CORRUPT;
        hex_encode(scan_rest(s).p, SEGMENT_ID_LEN, hex);
        bool shown = rolled ? str_cmp(common, req->key_marker) > 0 : !was_listed(req, common, hex);
        if (shown && p->made.count == req->max) {
            p->made.truncated = true;
            break;
        }
        if (!rolled) {
            e = shown ? add_upload(p, s, hex) : ERR_OK;
            scan_next(s);
            continue;
        }
        common = arena_str(&p->page.arena, common);
        if (shown)
            p->entries[p->made.count++] = (struct upload_entry){.key = common, .is_prefix = true};
        seek_past(s, common);
    }
    return e != ERR_OK ? e : s->err;
}

static enum err list_uploads(struct offload_task *t)
{
    struct upload_page *p = CONTAINER(t, struct upload_page, page.task);
    const struct upload_list_req *req = p->req;
    struct index_key first;
    struct scan s;

    p->entries = arena_alloc(&p->page.arena, (req->max ? req->max : 1) * sizeof(*p->entries));
    p->made.entries = p->entries;
    if (req->max == 0 || req->prefix.n > STORE_KEY_MAX)
        return ERR_OK;
    scan_open(&s, p->page.set, INDEX_UPLOAD, &req->bucket, req->prefix);
    if (req->upload_id_marker.n && req->key_marker.n <= STORE_KEY_MAX && str_cmp(req->key_marker, req->prefix) >= 0)
        index_prefix(&first, INDEX_UPLOAD, req->bucket.uid, req->key_marker); /* its later uploads still count */
    else
        first_key(&first, INDEX_UPLOAD, req->bucket.uid, req->prefix, req->delimiter, req->key_marker);
    scan_seek(&s, &first);
    enum err e = fill_uploads(p, &s);
    scan_close(&s);
    return e;
}

static void uploads_listed(struct call *c)
{
    struct upload_page *p = CONTAINER(c, struct upload_page, page.call);

    if (c->err == ERR_OK)
        *p->res = p->made;
    call_finish(p->page.whole, c->err);
}

void local_upload_list(struct local *l, struct disk_set *set, const struct upload_list_req *req,
                       struct upload_list_res *res, struct call *c)
{
    struct upload_page *p = NEW(struct upload_page);

    p->req = req;
    p->res = res;
    p->page.set = set;
    page_run(&p->page, l, req->arena, list_uploads, c, uploads_listed);
}

/* ---- parts ---- */

struct part_page {
    struct page page;
    const struct part_list_req *req;
    struct part_list_res *res;
    struct part_list_res made;
    struct part_info *parts;
};

static bool add_part(void *arg, uint32_t number, const struct part_record *r)
{
    struct part_page *p = arg;

    if (p->made.count == p->req->max) {
        p->made.truncated = p->req->max != 0;
        return false;
    }
    part_record_info(r, number, &p->parts[p->made.count++]);
    return true;
}

static enum err list_parts(struct offload_task *t)
{
    struct part_page *p = CONTAINER(t, struct part_page, page.task);
    const struct part_list_req *req = p->req;
    struct arena *a = &p->page.arena;
    struct upload_record u;
    struct upload_find f;
    enum err e;

    if ((e = upload_find_init(&f, p->page.local, p->page.mountpath, req->bucket.uid, req->key, req->upload_id)) !=
        ERR_OK)
        return e;
    if ((e = upload_find_on_disk(&f)) != ERR_OK || (e = upload_record_decode(buf_str(&f.raw), &u)) != ERR_OK)
        goto out;
    p->parts = arena_alloc(a, (req->max ? req->max : 1) * sizeof(*p->parts));
    p->made = (struct part_list_res){.parts = p->parts,
                                     .checksum_alg = u.alg,
                                     .checksum_type = u.type,
                                     .storage_class = arena_str(a, record_class(&u.object)),
                                     .initiator = arena_str(a, u.initiator)};
    if (req->after < PARTS_MAX)
        e = upload_parts_each(f.mountpath, &f.id, req->after, add_part, p);
out:
    upload_find_release(&f);
    return e;
}

static void parts_listed(struct call *c)
{
    struct part_page *p = CONTAINER(c, struct part_page, page.call);

    if (c->err == ERR_OK)
        *p->res = p->made;
    call_finish(p->page.whole, c->err);
}

void local_part_list(struct store *s, const struct part_list_req *req, struct part_list_res *res, struct call *c)
{
    struct part_page *p = NEW(struct part_page);

    p->req = req;
    p->res = res;
    p->page.mountpath = local_at(s);
    page_run(&p->page, local_of(s), req->arena, list_parts, c, parts_listed);
}
