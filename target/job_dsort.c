#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_member.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/pack.h"
#include "target/dsort_own.h"
#include "target/job_own.h"

/* The first half of the jobs that make shards: which samples there are, in which order. */
enum { FILE_VALUE_MAX = 16 << 10 };

/* in order; a name's or page's steps are repeated for each */
static step_fn ds_begin, ds_system, ds_from, ds_to, ds_made, ds_map, ds_map_got, ds_map_read, ds_collect, ds_page,
    ds_name, ds_look, ds_member, ds_group, ds_file, ds_filed, ds_sample, ds_content, ds_content_got, ds_content_read,
    ds_sampled, ds_sort;

/* ---- begin ---- */

static struct dsort *of(struct op *op)
{
    return OP(op, struct dsort);
}

static void note(struct dsort *d, const char *phase)
{
    snprintf(d->job.note, sizeof(d->job.note), "%s samples=%llu shards=%llu", phase,
             (unsigned long long)(d->samples ? spool_count(d->samples) : 0), (unsigned long long)d->shards);
}

/* What an earlier process has come to. */
static void read_at(struct dsort *d)
{
    unsigned long long seed = 0, digest = 0, shards = 0;

    if (sscanf(d->job.at, "seed=%llu digest=%llx shards=%llu", &seed, &digest, &shards) != 3)
        return;
    d->resumes = true;
    d->spec.seed = seed;
    d->spec.has_seed = true;
    d->resume_digest = digest;
    d->resume_shards = shards;
}

void dsort_save(struct dsort *d)
{
    snprintf(d->job.at, sizeof(d->job.at), "seed=%llu digest=%llx shards=%llu", (unsigned long long)d->spec.seed,
             (unsigned long long)d->digest, (unsigned long long)d->shards);
}

static enum err give_up(struct dsort *d, const char *what, enum err e)
{
    job_failed(&d->job, str_z(what), e);
    return e;
}

static enum step_next ds_begin(struct op *op)
{
    struct dsort *d = of(op);
    char why[DSORT_WHY_MAX] = "";
    enum err e = dsort_spec_read(&d->held, d->job.spec, d->spec.from_objects, &d->spec, why);

    if (e == ERR_OK && d->spec.key == DSORT_REGEX)
        e = arc_select_new(ARC_MODE_REGEXP, d->spec.key_regex, &d->regex, why);
    if (e != ERR_OK)
        return op_fail(op, give_up(d, why, e));
    read_at(d);
    if (d->spec.order == DSORT_SHUFFLE && !d->spec.has_seed) {
        random_bytes(&d->spec.seed, sizeof(d->spec.seed));
        d->spec.seed >>= 1;
    }
    note(d, "extraction");
    system_bucket(d->job.env->buckets, &d->held, &d->system, op_call(op, ds_system));
    return STEP_WAIT;
}

static struct spool *spool_for(struct dsort *d, const char *what, bool backwards)
{
    struct str prefix = arena_printf(&d->held, "jobs/" STR_FMT "/%s", STR_ARG(d->job.id), what);

    return spool_new(&(struct spool_conf){.loop = d->job.env->loop,
                                          .store = d->job.env->all,
                                          .bucket = d->system.bucket.id,
                                          .prefix = prefix,
                                          .cpu = d->job.env->cpu,
                                          .run_bytes = d->spec.memory / 4,
                                          .backwards = backwards});
}

static enum step_next ds_system(struct op *op)
{
    struct dsort *d = of(op);

    d->files = spool_for(d, "files", false);
    d->samples = spool_for(d, "samples", d->spec.decreasing && d->spec.order != DSORT_SHUFFLE);
    d->bucket_req = (struct bucket_look_req){&d->held, d->spec.bucket};
    buckets_look(d->job.env->buckets, &d->bucket_req, &d->bucket_res, op_try(op, ds_from));
    return STEP_WAIT;
}

