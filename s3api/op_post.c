/* PostObject: an upload from an HTML form. The fields come first, with the signature among them; the file is streamed into the store. */
#include "base/clock.h"
#include "s3api/acl.h"
#include "s3api/attrs.h"
#include "s3api/encryption.h"
#include "s3api/auth.h"
#include "s3api/form.h"
#include "s3api/limits.h"
#include "s3api/may.h"
#include "s3api/member.h"
#include "s3api/name.h"
#include "s3api/objreq.h"
#include "s3api/post_policy.h"
#include "s3api/settings.h"
#include "s3api/tags.h"
#include "s3api/transform.h"
#include "s3api/lock.h"
#include "s3api/version.h"

enum { READ_STEP = 16 << 10 };

step_fn post_object; /* routes.def */

struct post_state {
    struct str boundary;
    struct bucket_look_req look;
    struct bucket_look_res looked;
    struct buf begun; /* the body's first bytes: the fields, and what came with them */
    size_t got;
    struct form form;
    struct post_limits limits;
    struct http_req as_put; /* what a PUT of the same object would look like */
    struct source *file;
    struct body body;
    struct member_find_req find;
    struct member_find_res found;
    struct obj_put_req put;
    struct obj_put_res stored;
};

static step_fn post_found, post_read, post_got, post_parsed, post_guarded, post_store, post_stored; /* in order */
static enum err fill_in(struct s3_request *r, struct post_state *p);
static enum err post_who(struct s3_request *r, struct post_state *p);
static enum err post_put(struct s3_request *r, struct post_state *p);

static void release(void *arg)
{
    struct post_state *p = arg;

    source_close(p->file);
    buf_release(&p->begun);
}

enum step_next post_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct post_state *p = r->state = ARENA_NEW(r->arena, struct post_state);

    buf_init(&p->begun, FORM_HEAD_MAX + READ_STEP);
    arena_defer(r->arena, release, p);
    if (!form_boundary(s3_header(r, STR("content-type")), &p->boundary))
        return op_fail(
            op, reply_error(r, ERR_PRECONDITION, "Bucket POST must be of the enclosure-type multipart/form-data"));
    if (!r->http->body)
        return op_fail(op, ERR_MALFORMED_POST);
    if (transform_wanted(r))
        return op_fail(op, reply_error(r, ERR_NOT_IMPLEMENTED, "What a form uploads can't be transformed."));
    if (!name_is_bucket(r->bucket_name))
        return op_fail(op, ERR_INVALID_BUCKET_NAME);
    p->look = (struct bucket_look_req){r->arena, r->bucket_name};
    buckets_look(r->env->buckets, &p->look, &p->looked, op_call(op, post_found));
    return STEP_WAIT;
}

static enum step_next post_found(struct op *op)
{
    struct s3_request *r = S3(op);
    enum err e;

    r->bucket = ((struct post_state *)r->state)->looked.bucket;
    creds_owner_id(r->bucket.owner, r->owner_id);
    if ((e = limits_bucket(r)) != ERR_OK)
        return op_fail(op, e);
    return op_go(op, post_read);
}

static enum step_next post_read(struct op *op)
{
    struct s3_request *r = S3(op);
    struct post_state *p = r->state;
    char *room = buf_reserve(&p->begun, READ_STEP);

    if (!room)
        return op_fail(op, ERR_POST_FIELDS);
    source_read(r->http->body, room, READ_STEP, &p->got, op_call(op, post_got));
    return STEP_WAIT;
}

static enum step_next post_got(struct op *op)
{
    struct s3_request *r = S3(op);
    struct post_state *p = r->state;
    enum err e;

    buf_commit(&p->begun, p->got);
    e = form_read(buf_str(&p->begun), p->boundary, r->arena, &p->form);
    if (e == ERR_AGAIN)
        return p->got ? op_go(op, post_read) : op_fail(op, ERR_MALFORMED_POST);
    if (e == ERR_INVALID_ARGUMENT)
        return op_fail(op, reply_error(r, e, "POST requires exactly one file upload per request."));
    return e == ERR_OK ? op_go(op, post_parsed) : op_fail(op, e);
}

static enum step_next post_parsed(struct op *op)
{
    struct s3_request *r = S3(op);
    struct post_state *p = r->state;
    enum err e;

    if ((e = fill_in(r, p)) != ERR_OK || (e = post_who(r, p)) != ERR_OK || (e = post_put(r, p)) != ERR_OK)
        return op_fail(op, e);
    if (!member_possible(r, &r->bucket, r->key))
        return op_go(op, post_store);
    p->find = (struct member_find_req){r->key, true};
    member_find(r, &p->find, &p->found, op_call(op, post_guarded));
    return STEP_WAIT;
}

