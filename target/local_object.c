#include "target/engine.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "target/segment_cipher.h"

/* ---- head: what a record says ---- */

static int64_t now_s(void)
{
    return clock_wall_ns() / NS_PER_S;
}

static enum err whole_as_part(uint32_t number, const struct record *r, struct obj_head_res *res)
{
    if (number != 1)
        return ERR_INVALID_PART_NUMBER;
    res->offset = 0;
    res->len = r->info.size;
    return ERR_OK;
}

static enum err locate_part(const struct hot *h, uint32_t number, struct obj_head_res *res)
{
    struct manifest m;
    struct manifest_part p;
    uint32_t lo = 0, hi;
    enum err e;

    if (h->rec.info.parts == 0)
        return whole_as_part(number, &h->rec, res);
    if ((e = manifest_decode(h->body, &m)) != ERR_OK || m.pieces)
        return e != ERR_OK ? e : ERR_CORRUPT;
    for (hi = m.count; lo < hi;) {
        uint32_t mid = lo + (hi - lo) / 2;
        manifest_part(&m, mid, &p);
        if (p.number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == m.count)
        return ERR_INVALID_PART_NUMBER;
    manifest_part_info(&m, lo, h->rec.info.checksum.digest.alg, &res->part);
    if (res->part.number != number) {
        res->part = (struct part_info){0};
        return ERR_INVALID_PART_NUMBER;
    }
    res->offset = manifest_start(&m, lo);
    res->len = res->part.size;
    return ERR_OK;
}

static enum err list_parts(const struct hot *h, struct arena *arena, struct obj_head_res *res)
{
    struct manifest m;
    enum err e;

    if (h->rec.info.parts == 0)
        return ERR_OK;
    if ((e = manifest_decode(h->body, &m)) != ERR_OK || m.pieces)
        return e != ERR_OK ? e : ERR_CORRUPT;
    struct part_info *parts = arena_alloc(arena, m.count * sizeof(*parts));
    for (uint32_t i = 0; i < m.count; i++)
        manifest_part_info(&m, i, h->rec.info.checksum.digest.alg, &parts[i]);
    res->parts = parts;
    res->part_count = m.count;
    return ERR_OK;
}

/* `h` stays until the request's arena ends: the answer borrows from it. Takes the reference. */
static enum err answer(struct hot *h, const struct obj_head_req *req, bool parts, struct obj_head_res *res)
{
    enum err e;

    arena_defer(req->arena, hot_unref, h);
    *res = (struct obj_head_res){.info = h->rec.info};
    if (!cond_is_empty(&req->cond) && (e = cond_check_read(&req->cond, &h->rec.info, now_s())) != ERR_OK)
        return e;
    if (req->part_number)
        e = locate_part(h, req->part_number, res);
    else
        e = range_resolve(&req->range, h->rec.info.size, &res->offset, &res->len);
    if (e == ERR_OK && parts)
        e = list_parts(h, req->arena, res);
    return e;
}

struct head_op {
    struct lookup lookup;
    const struct obj_head_req *req;
    struct obj_head_res *res;
    struct call *whole;
    struct call call;
};

static void head_looked_up(struct call *c)
{
    struct head_op *h = CONTAINER(c, struct head_op, call);
    enum err e = c->err;

    if (e == ERR_OK)
        e = answer(h->lookup.found, h->req, h->req->parts, h->res);
    call_finish(h->whole, e);
}

static enum err head_at_once(struct store *s, struct lookup *u, const struct obj_head_req *req)
{
    lookup_init(u, local_of(s), local_at(s), req->bucket.uid, req->key,
                req->part_number || req->parts ? WANT_MANIFEST : WANT_RECORD);
    return lookup_now(u);
}

enum err local_head_now(struct store *s, const struct obj_head_req *req, struct obj_head_res *res)
{
    struct lookup u;
    enum err e = head_at_once(s, &u, req);

