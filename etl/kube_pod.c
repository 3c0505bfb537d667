/* The Pod of a sidecar. What the specification says as a runtime spec goes before what its Pod says; what only the Pod has is handed on as it is. */
#include <stdio.h>

#include "base/json.h"
#include "etl/spec_own.h"
#include "kube_own.h"

#define TMP_VOLUME SPEC_OWN_PREFIX "tmp"

const char kube_label[] = "sluice.node";

static const struct doc *only_container(const struct kube_instance *i)
{
    const struct doc *list = i->pod ? rest_at(i->pod, "spec.containers") : NULL;

    return list && list->kind == DOC_LIST ? list->first : NULL;
}

static void put_doc(struct buf *b, const struct doc *map, const char *key)
{
    const struct doc *d = map ? spec_get(map, key) : NULL;

    if (!d)
        return;
    js_key(b, str_z(key));
    js_doc(b, d);
}

/* ---- metadata ---- */

static bool is_own_label(struct str key)
{
    return str_starts(key, STR("sluice.")) || str_starts(key, STR("nvidia.com/ais-etl-")) || str_eq(key, STR("app")) ||
           str_eq(key, STR("app.kubernetes.io/name")) || str_eq(key, STR("app.kubernetes.io/component"));
}

static void put_label(struct buf *b, const char *key, struct str text)
{
    char value[KUBE_NAME_MAX + 1];

    kube_label_value(text, value);
    js_put_str(b, key, str_z(value));
}

static void put_labels(const struct kube_instance *i, struct buf *b)
{
    const struct doc *theirs = i->pod ? rest_at(i->pod, "metadata.labels") : NULL;

    js_key(b, STR("labels"));
    js_object(b);
    for (const struct doc *d = theirs && theirs->kind == DOC_MAP ? theirs->first : NULL; d; d = d->next) {
        if (is_own_label(d->key))
            continue;
        js_key(b, d->key);
        js_doc(b, d);
    }
    put_label(b, "app", STR("ais")); /* as AIStore's, for those who select them */
    put_label(b, "app.kubernetes.io/name", STR("etl"));
    put_label(b, "app.kubernetes.io/component", STR("server"));
    put_label(b, "nvidia.com/ais-etl-name", i->spec.name);
    put_label(b, "nvidia.com/ais-etl-node", i->runtime->node);
    put_label(b, "nvidia.com/ais-etl-target", i->runtime->target);
    put_label(b, kube_label, str_z(i->runtime->mark));
    put_label(b, "sluice.etl", i->id);
    put_label(b, "sluice.network", i->spec.network ? STR("host") : STR("none"));
    js_end_object(b);
}

/* When our own Pod goes for good, Kubernetes removes them. */
static void put_owner(const struct kube_runtime *r, struct buf *b)
{
    if (!r->uid.n)
        return;
    js_key(b, STR("ownerReferences"));
    js_array(b);
    js_object(b);
    js_put_str(b, "apiVersion", STR("v1"));
    js_put_str(b, "kind", STR("Pod"));
    js_put_str(b, "name", r->pod);
    js_put_str(b, "uid", r->uid);
    js_end_object(b);
    js_end_array(b);
}

/* ---- environment ---- */

static bool has(const struct etl_env *list, size_t n, struct str name)
{
    for (size_t k = 0; k < n; k++)
        if (str_eq(list[k].name, name))
            return true;
    return false;
}

static const struct doc *pod_env(const struct doc *container)
{
    const struct doc *list = container ? spec_get(container, "env") : NULL;

    return list && list->kind == DOC_LIST ? list->first : NULL;
}

static const struct doc *find_env(const struct doc *container, struct str name)
{
    for (const struct doc *d = pod_env(container); d; d = d->next)
        if (str_eq(rest_text(d, "name"), name))
            return d;
    return NULL;
}

static void put_env(struct buf *b, struct str name, struct str value)
{
    js_object(b);
    js_put_str(b, "name", name);
    js_put_str(b, "value", value);
    js_end_object(b);
}

