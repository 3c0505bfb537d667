#include "job_select.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/job_names.h"

enum { PAGE = 1000 };

/* ---- the spec ---- */

static enum err refuse(char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return ERR_INVALID_ARGUMENT;
}

static bool is_text(const struct doc *d)
{
    return d && d->kind == DOC_SCALAR;
}

static enum err check_names(const struct doc *names, char why[256])
{
    if (names->kind != DOC_LIST || names->count == 0)
        return refuse(why, "\"names\" is a list of object names");
    for (const struct doc *d = names->first; d; d = d->next)
        if (d->kind != DOC_SCALAR || d->text.n == 0 || d->text.n > KEY_MAX)
            return refuse(why, "an object name has 1 to 1024 bytes");
    return ERR_OK;
}

static enum err check_template(const struct doc *text, char why[256])
{
    struct arena arena = ARENA_INIT;
    struct template t;
    enum err e = is_text(text) ? template_parse(&arena, text->text, &t, why) : refuse(why, "\"template\" is a text");

    arena_release(&arena);
    if (e == ERR_OK && t.names == UINT64_MAX)
        return refuse(why, "a template like %06d has no end: it can't select objects");
    return e;
}

enum err job_select_check(const struct doc *spec, char why[256])
{
    const struct doc *bucket = doc_get(spec, STR("bucket")), *names = doc_get(spec, STR("names")),
                     *in = doc_get(spec, STR("names_in")), *template = doc_get(spec, STR("template")),
                     *prefix = doc_get(spec, STR("prefix"));

    if (!is_text(bucket) || bucket->text.n == 0 || bucket_is_system(bucket->text))
        return refuse(why, "\"bucket\" names the bucket of the objects");
    if (!!names + !!in + !!template + !!prefix != 1)
        return refuse(why, "one of \"names\", \"names_in\", \"template\" and \"prefix\" says which objects");
    if (names)
        return check_names(names, why);
    if (template)
        return check_template(template, why);
    if (in && (!is_text(in) || !str_starts(in->text, STR("jobs/"))))
        return refuse(why, "\"names_in\" is the key of a list under jobs/");
    if (prefix && (!is_text(prefix) || prefix->text.n > KEY_MAX))
        return refuse(why, "\"prefix\" is a text of at most 1024 bytes");
    return ERR_OK;
}

/* ---- names that need no listing ---- */

static enum err next_in_text(struct job_select *s, struct str *name, bool *end)
{
    enum err e;

    arena_release(&s->page_arena);
    if (s->position >= JOB_SELECT_MAX)
        return ERR_TOO_LARGE;
    if ((e = job_names_next(&s->text, &s->page_arena, name, end)) == ERR_OK && !*end)
        s->position++;
    return e;
}

static enum err next_in_template(struct job_select *s, struct str *name, bool *end)
{
    enum err e;

    if (s->position >= s->template.names) {
        *end = true;
        return ERR_OK;
    }
    e = template_name(&s->template, s->position++, &s->name);
    *name = buf_str(&s->name);
    return e;
}

static enum err next_in_list(struct job_select *s, struct str *name, bool *end)
{
    if (!s->names) {
        *end = true;
        return ERR_OK;
    }
    *name = s->names->text;
    s->names = s->names->next;
    s->position++;
    return ERR_OK;
}

static void pass_over(struct job_select *s, uint64_t count)
{
    struct str name;
    bool end = false;

    while (!end && s->position < count)
        if ((s->by_text ? next_in_text(s, &name, &end) : next_in_list(s, &name, &end)) != ERR_OK)
            break;
}

/* ---- opening ---- */

static step_fn open_look, open_looked, open_get, open_got, open_read, open_end;

static enum step_next open_look(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    buckets_look(s->job->env->buckets, &s->look_req, &s->looked, op_call(op, open_looked));
    return STEP_WAIT;
}

static enum step_next open_looked(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    s->bucket = s->looked.bucket;
    if (!s->by_text)
        return op_go(op, open_end);
    s->look_req.name = SYSTEM_BUCKET; /* whoever wrote the list has made it */
    buckets_look(s->job->env->buckets, &s->look_req, &s->looked, op_call(op, open_get));
    return STEP_WAIT;
}

static enum step_next open_get(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    s->get_req.head =
        (struct obj_head_req){.arena = &s->arena, .bucket = s->looked.bucket.id, .key = s->names_in, .cond = COND_INIT};
    store_obj_get(s->job->env->all, &s->get_req, &s->got, op_call(op, open_got));
    return STEP_WAIT;
}

static enum step_next open_got(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);
    uint64_t size = s->got.head.len;

    if (size > JOB_NAMES_TEXT_MAX)
        return op_fail(op, ERR_TOO_LARGE);
    s->buf = mem_alloc(size + 1);
    source_fill(&s->fill, s->got.body, s->buf, size + 1, &s->buf_n, op_call(op, open_read));
    return STEP_WAIT;
}

static enum step_next open_read(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    s->text = str_n(s->buf, s->buf_n);
    s->position = 0;
    pass_over(s, s->skip);
    return op_go(op, open_end);
}

