#include "url.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_coded(struct str s, bool plus_is_space)
{
    return str_find_char(s, '%') != SIZE_MAX || (plus_is_space && str_find_char(s, '+') != SIZE_MAX);
}

bool url_decode(struct str s, struct arena *a, bool plus_is_space, struct str *out)
{
    if (!is_coded(s, plus_is_space)) {
        *out = s;
        return true;
    }
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            p[n++] = plus_is_space && s.p[i] == '+' ? ' ' : s.p[i];
            continue;
        }
        int hi = s.n - i > 2 ? hex_value(s.p[i + 1]) : -1;
        int lo = hi >= 0 ? hex_value(s.p[i + 2]) : -1;
        if (lo < 0)
            return false;
        p[n++] = (char)(hi << 4 | lo);
        i += 2;
    }
    p[n] = 0;
    *out = str_n(p, n);
    return true;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void url_encode(struct buf *b, struct str s, bool keep_slash)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_unreserved((char)c) || (c == '/' && keep_slash)) {
            buf_add_char(b, (char)c);
        } else {
            char coded[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_add(b, coded, sizeof(coded));
        }
    }
}

static size_t count_pieces(struct str s)
{
    size_t n = 1;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '&';
    return n;
}

enum err url_parse_query(struct arena *a, struct str raw, struct query_param **out, size_t *n, size_t max)
{
    size_t room = count_pieces(raw), used = 0;

    if (room > max)
        room = max;
    struct query_param *list = arena_alloc(a, room * sizeof(*list));
    while (raw.n) {
        struct str piece = str_split(&raw, '&');
        if (piece.n == 0)
            continue;
        if (used == room)
            return ERR_INVALID_URI;
        struct query_param *q = &list[used++];
        size_t eq = str_find_char(piece, '=');
        q->has_value = eq != SIZE_MAX;
        struct str name = q->has_value ? str_n(piece.p, eq) : piece;
        struct str value = q->has_value ? str_skip(piece, eq + 1) : str_n("", 0);
        if (!url_decode(name, a, true, &q->name) || !url_decode(value, a, true, &q->value))
            return ERR_INVALID_URI;
    }
    *out = list;
    *n = used;
    return ERR_OK;
}
