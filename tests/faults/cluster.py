"""Starts a real cluster as processes on loopback: etcd, gateways, targets; each can be killed, paused and started again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))

import server as srv  # noqa: E402

SECRET = "the cluster's secret of this test"


class Process:
    """One process with its log; `ready` is asked until it says yes."""

    def __init__(self, name, home: Path, args, env=None, ready=None):
        self.name, self.args, self.env, self.ready = name, [str(a) for a in args], env or {}, ready
        self.log_path = home / f"{name}.log"
        self.process: subprocess.Popen | None = None

    def start(self, wait=60.0):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.args, stdout=log, stderr=log, env={**os.environ, **self.env})
        return self.wait_ready(wait) if wait else self

    def wait_ready(self, wait=60.0):
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            if self.ready is None or self.ready():
                return self
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not become ready:\n{self.tail()}")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self, timeout=40.0):
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not end after SIGTERM:\n{self.tail()}")
        self.process = None
        return code

    def tail(self, n=40):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-n:])


def http_ok(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as r:
            return r.status == 200
    except OSError:
        return False


class Cluster:
    def __init__(self, targets=3, gateways=2, etcds=1, lease="2s", extra=(), network=None):
        """`network`: a net.Network; then each process has a host of its name."""
        if not shutil.which("etcd"):
            raise RuntimeError("etcd is not installed")
        self.home = Path(tempfile.mkdtemp(prefix="sluice-cluster-"))
        self.lease, self.extra, self.network = lease, list(extra), network
        self.lease_s = float(lease.removesuffix("s"))
        self.etcds = self._etcds(etcds)
        self.targets: list[Process] = []
        self.gateways: list[Process] = []
        self.ports: list[int] = []
        self.counts = targets, gateways

    # ---- parts ----

    def _host(self, name):
        """Where a process of that name lives: what its command begins with, and its address."""
        if self.network is None:
            return [], "127.0.0.1"
        address = self.network.host(name)
        return self.network.inside(name), address

    def _etcds(self, n):
        inside, hosts = zip(*[self._host(f"etcd{i}") for i in range(n)])
        client = [f"http://{h}:{srv.free_port()}" for h in hosts]
        peer = [f"http://{h}:{srv.free_port()}" for h in hosts]
        self.etcd_urls = client
        members = ",".join(f"e{i}={p}" for i, p in enumerate(peer))
        out = []
        for i, (c, p) in enumerate(zip(client, peer)):
            args = [*inside[i], "etcd", "--name", f"e{i}", "--data-dir", self.home / f"e{i}", "--listen-client-urls", c,
                    "--advertise-client-urls", c, "--listen-peer-urls", p, "--initial-advertise-peer-urls", p, "--initial-cluster", members,
                    "--logger", "zap", "--log-level", "warn"]
            out.append(Process(f"etcd{i}", self.home, args, ready=lambda c=c: http_ok(f"{c}/health")))
        return out

    def _env(self):
        return {"SLUICE_ACCESS_KEY": srv.ACCESS_KEY, "SLUICE_SECRET_KEY": srv.SECRET_KEY, "SLUICE_CLUSTER_SECRET": SECRET}

    def _common(self):
        etcd = [a for url in self.etcd_urls for a in ("--cluster-etcd", url)]
        return [*etcd, "--cluster-lease", self.lease, *self.extra]

    def add_target(self, zone=None) -> Process:
        i, port = len(self.targets), srv.free_port()
        inside, host = self._host(f"target{i}")
        address = f"{host}:{port}"
        args = [*inside, srv.binary(), "target", "--data", self.home / f"t{i}", "--cluster-internal-listen", address, *self._common()]
        args += ["--cluster-weight", "100", *(["--cluster-zone", zone] if zone else [])]
        t = Process(f"target{i}", self.home, args, self._env(), lambda: http_ok(f"http://{address}/v1/health?ready"))
        t.address = address
        self.targets.append(t)
        return t

    def add_gateway(self) -> Process:
        port, name = srv.free_port(), f"gateway{len(self.gateways)}"
        inside, host = self._host(name)
        url = f"http://{host}:{port}"
        args = [*inside, srv.binary(), "gateway", "--listen", f"{host}:{port}", *self._common()]
        g = Process(name, self.home, args, self._env(), lambda: http_ok(f"{url}/v1/health?ready"))
        g.port, g.url = port, url
        self.gateways.append(g)
        return g

    # ---- life ----

    def start(self):
        for e in self.etcds:
            e.start(wait=0)
        for e in self.etcds:
            e.wait_ready()
        for _ in range(self.counts[0]):
            self.add_target().start(wait=0)  # together: they make the first placement
        for t in self.targets:
            t.wait_ready()
        for _ in range(self.counts[1]):
            self.add_gateway().start()
        return self

    def stop(self):
        """Ends everything; raises when something did not end by itself."""
        failed = []
        for p in [*self.gateways, *self.targets, *self.etcds]:
            try:
                p.stop()
            except RuntimeError as e:
                failed.append(str(e))
        if failed:
            raise RuntimeError("\n".join(failed))

    def clean(self):
        for p in [*self.gateways, *self.targets, *self.etcds]:
            p.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- views ----

    def view(self, gateway=0) -> dict:
        with urllib.request.urlopen(f"{self.gateways[gateway].url}/v1/cluster", timeout=5) as r:
            return json.load(r)

    def command(self, *args) -> subprocess.CompletedProcess:
        return subprocess.run([str(srv.binary()), "cluster", *map(str, args), *self._common()], env={**os.environ, **self._env()},
                              capture_output=True, text=True, timeout=60)

    def job(self, *args) -> subprocess.CompletedProcess:
        return subprocess.run([str(srv.binary()), "job", *map(str, args), *self._common()], env={**os.environ, **self._env()},
                              capture_output=True, text=True, timeout=300)

    def jobs(self, kind) -> list[dict]:
        """All jobs of that kind, with their parts, the oldest first."""
        r = self.job("list", "--json")
        assert r.returncode == 0, r.stderr
        found = sorted((j for j in json.loads(r.stdout)["jobs"] if j["kind"] == kind), key=lambda j: j["created_ms"])
        return [json.loads(self.job("show", j["id"], "--json").stdout) for j in found]

    def wait_settled(self, wait=120.0) -> dict:
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            view = self.view()
            if not view["moving"]:
                return view
            time.sleep(0.2)
        raise RuntimeError(f"still moving after {wait} s: {view}")

    def check_sanitizer(self):
        for p in [*self.gateways, *self.targets]:
            text = p.log_path.read_text(errors="replace")
            for word in ("AddressSanitizer", "runtime error:", "LeakSanitizer", "Assertion"):
                assert word not in text, f"{p.name}: {text[-4000:]}"
