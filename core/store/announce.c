#include "store/announce.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/url.h"

enum { MESSAGES_MAX = 2 * NOTIFICATION_RULES_MAX, KEY_TEXT_MAX = 3 * STORE_KEY_MAX };

struct announce {
    struct store store;
    struct store_ops ops;
    const struct announcer *env;
    struct store *inner;
};

static struct announce *of(struct store *s)
{
    return CONTAINER(s, struct announce, store);
}

/* Methods that change nothing that is told of. */
#define M(m)                                                                                                           \
    static void pass_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)              \
    {                                                                                                                  \
        store_##m(of(s)->inner, req, res, c);                                                                          \
    }
STORE_METHODS(M)
#undef M

/* ---- records ---- */

/* What a record says of an object. Of a version that is kept in a shadow: of its key. */
struct subject {
    struct bucket_id bucket;
    struct str key;
    const struct object_info *info; /* NULL: nothing is there any more */
    bool has_version;
    struct object_version version;
};

static void put_time(struct buf *b, const char *name, int64_t ns)
{
    char text[CLOCK_ISO_LEN];

    clock_iso(ns, text);
    js_put_str(b, name, str_n(text, CLOCK_ISO_LEN));
}

static void put_principal(struct buf *b, const char *name, struct str who)
{
    js_key(b, str_z(name));
    js_object(b);
    js_put_str(b, "principalId", who);
    js_end_object(b);
}

static void put_bucket(struct buf *b, const struct announce *a, struct arena *arena, struct str name)
{
    struct bucket bucket;
    char owner[64];
    bool known = buckets_find(a->env->buckets, arena, name, &bucket) == ERR_OK; /* it may be gone */

    if (known)
        a->env->owner_id(bucket.owner, owner);
    js_key(b, STR("bucket"));
    js_object(b);
    js_put_str(b, "name", name);
    put_principal(b, "ownerIdentity", known ? str_n(owner, sizeof(owner)) : STR(""));
    js_put_str(b, "arn", arena_printf(arena, "arn:aws:s3:::" STR_FMT, STR_ARG(name)));
    js_end_object(b);
}

/* As forms have it, but that slashes stay: "red flower.jpg" is "red+flower.jpg". */
static struct str key_text(struct arena *arena, struct str key)
{
    struct buf b = BUF_INIT(KEY_TEXT_MAX);

    while (key.n) {
        size_t space = str_find_char(key, ' ');
        struct str piece = str_split(&key, ' ');
        url_encode(&b, piece, true);
        if (space != SIZE_MAX)
            buf_add_char(&b, '+');
    }
    struct str text = arena_str(arena, buf_str(&b));
    buf_release(&b);
    return text;
}

static void put_object(struct buf *b, struct arena *arena, const struct subject *s, int64_t at_ns)
{
    char id[VERSION_ID_MAX], order[17];

    js_key(b, STR("object"));
    js_object(b);
    js_put_str(b, "key", key_text(arena, s->key));
    if (s->info) {
        js_put_u64(b, "size", s->info->size);
        js_put_str(b, "eTag", etag_str(&s->info->etag));
    }
    if (s->has_version)
        js_put_str(b, "versionId", version_id(s->version, id));
    snprintf(order, sizeof(order), "%016llX", (unsigned long long)at_ns);
    js_put_str(b, "sequencer", str_n(order, 16));
    js_end_object(b);
}

static void put_record(struct buf *b, const struct announce *a, struct arena *arena, const struct cause *cause,
                       enum event_kind kind, const struct notification_rule *rule, const struct subject *s)
{
    bool made = s->info && (kind <= EVENT_COMPLETE);
    int64_t at_ns = made ? s->info->mtime_ns : clock_wall_ns();

    js_object(b);
    js_put_str(b, "eventVersion", STR("2.1"));
    js_put_str(b, "eventSource", STR("aws:s3"));
    js_put_str(b, "awsRegion", a->env->region.n ? a->env->region : STR("us-east-1"));
    put_time(b, "eventTime", at_ns);
    js_put_str(b, "eventName", str_z(event_name(kind)));
    put_principal(b, "userIdentity", cause->who.n ? cause->who : STR("sluice"));
    js_key(b, STR("requestParameters"));
    js_object(b);
    js_put_str(b, "sourceIPAddress", cause->address);
    js_end_object(b);
    js_key(b, STR("responseElements"));
    js_object(b);
    js_put_str(b, "x-amz-request-id", cause->request_id);
    js_put_str(b, "x-amz-id-2", cause->host_id);
    js_end_object(b);
    js_key(b, STR("s3"));
    js_object(b);
    js_put_str(b, "s3SchemaVersion", STR("1.0"));
    js_put_str(b, "configurationId", rule->id);
    put_bucket(b, a, arena, s->bucket.name);
    put_object(b, arena, s, at_ns);
    js_end_object(b);
    js_end_object(b);
}

