#include "store.h"

#include <assert.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"

/* ---- metrics: one row per kind of store and method, shared by all its handles ---- */

enum method {
#define M(m) METHOD_##m,
    STORE_METHODS(M)
#undef M
        METHOD_COUNT
};

static const char *const method_names[METHOD_COUNT] = {
#define M(m) #m,
    STORE_METHODS(M)
#undef M
};

struct method_metrics {
    struct metric took, failed;
    char labels[64];
};

struct store_metrics {
    const char *name;
    struct store_metrics *next;
    struct method_metrics methods[METHOD_COUNT];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct store_metrics *all; /* guarded by lock; rows stay for the life of the process */

static void method_register(struct method_metrics *m, const char *store, const char *method)
{
    snprintf(m->labels, sizeof(m->labels), "store=\"%s\",method=\"%s\"", store, method);
    m->took = (struct metric){.name = "sluice_store_seconds",
                              .labels = m->labels,
                              .help = "Time from a store method's call to its end.",
                              .kind = METRIC_HISTOGRAM};
    m->failed =
        (struct metric){.name = "sluice_store_failures_total",
                        .labels = m->labels,
                        .help = "Store methods that ended in an error of the server's side (status 500 and up).",
                        .kind = METRIC_COUNTER};
    metric_register(&m->took);
    metric_register(&m->failed);
}

static struct store_metrics *metrics_of(struct store *s)
{
    struct store_metrics *m;

    if (s->metrics)
        return s->metrics;
    pthread_mutex_lock(&lock);
    for (m = all; m && strcmp(m->name, s->ops->name) != 0; m = m->next)
        ;
    if (!m) {
        m = NEW(struct store_metrics);
        m->name = s->ops->name;
        for (int i = 0; i < METHOD_COUNT; i++)
            method_register(&m->methods[i], m->name, method_names[i]);
        m->next = all;
        all = m;
    }
    pthread_mutex_unlock(&lock);
    return s->metrics = m;
}

/* The call that the method gets: it tells the metrics before the caller's. */
struct timed {
    struct call call;
    struct call *whole;
    struct method_metrics *metrics;
    uint64_t begun_ns;
};

static void timed_done(struct call *c)
{
    struct timed *t = CONTAINER(c, struct timed, call);

    metric_time(&t->metrics->took, clock_mono_ns() - t->begun_ns);
    if (err_status(c->err) >= 500)
        metric_add(&t->metrics->failed, 1);
    call_finish(t->whole, c->err);
}

static void timed_cancel(void *arg)
{
    call_cancel(&((struct timed *)arg)->call);
}

static struct call *timed_begin(struct store *s, enum method m, struct arena *arena, struct call *whole)
{
    assert(arena);
    struct timed *t = ARENA_NEW(arena, struct timed);

    t->whole = whole;
    t->metrics = &metrics_of(s)->methods[m];
    t->begun_ns = clock_mono_ns();
    call_begin(&t->call, whole->loop, timed_done);
    call_on_cancel(whole, timed_cancel, t);
    return &t->call;
}

/* ---- arguments: what every store may rely on ---- */

static enum err check_key(struct str key)
{
    if (key.n == 0)
        return ERR_INVALID_ARGUMENT;
    return key.n <= STORE_KEY_MAX ? ERR_OK : ERR_KEY_TOO_LONG;
}

static enum err check_upload(struct str key, struct str upload_id)
{
    char raw[UPLOAD_ID_LEN / 2];
    enum err e = check_key(key);

    if (e != ERR_OK)
        return e;
    return hex_decode(upload_id, raw, sizeof(raw)) ? ERR_OK : ERR_NO_SUCH_UPLOAD;
}

static enum err check_page(uint32_t max)
{
    return max <= LIST_MAX ? ERR_OK : ERR_INVALID_ARGUMENT;
}

static enum err check_obj_head(const struct obj_head_req *r)
{
    if (r->part_number > PARTS_MAX || (r->part_number && r->range.kind != RANGE_ALL))
        return ERR_INVALID_ARGUMENT;
    return check_key(r->key);
}

static enum err check_obj_get(const struct obj_get_req *r)
{
    return check_obj_head(&r->head);
}

static enum err check_obj_put(const struct obj_put_req *r)
{
    assert(r->check);
    if (r->body && r->body->size != SOURCE_SIZE_UNKNOWN && r->body->size > r->size_max)
        return ERR_ENTITY_TOO_LARGE;
    return check_key(r->key);
}

static enum err check_obj_delete(const struct obj_delete_req *r)
{
    if (r->evict && !r->bucket.backend && !r->bucket.view) /* it would be gone for good */
        return ERR_INVALID_REQUEST;
    return check_key(r->key);
}

static enum err check_obj_copy(const struct obj_copy_req *r)
{
    enum err e = check_key(r->src_key);

