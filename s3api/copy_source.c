#include "copy_source.h"

#include "http/url.h"
#include "s3api/name.h"

/* Only a query that names a version is one: clients that don't encode send keys with a bare "?". */
static void cut_version(struct str *value, struct str *version)
{
    static const struct str mark = {"?versionId=", 11};
    size_t at = str_find(*value, mark);

    *version = STR_NONE;
    if (at == SIZE_MAX)
        return;
    *version = str_skip(*value, at + mark.n);
    value->n = at;
}

enum err copy_source_parse(struct arena *a, struct str value, struct copy_source *out)
{
    struct copy_source s;
    enum err e;

    if (str_starts(value, STR("arn:")))
        return ERR_NOT_IMPLEMENTED;
    cut_version(&value, &s.version);
    /* decoded as a whole: some clients encode the slash behind the bucket too */
    if (!url_decode(value, a, false, &s.key))
        return ERR_INVALID_ARGUMENT;
    if (s.key.n && s.key.p[0] == '/')
        s.key = str_skip(s.key, 1);
    if (str_find_char(s.key, '/') == SIZE_MAX)
        return ERR_INVALID_ARGUMENT;
    s.bucket = str_split(&s.key, '/');
    if (s.bucket.n == 0)
        return ERR_INVALID_ARGUMENT;
    if ((e = name_check_key(s.key)) != ERR_OK)
        return e == ERR_INVALID_URI ? ERR_INVALID_ARGUMENT : e;
    *out = s;
    return ERR_OK;
}
