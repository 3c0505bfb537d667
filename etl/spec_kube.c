/* What of a Pod only Kubernetes does. It is handed on as it is, and the API server checks it; here it is seen to that it gives nobody more than those
 * may have who make ETLs: no files of the node, no other service account, no privileges. */
#include <stdio.h>

#include "etl/spec_own.h"

/* ---- volumes ---- */

static enum err take_volume_name(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e == ERR_OK && str_starts(text, STR(SPEC_OWN_PREFIX)))
        e = spec_refuse(r, path, "must not begin with " SPEC_OWN_PREFIX);
    return e;
}

static enum err take_projected_source(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"configMap", spec_take_any},
                                               {"downwardAPI", spec_take_any},
                                               {"secret", spec_take_any},
                                               {"clusterTrustBundle", spec_take_unserved},
                                               {"podCertificate", spec_take_unserved},
                                               {"serviceAccountToken", spec_take_unserved},
                                               {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

static enum err take_projected_sources(struct spec_reader *r, struct str path, const struct doc *d)
{
    return spec_take_list(r, path, d, SPEC_VOLUMES_MAX, take_projected_source);
}

static enum err take_projected(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {
        {"defaultMode", spec_take_any}, {"sources", take_projected_sources}, {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

static enum err take_volume(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"name", take_volume_name},
                                               {"configMap", spec_take_any},
                                               {"downwardAPI", spec_take_any},
                                               {"emptyDir", spec_take_any},
                                               {"ephemeral", spec_take_any},
                                               {"image", spec_take_any},
                                               {"persistentVolumeClaim", spec_take_any},
                                               {"projected", take_projected},
                                               {"secret", spec_take_any},
                                               {"awsElasticBlockStore", spec_take_unserved},
                                               {"azureDisk", spec_take_unserved},
                                               {"azureFile", spec_take_unserved},
                                               {"cephfs", spec_take_unserved},
                                               {"cinder", spec_take_unserved},
                                               {"csi", spec_take_unserved},
                                               {"fc", spec_take_unserved},
                                               {"flexVolume", spec_take_unserved},
                                               {"flocker", spec_take_unserved},
                                               {"gcePersistentDisk", spec_take_unserved},
                                               {"gitRepo", spec_take_unserved},
                                               {"glusterfs", spec_take_unserved},
                                               {"hostPath", spec_take_unserved},
                                               {"iscsi", spec_take_unserved},
                                               {"nfs", spec_take_unserved},
                                               {"photonPersistentDisk", spec_take_unserved},
                                               {"portworxVolume", spec_take_unserved},
                                               {"quobyte", spec_take_unserved},
                                               {"rbd", spec_take_unserved},
                                               {"scaleIO", spec_take_unserved},
                                               {"storageos", spec_take_unserved},
                                               {"vsphereVolume", spec_take_unserved},
                                               {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

enum err spec_take_volumes(struct spec_reader *r, struct str path, const struct doc *d)
{
    enum err e = spec_take_list(r, path, d, SPEC_VOLUMES_MAX, take_volume);

    return e == ERR_OK ? spec_take_kube(r, path, d) : e;
}

/* ---- who it runs as ---- */

static enum err take_false(struct spec_reader *r, struct str path, const struct doc *d)
{
    bool on;
    enum err e = spec_bool(r, path, d, &on);

    return e == ERR_OK && on ? spec_unserved(r, path, "is not supported: sidecars have no privileges") : e;
}

static enum err take_true(struct spec_reader *r, struct str path, const struct doc *d)
{
    bool on;
    enum err e = spec_bool(r, path, d, &on);

    return e == ERR_OK && !on ? spec_unserved(r, path, "is not supported: sidecars don't run as root") : e;
}

static enum err take_id(struct spec_reader *r, struct str path, const struct doc *d)
{
    uint64_t id;

    if (d->kind != DOC_SCALAR || d->quoted || !str_to_u64(d->text, INT32_MAX, &id))
        return spec_refuse(r, path, "must be a number");
    return id == 0 ? spec_unserved(r, path, "0 is not supported: sidecars don't run as root") : ERR_OK;
}

static enum err take_seccomp_type(struct spec_reader *r, struct str path, const struct doc *d)
{
    struct str text;
    enum err e = spec_text(r, path, d, &text);

    if (e == ERR_OK && !str_eq(text, STR("RuntimeDefault")))
        e = spec_unserved(r, path, "is not supported, but RuntimeDefault");
    return e;
}

static enum err take_seccomp(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {
        {"type", take_seccomp_type}, {"localhostProfile", spec_take_unserved}, {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

static enum err take_capabilities(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"drop", spec_take_any}, {"add", spec_take_unserved}, {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

/* What says no more than how all sidecars run needs no Kubernetes. */
#define SECURITY_FIELDS                                                                                                \
    {"runAsUser", take_id}, {"runAsGroup", take_id}, {"runAsNonRoot", take_true}, {"seccompProfile", take_seccomp},    \
        {"seLinuxOptions", spec_take_unserved}, {"windowsOptions", spec_take_unserved},                                \
    {                                                                                                                  \
        "appArmorProfile", spec_take_unserved                                                                          \
    }

enum err spec_take_pod_security(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {SECURITY_FIELDS,
                                               {"fsGroup", take_id},
                                               {"fsGroupChangePolicy", spec_take_any},
                                               {"supplementalGroups", spec_take_unserved},
                                               {"supplementalGroupsPolicy", spec_take_unserved},
                                               {"seLinuxChangePolicy", spec_take_unserved},
                                               {"sysctls", spec_take_unserved},
                                               {NULL, NULL}};
    enum err e = spec_take_map(r, path, d, fields);

    return e == ERR_OK ? spec_take_kube(r, path, d) : e;
}

enum err spec_take_container_security(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {SECURITY_FIELDS,
                                               {"allowPrivilegeEscalation", take_false},
                                               {"capabilities", take_capabilities},
                                               {"privileged", take_false},
                                               {"procMount", spec_take_unserved},
                                               {"readOnlyRootFilesystem", spec_take_any},
                                               {NULL, NULL}};
    enum err e = spec_take_map(r, path, d, fields);

    return e == ERR_OK ? spec_take_kube(r, path, d) : e;
}

/* ---- probes that are Kubernetes' business ---- */

static enum err take_http_get(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"path", spec_take_any},
                                               {"port", spec_take_any},
                                               {"scheme", spec_take_any},
                                               {"httpHeaders", spec_take_any},
                                               {"host", spec_take_unserved}, /* the node would ask others for us */
                                               {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

static enum err take_tcp_socket(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"port", spec_take_any}, {"host", spec_take_unserved}, {NULL, NULL}};

    return spec_take_map(r, path, d, fields);
}

enum err spec_take_other_probe(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"httpGet", take_http_get},
                                               {"tcpSocket", take_tcp_socket},
                                               {"exec", spec_take_any},
                                               {"grpc", spec_take_any},
                                               {"initialDelaySeconds", spec_take_any},
                                               {"periodSeconds", spec_take_any},
                                               {"timeoutSeconds", spec_take_any},
                                               {"successThreshold", spec_take_any},
                                               {"failureThreshold", spec_take_any},
                                               {"terminationGracePeriodSeconds", spec_take_any},
                                               {NULL, NULL}};
    enum err e = spec_take_map(r, path, d, fields);

    return e == ERR_OK ? spec_take_kube(r, path, d) : e;
}

/* ---- containers that run before it ---- */

static enum err take_init_container(struct spec_reader *r, struct str path, const struct doc *d)
{
    static const struct spec_field fields[] = {{"name", spec_take_any},
                                               {"image", spec_take_any},
                                               {"imagePullPolicy", spec_take_any},
                                               {"command", spec_take_any},
                                               {"args", spec_take_any},
                                               {"env", spec_take_any},
                                               {"envFrom", spec_take_any},
                                               {"resources", spec_take_any},
                                               {"securityContext", spec_take_container_security},
                                               {"volumeMounts", spec_take_any},
                                               {"workingDir", spec_take_any},
                                               {"lifecycle", spec_take_unserved},
                                               {"livenessProbe", spec_take_unserved},
                                               {"ports", spec_take_unserved},
                                               {"readinessProbe", spec_take_unserved},
                                               {"resizePolicy", spec_take_unserved},
                                               {"restartPolicy", spec_take_unserved},
                                               {"restartPolicyRules", spec_take_unserved},
                                               {"startupProbe", spec_take_unserved},
                                               {"stdin", spec_take_unserved},
                                               {"stdinOnce", spec_take_unserved},
                                               {"terminationMessagePath", spec_take_unserved},
                                               {"terminationMessagePolicy", spec_take_unserved},
                                               {"tty", spec_take_unserved},
                                               {"volumeDevices", spec_take_unserved},
                                               {NULL, NULL}};

    if (!spec_get(d, "name") || !spec_get(d, "image"))
        return spec_refuse(r, path, "must have a name and an image");
    return spec_take_map(r, path, d, fields);
}

enum err spec_take_init_containers(struct spec_reader *r, struct str path, const struct doc *d)
{
    enum err e = spec_take_list(r, path, d, SPEC_INIT_CONTAINERS_MAX, take_init_container);

    return e == ERR_OK ? spec_take_kube(r, path, d) : e;
}