    return e == ERR_OK ? answer(u.found, req, req->parts, res) : e;
}

void local_obj_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *c)
{
    struct lookup u;
    enum err e = head_at_once(s, &u, req);

    if (e == ERR_AGAIN) {
        struct head_op *h = ARENA_NEW(req->arena, struct head_op);
        h->lookup = u;
        h->req = req;
        h->res = res;
        h->whole = c;
        call_begin(&h->call, c->loop, head_looked_up);
        lookup_run(&h->lookup, &h->call);
        return;
    }
    if (e == ERR_OK)
        e = answer(u.found, req, req->parts, res);
    call_finish(c, e);
}

/* ---- get ---- */

enum { GET_TRIES = 8 };

struct get_op {
    struct op op;
    struct lookup lookup;
    const struct obj_get_req *req;
    struct obj_get_res *res;
    struct call *whole;
    struct hot *hot; /* the arena's */
    struct source *body;
    struct segment_id gone; /* the body whose files were not there at the last try */
    unsigned tries;
};

static step_fn get_lookup, get_found, get_open, get_checked, get_prepare, get_opened,
    get_end; /* in order; get_end always runs */

static struct source *manifest_source(struct mountpath *m, const struct extents_env *env, const struct manifest *mf,
                                      uint64_t offset, uint64_t len)
{
    uint32_t first = manifest_find(mf, offset), n = 0;
    uint64_t start = manifest_start(mf, first), at = start;
    struct extent *list;

    for (uint32_t i = first; i < mf->count && manifest_start(mf, i) < offset + len; i++)
        n++;
    list = mem_alloc(n * sizeof(*list));
    for (uint32_t i = 0; i < n; i++) {
        struct manifest_part p;
        manifest_part(mf, first + i, &p);
        list[i] = (struct extent){.id = p.segment, .offset = p.offset, .len = p.end - at};
        at = p.end;
    }
    struct source *s = extent_source_new(env, m->segments, list, n, offset - start, len);
    free(list);
    return s;
}

enum err local_keep_inline(struct mountpath *m, const struct ingest *in, struct arena *arena, struct record *r,
                           struct str *bytes)
{
    char *kept;

    r->kind = BODY_INLINE;
    segment_id_new(&r->body);
    *bytes = in->inline_bytes;
    if (!in->encrypt)
        return ERR_OK;
    kept = arena_alloc(arena, in->inline_bytes.n + INLINE_CIPHER_EXTRA);
    *bytes = str_n(kept, in->inline_bytes.n + INLINE_CIPHER_EXTRA);
    return inline_cipher_close(m->segments, &r->body, in->inline_bytes, kept);
}

static enum err inline_source(struct mountpath *m, struct hot *h, uint64_t offset, uint64_t len, struct source **out)
{
    char *opened;
    enum err e;

    if (offset + len > h->rec.info.size || h->body.n != inline_cipher_kept(&h->rec.body, h->rec.info.size))
        return ERR_CORRUPT;
    if (!segment_id_encrypted(&h->rec.body)) {
        *out = source_memory(str_n(h->body.p + offset, (size_t)len), hot_unref, hot_ref(h));
        return ERR_OK;
    }
    opened = mem_alloc((size_t)h->rec.info.size);
    if ((e = inline_cipher_open(m->segments, &h->rec.body, h->body, opened)) == ERR_OK)
        *out = source_memory(str_n(opened + offset, (size_t)len), free, opened);
    else
        free(opened);
    return e;
}

enum err local_source(struct local *l, struct mountpath *m, struct hot *h, uint64_t offset, uint64_t len,
                      struct source **out)
{
    const struct extents_env env = {.cache = l->extents, .io = l->conf.io, .verify = l->conf.verify_reads};
    struct extent whole = {.id = h->rec.body, .len = h->rec.info.size};
    struct manifest mf;
    enum err e;

    if (len == 0 || h->rec.info.layout.n) {
        *out = source_memory(STR(""), NULL, NULL);
        return ERR_OK;
    }
    switch (h->rec.kind) {
    case BODY_INLINE:
        return inline_source(m, h, offset, len, out);
    case BODY_SEGMENT:
        *out = extent_source_new(&env, m->segments, &whole, 1, offset, len);
        return ERR_OK;
    case BODY_MANIFEST:
        if ((e = manifest_decode(h->body, &mf)) != ERR_OK)
            return e;
        if (offset + len > manifest_start(&mf, mf.count))
            return ERR_CORRUPT;
        *out = manifest_source(m, &env, &mf, offset, len);
        return ERR_OK;
    case BODY_EMPTY:
        break;
    }
    return ERR_CORRUPT; /* a size but no body */
}

