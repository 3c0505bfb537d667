/* main.c - the composition root: argv, configuration, role. It alone knows both the gateway and the target. */
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/banner.h"
#include "cli/command.h"
#include "cli/process.h"
#include "gateway/front.h"
#include "target/local.h"

enum { WHY_MAX = SETTINGS_WHY_MAX, IO_QUEUE_MAX = 16384, CPU_QUEUE_MAX = 4096 };

/* A whole server in one process: gateway and target side by side. */
struct node {
    struct settings settings;
    struct arena arena;
    struct offload *io, *cpu;
    struct local *local;
    struct meta *meta;
    struct buckets *buckets;
    struct creds *creds;
    struct credentials credentials;
    struct tls_context *tls;
    struct s3api_conf s3;
    struct front *front;
};

static struct store *store_new(void *arg, struct loop *loop)
{
    return local_store(arg, loop);
}

static enum err open_data(struct node *n, char why[WHY_MAX])
{
    struct local_conf conf = n->settings.store;
    struct str meta = arena_printf(&n->arena, STR_FMT "/meta", STR_ARG(n->settings.data.items[0]));
    enum err e;

    conf.mountpaths = n->settings.data.items;
    conf.mountpath_count = n->settings.data.count;
    conf.io = n->io;
    conf.cpu = n->cpu;
    if ((e = local_open(&conf, &n->local, why)) != ERR_OK)
        return e;
    if ((e = meta_local_open(meta, n->io, &n->meta)) == ERR_OK)
        e = buckets_open(n->meta, &n->buckets);
    if (e != ERR_OK)
        snprintf(why, WHY_MAX, STR_FMT ": cannot open the bucket records (%s)", STR_ARG(meta), err_name(e));
    return e;
}

static enum err open_front(struct node *n, char why[WHY_MAX])
{
    const struct settings *s = &n->settings;
    struct front_conf conf = {.threads = s->threads,
                              .listen = {{s->listen, s->tls_listen.n ? NULL : n->tls}, {s->tls_listen, n->tls}},
                              .limits = s->limits,
                              .io = n->io,
                              .cpu = n->cpu,
                              .creds = n->creds,
                              .buckets = n->buckets,
                              .s3 = &n->s3,
                              .store_new = store_new,
                              .store_arg = n->local};

    n->s3 = (struct s3api_conf){s->auth == AUTH_NONE, s->region, s->domains.items, s->domains.count, s->log_access};
    return front_open(&conf, &n->front, why);
}

static enum err open_credentials(struct node *n, char why[WHY_MAX])
{
    const struct settings *s = &n->settings;
    enum err e;

    e = credentials_get(&n->arena, s->access_key, s->secret_key, s->data.items[0], &n->credentials, why);
    if (e == ERR_OK && (e = creds_put(n->creds, n->credentials.access_key, n->credentials.secret_key)) != ERR_OK)
        snprintf(why, WHY_MAX, "the access key or its secret is empty or too long");
    return e;
}

static enum err node_open(struct node *n, char why[WHY_MAX])
{
    const struct settings *s = &n->settings;
    enum err e;

    n->io = offload_new("io", s->io_threads, IO_QUEUE_MAX);
    n->cpu = offload_new("cpu", s->cpu_threads, CPU_QUEUE_MAX);
    n->creds = creds_new();
    if (s->tls_cert.n && (e = tls_context_new(s->tls_cert.p, s->tls_key.p, &n->tls, why)) != ERR_OK)
        return e;
    if ((e = open_data(n, why)) != ERR_OK || (e = open_front(n, why)) != ERR_OK)
        return e;
    return s->auth == AUTH_SIGNED ? open_credentials(n, why) : ERR_OK;
}

/* In the reverse order; whatever was opened. */
static void node_close(struct node *n)
{
    if (n->front)
        front_close(n->front);
    if (n->buckets)
        buckets_close(n->buckets);
    if (n->meta)
        meta_close(n->meta);
    if (n->local)
        local_close(n->local);
    if (n->tls)
        tls_context_free(n->tls);
    creds_free(n->creds);
    offload_free(n->cpu);
    offload_free(n->io);
    arena_release(&n->arena);
}

/* ---- serve ---- */

static void reload(struct node *n)
{
    char why[256];

    if (!n->tls)
        return;
    if (tls_context_reload(n->tls, why) == ERR_OK)
        log_info(STR_NONE, "certificate reloaded", "%s", "");
    else
        log_error(STR_NONE, "certificate not reloaded", "why=%s", log_quote(str_z(why)));
}

static void run(struct node *n, int signals)
{
    struct banner banner = {&n->settings, n->settings.auth == AUTH_SIGNED ? &n->credentials : NULL,
                            front_bound(n->front, 0), front_bound(n->front, 1)};
    enum process_event event;
    bool draining = false;

    front_run(n->front);
    banner_print(&banner);
    while ((event = process_wait(signals, front_fd(n->front))) != PROCESS_ENDED) {
        if (event == PROCESS_RELOAD) {
            reload(n);
            continue;
        }
        if (draining) /* asked twice: at once */
            _exit(EXIT_FAILURE);
        draining = true;
        log_info(STR_NONE, "draining", "timeout_ms=%u", n->settings.drain_timeout_ms);
        front_drain(n->front, n->settings.drain_timeout_ms);
    }
}

static int serve(int argc, char **argv)
{
    struct node n = {.arena = ARENA_INIT};
    char why[WHY_MAX] = "";
    int code = EXIT_SUCCESS, signals;

    if (settings_load(&n.settings, argc, argv, why) != ERR_OK)
        return command_usage("%s", why);
    if (settings_check_serve(&n.settings, why) != ERR_OK) {
        settings_free(&n.settings);
        return command_usage("%s", why);
    }
    signals = process_signals();
    process_raise_file_limit();
    hash_setup();
    if (node_open(&n, why) == ERR_OK)
        run(&n, signals);
    else
        code = command_fail("%s", why);
    node_close(&n);
    settings_free(&n.settings);
    close(signals);
    return code;
}

static const struct command commands[] = {
    {"serve", "--data DIR [--data DIR2...] [OPTIONS]", "Run an object store on this machine.", NULL, true, serve},
    {"fsck", "[--rebuild] [--quick] --data DIR [--data DIR2...]", "Check the data directories of a stopped server.",
     "  --rebuild\n      Salvage the index, then add what content files say and the index lacks.\n"
     "  --quick\n      Do not read and hash the content.\n",
     false, command_fsck},
    {"config", "[--print | --markdown] [OPTIONS]", "Print every option, its value and where it came from.",
     "  --print\n      As YAML that could be used as a file; the default.\n"
     "  --markdown\n      All options with their defaults as a documentation page.\n",
     true, command_config},
    {"version", "", "Print the version.", NULL, false, command_version},
};

enum { HEAP_STEP = 16 << 20 };

int main(int argc, char **argv)
{
    /* Heaps grow in large steps: each step has every thread that touches a fresh page wait (mmap_lock), loops among
     * them. Untouched memory costs nothing. */
    (void)mallopt(M_TOP_PAD, HEAP_STEP);
    return command_main(commands, sizeof(commands) / sizeof(*commands), argc, argv);
}
