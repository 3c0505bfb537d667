#include "contract_parts.h"

/* ---- conditions ---- */

static enum err put_if(struct kit *k, struct str key, struct cond cond)
{
    struct body_check check = {0};
    struct obj_put_req req = kit_put_req(k, key, NULL, &check);
    struct obj_put_res res;

    req.cond = cond;
    return KIT_CALL(k, obj_put, &req, &res);
}

static void conditional_put_sees_what_is_there(void **state)
{
    struct kit *k = *state;

    assert_err(put_if(k, STR("key"), kit_if_match("*")), ERR_NO_SUCH_KEY);
    assert_err(put_if(k, STR("key"), kit_if_none_match("*")), ERR_OK);
    assert_err(put_if(k, STR("key"), kit_if_none_match("*")), ERR_PRECONDITION);
    struct object_info info = kit_put(k, STR("key"), STR("content"));
    struct str quoted = arena_printf(&k->arena, "\"" STR_FMT "\"", STR_ARG(etag_str(&info.etag)));
    assert_err(put_if(k, STR("key"), kit_if_match("\"00000000000000000000000000000000\"")), ERR_PRECONDITION);
    kit_expect(k, STR("key"), STR("content"));
    assert_err(put_if(k, STR("key"), kit_if_match(quoted.p)), ERR_OK);
    kit_expect(k, STR("key"), STR(""));
    assert_err(kit_delete(k, STR("key")), ERR_OK);
    assert_err(put_if(k, STR("key"), kit_if_none_match("*")), ERR_OK);
}

static void conditional_delete_sees_what_is_there(void **state)
{
    struct kit *k = *state;
    struct obj_delete_req req = {
        .arena = &k->arena, .bucket = k->bucket, .key = STR("key"), .cond = kit_if_match("e1")};
    struct obj_delete_res res;

    assert_err(KIT_CALL(k, obj_delete, &req, &res), ERR_OK);
    struct object_info info = kit_put(k, STR("key"), STR("x"));
    assert_err(KIT_CALL(k, obj_delete, &req, &res), ERR_PRECONDITION);
    kit_expect(k, STR("key"), STR("x"));
    req.cond.if_match = etag_str(&info.etag);
    assert_err(KIT_CALL(k, obj_delete, &req, &res), ERR_OK);
    kit_expect_absent(k, STR("key"));
}

static void conditional_reads_tell_about_the_object(void **state)
{
    struct kit *k = *state;
    struct object_info info = kit_put(k, STR("key"), STR("hello"));
    struct obj_get_req req = kit_get_req(k, STR("key"));
    struct obj_get_res res = {0};

    req.head.cond.if_none_match = etag_str(&info.etag);
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_NOT_MODIFIED);
    assert_null(res.body);
    assert_str(etag_str(&res.head.info.etag), etag_str(&info.etag));
    assert_err(KIT_CALL(k, obj_head, &req.head, &res.head), ERR_NOT_MODIFIED);
    req.head.cond = kit_if_match("nothing");
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_PRECONDITION);
    assert_int_equal(res.head.info.size, 5);
    req.head.cond = (struct cond)COND_INIT;
    req.head.cond.if_modified_since_s = info.mtime_ns / INT64_C(1000000000);
    assert_err(KIT_CALL(k, obj_get, &req, &res), ERR_NOT_MODIFIED);
    req.head.cond = (struct cond)COND_INIT;
    req.head.cond.if_unmodified_since_s = info.mtime_ns / INT64_C(1000000000) - 1;
    assert_err(KIT_CALL(k, obj_head, &req.head, &res.head), ERR_PRECONDITION);
    req.head.key = STR("none");
    assert_err(KIT_CALL(k, obj_head, &req.head, &res.head), ERR_NO_SUCH_KEY);
}

/* A put that can be held in the middle of its body. */
struct put {
    struct kit_call call;
    struct body_check check;
    struct kit_source *body;
    struct obj_put_req req;
    struct obj_put_res res;
};

static void put_begin(struct kit *k, struct put *p, struct str content, size_t stop_at)
{
    *p = (struct put){.body = kit_source(k, content)};
    p->body->stop_at = stop_at;
    p->req = kit_put_req(k, STR("key"), &p->body->source, &p->check);
}

