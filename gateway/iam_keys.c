/* Access keys: of users, and further ones of the owner.
 * Parameters more than at AWS: DurationSeconds, after which the key ends; Policy, which takes away from what its user may; AccessKeyId and
 * SecretAccessKey together, by which the owner takes over keys of another server. */
#include "base/clock.h"
#include "gateway/iam_call.h"

enum { KEYS_OF_USER_MAX = 20, SECRET_LEN = 40, ID_TAIL_LEN = 16, GIVEN_ID_MIN = 3, GIVEN_SECRET_MIN = 8 };
#define DURATION_MAX_S (UINT64_C(10) * 366 * 24 * 3600)

#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#define MANY  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

static bool is_of(void *arg, const struct ident *key)
{
    const struct iam_call *c = arg;

    return str_eq(key->user, c->name) && (!c->name.n || (c->found && str_eq(key->user_id, c->found->id)));
}

static enum err must_be_there(struct iam_call *c)
{
    return c->name.n ? iam_must_exist(c) : ERR_OK;
}

static void put_key(struct iam_call *c, const struct ident *key)
{
    if (key->user.n)
        xml_str(&c->xml, STR("UserName"), key->user);
    xml_str(&c->xml, STR("AccessKeyId"), key->name);
    xml_str(&c->xml, STR("Status"), key->active ? STR("Active") : STR("Inactive"));
    iam_put_s(c, "CreateDate", key->created_s);
    if (key->expires_s)
        iam_put_s(c, "Expiration", key->expires_s);
}

/* ---- making ---- */

static enum err do_create(void *arg, struct ident *key)
{
    struct iam_call *c = arg;
    uint64_t duration;
    enum err e = iam_number(c, "DurationSeconds", 1, DURATION_MAX_S, 0, &duration);

    key->user = c->name;
    key->user_id = c->found ? c->found->id : STR("");
    key->active = true;
    key->secret = iam_param(c, "SecretAccessKey");
    if (!key->secret.n)
        key->secret = ident_random(c->arena, SECRET_LEN, STR(MANY));
    key->scope = c->text;
    if (duration)
        key->expires_s = clock_wall_ns() / NS_PER_S + (int64_t)duration;
    return e;
}

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return true;
}

/* The name of the new key: one of ours, or the one that is taken over. */
static enum err name_key(struct iam_call *c, struct str *name)
{
    struct str given = iam_param(c, "AccessKeyId"), secret = iam_param(c, "SecretAccessKey");
    struct iam_key other;
    enum err e;

    if (!given.p && !secret.p) {
        *name = arena_printf(c->arena, "AKIA" STR_FMT, STR_ARG(ident_random(c->arena, ID_TAIL_LEN, STR(UPPER))));
        return ERR_OK;
    }
    if (c->who.iam.kind != IAM_OWNER)
        return iam_refuse(c, ERR_ACCESS_DENIED, "Only the owner takes over keys.");
    if ((e = iam_check_name(c, "AccessKeyId", given, IDENT_NAME_MAX)) != ERR_OK)
        return e;
    if (given.n < GIVEN_ID_MIN || str_starts(given, STR("ASIA")) || secret.n < GIVEN_SECRET_MIN ||
        secret.n > IDENT_SECRET_MAX || !is_printable(secret))
        return iam_refuse(
            c, ERR_IAM_VALIDATION,
            "AccessKeyId must have %d characters or more and not begin with ASIA, SecretAccessKey %d to %d "
            "printable ones.",
            GIVEN_ID_MIN, GIVEN_SECRET_MIN, IDENT_SECRET_MAX);
    e = creds_find(c->env->creds, c->arena, given, STR_NONE, 0, &other);
    explicit_bzero(other.secret, sizeof(other.secret));
    if (e == ERR_OK || idents_find(c->idents, c->arena, IDENT_KEY, given))
        return iam_refuse(c, ERR_ENTITY_EXISTS, "There is an access key " STR_FMT " already.", STR_ARG(given));
    *name = given;
    return ERR_OK;
}

