/* A listing with members: a merge of the objects' stream with one stream per archive.
 *
 * What is below "a.tar" lies in order behind "a.tar-b" and before "a.tar0", since "/" does: so an archive's stream is opened when its
 * object passes, and read when it is its turn. Archives whose objects were passed on an earlier page, or never are because the
 * prefix reaches into them, are among the beginnings of prefix and marker. */
#include "s3api/member.h"
#include "s3api/name.h"

enum { OBJECTS_AT_FIRST = 128, SKIPPING_PAGE = 64 };

enum stream_kind {
    STREAM_INSIDE, /* the prefix reaches into the archive: its own listing has the delimiter */
    STREAM_FOLDER, /* delimiter "/": all of it is "a.tar/", by the name alone */
    STREAM_ALL,    /* every member; another delimiter is applied to whole keys */
};

struct stream {
    struct stream *next;
    enum stream_kind kind;
    struct str key;   /* of the archive */
    struct str base;  /* key + "/" */
    struct str after; /* members behind this one */
    struct str bound; /* not behind its first entry, while it isn't loaded */
    bool certain;     /* the object was seen */
    bool loaded, more;
    struct list_entry *entries;
    uint32_t count, at;
};

struct list_op {
    struct op op;
    struct s3_request *r;
    const struct obj_list_req *req;
    struct obj_list_res *res;
    struct list_entry *entries;
    struct call *whole;
    struct str last; /* emitted; p == NULL: none */
    /* objects */
    struct obj_list_req list;
    struct obj_list_res listed;
    uint32_t at;
    bool ended;
    /* members */
    struct stream *streams, *loading;
    struct arcs_list_req members;
    struct arcs_list_res page;
    struct obj_head_req head;
    struct obj_head_res headed;
};

static step_fn list_begin, list_objects_read, list_merge, list_stream_read, list_folder_found, list_end;

/* ---- streams ---- */

static struct str join(struct arena *a, struct str x, struct str y)
{
    char *p = arena_alloc(a, x.n + y.n + 1);

    if (x.n)
        memcpy(p, x.p, x.n);
    if (y.n)
        memcpy(p + x.n, y.p, y.n);
    p[x.n + y.n] = 0;
    return str_n(p, x.n + y.n);
}

/* Nothing when no key of it can be on this page or later. */
static void add_stream(struct list_op *l, struct str key, bool certain)
{
    const struct obj_list_req *q = l->req;
    struct arena *arena = l->r->arena;
    struct str base = join(arena, key, STR("/")), common;
    struct stream *s;

    if ((!str_starts(base, q->prefix) && !str_starts(q->prefix, base)) || base.n > KEY_MAX ||
        (str_starts(key, q->prefix) && key_rolls_up(key, q->prefix, q->delimiter, &common)))
        return;
    if (!str_starts(q->after, base) && str_cmp(q->after, base) > 0)
        return;
    s = ARENA_NEW(arena, struct stream);
    s->key = key;
    s->base = base;
    s->certain = certain;
    s->kind = str_starts(q->prefix, base) ? STREAM_INSIDE : str_eq(q->delimiter, STR("/")) ? STREAM_FOLDER : STREAM_ALL;
    s->after = str_starts(q->after, base) ? str_skip(q->after, base.n) : STR("");
    s->bound = join(arena, base, s->after);
    if (s->kind == STREAM_FOLDER && str_starts(q->after, base))
        return;
    s->next = l->streams;
    l->streams = s;
}

