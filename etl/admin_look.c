#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "etl/admin.h"
#include "etl/admin_own.h"

/* Looks at one, or at all. */
struct look {
    struct op op;
    struct meta *meta;
    struct arena *arena;
    struct str name; /* empty: all */
    struct etl_info *one;
    struct etl_list_res *all;
    struct etl_info *list;
    size_t count, cap;
    struct call *whole;
    struct meta_get_req get_req;
    struct meta_get_res got;
    struct meta_list_req list_req;
    struct meta_list_res listed;
    struct states_req states_req;
    struct states_res states;
};

static step_fn look_get, look_got, look_list, look_listed, look_states, look_told, look_end;

static void add(struct look *l, struct str text)
{
    struct etl_record r;
    enum err e = etl_record_read(l->arena, text, &r);

    if (e != ERR_OK) {
        log_error(STR_NONE, "the record of an etl can't be read", "error=%s", err_name(e));
        return;
    }
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct etl_info *more = arena_alloc(l->arena, cap * sizeof(*more));
        if (l->count)
            memcpy(more, l->list, l->count * sizeof(*more));
        l->list = more;
        l->cap = cap;
    }
    l->list[l->count++] = (struct etl_info){.name = r.spec.name,
                                            .id = r.id,
                                            .stage = etl_stage_now(&r, etl_now_ms()),
                                            .created_ms = r.created_ms,
                                            .owner = r.owner,
                                            .spec = r.spec};
}

static enum step_next look_get(struct op *op)
{
    struct look *l = OP(op, struct look);

    l->get_req = (struct meta_get_req){l->arena, etl_key(l->arena, l->name)};
    meta_get(l->meta, &l->get_req, &l->got, op_try(op, look_got));
    return STEP_WAIT;
}

static enum step_next look_got(struct op *op)
{
    struct look *l = OP(op, struct look);

    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err == ERR_NOT_FOUND ? ERR_NO_SUCH_ETL : op->call.err);
    add(l, l->got.value);
    return l->count ? op_go(op, look_states) : op_fail(op, ERR_CORRUPT);
}

static enum step_next look_list(struct op *op)
{
    struct look *l = OP(op, struct look);

    meta_list(l->meta, &l->list_req, &l->listed, op_call(op, look_listed));
    return STEP_WAIT;
}

static enum step_next look_listed(struct op *op)
{
    struct look *l = OP(op, struct look);

    for (uint32_t i = 0; i < l->listed.count; i++)
        add(l, l->listed.entries[i].value);
    if (!l->listed.truncated || l->listed.count == 0)
        return op_go(op, look_states);
    l->list_req.after = l->listed.entries[l->listed.count - 1].key;
    return op_go(op, look_list);
}

static enum step_next look_states(struct op *op)
{
    struct look *l = OP(op, struct look);

    l->states_req = (struct states_req){l->arena, l->meta, l->name};
    etl_states(&l->states_req, &l->states, op_call(op, look_told));
    return STEP_WAIT;
}

/* Those of the present making. */
static void give_states(struct look *l, struct etl_info *info)
{
    struct etl_node_state *nodes = arena_new(l->arena, (l->states.count + 1) * sizeof(*nodes));

    for (size_t i = 0; i < l->states.count; i++) {
        const struct named_state *s = &l->states.list[i];
        if (str_eq(s->name, info->name) && str_eq(s->state.id, info->id))
            nodes[info->node_count++] = s->state;
    }
    info->nodes = nodes;
}

static enum step_next look_told(struct op *op)
{
    struct look *l = OP(op, struct look);

    for (size_t i = 0; i < l->count; i++)
        give_states(l, &l->list[i]);
    return op_go(op, look_end);
}

static enum step_next look_end(struct op *op)
{
    struct look *l = OP(op, struct look);

    if (op->err == ERR_OK && l->one)
        *l->one = l->list[0];
    if (op->err == ERR_OK && l->all)
        *l->all = (struct etl_list_res){l->list, l->count};
    call_finish(l->whole, op->err);
    free(l);
    return STEP_DONE;
}

static void look_cancel(void *arg)
{
    op_cancel(&((struct look *)arg)->op, ERR_CANCELLED);
}

static struct look *look_new(const struct etl_admin_env *env, struct arena *arena, struct call *call)
{
    struct look *l = NEW(struct look);

    l->meta = env->meta;
    l->arena = arena;
    l->whole = call;
    call_on_cancel(call, look_cancel, l);
    return l;
}

void etl_look(const struct etl_admin_env *env, const struct etl_name_req *req, struct etl_info *res, struct call *call)
{
    struct look *l = look_new(env, req->arena, call);

    l->name = arena_str(req->arena, req->name);
    l->one = res;
    op_start(&l->op, call->loop, "etl_look", look_get, look_end);
}

void etl_list(const struct etl_admin_env *env, struct arena *arena, struct etl_list_res *res, struct call *call)
{
    struct look *l = look_new(env, arena, call);

    l->all = res;
    l->list_req = (struct meta_list_req){.arena = arena, .prefix = ETL_KEY, .max = META_LIST_MAX};
    op_start(&l->op, call->loop, "etl_list", look_list, look_end);
}
