/* kube_box.h - an API server of Kubernetes for tests: TLS, one token, one Pod at a time, and whatever nonsense it is told to say.
 *
 * Shape    kube_box_start() before, kube_box_stop() after each test; what it does in between is set by the functions below.
 * Thread   its own; the functions: any.
 * Source   kube-apiserver 1.36.3, recorded.
 */
#ifndef SLUICE_TESTS_ETL_KUBE_BOX_H
#define SLUICE_TESTS_ETL_KUBE_BOX_H

#include "etl/kube_own.h"

extern struct etl_kube_conf kube_conf; /* for etl_kube_open() */
extern char kube_top[64];              /* a directory of the test's own */

void kube_box_start(void);
void kube_box_stop(void);

/* What is asked, in the order of the table of what a good one says. */
enum kube_ask_kind { ASK_WATCH, ASK_LIST, ASK_MAKE, ASK_DELETE, ASK_LOG, ASK_METRICS, ASK_GET, ASK_KINDS };
/* From now on such questions are answered with these bytes, as they are; STR_NONE: as a good one does. "\xff": a body without end, "\xfe": a head
 * without end, "\xfd": nothing, ever. */
void kube_box_mad(enum kube_ask_kind kind, struct str say);
/* The status of the Pod, JSON, from now on; all who watch are told. */
void kube_box_status(const char *status);
/* As somebody else would. */
void kube_box_remove(void);
/* How often that has been asked. */
unsigned kube_box_asked(enum kube_ask_kind kind);
/* The Pod as it was ordered last, or "". NUL-terminated; valid until the next is. */
struct str kube_box_order(void);
void kube_box_token(const char *token);

#endif
