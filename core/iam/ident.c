#include "ident.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

static const struct {
    struct str name, id_prefix;
} kinds[IDENT_KINDS] = {[IDENT_USER] = {{"user", 4}, {"AIDA", 4}},
                        [IDENT_GROUP] = {{"group", 5}, {"AGPA", 4}},
                        [IDENT_ROLE] = {{"role", 4}, {"AROA", 4}},
                        [IDENT_POLICY] = {{"policy", 6}, {"ANPA", 4}},
                        [IDENT_KEY] = {{"key", 3}, {"AKIA", 4}}};

struct str ident_kind_name(enum ident_kind kind)
{
    return kinds[kind].name;
}

bool ident_rate(struct str text, uint32_t *per_s)
{
    uint64_t n;

    if (!str_to_u64(text, IDENT_RATE_MAX, &n) || n == 0)
        return false;
    *per_s = (uint32_t)n;
    return true;
}

/* ---- lists ---- */

const struct ident_item *ident_find(const struct ident_list *l, struct str name)
{
    for (unsigned i = 0; i < l->n; i++)
        if (str_eq(l->items[i].name, name))
            return &l->items[i];
    return NULL;
}

enum err ident_put(struct arena *a, struct ident_list *l, const struct ident_item *item, unsigned max, bool sorted)
{
    struct ident_item *wider, *old = (struct ident_item *)ident_find(l, item->name);
    unsigned at = l->n;

    if (old) {
        *old = *item;
        return ERR_OK;
    }
    if (l->n >= max)
        return ERR_IAM_LIMIT;
    while (sorted && at > 0 && str_cmp(l->items[at - 1].name, item->name) > 0)
        at--;
    wider = arena_alloc(a, (l->n + 1) * sizeof(*wider));
    if (at > 0)
        memcpy(wider, l->items, at * sizeof(*wider));
    wider[at] = *item;
    if (l->n > at)
        memcpy(wider + at + 1, l->items + at, (l->n - at) * sizeof(*wider));
    l->items = wider;
    l->n++;
    return ERR_OK;
}

bool ident_drop(struct ident_list *l, struct str name)
{
    const struct ident_item *i = ident_find(l, name);

    if (!i)
        return false;
    size_t at = (size_t)(i - l->items);
    memmove(l->items + at, l->items + at + 1, (l->n - at - 1) * sizeof(*l->items));
    l->n--;
    return true;
}

/* ---- names ---- */

struct str ident_random(struct arena *a, size_t n, struct str alphabet)
{
    char *p = arena_alloc(a, n + 1);

    for (size_t i = 0; i < n;) {
        uint8_t byte;
        random_bytes(&byte, 1);
        if ((byte & 63) < alphabet.n) /* others are dropped, so that all are equally likely */
            p[i++] = alphabet.p[byte & 63];
    }
    p[n] = 0;
    return str_n(p, n);
}

struct str ident_new_id(struct arena *a, enum ident_kind kind)
{
    struct str tail = ident_random(a, 16, STR("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));

    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(kinds[kind].id_prefix), STR_ARG(tail));
}

struct str ident_arn(struct arena *a, const struct ident *id)
{
    return arena_printf(a, "arn:aws:iam::" IAM_ACCOUNT ":" STR_FMT STR_FMT STR_FMT, STR_ARG(kinds[id->kind].name),
                        STR_ARG(id->path), STR_ARG(id->name));
}

struct str ident_arn_name(struct str arn, enum ident_kind kind)
{
    static const struct str begin = STR("arn:aws:iam::" IAM_ACCOUNT ":");
    const char *slash;

