/* What becomes of our Pods: a list of all of them, then a watch of what changes, on one thread. Where watching is not allowed, or breaks, lists do. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "http/url.h"
#include "kube_own.h"

enum {
    LIST_PAGE = 16, /* a Pod may have more than a MiB */
    LIST_BODY_MAX = 32 << 20,
    PAGES_MAX = 100,
    PATH_BYTES = 16 << 10,
    LINE_MAX = 4 << 20,
    NODES_MAX = 200000,
    WATCH_S = 240,
    WATCH_SLACK_MS = 30000,
    PAUSE_MS = 1000, /* between two lists, where there is no watch */
    MAKE_MS = 60000,
    DELETE_MS = 10000,
    MAKE_TRIES = 3, /* a quota that others change at the same time */
    RAW = 4,        /* random bytes of a name */
    NANOS_PER_MS = 1000000,
};

/* ---- what is known of one ---- */

/* With the lock. */
static struct kube_instance *find(struct kube_runtime *r, struct str name)
{
    for (struct kube_instance *i = r->locked.first; i; i = i->next)
        if (str_eq(str_z(i->locked.name), name))
            return i;
    return NULL;
}

static void take(struct kube_runtime *r, const struct doc *pod, bool deleted)
{
    pthread_mutex_lock(&r->lock);
    struct kube_instance *i = find(r, rest_text(pod, "metadata.name"));
    if (i) {
        i->locked.seen = true;
        i->locked.turn = r->locked.turn;
        i->locked.gone |= deleted;
        if (!deleted)
            kube_judge(pod, i->container, &i->locked.state);
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
}

/* Of a list that is complete: who was there before it began, and is not in it, is gone. */
static void take_absent(struct kube_runtime *r, uint64_t turn)
{
    pthread_mutex_lock(&r->lock);
    for (struct kube_instance *i = r->locked.first; i; i = i->next)
        i->locked.gone |= i->locked.made && i->locked.turn < turn;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void wait_until(struct kube_runtime *r, uint64_t until)
{
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000)};

    pthread_cond_timedwait(&r->changed, &r->lock, &ts);
}

/* ---- lists ---- */

typedef void kube_each_fn(struct kube_runtime *r, const struct doc *pod);

static void page_path(const struct kube_runtime *r, struct str more, struct buf *path)
{
    buf_addf(path, "/pods?labelSelector=%s%%3D%s&limit=%d", kube_label, r->mark, LIST_PAGE);
    if (more.n) {
        buf_add_z(path, "&continue=");
        url_encode(path, more, false);
    }
    buf_add_char(path, 0);
}

static enum err page(struct kube_runtime *r, struct arena *a, struct str more, const atomic_bool *quit,
                     struct doc **out, char why[ETL_WHY_MAX])
{
    struct buf path = BUF_INIT(PATH_BYTES);
    enum err e;

    page_path(r, more, &path);
    if ((e = buf_err(&path)) == ERR_OK)
        e = kube_ask(&r->api, a,
                     &(struct kube_req){.method = "GET",
                                        .verb = "list",
                                        .resource = "pods",
                                        .path = path.p,
                                        .body_max = LIST_BODY_MAX,
                                        .quit = quit},
                     out, why);
    buf_release(&path);
    return e;
}

/* It goes into a path. */
static void take_version(struct str text, char version[KUBE_VERSION_MAX])
{
    size_t n = 0;

    while (n < text.n && n < KUBE_VERSION_MAX - 1 && text.p[n] >= '0' && text.p[n] <= '9')
        n++;
    memcpy(version, n ? text.p : "", n);
    version[n] = 0;
}

static enum err list(struct kube_runtime *r, const atomic_bool *quit, kube_each_fn *each,
                     char version[KUBE_VERSION_MAX], char why[ETL_WHY_MAX])
{
    struct arena keep = ARENA_INIT;
    struct str more = STR_NONE;
    enum err e = ERR_OK;
    int pages = 0;

    do {
        struct arena a = ARENA_INIT;
        struct doc *d;
        if ((e = page(r, &a, more, quit, &d, why)) == ERR_OK) {
            const struct doc *items = rest_at(d, "items");
            for (const struct doc *p = items && items->kind == DOC_LIST ? items->first : NULL; p; p = p->next)
                each(r, p);
            more = arena_str(&keep, rest_text(d, "metadata.continue"));
            take_version(rest_text(d, "metadata.resourceVersion"), version);
        }
        arena_release(&a);
        if (e == ERR_OK && more.n && ++pages == PAGES_MAX) {
            snprintf(why, ETL_WHY_MAX, "the Kubernetes API server lists Pods without end");
            e = ERR_TOO_LARGE;
        }
    } while (e == ERR_OK && more.n);
    arena_release(&keep);
    return e;
}

static void take_listed(struct kube_runtime *r, const struct doc *pod)
{
    take(r, pod, false);
}

