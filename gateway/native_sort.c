/* Sorting shards: dSort's calls over jobs of the kind "dsort".
 * Source: AIStore's ext/dsort/request_spec.go and metric.go as its SDK speaks them; docs/native-api.md. */
#include "gateway/native_jobs.h"

enum { LOOK_NODES_MAX = 1 << 20 };

struct sort {
    struct native_bucket from, to;
    struct native_job job;
    struct job_stop_req stop;
    struct job_look_req look;
    struct job_look_res looked;
};

static step_fn sort_found, sort_started, sort_looked, sort_stopped;

/* ---- start ---- */

/* With the extension, which a name may have or leave to its own member of the specification. */
static struct str extended(struct native_request *r, struct str name, struct str extension)
{
    const char *dot = extension.n && extension.p[0] != '.' ? "." : "";
    struct str whole = arena_printf(r->arena, "%s" STR_FMT, dot, STR_ARG(extension));

    if (whole.n == 0 || str_ends(name, whole))
        return name;
    return arena_printf(r->arena, STR_FMT STR_FMT, STR_ARG(name), STR_ARG(whole));
}

static enum err add_input(struct native_request *r, struct sort *s)
{
    const struct doc *format = native_member(r->body, "input_format");
    const struct doc *names = format && format->kind == DOC_MAP ? native_member(format, "objnames") : NULL;
    struct str template = format && format->kind == DOC_MAP ? native_text(format, "template") : STR("");
    struct str extension = native_text(r->body, "input_extension");

    if ((names != NULL) == (template.n > 0) || (names && names->kind != DOC_LIST))
        return native_error(r, ERR_INVALID_ARGUMENT,
                            "\"input_format\" has either a \"template\" or a list \"objnames\"");
    if (template.n) {
        native_job_text(&s->job, "template", extended(r, template, extension));
        return ERR_OK;
    }
    js_key(&s->job.spec, STR("names"));
    js_array(&s->job.spec);
    for (const struct doc *d = names->first; d; d = d->next)
        js_str(&s->job.spec, extended(r, d->text, extension));
    js_end_array(&s->job.spec);
    return ERR_OK;
}

/* "10MB", "10MiB", "1g", "4096". */
static bool parse_size(struct str text, uint64_t *out)
{
    static const char letters[] = "kmgt";
    struct str unit = str_trim(text);
    size_t digits = 0;
    uint64_t v, factor = 1;

    while (digits < unit.n && unit.p[digits] >= '0' && unit.p[digits] <= '9')
        digits++;
    if (!str_to_u64(str_n(unit.p, digits), UINT64_C(1) << 50, &v))
        return false;
    unit = str_trim(str_skip(unit, digits));
    if (unit.n && !str_eq_nocase(unit, STR("b"))) {
        const char *at = memchr(letters, unit.p[0] | 0x20, sizeof(letters) - 1);
        bool decimal = unit.n == 2 && (unit.p[1] | 0x20) == 'b';
        if (!at || (unit.n > 1 && !decimal && !str_eq_nocase(str_skip(unit, 1), STR("ib"))))
            return false;
        for (long i = 0; i <= at - letters; i++)
            factor *= decimal ? 1000 : 1024;
    }
    return !__builtin_mul_overflow(v, factor, out) && *out <= INT64_MAX;
}

static enum err add_size(struct native_request *r, struct sort *s, const char *name, const char *member)
{
    struct str text = native_text(r->body, name);
    uint64_t v;

    if (text.n == 0)
        return ERR_OK;
    if (!parse_size(text, &v))
        return native_error(r, ERR_INVALID_ARGUMENT, "\"%s\" must be a size such as 10MB or 64MiB", name);
    native_job_number(&s->job, member, v);
    return ERR_OK;
}

/* A share of the machine's memory is what its owner has set for jobs, so only sizes are taken. */
static enum err add_memory(struct native_request *r, struct sort *s)
{
    struct str text = native_text(r->body, "max_mem_usage");

    if (text.n && text.p[text.n - 1] == '%')
        return native_error(r, ERR_NOT_IMPLEMENTED, "\"max_mem_usage\" in percent is not implemented: give a size");
    return add_size(r, s, "max_mem_usage", "memory");
}

static enum err add_algorithm(struct native_request *r, struct sort *s)
{
    const struct doc *a = native_member(r->body, "algorithm");
    struct str kind = native_text(a, "kind"), seed = native_text(a, "seed");
    uint64_t v;

