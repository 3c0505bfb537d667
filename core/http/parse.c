#include "parse.h"

#include <assert.h>

/* picohttpparser as exported by libh2o 2.2.5; its header is not packaged. */
int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len, const char **path,
                      size_t *path_len, int *minor_version, struct http_header *headers, size_t *num_headers,
                      size_t last_len);
int phr_parse_response(const char *buf, size_t len, int *minor_version, int *status, const char **msg, size_t *msg_len,
                       struct http_header *headers, size_t *num_headers, size_t last_len);

/* The library's struct phr_header: name, name_len, value, value_len. */
_Static_assert(offsetof(struct http_header, value) == sizeof(const char *) + sizeof(size_t) &&
                   offsetof(struct str, n) == sizeof(const char *) && sizeof(struct http_header) == 4 * sizeof(void *),
               "struct http_header must be laid out like struct phr_header");

static bool is_token_char(char c)
{
    return http_token_chars[(unsigned char)c] != 0;
}

/* ---- the end of the head ---- */

/* What can't begin a request line is refused at once: a TLS hello has no line end to wait for. */
static bool begins_badly(const struct head_scan *s, const char *p, size_t n)
{
    return s->line == s->start && n > s->start && !is_token_char(p[s->start]) && p[s->start] != '\r';
}

ssize_t head_scan(struct head_scan *s, const char *p, size_t n)
{
    while (s->at < n) {
        if (begins_badly(s, p, n))
            return -1;
        const char *lf = memchr(p + s->at, '\n', n - s->at);
        if (!lf) {
            s->at = n;
            return 0;
        }
        size_t end = (size_t)(lf - p);
        if (end == s->line || p[end - 1] != '\r')
            return -1; /* bare LF */
        bool empty = end == s->line + 1;
        s->at = s->line = end + 1;
        s->lines += !empty || s->lines > 0;
        if (empty && s->lines > 0)
            return (ssize_t)s->at;
        if (empty && (s->start = s->at) > 2 * HTTP_EMPTY_LINES_MAX)
            return -1;
    }
    return 0;
}

/* ---- request line ---- */

static enum http_method method_of(struct str s)
{
    static const struct {
        struct str text;
        enum http_method method;
    } known[] = {
        {{"GET", 3}, HTTP_GET},     {{"PUT", 3}, HTTP_PUT},       {{"HEAD", 4}, HTTP_HEAD},
        {{"POST", 4}, HTTP_POST},   {{"DELETE", 6}, HTTP_DELETE}, {{"OPTIONS", 7}, HTTP_OPTIONS},
        {{"PATCH", 5}, HTTP_PATCH},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_eq(s, known[i].text))
            return known[i].method;
    return HTTP_OTHER;
}

/* RFC 3986 host and port, without userinfo; a comma is legal there but would hide a merged second Host. */
static bool is_authority(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            (c == 0 || !strchr("-._~%!$&'()*+;=:[]", c)))
            return false;
    }
    return true;
}

/* RFC 9112 section 3.2.2: "http://host/path?query" becomes "/path?query", its host wins over the Host header. */
static enum err take_absolute(struct arena *a, struct http_head *h)
{
    struct str t = h->target;
    size_t scheme = str_starts_nocase(t, STR("http://")) ? 7 : str_starts_nocase(t, STR("https://")) ? 8 : 0;
    size_t end = scheme;

    if (scheme == 0)
        return ERR_INVALID_URI;
    while (end < t.n && t.p[end] != '/' && t.p[end] != '?')
        end++;
    h->host = str_n(t.p + scheme, end - scheme);
    if (h->host.n == 0 || !is_authority(h->host))
        return ERR_INVALID_URI;
    h->target = str_skip(t, end);
    if (h->target.n == 0 || h->target.p[0] == '?')
        h->target = arena_printf(a, "/" STR_FMT, STR_ARG(h->target));
    return ERR_OK;
}

static enum err take_target(struct arena *a, struct http_head *h)
{
    if (h->target.n == 0 || str_find_char(h->target, '#') != SIZE_MAX)
        return ERR_INVALID_URI;
    if (h->target.p[0] != '/' && !(h->method == HTTP_OPTIONS && str_eq(h->target, STR("*")))) {
        enum err e = take_absolute(a, h);
        if (e != ERR_OK)
            return e;
    }
    size_t mark = str_find_char(h->target, '?');
    h->has_query = mark != SIZE_MAX;
    h->path = h->has_query ? str_n(h->target.p, mark) : h->target;
    h->query = h->has_query ? str_skip(h->target, mark + 1) : str_n(h->target.p + h->target.n, 0);
    return ERR_OK;
}

/* ---- headers ---- */

/* What the framing headers say before they are weighed against one another. */
struct framing {
    unsigned hosts, lengths, codings, expects;
    uint64_t length;
    bool close, keep_alive, unknown_expect;
};

