/* Groups of objects: delete, evict, prefetch, copy and archive what a list or a template names; copy-bck for a whole bucket. All are
 * jobs. A list that is long goes into an object of the system bucket before its job begins. */
#include <stdio.h>

#include "base/template.h"
#include "gateway/native_jobs.h"
#include "store/job_names.h"

enum { NAMES_INLINE = 100, INLINE_BYTES = 8192, OPTIONS_MAX = 16384 };

struct group {
    struct native_job job;
    const struct doc *names; /* of a list that goes into an object */
    struct buf text;
    struct system_bucket_res system;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct body_check check;
    struct source *body;
    struct native_bucket to;
    struct bucket_create_req create_req;
    struct bucket_create_res created;
    void (*options)(struct native_request *r, struct group *g); /* the rest of the spec */
    bool dry;
};

static step_fn group_run, group_put, group_kept, group_start, group_started;

static void release(void *b)
{
    buf_release(b);
}

static struct group *group_new(struct native_request *r)
{
    struct group *g = ARENA_NEW(r->arena, struct group);

    r->state = g;
    return g;
}

/* ---- which objects ---- */

static enum err take_list(struct native_request *r, struct group *g, const struct doc *names)
{
    size_t bytes = 0;

    if (names->kind != DOC_LIST || names->count == 0)
        return native_error(r, ERR_INVALID_ARGUMENT, "objnames is a list of at least one name");
    for (const struct doc *d = names->first; d; d = d->next) {
        if (d->kind != DOC_SCALAR || d->text.n == 0 || d->text.n > KEY_MAX)
            return native_error(r, ERR_INVALID_ARGUMENT, "objnames: a name has 1 to %d bytes", KEY_MAX);
        bytes += d->text.n;
    }
    if (names->count > NAMES_INLINE || bytes > INLINE_BYTES) {
        g->names = names;
        return ERR_OK;
    }
    js_key(&g->job.spec, STR("names"));
    js_array(&g->job.spec);
    for (const struct doc *d = names->first; d; d = d->next)
        js_str(&g->job.spec, d->text);
    js_end_array(&g->job.spec);
    return ERR_OK;
}

/* {"objnames":[...]} or {"template":"..."} */
static enum err take_selection(struct native_request *r, struct group *g)
{
    const struct doc *names = native_value(r, "objnames");
    struct str template = native_text(r->action.value, "template");
    struct template parsed;
    char why[256];

    if (names && template.p && template.n)
        return native_error(r, ERR_INVALID_ARGUMENT, "objnames and template: only one of them");
    if (names)
        return take_list(r, g, names);
    if (!template.p)
        return native_error(r, ERR_INVALID_ARGUMENT, "say which objects: objnames or template");
    if (template_parse(r->arena, template, &parsed, why) != ERR_OK)
        return native_error(r, ERR_INVALID_ARGUMENT, "template \"" STR_FMT "\": %s", STR_ARG(template), why);
    if (parsed.names == UINT64_MAX)
        return native_error(r, ERR_INVALID_ARGUMENT, "template \"" STR_FMT "\" has no end", STR_ARG(template));
    native_job_text(&g->job, "template", template);
    return ERR_OK;
}

/* ---- the list, when it is long ---- */

static enum step_next group_run(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct group *g = r->state;

    if (!g->names)
        return op_go(op, group_start);
    system_bucket(r->env->s3->buckets, r->arena, &g->system, op_call(op, group_put));
    return STEP_WAIT;
}

static void close_body(void *arg)
{
    source_close(((struct group *)arg)->body);
}

