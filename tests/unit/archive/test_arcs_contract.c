/* The indexing store keeps the contract of stores, around one that does. */
#include "store_contract.h"

#include "archive/arcs.h"
#include "store/memstore.h"

struct world {
    struct meta *meta;
    struct buckets *buckets;
    struct offload *cpu;
    struct arc_cache *cache;
    struct store *memory;
    struct arcs *arcs;
};

static struct store *open_store(struct contract_env *env)
{
    struct world *w = env->arg;

    w->memory = memstore_new(env->loop);
    w->arcs = arcs_new(&(struct arcs_env){env->loop, w->memory, w->buckets, w->cpu, w->cache});
    return arcs_store(w->arcs);
}

static void close_store(struct contract_env *env, struct store *s)
{
    struct world *w = env->arg;

    store_close(s);
    arcs_free(w->arcs);
    store_close(w->memory);
}

int main(void)
{
    struct loop *loop = loop_new();
    struct world w = {.cpu = offload_new("cpu", 2, 64), .cache = arc_cache_new(1 << 20)};
    struct contract_env env = {.name = "archives", .loop = loop, .open = open_store, .close = close_store, .arg = &w};

    loop_adopt(loop);
    w.meta = meta_memory_new();
    if (buckets_open(w.meta, &w.buckets) != ERR_OK)
        return 1;
    int failed = store_contract_run(&env);
    meta_close(w.meta);
    buckets_close(w.buckets);
    offload_free(w.cpu);
    arc_cache_free(w.cache);
    loop_free(loop);
    return failed;
}
