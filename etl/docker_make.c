#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "docker_own.h"

enum {
    ORDER_MAX = 4 << 20,
    PROCESSES_MAX = 256, /* of a sidecar, as in the process runtime */
    NAMES_MAX = 3 * ETL_ENV_MAX,
    NANO_PER_MILLI = 1000000, /* cores */
    REMOVE_TRIES = 10,
    REMOVE_PAUSE_MS = 200,
    SIGNALED = 128, /* exit statuses above it mean a signal, to engines and to shells */
    SIGNAL_MAX = 64,
    KILLED = 9,
};
#define LOG_SIZE "1m"

const char docker_share[] = "/mnt/sluice";

/* ---- its environment ---- */

struct names {
    const struct etl_env *seen[NAMES_MAX];
    size_t count;
};

static bool text_is_valid(struct str s)
{
    return str_find_char(s, 0) == SIZE_MAX && str_is_utf8(s); /* it travels as JSON */
}

static bool is_seen(const struct names *names, struct str name)
{
    for (size_t i = 0; i < names->count; i++)
        if (str_eq(names->seen[i]->name, name))
            return true;
    return false;
}

/* The first of a name counts; of two in one list the last. */
static bool add_env(struct buf *b, struct arena *a, struct names *names, const struct etl_env *env, size_t n)
{
    for (size_t k = n; k-- > 0;) {
        if (!env[k].name.n || !text_is_valid(env[k].name) || !text_is_valid(env[k].value) ||
            str_find_char(env[k].name, '=') != SIZE_MAX || names->count == NAMES_MAX)
            return false;
        if (is_seen(names, env[k].name))
            continue;
        names->seen[names->count++] = &env[k];
        js_str(b, arena_printf(a, STR_FMT "=" STR_FMT, STR_ARG(env[k].name), STR_ARG(env[k].value)));
    }
    return true;
}

static bool put_env(struct docker_instance *i, const struct docker_env_list *env, struct arena *a, struct buf *b)
{
    struct str direct = i->spec.direct_put ? STR("true") : STR("false"), port = arena_u64(a, i->spec.port);
    const struct etl_env own[] = {{STR("direct_put"), direct}, {STR("DIRECT_PUT"), direct},
                                  {STR("PORT"), port},         {STR("ETL_PORT"), port},
                                  {STR("HOME"), STR("/tmp")},  {STR("AIS_TARGET_URL"), i->url}};
    struct names names = {.count = 0};
    /* whose user is the image's has the home that the image says */
    const struct etl_env url = own[5], *tail = i->url.n ? &url : NULL;
    bool ok;

    js_key(b, STR("Env"));
    js_array(b);
    ok = add_env(b, a, &names, env->env, env->count) && add_env(b, a, &names, i->spec.env, i->spec.env_count) &&
         add_env(b, a, &names, tail, tail ? 1 : 0) && add_env(b, a, &names, own, i->own_user ? 4 : 5);
    js_end_array(b);
    return ok;
}

/* ---- what it is made of ---- */

static void put_pair(struct buf *b, const char *key, const char *name, const char *value)
{
    js_key(b, str_z(key));
    js_object(b);
    js_put_str(b, name, str_z(value));
    js_end_object(b);
}

static void put_list(struct buf *b, const char *key, const struct str *words, size_t n)
{
    js_key(b, str_z(key));
    js_array(b);
    for (size_t k = 0; k < n; k++)
        js_str(b, words[k]);
    js_end_array(b);
}

static void put_limits(const struct docker_instance *i, struct buf *b)
{
    const struct etl_resources *res = &i->spec.resources;
    uint64_t memory = res->memory_limit ? res->memory_limit : i->runtime->memory_max;

    js_put_u64(b, "PidsLimit", PROCESSES_MAX);
    if (memory) {
        js_put_u64(b, "Memory", memory);
        js_put_u64(b, "MemorySwap", memory); /* of both together: no swap */
    }
    if (res->cpu_limit)
        js_put_u64(b, "NanoCpus", (uint64_t)res->cpu_limit * NANO_PER_MILLI);
}

static void put_mounts(const struct docker_instance *i, struct buf *b)
{
    put_pair(b, "Tmpfs", "/tmp", "rw,exec,nosuid,nodev,mode=1777");
    if (!i->dir.n)
        return;
    js_key(b, STR("Mounts"));
    js_array(b);
    js_object(b);
    js_put_str(b, "Type", STR("bind"));
    js_put_str(b, "Source", i->dir);
    js_put_str(b, "Target", str_z(docker_share));
    js_put_bool(b, "ReadOnly", true);
    js_end_object(b);
    js_end_array(b);
}

