/* Put, Get, List and Delete of the configurations of inventories (store/inventory.h); the job `inventory` carries them out. */
#include "s3api/may.h"
#include "s3api/name.h"
#include "s3api/request.h"
#include "s3api/settings.h"
#include "store/inventory.h"

step_fn put_bucket_inventory, get_bucket_inventory, delete_bucket_inventory; /* routes.def */

enum { DOCUMENT_MAX = 16 << 10 };

struct inventory_op {
    struct str id;
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct bucket_conf_put_req put;
    struct bucket_conf_put_res written;
};

static step_fn inventory_parse;

static struct str name_of(struct s3_request *r, struct str id)
{
    return arena_printf(r->arena, STR_FMT STR_FMT, STR_ARG(INVENTORY_DOC), STR_ARG(id));
}

/* The query's id, and what is kept under it. */
static enum err begin(struct s3_request *r, struct inventory_op **out)
{
    struct inventory_op *i = r->state = ARENA_NEW(r->arena, struct inventory_op);

    *out = i;
    i->id = s3_query(r, STR("id"));
    if (!r->env->confs)
        return ERR_NOT_IMPLEMENTED;
    if (!inventory_is_id(i->id))
        return reply_error(r, ERR_INVALID_ARGUMENT,
                           "id: an inventory's id has 1 to 64 letters, digits, '-', '_' and '.'.");
    i->put = (struct bucket_conf_put_req){.arena = r->arena, .uid = r->bucket.id.uid, .name = name_of(r, i->id)};
    return ERR_OK;
}

enum step_next put_bucket_inventory(struct op *op)
{
    struct s3_request *r = S3(op);
    struct inventory_op *i;
    enum err e = begin(r, &i);

    if (e == ERR_OK && (r->bucket.id.view || r->bucket.id.backend))
        e = reply_error(r, ERR_NOT_IMPLEMENTED,
                        "Inventories of buckets that show what is elsewhere are not implemented.");
    if (e != ERR_OK)
        return op_fail(op, e);
    i->read = (struct s3_read_req){.request = r, .max = DOCUMENT_MAX};
    s3_read_xml(r, &i->read, &i->xml, op_call(op, inventory_parse));
    return STEP_WAIT;
}

static size_t count(struct s3_request *r, struct str but)
{
    struct str name = STR("");
    size_t n = 0;

    while (bucket_conf_next(r->env->confs, r->arena, r->bucket.id.uid, INVENTORY_DOC, name, &name))
        n += !str_eq(name, but);
    return n;
}

static enum err check(struct s3_request *r, const struct inventory_op *i, const struct inventory *conf)
{
    struct bucket target;

    if (!str_eq(conf->id, i->id))
        return reply_error(r, ERR_INVALID_ARGUMENT, "The Id of the configuration is not the id of the request.");
    if (!name_is_bucket(conf->bucket) || buckets_find(r->env->buckets, r->arena, conf->bucket, &target) != ERR_OK)
        return reply_error(r, ERR_INVALID_ARGUMENT, "The destination bucket does not exist: " STR_FMT,
                           STR_ARG(conf->bucket));
    if (target.id.view || target.id.backend)
        return reply_error(r, ERR_INVALID_ARGUMENT,
                           "The destination bucket shows what is elsewhere: it can't take inventories.");
    if (count(r, i->put.name) >= INVENTORIES_MAX)
        return reply_error(r, ERR_INVALID_ARGUMENT, "A bucket can have at most %d inventories.", INVENTORIES_MAX);
    /* who may configure this bucket can't make the server write where they may not */
    return s3_may(r, STR("s3:PutObject"), &target, conf->prefix.n ? conf->prefix : STR("inventory"));
}

static enum step_next inventory_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct inventory_op *i = r->state;
    char why[INVENTORY_WHY_MAX] = "";
    struct inventory *conf;
    enum err e;

    if ((e = inventory_read(r->arena, &i->xml.doc, &conf, why)) != ERR_OK)
        return op_fail(op, why[0] ? reply_error(r, e, "%s", why) : e);
    if ((e = check(r, i, conf)) != ERR_OK)
        return op_fail(op, e);
    i->put.text = setting_text(r->arena, &i->xml.doc);
    reply_status(r, 204);
    bucket_conf_put(r->env->confs, &i->put, &i->written, op_call(op, reply_send));
    return STEP_WAIT;
}

enum step_next delete_bucket_inventory(struct op *op)
{
    struct s3_request *r = S3(op);
    struct inventory_op *i;
    enum err e = begin(r, &i);

    if (e == ERR_OK && !bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, i->put.name))
        e = ERR_NO_SUCH_CONFIGURATION;
    if (e != ERR_OK)
        return op_fail(op, e);
    reply_status(r, 204);
    bucket_conf_put(r->env->confs, &i->put, &i->written, op_call(op, reply_send));
    return STEP_WAIT;
}

static enum step_next list(struct s3_request *r)
{
    struct buf *b = reply_xml(r);
    struct str name = STR("");
    const struct bucket_doc *d;

    xml_begin(b, STR("ListInventoryConfigurationsResult"));
    while (r->env->confs &&
           (d = bucket_conf_next(r->env->confs, r->arena, r->bucket.id.uid, INVENTORY_DOC, name, &name)))
        buf_add_str(b, d->text);
    xml_bool(b, STR("IsTruncated"), false);
    xml_close(b, STR("ListInventoryConfigurationsResult"));
    return op_go(&r->op, reply_send);
}

/* Without an id: all of them, ListBucketInventoryConfigurations. */
enum step_next get_bucket_inventory(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct bucket_doc *d;
    struct inventory_op *i;
    struct buf *b;
    enum err e;

    if (!s3_query(r, STR("id")).p)
        return list(r);
    if ((e = begin(r, &i)) != ERR_OK)
        return op_fail(op, e);
    if (!(d = bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, i->put.name)))
        return op_fail(op, ERR_NO_SUCH_CONFIGURATION);
    b = reply_xml(r);
    xml_begin(b, STR("InventoryConfiguration"));
    buf_add_str(b, str_skip(d->text, STR("<InventoryConfiguration>").n));
    return op_go(op, reply_send);
}
