/* wire.h - the store's methods as bytes between nodes.
 *
 * Shape    POST WIRE_PREFIX METHOD ("/rpc/1/obj_get"). The description (MessagePack array, fields in a fixed order, later versions append)
 *          is the request's body, or, for methods with a body (obj_put, upload_part, obj_import), the header "sluice-req" in base64url.
 *          Such a body is the content and then a tail of WIRE_TAIL bytes: its length, and the digests that the source's trailers brought
 *          (struct body_check); a body without its tail is incomplete. An answer's description is its body, or for obj_get the header
 *          "sluice-res", the content being the body. Errors: their HTTP status, "sluice-err: NAME", and a description where the method
 *          fills its result on errors too.
 *          Headers of every request: sluice-epoch, sluice-date (ms), sluice-auth (nodeauth.h), sluice-id (the client's request id).
 * Owns     decoded strs borrow from the bytes or live in the arena.
 * Errors   ERR_BAD_REQUEST: not what the method's description looks like.
 * Thread   any. Pure.
 */
#ifndef SLUICE_STORE_WIRE_H
#define SLUICE_STORE_WIRE_H

#include "base/buf.h"
#include "store/store.h"

#define WIRE_PREFIX "/rpc/1/"
enum {
    WIRE_TAIL = 320,
    WIRE_HEAD_MAX = 128 << 10,       /* of an internal request's head: limits of the target's listener */
    WIRE_DESCRIPTION_MAX = 16 << 20, /* 10,000 parts, 1,000 entries */
};

/* The methods by name and number. */
enum wire_method {
#define M(m) WIRE_##m,
    STORE_METHODS(M)
#undef M
        WIRE_METHODS
};
struct str wire_name(enum wire_method m);
/* WIRE_METHODS: none of that name. */
enum wire_method wire_by_name(struct str name);
bool wire_has_body(enum wire_method m);

/* One pair per method: wire_put_obj_get_req(buf, req), wire_get_obj_get_req(bytes, arena, req), and so for _res. Sources, arenas and
 * body_check pointers are not on the wire, but the check's fields are. */
#define M(m)                                                                                                           \
    void wire_put_##m##_req(struct buf *b, const struct m##_req *req);                                                 \
    MUST_USE enum err wire_get_##m##_req(struct str bytes, struct arena *arena, struct m##_req *req);                  \
    void wire_put_##m##_res(struct buf *b, const struct m##_res *res);                                                 \
    MUST_USE enum err wire_get_##m##_res(struct str bytes, struct arena *arena, struct m##_res *res);
STORE_METHODS(M)
#undef M

/* The tail behind a body's content, and a source that takes it off again. */
void wire_put_tail(char out[WIRE_TAIL], uint64_t size, const struct body_check *check);
/* Source over `inner` (not closed by it) without the tail; at its end the tail's digests are added to `check`. ERR_INCOMPLETE_BODY
 * without a whole tail or when the length differs. */
struct source *wire_tail_off(struct loop *loop, struct source *inner, struct body_check *check);
/* Source over `inner` (not closed by it) with the tail behind it, made from `check` once inner has ended. */
struct source *wire_tail_on(struct loop *loop, struct source *inner, const struct body_check *check);

#endif
