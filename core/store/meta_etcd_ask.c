#include "meta_etcd.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum { TRY_MIN_MS = 100, CONNECT_MAX_MS = 2000, LOGINS_MAX = 3 };

#define NS_PER_MS UINT64_C(1000000)

uint64_t etcd_deadline(const struct meta_etcd *m)
{
    return clock_mono_ns() + m->timeout_ms * NS_PER_MS;
}

uint64_t etcd_backoff(unsigned tries)
{
    uint64_t ms = tries < 6 ? (uint64_t)ETCD_BACKOFF_MIN_MS << tries : ETCD_BACKOFF_MAX_MS;
    uint32_t random;

    random_bytes(&random, sizeof(random));
    if (ms > ETCD_BACKOFF_MAX_MS)
        ms = ETCD_BACKOFF_MAX_MS;
    return ms / 2 + random % (ms / 2 + 1);
}

/* ---- whether etcd is there ---- */

static void note_answer(struct meta_etcd *m)
{
    m->answer_ns = clock_mono_ns();
    m->failures = 0;
    if (!atomic_load(&m->away))
        return;
    atomic_store(&m->away, false);
    log_info(STR_NONE, "etcd is back", "endpoint=%s away_ms=%llu", log_quote(str_z(m->endpoints[m->current])),
             (unsigned long long)((m->answer_ns - m->away_ns) / NS_PER_MS));
}

/* One lost connection is no outage: all endpoints had their turn, and one of them again. */
static void note_failure(struct meta_etcd *m, size_t endpoint, const char *why)
{
    snprintf(m->last_why, sizeof(m->last_why), "%.80s: %.170s", m->endpoints[endpoint], why);
    if (m->current == endpoint)
        m->current = (endpoint + 1) % m->endpoint_count;
    if (++m->failures <= m->endpoint_count || atomic_load(&m->away) || m->closing)
        return;
    m->away_ns = clock_mono_ns();
    atomic_store(&m->away, true);
    log_warn(STR_NONE, "etcd is away", "endpoints=%zu why=%s", m->endpoint_count, log_quote(str_z(m->last_why)));
}

/* ---- the end of an ask ---- */

static void drop_waiting(struct etcd_ask *q)
{
    for (struct etcd_ask **at = &q->m->auth.waiting; *at; at = &(*at)->next_waiting)
        if (*at == q) {
            *at = q->next_waiting;
            break;
        }
    q->waits = false;
}

static void drop_answer(struct etcd_ask *q)
{
    if (q->answered)
        http_client_res_release(&q->res);
    q->answered = false;
}

/* `q` may be gone on return. */
static void end(struct etcd_ask *q, enum err e)
{
    timer_cancel(q->m->loop, &q->timer);
    drop_answer(q);
    if (q->waits)
        drop_waiting(q);
    q->err = e;
    q->ended = true;
    q->done(q);
}

/* What the end of all tries means. */
static void give_up(struct etcd_ask *q)
{
    if (!q->why[0])
        snprintf(q->why, sizeof(q->why), "%s", q->m->last_why[0] ? q->m->last_why : "no answer in time");
    end(q, ERR_UNAVAILABLE);
}

static void try_later(struct etcd_ask *q, uint64_t ms)
{
    uint64_t now = clock_mono_ns();

    drop_answer(q);
    if (now >= q->deadline_ns) {
        give_up(q);
        return;
    }
    uint64_t left_ms = (q->deadline_ns - now) / NS_PER_MS + 1;
    timer_set(q->m->loop, &q->timer, ms < left_ms ? ms : left_ms);
}

static void failed_try(struct etcd_ask *q, const char *why)
{
    note_failure(q->m, q->endpoint, why);
    snprintf(q->why, sizeof(q->why), "%.255s", q->m->last_why);
    q->unsure = true;
    try_later(q, etcd_backoff(q->tries - 1));
}

/* ---- answers ---- */

static bool is_passing(const struct etcd_refusal *r)
{
    switch (r->code) {
    case ETCD_INVALID:
    case ETCD_NOT_FOUND:
    case ETCD_DENIED:
    case ETCD_PRECONDITION:
    case ETCD_COMPACTED:
    case 12: /* unimplemented */
        return false;
    case ETCD_EXHAUSTED:
        return str_find(r->message, STR("too many requests")) != SIZE_MAX;
    default:
        return true;
    }
}

