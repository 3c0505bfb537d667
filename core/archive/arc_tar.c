/* Headers of TAR members: ustar where it can say the member, a pax extended header before it where it can't. */
#include <stdio.h>
#include <string.h>

#include "archive/arc_pack.h"

enum {
    BLOCK = 512,
    MODE = 0644,
    TYPE_FILE = '0',
    TYPE_PAX = 'x',
    /* fields of a ustar header: POSIX.1-2017 pax, "ustar Interchange Format" */
    NAME = 0,
    NAME_LEN = 100,
    MODE_AT = 100,
    UID_AT = 108,
    GID_AT = 116,
    SIZE_AT = 124,
    MTIME_AT = 136,
    SUM_AT = 148,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    PREFIX = 345,
    PREFIX_LEN = 155,
};
#define OCTAL_11_MAX UINT64_C(077777777777) /* what 11 octal digits say */

static void octal(unsigned char *at, unsigned digits, uint64_t v)
{
    for (unsigned i = digits; i-- > 0; v >>= 3)
        at[i] = (unsigned char)('0' + (v & 7));
}

/* Where a long name is cut at a slash into prefix and name; 0: nowhere. */
static size_t cut(struct str name)
{
    size_t last = name.n - 1 < PREFIX_LEN ? name.n - 1 : PREFIX_LEN; /* the slash itself is in neither */

    for (size_t i = last; i > 0; i--)
        if (name.p[i] == '/' && name.n - i - 1 <= NAME_LEN && name.n - i - 1 > 0)
            return i;
    return 0;
}

static void block(struct buf *out, struct str name, size_t at, char type, uint64_t size, uint64_t mtime_s)
{
    unsigned char *h = (unsigned char *)buf_reserve(out, BLOCK);
    unsigned sum = 0;

    if (!h)
        return;
    memset(h, 0, BLOCK);
    struct str tail = at ? str_skip(name, at + 1) : name;
    memcpy(h + NAME, tail.p, tail.n < NAME_LEN ? tail.n : NAME_LEN);
    if (at)
        memcpy(h + PREFIX, name.p, at);
    octal(h + MODE_AT, 7, MODE);
    octal(h + UID_AT, 7, 0);
    octal(h + GID_AT, 7, 0);
    octal(h + SIZE_AT, 11, size);
    octal(h + MTIME_AT, 11, mtime_s);
    memset(h + SUM_AT, ' ', 8);
    h[TYPE_AT] = (unsigned char)type;
    memcpy(h + MAGIC_AT,
           "ustar\0"
           "00",
           8);
    for (unsigned i = 0; i < BLOCK; i++)
        sum += h[i];
    octal(h + SUM_AT, 6, sum);
    h[SUM_AT + 6] = 0;
    buf_commit(out, BLOCK);
}

/* "<length> <key>=<value>\n", where the length counts its own digits. */
static void record(struct buf *b, const char *key, struct str value)
{
    size_t rest = 1 + strlen(key) + 1 + value.n + 1, n = rest + 1, digits;

    for (;;) {
        digits = 1;
        for (size_t v = n; v >= 10; v /= 10)
            digits++;
        if (rest + digits == n)
            break;
        n = rest + digits;
    }
    buf_addf(b, "%zu %s=", n, key);
    buf_add_str(b, value);
    buf_add_char(b, '\n');
}

static void record_number(struct buf *b, const char *key, long long v)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%lld", v);

    record(b, key, str_n(text, (size_t)n));
}

/* What ustar can't say. */
static void pax_header(struct buf *out, struct str name, bool long_name, uint64_t size, int64_t mtime_s)
{
    struct buf records = BUF_INIT(ARC_NAME_MAX + 256);

    if (long_name)
        record(&records, "path", name);
    if (size > OCTAL_11_MAX)
        record_number(&records, "size", (long long)size);
    if (mtime_s < 0 || (uint64_t)mtime_s > OCTAL_11_MAX)
        record_number(&records, "mtime", mtime_s);
    if (records.n) {
        block(out, STR("@PaxHeader"), 0, TYPE_PAX, records.n, 0);
        buf_add_str(out, buf_str(&records));
        char *padding = buf_reserve(out, BLOCK);
        if (padding) {
            memset(padding, 0, BLOCK);
            buf_commit(out, (size_t)arc_tar_padding(records.n));
        }
    }
    out->over |= records.over;
    buf_release(&records);
}

enum err arc_tar_head(struct buf *out, struct str name, uint64_t size, int64_t mtime_s)
{
    if (!arc_name_is_safe(name))
        return ERR_INVALID_ARGUMENT;
    size_t at = name.n > NAME_LEN ? cut(name) : 0;
    bool long_name = name.n > NAME_LEN && at == 0, odd_time = mtime_s < 0 || (uint64_t)mtime_s > OCTAL_11_MAX;

    if (long_name || size > OCTAL_11_MAX || odd_time)
        pax_header(out, name, long_name, size, mtime_s);
    block(out, name, at, TYPE_FILE, size > OCTAL_11_MAX ? 0 : size, odd_time ? 0 : (uint64_t)mtime_s);
    return buf_err(out);
}

bool arc_name_is_safe(struct str name)
{
    if (name.n == 0 || name.n > ARC_NAME_MAX || name.p[0] == '/' || memchr(name.p, 0, name.n))
        return false;
    for (struct str rest = name, part; rest.n;) {
        part = str_split(&rest, '/');
        if (str_eq(part, STR("..")))
            return false;
    }
    return true;
}
