/* native_steps.h - steps and helpers that the files of bucket calls share: native_buckets.c, native_list.c, native_summary.c.
 *
 * Thread   the loop's.
 */
#ifndef SLUICE_GATEWAY_NATIVE_STEPS_H
#define SLUICE_GATEWAY_NATIVE_STEPS_H

#include "gateway/native_request.h"

/* Goes on from native_list and native_head_bucket. */
step_fn native_list_buckets, native_list_objects, native_info;

/* Goes on from native_get_cluster: what=smap, cluster_config, ...; others answer 501. */
step_fn native_cluster;

/* A new id of a job or query, behind `before`: letters, digits, '-' and '_'. */
struct str native_new_id(struct arena *a, const char *before);
/* ERR_INVALID_ARGUMENT, told: the path goes on behind the bucket. */
MUST_USE enum err native_only_bucket(struct native_request *r);
/* Ais-Bucket-Props and what else tells what a bucket is. */
void native_bucket_headers(struct native_request *r, const struct native_bucket *b);

#endif
