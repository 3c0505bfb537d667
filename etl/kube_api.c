#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "kube_own.h"

enum {
    FILE_MAX = 64 << 10,
    HOST_MAX = 255,
    PATH_BYTES = 32 << 10,
    HEADERS_BYTES = FILE_MAX + 1024,
    BUSY_TRIES = 5,
    BUSY_PAUSE_MS = 1000,
    PAUSE_SLICE_MS = 50,
};

/* ---- files ---- */

enum err kube_file(struct arena *a, const char *path, struct str *out, char why[ETL_WHY_MAX])
{
    char *text = arena_alloc(a, FILE_MAX);
    size_t n = 0;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && n < FILE_MAX && (got = read(fd, text + n, FILE_MAX - n)) > 0)
        n += (size_t)got;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0 || n == FILE_MAX) {
        snprintf(why, ETL_WHY_MAX, "can't read %.300s: %s", path, got < 0 ? strerror(errnum) : "it is too large");
        return ERR_UNAVAILABLE;
    }
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' '))
        n--;
    *out = arena_str(a, str_n(text, n));
    return ERR_OK;
}

/* ---- whom to ask ---- */

static bool host_is_valid(struct str host)
{
    bool ok = host.n && host.n <= HOST_MAX;

    for (size_t i = 0; ok && i < host.n; i++) {
        char c = host.p[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
             c == ':';
    }
    return ok;
}

enum err kube_server(struct arena *a, struct str url, struct kube_api *api, char why[ETL_WHY_MAX])
{
    struct str rest = url, host;
    uint64_t port = 443;
    bool ok = str_starts(rest, STR("https://"));

    rest = str_skip(rest, ok ? 8 : 0);
    if (rest.n && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (rest.n && rest.p[0] == '[') {
        rest = str_skip(rest, 1);
        size_t end = str_find_char(rest, ']');
        ok = ok && end != SIZE_MAX;
        host = str_split(&rest, ']');
        ok = ok && (rest.n == 0 || rest.p[0] == ':');
        rest = str_skip(rest, rest.n ? 1 : 0);
    } else {
        host = str_split(&rest, ':');
        ok = ok && str_find_char(host, ':') == SIZE_MAX;
    }
    ok = ok && host_is_valid(host) && (rest.n == 0 || (str_to_u64(rest, UINT16_MAX, &port) && port));
    if (!ok) {
        rest_say(why, "the API server's address must be as https://HOST:PORT, and is ", url);
        return ERR_INVALID_ARGUMENT;
    }
    api->host = arena_str(a, host).p;
    api->port = (uint16_t)port;
    return ERR_OK;
}

static void not_reached(const struct rest_site *site, int errnum, char why[ETL_WHY_MAX])
{
    snprintf(why, ETL_WHY_MAX, "the Kubernetes API server at %.255s:%u can't be reached (%s)", site->host, site->port,
             strerror(errnum));
}

/* ---- refusals ---- */

/* A rule of RBAC: other refusals with 403 are those of admission. */
static bool is_rule_missing(struct str message)
{
    return str_find(message, STR(" cannot ")) != SIZE_MAX && str_find(message, STR(" resource ")) != SIZE_MAX;
}

static void tell(const struct kube_api *api, const struct kube_req *req, int status, struct str message,
                 char why[ETL_WHY_MAX])
{
    char what[128];

    if (status == 401) {
        snprintf(why, ETL_WHY_MAX, "the Kubernetes API server does not accept the token in %.300s (401)",
                 api->token_file.p);
        return;
    }
    snprintf(what, sizeof(what), "the Kubernetes API server says: ");
    if (status == 403 && is_rule_missing(message))
        snprintf(what, sizeof(what), "the Role of this server lacks the rule \"%s %s\" (docs/etl.md): ", req->verb,
                 req->resource);
    if (message.n)
        rest_say(why, what, message);
    else
        snprintf(why, ETL_WHY_MAX, "the Kubernetes API server answers with status %d", status);
}

static enum err refusal(const struct kube_api *api, const struct kube_req *req, const struct rest_res *res,
                        char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct doc *d;
    char reason[DOC_WHY_MAX];
    bool told = js_read(&a, buf_str(&res->body), &d, reason) == ERR_OK;
    bool exists = told && str_eq(rest_text(d, "reason"), STR("AlreadyExists"));

    tell(api, req, res->status, told ? rest_text(d, "message") : STR_NONE, why);
    arena_release(&a);
    switch (res->status) {
    case 400:
    case 422:
        return ERR_INVALID_ARGUMENT;
    case 401:
    case 403:
        return ERR_ACCESS_DENIED;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return exists ? ERR_EXISTS : ERR_CONFLICT;
    case 410:
        return ERR_REMOTE_GONE;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* ---- questions ---- */

static enum err headers(const struct kube_api *api, struct arena *a, struct buf *out, char why[ETL_WHY_MAX])
{
    struct str token;
    enum err e = kube_file(a, api->token_file.p, &token, why);

    if (e != ERR_OK)
        return e;
    if (!token.n || !str_is_plain(token) || str_find_char(token, ' ') != SIZE_MAX) {
        snprintf(why, ETL_WHY_MAX, "%.300s holds no token", api->token_file.p);
        return ERR_UNAVAILABLE;
    }
    buf_addf(out, "Accept: application/json\r\nAuthorization: Bearer " STR_FMT "\r\n", STR_ARG(token));
    return buf_err(out);
}

static enum err trust(const struct kube_api *api, struct tls_client **out, char why[ETL_WHY_MAX])
{
    struct tls_client_conf conf = {.ca_file = api->ca_file.p};
    char reason[256] = "";

    if (tls_client_new(&conf, out, reason) == ERR_OK)
        return ERR_OK;
    snprintf(why, ETL_WHY_MAX, "%s", reason);
    return ERR_UNAVAILABLE;
}

static enum err write_path(const struct kube_api *api, const struct kube_req *req, struct buf *out,
                           char why[ETL_WHY_MAX])
{
    buf_addf(out, "%s%s/namespaces/" STR_FMT "%s", req->group ? "/apis/" : "/api/", req->group ? req->group : "v1",
             STR_ARG(api->namespace), req->path);
    buf_add_char(out, 0);
    if (buf_err(out) == ERR_OK)
        return ERR_OK;
    snprintf(why, ETL_WHY_MAX, "the question to the Kubernetes API server is too long");
    return ERR_INVALID_ARGUMENT;
}

static bool pause_for(const struct kube_req *req, uint32_t ms)
{
    for (uint32_t k = 0; k < ms; k += PAUSE_SLICE_MS) {
        if (req->quit && atomic_load(req->quit))
            return false;
        usleep(PAUSE_SLICE_MS * 1000);
    }
    return true;
}

/* One that has too much to do says so before it does anything. */
static enum err ask(const struct kube_req *req, const struct rest_site *site, const struct rest_req *with,
                    struct rest_res *res, char why[ETL_WHY_MAX])
{
    enum err e = rest_ask(site, with, res, why);

    for (int k = 1; k < BUSY_TRIES && e == ERR_OK && res->status == 429; k++) {
        rest_res_release(res);
        if (!pause_for(req, BUSY_PAUSE_MS))
            return ERR_CANCELLED;
        e = rest_ask(site, with, res, why);
    }
    return e;
}

enum err kube_ask(const struct kube_api *api, struct arena *a, const struct kube_req *req, struct doc **out,
                  char why[ETL_WHY_MAX])
{
    struct rest_site site = {
        .name = "the Kubernetes API server", .host = api->host, .port = api->port, .unreachable = not_reached};
    struct buf path = BUF_INIT(PATH_BYTES), lines = BUF_INIT(HEADERS_BYTES);
    struct rest_res res = {.status = 0};
    struct arena own = ARENA_INIT;
    enum err e;

    why[0] = 0;
    if ((e = write_path(api, req, &path, why)) == ERR_OK && (e = headers(api, &own, &lines, why)) == ERR_OK &&
        (e = trust(api, &site.tls, why)) == ERR_OK) {
        const struct rest_req with = {.method = req->method,
                                      .path = path.p,
                                      .headers = buf_str(&lines),
                                      .body = req->body,
                                      .timeout_ms = req->timeout_ms,
                                      .body_max = req->body_max,
                                      .quit = req->quit,
                                      .on_piece = req->on_piece,
                                      .arg = req->arg};
        e = ask(req, &site, &with, &res, why);
    }
    if (req->status)
        *req->status = res.status;
    if (e == ERR_OK && (res.status < 200 || res.status >= 300))
        e = refusal(api, req, &res, why);
    if (e == ERR_OK && out)
        e = rest_json(&site, &res, a, out, why);
    tls_client_free(site.tls);
    rest_res_release(&res);
    buf_release(&path);
    buf_release(&lines);
    arena_release(&own);
    return e;
}
