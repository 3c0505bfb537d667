/* Host, path and query of any kind: what a request means, and tokens that come back changed. Input: host LF path?query. */
#include <assert.h>
#include <stdlib.h>

#include "s3api/name.h"
#include "s3api/route.h"
#include "s3api/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void route_all(struct arena *a, struct str query)
{
    struct query_param *params;
    size_t n;

    if (url_parse_query(a, query, &params, &n, 128) != ERR_OK)
        return;
    for (int method = HTTP_GET; method <= HTTP_OTHER; method++)
        for (int level = LEVEL_SERVICE; level <= LEVEL_OBJECT; level++) {
            struct http_req req = {.method = (enum http_method)method};
            uint64_t subs = route_subs(&req, (enum s3_level)level, params, n);
            const struct route *r = NULL;
            struct str clash = STR_NONE;
            enum err e = route_find(req.method, (enum s3_level)level, subs, &r, a, &clash);

            assert(e == ERR_OK || e == ERR_METHOD_NOT_ALLOWED || e == ERR_INVALID_ARGUMENT);
            assert((e == ERR_OK) == (r != NULL));
            if (r && req.method != HTTP_OPTIONS)
                assert((subs & r->must) == r->must && (subs & ~r->may & ~r->must) == 0);
        }
}

static void tokens(struct arena *a, struct str bytes)
{
    struct str name, again;

    if (token_decode(a, bytes, &name))
        assert(token_decode(a, token_encode(a, name), &again) && str_eq(name, again));
    if (bytes.n <= KEY_MAX)
        assert(token_decode(a, token_encode(a, bytes), &again) && str_eq(bytes, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str domains[] = {{"s3.example.com", 14}, {"com", 3}};
    struct arena a = ARENA_INIT;
    struct str rest = str_n(data, size), host = str_split(&rest, '\n'), path = str_split(&rest, '?');
    struct target t;

    hash_setup();
    if (name_target(path, host, domains, 2, &a, &t) == ERR_OK) {
        assert(t.bucket.n <= path.n + host.n && t.key.n <= path.n);
        if (name_is_bucket(t.bucket))
            assert(!memchr(t.bucket.p, 0, t.bucket.n) && t.bucket.n <= BUCKET_NAME_MAX);
        if (name_check_key(t.key) == ERR_OK)
            assert(t.key.n <= KEY_MAX && str_is_utf8(t.key));
    }
    route_all(&a, rest);
    tokens(&a, path);
    arena_release(&a);
    return 0;
}
