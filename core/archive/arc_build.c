#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_scan.h"
#include "archive/arc_zip.h"
#include "base/mem.h"
#include "base/op.h"

enum { PIECE = 512 << 10, WINDOW = 256 << 10 };

struct build {
    struct op op;
    const struct arc_build_req *req;
    struct arc_build_res *res;
    struct call *whole;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_get_req get_req;
    struct obj_get_res got;
    struct source_fill fill;
    struct offload_task task;
    struct str if_match;
    enum arc_format format;
    struct arc_scan *scan;
    char *buf;
    size_t buf_max, n;
    /* ZIP */
    struct arc_zip_end end;
    struct arc_zip zip;
    char *names;     /* the directory's bytes: entries borrow their names from it */
    uint32_t next;   /* in the order of places */
    uint64_t window; /* where what is in buf begins */
};

/* the head, then either the whole content or a ZIP's directory and local headers */
static step_fn build_head, build_first, build_magic, build_begin, build_stream, build_read, build_fed, zip_tail,
    zip_found, zip_directory, zip_parsed, zip_begin, zip_locals, zip_window, zip_indexed, build_end;

static uint64_t size_of(const struct build *b)
{
    return b->head.info.size;
}

static enum step_next build_head(struct op *op)
{
    struct build *b = OP(op, struct build);

    b->head_req =
        (struct obj_head_req){.arena = b->req->arena, .bucket = b->req->bucket, .key = b->req->key, .cond = COND_INIT};
    store_obj_head(b->req->store, &b->head_req, &b->head, op_call(op, build_first));
    return STEP_WAIT;
}

/* A range of the very object that the head was of. */
static void get(struct build *b, uint64_t offset, uint64_t n, struct call *call)
{
    b->got = (struct obj_get_res){.body = NULL};
    b->get_req =
        (struct obj_get_req){{.arena = b->req->arena, .bucket = b->req->bucket, .key = b->req->key, .cond = COND_INIT}};
    b->get_req.head.cond.if_match = b->if_match;
    if (n < size_of(b))
        b->get_req.head.range = (struct range){RANGE_FROM_TO, offset, offset + n - 1};
    store_obj_get(b->req->store, &b->get_req, &b->got, call);
}

static void room(struct build *b, size_t n)
{
    if (n > b->buf_max) {
        b->buf_max = n;
        b->buf = mem_realloc(b->buf, n);
    }
}

static void drop_body(struct build *b)
{
    source_close(b->got.body);
    b->got.body = NULL;
}

static enum step_next build_first(struct op *op)
{
    struct build *b = OP(op, struct build);
    uint64_t n = size_of(b) < ARC_MAGIC_BYTES ? size_of(b) : ARC_MAGIC_BYTES;

    b->if_match = arena_printf(b->req->arena, "\"" STR_FMT "\"", STR_ARG(etag_str(&b->head.info.etag)));
    b->format = b->req->format;
    if (b->format == ARC_NONE)
        b->format = arc_format_of_name(b->req->key);
    if (b->format != ARC_NONE)
        return op_go(op, build_begin);
    if (n == 0)
        return op_go(op, build_magic);
    get(b, 0, n, op_call(op, build_magic));
    return STEP_WAIT;
}

static step_fn build_magic_read;

static enum step_next build_magic(struct op *op)
{
    struct build *b = OP(op, struct build);

    if (!b->got.body) {
        snprintf(b->res->why, ARC_WHY_MAX, "the object is empty");
        return op_fail(op, ERR_BAD_ARCHIVE);
    }
    room(b, ARC_MAGIC_BYTES);
    source_fill(&b->fill, b->got.body, b->buf, ARC_MAGIC_BYTES, &b->n, op_call(op, build_magic_read));
    return STEP_WAIT;
}

static enum step_next build_magic_read(struct op *op)
{
    struct build *b = OP(op, struct build);

