#include "gateway/native_page.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/op.h"

#define SLASH STR("/")

/* An archive whose members may still come: "<shard>/" sorts behind all that was taken so far, or it is open. */
struct stream {
    struct str shard;
    struct str prefix, after; /* of members */
    struct arena arena;       /* of its page */
    struct arcs_list_req req;
    struct arcs_list_res res;
    struct str *names; /* of the page, with the archive's */
    uint32_t at;
    bool roll;   /* one row "<shard>/" if there is any member */
    bool loaded; /* res is a page */
    bool ended;  /* after the rest of the page */
};

struct head {
    struct obj_head_req req;
    struct obj_head_res res;
    struct group_call member;
    struct native_row row;
};

struct page_op {
    struct op op;
    const struct native_page_req *req;
    struct native_page_res *res;
    struct call *whole;
    struct arena objects_arena;
    struct obj_list_req list;
    struct obj_list_res objects;
    uint32_t at;
    bool listed, objects_end;
    struct stream *streams[NATIVE_STREAMS_MAX];
    size_t stream_count;
    struct stream *loading;
    uint32_t rows;
    bool full; /* says the sink */
    struct buf last;
    struct arena heads_arena;
    struct head heads[NATIVE_HEADS_MAX];
    unsigned head_count;
    struct call_group group;
};

/* The life of a page. page_next goes on until it needs something. */
static step_fn page_next, page_objects, page_members, page_heads, page_end;

enum { LAST_MAX = 64 << 10 };

/* ---- archives ---- */

static void stream_free(struct stream *s)
{
    arena_release(&s->arena);
    free((void *)(uintptr_t)s->shard.p);
    free((void *)(uintptr_t)s->after.p);
    free(s);
}

static void drop_stream(struct page_op *p, size_t at)
{
    stream_free(p->streams[at]);
    p->streams[at] = p->streams[--p->stream_count];
}

static struct str heap_str(struct str s)
{
    char *p = mem_alloc(s.n + 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    return str_n(p, s.n);
}

/* `after` and `prefix` are the whole listing's. */
static enum err add_stream(struct page_op *p, struct str shard)
{
    struct str prefix = p->req->prefix, after = p->req->after, rest = STR("");
    bool inside = prefix.n > shard.n; /* then it is "<shard>/..." */
    bool begun = after.n > shard.n && str_starts(after, shard) && after.p[shard.n] == '/';
    struct stream *s;

    if (begun)
        rest = str_skip(after, shard.n + 1);
    if (begun && p->req->one_level && !inside)
        return ERR_OK; /* its only row is behind us */
    if (p->stream_count == NATIVE_STREAMS_MAX)
        return ERR_TOO_LARGE;
    s = NEW(struct stream);
    *s = (struct stream){.shard = heap_str(shard), .after = heap_str(rest), .roll = p->req->one_level && !inside};
    s->prefix = inside ? str_skip(prefix, shard.n + 1) : STR("");
    p->streams[p->stream_count++] = s;
    return ERR_OK;
}

/* Archives that the listing begins within or right behind: their own rows are not in this page, their members may be. */
static enum err add_begun(struct page_op *p)
{
    struct str prefix = p->req->prefix, after = p->req->after;
    enum err e = ERR_OK;

    for (size_t i = 1; i < prefix.n && e == ERR_OK; i++) /* the prefix reaches into it */
        if (prefix.p[i] == '/' && p->req->is_archive(str_n(prefix.p, i)) &&
            (str_cmp(after, str_n(prefix.p, i + 1)) <= 0 || str_starts(after, str_n(prefix.p, i + 1))))
            e = add_stream(p, str_n(prefix.p, i));
    if (!str_starts(after, prefix))
        return e;
    for (size_t i = prefix.n ? prefix.n : 1; i <= after.n && e == ERR_OK; i++)
        if ((i == after.n || (uint8_t)after.p[i] <= '/') && p->req->is_archive(str_n(after.p, i)) &&
            !(p->req->one_level && str_find_char(str_n(after.p + prefix.n, i - prefix.n), '/') != SIZE_MAX))
            e = add_stream(p, str_n(after.p, i));
    return e;
}

static enum step_next load_members(struct page_op *p, struct stream *s)
{
    struct str after = s->after;

