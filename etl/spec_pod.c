/* A Kubernetes Pod with one container, as far as it can be had without Kubernetes. What has no meaning here, or none yet, is refused by name. */
#include "etl/spec_own.h"

/* ---- metadata ---- */

static const struct spec_field annotations[] = {{"communication_type", spec_take_communication},
                                                {"wait_timeout", spec_take_init_timeout},
                                                {"obj_timeout", spec_take_obj_timeout},
                                                {"support_direct_put", spec_take_direct_put},
                                                {NULL, NULL}};

static enum err take_annotations(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_take_map(r, path, d, annotations);
}

static enum err take_metadata(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"name", spec_take_name},
                                               {"annotations", take_annotations},
                                               {"labels", spec_take_any}, /* for those who select Pods */
                                               {"namespace", spec_take_unserved},
                                               {"generateName", spec_take_unserved},
                                               {"finalizers", spec_take_unserved},
                                               {"ownerReferences", spec_take_unserved},
                                               {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

/* ---- a value that has to be one of a few ---- */

static enum err take_one_of(struct spec_reader *r, struct str path, const struct doc *d, const char *const *words)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e != ERR_OK)
        return e;
    for (const char *const *w = words; *w; w++)
        if (str_eq(text, str_z(*w)))
            return ERR_OK;
    text = spec_shown(r->arena, text);
    return spec_unserved(r, path, "\"" STR_FMT "\" is not supported", STR_ARG(text));
}

/* When an image is fetched is the node's to decide. */
static enum err take_pull_policy(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const char *const words[] = {"Always", "IfNotPresent", "Never", NULL};

    return take_one_of(r, path, d, words);
}

/* A sidecar that ends is always started again. */
static enum err take_restart_policy(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const char *const words[] = {"Always", NULL};

    return take_one_of(r, path, d, words);
}

static enum err take_tcp(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const char *const words[] = {"TCP", NULL};

    return take_one_of(r, path, d, words);
}

static enum err take_http(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const char *const words[] = {"HTTP", NULL};

    return take_one_of(r, path, d, words);
}

static enum err take_default(struct spec_reader *r, struct str path, const struct doc *d)
{
    if (d->kind != DOC_SCALAR || !str_eq(d->text, STR("default")))
        return spec_refuse(r, path, "must be \"default\"");
    return ERR_OK;
}

/* How often and how long Kubernetes would ask: the node asks at its own pace, until init_timeout. */
static enum err take_pace(struct spec_reader *r, struct str path, const struct doc *d)
{
    uint64_t v;

    if (d->kind != DOC_SCALAR || d->quoted || !str_to_u64(d->text, INT32_MAX, &v))
        return spec_refuse(r, path, "must be a whole number");
    return ERR_OK;
}

/* ---- the container ---- */

static enum err take_container_port(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_port(r, path, d, &r->spec.port);
}

static enum err take_port(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"name", take_default},         {"containerPort", take_container_port},
                                               {"protocol", take_tcp},         {"hostPort", spec_take_unserved},
                                               {"hostIP", spec_take_unserved}, {NULL, NULL}};
    enum err e = spec_take_map(r, path, d, fields);

    if (e == ERR_OK && (!spec_get(d, "name") || !spec_get(d, "containerPort")))
        e = spec_refuse(r, path, "must have a name, \"default\", and a containerPort");
    return e;
}

static enum err take_ports(struct spec_reader *r, struct str path, const struct doc *d)
{
    enum err e = spec_take_list(r, path, d, 16, take_port);

    if (e == ERR_OK && d->count != 1)
        e = spec_refuse(r, path, "must be exactly one port, named \"default\"");
    r->ports = true;
    return e;
}

static enum err take_http_get(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"path", spec_take_health},
                                               {"port", take_default},
                                               {"scheme", take_http},
                                               {"host", spec_take_unserved},
                                               {"httpHeaders", spec_take_unserved},
                                               {NULL, NULL}};
    enum err e = spec_take_map(r, path, d, fields);

    if (e == ERR_OK && (!spec_get(d, "path") || !spec_get(d, "port")))
        e = spec_refuse(r, path, "must have a path and a port, \"default\"");
    r->probe = true;
    return e;
}