static enum step_next group_put(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct group *g = r->state;
    struct str key = arena_printf(r->arena, JOB_NAMES_KEY_FMT, STR_ARG(g->job.id));

    buf_init(&g->text, JOB_NAMES_TEXT_MAX);
    arena_defer(r->arena, release, &g->text);
    for (const struct doc *d = g->names->first; d; d = d->next)
        job_names_add(&g->text, d->text);
    if (buf_err(&g->text) != ERR_OK)
        return op_fail(op, native_error(r, ERR_TOO_LARGE, "objnames is too long"));
    g->body = source_memory(buf_str(&g->text), NULL, NULL);
    arena_defer(r->arena, close_body, g);
    native_job_text(&g->job, "names_in", key);
    g->put_req = (struct obj_put_req){.arena = r->arena,
                                      .bucket = g->system.bucket.id,
                                      .key = key,
                                      .cond = COND_INIT,
                                      .body = g->body,
                                      .check = &g->check,
                                      .size_max = JOB_NAMES_TEXT_MAX};
    store_obj_put(r->env->s3->store, &g->put_req, &g->put, op_call(op, group_kept));
    return STEP_WAIT;
}

static enum step_next group_kept(struct op *op)
{
    return op_go(op, group_start);
}

static enum step_next group_start(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct group *g = r->state;

    if (g->options)
        g->options(r, g);
    native_job_start(r, &g->job, op_try(op, group_started));
    return STEP_WAIT;
}

static enum step_next group_started(struct op *op)
{
    const struct group *g = NATIVE(op)->state;

    return native_job_answer(op, &g->job);
}

/* ---- delete, evict, prefetch ---- */

/* "num-workers": negative is one, 0 is as many as usual. */
static void put_workers(struct native_request *r, struct group *g)
{
    struct str text = native_text(r->action.value, "num-workers");
    uint64_t n;

    if (text.n && text.p[0] == '-')
        n = 1;
    else if (!text.n || !str_to_u64(text, 1024, &n) || n == 0)
        return;
    js_put_u64(&g->job.spec, "workers", n);
}

static enum step_next begin(struct op *op, const char *engine)
{
    struct native_request *r = NATIVE(op);
    struct group *g = group_new(r);
    enum err e;

    native_job_begin(r, &g->job, engine, r->bucket.found.id.name);
    g->options = put_workers;
    e = take_selection(r, g);
    return e == ERR_OK ? op_go(op, group_run) : op_fail(op, e);
}

enum step_next native_delete_group(struct op *op)
{
    return begin(op, "delete-list");
}

static enum err refuse_own(struct native_request *r)
{
    if (r->bucket.found.id.backend)
        return ERR_OK;
    return native_error(r, ERR_INVALID_ARGUMENT, "%s: " STR_FMT " has no remote bucket behind it", r->route->name,
                        STR_ARG(native_bucket_text(r->arena, &r->bucket)));
}

enum step_next native_evict_group(struct op *op)
{
    enum err e = refuse_own(NATIVE(op));

    return e == ERR_OK ? begin(op, "evict-list") : op_fail(op, e);
}

static void prefetch_options(struct native_request *r, struct group *g)
{
    put_workers(r, g);
    native_job_flag(&g->job, "latest", native_flag(r->action.value, "latest-ver"));
}

enum step_next native_prefetch_group(struct op *op)
{
    struct native_request *r = NATIVE(op);
    enum err e = refuse_own(r);
    enum step_next next;

    if (e != ERR_OK)
        return op_fail(op, e);
    next = begin(op, "prefetch-list");
    if (r->state)
        ((struct group *)r->state)->options = prefetch_options;
    return next;
}

/* ---- copies ---- */

static step_fn to_find, to_found, to_created, to_known;

static void copy_options(struct native_request *r, struct group *g)
{
    const struct doc *v = r->action.value, *ext = native_value(r, "ext");

    native_job_text(&g->job, "to", g->to.found.id.name);
    if (native_text(v, "prepend").n)
        native_job_text(&g->job, "prepend", native_text(v, "prepend"));
    if (ext && ext->kind == DOC_MAP && ext->count) {
        js_key(&g->job.spec, STR("ext"));
        js_doc(&g->job.spec, ext);
    }
    native_job_flag(&g->job, "dry_run", g->dry);
    native_job_flag(&g->job, "force", native_flag(v, "force"));
    native_job_flag(&g->job, "latest", native_flag(v, "latest-ver"));
    native_job_flag(&g->job, "synchronize", native_flag(v, "synchronize"));
    native_job_flag(&g->job, "stop_on_error", !native_flag(v, "coer"));
    put_workers(r, g);
}

