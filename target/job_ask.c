#include <stdio.h>

#include "base/json.h"
#include "target/job_own.h"

/* What people and front ends ask: meta alone answers, no target needs to be there. */

enum { LOOK_MAX = 32 << 20, TRIES_MAX = 16 };

/* Ids become keys in meta and words on a command line. */
static bool is_id(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-'))
            return false;
    return s.n > 0 && s.n <= JOB_ID_MAX;
}

/* All job records, page after page. */
struct pages {
    struct meta *meta;
    struct meta_list_req req;
    struct meta_list_res res;
    unsigned count;
};

static void pages_ask(struct pages *p, struct call *call)
{
    meta_list(p->meta, &p->req, &p->res, call);
}

/* False: that was the last. */
static bool pages_more(struct pages *p)
{
    p->count += p->res.count;
    if (!p->res.truncated || p->res.count == 0)
        return false;
    p->req.after = p->res.entries[p->res.count - 1].key;
    return true;
}

static void pages_init(struct pages *p, struct meta *meta, struct arena *arena, struct str prefix)
{
    *p = (struct pages){.meta = meta, .req = {.arena = arena, .prefix = prefix, .max = META_LIST_MAX}};
}

/* ---- start ---- */

struct start_op {
    struct op op;
    struct meta *meta;
    const struct job_start_req *req;
    struct job_start_res *res;
    struct call *whole;
    const struct job_kind *kind;
    struct doc *spec;
    struct pages pages;
    uint64_t highest; /* number in an id of this kind */
    unsigned tries;
    struct meta_put_req put_req;
    struct meta_put_res put;
};

static step_fn start_check, start_list, start_listed, start_put, start_known, start_end;

static enum err check_spec(struct start_op *s, char *why)
{
    enum err e;

    if (s->req->ended)
        return ERR_OK;
    e = s->kind->check ? s->kind->check(s->spec, why) : s->spec->count ? ERR_INVALID_ARGUMENT : ERR_OK;
    if (e != ERR_OK && !s->kind->check)
        snprintf(why, DOC_WHY_MAX, "jobs of this kind take no specification");
    return e;
}

static enum step_next start_check(struct op *op)
{
    struct start_op *s = OP(op, struct start_op);
    const struct job_start_req *req = s->req;
    char *why = s->res->why;
    enum err e;

    why[0] = '\0';
    s->kind = job_kind_find(req->kind);
    if (!req->ended && (!s->kind || !s->kind->startable)) {
        snprintf(why, DOC_WHY_MAX, "there is no kind of job \"%.64s\" that can be started",
                 arena_printf(req->arena, STR_FMT, STR_ARG(req->kind)).p);
        return op_fail(op, ERR_INVALID_ARGUMENT);
    }
    if (req->id.n && !is_id(req->id)) {
        snprintf(why, DOC_WHY_MAX, "the id of a job has 1 to 64 of a-z, 0-9 and -");
        return op_fail(op, ERR_INVALID_ARGUMENT);
    }
    if (req->spec.n > JOB_SPEC_MAX) {
        snprintf(why, DOC_WHY_MAX, "the specification of a job has at most 262144 bytes");
        return op_fail(op, ERR_INVALID_ARGUMENT);
    }
    if (js_read(req->arena, req->spec.n ? req->spec : STR("{}"), &s->spec, why) != ERR_OK)
        return op_fail(op, ERR_INVALID_ARGUMENT);
    if (s->spec->kind != DOC_MAP) {
        snprintf(why, DOC_WHY_MAX, "the specification of a job is a JSON object");
        return op_fail(op, ERR_INVALID_ARGUMENT);
    }
    e = check_spec(s, why);
    return e == ERR_OK ? op_go(op, start_list) : op_fail(op, e);
}

static enum step_next start_list(struct op *op)
{
    struct start_op *s = OP(op, struct start_op);

    s->highest = 0;
    pages_init(&s->pages, s->meta, s->req->arena, JOB_KEY);
    pages_ask(&s->pages, op_call(op, start_listed));
    return STEP_WAIT;
}

