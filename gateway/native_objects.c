/* GET, HEAD and DELETE of objects in the native API. */
#include "archive/arc_pack.h"
#include "base/clock.h"
#include "gateway/native_fields.h"
#include "gateway/native_object.h"
#include "gateway/native_transform.h"
#include "s3api/cond.h"

step_fn native_get, native_head, native_delete; /* native_routes.def */

struct get_state {
    struct obj_get_req req;
    struct obj_get_res res;
    bool partial;
};

static step_fn get_opened, head_found, delete_done;

static void close_body(void *arg)
{
    struct get_state *g = arg;

    source_close(g->res.body);
    g->res.body = NULL;
}

/* ---- GET ---- */

enum step_next native_get(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct str member = native_query(r, STR("archpath")), pattern = native_query(r, STR("archregx")),
               mode = native_query(r, STR("archmode"));
    struct get_state *g;
    enum err e;

    if (native_transforms(r))
        return op_go(op, native_get_transformed);
    if (member.n && (pattern.n || mode.n))
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "archpath and archregx exclude one another"));
    if (member.n)
        return op_go(op, native_get_member);
    if (pattern.n || mode.n)
        return op_go(op, native_get_members);
    g = r->state = ARENA_NEW(r->arena, struct get_state);
    g->req =
        (struct obj_get_req){{.arena = r->arena, .bucket = r->bucket.found.id, .key = r->object, .cond = COND_INIT}};
    cond_parse_read(r->http, &g->req.head.cond);
    g->req.head.latest = native_query_bool(r, STR("latest-ver"));
    if ((e = native_range(r, &g->req.head.range, &g->partial)) != ERR_OK)
        return op_fail(op, e);
    arena_defer(r->arena, close_body, g);
    store_obj_get(r->env->s3->store, &g->req, &g->res, op_try(op, get_opened));
    return STEP_WAIT;
}

static enum step_next refuse_get(struct op *op, struct get_state *g, enum err e)
{
    struct native_request *r = NATIVE(op);

    if (e == ERR_INVALID_RANGE)
        native_header_f(r, STR("Content-Range"), "bytes */%llu", (unsigned long long)g->res.head.info.size);
    if (e == ERR_NOT_MODIFIED) {
        r->status = 304;
        return op_go(op, native_send);
    }
    return op_fail(op, native_fail(r, e, &r->bucket, r->object));
}

static enum step_next get_opened(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct get_state *g = r->state;
    const struct obj_head_res *h = &g->res.head;

    if (op->call.err != ERR_OK)
        return refuse_get(op, g, op->call.err);
    native_object_headers(r, &h->info);
    native_header(r, STR("Accept-Ranges"), STR("bytes"));
    native_header_f(r, STR("ETag"), "\"" STR_FMT "\"", STR_ARG(etag_str(&h->info.etag)));
    char date[CLOCK_HTTP_LEN];
    clock_http(h->info.mtime_ns, date);
    native_header(r, STR("Last-Modified"), arena_str(r->arena, str_n(date, sizeof(date))));
    r->type = STR("application/octet-stream");
    if (g->partial) {
        r->status = 206;
        native_header_f(r, STR("Content-Range"), "bytes %llu-%llu/%llu", (unsigned long long)h->offset,
                        (unsigned long long)(h->offset + h->len - 1), (unsigned long long)h->info.size);
    }
    r->answer = g->res.body;
    g->res.body = NULL;
    return op_go(op, native_send);
}

/* ---- HEAD ---- */

struct head_state {
    struct obj_head_req req;
    struct obj_head_res res;
    unsigned props; /* set of 1 << index in head_props; of version 2 */
    bool selects;
};

static const char *const head_props[] = {"name", "size",   "checksum", "atime",  "version",  "last-modified",
                                         "etag", "copies", "ec",       "custom", "location", "chunked"};
enum {
    PROP_NAME,
    PROP_SIZE,
    PROP_CHECKSUM,
    PROP_ATIME,
    PROP_VERSION,
    PROP_LAST_MODIFIED,
    PROP_ETAG,
    PROP_COPIES,
    PROP_EC,
    PROP_CUSTOM,
    PROP_LOCATION,
    PROP_CHUNKED,
    PROPS
};

static enum err parse_props(struct native_request *r, struct head_state *h)
{
    struct str rest = native_query(r, STR("props"));

