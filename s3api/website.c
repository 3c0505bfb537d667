#include "website.h"

#include "http/message.h"
#include "http/url.h"
#include "s3api/request.h"

enum { KEY_TEXT_MAX = 1024, HOST_MAX = 255 };

/* ---- the document ---- */

/* Nothing that ends a line of a header. */
static bool is_text(struct str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n <= max;
}

static bool is_host(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '-' && c != '.' && c != ':' && c != '[' && c != ']' && c != '_')
            return false;
    }
    return s.n > 0 && s.n <= HOST_MAX;
}

static enum err read_redirect(struct setting_read *s, const struct xml_node *n, struct website_redirect *to)
{
    for (const struct xml_node *m = xml_first(s->doc, n); m; m = xml_next(s->doc, n, m)) {
        struct str text = arena_str(s->arena, m->text);
        uint64_t code;
        if (str_eq(m->name, STR("HostName")) && is_host(text)) {
            to->host = text;
        } else if (str_eq(m->name, STR("Protocol")) && (str_eq(text, STR("http")) || str_eq(text, STR("https")))) {
            to->protocol = text;
        } else if (str_eq(m->name, STR("HttpRedirectCode")) && str_to_u64(text, 399, &code) && code > 300 &&
                   code != 304) {
            to->status = (int)code;
        } else if (str_eq(m->name, STR("ReplaceKeyPrefixWith")) && is_text(text, KEY_TEXT_MAX)) {
            to->prefix = text;
            to->has_prefix = true;
        } else if (str_eq(m->name, STR("ReplaceKeyWith")) && is_text(text, KEY_TEXT_MAX)) {
            to->key = text;
            to->has_key = true;
        } else {
            return setting_refuse(s, ERR_INVALID_REQUEST, "The redirection has a wrong " STR_FMT, STR_ARG(m->name));
        }
    }
    if (to->has_prefix && to->has_key)
        return setting_refuse(s, ERR_INVALID_REQUEST,
                              "You can only define ReplaceKeyPrefix or ReplaceKey but not both.");
    return ERR_OK;
}

static enum err read_rule(struct setting_read *s, const struct xml_node *n, struct website_rule *rule)
{
    const struct xml_node *when = xml_child(s->doc, n, STR("Condition")), *to = xml_child(s->doc, n, STR("Redirect"));
    struct str prefix, code;
    uint64_t error = 0;

    rule->prefix = STR("");
    rule->to.status = 301;
    if (!to || !xml_first(s->doc, to))
        return ERR_MALFORMED_XML;
    if (when) {
        prefix = xml_child_text(s->doc, when, STR("KeyPrefixEquals"));
        code = xml_child_text(s->doc, when, STR("HttpErrorCodeReturnedEquals"));
        if ((!prefix.p && !code.p) || !is_text(prefix, KEY_TEXT_MAX))
            return ERR_MALFORMED_XML;
        if (code.p && (!str_to_u64(code, 599, &error) || error < 400))
            return setting_refuse(
                s, ERR_INVALID_REQUEST,
                "The provided HTTP error code (" STR_FMT ") is not valid. Valid codes are 4XX or 5XX.", STR_ARG(code));
        rule->prefix = prefix.n ? arena_str(s->arena, prefix) : STR("");
        rule->error = (int)error;
    }
    return read_redirect(s, to, &rule->to);
}

static enum err read_rules(struct setting_read *s, const struct xml_node *n, struct website *w)
{
    enum err e = ERR_OK;

    w->rules = arena_new(s->arena, WEBSITE_RULES_MAX * sizeof(*w->rules));
    for (const struct xml_node *m = xml_first(s->doc, n); e == ERR_OK && m; m = xml_next(s->doc, n, m)) {
        if (!str_eq(m->name, STR("RoutingRule")))
            return ERR_MALFORMED_XML;
        if (w->rule_count == WEBSITE_RULES_MAX)
            return setting_refuse(s, ERR_INVALID_REQUEST, "%zu routing rules are provided, the maximum is %d.",
                                  w->rule_count + 1, WEBSITE_RULES_MAX);
        e = read_rule(s, m, &w->rules[w->rule_count++]);
    }
    return e;
}

static enum err read_index(struct setting_read *s, const struct xml_node *n, struct website *w)
{
    struct str suffix = xml_child_text(s->doc, n, STR("Suffix"));

