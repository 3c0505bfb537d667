#include "oidc.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

struct oidc {
    struct arena arena;
    struct oidc_conf conf;
    struct str name;
    bool fetches;
    pthread_mutex_t lock;
    struct {                       /* guarded by lock */
        struct token_public *keys; /* NULL: none yet */
        int64_t taken_s, tried_s;
    } locked;
};

static bool is_address(struct str s)
{
    return str_starts(s, STR("https://")) || str_starts(s, STR("http://"));
}

static enum err read_file(struct oidc *o, char why[TOKEN_WHY_MAX])
{
    char *text = mem_alloc(OIDC_SET_MAX);
    int fd = open(o->conf.keys.p, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, OIDC_SET_MAX) : -1;
    enum err e = ERR_NOT_FOUND;

    if (fd >= 0)
        close(fd);
    if (n < 0)
        snprintf(why, TOKEN_WHY_MAX, "cannot be read");
    else
        e = token_public_jwks(str_n(text, (size_t)n), &o->locked.keys, why);
    free(text);
    return e;
}

enum err oidc_open(const struct oidc_conf *conf, struct oidc **out, char why[TOKEN_WHY_MAX])
{
    struct oidc *o = NEW(struct oidc);
    size_t scheme = str_find(conf->issuer, STR("://"));
    enum err e = ERR_OK;

    pthread_mutex_init(&o->lock, NULL);
    o->conf = (struct oidc_conf){arena_str(&o->arena, conf->issuer), arena_str(&o->arena, conf->audience),
                                 arena_str(&o->arena, conf->keys)};
    o->name = scheme == SIZE_MAX ? o->conf.issuer : str_skip(o->conf.issuer, scheme + 3);
    o->fetches = is_address(o->conf.keys);
    if (!o->fetches && (e = read_file(o, why)) != ERR_OK) {
        oidc_close(o);
        return e;
    }
    *out = o;
    return ERR_OK;
}

void oidc_close(struct oidc *o)
{
    if (!o)
        return;
    token_public_free(o->locked.keys);
    pthread_mutex_destroy(&o->lock);
    arena_release(&o->arena);
    free(o);
}

struct str oidc_name(const struct oidc *o)
{
    return o->name;
}

const char *oidc_wants(struct oidc *o, struct arena *a, struct str token, int64_t now_s)
{
    bool wants;

    if (!o->fetches)
        return NULL;
    pthread_mutex_lock(&o->lock);
    wants =
        !o->locked.keys || now_s - o->locked.taken_s >= OIDC_FRESH_S || !token_public_knows(o->locked.keys, a, token);
    /* the first askers all fetch: none of them could be answered without */
    if (wants && o->locked.keys && now_s - o->locked.tried_s < OIDC_AGAIN_S)
        wants = false;
    if (wants)
        o->locked.tried_s = now_s;
    pthread_mutex_unlock(&o->lock);
    return wants ? o->conf.keys.p : NULL;
}

enum err oidc_take(struct oidc *o, struct str json, int64_t now_s, char why[TOKEN_WHY_MAX])
{
    struct token_public *keys, *former;
    enum err e = token_public_jwks(json, &keys, why);

    if (e != ERR_OK)
        return e;
    pthread_mutex_lock(&o->lock);
    former = o->locked.keys;
    o->locked.keys = keys;
    o->locked.taken_s = now_s;
    pthread_mutex_unlock(&o->lock);
    token_public_free(former);
    return ERR_OK;
}

enum err oidc_read(struct oidc *o, struct arena *a, struct str token, int64_t now_s, struct token *out,
                   char why[TOKEN_WHY_MAX])
{
    struct token_keys keys = {.issuer = o->conf.issuer, .audience = o->conf.audience};
    enum err e;

    pthread_mutex_lock(&o->lock); /* tens of microseconds; keys are not replaced meanwhile */
    keys.public_keys = o->locked.keys;
    e = token_read(a, token, &keys, now_s, out, why);
    pthread_mutex_unlock(&o->lock);
    return e == ERR_OK ? e : ERR_INVALID_IDENTITY_TOKEN;
}
