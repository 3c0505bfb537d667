#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "docker_own.h"
#include "http/url.h"

enum {
    IMAGE_MAX = 512,
    PULLS_MAX = 16,
    PULL_MS = 3600000, /* of the whole: images of machine learning have many gigabytes */
    LINE_MAX = 64 << 10,
    PATH_MAX_BYTES = 4 * IMAGE_MAX,
};

/* An image on its way, by a thread of its own: it goes on when who wanted it waits no longer, for whoever wants it next. */
struct docker_pull {
    struct docker_pull *next;
    struct docker_runtime *runtime;
    pthread_t thread;
    struct str image; /* behind the struct, NUL-terminated */
    unsigned waiters; /* guarded by the runtime's lock, as the next */
    bool done;
    enum err err;
    char why[ETL_WHY_MAX];
    struct buf line; /* of the engine's report */
};

/* ---- names ---- */

/* As engines have them: no path that their router would change. */
static bool image_is_valid(struct str image)
{
    bool ok = image.n && image.n <= IMAGE_MAX && image.p[0] != '/' && str_find(image, STR("..")) == SIZE_MAX &&
              str_find(image, STR("//")) == SIZE_MAX;

    for (size_t i = 0; ok && i < image.n; i++) {
        char c = image.p[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-/:@", c);
        ok = ok && c;
    }
    return ok;
}

/* Without a tag an engine would pull all there are. */
static bool has_tag(struct str image)
{
    for (size_t i = image.n; i > 0 && image.p[i - 1] != '/'; i--)
        if (image.p[i - 1] == ':' || image.p[i - 1] == '@')
            return true;
    return false;
}

/* ---- pulling ---- */

/* {"error":"..."} ends the report; all else in it is progress. */
static void take_line(struct docker_pull *p)
{
    struct arena a = ARENA_INIT;
    struct doc *d;
    char reason[DOC_WHY_MAX];

    if (js_read(&a, buf_str(&p->line), &d, reason) == ERR_OK) {
        struct str text = rest_text(d, "error");
        if (text.n) {
            rest_say(p->why, "the container engine says: ", text);
            p->err = ERR_UNAVAILABLE;
        }
    }
    arena_release(&a);
    buf_reset(&p->line);
}

static bool on_report(void *arg, struct str piece)
{
    struct docker_pull *p = arg;

    for (size_t i = 0; i < piece.n; i++) {
        if (piece.p[i] == '\n')
            take_line(p);
        else
            buf_add_char(&p->line, piece.p[i]); /* one that is too long is no JSON, and so skipped */
    }
    return true;
}

static void *pull(void *arg)
{
    struct docker_pull *p = arg;
    struct docker_runtime *r = p->runtime;
    struct arena a = ARENA_INIT;
    struct buf path = BUF_INIT(PATH_MAX_BYTES);

    buf_add_z(&path, "/images/create?fromImage=");
    url_encode(&path, p->image, false);
    if (!has_tag(p->image))
        buf_add_z(&path, "&tag=latest");
    buf_add_char(&path, 0);
    struct rest_req req = {.method = "POST",
                           .path = path.p,
                           .body = STR(""),
                           .timeout_ms = PULL_MS,
                           .on_piece = on_report,
                           .arg = p,
                           .quit = &r->quit};
    enum err e = docker_ask(&r->api, &a, &req, NULL, p->why);
    if (e == ERR_OK)
        take_line(p);
    buf_release(&path);
    arena_release(&a);
    log_info(STR_NONE, "etl image pulled", "image=%s error=%s", log_quote(p->image),
             log_quote(str_z(e != ERR_OK || p->err != ERR_OK ? p->why : "")));
    pthread_mutex_lock(&r->lock);
    p->err = e != ERR_OK ? e : p->err;
    p->done = true;
    pthread_cond_broadcast(&r->pulled);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void pull_free(struct docker_pull *p)
{
    pthread_join(p->thread, NULL);
    buf_release(&p->line);
    free(p);
}

/* Those that are done and nobody waits for; the lock is held. */
static void sweep(struct docker_runtime *r)
{
    for (struct docker_pull **at = &r->locked.pulls, *p; (p = *at);) {
        if (!p->done || p->waiters) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        r->locked.pull_count--;
        pull_free(p); /* its thread has nothing left to do but to let the lock go, which it has */
    }
}

static struct docker_pull *find_or_begin(struct docker_runtime *r, struct str image)
{
    struct docker_pull *p;

    sweep(r);
    for (p = r->locked.pulls; p; p = p->next)
        if (str_eq(p->image, image))
            return p;
    if (r->locked.pull_count == PULLS_MAX)
        return NULL;
    p = mem_new(sizeof(*p) + image.n + 1);
    memcpy(p + 1, image.p, image.n);
    p->image = str_n(p + 1, image.n);
    p->runtime = r;
    buf_init(&p->line, LINE_MAX);
    if (pthread_create(&p->thread, NULL, pull, p) != 0) {
        free(p);
        return NULL;
    }
    p->next = r->locked.pulls;
    r->locked.pulls = p;
    r->locked.pull_count++;
    return p;
}

static enum err wait_for(struct docker_runtime *r, struct docker_pull *p, uint32_t timeout_ms, char why[ETL_WHY_MAX])
{
    struct timespec until;
    int late = 0;
    enum err e;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    p->waiters++;
    while (!p->done && !atomic_load(&r->quit) && late == 0)
        late = pthread_cond_timedwait(&r->pulled, &r->lock, &until);
    p->waiters--;
    if (p->done) {
        snprintf(why, ETL_WHY_MAX, "%s", p->why);
        e = p->err;
    } else {
        snprintf(why, ETL_WHY_MAX, "the image '" STR_FMT "' is still being pulled, which goes on; try again later",
                 STR_ARG(p->image));
        e = atomic_load(&r->quit) ? ERR_CANCELLED : ERR_TIMEOUT;
    }
    sweep(r);
    return e;
}

static enum err pull_image(struct docker_runtime *r, struct str image, uint32_t timeout_ms, char why[ETL_WHY_MAX])
{
    enum err e = ERR_BUSY;

    pthread_mutex_lock(&r->lock);
    struct docker_pull *p = find_or_begin(r, image);
    if (p)
        e = wait_for(r, p, timeout_ms, why);
    else
        snprintf(why, ETL_WHY_MAX, "too many images are being pulled");
    pthread_mutex_unlock(&r->lock);
    return e;
}

void docker_image_close(struct docker_runtime *r)
{
    while (r->locked.pulls) {
        struct docker_pull *p = r->locked.pulls;
        r->locked.pulls = p->next;
        pull_free(p);
    }
}

/* ---- what is there ---- */

static enum err look(struct docker_runtime *r, struct str image, bool *own_user, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct str path = arena_printf(&a, "/images/" STR_FMT "/json", STR_ARG(image));
    struct doc *d;
    enum err e = docker_ask(&r->api, &a, &(struct rest_req){.method = "GET", .path = path.p}, &d, why);

    if (e == ERR_OK)
        *own_user = rest_text(d, "Config.User").n > 0;
    arena_release(&a);
    return e;
}

enum err docker_image(struct docker_runtime *r, struct str image, uint32_t timeout_ms, bool *own_user,
                      char why[ETL_WHY_MAX])
{
    char reason[ETL_WHY_MAX] = "";
    enum err e;

    if (!image.n) {
        snprintf(why, ETL_WHY_MAX, "the spec has no image (runtime.image), which a container is made from");
        return ERR_INVALID_ARGUMENT;
    }
    if (!image_is_valid(image)) {
        rest_say(why, "this can't be the name of an image: ", image);
        return ERR_INVALID_ARGUMENT;
    }
    if ((e = look(r, image, own_user, why)) != ERR_NOT_FOUND)
        return e;
    if ((e = pull_image(r, image, timeout_ms, reason)) == ERR_OK)
        e = look(r, image, own_user, reason);
    if (e != ERR_OK)
        snprintf(why, ETL_WHY_MAX, "the image '" STR_FMT "' is not on this node, and can't be pulled: %.300s",
                 (int)(image.n < 100 ? image.n : 100), image.p, reason);
    return e;
}
