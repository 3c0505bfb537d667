/* Users, groups and roles. */
#include "base/clock.h"
#include "gateway/iam_call.h"

enum { SESSION_MIN_S = 3600, SESSION_MAX_S = 43200, DESCRIPTION_MAX = 1000, TAG_KEY_MAX = 128, TAG_VALUE_MAX = 256 };

static const struct {
    const char *element, *id;
} words[] = {
    [IDENT_USER] = {"User", "UserId"}, [IDENT_GROUP] = {"Group", "GroupId"}, [IDENT_ROLE] = {"Role", "RoleId"}};

static void put_name(struct iam_call *c, const struct ident *id)
{
    xml_str(&c->xml, arena_printf(c->arena, "%sName", words[id->kind].element), id->name);
}

static void put_parts(struct iam_call *c, const struct ident *id)
{
    xml_str(&c->xml, STR("Path"), id->path);
    put_name(c, id);
    xml_str(&c->xml, str_z(words[id->kind].id), id->id);
    xml_str(&c->xml, STR("Arn"), ident_arn(c->arena, id));
    iam_put_s(c, "CreateDate", id->created_s);
    if (id->kind != IDENT_ROLE)
        return;
    iam_put_doc(c, "AssumeRolePolicyDocument", id->trust);
    xml_u64(&c->xml, STR("MaxSessionDuration"), id->session_max_s);
    if (id->description.n)
        xml_str(&c->xml, STR("Description"), id->description);
}

static void put_whole(struct iam_call *c, const struct ident *id)
{
    xml_open(&c->xml, str_z(words[id->kind].element));
    put_parts(c, id);
    if (id->tags.n)
        iam_put_tags(c, &id->tags);
    xml_close(&c->xml, str_z(words[id->kind].element));
}

/* ---- tags ---- */

static enum err read_tags(struct iam_call *c)
{
    c->items = arena_new(c->arena, IDENT_TAGS_MAX * sizeof(*c->items));
    for (unsigned i = 1;; i++) {
        struct str key = iam_member(c, "Tags", i, "Key"), value = iam_member(c, "Tags", i, "Value");
        if (!key.p)
            return ERR_OK;
        if (c->item_count == IDENT_TAGS_MAX)
            return iam_refuse(c, ERR_IAM_LIMIT, "There can be %d tags.", IDENT_TAGS_MAX);
        if (!key.n || key.n > TAG_KEY_MAX || value.n > TAG_VALUE_MAX)
            return iam_refuse(c, ERR_IAM_VALIDATION, "Tag %u is too long, or has no key.", i);
        uint32_t rate;
        if (str_starts(key, STR(IDENT_TAG_OURS)) && !(str_eq(key, STR(IDENT_TAG_RATE)) && ident_rate(value, &rate)))
            return iam_refuse(c, ERR_IAM_VALIDATION,
                              "Of tags that begin with " IDENT_TAG_OURS " there is " IDENT_TAG_RATE ", 1 to %d.",
                              IDENT_RATE_MAX);
        c->items[c->item_count++] = (struct ident_item){.name = key, .text = value};
    }
}

static enum err do_tag(void *arg, struct ident *id)
{
    struct iam_call *c = arg;
    enum err e = ERR_OK;

    for (unsigned i = 0; e == ERR_OK && i < c->item_count; i++)
        e = ident_put(c->arena, &id->tags, &c->items[i], IDENT_TAGS_MAX, true);
    return e;
}

static enum err do_untag(void *arg, struct ident *id)
{
    struct iam_call *c = arg;

    for (unsigned i = 1; iam_member(c, "TagKeys", i, NULL).p; i++)
        ident_drop(&id->tags, iam_member(c, "TagKeys", i, NULL));
    return ERR_OK;
}

enum err iam_tag(struct iam_call *c)
{
    enum err e = read_tags(c);

    if (e == ERR_OK && (e = iam_must_exist(c)) == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_tag);
    return e;
}

enum err iam_untag(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_untag);
    return e;
}

enum err iam_list_tags(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    iam_put_tags(c, &c->found->tags);
    iam_put_all(c);
    return ERR_OK;
}

/* ---- making ---- */

static enum err do_create(void *arg, struct ident *id)
{
    struct iam_call *c = arg;
    enum err e;

