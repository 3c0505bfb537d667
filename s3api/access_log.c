#include "s3api/access_log.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "s3api/account.h"
#include "s3api/auth.h"
#include "s3api/may.h"
#include "s3api/name.h"
#include "s3api/request.h"
#include "s3api/settings.h"

enum { RETRY_MS = 1000, TURN_MS = 20, TIME_MAX = 64, KEY_TEXT_MAX = 3 * KEY_MAX };

/* Lines of a bucket that are not written yet. */
struct lines {
    struct lines *next;
    uint64_t uid;
    uint64_t revision;  /* of the document they are kept by */
    struct arena arena; /* holds the texts of this */
    struct logging conf;
    struct str source; /* the bucket */
    struct str account;
    int64_t first_ns;
    struct buf text;
};

/* An object of them that is being written. */
struct delivery {
    struct op op;
    struct delivery *next;
    struct access_logs *logs;
    struct lines *lines;
    unsigned tries;
    struct arena arena;
    struct source *body;
    struct body_check check;
    struct attr type;
    struct obj_put_req put;
    struct obj_put_res stored;
    struct timer timer;
    struct call *timed;
};

struct access_logs {
    struct s3api_env env;
    struct lines *lines;
    struct delivery *deliveries;
    size_t bytes; /* of both */
    struct timer timer;
    bool closing;
};

static struct metric dropped = {.name = "sluice_access_log_dropped_total",
                                .help = "Lines of access logs that did not get into their bucket.",
                                .kind = METRIC_COUNTER};

/* ---- the document ---- */

static enum err read_format(struct setting_read *s, const struct xml_node *n, struct logging *l)
{
    const struct xml_node *kind = xml_first(s->doc, n);
    struct str source;

    if (!kind || xml_next(s->doc, n, kind))
        return ERR_MALFORMED_XML;
    if (str_eq(kind->name, STR("SimplePrefix")))
        return ERR_OK;
    source = str_trim(xml_child_text(s->doc, kind, STR("PartitionDateSource")));
    if (!str_eq(kind->name, STR("PartitionedPrefix")))
        return ERR_MALFORMED_XML;
    l->partitioned = true;
    l->by_event_time = str_eq(source, STR("EventTime"));
    return l->by_event_time || str_eq(source, STR("DeliveryTime")) ? ERR_OK : ERR_MALFORMED_XML;
}

static enum err read_enabled(struct setting_read *s, const struct xml_node *enabled, struct logging *l)
{
    enum { PREFIX_MAX = 512 };
    enum err e = ERR_OK;

    for (const struct xml_node *n = xml_first(s->doc, enabled); e == ERR_OK && n; n = xml_next(s->doc, enabled, n)) {
        if (str_eq(n->name, STR("TargetBucket")))
            l->bucket = arena_str(s->arena, str_trim(n->text));
        else if (str_eq(n->name, STR("TargetPrefix")))
            l->prefix = arena_str(s->arena, n->text);
        else if (str_eq(n->name, STR("TargetObjectKeyFormat")))
            e = read_format(s, n, l);
        else if (str_eq(n->name, STR("TargetGrants")))
            e = setting_refuse(s, ERR_NOT_IMPLEMENTED,
                               "TargetGrants is not implemented: logs belong to the owner of their bucket.");
        else
            e = ERR_MALFORMED_XML;
    }
    if (e == ERR_OK && (!l->bucket.p || !l->prefix.p))
        e = ERR_MALFORMED_XML;
    if (e == ERR_OK && !name_is_bucket(l->bucket))
        e = setting_refuse(s, ERR_INVALID_TARGET_BUCKET, "The target bucket for logging does not exist");
    if (e == ERR_OK && l->prefix.n && (l->prefix.n > PREFIX_MAX || name_check_key(l->prefix) != ERR_OK))
        e = setting_refuse(s, ERR_INVALID_ARGUMENT, "TargetPrefix is no prefix of a key, or longer than %d bytes.",
                           PREFIX_MAX);
    return e;
}

