#include "store/inventory.h"

#include <stdarg.h>
#include <stdio.h>

enum { PREFIX_MAX = 512 };

struct reader {
    struct arena *arena;
    const struct xml_doc *doc;
    struct inventory *to;
    bool has_enabled, has_versions, has_schedule;
    char *why;
};

static enum err refuse(struct reader *r, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static enum err refuse(struct reader *r, enum err e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(r->why, INVENTORY_WHY_MAX, fmt, args);
    va_end(args);
    return e;
}

bool inventory_is_id(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!((id.p[i] >= 'a' && id.p[i] <= 'z') || (id.p[i] >= 'A' && id.p[i] <= 'Z') ||
              (id.p[i] >= '0' && id.p[i] <= '9') || id.p[i] == '-' || id.p[i] == '_' || id.p[i] == '.'))
            return false;
    return id.n > 0 && id.n <= INVENTORY_ID_MAX;
}

static const char *const fields[INVENTORY_FIELDS] = {
    [INVENTORY_SIZE] = "Size",
    [INVENTORY_LAST_MODIFIED] = "LastModifiedDate",
    [INVENTORY_ETAG] = "ETag",
    [INVENTORY_STORAGE_CLASS] = "StorageClass",
    [INVENTORY_MULTIPART] = "IsMultipartUploaded",
    [INVENTORY_CHECKSUM] = "ChecksumAlgorithm",
};

struct str inventory_field_name(enum inventory_field f)
{
    return str_z(fields[f]);
}

/* Exactly one of two words. */
static enum err read_choice(const struct xml_node *n, const char *yes, const char *no, bool *seen, bool *out)
{
    struct str text = str_trim(n->text);

    if (*seen || (!str_eq(text, str_z(yes)) && !str_eq(text, str_z(no))))
        return ERR_MALFORMED_XML;
    *seen = true;
    *out = str_eq(text, str_z(yes));
    return ERR_OK;
}

static enum err read_prefix(struct reader *r, const struct xml_node *n, struct str *to)
{
    if (to->p)
        return ERR_MALFORMED_XML;
    if (n->text.n > PREFIX_MAX)
        return refuse(r, ERR_INVALID_ARGUMENT, "A prefix is longer than %d bytes.", PREFIX_MAX);
    *to = arena_str(r->arena, n->text);
    return ERR_OK;
}

static enum err read_bucket(struct reader *r, struct str arn)
{
    struct str head = STR("arn:aws:s3:::");

    if (!str_starts(arn, head) || arn.n == head.n)
        return refuse(r, ERR_INVALID_ARGUMENT, "The destination bucket is named by an ARN: arn:aws:s3:::BUCKET");
    r->to->bucket = arena_str(r->arena, str_skip(arn, head.n));
    return ERR_OK;
}

static enum err read_format(struct reader *r, struct str format)
{
    if (str_eq(format, STR("ORC")) || str_eq(format, STR("Parquet")))
        return refuse(r, ERR_NOT_IMPLEMENTED, "Inventories in " STR_FMT " are not implemented: the format is CSV.",
                      STR_ARG(format));
    return str_eq(format, STR("CSV")) ? ERR_OK : ERR_MALFORMED_XML;
}

static enum err read_destination(struct reader *r, const struct xml_node *n)
{
    const struct xml_node *to = xml_first(r->doc, n);
    bool has_format = false;
    enum err e = ERR_OK;

    if (!to || !str_eq(to->name, STR("S3BucketDestination")) || xml_next(r->doc, n, to) || r->to->bucket.p)
        return ERR_MALFORMED_XML;
    for (const struct xml_node *m = xml_first(r->doc, to); e == ERR_OK && m; m = xml_next(r->doc, to, m)) {
        if (str_eq(m->name, STR("Bucket"))) {
            e = read_bucket(r, str_trim(m->text));
        } else if (str_eq(m->name, STR("Format"))) {
            e = read_format(r, str_trim(m->text));
            has_format = true;
        } else if (str_eq(m->name, STR("Prefix"))) {
            e = read_prefix(r, m, &r->to->prefix);
        } else if (str_eq(m->name, STR("Encryption"))) {
            e = refuse(r, ERR_NOT_IMPLEMENTED,
                       "Encryption of an inventory alone is not implemented: encrypt its bucket.");
        } else if (!str_eq(m->name, STR("AccountId"))) {
            e = ERR_MALFORMED_XML;
        }
    }
    return e == ERR_OK && (!r->to->bucket.p || !has_format) ? ERR_MALFORMED_XML : e;
}

static enum err read_fields(struct reader *r, const struct xml_node *n)
{
    for (const struct xml_node *m = xml_first(r->doc, n); m; m = xml_next(r->doc, n, m)) {
        struct str name = str_trim(m->text);
        unsigned f = 0;
        if (!str_eq(m->name, STR("Field")))
            return ERR_MALFORMED_XML;
        while (f < INVENTORY_FIELDS && !str_eq(name, str_z(fields[f])))
            f++;
        if (f == INVENTORY_FIELDS)
            return refuse(r, ERR_NOT_IMPLEMENTED, "The field " STR_FMT " is not implemented.", STR_ARG(name));
        r->to->fields |= 1u << f;
    }
    return ERR_OK;
}

static enum err read_member(struct reader *r, const struct xml_node *n)
{
    const struct xml_node *child = xml_first(r->doc, n);

    if (str_eq(n->name, STR("Id"))) {
        r->to->id = arena_str(r->arena, str_trim(n->text));
        return inventory_is_id(r->to->id)
                   ? ERR_OK
                   : refuse(r, ERR_INVALID_ARGUMENT, "An Id has 1 to 64 letters, digits, '-', '_' and '.'.");
    }
    if (str_eq(n->name, STR("IsEnabled")))
        return read_choice(n, "true", "false", &r->has_enabled, &r->to->enabled);
    if (str_eq(n->name, STR("IncludedObjectVersions")))
        return read_choice(n, "All", "Current", &r->has_versions, &r->to->all_versions);
    if (str_eq(n->name, STR("Schedule")))
        return child && str_eq(child->name, STR("Frequency")) && !xml_next(r->doc, n, child)
                   ? read_choice(child, "Weekly", "Daily", &r->has_schedule, &r->to->weekly)
                   : ERR_MALFORMED_XML;
    if (str_eq(n->name, STR("Filter")))
        return child && str_eq(child->name, STR("Prefix")) && !xml_next(r->doc, n, child)
                   ? read_prefix(r, child, &r->to->only)
                   : ERR_MALFORMED_XML;
    if (str_eq(n->name, STR("OptionalFields")))
        return read_fields(r, n);
    return str_eq(n->name, STR("Destination")) ? read_destination(r, n) : ERR_MALFORMED_XML;
}

enum err inventory_read(struct arena *arena, const struct xml_doc *doc, struct inventory **out,
                        char why[INVENTORY_WHY_MAX])
{
    struct reader r = {.arena = arena, .doc = doc, .to = ARENA_NEW(arena, struct inventory), .why = why};
    const struct xml_node *root = xml_root(doc);
    enum err e = str_eq(root->name, STR("InventoryConfiguration")) ? ERR_OK : ERR_MALFORMED_XML;

    for (const struct xml_node *n = xml_first(doc, root); e == ERR_OK && n; n = xml_next(doc, root, n))
        e = read_member(&r, n);
    if (e == ERR_OK && (!r.to->id.n || !r.to->bucket.n || !r.has_enabled || !r.has_versions || !r.has_schedule))
        e = ERR_MALFORMED_XML;
    *out = r.to;
    return e;
}