    native_job_text(&s->job, "order", kind.n ? kind : STR("alphanumeric"));
    native_job_flag(&s->job, "decreasing", a && native_flag(a, "decreasing"));
    if (seed.n && !str_to_u64(seed, INT64_MAX, &v))
        return native_error(r, ERR_INVALID_ARGUMENT, "\"algorithm.seed\" must be a number that is not negative");
    if (seed.n)
        native_job_number(&s->job, "seed", v);
    if (native_text(a, "extension").n)
        native_job_text(&s->job, "content_extension", native_text(a, "extension"));
    if (native_text(a, "content_key_type").n)
        native_job_text(&s->job, "content_type", native_text(a, "content_key_type"));
    return ERR_OK;
}

/* The map is fetched by whoever has an address for it; ours is read where it lies: it must be an object of the input bucket here. */
static enum err add_key_map(struct native_request *r, struct sort *s, struct str url)
{
    const struct str v1 = STR("/v1/objects/");
    struct str rest = url, key;
    struct str extension = native_text(r->body, "output_extension"), missing = native_text(r->body, "ekm_missing_key");
    size_t at = str_find(url, STR("://"));

    rest = at == SIZE_MAX ? url : str_skip(url, at + 3);
    if (at == SIZE_MAX || !str_starts(rest, r->http->host) || !str_starts(str_skip(rest, r->http->host.n), v1))
        return native_error(
            r, ERR_NOT_IMPLEMENTED,
            "\"ekm_file\" is not fetched from elsewhere: put it into the input bucket and give the URL of that object");
    rest = str_skip(rest, r->http->host.n + v1.n);
    rest.n = str_find_char(rest, '?') == SIZE_MAX ? rest.n : str_find_char(rest, '?');
    struct str bucket = str_split(&rest, '/');
    if (!url_decode(rest, r->arena, false, &key) || key.n == 0 || !str_eq(bucket, s->from.name))
        return native_error(r, ERR_INVALID_ARGUMENT,
                            "\"ekm_file\" must be an object of the input bucket \"" STR_FMT "\"",
                            STR_ARG(s->from.name));
    native_job_text(&s->job, "key_map", key);
    if (native_text(r->body, "ekm_file_sep").n)
        native_job_text(&s->job, "key_map_separator", native_text(r->body, "ekm_file_sep"));
    if (missing.n)
        native_job_text(&s->job, "key_map_missing", missing);
    native_job_text(&s->job, "key_map_extension", extended(r, STR(""), extension));
    return ERR_OK;
}

static enum err add_output(struct native_request *r, struct sort *s)
{
    struct str format = native_text(r->body, "output_format"), map = native_text(r->body, "ekm_file");
    struct str extension = native_text(r->body, "output_extension");
    enum err e;

    if (map.n && (e = add_key_map(r, s, map)) != ERR_OK)
        return e;
    if (map.n == 0 && format.n == 0)
        return native_error(r, ERR_INVALID_ARGUMENT, "\"output_format\" must be a template, or \"ekm_file\" be given");
    if (map.n == 0)
        native_job_text(&s->job, "output",
                        extended(r, format, extension.n ? extension : native_text(r->body, "input_extension")));
    return add_size(r, s, "output_shard_size", "size");
}

static enum err refuse_unserved(struct native_request *r)
{
    static const struct {
        const char *name, *only;
    } fixed[] = {{"dsorter_type", NULL},
                 {"missing_shards", NULL},
                 {"duplicated_records", NULL},
                 {"ekm_malformed_line", "abort"},
                 {NULL, NULL}};

    for (int i = 0; fixed[i].name; i++) {
        struct str v = native_text(r->body, fixed[i].name);
        if (v.n && !(fixed[i].only && str_eq(v, str_z(fixed[i].only))))
            return native_error(r, ERR_NOT_IMPLEMENTED, "\"%s\": \"" STR_FMT "\" is not implemented", fixed[i].name,
                                STR_ARG(v));
    }
    return ERR_OK;
}

enum step_next native_sort_start(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct sort *s = r->state = ARENA_NEW(r->arena, struct sort);
    const struct doc *from = r->body ? native_member(r->body, "input_bck") : NULL;
    const struct doc *to = r->body ? native_member(r->body, "output_bck") : NULL;
    enum err e;

    if (!from)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "\"input_bck\" must say which bucket is sorted"));
    if ((e = native_bucket_of_doc(r, from, &s->from)) != ERR_OK || (e = refuse_unserved(r)) != ERR_OK)
        return op_fail(op, e);
    s->to = s->from;
    if (to && to->kind == DOC_MAP && native_text(to, "name").n && (e = native_bucket_of_doc(r, to, &s->to)) != ERR_OK)
        return op_fail(op, e);
    native_bucket_find(r, &s->from, op_call(op, sort_found));
    return STEP_WAIT;
}

