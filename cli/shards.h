/* shards.h - `sluice archive shard`: a local directory packed into TAR shards on their way to the store.
 *
 * Shape    files with the same path up to the first dot of their name are one sample, which is never split; samples in order, or shuffled by a
 *          seed, fill shard after shard.
 * Errors   exit codes.
 * Thread   main; shards are sent by a crew.
 */
#ifndef SLUICE_CLI_SHARDS_H
#define SLUICE_CLI_SHARDS_H

int command_archive_shard(int argc, char **argv);

#endif
