/* iam_call.h - one call of the query APIs, from its form to its answer.
 *
 * Shape    iam.c reads the form, knows the caller and asks whether it may; then `begin` of the action looks at the parameters. It either
 *          writes the result at once, or fills in c->change: then that is done, and `finish` writes the result.
 * Owns     all is in the request's arena.
 * Errors   begin returns what the call fails with; iam_refuse() gives the sentence.
 * Thread   the loop's.
 */
#ifndef SLUICE_GATEWAY_IAM_CALL_H
#define SLUICE_GATEWAY_IAM_CALL_H

#include "base/op.h"
#include "gateway/iam.h"
#include "http/client.h"
#include "http/url.h"
#include "s3api/auth.h"
#include "s3api/xml.h"

enum iam_service { IAM_API, STS_API };
enum { IAM_FORM_MAX = 256 << 10, IAM_PARAMS_MAX = 512, IAM_PAGE_MAX = 1000, IAM_RESULT_MAX = 8 << 20 };

struct iam_call;
typedef enum err iam_begin_fn(struct iam_call *c);
typedef void iam_finish_fn(struct iam_call *c);

/* What an action is about: whose name is in which parameter, and thus the resource that policies mean. */
enum iam_about { ABOUT_NOTHING, ABOUT_USER, ABOUT_SELF, ABOUT_GROUP, ABOUT_ROLE, ABOUT_POLICY, ABOUT_NEW_POLICY };
enum {
    IAM_FREE = 1, /* for everybody who signs */
    IAM_WEB = 2   /* for who has a token of the provider: nothing is signed */
};

struct iam_action {
    struct str name;
    enum iam_service service;
    enum iam_about about;
    unsigned flags;
    iam_begin_fn *begin;
    iam_finish_fn *finish; /* NULL: the result is empty */
};

struct iam_call {
    struct op op;
    struct http_req *http;
    struct arena *arena;
    const struct iam_env *env;
    uint64_t started_ns;
    struct http_client *client;
    struct idents *idents;
    struct buf body;
    struct source_fill fill;
    size_t got;
    struct query_param *params;
    size_t param_count;
    const struct iam_action *action;
    struct identity who;
    struct iam_principal principal;

    enum ident_kind kind;      /* what it is about */
    struct str name;           /* empty: the owner, of ABOUT_SELF; nothing, of ABOUT_NOTHING */
    const struct ident *found; /* the one of that name; NULL: there is none */

    bool changes;
    struct ident_change_req change;
    struct ident_change_res changed;
    struct ident_item item;   /* that is put or dropped */
    struct ident_item *items; /* tags */
    unsigned item_count;
    struct str text; /* for `finish` */

    struct http_client_req ask; /* for the provider's keys */
    struct http_client_res answer;
    struct token web; /* of the provider, believed */

    struct buf xml; /* inside of <...Result> */
    struct str message;
    struct http_header header;
    struct http_res res;
};

/* p == NULL: was not sent. */
struct str iam_param(const struct iam_call *c, const char *name);
/* The n-th of a list, counted from 1: "Tags.member.1.Key". */
struct str iam_member(const struct iam_call *c, const char *list, unsigned n, const char *field);
enum err iam_refuse(struct iam_call *c, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* ERR_IAM_VALIDATION unless it is a name of at most `max` letters, digits and "_+=,.@-". */
MUST_USE enum err iam_check_name(struct iam_call *c, const char *param, struct str name, size_t max);
MUST_USE enum err iam_check_path(struct iam_call *c, struct str *path);
/* A number in a parameter, within bounds; absent: `def`. */
MUST_USE enum err iam_number(struct iam_call *c, const char *param, uint64_t min, uint64_t max, uint64_t def,
                             uint64_t *out);
/* A document that was sent in a parameter, read. */
MUST_USE enum err iam_read_policy(struct iam_call *c, const char *param, enum policy_kind kind, struct str *text,
                                  const struct policy **out);
/* ERR_NO_SUCH_ENTITY unless c->found. */
MUST_USE enum err iam_must_exist(struct iam_call *c);
/* A managed policy by its ARN. */
MUST_USE enum err iam_find_policy(struct iam_call *c, const struct ident **out);
/* Has c->found changed by `fn`, arg == c. */
void iam_change(struct iam_call *c, enum ident_change how, ident_change_fn *fn);

/* ---- asking (iam.c) ---- */

/* What policies are told of this call. */
struct iam_request iam_ask(struct iam_call *c, struct str action, struct str resource);
enum err iam_may(struct iam_call *c, struct str action, struct str resource);

/* ---- writing ---- */

void iam_put_doc(struct iam_call *c, const char *name, struct str json); /* percent-encoded, as IAM does */
void iam_put_s(struct iam_call *c, const char *name, int64_t unix_s);
/* A page of a list: c->found and others of a kind, and where it ends. */
typedef void iam_put_fn(struct iam_call *c, const struct ident *id);
MUST_USE enum err iam_put_page(struct iam_call *c, const char *list, enum ident_kind kind, ident_wants_fn *wants,
                               iam_put_fn *put);
void iam_put_tags(struct iam_call *c, const struct ident_list *l);
void iam_put_all(struct iam_call *c); /* <IsTruncated>false */

#define IAM_ROW(name, service, about, flags, begin, finish)                                                            \
    iam_begin_fn begin;                                                                                                \
    iam_finish_fn finish;
#define IAM_BARE(name, service, about, flags, begin) iam_begin_fn begin;
#include "gateway/iam_actions.def"
#undef IAM_ROW
#undef IAM_BARE

#endif
