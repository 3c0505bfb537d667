#include "s3api/lock.h"
#include "s3api/settings.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "iam/policy.h"
#include "s3api/access_log.h"
#include "s3api/acl.h"
#include "s3api/route.h"
#include "s3api/xml.h"
#include "s3api/limits.h"
#include "s3api/website.h"
#include "store/inventory.h"
#include "store/lifecycle.h"
#include "store/notification.h"

enum { SMALL_MAX = 16 << 10, CORS_MAX = 64 << 10 };

enum err setting_refuse(struct setting_read *s, enum err e, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(s->why, sizeof(s->why), fmt, args);
    va_end(args);
    return e;
}

/* ---- those that can only be what they are ---- */

static enum err request_payment_read(struct setting_read *s)
{
    struct str payer = str_trim(xml_child_text(s->doc, xml_root(s->doc), STR("Payer")));

    if (str_eq(payer, STR("Requester")))
        return setting_refuse(s, ERR_NOT_IMPLEMENTED,
                              "Requester pays is not implemented: Payer can only be BucketOwner.");
    s->unset = true;
    return str_eq(payer, STR("BucketOwner")) ? ERR_OK : ERR_MALFORMED_XML;
}

static enum err accelerate_read(struct setting_read *s)
{
    struct str status = str_trim(xml_child_text(s->doc, xml_root(s->doc), STR("Status")));

    if (str_eq(status, STR("Enabled")))
        return setting_refuse(s, ERR_NOT_IMPLEMENTED,
                              "Transfer acceleration is not implemented: Status can only be Suspended.");
    return str_eq(status, STR("Suspended")) ? ERR_OK : ERR_MALFORMED_XML;
}

static enum err notification_setting_read(struct setting_read *s)
{
    struct notification *n = NULL;
    enum err e = notification_read(s->arena, s->doc, &n, s->why);

    s->made = n;
    s->unset = e == ERR_OK && n->n == 0;
    return e;
}

enum err lifecycle_setting_read(struct setting_read *s)
{
    struct lifecycle *l = NULL;
    enum err e = lifecycle_read(s->arena, s->doc, &l, s->why);

    s->made = l;
    return e;
}

/* ---- all ---- */

/* clang-format off */
static const struct setting settings[] = {
    {SUB(ACCELERATE), {"accelerate", 10}, {"AccelerateConfiguration", 23}, accelerate_read, .document_max = SMALL_MAX},
    {SUB(CORS), {"cors", 4}, {"CORSConfiguration", 17}, cors_read, ERR_NO_SUCH_CORS, .document_max = CORS_MAX},
    {SUB(LOGGING), {"logging", 7}, {"BucketLoggingStatus", 19}, logging_read, .document_max = SMALL_MAX, .fits = logging_fits},
    {SUB(NOTIFICATION), {"notification", 12}, {"NotificationConfiguration", 25}, notification_setting_read, .document_max = SMALL_MAX},
    {SUB(REQUEST_PAYMENT), {"request-payment", 15}, {"RequestPaymentConfiguration", 27}, request_payment_read,
     .content = {"<Payer>BucketOwner</Payer>", 26}, .document_max = SMALL_MAX},
    {SUB(TAGGING), {"tagging", 7}, {"Tagging", 7}, bucket_tags_read, ERR_NO_SUCH_TAG_SET, .document_max = 128 << 10, .status = 204,
     .fits = limits_may_change, .fits_none = true},
    {SUB(LIFECYCLE), {"lifecycle", 9}, {"LifecycleConfiguration", 22}, lifecycle_setting_read, ERR_NO_SUCH_LIFECYCLE,
     .own = true, .document_max = 512 << 10},
    {SUB(OBJECT_LOCK), {"object-lock", 11}, {"ObjectLockConfiguration", 23}, lock_setting_read, ERR_NO_SUCH_OBJECT_LOCK},
    {SUB(OWNERSHIP), {"ownership", 9}, {"OwnershipControls", 17}, ownership_read, ERR_NO_SUCH_OWNERSHIP, .own = true,
     .document_max = SMALL_MAX, .fits = ownership_fits},
    {SUB(PUBLIC_ACCESS_BLOCK), {"public-access-block", 19}, {"PublicAccessBlockConfiguration", 30}, access_block_read,
     ERR_NO_SUCH_PUBLIC_ACCESS_BLOCK, .document_max = SMALL_MAX},
    {SUB(REPLICATION), {"replication", 11}, .absent = ERR_NO_SUCH_REPLICATION, .fixed = true},
    {SUB(WEBSITE), {"website", 7}, {"WebsiteConfiguration", 20}, website_read, ERR_NO_SUCH_WEBSITE, .document_max = WEBSITE_DOCUMENT_MAX},
};
/* clang-format on */

