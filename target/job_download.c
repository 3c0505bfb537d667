#include <stdio.h>
#include <stdlib.h>

#include "target/download_file.h"
#include "target/job_each.h"
#include "target/job_transform.h"
#include "target/job_own.h"

/* Files of the web become objects: {"bucket", one of "objects":{"name":"link"} or ["link"] | "template":"http://h/{0..9}.tar", "subdir" | "link",
 * "object_name"; "checksum":"sha256:HEX", "connections", "bytes_per_hour", "timeout_ms", "total", "type", "description"}. Every target downloads
 * what it leads. `at` is the first one that is not done yet. */
enum { CONNECTIONS = 4, CONNECTIONS_MAX = 64, LOOK_MS = 1000 };

struct slot {
    struct download *download;
    struct call call;
    struct arena arena;
    uint64_t index;
    bool busy;
    struct download_req req;
    struct download_res res;
};
struct download {
    struct job job;
    struct call opened;
    struct bucket_look_req look_req;
    struct bucket_look_res looked;
    struct timer look; /* for progress */
    struct http_client *client;
    struct download_meter meter;
    const struct etl_stage *stages;
    size_t stage_count;
    uint64_t counted; /* bytes of the meter that the job has counted */
    uint64_t next, total;
    uint64_t undone;        /* the first that a stop cut short */
    const struct doc *item; /* of `objects`: the next one */
    struct template template;
    struct buf link;
    struct digest checksum;
    unsigned workers, active;
    enum err failed; /* ends the job */
    struct slot slots[CONNECTIONS_MAX];
};

static struct str text(const struct download *d, const char *name)
{
    return job_spec_text(d->job.spec, str_z(name));
}

/* ---- what is to be downloaded ---- */

/* "sha256:HEX", "md5:HEX", ... */
static bool checksum_parse(struct str s, struct digest *out)
{
    struct str name = str_split(&s, ':');

    *out = (struct digest){.alg = hash_by_name(name)};
    out->n = (uint8_t)hash_len(out->alg);
    return out->n && hex_decode(s, out->b, out->n);
}

static struct str name_of(struct download *d, struct arena *a, struct str link)
{
    struct str dir = text(d, "subdir"), name = download_name(a, link);

    return dir.n && name.n
               ? arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(dir), dir.p[dir.n - 1] == '/' ? "" : "/", STR_ARG(name))
               : name;
}

/* Item `next`; true. */
static enum err take(struct download *d, struct arena *a, struct str *name, struct str *link)
{
    enum err e;

    if (doc_get(d->job.spec, STR("template"))) {
        if ((e = template_name(&d->template, d->next, &d->link)) != ERR_OK)
            return e;
        *link = arena_str(a, buf_str(&d->link));
        *name = name_of(d, a, *link);
    } else if (d->item) {
        *link = d->item->text;
        *name = d->item->key.n ? d->item->key : name_of(d, a, *link);
        d->item = d->item->next;
    } else {
        *link = text(d, "link");
        *name = text(d, "object_name");
        *name = name->n ? *name : name_of(d, a, *link);
    }
    return download_is_link(*link) && name->n && name->n <= KEY_MAX ? ERR_OK : ERR_INVALID_ARGUMENT;
}

static void begin_at(struct download *d, uint64_t index)
{
    const struct doc *objects = doc_get(d->job.spec, STR("objects"));

    d->total = objects ? objects->count : d->template.names ? d->template.names : 1;
    d->next = index < d->total ? index : d->total;
    d->item = objects ? objects->first : NULL;
    for (uint64_t i = 0; i < d->next && d->item; i++)
        d->item = d->item->next;
}

/* ---- progress ---- */

static void tell(struct download *d)
{
    uint64_t first = d->undone < d->next ? d->undone : d->next;
    const struct slot *s = NULL;

    for (unsigned i = 0; i < d->workers; i++)
        if (d->slots[i].busy && d->slots[i].index <= first) {
            first = d->slots[i].index;
            s = &d->slots[i];
        }
    snprintf(d->job.at, sizeof(d->job.at), "%llu", (unsigned long long)first);
    d->job.bytes += d->meter.bytes - d->counted;
    d->counted = d->meter.bytes;
    if (s)
        snprintf(d->job.note, sizeof(d->job.note), "%.*s: %llu of %llu bytes",
                 s->req.key.n < 120 ? (int)s->req.key.n : 120, s->req.key.p, (unsigned long long)s->res.received,
                 (unsigned long long)s->res.size);
    else
        d->job.note[0] = 0;
}

