/* What single values of a spec mean: texts, durations, quantities, commands, environments. */
#include <stdio.h>

#include "etl/spec_own.h"

enum { IMAGE_MAX = 512, HEALTH_MAX = 1024, ENV_NAME_MAX = 256 };
#define NS_PER_MS UINT64_C(1000000)

/* ---- texts ---- */

/* Pods as AIStore ships them have ${NAME:-default}, for envsubst. */
static enum err check_placeholder(struct spec_reader *r, struct str path, struct str text)
{
    size_t at = str_find(text, STR("${"));

    if (at == SIZE_MAX)
        return ERR_OK;
    struct str name = str_skip(text, at), end = name;
    end.n = str_find_char(name, '}');
    name.n = end.n == SIZE_MAX ? name.n : end.n + 1;
    name = spec_shown(r->arena, name);
    return spec_refuse(r, path, "the placeholder " STR_FMT " is not expanded; write its value", STR_ARG(name));
}

static enum err plain_text(struct spec_reader *r, struct str path, const struct doc *d, struct str *out)
{
    if (d->kind != DOC_SCALAR)
        return spec_refuse(r, path, "must be a text");
    if (d->text.n && memchr(d->text.p, 0, d->text.n))
        return spec_refuse(r, path, "has a zero byte");
    *out = d->text;
    return ERR_OK;
}

enum err spec_text(struct spec_reader *r, struct str path, const struct doc *d, struct str *out)
{
    struct str text;
    enum err e = plain_text(r, path, d, &text);

    if (e == ERR_OK && r->in_pod)
        e = check_placeholder(r, path, text);
    if (e == ERR_OK)
        *out = text;
    return e;
}

enum err spec_bool(struct spec_reader *r, struct str path, const struct doc *d, bool *out)
{
    static const char *const words[] = {"false", "true", "False", "True", "FALSE", "TRUE"};
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (str_eq(text, str_z(words[i]))) {
            *out = i & 1;
            return ERR_OK;
        }
    return spec_refuse(r, path, "must be true or false");
}

enum err spec_take_name(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str name;
    enum err e = spec_text(r, path, d, &name);

    if (e != ERR_OK || name.n == 0)
        return e;
    if (!etl_name_is_valid(name))
        return spec_refuse(r, path,
                           "must be %d to %d lower-case letters, digits and '-', and begin and end with no '-'",
                           ETL_NAME_MIN, ETL_NAME_MAX);
    r->spec.name = name;
    return ERR_OK;
}

enum err spec_take_communication(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK || text.n == 0)
        return e;
    for (enum etl_comm c = ETL_HPUSH; c <= ETL_WS; c++)
        if (str_eq(text, etl_comm_name(c))) {
            r->spec.comm = c;
            return ERR_OK;
        }
    return spec_refuse(r, path, "must be one of hpush://, hpull://, hrev://, io://, ws://");
}

enum err spec_take_direct_put(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_bool(r, path, d, &r->spec.direct_put);
}

/* What a registry's reference may hold; above all nothing that a command line could take for something else. */
enum err spec_take_image(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK)
        return e;
    if (text.n > IMAGE_MAX)
        return spec_refuse(r, path, "longer than %d bytes", IMAGE_MAX);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && (i == 0 || !memchr("._-/:@", c, 6)))
            return spec_refuse(r, path, "is not the name of an image");
    }
    r->spec.image = text;
    return ERR_OK;
}

enum err spec_take_health(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK)
        return e;
    if (text.n == 0 || text.n > HEALTH_MAX || text.p[0] != '/')
        return spec_refuse(r, path, "must be a path that begins with '/', of at most %d bytes", HEALTH_MAX);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f || text.p[i] == '#')
            return spec_refuse(r, path, "has a character that a URL has to escape");
    r->spec.health = text;
    return ERR_OK;
}

/* ---- numbers ---- */

