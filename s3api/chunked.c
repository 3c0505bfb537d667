#include "chunked.h"

#include <stdlib.h>

#include "base/mem.h"
#include "s3api/checksum.h"
#include "s3api/pen.h"

/* ---- the parser ---- */

void chunk_parser_init(struct chunk_parser *p, const struct identity *who, struct body_check *check,
                       enum hash_alg announced, uint64_t decoded_len)
{
    *p = (struct chunk_parser){.who = who, .check = check, .announced = announced, .len = decoded_len};
    p->is_signed = who->payload == PAYLOAD_SIGNED_CHUNKS || who->payload == PAYLOAD_SIGNED_CHUNKS_TRAILER;
    p->has_trailers = who->payload == PAYLOAD_SIGNED_CHUNKS_TRAILER || who->payload == PAYLOAD_UNSIGNED_TRAILER;
    memcpy(p->previous, who->chunks.seed, sizeof(p->previous));
    SHA256_Init(&p->trailer_sha256);
}

enum { SIGNED_TEXT_MAX = 32 + CLOCK_BASIC_LEN + 128 + 3 * 65 };

/* Compares a link of the chain; `middle` is SHA256("") and a line end for chunks, nothing for trailers. */
static enum err check_signature(const struct chunk_parser *p, struct str kind, struct str middle, SHA256_CTX *sha256,
                                const char stated[64])
{
    const struct chunk_signing *c = &p->who->chunks;
    char room[SIGNED_TEXT_MAX], hex[64];
    struct pen w = {room, 0, sizeof(room)};
    uint8_t sum[32];

    if (!c->verify)
        return ERR_OK;
    SHA256_Final(sum, sha256);
    hex_encode(sum, sizeof(sum), hex);
    pen_line(&w, kind);
    pen_line(&w, str_n(c->timestamp, sizeof(c->timestamp)));
    pen_line(&w, c->scope);
    pen_line(&w, str_n(p->previous, sizeof(p->previous)));
    pen_str(&w, middle);
    pen_add(&w, hex, sizeof(hex));
    hmac_of(&c->key, pen_text(&w), sum);
    hex_encode(sum, sizeof(sum), hex);
    return str_eq_secret(str_n(stated, 64), str_n(hex, 64)) ? ERR_OK : ERR_SIGNATURE;
}

/* All bytes of the chunk are there. */
static enum err end_chunk(struct chunk_parser *p)
{
    enum err e = ERR_OK;

    if (p->is_signed) {
        e = check_signature(p, STR("AWS4-HMAC-SHA256-PAYLOAD"),
                            STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"), &p->sha256,
                            p->signature);
        memcpy(p->previous, p->signature, sizeof(p->previous));
    }
    return e;
}

/* "hex" or "hex;chunk-signature=64hex", without its line end. */
static enum err begin_chunk(struct chunk_parser *p, struct str line)
{
    struct str size_text = str_split(&line, ';');
    uint64_t size;

    if (!str_hex_to_u64(size_text, &size))
        return ERR_INCOMPLETE_BODY;
    if (p->is_signed) {
        if (!str_starts(line, STR("chunk-signature=")) || line.n != 16 + sizeof(p->signature))
            return ERR_SIGNATURE;
        memcpy(p->signature, line.p + 16, sizeof(p->signature));
        SHA256_Init(&p->sha256);
    }
    if (size > p->len - p->seen)
        return ERR_INCOMPLETE_BODY;
    if (size == 0) {
        p->state = CHUNK_TRAILER;
        return p->seen == p->len ? end_chunk(p) : ERR_INCOMPLETE_BODY;
    }
    if (p->is_signed && p->small)
        return ERR_CHUNK_SIZE;
    p->small = size < CHUNK_SIZE_MIN;
    p->seen += size;
    p->chunk_left = size;
    p->state = CHUNK_DATA;
    return ERR_OK;
}

static enum err keep_checksum(struct chunk_parser *p, struct str value)
{
    struct checksum c;

    if (!checksum_parse(p->announced, value, &c) || c.type == CHECKSUM_COMPOSITE ||
        p->check->want_count == BODY_WANTS_MAX)
        return ERR_INVALID_REQUEST;
    p->check->want[p->check->want_count].digest = c.digest;
    p->check->want[p->check->want_count++].err = ERR_BAD_DIGEST;
    p->got_trailer = true;
    return ERR_OK;
}

