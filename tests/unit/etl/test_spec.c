#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "etl/spec.h"

static struct arena arena;
static char why[ETL_WHY_MAX];

static enum err parse(const char *text, struct etl_spec *out)
{
    why[0] = 0;
    return etl_spec_parse(str_z(text), &arena, out, why);
}

static void good(const char *text, struct etl_spec *out)
{
    enum err e = parse(text, out);

    if (e != ERR_OK)
        fail_msg("%s: %s: %s", text, err_name(e), why);
}

#define EQ(s, literal) assert_true(str_eq((s), STR(literal)))

static void assert_same(const struct etl_spec *a, const struct etl_spec *b)
{
    assert_true(str_eq(a->name, b->name) && str_eq(a->image, b->image) && str_eq(a->pod, b->pod));
    assert_true(str_eq(a->health, b->health));
    assert_int_equal(a->comm, b->comm);
    assert_int_equal(a->init_timeout_ms, b->init_timeout_ms);
    assert_int_equal(a->object_timeout_ms, b->object_timeout_ms);
    assert_int_equal(a->direct_put, b->direct_put);
    assert_int_equal(a->network, b->network);
    assert_int_equal(a->worker, b->worker);
    assert_int_equal(a->port, b->port);
    assert_int_equal(a->command_count, b->command_count);
    assert_int_equal(a->env_count, b->env_count);
    for (size_t i = 0; i < a->command_count; i++)
        assert_true(str_eq(a->command[i], b->command[i]));
    for (size_t i = 0; i < a->env_count; i++)
        assert_true(str_eq(a->env[i].name, b->env[i].name) && str_eq(a->env[i].value, b->env[i].value));
    assert_memory_equal(&a->resources, &b->resources, sizeof(a->resources));
}

static void written_is_read_as_the_same(const struct etl_spec *s)
{
    struct buf b = BUF_INIT(ETL_SPEC_MAX);
    struct etl_spec again;

    etl_spec_write(&b, s);
    assert_int_equal(buf_err(&b), ERR_OK);
    assert_int_equal(etl_spec_parse(buf_str(&b), &arena, &again, why), ERR_OK);
    assert_same(s, &again);
    buf_release(&b);
}

/* ---- what is read ---- */

static void a_runtime_spec_is_read_from_yaml(void **state)
{
    struct etl_spec s;

    (void)state;
    good("name: ffmpeg-etl\n"
         "runtime:\n"
         "  image: aistorage/transformer_ffmpeg:latest\n"
         "  env:\n"
         "    # Audio Rate\n"
         "    - name: AR\n"
         "      value: \"16000\"\n"
         "    - name: AC\n"
         "      value: 1\n"
         "    - name: EMPTY\n"
         "  command: [\"gunicorn\", \"--bind\", \"0.0.0.0:8000\"]\n"
         "communication: hpull://\n"
         "argument: fqn\n"
         "init_timeout: 5m\n"
         "obj_timeout: 45s\n"
         "support_direct_put: true\n"
         "resources:\n"
         "  requests: {cpu: 500m, memory: 64Mi}\n"
         "  limits: {cpu: 2, memory: 1G}\n",
         &s);
    EQ(s.name, "ffmpeg-etl");
    EQ(s.image, "aistorage/transformer_ffmpeg:latest");
    assert_int_equal(s.comm, ETL_HPULL);
    assert_int_equal(s.init_timeout_ms, 300000);
    assert_int_equal(s.object_timeout_ms, 45000);
    assert_true(s.direct_put && !s.network && !s.worker);
    assert_int_equal(s.env_count, 3);
    EQ(s.env[0].name, "AR");
    EQ(s.env[0].value, "16000");
    EQ(s.env[1].value, "1");
    EQ(s.env[2].value, "");
    assert_int_equal(s.command_count, 3);
    EQ(s.command[2], "0.0.0.0:8000");
    assert_int_equal(s.resources.cpu_request, 500);
    assert_int_equal(s.resources.cpu_limit, 2000);
    assert_int_equal(s.resources.memory_request, 64 << 20);
    assert_int_equal(s.resources.memory_limit, 1000000000);
    assert_int_equal(s.port, ETL_PORT);
    EQ(s.health, "/health");
    assert_int_equal(s.pod.n, 0);
    written_is_read_as_the_same(&s);
}

