/* s3_remote.h - one bucket on another S3 server: requests to it, and what it answers.
 *
 * Shape    s3_ask() signs, sends, repeats what may be repeated, and turns what is no success into an error of ours. On top of http/peer.h:
 *          bodies are streamed both ways with back-pressure.
 * Owns     req->body stays the caller's; res->body is the caller's to close. All else lives in req->arena.
 * Errors   ERR_REMOTE_GONE: no answer, or 5xx, after some tries; ERR_REMOTE_REFUSED: credentials, region or request; ERR_NO_SUCH_KEY,
 *          ERR_NO_SUCH_BUCKET, ERR_PRECONDITION, ERR_NOT_MODIFIED, ERR_INVALID_RANGE, ERR_CONDITIONAL_CONFLICT. All are logged here but those
 *          that are a client's business.
 * Thread   the loop's.
 * Source   S3 API: Common Request Headers, REST Error Responses.
 */
#ifndef SLUICE_STORE_S3_REMOTE_H
#define SLUICE_STORE_S3_REMOTE_H

#include "base/xml.h"
#include "http/peer.h"
#include "store/object.h"
#include "store/sign_v4.h"

struct s3_remote {
    struct str address; /* "HOST:PORT" */
    bool tls;
    struct str bucket;
    struct sign_v4_key key;
};

enum { S3_TEXT_MAX = 8 << 20 };

struct s3_ask_req {
    struct arena *arena;
    struct peer_pool *peers; /* fits remote->tls */
    struct offload *cpu;     /* reads long documents */
    const struct s3_remote *remote;
    struct str method, key; /* an empty key: the bucket itself */
    const struct sign_v4_param *params;
    size_t param_count;
    const struct http_header *headers;
    size_t header_count;
    struct source *body;
    bool reads_xml; /* the answer is a document: res->doc */
    bool once;      /* not to be repeated */
};
struct s3_ask_res {
    struct peer_res answer; /* its body is NULL when it was read or there was an error */
    struct xml_doc doc;     /* released by the arena's end */
};
void s3_ask(const struct s3_ask_req *req, struct s3_ask_res *res, struct call *call);

/* What the headers of a GET or HEAD say of the object. False: no size, or no ETag. The attributes of S3 objects are taken over; room for
 * `spare` more is left behind them. */
bool s3_object_info(struct arena *arena, const struct peer_res *answer, unsigned spare, struct object_info *out);
/* Whether its ETag is the MD5 of its bytes. */
bool s3_etag_is_md5(const struct peer_res *answer, const struct object_info *info);

#endif
