#include "target/disks_own.h"

#include <unistd.h>

#include "base/log.h"

/* What is right is the newest object that a mountpath which knows has. It is brought to where the key belongs, and what anyone else has
 * goes. */
static step_fn settle_look, settle_looked, settle_next, settle_head, settle_body, settle_import, settle_imported,
    settle_others, settle_end; /* in order */

static struct store *member(struct disk_settle *s, size_t i)
{
    return &s->use->members[i].store;
}

static const struct disk *disk_at(const struct disk_settle *s, size_t i)
{
    return &s->use->set->disks[i];
}

/* ---- what there is ---- */

/* BLOCKING. Records don't name their bucket, but the description of a segment does. */
static void find_name(struct disk_settle *s, size_t i, const struct record *r)
{
    struct mountpath *m = disk_at(s, i)->mountpath;
    const struct segment_id *id = r->has_desc ? &r->desc : &r->body;
    struct segment_footer footer;
    struct description d;
    int fd = -1;

    if (s->bucket.name.n || (!r->has_desc && r->kind != BODY_SEGMENT))
        return;
    if (segment_open(m->segments, id, &fd) != ERR_OK)
        return; /* logged; whoever reads the content next will tell */
    if (segment_footer_read(m->segments, fd, id, &footer) == ERR_OK) {
        if (description_decode(footer.desc, &d) == ERR_OK && d.bucket.name.n && d.bucket.name.n <= sizeof(s->name)) {
            memcpy(s->name, d.bucket.name.p, d.bucket.name.n);
            s->bucket.name = str_n(s->name, d.bucket.name.n);
        }
        segment_footer_release(&footer);
    }
    close(fd);
}

/* BLOCKING */
static void look_at(struct disk_settle *s, size_t i)
{
    struct settle_seen *seen = &s->seen[i];
    struct kv_value raw = {0};
    struct index_key k;
    struct record r;

    seen->err = ERR_NOT_FOUND;
    if (!disk_at(s, i)->mountpath || (s->drop_bad && i == s->bad))
        return;
    index_object(&k, s->bucket.uid, s->key);
    seen->err = kv_get(disk_at(s, i)->mountpath->kv, index_key_str(&k), KV_DISK, &raw);
    if (seen->err == ERR_OK)
        seen->err = record_decode(raw.bytes, &r);
    if (seen->err == ERR_OK) {
        seen->mtime_ns = r.info.mtime_ns;
        seen->etag = r.info.etag;
        find_name(s, i, &r);
    }
    kv_value_release(&raw);
}

static enum err look_task(struct offload_task *t)
{
    struct disk_settle *s = CONTAINER(t, struct disk_settle, task);

    for (size_t i = 0; i < s->use->set->count; i++)
        look_at(s, i);
    return ERR_OK;
}

static enum step_next settle_look(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);

    s->copies = disk_copies(s->bucket.redundancy);
    s->rank_count = disk_rank(s->use->set, s->bucket.uid, s->key, s->copies, s->rank);
    s->doubt = disk_doubt(s->use->set, s->bucket.uid, s->key, s->copies);
    s->right = -1;
    offload_run(s->local->conf.io, &s->task, look_task, op_call(op, settle_looked));
    return STEP_WAIT;
}

static int etag_cmp(const struct etag *a, const struct etag *b)
{
    return str_cmp(etag_str(a), etag_str(b));
}

static bool is_same(const struct settle_seen *a, const struct settle_seen *b)
{
    return a->mtime_ns == b->mtime_ns && etag_cmp(&a->etag, &b->etag) == 0;
}

static bool is_newer(const struct settle_seen *a, const struct settle_seen *b)
{
    return a->mtime_ns != b->mtime_ns ? a->mtime_ns > b->mtime_ns : etag_cmp(&a->etag, &b->etag) > 0;
}

/* Equal ones: the one that ranks first, as reads prefer it. */
static void choose_right(struct disk_settle *s)
{
    for (size_t k = 0; k < s->rank_count; k++) {
        size_t i = s->rank[k];
        if (s->seen[i].err == ERR_OK && disk_knows(disk_at(s, i), s->copies) &&
            (s->right < 0 || is_newer(&s->seen[i], &s->seen[s->right])))
            s->right = (int)i;
    }
    for (size_t i = 0; i < s->use->set->count; i++)
        if (s->seen[i].err == ERR_OK && disk_knows(disk_at(s, i), s->copies) &&
            (s->right < 0 || is_newer(&s->seen[i], &s->seen[s->right])))
            s->right = (int)i;
}

/* Of one copy, a mountpath that can't tell stops everything; of several, the others do. */
static enum err check_seen(const struct disk_settle *s)
{
    for (size_t i = 0; i < s->use->set->count; i++) {
        enum err e = s->seen[i].err;
        if (e != ERR_OK && e != ERR_NOT_FOUND && (s->copies == 1 || s->right < 0))
            return e;
    }
    return ERR_OK;
}

