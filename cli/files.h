/* files.h - the regular files below a directory, by name.
 *
 * Shape    names relative to the directory, bytewise sorted; symbolic links are followed for files, not for directories.
 * Owns     the list its texts.
 * Errors   an exit code, the reason on standard error.
 * Thread   any.
 */
#ifndef SLUICE_CLI_FILES_H
#define SLUICE_CLI_FILES_H

#include <stddef.h>
#include <stdint.h>

struct file_entry {
    char *name; /* relative */
    uint64_t size;
    int64_t mtime_s;
};
struct files {
    struct file_entry *all;
    size_t count, cap;
    uint64_t bytes;
};
int files_read(struct files *f, const char *dir);
void files_release(struct files *f);

#endif
