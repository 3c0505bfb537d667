#include "job_wide.h"

#include "target/redundant.h"

/* ---- whose key is it ---- */

enum role { PART_NONE, PART_LEADS, PART_LEFT_OVER };

static bool is_among(const struct map *m, const struct map_members *s, struct str id)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(m->nodes[s->nodes[i]].id, id))
            return true;
    return false;
}

static enum role part_of(const struct job_wide *w, struct bucket_id bucket, struct str key)
{
    unsigned width = redundancy_width(bucket.redundancy);
    struct map_members now, before;

    map_members(w->map, bucket.uid, key, width, &now);
    if (now.lead >= 0 && str_eq(w->map->nodes[now.nodes[now.lead]].id, w->env->self))
        return PART_LEADS;
    if (!w->own || is_among(w->map, &now, w->env->self))
        return PART_NONE;
    map_members_before(w->map, bucket.uid, key, width, &before);
    return is_among(w->map, &before, w->env->self) ? PART_NONE : PART_LEFT_OVER;
}

bool job_wide_wanted(void *wide, struct bucket_id bucket, struct str key)
{
    return part_of(wide, bucket, key) != PART_NONE;
}

/* ---- one key ---- */

struct wide_key {
    struct call call;
    struct call *whole;
    struct job_scan_key *key;
    struct redundant_settle_req req;
    struct redundant_settle_res res;
};

static void settled(struct call *c)
{
    struct wide_key *k = CONTAINER(c, struct wide_key, call);

    k->key->changed = k->res.changed;
    k->key->bytes = k->res.bytes;
    call_finish(k->whole, c->err);
}

static void wide_cancel(void *arg)
{
    call_cancel(&((struct wide_key *)arg)->call);
}

void job_wide_each(void *wide, struct job_scan_key *key, struct call *call)
{
    struct wide_key *k = ARENA_NEW(key->arena, struct wide_key);

    k->whole = call;
    k->key = key;
    k->req =
        (struct redundant_settle_req){.arena = key->arena, .bucket = key->bucket, .key = key->key, .content = true};
    call_begin(&k->call, call->loop, settled);
    call_on_cancel(call, wide_cancel, k);
    redundant_settle(((struct job_wide *)wide)->env->redundant, &k->req, &k->res, &k->call);
}
