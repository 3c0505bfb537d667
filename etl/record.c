#include "record.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "store/meta.h"

enum { FORMAT = 1, SPECS_NODES_MAX = 20000 };

static const char *const stages[] = {"initializing", "running", "aborted"};

struct str etl_stage_text(enum etl_stage_name stage)
{
    return str_z(stages[stage]);
}

uint64_t etl_now_ms(void)
{
    return (uint64_t)(clock_wall_ns() / 1000000);
}

enum etl_stage_name etl_stage_now(const struct etl_record *r, uint64_t now_ms)
{
    bool late = now_ms > r->began_ms + r->spec.init_timeout_ms + ETL_STALE_MS;

    return r->stage == ETL_INITIALIZING && late ? ETL_ABORTED : r->stage;
}

static struct str random_hex(struct arena *a, size_t digits)
{
    uint8_t raw[ETL_SECRET_LEN / 2];
    char *out = arena_alloc(a, digits);

    random_bytes(raw, digits / 2);
    hex_encode(raw, digits / 2, out);
    return str_n(out, digits);
}

void etl_record_renew(struct arena *a, struct etl_record *r)
{
    struct str hex = random_hex(a, 16);

    r->id = arena_printf(a, "etl-" STR_FMT, STR_ARG(hex));
    r->secret = random_hex(a, ETL_SECRET_LEN);
    r->began_ms = etl_now_ms();
}

/* ---- keys ---- */

struct str etl_key(struct arena *a, struct str name)
{
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(ETL_KEY), STR_ARG(name));
}

struct str etl_at_key(struct arena *a, struct str name, struct str node)
{
    return arena_printf(a, STR_FMT STR_FMT "/" STR_FMT, STR_ARG(ETL_AT_KEY), STR_ARG(name), STR_ARG(node));
}

bool etl_at_key_split(struct str key, struct str *name, struct str *node)
{
    if (!str_starts(key, ETL_AT_KEY))
        return false;
    key = str_skip(key, ETL_AT_KEY.n);
    *name = str_split(&key, '/');
    *node = key;
    return name->n && node->n;
}

/* ---- reading ---- */

static struct str text_of(const struct doc *d, struct str key)
{
    const struct doc *found = doc_get(d, key);

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

static uint64_t number_of(const struct doc *d, struct str key)
{
    uint64_t n = 0;

    return str_to_u64(text_of(d, key), UINT64_MAX, &n) ? n : 0;
}

static enum err read_root(struct arena *a, struct str text, struct doc **root)
{
    const struct js_bounds bounds = {META_VALUE_MAX, SPECS_NODES_MAX};
    char why[DOC_WHY_MAX] = "";
    uint64_t format;

    if (js_read_within(a, text, &bounds, root, why) != ERR_OK ||
        !str_to_u64(text_of(*root, STR("format")), UINT64_MAX, &format))
        return ERR_CORRUPT;
    return format == FORMAT ? ERR_OK : ERR_NOT_IMPLEMENTED;
}

static bool stage_of(const struct doc *root, enum etl_stage_name *out)
{
    struct str text = text_of(root, STR("stage"));

    for (unsigned i = 0; i < sizeof(stages) / sizeof(*stages); i++) {
        if (str_eq(text, str_z(stages[i]))) {
            *out = (enum etl_stage_name)i;
            return true;
        }
    }
    return false;
}

enum err etl_record_read(struct arena *a, struct str text, struct etl_record *out)
{
    struct buf spec = BUF_INIT(META_VALUE_MAX);
    struct etl_record r;
    char why[ETL_WHY_MAX];
    struct doc *root;
    enum err e = read_root(a, text, &root);

    if (e != ERR_OK)
        return e;
    r = (struct etl_record){.id = text_of(root, STR("id")),
                            .owner = text_of(root, STR("owner")),
                            .secret = text_of(root, STR("secret")),
                            .created_ms = number_of(root, STR("created_ms")),
                            .began_ms = number_of(root, STR("began_ms"))};
    const struct doc *d = doc_get(root, STR("spec"));
    if (r.id.n == 0 || r.id.n >= ETL_ID_MAX || !r.secret.n || !stage_of(root, &r.stage) || !d || d->kind != DOC_MAP)
        return ERR_CORRUPT;
    js_doc(&spec, d);
    e = buf_err(&spec);
    if (e == ERR_OK) /* in the arena: the spec may borrow from its text */
        e = etl_spec_parse(arena_str(a, buf_str(&spec)), a, &r.spec, why);
    buf_release(&spec);
    if (e != ERR_OK)
        return ERR_CORRUPT;
    *out = r;
    return ERR_OK;
}

static void read_errors(struct arena *a, const struct doc *list, struct etl_node_state *out)
{
    struct etl_object_error *errors;

    if (!list || list->kind != DOC_LIST)
        return;
    errors = arena_new(a, ETL_OBJECT_ERRORS_MAX * sizeof(*errors));
    for (const struct doc *d = list->first; d && out->object_error_count < ETL_OBJECT_ERRORS_MAX; d = d->next) {
        uint64_t status;
        if (d->kind != DOC_LIST || d->count != 3 || !str_to_u64(d->first->next->next->text, 999, &status))
            continue;
        errors[out->object_error_count++] =
            (struct etl_object_error){d->first->text, d->first->next->text, (int)status};
    }
    out->object_errors = errors;
}

enum err etl_state_read(struct arena *a, struct str text, struct etl_node_state *out)
{
    struct doc *root;
    enum err e = read_root(a, text, &root);

