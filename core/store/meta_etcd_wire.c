#include "meta_etcd_wire.h"

#include "base/json.h"

/* An answer has nine values an entry; the smallest takes about thirty bytes of JSON. */
static const struct js_bounds answer_bounds = {ETCD_ANSWER_MAX, 1000000};

/* ---- requests ---- */

static void key_bytes(struct buf *b, struct str name, struct str bytes)
{
    size_t room = BASE64_LEN(bytes.n);

    js_key(b, name);
    buf_add_char(b, '"');
    char *to = buf_reserve(b, room + 1);
    if (to)
        buf_commit(b, base64_encode(bytes.p, bytes.n, to));
    buf_add_char(b, '"');
}

static void key_number(struct buf *b, struct str name, uint64_t v)
{
    js_key(b, name);
    buf_addf(b, "\"%llu\"", (unsigned long long)v);
}

static void key_text(struct buf *b, struct str name, struct str text)
{
    js_key(b, name);
    js_str(b, text);
}

static void key_end(struct buf *b, struct str end)
{
    key_bytes(b, STR("range_end"), end.n ? end : STR("\0"));
}

void etcd_write_range(struct buf *b, const struct etcd_range_query *q)
{
    js_object(b);
    key_bytes(b, STR("key"), q->key);
    if (q->end.p)
        key_end(b, q->end);
    if (q->limit)
        key_number(b, STR("limit"), q->limit);
    if (q->revision)
        key_number(b, STR("revision"), q->revision);
    if (q->keys_only)
        js_put_bool(b, "keys_only", true);
    if (q->newest_first) {
        key_text(b, STR("sort_order"), STR("DESCEND"));
        key_text(b, STR("sort_target"), STR("MOD"));
    }
    js_end_object(b);
}

static void write_compare(struct buf *b, const struct etcd_compare *c)
{
    bool revision = c->what == ETCD_REVISION_IS;

    js_object(b);
    key_text(b, STR("result"), revision ? STR("EQUAL") : STR("NOT_EQUAL"));
    key_text(b, STR("target"), revision ? STR("MOD") : STR("LEASE"));
    key_bytes(b, STR("key"), c->key);
    key_number(b, revision ? STR("mod_revision") : STR("lease"), c->number);
    js_end_object(b);
}

static void write_op(struct buf *b, const struct etcd_op *op)
{
    static const char *const names[] = {
        [ETCD_PUT] = "request_put", [ETCD_DELETE] = "request_delete_range", [ETCD_GET] = "request_range"};

    js_object(b);
    js_key(b, str_z(names[op->what]));
    js_object(b);
    key_bytes(b, STR("key"), op->key);
    if (op->what == ETCD_PUT) {
        key_bytes(b, STR("value"), op->value);
        if (op->lease)
            key_number(b, STR("lease"), op->lease);
    }
    js_end_object(b);
    js_end_object(b);
}

static void write_branch(struct buf *b, struct str name, const struct etcd_op *ops, uint32_t n)
{
    js_key(b, name);
    js_array(b);
    for (uint32_t i = 0; i < n; i++)
        write_op(b, &ops[i]);
    js_end_array(b);
}

void etcd_write_txn(struct buf *b, const struct etcd_txn_query *q)
{
    js_object(b);
    js_key(b, STR("compare"));
    js_array(b);
    for (uint32_t i = 0; i < q->compares; i++)
        write_compare(b, &q->compare[i]);
    js_end_array(b);
    write_branch(b, STR("success"), q->success, q->successes);
    write_branch(b, STR("failure"), q->failure, q->failures);
    js_end_object(b);
}

void etcd_write_lease(struct buf *b, uint64_t id, uint64_t ttl_s)
{
    js_object(b);
    key_number(b, STR("ID"), id);
    if (ttl_s)
        key_number(b, STR("TTL"), ttl_s);
    js_end_object(b);
}

void etcd_write_login(struct buf *b, struct str user, struct str password)
{
    js_object(b);
    key_text(b, STR("name"), user);
    key_text(b, STR("password"), password);
    js_end_object(b);
}

void etcd_write_watch(struct buf *b, struct str key, struct str end, uint64_t from_revision)
{
    js_object(b);
    js_key(b, STR("create_request"));
    js_object(b);
    key_bytes(b, STR("key"), key);
    key_end(b, end);
    key_number(b, STR("start_revision"), from_revision);
    js_key(b, STR("fragment")); /* else one message may carry a thousand revisions */
    js_bool(b, true);
    js_end_object(b);
    js_end_object(b);
}

struct str etcd_prefix_end(struct arena *a, struct str prefix)
{
    struct str end = arena_str(a, prefix);

    while (end.n && (uint8_t)end.p[end.n - 1] == 0xff)
        end.n--;
    if (end.n)
        ((char *)(uintptr_t)end.p)[end.n - 1]++;
    return end;
}

