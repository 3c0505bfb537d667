#include "unit.h"

#include "local_fixture.h"

#include <sys/wait.h>

#include "target/gc.h"

static int setup(void **state)
{
    struct local_fixture *f = fixture_new(2);

    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct local_fixture *f = *state;

    fixture_close(f);
    fixture_free(f);
    return 0;
}

static int files(struct local_fixture *f)
{
    char path[400];
    int n = 0;

    for (size_t i = 0; i < f->conf.mountpath_count; i++) {
        mountpath_drain(fixture_disk(f, i));
        snprintf(path, sizeof(path), "%s/segments", f->paths[i]);
        n += test_files_below(path);
    }
    return n;
}

static void objects_round_trip_in_any_size(void **state)
{
    static const size_t sizes[] = {0, 1, 4096, 16384, 16385, 1 << 20, (3 << 20) + 17};
    struct local_fixture *f = *state;

    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            char key[32], *p = test_content(sizes[i], i);
            snprintf(key, sizeof(key), "dir/%zu", i);
            if (pass == 0)
                assert_int_equal(t_put(f, 1, key, str_n(p, sizes[i])), ERR_OK);
            assert_true(t_holds(f, 1, key, str_n(p, sizes[i])));
            assert_true(t_holds(f, 1, key, str_n(p, sizes[i])));
            free(p);
            arena_release(&f->arena);
        }
        if (pass == 0)
            assert_int_equal(files(f), 3);
        fixture_reopen(f);
    }
}

static void overwrites_and_deletes_leave_no_files(void **state)
{
    struct local_fixture *f = *state;
    char *p = test_content(100000, 1);
    struct obj_head_res head;
    bool existed = false;

    assert_int_equal(t_put(f, 1, "k", str_n(p, 100000)), ERR_OK);
    assert_int_equal(t_put(f, 1, "k", str_n(p, 90000)), ERR_OK);
    assert_true(t_holds(f, 1, "k", str_n(p, 90000)));
    assert_int_equal(files(f), 1);
    assert_int_equal(t_put(f, 1, "k", STR("small")), ERR_OK);
    assert_true(t_holds(f, 1, "k", STR("small")));
    assert_int_equal(files(f), 0);
    assert_int_equal(t_put(f, 1, "k", str_n(p, 90000)), ERR_OK);
    assert_int_equal(t_delete(f, 1, "k", &existed), ERR_OK);
    assert_true(existed);
    assert_int_equal(t_head(f, 1, "k", &head), ERR_NO_SUCH_KEY);
    assert_int_equal(t_delete(f, 1, "k", &existed), ERR_OK);
    assert_false(existed);
    assert_int_equal(files(f), 0);
    free(p);
}

static void ranges_come_from_the_right_place(void **state)
{
    static const struct {
        struct range range;
        size_t offset, len;
    } cases[] = {
        {{RANGE_FROM_TO, 0, 0}, 0, 1},          {{RANGE_FROM_TO, 1000, 1999}, 1000, 1000},
        {{RANGE_FROM, 70000, 0}, 70000, 10000}, {{RANGE_LAST, 0, 5}, 79995, 5},
        {{RANGE_LAST, 0, 1000000}, 0, 80000},
    };
    struct local_fixture *f = *state;
    char *p = test_content(80000, 7);
    struct str got;

    assert_int_equal(t_put(f, 1, "k", str_n(p, 80000)), ERR_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(t_get_range(f, 1, "k", cases[i].range, &got), ERR_OK);
        assert_true(str_eq(got, str_n(p + cases[i].offset, cases[i].len)));
    }
    assert_int_equal(t_get_range(f, 1, "k", (struct range){RANGE_FROM, 80000, 0}, &got), ERR_INVALID_RANGE);
    free(p);
}

static void attributes_survive(void **state)
{
    struct local_fixture *f = *state;
    const struct attr attrs[] = {{STR("content-type"), STR("text/plain")},
                                 {STR("x-amz-meta-a"), STR("1")},
                                 {STR("x-amz-storage-class"), STR("STANDARD_IA")}};
    struct obj_put_req req = {.bucket = {1, STR("bucket")},
                              .key = STR("k"),
                              .cond = cond_none(),
                              .info = {.attrs = attrs, .attr_count = 3, .tags = STR("a=b")}};
    struct obj_put_res res;
    struct obj_head_res head;

    assert_int_equal(t_put_full(f, &req, &res), ERR_OK);
    assert_true(str_eq(etag_str(&res.info.etag), STR("d41d8cd98f00b204e9800998ecf8427e")));
    fixture_reopen(f);
    assert_int_equal(t_head(f, 1, "k", &head), ERR_OK);
    assert_int_equal(head.info.attr_count, 3);
    assert_true(str_eq(head.info.attrs[1].name, STR("x-amz-meta-a")));
    assert_true(str_eq(head.info.attrs[2].value, STR("STANDARD_IA")));
    assert_true(str_eq(head.info.tags, STR("a=b")));
    assert_int_equal(head.info.size, 0);
    assert_int_equal(head.info.checksum.digest.alg, HASH_CRC64NVME);
}