static void of_racing_creations_one_wins(void **state)
{
    static const size_t sizes[] = {100, 200000};
    struct kit *k = *state;
    enum { RACERS = 4 };
    struct put put[RACERS];

    for (int round = 0; round < 6; round++) {
        size_t size = sizes[round % 2];
        int won = 0, winner = 0;
        for (int i = 0; i < RACERS; i++) {
            put_begin(k, &put[i], kit_bytes(k, size, (uint64_t)i), size / 2);
            put[i].req.cond = kit_if_none_match("*");
            store_obj_put(k->store, &put[i].req, &put[i].res, kit_begin(k, &put[i].call));
        }
        kit_turns(k, 10); /* all are in the middle of their bodies now */
        for (int i = RACERS - 1; i >= 0; i--)
            kit_source_go_on(put[i].body);
        for (int i = 0; i < RACERS; i++) {
            enum err e = kit_wait(k, &put[i].call);
            if (e == ERR_OK)
                won++, winner = i;
            else if (e != ERR_CONDITIONAL_CONFLICT)
                assert_err(e, ERR_PRECONDITION);
        }
        assert_int_equal(won, 1);
        kit_expect(k, STR("key"), kit_bytes(k, size, (uint64_t)winner));
        assert_err(kit_delete(k, STR("key")), ERR_OK);
    }
}

static void of_unconditional_writers_the_last_to_commit_stays(void **state)
{
    struct kit *k = *state;
    struct put first, second;

    put_begin(k, &first, kit_bytes(k, 100000, 1), 50000);
    put_begin(k, &second, kit_bytes(k, 90000, 2), SIZE_MAX);
    store_obj_put(k->store, &first.req, &first.res, kit_begin(k, &first.call));
    kit_turns(k, 3);
    store_obj_put(k->store, &second.req, &second.res, kit_begin(k, &second.call));
    assert_err(kit_wait(k, &second.call), ERR_OK);
    kit_expect(k, STR("key"), kit_bytes(k, 90000, 2));
    kit_source_go_on(first.body);
    assert_err(kit_wait(k, &first.call), ERR_OK);
    kit_expect(k, STR("key"), kit_bytes(k, 100000, 1));
}

/* ---- digests ---- */

static void add_want(struct body_check *check, enum hash_alg alg, struct str content, bool right, enum err err)
{
    unsigned i = check->want_count++;

    hash_of(alg, content, &check->want[i].digest);
    check->want[i].digest.b[0] ^= right ? 0 : 1;
    check->want[i].err = err;
}

static enum err put_checked(struct kit *k, struct str content, struct body_check *check, struct object_info *info)
{
    struct kit_source *body = kit_source(k, content);
    struct obj_put_req req = kit_put_req(k, STR("key"), &body->source, check);
    struct obj_put_res res = {0};
    enum err e = KIT_CALL(k, obj_put, &req, &res);

    *info = res.info;
    return e;
}

static void every_checksum_is_kept_and_compared(void **state)
{
    struct kit *k = *state;
    struct object_info info;

    for (int alg = HASH_CRC32; alg < HASH_COUNT; alg++) {
        struct str content = kit_bytes(k, 70000, (uint64_t)alg);
        struct body_check right = {.checksum = (enum hash_alg)alg}, wrong = right;
        struct digest expected;

        hash_of((enum hash_alg)alg, content, &expected);
        add_want(&right, (enum hash_alg)alg, content, true, ERR_BAD_DIGEST);
        assert_err(put_checked(k, content, &right, &info), ERR_OK);
        assert_true(digest_eq(&info.checksum.digest, &expected));
        info = kit_head(k, STR("key"));
        assert_true(digest_eq(&info.checksum.digest, &expected));
        assert_int_equal(info.checksum.type, CHECKSUM_FULL_OBJECT);
        add_want(&wrong, (enum hash_alg)alg, content, false, ERR_BAD_DIGEST);
        assert_err(put_checked(k, content, &wrong, &info), ERR_BAD_DIGEST);
        kit_expect(k, STR("key"), content);
    }
}

static void several_declared_digests_must_all_fit(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 20000, 7);
    struct object_info info;

    for (int broken = -1; broken < 3; broken++) {
        struct body_check check = {.checksum = HASH_CRC32C, .also = 1u << HASH_SHA256};
        add_want(&check, HASH_MD5, content, broken != 0, ERR_BAD_DIGEST);
        add_want(&check, HASH_SHA256, content, broken != 1, ERR_SHA256_MISMATCH);
        add_want(&check, HASH_CRC32C, content, broken != 2, ERR_BAD_DIGEST);
        enum err e = broken < 0 ? ERR_OK : broken == 1 ? ERR_SHA256_MISMATCH : ERR_BAD_DIGEST;
        assert_err(put_checked(k, content, &check, &info), e);
        if (broken < 0)
            assert_err(kit_delete(k, STR("key")), ERR_OK);
        else
            kit_expect_absent(k, STR("key"));
    }
}

