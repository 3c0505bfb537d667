#include "download_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/op.h"
#include "http/url.h"
#include "store/verified.h"

enum { CONNECT_MS = 10000, IDLE_S = 60, PAUSE_MS = 500, HOUR_S = 3600 };

struct file {
    struct op op;
    const struct download_req *req;
    struct download_res *res;
    struct call *whole;
    struct arena arena; /* of the try */
    struct str url;
    unsigned tries, redirects;
    struct http_client_req ask;
    struct http_client_res answer;
    bool asked;
    struct source *body;
    struct source metered;
    struct obj_put_req put;
    struct obj_put_res written;
    struct body_check check;
    /* through ETLs */
    struct source *verified;
    struct etl_run_req run;
    struct etl_run_res ran;
    struct body_check stored_check;
    struct http_header headers[1];
    struct timer timer; /* a pause, or the end of the try */
    struct call *paused;
    /* the read of the store that goes on */
    struct call read_call;
    struct call *read_whole;
    size_t *n;
    struct timer brake;
    bool late; /* the try took too long */
};

static step_fn file_ask, file_answered, file_put, file_transformed, file_stored, file_again, file_end;

/* ---- the body, counted and slowed down ---- */

static void brake_off(struct timer *t)
{
    struct file *f = CONTAINER(t, struct file, brake);

    call_finish(f->read_whole, ERR_OK);
}

static void brake_cancel(void *arg)
{
    struct file *f = arg;

    timer_cancel(f->op.loop, &f->brake);
    call_finish(f->read_whole, ERR_CANCELLED);
}

static void read_done(struct call *c)
{
    struct file *f = CONTAINER(c, struct file, read_call);
    struct download_meter *m = f->req->meter;
    uint64_t now = clock_mono_ns();

    f->res->received += *f->n;
    m->bytes += *f->n;
    if (m->bytes_per_hour && *f->n) {
        m->free_ns = m->free_ns > now ? m->free_ns : now;
        m->free_ns += (uint64_t)((double)*f->n * HOUR_S * 1e9 / (double)m->bytes_per_hour);
    }
    if (c->err != ERR_OK || !m->bytes_per_hour || m->free_ns <= now) {
        call_finish(f->read_whole, f->late ? ERR_TIMEOUT : c->err);
        return;
    }
    f->brake.fn = brake_off;
    timer_set(f->op.loop, &f->brake, (m->free_ns - now) / 1000000 + 1);
    call_on_cancel(f->read_whole, brake_cancel, f);
}

static void read_cancel(void *arg)
{
    call_cancel(&((struct file *)arg)->read_call);
}

static void metered_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct file *f = CONTAINER(s, struct file, metered);

    f->read_whole = call;
    f->n = n;
    *n = 0;
    call_begin(&f->read_call, f->op.loop, read_done);
    call_on_cancel(call, read_cancel, f);
    source_read(f->body, buf, len, n, &f->read_call);
}

static void metered_close(struct source *s)
{
    (void)s;
}

/* ---- one try ---- */

static void leave(struct file *f)
{
    timer_cancel(f->op.loop, &f->timer);
    source_close(f->ran.body);
    source_close(f->verified);
    source_close(f->body);
    f->ran.body = f->verified = f->body = NULL;
    if (f->asked)
        http_client_res_release(&f->answer);
    f->asked = false;
}

static void too_late(struct timer *t)
{
    struct file *f = CONTAINER(t, struct file, timer);

    f->late = true;
    if (call_is_pending(&f->op.call))
        call_cancel(&f->op.call);
}

static enum step_next file_ask(struct op *op)
{
    static const struct http_header agent = {STR("User-Agent"), STR("sluice")};
    struct file *f = OP(op, struct file);

    if (f->req->timeout_ms && !timer_is_set(&f->timer)) {
        f->timer.fn = too_late;
        timer_set(op->loop, &f->timer, f->req->timeout_ms);
    }
    f->headers[0] = agent;
    f->ask = (struct http_client_req){.method = "GET",
                                      .url = arena_str(&f->arena, f->url).p,
                                      .headers = f->headers,
                                      .header_count = 1,
                                      .connect_timeout_ms = CONNECT_MS,
                                      .public_only = !f->req->private_too,
                                      .idle_timeout_s = IDLE_S};
    f->asked = true;
    http_client_open(f->req->client, &f->ask, &f->answer, &f->body, op_try(op, file_answered));
    return STEP_WAIT;
}

static bool may_pass(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_TIMEOUT || e == ERR_INCOMPLETE_BODY || e == ERR_BUSY || e == ERR_BAD_DIGEST;
}

static void resume(struct timer *t)
{
    call_finish(CONTAINER(t, struct file, timer)->paused, ERR_OK);
}