static enum step_next open_end(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    source_close(s->got.body);
    s->got.body = NULL;
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

static void select_cancel(void *arg)
{
    op_cancel(&((struct job_select *)arg)->op, ERR_CANCELLED);
}

static void take_template(struct job_select *s, struct str text)
{
    char why[256];

    if (template_parse(&s->arena, text, &s->template, why) != ERR_OK || s->template.names == UINT64_MAX)
        s->template = (struct template){.names = 0}; /* the check has refused it */
    else if (template_is_plain(&s->template)) {
        s->by_prefix = true;
        s->prefix = str_eq(text, STR("*")) ? STR("") : text;
        return;
    }
    s->by_template = true;
}

static void take_spec(struct job_select *s, const struct doc *spec)
{
    const struct doc *names = doc_get(spec, STR("names")), *in = doc_get(spec, STR("names_in")),
                     *template = doc_get(spec, STR("template")), *prefix = doc_get(spec, STR("prefix"));

    if (names) {
        s->names = names->first;
    } else if (in) {
        s->by_text = true;
        s->names_in = in->text;
    } else if (template) {
        take_template(s, template->text);
    } else {
        s->by_prefix = true;
        s->prefix = prefix ? prefix->text : STR("");
    }
    s->lists = s->by_prefix || s->by_template;
}

void job_select_open(struct job_select *s, struct job *job, const struct doc *spec, uint64_t position,
                     struct call *call)
{
    const struct doc *bucket = doc_get(spec, STR("bucket"));

    s->job = job;
    s->whole = call;
    s->position = s->skip = position;
    buf_init(&s->name, TEMPLATE_NAME_MAX);
    take_spec(s, spec);
    for (uint64_t i = 0; i < position && s->names; i++)
        s->names = s->names->next;
    s->look_req = (struct bucket_look_req){&s->arena, bucket ? bucket->text : STR("")};
    op_start(&s->op, job->env->loop, "select", open_look, open_end);
    call_on_cancel(call, select_cancel, s);
}

/* ---- names ---- */

static step_fn page_list, page_listed, page_end;

static enum step_next page_list(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    arena_release(&s->page_arena);
    s->list_req = (struct obj_list_req){.arena = &s->page_arena,
                                        .bucket = s->bucket.id,
                                        .prefix = s->prefix,
                                        .after = str_n(s->last, s->last_n),
                                        .max = PAGE,
                                        .cached = s->cached ? LIST_ONLY_CACHED : LIST_REMOTE};
    store_obj_list(s->job->env->all, &s->list_req, &s->page, op_call(op, page_listed));
    return STEP_WAIT;
}

static void give_listed(struct job_select *s)
{
    struct str key = s->page.entries[s->page_next++].key;

    s->last_n = key.n;
    memcpy(s->last, key.p, key.n);
    s->position++;
    *s->out = key;
}

static enum step_next page_listed(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    s->page_next = 0;
    s->last_page = !s->page.truncated;
    if (s->page.count == 0)
        *s->end = true;
    else
        give_listed(s);
    return op_go(op, page_end);
}

static enum step_next page_end(struct op *op)
{
    struct job_select *s = OP(op, struct job_select);

    if (op->err != ERR_OK)
        s->page.count = s->page_next = 0;
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

void job_select_next(struct job_select *s, struct str *name, bool *end, struct call *call)
{
    s->whole = call;
    s->out = name;
    s->end = end;
    *end = false;
    if (s->by_prefix && s->page_next < s->page.count) {
        give_listed(s);
        call_finish(call, ERR_OK);
    } else if (s->by_prefix && s->last_page) {
        *end = true;
        call_finish(call, ERR_OK);
    } else if (s->by_prefix) {
        op_start(&s->op, s->job->env->loop, "select", page_list, page_end);
        call_on_cancel(call, select_cancel, s);
    } else {
        call_finish(call, s->by_text       ? next_in_text(s, name, end)
                          : s->by_template ? next_in_template(s, name, end)
                                           : next_in_list(s, name, end));
    }
}

/* ---- where it is ---- */

void job_select_at(const struct job_select *s, char out[JOB_SELECT_AT_MAX])
{
    if (s->by_prefix) {
        out[0] = 'k';
        hex_encode(s->last, s->last_n, out + 1);
        out[1 + 2 * s->last_n] = '\0';
    } else {
        snprintf(out, JOB_SELECT_AT_MAX, "n%llu", (unsigned long long)s->position);
    }
}

void job_select_resume(struct job_select *s, struct str at)
{
    struct str rest = at.n ? str_skip(at, 1) : at;
    uint64_t position;

    if (s->by_prefix && at.n && at.p[0] == 'k' && rest.n / 2 <= KEY_MAX && hex_decode(rest, s->last, rest.n / 2)) {
        s->last_n = rest.n / 2;
    } else if (!s->by_prefix && at.n && at.p[0] == 'n' && str_to_u64(rest, JOB_SELECT_MAX, &position)) {
        if (s->by_template)
            s->position = position;
        else
            pass_over(s, position);
    }
}

void job_select_close(struct job_select *s)
{
    free(s->buf);
    s->buf = NULL;
    buf_release(&s->name);
    arena_release(&s->page_arena);
    arena_release(&s->arena);
}

bool job_leads(const struct job_env *env, struct bucket_id bucket, struct str key)
{
    const struct map *map;
    struct map_members now;
    bool leads;

    if (!env->members)
        return true;
    map = members_map(env->members);
    map_members(map, bucket.uid, key, redundancy_width(bucket.redundancy), &now);
    leads = now.lead >= 0 && str_eq(map->nodes[now.nodes[now.lead]].id, env->self);
    map_release(map);
    return leads;
}
