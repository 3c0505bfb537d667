/* main.c - the commands. What the roles put together is in role_*.c: these files alone know both the gateway and the target. */
#include <malloc.h>

#include "cli/command.h"
#include "etl/runtime.h"
#include "role.h"

#define CLIENT_HELP                                                                                                    \
    "Client options:\n"                                                                                                \
    "  --endpoint URL, -e\n      The server; else SLUICE_ENDPOINT, AIS_ENDPOINT, AWS_ENDPOINT_URL, "                   \
    "http://127.0.0.1:9000.\n"                                                                                         \
    "  --token T\n      Else AIS_AUTHN_TOKEN, or one made of the access key and its secret: SLUICE_ACCESS_KEY and\n"   \
    "      SLUICE_SECRET_KEY, AWS_*, ~/.aws/credentials.\n"                                                            \
    "  --json, -j; --quiet, -q; --insecure; --ca-file FILE\n"

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
    {"etl",
     "init FILE | create NAME -- COMMAND | list | show | logs | start | stop | rm NAME | view | bucket [CLIENT "
     "OPTIONS]",
     "Transforms of a server: make and look at them, use them for whole buckets.",
     "  init FILE, init -\n      Makes the ETL of a specification, in YAML or JSON, or of a Kubernetes Pod.\n"
     "  create NAME [--comm hpush|hpull|ws|io] [--image I] [--init-timeout T] [--object-timeout T] [--network] -- "
     "COMMAND...\n"
     "      Makes one without a file. --network: it may reach other hosts.\n"
     "  list, show NAME, logs NAME [NODE]\n      All of them; one, and how it is at each node; what it wrote.\n"
     "  stop NAME, start NAME, rm NAME\n      Ends its sidecars; starts them again; forgets it.\n"
     "  view NEW BUCKET[/PREFIX] ETL... [--args TEXT] [--members]\n"
     "      Makes a bucket that shows the objects of another as they are after the ETLs. --members: each member of\n   "
     "   archives for itself.\n"
     "  bucket FROM[/PREFIX] TO ETL... [--args TEXT] [--members] [--ext OLD=NEW] [--prepend P] [--dry-run] "
     "[--continue] [--workers "
     "N]\n"
     "      Transforms all objects of a bucket into another, and waits.\n" CLIENT_HELP,
     false, command_etl},
    {"ls", "[BUCKET[/PREFIX]] [--recursive] [--archive] [--summary] [--bytes] [CLIENT OPTIONS]",
     "List the buckets of a server, or what is in one.",
     "  --recursive, -r\n      All that begins so, not one level.\n"
     "  --archive, -a\n      Members of archives, too.\n"
     "  --summary, -s\n      Count and size at the end.\n" CLIENT_HELP,
     false, command_ls},
    {"get", "BUCKET/KEY [FILE | DIR | -] [--recursive] [--offset N] [--length N] [--archpath M] [CLIENT OPTIONS]",
     "Get objects, parts of them, or members of archives.",
     "  --recursive, -r\n      All objects that begin so, below DIR.\n"
     "  --offset N, --length N\n      A part of the object.\n"
     "  --archpath M\n      A member of the archive.\n"
     "  --archregx R [--archmode regexp|prefix|suffix|substr|wdskey]\n      The members that match, as a TAR.\n"
     "  --workers N\n      Objects under way at a time with --recursive; 8.\n" CLIENT_HELP,
     false, command_get},
    {"cat", "BUCKET/KEY... [CLIENT OPTIONS]", "Write objects to standard output.", CLIENT_HELP, false, command_cat},
    {"put", "FILE | DIR | - BUCKET[/KEY] [--recursive] [--archpath M [--append | --append-or-put]] [CLIENT OPTIONS]",
     "Put files, directories or standard input.",
     "  --recursive, -r\n      All files below DIR.\n"
     "  --archpath M\n      The file becomes the member M of a new archive; --append: of the one that is there;\n"
     "      --append-or-put: of the one that is there, or a new one.\n"
     "  --workers N\n      Files under way at a time with --recursive; 8.\n" CLIENT_HELP,
     false, command_put},
    {"rm", "BUCKET/KEY... [--recursive [--yes]] [--template T] [CLIENT OPTIONS]", "Delete objects.",
     "  --recursive, -r\n      All that begin so; of a whole bucket only with --yes.\n"
     "  --template T\n      Names by template, s-{000..999}.tar.\n" CLIENT_HELP,
     false, command_rm},
    {"cp", "BUCKET/KEY BUCKET[/KEY] [--recursive] [--prepend P] [CLIENT OPTIONS]", "Copy objects within the store.",
     "  --recursive, -r\n      All that begin so, by a job of the server.\n"
     "  --prepend P\n      With --recursive: what the names of copies begin with.\n" CLIENT_HELP,
     false, command_cp},
    {"archive", "create | ls | get | put | rm | shard ... [CLIENT OPTIONS]",
     "Make archives, and work with what is in them.",
     "  create BUCKET BUCKET/ARCHIVE --list A,B | --template T | --prefix P | --all\n"
     "      The server puts objects together into one archive. --append-or-put, --include-src-bck, --base-name,\n"
     "      --cont-on-err, --mime M, --no-wait.\n"
     "  ls BUCKET/ARCHIVE\n      Its members.\n"
     "  get BUCKET/ARCHIVE/MEMBER [FILE | -], put FILE BUCKET/ARCHIVE/MEMBER [--append | --append-or-put],\n"
     "  rm BUCKET/ARCHIVE/MEMBER\n      One member.\n"
     "  shard DIR BUCKET/shard-{000000..999999}.tar [--maxcount N] [--maxsize BYTES] [--shuffle SEED]\n"
     "      Packs a local directory into shards on the way; files that differ in their extensions stay "
     "together.\n" CLIENT_HELP,
     false, command_archive},
    {"token", "[--expires 24h]", "Print a bearer token for the native API.",
     "  --expires T\n      How long it is valid: 30m, 24h, 7d.\n"
     "      Made of SLUICE_ACCESS_KEY and SLUICE_SECRET_KEY, AWS_*, or ~/.aws/credentials.\n",
     false, command_token},
    {"config", "[--print | --markdown] [OPTIONS]", "Print every option, its value and where it came from.",
     "  --print\n      As YAML that could be used as a file; the default.\n"
     "  --markdown\n      All options with their defaults as a documentation page.\n",
     true, command_config},
    {"version", "", "Print the version.", NULL, false, command_version},
    {"etl-shim", NULL, NULL, NULL, false, etl_shim_main},
};

enum { HEAP_STEP = 16 << 20 };

int main(int argc, char **argv)
{
    /* Heaps grow in large steps: each step has every thread that touches a fresh page wait (mmap_lock), loops among
     * them. Untouched memory costs nothing. */
    (void)mallopt(M_TOP_PAD, HEAP_STEP);
    return command_main(commands, sizeof(commands) / sizeof(*commands), argc, argv);
}
