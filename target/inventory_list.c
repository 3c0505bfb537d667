#include "target/inventory_list.h"

#include <time.h>

#include "archive/arc_coder.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "http/url.h"

enum { PAGE = 1000, ROW_MAX = 3 * KEY_MAX + 1024, PIECE = 64 << 10, KEY_TEXT_MAX = 2048 };

static step_fn list_next, list_older, list_rows, list_pack, list_put, list_kept, list_manifest, list_checksum,
    list_last, list_end;

/* ---- rows ---- */

static void add_value(struct buf *b, struct str value)
{
    buf_add_z(b, ",\"");
    buf_add_str(b, value);
    buf_add_char(b, '"');
}

static void add_bool(struct buf *b, bool v)
{
    add_value(b, v ? STR("true") : STR("false"));
}

static void add_field(struct buf *b, enum inventory_field f, const struct list_entry *e)
{
    char text[CLOCK_ISO_LEN];
    struct arena a = ARENA_INIT;

    switch (f) {
    case INVENTORY_SIZE:
        add_value(b, arena_u64(&a, e->size));
        break;
    case INVENTORY_LAST_MODIFIED:
        clock_iso(e->mtime_ns, text);
        add_value(b, str_n(text, CLOCK_ISO_LEN));
        break;
    case INVENTORY_ETAG:
        add_value(b, etag_str(&e->etag));
        break;
    case INVENTORY_STORAGE_CLASS:
        add_value(b, e->storage_class.n ? e->storage_class : STR("STANDARD"));
        break;
    case INVENTORY_MULTIPART:
        add_bool(b, str_find_char(etag_str(&e->etag), '-') != SIZE_MAX);
        break;
    case INVENTORY_CHECKSUM:
        add_value(b, e->checksum_alg != HASH_NONE ? hash_name(e->checksum_alg) : STR(""));
        break;
    case INVENTORY_FIELDS:
        break;
    }
    arena_release(&a);
}

static void add_row(struct inventory_list *l, const struct list_entry *e, struct str key, struct object_version v,
                    bool latest)
{
    struct buf *b = &l->text;
    bool marker = version_is_marker(v.kind);
    char id[VERSION_ID_MAX];

    buf_add_char(b, '"');
    buf_add_str(b, l->from.name);
    buf_add_z(b, "\",\"");
    url_encode(b, key, true);
    buf_add_char(b, '"');
    if (l->conf->all_versions) {
        add_value(b, l->from.versions != VERSIONS_OFF ? version_id(v, id) : STR(""));
        add_bool(b, latest);
        add_bool(b, marker);
    }
    for (unsigned f = 0; f < INVENTORY_FIELDS; f++)
        if (l->conf->fields >> f & 1) {
            if (marker && f != INVENTORY_LAST_MODIFIED)
                add_value(b, STR(""));
            else
                add_field(b, f, e);
        }
    buf_add_char(b, '\n');
    l->job->bytes += e->size;
}

/* ---- two listings as one ---- */

static void cursor_release(struct inventory_cursor *c)
{
    arena_release(&c->pages[0]);
    arena_release(&c->pages[1]);
}

static const struct list_entry *cursor_entry(const struct inventory_cursor *c)
{
    return c->at < c->res.count ? &c->res.entries[c->at] : NULL;
}

/* Whether a page has to be fetched: then its request is ready. */
static bool cursor_wants(struct inventory_list *l, struct inventory_cursor *c, const struct bucket_id *b)
{
    struct str after = c->begun && c->res.count ? c->res.entries[c->res.count - 1].key : STR("");

    if (cursor_entry(c) || c->ended)
        return false;
    if (c->begun && (!c->res.truncated || !c->res.count)) {
        c->ended = true;
        return false;
    }
    c->begun = true;
    c->page ^= 1;
    arena_release(&c->pages[c->page]);
    c->req = (struct obj_list_req){
        .arena = &c->pages[c->page], .bucket = *b, .prefix = l->conf->only, .after = after, .max = PAGE};
    c->at = 0;
    return true;
}

static enum step_next list_next(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);

    if (!cursor_wants(l, &l->current, &l->from))
        return op_go(op, list_older);
    store_obj_list(l->job->env->all, &l->current.req, &l->current.res, op_call(op, list_older));
    return STEP_WAIT;
}