static void resume_cancel(void *arg)
{
    struct file *f = arg;

    timer_cancel(f->op.loop, &f->timer);
    call_finish(f->paused, ERR_CANCELLED);
}

static enum step_next failed(struct file *f, enum err e, const char *why)
{
    if (f->late)
        e = ERR_TIMEOUT;
    snprintf(f->res->why, sizeof(f->res->why), "%s", f->late ? "it took too long" : why);
    leave(f);
    if (!may_pass(e) || ++f->tries >= DOWNLOAD_TRIES_MAX)
        return op_fail(&f->op, e);
    f->timer.fn = resume;
    f->paused = op_call(&f->op, file_again);
    timer_set(f->op.loop, &f->timer, PAUSE_MS << (f->tries - 1));
    call_on_cancel(f->paused, resume_cancel, f);
    return STEP_WAIT;
}

static enum step_next file_again(struct op *op)
{
    struct file *f = OP(op, struct file);

    f->late = false;
    f->redirects = 0;
    f->res->received = 0;
    arena_release(&f->arena);
    f->url = f->req->link;
    return op_go(op, file_ask);
}

/* The Location against the present link (RFC 3986 section 5.2, without dot segments: servers resolve those). */
static struct str resolved(struct file *f, struct str to)
{
    struct str base = f->url, mark = STR("://");
    size_t scheme = str_find(base, mark) + mark.n, path = str_find_char(str_skip(base, scheme), '/');
    struct str host = path == SIZE_MAX ? base : str_n(base.p, scheme + path);

    if (str_starts(to, STR("//")))
        return arena_printf(&f->arena, "%.*s" STR_FMT, (int)(scheme - 2), base.p, STR_ARG(to));
    if (str_starts(to, STR("/")))
        return arena_printf(&f->arena, STR_FMT STR_FMT, STR_ARG(host), STR_ARG(to));
    if (str_find(to, mark) != SIZE_MAX)
        return arena_str(&f->arena, to);
    size_t end = base.n;
    while (end > host.n && base.p[end - 1] != '/')
        end--;
    return arena_printf(&f->arena, "%.*s%s" STR_FMT, (int)end, base.p, end == host.n ? "/" : "", STR_ARG(to));
}

static enum step_next redirected(struct file *f)
{
    struct str to = http_client_header(&f->answer, STR("location"));

    if (++f->redirects > DOWNLOAD_REDIRECTS_MAX)
        return failed(f, ERR_INVALID_ARGUMENT, "too many redirects");
    to = to.n && to.n <= DOWNLOAD_LINK_MAX ? resolved(f, to) : STR_NONE;
    if (!download_is_link(to) || (str_starts(f->url, STR("https:")) && !str_starts(to, STR("https:"))))
        return failed(f, ERR_INVALID_ARGUMENT, "a redirect to what can't be asked");
    f->url = to;
    source_close(f->body);
    f->body = NULL;
    http_client_res_release(&f->answer);
    f->asked = false;
    return op_go(&f->op, file_ask);
}

static enum step_next file_answered(struct op *op)
{
    struct file *f = OP(op, struct file);
    int status = f->answer.status;
    char why[64];

    if (op->cancelled)
        return op_fail(op, ERR_CANCELLED);
    if (op->call.err != ERR_OK)
        return failed(f, op->call.err, f->answer.why);
    if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308)
        return redirected(f);
    if (status == 200)
        return op_go(op, file_put);
    snprintf(why, sizeof(why), "the server answers %d", status);
    return failed(f,
                  status == 404 || status == 410                     ? ERR_NOT_FOUND
                  : status == 429 || (status >= 500 && status < 600) ? ERR_UNAVAILABLE
                  : status == 401 || status == 403                   ? ERR_ACCESS_DENIED
                                                                     : ERR_INVALID_ARGUMENT,
                  why);
}

/* ---- into the store ---- */

static void fill_check(struct file *f)
{
    struct str md5 = http_client_header(&f->answer, STR("content-md5"));
    struct digest d = {.alg = HASH_MD5};
    size_t n = 0;

    f->check = (struct body_check){0};
    if (f->req->checksum.n) {
        f->check.want[f->check.want_count].digest = f->req->checksum;
        f->check.want[f->check.want_count++].err = ERR_BAD_DIGEST;
    }
    if (md5.p && base64_decode(md5, d.b, sizeof(d.b), &n) && n == 16) {
        d.n = 16;
        f->check.want[f->check.want_count].digest = d;
        f->check.want[f->check.want_count++].err = ERR_BAD_DIGEST;
    }
}