static void of_many_creators_one_wins(void **state)
{
    enum { N = 16 };
    struct local_fixture *f = *state;
    struct obj_put_req req[N];
    struct obj_put_res res[N];
    struct body_check check[N] = {0};
    struct waiting w[N];
    char content[N][40];
    int won = -1;

    for (int i = 0; i < N; i++) {
        snprintf(content[i], sizeof(content[i]), "writer %d", i);
        req[i] = (struct obj_put_req){.arena = &f->arena,
                                      .bucket = {1, STR("bucket")},
                                      .key = STR("lock"),
                                      .cond = cond_none(),
                                      .body = source_memory(str_z(content[i]), NULL, NULL),
                                      .check = &check[i],
                                      .size_max = 1000};
        req[i].cond.if_none_match = STR("*");
        store_obj_put(f->store, &req[i], &res[i], wait_begin(f, &w[i]));
    }
    for (int i = 0; i < N; i++) {
        enum err e = wait_end(f, &w[i]);
        source_close(req[i].body);
        if (e == ERR_OK) {
            assert_int_equal(won, -1);
            won = i;
        } else {
            assert_int_equal(e, ERR_PRECONDITION);
        }
    }
    assert_in_range(won, 0, N - 1);
    assert_true(t_holds(f, 1, "lock", str_z(content[won])));
}

static void a_failing_body_leaves_nothing(void **state)
{
    struct local_fixture *f = *state;
    char *p = test_content(200000, 3);
    struct body_check check = {.want_count = 1, .want = {{{.alg = HASH_MD5, .n = 16}, ERR_BAD_DIGEST}}};
    struct source *body = source_memory(str_n(p, 200000), NULL, NULL);
    struct obj_put_req req = {
        .bucket = {1, STR("bucket")}, .key = STR("k"), .cond = cond_none(), .body = body, .check = &check};
    struct obj_put_res res;
    struct obj_head_res head;

    assert_int_equal(t_put_full(f, &req, &res), ERR_BAD_DIGEST);
    source_close(body);
    assert_int_equal(t_head(f, 1, "k", &head), ERR_NO_SUCH_KEY);
    assert_int_equal(files(f), 0);
    free(p);
}

#ifndef __SANITIZE_THREAD__ /* which can't start threads after fork() */
static void what_was_acknowledged_survives_a_killed_process(void **state)
{
    struct local_fixture *f = *state;
    char *p = test_content(50000, 9);

    fixture_close(f);
    for (int async = 0; async < 2; async++) {
        char small[32], large[32];
        snprintf(small, sizeof(small), "small%d", async);
        snprintf(large, sizeof(large), "large%d", async);
        pid_t pid = fork();
        if (pid == 0) {
            f->conf.durability = async ? DURABILITY_ASYNC : DURABILITY_SYNC;
            fixture_open(f);
            int bad = t_put(f, 1, small, STR("tiny")) != ERR_OK || t_put(f, 1, large, str_n(p, 50000)) != ERR_OK;
            _exit(bad);
        }
        int status = -1;
        waitpid(pid, &status, 0);
        assert_int_equal(status, 0);
    }
    fixture_open(f);
    assert_true(t_holds(f, 1, "small0", STR("tiny")));
    assert_true(t_holds(f, 1, "small1", STR("tiny")));
    assert_true(t_holds(f, 1, "large0", str_n(p, 50000)));
    assert_true(t_holds(f, 1, "large1", str_n(p, 50000)));
    free(p);
}
#endif

static int setup_one(void **state)
{
    struct local_fixture *f = fixture_new(1);

    fixture_open(f);
    gc_settle(f->local->gc);
    *state = f;
    return 0;
}