static enum step_next list_older(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);
    struct bucket_id shadow = version_shadow(l->from);

    if (!l->conf->all_versions || l->from.versions == VERSIONS_OFF)
        l->older.ended = true;
    if (!cursor_wants(l, &l->older, &shadow))
        return op_go(op, list_rows);
    store_obj_list(l->job->env->all, &l->older.req, &l->older.res, op_call(op, list_rows));
    return STEP_WAIT;
}

static void remember(struct inventory_list *l, struct str key)
{
    memcpy(l->last, key.p, key.n);
    l->last_key = str_n(l->last, key.n);
}

/* One row; false: a listing has to be fetched first, or both have ended. */
static bool row(struct inventory_list *l)
{
    const struct list_entry *now = cursor_entry(&l->current), *old = cursor_entry(&l->older);
    struct object_version v = {0};
    struct str key;

    if ((!now && !l->current.ended) || (!old && !l->older.ended) || (!now && !old))
        return false;
    if (old && !version_key_parse(old->key, &key, &v)) {
        l->older.at++; /* no version's */
        return true;
    }
    if (now && (!old || str_cmp(now->key, key) <= 0)) {
        add_row(l, now, now->key, (struct object_version){now->mtime_ns, now->versioned ? VERSION_PLAIN : VERSION_NULL},
                true);
        remember(l, now->key);
        l->current.at++;
        return true;
    }
    add_row(l, old, key, v, !str_eq(key, l->last_key));
    remember(l, key);
    l->older.at++;
    return true;
}

static enum step_next list_rows(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);
    bool full = false;

    while (!full && row(l))
        full = l->text.n + ROW_MAX > INVENTORY_FILE_TEXT;
    if (full || (l->current.ended && l->older.ended && l->text.n))
        return op_go(op, list_pack);
    if (l->current.ended && l->older.ended)
        return op_go(op, list_manifest);
    return op_go(op, list_next);
}

/* ---- a file ---- */

static enum err pack(struct offload_task *t)
{
    struct inventory_list *l = CONTAINER(t, struct inventory_list, task);
    struct arc_coder *c = arc_compressor(ARC_CODEC_GZIP);
    struct arc_coder_io io = {.in = l->text.p, .in_n = l->text.n, .in_ended = true};
    enum err e = ERR_OK;

    while (e == ERR_OK && !io.ended) {
        io.out = buf_reserve(&l->packed, PIECE);
        io.out_n = PIECE;
        if (!io.out) {
            e = ERR_TOO_LARGE;
            break;
        }
        e = arc_coder_run(c, &io);
        buf_commit(&l->packed, io.out_made);
        io.in += io.in_used;
        io.in_n -= io.in_used;
    }
    arc_coder_free(c);
    return e;
}

static enum step_next list_pack(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);

    buf_reset(&l->packed);
    offload_run(l->job->env->cpu, &l->task, pack, op_call(op, list_put));
    return STEP_WAIT;
}

/* Puts an object into the target bucket. */
static void put(struct inventory_list *l, struct str key, struct str content, struct call *call)
{
    source_close(l->body);
    l->key = key;
    l->body = source_memory(content, NULL, NULL);
    l->check = (struct body_check){0};
    l->put = (struct obj_put_req){.arena = &l->arena,
                                  .bucket = l->to,
                                  .key = key,
                                  .cond = COND_INIT,
                                  .body = l->body,
                                  .check = &l->check,
                                  .size_max = OBJECT_SIZE_MAX};
    store_obj_put(l->job->env->all, &l->put, &l->stored, call);
}

static enum step_next list_put(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);
    uint8_t id[16];
    char hex[32];

    arena_release(&l->arena);
    random_bytes(id, sizeof(id));
    hex_encode(id, sizeof(id), hex);
    put(l,
        arena_printf(&l->arena, STR_FMT "data/%.8s-%.4s-%.4s-%.4s-%.12s.csv.gz", STR_ARG(l->head), hex, hex + 8,
                     hex + 12, hex + 16, hex + 20),
        buf_str(&l->packed), op_call(op, list_kept));
    return STEP_WAIT;
}