static enum step_next post_guarded(struct op *op)
{
    struct s3_request *r = S3(op);

    if (((struct post_state *)r->state)->found.found)
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST, MEMBER_WHY));
    return op_go(op, post_store);
}

static enum step_next post_store(struct op *op)
{
    struct s3_request *r = S3(op);
    struct post_state *p = r->state;

    p->put.cause = s3_cause(r, EVENT_POST);
    store_obj_put(r->env->store, &p->put, &p->stored, op_try(op, post_stored));
    return STEP_WAIT;
}

/* ---- the answer ---- */

static struct str quoted_etag(struct s3_request *r, const struct post_state *p)
{
    return arena_printf(r->arena, "\"" STR_FMT "\"", STR_ARG(etag_str(&p->stored.info.etag)));
}

static struct str encoded(struct arena *a, struct str s, bool keep_slash)
{
    struct buf b = BUF_INIT(3 * KEY_MAX + 1);
    struct str text;

    url_encode(&b, s, keep_slash);
    text = arena_str(a, buf_str(&b));
    buf_release(&b);
    return text;
}

static struct str location(struct s3_request *r)
{
    struct str key = encoded(r->arena, r->key, true);
    const char *scheme = r->http->secure ? "https" : "http";

    if (r->bucket_from_host)
        return arena_printf(r->arena, "%s://" STR_FMT "/" STR_FMT, scheme, STR_ARG(r->http->host), STR_ARG(key));
    return arena_printf(r->arena, "%s://" STR_FMT "/" STR_FMT "/" STR_FMT, scheme, STR_ARG(r->http->host),
                        STR_ARG(r->bucket_name), STR_ARG(key));
}

/* Where the form wants the browser to go; what is no address of the web is not taken for one. */
static struct str redirect(struct s3_request *r, const struct post_state *p)
{
    struct str to = form_get(&p->form, STR("success_action_redirect"));

    if (!to.p)
        to = form_get(&p->form, STR("redirect"));
    if (!str_is_plain(to) || (!str_starts_nocase(to, STR("http://")) && !str_starts_nocase(to, STR("https://"))))
        return STR_NONE;
    return arena_printf(r->arena, STR_FMT "%cbucket=" STR_FMT "&key=" STR_FMT "&etag=" STR_FMT, STR_ARG(to),
                        str_find_char(to, '?') == SIZE_MAX ? '?' : '&', STR_ARG(r->bucket_name),
                        STR_ARG(encoded(r->arena, r->key, false)),
                        STR_ARG(encoded(r->arena, quoted_etag(r, p), false)));
}

static void write_created(struct s3_request *r, const struct post_state *p)
{
    struct buf *b = reply_xml(r);

    xml_begin_bare(b, STR("PostResponse"));
    xml_str(b, STR("Location"), location(r));
    xml_str(b, STR("Bucket"), r->bucket_name);
    xml_str(b, STR("Key"), r->key);
    xml_etag(b, &p->stored.info.etag);
    xml_close(b, STR("PostResponse"));
}

static enum step_next post_stored(struct op *op)
{
    struct s3_request *r = S3(op);
    struct post_state *p = r->state;
    struct str status = form_get(&p->form, STR("success_action_status")), to;

    if (op->call.err != ERR_OK)
        return op_fail(op, objreq_fail(r, op->call.err, r->key, NULL));
    reply_etag(r, &p->stored.info.etag);
    reply_checksum(r, &p->stored.info.checksum);
    version_reply(r, &p->stored.info);
    encryption_reply(r, &p->put.info);
    to = redirect(r, p);
    reply_header(r, STR("Location"), to.p ? to : location(r));
    if (to.p)
        reply_status(r, 303);
    else if (str_eq(status, STR("200")))
        reply_status(r, 200);
    else if (str_eq(status, STR("201")))
        reply_status(r, 201);
    else
        reply_status(r, 204);
    if (!to.p && str_eq(status, STR("201")))
        write_created(r, p);
    return op_go(op, reply_send);
}

/* ---- the fields ---- */

static struct str fill(struct arena *a, struct str text, struct str filename)
{
    static const struct str mark = {"${filename}", 11};
    struct str out = STR("");

    for (size_t at; (at = str_find(text, mark)) != SIZE_MAX; text = str_skip(text, at + mark.n))
        out = arena_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(out), (int)at, text.p, STR_ARG(filename));
    return out.n ? arena_printf(a, STR_FMT STR_FMT, STR_ARG(out), STR_ARG(text)) : text;
}

