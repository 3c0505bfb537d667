#include "redundancy.h"

#include <stdio.h>

static bool take(struct str *text, struct str prefix)
{
    if (!str_starts(*text, prefix))
        return false;
    *text = str_skip(*text, prefix.n);
    return true;
}

static bool number(struct str text, unsigned min, unsigned max, uint8_t *out)
{
    uint64_t n;

    if (!str_to_u64(text, max, &n) || n < min)
        return false;
    *out = (uint8_t)n;
    return true;
}

static bool slices(struct str text, struct redundancy *r)
{
    size_t plus = 0;

    while (plus < text.n && text.p[plus] != '+')
        plus++;
    return plus < text.n && number(str_n(text.p, plus), 1, REDUNDANCY_SLICES_MAX, &r->data) &&
           number(str_skip(text, plus + 1), 1, REDUNDANCY_PARITY_MAX, &r->parity) &&
           r->data + r->parity <= REDUNDANCY_SLICES_MAX;
}

enum err redundancy_parse(struct str text, struct redundancy *out)
{
    struct redundancy r = {.kind = REDUNDANCY_NONE};
    bool right;

    if (str_eq(text, STR("none"))) {
        right = true;
    } else if (take(&text, STR("mirror="))) {
        r.kind = REDUNDANCY_MIRROR;
        right = number(text, 2, REDUNDANCY_COPIES_MAX, &r.data);
    } else if (take(&text, STR("replicas="))) {
        r.kind = REDUNDANCY_REPLICAS;
        right = number(text, 2, REDUNDANCY_COPIES_MAX, &r.data);
    } else {
        r.kind = REDUNDANCY_EC;
        right = take(&text, STR("ec=")) && slices(text, &r);
    }
    if (!right)
        return ERR_INVALID_ARGUMENT;
    *out = r;
    return ERR_OK;
}

struct str redundancy_text(struct redundancy r, char out[REDUNDANCY_TEXT_MAX])
{
    int n = 0;

    switch ((enum redundancy_kind)r.kind) {
    case REDUNDANCY_NONE:
        n = snprintf(out, REDUNDANCY_TEXT_MAX, "none");
        break;
    case REDUNDANCY_MIRROR:
        n = snprintf(out, REDUNDANCY_TEXT_MAX, "mirror=%u", r.data);
        break;
    case REDUNDANCY_REPLICAS:
        n = snprintf(out, REDUNDANCY_TEXT_MAX, "replicas=%u", r.data);
        break;
    case REDUNDANCY_EC:
        n = snprintf(out, REDUNDANCY_TEXT_MAX, "ec=%u+%u", r.data, r.parity);
        break;
    }
    return str_n(out, (size_t)n);
}

unsigned redundancy_min_copies(struct redundancy r)
{
    unsigned width = redundancy_width(r);

    return width == 2 ? 1 : width / 2 + 1;
}

unsigned redundancy_min_slices(struct redundancy r)
{
    return r.parity > 1 ? r.data + 1u : r.data;
}
