#include "target/local_verify.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "target/engine.h"
#include "target/segment_cipher.h"
#include "target/segment_footer.h"

enum { BLOCKS_AT_ONCE = 4 /* of a task on the pool */, VERIFY_TRIES = 8 };

/* A segment that the object is made of. */
struct piece {
    struct segment_id segment;
    uint64_t size;
    uint64_t offset; /* of a range: the blocks that it touches are looked at */
    bool range;      /* else all of the segment */
    struct digest want;
};

struct verify_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpath;
    const struct local_verify_req *req;
    struct local_verify_res *res;
    struct call *whole;
    struct offload_task task;
    /* touched by the pool from here on */
    struct record rec;
    struct buf raw;
    struct piece *pieces;
    size_t count, cap, at;
    uint64_t bytes;
    char *buf; /* SEGMENT_BLOCK bytes, aligned for direct reads */
    bool direct;
    int fd; /* of pieces[at]; -1: not open */
    struct segment_footer footer;
    uint8_t key[SEAL_KEY]; /* of encrypted content */
    struct hash hash;
    size_t block, block_end; /* the next one; where to end */
    char damage[128];
    struct segment_id gone; /* a body whose segment was not there at the last try */
    unsigned tries;
};

static step_fn verify_find, verify_found, verify_piece, verify_read, verify_end; /* in order */

/* ---- on the io pool ---- */

static enum err damaged(struct verify_op *v, enum err e, const char *what)
{
    snprintf(v->damage, sizeof(v->damage), "%s", what);
    return e;
}

static enum err damaged_at(struct verify_op *v, enum err e, const char *what)
{
    char hex[SEGMENT_ID_HEX];

    segment_id_hex(&v->pieces[v->at].segment, hex);
    snprintf(v->damage, sizeof(v->damage), "segment %.*s: %s", SEGMENT_ID_HEX, hex, what);
    return e;
}

static void add(struct verify_op *v, const struct piece *p)
{
    if (v->count == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 4;
        v->pieces = mem_realloc(v->pieces, v->cap * sizeof(*v->pieces));
    }
    v->pieces[v->count++] = *p;
}

static void add_piece(struct verify_op *v, const struct segment_id *id, uint64_t size, const struct digest *checksum,
                      const struct etag *etag)
{
    struct piece p = {.segment = *id, .size = size, .want = *checksum};

    if (checksum->alg == HASH_NONE) {
        p.want = (struct digest){.alg = HASH_MD5, .n = 16};
        if (!etag_to_md5(etag, p.want.b))
            p.want = (struct digest){0};
    }
    add(v, &p);
}

static void add_range(struct verify_op *v, const struct manifest_part *part, uint64_t len)
{
    struct piece p = {.segment = part->segment, .size = len, .offset = part->offset, .range = true};

    add(v, &p);
}

static enum err add_parts(struct verify_op *v, struct str body)
{
    struct manifest m;
    enum err e = manifest_decode(body, &m);

    if (e != ERR_OK || manifest_start(&m, m.count) != v->rec.info.size)
        return damaged(v, ERR_CORRUPT, "its list of parts");
    for (uint32_t i = 0; i < m.count && v->rec.info.layout.n == 0; i++) {
        struct manifest_part p;
        struct part_info info;
        manifest_part(&m, i, &p);
        if (m.pieces) {
            add_range(v, &p, p.end - manifest_start(&m, i));
            continue;
        }
        manifest_part_info(&m, i, v->rec.info.checksum.digest.alg, &info);
        if (!segment_id_is_zero(&p.segment))
            add_piece(v, &p.segment, info.size, &info.checksum.digest, &info.etag);
        else if (info.size)
            return damaged(v, ERR_CORRUPT, "its list of parts: one without content");
    }
    return ERR_OK;
}

static enum err check_inline(struct verify_op *v, struct str body)
{
    const struct object_info *i = &v->rec.info;
    struct digest want = i->checksum.digest, made;