    id->path = iam_param(c, "Path");
    if ((e = iam_check_path(c, &id->path)) != ERR_OK)
        return e;
    id->id = ident_new_id(c->arena, c->kind);
    if (c->kind == IDENT_ROLE) {
        id->trust = c->text;
        id->description = iam_param(c, "Description");
        if ((e = iam_number(c, "MaxSessionDuration", SESSION_MIN_S, SESSION_MAX_S, SESSION_MIN_S,
                            &id->session_max_s)) != ERR_OK)
            return e;
    }
    return do_tag(c, id);
}

enum err iam_create(struct iam_call *c)
{
    const struct policy *trust;
    enum err e;

    if (iam_param(c, "PermissionsBoundary").n)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "Permissions boundaries are not implemented.");
    if (iam_param(c, "Description").n > DESCRIPTION_MAX)
        return iam_refuse(c, ERR_IAM_VALIDATION, "Description is longer than %d bytes.", DESCRIPTION_MAX);
    if ((e = read_tags(c)) != ERR_OK)
        return e;
    if (c->kind == IDENT_ROLE &&
        (e = iam_read_policy(c, "AssumeRolePolicyDocument", POLICY_TRUST, &c->text, &trust)) != ERR_OK)
        return e;
    if (c->found)
        return iam_refuse(c, ERR_ENTITY_EXISTS, "%s with name " STR_FMT " already exists.", words[c->kind].element,
                          STR_ARG(c->name));
    if (idents_size(c->idents, c->kind) >= IDENTS_MAX)
        return iam_refuse(c, ERR_IAM_LIMIT, "There can be %d of them.", IDENTS_MAX);
    iam_change(c, IDENT_CREATE, do_create);
    return ERR_OK;
}

void iam_created(struct iam_call *c)
{
    put_whole(c, c->changed.now);
}

enum err iam_get(struct iam_call *c)
{
    enum err e;

    if (c->kind == IDENT_USER && !c->name.n) { /* the owner asks for itself */
        xml_open(&c->xml, STR("User"));
        xml_str(&c->xml, STR("Path"), STR("/"));
        xml_str(&c->xml, STR("UserId"), STR(IAM_ACCOUNT));
        xml_str(&c->xml, STR("Arn"), STR(IAM_ACCOUNT_ARN));
        iam_put_s(c, "CreateDate", 0);
        xml_close(&c->xml, STR("User"));
        return ERR_OK;
    }
    if ((e = iam_must_exist(c)) == ERR_OK)
        put_whole(c, c->found);
    return e;
}

static bool has_prefix(void *arg, const struct ident *id)
{
    struct str prefix = iam_param(arg, "PathPrefix");

    return !prefix.n || str_starts(id->path, prefix);
}

enum err iam_list_users(struct iam_call *c)
{
    return iam_put_page(c, "Users", IDENT_USER, has_prefix, put_parts);
}

enum err iam_list_groups(struct iam_call *c)
{
    return iam_put_page(c, "Groups", IDENT_GROUP, has_prefix, put_parts);
}

enum err iam_list_roles(struct iam_call *c)
{
    return iam_put_page(c, "Roles", IDENT_ROLE, has_prefix, put_parts);
}

/* ---- changing ---- */

static enum err do_update(void *arg, struct ident *id)
{
    struct iam_call *c = arg;
    struct str path = iam_param(c, "NewPath");
    enum err e;

    if (path.n) {
        if ((e = iam_check_path(c, &path)) != ERR_OK)
            return e;
        id->path = path;
    }
    if (c->kind != IDENT_ROLE)
        return ERR_OK;
    if (iam_param(c, "Description").p)
        id->description = iam_param(c, "Description");
    return iam_number(c, "MaxSessionDuration", SESSION_MIN_S, SESSION_MAX_S, id->session_max_s, &id->session_max_s);
}

enum err iam_update(struct iam_call *c)
{
    enum err e;

    if (iam_param(c, "NewUserName").n || iam_param(c, "NewGroupName").n)
        return iam_refuse(c, ERR_NOT_IMPLEMENTED, "Identities are not renamed: make a new one.");
    if (iam_param(c, "Description").n > DESCRIPTION_MAX)
        return iam_refuse(c, ERR_IAM_VALIDATION, "Description is longer than %d bytes.", DESCRIPTION_MAX);
    if ((e = iam_must_exist(c)) == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_update);
    return e;
}

static enum err do_trust(void *arg, struct ident *id)
{
    id->trust = ((struct iam_call *)arg)->text;
    return ERR_OK;
}

