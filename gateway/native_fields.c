#include "gateway/native_fields.h"

#define META STR("x-amz-meta-")

struct native_checksum native_checksum_of(struct arena *a, const struct object_info *info)
{
    static const struct {
        enum hash_alg alg;
        const char *name;
    } kinds[] = {{HASH_XXH64, "xxhash"},  {HASH_CRC32C, "crc32c"}, {HASH_MD5, "md5"},
                 {HASH_SHA256, "sha256"}, {HASH_SHA512, "sha512"}, {HASH_CRC64NVME, "crc64nvme"}};
    const struct checksum *c = &info->checksum;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (c->digest.n && c->digest.alg == kinds[i].alg && c->type != CHECKSUM_COMPOSITE) {
            char *hex = arena_alloc(a, (size_t)c->digest.n * 2);
            hex_encode(c->digest.b, c->digest.n, hex);
            return (struct native_checksum){str_z(kinds[i].name), str_n(hex, (size_t)c->digest.n * 2)};
        }
    return (struct native_checksum){STR("md5"), etag_str(&info->etag)};
}

struct str native_custom_text(struct arena *a, const struct object_info *info)
{
    struct str text = STR("");

    for (uint32_t i = 0; i < info->attr_count; i++) {
        const struct attr *at = &info->attrs[i];
        if (!str_starts(at->name, META))
            continue;
        struct str name = str_skip(at->name, META.n);
        text = arena_printf(a, STR_FMT "%s" STR_FMT ":" STR_FMT, STR_ARG(text), text.n ? " " : "", STR_ARG(name),
                            STR_ARG(at->value));
    }
    return text.n ? arena_printf(a, "[" STR_FMT "]", STR_ARG(text)) : text;
}
