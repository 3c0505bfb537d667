#include "name.h"

#include "http/url.h"

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* "192.168.5.4": four runs of digits. */
static bool is_ip(struct str s)
{
    unsigned parts = 0;

    while (s.n > 0) {
        uint64_t v;
        if (!str_to_u64(str_split(&s, '.'), 999, &v))
            return false;
        parts++;
    }
    return parts == 4;
}

bool name_is_bucket(struct str s)
{
    static const struct str prefixes[] = {{"xn--", 4}, {"sthree-", 7}};
    static const struct str suffixes[] = {
        {"-s3alias", 8}, {"--ol-s3", 7}, {".mrap", 5}, {"--x-s3", 6}, {"--table-s3", 10}};

    if (s.n < BUCKET_NAME_MIN || s.n > BUCKET_NAME_MAX || !is_alnum(s.p[0]) || !is_alnum(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (is_alnum(s.p[i]))
            continue;
        if (s.p[i] == '.' ? !is_alnum(s.p[i - 1]) || !is_alnum(s.p[i + 1]) : s.p[i] != '-')
            return false;
    }
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (str_starts(s, prefixes[i]))
            return false;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
        if (str_ends(s, suffixes[i]))
            return false;
    return !is_ip(s);
}

enum err name_check_key(struct str key)
{
    if (key.n > KEY_MAX)
        return ERR_KEY_TOO_LONG;
    if (key.n == 0 || memchr(key.p, 0, key.n))
        return ERR_INVALID_ARGUMENT;
    return str_is_utf8(key) ? ERR_OK : ERR_INVALID_URI;
}

/* Host without its port; "[::1]:9000" keeps its brackets. */
static struct str host_name(struct str host)
{
    for (size_t i = host.n; i > 0 && host.p[i - 1] != ']'; i--)
        if (host.p[i - 1] == ':')
            return str_n(host.p, i - 1);
    return host;
}

/* What stands before ".<domain>"; the longest domain wins when one ends in another. */
static struct str bucket_of_host(struct str host, const struct str *domains, size_t n)
{
    struct str name = host_name(host), best = STR("");
    size_t longest = 0;

    for (size_t i = 0; i < n; i++) {
        struct str d = domains[i];
        size_t dot = name.n - d.n - 1;
        if (d.n <= longest || name.n < d.n + 2 || name.p[dot] != '.' || !str_eq_nocase(str_skip(name, dot + 1), d))
            continue;
        best = str_n(name.p, dot);
        longest = d.n;
    }
    return best;
}

static struct str lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]);
    return str_n(p, s.n);
}

enum err name_target(struct str path, struct str host, const struct str *domains, size_t domain_count, struct arena *a,
                     struct target *out)
{
    struct target t = {STR(""), STR(""), false};
    struct str rest = path, bucket;

    if (!str_starts(path, STR("/")))
        return ERR_INVALID_URI; /* "*" and what else a request line may hold */
    bucket = bucket_of_host(host, domains, domain_count);
    if (bucket.n == 0 && (str_eq(path, STR("/s3")) || str_starts(path, STR("/s3/"))))
        rest = str_skip(rest, 3);
    if (rest.n > 0)
        rest = str_skip(rest, 1);
    if (bucket.n > 0) {
        t.from_host = true;
        t.bucket = lower(a, bucket); /* host names have no case */
    } else if (!url_decode(str_split(&rest, '/'), a, false, &t.bucket)) {
        return ERR_INVALID_URI;
    }
    if (!url_decode(rest, a, false, &t.key))
        return ERR_INVALID_URI;
    *out = t;
    return ERR_OK;
}