const struct setting *setting_find(uint64_t sub)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (settings[i].sub == sub)
            return &settings[i];
    return NULL;
}

static void write_element(struct buf *b, const struct xml_doc *d, const struct xml_node *n)
{
    const struct xml_node *child = xml_first(d, n);

    xml_open(b, n->name);
    if (!child)
        xml_escape(b, n->text);
    for (; child; child = xml_next(d, n, child))
        write_element(b, d, child);
    xml_close(b, n->name);
}

struct str setting_text(struct arena *arena, const struct xml_doc *doc)
{
    struct buf b = BUF_INIT(BUCKET_DOC_MAX + 1); /* longer is refused when it is put */
    struct str text;

    write_element(&b, doc, xml_root(doc));
    text = arena_str(arena, buf_str(&b));
    buf_release(&b);
    return text;
}

/* What was put was read before it was kept, maybe by another version. */
static const void *read_kept(const struct setting *row, struct arena *arena, struct str text)
{
    struct xml_doc doc;
    struct setting_read s = {.arena = arena, .doc = &doc};
    enum err e = xml_read(text, &doc);

    if (e == ERR_OK) {
        e = row->read(&s);
        xml_doc_release(&doc);
    }
    if (e == ERR_OK)
        return s.made;
    log_error(STR_NONE, "document of a bucket can't be read", "name=" STR_FMT " err=%s why=%s", STR_ARG(row->name),
              err_name(e), log_quote(str_z(s.why)));
    return NULL;
}

static const void *cors_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(CORS)), arena, text);
}

static const void *lifecycle_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(LIFECYCLE)), arena, text);
}

static const void *access_block_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(PUBLIC_ACCESS_BLOCK)), arena, text);
}

static const void *logging_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(LOGGING)), arena, text);
}

static const void *notification_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(NOTIFICATION)), arena, text);
}

static const void *policy_kept(struct arena *arena, struct str text)
{
    char why[POLICY_WHY_MAX] = "";
    struct policy *p = NULL;

    if (policy_read(arena, text, POLICY_RESOURCE, &p, why) != ERR_OK)
        log_error(STR_NONE, "policy of a bucket can't be read: nobody is let in", "why=%s", log_quote(str_z(why)));
    return p;
}

static const void *ownership_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(OWNERSHIP)), arena, text);
}

static const void *acl_kept(struct arena *arena, struct str text)
{
    struct acl *acl = ARENA_NEW(arena, struct acl);

    if (acl_parse(arena, text, acl))
        return acl;
    log_error(STR_NONE, "access control list of a bucket can't be read: it counts as private", "text=%s",
              log_quote(text));
    return NULL;
}

static const void *lock_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(OBJECT_LOCK)), arena, text);
}

static const void *website_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(WEBSITE)), arena, text);
}

static const void *tagging_kept(struct arena *arena, struct str text)
{
    return read_kept(setting_find(SUB(TAGGING)), arena, text);
}

static const void *inventory_kept(struct arena *arena, struct str text)
{
    char why[INVENTORY_WHY_MAX] = "";
    struct inventory *made = NULL;
    struct xml_doc doc;
    enum err e = xml_read(text, &doc);

    if (e == ERR_OK) {
        e = inventory_read(arena, &doc, &made, why);
        xml_doc_release(&doc);
    }
    if (e == ERR_OK)
        return made;
    log_error(STR_NONE, "configuration of an inventory can't be read", "err=%s why=%s", err_name(e),
              log_quote(str_z(why)));
    return NULL;
}

const struct bucket_doc_kind s3_doc_kinds[] = {
    {{"acl", 3}, acl_kept},
    {{"cors", 4}, cors_kept},
    {{"inventory.", 10}, inventory_kept},
    {{"lifecycle", 9}, lifecycle_kept},
    {{"logging", 7}, logging_kept},
    {{"notification", 12}, notification_kept},
    {{"object-lock", 11}, lock_kept},
    {{"ownership", 9}, ownership_kept},
    {{"policy", 6}, policy_kept},
    {{"public-access-block", 19}, access_block_kept},
    {{"tagging", 7}, tagging_kept},
    {{"website", 7}, website_kept},
};
const size_t s3_doc_kind_count = sizeof(s3_doc_kinds) / sizeof(s3_doc_kinds[0]);
