#include "cred.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Slots of the cache of signing keys. An attacker who invents regions can only make others recompute (4 HMACs). */
enum { CACHE_SLOTS = 64, CACHE_REGION_MAX = 32, DAY_LEN = 8 };

struct cached_key {
    bool used;
    uint8_t access_key_n, region_n;
    char access_key[ACCESS_KEY_MAX];
    char day[DAY_LEN];
    char region[CACHE_REGION_MAX];
    struct hmac key;
};

struct creds {
    pthread_rwlock_t lock;
    struct { /* guarded by lock */
        struct cred *list;
        size_t count;
        struct cached_key cache[CACHE_SLOTS];
    } locked;
};

struct creds *creds_new(void)
{
    struct creds *c = NEW(struct creds);

    pthread_rwlock_init(&c->lock, NULL);
    return c;
}

static void wipe_cache(struct creds *c)
{
    explicit_bzero(c->locked.cache, sizeof(c->locked.cache));
}

void creds_free(struct creds *c)
{
    if (!c)
        return;
    if (c->locked.list)
        explicit_bzero(c->locked.list, c->locked.count * sizeof(struct cred));
    free(c->locked.list);
    wipe_cache(c);
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

/* lock held */
static struct cred *find(struct creds *c, struct str access_key)
{
    for (size_t i = 0; i < c->locked.count; i++) {
        struct cred *k = &c->locked.list[i];
        if (str_eq(str_n(k->access_key, k->access_key_n), access_key))
            return k;
    }
    return NULL;
}

/* lock held; not with realloc, which may leave a copy of secrets behind */
static struct cred *grow(struct creds *c)
{
    struct cred *list = mem_new((c->locked.count + 1) * sizeof(*list));

    if (c->locked.count) {
        memcpy(list, c->locked.list, c->locked.count * sizeof(*list));
        explicit_bzero(c->locked.list, c->locked.count * sizeof(*list));
    }
    free(c->locked.list);
    c->locked.list = list;
    return &list[c->locked.count++];
}

enum err creds_put(struct creds *c, struct str access_key, struct str secret)
{
    if (access_key.n == 0 || access_key.n > ACCESS_KEY_MAX || secret.n == 0 || secret.n > SECRET_KEY_MAX)
        return ERR_INVALID_ARGUMENT;
    pthread_rwlock_wrlock(&c->lock);
    struct cred *k = find(c, access_key);
    if (!k)
        k = grow(c);
    *k = (struct cred){.access_key_n = (uint8_t)access_key.n, .secret_n = (uint8_t)secret.n};
    memcpy(k->access_key, access_key.p, access_key.n);
    memcpy(k->secret, secret.p, secret.n);
    wipe_cache(c);
    pthread_rwlock_unlock(&c->lock);
    return ERR_OK;
}

bool creds_find(struct creds *c, struct str access_key, struct cred *out)
{
    pthread_rwlock_rdlock(&c->lock);
    const struct cred *k = find(c, access_key);
    if (k)
        *out = *k;
    pthread_rwlock_unlock(&c->lock);
    return k != NULL;
}

static struct cached_key *slot_of(struct creds *c, struct str access_key, struct str day, struct str region)
{
    uint64_t h = hash_place(access_key, hash_place(region, hash_place(day, 0)));

    return &c->locked.cache[h % CACHE_SLOTS];
}

static bool slot_is(const struct cached_key *s, struct str access_key, struct str day, struct str region)
{
    return s->used && str_eq(str_n(s->access_key, s->access_key_n), access_key) &&
           str_eq(str_n(s->day, DAY_LEN), day) && str_eq(str_n(s->region, s->region_n), region);
}

/* S3 API: Signature Calculations, "Calculate Signature": four nested HMACs. */
static void derive(const struct cred *k, struct str day, struct str region, struct hmac *out)
{
    char first[4 + SECRET_KEY_MAX] = "AWS4";
    uint8_t key[32];

    memcpy(first + 4, k->secret, k->secret_n);
    hmac_sha256(str_n(first, 4u + k->secret_n), day, key);
    hmac_sha256(str_n(key, sizeof(key)), region, key);
    hmac_sha256(str_n(key, sizeof(key)), STR("s3"), key);
    hmac_sha256(str_n(key, sizeof(key)), STR("aws4_request"), key);
    hmac_key(out, str_n(key, sizeof(key)));
    explicit_bzero(first, sizeof(first));
    explicit_bzero(key, sizeof(key));
}

/* Looks the secret up again under the exclusive lock, so a key replaced meanwhile never gets into the cache. */
static bool derive_and_keep(struct creds *c, struct str access_key, struct str day, struct str region, struct hmac *out)
{
    pthread_rwlock_wrlock(&c->lock);
    const struct cred *k = find(c, access_key);
    if (k) {
        derive(k, day, region, out);
        if (day.n == DAY_LEN && region.n <= CACHE_REGION_MAX) {
            struct cached_key *s = slot_of(c, access_key, day, region);
            s->used = true;
            s->access_key_n = (uint8_t)access_key.n;
            s->region_n = (uint8_t)region.n;
            memcpy(s->access_key, access_key.p, access_key.n);
            memcpy(s->day, day.p, DAY_LEN);
            if (region.n)
                memcpy(s->region, region.p, region.n);
            s->key = *out;
        }
    }
    pthread_rwlock_unlock(&c->lock);
    return k != NULL;
}

bool creds_signing_key(struct creds *c, struct str access_key, struct str day, struct str region, struct hmac *out)
{
    pthread_rwlock_rdlock(&c->lock);
    const struct cached_key *s = slot_of(c, access_key, day, region);
    bool hit = slot_is(s, access_key, day, region), known = hit;
    if (hit)
        *out = s->key;
    else
        known = find(c, access_key) != NULL; /* strangers never take the exclusive lock */
    pthread_rwlock_unlock(&c->lock);
    return hit || (known && derive_and_keep(c, access_key, day, region, out));
}

void creds_owner_id(struct str access_key, char out[64])
{
    static const char label[] = "sluice-owner:";
    struct hash h;
    struct digest d;

    hash_init(&h, HASH_SHA256);
    hash_update(&h, label, sizeof(label) - 1);
    hash_update(&h, access_key.p, access_key.n);
    hash_final(&h, &d);
    hex_encode(d.b, d.n, out);
}
