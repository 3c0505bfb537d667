#include "cluster_kit.h"

#include <stdio.h>

static struct store *open_store(struct contract_env *env)
{
    (void)env;
    return cluster_shard();
}

static void close_store(struct contract_env *env, struct store *s)
{
    (void)env;
    store_close(s);
}

int main(void)
{
    static const unsigned sizes[] = {1, 3, 5};
    struct loop *loop = loop_new();
    int failed = 0;

    loop_adopt(loop);
    for (int i = 0; i < 3; i++) {
        struct contract_env env = {
            .name = "shard", .loop = loop, .open = open_store, .close = close_store, .skip = CONTRACT_NO_GATE};
        printf("---- %u nodes\n", sizes[i]);
        cluster_open(loop, sizes[i], sizes[i]);
        failed += store_contract_run(&env);
        cluster_close();
    }
    loop_free(loop);
    return failed;
}
