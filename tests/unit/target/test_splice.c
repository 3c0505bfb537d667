#include "unit.h"

#include "local_fixture.h"

#include <unistd.h>

#include "target/engine.h"
#include "target/fsck.h"
#include "target/local_verify.h"
#include "target/splice_plan.h"

/* Objects that share content in all ways that there are, against what they should hold. */
enum { KEYS = 5, PART = 5 << 20, LARGE = 40000 };

static struct model {
    bool there;
    char *p;
    size_t n;
} model[KEYS];
static uint64_t seed;

static int setup(void **state)
{
    struct local_fixture *f = fixture_new(1);

    f->conf.durability = DURABILITY_ASYNC;
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct local_fixture *f = *state;

    fixture_close(f);
    fixture_free(f);
    for (int i = 0; i < KEYS; i++)
        free(model[i].p);
    memset(model, 0, sizeof(model));
    return 0;
}

static const char *key_of(int i)
{
    static const char *const keys[KEYS] = {"a", "b", "c", "d", "e"};

    return keys[i];
}

static uint64_t dice(uint64_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (seed >> 33) % n;
}

static enum err t_splice(struct local_fixture *f, const char *key, uint64_t offset, uint64_t cut, struct str bytes)
{
    struct body_check check = {0};
    struct source *body = source_memory(bytes, NULL, NULL);
    struct obj_splice_req req = {.arena = &f->arena,
                                 .bucket = {1, STR("bucket"), f->redundancy},
                                 .key = str_z(key),
                                 .cond = cond_none(),
                                 .offset = offset,
                                 .cut = cut,
                                 .body = body,
                                 .check = &check,
                                 .size_max = OBJECT_SIZE_MAX};
    struct obj_splice_res res;
    struct waiting w;

    store_obj_splice(f->store, &req, &res, wait_begin(f, &w));
    enum err e = wait_end(f, &w);
    source_close(body);
    return e;
}

static void model_splice(struct model *m, size_t offset, size_t cut, const char *p, size_t n)
{
    char *now = mem_alloc(m->n - cut + n + 1);

    if (m->p)
        memcpy(now, m->p, offset);
    memcpy(now + offset, p, n);
    if (m->p)
        memcpy(now + offset + n, m->p + offset + cut, m->n - offset - cut);
    free(m->p);
    m->p = now;
    m->n = m->n - cut + n;
}

static void do_put(struct local_fixture *f, int i)
{
    static const size_t sizes[] = {0, 500, 30000, 200000, 1500000};
    size_t n = sizes[dice(5)];
    char *p = test_content(n + 1, seed);

    assert_int_equal(t_put(f, 1, key_of(i), str_n(p, n)), ERR_OK);
    free(model[i].p);
    model[i] = (struct model){true, p, n};
}

static void do_multipart(struct local_fixture *f, int i)
{
    static const size_t sizes[] = {PART, 70000};
    char *p = test_content(PART + 70000, seed);

    assert_int_equal(t_multipart(f, 1, key_of(i), p, sizes, 2), ERR_OK);
    free(model[i].p);
    model[i] = (struct model){true, p, PART + 70000};
}

static void do_copy(struct local_fixture *f, int i)
{
    int to = (int)dice(KEYS);

    if (!model[i].there || to == i)
        return;
    assert_int_equal(t_copy(f, 1, key_of(i), key_of(to)), ERR_OK);
    free(model[to].p);
    model[to] = (struct model){true, NULL, 0};
    model_splice(&model[to], 0, 0, model[i].p, model[i].n);
}

static void do_splice(struct local_fixture *f, int i)
{
    struct model *m = &model[i];
    size_t offset = dice(3) ? m->n : dice(m->n + 1), cut = m->n > offset ? dice(m->n - offset + 1) : 0;
    size_t n = dice(4) ? dice(3000) : dice(150000);
    char *p = test_content(n + 1, seed);

    if (dice(4) == 0 && m->n > 1024) { /* as of a TAR: behind the last member, in place of the trailer */
        offset = m->n - 1024;
        cut = 1024;
    }
    enum err e = t_splice(f, key_of(i), offset, cut, str_n(p, n));
    assert_int_equal(e, m->there ? ERR_OK : ERR_NO_SUCH_KEY);
    if (m->there)
        model_splice(m, offset, cut, p, n);
    free(p);
}

static void do_delete(struct local_fixture *f, int i)
{
    assert_int_equal(t_delete(f, 1, key_of(i), NULL), ERR_OK);
    free(model[i].p);
    model[i] = (struct model){false};
}

static void play(struct local_fixture *f, int steps)
{
    for (int s = 0; s < steps; s++) {
        int i = (int)dice(KEYS);
        switch (dice(20)) {
        case 0:
            do_put(f, i);
            break;
        case 1:
            if (dice(3) == 0)
                do_multipart(f, i);
            break;
        case 2:
            do_delete(f, i);
            break;
        case 3:
        case 4:
            do_copy(f, i);
            break;
        default:
            do_splice(f, i);
        }
        arena_release(&f->arena);
    }
}