/* One record in a message; what stands beside it is as MinIO has it, for webhooks that were written for that. */
static struct str message_text(const struct announce *a, struct arena *arena, const struct cause *cause,
                               enum event_kind kind, const struct notification_rule *rule, const struct subject *s)
{
    struct buf b = BUF_INIT(OUTBOX_MESSAGE_MAX);

    js_object(&b);
    js_put_str(&b, "EventName", arena_printf(arena, "s3:%s", event_name(kind)));
    js_put_str(&b, "Key", arena_printf(arena, STR_FMT "/" STR_FMT, STR_ARG(s->bucket.name), STR_ARG(s->key)));
    js_key(&b, STR("Records"));
    js_array(&b);
    put_record(&b, a, arena, cause, kind, rule, s);
    js_end_array(&b);
    js_end_object(&b);
    struct str text = buf_err(&b) == ERR_OK ? arena_str(arena, buf_str(&b)) : STR_NONE;
    buf_release(&b);
    return text;
}

/* ---- a write that is watched ---- */

struct watched {
    struct call call; /* the inner store's, then the outbox's */
    struct announce *a;
    struct arena *arena;
    struct cause cause;
    struct call *whole;
    void (*look)(struct watched *w); /* tells what has happened */
    const void *req;
    void *res;
    struct outbox_message *messages;
    struct outbox_put_req put;
    struct outbox_put_res written;
};

static const struct notification *rules_of(const struct announce *a, struct arena *arena, const struct bucket_id *b)
{
    const struct bucket_doc *d = bucket_conf_find(a->env->confs, arena, b->uid & ~VERSIONS_SHADOW, STR("notification"));

    return d ? d->parsed : NULL;
}

static void tell(struct watched *w, enum event_kind kind, struct subject s)
{
    const struct notification *rules = rules_of(w->a, w->arena, &s.bucket);
    const struct notification_rule *rule = NULL;

    if (!rules || kind == EVENT_NONE)
        return;
    if (version_uid_is_shadow(s.bucket.uid)) {
        if (!version_key_parse(s.key, &s.key, &s.version))
            return;
        s.has_version = true;
    }
    while ((rule = notification_next(rules, rule, kind, s.key))) {
        struct str text = message_text(w->a, w->arena, &w->cause, kind, rule, &s);
        if (!text.n || w->put.count == MESSAGES_MAX)
            continue; /* no message of ours is that long */
        if (!w->messages)
            w->messages = arena_alloc(w->arena, MESSAGES_MAX * sizeof(*w->messages));
        w->messages[w->put.count++] = (struct outbox_message){rule->webhook, text};
    }
}

static void told(struct call *c)
{
    struct watched *w = CONTAINER(c, struct watched, call);

    if (c->err != ERR_OK)
        log_error(w->arena->id, "events are lost: they can't be kept", "count=%zu err=%s", w->put.count,
                  err_name(c->err));
    call_finish(w->whole, ERR_OK);
}

static void happened(struct call *c)
{
    struct watched *w = CONTAINER(c, struct watched, call);

    if (c->err == ERR_OK)
        w->look(w);
    if (!w->put.count) {
        call_finish(w->whole, c->err);
        return;
    }
    w->put.messages = w->messages;
    call_begin(&w->call, w->whole->loop, told);
    outbox_put(w->a->env->box, &w->put, &w->written, &w->call);
}

static void cancel(void *arg)
{
    call_cancel(&((struct watched *)arg)->call);
}

/* The call to hand to the inner store instead of `whole`; that itself where nobody is to be told. `more` (may be NULL): another bucket that
 * something may happen to. */
static struct call *watch(struct announce *a, struct arena *arena, const struct bucket_id *b,
                          const struct bucket_id *more, const struct cause *cause, void (*look)(struct watched *),
                          const void *req, void *res, struct call *whole)
{
    struct watched *w;

    if ((cause && cause->kind == EVENT_NONE) || (!rules_of(a, arena, b) && !(more && rules_of(a, arena, more))))
        return whole;
    w = ARENA_NEW(arena, struct watched);
    w->a = a;
    w->arena = arena;
    w->cause = cause ? *cause : (struct cause){.kind = EVENT_BY_METHOD};
    w->whole = whole;
    w->look = look;
    w->req = req;
    w->res = res;
    call_begin(&w->call, whole->loop, happened);
    call_on_cancel(whole, cancel, w);
    return &w->call;
}

static enum event_kind kind_or(const struct watched *w, enum event_kind usual)
{
    return w->cause.kind == EVENT_BY_METHOD ? usual : w->cause.kind;
}

static void tell_made(struct watched *w, enum event_kind usual, const struct bucket_id *b, struct str key,
                      const struct object_info *info)
{
    tell(w, kind_or(w, usual),
         (struct subject){.bucket = *b,
                          .key = key,
                          .info = info,
                          .has_version = b->versions != VERSIONS_OFF,
                          .version = version_of(info)});
}

/* ---- the methods ---- */

static void look_put(struct watched *w)
{
    const struct obj_put_req *req = w->req;
    const struct obj_put_res *res = w->res;

    tell_made(w, EVENT_PUT, &req->bucket, req->key, &res->info);
}

