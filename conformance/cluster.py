"""Starts a real cluster as plain processes on loopback: etcd, gateways, targets. Used by scripts/cluster and by tests.

A directory that a cluster was started in before is started again: with the same ports, keys and data.
"""

import http.client
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from server import ACCESS_KEY, ENCRYPTION_KEY, SECRET_KEY, binary, free_port, make_certificate

HOST = "127.0.0.1"


def which(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if not path:
        raise RuntimeError(f"{program} is not installed: scripts/setup cluster")
    return path


def get(port: int, path: str, ca: Path | None = None, timeout: float = 5.0) -> tuple[int, bytes]:
    if ca:
        connection = http.client.HTTPSConnection(HOST, port, timeout=timeout, context=ssl.create_default_context(cafile=str(ca)))
    else:
        connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def internal_sockets(pid: int, public: set[int]) -> set[str]:
    """Connections of a process that are not on one of the public ports."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and int(fields[1].split(":")[1], 16) not in public:
            inodes.add(fields[9])
    mine = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = os.readlink(fd)
        except OSError:
            continue
        if link.startswith("socket:[") and link[8:-1] in inodes:
            mine.add(link)
    return mine


class Node:
    """One process of the cluster, with its log; survives restarts."""

    def __init__(self, name: str, home: Path, port: int, command: list[str], env: dict[str, str]):
        self.name, self.home, self.port, self.command, self.env = name, home, port, command, env
        self.log_path = home / f"{name}.log"
        self.ca: Path | None = None  # speaks TLS
        self.process: subprocess.Popen | None = None
        self.asked = False

    def start(self) -> "Node":
        self.asked = False
        with open(self.log_path, "ab") as log:
            # a session of its own: Ctrl-C is for whoever started the cluster, who then ends the nodes in order
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **self.env}, cwd=self.home, start_new_session=True)
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Once: a second SIGTERM would end it at once."""
        if self.running() and not self.asked:
            self.asked = True
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 40.0) -> int:
        """SIGTERM, unless it was sent, and wait; returns the exit code."""
        if self.process is None:
            return 0
        self.ask_to_stop()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"{self.name} did not end after SIGTERM:\n{self.tail()}")
        self.process = None
        return code

    def get(self, path: str) -> tuple[int, bytes]:
        return get(self.port, path, self.ca)

    def answers(self, path: str) -> bool:
        try:
            return self.get(path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait(self, path: str, seconds: float = 60.0) -> "Node":
        deadline = time.monotonic() + seconds
        while not self.answers(path):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not become ready ({path}):\n{self.tail()}")
            time.sleep(0.05)
        return self

    def tail(self, n: int = 40) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-n:])

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss(self) -> int:
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")