enum err logging_read(struct setting_read *s)
{
    const struct xml_node *root = xml_root(s->doc), *enabled = xml_first(s->doc, root);
    struct logging *l = ARENA_NEW(s->arena, struct logging);

    s->unset = !enabled;
    if (!enabled)
        return ERR_OK;
    if (!str_eq(enabled->name, STR("LoggingEnabled")) || xml_next(s->doc, root, enabled))
        return ERR_MALFORMED_XML;
    s->made = l;
    return read_enabled(s, enabled, l);
}

enum err logging_fits(struct s3_request *r, const void *made)
{
    const struct logging *l = made;
    struct bucket target;

    if (!l)
        return ERR_OK;
    if (buckets_find(r->env->buckets, r->arena, l->bucket, &target) != ERR_OK)
        return reply_error(r, ERR_INVALID_TARGET_BUCKET, "The target bucket for logging does not exist");
    if (target.id.view || target.id.backend)
        return reply_error(r, ERR_INVALID_TARGET_BUCKET,
                           "The target bucket for logging shows what is elsewhere: it can't take logs.");
    return s3_may(r, STR("s3:PutObject"), &target, l->prefix.n ? l->prefix : STR("log"));
}

/* ---- a line ---- */

/* What could end a field or a line is written as in URLs. */
static void add_safe(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        if (c < 0x20 || c == 0x7f || c == '"')
            buf_addf(b, "%%%02X", c);
        else
            buf_add_char(b, (char)c);
    }
}

static void add_field(struct buf *b, struct str s)
{
    buf_add_char(b, ' ');
    if (s.n)
        url_encode(b, s, true);
    else
        buf_add_char(b, '-');
}

/* Those whose characters all can stand. */
static void add_plain(struct buf *b, struct str s)
{
    buf_add_char(b, ' ');
    add_safe(b, s.n && str_find_char(s, ' ') == SIZE_MAX ? s : STR("-"));
}

static void add_quoted(struct buf *b, struct str s)
{
    buf_add_z(b, " \"");
    add_safe(b, s.n ? s : STR("-"));
    buf_add_char(b, '"');
}

static void add_number(struct buf *b, uint64_t n, bool known)
{
    buf_add_char(b, ' ');
    if (known)
        buf_add_u64(b, n);
    else
        buf_add_char(b, '-');
}

static void add_time(struct buf *b, int64_t ns)
{
    time_t s = (time_t)(ns / NS_PER_S);
    char text[TIME_MAX];
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(text, sizeof(text), " [%d/%b/%Y:%H:%M:%S +0000]", &tm);
    buf_add_z(b, text);
}

/* "REST.GET.OBJECT": what the path and the query are about. */
static void add_operation(struct buf *b, const struct s3_request *r)
{
    static const struct {
        uint64_t sub;
        const char *name;
    } rows[] = {{SUB(ACL), "ACL"},
                {SUB(DELETE), "MULTI_OBJECT_DELETE"},
                {SUB(CORS), "CORS"},
                {SUB(ENCRYPTION), "ENCRYPTION"},
                {SUB(LEGAL_HOLD), "LEGAL_HOLD"},
                {SUB(LIFECYCLE), "LIFECYCLE"},
                {SUB(LOCATION), "LOCATION"},
                {SUB(LOGGING), "LOGGING_STATUS"},
                {SUB(NOTIFICATION), "NOTIFICATION"},
                {SUB(OBJECT_LOCK), "OBJECT_LOCK_CONFIGURATION"},
                {SUB(OWNERSHIP), "OWNERSHIP_CONTROLS"},
                {SUB(POLICY), "BUCKETPOLICY"},
                {SUB(POLICY_STATUS), "POLICY_STATUS"},
                {SUB(PUBLIC_ACCESS_BLOCK), "PUBLIC_ACCESS_BLOCK"},
                {SUB(RENAME), "RENAME_OBJECT"},
                {SUB(REPLICATION), "REPLICATION"},
                {SUB(REQUEST_PAYMENT), "REQUEST_PAYMENT"},
                {SUB(RETENTION), "RETENTION"},
                {SUB(ATTRIBUTES), "OBJECT_ATTRIBUTES"},
                {SUB(TORRENT), "TORRENT"},
                {SUB(UPLOADS), "UPLOADS"},
                {SUB(PART_NUMBER) | SUB(UPLOAD_ID), "PART"},
                {SUB(UPLOAD_ID), "UPLOAD"},
                {SUB(VERSIONING), "VERSIONING"},
                {SUB(VERSIONS), "BUCKETVERSIONS"},
                {SUB(WEBSITE), "WEBSITE"}};
    bool of_object = r->level == LEVEL_OBJECT, copies = r->subs & SUB(COPY_SOURCE);
    const char *what = of_object ? "OBJECT" : "BUCKET";

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((r->subs & rows[i].sub) == rows[i].sub) {
            what = rows[i].name;
            break;
        }
    if (r->subs & SUB(TAGGING))
        what = of_object ? "OBJECT_TAGGING" : "TAGGING";
    buf_add_z(b, r->website ? " WEBSITE." : " REST.");
    add_safe(b, copies ? STR("COPY") : r->http->method_text);
    buf_addf(b, ".%s", what);
}

