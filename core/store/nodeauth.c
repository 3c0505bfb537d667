#include "nodeauth.h"

static struct str decimal(char room[20], uint64_t v)
{
    size_t at = 20;

    do
        room[--at] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    return str_n(room + at, 20 - at);
}

static void put_field(struct hash *h, struct str s)
{
    char room[20];
    struct str n = decimal(room, s.n);

    hash_update(h, n.p, n.n);
    hash_update(h, ":", 1);
    hash_update(h, s.p, s.n);
    hash_update(h, ",", 1);
}

static void put_number(struct hash *h, uint64_t v)
{
    char room[20];

    put_field(h, decimal(room, v));
}

static struct str payload_name(enum nodeauth_payload p)
{
    return p == NODEAUTH_STREAM ? STR("stream") : STR("described");
}

void nodeauth_sign(const struct hmac *key, const struct nodeauth_claim *c, char hex[NODEAUTH_HEX])
{
    struct hash h;
    uint8_t mac[32];

    hmac_begin(key, &h);
    put_field(&h, STR("sluice-node-1"));
    put_field(&h, c->method);
    put_field(&h, c->target);
    put_number(&h, c->epoch);
    put_number(&h, (uint64_t)c->time_ms);
    put_field(&h, payload_name(c->payload));
    put_field(&h, c->digest);
    hmac_end(key, &h, mac);
    hex_encode(mac, sizeof(mac), hex);
}

enum err nodeauth_check(const struct hmac *key, const struct nodeauth_claim *claim, struct str hex, int64_t now_ms)
{
    int64_t skew_ms = (int64_t)NODEAUTH_SKEW_S * 1000;
    char expected[NODEAUTH_HEX];

    nodeauth_sign(key, claim, expected);
    if (!str_eq_secret(hex, str_n(expected, sizeof(expected))))
        return ERR_ACCESS_DENIED;
    /* only after the signature: strangers learn nothing of our clock */
    if (claim->time_ms < now_ms - skew_ms || claim->time_ms > now_ms + skew_ms)
        return ERR_TIME_SKEWED;
    return ERR_OK;
}
