/* wire.h - the store's methods as bytes between nodes.
 *
 * Shape    POST WIRE_PREFIX METHOD ("/rpc/1/obj_get"). The description (MessagePack array, fields in a fixed order, later versions append)
 *          is the request's body. Methods with content (obj_put, obj_splice, upload_part, obj_import) have it in the header "sluice-req" in base64url,
 *          or, where it is long, as the first "sluice-req-size" bytes of the body. Then comes the content and behind it a tail of WIRE_TAIL
 *          bytes: the content's length, and the digests that the source's trailers brought (struct body_check); a body without its tail is
 *          incomplete. An answer's description is its body; for obj_get, and for every error, it is the header "sluice-res". Errors: their
 *          HTTP status, "sluice-err: NAME", and a description where the method fills its result on errors too.
 *          Headers of every request: sluice-epoch, sluice-date (ms), sluice-digest (of the description), sluice-auth (nodeauth.h),
 *          sluice-id (the client's request id).
 * Owns     decoded strs borrow from the bytes or live in the arena.
 * Errors   ERR_BAD_REQUEST: not what the method's description looks like.
 * Thread   any. Pure.
 */
#ifndef SLUICE_STORE_WIRE_H
#define SLUICE_STORE_WIRE_H

#include "base/buf.h"
#include "store/store.h"

#define WIRE_PREFIX        "/rpc/1/"
#define WIRE_MEMBER_PREFIX "/rpc/1/member/" /* the same methods, of what the node itself has */
enum {
    WIRE_TAIL = 512,
    WIRE_HEAD_MAX = 128 << 10,       /* of an internal request's head: limits of the target's listener */
    WIRE_HEADER_MAX = 48 << 10,      /* a description in a header: longer ones go into the body */
    WIRE_DESCRIPTION_MAX = 4 << 20,  /* 10,000 parts, 1,000 entries */
    WIRE_EXPECT_MIN = (64 << 10) + 1 /* content of this size and more is sent when the target asks for it */
};

/* The methods by name and number. */
enum wire_method {
#define M(m) WIRE_##m,
    STORE_METHODS(M)
#undef M
        WIRE_METHODS
};
/* Static. */
struct str wire_name(enum wire_method m);
/* Its request's target; of a `member`: what that node itself has. Static. */
struct str wire_target(enum wire_method m, bool member);
/* WIRE_METHODS: none of that name. */
enum wire_method wire_by_name(struct str name);
bool wire_has_body(enum wire_method m);
/* Whether repeating it changes nothing. */
bool wire_is_read(enum wire_method m);
/* Whether the method's result means something with this error. */
bool wire_fills(enum wire_method m, enum err e);
/* The error of that name (err.def), ERR_INTERNAL for a name from a later version. Never ERR_OK. */
enum err wire_err(struct str name);

/* One pair per method: wire_put_obj_get_req(buf, req), wire_get_obj_get_req(bytes, arena, req), and so for _res. Sources and arenas
 * are not on the wire; the fields of a body_check are, and decoding makes one in the arena. Requests come out ready to be handed to a
 * store, but for the body. */
#define M(m)                                                                                                           \
    void wire_put_##m##_req(struct buf *b, const struct m##_req *req);                                                 \
    MUST_USE enum err wire_get_##m##_req(struct str bytes, struct arena *arena, struct m##_req *req);                  \
    void wire_put_##m##_res(struct buf *b, const struct m##_res *res);                                                 \
    MUST_USE enum err wire_get_##m##_res(struct str bytes, struct arena *arena, struct m##_res *res);
STORE_METHODS(M)
#undef M

/* The same by number, for whoever treats all methods alike. */
size_t wire_req_size(enum wire_method m);
size_t wire_res_size(enum wire_method m);
void wire_put_req(enum wire_method m, struct buf *b, const void *req);
MUST_USE enum err wire_get_req(enum wire_method m, struct str bytes, struct arena *arena, void *req);
void wire_put_res(enum wire_method m, struct buf *b, const void *res);
MUST_USE enum err wire_get_res(enum wire_method m, struct str bytes, struct arena *arena, void *res);
void wire_call(enum wire_method m, struct store *s, const void *req, void *res, struct call *c);
/* Of a method with content: where its request has body and check. */
struct source **wire_body(enum wire_method m, void *req);
struct body_check *wire_check(enum wire_method m, const void *req);

/* Descriptions in headers: base64url without padding (RFC 4648 section 5). */
struct str wire_to_header(struct arena *arena, struct str bytes);
MUST_USE enum err wire_from_header(struct arena *arena, struct str text, struct str *bytes);

/* The tail behind `size` bytes of content; it tells the digests from `first` on. */
void wire_put_tail(char out[WIRE_TAIL], uint64_t size, const struct body_check *check, unsigned first);
/* Adds them to `check`. ERR_INCOMPLETE_BODY: no tail, or not that of `size` bytes. ERR_BAD_REQUEST: digests that the description
 * hasn't announced. */
MUST_USE enum err wire_get_tail(const char in[WIRE_TAIL], uint64_t size, struct body_check *check);
/* Source over the `left` bytes of `inner` (not closed by it; NULL: there is no body) without the tail. ERR_INCOMPLETE_BODY without a
 * whole tail; the last byte of the content is not given away before the tail was seen, so that nobody can take a part for the whole. */
struct source *wire_tail_off(struct loop *loop, struct source *inner, uint64_t left, struct body_check *check);
/* Source of `head`, then `inner` (not closed by it; NULL: no content), then the tail, which is made once inner has ended and tells
 * the digests that have come to `check` since now. */
struct source *wire_tail_on(struct loop *loop, struct str head, struct source *inner, const struct body_check *check);
/* How reading that source failed; ERR_OK: it has not. */
enum err wire_tail_failed(const struct source *on);

#endif