static enum err trailer_field(struct chunk_parser *p, struct str line)
{
    struct str name = str_split(&line, ':'), value = str_trim(line);

    if (p->got_trailer_signature)
        return ERR_MALFORMED_TRAILER;
    if (p->is_signed && str_eq_nocase(name, STR("x-amz-trailer-signature"))) {
        if (value.n != sizeof(p->trailer_signature))
            return ERR_SIGNATURE;
        memcpy(p->trailer_signature, value.p, value.n);
        p->got_trailer_signature = true;
        return check_signature(p, STR("AWS4-HMAC-SHA256-TRAILER"), STR_NONE, &p->trailer_sha256, p->trailer_signature);
    }
    if (p->got_trailer || p->gap || p->announced == HASH_NONE || checksum_by_header_name(name) != p->announced)
        return ERR_MALFORMED_TRAILER;
    if (p->is_signed) {
        struct str canonical = checksum_header_name(p->announced);
        SHA256_Update(&p->trailer_sha256, canonical.p, canonical.n);
        SHA256_Update(&p->trailer_sha256, ":", 1);
        SHA256_Update(&p->trailer_sha256, value.p, value.n);
        SHA256_Update(&p->trailer_sha256, "\n", 1);
    }
    return keep_checksum(p, value);
}

/* Whatever was announced has come. */
static enum err check_trailers(const struct chunk_parser *p)
{
    if (p->announced != HASH_NONE && !p->got_trailer)
        return ERR_MALFORMED_TRAILER;
    if (p->is_signed && p->has_trailers && !p->got_trailer_signature)
        return ERR_MALFORMED_TRAILER;
    return ERR_OK;
}

/* One empty line too many is usual: S3's own examples and minio-go end the trailer with "\n\r\n" before the signature, and minio-go puts
 * "\n\r\n\r\n" behind an unsigned one. */
static enum err trailer_line(struct chunk_parser *p, struct str line)
{
    bool may_go_on = p->has_trailers && (!p->gap || (p->is_signed && !p->got_trailer_signature));

    if (line.n)
        return may_go_on ? trailer_field(p, line) : ERR_INCOMPLETE_BODY;
    if (p->gap || !p->has_trailers)
        p->state = CHUNK_END;
    p->gap = true;
    return ERR_OK;
}

/* A whole line with its "\n". Only behind the payload a bare "\n" will do. */
static enum err take_line(struct chunk_parser *p)
{
    struct str line = str_n(p->line, p->line_n - 1);
    bool crlf = line.n && line.p[line.n - 1] == '\r';

    p->line_n = 0;
    if (crlf)
        line.n--;
    else if (p->state != CHUNK_TRAILER)
        return ERR_INCOMPLETE_BODY;
    if (p->state == CHUNK_HEAD)
        return begin_chunk(p, line);
    if (p->state == CHUNK_TRAILER)
        return trailer_line(p, line);
    p->state = CHUNK_HEAD; /* CHUNK_DATA_END */
    return line.n ? ERR_INCOMPLETE_BODY : ERR_OK;
}

/* Moves bytes up to a line end into the line. */
static enum err feed_line(struct chunk_parser *p, const char *in, size_t n, size_t *used)
{
    const char *nl = memchr(in, '\n', n);

    *used = nl ? (size_t)(nl - in) + 1 : n;
    if (*used > sizeof(p->line) - p->line_n)
        return p->state == CHUNK_TRAILER ? ERR_MALFORMED_TRAILER : ERR_INCOMPLETE_BODY;
    memcpy(p->line + p->line_n, in, *used);
    p->line_n += *used;
    return nl ? take_line(p) : ERR_OK;
}

enum err chunk_parse(struct chunk_parser *p, char *buf, size_t n, size_t *out_n)
{
    size_t in = 0, out = 0, used;
    enum err e = ERR_OK;

    while (in < n && e == ERR_OK) {
        if (p->state == CHUNK_END)
            return ERR_INCOMPLETE_BODY;
        if (p->state != CHUNK_DATA) {
            e = feed_line(p, buf + in, n - in, &used);
            in += used;
            continue;
        }
        used = n - in < p->chunk_left ? n - in : (size_t)p->chunk_left;
        if (p->is_signed)
            SHA256_Update(&p->sha256, buf + in, used);
        if (in != out)
            memmove(buf + out, buf + in, used);
        in += used;
        out += used;
        p->chunk_left -= used;
        if (p->chunk_left == 0) {
            p->state = CHUNK_DATA_END;
            e = end_chunk(p);
        }
    }
    if (e == ERR_OK)
        *out_n = out;
    return e;
}