static enum step_next list_kept(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);
    struct buf one = BUF_INIT(KEY_TEXT_MAX);

    js_object(&one);
    js_put_str(&one, "key", l->key);
    js_put_u64(&one, "size", l->packed.n);
    js_put_str(&one, "MD5checksum", etag_str(&l->stored.info.etag));
    js_end_object(&one);
    if (l->files.n)
        buf_add_char(&l->files, ',');
    buf_add_str(&l->files, buf_str(&one));
    buf_release(&one);
    buf_reset(&l->text);
    return l->current.ended && l->older.ended ? op_go(op, list_manifest) : op_go(op, list_next);
}

/* ---- the manifest ---- */

static struct str schema(struct inventory_list *l)
{
    struct str text =
        l->conf->all_versions ? STR("Bucket, Key, VersionId, IsLatest, IsDeleteMarker") : STR("Bucket, Key");

    for (unsigned f = 0; f < INVENTORY_FIELDS; f++)
        if (l->conf->fields >> f & 1)
            text = arena_printf(&l->keep, STR_FMT ", " STR_FMT, STR_ARG(text), STR_ARG(inventory_field_name(f)));
    return text;
}

static struct str manifest_key(struct inventory_list *l, const char *name)
{
    time_t s = (time_t)(l->began_ns / NS_PER_S);
    char stamp[32];
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H-%MZ", &tm);
    return arena_printf(&l->keep, STR_FMT "%s/%s", STR_ARG(l->head), stamp, name);
}

static enum step_next list_manifest(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);
    struct buf *b = &l->text;
    struct digest md5;

    if (buf_err(&l->files) != ERR_OK)
        return op_fail(op, ERR_TOO_LARGE);
    buf_reset(b);
    js_object(b);
    js_put_str(b, "sourceBucket", l->from.name);
    js_put_str(b, "destinationBucket", arena_printf(&l->keep, "arn:aws:s3:::" STR_FMT, STR_ARG(l->to.name)));
    js_put_str(b, "version", STR("2016-11-30"));
    js_put_str(b, "creationTimestamp", arena_u64(&l->keep, (uint64_t)l->began_ns / 1000000));
    js_put_str(b, "fileFormat", STR("CSV"));
    js_put_str(b, "fileSchema", schema(l));
    js_key(b, STR("files"));
    js_raw(b, arena_printf(&l->keep, "[" STR_FMT "]", STR_ARG(buf_str(&l->files))));
    js_end_object(b);
    hash_of(HASH_MD5, buf_str(b), &md5);
    hex_encode(md5.b, 16, l->md5);
    put(l, manifest_key(l, "manifest.json"), buf_str(b), op_call(op, list_checksum));
    return STEP_WAIT;
}

static enum step_next list_checksum(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);

    put(l, manifest_key(l, "manifest.checksum"), str_n(l->md5, 32), op_call(op, list_last));
    return STEP_WAIT;
}

static enum step_next list_last(struct op *op)
{
    return op_go(op, list_end);
}

/* ---- life ---- */

static enum step_next list_end(struct op *op)
{
    struct inventory_list *l = OP(op, struct inventory_list);

    source_close(l->body);
    cursor_release(&l->current);
    cursor_release(&l->older);
    buf_release(&l->text);
    buf_release(&l->packed);
    buf_release(&l->files);
    arena_release(&l->arena);
    arena_release(&l->keep);
    call_finish(l->whole, op->err);
    return STEP_DONE;
}

static void cancel(void *arg)
{
    op_cancel(&((struct inventory_list *)arg)->op, ERR_CANCELLED);
}

void inventory_list_run(struct inventory_list *l, struct call *whole)
{
    struct str prefix = l->conf->prefix;

    l->whole = whole;
    l->began_ns = clock_wall_ns();
    buf_init(&l->text, INVENTORY_FILE_TEXT);
    buf_init(&l->packed, 2 * INVENTORY_FILE_TEXT);
    buf_init(&l->files, INVENTORY_FILES_TEXT);
    l->head =
        arena_printf(&l->keep, STR_FMT "%s" STR_FMT "/" STR_FMT "/", STR_ARG(prefix),
                     prefix.n && !str_ends(prefix, STR("/")) ? "/" : "", STR_ARG(l->from.name), STR_ARG(l->conf->id));
    op_start(&l->op, whole->loop, "inventory_list", list_next, list_end);
    call_on_cancel(whole, cancel, l);
}
