/* Records, sealed secrets and sessions: what comes back, and what must not. */
#include "unit.h"

#include "base/mem.h"
#include "iam/session_cache.h"

static struct vault vault;

static struct ident sample(void)
{
    static struct ident_item tags[] = {{.name = {"a", 1}, .text = {"1", 1}}, {.name = {"b", 1}, .text = {"", 0}}};

    return (struct ident){.kind = IDENT_KEY,
                          .name = STR("AKIA1"),
                          .path = STR("/x/"),
                          .id = STR("AIDA1"),
                          .created_s = 7,
                          .tags = {tags, 2},
                          .user = STR("ann"),
                          .user_id = STR("AIDA2"),
                          .active = true,
                          .expires_s = 99,
                          .secret = STR("the secret")};
}

static void records_come_back(void **state)
{
    struct arena a = {0};
    struct buf b = BUF_INIT(1 << 16);
    struct ident id = sample(), *got;

    (void)state;
    ident_write(&id, &vault, &b);
    assert_int_equal(buf_err(&b), ERR_OK);
    assert_null(memmem(b.p, b.n, "the secret", 10));
    assert_int_equal(ident_read(&a, IDENT_KEY, STR("AKIA1"), buf_str(&b), &vault, &got), ERR_OK);
    assert_true(str_eq(got->secret, id.secret) && str_eq(got->user, id.user) && str_eq(got->path, id.path));
    assert_true(got->active && got->expires_s == 99 && got->created_s == 7 && got->tags.n == 2);
    assert_true(str_eq(ident_find(&got->tags, STR("a"))->text, STR("1")));
    assert_null(ident_find(&got->tags, STR("c")));
    /* under another name, or by another key, the secret stays closed */
    assert_int_equal(ident_read(&a, IDENT_KEY, STR("AKIA2"), buf_str(&b), &vault, &got), ERR_OK);
    assert_int_equal(got->secret.n, 0);
    struct vault other;
    vault_key(&other, STR("other"), STR("keys"));
    assert_int_equal(ident_read(&a, IDENT_KEY, STR("AKIA1"), buf_str(&b), &other, &got), ERR_OK);
    assert_int_equal(got->secret.n, 0);
    assert_int_equal(ident_read(&a, IDENT_KEY, STR("AKIA1"), STR("{\"version\":2}"), &vault, &got), ERR_CORRUPT);
    assert_int_equal(ident_read(&a, IDENT_KEY, STR("AKIA1"), STR("[]"), &vault, &got), ERR_CORRUPT);
    buf_release(&b);
    arena_release(&a);
}

static void nothing_that_was_changed_is_opened(void **state)
{
    static const struct str plain = STR("some text of no great length");
    uint8_t sealed[64 + VAULT_EXTRA], out[64];
    size_t n = plain.n + VAULT_EXTRA;

    (void)state;
    vault_close(&vault, plain, STR("place"), sealed);
    assert_true(vault_open(&vault, str_n((char *)sealed, n), STR("place"), out));
    assert_memory_equal(out, plain.p, plain.n);
    assert_false(vault_open(&vault, str_n((char *)sealed, n), STR("palce"), out));
    for (size_t i = 0; i < n; i++) {
        sealed[i] ^= 1;
        assert_false(vault_open(&vault, str_n((char *)sealed, n), STR("place"), out));
        assert_false(vault_open(&vault, str_n((char *)sealed, i), STR("place"), out));
        sealed[i] ^= 1;
    }
}

static void lists_keep_their_order_and_bound(void **state)
{
    struct arena a = {0};
    struct ident_list l = {0};
    static const char *const names[] = {"m", "a", "z", "b"};

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(ident_put(&a, &l, &(struct ident_item){.name = str_z(names[i])}, 4, true), ERR_OK);
    assert_true(str_eq(l.items[0].name, STR("a")) && str_eq(l.items[3].name, STR("z")));
    assert_int_equal(ident_put(&a, &l, &(struct ident_item){.name = STR("q")}, 4, true), ERR_IAM_LIMIT);
    assert_int_equal(ident_put(&a, &l, &(struct ident_item){.name = STR("b"), .text = STR("new")}, 4, true), ERR_OK);
    assert_true(str_eq(ident_find(&l, STR("b"))->text, STR("new")));
    assert_true(ident_drop(&l, STR("a")));
    assert_false(ident_drop(&l, STR("a")));
    assert_int_equal(l.n, 3);
    arena_release(&a);
}

static void names_in_arns(void **state)
{
    (void)state;
    assert_true(str_eq(ident_arn_name(STR("arn:aws:iam::000000000000:policy/a/b/c"), IDENT_POLICY), STR("c")));
    assert_true(str_eq(ident_arn_name(STR("arn:aws:iam::000000000000:role/r"), IDENT_ROLE), STR("r")));
    assert_int_equal(ident_arn_name(STR("arn:aws:iam::000000000000:role/r"), IDENT_USER).n, 0);
    assert_int_equal(ident_arn_name(STR("arn:aws:iam::111111111111:role/r"), IDENT_ROLE).n, 0);
    assert_int_equal(ident_arn_name(STR("arn:aws:iam::000000000000:roler"), IDENT_ROLE).n, 0);
    assert_int_equal(ident_arn_name(STR("arn:aws:iam::000000000000:role/"), IDENT_ROLE).n, 0);
    assert_int_equal(ident_arn_name(STR(""), IDENT_ROLE).n, 0);
}