static void a_runtime_spec_is_read_from_json(void **state)
{
    struct etl_spec s;

    (void)state;
    good("{\"name\":\"io-worker\",\"communication\":\"io://\",\"init_timeout\":45000000000,\"obj_timeout\":\"100ms\","
         "\"env\":[{\"name\":\"A\",\"value\":\"message\"},{\"name\":\"C\",\"value\":\"\\u00e9\\n\"}],"
         "\"runtime\":{\"command\":\"python3 -u 'my worker.py' \\\"a\\\\\\\"b\\\" c\\\\ d ''\",\"worker\":true,"
         "\"network\":\"host\",\"env\":[{\"name\":\"A\",\"value\":\"container\"},{\"name\":\"B\",\"value\":null}]},"
         "\"resources\":{\"limits\":{\"cpu\":0.1,\"memory\":1048576}}}",
         &s);
    assert_int_equal(s.comm, ETL_IO);
    assert_int_equal(s.init_timeout_ms, 45000);
    assert_int_equal(s.object_timeout_ms, 100);
    assert_true(s.worker && s.network && !s.direct_put);
    assert_int_equal(s.image.n, 0);
    assert_int_equal(s.command_count, 6);
    EQ(s.command[0], "python3");
    EQ(s.command[2], "my worker.py");
    EQ(s.command[3], "a\"b");
    EQ(s.command[4], "c d");
    EQ(s.command[5], "");
    assert_int_equal(s.env_count, 3);
    EQ(s.env[0].name, "A");
    EQ(s.env[0].value, "message");
    EQ(s.env[1].name, "B");
    EQ(s.env[2].value, "\xc3\xa9\n");
    assert_int_equal(s.resources.cpu_limit, 100);
    assert_int_equal(s.resources.memory_limit, 1 << 20);
    written_is_read_as_the_same(&s);
}

static void what_is_not_said_has_its_default(void **state)
{
    struct etl_spec s;

    (void)state;
    good("{\"name\":\"abcdef\",\"communication\":\"\",\"init_timeout\":\"\",\"obj_timeout\":0,\"env\":null,"
         "\"argument\":\"\",\"resources\":{},\"runtime\":{\"image\":\"i\",\"command\":null}}",
         &s);
    assert_int_equal(s.comm, ETL_HPUSH);
    assert_int_equal(s.init_timeout_ms, ETL_INIT_TIMEOUT_MS);
    assert_int_equal(s.object_timeout_ms, ETL_OBJECT_TIMEOUT_MS);
    written_is_read_as_the_same(&s);
}

#define POD_HEAD                                                                                                       \
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: transformer-md5\n  annotations:\n"                                  \
    "    communication_type: \"hrev://\"\n    wait_timeout: 10m\n    support_direct_put: \"true\"\nspec:\n"
#define POD_CONTAINER                                                                                                  \
    "  containers:\n    - name: server\n      image: aistorage/transformer_md5:latest\n"                               \
    "      imagePullPolicy: IfNotPresent\n"                                                                            \
    "      ports:\n        - name: default\n          containerPort: 80\n"                                             \
    "      args: ['--port', '80']\n"                                                                                   \
    "      command: ['/code/server.py', '--listen', '0.0.0.0']\n"                                                      \
    "      readinessProbe:\n        httpGet:\n          path: /healthy\n          port: default\n"

static void a_pod_is_read(void **state)
{
    struct etl_spec s;

    (void)state;
    good(POD_HEAD POD_CONTAINER "      env:\n        - name: FORMAT\n          value: \"JPEG\"\n", &s);
    EQ(s.name, "transformer-md5");
    assert_int_equal(s.comm, ETL_HREV);
    assert_int_equal(s.init_timeout_ms, 600000);
    assert_true(s.direct_put);
    assert_int_equal(s.port, 80);
    EQ(s.health, "/healthy");
    assert_int_equal(s.command_count, 5);
    EQ(s.command[0], "/code/server.py");
    EQ(s.command[4], "80");
    assert_int_equal(s.env_count, 1);
    assert_true(str_starts(s.pod, STR("apiVersion: v1\n")));
    written_is_read_as_the_same(&s);
}

