/* Tags as a document. */
#include "iam/ident.h"
#include "s3api/limits.h"
#include "s3api/settings.h"
#include "s3api/tags.h"

enum { BUCKET_TAGS_MAX = 50 };

enum err tagging_read(struct setting_read *s, struct tag *tags, size_t max, size_t *n)
{
    const struct xml_node *set = xml_child(s->doc, xml_root(s->doc), STR("TagSet"));

    *n = 0;
    if (!set)
        return ERR_MALFORMED_XML;
    for (const struct xml_node *t = xml_first(s->doc, set); t; t = xml_next(s->doc, set, t)) {
        const struct xml_node *key = xml_child(s->doc, t, STR("Key")), *value = xml_child(s->doc, t, STR("Value"));
        if (!str_eq(t->name, STR("Tag")) || !key || !value)
            return ERR_MALFORMED_XML;
        if (*n == max)
            return setting_refuse(s, ERR_INVALID_TAG, "There can be at most %zu tags.", max);
        tags[(*n)++] = (struct tag){key->text, value->text};
    }
    return tags_check(tags, *n, max);
}

enum err bucket_tags_read(struct setting_read *s)
{
    struct bucket_limits *limits = ARENA_NEW(s->arena, struct bucket_limits);
    struct tag tags[BUCKET_TAGS_MAX];
    size_t n;
    enum err e = tagging_read(s, tags, BUCKET_TAGS_MAX, &n);

    if (e == ERR_OK && (e = limits_of_tags(tags, n, limits)) != ERR_OK)
        return setting_refuse(s, e,
                              "Of tags that begin with " IDENT_TAG_OURS " there are " IDENT_TAG_RATE
                              ", 1 to %d, " IDENT_TAG_BYTES ", such as 500GiB, and " IDENT_TAG_OBJECTS ".",
                              IDENT_RATE_MAX);
    limits->odd = e == ERR_OK && !tags_are_plain(tags, n);
    s->made = limits;
    return e;
}
