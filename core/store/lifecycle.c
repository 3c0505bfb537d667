#include "store/lifecycle.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "http/url.h"

enum {
    NEWER_MAX = 100,
    ID_MAX = 255,
    TAG_KEY_MAX = 128,
    TAG_VALUE_MAX = 256,
    TAG_TEXT_MAX = (TAG_KEY_MAX + TAG_VALUE_MAX) * 4 * 3 + 1
};

struct reader {
    struct arena *arena;
    const struct xml_doc *doc;
    struct lifecycle_rule *rule; /* that is read */
    char *why;
    unsigned predicates;
    bool has_prefix, has_filter, has_action, has_status;
};

static enum err refuse(struct reader *r, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static enum err refuse(struct reader *r, enum err e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(r->why, LIFECYCLE_WHY_MAX, fmt, args);
    va_end(args);
    return e;
}

/* ---- filters ---- */

static enum err read_prefix(struct reader *r, const struct xml_node *n)
{
    if (r->rule->prefix.p)
        return ERR_MALFORMED_XML;
    r->rule->prefix = arena_str(r->arena, n->text);
    return ERR_OK;
}

static enum err read_size(const struct xml_node *n, bool larger, struct lifecycle_rule *rule)
{
    uint64_t *to = larger ? &rule->larger_than : &rule->smaller_than;

    if (!str_to_u64(str_trim(n->text), INT64_MAX, to))
        return ERR_MALFORMED_XML;
    rule->has_larger |= larger;
    return ERR_OK;
}

static struct str key_of(struct str tag)
{
    return str_split(&tag, '=');
}

static enum err read_tag(struct reader *r, const struct xml_node *n)
{
    const struct xml_node *key = xml_child(r->doc, n, STR("Key")), *value = xml_child(r->doc, n, STR("Value"));
    struct lifecycle_rule *rule = r->rule;
    struct buf b = BUF_INIT(TAG_TEXT_MAX);

    if (!key || !value || key->text.n == 0)
        return ERR_MALFORMED_XML;
    url_encode(&b, key->text, false);
    buf_add_char(&b, '=');
    url_encode(&b, value->text, false);
    struct str text = arena_str(r->arena, buf_str(&b));
    enum err e = buf_err(&b);
    buf_release(&b);
    if (e != ERR_OK || rule->tag_count == LIFECYCLE_TAGS_MAX)
        return refuse(r, ERR_INVALID_REQUEST, "A filter has at most %d tags, of %d and %d characters.",
                      LIFECYCLE_TAGS_MAX, TAG_KEY_MAX, TAG_VALUE_MAX);
    for (unsigned i = 0; i < rule->tag_count; i++)
        if (str_eq(key_of(rule->tags[i]), key_of(text)))
            return refuse(r, ERR_INVALID_REQUEST, "Duplicate Tag Keys are not allowed.");
    rule->tags[rule->tag_count++] = text;
    return ERR_OK;
}

static enum err read_predicate(struct reader *r, const struct xml_node *n)
{
    r->predicates++;
    if (str_eq(n->name, STR("Prefix")))
        return read_prefix(r, n);
    if (str_eq(n->name, STR("Tag")))
        return read_tag(r, n);
    if (str_eq(n->name, STR("ObjectSizeGreaterThan")))
        return read_size(n, true, r->rule);
    return str_eq(n->name, STR("ObjectSizeLessThan")) ? read_size(n, false, r->rule) : ERR_MALFORMED_XML;
}

static enum err read_filter(struct reader *r, const struct xml_node *filter)
{
    const struct xml_node *first = xml_first(r->doc, filter);
    bool all = first && str_eq(first->name, STR("And"));
    const struct xml_node *of = all ? first : filter;
    enum err e = ERR_OK;

    if (r->has_filter || (all && xml_next(r->doc, filter, first)))
        return ERR_MALFORMED_XML;
    r->has_filter = true;
    for (const struct xml_node *n = xml_first(r->doc, of); e == ERR_OK && n; n = xml_next(r->doc, of, n))
        e = read_predicate(r, n);
    if (e != ERR_OK)
        return e;
    if (all ? r->predicates < 2 : r->predicates > 1) /* several are joined by And, and And joins several */
        return ERR_MALFORMED_XML;
    if (r->rule->has_larger && r->rule->larger_than >= r->rule->smaller_than)
        return refuse(r, ERR_INVALID_REQUEST, "ObjectSizeGreaterThan must be less than ObjectSizeLessThan.");
    return ERR_OK;
}

/* ---- actions ---- */

static enum err read_days(struct reader *r, const struct xml_node *n, const char *action, uint32_t *out)
{
    uint64_t days;

    if (!str_to_u64(str_trim(n->text), INT32_MAX, &days) || days == 0)
        return refuse(r, ERR_INVALID_ARGUMENT, "'%s' for %s action must be a positive integer",
                      str_eq(n->name, STR("Days")) ? "Days" : "DaysAfterInitiation", action);
    *out = (uint32_t)days;
    return ERR_OK;
}

static enum err read_date(struct reader *r, const struct xml_node *n)
{
    struct str text = str_trim(n->text);

    if (text.n == 10) /* a date alone */
        text = arena_printf(r->arena, STR_FMT "T00:00:00Z", STR_ARG(text));
    if (!clock_iso_parse(text, &r->rule->date_s) || r->rule->date_s <= 0)
        return ERR_MALFORMED_XML;
    return r->rule->date_s % LIFECYCLE_DAY_S ? refuse(r, ERR_INVALID_ARGUMENT, "'Date' must be at midnight GMT")
                                             : ERR_OK;
}

static enum err read_expiration(struct reader *r, const struct xml_node *action)
{
    const struct xml_node *n = xml_first(r->doc, action);

    if (!n || xml_next(r->doc, action, n) || r->rule->days || r->rule->date_s)
        return ERR_MALFORMED_XML;
    if (str_eq(n->name, STR("Days")))
        return read_days(r, n, "Expiration", &r->rule->days);
    if (str_eq(n->name, STR("Date")))
        return read_date(r, n);
    if (!str_eq(n->name, STR("ExpiredObjectDeleteMarker")) || r->rule->markers)
        return ERR_MALFORMED_XML;
    r->rule->markers = str_eq(str_trim(n->text), STR("true"));
    return r->rule->markers || str_eq(str_trim(n->text), STR("false")) ? ERR_OK : ERR_MALFORMED_XML;
}

static enum err read_older(struct reader *r, const struct xml_node *action)
{
    struct lifecycle_rule *rule = r->rule;
    uint64_t kept;
    enum err e = ERR_OK;

    if (rule->older_days)
        return ERR_MALFORMED_XML;
    for (const struct xml_node *n = xml_first(r->doc, action); e == ERR_OK && n; n = xml_next(r->doc, action, n)) {
        if (str_eq(n->name, STR("NoncurrentDays"))) {
            uint64_t days;
            if (!str_to_u64(str_trim(n->text), INT32_MAX, &days) || days == 0)
                return refuse(r, ERR_INVALID_ARGUMENT,
                              "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer");
            rule->older_days = (uint32_t)days;
        } else if (str_eq(n->name, STR("NewerNoncurrentVersions"))) {
            if (!str_to_u64(str_trim(n->text), NEWER_MAX, &kept) || kept == 0)
                return refuse(r, ERR_INVALID_ARGUMENT, "'NewerNoncurrentVersions' must be from 1 to %d", NEWER_MAX);
            rule->newer_kept = (uint32_t)kept;
        } else {
            e = ERR_MALFORMED_XML;
        }
    }
    return e == ERR_OK && rule->older_days == 0 ? ERR_MALFORMED_XML : e;
}

static enum err read_abort(struct reader *r, const struct xml_node *action)
{
    const struct xml_node *n = xml_first(r->doc, action);

    if (!n || xml_next(r->doc, action, n) || !str_eq(n->name, STR("DaysAfterInitiation")) || r->rule->abort_days)
        return ERR_MALFORMED_XML;
    return read_days(r, n, "AbortIncompleteMultipartUpload", &r->rule->abort_days);
}

static enum err read_status(struct reader *r, const struct xml_node *n)
{
    struct str status = str_trim(n->text);

    r->rule->enabled = str_eq(status, STR("Enabled"));
    r->has_status = true;
    return r->rule->enabled || str_eq(status, STR("Disabled")) ? ERR_OK : ERR_MALFORMED_XML;
}

static enum err read_member(struct reader *r, const struct xml_node *n)
{
    if (str_eq(n->name, STR("ID"))) {
        r->rule->id = arena_str(r->arena, n->text);
        return n->text.n <= ID_MAX
                   ? ERR_OK
                   : refuse(r, ERR_INVALID_ARGUMENT, "ID length should not exceed allowed limit of %d", ID_MAX);
    }
    if (str_eq(n->name, STR("Status")))
        return read_status(r, n);
    if (str_eq(n->name, STR("Filter")))
        return read_filter(r, n);
    if (str_eq(n->name, STR("Prefix"))) {
        r->has_prefix = true;
        return read_prefix(r, n);
    }
    r->has_action = true;
    if (str_eq(n->name, STR("Expiration")))
        return read_expiration(r, n);
    if (str_eq(n->name, STR("AbortIncompleteMultipartUpload")))
        return read_abort(r, n);
    if (str_eq(n->name, STR("NoncurrentVersionExpiration")))
        return read_older(r, n);
    if (str_eq(n->name, STR("Transition")) || str_starts(n->name, STR("NoncurrentVersion")))
        return refuse(r, ERR_NOT_IMPLEMENTED, STR_FMT " is not implemented.", STR_ARG(n->name));
    return ERR_MALFORMED_XML;
}

/* ---- rules ---- */

static enum err check_rule(struct reader *r)
{
    const struct lifecycle_rule *rule = r->rule;

    if (!r->has_status || r->has_filter == r->has_prefix)
        return ERR_MALFORMED_XML;
    if (!r->has_action)
        return refuse(r, ERR_INVALID_REQUEST, "At least one action needs to be specified in a rule");
    if (rule->abort_days && (rule->tag_count || rule->has_larger || rule->smaller_than != UINT64_MAX))
        return refuse(r, ERR_INVALID_REQUEST,
                      "AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes");
    if (rule->markers && (rule->tag_count || rule->has_larger || rule->smaller_than != UINT64_MAX))
        return refuse(r, ERR_INVALID_REQUEST,
                      "ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes");
    return ERR_OK;
}

static enum err check_ids(const struct lifecycle *l, struct reader *r)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < i && l->rules[i].id.n; k++)
            if (str_eq(l->rules[i].id, l->rules[k].id))
                return refuse(r, ERR_INVALID_ARGUMENT,
                              "Rule ID must be unique. Found same ID for more than one rule: " STR_FMT,
                              STR_ARG(l->rules[i].id));
    return ERR_OK;
}

