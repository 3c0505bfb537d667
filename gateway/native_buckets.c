/* Buckets: create, destroy, list, head, properties, another name. */
#include "base/hash.h"
#include "base/log.h"
#include "gateway/native_props.h"
#include "gateway/native_request.h"
#include "gateway/native_steps.h"

enum { LIST_PAGE = 1000, XID_BYTES = 9, SET_TRIES = 8 };

struct str native_new_id(struct arena *a, const char *before)
{
    uint8_t raw[XID_BYTES];
    char text[BASE64_LEN(XID_BYTES)];

    random_bytes(raw, sizeof(raw));
    return arena_printf(a, "%s%.*s", before, (int)base64url_encode(raw, sizeof(raw), text), text);
}

/* "/buckets/a/b" names nothing, but for HEAD. */
enum err native_only_bucket(struct native_request *r)
{
    if (r->object.n == 0)
        return ERR_OK;
    return native_error(r, ERR_INVALID_ARGUMENT, "\"" STR_FMT "\": a bucket's path ends with its name",
                        STR_ARG(r->http->path));
}

/* What only AIStore's own buckets can do. */
static enum err refuse_remote(struct native_request *r, const struct native_bucket *b, const char *what)
{
    enum err e = native_only_bucket(r);

    if (e != ERR_OK)
        return e;
    if (b->uuid.n)
        return native_no_bucket(r, b); /* of another cluster, and none is attached */
    if (b->provider != PROVIDER_AIS)
        return native_error(r, ERR_NOT_IMPLEMENTED,
                            "%s: " STR_FMT " is not a bucket of this server's own: not implemented", what,
                            STR_ARG(native_bucket_text(r->arena, b)));
    return ERR_OK;
}

static enum err exists(struct native_request *r, const struct native_bucket *b)
{
    r->tcode = STR("ErrBckAlreadyExists");
    r->error_status = 409;
    return native_error(r, ERR_BUCKET_EXISTS, "bucket \"" STR_FMT "\" already exists",
                        STR_ARG(native_bucket_text(r->arena, b)));
}

/* ---- create-bck ---- */

struct create {
    struct native_props_change props;
    struct bucket_create_req req;
    struct bucket_create_res res;
};

static step_fn create_done;

enum step_next native_create_bucket(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct create *c = ARENA_NEW(r->arena, struct create);
    enum err e;

    r->state = c;
    if ((e = refuse_remote(r, &r->bucket, "create-bck")) != ERR_OK ||
        (e = native_bucket_check(r, &r->bucket)) != ERR_OK ||
        (e = native_props_change(r, r->action.value, NULL, &c->props)) != ERR_OK)
        return op_fail(op, e);
    c->req = (struct bucket_create_req){.arena = r->arena,
                                        .name = native_bucket_own_name(r->arena, &r->bucket),
                                        .owner = r->who,
                                        .redundancy = c->props.redundancy,
                                        .props = c->props.settings};
    buckets_create(r->env->s3->buckets, &c->req, &c->res, op_try(op, create_done));
    return STEP_WAIT;
}

static enum step_next create_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    enum err e = op->call.err;

    if (e == ERR_BUCKET_OWNED || e == ERR_BUCKET_EXISTS)
        e = exists(r, &r->bucket);
    return e == ERR_OK ? op_go(op, native_send) : op_fail(op, native_fail(r, e, &r->bucket, STR_NONE));
}

/* ---- destroy-bck: with all that is in it ---- */

struct destroy {
    struct bucket_delete_req req;
    struct bucket_delete_res res;
};

static step_fn destroy_done;

enum step_next native_destroy_bucket(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct destroy *d = ARENA_NEW(r->arena, struct destroy);
    enum err e = native_only_bucket(r);

    r->state = d;
    if (e != ERR_OK)
        return op_fail(op, e);
    d->req = (struct bucket_delete_req){
        .arena = r->arena, .store = r->env->s3->store, .name = r->bucket.found.id.name, .objects = true};
    buckets_delete(r->env->s3->buckets, &d->req, &d->res, op_try(op, destroy_done));
    return STEP_WAIT;
}

static enum step_next destroy_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    enum err e = op->call.err;

    return e == ERR_OK ? op_go(op, native_send) : op_fail(op, native_fail(r, e, &r->bucket, STR_NONE));
}

/* ---- list: buckets without a bucket in the path, objects with one ---- */

