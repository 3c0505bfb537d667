/* command.h - the commands of the program: one row each.
 *
 * Shape    command_main() picks the row by argv[1]; --help and `sluice help NAME` print its texts.
 * Errors   exit codes: 0 done, EXIT_FAILURE failed, EXIT_USAGE asked wrongly (the reason is on standard error).
 * Thread   main.
 */
#ifndef SLUICE_CLI_COMMAND_H
#define SLUICE_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum { EXIT_USAGE = 2 };

struct command {
    const char *name;
    const char *args;                  /* "[--rebuild] --data DIR..." */
    const char *summary;               /* one sentence; NULL: not for people, and not in any help */
    const char *switches;              /* help lines of its own switches, or NULL */
    bool options;                      /* takes the options of settings.h */
    int (*run)(int argc, char **argv); /* what stands behind the command's name; returns the exit code */
};

int command_main(const struct command *commands, size_t n, int argc, char **argv);
/* "sluice: TEXT" on standard error; returns EXIT_USAGE. */
int command_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same; returns EXIT_FAILURE. */
int command_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Drops every argv[i] that equals `name`; true when there was one. */
bool command_switch(int *argc, char **argv, const char *name);

/* Commands that live here: see the table in main.c. */
int command_archive(int argc, char **argv);
int command_bucket(int argc, char **argv);
int command_cat(int argc, char **argv);
int command_cluster(int argc, char **argv);
int command_config(int argc, char **argv);
int command_cp(int argc, char **argv);
int command_disk(int argc, char **argv);
int command_etl(int argc, char **argv);
int command_fsck(int argc, char **argv);
int command_get(int argc, char **argv);
int command_job(int argc, char **argv);
int command_ls(int argc, char **argv);
int command_put(int argc, char **argv);
int command_rm(int argc, char **argv);
int command_token(int argc, char **argv);
int command_version(int argc, char **argv);

#endif
