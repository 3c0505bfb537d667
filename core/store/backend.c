#include "backend_own.h"

#include <stdlib.h>

#include "base/log.h"

enum { BUCKETS_KNOWN_MAX = 256, CONNECT_TIMEOUT_MS = 10000, PROGRESS_TIMEOUT_MS = 30000, CONNECTIONS_MAX = 64 };

/* ---- connections ---- */

static struct tls_client *tls_of(struct backends *b)
{
    char why[256] = "";

    pthread_mutex_lock(&b->turns.lock);
    /* reads the system's certificates: once in the life of the process */
    if (!b->tls && tls_client_new(&(struct tls_client_conf){.ca_file = NULL}, &b->tls, why) != ERR_OK)
        log_error(STR_NONE, "no TLS to remote buckets", "why=%s", log_quote(str_z(why)));
    struct tls_client *tls = b->tls;
    pthread_mutex_unlock(&b->turns.lock);
    return tls;
}

static struct peer_pool *peers_of(struct backend *b, bool tls)
{
    struct backends *all = b->env.backends;
    struct tls_client *client = tls && !b->peers[tls] ? tls_of(all) : NULL;

    if (!b->peers[tls] && (!tls || client))
        b->peers[tls] = peer_pool_new(&(struct peer_conf){.loop = b->env.loop,
                                                          .io = all->io,
                                                          .tls = client,
                                                          .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                                          .progress_timeout_ms = PROGRESS_TIMEOUT_MS,
                                                          .connections_max = CONNECTIONS_MAX,
                                                          .idle_timeout_ms = 4000});
    return b->peers[tls];
}

struct str backend_remote_key(struct arena *arena, const struct backend_conf *conf, struct str key)
{
    char *p;

    if (conf->prefix.n == 0)
        return key;
    p = arena_alloc(arena, conf->prefix.n + key.n + 1);
    memcpy(p, conf->prefix.p, conf->prefix.n);
    if (key.n)
        memcpy(p + conf->prefix.n, key.p, key.n);
    return str_n(p, conf->prefix.n + key.n);
}

/* ---- settings ---- */

static void bucket_free(struct backend_bucket *k)
{
    arena_release(&k->arena);
    free(k);
}

static struct backend_bucket *bucket_parsed(const struct bucket *found)
{
    struct backend_bucket *k = NEW(struct backend_bucket);
    char why[DOC_WHY_MAX] = "";
    struct doc *props;

    k->uid = found->id.uid;
    k->props = arena_str(&k->arena, found->props);
    k->err = js_read(&k->arena, k->props, &props, why);
    const struct doc *backend = k->err == ERR_OK ? doc_get(props, STR("backend")) : NULL;
    k->err = backend ? backend_conf_parse(&k->arena, backend, &k->conf, why) : ERR_REMOTE_REFUSED;
    if (k->err != ERR_OK) {
        log_error(STR_NONE, "the settings of a remote bucket can't be used", "bucket=%s why=%s",
                  log_quote(found->id.name), log_quote(str_z(why)));
        k->err = ERR_REMOTE_REFUSED;
    }
    return k;
}

/* Forgets what was longest not looked for. */
static void forget_last(struct backend *b)
{
    struct backend_bucket **at = &b->buckets;
    unsigned n = 0;

    for (; *at; n++) {
        if (n >= BUCKETS_KNOWN_MAX) {
            struct backend_bucket *gone = *at;
            *at = gone->next;
            bucket_free(gone);
        } else {
            at = &(*at)->next;
        }
    }
}

static enum err find_bucket(struct backend *b, struct arena *arena, struct bucket_id id, struct backend_conf *out)
{
    struct backend_bucket **at = &b->buckets, *k;
    struct bucket found;
    enum err e = buckets_find(b->env.backends->buckets, arena, id.name, &found);

    if (e != ERR_OK || found.id.uid != id.uid)
        return e != ERR_OK ? e : ERR_NO_SUCH_BUCKET;
    while (*at && (*at)->uid != id.uid)
        at = &(*at)->next;
    if ((k = *at) != NULL) {
        *at = k->next;
        if (!str_eq(k->props, found.props)) {
            bucket_free(k);
            k = NULL;
        }
    }
    k = k ? k : bucket_parsed(&found);
    k->next = b->buckets;
    b->buckets = k;
    forget_last(b);
    /* a copy: settings may change while a request is under way */
    const struct s3_remote *r = &k->conf.remote;
    *out = (struct backend_conf){.remote = {arena_str(arena, r->address),
                                            r->tls,
                                            arena_str(arena, r->bucket),
                                            {arena_str(arena, r->key.access_key), arena_str(arena, r->key.secret_key),
                                             arena_str(arena, r->key.region)}},
                                 .prefix = arena_str(arena, k->conf.prefix)};
    return k->err;
}