    drop_body(b);
    b->format = arc_format_of_magic(str_n(b->buf, b->n));
    if (b->format == ARC_NONE) {
        snprintf(b->res->why, ARC_WHY_MAX, "neither its name nor its first bytes are those of an archive");
        return op_fail(op, ERR_BAD_ARCHIVE);
    }
    return op_go(op, build_begin);
}

static enum step_next build_begin(struct op *op)
{
    struct build *b = OP(op, struct build);

    if (size_of(b) == 0) {
        snprintf(b->res->why, ARC_WHY_MAX, "the object is empty");
        return op_fail(op, ERR_BAD_ARCHIVE);
    }
    if (b->format == ARC_ZIP)
        return op_go(op, zip_tail);
    room(b, PIECE);
    b->scan = arc_scan_new(b->format);
    get(b, 0, size_of(b), op_call(op, build_stream));
    return STEP_WAIT;
}

/* ---- from front to back ---- */

static enum step_next build_stream(struct op *op)
{
    struct build *b = OP(op, struct build);

    source_fill(&b->fill, b->got.body, b->buf, PIECE, &b->n, op_call(op, build_read));
    return STEP_WAIT;
}

static enum err feed(struct offload_task *t)
{
    struct build *b = CONTAINER(t, struct build, task);

    enum err e = arc_scan_feed(b->scan, b->buf, b->n);

    return e == ERR_OK && b->n < PIECE ? arc_scan_end(b->scan, &b->res->index) : e; /* the end sorts the names */
}

static enum step_next build_read(struct op *op)
{
    struct build *b = OP(op, struct build);

    offload_run(b->req->cpu, &b->task, feed, op_try(op, build_fed));
    return STEP_WAIT;
}

static enum step_next build_fed(struct op *op)
{
    struct build *b = OP(op, struct build);
    enum err e = op->call.err;

    if (e == ERR_OK && b->n == PIECE)
        return op_go(op, build_stream);
    if (e != ERR_OK) {
        snprintf(b->res->why, ARC_WHY_MAX, "%s", arc_scan_why(b->scan));
        return op_fail(op, e);
    }
    return op_go(op, build_end);
}

/* ---- ZIP ---- */

static enum step_next zip_tail(struct op *op)
{
    struct build *b = OP(op, struct build);
    uint64_t n = size_of(b) < ZIP_TAIL_MAX ? size_of(b) : ZIP_TAIL_MAX;

    room(b, ZIP_TAIL_MAX);
    get(b, size_of(b) - n, n, op_call(op, zip_found));
    return STEP_WAIT;
}

static enum step_next zip_found(struct op *op)
{
    struct build *b = OP(op, struct build);

    source_fill(&b->fill, b->got.body, b->buf, b->buf_max, &b->n, op_call(op, zip_directory));
    return STEP_WAIT;
}

static step_fn zip_directory_got;

static enum step_next zip_directory(struct op *op)
{
    struct build *b = OP(op, struct build);
    enum err e = arc_zip_tail(str_n(b->buf, b->n), size_of(b), &b->end, b->res->why);

    drop_body(b);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (b->end.count == 0)
        return op_go(op, zip_indexed);
    room(b, (size_t)b->end.directory_n);
    get(b, b->end.directory, b->end.directory_n, op_call(op, zip_directory_got));
    return STEP_WAIT;
}

static enum step_next zip_directory_got(struct op *op)
{
    struct build *b = OP(op, struct build);

    source_fill(&b->fill, b->got.body, b->buf, (size_t)b->end.directory_n, &b->n, op_call(op, zip_parsed));
    return STEP_WAIT;
}

static enum err parse(struct offload_task *t)
{
    struct build *b = CONTAINER(t, struct build, task);

    return arc_zip_parse(str_n(b->names, b->n), &b->end, &b->zip, b->res->why);
}

static enum step_next zip_parsed(struct op *op)
{
    struct build *b = OP(op, struct build);

