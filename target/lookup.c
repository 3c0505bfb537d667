/* The lookup half of engine.h: hot cache, then RocksDB's memory, then its files on the io pool. */
#include "target/engine.h"

#include "base/log.h"

enum { LOOKUP_TRIES = 16 };

void lookup_init(struct lookup *u, struct local *l, struct mountpath *m, uint64_t bucket_uid, struct str key,
                 enum lookup_want want)
{
    u->local = l;
    u->mountpath = m;
    u->bucket_uid = bucket_uid;
    u->key = key;
    u->want = want;
    u->found = NULL;
}

static bool wants_body(enum lookup_want want, enum body_kind kind)
{
    return kind == BODY_MANIFEST ? want != WANT_RECORD : kind == BODY_INLINE && want == WANT_BODY;
}

static enum err read_body(struct lookup *u, const struct record *r, enum kv_tier tier, struct kv_value *out)
{
    struct index_key k;

    index_id(&k, r->kind == BODY_MANIFEST ? INDEX_MANIFEST : INDEX_BODY, &r->body);
    return kv_get(u->mountpath->kv, index_key_str(&k), tier, out);
}

/* ERR_NOT_FOUND: the record was there but its body was not: replaced in between. */
static enum err read_once(struct lookup *u, struct str index_key, enum kv_tier tier)
{
    struct kv_value raw = {0}, body = {0};
    struct hot_ticket ticket = {0};
    struct record r;
    enum err e;

    u->found = hot_find(u->mountpath->hot, index_key, &ticket);
    if (u->found && (u->found->has_body || !wants_body(u->want, u->found->rec.kind)))
        return ERR_OK;
    hot_unref(u->found);
    u->found = NULL;
    if ((e = kv_get(u->mountpath->kv, index_key, tier, &raw)) != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_NO_SUCH_KEY : e;
    if ((e = record_decode(raw.bytes, &r)) != ERR_OK)
        goto out;
    if (wants_body(u->want, r.kind) && (e = read_body(u, &r, tier, &body)) != ERR_OK)
        goto out;
    e = hot_new(index_key, raw.bytes, body.bytes, &u->found);
    if (e == ERR_OK)
        hot_install(u->mountpath->hot, &ticket, u->found);
out:
    kv_value_release(&raw);
    kv_value_release(&body);
    return e;
}

static enum err look(struct lookup *u, enum kv_tier tier)
{
    struct index_key k;
    enum err e = ERR_NOT_FOUND;

    index_object(&k, u->bucket_uid, u->key);
    for (int i = 0; i < LOOKUP_TRIES && e == ERR_NOT_FOUND; i++)
        e = read_once(u, index_key_str(&k), tier);
    if (e == ERR_NOT_FOUND) {
        log_error(STR_NONE, "record without its body", "mountpath=%s key=%s", log_quote(u->mountpath->dir),
                  log_quote(u->key));
        e = ERR_CORRUPT;
    }
    return e;
}

enum err lookup_now(struct lookup *u)
{
    return look(u, KV_CACHED);
}

static enum err look_on_disk(struct offload_task *t)
{
    return look(CONTAINER(t, struct lookup, task), KV_DISK);
}

void lookup_run(struct lookup *u, struct call *call)
{
    offload_run(u->local->conf.io, &u->task, look_on_disk, call);
}

static enum err check(struct lookup *u, enum kv_tier tier)
{
    enum lookup_want want = u->want;

    u->want = WANT_RECORD;
    enum err e = look(u, tier);
    u->want = want;
    if (e == ERR_OK && !str_eq(u->found->raw, u->known->raw))
        e = ERR_CONFLICT;
    hot_unref(u->found);
    u->found = NULL;
    return e;
}

static enum err check_on_disk(struct offload_task *t)
{
    return check(CONTAINER(t, struct lookup, task), KV_DISK);
}

void lookup_check(struct lookup *u, const struct hot *known, struct call *call)
{
    u->known = known;
    enum err e = check(u, KV_CACHED);
    if (e == ERR_AGAIN)
        offload_run(u->local->conf.io, &u->task, check_on_disk, call);
    else
        call_finish(call, e);
}
