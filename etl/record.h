/* record.h - records of ETLs in meta: what each is, and how it is at each node.
 *
 * Shape    "etl/<name>": {"format":1,"id","stage","created_ms","began_ms","owner","secret","spec":{...}}, and "etl_at/<name>/<node>": {"format":1,"id",
 *          "state","error","unserved","restarts","address","objects","errors","in_bytes","out_bytes","cpu","memory","object_errors":[[object,message,status]...]}.
 * Owns     what is read lives in the arena.
 * Errors   ERR_CORRUPT: not a record; ERR_NOT_IMPLEMENTED: of a later format.
 * Thread   any. Pure.
 */
#ifndef SLUICE_ETL_RECORD_H
#define SLUICE_ETL_RECORD_H

#include "etl/admin.h"
#include "etl/names.h"

#define ETL_KEY    STR("etl/")
#define ETL_AT_KEY STR("etl_at/")

enum {
    ETL_SECRET_LEN = 32, /* hex digits */
    ETL_STALE_MS = 60000,
};

struct etl_record {
    struct str id, owner, secret;
    enum etl_stage_name stage;
    uint64_t created_ms; /* when it was made */
    uint64_t began_ms;   /* when it was made or last started */
    struct etl_spec spec;
};

MUST_USE enum err etl_record_read(struct arena *a, struct str text, struct etl_record *out);
/* ERR_TOO_LARGE: meta does not take it. */
MUST_USE enum err etl_record_text(struct arena *a, const struct etl_record *r, struct str *out);
MUST_USE enum err etl_state_read(struct arena *a, struct str text, struct etl_node_state *out);
struct str etl_state_text(struct arena *a, const struct etl_node_state *s);

struct str etl_key(struct arena *a, struct str name);
/* node empty: the prefix of all. */
struct str etl_at_key(struct arena *a, struct str name, struct str node);
/* "NAME" and "NODE" of such a key. */
bool etl_at_key_split(struct str key, struct str *name, struct str *node);
struct str etl_stage_text(enum etl_stage_name stage);
/* The stage that counts: who was to take it out of initializing may be gone. */
enum etl_stage_name etl_stage_now(const struct etl_record *r, uint64_t now_ms);
uint64_t etl_now_ms(void);
/* A new making: id and began_ms. */
void etl_record_renew(struct arena *a, struct etl_record *r);

#endif
