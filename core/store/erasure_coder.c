#include "erasure_coder.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <stdlib.h>

#include "base/mem.h"

enum { TABLE = 32 }; /* bytes that ISA-L expands a coefficient to */

struct coder;

/* One of the sources that are computed. */
struct output {
    struct source source;
    struct coder *coder;
    bool open;
    uint64_t at; /* bytes that were taken */
    /* a read or prepare that waits for a step */
    struct call *waiting;
    void *buf; /* NULL: prepare */
    size_t len, *n;
};

struct input {
    struct coder *coder;
    struct source *source;
    uint64_t left; /* bytes that it still has */
    size_t got, due;
    struct source_fill fill;
    struct call call;
    uint8_t *bytes; /* CODER_STEP of them */
};

struct coder {
    struct loop *loop;
    struct offload *cpu;
    unsigned input_count, output_count, open;
    uint64_t len;
    uint64_t made; /* bytes of each output that were computed */
    enum err err;
    int failed; /* the input that did, or -1 */
    /* a step on its way */
    bool running;
    unsigned filling;
    size_t step;
    struct offload_task task;
    struct call arithmetic;
    uint8_t *ring[CODER_RING]; /* all outputs of a step, one behind the other */
    uint8_t *tables;
    struct output outputs[REDUNDANCY_SLICES_MAX];
    struct input inputs[REDUNDANCY_SLICES_MAX];
};

static void coder_go_on(struct coder *c);

/* ---- what is there for an output ---- */

static const uint8_t *output_bytes(const struct output *o, size_t *n)
{
    const struct coder *c = o->coder;
    uint64_t at = o->at % CODER_STEP, until_step = CODER_STEP - at, there = c->made - o->at;
    unsigned number = (unsigned)(o - c->outputs);

    *n = (size_t)(there < until_step ? there : until_step);
    return *n ? c->ring[o->at / CODER_STEP % CODER_RING] + (size_t)number * CODER_STEP + at : NULL;
}

/* Answers what waits at an output, if it can be. */
static void output_answer(struct output *o)
{
    struct coder *c = o->coder;
    struct call *call = o->waiting;
    enum err e = ERR_OK;
    size_t n;

    if (!call)
        return;
    const uint8_t *bytes = output_bytes(o, &n);
    if (n == 0 && o->at < c->len) {
        if (c->running || (c->err == ERR_OK && !call->cancelled))
            return;
        e = call->cancelled ? ERR_CANCELLED : c->err;
    } else if (o->buf) {
        n = n < o->len ? n : o->len;
        if (n)
            memcpy(o->buf, bytes, n);
        o->at += n;
        *o->n = n;
    }
    o->waiting = NULL;
    call_finish(call, e);
}

/* ---- a step ---- */

static void step_end(struct coder *c, enum err e)
{
    c->running = false;
    if (e != ERR_OK && c->err == ERR_OK)
        c->err = e;
    else if (c->err == ERR_OK)
        c->made += c->step;
    coder_go_on(c);
}

static enum err step_compute(struct offload_task *t)
{
    struct coder *c = CONTAINER(t, struct coder, task);
    uint8_t *slot = c->ring[c->made / CODER_STEP % CODER_RING];
    uint8_t *in[REDUNDANCY_SLICES_MAX], *out[REDUNDANCY_SLICES_MAX];

    for (unsigned i = 0; i < c->input_count; i++)
        in[i] = c->inputs[i].bytes;
    for (unsigned i = 0; i < c->output_count; i++)
        out[i] = slot + (size_t)i * CODER_STEP;
    ec_encode_data((int)c->step, (int)c->input_count, (int)c->output_count, c->tables, in, out);
    return ERR_OK;
}

static void step_computed(struct call *call)
{
    step_end(CONTAINER(call, struct coder, arithmetic), call->err);
}

static void step_filled(struct coder *c)
{
    if (c->err != ERR_OK) {
        step_end(c, c->err);
    } else if (c->step * c->input_count <= CODER_INLINE_MAX) {
        (void)step_compute(&c->task);
        step_end(c, ERR_OK);
    } else {
        call_begin(&c->arithmetic, c->loop, step_computed);
        offload_run(c->cpu, &c->task, step_compute, &c->arithmetic);
    }
}

static void cancel_fills(struct coder *c)
{
    for (unsigned i = 0; i < c->input_count; i++)
        call_cancel(&c->inputs[i].call);
}

static void input_filled(struct call *call)
{
    struct input *in = CONTAINER(call, struct input, call);
    struct coder *c = in->coder;
    enum err e = call->err;

    if (e == ERR_OK && in->got < in->due)
        e = ERR_INCOMPLETE_BODY;
    if (e == ERR_OK) {
        in->left -= in->got;
    } else if (c->err == ERR_OK) {
        c->err = e;
        c->failed = (int)(in - c->inputs);
        cancel_fills(c);
    }
    if (--c->filling == 0)
        step_filled(c);
}

static void step_start(struct coder *c)
{
    uint64_t rest = c->len - c->made;

    c->running = true;
    c->step = rest < CODER_STEP ? (size_t)rest : CODER_STEP;
    c->filling = 1; /* this function */
    for (unsigned i = 0; i < c->input_count; i++) {
        struct input *in = &c->inputs[i];
        in->due = in->left < c->step ? (size_t)in->left : c->step;
        memset(in->bytes + in->due, 0, c->step - in->due);
        if (in->due == 0)
            continue;
        c->filling++;
        call_begin(&in->call, c->loop, input_filled);
        source_fill(&in->fill, in->source, in->bytes, in->due, &in->got, &in->call);
    }
    if (--c->filling == 0)
        step_filled(c);
}