static enum step_next ds_from(struct op *op)
{
    struct dsort *d = of(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, give_up(d, "the source bucket", op->call.err));
    d->from = d->bucket_res.bucket;
    d->bucket_req = (struct bucket_look_req){&d->held, d->spec.to_bucket};
    buckets_look(d->job.env->buckets, &d->bucket_req, &d->bucket_res, op_try(op, ds_to));
    return STEP_WAIT;
}

static enum step_next ds_to(struct op *op)
{
    struct dsort *d = of(op);

    if (op->call.err == ERR_OK) {
        d->to = d->bucket_res.bucket;
        return op_go(op, ds_map);
    }
    if (op->call.err != ERR_NO_SUCH_BUCKET)
        return op_fail(op, give_up(d, "the destination bucket", op->call.err));
    d->create_req = (struct bucket_create_req){.arena = &d->held,
                                               .name = d->spec.to_bucket,
                                               .region = d->from.region,
                                               .owner = d->from.owner,
                                               .redundancy = d->from.id.redundancy};
    buckets_create(d->job.env->buckets, &d->create_req, &d->created, op_try(op, ds_made));
    return STEP_WAIT;
}

static enum step_next ds_made(struct op *op)
{
    struct dsort *d = of(op);

    if (op->call.err != ERR_OK && op->call.err != ERR_BUCKET_OWNED)
        return op_fail(op, give_up(d, "the destination bucket", op->call.err));
    d->to = d->created.bucket;
    return op_go(op, ds_map);
}

/* ---- the key map ---- */

static enum step_next ds_map(struct op *op)
{
    struct dsort *d = of(op);

    if (d->spec.key_map.n == 0)
        return op_go(op, ds_collect);
    d->map_req =
        (struct obj_get_req){{.arena = &d->held, .bucket = d->from.id, .key = d->spec.key_map, .cond = COND_INIT}};
    store_obj_get(d->job.env->all, &d->map_req, &d->map_res, op_try(op, ds_map_got));
    return STEP_WAIT;
}

static enum step_next ds_map_got(struct op *op)
{
    struct dsort *d = of(op);

    if (op->call.err != ERR_OK)
        return op_fail(op, give_up(d, "the key map", op->call.err));
    if (d->map_res.head.len > DSORT_MAP_MAX)
        return op_fail(op, give_up(d, "the key map", ERR_TOO_LARGE));
    d->map_text = mem_alloc(d->map_res.head.len + 1);
    source_fill(&d->fill, d->map_res.body, d->map_text, d->map_res.head.len, &d->map_got, op_call(op, ds_map_read));
    return STEP_WAIT;
}

static enum step_next ds_map_read(struct op *op)
{
    struct dsort *d = of(op);
    char why[DSORT_WHY_MAX] = "the key map";
    enum err e = dsort_map_read(str_n(d->map_text, d->map_got), &d->spec, &d->map, why);

    return e == ERR_OK ? op_go(op, ds_collect) : op_fail(op, give_up(d, why, e));
}

/* ---- collecting files ---- */

static enum step_next ds_collect(struct op *op)
{
    struct dsort *d = of(op);

    if (d->spec.from_objects)
        return op_go(op, ds_page);
    d->selecting = true;
    job_select_open(&d->select, &d->job, d->job.spec, 0, op_call(op, ds_name));
    return STEP_WAIT;
}

static bool sample_of(struct dsort *d, struct str name, struct str *key)
{
    bool matches = true;

    if (d->spec.key != DSORT_REGEX) {
        *key = dsort_sample_key(d->spec.key, name);
        return true;
    }
    *key = arc_wds_key(name);
    return arc_select_match(d->regex, name, &matches) == ERR_OK && matches;
}