class Cluster:
    def __init__(self, gateways: int = 2, targets: int = 3, etcd: int = 1, directory: Path | None = None,
                 ports: list[int] | None = None, shared_port: bool = False, tls: bool = False, node_tls: bool = False,
                 access_key: str | None = None, secret_key: str | None = None, extra: tuple[str, ...] = (),
                 env: dict[str, str] | None = None):
        """ports: of the gateways; default: any that are free. shared_port: all gateways on one port, among which the kernel
        spreads connections. tls: a second listener of gateways; node_tls: between nodes. extra: further options of gateways and targets;
        env: variables of theirs."""
        self.made = directory is None
        self.home = Path(directory or tempfile.mkdtemp(prefix="sluice-cluster-")).resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        self.extra, self.more_env = list(extra), env or {}
        self.shared_port, self.tls, self.node_tls = shared_port, tls, node_tls
        self.state_path = self.home / "cluster.json"
        self.state = json.loads(self.state_path.read_text()) if self.state_path.exists() else {
            "secret": secrets.token_hex(24), "access_key": access_key or "cluster" + secrets.token_hex(6).upper(),
            "secret_key": secret_key or secrets.token_urlsafe(30), "ports": {}}
        for i, port in enumerate(ports or []):
            self.state["ports"][f"gateway{i + 1}"] = port
        self.cert, self.key = (self.home / "cert.pem", self.home / "key.pem") if tls or node_tls else (None, None)
        if self.cert and not self.cert.exists():
            make_certificate(self.home)
        self.etcd = self._etcd(etcd)
        self.targets = [self._target(i + 1) for i in range(targets)]
        self.gateways = [self._gateway(i + 1) for i in range(gateways)]
        self._save()

    # ---- what the nodes are started with ----

    def _port(self, name: str) -> int:
        if name not in self.state["ports"]:
            self.state["ports"][name] = free_port()
        return self.state["ports"][name]

    def _save(self) -> None:
        with open(os.open(self.state_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump(self.state, f, indent=1)

    def _etcd(self, count: int) -> list[Node]:
        names = [f"etcd{i + 1}" for i in range(count)]
        peers = {n: f"http://{HOST}:{self._port(n + '-peer')}" for n in names}
        nodes = []
        for n in names:
            url = f"http://{HOST}:{self._port(n)}"
            nodes.append(Node(n, self.home, self._port(n), [
                which("etcd"), "--name", n, "--data-dir", str(self.home / n), "--logger", "zap",
                "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", peers[n], "--initial-advertise-peer-urls", peers[n],
                "--initial-cluster", ",".join(f"{k}={v}" for k, v in peers.items()),
                "--initial-cluster-state", "new"], {}))
        return nodes

    @property
    def etcd_urls(self) -> list[str]:
        return [f"http://{HOST}:{n.port}" for n in self.etcd]

    @property
    def env(self) -> dict[str, str]:
        """What a node and `sluice cluster` need to know of the cluster."""
        return {"SLUICE_CLUSTER_ETCD": ",".join(self.etcd_urls), "SLUICE_CLUSTER_SECRET": self.state["secret"],
                "SLUICE_ENCRYPTION_KEY": ENCRYPTION_KEY, **self.more_env}

    def _target(self, i: int) -> Node:
        name = f"target{i}"
        tls = ["--cluster-tls-cert", str(self.cert), "--cluster-tls-key", str(self.key), "--cluster-tls-ca", str(self.cert)]
        node = Node(name, self.home, self._port(name), [
            str(binary()), "target", "--data", str(self.home / name),
            "--cluster-internal-listen", f"{HOST}:{self._port(name)}", *(tls if self.node_tls else []), *self.extra], self.env)
        node.ca = self.cert if self.node_tls else None
        node.data = self.home / name
        return node

    def _gateway(self, i: int) -> Node:
        name = f"gateway{i}"
        shared = "gateway1" if self.shared_port else name
        port = self._port(shared)
        args = [str(binary()), "gateway", "--listen", f"{HOST}:{port}"]
        if self.tls:
            args += ["--tls-listen", f"{HOST}:{self._port(shared + '-tls')}", "--tls-cert", str(self.cert), "--tls-key", str(self.key)]
        if self.node_tls:
            args += ["--cluster-tls-ca", str(self.cert)]
        if self.shared_port:
            args += ["--cluster-share-listen"]
        return Node(name, self.home, port, [*args, *self.extra], {
            **self.env, "SLUICE_ACCESS_KEY": self.access_key, "SLUICE_SECRET_KEY": self.secret_key,
            "SLUICE_NOTIFICATIONS_DIR": str(self.home / f"{name}-events")})

    @property
    def access_key(self) -> str:
        return self.state["access_key"]

    @property
    def secret_key(self) -> str:
        return self.state["secret_key"]

    # ---- life ----

    @property
    def nodes(self) -> list[Node]:
        return [*self.etcd, *self.targets, *self.gateways]

    def start(self) -> "Cluster":
        try:
            for n in self.etcd:
                n.start()
            for n in self.etcd:
                n.wait("/health")
            for n in self.targets:
                n.start()
            for n in self.targets:
                n.wait("/v1/health?ready")
            for n in self.gateways:
                n.start()
            for n in self.gateways:
                n.wait("/v1/health?ready")
            self.wait_alive(len(self.targets))
        except BaseException:
            self.kill()
            raise
        return self

    def add_target(self) -> Node:
        node = self._target(len(self.targets) + 1)
        self.targets.append(node)
        self._save()
        return node.start().wait("/v1/health?ready")

    def view(self, gateway: int = 0) -> dict:
        """What a gateway says of the cluster."""
        return json.loads(self.gateways[gateway].get("/v1/cluster")[1])

    def wait_for(self, what, seconds: float = 30.0) -> None:
        """Until every gateway's view passes `what`; on a shared port whoever answers counts."""
        deadline = time.monotonic() + seconds
        while not all(what(self.view(i)) for i in range(len(self.gateways))):
            if time.monotonic() > deadline:
                raise RuntimeError(f"gateways say {[self.view(i) for i in range(len(self.gateways))]}")
            time.sleep(0.05)

    def wait_alive(self, count: int, seconds: float = 30.0) -> None:
        self.wait_for(lambda v: sum(n["alive"] for n in v["nodes"]) == count, seconds)

    def stop(self) -> dict[str, int]:
        """Ends it in order, gateways first; returns the exit codes that are not 0."""
        codes = {}
        for group in (self.gateways, self.targets, self.etcd):
            for n in group:
                n.ask_to_stop()
            for n in group:
                codes[n.name] = n.stop()
        return {name: code for name, code in codes.items() if code and not name.startswith("etcd")}

    def kill(self) -> None:
        for n in self.nodes:
            if n.running():
                n.kill()

    def clean(self) -> None:
        if self.made:
            shutil.rmtree(self.home, ignore_errors=True)

    def describe(self) -> dict:
        return {
            "directory": str(self.home), "access_key": self.access_key, "secret_key": self.secret_key, "region": "us-east-1",
            "env": self.env,
            "gateways": [{"name": n.name, "url": f"http://{HOST}:{n.port}", "pid": n.pid, "log": str(n.log_path)} for n in self.gateways],
            "targets": [{"name": n.name, "address": f"{HOST}:{n.port}", "data": str(n.data), "pid": n.pid, "log": str(n.log_path)}
                        for n in self.targets],
            "etcd": [{"name": n.name, "url": f"http://{HOST}:{n.port}", "pid": n.pid, "log": str(n.log_path)} for n in self.etcd]}


class ClusterServer(Cluster):
    """A cluster that looks like server.Server to the conformance suites: its gateways share one port, so that the kernel spreads
    the connections of every client over them."""

    def __init__(self, env: dict | None = None, extra: tuple = (), **kw):
        super().__init__(shared_port=True, tls=True, access_key=ACCESS_KEY, secret_key=SECRET_KEY, extra=extra,
                         env={"SLUICE_DOMAINS": "s3.localhost", **(env or {})}, **kw)
        self.port = self.gateways[0].port
        self.tls_port = self.state["ports"]["gateway1-tls"]
        self.data = [n.data for n in self.targets]

    @property
    def http(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def https(self) -> str:
        return f"https://localhost:{self.tls_port}"

    def stop(self) -> int:
        codes = super().stop()
        return next(iter(codes.values()), 0)

    def logs(self) -> str:
        return "\n".join(f"== {n.name}\n{n.log_path.read_text(errors='replace')}" for n in [*self.targets, *self.gateways])

    def open_files(self) -> int:
        """Of the sluice processes, but for the connections between nodes, which are kept for later requests."""
        return sum(n.open_files() - len(internal_sockets(n.pid, {self.port, self.tls_port})) for n in [*self.targets, *self.gateways])
