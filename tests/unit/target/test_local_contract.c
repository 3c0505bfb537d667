#include "store_contract.h"

#include <stdio.h>

#include "target/local.h"
#include "target_dir.h"

struct engine {
    char paths[2][300];
    struct str mountpaths[2];
    struct local_conf conf;
    struct local *local;
};

static struct store *open_store(struct contract_env *env)
{
    struct engine *g = env->arg;
    char why[512] = "";

    g->conf.io = offload_new("io", 2, 256);
    g->conf.cpu = offload_new("cpu", 2, 256);
    if (local_open(&g->conf, &g->local, why) != ERR_OK) {
        fprintf(stderr, "local_open: %s\n", why);
        abort();
    }
    return local_store(g->local, env->loop);
}

static void close_store(struct contract_env *env, struct store *s)
{
    struct engine *g = env->arg;

    store_close(s);
    local_close(g->local);
    offload_free(g->conf.io);
    offload_free(g->conf.cpu);
}

/* The whole contract on two mountpaths, once with small bodies in the index, once with none there. */
int main(void)
{
    struct loop *loop = loop_new();
    static struct engine g = {.conf = LOCAL_CONF_DEFAULT};
    struct test_dir tmp;
    struct contract_env env = {.loop = loop, .open = open_store, .close = close_store, .persistent = true, .arg = &g};
    int failed = 0;

    hash_setup();
    loop_adopt(loop);
    for (int pass = 0; pass < 2; pass++) {
        test_dir_make(&tmp);
        g.conf.mountpaths = g.mountpaths;
        g.conf.mountpath_count = 2;
        g.conf.inline_max = pass ? 0 : 16384;
        env.name = pass ? "local, all in segments" : "local";
        for (int i = 0; i < 2; i++) {
            snprintf(g.paths[i], sizeof(g.paths[i]), "%s/%d", tmp.path, i);
            g.mountpaths[i] = str_z(g.paths[i]);
        }
        failed += store_contract_run(&env);
        test_dir_remove(&tmp);
    }
    loop_free(loop);
    return failed;
}