static void expect_all(struct local_fixture *f, size_t least)
{
    for (int i = 0; i < KEYS; i++) {
        struct local_verify_req req = {.arena = &f->arena, .bucket = {1, STR("bucket")}, .key = str_z(key_of(i))};
        struct local_verify_res res;
        struct obj_head_res head;
        struct waiting w;
        if (model[i].there && model[i].n >= least) {
            assert_true(t_holds(f, 1, key_of(i), str_n(model[i].p, model[i].n)));
            local_verify(f->local, &req, &res, wait_begin(f, &w));
            assert_int_equal(wait_end(f, &w), ERR_OK);
        } else if (!model[i].there && !least) {
            assert_int_equal(t_head(f, 1, key_of(i), &head), ERR_NO_SUCH_KEY);
        }
    }
}

/* The report goes to stdout only when it finds something. */
static enum err fsck(struct local_fixture *f, bool rebuild)
{
    const struct fsck_options o = {f->mountpaths, f->conf.mountpath_count, rebuild, false};

    return fsck_run(&o);
}

static void nothing_is_lost_or_left(void **state)
{
    struct local_fixture *f = *state;

    for (int round = 0; round < 6; round++) {
        seed = (uint64_t)round + 1;
        play(f, 150);
        expect_all(f, 0);
        mountpath_drain(fixture_disk(f, 0));
        fixture_close(f);
        assert_int_equal(fsck(f, false), ERR_OK);
        fixture_open(f);
        expect_all(f, 0);
    }
    for (int i = 0; i < KEYS; i++)
        do_delete(f, i);
    mountpath_drain(fixture_disk(f, 0));
    char path[400];
    snprintf(path, sizeof(path), "%s/segments", f->paths[0]);
    for (int i = 0; i < 100 && test_files_below(path); i++)
        usleep(20000); /* what a reader held is removed a little later */
    assert_int_equal(test_files_below(path), 0);
}

static void a_lost_index_is_rebuilt(void **state)
{
    struct local_fixture *f = *state;
    char line[800];

    for (int round = 0; round < 4; round++) {
        seed = (uint64_t)round + 100;
        for (int i = 0; i < KEYS; i++)
            do_put(f, i);
        play(f, 120);
        mountpath_drain(fixture_disk(f, 0));
        fixture_close(f);
        snprintf(line, sizeof(line), "rm -r %s/index", f->paths[0]);
        assert_int_equal(system(line), 0);
        assert_int_equal(fsck(f, true), ERR_OK);
        assert_int_equal(fsck(f, false), ERR_OK);
        fixture_open(f);
        expect_all(f, LARGE);
        for (int i = 0; i < KEYS; i++) { /* counts are right again */
            do_delete(f, i);
            expect_all(f, LARGE);
        }
    }
}

/* ---- a splice whose body comes late, of an object that is replaced meanwhile ---- */

struct late {
    struct source source;
    struct call *reader;
    size_t *n;
    bool given;
};

static void late_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct late *l = CONTAINER(s, struct late, source);

    assert_true(len > 0);
    *n = 0;
    if (l->given) {
        call_finish(c, ERR_OK);
        return;
    }
    memset(buf, 'x', 1);
    l->reader = c;
    l->n = n;
}

static void late_give(struct late *l)
{
    l->given = true;
    *l->n = 1;
    call_finish(l->reader, ERR_OK);
}

static void late_close(struct source *s)
{
    (void)s;
}

static void the_slower_one_is_told(void **state)
{
    static const struct source_ops ops = {.name = "late", .read = late_read, .close = late_close};
    struct local_fixture *f = *state;
    size_t size = 200000, piece = 20000;
    char *p = test_content(size, 7);

    assert_int_equal(t_put(f, 1, "k", str_n(p, size)), ERR_OK);
    for (int i = 0; i < 60; i++) {
        struct body_check check = {0};
        struct late late = {.source = {&ops, 1}};
        struct obj_splice_req req = {.arena = &f->arena,
                                     .bucket = {1, STR("bucket"), f->redundancy},
                                     .key = STR("k"),
                                     .cond = cond_none(),
                                     .body = &late.source,
                                     .check = &check,
                                     .size_max = OBJECT_SIZE_MAX};
        struct obj_splice_res res;
        struct waiting w;
        assert_int_equal(t_splice(f, "k", size, 0, str_n(p, piece)), ERR_OK);
        req.offset = size += piece;
        store_obj_splice(f->store, &req, &res, wait_begin(f, &w));
        while (!late.reader)
            loop_turn(f->loop, 1000);
        /* the last piece goes, the others stay, of which the slow one makes one every now and then */
        assert_int_equal(t_splice(f, "k", size - piece, piece, str_n(p, piece)), ERR_OK);
        mountpath_drain(fixture_disk(f, 0));
        late_give(&late);
        assert_int_equal(wait_end(f, &w), ERR_CONFLICT);
        arena_release(&f->arena);
    }
    free(p);
}

/* ---- how many pieces, and how often bytes are written anew ---- */