static struct str without_port(const char *peer)
{
    struct str s = str_z(peer);
    size_t at = s.n;

    while (at > 0 && s.p[at - 1] != ':')
        at--;
    return at > 0 ? str_n(s.p, at - 1) : s;
}

static struct str requester(const struct s3_request *r)
{
    if (r->principal.kind == IAM_OWNER)
        return s3_owner(r);
    return r->access_key.n ? r->principal.arn : STR_NONE;
}

static void add_signature(struct buf *b, const struct s3_request *r)
{
    static const struct {
        const char *version, *type;
    } kinds[] = {[AUTH_ANONYMOUS] = {"-", "-"},
                 [AUTH_V4_HEADER] = {"SigV4", "AuthHeader"},
                 [AUTH_V4_QUERY] = {"SigV4", "QueryString"},
                 [AUTH_V2_HEADER] = {"SigV2", "AuthHeader"},
                 [AUTH_V2_QUERY] = {"SigV2", "QueryString"}};
    enum auth_kind kind = r->who ? r->who->kind : AUTH_ANONYMOUS;

    buf_addf(b, " %s -", kinds[kind].version); /* the cipher is not known here */
    buf_addf(b, " %s", kinds[kind].type);
}

static void add_line(struct buf *b, const struct s3_request *r, int64_t now_ns, uint64_t took_ns)
{
    const struct s3_reply *p = &r->reply;
    bool good = p->res.status / 100 == 2, gets = r->http->method == HTTP_GET, puts = r->http->method == HTTP_PUT;
    bool sized =
        r->level == LEVEL_OBJECT && good && ((gets && p->res.status == 200) || (puts && !(r->subs & SUB(COPY_SOURCE))));
    bool puts_length = puts && r->http->body_len != HTTP_LENGTH_UNKNOWN;

    buf_add_str(b, s3_owner(r));
    add_field(b, r->bucket_name);
    add_time(b, now_ns - (int64_t)took_ns);
    add_plain(b, without_port(r->http->peer));
    add_plain(b, requester(r));
    add_plain(b, str_n(r->http->id, sizeof(r->http->id)));
    add_operation(b, r);
    add_field(b, r->key);
    buf_add_z(b, " \"");
    add_safe(b, r->http->method_text);
    buf_add_char(b, ' ');
    add_safe(b, account_target(r));
    buf_addf(b, " HTTP/1.%d\"", r->http->minor_version);
    add_number(b, (uint64_t)p->res.status, true);
    add_plain(b, str_z(p->error));
    add_number(b, p->body_bytes, p->body_bytes > 0);
    add_number(b, puts ? r->http->body_len : p->body_bytes, sized && (!puts || puts_length));
    add_number(b, took_ns / 1000000, true);
    buf_add_z(b, " -"); /* the time until the first byte is not known */
    add_quoted(b, s3_header(r, STR("referer")));
    add_quoted(b, s3_header(r, STR("user-agent")));
    add_field(b, s3_query(r, STR("versionId")));
    add_plain(b, r->host_id);
    add_signature(b, r);
    add_plain(b, r->http->host);
    if (r->http->tls_version)
        buf_addf(b, " TLSv%s", r->http->tls_version);
    else
        buf_add_z(b, " -");
    buf_add_z(b, " - -\n"); /* no access points; whether a list decided is not known */
}

