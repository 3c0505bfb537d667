#include "etl/builtin.h"

#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_convert.h"
#include "archive/arc_index.h"
#include "base/hash.h"
#include "base/op.h"
#include "etl/builtin_own.h"

/* ---- digests ---- */

struct hash_coder {
    struct arc_coder coder;
    struct hash hash;
};

static enum err hash_run(struct arc_coder *c, struct arc_coder_io *io)
{
    struct hash_coder *h = CONTAINER(c, struct hash_coder, coder);
    struct digest d;

    hash_update(&h->hash, io->in, io->in_n);
    io->in_used = io->in_n;
    if (!io->in_ended)
        return ERR_OK;
    hash_final(&h->hash, &d);
    h->hash.alg = HASH_NONE;
    hex_encode(d.b, d.n, io->out);
    io->out_made = 2 * (size_t)d.n;
    io->ended = true;
    return ERR_OK;
}

static void hash_free(struct arc_coder *c)
{
    struct hash_coder *h = CONTAINER(c, struct hash_coder, coder);

    hash_drop(&h->hash);
    free(h);
}

static struct arc_coder *make_digest(int alg, struct str args)
{
    static const struct arc_coder_ops ops = {hash_run, NULL, hash_free};
    struct hash_coder *h = NEW(struct hash_coder);

    (void)args;
    h->coder.ops = &ops;
    hash_init(&h->hash, (enum hash_alg)alg);
    return &h->coder;
}

/* ---- compression ---- */

static struct arc_coder *make_compressor(int codec, struct str args)
{
    (void)args;
    return arc_compressor((enum arc_codec)codec);
}

/* Which of them, or a certain one. */
struct decompress {
    struct arc_coder coder;
    enum arc_codec only; /* ARC_CODEC_NONE: any */
    struct arc_coder *inner;
    const char *why;
};

/* The first piece is all of the body, or has more than enough to tell. */
static enum err decompress_run(struct arc_coder *c, struct arc_coder_io *io)
{
    struct decompress *d = CONTAINER(c, struct decompress, coder);
    enum arc_codec codec = d->only;

    if (!d->inner) {
        if (codec == ARC_CODEC_NONE)
            codec = arc_codec_of_magic(str_n(io->in, io->in_n));
        if (codec == ARC_CODEC_NONE) {
            d->why = "the content is none of gzip, Zstandard, LZ4, bzip2 and xz";
            return ERR_BAD_ARCHIVE;
        }
        d->inner = arc_decompressor(codec, true);
    }
    enum err e = arc_coder_run(d->inner, io);
    if (e == ERR_BAD_ARCHIVE)
        d->why = "the content is damaged, cut off, or not compressed so";
    else if (e == ERR_TOO_LARGE)
        d->why = "the content needs too much memory to be decompressed";
    return e;
}

static const char *decompress_why(const struct arc_coder *c)
{
    return CONTAINER(c, const struct decompress, coder)->why;
}

static void decompress_free(struct arc_coder *c)
{
    struct decompress *d = CONTAINER(c, struct decompress, coder);

    arc_coder_free(d->inner);
    free(d);
}

static struct arc_coder *make_decompressor(int codec, struct str args)
{
    static const struct arc_coder_ops ops = {decompress_run, decompress_why, decompress_free};
    struct decompress *d = NEW(struct decompress);

    (void)args;
    d->coder.ops = &ops;
    d->only = (enum arc_codec)codec;
    d->why = "";
    return &d->coder;
}

/* ---- archives ---- */

static struct arc_coder *make_converter(int format, struct str args)
{
    (void)args;
    return arc_converter((enum arc_format)format);
}

static struct arc_coder *make_extractor(int none, struct str args)
{
    (void)none;
    return arc_extractor(args);
}

/* ---- the transforms ---- */

struct builtin {
    const char *name;
    struct arc_coder *(*make)(int kind, struct str args);
    int kind;
    enum arc_codec then; /* the result is compressed on its way */
    bool takes_args;
    const char *type;
};

