/* ask_policy - answers questions about policies, a line each: what policy_model.py compares with what it thinks itself.
 *
 * Each line is {"policy": TEXT, "kind": "identity" or "resource", "who": {"kind": NUMBER, "account", "arn", "role_arn", "name", "id",
 * "canonical_id"}, "action": TEXT, "resource": TEXT, "now": NUMBER, "context": {KEY: [TEXT, ...]}}; the answer is silent, allow, deny or malformed.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "iam/policy.h"

enum { VALUES_MAX = 16 };

static struct str text(const struct doc *d, const char *key)
{
    const struct doc *v = doc_get(d, str_z(key));

    return v ? v->text : STR("");
}

static uint64_t number(const struct doc *d, const char *key)
{
    uint64_t n = 0;

    assert(str_to_u64(text(d, key), INT64_MAX, &n));
    return n;
}

static bool lookup(void *arg, struct str key, struct iam_values *out)
{
    static struct str room[8][VALUES_MAX]; /* one evaluation has at most two lists at hand */
    static unsigned turn;
    const struct doc *list = doc_get(arg, key);
    struct str *values = room[turn++ % 8];
    size_t n = 0;

    if (!list)
        return false;
    for (const struct doc *v = list->first; v && n < VALUES_MAX; v = v->next)
        values[n++] = v->text;
    *out = (struct iam_values){values, n};
    return true;
}

static const char *answer(struct arena *a, const struct doc *q)
{
    static const char *const verdicts[] = {
        [POLICY_SILENT] = "silent", [POLICY_ALLOW] = "allow", [POLICY_DENY] = "deny"};
    enum policy_kind kind = str_eq(text(q, "kind"), STR("resource")) ? POLICY_RESOURCE : POLICY_IDENTITY;
    const struct doc *who = doc_get(q, STR("who"));
    const struct iam_principal principal = {.kind = (enum iam_principal_kind)number(who, "kind"),
                                            .account = text(who, "account"),
                                            .arn = text(who, "arn"),
                                            .role_arn = text(who, "role_arn"),
                                            .name = text(who, "name"),
                                            .id = text(who, "id"),
                                            .canonical_id = text(who, "canonical_id")};
    const struct iam_request req = {.principal = &principal,
                                    .action = text(q, "action"),
                                    .resource = text(q, "resource"),
                                    .now_s = (int64_t)number(q, "now"),
                                    .lookup = lookup,
                                    .arg = (void *)doc_get(q, STR("context"))};
    char why[POLICY_WHY_MAX] = "";
    struct policy *p;

    return policy_read(a, text(q, "policy"), kind, &p, why) == ERR_OK ? verdicts[policy_evaluate(p, &req)]
                                                                      : "malformed";
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;

    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct arena a = ARENA_INIT;
        char why[DOC_WHY_MAX] = "";
        struct doc *q;
        if (js_read(&a, str_n(line, (size_t)n), &q, why) != ERR_OK) {
            fprintf(stderr, "ask_policy: %s\n", why);
            return 1;
        }
        puts(answer(&a, q));
        arena_release(&a);
    }
    free(line);
    return 0;
}
