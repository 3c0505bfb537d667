/* native_shared.h - what the native API's loops of one process share: tables with locks of their own.
 *
 * Shape    one struct of tables; each table has its own header and is made and freed here.
 * Owns     its tables.
 * Thread   any.
 */
#ifndef SLUICE_GATEWAY_NATIVE_SHARED_H
#define SLUICE_GATEWAY_NATIVE_SHARED_H

struct native_shared {
    struct native_counts *counts; /* summaries under way and their results: native_counts.h */
};

struct native_shared *native_shared_new(void);
/* After the loops. */
void native_shared_free(struct native_shared *s);

#endif
