#include "etl/spec_own.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"

enum { SHOWN_MAX = 80 };

bool etl_name_is_valid(struct str name)
{
    if (name.n < ETL_NAME_MIN || name.n > ETL_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && (c != '-' || i == 0 || i == name.n - 1))
            return false;
    }
    return true;
}

struct str etl_comm_name(enum etl_comm comm)
{
    switch (comm) {
    case ETL_HPUSH:
        return STR("hpush://");
    case ETL_HPULL:
        return STR("hpull://");
    case ETL_HREV:
        return STR("hrev://");
    case ETL_IO:
        return STR("io://");
    case ETL_WS:
        return STR("ws://");
    }
    return STR("");
}

/* ---- messages ---- */

struct str spec_shown(struct arena *a, struct str text)
{
    struct str out = arena_str(a, str_n(text.p, text.n < SHOWN_MAX ? text.n : SHOWN_MAX));
    char *p = (char *)(uintptr_t)out.p;

    for (size_t i = 0; i < out.n; i++)
        if (p[i] < 0x20 || p[i] >= 0x7f)
            p[i] = '?';
    return out;
}

static void tell(struct spec_reader *r, struct str path, const char *fmt, va_list args)
{
    int n = snprintf(r->why, ETL_WHY_MAX, "%.300s%s", path.n ? path.p : "", path.n ? ": " : "");

    vsnprintf(r->why + n, ETL_WHY_MAX - (size_t)n, fmt, args);
}

enum err spec_refuse(struct spec_reader *r, struct str path, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tell(r, path, fmt, args);
    va_end(args);
    return ERR_INVALID_ARGUMENT;
}

enum err spec_unserved(struct spec_reader *r, struct str path, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    tell(r, path, fmt, args);
    va_end(args);
    return ERR_NOT_IMPLEMENTED;
}

/* ---- walking ---- */

enum err spec_take_unserved(struct spec_reader *r, struct str path, const struct doc *value)
{
    (void)value;
    return spec_unserved(r, path, "is not supported");
}

void spec_need_kube(struct spec_reader *r, struct str path, const char *fmt, ...)
{
    char text[ETL_WHY_MAX];
    va_list args;
    int n;

    if (r->spec.kubernetes.n)
        return;
    n = snprintf(text, sizeof(text), "%.300s: ", path.p);
    va_start(args, fmt);
    vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, args);
    va_end(args);
    r->spec.kubernetes = arena_str(r->arena, str_z(text));
}

enum err spec_take_kube(struct spec_reader *r, struct str path, const struct doc *value)
{
    if (!r->in_pod)
        return spec_take_unserved(r, path, value);
    spec_need_kube(r, path, "is not supported");
    return ERR_OK;
}

enum err spec_take_any(struct spec_reader *r, struct str path, const struct doc *value)
{
    (void)r;
    (void)path;
    (void)value;
    return ERR_OK;
}

static bool is_null(const struct doc *d)
{
    return d->kind == DOC_SCALAR && !d->quoted && d->text.n == 0;
}

const struct doc *spec_get(const struct doc *map, const char *key)
{
    const struct doc *d = doc_get(map, str_z(key));

    return d && !is_null(d) ? d : NULL;
}

enum err spec_take_map(struct spec_reader *r, struct str path, const struct doc *map, const struct spec_field *fields)
{
    enum err e = ERR_OK;

    if (map->kind != DOC_MAP)
        return spec_refuse(r, path, "must be a map of fields");
    for (const struct doc *d = map->first; d && e == ERR_OK; d = d->next) {
        const struct spec_field *f = fields;
        while (f->name && !str_eq(str_z(f->name), d->key))
            f++;
        struct str key = spec_shown(r->arena, d->key);
        struct str at = arena_printf(r->arena, STR_FMT "%s" STR_FMT, STR_ARG(path), path.n ? "." : "", STR_ARG(key));
        if (!f->name)
            e = spec_refuse(r, at, "not known");
        else if (!is_null(d))
            e = f->take(r, at, d);
    }
    return e;
}

enum err spec_take_list(struct spec_reader *r, struct str path, const struct doc *list, size_t max, spec_take_fn *take)
{
    enum err e = ERR_OK;
    size_t i = 0;

    if (list->kind != DOC_LIST)
        return spec_refuse(r, path, "must be a list");
    if (list->count > max)
        return spec_refuse(r, path, "has more than %zu entries", max);
    for (const struct doc *d = list->first; d && e == ERR_OK; d = d->next)
        e = take(r, arena_printf(r->arena, STR_FMT "[%zu]", STR_ARG(path), i++), d);
    return e;
}

/* ---- the forms ---- */

/* How objects were named to the sidecar until AIStore 4.0; since then each request says that. */
static enum err take_argument(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e == ERR_OK && text.n && !str_eq(text, STR("url")) && !str_eq(text, STR("fqn")) && !str_eq(text, STR("raw")))
        e = spec_refuse(r, path, "must be empty, \"url\", \"fqn\" or \"raw\" (and changes nothing)");
    return e;
}