    drop_body(b);
    b->names = b->buf;
    b->buf = NULL;
    b->buf_max = 0;
    offload_run(b->req->cpu, &b->task, parse, op_call(op, zip_begin));
    return STEP_WAIT;
}

static enum step_next zip_begin(struct op *op)
{
    struct build *b = OP(op, struct build);

    b->n = 0; /* what was read is no window: there is none yet */
    b->window = UINT64_MAX;
    return op_go(op, zip_locals);
}

/* The local header at `head` up to its name as far as the window holds it; false: it must be read. */
static bool in_window(const struct build *b, uint64_t head, struct str *out)
{
    if (head < b->window || head - b->window > b->n)
        return false;
    *out = str_n(b->buf + (head - b->window), b->n - (size_t)(head - b->window));
    if (out->n >= ZIP_LOCAL && out->n >= arc_zip_local_bytes(*out))
        return true;
    return b->window == head || b->window + b->n == size_of(b); /* there is no more of it */
}

/* Local headers in the order in which they are in the file: most are met in a window that was read for one before. */
static enum step_next zip_locals(struct op *op)
{
    struct build *b = OP(op, struct build);

    for (; b->next < b->zip.count; b->next++) {
        struct arc_zip_entry *e = &b->zip.entries[b->zip.by_head[b->next]];
        uint64_t head = e->member.head;
        struct str local;
        if (!in_window(b, head, &local)) {
            uint64_t left = size_of(b) - head, n = left < WINDOW ? left : WINDOW;
            b->window = head;
            room(b, WINDOW);
            get(b, head, n, op_call(op, zip_window));
            return STEP_WAIT;
        }
        enum err bad = arc_zip_local(e, local, b->res->why);
        if (bad != ERR_OK)
            return op_fail(op, bad);
    }
    return op_go(op, zip_indexed);
}

static step_fn zip_window_read;

static enum step_next zip_window(struct op *op)
{
    struct build *b = OP(op, struct build);

    source_fill(&b->fill, b->got.body, b->buf, WINDOW, &b->n, op_call(op, zip_window_read));
    return STEP_WAIT;
}

static enum step_next zip_window_read(struct op *op)
{
    struct build *b = OP(op, struct build);

    drop_body(b);
    if (b->n < ZIP_LOCAL) {
        snprintf(b->res->why, ARC_WHY_MAX, "an entry lies outside of the file");
        return op_fail(op, ERR_BAD_ARCHIVE);
    }
    return op_go(op, zip_locals);
}

static enum err index_zip(struct offload_task *t)
{
    struct build *b = CONTAINER(t, struct build, task);

    b->zip.end = b->end.directory;
    return arc_zip_index(&b->zip, &b->res->index, b->res->why);
}

static enum step_next zip_indexed(struct op *op)
{
    struct build *b = OP(op, struct build);

    offload_run(b->req->cpu, &b->task, index_zip, op_call(op, build_end));
    return STEP_WAIT;
}

/* ---- the end ---- */

static enum step_next build_end(struct op *op)
{
    struct build *b = OP(op, struct build);

    if (op->err == ERR_OK) {
        arc_index_set_object(b->res->index, &b->head.info);
    } else if (b->res->index) {
        arc_index_unref(b->res->index);
        b->res->index = NULL;
    }
    drop_body(b);
    arc_scan_free(b->scan);
    arc_zip_release(&b->zip);
    free(b->names);
    free(b->buf);
    call_finish(b->whole, op->err);
    free(b);
    return STEP_DONE;
}

static void build_cancel(void *op)
{
    op_cancel(op, ERR_CANCELLED);
}

void arc_build(const struct arc_build_req *req, struct arc_build_res *res, struct call *call)
{
    struct build *b = NEW(struct build);

    *res = (struct arc_build_res){.index = NULL};
    b->req = req;
    b->res = res;
    b->whole = call;
    op_start(&b->op, call->loop, "arc_build", build_head, build_end);
    call_on_cancel(call, build_cancel, &b->op); /* the first step always waits */
}