    h->selects = rest.n > 0;
    while (rest.n) {
        struct str one = str_trim(str_split(&rest, ','));
        unsigned i = 0;
        while (i < PROPS && !str_eq(one, str_z(head_props[i])))
            i++;
        if (i == PROPS)
            return native_error(r, ERR_INVALID_ARGUMENT, "props: \"" STR_FMT "\" can't be asked for here",
                                STR_ARG(one));
        h->props |= 1u << i;
    }
    return ERR_OK;
}

enum step_next native_head(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct head_state *h = r->state = ARENA_NEW(r->arena, struct head_state);
    struct str presence = native_query(r, STR("presence"));
    enum err e = parse_props(r, h);

    /* etl_name changes nothing, as in AIStore: how long a result will be nobody knows before it was made */
    if (e == ERR_OK && native_query(r, STR("archpath")).n)
        return op_go(op, native_get_member);
    if (e != ERR_OK)
        return op_fail(op, e);
    h->req = (struct obj_head_req){.arena = r->arena,
                                   .bucket = r->bucket.found.id,
                                   .key = r->object,
                                   .cond = COND_INIT,
                                   .parts = h->props >> PROP_CHUNKED & 1};
    h->req.latest = native_query_bool(r, STR("latest-ver"));
    h->req.cached = str_eq(presence, STR("2")) || str_eq(presence, STR("3")) || str_eq(presence, STR("4"));
    store_obj_head(r->env->s3->store, &h->req, &h->res, op_try(op, head_found));
    return STEP_WAIT;
}

static void chunk_headers(struct native_request *r, const struct obj_head_res *res)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < res->part_count; i++)
        most = res->parts[i].size > most ? res->parts[i].size : most;
    if (res->part_count == 0)
        return;
    native_header_f(r, STR("Ais-Chunks-Count"), "%u", res->part_count);
    native_header_f(r, STR("Ais-Chunks-Max-Chunk-Size"), "%llu", (unsigned long long)most);
}

static struct str location(struct native_request *r)
{
    return arena_printf(r->arena, "t[" STR_FMT "]:mp[/, []]", STR_ARG(r->env->conf->node_id));
}

static void copies_headers(struct native_request *r)
{
    native_header(r, STR("Ais-Mirror-Copies"), STR("1"));
    native_header(r, STR("Ais-Mirror-Paths"), STR("[/]"));
}

/* All there is, but what only version 2 may have. */
static void head_all(struct native_request *r, const struct head_state *h)
{
    static const char *const providers[] = {"ais", "aws", "gcp", "azure", "oci"};

    native_object_headers(r, &h->res.info);
    native_header(r, STR("Accept-Ranges"), STR("bytes"));
    native_header(r, STR("Ais-Name"), r->object);
    native_header(r, STR("Ais-Bucket-Name"), r->bucket.name);
    native_header(r, STR("Ais-Bucket-Provider"), str_z(providers[r->bucket.provider]));
    native_header(r, STR("Ais-Location"), location(r));
    copies_headers(r);
}

static void head_selected(struct native_request *r, const struct head_state *h)
{
    const struct object_info *info = &h->res.info;
    struct native_request all = *r; /* its headers are looked through, not sent */
    char date[CLOCK_HTTP_LEN];

    all.headers = NULL;
    all.header_count = all.header_cap = 0;
    native_object_headers(&all, info);
    for (size_t i = 0; i < all.header_count; i++) {
        static const struct {
            const char *header;
            int prop;
        } rows[] = {{"Ais-Checksum-Type", PROP_CHECKSUM},
                    {"Ais-Checksum-Value", PROP_CHECKSUM},
                    {"Ais-Atime", PROP_ATIME},
                    {"Ais-Version", PROP_VERSION},
                    {"Ais-Custom-Md", PROP_CUSTOM}};
        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
            if (str_eq(all.headers[i].name, str_z(rows[k].header)) && h->props >> rows[k].prop & 1)
                native_header(r, all.headers[i].name, all.headers[i].value);
    }
    if (h->props >> PROP_NAME & 1)
        native_header(r, STR("Ais-Name"), r->object);
    if (h->props >> PROP_LAST_MODIFIED & 1) {
        clock_http(info->mtime_ns, date);
        native_header(r, STR("Last-Modified"), arena_str(r->arena, str_n(date, sizeof(date))));
    }
    if (h->props >> PROP_ETAG & 1)
        native_header_f(r, STR("ETag"), "\"" STR_FMT "\"", STR_ARG(etag_str(&info->etag)));
    if (h->props >> PROP_LOCATION & 1)
        native_header(r, STR("Ais-Location"), location(r));
    if (h->props >> PROP_COPIES & 1)
        copies_headers(r);
    if (h->props >> PROP_CHUNKED & 1)
        chunk_headers(r, &h->res);
}

