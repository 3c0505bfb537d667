#include "place.h"

#include <stdio.h>

#include "base/json.h"
#include "web.h"

static const struct {
    const char *scheme, *provider;
} schemes[] = {{"ais", "ais"},  {"s3", "aws"},      {"aws", "aws"}, {"gs", "gcp"}, {"gcp", "gcp"},
               {"az", "azure"}, {"azure", "azure"}, {"oc", "oci"},  {"oci", "oci"}};

static const char *provider_of(struct str scheme)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (str_eq_nocase(scheme, str_z(schemes[i].scheme)))
            return schemes[i].provider;
    return NULL;
}

bool place_parse(const char *text, struct place *out, char why[PLACE_WHY_MAX])
{
    struct str s = str_z(text);
    size_t at = str_find(s, STR("://"));
    struct place p = {.provider = "ais"};

    if (at != SIZE_MAX) {
        p.has_scheme = true;
        p.provider = provider_of(str_n(s.p, at));
        if (!p.provider) {
            snprintf(why, PLACE_WHY_MAX, "\"%.*s\" is no kind of bucket: use ais://, s3://, gs://, az:// or oc://",
                     (int)at, s.p);
            return false;
        }
        s = str_skip(s, at + 3);
    }
    if (s.n && (s.p[0] == '@' || s.p[0] == '#'))
        p.space = str_split(&s, '/');
    p.bucket = str_split(&s, '/');
    p.key = s;
    p.is_prefix = s.n == 0 || s.p[s.n - 1] == '/';
    if (p.bucket.n == 0) {
        snprintf(why, PLACE_WHY_MAX, "\"%s\" names no bucket: write BUCKET or BUCKET/KEY", text);
        return false;
    }
    *out = p;
    return true;
}

void place_bucket_path(struct buf *out, const struct place *p)
{
    buf_add_z(out, "/v1/buckets/");
    web_encode(out, p->bucket, true);
}

void place_object_path(struct buf *out, const struct place *p, struct str key)
{
    buf_add_z(out, "/v1/objects/");
    web_encode(out, p->bucket, true);
    buf_add_char(out, '/');
    web_encode(out, key, false);
}

void place_query(struct buf *out, const struct place *p)
{
    buf_addf(out, "provider=%s", p->provider);
    if (p->space.n) {
        buf_add_z(out, "&namespace=");
        web_encode(out, p->space, true);
    }
}

void place_json(struct buf *out, const struct place *p)
{
    struct str name = p->space, uuid = str_split(&name, '#');

    js_object(out);
    js_put_str(out, "name", p->bucket);
    js_put_str(out, "provider", str_z(p->provider));
    if (p->space.n) {
        js_key(out, STR("namespace"));
        js_object(out);
        js_put_str(out, "uuid", uuid.n && uuid.p[0] == '@' ? str_skip(uuid, 1) : uuid);
        js_put_str(out, "name", name);
        js_end_object(out);
    }
    js_end_object(out);
}

void place_uname(struct buf *out, const struct place *p, struct str key)
{
    web_encode(out, str_z(p->provider), true);
    buf_add_z(out, "%2F");
    web_encode(out, p->space.n ? p->space : STR("@#"), true);
    buf_add_z(out, "%2F");
    web_encode(out, p->bucket, true);
    buf_add_z(out, "%2F");
    web_encode(out, key, true);
}
