#include "metawatch.h"

#include <stdlib.h>

#include "base/mem.h"

struct metawatch {
    struct metawatch *next;
    meta_watch_fn *fn;
    void *arg;
    size_t prefix_n;
    char prefix[];
};

void metawatch_add(struct metawatch **list, struct str prefix, meta_watch_fn *fn, void *arg)
{
    struct metawatch *w = mem_alloc(sizeof(*w) + prefix.n);

    w->fn = fn;
    w->arg = arg;
    w->prefix_n = prefix.n;
    if (prefix.n)
        memcpy(w->prefix, prefix.p, prefix.n);
    w->next = *list;
    *list = w;
}

void metawatch_tell(const struct metawatch *list, struct str key, struct str value, uint64_t revision, bool removed)
{
    for (const struct metawatch *w = list; w; w = w->next)
        if (str_starts(key, str_n(w->prefix, w->prefix_n)))
            w->fn(w->arg, key, removed ? STR_NONE : value, revision, removed);
}

void metawatch_free(struct metawatch *list)
{
    while (list) {
        struct metawatch *next = list->next;
        free(list);
        list = next;
    }
}

enum err meta_check_key(struct str key)
{
    return key.n && key.n <= META_KEY_MAX && key.p[0] ? ERR_OK : ERR_INVALID_ARGUMENT;
}

enum err meta_check_put(const struct meta_put_req *req)
{
    if (!req->remove && req->value.n > META_VALUE_MAX)
        return ERR_TOO_LARGE;
    if (req->absent.n && meta_check_key(req->absent) != ERR_OK)
        return ERR_INVALID_ARGUMENT;
    if (!req->vacates.n && req->vacates_revision)
        return ERR_INVALID_ARGUMENT;
    if (req->vacates.n &&
        (meta_check_key(req->vacates) != ERR_OK || str_eq(req->vacates, req->key) || !req->vacates_revision))
        return ERR_INVALID_ARGUMENT;
    return meta_check_key(req->key);
}
