/* list-objects: what is asked, one page of it, and the answer. Nothing is kept between pages: the token is a name. */
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "gateway/native_entries.h"
#include "gateway/native_fields.h"
#include "gateway/native_object.h"
#include "gateway/native_page.h"
#include "gateway/native_steps.h"

enum {
    PAGE_MAX = 10000,
    ENTRIES_BYTES_MAX = 8 << 20, /* a page ends early before it gets longer */
    TEXT_MAX = 16 << 20,         /* of which the last NATIVE_HEADS_MAX rows may take */
    UUID_BYTES = 9,
    UUID_MAX = 64,
};

/* Flags of a request (AIStore's api/apc/lsmsg.go); what is no name here is refused. */
enum {
    LS_CACHED = 1,       /* everything is, but for remote buckets */
    LS_ARCH_DIR = 8,     /* members of archives, too */
    LS_NAME_ONLY = 16,   /* */
    LS_NAME_SIZE = 32,   /* */
    LS_BCK_PRESENT = 64, /* buckets are never added by listing them: these three change nothing */
    LS_DONT_HEAD_REMOTE = 128,
    LS_DONT_ADD_REMOTE = 256,
    LS_NOT_CACHED = 512,    /* of remote buckets: only what is not here */
    LS_NO_RECURSION = 2048, /* one level, with rows for what goes on below */
    LS_NO_DIRS = 8192, /* without NO_RECURSION there are none; with it they are shown nevertheless, as AIStore does */
    LS_SERVED = LS_CACHED | LS_ARCH_DIR | LS_NAME_ONLY | LS_NAME_SIZE | LS_BCK_PRESENT | LS_DONT_HEAD_REMOTE |
                LS_DONT_ADD_REMOTE | LS_NOT_CACHED | LS_NO_RECURSION | LS_NO_DIRS,
};

static const struct {
    unsigned bit;
    const char *name;
} refused[] = {{2, "MISSING"}, {4, "DELETED"},   {1024, "ONLY_REMOTE_PROPS"},
               {4096, "DIFF"}, {16384, "IS_S3"}, {32768, "NBI"}};

enum {
    PROP_NAME = 1,
    PROP_SIZE = 2,
    PROP_CHECKSUM = 4,
    PROP_ATIME = 8,
    PROP_VERSION = 16,
    PROP_CUSTOM = 32,
    PROP_LOCATION = 64,
    PROP_COPIES = 128,
    PROP_EC = 256,
    PROP_CACHED = 512,
    PROP_STATUS = 1024,
    PROPS_OF_HEAD = PROP_CHECKSUM | PROP_VERSION | PROP_CUSTOM, /* a listing doesn't tell them */
};

static const struct {
    const char *name;
    unsigned bit;
} props[] = {{"name", PROP_NAME},       {"size", PROP_SIZE},     {"checksum", PROP_CHECKSUM}, {"atime", PROP_ATIME},
             {"version", PROP_VERSION}, {"custom", PROP_CUSTOM}, {"location", PROP_LOCATION}, {"copies", PROP_COPIES},
             {"ec", PROP_EC},           {"cached", PROP_CACHED}, {"status", PROP_STATUS}};

struct list_op {
    struct native_request *request;
    struct native_page_req req;
    struct native_page_res res;
    struct native_entries out;
    unsigned props;
    struct str uuid;
    struct arena scratch; /* of one row */
};

/* The life of a listing. */
static step_fn list_send;

/* ---- what is asked ---- */

static enum err parse_flags(struct native_request *r, unsigned *flags)
{
    struct str text = native_text(r->action.value, "flags");
    uint64_t v = 0;

    if (text.n && !str_to_u64(text, UINT32_MAX, &v))
        return native_error(r, ERR_INVALID_ARGUMENT, "list flags must be a number");
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        if (v & refused[i].bit)
            return native_error(r, ERR_NOT_IMPLEMENTED, "list flag %s is not implemented", refused[i].name);
    if (v & LS_ARCH_DIR && !r->env->arcs)
        return native_error(r, ERR_NOT_IMPLEMENTED, "list flag ARCH_DIR is not implemented");
    if (v & LS_NOT_CACHED && !r->bucket.found.id.backend)
        return native_error(r, ERR_NOT_IMPLEMENTED,
                            "list flag NOT_CACHED is not implemented for buckets without a remote one");
    if (v & LS_NOT_CACHED && v & LS_CACHED)
        return native_error(r, ERR_INVALID_ARGUMENT, "list flags CACHED and NOT_CACHED exclude each other");
    if (v & ~(uint64_t)LS_SERVED)
        return native_error(r, ERR_NOT_IMPLEMENTED, "list flags 0x%llx are not implemented",
                            (unsigned long long)(v & ~(uint64_t)LS_SERVED));
    *flags = (unsigned)v;
    return ERR_OK;
}

