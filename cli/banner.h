/* banner.h - what a server tells on standard output when it is ready: where it is and what to paste.
 *
 * Thread   main.
 */
#ifndef SLUICE_CLI_BANNER_H
#define SLUICE_CLI_BANNER_H

#include "cli/credentials.h"
#include "cli/settings.h"

struct banner {
    const struct settings *settings;
    const struct credentials *credentials; /* NULL: nobody is asked */
    const char *plain, *tls;               /* bound addresses, "HOST:PORT", empty = none */
};

/* Also logs the start, with warnings about settings that give something up. The secret is shown when it was made just
 * now, or to a terminal; never one that came from the settings. */
void banner_print(const struct banner *b);

#endif
