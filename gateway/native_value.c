/* What a request of the native API says: parameters and members of its message. */
#include "base/mem.h"
#include "gateway/native_request.h"

struct str native_query(const struct native_request *r, struct str name)
{
    for (size_t i = 0; i < r->query_count; i++)
        if (str_eq(r->query[i].name, name))
            return r->query[i].value.p ? r->query[i].value : STR("");
    return STR_NONE;
}

static bool is_true(struct str s)
{
    static const char *const yes[] = {"1", "t", "true", "y", "yes", "on"};

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        if (str_eq_nocase(s, str_z(yes[i])))
            return true;
    return false;
}

bool native_query_bool(const struct native_request *r, struct str name)
{
    return is_true(native_query(r, name));
}

static bool is_null(const struct doc *d)
{
    return d->kind == DOC_SCALAR && !d->quoted && (d->text.n == 0 || str_eq(d->text, STR("null")));
}

const struct doc *native_member(const struct doc *map, const char *name)
{
    if (!map || map->kind != DOC_MAP)
        return NULL;
    for (const struct doc *d = map->first; d; d = d->next)
        if (str_eq_nocase(d->key, str_z(name)))
            return is_null(d) ? NULL : d;
    return NULL;
}

const struct doc *native_value(const struct native_request *r, const char *name)
{
    return native_member(r->action.value, name);
}

struct str native_text(const struct doc *map, const char *name)
{
    const struct doc *d = native_member(map, name);

    return d && d->kind == DOC_SCALAR ? (d->text.p ? d->text : STR("")) : STR_NONE;
}

bool native_flag(const struct doc *map, const char *name)
{
    return is_true(native_text(map, name));
}

uint64_t native_number(const struct doc *map, const char *name)
{
    uint64_t v = 0;

    return str_to_u64(native_text(map, name), UINT64_MAX, &v) ? v : 0;
}