enum err spec_port(struct spec_reader *r, struct str path, const struct doc *d, uint16_t *out)
{
    struct str text;
    uint64_t v;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK)
        return e;
    if (d->quoted || !str_to_u64(text, UINT16_MAX, &v) || v == 0)
        return spec_refuse(r, path, "must be a number from 1 to 65535");
    *out = (uint16_t)v;
    return ERR_OK;
}

/* Digits, and digits behind a point, of which `places` count. False: neither of them. */
static bool take_decimal(struct str *s, unsigned places, uint64_t *whole, uint64_t *fraction)
{
    size_t n = 0;
    bool any;

    while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
        n++;
    any = n > 0;
    *whole = *fraction = 0;
    if (any && !str_to_u64(str_n(s->p, n), UINT64_MAX, whole))
        return false;
    *s = str_skip(*s, n);
    if (s->n == 0 || s->p[0] != '.')
        return any;
    *s = str_skip(*s, 1);
    for (n = 0; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        if (n < places)
            *fraction = *fraction * 10 + (unsigned)(s->p[n] - '0');
    for (size_t i = n; i < places; i++)
        *fraction *= 10;
    *s = str_skip(*s, n);
    return any || n > 0;
}

enum { DURATION_PLACES = 6 }; /* 3.6e12 ns of an hour times 1e6 fit into 64 bits */
#define DURATION_ONE UINT64_C(1000000)

static bool take_unit(struct str *s, uint64_t *ns)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"ns", 1},
                 {"us", 1000},
                 {"\xc2\xb5s", 1000},
                 {"\xce\xbcs", 1000},
                 {"ms", NS_PER_MS},
                 {"s", 1000 * NS_PER_MS},
                 {"m", 60000 * NS_PER_MS},
                 {"h", 3600000 * NS_PER_MS}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_starts(*s, str_z(units[i].name))) {
            *s = str_skip(*s, strlen(units[i].name));
            *ns = units[i].ns;
            return true;
        }
    return false;
}

