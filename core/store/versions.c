#include "store/versions.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"

/* ---- ids ---- */

enum { PLACE_LEN = 17 };
static const char letters[VERSION_KINDS] = {'0', '1', '2', '3'};

struct str version_place(struct object_version v, char out[VERSION_ID_MAX])
{
    uint8_t raw[8];

    for (int i = 0; i < 8; i++)
        raw[i] = (uint8_t)((uint64_t)v.mtime_ns >> (56 - 8 * i));
    hex_encode(raw, sizeof(raw), out);
    out[PLACE_LEN - 1] = letters[v.kind];
    return str_n(out, PLACE_LEN);
}

bool version_place_parse(struct str text, struct object_version *out)
{
    uint64_t ns;
    const char *kind = text.n == PLACE_LEN ? memchr(letters, text.p[PLACE_LEN - 1], sizeof(letters)) : NULL;

    if (!kind || !str_hex_to_u64(str_n(text.p, PLACE_LEN - 1), &ns) || ns > INT64_MAX)
        return false;
    *out = (struct object_version){(int64_t)ns, (enum version_kind)(kind - letters)};
    return true;
}

struct str version_id(struct object_version v, char out[VERSION_ID_MAX])
{
    return version_is_null(v.kind) ? STR("null") : version_place(v, out);
}

bool version_id_parse(struct str text, struct object_version *out)
{
    if (str_eq(text, STR("null"))) {
        *out = (struct object_version){0, VERSION_NULL};
        return true;
    }
    return version_place_parse(text, out) && !version_is_null(out->kind);
}

/* ---- keys: bytes that UTF-8 never has, so that no delimiter is found among them ---- */

enum { FIRST_DIGIT = 0xf8, DIGIT_BITS = 3, DIGITS = 22, SUFFIX = 1 + DIGITS + 1 };
_Static_assert(SUFFIX == STORE_KEY_MAX - KEY_MAX, "shadow keys fit");

void version_key_prefix(struct version_key *out, struct str key)
{
    assert(key.n <= KEY_MAX);
    memcpy(out->b, key.p, key.n);
    out->b[key.n] = 0;
    out->n = key.n + 1;
}

void version_key_behind(struct version_key *out, struct str key)
{
    version_key_prefix(out, key);
    memset(out->b + out->n, 0xff, SUFFIX - 1);
    out->n += SUFFIX - 1;
}

void version_key(struct version_key *out, struct str key, struct object_version v)
{
    uint64_t inverted = ~(uint64_t)v.mtime_ns;

    version_key_prefix(out, key);
    for (int i = DIGITS - 1; i >= 0; i--)
        out->b[out->n++] = (char)(FIRST_DIGIT | (inverted >> (DIGIT_BITS * i) & ((1 << DIGIT_BITS) - 1)));
    out->b[out->n++] = (char)(FIRST_DIGIT + (int)v.kind);
}

bool version_key_parse(struct str s, struct str *key, struct object_version *v)
{
    uint64_t inverted = 0;

    if (s.n <= SUFFIX || s.p[s.n - SUFFIX] != 0)
        return false;
    const uint8_t *digits = (const uint8_t *)s.p + s.n - SUFFIX + 1;
    for (int i = 0; i < DIGITS; i++) {
        if (digits[i] < FIRST_DIGIT)
            return false;
        inverted = inverted << DIGIT_BITS | (digits[i] & ((1 << DIGIT_BITS) - 1));
    }
    if (digits[DIGITS] < FIRST_DIGIT || digits[DIGITS] >= FIRST_DIGIT + VERSION_KINDS)
        return false;
    *v = (struct object_version){(int64_t)~inverted, (enum version_kind)(digits[DIGITS] - FIRST_DIGIT)};
    *key = str_n(s.p, s.n - SUFFIX);
    return true;
}

/* ---- locks ---- */

bool version_is_locked(const struct attr *attrs, uint32_t n, int64_t now_s, bool bypass)
{
    struct str mode = STR_NONE, until = STR_NONE;
    int64_t until_s;

    for (uint32_t i = 0; i < n; i++) {
        if (str_eq(attrs[i].name, LOCK_HOLD_ATTR) && !str_eq(attrs[i].value, STR("OFF")))
            return true;
        if (str_eq(attrs[i].name, LOCK_MODE_ATTR))
            mode = attrs[i].value;
        else if (str_eq(attrs[i].name, LOCK_UNTIL_ATTR))
            until = attrs[i].value;
    }
    if (mode.n == 0 || (bypass && str_eq(mode, STR("GOVERNANCE"))))
        return false;
    return !clock_iso_parse(until, &until_s) || until_s > now_s;
}

enum lock_change version_lock_change(const struct object_info *from, const struct object_info *changes, int64_t now_s)
{
    struct str old = object_attr(from, LOCK_MODE_ATTR), mode = old;
    int64_t old_s = INT64_MAX, until_s = 0;
    bool told = false;

    for (uint32_t i = 0; i < changes->attr_count; i++) {
        const struct attr *a = &changes->attrs[i];
        told |= str_eq(a->name, LOCK_MODE_ATTR) || str_eq(a->name, LOCK_UNTIL_ATTR);
        if (str_eq(a->name, LOCK_MODE_ATTR))
            mode = a->value;
        else if (str_eq(a->name, LOCK_UNTIL_ATTR) && !clock_iso_parse(a->value, &until_s))
            until_s = 0;
    }
    if (!told || old.n == 0)
        return LOCK_NOT_LESS;
    if (clock_iso_parse(object_attr(from, LOCK_UNTIL_ATTR), &old_s) && old_s <= now_s)
        return LOCK_NOT_LESS;
    if (until_s >= old_s && (str_eq(mode, old) || str_eq(mode, STR("COMPLIANCE"))))
        return LOCK_NOT_LESS;
    return str_eq(old, STR("GOVERNANCE")) ? LOCK_WANTS_BYPASS : LOCK_NEVER;
}