static void copies_share_segments_until_the_last_is_gone(void **state)
{
    enum { PART = 5 << 20 };
    static const size_t sizes[] = {PART, PART, 12345};
    struct local_fixture *f = *state;
    char *p = test_content(2 * PART + 12345, 5);
    struct str whole = str_n(p, 2 * PART + 12345), large = str_n(p, 100000);

    assert_int_equal(t_put(f, 1, "large", large), ERR_OK);
    assert_int_equal(t_put(f, 1, "small", STR("s")), ERR_OK);
    assert_int_equal(t_multipart(f, 1, "multi", p, sizes, 3), ERR_OK);
    assert_int_equal(files(f), 1 + 4); /* a description belongs to the multipart object */
    assert_int_equal(t_copy(f, 1, "large", "large2"), ERR_OK);
    assert_int_equal(t_copy(f, 1, "small", "small2"), ERR_OK);
    assert_int_equal(t_copy(f, 1, "multi", "multi2"), ERR_OK);
    assert_int_equal(files(f), 5 + 2);
    for (int i = 0; i < 3; i++) { /* as chmod over s3fs does */
        assert_int_equal(t_copy(f, 1, "large", "large"), ERR_OK);
        assert_int_equal(t_copy(f, 1, "multi", "multi"), ERR_OK);
        assert_int_equal(t_copy(f, 1, "small", "small"), ERR_OK);
    }
    assert_int_equal(files(f), 7 + 1); /* the description of "large" is now one of its own */
    fixture_reopen(f);
    assert_int_equal(t_delete(f, 1, "large", NULL), ERR_OK);
    assert_int_equal(t_delete(f, 1, "small", NULL), ERR_OK);
    assert_int_equal(t_delete(f, 1, "multi", NULL), ERR_OK);
    assert_true(t_holds(f, 1, "large2", large));
    assert_true(t_holds(f, 1, "small2", STR("s")));
    assert_true(t_holds(f, 1, "multi2", whole));
    assert_int_equal(t_put(f, 1, "large2", STR("x")), ERR_OK);
    assert_int_equal(t_delete(f, 1, "small2", NULL), ERR_OK);
    assert_int_equal(t_put(f, 1, "multi2", STR("x")), ERR_OK);
    assert_int_equal(files(f), 0);
    free(p);
}

static void a_moved_object_is_at_its_new_key_alone(void **state)
{
    enum { PART = 5 << 20 };
    static const size_t sizes[] = {PART, 12345};
    struct local_fixture *f = *state;
    char *p = test_content(PART + 12345, 5);
    struct {
        const char *from, *to;
        struct str content;
    } all[] = {{"empty", "empty2", STR_NONE},
               {"small", "small2", STR("s")},
               {"large", "large2", str_n(p, 100000)},
               {"multi", "multi2", str_n(p, PART + 12345)}};
    bool moved;

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(t_put(f, 1, all[i].from, all[i].content), ERR_OK);
    assert_int_equal(t_multipart(f, 1, "multi", p, sizes, 2), ERR_OK);
    for (size_t i = 0; i < 4; i++) {
        struct str out;
        assert_int_equal(t_put(f, 1, all[i].to, STR("what is replaced")), ERR_OK);
        assert_int_equal(t_move(f, 1, all[i].from, all[i].to, &moved), ERR_OK);
        assert_true(moved);
        assert_int_equal(t_get(f, 1, all[i].from, &out), ERR_NO_SUCH_KEY);
        assert_true(t_holds(f, 1, all[i].to, all[i].content));
        assert_int_equal(t_copy(f, 1, all[i].to, "copy"), ERR_OK); /* onto one that has the same body */
        assert_int_equal(t_move(f, 1, all[i].to, "copy", &moved), ERR_OK);
        assert_true(moved && t_holds(f, 1, "copy", all[i].content));
        assert_int_equal(t_move(f, 1, "copy", all[i].to, &moved), ERR_OK);
    }
    fixture_reopen(f);
    for (size_t i = 0; i < 4; i++) {
        assert_true(t_holds(f, 1, all[i].to, all[i].content));
        assert_int_equal(t_delete(f, 1, all[i].to, NULL), ERR_OK);
    }
    assert_int_equal(files(f), 0);
    free(p);
}

static void orphans_go_and_everything_else_stays(void **state)
{
    enum { PART = 5 << 20 };
    static const size_t sizes[] = {PART, 1000};
    struct local_fixture *f = *state;
    struct mountpath *m = fixture_disk(f, 0);
    struct segment_staged staged;
    char *p = test_content(PART + 1000, 6);
    uint64_t removed = 0;

    assert_int_equal(t_put(f, 1, "large", str_n(p, 100000)), ERR_OK);
    assert_int_equal(t_multipart(f, 1, "multi", p, sizes, 2), ERR_OK);
    assert_int_equal(t_copy(f, 1, "large", "copy"), ERR_OK);
    assert_int_equal(segment_stage(m->segments, 0, &staged), ERR_OK);
    assert_int_equal(segment_write(&staged, p, 1000), ERR_OK);
    assert_int_equal(segment_seal(&staged, STR("?")), ERR_OK);
    assert_int_equal(files(f), 1 + 3 + 1 + 1);
    assert_int_equal(gc_pass(f->local, m, 3600, NULL, &removed), ERR_OK);
    assert_int_equal(removed, 0);
    assert_int_equal(gc_pass(f->local, m, 0, NULL, &removed), ERR_OK);
    assert_int_equal(removed, 1);
    assert_int_equal(files(f), 5);
    assert_true(t_holds(f, 1, "multi", str_n(p, PART + 1000)));
    assert_true(t_holds(f, 1, "copy", str_n(p, 100000)));
    free(p);
}

