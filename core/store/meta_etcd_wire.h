/* meta_etcd_wire.h - requests to etcd's JSON gateway and what it answers.
 *
 * Shape    etcd_write_*() append a request's JSON; etcd_read_*() turn an answer into structs; etcd_lines cuts a watch into messages.
 * Units    revisions and ids as etcd counts them; times: seconds.
 * Owns     what is read lives in the given arena.
 * Errors   ERR_SYNTAX: not what etcd answers; `why` says more. Writing: buf_err().
 * Thread   any.
 * Source   etcd 3.4 api_reference_v3 through grpc-gateway: bytes are base64, 64-bit numbers are strings, what is zero is left
 *          out; a stream is a JSON object a line, {"result": ...} or {"error": ...}.
 */
#ifndef SLUICE_STORE_META_ETCD_WIRE_H
#define SLUICE_STORE_META_ETCD_WIRE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/doc.h"

enum {
    ETCD_REQUEST_MAX = 2 << 20, /* JSON of a request: a largest value in base64, and keys */
    ETCD_ANSWER_MAX = 16 << 20, /* JSON of an answer or of one message of a watch */
    ETCD_OPS_MAX = 4            /* of one branch of a transaction */
};

/* gRPC's, in refusals */
enum etcd_code {
    ETCD_INVALID = 3,
    ETCD_NOT_FOUND = 5,
    ETCD_EXHAUSTED = 8,
    ETCD_PRECONDITION = 9,
    ETCD_COMPACTED = 11,
    ETCD_UNAUTHENTICATED = 16,
    ETCD_DENIED = 7
};

struct etcd_header {
    uint64_t cluster, revision;
};
struct etcd_kv {
    struct str key, value;
    uint64_t revision, lease;
};
struct etcd_range {
    struct etcd_header header;
    struct etcd_kv *kvs;
    uint32_t count;
    uint64_t total; /* keys in the range, of which kvs may be a part */
    bool more;
};
struct etcd_txn {
    struct etcd_header header;
    bool succeeded;
    struct etcd_range ranges[ETCD_OPS_MAX]; /* of the branch that ran; empty for what was no range */
    uint32_t count;
};
struct etcd_lease {
    struct etcd_header header;
    uint64_t ttl_s; /* 0: there is no such lease */
};
struct etcd_refusal {
    int code; /* 0: none given */
    struct str message;
};
struct etcd_event {
    struct etcd_kv kv;
    bool removed;
};
/* One message of a watch. */
struct etcd_told {
    struct etcd_header header;
    struct etcd_event *events;
    uint32_t count;
    bool created, cancelled, part; /* part: more of the same revision follows */
    uint64_t compacted;            /* of a cancelled one: what is older is gone; 0 = another reason */
    struct str reason;
    struct etcd_refusal refusal; /* of a stream that broke; code 0 = none */
};

/* ---- requests ---- */

struct etcd_range_query {
    struct str key, end; /* end empty: that key alone */
    uint64_t limit;      /* 0: none */
    uint64_t revision;   /* 0: the newest */
    bool keys_only, newest_first;
};
struct etcd_compare {
    struct str key;
    uint64_t number;
    enum { ETCD_REVISION_IS, ETCD_LEASE_IS_NOT } what; /* a missing key has revision and lease 0 */
};
struct etcd_op {
    enum { ETCD_PUT, ETCD_DELETE, ETCD_GET } what;
    struct str key, value;
    uint64_t lease;
};
struct etcd_txn_query {
    struct etcd_compare compare[4];
    struct etcd_op success[ETCD_OPS_MAX], failure[ETCD_OPS_MAX];
    uint32_t compares, successes, failures;
};
void etcd_write_range(struct buf *b, const struct etcd_range_query *q);
void etcd_write_txn(struct buf *b, const struct etcd_txn_query *q);
/* ttl_s 0: a request about that lease (keep alive, revoke). */
void etcd_write_lease(struct buf *b, uint64_t id, uint64_t ttl_s);
void etcd_write_login(struct buf *b, struct str user, struct str password);
void etcd_write_watch(struct buf *b, struct str key, struct str end, uint64_t from_revision);
/* The smallest key behind all that begin with `prefix`; empty (no bound: "\0" to etcd) for a prefix of 0xff bytes. */
struct str etcd_prefix_end(struct arena *a, struct str prefix);

/* ---- answers ---- */

MUST_USE enum err etcd_read_range(struct arena *a, struct str text, struct etcd_range *out, char why[DOC_WHY_MAX]);
MUST_USE enum err etcd_read_txn(struct arena *a, struct str text, struct etcd_txn *out, char why[DOC_WHY_MAX]);
/* Of a grant, a keep-alive (the first message of its stream) and a revocation. */
MUST_USE enum err etcd_read_lease(struct arena *a, struct str text, struct etcd_lease *out, char why[DOC_WHY_MAX]);
MUST_USE enum err etcd_read_login(struct arena *a, struct str text, struct str *token, char why[DOC_WHY_MAX]);
MUST_USE enum err etcd_read_told(struct arena *a, struct str line, struct etcd_told *out, char why[DOC_WHY_MAX]);
/* Never fails: what is no refusal of etcd's has code 0. */
struct etcd_refusal etcd_read_refusal(struct arena *a, struct str text);

/* Pieces of a stream put together to lines. `fn` gets each without its end; false stops. */
struct etcd_lines {
    struct buf rest;
};
void etcd_lines_init(struct etcd_lines *l);
void etcd_lines_release(struct etcd_lines *l);
/* False: `fn` wants no more, or a line is longer than ETCD_ANSWER_MAX. */
bool etcd_lines_add(struct etcd_lines *l, struct str piece, bool (*fn)(void *arg, struct str line), void *arg);

#endif
