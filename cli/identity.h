/* identity.h - who a target is, for as long as its disks live: an id kept in the first data directory.
 *
 * Shape    the file is DIR/node-id, mode 0600: NODE_ID_LEN hex digits and a line's end.
 * Errors   a sentence for a person in `why`: unreadable, not what it should be, cannot be written.
 * Thread   BLOCKING: main, before loops run.
 */
#ifndef SLUICE_CLI_IDENTITY_H
#define SLUICE_CLI_IDENTITY_H

#include "cli/private_file.h"

/* Makes one when there is none. `dir` exists. */
MUST_USE enum err identity_get(struct arena *a, struct str dir, struct str *id, char why[PRIVATE_FILE_WHY_MAX]);

#endif
