/* Downloads: the downloader's calls over jobs of the kind "download", and of "prefetch-list" for what a bucket's own remote has. */
#include "gateway/native_jobs.h"

enum { LOOK_NODES_MAX = 1 << 20 };

struct download {
    struct native_bucket bucket;
    struct native_job job;
    struct job_stop_req stop;
    struct job_look_req look;
    struct job_look_res looked;
};

static step_fn download_found, download_started, download_looked, download_stopped;

/* ---- start ---- */

static void add_text(struct download *d, const char *key, struct str value)
{
    if (value.n)
        native_job_text(&d->job, key, value);
}

static enum err add_number(struct native_request *r, struct download *d, const struct doc *from, const char *name,
                           const char *key)
{
    struct str text = native_text(from, name);
    uint64_t v = 0;

    if (text.n && !str_to_u64(text, INT64_MAX, &v))
        return native_error(r, ERR_INVALID_ARGUMENT, "limit \"%s\" must be a number that is not negative", name);
    if (v)
        native_job_number(&d->job, key, v);
    return ERR_OK;
}

/* A duration of Go's: "90s", "1h30m", "500ms". */
static bool parse_duration(struct str s, uint64_t *ms)
{
    static const struct {
        struct str unit;
        uint64_t ms;
    } units[] = {{STR("ms"), 1}, {STR("h"), 3600000}, {STR("m"), 60000}, {STR("s"), 1000}};
    uint64_t sum = 0;

    while (s.n) {
        size_t digits = 0, i = 0;
        uint64_t v;
        while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
            digits++;
        if (!str_to_u64(str_n(s.p, digits), 1000000, &v))
            return false;
        s = str_skip(s, digits);
        while (i < sizeof(units) / sizeof(*units) && !str_starts(s, units[i].unit))
            i++;
        if (i == sizeof(units) / sizeof(*units))
            return false;
        s = str_skip(s, units[i].unit.n);
        sum += v * units[i].ms;
    }
    *ms = sum;
    return sum <= UINT32_MAX;
}

static enum err add_etl(struct native_request *r, struct download *d)
{
    struct str name = native_text(r->body, "etl_name");
    char id[ETL_ID_MAX];

    if (!etl_names_find(r->env->etl_names, name, id)) {
        r->error_status = 404;
        return native_error(r, ERR_NO_SUCH_ETL, "etl[" STR_FMT "] does not exist", STR_ARG(name));
    }
    js_key(&d->job.spec, STR("etl"));
    js_array(&d->job.spec);
    js_object(&d->job.spec);
    js_put_str(&d->job.spec, "name", name);
    if (native_text(r->body, "etl_args").n)
        js_put_str(&d->job.spec, "args", native_text(r->body, "etl_args"));
    js_end_object(&d->job.spec);
    js_end_array(&d->job.spec);
    return ERR_OK;
}

static enum err add_common(struct native_request *r, struct download *d)
{
    const struct doc *limits = native_member(r->body, "limits");
    struct str timeout = native_text(r->body, "timeout");
    uint64_t ms = 0;
    enum err e;

    if (native_member(r->body, "headers"))
        return native_error(r, ERR_NOT_IMPLEMENTED, "downloads with \"headers\" are not implemented");
    if (native_text(r->body, "etl_name").n && (e = add_etl(r, d)) != ERR_OK)
        return e;
    if (timeout.n && !parse_duration(timeout, &ms))
        return native_error(r, ERR_INVALID_ARGUMENT, "timeout must be a duration such as 90s or 1h30m");
    if (ms)
        native_job_number(&d->job, "timeout_ms", ms);
    add_text(d, "description", native_text(r->body, "description"));
    add_text(d, "checksum", native_text(r->body, "checksum"));
    if ((e = add_number(r, d, limits, "connections", "connections")) != ERR_OK)
        return e;
    return add_number(r, d, limits, "bytes_per_hour", "bytes_per_hour");
}

/* All that the bucket's own remote has, as a prefetch gets it. */
static bool is_of_backend(struct native_request *r)
{
    return str_eq_nocase(native_text(r->body, "type"), STR("backend"));
}

static enum err add_prefetch(struct native_request *r, struct download *d)
{
    if (native_text(r->body, "suffix").n || native_flag(r->body, "synchronize"))
        return native_error(r, ERR_NOT_IMPLEMENTED,
                            "downloads of a backend with \"suffix\" or \"synchronize\" are not implemented");
    if (!d->bucket.found.id.backend)
        return native_error(r, ERR_INVALID_ARGUMENT, "the bucket has no backend to download from");
    native_job_text(&d->job, "prefix", native_text(r->body, "prefix"));
    native_job_flag(&d->job, "latest", true);
    return ERR_OK;
}

