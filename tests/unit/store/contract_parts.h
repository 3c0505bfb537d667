/* contract_parts.h - the groups of tests that make up the contract; each opens and closes the store and returns its
 * failures. */
#ifndef SLUICE_TESTS_STORE_CONTRACT_PARTS_H
#define SLUICE_TESTS_STORE_CONTRACT_PARTS_H

#include "kit.h"

int contract_objects(struct contract_env *env);
int contract_writes(struct contract_env *env); /* conditions, digests, failing and cancelled bodies */
int contract_imports(struct contract_env *env);
int contract_gates(struct contract_env *env);   /* what waits before it is committed */
int contract_layouts(struct contract_env *env); /* content that is elsewhere, forced imports, times */
int contract_lists(struct contract_env *env);
int contract_copies(struct contract_env *env);
int contract_splices(struct contract_env *env);
int contract_uploads(struct contract_env *env);
int contract_completes(struct contract_env *env);
int contract_buckets(struct contract_env *env); /* purge, reopen */

#endif