/* Many tokens, each opened twice, while the arena of the first goes: a slot that is taken by another token is still there for who uses it. */
static void sessions_are_opened_once(void **state)
{
    enum { TOKENS = 2 * SESSION_CACHE_SLOTS };
    static const struct iam_who ann = {.kind = IAM_USER, .name = {"ann", 3}, .id = {"AIDA1", 5}};
    struct session_make_req req = {.who = &ann, .expires_s = 1000};
    struct session_cache *cache = session_cache_new();
    struct meta *meta = meta_memory_new();
    struct session *made, first, got;
    struct arena a = {0}, one = {0}, two = {0};
    struct idents *t;

    (void)state;
    assert_int_equal(idents_open(meta, STR("a secret"), &t), ERR_OK);
    req.policies[0] = STR(
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}");
    made = arena_new(&a, TOKENS * sizeof(*made));
    assert_int_equal(session_make(t, &a, &req, &made[0]), ERR_OK);
    assert_int_equal(session_cache_open(cache, t, &one, made[0].token, 1, &first), ERR_OK);
    assert_int_equal(session_cache_open(cache, t, &two, made[0].token, 999, &got), ERR_OK);
    assert_ptr_equal(got.who.scopes[0], first.who.scopes[0]);
    arena_release(&two);
    for (int i = 1; i < TOKENS; i++) {
        assert_int_equal(session_make(t, &a, &req, &made[i]), ERR_OK);
        assert_int_equal(session_cache_open(cache, t, &two, made[i].token, 1, &got), ERR_OK);
        assert_true(str_eq(got.access_key, made[i].access_key) && str_eq(got.secret, made[i].secret));
        arena_release(&two);
    }
    assert_true(str_eq(first.access_key, made[0].access_key) && first.who.scope_count == 1);
    assert_int_equal(session_cache_open(cache, t, &two, made[TOKENS - 1].token, 1000, &got), ERR_EXPIRED_TOKEN);
    assert_int_equal(session_cache_open(cache, t, &two, STR("no token"), 1, &got), ERR_INVALID_TOKEN);
    assert_int_equal(session_cache_open(cache, t, &two, STR("no token"), 1, &got), ERR_INVALID_TOKEN);
    arena_release(&two);
    session_cache_free(cache);
    arena_release(&one);
    meta_close(meta);
    idents_close(t);
    arena_release(&a);
}

static void sessions_are_what_was_sealed(void **state)
{
    static const struct iam_who ann = {.kind = IAM_USER, .name = {"ann", 3}, .id = {"AIDA1", 5}};
    struct session_make_req req = {.who = &ann, .expires_s = 1000};
    struct meta *meta = meta_memory_new();
    struct session made, got;
    struct arena a = {0};
    struct idents *t;

    (void)state;
    assert_int_equal(idents_open(meta, STR("a secret"), &t), ERR_OK);
    req.policies[0] = STR(
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}");
    assert_int_equal(session_make(t, &a, &req, &made), ERR_OK);
    assert_int_equal(session_open(t, &a, made.token, 999, &got), ERR_OK);
    assert_true(str_eq(got.access_key, made.access_key) && str_eq(got.secret, made.secret));
    assert_true(got.who.kind == IAM_USER && str_eq(got.who.name, STR("ann")) && str_eq(got.who.id, STR("AIDA1")));
    assert_true(got.who.scope_count == 1 && got.who.temporary && got.expires_s == 1000);
    assert_int_equal(session_open(t, &a, made.token, 1000, &got), ERR_EXPIRED_TOKEN);
    assert_int_equal(session_open(t, &a, str_n(made.token.p, made.token.n - 4), 1, &got), ERR_INVALID_TOKEN);
    assert_int_equal(session_open(t, &a, STR(""), 1, &got), ERR_INVALID_TOKEN);
    struct idents *others;
    struct meta *second = meta_memory_new();
    assert_int_equal(idents_open(second, STR("another"), &others), ERR_OK);
    assert_int_equal(session_open(others, &a, made.token, 1, &got), ERR_INVALID_TOKEN);
    meta_close(meta);
    meta_close(second);
    idents_close(t);
    idents_close(others);
    arena_release(&a);
}

static int set_up(void **state)
{
    (void)state;
    vault_key(&vault, STR("a master key"), STR("keys"));
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(nothing_that_was_changed_is_opened),
        cmocka_unit_test(lists_keep_their_order_and_bound),
        cmocka_unit_test(names_in_arns),
        cmocka_unit_test(sessions_are_what_was_sealed),
        cmocka_unit_test(sessions_are_opened_once),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
