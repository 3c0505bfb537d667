#include "gateway/native_object.h"

#include "base/clock.h"
#include "gateway/native_fields.h"
#include "s3api/range.h"

#define META STR("x-amz-meta-")

struct str native_version(const struct object_info *info)
{
    struct str v = object_attr(info, NATIVE_VERSION);

    return v.n ? v : STR("1");
}

struct attr native_next_version(struct arena *a, const struct object_info *replaced)
{
    uint64_t n = 0;

    if (replaced && !str_to_u64(native_version(replaced), UINT64_MAX - 1, &n))
        n = 0;
    return (struct attr){NATIVE_VERSION, arena_u64(a, n + 1)};
}

/* One header for all pairs: clients split at ", " and "=". */
static void custom_header(struct native_request *r, const struct object_info *info)
{
    struct str text = STR("");

    for (uint32_t i = 0; i < info->attr_count; i++) {
        const struct attr *at = &info->attrs[i];
        if (str_starts(at->name, META))
            text = arena_printf(r->arena, STR_FMT "%s" STR_FMT "=" STR_FMT, STR_ARG(text), text.n ? ", " : "",
                                STR_ARG(str_skip(at->name, META.n)), STR_ARG(at->value));
    }
    if (text.n)
        native_header(r, STR("Ais-Custom-Md"), text);
}

void native_object_headers(struct native_request *r, const struct object_info *info)
{
    struct native_checksum sum = native_checksum_of(r->arena, info);

    native_header(r, STR("Ais-Checksum-Type"), sum.type);
    native_header(r, STR("Ais-Checksum-Value"), sum.value);
    native_header_f(r, STR("Ais-Atime"), "%lld", (long long)info->mtime_ns);
    native_header(r, STR("Ais-Version"), native_version(info));
    custom_header(r, info);
}

bool native_redirects(struct native_request *r)
{
    struct str agent = http_header_get(r->http, STR("user-agent"));

    if (!r->http->secure || native_query(r, STR("pid")).p || !str_starts(agent, STR("ais/")))
        return false;
    r->status = 307;
    native_header_f(r, STR("Location"), "https://" STR_FMT STR_FMT "%spid=" STR_FMT "&utm=%lld", STR_ARG(r->http->host),
                    STR_ARG(r->http->target), r->http->has_query ? "&" : "?", STR_ARG(r->env->conf->node_id),
                    (long long)clock_wall_ns());
    return true;
}

enum err native_range(struct native_request *r, struct range *out, bool *partial)
{
    struct str value = http_header_get(r->http, STR("range"));

    *out = (struct range){.kind = RANGE_ALL};
    *partial = false;
    if (value.n == 0)
        return ERR_OK;
    if (str_find_char(value, ',') != SIZE_MAX)
        return native_error(r, ERR_INVALID_RANGE, "several ranges in one request are not served: " STR_FMT,
                            STR_ARG(value));
    range_parse(value, out);
    *partial = out->kind != RANGE_ALL;
    return *partial ? ERR_OK : native_error(r, ERR_INVALID_RANGE, "\"" STR_FMT "\" is no range", STR_ARG(value));
}