    if (!str_starts(arn, begin) || !str_starts(str_skip(arn, begin.n), kinds[kind].name))
        return STR_NONE;
    arn = str_skip(arn, begin.n + kinds[kind].name.n);
    slash = arn.n ? memrchr(arn.p, '/', arn.n) : NULL;
    if (!slash || arn.p[0] != '/')
        return STR_NONE;
    return str_skip(arn, (size_t)(slash + 1 - arn.p));
}

/* ---- writing ---- */

static void put_list(struct buf *b, const char *name, const struct ident_list *l)
{
    if (l->n == 0)
        return;
    js_key(b, str_z(name));
    js_array(b);
    for (unsigned i = 0; i < l->n; i++) {
        js_object(b);
        js_put_str(b, "name", l->items[i].name);
        if (l->items[i].text.n)
            js_put_str(b, "text", l->items[i].text);
        if (l->items[i].at_s)
            js_put_u64(b, "at", (uint64_t)l->items[i].at_s);
        js_end_object(b);
    }
    js_end_array(b);
}

static void put_text(struct buf *b, const char *name, struct str s)
{
    if (s.n)
        js_put_str(b, name, s);
}

static void put_count(struct buf *b, const char *name, uint64_t n)
{
    if (n)
        js_put_u64(b, name, n);
}

static void put_secret(struct buf *b, const struct ident *id, const struct vault *vault)
{
    uint8_t sealed[IDENT_SECRET_MAX + VAULT_EXTRA];
    char text[BASE64_LEN(sizeof(sealed))];

    if (!vault || id->secret.n > IDENT_SECRET_MAX) {
        b->over = true; /* who made the key checked both */
        return;
    }
    vault_close(vault, id->secret, id->name, sealed);
    js_put_str(b, "secret", str_n(text, base64_encode(sealed, id->secret.n + VAULT_EXTRA, text)));
}

void ident_write(const struct ident *id, const struct vault *vault, struct buf *b)
{
    js_object(b);
    js_put_u64(b, "version", 1);
    put_text(b, "path", id->path);
    put_text(b, "id", id->id);
    put_text(b, "description", id->description);
    put_count(b, "created", (uint64_t)id->created_s);
    put_count(b, "changed", (uint64_t)id->changed_s);
    put_list(b, "inline", &id->inlined);
    put_list(b, "attached", &id->attached);
    put_list(b, "groups", &id->groups);
    put_list(b, "tags", &id->tags);
    put_list(b, "versions", &id->versions);
    put_text(b, "current", id->current);
    put_count(b, "last_version", id->last_version);
    put_text(b, "trust", id->trust);
    put_count(b, "session_max", id->session_max_s);
    if (id->kind == IDENT_KEY) {
        put_text(b, "user", id->user);
        put_text(b, "user_id", id->user_id);
        js_put_bool(b, "active", id->active);
        put_count(b, "expires", (uint64_t)id->expires_s);
        put_text(b, "scope", id->scope);
        put_secret(b, id, vault);
    }
    js_end_object(b);
}

/* ---- reading ---- */

static struct str text_of(const struct doc *d, const char *name)
{
    const struct doc *v = doc_get(d, str_z(name));

    return v && v->kind == DOC_SCALAR ? v->text : STR("");
}

static uint64_t count_of(const struct doc *d, const char *name)
{
    uint64_t n = 0;

    return str_to_u64(text_of(d, name), INT64_MAX, &n) ? n : 0;
}

static enum err read_list(struct arena *a, const struct doc *d, const char *name, unsigned max, struct ident_list *out)
{
    const struct doc *list = doc_get(d, str_z(name));

