/* /v1/etl: ETLs made, looked at, stopped, started and deleted. */
#include "base/mem.h"
#include "etl/admin.h"
#include "gateway/native_report.h"
#include "gateway/native_steps.h"
#include "store/members.h"

step_fn native_etl_get, native_etl_put, native_etl_post, native_etl_delete; /* native_routes.def */

enum { OBJECT_ERRORS_SHOWN = 1000, STATUS_FAILED = 500 };

struct etl_state {
    struct etl_admin_env env;
    struct etl_create_req create;
    struct etl_create_res created;
    struct etl_name_req name;
    struct etl_info info;
    struct etl_list_res list;
    /* logs, of one node after the other */
    struct str node;
    size_t at;
    bool begun;
    struct etl_logs_req logs_req;
    struct etl_logs_res logs;
};

static step_fn etl_created, etl_started, etl_done, etl_listed, etl_viewed, etl_reported, etl_health, etl_metrics,
    etl_logs_found, etl_logs_next, etl_logs_told;

static enum err begin(struct native_request *r, struct etl_state **out)
{
    struct etl_state *s = r->state = *out = ARENA_NEW(r->arena, struct etl_state);
    const struct native_etl *etl = r->env->etl;

    if (!etl)
        return native_error(r, ERR_NOT_IMPLEMENTED, "ETLs are off here: see the setting etl.runtime");
    s->env = (struct etl_admin_env){r->env->loop, etl->meta, etl->nodes, etl->arg};
    s->name = (struct etl_name_req){r->arena, r->raw_count > 1 ? r->raw[1] : STR("")};
    if (s->name.name.n && !etl_name_is_valid(s->name.name))
        return native_error(r, ERR_INVALID_ARGUMENT,
                            "\"" STR_FMT "\" is no name of an ETL: %d to %d lower-case letters, digits and '-'",
                            STR_ARG(s->name.name), ETL_NAME_MIN, ETL_NAME_MAX);
    return ERR_OK;
}

/* Whoever makes an ETL runs programs on the nodes. */
static enum err may_change(struct native_request *r)
{
    const struct native_etl *etl = r->env->etl;
    bool may = r->admin;

    for (size_t i = 0; i < etl->admin_count && !may; i++)
        may = str_eq(etl->admins[i], r->who);
    if (may)
        return ERR_OK;
    r->error_status = 403;
    return native_error(r, ERR_ACCESS_DENIED,
                        "\"" STR_FMT "\" may not make or change ETLs: the administrator allows it by etl.admins",
                        STR_ARG(r->who));
}

static enum err fail(struct native_request *r, enum err e, const char *why)
{
    const struct etl_state *s = r->state;

    if (e == ERR_NO_SUCH_ETL) {
        r->error_status = 404;
        return native_error(r, e, "etl[" STR_FMT "] does not exist", STR_ARG(s->name.name));
    }
    if (e == ERR_EXISTS)
        r->error_status = 409;
    if (e == ERR_ETL || e == ERR_UNAVAILABLE || e == ERR_TIMEOUT)
        r->error_status = 400; /* trying again gives the same */
    return native_error(r, e, "%s", why && *why ? why : err_text(e));
}

/* ---- changes ---- */

enum step_next native_etl_put(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct etl_state *s;
    enum err e = begin(r, &s);

    if (e == ERR_OK)
        e = may_change(r);
    if (e == ERR_OK && s->name.name.n)
        e = native_error(r, ERR_NOT_IMPLEMENTED, "PUT etl: the name is that of the specification in the body");
    if (e == ERR_OK && r->raw_body.n == 0)
        e = native_error(r, ERR_INVALID_ARGUMENT, "PUT etl: the body must be the specification of an ETL");
    if (e != ERR_OK)
        return op_fail(op, e);
    s->create = (struct etl_create_req){.arena = r->arena, .text = r->raw_body, .owner = r->who};
    etl_create(&s->env, &s->create, &s->created, op_try(op, etl_created));
    return STEP_WAIT;
}

static enum step_next etl_created(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct etl_state *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, s->created.why));
    buf_add_str(&r->text, s->created.id);
    r->type = STR("text/plain");
    return op_go(op, native_send);
}

enum step_next native_etl_post(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct str what = r->raw_count > 2 ? r->raw[2] : STR("");
    struct etl_state *s;
    enum err e = begin(r, &s);

    if (e == ERR_OK)
        e = may_change(r);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (str_eq(what, STR("start")))
        etl_start(&s->env, &s->name, &s->created, op_try(op, etl_started));
    else if (str_eq(what, STR("stop")))
        etl_stop(&s->env, &s->name, op_try(op, etl_done));
    else
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED, "POST etl/NAME/" STR_FMT " is not served: start, stop",
                                        STR_ARG(what)));
    return STEP_WAIT;
}

