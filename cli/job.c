#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "command.h"
#include "job_way.h"

enum { WAIT_PAUSE_MS = 200, EXIT_ENDED_BADLY = 3 };

/* What a verb works with. */
struct jobs_cli {
    struct settings settings;
    struct job_way way;
    struct arena arena;
    struct str word; /* the id or kind that the verb is about */
    struct str spec;
    bool json;
};

struct verb {
    const char *name;
    const char *takes; /* what `word` is; NULL = nothing */
    int (*run)(struct jobs_cli *c);
};

static int refused(const struct jobs_cli *c, enum err e)
{
    if (e == ERR_NOT_FOUND)
        return command_fail("there is no job %s; `sluice job list` lists them", c->word.p);
    if (e == ERR_UNAVAILABLE)
        return command_fail(c->way.meta ? "etcd did not answer" : "the server did not answer");
    return command_fail("the request was refused (%s)", err_name(e));
}

/* ---- list and show ---- */

static struct str text_of(const struct doc *d, struct str key)
{
    const struct doc *found = doc_get(d, key);

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

static const char *time_of(const struct doc *d, struct str key, char out[32])
{
    uint64_t ms = 0;
    struct tm tm;
    time_t s;

    if (!str_to_u64(text_of(d, key), UINT64_MAX, &ms) || ms == 0)
        return "-";
    s = (time_t)(ms / 1000);
    strftime(out, 32, "%Y-%m-%d %H:%M:%S", localtime_r(&s, &tm));
    return out;
}

static void print_list(const struct doc *jobs)
{
    char began[32], ended[32];

    printf("%-24s  %-10s  %-8s  %-19s  %s\n", "ID", "KIND", "STATE", "STARTED", "ENDED");
    for (const struct doc *j = jobs ? jobs->first : NULL; j; j = j->next)
        printf("%-24.*s  %-10.*s  %-8.*s  %-19s  %s\n", STR_ARG(text_of(j, STR("id"))),
               STR_ARG(text_of(j, STR("kind"))), STR_ARG(text_of(j, STR("state"))),
               time_of(j, STR("created_ms"), began), time_of(j, STR("ended_ms"), ended));
}

static void print_job(const struct doc *j)
{
    const struct doc *parts = doc_get(j, STR("parts"));

    printf("job " STR_FMT ": " STR_FMT ", " STR_FMT " done, " STR_FMT " failed, " STR_FMT " skipped, " STR_FMT
           " bytes\n",
           STR_ARG(text_of(j, STR("id"))), STR_ARG(text_of(j, STR("state"))), STR_ARG(text_of(j, STR("ok"))),
           STR_ARG(text_of(j, STR("failed"))), STR_ARG(text_of(j, STR("skipped"))), STR_ARG(text_of(j, STR("bytes"))));
    printf("%-16s  %-8s  %10s  %8s  %8s  %14s  %s\n", "TARGET", "STATE", "DONE", "FAILED", "SKIPPED", "BYTES", "NOTE");
    for (const struct doc *p = parts ? parts->first : NULL; p; p = p->next) {
        const struct doc *errors = doc_get(p, STR("errors"));
        printf("%-16.*s  %-8.*s  %10.*s  %8.*s  %8.*s  %14.*s  " STR_FMT "\n", STR_ARG(text_of(p, STR("node"))),
               STR_ARG(text_of(p, STR("state"))), STR_ARG(text_of(p, STR("ok"))), STR_ARG(text_of(p, STR("failed"))),
               STR_ARG(text_of(p, STR("skipped"))), STR_ARG(text_of(p, STR("bytes"))),
               STR_ARG(text_of(p, STR("note"))));
        for (const struct doc *e = errors ? errors->first : NULL; e; e = e->next)
            printf("    " STR_FMT "\n", STR_ARG(e->text));
    }
}

static enum err parse(struct jobs_cli *c, struct str json, struct doc **out)
{
    const struct js_bounds bounds = {33 << 20, 2000000};
    char why[DOC_WHY_MAX];

