/* spec.h - what an ETL is: a named transform, run as one sidecar per node, and how the node speaks with it.
 *
 * Shape    etl_spec_parse() takes what clients send, in JSON or YAML: a runtime spec, or a Kubernetes Pod (docs/etl.md). etl_spec_write() is the
 *          form that is kept and shown. Fields that Sluice does not know are refused by name, not passed over.
 * Units    milliseconds; bytes; thousandths of a core.
 * Owns     strs live in the arena.
 * Errors   ERR_INVALID_ARGUMENT with a sentence in `why` that names the field; ERR_NOT_IMPLEMENTED: known, but not served.
 * Thread   any. Pure.
 * Source   AIStore's ETL runtime specification and Pod annotations.
 */
#ifndef SLUICE_ETL_SPEC_H
#define SLUICE_ETL_SPEC_H

#include "base/arena.h"
#include "base/buf.h"

enum {
    ETL_NAME_MIN = 6,
    ETL_NAME_MAX = 32,
    ETL_SPEC_MAX = 512 << 10, /* bytes of a spec as sent */
    ETL_ENV_MAX = 256,
    ETL_COMMAND_MAX = 256, /* words */
    ETL_WHY_MAX = 512,
    ETL_INIT_TIMEOUT_MS = 45000,
    ETL_OBJECT_TIMEOUT_MS = 10000,
    ETL_TIMEOUT_MAX_MS = 3600000,
    ETL_PORT = 8000,
};

/* How objects are handed over: comm.h. */
enum etl_comm { ETL_HPUSH, ETL_HPULL, ETL_HREV, ETL_IO, ETL_WS };

struct etl_env {
    struct str name, value;
};

struct etl_resources { /* 0: not said */
    uint32_t cpu_request, cpu_limit;
    uint64_t memory_request, memory_limit;
};

struct etl_spec {
    struct str name;
    enum etl_comm comm;
    uint32_t init_timeout_ms;   /* until the sidecar is ready */
    uint32_t object_timeout_ms; /* of one transform, from its begin to its last byte */
    bool direct_put;            /* the sidecar can store its results itself */
    struct str image;           /* empty: none, the command is the node's own (runtime.h) */
    const struct str *command;  /* empty: the image's */
    size_t command_count;
    const struct etl_env *env;
    size_t env_count;
    struct etl_resources resources;
    uint16_t port;     /* on which the sidecar listens */
    struct str health; /* path, "/health"; the sidecar is ready when it answers 200 */
    bool network;      /* it may reach other hosts: else nothing but its node. `runtime.network: host` */
    bool worker;       /* io: one process for many objects, a frame each; else one per object. `runtime.worker: true` */
    struct str pod;    /* the Pod it came from, in YAML; empty: none */
    /* Why it can only run where sidecars are Pods, as a sentence: "spec.volumes: is not supported"; empty: it can run anywhere. */
    struct str kubernetes;
};

/* [a-z0-9]([-a-z0-9]*[a-z0-9]), 6 to 32 characters. */
bool etl_name_is_valid(struct str name);
MUST_USE enum err etl_spec_parse(struct str text, struct arena *arena, struct etl_spec *out, char why[ETL_WHY_MAX]);
/* The runtime form in JSON; parsing it again gives the same. */
void etl_spec_write(struct buf *b, const struct etl_spec *spec);
/* "hpush://" and so on. Static. */
struct str etl_comm_name(enum etl_comm comm);

/* "100m" = 100, "2" = 2000; "64Mi", "1G", "1048576". ERR_INVALID_ARGUMENT. */
MUST_USE enum err etl_cpu_parse(struct str text, uint32_t *thousandths);
MUST_USE enum err etl_memory_parse(struct str text, uint64_t *bytes);

#endif
