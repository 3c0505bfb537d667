/* main.c - the commands. What the roles put together is in role_*.c: these files alone know both the gateway and the target. */
#include <malloc.h>

#include "cli/command.h"
#include "role.h"

static const struct command commands[] = {
    {"serve", "--data DIR [--data DIR2...] [OPTIONS]", "Run an object store on this machine.", NULL, true, role_serve},
    {"gateway", "--cluster-etcd URL... [OPTIONS]", "Serve S3 over the targets of a cluster.", NULL, true, role_gateway},
    {"target", "--data DIR... --cluster-etcd URL... [OPTIONS]", "Keep objects as a part of a cluster.", NULL, true,
     role_target},
    {"disk", "list | attach DIR | detach DIR [--lost] | disable DIR | enable DIR --data FIRST-DATA-DIR",
     "Show or change the data directories of a running server.",
     "  list\n      Each directory and its state, and how far the moving of objects has come.\n"
     "  attach DIR\n      Uses a new or empty directory as well, and moves objects there.\n"
     "  detach DIR\n      Moves the directory's objects to the others, then lets go of it.\n"
     "  --lost\n      Gives up a disabled directory and what only it holds, for good.\n"
     "  disable DIR\n      Stops using it at once: its objects can't be read until it is enabled.\n"
     "  enable DIR\n      Uses a disabled directory again.\n",
     true, command_disk},
    {"fsck", "[--rebuild] [--quick] --data DIR [--data DIR2...]", "Check the data directories of a stopped server.",
     "  --rebuild\n      Salvage the index, then add what content files say and the index lacks.\n"
     "  --quick\n      Do not read and hash the content.\n",
     false, command_fsck},
    {"cluster", "status [--json] | maintenance ID | activate ID | decommission ID | remove ID --yes [OPTIONS]",
     "Show the targets of a cluster, or change what they are.",
     "  status\n      Epoch, whether objects are moving, and each target. Exit code 3 when objects are out of reach: "
     "a\n"
     "      target is not alive or in maintenance, or there is none.\n"
     "  --json\n      The same for programs.\n"
     "  maintenance ID\n      The target keeps its objects but is not asked for them, until it is activated.\n"
     "  activate ID\n      Ends maintenance; keeps a target that was being decommissioned.\n"
     "  decommission ID\n      Moves the target's objects to the others, then it leaves the cluster.\n"
     "  remove ID --yes\n      Gives up a dead target and what only it held, for good.\n",
     true, command_cluster},
    {"bucket", "list [--json] | show NAME [--json] | create NAME [--redundancy R] | set NAME members=on|off [OPTIONS]",
     "Show the buckets of a cluster, make or change one.",
     "  list, show NAME\n      Name, redundancy, time of creation, region and owner of each bucket, or of one.\n"
     "  --json\n      The same for programs.\n"
     "  create NAME\n      Makes a bucket with the redundancy of `--redundancy`, which belongs to `--access-key`.\n"
     "  set NAME members=on|off\n      Whether what is in archives is shown as keys, `shard.tar/name`. With `--data` "
     "instead of "
     "`--cluster-etcd`: of a server that doesn't run.\n",
     true, command_bucket},
    {"job", "list | show ID | start KIND [SPEC] | stop ID | wait ID [--json] [OPTIONS]",
     "Show, start and stop background jobs: of a cluster (--cluster-etcd) or of one running server (--data).",
     "  list, show ID\n      All jobs, or one with each target's part.\n"
     "  start KIND [SPEC]\n      Starts one and prints its id. SPEC is a JSON object.\n"
     "  stop ID\n      Ends it before its time. What the cluster began by itself (rebalance) can't be stopped.\n"
     "  wait ID\n      Until it has ended. Exit code 3 when it was stopped or something has failed.\n"
     "  --json\n      The same for programs.\n",
     true, command_job},
    {"config", "[--print | --markdown] [OPTIONS]", "Print every option, its value and where it came from.",
     "  --print\n      As YAML that could be used as a file; the default.\n"
     "  --markdown\n      All options with their defaults as a documentation page.\n",
     true, command_config},
    {"version", "", "Print the version.", NULL, false, command_version},
};

enum { HEAP_STEP = 16 << 20 };

int main(int argc, char **argv)
{
    /* Heaps grow in large steps: each step has every thread that touches a fresh page wait (mmap_lock), loops among
     * them. Untouched memory costs nothing. */
    (void)mallopt(M_TOP_PAD, HEAP_STEP);
    return command_main(commands, sizeof(commands) / sizeof(*commands), argc, argv);
}
