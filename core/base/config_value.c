#include "config_value.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first: printing takes the first that divides. */
static const struct unit size_units[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}, {"B", 1}, {NULL, 0}};
static const struct unit ms_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                       {"s", 1000},     {"ms", 1},      {NULL, 0}};
static const struct unit s_units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}, {NULL, 0}};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum config_type type)
{
    switch (type) {
    case CONFIG_SIZE:
        return size_units;
    case CONFIG_DURATION_MS:
        return ms_units;
    case CONFIG_DURATION_S:
        return s_units;
    case CONFIG_COUNT:
    case CONFIG_TEXT:
    case CONFIG_LIST:
    case CONFIG_BOOL:
    case CONFIG_CHOICE:
        break;
    }
    return count_units;
}

static uint64_t limit_of(const struct config_option *o)
{
    uint64_t held = o->size == sizeof(uint32_t) ? UINT32_MAX : UINT64_MAX;

    return o->max && o->max < held ? o->max : held;
}

/* "64KiB" in the field's unit. A bare 0 needs no unit. */
static bool number_parse(const struct unit *units, struct str text, uint64_t *out)
{
    struct str digits = text;
    uint64_t v;

    while (digits.n && (digits.p[digits.n - 1] < '0' || digits.p[digits.n - 1] > '9'))
        digits.n--;
    struct str suffix = str_trim(str_skip(text, digits.n));
    if (!str_to_u64(digits, UINT64_MAX, &v))
        return false;
    if (v == 0 && suffix.n == 0) {
        *out = 0;
        return true;
    }
    for (const struct unit *u = units; u->suffix; u++)
        if (str_eq(suffix, str_z(u->suffix)))
            return !__builtin_mul_overflow(v, u->factor, out);
    return false;
}

static void number_print(const struct unit *units, uint64_t v, struct buf *out)
{
    while (v != 0 && v % units->factor != 0)
        units++;
    buf_add_u64(out, v ? v / units->factor : 0);
    buf_add_z(out, v ? units->suffix : "");
}

static uint64_t field_number(const struct config_option *o, const void *field)
{
    return o->size == sizeof(uint32_t) ? *(const uint32_t *)field : *(const uint64_t *)field;
}

static void number_store(const struct config_option *o, void *field, uint64_t v)
{
    if (o->size == sizeof(uint32_t))
        *(uint32_t *)field = (uint32_t)v;
    else
        *(uint64_t *)field = v;
}

static bool number_read(const struct config_option *o, struct str text, void *field, char *expected)
{
    static const char *const kinds[] = {[CONFIG_COUNT] = "a number",
                                        [CONFIG_SIZE] = "a size such as 4096, 64KiB or 1GiB",
                                        [CONFIG_DURATION_MS] = "a duration such as 500ms, 10s, 5m or 1h",
                                        [CONFIG_DURATION_S] = "a duration such as 10s, 5m or 1h"};
    const struct unit *units = units_of(o->type);
    struct buf range = BUF_INIT(CONFIG_EXPECTED_MAX / 2);
    uint64_t v;

    if (number_parse(units, text, &v) && v >= o->min && v <= limit_of(o)) {
        number_store(o, field, v);
        return true;
    }
    if (o->min) {
        buf_add_z(&range, ", at least ");
        number_print(units, o->min, &range);
    }
    if (limit_of(o) != UINT64_MAX) {
        buf_add_z(&range, ", at most ");
        number_print(units, limit_of(o), &range);
    }
    snprintf(expected, CONFIG_EXPECTED_MAX, "%s" STR_FMT, kinds[o->type], STR_ARG(buf_str(&range)));
    buf_release(&range);
    return false;
}

/* No and yes by turns. */
static const char *const bool_words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
enum { BOOL_WORDS = sizeof(bool_words) / sizeof(*bool_words) };

static size_t bool_index(struct str text)
{
    size_t i = 0;

    while (i < BOOL_WORDS && !str_eq(text, str_z(bool_words[i])))
        i++;
    return i;
}

bool config_value_is_bool(struct str text)
{
    return bool_index(text) < BOOL_WORDS;
}

static bool bool_read(struct str text, void *field, char *expected)
{
    if (config_value_is_bool(text)) {
        *(bool *)field = bool_index(text) % 2 == 1;
        return true;
    }
    snprintf(expected, CONFIG_EXPECTED_MAX, "true or false");
    return false;
}

