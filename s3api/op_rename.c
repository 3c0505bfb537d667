/* RenameObject: the object under another key of its bucket. Where both keys are in one store the commit that makes the one removes the
 * other; between nodes it is a copy, then a delete of exactly what was copied: who looks meanwhile may see both, never none. */
#include "base/clock.h"
#include "http/url.h"
#include "s3api/cond.h"
#include "s3api/may.h"
#include "s3api/name.h"
#include "s3api/objreq.h"

enum { TOKEN_MAX = 64, TOKEN_PART = 32 };

step_fn rename_object; /* routes.def */

/* Kept with the object: who repeats the request that made it is told that it was done. "<of the token>.<of all else>", hex. */
#define RENAMED STR(ATTR_PRIVATE "renamed")

struct rename_state {
    struct str from;
    struct str token, mark; /* p == NULL: not to be remembered */
    struct cond dates;      /* of the destination: checked here, as stores know none for writes */
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_copy_req copy;
    struct obj_copy_res copied;
    struct obj_delete_req drop;
    struct obj_delete_res dropped;
    char pin[ETAG_MAX + 2]; /* the source that was looked at */
    char kept[ETAG_MAX + 2];
};

static step_fn rename_replaced, rename_look, rename_looked, rename_copied, rename_dropped; /* in order */
static enum err rename_parse(struct s3_request *r, struct rename_state *s);

static enum step_next look(struct s3_request *r, struct str key, step_fn *then)
{
    struct rename_state *s = r->state;

    s->head_req = (struct obj_head_req){.arena = r->arena, .bucket = r->bucket.id, .key = key, .cond = COND_INIT};
    store_obj_head(r->env->store, &s->head_req, &s->head, op_try(&r->op, then));
    return STEP_WAIT;
}

enum step_next rename_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct rename_state *s = r->state = ARENA_NEW(r->arena, struct rename_state);
    enum err e = rename_parse(r, s);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (r->bucket.id.versions != VERSIONS_OFF) /* S3 has it where there are no versions only */
        return op_fail(
            op, reply_error(r, ERR_NOT_IMPLEMENTED, "RenameObject is not implemented in buckets with versions."));
    if (s->token.p || !cond_is_empty(&s->dates))
        return look(r, r->key, rename_replaced);
    return op_go(op, rename_look);
}

static struct str quoted(const struct etag *etag, char text[ETAG_MAX + 2])
{
    text[0] = '"';
    memcpy(text + 1, etag->text, etag->n);
    text[etag->n + 1] = '"';
    return str_n(text, etag->n + 2u);
}

/* What is there was decided upon: nothing else is to be replaced. */
static enum err check_dates(struct rename_state *s, const struct object_info *now)
{
    struct cond dates = s->dates, *cond = &s->copy.cond;
    enum err e;

    if (cond_is_empty(&dates))
        return ERR_OK;
    if (!now)
        return dates.if_modified_since_s != COND_NO_TIME ? ERR_PRECONDITION : ERR_OK;
    e = cond_check_copy_source(&dates, now, clock_wall_ns() / NS_PER_S);
    if (e == ERR_OK && !cond->if_match.p && !cond->if_none_match.p)
        cond->if_match = quoted(&now->etag, s->kept);
    return e;
}

/* The destination as it was. */
static enum step_next rename_replaced(struct op *op)
{
    struct s3_request *r = S3(op);
    struct rename_state *s = r->state;
    const struct object_info *now = op->call.err == ERR_OK ? &s->head.info : NULL;
    struct str mark = now ? object_attr(now, RENAMED) : STR_NONE;
    enum err e;

    if (!now && op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    if (s->token.p && mark.n && str_eq(mark, s->mark))
        return op_go(op, reply_send);
    if (s->token.p && mark.n > TOKEN_PART && str_eq(str_n(mark.p, TOKEN_PART), str_n(s->mark.p, TOKEN_PART)))
        return op_fail(op, ERR_IDEMPOTENCY);
    if ((e = check_dates(s, now)) != ERR_OK)
        return op_fail(op, objreq_fail(r, e, r->key, &s->copy.cond));
    return op_go(op, rename_look);
}

static enum step_next rename_look(struct op *op)
{
    struct s3_request *r = S3(op);

    return look(r, ((struct rename_state *)r->state)->from, rename_looked);
}

/* All of the source's headers, and this request's mark instead of an earlier one's. */
static void remember(struct s3_request *r, struct rename_state *s)
{
    const struct object_info *from = &s->head.info;
    struct attr *attrs = arena_alloc(r->arena, (from->attr_count + 1) * sizeof(*attrs));
    uint32_t n = 0;

    for (uint32_t i = 0; i < from->attr_count; i++)
        if (!str_eq(from->attrs[i].name, RENAMED))
            attrs[n++] = from->attrs[i];
    attrs[n++] = (struct attr){RENAMED, s->mark};
    s->copy.replace_attrs = true;
    s->copy.info.attrs = attrs;
    s->copy.info.attr_count = n;
}

static enum step_next rename_looked(struct op *op)
{
    struct s3_request *r = S3(op);
    struct rename_state *s = r->state;
    enum err e = op->call.err;

    if (e == ERR_OK)
        e = cond_check_copy_source(&s->copy.src_cond, &s->head.info, clock_wall_ns() / NS_PER_S);
    if (e != ERR_OK)
        return op_fail(op, objreq_fail(r, e, s->from, &s->copy.src_cond));
    if (s->mark.n)
        remember(r, s);
    s->copy.src_cond = (struct cond)COND_INIT;
    s->copy.src_cond.if_match = quoted(&s->head.info.etag, s->pin);
    s->copy.cause = s3_cause(r, EVENT_BY_METHOD);
    store_obj_copy(r->env->store, &s->copy, &s->copied, op_try(op, rename_copied));
    return STEP_WAIT;
}

static enum step_next rename_copied(struct op *op)
{
    struct s3_request *r = S3(op);
    struct rename_state *s = r->state;
    enum err e = op->call.err;