/* What is written to pipes is not written to the engine's disk as well. */
static void put_log(struct buf *b, bool piped)
{
    js_key(b, STR("LogConfig"));
    js_object(b);
    js_put_str(b, "Type", piped ? STR("none") : STR("json-file"));
    if (!piped) {
        js_key(b, STR("Config"));
        js_object(b);
        js_put_str(b, "max-size", STR(LOG_SIZE));
        js_put_str(b, "max-file", STR("1"));
        js_end_object(b);
    }
    js_end_object(b);
}

static void put_host(const struct docker_instance *i, bool piped, bool init, struct buf *b)
{
    static const struct str all[] = {{"ALL", 3}}, no_new[] = {{"no-new-privileges", 17}};

    js_key(b, STR("HostConfig"));
    js_object(b);
    js_put_str(b, "NetworkMode", i->net ? str_z(i->net->name) : STR("none"));
    put_limits(i, b);
    put_list(b, "CapDrop", all, 1);
    put_list(b, "SecurityOpt", no_new, 1);
    put_mounts(i, b);
    put_log(b, piped);
    put_pair(b, "RestartPolicy", "Name", "no"); /* that is the engine's business */
    if (init)
        js_put_bool(b, "Init", true);
    js_end_object(b);
}

static void put_streams(struct buf *b, bool piped)
{
    js_put_bool(b, "Tty", false);
    js_put_bool(b, "AttachStdin", piped);
    js_put_bool(b, "AttachStdout", piped);
    js_put_bool(b, "AttachStderr", piped);
    js_put_bool(b, "OpenStdin", piped);
    js_put_bool(b, "StdinOnce", piped);
}

static bool put_all(struct docker_instance *i, const struct docker_env_list *env, bool piped, struct arena *a,
                    struct buf *b)
{
    bool ok = true;

    js_object(b);
    js_put_str(b, "Image", i->spec.image);
    for (size_t k = 0; k < i->spec.command_count; k++)
        ok = ok && text_is_valid(i->spec.command[k]);
    if (i->spec.command_count) /* as in Kubernetes: the image's own arguments go with its own command */
        put_list(b, "Entrypoint", i->spec.command, i->spec.command_count);
    if (!i->own_user)
        js_put_str(b, "User", STR("65534:65534"));
    ok = put_env(i, env, a, b) && ok;
    put_streams(b, piped);
    js_key(b, STR("Labels"));
    js_object(b);
    js_put_str(b, docker_label, i->runtime->label);
    js_put_str(b, "sluice.etl", i->id);
    js_end_object(b);
    static const struct str no_check[] = {{"NONE", 4}};
    js_key(b, STR("Healthcheck"));
    js_object(b);
    put_list(b, "Test", no_check, 1);
    js_end_object(b);
    put_host(i, piped, atomic_load(&i->runtime->init), b);
    js_end_object(b);
    return ok && !b->over;
}

static void tell_warnings(const struct docker_instance *i, const struct doc *d)
{
    const struct doc *list = rest_at(d, "Warnings");

    for (const struct doc *w = list && list->kind == DOC_LIST ? list->first : NULL; w; w = w->next)
        log_warn(STR_NONE, "etl container", "instance=" STR_FMT " engine=%s", STR_ARG(i->id), log_quote(w->text));
}

enum err docker_make(struct docker_instance *i, const struct docker_env_list *env, bool piped,
                     char id[DOCKER_ID_MAX + 1], char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct buf b = BUF_INIT(ORDER_MAX);
    uint8_t raw[6];
    char hex[2 * sizeof(raw)];
    struct doc *d;
    enum err e = ERR_INVALID_ARGUMENT;

    random_bytes(raw, sizeof(raw));
    hex_encode(raw, sizeof(raw), hex);
    struct str path =
        arena_printf(&a, "/containers/create?name=sluice-" STR_FMT "-%.*s", STR_ARG(i->id), (int)sizeof(hex), hex);
    struct rest_req req = {.method = "POST", .path = path.p, .timeout_ms = DOCKER_MAKE_MS};
    if (!put_all(i, env, piped, &a, &b))
        snprintf(
            why, ETL_WHY_MAX,
            "the command or its environment can't be that of a container: too large, or no UTF-8, or the name of a "
            "variable is empty or has an '='");
    else if (req.body = buf_str(&b), (e = docker_ask(&i->runtime->api, &a, &req, &d, why)) == ERR_OK)
        tell_warnings(i, d);
    if (e == ERR_OK && !docker_take_id(rest_text(d, "Id"), id)) {
        snprintf(why, ETL_WHY_MAX, "the container engine does not tell its container's id");
        e = ERR_UNAVAILABLE;
    }
    buf_release(&b);
    arena_release(&a);
    return e;
}

