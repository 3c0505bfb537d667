/* Objects with copies while nodes are cut off, come back and join: no answer may be one that a single store could not give. */
#include "redundant_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

enum { KEYS = 12, CLIENTS = 8, EVENTS_MAX = 20000, TRIES = 50 };
enum kind { PUT, GET, DELETE, SWAP, KINDS };

static struct loop *loop;
static uint64_t now;

/* ---- clients, and what they saw ---- */

struct event {
    bool is_read;
    uint64_t value;      /* 0: nothing there */
    uint64_t before;     /* a swap: what it replaced */
    uint64_t begin, end; /* end UINT64_MAX: its outcome is not known */
};
static struct event *history[KEYS];
static unsigned counts[KEYS];
static uint64_t last_value;
static unsigned running, answered, unavailable;

struct client {
    struct call call;
    struct arena arena;
    const struct map *map;
    unsigned left, key, tries;
    enum kind kind;
    uint64_t value, begin, seen[KEYS];
    struct etag etags[KEYS]; /* of what was seen */
    struct body_check check;
    struct source *body;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct obj_delete_req delete_req;
    struct obj_delete_res delete;
    struct source_fill fill;
    char bytes[64];
    size_t n;
};

static struct str key_of(unsigned key)
{
    static char text[KEYS][8];

    snprintf(text[key], sizeof(text[key]), "key-%u", key);
    return str_z(text[key]);
}

static void tick(void);
static void client_next(struct client *c);
static void client_send(struct client *c);

static bool is_refusal(enum err e)
{
    return e == ERR_PRECONDITION || e == ERR_NO_SUCH_KEY;
}

static void client_note(struct client *c, enum err e)
{
    bool is_read = c->kind == GET;
    unsigned i = counts[c->key];

    if ((is_read && e != ERR_OK && e != ERR_NO_SUCH_KEY) || (!is_read && is_refusal(e)))
        return; /* no answer at all, or nothing was done */
    assert_true(i < EVENTS_MAX);
    history[c->key][i] = (struct event){.is_read = is_read,
                                        .value = is_read && e == ERR_NO_SUCH_KEY ? 0 : c->value,
                                        .before = c->kind == SWAP ? c->seen[c->key] : 0,
                                        .begin = c->begin,
                                        .end = is_read || e == ERR_OK ? ++now : UINT64_MAX};
    counts[c->key]++;
}

static void client_end(struct client *c, enum err e)
{
    if (e == ERR_UNAVAILABLE)
        unavailable++;
    else if (!is_refusal(e))
        assert_string_equal(err_name(e), "OK");
    answered += e == ERR_OK;
    client_note(c, e);
    if (c->kind == GET)
        c->seen[c->key] = e == ERR_OK ? c->value : 0;
    else if (c->kind != DELETE && e == ERR_OK) {
        c->seen[c->key] = c->value;
        c->etags[c->key] = c->put.info.etag;
    }
    source_close(c->body);
    c->body = NULL;
    arena_release(&c->arena);
    client_next(c);
}

static void client_read(struct call *call)
{
    struct client *c = CONTAINER(call, struct client, call);

    source_close(c->get.body);
    if (call->err == ERR_OK) {
        c->bytes[c->n < sizeof(c->bytes) ? c->n : 0] = 0;
        c->value = strtoull(c->bytes, NULL, 10);
        c->etags[c->key] = c->get.head.info.etag;
    }
    client_end(c, call->err);
}

static void client_done(struct call *call)
{
    struct client *c = CONTAINER(call, struct client, call);

    if (call->err == ERR_STALE_EPOCH && c->tries++ < TRIES) {
        map_release(c->map);
        c->map = map_hold(red.newest);
        client_send(c);
        return;
    }
    if (c->kind == GET && call->err == ERR_OK) {
        call_begin(&c->call, loop, client_read);
        source_fill(&c->fill, c->get.body, c->bytes, sizeof(c->bytes), &c->n, &c->call);
        return;
    }
    client_end(c, call->err == ERR_STALE_EPOCH ? ERR_UNAVAILABLE : call->err);
}

static void client_put(struct client *c, struct red_test_node *to)
{
    source_close(c->body);
    c->body = source_memory(str_z(c->bytes), NULL, NULL);
    c->check = (struct body_check){0};
    c->put_req = (struct obj_put_req){.arena = &c->arena,
                                      .bucket = red.bucket,
                                      .key = key_of(c->key),
                                      .cond = COND_INIT,
                                      .body = c->body,
                                      .check = &c->check,
                                      .size_max = 1000};
    if (c->kind == SWAP && c->seen[c->key])
        c->put_req.cond.if_match = etag_str(&c->etags[c->key]);
    else if (c->kind == SWAP)
        c->put_req.cond.if_none_match = STR("*");
    red_hop(to, c->map, red_ask_obj_put, &c->put_req, &c->put, &c->call);
}