/* ${filename} in all fields, then the key. */
static enum err fill_in(struct s3_request *r, struct post_state *p)
{
    struct str key;
    enum err e;

    for (size_t i = 0; i < p->form.count; i++)
        p->form.fields[i].value = fill(r->arena, p->form.fields[i].value, p->form.filename);
    key = form_get(&p->form, STR("key"));
    if (!key.n)
        return reply_error(r, ERR_INVALID_ARGUMENT,
                           "Bucket POST must contain a field named 'key'.  If it is specified, please check the order "
                           "of the fields.");
    if ((e = name_check_key(key)) == ERR_OK)
        r->key = key;
    return e;
}

static enum err missing(struct s3_request *r, const char *field)
{
    reply_detail(r, STR("ArgumentName"), str_z(field));
    return reply_error(
        r, ERR_INVALID_ARGUMENT,
        "Bucket POST must contain a field named '%s'.  If it is specified, please check the order of the "
        "fields.",
        field);
}

static enum err check_complete(struct s3_request *r, const struct auth_post *a)
{
    bool v4 = a->algorithm.p || a->credential.p || a->date.p || a->signature.p;

    if (!a->policy.n)
        return missing(r, "policy");
    if (v4 && !a->algorithm.n)
        return missing(r, "X-Amz-Algorithm");
    if (v4 && !a->credential.n)
        return missing(r, "X-Amz-Credential");
    if (v4 && !a->date.n)
        return missing(r, "X-Amz-Date");
    if (v4 && !a->signature.n)
        return missing(r, "X-Amz-Signature");
    if (!v4 && !a->v2_access_key.n)
        return missing(r, "AWSAccessKeyId");
    return v4 || a->v2_signature.n ? ERR_OK : missing(r, "signature");
}

static enum err check_policy(struct s3_request *r, struct post_state *p, struct str policy)
{
    char why[POST_WHY_MAX] = "", *json = arena_alloc(r->arena, policy.n + 1);
    size_t n = 0;
    enum err e = ERR_POST_POLICY;

    if (base64_decode(policy, json, policy.n, &n))
        e = post_policy_check(r->arena, str_n(json, n), &p->form, r->bucket_name, clock_wall_ns() / NS_PER_S,
                              &p->limits, why);
    else
        snprintf(why, sizeof(why), "Invalid Policy: it is not base64.");
    return e == ERR_OK ? e : reply_error(r, e, "%s", why);
}

/* Who signed the form, if anybody did. */
static enum err post_who(struct s3_request *r, struct post_state *p)
{
    const struct form *f = &p->form;
    struct auth_post a = {.policy = form_get(f, STR("policy")),
                          .algorithm = form_get(f, STR("x-amz-algorithm")),
                          .credential = form_get(f, STR("x-amz-credential")),
                          .date = form_get(f, STR("x-amz-date")),
                          .signature = form_get(f, STR("x-amz-signature")),
                          .v2_access_key = form_get(f, STR("awsaccesskeyid")),
                          .v2_signature = form_get(f, STR("signature")),
                          .token = form_get(f, STR("x-amz-security-token")),
                          .now_s = clock_wall_ns() / NS_PER_S};
    bool signs = a.algorithm.p || a.credential.p || a.date.p || a.signature.p || a.v2_access_key.p || a.v2_signature.p;
    struct auth_failure why = {0};
    enum err e;

    p->limits = (struct post_limits){0, UINT64_MAX};
    *r->who = (struct identity){.kind = AUTH_ANONYMOUS, .payload = PAYLOAD_UNSIGNED};
    if (a.token.n && !signs)
        return ERR_INVALID_TOKEN;
    if (!r->env->conf->auth_none && (signs || a.policy.p)) {
        if ((e = check_complete(r, &a)) != ERR_OK)
            return e;
        if ((e = auth_check_post(r->env->creds, &a, STR(""), r->arena, r->who, &why)) != ERR_OK) {
            s3_explain(r, &why);
            return e;
        }
        r->access_key = r->who->access_key;
    }
    if ((e = s3_principal(r)) != ERR_OK)
        return e;
    if ((e = limits_user(r)) != ERR_OK)
        return e;
    return a.policy.p ? check_policy(r, p, a.policy) : ERR_OK;
}

/* ---- the object ---- */

static bool is_put_header(struct str name)
{
    static const char *const plain[] = {"cache-control", "content-disposition", "content-encoding", "content-language",
                                        "content-type",  "content-md5",         "expires"};
    static const char *const signing[] = {"x-amz-algorithm",     "x-amz-credential",     "x-amz-date",
                                          "x-amz-signature",     "x-amz-content-sha256", "x-amz-trailer",
                                          "x-amz-security-token"};

    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (str_eq(name, str_z(plain[i])))
            return true;
    for (size_t i = 0; i < sizeof(signing) / sizeof(signing[0]); i++)
        if (str_eq(name, str_z(signing[i])))
            return false;
    return str_starts(name, STR("x-amz-"));
}

