/* exchange.h - one S3 request against a store in memory, without sockets: for tests of operations.
 *
 * Shape    exchange_open() once, then exchange() per request: it runs the loop until the answer was read to its end.
 * Owns     the world owns everything; an answer lives until the next exchange.
 */
#ifndef SLUICE_TESTS_EXCHANGE_H
#define SLUICE_TESTS_EXCHANGE_H

#include "base/buf.h"
#include "http/message.h"
#include "s3api/s3api.h"
#include "store/memstore.h"

enum { EXCHANGE_HEADERS_MAX = 32, EXCHANGE_BODY_MAX = 32 << 20 };

struct exchange_world {
    struct loop *loop;
    struct store *store;
    struct meta *meta;
    struct buckets *buckets;
    struct creds *creds;
    struct offload *cpu;
    struct s3api_conf conf;
    struct s3api *s3;
    /* the request that runs and its answer */
    struct arena arena;
    struct http_header headers[EXCHANGE_HEADERS_MAX];
    struct http_req req;
    int status;
    struct http_header *res_headers; /* copies in `kept` */
    size_t res_header_count;
    uint64_t stated_length;
    struct buf body;
    struct arena kept;
    bool done;
    unsigned abort_after; /* turns of the loop after which the client leaves; 0 = stays */
};

void exchange_open(struct exchange_world *w);
void exchange_close(struct exchange_world *w);
/* `headers`: "name: value" lines in lower case, each ended by "\n"; NULL: none. Returns the status. */
int exchange(struct exchange_world *w, const char *method, const char *target, const char *headers, struct str body);
/* Value of a header of the answer, any case; p == NULL: absent. */
struct str exchange_header(const struct exchange_world *w, const char *name);
bool exchange_body_has(const struct exchange_world *w, const char *text);
/* The text between <name> and </name> of the answer. */
struct str exchange_element(const struct exchange_world *w, const char *name);

#endif
