/* GET /cluster?what=status|status_all|running_all|qryxstats: jobs as AIStore shows them. */
#include "gateway/native_jobs.h"

#include <stdio.h>

#include "base/clock.h"
#include "gateway/native_batches.h"
#include "gateway/native_steps.h"
#include "store/map.h"

enum { IDLE_MS = 10000, ERROR_MAX = 2048, TEXT_MAX = 33 << 20, NODES_MAX = 4 << 20, NODE_LIST_MAX = 4096 };

/* ---- kinds ---- */

static const struct native_job_kind kinds[] = {
    {"rebalance", "rebalance", "rebalance", false, false},
    {"resilver", "resilver", NULL, false, false},
    {"elect-primary", "elect-primary", NULL, false, false},
    {"lru", "lru-eviction", "lru", true, false},
    {"cleanup-store", "cleanup", "cleanup", true, false},
    {"scrub", "scrub", "scrub", true, false},
    {"rechunk", "rechunk", NULL, false, false},
    {"index-shard", "shard-index", "index-shard", false, false},
    {"summary-shard", "shard-summary", NULL, false, false},
    {"summary-bck", "summary", NULL, false, false},
    {"ec-encode", "ec-bucket", NULL, false, false},
    {"ec-get", "ec-get", NULL, false, true},
    {"ec-put", "ec-put", NULL, false, true},
    {"ec-resp", "ec-resp", NULL, false, true},
    {"put-copies", "put-copies", NULL, false, true},
    {"make-n-copies", "mirror", NULL, false, false},
    {"archive", "archive", "archive", false, true},
    {"copy-listrange", "copy-objects", "copy-list", false, true},
    {"etl-listrange", "etl-objects", "etl-list", false, true},
    {"delete-listrange", "delete-objects", "delete-list", false, false},
    {"evict-listrange", "evict-objects", "evict-list", false, false},
    {"prefetch-listrange", "prefetch-objects", "prefetch-list", false, false},
    {"evict-remote-bck", "evict-remote-bucket", NULL, false, false},
    {"blob-download", "blob-download", NULL, false, false},
    {"download", "download", "download", false, true},
    {"dsort", "dsort", "dsort", false, false},
    {"promote", "promote-files", "promote", false, false},
    {"move-bck", "rename-bucket", "move-bck", false, false},
    {"copy-bck", "copy-bucket", "copy", false, false},
    {"etl-bck", "etl-bucket", "etl", false, false},
    {"etl-inline", "etl-inline", NULL, false, false},
    {"list", "list", NULL, false, true},
    {"get-batch", "get-batch", "get-batch", false, true},
    {"create-inventory", "create-inventory", NULL, false, false},
    {"load-lom-cache", "warm-up-metadata", NULL, false, false},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

const struct native_job_kind *native_job_kind_find(struct str name)
{
    for (size_t i = 0; i < KINDS; i++)
        if (str_eq(name, str_z(kinds[i].name)) || str_eq(name, str_z(kinds[i].display)))
            return &kinds[i];
    return NULL;
}

const struct native_job_kind *native_job_kind_of(struct str engine)
{
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].engine && str_eq(engine, str_z(kinds[i].engine)))
            return &kinds[i];
    return NULL;
}

/* ---- what was looked at ---- */

static struct str kind_of(const struct doc *job)
{
    const struct native_job_kind *k = native_job_kind_of(native_text(job, "kind"));

    return k ? str_z(k->name) : native_text(job, "kind");
}

static bool is_running(const struct doc *job)
{
    return str_eq(native_text(job, "state"), STR("running"));
}

/* Running, or idling a moment longer where clients expect that. */
static bool is_listed(const struct doc *job)
{
    const struct native_job_kind *k = native_job_kind_of(native_text(job, "kind"));
    uint64_t now_ms = (uint64_t)clock_wall_ns() / 1000000;

    return is_running(job) || (k && k->idles && now_ms < native_number(job, "ended_ms") + IDLE_MS);
}

/* What failed, in words; empty: nothing. */
static struct str error_of(struct native_request *r, const struct doc *job)
{
    const struct doc *parts = doc_get(job, STR("parts"));
    uint64_t failed = native_number(job, "failed");
    struct str first = STR("");