/* Ours first, which theirs may refer to; of one name what the specification says. */
static void put_own_env(const struct kube_instance *i, const struct doc *main, bool as_user, struct buf *b)
{
    char port[8];
    int n = snprintf(port, sizeof(port), "%u", i->spec.port);
    struct str direct = i->spec.direct_put ? STR("true") : STR("false"), port_text = str_n(port, (size_t)n);
    const struct etl_env own[] = {{STR("AIS_TARGET_URL"), i->url}, {STR("direct_put"), direct},
                                  {STR("DIRECT_PUT"), direct},     {STR("PORT"), port_text},
                                  {STR("ETL_PORT"), port_text},    {STR("HOME"), STR("/tmp")}};
    size_t count = as_user ? 6 : 5; /* whose user is the image's has the home that the image says */

    for (size_t k = 0; k < count; k++)
        if (!has(i->spec.env, i->spec.env_count, own[k].name) && !has(i->more, i->more_count, own[k].name) &&
            !find_env(main, own[k].name))
            put_env(b, own[k].name, own[k].value);
    for (size_t k = 0; k < i->more_count; k++)
        if (!has(i->spec.env, i->spec.env_count, i->more[k].name) && !find_env(main, i->more[k].name))
            put_env(b, i->more[k].name, i->more[k].value);
}

static void put_main_env(const struct kube_instance *i, const struct doc *main, bool as_user, struct buf *b)
{
    js_key(b, STR("env"));
    js_array(b);
    put_own_env(i, main, as_user, b);
    for (const struct doc *d = pod_env(main); d; d = d->next)
        if (spec_get(d, "valueFrom") && !has(i->spec.env, i->spec.env_count, rest_text(d, "name")))
            js_doc(b, d);
    for (size_t k = 0; k < i->spec.env_count; k++)
        put_env(b, i->spec.env[k].name, i->spec.env[k].value);
    js_end_array(b);
}

/* Its own, and what the message that brought the Pod has added to the sidecar's. */
static void put_init_env(const struct kube_instance *i, const struct doc *init, struct buf *b)
{
    const struct doc *main = only_container(i);

    js_key(b, STR("env"));
    js_array(b);
    for (const struct doc *d = pod_env(init); d; d = d->next)
        js_doc(b, d);
    for (size_t k = 0; k < i->spec.env_count; k++) {
        const struct doc *theirs = find_env(main, i->spec.env[k].name);
        if (!theirs || spec_get(theirs, "valueFrom") || !str_eq(rest_text(theirs, "value"), i->spec.env[k].value))
            put_env(b, i->spec.env[k].name, i->spec.env[k].value);
    }
    js_end_array(b);
}

/* ---- resources ---- */

static void put_amounts(struct buf *b, const char *name, uint32_t cpu, uint64_t memory, const struct doc *theirs)
{
    char text[32];

    if (!cpu && !memory && !theirs)
        return;
    js_key(b, str_z(name));
    js_object(b);
    if (cpu)
        js_put_str(b, "cpu", str_n(text, (size_t)snprintf(text, sizeof(text), "%um", cpu)));
    if (memory)
        js_put_str(b, "memory", str_n(text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)memory)));
    for (const struct doc *d = theirs && theirs->kind == DOC_MAP ? theirs->first : NULL; d; d = d->next) {
        if (str_eq(d->key, STR("cpu")) || str_eq(d->key, STR("memory")))
            continue;
        js_key(b, d->key);
        js_doc(b, d);
    }
    js_end_object(b);
}

static void put_resources(const struct kube_instance *i, const struct doc *main, struct buf *b)
{
    const struct etl_resources *is = &i->spec.resources;
    const struct doc *theirs = main ? spec_get(main, "resources") : NULL;
    uint64_t memory = is->memory_limit ? is->memory_limit : i->runtime->memory_max;

    if (memory && memory < is->memory_request)
        memory = is->memory_request;
    js_key(b, STR("resources"));
    js_object(b);
    put_amounts(b, "requests", is->cpu_request, is->memory_request, theirs ? spec_get(theirs, "requests") : NULL);
    put_amounts(b, "limits", is->cpu_limit, memory, theirs ? spec_get(theirs, "limits") : NULL);
    js_end_object(b);
}

/* ---- what it may do ---- */

static void put_drop_all(struct buf *b)
{
    js_key(b, STR("capabilities"));
    js_object(b);
    js_key(b, STR("drop"));
    js_array(b);
    js_str(b, STR("ALL"));
    js_end_array(b);
    js_end_object(b);
}

static void put_container_security(const struct doc *container, struct buf *b)
{
    const struct doc *theirs = container ? spec_get(container, "securityContext") : NULL;

    js_key(b, STR("securityContext"));
    js_object(b);
    js_put_bool(b, "allowPrivilegeEscalation", false);
    js_put_bool(b, "privileged", false);
    put_drop_all(b);
    put_doc(b, theirs, "runAsUser");
    put_doc(b, theirs, "runAsGroup");
    put_doc(b, theirs, "readOnlyRootFilesystem");
    js_end_object(b);
}