    if (e == ERR_PRECONDITION && cond_is_empty(&s->copy.cond))
        e = ERR_CONFLICT; /* the source changed after it was looked at */
    if (e != ERR_OK)
        return op_fail(op, objreq_fail(r, e, s->from, &s->copy.cond));
    if (s->copied.moved)
        return op_go(op, reply_send);
    s->drop =
        (struct obj_delete_req){.arena = r->arena, .bucket = r->bucket.id, .key = s->from, .cond = s->copy.src_cond};
    s->drop.cause = s3_cause(r, EVENT_BY_METHOD);
    store_obj_delete(r->env->store, &s->drop, &s->dropped, op_try(op, rename_dropped));
    return STEP_WAIT;
}

static enum step_next rename_dropped(struct op *op)
{
    struct s3_request *r = S3(op);

    if (op->call.err == ERR_PRECONDITION)
        return op_fail(op,
                       reply_error(r, ERR_CONFLICT,
                                   "The source was written anew while it was renamed: what it was before has the new "
                                   "name, what it is now has kept its own."));
    return op->call.err == ERR_OK ? op_go(op, reply_send) : op_fail(op, op->call.err);
}

/* ---- the request ---- */

/* "[/]bucket/key"; S3's examples leave the bucket out. */
static enum err parse_source(struct s3_request *r, struct rename_state *s)
{
    struct str value = s3_header(r, STR("x-amz-rename-source")), key, rest;
    enum err e;

    if (!value.n)
        return reply_error(r, ERR_INVALID_REQUEST, "Missing required header for this request: x-amz-rename-source");
    reply_detail(r, STR("ArgumentName"), STR("x-amz-rename-source"));
    reply_detail(r, STR("ArgumentValue"), value);
    if (!url_decode(value, r->arena, false, &key))
        return ERR_INVALID_ARGUMENT;
    if (key.n && key.p[0] == '/')
        key = str_skip(key, 1);
    rest = key;
    if (str_eq(str_split(&rest, '/'), r->bucket_name) && rest.n)
        key = rest;
    if ((e = name_check_key(key)) != ERR_OK)
        return e == ERR_INVALID_URI ? ERR_INVALID_ARGUMENT : e;
    if (str_eq(key, r->key))
        return reply_error(r, ERR_INVALID_REQUEST, "An object can't be renamed to the name it has.");
    s->from = key;
    return ERR_OK;
}

static void add_digest(struct str text, char *out)
{
    struct digest d;

    hash_of(HASH_SHA256, text, &d);
    hex_encode(d.b, TOKEN_PART / 2, out);
}

static enum err parse_token(struct s3_request *r, struct rename_state *s)
{
    static const char *const parameters[] = {"if-match",
                                             "if-none-match",
                                             "if-modified-since",
                                             "if-unmodified-since",
                                             "x-amz-rename-source-if-match",
                                             "x-amz-rename-source-if-none-match",
                                             "x-amz-rename-source-if-modified-since",
                                             "x-amz-rename-source-if-unmodified-since"};
    struct str token = s3_header(r, STR("x-amz-client-token")), all = s->from;
    char *mark;

    if (!token.p)
        return ERR_OK;
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] < 33 || token.p[i] > 126)
            token.n = 0;
    if (!token.n || token.n > TOKEN_MAX)
        return reply_error(r, ERR_INVALID_ARGUMENT, "x-amz-client-token must be 1 to %d characters of printable ASCII",
                           TOKEN_MAX);
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
        all = arena_printf(r->arena, STR_FMT "\n" STR_FMT, STR_ARG(all),
                           STR_ARG(s3_header(r, str_z(parameters[i])))); /* a key may hold \n: no matter */
    mark = arena_alloc(r->arena, 2 * TOKEN_PART + 1);
    add_digest(arena_printf(r->arena, STR_FMT "\n" STR_FMT, STR_ARG(token), STR_ARG(r->key)), mark);
    mark[TOKEN_PART] = '.';
    add_digest(all, mark + TOKEN_PART + 1);
    s->token = token;
    s->mark = str_n(mark, 2 * TOKEN_PART + 1);
    return ERR_OK;
}

static enum err rename_parse(struct s3_request *r, struct rename_state *s)
{
    enum err e;

    s->copy = (struct obj_copy_req){.arena = r->arena,
                                    .src_bucket = r->bucket.id,
                                    .bucket = r->bucket.id,
                                    .key = r->key,
                                    .size_max = OBJECT_SIZE_MAX,
                                    .move = true};
    cond_parse_read(r->http, &s->dates);
    cond_parse_write(r->http, &s->copy.cond);
    cond_parse_rename_source(r->http, &s->copy.src_cond);
    s->dates.if_match = s->dates.if_none_match = STR_NONE;
    if ((e = objreq_refuse_unsupported(r)) != ERR_OK || (e = parse_source(r, s)) != ERR_OK ||
        (e = s3_may(r, STR("s3:GetObject"), &r->bucket, s->from)) != ERR_OK ||
        (e = s3_may(r, STR("s3:DeleteObject"), &r->bucket, s->from)) != ERR_OK)
        return e;
    s->copy.src_key = s->from;
    return parse_token(r, s);
}