static void digest_declared_at_the_end_counts(void **state)
{
    struct kit *k = *state;

    for (int right = 0; right < 2; right++) {
        for (int large = 0; large < 2; large++) {
            struct str content = kit_bytes(k, large ? 300000 : 30, 8);
            struct kit_source *body = kit_source(k, content);
            struct body_check check = {.checksum = HASH_CRC32, .also = 1u << HASH_SHA1};
            struct obj_put_req req = kit_put_req(k, STR("key"), &body->source, &check);
            struct obj_put_res res;

            body->check = &check;
            hash_of(HASH_SHA1, content, &body->last);
            body->last.b[19] ^= right ? 0 : 0x80;
            assert_err(KIT_CALL(k, obj_put, &req, &res), right ? ERR_OK : ERR_BAD_DIGEST);
        }
    }
}

/* ---- bodies that fail ---- */

static void failing_body_leaves_the_old_object(void **state)
{
    static const size_t stops[] = {0, 1, 16384, 65536, 100000, 1 << 20};
    struct kit *k = *state;

    kit_put(k, STR("key"), STR("old"));
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        struct put p;
        put_begin(k, &p, kit_bytes(k, (1 << 20) + 1, i), stops[i]);
        p.body->fail = i % 2 ? ERR_CLIENT_GONE : ERR_INCOMPLETE_BODY;
        store_obj_put(k->store, &p.req, &p.res, kit_begin(k, &p.call));
        assert_err(kit_wait(k, &p.call), p.body->fail);
        kit_expect(k, STR("key"), STR("old"));
    }
}

static void put_cancelled_while_it_waits_ends(void **state)
{
    static const size_t stops[] = {0, 100, 200000};
    struct kit *k = *state;

    kit_put(k, STR("key"), STR("old"));
    for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
        struct put p;
        put_begin(k, &p, kit_bytes(k, 300000, i), stops[i]);
        store_obj_put(k->store, &p.req, &p.res, kit_begin(k, &p.call));
        kit_turns(k, 5);
        call_cancel(&p.call.call);
        assert_err(kit_wait(k, &p.call), ERR_CANCELLED);
        kit_expect(k, STR("key"), STR("old"));
    }
}

static void put_cancelled_at_any_time_is_old_or_new(void **state)
{
    struct kit *k = *state;
    struct str old = kit_bytes(k, 40000, 1), new = kit_bytes(k, 500000, 2);

    for (int turns = 0; turns < 30; turns++) {
        struct put p;
        kit_put(k, STR("key"), old);
        put_begin(k, &p, new, SIZE_MAX);
        store_obj_put(k->store, &p.req, &p.res, kit_begin(k, &p.call));
        for (int i = 0; i < turns && !p.call.done; i++)
            loop_turn(k->loop, 0);
        call_cancel(&p.call.call);
        enum err e = kit_wait(k, &p.call);
        if (e != ERR_OK)
            assert_err(e, ERR_CANCELLED);
        if (e != ERR_OK && k->env->far) {
            kit_turns(k, 50); /* until the other side has noticed */
            e = kit_head(k, STR("key")).size == new.n ? ERR_OK : e;
        }
        kit_expect(k, STR("key"), e == ERR_OK ? new : old);
    }
}

static void cancelled_reads_end(void **state)
{
    struct kit *k = *state;

    kit_put(k, STR("key"), kit_bytes(k, 100000, 1));
    for (int turns = 0; turns < 4; turns++) {
        struct obj_get_req req = kit_get_req(k, STR("key"));
        struct obj_get_res res = {0};
        struct kit_call c = {0};
        store_obj_get(k->store, &req, &res, kit_begin(k, &c));
        for (int i = 0; i < turns && !c.done; i++)
            loop_turn(k->loop, 0);
        call_cancel(&c.call);
        if (kit_wait(k, &c) == ERR_OK)
            source_close(res.body);
        else
            assert_null(res.body);
    }
}

int contract_writes(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(conditional_put_sees_what_is_there),
        KIT_TEST(conditional_delete_sees_what_is_there),
        KIT_TEST(conditional_reads_tell_about_the_object),
        KIT_TEST(of_racing_creations_one_wins),
        KIT_TEST(of_unconditional_writers_the_last_to_commit_stays),
        KIT_TEST(every_checksum_is_kept_and_compared),
        KIT_TEST(several_declared_digests_must_all_fit),
        KIT_TEST(digest_declared_at_the_end_counts),
        KIT_TEST(failing_body_leaves_the_old_object),
        KIT_TEST(put_cancelled_while_it_waits_ends),
        KIT_TEST(put_cancelled_at_any_time_is_old_or_new),
        KIT_TEST(cancelled_reads_end),
    };

    return kit_run(env, "writes", tests, sizeof(tests) / sizeof(tests[0]));
}