static void announce_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    store_obj_put(of(s)->inner, req, res,
                  watch(of(s), req->arena, &req->bucket, NULL, req->cause, look_put, req, res, c));
}

static void look_copy(struct watched *w)
{
    const struct obj_copy_req *req = w->req;
    const struct obj_copy_res *res = w->res;

    tell_made(w, EVENT_COPY, &req->bucket, req->key, &res->info);
    if (req->move && res->moved)
        tell(w, EVENT_DELETE, (struct subject){.bucket = req->src_bucket, .key = req->src_key});
}

static void announce_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c)
{
    store_obj_copy(of(s)->inner, req, res,
                   watch(of(s), req->arena, &req->bucket, req->move ? &req->src_bucket : NULL, req->cause, look_copy,
                         req, res, c));
}

static void look_splice(struct watched *w)
{
    const struct obj_splice_req *req = w->req;
    const struct obj_splice_res *res = w->res;

    tell_made(w, EVENT_PUT, &req->bucket, req->key, &res->info);
}

static void announce_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res,
                                struct call *c)
{
    store_obj_splice(of(s)->inner, req, res,
                     watch(of(s), req->arena, &req->bucket, NULL, req->cause, look_splice, req, res, c));
}

static void look_complete(struct watched *w)
{
    const struct upload_complete_req *req = w->req;
    const struct upload_complete_res *res = w->res;

    tell_made(w, EVENT_COMPLETE, &req->bucket, req->key, &res->info);
}

static void announce_upload_complete(struct store *s, const struct upload_complete_req *req,
                                     struct upload_complete_res *res, struct call *c)
{
    store_upload_complete(of(s)->inner, req, res,
                          watch(of(s), req->arena, &req->bucket, NULL, req->cause, look_complete, req, res, c));
}

static void look_delete(struct watched *w)
{
    const struct obj_delete_req *req = w->req;
    const struct obj_delete_res *res = w->res;
    bool expired = w->cause.kind == EVENT_EXPIRED;
    bool marker = !req->of_version && res->tells_version && version_is_marker(res->version.kind);

    if (marker || res->existed)
        tell(w, marker ? (expired ? EVENT_EXPIRED_MARKER : EVENT_MARKER) : (expired ? EVENT_EXPIRED : EVENT_DELETE),
             (struct subject){
                 .bucket = req->bucket, .key = req->key, .has_version = res->tells_version, .version = res->version});
}

static void announce_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res,
                                struct call *c)
{
    struct call *mine =
        req->evict ? c : watch(of(s), req->arena, &req->bucket, NULL, req->cause, look_delete, req, res, c);

    store_obj_delete(of(s)->inner, req, res, mine);
}

/* ---- life ---- */

static void announce_close(struct store *s)
{
    free(of(s));
}

struct store *announce_store_new(const struct announcer *env, struct loop *loop, struct store *inner)
{
    struct announce *a = NEW(struct announce);

    a->env = env;
    a->inner = inner;
    a->ops = (struct store_ops){
        .name = "announce",
#define M(m) .m = pass_##m,
        STORE_METHODS(M)
#undef M
            .close = announce_close,
    };
    a->ops.obj_put = announce_obj_put;
    a->ops.obj_copy = announce_obj_copy;
    a->ops.obj_splice = announce_obj_splice;
    a->ops.obj_delete = announce_obj_delete;
    a->ops.upload_complete = announce_upload_complete;
    a->store = (struct store){.ops = &a->ops, .loop = loop};
    return &a->store;
}

bool announcer_has(const struct announcer *a, struct str webhook)
{
    return outbox_has(a->box, webhook);
}

/* ---- the first message ---- */

static struct str test_text(const struct announce_test_req *req)
{
    struct buf b = BUF_INIT(OUTBOX_MESSAGE_MAX);
    struct str text;

    js_object(&b);
    js_put_str(&b, "Service", STR("Amazon S3"));
    js_put_str(&b, "Event", STR("s3:TestEvent"));
    put_time(&b, "Time", clock_wall_ns());
    js_put_str(&b, "Bucket", req->bucket);
    js_put_str(&b, "RequestId", req->request_id);
    js_put_str(&b, "HostId", req->host_id);
    js_end_object(&b);
    text = arena_str(req->arena, buf_str(&b));
    buf_release(&b);
    return text;
}

void announce_test(const struct announcer *a, const struct announce_test_req *req, struct announce_test_res *res,
                   struct call *call)
{
    struct outbox_message *messages = arena_alloc(req->arena, (req->rules->n + 1) * sizeof(*messages));
    struct str text = test_text(req);
    size_t n = 0;

    for (size_t i = 0; i < req->rules->n; i++) {
        bool again = false;
        for (size_t k = 0; k < n; k++)
            again |= str_eq(messages[k].hook, req->rules->rules[i].webhook);
        if (!again)
            messages[n++] = (struct outbox_message){req->rules->rules[i].webhook, text};
    }
    res->put = (struct outbox_put_req){messages, n};
    outbox_put(a->box, &res->put, &res->written, call);
}
