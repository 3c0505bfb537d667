/* erasure.h - content cut into slices: Reed-Solomon over GF(2^8), systematic, by ISA-L.
 *
 * Shape    `data` slices are consecutive pieces of the content, each of slice_size bytes (the last ones padded with zeros, which are
 *          computed with but not stored: erasure_stored()); byte i of the `parity` slices is computed from bytes i of all. So a
 *          range of the content is a range of one or a few slices, and reading needs no arithmetic while they are there.
 *          Making slices: one reader per slice of data, all at the same offset, gives `parity` sources' bytes; the pieces themselves are ranges
 *          of the content. Reading a piece that is lost: `data` other slices, same range.
 * Units    bytes.
 * Owns     sources own the sources they are given.
 * Errors   those of the sources.
 * Thread   sources: the loop that made them; arithmetic of more than 64 KiB runs on `cpu`.
 * Source   Intel ISA-L erasure_code.h; J. S. Plank, "A tutorial on Reed-Solomon coding"; Cauchy matrices (gf_gen_cauchy1_matrix), so
 *          that every selection of rows can be inverted.
 */
#ifndef SLUICE_STORE_ERASURE_H
#define SLUICE_STORE_ERASURE_H

#include "base/offload.h"
#include "base/source.h"
#include "store/redundancy.h"

struct erasure_layout {
    uint8_t data, parity;
    uint64_t size;       /* of the content; not 0 */
    uint64_t slice_size; /* ceil(size / data) */
};
void erasure_layout(struct erasure_layout *l, struct redundancy r, uint64_t size);
/* Bytes that slice i really has: data slices end where the content ends (maybe 0), parity slices have slice_size. */
uint64_t erasure_stored(const struct erasure_layout *l, unsigned slice);

/* ---- how it is kept: object_info.layout ---- */

enum { ERASURE_LAYOUT_MAX = 64 };
/* `id`: names this version's slices; the same for all of them and for no other version. */
struct str erasure_put(char out[ERASURE_LAYOUT_MAX], const struct erasure_layout *l, uint64_t id);
/* ERR_CORRUPT: not such a text. ERR_NOT_IMPLEMENTED: that of a later version. */
MUST_USE enum err erasure_get(struct str layout, struct erasure_layout *l, uint64_t *id);

/* ---- making ---- */

struct erasure_env {
    struct loop *loop;
    struct offload *cpu;
};
/* The parity slices of one content, all at once: reads `data` sources (of the data slices' stored bytes, in order; NULL for one without any)
 * in step and gives `parity` sources. Whoever reads them must read all at about the same pace: they share a window of a few steps,
 * and one that is closed early lets the others go on. The data sources are only read while one of the parity sources is waited
 * for, and are closed with the last of those. A cancelled read ends when the step does that it shares with the others. */
void erasure_encode(const struct erasure_env *env, const struct erasure_layout *l, struct source **data,
                    struct source **parity);

/* ---- rebuilding ---- */

/* `len` bytes from `offset` of slice `wanted` out of `data` other slices: have[i] is the number of the slice that sources[i] gives the bytes
 * [offset, offset + len) of, shorter where the slice ends (what is behind its stored bytes is zeros; a source for none of them may
 * be NULL). Takes the sources, also when it fails. ERR_INVALID_ARGUMENT: not `data` different slices. */
MUST_USE enum err erasure_rebuild(const struct erasure_env *env, const struct erasure_layout *l, unsigned wanted,
                                  uint64_t offset, uint64_t len, const unsigned *have, struct source **sources,
                                  struct source **out);
/* Index of the source by whose failure a rebuilt one failed, or -1. */
int erasure_failed(const struct source *rebuilt);

/* ---- reading ---- */

/* Content bytes [offset, offset + len) as pieces of data slices, in order; at most `data` of them. Returns how many. */
struct erasure_piece {
    unsigned slice;
    uint64_t offset, len; /* within the slice */
};
size_t erasure_pieces(const struct erasure_layout *l, uint64_t offset, uint64_t len,
                      struct erasure_piece out[REDUNDANCY_SLICES_MAX]);

#endif
