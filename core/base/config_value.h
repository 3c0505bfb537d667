/* config_value.h - one option's value: from text into its field and back.
 *
 * Shape    used by config.c only; split from it because it is pure.
 * Owns     parsed texts live in the arena.
 * Errors   false, and what would have been right in `expected` ("a size such as 4096, 64KiB or 1GiB").
 * Thread   any.
 */
#ifndef SLUICE_BASE_CONFIG_VALUE_H
#define SLUICE_BASE_CONFIG_VALUE_H

#include "arena.h"
#include "config.h"

enum { CONFIG_EXPECTED_MAX = 256 };

/* Every type but CONFIG_LIST. */
bool config_value_parse(const struct config_option *o, struct str text, struct arena *a, void *field,
                        char expected[CONFIG_EXPECTED_MAX]);
/* true, false, yes, no, on, off, 1, 0 */
bool config_value_is_bool(struct str text);
/* As YAML, secrets masked. */
void config_value_print(const struct config_option *o, const void *field, struct buf *out);
/* What stands behind the flag in help: "SIZE", "sync|async". */
const char *config_value_hint(const struct config_option *o);
/* Quoted and escaped, at most 100 bytes of it, for error texts; from the arena. */
const char *config_value_quote(struct str text, struct arena *a);

#endif
