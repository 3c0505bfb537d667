/* GetObject with archregx and archmode: the members that a pattern means, as one uncompressed TAR that is streamed. */
#include "archive/arc_pack.h"
#include "base/clock.h"
#include "s3api/cond.h"
#include "s3api/member.h"
#include "s3api/objreq.h"

struct select_state {
    struct s3_request *r;
    struct arcs_select_req req;
    struct arcs_select_res res;
    struct cond cond; /* against the archive */
    uint32_t next;
};

static step_fn select_found;

static enum err select_parse(struct s3_request *r, struct select_state *s)
{
    struct str mode = s3_query(r, STR("archmode")), mime = s3_query(r, STR("archmime"));

    s->req.pattern = s3_query(r, STR("archregx"));
    if (!mode.p || !s->req.pattern.p)
        return reply_error(r, ERR_INVALID_ARGUMENT, "archregx and archmode go together.");
    if (s3_query(r, STR("archpath")).p)
        return reply_error(r, ERR_INVALID_ARGUMENT, "archpath means one member, archregx several: only one of them.");
    if (!arc_mode_parse(mode, &s->req.mode))
        return reply_error(r, ERR_INVALID_ARGUMENT, "archmode must be regexp, prefix, suffix, substr or wdskey.");
    if (mime.n && (s->req.archive.format = arc_format_of_mime(mime)) == ARC_NONE)
        return reply_error(r, ERR_INVALID_ARGUMENT, "archmime is not the type of a known archive format.");
    if (r->http->method != HTTP_GET || s3_header(r, STR("range")).p || s3_query(r, STR("partNumber")).p)
        return reply_error(r, ERR_NOT_IMPLEMENTED, "archregx is implemented for GET of all that matches.");
    cond_parse_read(r->http, &s->cond);
    return ERR_OK;
}

bool member_selects(const struct s3_request *r)
{
    return s3_query(r, STR("archregx")).p || s3_query(r, STR("archmode")).p;
}

enum step_next member_select(struct op *op)
{
    struct s3_request *r = S3(op);
    struct select_state *s = r->state = ARENA_NEW(r->arena, struct select_state);
    enum err e;

    s->r = r;
    s->req.archive = (struct arcs_look_req){r->arena, r->place.bucket, r->place.key,
                                            r->names_version ? arc_format_of_name(r->key) : ARC_NONE};
    if (!r->env->arcs)
        return op_fail(op, reply_error(r, ERR_NOT_IMPLEMENTED, "archregx is not implemented here."));
    if ((e = select_parse(r, s)) != ERR_OK)
        return op_fail(op, e);
    arcs_select(r->env->arcs, &s->req, &s->res, op_try(op, select_found));
    return STEP_WAIT;
}

/* Of several members of one name the first is the one that has it. */
static void select_next(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct select_state *s = arg;
    struct arc_member m, first;
    uint32_t position;

    *end = true;
    while (*end && s->next < s->res.count) {
        uint32_t i = s->res.members[s->next++];
        arc_index_member(s->res.index, i, &m);
        *end = !arc_index_find(s->res.index, m.name, &position, &first) || position != i;
    }
    if (!*end) {
        *out = (struct arc_entry){.name = m.name,
                                  .bucket = s->r->bucket.id,
                                  .key = s->r->key,
                                  .member = m.name,
                                  .format = s->req.archive.format};
        arc_index_etag(s->res.index, &m, &out->if_match);
    }
    call_finish(call, ERR_OK);
}

static enum step_next select_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct select_state *s = r->state;
    enum err e = op->call.err;

    if (e != ERR_OK)
        return op_fail(op, s->res.why[0] ? reply_error(r, e, "%s", s->res.why) : objreq_fail(r, e, r->key, NULL));
    if ((e = cond_check_read(&s->cond, &s->res.info, clock_wall_ns() / NS_PER_S)) != ERR_OK)
        return op_fail(op, objreq_fail(r, e, r->key, &s->cond));
    if (s->res.count == 0)
        return op_fail(op, reply_error(r, ERR_NO_SUCH_MEMBER, "No member of the archive matches."));
    reply_header(r, STR("Content-Type"), arc_format_type(ARC_TAR));
    reply_last_modified(r, s->res.info.mtime_ns);
    reply_body(r, arc_pack_open(&(struct arc_pack_conf){.loop = r->env->loop,
                                                        .store = r->env->store,
                                                        .arcs = r->env->arcs,
                                                        .cpu = r->env->cpu,
                                                        .format = ARC_TAR,
                                                        .next = select_next,
                                                        .arg = s}));
    return op_go(op, reply_send);
}
