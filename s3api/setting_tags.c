/* Tags as a document. */
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
    struct tag tags[BUCKET_TAGS_MAX];
    size_t n;

    return tagging_read(s, tags, BUCKET_TAGS_MAX, &n);
}
