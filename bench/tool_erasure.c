/* tool_erasure - how fast content in memory is cut into slices and rebuilt, beside ISA-L alone.
 *
 * usage: tool_erasure [data=4] [parity=2] [size_mib=256]
 */
#include <isa-l/erasure_code.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/erasure.h"
#include "store/source_chain.h"

enum { STEP = 128 << 10 };

static struct loop *loop;
static struct erasure_layout layout;
static char *content, *copy, *slices[REDUNDANCY_SLICES_MAX];
static bool done;

static void on_done(struct call *c)
{
    if (c->err != ERR_OK) {
        fprintf(stderr, "tool_erasure: %s\n", err_name(c->err));
        exit(1);
    }
    done = true;
}

static void report(const char *what, uint64_t began_ns)
{
    double s = (double)(clock_mono_ns() - began_ns) / 1e9;

    printf("%-34s %7.0f MB/s of content\n", what, (double)layout.size / 1e6 / s);
}

/* What is shown, or nothing at the end. */
static size_t take(struct source *s, char *to)
{
    struct call call = {0};
    struct span span;

    for (source_peek(s, &span); span.kind == SPAN_WAIT || span.kind == SPAN_READ; source_peek(s, &span)) {
        done = false;
        call_begin(&call, loop, on_done);
        source_prepare(s, &call);
        while (!done)
            loop_turn(loop, 1000);
    }
    if (span.kind == SPAN_END)
        return 0;
    memcpy(to, span.p, (size_t)span.len);
    source_consume(s, span.len);
    return (size_t)span.len;
}

static struct source *stored(unsigned slice)
{
    return source_memory(str_n(slices[slice], (size_t)erasure_stored(&layout, slice)), NULL, NULL);
}

static void alone(void)
{
    unsigned k = layout.data, m = k + layout.parity;
    uint8_t matrix[REDUNDANCY_SLICES_MAX * REDUNDANCY_SLICES_MAX], *in[REDUNDANCY_SLICES_MAX],
        *out[REDUNDANCY_SLICES_MAX];
    uint8_t *tables = mem_alloc((size_t)32 * m * k);

    gf_gen_cauchy1_matrix(matrix, (int)m, (int)k);
    ec_init_tables((int)k, layout.parity, matrix + (size_t)k * k, tables);
    uint64_t began = clock_mono_ns();
    for (uint64_t at = 0; at < layout.slice_size; at += STEP) {
        uint64_t n = layout.slice_size - at < STEP ? layout.slice_size - at : STEP;
        for (unsigned i = 0; i < m; i++)
            *(i < k ? &in[i] : &out[i - k]) = (uint8_t *)slices[i] + at;
        ec_encode_data((int)n, (int)k, layout.parity, tables, in, out);
    }
    report("ISA-L alone, one thread", began);
    free(tables);
}

static void encode(const struct erasure_env *env)
{
    struct source *data[REDUNDANCY_SLICES_MAX], *parity[REDUNDANCY_SLICES_MAX];
    size_t at[REDUNDANCY_SLICES_MAX] = {0}, n = 1;

    for (unsigned i = 0; i < layout.data; i++)
        data[i] = stored(i);
    uint64_t began = clock_mono_ns();
    erasure_encode(env, &layout, data, parity);
    while (n)
        for (unsigned i = 0; i < layout.parity; i++)
            at[i] += n = take(parity[i], slices[layout.data + i] + at[i]);
    report("encoding, parity copied out", began);
    for (unsigned i = 0; i < layout.parity; i++)
        source_close(parity[i]);
}

static void open_stored(void *arg, size_t i, struct source **out, struct call *call)
{
    (void)arg;
    *out = stored((unsigned)i);
    call_finish(call, ERR_OK);
}

/* Slice 0 out of the others, or as it is. */
static void open_without_first(void *arg, size_t i, struct source **out, struct call *call)
{
    struct source *others[REDUNDANCY_SLICES_MAX];
    unsigned have[REDUNDANCY_SLICES_MAX];

    if (i > 0) {
        open_stored(arg, i, out, call);
        return;
    }
    for (unsigned k = 0; k < layout.data; k++)
        others[k] = stored(have[k] = k + 1);
    call_finish(call, erasure_rebuild(arg, &layout, 0, 0, layout.slice_size, have, others, out));
}

static void read_all(const struct erasure_env *env, const char *what, const struct chain_ops *ops)
{
    struct source *s = source_chain(loop, layout.size, layout.data, ops, (void *)(uintptr_t)env);
    uint64_t began = clock_mono_ns();

    for (size_t at = 0, n = 1; n; at += n)
        n = take(s, copy + at);
    report(what, began);
    source_close(s);
    if (memcmp(copy, content, (size_t)layout.size) != 0) {
        fprintf(stderr, "tool_erasure: other bytes\n");
        exit(1);
    }
}

static unsigned number(int argc, char **argv, int i, unsigned otherwise)
{
    return i < argc ? (unsigned)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    static const struct chain_ops whole = {open_stored, NULL}, degraded = {open_without_first, NULL};
    struct redundancy r = {REDUNDANCY_EC, (uint8_t)number(argc, argv, 1, 4), (uint8_t)number(argc, argv, 2, 2)};
    size_t size = (size_t)number(argc, argv, 3, 256) << 20;

    if (!r.data || !r.parity || r.data + r.parity > REDUNDANCY_SLICES_MAX || !size) {
        fprintf(stderr, "usage: tool_erasure [data=4] [parity=2] [size_mib=256]\n");
        return 2;
    }
    erasure_layout(&layout, r, size);
    content = mem_alloc(size + layout.slice_size);
    copy = mem_alloc(size + layout.slice_size);
    for (size_t i = 0; i < size; i += 8)
        memcpy(content + i, &(uint64_t){i * UINT64_C(0x9e3779b97f4a7c15)}, 8);
    memset(copy, 1, size);
    for (unsigned i = 0; i < r.data + r.parity; i++) {
        slices[i] = mem_alloc((size_t)layout.slice_size);
        memset(slices[i], 0, (size_t)layout.slice_size); /* no page is touched for the first time later */
        if (i < r.data)
            memcpy(slices[i], content + i * layout.slice_size, (size_t)erasure_stored(&layout, i));
    }
    loop = loop_new();
    loop_adopt(loop);
    const struct erasure_env env = {loop, offload_new("cpu", 2, 64)};
    alone();
    encode(&env);
    read_all(&env, "reading, all slices there", &whole);
    read_all(&env, "reading, the first one rebuilt", &degraded);
    offload_free(env.cpu);
    loop_free(loop);
    for (unsigned i = 0; i < r.data + r.parity; i++)
        free(slices[i]);
    free(content);
    free(copy);
    return 0;
}
