#include "http/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/op.h"
#include "http/client.h"

enum {
    CONNECT_MS = 5000,
    TIMEOUT_MS = 30000,
    ANSWER_MAX = 64 << 10,
    AGE_LEN = 8, /* in front of a value: when it was put */
    SEQ_LEN = 8,
    KEY_LEN_MAX = OUTBOX_NAME_MAX + 1 + SEQ_LEN,
    LABELS_MAX = OUTBOX_NAME_MAX + 16,
};

/* Key: name, NUL, number; value: Unix nanoseconds, then the message. */
struct waiting {
    char key[KEY_LEN_MAX];
    size_t key_n;
    int64_t put_ns;
    char *text; /* NULL: nothing is here */
    size_t n;
    struct http_client_req req;
    struct http_client_res res;
    struct group_call sent;
};

struct hook {
    struct op op;
    struct outbox *box;
    struct str name, url;
    struct http_header headers[2];
    size_t header_count;
    _Atomic int64_t depth;
    atomic_bool posted;
    struct post post;
    struct call *idle; /* the op's, while it waits for messages */
    bool again;        /* some came meanwhile */
    struct timer pause;
    struct call *pausing;
    uint32_t pause_ms; /* 0: the last round was taken */
    struct offload_task task;
    struct waiting items[OUTBOX_AT_ONCE];
    struct call_group group;
    struct metric sent, failed, dropped, depth_now;
    char labels[LABELS_MAX];
    bool full; /* said so already */
};

struct outbox {
    struct arena arena;
    struct outbox_conf conf;
    struct kv *kv;
    _Atomic uint64_t seq;
    struct hook *hooks[OUTBOX_HOOKS_MAX];
    size_t hook_count, running;
    struct loop *loop;
    struct http_client *client;
    pthread_t thread;
    bool closing; /* the loop's */
    struct post close;
};

static struct hook *hook_find(const struct outbox *b, struct str name)
{
    for (size_t i = 0; i < b->hook_count; i++)
        if (str_eq(b->hooks[i]->name, name))
            return b->hooks[i];
    return NULL;
}

bool outbox_has(const struct outbox *b, struct str name)
{
    return hook_find(b, name) != NULL;
}

/* ---- bytes ---- */

static void put_u64(char out[8], uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (char)(v & 0xff);
}

