#include "template.h"

#include <inttypes.h>
#include <stdio.h>

/* One style in a text: braces, else "@100", else "%06d". What is none of them is plain. */
enum { WIDTH_MAX = 19, TEXT_MAX = 1 << 20, WORDS_MAX = 10000 };
#define NUMBER_MAX INT64_C(1000000000000000000)

static enum err refuse(char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return ERR_INVALID_ARGUMENT;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- ranges ---- */

static uint64_t size_of(const struct template_range *r)
{
    uint64_t span = r->last >= r->first ? (uint64_t)(r->last - r->first) : (uint64_t)(r->first - r->last);

    return span / (uint64_t)(r->step < 0 ? -r->step : r->step) + 1;
}

static enum err add_range(struct template *t, const struct template_range *r, char why[256])
{
    uint64_t size = r->endless ? UINT64_MAX : size_of(r);

    if (t->count == TEMPLATE_RANGES_MAX)
        return refuse(why, "a template has at most 16 ranges");
    if (r->endless && t->count)
        return refuse(why, "a template of the form %d has one range");
    if (!r->endless && (size > TEMPLATE_MAX || t->names > TEMPLATE_MAX / size))
        return refuse(why, "a template means at most 10000000 names");
    t->names = r->endless ? UINT64_MAX : t->names * size;
    t->ranges[t->count++] = *r;
    return ERR_OK;
}

/* Bounds of a range: decimal, maybe negative. */
static bool number(struct str s, int64_t *out)
{
    bool minus = s.n > 1 && s.p[0] == '-';
    uint64_t n;

    if (!str_to_u64(minus ? str_skip(s, 1) : s, NUMBER_MAX, &n))
        return false;
    *out = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static bool has_zeros(struct str s)
{
    if (s.n && s.p[0] == '-')
        s = str_skip(s, 1);
    return s.n > 1 && s.p[0] == '0';
}

/* ---- {1..5}, {a..e..2}, {x,y} ---- */

static enum err words(struct arena *a, struct str in, struct template_range *r, char why[256])
{
    size_t n = 1, i = 0;

    for (size_t k = 0; k < in.n; k++)
        n += in.p[k] == ',';
    if (n > WORDS_MAX)
        return refuse(why, "a list in a template has at most 10000 words");
    struct str *all = arena_alloc(a, n * sizeof(*all));
    for (i = 0; i + 1 < n; i++)
        all[i] = str_split(&in, ',');
    all[i] = in;
    r->words = all;
    r->last = (int64_t)n - 1;
    r->step = 1;
    return ERR_OK;
}

static enum err bounds(struct str first, struct str last, struct template_range *r, char why[256])
{
    if (first.n == 1 && last.n == 1 && is_letter(first.p[0]) && is_letter(last.p[0])) {
        r->letters = true;
        r->first = first.p[0];
        r->last = last.p[0];
        return ERR_OK;
    }
    if (!number(first, &r->first) || !number(last, &r->last))
        return refuse(why, "a range in a template is {first..last}, of numbers or of letters");
    if (has_zeros(first) || has_zeros(last))
        r->width = (unsigned)(first.n > last.n ? first.n : last.n);
    return r->width <= WIDTH_MAX ? ERR_OK : refuse(why, "a number in a template has at most 19 digits");
}

static enum err braces(struct arena *a, struct str in, struct template_range *r, char why[256])
{
    size_t dots = str_find(in, STR(".."));
    struct str last, step = STR("1");
    enum err e;

    if (str_find_char(in, ',') != SIZE_MAX)
        return words(a, in, r, why);
    if (dots == SIZE_MAX)
        return refuse(why, "what is in braces is {first..last}, {first..last..step} or {word,word}");
    last = str_skip(in, dots + 2);
    in.n = dots;
    if ((dots = str_find(last, STR(".."))) != SIZE_MAX) {
        step = str_skip(last, dots + 2);
        last.n = dots;
    }
    if (!number(step, &r->step) || r->step == 0)
        return refuse(why, "the step of a range is a number, and not 0");
    if ((e = bounds(in, last, r, why)) != ERR_OK)
        return e;
    if ((r->last < r->first) != (r->step < 0))
        r->step = -r->step; /* as bash: the bounds tell the direction */
    return ERR_OK;
}

static enum err parse_braces(struct arena *a, struct str text, struct template *out, char why[256])
{
    enum err e = ERR_OK;

    while (e == ERR_OK) {
        size_t open = str_find_char(text, '{'), close = str_find_char(text, '}');
        struct template_range r = {0};
        if (open == SIZE_MAX && close == SIZE_MAX)
            break;
        if (open == SIZE_MAX || close == SIZE_MAX || close < open)
            return refuse(why, "the braces of the template do not match");
        struct str inside = str_n(text.p + open + 1, close - open - 1);
        if (str_find_char(inside, '{') != SIZE_MAX)
            return refuse(why, "braces in braces are not known here");
        r.before = str_n(text.p, open);
        e = braces(a, inside, &r, why);
        if (e == ERR_OK)
            e = add_range(out, &r, why);
        text = str_skip(text, close + 1);
    }
    out->tail = text;
    return e;
}

/* ---- @100 ---- */

/* Where "@" with a digit is, or SIZE_MAX. */
static size_t find_at(struct str s)
{
    for (size_t i = 0; i + 1 < s.n; i++)
        if (s.p[i] == '@' && is_digit(s.p[i + 1]))
            return i;
    return SIZE_MAX;
}

static enum err parse_at(struct str text, struct template *out, char why[256])
{
    size_t at;
    enum err e = ERR_OK;

    while (e == ERR_OK && (at = find_at(text)) != SIZE_MAX) {
        struct template_range r = {.before = str_n(text.p, at), .step = 1};
        struct str digits = str_skip(text, at + 1);
        size_t n = 0;
        while (n < digits.n && is_digit(digits.p[n]))
            n++;
        text = str_skip(digits, n);
        if (n > WIDTH_MAX || !number(str_n(digits.p, n), &r.last))
            return refuse(why, "a number in a template has at most 19 digits");
        r.width = (unsigned)n;
        e = add_range(out, &r, why);
    }
    out->tail = text;
    return e;
}

/* ---- %06d ---- */

/* Where "%d" or "%06d" begins and how long it is, or SIZE_MAX. */
static size_t find_format(struct str s, size_t *n)
{
    for (size_t i = 0; i + 1 < s.n; i++) {
        size_t k = i + 1;
        if (s.p[i] != '%')
            continue;
        while (k < s.n && is_digit(s.p[k]))
            k++;
        if (k < s.n && s.p[k] == 'd' && (k == i + 1 || s.p[i + 1] == '0')) {
            *n = k + 1 - i;
            return i;
        }
    }
    return SIZE_MAX;
}

static enum err parse_format(struct str text, struct template *out, char why[256])
{
    size_t n = 0, at;
    enum err e = ERR_OK;

    while (e == ERR_OK && (at = find_format(text, &n)) != SIZE_MAX) {
        struct template_range r = {.before = str_n(text.p, at), .step = 1, .endless = true};
        uint64_t width = 0;
        if (n > 2 && !str_to_u64(str_n(text.p + at + 1, n - 2), WIDTH_MAX, &width))
            return refuse(why, "a number in a template has at most 19 digits");
        r.width = (unsigned)width;
        e = add_range(out, &r, why);
        text = str_skip(text, at + n);
    }
    out->tail = text;
    return e;
}

/* ---- public ---- */

enum err template_parse(struct arena *a, struct str text, struct template *out, char why[256])
{
    struct template t = {.names = 1};
    size_t n;
    enum err e;

    why[0] = '\0';
    if (text.n > TEXT_MAX)
        return refuse(why, "the template is too long");
    if (text.n == 0)
        text = STR("");
    if (str_find_char(text, '{') != SIZE_MAX || str_find_char(text, '}') != SIZE_MAX)
        e = parse_braces(a, text, &t, why);
    else if (find_at(text) != SIZE_MAX)
        e = parse_at(text, &t, why);
    else if (find_format(text, &n) != SIZE_MAX)
        e = parse_format(text, &t, why);
    else {
        t.tail = text;
        e = ERR_OK;
    }
    if (e == ERR_OK)
        *out = t;
    return e;
}

static void add_place(const struct template_range *r, uint64_t place, struct buf *out)
{
    int64_t v = r->first + r->step * (int64_t)place;

    buf_add_str(out, r->before);
    if (r->words)
        buf_add_str(out, r->words[place]);
    else if (r->letters)
        buf_add_char(out, (char)v);
    else
        buf_addf(out, "%0*" PRId64, (int)r->width, v);
}

enum err template_name(const struct template *t, uint64_t i, struct buf *out)
{
    uint64_t place[TEMPLATE_RANGES_MAX];

    if (i >= t->names || i > INT64_MAX)
        return ERR_INVALID_ARGUMENT;
    for (unsigned k = t->count; k-- > 0;) {
        const struct template_range *r = &t->ranges[k];
        uint64_t size = r->endless ? UINT64_MAX : size_of(r);
        place[k] = i % size;
        i /= size;
    }
    buf_reset(out);
    for (unsigned k = 0; k < t->count; k++)
        add_place(&t->ranges[k], place[k], out);
    buf_add_str(out, t->tail);
    return buf_err(out) == ERR_OK && out->n <= TEMPLATE_NAME_MAX ? ERR_OK : ERR_KEY_TOO_LONG;
}
