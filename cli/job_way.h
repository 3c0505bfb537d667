/* job_way.h - how `sluice job` reaches jobs: through a cluster's etcd, or the socket of one server in its data directory.
 *
 * Shape    the settings tell: with cluster.etcd it is the shared state itself, which works while no gateway does; else --data names the server.
 * Owns     the caller closes it. Texts live in the arena.
 * Errors   those of store/jobs.h; ERR_UNAVAILABLE: etcd or the server does not answer. job_way_open(): a sentence in `why`.
 * Thread   main. BLOCKING.
 */
#ifndef SLUICE_CLI_JOB_WAY_H
#define SLUICE_CLI_JOB_WAY_H

#include "settings.h"
#include "store/jobs.h"

struct job_way {
    const struct settings *settings;
    struct meta *meta; /* NULL: the socket */
    struct loop *loop;
};
MUST_USE enum err job_way_open(struct job_way *w, const struct settings *s, char why[256]);
void job_way_close(struct job_way *w);

/* All, when `id` is empty. */
MUST_USE enum err job_way_look(struct job_way *w, struct arena *a, struct str id, struct str *json);
/* `spec` may be empty. On ERR_INVALID_ARGUMENT `why` says what is wrong. */
MUST_USE enum err job_way_start(struct job_way *w, struct arena *a, struct str kind, struct str spec, struct str *id,
                                char why[256]);
MUST_USE enum err job_way_stop(struct job_way *w, struct arena *a, struct str id);

#endif