static enum err read_rule(struct reader *r, const struct xml_node *n)
{
    enum err e = ERR_OK;

    r->predicates = 0;
    r->has_prefix = r->has_filter = r->has_action = r->has_status = false;
    r->rule->smaller_than = UINT64_MAX;
    for (const struct xml_node *m = xml_first(r->doc, n); e == ERR_OK && m; m = xml_next(r->doc, n, m))
        e = read_member(r, m);
    return e == ERR_OK ? check_rule(r) : e;
}

static size_t count_rules(const struct xml_doc *doc)
{
    const struct xml_node *root = xml_root(doc);
    size_t n = 0;

    for (const struct xml_node *c = xml_first(doc, root); c; c = xml_next(doc, root, c))
        n++;
    return n;
}

enum err lifecycle_read(struct arena *arena, const struct xml_doc *doc, struct lifecycle **out,
                        char why[LIFECYCLE_WHY_MAX])
{
    const struct xml_node *root = xml_root(doc);
    struct reader r = {.arena = arena, .doc = doc, .why = why};
    struct lifecycle *l = ARENA_NEW(arena, struct lifecycle);
    size_t n = count_rules(doc);
    enum err e = n ? ERR_OK : ERR_MALFORMED_XML;

    if (n > LIFECYCLE_RULES_MAX)
        return refuse(&r, ERR_INVALID_REQUEST, "There are at most %d rules.", LIFECYCLE_RULES_MAX);
    l->rules = arena_new(arena, n * sizeof(*l->rules));
    for (const struct xml_node *c = xml_first(doc, root); e == ERR_OK && c; c = xml_next(doc, root, c)) {
        r.rule = &l->rules[l->n++];
        e = str_eq(c->name, STR("Rule")) ? read_rule(&r, c) : ERR_MALFORMED_XML;
    }
    *out = l;
    return e == ERR_OK ? check_ids(l, &r) : e;
}

