#include "erasure.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <stdio.h>

#include "store/erasure_coder.h"
#include "store/object.h"

/* ---- layout ---- */

void erasure_layout(struct erasure_layout *l, struct redundancy r, uint64_t size)
{
    assert(r.kind == REDUNDANCY_EC && size > 0);
    *l = (struct erasure_layout){r.data, r.parity, size, (size + r.data - 1) / r.data};
}

uint64_t erasure_stored(const struct erasure_layout *l, unsigned slice)
{
    if (slice >= l->data)
        return l->slice_size;
    uint64_t from = slice * l->slice_size, left = from < l->size ? l->size - from : 0;
    return left < l->slice_size ? left : l->slice_size;
}

size_t erasure_pieces(const struct erasure_layout *l, uint64_t offset, uint64_t len,
                      struct erasure_piece out[REDUNDANCY_SLICES_MAX])
{
    size_t n = 0;

    assert(offset <= l->size && len <= l->size - offset);
    while (len > 0) {
        struct erasure_piece p = {.slice = (unsigned)(offset / l->slice_size), .offset = offset % l->slice_size};
        p.len = l->slice_size - p.offset < len ? l->slice_size - p.offset : len;
        out[n++] = p;
        offset += p.len;
        len -= p.len;
    }
    return n;
}

/* ---- its text: "ec1 4+2 8388608 0123456789abcdef"; 1: the matrix and the order of the bytes are those of this file ---- */

struct str erasure_put(char out[ERASURE_LAYOUT_MAX], const struct erasure_layout *l, uint64_t id)
{
    int n = snprintf(out, ERASURE_LAYOUT_MAX, "ec1 %u+%u %llu %016llx", l->data, l->parity, (unsigned long long)l->size,
                     (unsigned long long)id);

    return str_n(out, (size_t)n);
}

/* Cuts off what is before the first `stop`. */
static struct str field(struct str *rest, char stop)
{
    size_t n = 0;

    while (n < rest->n && rest->p[n] != stop)
        n++;
    struct str f = str_n(rest->p, n);
    *rest = str_skip(*rest, n < rest->n ? n + 1 : n);
    return f;
}

static bool layout_text(struct str text, struct erasure_layout *l, uint64_t *id)
{
    struct str plus, numbers;
    uint64_t data, parity, size;

    (void)field(&text, ' ');
    numbers = field(&text, ' ');
    plus = field(&numbers, '+');
    if (!str_to_u64(plus, REDUNDANCY_SLICES_MAX, &data) || !str_to_u64(numbers, REDUNDANCY_PARITY_MAX, &parity) ||
        !str_to_u64(field(&text, ' '), OBJECT_SIZE_MAX, &size) || !str_hex_to_u64(text, id))
        return false;
    if (data == 0 || parity == 0 || data + parity > REDUNDANCY_SLICES_MAX || size == 0)
        return false;
    erasure_layout(l, (struct redundancy){REDUNDANCY_EC, (uint8_t)data, (uint8_t)parity}, size);
    return true;
}

enum err erasure_get(struct str layout, struct erasure_layout *l, uint64_t *id)
{
    char again[ERASURE_LAYOUT_MAX];
    struct erasure_layout read;
    uint64_t read_id;

    if (!str_starts(layout, STR("ec")))
        return ERR_CORRUPT;
    if (!str_starts(layout, STR("ec1 ")))
        return layout.n > 2 && layout.p[2] >= '2' && layout.p[2] <= '9' ? ERR_NOT_IMPLEMENTED : ERR_CORRUPT;
    /* There is one text for a layout. */
    if (!layout_text(layout, &read, &read_id) || !str_eq(layout, erasure_put(again, &read, read_id)))
        return ERR_CORRUPT;
    *l = read;
    *id = read_id;
    return ERR_OK;
}

/* ---- arithmetic ---- */

enum { MATRIX_MAX = REDUNDANCY_SLICES_MAX * REDUNDANCY_SLICES_MAX };

/* data + parity rows of `data` coefficients: the content's own, then the parity's. */
static void matrix_of(const struct erasure_layout *l, uint8_t out[MATRIX_MAX])
{
    gf_gen_cauchy1_matrix(out, l->data + l->parity, l->data);
}

void erasure_encode(const struct erasure_env *env, const struct erasure_layout *l, struct source **data,
                    struct source **parity)
{
    uint8_t matrix[MATRIX_MAX];
    uint64_t stored[REDUNDANCY_SLICES_MAX];

    matrix_of(l, matrix);
    for (unsigned i = 0; i < l->data; i++)
        stored[i] = erasure_stored(l, i);
    const struct coder_spec spec = {.inputs = l->data,
                                    .outputs = l->parity,
                                    .sources = data,
                                    .stored = stored,
                                    .len = l->slice_size,
                                    .rows = matrix + (size_t)l->data * l->data};
    coder_new(env, &spec, parity);
}

/* How slice `wanted` is made of those in `have`: its own row times the inverse of theirs. */
static enum err rebuilding_row(const struct erasure_layout *l, unsigned wanted, const unsigned *have,
                               uint8_t row[REDUNDANCY_SLICES_MAX])
{
    uint8_t matrix[MATRIX_MAX], theirs[MATRIX_MAX], inverse[MATRIX_MAX];
    unsigned k = l->data, seen = 0;

    for (unsigned i = 0; i < k; i++) {
        if (have[i] >= k + l->parity || have[i] == wanted || seen & 1u << have[i])
            return ERR_INVALID_ARGUMENT;
        seen |= 1u << have[i];
    }
    matrix_of(l, matrix);
    for (unsigned i = 0; i < k; i++)
        memcpy(theirs + (size_t)i * k, matrix + (size_t)have[i] * k, k);
    if (gf_invert_matrix(theirs, inverse, (int)k) != 0)
        return ERR_INTERNAL; /* not with Cauchy's */
    for (unsigned column = 0; column < k; column++) {
        row[column] = 0;
        for (unsigned i = 0; i < k; i++)
            row[column] ^= gf_mul(matrix[(size_t)wanted * k + i], inverse[(size_t)i * k + column]);
    }
    return ERR_OK;
}

enum err erasure_rebuild(const struct erasure_env *env, const struct erasure_layout *l, unsigned wanted,
                         uint64_t offset, uint64_t len, const unsigned *have, struct source **sources,
                         struct source **out)
{
    uint8_t row[REDUNDANCY_SLICES_MAX];
    uint64_t stored[REDUNDANCY_SLICES_MAX];
    enum err e = ERR_INVALID_ARGUMENT;

    if (wanted < l->data + l->parity && offset <= l->slice_size && len <= l->slice_size - offset)
        e = rebuilding_row(l, wanted, have, row);
    if (e != ERR_OK) {
        for (unsigned i = 0; i < l->data; i++)
            source_close(sources[i]);
        return e;
    }
    for (unsigned i = 0; i < l->data; i++) {
        uint64_t end = erasure_stored(l, have[i]);
        stored[i] = end <= offset ? 0 : end - offset < len ? end - offset : len;
    }
    const struct coder_spec spec = {
        .inputs = l->data, .outputs = 1, .sources = sources, .stored = stored, .len = len, .rows = row};
    coder_new(env, &spec, out);
    return ERR_OK;
}

int erasure_failed(const struct source *rebuilt)
{
    return coder_failed(rebuilt);
}
