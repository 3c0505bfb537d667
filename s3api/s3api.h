/* s3api.h - the S3 XML API over a store.
 *
 * Shape    a http_handler: parse -> who -> which operation -> may they -> run it -> answer.
 * Owns     nothing it is given: everything in the environment outlives it.
 * Thread   one per loop; credentials and buckets are shared and thread-safe.
 * Source   S3 API reference.
 */
#ifndef SLUICE_S3API_H
#define SLUICE_S3API_H

#include "archive/arc_batches.h"
#include "archive/arcs.h"
#include "etl/door.h"
#include "http/message.h"
#include "s3api/cred.h"
#include "store/announce.h"
#include "store/bucket_conf.h"
#include "store/buckets.h"
#include "store/store.h"

struct limits;
struct access_logs;
enum { S3_WHY_MAX = 256 };

struct s3api_conf {
    bool auth_none; /* serve everybody as the owner (loopback development) */
    struct str
        region; /* what we call ourselves in x-amz-bucket-region and scope errors; any region is accepted in a scope */
    const struct str *domains; /* virtual-host style: <bucket>.<domain>; ports are ignored */
    size_t domain_count;
    const struct str *website_domains; /* <bucket>.<domain> is a website */
    size_t website_domain_count;
    bool access_log;
    uint32_t log_flush_ms;        /* how old lines of access logs are when they are delivered */
    bool encrypts;                /* what is kept can be encrypted: there are master keys */
    int64_t lifecycle_day_s;      /* how long a day of lifecycle rules is; 0 = 24 hours */
    struct redundancy redundancy; /* of buckets whose makers don't say */
    /* Whether a bucket with this redundancy, other than none, can be made here; otherwise a sentence in `why`. NULL: none can. */
    enum err (*redundancy_fits)(void *arg, struct redundancy r, char why[S3_WHY_MAX]);
    void *redundancy_arg;
};

struct s3api_env {
    struct loop *loop;
    struct store *store;
    struct arcs *arcs; /* over the same store; NULL: nobody looks into archives */
    struct buckets *buckets;
    struct bucket_confs *confs; /* their documents */
    struct creds *creds;
    struct limits *limits;             /* of the process; NULL: none are kept */
    struct arc_batches *batches;       /* of the process; NULL: none are answered */
    struct etl_door *door;             /* objects through ETLs; NULL: none here */
    const struct announcer *announcer; /* NULL: no webhooks */
    struct offload *cpu;               /* for decoding signed chunks */
    const struct s3api_conf *conf;
    struct access_logs *logs; /* made by s3api_new() */
};

struct s3api *s3api_new(const struct s3api_env *env);
struct http_handler *s3api_handler(struct s3api *s);
/* No requests outstanding. */
void s3api_free(struct s3api *s);

#endif