static enum err look_at_all(struct kube_runtime *r, char version[KUBE_VERSION_MAX], char why[ETL_WHY_MAX])
{
    pthread_mutex_lock(&r->lock);
    uint64_t turn = ++r->locked.turn;
    pthread_mutex_unlock(&r->lock);
    enum err e = list(r, &r->closing, take_listed, version, why);
    if (e == ERR_OK)
        take_absent(r, turn);
    return e;
}

/* ---- the watch ---- */

struct watch {
    struct kube_runtime *runtime;
    struct buf line;
    const char *version;
    bool expired;
};

static void take_line(struct watch *w)
{
    const struct js_bounds bounds = {LINE_MAX, NODES_MAX};
    struct arena a = ARENA_INIT;
    struct doc *d;
    char reason[DOC_WHY_MAX];

    if (!w->line.n && !w->line.over)
        return;
    if (!w->line.over && js_read_within(&a, buf_str(&w->line), &bounds, &d, reason) == ERR_OK) {
        struct str type = rest_text(d, "type");
        const struct doc *object = rest_at(d, "object");
        bool deleted = str_eq(type, STR("DELETED"));
        if (str_eq(type, STR("ERROR")) || !object)
            w->expired = true; /* 410: it does not remember our version */
        else if (deleted || str_eq(type, STR("ADDED")) || str_eq(type, STR("MODIFIED")))
            take(w->runtime, object, deleted);
    } else {
        w->expired = true; /* a list tells what this one would have */
    }
    arena_release(&a);
    buf_reset(&w->line);
}

static bool on_piece(void *arg, struct str piece)
{
    struct watch *w = arg;

    while (piece.n && !w->expired) {
        size_t n = str_find_char(piece, '\n');
        buf_add_str(&w->line, str_n(piece.p, n == SIZE_MAX ? piece.n : n));
        if (n != SIZE_MAX || w->line.over)
            take_line(w);
        piece = str_skip(piece, n == SIZE_MAX ? piece.n : n + 1);
    }
    return !w->expired;
}

/* ERR_REMOTE_GONE: a list is due. */
static enum err watch_once(struct watch *w, char why[ETL_WHY_MAX])
{
    struct kube_runtime *r = w->runtime;
    struct arena a = ARENA_INIT;
    struct str path = arena_printf(&a, "/pods?watch=true&labelSelector=%s%%3D%s&resourceVersion=%s&timeoutSeconds=%d",
                                   kube_label, r->mark, w->version, WATCH_S);
    uint64_t began = clock_mono_ns();
    enum err e;

    buf_reset(&w->line);
    e = kube_ask(&r->api, &a,
                 &(struct kube_req){.method = "GET",
                                    .verb = "watch",
                                    .resource = "pods",
                                    .path = path.p,
                                    .timeout_ms = WATCH_S * 1000 + WATCH_SLACK_MS,
                                    .quit = &r->closing,
                                    .on_piece = on_piece,
                                    .arg = w},
                 NULL, why);
    arena_release(&a);
    if (e == ERR_OK && (w->expired || clock_mono_ns() - began < (uint64_t)PAUSE_MS * NANOS_PER_MS))
        return ERR_REMOTE_GONE;
    return e;
}

static enum err follow(struct kube_runtime *r, char version[KUBE_VERSION_MAX], char why[ETL_WHY_MAX])
{
    struct watch w = {.runtime = r, .version = version};
    enum err e;

    buf_init(&w.line, LINE_MAX);
    e = watch_once(&w, why);
    buf_release(&w.line);
    return e;
}

/* Once when it begins to fail, and once when it does so no more. */
static void tell(struct kube_runtime *r, enum err e, const char *why, bool *failing)
{
    bool bad = e != ERR_OK && e != ERR_REMOTE_GONE && !atomic_load(&r->closing);

    if (bad && !*failing)
        log_warn(STR_NONE, "etl pods can't be followed", "reason=%s", log_quote(str_z(why)));
    else if (!bad && *failing && e == ERR_OK)
        log_info(STR_NONE, "etl pods can be followed again", "server=%s", r->api.host);
    if (e == ERR_OK || bad)
        *failing = bad;
}