/* ERR_CONFLICT: one of the kind runs, and only one may. */
static enum err look_at(struct start_op *s, const struct job_record *r)
{
    uint64_t n;

    if (!str_eq(r->kind, s->req->kind))
        return ERR_OK;
    if (!s->req->ended && s->kind->per_cluster && r->state == JOB_RUNNING)
        return ERR_CONFLICT;
    if (r->id.n > r->kind.n && str_to_u64(str_skip(r->id, r->kind.n + 1), UINT64_MAX - 1, &n) && n > s->highest)
        s->highest = n;
    return ERR_OK;
}

static enum step_next start_listed(struct op *op)
{
    struct start_op *s = OP(op, struct start_op);
    enum err e = ERR_OK;

    for (uint32_t i = 0; i < s->pages.res.count && e == ERR_OK; i++) {
        struct job_record r;
        if (job_record_read(s->req->arena, s->pages.res.entries[i].value, &r) == ERR_OK)
            e = look_at(s, &r);
    }
    if (e != ERR_OK)
        return op_fail(op, e);
    if (!pages_more(&s->pages))
        return s->pages.count < JOBS_MAX ? op_go(op, start_put) : op_fail(op, ERR_BUSY);
    pages_ask(&s->pages, op_call(op, start_listed));
    return STEP_WAIT;
}

static enum step_next start_put(struct op *op)
{
    struct start_op *s = OP(op, struct start_op);
    struct arena *a = s->req->arena;
    struct job_record r = {.id = s->req->id,
                           .kind = s->req->kind,
                           .started_by = s->req->started_by,
                           .spec = s->spec,
                           .created_ms = job_now_ms()};

    if (s->req->ended) {
        r.state = JOB_DONE;
        r.ended_ms = r.created_ms;
    }
    if (r.id.n == 0)
        r.id = arena_printf(a, STR_FMT "-%llu", STR_ARG(r.kind), (unsigned long long)s->highest + 1);
    s->res->id = r.id;
    s->put_req = (struct meta_put_req){.key = job_key(a, r.id), .value = job_record_text(a, &r)};
    meta_put(s->meta, &s->put_req, &s->put, op_try(op, start_known));
    return STEP_WAIT;
}

/* Somebody else took the number: the next one, unless only one may run. */
static enum step_next start_known(struct op *op)
{
    struct start_op *s = OP(op, struct start_op);

    if (op->call.err == ERR_CONFLICT && s->req->id.n == 0 && ++s->tries < TRIES_MAX)
        return op_go(op, start_list);
    return op->call.err == ERR_OK ? op_go(op, start_end) : op_fail(op, op->call.err);
}

static enum step_next start_end(struct op *op)
{
    call_finish(OP(op, struct start_op)->whole, op->err);
    return STEP_DONE;
}

void job_start(struct meta *meta, const struct job_start_req *req, struct job_start_res *res, struct call *call)
{
    struct start_op *s = ARENA_NEW(req->arena, struct start_op);

    s->meta = meta;
    s->req = req;
    s->res = res;
    s->whole = call;
    op_start(&s->op, call->loop, "job_start", start_check, start_end);
}

/* ---- stop ---- */

struct stop_op {
    struct op op;
    struct meta *meta;
    const struct job_stop_req *req;
    struct call *whole;
    unsigned tries;
    struct meta_get_req get_req;
    struct meta_get_res got;
    struct meta_put_req put_req;
    struct meta_put_res put;
};

static step_fn stop_read, stop_write, stop_known, stop_end;

static enum step_next stop_read(struct op *op)
{
    struct stop_op *s = OP(op, struct stop_op);

    if (!is_id(s->req->id))
        return op_fail(op, ERR_NOT_FOUND);
    s->get_req = (struct meta_get_req){s->req->arena, job_key(s->req->arena, s->req->id)};
    meta_get(s->meta, &s->get_req, &s->got, op_call(op, stop_write));
    return STEP_WAIT;
}

