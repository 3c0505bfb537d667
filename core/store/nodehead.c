#include "nodehead.h"

#include "base/clock.h"

enum { ID_MAX = 64, NS_PER_MS = 1000000 };

void nodehead_digest(struct str description, char hex[NODEHEAD_DIGEST])
{
    struct digest d;

    hash_of(HASH_SHA256, description, &d);
    hex_encode(d.b, NODEHEAD_DIGEST / 2, hex);
}

size_t nodehead_sign(const struct hmac *key, struct nodeauth_claim claim, struct arena *arena,
                     struct http_header out[NODEHEAD_HEADERS])
{
    char *auth = arena_alloc(arena, NODEAUTH_HEX);
    size_t n = 0;

    claim.time_ms = clock_wall_ns() / NS_PER_MS;
    nodeauth_sign(key, &claim, auth);
    out[n++] = (struct http_header){STR("sluice-epoch"), arena_u64(arena, claim.epoch)};
    out[n++] = (struct http_header){STR("sluice-date"), arena_u64(arena, (uint64_t)claim.time_ms)};
    out[n++] = (struct http_header){STR("sluice-digest"), claim.digest};
    out[n++] = (struct http_header){STR("sluice-auth"), str_n(auth, NODEAUTH_HEX)};
    if (arena->id.n)
        out[n++] = (struct http_header){STR("sluice-id"), arena->id};
    return n;
}

/* The client's request id, by which the logs of two nodes can be joined. Only a signed request's. */
static void take_id(const struct http_req *req)
{
    struct str id = http_header_get(req, STR("sluice-id"));

    if (id.n == 0 || id.n > ID_MAX)
        return;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] > '~' || id.p[i] == '"' || id.p[i] == '\\')
            return;
    req->arena->id = id;
}

enum err nodehead_check(const struct hmac *key, const struct http_req *req, enum nodeauth_payload payload,
                        struct nodeauth_claim *claim)
{
    uint64_t time_ms;
    enum err e;

    *claim = (struct nodeauth_claim){.method = req->method_text,
                                     .target = req->target,
                                     .payload = payload,
                                     .digest = http_header_get(req, STR("sluice-digest"))};
    if (!str_to_u64(http_header_get(req, STR("sluice-epoch")), UINT64_MAX, &claim->epoch) ||
        !str_to_u64(http_header_get(req, STR("sluice-date")), INT64_MAX, &time_ms))
        return ERR_ACCESS_DENIED;
    claim->time_ms = (int64_t)time_ms;
    e = nodeauth_check(key, claim, http_header_get(req, STR("sluice-auth")), clock_wall_ns() / NS_PER_MS);
    if (e == ERR_OK)
        take_id(req);
    return e;
}
