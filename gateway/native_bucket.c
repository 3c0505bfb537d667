/* Names of buckets in the native API: provider, namespace, name; and which bucket of ours that is.
 *
 * The bucket "b" of the global namespace is our bucket "b". That of the namespace "#ns" is our bucket "ns--b": S3 clients reach it by that
 * name. Buckets of other clusters ("@uuid") are not served. Of other providers than "ais" a bucket exists when one of ours of that name has a
 * backend, which is how remote buckets are attached. */
#include "base/mem.h"
#include "gateway/native_request.h"
#include "s3api/name.h"

enum { NAME_MAX_BYTES = 63 };

static const struct {
    const char *name, *alias, *scheme;
} providers[] = {
    {"ais", "ais", "ais"}, {"aws", "s3", "s3"}, {"gcp", "gs", "gs"}, {"azure", "az", "azure"}, {"oci", "oc", "oci"}};

static bool provider_parse(struct str s, enum native_provider *out)
{
    if (s.n == 0) {
        *out = PROVIDER_AIS;
        return true;
    }
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
        if (str_eq(s, str_z(providers[i].name)) || str_eq(s, str_z(providers[i].alias))) {
            *out = (enum native_provider)i;
            return true;
        }
    return false;
}

/* "@uuid#name", "#name", "@uuid", "" */
static void namespace_parse(struct str s, struct native_bucket *b)
{
    struct str uuid = str_split(&s, '#');

    b->uuid = uuid.n && uuid.p[0] == '@' ? str_skip(uuid, 1) : uuid;
    b->space = s;
}

struct str native_bucket_text(struct arena *a, const struct native_bucket *b)
{
    const char *scheme = providers[b->provider].scheme;

    if (b->uuid.n == 0 && b->space.n == 0)
        return arena_printf(a, "%s://" STR_FMT, scheme, STR_ARG(b->name));
    return arena_printf(a, "%s://@" STR_FMT "#" STR_FMT "/" STR_FMT, scheme, STR_ARG(b->uuid), STR_ARG(b->space),
                        STR_ARG(b->name));
}

