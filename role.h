/* role.h - what every kind of server process does: settings, pools, serving until it is told to stop.
 *
 * Shape    role_main() is the life of a process; a kind says what it opens. The parts that kinds share are role_s3.h (clients) and
 *          role_cluster.h (etcd, members). These files and main.c are the composition root: they alone know gateway and target.
 * Owns     the role owns all it opened; kind->close() releases what the kind opened, also after a failed open.
 * Errors   a sentence for a person in `why`.
 * Thread   main.
 */
#ifndef SLUICE_ROLE_H
#define SLUICE_ROLE_H

#include "base/keyring.h"
#include "cli/settings.h"
#include "gateway/front.h"

enum { ROLE_WHY_MAX = SETTINGS_WHY_MAX, ROLE_TLS_MAX = 2 };

struct role {
    struct settings settings;
    struct arena arena;
    struct offload *io, *cpu;
    struct tls_context *tls[ROLE_TLS_MAX]; /* read again on SIGHUP; clients' and nodes'. NULL = none */
    struct front *front;                   /* the kind opens it, role_main() runs and closes it */
    int signals;
};

struct role_kind {
    enum err (*check)(struct settings *s, char why[SETTINGS_WHY_MAX]);
    enum err (*open)(struct role *r, char why[ROLE_WHY_MAX]); /* BLOCKING; ends with front_open() */
    void (*serving)(const struct role *r);                    /* tells where it is */
    void (*leave)(struct role *r); /* it shall end: before requests are drained. May be NULL */
    void (*close)(struct role *r); /* what open() opened but for the front, which is gone */
};

/* `r` is zeroed. Returns the exit code. */
int role_main(struct role *r, const struct role_kind *kind, int argc, char **argv);
/* Reads the master keys, when there are some, into the arena; NULL otherwise. */
MUST_USE enum err role_read_keys(struct role *r, const struct keyring **out, char why[ROLE_WHY_MAX]);
/* Reads the certificate, when there is one, into r->tls[i]. */
MUST_USE enum err role_open_tls(struct role *r, unsigned i, struct str cert, struct str key, char why[ROLE_WHY_MAX]);

/* The commands. */
int role_gateway(int argc, char **argv);
int role_serve(int argc, char **argv);
int role_target(int argc, char **argv);

#endif