/* Whether the token is to blame: it aged, its member was restarted, or users were changed meanwhile. */
static bool is_about_token(const struct meta_etcd *m, const struct etcd_refusal *r)
{
    return m->user.n && (r->code == ETCD_UNAUTHENTICATED ||
                         (r->code == ETCD_INVALID && (str_find(r->message, STR("user name is empty")) != SIZE_MAX ||
                                                      str_find(r->message, STR("auth store is old")) != SIZE_MAX)));
}

static void renew_token(struct etcd_ask *q)
{
    struct meta_etcd *m = q->m;

    if (q->generation == m->auth.generation) {
        free(m->auth.token);
        m->auth.token = NULL;
        m->auth.off = false;
        m->auth.generation++;
    }
    try_later(q, 0);
}

/* etcd's own words, also where they are no JSON: with users in use, its gateway tells so that it takes no client
 * certificate with a common name. */
static void say_why(const struct etcd_ask *q, const struct etcd_refusal *r, char why[ETCD_WHY_MAX])
{
    struct str body = buf_str(&q->res.body), line = r->code ? r->message : str_split(&body, '\n');

    if (line.n > 150)
        line.n = 150;
    if (r->code)
        snprintf(why, ETCD_WHY_MAX, STR_FMT, STR_ARG(line));
    else
        snprintf(why, ETCD_WHY_MAX, "status %d, " STR_FMT, q->res.status, STR_ARG(line));
}

static void refused(struct etcd_ask *q, struct etcd_refusal r)
{
    char why[ETCD_WHY_MAX];

    say_why(q, &r, why);
    if (!q->is_login && is_about_token(q->m, &r) && ++q->logins <= LOGINS_MAX) {
        renew_token(q);
        return;
    }
    if (!r.code || is_passing(&r)) {
        failed_try(q, why);
        return;
    }
    if (!q->is_login) /* a wrong password must not look like the end of an outage */
        note_answer(q->m);
    snprintf(q->why, sizeof(q->why), "%s", why);
    q->code = r.code;
    end(q, ERR_INVALID_REQUEST);
}

/* A member that was paused or restored may answer from the past, and a setting may mix two clusters. */
static const char *distrust(const struct etcd_ask *q, const struct etcd_header *h)
{
    if (h->cluster && q->m->cluster && h->cluster != q->m->cluster)
        return "it belongs to another cluster than etcd did before";
    if (h->revision && h->revision < q->seen)
        return "it answers with an older state than etcd had before";
    return NULL;
}

static void answered(struct etcd_ask *q)
{
    struct meta_etcd *m = q->m;
    struct str text = buf_str(&q->res.body);
    struct etcd_header header = {0};
    char why[DOC_WHY_MAX] = "";

    if (q->res.status != 200) {
        refused(q, etcd_read_refusal(&q->arena, text));
        return;
    }
    if (q->read(q, text, &header, why) != ERR_OK) {
        struct etcd_refusal r = etcd_read_refusal(&q->arena, text); /* a stream says it behind its status */
        if (r.code)
            refused(q, r);
        else
            failed_try(q, why);
        return;
    }
    const char *doubt = distrust(q, &header);
    if (doubt) {
        failed_try(q, doubt);
        return;
    }
    if (header.cluster)
        m->cluster = header.cluster;
    if (header.revision > m->seen)
        m->seen = header.revision;
    note_answer(m);
    end(q, ERR_OK);
}

static void on_call(struct call *c)
{
    struct etcd_ask *q = CONTAINER(c, struct etcd_ask, call);
    enum err e = c->err;

    q->sent = false;
    q->answered = true;
    if (q->stopped)
        end(q, ERR_CANCELLED);
    else if (e == ERR_OK)
        answered(q);
    else if (e == ERR_TOO_LARGE)
        end(q, e);
    else
        failed_try(q, q->res.why[0] ? q->res.why : err_name(e));
}

/* ---- the token ---- */

struct etcd_login {
    struct etcd_ask ask;
    struct buf body;
    struct str token;
};

static enum err read_login(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    (void)out;
    return etcd_read_login(&q->arena, text, &CONTAINER(q, struct etcd_login, ask)->token, why);
}