    for (const struct doc *p = parts ? parts->first : NULL; p && first.n == 0; p = p->next) {
        const struct doc *errors = doc_get(p, STR("errors"));
        first = errors && errors->first ? errors->first->text : first;
    }
    if (failed == 0 && !str_eq(native_text(job, "state"), STR("failed")))
        return STR("");
    first.n = first.n < ERROR_MAX ? first.n : ERROR_MAX;
    return arena_printf(r->arena, "%llu failed: " STR_FMT, (unsigned long long)failed,
                        STR_ARG(first.n ? first : STR("the job could not be done")));
}

/* ---- the request ---- */

struct query {
    struct str what, id;
    struct str kind; /* AIStore's name; empty: all */
    bool show_active;
    struct job_look_req look_req;
    struct job_look_res looked;
    const struct doc *jobs;    /* the first */
    const struct doc *batches; /* the first of those; they come behind */
    bool one;                  /* asked by id */
};

static step_fn query_looked;

bool native_jobs_asks(struct str what)
{
    return str_eq(what, STR("status")) || str_eq(what, STR("status_all")) || str_eq(what, STR("running_all")) ||
           str_eq(what, STR("qryxstats"));
}

enum step_next native_jobs_query(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct query *q = ARENA_NEW(r->arena, struct query);
    struct str kind = native_text(r->body, "kind");
    const struct native_job_kind *known = native_job_kind_find(kind);

    r->state = q;
    q->what = native_query(r, STR("what"));
    q->id = native_text(r->body, "id");
    q->kind = known ? str_z(known->name) : kind;
    q->show_active = native_flag(r->body, "show_active");
    q->one = q->id.n > 0;
    q->look_req = (struct job_look_req){.arena = r->arena, .id = q->id, .parts = true};
    r->env->jobs->look(r->env->meta, &q->look_req, &q->looked, op_try(op, query_looked));
    return STEP_WAIT;
}

static bool is_asked(const struct query *q, const struct doc *job)
{
    return q->one || q->kind.n == 0 || str_eq(q->kind, kind_of(job));
}

/* ---- status ---- */

static void status_json(struct native_request *r, const struct doc *job)
{
    struct buf *b = &r->text;

    js_object(b);
    js_put_str(b, "kind", kind_of(job));
    js_put_str(b, "uuid", native_text(job, "id"));
    js_put_str(b, "err", is_running(job) ? STR("") : error_of(r, job));
    js_put_u64(b, "end_time", is_running(job) ? 0 : native_number(job, "ended_ms") * 1000000);
    js_put_bool(b, "aborted", str_eq(native_text(job, "state"), STR("stopped")));
    js_end_object(b);
}

static enum err no_job(struct native_request *r, const struct query *q)
{
    if (q->one)
        return native_error(r, ERR_NOT_FOUND, "job \"" STR_FMT "\" does not exist", STR_ARG(q->id));
    return native_error(r, ERR_NOT_FOUND, "there is no job of kind \"" STR_FMT "\"", STR_ARG(q->kind));
}

/* Of one job; by kind: the one that began last. */
static enum err tell_status(struct native_request *r, const struct query *q)
{
    const struct doc *last = NULL;

    for (const struct doc *j = q->jobs; j; j = j->next)
        if (is_asked(q, j) && (!last || native_number(j, "created_ms") >= native_number(last, "created_ms")))
            last = j;
    if (!last)
        return no_job(r, q);
    status_json(r, last);
    return ERR_OK;
}

static void tell_all(struct native_request *r, const struct query *q)
{
    js_array(&r->text);
    for (const struct doc *j = q->jobs; j; j = j->next)
        if (is_asked(q, j) && (!q->show_active || is_listed(j)))
            status_json(r, j);
    js_end_array(&r->text);
}

static void tell_running(struct native_request *r, const struct query *q)
{
    js_array(&r->text);
    for (const struct doc *j = q->jobs; j; j = j->next)
        if (is_asked(q, j) && is_listed(j))
            js_str(&r->text,
                   arena_printf(r->arena, STR_FMT "[" STR_FMT "]", STR_ARG(kind_of(j)), STR_ARG(native_text(j, "id"))));
    js_end_array(&r->text);
}

/* ---- snapshots ---- */

void native_time_json(struct buf *b, const char *name, uint64_t ms)
{
    char text[CLOCK_ISO_LEN], digits[4];

    if (ms == 0) {
        js_put_str(b, name, STR("0001-01-01T00:00:00Z"));
        return;
    }
    clock_iso((int64_t)ms * 1000000, text);
    snprintf(digits, sizeof(digits), "%03u", (unsigned)(ms % 1000));
    memcpy(text + CLOCK_ISO_LEN - 4, digits, 3);
    js_put_str(b, name, str_n(text, sizeof(text)));
}