static struct hot *hot_of(const struct splice_pieces *pieces, uint64_t size)
{
    struct buf raw = BUF_INIT(RECORD_MAX), manifest = BUF_INIT(SEGMENT_DESC_MAX);
    struct record r = {.info.size = size, .kind = BODY_MANIFEST};
    struct hot *h;
    uint64_t end = 0;

    segment_id_new(&r.body);
    etag_from_md5(&r.info.etag, (const uint8_t *)"0123456789abcdef");
    manifest_begin_pieces(&manifest, (uint32_t)pieces->count);
    for (size_t i = 0; i < pieces->count; i++)
        manifest_add_piece(&manifest, &(struct manifest_part){.end = end += pieces->list[i].len,
                                                              .offset = pieces->list[i].offset,
                                                              .segment = pieces->list[i].id});
    assert_int_equal(record_encode(&raw, &r), ERR_OK);
    assert_int_equal(hot_new(STR("k"), buf_str(&raw), buf_str(&manifest), &h), ERR_OK);
    buf_release(&raw);
    buf_release(&manifest);
    return h;
}

struct simulated {
    struct hot *hot;
    uint64_t size, copied;
    size_t pieces, most;
};

static void simulate(struct simulated *s, uint64_t offset, uint64_t cut, uint64_t body)
{
    struct splice_plan p;
    struct segment_id fresh;
    struct extent at = {.len = body};

    assert_int_equal(splice_plan_init(&p, s->hot, offset, cut), ERR_OK);
    splice_plan_decide(&p, body);
    assert_false(p.whole);
    segment_id_new(&fresh);
    segment_id_new(&at.id);
    s->copied += p.merge_to - p.merge_from;
    assert_int_equal(splice_plan_finish(&p, &at, p.merge_to > p.merge_from ? &fresh : NULL), ERR_OK);
    hot_unref(s->hot);
    s->size += body - cut;
    s->hot = hot_of(&p.pieces, s->size);
    s->pieces = p.pieces.count;
    if (s->pieces > s->most)
        s->most = s->pieces;
    splice_plan_release(&p);
}

static void appends_cost_what_they_append(void **state)
{
    struct extent first = {.len = 1 << 30};
    struct splice_pieces one = {&first, 1, 1};
    struct simulated s = {.size = first.len};
    uint64_t appended = 0;

    (void)state;
    segment_id_new(&first.id);
    s.hot = hot_of(&one, s.size);
    for (int i = 0; i < 20000; i++) {
        simulate(&s, s.size - 1024, 1024, 10240);
        appended += 10240;
    }
    hot_unref(s.hot);
    assert_true(s.most < 100);
    assert_true(s.copied < 6 * appended);
}

static void cuts_all_over_stay_bounded(void **state)
{
    struct extent first = {.len = UINT64_C(1) << 30};
    struct splice_pieces one = {&first, 1, 1};
    struct simulated s = {.size = first.len};

    (void)state;
    segment_id_new(&first.id);
    s.hot = hot_of(&one, s.size);
    seed = 5;
    for (int i = 0; i < 5000; i++)
        simulate(&s, dice(s.size - 5000), 4096, 1000);
    hot_unref(s.hot);
    assert_true(s.most <= SPLICE_PIECES + 2);
    assert_true(s.copied / 5000 < (1 << 20)); /* a thousandth of the object each time, about */
}

static void damaged_lists_are_refused(void **state)
{
    struct extent list[2] = {{.len = 100}, {.len = 100}};
    struct splice_pieces two = {list, 2, 2};
    struct manifest m;

    (void)state;
    segment_id_new(&list[0].id);
    segment_id_new(&list[1].id);
    struct hot *h = hot_of(&two, 200);
    char *p = mem_alloc(h->body.n);
    memcpy(p, h->body.p, h->body.n);
    assert_int_equal(manifest_decode(str_n(p, h->body.n), &m), ERR_OK);
    assert_true(m.pieces && m.count == 2);
    assert_int_equal(manifest_decode(str_n(p, h->body.n - 1), &m), ERR_CORRUPT);
    p[8 + 8] = (char)0x7f; /* begins beyond what a segment can hold */
    assert_int_equal(manifest_decode(str_n(p, h->body.n), &m), ERR_CORRUPT);
    memcpy(p, h->body.p, h->body.n);
    p[8 + 7] = (char)250; /* ends behind the next one */
    assert_int_equal(manifest_decode(str_n(p, h->body.n), &m), ERR_CORRUPT);
    memcpy(p, h->body.p, h->body.n);
    memset(p + 8 + 16, 0, SEGMENT_ID_LEN);
    assert_int_equal(manifest_decode(str_n(p, h->body.n), &m), ERR_CORRUPT);
    free(p);
    hot_unref(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost_or_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_index_is_rebuilt, setup, teardown),
        cmocka_unit_test_setup_teardown(the_slower_one_is_told, setup, teardown),
        cmocka_unit_test(appends_cost_what_they_append),
        cmocka_unit_test(cuts_all_over_stay_bounded),
        cmocka_unit_test(damaged_lists_are_refused),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
