#include "bucket.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "command.h"
#include "etcd.h"
#include "s3api/name.h"
#include "store/buckets.h"
#include "store/members.h"

enum { OUT_MAX = 64 << 20, PAGE = 1000 };

/* ---- where redundancy is possible ---- */

static enum err refuse_mirror(struct redundancy r, char why[BUCKET_WHY_MAX])
{
    char text[REDUNDANCY_TEXT_MAX];

    snprintf(why, BUCKET_WHY_MAX, "redundancy " STR_FMT " is not implemented in clusters: use replicas=N",
             STR_ARG(redundancy_text(r, text)));
    return ERR_NOT_IMPLEMENTED;
}

enum err bucket_fits_cluster(const struct map *m, struct redundancy r, char why[BUCKET_WHY_MAX])
{
    char text[REDUNDANCY_TEXT_MAX];

    if (r.kind == REDUNDANCY_MIRROR)
        return refuse_mirror(r, why);
    if (redundancy_nodes(r) <= m->share_count || r.kind == REDUNDANCY_NONE)
        return ERR_OK;
    snprintf(why, BUCKET_WHY_MAX, "redundancy " STR_FMT " needs %u targets, the cluster has %u",
             STR_ARG(redundancy_text(r, text)), redundancy_nodes(r), m->share_count);
    return ERR_INVALID_REQUEST;
}

enum err bucket_fits_machine(size_t disks, struct redundancy r, char why[BUCKET_WHY_MAX])
{
    char text[REDUNDANCY_TEXT_MAX];

    if (r.kind == REDUNDANCY_NONE || (r.kind == REDUNDANCY_MIRROR && r.data <= disks))
        return ERR_OK;
    if (r.kind == REDUNDANCY_MIRROR) {
        snprintf(why, BUCKET_WHY_MAX,
                 "redundancy " STR_FMT " needs %u data directories, the server was started with %zu",
                 STR_ARG(redundancy_text(r, text)), r.data, disks);
        return ERR_INVALID_REQUEST;
    }
    snprintf(why, BUCKET_WHY_MAX, "redundancy " STR_FMT " needs the targets of a cluster, and this is one server",
             STR_ARG(redundancy_text(r, text)));
    return ERR_INVALID_REQUEST;
}

/* ---- the verbs ---- */

/* What a verb works with: the shared state itself, so that it works while no gateway does. */
struct directory {
    struct settings settings;
    struct meta *meta;
    struct offload *io; /* of one server's records */
    struct buckets *buckets;
    struct str name;   /* of the bucket that the verb is about */
    struct str change; /* `set`: "members=on" */
    bool json;
    struct arena arena;
    struct buf out;
};

struct verb {
    const char *name;
    bool takes_name, takes_change, prints;
    int (*run)(struct directory *d);
};

static void text_field(struct buf *out, struct str key, struct str value)
{
    js_key(out, key);
    js_str(out, value);
}

static void bucket_json(struct buf *out, const struct bucket *b)
{
    char redundancy[REDUNDANCY_TEXT_MAX], time[CLOCK_ISO_LEN];

    js_object(out);
    text_field(out, STR("name"), b->id.name);
    text_field(out, STR("redundancy"), redundancy_text(b->id.redundancy, redundancy));
    clock_iso(b->created_ns, time);
    text_field(out, STR("created"), str_n(time, sizeof(time)));
    text_field(out, STR("region"), b->region);
    text_field(out, STR("owner"), b->owner);
    js_put_bool(out, "members", b->members);
    js_end_object(out);
}

static void bucket_row(struct buf *out, const struct bucket *b)
{
    char redundancy[REDUNDANCY_TEXT_MAX], time[CLOCK_ISO_LEN];

    clock_iso(b->created_ns, time);
    buf_addf(out, "%-24.*s  %-10.*s  %.24s  %-14.*s  %-7s  " STR_FMT "\n", STR_ARG(b->id.name),
             STR_ARG(redundancy_text(b->id.redundancy, redundancy)), time, STR_ARG(b->region.n ? b->region : STR("-")),
             b->members ? "on" : "off", STR_ARG(b->owner.n ? b->owner : STR("-")));
}

static void head_row(struct buf *out)
{
    buf_addf(out, "%-24s  %-10s  %-24s  %-14s  %-7s  %s\n", "NAME", "REDUNDANCY", "CREATED", "REGION", "MEMBERS",
             "OWNER");
}