static void a_message_goes_before_its_pod(void **state)
{
    const char pod[] = POD_HEAD POD_CONTAINER "      env: [{name: FORMAT, value: JPEG}, {name: X, value: \"1\"}]\n";
    char coded[BASE64_LEN(sizeof(pod)) + 1], text[4096];
    struct etl_spec s;

    (void)state;
    coded[base64_encode(pod, sizeof(pod) - 1, coded)] = 0;
    snprintf(text, sizeof(text),
             "{\"name\":\"my-md5\",\"communication\":\"hpush://\",\"obj_timeout\":\"1m\",\"support_direct_put\":false,"
             "\"env\":[{\"name\":\"FORMAT\",\"value\":\"PNG\"}],\"spec\":\"%s\"}",
             coded);
    good(text, &s);
    EQ(s.name, "my-md5");
    assert_int_equal(s.comm, ETL_HPUSH);
    assert_int_equal(s.init_timeout_ms, 600000);
    assert_int_equal(s.object_timeout_ms, 60000);
    assert_false(s.direct_put);
    assert_int_equal(s.env_count, 2);
    EQ(s.env[0].value, "PNG");
    assert_true(str_eq(
        s.pod, STR(POD_HEAD POD_CONTAINER "      env: [{name: FORMAT, value: JPEG}, {name: X, value: \"1\"}]\n")));
    written_is_read_as_the_same(&s);
}

/* ---- what is refused ---- */

struct refusal {
    const char *text;
    enum err err;
    const char *says; /* part of `why` */
};
#define RT "name: abcdef\nruntime: {image: i}\n"

static void check_refusals(const struct refusal *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct etl_spec s, untouched;
        memset(&s, 0x5a, sizeof(s));
        untouched = s;
        enum err e = parse(list[i].text, &s);
        if (e != list[i].err || !strstr(why, list[i].says))
            fail_msg("%s: %s: %s (not: %s)", list[i].text, err_name(e), why, list[i].says);
        assert_memory_equal(&s, &untouched, sizeof(s));
    }
}
#define CHECK_REFUSALS(list) check_refusals((list), sizeof(list) / sizeof((list)[0]))