/* The fields that are headers of a PUT, under their names there. */
static enum err make_headers(struct s3_request *r, struct post_state *p)
{
    struct http_header *h = arena_alloc(r->arena, FORM_FIELDS_MAX * sizeof(*h));
    size_t n = 0;

    for (size_t i = 0; i < p->form.count; i++) {
        const struct form_field *f = &p->form.fields[i];
        struct str name = str_eq(f->name, STR("acl")) ? STR("x-amz-acl") : f->name;
        if (!is_put_header(name))
            continue;
        if (!str_is_plain(f->value)) {
            reply_detail(r, STR("ArgumentName"), f->name);
            return reply_error(r, ERR_INVALID_ARGUMENT, "A field's value may not hold control characters.");
        }
        h[n++] = (struct http_header){name, str_trim(f->value)};
    }
    p->as_put = *r->http;
    p->as_put.headers = h;
    p->as_put.header_count = n;
    p->as_put.body = p->file;
    p->as_put.body_len = HTTP_LENGTH_UNKNOWN;
    return ERR_OK;
}

/* The field `tagging` is a document, as that of PutObjectTagging. */
static enum err read_tagging(struct s3_request *r, struct post_state *p)
{
    struct str text = form_get(&p->form, STR("tagging"));
    struct tag tags[TAGS_MAX];
    struct xml_doc doc;
    struct setting_read s = {.arena = r->arena, .doc = &doc};
    size_t n = 0;
    enum err e;

    if (!text.p)
        return ERR_OK;
    if ((e = xml_read(text, &doc)) != ERR_OK)
        return e;
    e = str_eq(xml_root(&doc)->name, STR("Tagging")) ? tagging_read(&s, tags, TAGS_MAX, &n) : ERR_MALFORMED_XML;
    if (e == ERR_OK && !tags_are_plain(tags, n))
        e = ERR_INVALID_TAG;
    if (e == ERR_OK)
        p->put.info.tags = tags_encode(r->arena, tags, n);
    xml_doc_release(&doc);
    return e == ERR_OK || !s.why[0] ? e : reply_error(r, e, "%s", s.why);
}

/* What the checks of a PUT look at are the request's headers: for them the fields stand in. */
static enum err check_as_put(struct s3_request *r, struct post_state *p)
{
    struct http_req *real = r->http;
    enum err e;

    r->http = &p->as_put;
    if ((e = objreq_refuse_unsupported(r)) == ERR_OK && (e = attrs_collect(r->http, &p->put.info)) == ERR_OK &&
        (e = attrs_collect_tags(r->http, &p->put.info)) == ERR_OK && (e = lock_collect(r, &p->put.info)) == ERR_OK) {
        encryption_collect(r, &p->put.info);
        e = objreq_body_open(r, &p->body, PUT_SIZE_MAX);
    }
    r->http = real;
    return e;
}

/* Policies are asked about what the fields say. */
static enum err post_may(struct s3_request *r, struct post_state *p)
{
    enum err e;

    r->said.form = &p->as_put;
    r->said.has_tags = true;
    r->said.tags = p->put.info.tags;
    e = s3_may(r, STR("s3:PutObject"), &r->bucket, r->key);
    if (e == ERR_OK && p->put.info.tags.n)
        e = s3_may(r, STR("s3:PutObjectTagging"), &r->bucket, r->key);
    return e;
}

static enum err post_put(struct s3_request *r, struct post_state *p)
{
    enum err e;

    p->put = (struct obj_put_req){.arena = r->arena, .bucket = r->bucket.id, .key = r->key, .cond = COND_INIT};
    p->put.size_max = p->limits.max < PUT_SIZE_MAX ? p->limits.max : PUT_SIZE_MAX;
    p->file = form_file(r->env->loop, p->boundary, str_skip(buf_str(&p->begun), p->form.file_at), r->http->body,
                        p->limits.min);
    if ((e = make_headers(r, p)) != ERR_OK || (e = check_as_put(r, p)) != ERR_OK ||
        (e = read_tagging(r, p)) != ERR_OK || (e = post_may(r, p)) != ERR_OK ||
        (e = acl_collect(r, &p->as_put, &p->put.info)) != ERR_OK)
        return e;
    p->put.body = p->body.source;
    p->put.check = &p->body.check;
    return ERR_OK;
}