static uint64_t get_u64(const char *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

static size_t key_make(struct str name, uint64_t seq, char out[KEY_LEN_MAX])
{
    memcpy(out, name.p, name.n);
    out[name.n] = 0;
    put_u64(out + name.n + 1, seq);
    return name.n + 1 + SEQ_LEN;
}

static bool key_split(struct str key, struct str *name, uint64_t *seq)
{
    size_t nul = str_find_char(key, 0);

    if (nul == SIZE_MAX || key.n != nul + 1 + SEQ_LEN)
        return false;
    *name = str_n(key.p, nul);
    *seq = get_u64(key.p + nul + 1);
    return true;
}

/* ---- put ---- */

struct put_op {
    struct offload_task task;
    struct outbox *box;
    const struct outbox_put_req *req;
    struct outbox_put_res *res;
    struct call call, *whole;
};

static void rouse(struct hook *h)
{
    struct call *c = h->idle;

    h->again = true;
    h->idle = NULL;
    if (c)
        call_finish(c, ERR_OK);
}

static void wake_posted(struct post *p)
{
    struct hook *h = CONTAINER(p, struct hook, post);

    atomic_store(&h->posted, false);
    rouse(h);
}

static void wake(struct hook *h)
{
    if (!atomic_exchange(&h->posted, true))
        loop_post(h->box->loop, &h->post);
}

static bool has_room(struct hook *h)
{
    return atomic_load(&h->depth) < (int64_t)h->box->conf.queue_max;
}

/* On a pool thread: one write for all, and the disk has it. */
static enum err put_run(struct offload_task *t)
{
    struct put_op *p = CONTAINER(t, struct put_op, task);
    int64_t added[OUTBOX_HOOKS_MAX] = {0};
    struct kv_batch *batch = kv_batch_new();
    char age[AGE_LEN];
    enum err e = ERR_OK;

    put_u64(age, (uint64_t)clock_wall_ns());
    for (size_t i = 0; i < p->req->count; i++) {
        const struct outbox_message *m = &p->req->messages[i];
        struct hook *h = hook_find(p->box, m->hook);
        struct buf value = BUF_INIT(AGE_LEN + OUTBOX_MESSAGE_MAX);
        char key[KEY_LEN_MAX];
        buf_add(&value, age, AGE_LEN);
        buf_add_str(&value, m->body);
        if (!h || !has_room(h) || buf_err(&value) != ERR_OK) {
            p->res->dropped++;
            if (h)
                metric_add(&h->dropped, 1);
        } else {
            size_t n = key_make(h->name, atomic_fetch_add(&p->box->seq, 1), key);
            kv_batch_put(batch, str_n(key, n), buf_str(&value));
            for (size_t k = 0; k < p->box->hook_count; k++)
                added[k] += p->box->hooks[k] == h;
        }
        buf_release(&value);
    }
    if (kv_batch_count(batch) > 0)
        e = kv_write(p->box->kv, batch, true);
    kv_batch_free(batch);
    for (size_t k = 0; e == ERR_OK && k < p->box->hook_count; k++)
        if (added[k]) {
            atomic_fetch_add(&p->box->hooks[k]->depth, added[k]);
            wake(p->box->hooks[k]);
        }
    return e;
}

static void put_done(struct call *c)
{
    struct put_op *p = CONTAINER(c, struct put_op, call);

    for (size_t i = 0; c->err != ERR_OK && i < p->req->count; i++) {
        struct hook *h = hook_find(p->box, p->req->messages[i].hook);
        if (h)
            metric_add(&h->dropped, 1);
    }
    if (p->res->dropped)
        log_warn(STR_NONE, "messages to webhooks are dropped: no room or no such webhook", "count=%zu first=" STR_FMT,
                 p->res->dropped, STR_ARG(p->req->messages[0].hook));
    call_finish(p->whole, c->err);
    free(p);
}

void outbox_put(struct outbox *b, const struct outbox_put_req *req, struct outbox_put_res *res, struct call *whole)
{
    struct put_op *p = NEW(struct put_op);

    /* no cancel hook: it takes one write */
    p->box = b;
    p->req = req;
    p->res = res;
    p->whole = whole;
    *res = (struct outbox_put_res){0};
    call_begin(&p->call, whole->loop, put_done);
    offload_run(b->conf.io, &p->task, put_run, &p->call);
}

/* ---- sending: a round reads some, sends them at once, and drops what was taken ---- */

static step_fn round_read, round_send, round_settle, round_next, hook_end;

static void items_release(struct hook *h)
{
    for (size_t i = 0; i < OUTBOX_AT_ONCE; i++) {
        free(h->items[i].text);
        h->items[i].text = NULL;
    }
}

static enum err run_read(struct offload_task *t)
{
    struct hook *h = CONTAINER(t, struct hook, task);
    char first[KEY_LEN_MAX], end[KEY_LEN_MAX];
    struct kv_iter_options o = {.end = str_n(end, key_make(h->name, UINT64_MAX, end))};
    struct kv_iter *it = kv_iter_open(h->box->kv, &o);
    size_t n = 0;
    enum err e;

    kv_iter_seek(it, str_n(first, key_make(h->name, 0, first)));
    for (; kv_iter_valid(it) && n < OUTBOX_AT_ONCE; kv_iter_next(it)) {
        struct str key = kv_iter_key(it), value = kv_iter_value(it);
        struct waiting *w = &h->items[n];
        if (key.n > KEY_LEN_MAX || value.n < AGE_LEN)
            continue; /* not ours */
        memcpy(w->key, key.p, key.n);
        w->key_n = key.n;
        w->put_ns = (int64_t)get_u64(value.p);
        w->n = value.n - AGE_LEN;
        w->text = mem_alloc(w->n + 1);
        memcpy(w->text, value.p + AGE_LEN, w->n);
        n++;
    }
    e = kv_iter_err(it);
    kv_iter_close(it);
    return e;
}

static enum step_next round_read(struct op *op)
{
    struct hook *h = OP(op, struct hook);

    if (h->box->closing)
        return op_go(op, hook_end);
    h->again = false;
    offload_run(h->box->conf.io, &h->task, run_read, op_try(op, round_send));
    return STEP_WAIT;
}

static void send_one(struct hook *h, struct waiting *w)
{
    w->req = (struct http_client_req){.method = "POST",
                                      .url = h->url.p,
                                      .headers = h->headers,
                                      .header_count = h->header_count,
                                      .body = str_n(w->text, w->n),
                                      .connect_timeout_ms = CONNECT_MS,
                                      .timeout_ms = TIMEOUT_MS,
                                      .body_max = ANSWER_MAX,
                                      .ca_file = h->box->conf.ca_file.n ? h->box->conf.ca_file.p : NULL,
                                      .public_only = !h->box->conf.private_too};
    http_client_send(h->box->client, &w->req, &w->res, group_call(&h->group, &w->sent));
}

static enum step_next round_send(struct op *op)
{
    struct hook *h = OP(op, struct hook);

    if (!h->items[0].text) { /* none waits, or the disk failed */
        if (op->call.err == ERR_OK)
            h->pause_ms = 0;
        return op_go(op, round_next);
    }
    call_group_init(&h->group, op_try(op, round_settle));
    for (size_t i = 0; i < OUTBOX_AT_ONCE && h->items[i].text; i++)
        send_one(h, &h->items[i]);
    call_group_seal(&h->group);
    return STEP_WAIT;
}

static bool is_taken(const struct waiting *w)
{
    return w->sent.call.err == ERR_OK && w->res.status >= 200 && w->res.status < 300;
}

static bool is_old(const struct hook *h, const struct waiting *w)
{
    return clock_wall_ns() - w->put_ns > (int64_t)h->box->conf.keep_s * NS_PER_S;
}

/* On a pool thread. What is lost with the machine is sent once more: no need to wait for the disk. */
static enum err run_drop(struct offload_task *t)
{
    struct hook *h = CONTAINER(t, struct hook, task);
    struct kv_batch *batch = kv_batch_new();
    enum err e = ERR_OK;

    for (size_t i = 0; i < OUTBOX_AT_ONCE && h->items[i].text; i++)
        if (is_taken(&h->items[i]) || is_old(h, &h->items[i]))
            kv_batch_delete(batch, str_n(h->items[i].key, h->items[i].key_n));
    if (kv_batch_count(batch) > 0)
        e = kv_write(h->box->kv, batch, false);
    kv_batch_free(batch);
    return e;
}

static void say_failed(struct hook *h, const struct waiting *w)
{
    char reason[300];

    if (w->sent.call.err != ERR_OK)
        snprintf(reason, sizeof(reason), "%s%s%s", err_name(w->sent.call.err), w->res.why[0] ? ": " : "", w->res.why);
    else
        snprintf(reason, sizeof(reason), "status %d", w->res.status);
    log_warn(STR_NONE, "webhook does not take messages: they wait", "name=" STR_FMT " waiting=%lld why=%s",
             STR_ARG(h->name), (long long)atomic_load(&h->depth), log_quote(str_z(reason)));
}

static enum step_next round_settle(struct op *op)
{
    struct hook *h = OP(op, struct hook);
    const struct waiting *failed = NULL;

    for (size_t i = 0; i < OUTBOX_AT_ONCE && h->items[i].text; i++) {
        const struct waiting *w = &h->items[i];
        metric_add(is_taken(w) ? &h->sent : &h->failed, 1);
        if (is_taken(w) || is_old(h, w))
            atomic_fetch_sub(&h->depth, 1);
        if (!is_taken(w) && is_old(h, w))
            metric_add(&h->dropped, 1);
        failed = is_taken(w) ? failed : w;
    }
    if (failed && !h->pause_ms && !h->box->closing)
        say_failed(h, failed);
    if (!failed && h->pause_ms)
        log_info(STR_NONE, "webhook takes messages again", "name=" STR_FMT, STR_ARG(h->name));
    if (!failed)
        h->pause_ms = 0;
    else
        h->pause_ms = !h->pause_ms                            ? OUTBOX_PAUSE_MS
                      : h->pause_ms < OUTBOX_PAUSE_MAX_MS / 2 ? h->pause_ms * 2
                                                              : OUTBOX_PAUSE_MAX_MS;
    metric_set(&h->depth_now, atomic_load(&h->depth));
    h->again = true; /* until a round finds nothing */
    offload_run(h->box->conf.io, &h->task, run_drop, op_try(op, round_next));
    return STEP_WAIT;
}

static void pause_over(struct timer *t)
{
    struct hook *h = CONTAINER(t, struct hook, pause);
    struct call *c = h->pausing;

    h->pausing = NULL;
    call_finish(c, ERR_OK);
}

static enum step_next round_next(struct op *op)
{
    struct hook *h = OP(op, struct hook);
    enum err e = op->call.err;

    for (size_t i = 0; i < OUTBOX_AT_ONCE && h->items[i].text; i++)
        http_client_res_release(&h->items[i].res);
    items_release(h);
    if (e == ERR_BUSY) {
        h->pause_ms = OUTBOX_PAUSE_MS;
    } else if (e != ERR_OK) {
        log_error(STR_NONE, "the queue of webhooks can't be read or written", "name=" STR_FMT " err=%s",
                  STR_ARG(h->name), err_name(e));
        h->pause_ms = OUTBOX_PAUSE_MAX_MS;
    }
    if (h->box->closing)
        return op_go(op, hook_end);
    if (h->pause_ms) {
        h->pausing = op_try(op, round_read);
        timer_set(h->box->loop, &h->pause, h->pause_ms);
        return STEP_WAIT;
    }
    if (h->again)
        return op_go(op, round_read);
    h->idle = op_try(op, round_read);
    return STEP_WAIT;
}

static enum step_next hook_end(struct op *op)
{
    struct outbox *b = OP(op, struct hook)->box;

    if (--b->running == 0)
        loop_stop(b->loop);
    return STEP_DONE;
}

/* ---- life ---- */

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
              (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-' || s.p[i] == '_'))
            return false;
    return s.n > 0 && s.n <= OUTBOX_NAME_MAX;
}

/* "http://USER:PASSWORD@HOST/" */
static bool has_user(struct str url)
{
    struct str rest = str_skip(url, str_find(url, STR("//")) + 2), authority = str_split(&rest, '/');

    return str_find_char(authority, '@') != SIZE_MAX;
}

static void count_as(struct hook *h, struct metric *m, enum metric_kind kind, const char *name, const char *help)
{
    *m = (struct metric){.name = name, .labels = h->labels, .help = help, .kind = kind};
    metric_register(m);
}

/* Hooks live as long as the process: metrics are never taken back. */
static struct hook *hook_new(struct outbox *b, const struct outbox_hook *from)
{
    struct hook *h = NEW(struct hook);

    h->box = b;
    h->name = arena_str(&b->arena, from->name);
    h->url = arena_str(&b->arena, from->url);
    h->post.fn = wake_posted;
    h->pause.fn = pause_over;
    h->headers[h->header_count++] = (struct http_header){STR("Content-Type"), STR("application/json")};
    if (from->token.n)
        h->headers[h->header_count++] = (struct http_header){
            STR("Authorization"), arena_printf(&b->arena, "Bearer " STR_FMT, STR_ARG(from->token))};
    snprintf(h->labels, sizeof(h->labels), "webhook=\"" STR_FMT "\"", STR_ARG(h->name));
    count_as(h, &h->sent, METRIC_COUNTER, "sluice_webhook_sent_total", "Messages that webhooks have taken.");
    count_as(h, &h->failed, METRIC_COUNTER, "sluice_webhook_failed_total",
             "Attempts that webhooks did not take; they are repeated.");
    count_as(h, &h->dropped, METRIC_COUNTER, "sluice_webhook_dropped_total",
             "Messages given up: too many waited, or for too long.");
    count_as(h, &h->depth_now, METRIC_GAUGE, "sluice_webhook_waiting", "Messages that wait, after the last attempt.");
    return h;
}

static enum err hooks_make(struct outbox *b, char why[OUTBOX_WHY_MAX])
{
    for (size_t i = 0; i < b->conf.hook_count; i++) {
        const struct outbox_hook *from = &b->conf.hooks[i];
        const char *wrong = NULL;
        if (b->hook_count == OUTBOX_HOOKS_MAX)
            wrong = "there are too many webhooks: at most 16";
        else if (!is_name(from->name))
            wrong = "a name has 1 to 64 letters, digits, '-' and '_'";
        else if (hook_find(b, from->name))
            wrong = "there are two of this name";
        else if (!str_starts(from->url, STR("http://")) && !str_starts(from->url, STR("https://")))
            wrong = "its address must begin with http:// or https://";
        else if (has_user(from->url))
            wrong = "its address has a user: a token goes into the file of tokens";
        else if (!str_is_plain(from->url) || str_find_char(from->url, ' ') != SIZE_MAX || !str_is_plain(from->token))
            wrong = "its address or token has control characters or spaces";
        if (wrong) {
            snprintf(why, OUTBOX_WHY_MAX, "webhook \"" STR_FMT "\": %s", STR_ARG(from->name), wrong);
            return ERR_INVALID_ARGUMENT;
        }
        b->hooks[b->hook_count++] = hook_new(b, from);
    }
    return ERR_OK;
}

/* How many wait of each, and where the numbers go on. What nobody is configured for ages out here. */
static enum err queue_count(struct outbox *b)
{
    struct kv_iter *it = kv_iter_open(b->kv, &(struct kv_iter_options){.once = true});
    struct kv_batch *old = kv_batch_new();
    int64_t now = clock_wall_ns();
    uint64_t last = 0, strangers = 0;
    enum err e;

    for (kv_iter_seek(it, STR("")); kv_iter_valid(it); kv_iter_next(it)) {
        struct str name, value = kv_iter_value(it);
        struct hook *h;
        uint64_t seq;
        if (!key_split(kv_iter_key(it), &name, &seq) || value.n < AGE_LEN)
            continue;
        last = seq > last ? seq : last;
        if ((h = hook_find(b, name)))
            atomic_fetch_add(&h->depth, 1);
        else if (now - (int64_t)get_u64(value.p) > (int64_t)b->conf.keep_s * NS_PER_S)
            kv_batch_delete(old, kv_iter_key(it));
        else
            strangers++;
    }
    e = kv_iter_err(it);
    kv_iter_close(it);
    if (e == ERR_OK && kv_batch_count(old) > 0)
        e = kv_write(b->kv, old, false);
    kv_batch_free(old);
    if (strangers)
        log_warn(STR_NONE, "messages wait for webhooks that are not configured", "count=%llu",
                 (unsigned long long)strangers);
    atomic_store(&b->seq, last + 1);
    return e;
}

static void *box_main(void *arg)
{
    struct outbox *b = arg;

    loop_adopt(b->loop);
    b->client = http_client_new(b->loop);
    b->running = b->hook_count;
    for (size_t i = 0; i < b->hook_count; i++)
        op_start(&b->hooks[i]->op, b->loop, "webhook", round_read, hook_end);
    loop_run(b->loop);
    http_client_free(b->client);
    return NULL;
}

static void box_start(struct outbox *b)
{
    sigset_t all, old;
    bool started;

    b->loop = loop_new();
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    started = pthread_create(&b->thread, NULL, box_main, b) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!started) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(b->thread, "webhooks");
}