    if (want.alg == HASH_NONE || i->checksum.type != CHECKSUM_FULL_OBJECT) {
        want = (struct digest){.alg = HASH_MD5, .n = 16};
        if (etag_is_spliced(&i->etag)) /* tells nothing */
            want.alg = HASH_NONE;
        else if (!etag_to_md5(&i->etag, want.b))
            return damaged(v, ERR_CORRUPT, "its ETag");
    }
    if (want.alg != HASH_NONE)
        hash_of(want.alg, body, &made);
    if (body.n != i->size || (want.alg != HASH_NONE && !digest_eq(&made, &want)))
        return damaged(v, ERR_CORRUPT, "its bytes in the index");
    v->bytes += body.n;
    return ERR_OK;
}

static enum err check_encrypted_inline(struct verify_op *v, struct str body)
{
    char *opened = mem_alloc(body.n);
    enum err e = inline_cipher_open(v->mountpath->segments, &v->rec.body, body, opened);

    if (e == ERR_OK)
        e = check_inline(v, str_n(opened, body.n - INLINE_CIPHER_EXTRA));
    else
        e = damaged(v, e, e == ERR_CORRUPT ? "its bytes in the index" : "its key");
    free(opened);
    return e;
}

static enum err look_into(struct verify_op *v)
{
    bool parts = v->rec.kind == BODY_MANIFEST;
    struct kv_value body = {0};
    struct index_key key;
    enum err e;

    index_id(&key, parts ? INDEX_MANIFEST : INDEX_BODY, &v->rec.body);
    e = kv_get(v->mountpath->kv, index_key_str(&key), KV_DISK, &body);
    if (e == ERR_OK && parts)
        e = add_parts(v, body.bytes);
    else if (e == ERR_OK)
        e = (segment_id_encrypted(&v->rec.body) ? check_encrypted_inline : check_inline)(v, body.bytes);
    else if (e != ERR_NOT_FOUND) /* that may be another record's meanwhile */
        e = damaged(v, e, "the index");
    kv_value_release(&body);
    return e;
}

/* What the object is made of. ERR_NOT_FOUND: its body is gone. */
static enum err find_task(struct offload_task *t)
{
    struct verify_op *v = CONTAINER(t, struct verify_op, task);
    struct kv_value raw = {0};
    struct index_key key;
    enum err e;

    index_object(&key, v->req->bucket.uid, v->req->key);
    e = kv_get(v->mountpath->kv, index_key_str(&key), KV_DISK, &raw);
    buf_release(&v->raw);
    buf_init(&v->raw, RECORD_MAX);
    if (e == ERR_OK)
        buf_add_str(&v->raw, raw.bytes);
    kv_value_release(&raw);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_NO_SUCH_KEY : damaged(v, e, "the index");
    if (buf_err(&v->raw) != ERR_OK || record_decode(buf_str(&v->raw), &v->rec) != ERR_OK)
        return damaged(v, ERR_CORRUPT, "its record");
    const struct object_info *i = &v->rec.info;
    switch (v->rec.kind) {
    case BODY_EMPTY:
        return i->size && i->layout.n == 0 ? damaged(v, ERR_CORRUPT, "its record: a size but no body") : ERR_OK;
    case BODY_SEGMENT:
        add_piece(v, &v->rec.body, i->size, &i->checksum.digest, &i->etag); /* always over the full object */
        return ERR_OK;
    case BODY_INLINE:
    case BODY_MANIFEST:
        break;
    }
    return look_into(v);
}