static void login_done(struct etcd_ask *q)
{
    struct etcd_login *l = CONTAINER(q, struct etcd_login, ask);
    struct meta_etcd *m = q->m;
    bool none_wanted = q->err == ERR_INVALID_REQUEST && q->code == ETCD_PRECONDITION;

    m->auth.login = NULL;
    if (q->err == ERR_OK) {
        m->auth.token = mem_alloc(l->token.n + 1);
        memcpy(m->auth.token, l->token.p, l->token.n);
        m->auth.token[l->token.n] = 0;
    } else if (none_wanted) {
        m->auth.off = true;
        log_warn(STR_NONE, "etcd asks nobody for a password", "user=%s", log_quote(m->user));
    } else if (q->err == ERR_INVALID_REQUEST) {
        note_failure(m, q->endpoint, q->why);
    }
    struct etcd_ask *next, *waiting = m->auth.waiting;
    m->auth.waiting = NULL;
    for (; waiting; waiting = next) {
        next = waiting->next_waiting;
        waiting->waits = false;
        if (q->err == ERR_INVALID_REQUEST && !none_wanted) {
            snprintf(waiting->why, sizeof(waiting->why), "%.255s", q->why);
            end(waiting, ERR_UNAVAILABLE);
        } else {
            try_later(waiting, 0);
        }
    }
    etcd_ask_release(q);
    if (l->body.p)
        memset(l->body.p, 0, l->body.n);
    buf_release(&l->body);
    free(l);
    if (m->closing)
        etcd_close_step(m);
}

static void wait_for_token(struct etcd_ask *q)
{
    struct meta_etcd *m = q->m;

    q->waits = true;
    q->next_waiting = m->auth.waiting;
    m->auth.waiting = q;
    uint64_t now = clock_mono_ns();
    timer_set(m->loop, &q->timer, q->deadline_ns > now ? (q->deadline_ns - now) / NS_PER_MS + 1 : 0);
    if (m->auth.login)
        return;
    struct etcd_login *l = m->auth.login = NEW(struct etcd_login);
    buf_init(&l->body, ETCD_REQUEST_MAX);
    etcd_write_login(&l->body, m->user, m->password);
    l->ask = (struct etcd_ask){.m = m,
                               .path = "/v3/auth/authenticate",
                               .body = buf_str(&l->body),
                               .read = read_login,
                               .done = login_done,
                               .deadline_ns = etcd_deadline(m),
                               .is_login = true};
    etcd_ask_start(&l->ask);
}

void etcd_auth_release(struct meta_etcd *m)
{
    if (m->auth.login)
        etcd_ask_cancel(&m->auth.login->ask);
}

/* ---- a try ---- */

void etcd_address(struct meta_etcd *m, size_t endpoint, const char *path, struct http_client_req *req,
                  struct http_header headers[2], struct arena *arena)
{
    headers[0] = (struct http_header){STR("Content-Type"), STR("application/json")};
    req->header_count = 1;
    if (m->auth.token) {
        headers[1] = (struct http_header){STR("Authorization"), arena_str(arena, str_z(m->auth.token))};
        req->header_count = 2;
    }
    req->headers = headers;
    req->method = "POST";
    req->url = arena_printf(arena, "%s%s", m->endpoints[endpoint], path).p;
    req->connect_timeout_ms = CONNECT_MAX_MS;
    req->ca_file = m->ca_file;
    req->cert_file = m->cert_file;
    req->key_file = m->key_file;
}

/* A member that hangs must leave time for the others, but a slow cluster must get its answer through in the end. */
static uint32_t try_timeout(const struct etcd_ask *q, uint64_t left_ms)
{
    const struct meta_etcd *m = q->m;
    uint64_t share = m->timeout_ms / 3;

    if (q->tries >= (m->endpoint_count < 2 ? 1 : 2) || share > left_ms)
        share = left_ms;
    return (uint32_t)(share > TRY_MIN_MS ? share : TRY_MIN_MS);
}