/* ---- the files ---- */

static void pump(struct download *d);

static void look(struct timer *t)
{
    struct download *d = CONTAINER(t, struct download, look);

    tell(d);
    timer_set(d->job.env->loop, &d->look, LOOK_MS);
}

static void finish(struct download *d)
{
    struct job *job = &d->job;
    enum job_state state = job->stopping ? JOB_STOPPED : d->failed != ERR_OK ? JOB_FAILED : JOB_DONE;

    timer_cancel(job->env->loop, &d->look);
    http_client_free(d->client);
    buf_release(&d->link);
    job->note[0] = 0;
    job_end(job, state);
}

static void file_done(struct call *c)
{
    struct slot *s = CONTAINER(c, struct slot, call);
    struct download *d = s->download;

    s->busy = false;
    d->active--;
    if (c->err == ERR_OK)
        d->job.ok++;
    else if (d->job.stopping)
        d->undone = s->index < d->undone ? s->index : d->undone;
    else
        job_failed(&d->job,
                   arena_printf(&s->arena, STR_FMT " from " STR_FMT "%s%s", STR_ARG(s->req.key), STR_ARG(s->req.link),
                                s->res.why[0] ? ": " : "", s->res.why),
                   c->err);
    tell(d);
    arena_release(&s->arena);
    pump(d);
}

static struct slot *free_slot(struct download *d)
{
    for (unsigned i = 0; i < d->workers; i++)
        if (!d->slots[i].busy)
            return &d->slots[i];
    return NULL;
}

static void start(struct download *d, struct slot *s)
{
    struct str name, link;
    enum err e = take(d, &s->arena, &name, &link);

    s->index = d->next++;
    if (e != ERR_OK) {
        job_failed(&d->job, arena_str(&s->arena, link.n ? link : STR("a link")), e);
        arena_release(&s->arena);
        return;
    }
    if (!job_leads(d->job.env, d->looked.bucket.id, name)) {
        arena_release(&s->arena);
        return;
    }
    s->busy = true;
    s->download = d;
    d->active++;
    s->req = (struct download_req){.arena = &s->arena,
                                   .client = d->client,
                                   .store = d->job.env->all,
                                   .bucket = d->looked.bucket.id,
                                   .key = name,
                                   .link = link,
                                   .timeout_ms = (uint32_t)job_spec_number(d->job.spec, STR("timeout_ms"), 0),
                                   .checksum = d->checksum,
                                   .private_too = d->job.env->download_private,
                                   .door = d->job.env->door,
                                   .cpu = d->job.env->cpu,
                                   .stages = d->stages,
                                   .stage_count = d->stage_count,
                                   .meter = &d->meter};
    call_begin(&s->call, d->job.env->loop, file_done);
    download_file(&s->req, &s->res, &s->call);
}

static void pump(struct download *d)
{
    struct slot *s;

    while (!d->job.stopping && d->next < d->total && (s = free_slot(d)) != NULL)
        start(d, s);
    if (d->active == 0)
        finish(d);
}

/* ---- the job ---- */

static void opened(struct call *c)
{
    struct download *d = CONTAINER(c, struct download, opened);
    uint64_t at = 0;
    char why[256];

    if (c->err != ERR_OK) {
        d->failed = c->err;
        job_failed(&d->job, text(d, "bucket"), c->err);
        finish(d);
        return;
    }
    if (doc_get(d->job.spec, STR("template")))
        d->failed = template_parse(&d->job.arena, text(d, "template"), &d->template, why);
    if (doc_get(d->job.spec, STR("etl")) &&
        job_stages(&d->job.arena, d->job.spec, &d->stages, &d->stage_count, why) != ERR_OK)
        d->failed = ERR_INVALID_ARGUMENT;
    if (text(d, "checksum").n && !checksum_parse(text(d, "checksum"), &d->checksum))
        d->failed = ERR_INVALID_ARGUMENT;
    (void)str_to_u64(str_z(d->job.at), UINT64_MAX, &at);
    begin_at(d, at);
    d->look.fn = look;
    timer_set(d->job.env->loop, &d->look, LOOK_MS);
    if (d->failed != ERR_OK)
        d->next = d->total;
    pump(d);
}