static enum step_next stop_write(struct op *op)
{
    struct stop_op *s = OP(op, struct stop_op);
    const struct job_kind *kind;
    struct job_record r;
    enum err e = job_record_read(s->req->arena, s->got.value, &r);

    if (e != ERR_OK)
        return op_fail(op, e);
    kind = job_kind_find(r.kind);
    if (kind && !kind->startable)
        return op_fail(op, ERR_INVALID_ARGUMENT); /* the cluster needs it */
    if (r.stop || r.state != JOB_RUNNING)
        return op_go(op, stop_end);
    r.stop = true;
    s->put_req = (struct meta_put_req){
        .key = s->get_req.key, .value = job_record_text(s->req->arena, &r), .revision = s->got.revision};
    meta_put(s->meta, &s->put_req, &s->put, op_try(op, stop_known));
    return STEP_WAIT;
}

static enum step_next stop_known(struct op *op)
{
    struct stop_op *s = OP(op, struct stop_op);

    if (op->call.err == ERR_CONFLICT && ++s->tries < TRIES_MAX)
        return op_go(op, stop_read);
    return op->call.err == ERR_OK ? op_go(op, stop_end) : op_fail(op, op->call.err);
}

static enum step_next stop_end(struct op *op)
{
    call_finish(OP(op, struct stop_op)->whole, op->err);
    return STEP_DONE;
}

void job_stop(struct meta *meta, const struct job_stop_req *req, struct call *call)
{
    struct stop_op *s = ARENA_NEW(req->arena, struct stop_op);

    s->meta = meta;
    s->req = req;
    s->whole = call;
    op_start(&s->op, call->loop, "job_stop", stop_read, stop_end);
}

/* ---- look ---- */

struct look_op {
    struct op op;
    struct meta *meta;
    const struct job_look_req *req;
    struct job_look_res *res;
    struct call *whole;
    struct buf out;
    struct pages jobs;            /* those that are listed */
    struct meta_entry *all_parts; /* of all jobs, by key */
    size_t part_count, part_cap;
    struct meta_get_req get_req;
    struct meta_get_res got;
    struct pages parts; /* of the one that is looked at */
    struct job_record record;
    struct job_at sum;
    bool any;
};

static step_fn look_begin, look_all_parts, look_all, look_list, look_one, look_parts, look_end;

static enum step_next look_begin(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);
    struct arena *a = l->req->arena;

    if (l->req->id.n == 0 && l->req->parts) {
        pages_init(&l->parts, l->meta, a, JOB_AT_KEY);
        pages_ask(&l->parts, op_call(op, look_all_parts));
        return STEP_WAIT;
    }
    if (l->req->id.n == 0)
        return op_go(op, look_all);
    if (!is_id(l->req->id))
        return op_fail(op, ERR_NOT_FOUND);
    l->get_req = (struct meta_get_req){a, job_key(a, l->req->id)};
    meta_get(l->meta, &l->get_req, &l->got, op_call(op, look_one));
    return STEP_WAIT;
}

static void look_part(struct look_op *l, struct str prefix, const struct meta_entry *e)
{
    struct job_at at;

    if (job_at_read(l->req->arena, e->value, &at) != ERR_OK)
        return;
    l->sum.ok += at.ok;
    l->sum.failed += at.failed;
    l->sum.skipped += at.skipped;
    l->sum.bytes += at.bytes;
    js_object(&l->out);
    js_put_str(&l->out, "node", str_skip(e->key, prefix.n));
    job_at_json(&l->out, &at);
    js_end_object(&l->out);
}

static void look_sum(struct look_op *l, struct str key, uint64_t value)
{
    js_key(&l->out, key);
    js_u64(&l->out, value);
}

static void look_sums(struct look_op *l)
{
    look_sum(l, STR("ok"), l->sum.ok);
    look_sum(l, STR("failed"), l->sum.failed);
    look_sum(l, STR("skipped"), l->sum.skipped);
    look_sum(l, STR("bytes"), l->sum.bytes);
}

/* ---- all ---- */

