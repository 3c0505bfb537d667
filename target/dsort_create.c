#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pack.h"
#include "target/dsort_own.h"
#include "target/job_own.h"

/* The second half of the jobs that make shards: sample after sample fills a shard, which is then packed and put as a whole. */

static step_fn shard_next, shard_took, shard_put, shard_done, shards_ended, end_files, end_samples, end_select;

static void note(struct dsort *d)
{
    snprintf(d->job.note, sizeof(d->job.note), "creation samples=%llu shards=%llu",
             (unsigned long long)spool_count(d->samples), (unsigned long long)d->shards);
}

enum step_next dsort_begin_shards(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);

    d->map_at = UINT32_MAX;
    note(d);
    return op_go(op, shard_next);
}

/* ---- filling ---- */

static void empty(struct dsort *d)
{
    arena_release(&d->shard);
    free(d->list);
    d->list = NULL;
    d->list_n = d->list_cap = 0;
    d->shard_bytes = d->shard_samples = 0;
}

static enum step_next shard_next(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);

    if (d->job.stopping)
        return op_fail(op, ERR_CANCELLED);
    if (d->held_over) { /* it did not fit into the last one */
        d->held_over = false;
        return op_go(op, shard_took);
    }
    spool_next(d->samples, &d->item, &d->end, op_call(op, shard_took));
    return STEP_WAIT;
}

static uint64_t sample_bytes(struct str value)
{
    struct dsort_file f;
    struct unpack u;
    uint64_t bytes = 0;
    uint32_t n;

    unpack_init(&u, value);
    n = unpack_array(&u, DSORT_FILES_MAX);
    for (uint32_t i = 0; i < n && dsort_file_decode(&u, &f); i++)
        bytes += f.size;
    return bytes;
}

static uint32_t template_of(const struct dsort *d)
{
    uint32_t at = 0;

    for (int i = 4; d->map && i < 8; i++) /* 8 bytes, big-endian, in front of the key */
        at = at << 8 | (uint8_t)d->item.key.p[i];
    return at;
}

static void take(struct dsort *d)
{
    struct dsort_file f;
    struct unpack u;
    uint32_t n;

    unpack_init(&u, d->item.value);
    n = unpack_array(&u, DSORT_FILES_MAX);
    for (uint32_t i = 0; i < n && dsort_file_decode(&u, &f); i++) {
        if (d->list_n == d->list_cap) {
            d->list_cap = d->list_cap ? d->list_cap * 2 : 256;
            d->list = mem_realloc(d->list, d->list_cap * sizeof(*d->list));
        }
        d->list[d->list_n++] = (struct dsort_file){arena_str(&d->shard, f.object), arena_str(&d->shard, f.member),
                                                   arena_str(&d->shard, f.name), f.size};
        d->shard_bytes += f.size;
    }
    d->shard_samples++;
}

static enum step_next shard_took(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);
    uint32_t at = d->end ? d->map_at : template_of(d);
    bool full = d->shard_samples > 0 && (d->end || at != d->map_at || d->shard_samples == d->spec.count ||
                                         (d->spec.size && d->shard_bytes + sample_bytes(d->item.value) > d->spec.size));

    if (full) {
        d->held_over = true; /* at the end, too: it is seen again */
        return op_go(op, shard_put);
    }
    if (d->end)
        return op_go(op, shards_ended);
    if (at != d->map_at)
        d->in_template = 0;
    d->map_at = at;
    take(d);
    return op_go(op, shard_next);
}

/* ---- packing ---- */

static void pack_next(void *arg, struct arc_entry *out, bool *end, struct call *call)
{
    struct dsort *d = arg;

    *end = d->list_at == d->list_n || d->job.stopping;
    if (!*end) {
        const struct dsort_file *f = &d->list[d->list_at++];
        *out = (struct arc_entry){.name = f->name,
                                  .bucket = d->from.id,
                                  .key = f->object,
                                  .member = f->member,
                                  .range = {.kind = RANGE_ALL},
                                  .tag = (void *)(uintptr_t)f};
    }
    call_finish(call, d->job.stopping ? ERR_CANCELLED : ERR_OK);
}

static enum arc_verdict pack_done(void *arg, const struct arc_entry *e, enum err err, uint64_t size, struct str *name)
{
    struct dsort *d = arg;