    if (!suffix.n || !is_text(suffix, KEY_TEXT_MAX) || str_find_char(suffix, '/') != SIZE_MAX)
        return setting_refuse(s, ERR_INVALID_ARGUMENT, "The IndexDocument Suffix is not well formed");
    w->index = arena_str(s->arena, suffix);
    return ERR_OK;
}

enum err website_read(struct setting_read *s)
{
    const struct xml_node *root = xml_root(s->doc);
    struct website *w = ARENA_NEW(s->arena, struct website);
    enum err e = ERR_OK;

    for (const struct xml_node *n = xml_first(s->doc, root); e == ERR_OK && n; n = xml_next(s->doc, root, n)) {
        if (str_eq(n->name, STR("RedirectAllRequestsTo"))) {
            w->redirects_all = true;
            w->all.status = 301;
            e = read_redirect(s, n, &w->all);
        } else if (str_eq(n->name, STR("IndexDocument"))) {
            e = read_index(s, n, w);
        } else if (str_eq(n->name, STR("ErrorDocument"))) {
            struct str key = xml_child_text(s->doc, n, STR("Key"));
            if (!key.n || !is_text(key, KEY_TEXT_MAX))
                return ERR_MALFORMED_XML;
            w->error = arena_str(s->arena, key);
        } else if (str_eq(n->name, STR("RoutingRules"))) {
            e = read_rules(s, n, w);
        } else {
            return ERR_MALFORMED_XML;
        }
    }
    if (e == ERR_OK && w->redirects_all && (w->index.n || w->error.n || w->rule_count || !w->all.host.n))
        e = setting_refuse(s, ERR_INVALID_ARGUMENT,
                           "RedirectAllRequestsTo needs a HostName, and cannot be provided in conjunction with other "
                           "elements.");
    else if (e == ERR_OK && !w->redirects_all && !w->index.n)
        e = setting_refuse(s, ERR_INVALID_ARGUMENT,
                           "A value for IndexDocument Suffix must be provided if "
                           "RedirectAllRequestsTo is empty");
    s->made = w;
    return e;
}

/* ---- where to ---- */

const struct website_rule *website_rule(const struct website *w, struct str key, int error)
{
    for (size_t i = 0; i < w->rule_count; i++)
        if (w->rules[i].error == error && str_starts(key, w->rules[i].prefix))
            return &w->rules[i];
    return NULL;
}

struct str website_location(struct arena *a, const struct website_redirect *to, struct str rule_prefix, struct str key,
                            struct str host, bool secure)
{
    struct str protocol = to->protocol.n ? to->protocol : secure ? STR("https") : STR("http"), path;
    struct buf b = BUF_INIT(16 << 10);

    if (to->has_key)
        key = to->key;
    else if (to->has_prefix)
        key = arena_printf(a, STR_FMT STR_FMT, STR_ARG(to->prefix), STR_ARG(str_skip(key, rule_prefix.n)));
    url_encode(&b, key, true);
    path = arena_str(a, buf_str(&b));
    buf_release(&b);
    return arena_printf(a, STR_FMT "://" STR_FMT "/" STR_FMT, STR_ARG(protocol), STR_ARG(to->host.n ? to->host : host),
                        STR_ARG(path));
}

struct str website_page(struct arena *a, int status, struct str code, struct str message, struct str id)
{
    struct str title = arena_printf(a, "%d %s", status, http_reason(status)), page;
    struct buf b = BUF_INIT(16 << 10);

    buf_add_z(&b, "<!DOCTYPE html>\n<html>\n<head><title>");
    xml_escape(&b, title);
    buf_add_z(&b, "</title></head>\n<body>\n<h1>");
    xml_escape(&b, title);
    buf_add_z(&b, "</h1>\n<ul>\n<li>Code: ");
    xml_escape(&b, code);
    buf_add_z(&b, "</li>\n<li>Message: ");
    xml_escape(&b, message);
    buf_add_z(&b, "</li>\n<li>RequestId: ");
    xml_escape(&b, id);
    buf_add_z(&b, "</li>\n</ul>\n</body>\n</html>\n");
    page = arena_str(a, buf_str(&b));
    buf_release(&b);
    return page;
}