/* Go's time.ParseDuration() for what is not negative. */
static bool parse_duration(struct str s, uint64_t *ns)
{
    uint64_t sum = 0, whole, fraction, unit, part;

    do {
        if (!take_decimal(&s, DURATION_PLACES, &whole, &fraction) || !take_unit(&s, &unit) ||
            __builtin_mul_overflow(whole, unit, &part) ||
            __builtin_add_overflow(part, fraction * unit / DURATION_ONE, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return false;
    } while (s.n);
    *ns = sum;
    return true;
}

enum err spec_duration(struct spec_reader *r, struct str path, const struct doc *d, uint32_t *ms)
{
    struct str text;
    uint64_t ns = 0;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK || text.n == 0)
        return e;
    bool number = !d->quoted && str_to_u64(text, UINT64_MAX, &ns);
    if (!number && !str_eq(text, STR("0")) && !parse_duration(text, &ns))
        return spec_refuse(r, path, "must be a duration, as \"45s\", \"5m\" or \"1m30s\"");
    if (ns == 0)
        return ERR_OK; /* Go's zero value: not said */
    if (ns < NS_PER_MS)
        return spec_refuse(r, path, "is less than a millisecond (a number means nanoseconds; write \"45s\")");
    if (ns > ETL_TIMEOUT_MAX_MS * NS_PER_MS)
        return spec_refuse(r, path, "must be at most %d seconds", ETL_TIMEOUT_MAX_MS / 1000);
    *ms = (uint32_t)((ns + NS_PER_MS - 1) / NS_PER_MS);
    return ERR_OK;
}

enum err spec_take_init_timeout(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_duration(r, path, d, &r->spec.init_timeout_ms);
}

enum err spec_take_obj_timeout(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_duration(r, path, d, &r->spec.object_timeout_ms);
}

/* ---- quantities ---- */

/* Nine places: JSON's 0.1 comes as 0.10000000000000001, which Kubernetes' rounding up must not make more of. */
enum { QUANTITY_PLACES = 9 };
#define QUANTITY_ONE UINT64_C(1000000000)

struct suffix {
    const char *name;
    uint64_t factor;
};

/* "e6": K8s' decimal exponent. */
static bool exponent(struct str s, uint64_t *factor)
{
    uint64_t n;

    if (s.n < 2 || (s.p[0] != 'e' && s.p[0] != 'E') || !str_to_u64(str_skip(s, 1), 18, &n))
        return false;
    for (*factor = 1; n; n--)
        *factor *= 10;
    return true;
}

static bool parse_quantity(struct str s, const struct suffix *suffixes, uint64_t scale, uint64_t *out)
{
    uint64_t whole, fraction, factor = 0, v;

    if (!take_decimal(&s, QUANTITY_PLACES, &whole, &fraction))
        return false;
    for (const struct suffix *x = suffixes; x->name; x++)
        if (str_eq(s, str_z(x->name)))
            factor = x->factor;
    if (!factor && (!exponent(s, &factor) || __builtin_mul_overflow(factor, scale, &factor)))
        return false;
    uint64_t more =
        factor / QUANTITY_ONE * fraction + (factor % QUANTITY_ONE * fraction + QUANTITY_ONE - 1) / QUANTITY_ONE;
    if (__builtin_mul_overflow(whole, factor, &v) || __builtin_add_overflow(v, more, &v))
        return false;
    *out = v;
    return true;
}

enum err etl_cpu_parse(struct str text, uint32_t *thousandths)
{
    static const struct suffix suffixes[] = {{"", 1000}, {"m", 1}, {NULL, 0}};
    uint64_t v;

    if (!parse_quantity(text, suffixes, 1000, &v) || v > UINT32_MAX)
        return ERR_INVALID_ARGUMENT;
    *thousandths = (uint32_t)v;
    return ERR_OK;
}

enum err etl_memory_parse(struct str text, uint64_t *bytes)
{
    static const struct suffix suffixes[] = {{"", 1},
                                             {"k", 1000},
                                             {"M", 1000000},
                                             {"G", 1000000000},
                                             {"T", UINT64_C(1000000000000)},
                                             {"P", UINT64_C(1000000000000000)},
                                             {"E", UINT64_C(1000000000000000000)},
                                             {"Ki", UINT64_C(1) << 10},
                                             {"Mi", UINT64_C(1) << 20},
                                             {"Gi", UINT64_C(1) << 30},
                                             {"Ti", UINT64_C(1) << 40},
                                             {"Pi", UINT64_C(1) << 50},
                                             {"Ei", UINT64_C(1) << 60},
                                             {NULL, 0}};
    uint64_t v;

    if (!parse_quantity(text, suffixes, 1, &v) || v > INT64_MAX)
        return ERR_INVALID_ARGUMENT;
    *bytes = v;
    return ERR_OK;
}

static enum err take_cpu(struct spec_reader *r, struct str path, const struct doc *d, uint32_t *out)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e == ERR_OK && etl_cpu_parse(text, out) != ERR_OK)
        e = spec_refuse(r, path, "must be a number of cores, as 2, \"0.5\" or \"500m\"");
    return e;
}

static enum err take_memory(struct spec_reader *r, struct str path, const struct doc *d, uint64_t *out)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e == ERR_OK && etl_memory_parse(text, out) != ERR_OK)
        e = spec_refuse(r, path, "must be a number of bytes, as \"512Mi\" or \"2G\"");
    return e;
}

static enum err take_cpu_request(struct spec_reader *r, struct str path, const struct doc *d)
{
    return take_cpu(r, path, d, &r->spec.resources.cpu_request);
}

static enum err take_cpu_limit(struct spec_reader *r, struct str path, const struct doc *d)
{
    return take_cpu(r, path, d, &r->spec.resources.cpu_limit);
}

static enum err take_memory_request(struct spec_reader *r, struct str path, const struct doc *d)
{
    return take_memory(r, path, d, &r->spec.resources.memory_request);
}