static void put_stage(struct group *g, struct str name, struct str args)
{
    js_object(&g->job.spec);
    js_put_str(&g->job.spec, "name", name);
    if (args.n)
        js_put_str(&g->job.spec, "args", args);
    js_end_object(&g->job.spec);
}

/* "args" is ours: of all stages, or a list of one text for each. */
static struct str stage_args(struct native_request *r, size_t stage)
{
    const struct doc *args = native_value(r, "args");

    if (args && args->kind == DOC_SCALAR)
        return args->text;
    const struct doc *d = args && args->kind == DOC_LIST ? args->first : NULL;
    for (; d && stage; stage--)
        d = d->next;
    return d && d->kind == DOC_SCALAR ? d->text : STR("");
}

/* request_timeout is passed over, as AIStore does: an ETL says itself how long an object may take. */
static void etl_options(struct native_request *r, struct group *g)
{
    const struct doc *rest = native_value(r, "pipeline");
    size_t stage = 0;

    copy_options(r, g);
    native_job_flag(&g->job, "members", native_flag(r->action.value, "members"));
    js_key(&g->job.spec, STR("etl"));
    js_array(&g->job.spec);
    put_stage(g, native_text(r->action.value, "id"), stage_args(r, stage++));
    for (const struct doc *d = rest && rest->kind == DOC_LIST ? rest->first : NULL; d; d = d->next)
        put_stage(g, d->text, stage_args(r, stage++));
    js_end_array(&g->job.spec);
}

static enum err check_etl(struct native_request *r)
{
    const struct doc *rest = native_value(r, "pipeline");
    struct str id = native_text(r->action.value, "id");
    char found[ETL_ID_MAX];
    enum err e = ERR_OK;

    if (!r->env->s3->door)
        return native_error(r, ERR_NOT_IMPLEMENTED, "ETLs are off here: see the setting etl.runtime");
    if (rest && rest->kind != DOC_LIST)
        return native_error(r, ERR_INVALID_ARGUMENT, "pipeline is a list of names of ETLs");
    for (const struct doc *d = NULL;; d = d ? d->next : rest ? rest->first : NULL) {
        struct str name = d ? d->text : id;
        if (!etl_stage_name_is_valid(name))
            return native_error(r, ERR_INVALID_ARGUMENT, "\"" STR_FMT "\" is no name of an ETL", STR_ARG(name));
        if (r->env->etl_names && !etl_names_find(r->env->etl_names, name, found)) {
            r->error_status = 404;
            return native_error(r, ERR_NO_SUCH_ETL, "etl[" STR_FMT "] does not exist", STR_ARG(name));
        }
        if (d ? !d->next : !rest || !rest->first)
            break;
    }
    return e;
}

static void archive_options(struct native_request *r, struct group *g)
{
    const struct doc *v = r->action.value;

    native_job_text(&g->job, "to_bucket", g->to.found.id.name);
    native_job_text(&g->job, "archname", native_text(v, "archname"));
    if (native_text(v, "mime").n)
        native_job_text(&g->job, "mime", native_text(v, "mime"));
    native_job_flag(&g->job, "include_bucket", native_flag(v, "isbn"));
    native_job_flag(&g->job, "base_name_only", native_flag(v, "bnonly"));
    native_job_flag(&g->job, "append", native_flag(v, "aate"));
    native_job_flag(&g->job, "continue_on_error", native_flag(v, "coer"));
}

/* The destination is made when it is missing, as the source is. */
static enum step_next to_find(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct group *g = r->state;

    native_bucket_find(r, &g->to, op_try(op, to_found));
    return STEP_WAIT;
}

static enum step_next to_found(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct group *g = r->state;
    enum err e = op->call.err;

    if (e == ERR_OK)
        return op_go(op, to_known);
    if (e != ERR_NO_SUCH_BUCKET || g->to.provider != PROVIDER_AIS || g->to.uuid.n || !g->options ||
        g->options == archive_options)
        return op_fail(op, e);
    r->message = STR("");
    r->tcode = STR("");
    r->error_status = 0;
    if (g->dry) { /* nothing will be written there */
        g->to.found = r->bucket.found;
        return op_go(op, to_known);
    }
    g->create_req = (struct bucket_create_req){.arena = r->arena,
                                               .name = native_bucket_own_name(r->arena, &g->to),
                                               .owner = r->who,
                                               .redundancy = r->bucket.found.id.redundancy};
    buckets_create(r->env->s3->buckets, &g->create_req, &g->created, op_try(op, to_created));
    return STEP_WAIT;
}