static enum step_next etl_started(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct etl_state *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, s->created.why));
    buf_add_str(&r->text, s->created.id);
    r->type = STR("text/plain");
    return op_go(op, native_send);
}

enum step_next native_etl_delete(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct etl_state *s;
    enum err e = begin(r, &s);

    if (e == ERR_OK)
        e = may_change(r);
    if (e == ERR_OK && s->name.name.n == 0)
        e = native_error(r, ERR_INVALID_ARGUMENT, "DELETE etl: which one?");
    if (e != ERR_OK)
        return op_fail(op, e);
    etl_delete(&s->env, &s->name, op_try(op, etl_done));
    return STEP_WAIT;
}

static enum step_next etl_done(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, NULL));
    return op_go(op, native_send);
}

/* ---- looks ---- */

static struct str stage_text(enum etl_stage_name stage)
{
    static const char *const names[] = {"Initializing", "Running", "Aborted"};

    return str_z(names[stage]);
}

enum step_next native_etl_get(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct str rest = r->raw_count > 2 ? r->raw[2] : STR(""), what = str_split(&rest, '/');
    struct etl_state *s;
    step_fn *next = str_eq(what, STR("health"))    ? etl_health
                    : str_eq(what, STR("metrics")) ? etl_metrics
                    : str_eq(what, STR("logs"))    ? etl_logs_found
                    : what.n == 0                  ? etl_viewed
                                                   : NULL;
    enum err e = begin(r, &s);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (s->name.name.n == 0) {
        etl_list(&s->env, r->arena, &s->list, op_try(op, etl_listed));
        return STEP_WAIT;
    }
    if (!next)
        return op_fail(op,
                       native_error(r, ERR_NOT_IMPLEMENTED, "GET etl/NAME/" STR_FMT " is not served", STR_ARG(what)));
    s->node = rest;
    etl_look(&s->env, &s->name, &s->info, op_try(op, next));
    return STEP_WAIT;
}

static enum step_next etl_listed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct etl_state *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, NULL));
    js_array(&r->text);
    for (size_t i = 0; i < s->list.count; i++) {
        const struct etl_info *info = &s->list.list[i];
        uint64_t objects = 0, in = 0, out = 0;
        for (size_t k = 0; k < info->node_count; k++) {
            objects += info->nodes[k].objects;
            in += info->nodes[k].in_bytes;
            out += info->nodes[k].out_bytes;
        }
        js_object(&r->text);
        js_put_str(&r->text, "id", info->name);
        js_put_str(&r->text, "stage", stage_text(info->stage));
        js_put_str(&r->text, "xaction_id", info->id);
        js_put_u64(&r->text, "obj_count", objects);
        js_put_u64(&r->text, "in_bytes", in);
        js_put_u64(&r->text, "out_bytes", out);
        js_end_object(&r->text);
    }
    js_end_array(&r->text);
    return op_go(op, native_send);
}

static void add_spec(struct native_request *r, const struct etl_spec *spec)
{
    struct buf b = BUF_INIT(ETL_SPEC_MAX);

    etl_spec_write(&b, spec);
    js_raw(&r->text, buf_str(&b));
    buf_release(&b);
}

static void add_error(struct native_request *r, struct str object, struct str message, uint64_t status)
{
    js_object(&r->text);
    js_put_str(&r->text, "obj_name", object);
    js_put_str(&r->text, "msg", message);
    js_put_u64(&r->text, "ecode", status);
    js_end_object(&r->text);
}

/* Of a job, when one is named: what its report says has failed, the first of it. */
static void add_failed(struct native_request *r, struct str report)
{
    char why[DOC_WHY_MAX];
    struct doc *d;

    for (unsigned n = 0; report.n && n < OBJECT_ERRORS_SHOWN;) {
        struct str line = str_split(&report, '\n');
        if (line.n == 0 || js_read(r->arena, line, &d, why) != ERR_OK || !native_text(d, "error").n ||
            str_eq(native_text(d, "result"), STR("skipped")))
            continue;
        n++;
        struct str message = native_text(d, "message");
        add_error(r, native_text(d, "name"), message.n ? message : native_text(d, "error"), STATUS_FAILED);
    }
}

static enum step_next view_answer(struct native_request *r, struct str report)
{
    const struct etl_state *s = r->state;