static enum err take_message_env(struct spec_reader *r, struct str path, const struct doc *d)
{
    (void)path;
    r->message_env = d;
    return ERR_OK;
}

static enum err take_network(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK)
        return e;
    r->spec.network = str_eq(text, STR("host"));
    if (!r->spec.network && !str_eq(text, STR("none")))
        return spec_refuse(r, path, "must be \"host\" or \"none\"");
    return ERR_OK;
}

static enum err take_worker(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_bool(r, path, d, &r->spec.worker);
}

static enum err take_port(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_port(r, path, d, &r->spec.port);
}

static enum err take_runtime(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"image", spec_take_image},   {"command", spec_take_command},
                                               {"env", spec_take_env},       {"network", take_network},
                                               {"worker", take_worker},      {"port", take_port},
                                               {"health", spec_take_health}, {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

static enum err take_pod_text(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_text(r, path, d, &r->spec.pod);
}

enum err spec_read_tree(struct arena *a, struct str text, struct doc **out, char why[DOC_WHY_MAX])
{
    char other[DOC_WHY_MAX] = "";
    bool json = str_starts(str_trim(text), STR("{"));

    if (js_read(a, text, out, json ? why : other) == ERR_OK ||
        doc_parse(a, text, out, json ? other : why) == ERR_OK) /* {a: b} is YAML, too */
        return ERR_OK;
    for (char *c = why; *c; c++) /* readers quote the text, and may cut a character */
        if (*c < ' ' || *c >= 0x7f)
            *c = '?';
    return ERR_INVALID_ARGUMENT;
}

/* The Pod that a spec was made from: read again, for what only it has. All else that it says has been taken once, and stands beside it. */
static enum err check_pod(struct spec_reader *r)
{
    struct spec_reader other = {.arena = r->arena, .why = r->why};
    char why[DOC_WHY_MAX] = "";
    struct doc *pod;
    enum err e;

    if (spec_read_tree(r->arena, r->spec.pod, &pod, why) != ERR_OK || pod->kind != DOC_MAP)
        return spec_refuse(r, STR("pod"), "%s", why[0] ? why : "must be a Pod");
    if ((e = spec_take_pod(&other, STR(""), pod, r->spec.pod)) == ERR_OK)
        r->spec.kubernetes = other.spec.kubernetes;
    return e;
}

#define MESSAGE_FIELDS                                                                                                 \
    {"name", spec_take_name}, {"communication", spec_take_communication}, {"init_timeout", spec_take_init_timeout},    \
        {"obj_timeout", spec_take_obj_timeout}, {"support_direct_put", spec_take_direct_put},                          \
        {"argument", take_argument}, {"arg_type", take_argument},                                                      \
    {                                                                                                                  \
        "env", take_message_env                                                                                        \
    }

static enum err read_runtime(struct spec_reader *r, const struct doc *d)
{
    static const struct spec_field fields[] = {MESSAGE_FIELDS,
                                               {"runtime", take_runtime},
                                               {"resources", spec_take_resources},
                                               {"pod", take_pod_text},
                                               {"code", spec_take_unserved}, /* init by code: until AIStore 3.29 */
                                               {"dependencies", spec_take_unserved},
                                               {"funcs", spec_take_unserved},
                                               {"chunk_size", spec_take_unserved},
                                               {NULL, NULL}};

    enum err e = spec_take_map(r, STR(""), d, fields);
    return e == ERR_OK && r->spec.pod.n ? check_pod(r) : e;
}

/* {"name", ..., "spec": base64 of a Pod}: what the message says goes before what the Pod says. */
static enum err read_pod_message(struct spec_reader *r, const struct doc *d, const struct doc *coded)
{
    static const struct spec_field fields[] = {MESSAGE_FIELDS, {"spec", spec_take_any}, {NULL, NULL}};
    char why[DOC_WHY_MAX] = "";
    struct doc *pod;
    struct str text;
    size_t n;
    enum err e = spec_text(r, STR("spec"), coded, &text);

    if (e != ERR_OK)
        return e;
    char *bytes = arena_alloc(r->arena, text.n + 1);
    if (!base64_decode(text, bytes, text.n, &n) || n == 0)
        return spec_refuse(r, STR("spec"), "must be a Pod in YAML, in base64");
    if (!str_is_utf8(str_n(bytes, n)))
        return spec_refuse(r, STR("spec"), "is not UTF-8");
    if (spec_read_tree(r->arena, str_n(bytes, n), &pod, why) != ERR_OK)
        return spec_refuse(r, STR("spec"), "%s", why);
    if ((e = spec_take_pod(r, STR("spec"), pod, str_n(bytes, n))) != ERR_OK)
        return e;
    return spec_take_map(r, STR(""), d, fields);
}

static enum err read_any(struct spec_reader *r, struct str text)
{
    char why[DOC_WHY_MAX] = "";
    const struct doc *coded;
    struct doc *d;

    if (text.n > ETL_SPEC_MAX)
        return spec_refuse(r, STR(""), "the spec is larger than %d bytes", ETL_SPEC_MAX);
    if (!str_is_utf8(text))
        return spec_refuse(r, STR(""), "the spec is not UTF-8");
    if (spec_read_tree(r->arena, text, &d, why) != ERR_OK)
        return spec_refuse(r, STR(""), "the spec is neither JSON nor YAML: %s", why);
    if (d->kind != DOC_MAP)
        return spec_refuse(r, STR(""), "the spec must be a map of fields");
    if (spec_get(d, "kind"))
        return spec_take_pod(r, STR(""), d, arena_str(r->arena, text));
    if ((coded = spec_get(d, "spec")) != NULL)
        return read_pod_message(r, d, coded);
    return read_runtime(r, d);
}

/* What no field can tell alone. */
static enum err check(struct spec_reader *r)
{
    const struct etl_spec *s = &r->spec;
    enum err e = ERR_OK;

    if (s->name.n == 0)
        return spec_refuse(r, STR("name"), "is missing");
    if (s->image.n == 0 && s->command_count == 0)
        return spec_refuse(r, STR("runtime"), "must have an image or a command");
    if (s->worker && s->comm != ETL_IO)
        return spec_refuse(r, STR("runtime.worker"), "is for communication io://");
    spec_check_references(r);
    struct buf written = BUF_INIT(ETL_SPEC_MAX); /* it is read again: JSON may need more bytes to say the same */
    etl_spec_write(&written, s);
    if (buf_err(&written) != ERR_OK)
        e = spec_refuse(r, STR(""), "the spec is larger than %d bytes when written in JSON", ETL_SPEC_MAX);
    buf_release(&written);
    return e;
}

enum err etl_spec_parse(struct str text, struct arena *arena, struct etl_spec *out, char why[ETL_WHY_MAX])
{
    struct spec_reader r = {.arena = arena, .why = why};
    enum err e;

    r.spec = (struct etl_spec){.comm = ETL_HPUSH,
                               .init_timeout_ms = ETL_INIT_TIMEOUT_MS,
                               .object_timeout_ms = ETL_OBJECT_TIMEOUT_MS,
                               .port = ETL_PORT,
                               .health = STR("/health")};
    if ((e = read_any(&r, text)) != ERR_OK ||
        (r.message_env && (e = spec_take_env(&r, STR("env"), r.message_env)) != ERR_OK) || (e = check(&r)) != ERR_OK)
        return e;
    *out = r.spec;
    return ERR_OK;
}

/* ---- writing ---- */

static void write_duration(struct buf *b, const char *name, uint32_t ms)
{
    char text[16];
    int n = ms % 1000 ? snprintf(text, sizeof(text), "%ums", ms) : snprintf(text, sizeof(text), "%us", ms / 1000);

    js_put_str(b, name, str_n(text, (size_t)n));
}

static void write_runtime(struct buf *b, const struct etl_spec *s)
{
    js_key(b, STR("runtime"));
    js_object(b);
    js_put_str(b, "image", s->image); /* AIStore's clients expect one */
    if (s->command_count) {
        js_key(b, STR("command"));
        js_array(b);
        for (size_t i = 0; i < s->command_count; i++)
            js_str(b, s->command[i]);
        js_end_array(b);
    }
    if (s->env_count) {
        js_key(b, STR("env"));
        js_array(b);
        for (size_t i = 0; i < s->env_count; i++) {
            js_object(b);
            js_put_str(b, "name", s->env[i].name);
            js_put_str(b, "value", s->env[i].value);
            js_end_object(b);
        }
        js_end_array(b);
    }
    js_put_str(b, "network", s->network ? STR("host") : STR("none"));
    if (s->worker)
        js_put_bool(b, "worker", true);
    js_put_u64(b, "port", s->port);
    js_put_str(b, "health", s->health);
    js_end_object(b);
}

static void write_amounts(struct buf *b, const char *name, uint32_t cpu, uint64_t memory)
{
    char text[24];

    if (!cpu && !memory)
        return;
    js_key(b, str_z(name));
    js_object(b);
    if (cpu)
        js_put_str(b, "cpu", str_n(text, (size_t)snprintf(text, sizeof(text), "%um", cpu)));
    if (memory)
        js_put_str(b, "memory", str_n(text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)memory)));
    js_end_object(b);
}

void etl_spec_write(struct buf *b, const struct etl_spec *s)
{
    const struct etl_resources *is = &s->resources;

    js_object(b);
    js_put_str(b, "name", s->name);
    js_put_str(b, "communication", etl_comm_name(s->comm));
    write_duration(b, "init_timeout", s->init_timeout_ms);
    write_duration(b, "obj_timeout", s->object_timeout_ms);
    js_put_bool(b, "support_direct_put", s->direct_put);
    write_runtime(b, s);
    if (is->cpu_request || is->cpu_limit || is->memory_request || is->memory_limit) {
        js_key(b, STR("resources"));
        js_object(b);
        write_amounts(b, "requests", is->cpu_request, is->memory_request);
        write_amounts(b, "limits", is->cpu_limit, is->memory_limit);
        js_end_object(b);
    }
    if (s->pod.n)
        js_put_str(b, "pod", s->pod);
    js_end_object(b);
}
