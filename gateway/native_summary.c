/* summary-bck and the SDK's info(): sums over a bucket's objects. The first request gets an id and no more; those that come back with it count
 * on from where the one before ended, each for some seconds, and the one that gets to the end answers. So nothing runs for clients that
 * are gone, and any gateway can be asked: what an id is about stands in the request or in the id itself. */
#include "base/clock.h"
#include "gateway/native_counts.h"
#include "gateway/native_request.h"
#include "gateway/native_shared.h"
#include "gateway/native_steps.h"

enum {
    SLICE_MS = 4000, /* of one request; clients wait for an answer 20 s by default */
    ID_BEFORE = 13,  /* "s" or "i" and 12 letters; behind them "i" has its prefix in base64url */
};

struct summary {
    struct native_request *request;
    bool is_info;
    bool remote;                /* what only the remote bucket has counts, too */
    struct str id, key, prefix; /* key: of the count */
    struct count count;
    bool taken;
    uint64_t began_ns;
    struct arena arena; /* of a page */
    struct obj_list_req req;
    struct obj_list_res res;
};

static step_fn summary_page, summary_add, summary_send;

/* ---- ids ---- */

static struct str new_id(struct native_request *r, const struct summary *s)
{
    struct str id = native_new_id(r->arena, s->is_info ? "i" : "s");
    char *text;

    if (!s->is_info || !s->prefix.n)
        return id;
    text = arena_alloc(r->arena, BASE64_LEN(s->prefix.n));
    return arena_printf(r->arena, STR_FMT "%.*s", STR_ARG(id), (int)base64url_encode(s->prefix.p, s->prefix.n, text),
                        text);
}

static enum err read_id(struct native_request *r, struct summary *s)
{
    struct str id = s->id, rest;
    char *prefix = arena_alloc(r->arena, KEY_MAX + 3);
    size_t n = 0;
    bool good = id.n >= ID_BEFORE && id.n <= COUNT_ID_MAX && id.p[0] == (s->is_info ? 'i' : 's');

    rest = good ? str_skip(id, ID_BEFORE) : STR("");
    if (good && s->is_info && rest.n)
        good = base64url_decode(rest, prefix, KEY_MAX, &n) && n > 0;
    else
        good = good && !rest.n;
    if (good && s->is_info)
        s->prefix = str_n(prefix, n);
    if (good)
        return ERR_OK;
    r->error_status = 404;
    return native_error(r, ERR_NOT_FOUND, "there is no summary \"" STR_FMT "\"", STR_ARG(id));
}

/* ---- counting ---- */

/* The request's end, also when the client went: what was counted so far is kept. */
static void give_back(void *arg)
{
    struct summary *s = arg;

    if (s->taken)
        native_counts_give(s->request->env->shared->counts, s->request->bucket.found.id.uid, s->key, &s->count);
    arena_release(&s->arena);
}

static enum step_next answer_later(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct summary *s = r->state;

    r->status = 202;
    if (s->is_info) {
        native_bucket_headers(r, &r->bucket);
        native_header(r, STR("Ais-Xaction-Id"), s->id);
        r->stated_length = 0;
        return op_go(op, native_send);
    }
    r->type = STR("text/plain");
    buf_add_str(&r->text, s->id);
    return op_go(op, native_send);
}

static enum step_next begin(struct op *op, struct summary *s)
{
    struct native_request *r = NATIVE(op);
    struct native_counts *counts = r->env->shared->counts;
    enum err e;

    if (!s->id.n) {
        s->id = new_id(r, s);
        return answer_later(op);
    }
    if ((e = read_id(r, s)) != ERR_OK)
        return op_fail(op, e);
    s->key = arena_printf(r->arena, STR_FMT "%s" STR_FMT, STR_ARG(s->id), s->remote ? "+" : "/",
                          STR_ARG(s->is_info ? STR("") : s->prefix));
    if (!native_counts_take(counts, r->arena, r->bucket.found.id.uid, s->key, &s->count))
        return answer_later(op); /* another request counts */
    s->taken = !s->count.done;
    s->began_ns = clock_mono_ns();
    return op_go(op, s->count.done ? summary_send : summary_page);
}

static struct summary *summary_new(struct native_request *r)
{
    struct summary *s = ARENA_NEW(r->arena, struct summary);

    s->request = r;
    s->count = (struct count)COUNT_INIT;
    r->state = s;
    arena_defer(r->arena, give_back, s);
    return s;
}

static enum step_next summary_page(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct summary *s = r->state;

    arena_release(&s->arena);
    s->arena.id = r->arena->id;
    s->req = (struct obj_list_req){.arena = &s->arena,
                                   .bucket = r->bucket.found.id,
                                   .prefix = s->prefix,
                                   .after = s->count.after,
                                   .max = LIST_MAX,
                                   .cached = s->remote ? LIST_TELL_CACHED : LIST_ONLY_CACHED};
    store_obj_list(r->env->s3->store, &s->req, &s->res, op_try(op, summary_add));
    return STEP_WAIT;
}