static void *run(void *arg)
{
    struct kube_runtime *r = arg;
    char version[KUBE_VERSION_MAX] = "", why[ETL_WHY_MAX] = "";
    bool list_fails = false, watch_fails = false;

    while (!atomic_load(&r->closing)) {
        enum err e = look_at_all(r, version, why);
        tell(r, e, why, &list_fails);
        if (e == ERR_OK) {
            e = follow(r, version, why);
            tell(r, e, why, &watch_fails);
        }
        if (e == ERR_OK) /* its time was over: the next list sees what it may have missed */
            continue;
        pthread_mutex_lock(&r->lock);
        for (uint64_t until = clock_mono_ns() + (uint64_t)PAUSE_MS * NANOS_PER_MS;
             !atomic_load(&r->closing) && clock_mono_ns() < until;)
            wait_until(r, until);
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

enum err kube_watch_start(struct kube_runtime *r, char why[ETL_WHY_MAX])
{
    if (pthread_create(&r->watcher, NULL, run, r) == 0) {
        pthread_setname_np(r->watcher, "etl-pods");
        return ERR_OK;
    }
    snprintf(why, ETL_WHY_MAX, "no thread to follow Pods");
    return ERR_UNAVAILABLE;
}

void kube_watch_end(struct kube_runtime *r)
{
    pthread_mutex_lock(&r->lock);
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->watcher, NULL);
}

/* ---- made and deleted ---- */

static void new_name(struct kube_instance *i, bool as_user)
{
    uint8_t raw[RAW];
    char hex[2 * RAW];

    random_bytes(raw, sizeof(raw));
    hex_encode(raw, sizeof(raw), hex);
    pthread_mutex_lock(&i->runtime->lock);
    snprintf(i->locked.name, sizeof(i->locked.name), STR_FMT "-%.*s", STR_ARG(i->id), 2 * RAW, hex);
    i->locked.made = i->locked.seen = i->locked.gone = false;
    i->locked.as_user = as_user;
    i->locked.state = (struct kube_state){.ended = false};
    pthread_mutex_unlock(&i->runtime->lock);
}

static void take_made(struct kube_instance *i, const struct doc *pod)
{
    struct kube_runtime *r = i->runtime;

    pthread_mutex_lock(&r->lock);
    i->locked.made = true;
    if (!i->locked.seen) { /* the watch was not faster */
        i->locked.turn = r->locked.turn;
        kube_judge(pod, i->container, &i->locked.state);
    }
    pthread_mutex_unlock(&r->lock);
}

enum err kube_make(struct kube_instance *i, bool as_user, char why[ETL_WHY_MAX])
{
    struct kube_runtime *r = i->runtime;
    struct arena a = ARENA_INIT;
    struct buf order = BUF_INIT(KUBE_POD_MAX);
    struct doc *d;
    char ignored[ETL_WHY_MAX];
    int status = 0;
    enum err e;

    new_name(i, as_user);
    if ((e = kube_write(i, i->locked.name, as_user, &order, why)) == ERR_OK) {
        const struct kube_req req = {.method = "POST",
                                     .verb = "create",
                                     .resource = "pods",
                                     .path = "/pods?fieldValidation=Strict",
                                     .body = buf_str(&order),
                                     .timeout_ms = MAKE_MS,
                                     .quit = &r->quit,
                                     .status = &status};
        e = kube_ask(&r->api, &a, &req, &d, why);
        for (int k = 1; k < MAKE_TRIES && e == ERR_CONFLICT; k++)
            e = kube_ask(&r->api, &a, &req, &d, why);
        if (e == ERR_OK)
            take_made(i, d);
        else if (!status || status >= 500) /* it may have been made all the same */
            (void)!kube_delete(r, i->locked.name, 0, ignored);
    }
    buf_release(&order);
    arena_release(&a);
    return e;
}

enum err kube_delete(struct kube_runtime *r, const char *name, uint32_t grace_s, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct str path = arena_printf(&a, "/pods/%s?gracePeriodSeconds=%u", name, grace_s);
    enum err e =
        kube_ask(&r->api, &a,
                 &(struct kube_req){
                     .method = "DELETE", .verb = "delete", .resource = "pods", .path = path.p, .timeout_ms = DELETE_MS},
                 NULL, why);

    arena_release(&a);
    return e == ERR_CONFLICT || e == ERR_REMOTE_GONE ? ERR_OK : e; /* it is being deleted */
}

bool kube_await_gone(struct kube_instance *i, uint32_t ms)
{
    struct kube_runtime *r = i->runtime;
    uint64_t until = clock_mono_ns() + (uint64_t)ms * NANOS_PER_MS;
    bool gone;

    pthread_mutex_lock(&r->lock);
    while (!(gone = i->locked.gone) && clock_mono_ns() < until)
        wait_until(r, until);
    pthread_mutex_unlock(&r->lock);
    return gone;
}

/* ---- what is left of an earlier process, or of us ---- */

static void remove_one(struct kube_runtime *r, const struct doc *pod)
{
    struct str name = rest_text(pod, "metadata.name");
    char why[ETL_WHY_MAX] = "", z[KUBE_NAME_MAX + 1];

    if (!name.n || name.n > KUBE_NAME_MAX) /* not one of ours */
        return;
    kube_label_value(name, z);
    enum err e = str_eq(str_z(z), name) ? kube_delete(r, z, 0, why) : ERR_OK;
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        log_error(STR_NONE, "etl pod not removed", "pod=%s reason=%s", z, log_quote(str_z(why)));
}

enum err kube_clear(struct kube_runtime *r, char why[ETL_WHY_MAX])
{
    char version[KUBE_VERSION_MAX];

    return list(r, NULL, remove_one, version, why);
}