static int print(struct directory *d)
{
    fwrite(d->out.p, 1, d->out.n, stdout);
    return EXIT_SUCCESS;
}

static int run_list(struct directory *d)
{
    struct bucket_page page = {0};
    struct str after = STR("");

    if (d->json)
        js_array(&d->out);
    else
        head_row(&d->out);
    do {
        buckets_list(d->buckets, &d->arena, STR(""), after, PAGE, &page);
        for (uint32_t i = 0; i < page.count; i++)
            (d->json ? bucket_json : bucket_row)(&d->out, &page.buckets[i]);
        if (page.count)
            after = page.buckets[page.count - 1].id.name;
    } while (page.truncated);
    if (d->json) {
        js_end_array(&d->out);
        buf_add_char(&d->out, '\n');
    }
    return print(d);
}

static int run_show(struct directory *d)
{
    struct bucket b;

    if (buckets_find(d->buckets, &d->arena, d->name, &b) != ERR_OK)
        return command_fail("there is no bucket " STR_FMT "; `sluice bucket list` lists them", STR_ARG(d->name));
    if (d->json) {
        bucket_json(&d->out, &b);
        buf_add_char(&d->out, '\n');
    } else {
        head_row(&d->out);
        bucket_row(&d->out, &b);
    }
    return print(d);
}

static void done(struct call *c)
{
    loop_stop(c->loop);
}

static enum err create(struct directory *d, struct bucket *out)
{
    const struct settings *s = &d->settings;
    struct bucket_create_req req = {
        .arena = &d->arena, .name = d->name, .owner = s->access_key, .redundancy = s->redundancy};
    struct bucket_create_res res = {0};
    struct loop *loop = loop_new();
    struct call call = {0};

    loop_adopt(loop);
    call_begin(&call, loop, done);
    buckets_create(d->buckets, &req, &res, &call);
    loop_run(loop);
    loop_free(loop);
    *out = res.bucket;
    return call.err;
}

/* By the map that is current; empty: it can be made. */
static enum err check_room(struct directory *d, char why[BUCKET_WHY_MAX])
{
    struct members *members;
    enum err e = members_open(&(struct members_conf){d->meta, STR(""), d->settings.lease_s}, &members);

    if (e != ERR_OK) {
        snprintf(why, BUCKET_WHY_MAX, "the map of the cluster can't be read (%s)", err_name(e));
        return e;
    }
    const struct map *map = members_map(members);
    e = bucket_fits_cluster(map, d->settings.redundancy, why);
    map_release(map);
    members_close(members);
    return e;
}

static int run_create(struct directory *d)
{
    const struct settings *s = &d->settings;
    char why[BUCKET_WHY_MAX], text[REDUNDANCY_TEXT_MAX];
    struct bucket b;

    if (!name_is_bucket(d->name))
        return command_usage("\"" STR_FMT "\" can't be the name of a bucket", STR_ARG(d->name));
    if (s->auth == AUTH_SIGNED && s->access_key.n == 0)
        return command_usage("say whose the bucket is: set SLUICE_ACCESS_KEY as the gateways have it");
    if (check_room(d, why) != ERR_OK)
        return command_fail("%s", why);
    enum err e = create(d, &b);
    if (e == ERR_BUCKET_OWNED || e == ERR_BUCKET_EXISTS)
        return command_fail("there is a bucket " STR_FMT " with redundancy " STR_FMT, STR_ARG(d->name),
                            STR_ARG(redundancy_text(b.id.redundancy, text)));
    if (e != ERR_OK)
        return command_fail("the bucket was not made (%s)", err_name(e));
    printf("bucket " STR_FMT " is made with redundancy " STR_FMT "\n", STR_ARG(d->name),
           STR_ARG(redundancy_text(b.id.redundancy, text)));
    return EXIT_SUCCESS;
}

/* "members=on" as what buckets_set_props() takes. */
static bool change_parse(struct str text, struct str *json)
{
    struct str name = str_split(&text, '=');

    if (!str_eq(name, STR("members")) || (!str_eq(text, STR("on")) && !str_eq(text, STR("off"))))
        return false;
    *json = str_eq(text, STR("on")) ? STR("{\"members\":true}") : STR("{\"members\":null}");
    return true;
}