static enum step_next transform(struct file *f)
{
    f->stored_check = (struct body_check){0};
    f->verified = source_verified(f->op.loop, f->req->cpu, &f->metered, &f->check);
    f->run = (struct etl_run_req){.arena = &f->arena,
                                  .stages = f->req->stages,
                                  .stage_count = f->req->stage_count,
                                  .body = f->verified,
                                  .size = f->verified->size,
                                  .bucket = f->req->bucket.name,
                                  .key = f->req->key};
    etl_run(f->req->door, &f->run, &f->ran, op_try(&f->op, file_transformed));
    return STEP_WAIT;
}

static enum step_next file_put(struct op *op)
{
    static const struct source_ops ops = {.name = "download", .read = metered_read, .close = metered_close};
    struct file *f = OP(op, struct file);
    struct attr *attrs = arena_alloc(&f->arena, 2 * sizeof(*attrs));
    struct str type = http_client_header(&f->answer, STR("content-type"));

    fill_check(f);
    attrs[0] = (struct attr){STR("content-type"), type.n && type.n < 256 ? type : STR("binary/octet-stream")};
    attrs[1] = (struct attr){STR("x-amz-meta-orig_url"), f->req->link};
    f->metered = (struct source){&ops, f->body->size};
    f->res->size = f->body->size == SOURCE_SIZE_UNKNOWN ? 0 : f->body->size;
    f->put = (struct obj_put_req){.arena = &f->arena,
                                  .bucket = f->req->bucket,
                                  .key = f->req->key,
                                  .info = {.attrs = attrs, .attr_count = f->req->link.n <= 1024 ? 2 : 1},
                                  .cond = COND_INIT,
                                  .body = &f->metered,
                                  .check = &f->check,
                                  .size_max = OBJECT_SIZE_MAX};
    if (f->req->stage_count)
        return transform(f);
    store_obj_put(f->req->store, &f->put, &f->written, op_try(op, file_stored));
    return STEP_WAIT;
}

static enum step_next file_transformed(struct op *op)
{
    struct file *f = OP(op, struct file);
    struct str why = f->ran.text.n ? arena_str(&f->arena, f->ran.text) : str_z(err_text(op->call.err));

    if (op->cancelled && op->call.err != ERR_OK)
        return op_fail(op, ERR_CANCELLED);
    if (op->call.err != ERR_OK)
        return failed(f, op->call.err, why.p);
    if (f->ran.content_type.n)
        ((struct attr *)(uintptr_t)f->put.info.attrs)[0].value = f->ran.content_type;
    f->put.body = f->ran.body;
    f->put.check = &f->stored_check;
    store_obj_put(f->req->store, &f->put, &f->written, op_try(op, file_stored));
    return STEP_WAIT;
}

static enum step_next file_stored(struct op *op)
{
    struct file *f = OP(op, struct file);
    enum err e = op->call.err;

    if (op->cancelled && e != ERR_OK)
        return op_fail(op, ERR_CANCELLED);
    if (e != ERR_OK)
        return failed(f, e, e == ERR_UNAVAILABLE || e == ERR_INCOMPLETE_BODY ? "the answer broke off" : err_text(e));
    f->res->info = f->written.info;
    return op_go(op, file_end);
}

static enum step_next file_end(struct op *op)
{
    struct file *f = OP(op, struct file);

    leave(f);
    arena_release(&f->arena);
    call_finish(f->whole, op->err);
    free(f);
    return STEP_DONE;
}

static void file_cancel(void *arg)
{
    op_cancel(&((struct file *)arg)->op, ERR_CANCELLED);
}

void download_file(const struct download_req *req, struct download_res *res, struct call *call)
{
    struct file *f = NEW(struct file);

    f->req = req;
    f->res = res;
    f->whole = call;
    f->url = req->link;
    *res = (struct download_res){.received = 0};
    op_start(&f->op, call->loop, "download", file_ask, file_end);
    call_on_cancel(call, file_cancel, f);
}

/* ---- links ---- */

bool download_is_link(struct str link)
{
    size_t skip = str_starts_nocase(link, STR("http://")) ? 7 : str_starts_nocase(link, STR("https://")) ? 8 : 0;

    return skip && link.n > skip && link.n <= DOWNLOAD_LINK_MAX && link.p[skip] != '/' && str_is_plain(link) &&
           str_find_char(link, ' ') == SIZE_MAX;
}

struct str download_name(struct arena *arena, struct str link)
{
    struct str path = link, name, decoded;
    size_t host = str_find(link, STR("://")), at;

    path = str_skip(path, host == SIZE_MAX ? 0 : host + 3);
    for (int i = 0; i < 2; i++)
        if ((at = str_find_char(path, i ? '#' : '?')) != SIZE_MAX)
            path.n = at;
    if ((at = str_find_char(path, '/')) == SIZE_MAX)
        return STR("");
    name = path;
    while ((at = str_find_char(name, '/')) != SIZE_MAX)
        name = str_skip(name, at + 1);
    return url_decode(name, arena, false, &decoded) ? decoded : name;
}
