#include "store/notification.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"

enum { ID_MAX = 255, FILTER_MAX = 1024, SAID_MAX = 32, ARN_PARTS = 6 };

static const char *const names[EVENT_KINDS] = {
    [EVENT_PUT] = "ObjectCreated:Put",
    [EVENT_POST] = "ObjectCreated:Post",
    [EVENT_COPY] = "ObjectCreated:Copy",
    [EVENT_COMPLETE] = "ObjectCreated:CompleteMultipartUpload",
    [EVENT_DELETE] = "ObjectRemoved:Delete",
    [EVENT_MARKER] = "ObjectRemoved:DeleteMarkerCreated",
    [EVENT_EXPIRED] = "LifecycleExpiration:Delete",
    [EVENT_EXPIRED_MARKER] = "LifecycleExpiration:DeleteMarkerCreated",
    [EVENT_TAGS_PUT] = "ObjectTagging:Put",
    [EVENT_TAGS_DELETE] = "ObjectTagging:Delete",
    [EVENT_ACL] = "ObjectAcl:Put",
};

const char *event_name(enum event_kind kind)
{
    return names[kind];
}

struct reader {
    struct arena *arena;
    const struct xml_doc *doc;
    struct notification_rule *rule; /* that is read */
    struct str *said;
    char *why;
};

