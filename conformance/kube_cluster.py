"""Kubernetes for tests: an API server that says what kube-apiserver 1.36 says, and a node without containers: its "kubelet" binds Pods to it and runs their
commands as processes of this machine, each with an address of its own in 127.0.0.0/8. SLUICE_TEST_KUBE names a real kube-apiserver to use instead, `https://HOST:PORT`, with the files
SLUICE_TEST_KUBE_CA and SLUICE_TEST_KUBE_ADMIN (a token of system:masters), and SLUICE_TEST_KUBE_TOKENS, a directory with the files `sluice` and `weak`, the
tokens of the users system:serviceaccount:etl:sluice and ...:weak. By hand: `python3 kube_cluster.py` runs one until it is interrupted."""

import contextlib
import copy
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid
from pathlib import Path

import pytest

SIDECAR = Path(__file__).resolve().parent.parent / "tests" / "unit" / "etl" / "docker_sidecar.c"
MANIFEST = Path(__file__).resolve().parent.parent / "docker" / "kubernetes.yml"
NAMESPACE, NODE, IMAGE = "etl", "node-1", "sluice-test/sidecar:1"
ADMIN, SLUICE, WEAK = "admintoken", "sluicetoken", "weaktoken"
USERS = {ADMIN: "admin", SLUICE: f"system:serviceaccount:{NAMESPACE}:sluice", WEAK: f"system:serviceaccount:{NAMESPACE}:weak"}


def rules_of_manifest() -> list:
    """What docker/kubernetes.yml gives a server: so that is enough."""
    import yaml

    role = next(d for d in yaml.safe_load_all(MANIFEST.read_text()) if d["kind"] == "Role")
    return [(g, r, set(rule["verbs"])) for rule in role["rules"] for g in rule["apiGroups"] for r in rule["resources"]]


class Client:
    """What both the tests and the kubelet ask an API server with."""

    def __init__(self, url: str, ca: str, token: str):
        self.at = urllib.parse.urlsplit(url)
        self.tls = ssl.create_default_context(cafile=ca)
        self.token = token

    def ask(self, method, path, body=None, type="application/json", timeout=30.0):
        connection = http.client.HTTPSConnection(self.at.hostname, self.at.port, timeout=timeout, context=self.tls)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": type}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if "json" in response.headers.get("Content-Type", "") else text
        finally:
            connection.close()

    def pods(self, **query) -> list[dict]:
        status, found = self.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/pods?{urllib.parse.urlencode(query)}")
        assert status == 200, found
        return found["items"]


# ---- the node ----


