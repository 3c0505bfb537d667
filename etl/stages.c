#include <stdio.h>

#include "base/mem.h"
#include "etl/door.h"
#include "etl/spec.h"

#define ARGS STR("etl_args.")

bool etl_stage_name_is_valid(struct str name)
{
    if (name.n == 0 || name.p[0] != '@')
        return etl_name_is_valid(name);
    for (size_t i = 1; i < name.n; i++)
        if (!((name.p[i] >= 'a' && name.p[i] <= 'z') || (name.p[i] >= '0' && name.p[i] <= '9') || name.p[i] == '-' ||
              name.p[i] == '.'))
            return false;
    return name.n > 1 && name.n <= ETL_NAME_MAX;
}

static struct str param(const struct query_param *query, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(query[i].name, name))
            return query[i].value.p ? query[i].value : STR("");
    return STR_NONE;
}

static enum err refuse(char why[ETL_QUERY_WHY_MAX], const char *what, struct str value)
{
    snprintf(why, ETL_QUERY_WHY_MAX, "%s: \"%.*s\"", what, (int)(value.n < 100 ? value.n : 100),
             value.p ? value.p : "");
    return ERR_INVALID_ARGUMENT;
}

static enum err add(struct etl_stage *list, size_t *count, struct str name, char why[ETL_QUERY_WHY_MAX])
{
    if (!etl_stage_name_is_valid(name))
        return refuse(why, "no ETL can have this name", name);
    if (*count == ETL_STAGES_MAX) {
        snprintf(why, ETL_QUERY_WHY_MAX, "etl_pipeline: more than %d stages", ETL_STAGES_MAX);
        return ERR_INVALID_ARGUMENT;
    }
    list[(*count)++].name = name;
    return ERR_OK;
}

static enum err give_args(const struct query_param *query, size_t n, struct etl_stage *list, size_t count,
                          char why[ETL_QUERY_WHY_MAX])
{
    struct str all = param(query, n, STR("etl_args"));

    for (size_t i = 0; i < count; i++)
        list[i].args = all.n ? all : STR("");
    for (size_t i = 0; i < n; i++) {
        uint64_t stage;
        if (!str_starts(query[i].name, ARGS))
            continue;
        if (!str_to_u64(str_skip(query[i].name, ARGS.n), count, &stage) || stage == 0)
            return refuse(why, "the transform has no such stage", query[i].name);
        list[stage - 1].args = query[i].value.n ? query[i].value : STR("");
    }
    for (size_t i = 0; i < count; i++)
        if (list[i].args.n > ETL_ARGS_MAX) {
            snprintf(why, ETL_QUERY_WHY_MAX, "etl_args: longer than %d bytes", ETL_ARGS_MAX);
            return ERR_INVALID_ARGUMENT;
        }
    return ERR_OK;
}

enum err etl_stages_of_query(struct arena *arena, const struct query_param *query, size_t n,
                             const struct etl_stage **stages, size_t *count, char why[ETL_QUERY_WHY_MAX])
{
    struct str name = param(query, n, STR("etl_name")), rest = param(query, n, STR("etl_pipeline"));
    struct etl_stage *list;
    enum err e;

    *stages = NULL;
    *count = 0;
    if (name.n == 0)
        return rest.n ? refuse(why, "etl_pipeline without etl_name", rest) : ERR_OK;
    list = arena_new(arena, ETL_STAGES_MAX * sizeof(*list));
    e = add(list, count, name, why);
    while (e == ERR_OK && rest.n)
        e = add(list, count, str_trim(str_split(&rest, ',')), why);
    if (e == ERR_OK)
        e = give_args(query, n, list, *count, why);
    *stages = list;
    return e;
}