static void bad_runtime_specs_are_refused_by_name(void **state)
{
    static const struct refusal list[] = {
        {"", ERR_INVALID_ARGUMENT, "name: is missing"},
        {"[]", ERR_INVALID_ARGUMENT, "must be a map"},
        {"text", ERR_INVALID_ARGUMENT, "must be a map"},
        {"{\"name\":", ERR_INVALID_ARGUMENT, "neither JSON nor YAML"},
        {RT "---\n" RT, ERR_INVALID_ARGUMENT, "a second document"},
        {"a: &x 1\nb: *x\n", ERR_INVALID_ARGUMENT, "aliases"},
        {"name: abcdef\n", ERR_INVALID_ARGUMENT, "an image or a command"},
        {"name: abcdef\nruntime: {command: []}\n", ERR_INVALID_ARGUMENT, "an image or a command"},
        {"runtime: {image: i}\n", ERR_INVALID_ARGUMENT, "name: is missing"},
        {RT "nmae: x\n", ERR_INVALID_ARGUMENT, "nmae: not known"},
        {RT "\"n\\0\\n\": x\n", ERR_INVALID_ARGUMENT, "n??: not known"},
        {"name: abcdef\nruntime: {image: i, foo: 1}\n", ERR_INVALID_ARGUMENT, "runtime.foo: not known"},
        {"name: abcdef\nruntime: {image: i, env: [{name: A, valueFrom: {}}]}\n", ERR_NOT_IMPLEMENTED,
         "runtime.env[0].valueFrom: is not supported"},
        {"name: abcdef\nruntime: {image: i, env: {A: b}}\n", ERR_INVALID_ARGUMENT, "runtime.env: must be a list"},
        {"name: abcdef\nruntime: {image: i, env: [A]}\n", ERR_INVALID_ARGUMENT, "runtime.env[0]: must be a map"},
        {"name: abcdef\nruntime: {image: i, env: [{value: b}]}\n", ERR_INVALID_ARGUMENT,
         "runtime.env[0].name: is missing"},
        {"name: abcdef\nruntime: {image: i, env: [{name: A=B}]}\n", ERR_INVALID_ARGUMENT,
         "is not the name of a variable"},
        {"name: abcdef\nruntime: {image: i, env: [{name: 1A}]}\n", ERR_INVALID_ARGUMENT, "is not the name"},
        {"name: abcdef\nruntime: {image: i, env: [{name: A, value: [1]}]}\n", ERR_INVALID_ARGUMENT,
         "runtime.env[0].value: must be a text"},
        {"name: abcdef\nruntime: {image: i, env: [{name: A, value: \"a\\0b\"}]}\n", ERR_INVALID_ARGUMENT, "zero byte"},
        {"{\"name\":\"abcdef\\u0000\",\"runtime\":{\"image\":\"i\"}}", ERR_INVALID_ARGUMENT, "name: has a zero byte"},
        {"name: abcdef\nruntime: {command: [\"a\\0\"]}\n", ERR_INVALID_ARGUMENT, "runtime.command[0]: has a zero"},
        {"name: abcdef\nruntime: {command: [\"\", a]}\n", ERR_INVALID_ARGUMENT, "runtime.command[0]: is empty"},
        {"name: abcdef\nruntime: {command: \"a 'b\"}\n", ERR_INVALID_ARGUMENT, "a quote is not closed"},
        {"name: abcdef\nruntime: {command: {a: b}}\n", ERR_INVALID_ARGUMENT, "runtime.command: must be a text"},
        {"name: abcdef\nruntime: {image: -v}\n", ERR_INVALID_ARGUMENT, "runtime.image"},
        {"name: abcdef\nruntime: {image: \"a b\"}\n", ERR_INVALID_ARGUMENT, "runtime.image"},
        {"name: abcdef\nruntime: {image: \"${REGISTRY}/a\"}\n", ERR_INVALID_ARGUMENT, "runtime.image"},
        {"name: abcdef\nruntime: {image: i, network: bridge}\n", ERR_INVALID_ARGUMENT, "runtime.network"},
        {"name: abcdef\nruntime: {image: i, worker: true}\n", ERR_INVALID_ARGUMENT, "runtime.worker: is for"},
        {"name: abcdef\nruntime: {image: i, worker: 1}\n", ERR_INVALID_ARGUMENT, "must be true or false"},
        {"name: abcdef\nruntime: {image: i, port: 0}\n", ERR_INVALID_ARGUMENT, "runtime.port"},
        {"name: abcdef\nruntime: {image: i, port: 65536}\n", ERR_INVALID_ARGUMENT, "runtime.port"},
        {"name: abcdef\nruntime: {image: i, health: up}\n", ERR_INVALID_ARGUMENT, "runtime.health"},
        {"name: abcdef\nruntime: {image: i, health: \"/a b\"}\n", ERR_INVALID_ARGUMENT, "runtime.health"},
        {RT "support_direct_put: maybe\n", ERR_INVALID_ARGUMENT, "support_direct_put"},
        {RT "communication: hpush\n", ERR_INVALID_ARGUMENT, "communication: must be one of"},
        {RT "communication: HPUSH://\n", ERR_INVALID_ARGUMENT, "communication: must be one of"},
        {RT "argument: path\n", ERR_INVALID_ARGUMENT, "argument"},
        {RT "code: cHJpbnQoKQ==\n", ERR_NOT_IMPLEMENTED, "code: is not supported"},
        {RT "resources: {limits: {nvidia.com/gpu: 1}}\n", ERR_NOT_IMPLEMENTED, "resources.limits.nvidia.com/gpu"},
        {RT "resources: {limits: {cpus: 1}}\n", ERR_INVALID_ARGUMENT, "resources.limits.cpus: not known"},
        {RT "resources: {limits: {memory: 64MB}}\n", ERR_INVALID_ARGUMENT, "resources.limits.memory"},
        {RT "resources: {requests: {cpu: 2}, limits: {cpu: 1}}\n", ERR_INVALID_ARGUMENT, "more than limits.cpu"},
        {"{\"name\":\"abcdef\",\"name\":\"abcdeg\",\"runtime\":{\"image\":\"i\"}}", ERR_INVALID_ARGUMENT, "neither"},
        {"name: abcdef\nruntime: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
         ERR_INVALID_ARGUMENT, "nested too deeply"},
    };

    (void)state;
    CHECK_REFUSALS(list);
}

