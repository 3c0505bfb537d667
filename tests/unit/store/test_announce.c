/* A store that tells of writes is a store as any other; the rules of who is told. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "kit.h"

#include "store/announce.h"
#include "store/memstore.h"

enum { BUCKETS = 400 };

static struct loop *loop;
static struct meta *meta;
static struct bucket_confs *confs;
static struct buckets *buckets;
static struct offload *io;
static struct announcer announcer;
static struct store *inner;
static char dir[64];

#define ALL_EVENTS                                                                                                     \
    "<NotificationConfiguration><QueueConfiguration><Id>all</Id><Queue>arn:aws:sqs:::hook</Queue>"                     \
    "<Event>s3:ObjectCreated:*</Event><Event>s3:ObjectRemoved:*</Event></QueueConfiguration>"                          \
    "</NotificationConfiguration>"

static enum err read_rules(struct arena *a, struct str text, struct notification **out, char *why)
{
    struct xml_doc doc;

    assert_int_equal(xml_read(text, &doc), ERR_OK);
    enum err e = notification_read(a, &doc, out, why);
    xml_doc_release(&doc);
    return e;
}

static const void *rules(struct arena *a, struct str text)
{
    char why[NOTIFICATION_WHY_MAX];
    struct notification *n;

    assert_int_equal(read_rules(a, text, &n, why), ERR_OK);
    return n;
}

static void no_owner(struct str owner, char out[64])
{
    (void)owner;
    memset(out, '0', 64);
}

static void open_box(void)
{
    struct outbox_hook hook = {STR("hook"), STR("http://127.0.0.1:9/"), STR("")};
    struct outbox_conf conf = {
        .dir = str_z(dir), .hooks = &hook, .hook_count = 1, .queue_max = 1000000, .keep_s = 3600, .io = io};
    char why[OUTBOX_WHY_MAX];

    assert_int_equal(outbox_open(&conf, &announcer.box, why), ERR_OK); /* whose address may not be connected to */
}

static struct store *open_store(struct contract_env *env)
{
    static const struct bucket_doc_kind kinds[] = {{{"notification", 12}, rules}};
    struct arena arena = ARENA_INIT;

    snprintf(dir, sizeof(dir), "/tmp/sluice-announce-XXXXXX");
    assert_non_null(mkdtemp(dir));
    io = offload_new("io", 2, 10000);
    meta = meta_memory_new();
    assert_int_equal(bucket_confs_open(meta, kinds, 1, &confs), ERR_OK);
    assert_int_equal(buckets_open(meta, &buckets), ERR_OK);
    for (uint64_t uid = 1001; uid <= 1000 + BUCKETS; uid++) {
        struct bucket_conf_put_req req = {&arena, uid, STR("notification"), STR(ALL_EVENTS)};
        struct bucket_conf_put_res res;
        struct kit k = {.loop = loop};
        struct kit_call c = {0};
        bucket_conf_put(confs, &req, &res, kit_begin(&k, &c));
        assert_int_equal(kit_wait(&k, &c), ERR_OK);
    }
    arena_release(&arena);
    announcer = (struct announcer){.confs = confs, .buckets = buckets, .owner_id = no_owner};
    open_box();
    inner = memstore_new(env->loop);
    return announce_store_new(&announcer, env->loop, inner);
}

