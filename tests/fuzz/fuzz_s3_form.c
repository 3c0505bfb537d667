/* POST forms: a body whose boundary stands in its first line. What is found lies within the body, and no beginning of a good one is refused. */
#include <assert.h>

#include "s3api/form.h"
#include "s3api/post_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct str whole, struct str part)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_policy(struct arena *a, const struct form *f)
{
    char why[POST_WHY_MAX] = "";
    struct post_limits limits;
    enum err e = post_policy_check(a, form_get(f, STR("policy")), f, STR("bucket"), 1000000000, &limits, why);

    assert(e == ERR_OK || e == ERR_POST_POLICY || e == ERR_ACCESS_DENIED);
    assert(e == ERR_OK || why[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA_INIT;
    struct str rest = str_n(data, size), type = str_split(&rest, '\n'), boundary;
    struct form f;

    if (form_boundary(type, &boundary)) {
        assert(within(type, boundary) && boundary.n > 0 && boundary.n <= FORM_BOUNDARY_MAX);
        if (form_read(rest, boundary, &a, &f) == ERR_OK) {
            assert(f.file_at <= rest.n && f.count <= FORM_FIELDS_MAX);
            for (size_t i = 0; i < f.count; i++)
                assert(within(rest, f.fields[i].value) && f.fields[i].name.n > 0);
            check_policy(&a, &f);
            assert(form_read(str_n(rest.p, f.file_at), boundary, &a, &f) == ERR_OK);
            size_t at = f.file_at;
            for (size_t cut = 1; cut <= 64 && cut <= at; cut++)
                assert(form_read(str_n(rest.p, at - cut), boundary, &a, &f) == ERR_AGAIN);
        }
    }
    arena_release(&a);
    return 0;
}
