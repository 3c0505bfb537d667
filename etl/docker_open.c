#include <stdio.h>

#include "base/log.h"
#include "docker_own.h"

enum {
    API_MAJOR = 1,
    API_MINOR = 41, /* the oldest that is enough: Docker 20.10 */
    API_MINOR_MAX = 999,
};

static bool minor_of(struct str version, unsigned *out)
{
    struct str major = str_split(&version, '.');
    uint64_t n;

    if (!str_eq(major, STR("1")) || !str_to_u64(version, API_MINOR_MAX, &n))
        return false;
    *out = (unsigned)n;
    return true;
}

/* The oldest version that both know: its answers are the ones that are known here. */
static enum err take_version(struct docker_runtime *r, const struct doc *d, char why[ETL_WHY_MAX])
{
    struct str newest = rest_text(d, "ApiVersion"), oldest = rest_text(d, "MinAPIVersion");
    const struct doc *parts = rest_at(d, "Components");
    unsigned max, min = 0;

    if (!minor_of(newest, &max)) {
        snprintf(why, ETL_WHY_MAX, "what answers at etl.docker_socket, " STR_FMT ", is no container engine",
                 STR_ARG(r->api.socket));
        return ERR_UNAVAILABLE;
    }
    if (max < API_MINOR) {
        snprintf(why, ETL_WHY_MAX, "the container engine is too old: its API is version 1.%u, %d.%d is needed", max,
                 API_MAJOR, API_MINOR);
        return ERR_NOT_IMPLEMENTED;
    }
    (void)minor_of(oldest, &min);
    snprintf(r->api.version, sizeof(r->api.version), "%d.%u", API_MAJOR, min > API_MINOR ? min : API_MINOR);
    for (const struct doc *p = parts && parts->kind == DOC_LIST ? parts->first : NULL; p; p = p->next)
        r->podman |= str_find(rest_text(p, "Name"), STR("Podman")) != SIZE_MAX;
    return ERR_OK;
}

enum err docker_greet(struct docker_runtime *r, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct doc *d;
    enum err e = docker_ask(&r->api, &a, &(struct rest_req){.method = "GET", .path = "/version"}, &d, why);

    if (e == ERR_OK)
        e = take_version(r, d, why);
    if (e == ERR_OK)
        e = docker_ask(&r->api, &a, &(struct rest_req){.method = "GET", .path = "/info"}, &d, why);
    if (e == ERR_OK) {
        atomic_init(&r->init, rest_text(d, "InitBinary").n > 0);
        if (str_eq(rest_text(d, "OSType"), STR("windows"))) {
            snprintf(why, ETL_WHY_MAX, "the container engine runs containers of Windows");
            e = ERR_NOT_IMPLEMENTED;
        }
        log_info(STR_NONE, "etl sidecars are containers", "engine=%s version=%s api=%s",
                 log_quote(rest_text(d, "OperatingSystem")), log_quote(rest_text(d, "ServerVersion")), r->api.version);
    }
    arena_release(&a);
    return e;
}