enum err iam_create_key(struct iam_call *c)
{
    const struct ident *page[KEYS_OF_USER_MAX];
    const struct policy *scope;
    struct str name;
    bool more;
    enum err e = must_be_there(c);

    if (e != ERR_OK)
        return e;
    if (!idents_can_keep(c->idents))
        return ERR_IAM_NO_MASTER_KEY;
    if (c->who.iam.temporary)
        return iam_refuse(c, ERR_ACCESS_DENIED, "Temporary credentials make no keys that last longer than they do.");
    if (c->who.iam.scope_count) /* it could have one without a scope made for itself */
        return iam_refuse(c, ERR_ACCESS_DENIED, "A key with a policy of its own makes no others.");
    if (iam_param(c, "Policy").n && (e = iam_read_policy(c, "Policy", POLICY_IDENTITY, &c->text, &scope)) != ERR_OK)
        return e;
    if (idents_list(c->idents, c->arena, IDENT_KEY, STR(""), is_of, c, page, KEYS_OF_USER_MAX, &more) ==
            KEYS_OF_USER_MAX ||
        idents_size(c->idents, IDENT_KEY) >= IDENT_KEYS_MAX)
        return iam_refuse(c, ERR_IAM_LIMIT, "Cannot exceed quota for AccessKeysPerUser: %d", KEYS_OF_USER_MAX);
    if ((e = name_key(c, &name)) != ERR_OK)
        return e;
    iam_change(c, IDENT_CREATE, do_create);
    c->change.kind = IDENT_KEY;
    c->change.name = name;
    return ERR_OK;
}

void iam_created_key(struct iam_call *c)
{
    xml_open(&c->xml, STR("AccessKey"));
    put_key(c, c->changed.now);
    xml_str(&c->xml, STR("SecretAccessKey"), c->changed.now->secret);
    xml_close(&c->xml, STR("AccessKey"));
}

/* ---- the others ---- */

enum err iam_list_keys(struct iam_call *c)
{
    enum err e = must_be_there(c);

    return e == ERR_OK ? iam_put_page(c, "AccessKeyMetadata", IDENT_KEY, is_of, put_key) : e;
}

static enum err do_update(void *arg, struct ident *key)
{
    struct iam_call *c = arg;
    struct str status = iam_param(c, "Status");

    if (!str_eq(status, STR("Active")) && !str_eq(status, STR("Inactive")))
        return iam_refuse(c, ERR_IAM_VALIDATION, "Status must be Active or Inactive.");
    if (!key->secret.n) /* writing it again would lose what is kept of it */
        return iam_refuse(c, ERR_IAM_NO_MASTER_KEY, "The secret of this key can't be read: delete it.");
    key->active = str_eq(status, STR("Active"));
    return ERR_OK;
}

static enum err change_key(struct iam_call *c, enum ident_change how, ident_change_fn *fn)
{
    struct str name = iam_param(c, "AccessKeyId");
    const struct ident *key;
    enum err e = must_be_there(c);

    if (e != ERR_OK || (e = iam_check_name(c, "AccessKeyId", name, IDENT_NAME_MAX)) != ERR_OK)
        return e;
    key = idents_find(c->idents, c->arena, IDENT_KEY, name);
    if (!key || !str_eq(key->user, c->name))
        return iam_refuse(c, ERR_NO_SUCH_ENTITY, "The Access Key with id " STR_FMT " cannot be found", STR_ARG(name));
    iam_change(c, how, fn);
    c->change.kind = IDENT_KEY;
    c->change.name = name;
    return ERR_OK;
}

enum err iam_update_key(struct iam_call *c)
{
    return change_key(c, IDENT_UPDATE, do_update);
}

enum err iam_delete_key(struct iam_call *c)
{
    return change_key(c, IDENT_REMOVE, NULL);
}