struct query_bck {
    bool any_provider, any_space;
    enum native_provider provider;
    struct str uuid, space;
};

static enum native_provider provider_of(const struct bucket *b)
{
    return b->id.backend ? PROVIDER_AWS : PROVIDER_AIS;
}

static bool is_asked(const struct query_bck *q, const struct native_bucket *b)
{
    if (!q->any_provider && q->provider != b->provider)
        return false;
    return q->any_space || (q->uuid.n == 0 && str_eq(q->space, b->space));
}

static enum err parse_query(struct native_request *r, struct query_bck *q)
{
    struct str provider = native_query(r, STR("provider")), space = native_query(r, STR("namespace"));
    struct str uname = arena_printf(r->arena, STR_FMT "/" STR_FMT "/any", STR_ARG(provider.n ? provider : STR("ais")),
                                    STR_ARG(space.n ? space : STR("@#")));
    struct native_bucket b = {.name = STR("")};
    enum err e = native_bucket_of_uname(r, uname, &b, NULL);

    *q = (struct query_bck){provider.n == 0, space.n == 0, b.provider, b.uuid, b.space};
    return e;
}

enum step_next native_list_buckets(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct query_bck q;
    struct bucket_page page = {.truncated = true};
    struct str after = STR("");
    enum err e = parse_query(r, &q);

    if (e != ERR_OK)
        return op_fail(op, e);
    js_array(&r->text);
    while (page.truncated) {
        struct arena arena = ARENA_INIT;
        buckets_list(r->env->s3->buckets, &arena, STR(""), after, LIST_PAGE, &page);
        for (uint32_t i = 0; i < page.count; i++) {
            struct native_bucket b = {.name = page.buckets[i].id.name};
            native_bucket_of_own(page.buckets[i].id.name, &b);
            b.provider = provider_of(&page.buckets[i]);
            if (is_asked(&q, &b))
                native_bucket_json(&r->text, &b);
        }
        page.truncated = page.truncated && page.count > 0;
        if (page.count > 0)
            after = arena_str(r->arena, page.buckets[page.count - 1].id.name);
        arena_release(&arena);
    }
    js_end_array(&r->text);
    return op_go(op, native_send);
}

enum step_next native_list(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (r->raw_count < 2 || r->raw[1].n == 0)
        return op_go(op, native_list_buckets);
    enum err e = native_path_bucket(r, 1);
    if (e != ERR_OK || (e = native_only_bucket(r)) != ERR_OK)
        return op_fail(op, e);
    native_bucket_find(r, &r->bucket, op_call(op, native_list_objects));
    return STEP_WAIT;
}

/* ---- HEAD ---- */

void native_bucket_headers(struct native_request *r, const struct native_bucket *b)
{
    static const char *const names[] = {"ais", "aws", "gcp", "azure", "oci"};
    struct buf text;

    buf_init(&text, BUCKET_PROPS_MAX + 8192);
    native_props_json(r, &text, b);
    native_header(r, STR("Ais-Bucket-Props"), arena_str(r->arena, buf_str(&text)));
    native_header(r, STR("Ais-Provider"), str_z(names[b->provider]));
    native_header(r, STR("Ais-Versioning-Enabled"), STR("true"));
    buf_release(&text);
}

/* The SDK's info() always says bsumm_remote. */
enum step_next native_head_bucket(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (native_query(r, STR("bsumm_remote")).p)
        return op_go(op, native_info);
    native_bucket_headers(r, &r->bucket);
    r->stated_length = 0;
    return op_go(op, native_send);
}

/* ---- set-bprops, reset-bprops: read, change, write unless somebody else did meanwhile ---- */

struct set {
    struct bucket_look_req look;
    struct bucket_look_res looked;
    struct native_props_change change;
    struct bucket_set_props_req req;
    struct bucket_set_props_res res;
    unsigned tries;
};

static step_fn set_look, set_write, set_done;

static enum step_next set_begin(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct set *s = ARENA_NEW(r->arena, struct set);
    enum err e = native_only_bucket(r);

    r->state = s;
    s->look = (struct bucket_look_req){.arena = r->arena, .name = r->bucket.found.id.name, .fresh = true};
    s->req = (struct bucket_set_props_req){.arena = r->arena, .name = r->bucket.found.id.name};
    return e == ERR_OK ? op_go(op, set_look) : op_fail(op, e);
}

