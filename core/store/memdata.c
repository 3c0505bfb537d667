#include "memdata.h"

#include <stdlib.h>

#include "base/mem.h"

/* ---- blobs ---- */

struct memblob *memblob_new(void)
{
    struct memblob *b = NEW(struct memblob);

    b->refs = 1;
    return b;
}

void memblob_unref(struct memblob *b)
{
    if (!b || --b->refs)
        return;
    free(b->p);
    free(b);
}

char *memblob_reserve(struct memblob *b, size_t n)
{
    if (b->cap - b->n < n) {
        b->cap = b->cap * 2 > b->n + n ? b->cap * 2 : b->n + n;
        b->p = mem_realloc(b->p, b->cap);
    }
    return b->p + b->n;
}

void memblob_shrink(struct memblob *b)
{
    b->cap = b->n;
    b->p = mem_realloc(b->p, b->n ? b->n : 1);
}

/* ---- ordered arrays of pointers ---- */

static void **array_insert(void **v, size_t *n, size_t *cap, size_t at, void *item)
{
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        v = mem_realloc(v, *cap * sizeof(*v));
    }
    memmove(v + at + 1, v + at, (*n - at) * sizeof(*v));
    v[at] = item;
    ++*n;
    return v;
}

static void array_remove(void **v, size_t *n, size_t at)
{
    --*n;
    memmove(v + at, v + at + 1, (*n - at) * sizeof(*v));
}

/* ---- buckets ---- */

struct membucket *memstore_bucket(struct memstore *m, uint64_t uid)
{
    struct membucket *b;

    for (size_t i = 0; i < m->bucket_count; i++)
        if (m->buckets[i]->uid == uid)
            return m->buckets[i];
    b = NEW(struct membucket);
    b->uid = uid;
    m->buckets =
        (struct membucket **)array_insert((void **)m->buckets, &m->bucket_count, &m->bucket_cap, m->bucket_count, b);
    return b;
}