    if (s->loaded && s->res.count > 0) { /* its page goes, and the name with it */
        after = heap_str(s->res.entries[s->res.count - 1].name);
        free((void *)(uintptr_t)s->after.p);
        s->after = after;
    }
    arena_release(&s->arena);
    s->arena.id = p->req->arena->id;
    s->req = (struct arcs_list_req){.archive = {.arena = &s->arena, .bucket = p->req->bucket, .key = s->shard},
                                    .prefix = s->prefix,
                                    .delimiter = p->req->one_level && !s->roll ? SLASH : STR(""),
                                    .after = after,
                                    .max = s->roll ? 1 : NATIVE_MEMBERS_PAGE};
    s->res = (struct arcs_list_res){.count = 0};
    s->at = 0;
    p->loading = s;
    p->req->members(p->req->arcs, &s->req, &s->res, op_try(&p->op, page_members));
    return STEP_WAIT;
}

static enum step_next page_members(struct op *op)
{
    struct page_op *p = OP(op, struct page_op);
    struct stream *s = p->loading;
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_KEY && e != ERR_NOT_FOUND && e != ERR_BAD_ARCHIVE)
        return op_fail(op, e);
    if (e != ERR_OK)
        s->res.count = 0;
    if (e == ERR_BAD_ARCHIVE)
        log_info(p->req->arena->id, "an archive can't be listed", "key=%s why=%s", log_quote(s->shard),
                 log_quote(str_z(s->res.why)));
    s->loaded = true;
    s->ended = s->roll || e != ERR_OK || !s->res.truncated || !s->res.count;
    s->names = arena_alloc(&s->arena, s->res.count * sizeof(*s->names) + 1);
    for (uint32_t i = 0; i < s->res.count; i++) {
        struct str name = s->roll ? STR("") : s->res.entries[i].name;
        s->names[i] = arena_printf(&s->arena, STR_FMT "/" STR_FMT, STR_ARG(s->shard), STR_ARG(name));
    }
    return op_go(op, page_next);
}

/* ---- objects ---- */

static enum step_next load_objects(struct page_op *p)
{
    uint32_t want = p->req->max - p->rows;
    struct str after =
        p->listed ? arena_str(p->req->arena, p->objects.entries[p->objects.count - 1].key) : p->req->after;

    arena_release(&p->objects_arena);
    p->objects_arena.id = p->req->arena->id;
    p->list = (struct obj_list_req){.arena = &p->objects_arena,
                                    .bucket = p->req->bucket,
                                    .prefix = p->req->prefix,
                                    .delimiter = p->req->one_level ? SLASH : STR(""),
                                    .after = after,
                                    .max = want < LIST_MAX && !p->req->absent_only ? want : LIST_MAX,
                                    .cached = p->req->cached};
    p->at = 0;
    p->listed = true;
    store_obj_list(p->req->store, &p->list, &p->objects, op_call(&p->op, page_objects));
    return STEP_WAIT;
}

static enum step_next page_objects(struct op *op)
{
    struct page_op *p = OP(op, struct page_op);

    p->objects_end = !p->objects.truncated || !p->objects.count;
    return op_go(op, page_next);
}

/* ---- the order ---- */

/* The next name of a stream, or what all of them begin with while it isn't open. */
static struct str stream_head(const struct stream *s, struct arena *a)
{
    return s->loaded ? s->names[s->at] : arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(s->shard), STR_ARG(s->prefix));
}