static void put_pod_security(const struct kube_instance *i, bool as_user, struct buf *b)
{
    const struct doc *theirs = i->pod ? rest_at(i->pod, "spec.securityContext") : NULL;

    js_key(b, STR("securityContext"));
    js_object(b);
    js_put_bool(b, "runAsNonRoot", true);
    js_key(b, STR("seccompProfile"));
    js_object(b);
    js_put_str(b, "type", STR("RuntimeDefault"));
    js_end_object(b);
    if (as_user && !(theirs && spec_get(theirs, "runAsUser")))
        js_put_u64(b, "runAsUser", i->runtime->user);
    if (as_user && !(theirs && spec_get(theirs, "runAsGroup")))
        js_put_u64(b, "runAsGroup", i->runtime->user);
    put_doc(b, theirs, "runAsUser");
    put_doc(b, theirs, "runAsGroup");
    put_doc(b, theirs, "fsGroup");
    put_doc(b, theirs, "fsGroupChangePolicy");
    js_end_object(b);
}

/* ---- containers ---- */

static bool mounts_tmp(const struct doc *container)
{
    const struct doc *list = container ? spec_get(container, "volumeMounts") : NULL;

    for (const struct doc *d = list && list->kind == DOC_LIST ? list->first : NULL; d; d = d->next)
        if (str_eq(rest_text(d, "mountPath"), STR("/tmp")) || str_eq(rest_text(d, "mountPath"), STR("/tmp/")))
            return true;
    return false;
}

static void put_mounts(const struct doc *container, struct buf *b)
{
    const struct doc *list = container ? spec_get(container, "volumeMounts") : NULL;

    js_key(b, STR("volumeMounts"));
    js_array(b);
    for (const struct doc *d = list && list->kind == DOC_LIST ? list->first : NULL; d; d = d->next)
        js_doc(b, d);
    if (!mounts_tmp(container)) {
        js_object(b);
        js_put_str(b, "name", STR(TMP_VOLUME));
        js_put_str(b, "mountPath", STR("/tmp"));
        js_end_object(b);
    }
    js_end_array(b);
}

static void put_readiness(const struct kube_instance *i, const struct doc *main, struct buf *b)
{
    if (main && spec_get(main, "readinessProbe")) {
        put_doc(b, main, "readinessProbe");
        return;
    }
    js_key(b, STR("readinessProbe"));
    js_object(b);
    js_key(b, STR("httpGet"));
    js_object(b);
    js_put_str(b, "path", i->spec.health);
    js_put_str(b, "port", STR("default"));
    js_end_object(b);
    js_put_u64(b, "timeoutSeconds", 5);
    js_put_u64(b, "periodSeconds", 10);
    js_end_object(b);
}

static void put_port(const struct kube_instance *i, struct buf *b)
{
    js_key(b, STR("ports"));
    js_array(b);
    js_object(b);
    js_put_str(b, "name", STR("default"));
    js_put_u64(b, "containerPort", i->spec.port);
    js_put_str(b, "protocol", STR("TCP"));
    js_end_object(b);
    js_end_array(b);
}

static void put_command(const struct kube_instance *i, const struct doc *main, struct buf *b)
{
    if (!i->spec.command_count) {
        put_doc(b, main, "args");
        return;
    }
    js_key(b, STR("command"));
    js_array(b);
    for (size_t k = 0; k < i->spec.command_count; k++)
        js_str(b, i->spec.command[k]);
    js_end_array(b);
}

static void put_main(const struct kube_instance *i, bool as_user, struct buf *b)
{
    const struct doc *main = only_container(i);

    js_object(b);
    js_put_str(b, "name", str_z(i->container));
    js_put_str(b, "image", i->spec.image);
    put_doc(b, main, "imagePullPolicy");
    put_command(i, main, b);
    put_doc(b, main, "workingDir");
    put_port(i, b);
    put_main_env(i, main, as_user, b);
    put_doc(b, main, "envFrom");
    put_resources(i, main, b);
    put_mounts(main, b);
    put_readiness(i, main, b);
    put_doc(b, main, "livenessProbe");
    put_doc(b, main, "startupProbe");
    put_container_security(main, b);
    js_put_str(b, "terminationMessagePolicy", STR("FallbackToLogsOnError"));
    js_end_object(b);
}

