#include "lock.h"

#include "base/clock.h"
#include "s3api/may.h"

enum { DAY_S = 86400, YEAR_DAYS = 365, DAYS_MAX = 36500 };

static bool is_mode(struct str s)
{
    return str_eq(s, STR("GOVERNANCE")) || str_eq(s, STR("COMPLIANCE"));
}

/* ---- the document ---- */

enum err lock_setting_read(struct setting_read *s)
{
    const struct xml_node *root = xml_root(s->doc), *rule, *retention = NULL;
    struct str mode, days, years;
    struct lock_default *d = ARENA_NEW(s->arena, struct lock_default);
    uint64_t n = 0;

    s->made = d;
    if (!str_eq(xml_child_text(s->doc, root, STR("ObjectLockEnabled")), STR("Enabled")))
        return setting_refuse(s, ERR_MALFORMED_XML, "ObjectLockEnabled must be Enabled.");
    if ((rule = xml_child(s->doc, root, STR("Rule"))) == NULL)
        return ERR_OK;
    if ((retention = xml_child(s->doc, rule, STR("DefaultRetention"))) == NULL)
        return ERR_MALFORMED_XML;
    mode = xml_child_text(s->doc, retention, STR("Mode"));
    days = xml_child_text(s->doc, retention, STR("Days"));
    years = xml_child_text(s->doc, retention, STR("Years"));
    if (!is_mode(mode) || (days.n == 0) == (years.n == 0) || !str_to_u64(days.n ? days : years, UINT32_MAX, &n))
        return ERR_MALFORMED_XML;
    n *= years.n ? YEAR_DAYS : 1;
    if (n == 0 || n > DAYS_MAX)
        return setting_refuse(s, ERR_INVALID_ARGUMENT, "Default retention period must be from 1 to %d days.", DAYS_MAX);
    d->mode = arena_str(s->arena, mode);
    d->seconds = (int64_t)n * DAY_S;
    return ERR_OK;
}

/* ---- writes ---- */

static void add(struct arena *arena, struct object_info *info, struct str name, struct str value)
{
    struct attr *attrs = arena_alloc(arena, (info->attr_count + 1) * sizeof(*attrs));

    if (info->attr_count)
        memcpy(attrs, info->attrs, info->attr_count * sizeof(*attrs));
    attrs[info->attr_count++] = (struct attr){name, value};
    info->attrs = attrs;
}

static enum err take_default(struct s3_request *r, struct object_info *info)
{
    const struct bucket_doc *doc =
        r->env->confs ? bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, STR("object-lock")) : NULL;
    const struct lock_default *d = doc ? doc->parsed : NULL;
    char until[CLOCK_ISO_LEN];

    if (!d || d->mode.n == 0)
        return ERR_OK;
    clock_iso(clock_wall_ns() + d->seconds * NS_PER_S, until);
    add(r->arena, info, LOCK_MODE_ATTR, arena_str(r->arena, d->mode));
    add(r->arena, info, LOCK_UNTIL_ATTR, arena_str(r->arena, str_n(until, sizeof(until))));
    return ERR_OK;
}

static enum err check_retention(struct s3_request *r, struct str mode, struct str until)
{
    int64_t s;

    if (!mode.p || !until.p)
        return reply_error(r, ERR_INVALID_ARGUMENT,
                           "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied");
    if (!is_mode(mode))
        return reply_error(r, ERR_INVALID_ARGUMENT, "Unknown wormMode directive.");
    if (!clock_iso_parse(until, &s))
        return reply_error(r, ERR_INVALID_ARGUMENT, "The retain until date must be provided in ISO 8601 format");
    if (s <= clock_wall_ns() / NS_PER_S)
        return reply_error(r, ERR_INVALID_ARGUMENT, "The retain until date must be in the future!");
    return s3_may(r, STR("s3:PutObjectRetention"), &r->bucket, r->key);
}

enum err lock_collect(struct s3_request *r, struct object_info *info)
{
    struct str mode = s3_header(r, LOCK_MODE_ATTR), until = s3_header(r, LOCK_UNTIL_ATTR),
               hold = s3_header(r, LOCK_HOLD_ATTR);
    enum err e;

    if (!mode.p && !until.p && !hold.p)
        return r->bucket.locks ? take_default(r, info) : ERR_OK;
    if (!r->bucket.locks)
        return reply_error(r, ERR_INVALID_REQUEST, "Bucket is missing Object Lock Configuration");
    if (mode.p || until.p) {
        if ((e = check_retention(r, mode, until)) != ERR_OK)
            return e;
        add(r->arena, info, LOCK_MODE_ATTR, mode);
        add(r->arena, info, LOCK_UNTIL_ATTR, until);
    } else if ((e = take_default(r, info)) != ERR_OK) {
        return e;
    }
    if (!hold.p)
        return ERR_OK;
    if (!str_eq(hold, STR("ON")) && !str_eq(hold, STR("OFF")))
        return reply_error(r, ERR_INVALID_ARGUMENT, "Legal Hold must be either of 'ON' or 'OFF'");
    add(r->arena, info, LOCK_HOLD_ATTR, hold);
    return s3_may(r, STR("s3:PutObjectLegalHold"), &r->bucket, r->key);
}
