#include "contract_parts.h"

static struct obj_copy_req copy_req(struct kit *k, struct str from, struct str to)
{
    return (struct obj_copy_req){.arena = &k->arena,
                                 .src_bucket = k->bucket,
                                 .src_key = from,
                                 .src_cond = COND_INIT,
                                 .bucket = k->bucket,
                                 .key = to,
                                 .cond = COND_INIT,
                                 .size_max = PUT_SIZE_MAX};
}

static const struct attr old_attrs[] = {{{"content-type", 12}, {"text/old", 8}}, {{"x-amz-meta-a", 12}, {"1", 1}}};
static const struct attr new_attrs[] = {{{"content-type", 12}, {"text/new", 8}}};

static void put_source(struct kit *k, struct str content)
{
    struct body_check check = {.checksum = HASH_SHA256};
    struct source *body = source_memory(content, NULL, NULL);
    struct obj_put_req req = kit_put_req(k, STR("from"), body, &check);
    struct obj_put_res res;

    req.info.attrs = old_attrs;
    req.info.attr_count = 2;
    req.info.tags = STR("old=1");
    assert_err(KIT_CALL(k, obj_put, &req, &res), ERR_OK);
    source_close(body);
}

static void expect_attr(struct object_info info, struct str content_type, uint32_t count, struct str tags)
{
    assert_int_equal(info.attr_count, count);
    assert_str(info.attrs[0].value, content_type);
    assert_str(info.tags, tags);
}

static void copy_keeps_content_attributes_and_checksum(void **state)
{
    static const size_t sizes[] = {0, 100, 16385, 1 << 20};
    struct kit *k = *state;

    for (size_t i = 0; i < 4; i++) {
        struct str content = kit_bytes(k, sizes[i], i);
        struct obj_copy_req req = copy_req(k, STR("from"), STR("to"));
        struct obj_copy_res res = {0};
        struct etag etag = kit_etag(content);

        put_source(k, content);
        assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
        struct object_info from = kit_head(k, STR("from")), to = kit_head(k, STR("to"));
        expect_attr(to, STR("text/old"), 2, STR("old=1"));
        assert_str(etag_str(&res.info.etag), etag_str(&etag));
        assert_str(etag_str(&to.etag), etag_str(&etag));
        assert_true(digest_eq(&to.checksum.digest, &from.checksum.digest));
        assert_true(to.mtime_ns >= from.mtime_ns && to.mtime_ns == res.info.mtime_ns);
        assert_err(kit_delete(k, STR("from")), ERR_OK); /* shared content must stay */
        kit_expect(k, STR("to"), content);
        kit_put(k, STR("to"), STR("again"));
    }
}

static void copy_replaces_what_is_asked(void **state)
{
    struct kit *k = *state;
    struct obj_copy_req req = copy_req(k, STR("from"), STR("to"));
    struct obj_copy_res res = {0};

    put_source(k, STR("content"));
    req.info = (struct object_info){.attrs = new_attrs, .attr_count = 1, .tags = STR("new=2")};
    req.replace_attrs = true;
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
    expect_attr(kit_head(k, STR("to")), STR("text/new"), 1, STR("old=1"));
    req.replace_attrs = false;
    req.replace_tags = true;
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
    expect_attr(kit_head(k, STR("to")), STR("text/old"), 2, STR("new=2"));
}

static void copy_onto_itself_replaces_attributes(void **state)
{
    static const size_t sizes[] = {50, 200000};
    struct kit *k = *state;

    for (int i = 0; i < 2; i++) {
        struct str content = kit_bytes(k, sizes[i], 1);
        struct obj_copy_req req = copy_req(k, STR("from"), STR("from"));
        struct obj_copy_res res = {0};
        put_source(k, content);
        req.info = (struct object_info){.attrs = new_attrs, .attr_count = 1};
        req.replace_attrs = true;
        assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
        expect_attr(kit_head(k, STR("from")), STR("text/new"), 1, STR("old=1"));
        kit_expect(k, STR("from"), content);
    }
}

static void copy_onto_itself_changes_one_attribute(void **state)
{
    static const size_t sizes[] = {50, 200000};
    struct kit *k = *state;

    for (int i = 0; i < 2; i++) {
        struct str content = kit_bytes(k, sizes[i], 1);
        struct obj_copy_req req = copy_req(k, STR("from"), STR("from"));
        struct obj_copy_res res = {0};
        struct attr change = {STR("x-sluice-label"), STR("one")};
        put_source(k, content);
        req.info = (struct object_info){.attrs = &change, .attr_count = 1};
        req.change_attrs = req.keep_mtime = true;
        assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
        expect_attr(kit_head(k, STR("from")), STR("text/old"), 3, STR("old=1"));
        change.value = STR("two");
        assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
        struct object_info now = kit_head(k, STR("from"));
        expect_attr(now, STR("text/old"), 3, STR("old=1"));
        assert_true(str_eq(object_attr(&now, change.name), STR("two")));
        change.value = STR_NONE;
        assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
        expect_attr(kit_head(k, STR("from")), STR("text/old"), 2, STR("old=1"));
        kit_expect(k, STR("from"), content);
    }
}

