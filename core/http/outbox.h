/* outbox.h - messages to webhooks: kept on disk until the webhook has taken them.
 *
 * Shape    a queue per webhook in one kv; a thread of its own sends, some messages at a time, oldest first. What is not answered with 2xx is sent
 *          again after a pause that doubles up to OUTBOX_PAUSE_MAX_MS. At least once, and not strictly in order.
 * Units    seconds; a message is at most OUTBOX_MESSAGE_MAX bytes.
 * Owns     its directory; copies of what it is given.
 * Errors   a message that finds its queue full, or no webhook of its name, is dropped: counted and logged. So is one that was not taken for
 *          `keep_s`. Those of webhooks that are configured no more stay until then.
 * Thread   outbox_put() from any loop; open and close: main, BLOCKING.
 * Source   docs/notifications.md
 */
#ifndef SLUICE_HTTP_OUTBOX_H
#define SLUICE_HTTP_OUTBOX_H

#include "base/call.h"
#include "base/offload.h"
#include "base/str.h"

enum {
    OUTBOX_HOOKS_MAX = 16,
    OUTBOX_NAME_MAX = 64,
    OUTBOX_MESSAGE_MAX = 64 << 10,
    OUTBOX_AT_ONCE = 8, /* messages on their way to one webhook */
    OUTBOX_PAUSE_MS = 1000,
    OUTBOX_PAUSE_MAX_MS = 60000,
    OUTBOX_WHY_MAX = 1000
};

struct outbox_hook {
    struct str name;  /* letters, digits, '-', '_' */
    struct str url;   /* http:// or https:// */
    struct str token; /* sent as "Authorization: Bearer"; empty: none */
};
struct outbox_conf {
    struct str dir; /* made when it is absent */
    const struct outbox_hook *hooks;
    size_t hook_count;
    struct str ca_file; /* who signs the webhooks' certificates; empty = the system's */
    bool private_too;   /* addresses of this machine and its networks, too */
    uint32_t queue_max; /* messages that may wait, of one webhook */
    uint32_t keep_s;
    struct offload *io;
};

struct outbox;
/* ERR_INVALID_ARGUMENT: of the webhooks; else the directory. `why` gets a sentence. Begins to send what waits. */
MUST_USE enum err outbox_open(const struct outbox_conf *conf, struct outbox **out, char why[OUTBOX_WHY_MAX]);
/* After the last put; what is on its way is given up and sent again by the next. NULL is legal. */
void outbox_close(struct outbox *);
bool outbox_has(const struct outbox *, struct str name);

struct outbox_message {
    struct str hook, body; /* body: sent as application/json */
};
struct outbox_put_req {
    const struct outbox_message *messages;
    size_t count;
};
struct outbox_put_res {
    size_t dropped;
};
/* Done when they are on disk, all with one write. ERR_NO_SPACE, ERR_IO, ERR_BUSY: none is. */
void outbox_put(struct outbox *, const struct outbox_put_req *, struct outbox_put_res *, struct call *);

#endif
