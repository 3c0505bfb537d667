/* A request as text: no input may pass as signed, whatever form of signature it has, nor break the server that doesn't check. */
#include <assert.h>

#include "s3api/checksum.h"
#include "s3api/raw_req.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1369353600 }; /* 2013-05-24T00:00:00Z: when the corpus was signed, with another secret */

static struct creds *setup(void)
{
    static struct creds *creds;

    if (!creds) {
        hash_setup();
        creds = creds_new();
        if (creds_put(creds, STR("AKIAIOSFODNN7EXAMPLE"), STR("fuzz")) != ERR_OK)
            assert(!"creds_put");
    }
    return creds;
}

/* The readers of headers that run behind it. */
static void read_headers(const struct raw_req *r)
{
    enum hash_alg alg;
    enum checksum_type type;
    struct identity id;
    struct auth_failure why;
    struct body body;
    struct str message = STR_NONE;
    struct arena a = ARENA_INIT;

    if (checksum_plan(&r->req, &alg, &type, &message) == ERR_OK)
        assert(alg == HASH_NONE || checksum_type_allowed(alg, type));
    if (auth_skip(&r->in, &a, &id, &why) == ERR_OK && body_open(&r->req, &id, NULL, &body) == ERR_OK) {
        assert(body.check.want_count <= BODY_WANTS_MAX);
        body_close(&body);
    }
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct creds *creds = setup();
    static struct raw_req r;
    struct identity id;
    struct auth_failure why;

    if (raw_req_parse(&r, str_n(data, size), NOW)) {
        if (size % 2)
            r.in.bucket_from_host = STR("bucket");
        enum err e = auth_check(creds, &r.in, &r.arena, &id, &why);
        assert(e != ERR_OK || (id.kind == AUTH_ANONYMOUS && id.access_key.n == 0));
        assert(e != ERR_SIGNATURE || why.string_to_sign.n);
        read_headers(&r);
    }
    raw_req_release(&r);
    return 0;
}