/* ---- what is done with it ---- */

static enum err act(struct docker_runtime *r, const char *method, const char *id, const char *what, uint32_t ms,
                    char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct str path = arena_printf(&a, "/containers/%s%s", id, what);
    struct rest_req req = {.method = method, .path = path.p, .timeout_ms = ms};
    enum err e = docker_ask(&r->api, &a, &req, NULL, why);

    arena_release(&a);
    return e;
}

enum err docker_run(struct docker_runtime *r, const char *id, char why[ETL_WHY_MAX])
{
    return act(r, "POST", id, "/start", DOCKER_MAKE_MS, why);
}

bool docker_remove(struct docker_runtime *r, const char *id)
{
    char why[ETL_WHY_MAX] = "";
    enum err e = act(r, "DELETE", id, "?force=true&v=true", DOCKER_MAKE_MS, why);

    for (int k = 1; k < REMOVE_TRIES && e == ERR_CONFLICT; k++) { /* it is being removed already, which may fail */
        usleep(REMOVE_PAUSE_MS * 1000);
        e = act(r, "DELETE", id, "?force=true&v=true", DOCKER_MAKE_MS, why);
    }
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        return true;
    log_error(STR_NONE, "etl container not removed", "container=%s reason=%s", id, log_quote(str_z(why)));
    return false;
}

enum err docker_inspect(struct docker_runtime *r, struct arena *a, const char *id, struct doc **out,
                        char why[ETL_WHY_MAX])
{
    struct str path = arena_printf(a, "/containers/%s/json", id);

    return docker_ask(&r->api, a, &(struct rest_req){.method = "GET", .path = path.p}, out, why);
}

int docker_fate(const struct doc *d, char why[ETL_WHY_MAX])
{
    struct str code = rest_text(d, "State.ExitCode"), error = rest_text(d, "State.Error");
    bool starved = str_eq(rest_text(d, "State.OOMKilled"), STR("true"));
    uint64_t n = 0;

    if (!str_to_u64(code, 255, &n)) {
        snprintf(why, ETL_WHY_MAX, "it has ended; the container engine does not tell how");
        return 1;
    }
    if (error.n)
        rest_say(why, "the container engine says: ", error);
    else if (n > SIGNALED && n <= SIGNALED + SIGNAL_MAX)
        snprintf(why, ETL_WHY_MAX, "killed by signal %d%s", (int)n - SIGNALED,
                 starved && n == SIGNALED + KILLED ? " (out of memory)" : "");
    else
        snprintf(why, ETL_WHY_MAX, "exit status %d%s", (int)n, starved ? " (out of memory)" : "");
    return (int)n;
}

static uint64_t number(const struct doc *d, const char *path)
{
    uint64_t n = 0;

    (void)str_to_u64(rest_text(d, path), UINT64_MAX, &n);
    return n;
}

enum err docker_usage_of(struct docker_runtime *r, const char *id, struct etl_usage *out)
{
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX];
    struct doc *d;
    struct str path = arena_printf(&a, "/containers/%s/stats?stream=false&one-shot=true", id);
    enum err e = docker_ask(&r->api, &a, &(struct rest_req){.method = "GET", .path = path.p}, &d, why);

    if (e == ERR_OK) {
        /* files that were read and can be forgotten are not counted: control groups of version 1, and 2 */
        uint64_t memory = number(d, "memory_stats.usage"), files = number(d, "memory_stats.stats.total_inactive_file");
        files = files ? files : number(d, "memory_stats.stats.inactive_file");
        uint64_t processes = number(d, "pids_stats.current");
        *out =
            (struct etl_usage){(double)number(d, "cpu_stats.cpu_usage.total_usage") / 1e9,
                               memory > files ? memory - files : 0, processes < UINT32_MAX ? (uint32_t)processes : 0};
    }
    arena_release(&a);
    return e;
}
