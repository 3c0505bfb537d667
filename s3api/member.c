/* GET and HEAD of what is in archives. */
#include "member.h"

#include "base/clock.h"

enum { SPLITS_MAX = 16 }; /* archives that a key may seem to be in: "a.tar/b.tar/c" */

bool member_like(struct str key)
{
    struct str archive, member;

    return arc_format_split(key, 0, &archive, &member);
}

bool member_possible(const struct s3_request *r, const struct bucket *b, struct str key)
{
    return b->members && r->env->arcs && member_like(key);
}

/* s3fs shows a name as a file or as a folder, and takes the file when there are both. In a bucket that shows members it is told of
 * the folder alone: samples can be opened, whole shards are for other clients. */
static bool is_folder_here(const struct s3_request *r)
{
    return r->http->method == HTTP_HEAD && arc_format_of_name(r->key) != ARC_NONE &&
           str_starts(s3_header(r, STR("user-agent")), STR("s3fs/"));
}

/* ---- the query ---- */

enum err member_parse(struct s3_request *r, struct member_read_req *m, bool *wanted)
{
    struct str mime = s3_query(r, STR("archmime"));

    m->path = s3_query(r, STR("archpath"));
    if (m->path.p && !r->env->arcs)
        return reply_error(r, ERR_NOT_IMPLEMENTED, "archpath is not implemented here.");
    if (m->path.p && m->path.n == 0)
        return reply_error(r, ERR_INVALID_ARGUMENT, "archpath must name a member.");
    if (mime.n && (m->format = arc_format_of_mime(mime)) == ARC_NONE)
        return reply_error(r, ERR_INVALID_ARGUMENT, "archmime is not the type of a known archive format.");
    if (mime.n && !m->path.p)
        return reply_error(r, ERR_INVALID_ARGUMENT, "archmime goes with archpath.");
    if (m->path.p && m->format == ARC_NONE && r->names_version) /* its place doesn't end as the key does */
        m->format = arc_format_of_name(r->key);
    *wanted = m->path.p || (member_shown(r) && (member_like(r->key) || is_folder_here(r)));
    return ERR_OK;
}

/* ---- what a member answers with ---- */

static const struct {
    struct str ext, type;
} types[] = {
    {{".jpg", 4}, {"image/jpeg", 10}},
    {{".jpeg", 5}, {"image/jpeg", 10}},
    {{".png", 4}, {"image/png", 9}},
    {{".gif", 4}, {"image/gif", 9}},
    {{".webp", 5}, {"image/webp", 10}},
    {{".bmp", 4}, {"image/bmp", 9}},
    {{".tif", 4}, {"image/tiff", 10}},
    {{".tiff", 5}, {"image/tiff", 10}},
    {{".svg", 4}, {"image/svg+xml", 13}},
    {{".json", 5}, {"application/json", 16}},
    {{".txt", 4}, {"text/plain", 10}},
    {{".csv", 4}, {"text/csv", 8}},
    {{".html", 5}, {"text/html", 9}},
    {{".xml", 4}, {"application/xml", 15}},
    {{".pdf", 4}, {"application/pdf", 15}},
    {{".wav", 4}, {"audio/wav", 9}},
    {{".mp3", 4}, {"audio/mpeg", 10}},
    {{".flac", 5}, {"audio/flac", 10}},
    {{".ogg", 4}, {"audio/ogg", 9}},
    {{".mp4", 4}, {"video/mp4", 9}},
    {{".webm", 5}, {"video/webm", 10}},
    {{".gz", 3}, {"application/gzip", 16}},
    {{".zip", 4}, {"application/zip", 15}},
    {{".tar", 4}, {"application/x-tar", 17}},
    {{".parquet", 8}, {"application/vnd.apache.parquet", 30}},
};

static struct str type_of(struct str name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct str ext = types[i].ext;
        if (name.n > ext.n && str_eq_nocase(str_skip(name, name.n - ext.n), ext))
            return types[i].type;
    }
    return STR("application/octet-stream");
}

/* The member's own time goes with it as tools that keep files' times write it. */
static void info_of(struct arena *arena, const struct arcs_get_res *from, struct object_info *out)
{
    struct attr *attrs = arena_alloc(arena, 2 * sizeof(*attrs));
    uint32_t crc = from->member.crc32;

    attrs[0] = (struct attr){STR("content-type"), type_of(from->member.name)};
    attrs[1] = (struct attr){STR("x-amz-meta-mtime"), arena_printf(arena, "%lld", (long long)from->member.mtime_s)};
    *out = (struct object_info){
        .size = from->member.size, .mtime_ns = from->mtime_ns, .etag = from->etag, .attrs = attrs, .attr_count = 2};
    out->checksum = (struct checksum){.digest = {.alg = HASH_CRC32, .n = 4}, .type = CHECKSUM_FULL_OBJECT};
    for (int i = 0; i < 4; i++)
        out->checksum.digest.b[i] = (uint8_t)(crc >> (24 - 8 * i));
}

/* ---- reading ---- */

struct read_op {
    struct op op;
    struct s3_request *r;
    const struct member_read_req *req;
    struct obj_get_res *res;
    struct call *whole;
    size_t from; /* in the key: where to look for the next archive */
    unsigned splits;
    bool found;
    struct arcs_get_req get;
    struct arcs_get_res got;
    struct arcs_list_req list;
    struct arcs_list_res listed;
    struct arcs_look_req look;
    struct arcs_look_res looked;
};

static step_fn read_begin, read_whole, read_next, read_got, read_folder, read_object, read_end;