bool local_hold(struct local *l, const struct hot *h, struct extent_hold *hold, struct arena *arena)
{
    struct manifest m = {0};
    struct extent *list;
    size_t n = 0;

    if (h->rec.kind == BODY_MANIFEST && manifest_decode(h->body, &m) != ERR_OK)
        return false; /* whoever reads it is told */
    list = arena_new(arena, (m.count + 1) * sizeof(*list));
    if (h->rec.kind == BODY_SEGMENT)
        list[n++] = (struct extent){.id = h->rec.body, .len = h->rec.info.size};
    for (uint32_t i = 0; i < m.count; i++) {
        struct manifest_part p;
        manifest_part(&m, i, &p);
        if (!segment_id_is_zero(&p.segment))
            list[n++] = (struct extent){.id = p.segment, .offset = p.offset, .len = p.end - manifest_start(&m, i)};
    }
    if (n)
        extent_cache_hold(l->extents, hold, list, n);
    return n > 0;
}

static enum step_next get_lookup(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    enum err e = lookup_now(&g->lookup);

    if (e == ERR_OK)
        return op_go(op, get_found);
    if (e != ERR_AGAIN)
        return op_fail(op, e);
    lookup_run(&g->lookup, op_call(op, get_found));
    return STEP_WAIT;
}

static enum step_next get_found(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    enum err e;

    g->hot = g->lookup.found;
    g->lookup.found = NULL;
    e = answer(g->hot, &g->req->head, false, &g->res->head);
    return e == ERR_OK ? op_go(op, get_open) : op_fail(op, e);
}

static enum step_next get_open(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    enum err e =
        local_source(g->lookup.local, g->lookup.mountpath, g->hot, g->res->head.offset, g->res->head.len, &g->body);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (g->hot->rec.kind != BODY_MANIFEST)
        return op_go(op, get_prepare);
    lookup_check(&g->lookup, g->hot, op_try(op, get_checked));
    return STEP_WAIT;
}

/* The body keeps its segments from now on. Those that it opens late may have been gone before: shared with what is there now, the
 * first one says nothing of them. */
static enum step_next get_checked(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    enum err e = op->call.err;

    if (e == ERR_OK)
        return op_go(op, get_prepare);
    source_close(g->body);
    g->body = NULL;
    if (e != ERR_CONFLICT)
        return op_fail(op, e);
    return ++g->tries > GET_TRIES ? op_fail(op, ERR_BUSY) : op_go(op, get_lookup);
}

static enum step_next get_prepare(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    struct span span;

    source_peek(g->body, &span);
    if (span.kind != SPAN_WAIT)
        return op_go(op, get_end);
    source_prepare(g->body, op_try(op, get_opened));
    return STEP_WAIT;
}

/* A file that is not there any more belonged to a record that was replaced meanwhile: there is a newer one to look up.
 * When there is none, the file is missing. */
static enum step_next get_opened(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    enum err e = op->call.err;

    if (e == ERR_OK)
        return op_go(op, get_end);
    if (e != ERR_NOT_FOUND)
        return op_fail(op, e);
    source_close(g->body);
    g->body = NULL;
    if (++g->tries > GET_TRIES)
        return op_fail(op, ERR_BUSY);
    if (segment_id_cmp(&g->gone, &g->hot->rec.body) == 0) {
        log_error(STR_NONE, "content missing", "mountpath=%s key=%s", log_quote(g->lookup.mountpath->dir),
                  log_quote(g->req->head.key));
        return op_fail(op, ERR_CORRUPT);
    }
    g->gone = g->hot->rec.body;
    return op_go(op, get_lookup);
}

static enum step_next get_end(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);

    if (g->lookup.found) /* cancelled before anyone took it */
        hot_unref(g->lookup.found);
    if (op->err == ERR_OK) {
        g->res->body = g->body;
        local_count_read(g->body->size);
    } else {
        source_close(g->body);
        g->res->body = NULL;
    }
    call_finish(g->whole, op->err);
    return STEP_DONE;
}

