#include "cred.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "iam/session_cache.h"

/* Slots of the cache of signing keys. An attacker who invents regions can only make others recompute (4 HMACs). */
enum { CACHE_SLOTS = 64, CACHE_REGION_MAX = 32, DAY_LEN = 8 };

struct cred {
    char access_key[ACCESS_KEY_MAX];
    uint8_t access_key_n;
    char secret[SECRET_KEY_MAX];
    uint8_t secret_n;
};

/* The secret it was made of is part of what it is found by: one that was replaced is never used again. */
struct cached_key {
    bool used;
    uint8_t access_key_n, secret_n, region_n;
    char access_key[ACCESS_KEY_MAX];
    char secret[SECRET_KEY_MAX];
    char day[DAY_LEN];
    char region[CACHE_REGION_MAX];
    struct hmac key;
};

struct creds {
    struct idents *idents;
    struct session_cache *sessions;
    char account[ACCESS_KEY_MAX];
    size_t account_n;
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

    c->sessions = session_cache_new();

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
    session_cache_free(c->sessions);
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
    if (!c->account_n)
        memcpy(c->account, access_key.p, c->account_n = access_key.n);
    wipe_cache(c);
    pthread_rwlock_unlock(&c->lock);
    return ERR_OK;
}

void creds_follow(struct creds *c, struct idents *idents)
{
    c->idents = idents;
}

struct idents *creds_idents(const struct creds *c)
{
    return c->idents;
}

struct str creds_account(const struct creds *c)
{
    return str_n(c->account, c->account_n);
}

static bool find_owner(struct creds *c, struct str access_key, struct iam_key *out)
{
    pthread_rwlock_rdlock(&c->lock);
    const struct cred *k = find(c, access_key);
    if (k) {
        *out = (struct iam_key){.secret_n = k->secret_n, .who.kind = IAM_OWNER};
        memcpy(out->secret, k->secret, k->secret_n);
    }
    pthread_rwlock_unlock(&c->lock);
    return k != NULL;
}

static enum err find_session(struct creds *c, struct arena *a, struct str access_key, struct str token, int64_t now_s,
                             struct iam_key *out)
{
    struct session s;
    enum err e = c->idents ? session_cache_open(c->sessions, c->idents, a, token, now_s, &s) : ERR_INVALID_TOKEN;

    if (e != ERR_OK)
        return e;
    if (!str_eq(s.access_key, access_key) || s.secret.n > sizeof(out->secret))
        return ERR_INVALID_TOKEN;
    *out = (struct iam_key){.secret_n = (uint8_t)s.secret.n, .who = s.who};
    memcpy(out->secret, s.secret.p, s.secret.n);
    return ERR_OK;
}

enum err creds_find(struct creds *c, struct arena *a, struct str access_key, struct str token, int64_t now_s,
                    struct iam_key *out)
{
    if (token.n)
        return find_session(c, a, access_key, token, now_s, out);
    if (find_owner(c, access_key, out) || (c->idents && idents_key(c->idents, a, access_key, now_s, out)))
        return ERR_OK;
    return ERR_INVALID_ACCESS_KEY;
}

static struct cached_key *slot_of(struct creds *c, const struct sigv4_scope *s)
{
    uint64_t h = hash_place(s->access_key, hash_place(s->region, hash_place(s->day, 0)));

    return &c->locked.cache[h % CACHE_SLOTS];
}

static bool slot_is(const struct cached_key *k, const struct iam_key *key, const struct sigv4_scope *s)
{
    return k->used && str_eq(str_n(k->access_key, k->access_key_n), s->access_key) &&
           str_eq_secret(str_n(k->secret, k->secret_n), str_n(key->secret, key->secret_n)) &&
           str_eq(str_n(k->day, DAY_LEN), s->day) && str_eq(str_n(k->region, k->region_n), s->region);
}

/* S3 API: Signature Calculations, "Calculate Signature": four nested HMACs. */
static void derive(const struct iam_key *k, const struct sigv4_scope *s, struct hmac *out)
{
    char first[4 + SECRET_KEY_MAX] = "AWS4";
    uint8_t key[32];

    memcpy(first + 4, k->secret, k->secret_n);
    hmac_sha256(str_n(first, 4u + k->secret_n), s->day, key);
    hmac_sha256(str_n(key, sizeof(key)), s->region, key);
    hmac_sha256(str_n(key, sizeof(key)), s->service, key);
    hmac_sha256(str_n(key, sizeof(key)), STR("aws4_request"), key);
    hmac_key(out, str_n(key, sizeof(key)));
    explicit_bzero(first, sizeof(first));
    explicit_bzero(key, sizeof(key));
}

static void keep(struct creds *c, const struct iam_key *key, const struct sigv4_scope *s, const struct hmac *made)
{
    pthread_rwlock_wrlock(&c->lock);
    struct cached_key *k = slot_of(c, s);
    *k = (struct cached_key){.used = true,
                             .access_key_n = (uint8_t)s->access_key.n,
                             .secret_n = key->secret_n,
                             .region_n = (uint8_t)s->region.n,
                             .key = *made};
    memcpy(k->access_key, s->access_key.p, s->access_key.n);
    memcpy(k->secret, key->secret, key->secret_n);
    memcpy(k->day, s->day.p, DAY_LEN);
    if (s->region.n)
        memcpy(k->region, s->region.p, s->region.n);
    pthread_rwlock_unlock(&c->lock);
}

void creds_signing_key(struct creds *c, const struct iam_key *key, const struct sigv4_scope *s, struct hmac *out)
{
    bool keeps = s->access_key.n <= ACCESS_KEY_MAX && s->day.n == DAY_LEN && s->region.n <= CACHE_REGION_MAX &&
                 str_eq(s->service, STR("s3")),
         hit = false;

    if (keeps) {
        pthread_rwlock_rdlock(&c->lock);
        const struct cached_key *k = slot_of(c, s);
        if ((hit = slot_is(k, key, s)))
            *out = k->key;
        pthread_rwlock_unlock(&c->lock);
    }
    if (hit)
        return;
    derive(key, s, out);
    if (keeps)
        keep(c, key, s, out);
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
