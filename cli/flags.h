/* flags.h - the flags of a client verb: a table of rows, anywhere among the words.
 *
 * Shape    flags_read() takes out what begins with "--" (or "-x" of a row) and leaves the words; "--" ends the flags; "-" is a word.
 * Owns     nothing: values borrow from argv.
 * Errors   EXIT_USAGE with the reason on standard error.
 * Thread   main.
 */
#ifndef SLUICE_CLI_FLAGS_H
#define SLUICE_CLI_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flag {
    const char *name;   /* "--recursive" */
    const char *letter; /* "-r", or NULL */
    bool *on;           /* a switch */
    const char **text;  /* a value */
    uint64_t *number;   /* a value: bytes may have KiB, MB, ... */
};
/* `rows` ends with a row without name. Returns 0, or EXIT_USAGE. */
int flags_read(const struct flag *rows, int *argc, char **argv);
/* "64MiB", "1.5GB", "100". */
bool flags_size(const char *text, uint64_t *out);

#endif