static enum err open_piece(struct verify_op *v)
{
    const struct piece *p = &v->pieces[v->at];
    enum err e = segment_open(v->mountpath->segments, &p->segment, &v->fd);

    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? e : damaged_at(v, e, "can't be opened");
    if ((e = segment_footer_read(v->mountpath->segments, v->fd, &p->segment, &v->footer)) != ERR_OK)
        return damaged_at(v, e, "its footer");
    if (v->footer.tags && (e = segment_cipher_key(v->mountpath->segments, &v->footer, v->key)) != ERR_OK)
        return damaged_at(v, e, "its key");
    if (p->range ? v->footer.size < p->offset + p->size : v->footer.size != p->size)
        return damaged_at(v, segment_corrupt(v->mountpath->segments, &p->segment, "not as long as its record says"),
                          "not as long as its record says");
    v->block = (size_t)(p->offset / SEGMENT_BLOCK);
    v->block_end = (size_t)((p->offset + p->size + SEGMENT_BLOCK - 1) / SEGMENT_BLOCK);
    if (p->want.alg != HASH_NONE)
        hash_init(&v->hash, p->want.alg);
    v->direct = direct_set(v->fd, true);
    return ERR_OK;
}

static void close_piece(struct verify_op *v)
{
    seal_forget(v->key);
    if (v->fd >= 0)
        close(v->fd);
    v->fd = -1;
    segment_footer_release(&v->footer);
    hash_drop(&v->hash);
}

/* What the kernel has in memory may be better than what the disk has: so it is asked around its cache. A direct read goes
 * beyond the content, into the footer, to end where it must. False: errno, 0 = the file is too short. */
static bool read_block(struct verify_op *v, size_t n, uint64_t at)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(v->fd, v->buf + got, v->direct ? SEGMENT_BLOCK - got : n - got, (off_t)(at + got));
        if (r < 0 && errno == EINVAL && v->direct) {
            v->direct = false;
            if (!direct_set(v->fd, false))
                return false;
            continue;
        }
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            errno = r < 0 ? errno : 0;
            return false;
        }
        got += (size_t)r;
        if (got < n && got % DIRECT_ALIGN && v->direct) { /* a short read may leave no aligned place to go on from */
            v->direct = false;
            if (!direct_set(v->fd, false))
                return false;
        }
    }
    return true;
}

static enum err check_block(struct verify_op *v)
{
    const struct piece *p = &v->pieces[v->at];
    uint64_t at = (uint64_t)v->block * SEGMENT_BLOCK;
    size_t n = v->footer.size - at < SEGMENT_BLOCK ? (size_t)(v->footer.size - at) : SEGMENT_BLOCK;
    struct digest made;
    char what[64];

    snprintf(what, sizeof(what), "the MiB at %llu", (unsigned long long)at);
    if (!read_block(v, n, at))
        return damaged_at(v,
                          errno ? segment_failed(v->mountpath->segments, &p->segment, "segment read failed")
                                : segment_corrupt(v->mountpath->segments, &p->segment, "truncated"),
                          what);
    hash_of(HASH_XXH3, str_n(v->buf, n), &made);
    if (segment_hash64(&made) != v->footer.blocks[v->block])
        return damaged_at(v, segment_corrupt(v->mountpath->segments, &p->segment, what), what);
    if (v->footer.tags && segment_cipher_open(v->mountpath->segments, &v->footer, v->key, at, v->buf, n) != ERR_OK)
        return damaged_at(v, ERR_CORRUPT, what);
    if (p->want.alg != HASH_NONE)
        hash_update(&v->hash, v->buf, n);
    v->block++;
    v->bytes += n;
    return ERR_OK;
}

/* Some blocks of a segment; at its end it is closed and the next one's turn. */
static enum err piece_task(struct offload_task *t)
{
    struct verify_op *v = CONTAINER(t, struct verify_op, task);
    const struct piece *p = &v->pieces[v->at];
    struct digest made;
    enum err e = ERR_OK;

    if (!v->buf && !(v->buf = aligned_alloc(DIRECT_ALIGN, SEGMENT_BLOCK)))
        abort();
    if (v->fd < 0)
        e = open_piece(v);
    for (int i = 0; i < BLOCKS_AT_ONCE && e == ERR_OK && v->block < v->block_end; i++)
        e = check_block(v);
    if (e != ERR_OK || v->block < v->block_end)
        return e;
    if (p->want.alg != HASH_NONE) {
        hash_final(&v->hash, &made);
        if (!digest_eq(&made, &p->want))
            return damaged_at(v, segment_corrupt(v->mountpath->segments, &p->segment, "not what its record says"),
                              "all of it is not what the record says");
    }
    close_piece(v);
    v->at++;
    return ERR_OK;
}