static enum err take_probe(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"httpGet", take_http_get},
                                               {"exec", spec_take_unserved},
                                               {"tcpSocket", spec_take_unserved},
                                               {"grpc", spec_take_unserved},
                                               {"initialDelaySeconds", take_pace},
                                               {"periodSeconds", take_pace},
                                               {"timeoutSeconds", take_pace},
                                               {"successThreshold", take_pace},
                                               {"failureThreshold", take_pace},
                                               {"terminationGracePeriodSeconds", spec_take_unserved},
                                               {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

/* Command and args are one list here, in this order whichever comes first in the text. */
static enum err take_container(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"name", spec_take_any},
                                               {"image", spec_take_image},
                                               {"imagePullPolicy", take_pull_policy},
                                               {"ports", take_ports},
                                               {"command", spec_take_command},
                                               {"args", spec_take_any},
                                               {"env", spec_take_env},
                                               {"readinessProbe", take_probe},
                                               {"resources", spec_take_resources},
                                               {"envFrom", spec_take_kube},
                                               {"lifecycle", spec_take_unserved},
                                               {"livenessProbe", spec_take_other_probe},
                                               {"resizePolicy", spec_take_unserved},
                                               {"restartPolicy", spec_take_unserved},
                                               {"securityContext", spec_take_container_security},
                                               {"startupProbe", spec_take_other_probe},
                                               {"stdin", spec_take_unserved},
                                               {"stdinOnce", spec_take_unserved},
                                               {"terminationMessagePath", spec_take_unserved},
                                               {"terminationMessagePolicy", spec_take_unserved},
                                               {"tty", spec_take_unserved},
                                               {"volumeDevices", spec_take_unserved},
                                               {"volumeMounts", spec_take_kube},
                                               {"workingDir", spec_take_kube},
                                               {NULL, NULL}};
    const struct doc *args = spec_get(d, "args");
    struct str args_at = arena_printf(r->arena, STR_FMT ".args", STR_ARG(path));
    enum err e = spec_take_map(r, path, d, fields);

    if (e != ERR_OK)
        return e;
    if (args && r->spec.command_count == 0)
        spec_need_kube(r, args_at, "without a command it is not supported: write both into command");
    else if (args && (e = spec_take_command(r, args_at, args)) != ERR_OK)
        return e;
    if (!r->ports)
        return spec_refuse(r, path, "must have exactly one port, named \"default\"");
    if (!r->probe)
        return spec_refuse(r, path, "must have a readinessProbe.httpGet with path and port");
    return ERR_OK;
}

static enum err take_containers(struct spec_reader *r, struct str path, const struct doc *d)
{
    if (d->kind != DOC_LIST || d->count != 1)
        return spec_refuse(r, path, "must be a list of exactly one container");
    return spec_take_list(r, path, d, 1, take_container);
}

/* ---- the Pod ---- */

/* On the host's network a sidecar reaches what the host reaches. */
static enum err take_host_network(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_bool(r, path, d, &r->spec.network);
}

static enum err take_pod_spec(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"containers", take_containers},
                                               {"hostNetwork", take_host_network},
                                               {"restartPolicy", take_restart_policy},
                                               {"activeDeadlineSeconds", spec_take_unserved},
                                               {"affinity", spec_take_unserved},
                                               {"automountServiceAccountToken", spec_take_unserved},
                                               {"dnsConfig", spec_take_kube},
                                               {"dnsPolicy", spec_take_kube},
                                               {"enableServiceLinks", spec_take_unserved},
                                               {"ephemeralContainers", spec_take_unserved},
                                               {"hostAliases", spec_take_kube},
                                               {"hostIPC", spec_take_unserved},
                                               {"hostPID", spec_take_unserved},
                                               {"hostUsers", spec_take_unserved},
                                               {"hostname", spec_take_unserved},
                                               {"imagePullSecrets", spec_take_kube},
                                               {"initContainers", spec_take_init_containers},
                                               {"nodeAffinity", spec_take_unserved},
                                               {"nodeName", spec_take_unserved},
                                               {"nodeSelector", spec_take_kube},
                                               {"os", spec_take_unserved},
                                               {"overhead", spec_take_unserved},
                                               {"podAntiAffinity", spec_take_unserved},
                                               {"preemptionPolicy", spec_take_unserved},
                                               {"priority", spec_take_unserved},
                                               {"priorityClassName", spec_take_kube},
                                               {"readinessGates", spec_take_unserved},
                                               {"resourceClaims", spec_take_unserved},
                                               {"resources", spec_take_unserved},
                                               {"runtimeClassName", spec_take_kube},
                                               {"schedulerName", spec_take_kube},
                                               {"schedulingGates", spec_take_unserved},
                                               {"securityContext", spec_take_pod_security},
                                               {"serviceAccount", spec_take_unserved},
                                               {"serviceAccountName", spec_take_unserved},
                                               {"setHostnameAsFQDN", spec_take_unserved},
                                               {"shareProcessNamespace", spec_take_unserved},
                                               {"subdomain", spec_take_unserved},
                                               {"terminationGracePeriodSeconds", spec_take_unserved},
                                               {"tolerations", spec_take_kube},
                                               {"topologySpreadConstraints", spec_take_unserved},
                                               {"volumes", spec_take_volumes},
                                               {NULL, NULL}};
    enum err e = spec_take_map(r, path, d, fields);

    if (e == ERR_OK && !spec_get(d, "containers"))
        e = spec_refuse(r, path, "must have a list of exactly one container");
    return e;
}

static enum err take_kind(struct spec_reader *r, struct str path, const struct doc *d)
{
    if (d->kind != DOC_SCALAR || !str_eq(d->text, STR("Pod")))
        return spec_refuse(r, path, "must be Pod");
    return ERR_OK;
}

static enum err take_version(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const char *const words[] = {"v1", NULL};

    return take_one_of(r, path, d, words);
}

enum err spec_take_pod(struct spec_reader *r, struct str path, const struct doc *pod, struct str text)
{
    static const struct spec_field fields[] = {{"apiVersion", take_version},   {"kind", take_kind},
                                               {"metadata", take_metadata},    {"spec", take_pod_spec},
                                               {"status", spec_take_unserved}, {NULL, NULL}};
    enum err e;

    if (!spec_get(pod, "kind") || !spec_get(pod, "spec"))
        return spec_refuse(r, path, "must be a Pod, with kind and spec");
    r->in_pod = true;
    e = spec_take_map(r, path, pod, fields);
    r->in_pod = false;
    r->spec.pod = text;
    return e;
}
