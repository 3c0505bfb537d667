#include "range.h"

/* Digits only. What doesn't fit is past the end of any object, so it becomes the largest number that can still be added
 * to. */
static bool position(struct str s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (v > (INT64_MAX - 9) / 10)
            v = INT64_MAX;
        else
            v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = v;
    return true;
}

static bool spec_parse(struct str spec, struct range *out)
{
    struct range r = {RANGE_FROM_TO, 0, 0};
    size_t dash = str_find_char(spec, '-');

    if (dash == SIZE_MAX)
        return false;
    struct str first = str_n(spec.p, dash), last = str_skip(spec, dash + 1);
    if (first.n == 0) {
        r.kind = RANGE_LAST;
        if (!position(last, &r.last))
            return false;
    } else if (!position(first, &r.first)) {
        return false;
    } else if (last.n == 0) {
        r.kind = RANGE_FROM;
    } else if (!position(last, &r.last) || r.last < r.first) {
        return false;
    }
    *out = r;
    return true;
}

void range_parse(struct str value, struct range *out)
{
    static const struct str unit = {"bytes=", 6};

    *out = (struct range){RANGE_ALL, 0, 0};
    if (str_starts_nocase(value, unit))
        (void)spec_parse(str_trim(str_skip(value, unit.n)), out); /* on failure it stays RANGE_ALL */
}

enum err range_parse_copy(struct str value, struct range *out)
{
    struct range r;

    if (!str_starts(value, STR("bytes=")) || !spec_parse(str_skip(value, 6), &r) || r.kind != RANGE_FROM_TO)
        return ERR_INVALID_ARGUMENT;
    *out = r;
    return ERR_OK;
}