size_t membucket_seek(const struct membucket *b, struct str key)
{
    size_t low = 0, high = b->object_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(b->objects[mid]->key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t membucket_seek_past(const struct membucket *b, size_t from, struct str prefix)
{
    size_t high = b->object_count;

    while (from < high) {
        size_t mid = from + (high - from) / 2;
        if (str_starts(b->objects[mid]->key, prefix) || str_cmp(b->objects[mid]->key, prefix) < 0)
            from = mid + 1;
        else
            high = mid;
    }
    return from;
}

struct memobject *membucket_find(const struct membucket *b, struct str key)
{
    size_t at = membucket_seek(b, key);

    return at < b->object_count && str_eq(b->objects[at]->key, key) ? b->objects[at] : NULL;
}

void membucket_put(struct membucket *b, struct memobject *o)
{
    size_t at = membucket_seek(b, o->key);

    if (at < b->object_count && str_eq(b->objects[at]->key, o->key)) {
        memobject_unref(b->objects[at]);
        b->objects[at] = o;
        return;
    }
    b->objects = (struct memobject **)array_insert((void **)b->objects, &b->object_count, &b->object_cap, at, o);
}

void membucket_remove(struct membucket *b, size_t at)
{
    memobject_unref(b->objects[at]);
    array_remove((void **)b->objects, &b->object_count, at);
}

static int upload_cmp(const struct memupload *u, struct str key, struct str id)
{
    int c = str_cmp(u->key, key);

    return c != 0 ? c : str_cmp(u->id, id);
}

size_t membucket_seek_upload(const struct membucket *b, struct str key, struct str id)
{
    size_t low = 0, high = b->upload_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (upload_cmp(b->uploads[mid], key, id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct memupload *membucket_find_upload(const struct membucket *b, struct str key, struct str id)
{
    size_t at = membucket_seek_upload(b, key, id);

    return at < b->upload_count && upload_cmp(b->uploads[at], key, id) == 0 ? b->uploads[at] : NULL;
}

void membucket_add_upload(struct membucket *b, struct memupload *u)
{
    size_t at = membucket_seek_upload(b, u->key, u->id);

    b->uploads = (struct memupload **)array_insert((void **)b->uploads, &b->upload_count, &b->upload_cap, at, u);
}

void membucket_remove_upload(struct membucket *b, struct memupload *u)
{
    array_remove((void **)b->uploads, &b->upload_count, membucket_seek_upload(b, u->key, u->id));
    for (uint32_t i = 0; i < u->part_count; i++)
        memblob_unref(u->parts[i].blob);
    free(u->parts);
    arena_release(&u->arena);
    free(u);
}

/* ---- objects ---- */

struct memobject *memobject_new(struct str key, const struct object_info *from, uint32_t parts)
{
    struct memobject *o = NEW(struct memobject);

    o->refs = 1;
    o->key = arena_str(&o->arena, key);
    object_info_copy(&o->arena, &o->info, from);
    o->parts = arena_new(&o->arena, parts * sizeof(*o->parts));
    o->part_count = parts;
    return o;
}

void memobject_unref(struct memobject *o)
{
    if (--o->refs)
        return;
    for (uint32_t i = 0; i < o->part_count; i++)
        memblob_unref(o->parts[i].blob);
    arena_release(&o->arena);
    free(o);
}

void memobject_follow(struct memobject *o, const struct memobject *current)
{
    if (current && current->info.mtime_ns >= o->info.mtime_ns && current->info.mtime_ns < INT64_MAX)
        o->info.mtime_ns = current->info.mtime_ns + 1;
}

/* ---- uploads ---- */

uint32_t memupload_seek(const struct memupload *u, uint32_t number)
{
    uint32_t low = 0, high = u->part_count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (u->parts[mid].info.number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void memupload_put(struct memupload *u, const struct part_info *info, struct memblob *blob)
{
    uint32_t at = memupload_seek(u, info->number);

    u->changes++;
    if (at < u->part_count && u->parts[at].info.number == info->number) {
        memblob_unref(u->parts[at].blob);
        u->parts[at] = (struct mempart){*info, blob};
        return;
    }
    if (u->part_count == u->part_cap) {
        u->part_cap = u->part_cap ? u->part_cap * 2 : 8;
        u->parts = mem_realloc(u->parts, u->part_cap * sizeof(*u->parts));
    }
    memmove(u->parts + at + 1, u->parts + at, (u->part_count - at) * sizeof(*u->parts));
    u->parts[at] = (struct mempart){*info, blob};
    u->part_count++;
}

/* ---- reading an object ---- */

struct memsource {
    struct source source;
    struct memobject *object;
    uint32_t part; /* the one to read from next */
    uint64_t at;   /* ... at this offset */
    uint64_t left;
};

static void memsource_peek(struct source *s, struct span *out)
{
    struct memsource *f = CONTAINER(s, struct memsource, source);

    if (f->left == 0) {
        *out = (struct span){.kind = SPAN_END};
        return;
    }
    while (f->at == f->object->parts[f->part].blob->n) {
        f->part++;
        f->at = 0;
    }
    const struct memblob *b = f->object->parts[f->part].blob;
    uint64_t len = b->n - f->at < f->left ? b->n - f->at : f->left;
    *out = (struct span){.kind = SPAN_MEMORY, .p = b->p + f->at, .len = len};
}

static void memsource_consume(struct source *s, uint64_t n)
{
    struct memsource *f = CONTAINER(s, struct memsource, source);

    f->at += n;
    f->left -= n;
}

static void memsource_prepare(struct source *s, struct call *c)
{
    (void)s;
    call_finish(c, ERR_OK);
}

static void memsource_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct span span;

    memsource_peek(s, &span);
    *n = span.len < len ? (size_t)span.len : len;
    if (*n)
        memcpy(buf, span.p, *n);
    memsource_consume(s, *n);
    call_finish(c, ERR_OK);
}

static void memsource_close(struct source *s)
{
    struct memsource *f = CONTAINER(s, struct memsource, source);

    memobject_unref(f->object);
    free(f);
}

struct source *memobject_source(struct memobject *o, uint64_t offset, uint64_t len)
{
    static const struct source_ops ops = {"object",          memsource_peek, memsource_consume,
                                          memsource_prepare, memsource_read, memsource_close};
    struct memsource *f;

    if (o->info.layout.n)
        return source_memory(STR(""), NULL, NULL);
    f = NEW(struct memsource);
    f->source = (struct source){&ops, len};
    f->object = o;
    o->refs++;
    f->at = offset;
    f->left = len;
    while (len && f->at >= o->parts[f->part].blob->n)
        f->at -= o->parts[f->part++].blob->n;
    return &f->source;
}
