/* Objects of a bucket put together into one archive: {"bucket",selection,"to_bucket","archname","mime","base_name_only","include_bucket",
 * "append","continue_on_error","node"}. Members are in the order of the selection. The archive is one write: it is there when all of it is, or
 * not at all. It is made by the target that leads its name; a restart begins anew. */
#include <stdio.h>

#include "base/json.h"
#include "target/job_archive_own.h"
#include "target/job_each.h"
#include "target/job_own.h"

enum {
    REWRITE_MAX = 64 << 20
}; /* of a compressed archive with one restart point: each member is unpacked from there */

static step_fn archive_begin, archive_found, archive_opened, archive_looked, archive_write, archive_written,
    archive_end;

/* ---- the report ---- */

static step_fn report_begin, report_put, report_done, report_end;

static enum step_next report_begin(struct op *op)
{
    struct archive *a = CONTAINER(op, struct archive, report_op);

    system_bucket(a->job.env->buckets, &a->arena, &a->system, op_call(op, report_put));
    return STEP_WAIT;
}

static enum step_next report_put(struct op *op)
{
    struct archive *a = CONTAINER(op, struct archive, report_op);

    a->report_body = source_memory(buf_str(&a->report), NULL, NULL);
    a->report_req = (struct obj_put_req){
        .arena = &a->arena,
        .bucket = a->system.bucket.id,
        .key = arena_printf(&a->arena, "jobs/" STR_FMT "/report/" STR_FMT "/%012d", STR_ARG(a->job.id),
                            STR_ARG(a->job.env->self), 0),
        .cond = COND_INIT,
        .body = a->report_body,
        .check = &a->report_check,
        .size_max = OBJECT_SIZE_MAX,
    };
    store_obj_put(a->job.env->all, &a->report_req, &a->report_put, op_call(op, report_done));
    return STEP_WAIT;
}

static enum step_next report_done(struct op *op)
{
    return op_go(op, report_end);
}

static enum step_next report_end(struct op *op)
{
    struct archive *a = CONTAINER(op, struct archive, report_op);

    source_close(a->report_body);
    if (op->err != ERR_OK || a->report.over)
        job_failed(&a->job, STR("the report"), op->err != ERR_OK ? op->err : ERR_TOO_LARGE);
    call_finish(a->reporting, ERR_OK);
    return STEP_DONE;
}

/* ---- the job ---- */

static enum step_next archive_begin(struct op *op)
{
    struct archive *a = OP(op, struct archive);
    const struct doc *spec = a->job.spec;
    struct str mime = job_spec_text(spec, STR("mime")), to = job_spec_text(spec, STR("to_bucket"));

    a->name = job_spec_text(spec, STR("archname"));
    a->format = mime.n ? arc_format_of_mime(mime) : arc_format_of_name(a->name);
    if (a->format == ARC_NONE)
        a->format = ARC_TAR;
    a->base_only = job_spec_flag(spec, STR("base_name_only"));
    a->with_bucket = job_spec_flag(spec, STR("include_bucket"));
    a->appends = job_spec_flag(spec, STR("append"));
    a->goes_on = job_spec_flag(spec, STR("continue_on_error"));
    job_forgive(&a->job);
    a->job.ok = a->job.skipped = a->job.bytes = 0;
    a->look_req = (struct bucket_look_req){&a->arena, to.n ? to : job_spec_text(spec, STR("bucket"))};
    buckets_look(a->job.env->buckets, &a->look_req, &a->looked, op_call(op, archive_found));
    return STEP_WAIT;
}

static enum step_next archive_found(struct op *op)
{
    struct archive *a = OP(op, struct archive);

    a->to = a->looked.bucket;
    if (!doc_get(a->job.spec, STR("node")) && !job_leads(a->job.env, a->to.id, a->name))
        return op_go(op, archive_end);
    a->is_open = true;
    job_select_open(&a->select, &a->job, a->job.spec, 0, op_call(op, archive_opened));
    return STEP_WAIT;
}

static enum step_next archive_opened(struct op *op)
{
    struct archive *a = OP(op, struct archive);

    if (!a->appends)
        return op_go(op, archive_write);
    if (!a->job.env->arcs)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    a->old_req = (struct arcs_look_req){.arena = &a->arena, .bucket = a->to.id, .key = a->name, .format = a->format};
    arcs_look(a->job.env->arcs, &a->old_req, &a->old, op_try(op, archive_looked));
    return STEP_WAIT;
}

/* A TAR gets the new members in place of its trailer. Others are written anew, with the old members first. */
static enum step_next archive_looked(struct op *op)
{
    struct archive *a = OP(op, struct archive);

    if (op->call.err == ERR_NO_SUCH_KEY) {
        a->old.index = NULL;
        return op_go(op, archive_write);
    }
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    a->splices = a->format == ARC_TAR;
    bool is_slow = a->format != ARC_ZIP && a->old.index->restart_count <= 1 && a->old.index->end > REWRITE_MAX;
    if (!a->splices && is_slow)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    return op_go(op, archive_write);
}