/* One file: sorted by its sample, in the order in which files come. False: it is in no sample. */
static bool file_item(struct dsort *d, struct str scope, const struct dsort_file *f)
{
    char sequence[8];
    struct str key;

    if (!sample_of(d, f->name, &key))
        return false;
    buf_reset(&d->key);
    buf_reset(&d->value);
    buf_add_str(&d->key, scope);
    buf_add_str(&d->key, key);
    buf_add_char(&d->key, '\0');
    dsort_put_be(sequence, d->sequence++);
    buf_add(&d->key, sequence, sizeof(sequence));
    pack_array(&d->value, 4);
    pack_str(&d->value, f->object);
    pack_str(&d->value, f->member);
    pack_str(&d->value, f->name);
    pack_uint(&d->value, f->size);
    return buf_err(&d->key) == ERR_OK && buf_err(&d->value) == ERR_OK;
}

/* Objects: page after page. */
static enum step_next ds_page(struct op *op)
{
    struct dsort *d = of(op);

    if (d->job.stopping)
        return op_fail(op, ERR_CANCELLED);
    if (d->at_end)
        return op_go(op, ds_group);
    arena_release(&d->arena);
    d->list_req = (struct obj_list_req){.arena = &d->arena,
                                        .bucket = d->from.id,
                                        .prefix = d->spec.prefix,
                                        .after = str_n(d->last, d->last_n),
                                        .max = LIST_MAX};
    d->page = (struct obj_list_res){0};
    d->next = 0;
    store_obj_list(d->job.env->all, &d->list_req, &d->page, op_call(op, ds_member));
    return STEP_WAIT;
}

static enum step_next object_item(struct op *op)
{
    struct dsort *d = of(op);

    while (d->next < d->page.count) {
        const struct list_entry *e = &d->page.entries[d->next++];
        const struct dsort_file f = {.object = e->key, .name = e->key, .size = e->size};
        if (!file_item(d, STR(""), &f))
            continue;
        spool_add(d->files, buf_str(&d->key), buf_str(&d->value), op_call(op, ds_member));
        return STEP_WAIT;
    }
    d->at_end = !d->page.truncated || d->page.count == 0;
    if (d->page.count) {
        struct str last = d->page.entries[d->page.count - 1].key;
        d->last_n = last.n < KEY_MAX ? last.n : KEY_MAX;
        memcpy(d->last, last.p, d->last_n);
    }
    return op_go(op, ds_page);
}

/* Archives: name after name. */
static enum step_next ds_name(struct op *op)
{
    struct dsort *d = of(op);

    if (d->job.stopping)
        return op_fail(op, ERR_CANCELLED);
    arena_release(&d->arena);
    d->look = (struct arcs_look_res){.index = NULL};
    d->at_end = false;
    job_select_next(&d->select, &d->name, &d->at_end, op_call(op, ds_look));
    return STEP_WAIT;
}

static enum step_next ds_look(struct op *op)
{
    struct dsort *d = of(op);

    if (d->at_end)
        return op_go(op, ds_group);
    d->next = 0;
    d->look_req = (struct arcs_look_req){.arena = &d->arena, .bucket = d->from.id, .key = d->name};
    arcs_look(d->job.env->arcs, &d->look_req, &d->look, op_try(op, ds_member));
    return STEP_WAIT;
}

/* An archive that can't be read. Names out of a template or listing may be missing. */
static enum step_next skip_archive(struct op *op, enum err e)
{
    struct dsort *d = of(op);

    if (e == ERR_NO_SUCH_KEY && d->select.lists) {
        d->job.skipped++;
        return op_go(op, ds_name);
    }
    if (e == ERR_CANCELLED)
        return op_fail(op, e);
    job_failed(&d->job, d->name, e);
    return d->spec.continue_on_error ? op_go(op, ds_name) : op_fail(op, e);
}

static enum step_next ds_member(struct op *op)
{
    struct dsort *d = of(op);
    struct arc_member m;
    char scope[8];

    if (d->spec.from_objects)
        return object_item(op);
    if (!d->look.index)
        return skip_archive(op, op->call.err != ERR_OK ? op->call.err : ERR_BAD_ARCHIVE);
    if (op->call.err != ERR_OK) /* of the spool */
        return op_fail(op, op->call.err);
    dsort_put_be(scope, d->select.position);
    while (d->next < d->look.index->count) {
        arc_index_member(d->look.index, d->next++, &m);
        const struct dsort_file f = {.object = d->name, .member = m.name, .name = m.name, .size = m.size};
        if (!file_item(d, str_n(scope, sizeof(scope)), &f))
            continue;
        spool_add(d->files, buf_str(&d->key), buf_str(&d->value), op_try(op, ds_member));
        return STEP_WAIT;
    }
    return op_go(op, ds_name);
}

