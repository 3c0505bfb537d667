#include "nodeauth.h"

#include "base/buf.h"
#include "base/hash.h"

enum { CLAIM_MAX = 256 << 10 }; /* bytes; a target is at most a head long */

static void put_field(struct buf *b, struct str s)
{
    buf_add_u64(b, s.n);
    buf_add_char(b, ':');
    buf_add_str(b, s);
    buf_add_char(b, ',');
}

static void put_number(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    put_field(b, str_n(digits + at, sizeof(digits) - at));
}

static struct str payload_name(enum nodeauth_payload p)
{
    return p == NODEAUTH_STREAM ? STR("stream") : STR("described");
}

/* False: too long to be one of ours. */
static bool sign(struct str key, const struct nodeauth_claim *c, char hex[NODEAUTH_HEX])
{
    struct buf b = BUF_INIT(CLAIM_MAX);
    uint8_t mac[32];

    put_field(&b, STR("sluice-node-1"));
    put_field(&b, c->method);
    put_field(&b, c->target);
    put_number(&b, c->epoch);
    put_number(&b, (uint64_t)c->time_ms);
    put_field(&b, payload_name(c->payload));
    put_field(&b, c->digest);
    bool fits = buf_err(&b) == ERR_OK;
    hmac_sha256(key, buf_str(&b), mac);
    hex_encode(mac, sizeof(mac), hex);
    buf_release(&b);
    return fits;
}

void nodeauth_sign(struct str cluster_key, const struct nodeauth_claim *claim, char hex[NODEAUTH_HEX])
{
    (void)sign(cluster_key, claim, hex);
}

enum err nodeauth_check(struct str cluster_key, const struct nodeauth_claim *claim, struct str hex, int64_t now_ms)
{
    int64_t skew_ms = (int64_t)NODEAUTH_SKEW_S * 1000;
    char expected[NODEAUTH_HEX];

    if (hex.n != NODEAUTH_HEX || !sign(cluster_key, claim, expected) ||
        !str_eq_secret(hex, str_n(expected, sizeof(expected))))
        return ERR_ACCESS_DENIED;
    /* only after the signature: strangers learn nothing of our clock */
    if (claim->time_ms < now_ms - skew_ms || claim->time_ms > now_ms + skew_ms)
        return ERR_TIME_SKEWED;
    return ERR_OK;
}