static enum step_next archive_write(struct op *op)
{
    struct archive *a = OP(op, struct archive);
    struct cond cond = COND_INIT;

    if (a->old.index)
        cond.if_match = arena_str(&a->arena, etag_str(&a->old.info.etag));
    a->body = archive_walk_open(a);
    if (a->splices) {
        a->splice_req = (struct obj_splice_req){.arena = &a->arena,
                                                .bucket = a->to.id,
                                                .key = a->name,
                                                .cond = cond,
                                                .offset = a->old.index->end,
                                                .cut = a->old.info.size - a->old.index->end,
                                                .body = a->body,
                                                .check = &a->check,
                                                .size_max = OBJECT_SIZE_MAX};
        store_obj_splice(archive_store(a), &a->splice_req, &a->splice, op_try(op, archive_written));
        return STEP_WAIT;
    }
    a->put_req = (struct obj_put_req){.arena = &a->arena,
                                      .bucket = a->to.id,
                                      .key = a->name,
                                      .cond = cond,
                                      .body = a->body,
                                      .check = &a->check,
                                      .size_max = OBJECT_SIZE_MAX};
    struct attr *type = ARENA_NEW(&a->arena, struct attr);
    *type = (struct attr){STR("content-type"), arc_format_type(a->format)};
    a->put_req.info.attrs = type;
    a->put_req.info.attr_count = 1;
    store_obj_put(archive_store(a), &a->put_req, &a->put, op_call(op, archive_written));
    return STEP_WAIT;
}

/* Content that can't be changed in place, in several copies or slices, is refused before any of it was asked for. */
static enum step_next archive_written(struct op *op)
{
    struct archive *a = OP(op, struct archive);
    struct source *body = a->body;

    if (op->call.err == ERR_OK)
        return op_go(op, archive_end);
    if (op->call.err != ERR_NOT_IMPLEMENTED || !a->splices || a->begun)
        return op_fail(op, op->call.err);
    a->splices = false;
    a->body = NULL;
    a->closing = op_try(op, archive_write);
    source_close(body);
    return STEP_WAIT;
}

/* Waits for what the walk has under way, and for the report. */
static enum step_next archive_end(struct op *op)
{
    struct archive *a = OP(op, struct archive);

    if (a->body) {
        struct source *body = a->body;
        a->body = NULL;
        a->closing = op_try(op, archive_end);
        source_close(body);
        return STEP_WAIT;
    }
    if (a->report.n && !a->reporting) {
        a->reporting = op_try(op, archive_end);
        op_start(&a->report_op, op->loop, "archive_report", report_begin, report_end);
        return STEP_WAIT;
    }
    if (a->is_open)
        job_select_close(&a->select);
    buf_release(&a->report);
    arena_release(&a->arena);
    job_each_end(&a->job, op->err);
    return STEP_DONE;
}

static void run(struct job *job)
{
    op_start(&CONTAINER(job, struct archive, job)->op, job->env->loop, "archive", archive_begin, archive_end);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct archive, job)->op, ERR_CANCELLED);
}

/* ---- what can be asked ---- */

static enum err refuse(char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return ERR_INVALID_ARGUMENT;
}

static enum err check(const struct doc *spec, char why[256])
{
    static const char *const names[] = {
        "bucket",         "names",          "names_in", "template",          "prefix", "to_bucket", "archname", "mime",
        "base_name_only", "include_bucket", "append",   "continue_on_error", "node",   NULL};
    struct str name = job_spec_text(spec, STR("archname")), mime = job_spec_text(spec, STR("mime"));
    enum arc_format by_name = arc_format_of_name(name), by_mime = mime.n ? arc_format_of_mime(mime) : ARC_NONE;
    enum err e;

    if ((e = job_select_check(spec, why)) != ERR_OK || (e = job_spec_known(spec, names, why)) != ERR_OK)
        return e;
    if (name.n == 0 || name.n > KEY_MAX)
        return refuse(why, "\"archname\" names the archive: 1 to 1024 bytes");
    if (bucket_is_system(job_spec_text(spec, STR("to_bucket"))))
        return refuse(why, "\"to_bucket\" can't be a bucket of the system");
    if (mime.n && by_mime == ARC_NONE)
        return refuse(why, "\"mime\" is one of .tar, .tgz, .tar.gz, .zip, .tar.lz4, .tar.zst");
    if (mime.n && by_name != ARC_NONE && by_name != by_mime)
        return refuse(why, "the extension of \"archname\" and \"mime\" contradict each other");
    return ERR_OK;
}

const struct job_kind job_archive = {
    .name = "archive", .size = sizeof(struct archive), .startable = true, .check = check, .run = run, .stop = stop};