/* ---- steps ---- */

static enum step_next verify_find(struct op *op)
{
    struct verify_op *v = OP(op, struct verify_op);

    offload_run(v->local->conf.io, &v->task, find_task, op_try(op, verify_found));
    return STEP_WAIT;
}

/* What is gone belonged to a record that was replaced meanwhile. When the record is the same, it is missing. */
static enum step_next look_again(struct verify_op *v)
{
    bool same = v->tries && segment_id_cmp(&v->gone, &v->rec.body) == 0;

    close_piece(v);
    if (same && v->count) {
        log_error(STR_NONE, "content missing", "mountpath=%s key=%s", log_quote(v->mountpath->dir),
                  log_quote(v->req->key));
        return op_fail(&v->op, damaged_at(v, ERR_CORRUPT, "missing"));
    }
    if (same) {
        log_error(STR_NONE, "record without its body", "mountpath=%s key=%s", log_quote(v->mountpath->dir),
                  log_quote(v->req->key));
        return op_fail(&v->op, damaged(v, ERR_CORRUPT, "its bytes, or list of parts, are missing in the index"));
    }
    if (++v->tries > VERIFY_TRIES)
        return op_fail(&v->op, ERR_BUSY);
    v->gone = v->rec.body;
    v->count = v->at = 0;
    v->bytes = 0;
    return op_go(&v->op, verify_find);
}

static enum step_next verify_found(struct op *op)
{
    struct verify_op *v = OP(op, struct verify_op);

    if (op->call.err == ERR_NOT_FOUND)
        return look_again(v);
    return op->call.err == ERR_OK ? op_go(op, verify_piece) : op_fail(op, op->call.err);
}

static enum step_next verify_piece(struct op *op)
{
    struct verify_op *v = OP(op, struct verify_op);

    if (v->at == v->count)
        return op_go(op, verify_end);
    offload_run(v->local->conf.io, &v->task, piece_task, op_try(op, verify_read));
    return STEP_WAIT;
}

static enum step_next verify_read(struct op *op)
{
    struct verify_op *v = OP(op, struct verify_op);

    if (op->call.err == ERR_NOT_FOUND)
        return look_again(v);
    return op->call.err == ERR_OK ? op_go(op, verify_piece) : op_fail(op, op->call.err);
}

static enum step_next verify_end(struct op *op)
{
    struct verify_op *v = OP(op, struct verify_op);

    close_piece(v);
    v->rec.info.attrs = NULL;
    v->rec.info.attr_count = 0;
    v->rec.info.tags = STR_NONE;
    object_info_copy(v->req->arena, &v->res->info, &v->rec.info);
    v->res->bytes = v->bytes;
    v->res->damage = arena_str(v->req->arena, str_z(v->damage));
    free(v->pieces);
    free(v->buf);
    buf_release(&v->raw);
    call_finish(v->whole, op->err);
    free(v);
    return STEP_DONE;
}

static void verify_cancel(void *arg)
{
    op_cancel(&((struct verify_op *)arg)->op, ERR_CANCELLED);
}

void local_verify_at(struct local *l, struct mountpath *m, const struct local_verify_req *req,
                     struct local_verify_res *res, struct call *call)
{
    struct verify_op *v = NEW(struct verify_op);

    *res = (struct local_verify_res){0};
    *v = (struct verify_op){.local = l, .mountpath = m, .req = req, .res = res, .whole = call, .fd = -1};
    op_start(&v->op, call->loop, "local_verify", verify_find, verify_end);
    call_on_cancel(call, verify_cancel, v); /* the first step always waits, so the op is still there */
}
