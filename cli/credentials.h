/* credentials.h - the access key of a server: from the settings, else from the data directory, else made.
 *
 * Shape    the file is DIR/credentials, mode 0600: two lines of YAML, access_key and secret_key.
 * Errors   a sentence for a person in `why`: unreadable, not what it should be, cannot be written.
 * Thread   BLOCKING: main, before loops run.
 */
#ifndef SLUICE_CLI_CREDENTIALS_H
#define SLUICE_CLI_CREDENTIALS_H

#include "base/arena.h"
#include "base/err.h"

enum { CREDENTIALS_WHY_MAX = 512 }; /* as private_file.h */
enum credentials_from { CREDENTIALS_SETTINGS, CREDENTIALS_FILE, CREDENTIALS_MADE };

struct credentials {
    enum credentials_from from;
    struct str access_key, secret_key;
    struct str file; /* where they are kept; empty when they came from the settings */
};

/* `access_key` and `secret_key` as in the settings, may be empty. `dir` exists. Results live in the arena. */
MUST_USE enum err credentials_get(struct arena *a, struct str access_key, struct str secret_key, struct str dir,
                                  struct credentials *out, char why[CREDENTIALS_WHY_MAX]);

#endif