static enum step_next head_found(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct head_state *h = r->state;
    struct str presence = native_query(r, STR("presence"));

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    if (str_eq(presence, STR("5"))) /* only what is not here */
        return op_fail(op, native_no_object(r, &r->bucket, r->object));
    native_header(r, STR("Ais-Present"), STR("true"));
    if (h->selects)
        head_selected(r, h);
    else
        head_all(r, h);
    r->stated_length = h->res.info.size;
    return op_go(op, native_send);
}

/* ---- DELETE ---- */

struct delete_state {
    struct obj_delete_req req;
    struct obj_delete_res res;
};

step_fn native_archdelete;

enum step_next native_delete(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct delete_state *d = r->state = ARENA_NEW(r->arena, struct delete_state);

    if (native_query(r, STR("archpath")).n)
        return op_go(op, native_archdelete);
    d->req = (struct obj_delete_req){r->arena, r->bucket.found.id, r->object, COND_INIT};
    cond_parse_write(r->http, &d->req.cond);
    d->req.cause = native_cause(r, EVENT_BY_METHOD);
    store_obj_delete(r->env->s3->store, &d->req, &d->res, op_try(op, delete_done));
    return STEP_WAIT;
}

static enum step_next delete_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct delete_state *d = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, r->object));
    if (!d->res.existed)
        return op_fail(op, native_no_object(r, &r->bucket, r->object));
    return op_go(op, native_send);
}

/* ---- members of archives ---- */

struct member_state {
    struct arcs_get_req req;
    struct arcs_get_res res;
    bool partial;
};

static step_fn member_got;

static void close_member(void *arg)
{
    struct member_state *m = arg;

    source_close(m->res.body);
    m->res.body = NULL;
}

static enum err archive_format(struct native_request *r, enum arc_format *out)
{
    struct str mime = native_query(r, STR("archmime"));

    *out = mime.n ? arc_format_of_mime(mime) : ARC_NONE;
    if (mime.n && *out == ARC_NONE)
        return native_error(r, ERR_INVALID_ARGUMENT, "archmime: \"" STR_FMT "\" is no format of archives",
                            STR_ARG(mime));
    return ERR_OK;
}

enum step_next native_get_member(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct member_state *m = r->state = ARENA_NEW(r->arena, struct member_state);
    struct str member = native_query(r, STR("archpath"));
    enum err e;

    if (str_starts(member, r->object) && member.n > r->object.n && member.p[r->object.n] == '/')
        member = str_skip(member, r->object.n + 1); /* as AIStore: the archive's own name may stand before it */
    m->req = (struct arcs_get_req){.archive = {.arena = r->arena, .bucket = r->bucket.found.id, .key = r->object},
                                   .member = member,
                                   .cond = COND_INIT,
                                   .head = r->http->method == HTTP_HEAD};
    cond_parse_read(r->http, &m->req.cond);
    if ((e = archive_format(r, &m->req.archive.format)) != ERR_OK ||
        (e = native_range(r, &m->req.range, &m->partial)) != ERR_OK)
        return op_fail(op, e);
    arena_defer(r->arena, close_member, m);
    arcs_get(r->env->arcs, &m->req, &m->res, op_try(op, member_got));
    return STEP_WAIT;
}

static enum step_next refuse_member(struct op *op, enum err e, const char *why)
{
    struct native_request *r = NATIVE(op);
    struct member_state *m = r->state;

    if (e == ERR_NO_SUCH_MEMBER)
        return op_fail(op, native_no_object(r, &r->bucket,
                                            arena_printf(r->arena, STR_FMT "/" STR_FMT, STR_ARG(r->object),
                                                         STR_ARG(native_query(r, STR("archpath"))))));
    if (e == ERR_INVALID_RANGE)
        native_header_f(r, STR("Content-Range"), "bytes */%llu", (unsigned long long)m->res.member.size);
    if (e == ERR_NOT_MODIFIED) {
        r->status = 304;
        return op_go(op, native_send);
    }
    if (e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE)
        native_error(r, e, STR_FMT " is not a readable archive: %s", STR_ARG(r->object), why);
    return op_fail(op, native_fail(r, e, &r->bucket, r->object));
}

