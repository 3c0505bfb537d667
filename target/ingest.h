/* ingest.h - the upload pipeline: reads a body to its end, hashes it and writes it off the loop.
 *
 * Shape    the loop fills a few buffers while lanes on the pools take the full ones, each lane in order: MD5, a second
 *          heavy digest if wanted, and write + block hashes + checksums. A buffer is free when every lane is past it.
 *          Units bytes.
 * Owns     ingest_release() frees inline bytes and discards a staged file that was not detached. The body stays the
 *          caller's.
 * Errors   the body's own; a digest that differs: its want's error; ERR_ENTITY_TOO_LARGE; ERR_INCOMPLETE_BODY when the
 *          body is shorter than its size; those of segment.h; ERR_BUSY. After an error nothing is staged any more.
 * Thread   the loop of the call.
 */
#ifndef SLUICE_TARGET_INGEST_H
#define SLUICE_TARGET_INGEST_H

#include "base/source.h"
#include "store/object.h"
#include "target/segment.h"

struct ingest_pipe;

struct ingest {
    /* the request: filled by the caller before ingest_run(), which must outlive the call */
    struct offload *io, *cpu;
    struct segment_dir *dir; /* where a body over inline_max goes */
    struct source *body;     /* read to its clean end; not closed */
    struct body_check
        *check;          /* NULL: nothing wanted, CRC64NVME computed; `want` is looked at when the body has ended */
    uint32_t inline_max; /* bodies up to this stay in memory; 0 with an empty body: empty inline bytes */
    bool encrypt;        /* what goes to `dir` is encrypted; whoever wants no plaintext on disk has inline_max 0 */
    uint64_t size_max;   /* larger is ERR_ENTITY_TOO_LARGE */
    struct str log_id;   /* request id, or STR_NONE */

    /* the result, valid after ERR_OK until ingest_release() */
    uint64_t size;
    struct digest md5;
    struct digest checksum;       /* by check->checksum */
    struct str inline_bytes;      /* when staged.fd < 0 */
    struct segment_staged staged; /* fd >= 0: the content, to be sealed or discarded by the caller */

    struct ingest_pipe *pipe; /* its own */
    char *inline_mem;         /* its own: holds inline_bytes */
};

/* Sets everything to nothing; then fill in the request. */
void ingest_init(struct ingest *in);
/* Cancellable at any time; done runs when no task is outstanding. */
void ingest_run(struct ingest *in, struct call *call);
/* Not while it runs. May block for a moment when a large staged file was neither sealed nor discarded. Harmless twice.
 */
void ingest_release(struct ingest *in);

#endif