    if (!list)
        return ERR_OK;
    if (list->kind != DOC_LIST || list->count > max)
        return ERR_CORRUPT;
    out->items = arena_new(a, (list->count ? list->count : 1) * sizeof(*out->items));
    for (const struct doc *i = list->first; i; i = i->next)
        out->items[out->n++] = (struct ident_item){
            .name = text_of(i, "name"), .text = text_of(i, "text"), .at_s = (int64_t)count_of(i, "at")};
    return ERR_OK;
}

/* What was kept was readable once; a policy that no longer is counts as a refusal of everything, where it stands. */
static const struct policy *read_policy(struct arena *a, struct str text, enum policy_kind kind, const struct ident *id)
{
    char why[POLICY_WHY_MAX];
    struct policy *p;

    if (!text.n)
        return NULL;
    if (policy_read(a, text, kind, &p, why) == ERR_OK)
        return p;
    log_error(STR_NONE, "a policy that is kept can't be read", "kind=%s name=%s why=%s", kinds[id->kind].name.p,
              log_quote(id->name), why);
    return NULL;
}

static void read_policies(struct arena *a, struct ident *id)
{
    for (unsigned i = 0; i < id->inlined.n; i++)
        id->inlined.items[i].policy = read_policy(a, id->inlined.items[i].text, POLICY_IDENTITY, id);
    for (unsigned i = 0; i < id->versions.n; i++)
        id->versions.items[i].policy = read_policy(a, id->versions.items[i].text, POLICY_IDENTITY, id);
    id->trusts = read_policy(a, id->trust, POLICY_TRUST, id);
    id->scope_policy = read_policy(a, id->scope, POLICY_IDENTITY, id);
}

static void read_key(struct arena *a, const struct doc *d, const struct vault *vault, struct ident *id)
{
    uint8_t sealed[IDENT_SECRET_MAX + VAULT_EXTRA];
    size_t n;

    id->user = text_of(d, "user");
    id->user_id = text_of(d, "user_id");
    id->active = str_eq(text_of(d, "active"), STR("true"));
    id->expires_s = (int64_t)count_of(d, "expires");
    id->scope = text_of(d, "scope");
    if (vault && base64_decode(text_of(d, "secret"), sealed, sizeof(sealed), &n) && n > VAULT_EXTRA) {
        uint8_t *plain = arena_alloc(a, n);
        if (vault_open(vault, str_n(sealed, n), id->name, plain))
            id->secret = str_n(plain, n - VAULT_EXTRA);
    }
    if (!id->secret.n)
        log_error(STR_NONE, "the secret of an access key can't be opened: is iam.master_key another one?", "key=%s",
                  log_quote(id->name));
}

enum err ident_read(struct arena *a, enum ident_kind kind, struct str name, struct str json, const struct vault *vault,
                    struct ident **out)
{
    struct ident *id = ARENA_NEW(a, struct ident);
    char why[DOC_WHY_MAX];
    struct doc *d;
    enum err e;

    if (js_read(a, json, &d, why) != ERR_OK || d->kind != DOC_MAP || count_of(d, "version") != 1)
        return ERR_CORRUPT;
    *id = (struct ident){.kind = kind, .name = arena_str(a, name)};
    id->path = text_of(d, "path");
    id->id = text_of(d, "id");
    id->description = text_of(d, "description");
    id->created_s = (int64_t)count_of(d, "created");
    id->changed_s = (int64_t)count_of(d, "changed");
    id->current = text_of(d, "current");
    id->last_version = count_of(d, "last_version");
    id->trust = text_of(d, "trust");
    id->session_max_s = count_of(d, "session_max");
    if ((e = read_list(a, d, "inline", IDENT_INLINE_MAX, &id->inlined)) != ERR_OK ||
        (e = read_list(a, d, "attached", IDENT_ATTACHED_MAX, &id->attached)) != ERR_OK ||
        (e = read_list(a, d, "groups", IDENT_GROUPS_MAX, &id->groups)) != ERR_OK ||
        (e = read_list(a, d, "tags", IDENT_TAGS_MAX, &id->tags)) != ERR_OK ||
        (e = read_list(a, d, "versions", IDENT_VERSIONS_MAX, &id->versions)) != ERR_OK)
        return e;
    if (kind == IDENT_KEY)
        read_key(a, d, vault, id);
    read_policies(a, id);
    const struct ident_item *rate = ident_find(&id->tags, STR(IDENT_TAG_RATE));
    if (rate && !ident_rate(rate->text, &id->per_s))
        log_error(STR_NONE, "the rate of an identity can't be read", "name=%s", log_quote(id->name));
    *out = id;
    return ERR_OK;
}