    return e != ERR_OK ? e : check_key(r->key);
}

static enum err check_obj_splice(const struct obj_splice_req *r)
{
    assert(r->check);
    if (r->offset > OBJECT_SIZE_MAX || r->cut > OBJECT_SIZE_MAX)
        return ERR_INVALID_RANGE;
    if (r->body && r->body->size != SOURCE_SIZE_UNKNOWN && r->body->size > r->size_max)
        return ERR_ENTITY_TOO_LARGE;
    return check_key(r->key);
}

static enum err check_obj_import(const struct obj_import_req *r)
{
    assert(r->check);
    return check_key(r->key);
}

static enum err check_obj_list(const struct obj_list_req *r)
{
    return check_page(r->max);
}

static enum err check_upload_create(const struct upload_create_req *r)
{
    enum hash_alg alg = r->checksum;
    enum checksum_type type = r->type;

    if (!upload_checksum(&alg, &type))
        return ERR_INVALID_REQUEST;
    return check_key(r->key);
}

static enum err check_upload_part(const struct upload_part_req *r)
{
    assert(r->check);
    if (r->number < 1 || r->number > PARTS_MAX)
        return ERR_INVALID_ARGUMENT;
    if (r->body && r->body->size != SOURCE_SIZE_UNKNOWN && r->body->size > r->size_max)
        return ERR_ENTITY_TOO_LARGE;
    return check_upload(r->key, r->upload_id);
}

static enum err check_upload_complete(const struct upload_complete_req *r)
{
    if (r->part_count == 0 || r->part_count > PARTS_MAX)
        return ERR_MALFORMED_XML;
    return check_upload(r->key, r->upload_id);
}

static enum err check_upload_abort(const struct upload_abort_req *r)
{
    return check_upload(r->key, r->upload_id);
}

static enum err check_upload_list(const struct upload_list_req *r)
{
    return check_page(r->max);
}

static enum err check_part_list(const struct part_list_req *r)
{
    enum err e = check_page(r->max);

    return e != ERR_OK ? e : check_upload(r->key, r->upload_id);
}

static enum err check_bucket_purge(const struct bucket_purge_req *r)
{
    return r->bucket.uid ? ERR_OK : ERR_INVALID_ARGUMENT;
}

/* ---- the wrappers ---- */

/* Every request begins with its arena (in obj_get_req: its head does). */
#define ARENA_FIRST(request, arena) _Static_assert(offsetof(struct request, arena) == 0, "the arena comes first")
ARENA_FIRST(obj_head_req, arena);
ARENA_FIRST(obj_get_req, head.arena);
ARENA_FIRST(obj_put_req, arena);
ARENA_FIRST(obj_delete_req, arena);
ARENA_FIRST(obj_copy_req, arena);
ARENA_FIRST(obj_splice_req, arena);
ARENA_FIRST(obj_import_req, arena);
ARENA_FIRST(obj_list_req, arena);
ARENA_FIRST(upload_create_req, arena);
ARENA_FIRST(upload_part_req, arena);
ARENA_FIRST(upload_complete_req, arena);
ARENA_FIRST(upload_abort_req, arena);
ARENA_FIRST(upload_list_req, arena);
ARENA_FIRST(part_list_req, arena);
ARENA_FIRST(bucket_purge_req, arena);

static struct arena *arena_of(const void *req)
{
    return *(struct arena *const *)req;
}

#define M(m)                                                                                                           \
    void store_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)                    \
    {                                                                                                                  \
        enum err e = s->ops->m ? check_##m(req) : ERR_NOT_IMPLEMENTED;                                                 \
        struct call *timed = timed_begin(s, METHOD_##m, arena_of(req), c);                                             \
        if (e != ERR_OK)                                                                                               \
            call_finish(timed, e);                                                                                     \
        else                                                                                                           \
            s->ops->m(s, req, res, timed);                                                                             \
    }
STORE_METHODS(M)
#undef M

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}