/* ---- what all loops share ---- */

bool backends_busy(struct backends *b, uint64_t uid, struct str key)
{
    return turns_busy(&b->turns, uid, key);
}

struct backends *backends_new(struct buckets *buckets, struct offload *io, struct offload *cpu)
{
    struct backends *b = NEW(struct backends);

    b->buckets = buckets;
    b->io = io;
    b->cpu = cpu;
    turns_init(&b->turns);
    return b;
}

void backends_free(struct backends *b)
{
    if (!b)
        return;
    tls_client_free(b->tls);
    turns_destroy(&b->turns);
    free(b);
}

/* ---- operations ---- */

enum err backend_op_init(struct backend_op *o, struct store *s, struct arena *arena, struct bucket_id bucket,
                         struct str key, struct call *whole)
{
    struct backend_conf *conf = ARENA_NEW(arena, struct backend_conf);
    enum err e;

    o->b = backend_of(s);
    o->arena = arena;
    o->bucket = bucket;
    o->key = key;
    o->whole = whole;
    o->conf = conf;
    e = find_bucket(o->b, arena, bucket, conf);
    if (e == ERR_OK && !peers_of(o->b, conf->remote.tls))
        e = ERR_REMOTE_REFUSED;
    if (e != ERR_OK)
        call_finish(whole, e);
    return e;
}

void backend_ask_with(struct backend_op *o, struct call *call)
{
    if (!o->ask.arena)
        o->ask.arena = o->arena;
    o->ask.peers = peers_of(o->b, o->conf->remote.tls);
    o->ask.cpu = o->b->env.backends->cpu;
    o->ask.remote = &o->conf->remote;
    s3_ask(&o->ask, &o->got, call);
}

void backend_ask(struct backend_op *o, struct str method, struct str key, struct call *call)
{
    o->ask = (struct s3_ask_req){.method = method, .key = backend_remote_key(o->arena, o->conf, key)};
    backend_ask_with(o, call);
}

void backend_op_cancel(void *op)
{
    op_cancel(&((struct backend_op *)op)->op, ERR_CANCELLED);
}

enum step_next backend_op_done(struct backend_op *o, enum err e)
{
    turn_end(&o->claim);
    call_finish(o->whole, e);
    return STEP_DONE;
}

/* ---- what has nothing to do with the remote ---- */

#define PASS(m)                                                                                                        \
    static void pass_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *call)           \
    {                                                                                                                  \
        store_##m(backend_of(s)->env.inner, req, res, call);                                                           \
    }
PASS(obj_import)
PASS(upload_create)
PASS(upload_part)
PASS(upload_abort)
PASS(upload_list)
PASS(part_list)
PASS(bucket_purge)
#undef PASS

/* What the remote can't do: its callers write the object anew. */
static void backend_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res,
                               struct call *call)
{
    if (req->bucket.backend)
        call_finish(call, ERR_NOT_IMPLEMENTED);
    else
        store_obj_splice(backend_of(s)->env.inner, req, res, call);
}

/* ---- life ---- */

static void backend_close(struct store *s)
{
    struct backend *b = backend_of(s);
    struct backend_bucket *k;

    fetch_drain(b);
    for (int i = 0; i < 2; i++)
        if (b->peers[i])
            peer_pool_free(b->peers[i]);
    while ((k = b->buckets) != NULL) {
        b->buckets = k->next;
        bucket_free(k);
    }
    free(b);
}

struct store *backend_store_new(const struct backend_env *env)
{
    static const struct store_ops ops = {.name = "backend",
                                         .obj_head = backend_obj_head,
                                         .obj_get = backend_obj_get,
                                         .obj_put = backend_obj_put,
                                         .obj_delete = backend_obj_delete,
                                         .obj_copy = backend_obj_copy,
                                         .obj_import = pass_obj_import,
                                         .obj_list = backend_obj_list,
                                         .obj_splice = backend_obj_splice,
                                         .upload_create = pass_upload_create,
                                         .upload_part = pass_upload_part,
                                         .upload_complete = backend_upload_complete,
                                         .upload_abort = pass_upload_abort,
                                         .upload_list = pass_upload_list,
                                         .part_list = pass_part_list,
                                         .bucket_purge = pass_bucket_purge,
                                         .close = backend_close};
    struct backend *b = NEW(struct backend);

    b->store.ops = &ops;
    b->store.loop = env->loop;
    b->env = *env;
    return &b->store;
}
