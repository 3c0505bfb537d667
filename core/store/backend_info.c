#include "backend_own.h"

#include <stdio.h>

#include "base/clock.h"

#define MARK STR("x-sluice-remote")

void backend_mark(struct arena *arena, struct object_info *info, const struct object_info *remote)
{
    struct attr *attrs = (struct attr *)(uintptr_t)info->attrs;
    struct str text = etag_str(&remote->etag);

    attrs[info->attr_count++] =
        (struct attr){MARK, arena_printf(arena, STR_FMT " %lld", STR_ARG(text), (long long)remote->mtime_ns)};
}

void backend_unmark(struct arena *arena, struct object_info *info)
{
    struct str text = object_attr(info, MARK), etag;
    struct attr *attrs;
    uint64_t ns;
    uint32_t n = 0;

    if (!text.p)
        return;
    attrs = arena_alloc(arena, info->attr_count * sizeof(*attrs));
    for (uint32_t i = 0; i < info->attr_count; i++)
        if (!str_eq(info->attrs[i].name, MARK))
            attrs[n++] = info->attrs[i];
    info->attrs = attrs;
    info->attr_count = n;
    etag = str_split(&text, ' ');
    if (etag.n == 0 || etag.n > ETAG_MAX || !str_to_u64(text, INT64_MAX, &ns))
        return;
    memcpy(info->etag.text, etag.p, etag.n);
    info->etag.n = (uint8_t)etag.n;
    if (ns)
        info->mtime_ns = (int64_t)ns;
}

enum err backend_decide(const struct obj_head_req *req, const struct object_info *info, struct obj_head_res *res)
{
    enum err e = cond_check_read(&req->cond, info, clock_wall_ns() / NS_PER_S);

    *res = (struct obj_head_res){.info = *info};
    if (e != ERR_OK)
        return e;
    if (req->part_number > 1)
        return ERR_INVALID_PART_NUMBER;
    return range_resolve(&req->range, info->size, &res->offset, &res->len);
}
