#include "store_contract.h"

#include "rpc_fixture.h"
#include "store/memstore.h"

/* The whole contract between two nodes: remote -> HTTP -> rpc -> a store in memory. */
struct pair {
    struct store *memory;
    struct rpc_fixture fixture;
};

static struct store *open_store(struct contract_env *env)
{
    struct pair *p = env->arg;

    p->memory = memstore_new(env->loop);
    rpc_fixture_open(&p->fixture, env->loop, p->memory);
    return p->fixture.remote;
}

static void close_store(struct contract_env *env, struct store *s)
{
    struct pair *p = env->arg;

    (void)s;
    rpc_fixture_close(&p->fixture);
    store_close(p->memory);
}

int main(void)
{
    struct loop *loop = loop_new();
    static struct pair p;
    struct contract_env env = {.name = "remote",
                               .loop = loop,
                               .open = open_store,
                               .close = close_store,
                               .far = true,
                               .skip = CONTRACT_NO_GATE,
                               .arg = &p};

    loop_adopt(loop);
    int failed = store_contract_run(&env);
    loop_free(loop);
    return failed;
}