static void take_connection(struct str list, struct framing *f)
{
    while (list.n) {
        struct str token = str_trim(str_split(&list, ','));
        if (str_eq_nocase(token, STR("close")))
            f->close = true;
        else if (str_eq_nocase(token, STR("keep-alive")))
            f->keep_alive = true;
    }
}

static enum err take_header(struct str name, struct str value, struct http_head *h, struct framing *f)
{
    if (str_eq(name, STR("host"))) {
        if (f->hosts++ > 0 || !is_authority(value))
            return ERR_BAD_REQUEST;
        if (!h->host.p) /* the absolute form has been here */
            h->host = value;
    } else if (str_eq(name, STR("content-length"))) {
        if (f->lengths++ > 0 || !str_to_u64(value, INT64_MAX, &f->length))
            return ERR_BAD_REQUEST;
    } else if (str_eq(name, STR("transfer-encoding"))) {
        if (f->codings++ > 0 || !str_eq_nocase(value, STR("chunked")))
            return ERR_BAD_REQUEST;
    } else if (str_eq(name, STR("connection"))) {
        take_connection(value, f);
    } else if (str_eq(name, STR("expect"))) {
        f->expects++;
        f->unknown_expect |= !str_eq_nocase(value, STR("100-continue"));
    }
    return ERR_OK;
}

/* Lower-cases the name, trims the value. False: obs-fold, or a space before the colon. */
static bool tidy(struct http_header *x)
{
    char *name = (char *)x->name.p;

    if (name == NULL || x->name.n == 0)
        return false;
    for (size_t k = 0; k < x->name.n; k++) {
        char lower = http_token_chars[(unsigned char)name[k]];
        if (!lower)
            return false;
        name[k] = lower;
    }
    x->value = str_trim(x->value);
    return true;
}