static void parts_of_a_lost_upload_are_collected(void **state)
{
    struct local_fixture *f = *state;
    struct mountpath *m = fixture_disk(f, 0);
    struct upload_create_req create = {.arena = &f->arena, .bucket = {1, STR("bucket")}, .key = STR("k")};
    struct upload_create_res created;
    struct body_check check = {0};
    struct waiting w;

    store_upload_create(f->store, &create, &created, wait_begin(f, &w));
    assert_int_equal(wait_end(f, &w), ERR_OK);
    struct upload_part_req part = {.arena = &f->arena,
                                   .bucket = create.bucket,
                                   .key = create.key,
                                   .upload_id = created.upload_id,
                                   .number = 7,
                                   .body = source_memory(STR("part"), NULL, NULL),
                                   .check = &check,
                                   .size_max = PART_SIZE_MAX};
    struct upload_part_res res;
    store_upload_part(f->store, &part, &res, wait_begin(f, &w));
    assert_int_equal(wait_end(f, &w), ERR_OK);
    source_close(part.body);
    assert_int_equal(gc_pass(f->local, m, 0, NULL, NULL), ERR_OK);
    assert_int_equal(files(f), 1);

    struct segment_id id; /* as a crash in the middle of an abort leaves it */
    struct index_key k;
    assert_true(segment_id_parse(created.upload_id, &id));
    index_upload(&k, 1, STR("k"), &id);
    struct kv_batch *b = kv_batch_new();
    kv_batch_delete(b, index_key_str(&k));
    assert_int_equal(kv_write(m->kv, b, false), ERR_OK);
    kv_batch_free(b);
    assert_int_equal(gc_pass(f->local, m, 0, NULL, NULL), ERR_OK);
    assert_int_equal(files(f), 0);
}

static void a_directory_in_use_is_refused(void **state)
{
    struct local_fixture *f = *state;
    struct local *second = NULL;
    char why[512];

    assert_int_equal(local_open(&f->conf, &second, why), ERR_CONFLICT);
    assert_non_null(strstr(why, "in use"));
}

static void another_set_of_directories_is_refused(void **state)
{
    struct local_fixture *f = *state;
    struct local *second = NULL;
    char why[512];

    fixture_close(f);
    f->conf.mountpath_count = 1;
    assert_int_equal(local_open(&f->conf, &second, why), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "set of 2"));
    f->conf.mountpath_count = 2;
    struct str first = f->mountpaths[0]; /* their order does not matter */
    f->mountpaths[0] = f->mountpaths[1];
    f->mountpaths[1] = first;
    fixture_open(f);
    assert_int_equal(t_put(f, 1, "k", STR("v")), ERR_OK);
}

static void a_newer_format_is_refused(void **state)
{
    struct local_fixture *f = *state;
    struct local *second = NULL;
    char why[512], path[400];

    fixture_close(f);
    snprintf(path, sizeof(path), "%s/sluice.format", f->paths[0]);
    FILE *file = fopen(path, "w");
    fputs("sluice-data 3\nuuid 00112233445566778899aabbccddeeff\n", file);
    fclose(file);
    assert_int_equal(local_open(&f->conf, &second, why), ERR_NOT_IMPLEMENTED);
    assert_non_null(strstr(why, "newer"));
    test_dir_remove(&f->tmp);
    fixture_open(f); /* made anew, for the teardown */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test_setup_teardown(what_was_acknowledged_survives_a_killed_process, setup, teardown),
#endif
        cmocka_unit_test_setup_teardown(objects_round_trip_in_any_size, setup, teardown),
        cmocka_unit_test_setup_teardown(overwrites_and_deletes_leave_no_files, setup, teardown),
        cmocka_unit_test_setup_teardown(ranges_come_from_the_right_place, setup, teardown),
        cmocka_unit_test_setup_teardown(attributes_survive, setup, teardown),
        cmocka_unit_test_setup_teardown(of_many_creators_one_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_body_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(copies_share_segments_until_the_last_is_gone, setup_one, teardown),
        cmocka_unit_test_setup_teardown(a_moved_object_is_at_its_new_key_alone, setup_one, teardown),
        cmocka_unit_test_setup_teardown(orphans_go_and_everything_else_stays, setup_one, teardown),
        cmocka_unit_test_setup_teardown(parts_of_a_lost_upload_are_collected, setup_one, teardown),
        cmocka_unit_test_setup_teardown(a_directory_in_use_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_set_of_directories_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_newer_format_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
