/* announce.h - a store around the store: what is written and deleted is told to webhooks, as a bucket's notifications ask for.
 *
 * Shape    writes pass through; when one has succeeded in a bucket with a rule that fits, a record of the event is put into the outbox, and then the
 *          call is done: what a client was told of is in a queue on disk. Buckets without notifications cost a look into a cache.
 * Owns     nothing it is given; store_close() leaves the inner store open.
 * Errors   those of the inner store. A record that can't be kept is counted and logged: the write has happened.
 * Thread   the store: its loop's; the announcer is shared.
 * Source   S3 User Guide, "Event message structure"; docs/notifications.md
 */
#ifndef SLUICE_STORE_ANNOUNCE_H
#define SLUICE_STORE_ANNOUNCE_H

#include "http/outbox.h"
#include "store/bucket_conf.h"
#include "store/buckets.h"
#include "store/notification.h"
#include "store/store.h"

struct announcer {
    struct outbox *box;
    struct bucket_confs *confs; /* "notification" was made by notification_read() */
    struct buckets *buckets;
    struct str region;
    void (*owner_id)(struct str owner, char out[64]); /* what clients are told of a bucket's owner */
};
struct store *announce_store_new(const struct announcer *a, struct loop *loop, struct store *inner);

/* Whether there is such a webhook. */
bool announcer_has(const struct announcer *a, struct str webhook);
/* What S3 sends to a destination that a bucket's notifications name for the first time: one message to each of the rules' webhooks. */
struct announce_test_req {
    struct arena *arena;
    const struct notification *rules;
    struct str bucket, request_id, host_id;
};
struct announce_test_res {
    struct outbox_put_req put;
    struct outbox_put_res written;
};
void announce_test(const struct announcer *a, const struct announce_test_req *req, struct announce_test_res *res,
                   struct call *call);

#endif