static void run(struct job *job)
{
    struct download *d = CONTAINER(job, struct download, job);
    uint64_t workers = job_spec_number(job->spec, STR("connections"), CONNECTIONS);

    d->undone = UINT64_MAX;
    d->client = http_client_new(job->env->loop);
    d->workers = workers < 1 ? 1 : workers > CONNECTIONS_MAX ? CONNECTIONS_MAX : (unsigned)workers;
    d->meter.bytes_per_hour = job_spec_number(job->spec, STR("bytes_per_hour"), 0);
    buf_init(&d->link, DOWNLOAD_LINK_MAX);
    d->look_req = (struct bucket_look_req){&job->arena, text(d, "bucket")};
    call_begin(&d->opened, job->env->loop, opened);
    buckets_look(job->env->buckets, &d->look_req, &d->looked, &d->opened);
}

static void stop(struct job *job)
{
    struct download *d = CONTAINER(job, struct download, job);

    for (unsigned i = 0; i < d->workers; i++)
        if (d->slots[i].busy)
            call_cancel(&d->slots[i].call);
}

static enum err refuse(char why[256], const char *what)
{
    snprintf(why, 256, "%s", what);
    return ERR_INVALID_ARGUMENT;
}

static enum err check_objects(const struct doc *objects, char why[256])
{
    if (objects->kind == DOC_SCALAR || objects->count == 0)
        return refuse(why, "\"objects\" must be a list of links or a map from name to link");
    for (const struct doc *o = objects->first; o; o = o->next)
        if (o->kind != DOC_SCALAR || !download_is_link(o->text))
            return refuse(why, "\"objects\" has something that is no http:// or https:// link");
    return ERR_OK;
}

static enum err check_template(const struct doc *spec, char why[256])
{
    struct arena arena = ARENA_INIT;
    struct template t;
    enum err e = template_parse(&arena, job_spec_text(spec, STR("template")), &t, why);

    if (e == ERR_OK &&
        (template_is_plain(&t) || t.names > TEMPLATE_MAX || !download_is_link(job_spec_text(spec, STR("template")))))
        e = refuse(why, "\"template\" must be a link with a range that ends");
    arena_release(&arena);
    return e;
}

static enum err check_stages(const struct doc *spec, char why[256])
{
    struct arena arena = ARENA_INIT;
    const struct etl_stage *stages;
    size_t count;
    enum err e = job_stages(&arena, spec, &stages, &count, why);

    arena_release(&arena);
    return e;
}

static enum err check(const struct doc *spec, char why[256])
{
    static const char *const names[] = {
        "bucket",         "objects",    "template", "subdir", "link",        "object_name", "checksum", "connections",
        "bytes_per_hour", "timeout_ms", "total",    "type",   "description", "etl",         NULL};
    const struct doc *objects = doc_get(spec, STR("objects"));
    struct digest d;
    struct str sum = job_spec_text(spec, STR("checksum"));
    enum err e;

    if (doc_get(spec, STR("etl")) && (e = check_stages(spec, why)) != ERR_OK)
        return e;
    if (!job_spec_text(spec, STR("bucket")).n)
        return refuse(why, "\"bucket\" is missing");
    if (!objects + !doc_get(spec, STR("template")) + !doc_get(spec, STR("link")) != 2)
        return refuse(why, "exactly one of \"objects\", \"template\", \"link\" is needed");
    if (sum.n && !checksum_parse(sum, &d))
        return refuse(why, "\"checksum\" must be ALGORITHM:HEX, such as sha256:0a...");
    e = objects                                              ? check_objects(objects, why)
        : doc_get(spec, STR("template"))                     ? check_template(spec, why)
        : download_is_link(job_spec_text(spec, STR("link"))) ? ERR_OK
                                                             : refuse(why, "\"link\" is no http:// or https:// link");
    return e == ERR_OK ? job_spec_known(spec, names, why) : e;
}

const struct job_kind job_download = {
    .name = "download", .size = sizeof(struct download), .startable = true, .check = check, .run = run, .stop = stop};