/* AIStore's rule is wider than S3's: letters of either case and '_'. Such buckets can only be reached here. */
static bool is_name(struct str s)
{
    if (s.n == 0 || s.n > NAME_MAX_BYTES || s.p[0] == '.' || str_find(s, STR("..")) != SIZE_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.'))
            return false;
    return true;
}

enum err native_bucket_check(struct native_request *r, const struct native_bucket *b)
{
    if (!is_name(b->name) || (b->space.n && (!is_name(b->space) || b->space.n + 2 + b->name.n > NAME_MAX_BYTES)))
        return native_error(r, ERR_INVALID_ARGUMENT,
                            "\"" STR_FMT "\" is no name for a bucket: 1 to %d letters, digits, '-', '_' and '.'",
                            STR_ARG(b->name), NAME_MAX_BYTES);
    return ERR_OK;
}

struct str native_bucket_own_name(struct arena *a, const struct native_bucket *b)
{
    return b->space.n ? arena_printf(a, STR_FMT "--" STR_FMT, STR_ARG(b->space), STR_ARG(b->name)) : b->name;
}

void native_bucket_of_own(struct str own, struct native_bucket *out)
{
    size_t at = str_find(own, STR("--"));

    *out = (struct native_bucket){.name = own};
    if (at != SIZE_MAX && at > 0 && at + 2 < own.n) {
        out->space = str_n(own.p, at);
        out->name = str_skip(own, at + 2);
    }
}

enum err native_bucket_of_doc(struct native_request *r, const struct doc *d, struct native_bucket *out)
{
    const struct doc *space = native_member(d, "namespace");
    struct native_bucket b = {.name = native_text(d, "name")};
    struct str provider = native_text(d, "provider");

    if (!d || d->kind != DOC_MAP)
        return native_error(r, ERR_INVALID_ARGUMENT, "a bucket must be an object with name and provider");
    if (!provider_parse(provider.p ? provider : STR(""), &b.provider))
        return native_error(r, ERR_INVALID_ARGUMENT, "there is no provider \"" STR_FMT "\"", STR_ARG(provider));
    if (space && space->kind == DOC_MAP) {
        b.uuid = native_text(space, "uuid");
        b.space = native_text(space, "name");
    }
    enum err e = native_bucket_check(r, &b);
    if (e == ERR_OK)
        *out = b;
    return e;
}

enum err native_bucket_of_uname(struct native_request *r, struct str uname, struct native_bucket *out,
                                struct str *object)
{
    struct str rest = uname, provider = str_split(&rest, '/');
    struct native_bucket b = {.name = STR("")};
    enum err e;

    if (!provider_parse(provider, &b.provider) || rest.n == 0)
        return native_error(r, ERR_INVALID_ARGUMENT,
                            "\"" STR_FMT "\" names no bucket: PROVIDER/@UUID#NAMESPACE/BUCKET/OBJECT", STR_ARG(uname));
    namespace_parse(str_split(&rest, '/'), &b);
    b.name = str_split(&rest, '/');
    if ((e = native_bucket_check(r, &b)) != ERR_OK)
        return e;
    *out = b;
    if (object)
        *object = rest;
    return ERR_OK;
}

enum err native_path_bucket(struct native_request *r, unsigned segments)
{
    struct native_bucket *b = &r->bucket;
    struct str provider = native_query(r, STR("provider")), space = native_query(r, STR("namespace"));
    enum err e;

    if (!provider_parse(provider, &b->provider))
        return native_error(r, ERR_INVALID_ARGUMENT, "there is no provider \"" STR_FMT "\"", STR_ARG(provider));
    namespace_parse(space, b);
    if (r->raw_count <= segments || !url_decode(r->raw[segments], r->arena, false, &b->name))
        b->name = STR("");
    if ((e = native_bucket_check(r, b)) != ERR_OK)
        return e;
    if (r->raw_count > segments + 1 && !url_decode(r->raw[segments + 1], r->arena, false, &r->object))
        return native_error(r, ERR_INVALID_URI, "the object's name can't be decoded");
    if (r->route->flags & NATIVE_OBJECT) {
        if (r->object.n == 0)
            return native_error(r, ERR_INVALID_ARGUMENT, "the path names no object");
        if ((e = name_check_key(r->object)) != ERR_OK)
            return native_error(r, e, "the object's name: %s", err_text(e));
    }
    return ERR_OK;
}

void native_bucket_json(struct buf *b, const struct native_bucket *bucket)
{
    js_object(b);
    js_put_str(b, "name", bucket->name);
    js_put_str(b, "provider", str_z(providers[bucket->provider].name));
    js_key(b, STR("namespace"));
    js_object(b);
    js_put_str(b, "uuid", bucket->uuid);
    js_put_str(b, "name", bucket->space);
    js_end_object(b);
    js_end_object(b);
}

/* ---- finding ---- */

struct finding {
    struct op op;
    struct call *whole;
    struct native_request *request;
    struct native_bucket *bucket;
    struct bucket_look_req req;
    struct bucket_look_res res;
};

static step_fn find_look, find_looked, find_end;

static enum step_next find_look(struct op *op)
{
    struct finding *f = OP(op, struct finding);

    buckets_look(f->request->env->s3->buckets, &f->req, &f->res, op_try(op, find_looked));
    return STEP_WAIT;
}

static bool has_backend(const struct bucket *b)
{
    return b->props.n && str_find(b->props, STR("\"backend\":")) != SIZE_MAX;
}

static enum step_next find_looked(struct op *op)
{
    struct finding *f = OP(op, struct finding);
    enum err e = op->call.err;

    if (e == ERR_NO_SUCH_BUCKET || (e == ERR_OK && f->bucket->provider != PROVIDER_AIS && !has_backend(&f->res.bucket)))
        return op_fail(op, native_no_bucket(f->request, f->bucket));
    if (e != ERR_OK)
        return op_fail(op, e);
    f->bucket->found = f->res.bucket;
    return op_go(op, find_end);
}

static enum step_next find_end(struct op *op)
{
    struct finding *f = OP(op, struct finding);

    call_finish(f->whole, op->err);
    return STEP_DONE;
}

static void find_cancel(void *op)
{
    op_cancel(op, ERR_CANCELLED);
}

void native_bucket_find(struct native_request *r, struct native_bucket *b, struct call *call)
{
    struct finding *f = ARENA_NEW(r->arena, struct finding);
    struct str own = native_bucket_own_name(r->arena, b);

    if (b->uuid.n || bucket_is_system(own)) {
        call_finish(call, native_no_bucket(r, b));
        return;
    }
    if (b->provider == PROVIDER_AIS && buckets_find(r->env->s3->buckets, r->arena, own, &b->found) == ERR_OK) {
        call_finish(call, ERR_OK);
        return;
    }
    *f = (struct finding){.whole = call, .request = r, .bucket = b, .req = {r->arena, own}};
    op_start(&f->op, r->env->loop, "native_bucket", find_look, find_end);
    if (call->state == CALL_PENDING)
        call_on_cancel(call, find_cancel, &f->op);
}
