#include "target/job_own.h"

/* clang-format off */
const struct job_kind *const job_kinds[] = {
    &job_archive,
    &job_cleanup,
    &job_copy,
    &job_copy_list,
    &job_delete,
    &job_download,
    &job_etl,
    &job_etl_list,
    &job_evict,
    &job_inventory,
    &job_lifecycle,
    &job_lru,
    &job_prefetch,
    &job_promote,
    &job_dsort,
    &job_rebalance,
    &job_scrub,
    &job_shard,
    NULL,
};
/* clang-format on */

const struct job_kind *job_kind_find(struct str name)
{
    for (const struct job_kind *const *k = job_kinds; *k; k++)
        if (str_eq(str_z((*k)->name), name))
            return *k;
    return NULL;
}
