#include "limits.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "s3api/auth.h"
#include "s3api/request.h"
#include "s3api/tags.h"

/* `due`: when the next request would come if all came evenly. */
struct slot {
    _Atomic uint64_t id, due;
};
struct limits {
    struct slot slots[LIMITS_SLOTS];
};

struct limits *limits_new(void)
{
    return NEW(struct limits);
}

void limits_free(struct limits *l)
{
    free(l);
}

static struct slot *find(struct limits *l, uint64_t id)
{
    struct slot *quiet = NULL;

    for (unsigned i = 0; i < LIMITS_NEAR; i++) {
        struct slot *s = &l->slots[(id + i) % LIMITS_SLOTS];
        uint64_t there = atomic_load(&s->id);
        if (there == id)
            return s;
        if (!quiet || (there == 0 && atomic_load(&quiet->id) != 0) ||
            (atomic_load(&quiet->id) != 0 && atomic_load(&s->due) < atomic_load(&quiet->due)))
            quiet = s;
    }
    atomic_store(&quiet->due, 0);
    atomic_store(&quiet->id, id);
    return quiet;
}

bool limits_take(struct limits *l, uint64_t id, uint32_t per_s, uint64_t now_ns)
{
    uint64_t step = NS_PER_S / per_s;
    struct slot *s = find(l, id);
    uint64_t due = atomic_load(&s->due);

    for (;;) {
        uint64_t from = due > now_ns ? due : now_ns;
        if (from - now_ns > NS_PER_S - step)
            return false;
        if (atomic_compare_exchange_weak(&s->due, &due, from + step))
            return true;
    }
}

/* ---- tags ---- */

/* 1 and more, or so many KiB, MiB, GiB, TiB, PiB. */
static bool read_size(struct str text, uint64_t *out)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned shift = 0;
    uint64_t n;

    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_ends(text, str_z(units[i]))) {
            text.n -= 3;
            shift = 10 * (i + 1);
        }
    if (!str_to_u64(text, (uint64_t)INT64_MAX >> shift, &n) || n == 0)
        return false;
    *out = n << shift;
    return true;
}

static bool read_tag(const struct tag *t, struct bucket_limits *out)
{
    if (str_eq(t->key, STR(IDENT_TAG_BYTES)))
        return read_size(t->value, &out->quota.bytes);
    if (str_eq(t->key, STR(IDENT_TAG_OBJECTS)))
        return str_to_u64(t->value, INT64_MAX, &out->quota.objects) && out->quota.objects > 0;
    return str_eq(t->key, STR(IDENT_TAG_RATE)) && ident_rate(t->value, &out->per_s);
}

enum err limits_of_tags(const struct tag *tags, size_t n, struct bucket_limits *out)
{
    *out = (struct bucket_limits){0};
    for (size_t i = 0; i < n; i++)
        if (str_starts(tags[i].key, STR(IDENT_TAG_OURS)) && !read_tag(&tags[i], out))
            return ERR_INVALID_TAG;
    return ERR_OK;
}

bool limits_quota(const void *parsed, struct quota_limits *out)
{
    *out = ((const struct bucket_limits *)parsed)->quota;
    return out->bytes || out->objects;
}

static const struct bucket_limits *limits_of(const struct s3_request *r)
{
    const struct bucket_doc *d =
        r->env->confs ? bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, STR("tagging")) : NULL;

    return d ? d->parsed : NULL;
}

static bool same(const struct bucket_limits *a, const struct bucket_limits *b)
{
    return a->per_s == b->per_s && a->quota.bytes == b->quota.bytes && a->quota.objects == b->quota.objects;
}

enum err limits_may_change(struct s3_request *r, const void *made)
{
    static const struct bucket_limits none;
    const struct bucket_limits *now = limits_of(r), *then = made;

    if (then && then->odd)
        return ERR_INVALID_TAG;
    if (r->principal.kind == IAM_OWNER || same(now ? now : &none, then ? then : &none))
        return ERR_OK;
    return reply_error(r, ERR_ACCESS_DENIED, "Only the owner changes tags that begin with " IDENT_TAG_OURS);
}

/* ---- requests ---- */

static enum err slow_down(struct s3_request *r, const char *whose, uint32_t per_s)
{
    reply_header(r, STR("Retry-After"), STR("1"));
    reply_keep_headers(r);
    return reply_error(r, ERR_BUSY, "Please reduce your request rate: %s may have %u requests a second.", whose, per_s);
}

enum err limits_user(struct s3_request *r)
{
    uint32_t per_s;

    if (!r->env->limits || (r->principal.kind != IAM_USER && r->principal.kind != IAM_SESSION) ||
        !(per_s = idents_rate(creds_idents(r->env->creds), &r->who->iam)))
        return ERR_OK;
    return limits_take(r->env->limits, hash_place(r->who->iam.id, 1) | 1, per_s, clock_mono_ns())
               ? ERR_OK
               : slow_down(r, "this user", per_s);
}

enum err limits_bucket(struct s3_request *r)
{
    const struct bucket_limits *l = r->env->limits ? limits_of(r) : NULL;

    if (!l || !l->per_s)
        return ERR_OK;
    return limits_take(r->env->limits, r->bucket.id.uid, l->per_s, clock_mono_ns())
               ? ERR_OK
               : slow_down(r, "this bucket", l->per_s);
}
