/* ETL specs of any kind: what is accepted is within bounds, and written down it is read again as the same. */
#include <assert.h>

#include "etl/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct etl_spec *s)
{
    assert(etl_name_is_valid(s->name));
    assert(s->image.n || s->command_count);
    assert(s->init_timeout_ms > 0 && s->init_timeout_ms <= ETL_TIMEOUT_MAX_MS);
    assert(s->object_timeout_ms > 0 && s->object_timeout_ms <= ETL_TIMEOUT_MAX_MS);
    assert(s->command_count <= ETL_COMMAND_MAX && s->env_count <= ETL_ENV_MAX);
    assert(s->port && s->health.n && s->health.p[0] == '/');
    for (size_t i = 0; i < s->command_count; i++)
        assert(!s->command[i].n || !memchr(s->command[i].p, 0, s->command[i].n));
    for (size_t i = 0; i < s->env_count; i++)
        assert(s->env[i].name.n && (!s->env[i].value.n || !memchr(s->env[i].value.p, 0, s->env[i].value.n)));
}

static void same(const struct etl_spec *a, const struct etl_spec *b)
{
    assert(str_eq(a->name, b->name) && a->comm == b->comm && str_eq(a->image, b->image));
    assert(a->init_timeout_ms == b->init_timeout_ms && a->object_timeout_ms == b->object_timeout_ms);
    assert(a->direct_put == b->direct_put && a->network == b->network && a->worker == b->worker);
    assert(a->port == b->port && str_eq(a->health, b->health) && str_eq(a->pod, b->pod));
    assert(a->command_count == b->command_count && a->env_count == b->env_count);
    for (size_t i = 0; i < a->command_count; i++)
        assert(str_eq(a->command[i], b->command[i]));
    for (size_t i = 0; i < a->env_count; i++)
        assert(str_eq(a->env[i].name, b->env[i].name) && str_eq(a->env[i].value, b->env[i].value));
    assert(memcmp(&a->resources, &b->resources, sizeof(a->resources)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    char why[ETL_WHY_MAX] = "";
    struct etl_spec first, again;
    struct buf b = BUF_INIT(ETL_SPEC_MAX);
    enum err e = etl_spec_parse(str_n(data, size), &arena, &first, why);

    if (e == ERR_OK) {
        check(&first);
        etl_spec_write(&b, &first);
        assert(buf_err(&b) == ERR_OK);
        assert(etl_spec_parse(buf_str(&b), &arena, &again, why) == ERR_OK);
        same(&first, &again);
    } else {
        assert((e == ERR_INVALID_ARGUMENT || e == ERR_NOT_IMPLEMENTED) && why[0] && str_is_utf8(str_z(why)));
    }
    buf_release(&b);
    arena_release(&arena);
    return 0;
}
