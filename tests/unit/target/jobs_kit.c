#include "unit.h"

#include "jobs_kit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "store/memstore.h"

struct kit kit;

static struct call waiting;
static bool is_done;

static void done(struct call *c)
{
    (void)c;
    is_done = true;
}

struct call *kit_call(void)
{
    is_done = false;
    call_begin(&waiting, loop_current(), done);
    return &waiting;
}

enum err kit_wait(void)
{
    while (!is_done)
        loop_turn(waiting.loop, 1000);
    return waiting.err;
}

int kit_open(void **state)
{
    (void)state;
    kit = (struct kit){.loop = loop_new(), .asking = loop_new(), .meta = meta_memory_new()};
    loop_adopt(kit.loop);
    kit.pool = offload_new("test", 2, 100);
    kit.store = memstore_new(kit.loop);
    assert_int_equal(buckets_open(kit.meta, &kit.buckets), ERR_OK);
    kit.env = (struct job_env){.loop = kit.loop,
                               .mine = kit.store,
                               .all = kit.store,
                               .buckets = kit.buckets,
                               .meta = kit.meta,
                               .io = kit.pool,
                               .cpu = kit.pool,
                               .self = STR("t1")};
    return 0;
}

int kit_close(void **state)
{
    (void)state;
    if (kit.jobs)
        kit_stop_engine();
    meta_close(kit.meta);
    buckets_close(kit.buckets);
    store_close(kit.store);
    offload_free(kit.pool);
    loop_free(kit.asking);
    loop_free(kit.loop);
    arena_release(&kit.arena);
    return 0;
}

struct bucket kit_bucket(const char *name)
{
    struct bucket_create_req req = {.arena = &kit.arena, .name = str_z(name), .owner = STR("test")};
    struct bucket_create_res res = {0};

    buckets_create(kit.buckets, &req, &res, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    return res.bucket;
}

void kit_put(struct bucket_id bucket, struct str key, struct str content)
{
    struct body_check check = {0};
    struct source *body = source_memory(content, NULL, NULL);
    struct obj_put_req req = {.arena = &kit.arena,
                              .bucket = bucket,
                              .key = key,
                              .cond = COND_INIT,
                              .body = body,
                              .check = &check,
                              .size_max = PUT_SIZE_MAX};
    struct obj_put_res res;

    store_obj_put(kit.store, &req, &res, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    source_close(body);
}

struct str kit_get(struct bucket_id bucket, struct str key)
{
    enum { MAX = 1 << 20 };
    struct obj_get_req req = {.head = {.arena = &kit.arena, .bucket = bucket, .key = key, .cond = COND_INIT}};
    struct obj_get_res res = {0};
    struct source_fill fill;
    char *buf;
    size_t n = 0;

    store_obj_get(kit.store, &req, &res, kit_call());
    if (kit_wait() != ERR_OK)
        return STR_NONE;
    buf = arena_alloc(&kit.arena, MAX);
    source_fill(&fill, res.body, buf, MAX, &n, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    source_close(res.body);
    return str_n(buf, n);
}

bool kit_has(struct bucket_id bucket, const char *key)
{
    return kit_get(bucket, str_z(key)).p != NULL;
}

unsigned kit_count(struct bucket_id bucket, const char *prefix)
{
    struct obj_list_req req = {.arena = &kit.arena, .bucket = bucket, .prefix = str_z(prefix), .max = LIST_MAX};
    struct obj_list_res res = {0};
    unsigned count = 0;

    do {
        store_obj_list(kit.store, &req, &res, kit_call());
        assert_int_equal(kit_wait(), ERR_OK);
        count += res.count;
        if (res.count)
            req.after = res.entries[res.count - 1].key;
    } while (res.truncated);
    return count;
}

/* ---- the engine ---- */

void kit_start_engine(uint64_t bytes_per_s)
{
    kit.env.bytes_per_s = bytes_per_s;
    loop_adopt(kit.asking);
    assert_int_equal(jobs_open(&kit.env, &kit.jobs), ERR_OK);
}

void kit_stop_engine(void)
{
    jobs_close(kit.jobs);
    kit.jobs = NULL;
    arcs_free(kit.env.arcs); /* it may be busy on this loop still */
    kit.env.arcs = NULL;
    loop_free(kit.loop);
    kit.loop = kit.env.loop = kit.store->loop = loop_new(); /* one that has stopped does not run again */
    loop_adopt(kit.loop);
}

enum err kit_job(const char *kind, const char *spec, char id[JOB_ID_MAX + 1])
{
    struct job_start_req req = {
        .arena = &kit.arena, .kind = str_z(kind), .spec = str_z(spec), .started_by = STR("test")};
    struct job_start_res res = {0};
    enum err e;

    job_start(kit.meta, &req, &res, kit_call());
    e = kit_wait();
    if (e == ERR_OK)
        snprintf(id, JOB_ID_MAX + 1, STR_FMT, STR_ARG(res.id));
    else if (e == ERR_INVALID_ARGUMENT)
        assert_true(res.why[0]);
    return e;
}

const struct doc *kit_look(const char *id)
{
    struct job_look_req req = {.arena = &kit.arena, .id = str_z(id)};
    struct job_look_res res = {0};
    char why[DOC_WHY_MAX];
    struct doc *root;

    job_look(kit.meta, &req, &res, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    assert_int_equal(js_read(&kit.arena, res.json, &root, why), ERR_OK);
    return root;
}

const char *kit_end_of(const char *id)
{
    const char *state = "running";

    for (int i = 0; i < 4000 && strcmp(state, "running") == 0; i++) {
        state = doc_get(kit_look(id), STR("state"))->text.p;
        usleep(5000);
    }
    return state;
}

uint64_t kit_number(const char *id, const char *name)
{
    uint64_t n = UINT64_MAX;

    assert_true(str_to_u64(doc_get(kit_look(id), str_z(name))->text, UINT64_MAX, &n));
    return n;
}
