/* spec_own.h - internal to spec*.c: documents walked by tables of the fields that they may have.
 *
 * Shape    spec.c knows the runtime form and what all forms share, spec_pod.c the Pod, spec_kube.c what of a Pod only Kubernetes does, spec_value.c
 *          what single values mean.
 * Owns     everything lives in the reader's arena.
 * Errors   as spec.h; `why` is set where they are born.
 * Thread   any.
 */
#ifndef SLUICE_ETL_SPEC_OWN_H
#define SLUICE_ETL_SPEC_OWN_H

#include "base/doc.h"
#include "etl/spec.h"

enum { SPEC_INIT_CONTAINERS_MAX = 16, SPEC_VOLUMES_MAX = 64 };
#define SPEC_OWN_PREFIX "sluice-" /* of names of volumes that are ours */

struct spec_reader {
    struct arena *arena;
    char *why;
    struct etl_spec spec;          /* as far as it is known */
    struct etl_env *env;           /* of `spec`, room for ETL_ENV_MAX */
    const struct doc *message_env; /* what the message adds to the container's, taken last: it wins */
    bool in_pod;
    bool ports, probe; /* the Pod had them */
};

/* What is done with the value of a field; `path` is its name for messages, "runtime.env[0].name". */
typedef enum err spec_take_fn(struct spec_reader *r, struct str path, const struct doc *value);
struct spec_field {
    const char *name; /* NULL: behind the last */
    spec_take_fn *take;
};
/* Known, but not served. */
spec_take_fn spec_take_unserved;
/* Says nothing that matters here. */
spec_take_fn spec_take_any;
/* Of a Pod, where it is run as one; of other forms as spec_take_unserved. */
spec_take_fn spec_take_kube;
/* Notes that Kubernetes is needed; the sentence is the one for everywhere else. */
void spec_need_kube(struct spec_reader *r, struct str path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* "PATH: sentence". */
enum err spec_refuse(struct spec_reader *r, struct str path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum err spec_unserved(struct spec_reader *r, struct str path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Every field of a map to its function; others are refused by name. Null is the same as not there. */
MUST_USE enum err spec_take_map(struct spec_reader *r, struct str path, const struct doc *map,
                                const struct spec_field *fields);
/* Every entry of a list to `take`. */
MUST_USE enum err spec_take_list(struct spec_reader *r, struct str path, const struct doc *list, size_t max,
                                 spec_take_fn *take);
/* As doc_get(), but null is the same as not there. */
const struct doc *spec_get(const struct doc *map, const char *key);
/* JSON, or YAML. `why` is printable. */
MUST_USE enum err spec_read_tree(struct arena *a, struct str text, struct doc **out, char why[DOC_WHY_MAX]);
/* Text for a message: short, and of printable ASCII. */
struct str spec_shown(struct arena *a, struct str text);

/* ---- spec_value.c ---- */

MUST_USE enum err spec_text(struct spec_reader *r, struct str path, const struct doc *d, struct str *out);
MUST_USE enum err spec_bool(struct spec_reader *r, struct str path, const struct doc *d, bool *out);
/* "1h30m", or nanoseconds; an empty text leaves *ms as it is. */
MUST_USE enum err spec_duration(struct spec_reader *r, struct str path, const struct doc *d, uint32_t *ms);
MUST_USE enum err spec_port(struct spec_reader *r, struct str path, const struct doc *d, uint16_t *out);
spec_take_fn spec_take_name, spec_take_communication, spec_take_init_timeout, spec_take_obj_timeout,
    spec_take_direct_put, spec_take_image, spec_take_command, spec_take_env, spec_take_resources, spec_take_health;
/* Kubernetes puts a variable's value in place of $(NAME); other runtimes don't. */
void spec_check_references(struct spec_reader *r);

/* ---- spec_kube.c: what of a Pod only Kubernetes does, as far as it is harmless to the node and the cluster ---- */

spec_take_fn spec_take_volumes, spec_take_init_containers, spec_take_pod_security, spec_take_container_security,
    spec_take_other_probe;

/* ---- spec_pod.c ---- */

/* A Pod, as a tree and as the text that it was. */
MUST_USE enum err spec_take_pod(struct spec_reader *r, struct str path, const struct doc *pod, struct str text);

#endif