    if (e != ERR_OK)
        return e;
    *out = (struct etl_node_state){.id = text_of(root, STR("id")),
                                   .state = text_of(root, STR("state")),
                                   .error = text_of(root, STR("error")),
                                   .address = text_of(root, STR("address")),
                                   .unserved = str_eq(text_of(root, STR("unserved")), STR("true")),
                                   .restarts = (uint32_t)number_of(root, STR("restarts")),
                                   .objects = number_of(root, STR("objects")),
                                   .errors = number_of(root, STR("errors")),
                                   .in_bytes = number_of(root, STR("in_bytes")),
                                   .out_bytes = number_of(root, STR("out_bytes")),
                                   .memory = number_of(root, STR("memory"))};
    struct str cpu = text_of(root, STR("cpu"));
    out->cpu = cpu.n ? strtod(cpu.p, NULL) : 0; /* texts of a doc are terminated */
    read_errors(a, doc_get(root, STR("object_errors")), out);
    return out->state.n ? ERR_OK : ERR_CORRUPT;
}

/* ---- writing ---- */

enum err etl_record_text(struct arena *a, const struct etl_record *r, struct str *out)
{
    struct buf b = BUF_INIT(META_VALUE_MAX), spec = BUF_INIT(META_VALUE_MAX);
    enum err e;

    etl_spec_write(&spec, &r->spec);
    js_object(&b);
    js_put_u64(&b, "format", FORMAT);
    js_put_str(&b, "id", r->id);
    js_put_str(&b, "stage", etl_stage_text(r->stage));
    js_put_u64(&b, "created_ms", r->created_ms);
    js_put_u64(&b, "began_ms", r->began_ms);
    js_put_str(&b, "owner", r->owner);
    js_put_str(&b, "secret", r->secret);
    js_key(&b, STR("spec"));
    js_raw(&b, buf_str(&spec));
    js_end_object(&b);
    e = buf_err(&spec) != ERR_OK ? buf_err(&spec) : buf_err(&b);
    if (e == ERR_OK)
        *out = arena_str(a, buf_str(&b));
    buf_release(&b);
    buf_release(&spec);
    return e;
}

static void write_errors(struct buf *b, const struct etl_node_state *s)
{
    js_key(b, STR("object_errors"));
    js_array(b);
    for (size_t i = 0; i < s->object_error_count; i++) {
        js_array(b);
        js_str(b, s->object_errors[i].object);
        js_str(b, s->object_errors[i].message);
        js_u64(b, (uint64_t)s->object_errors[i].status);
        js_end_array(b);
    }
    js_end_array(b);
}

struct str etl_state_text(struct arena *a, const struct etl_node_state *s)
{
    struct buf b = BUF_INIT(META_VALUE_MAX);

    js_object(&b);
    js_put_u64(&b, "format", FORMAT);
    js_put_str(&b, "id", s->id);
    js_put_str(&b, "state", s->state);
    js_put_str(&b, "error", s->error);
    js_put_str(&b, "address", s->address);
    if (s->unserved)
        js_put_bool(&b, "unserved", true);
    js_put_u64(&b, "restarts", s->restarts);
    js_put_u64(&b, "objects", s->objects);
    js_put_u64(&b, "errors", s->errors);
    js_put_u64(&b, "in_bytes", s->in_bytes);
    js_put_u64(&b, "out_bytes", s->out_bytes);
    js_key(&b, STR("cpu"));
    js_raw(&b, arena_printf(a, "%.2f", s->cpu));
    js_put_u64(&b, "memory", s->memory);
    write_errors(&b, s);
    js_end_object(&b);
    struct str text = arena_str(a, buf_str(&b));
    buf_release(&b);
    return text;
}