static void client_send(struct client *c)
{
    struct str key = key_of(c->key);
    struct map_members s;
    struct red_test_node *to;

    map_members(c->map, red.bucket.uid, key, redundancy_width(red.bucket.redundancy), &s);
    assert_true(s.lead >= 0);
    to = red_node(c->map->nodes[s.nodes[s.lead]].id);
    call_begin(&c->call, loop, client_done);
    if (to->cut && c->left % 2) { /* half of them can't reach it either */
        call_finish(&c->call, ERR_UNAVAILABLE);
    } else if (c->kind == GET) {
        c->get_req = (struct obj_get_req){{.arena = &c->arena, .bucket = red.bucket, .key = key, .cond = COND_INIT}};
        red_hop(to, c->map, red_ask_obj_get, &c->get_req, &c->get, &c->call);
    } else if (c->kind == DELETE) {
        c->delete_req =
            (struct obj_delete_req){.arena = &c->arena, .bucket = red.bucket, .key = key, .cond = COND_INIT};
        red_hop(to, c->map, red_ask_obj_delete, &c->delete_req, &c->delete, &c->call);
    } else {
        client_put(c, to);
    }
}

static void client_next(struct client *c)
{
    static const enum kind kinds[] = {PUT, PUT, PUT, GET, GET, GET, DELETE, SWAP, SWAP};

    if (c->left == 0) {
        running--;
        return;
    }
    c->left--;
    tick();
    c->tries = 0;
    c->key = (unsigned)red_random(KEYS);
    c->kind = kinds[red_random(sizeof(kinds) / sizeof(kinds[0]))];
    c->value = c->kind == PUT || c->kind == SWAP ? ++last_value : 0;
    snprintf(c->bytes, sizeof(c->bytes), "%llu", (unsigned long long)c->value);
    c->begin = ++now;
    if (red_random(4) == 0) {
        map_release(c->map);
        c->map = map_hold(red.newest);
    }
    client_send(c);
}

/* ---- the judge: for each read, a write that may be the last before it ---- */

static bool explains(const struct event *h, unsigned n, const struct event *r, const struct event *w)
{
    if (w->begin > r->end)
        return false;
    for (unsigned i = 0; i < n; i++) {
        const struct event *x = &h[i];
        if (!x->is_read && x->begin > w->end && x->end < r->begin)
            return false; /* overwritten for certain */
        if (x->is_read && x->value != w->value && x->end < r->begin && x->begin > w->end && w->end != UINT64_MAX) {
            /* another value was seen in between: its write must be able to come before w, or there is a rewrite */
            bool can = false;
            for (unsigned j = 0; j < n && !can; j++)
                can = !h[j].is_read && h[j].value == x->value && h[j].begin < w->end;
            if (!can)
                return false;
        }
    }
    return true;
}

/* A value that was seen, and then another one, doesn't come back: even when its writer was told nothing. */
static bool comes_back(const struct event *h, unsigned n, const struct event *r)
{
    const struct event *other = NULL;

    if (r->value == 0)
        return false;
    for (unsigned i = 0; i < n; i++) {
        const struct event *x = &h[i];
        if (!x->is_read || x->value != r->value || x->end >= r->begin)
            continue;
        for (unsigned j = 0; j < n && !other; j++)
            if (h[j].is_read && h[j].value != r->value && h[j].begin > x->end && h[j].end < r->begin)
                other = &h[j];
    }
    return other != NULL;
}

static void judge_key(unsigned k)
{
    const struct event *h = history[k];
    unsigned n = counts[k];

    for (unsigned i = 0; i < n; i++) {
        bool fine = false;
        for (unsigned j = 0; j < n && h[i].before; j++) /* acknowledged swaps */
            if (j != i && h[j].before == h[i].before && h[i].end != UINT64_MAX && h[j].end != UINT64_MAX)
                fail_msg("key %u: value %llu was replaced twice", k, (unsigned long long)h[i].before);
        if (!h[i].is_read)
            continue;
        for (unsigned j = 0; j < n && !fine; j++)
            fine = !h[j].is_read && h[j].value == h[i].value && explains(h, n, &h[i], &h[j]);
        if (!fine || comes_back(h, n, &h[i]))
            fail_msg("key %u: value %llu read at %llu..%llu %s", k, (unsigned long long)h[i].value,
                     (unsigned long long)h[i].begin, (unsigned long long)h[i].end, fine ? "is back" : "is wrong");
    }
}