static enum step_next sort_found(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct sort *s = r->state;
    enum err e;

    native_job_begin(r, &s->job, "dsort", s->from.found.id.name);
    s->job.id = native_job_id(r->arena, "srt");
    native_job_text(&s->job, "to_bucket", native_bucket_own_name(r->arena, &s->to));
    if (native_text(r->body, "description").n)
        native_job_text(&s->job, "description", native_text(r->body, "description"));
    native_job_flag(&s->job, "dry_run", native_flag(r->body, "dry_run"));
    if ((e = add_input(r, s)) != ERR_OK || (e = add_output(r, s)) != ERR_OK || (e = add_algorithm(r, s)) != ERR_OK ||
        (e = add_memory(r, s)) != ERR_OK)
        return op_fail(op, e);
    native_job_start(r, &s->job, op_try(op, sort_started));
    return STEP_WAIT;
}

static enum step_next sort_started(struct op *op)
{
    const struct sort *s = NATIVE(op)->state;

    return native_job_answer(op, &s->job);
}

/* ---- status ---- */

enum step_next native_sort_status(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct sort *s = r->state = ARENA_NEW(r->arena, struct sort);

    if (native_query(r, STR("regex")).n)
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED, "sorting jobs by \"regex\" are not implemented"));
    s->look = (struct job_look_req){.arena = r->arena, .id = native_query(r, STR("uuid")), .parts = true};
    r->env->jobs->look(r->env->meta, &s->look, &s->looked, op_try(op, sort_looked));
    return STEP_WAIT;
}

/* A job keeps when it began and ended, not when its phases did: times that are not known are Go's zero time, and how long a phase took is 0. */
static void put_phase(struct buf *b, uint64_t began_ms, uint64_t ended_ms, bool begun, bool done)
{
    native_time_json(b, "started_time", began_ms);
    native_time_json(b, "end_time", ended_ms);
    js_put_u64(b, "elapsed", 0);
    js_put_bool(b, "running", begun && !done);
    js_put_bool(b, "finished", done);
}

/* "creation samples=40 shards=3", as the job notes what it is at. */
static struct str noted(struct str note, struct str name)
{
    size_t at = str_find(note, name);
    struct str rest = at == SIZE_MAX ? STR("") : str_skip(note, at + name.n);
    size_t n = 0;

    while (n < rest.n && rest.p[n] >= '0' && rest.p[n] <= '9')
        n++;
    return n ? str_n(rest.p, n) : STR("0");
}

/* What a sort is at: it has one phase after the other on the node that does it. */
static void put_metrics(struct native_request *r, const struct doc *job, const struct doc *part)
{
    struct buf *b = &r->text;
    struct str note = native_text(part, "note"), state = native_text(part, "state");
    bool ended = !str_eq(state, STR("running")), done = str_eq(state, STR("done"));
    bool extracted = done || (note.n && !str_starts(note, STR("extraction")));
    bool sorted = done || (extracted && !str_starts(note, STR("sorting")));
    struct str samples = noted(note, STR("samples=")), shards = noted(note, STR("shards="));
    const struct doc *errors = native_member(part, "errors");

    js_object(b);
    js_key(b, STR("local_extraction"));
    js_object(b);
    put_phase(b, native_number(part, "began_ms"), 0, true, extracted || ended);
    js_put_str(b, "total_count", samples);
    js_put_str(b, "extracted_count", samples);
    js_put_str(b, "extracted_size", native_text(part, "bytes").n ? native_text(part, "bytes") : STR("0"));
    js_put_str(b, "extracted_record_count", samples);
    js_put_str(b, "extracted_to_disk_count", STR("0"));
    js_put_str(b, "extracted_to_disk_size", STR("0"));
    js_end_object(b);
    js_key(b, STR("meta_sorting"));
    js_object(b);
    put_phase(b, 0, 0, extracted, sorted || ended);
    js_end_object(b);
    js_key(b, STR("shard_creation"));
    js_object(b);
    put_phase(b, 0, done ? native_number(part, "ended_ms") : 0, sorted, done);
    js_put_str(b, "to_create", shards);
    js_put_str(b, "created_count", shards);
    js_put_str(b, "moved_shard_count", STR("0"));
    js_end_object(b);
    js_put_bool(b, "aborted", ended && !done);
    js_put_bool(b, "archived", ended);
    js_put_str(b, "description", native_text(native_member(job, "spec"), "description"));
    js_key(b, STR("warnings"));
    js_array(b);
    js_end_array(b);
    js_key(b, STR("errors"));
    js_array(b);
    for (const struct doc *e = errors ? errors->first : NULL; e; e = e->next)
        js_str(b, e->text);
    js_end_array(b);
    js_end_object(b);
}