static void bad_pods_are_refused_by_name(void **state)
{
    static const struct refusal list[] = {
        {"kind: Deployment\nspec: {}\n", ERR_INVALID_ARGUMENT, "kind: must be Pod"},
        {"kind: Pod\n", ERR_INVALID_ARGUMENT, "kind and spec"},
        {"apiVersion: v2\nkind: Pod\nspec: {}\n", ERR_NOT_IMPLEMENTED, "apiVersion: \"v2\""},
        {POD_HEAD "  containers: []\n", ERR_INVALID_ARGUMENT, "spec.containers: must be a list of exactly one"},
        {POD_HEAD "  containers: [{}, {}]\n", ERR_INVALID_ARGUMENT, "spec.containers: must be a list of exactly one"},
        {POD_HEAD "  restartPolicy: Always\n", ERR_INVALID_ARGUMENT, "spec: must have a list of exactly one"},
        {POD_HEAD "  restartPolicy: Never\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED, "spec.restartPolicy: \"Never\""},
        {POD_HEAD "  affinity: {nodeAffinity: {}}\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED, "spec.affinity"},
        {POD_HEAD "  frobnicate: 1\n" POD_CONTAINER, ERR_INVALID_ARGUMENT, "spec.frobnicate: not known"},
        {POD_HEAD POD_CONTAINER "      securityContext: {privileged: true}\n", ERR_NOT_IMPLEMENTED,
         "spec.containers[0].securityContext.privileged"},
        {POD_HEAD POD_CONTAINER "      securityContext: {capabilities: {add: [SYS_ADMIN]}}\n", ERR_NOT_IMPLEMENTED,
         "capabilities.add"},
        {POD_HEAD POD_CONTAINER "      securityContext: {runAsUser: 0}\n", ERR_NOT_IMPLEMENTED, "runAsUser: 0"},
        {POD_HEAD "  securityContext: {runAsNonRoot: false}\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED, "runAsNonRoot"},
        {POD_HEAD "  securityContext: {seccompProfile: {type: Unconfined}}\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED,
         "seccompProfile.type"},
        {POD_HEAD "  volumes: [{name: a, hostPath: {path: /}}]\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED,
         "spec.volumes[0].hostPath: is not supported"},
        {POD_HEAD "  volumes: [{name: a, csi: {driver: d}}]\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED, "volumes[0].csi"},
        {POD_HEAD "  volumes: [{name: sluice-tmp, emptyDir: {}}]\n" POD_CONTAINER, ERR_INVALID_ARGUMENT,
         "must not begin with sluice-"},
        {POD_HEAD "  volumes: [{name: a, projected: {sources: [{serviceAccountToken: {path: t}}]}}]\n" POD_CONTAINER,
         ERR_NOT_IMPLEMENTED, "projected.sources[0].serviceAccountToken"},
        {POD_HEAD "  serviceAccountName: admin\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED, "spec.serviceAccountName"},
        {POD_HEAD "  initContainers: [{name: a}]\n" POD_CONTAINER, ERR_INVALID_ARGUMENT,
         "spec.initContainers[0]: must have a name and an image"},
        {POD_HEAD "  initContainers: [{name: a, image: i, restartPolicy: Always}]\n" POD_CONTAINER, ERR_NOT_IMPLEMENTED,
         "spec.initContainers[0].restartPolicy"},
        {POD_HEAD POD_CONTAINER "      livenessProbe: {httpGet: {host: elsewhere}}\n", ERR_NOT_IMPLEMENTED,
         "livenessProbe.httpGet.host"},
        {POD_HEAD POD_CONTAINER "      env: [{name: A, value: b, valueFrom: {fieldRef: {}}}]\n", ERR_INVALID_ARGUMENT,
         "both a value and a valueFrom"},
        {"{\"name\":\"abcdef\",\"runtime\":{\"image\":\"i\"},\"pod\":\"kind: Pod\\nspec: {hostPID: true}\"}",
         ERR_NOT_IMPLEMENTED, "spec.hostPID: is not supported"},
        {"{\"name\":\"abcdef\",\"runtime\":{\"image\":\"i\"},\"pod\":\"[1]\"}", ERR_INVALID_ARGUMENT,
         "pod: must be a Pod"},
        {POD_HEAD POD_CONTAINER "      env: [{name: TRANSFORM, value: \"${TRANSFORM}\"}]\n", ERR_INVALID_ARGUMENT,
         "spec.containers[0].env[0].value: the placeholder ${TRANSFORM} is not expanded"},
        {"kind: Pod\nmetadata:\n  annotations:\n    communication_type: ${COMMUNICATION_TYPE:-\"\\\"hpull://\\\"\"}\n"
         "spec: {}\n",
         ERR_INVALID_ARGUMENT, "metadata.annotations.communication_type: the placeholder ${COMMUNICATION_TYPE"},
        {"kind: Pod\nmetadata: {annotations: {other: x}}\nspec: {}\n", ERR_INVALID_ARGUMENT,
         "metadata.annotations.other: not known"},
        {POD_HEAD "  containers: [{image: i}]\n", ERR_INVALID_ARGUMENT, "exactly one port"},
        {POD_HEAD "  containers: [{image: i, ports: [{containerPort: 80}]}]\n", ERR_INVALID_ARGUMENT,
         "ports[0]: must have a name"},
        {POD_HEAD "  containers: [{image: i, ports: [{name: http, containerPort: 80}]}]\n", ERR_INVALID_ARGUMENT,
         "ports[0].name: must be \"default\""},
        {POD_HEAD "  containers: [{ports: [{name: default, containerPort: 80, protocol: UDP}]}]\n", ERR_NOT_IMPLEMENTED,
         "protocol: \"UDP\""},
        {POD_HEAD "  containers: [{ports: [{name: default, containerPort: 80}, {name: default, containerPort: 1}]}]\n",
         ERR_INVALID_ARGUMENT, "ports: must be exactly one"},
        {POD_HEAD "  containers: [{ports: [{name: default, containerPort: 80}]}]\n", ERR_INVALID_ARGUMENT,
         "readinessProbe.httpGet"},
        {POD_HEAD "  containers: [{readinessProbe: {tcpSocket: {port: 80}}}]\n", ERR_NOT_IMPLEMENTED,
         "readinessProbe.tcpSocket"},
        {POD_HEAD "  containers: [{readinessProbe: {httpGet: {path: /, port: 80}}}]\n", ERR_INVALID_ARGUMENT,
         "httpGet.port: must be \"default\""},
        {POD_HEAD "  containers: [{readinessProbe: {httpGet: {port: default}}}]\n", ERR_INVALID_ARGUMENT,
         "must have a path"},
        {POD_HEAD "  containers: [{command: sleep}]\n", ERR_INVALID_ARGUMENT, "command: must be a list"},
        {POD_HEAD "  containers: [{command: [a, '${ARG1}']}]\n", ERR_INVALID_ARGUMENT, "placeholder ${ARG1}"},
        {"{\"name\":\"abcdef\",\"spec\":\"!\"}", ERR_INVALID_ARGUMENT, "spec: must be a Pod"},
        {"{\"name\":\"abcdef\",\"spec\":\"\"}", ERR_INVALID_ARGUMENT, "spec: must be a Pod"},
        {"{\"name\":\"abcdef\",\"spec\":\"e30=\"}", ERR_INVALID_ARGUMENT, "spec: must be a Pod, with kind and spec"},
        {"{\"name\":\"abcdef\",\"spec\":\"/////w==\"}", ERR_INVALID_ARGUMENT, "spec: is not UTF-8"},
        {"{\"name\":\"abcdef\",\"spec\":{\"a\":1}}", ERR_INVALID_ARGUMENT, "spec: must be a text"},
        {"{\"name\":\"abcdef\",\"spec\":\"e30=\",\"runtime\":{}}", ERR_INVALID_ARGUMENT, "with kind and spec"},
    };

    (void)state;
    CHECK_REFUSALS(list);
}

/* Of which only a node that runs Pods makes something: they are taken, and say why others can't. */
static void what_only_kubernetes_does_is_noted(void **state)
{
    static const struct {
        const char *text, *says;
    } list[] = {
        {POD_HEAD POD_CONTAINER, ""},
        {POD_HEAD "  volumes: [{name: a, emptyDir: {}}]\n" POD_CONTAINER, "spec.volumes: is not supported"},
        {POD_HEAD "  initContainers: [{name: a, image: i}]\n" POD_CONTAINER, "spec.initContainers: is not supported"},
        {POD_HEAD "  imagePullSecrets: [{name: a}]\n" POD_CONTAINER, "spec.imagePullSecrets: is not supported"},
        {POD_HEAD "  tolerations: []\n  volumes: []\n" POD_CONTAINER, "spec.tolerations: is not supported"},
        {POD_HEAD "  securityContext: {fsGroup: 7, runAsUser: 7}\n" POD_CONTAINER, "spec.securityContext: is not"},
        {POD_HEAD POD_CONTAINER "      volumeMounts: [{name: a}]\n", "spec.containers[0].volumeMounts: is not"},
        {POD_HEAD POD_CONTAINER "      env: [{name: A, valueFrom: {fieldRef: {}}}]\n",
         "spec.containers[0].env[0].valueFrom: is not supported"},
        {POD_HEAD POD_CONTAINER "      livenessProbe: {exec: {command: [a]}}\n", "livenessProbe: is not supported"},
        {POD_HEAD POD_CONTAINER "      resources: {limits: {nvidia.com/gpu: 1}}\n", "limits.nvidia.com/gpu: is not"},
        {POD_HEAD "  containers:\n    - image: i\n      args: [a]\n"
                  "      ports: [{name: default, containerPort: 80}]\n"
                  "      readinessProbe: {httpGet: {path: /, port: default}}\n",
         "args: without a command"},
        {"name: abcdef\nruntime: {image: i, command: [a, $(X)], env: [{name: X, value: y}]}\n", "command: $(X) is not"},
        {"name: abcdef\nruntime: {image: i, env: [{name: X, value: y}, {name: Z, value: $(X)}]}\n", "env: $(X) is not"},
    };
    struct etl_spec s, again;

    (void)state;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        struct buf b = BUF_INIT(ETL_SPEC_MAX);
        good(list[i].text, &s);
        if (list[i].says[0] ? str_find(s.kubernetes, str_z(list[i].says)) == SIZE_MAX : s.kubernetes.n > 0)
            fail_msg("%s: " STR_FMT, list[i].text, STR_ARG(s.kubernetes));
        written_is_read_as_the_same(&s);
        etl_spec_write(&b, &s); /* a record tells as much */
        assert_int_equal(etl_spec_parse(arena_str(&arena, buf_str(&b)), &arena, &again, why), ERR_OK);
        assert_true(str_eq(again.kubernetes, s.kubernetes));
        buf_release(&b);
    }
}

/* A shell's own ${NAME}, and $(command) that is no variable of the spec, are its business. */
static void scripts_are_left_alone(void **state)
{
    struct etl_spec s;

    (void)state;
    good(POD_HEAD "  containers:\n    - image: i\n      ports: [{name: default, containerPort: 80}]\n"
                  "      command: [sh, -c, 'exec serve ${PORT:-80} $(nproc)']\n"
                  "      readinessProbe: {httpGet: {path: /, port: default}, periodSeconds: 1}\n",
         &s);
    EQ(s.command[2], "exec serve ${PORT:-80} $(nproc)");
}

/* ---- values ---- */

static void names(void **state)
{
    static const char *const yes[] = {"abcdef", "a-b-c-d", "123456", "abcdefghijklmnopqrstuvwxyz012345"};
    static const char *const no[] = {"",
                                     "abcde",
                                     "abcdefghijklmnopqrstuvwxyz0123456",
                                     "-bcdef",
                                     "abcde-",
                                     "Abcdef",
                                     "abc_ef",
                                     "abc.ef",
                                     "abc\xc3\xa9"
                                     "f"};

    (void)state;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_true(etl_name_is_valid(str_z(yes[i])));
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_false(etl_name_is_valid(str_z(no[i])));
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        uint32_t ms; /* 0: refused */
    } list[] = {{"45s", 45000},
                {"5m", 300000},
                {"0h30m", 1800000},
                {"1h", 3600000},
                {"100ms", 100},
                {"1.5s", 1500},
                {".5s", 500},
                {"1m30.25s", 90250},
                {"1500us", 2},
                {"2000000ns", 2},
                {"45000000000", 45000},
                {"\"0\"", ETL_OBJECT_TIMEOUT_MS},
                {"0s", ETL_OBJECT_TIMEOUT_MS},
                {"1h30m", 0},
                {"3600001ms", 0},
                {"45", 0},
                {"\"45\"", 0},
                {"999us", 0},
                {"-1s", 0},
                {"1", 0},
                {"s", 0},
                {".s", 0},
                {"1 s", 0},
                {"1s ", 1000}, /* YAML's */
                {"5 minutes", 0},
                {"5m3", 0},
                {"99999999999999999999h", 0},
                {"18446744073709551615h", 0},
                {"18446744073709551615", 0},
                {"1d", 0},
                {"[1s]", 0}};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        struct etl_spec s = {0};
        snprintf(text, sizeof(text), RT "obj_timeout: %s\n", list[i].text);
        enum err e = parse(text, &s);
        if (e != (list[i].ms ? ERR_OK : ERR_INVALID_ARGUMENT) || s.object_timeout_ms != list[i].ms)
            fail_msg("%s: %s, %u ms: %s", list[i].text, err_name(e), s.object_timeout_ms, why);
    }
}

static void quantities(void **state)
{
    static const struct {
        const char *text;
        int64_t cpu, memory; /* -1: refused */
    } list[] = {{"100m", 100, -1},
                {"2", 2000, 2},
                {"0.5", 500, 1},
                {".5", 500, 1},
                {"0.10000000000000001", 100, 1},
                {"0.29999999999999999", 300, 1},
                {"0.0001", 1, 1},
                {"0.5m", 1, -1},
                {"64Mi", -1, 64 << 20},
                {"1.5Gi", -1, 3 << 29},
                {"1G", -1, 1000000000},
                {"1k", -1, 1000},
                {"1K", -1, -1},
                {"1Ki", -1, 1024},
                {"129e6", 129000000000, 129000000},
                {"1e3", 1000000, 1000},
                {"1E", -1, 1000000000000000000},
                {"7.5Ei", -1, INT64_C(15) << 59},
                {"8Ei", -1, -1},
                {"9223372036854775807", -1, INT64_MAX},
                {"9223372036854775808", -1, -1},
                {"4294967", 4294967000, 4294967},
                {"4294968", -1, 4294968},
                {"1e19", -1, -1},
                {"99999999999999999999", -1, -1},
                {"", -1, -1},
                {".", -1, -1},
                {"m", -1, -1},
                {"-1", -1, -1},
                {"1 Gi", -1, -1},
                {"1GB", -1, -1},
                {"0x10", -1, -1}};

    (void)state;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        uint32_t cpu = 0;
        uint64_t memory = 0;
        int64_t want = list[i].cpu > UINT32_MAX ? -1 : list[i].cpu;
        enum err c = etl_cpu_parse(str_z(list[i].text), &cpu), m = etl_memory_parse(str_z(list[i].text), &memory);
        if ((c == ERR_OK ? (int64_t)cpu : -1) != want)
            fail_msg("cpu %s: %s %u", list[i].text, err_name(c), cpu);
        if ((m == ERR_OK ? (int64_t)memory : -1) != list[i].memory)
            fail_msg("memory %s: %s %llu", list[i].text, err_name(m), (unsigned long long)memory);
    }
}