enum err iam_update_trust(struct iam_call *c)
{
    const struct policy *trust;
    enum err e = iam_read_policy(c, "PolicyDocument", POLICY_TRUST, &c->text, &trust);

    if (e == ERR_OK && (e = iam_must_exist(c)) == ERR_OK)
        iam_change(c, IDENT_UPDATE, do_trust);
    return e;
}

/* ---- removing ---- */

static bool is_key_of(void *arg, const struct ident *key)
{
    return str_eq(key->user, ((struct iam_call *)arg)->name);
}

static bool is_in_group(void *arg, const struct ident *user)
{
    const struct iam_call *c = arg;
    const struct ident_item *g = ident_find(&user->groups, c->name);

    return g && c->found && str_eq(g->text, c->found->id);
}

static bool any(struct iam_call *c, enum ident_kind kind, ident_wants_fn *wants)
{
    const struct ident *one;
    bool more;

    return idents_list(c->idents, c->arena, kind, STR(""), wants, c, &one, 1, &more) > 0;
}

static enum err do_delete(void *arg, struct ident *id)
{
    struct iam_call *c = arg;
    const char *what = id->attached.n ? "detach its policies" : id->inlined.n ? "delete its policies" : NULL;

    if (!what && id->groups.n)
        what = "remove it from its groups";
    if (!what && c->kind == IDENT_USER && any(c, IDENT_KEY, is_key_of))
        what = "delete its access keys";
    if (!what && c->kind == IDENT_GROUP && any(c, IDENT_USER, is_in_group))
        what = "remove its users";
    return what ? iam_refuse(c, ERR_IAM_IN_USE, "Cannot delete entity, must %s first.", what) : ERR_OK;
}

enum err iam_delete(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e == ERR_OK)
        iam_change(c, IDENT_REMOVE, do_delete);
    return e;
}

/* ---- groups ---- */

enum err iam_get_group(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    put_whole(c, c->found);
    return iam_put_page(c, "Users", IDENT_USER, is_in_group, put_parts);
}

static enum err do_join(void *arg, struct ident *user)
{
    struct iam_call *c = arg;
    enum err e = ident_put(c->arena, &user->groups, &c->item, IDENT_GROUPS_MAX, true);

    return e == ERR_IAM_LIMIT ? iam_refuse(c, e, "A user can be in %d groups.", IDENT_GROUPS_MAX) : e;
}

static enum err do_leave(void *arg, struct ident *user)
{
    struct iam_call *c = arg;

    if (ident_drop(&user->groups, c->name))
        return ERR_OK;
    return iam_refuse(c, ERR_NO_SUCH_ENTITY, "User " STR_FMT " is not in group " STR_FMT ".", STR_ARG(user->name),
                      STR_ARG(c->name));
}

/* The user's record is what changes. */
static enum err change_member(struct iam_call *c, ident_change_fn *fn)
{
    struct str user = iam_param(c, "UserName");
    enum err e = iam_must_exist(c);

    if (e != ERR_OK || (e = iam_check_name(c, "UserName", user, 64)) != ERR_OK)
        return e;
    if (!idents_find(c->idents, c->arena, IDENT_USER, user))
        return iam_refuse(c, ERR_NO_SUCH_ENTITY, "The user with name " STR_FMT " cannot be found.", STR_ARG(user));
    c->item = (struct ident_item){.name = c->name, .text = c->found->id};
    iam_change(c, IDENT_UPDATE, fn);
    c->change.kind = IDENT_USER;
    c->change.name = user;
    return ERR_OK;
}

enum err iam_join(struct iam_call *c)
{
    return change_member(c, do_join);
}

enum err iam_leave(struct iam_call *c)
{
    return change_member(c, do_leave);
}

enum err iam_list_groups_of(struct iam_call *c)
{
    enum err e = iam_must_exist(c);

    if (e != ERR_OK)
        return e;
    xml_open(&c->xml, STR("Groups"));
    for (unsigned i = 0; i < c->found->groups.n; i++) {
        const struct ident_item *item = &c->found->groups.items[i];
        const struct ident *g = idents_find(c->idents, c->arena, IDENT_GROUP, item->name);
        if (!g || !str_eq(g->id, item->text))
            continue;
        xml_open(&c->xml, STR("member"));
        put_parts(c, g);
        xml_close(&c->xml, STR("member"));
    }
    xml_close(&c->xml, STR("Groups"));
    iam_put_all(c);
    return ERR_OK;
}
