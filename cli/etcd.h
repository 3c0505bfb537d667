/* etcd.h - the shared state of a cluster as the settings name it.
 *
 * Shape    one function.
 * Owns     the caller closes the meta store.
 * Errors   as meta_etcd_open(): a sentence for a person in `why`.
 * Thread   main. BLOCKING.
 */
#ifndef SLUICE_CLI_ETCD_H
#define SLUICE_CLI_ETCD_H

#include "settings.h"
#include "store/meta.h"

MUST_USE enum err etcd_open(const struct settings *s, struct meta **out, char why[256]);

#endif