/* ---- the scan of a term, beside the clients ---- */

static struct scan {
    struct call call;
    struct arena arena;
    struct redundant_settle_req req;
    struct redundant_settle_res res;
    uint64_t term;
    unsigned node, key, scans;
    bool active;
} scan;

static void scan_go(void);

static void scan_over(void)
{
    const struct map *next;

    scan.active = false;
    if (scan.term != red.newest->term)
        return;
    for (unsigned i = 0; i < red.count; i++)
        if (!red.nodes[i].cut)
            redundant_clean(red.nodes[i].redundant, scan.term);
    scan.scans++;
    if (map_settled(red.newest, &next) == ERR_OK)
        red_publish(next);
}

static void scan_done(struct call *c)
{
    arena_release(&scan.arena);
    if (scan.term != red.newest->term || c->err != ERR_OK) {
        scan.active = false; /* from the beginning */
        return;
    }
    scan.key++;
    scan_go();
}

static bool is_left_out(const struct red_test_node *n)
{
    int at = map_find(red.newest, str_z(n->id));

    return at < 0 || red.newest->nodes[at].sync == SYNC_OUT;
}

static void scan_go(void)
{
    if (scan.key == KEYS) {
        scan.key = 0;
        scan.node++;
    }
    while (scan.node < red.count && is_left_out(&red.nodes[scan.node]))
        scan.node++;
    if (scan.node == red.count) {
        scan_over();
        return;
    }
    if (red.nodes[scan.node].cut) { /* the term doesn't end without it */
        scan.active = false;
        return;
    }
    red_learn(&red.nodes[scan.node]);
    scan.req = (struct redundant_settle_req){.arena = &scan.arena, .bucket = red.bucket, .key = key_of(scan.key)};
    call_begin(&scan.call, loop, scan_done);
    redundant_settle(red.nodes[scan.node].serves, &scan.req, &scan.res, &scan.call);
}

static void scan_begin(void)
{
    static uint64_t done;

    if (scan.active ||
        (done == red.newest->term && scan.term == done && red.newest->moving_since == 0 && red_random(8)))
        return;
    done = red.newest->term;
    scan = (struct scan){.term = done, .active = true, .scans = scan.scans};
    scan_go();
}

/* ---- what happens to the nodes ---- */

struct plan {
    unsigned spare; /* nodes that may be away at a time */
    bool grows;
};
static struct plan plan;
static unsigned outs, backs, joins;

static unsigned away(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < red.count; i++)
        n += map_find(red.newest, str_z(red.nodes[i].id)) >= 0 &&
             (red.nodes[i].cut || red.newest->nodes[map_find(red.newest, str_z(red.nodes[i].id))].sync != SYNC_IN);
    return n;
}

static void weigh(struct red_test_node *n)
{
    int at = map_find(red.newest, str_z(n->id));
    struct map_node node = red.newest->nodes[at];
    const struct map *next;

    node.weight = 50 + (uint32_t)red_random(200);
    if (map_update(red.newest, &node, &next) == ERR_OK)
        red_publish(next);
}

static void happen(struct red_test_node *n)
{
    int at = map_find(red.newest, str_z(n->id));

    if (at < 0) {
        if (plan.grows && red_random(20) == 0) {
            red_add((unsigned)(n - red.nodes));
            joins++;
        }
        return;
    }
    enum node_sync sync = red.newest->nodes[at].sync;
    if (!n->cut && sync == SYNC_OUT) { /* missed while it was reachable again */
        red_back(n);
    } else if (!n->cut && away() < plan.spare && red_random(4) == 0) {
        n->cut = true;
    } else if (n->cut && n->alive && red_random(3) == 0) {
        outs += red_out(n);
    } else if (n->cut && red_random(3) == 0) {
        red_back(n);
        backs++;
    } else if (!n->cut && plan.grows && red_random(30) == 0) {
        weigh(n);
    }
}

static void tick(void)
{
    struct red_test_node *n = &red.nodes[red_random(red.count)];

    if (!n->cut && red_random(3) == 0)
        red_learn(n);
    n = &red.nodes[red_random(red.count)];
    if (red_random(12) == 0)
        happen(n);
    if (red_random(20) == 0)
        n->lost = 1;
    if (red_random(20) == 0)
        n->refuse = 1;
    if (red_random(10) == 0)
        scan_begin();
}

/* ---- the end: all are there again ---- */

