#include "target/disks_own.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

/* Records and keys name a bucket by its uid, and a resilver must know what the bucket wants. So every mountpath has a record of each
 * mirrored bucket before it has an object of it. */
enum { NOTE_KEY = 1 + 8, NOTE_HEAD = 3, NAME_LEN_MAX = 255 };

struct known {
    struct known *next;
    struct bucket_id id;
};
struct bucket_table {
    pthread_mutex_t lock;
    struct known *list; /* guarded by lock; newest first, never taken out */
};

struct bucket_table *bucket_table_new(void)
{
    struct bucket_table *t = NEW(struct bucket_table);

    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void bucket_table_free(struct bucket_table *t)
{
    struct known *k;

    while ((k = t->list) != NULL) {
        t->list = k->next;
        free((char *)k->id.name.p);
        free(k);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

bool bucket_table_find(struct bucket_table *t, uint64_t uid, struct bucket_id *out)
{
    const struct known *k;

    pthread_mutex_lock(&t->lock);
    for (k = t->list; k && k->id.uid != uid; k = k->next)
        ;
    if (k)
        *out = k->id;
    pthread_mutex_unlock(&t->lock);
    return k != NULL;
}

bool bucket_table_is_empty(struct bucket_table *t)
{
    pthread_mutex_lock(&t->lock);
    bool empty = !t->list;
    pthread_mutex_unlock(&t->lock);
    return empty;
}

static void add(struct bucket_table *t, const struct bucket_id *id)
{
    struct bucket_id known;
    struct known *k;

    if (bucket_table_find(t, id->uid, &known))
        return;
    k = NEW(struct known);
    k->id = *id;
    k->id.name = str_n(strndup(id->name.p ? id->name.p : "", id->name.n), id->name.n);
    pthread_mutex_lock(&t->lock);
    k->next = t->list;
    t->list = k;
    pthread_mutex_unlock(&t->lock);
}

/* ---- records: kind, data, parity, name ---- */

static struct str note_key(uint64_t uid, char out[NOTE_KEY])
{
    out[0] = INDEX_BUCKET;
    for (size_t i = 1; i < NOTE_KEY; i++)
        out[i] = (char)(uint8_t)(uid >> (8 * (NOTE_KEY - 1 - i)));
    return str_n(out, NOTE_KEY);
}

static struct str note_value(const struct bucket_id *id, char out[NOTE_HEAD + NAME_LEN_MAX])
{
    size_t n = id->name.n > NAME_LEN_MAX ? NAME_LEN_MAX : id->name.n;

    out[0] = (char)id->redundancy.kind;
    out[1] = (char)id->redundancy.data;
    out[2] = (char)id->redundancy.parity;
    if (n)
        memcpy(out + NOTE_HEAD, id->name.p, n);
    return str_n(out, NOTE_HEAD + n);
}

enum err bucket_table_load(struct bucket_table *t, struct mountpath *m)
{
    static const char begin = INDEX_BUCKET, end = INDEX_BUCKET + 1;
    struct kv_iter *it = kv_iter_open(m->kv, &(struct kv_iter_options){.end = str_n(&end, 1)});
    enum err e = ERR_OK;

    for (kv_iter_seek(it, str_n(&begin, 1)); kv_iter_valid(it) && e == ERR_OK; kv_iter_next(it)) {
        struct str key = kv_iter_key(it), value = kv_iter_value(it);
        struct bucket_id id = {.uid = 0};
        if (key.n != NOTE_KEY || value.n < NOTE_HEAD) {
            log_error(STR_NONE, "index record damaged", "kind=bucket mountpath=%s", log_quote(m->dir));
            e = ERR_CORRUPT;
            break;
        }
        for (size_t i = 1; i < NOTE_KEY; i++)
            id.uid = id.uid << 8 | (uint8_t)key.p[i];
        id.redundancy = (struct redundancy){(uint8_t)value.p[0], (uint8_t)value.p[1], (uint8_t)value.p[2]};
        id.name = str_skip(value, NOTE_HEAD);
        if (id.redundancy.kind == REDUNDANCY_MIRROR)
            add(t, &id);
    }
    if (e == ERR_OK)
        e = kv_iter_err(it);
    kv_iter_close(it);
    return e;
}

enum err bucket_table_save(struct bucket_table *t, struct mountpath *m)
{
    struct kv_batch *b = kv_batch_new();
    char key[NOTE_KEY], value[NOTE_HEAD + NAME_LEN_MAX];
    enum err e = ERR_OK;

    pthread_mutex_lock(&t->lock);
    for (const struct known *k = t->list; k; k = k->next)
        kv_batch_put(b, note_key(k->id.uid, key), note_value(&k->id, value));
    pthread_mutex_unlock(&t->lock);
    if (kv_batch_count(b))
        e = kv_write(m->kv, b, true);
    kv_batch_free(b);
    return e;
}

/* ---- a bucket's first write ---- */

struct note_commit {
    struct commit commit;
    struct group_call member;
    char key[NOTE_KEY];
    char value[NOTE_HEAD + NAME_LEN_MAX];
    size_t value_len;
};

static step_fn note_start, note_written, note_end; /* in order */

static enum err note_apply(struct commit *m, struct txn *t)
{
    struct note_commit *n = CONTAINER(m, struct note_commit, commit);

    txn_put(t, str_n(n->key, NOTE_KEY), str_n(n->value, n->value_len));
    return ERR_OK;
}

static enum step_next note_start(struct op *op)
{
    struct bucket_note *n = OP(op, struct bucket_note);
    const struct disk_set *s = n->use->set;
    struct bucket_id known;

    if (bucket_table_find(n->handle->local->disks->buckets, n->bucket->uid, &known))
        return op_go(op, note_end);
    n->commits = arena_new(n->arena, s->count * sizeof(*n->commits));
    call_group_init(&n->group, op_call(op, note_written));
    for (size_t i = 0; i < s->count; i++) {
        struct note_commit *c = &n->commits[i];
        if (!s->disks[i].mountpath)
            continue;
        note_key(n->bucket->uid, c->key);
        c->value_len = note_value(n->bucket, c->value).n;
        commit_submit(s->disks[i].mountpath->committer, &c->commit, note_apply, group_call(&n->group, &c->member));
    }
    call_group_seal(&n->group);
    return STEP_WAIT;
}

static enum step_next note_written(struct op *op)
{
    struct bucket_note *n = OP(op, struct bucket_note);

    add(n->handle->local->disks->buckets, n->bucket);
    return op_go(op, note_end);
}

static enum step_next note_end(struct op *op)
{
    struct bucket_note *n = OP(op, struct bucket_note);

    call_finish(n->whole, op->err);
    return STEP_DONE;
}

void bucket_note(struct bucket_note *n, struct call *whole)
{
    n->whole = whole;
    op_start(&n->op, whole->loop, "note", note_start, note_end);
}