/* ---- answers ---- */

/* A field that is missing is zero, as in protobuf; one of the wrong kind is no answer of etcd's. */
static bool read_number(const struct doc *map, struct str name, uint64_t *out)
{
    const struct doc *d = doc_get(map, name);

    *out = 0;
    return !d || (d->kind == DOC_SCALAR && str_to_u64(d->text, UINT64_MAX, out));
}

static bool read_bool(const struct doc *map, struct str name, bool *out)
{
    const struct doc *d = doc_get(map, name);

    *out = d && str_eq(d->text, STR("true"));
    return !d || (d->kind == DOC_SCALAR && !d->quoted && (*out || str_eq(d->text, STR("false"))));
}

static bool read_text(const struct doc *map, struct str name, struct str *out)
{
    const struct doc *d = doc_get(map, name);

    *out = d && d->kind == DOC_SCALAR ? d->text : STR("");
    return !d || d->kind == DOC_SCALAR;
}

static bool read_bytes(struct arena *a, const struct doc *map, struct str name, struct str *out)
{
    struct str text;
    size_t n = 0;

    if (!read_text(map, name, &text))
        return false;
    char *to = arena_alloc(a, text.n / 4 * 3 + 1);
    if (text.n && !base64_decode(text, to, text.n / 4 * 3, &n))
        return false;
    *out = str_n(to, n);
    return true;
}

static bool is_kind(const struct doc *d, enum doc_kind kind)
{
    return d && d->kind == kind;
}

static bool read_header(const struct doc *map, struct etcd_header *out)
{
    const struct doc *h = doc_get(map, STR("header"));

    *out = (struct etcd_header){0};
    return !h || (h->kind == DOC_MAP && read_number(h, STR("cluster_id"), &out->cluster) &&
                  read_number(h, STR("revision"), &out->revision));
}

static bool read_kv(struct arena *a, const struct doc *d, struct etcd_kv *out)
{
    return is_kind(d, DOC_MAP) && read_bytes(a, d, STR("key"), &out->key) &&
           read_bytes(a, d, STR("value"), &out->value) && read_number(d, STR("mod_revision"), &out->revision) &&
           read_number(d, STR("lease"), &out->lease) && out->key.n && out->revision;
}

static bool take_range(struct arena *a, const struct doc *d, struct etcd_range *out)
{
    const struct doc *kvs = doc_get(d, STR("kvs"));

    *out = (struct etcd_range){0};
    if (!is_kind(d, DOC_MAP) || !read_header(d, &out->header) || !read_number(d, STR("count"), &out->total) ||
        !read_bool(d, STR("more"), &out->more))
        return false;
    if (!kvs)
        return true;
    if (kvs->kind != DOC_LIST)
        return false;
    out->kvs = arena_alloc(a, kvs->count * sizeof(*out->kvs));
    for (const struct doc *kv = kvs->first; kv; kv = kv->next)
        if (!read_kv(a, kv, &out->kvs[out->count++]))
            return false;
    return true;
}

static bool take_txn(struct arena *a, const struct doc *d, struct etcd_txn *out)
{
    const struct doc *list = doc_get(d, STR("responses"));

    *out = (struct etcd_txn){0};
    if (!is_kind(d, DOC_MAP) || !read_header(d, &out->header) || !read_bool(d, STR("succeeded"), &out->succeeded))
        return false;
    if (!list)
        return true;
    if (list->kind != DOC_LIST || list->count > ETCD_OPS_MAX)
        return false;
    for (const struct doc *one = list->first; one; one = one->next) {
        const struct doc *range = doc_get(one, STR("response_range"));
        if (range && !take_range(a, range, &out->ranges[out->count]))
            return false;
        out->count++;
    }
    return true;
}

static bool take_refusal(const struct doc *d, struct etcd_refusal *out)
{
    uint64_t code = 0;

    /* of a stream: {"grpc_code": 14, "message": ...}; of a request: {"code": 14, "message": ...} */
    *out = (struct etcd_refusal){0};
    if (!is_kind(d, DOC_MAP) || !read_text(d, STR("message"), &out->message) ||
        !read_number(d, doc_get(d, STR("grpc_code")) ? STR("grpc_code") : STR("code"), &code) || code > 16)
        return false;
    out->code = (int)code;
    return true;
}

