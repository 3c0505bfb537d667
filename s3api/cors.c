#include "s3api/cors.h"

#include "http/message.h"
#include "s3api/request.h"
#include "s3api/settings.h"

enum { ID_MAX = 255 };

/* ---- the document ---- */

static void add(struct arena *a, struct cors_texts *t, struct str text)
{
    struct str *wider = arena_alloc(a, (t->n + 1) * sizeof(*wider));

    if (t->n)
        memcpy(wider, t->items, t->n * sizeof(*wider));
    wider[t->n++] = arena_str(a, text);
    t->items = wider;
}

static size_t stars(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '*';
    return n;
}

static enum err read_method(struct setting_read *s, struct cors_rule *rule, struct str text)
{
    static const char *const known[] = {"GET", "PUT", "POST", "DELETE", "HEAD"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_eq(text, str_z(known[i]))) {
            add(s->arena, &rule->methods, text);
            return ERR_OK;
        }
    return setting_refuse(s, ERR_INVALID_REQUEST,
                          "Found unsupported HTTP method in CORS config. Unsupported method is " STR_FMT,
                          STR_ARG(text));
}

static enum err read_pattern(struct setting_read *s, const char *what, struct cors_texts *to, struct str text)
{
    if (stars(text) > 1)
        return setting_refuse(s, ERR_INVALID_REQUEST, "%s \"" STR_FMT "\" can not have more than one wildcard.", what,
                              STR_ARG(text));
    add(s->arena, to, text);
    return ERR_OK;
}

static enum err read_exposed(struct setting_read *s, struct cors_rule *rule, struct str text)
{
    if (stars(text))
        return setting_refuse(s, ERR_INVALID_REQUEST,
                              "ExposeHeader \"" STR_FMT
                              "\" contains wildcard. We currently do not support wildcard for ExposeHeader.",
                              STR_ARG(text));
    if (!http_is_token(text)) /* it goes into answers: nothing that ends a line */
        return setting_refuse(s, ERR_INVALID_REQUEST, "An ExposeHeader is not the name of a header.");
    add(s->arena, &rule->exposed, text);
    return ERR_OK;
}

static enum err read_max_age(struct cors_rule *rule, struct str text)
{
    uint64_t age = 0;

    if (rule->has_max_age || !str_to_u64(text, INT32_MAX, &age))
        return ERR_MALFORMED_XML;
    rule->max_age_s = (uint32_t)age;
    rule->has_max_age = true;
    return ERR_OK;
}

static enum err read_member(struct setting_read *s, struct cors_rule *rule, struct str name, struct str text)
{
    if (str_eq(name, STR("AllowedOrigin")))
        return read_pattern(s, "AllowedOrigin", &rule->origins, text);
    if (str_eq(name, STR("AllowedHeader")))
        return read_pattern(s, "AllowedHeader", &rule->headers, text);
    if (str_eq(name, STR("AllowedMethod")))
        return read_method(s, rule, text);
    if (str_eq(name, STR("ExposeHeader")))
        return read_exposed(s, rule, text);
    if (str_eq(name, STR("MaxAgeSeconds")))
        return read_max_age(rule, text);
    return str_eq(name, STR("ID")) && text.n <= ID_MAX ? ERR_OK : ERR_MALFORMED_XML;
}

static enum err read_rule(struct setting_read *s, const struct xml_node *n, struct cors_rule *rule)
{
    enum err e = ERR_OK;

    for (const struct xml_node *m = xml_first(s->doc, n); e == ERR_OK && m; m = xml_next(s->doc, n, m))
        e = xml_first(s->doc, m) ? ERR_MALFORMED_XML : read_member(s, rule, m->name, str_trim(m->text));
    if (e == ERR_OK && (!rule->origins.n || !rule->methods.n))
        e = ERR_MALFORMED_XML;
    return e;
}

enum err cors_read(struct setting_read *s)
{
    const struct xml_node *root = xml_root(s->doc);
    struct cors *c = ARENA_NEW(s->arena, struct cors);
    enum err e = ERR_OK;

    c->rules = arena_new(s->arena, CORS_RULES_MAX * sizeof(*c->rules));
    for (const struct xml_node *n = xml_first(s->doc, root); e == ERR_OK && n; n = xml_next(s->doc, root, n)) {
        if (!str_eq(n->name, STR("CORSRule")))
            return ERR_MALFORMED_XML;
        if (c->n == CORS_RULES_MAX)
            return setting_refuse(s, ERR_INVALID_REQUEST,
                                  "The number of CORS rules should not exceed allowed limit of %d rules.",
                                  CORS_RULES_MAX);
        e = read_rule(s, n, &c->rules[c->n++]);
    }
    s->made = c;
    return e == ERR_OK && !c->n ? ERR_MALFORMED_XML : e;
}