static void copy_to_another_bucket(void **state)
{
    struct kit *k = *state;
    struct obj_copy_req req = copy_req(k, STR("from"), STR("to"));
    struct obj_copy_res res = {0};
    uint64_t uid = k->bucket.uid;

    put_source(k, STR("content"));
    req.bucket.uid = uid + (UINT64_C(1) << 41);
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
    kit_expect_absent(k, STR("to"));
    k->bucket.uid = req.bucket.uid;
    kit_expect(k, STR("to"), STR("content"));
    assert_err(kit_delete(k, STR("to")), ERR_OK);
    k->bucket.uid = uid;
}

static void copy_recomputes_another_checksum(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 100000, 4);
    struct obj_copy_req req = copy_req(k, STR("from"), STR("to"));
    struct obj_copy_res res = {0};
    struct digest expected;

    put_source(k, content);
    req.checksum = HASH_CRC32C;
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
    hash_of(HASH_CRC32C, content, &expected);
    assert_true(digest_eq(&res.info.checksum.digest, &expected));
    struct object_info to = kit_head(k, STR("to"));
    assert_true(digest_eq(&to.checksum.digest, &expected));
    kit_expect(k, STR("to"), content);
}

static void copy_conditions_look_at_both_ends(void **state)
{
    struct kit *k = *state;
    struct obj_copy_req req = copy_req(k, STR("from"), STR("to"));
    struct obj_copy_res res = {0};

    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_NO_SUCH_KEY);
    put_source(k, STR("content"));
    req.src_cond = kit_if_match("\"other\"");
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_PRECONDITION);
    req.src_cond = kit_if_none_match("*");
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_PRECONDITION); /* not 304 */
    req.src_cond = (struct cond)COND_INIT;
    req.cond = kit_if_match("*");
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_NO_SUCH_KEY);
    req.cond = kit_if_none_match("*");
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_PRECONDITION);
    req.cond = (struct cond)COND_INIT;
    req.size_max = 6;
    assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_INVALID_REQUEST);
}

/* Whether or not it could be one commit, who asked knows what is left to do. */
static void copy_that_moves_tells_whether_the_source_is_gone(void **state)
{
    static const size_t sizes[] = {0, 100, 200000};
    struct kit *k = *state;

    for (size_t i = 0; i < 3; i++) {
        struct str content = kit_bytes(k, sizes[i], i);
        struct obj_copy_req req = copy_req(k, STR("from"), STR("to"));
        struct obj_copy_res res = {.moved = false};
        req.move = true;
        put_source(k, content);
        assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
        kit_expect(k, STR("to"), content);
        if (res.moved)
            kit_expect_absent(k, STR("from"));
        else
            kit_expect(k, STR("from"), content);
        req.src_key = STR("to"); /* onto itself: nothing is lost */
        assert_err(KIT_CALL(k, obj_copy, &req, &res), ERR_OK);
        kit_expect(k, STR("to"), content);
        assert_err(kit_delete(k, STR("to")), ERR_OK);
    }
}

static void copy_cancelled_at_any_time_is_all_or_nothing(void **state)
{
    struct kit *k = *state;
    struct str content = kit_bytes(k, 400000, 4);

    put_source(k, content);
    for (int turns = 0; turns < 12; turns++) {
        struct obj_copy_req req = copy_req(k, STR("from"), STR("to"));
        struct obj_copy_res res = {0};
        struct kit_call c = {0};
        store_obj_copy(k->store, &req, &res, kit_begin(k, &c));
        for (int i = 0; i < turns && !c.done; i++)
            loop_turn(k->loop, 0);
        call_cancel(&c.call);
        enum err e = kit_wait(k, &c);
        if (e != ERR_OK && k->env->far) {
            struct obj_head_req head = kit_get_req(k, STR("to")).head;
            struct obj_head_res found;
            kit_turns(k, 50); /* until the other side has noticed */
            if (KIT_CALL(k, obj_head, &head, &found) == ERR_OK)
                e = ERR_OK;
        }
        if (e == ERR_OK) {
            kit_expect(k, STR("to"), content);
            assert_err(kit_delete(k, STR("to")), ERR_OK);
        } else {
            assert_err(e, ERR_CANCELLED);
            kit_expect_absent(k, STR("to"));
        }
    }
}

int contract_copies(struct contract_env *env)
{
    static const struct CMUnitTest tests[] = {
        KIT_TEST(copy_keeps_content_attributes_and_checksum),
        KIT_TEST(copy_replaces_what_is_asked),
        KIT_TEST(copy_onto_itself_replaces_attributes),
        KIT_TEST(copy_onto_itself_changes_one_attribute),
        KIT_TEST(copy_to_another_bucket),
        KIT_TEST(copy_recomputes_another_checksum),
        KIT_TEST(copy_conditions_look_at_both_ends),
        KIT_TEST(copy_that_moves_tells_whether_the_source_is_gone),
        KIT_TEST(copy_cancelled_at_any_time_is_all_or_nothing),
    };

    return kit_run(env, "copies", tests, sizeof(tests) / sizeof(tests[0]));
}
