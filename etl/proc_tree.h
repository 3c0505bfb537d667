/* proc_tree.h - a process and all that came of it, by /proc.
 *
 * Shape    one pass over /proc per call; a descendant whose parent ended belongs to whoever took it over: a PID namespace's first process or a
 *          subreaper (prctl(2)), either of which is a descendant, or the root, here.
 * Thread   any. BLOCKING.
 */
#ifndef SLUICE_ETL_PROC_TREE_H
#define SLUICE_ETL_PROC_TREE_H

#include <stdint.h>
#include <sys/types.h>

struct proc_sum {
    uint64_t cpu_ticks; /* of those that live, and of all whom they waited for */
    uint64_t memory;    /* bytes resident */
    uint32_t processes;
};
/* Of root's descendants from the `depth`th generation on (1: its children); the processor time of the ended ones counts from `depth` - 1. */
struct proc_sum proc_tree_sum(pid_t root, uint32_t depth);
/* SIGKILL to each descendant that is there at the moment. */
void proc_tree_kill(pid_t root);

#endif