static void close_store(struct contract_env *env, struct store *s)
{
    char command[128];

    (void)env;
    store_close(s);
    store_close(inner);
    outbox_close(announcer.box);
    offload_free(io);
    meta_close(meta);
    bucket_confs_close(confs);
    buckets_close(buckets);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

/* ---- rules ---- */

static struct arena arena;
static char why[NOTIFICATION_WHY_MAX];

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

#define CONF(rules)       "<NotificationConfiguration>" rules "</NotificationConfiguration>"
#define RULE(more)        "<QueueConfiguration><Queue>arn:aws:sqs:r:a:q</Queue>" more "</QueueConfiguration>"
#define ON(event)         "<Event>s3:" event "</Event>"
#define KEYS(name, value) "<FilterRule><Name>" name "</Name><Value>" value "</Value></FilterRule>"
#define FILTER(keys)      "<Filter><S3Key>" keys "</S3Key></Filter>"

static struct notification *read_ok(const char *text)
{
    struct notification *n = NULL;

    assert_err(read_rules(&arena, str_z(text), &n, why), ERR_OK);
    return n;
}

static enum err read_bad(const char *text)
{
    struct notification *n = NULL;

    return read_rules(&arena, str_z(text), &n, why);
}

static bool fits(const struct notification *n, enum event_kind kind, const char *key)
{
    return notification_next(n, NULL, kind, str_z(key)) != NULL;
}

static void events_and_filters_fit(void **state)
{
    struct notification *n = read_ok(CONF(RULE(ON("ObjectCreated:*") FILTER(KEYS("Prefix", "a/") KEYS("suffix", ".x")))
                                              RULE(ON("ObjectRemoved:Delete") ON("ObjectTagging:*"))));

    (void)state;
    assert_int_equal(n->n, 2);
    assert_true(fits(n, EVENT_PUT, "a/1.x") && fits(n, EVENT_COMPLETE, "a/.x") && fits(n, EVENT_COPY, "a/b/c.x"));
    assert_false(fits(n, EVENT_PUT, "a/1.y") || fits(n, EVENT_PUT, "b/1.x") || fits(n, EVENT_PUT, ".x"));
    assert_true(fits(n, EVENT_DELETE, "any") && fits(n, EVENT_TAGS_DELETE, ""));
    assert_false(fits(n, EVENT_MARKER, "any") || fits(n, EVENT_EXPIRED, "any") || fits(n, EVENT_ACL, "any"));
    assert_null(notification_next(n, &n->rules[1], EVENT_DELETE, STR("any")));
    assert_true(n->rules[0].id.n > 0 && !str_eq(n->rules[0].id, n->rules[1].id));
}

static void webhooks_are_named_by_arns(void **state)
{
    static const struct {
        const char *arn, *name;
    } good[] = {{"arn:aws:sqs:r:1:q-1", "q-1"},
                {"arn:aws-cn:sns:::topic", "topic"},
                {"arn:aws:lambda:r:1:function:f", "f"},
                {"arn:minio:sqs::w:webhook", "w"},
                {"arn:minio:sqs:r:w:webhook", "w"}};
    static const char *const bad[] = {"", "q", "arn", "arn:aws:s3:::b", "arn:minio:sqs::w:kafka", "x:aws:sqs:r:1:q"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct str text = arena_printf(
            &arena, CONF("<QueueConfiguration><Queue>%s</Queue>" ON("ObjectCreated:Put") "</QueueConfiguration>"),
            good[i].arn);
        assert_str(read_ok(text.p)->rules[0].webhook, str_z(good[i].name));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct str text = arena_printf(
            &arena, CONF("<QueueConfiguration><Queue>%s</Queue>" ON("ObjectCreated:Put") "</QueueConfiguration>"),
            bad[i]);
        assert_err(read_bad(text.p), ERR_INVALID_ARGUMENT);
    }
}

static void documents_that_are_refused(void **state)
{
    (void)state;
    assert_int_equal(read_ok(CONF(""))->n, 0);
    assert_err(read_bad(CONF("<Else/>")), ERR_MALFORMED_XML);
    assert_err(read_bad(CONF(RULE(""))), ERR_MALFORMED_XML);
    assert_err(read_bad(CONF("<QueueConfiguration>" ON("ObjectCreated:*") "</QueueConfiguration>")), ERR_MALFORMED_XML);
    assert_err(read_bad(CONF(RULE(ON("ObjectCreated:*") "<Filter><Else/></Filter>"))), ERR_MALFORMED_XML);
    assert_err(read_bad(CONF(RULE(ON("ObjectCreated:*") FILTER(KEYS("middle", "x"))))), ERR_INVALID_ARGUMENT);
    assert_err(read_bad(CONF(RULE(ON("ObjectCreated:*") FILTER(KEYS("prefix", "x") KEYS("prefix", "y"))))),
               ERR_INVALID_ARGUMENT);
    assert_err(read_bad(CONF(RULE("<Event>ObjectCreated:*</Event>"))), ERR_INVALID_ARGUMENT);
    assert_err(read_bad(CONF(RULE(ON("*")))), ERR_INVALID_ARGUMENT);
    assert_err(read_bad(CONF(RULE(ON("Replication:*")))), ERR_NOT_IMPLEMENTED);
    assert_err(read_bad(CONF("<EventBridgeConfiguration/>")), ERR_NOT_IMPLEMENTED);
    assert_err(read_bad(CONF(RULE(ON("ObjectCreated:*")) RULE("<Id>b</Id>" ON("ObjectCreated:Copy")))),
               ERR_INVALID_ARGUMENT);
    assert_int_equal(read_ok(CONF(RULE(ON("ObjectCreated:*") FILTER(KEYS("suffix", ".a")))
                                      RULE("<Id>b</Id>" ON("ObjectCreated:*") FILTER(KEYS("suffix", ".b")))))
                         ->n,
                     2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(events_and_filters_fit, release),
        cmocka_unit_test_teardown(webhooks_are_named_by_arns, release),
        cmocka_unit_test_teardown(documents_that_are_refused, release),
    };
    struct contract_env env = {.name = "announce", .open = open_store, .close = close_store};

    loop = env.loop = loop_new();
    loop_adopt(loop);
    int failed = store_contract_run(&env);
    loop_free(loop);
    return failed + cmocka_run_group_tests_name("notification", tests, NULL, NULL);
}