static void get_cancel(void *arg)
{
    op_cancel(&((struct get_op *)arg)->op, ERR_CANCELLED);
}

/* ERR_AGAIN: not in memory, or not small; u->found may be set. */
static enum err get_at_once(struct local *l, struct lookup *u, const struct obj_get_req *req, struct obj_get_res *res)
{
    struct source *body = NULL;
    enum err e = lookup_now(u);

    if (e == ERR_OK && u->found->rec.kind != BODY_INLINE && u->found->rec.kind != BODY_EMPTY)
        return ERR_AGAIN;
    if (e == ERR_OK)
        e = answer(u->found, &req->head, false, &res->head);
    if (e == ERR_OK)
        e = local_source(l, u->mountpath, u->found, res->head.offset, res->head.len, &body);
    if (e == ERR_OK)
        local_count_read(body->size);
    res->body = body;
    if (e != ERR_AGAIN)
        u->found = NULL;
    return e;
}

enum err local_get_now(struct store *s, const struct obj_get_req *req, struct obj_get_res *res)
{
    struct lookup u;
    enum err e;

    res->body = NULL;
    lookup_init(&u, local_of(s), local_at(s), req->head.bucket.uid, req->head.key, WANT_BODY);
    e = get_at_once(local_of(s), &u, req, res);
    if (e == ERR_AGAIN)
        hot_unref(u.found);
    return e;
}

void local_obj_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    struct local *l = local_of(s);
    struct lookup u;
    enum err e;

    res->body = NULL;
    lookup_init(&u, l, local_at(s), req->head.bucket.uid, req->head.key, WANT_BODY);
    e = get_at_once(l, &u, req, res);
    if (e != ERR_AGAIN) {
        call_finish(c, e);
        return;
    }
    struct get_op *g = ARENA_NEW(req->head.arena, struct get_op);
    g->lookup = u;
    g->req = req;
    g->res = res;
    g->whole = c;
    op_start(&g->op, c->loop, "local_get", u.found ? get_found : get_lookup, get_end);
    call_on_cancel(c, get_cancel, g);
}

/* ---- delete ---- */

struct delete_op {
    struct commit commit;
    const struct obj_delete_req *req;
    struct obj_delete_res *res, made;
    struct call *whole;
    struct call call;
    struct index_key key;
};

static enum err delete_apply(struct commit *m, struct txn *t)
{
    struct delete_op *d = CONTAINER(m, struct delete_op, commit);
    struct str key = index_key_str(&d->key);
    struct record old;
    enum err e, found;

    if ((e = txn_check_bucket(t, d->req->bucket.uid)) != ERR_OK)
        return e;
    if (d->req->of_version || d->req->bucket.versions)
        return txn_delete_version(t, d->req, &d->made);
    found = txn_object(t, key, &old);
    if (found != ERR_OK && found != ERR_NOT_FOUND)
        return found;
    if ((e = cond_check_delete(&d->req->cond, found == ERR_OK ? &old.info : NULL)) != ERR_OK)
        return e;
    if (found == ERR_NOT_FOUND)
        return ERR_OK;
    if ((e = txn_release_body(t, &old)) != ERR_OK)
        return e;
    txn_delete(t, key);
    txn_cache(t, key, NULL);
    d->made.existed = true;
    return ERR_OK;
}

static void delete_done(struct call *c)
{
    struct delete_op *d = CONTAINER(c, struct delete_op, call);

    if (c->err == ERR_OK)
        *d->res = d->made;
    call_finish(d->whole, c->err);
}

void local_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res, struct call *c)
{
    struct delete_op *d = arena_alloc(req->arena, sizeof(*d));

    d->req = req;
    d->res = res;
    d->whole = c;
    d->made = (struct obj_delete_res){0};
    d->call.state = CALL_IDLE;
    index_object(&d->key, req->bucket.uid, req->key);
    call_begin(&d->call, c->loop, delete_done);
    commit_submit(local_at(s)->committer, &d->commit, delete_apply, &d->call);
}