static const struct builtin builtins[] = {
    {"@gzip", make_compressor, ARC_CODEC_GZIP, 0, false, "application/gzip"},
    {"@zstd", make_compressor, ARC_CODEC_ZSTD, 0, false, "application/zstd"},
    {"@lz4", make_compressor, ARC_CODEC_LZ4, 0, false, "application/x-lz4"},
    {"@gunzip", make_decompressor, ARC_CODEC_GZIP, 0, false, ""},
    {"@unzstd", make_decompressor, ARC_CODEC_ZSTD, 0, false, ""},
    {"@unlz4", make_decompressor, ARC_CODEC_LZ4, 0, false, ""},
    {"@decompress", make_decompressor, ARC_CODEC_NONE, 0, false, ""},
    {"@md5", make_digest, HASH_MD5, 0, false, "text/plain"},
    {"@sha256", make_digest, HASH_SHA256, 0, false, "text/plain"},
    {"@xxh64", make_digest, HASH_XXH64, 0, false, "text/plain"},
    {"@crc32c", make_digest, HASH_CRC32C, 0, false, "text/plain"},
    {"@to-tar", make_converter, ARC_TAR, 0, false, "application/x-tar"},
    {"@to-zip", make_converter, ARC_ZIP, 0, false, "application/zip"},
    {"@to-tgz", make_converter, ARC_TAR, ARC_CODEC_GZIP, false, "application/gzip"},
    {"@to-tar.lz4", make_converter, ARC_TAR, ARC_CODEC_LZ4, false, "application/x-lz4"},
    {"@to-tar.zst", make_converter, ARC_TAR, ARC_CODEC_ZSTD, false, "application/zstd"},
    {"@extract", make_extractor, 0, 0, true, ""},
};

static const struct builtin *find(struct str name)
{
    for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++)
        if (str_eq(name, str_z(builtins[i].name)))
            return &builtins[i];
    return NULL;
}

bool etl_builtin_is(struct str name)
{
    return find(name) != NULL;
}

bool etl_builtin_takes_args(struct str name)
{
    const struct builtin *b = find(name);

    return b && b->takes_args;
}

enum err etl_builtin_check(struct str name, struct str args, char why[ETL_WHY_MAX])
{
    const struct builtin *b = find(name);

    if (!b) {
        snprintf(why, ETL_WHY_MAX, STR_FMT ": there is no transform of that name among those that begin with '@'",
                 STR_ARG(name));
        return ERR_NO_SUCH_ETL;
    }
    if (!b->takes_args && args.n) {
        snprintf(why, ETL_WHY_MAX, "%s takes no arguments", b->name);
        return ERR_INVALID_ARGUMENT;
    }
    if (b->takes_args && (args.n == 0 || args.n > ARC_NAME_MAX || memchr(args.p, 0, args.n))) {
        snprintf(why, ETL_WHY_MAX, "the arguments of %s must be the name of a member", b->name);
        return ERR_INVALID_ARGUMENT;
    }
    return ERR_OK;
}

/* ---- running one ---- */

struct run_op {
    struct op op;
    const struct etl_builtin_req *req;
    struct etl_builtin_res *res;
    struct call *whole;
    const struct builtin *builtin;
    struct source *first;  /* what the coder makes of the body */
    struct source *result; /* the same, or the compressed one */
};

static step_fn run_begin, run_end;

static enum step_next run_begin(struct op *op)
{
    struct run_op *r = OP(op, struct run_op);

    builtin_pump_begin(r->result, op_call(op, run_end));
    return STEP_WAIT;
}

static enum step_next run_end(struct op *op)
{
    struct run_op *r = OP(op, struct run_op);
    const char *why = builtin_pump_why(r->first);

    if (op->err == ERR_OK) {
        r->res->body = r->result;
        r->res->content_type = str_z(r->builtin->type);
    } else {
        r->res->text = arena_printf(r->req->arena, "%s: %s", r->builtin->name, why[0] ? why : err_text(op->err));
        source_close(r->result);
    }
    call_finish(r->whole, op->err);
    return STEP_DONE;
}

static void on_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void etl_builtin_run(const struct etl_builtin_req *req, struct etl_builtin_res *res, struct call *call)
{
    struct run_op *r = ARENA_NEW(req->arena, struct run_op);
    char why[ETL_WHY_MAX] = "";
    enum err e = etl_builtin_check(req->name, req->args, why);

    *res = (struct etl_builtin_res){.body = NULL};
    if (e != ERR_OK) {
        res->text = arena_str(req->arena, str_z(why));
        call_finish(call, e);
        return;
    }
    r->req = req;
    r->res = res;
    r->whole = call;
    r->builtin = find(req->name);
    struct builtin_pump_conf conf = {.loop = req->loop,
                                     .cpu = req->cpu,
                                     .coder = r->builtin->make(r->builtin->kind, req->args),
                                     .body = req->body,
                                     .name = r->builtin->name};
    r->first = r->result = builtin_pump_new(&conf);
    if (r->builtin->then != ARC_CODEC_NONE) {
        conf.coder = arc_compressor(r->builtin->then);
        conf.body = r->first;
        conf.takes_body = true;
        r->result = builtin_pump_new(&conf);
    }
    op_start(&r->op, req->loop, "builtin", run_begin, run_end);
    call_on_cancel(call, on_cancel, &r->op);
}