static void add_entry(struct count *c, const struct list_entry *e, bool remote)
{
    if (remote) {
        c->remote_objects++;
        c->remote_bytes += e->size;
    }
    if (!remote || !e->absent) /* only told then */
        count_add(c, e->size);
}

static enum step_next summary_add(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct summary *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, STR_NONE));
    for (uint32_t i = 0; i < s->res.count; i++)
        add_entry(&s->count, &s->res.entries[i], s->remote);
    if (s->res.count > 0)
        s->count.after = arena_str(r->arena, s->res.entries[s->res.count - 1].key);
    s->count.done = !s->res.truncated || s->res.count == 0;
    if (s->count.done)
        return op_go(op, summary_send);
    if (clock_mono_ns() - s->began_ns > SLICE_MS * UINT64_C(1000000))
        return answer_later(op);
    return op_go(op, summary_page);
}

/* ---- the answer ---- */

/* int64 with Go's string tag */
static void add_text(struct native_request *r, struct buf *b, const char *key, uint64_t v)
{
    js_put_str(b, key, arena_u64(r->arena, v));
}

/* Copies, and slices of parity, take room too. */
static uint64_t on_disk(struct redundancy d, uint64_t bytes)
{
    if (d.kind == REDUNDANCY_MIRROR || d.kind == REDUNDANCY_REPLICAS)
        return bytes * d.data;
    return d.kind == REDUNDANCY_EC ? bytes / d.data * (d.data + d.parity) : bytes;
}

static void write_summary(struct native_request *r, struct buf *b, const struct summary *s)
{
    static const char *const names[] = {"ais", "aws", "gcp", "azure", "oci"};
    const struct count *c = &s->count;

    js_object(b);
    js_put_str(b, "name", r->bucket.name);
    js_put_str(b, "provider", str_z(names[r->bucket.provider]));
    js_key(b, STR("namespace"));
    js_object(b);
    js_put_str(b, "uuid", r->bucket.uuid);
    js_put_str(b, "name", r->bucket.space);
    js_end_object(b);
    js_key(b, STR("ObjCount"));
    js_object(b);
    add_text(r, b, "obj_count_present", c->objects);
    add_text(r, b, "obj_count_remote", c->remote_objects);
    js_end_object(b);
    js_key(b, STR("ObjSize"));
    js_object(b);
    js_put_u64(b, "obj_min_size", c->objects ? c->least : 0);
    js_put_u64(b, "obj_avg_size", c->objects ? c->bytes / c->objects : 0);
    js_put_u64(b, "obj_max_size", c->most);
    js_end_object(b);
    js_key(b, STR("TotalSize"));
    js_object(b);
    add_text(r, b, "size_on_disk", on_disk(r->bucket.found.id.redundancy, c->bytes));
    add_text(r, b, "size_all_present_objs", c->bytes);
    add_text(r, b, "size_all_remote_objs", c->remote_bytes);
    add_text(r, b, "total_disks_size", 0);
    js_end_object(b);
    js_put_u64(b, "used_pct", 0);
    js_put_bool(b, "is_present", true);
    js_end_object(b);
}

static enum step_next summary_send(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct summary *s = r->state;
    struct buf *b = &r->text;

    if (!s->is_info) {
        js_array(b);
        write_summary(r, b, s);
        js_end_array(b);
        return op_go(op, native_send);
    }
    write_summary(r, b, s);
    native_bucket_headers(r, &r->bucket);
    native_header(r, STR("Ais-Bucket-Summ"), arena_str(r->arena, buf_str(b)));
    buf_reset(b);
    r->stated_length = 0;
    return op_go(op, native_send);
}

/* ---- the two calls ---- */

enum step_next native_summary(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct summary *s = summary_new(r);

    if (r->action.value && r->action.value->kind != DOC_MAP)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "the value of \"summary-bck\" must be an object"));
    s->id = native_text(r->action.value, "uuid");
    s->prefix = native_text(r->action.value, "prefix");
    s->remote = r->bucket.found.id.backend && !native_flag(r->action.value, "cached");
    if (s->prefix.n > KEY_MAX)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "the prefix is longer than any name"));
    return begin(op, s);
}

/* HEAD /buckets/B/PREFIX, then HEAD /buckets/B?uuid=. */
enum step_next native_info(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct summary *s = summary_new(r);

    s->is_info = true;
    s->id = native_query(r, STR("uuid"));
    s->remote = r->bucket.found.id.backend && native_query_bool(r, STR("bsumm_remote"));
    s->prefix = r->object;
    if (s->prefix.n > KEY_MAX)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "the prefix is longer than any name"));
    return begin(op, s);
}