static enum step_next read_begin(struct op *op)
{
    struct read_op *m = OP(op, struct read_op);

    if (m->req->path.p || m->req->found || !is_folder_here(m->r))
        return op_go(op, read_next);
    m->look = (struct arcs_look_req){m->r->arena, m->req->get.head.bucket, m->req->get.head.key, ARC_NONE};
    arcs_look(m->r->env->arcs, &m->look, &m->looked, op_try(op, read_whole));
    return STEP_WAIT;
}

static enum step_next read_whole(struct op *op)
{
    return op->call.err == ERR_OK ? op_fail(op, ERR_NO_SUCH_KEY) : op_go(op, read_next);
}

static enum step_next read_next(struct op *op)
{
    struct read_op *m = OP(op, struct read_op);
    const struct obj_head_req *h = &m->req->get.head;
    struct arcs_look_req archive = {m->r->arena, m->req->get.head.bucket, m->req->get.head.key, m->req->format};
    struct str member = m->req->path;

    if (!member.p) {
        if (m->splits++ == SPLITS_MAX || !arc_format_split(m->req->get.head.key, m->from, &archive.key, &member))
            return op_go(op, read_object);
        m->from = archive.key.n + 1;
    }
    if (h->part_number > 1)
        return op_fail(op, ERR_INVALID_PART_NUMBER);
    m->get = (struct arcs_get_req){archive, member, h->cond, h->range, m->req->head};
    if (member.n == 0)
        return op_go(op, read_folder);
    arcs_get(m->r->env->arcs, &m->get, &m->got, op_try(op, read_got));
    return STEP_WAIT;
}

static bool is_no_archive(enum err e)
{
    return e == ERR_NO_SUCH_KEY || e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE;
}

static enum step_next read_got(struct op *op)
{
    struct read_op *m = OP(op, struct read_op);
    enum err e = op->call.err;

    if (e == ERR_OK || e == ERR_NOT_MODIFIED || e == ERR_PRECONDITION || e == ERR_INVALID_RANGE) {
        m->found = true;
        info_of(m->r->arena, &m->got, &m->res->head.info);
        m->res->head.offset = m->got.offset;
        m->res->head.len = m->got.len;
        return e == ERR_OK ? op_go(op, read_end) : op_fail(op, e);
    }
    if (m->req->path.p)
        return op_fail(op, m->got.why[0] ? reply_error(m->r, e, "%s", m->got.why) : e);
    if (e == ERR_NO_SUCH_MEMBER && m->req->get.head.key.p[m->req->get.head.key.n - 1] == '/')
        return op_go(op, read_folder);
    return is_no_archive(e) || e == ERR_NO_SUCH_MEMBER ? op_go(op, read_next) : op_fail(op, e);
}

/* ---- folders ---- */

static step_fn read_listed;

static enum step_next read_folder(struct op *op)
{
    struct read_op *m = OP(op, struct read_op);

    m->list = (struct arcs_list_req){
        .archive = m->get.archive, .prefix = m->get.member, .delimiter = STR(""), .after = STR(""), .max = 1};
    arcs_list(m->r->env->arcs, &m->list, &m->listed, op_try(op, read_listed));
    return STEP_WAIT;
}

static enum step_next read_listed(struct op *op)
{
    static const struct attr attrs[] = {{{"content-type", 12}, {"application/x-directory", 23}}};
    static const uint8_t md5_of_nothing[16] = {0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04,
                                               0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e};
    struct read_op *m = OP(op, struct read_op);
    struct object_info *info = &m->res->head.info;
    const struct obj_head_req *h = &m->req->get.head;
    enum err e = op->call.err;

    if (is_no_archive(e) || (e == ERR_OK && m->listed.count == 0 && m->get.member.n))
        return op_go(op, read_next);
    if (e != ERR_OK)
        return op_fail(op, e);
    m->found = true;
    *info = (struct object_info){.mtime_ns = m->listed.info.mtime_ns, .attrs = attrs, .attr_count = 1};
    etag_from_md5(&info->etag, md5_of_nothing);
    if ((e = cond_check_read(&h->cond, info, clock_wall_ns() / NS_PER_S)) != ERR_OK ||
        (e = range_resolve(&h->range, 0, &m->res->head.offset, &m->res->head.len)) != ERR_OK)
        return op_fail(op, e);
    if (!m->req->head)
        m->got.body = source_memory(STR(""), NULL, NULL);
    return op_go(op, read_end);
}

/* ---- nothing in archives ---- */

static enum step_next read_object(struct op *op)
{
    struct read_op *m = OP(op, struct read_op);

    if (m->req->head)
        store_obj_head(m->r->env->store, &m->req->get.head, &m->res->head, op_call(op, read_end));
    else
        store_obj_get(m->r->env->store, &m->req->get, m->res, op_call(op, read_end));
    return STEP_WAIT;
}

static enum step_next read_end(struct op *op)
{
    struct read_op *m = OP(op, struct read_op);

    if (m->req->found)
        *m->req->found = m->found;
    if (m->got.body && op->err == ERR_OK)
        m->res->body = m->got.body;
    else
        source_close(m->got.body);
    call_finish(m->whole, op->err);
    return STEP_DONE;
}

static void read_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void member_read(struct s3_request *r, const struct member_read_req *req, struct obj_get_res *res, struct call *call)
{
    struct read_op *m = ARENA_NEW(r->arena, struct read_op);

    m->r = r;
    m->req = req;
    m->res = res;
    m->whole = call;
    op_start(&m->op, call->loop, "read_member", read_begin, read_end);
    call_on_cancel(call, read_cancel, &m->op);
}