/* ---- bounds ---- */

static void many_variables_and_words_are_bounded(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct buf b = BUF_INIT(ETL_SPEC_MAX);
        struct etl_spec s;
        buf_add_z(&b, "{\"name\":\"abcdef\",\"runtime\":{\"command\":[\"a\"");
        for (int i = 1; i < ETL_COMMAND_MAX; i++)
            buf_add_z(&b, ",\"a\"");
        buf_add_z(&b, "],\"env\":[{\"name\":\"A\",\"value\":\"x\"}");
        for (int i = 1; i < ETL_ENV_MAX + over; i++)
            buf_addf(&b, ",{\"name\":\"A%d\",\"value\":\"x\"}", i);
        buf_add_z(&b, "]}}");
        enum err e = etl_spec_parse(buf_str(&b), &arena, &s, why);
        assert_int_equal(e, over ? ERR_INVALID_ARGUMENT : ERR_OK);
        if (!over) {
            assert_int_equal(s.env_count, ETL_ENV_MAX);
            assert_int_equal(s.command_count, ETL_COMMAND_MAX);
            written_is_read_as_the_same(&s);
        }
        buf_release(&b);
    }
}

/* `n` bytes of a variable's value, each written as `unit`. */
static enum err parse_large(size_t n, const char *unit)
{
    struct buf b = BUF_INIT(ETL_SPEC_MAX + 4096);
    struct etl_spec s;

