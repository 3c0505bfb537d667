#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "command.h"
#include "etcd.h"
#include "settings.h"
#include "store/members.h"

enum { EXIT_DEGRADED = 3, OUT_MAX = 4 << 20 };

/* What a verb works with: the shared state itself, so that it works while no gateway does. */
struct cluster {
    struct settings settings;
    struct meta *meta;
    struct members *members;
    struct str id; /* of the target that the verb is about */
    bool json, yes;
};

struct verb {
    const char *name;
    bool takes_id;
    enum members_verb change; /* when there is no `run` */
    const char *done;         /* what a person is told */
    int (*run)(struct cluster *c, const struct verb *v);
};

/* ---- status ---- */

static double percent(const struct map *m, unsigned node)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < m->share_count; i++)
        sum += m->shares[i].weight;
    return sum ? 100.0 * map_share_of(m->shares, m->share_count, (int)node) / (double)sum : 0;
}

/* Whether a target that holds objects can't be asked for them. */
static bool is_degraded(struct cluster *c, const struct map *m)
{
    for (unsigned i = 0; i < m->node_count; i++)
        if (m->nodes[i].state == NODE_MAINTENANCE || !members_alive(c->members, m->nodes[i].id))
            return true;
    return m->share_count == 0;
}

/* "out since epoch 12" */
static const char *sync_text(const struct map_node *n, char text[32])
{
    if (n->sync == SYNC_OUT)
        snprintf(text, 32, "out since epoch %llu", (unsigned long long)n->out_since);
    else
        snprintf(text, 32, "%s", n->sync == SYNC_IN ? "in sync" : "catching up");
    return text;
}

/* Whether every object is where it belongs, as often as its bucket says. */
static bool is_settled(const struct map *m)
{
    for (unsigned i = 0; i < m->node_count; i++)
        if (m->nodes[i].sync != SYNC_IN)
            return false;
    return m->share_count > 0 && m->moving_since == 0;
}

static void text_field(struct buf *out, struct str key, struct str value)
{
    js_key(out, key);
    js_str(out, value);
}

static void node_json(struct cluster *c, const struct map *m, unsigned i, struct buf *out)
{
    const struct map_node *n = &m->nodes[i];

    js_object(out);
    text_field(out, STR("id"), n->id);
    text_field(out, STR("state"), node_state_name(n->state));
    js_put_bool(out, "alive", members_alive(c->members, n->id));
    text_field(out, STR("sync"), node_sync_name(n->sync));
    js_put_u64(out, "out_since", n->out_since);
    text_field(out, STR("zone"), n->zone);
    text_field(out, STR("address"), n->address);
    text_field(out, STR("public_address"), n->public_address);
    js_put_u64(out, "weight", n->weight);
    js_put_u64(out, "share", map_share_of(m->shares, m->share_count, (int)i));
    js_key(out, STR("share_percent")); /* the writer has no fractions: "12.5" as it stands */
    buf_addf(out, "%.1f", percent(m, i));
    js_end_object(out);
}

static void status_json(struct cluster *c, const struct map *m, struct buf *out)
{
    js_object(out);
    js_put_u64(out, "epoch", m->epoch);
    js_put_bool(out, "moving", m->previous_count > 0);
    js_put_u64(out, "moving_since", m->moving_since);
    js_put_u64(out, "term", m->term);
    js_put_bool(out, "settled", is_settled(m));
    js_put_bool(out, "degraded", is_degraded(c, m));
    js_key(out, STR("nodes"));
    js_array(out);
    for (unsigned i = 0; i < m->node_count; i++)
        node_json(c, m, i, out);
    js_end_array(out);
    js_end_object(out);
    buf_add_char(out, '\n');
}

static void status_text(struct cluster *c, const struct map *m, struct buf *out)
{
    buf_addf(out, "epoch %llu, %u %s, ", (unsigned long long)m->epoch, m->node_count,
             m->node_count == 1 ? "target" : "targets");
    if (m->previous_count)
        buf_addf(out, "objects are moving since epoch %llu\n", (unsigned long long)m->moving_since);
    else
        buf_add_z(out, m->share_count ? "nothing is moving\n" : "no placement yet\n");
    if (m->node_count)
        buf_addf(out, "%-16s  %-11s  %-5s  %-20s  %6s  %8s  %-12s  %s\n", "ID", "STATE", "ALIVE", "SYNC", "SHARE",
                 "WEIGHT", "ZONE", "ADDRESS");
    for (unsigned i = 0; i < m->node_count; i++) {
        const struct map_node *n = &m->nodes[i];
        char sync[32];
        buf_addf(out, STR_FMT "  %-11s  %-5s  %-20s  %5.1f%%  %8u  %-12.*s  " STR_FMT "\n", STR_ARG(n->id),
                 node_state_name(n->state).p, members_alive(c->members, n->id) ? "yes" : "no", sync_text(n, sync),
                 percent(m, i), n->weight, n->zone.n ? (int)n->zone.n : 1, n->zone.n ? n->zone.p : "-",
                 STR_ARG(n->address));
    }
}