static enum step_next ds_group(struct op *op)
{
    struct dsort *d = of(op);

    arena_release(&d->arena);
    note(d, "extraction");
    spool_sort(d->files, op_call(op, ds_file));
    return STEP_WAIT;
}

/* ---- from files to samples ---- */

static enum step_next ds_file(struct op *op)
{
    struct dsort *d = of(op);

    if (d->job.stopping)
        return op_fail(op, ERR_CANCELLED);
    spool_next(d->files, &d->item, &d->end, op_call(op, ds_filed));
    return STEP_WAIT;
}

/* The key of a file's item without its number. */
static struct str sample_key_of(struct str key)
{
    return str_n(key.p, key.n - 9);
}

bool dsort_file_decode(struct unpack *u, struct dsort_file *f)
{
    if (unpack_array(u, 4) != 4)
        return false;
    f->object = unpack_bytes(u, KEY_MAX);
    f->member = unpack_bytes(u, ARC_NAME_MAX);
    f->name = unpack_bytes(u, ARC_NAME_MAX);
    f->size = unpack_uint(u, OBJECT_SIZE_MAX);
    return !u->bad;
}

static enum step_next ds_filed(struct op *op)
{
    struct dsort *d = of(op);

    if (d->sample_files && (d->end || !str_eq(sample_key_of(d->item.key), buf_str(&d->sample_key))))
        return op_go(op, ds_sample);
    if (d->end)
        return op_go(op, ds_sort);
    if (d->sample_files == 0) {
        buf_reset(&d->sample_key);
        buf_reset(&d->sample);
        buf_add_str(&d->sample_key, sample_key_of(d->item.key));
        memcpy(d->first, d->item.key.p + d->item.key.n - sizeof(d->first), sizeof(d->first));
    }
    buf_add_str(&d->sample, d->item.value);
    if (++d->sample_files > DSORT_FILES_MAX || d->sample.n > DSORT_SAMPLE_MAX) {
        job_failed(&d->job, buf_str(&d->sample_key), ERR_TOO_LARGE);
        return op_fail(op, ERR_TOO_LARGE);
    }
    return op_go(op, ds_file);
}

/* The sample's name: of archives without what tells them apart. */
static struct str sample_name(struct dsort *d)
{
    struct str key = buf_str(&d->sample_key);

    return d->spec.from_objects ? key : str_skip(key, 8);
}

static bool has_extension(struct dsort *d, struct str extension, struct dsort_file *out)
{
    struct unpack u;

    unpack_init(&u, buf_str(&d->sample));
    for (unsigned i = 0; i < d->sample_files && dsort_file_decode(&u, out); i++)
        if (str_ends(out->name, extension))
            return true;
    return false;
}

enum fate { FATE_TAKE, FATE_LEAVE, FATE_FAIL };

static enum fate missing(struct dsort *d, enum dsort_missing action, struct str what)
{
    if (action == DSORT_IGNORE)
        return FATE_TAKE;
    if (action == DSORT_EXCLUDE) {
        d->job.skipped++;
        return FATE_LEAVE;
    }
    job_failed(&d->job, what, ERR_NO_SUCH_MEMBER);
    return action == DSORT_WARN ? FATE_TAKE : FATE_FAIL;
}

static enum fate judge(struct dsort *d)
{
    enum fate worst = FATE_TAKE;
    struct dsort_file f;

    for (unsigned i = 0; i < d->spec.extension_count && worst == FATE_TAKE; i++)
        if (!has_extension(d, d->spec.extensions[i], &f))
            worst = missing(
                d, d->spec.missing,
                arena_printf(&d->arena, STR_FMT STR_FMT, STR_ARG(sample_name(d)), STR_ARG(d->spec.extensions[i])));
    return worst;
}

