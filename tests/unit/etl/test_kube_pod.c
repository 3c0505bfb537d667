/* What the Pods of sidecars are made of, and what their status means. */
#include "unit.h"

#include <stdio.h>

#include "base/json.h"
#include "etl/spec_own.h"
#include "etl/kube_own.h"

static struct arena arena;
static char why[ETL_WHY_MAX];

static int set_up(void **state)
{
    (void)state;
    arena = (struct arena)ARENA_INIT;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* ---- status ---- */

static void judged(const char *status, struct kube_state *s)
{
    struct str text = arena_printf(&arena, "{\"status\":%s}", status);
    struct doc *d;
    char reason[DOC_WHY_MAX] = "";

    if (js_read(&arena, text, &d, reason) != ERR_OK)
        fail_msg("%s: %s", status, reason);
    kube_judge(d, "main", s);
}

#define MAIN(state) "\"containerStatuses\":[{\"name\":\"other\"},{\"name\":\"main\",\"state\":" state "}]"
#define INIT(state)                                                                                                    \
    "\"initContainerStatuses\":[{\"name\":\"first\",\"state\":{\"terminated\":{\"exitCode\":0}}},{\"name\":\"load\","  \
    "\"state\":" state "}]"
#define WAITS(reason, msg) "{\"waiting\":{\"reason\":\"" reason "\",\"message\":\"" msg "\"}}"
#define ENDED(code, reason, msg)                                                                                       \
    "{\"terminated\":{\"exitCode\":" code ",\"reason\":\"" reason "\",\"message\":\"" msg "\"}}"

static void a_status_is_understood(void **state)
{
    static const struct {
        const char *status;
        bool ended;
        const char *says; /* all of it */
        const char *log;
    } list[] = {
        {"{}", false, "its Pod is new", "main"},
        {"{\"phase\":\"Pending\"}", false, "its Pod is Pending", "main"},
        {"{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":"
         "\"Unschedulable\",\"message\":\"0/3 nodes are available\"}]}",
         false, "Unschedulable: 0/3 nodes are available", "main"},
        {"{\"phase\":\"Pending\"," MAIN("{\"waiting\":{\"reason\":\"ContainerCreating\"}}") "}", false,
         "ContainerCreating", "main"},
        {"{\"phase\":\"Pending\"," MAIN(WAITS("ErrImagePull", "not found")) "}", false, "ErrImagePull: not found",
         "main"},
        {"{\"phase\":\"Pending\"," MAIN(WAITS("ImagePullBackOff", "Back-off pulling image x")) "}", true,
         "ImagePullBackOff: Back-off pulling image x", "main"},
        {"{\"phase\":\"Pending\"," MAIN(WAITS("InvalidImageName", "bad")) "}", true, "InvalidImageName: bad", "main"},
        {"{\"phase\":\"Pending\"," MAIN(WAITS("CreateContainerConfigError", "secret \\\"s\\\" not found")) "}", true,
         "CreateContainerConfigError: secret \"s\" not found", "main"},
        {"{\"phase\":\"Running\"," MAIN(WAITS("CrashLoopBackOff", "back-off 10s")) "}", true,
         "CrashLoopBackOff: back-off 10s", "main"},
        {"{\"phase\":\"Running\"," MAIN("{\"running\":{}}") "}", false, "", "main"},
        {"{\"phase\":\"Running\"," MAIN(ENDED("0", "Completed", "")) "}", true, "exit status 0", "main"},
        {"{\"phase\":\"Failed\"," MAIN(ENDED("3", "Error", "last words")) "}", true, "exit status 3", "main"},
        {"{\"phase\":\"Failed\"," MAIN(ENDED("143", "Error", "")) "}", true, "killed by signal 15", "main"},
        {"{\"phase\":\"Failed\"," MAIN(ENDED("137", "OOMKilled", "")) "}", true,
         "OOMKilled: it needed more memory than its limit", "main"},
        {"{\"phase\":\"Failed\"," MAIN(ENDED("128", "StartError", "exec: no such\\nfile")) "}", true,
         "exit status 128, StartError: exec: no such file", "main"},
        {"{\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"The node was low on resource: memory\"}", true,
         "Evicted: The node was low on resource: memory", "main"},
        {"{\"phase\":\"Failed\"}", true, "its Pod has failed; Kubernetes does not tell why", "main"},
        {"{\"phase\":\"Pending\"," INIT("{\"running\":{}}") "," MAIN(WAITS("PodInitializing", "")) "}", false,
         "init container load: it runs", "load"},
        {"{\"phase\":\"Pending\"," INIT(WAITS("ImagePullBackOff", "x")) "}", true,
         "init container load: ImagePullBackOff: x", "load"},
        {"{\"phase\":\"Failed\"," INIT(ENDED("7", "Error", "no model")) "," MAIN(WAITS("PodInitializing", "")) "}",
         true, "init container load: exit status 7", "load"},
        {"{\"phase\":\"Failed\"," INIT(ENDED("137", "OOMKilled", "")) "}", true,
         "init container load: OOMKilled: it needed more memory than its limit", "load"},
        {"{\"phase\":\"Pending\"," INIT(ENDED("0", "Completed", "")) "," MAIN(WAITS("PodInitializing", "")) "}", false,
         "PodInitializing", "main"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        struct kube_state s = {.ended = false};
        judged(list[i].status, &s);
        if (s.ended != list[i].ended || strcmp(s.why, list[i].says) || strcmp(s.log, list[i].log))
            fail_msg("%s: %d '%s' %s", list[i].status, s.ended, s.why, s.log);
        assert_false(s.wants_root);
    }
}

static void a_pull_that_failed_is_remembered(void **state)
{
    struct kube_state s = {.ended = false};

    (void)state;
    judged("{\"phase\":\"Pending\"," MAIN(WAITS("ErrImagePull", "401 Unauthorized")) "}", &s);
    assert_false(s.ended);
    judged("{\"phase\":\"Pending\"," MAIN(WAITS("ImagePullBackOff", "Back-off pulling image")) "}", &s);
    assert_true(s.ended);
    assert_string_equal(s.why, "ImagePullBackOff, after ErrImagePull: 401 Unauthorized");
}

static void who_would_be_root_is_noticed(void **state)
{
    struct kube_state s = {.ended = false};

    (void)state;
    judged("{" MAIN(WAITS("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")) "}",
           &s);
    assert_true(s.wants_root);
    judged("{\"podIP\":\"10.0.0.7\"," MAIN("{\"running\":{}}") "}", &s);
    assert_false(s.wants_root);
    assert_string_equal(s.address, "10.0.0.7");
}

/* ---- manifests ---- */

static struct kube_runtime runtime = {
    .node = {"node-1", 6}, .target = {"t[1]", 4}, .mark = "0123456789abcdef", .user = 65534};

static const struct doc *written(const char *spec_text, bool as_user)
{
    struct kube_instance i = {.runtime = &runtime, .id = STR("abcdef-1"), .url = STR("http://10.0.0.1:7/v1/x")};
    struct etl_env more = {STR("DIRECT_PUT"), STR("false")};
    struct buf b = BUF_INIT(KUBE_POD_MAX);
    struct doc *d;
    char reason[DOC_WHY_MAX] = "";

    if (etl_spec_parse(str_z(spec_text), &arena, &i.spec, why) != ERR_OK)
        fail_msg("%s: %s", spec_text, why);
    if (i.spec.pod.n)
        assert_int_equal(spec_read_tree(&arena, i.spec.pod, &i.pod, reason), ERR_OK);
    snprintf(i.container, sizeof(i.container), "main");
    i.more = &more;
    i.more_count = 1;
    assert_int_equal(kube_write(&i, "abcdef-1-00", as_user, &b, why), ERR_OK);
    if (js_read(&arena, buf_str(&b), &d, reason) != ERR_OK)
        fail_msg("%s: " STR_FMT, reason, STR_ARG(buf_str(&b)));
    buf_release(&b);
    return d;
}

/* The n-th of a list. */
static const struct doc *nth(const struct doc *d, const char *path, unsigned n)
{
    d = rest_at(d, path);
    assert_non_null(d);
    for (d = d->first; d && n; n--)
        d = d->next;
    return d;
}

static struct str env_of(const struct doc *container, const char *name)
{
    unsigned times = 0;
    struct str value = STR_NONE;

    for (const struct doc *d = rest_at(container, "env")->first; d; d = d->next)
        if (str_eq(rest_text(d, "name"), str_z(name))) {
            value = rest_text(d, "value");
            times++;
        }
    assert_true(times <= 1); /* of two Kubernetes would take the last */
    return value;
}

#define EQ(d, path, text) assert_true(str_eq(rest_text((d), (path)), STR(text)))

static void a_runtime_spec_becomes_a_pod(void **state)
{
    const struct doc *p, *main;

    (void)state;
    p = written(
        "name: abcdef\nruntime: {image: i, command: [run, it], env: [{name: DIRECT_PUT, value: mine}, {name: A, "
        "value: b}], network: host, port: 81, health: /up}\nresources: {limits: {memory: 1Gi, cpu: 500m}}\n",
        false);
    EQ(p, "kind", "Pod");
    EQ(p, "metadata.name", "abcdef-1-00");
    EQ(rest_at(p, "metadata.labels"), "app", "ais");
    assert_true(str_eq(doc_get(rest_at(p, "metadata.labels"), STR("sluice.node"))->text, STR("0123456789abcdef")));
    assert_true(str_eq(doc_get(rest_at(p, "metadata.labels"), STR("sluice.network"))->text, STR("host")));
    assert_true(str_eq(doc_get(rest_at(p, "metadata.labels"), STR("nvidia.com/ais-etl-target"))->text, STR("t-1")));
    EQ(p, "spec.restartPolicy", "Never");
    EQ(p, "spec.automountServiceAccountToken", "false");
    EQ(p, "spec.securityContext.runAsNonRoot", "true");
    assert_null(rest_at(p, "spec.securityContext.runAsUser"));
    main = nth(p, "spec.containers", 0);
    EQ(main, "image", "i");
    EQ(main, "securityContext.allowPrivilegeEscalation", "false");
    EQ(nth(main, "securityContext.capabilities.drop", 0), "", "ALL");
    EQ(main, "readinessProbe.httpGet.path", "/up");
    EQ(main, "resources.limits.memory", "1073741824");
    EQ(main, "resources.limits.cpu", "500m");
    EQ(nth(main, "ports", 0), "containerPort", "81");
    assert_true(str_eq(env_of(main, "DIRECT_PUT"), STR("mine"))); /* what the spec says wins */
    assert_true(str_eq(env_of(main, "AIS_TARGET_URL"), STR("http://10.0.0.1:7/v1/x")));
    assert_true(str_eq(env_of(main, "PORT"), STR("81")) && str_eq(env_of(main, "A"), STR("b")));
    assert_null(env_of(main, "HOME").p);
    EQ(nth(p, "spec.volumes", 0), "name", "sluice-tmp");
}

static void who_has_no_user_becomes_nobody(void **state)
{
    const struct doc *p;

    (void)state;
    p = written("name: abcdef\nruntime: {image: i}\n", true);
    EQ(p, "spec.securityContext.runAsUser", "65534");
    EQ(p, "spec.securityContext.runAsGroup", "65534");
    assert_true(str_eq(env_of(nth(p, "spec.containers", 0), "HOME"), STR("/tmp")));
}

static void limits_that_nobody_gave_are_ours(void **state)
{
    const struct doc *p;

    (void)state;
    runtime.memory_max = 1 << 20;
    p = written("name: abcdef\nruntime: {image: i}\n", false);
    EQ(nth(p, "spec.containers", 0), "resources.limits.memory", "1048576");
    p = written("name: abcdef\nruntime: {image: i}\nresources: {requests: {memory: 2Mi}}\n", false);
    EQ(nth(p, "spec.containers", 0), "resources.limits.memory", "2097152");
    runtime.memory_max = 0;
}

#define POD                                                                                                            \
    "kind: Pod\nmetadata:\n  name: abcdef\n  labels: {team: a, version: 1.2.3, app: mine, sluice.node: x}\n"           \
    "spec:\n  nodeSelector: {disk: fast}\n  tolerations: [{key: k, operator: Exists}]\n"                               \
    "  imagePullSecrets: [{name: s}]\n  securityContext: {fsGroup: 7, runAsUser: 8}\n  hostNetwork: true\n"            \
    "  volumes: [{name: v, emptyDir: {}}]\n"                                                                           \
    "  initContainers: [{name: init, image: j, env: [{name: B, value: c}], securityContext: {privileged: false}}]\n"   \
    "  containers:\n    - name: main\n      image: i\n      imagePullPolicy: Never\n      args: [x]\n"                 \
    "      ports: [{name: default, containerPort: 80}]\n      workingDir: /w\n"                                        \
    "      env: [{name: A, value: a}, {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]\n"                \
    "      envFrom: [{secretRef: {name: s}}]\n      volumeMounts: [{name: v, mountPath: /tmp}]\n"                      \
    "      resources: {limits: {nvidia.com/gpu: 1, cpu: 1}}\n"                                                         \
    "      securityContext: {readOnlyRootFilesystem: true, runAsGroup: 9}\n"                                           \
    "      readinessProbe: {httpGet: {path: /, port: default}, periodSeconds: 3}\n"

static void a_pod_keeps_what_it_has(void **state)
{
    const struct doc *p, *main, *init, *labels;

    (void)state;
    runtime.tolerations = STR("[{\"key\":\"ours\"}]");
    p = written(POD, true);
    runtime.tolerations = STR_NONE;
    labels = rest_at(p, "metadata.labels");
    EQ(labels, "team", "a");
    EQ(labels, "version", "1.2.3");
    EQ(labels, "app", "ais"); /* ours are ours */
    assert_true(str_eq(doc_get(labels, STR("sluice.node"))->text, STR("0123456789abcdef")));
    EQ(p, "spec.nodeSelector.disk", "fast");
    EQ(nth(p, "spec.tolerations", 0), "key", "ours");
    EQ(nth(p, "spec.tolerations", 1), "key", "k");
    EQ(nth(p, "spec.imagePullSecrets", 0), "name", "s");
    EQ(p, "spec.securityContext.fsGroup", "7");
    EQ(p, "spec.securityContext.runAsUser", "8");
    assert_null(rest_at(p, "spec.hostNetwork")); /* it has a network of its own from which it reaches others */
    EQ(nth(p, "spec.volumes", 0), "name", "v");
    main = nth(p, "spec.containers", 0);
    EQ(main, "imagePullPolicy", "Never");
    EQ(nth(main, "args", 0), "", "x");
    assert_null(rest_at(main, "command"));
    EQ(main, "workingDir", "/w");
    assert_non_null(rest_at(nth(main, "envFrom", 0), "secretRef"));
    EQ(nth(main, "volumeMounts", 0), "mountPath", "/tmp");
    assert_null(nth(main, "volumeMounts", 1)); /* it has a /tmp */
    assert_true(str_eq(doc_get(rest_at(main, "resources.limits"), STR("nvidia.com/gpu"))->text, STR("1")));
    EQ(main, "securityContext.readOnlyRootFilesystem", "true");
    EQ(main, "securityContext.runAsGroup", "9");
    EQ(main, "readinessProbe.periodSeconds", "3");
    assert_true(str_eq(env_of(main, "A"), STR("a")));
    init = nth(p, "spec.initContainers", 0);
    EQ(init, "image", "j");
    EQ(nth(init, "securityContext.capabilities.drop", 0), "", "ALL");
    assert_true(str_eq(env_of(init, "B"), STR("c")));
    assert_null(env_of(init, "A").p); /* that is the other's */
}

/* ---- names ---- */

static void servers_are_read(void **state)
{
    static const char *const bad[] = {"",
                                      "http://h",
                                      "https://",
                                      "https://h:0",
                                      "https://h:99999",
                                      "https://h:1/path",
                                      "https://[::1]x",
                                      "https://a b",
                                      "https://u@h",
                                      "https://[::1",
                                      "https://::1"};
    struct kube_api api;

    (void)state;
    assert_int_equal(kube_server(&arena, STR("https://kubernetes.default.svc"), &api, why), ERR_OK);
    assert_true(strcmp(api.host, "kubernetes.default.svc") == 0 && api.port == 443);
    assert_int_equal(kube_server(&arena, STR("https://[fd00::1]:6443/"), &api, why), ERR_OK);
    assert_true(strcmp(api.host, "fd00::1") == 0 && api.port == 6443);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (kube_server(&arena, str_z(bad[i]), &api, why) == ERR_OK)
            fail_msg("%s", bad[i]);
}

static void labels_hold_what_they_may(void **state)
{
    static const char *const pairs[][2] = {
        {"node-1", "node-1"}, {"a b/c", "a-b-c"}, {"--a--", "a"}, {"", ""}, {"[::1]", "1"}};
    char value[KUBE_NAME_MAX + 1], big[200];

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        kube_label_value(str_z(pairs[i][0]), value);
        assert_string_equal(value, pairs[i][1]);
    }
    memset(big, 'x', sizeof(big));
    kube_label_value(str_n(big, sizeof(big)), value);
    assert_int_equal(strlen(value), KUBE_NAME_MAX);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_status_is_understood),         TEST(a_pull_that_failed_is_remembered),
        TEST(who_would_be_root_is_noticed),   TEST(a_runtime_spec_becomes_a_pod),
        TEST(who_has_no_user_becomes_nobody), TEST(limits_that_nobody_gave_are_ours),
        TEST(a_pod_keeps_what_it_has),        TEST(servers_are_read),
        TEST(labels_hold_what_they_may),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
