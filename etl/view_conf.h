/* view_conf.h - what the settings of a bucket say when it is a view (view.h).
 *
 * Shape    {"source":"photos","etl":["resize", {"name":"@gzip","args":""}, ...],"prefix":"","members":false}
 * Owns     strs live in the arena.
 * Errors   ERR_INVALID_ARGUMENT with a sentence in `why`.
 * Thread   any. Pure.
 */
#ifndef SLUICE_ETL_VIEW_CONF_H
#define SLUICE_ETL_VIEW_CONF_H

#include "base/doc.h"
#include "etl/door.h"

struct view_conf {
    struct str source, prefix;
    const struct etl_stage *stages;
    size_t stage_count;
    bool members; /* each member of an archive for itself (each.h) */
};
MUST_USE enum err view_conf_parse(struct arena *arena, const struct doc *view, struct view_conf *out,
                                  char why[DOC_WHY_MAX]);
/* "view" of the settings in JSON, if there is one: whether it is right. */
MUST_USE enum err view_conf_check(struct arena *arena, struct str settings, char why[DOC_WHY_MAX]);

#endif