static void try_now(struct etcd_ask *q)
{
    struct meta_etcd *m = q->m;
    uint64_t now = clock_mono_ns();

    if (now >= q->deadline_ns) {
        give_up(q);
        return;
    }
    if (!q->is_login && m->user.n && !m->auth.off && !m->auth.token) {
        wait_for_token(q);
        return;
    }
    arena_release(&q->arena);
    q->endpoint = m->current;
    q->generation = m->auth.generation;
    q->seen = m->seen;
    q->req = (struct http_client_req){.body = q->body, .body_max = q->answer_max};
    q->req.timeout_ms = try_timeout(q, (q->deadline_ns - now) / NS_PER_MS + 1);
    etcd_address(m, q->endpoint, q->path, &q->req, q->headers, &q->arena);
    if (q->is_login)
        q->req.header_count = 1;
    q->tries++;
    q->sent = true;
    call_begin(&q->call, m->loop, on_call);
    http_client_send(m->http, &q->req, &q->res, &q->call);
}

static void on_timer(struct timer *t)
{
    struct etcd_ask *q = CONTAINER(t, struct etcd_ask, timer);

    if (q->stopped)
        end(q, ERR_CANCELLED);
    else if (q->waits)
        give_up(q);
    else
        try_now(q);
}

void etcd_ask_start(struct etcd_ask *q)
{
    q->arena = (struct arena)ARENA_INIT;
    q->timer = (struct timer){.fn = on_timer};
    if (!q->answer_max)
        q->answer_max = ETCD_ANSWER_MAX;
    timer_set(q->m->loop, &q->timer, 0);
}

void etcd_ask_cancel(struct etcd_ask *q)
{
    if (!q->m || q->ended || q->stopped)
        return;
    q->stopped = true;
    if (q->sent)
        call_cancel(&q->call);
    else
        timer_set(q->m->loop, &q->timer, 0);
}

void etcd_ask_release(struct etcd_ask *q)
{
    arena_release(&q->arena);
}

/* ---- the probe ---- */

struct etcd_probe {
    struct etcd_ask ask;
    struct buf body;
    struct timer timer;
    struct etcd_range answer;
    bool asks;
};

static enum err read_probe(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    struct etcd_probe *p = CONTAINER(q, struct etcd_probe, ask);
    enum err e = etcd_read_range(&q->arena, text, &p->answer, why);

    if (e == ERR_OK)
        *out = p->answer.header;
    return e;
}

static void probe_done(struct etcd_ask *q)
{
    struct etcd_probe *p = CONTAINER(q, struct etcd_probe, ask);
    struct meta_etcd *m = q->m;

    p->asks = false;
    etcd_ask_release(q);
    if (m->closing)
        etcd_probe_stop(m);
    else
        timer_set(m->loop, &p->timer, ETCD_PROBE_MS / 2);
}

static void probe_tick(struct timer *t)
{
    struct etcd_probe *p = CONTAINER(t, struct etcd_probe, timer);
    struct meta_etcd *m = p->ask.m;

    if (clock_mono_ns() - m->answer_ns < ETCD_PROBE_MS * NS_PER_MS) {
        timer_set(m->loop, &p->timer, ETCD_PROBE_MS / 2);
        return;
    }
    p->asks = true;
    p->ask = (struct etcd_ask){.m = m,
                               .path = "/v3/kv/range",
                               .body = buf_str(&p->body),
                               .read = read_probe,
                               .done = probe_done,
                               .deadline_ns = etcd_deadline(m)};
    etcd_ask_start(&p->ask);
}

void etcd_probe_start(struct meta_etcd *m)
{
    struct etcd_probe *p = m->probe = NEW(struct etcd_probe);
    struct arena arena = ARENA_INIT;

    p->ask.m = m;
    p->timer.fn = probe_tick;
    buf_init(&p->body, ETCD_REQUEST_MAX);
    etcd_write_range(&p->body,
                     &(struct etcd_range_query){.key = etcd_full_key(m, &arena, STR("\0probe")), .keys_only = true});
    arena_release(&arena);
    timer_set(m->loop, &p->timer, ETCD_PROBE_MS / 2);
}

void etcd_probe_stop(struct meta_etcd *m)
{
    struct etcd_probe *p = m->probe;

    if (!p)
        return;
    timer_cancel(m->loop, &p->timer);
    if (p->asks) {
        etcd_ask_cancel(&p->ask);
        return;
    }
    m->probe = NULL;
    buf_release(&p->body);
    free(p);
    etcd_close_step(m);
}