/* What is to be downloaded, by the type of the call; without one it is what the members say. */
static enum err add_what(struct native_request *r, struct download *d)
{
    struct str type = native_text(r->body, "type");
    const struct doc *objects = native_member(r->body, "objects");
    bool any = type.n == 0;

    if (objects && (any || str_eq_nocase(type, STR("multi")))) {
        js_key(&d->job.spec, STR("objects"));
        js_doc(&d->job.spec, objects);
        native_job_number(&d->job, "total", objects->count);
    } else if (native_text(r->body, "template").n && (any || str_eq_nocase(type, STR("range")))) {
        add_text(d, "template", native_text(r->body, "template"));
    } else if (native_text(r->body, "link").n && (any || str_eq_nocase(type, STR("single")))) {
        add_text(d, "link", native_text(r->body, "link"));
        add_text(d, "object_name", native_text(r->body, "object_name"));
        native_job_number(&d->job, "total", 1);
    } else {
        return native_error(r, ERR_INVALID_ARGUMENT,
                            "a download has the type single (link), range (template), multi (objects) or backend");
    }
    add_text(d, "subdir", native_text(r->body, "subdir"));
    return add_common(r, d);
}

enum step_next native_download_start(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct download *d = r->state = ARENA_NEW(r->arena, struct download);
    const struct doc *bucket = r->body ? native_member(r->body, "bucket") : NULL;
    enum err e;

    if (!bucket)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "a download needs a bucket"));
    if ((e = native_bucket_of_doc(r, bucket, &d->bucket)) != ERR_OK)
        return op_fail(op, e);
    native_bucket_find(r, &d->bucket, op_call(op, download_found));
    return STEP_WAIT;
}

static enum step_next download_found(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct download *d = r->state;
    enum err e;

    native_job_begin(r, &d->job, is_of_backend(r) ? "prefetch-list" : "download", d->bucket.found.id.name);
    d->job.id = native_job_id(r->arena, "dnl");
    if ((e = is_of_backend(r) ? add_prefetch(r, d) : add_what(r, d)) != ERR_OK)
        return op_fail(op, e);
    native_job_start(r, &d->job, op_try(op, download_started));
    return STEP_WAIT;
}

static enum step_next download_started(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct download *d = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_job_refused(r, &d->job, op->call.err));
    js_object(&r->text);
    js_put_str(&r->text, "id", d->job.res.id);
    js_end_object(&r->text);
    return op_go(op, native_send);
}

/* ---- status ---- */

static struct str asked_id(struct native_request *r)
{
    struct str id = r->body ? native_text(r->body, "id") : STR_NONE;

    return id.n ? id : native_query(r, STR("id"));
}

enum step_next native_download_status(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct download *d = r->state = ARENA_NEW(r->arena, struct download);
    struct str regex = r->body ? native_text(r->body, "regex") : STR_NONE;

    if (regex.n || native_query(r, STR("regex")).n)
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED, "downloads by \"regex\" are not implemented"));
    d->look = (struct job_look_req){.arena = r->arena, .id = asked_id(r), .parts = true};
    r->env->jobs->look(r->env->meta, &d->look, &d->looked, op_try(op, download_looked));
    return STEP_WAIT;
}

/* Members of one job, in an object that is open. */
static void put_job(struct buf *b, const struct doc *job)
{
    const struct doc *spec = native_member(job, "spec");
    uint64_t ok = native_number(job, "ok"), failed = native_number(job, "failed"),
             skipped = native_number(job, "skipped");
    uint64_t total = native_number(spec, "total");
    struct str state = native_text(job, "state");
    bool runs = str_eq(state, STR("running"));

    total = total > ok + failed + skipped ? total : ok + failed + skipped;
    js_put_str(b, "id", native_text(job, "id"));
    js_put_str(b, "xaction_id", native_text(job, "id"));
    js_put_str(b, "description", native_text(spec, "description"));
    js_put_u64(b, "finished_cnt", ok + skipped);
    js_put_u64(b, "scheduled_cnt", total);
    js_put_u64(b, "skipped_cnt", skipped);
    js_put_u64(b, "error_cnt", failed);
    js_put_u64(b, "total_cnt", total);
    js_put_u64(b, "bytes", native_number(job, "bytes"));
    js_put_bool(b, "all_dispatched", !runs);
    js_put_bool(b, "aborted", str_eq(state, STR("stopped")));
    js_put_bool(b, "running", runs);
}