static bool take_told(struct arena *a, const struct doc *d, struct etcd_told *out)
{
    const struct doc *events = doc_get(d, STR("events"));

    if (!is_kind(d, DOC_MAP) || !read_header(d, &out->header) || !read_bool(d, STR("created"), &out->created) ||
        !read_bool(d, STR("canceled"), &out->cancelled) || !read_bool(d, STR("fragment"), &out->part) ||
        !read_number(d, STR("compact_revision"), &out->compacted) || !read_text(d, STR("cancel_reason"), &out->reason))
        return false;
    if (!events)
        return true;
    if (events->kind != DOC_LIST)
        return false;
    out->events = arena_new(a, events->count * sizeof(*out->events));
    for (const struct doc *one = events->first; one; one = one->next) {
        struct etcd_event *e = &out->events[out->count++];
        struct str type;
        if (!is_kind(one, DOC_MAP) || !read_text(one, STR("type"), &type) ||
            !read_kv(a, doc_get(one, STR("kv")), &e->kv))
            return false;
        e->removed = str_eq(type, STR("DELETE"));
        if (type.n && !e->removed && !str_eq(type, STR("PUT")))
            return false;
    }
    return true;
}

static enum err parse(struct arena *a, struct str text, struct doc **out, char why[DOC_WHY_MAX])
{
    return js_read_within(a, text, &answer_bounds, out, why);
}

static enum err verdict(bool good, char why[DOC_WHY_MAX])
{
    if (!good)
        snprintf(why, DOC_WHY_MAX, "a field is missing or of the wrong kind");
    return good ? ERR_OK : ERR_SYNTAX;
}

enum err etcd_read_range(struct arena *a, struct str text, struct etcd_range *out, char why[DOC_WHY_MAX])
{
    struct doc *d = NULL;
    enum err e = parse(a, text, &d, why);

    return e != ERR_OK ? e : verdict(take_range(a, d, out) && out->header.revision, why);
}

enum err etcd_read_txn(struct arena *a, struct str text, struct etcd_txn *out, char why[DOC_WHY_MAX])
{
    struct doc *d = NULL;
    enum err e = parse(a, text, &d, why);

    return e != ERR_OK ? e : verdict(take_txn(a, d, out) && out->header.revision, why);
}

enum err etcd_read_lease(struct arena *a, struct str text, struct etcd_lease *out, char why[DOC_WHY_MAX])
{
    struct str first = str_split(&text, '\n');
    struct doc *d = NULL;
    enum err e = parse(a, first, &d, why);

    if (e != ERR_OK)
        return e;
    const struct doc *inner = doc_get(d, STR("result"));
    const struct doc *answer = inner ? inner : d;
    *out = (struct etcd_lease){0};
    /* without a header it is something else: then a lease without TTL would be taken for a lost one */
    return verdict(is_kind(answer, DOC_MAP) && doc_get(answer, STR("header")) && read_header(answer, &out->header) &&
                       read_number(answer, STR("TTL"), &out->ttl_s),
                   why);
}

enum err etcd_read_login(struct arena *a, struct str text, struct str *token, char why[DOC_WHY_MAX])
{
    struct doc *d = NULL;
    enum err e = parse(a, text, &d, why);

    return e != ERR_OK ? e : verdict(is_kind(d, DOC_MAP) && read_text(d, STR("token"), token) && token->n, why);
}

enum err etcd_read_told(struct arena *a, struct str line, struct etcd_told *out, char why[DOC_WHY_MAX])
{
    struct doc *d = NULL;
    enum err e = parse(a, line, &d, why);

    if (e != ERR_OK)
        return e;
    *out = (struct etcd_told){0};
    const struct doc *refused = doc_get(d, STR("error"));
    if (refused)
        return verdict(take_refusal(refused, &out->refusal) && out->refusal.code, why);
    return verdict(take_told(a, doc_get(d, STR("result")), out), why);
}

struct etcd_refusal etcd_read_refusal(struct arena *a, struct str text)
{
    struct etcd_refusal r = {0};
    char why[DOC_WHY_MAX];
    struct doc *d = NULL;

    if (parse(a, text, &d, why) == ERR_OK && doc_get(d, STR("error")) && take_refusal(d, &r))
        return r;
    /* a keep-alive is refused in its stream */
    if (d && doc_get(d, STR("error")) && take_refusal(doc_get(d, STR("error")), &r))
        return r;
    return (struct etcd_refusal){0};
}

/* ---- lines of a stream ---- */

void etcd_lines_init(struct etcd_lines *l)
{
    buf_init(&l->rest, ETCD_ANSWER_MAX);
}

void etcd_lines_release(struct etcd_lines *l)
{
    buf_release(&l->rest);
}

bool etcd_lines_add(struct etcd_lines *l, struct str piece, bool (*fn)(void *arg, struct str line), void *arg)
{
    size_t end;

    while ((end = str_find_char(piece, '\n')) != SIZE_MAX) {
        struct str line = str_n(piece.p, end);
        piece = str_skip(piece, end + 1);
        if (l->rest.n) {
            buf_add_str(&l->rest, line);
            if (l->rest.over)
                return false;
            line = buf_str(&l->rest);
        }
        bool more = !line.n || fn(arg, line);
        buf_reset(&l->rest);
        if (!more)
            return false;
    }
    buf_add_str(&l->rest, piece);
    return !l->rest.over;
}