static void box_free(struct outbox *b)
{
    kv_close(b->kv);
    arena_release(&b->arena);
    free(b);
}

enum err outbox_open(const struct outbox_conf *conf, struct outbox **out, char why[OUTBOX_WHY_MAX])
{
    struct outbox *b = NEW(struct outbox);
    char reason[KV_WHY_MAX] = "";
    enum err e;

    b->conf = *conf;
    b->conf.dir = arena_str(&b->arena, conf->dir);
    b->conf.ca_file = arena_str(&b->arena, conf->ca_file);
    if ((e = hooks_make(b, why)) != ERR_OK) {
        box_free(b);
        return e;
    }
    if (mkdir(b->conf.dir.p, 0700) != 0 && errno != EEXIST) {
        snprintf(why, OUTBOX_WHY_MAX, STR_FMT ": %s", STR_ARG(b->conf.dir), strerrordesc_np(errno));
        box_free(b);
        return ERR_IO;
    }
    e = kv_open(b->conf.dir, &(struct kv_options){.write_buffer_bytes = 4 << 20, .create = true}, &b->kv, reason);
    if (e != ERR_OK || (e = queue_count(b)) != ERR_OK) {
        snprintf(why, OUTBOX_WHY_MAX, STR_FMT ": %s (%s)", STR_ARG(b->conf.dir), reason, err_name(e));
        box_free(b);
        return e;
    }
    box_start(b);
    *out = b;
    return ERR_OK;
}

static void on_close(struct post *p)
{
    struct outbox *b = CONTAINER(p, struct outbox, close);

    b->closing = true;
    for (size_t i = 0; i < b->hook_count; i++) {
        struct hook *h = b->hooks[i];
        for (size_t k = 0; k < OUTBOX_AT_ONCE; k++)
            call_cancel(&h->items[k].sent.call);
        if (h->pausing) {
            timer_cancel(b->loop, &h->pause);
            pause_over(&h->pause);
        }
        rouse(h);
    }
}

void outbox_close(struct outbox *b)
{
    if (!b)
        return;
    b->close.fn = on_close;
    loop_post(b->loop, &b->close);
    pthread_join(b->thread, NULL);
    loop_free(b->loop);
    box_free(b);
}
