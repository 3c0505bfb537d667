#include "xml.h"

#include "base/clock.h"
#include "http/url.h"
#include "s3api/checksum.h"

enum { DISPLAY_NAME_LEN = 12 };

#define DECLARATION "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NAMESPACE   STR("http://s3.amazonaws.com/doc/2006-03-01/")

/* Bytes that can't stand for themselves in a text. Tabs and line feeds can; a CR would be read as a line feed. */
static const uint8_t is_special[256] = {
    ['&'] = 1, ['<'] = 1, ['>'] = 1, ['"'] = 1, [0] = 1,  [1] = 1,  [2] = 1,  [3] = 1,  [4] = 1,
    [5] = 1,   [6] = 1,   [7] = 1,   [8] = 1,   [11] = 1, [12] = 1, [13] = 1, [14] = 1, [15] = 1,
    [16] = 1,  [17] = 1,  [18] = 1,  [19] = 1,  [20] = 1, [21] = 1, [22] = 1, [23] = 1, [24] = 1,
    [25] = 1,  [26] = 1,  [27] = 1,  [28] = 1,  [29] = 1, [30] = 1, [31] = 1,
};

void xml_begin_in(struct buf *b, struct str root, struct str xmlns)
{
    buf_add_str(b, STR(DECLARATION "<"));
    buf_add_str(b, root);
    buf_add_str(b, STR(" xmlns=\""));
    buf_add_str(b, xmlns);
    buf_add_str(b, STR("\">"));
}

void xml_begin(struct buf *b, struct str root)
{
    xml_begin_in(b, root, NAMESPACE);
}

void xml_begin_bare(struct buf *b, struct str root)
{
    buf_add_str(b, STR(DECLARATION));
    xml_open(b, root);
}

/* Listings are thousands of tags: one reservation each. */
static void add_tag(struct buf *b, struct str before, struct str name)
{
    size_t n = before.n + name.n + 1;
    char *p = buf_reserve(b, n);

    if (!p)
        return;
    memcpy(p, before.p, before.n);
    memcpy(p + before.n, name.p, name.n);
    p[n - 1] = '>';
    buf_commit(b, n);
}

void xml_open(struct buf *b, struct str name)
{
    add_tag(b, STR("<"), name);
}

void xml_close(struct buf *b, struct str name)
{
    add_tag(b, STR("</"), name);
}

static void add_reference(struct buf *b, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";

    switch (c) {
    case '&':
        buf_add_str(b, STR("&amp;"));
        break;
    case '<':
        buf_add_str(b, STR("&lt;"));
        break;
    case '>':
        buf_add_str(b, STR("&gt;"));
        break;
    case '"':
        buf_add_str(b, STR("&quot;"));
        break;
    default: {
        char text[6] = "&#x";
        size_t n = 3;
        if (c > 15)
            text[n++] = digits[c >> 4];
        text[n++] = digits[c & 15];
        text[n++] = ';';
        buf_add(b, text, n);
    }
    }
}

void xml_escape(struct buf *b, struct str text)
{
    size_t from = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (!is_special[(unsigned char)text.p[i]])
            continue;
        buf_add(b, text.p + from, i - from);
        add_reference(b, (unsigned char)text.p[i]);
        from = i + 1;
    }
    if (from < text.n)
        buf_add(b, text.p + from, text.n - from);
}

/* Listings are mostly short plain texts: one reservation, one pass. */
static bool add_plain(struct buf *b, struct str name, struct str text)
{
    size_t n = 2 * name.n + text.n + 5;
    char *start = buf_reserve(b, n), *p = start;
    unsigned special = 0;

    if (!p)
        return false;
    *p++ = '<';
    memcpy(p, name.p, name.n);
    p += name.n;
    *p++ = '>';
    for (size_t i = 0; i < text.n; i++) {
        special |= is_special[(unsigned char)text.p[i]];
        *p++ = text.p[i];
    }
    *p++ = '<';
    *p++ = '/';
    memcpy(p, name.p, name.n);
    p[name.n] = '>';
    if (!special)
        buf_commit(b, n);
    return !special;
}

void xml_str(struct buf *b, struct str name, struct str text)
{
    if (add_plain(b, name, text))
        return;
    xml_open(b, name);
    xml_escape(b, text);
    xml_close(b, name);
}

void xml_key(struct buf *b, struct str name, struct str text, bool url)
{
    if (!url) {
        xml_str(b, name, text);
        return;
    }
    xml_open(b, name);
    url_encode(b, text, true);
    xml_close(b, name);
}

void xml_u64(struct buf *b, struct str name, uint64_t v)
{
    xml_open(b, name);
    buf_add_u64(b, v);
    xml_close(b, name);
}

void xml_bool(struct buf *b, struct str name, bool v)
{
    xml_str(b, name, v ? STR("true") : STR("false"));
}

void xml_time(struct buf *b, struct str name, int64_t ns)
{
    char text[CLOCK_ISO_LEN];

    clock_iso(ns, text);
    xml_str(b, name, str_n(text, sizeof(text)));
}

void xml_etag(struct buf *b, const struct etag *etag)
{
    buf_add_str(b, STR("<ETag>&quot;"));
    buf_add_str(b, etag_str(etag));
    buf_add_str(b, STR("&quot;</ETag>"));
}

void xml_checksum(struct buf *b, const struct checksum *c)
{
    char text[CHECKSUM_TEXT_MAX];
    size_t n;

    if (c->digest.alg == HASH_NONE)
        return;
    n = checksum_print(c, text);
    xml_str(b, checksum_element_name(c->digest.alg), str_n(text, n));
}

void xml_owner_parts(struct buf *b, struct str id)
{
    xml_str(b, STR("ID"), id);
    xml_str(b, STR("DisplayName"), str_n(id.p, id.n < DISPLAY_NAME_LEN ? id.n : DISPLAY_NAME_LEN));
}

void xml_owner(struct buf *b, struct str name, struct str id)
{
    xml_open(b, name);
    xml_owner_parts(b, id);
    xml_close(b, name);
}