static int run_status(struct cluster *c, const struct verb *v)
{
    const struct map *m = members_map(c->members);
    struct buf out = BUF_INIT(OUT_MAX);

    (void)v;
    (c->json ? status_json : status_text)(c, m, &out);
    fwrite(out.p, 1, out.n, stdout);
    int code = is_degraded(c, m) ? EXIT_DEGRADED : EXIT_SUCCESS;
    buf_release(&out);
    map_release(m);
    return code;
}

/* ---- changes ---- */

static void done(struct call *c)
{
    loop_stop(c->loop);
}

static int refused(const struct cluster *c, const struct verb *v, enum err e)
{
    if (e == ERR_NOT_FOUND)
        return command_fail("there is no target " STR_FMT " in the cluster; `sluice cluster status` lists them",
                            STR_ARG(c->id));
    if (e == ERR_CONFLICT && v->change == MEMBERS_MAINTENANCE)
        return command_fail("target " STR_FMT " is being decommissioned; `sluice cluster activate` keeps it",
                            STR_ARG(c->id));
    if (e == ERR_CONFLICT && v->change != MEMBERS_ACTIVATE)
        return command_fail("no other target would be left to hold objects");
    if (e == ERR_UNAVAILABLE)
        return command_fail("etcd did not answer, the change may have taken effect; look at `sluice cluster status`");
    return command_fail("the change was refused (%s)", err_name(e));
}

static int run_change(struct cluster *c, const struct verb *v)
{
    struct members_change_req req = {.verb = v->change, .id = c->id};
    struct members_change_res res = {0};
    struct loop *loop = loop_new();
    struct call call = {0};

    loop_adopt(loop);
    call_begin(&call, loop, done);
    members_change(c->members, &req, &res, &call);
    loop_run(loop);
    loop_free(loop);
    if (call.err != ERR_OK)
        return refused(c, v, call.err);
    printf("target " STR_FMT " %s (epoch %llu)\n", STR_ARG(c->id), v->done, (unsigned long long)res.epoch);
    return EXIT_SUCCESS;
}

static int run_remove(struct cluster *c, const struct verb *v)
{
    if (!c->yes)
        return command_usage("what only target " STR_FMT
                             " holds is lost for good when it is removed, and it can't come "
                             "back with what it holds; say --yes to do that, or `sluice cluster decommission` to move "
                             "its objects first",
                             STR_ARG(c->id));
    if (members_alive(c->members, c->id))
        return command_fail("target " STR_FMT " is alive: decommission it, or end its process and try again after %u s",
                            STR_ARG(c->id), c->settings.lease_s);
    return run_change(c, v);
}

static const struct verb verbs[] = {
    {"status", false, 0, NULL, run_status},
    {"maintenance", true, MEMBERS_MAINTENANCE, "is not asked for its objects any more", run_change},
    {"activate", true, MEMBERS_ACTIVATE, "is active", run_change},
    {"decommission", true, MEMBERS_DECOMMISSION, "leaves when its objects have moved", run_change},
    {"remove", true, MEMBERS_REMOVE, "is removed", run_remove},
};

/* ---- the command ---- */

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static enum err open_cluster(struct cluster *c, char why[256])
{
    const struct settings *s = &c->settings;
    enum err e = etcd_open(s, &c->meta, why);

    if (e == ERR_OK && (e = members_open(&(struct members_conf){c->meta, STR(""), s->lease_s}, &c->members)) != ERR_OK)
        snprintf(why, 256, "the map of the cluster can't be read (%s)", err_name(e));
    return e;
}

static int run(struct cluster *c, const struct verb *v)
{
    char why[256] = "";
    int code;

    code = open_cluster(c, why) == ERR_OK ? v->run(c, v) : command_fail("%s", why);
    if (c->members)
        members_close(c->members);
    if (c->meta)
        meta_close(c->meta);
    return code;
}

int command_cluster(int argc, char **argv)
{
    struct cluster c = {.json = command_switch(&argc, argv, "--json"), .yes = command_switch(&argc, argv, "--yes")};
    const struct verb *v = argc > 0 ? find_verb(argv[0]) : NULL;
    char why[SETTINGS_WHY_MAX];
    int skip = 1, code;

    if (!v)
        return command_usage("say what to do: cluster status, maintenance ID, activate ID, decommission ID, remove ID");
    if (v->takes_id) {
        if (argc < 2 || argv[1][0] == '-')
            return command_usage("say which target: cluster %s ID; `sluice cluster status` lists them", v->name);
        c.id = str_z(argv[1]);
        skip = 2;
    }
    if ((c.json && v->run != run_status) || (c.yes && v->run != run_remove))
        return command_usage("cluster %s does not take %s", v->name, c.json ? "--json" : "--yes");
    if (settings_load(&c.settings, argc - skip, argv + skip, why) != ERR_OK)
        return command_usage("%s", why);
    /* what a server reports is noise on a terminal */
    if (strcmp(config_origin(c.settings.config, offsetof(struct settings, log_level)), "default") == 0)
        log_setup(LOG_ERROR, c.settings.log_format == LOG_FORMAT_JSON);
    if (settings_check_etcd(&c.settings, why) != ERR_OK)
        code = command_usage("%s", why);
    else
        code = run(&c, v);
    settings_free(&c.settings);
    return code;
}
