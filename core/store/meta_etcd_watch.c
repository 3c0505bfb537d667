#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/meta_etcd.h"

/* A watch knows every key below its prefix with its revision. It reads all of them, then follows a stream of changes
 * from the next revision on. When the stream breaks it goes on where it was; when etcd has compacted that away it reads
 * all again and tells the difference. A stream can be deaf without breaking (a member that is paused or cut off), so
 * every now and then a small read of the newest change and of the number of keys is compared with what is known. */
enum { CHECK_MS = 5000, CHECK_MAX_MS = 60000, GRACE_MS = 1000, PAGE = 1000, BREAKS_LOGGED = 8 };

struct known {
    struct str key; /* as etcd knows it; behind the struct */
    uint64_t revision;
    bool stays; /* seen by the reading under way */
};

struct change {
    struct etcd_kv kv;
    bool removed;
};

struct etcd_watch {
    struct etcd_watch *next;
    struct meta_etcd *m;
    struct arena arena;   /* of the range */
    struct str from, end; /* as etcd knows them */
    meta_watch_fn *fn;
    void *arg;
    struct etcd_wait *first; /* who waits for the first reading */
    struct known **known;    /* by key */
    size_t known_n, known_cap;
    uint64_t next_revision; /* not told yet */

    struct etcd_ask ask; /* a page, or a check */
    struct buf body;
    bool asks;
    struct etcd_range answer;
    struct { /* the reading under way */
        struct arena arena;
        struct change *changes;
        size_t n, cap;
        struct str from;
        uint64_t revision;
        uint32_t limit;
    } reading;

    struct call call; /* the stream */
    struct http_client_req req;
    struct http_client_res res;
    struct http_header headers[2];
    struct arena stream_arena;
    struct buf stream_body;
    struct etcd_lines lines;
    bool streams, created, compacted, doubted;
    uint64_t doubted_at; /* next_revision then */
    char why[ETCD_WHY_MAX];

    struct timer timer; /* the next reading, check or stream */
    unsigned failures;
};

/* ---- what is known ---- */

