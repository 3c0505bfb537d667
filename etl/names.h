/* names.h - which ETLs there are, for those who do not run them: a cache over meta that answers without waiting.
 *
 * Shape    follows the records "etl/<name>" (etls.h).
 * Owns     itself; freed when `meta` tells no more.
 * Errors   etl_names_open(): ERR_UNAVAILABLE.
 * Thread   open: before loops run; find: any.
 */
#ifndef SLUICE_ETL_NAMES_H
#define SLUICE_ETL_NAMES_H

#include "etl/spec.h"
#include "store/meta.h"

enum { ETL_ID_MAX = 64 };

struct etl_names;
MUST_USE enum err etl_names_open(struct meta *meta, struct etl_names **out);
void etl_names_free(struct etl_names *n);
/* The id of the ETL of that name, which is another one each time it is made (0-terminated; built-ins: "1"). False: there is none. */
bool etl_names_find(struct etl_names *n, struct str name, char id[ETL_ID_MAX]);

#endif