/* Whether the next step has a place in the ring: the slowest output has done with what is there. */
static bool ring_has_room(const struct coder *c)
{
    for (unsigned i = 0; i < c->output_count; i++)
        if (c->outputs[i].open && c->made / CODER_STEP - c->outputs[i].at / CODER_STEP >= CODER_RING)
            return false;
    return true;
}

static bool is_wanted(const struct coder *c)
{
    for (unsigned i = 0; i < c->output_count; i++)
        if (c->outputs[i].waiting && !c->outputs[i].waiting->cancelled)
            return true;
    return false;
}

static void coder_go_on(struct coder *c)
{
    for (unsigned i = 0; i < c->output_count; i++)
        output_answer(&c->outputs[i]);
    if (!c->running && c->err == ERR_OK && c->made < c->len && is_wanted(c) && ring_has_room(c))
        step_start(c);
}

/* ---- the outputs as sources ---- */

static void output_peek(struct source *s, struct span *out)
{
    struct output *o = CONTAINER(s, struct output, source);
    const struct coder *c = o->coder;
    size_t n;
    const uint8_t *bytes = output_bytes(o, &n);

    if (n)
        *out = (struct span){.kind = SPAN_MEMORY, .p = (const char *)bytes, .len = n};
    else if (o->at == c->len)
        *out = (struct span){.kind = SPAN_END};
    else
        *out = (struct span){.kind = c->err != ERR_OK ? SPAN_READ : SPAN_WAIT};
}

static void output_consume(struct source *s, uint64_t n)
{
    struct output *o = CONTAINER(s, struct output, source);

    o->at += n;
    coder_go_on(o->coder);
}

/* When nobody is left who wants the step, it need not be waited for. */
static void drop_step(struct coder *c)
{
    for (unsigned i = 0; i < c->output_count; i++)
        if (c->outputs[i].open && !(c->outputs[i].waiting && c->outputs[i].waiting->cancelled))
            return;
    if (c->running)
        cancel_fills(c);
}

static void output_cancel(void *arg)
{
    struct output *o = arg;

    output_answer(o);
    drop_step(o->coder);
}

static void output_wait(struct output *o, struct call *call)
{
    assert(!o->waiting);
    o->waiting = call;
    coder_go_on(o->coder);
    if (o->waiting)
        call_on_cancel(call, output_cancel, o);
}

static void output_prepare(struct source *s, struct call *call)
{
    struct output *o = CONTAINER(s, struct output, source);

    o->buf = NULL;
    output_wait(o, call);
}

static void output_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct output *o = CONTAINER(s, struct output, source);

    o->buf = buf;
    o->len = len;
    o->n = n;
    *n = 0;
    output_wait(o, call);
}

static void coder_free(struct coder *c)
{
    assert(!c->running);
    for (unsigned i = 0; i < c->input_count; i++) {
        source_close(c->inputs[i].source);
        free(c->inputs[i].bytes);
    }
    for (unsigned i = 0; i < CODER_RING; i++)
        free(c->ring[i]);
    free(c->tables);
    free(c);
}

static void output_close(struct source *s)
{
    struct output *o = CONTAINER(s, struct output, source);
    struct coder *c = o->coder;

    assert(o->open && !o->waiting);
    o->open = false;
    if (--c->open == 0) {
        coder_free(c);
        return;
    }
    drop_step(c);
    coder_go_on(c);
}

/* ---- making one ---- */

static const struct source_ops output_ops = {"erasure",      output_peek, output_consume,
                                             output_prepare, output_read, output_close};

int coder_failed(const struct source *output)
{
    assert(output->ops == &output_ops);
    return CONTAINER(output, struct output, source)->coder->failed;
}

void coder_new(const struct erasure_env *env, const struct coder_spec *spec, struct source **outputs)
{
    struct coder *c = NEW(struct coder);
    size_t coefficients = (size_t)spec->inputs * spec->outputs;
    uint8_t rows[REDUNDANCY_SLICES_MAX * REDUNDANCY_SLICES_MAX];

    *c = (struct coder){.loop = env->loop,
                        .cpu = env->cpu,
                        .input_count = spec->inputs,
                        .output_count = spec->outputs,
                        .open = spec->outputs,
                        .len = spec->len,
                        .failed = -1};
    c->tables = mem_alloc(coefficients * TABLE);
    memcpy(rows, spec->rows, coefficients); /* ISA-L's parameter isn't const */
    ec_init_tables((int)spec->inputs, (int)spec->outputs, rows, c->tables);
    size_t step = spec->len < CODER_STEP ? (size_t)spec->len : CODER_STEP;
    for (unsigned i = 0; i < spec->inputs; i++)
        c->inputs[i] = (struct input){
            .coder = c, .source = spec->sources[i], .left = spec->stored[i], .bytes = mem_alloc(step ? step : 1)};
    for (unsigned i = 0; i < CODER_RING; i++)
        c->ring[i] = (uint64_t)i * CODER_STEP < spec->len ? mem_alloc((size_t)spec->outputs * CODER_STEP) : NULL;
    for (unsigned i = 0; i < spec->outputs; i++) {
        c->outputs[i] = (struct output){.source = {&output_ops, spec->len}, .coder = c, .open = true};
        outputs[i] = &c->outputs[i].source;
    }
}