/* ---- delivery ---- */

static void lines_free(struct lines *l)
{
    buf_release(&l->text);
    arena_release(&l->arena);
    free(l);
}

static step_fn deliver_put, deliver_done, deliver_end;

static struct str key_of(struct delivery *d)
{
    const struct lines *l = d->lines;
    time_t now = (time_t)(clock_wall_ns() / NS_PER_S), day = now;
    char stamp[TIME_MAX], date[TIME_MAX];
    uint64_t unique;
    struct tm tm;

    if (l->conf.by_event_time)
        day = (time_t)(l->first_ns / NS_PER_S) / 86400 * 86400; /* S3 leaves the time of the day out then */
    random_bytes(&unique, sizeof(unique));
    gmtime_r(l->conf.by_event_time ? &day : &now, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d-%H-%M-%S", &tm);
    strftime(date, sizeof(date), "%Y/%m/%d", &tm);
    if (l->conf.partitioned)
        return arena_printf(&d->arena, STR_FMT STR_FMT "/" STR_FMT "/" STR_FMT "/%s/%s-%016llX",
                            STR_ARG(l->conf.prefix), STR_ARG(l->account), STR_ARG(d->logs->env.conf->region),
                            STR_ARG(l->source), date, stamp, (unsigned long long)unique);
    return arena_printf(&d->arena, STR_FMT "%s-%016llX", STR_ARG(l->conf.prefix), stamp, (unsigned long long)unique);
}

static enum step_next deliver_put(struct op *op)
{
    struct delivery *d = OP(op, struct delivery);
    struct bucket target;

    if (buckets_find(d->logs->env.buckets, &d->arena, d->lines->conf.bucket, &target) != ERR_OK)
        return op_fail(op, ERR_NO_SUCH_BUCKET);
    source_close(d->body);
    d->body = source_memory(buf_str(&d->lines->text), NULL, NULL);
    d->check = (struct body_check){0};
    d->type = (struct attr){STR("content-type"), STR("text/plain")};
    d->put = (struct obj_put_req){.arena = &d->arena,
                                  .bucket = target.id,
                                  .key = key_of(d),
                                  .info = {.attrs = &d->type, .attr_count = 1},
                                  .cond = COND_INIT,
                                  .body = d->body,
                                  .check = &d->check,
                                  .size_max = ACCESS_LOG_OBJECT};
    store_obj_put(d->logs->env.store, &d->put, &d->stored, op_try(op, deliver_done));
    return STEP_WAIT;
}

static void retry(struct timer *t)
{
    call_finish(CONTAINER(t, struct delivery, timer)->timed, ERR_OK);
}

static enum step_next deliver_done(struct op *op)
{
    struct delivery *d = OP(op, struct delivery);

    if (op->call.err == ERR_OK)
        return op_go(op, deliver_end);
    if (++d->tries == ACCESS_LOG_TRIES || d->logs->closing)
        return op_fail(op, op->call.err);
    d->timed = op_call(op, deliver_put);
    d->timer.fn = retry;
    timer_set(op->loop, &d->timer, RETRY_MS);
    return STEP_WAIT;
}

static int64_t count_lines(struct str s)
{
    int64_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n';
    return n;
}

static enum step_next deliver_end(struct op *op)
{
    struct delivery *d = OP(op, struct delivery), **at = &d->logs->deliveries;