static void drop_stream(struct list_op *l, struct stream *s)
{
    struct stream **at = &l->streams;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

/* Archives that are beginnings of `of`, from_n to to_n bytes long. */
static void add_beginnings(struct list_op *l, struct str of, size_t from_n, size_t to_n)
{
    for (size_t n = from_n ? from_n : 1; n <= to_n; n++)
        if (arc_format_of_name(str_n(of.p, n)) != ARC_NONE)
            add_stream(l, str_n(of.p, n), false);
}

static struct str stream_head(const struct stream *s)
{
    return s->loaded ? s->entries[s->at].key : s->bound;
}

static struct stream *first_stream(const struct list_op *l)
{
    struct stream *first = l->streams;

    for (struct stream *s = first; s; s = s->next)
        if (str_cmp(stream_head(s), stream_head(first)) < 0)
            first = s;
    return first;
}

/* ---- reading ahead ---- */

static uint32_t page_of(uint32_t wanted)
{
    return wanted < LIST_MAX ? wanted : LIST_MAX;
}

static enum step_next load_objects(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);
    uint32_t left = l->req->max - l->res->count + 1;
    bool roll = l->req->delimiter.n > 0;

    if (l->listed.count)
        l->list.after = l->listed.entries[l->listed.count - 1].key;
    /* without a delimiter the first shards fill the page, more often than not */
    l->list.max = page_of(!roll && !l->listed.count && left > OBJECTS_AT_FIRST ? OBJECTS_AT_FIRST : left);
    store_obj_list(l->r->env->store, &l->list, &l->listed, op_call(op, list_objects_read));
    return STEP_WAIT;
}

static enum step_next list_objects_read(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);

    l->at = 0;
    l->ended = l->listed.count == 0 || !l->listed.truncated;
    return op_go(op, list_merge);
}

static enum step_next load_stream(struct op *op, struct stream *s)
{
    struct list_op *l = OP(op, struct list_op);
    struct arena *arena = l->r->arena;
    uint32_t left = l->req->max - l->res->count + 2;

    l->loading = s;
    if (s->kind == STREAM_FOLDER) {
        l->head = (struct obj_head_req){.arena = arena, .bucket = l->r->bucket.id, .key = s->key, .cond = COND_INIT};
        store_obj_head(l->r->env->store, &l->head, &l->headed, op_try(op, list_folder_found));
        return STEP_WAIT;
    }
    l->members = (struct arcs_list_req){.archive = {arena, l->r->bucket.id, s->key, ARC_NONE},
                                        .prefix = STR(""),
                                        .delimiter = STR(""),
                                        .after = s->after};
    l->members.max = page_of(left);
    if (s->kind == STREAM_INSIDE) {
        l->members.prefix = str_skip(l->req->prefix, s->base.n);
        l->members.delimiter = l->req->delimiter;
    } else if (l->req->delimiter.n && left > SKIPPING_PAGE) {
        l->members.max = SKIPPING_PAGE;
    }
    arcs_list(l->r->env->arcs, &l->members, &l->page, op_try(op, list_stream_read));
    return STEP_WAIT;
}

static void folder_entry(struct list_op *l, struct stream *s)
{
    s->entries = ARENA_NEW(l->r->arena, struct list_entry);
    s->entries[0] = (struct list_entry){.key = s->base, .is_prefix = true};
    s->count = 1;
    s->at = 0;
    s->loaded = true;
}

static enum step_next list_folder_found(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);

    if (op->call.err == ERR_OK)
        folder_entry(l, l->loading);
    else if (op->call.err == ERR_NO_SUCH_KEY)
        drop_stream(l, l->loading);
    else
        return op_fail(op, op->call.err);
    return op_go(op, list_merge);
}

/* Members whose keys no client could ask for are left out. */
static void take_page(struct list_op *l, struct stream *s)
{
    const struct arcs_list_res *p = &l->page;

    s->entries = arena_alloc(l->r->arena, (p->count + 1) * sizeof(*s->entries));
    s->count = s->at = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct arcs_entry *e = &p->entries[i];
        struct list_entry *out = &s->entries[s->count];
        *out = (struct list_entry){.key = join(l->r->arena, s->base, e->name),
                                   .is_prefix = e->is_prefix,
                                   .size = e->size,
                                   .mtime_ns = e->mtime_ns,
                                   .etag = e->etag,
                                   .checksum_alg = HASH_CRC32,
                                   .checksum_type = CHECKSUM_FULL_OBJECT};
        s->count += name_check_key(out->key) == ERR_OK;
    }
    s->more = p->truncated && p->count;
    if (p->count) {
        s->after = p->entries[p->count - 1].name;
        s->bound = join(l->r->arena, s->base, s->after);
    }
    s->loaded = s->count > 0;
    if (!s->loaded && !s->more)
        drop_stream(l, s);
}