static void put_init(const struct kube_instance *i, const struct doc *init, struct buf *b)
{
    static const char *const kept[] = {"name", "image",   "imagePullPolicy", "command",
                                       "args", "envFrom", "workingDir",      "resources"};

    js_object(b);
    for (size_t k = 0; k < sizeof(kept) / sizeof(*kept); k++)
        put_doc(b, init, kept[k]);
    put_init_env(i, init, b);
    put_mounts(init, b);
    put_container_security(init, b);
    js_put_str(b, "terminationMessagePolicy", STR("FallbackToLogsOnError"));
    js_end_object(b);
}

static void put_containers(const struct kube_instance *i, bool as_user, struct buf *b)
{
    const struct doc *inits = i->pod ? rest_at(i->pod, "spec.initContainers") : NULL;

    js_key(b, STR("initContainers"));
    js_array(b);
    for (const struct doc *d = inits && inits->kind == DOC_LIST ? inits->first : NULL; d; d = d->next)
        put_init(i, d, b);
    js_end_array(b);
    js_key(b, STR("containers"));
    js_array(b);
    put_main(i, as_user, b);
    js_end_array(b);
}

/* ---- the rest of the Pod ---- */

static void put_affinity(const struct kube_runtime *r, struct buf *b)
{
    js_key(b, STR("affinity"));
    js_raw(b, STR("{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":["
                  "{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":["));
    struct buf name = BUF_INIT(1024);
    js_str(&name, r->node);
    buf_add_str(b, buf_str(&name));
    buf_release(&name);
    buf_add_z(b, "]}]}]}}}");
}

static void put_volumes(const struct kube_instance *i, struct buf *b)
{
    const struct doc *list = i->pod ? rest_at(i->pod, "spec.volumes") : NULL;

    js_key(b, STR("volumes"));
    js_array(b);
    for (const struct doc *d = list && list->kind == DOC_LIST ? list->first : NULL; d; d = d->next)
        js_doc(b, d);
    js_object(b);
    js_put_str(b, "name", STR(TMP_VOLUME));
    js_key(b, STR("emptyDir"));
    js_object(b);
    js_end_object(b);
    js_end_object(b);
    js_end_array(b);
}

/* Of our own Pod, and of theirs. */
static void put_both(const struct kube_instance *i, const char *key, struct str ours, struct buf *b)
{
    const struct doc *spec = i->pod ? rest_at(i->pod, "spec") : NULL, *list = spec ? spec_get(spec, key) : NULL;

    js_key(b, str_z(key));
    js_array(b);
    if (ours.n > 2) /* "[...]" */
        js_raw(b, str_n(ours.p + 1, ours.n - 2));
    for (const struct doc *d = list && list->kind == DOC_LIST ? list->first : NULL; d; d = d->next)
        js_doc(b, d);
    js_end_array(b);
}

static void put_spec(const struct kube_instance *i, bool as_user, struct buf *b)
{
    static const char *const kept[] = {"nodeSelector", "priorityClassName", "runtimeClassName", "dnsPolicy",
                                       "dnsConfig",    "hostAliases",       "schedulerName"};
    const struct doc *theirs = i->pod ? rest_at(i->pod, "spec") : NULL;

    js_object(b);
    js_put_str(b, "restartPolicy", STR("Never")); /* the engine starts it again */
    js_put_bool(b, "automountServiceAccountToken", false);
    js_put_bool(b, "enableServiceLinks", false);
    put_affinity(i->runtime, b);
    for (size_t k = 0; k < sizeof(kept) / sizeof(*kept); k++)
        put_doc(b, theirs, kept[k]);
    put_both(i, "tolerations", i->runtime->tolerations, b);
    put_both(i, "imagePullSecrets", i->runtime->pull_secrets, b);
    put_pod_security(i, as_user, b);
    put_volumes(i, b);
    put_containers(i, as_user, b);
    js_end_object(b);
}

enum err kube_write(const struct kube_instance *i, const char *name, bool as_user, struct buf *b, char why[ETL_WHY_MAX])
{
    js_object(b);
    js_put_str(b, "apiVersion", STR("v1"));
    js_put_str(b, "kind", STR("Pod"));
    js_key(b, STR("metadata"));
    js_object(b);
    js_put_str(b, "name", str_z(name));
    put_labels(i, b);
    put_owner(i->runtime, b);
    js_end_object(b);
    js_key(b, STR("spec"));
    put_spec(i, as_user, b);
    js_end_object(b);
    if (buf_err(b) == ERR_OK)
        return ERR_OK;
    snprintf(why, ETL_WHY_MAX, "its Pod is too large");
    return ERR_INVALID_ARGUMENT;
}
