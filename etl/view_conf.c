#include "etl/view_own.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

#define MARK STR("x-sluice-view")

static enum err refuse(char why[DOC_WHY_MAX], const char *what)
{
    snprintf(why, DOC_WHY_MAX, "%s", what);
    return ERR_INVALID_ARGUMENT;
}

static enum err parse_stage(struct arena *arena, const struct doc *d, struct etl_stage *out, char why[DOC_WHY_MAX])
{
    bool text = d->kind == DOC_SCALAR;
    const struct doc *name = text ? d : d->kind == DOC_MAP ? doc_get(d, STR("name")) : NULL;
    const struct doc *args = text || d->kind != DOC_MAP ? NULL : doc_get(d, STR("args"));

    if (!name || name->kind != DOC_SCALAR || !etl_stage_name_is_valid(name->text))
        return refuse(why, "\"etl\" must be a list of names, or of {\"name\",\"args\"}");
    if (args && (args->kind != DOC_SCALAR || args->text.n > ETL_ARGS_MAX))
        return refuse(why, "\"args\" of an ETL must be a text");
    *out = (struct etl_stage){arena_str(arena, name->text), args ? arena_str(arena, args->text) : STR("")};
    return ERR_OK;
}

static enum err parse_stages(struct arena *arena, const struct doc *list, struct view_conf *out, char why[DOC_WHY_MAX])
{
    struct etl_stage *stages = arena_new(arena, ETL_STAGES_MAX * sizeof(*stages));
    enum err e;

    if (!list || list->kind != DOC_LIST || !list->first)
        return refuse(why, "\"etl\" must be a list of at least one ETL");
    for (const struct doc *d = list->first; d; d = d->next) {
        if (out->stage_count == ETL_STAGES_MAX)
            return refuse(why, "\"etl\" has too many stages");
        if ((e = parse_stage(arena, d, &stages[out->stage_count], why)) != ERR_OK)
            return e;
        out->stage_count++;
    }
    out->stages = stages;
    return ERR_OK;
}

enum err view_conf_parse(struct arena *arena, const struct doc *view, struct view_conf *out, char why[DOC_WHY_MAX])
{
    *out = (struct view_conf){.prefix = STR("")};
    if (view->kind != DOC_MAP)
        return refuse(why, "a view is {\"source\",\"etl\",\"prefix\"}");
    for (const struct doc *d = view->first; d; d = d->next) {
        if (str_eq(d->key, STR("etl")))
            continue;
        if (d->kind != DOC_SCALAR || d->text.n > KEY_MAX)
            return refuse(why, "\"source\" and \"prefix\" of a view must be texts");
        if (str_eq(d->key, STR("source")))
            out->source = arena_str(arena, d->text);
        else if (str_eq(d->key, STR("prefix")))
            out->prefix = arena_str(arena, d->text);
        else if (str_eq(d->key, STR("members")) && (str_eq(d->text, STR("true")) || str_eq(d->text, STR("false"))))
            out->members = str_eq(d->text, STR("true"));
        else
            return refuse(
                why, "a view has \"source\", \"etl\", \"prefix\" and \"members\" (true or false), and nothing else");
    }
    if (!out->source.n || bucket_is_system(out->source))
        return refuse(why, "\"source\" of a view must be the name of a bucket");
    return parse_stages(arena, doc_get(view, STR("etl")), out, why);
}

enum err view_conf_check(struct arena *arena, struct str settings, char why[DOC_WHY_MAX])
{
    struct view_conf conf;
    const struct doc *view;
    struct doc *d;

    /* that settings are JSON is the bucket directory's to say */
    if (js_read(arena, settings, &d, why) != ERR_OK || d->kind != DOC_MAP || !(view = doc_get(d, STR("view"))))
        return ERR_OK;
    return view_conf_parse(arena, view, &conf, why);
}

/* ---- one request's view ---- */

enum err view_find(struct view *v, struct arena *arena, struct bucket_id bucket, struct view_at *out)
{
    struct views *views = v->env.views;
    char why[DOC_WHY_MAX] = "";
    const struct doc *view;
    struct bucket found;
    struct doc *props;
    enum err e;

    *out = (struct view_at){.v = v, .arena = arena, .bucket = bucket};
    if (!v->env.door)
        return ERR_NOT_IMPLEMENTED;
    if ((e = buckets_find(views->buckets, arena, bucket.name, &found)) != ERR_OK)
        return e;
    if (found.id.uid != bucket.uid || js_read(arena, found.props, &props, why) != ERR_OK ||
        !(view = doc_get(props, STR("view"))) || view_conf_parse(arena, view, &out->conf, why) != ERR_OK)
        return ERR_NO_SUCH_BUCKET;
    if ((e = buckets_find(views->buckets, arena, out->conf.source, &out->source)) != ERR_OK)
        return e;
    if (out->source.id.view) /* views of views may go round in circles: a pipeline does the same */
        return ERR_INVALID_REQUEST;
    for (size_t i = 0; i < out->conf.stage_count; i++)
        if (!etl_names_find(views->names, out->conf.stages[i].name, out->ids[i]))
            return ERR_NO_SUCH_ETL;
    return ERR_OK;
}

static void add(struct hash *h, struct str s)
{
    uint64_t n = s.n;

    hash_update(h, &n, sizeof(n));
    hash_update(h, s.p, s.n);
}

void view_mark(const struct view_at *at, const struct etag *source, char mark[VIEW_MARK_LEN])
{
    struct digest d;
    struct hash h;

    hash_init(&h, HASH_SHA256);
    add(&h, etag_str(source));
    for (size_t i = 0; i < at->conf.stage_count; i++) {
        add(&h, at->conf.stages[i].name);
        add(&h, str_z(at->ids[i]));
        add(&h, at->conf.stages[i].args);
    }
    if (at->conf.members)
        add(&h, STR("members"));
    hash_final(&h, &d);
    hex_encode(d.b, VIEW_MARK_LEN / 2, mark);
}

bool view_unmark(struct arena *arena, struct object_info *info, const char mark[VIEW_MARK_LEN])
{
    bool fits = str_eq(object_attr(info, MARK), str_n(mark, VIEW_MARK_LEN));
    struct attr *attrs = arena_alloc(arena, (info->attr_count + 1) * sizeof(*attrs));
    uint32_t n = 0;

    for (uint32_t i = 0; i < info->attr_count; i++)
        if (!str_eq(info->attrs[i].name, MARK))
            attrs[n++] = info->attrs[i];
    info->attrs = attrs;
    info->attr_count = n;
    return fits;
}