static enum err parse_props(struct native_request *r, unsigned flags, unsigned *out)
{
    struct str rest = native_text(r->action.value, "props"), word;
    unsigned set = 0;

    while (rest.n) {
        word = str_trim(str_split(&rest, ','));
        size_t i = 0;
        while (i < sizeof(props) / sizeof(props[0]) && !str_eq(word, str_z(props[i].name)))
            i++;
        if (word.n && i == sizeof(props) / sizeof(props[0]))
            return native_error(r, ERR_INVALID_ARGUMENT, "unknown object property \"" STR_FMT "\"", STR_ARG(word));
        set |= word.n ? props[i].bit : 0;
    }
    if (!set)
        set = PROP_NAME | PROP_SIZE | PROP_CACHED;
    if (flags & LS_NAME_SIZE)
        set = PROP_NAME | PROP_SIZE;
    if (flags & LS_NAME_ONLY)
        set = PROP_NAME;
    *out = set;
    return ERR_OK;
}

static bool is_empty(const struct doc *d)
{
    if (d->kind != DOC_SCALAR)
        return d->count == 0;
    return d->text.n == 0 || str_eq(d->text, STR("0")) || str_eq(d->text, STR("false"));
}

/* What says something that isn't understood, or couldn't be done, is no listing that was asked for. */
static enum err check_fields(struct native_request *r)
{
    static const char *const known[] = {"prefix", "pagesize",   "uuid", "props", "continuation_token",
                                        "flags",  "start_after"};
    const struct doc *value = r->action.value;

    if (value && value->kind != DOC_MAP)
        return native_error(r, ERR_INVALID_ARGUMENT, "the value of \"list\" must be an object");
    for (const struct doc *d = value ? value->first : NULL; d; d = d->next) {
        size_t i = 0;
        while (i < sizeof(known) / sizeof(known[0]) && !str_eq_nocase(d->key, str_z(known[i])))
            i++;
        if (i == sizeof(known) / sizeof(known[0]) && !is_empty(d))
            return native_error(r, ERR_NOT_IMPLEMENTED, "listing with \"" STR_FMT "\" is not implemented",
                                STR_ARG(d->key));
        if (i < sizeof(known) / sizeof(known[0]) && d->kind != DOC_SCALAR)
            return native_error(r, ERR_INVALID_ARGUMENT, "list: \"" STR_FMT "\" must be a text or a number",
                                STR_ARG(d->key));
    }
    if (http_header_get(r->http, STR("ais-inv-name")).n)
        return native_error(r, ERR_NOT_IMPLEMENTED, "listing an inventory (Ais-Inv-Name) is not implemented");
    return ERR_OK;
}

static bool is_archive(struct str name)
{
    return arc_format_of_name(name) != ARC_NONE;
}

static enum err parse_page(struct native_request *r, struct list_op *l, unsigned flags)
{
    struct str size = native_text(r->action.value, "pagesize");
    struct str token = native_text(r->action.value, "continuation_token");
    struct str prefix = native_text(r->action.value, "prefix");
    uint64_t max = 0;

    if (size.n && !str_to_u64(size, INT64_MAX, &max))
        return native_error(r, ERR_INVALID_ARGUMENT, "pagesize must be a number that is not negative");
    if (prefix.n && prefix.p[prefix.n - 1] == '*')
        prefix.n--;
    l->req = (struct native_page_req){.arena = r->arena,
                                      .store = r->env->s3->store,
                                      .is_archive = is_archive,
                                      .arcs = r->env->arcs,
                                      .members = arcs_list,
                                      .bucket = r->bucket.found.id,
                                      .prefix = prefix,
                                      .after = token.n ? token : native_text(r->action.value, "start_after"),
                                      .max = max == 0 || max > PAGE_MAX ? PAGE_MAX : (uint32_t)max,
                                      .one_level = flags & LS_NO_RECURSION,
                                      .expand = flags & LS_ARCH_DIR,
                                      .cached = flags & LS_CACHED ? LIST_ONLY_CACHED : LIST_TELL_CACHED,
                                      .absent_only = flags & LS_NOT_CACHED,
                                      .heads = l->props & PROPS_OF_HEAD};
    return ERR_OK;
}

