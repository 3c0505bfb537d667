/* segment_footer.h - what segment.c and segment_footer.c share: the block behind a segment's content, its checks, its
 * log lines.
 *
 * Shape    footer = xxh3 of each block (8 bytes), description, tail of 64 bytes; all integers big-endian.
 * Errors   as in segment.h.
 */
#ifndef SLUICE_TARGET_SEGMENT_FOOTER_H
#define SLUICE_TARGET_SEGMENT_FOOTER_H

#include "target/segment.h"

/* Writes the footer behind the content. False: errno. */
MUST_USE bool segment_footer_write(struct segment_staged *s, struct str desc);
/* All n bytes. False: errno. */
MUST_USE bool segment_pwrite(int fd, const char *p, size_t n, uint64_t at);
uint64_t segment_hash64(const struct digest *xxh3);
/* Logs errno's failure about one segment and returns what stands for it. `event` is static. */
enum err segment_failed(const struct segment_dir *d, const struct segment_id *id, const char *event);
/* Counts errors of the disk itself. */
void segment_dir_failed(const struct segment_dir *d, int errnum);
/* Logs the damage; ERR_CORRUPT. */
enum err segment_corrupt(const struct segment_dir *d, const struct segment_id *id, const char *what);

#endif