static enum err take_headers(struct http_head *h, struct framing *f)
{
    for (size_t i = 0; i < h->header_count; i++) {
        struct http_header *x = &h->headers[i];
        if (!tidy(x))
            return ERR_BAD_REQUEST;
        enum err e = take_header(x->name, x->value, h, f);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err weigh(struct http_head *h, const struct framing *f)
{
    bool is_11 = h->minor_version >= 1;

    if (is_11 && f->hosts == 0)
        return ERR_BAD_REQUEST;
    if (f->codings && (f->lengths || !is_11))
        return ERR_BAD_REQUEST; /* both framings, or one that HTTP/1.0 doesn't have: RFC 9112 section 6.1 */
    h->body_len = f->codings ? HTTP_LENGTH_UNKNOWN : f->length;
    h->keep_alive = !f->close && (is_11 || f->keep_alive);
    if (is_11 && f->unknown_expect)
        return ERR_EXPECTATION;
    h->expects_continue = is_11 && f->expects > 0;
    return ERR_OK;
}

enum err head_parse(struct arena *a, char *p, size_t n, uint32_t lines, struct http_head *out)
{
    struct http_head h = {0};
    struct framing f = {0};
    enum err e;

    assert(lines >= 2); /* the request line and the empty one */
    h.header_count = lines - 1;
    h.headers = arena_alloc(a, h.header_count * sizeof(*h.headers));
    int used = phr_parse_request(p, n, &h.method_text.p, &h.method_text.n, &h.target.p, &h.target.n, &h.minor_version,
                                 h.headers, &h.header_count, 0);
    if (used < 0 || (size_t)used != n || !http_is_token(h.method_text))
        return ERR_BAD_REQUEST;
    h.method = method_of(h.method_text);
    if ((e = take_target(a, &h)) != ERR_OK || (e = take_headers(&h, &f)) != ERR_OK || (e = weigh(&h, &f)) != ERR_OK)
        return e;
    if (!h.host.p)
        h.host = str_n("", 0);
    *out = h;
    return ERR_OK;
}

/* ---- responses ---- */

static bool take_response_header(const struct http_header *x, struct framing *f)
{
    uint64_t former = f->length;

    if (str_eq(x->name, STR("content-length")))
        return str_to_u64(x->value, INT64_MAX, &f->length) && (f->lengths++ == 0 || f->length == former);
    if (str_eq(x->name, STR("transfer-encoding")))
        return f->codings++ == 0 && str_eq_nocase(x->value, STR("chunked"));
    if (str_eq(x->name, STR("connection")))
        take_connection(x->value, f);
    return true;
}

/* RFC 9112 section 6.3 */
static enum err weigh_response(struct http_response_head *h, const struct framing *f, bool to_head)
{
    bool is_11 = h->minor_version >= 1;

    if (f->codings && (f->lengths || !is_11))
        return ERR_UNAVAILABLE; /* both framings, or one that HTTP/1.0 doesn't have */
    h->keep_alive = !f->close && (is_11 || f->keep_alive);
    if (to_head || h->status < 200 || h->status == 204 || h->status == 304)
        h->framing = HTTP_NO_BODY;
    else if (f->codings)
        h->framing = HTTP_CHUNKED;
    else if (f->lengths)
        h->framing = f->length ? HTTP_SIZED : HTTP_NO_BODY;
    else
        h->framing = HTTP_TO_CLOSE;
    h->length = h->framing == HTTP_SIZED ? f->length : 0;
    h->keep_alive &= h->framing != HTTP_TO_CLOSE;
    return ERR_OK;
}

enum err head_parse_response(struct arena *a, char *p, size_t n, uint32_t lines, bool to_head,
                             struct http_response_head *out)
{
    struct http_response_head h = {0};
    struct framing f = {0};
    struct str reason;
    enum err e;

    assert(lines >= 2);
    h.header_count = lines - 1;
    h.headers = arena_alloc(a, h.header_count * sizeof(*h.headers));
    int used =
        phr_parse_response(p, n, &h.minor_version, &h.status, &reason.p, &reason.n, h.headers, &h.header_count, 0);
    if (used < 0 || (size_t)used != n || h.status < 100 || h.status > 599)
        return ERR_UNAVAILABLE;
    for (size_t i = 0; i < h.header_count; i++)
        if (!tidy(&h.headers[i]) || !take_response_header(&h.headers[i], &f))
            return ERR_UNAVAILABLE;
    if ((e = weigh_response(&h, &f, to_head)) == ERR_OK)
        *out = h;
    return e;
}

/* ---- chunked ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_text(char c)
{
    return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
}

static enum chunked_state after_size(struct chunked *d)
{
    if (d->left == 0)
        return CHUNKED_TRAILER;
    d->overhead -= d->overhead < d->left ? d->overhead : d->left;
    return CHUNKED_DATA;
}

static enum chunked_state size_byte(struct chunked *d, char c)
{
    int v = hex_value(c);

    if (v >= 0) {
        if (d->digits == 16 || d->left > INT64_MAX >> 4)
            return CHUNKED_BAD;
        d->digits++;
        d->left = d->left << 4 | (uint64_t)v;
        return CHUNKED_SIZE;
    }
    if (d->digits == 0)
        return CHUNKED_BAD;
    d->digits = 0;
    d->ext = 0;
    return c == '\r' ? CHUNKED_SIZE_LF : c == ';' ? CHUNKED_EXT : CHUNKED_BAD;
}

static enum chunked_state ext_byte(struct chunked *d, char c)
{
    if (c == '\r')
        return CHUNKED_SIZE_LF;
    if (!is_text(c) || ++d->ext > HTTP_CHUNK_EXT_MAX || ++d->overhead > HTTP_CHUNK_OVERHEAD_MAX)
        return CHUNKED_BAD;
    return CHUNKED_EXT;
}

static enum chunked_state trailer_byte(struct chunked *d, char c)
{
    if (++d->trail > HTTP_TRAILERS_MAX)
        return CHUNKED_BAD;
    if (c == '\r')
        return d->state == CHUNKED_TRAILER ? CHUNKED_END_LF : CHUNKED_TRAILER_LF;
    if (d->state == CHUNKED_TRAILER && !is_token_char(c))
        return CHUNKED_BAD; /* obs-fold among them */
    return is_text(c) ? CHUNKED_TRAILER_LINE : CHUNKED_BAD;
}

/* One byte of framing, everything but CHUNKED_DATA. */
static enum chunked_state framing_byte(struct chunked *d, char c)
{
    switch (d->state) {
    case CHUNKED_SIZE:
        return size_byte(d, c);
    case CHUNKED_EXT:
        return ext_byte(d, c);
    case CHUNKED_SIZE_LF:
        return c == '\n' ? after_size(d) : CHUNKED_BAD;
    case CHUNKED_DATA_CR:
        return c == '\r' ? CHUNKED_DATA_LF : CHUNKED_BAD;
    case CHUNKED_DATA_LF:
        return c == '\n' ? CHUNKED_SIZE : CHUNKED_BAD;
    case CHUNKED_TRAILER:
    case CHUNKED_TRAILER_LINE:
        return trailer_byte(d, c);
    case CHUNKED_TRAILER_LF:
        return c == '\n' ? CHUNKED_TRAILER : CHUNKED_BAD;
    case CHUNKED_END_LF:
        return c == '\n' ? CHUNKED_DONE : CHUNKED_BAD;
    case CHUNKED_DATA:
    case CHUNKED_DONE:
    case CHUNKED_BAD:
        break;
    }
    return d->state;
}

enum chunked_state chunked_decode(struct chunked *d, char *buf, size_t n, size_t *out_n, size_t *used)
{
    size_t in = 0, out = 0;

    while (in < n && d->state != CHUNKED_DONE && d->state != CHUNKED_BAD) {
        if (d->state != CHUNKED_DATA) {
            d->state = framing_byte(d, buf[in++]);
            continue;
        }
        size_t step = n - in < d->left ? n - in : (size_t)d->left;
        if (out != in)
            memmove(buf + out, buf + in, step);
        in += step;
        out += step;
        d->left -= step;
        if (d->left == 0)
            d->state = CHUNKED_DATA_CR;
    }
    *out_n = out;
    *used = in;
    return d->state;
}