static bool choice_read(const struct config_option *o, struct str text, void *field, char *expected)
{
    struct str rest = str_z(o->choices);

    for (unsigned i = 0; rest.n; i++) {
        if (str_eq(str_split(&rest, '|'), text)) {
            *(unsigned *)field = i;
            return true;
        }
    }
    snprintf(expected, CONFIG_EXPECTED_MAX, "one of %s", o->choices);
    return false;
}

bool config_value_parse(const struct config_option *o, struct str text, struct arena *a, void *field,
                        char expected[CONFIG_EXPECTED_MAX])
{
    switch (o->type) {
    case CONFIG_TEXT:
        if (memchr(text.p ? text.p : "", 0, text.n)) { /* file names end at the first NUL */
            snprintf(expected, CONFIG_EXPECTED_MAX, "a text without NUL bytes");
            return false;
        }
        *(struct str *)field = arena_str(a, text);
        return true;
    case CONFIG_BOOL:
        return bool_read(text, field, expected);
    case CONFIG_CHOICE:
        return choice_read(o, text, field, expected);
    case CONFIG_COUNT:
    case CONFIG_SIZE:
    case CONFIG_DURATION_MS:
    case CONFIG_DURATION_S:
        return number_read(o, text, field, expected);
    case CONFIG_LIST:
        break;
    }
    return false;
}

/* Quoted whenever a reader of YAML might see something else than this text. */
static void text_print(struct str text, struct buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:";
    bool quote = text.n == 0 || str_find_char(STR("-:."), text.p[0]) != SIZE_MAX || text.p[text.n - 1] == ':' ||
                 str_eq(text, STR("null"));

    for (size_t i = 0; i < text.n && !quote; i++)
        quote = str_find_char(str_z(plain), text.p[i]) == SIZE_MAX;
    if (!quote) {
        buf_add_str(out, text);
        return;
    }
    buf_add_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            buf_addf(out, "\\x%02x", c);
        else
            buf_add_char(out, (char)c);
    }
    buf_add_char(out, '"');
}

static void list_print(const struct config_list *list, struct buf *out)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            buf_add_z(out, ", ");
        text_print(list->items[i], out);
    }
    buf_add_char(out, ']');
}

void config_value_print(const struct config_option *o, const void *field, struct buf *out)
{
    struct str rest = str_z(o->choices);

    switch (o->type) {
    case CONFIG_TEXT:
        if (o->secret && ((const struct str *)field)->n)
            buf_add_z(out, "\"********\"");
        else
            text_print(*(const struct str *)field, out);
        break;
    case CONFIG_LIST:
        list_print(field, out);
        break;
    case CONFIG_BOOL:
        buf_add_z(out, *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_CHOICE:
        for (unsigned i = *(const unsigned *)field; i > 0; i--)
            str_split(&rest, '|');
        buf_add_str(out, str_split(&rest, '|'));
        break;
    case CONFIG_COUNT:
    case CONFIG_SIZE:
    case CONFIG_DURATION_MS:
    case CONFIG_DURATION_S:
        number_print(units_of(o->type), field_number(o, field), out);
        break;
    }
}

const char *config_value_hint(const struct config_option *o)
{
    static const char *const hints[] = {[CONFIG_TEXT] = "TEXT",
                                        [CONFIG_LIST] = "TEXT (may repeat)",
                                        [CONFIG_BOOL] = "[=BOOL]",
                                        [CONFIG_CHOICE] = "",
                                        [CONFIG_COUNT] = "N",
                                        [CONFIG_SIZE] = "SIZE",
                                        [CONFIG_DURATION_MS] = "DURATION",
                                        [CONFIG_DURATION_S] = "DURATION"};

    return o->type == CONFIG_CHOICE ? o->choices : hints[o->type];
}

const char *config_value_quote(struct str text, struct arena *a)
{
    enum { SHOWN_MAX = 100 };
    struct buf out = BUF_INIT(8 * SHOWN_MAX);

    if (text.n > SHOWN_MAX)
        text.n = SHOWN_MAX;
    buf_add_char(&out, '"');
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c >= 0x7F)
            buf_addf(&out, "\\x%02x", c);
        else
            buf_add_char(&out, (char)c);
    }
    buf_add_char(&out, '"');
    const char *copy = arena_str(a, buf_str(&out)).p;
    buf_release(&out);
    return copy;
}