static int run_set(struct directory *d)
{
    struct bucket_set_props_req req = {.arena = &d->arena, .name = d->name};
    struct bucket_set_props_res res = {0};
    struct call call = {0};
    struct loop *loop;

    if (!change_parse(d->change, &req.change))
        return command_usage("say what to set: bucket set NAME members=on or members=off");
    loop = loop_new();
    loop_adopt(loop);
    call_begin(&call, loop, done);
    buckets_set_props(d->buckets, &req, &res, &call);
    loop_run(loop);
    loop_free(loop);
    if (call.err == ERR_NO_SUCH_BUCKET)
        return command_fail("there is no bucket " STR_FMT, STR_ARG(d->name));
    if (call.err != ERR_OK)
        return command_fail("the bucket was not changed (%s)", err_name(call.err));
    printf("bucket " STR_FMT ": " STR_FMT "\n", STR_ARG(d->name), STR_ARG(d->change));
    return EXIT_SUCCESS;
}

static const struct verb verbs[] = {
    {"list", false, false, true, run_list},
    {"show", true, false, true, run_show},
    {"create", true, false, false, run_create},
    {"set", true, true, false, run_set},
};

/* ---- the command ---- */

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* Of a cluster, or of one server that doesn't run. */
static bool is_local(const struct directory *d)
{
    return d->settings.cluster_etcd.count == 0 && d->settings.data.count > 0;
}

static enum err open_local(struct directory *d, char why[256])
{
    struct str dir = arena_printf(&d->arena, STR_FMT "/meta", STR_ARG(d->settings.data.items[0]));
    enum err e;

    if (access(dir.p, F_OK) != 0) {
        snprintf(why, 256, "there are no bucket records in " STR_FMT, STR_ARG(dir));
        return ERR_NOT_FOUND;
    }
    d->io = offload_new("io", 1, 16);
    if ((e = meta_local_open(dir, d->io, &d->meta)) != ERR_OK)
        snprintf(why, 256, "the bucket records in " STR_FMT " can't be opened (%s): stop the server first",
                 STR_ARG(dir), err_name(e));
    return e;
}

static int run(struct directory *d, const struct verb *v)
{
    char why[256] = "";
    int code;
    enum err e = is_local(d) ? open_local(d, why) : etcd_open(&d->settings, &d->meta, why);

    if (e != ERR_OK)
        return command_fail("%s", why);
    if ((e = buckets_open(d->meta, &d->buckets)) == ERR_OK)
        code = v->run(d);
    else
        code = command_fail("cannot read the bucket records (%s)", err_name(e));
    meta_close(d->meta);
    if (e == ERR_OK)
        buckets_close(d->buckets);
    return code;
}

static int checked(struct directory *d, const struct verb *v)
{
    struct settings *s = &d->settings;
    char why[SETTINGS_WHY_MAX];

    if ((!is_local(d) && settings_check_etcd(s, why) != ERR_OK) || settings_check_redundancy(s, why) != ERR_OK)
        return command_usage("%s", why);
    if (is_local(d) && v->run == run_create)
        return command_usage("a server makes its own buckets: use any S3 client");
    buf_init(&d->out, OUT_MAX);
    int code = run(d, v);
    if (d->io)
        offload_free(d->io);
    buf_release(&d->out);
    arena_release(&d->arena);
    return code;
}

int command_bucket(int argc, char **argv)
{
    struct directory d = {.json = command_switch(&argc, argv, "--json")};
    const struct verb *v = argc > 0 ? find_verb(argv[0]) : NULL;
    char why[SETTINGS_WHY_MAX];
    int skip = 1;

    if (!v)
        return command_usage("say what to do: bucket list, show NAME, create NAME, set NAME members=on|off");
    if (v->takes_name) {
        if (argc < 2 || argv[1][0] == '-')
            return command_usage("say which bucket: bucket %s NAME", v->name);
        d.name = str_z(argv[1]);
        skip = 2;
    }
    if (v->takes_change) {
        if (argc < 3 || argv[2][0] == '-')
            return command_usage("say what to set: bucket set NAME members=on or members=off");
        d.change = str_z(argv[2]);
        skip = 3;
    }
    if (d.json && !v->prints)
        return command_usage("bucket %s does not take --json", v->name);
    if (settings_load(&d.settings, argc - skip, argv + skip, why) != ERR_OK)
        return command_usage("%s", why);
    /* what a server reports is noise on a terminal */
    if (strcmp(config_origin(d.settings.config, offsetof(struct settings, log_level)), "default") == 0)
        log_setup(LOG_ERROR, d.settings.log_format == LOG_FORMAT_JSON);
    int code = checked(&d, v);
    settings_free(&d.settings);
    return code;
}
