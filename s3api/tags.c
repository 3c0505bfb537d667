#include "tags.h"

#include "http/url.h"

enum {
    TAGS_TEXT_MAX = TAGS_MAX * (TAG_KEY_MAX + TAG_VALUE_MAX) * 4 * 3 + 2 * TAGS_MAX
}; /* 4 bytes a character, %XX each */

static size_t characters(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

static bool text_ok(struct str s, size_t max)
{
    if (!str_is_utf8(s) || characters(s) > max)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F)
            return false;
    return true;
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80);
        if (!plain && (!c || !strchr(" +-=._:/@", c)))
            return false;
    }
    return true;
}

bool tags_are_plain(const struct tag *tags, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_plain(tags[i].key) || !is_plain(tags[i].value))
            return false;
    return true;
}

enum err tags_check(const struct tag *tags, size_t n, size_t max)
{
    if (n > max)
        return ERR_INVALID_TAG;
    for (size_t i = 0; i < n; i++) {
        if (tags[i].key.n == 0 || !text_ok(tags[i].key, TAG_KEY_MAX) || !text_ok(tags[i].value, TAG_VALUE_MAX))
            return ERR_INVALID_TAG;
        if (str_starts_nocase(tags[i].key, STR("aws:")))
            return ERR_INVALID_TAG;
        for (size_t k = 0; k < i; k++)
            if (str_eq(tags[i].key, tags[k].key))
                return ERR_INVALID_TAG;
    }
    return ERR_OK;
}

struct str tags_encode(struct arena *a, const struct tag *tags, size_t n)
{
    struct buf b = BUF_INIT(TAGS_TEXT_MAX);

    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(&b, '&');
        url_encode(&b, tags[i].key, false);
        buf_add_char(&b, '=');
        url_encode(&b, tags[i].value, false);
    }
    struct str text = arena_str(a, buf_str(&b));
    buf_release(&b);
    return text;
}

enum err tags_parse(struct arena *a, struct str text, struct tag out[TAGS_MAX], size_t *n)
{
    struct query_param *params;
    size_t count;
    enum err e;

    if (url_parse_query(a, text, &params, &count, TAGS_MAX) != ERR_OK)
        return ERR_INVALID_TAG;
    for (size_t i = 0; i < count; i++)
        out[i] = (struct tag){params[i].name, params[i].value};
    if ((e = tags_check(out, count, TAGS_MAX)) == ERR_OK)
        *n = count;
    return e;
}

size_t tags_count(struct str text)
{
    size_t n = text.n != 0;

    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '&';
    return n;
}