class Runner:
    """One Pod at the node."""

    def __init__(self, kubelet, pod):
        self.kubelet, self.client = kubelet, kubelet.client
        self.name, self.uid, self.pod = pod["metadata"]["name"], pod["metadata"]["uid"], pod
        self.path = f"/api/v1/namespaces/{NAMESPACE}/pods/{self.name}"
        self.process, self.ended, self.stopping = None, False, False
        self.inits: list[dict] = []
        kubelet.count += 1
        self.ip = f"127.77.{kubelet.count // 250 % 250}.{kubelet.count % 250 + 1}"
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def log_path(self, container) -> Path:
        return self.kubelet.home / f"{self.name}.{container}.log"

    def status(self, **status):
        self.client.ask("PATCH", self.path + "/status", {"status": status}, "application/merge-patch+json")

    def waiting(self, container, reason, message=None):
        return {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0, "started": False,
                "state": {"waiting": {"reason": reason, **({"message": message} if message else {})}}}

    def ended_as(self, container, code, reason, message=None):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        state = {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now, **({"message": message} if message else {})}
        return {"name": container["name"], "image": container["image"], "imageID": "x", "ready": False, "restartCount": 0, "started": False,
                "state": {"terminated": state}}

    def run(self):
        spec = self.pod["spec"]
        if not spec.get("nodeName"):
            if not self.bind(spec):
                return
        main = spec["containers"][0]
        for init in spec.get("initContainers", []):
            if not self.run_init(init, main):
                return
        if not self.refuse(main):
            self.run_main(main)

    def bind(self, spec) -> bool:
        terms = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
        here = all(f["values"] == [NODE] for t in terms for f in t.get("matchFields", []))
        if not here or "unschedulable" in spec["containers"][0]["image"]:
            self.status(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                     "message": "0/1 nodes are available: 1 Insufficient memory. preemption: not eligible"}])
            return False
        target = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": self.name}, "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}}
        return self.client.ask("POST", self.path + "/binding", target)[0] == 201

    def user(self, container):
        both = {**self.pod["spec"].get("securityContext", {}), **container.get("securityContext", {})}
        return both.get("runAsUser"), both.get("runAsNonRoot")

    def refuse(self, container) -> bool:
        """What a kubelet says of images that it can't have, or must not run."""
        image, (uid, non_root) = container["image"], self.user(container)
        if image.startswith("no-such/"):
            tried = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": not found'
            self.status(phase="Pending", containerStatuses=[self.waiting(container, "ErrImagePull", tried)])
            time.sleep(0.2)
            self.status(containerStatuses=[self.waiting(container, "ImagePullBackOff", f'Back-off pulling image "{image}"')])
        elif "rooted" in image and non_root and uid is None:
            told = f"container has runAsNonRoot and image will run as root (pod: \"{self.name}_{NAMESPACE}({self.uid})\", container: {container['name']})"
            self.status(phase="Pending", containerStatuses=[self.waiting(container, "CreateContainerConfigError", told)])
        else:
            return False
        return True

    def environment(self, container) -> dict:
        out: dict[str, str] = {}
        for e in container.get("env", []):
            if "valueFrom" in e:
                out[e["name"]] = {"status.podIP": self.ip, "metadata.name": self.name}[e["valueFrom"]["fieldRef"]["fieldPath"]]
            else:
                out[e["name"]] = re.sub(r"\$\(([A-Za-z_.-][\w.-]*)\)", lambda m: out.get(m[1], m[0]), e.get("value", ""))
        return out

    def spawn(self, container):
        command = container.get("command") or self.kubelet.images[container["image"]]
        env = self.environment(container)
        command = [re.sub(r"\$\(([A-Za-z_.-][\w.-]*)\)", lambda m: env.get(m[1], m[0]), w) for w in command + container.get("args", [])]
        uid = self.user(container)[0]
        who = dict(user=uid, group=uid, extra_groups=[]) if uid and os.geteuid() == 0 else {}
        with open(self.log_path(container["name"]), "ab") as log:
            return subprocess.Popen(command, env={"PATH": os.environ["PATH"], "POD_IP": self.ip, **env}, stdout=log, stderr=log, cwd="/", start_new_session=True, **who)

    def run_init(self, init, main) -> bool:
        try:
            self.process = self.spawn(init)
        except OSError as e:
            self.status(phase="Failed", initContainerStatuses=[self.ended_as(init, 128, "StartError", str(e))])
            return False
        code = self.process.wait()
        end = self.ended_as(init, code, "Completed" if code == 0 else "Error", self.log_path(init["name"]).read_text()[-2048:] if code else None)
        self.inits.append(end)
        self.status(phase="Pending" if code == 0 else "Failed", initContainerStatuses=self.inits, containerStatuses=[self.waiting(main, "PodInitializing")])
        return code == 0

    def run_main(self, main):
        try:
            self.process = self.spawn(main)
        except OSError as e:
            told = f'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: {e.strerror}: "{e.filename}"'
            self.status(phase="Failed", containerStatuses=[self.ended_as(main, 128, "StartError", told)])
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.status(phase="Running", podIP=self.ip, podIPs=[{"ip": self.ip}], hostIP="127.0.0.1", startTime=now, containerStatuses=[
            {"name": main["name"], "image": main["image"], "imageID": "x", "ready": True, "started": True, "restartCount": 0,
             "state": {"running": {"startedAt": now}}}])
        code = self.process.wait()
        code = 128 - code if code < 0 else code
        self.ended = True
        if not self.stopping:
            starved = self.kubelet.starve.pop(self.name, False)
            reason = "OOMKilled" if starved else "Completed" if code == 0 else "Error"
            self.status(phase="Succeeded" if code == 0 else "Failed", containerStatuses=[self.ended_as(main, code, reason)])

    def stop(self, grace: float):
        """SIGTERM, and after the grace period SIGKILL; then the node says that it is gone."""
        if self.stopping:
            return
        self.stopping = True
        threading.Thread(target=self._stop, args=(grace,), daemon=True).start()

    def _stop(self, grace):
        self.kill(signal.SIGTERM)
        if self.process:
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill(signal.SIGKILL)
                self.process.wait()
        self.client.ask("DELETE", self.path, {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}})

    def kill(self, sig):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, sig)


