/* PutBucketNotificationConfiguration. Its GET is one of the settings'. */
#include "s3api/request.h"
#include "s3api/settings.h"

step_fn put_bucket_notification; /* routes.def */

enum { DOCUMENT_MAX = 128 << 10 };

struct notification_op {
    struct s3_read_req read;
    struct s3_xml_res xml;
    struct notification *rules;
    struct announce_test_req test;
    struct announce_test_res tested;
    struct bucket_conf_put_req put;
    struct bucket_conf_put_res written;
};

static step_fn notification_parse, notification_put; /* in order */

enum step_next put_bucket_notification(struct op *op)
{
    struct s3_request *r = S3(op);
    struct notification_op *n = r->state = ARENA_NEW(r->arena, struct notification_op);

    if (r->bucket.id.view)
        return op_fail(
            op, reply_error(r, ERR_NOT_IMPLEMENTED, "Notifications of buckets that show others are not implemented."));
    if (!r->env->confs)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    n->read = (struct s3_read_req){.request = r, .max = DOCUMENT_MAX};
    s3_read_xml(r, &n->read, &n->xml, op_call(op, notification_parse));
    return STEP_WAIT;
}

static enum err check_destinations(struct s3_request *r, const struct notification *rules)
{
    for (size_t i = 0; i < rules->n; i++) {
        const struct notification_rule *rule = &rules->rules[i];
        if (r->env->announcer && announcer_has(r->env->announcer, rule->webhook))
            continue;
        reply_detail(r, STR("ArgumentName"), rule->arn);
        reply_detail(r, STR("ArgumentValue"),
                     STR("The destination does not exist: this server has no webhook of that name."));
        return reply_error(r, ERR_INVALID_ARGUMENT, "Unable to validate the following destination configurations");
    }
    return ERR_OK;
}

static enum step_next notification_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct notification_op *n = r->state;
    struct str skip = s3_header(r, STR("x-amz-skip-destination-validation"));
    char why[NOTIFICATION_WHY_MAX] = "";
    enum err e;

    if (!str_eq(xml_root(&n->xml.doc)->name, STR("NotificationConfiguration")))
        return op_fail(op, ERR_MALFORMED_XML);
    if ((e = notification_read(r->arena, &n->xml.doc, &n->rules, why)) != ERR_OK)
        return op_fail(op, why[0] ? reply_error(r, e, "%s", why) : e);
    if ((e = check_destinations(r, n->rules)) != ERR_OK)
        return op_fail(op, e);
    if (!n->rules->n || str_eq_nocase(skip, STR("true")))
        return op_go(op, notification_put);
    n->test = (struct announce_test_req){r->arena, n->rules, r->bucket_name, str_n(r->http->id, sizeof(r->http->id)),
                                         r->host_id};
    announce_test(r->env->announcer, &n->test, &n->tested, op_call(op, notification_put));
    return STEP_WAIT;
}

/* ---- as it is kept: in one order, each rule with its id ---- */

static void write_filter(struct buf *b, const char *name, struct str value)
{
    xml_open(b, STR("FilterRule"));
    xml_str(b, STR("Name"), str_z(name));
    xml_str(b, STR("Value"), value);
    xml_close(b, STR("FilterRule"));
}

static void write_rule(struct buf *b, const struct notification_rule *rule)
{
    static const struct {
        struct str element, destination;
    } names[] = {[NOTIFY_QUEUE] = {{"QueueConfiguration", 18}, {"Queue", 5}},
                 [NOTIFY_TOPIC] = {{"TopicConfiguration", 18}, {"Topic", 5}},
                 [NOTIFY_FUNCTION] = {{"CloudFunctionConfiguration", 26}, {"CloudFunction", 13}}};

    xml_open(b, names[rule->kind].element);
    xml_str(b, STR("Id"), rule->id);
    xml_str(b, names[rule->kind].destination, rule->arn);
    for (size_t i = 0; i < rule->said_count; i++)
        xml_str(b, STR("Event"), rule->said[i]);
    if (rule->prefix.p || rule->suffix.p) {
        xml_open(b, STR("Filter"));
        xml_open(b, STR("S3Key"));
        if (rule->prefix.p)
            write_filter(b, "Prefix", rule->prefix);
        if (rule->suffix.p)
            write_filter(b, "Suffix", rule->suffix);
        xml_close(b, STR("S3Key"));
        xml_close(b, STR("Filter"));
    }
    xml_close(b, names[rule->kind].element);
}

static struct str kept_text(struct arena *arena, const struct notification *rules)
{
    struct buf b = BUF_INIT(BUCKET_DOC_MAX + 1); /* longer is refused when it is put */
    struct str text;

    xml_open(&b, STR("NotificationConfiguration"));
    for (size_t i = 0; i < rules->n; i++)
        write_rule(&b, &rules->rules[i]);
    xml_close(&b, STR("NotificationConfiguration"));
    text = arena_str(arena, buf_str(&b));
    buf_release(&b);
    return text;
}

static enum step_next notification_put(struct op *op)
{
    struct s3_request *r = S3(op);
    struct notification_op *n = r->state;

    n->put = (struct bucket_conf_put_req){.arena = r->arena, .uid = r->bucket.id.uid, .name = STR("notification")};
    if (n->rules->n)
        n->put.text = kept_text(r->arena, n->rules);
    bucket_conf_put(r->env->confs, &n->put, &n->written, op_call(op, reply_send));
    return STEP_WAIT;
}
