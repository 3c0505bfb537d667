#include "backend_conf.h"

#include <stdio.h>
#include <stdlib.h>

#define ENV_PREFIX "SLUICE_BACKEND_"

static struct str text_of(const struct doc *d, struct str name)
{
    const struct doc *m = doc_get(d, name);

    return m && m->kind == DOC_SCALAR ? m->text : STR("");
}

static enum err refuse(char why[DOC_WHY_MAX], const char *what)
{
    snprintf(why, DOC_WHY_MAX, "backend: %s", what);
    return ERR_INVALID_ARGUMENT;
}

/* http[s]://HOST[:PORT][/] */
static bool parse_endpoint(struct arena *a, struct str text, struct s3_remote *out)
{
    struct str host = text;
    size_t slash;

    out->tls = str_starts(text, STR("https://"));
    if (!out->tls && !str_starts(text, STR("http://")))
        return false;
    host = str_skip(text, out->tls ? 8 : 7);
    slash = str_find_char(host, '/');
    if (slash != SIZE_MAX && slash + 1 != host.n)
        return false;
    host.n -= slash != SIZE_MAX;
    for (size_t i = 0; i < host.n; i++)
        if (host.p[i] <= ' ' || host.p[i] >= 0x7F || strchr("@?#\\\"", host.p[i]))
            return false;
    size_t bracket = str_find_char(host, ']');
    bool has_port = str_find_char(bracket == SIZE_MAX ? host : str_skip(host, bracket), ':') != SIZE_MAX;
    if (host.n == 0 || host.n > 255 || host.p[0] == ':')
        return false;
    out->address = has_port ? arena_str(a, host) : arena_printf(a, STR_FMT ":%d", STR_ARG(host), out->tls ? 443 : 80);
    return true;
}

static enum err parse_keys(struct arena *a, const struct doc *d, struct sign_v4_key *key, char why[DOC_WHY_MAX])
{
    struct str from = text_of(d, STR("credentials"));

    key->access_key = text_of(d, STR("access_key"));
    key->secret_key = text_of(d, STR("secret_key"));
    if (from.n) {
        if (!str_starts(from, STR("env:" ENV_PREFIX)))
            return refuse(why, "credentials must be env:" ENV_PREFIX "NAME, a variable of the server's");
        const char *value = getenv(arena_str(a, str_skip(from, 4)).p);
        if (!value)
            return refuse(why, "the variable that credentials names is not set");
        struct str rest = arena_str(a, str_z(value));
        key->access_key = str_split(&rest, ':');
        key->secret_key = rest;
    }
    if (!key->access_key.n != !key->secret_key.n)
        return refuse(why, "access_key and secret_key go together");
    if (!str_is_plain(key->access_key) || key->access_key.n > 256 || key->secret_key.n > 1024)
        return refuse(why, "access_key or secret_key can't be one");
    return ERR_OK;
}

static bool is_known(struct str name)
{
    static const struct str known[] = {STR("endpoint"),   STR("bucket"),     STR("region"),     STR("prefix"),
                                       STR("access_key"), STR("secret_key"), STR("credentials")};

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (str_eq(name, known[i]))
            return true;
    return false;
}

enum err backend_conf_parse(struct arena *arena, const struct doc *backend, struct backend_conf *out,
                            char why[DOC_WHY_MAX])
{
    struct s3_remote *r = &out->remote;
    enum err e;

    *out = (struct backend_conf){.prefix = text_of(backend, STR("prefix"))};
    if (backend->kind != DOC_MAP)
        return refuse(why, "must be an object");
    for (const struct doc *d = backend->first; d; d = d->next)
        if (!is_known(d->key) || d->kind != DOC_SCALAR)
            return refuse(why, "knows endpoint, bucket, region, prefix, access_key, secret_key, credentials");
    if (!parse_endpoint(arena, text_of(backend, STR("endpoint")), r))
        return refuse(why, "endpoint must be http://HOST:PORT or https://HOST");
    r->bucket = text_of(backend, STR("bucket"));
    if (r->bucket.n < 1 || r->bucket.n > 255 || !str_is_plain(r->bucket) || str_find_char(r->bucket, '/') != SIZE_MAX)
        return refuse(why, "bucket must be the name of the remote bucket");
    r->key.region = text_of(backend, STR("region"));
    if (!r->key.region.n)
        r->key.region = STR("us-east-1");
    if (r->key.region.n > 64 || !str_is_plain(r->key.region) || str_find_char(r->key.region, '/') != SIZE_MAX)
        return refuse(why, "region can't be one");
    if (out->prefix.n > KEY_MAX / 2 || !str_is_utf8(out->prefix))
        return refuse(why, "prefix is too long or no UTF-8");
    e = parse_keys(arena, backend, &r->key, why);
    return e;
}

enum err backend_conf_check(struct arena *arena, const struct doc *props, char why[DOC_WHY_MAX])
{
    const struct doc *d = doc_get(props, STR("backend"));
    struct backend_conf conf;

    if (!d || (d->kind == DOC_SCALAR && !d->quoted && d->text.n == 0))
        return ERR_OK;
    return backend_conf_parse(arena, d, &conf, why);
}

void backend_conf_show(struct buf *b, const struct doc *backend)
{
    js_object(b);
    for (const struct doc *d = backend->first; d; d = d->next)
        if (!str_eq(d->key, STR("secret_key"))) {
            js_key(b, d->key);
            js_doc(b, d);
        }
    js_end_object(b);
}