static enum step_next list_stream_read(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);
    enum err e = op->call.err;

    if (e == ERR_OK)
        take_page(l, l->loading);
    else if (e == ERR_NO_SUCH_KEY || e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE)
        drop_stream(l, l->loading);
    else
        return op_fail(op, e);
    return op_go(op, list_merge);
}

/* ---- the merge ---- */

/* False: the page is full, and there is more. */
static bool emit(struct list_op *l, const struct list_entry *e)
{
    if (str_cmp(e->key, l->req->after) <= 0 || (l->last.p && str_eq(l->last, e->key)))
        return true;
    if (l->res->count == l->req->max) {
        l->res->truncated = true;
        return false;
    }
    l->entries[l->res->count++] = *e;
    l->last = e->key;
    return true;
}

static bool emit_object(struct list_op *l)
{
    const struct list_entry *e = &l->listed.entries[l->at++];

    if (!emit(l, e))
        return false;
    if (!e->is_prefix && arc_format_of_name(e->key) != ARC_NONE)
        add_stream(l, e->key, true);
    return true;
}

/* Goes on behind everything that `common` stands for. No name has the byte 0xFF: it would be no UTF-8, and not listed. */
static void skip_common(struct list_op *l, struct stream *s, struct str common)
{
    if (common.n < s->base.n) {
        drop_stream(l, s);
        return;
    }
    s->after = join(l->r->arena, str_skip(common, s->base.n), STR("\xFF"));
    s->bound = join(l->r->arena, s->base, s->after);
    s->loaded = false;
}

static bool emit_member(struct list_op *l, struct stream *s)
{
    struct list_entry e = s->entries[s->at++];
    struct str common;
    bool rolls = s->kind == STREAM_ALL && key_rolls_up(e.key, l->req->prefix, l->req->delimiter, &common);

    if (rolls)
        e = (struct list_entry){.key = common, .is_prefix = true};
    if (!emit(l, &e))
        return false;
    if (rolls) {
        skip_common(l, s, common);
    } else if (s->at == s->count) {
        s->loaded = false;
        if (!s->more)
            drop_stream(l, s);
    }
    return true;
}

static enum step_next list_merge(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);
    bool room = true;

    while (room) {
        bool object = l->at < l->listed.count;
        struct stream *s = first_stream(l);
        if (!object && !l->ended)
            return load_objects(op);
        if (!object && !s)
            break;
        if (!s || (object && str_cmp(l->listed.entries[l->at].key, stream_head(s)) < 0))
            room = emit_object(l);
        else if (s->loaded)
            room = emit_member(l, s);
        else if (s->kind == STREAM_FOLDER && s->certain)
            folder_entry(l, s);
        else
            return load_stream(op, s);
    }
    return op_go(op, list_end);
}

/* ---- the operation ---- */

static enum step_next list_begin(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);

    struct str prefix = l->req->prefix, after = l->req->after;

    if (prefix.n)
        add_beginnings(l, prefix, 1, prefix.n - 1);
    if (str_starts(after, prefix)) /* else its archive is the prefix's, or its key passes */
        add_beginnings(l, after, prefix.n, after.n);
    return load_objects(op);
}

static enum step_next list_end(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);

    call_finish(l->whole, op->err);
    return STEP_DONE;
}

static void list_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void member_list(struct s3_request *r, const struct obj_list_req *req, struct obj_list_res *res, struct call *call)
{
    struct list_op *l = ARENA_NEW(r->arena, struct list_op);

    *res = (struct obj_list_res){.entries = l->entries =
                                     arena_alloc(r->arena, (req->max ? req->max : 1) * sizeof(*l->entries))};
    l->r = r;
    l->req = req;
    l->res = res;
    l->whole = call;
    l->list = *req;
    op_start(&l->op, call->loop, "list_members", list_begin, list_end);
    call_on_cancel(call, list_cancel, &l->op);
}