    buf_reset(&r->text);
    js_object(&r->text);
    js_key(&r->text, STR("init_msg"));
    add_spec(r, &s->info.spec);
    js_key(&r->text, STR("obj_errors"));
    js_array(&r->text);
    add_failed(r, report);
    for (size_t i = 0; i < s->info.node_count && !native_query(r, STR("uuid")).n; i++)
        for (size_t k = 0; k < s->info.nodes[i].object_error_count; k++) {
            const struct etl_object_error *e = &s->info.nodes[i].object_errors[k];
            add_error(r, e->object, e->message, (uint64_t)e->status);
        }
    js_end_array(&r->text);
    js_put_str(&r->text, "stage", stage_text(s->info.stage));
    js_end_object(&r->text);
    return op_go(&r->op, native_send);
}

static enum step_next etl_viewed(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct str job = native_query(r, STR("uuid"));

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, NULL));
    if (str_find_char(job, '/') != SIZE_MAX)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "uuid: no job is called so"));
    return job.n ? native_report(r, job, etl_reported) : view_answer(r, STR(""));
}

static enum step_next etl_reported(struct op *op)
{
    struct native_request *r = NATIVE(op);

    return view_answer(r, arena_str(r->arena, buf_str(&r->text)));
}

/* One machine is known to clients by another id than to itself. */
static struct str node_id(const struct native_request *r, struct str node)
{
    return r->env->members ? node : r->env->conf->node_id;
}

static enum step_next etl_health(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct etl_state *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, NULL));
    js_array(&r->text);
    for (size_t i = 0; i < s->info.node_count; i++) {
        const struct etl_node_state *n = &s->info.nodes[i];
        js_object(&r->text);
        js_put_str(&r->text, "target_id", node_id(r, n->node));
        js_put_str(&r->text, "health_status",
                   str_eq(n->state, STR("ready"))    ? STR("Running")
                   : str_eq(n->state, STR("failed")) ? STR("Failed")
                                                     : STR("Pending"));
        js_put_str(&r->text, "error", n->error);
        js_put_u64(&r->text, "restarts", n->restarts);
        js_end_object(&r->text);
    }
    js_end_array(&r->text);
    return op_go(op, native_send);
}

static enum step_next etl_metrics(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct etl_state *s = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, NULL));
    js_array(&r->text);
    for (size_t i = 0; i < s->info.node_count; i++) {
        const struct etl_node_state *n = &s->info.nodes[i];
        js_object(&r->text);
        js_put_str(&r->text, "target_id", node_id(r, n->node));
        js_key(&r->text, STR("cpu"));
        js_raw(&r->text, arena_printf(r->arena, "%.3f", n->cpu));
        js_put_u64(&r->text, "mem", n->memory);
        js_put_u64(&r->text, "objects", n->objects);
        js_put_u64(&r->text, "errors", n->errors);
        js_put_u64(&r->text, "in_bytes", n->in_bytes);
        js_put_u64(&r->text, "out_bytes", n->out_bytes);
        js_end_object(&r->text);
    }
    js_end_array(&r->text);
    return op_go(op, native_send);
}

/* ---- logs ---- */

static enum step_next etl_logs_found(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, fail(r, op->call.err, NULL));
    js_array(&r->text);
    return op_go(op, etl_logs_next);
}

static enum step_next etl_logs_next(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct etl_state *s = r->state;

    while (s->at < s->info.node_count && s->node.n && !str_eq(s->node, node_id(r, s->info.nodes[s->at].node)))
        s->at++;
    if (s->at == s->info.node_count) {
        if (s->node.n && !s->begun) {
            r->error_status = 404;
            return op_fail(op, native_error(r, ERR_NOT_FOUND, "node \"" STR_FMT "\" runs no sidecar of that ETL",
                                            STR_ARG(s->node)));
        }
        js_end_array(&r->text);
        return op_go(op, native_send);
    }
    s->begun = true;
    s->logs_req = (struct etl_logs_req){r->arena, s->name.name, s->info.nodes[s->at].node};
    etl_logs(r->env->s3->door, &s->logs_req, &s->logs, op_try(op, etl_logs_told));
    return STEP_WAIT;
}

static enum step_next etl_logs_told(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct etl_state *s = r->state;
    struct str text = op->call.err == ERR_OK ? s->logs.text : str_z(err_text(op->call.err));
    char *encoded = arena_alloc(r->arena, BASE64_LEN(text.n) + 1);

    js_object(&r->text);
    js_put_str(&r->text, "target_id", node_id(r, s->info.nodes[s->at++].node));
    js_put_str(&r->text, "logs", str_n(encoded, base64_encode(text.p, text.n, encoded)));
    js_end_object(&r->text);
    return op_go(op, etl_logs_next);
}