static enum step_next set_look(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct set *s = r->state;

    buckets_look(r->env->s3->buckets, &s->look, &s->looked, op_try(op, set_write));
    return STEP_WAIT;
}

static enum step_next set_write(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct set *s = r->state;
    struct str props = s->looked.bucket.props;
    enum err e = op->call.err;

    if (e != ERR_OK)
        return op_fail(op, native_fail(r, e, &r->bucket, STR_NONE));
    if (str_eq(r->action.action, STR("reset-bprops"))) {
        s->req.change = STR("{\"native\":null}"); /* what had no effect; members and backends stay */
    } else {
        if ((e = native_props_change(r, r->action.value, &s->looked.bucket, &s->change)) != ERR_OK)
            return op_fail(op, e);
        s->req.change = s->change.settings;
        s->req.only_if = props.p ? props : STR("");
    }
    buckets_set_props(r->env->s3->buckets, &s->req, &s->res, op_try(op, set_done));
    return STEP_WAIT;
}

static enum step_next set_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct set *s = r->state;
    enum err e = op->call.err;

    if (e == ERR_CONFLICT && ++s->tries < SET_TRIES)
        return op_go(op, set_look);
    return e == ERR_OK ? op_go(op, native_send) : op_fail(op, native_fail(r, e, &r->bucket, STR_NONE));
}

enum step_next native_set_props(struct op *op)
{
    return set_begin(op);
}

enum step_next native_reset_props(struct op *op)
{
    return set_begin(op);
}

/* ---- move-bck: its record moves at once, nothing else has to ---- */

struct move {
    struct native_bucket to;
    struct bucket_rename_req req;
    struct bucket_rename_res res;
    struct job_start_req job;
    struct job_start_res started;
    struct buf spec;
};

static step_fn move_done, move_told;

static void release(void *b)
{
    buf_release(b);
}

static enum err no_object(struct native_request *r, struct str object)
{
    return object.n == 0 ? ERR_OK : native_error(r, ERR_INVALID_ARGUMENT, "bck_to names an object, not a bucket");
}

enum step_next native_rename_bucket(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct move *m = ARENA_NEW(r->arena, struct move);
    struct str object = STR_NONE;
    enum err e;

    r->state = m;
    buf_init(&m->spec, BUCKET_PROPS_MAX);
    arena_defer(r->arena, release, &m->spec);
    if ((e = refuse_remote(r, &r->bucket, "move-bck")) != ERR_OK ||
        (e = native_bucket_of_uname(r, native_query(r, STR("bck_to")), &m->to, &object)) != ERR_OK ||
        (e = refuse_remote(r, &m->to, "move-bck")) != ERR_OK || (e = no_object(r, object)) != ERR_OK ||
        (e = native_bucket_check(r, &m->to)) != ERR_OK)
        return op_fail(op, e);
    m->req = (struct bucket_rename_req){
        .arena = r->arena, .name = r->bucket.found.id.name, .to = native_bucket_own_name(r->arena, &m->to)};
    buckets_rename(r->env->s3->buckets, &m->req, &m->res, op_try(op, move_done));
    return STEP_WAIT;
}

static enum step_next move_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct move *m = r->state;
    enum err e = op->call.err;

    if (e == ERR_BUCKET_EXISTS)
        e = exists(r, &m->to);
    if (e != ERR_OK)
        return op_fail(op, native_fail(r, e, &r->bucket, STR_NONE));
    js_object(&m->spec);
    js_put_str(&m->spec, "bucket", m->req.name);
    js_put_str(&m->spec, "to", m->req.to);
    js_end_object(&m->spec);
    m->job = (struct job_start_req){
        .arena = r->arena, .kind = STR("move-bck"), .spec = buf_str(&m->spec), .started_by = r->who, .ended = true};
    r->env->jobs->start(r->env->meta, &m->job, &m->started, op_try(op, move_told));
    return STEP_WAIT;
}

/* The bucket has its new name, whether or not that could be written down. */
static enum step_next move_told(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct move *m = r->state;

    if (op->call.err != ERR_OK)
        log_warn(str_n(r->http->id, sizeof(r->http->id)), "a bucket was renamed, but no job tells so", "to=%s err=%s",
                 log_quote(m->req.to), err_name(op->call.err));
    r->type = STR("text/plain");
    buf_add_str(&r->text, op->call.err == ERR_OK ? m->started.id : native_new_id(r->arena, ""));
    return op_go(op, native_send);
}
