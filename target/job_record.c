#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "target/job_own.h"

enum { FORMAT = 1, BRIEF_MAX = 1024, RECORD_MAX = 2 * JOB_SPEC_MAX };

static const char *const states[] = {"running", "done", "failed", "stopped"};

struct str job_state_name(enum job_state s)
{
    return str_z(states[s]);
}

uint64_t job_now_ms(void)
{
    return (uint64_t)(clock_wall_ns() / 1000000);
}

struct str job_key(struct arena *a, struct str id)
{
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(JOB_KEY), STR_ARG(id));
}

struct str job_at_key(struct arena *a, struct str id, struct str node)
{
    return arena_printf(a, STR_FMT STR_FMT "/" STR_FMT, STR_ARG(JOB_AT_KEY), STR_ARG(id), STR_ARG(node));
}

bool job_is_for(const struct job_record *r, struct str node)
{
    const struct doc *one = doc_get(r->spec, STR("node"));

    return !one || str_eq(one->text, node);
}

/* ---- reading ---- */

static struct str text_of(const struct doc *d, struct str key)
{
    const struct doc *found = doc_get(d, key);

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

static uint64_t number_of(const struct doc *d, struct str key)
{
    uint64_t n = 0;

    return str_to_u64(text_of(d, key), UINT64_MAX, &n) ? n : 0;
}

static bool state_of(const struct doc *d, enum job_state *out)
{
    struct str text = text_of(d, STR("state"));

    for (unsigned i = 0; i < sizeof(states) / sizeof(*states); i++) {
        if (str_eq(text, str_z(states[i]))) {
            *out = (enum job_state)i;
            return true;
        }
    }
    return false;
}

static enum err read_root(struct arena *a, struct str text, struct doc **root)
{
    char why[DOC_WHY_MAX] = "";
    uint64_t format;

    if (js_read(a, text, root, why) != ERR_OK || !str_to_u64(text_of(*root, STR("format")), UINT64_MAX, &format)) {
        log_error(STR_NONE, "a job's record can't be read", "why=%s", log_quote(str_z(why)));
        return ERR_CORRUPT;
    }
    return format == FORMAT ? ERR_OK : ERR_NOT_IMPLEMENTED;
}

enum err job_record_read(struct arena *a, struct str text, struct job_record *out)
{
    struct doc *root;
    enum err e = read_root(a, text, &root);

    if (e != ERR_OK)
        return e;
    *out = (struct job_record){.id = text_of(root, STR("id")),
                               .kind = text_of(root, STR("kind")),
                               .started_by = text_of(root, STR("started_by")),
                               .spec = doc_get(root, STR("spec")),
                               .created_ms = number_of(root, STR("created_ms")),
                               .ended_ms = number_of(root, STR("ended_ms")),
                               .stop = str_eq(text_of(root, STR("stop")), STR("true"))};
    if (out->id.n == 0 || out->id.n > JOB_ID_MAX || !state_of(root, &out->state) || !out->spec)
        return ERR_CORRUPT;
    return ERR_OK;
}

enum err job_at_read(struct arena *a, struct str text, struct job_at *out)
{
    struct doc *root;
    enum err e = read_root(a, text, &root);

    if (e != ERR_OK)
        return e;
    *out = (struct job_at){.ok = number_of(root, STR("ok")),
                           .failed = number_of(root, STR("failed")),
                           .skipped = number_of(root, STR("skipped")),
                           .bytes = number_of(root, STR("bytes")),
                           .began_ms = number_of(root, STR("began_ms")),
                           .ended_ms = number_of(root, STR("ended_ms")),
                           .at = text_of(root, STR("at")),
                           .note = text_of(root, STR("note"))};
    const struct doc *kept = doc_get(root, STR("kept"));
    out->keeps = kept && kept->kind == DOC_MAP;
    if (out->keeps)
        out->kept = (struct job_counts){number_of(kept, STR("ok")), number_of(kept, STR("failed")),
                                        number_of(kept, STR("skipped")), number_of(kept, STR("bytes"))};
    const struct doc *errors = doc_get(root, STR("errors"));
    for (const struct doc *d = errors ? errors->first : NULL; d && out->error_count < JOB_ERRORS_MAX; d = d->next)
        out->errors[out->error_count++] = d->text;
    return state_of(root, &out->state) ? ERR_OK : ERR_CORRUPT;
}

/* ---- writing ---- */

static void write_record(struct buf *b, const struct job_record *r)
{
    js_put_str(b, "started_by", r->started_by);
    js_put_u64(b, "created_ms", r->created_ms);
    js_put_str(b, "state", job_state_name(r->state));
    js_put_bool(b, "stop", r->stop);
    js_put_u64(b, "ended_ms", r->ended_ms);
}

void job_record_json(struct buf *b, const struct job_record *r)
{
    js_put_str(b, "id", r->id);
    js_put_str(b, "kind", r->kind);
    js_key(b, STR("spec"));
    js_doc(b, r->spec);
    write_record(b, r);
}

void job_record_brief(struct buf *b, const struct job_record *r)
{
    js_put_str(b, "id", r->id);
    js_put_str(b, "kind", r->kind);
    js_key(b, STR("spec"));
    js_object(b);
    for (const struct doc *d = r->spec->first; d; d = d->next) {
        if (d->kind != DOC_SCALAR || d->text.n > BRIEF_MAX)
            continue;
        js_key(b, d->key);
        js_doc(b, d);
    }
    js_end_object(b);
    write_record(b, r);
}

void job_at_json(struct buf *b, const struct job_at *p)
{
    js_put_str(b, "state", job_state_name(p->state));
    js_put_u64(b, "ok", p->ok);
    js_put_u64(b, "failed", p->failed);
    js_put_u64(b, "skipped", p->skipped);
    js_put_u64(b, "bytes", p->bytes);
    js_put_u64(b, "began_ms", p->began_ms);
    js_put_u64(b, "ended_ms", p->ended_ms);
    js_put_str(b, "note", p->note);
    js_key(b, STR("errors"));
    js_array(b);
    for (unsigned i = 0; i < p->error_count; i++)
        js_str(b, p->errors[i]);
    js_end_array(b);
}

static void begin(struct buf *b)
{
    buf_init(b, RECORD_MAX);
    js_object(b);
    js_put_u64(b, "format", FORMAT);
}

static struct str end(struct buf *b, struct arena *a)
{
    js_end_object(b);
    struct str text = arena_str(a, buf_str(b)); /* what is over the maximum is no JSON and refused by who reads it */
    buf_release(b);
    return text;
}

struct str job_record_text(struct arena *a, const struct job_record *r)
{
    struct buf b;

    begin(&b);
    job_record_json(&b, r);
    return end(&b, a);
}

static void write_counts(struct buf *b, const struct job_counts *c)
{
    js_key(b, STR("kept"));
    js_object(b);
    js_put_u64(b, "ok", c->ok);
    js_put_u64(b, "failed", c->failed);
    js_put_u64(b, "skipped", c->skipped);
    js_put_u64(b, "bytes", c->bytes);
    js_end_object(b);
}

struct str job_at_text(struct arena *a, const struct job_at *p)
{
    struct buf b;

    begin(&b);
    job_at_json(&b, p);
    js_put_str(&b, "at", p->at);
    if (p->keeps)
        write_counts(&b, &p->kept);
    return end(&b, a);
}