static size_t seek(const struct etcd_watch *w, struct str key)
{
    size_t low = 0, high = w->known_n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(w->known[mid]->key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct known *find(const struct etcd_watch *w, struct str key)
{
    size_t at = seek(w, key);

    return at < w->known_n && str_eq(w->known[at]->key, key) ? w->known[at] : NULL;
}

static void learn(struct etcd_watch *w, const struct etcd_kv *kv)
{
    size_t at = seek(w, kv->key);

    if (at == w->known_n || !str_eq(w->known[at]->key, kv->key)) {
        struct known *k = mem_alloc(sizeof(*k) + kv->key.n);
        memcpy(k + 1, kv->key.p, kv->key.n);
        *k = (struct known){.key = str_n(k + 1, kv->key.n)};
        if (w->known_n == w->known_cap) {
            w->known_cap = w->known_cap ? w->known_cap * 2 : 16;
            w->known = mem_realloc(w->known, w->known_cap * sizeof(struct known *));
        }
        memmove(w->known + at + 1, w->known + at, (w->known_n - at) * sizeof(struct known *));
        w->known[at] = k;
        w->known_n++;
    }
    w->known[at]->revision = kv->revision;
}

static void forget(struct etcd_watch *w, struct str key)
{
    size_t at = seek(w, key);

    free(w->known[at]);
    w->known_n--;
    memmove(w->known + at, w->known + at + 1, (w->known_n - at) * sizeof(struct known *));
}

/* Each change once: what is known already is not told again. */
static void tell(struct etcd_watch *w, const struct etcd_kv *kv, bool removed)
{
    const struct known *k = find(w, kv->key);
    struct str key = str_skip(kv->key, w->m->prefix.n);

    if (removed ? !k || k->revision > kv->revision : k && k->revision >= kv->revision)
        return;
    if (removed)
        forget(w, kv->key);
    else
        learn(w, kv);
    w->fn(w->arg, key, removed ? STR_NONE : kv->value, kv->revision, removed);
}

static bool is_inside(const struct etcd_watch *w, struct str key)
{
    return key.n >= w->m->prefix.n && str_cmp(key, w->from) >= 0 && (!w->end.n || str_cmp(key, w->end) < 0);
}

/* ---- asking ---- */

static void end_step(struct etcd_watch *w);
static void stream_begin(struct etcd_watch *w);
static void read_begin(struct etcd_watch *w);
static void check_begin(struct etcd_watch *w);

static enum err read_answer(struct etcd_ask *q, struct str text, struct etcd_header *out, char why[DOC_WHY_MAX])
{
    struct etcd_watch *w = CONTAINER(q, struct etcd_watch, ask);
    enum err e = etcd_read_range(&q->arena, text, &w->answer, why);

    for (uint32_t i = 0; e == ERR_OK && i < w->answer.count; i++)
        if (!is_inside(w, w->answer.kvs[i].key)) {
            snprintf(why, DOC_WHY_MAX, "a key that was not asked for");
            e = ERR_SYNTAX;
        }
    if (e == ERR_OK)
        *out = w->answer.header;
    return e;
}

static void ask(struct etcd_watch *w, const struct etcd_range_query *query, void (*done)(struct etcd_ask *))
{
    buf_reset(&w->body);
    etcd_write_range(&w->body, query);
    w->asks = true;
    w->ask = (struct etcd_ask){.m = w->m,
                               .path = "/v3/kv/range",
                               .body = buf_str(&w->body),
                               .read = read_answer,
                               .done = done,
                               .deadline_ns = etcd_deadline(w->m)};
    etcd_ask_start(&w->ask);
}

static void again(struct etcd_watch *w, void (*fn)(struct timer *), uint64_t ms)
{
    w->timer.fn = fn;
    timer_set(w->m->loop, &w->timer, ms);
}

/* ---- reading all ---- */

static void on_read_timer(struct timer *t)
{
    read_begin(CONTAINER(t, struct etcd_watch, timer));
}

static void reading_release(struct etcd_watch *w)
{
    arena_release(&w->reading.arena);
    free(w->reading.changes);
    w->reading.changes = NULL;
    w->reading.n = w->reading.cap = 0;
}

static void note_change(struct etcd_watch *w, struct etcd_kv kv, bool removed)
{
    if (w->reading.n == w->reading.cap) {
        w->reading.cap = w->reading.cap ? w->reading.cap * 2 : 64;
        w->reading.changes = mem_realloc(w->reading.changes, w->reading.cap * sizeof(*w->reading.changes));
    }
    w->reading.changes[w->reading.n++] = (struct change){kv, removed};
}

static int by_revision(const void *a, const void *b)
{
    uint64_t x = ((const struct change *)a)->kv.revision, y = ((const struct change *)b)->kv.revision;

    return x < y ? -1 : x > y;
}

/* The first reading tells in the order of keys, as the embedded stores do; a later one in the order of changes. When a
 * key was removed is not known any more: then it was by the revision of the reading, behind all others. */
static void read_end(struct etcd_watch *w)
{
    bool first = w->next_revision == 0;

    for (size_t i = 0; i < w->known_n; i++)
        if (!w->known[i]->stays)
            note_change(w,
                        (struct etcd_kv){.key = arena_str(&w->reading.arena, w->known[i]->key),
                                         .revision = w->reading.revision},
                        true);
    if (!first && w->reading.n)
        qsort(w->reading.changes, w->reading.n, sizeof(*w->reading.changes), by_revision);
    for (size_t i = 0; i < w->reading.n; i++)
        tell(w, &w->reading.changes[i].kv, w->reading.changes[i].removed);
    w->next_revision = w->reading.revision + 1;
    reading_release(w);
    w->compacted = false;
    if (w->first)
        etcd_wait_end(w->first, ERR_OK);
    w->first = NULL;
    stream_begin(w);
}

static void page_ask(struct etcd_watch *w);

static void page_take(struct etcd_watch *w)
{
    struct arena *a = &w->reading.arena;

    w->reading.revision = w->reading.revision ? w->reading.revision : w->answer.header.revision;
    for (uint32_t i = 0; i < w->answer.count; i++) {
        const struct etcd_kv *kv = &w->answer.kvs[i];
        struct known *k = find(w, kv->key);
        if (k)
            k->stays = true;
        if (!k || k->revision != kv->revision)
            note_change(w, (struct etcd_kv){arena_str(a, kv->key), arena_str(a, kv->value), kv->revision, 0}, false);
    }
    if (!w->answer.more || !w->answer.count) {
        read_end(w);
        return;
    }
    struct str last = w->answer.kvs[w->answer.count - 1].key;
    char *from = arena_alloc(a, last.n + 1); /* the smallest key behind it */
    memcpy(from, last.p, last.n);
    from[last.n] = 0;
    w->reading.from = str_n(from, last.n + 1);
    etcd_ask_release(&w->ask);
    page_ask(w);
}

static void page_answered(struct etcd_ask *q)
{
    struct etcd_watch *w = CONTAINER(q, struct etcd_watch, ask);

    w->asks = false;
    if (w->m->closing) {
        end_step(w);
    } else if (q->err == ERR_OK) {
        w->failures = 0;
        page_take(w);
    } else if (q->err == ERR_TOO_LARGE && w->reading.limit > 1) {
        etcd_ask_release(q);
        w->reading.limit = w->reading.limit / 4 + 1 < w->reading.limit ? w->reading.limit / 4 + 1 : 1;
        page_ask(w);
    } else if (q->err == ERR_INVALID_REQUEST && q->code == ETCD_COMPACTED) {
        again(w, on_read_timer, etcd_backoff(w->failures++)); /* between two pages: from the beginning */
    } else if (w->first) {
        struct etcd_wait *first = w->first;
        enum err e = etcd_trip_err(q);
        w->first = NULL;
        end_step(w); /* it frees the watch before anybody hears of it */
        etcd_wait_end(first, e);
    } else {
        again(w, on_read_timer, etcd_backoff(w->failures++));
    }
}

static void page_ask(struct etcd_watch *w)
{
    ask(w, &(struct etcd_range_query){w->reading.from, w->end, w->reading.limit, w->reading.revision, false, false},
        page_answered);
}

static void read_begin(struct etcd_watch *w)
{
    etcd_ask_release(&w->ask);
    reading_release(w);
    for (size_t i = 0; i < w->known_n; i++)
        w->known[i]->stays = false;
    w->reading.from = w->from;
    w->reading.revision = 0;
    w->reading.limit = PAGE;
    page_ask(w);
}

/* ---- the stream ---- */

static void on_stream_timer(struct timer *t)
{
    check_begin(CONTAINER(t, struct etcd_watch, timer));
}

static bool on_line(void *arg, struct str line)
{
    struct etcd_watch *w = arg;
    struct arena arena = ARENA_INIT;
    struct etcd_told told;
    char why[DOC_WHY_MAX] = "";
    bool good = etcd_read_told(&arena, line, &told, why) == ERR_OK;

    if (!good) {
        snprintf(w->why, sizeof(w->why), "%.200s", why);
    } else if (told.refusal.code) {
        snprintf(w->why, sizeof(w->why), "%.*s", (int)(told.refusal.message.n < 200 ? told.refusal.message.n : 200),
                 told.refusal.message.n ? told.refusal.message.p : "");
        good = false;
    } else if (told.cancelled) {
        w->compacted |= told.compacted != 0;
        snprintf(w->why, sizeof(w->why), "%.*s", (int)(told.reason.n < 200 ? told.reason.n : 200),
                 told.reason.n ? told.reason.p : "");
        good = false;
    } else {
        w->created |= told.created;
        for (uint32_t i = 0; i < told.count && good; i++) {
            good = is_inside(w, told.events[i].kv.key);
            if (good)
                tell(w, &told.events[i].kv, told.events[i].removed);
        }
        uint64_t last = told.count ? told.events[told.count - 1].kv.revision : 0;
        if (good && last >= w->next_revision)
            w->next_revision = told.part ? last : last + 1;
    }
    arena_release(&arena);
    return good;
}

static bool on_piece(void *arg, struct str piece)
{
    struct etcd_watch *w = arg;

    return !w->m->closing && etcd_lines_add(&w->lines, piece, on_line, w);
}

static void stream_release(struct etcd_watch *w)
{
    http_client_res_release(&w->res);
    etcd_lines_release(&w->lines);
    arena_release(&w->stream_arena);
    buf_release(&w->stream_body);
}

static void on_stream_end(struct call *c)
{
    struct etcd_watch *w = CONTAINER(c, struct etcd_watch, call);

    w->streams = false;
    stream_release(w);
    if (w->m->closing) {
        end_step(w);
        return;
    }
    if (w->asks) /* a check is under way: it begins the next stream */
        return;
    if (w->compacted) {
        log_info(STR_NONE, "etcd has forgotten what was not told yet; reading all again", "next_revision=%llu",
                 (unsigned long long)w->next_revision);
        read_begin(w);
        return;
    }
    if (w->failures == BREAKS_LOGGED)
        log_warn(STR_NONE, "etcd breaks off a watch again and again", "prefix=%s why=%s", log_quote(w->from),
                 log_quote(str_z(w->why)));
    again(w, on_stream_timer, etcd_backoff(w->failures++));
}

/* To the endpoint that answered last, with the token of then. */
static void stream_begin(struct etcd_watch *w)
{
    struct meta_etcd *m = w->m;

    etcd_ask_release(&w->ask);
    etcd_lines_init(&w->lines);
    buf_init(&w->stream_body, ETCD_REQUEST_MAX);
    etcd_write_watch(&w->stream_body, w->from, w->end, w->next_revision);
    w->created = w->doubted = false;
    w->why[0] = 0;
    w->req = (struct http_client_req){.body = buf_str(&w->stream_body), .on_piece = on_piece, .on_piece_arg = w};
    etcd_address(m, m->current, "/v3/watch", &w->req, w->headers, &w->stream_arena);
    w->streams = true;
    call_begin(&w->call, m->loop, on_stream_end);
    http_client_send(m->http, &w->req, &w->res, &w->call);
    again(w, on_stream_timer, GRACE_MS * 2);
}

/* ---- the check ---- */

static uint64_t check_ms(const struct etcd_watch *w)
{
    uint64_t ms = CHECK_MS + w->known_n; /* etcd sorts them all: the more there are, the rarer */

    return ms < CHECK_MAX_MS ? ms : CHECK_MAX_MS;
}

static bool is_behind(const struct etcd_watch *w)
{
    uint64_t newest = w->answer.count ? w->answer.kvs[0].revision : 0;

    return newest >= w->next_revision || w->answer.total != w->known_n;
}

static void checked(struct etcd_ask *q)
{
    struct etcd_watch *w = CONTAINER(q, struct etcd_watch, ask);
    bool answered = q->err == ERR_OK, behind = answered && is_behind(w);

    w->asks = false;
    etcd_ask_release(q);
    if (w->m->closing) {
        end_step(w);
    } else if (!answered) {
        again(w, on_stream_timer, etcd_backoff(w->failures++));
    } else if (!w->streams && w->compacted) {
        read_begin(w);
    } else if (!w->streams) {
        stream_begin(w);
    } else if (!w->created || (behind && w->doubted && w->doubted_at == w->next_revision)) {
        call_cancel(&w->call); /* deaf: its end begins the next */
    } else {
        w->failures = 0;
        w->doubted = behind; /* what is on its way comes within the time of grace */
        w->doubted_at = w->next_revision;
        again(w, on_stream_timer, behind ? GRACE_MS : check_ms(w));
    }
}

static void check_begin(struct etcd_watch *w)
{
    ask(w, &(struct etcd_range_query){w->from, w->end, 1, 0, true, true}, checked);
}

/* ---- life ---- */

/* Frees the watch once nothing of it is under way. */
static void end_step(struct etcd_watch *w)
{
    struct meta_etcd *m = w->m;

    if (w->asks || w->streams)
        return;
    for (struct etcd_watch **at = &m->watches; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    timer_cancel(m->loop, &w->timer);
    etcd_ask_release(&w->ask);
    reading_release(w);
    for (size_t i = 0; i < w->known_n; i++)
        free(w->known[i]);
    free(w->known);
    buf_release(&w->body);
    arena_release(&w->arena);
    free(w);
    etcd_close_step(m);
}

bool etcd_watches_end(struct meta_etcd *m)
{
    struct etcd_watch *next;

    for (struct etcd_watch *w = m->watches; w; w = next) {
        next = w->next;
        timer_cancel(m->loop, &w->timer);
        if (w->asks)
            etcd_ask_cancel(&w->ask);
        if (w->streams)
            call_cancel(&w->call);
        end_step(w);
    }
    return !m->watches;
}

struct opening {
    struct etcd_wait wait;
    struct str prefix;
    meta_watch_fn *fn;
    void *arg;
};

static void open_begin(struct post *p)
{
    struct opening *o = CONTAINER(p, struct opening, wait.post);
    struct meta_etcd *m = o->wait.m;
    struct etcd_watch *w = NEW(struct etcd_watch);

    w->m = m;
    w->fn = o->fn;
    w->arg = o->arg;
    w->first = &o->wait;
    w->from = etcd_full_key(m, &w->arena, o->prefix.n ? o->prefix : STR("\1")); /* behind the keys of our own */
    w->end = etcd_prefix_end(&w->arena, etcd_full_key(m, &w->arena, o->prefix));
    buf_init(&w->body, ETCD_REQUEST_MAX);
    w->next = m->watches;
    m->watches = w;
    read_begin(w);
}

enum err etcd_watch_open(struct meta *meta, struct str prefix, meta_watch_fn *fn, void *arg)
{
    struct opening o = {.prefix = prefix, .fn = fn, .arg = arg};

    return etcd_wait_for(ETCD(meta), &o.wait, open_begin);
}
