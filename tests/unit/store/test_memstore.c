#include "store_contract.h"

#include "store/memstore.h"

static struct store *open_store(struct contract_env *env)
{
    return memstore_new(env->loop);
}

static void close_store(struct contract_env *env, struct store *s)
{
    (void)env;
    store_close(s);
}

int main(void)
{
    struct loop *loop = loop_new();
    struct contract_env env = {.name = "memory", .loop = loop, .open = open_store, .close = close_store};

    loop_adopt(loop);
    int failed = store_contract_run(&env);
    loop_free(loop);
    return failed;
}