static enum step_next to_created(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct group *g = r->state;
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_BUCKET_OWNED && e != ERR_BUCKET_EXISTS)
        return op_fail(op, native_fail(r, e, &g->to, STR_NONE)); /* BUCKET_*: somebody else did */
    g->to.found = g->created.bucket;
    return op_go(op, to_known);
}

static enum step_next to_known(struct op *op)
{
    return op_go(op, group_run);
}

/* Copies of a list: into tobck, or the bucket itself. */
static enum err take_to(struct native_request *r, struct group *g)
{
    const struct doc *to = native_value(r, "tobck");

    if (to && native_text(to, "name").n)
        return native_bucket_of_doc(r, to, &g->to);
    g->to = r->bucket;
    return ERR_OK;
}

static enum step_next copy_group(struct op *op, const char *kind,
                                 void (*options)(struct native_request *r, struct group *g))
{
    struct native_request *r = NATIVE(op);
    struct group *g = group_new(r);
    enum err e;

    native_job_begin(r, &g->job, kind, r->bucket.found.id.name);
    g->options = options;
    g->dry = native_flag(r->action.value, "dry_run");
    if (native_text(r->action.value, "prefix").n)
        return op_fail(
            op, native_error(r, ERR_NOT_IMPLEMENTED, "%s: prefix is not implemented beside names", r->route->name));
    if ((e = take_selection(r, g)) != ERR_OK || (e = take_to(r, g)) != ERR_OK)
        return op_fail(op, e);
    return op_go(op, to_find);
}

enum step_next native_copy_group(struct op *op)
{
    return copy_group(op, "copy-list", copy_options);
}

enum step_next native_etl_group(struct op *op)
{
    enum err e = check_etl(NATIVE(op));

    return e == ERR_OK ? copy_group(op, "etl-list", etl_options) : op_fail(op, e);
}

enum step_next native_archive_group(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct group *g = group_new(r);
    enum err e;

    native_job_begin(r, &g->job, "archive", r->bucket.found.id.name);
    g->options = archive_options;
    if (native_text(r->action.value, "archname").n == 0)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "archive: archname says what the archive is called"));
    if ((e = take_selection(r, g)) != ERR_OK || (e = take_to(r, g)) != ERR_OK)
        return op_fail(op, e);
    return op_go(op, to_find);
}

static enum step_next copy_bucket(struct op *op, const char *kind,
                                  void (*options)(struct native_request *r, struct group *g))
{
    struct native_request *r = NATIVE(op);
    struct group *g = group_new(r);
    struct str object = STR_NONE;
    enum err e;

    native_job_begin(r, &g->job, kind, r->bucket.found.id.name);
    native_job_text(&g->job, "prefix", native_text(r->action.value, "prefix"));
    g->options = options;
    g->dry = native_flag(r->action.value, "dry_run");
    if ((e = native_bucket_of_uname(r, native_query(r, STR("bck_to")), &g->to, &object)) != ERR_OK)
        return op_fail(op, e);
    if (!g->dry && str_eq(native_bucket_own_name(r->arena, &g->to), r->bucket.found.id.name))
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT, "%s: " STR_FMT " can't be copied onto itself",
                                        r->route->name, STR_ARG(native_bucket_text(r->arena, &g->to))));
    return op_go(op, to_find);
}

enum step_next native_copy_bucket(struct op *op)
{
    return copy_bucket(op, "copy", copy_options);
}

enum step_next native_etl_bucket(struct op *op)
{
    enum err e = check_etl(NATIVE(op));

    return e == ERR_OK ? copy_bucket(op, "etl", etl_options) : op_fail(op, e);
}
