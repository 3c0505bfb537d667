/* download_file.h - one file of the web into one object: redirects, retries, verification.
 *
 * Shape    one call per file. The body is streamed into the store; what was received is counted as it comes.
 * Owns     req and what it points to are the caller's until the call is done.
 * Errors   ERR_NOT_FOUND (404, 410), ERR_ACCESS_DENIED (refused there, or an address that may not be asked), ERR_INVALID_ARGUMENT (the link, or too many
 *          redirects), ERR_BAD_DIGEST, ERR_UNAVAILABLE and ERR_TIMEOUT after all tries, those of the store; `why` says more.
 * Thread   the loop of `client`.
 * Source   RFC 9110 sections 15.4 and 8.6; RFC 1864 (Content-MD5).
 */
#ifndef SLUICE_TARGET_DOWNLOAD_FILE_H
#define SLUICE_TARGET_DOWNLOAD_FILE_H

#include "etl/door.h"
#include "http/client.h"
#include "store/store.h"

enum { DOWNLOAD_REDIRECTS_MAX = 5, DOWNLOAD_TRIES_MAX = 5, DOWNLOAD_LINK_MAX = 4096 };

/* Files of one job share what they may receive. */
struct download_meter {
    uint64_t bytes_per_hour; /* 0 = no limit */
    uint64_t free_ns;        /* when what came so far is within it */
    uint64_t bytes;          /* received */
};
struct download_req {
    struct arena *arena;
    struct http_client *client;
    struct store *store;
    struct bucket_id bucket;
    struct str key, link;
    uint32_t timeout_ms;    /* of one try; 0 = none */
    struct digest checksum; /* what it must hash to; n == 0: not known */
    bool private_too;       /* also from addresses of this machine and its networks */
    /* what it passes through on its way; stage_count 0: nothing */
    struct etl_door *door;
    struct offload *cpu;
    const struct etl_stage *stages;
    size_t stage_count;
    struct download_meter *meter;
};
struct download_res {
    struct object_info info;
    uint64_t received, size; /* while it runs, too; size 0: not known */
    char why[256];
};
void download_file(const struct download_req *req, struct download_res *res, struct call *call);

/* Scheme, host and path are there, and it is http or https. */
bool download_is_link(struct str link);
/* Last part of the link's path, decoded; empty when there is none. */
struct str download_name(struct arena *arena, struct str link);

#endif