class Kubelet:
    """Scheduler and kubelet of one node, as a client of an API server."""

    def __init__(self, client: Client, home: Path, images: dict[str, list[str]]):
        self.client, self.home, self.images = client, home, images
        self.runners: dict[str, Runner] = {}
        self.starve: dict[str, bool] = {}
        self.count = 0
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.closing.wait(0.05):
            try:
                pods = {p["metadata"]["uid"]: p for p in self.client.pods()}
            except (OSError, AssertionError, http.client.HTTPException):
                continue
            for uid, pod in pods.items():
                runner = self.runners.get(uid)
                if not runner:
                    self.runners[uid] = Runner(self, pod)
                elif pod["metadata"].get("deletionTimestamp"):
                    runner.stop(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            for uid in set(self.runners) - set(pods):
                self.runners.pop(uid).kill(signal.SIGKILL)

    def runner(self, name) -> Runner:
        return next(r for r in self.runners.values() if r.name == name)

    def log(self, name, container, lines=None) -> bytes | None:
        """What is asked of a kubelet's port; None: it has not begun."""
        path = self.home / f"{name}.{container}.log"
        if not path.exists():
            return None
        text = path.read_bytes()
        return b"".join(text.splitlines(True)[-int(lines):]) if lines else text

    def close(self):
        self.closing.set()
        self.thread.join()
        for r in self.runners.values():
            r.kill(signal.SIGKILL)


class _Logs(http.server.BaseHTTPRequestHandler):
    """The kubelet's port, of which a real API server asks logs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        at = urllib.parse.urlsplit(self.path)
        _, kind, _, pod, container = at.path.split("/", 4)
        log = self.server.kubelet.log(pod, container, dict(urllib.parse.parse_qsl(at.query)).get("tailLines")) if kind == "containerLogs" else None
        self.send_response(200 if log is not None else 404)
        self.send_header("Content-Length", str(len(log or b"")))
        self.end_headers()
        self.wfile.write(log or b"")

    def log_message(self, *_):
        pass


class _Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients go


def serve_tls(handler, cert, key, port=0):
    server = _Threads(("127.0.0.1", port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    # the handshake is the connection's thread's business, not that of who accepts
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


# ---- an API server ----


class Refusal(Exception):
    def __init__(self, code, reason, message, **details):
        self.body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason,
                     **({"details": details} if details else {}), "code": code}
        self.code = code


SPEC_FIELDS = {"affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases", "imagePullSecrets",
               "initContainers", "nodeName", "nodeSelector", "priorityClassName", "restartPolicy", "runtimeClassName", "schedulerName", "securityContext",
               "tolerations", "volumes"}


class FakeApi:
    """Pods of one namespace, as kube-apiserver 1.36.3 has them: what it refuses, and how, was recorded there."""

    def __init__(self, home: Path, cert: str, key: str, rules):
        self.home, self.rules = home, rules
        self.lock = threading.Condition()
        self.pods: dict[str, dict] = {}
        self.events: list[tuple[int, str, dict]] = []
        self.version, self.oldest = 100, 100  # what is older is not remembered
        self.metrics: dict[str | None, dict] | None = None  # by Pod, None: of all others; None: nobody serves them
        self.deny: dict[tuple[str, str], Exception] = {}
        self.asked: list[str] = []
        self.kubelet = None
        api = self

        class Handler(_Api):
            server_api = api

        self.server = serve_tls(Handler, cert, key)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        with self.lock:
            self.closing = True
            self.lock.notify_all()
        self.server.shutdown()
        self.server.server_close()

    closing = False

    def changed(self, type, pod):
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, type, copy.deepcopy(pod)))
        self.lock.notify_all()

    def forget(self):
        """As after compaction: watches have to begin anew."""
        with self.lock:
            self.version += 1
            self.oldest = self.version
            self.events.clear()
            self.lock.notify_all()

    def check(self, user, verb, resource, group="", name=None):
        if user == "admin":
            return
        if user.endswith(":sluice") and any(g == group and r == resource and verb in v for g, r, v in self.rules):
            return
        what = ("pods" + (f".{group}" if group else "")) + (f' "{name}"' if name else "")
        raise Refusal(403, "Forbidden", f'{what} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{group}" '
                      f'in the namespace "{NAMESPACE}"', **({"name": name} if name else {}), kind="pods")

    def get(self, name):
        if name not in self.pods:
            raise Refusal(404, "NotFound", f'pods "{name}" not found', name=name, kind="pods")
        return self.pods[name]

    def create(self, pod):
        unknown = sorted(set(pod) - {"apiVersion", "kind", "metadata", "spec", "status"}) + sorted("spec." + k for k in set(pod["spec"]) - SPEC_FIELDS)
        if unknown:
            told = ", ".join(f'unknown field "{u}"' for u in unknown)
            raise Refusal(400, "BadRequest", f'Pod in version "v1" cannot be handled as a Pod: strict decoding error: {told}')
        name = pod["metadata"]["name"]
        self.validate(pod, name)
        if name in self.pods:
            raise Refusal(409, "AlreadyExists", f'pods "{name}" already exists', name=name, kind="pods")
        pod["metadata"] |= {"namespace": NAMESPACE, "uid": str(uuid.uuid4()), "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        pod["metadata"]["generation"] = 1
        for k, v in {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                     "preemptionPolicy": "PreemptLowerPriority", "priority": 0, "enableServiceLinks": True}.items():
            pod["spec"].setdefault(k, v)
        pod["spec"].setdefault("tolerations", []).extend(
            {"key": f"node.kubernetes.io/{k}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for k in ("not-ready", "unreachable"))
        pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        self.pods[name] = pod
        self.changed("ADDED", pod)
        return pod

    def validate(self, pod, name):
        spec, wrong = pod["spec"], []
        volumes = {v["name"] for v in spec.get("volumes", [])}
        for kind in ("initContainers", "containers"):
            for k, c in enumerate(spec.get(kind, [])):
                wrong += [f'spec.{kind}[{k}].volumeMounts[{j}].name: Not found: "{m["name"]}"' for j, m in enumerate(c.get("volumeMounts", [])) if m["name"] not in volumes]
                context = {**spec.get("securityContext", {}), **c.get("securityContext", {})}
                if not (context.get("runAsNonRoot") and context.get("allowPrivilegeEscalation") is False and context.get("capabilities") == {"drop": ["ALL"]}
                        and context.get("seccompProfile") == {"type": "RuntimeDefault"}) or any("hostPath" in v for v in spec.get("volumes", [])):
                    raise Refusal(403, "Forbidden", f'pods "{name}" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
                                  f'(container "{c["name"]}" must set securityContext.allowPrivilegeEscalation=false)', name=name, kind="pods")
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
            wrong.append(f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters')
        if wrong:
            raise Refusal(422, "Invalid", f'Pod "{name}" is invalid: ' + (wrong[0] if len(wrong) == 1 else "[" + ", ".join(wrong) + "]"), name=name, kind="Pod")

    def delete(self, name, grace, uid=None):
        pod = self.get(name)
        if uid and pod["metadata"]["uid"] != uid:
            raise Refusal(409, "Conflict", f'Operation cannot be fulfilled on Pod "{name}": the UID in the precondition does not match')
        grace = 30 if grace is None else grace
        if grace == 0 or not pod["spec"].get("nodeName"):
            pod["metadata"] |= {"deletionTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "deletionGracePeriodSeconds": 0}
            del self.pods[name]
            self.changed("DELETED", pod)
        else:
            pod["metadata"].setdefault("deletionTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + grace)))
            pod["metadata"]["deletionGracePeriodSeconds"] = min(grace, pod["metadata"].get("deletionGracePeriodSeconds", grace))
            self.changed("MODIFIED", pod)
        return pod


def _merge(into, patch):
    for k, v in patch.items():
        if isinstance(v, dict) and isinstance(into.get(k), dict):
            _merge(into[k], v)
        else:
            into[k] = v


class _Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_api: FakeApi

    def log_message(self, *_):
        pass

    def say(self, code, body, type="application/json"):
        text = body if isinstance(body, bytes) else json.dumps(body).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self):
        n = int(self.headers.get("Content-Length") or 0)
        return json.loads(self.rfile.read(n)) if n else None

    def answer(self):
        body = self.body()
        try:
            self.route(body)
        except Refusal as e:
            self.say(e.code, e.body)

    do_GET = do_POST = do_DELETE = do_PATCH = answer

    def route(self, body):
        api, at = self.server_api, urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(at.query))
        user = USERS.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        api.asked.append(f"{self.command} {self.path}")
        if not user:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        m = re.fullmatch(rf"/api/v1/namespaces/{NAMESPACE}/pods(?:/([^/]+)(?:/([^/]+))?)?", at.path)
        if not m:
            if at.path.startswith("/api/v1/namespaces/") and user != "admin":
                raise Refusal(403, "Forbidden", f'pods is forbidden: User "{user}" cannot list resource "pods" in API group "" in the namespace '
                              f'"{at.path.split("/")[4]}"', kind="pods")
            self.metrics(user, at.path)
            return
        name, sub = m.groups()
        verb = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}.get(self.command, "get" if name else "watch" if query.get("watch") == "true" else "list")
        api.check(user, verb, f"pods/{sub}" if sub else "pods", name=name)
        denied = api.deny.get((verb, sub or ""))
        if denied:
            raise denied
        if verb == "watch":
            self.watch(query)
        elif sub == "log":
            self.log(name, query)
        else:
            with api.lock:
                code, out = self.do(verb, name, sub, query, body)
                out = copy.deepcopy(out)
            self.say(code, out)

    def do(self, verb, name, sub, query, body):
        api = self.server_api
        if verb == "create" and not sub:
            return 201, api.create(body)
        if verb == "create":  # binding
            api.get(name)["spec"]["nodeName"] = body["target"]["name"]
            api.changed("MODIFIED", api.get(name))
            return 201, {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}
        if verb == "patch":
            _merge(api.get(name), body)
            api.changed("MODIFIED", api.get(name))
        if verb == "delete":
            grace = (body or {}).get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
            return 200, api.delete(name, None if grace is None else int(grace), (body or {}).get("preconditions", {}).get("uid"))
        if verb == "list":
            return 200, self.list(query)
        return 200, api.get(name)

    @staticmethod
    def selected(pod, query):
        return all(pod["metadata"].get("labels", {}).get(k) == v for k, _, v in (s.partition("=") for s in query.get("labelSelector", "").split(",") if s))

    def list(self, query):
        api = self.server_api
        names, limit = sorted(n for n, p in api.pods.items() if self.selected(p, query) and n > query.get("continue", "")), int(query.get("limit") or 10000)
        more = {"continue": names[limit - 1], "remainingItemCount": len(names) - limit} if len(names) > limit else {}
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": str(api.version), **more}, "items": [{k: v for k, v in api.pods[n].items() if k not in ("kind", "apiVersion")} for n in names[:limit]]}

    def watch(self, query):
        api, at = self.server_api, int(query.get("resourceVersion") or 0)
        until = time.monotonic() + float(query.get("timeoutSeconds") or 1800)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            with api.lock:
                gone = at < api.oldest
                events = [e for e in api.events if e[0] > at]
                if not events and not gone and not api.closing and time.monotonic() < until:
                    api.lock.wait(0.5)
                    continue
                over = gone or api.closing or time.monotonic() >= until
            if gone:
                told = Refusal(410, "Expired", f"too old resource version: {at} ({api.oldest})").body
                self.line({"type": "ERROR", "object": told})
            else:
                for version, type, pod in events:
                    at = version
                    if self.selected(pod, query):
                        self.line({"type": type, "object": pod})
            if over:
                self.wfile.write(b"0\r\n\r\n")
                return

    def line(self, event):
        text = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()

    def log(self, name, query):
        api, container = self.server_api, query["container"]
        with api.lock:
            pod = api.get(name)
            names = [c["name"] for k in ("containers", "initContainers") for c in pod["spec"].get(k, [])]
            waiting = next((c["state"]["waiting"] for c in pod["status"].get("containerStatuses", []) if c["name"] == container and "waiting" in c["state"]), None)
        if container not in names:
            raise Refusal(400, "BadRequest", f"container {container} is not valid for pod {name}")
        if not pod["spec"].get("nodeName"):
            self.send_response(204)
            self.end_headers()
            return
        text = api.kubelet.log(name, container, query.get("tailLines"))
        if text is None or waiting:
            raise Refusal(400, "BadRequest", f'container "{container}" in pod "{name}" is waiting to start: {(waiting or {}).get("reason", "ContainerCreating")}')
        self.say(200, text, "text/plain")

    def metrics(self, user, path):
        api = self.server_api
        m = re.fullmatch(rf"/apis/metrics\.k8s\.io/v1beta1/namespaces/{NAMESPACE}/pods/([^/]+)", path)
        if m:
            api.check(user, "get", "pods", "metrics.k8s.io", m[1])
        if not m or api.metrics is None:
            self.say(404, b"404 page not found\n", "text/plain; charset=utf-8")
        elif m[1] not in api.metrics and None not in api.metrics:
            raise Refusal(404, "NotFound", f'podmetrics.metrics.k8s.io "{NAMESPACE}/{m[1]}" not found')
        else:
            self.say(200, {"kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {"name": m[1]}, "window": "15s",
                           "containers": [{"name": "x", "usage": api.metrics.get(m[1]) or api.metrics[None]}]})


# ---- all of it ----


def make_certificates(home: Path):
    """A CA and a certificate by it for 127.0.0.1."""
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=home)

    (home / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:kubernetes.default.svc\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=kube-ca", "-keyout", "ca.key", "-out", "ca.crt",
            "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kube-apiserver", "-keyout", "api.key", "-out", "api.csr")
    openssl("x509", "-req", "-in", "api.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "ext", "-out", "api.crt")


class KubeCluster:
    def __init__(self):
        self.home = Path(tempfile.mkdtemp(prefix="sluice-kube-"))
        self.home.chmod(0o755)  # its program is nobody's to run
        self.real = os.environ.get("SLUICE_TEST_KUBE")
        self.api, self.logs = None, None

    def start(self) -> "KubeCluster":
        make_certificates(self.home)
        program = self.home / "sidecar"
        subprocess.run(["cc", "-O1", "-static", "-o", program, SIDECAR], check=True, capture_output=True)
        self.program, serve = str(program), [str(program), "serve"]
        if self.real:
            self.url, self.ca, self.tokens = self.real, os.environ["SLUICE_TEST_KUBE_CA"], Path(os.environ["SLUICE_TEST_KUBE_TOKENS"])
            admin = Path(os.environ["SLUICE_TEST_KUBE_ADMIN"]).read_text().strip()
        else:
            self.api = FakeApi(self.home, str(self.home / "api.crt"), str(self.home / "api.key"), rules_of_manifest())
            self.url, self.ca, self.tokens, admin = self.api.url, str(self.home / "ca.crt"), self.home / "tokens", ADMIN
            self.tokens.mkdir()
            (self.tokens / "sluice").write_text(SLUICE + "\n")
            (self.tokens / "weak").write_text(WEAK + "\n")
        self.client = Client(self.url, self.ca, admin)
        self.kubelet = Kubelet(self.client, self.home, {IMAGE: serve, "sluice-test/rooted:1": serve})
        if self.real:
            self.prepare()
        else:
            self.api.kubelet = self.kubelet
        self.kubelet.thread.start()
        return self

    def prepare(self):
        """Of a real one: the namespace, the Role of docker/kubernetes.yml, and the node, with the port that logs are asked of."""
        self.logs = serve_tls(_Logs, str(self.home / "api.crt"), str(self.home / "api.key"))
        self.logs.kubelet = self.kubelet
        rules = [{"apiGroups": [g], "resources": [r], "verbs": sorted(v)} for g, r, v in rules_of_manifest()]
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        for path, body in [
            ("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}),
            (rbac + "/roles", {"kind": "Role", "metadata": {"name": "sluice-etl"}, "rules": rules}),
            (rbac + "/rolebindings", {"kind": "RoleBinding", "metadata": {"name": "sluice-etl"},
                                      "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sluice-etl"},
                                      "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": USERS[SLUICE]}]}),
            ("/api/v1/nodes", {"kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}}),
        ]:
            status, told = self.client.ask("POST", path, body)
            assert status in (201, 409), told
        status, told = self.client.ask("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.logs.server_address[1]}}}}, "application/merge-patch+json")
        assert status == 200, told

    def settings(self, token="sluice") -> tuple:
        return ("--etl-runtime", "kubernetes", "--etl-kube-server", self.url, "--etl-kube-ca-file", self.ca, "--etl-kube-token-file", str(self.tokens / token),
                "--etl-kube-namespace", NAMESPACE, "--etl-kube-node", NODE, "--etl-kube-address", "127.0.0.1")

    def mine(self, etl) -> list[dict]:
        """The Pods of an ETL that are not on their way out."""
        return [p for p in self.client.pods(labelSelector=f"nvidia.com/ais-etl-name={etl}") if "deletionTimestamp" not in p["metadata"]]

    def stop(self):
        with contextlib.suppress(Exception):
            for p in self.client.pods():
                self.client.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{p['metadata']['name']}?gracePeriodSeconds=0")
        self.kubelet.close()
        for server in (self.api, self.logs):
            if server is self.api and server:
                server.close()
            elif server:
                server.shutdown()
                server.server_close()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="session")
def kube():
    cluster = KubeCluster()
    try:
        cluster.start()
    except (OSError, subprocess.CalledProcessError) as e:
        shutil.rmtree(cluster.home, ignore_errors=True)
        pytest.skip(f"no static program, or no certificate, can be made: {e}")
    yield cluster
    cluster.stop()


if __name__ == "__main__":
    k = KubeCluster().start()
    print(" ".join(k.settings()), flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        k.stop()
