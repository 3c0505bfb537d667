/* Members of archives by the native API: PUT and DELETE of an object with ?archpath=MEMBER.
 *
 * AIStore knows three ways to put (the header Ais-Pine): 1 append to the archive, 2 the same or make it, else make it anew with this one
 * member. Ours are two more, ?archmode-put=add (unless there is a member of that name) and =replace, and DELETE. */
#include "archive/arc_edit.h"
#include "gateway/native_request.h"
#include "s3api/cond.h"

struct archput {
    struct arc_edit_req req;
    struct arc_edit_res res;
};

static step_fn archput_done;

static enum err refuse(struct native_request *r, const char *what, struct str value)
{
    return native_error(r, ERR_INVALID_ARGUMENT, "\"" STR_FMT "\" is no %s", STR_ARG(value), what);
}

static enum err parse_change(struct native_request *r, enum arc_change *out)
{
    struct str mode = native_query(r, STR("archmode-put")), pine = http_header_get(r->http, STR("ais-pine"));

    if (mode.n) {
        *out = str_eq(mode, STR("add")) ? ARC_ADD : ARC_REPLACE;
        return *out == ARC_ADD || str_eq(mode, STR("replace")) ? ERR_OK : refuse(r, "archmode-put", mode);
    }
    if (pine.n == 0 || str_eq(pine, STR("0")))
        *out = ARC_CREATE;
    else if (str_eq(pine, STR("1")))
        *out = ARC_APPEND;
    else if (str_eq(pine, STR("2")))
        *out = ARC_UPSERT;
    else
        return refuse(r, "Ais-Pine", pine);
    return ERR_OK;
}

static enum err parse_format(struct native_request *r, enum arc_format *out)
{
    struct str mime = native_query(r, STR("archmime"));

    *out = mime.n ? arc_format_of_mime(mime) : ARC_NONE;
    return mime.n && *out == ARC_NONE ? refuse(r, "archmime", mime) : ERR_OK;
}

/* As AIStore's clients and our reads: the archive's own name may stand before it. */
static struct str member_name(struct native_request *r)
{
    struct str name = native_query(r, STR("archpath"));

    if (name.n > r->object.n + 1 && str_starts(name, r->object) && name.p[r->object.n] == '/')
        return str_skip(name, r->object.n + 1);
    return name;
}

static enum step_next start(struct op *op, struct archput *p)
{
    struct native_request *r = NATIVE(op);
    struct arc_edit_req *q = &p->req;
    enum err e;

    if (!r->env->arcs)
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED, "members of archives are not served here"));
    if ((e = parse_format(r, &q->format)) != ERR_OK)
        return op_fail(op, e);
    q->arena = r->arena;
    q->arcs = r->env->arcs;
    q->bucket = r->bucket.found.id;
    q->key = r->object;
    q->member = member_name(r);
    q->cond = (struct cond)COND_INIT;
    cond_parse_write(r->http, &q->cond);
    r->state = p;
    q->cause = native_cause(r, EVENT_BY_METHOD);
    arc_edit(q, &p->res, op_try(op, archput_done));
    return STEP_WAIT;
}

enum step_next native_archput(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct archput *p = ARENA_NEW(r->arena, struct archput);
    enum err e;

    if ((e = parse_change(r, &p->req.change)) != ERR_OK)
        return op_fail(op, e);
    if (http_header_get(r->http, STR("ais-checksum-value")).n)
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED, "Ais-Checksum-Value of a member is not served"));
    if (r->http->body_len == HTTP_LENGTH_UNKNOWN) {
        r->error_status = 400;
        return op_fail(op, native_error(r, ERR_MISSING_LENGTH, "a member needs its Content-Length"));
    }
    p->req.body = r->http->body;
    p->req.size = r->http->body_len;
    return start(op, p);
}

enum step_next native_archdelete(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct archput *p = ARENA_NEW(r->arena, struct archput);

    p->req.change = ARC_DELETE;
    return start(op, p);
}

static enum step_next archput_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct archput *p = r->state;
    enum err e = op->call.err;

    if (e == ERR_OK) {
        native_header_f(r, STR("ETag"), "\"" STR_FMT "\"", STR_ARG(etag_str(&p->res.info.etag)));
        return op_go(op, native_send);
    }
    if (e == ERR_NO_SUCH_MEMBER)
        native_error(r, e, STR_FMT "/" STR_FMT "/" STR_FMT " does not exist",
                     STR_ARG(native_bucket_text(r->arena, &r->bucket)), STR_ARG(r->object), STR_ARG(p->req.member));
    else if (p->res.why[0])
        native_error(r, e, STR_FMT "/" STR_FMT ": %s", STR_ARG(native_bucket_text(r->arena, &r->bucket)),
                     STR_ARG(r->object), p->res.why);
    return op_fail(op, native_fail(r, e, &r->bucket, r->object));
}