static enum step_next settle_looked(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);
    enum err e;

    choose_right(s);
    if ((e = check_seen(s)) != ERR_OK)
        return op_fail(op, e);
    if (s->right < 0)
        return s->doubt ? op_go(op, settle_end) : op_go(op, settle_others);
    s->head_req =
        (struct obj_head_req){.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT, .parts = true};
    local_obj_head(member(s, (size_t)s->right), &s->head_req, &s->head, op_call(op, settle_head));
    return STEP_WAIT;
}

static enum step_next settle_head(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);

    s->info = s->head.info;
    return op_go(op, settle_next);
}

/* ---- to where it belongs ---- */

static bool lacks(const struct disk_settle *s, size_t i)
{
    const struct settle_seen *seen = &s->seen[i];

    return disk_at(s, i)->mountpath && (int)i != s->right &&
           (seen->err != ERR_OK || !is_same(seen, &s->seen[s->right]));
}

/* The last ranked first: what the first one has, all have. */
static enum step_next settle_next(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);

    while (s->at < s->rank_count && !lacks(s, s->rank[s->rank_count - 1 - s->at]))
        s->at++;
    if (s->at == s->rank_count) {
        s->at = 0;
        return op_go(op, settle_others);
    }
    if (s->drop_bad && s->rank[s->rank_count - 1 - s->at] == s->bad) {
        s->drop_bad = false; /* an import keeps what says that it is the same */
        s->delete_req =
            (struct obj_delete_req){.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT};
        local_obj_delete(member(s, s->bad), &s->delete_req, &s->delete_res, op_call(op, settle_next));
        return STEP_WAIT;
    }
    if (s->info.layout.n) /* its content is elsewhere */
        return op_go(op, settle_import);
    s->get_req = (struct obj_get_req){{.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT}};
    s->get = (struct obj_get_res){0};
    local_obj_get(member(s, (size_t)s->right), &s->get_req, &s->get, op_call(op, settle_body));
    return STEP_WAIT;
}

/* Nobody else changes it, by the lock; still nothing is put together of two objects. */
static enum step_next settle_body(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);
    const struct object_info *now = &s->get.head.info;

    if (now->mtime_ns != s->info.mtime_ns || etag_cmp(&now->etag, &s->info.etag) != 0)
        return op_fail(op, ERR_CONFLICT);
    return op_go(op, settle_import);
}

static enum step_next settle_import(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);
    size_t to = s->rank[s->rank_count - 1 - s->at];

    s->check = (struct body_check){0};
    s->import_req = (struct obj_import_req){.arena = s->arena,
                                            .bucket = s->bucket,
                                            .key = s->key,
                                            .info = s->info,
                                            .parts = s->head.parts,
                                            .part_count = s->head.part_count,
                                            .body = s->get.body,
                                            .check = &s->check,
                                            .force = true};
    local_obj_import(member(s, to), &s->import_req, &s->import, op_try(op, settle_imported));
    return STEP_WAIT;
}

static enum step_next settle_imported(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);

    source_close(s->get.body);
    s->get.body = NULL;
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    s->changed = true;
    s->bytes += s->info.size;
    s->at++;
    return op_go(op, settle_next);
}

/* ---- away from everywhere else ---- */

static bool is_ranked(const struct disk_settle *s, size_t i)
{
    for (size_t k = 0; k < s->rank_count; k++)
        if (s->rank[k] == i)
            return true;
    return false;
}

static enum step_next settle_others(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);

    while (s->at < s->use->set->count && (s->seen[s->at].err != ERR_OK || (s->right >= 0 && is_ranked(s, s->at))))
        s->at++;
    if (s->at == s->use->set->count)
        return op_go(op, settle_end);
    s->changed = true;
    s->delete_req = (struct obj_delete_req){.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT};
    local_obj_delete(member(s, s->at++), &s->delete_req, &s->delete_res, op_call(op, settle_others));
    return STEP_WAIT;
}

static enum step_next settle_end(struct op *op)
{
    struct disk_settle *s = OP(op, struct disk_settle);

    source_close(s->get.body);
    s->get.body = NULL;
    if (op->err != ERR_OK)
        log_warn(STR_NONE, "object can't be brought to its mountpath", "key=%s error=%s", log_quote(s->key),
                 err_name(op->err));
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

void disk_settle(struct disk_settle *s, struct call *whole)
{
    s->bucket.versions = VERSIONS_OFF; /* it moves as it is */
    s->whole = whole;
    op_start(&s->op, whole->loop, "disk_settle", settle_look, settle_end);
}