static enum err take_memory_limit(struct spec_reader *r, struct str path, const struct doc *d)
{
    return take_memory(r, path, d, &r->spec.resources.memory_limit);
}

#define OTHER_RESOURCES                                                                                                \
    {"ephemeral-storage", spec_take_kube}, {"nvidia.com/gpu", spec_take_kube},                                         \
    {                                                                                                                  \
        "amd.com/gpu", spec_take_kube                                                                                  \
    }

static enum err take_requests(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {
        {"cpu", take_cpu_request}, {"memory", take_memory_request}, OTHER_RESOURCES, {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

static enum err take_limits(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {
        {"cpu", take_cpu_limit}, {"memory", take_memory_limit}, OTHER_RESOURCES, {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

enum err spec_take_resources(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {
        {"requests", take_requests}, {"limits", take_limits}, {"claims", spec_take_unserved}, {NULL, NULL}};
    const struct etl_resources *is = &r->spec.resources;
    enum err e = spec_take_map(r, path, d, fields);

    if (e != ERR_OK)
        return e;
    if (is->cpu_limit && is->cpu_request > is->cpu_limit)
        return spec_refuse(r, path, "requests.cpu is more than limits.cpu");
    if (is->memory_limit && is->memory_request > is->memory_limit)
        return spec_refuse(r, path, "requests.memory is more than limits.memory");
    return ERR_OK;
}

/* ---- commands ---- */

/* A word for `sh -c` may well have ${NAME}: that is the shell's. */
static enum err take_word(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str *words = (struct str *)(uintptr_t)r->spec.command, text;
    bool script = false;
    enum err e;

    for (size_t i = 0; i < r->spec.command_count; i++)
        script |= str_eq(words[i], STR("-c"));
    if ((e = (script ? plain_text : spec_text)(r, path, d, &text)) != ERR_OK)
        return e;
    if (r->spec.command_count == ETL_COMMAND_MAX)
        return spec_refuse(r, path, "a command has at most %d words", ETL_COMMAND_MAX);
    if (text.n == 0 && r->spec.command_count == 0)
        return spec_refuse(r, path, "is empty");
    words[r->spec.command_count++] = text;
    return ERR_OK;
}

/* One word of a line, as a shell would cut it: '...' as it is, "..." and \ around what is special there. False: a quote is open. */
static bool cut_word(struct str *line, struct buf *word)
{
    char quote = 0;
    size_t i = 0;

    for (; i < line->n; i++) {
        char c = line->p[i], next = i + 1 < line->n ? line->p[i + 1] : 0;
        if (quote ? c == quote : c == '\'' || c == '"') {
            quote = quote ? 0 : c;
        } else if (c == '\\' && quote != '\'' && next && (!quote || next == '"' || next == '\\')) {
            buf_add_char(word, next);
            i++;
        } else if (!quote && (c == ' ' || c == '\t' || c == '\n')) {
            break;
        } else {
            buf_add_char(word, c);
        }
    }
    *line = str_skip(*line, i);
    return !quote;
}

static enum err take_line(struct spec_reader *r, struct str path, struct str line)
{
    struct buf word = BUF_INIT(ETL_SPEC_MAX);
    enum err e = ERR_OK;

    while (e == ERR_OK) {
        while (line.n && memchr(" \t\n", line.p[0], 3))
            line = str_skip(line, 1);
        if (line.n == 0)
            break;
        buf_reset(&word);
        if (!cut_word(&line, &word)) {
            e = spec_refuse(r, path, "a quote is not closed");
            break;
        }
        struct doc made = {.kind = DOC_SCALAR, .text = arena_str(r->arena, buf_str(&word)), .quoted = true};
        e = take_word(r, path, &made);
    }
    buf_release(&word);
    return e;
}

/* Appends: a Pod's args come behind its command. */
enum err spec_take_command(struct spec_reader *r, struct str path, const struct doc *d)
{
    if (!r->spec.command)
        r->spec.command = arena_new(r->arena, ETL_COMMAND_MAX * sizeof(struct str));
    if (d->kind == DOC_LIST)
        return spec_take_list(r, path, d, ETL_COMMAND_MAX, take_word);
    if (r->in_pod)
        return spec_refuse(r, path, "must be a list of words");
    struct str line;
    enum err e = plain_text(r, path, d, &line);
    return e == ERR_OK ? take_line(r, path, line) : e;
}

/* ---- environments ---- */

/* Kubernetes: C_IDENTIFIER with '-' and '.'. */
static bool is_env_name(struct str name)
{
    if (name.n == 0 || name.n > ENV_NAME_MAX || (name.p[0] >= '0' && name.p[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
              c == '.'))
            return false;
    }
    return true;
}

static size_t find_env(const struct spec_reader *r, struct str name)
{
    size_t i = 0;

    while (i < r->spec.env_count && !str_eq(r->env[i].name, name))
        i++;
    return i;
}

static enum err take_variable(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {
        {"name", spec_take_any}, {"value", spec_take_any}, {"valueFrom", spec_take_kube}, {NULL, NULL}};
    const struct doc *name = spec_get(d, "name"), *value = spec_get(d, "value");
    struct str name_at = arena_printf(r->arena, STR_FMT ".name", STR_ARG(path));
    struct str value_at = arena_printf(r->arena, STR_FMT ".value", STR_ARG(path));
    struct etl_env one = {.value = STR("")};
    enum err e = spec_take_map(r, path, d, fields);

    if (e != ERR_OK)
        return e;
    if (!name)
        return spec_refuse(r, name_at, "is missing");
    if ((e = spec_text(r, name_at, name, &one.name)) != ERR_OK ||
        (value && (e = spec_text(r, value_at, value, &one.value)) != ERR_OK))
        return e;
    if (!is_env_name(one.name))
        return spec_refuse(r, name_at, "is not the name of a variable");
    if (spec_get(d, "valueFrom")) /* the Pod has it */
        return value ? spec_refuse(r, path, "has both a value and a valueFrom") : ERR_OK;
    size_t i = find_env(r, one.name); /* said twice: the last one counts, as with Kubernetes */
    if (i == ETL_ENV_MAX)
        return spec_refuse(r, path, "there may be at most %d variables", ETL_ENV_MAX);
    r->env[i] = one;
    if (i == r->spec.env_count)
        r->spec.env_count++;
    return ERR_OK;
}

enum err spec_take_env(struct spec_reader *r, struct str path, const struct doc *d)
{
    if (!r->env)
        r->spec.env = r->env = arena_new(r->arena, ETL_ENV_MAX * sizeof(struct etl_env));
    return spec_take_list(r, path, d, ETL_ENV_MAX, take_variable);
}

/* Of a text the first $(NAME) that names a variable of the spec. */
static bool refers(const struct spec_reader *r, struct str text, struct str *name)
{
    for (size_t at; (at = str_find(text, STR("$("))) != SIZE_MAX;) {
        text = str_skip(text, at + 2);
        size_t end = str_find_char(text, ')');
        if (end == SIZE_MAX)
            return false;
        *name = str_n(text.p, end);
        if (end <= ENV_NAME_MAX && find_env(r, *name) < r->spec.env_count)
            return true;
    }
    return false;
}

void spec_check_references(struct spec_reader *r)
{
    struct str name;

    for (size_t i = 0; i < r->spec.command_count; i++)
        if (refers(r, r->spec.command[i], &name))
            spec_need_kube(r, STR("command"), "$(" STR_FMT ") is not put in; a shell's ${NAME} is", STR_ARG(name));
    for (size_t i = 0; i < r->spec.env_count; i++)
        if (refers(r, r->spec.env[i].value, &name))
            spec_need_kube(r, STR("env"), "$(" STR_FMT ") is not put in; write its value", STR_ARG(name));
}
