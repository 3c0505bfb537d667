/* Policies of the three kinds, read from anything and asked: a policy that was read must answer every request, the same each time. What is behind
 * a NUL byte is the request: its resource, and the value of every key. */
#include <assert.h>

#include "iam/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lookup(void *arg, struct str key, struct iam_values *out)
{
    *out = (struct iam_values){arg, key.n % 3};
    return true;
}

static void ask(const struct policy *p, struct str said)
{
    const struct str values[2] = {said, STR("10")};
    const struct iam_principal who = {.kind = IAM_USER,
                                      .account = STR("111122223333"),
                                      .arn = STR("arn:aws:iam::111122223333:user/alice"),
                                      .name = said,
                                      .id = STR("AIDA1")};
    const struct iam_request req = {&who, STR("s3:GetObject"), said, 1700000000, lookup, (void *)values};
    enum policy_verdict v = policy_evaluate(p, &req);

    assert(v == policy_evaluate(p, &req));
    assert(v == POLICY_SILENT || v == POLICY_ALLOW || v == POLICY_DENY);
    (void)policy_asks(p, STR("s3:"));
    (void)policy_is_public(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n(data, size), json = str_split(&text, 0);
    struct arena arena = ARENA_INIT;

    for (enum policy_kind kind = POLICY_IDENTITY; kind <= POLICY_TRUST; kind++) {
        char why[POLICY_WHY_MAX] = "";
        struct policy *p;
        enum err e = policy_read(&arena, json, kind, &p, why);
        assert(e == ERR_OK || (e == ERR_MALFORMED_POLICY && why[0]));
        if (e != ERR_OK)
            continue;
        ask(p, text);
        e = policy_within(p, STR("s3"), STR("arn:aws:s3:::bucket"), why);
        assert(e == ERR_OK || e == ERR_MALFORMED_POLICY);
    }
    arena_release(&arena);
    return 0;
}
