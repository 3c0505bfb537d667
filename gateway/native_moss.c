/* GetBatch: GET and POST /v1/ml/moss[/BUCKET]. The answer is made here at once: there is no second place to be redirected to. */
#include "archive/arc_batch.h"
#include "etl/through.h"
#include "gateway/native_request.h"
#include "s3api/name.h"

enum { BUCKETS_MAX = 1000, PATH_SEGMENTS = 2, TOO_MANY_REQUESTS = 429 };

struct moss {
    struct arc_batch batch;
    struct native_bucket *buckets; /* the different ones */
    size_t bucket_count, found;
    size_t *bucket_of; /* of each row */
    struct arc_batch_req req;
    struct arc_batch_res res;
};

step_fn native_moss; /* native_routes.def */
static step_fn moss_find, moss_rows, moss_answer;

/* ---- whose objects ---- */

static bool same_bucket(const struct native_bucket *a, const struct native_bucket *b)
{
    return a->provider == b->provider && str_eq(a->name, b->name) && str_eq(a->uuid, b->uuid) &&
           str_eq(a->space, b->space);
}

static enum err remember(struct native_request *r, struct moss *m, const struct native_bucket *b, size_t *at)
{
    for (size_t i = m->bucket_count; i-- > 0;)
        if (same_bucket(&m->buckets[i], b)) {
            *at = i;
            return ERR_OK;
        }
    if (m->bucket_count == BUCKETS_MAX)
        return native_error(r, ERR_INVALID_ARGUMENT, "a batch can be of %d buckets at most", BUCKETS_MAX);
    *at = m->bucket_count++;
    m->buckets[*at] = *b;
    return ERR_OK;
}

/* The entry's own bucket goes before that of the path. */
static enum err bucket_of_row(struct native_request *r, struct arc_batch_row *row, struct native_bucket *out)
{
    struct str object;
    enum err e;

    if (row->uname.n) {
        if ((e = native_bucket_of_uname(r, row->uname, out, &object)) != ERR_OK)
            return e;
        if (!row->objname.n)
            row->objname = object;
        return row->objname.n ? ERR_OK : native_error(r, ERR_INVALID_ARGUMENT, "an entry names no object");
    }
    if (row->bucket.n == 0 && row->provider.n == 0 && r->bucket.name.n) {
        *out = r->bucket;
        return ERR_OK;
    }
    struct str name = row->bucket.n ? row->bucket : r->bucket.name;
    if (name.n == 0)
        return native_error(r, ERR_INVALID_ARGUMENT, "neither the path nor the entry \"" STR_FMT "\" names a bucket",
                            STR_ARG(row->objname));
    struct str provider = row->provider.n ? row->provider : native_query(r, STR("provider"));
    return native_bucket_of_uname(
        r,
        arena_printf(r->arena, STR_FMT "/@#/" STR_FMT "/", STR_ARG(provider.n ? provider : STR("ais")), STR_ARG(name)),
        out, NULL);
}

static enum err find_buckets(struct native_request *r, struct moss *m)
{
    enum err e = ERR_OK;

    m->buckets = arena_new(r->arena, BUCKETS_MAX * sizeof(*m->buckets));
    m->bucket_of = arena_alloc(r->arena, m->batch.count * sizeof(*m->bucket_of));
    for (size_t i = 0; i < m->batch.count && e == ERR_OK; i++) {
        struct native_bucket b = {.name = STR("")};
        if ((e = bucket_of_row(r, &m->batch.rows[i], &b)) == ERR_OK)
            e = remember(r, m, &b, &m->bucket_of[i]);
    }
    return e;
}

/* ---- steps ---- */

static void close_body(void *arg)
{
    struct moss *m = arg;

    source_close(m->res.body);
}

enum step_next native_moss(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct moss *m = r->state = ARENA_NEW(r->arena, struct moss);
    char why[ARC_WHY_MAX];
    enum err e;

    if (r->raw_count > PATH_SEGMENTS && r->raw[PATH_SEGMENTS].n && (e = native_path_bucket(r, PATH_SEGMENTS)) != ERR_OK)
        return op_fail(op, e);
    if (!r->body)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "a batch needs a body: {\"in\":[...]}"));
    if ((e = arc_batch_parse(r->arena, r->body, &m->batch, why)) != ERR_OK)
        return op_fail(op, native_error(r, e, "%s", why));
    struct str coloc = native_query(r, STR("coloc"));
    if (coloc.n && (coloc.n != 1 || coloc.p[0] < '0' || coloc.p[0] > '2'))
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "coloc must be 0, 1 or 2"));
    if ((e = find_buckets(r, m)) != ERR_OK)
        return op_fail(op, e);
    arena_defer(r->arena, close_body, m);
    return op_go(op, moss_find);
}

static enum step_next moss_find(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct moss *m = r->state;

    if (m->found == m->bucket_count)
        return op_go(op, moss_rows);
    native_bucket_find(r, &m->buckets[m->found++], op_call(op, moss_find));
    return STEP_WAIT;
}

static struct str provider_name(struct arena *a, const struct native_bucket *b)
{
    struct str text = native_bucket_text(a, b);

    return str_split(&text, ':');
}

static enum step_next moss_rows(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct moss *m = r->state;
    struct str *providers = arena_alloc(r->arena, m->bucket_count * sizeof(*providers));

    for (size_t i = 0; i < m->bucket_count; i++)
        providers[i] = provider_name(r->arena, &m->buckets[i]);
    for (size_t i = 0; i < m->batch.count; i++) {
        struct arc_batch_row *row = &m->batch.rows[i];
        const struct native_bucket *b = &m->buckets[m->bucket_of[i]];
        row->id = b->found.id;
        row->shown_bucket = b->name;
        row->shown_provider = providers[m->bucket_of[i]];
        row->err = name_check_key(row->objname);
    }
    m->req = (struct arc_batch_req){.arena = r->arena,
                                    .loop = op->loop,
                                    .store = r->env->s3->store,
                                    .arcs = r->env->arcs,
                                    .cpu = r->env->s3->cpu,
                                    .batches = r->env->s3->batches,
                                    .batch = &m->batch,
                                    .through = etl_through,
                                    .through_arg = r->env->s3->door,
                                    .bucket = m->buckets[0].name};
    if (m->batch.transforms)
        http_end_is_leaving(r->http);
    arc_batch_open(&m->req, &m->res, op_try(op, moss_answer));
    return STEP_WAIT;
}

static enum err told(struct native_request *r, struct moss *m, enum err e)
{
    if (e == ERR_BUSY) {
        r->error_status = TOO_MANY_REQUESTS;
        native_header_f(r, STR("Retry-After"), "%d", BATCH_RETRY_AFTER_S);
        return native_error(r, e, "as many batches run as may; come again in a moment");
    }
    if (m->res.bad == SIZE_MAX)
        return e;
    const struct arc_batch_row *row = &m->batch.rows[m->res.bad];
    struct str name = row->archpath.n
                          ? arena_printf(r->arena, STR_FMT "/" STR_FMT, STR_ARG(row->objname), STR_ARG(row->archpath))
                          : row->objname;
    return native_fail(r, e == ERR_NO_SUCH_MEMBER ? ERR_NO_SUCH_KEY : e, &m->buckets[m->bucket_of[m->res.bad]], name);
}

static enum step_next moss_answer(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct moss *m = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, told(r, m, op->call.err));
    r->answer = m->res.body;
    m->res.body = NULL;
    r->type = m->res.type;
    native_header(r, STR("Ais-Xaction-Id"), m->res.id);
    return op_go(op, native_send);
}
