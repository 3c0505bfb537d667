/* local_fixture.h - a local store in a directory of its own and methods that wait for their end.
 *
 */
#ifndef SLUICE_TESTS_LOCAL_FIXTURE_H
#define SLUICE_TESTS_LOCAL_FIXTURE_H

#include <stdio.h>

#include "base/hash.h"
#include "target/disks.h"
#include "target_dir.h"

struct local_fixture {
    struct test_dir tmp;
    char paths[4][300];
    struct str mountpaths[4];
    struct redundancy redundancy; /* of all buckets */
    bool encrypted;               /* so are they */
    struct local_conf conf;
    struct loop *loop;
    struct local *local;
    struct store *store;
    struct arena arena;
};

static inline void fixture_open(struct local_fixture *f)
{
    char why[512] = "";

    f->loop = loop_new();
    loop_adopt(f->loop);
    f->conf.io = offload_new("io", 2, 256);
    f->conf.cpu = offload_new("cpu", 2, 256);
    if (local_open(&f->conf, &f->local, why) != ERR_OK) {
        fprintf(stderr, "local_open: %s\n", why);
        abort();
    }
    f->store = local_store(f->local, f->loop);
}

/* That of paths[i]. */
static inline struct mountpath *fixture_disk(struct local_fixture *f, size_t i)
{
    const struct disk_set *s = atomic_load(&f->local->disks->set);

    for (size_t k = 0; k < s->count; k++)
        if (str_eq(s->disks[k].dir, str_z(f->paths[i])))
            return s->disks[k].mountpath;
    return NULL;
}

static inline struct mountpath *fixture_place(struct local_fixture *f, uint64_t uid, const char *key)
{
    const struct disk_set *s = atomic_load(&f->local->disks->set);

    return s->disks[disk_place(s, uid, str_z(key))].mountpath;
}

static inline void fixture_close(struct local_fixture *f)
{
    arena_release(&f->arena);
    store_close(f->store);
    local_close(f->local);
    offload_free(f->conf.io);
    offload_free(f->conf.cpu);
    loop_free(f->loop);
}

static inline void fixture_reopen(struct local_fixture *f)
{
    fixture_close(f);
    fixture_open(f);
}

/* Zeroed but for the defaults; then adjust conf and fixture_open(). */
static inline struct local_fixture *fixture_new(size_t mountpaths)
{
    struct local_fixture *f = NEW(struct local_fixture);

    hash_setup();
    test_dir_make(&f->tmp);
    f->conf = (struct local_conf)LOCAL_CONF_DEFAULT;
    f->conf.mountpaths = f->mountpaths;
    f->conf.mountpath_count = mountpaths;
    for (size_t i = 0; i < mountpaths; i++) {
        snprintf(f->paths[i], sizeof(f->paths[i]), "%s/m%zu", f->tmp.path, i);
        f->mountpaths[i] = str_z(f->paths[i]);
    }
    return f;
}

static inline void fixture_free(struct local_fixture *f)
{
    test_dir_remove(&f->tmp);
    free(f);
}

struct waiting {
    struct call call;
    bool done;
};

static inline void waiting_done(struct call *c)
{
    CONTAINER(c, struct waiting, call)->done = true;
}

static inline struct call *wait_begin(struct local_fixture *f, struct waiting *w)
{
    w->done = false;
    w->call.state = CALL_IDLE;
    call_begin(&w->call, f->loop, waiting_done);
    return &w->call;
}

static inline enum err wait_end(struct local_fixture *f, struct waiting *w)
{
    while (!w->done)
        loop_turn(f->loop, 1000);
    return w->call.err;
}

#define WAIT(f, w, begin) (begin, wait_end((f), (w)))

static inline enum err t_put_full(struct local_fixture *f, struct obj_put_req *req, struct obj_put_res *res)
{
    struct body_check check = {0};
    struct waiting w;

    req->arena = &f->arena;
    if (!req->check)
        req->check = &check;
    if (!req->size_max)
        req->size_max = PUT_SIZE_MAX;
    store_obj_put(f->store, req, res, wait_begin(f, &w));
    return wait_end(f, &w);
}

static inline struct cond cond_none(void)
{
    return (struct cond)COND_INIT;
}

static inline enum err t_put(struct local_fixture *f, uint64_t uid, const char *key, struct str content)
{
    struct obj_put_res res;
    struct source *body = source_memory(content, NULL, NULL);
    struct obj_put_req req = {.bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                              .key = str_z(key),
                              .cond = cond_none(),
                              .body = body};
    enum err e = t_put_full(f, &req, &res);

    source_close(body);
    return e;
}

static inline enum err t_delete(struct local_fixture *f, uint64_t uid, const char *key, bool *existed)
{
    struct obj_delete_req req = {.arena = &f->arena,
                                 .bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                                 .key = str_z(key),
                                 .cond = cond_none()};
    struct obj_delete_res res = {0};
    struct waiting w;

    store_obj_delete(f->store, &req, &res, wait_begin(f, &w));
    enum err e = wait_end(f, &w);
    if (existed)
        *existed = res.existed;
    return e;
}

