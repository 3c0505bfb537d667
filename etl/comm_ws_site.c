#include <stdlib.h>

#include "comm_ws_own.h"

/* ---- sites ---- */

struct etl_ws *ws_get(struct etl_wire *w)
{
    if (w->ws)
        return w->ws;
    w->ws = NEW(struct etl_ws);
    w->ws->wire = w;
    w->ws->loop = w->loop;
    w->ws->pool = w->conf.io;
    w->ws->refs = 1;
    return w->ws;
}

static void ws_unref(struct etl_ws *ws)
{
    if (--ws->refs == 0)
        free(ws);
}

static void serve_waiting(struct post *p);

struct ws_site *ws_site_get(struct etl_wire *w, struct str id, bool make)
{
    struct etl_ws *ws = make ? ws_get(w) : w->ws;
    struct ws_site *s = ws ? ws->sites : NULL;

    while (s && !str_eq(str_n(s->id, s->id_n), id))
        s = s->next;
    if (s || !make)
        return s;
    s = NEW(struct ws_site);
    s->ws = ws;
    ws->refs++;
    s->id = mem_alloc(id.n + !id.n);
    s->id_n = id.n;
    if (id.n)
        memcpy(s->id, id.p, id.n);
    s->last = &s->first;
    s->post.fn = serve_waiting;
    s->next = ws->sites;
    if (s->next)
        s->next->prev = s;
    ws->sites = s;
    return s;
}

static void site_end_if_empty(struct ws_site *s)
{
    if (s->conns || s->first || s->posted)
        return;
    if (s->prev)
        s->prev->next = s->next;
    else
        s->ws->sites = s->next;
    if (s->next)
        s->next->prev = s->prev;
    ws_unref(s->ws);
    free(s->id);
    free(s);
}

/* Who waits is served later, so that nobody is called by what he calls. */
void ws_site_changed(struct ws_site *s)
{
    if (!s->first || !s->ws->wire) {
        site_end_if_empty(s);
    } else if (!s->posted) {
        s->posted = true;
        loop_defer(s->ws->loop, &s->post);
    }
}

bool ws_site_wait(struct ws_site *s, struct ws_run *run)
{
    if (s->waiting >= WS_WAITING_MAX)
        return false;
    *ws_run_next(run) = NULL;
    *s->last = run;
    s->last = ws_run_next(run);
    s->waiting++;
    ws_site_changed(s);
    return true;
}

void ws_site_leave(struct ws_site *s, struct ws_run *run)
{
    struct ws_run **at = &s->first;

    while (*at != run)
        at = ws_run_next(*at);
    *at = *ws_run_next(run);
    if (!*at)
        s->last = at;
    s->waiting--;
    ws_site_changed(s);
}

/* ---- connections for those who wait ---- */

static bool is_idle(const struct ws_conn *c)
{
    return !c->run && c->state == WS_OPEN;
}

/* One that still stands; NULL: none. */
static struct ws_conn *take_idle(struct ws_site *s)
{
    struct ws_conn *next;

    for (struct ws_conn *c = s->conns; c; c = next) {
        next = c->next;
        if (!is_idle(c))
            continue;
        timer_cancel(s->ws->loop, &c->idle);
        if (ws_conn_idle(c))
            return c;
        ws_conn_close(c);
    }
    return NULL;
}

static void serve_waiting(struct post *p)
{
    struct ws_site *s = CONTAINER(p, struct ws_site, post);

    while (s->ws->wire && s->first) {
        struct ws_conn *c = take_idle(s);
        if (!c && s->conn_count >= s->ws->wire->conf.connections_max)
            break;
        struct ws_run *run = s->first;
        s->first = *ws_run_next(run);
        if (!s->first)
            s->last = &s->first;
        s->waiting--;
        if (!c)
            c = ws_conn_new(s, run);
        c->run = run;
        ws_run_begin(run, c);
    }
    s->posted = false; /* not before: it holds the site */
    site_end_if_empty(s);
}

static void close_idle(struct ws_site *s)
{
    struct ws_conn *next;

    for (struct ws_conn *c = s->conns; c; c = next) {
        next = c->next;
        c->last = true;
        if (!is_idle(c))
            continue;
        ws_conn_close(c);
    }
}

void etl_ws_forget(struct etl_wire *w, struct str id)
{
    struct ws_site *s = ws_site_get(w, id, false);

    if (s)
        close_idle(s);
}

void etl_ws_close(struct etl_wire *w)
{
    struct etl_ws *ws = w->ws;

    if (!ws)
        return;
    w->ws = NULL;
    ws->wire = NULL;
    for (struct ws_site *s = ws->sites, *next; s; s = next) {
        next = s->next;
        close_idle(s);
    }
    ws_unref(ws);
}
