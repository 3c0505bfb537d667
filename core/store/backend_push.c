/* What was written here goes to the remote, in the parts that it has here: so both know it by the same ETag. */
#include <stdlib.h>

#include "backend_own.h"

enum { HEADERS_SPARE = 4, XML_MAX = 2 << 20, TRIES_MAX = 3 };

struct push {
    struct op op;
    const struct push_req *req;
    struct push_res *res;
    struct call *whole;
    struct backend_op *o;
    struct http_header *headers;
    size_t header_count;
    struct str upload_id;
    uint32_t part; /* index of the one that is sent */
    uint64_t offset;
    struct range range;
    struct obj_get_res content;
    struct arena arena; /* of one request */
    struct etag *etags;
    struct buf xml;
    struct source *document;
    unsigned tries;
    enum err failed;
};

static step_fn push_begin, push_read, push_send, push_sent, push_create, push_created, push_next, push_complete,
    push_completed, push_aborted, push_end;

/* ---- headers ---- */

static void add(struct http_header *list, size_t *n, struct str name, struct str value)
{
    list[(*n)++] = (struct http_header){name, value};
}

/* What the object is, as a PUT and a CreateMultipartUpload are told. */
static size_t object_headers(struct push *p, struct http_header *list)
{
    const struct object_info *info = p->req->info;
    size_t n = 0;

    for (uint32_t i = 0; i < info->attr_count; i++)
        if (!str_eq(info->attrs[i].name, STR("x-amz-storage-class")) && /* the remote has its own */
            !str_starts(info->attrs[i].name, STR(ATTR_PRIVATE)))
            add(list, &n, info->attrs[i].name, info->attrs[i].value);
    if (info->tags.n)
        add(list, &n, STR("x-amz-tagging"), info->tags);
    return n;
}

/* What the write that commits is told. */
static size_t cond_headers(struct push *p, struct http_header *list)
{
    const struct cond *c = p->req->cond;
    size_t n = 0;

    if (c->if_match.p)
        add(list, &n, STR("if-match"), c->if_match);
    if (c->if_none_match.p)
        add(list, &n, STR("if-none-match"), c->if_none_match);
    return n;
}

static struct http_header *header_list(struct push *p)
{
    return arena_alloc(&p->arena, (p->req->info->attr_count + HEADERS_SPARE) * sizeof(struct http_header));
}

static void add_md5(struct push *p, struct http_header *list, size_t *n, const struct etag *etag)
{
    uint8_t md5[16];
    char *text = arena_alloc(&p->arena, BASE64_LEN(sizeof(md5)));

    if (etag_to_md5(etag, md5))
        add(list, n, STR("content-md5"), str_n(text, base64_encode(md5, sizeof(md5), text)));
}

/* ---- one request ---- */

static void ask(struct push *p, struct str method, const struct http_header *headers, size_t header_count,
                struct call *call)
{
    struct backend_op *o = p->o;

    o->ask.arena = &p->arena;
    o->ask.method = method;
    o->ask.key = backend_remote_key(&p->arena, o->conf, o->key);
    o->ask.headers = headers;
    o->ask.header_count = header_count;
    backend_ask_with(o, call);
}

static bool is_upload(const struct push *p)
{
    return p->req->part_count > 0;
}

static enum step_next push_begin(struct op *op)
{
    return op_go(op, is_upload(OP(op, struct push)) ? push_create : push_read);
}

static enum step_next push_read(struct op *op)
{
    struct push *p = OP(op, struct push);
    uint64_t size = is_upload(p) ? p->req->parts[p->part].size : p->req->info->size;

    p->content = (struct obj_get_res){0};
    if (size == 0)
        return op_go(op, push_send);
    p->range = (struct range){.kind = RANGE_FROM_TO, .first = p->offset, .last = p->offset + size - 1};
    p->req->read(p->req->arg, &p->range, &p->arena, &p->content, op_call(op, push_send));
    return STEP_WAIT;
}

static enum step_next push_send(struct op *op)
{
    struct push *p = OP(op, struct push);
    struct http_header *list = header_list(p);
    struct sign_v4_param *params = arena_alloc(&p->arena, 2 * sizeof(*params));
    size_t n = is_upload(p) ? 0 : object_headers(p, list);

    p->o->ask = (struct s3_ask_req){.body = p->content.body, .once = true};
    if (is_upload(p)) {
        params[0] = (struct sign_v4_param){STR("partNumber"), arena_u64(&p->arena, p->req->parts[p->part].number)};
        params[1] = (struct sign_v4_param){STR("uploadId"), p->upload_id};
        p->o->ask.params = params;
        p->o->ask.param_count = 2;
        add_md5(p, list, &n, &p->req->parts[p->part].etag);
    } else {
        n += cond_headers(p, list + n);
        add_md5(p, list, &n, &p->req->info->etag);
    }
    p->tries++;
    ask(p, STR("PUT"), list, n, op_try(op, push_sent));
    return STEP_WAIT;
}

static void take_etag(struct push *p, struct etag *out)
{
    struct str text = str_trim(peer_header(&p->o->got.answer, STR("etag")));

    if (text.n > 1 && text.p[0] == '"' && text.p[text.n - 1] == '"')
        text = str_n(text.p + 1, text.n - 2);
    out->n = (uint8_t)(text.n <= ETAG_MAX ? text.n : 0);
    if (out->n)
        memcpy(out->text, text.p, out->n);
}

static void drop_answer(struct push *p)
{
    source_close(p->o->got.answer.body);
    p->o->got.answer.body = NULL;
    source_close(p->content.body);
    p->content.body = NULL;
}

