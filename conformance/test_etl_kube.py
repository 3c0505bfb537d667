"""ETLs whose sidecars are Pods, with the aistore SDK and raw, by an API server of the tests' own or a real one (kube_cluster.py)."""

import time
import uuid

import pytest
import requests

import cluster as cl
import server as srv
from kube_cluster import IMAGE, NAMESPACE, NODE, Refusal

sdk = pytest.importorskip("aistore.sdk", reason="the aistore SDK is not installed")
pytest.importorskip("yaml", reason="PyYAML is not installed")
from aistore.sdk.errors import AISError  # noqa: E402
from aistore.sdk.etl import ETLConfig  # noqa: E402

pytestmark = pytest.mark.xdist_group("kube")
TEXT = b"Hello, Pods.\n" * 1000
PORT = 28765  # Pods have addresses of their own here, but all of the machine's ports: 8000 may be somebody's


@pytest.fixture(scope="module")
def open_server(new_server, kube):
    with srv.running(new_server(extra=("--auth", "none", *kube.settings()))) as s:
        yield s
    assert kube.client.pods() == []


@pytest.fixture(scope="module")
def nodes(open_server):
    return len(open_server.targets) if isinstance(open_server, cl.ClusterServer) else 1


@pytest.fixture
def bucket(client):
    b = client.bucket("b-" + uuid.uuid4().hex[:10]).create()
    b.object("text").get_writer().put_content(TEXT)
    yield b
    b.delete(missing_ok=True)


@pytest.fixture
def etl(client):
    e = client.etl("kube-" + uuid.uuid4().hex[:6])
    yield e
    try:
        e.delete()
    except AISError:
        pass


