/* raw_req.h - a request made from text, for tests and fuzzers: "GET /b/k?x=1\nhost: h\n...". A line end is "\n".
 *
 * Owns     its arena and a copy of the text: raw_req_release().
 */
#ifndef SLUICE_TESTS_RAW_REQ_H
#define SLUICE_TESTS_RAW_REQ_H

#include "s3api/auth.h"

enum { RAW_HEADERS_MAX = 256, RAW_QUERY_MAX = 256 };

struct raw_req {
    struct arena arena;
    struct http_header headers[RAW_HEADERS_MAX];
    struct http_req req;
    struct auth_input in;
};

static inline void raw_target(struct raw_req *r, struct str target)
{
    size_t mark = str_find_char(target, '?');

    r->req.target = target;
    r->req.has_query = mark != SIZE_MAX;
    r->req.path = r->req.has_query ? str_n(target.p, mark) : target;
    r->req.query = r->req.has_query ? str_skip(target, mark + 1) : str_n("", 0);
}

/* False: no request comes out of it. */
static inline bool raw_req_parse(struct raw_req *r, struct str text, int64_t now_s)
{
    struct query_param *query = NULL;

    memset(r, 0, sizeof(*r));
    text = arena_str(&r->arena, text);
    struct str line = str_split(&text, '\n');
    r->req.method_text = str_split(&line, ' ');
    raw_target(r, line);
    while (text.n) {
        line = str_split(&text, '\n');
        size_t colon = str_find_char(line, ':');
        if (colon == SIZE_MAX || r->req.header_count == RAW_HEADERS_MAX)
            return false;
        char *name = (char *)(uintptr_t)line.p;
        for (size_t i = 0; i < colon; i++)
            if (name[i] >= 'A' && name[i] <= 'Z')
                name[i] = (char)(name[i] + 32);
        r->headers[r->req.header_count++] =
            (struct http_header){str_n(line.p, colon), str_trim(str_skip(line, colon + 1))};
    }
    r->req.headers = r->headers;
    r->req.host = http_header_get(&r->req, STR("host"));
    r->req.arena = &r->arena;
    r->in = (struct auth_input){.req = &r->req, .now_s = now_s};
    if (url_parse_query(&r->arena, r->req.query, &query, &r->in.query_count, RAW_QUERY_MAX) != ERR_OK)
        return false;
    r->in.query = query;
    return true;
}

static inline void raw_req_release(struct raw_req *r)
{
    arena_release(&r->arena);
}

#endif
