#include <assert.h>
#include <stdlib.h>

#include "object_own.h"

#define PATH_BEGIN STR("/v1/etl/_object/")

enum {
    CONNECTIONS_MAX = 512, /* of one sidecar */
    DRAIN_MS = 0,          /* the sidecar is gone, or will be */
};

/* ---- names ---- */

struct str etl_uname(struct arena *arena, struct str bucket, struct str key)
{
    return arena_printf(arena, "ais/@#/" STR_FMT "/" STR_FMT, STR_ARG(bucket), STR_ARG(key));
}

enum err etl_uname_parse(struct str uname, struct str *bucket, struct str *key)
{
    struct str begin = STR("ais/@#/"), rest = uname;

    if (!str_starts(uname, begin))
        return ERR_INVALID_ARGUMENT;
    rest = str_skip(uname, begin.n);
    size_t slash = str_find_char(rest, '/');
    if (slash == SIZE_MAX || slash == 0 || rest.n - slash - 1 == 0 || rest.n - slash - 1 > KEY_MAX)
        return ERR_INVALID_ARGUMENT;
    *bucket = str_n(rest.p, slash);
    *key = str_skip(rest, slash + 1);
    return ERR_OK;
}

static bool skip_segment(struct str *path, struct str want)
{
    if (path->n <= want.n || path->p[want.n] != '/' || !str_eq_secret(str_n(path->p, want.n), want))
        return false;
    *path = str_skip(*path, want.n + 1);
    return true;
}

enum err etl_object_path(const struct etl_object_server *s, struct str path, struct str *rest)
{
    if (!str_starts(path, PATH_BEGIN))
        return ERR_ACCESS_DENIED;
    path = str_skip(path, PATH_BEGIN.n);
    if (!skip_segment(&path, s->name) || !skip_segment(&path, s->secret))
        return ERR_ACCESS_DENIED;
    /* sidecars join two paths: an address that ends in a slash, and a path that begins with one */
    if (path.n && path.p[0] == '/')
        path = str_skip(path, 1);
    *rest = path;
    return ERR_OK;
}

/* ---- loans ---- */

static struct etl_loan **chain(struct etl_objects *o, struct str etl)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

    for (size_t i = 0; i < etl.n; i++)
        h = (h ^ (unsigned char)etl.p[i]) * UINT64_C(1099511628211);
    return &o->loans[h % LOAN_CHAINS];
}

void etl_objects_lend(struct etl_objects *o, struct etl_loan *loan)
{
    struct etl_loan **first = chain(o, loan->etl);

    loan->owner = o;
    loan->stored = 0;
    loan->done = false;
    pthread_mutex_lock(&o->lock);
    loan->prev = NULL;
    loan->next = *first;
    if (loan->next)
        loan->next->prev = loan;
    *first = loan;
    pthread_mutex_unlock(&o->lock);
}

void etl_objects_give_back(struct etl_loan *loan)
{
    struct etl_objects *o = loan->owner;

    pthread_mutex_lock(&o->lock);
    if (loan->prev)
        loan->prev->next = loan->next;
    else
        *chain(o, loan->etl) = loan->next;
    if (loan->next)
        loan->next->prev = loan->prev;
    pthread_mutex_unlock(&o->lock);
    loan->owner = NULL;
}

static bool is_it(const struct etl_loan *l, struct str etl, struct str bucket, struct str key, bool stores)
{
    if (!str_eq(l->etl, etl))
        return false;
    if (stores)
        return l->dst_bucket.n && str_eq(l->dst_bucket, bucket) && str_eq(l->dst_key, key);
    return str_eq(l->src_bucket, bucket) && str_eq(l->src_key, key);
}

bool etl_object_is_lent(struct etl_objects *o, struct str etl, struct str bucket, struct str key, bool stores)
{
    pthread_mutex_lock(&o->lock);
    const struct etl_loan *l = *chain(o, etl);
    while (l && !is_it(l, etl, bucket, key, stores))
        l = l->next;
    pthread_mutex_unlock(&o->lock);
    return l != NULL;
}

bool etl_object_stored(struct etl_objects *o, struct str etl, struct str bucket, struct str key, uint64_t size)
{
    struct etl_loan *found = NULL;

    pthread_mutex_lock(&o->lock);
    for (struct etl_loan *l = *chain(o, etl); l; l = l->next)
        if (is_it(l, etl, bucket, key, true) && (!found || !l->done)) /* lent twice: each has one of its own */
            found = l;
    if (found) {
        found->stored = size;
        found->done = true;
    }
    pthread_mutex_unlock(&o->lock);
    return found != NULL;
}

/* ---- servers ---- */

struct etl_objects *etl_objects_new(const struct etl_objects_conf *conf)
{
    struct etl_objects *o = NEW(struct etl_objects);

    o->conf = *conf;
    pthread_mutex_init(&o->lock, NULL);
    return o;
}

void etl_objects_free(struct etl_objects *o)
{
    assert(!o->servers);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

static struct str copy(struct str s)
{
    char *p = mem_alloc(s.n + 1);

    if (s.n)
        memcpy(p, s.p, s.n);
    return str_n(p, s.n);
}

struct etl_object_server *etl_objects_serve(struct etl_objects *o, int listen_fd, struct str name, struct str secret)
{
    struct etl_object_server *s = NEW(struct etl_object_server);
    struct http_limits limits = HTTP_LIMITS_DEFAULT;

    limits.connections_max = CONNECTIONS_MAX;
    o->servers++;
    s->owner = o;
    s->name = copy(name);
    s->secret = copy(secret);
    s->handler.on_request = etl_object_serve;
    s->server = http_server_new(&(struct http_server_conf){o->conf.loop, &s->handler, limits, NULL, listen_fd});
    return s;
}

static void end(struct etl_object_server *s)
{
    struct call *call = s->end;

    if (!s->ended || s->open)
        return;
    http_server_free(s->server);
    s->owner->servers--;
    free((char *)s->name.p);
    free((char *)s->secret.p);
    free(s);
    call_finish(call, ERR_OK);
}

void etl_object_done(struct etl_object_server *s)
{
    s->open--;
    end(s);
}

static void on_drained(struct call *call)
{
    struct etl_object_server *s = CONTAINER(call, struct etl_object_server, drained);

    s->ended = true;
    end(s);
}

void etl_objects_end(struct etl_object_server *s, struct call *call)
{
    s->end = call;
    call_begin(&s->drained, s->owner->conf.loop, on_drained);
    http_server_drain(s->server, DRAIN_MS, &s->drained);
}
