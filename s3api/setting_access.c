/* Who can be let in at all: PublicAccessBlockConfiguration, OwnershipControls. */
#include "s3api/acl.h"
#include "s3api/may.h"
#include "s3api/settings.h"

static enum err read_flag(struct str text, bool *flag, bool *seen)
{
    if (*seen)
        return ERR_MALFORMED_XML;
    *seen = true;
    *flag = str_eq_nocase(text, STR("true"));
    return *flag || str_eq_nocase(text, STR("false")) ? ERR_OK : ERR_MALFORMED_XML;
}

/* S3 API: PutPublicAccessBlock; what is not said is false. */
enum err access_block_read(struct setting_read *s)
{
    const struct xml_node *root = xml_root(s->doc);
    struct access_block *b = ARENA_NEW(s->arena, struct access_block);
    bool seen[4] = {false};
    enum err e = ERR_OK;

    for (const struct xml_node *n = xml_first(s->doc, root); e == ERR_OK && n; n = xml_next(s->doc, root, n)) {
        struct str text = str_trim(n->text);
        if (str_eq(n->name, STR("BlockPublicAcls")))
            e = read_flag(text, &b->block_acls, &seen[0]);
        else if (str_eq(n->name, STR("IgnorePublicAcls")))
            e = read_flag(text, &b->ignore_acls, &seen[1]);
        else if (str_eq(n->name, STR("BlockPublicPolicy")))
            e = read_flag(text, &b->block_policy, &seen[2]);
        else if (str_eq(n->name, STR("RestrictPublicBuckets")))
            e = read_flag(text, &b->restrict_buckets, &seen[3]);
        else
            e = ERR_MALFORMED_XML;
    }
    s->made = b;
    return e;
}

/* S3 API: PutBucketOwnershipControls: one rule with one element. */
enum err ownership_read(struct setting_read *s)
{
    const struct xml_node *root = xml_root(s->doc), *rule = xml_first(s->doc, root), *value;
    enum ownership *made = ARENA_NEW(s->arena, enum ownership);

    if (!rule || !str_eq(rule->name, STR("Rule")) || xml_next(s->doc, root, rule) ||
        !(value = xml_first(s->doc, rule)) || xml_next(s->doc, rule, value) ||
        !str_eq(value->name, STR("ObjectOwnership")) || !ownership_parse(str_trim(value->text), made))
        return ERR_MALFORMED_XML;
    s->made = made;
    return ERR_OK;
}

/* A bucket whose list lets others in must not lose it silently. */
enum err ownership_fits(struct s3_request *r, const void *made)
{
    struct acl acl;

    if (*(const enum ownership *)made != OWNERSHIP_ENFORCED || !acl_enabled(r, &r->bucket) ||
        !acl_of_bucket(r, &r->bucket, &acl) || acl_is_private(r, &acl))
        return ERR_OK;
    return ERR_ACL_OWNERSHIP;
}