static bool same(unsigned k)
{
    struct str key = key_of(k);
    struct map_members s = red_members(key);
    char first[64] = "";

    snprintf(first, sizeof(first), "%s", red_has(red_at(s.nodes[0]), key));
    for (unsigned i = 0; i < red.count; i++) {
        bool member = false;
        for (size_t m = 0; m < s.count; m++)
            member |= red_at(s.nodes[m]) == &red.nodes[i];
        if (strcmp(red_has(&red.nodes[i], key), member ? first : "") != 0) {
            print_error("node %u (%s) has \"%s\", not \"%s\"\n", i, member ? "member" : "none",
                        red_has(&red.nodes[i], key), member ? first : "");
            return false;
        }
    }
    return true;
}

static void heal(void)
{
    struct str keys[KEYS];

    for (unsigned i = 0; i < red.count; i++) {
        struct red_test_node *n = &red.nodes[i];
        n->lost = n->refuse = 0;
        if (map_find(red.newest, str_z(n->id)) >= 0)
            red_back(n);
    }
    red_learn_all();
    for (unsigned k = 0; k < KEYS; k++)
        keys[k] = key_of(k);
    for (unsigned i = 0; i < 5; i++) /* a move may have waited for another */
        assert_true(red_scan(keys, KEYS));
    for (unsigned k = 0; k < KEYS; k++) {
        const char *text = red_get(NULL, keys[k]);
        assert_true(text[0] != '!');
        history[k][counts[k]++] =
            (struct event){.is_read = true, .value = strtoull(text, NULL, 10), .begin = ++now, .end = ++now};
    }
}

static void run(uint64_t seed, unsigned width, unsigned nodes, struct plan p)
{
    static struct client clients[CLIENTS];

    plan = p;
    now = 1;
    scan = (struct scan){0};
    red_open(loop, p.grows ? nodes + 2 : nodes, nodes, (struct redundancy){REDUNDANCY_REPLICAS, (uint8_t)width, 0},
             seed);
    red.delays = true;
    for (int k = 0; k < KEYS; k++) {
        history[k] = mem_new(EVENTS_MAX * sizeof(*history[k]));
        counts[k] = 1;
    }
    running = CLIENTS;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.left = 400, .map = map_hold(red.newest)};
        client_next(&clients[i]);
    }
    for (unsigned turns = 0; running || scan.active; turns++) {
        loop_turn(loop, 0);
        if (turns > 5000000)
            fail_msg("seed %llu hangs", (unsigned long long)seed);
    }
    heal();
    for (unsigned k = 0; k < KEYS; k++) {
        judge_key(k);
        if (!same(k))
            fail_msg("key %u: members differ in the end, seed %llu", k, (unsigned long long)seed);
    }
    for (int i = 0; i < CLIENTS; i++)
        map_release(clients[i].map);
    for (int k = 0; k < KEYS; k++)
        free(history[k]);
    red_close();
}

static unsigned rounds(void)
{
    const char *s = getenv("SLUICE_ROUNDS");

    return s ? (unsigned)strtoul(s, NULL, 10) : 12;
}

static void every_answer_is_right_while_nodes_go_and_come(void **state)
{
    (void)state;
    answered = unavailable = outs = backs = joins = 0;
    for (uint64_t i = 1; i <= rounds(); i++)
        run(i, 3, 4, (struct plan){.spare = 1});
    assert_true(answered > unavailable && outs > 10 && backs > 10);
}

static void every_answer_is_right_with_two_copies(void **state)
{
    (void)state;
    for (uint64_t i = 100; i < 100 + rounds(); i++)
        run(i, 2, 4, (struct plan){.spare = 1});
}

static void every_answer_is_right_while_keys_move(void **state)
{
    (void)state;
    answered = unavailable = outs = backs = joins = 0;
    for (uint64_t i = 200; i < 200 + rounds(); i++)
        run(i, 3, 4, (struct plan){.spare = 1, .grows = true});
    assert_true(joins > 5);
}

static void every_answer_is_right_when_too_many_are_away(void **state)
{
    (void)state;
    for (uint64_t i = 300; i < 300 + rounds(); i++)
        run(i, 2, 4, (struct plan){.spare = 3, .grows = i % 2});
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_right_while_nodes_go_and_come),
        cmocka_unit_test(every_answer_is_right_with_two_copies),
        cmocka_unit_test(every_answer_is_right_while_keys_move),
        cmocka_unit_test(every_answer_is_right_when_too_many_are_away),
    };

    hash_setup();
    log_setup(LOG_WARN, false);
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