/* Position of the stream that is next, SIZE_MAX: the objects are. */
static size_t lowest(const struct page_op *p, struct arena *scratch)
{
    bool objects = p->at < p->objects.count;
    struct str best = objects ? p->objects.entries[p->at].key : STR_NONE;
    size_t at = SIZE_MAX;

    for (size_t i = 0; i < p->stream_count; i++) {
        struct str name = stream_head(p->streams[i], scratch);
        int order = best.p ? str_cmp(name, best) : -1;
        if (order < 0 || (order == 0 && !p->streams[i]->loaded)) { /* one that isn't open could have that very name */
            best = name;
            at = i;
        }
    }
    return at;
}

static struct native_row object_row(const struct page_op *p, const struct list_entry *e)
{
    bool tells = p->req->bucket.backend && p->req->cached == LIST_TELL_CACHED; /* e->absent is set then */
    bool absent = tells && !e->is_prefix && e->absent;
    struct native_row row = {e->key, e->size, e->mtime_ns, e->is_prefix ? ROW_DIR : absent ? 0 : ROW_CACHED, NULL};

    /* what only the remote has would have to be fetched as a whole to be looked into */
    if (!e->is_prefix && !absent && p->req->expand && p->req->is_archive(e->key))
        row.flags |= ROW_ARCHIVE;
    return row;
}

static struct native_row member_row(const struct stream *s)
{
    const struct arcs_entry *e = &s->res.entries[s->at];
    bool dir = s->roll || e->is_prefix;

    return (struct native_row){s->names[s->at], dir ? 0 : e->size, dir ? 0 : e->mtime_ns,
                               dir ? ROW_DIR : ROW_CACHED | ROW_MEMBER, NULL};
}

static void note_last(struct page_op *p, struct str name)
{
    buf_reset(&p->last);
    buf_add_str(&p->last, name);
}

static void take_row(struct page_op *p, const struct native_row *row)
{
    p->rows++;
    if (!p->req->heads) {
        p->full |= !p->req->row(p->req->arg, row);
    } else {
        struct head *h = &p->heads[p->head_count++];
        h->row = *row;
        h->row.name = arena_str(&p->heads_arena, row->name);
    }
    if (p->rows == p->req->max || p->full || p->req->heads)
        note_last(p, row->name);
}

/* Takes the row of stream `at`, or of the objects. A name is shown once, by whom it came first: the object. */
static enum err take(struct page_op *p, size_t at)
{
    struct native_row row;
    enum err e = ERR_OK;

    if (at == SIZE_MAX) {
        row = object_row(p, &p->objects.entries[p->at]);
        for (size_t i = 0; i < p->stream_count; i++)
            if (p->streams[i]->loaded && str_eq(p->streams[i]->names[p->streams[i]->at], row.name))
                p->streams[i]->at++;
        p->at++;
        if (p->req->absent_only && row.flags & ROW_CACHED)
            return e;
        take_row(p, &row);
        return row.flags & ROW_ARCHIVE ? add_stream(p, row.name) : e;
    }
    row = member_row(p->streams[at]);
    for (size_t i = 0; i < p->stream_count; i++)
        if (i != at && p->streams[i]->loaded && str_eq(p->streams[i]->names[p->streams[i]->at], row.name))
            p->streams[i]->at++;
    take_row(p, &row);
    p->streams[at]->at++;
    return e;
}

static bool is_spent(const struct stream *s)
{
    return s->loaded && s->at == s->res.count;
}

static enum step_next ask_heads(struct page_op *p);

static enum step_next page_next(struct op *op)
{
    struct page_op *p = OP(op, struct page_op);
    struct arena scratch = ARENA_INIT;

    while (p->rows < p->req->max && !p->full) {
        if (p->head_count == NATIVE_HEADS_MAX)
            return ask_heads(p);
        if (p->at == p->objects.count && !p->objects_end)
            return load_objects(p);
        for (size_t i = p->stream_count; i-- > 0;)
            if (is_spent(p->streams[i]) && p->streams[i]->ended)
                drop_stream(p, i);
            else if (is_spent(p->streams[i]))
                return load_members(p, p->streams[i]);
        size_t at = lowest(p, &scratch);
        arena_release(&scratch);
        if (at == SIZE_MAX && p->at == p->objects.count)
            break;
        if (at != SIZE_MAX && !p->streams[at]->loaded)
            return load_members(p, p->streams[at]);
        enum err e = take(p, at);
        if (e != ERR_OK)
            return op_fail(op, e);
    }
    if (p->head_count)
        return ask_heads(p);
    return op_go(op, page_end);
}

