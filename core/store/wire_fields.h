/* wire_fields.h - what descriptions are made of: arrays that may grow, strs that may be absent, and the structs that several methods share.
 *
 * Shape    internal to wire*.c. Each wire_put_X() has its wire_get_X(); a struct is an array of its fields.
 * Owns     as wire.h says.
 * Errors   sticky: unpack.bad.
 * Thread   any.
 */
#ifndef SLUICE_STORE_WIRE_FIELDS_H
#define SLUICE_STORE_WIRE_FIELDS_H

#include "base/pack.h"
#include "store/wire.h"

enum {
    WIRE_FIELDS_MAX = 64,     /* of a struct in a later version */
    WIRE_TEXT_MAX = 64 << 10, /* what a client's head may bring: prefixes, markers, conditions */
    WIRE_NAME_MAX = 255,      /* buckets, errors */
    WIRE_ETAG_TEXT_MAX = 64,  /* an ETag as sent, quoted */
    WIRE_ATTRS_MAX = 2048,    /* as many as an index record takes */
};

/* A struct of at least `known` fields; then wire_close() with the result, which passes over those of later versions. */
uint32_t wire_open(struct unpack *u, uint32_t known);
void wire_close(struct unpack *u, uint32_t extra);
void wire_spoil(struct unpack *u);
/* The outcome of a whole description. */
MUST_USE enum err wire_end(const struct unpack *u);

/* p == NULL is kept apart from empty. */
void wire_put_str(struct buf *b, struct str s);
struct str wire_get_str(struct unpack *u, size_t max);
uint32_t wire_get_u32(struct unpack *u, uint32_t max);
void wire_put_bucket(struct buf *b, const struct bucket_id *id);
void wire_get_bucket(struct unpack *u, struct bucket_id *id);
void wire_put_etag(struct buf *b, const struct etag *e);
void wire_get_etag(struct unpack *u, struct etag *e);
enum hash_alg wire_get_alg(struct unpack *u);
enum checksum_type wire_get_checksum_type(struct unpack *u);
void wire_put_digest(struct buf *b, const struct digest *d);
void wire_get_digest(struct unpack *u, struct digest *d);
void wire_put_checksum(struct buf *b, const struct checksum *c);
void wire_get_checksum(struct unpack *u, struct checksum *c);
void wire_put_info(struct buf *b, const struct object_info *info);
void wire_get_info(struct unpack *u, struct arena *arena, struct object_info *info);
void wire_put_cond(struct buf *b, const struct cond *c);
void wire_get_cond(struct unpack *u, struct cond *c);
void wire_put_range(struct buf *b, const struct range *r);
void wire_get_range(struct unpack *u, struct range *r);
void wire_put_part(struct buf *b, const struct part_info *p);
void wire_get_part(struct unpack *u, struct part_info *p);
void wire_put_parts(struct buf *b, const struct part_info *parts, uint32_t count);
const struct part_info *wire_get_parts(struct unpack *u, struct arena *arena, uint32_t max, uint32_t *count);
/* Digests from `first` on; wire_get_wants() adds to what `check` has. */
void wire_put_wants(struct buf *b, const struct body_check *check, unsigned first);
void wire_get_wants(struct unpack *u, struct body_check *check);
void wire_put_check(struct buf *b, const struct body_check *check);
struct body_check *wire_get_check(struct unpack *u, struct arena *arena);

#endif