/* "NAME: 5 of 10 bytes", as a download notes what it is at. */
static void put_task(struct buf *b, struct str note)
{
    size_t at = note.n;

    while (at > 0 && note.p[at - 1] != ':')
        at--;
    if (at == 0)
        return;
    struct str rest = str_trim(str_skip(note, at)), done = str_split(&rest, ' ');
    (void)str_split(&rest, ' '); /* of */
    uint64_t downloaded = 0, total = 0;
    if (!str_to_u64(done, UINT64_MAX, &downloaded) || !str_to_u64(str_split(&rest, ' '), UINT64_MAX, &total))
        return;
    js_object(b);
    js_put_str(b, "name", str_n(note.p, at - 1));
    js_put_u64(b, "downloaded", downloaded);
    js_put_u64(b, "total", total);
    js_put_bool(b, "running", true);
    js_end_object(b);
}

static void put_error(struct buf *b, struct str text)
{
    struct str name = text;
    size_t at = str_find(text, STR(" from "));

    if (at != SIZE_MAX)
        name.n = at;
    js_object(b);
    js_put_str(b, "name", name);
    js_put_str(b, "error", text);
    js_end_object(b);
}

static void put_details(struct buf *b, const struct doc *job)
{
    const struct doc *parts = native_member(job, "parts");

    js_key(b, STR("current_tasks"));
    js_array(b);
    for (const struct doc *p = parts ? parts->first : NULL; p; p = p->next)
        if (str_eq(native_text(p, "state"), STR("running")))
            put_task(b, native_text(p, "note"));
    js_end_array(b);
    js_key(b, STR("download_errors"));
    js_array(b);
    for (const struct doc *p = parts ? parts->first : NULL; p; p = p->next) {
        const struct doc *errors = native_member(p, "errors");
        for (const struct doc *e = errors ? errors->first : NULL; e; e = e->next)
            put_error(b, e->text);
    }
    js_end_array(b);
}

static bool is_download(const struct doc *job)
{
    return str_eq(native_text(job, "kind"), STR("download")) || str_starts(native_text(job, "id"), STR("dnl-"));
}

static enum err no_download(struct native_request *r, struct str id)
{
    r->error_status = 404;
    return native_error(r, ERR_NOT_FOUND, "download job \"" STR_FMT "\" does not exist", STR_ARG(id));
}

static enum step_next download_looked(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct download *d = r->state;
    const struct js_bounds bounds = {NATIVE_BODY_MAX, LOOK_NODES_MAX};
    bool active = (r->body && native_flag(r->body, "only_active_tasks")) || native_query_bool(r, STR("only_active"));
    char why[DOC_WHY_MAX];
    struct doc *found;

    if (op->call.err == ERR_NOT_FOUND)
        return op_fail(op, no_download(r, d->look.id));
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    if (js_read_within(r->arena, d->looked.json, &bounds, &found, why) != ERR_OK)
        return op_fail(op, ERR_INTERNAL);
    if (d->look.id.n) {
        if (!is_download(found))
            return op_fail(op, no_download(r, d->look.id));
        js_object(&r->text);
        put_job(&r->text, found);
        put_details(&r->text, found);
        js_end_object(&r->text);
        return op_go(op, native_send);
    }
    const struct doc *jobs = native_member(found, "jobs");
    js_array(&r->text);
    for (const struct doc *j = jobs ? jobs->first : NULL; j; j = j->next) {
        if (!is_download(j) || (active && !str_eq(native_text(j, "state"), STR("running"))))
            continue;
        js_object(&r->text);
        put_job(&r->text, j);
        js_end_object(&r->text);
    }
    js_end_array(&r->text);
    return op_go(op, native_send);
}

/* ---- abort ---- */

enum step_next native_download_delete(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct download *d = r->state = ARENA_NEW(r->arena, struct download);
    struct str what = r->raw_count > 1 ? r->raw[1] : STR("");

    if (!str_eq(what, STR("abort")))
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED,
                                        "DELETE download/" STR_FMT " is not served: jobs that ended go by themselves",
                                        STR_ARG(what)));
    d->stop = (struct job_stop_req){.arena = r->arena, .id = asked_id(r)};
    r->env->jobs->stop(r->env->meta, &d->stop, op_try(op, download_stopped));
    return STEP_WAIT;
}

static enum step_next download_stopped(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct download *d = r->state;

    if (op->call.err == ERR_NOT_FOUND)
        return op_fail(op, no_download(r, d->stop.id));
    return op->call.err == ERR_OK ? op_go(op, native_send) : op_fail(op, op->call.err);
}
