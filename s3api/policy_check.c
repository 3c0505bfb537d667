/* What S3 refuses of a bucket's policy beyond its grammar: statements that can never be about anything. */
#include <stdio.h>

#include "s3api/may.h"

/* Conditions that only requests of some permissions can fulfil. */
static const struct {
    struct str key; /* its beginning */
    const char *const *actions;
} limited[] = {
    {{"s3:existingobjecttag/", 21},
     (const char *const[]){"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectAcl", "s3:GetObjectVersionAcl",
                           "s3:PutObjectAcl", "s3:PutObjectVersionAcl", "s3:GetObjectTagging",
                           "s3:GetObjectVersionTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging",
                           "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging", "s3:GetObjectAttributes",
                           "s3:GetObjectVersionAttributes", NULL}},
    {{"s3:requestobjecttag", 19},
     (const char *const[]){"s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging", NULL}},
    {{"s3:prefix", 9},
     (const char *const[]){"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", NULL}},
    {{"s3:delimiter", 12},
     (const char *const[]){"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", NULL}},
    {{"s3:max-keys", 11},
     (const char *const[]){"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", NULL}},
    {{"s3:object-lock-", 15},
     (const char *const[]){"s3:PutObject", "s3:PutObjectRetention", "s3:PutObjectLegalHold", NULL}},
    {{"s3:x-amz-copy-source", 20}, (const char *const[]){"s3:PutObject", NULL}},
    {{"s3:x-amz-metadata-directive", 27}, (const char *const[]){"s3:PutObject", NULL}},
};

static bool names_any(const struct policy *p, unsigned statement, const char *const *actions)
{
    for (; *actions; actions++)
        if (policy_names(p, statement, str_z(*actions)))
            return true;
    return false;
}

static bool conditions_apply(const struct policy *p, unsigned statement)
{
    for (size_t i = 0; i < sizeof(limited) / sizeof(limited[0]); i++)
        if (policy_statement_asks(p, statement, limited[i].key) && !names_any(p, statement, limited[i].actions))
            return false;
    return true;
}

/* Of the permissions that routes need: whether a statement names one of a bucket's, one of an object's. What names none of them is about something
 * that is not here, and is not judged. */
static bool resources_apply(const struct policy *p, unsigned statement, struct str root)
{
    bool buckets = false, objects = false;
    size_t n;
    const struct route *routes = route_table(&n);

    for (size_t i = 0; i < n; i++) {
        struct str plain = route_permission(&routes[i], false), version = route_permission(&routes[i], true);
        if (plain.n == 0 || (!policy_names(p, statement, plain) && !policy_names(p, statement, version)))
            continue;
        buckets |= routes[i].level == LEVEL_BUCKET;
        objects |= routes[i].level == LEVEL_OBJECT;
    }
    if ((!buckets && !objects) || policy_excepts(p, statement))
        return true;
    return (buckets && policy_means(p, statement, root, false)) || (objects && policy_means(p, statement, root, true));
}

enum err bucket_policy_read(struct arena *a, struct str text, struct str bucket, const struct policy **out,
                            char why[POLICY_WHY_MAX])
{
    struct str root = arena_printf(a, "arn:aws:s3:::" STR_FMT, STR_ARG(bucket)), unknown;
    struct policy *p = NULL;
    enum err e;

    if ((e = policy_read(a, text, POLICY_RESOURCE, &p, why)) != ERR_OK ||
        (e = policy_within(p, STR("s3"), root, why)) != ERR_OK)
        return e;
    if (!policy_keys_known(p, may_knows_key, &unknown)) {
        snprintf(why, POLICY_WHY_MAX, "Policy has an invalid condition key: %.100s", unknown.p);
        return ERR_MALFORMED_POLICY;
    }
    for (unsigned i = 0; i < policy_count(p); i++) {
        const char *wrong = !conditions_apply(p, i)
                                ? "Conditions do not apply to combination of actions and resources in statement"
                            : !resources_apply(p, i, root) ? "Action does not apply to any resource(s) in statement"
                                                           : NULL;
        if (wrong) {
            snprintf(why, POLICY_WHY_MAX, "%s", wrong);
            return ERR_MALFORMED_POLICY;
        }
    }
    *out = p;
    return ERR_OK;
}
