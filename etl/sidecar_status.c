#include <stdlib.h>

#include "base/log.h"
#include "etl/etls_own.h"
#include "etl/sidecar.h"

enum { SAVE_MS = 1000, MESSAGE_MAX = 512 };
#define MS UINT64_C(1000000)

/* ---- what is told ---- */

static const char *const states[] = {"starting", "ready", "failed", "stopped"};

/* With the lock. */
static void copy_errors(struct sidecar *s, struct arena *a, struct etl_node_state *out)
{
    uint64_t all = s->locked.object_error_count;
    uint64_t n = all < ETL_OBJECT_ERRORS_MAX ? all : ETL_OBJECT_ERRORS_MAX;
    struct etl_object_error *to = arena_new(a, (size_t)n * sizeof(*to) + 1);

    for (uint64_t i = 0; i < n; i++) {
        const struct sidecar_error *from = &s->locked.object_errors[(all - n + i) % ETL_OBJECT_ERRORS_MAX];
        to[i] = (struct etl_object_error){arena_str(a, str_z(from->object)), arena_str(a, str_z(from->message)),
                                          from->status};
    }
    out->object_errors = to;
    out->object_error_count = (size_t)n;
}

static struct str describe(struct sidecar *s, struct arena *a)
{
    struct etl_node_state n = {
        .id = s->record.id, .restarts = s->restarts, .unserved = s->unserved, .memory = s->usage.memory, .cpu = s->cpu};

    pthread_mutex_lock(&s->engine->lock);
    n.state = str_z(states[s->locked.state]);
    n.error = arena_str(a, str_z(s->locked.error));
    n.address = arena_str(a, str_z(s->locked.id));
    n.objects = s->locked.objects;
    n.errors = s->locked.errors;
    n.in_bytes = s->locked.in_bytes;
    n.out_bytes = s->locked.out_bytes;
    copy_errors(s, a, &n);
    s->saving_changes = s->locked.changes;
    pthread_mutex_unlock(&s->engine->lock);
    return etl_state_text(a, &n);
}

static uint64_t changes(struct sidecar *s)
{
    uint64_t n;

    pthread_mutex_lock(&s->engine->lock);
    n = s->locked.changes;
    pthread_mutex_unlock(&s->engine->lock);
    return n;
}

static void on_saved(struct call *call)
{
    struct sidecar *s = CONTAINER(call, struct sidecar, save);

    arena_release(&s->save_arena);
    if (call->err == ERR_OK)
        s->saved_changes = s->saving_changes;
    else
        log_debug(STR_NONE, "the state of an etl can't be told", "etl=" STR_FMT " error=%s", STR_ARG(s->name),
                  err_name(call->err));
    if (s->save_soon && !s->ended)
        sidecar_save(s, true);
}

void sidecar_save(struct sidecar *s, bool soon)
{
    uint64_t now = loop_now_ns(s->engine->loop);

    s->save_soon |= soon;
    if (s->ended || call_is_pending(&s->save) || changes(s) == s->saved_changes ||
        (!s->save_soon && now - s->saved_ns < SAVE_MS * MS))
        return;
    s->save_soon = false;
    s->saved_ns = now;
    struct str text = describe(s, &s->save_arena);
    s->put_req = (struct meta_put_req){
        .key = etl_at_key(&s->save_arena, s->name, str_z(s->engine->self)), .value = text, .revision = META_ANY};
    call_begin(&s->save, s->engine->loop, on_saved);
    meta_put(s->engine->conf.meta, &s->put_req, &s->put, &s->save);
}

/* ---- what transforms have come to ---- */

void sidecar_add(struct sidecar *s, const struct sidecar_count *c)
{
    pthread_mutex_lock(&s->engine->lock);
    s->locked.objects += c->ok;
    s->locked.in_bytes += c->in_bytes;
    s->locked.out_bytes += c->out_bytes;
    s->locked.changes++;
    pthread_mutex_unlock(&s->engine->lock);
}

static char *text_of(struct str a, const char *between, struct str b)
{
    size_t between_n = strlen(between), n = a.n + between_n + b.n;
    char *p = mem_alloc(n + 1);

    if (a.n)
        memcpy(p, a.p, a.n);
    memcpy(p + a.n, between, between_n);
    if (b.n)
        memcpy(p + a.n + between_n, b.p, b.n);
    p[n] = 0;
    return p;
}

void sidecar_note_error(struct sidecar *s, struct str bucket, struct str key, struct str message, int status)
{
    struct str cut = str_n(message.p, message.n < MESSAGE_MAX ? message.n : MESSAGE_MAX);
    struct sidecar_error new = {text_of(bucket, "/", key), text_of(cut, "", STR_NONE), status}, old;

    pthread_mutex_lock(&s->engine->lock);
    struct sidecar_error *at = &s->locked.object_errors[s->locked.object_error_count++ % ETL_OBJECT_ERRORS_MAX];
    old = *at;
    *at = new;
    s->locked.errors++;
    s->locked.changes++;
    pthread_mutex_unlock(&s->engine->lock);
    free(old.object);
    free(old.message);
}

void sidecar_unref(struct sidecar *s)
{
    unsigned refs;

    if (!s)
        return;
    pthread_mutex_lock(&s->engine->lock);
    refs = --s->locked.refs;
    pthread_mutex_unlock(&s->engine->lock);
    if (refs)
        return;
    for (unsigned i = 0; i < ETL_OBJECT_ERRORS_MAX; i++) {
        free(s->locked.object_errors[i].object);
        free(s->locked.object_errors[i].message);
    }
    arena_release(&s->arena);
    free(s);
}