enum err chunk_parser_end(const struct chunk_parser *p)
{
    /* the last empty line may be missing: all that it would confirm is checked */
    if (p->state != CHUNK_END && (p->state != CHUNK_TRAILER || p->line_n))
        return ERR_INCOMPLETE_BODY;
    return check_trailers(p);
}

/* ---- the source ---- */

enum { INLINE_MAX = 64 * 1024 }; /* bytes hashed on the loop */

struct chunked_source {
    struct source source;
    struct source *inner;
    struct loop *loop;
    struct offload *cpu;
    struct offload_task task;
    struct call call; /* the inner read or the pool's work */
    enum err failed;
    struct chunk_parser parser;
    /* the read at hand */
    char *buf;
    size_t len, raw_n, out_n;
    size_t *n;
    struct call *whole;
};

static void raw_done(struct call *c);
static void parse_done(struct call *c);

static void read_end(struct chunked_source *s, enum err e)
{
    if (e != ERR_OK)
        s->failed = e;
    call_finish(s->whole, e);
}

static void cancel(void *arg)
{
    struct chunked_source *s = arg;

    call_cancel(&s->call);
}

static void read_raw(struct chunked_source *s)
{
    call_begin(&s->call, s->loop, raw_done);
    source_read(s->inner, s->buf, s->len, &s->raw_n, &s->call);
}

static void parsed(struct chunked_source *s, enum err e)
{
    if (e == ERR_OK && s->out_n == 0) { /* nothing but framing */
        if (s->whole->cancelled)
            read_end(s, ERR_CANCELLED);
        else
            read_raw(s);
        return;
    }
    if (e == ERR_OK)
        *s->n = s->out_n;
    read_end(s, e);
}

static enum err parse_task(struct offload_task *t)
{
    struct chunked_source *s = CONTAINER(t, struct chunked_source, task);

    return chunk_parse(&s->parser, s->buf, s->raw_n, &s->out_n);
}

static void parse_done(struct call *c)
{
    struct chunked_source *s = CONTAINER(c, struct chunked_source, call);

    /* a full queue: a late answer is better than none, and the client's pace limits what arrives here */
    parsed(s, c->err == ERR_BUSY ? parse_task(&s->task) : c->err);
}

static void raw_done(struct call *c)
{
    struct chunked_source *s = CONTAINER(c, struct chunked_source, call);
    enum err e = c->err;

    if (e != ERR_OK) {
        read_end(s, e);
    } else if (s->raw_n == 0) {
        e = chunk_parser_end(&s->parser);
        if (e == ERR_OK)
            *s->n = 0;
        read_end(s, e);
    } else if (s->cpu && s->parser.is_signed && s->raw_n > INLINE_MAX) {
        call_begin(&s->call, s->loop, parse_done);
        offload_run(s->cpu, &s->task, parse_task, &s->call);
    } else {
        parsed(s, parse_task(&s->task));
    }
}

static void chunked_read(struct source *source, void *buf, size_t len, size_t *n, struct call *c)
{
    struct chunked_source *s = CONTAINER(source, struct chunked_source, source);

    if (s->failed != ERR_OK) {
        call_finish(c, s->failed);
        return;
    }
    s->buf = buf;
    s->len = len;
    s->n = n;
    s->whole = c;
    read_raw(s);
    call_on_cancel(c, cancel, s);
}

static void chunked_close(struct source *source)
{
    free(CONTAINER(source, struct chunked_source, source));
}

struct source *chunked_source_new(struct loop *loop, struct source *inner, const struct identity *who,
                                  struct body_check *check, enum hash_alg announced, uint64_t decoded_len,
                                  struct offload *cpu)
{
    static const struct source_ops ops = {.name = "aws-chunked", .read = chunked_read, .close = chunked_close};
    struct chunked_source *s = NEW(struct chunked_source);

    s->source = (struct source){&ops, decoded_len};
    s->inner = inner;
    s->loop = loop;
    s->cpu = cpu;
    chunk_parser_init(&s->parser, who, check, announced, decoded_len);
    return &s->source;
}