/* ---- what only a HEAD tells ---- */

static bool is_here(const struct native_row *row)
{
    return row->flags & ROW_CACHED && !(row->flags & ROW_MEMBER);
}

static enum step_next ask_heads(struct page_op *p)
{
    struct call *whole = op_try(&p->op, page_heads);

    call_group_init(&p->group, whole);
    for (unsigned i = 0; i < p->head_count; i++) {
        struct head *h = &p->heads[i];
        if (!is_here(&h->row))
            continue;
        h->req = (struct obj_head_req){
            .arena = &p->heads_arena, .bucket = p->req->bucket, .key = h->row.name, .cond = COND_INIT, .cached = true};
        store_obj_head(p->req->store, &h->req, &h->res, group_call(&p->group, &h->member));
    }
    call_group_seal(&p->group);
    return STEP_WAIT;
}

static enum step_next page_heads(struct op *op)
{
    struct page_op *p = OP(op, struct page_op);
    enum err failed = p->op.cancelled ? ERR_CANCELLED : ERR_OK;

    for (unsigned i = 0; i < p->head_count && failed == ERR_OK; i++) {
        struct head *h = &p->heads[i];
        bool object = is_here(&h->row);
        if (object && (h->member.call.err == ERR_NO_SUCH_KEY || h->member.call.err == ERR_NOT_FOUND))
            continue; /* deleted meanwhile */
        if (object && h->member.call.err != ERR_OK) {
            failed = h->member.call.err;
            break;
        }
        if (object)
            h->row.info = &h->res.info;
        p->full |= !p->req->row(p->req->arg, &h->row);
    }
    p->head_count = 0;
    arena_release(&p->heads_arena);
    if (failed != ERR_OK)
        return op_fail(op, failed);
    return op_go(op, page_next);
}

/* ---- the end ---- */

static bool more(const struct page_op *p)
{
    if (p->at < p->objects.count || !p->objects_end)
        return true;
    for (size_t i = 0; i < p->stream_count; i++)
        if (!is_spent(p->streams[i]) || !p->streams[i]->ended)
            return true;
    return false;
}

static enum step_next page_end(struct op *op)
{
    struct page_op *p = OP(op, struct page_op);
    enum err e = op->err;

    if (e == ERR_OK && (p->rows == p->req->max || p->full) && more(p)) {
        p->res->last = arena_str(p->req->arena, buf_str(&p->last));
        e = buf_err(&p->last);
    }
    for (size_t i = p->stream_count; i-- > 0;)
        drop_stream(p, i);
    arena_release(&p->objects_arena);
    arena_release(&p->heads_arena);
    buf_release(&p->last);
    call_finish(p->whole, e);
    free(p);
    return STEP_DONE;
}

static enum step_next page_begin(struct op *op)
{
    struct page_op *p = OP(op, struct page_op);
    enum err e = p->req->expand ? add_begun(p) : ERR_OK;

    return e == ERR_OK ? op_go(op, page_next) : op_fail(op, e);
}

static void page_cancel(void *op)
{
    op_cancel(op, ERR_CANCELLED);
}

void native_page(const struct native_page_req *req, struct native_page_res *res, struct call *call)
{
    struct page_op *p = NEW(struct page_op);

    *p = (struct page_op){.req = req, .res = res, .whole = call};
    buf_init(&p->last, LAST_MAX);
    res->last = STR("");
    call_on_cancel(call, page_cancel, &p->op);
    op_start(&p->op, call->loop, "native_page", page_begin, page_end);
}