    buf_add_z(&b, "{\"name\":\"abcdef\",\"runtime\":{\"image\":\"i\",\"env\":[{\"name\":\"A\",\"value\":\"");
    for (size_t i = 0; i < n; i++)
        buf_add_z(&b, unit);
    buf_add_z(&b, "\"}]}}");
    enum err e = etl_spec_parse(buf_str(&b), &arena, &s, why);
    if (e == ERR_OK)
        written_is_read_as_the_same(&s);
    buf_release(&b);
    return e;
}

static void size_is_bounded_also_as_it_is_written(void **state)
{
    (void)state;
    assert_int_equal(parse_large(500 << 10, "x"), ERR_OK);
    assert_int_equal(parse_large(ETL_SPEC_MAX, "x"), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "larger than"));
    assert_int_equal(parse_large(80 << 10, "\\n"), ERR_OK);
    assert_int_equal(parse_large(100 << 10, "\\n"), ERR_INVALID_ARGUMENT); /* \u000a */
    assert_non_null(strstr(why, "written in JSON"));
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    static const char bad[] = "name: abcdef\nruntime: {image: i}\n\0";
    struct etl_spec s;

    (void)state;
    assert_int_equal(etl_spec_parse(str_n(bad, sizeof(bad)), &arena, &s, why), ERR_INVALID_ARGUMENT);
    assert_int_equal(parse("name: ab\xff\xfe", &s), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "not UTF-8"));
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_runtime_spec_is_read_from_yaml),
        TEST(a_runtime_spec_is_read_from_json),
        TEST(what_is_not_said_has_its_default),
        TEST(a_pod_is_read),
        TEST(a_message_goes_before_its_pod),
        TEST(bad_runtime_specs_are_refused_by_name),
        TEST(bad_pods_are_refused_by_name),
        TEST(what_only_kubernetes_does_is_noted),
        TEST(scripts_are_left_alone),
        TEST(names),
        TEST(durations),
        TEST(quantities),
        TEST(many_variables_and_words_are_bounded),
        TEST(size_is_bounded_also_as_it_is_written),
        TEST(bytes_that_are_no_text_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