    return js_read_within(&c->arena, json, &bounds, out, why);
}

static int run_list(struct jobs_cli *c)
{
    struct str json = STR("");
    struct doc *root = NULL;
    enum err e = job_way_look(&c->way, &c->arena, STR(""), &json);

    if (e == ERR_OK)
        e = parse(c, json, &root);
    if (e != ERR_OK)
        return refused(c, e);
    if (c->json)
        printf(STR_FMT "\n", STR_ARG(json));
    else
        print_list(doc_get(root, STR("jobs")));
    return EXIT_SUCCESS;
}

static int show(struct jobs_cli *c, struct str json, const struct doc *root)
{
    if (c->json)
        printf(STR_FMT "\n", STR_ARG(json));
    else
        print_job(root);
    return EXIT_SUCCESS;
}

static int run_show(struct jobs_cli *c)
{
    struct str json = STR("");
    struct doc *root = NULL;
    enum err e = job_way_look(&c->way, &c->arena, c->word, &json);

    if (e == ERR_OK)
        e = parse(c, json, &root);
    return e == ERR_OK ? show(c, json, root) : refused(c, e);
}

/* Until it has ended; while etcd is away it goes on waiting. */
static int run_wait(struct jobs_cli *c)
{
    const struct timespec pause = {.tv_nsec = WAIT_PAUSE_MS * 1000000L};
    struct str json = STR("");
    struct doc *root;
    enum err e;

    for (;;) {
        e = job_way_look(&c->way, &c->arena, c->word, &json);
        if (e == ERR_OK && (e = parse(c, json, &root)) != ERR_OK)
            return refused(c, e);
        if (e == ERR_OK && !str_eq(text_of(root, STR("state")), STR("running"))) {
            show(c, json, root);
            return str_eq(text_of(root, STR("state")), STR("done")) && str_eq(text_of(root, STR("failed")), STR("0"))
                       ? EXIT_SUCCESS
                       : EXIT_ENDED_BADLY;
        }
        if (e != ERR_OK && e != ERR_UNAVAILABLE)
            return refused(c, e);
        arena_release(&c->arena);
        nanosleep(&pause, NULL);
    }
}

/* ---- start and stop ---- */

static int run_start(struct jobs_cli *c)
{
    char why[256];
    struct str id;
    enum err e = job_way_start(&c->way, &c->arena, c->word, c->spec, &id, why);

    if (e == ERR_INVALID_ARGUMENT)
        return command_usage("job %s is not started: %s", c->word.p, why);
    if (e == ERR_CONFLICT)
        return command_fail("a job %s is running already; `sluice job list` shows it", c->word.p);
    if (e != ERR_OK)
        return refused(c, e);
    printf(STR_FMT "\n", STR_ARG(id));
    return EXIT_SUCCESS;
}

static int run_stop(struct jobs_cli *c)
{
    enum err e = job_way_stop(&c->way, &c->arena, c->word);

    if (e == ERR_INVALID_ARGUMENT)
        return command_fail("job %s can't be stopped: the cluster needs its end", c->word.p);
    if (e != ERR_OK)
        return refused(c, e);
    printf("job %s is told to stop\n", c->word.p);
    return EXIT_SUCCESS;
}

/* ---- the command ---- */

static const struct verb verbs[] = {
    {"list", NULL, run_list}, {"show", "ID", run_show}, {"start", "KIND", run_start},
    {"stop", "ID", run_stop}, {"wait", "ID", run_wait},
};

static int run(struct jobs_cli *c, const struct verb *v)
{
    char why[SETTINGS_WHY_MAX] = "";
    int code;

    if (c->settings.cluster_etcd.count == 0 && c->settings.data.count == 0)
        return command_usage(
            "say whose jobs: --cluster-etcd http://HOST:2379, or --data and the first data directory of a server");
    if (c->settings.cluster_etcd.count && settings_check_etcd(&c->settings, why) != ERR_OK)
        return command_usage("%s", why);
    if (job_way_open(&c->way, &c->settings, why) != ERR_OK)
        code = command_fail("%s", why);
    else
        code = v->run(c);
    job_way_close(&c->way);
    arena_release(&c->arena);
    return code;
}

int command_job(int argc, char **argv)
{
    struct jobs_cli c = {.json = command_switch(&argc, argv, "--json")};
    const struct verb *v = NULL;
    char why[SETTINGS_WHY_MAX];
    int skip = 1, code;

    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs) && argc > 0; i++)
        if (strcmp(verbs[i].name, argv[0]) == 0)
            v = &verbs[i];
    if (!v)
        return command_usage("say what to do: job list, show ID, start KIND [SPEC], stop ID, wait ID");
    if (v->takes) {
        if (argc < 2 || argv[1][0] == '-')
            return command_usage("say which: job %s %s", v->name, v->takes);
        c.word = str_z(argv[1]);
        skip = 2;
    }
    if (v->run == run_start && argc > 2 && argv[2][0] == '{') {
        c.spec = str_z(argv[2]);
        skip = 3;
    }
    if (settings_load(&c.settings, argc - skip, argv + skip, why) != ERR_OK)
        return command_usage("%s", why);
    if (strcmp(config_origin(c.settings.config, offsetof(struct settings, log_level)), "default") == 0)
        log_setup(LOG_ERROR, c.settings.log_format == LOG_FORMAT_JSON);
    code = run(&c, v);
    settings_free(&c.settings);
    return code;
}
