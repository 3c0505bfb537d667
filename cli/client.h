/* client.h - what the verbs of a client share: where the server is, who asks, how answers become messages and exit codes.
 *
 * Shape    client_flags() are part of every verb's table; client_open() after they were read.
 *          Server: --endpoint, SLUICE_ENDPOINT, AIS_ENDPOINT, AWS_ENDPOINT_URL, http://127.0.0.1:9000.
 *          Who: --token, AIS_AUTHN_TOKEN, or a token made of the access key and its secret: SLUICE_ACCESS_KEY and SLUICE_SECRET_KEY,
 *          AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile AWS_PROFILE of ~/.aws/credentials; without any: nobody.
 * Owns     a struct client is one thread's; workers open their own with client_again().
 * Errors   exit codes: 0, EXIT_FAILURE, EXIT_USAGE, EXIT_NOT_FOUND.
 * Thread   one at a time.
 */
#ifndef SLUICE_CLI_CLIENT_H
#define SLUICE_CLI_CLIENT_H

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/place.h"
#include "cli/web.h"

enum { EXIT_NOT_FOUND = 3, CLIENT_TEXT_MAX = 64 << 20 };

struct client_options {
    const char *endpoint, *token, *ca_file;
    bool insecure, json, quiet;
};
#define CLIENT_FLAGS(o)                                                                                                \
    {"--endpoint", "-e", .text = &(o)->endpoint}, {"--token", NULL, .text = &(o)->token},                              \
        {"--ca-file", NULL, .text = &(o)->ca_file}, {"--insecure", NULL, .on = &(o)->insecure},                        \
        {"--json", "-j", .on = &(o)->json},                                                                            \
    {                                                                                                                  \
        "--quiet", "-q", .on = &(o)->quiet                                                                             \
    }

struct client {
    const struct client_options *options;
    struct web_conf conf;
    struct web *web;
    struct arena arena;
    struct buf path, query, body; /* of the request that is being made */
};
/* 0 or an exit code. */
int client_open(struct client *c, const struct client_options *o);
/* Another one for the same server, for another thread. */
void client_again(struct client *c, const struct client *of);
void client_close(struct client *c);

/* Empties path, query and body. */
void client_begin(struct client *c);
/* Asks with what is in path, query and, when it isn't empty, body as JSON; on anything but success says why, naming `what`, and returns
 * an exit code. `req` has the rest; may be NULL. */
int client_ask(struct client *c, const char *method, const struct web_req *req, struct web_res *res, const char *what);
/* The exit code for an answer that is no success; says why. */
int client_refused(const struct client *c, const struct web_res *res, const char *what);
/* {"action":ACTION,"name":NAME,"value":...: the value is to be written next, then client_action_end(). */
void client_action(struct client *c, const char *action, struct str name);
void client_action_end(struct client *c);
/* Reads an answer's text. 0 or an exit code. */
struct doc;
int client_json(struct client *c, struct str text, struct doc **out);
/* Text of a member, empty when there is none. */
struct str client_text(const struct doc *d, const char *name);
uint64_t client_number(const struct doc *d, const char *name);

/* Waits for a job, with progress; 0 or an exit code. */
int client_wait(struct client *c, struct str id, uint64_t timeout_s);

/* One page of a listing after another, as list-objects gives them. */
struct client_list {
    struct place place;
    struct str prefix;
    unsigned flags;    /* of list-objects: 8 = members of archives, 2048 = one level */
    const char *props; /* "name,size" */
    unsigned page;     /* 0: the server's */
    /* ---- */
    struct buf token;
    struct arena arena; /* of the page */
    const struct doc *entries;
    bool ended, begun;
};
/* The next page: 0 (entries is NULL at the end), or an exit code. */
int client_list_next(struct client *c, struct client_list *l);
void client_list_release(struct client_list *l);

#endif
