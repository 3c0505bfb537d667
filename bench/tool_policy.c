/* tool_policy - what asking a policy costs a request, and what reading one costs.
 *
 * usage: tool_policy [statements=100] [rounds=100000]
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "iam/session_cache.h"

static struct str make(struct buf *b, unsigned n)
{
    buf_add_z(b, "{\"Version\":\"2012-10-17\",\"Statement\":[");
    for (unsigned i = 0; i < n; i++)
        buf_addf(
            b,
            "%s{\"Effect\":\"Allow\",\"Action\":[\"s3:GetObject\",\"s3:List*\"],\"Resource\":"
            "\"arn:aws:s3:::b/p%u/${aws:username}/*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"}}}",
            i ? "," : "", i);
    buf_add_z(b, "]}");
    return buf_str(b);
}

static bool lookup(void *arg, struct str key, struct iam_values *out)
{
    if (!str_eq(key, STR("aws:sourceip")))
        return false;
    *out = (struct iam_values){arg, 1};
    return true;
}

static void report(const char *what, uint64_t began_ns, unsigned rounds)
{
    printf("%-34s %8.2f us\n", what, (double)(clock_mono_ns() - began_ns) / 1e3 / rounds);
}

/* What a token with a policy as large as one may be costs a request, alone and with what was opened before. */
static int open_sessions(void)
{
    enum { ROUNDS = 2000 };
    static const struct iam_who who = {.kind = IAM_USER, .name = {"alice", 5}, .id = {"AIDA1", 5}};
    struct session_make_req req = {.who = &who, .expires_s = 1000};
    struct session_cache *cache = session_cache_new();
    struct meta *meta = meta_memory_new();
    struct buf text = BUF_INIT(POLICY_TEXT_MAX);
    struct arena arena = ARENA_INIT, once = ARENA_INIT;
    struct session made, got;
    struct idents *t;
    bool good;

    req.policies[0] = make(&text, 11);
    good = idents_open(meta, STR("a secret"), &t) == ERR_OK && session_make(t, &arena, &req, &made) == ERR_OK;
    uint64_t began = clock_mono_ns();
    for (unsigned i = 0; good && i < ROUNDS; i++) {
        good = session_open(t, &once, made.token, 1, &got) == ERR_OK;
        arena_release(&once);
    }
    report("opening a session", began, ROUNDS);
    began = clock_mono_ns();
    for (unsigned i = 0; good && i < ROUNDS; i++) {
        good = session_cache_open(cache, t, &once, made.token, 1, &got) == ERR_OK;
        arena_release(&once);
    }
    report("the same, opened before", began, ROUNDS);
    session_cache_free(cache);
    meta_close(meta);
    idents_close(t);
    buf_release(&text);
    arena_release(&arena);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 100000;
    static const struct iam_principal who = {.kind = IAM_USER, .name = {"alice", 5}};
    struct str ip = STR("10.1.2.3");
    struct buf text = BUF_INIT(POLICY_TEXT_MAX);
    struct arena arena = ARENA_INIT;
    char why[POLICY_WHY_MAX] = "";
    struct policy *p;
    struct str json = make(&text, n);
    struct iam_request req = {&who, STR("s3:GetObject"), STR_NONE, 1700000000, lookup, &ip};

    if (n == 0 || buf_err(&text) != ERR_OK || policy_read(&arena, json, POLICY_IDENTITY, &p, why) != ERR_OK) {
        fprintf(stderr, "tool_policy: %s\n", why[0] ? why : "too many statements for a policy's size");
        return 1;
    }
    printf("%u statements, %zu bytes\n", n, json.n);
    uint64_t began = clock_mono_ns();
    for (unsigned i = 0; i < 100; i++) {
        struct arena once = ARENA_INIT;
        if (policy_read(&once, json, POLICY_IDENTITY, &p, why) != ERR_OK)
            return 1;
        arena_release(&once);
    }
    report("reading it", began, 100);
    if (policy_read(&arena, json, POLICY_IDENTITY, &p, why) != ERR_OK)
        return 1;
    req.resource = arena_printf(&arena, "arn:aws:s3:::b/p%u/alice/some/key", n - 1);
    began = clock_mono_ns();
    for (unsigned i = 0; i < rounds; i++)
        if (policy_evaluate(p, &req) != POLICY_ALLOW)
            return 1;
    report("asking it, the last one allows", began, rounds);
    req.action = STR("s3:DeleteObject");
    began = clock_mono_ns();
    for (unsigned i = 0; i < rounds; i++)
        if (policy_evaluate(p, &req) != POLICY_SILENT)
            return 1;
    report("asking it for another action", began, rounds);
    buf_release(&text);
    arena_release(&arena);
    return open_sessions();
}