/* The client's, or a new one: the SDK takes an empty one for an unfinished page. */
static struct str uuid_of(struct native_request *r)
{
    struct str sent = native_text(r->action.value, "uuid");
    uint8_t raw[UUID_BYTES];
    char *text;

    if (sent.n && sent.n <= UUID_MAX)
        return sent;
    random_bytes(raw, sizeof(raw));
    text = arena_alloc(r->arena, BASE64_LEN(UUID_BYTES));
    return str_n(text, base64url_encode(raw, sizeof(raw), text));
}

/* ---- rows ---- */

static unsigned copies_of(const struct bucket_id *b)
{
    return b->redundancy.kind == REDUNDANCY_MIRROR || b->redundancy.kind == REDUNDANCY_REPLICAS ? b->redundancy.data
                                                                                                : 1;
}

/* "t[target]": whose it is by the map. */
static struct str location_of(struct list_op *l, struct str key)
{
    const struct native_env *env = l->request->env;
    struct str node = env->conf->node_id, text;
    const struct map *map = env->members ? members_map(env->members) : NULL;
    uint16_t at;

    if (map && map_place(map, l->req.bucket.uid, key, 1, &at) > 0)
        node = map->nodes[at].id;
    text = arena_printf(&l->scratch, "t[" STR_FMT "]", STR_ARG(node));
    if (map)
        map_release(map);
    return text;
}

static bool list_row(void *arg, const struct native_row *row)
{
    struct list_op *l = arg;
    struct native_entry e = {.name = row->name, .flags = row->flags};
    char atime[NATIVE_ATIME_LEN];
    bool is_file = !(row->flags & ROW_DIR);

    if (l->props & PROP_SIZE)
        e.size = row->size;
    if (l->props & PROP_ATIME && is_file) {
        native_atime(row->mtime_ns, atime);
        e.atime = str_n(atime, sizeof(atime));
    }
    if (l->props & PROP_LOCATION && row->flags & ROW_CACHED && !(row->flags & ROW_MEMBER))
        e.location = location_of(l, row->name);
    if (l->props & PROP_COPIES && is_file)
        e.copies = copies_of(&l->req.bucket);
    if (row->info) {
        if (l->props & PROP_CHECKSUM)
            e.checksum = native_checksum_of(&l->scratch, row->info).value;
        if (l->props & PROP_VERSION)
            e.version = native_version(row->info);
        if (l->props & PROP_CUSTOM)
            e.custom = native_custom_text(&l->scratch, row->info);
    }
    native_entries_add(&l->out, &e);
    arena_release(&l->scratch);
    return l->request->text.n < ENTRIES_BYTES_MAX;
}

/* ---- the steps ---- */

enum step_next native_list_objects(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct list_op *l = ARENA_NEW(r->arena, struct list_op);
    struct str accept = http_header_get(r->http, STR("accept"));
    bool msgpack = str_find(accept, STR("application/msgpack")) != SIZE_MAX;
    unsigned flags = 0;
    enum err e;

    r->state = l;
    l->request = r;
    if ((e = check_fields(r)) != ERR_OK || (e = parse_flags(r, &flags)) != ERR_OK ||
        (e = parse_props(r, flags, &l->props)) != ERR_OK || (e = parse_page(r, l, flags)) != ERR_OK)
        return op_fail(op, e);
    l->uuid = uuid_of(r);
    l->req.row = list_row;
    l->req.arg = l;
    buf_release(&r->text);
    buf_init(&r->text, TEXT_MAX);
    native_entries_begin(&l->out, &r->text, msgpack);
    native_page(&l->req, &l->res, op_try(op, list_send));
    return STEP_WAIT;
}

static enum step_next list_send(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct list_op *l = r->state;
    enum err e = op->call.err;

    if (e == ERR_OK) {
        native_entries_end(&l->out, l->uuid, l->res.last, 0);
        e = buf_err(&r->text);
    }
    if (e != ERR_OK) {
        buf_reset(&r->text);
        return op_fail(op, native_fail(r, e, &r->bucket, STR_NONE));
    }
    r->type = l->out.msgpack ? STR("application/msgpack") : STR("application/json");
    return op_go(op, native_send);
}