void native_own_bucket_json(struct buf *b, const char *name, struct str own)
{
    struct native_bucket bucket = {.name = STR("")};

    native_bucket_of_own(own, &bucket);
    js_key(b, str_z(name));
    native_bucket_json(b, &bucket);
}

static void put_stats(struct native_request *r, const struct doc *part)
{
    struct buf *b = &r->text;
    char text[32];

    js_key(b, STR("stats"));
    js_object(b);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)native_number(part, "ok"));
    js_put_str(b, "loc-objs", str_z(text));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)native_number(part, "bytes"));
    js_put_str(b, "loc-bytes", str_z(text));
    js_put_str(b, "out-objs", STR("0"));
    js_put_str(b, "out-bytes", STR("0"));
    js_put_str(b, "in-objs", STR("0"));
    js_put_str(b, "in-bytes", STR("0"));
    js_end_object(b);
}

/* What one node tells of a job; `part` NULL: it has told nothing yet. */
static void snap_json(struct native_request *r, const struct doc *job, const struct doc *part)
{
    const struct doc *spec = doc_get(job, STR("spec")), *of = part ? part : job;
    struct str to = native_text(spec, "to").n ? native_text(spec, "to") : native_text(spec, "to_bucket");
    bool running = is_running(of);
    struct buf *b = &r->text;
    char workers[32];

    js_object(b);
    js_put_str(b, "id", native_text(job, "id"));
    js_put_str(b, "kind", kind_of(job));
    native_time_json(b, "start-time", native_number(of, part ? "began_ms" : "created_ms"));
    native_time_json(b, "end-time", running ? 0 : native_number(of, "ended_ms"));
    native_own_bucket_json(b, "bck", native_text(spec, "bucket"));
    native_own_bucket_json(b, "src-bck", native_text(spec, "bucket"));
    native_own_bucket_json(b, "dst-bck", to);
    js_put_str(b, "ctlmsg", native_text(part, "note"));
    js_put_str(b, "abort-err", str_eq(native_text(of, "state"), STR("stopped")) ? STR("stopped on request") : STR(""));
    js_put_str(b, "err", running ? STR("") : error_of(r, job));
    snprintf(workers, sizeof(workers), "%llu", (unsigned long long)((native_number(spec, "workers") & 1023) << 10));
    js_put_str(b, "glob.id", str_z(workers));
    put_stats(r, of);
    js_put_bool(b, "aborted", str_eq(native_text(of, "state"), STR("stopped")));
    js_put_bool(b, "is_idle", !running);
    js_key(b, STR("ext"));
    js_null(b);
    js_end_object(b);
}

/* The part of that node; `node` empty: of the only one. */
static const struct doc *part_at(const struct doc *job, struct str node)
{
    const struct doc *parts = doc_get(job, STR("parts")), *p = parts ? parts->first : NULL;

    while (p && node.n && !str_eq(native_text(p, "node"), node))
        p = p->next;
    return p;
}

/* Whether the node has something to tell of it: its part, or that it will have one; of a job without parts all nodes tell the end. */
static bool node_tells(const struct doc *job, struct str node, bool first, const struct doc **part)
{
    const struct doc *parts = doc_get(job, STR("parts"));
    struct str only = native_text(doc_get(job, STR("spec")), "node");

    *part = part_at(job, node);
    if (*part)
        return true;
    if (!parts)
        return first; /* a batch is of no target: one of them tells */
    if (only.n && node.n && !str_eq(only, node))
        return false;
    return is_running(job) || parts->count == 0;
}

static void tell_node(struct native_request *r, const struct query *q, struct str name, struct str node, bool first)
{
    const struct doc *part;
    bool any = false;

    for (const struct doc *j = q->jobs; j; j = j->next) {
        if (!is_asked(q, j) || !node_tells(j, node, first, &part) || (q->show_active && !is_listed(j)))
            continue;
        if (!any) {
            js_key(&r->text, name);
            js_array(&r->text);
        }
        any = true;
        snap_json(r, j, part);
    }
    if (any)
        js_end_array(&r->text);
}

