/* native_entries.h - the answer to list-objects as MessagePack or JSON, written row by row.
 *
 * Shape    begin, rows, end into one bounded buffer; nothing is kept of a row.
 * Owns     nothing: the buffer is the caller's.
 * Errors   buf_err() at the end.
 * Thread   any.
 * Source   AIStore's LsoRes and LsoEnt as its Python SDK decodes them: keys of entries are left out when empty or 0, but for the name.
 */
#ifndef SLUICE_GATEWAY_NATIVE_ENTRIES_H
#define SLUICE_GATEWAY_NATIVE_ENTRIES_H

#include "base/buf.h"

struct native_entry {
    struct str name;
    struct str checksum, atime, version, location, custom; /* empty: left out */
    uint64_t size, copies, flags;                          /* 0: left out */
};

struct native_entries {
    struct buf *out;
    bool msgpack;
    size_t count_at; /* of MessagePack: where the array's length is put in the end */
    uint32_t count;
};

void native_entries_begin(struct native_entries *w, struct buf *out, bool msgpack);
void native_entries_add(struct native_entries *w, const struct native_entry *e);
void native_entries_end(struct native_entries *w, struct str uuid, struct str token, uint32_t flags);

enum { NATIVE_ATIME_LEN = 19 };
/* "02 Jan 06 15:04 UTC" (RFC 822), not terminated. */
void native_atime(int64_t ns, char out[NATIVE_ATIME_LEN]);

#endif