/* ---- what they say ---- */

static bool has_tag(struct str tags, struct str tag)
{
    while (tags.n)
        if (str_eq(str_split(&tags, '&'), tag))
            return true;
    return false;
}

static bool fits(const struct lifecycle_rule *rule, const struct lifecycle_object *o)
{
    if (!rule->enabled || !str_starts(o->key, rule->prefix) || (rule->has_larger && o->size <= rule->larger_than) ||
        o->size >= rule->smaller_than)
        return false;
    for (unsigned i = 0; o->tags_known && i < rule->tag_count; i++)
        if (!has_tag(o->tags, rule->tags[i]))
            return false;
    return true;
}

/* S3 rounds up to the next midnight. */
static int64_t days_later(int64_t from_s, uint32_t days, int64_t day_s)
{
    int64_t at = from_s + (int64_t)days * day_s;

    return (at + day_s - 1) / day_s * day_s;
}

int64_t lifecycle_ends(const struct lifecycle *l, const struct lifecycle_object *o, int64_t day_s,
                       const struct lifecycle_rule **rule)
{
    int64_t ends = LIFECYCLE_NEVER;

    for (size_t i = 0; i < l->n; i++) {
        const struct lifecycle_rule *r = &l->rules[i];
        int64_t at = r->days ? days_later(o->mtime_s, r->days, day_s) : r->date_s ? r->date_s : LIFECYCLE_NEVER;
        if (at >= ends || !fits(r, o))
            continue;
        ends = at;
        if (rule)
            *rule = r;
    }
    return ends;
}

