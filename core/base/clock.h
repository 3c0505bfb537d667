/* clock.h - wall-clock time in the texts that HTTP and S3 use.
 *
 * Units    Unix nanoseconds (int64_t) unless a name says seconds.
 * Errors   parsers return false.
 * Thread   any.
 * Source   RFC 9110 section 5.6.7 (IMF-fixdate); ISO 8601 as S3 writes it.
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include "str.h"

#define NS_PER_S INT64_C(1000000000)

int64_t clock_wall_ns(void);
uint64_t clock_mono_ns(void);
/* Goes on while the machine sleeps (CLOCK_BOOTTIME). */
uint64_t clock_boot_ns(void);
enum { CLOCK_HTTP_LEN = 29, CLOCK_ISO_LEN = 24, CLOCK_BASIC_LEN = 16 };
/* "Sun, 06 Nov 1994 08:49:37 GMT", 29 bytes, not terminated. */
void clock_http(int64_t ns, char out[CLOCK_HTTP_LEN]);
/* "1994-11-06T08:49:37.000Z", 24 bytes; milliseconds always 000 so that it equals Last-Modified. */
void clock_iso(int64_t ns, char out[CLOCK_ISO_LEN]);
/* "19941106T084937Z", 16 bytes. */
void clock_basic(int64_t ns, char out[CLOCK_BASIC_LEN]);
/* IMF-fixdate, RFC 850 and asctime forms; seconds. */
bool clock_http_parse(struct str s, int64_t *out_s);
/* "2006-01-02T15:04:05Z" with or without a fraction or numeric zone; seconds. */
bool clock_iso_parse(struct str s, int64_t *out_s);
/* "20060102T150405Z"; seconds. */
bool clock_basic_parse(struct str s, int64_t *out_s);

#endif