static enum step_next look_all_parts(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);
    uint32_t n = l->parts.res.count;

    if (l->part_count + n > l->part_cap) {
        l->part_cap = 2 * l->part_cap + n;
        struct meta_entry *more = arena_alloc(l->req->arena, l->part_cap * sizeof(*more));
        if (l->part_count)
            memcpy(more, l->all_parts, l->part_count * sizeof(*more));
        l->all_parts = more;
    }
    if (n)
        memcpy(l->all_parts + l->part_count, l->parts.res.entries, n * sizeof(*l->all_parts));
    l->part_count += n;
    if (!pages_more(&l->parts))
        return op_go(op, look_all);
    pages_ask(&l->parts, op_call(op, look_all_parts));
    return STEP_WAIT;
}

static enum step_next look_all(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);

    js_object(&l->out);
    js_key(&l->out, STR("jobs"));
    js_array(&l->out);
    pages_init(&l->jobs, l->meta, l->req->arena, JOB_KEY);
    pages_ask(&l->jobs, op_call(op, look_list));
    return STEP_WAIT;
}

/* The first of all parts whose key is not before `key`. */
static size_t find_part(const struct look_op *l, struct str key)
{
    size_t low = 0, high = l->part_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(l->all_parts[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void list_parts(struct look_op *l, const struct job_record *r)
{
    struct str prefix = job_at_key(l->req->arena, r->id, STR(""));

    l->sum = (struct job_at){0};
    js_key(&l->out, STR("parts"));
    js_array(&l->out);
    for (size_t i = find_part(l, prefix); i < l->part_count && str_starts(l->all_parts[i].key, prefix); i++)
        look_part(l, prefix, &l->all_parts[i]);
    js_end_array(&l->out);
    look_sums(l);
}

static enum step_next look_list(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);

    for (uint32_t i = 0; i < l->jobs.res.count; i++) {
        struct job_record r;
        if (job_record_read(l->req->arena, l->jobs.res.entries[i].value, &r) != ERR_OK)
            continue;
        js_object(&l->out);
        job_record_brief(&l->out, &r);
        if (l->req->parts)
            list_parts(l, &r);
        js_end_object(&l->out);
    }
    if (pages_more(&l->jobs)) {
        pages_ask(&l->jobs, op_call(op, look_list));
        return STEP_WAIT;
    }
    js_end_array(&l->out);
    js_end_object(&l->out);
    return op_go(op, look_end);
}

/* ---- one, with its parts ---- */

static enum step_next look_one(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);
    enum err e = job_record_read(l->req->arena, l->got.value, &l->record);

    if (e != ERR_OK)
        return op_fail(op, e);
    js_object(&l->out);
    job_record_json(&l->out, &l->record);
    js_key(&l->out, STR("parts"));
    js_array(&l->out);
    pages_init(&l->parts, l->meta, l->req->arena, job_at_key(l->req->arena, l->record.id, STR("")));
    pages_ask(&l->parts, op_call(op, look_parts));
    return STEP_WAIT;
}

static enum step_next look_parts(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);

    for (uint32_t i = 0; i < l->parts.res.count; i++)
        look_part(l, l->parts.req.prefix, &l->parts.res.entries[i]);
    if (pages_more(&l->parts)) {
        pages_ask(&l->parts, op_call(op, look_parts));
        return STEP_WAIT;
    }
    js_end_array(&l->out);
    look_sums(l);
    js_end_object(&l->out);
    return op_go(op, look_end);
}

static enum step_next look_end(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);
    enum err e = op->err != ERR_OK ? op->err : buf_err(&l->out);

    if (e == ERR_OK)
        l->res->json = arena_str(l->req->arena, buf_str(&l->out));
    buf_release(&l->out);
    call_finish(l->whole, e);
    return STEP_DONE;
}

void job_look(struct meta *meta, const struct job_look_req *req, struct job_look_res *res, struct call *call)
{
    struct look_op *l = ARENA_NEW(req->arena, struct look_op);

    l->meta = meta;
    l->req = req;
    l->res = res;
    l->whole = call;
    buf_init(&l->out, LOOK_MAX);
    op_start(&l->op, call->loop, "job_look", look_begin, look_end);
}