static void tell_snaps(struct native_request *r, const struct query *q)
{
    const struct map *map;

    js_object(&r->text);
    if (!r->env->members) {
        tell_node(r, q, r->env->conf->node_id, STR(""), true);
    } else {
        map = members_map(r->env->members);
        for (uint16_t i = 0; i < map->node_count; i++)
            tell_node(r, q, map->nodes[i].id, map->nodes[i].id, i == 0);
        map_release(map);
    }
    js_end_object(&r->text);
}

/* ---- batches: this process's own, as if the engine had told of them ---- */

static void batch_json(struct buf *b, const struct arc_batch_snap *snap)
{
    bool running = snap->ended_ns == 0;
    /* one that the client left or that met a missing entry is over, without a doubt about the cluster */
    const char *state = running ? "running" : snap->aborted ? "stopped" : snap->err == ERR_OK ? "done" : "failed";

    js_object(b);
    js_put_str(b, "id", snap->id);
    js_put_str(b, "kind", STR("get-batch"));
    js_put_str(b, "state", str_z(state));
    js_put_u64(b, "created_ms", (uint64_t)(snap->started_ns / 1000000));
    js_put_u64(b, "began_ms", (uint64_t)(snap->started_ns / 1000000));
    js_put_u64(b, "ended_ms", (uint64_t)(snap->ended_ns / 1000000));
    js_put_u64(b, "ok", snap->objects);
    js_put_u64(b, "bytes", snap->bytes);
    js_key(b, STR("spec"));
    js_object(b);
    js_put_str(b, "bucket", snap->bucket);
    js_end_object(b);
    js_end_object(b);
}

/* Of the query's id, or all. */
static enum err read_batches(struct native_request *r, struct query *q)
{
    const struct js_bounds bounds = {TEXT_MAX, NODES_MAX};
    struct arc_batch_snap *all = NULL;
    size_t n = native_batches_list(r->env, r->arena, &all);
    struct buf text = BUF_INIT(TEXT_MAX);
    char why[DOC_WHY_MAX];
    struct doc *root;
    enum err e;

    js_array(&text);
    for (size_t i = 0; i < n; i++)
        if (!q->one || str_eq(all[i].id, q->id))
            batch_json(&text, &all[i]);
    js_end_array(&text);
    e = js_read_within(r->arena, buf_str(&text), &bounds, &root, why);
    buf_release(&text);
    if (e == ERR_OK)
        q->batches = root->first;
    return e;
}

/* Behind the jobs. */
static void append_batches(struct query *q)
{
    struct doc *last = (struct doc *)(uintptr_t)q->jobs; /* the tree is this request's own */

    if (!last) {
        q->jobs = q->batches;
        return;
    }
    while (last->next)
        last = last->next;
    last->next = (struct doc *)(uintptr_t)q->batches;
}

/* ---- the answer ---- */

static enum err read_jobs(struct native_request *r, struct query *q)
{
    const struct js_bounds bounds = {TEXT_MAX, NODES_MAX};
    char why[DOC_WHY_MAX];
    const struct doc *list;
    struct doc *root;
    enum err e = js_read_within(r->arena, q->looked.json, &bounds, &root, why);

    if (e != ERR_OK)
        return e;
    list = doc_get(root, STR("jobs"));
    q->jobs = q->one ? root : list ? list->first : NULL;
    return ERR_OK;
}

static enum step_next query_looked(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct query *q = r->state;
    enum err e = op->call.err;

    if (e == ERR_OK)
        e = read_jobs(r, q);
    if (e == ERR_OK || e == ERR_NOT_FOUND) {
        enum err read = read_batches(r, q);
        e = read != ERR_OK ? read : q->batches ? ERR_OK : e;
    }
    if (e == ERR_NOT_FOUND)
        return op_fail(op, no_job(r, q));
    if (e == ERR_OK)
        append_batches(q);
    if (e == ERR_OK && str_eq(q->what, STR("status")))
        e = tell_status(r, q);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (str_eq(q->what, STR("status_all")))
        tell_all(r, q);
    else if (str_eq(q->what, STR("running_all")))
        tell_running(r, q);
    else if (str_eq(q->what, STR("qryxstats")))
        tell_snaps(r, q);
    return op_go(op, native_send);
}

enum step_next native_get_cluster(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct str what = native_query(r, STR("what"));

    if (native_jobs_asks(what))
        return op_go(op, native_jobs_query);
    return op_go(op, native_cluster);
}