    if (op->err != ERR_OK) {
        metric_add(&dropped, count_lines(buf_str(&d->lines->text)));
        log_warn(STR_NONE, "an access log can't be written", "bucket=" STR_FMT " target=" STR_FMT " err=%s",
                 STR_ARG(d->lines->source), STR_ARG(d->lines->conf.bucket), err_name(op->err));
    }
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    d->logs->bytes -= d->lines->text.n;
    source_close(d->body);
    lines_free(d->lines);
    arena_release(&d->arena);
    free(d);
    return STEP_DONE;
}

/* The first of the lines becomes an object. */
static void deliver(struct access_logs *logs, struct lines **at)
{
    struct lines *l = *at;
    struct delivery *d = NEW(struct delivery);

    *at = l->next;
    d->logs = logs;
    d->lines = l;
    d->next = logs->deliveries;
    logs->deliveries = d;
    op_start(&d->op, logs->env.loop, "access_log", deliver_put, deliver_end);
}

static void on_timer(struct timer *t)
{
    struct access_logs *logs = CONTAINER(t, struct access_logs, timer);

    while (logs->lines)
        deliver(logs, &logs->lines);
}

/* ---- gathering ---- */

static struct lines **lines_of(struct access_logs *logs, uint64_t uid)
{
    struct lines **at = &logs->lines;

    while (*at && (*at)->uid != uid)
        at = &(*at)->next;
    return at;
}

static struct lines *lines_new(const struct s3_request *r, const struct bucket_doc *doc)
{
    const struct logging *conf = doc->parsed;
    struct lines *l = NEW(struct lines);

    l->uid = r->bucket.id.uid;
    l->revision = doc->revision;
    l->conf = *conf;
    l->conf.bucket = arena_str(&l->arena, conf->bucket);
    l->conf.prefix = arena_str(&l->arena, conf->prefix);
    l->source = arena_str(&l->arena, r->bucket.id.name);
    l->account = STR(IAM_ACCOUNT);
    l->first_ns = clock_wall_ns();
    buf_init(&l->text, ACCESS_LOG_OBJECT);
    return l;
}

void access_logs_add(struct access_logs *logs, const struct s3_request *r, uint64_t took_ns)
{
    const struct bucket_doc *doc = r->bucket.id.uid && r->env->confs
                                       ? bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, STR("logging"))
                                       : NULL;
    struct lines **at = doc && doc->parsed ? lines_of(logs, r->bucket.id.uid) : NULL;
    struct buf line = BUF_INIT(ACCESS_LOG_LINE);

    if (!at)
        return;
    add_line(&line, r, clock_wall_ns(), took_ns);
    if (buf_err(&line) != ERR_OK || logs->bytes + line.n > ACCESS_LOG_MEMORY) {
        metric_add(&dropped, 1);
        buf_release(&line);
        return;
    }
    if (*at && ((*at)->revision != doc->revision || (*at)->text.n + line.n > ACCESS_LOG_OBJECT))
        deliver(logs, at);
    if (!*at || (*at)->uid != r->bucket.id.uid) {
        struct lines *fresh = lines_new(r, doc);
        fresh->next = logs->lines;
        logs->lines = fresh;
        at = &logs->lines;
    }
    buf_add_str(&(*at)->text, buf_str(&line));
    logs->bytes += line.n;
    buf_release(&line);
    if (!timer_is_set(&logs->timer))
        timer_set(logs->env.loop, &logs->timer, logs->env.conf->log_flush_ms);
}

/* ---- life ---- */

static void register_once(void)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;

    if (!atomic_flag_test_and_set(&done))
        metric_register(&dropped);
}

struct access_logs *access_logs_new(const struct s3api_env *env)
{
    struct access_logs *logs = NEW(struct access_logs);

    register_once();
    logs->env = *env;
    logs->timer.fn = on_timer;
    return logs;
}

void access_logs_free(struct access_logs *logs)
{
    uint64_t end = clock_mono_ns() + ACCESS_LOG_DRAIN_MS * UINT64_C(1000000);

    logs->closing = true;
    timer_cancel(logs->env.loop, &logs->timer);
    on_timer(&logs->timer);
    while (logs->deliveries && clock_mono_ns() < end)
        loop_turn(logs->env.loop, TURN_MS);
    for (struct delivery *d = logs->deliveries; d; d = d->next)
        op_cancel(&d->op, ERR_CANCELLED);
    while (logs->deliveries)
        loop_turn(logs->env.loop, TURN_MS);
    free(logs);
}