def eventually(what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
    return value


def read(bucket, etl, **more):
    return bucket.object("text").get_reader(etl=ETLConfig(etl.name, **more)).read_all()


def put(server, etl, comm="hpush", image=IMAGE, init_timeout="20s", **runtime) -> requests.Response:
    spec = {"name": etl.name, "communication": comm + "://", "init_timeout": init_timeout, "runtime": {"image": image, "port": PORT, **runtime}}
    return requests.put(f"{server.http}/v1/etl", timeout=60, json=spec)


def make(server, etl, comm="hpush", **runtime):
    r = put(server, etl, comm, **runtime)
    assert r.status_code == 200, r.text


def refused(server, etl, status, *says, **more):
    r = put(server, etl, **more)
    assert r.status_code == status and all(s in r.text for s in says), (r.status_code, r.text)
    return r.text


POD = """apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{team: vision, version: 1.2.3}}
  annotations:
    communication_type: "hpush://"
    wait_timeout: 20s
spec:
  securityContext: {{fsGroup: 2000}}
  volumes:
  - name: scratch
    emptyDir: {{}}
  initContainers:
  - name: prepare
    image: sluice-test/tools:1
    command: [sh, -c, {init!r}]
  containers:
  - name: transform
    image: {image}
    command: ["{program}"]
    args: [serve]
    workingDir: /tmp
    ports: [{{name: default, containerPort: 28765}}]
    env:
    - {{name: ME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    - {{name: GREETING, value: hello from $(ME)}}
    readinessProbe: {{httpGet: {{path: /health, port: default}}, periodSeconds: 2}}
    livenessProbe: {{tcpSocket: {{port: 28765}}}}
    resources: {{requests: {{cpu: 100m, memory: 16Mi}}, limits: {{memory: 64Mi}}}}
    volumeMounts: [{{name: scratch, mountPath: /scratch}}]
"""


def pod(kube, etl, init="echo prepared", **more):
    return POD.format(name=etl.name, image=IMAGE, program=kube.program, init=init, **more)


@pytest.mark.parametrize("comm", ["hpush", "hpull"])
def test_an_image_transforms(open_server, kube, nodes, bucket, etl, comm):
    make(open_server, etl, comm)
    assert len(kube.mine(etl.name)) == nodes
    for _ in range(3):
        assert read(bucket, etl) == TEXT.upper()
    etl.delete()
    assert kube.client.pods(labelSelector=f"nvidia.com/ais-etl-name={etl.name}") == []


def test_a_pod_has_no_privileges_and_is_here(open_server, kube, bucket, etl):
    make(open_server, etl)
    p = kube.mine(etl.name)[0]
    labels, spec = p["metadata"]["labels"], p["spec"]
    assert labels["app"] == "ais" and labels["nvidia.com/ais-etl-node"] == NODE and labels["sluice.network"] == "none" and labels["sluice.node"]
    assert labels["app.kubernetes.io/name"] == "etl" and labels["app.kubernetes.io/component"] == "server" and labels["nvidia.com/ais-etl-target"]
    assert spec["nodeName"] == NODE and spec["automountServiceAccountToken"] is False and spec["restartPolicy"] == "Never"
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (main,) = spec["containers"]
    assert main["securityContext"] == {"allowPrivilegeEscalation": False, "privileged": False, "capabilities": {"drop": ["ALL"]}}
    assert [set(v) for v in spec["volumes"]] == [{"name", "emptyDir"}]
    assert main["ports"] == [{"name": "default", "containerPort": PORT, "protocol": "TCP"}] and main["readinessProbe"]["httpGet"]["path"] == "/health"
    env = {e["name"]: e["value"] for e in main["env"]}
    assert env["DIRECT_PUT"] in ("true", "false") and f"/v1/etl/_object/{etl.name}/" in env["AIS_TARGET_URL"]


def test_files_are_sent_as_bytes(open_server, bucket, etl):
    make(open_server, etl, env=[{"name": "ETL_DIRECT_FQN", "value": "true"}])
    assert read(bucket, etl) == TEXT.upper()
    assert not any("etl_fqn=" in (log.logs if isinstance(log.logs, str) else log.logs.decode()) for log in etl.logs())


def test_a_bucket_is_transformed(open_server, client, bucket, etl):
    for k in range(40):
        bucket.object(f"many/{k}").get_writer().put_content(f"object {k}".encode())
    make(open_server, etl)
    to = client.bucket("t-" + uuid.uuid4().hex[:10])
    try:
        client.job(bucket.transform(etl_name=etl.name, to_bck=to)).wait(timeout=60)
        assert {e.name for e in to.list_all_objects()} == {"text"} | {f"many/{k}" for k in range(40)}
        assert to.object("many/7").get_reader().read_all() == b"OBJECT 7"
    finally:
        to.delete(missing_ok=True)


def test_a_pod_is_run_with_what_it_has(kube, open_server, bucket, etl):
    r = requests.put(f"{open_server.http}/v1/etl", data=pod(kube, etl), timeout=60)
    assert r.status_code == 200, r.text
    assert read(bucket, etl) == TEXT.upper()
    p = kube.mine(etl.name)[0]
    main, labels = p["spec"]["containers"][0], p["metadata"]["labels"]
    assert main["name"] == "transform" and main["workingDir"] == "/tmp" and labels["team"] == "vision" and labels["version"] == "1.2.3"
    assert {v["name"] for v in p["spec"]["volumes"]} == {"scratch", "sluice-tmp"} and p["spec"]["securityContext"]["fsGroup"] == 2000
    assert {m["mountPath"] for m in main["volumeMounts"]} == {"/scratch", "/tmp"}
    assert main["readinessProbe"]["periodSeconds"] == 2 and main["livenessProbe"]["tcpSocket"] == {"port": PORT}
    assert main["resources"] == {"requests": {"cpu": "100m", "memory": main["resources"]["requests"]["memory"]}, "limits": main["resources"]["limits"]}
    names = [e["name"] for e in main["env"]]
    assert names.index("ME") < names.index("GREETING") and "valueFrom" in main["env"][names.index("ME")]
    (init,) = p["spec"]["initContainers"]
    assert init["name"] == "prepare" and init["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_an_init_container_that_fails_is_told_of(kube, open_server, etl):
    r = requests.put(f"{open_server.http}/v1/etl", data=pod(kube, etl, init="echo no such model >&2; exit 3"), timeout=60)
    assert r.status_code != 200 and "init container prepare: exit status 3" in r.text and "no such model" in r.text, r.text
    assert kube.mine(etl.name) == []


@pytest.mark.parametrize("what,says", [
    ("spec: {hostPID: true, ", "spec.hostPID: is not supported"),
    ("spec: {serviceAccountName: admin, ", "spec.serviceAccountName: is not supported"),
    ("spec: {volumes: [{name: a, hostPath: {path: /}}], ", "spec.volumes[0].hostPath: is not supported"),
    ("spec: {volumes: [{name: a, projected: {sources: [{serviceAccountToken: {path: t}}]}}], ", "serviceAccountToken: is not supported"),
])
def test_a_pod_that_wants_too_much_is_refused(open_server, etl, what, says):
    text = f"kind: Pod\nmetadata: {{name: {etl.name}}}\n{what} containers: [{{image: i, ports: [{{name: default, containerPort: 80}}]," \
           "readinessProbe: {httpGet: {path: /, port: default}}}]}\n"
    r = requests.put(f"{open_server.http}/v1/etl", data=text, timeout=60)
    assert r.status_code == 501 and says in r.text, r.text


def test_what_the_api_server_refuses_is_told(kube, open_server, etl):
    wrong = pod(kube, etl).replace("name: scratch, mountPath", "name: missing, mountPath")
    r = requests.put(f"{open_server.http}/v1/etl", data=wrong, timeout=60)
    assert r.status_code != 200 and "volumeMounts[0].name: Not found" in r.text, r.text


def test_standard_input_is_not_served(open_server, etl):
    refused(open_server, etl, 501, "io:// is not supported where sidecars are Pods", comm="io", command=["cat"])


def test_an_image_that_is_not_there_is_told_of(kube, open_server, etl):
    begun = time.monotonic()
    refused(open_server, etl, 400, "ImagePullBackOff", "no-such/image:1", "not found", image="no-such/image:1")
    assert time.monotonic() - begun < 10  # not after init_timeout
    assert kube.mine(etl.name) == []


def test_one_that_fits_nowhere_is_told_of(open_server, etl):
    refused(open_server, etl, 400, "was not ready within 2 s", "Unschedulable", "Insufficient memory", image="unschedulable/x:1", init_timeout="2s")


def test_a_command_that_can_not_be_run_is_told_of(open_server, etl):
    refused(open_server, etl, 400, "StartError", "/no/such/program", command=["/no/such/program"])


def test_one_that_ends_is_told_of_with_its_log(kube, open_server, etl):
    refused(open_server, etl, 400, "exit status 7", "went wrong", command=["sh", "-c", "echo this went wrong >&2; exit 7"])


def test_an_image_of_root_runs_as_nobody(kube, nodes, open_server, bucket, etl):
    for _ in range(2):
        r = put(open_server, etl, image="sluice-test/rooted:1")
        assert r.status_code == 200, r.text
        assert read(bucket, etl) == TEXT.upper()
        pods = kube.mine(etl.name)
        assert len(pods) == nodes and all(p["spec"]["securityContext"]["runAsUser"] == 65534 for p in pods)
        assert {"name": "HOME", "value": "/tmp"} in pods[0]["spec"]["containers"][0]["env"]
        etl.delete()


def test_one_that_crashes_is_started_again(kube, nodes, open_server, bucket, etl):
    make(open_server, etl)
    before = {p["metadata"]["name"] for p in kube.mine(etl.name)}
    for name in before:
        kube.kubelet.starve[name] = True
        kube.kubelet.runner(name).kill(9)
    eventually(lambda: len({p["metadata"]["name"] for p in kube.mine(etl.name)} - before) == nodes)

    def again():
        try:
            return read(bucket, etl) == TEXT.upper()
        except AISError:
            return False

    eventually(again)
    assert not before & {p["metadata"]["name"] for p in kube.client.pods()}
    assert "OOMKilled" in requests.get(f"{open_server.http}/v1/etl/{etl.name}/health", timeout=30).text or nodes > 1


def test_a_pod_that_somebody_removes_is_made_again(open_server, kube, nodes, bucket, etl):
    make(open_server, etl)
    before = {p["metadata"]["name"] for p in kube.mine(etl.name)}
    for name in before:
        kube.client.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}?gracePeriodSeconds=0")
    eventually(lambda: len({p["metadata"]["name"] for p in kube.mine(etl.name)} - before) == nodes)


def test_its_log_is_told(open_server, bucket, etl):
    make(open_server, etl)
    read(bucket, etl)
    logs = [log.logs if isinstance(log.logs, str) else log.logs.decode() for log in etl.logs()]
    assert any("serving" in log for log in logs) and any("PUT /" in log for log in logs), logs


def test_one_that_is_stopped_has_no_pod(open_server, kube, nodes, bucket, etl):
    make(open_server, etl)
    etl.stop()
    eventually(lambda: kube.mine(etl.name) == [])
    etl.start()
    eventually(lambda: len(kube.mine(etl.name)) == nodes)
    assert read(bucket, etl) == TEXT.upper()


def test_watches_that_break_off_begin_anew(open_server, kube, nodes, bucket, etl):
    if kube.real:
        pytest.skip("a real one forgets when it likes")
    make(open_server, etl)
    before, asked = {p["metadata"]["name"] for p in kube.mine(etl.name)}, len(kube.api.asked)
    kube.api.forget()
    eventually(lambda: any("limit=" in a for a in kube.api.asked[asked:]))
    eventually(lambda: any("watch=true" in a for a in kube.api.asked[asked:]))
    for name in before:
        kube.kubelet.runner(name).kill(9)
    eventually(lambda: len({p["metadata"]["name"] for p in kube.mine(etl.name)} - before) == nodes)


def test_what_it_uses_is_told(kube, open_server, etl):
    if kube.real:
        pytest.skip("no metrics server")
    kube.api.metrics = {None: {"cpu": "250000000n", "memory": "12345Ki"}}
    try:
        make(open_server, etl)
        eventually(lambda: any(n["mem"] > 0 for n in requests.get(f"{open_server.http}/v1/etl/{etl.name}/metrics", timeout=60).json()), 90)
    finally:
        kube.api.metrics = None


def test_a_quota_is_told_of(kube, open_server, etl):
    if kube.real:
        pytest.skip("quotas take a controller")
    kube.api.deny[("create", "")] = Refusal(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2')
    try:
        text = refused(open_server, etl, 400, "exceeded quota: q")
        assert "Role" not in text
    finally:
        kube.api.deny.clear()


def settings_of(kube, **replace):
    words = list(kube.settings())
    for k, v in replace.items():
        words[words.index("--etl-kube-" + k.replace("_", "-")) + 1] = v
    return words


@pytest.mark.parametrize("replace,says", [
    ({"token_file": "weak"}, r'lacks the rule "list pods".*cannot list resource "pods"'),
    ({"token_file": "wrong"}, r"does not accept the token in .*wrong \(401\)"),
    ({"token_file": "/nowhere/token"}, r"can't read /nowhere/token: No such file"),
    ({"ca_file": "own"}, r"can't be trusted"),
    ({"server": "https://127.0.0.1:1"}, r"can't be reached \(Connection refused\)"),
    ({"server": "http://127.0.0.1:1"}, r"must be as https://HOST:PORT"),
    ({"address": "192.0.2.7"}, None),
])
def test_a_server_that_can_not_use_it_says_so(kube, tmp_path, replace, says):
    (tmp_path / "wrong").write_text("nobody")
    if replace.get("ca_file"):
        replace = {"ca_file": str(srv.make_certificate(tmp_path)[0])}
    elif replace.get("token_file") == "weak":
        replace = {"token_file": str(kube.tokens / "weak")}
    elif replace.get("token_file") == "wrong":
        replace = {"token_file": str(tmp_path / "wrong")}
    server = srv.Server(tls=False, extra=("--auth", "none", *settings_of(kube, **replace)))
    try:
        if says:
            with pytest.raises(RuntimeError, match=says):
                server.start()
        else:
            with srv.running(server):
                etl = sdk.Client(server.http, timeout=60).etl("kube-" + uuid.uuid4().hex[:6])
                refused(server, etl, 400, "etl.kube_address must be an address of its own")
    finally:
        server.clean()


def test_pods_of_a_server_that_was_killed_are_removed(kube):
    server = srv.Server(tls=False, extra=("--auth", "none", *kube.settings()))
    with srv.running(server):
        etl = sdk.Client(server.http, timeout=60).etl("killed-" + uuid.uuid4().hex[:6])
        make(server, etl)
        before = {p["metadata"]["name"] for p in kube.mine(etl.name)}
        server.kill()
        assert before <= {p["metadata"]["name"] for p in kube.client.pods()}
        server.start()
        assert not before & {p["metadata"]["name"] for p in kube.client.pods()}
        eventually(lambda: len(kube.mine(etl.name)) == 1)  # it was not stopped: so it runs again
        etl.delete()
        assert kube.mine(etl.name) == []


def test_a_token_that_changes_is_read_again(kube, tmp_path):
    token = tmp_path / "token"
    token.write_text((kube.tokens / "sluice").read_text())
    server = srv.Server(tls=False, extra=("--auth", "none", *settings_of(kube, token_file=str(token))))
    with srv.running(server):
        etl = sdk.Client(server.http, timeout=60).etl("token-" + uuid.uuid4().hex[:6])
        token.write_text((kube.tokens / "weak").read_text())
        refused(server, etl, 400, 'lacks the rule \\"create pods\\"')
        token.write_text((kube.tokens / "sluice").read_text())
        make(server, etl)
        etl.delete()


def test_processes_refuse_what_only_kubernetes_does(kube, etl):
    server = srv.Server(tls=False, extra=("--auth", "none"))
    with srv.running(server):
        r = requests.put(f"{server.http}/v1/etl", data=pod(kube, etl), timeout=60)
        assert r.status_code == 501 and "spec.securityContext: is not supported (but where etl.runtime is kubernetes)" in r.text, r.text