static enum step_next member_got(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct member_state *m = r->state;

    if (op->call.err != ERR_OK)
        return refuse_member(op, op->call.err, m->res.why);
    native_header(r, STR("Accept-Ranges"), STR("bytes"));
    native_header_f(r, STR("ETag"), "\"" STR_FMT "\"", STR_ARG(etag_str(&m->res.etag)));
    native_header(r, STR("Ais-Checksum-Type"), STR("crc32"));
    native_header_f(r, STR("Ais-Checksum-Value"), "%08x", m->res.member.crc32);
    r->type = STR("application/octet-stream");
    if (m->partial) {
        r->status = 206;
        native_header_f(r, STR("Content-Range"), "bytes %llu-%llu/%llu", (unsigned long long)m->res.offset,
                        (unsigned long long)(m->res.offset + m->res.len - 1), (unsigned long long)m->res.member.size);
    }
    r->stated_length = m->res.len;
    r->answer = m->res.body;
    m->res.body = NULL;
    return op_go(op, native_send);
}

/* Several: a TAR of them, in the archive's order. */
struct members_state {
    struct native_request *request;
    struct arcs_select_req req;
    struct arcs_select_res res;
    uint32_t next;
};

static step_fn members_selected;

enum step_next native_get_members(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct members_state *m = r->state = ARENA_NEW(r->arena, struct members_state);
    struct str mode = native_query(r, STR("archmode"));
    enum err e;

    m->request = r;
    m->req = (struct arcs_select_req){.archive = {.arena = r->arena, .bucket = r->bucket.found.id, .key = r->object},
                                      .mode = ARC_MODE_REGEXP,
                                      .pattern = native_query(r, STR("archregx"))};
    if (mode.n && !arc_mode_parse(mode, &m->req.mode))
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT,
                                        "archmode: \"" STR_FMT "\" is none of regexp, prefix, suffix, substr, wdskey",
                                        STR_ARG(mode)));
    if (m->req.pattern.n == 0)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "archmode wants archregx"));
    if ((e = archive_format(r, &m->req.archive.format)) != ERR_OK)
        return op_fail(op, e);
    if (http_header_get(r->http, STR("range")).n)
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED, "a range of several members is not served"));
    arcs_select(r->env->arcs, &m->req, &m->res, op_try(op, members_selected));
    return STEP_WAIT;
}

static void next_member(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct members_state *m = arg;

    *end = m->next == m->res.count;
    if (!*end) {
        struct arc_member member;
        arc_index_member(m->res.index, m->res.members[m->next++], &member);
        *out = (struct arc_entry){.name = member.name,
                                  .bucket = m->req.archive.bucket,
                                  .key = m->req.archive.key,
                                  .member = member.name,
                                  .format = m->res.index->format,
                                  .range = {.kind = RANGE_ALL}};
    }
    call_finish(call, ERR_OK);
}

static enum step_next members_selected(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct members_state *m = r->state;
    enum err e = op->call.err;

    if (e == ERR_INVALID_ARGUMENT)
        return op_fail(op, native_error(r, e, "archregx: %s", m->res.why));
    if (e == ERR_OK && m->res.count == 0)
        e = native_no_object(r, &r->bucket,
                             arena_printf(r->arena, STR_FMT "/" STR_FMT, STR_ARG(r->object), STR_ARG(m->req.pattern)));
    if (e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE)
        native_error(r, e, STR_FMT " is not a readable archive: %s", STR_ARG(r->object), m->res.why);
    if (e != ERR_OK)
        return op_fail(op, r->message.n ? e : native_fail(r, e, &r->bucket, r->object));
    r->type = arc_format_type(ARC_TAR);
    r->answer = arc_pack_open(&(struct arc_pack_conf){.loop = r->env->loop,
                                                      .store = r->env->s3->store,
                                                      .arcs = r->env->arcs,
                                                      .format = ARC_TAR,
                                                      .next = next_member,
                                                      .arg = m});
    return op_go(op, native_send);
}
