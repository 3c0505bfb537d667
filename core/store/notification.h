/* notification.h - which events of a bucket who is told of: the rules of a NotificationConfiguration.
 *
 * Shape    rules with a webhook, a set of events, and what keys begin and end with.
 * Owns     rules live in the arena they were read into.
 * Errors   ERR_MALFORMED_XML, ERR_INVALID_ARGUMENT, ERR_NOT_IMPLEMENTED, with a sentence in `why`.
 * Thread   any; pure.
 * Source   S3 API: PutBucketNotificationConfiguration; S3 User Guide, "Event notification types and destinations".
 */
#ifndef SLUICE_STORE_NOTIFICATION_H
#define SLUICE_STORE_NOTIFICATION_H

#include "base/arena.h"
#include "base/err.h"
#include "base/xml.h"

enum { NOTIFICATION_RULES_MAX = 100, NOTIFICATION_WHY_MAX = 512 };

enum event_kind {
    EVENT_BY_METHOD, /* of a cause: what follows from the store's method */
    EVENT_NONE,      /* of a cause: nobody is told */
    EVENT_PUT,
    EVENT_POST,
    EVENT_COPY,
    EVENT_COMPLETE,
    EVENT_DELETE,
    EVENT_MARKER,
    EVENT_EXPIRED,
    EVENT_EXPIRED_MARKER,
    EVENT_TAGS_PUT,
    EVENT_TAGS_DELETE,
    EVENT_ACL,
    EVENT_KINDS
};
/* As in records, without "s3:"; of EVENT_PUT and above. */
const char *event_name(enum event_kind kind);

/* Who wants a write, and what it is called: for who is told of it (announce.h). */
struct cause {
    enum event_kind kind;
    struct str who;     /* as policies name them; empty: the system itself */
    struct str address; /* the client's */
    struct str request_id, host_id;
};

enum notification_kind { NOTIFY_QUEUE, NOTIFY_TOPIC, NOTIFY_FUNCTION };
struct notification_rule {
    enum notification_kind kind; /* which of the three elements it was: told back */
    struct str id, arn;
    struct str webhook;     /* that the ARN names */
    uint32_t events;        /* set of 1u << enum event_kind */
    const struct str *said; /* the events' names as they were sent */
    size_t said_count;
    struct str prefix, suffix; /* empty: any */
};
struct notification {
    struct notification_rule *rules;
    size_t n;
};
/* Reads a document: the root is NotificationConfiguration. Rules without an id get one that follows from what they say. */
MUST_USE enum err notification_read(struct arena *arena, const struct xml_doc *doc, struct notification **out,
                                    char why[NOTIFICATION_WHY_MAX]);
/* The next rule from `from` on (NULL: the first) that is about this; NULL: none. */
const struct notification_rule *notification_next(const struct notification *n, const struct notification_rule *from,
                                                  enum event_kind kind, struct str key);

#endif