static enum step_next failed(struct push *p, enum err e)
{
    p->failed = e;
    if (p->upload_id.n == 0 || e == ERR_CANCELLED)
        return op_fail(&p->op, e);
    struct sign_v4_param *param = ARENA_NEW(&p->arena, struct sign_v4_param);
    *param = (struct sign_v4_param){STR("uploadId"), p->upload_id};
    p->o->ask = (struct s3_ask_req){.params = param, .param_count = 1, .once = true};
    ask(p, STR("DELETE"), NULL, 0, op_try(&p->op, push_aborted));
    return STEP_WAIT;
}

static enum step_next push_aborted(struct op *op)
{
    struct push *p = OP(op, struct push);

    drop_answer(p);
    return op_fail(op, p->failed);
}

static enum step_next push_sent(struct op *op)
{
    struct push *p = OP(op, struct push);
    enum err e = op->call.err;
    bool again = e == ERR_REMOTE_GONE && p->tries < TRIES_MAX && cond_is_empty(p->req->cond);

    if (e == ERR_OK)
        take_etag(p, is_upload(p) ? &p->etags[p->part] : &p->res->etag);
    drop_answer(p);
    if (e == ERR_NO_SUCH_KEY) /* the upload, or the bucket */
        e = ERR_REMOTE_REFUSED;
    if (e != ERR_OK && !again)
        return failed(p, e);
    arena_release(&p->arena);
    if (again)
        return op_go(op, push_read);
    p->tries = 0;
    return op_go(op, is_upload(p) ? push_next : push_end);
}

/* ---- an upload ---- */

static enum step_next push_create(struct op *op)
{
    struct push *p = OP(op, struct push);
    static const struct sign_v4_param uploads = {STR("uploads"), STR("")};
    struct http_header *list = header_list(p);

    p->o->ask = (struct s3_ask_req){.params = &uploads, .param_count = 1, .reads_xml = true};
    ask(p, STR("POST"), list, object_headers(p, list), op_call(op, push_created));
    return STEP_WAIT;
}

static enum step_next push_created(struct op *op)
{
    struct push *p = OP(op, struct push);
    const struct xml_doc *d = &p->o->got.doc;
    struct str id = xml_child_text(d, xml_root(d), STR("UploadId"));

    if (id.n == 0)
        return op_fail(op, ERR_REMOTE_REFUSED);
    p->upload_id = arena_str(p->o->arena, id);
    p->etags = arena_alloc(p->o->arena, p->req->part_count * sizeof(*p->etags));
    arena_release(&p->arena);
    return op_go(op, push_read);
}

static enum step_next push_next(struct op *op)
{
    struct push *p = OP(op, struct push);

    p->offset += p->req->parts[p->part].size;
    return op_go(op, ++p->part < p->req->part_count ? push_read : push_complete);
}

static enum step_next push_complete(struct op *op)
{
    struct push *p = OP(op, struct push);
    struct http_header *list = header_list(p);
    struct sign_v4_param *param = ARENA_NEW(&p->arena, struct sign_v4_param);

    buf_add_z(&p->xml, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (uint32_t i = 0; i < p->req->part_count; i++)
        buf_addf(&p->xml, "<Part><PartNumber>%u</PartNumber><ETag>&quot;" STR_FMT "&quot;</ETag></Part>",
                 p->req->parts[i].number, STR_ARG(etag_str(&p->etags[i])));
    buf_add_z(&p->xml, "</CompleteMultipartUpload>");
    p->document = source_memory(buf_str(&p->xml), NULL, NULL);
    *param = (struct sign_v4_param){STR("uploadId"), p->upload_id};
    p->o->ask =
        (struct s3_ask_req){.params = param, .param_count = 1, .body = p->document, .reads_xml = true, .once = true};
    ask(p, STR("POST"), list, cond_headers(p, list), op_try(op, push_completed));
    return STEP_WAIT;
}

static enum step_next push_completed(struct op *op)
{
    struct push *p = OP(op, struct push);
    const struct xml_doc *d = &p->o->got.doc;
    enum err e = op->call.err;

    if (e != ERR_OK)
        return failed(p, e);
    struct str text = str_trim(xml_child_text(d, xml_root(d), STR("ETag")));
    if (text.n > 1 && text.p[0] == '"' && text.p[text.n - 1] == '"')
        text = str_n(text.p + 1, text.n - 2);
    if (text.n && text.n <= ETAG_MAX) {
        p->res->etag.n = (uint8_t)text.n;
        memcpy(p->res->etag.text, text.p, text.n);
    }
    return op_go(op, push_end);
}

static enum step_next push_end(struct op *op)
{
    struct push *p = OP(op, struct push);

    drop_answer(p);
    source_close(p->document);
    buf_release(&p->xml);
    arena_release(&p->arena);
    call_finish(p->whole, op->err);
    free(p);
    return STEP_DONE;
}

static void push_cancel(void *arg)
{
    op_cancel(&((struct push *)arg)->op, ERR_CANCELLED);
}

void backend_push(const struct push_req *req, struct push_res *res, struct call *call)
{
    struct push *p = NEW(struct push);

    p->req = req;
    p->res = res;
    p->whole = call;
    p->o = req->o;
    buf_init(&p->xml, XML_MAX);
    *res = (struct push_res){.etag = {0}};
    op_start(&p->op, call->loop, "push", push_begin, push_end);
    call_on_cancel(call, push_cancel, p);
}
