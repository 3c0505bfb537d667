#include "store_contract.h"

#include "contract_parts.h"

int store_contract_run(struct contract_env *env)
{
    int failed = 0;

    hash_setup();
    failed += contract_objects(env);
    failed += contract_writes(env);
    failed += contract_lists(env);
    if (!(env->skip & CONTRACT_NO_COPY))
        failed += contract_copies(env);
    failed += contract_splices(env);
    if (!(env->skip & CONTRACT_NO_UPLOADS)) {
        failed += contract_uploads(env);
        failed += contract_completes(env);
    }
    if (!(env->skip & CONTRACT_NO_IMPORT)) {
        failed += contract_imports(env);
        failed += contract_layouts(env);
    }
    if (!(env->skip & CONTRACT_NO_GATE))
        failed += contract_gates(env);
    failed += contract_buckets(env);
    return failed;
}
