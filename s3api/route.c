#include "route.h"

#include "base/buf.h"

/* A row of routes.def without one in actions.def doesn't compile. */
enum permission {
#define ACTION(name, action, version_action) PERMISSION_##name,
#include "actions.def"
#undef ACTION
};

static const struct {
    struct str action, version_action;
} permissions[] = {
#define ACTION(name, action, version_action)                                                                           \
    [PERMISSION_##name] = {{action, sizeof(action) - 1}, {version_action, sizeof(version_action) - 1}},
#include "actions.def"
#undef ACTION
};

static const struct route routes[] = {
#define ROUTE(m, l, must, may, name, first, flags)                                                                     \
    {#name, HTTP_##m, LEVEL_##l, must, may, PERMISSION_##name, first, flags},
#define UNBUILT(m, l, must, may, name, flags) {#name, HTTP_##m, LEVEL_##l, must, may, PERMISSION_##name, NULL, flags},
#include "routes.def"
#undef ROUTE
#undef UNBUILT
};

static const struct str sub_keys[SUB_COUNT] = {
#define SUB_ROW(name, key) [SUB_##name] = {key, sizeof(key) - 1},
#include "routes.def"
#undef SUB_ROW
};

_Static_assert(SUB_COUNT <= 64, "a set of subs is 64 bits");

static uint64_t sub_of(struct str key)
{
    for (unsigned i = 0; i < SUB_COUNT; i++)
        if (sub_keys[i].n > 0 && str_eq(sub_keys[i], key))
            return UINT64_C(1) << i;
    return 0;
}

uint64_t route_subs(const struct http_req *req, enum s3_level level, const struct query_param *query, size_t n)
{
    uint64_t subs = 0;

    for (size_t i = 0; i < n; i++) {
        subs |= sub_of(query[i].name);
        /* any other value than 2 is a version 1 list, as measured on AWS */
        if (level == LEVEL_BUCKET && req->method == HTTP_GET && str_eq(query[i].name, STR("list-type")) &&
            str_eq(query[i].value, STR("2")))
            subs |= SUB(LIST_TYPE_2);
    }
    if (level == LEVEL_OBJECT && req->method == HTTP_PUT && http_header_count(req, STR("x-amz-copy-source")) > 0)
        subs |= SUB(COPY_SOURCE);
    return subs;
}

static struct str sub_names(struct arena *a, uint64_t subs)
{
    struct str all = STR("");

    for (unsigned i = 0; i < SUB_COUNT; i++) {
        struct str key = sub_keys[i].n > 0 ? sub_keys[i] : STR("x-amz-copy-source");
        if ((subs >> i & 1) == 0 || i == SUB_LIST_TYPE_2)
            continue;
        all = arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(all), all.n > 0 ? ", " : "", STR_ARG(key));
    }
    return all;
}

enum err route_find(enum http_method method, enum s3_level level, uint64_t subs, const struct route **out,
                    struct arena *a, struct str *clash)
{
    const uint64_t selectors =
        SUB(PART_NUMBER) | SUB(UPLOAD_ID) | SUB(VERSION_ID) | SUB(COPY_SOURCE) | SUB(LIST_TYPE_2);

    if (method == HTTP_OPTIONS)
        subs = 0; /* a preflight asks about the resource, whatever the query */
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *r = &routes[i];
        if (r->method == method && r->level == level && (subs & ~r->may) == r->must) {
            *out = r;
            return ERR_OK;
        }
    }
    /* One sub-resource that has no such method, or parameters that don't go together? */
    if ((subs & (subs - 1)) == 0 && (subs & selectors) == 0)
        return ERR_METHOD_NOT_ALLOWED;
    *clash = sub_names(a, subs);
    return ERR_INVALID_ARGUMENT;
}

struct str route_permission(const struct route *r, bool version)
{
    return version ? permissions[r->permission].version_action : permissions[r->permission].action;
}

const struct route *route_table(size_t *n)
{
    *n = sizeof(routes) / sizeof(routes[0]);
    return routes;
}
