#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "docker_own.h"

enum { PATH_BYTES = 16 << 10 };

/* ---- questions ---- */

static void no_engine(const struct rest_site *site, int errnum, char why[ETL_WHY_MAX])
{
    const char *hint = errnum == ENOENT         ? ": no engine runs, or its socket is elsewhere"
                       : errnum == EACCES       ? ": this user may not use it"
                       : errnum == ECONNREFUSED ? ": no engine runs"
                                                : "";

    snprintf(why, ETL_WHY_MAX, "no container engine answers at etl.docker_socket, " STR_FMT " (%s)%s",
             STR_ARG(site->socket), strerror(errnum), hint);
}

static struct rest_site site_of(const struct docker_api *api)
{
    return (struct rest_site){.name = "the container engine", .socket = api->socket, .unreachable = no_engine};
}

static enum err refusal(const struct rest_res *res, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct doc *d;
    char reason[DOC_WHY_MAX];
    struct str text = js_read(&a, buf_str(&res->body), &d, reason) == ERR_OK ? rest_text(d, "message") : STR_NONE;

    if (text.n)
        rest_say(why, "the container engine says: ", text);
    else
        snprintf(why, ETL_WHY_MAX, "the container engine answers with status %d", res->status);
    arena_release(&a);
    switch (res->status) {
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_CONFLICT;
    case 400:
        return ERR_INVALID_ARGUMENT;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* The path with the version in front of it. */
static enum err path_of(const struct docker_api *api, const char *path, struct buf *out, char why[ETL_WHY_MAX])
{
    buf_addf(out, "%s%s%s", api->version[0] ? "/v" : "", api->version, path);
    buf_add_char(out, 0);
    if (buf_err(out) == ERR_OK)
        return ERR_OK;
    snprintf(why, ETL_WHY_MAX, "the question to the container engine is too long");
    return ERR_INVALID_ARGUMENT;
}

enum err docker_ask(const struct docker_api *api, struct arena *a, const struct rest_req *req, struct doc **out,
                    char why[ETL_WHY_MAX])
{
    const struct rest_site site = site_of(api);
    struct rest_req with = *req;
    struct rest_res res = {.status = 0};
    struct buf path = BUF_INIT(PATH_BYTES);
    enum err e = path_of(api, req->path, &path, why);

    with.path = path.p;
    if (e == ERR_OK)
        e = rest_ask(&site, &with, &res, why);
    /* 304: it is so already */
    if (e == ERR_OK && (res.status < 200 || (res.status >= 300 && res.status != 304)))
        e = refusal(&res, why);
    if (e == ERR_OK && out)
        e = rest_json(&site, &res, a, out, why);
    buf_release(&path);
    rest_res_release(&res);
    return e;
}

enum err docker_hijack(const struct docker_api *api, const char *path, int *fd, struct buf *early,
                       char why[ETL_WHY_MAX])
{
    const struct rest_site site = site_of(api);
    struct rest_res res = {.status = 0};
    struct buf whole = BUF_INIT(PATH_BYTES);
    enum err e = path_of(api, path, &whole, why);

    /* 200: an engine that does not say that it changes protocols, and does so nevertheless */
    if (e == ERR_OK)
        e = rest_hijack(&site, &(struct rest_req){.method = "POST", .path = whole.p}, &res, fd, early, why);
    if (e == ERR_OK && *fd < 0)
        e = refusal(&res, why);
    buf_release(&whole);
    rest_res_release(&res);
    return e;
}

/* ---- what answers consist of ---- */

bool docker_take_id(struct str text, char out[DOCKER_ID_MAX + 1])
{
    bool ok = text.n >= 12 && text.n <= DOCKER_ID_MAX;

    for (size_t i = 0; ok && i < text.n; i++)
        ok = (text.p[i] >= '0' && text.p[i] <= '9') || (text.p[i] >= 'a' && text.p[i] <= 'f');
    if (ok) {
        memcpy(out, text.p, text.n);
        out[text.n] = 0;
    }
    return ok;
}

bool docker_frames_next(struct docker_frames *f, struct str *in, struct str *piece, unsigned *stream)
{
    while (in->n && !f->bad && f->left == 0) {
        f->head[f->have++] = (uint8_t)in->p[0];
        *in = str_skip(*in, 1);
        if (f->have < sizeof(f->head))
            continue;
        f->have = 0;
        f->left = (uint32_t)f->head[4] << 24 | (uint32_t)f->head[5] << 16 | (uint32_t)f->head[6] << 8 | f->head[7];
        f->bad = f->head[0] > 3 || f->head[1] || f->head[2] || f->head[3];
    }
    if (!in->n || f->bad)
        return false;
    *piece = str_n(in->p, in->n < f->left ? in->n : f->left);
    *stream = f->head[0];
    f->left -= (uint32_t)piece->n;
    *in = str_skip(*in, piece->n);
    return true;
}