    (void)name;
    if (err == ERR_OK) {
        d->job.bytes += size;
        return ARC_LEAVE_OUT; /* not looked at */
    }
    if (d->spec.continue_on_error && (err == ERR_NO_SUCH_KEY || err == ERR_NO_SUCH_MEMBER || err == ERR_BAD_ARCHIVE)) {
        job_failed(&d->job, e->name, err);
        return ARC_LEAVE_OUT;
    }
    d->failed = err;
    job_failed(&d->job, e->name, err);
    return ARC_FAIL;
}

static enum err make_name(struct dsort *d)
{
    const struct template *t = d->map ? dsort_map_template(d->map, d->map_at) : &d->spec.names;
    uint64_t at = d->map ? d->in_template : d->shards;

    buf_reset(&d->shard_name);
    return at < t->names ? template_name(t, at, &d->shard_name) : ERR_TOO_LARGE;
}

static enum step_next shard_put(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);
    enum err e = make_name(d);

    if (e != ERR_OK) {
        job_failed(&d->job, STR("there are more shards than the template has names for"), e);
        return op_fail(op, e);
    }
    if (d->spec.dry_run || d->shards < d->resume_shards)
        return op_go(op, shard_done);
    d->list_at = 0;
    d->failed = ERR_OK;
    d->check = (struct body_check){.checksum = HASH_NONE};
    d->put_req = (struct obj_put_req){.arena = &d->shard,
                                      .bucket = d->to.id,
                                      .key = arena_str(&d->shard, buf_str(&d->shard_name)),
                                      .cond = COND_INIT,
                                      .body = arc_pack_open(&(struct arc_pack_conf){
                                          .loop = d->job.env->loop,
                                          .store = d->job.env->all,
                                          .cpu = d->job.env->cpu,
                                          .arcs = d->job.env->arcs,
                                          .format = d->map ? dsort_map_format(d->map, d->map_at) : d->spec.format,
                                          .next = pack_next,
                                          .done = pack_done,
                                          .arg = d}),
                                      .check = &d->check,
                                      .size_max = OBJECT_SIZE_MAX};
    store_obj_put(arcs_store(d->job.env->arcs), &d->put_req, &d->put, op_try(op, shard_done));
    return STEP_WAIT;
}

static enum step_next shard_done(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);
    bool put = d->put_req.body != NULL;
    uint64_t bytes = d->shard_bytes;

    source_close(d->put_req.body);
    d->put_req.body = NULL;
    if (put && op->call.err != ERR_OK) {
        if (d->failed == ERR_OK && op->call.err != ERR_CANCELLED)
            job_failed(&d->job, buf_str(&d->shard_name), op->call.err);
        return op_fail(op, op->call.err);
    }
    empty(d);
    d->job.ok++;
    d->shards++;
    d->in_template++;
    dsort_save(d);
    note(d);
    job_throttle(&d->job, put ? bytes : 0, op_call(op, shard_next));
    return STEP_WAIT;
}

static enum step_next shards_ended(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);

    note(d);
    return op_go(op, dsort_end);
}

/* ---- the end, whatever came before ---- */

/* Runs once more after each thing that has to be waited for. */
enum step_next dsort_end(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);

    source_close(d->put_req.body);
    source_close(d->get.body);
    source_close(d->map_res.body);
    d->put_req.body = d->get.body = d->map_res.body = NULL;
    return op_go(op, end_files);
}

static enum step_next end_files(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);
    struct spool *s = d->files;

    if (!s)
        return op_go(op, end_samples);
    d->files = NULL;
    spool_close(s, op_try(op, end_samples));
    return STEP_WAIT;
}

static enum step_next end_samples(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);
    struct spool *s = d->samples;

    if (!s)
        return op_go(op, end_select);
    d->samples = NULL;
    spool_close(s, op_try(op, end_select));
    return STEP_WAIT;
}

static enum step_next end_select(struct op *op)
{
    struct dsort *d = OP(op, struct dsort);
    enum err e = op->err;

    if (d->selecting)
        job_select_close(&d->select);
    empty(d);
    arc_select_free(d->regex);
    dsort_map_free(d->map);
    free(d->map_text);
    buf_release(&d->key);
    buf_release(&d->value);
    buf_release(&d->sample_key);
    buf_release(&d->sample);
    buf_release(&d->shard_name);
    arena_release(&d->arena);
    arena_release(&d->held);
    job_end(&d->job, e == ERR_OK ? JOB_DONE : e == ERR_CANCELLED ? JOB_STOPPED : JOB_FAILED);
    return STEP_DONE;
}