static enum step_next leave(struct op *op)
{
    struct dsort *d = of(op);

    d->sample_files = 0;
    return op_go(op, ds_filed);
}

static enum step_next ds_sample(struct op *op)
{
    struct dsort *d = of(op);
    enum fate fate;
    struct dsort_file f;

    arena_release(&d->arena);
    fate = judge(d);
    if (fate == FATE_FAIL)
        return op_fail(op, ERR_NO_SUCH_MEMBER);
    if (fate == FATE_LEAVE)
        return leave(op);
    if (d->spec.order != DSORT_CONTENT)
        return op_go(op, ds_sampled);
    if (has_extension(d, d->spec.content_extension, &f)) {
        d->get_req = (struct arcs_get_req){.archive = {.arena = &d->arena, .bucket = d->from.id, .key = f.object},
                                           .member = f.member,
                                           .cond = COND_INIT};
        d->map_req =
            (struct obj_get_req){{.arena = &d->arena, .bucket = d->from.id, .key = f.object, .cond = COND_INIT}};
        return op_go(op, ds_content);
    }
    job_failed(&d->job, sample_name(d), ERR_NO_SUCH_MEMBER);
    return d->spec.continue_on_error ? leave(op) : op_fail(op, ERR_NO_SUCH_MEMBER);
}

/* Sorted by what a file of the sample says. */
static enum step_next ds_content(struct op *op)
{
    struct dsort *d = of(op);

    d->map_res = (struct obj_get_res){.body = NULL};
    d->get = (struct arcs_get_res){.body = NULL};
    if (d->get_req.member.n)
        arcs_get(d->job.env->arcs, &d->get_req, &d->get, op_call(op, ds_content_got));
    else
        store_obj_get(d->job.env->all, &d->map_req, &d->map_res, op_call(op, ds_content_got));
    return STEP_WAIT;
}

static enum step_next ds_content_got(struct op *op)
{
    struct dsort *d = of(op);
    struct source *body = d->get.body ? d->get.body : d->map_res.body;

    source_fill(&d->fill, body, d->content, sizeof(d->content), &d->got, op_call(op, ds_content_read));
    return STEP_WAIT;
}

static enum step_next ds_content_read(struct op *op)
{
    struct dsort *d = of(op);
    char text[DSORT_CONTENT_MAX];
    enum err e;

    source_close(d->get.body);
    source_close(d->map_res.body);
    d->get.body = d->map_res.body = NULL;
    memcpy(text, d->content, d->got);
    e = dsort_content_key(d->spec.content, str_n(text, d->got), d->content, &d->content_n);
    if (e == ERR_OK)
        return op_go(op, ds_sampled);
    job_failed(&d->job, sample_name(d), e);
    return d->spec.continue_on_error ? leave(op) : op_fail(op, e);
}

/* The map may name the sample, or any file of it. */
static bool find_in_map(struct dsort *d, struct str name, uint32_t *at)
{
    struct dsort_file f;
    struct unpack u;

    if (dsort_map_find(d->map, name, at))
        return true;
    unpack_init(&u, buf_str(&d->sample));
    for (unsigned i = 0; i < d->sample_files && dsort_file_decode(&u, &f); i++)
        if (dsort_map_find(d->map, f.name, at))
            return true;
    return false;
}

/* What the sample is sorted by. */
static enum fate order_key(struct dsort *d, struct buf *key)
{
    struct str name = sample_name(d);
    struct digest md5;
    uint32_t at = 0;
    char be[8];

