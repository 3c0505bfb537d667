#include "target/redundant_own.h"

/* What a lead asks of a member: its own store, under the key's lock and by the newest map. */

typedef void ask_fn(struct store *, const void *req, void *res, struct call *);

struct member_op {
    struct op op;
    struct red_handle *handle;
    uint64_t epoch; /* of the request */
    enum keylock_mode mode;
    ask_fn *ask;
    const void *req;
    void *res;
    uint64_t uid;
    struct str key;
    struct call *whole;
    struct keylock lock;
    unsigned turn; /* barrier_let_in() */
};

static step_fn member_take, member_taken, member_end;

static enum err check_epoch(const struct member_op *m)
{
    const struct map *map = NULL;
    enum err e = members_fence(m->handle->redundant->members, m->epoch, &map);

    if (e == ERR_OK)
        map_release(map);
    return e;
}

/* What comes by an older map is refused before it waits: whoever holds the lock may wait for its sender. */
static enum step_next member_take(struct op *op)
{
    struct member_op *m = OP(op, struct member_op);
    enum err e = check_epoch(m);

    if (e != ERR_OK)
        return op_fail(op, e);
    keylock_take(m->handle->redundant->locks, &m->lock, m->uid, m->key, m->mode, op_try(op, member_taken));
    if (check_epoch(m) !=
        ERR_OK) /* the map may have come in between, and with it who waits for the sender: not behind it */
        call_cancel(&op->call);
    return STEP_WAIT;
}

static enum step_next member_taken(struct op *op)
{
    struct member_op *m = OP(op, struct member_op);
    enum err e = check_epoch(m);

    if (e == ERR_OK)
        e = op->call.err;
    if (e != ERR_OK)
        return op_fail(op, e);
    m->ask(m->handle->env.mine, m->req, m->res, op_call(op, member_end));
    return STEP_WAIT;
}

static enum step_next member_end(struct op *op)
{
    struct member_op *m = OP(op, struct member_op);

    keylock_drop(&m->lock);
    barrier_let_out(&m->handle->redundant->changes, m->turn);
    call_finish(m->whole, op->err);
    return STEP_DONE;
}

static void member_cancel(void *arg)
{
    op_cancel(&((struct member_op *)arg)->op, ERR_CANCELLED);
}

static void member_start(struct store *store, const struct member_op *what, struct arena *arena)
{
    struct member_op *m = ARENA_NEW(arena, struct member_op);

    *m = *what;
    m->handle = RED(store);
    m->epoch = m->handle->epoch;
    m->turn = barrier_let_in(&m->handle->redundant->changes);
    op_start(&m->op, m->whole->loop, "red_member", member_take, member_end);
    call_on_cancel(m->whole, member_cancel, m);
}

#define LOCKED(method, how)                                                                                            \
    static void ask_##method(struct store *s, const void *req, void *res, struct call *c)                              \
    {                                                                                                                  \
        store_##method(s, req, res, c);                                                                                \
    }                                                                                                                  \
    static void member_##method(struct store *s, const struct method##_req *r, struct method##_res *res,               \
                                struct call *c)                                                                        \
    {                                                                                                                  \
        member_start(s,                                                                                                \
                     &(struct member_op){.mode = how,                                                                  \
                                         .ask = ask_##method,                                                          \
                                         .req = r,                                                                     \
                                         .res = res,                                                                   \
                                         .uid = r->bucket.uid,                                                         \
                                         .key = r->key,                                                                \
                                         .whole = c},                                                                  \
                     r->arena);                                                                                        \
    }
LOCKED(obj_head, KEYLOCK_SHARED)
LOCKED(obj_put, KEYLOCK_EXCLUSIVE) /* slices */
LOCKED(obj_import, KEYLOCK_EXCLUSIVE)
LOCKED(obj_delete, KEYLOCK_EXCLUSIVE)

#define PASS(m)                                                                                                        \
    static void member_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)            \
    {                                                                                                                  \
        store_##m(RED(s)->env.mine, req, res, c);                                                                      \
    }
PASS(obj_get)
PASS(obj_list)
PASS(upload_part)
PASS(upload_abort)
PASS(upload_list)
PASS(part_list)
PASS(upload_complete)

void redundant_member_at(struct store *member, uint64_t epoch)
{
    RED(member)->epoch = epoch;
}

struct store *redundant_member(struct redundant *r, const struct redundant_env *env)
{
    static const struct store_ops ops = {
        .name = "member",
        .obj_head = member_obj_head,
        .obj_get = member_obj_get,
        .obj_put = member_obj_put,
        .obj_delete = member_obj_delete,
        .obj_import = member_obj_import,
        .obj_list = member_obj_list,
        .upload_part = member_upload_part,
        .upload_complete = member_upload_complete,
        .upload_abort = member_upload_abort,
        .upload_list = member_upload_list,
        .part_list = member_part_list,
        .close = red_handle_close,
    };

    return &red_handle_new(r, env, &ops)->store;
}
