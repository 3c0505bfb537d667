#include "arc_format.h"

static const struct {
    const char *ext;
    enum arc_format format;
    const char *type;
} formats[] = {
    {".tar", ARC_TAR, "application/x-tar"},         {".tgz", ARC_TGZ, "application/gzip"},
    {".tar.gz", ARC_TGZ, "application/gzip"},       {".zip", ARC_ZIP, "application/zip"},
    {".tar.lz4", ARC_TAR_LZ4, "application/x-lz4"}, {".tar.zst", ARC_TAR_ZST, "application/zstd"},
};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

/* With something before the extension. */
static bool ends_nocase(struct str s, struct str end)
{
    return s.n > end.n && s.p[s.n - end.n - 1] != '/' && str_eq_nocase(str_skip(s, s.n - end.n), end);
}

enum arc_format arc_format_of_name(struct str name)
{
    for (int i = 0; i < FORMATS; i++)
        if (ends_nocase(name, str_z(formats[i].ext)))
            return formats[i].format;
    return ARC_NONE;
}

/* Longer words first: "x-tar" is in "application/x-tar+gzip". */
enum arc_format arc_format_of_mime(struct str mime)
{
    static const struct {
        const char *word;
        enum arc_format format;
    } words[] = {{"lz4", ARC_TAR_LZ4}, {"zst", ARC_TAR_ZST}, {"gzip", ARC_TGZ}, {"tgz", ARC_TGZ},
                 {".gz", ARC_TGZ},     {"zip", ARC_ZIP},     {"tar", ARC_TAR}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (mime.n >= 3 && str_find(mime, str_z(words[i].word)) != SIZE_MAX)
            return words[i].format;
    return ARC_NONE;
}

enum arc_format arc_format_of_magic(struct str first)
{
    if (first.n >= 262 && memcmp(first.p + 257, "ustar", 5) == 0)
        return ARC_TAR;
    if (str_starts(first, STR("\x1f\x8b")))
        return ARC_TGZ;
    if (str_starts(first, STR("PK\x03\x04")) || str_starts(first, STR("PK\x05\x06")))
        return ARC_ZIP;
    if (str_starts(first, STR("\x04\x22\x4d\x18")))
        return ARC_TAR_LZ4;
    return str_starts(first, STR("\x28\xb5\x2f\xfd")) ? ARC_TAR_ZST : ARC_NONE;
}

struct str arc_format_ext(enum arc_format f)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].format == f)
            return str_z(formats[i].ext);
    return STR("");
}

struct str arc_format_type(enum arc_format f)
{
    for (int i = 0; i < FORMATS; i++)
        if (formats[i].format == f)
            return str_z(formats[i].type);
    return STR("application/octet-stream");
}

bool arc_format_split(struct str key, size_t from, struct str *archive, struct str *member)
{
    while (from < key.n) {
        size_t at = str_find_char(str_skip(key, from), '/');
        if (at == SIZE_MAX)
            return false;
        at += from;
        if (arc_format_of_name(str_n(key.p, at)) != ARC_NONE) {
            *archive = str_n(key.p, at);
            *member = str_skip(key, at + 1);
            return true;
        }
        from = at + 1;
    }
    return false;
}