static enum err refuse(struct reader *r, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static enum err refuse(struct reader *r, enum err e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(r->why, NOTIFICATION_WHY_MAX, fmt, args);
    va_end(args);
    return e;
}

/* ---- events ---- */

/* Those that S3 has, but for which nothing here is the cause. */
static bool never_happens(struct str name)
{
    static const char *const families[] = {"ReducedRedundancyLostObject", "ObjectRestore:",     "Replication:",
                                           "LifecycleTransition",         "IntelligentTiering", "ObjectAnnotation:"};

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (str_starts(name, str_z(families[i])))
            return true;
    return false;
}

static uint32_t events_named(struct str name)
{
    uint32_t set = 0;

    for (unsigned k = EVENT_PUT; k < EVENT_KINDS; k++) {
        struct str full = str_z(names[k]);
        bool all = name.n > 2 && str_ends(name, STR(":*")) && str_starts(full, str_n(name.p, name.n - 1));
        if (all || str_eq(full, name))
            set |= 1u << k;
    }
    return set;
}

static enum err read_event(struct reader *r, struct str text)
{
    struct str name = str_starts(text, STR("s3:")) ? str_skip(text, 3) : STR("");
    uint32_t set = events_named(name);

    if (!set && never_happens(name))
        return refuse(r, ERR_NOT_IMPLEMENTED, "Events of the kind " STR_FMT " are not implemented.", STR_ARG(text));
    if (!set)
        return refuse(r, ERR_INVALID_ARGUMENT, "A specified event is not supported for notifications: " STR_FMT,
                      STR_ARG(text));
    if (r->rule->said_count == SAID_MAX)
        return ERR_MALFORMED_XML;
    r->rule->events |= set;
    r->said[r->rule->said_count++] = arena_str(r->arena, text);
    return ERR_OK;
}

/* ---- filters ---- */

static enum err read_filter_rule(struct reader *r, const struct xml_node *n)
{
    struct str name = str_trim(xml_child_text(r->doc, n, STR("Name"))), value = xml_child_text(r->doc, n, STR("Value"));
    bool prefix = str_eq_nocase(name, STR("prefix"));
    struct str *to = prefix ? &r->rule->prefix : &r->rule->suffix;

    if (!prefix && !str_eq_nocase(name, STR("suffix")))
        return refuse(r, ERR_INVALID_ARGUMENT, "filter rule name must be either prefix or suffix");
    if (to->p)
        return refuse(r, ERR_INVALID_ARGUMENT, "Cannot specify more than one %s rule in a filter.",
                      prefix ? "prefix" : "suffix");
    if (value.n > FILTER_MAX)
        return refuse(r, ERR_INVALID_ARGUMENT, "Size of filter rule value cannot exceed %d bytes in UTF-8 encoding",
                      FILTER_MAX);
    *to = arena_str(r->arena, value);
    return ERR_OK;
}

static enum err read_filter(struct reader *r, const struct xml_node *filter)
{
    const struct xml_node *key = xml_first(r->doc, filter);
    enum err e = ERR_OK;

    if (!key)
        return ERR_OK;
    if (!str_eq(key->name, STR("S3Key")) || xml_next(r->doc, filter, key))
        return ERR_MALFORMED_XML;
    for (const struct xml_node *n = xml_first(r->doc, key); e == ERR_OK && n; n = xml_next(r->doc, key, n))
        e = str_eq(n->name, STR("FilterRule")) ? read_filter_rule(r, n) : ERR_MALFORMED_XML;
    return e;
}

/* ---- destinations ---- */

/* "arn:aws:sqs:REGION:ACCOUNT:NAME", "arn:aws:lambda:...:function:NAME", "arn:minio:sqs:REGION:NAME:webhook". */
static enum err read_arn(struct reader *r, struct str text)
{
    struct str parts[ARN_PARTS], rest = text, last;
    bool minio, known;

    for (unsigned i = 0; i < ARN_PARTS; i++)
        parts[i] = i + 1 < ARN_PARTS ? str_split(&rest, ':') : rest;
    minio = str_eq(parts[1], STR("minio"));
    known = str_eq(parts[2], STR("sqs")) || str_eq(parts[2], STR("sns")) || str_eq(parts[2], STR("lambda"));
    for (last = parts[5]; str_find_char(last, ':') != SIZE_MAX;)
        (void)str_split(&last, ':');
    if (minio && !str_eq(last, STR("webhook")))
        known = false;
    if (!str_eq(parts[0], STR("arn")) || !known || r->rule->arn.p)
        return refuse(r, ERR_INVALID_ARGUMENT, "The ARN could not be parsed: " STR_FMT, STR_ARG(text));
    r->rule->arn = arena_str(r->arena, text);
    r->rule->webhook = arena_str(r->arena, minio ? parts[4] : last);
    return ERR_OK;
}

static enum err read_member(struct reader *r, const struct xml_node *n)
{
    static const char *const destinations[] = {"Queue", "Topic", "CloudFunction"};

    if (str_eq(n->name, STR("Id"))) {
        if (n->text.n > ID_MAX || r->rule->id.p)
            return ERR_MALFORMED_XML;
        r->rule->id = arena_str(r->arena, n->text);
        return ERR_OK;
    }
    if (str_eq(n->name, STR("Event")))
        return read_event(r, str_trim(n->text));
    if (str_eq(n->name, STR("Filter")))
        return read_filter(r, n);
    return str_eq(n->name, str_z(destinations[r->rule->kind])) ? read_arn(r, str_trim(n->text)) : ERR_MALFORMED_XML;
}

static void name_rule(struct reader *r)
{
    struct notification_rule *rule = r->rule;
    struct str all = arena_printf(r->arena, STR_FMT " %x " STR_FMT " " STR_FMT, STR_ARG(rule->arn), rule->events,
                                  STR_ARG(rule->prefix), STR_ARG(rule->suffix));

    if (!rule->id.n)
        rule->id = arena_printf(r->arena, "%016llx", (unsigned long long)hash_place(all, 1));
}

static enum err read_rule(struct reader *r, const struct xml_node *n)
{
    enum err e = ERR_OK;

    r->rule->said = r->said = arena_new(r->arena, SAID_MAX * sizeof(*r->said));
    for (const struct xml_node *m = xml_first(r->doc, n); e == ERR_OK && m; m = xml_next(r->doc, n, m))
        e = read_member(r, m);
    if (e == ERR_OK && (!r->rule->arn.p || !r->rule->events))
        e = ERR_MALFORMED_XML;
    if (e == ERR_OK)
        name_rule(r);
    return e;
}

/* ---- all ---- */

static bool one_in_other(struct str a, struct str b, bool at_end)
{
    return at_end ? str_ends(a, b) || str_ends(b, a) : str_starts(a, b) || str_starts(b, a);
}

/* Two rules that could be about the same event are refused, as S3 does. */
static enum err overlaps(struct reader *r, const struct notification *n)
{
    for (size_t i = 0; i < n->n; i++)
        for (size_t k = i + 1; k < n->n; k++) {
            const struct notification_rule *a = &n->rules[i], *b = &n->rules[k];
            if (str_eq(a->id, b->id))
                return refuse(r, ERR_INVALID_ARGUMENT, "Same ID used for multiple configurations. IDs must be unique");
            if ((a->events & b->events) && one_in_other(a->prefix, b->prefix, false) &&
                one_in_other(a->suffix, b->suffix, true))
                return refuse(r, ERR_INVALID_ARGUMENT,
                              "Configurations overlap. Configurations on the same bucket cannot share a common event "
                              "type.");
        }
    return ERR_OK;
}

static enum err read_root(struct reader *r, const struct xml_node *n, struct notification *all)
{
    static const char *const kinds[] = {"QueueConfiguration", "TopicConfiguration", "CloudFunctionConfiguration"};

    if (str_eq(n->name, STR("EventBridgeConfiguration")))
        return refuse(r, ERR_NOT_IMPLEMENTED, "EventBridge is not implemented: events go to webhooks.");
    for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        if (str_eq(n->name, str_z(kinds[k]))) {
            if (all->n == NOTIFICATION_RULES_MAX)
                return refuse(r, ERR_INVALID_ARGUMENT, "There are more than %d configurations.",
                              NOTIFICATION_RULES_MAX);
            r->rule = &all->rules[all->n++];
            r->rule->kind = (enum notification_kind)k;
            return read_rule(r, n);
        }
    return ERR_MALFORMED_XML;
}

enum err notification_read(struct arena *arena, const struct xml_doc *doc, struct notification **out,
                           char why[NOTIFICATION_WHY_MAX])
{
    struct reader r = {.arena = arena, .doc = doc, .why = why};
    struct notification *all = ARENA_NEW(arena, struct notification);
    const struct xml_node *root = xml_root(doc);
    enum err e = ERR_OK;

    all->rules = arena_new(arena, NOTIFICATION_RULES_MAX * sizeof(*all->rules));
    for (const struct xml_node *n = xml_first(doc, root); e == ERR_OK && n; n = xml_next(doc, root, n))
        e = read_root(&r, n, all);
    if (e == ERR_OK)
        e = overlaps(&r, all);
    *out = all;
    return e;
}

const struct notification_rule *notification_next(const struct notification *n, const struct notification_rule *from,
                                                  enum event_kind kind, struct str key)
{
    for (const struct notification_rule *rule = from ? from + 1 : n->rules; rule < n->rules + n->n; rule++)
        if ((rule->events & (1u << kind)) && str_starts(key, rule->prefix) && str_ends(key, rule->suffix))
            return rule;
    return NULL;
}