    if (d->map) {
        if (!find_in_map(d, name, &at)) {
            enum fate fate = missing(d, d->spec.key_map_missing, name);
            return fate == FATE_TAKE ? FATE_LEAVE : fate;
        }
        dsort_put_be(be, at);
        buf_add(key, be, sizeof(be));
    }
    switch (d->spec.order) {
    case DSORT_NONE:
        buf_add(key, d->first, sizeof(d->first)); /* where its first file came */
        break;
    case DSORT_ALPHANUMERIC:
        break;
    case DSORT_MD5:
        hash_of(HASH_MD5, name, &md5);
        buf_add(key, md5.b, md5.n);
        break;
    case DSORT_SHUFFLE:
        dsort_put_be(be, hash_place(buf_str(&d->sample_key), d->spec.seed));
        buf_add(key, be, sizeof(be));
        break;
    case DSORT_CONTENT:
        buf_add(key, d->content, d->content_n);
        buf_add_char(key, '\0');
        break;
    }
    buf_add_str(key, name);
    return FATE_TAKE;
}

static enum step_next ds_sampled(struct op *op)
{
    struct dsort *d = of(op);
    enum fate fate;

    buf_reset(&d->key);
    buf_reset(&d->value);
    fate = order_key(d, &d->key);
    if (fate == FATE_FAIL)
        return op_fail(op, ERR_NOT_FOUND);
    if (fate == FATE_LEAVE)
        return leave(op);
    pack_array(&d->value, d->sample_files);
    buf_add_str(&d->value, buf_str(&d->sample));
    if (buf_err(&d->value) != ERR_OK || buf_err(&d->key) != ERR_OK)
        return op_fail(op, ERR_TOO_LARGE);
    d->digest += hash_place(buf_str(&d->value), 0) ^ hash_place(buf_str(&d->key), 1);
    d->sample_files = 0;
    spool_add(d->samples, buf_str(&d->key), buf_str(&d->value), op_call(op, ds_filed));
    return STEP_WAIT;
}

static enum step_next ds_sort(struct op *op)
{
    struct dsort *d = of(op);

    arena_release(&d->arena);
    if (d->resumes && d->resume_digest != d->digest && d->resume_shards > 0)
        return op_fail(op, give_up(d, "the source has changed since this job began; start it again", ERR_CONFLICT));
    note(d, "sorting");
    spool_sort(d->samples, op_call(op, dsort_begin_shards));
    return STEP_WAIT;
}

/* ---- the kinds ---- */

static void start(struct job *job, bool from_objects)
{
    struct dsort *d = CONTAINER(job, struct dsort, job);

    d->spec.from_objects = from_objects;
    buf_init(&d->key, SPOOL_ITEM_MAX);
    buf_init(&d->value, SPOOL_ITEM_MAX);
    buf_init(&d->sample_key, FILE_VALUE_MAX);
    buf_init(&d->sample, SPOOL_ITEM_MAX);
    buf_init(&d->shard_name, TEMPLATE_NAME_MAX + 1);
    op_start(&d->op, job->env->loop, "dsort", ds_begin, dsort_end);
}

static void run_dsort(struct job *job)
{
    start(job, false);
}

static void run_shard(struct job *job)
{
    start(job, true);
}

static void stop(struct job *job)
{
    op_cancel(&CONTAINER(job, struct dsort, job)->op, ERR_CANCELLED);
}

static enum err check(const struct doc *spec, bool from_objects, char why[256])
{
    struct arena a = ARENA_INIT;
    struct dsort_spec s;
    enum err e = dsort_spec_read(&a, spec, from_objects, &s, why);

    arena_release(&a);
    return e;
}

static enum err check_dsort(const struct doc *spec, char why[256])
{
    enum err e = check(spec, false, why);

    return e == ERR_OK ? job_select_check(spec, why) : e;
}

static enum err check_shard(const struct doc *spec, char why[256])
{
    return check(spec, true, why);
}

const struct job_kind job_dsort = {.name = "dsort",
                                   .size = sizeof(struct dsort),
                                   .startable = true,
                                   .check = check_dsort,
                                   .run = run_dsort,
                                   .stop = stop};
const struct job_kind job_shard = {.name = "shard",
                                   .size = sizeof(struct dsort),
                                   .startable = true,
                                   .check = check_shard,
                                   .run = run_shard,
                                   .stop = stop};