int64_t lifecycle_older_ends(const struct lifecycle *l, const struct lifecycle_object *o, int64_t since_s,
                             uint32_t newer, int64_t day_s)
{
    int64_t ends = LIFECYCLE_NEVER;

    for (size_t i = 0; i < l->n; i++) {
        const struct lifecycle_rule *r = &l->rules[i];
        int64_t at = r->older_days ? days_later(since_s, r->older_days, day_s) : LIFECYCLE_NEVER;
        if (at < ends && newer >= r->newer_kept && fits(r, o))
            ends = at;
    }
    return ends;
}

/* Rules by days mean markers, too (S3 User Guide, "Removing expired object delete markers"). */
int64_t lifecycle_marker_ends(const struct lifecycle *l, struct str key, int64_t mtime_s, int64_t day_s)
{
    int64_t ends = LIFECYCLE_NEVER;

    for (size_t i = 0; i < l->n; i++) {
        const struct lifecycle_rule *r = &l->rules[i];
        bool by_days = r->days && r->tag_count == 0 && !r->has_larger && r->smaller_than == UINT64_MAX;
        int64_t at = r->markers ? mtime_s : by_days ? days_later(mtime_s, r->days, day_s) : LIFECYCLE_NEVER;
        if (r->enabled && at < ends && str_starts(key, r->prefix))
            ends = at;
    }
    return ends;
}

int64_t lifecycle_upload_ends(const struct lifecycle *l, struct str key, int64_t began_s, int64_t day_s)
{
    int64_t ends = LIFECYCLE_NEVER;

    for (size_t i = 0; i < l->n; i++) {
        const struct lifecycle_rule *r = &l->rules[i];
        int64_t at = r->abort_days ? days_later(began_s, r->abort_days, day_s) : LIFECYCLE_NEVER;
        if (r->enabled && at < ends && str_starts(key, r->prefix))
            ends = at;
    }
    return ends;
}