static void put_info(struct native_request *r, const struct doc *job, const struct doc *part)
{
    const struct doc *spec = native_member(job, "spec");
    struct buf *b = &r->text;
    struct str state = native_text(part, "state");
    struct str to = native_text(spec, "to_bucket"), from = native_text(spec, "bucket");
    bool ended = !str_eq(state, STR("running"));

    js_object(b);
    js_put_str(b, "id", native_text(job, "id"));
    native_own_bucket_json(b, "src-bck", from);
    native_own_bucket_json(b, "dst-bck", to.n ? to : from);
    native_time_json(b, "started_time", native_number(job, "created_ms"));
    native_time_json(b, "finish_time", ended ? native_number(part, "ended_ms") : 0);
    js_put_str(b, "loc-objs", native_text(part, "ok").n ? native_text(part, "ok") : STR("0"));
    js_put_str(b, "loc-bytes", native_text(part, "bytes").n ? native_text(part, "bytes") : STR("0"));
    js_key(b, STR("Metrics"));
    put_metrics(r, job, part);
    js_put_bool(b, "aborted", ended && !str_eq(state, STR("done")));
    js_put_bool(b, "archived", ended);
    js_end_object(b);
}

static bool is_sort(const struct doc *job)
{
    return str_eq(native_text(job, "kind"), STR("dsort"));
}

static enum err no_sort(struct native_request *r, struct str id)
{
    r->error_status = 404;
    return native_error(r, ERR_NOT_FOUND, "dsort job \"" STR_FMT "\" does not exist", STR_ARG(id));
}

static void put_all(struct native_request *r, const struct doc *jobs)
{
    js_array(&r->text);
    for (const struct doc *j = jobs ? jobs->first : NULL; j; j = j->next) {
        const struct doc *parts = native_member(j, "parts");
        if (is_sort(j))
            put_info(r, j, parts && parts->first ? parts->first : j);
    }
    js_end_array(&r->text);
}

/* By node: the one that does the job. Before it has begun there is none. */
static void put_one(struct native_request *r, const struct doc *job)
{
    const struct doc *parts = native_member(job, "parts"), *part = parts ? parts->first : NULL;

    if (!part && !str_eq(native_text(job, "state"), STR("running")))
        part = job;
    js_object(&r->text);
    if (part) {
        struct str node = native_text(part, "node");
        js_key(&r->text, node.n ? node : STR("node"));
        put_info(r, job, part);
    }
    js_end_object(&r->text);
}

static enum step_next sort_looked(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct sort *s = r->state;
    const struct js_bounds bounds = {NATIVE_BODY_MAX, LOOK_NODES_MAX};
    char why[DOC_WHY_MAX];
    struct doc *found;

    if (op->call.err == ERR_NOT_FOUND)
        return op_fail(op, no_sort(r, s->look.id));
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    if (js_read_within(r->arena, s->looked.json, &bounds, &found, why) != ERR_OK)
        return op_fail(op, ERR_INTERNAL);
    if (s->look.id.n == 0) {
        put_all(r, native_member(found, "jobs"));
        return op_go(op, native_send);
    }
    if (!is_sort(found))
        return op_fail(op, no_sort(r, s->look.id));
    put_one(r, found);
    return op_go(op, native_send);
}

/* ---- abort ---- */

enum step_next native_sort_delete(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct sort *s = r->state = ARENA_NEW(r->arena, struct sort);

    if (!str_eq(r->raw_count > 1 ? r->raw[1] : STR(""), STR("abort")))
        return op_fail(
            op, native_error(r, ERR_NOT_IMPLEMENTED, "DELETE sort is not served: jobs that ended go by themselves"));
    s->stop = (struct job_stop_req){.arena = r->arena, .id = native_query(r, STR("uuid"))};
    if (!str_starts(s->stop.id, STR("srt-")))
        return op_fail(op, no_sort(r, s->stop.id));
    r->env->jobs->stop(r->env->meta, &s->stop, op_try(op, sort_stopped));
    return STEP_WAIT;
}

static enum step_next sort_stopped(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct sort *s = r->state;

    if (op->call.err == ERR_NOT_FOUND)
        return op_fail(op, no_sort(r, s->stop.id));
    return op->call.err == ERR_OK ? op_go(op, native_send) : op_fail(op, op->call.err);
}