static inline enum err t_head(struct local_fixture *f, uint64_t uid, const char *key, struct obj_head_res *res)
{
    struct obj_head_req req = {.arena = &f->arena,
                               .bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                               .key = str_z(key),
                               .cond = cond_none()};
    struct waiting w;

    store_obj_head(f->store, &req, res, wait_begin(f, &w));
    return wait_end(f, &w);
}

/* Reads and closes the body; the bytes are the arena's. */
static inline enum err t_read(struct local_fixture *f, struct source *body, uint64_t len, struct str *out)
{
    char *buf = arena_alloc(&f->arena, (size_t)len + 1);
    struct source_fill fill;
    struct waiting w;
    size_t n = 0;
    enum err e;

    source_fill(&fill, body, buf, (size_t)len + 1, &n, wait_begin(f, &w));
    e = wait_end(f, &w);
    source_close(body);
    *out = str_n(buf, n);
    return e;
}

static inline enum err t_get_range(struct local_fixture *f, uint64_t uid, const char *key, struct range range,
                                   struct str *out)
{
    struct obj_get_req req = {.head = {.arena = &f->arena,
                                       .bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                                       .key = str_z(key),
                                       .cond = cond_none(),
                                       .range = range}};
    struct obj_get_res res = {0};
    struct waiting w;

    store_obj_get(f->store, &req, &res, wait_begin(f, &w));
    enum err e = wait_end(f, &w);
    return e == ERR_OK ? t_read(f, res.body, res.head.len, out) : e;
}

static inline enum err t_get(struct local_fixture *f, uint64_t uid, const char *key, struct str *out)
{
    return t_get_range(f, uid, key, (struct range){RANGE_ALL, 0, 0}, out);
}

static inline enum err t_copy(struct local_fixture *f, uint64_t uid, const char *from, const char *to)
{
    struct obj_copy_req req = {.arena = &f->arena,
                               .src_bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                               .src_key = str_z(from),
                               .src_cond = cond_none(),
                               .bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                               .key = str_z(to),
                               .cond = cond_none(),
                               .size_max = PUT_SIZE_MAX};
    struct obj_copy_res res;
    struct waiting w;

    store_obj_copy(f->store, &req, &res, wait_begin(f, &w));
    return wait_end(f, &w);
}

/* *moved: by one commit. */
static inline enum err t_move(struct local_fixture *f, uint64_t uid, const char *from, const char *to, bool *moved)
{
    struct obj_copy_req req = {.arena = &f->arena,
                               .src_bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                               .src_key = str_z(from),
                               .src_cond = cond_none(),
                               .bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                               .key = str_z(to),
                               .cond = cond_none(),
                               .size_max = PUT_SIZE_MAX,
                               .move = true};
    struct obj_copy_res res = {.moved = false};
    struct waiting w;

    store_obj_copy(f->store, &req, &res, wait_begin(f, &w));
    enum err e = wait_end(f, &w);
    *moved = res.moved;
    return e;
}

/* An upload of parts of the given sizes, completed. `content` holds them one after the other. */
static inline enum err t_multipart(struct local_fixture *f, uint64_t uid, const char *key, const char *content,
                                   const size_t *sizes, uint32_t n)
{
    struct upload_create_req create = {.arena = &f->arena,
                                       .bucket = {uid, STR("bucket"), f->redundancy, .encrypted = f->encrypted},
                                       .key = str_z(key)};
    struct upload_create_res created;
    struct complete_part *parts = arena_new(&f->arena, n * sizeof(*parts));
    struct waiting w;
    enum err e;

    store_upload_create(f->store, &create, &created, wait_begin(f, &w));
    if ((e = wait_end(f, &w)) != ERR_OK)
        return e;
    for (uint32_t i = 0; i < n; i++) {
        struct body_check check = {0};
        struct upload_part_req part = {.arena = &f->arena,
                                       .bucket = create.bucket,
                                       .key = create.key,
                                       .upload_id = created.upload_id,
                                       .number = i + 1,
                                       .body = source_memory(str_n(content, sizes[i]), NULL, NULL),
                                       .check = &check,
                                       .size_max = PART_SIZE_MAX};
        struct upload_part_res res;
        store_upload_part(f->store, &part, &res, wait_begin(f, &w));
        e = wait_end(f, &w);
        source_close(part.body);
        if (e != ERR_OK)
            return e;
        content += sizes[i];
        parts[i] = (struct complete_part){.number = i + 1, .etag = arena_str(&f->arena, etag_str(&res.part.etag))};
    }
    struct upload_complete_req complete = {.arena = &f->arena,
                                           .bucket = create.bucket,
                                           .key = create.key,
                                           .upload_id = created.upload_id,
                                           .parts = parts,
                                           .part_count = n,
                                           .cond = cond_none(),
                                           .want_size = UINT64_MAX};
    struct upload_complete_res completed = {0};
    store_upload_complete(f->store, &complete, &completed, wait_begin(f, &w));
    return wait_end(f, &w);
}

static inline bool t_holds(struct local_fixture *f, uint64_t uid, const char *key, struct str content)
{
    struct str got = STR_NONE;

    return t_get(f, uid, key, &got) == ERR_OK && str_eq(got, content);
}

#endif