/* ---- matching ---- */

static bool starts(struct str s, struct str with, bool nocase)
{
    return nocase ? str_starts_nocase(s, with) : str_starts(s, with);
}

bool cors_fits(struct str pattern, struct str text, bool nocase)
{
    const char *star = pattern.n ? memchr(pattern.p, '*', pattern.n) : NULL;

    if (!star)
        return pattern.n == text.n && starts(text, pattern, nocase);
    struct str head = str_n(pattern.p, (size_t)(star - pattern.p)), tail = str_skip(pattern, head.n + 1);
    return text.n >= head.n + tail.n && starts(text, head, nocase) &&
           starts(str_skip(text, text.n - tail.n), tail, nocase);
}

static bool any_fits(const struct cors_texts *t, struct str text, bool nocase)
{
    for (size_t i = 0; i < t->n; i++)
        if (cors_fits(t->items[i], text, nocase))
            return true;
    return false;
}

static bool all_fit(const struct cors_texts *t, struct str headers)
{
    while (headers.n) {
        struct str name = str_trim(str_split(&headers, ','));
        if (name.n && !any_fits(t, name, true))
            return false;
    }
    return true;
}

const struct cors_rule *cors_find(const struct cors *c, struct str origin, struct str method, struct str headers)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct cors_rule *rule = &c->rules[i];
        if (any_fits(&rule->origins, origin, false) && any_fits(&rule->methods, method, false) &&
            all_fit(&rule->headers, headers))
            return rule;
    }
    return NULL;
}

/* ---- answers ---- */

static struct str join(struct arena *a, const struct cors_texts *t)
{
    struct str text = t->n ? t->items[0] : STR("");

    for (size_t i = 1; i < t->n; i++)
        text = arena_printf(a, STR_FMT ", " STR_FMT, STR_ARG(text), STR_ARG(t->items[i]));
    return text;
}

static void say(struct s3_request *r, struct str name, struct str value)
{
    struct s3_reply *p = &r->reply;

    if (value.n && p->cors_count < CORS_HEADERS_MAX)
        p->cors[p->cors_count++] = (struct http_header){name, value};
}

/* A rule whose origin is "*" lets everybody in, but no credentials. */
static bool lets_all_in(const struct cors_rule *rule)
{
    for (size_t i = 0; i < rule->origins.n; i++)
        if (str_eq(rule->origins.items[i], STR("*")))
            return true;
    return false;
}

static void tell(struct s3_request *r, const struct cors_rule *rule, struct str origin, struct str headers)
{
    bool all = lets_all_in(rule);

    say(r, STR("Access-Control-Allow-Origin"), all ? STR("*") : origin);
    say(r, STR("Access-Control-Allow-Methods"), join(r->arena, &rule->methods));
    say(r, STR("Access-Control-Allow-Headers"), headers);
    say(r, STR("Access-Control-Expose-Headers"), join(r->arena, &rule->exposed));
    if (rule->has_max_age)
        say(r, STR("Access-Control-Max-Age"), arena_u64(r->arena, rule->max_age_s));
    if (!all)
        say(r, STR("Access-Control-Allow-Credentials"), STR("true"));
    say(r, STR("Vary"), STR("Origin, Access-Control-Request-Headers, Access-Control-Request-Method"));
}

void cors_note(struct s3_request *r)
{
    struct str origin = s3_header(r, STR("origin")), asked = s3_header(r, STR("access-control-request-method"));
    bool preflight = r->http->method == HTTP_OPTIONS;
    struct str headers = preflight ? s3_header(r, STR("access-control-request-headers")) : STR("");
    const struct bucket_doc *d;
    const struct cors_rule *rule;
    struct bucket b;

    if (!origin.n || !r->bucket_name.n || !r->env->confs ||
        buckets_find(r->env->buckets, r->arena, r->bucket_name, &b) != ERR_OK ||
        !(d = bucket_conf_find(r->env->confs, r->arena, b.id.uid, STR("cors"))) || !d->parsed)
        return;
    r->reply.has_cors = true;
    rule = cors_find(d->parsed, origin, preflight ? asked : r->http->method_text, headers);
    if (rule)
        tell(r, rule, origin, headers);
}
